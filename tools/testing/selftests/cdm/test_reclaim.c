// SPDX-License-Identifier: GPL-2.0
/*
 * Reclaim of device memory: how many pages are demoted, which ones, and of
 * which groups; pages of every kind, and RAM without room; what it costs the
 * task that asks, and how it is reported. All with both implementations of the
 * LRU.
 */

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

/*
 * Reclaim takes this many pages off the LRU lists at a time, so it may demote
 * as many too many. A request makes room for as many, which adds up to less
 * than two batches.
 */
#define BATCH		64

/* Free pages on the lists of CPUs, which the watermarks do not count. */
#define UNSEEN		(6 * BATCH)

/* A limit that is soon reached, and what is left of a node to be depleted. */
#define ROOM		2048
#define SMALL_NODE	4096

#define DEMOTION	"/sys/kernel/mm/numa/demotion_enabled"

/* Start a worker whose pages are all on the LRU lists. */
static void start_cold(struct cdm_task *task, const char *group, long pages)
{
	task_start_on(task, group, pages, cdm_node);
	cdm_drain_lru();
}

/*
 * cdm.reclaim
 */

/* It demotes what was asked for, and less than a batch more. */
static void test_amounts(const char *group)
{
	static const long wanted[] = { 1, BATCH - 1, BATCH, BATCH + 1, 500 };
	long left = ROOM, gone;
	struct cdm_task task;
	size_t i;

	start_cold(&task, group, ROOM);
	CHECK_EQ(cdm_reclaim(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), ROOM);
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		CHECK_EQ(cdm_reclaim(group, cdm_node, wanted[i]), 0);
		gone = left - cdm_usage(group, cdm_node);
		CHECK_GE(gone, wanted[i]);
		CHECK_LT(gone, wanted[i] + BATCH);
		left -= gone;
		CHECK_EQ(cdm_stat(group, "demoted"), ROOM - left);
		task_check_at(&task, ROOM, left, ROOM - left);
	}
	/* Asked for more than there is, it demotes all, and fails. */
	CHECK_EQ(cdm_reclaim(group, cdm_node, left + 1), -EAGAIN);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(cdm_reclaim(group, cdm_node, 1), -EAGAIN);
	task_check_at(&task, ROOM, 0, ROOM);
	CHECK_EQ(cdm_stat(group, "demoted"), ROOM);
	CHECK_EQ(cdm_event(group, "reclaim"), 0);
	task_end(&task);
}

/* It takes pages of the group and those below; in the root, of all groups. */
static void test_subtree(const char *group)
{
	struct cdm_task task[3];
	char *a, *b, *child[2];
	long left;

	cdm_make_two_groups(group, &a, &b);
	cdm_make_two_groups(a, &child[0], &child[1]);
	start_cold(&task[0], child[0], 300);
	start_cold(&task[1], child[1], 300);
	start_cold(&task[2], b, 300);
	CHECK_EQ(cdm_reclaim(child[0], cdm_node, 100), 0);
	CHECK_LE(cdm_usage(child[0], cdm_node), 200);
	CHECK_EQ(cdm_usage(child[1], cdm_node), 300);
	CHECK_EQ(cdm_usage(b, cdm_node), 300);
	left = cdm_usage(a, cdm_node);
	CHECK_EQ(cdm_reclaim(a, cdm_node, left), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 300);
	CHECK_EQ(cdm_stat(b, "demoted"), 0);

	CHECK_EQ(cdm_reclaim(cdm_root, cdm_node, 100), 0);
	CHECK_LE(cdm_usage(b, cdm_node), 200);
	CHECK_GT(cdm_usage(b, cdm_node), 200 - BATCH);
	CHECK_EQ(cdm_reclaim(cdm_root, cdm_node, 300), -EAGAIN);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_end(&task[0]);
	task_end(&task[1]);
	task_end(&task[2]);
}

static void test_node(const char *group)
{
	int other = cdm_other_node();
	struct cdm_task task[2];
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_cold(&task[0], a, 300);
	task_start_on(&task[1], a, 300, other);
	cdm_drain_lru();
	CHECK_EQ(cdm_reclaim(group, cdm_node, 300), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(cdm_usage(a, other), 300);
	CHECK_EQ(cdm_reclaim(group, cdm_node, 1), -EAGAIN);
	CHECK_EQ(cdm_usage(a, other), 300);
	CHECK_EQ(cdm_reclaim(group, other, 100), 0);
	CHECK_LE(cdm_usage(a, other), 200);
	CHECK_EQ(cdm_item(a, "cdm.stat", cdm_node, "demoted"), 300);
	CHECK_EQ(cdm_item(a, "cdm.stat", other, "demoted"),
		 300 - cdm_usage(a, other));
	task_end(&task[0]);
	task_end(&task[1]);
}

/* memory.reclaim takes RAM only. */
static void test_memory_reclaim(const char *group)
{
	struct cdm_task task, ram;

	start_cold(&task, group, ROOM);
	task_start_on(&ram, group, ROOM, -1);
	cdm_drain_lru();
	cdm_write(group, "memory.reclaim", "%ld", 2 * ROOM * cdm_psize);
	CHECK_EQ(cdm_usage(group, cdm_node), ROOM);
	CHECK_EQ(cdm_stat(group, "demoted"), 0);
	task_check_at(&task, ROOM, ROOM, 0);
	task_end(&task);
	task_end(&ram);
}

/*
 * Kinds of pages
 */

static struct cdm_reply op_map_cached(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	return buf_map_fd(buf, 0, pages, buf->fd, MAP_SHARED);
}

static struct cdm_reply make_file(struct cdm_buf *buf, long pages, bool dirty)
{
	struct cdm_reply reply = op_make_file(buf, pages, dirty);

	if (reply.ok == pages)
		reply = op_move_file(buf, pages, 0);
	return op_map_cached(buf, pages, 0).ret ? buf_errno(-1) : reply;
}

static struct cdm_reply op_make_clean(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	return make_file(buf, pages, false);
}

static struct cdm_reply op_make_dirty(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	return make_file(buf, pages, true);
}

static struct cdm_reply op_make_mapped(struct cdm_buf *buf, long pages, long b)
{
	make_file(buf, pages, false);
	(void)b;
	return op_verify(buf, 0, pages);
}

struct kind {
	const char *name;
	const char *stat;
	cdm_op map;
	bool huge;
	bool file;
};

static const struct kind kinds[] = {
	{ "private memory", "demoted_anon", op_map, false, false },
	{ "huge pages", "demoted_anon", op_map_huge, true, false },
	{ "shared memory", "demoted_shmem", op_map_memfd, false, false },
	{ "clean page cache", "demoted_file", op_make_clean, false, true },
	{ "page cache that is mapped", "demoted_file", op_make_mapped, false,
	  true },
	{ "dirty page cache", "demoted_file", op_make_dirty, false, true },
};

/* The counters of kinds add up, and only that of @kind is not 0. */
static void check_kinds(const char *group, const struct kind *kind)
{
	static const char * const stats[] = {
		"demoted_anon", "demoted_file", "demoted_shmem",
	};
	long sum = 0, nr;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stats); i++) {
		nr = cdm_stat(group, stats[i]);
		if (!strcmp(stats[i], kind->stat))
			CHECK_GT(nr, 0);
		else
			CHECK_EQ(nr, 0);
		sum += nr;
	}
	CHECK_EQ(sum, cdm_stat(group, "demoted"));
}

