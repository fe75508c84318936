// SPDX-License-Identifier: GPL-2.0
/* Readings, see usage.h. */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "files.h"
#include "group.h"
#include "node.h"
#include "system.h"
#include "usage.h"
#include "wait.h"

/* Copy to @line what follows "node<N> " in the text of a keyed file. */
int text_line(const char *text, int node, char *line, size_t len)
{
	char key[32];
	const char *pos, *end;

	snprintf(key, sizeof(key), "node%d ", node);
	for (pos = text; pos; pos = strchr(pos, '\n')) {
		if (*pos == '\n')
			pos++;
		if (strncmp(pos, key, strlen(key)))
			continue;
		end = strchrnul(pos, '\n');
		snprintf(line, len, "%.*s", (int)(end - pos - strlen(key)),
			 pos + strlen(key));
		return 0;
	}
	return -1;
}

static int node_line(const char *group, const char *file, int node,
		     char *line, size_t len)
{
	char buf[4096];

	if (cg_read(group, file, buf, sizeof(buf)))
		return -1;
	return text_line(buf, node, line, len);
}

/* The same of a setting: without a line of its own a node has the default. */
static int value_line(const char *group, const char *file, int node,
		      char *line, size_t len)
{
	static const char key[] = "default ";
	char buf[4096];

	if (cg_read(group, file, buf, sizeof(buf)))
		return -1;
	if (!text_line(buf, node, line, len))
		return 0;
	if (strncmp(buf, key, strlen(key)))
		return -1;
	snprintf(line, len, "%.*s", (int)strcspn(buf + strlen(key), "\n"),
		 buf + strlen(key));
	return 0;
}

/**
 * cdm_bytes - read a node's value from a file of a group
 * @group: the group
 * @file: the file, cdm.max for example
 * @node: the node
 *
 * Return: bytes; LONG_MAX for "max"; the default of a setting without a line
 * for the node; CDM_NONE without such a file or line.
 */
long cdm_bytes(const char *group, const char *file, int node)
{
	char line[256];

	if (value_line(group, file, node, line, sizeof(line)))
		return CDM_NONE;
	if (!strcmp(line, "max"))
		return LONG_MAX;
	return strtol(line, NULL, 10);
}

/* Read the pages that @group uses on @node. */
long cdm_usage(const char *group, int node)
{
	long value = cdm_bytes(group, "cdm.current", node);

	return value == CDM_NONE ? CDM_NONE : value / cdm_psize;
}

/**
 * cdm_wait_usage - wait until a group has some usage
 * @group: the group
 * @node: the node
 * @pages: the usage to wait for
 *
 * A page that was unmapped is not freed while a CPU has it in a batch.
 *
 * Return: @pages, or the last usage when the wait was given up.
 */
long cdm_wait_usage(const char *group, int node, long pages)
{
	struct cdm_wait wait = cdm_wait_begin(5);
	long got;

	for (;;) {
		got = cdm_usage(group, node);
		if (got == pages || !cdm_wait_more(&wait))
			return got;
		cdm_drain_lru();
	}
}

/* Read how many groups below @group are removed, but not freed yet. */
long cdm_nr_dying(const char *group)
{
	return cg_read_key_long(group, "cgroup.stat", "nr_dying_subsys_cdm ");
}

/* Wait until it is @want; returns what it is then. */
long cdm_wait_dying(const char *group, long want)
{
	cdm_wait_until(10, cdm_nr_dying(group) == want);
	return cdm_nr_dying(group);
}

/* Does a file of a group have a line for @node? */
bool cdm_has_line(const char *group, const char *file, int node)
{
	char line[512];

	return !node_line(group, file, node, line, sizeof(line));
}

/*
 * Read the word after "item=" in a node's line of a file of a group. Returns 0,
 * or -1 if there is none.
 */
int cdm_word(const char *group, const char *file, int node, const char *item,
	     char *word, size_t len)
{
	char line[512], key[64], *pos;

	if (node_line(group, file, node, line + 1, sizeof(line) - 1))
		return -1;
	line[0] = ' ';
	snprintf(key, sizeof(key), " %s=", item);
	pos = strstr(line, key);
	if (!pos)
		return -1;
	pos += strlen(key);
	snprintf(word, len, "%.*s", (int)strcspn(pos, "\n "), pos);
	return 0;
}

/*
 * Read the number after "item=" in a node's line of a file of a group, or
 * CDM_NONE. Bytes of cdm.stat are turned into pages.
 */
long cdm_item(const char *group, const char *file, int node,
	      const char *item)
{
	char word[64];
	long value;

	if (cdm_word(group, file, node, item, word, sizeof(word)))
		return CDM_NONE;
	value = strtol(word, NULL, 10);
	return strcmp(file, "cdm.stat") ? value : value / cdm_psize;
}

long cdm_event(const char *group, const char *event)
{
	return cdm_item(group, "cdm.events", cdm_node, event);
}

long cdm_event_local(const char *group, const char *event)
{
	return cdm_item(group, "cdm.events.local", cdm_node, event);
}

long cdm_stat(const char *group, const char *item)
{
	return cdm_item(group, "cdm.stat", cdm_node, item);
}

/* Read one number of the audit of @node in debugfs, or CDM_NONE. */
long cdm_audit(int node, const char *key)
{
	char line[512], *pos;
	size_t len = strlen(key);

	if (node_line("/sys/kernel/debug/cdm", "audit", node, line,
		      sizeof(line)))
		return CDM_NONE;
	for (pos = line; pos; pos = strchr(pos, ' ')) {
		if (*pos == ' ')
			pos++;
		if (!strncmp(pos, key, len) && pos[len] == ' ')
			return strtol(pos + len, NULL, 10);
	}
	return CDM_NONE;
}

/*
 * Return the pages of cdm_node that nobody has. MemFree of the node lacks those
 * on the lists of CPUs.
 */
long cdm_nr_free(void)
{
	return cdm_zone_mark("managed") - cdm_usage(cdm_root, cdm_node);
}

/*
 * Check that all groups together use @pages of cdm_node, and that its owner
 * table is in order.
 */
void cdm_check_root(long pages)
{
	CHECK_EQ(cdm_wait_usage(cdm_root, cdm_node, pages), pages);
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "stale"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "charged"), pages);
}
