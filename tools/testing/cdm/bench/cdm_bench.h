/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /proc/cdm_bench: the page allocator without a page fault around it. Write a
 * struct bench_cmd, then read a struct bench_result and, with BENCH_SAMPLE, the
 * cost of each operation. Pages that an open file has allocated stay until they
 * are freed through it, or it is closed. The group of the writer is charged.
 */
#ifndef CDM_BENCH_H
#define CDM_BENCH_H

#include <linux/types.h>

enum bench_op {
	BENCH_ROOM,		/* room for nr pages, before the first one */
	BENCH_NOP,		/* the loop alone */
	BENCH_ALLOC,
	BENCH_BULK,		/* BENCH_BATCH pages of order 0 at a time */
	BENCH_FREE,		/* the last nr */
};

#define BENCH_BATCH	64U
#define BENCH_SAMPLES	16384U	/* at most, in a command with BENCH_SAMPLE */

#define BENCH_WINDOW	0x1		/* mark a new window */
#define BENCH_MORE	0x2		/* mark the last window as going on */
#define BENCH_SAMPLE	0x4
#define BENCH_THISNODE	0x8
#define BENCH_ACCOUNT	0x10		/* kernel memory, charged by memcg */
#define BENCH_KERNEL	0x20		/* kernel memory */
#define BENCH_NOWAIT	0x40		/* no reclaim */

struct bench_cmd {
	__u32 op;
	__u32 flags;
	__s32 node;
	__u32 order;
	__u64 nr;
};

struct bench_result {
	__u64 done;
	__u64 elsewhere;	/* of them not on the node */
};

#endif /* CDM_BENCH_H */