/* Pages of each kind go as they are: not dropped, split or written. */
static void test_kind(const char *group, const void *arg)
{
	const struct kind *kind = arg;
	long pages = 2 * cdm_hpages, split, swapped, all;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, kind->map, pages, cdm_node).ret, 0);
	if (!kind->file)
		CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	cdm_drain_lru();
	all = cdm_usage(group, cdm_node);
	CHECK_EQ(all, pages);
	split = vm_event("thp_split_page");
	swapped = vm_event("pswpout");

	CHECK_EQ(cdm_reclaim(group, cdm_node, 1), 0);
	CHECK_GE(cdm_stat(group, kind->stat), kind->huge ? cdm_hpages : 1);
	CHECK_LE(cdm_stat(group, "demoted"), kind->huge ? cdm_hpages : BATCH);
	CHECK_EQ(cdm_reclaim(group, cdm_node, cdm_usage(group, cdm_node)), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(cdm_stat(group, "demoted"), all);
	check_kinds(group, kind);

	CHECK_EQ(task_call(&task, op_resident, 0, pages).ret, pages);
	CHECK_EQ(vm_event("thp_split_page"), split);
	CHECK_EQ(vm_event("pswpout"), swapped);
	CHECK_EQ(task_call(&task, op_verify, 0, pages).bad, 0);
	task_check_at(&task, pages, 0, pages);
	if (kind->huge)
		CHECK_EQ(task_call(&task, op_huge_mapped, 0, 0).ret, pages);
	task_end(&task);
	if (kind->file) {
		unlink(CDM_CACHED);
		cdm_empty_cache();
	}
}

/*
 * A stuck disk: a file system in a file of this one, which can be frozen. The
 * queue of its disk is short.
 */
#define DISK		"disk"

static bool disk_begin(void)
{
	return !system("set -e; mkdir " DISK "; truncate -s 32M " DISK ".img; "
		       "mkfs.ext4 -q -F -b 4096 " DISK ".img; "
		       "dev=$(losetup -f --show " DISK ".img); "
		       "queue=/sys/block/${dev#/dev/}/queue; "
		       "echo 4 >$queue/nr_requests; "
		       "echo 4 >$queue/max_sectors_kb; "
		       "mount $dev " DISK "; losetup -d $dev");
}

static void disk_stuck(bool stuck)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK_EQ(ioctl(fd, stuck ? FIFREEZE : FITHAW, 0), 0);
	close(fd);
}

static void disk_end(void)
{
	CHECK_EQ(system("umount " DISK " && rmdir " DISK " && rm " DISK ".img"),
		 0);
}

static struct cdm_reply op_chdir(struct cdm_buf *buf, long a, long b)
{
	(void)buf;
	(void)a;
	(void)b;
	return buf_errno(chdir(DISK));
}

/* Dirty pages are demoted as they are, without waiting for the disk. */
static void test_stuck_disk(const char *group)
{
	struct cdm_task task;

	if (!CHECK_EQ(disk_begin(), true))
		return;
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_chdir, 0, 0).ret, 0);
	CHECK_EQ(task_call(&task, op_make_dirty, ROOM, 0).ok, ROOM);
	cdm_drain_lru();
	disk_stuck(true);
	CHECK_EQ(cdm_reclaim(group, cdm_node, ROOM / 2), 0);
	disk_stuck(false);
	CHECK_GE(cdm_stat(group, "demoted_file"), ROOM / 2);
	CHECK_EQ(task_call(&task, op_verify, 0, ROOM).bad, 0);
	task_end(&task);
	disk_end();
	cdm_empty_cache();
}

/* Pages that are pinned stay, and stay charged, whatever asks for them. */
static void test_pinned(const char *group)
{
	struct cdm_task task;

	start_cold(&task, group, 700);
	CHECK_EQ(task_call(&task, op_pin, 0, 300).ret, 300);
	cdm_drain_lru();
	CHECK_EQ(cdm_reclaim(group, cdm_node, 400), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 300);
	CHECK_EQ(cdm_reclaim(group, cdm_node, 1), -EAGAIN);
	CHECK_EQ(cdm_limit(group, cdm_node, 100), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 300);
	CHECK_EQ(cdm_stat(group, "demoted"), 400);
	task_check_at(&task, 700, 300, 400);
	CHECK_EQ(task_call(&task, op_count, 0, 300).dev, 300);
	/* So there is no room for others, under any policy. */
	cdm_policy(group, "reclaim,fail");
	CHECK_EQ(task_ask(&task, 3).bus, 3);
	cdm_policy(group, "reclaim");
	CHECK_EQ(task_ask(&task, 3).ram, 3);
	CHECK_EQ(cdm_usage(group, cdm_node), 300);
	task_end(&task);
}

