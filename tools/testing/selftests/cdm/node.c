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

/**
 * node_list - read a list of nodes, such as "0-2,5"
 * @path: the file
 * @nodes: gets the nodes
 * @max: how many fit
 *
 * Return: how many there are, or -1.
 */
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

/* Read the CDM nodes that have memory; @nodes has room for all of them. */
int coherent_nodes(int *nodes)
{
	return node_list(HAS_COHERENT_MEMORY, nodes, CDM_MAX_NODES);
}

/* Find the nodes; skip the program if none of them is a CDM node. */
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

/* Return a CDM node other than cdm_node, or -1. */
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

/* Write to a file in a node's directory in sysfs. */
int node_write(int node, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/%s", node,
		 file);
	return file_write(path, "%s", text);
}

/* Read a watermark of cdm_node, or another line of zoneinfo, in pages. */
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

/**
 * cdm_hotplug - plug memory into a CDM node, or unplug it
 * @what: "add" or "remove"
 * @how: with "add", how to online it: "movable", "kernel" or "none"
 *
 * Return: the exit status of cdm-hotplug, which the machine has to provide.
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

/* Let cdm_node be the node whose memory is plugged, and plug it if need be. */
void cdm_use_plugged(void)
{
	if (cdm_other_node() < 0 && cdm_hotplug("add", "movable"))
		ksft_exit_skip("no memory can be plugged\n");
	cdm_node = cdm_other_node();
	if (cdm_node < 0)
		ksft_exit_fail_msg("no node for the memory plugged\n");
}
