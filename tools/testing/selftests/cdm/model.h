/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What test_model expects of the kernel, in plain words and integers.
 *
 * The model keeps a record of every page that a worker has mapped or that a
 * file holds: what it contains, where it is, who is charged for it on a device
 * node and whose memory it is otherwise. Where a page ends up is not always
 * determined (reclaim may take more than asked for, huge pages may not be had),
 * so that is read from the kernel, after each operation. Who pays is
 * determined by where it was before and by the operation:
 *
 *   new, or copied for a write	the group of the process that wrote it
 *   collapsed			the group of the process
 *   swapped in			the group of the process that faulted
 *   from RAM to a device node	whoever the page's memory belongs to
 *   between device nodes	whoever paid before
 *   its group was removed	the next group above that has the controller
 *   or lost the controller	(and goes on paying)
 *
 * The few cases in which two groups may be the one (a page that may have been
 * out of the device and back in one operation) are kept as such, and counted.
 */
#ifndef _SELFTESTS_CDM_MODEL_H
#define _SELFTESTS_CDM_MODEL_H

#include <stdatomic.h>
#include <stdio.h>

#include "cdm_util.h"

#define SLOTS		8	/* processes at a time */
#define REGIONS		4	/* mappings of each */
#define REGION_PAGES	1024
#define FILES		3
#define FILE_PAGES	384
#define GROUPS		20
#define NODES		2	/* device nodes: cdm_node and one that is plugged */
#define EVENTS		5
#define HISTORY		30

#define NOBODY		(-1)

enum place { NOWHERE, IN_RAM, IN_SWAP, ON_NODE };

struct page {
	unsigned int stamp;	/* what it is filled with; 0 if not written */
	unsigned char place;
	unsigned char node;	/* index, ON_NODE */
	bool gone;		/* unmapped, and so not to be used */
	bool cow;		/* was shared by a fork since it was written */
	bool written;		/* by the operation that is going on */
	short owner;		/* ON_NODE: who is charged */
	short other;		/* or else this one, or NOBODY */
	short memcg;		/* group whose memory it is */
	unsigned long pfn;
};

enum policy { POLICY_NONE, POLICY_DEV, POLICY_OTHER, POLICY_BOTH,
	      POLICY_PREFERRED, POLICIES };

struct region {
	char *addr;		/* NULL: free */
	long pages;
	enum policy policy;
	bool huge;
	int file;		/* index, or -1 */
	struct page page[REGION_PAGES];
};

struct file {
	int fd;
	char *addr;		/* in the process that runs the model */
	int user;		/* who alone writes to it: a group, or NOBODY */
	struct page page[FILE_PAGES];
};

struct slot {
	pid_t pid;		/* 0: free */
	int group;
	struct region region[REGIONS];
};

/* What is charged: a group's index while the controller is on in it. */
struct group {
	bool used;
	bool charged;		/* the controller is on in it */
	bool inner;		/* has children and no processes */
	bool enabled;		/* the controller is on in its children */
	int parent;
	unsigned long ino;
	char path[256];
	long def;		/* "default" of cdm.max, -1 is max */
	long line[NODES];	/* a line of its own; -2: none */
	long over[NODES];	/* usage that a lower limit could not get rid of */
	long peak[NODES];
	long events[2][NODES][EVENTS];
};

struct node {
	int id;			/* -1: not there */
	unsigned long start;	/* pfn */
	unsigned long end;
	unsigned int *seen;	/* by page: the last count that met it */
	struct page **first;	/* and the record that did */
};

enum op {
	OP_TOUCH, OP_READ, OP_MAP, OP_UNMAP, OP_DISCARD, OP_PAGEOUT,
	OP_COLLAPSE, OP_HUGE, OP_REMAP, OP_MBIND, OP_MOVE, OP_PUNCH, OP_FORK,
	/* not done by the process itself */
	OP_MOVE_OTHER, OP_MIGRATE, OP_SPLIT, OP_EXIT, OP_SPAWN, OP_ENTER,
	OP_LIMIT, OP_POLICY, OP_MKDIR, OP_RMDIR, OP_TOGGLE, OP_COMPACT,
	OP_SWAPOFF, OP_HOTPLUG,
	/* not chosen */
	OP_VERIFY, OP_CHURN, OP_NONE
};

struct cmd {
	enum op op;
	int region;
	long first;
	long nr;
	enum policy policy;
	int node;		/* -1: RAM, else an index */
	bool flag;
	unsigned int stamp;
	int slot;		/* OP_FORK: of the child */
	int file;		/* OP_MAP: index, or -1 */
	double end;		/* OP_CHURN */
};

struct model {
	unsigned int seed;
	long op;		/* its number */
	bool failed;
	bool at_once;		/* the concurrent part */
	bool loose;		/* who pays is not known: only sums are checked */
	long ambiguous;
	long counted;
	unsigned int count;	/* of checks, for node.seen */
	struct node node[NODES];
	struct slot slot[SLOTS];
	struct file file[FILES];
	struct group group[GROUPS];
	long done[OP_NONE];	/* how often, also by workers */
	char history[HISTORY][160];
};

/* Shared by all processes, for workers keep the contents of their pages. */
extern struct model *model;

void model_init(unsigned int seed, const char *top);
void model_nodes(void);
void __printf(3, 4) model_fail(const char *file, int line, const char *fmt,
			       ...);
#define FAIL(...)	model_fail(__FILE__, __LINE__, __VA_ARGS__)

int group_add(int parent, const char *name, bool inner);
void group_remove(int group);
void group_toggle(int group);
long group_max(int group, int node);
bool group_busy(int group);
int group_charged(int group);

struct page *region_page(struct region *region, long page);
void slot_forget(struct slot *slot);
void slot_learn(struct slot *slot, enum op op, int region, bool loose);
void files_learn(enum op op, int group);
long group_stuck(int group, int node);
void model_learn(enum op op);
bool model_books(void);
void show_kinds(int node);

#endif /* _SELFTESTS_CDM_MODEL_H */