static void test_unpinned(const char *group)
{
	struct cdm_task task;

	start_cold(&task, group, 300);
	CHECK_EQ(task_call(&task, op_pin, 0, 300).ret, 300);
	cdm_drain_lru();
	CHECK_EQ(cdm_reclaim(group, cdm_node, 1), -EAGAIN);
	CHECK_EQ(task_call(&task, op_unpin, 0, 300).ret, 0);
	cdm_drain_lru();
	CHECK_EQ(cdm_reclaim(group, cdm_node, 300), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_check_at(&task, 300, 0, 300);
	task_end(&task);
}

/* Have pages in the batches of one CPU all the time, until it is killed. */
static struct cdm_reply op_churn(struct cdm_buf *buf, long pages, long cpu)
{
	struct cdm_reply reply = op_on_cpu(buf, cpu, 0);

	while (!reply.ret) {
		reply = op_map(buf, pages, -1);
		op_touch(buf, 0, pages);
		op_unmap(buf, 0, pages);
	}
	return reply;
}

/*
 * With nothing to take, pages may yet be in the batches of other CPUs, which
 * have to be interrupted for that: not for each request.
 */
#define LOOKS	"workqueue/workqueue_queue_work"
#define LOOK	0.1	/* seconds */

static void test_looks(const char *group)
{
	struct cdm_task task, other;
	double begin, seconds;
	long looks = -1;

	cdm_policy(group, "reclaim");
	start_cold(&task, group, BATCH);
	CHECK_EQ(task_call(&task, op_pin, 0, BATCH).ret, BATCH);
	CHECK_EQ(cdm_limit(group, cdm_node, BATCH), 0);
	CHECK_EQ(task_call(&task, op_on_cpu, 0, 0).ret, 0);
	CHECK_EQ(task_call(&task, op_map, 500, cdm_node).ret, 0);
	task_start(&other, cdm_root);
	task_send(&other, op_churn, BATCH, 1);

	begin = cdm_now();
	cdm_trace_begin(LOOKS);
	CHECK_EQ(task_call(&task, op_touch, 0, 500).ram, 500);
	cdm_trace_end(LOOKS);
	seconds = cdm_now() - begin;
	CHECK_NE(cdm_trace_sum("workqueue_queue_work:", "lru_add_drain_per_cpu",
			       "req_cpu=", &looks), CDM_NONE);
	CHECK_GT(looks, 0);
	CHECK_LE(looks, sysconf(_SC_NPROCESSORS_ONLN) * (seconds / LOOK + 2));
	CHECK_GE(cdm_event(group, "reclaim"), 500);
	task_kill(&other);
	task_end(&task);
}

/* Pages of hugetlb are not demoted. */
static void test_hugetlb(const char *group)
{
	CHECK_GT(cdm_usage(cdm_root, cdm_node), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(cdm_reclaim(cdm_root, cdm_node, 1), -EAGAIN);
}

/*
 * Which pages, and of which groups
 */

/* Run this program or a worker on one CPU, or on all. */
static void one_cpu(struct cdm_task *task, bool on)
{
	static cpu_set_t before;
	cpu_set_t one;

	if (!on) {
		sched_setaffinity(0, sizeof(before), &before);
		return;
	}
	sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	CHECK_EQ(task_call(task, op_on_cpu, 0, 0).ret, 0);
}

/*
 * Half of the pages are in use, and were there first. As all of them have been
 * written to, the first round can only learn which ones are. After that, of the
 * pages that go no more than a tenth may be in use. The task that uses them and
 * the one that reclaims take turns on one CPU, as the accessed bits of page
 * table entries that another CPU has cached are not set again.
 */
static void test_coldest(const char *group)
{
	const long used = 1024, idle = 1024;
	struct cdm_task task;
	long gone, wrong, i;

	task_start(&task, group);
	one_cpu(&task, true);
	CHECK_EQ(task_call(&task, op_map, used + idle, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, used + idle).dev, used + idle);
	cdm_drain_lru();
	CHECK_EQ(cdm_reclaim(group, cdm_node, BATCH), 0);
	wrong = task_call(&task, op_count, 0, used).dev;
	gone = cdm_stat(group, "demoted");
	for (i = 0; i < idle / 2; i += BATCH) {
		task_call(&task, op_verify, 0, used);
		CHECK_EQ(cdm_reclaim(group, cdm_node, BATCH), 0);
	}
	gone = cdm_stat(group, "demoted") - gone;
	CHECK_GE(gone, idle / 2);
	wrong -= task_call(&task, op_count, 0, used).dev;
	CHECK_LE(wrong, gone / 10);
	one_cpu(&task, false);
	task_end(&task);
}

/* Groups beside a full limit keep all their pages, and so do other nodes. */
static void test_neighbours(const char *group)
{
	int other = cdm_other_node();
	struct cdm_task task[4];
	char *a, *b, *child[2];

	cdm_make_two_groups(group, &a, &b);
	cdm_make_two_groups(a, &child[0], &child[1]);
	CHECK_EQ(cdm_limit(child[0], cdm_node, 400), 0);
	cdm_policy(child[0], "reclaim");
	start_cold(&task[0], child[1], 400);
	start_cold(&task[1], b, 400);
	task_start_on(&task[2], child[0], 200, other);
	task_start(&task[3], child[0]);
	CHECK_EQ(task_ask(&task[3], 2000).bus, 0);
	CHECK_EQ(cdm_event(child[0], "fallback"), 0);
	CHECK_GE(cdm_stat(child[0], "demoted"), 1600);
	CHECK_LT(cdm_stat(child[0], "demoted"), 1600 + 2 * BATCH);
	CHECK_EQ(cdm_stat(child[1], "demoted"), 0);
	CHECK_EQ(cdm_stat(b, "demoted"), 0);
	task_check_at(&task[0], 400, 400, 0);
	task_check_at(&task[1], 400, 400, 0);
	CHECK_EQ(cdm_usage(child[0], other), 200);
	CHECK_EQ(cdm_item(group, "cdm.stat", other, "demoted"), 0);
	/* The event is counted for the group that asked. */
	CHECK_GE(cdm_event_local(child[0], "reclaim"), 1600 / BATCH / 2);
	CHECK_LE(cdm_event_local(child[0], "reclaim"), 1600 / BATCH + 1);
	CHECK_EQ(cdm_event(a, "reclaim"), cdm_event_local(child[0], "reclaim"));
	CHECK_EQ(cdm_event_local(a, "reclaim"), 0);
	CHECK_EQ(cdm_event(child[1], "reclaim"), 0);
	CHECK_EQ(cdm_event(b, "reclaim"), 0);
	task_end(&task[0]);
	task_end(&task[1]);
	task_end(&task[2]);
	task_end(&task[3]);
}

#define CHILDREN	4

/* Batches are taken from all groups in turn, not only from the first. */
static void test_round_robin(const char *group)
{
	const long pages = 512, batches = 16;
	struct cdm_task task[CHILDREN];
	char name[16], *child[CHILDREN];
	long i, lost, mean;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	for (i = 0; i < CHILDREN; i++) {
		snprintf(name, sizeof(name), "child%ld", i);
		child[i] = cdm_make_group(group, name);
		start_cold(&task[i], child[i], pages);
	}
	for (i = 0; i < batches; i++)
		CHECK_EQ(cdm_reclaim(group, cdm_node, BATCH), 0);
	mean = cdm_stat(group, "demoted") / CHILDREN;
	CHECK_GE(mean, batches * BATCH / CHILDREN);
	for (i = 0; i < CHILDREN; i++) {
		lost = cdm_stat(child[i], "demoted");
		CHECK_GE(lost, mean - 2 * BATCH);
		CHECK_LE(lost, mean + 2 * BATCH);
		task_end(&task[i]);
	}
}

/*
 * A working set that is a tenth larger than the limit. The pages that do not
 * fit are demoted once, and stay in RAM however often all are used. When they
 * are moved back, as many others go.
 */
static void test_working_set(const char *group)
{
	const long set = ROOM + ROOM / 10;
	long out, in, pass;
	struct cdm_task task;

	cdm_policy(group, "reclaim");
	CHECK_EQ(cdm_limit(group, cdm_node, ROOM), 0);
	task_start(&task, group);
	CHECK_EQ(task_ask(&task, set).bus, 0);
	out = cdm_stat(group, "demoted");
	CHECK_GE(out, set - ROOM);
	CHECK_LE(2 * out, 3 * (set - ROOM));
	for (pass = 0; pass < 3; pass++)
		CHECK_EQ(task_call(&task, op_touch, 0, set).bus, 0);
	CHECK_EQ(cdm_stat(group, "demoted"), out);

	for (pass = 0; pass < 3; pass++) {
		in = cdm_stat(group, "moved_in");
		out = cdm_stat(group, "demoted");
		task_call(&task, op_move, set, cdm_node);
		in = cdm_stat(group, "moved_in") - in;
		out = cdm_stat(group, "demoted") - out;
		CHECK_GT(in, 0);
		CHECK_LE(2 * out, 3 * in + 2 * BATCH);
		CHECK_EQ(task_call(&task, op_touch, 0, set).bus, 0);
	}
	CHECK_EQ(cdm_event(group, "fallback"), 0);
	CHECK_EQ(task_call(&task, op_verify, 0, set).bad, 0);
	task_end(&task);
}

/* One request makes room for a batch of requests. */
static void test_hysteresis(const char *group)
{
	const long more = 10 * BATCH;
	struct cdm_task task;

	cdm_policy(group, "reclaim,fail");
	CHECK_EQ(cdm_limit(group, cdm_node, ROOM), 0);
	start_cold(&task, group, ROOM);
	CHECK_EQ(cdm_event(group, "reclaim"), 0);
	CHECK_EQ(task_ask(&task, more).dev, more);
	CHECK_GE(cdm_event(group, "reclaim"), 1);
	CHECK_LE(cdm_event(group, "reclaim"), more / BATCH + 1);
	CHECK_GE(cdm_stat(group, "demoted"), more);
	CHECK_LT(cdm_stat(group, "demoted"), more + 2 * BATCH);
	task_end(&task);
}

/*
 * What reclaim does not depend on
 */

/* Demotion to meet a limit does not depend on the switch for demotion. */
static void test_demotion_switch(const char *group)
{
	char before[16];
	int on;

	CHECK_EQ(file_read(DEMOTION, before, sizeof(before)), 0);
	for (on = 0; on < 2; on++) {
		struct cdm_task task;

		CHECK_EQ(file_write(DEMOTION, "%d", on), 0);
		start_cold(&task, group, 300);
		CHECK_EQ(cdm_reclaim(group, cdm_node, 100), 0);
		CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
		CHECK_EQ(cdm_usage(group, cdm_node), 0);
		CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);
		task_check_at(&task, 300, 0, 300);
		task_end(&task);
	}
	CHECK_EQ(file_write(DEMOTION, "%s", before), 0);
}

static void test_no_swap(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_set_swap(false), 0);
	cdm_policy(group, "reclaim,fail");
	CHECK_EQ(cdm_limit(group, cdm_node, 500), 0);
	start_cold(&task, group, 500);
	CHECK_EQ(task_ask(&task, 300).dev, 300);
	CHECK_EQ(cdm_event(group, "fail"), 0);
	CHECK_EQ(cdm_reclaim(group, cdm_node, cdm_usage(group, cdm_node)), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(task_ask(&task, 10).bus, 10);
	task_end(&task);
	CHECK_EQ(cdm_set_swap(true), 0);
}

/*
 * RAM without room: demotion cannot free anything, so the policy goes on to its
 * next step, which is RAM or nothing.
 */

/* Let a system call fill pages one by one; ->ok is how many it could. */
static struct cdm_reply op_fill(struct cdm_buf *buf, long first, long nr)
{
	/* A call for no pages opens it: later there may be no RAM for that. */
	static int fd = -1;
	struct cdm_reply reply = { 0 };
	long i;

	if (fd < 0)
		fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	for (i = first; i < first + nr; i++) {
		if (read(fd, buf->addr + i * cdm_psize, cdm_psize) == cdm_psize)
			reply.ok++;
		else if (errno == EFAULT)
			reply.bus++;
		else
			reply.ret = -errno;
	}
	return reply;
}

static void test_full_fail(const char *group)
{
	const long more = 2 * CDM_RAM_SLACK;
	struct cdm_reply reply;
	struct cdm_task task;
	long scanned;

	cdm_policy(group, "reclaim,fail");
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, ROOM + more, cdm_node).ret, 0);
	CHECK_EQ(cdm_limit(group, cdm_node, ROOM), 0);
	/* The page tables for later pages take RAM, too. */
	CHECK_EQ(task_call(&task, op_touch, ROOM, more).dev, more);
	CHECK_EQ(task_call(&task, op_discard, ROOM, more).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, ROOM).dev, ROOM);
	task_call(&task, op_fill, 0, 0);
	cdm_drain_lru();
	cdm_fill_ram(group);
	/*
	 * At most as many as CPUs had charged RAM for in advance. Delivering a
	 * signal would take RAM, so let a system call fail instead.
	 */
	scanned = cg_read_key_long(group, "memory.stat", "pgscan ");
	reply = task_call(&task, op_fill, ROOM, more);
	scanned = cg_read_key_long(group, "memory.stat", "pgscan ") - scanned;
	CHECK_EQ(reply.ret, 0);
	CHECK_EQ(reply.ok + reply.bus, more);
	CHECK_LE(reply.ok, CDM_RAM_SLACK);
	CHECK_GE(cdm_event(group, "fail"), reply.bus);
	CHECK_EQ(cdm_event(group, "fallback"), 0);
	CHECK_LE(cdm_usage(group, cdm_node), ROOM);
	cdm_check_no_oom(group);
	/* A request does not scan all pages of the group. */
	CHECK_LE(scanned, more * 4 * BATCH);
	cdm_set_memory(group, "memory.max", -1);
	CHECK_EQ(task_call(&task, op_verify, 0, ROOM).bad, 0);
	/* With room again, it goes on as before. */
	CHECK_EQ(task_call(&task, op_fill, ROOM, more).ok, more);
	task_end(&task);
}

