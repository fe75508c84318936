/* SPDX-License-Identifier: GPL-2.0 */
/* The nodes of the machine. */
#ifndef _SELFTESTS_CDM_NODE_H
#define _SELFTESTS_CDM_NODE_H

#include <stdbool.h>

#define CDM_MAX_NODES	64

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

extern int cdm_node;		/* the CDM node that the tests use */
extern int cdm_ram_node;	/* a node with CPUs and RAM */
extern long cdm_psize;		/* bytes in a page */
extern long cdm_hpages;		/* pages in a huge page, 0 without THP */

void nodes_init(void);
int node_list(const char *path, int *nodes, int max);
bool nodes_have(const int *nodes, int nr, int node);
int coherent_nodes(int *nodes);
int cdm_other_node(void);
long node_meminfo(int node, const char *key);
int node_write(int node, const char *file, const char *text);
long cdm_zone_mark(const char *mark);
int cdm_hotplug(const char *what, const char *how);
void cdm_use_plugged(void);

#endif /* _SELFTESTS_CDM_NODE_H */
