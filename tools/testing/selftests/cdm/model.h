/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What test_model expects of the kernel, in plain words and integers.
 *
 * The model keeps a record of every page that a worker has mapped or that a
 * file holds: what it contains, where it is, which group is charged for it on a
 * device node, and which group's memory it is otherwise. Where a page ends up
 * is not always determined (reclaim may take more than asked for, there may be
 * no huge page), so that is read from the kernel after each operation. The
 * payer is determined by where the page was before, and by the operation:
 *
 *   new, or copied for a write	the group of the process that wrote it
 *   collapsed			the group of the process
 *   swapped in			the group of the process that faulted
 *   from RAM to a device node	the group whose memory the page is
 *   between device nodes	the group that paid before
 *   its group was removed	the next group above that has the controller
 *   or lost the controller	(and goes on paying)
 *
 * In a few cases it may be either of two groups (a page that may have left the
 * device and come back in one operation). Both are recorded, and counted.
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
#define NODES		2	/* device nodes: cdm_node, one plugged */
#define EVENTS		5
#define HISTORY		30

#define NOBODY		(-1)

enum place { NOWHERE, IN_RAM, IN_SWAP, ON_NODE };

struct page {
	unsigned int stamp;	/* what it is filled with; 0: not written */
	unsigned char place;
	unsigned char node;	/* index, ON_NODE */
	bool gone;		/* unmapped, not to be used */
	bool cow;		/* was shared by a fork since it was written */
	bool written;		/* by the current operation */
	short owner;		/* ON_NODE: the group that is charged */
	short other;		/* or else this one, or NOBODY */
	short memcg;		/* the group whose memory it is */
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
	int user;		/* the only group that writes, or NOBODY */
	struct page page[FILE_PAGES];
};

struct slot {
	pid_t pid;		/* 0: free */
	int group;
	struct region region[REGIONS];
};

/* Groups are referred to by their index in the model. */
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
	long over[NODES];	/* usage that a lower limit could not evict */
	long peak[NODES];
	long events[2][NODES][EVENTS];
};

struct node {
	int id;			/* -1: not there */
	unsigned long start;	/* pfn */
	unsigned long end;
	unsigned int *seen;	/* by page: the last check that saw it */
	struct page **first;	/* and its record in that check */
};

enum op {
	OP_TOUCH, OP_READ, OP_MAP, OP_UNMAP, OP_DISCARD, OP_PAGEOUT,
	OP_COLLAPSE, OP_HUGE, OP_REMAP, OP_MBIND, OP_MOVE, OP_PUNCH, OP_FORK,
	/* done to a process, or to groups */
	OP_MOVE_OTHER, OP_MIGRATE, OP_SPLIT, OP_EXIT, OP_SPAWN, OP_ENTER,
	OP_LIMIT, OP_POLICY, OP_MKDIR, OP_RMDIR, OP_TOGGLE, OP_COMPACT,
	OP_SWAPOFF, OP_HOTPLUG,
	/* never picked */
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
	bool loose;		/* payers not known: only sums checked */
	long ambiguous;
	long counted;
	unsigned int count;	/* checks so far, for node.seen */
	struct node node[NODES];
	struct slot slot[SLOTS];
	struct file file[FILES];
	struct group group[GROUPS];
	long done[OP_NONE];	/* how often, workers included */
	char history[HISTORY][160];
};

/* Shared by all processes: workers record what their pages contain. */
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