static void test_full_ram(const char *group)
{
	const long more = ROOM / 2;
	struct cdm_reply reply;
	struct cdm_task task;

	cdm_policy(group, "reclaim");
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, ROOM + more, cdm_node).ret, 0);
	CHECK_EQ(cdm_limit(group, cdm_node, ROOM), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, ROOM).dev, ROOM);
	/* The RAM of the group can be swapped out to make room. */
	cdm_set_memory(group, "memory.max",
		       cdm_ram_usage(group) + 2 * CDM_RAM_SLACK);
	reply = task_call(&task, op_touch, ROOM, more);
	CHECK_EQ(reply.ok, more);
	CHECK_LE(cdm_usage(group, cdm_node), ROOM);
	cdm_check_no_oom(group);
	cdm_set_memory(group, "memory.max", -1);
	CHECK_EQ(task_call(&task, op_verify, 0, ROOM + more).bad, 0);
	task_end(&task);
}

/*
 * A lower cdm.max
 */

static void test_lower(const char *group, const void *huge)
{
	const long pages = 3 * cdm_hpages + 100;
	static const long limits[] = { 1600, 1599, 1000, 64, 63, 1, 0 };
	long step = huge ? cdm_hpages : BATCH;
	struct cdm_task task;
	size_t i;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, huge ? op_map_huge : op_map, pages,
			   cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	cdm_drain_lru();
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		long before = cdm_usage(group, cdm_node), left;

		CHECK_EQ(cdm_limit(group, cdm_node, limits[i]), 0);
		left = cdm_usage(group, cdm_node);
		CHECK_LE(left, limits[i]);
		CHECK_GT(left, limits[i] - step);
		if (before <= limits[i])
			CHECK_EQ(left, before);
	}
	task_check_at(&task, pages, 0, pages);
	CHECK_EQ(cdm_stat(group, "demoted"), pages);
	task_end(&task);
}

