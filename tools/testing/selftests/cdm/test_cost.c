// SPDX-License-Identifier: GPL-2.0
/*
 * What a group costs others: readers of its files interrupt nobody, a limit
 * that is met interrupts only CPUs that have pages of its own subtree in stock,
 * and them at a bounded rate; groups cannot be nested without end. And what
 * statistics are worth: each page is counted once, whatever its request met.
 */

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdm_util.h"

#define ROUNDS		1000
/* Interrupts that have other reasons: a tenth of those that would be faults. */
#define OTHERS		(ROUNDS / 10)
/* Times in a second that a CPU may be asked for the pages of one limit. */
#define DRAINS		10
#define MAX_DEPTH	256

/* Of a worker that goes on until it is told to stop. */
static struct busy {
	atomic_int stop;
	atomic_long rounds;
} *busy;

/* Function call interrupts that @cpu has had. */
static long asked(int cpu)
{
	char buf[1 << 16], *line, *pos;
	long count = CDM_NONE;

	if (file_read("/proc/interrupts", buf, sizeof(buf)))
		return CDM_NONE;
	line = strstr(buf, "Function call interrupts");
	if (!line)
		return CDM_NONE;
	*line = '\0';
	line = strrchr(buf, '\n');
	pos = line ? strchr(line, ':') : NULL;
	if (!pos)
		return CDM_NONE;
	for (pos++; cpu >= 0; cpu--) {
		line = pos;
		count = strtol(pos, &pos, 10);
	}
	return pos == line ? CDM_NONE : count;
}

/* Use and free the pages from @first on, over and over. */
static struct cdm_reply op_churn(struct cdm_buf *buf, long first, long nr)
{
	char *p = buf->addr + first * cdm_psize;
	long i;

	while (!atomic_load(&busy->stop)) {
		for (i = 0; i < nr; i++)
			p[i * cdm_psize] = 1;
		madvise(p, nr * cdm_psize, MADV_DONTNEED);
		atomic_fetch_add(&busy->rounds, 1);
	}
	return (struct cdm_reply){ };
}

/*
 * One page that fits, freed and used again, and then one that does not: each
 * time the first may wait in a stock.
 */
static struct cdm_reply op_at_limit(struct cdm_buf *buf, long page, long rounds)
{
	char *p = buf->addr, *more = p + page * cdm_psize;

	while (rounds--) {
		madvise(p, cdm_psize, MADV_DONTNEED);
		*p = 1;
		*more = 1;
		madvise(more, cdm_psize, MADV_DONTNEED);
	}
	return (struct cdm_reply){ };
}

static void churn_start(struct cdm_task *task, long first, long nr)
{
	atomic_store(&busy->stop, 0);
	atomic_store(&busy->rounds, 0);
	task_send(task, op_churn, first, nr);
	cdm_wait_until(10, atomic_load(&busy->rounds) > 0);
}

static void churn_end(struct cdm_task *task)
{
	atomic_store(&busy->stop, 1);
	task_reply(task);
}

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

/*
 * The other CPU has stock, and always something pending: it falls back. Each
 * read waits until it has gone on.
 */
static void test_read(const char *group)
{
	static const char * const files[] = {
		"cdm.events", "cdm.events.local", "cdm.stat", "cdm.current",
		"cdm.peak",
	};
	struct cdm_task task;
	char buf[4096];
	long before, rounds;
	int i;

	CHECK_EQ(cdm_limit(group, cdm_node, 200), 0);
	task_start_cpu(&task, group, 0);
	on_cpu(1);
	CHECK_EQ(task_call(&task, op_map, 300, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 250).dev, 200);
	churn_start(&task, 260, 4);
	before = asked(0);
	for (i = 0; i < ROUNDS; i++) {
		rounds = atomic_load(&busy->rounds);
		CHECK_EQ(cg_read(group, files[i % ARRAY_SIZE(files)], buf,
				 sizeof(buf)), 0);
		while (atomic_load(&busy->rounds) < rounds + 2)
			sched_yield();
		cdm_progress();
	}
	CHECK_LE(asked(0) - before, OTHERS);
	churn_end(&task);
	/* All the same they are exact. */
	rounds = 50 + 4 * atomic_load(&busy->rounds);
	CHECK_EQ(cdm_event(group, "fallback"), rounds);
	CHECK_EQ(cdm_event_local(group, "max"), rounds);
	CHECK_EQ(cdm_usage(group, cdm_node), 200);
	task_end(&task);
}

/* A neighbour that has a limit, and one that has none. */
static void test_neighbour(const char *group)
{
	struct cdm_task victim, other;
	long before;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(b, cdm_node, 256), 0);
	task_start_cpu(&victim, a, 0);
	task_start_cpu(&other, b, 1);
	CHECK_EQ(task_call(&victim, op_map, 64, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_map, 512, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch, 0, 256).dev, 256);
	churn_start(&victim, 0, 64);
	before = asked(0);
	task_call(&other, op_at_limit, 300, ROUNDS);
	CHECK_LE(asked(0) - before, OTHERS);
	churn_end(&victim);
	CHECK_GE(cdm_event(b, "max"), ROUNDS / 2);
	task_end(&other);
	task_end(&victim);
}

/*
 * Below one limit one task keeps pages of charge on its CPU, and another one
 * meets the limit there: the first is asked for them, but not each time.
 */
