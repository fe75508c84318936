// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once: tasks allocate, move, swap and free pages, while limits
 * change, groups are made and removed, and tasks move between them. No count is
 * known in advance, but the books must balance at the end. The seed is printed,
 * and can be given as an argument.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_util.h"

#define TASKS		6
#define GROUPS		4
#define PAGES		2048
#define SECONDS		8	/* no check depends on how much gets done */

static unsigned int seed;

/* Fork a child that writes to some of the shared pages, and exits. */
static void churn_fork(struct cdm_buf *buf, long first, long nr)
{
	pid_t pid = fork();

	if (!pid) {
		buf_touch(buf, first, nr);
		_exit(0);
	}
	/* A worker ignores SIGCHLD: this waits until the child is gone. */
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void churn_move(struct cdm_buf *buf, long first, long nr, int node)
{
	struct cdm_buf part = *buf;

	part.addr += first * cdm_psize;
	op_move(&part, nr, node);
}

static void churn_once(struct cdm_buf *buf, unsigned int *state)
{
	long first = rand_r(state) % PAGES;
	long nr = 1 + rand_r(state) % 300;

	if (first + nr > PAGES)
		nr = PAGES - first;
	switch (rand_r(state) % 12) {
	case 0:
	case 1:
		op_discard(buf, first, nr);
		break;
	case 2:
		op_pageout(buf, first, nr);
		break;
	case 3:
		churn_move(buf, first, nr, cdm_ram_node);
		break;
	case 4:
		churn_move(buf, first, nr, cdm_node);
		break;
	case 5:
		churn_fork(buf, first, nr);
		break;
	case 6:
		madvise(buf->addr, PAGES * cdm_psize, rand_r(state) % 2 ?
			MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	case 7:
		mprotect(buf->addr + first * cdm_psize, nr * cdm_psize,
			 PROT_READ | PROT_WRITE);
		break;
	default:
		buf_touch(buf, first, nr);
	}
}

static struct cdm_reply op_churn(struct cdm_buf *buf, long start, long b)
{
	unsigned int state = start;
	double end = cdm_now() + SECONDS;
	struct cdm_reply reply = { 0 };
	static bool written[PAGES];
	long i;

	(void)b;
	if (buf_map(buf, PAGES, cdm_node, true))
		return buf_errno(-1);
	while (cdm_now() < end)
		churn_once(buf, &state);
	/*
	 * Pages that were never written, or discarded, read as zeroes: write
	 * to all. Leave out those that get SIGBUS. They may be present all the
	 * same, with their old contents: when only the copy for the write was
	 * refused, or when khugepaged has filled in what was missing.
	 */
	for (i = 0; i < PAGES; i++)
		written[i] = buf_touch(buf, i, 1).ok;
	for (i = 0; i < PAGES; i++)
		if (written[i])
			reply.bad += buf_count(buf, i, 1).bad;
	return reply;
}

static const char * const words[] = {
	"fallback", "reclaim", "reclaim,fail", "fail", "inherit",
	"inherit,fallback", "inherit,fail",
};

static char *groups[GROUPS];
static char *top;

/* Make one change to the tree; it may fail. */
static void change(struct cdm_task *tasks, unsigned int *state)
{
	char *group = groups[rand_r(state) % GROUPS];
	struct cdm_task *task = &tasks[rand_r(state) % TASKS];

	switch (rand_r(state) % 8) {
	case 0:
	case 1:
		cg_enter(group, task->pid);
		break;
	case 2:
		cdm_limit(group, cdm_node, rand_r(state) % (2 * PAGES));
		break;
	case 3:
		cdm_limit(top, cdm_node, rand_r(state) % (TASKS * PAGES));
		break;
	case 4:
		cdm_write(group, "cdm.policy", "%s",
			  words[rand_r(state) % ARRAY_SIZE(words)]);
		break;
	case 5:
		cdm_write(group, "cdm.max", "default %ld\nnode%d default\n",
			  (rand_r(state) % PAGES) * cdm_psize, cdm_node);
		break;
	case 6:
		if (!rmdir(group))
			cg_create(group);
		break;
	case 7:
		CHECK_LE(cdm_usage(group, cdm_node),
			 cdm_bytes(cdm_root, "cdm.capacity", cdm_node) /
			 cdm_psize);
		break;
	}
}

static void test_churn(const char *group)
{
	struct cdm_task tasks[TASKS];
	unsigned int state = seed;
	double end = cdm_now() + SECONDS;
	struct cdm_reply reply;
	char name[16];
	int i;

	cdm_enable(group, "+cdm");
	top = cdm_make_group(group, "top");
	cdm_enable(top, "+cdm");
	for (i = 0; i < GROUPS; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		groups[i] = cdm_make_group(top, name);
	}
	for (i = 0; i < TASKS; i++) {
		task_start(&tasks[i], groups[i % GROUPS]);
		task_send(&tasks[i], op_churn, seed + 1 + i, 0);
	}
	while (cdm_now() < end)
		change(tasks, &state);
	for (i = 0; i < TASKS; i++) {
		reply = task_reply(&tasks[i]);
		CHECK_EQ(reply.bad, 0);
		task_end(&tasks[i]);
	}
	/*
	 * A page that was being written to swap when its process ended stays
	 * in the swap cache until reclaim finds it.
	 */
	CHECK_EQ(cdm_limit(top, cdm_node, 0), 0);
	for (i = 0; i < GROUPS; i++)
		CHECK_EQ(cdm_wait_usage(groups[i], cdm_node, 0), 0);
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? strtoul(argv[1], NULL, 0) : 20161122;
	cdm_init(1);
	ksft_print_msg("seed %u\n", seed);
	cdm_case("everything at once", test_churn);
	cdm_exit();
}