/* Pages from before cdm was enabled in a group are charged to its parent. */
static void test_lower_switched(const char *group)
{
	struct cdm_task task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_enable(group, "+memory"), 0);
	start_cold(&task, a, 300);
	CHECK_EQ(cdm_enable(group, "-cdm"), 0);
	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 300);
	CHECK_EQ(cdm_limit(group, cdm_node, 100), 0);
	CHECK_LE(cdm_usage(group, cdm_node), 100);
	CHECK_GT(cdm_usage(group, cdm_node), 100 - BATCH);
	task_end(&task);
}

static const char *lowered;

static struct cdm_reply op_lower(struct cdm_buf *buf, long pages, long b)
{
	struct cdm_reply reply = { 0 };

	(void)buf;
	(void)b;
	reply.ret = cdm_limit(lowered, cdm_node, pages);
	return reply;
}

/*
 * A writer that is killed does not finish. If the CPU of this task was busy, it
 * may have finished before it was killed; try again then. A writer that cannot
 * be killed always finishes.
 */
static void test_lower_killed(const char *group)
{
	const long pages = 3500;
	struct cdm_task task, writer;
	long left = 0;
	int tries;

	lowered = group;
	for (tries = 0; left <= pages / 4 && tries < 20; tries++) {
		CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);
		start_cold(&task, group, pages);
		task_start(&writer, NULL);
		task_send(&writer, op_lower, 0, 0);
		while (cdm_usage(group, cdm_node) == pages)
			continue;
		CHECK_EQ(task_kill(&writer), -SIGKILL);
		left = cdm_usage(group, cdm_node);
		/* The limit holds, and the next writer finishes the job. */
		CHECK_EQ(cdm_bytes(group, "cdm.max", cdm_node), 0);
		CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
		CHECK_EQ(cdm_usage(group, cdm_node), 0);
		task_check_at(&task, pages, 0, pages);
		task_end(&task);
	}
	CHECK_GT(left, pages / 4);
}

/*
 * Many at a time
 */

#define TASKS	4

/* TASKS tasks ask for @pages each at the same time, and all get them. */
static void ask_together(const char *group, long pages)
{
	struct cdm_task task[TASKS];
	struct cdm_reply reply;
	int i;

	for (i = 0; i < TASKS; i++) {
		task_start(&task[i], group);
		CHECK_EQ(task_call(&task[i], op_map, pages, cdm_node).ret, 0);
	}
	for (i = 0; i < TASKS; i++)
		task_send(&task[i], op_touch, 0, pages);
	for (i = 0; i < TASKS; i++) {
		reply = task_reply(&task[i]);
		CHECK_EQ(reply.ok, pages);
		CHECK_EQ(reply.bad, 0);
	}
	for (i = 0; i < TASKS; i++)
		task_end(&task[i]);
}

struct crowd {
	const char *policy;
	bool depleted;
};

static const struct crowd crowds[] = {
	{ "reclaim,fail", false },
	{ "reclaim", false },
	{ "reclaim,fail", true },
	{ "reclaim", true },
};

/*
 * All the room is taken by pages that are not used, and several tasks want it
 * at the same time, on a depleted node together with kswapd. The pages that one
 * of them has isolated are not on the lists, so the others have to wait for it.
 */
static void test_crowd(const char *group, const void *arg)
{
	const struct crowd *crowd = arg;
	long pages = crowd->depleted ? SMALL_NODE / TASKS + 200 : ROOM;
	struct cdm_task cold;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	cdm_policy(a, "fallback");
	cdm_compete(b, crowd->policy);
	if (!crowd->depleted)
		CHECK_EQ(cdm_limit(group, cdm_node, ROOM), 0);
	task_start(&cold, a);
	task_ask(&cold, crowd->depleted ? cdm_nr_free() + 100 : ROOM);
	cdm_drain_lru();
	ask_together(b, pages);
	CHECK_EQ(cdm_event(b, "fail"), 0);
	CHECK_EQ(cdm_event(b, "fallback"), 0);
	task_end(&cold);
}