static void test_rate(const char *group)
{
	struct cdm_task victim, other;
	double time;
	long before;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(group, cdm_node, 300), 0);
	task_start_cpu(&victim, a, 0);
	task_start_cpu(&other, b, 1);
	CHECK_EQ(task_call(&victim, op_map, 64, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_map, 512, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_touch, 0, 280).dev, 280);
	churn_start(&victim, 0, 16);
	time = cdm_now();
	before = asked(0);
	task_call(&other, op_at_limit, 400, ROUNDS);
	before = asked(0) - before;
	time = cdm_now() - time;
	ksft_print_msg("%ld interrupts in %.1f s\n", before, time);
	CHECK_LE(before, OTHERS + time * DRAINS);
	churn_end(&victim);
	task_end(&other);
	task_end(&victim);
}

/*
 * What waits on another CPU is never refused, whether or not that was asked for
 * it a moment ago.
 */
static void test_all_of_it(const char *group)
{
	struct cdm_task victim, other;
	char *a, *b;
	int i;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(group, cdm_node, 300), 0);
	CHECK_EQ(cdm_write(b, "cdm.policy", "fail"), 0);
	task_start_cpu(&victim, a, 0);
	task_start_cpu(&other, b, 1);
	CHECK_EQ(task_call(&victim, op_map, 64, cdm_node).ret, 0);
	CHECK_EQ(task_call(&other, op_map, 512, cdm_node).ret, 0);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(task_call(&victim, op_touch, 0, 64).dev, 64);
		task_call(&victim, op_discard, i, 64 - i);
		CHECK_EQ(task_call(&other, op_touch, 0, 300 - i).dev, 300 - i);
		CHECK_EQ(task_call(&other, op_touch, 300, 1).bus, 1);
		task_call(&other, op_discard, 0, 300);
		task_call(&victim, op_discard, 0, 64);
	}
	task_end(&other);
	task_end(&victim);
}

/* A page is charged once, whatever others were refused or not found. */
static void test_charged(const char *group)
{
	const char *mthp =
		"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
	struct cdm_task task, hog;
	char *a, *b;
	long dev;

	cdm_make_two_groups(group, &a, &b);
	/* Over a limit. */
	CHECK_EQ(cdm_limit(a, cdm_node, 10), 0);
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map, 200, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 60).dev, 10);
	CHECK_EQ(cdm_stat(a, "charged"), 10);
	CHECK_EQ(cdm_limit(a, cdm_node, -1), 0);

	/* On a node that has no pages left, or few that come and go. */
	task_start(&hog, b);
	CHECK_EQ(task_call(&hog, op_map, cdm_nr_free() + 512, cdm_node).ret, 0);
	task_call(&hog, op_touch, 0, cdm_nr_free() + 512);
	dev = 10 + task_call(&task, op_touch, 60, 100).dev;
	CHECK_EQ(cdm_stat(a, "charged"), dev);
	CHECK_EQ(cdm_stat(a, "uncharged"), 0);
	CHECK_GT(cdm_event(a, "depleted"), 0);
	task_end(&hog);
	task_end(&task);

	/* Folios that CPUs have no lists of. */
	if (!file_exists(mthp))
		return;
	dev = cdm_stat(a, "charged");
	CHECK_EQ(file_write(mthp, "always"), 0);
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map_huge, 512, cdm_node).ret, 0);
	dev += task_call(&task, op_touch, 0, 512).dev;
	CHECK_EQ(cdm_stat(a, "charged"), dev);
	task_end(&task);
	CHECK_EQ(file_write(mthp, "never"), 0);
}

/* Groups below each other, each with the controller, until there is an end. */
static void test_depth(const char *group)
{
	const char *pos = group + strlen(cdm_root);
	int levels = 0, depth = 0, ret = 0, home = open(".", O_RDONLY);

	while ((pos = strchr(pos, '/'))) {
		levels++;
		pos++;
	}
	CHECK_EQ(chdir(group), 0);
	while (levels + depth <= MAX_DEPTH) {
		CHECK_EQ(file_write("cgroup.subtree_control", "+cdm"), 0);
		ret = mkdir("d", 0755) ? errno : 0;
		if (ret)
			break;
		CHECK_EQ(chdir("d"), 0);
		depth++;
		cdm_progress();
	}
	CHECK_EQ(ret, EAGAIN);
	CHECK_EQ(levels + depth, MAX_DEPTH);
	while (depth--) {
		CHECK_EQ(chdir(".."), 0);
		CHECK_EQ(rmdir("d"), 0);
		cdm_progress();
	}
	CHECK_EQ(fchdir(home), 0);
	close(home);
}

int main(void)
{
	cdm_init(6);
	busy = mmap(NULL, sizeof(*busy), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (busy == MAP_FAILED || asked(1) == CDM_NONE)
		ksft_exit_fail_msg("no second CPU, or no count of interrupts\n");
	cdm_case("who reads interrupts nobody", test_read);
	cdm_case("a full quota does not interrupt a neighbour",
		 test_neighbour);
	cdm_case("a full quota interrupts its own at a bounded rate",
		 test_rate);
	cdm_case("nothing that waits is refused", test_all_of_it);
	cdm_case("charged counts each page once", test_charged);
	cdm_case("groups can be nested only so deep", test_depth);
	cdm_exit();
}
