// SPDX-License-Identifier: GPL-2.0
/*
 * A group that is removed is gone: its charges go to its parent, which takes no
 * longer for many pages than for one, the kernel keeps nothing of it while the
 * pages are in use, and its id is used again.
 *
 * An argument is the number of groups that the last case makes and removes, in
 * place of CYCLES.
 */

#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

#define DEPTH	8

/*
 * The shortest time of an rmdir() in a chain of groups, each of which leaves
 * @pages to the next; or @best, if that is shorter. The shortest time is that
 * of the call which nothing else has delayed.
 */
static double rmdir_chain(const char *group, long pages, double best)
{
	char *chain[DEPTH];
	double time;
	int i;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	for (i = 0; i < DEPTH; i++) {
		if (i)
			CHECK_EQ(cdm_enable(chain[i - 1], "+cdm"), 0);
		chain[i] = cdm_make_group(i ? chain[i - 1] : group, "d");
	}
	cdm_keep_open(pages);
	cdm_leave_charged(chain[DEPTH - 1], 0, pages);
	for (i = DEPTH - 1; i >= 0; i--) {
		time = cdm_now();
		CHECK_EQ(rmdir(chain[i]), 0);
		time = cdm_now() - time;
		if (time < best)
			best = time;
		CHECK_EQ(cdm_usage(i ? chain[i - 1] : group, cdm_node), pages);
	}
	cdm_keep_close();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	return best;
}

/*
 * To walk 50000 pages would take as long as several hundred of these calls. A
 * busy machine can delay a quick call, but it cannot speed up one that walks:
 * alternate, until one call of each kind was not delayed.
 */
static void test_time(const char *group)
{
	double one = 1000, many = 1000;
	int round = 0;

	do {
		one = rmdir_chain(group, 1, one);
		many = rmdir_chain(group, 50000, many);
	} while (many >= 5 * one && ++round < 20);
	ksft_print_msg("rmdir with 1 page: %.0f us, with 50000: %.0f us\n",
		       one * 1e6, many * 1e6);
	CHECK_LT(many * 1e6, 5 * one * 1e6);
}

#define GROUPS	10

/* The pages stay, and the structures of the groups are freed. */
static void test_dying(const char *group)
{
	struct cdm_task task;
	char *child, name[16];
	int i;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	CHECK_EQ(cdm_nr_dying(group), 0);
	cdm_keep_open(GROUPS);
	task_start(&task, NULL);
	CHECK_EQ(task_call(&task, op_map_keep, 0, GROUPS).ret, 0);
	for (i = 0; i < GROUPS; i++) {
		snprintf(name, sizeof(name), "child%d", i);
		child = cdm_make_group(group, name);
		CHECK_EQ(cg_enter(child, task.pid), 0);
		CHECK_EQ(task_call(&task, op_touch, i, 1).dev, 1);
		CHECK_EQ(cg_enter(cdm_root, task.pid), 0);
		CHECK_EQ(rmdir(child), 0);
	}
	CHECK_EQ(cdm_usage(group, cdm_node), GROUPS);
	CHECK_EQ(cdm_wait_dying(group, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), GROUPS);
	task_end(&task);
	cdm_keep_close();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_nr_dying(group), 0);
}

#define CYCLES	2000
#define KEPT	64

static long cycles = CYCLES;

/*
 * Each group leaves a page, which is freed KEPT groups later. There are fewer
 * than 100000 ids, so a run with that many groups uses each of them again.
 */
static void test_cycles(const char *group)
{
	struct cdm_task task;
	char *child;
	long i;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	child = cg_name(group, "child");
	cdm_keep_open(KEPT);
	task_start(&task, NULL);
	CHECK_EQ(task_call(&task, op_map_keep, 0, KEPT).ret, 0);
	for (i = 0; i < cycles; i++) {
		if (!CHECK_EQ(cg_create(child), 0) ||
		    !CHECK_EQ(cg_enter(child, task.pid), 0) ||
		    !CHECK_EQ(cdm_usage(child, cdm_node), 0))
			break;
		fallocate(cdm_keep_fd,
			  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  i % KEPT * cdm_psize, cdm_psize);
		CHECK_EQ(task_call(&task, op_touch, i % KEPT, 1).dev, 1);
		CHECK_EQ(cdm_usage(child, cdm_node), 1);
		CHECK_EQ(cg_enter(cdm_root, task.pid), 0);
		if (!CHECK_EQ(rmdir(child), 0))
			break;
	}
	CHECK_EQ(i, cycles);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, KEPT), KEPT);
	CHECK_EQ(cdm_wait_dying(group, 0), 0);
	task_end(&task);
	cdm_keep_close();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	free(child);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		cycles = strtol(argv[1], NULL, 0);
	cdm_init(3);
	cdm_case("rmdir takes as long for one page as for 50000", test_time);
	cdm_case("nothing of a removed group is kept with its pages",
		 test_dying);
	cdm_case("groups come and go", test_cycles);
	cdm_exit();
}