static bool has_replied(struct cdm_task *task)
{
	struct pollfd fd = { .fd = task->up, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

/* Tasks that are killed while they reclaim do not disturb others. */
static void test_killed(const char *group)
{
	const long pages = 3 * ROOM;
	struct cdm_task stays, dies;
	struct cdm_wait wait;
	char *a, *b;
	long used;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(group, cdm_node, ROOM), 0);
	cdm_policy(group, "reclaim");
	task_start(&stays, a);
	CHECK_EQ(task_call(&stays, op_map, pages, cdm_node).ret, 0);
	task_send(&stays, op_touch, 0, pages);
	wait = cdm_wait_begin(60);
	do {
		task_start(&dies, b);
		CHECK_EQ(task_call(&dies, op_map, ROOM, cdm_node).ret, 0);
		used = cdm_stat(group, "demoted");
		task_send(&dies, op_touch, 0, ROOM);
		while (cdm_stat(group, "demoted") < used + BATCH &&
		       !has_replied(&stays))
			continue;
		CHECK_EQ(task_kill(&dies), -SIGKILL);
	} while (!has_replied(&stays) && cdm_wait_more(&wait));
	CHECK_EQ(task_reply(&stays).ok, pages);
	CHECK_EQ(cdm_event(a, "fallback"), 0);
	task_end(&stays);
}

/*
 * Only requests whose policy demotes pages wake kswapd. It reclaims up to the
 * high watermark, and stops there.
 */
static void test_kswapd(const char *group)
{
	const long more = 1000, high = cdm_zone_mark("high");
	struct cdm_task cold, task;
	long kswapd, used;
	char *a, *b;
	int i;

	cdm_make_two_groups(group, &a, &b);
	cdm_policy(a, "fallback");
	cdm_compete(b, "reclaim");
	kswapd = vm_event("pgdemote_kswapd");
	task_start(&cold, a);
	task_ask(&cold, cdm_nr_free() + 100);
	CHECK_LE(cdm_nr_free(), high + UNSEEN);
	CHECK_EQ(vm_event("pgdemote_kswapd"), kswapd);
	cdm_drain_lru();

	task_start(&task, b);
	CHECK_EQ(task_ask(&task, more).bus, 0);
	cdm_wait_until(5, cdm_nr_free() >= high);
	CHECK_GE(cdm_nr_free(), high);
	CHECK_GT(vm_event("pgdemote_kswapd"), kswapd);
	used = cdm_usage(group, cdm_node);
	for (i = 0; i < 50; i++)
		cdm_drain_lru();
	CHECK_GE(cdm_usage(group, cdm_node), used - BATCH);
	CHECK_LE(cdm_nr_free(), high + UNSEEN);
	CHECK_LE(cdm_stat(group, "demoted"), more + high + UNSEEN);
	task_end(&task);
	task_end(&cold);
}

/*
 * On a depleted node a word of a group's own takes nothing from others, and
 * wakes no kswapd.
 */
static void test_own_word(const char *group)
{
	const long high = cdm_zone_mark("high");
	struct cdm_task cold, task;
	struct cdm_reply reply;
	char *a, *b;
	long kswapd, has;

	cdm_make_two_groups(group, &a, &b);
	cdm_policy(b, "reclaim");
	task_start(&task, b);
	CHECK_EQ(task_ask(&task, 300).dev, 300);
	task_start(&cold, a);
	task_ask(&cold, cdm_nr_free() + 100);
	CHECK_LE(cdm_nr_free(), high + UNSEEN);
	has = cdm_usage(a, cdm_node);
	kswapd = vm_event("pgdemote_kswapd");
	cdm_drain_lru();

	CHECK_EQ(task_call(&task, op_map, 1000, cdm_node).ret, 0);
	reply = task_call(&task, op_touch, 0, 1000);
	CHECK_EQ(reply.bus, 0);
	CHECK_GT(reply.dev, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), has);
	CHECK_EQ(cdm_event(group, "taken"), 0);
	CHECK_EQ(cdm_stat(a, "demoted"), 0);
	CHECK_EQ(vm_event("pgdemote_kswapd"), kswapd);
	task_end(&task);
	task_end(&cold);
}

/*
 * What is taken for others counts in the group that lost it and in those above
 * that do not contain who asked. kswapd is outside of all.
 */
static void test_taken(const char *group)
{
	struct cdm_task cold, task;
	char *a, *b, *leaf;
	long taken;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_enable(a, "+cdm"), 0);
	leaf = cdm_make_group(a, "leaf");
	start_cold(&cold, leaf, ROOM);

	/* Its own limits and cdm.reclaim are no others. */
	CHECK_EQ(cdm_limit(leaf, cdm_node, ROOM - 100), 0);
	CHECK_EQ(cdm_limit(a, cdm_node, ROOM - 200), 0);
	CHECK_EQ(cdm_reclaim(group, cdm_node, 100), 0);
	CHECK_GE(cdm_stat(leaf, "demoted"), 300);
	CHECK_EQ(cdm_event(leaf, "taken"), 0);
	CHECK_EQ(cdm_event(group, "taken"), 0);

	CHECK_EQ(cdm_limit(group, cdm_node, cdm_usage(group, cdm_node)), 0);
	cdm_policy(group, "reclaim");
	taken = cdm_stat(leaf, "demoted");
	task_start(&task, b);
	CHECK_EQ(task_ask(&task, 200).bus, 0);
	taken = cdm_stat(leaf, "demoted") - taken;
	CHECK_GE(taken, BATCH);
	CHECK_GE(cdm_event_local(leaf, "taken"), 1);
	CHECK_LE(cdm_event_local(leaf, "taken"), taken);
	CHECK_EQ(cdm_event(leaf, "taken"), cdm_event_local(leaf, "taken"));
	CHECK_EQ(cdm_event(a, "taken"), cdm_event(leaf, "taken"));
	CHECK_EQ(cdm_event_local(a, "taken"), 0);
	CHECK_EQ(cdm_event(group, "taken"), 0);
	CHECK_EQ(cdm_event(b, "taken"), 0);
	CHECK_EQ(cdm_stat(leaf, "taken"), taken);
	CHECK_EQ(cdm_stat(a, "taken"), taken);
	CHECK_EQ(cdm_stat(group, "taken"), 0);
	task_end(&task);

	/* kswapd, woken for somebody else. */
	CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);
	cdm_policy(leaf, "fallback");
	task_ask(&cold, cdm_nr_free() + 100);
	cdm_drain_lru();
	cdm_compete(group, "reclaim");
	task_start(&task, b);
	taken = vm_event("pgdemote_kswapd");
	do {
		CHECK_EQ(task_ask(&task, 500).bus, 0);
	} while (vm_event("pgdemote_kswapd") == taken);
	cdm_wait_until(5, cdm_event(group, "taken") > 0);
	CHECK_GE(cdm_event(group, "taken"), 1);
	CHECK_EQ(cdm_event_local(group, "taken"), 0);
	CHECK_GE(cdm_stat(group, "taken"), 1);
	task_end(&task);
	task_end(&cold);
}

static long scanned_by_kswapd(const char *group)
{
	return cg_read_key_long(group, "memory.stat", "pgscan_kswapd ");
}

/* kswapd scans all pages that cannot be demoted, and swaps none out. */
static void test_kswapd_vain(const char *group)
{
	struct cdm_wait wait = cdm_wait_begin(10);
	long swapped, scanned, pages, all;
	struct cdm_task cold, task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_enable(group, "+memory"), 0);
	cdm_policy(a, "fallback");
	cdm_compete(b, "reclaim");
	task_start(&cold, a);
	all = cdm_nr_free() + 100;
	CHECK_GE(task_ask(&cold, all).dev, ROOM);
	CHECK_EQ(task_call(&cold, op_pin, 0, all).ret, all);
	/* Pages that kswapd is just trying to move are not mapped. */
	do {
		cdm_drain_lru();
		pages = task_call(&cold, op_count, 0, all).dev;
	} while (pages != cdm_usage(a, cdm_node) && cdm_wait_more(&wait));
	CHECK_GE(pages, ROOM);
	swapped = vm_event("pswpout");
	scanned = scanned_by_kswapd(a);

	/* Wake kswapd, which has no other pages to take. */
	task_start(&task, b);
	wait = cdm_wait_begin(10);
	while (scanned_by_kswapd(a) < scanned + pages && cdm_wait_more(&wait))
		CHECK_EQ(task_ask(&task, 100).bus, 0);
	CHECK_GE(scanned_by_kswapd(a), scanned + pages);
	CHECK_EQ(vm_event("pswpout"), swapped);
	CHECK_EQ(cdm_usage(a, cdm_node), pages);
	task_end(&task);
	task_end(&cold);
}

