// SPDX-License-Identifier: GPL-2.0
/* Nodes, see node.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "kselftest.h"
#include "node.h"

#define HAS_COHERENT_MEMORY	"/sys/devices/system/node/has_coherent_memory"
#define THP_SIZE	"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"

int cdm_node;
int cdm_ram_node;
long cdm_psize;
long cdm_hpages;

/* Parse a node list such as "0-2,5"; returns how many nodes it has. */
int node_list(const char *path, int *nodes, int max)
{
	char buf[256], *pos = buf;
	int nr = 0;

	if (file_read(path, buf, sizeof(buf)))
		return -1;
	while (*pos >= '0' && *pos <= '9') {
		long first = strtol(pos, &pos, 10), last = first;

		if (*pos == '-')
			last = strtol(pos + 1, &pos, 10);
		while (first <= last && nr < max)
			nodes[nr++] = first++;
		if (*pos == ',')
			pos++;
	}
	return nr;
}

bool nodes_have(const int *nodes, int nr, int node)
{
	while (nr--)
		if (nodes[nr] == node)
			return true;
	return false;
}

/* The CDM nodes that have memory; there may be CDM_MAX_NODES. */
int coherent_nodes(int *nodes)
{
	return node_list(HAS_COHERENT_MEMORY, nodes, CDM_MAX_NODES);
}

/* Find the machine; skip all if it has no CDM node. */
void nodes_init(void)
{
	int nodes[CDM_MAX_NODES];

	cdm_psize = sysconf(_SC_PAGESIZE);
	if (file_long(THP_SIZE) > 0)
		cdm_hpages = file_long(THP_SIZE) / cdm_psize;
	if (node_list(HAS_COHERENT_MEMORY, nodes, CDM_MAX_NODES) < 1)
		ksft_exit_skip("no node with coherent device memory\n");
	cdm_node = nodes[0];
	if (node_list("/sys/devices/system/node/has_cpu", nodes,
		      CDM_MAX_NODES) < 1)
		ksft_exit_fail_msg("no node has a CPU\n");
	cdm_ram_node = nodes[0];
}

/* A CDM node beside the one that the tests use, or -1. */
int cdm_other_node(void)
{
	int nodes[CDM_MAX_NODES], nr = coherent_nodes(nodes), i;

	for (i = 0; i < nr; i++)
		if (nodes[i] != cdm_node)
			return nodes[i];
	return -1;
}

long node_meminfo(int node, const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo",
		 node);
	return file_key(path, key);
}

/* Write to a file of the node's directory in sysfs. */
int node_write(int node, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/%s", node,
		 file);
	return file_write(path, "%s", text);
}

/* One of the marks in /proc/zoneinfo, in pages, of the node that tests use. */
long cdm_zone_mark(const char *mark)
{
	static char buf[1 << 17];
	char key[64], *pos;

	if (file_read("/proc/zoneinfo", buf, sizeof(buf)))
		return CDM_NONE;
	snprintf(key, sizeof(key), "Node %d, zone  Movable", cdm_node);
	pos = strstr(buf, key);
	snprintf(key, sizeof(key), " %s ", mark);
	pos = pos ? strstr(pos, "\n  pages free") : NULL;
	pos = pos ? strstr(pos, key) : NULL;
	return pos ? strtol(pos + strlen(key), NULL, 10) : CDM_NONE;
}

/*
 * Have the machine plug memory into a CDM node or take it away again; returns
 * the exit status of the program that does it for the virtual machine.
 */
int cdm_hotplug(const char *what, const char *how)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		execlp("cdm-hotplug", "cdm-hotplug", what, how, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* The tests use a node of memory that is plugged in, rather than the first. */
void cdm_use_plugged(void)
{
	if (cdm_other_node() < 0 && cdm_hotplug("add", "movable"))
		ksft_exit_skip("no memory can be plugged\n");
	cdm_node = cdm_other_node();
	if (cdm_node < 0)
		ksft_exit_fail_msg("no node for the memory plugged\n");
}