#define MIN_TTL		"/sys/kernel/mm/lru_gen/min_ttl_ms"

/* min_ttl_ms kills nothing for a young working set on a device. */
static void test_min_ttl(const char *group)
{
	struct cdm_task cold, task;
	struct cdm_wait wait;
	char *a, *b;
	long kswapd;

	cdm_make_two_groups(group, &a, &b);
	cdm_policy(a, "fallback");
	cdm_compete(b, "reclaim");
	CHECK_EQ(file_write(MIN_TTL, "1000000"), 0);
	task_start(&cold, a);
	CHECK_GE(task_ask(&cold, cdm_nr_free() + 100).dev, ROOM);
	task_start(&task, b);
	kswapd = vm_event("pgdemote_kswapd");
	wait = cdm_wait_begin(10);
	while (vm_event("pgdemote_kswapd") == kswapd && cdm_wait_more(&wait))
		CHECK_EQ(task_ask(&task, 100).bus, 0);
	CHECK_GT(vm_event("pgdemote_kswapd"), kswapd);
	CHECK_EQ(file_write(MIN_TTL, "0"), 0);
	task_end(&task);
	task_end(&cold);
}

/*
 * What is reported
 */

static long stalled(const char *group)
{
	char buf[512], *pos;

	if (cg_read(group, "memory.pressure", buf, sizeof(buf)))
		return CDM_NONE;
	pos = strstr(buf, "total=");
	return pos ? strtol(pos + strlen("total="), NULL, 10) : CDM_NONE;
}

/* Only a task that waits for demotion is stalled on memory. */
static void test_pressure(const char *group)
{
	struct cdm_task task, other;
	char *a, *b;
	long before;

	CHECK_EQ(cdm_enable(group, "+memory"), 0);
	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(a, cdm_node, 500), 0);
	cdm_policy(a, "reclaim");
	task_start(&task, a);
	start_cold(&other, b, 500);
	before = stalled(a);
	CHECK_GE(before, 0);
	CHECK_EQ(task_ask(&task, 500).dev, 500);
	CHECK_EQ(stalled(a), before);
	CHECK_EQ(task_ask(&task, 2000).bus, 0);
	CHECK_GT(stalled(a), before);
	CHECK_GT(stalled(group), 0);
	CHECK_EQ(stalled(b), 0);
	task_end(&task);
	task_end(&other);
}

#define RECLAIM_BEGIN	"cdm/cdm_reclaim_begin"
#define RECLAIM_END	"cdm/cdm_reclaim_end"

/* Sum up the pages in traces with @reason; each that began must have ended. */
static long traced(const char *reason)
{
	struct cdm_wait wait = cdm_wait_begin(5);
	long begun, ended, wanted, pages;
	char text[32];

	snprintf(text, sizeof(text), "reason=%s", reason);
	do {
		pages = cdm_trace_sum("cdm_reclaim_end:", text, "pages=",
				      &ended);
		wanted = cdm_trace_sum("cdm_reclaim_begin:", text, "pages=",
				       &begun);
	} while (begun != ended && cdm_wait_more(&wait));
	CHECK_EQ(begun, ended);
	CHECK_GE(wanted, begun);
	return pages;
}

/* Provoke reclaim for each reason, first for those within @group. */
static void provoke(const char *group, const char *a, const char *b,
		    struct cdm_task *task)
{
	struct cdm_task cold;
	int tries = 0;

	cdm_policy(a, "reclaim");
	CHECK_EQ(cdm_limit(a, cdm_node, 500), 0);
	CHECK_EQ(task_ask(task, 600).bus, 0);
	CHECK_GE(traced("limit"), 100);
	CHECK_EQ(traced("limit"), cdm_stat(group, "demoted"));
	CHECK_EQ(cdm_limit(a, cdm_node, 200), 0);
	CHECK_GE(traced("excess"), 500 - 2 * BATCH - 200);
	CHECK_EQ(cdm_reclaim(a, cdm_node, 50), 0);
	CHECK_GE(traced("proactive"), 50);
	CHECK_EQ(traced("limit") + traced("excess") + traced("proactive"),
		 cdm_stat(group, "demoted"));

	/* Below the limit of both, protection. */
	cdm_policy(a, "fallback");
	CHECK_EQ(cdm_limit(a, cdm_node, -1), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, ROOM), 0);
	task_start(&cold, b);
	task_ask(&cold, ROOM);
	cdm_drain_lru();
	CHECK_EQ(cdm_protect(a, cdm_node, ROOM), 0);
	CHECK_EQ(task_ask(task, 300).dev, 300);
	CHECK_GE(traced("low"), 300 - BATCH);
	CHECK_EQ(cdm_protect(a, cdm_node, 0), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);

	/* Ask for more than the node has, until kswapd does not keep up. */
	cdm_compete(a, "reclaim");
	do {
		ask_together(a, SMALL_NODE / 2);
	} while (!traced("depleted") && ++tries < 10);
	task_end(&cold);
}

static void test_trace(const char *group)
{
	long before = cdm_stat(cdm_root, "demoted");
	struct cdm_task task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start(&task, a);
	cdm_trace_begin(RECLAIM_BEGIN);
	cdm_trace_begin(RECLAIM_END);
	provoke(group, a, b, &task);
	CHECK_GT(traced("depleted"), 0);
	CHECK_GT(traced("kswapd"), 0);
	/* The trace also has pages that were freed while they were moved. */
	CHECK_GE(traced(""), cdm_stat(cdm_root, "demoted") - before);
	CHECK_LE(traced(""),
		 cdm_stat(cdm_root, "demoted") - before + 2 * BATCH);
	CHECK_EQ(traced(""), traced("limit") + traced("excess") +
		 traced("proactive") + traced("low") + traced("depleted") +
		 traced("kswapd"));
	cdm_trace_end(RECLAIM_BEGIN);
	cdm_trace_end(RECLAIM_END);
	task_end(&task);
}

/*
 * What reclaim leaves behind
 */

/*
 * Have @child reclaim from itself, several times: by its limit, by a lower one,
 * and by cdm.reclaim.
 */
static void reclaim_from_itself(const char *child)
{
	struct cdm_task task;
	int i;

	cdm_policy(child, "reclaim");
	CHECK_EQ(cdm_limit(child, cdm_node, ROOM), 0);
	start_cold(&task, child, ROOM);
	CHECK_EQ(task_ask(&task, ROOM / 2).dev, ROOM / 2);
	cdm_drain_lru();
	for (i = 1; i <= 3; i++)
		CHECK_EQ(cdm_limit(child, cdm_node, ROOM - i * 2 * BATCH), 0);
	for (i = 0; i < 3; i++)
		CHECK_EQ(cdm_reclaim(child, cdm_node, BATCH), 0);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, 0), 0);
}

static long nr_dying(const char *group)
{
	cdm_empty_cache();
	return cg_read_key_long(group, "cgroup.stat",
				"nr_dying_subsys_memory ");
}

/*
 * A group that has reclaimed from itself is freed when it is removed. Each CPU
 * may have the charges of one in stock, and keeps that.
 */
static void test_freed(const char *group)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), groups = cpus + 4, i;
	char name[32], *child;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	for (i = 0; i < groups; i++) {
		snprintf(name, sizeof(name), "child%ld", i);
		child = cdm_make_group(group, name);
		reclaim_from_itself(child);
		CHECK_EQ(rmdir(child), 0);
	}
	cdm_wait_until(10, nr_dying(group) <= cpus);
	CHECK_LE(nr_dying(group), cpus);
	CHECK_EQ(cdm_wait_dying(group, 0), 0);
}

/* The process that has this name, or 0. */
static int find_process(const char *name)
{
	char path[64], comm[32];
	int pid;

	for (pid = 1; pid < 4096; pid++) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		if (file_read(path, comm, sizeof(comm)))
			continue;
		comm[strcspn(comm, "\n")] = '\0';
		if (!strcmp(comm, name))
			return pid;
	}
	return 0;
}

#define KMALLOC		"kmem/kmalloc"
#define KFREE		"kmem/kfree"

/*
 * kswapd of a device gives back all memory that it takes for itself. A group's
 * filters of page tables, which stay with the group, are of 4096 bytes.
 */
static void test_kswapd_memory(const char *group)
{
	long kswapd = vm_event("pgdemote_kswapd"), taken, freed;
	struct cdm_task cold, task;
	struct cdm_wait wait;
	char *a, *b, filter[64];
	int pid;

	snprintf(filter, sizeof(filter), "kswapd%d", cdm_node);
	pid = find_process(filter);
	CHECK_GT(pid, 0);
	cdm_make_two_groups(group, &a, &b);
	cdm_policy(a, "fallback");
	cdm_compete(b, "reclaim");
	task_start(&cold, a);
	CHECK_GE(task_ask(&cold, cdm_nr_free() + 100).dev, ROOM);
	task_start(&task, b);
	snprintf(filter, sizeof(filter), "common_pid == %d", pid);
	cdm_trace_filter(KFREE, filter);
	strcat(filter, " && bytes_req < 4096");
	cdm_trace_filter(KMALLOC, filter);
	cdm_trace_begin(KMALLOC);
	cdm_trace_begin(KFREE);
	/* So many that generations of pages run out, and it ages the others. */
	wait = cdm_wait_begin(20);
	while (vm_event("pgdemote_kswapd") < kswapd + 2 * ROOM &&
	       cdm_wait_more(&wait))
		CHECK_EQ(task_ask(&task, 100).bus, 0);
	CHECK_GE(vm_event("pgdemote_kswapd"), kswapd + 2 * ROOM);
	cdm_trace_end(KMALLOC);
	cdm_trace_end(KFREE);
	cdm_trace_sum("kmalloc:", "", "bytes_req=", &taken);
	cdm_trace_sum("kfree:", "", "ptr=", &freed);
	CHECK_EQ(taken, freed);
	cdm_trace_filter(KMALLOC, "0");
	cdm_trace_filter(KFREE, "0");
	task_end(&task);
	task_end(&cold);
}

static void run_crowds(void)
{
	char name[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(crowds); i++) {
		snprintf(name, sizeof(name), "several at once, %s, %s",
			 crowds[i].policy, crowds[i].depleted ?
			 "depleted node" : "limit");
		cdm_case_arg(name, test_crowd, &crowds[i]);
	}
}

#define OTHERS		32
#define CASES		(ARRAY_SIZE(kinds) + ARRAY_SIZE(crowds) + OTHERS)

static void run(void)
{
	size_t i;

	cdm_case("cdm.reclaim takes what it is told", test_amounts);
	cdm_case("cdm.reclaim of a subtree, and of the root", test_subtree);
	cdm_case("cdm.reclaim of one node", test_node);
	cdm_case("memory.reclaim leaves device memory alone",
		 test_memory_reclaim);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		cdm_case_arg(kinds[i].name, test_kind, &kinds[i]);
	cdm_case("dirty page cache of a disk that is stuck", test_stuck_disk);
	cdm_case("pinned pages stay", test_pinned);
	cdm_case("unpinned pages go", test_unpinned);
	cdm_case("other CPUs' batches are looked into now and then",
		 test_looks);
	cdm_case("hugetlb stays", test_hugetlb);
	cdm_case("the coldest first", test_coldest);
	cdm_case("neighbours of a limit keep every page", test_neighbours);
	cdm_case("one group after the other", test_round_robin);
	cdm_case("a working set of a tenth too much", test_working_set);
	cdm_case("a batch at a time", test_hysteresis);
	cdm_case("demotion_enabled is for RAM", test_demotion_switch);
	cdm_case("without swap", test_no_swap);
	cdm_case("reclaim,fail with RAM full fails", test_full_fail);
	cdm_case("reclaim with RAM full goes on in RAM", test_full_ram);
	cdm_case_arg("a lower cdm.max is met, base pages", test_lower, NULL);
	cdm_case_arg("a lower cdm.max is met, huge pages", test_lower, "huge");
	cdm_case("a lower cdm.max, and pages from before cdm was on",
		 test_lower_switched);
	cdm_case("a lower cdm.max whose writer is killed", test_lower_killed);
	run_crowds();
	cdm_case("a task that is killed leaves others alone", test_killed);
	cdm_case("a group's own word on a depleted node", test_own_word);
	cdm_case("what is taken for others", test_taken);
	cdm_case("kswapd ends at the high watermark", test_kswapd);
	cdm_case("kswapd swaps nothing out", test_kswapd_vain);
	cdm_case("kswapd kills nobody", test_min_ttl);
	cdm_case("kswapd keeps no memory", test_kswapd_memory);
	cdm_case("a group that reclaimed from itself is freed", test_freed);
	cdm_case("a task that waits for demotion is stalled", test_pressure);
	cdm_case("every page is traced, with its reason", test_trace);
}

int main(void)
{
	cdm_init(2 * CASES);
	cdm_use_plugged();
	cdm_shrink_node(SMALL_NODE);
	cdm_run_each_lru(run);
	cdm_shrink_node(-1);
	cdm_exit();
}
