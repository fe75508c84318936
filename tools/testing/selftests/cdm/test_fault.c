// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail: each one in turn in what the controller does
 * (fail-nth), and some at random while tasks work (failslab, fail_page_alloc).
 * And charges that are refused although there is room (fail_cdm_charge).
 *
 * Needs a kernel with CONFIG_FAULT_INJECTION and its debugfs files.
 *
 * lane: debug
 * vm: --allow page.allocation.failure|SLUB:.Unable.to.allocate
 */

#include <dirent.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_util.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

#define FAULTS		"/sys/kernel/debug/"
#define CHARGES		FAULTS "fail_cdm_charge/"
#define PAGES		8
/* No operation makes this many allocations. */
#define MAX_NTH		2000

static void faults_write(const char *dir, const char *file, long value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), FAULTS "%s/%s", dir, file);
	CHECK_EQ(file_write(path, "%ld", value), 0);
}

/* Let @percent of the allocations fail, in tasks that ask for it. */
static void faults_random(long percent)
{
	static const char * const dirs[] = { "failslab", "fail_page_alloc" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		faults_write(dirs[i], "task-filter", 1);
		faults_write(dirs[i], "times", -1);
		faults_write(dirs[i], "probability", percent);
	}
}

/* Ask for it, or no longer; the write itself may fail because of it. */
static void faults_on_me(bool on)
{
	int ret;

	do {
		ret = file_write("/proc/self/make-it-fail", "%d", on);
	} while (ret == -ENOMEM);
	CHECK_EQ(ret, 0);
}

/*
 * One failed allocation
 */

static int nth_fd = -1;

/* The file belongs to one task: a forked process has to open its own. */
static int nth_open(void)
{
	static pid_t opener;

	if (opener == getpid())
		return 0;
	opener = getpid();
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return nth_fd < 0 ? -errno : 0;
}

static void nth_set(int nth)
{
	char buf[16];

	if (pwrite(nth_fd, buf, snprintf(buf, sizeof(buf), "%d", nth), 0) < 0)
		cdm_fail(__FILE__, __LINE__, "fail-nth: %s", strerror(errno));
}

/* Has an allocation failed since nth_set()? No other will from now on. */
static bool nth_fired(void)
{
	char buf[16] = "";
	bool fired;

	fired = pread(nth_fd, buf, sizeof(buf) - 1, 0) > 0 && !atoi(buf);
	nth_set(0);
	return fired;
}

static void check_refused(const char *what, int nth, long ret)
{
	if (ret < 0 && ret != -ENOMEM)
		cdm_fail(__FILE__, __LINE__, "%s, allocation %d: error %ld",
			 what, nth, ret);
}

/* Every allocation was reached, and the operation needed at least one. */
static void check_walked(const char *what, int nth, int refused)
{
	ksft_print_msg("%s: %d allocations, %d of them needed\n", what,
		       nth - 1, refused);
	CHECK_LT(nth, MAX_NTH);
	CHECK_GT(refused, 0);
}

static void test_mkdir(const char *group)
{
	char path[PATH_MAX];
	int nth, refused = 0;
	bool fired = true;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	snprintf(path, sizeof(path), "%s/child", group);
	for (nth = 1; fired && nth < MAX_NTH; nth++) {
		long ret;

		nth_set(nth);
		ret = mkdir(path, 0755) ? -errno : 0;
		fired = nth_fired();
		check_refused("mkdir", nth, ret);
		refused += ret < 0;
		/* After a failure nothing is left that is in the way. */
		if (ret)
			CHECK_EQ(mkdir(path, 0755), 0);
		CHECK_EQ(cdm_bytes(path, "cdm.current", cdm_node), 0);
		CHECK_EQ(rmdir(path), 0);
	}
	check_walked("mkdir", nth, refused);
}

static int open_in(const char *group, const char *file)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group, file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		cdm_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return fd;
}

static long write_fd(int fd, const char *text)
{
	return pwrite(fd, text, strlen(text), 0) < 0 ? -errno : 0;
}

/* The limit is either the old or the new one, and eviction does what it can. */
static void test_max(const char *group)
{
	struct cdm_reply where;
	int nth, refused = 0, fd;
	struct cdm_task task;
	bool fired = true;
	char half[64];
	long max;

	task_start_on(&task, group, PAGES, cdm_node);
	fd = open_in(group, "cdm.max");
	snprintf(half, sizeof(half), "default max\nnode%d %ld\n", cdm_node,
		 PAGES / 2 * cdm_psize);
	for (nth = 1; fired && nth < MAX_NTH; nth++) {
		long ret;

		CHECK_EQ(cdm_limit(group, cdm_node, PAGES), 0);
		CHECK_EQ(task_call(&task, op_move, PAGES, cdm_node).ok, PAGES);
		nth_set(nth);
		ret = write_fd(fd, half);
		fired = nth_fired();
		check_refused("cdm.max", nth, ret);
		refused += ret < 0;
		max = ret ? PAGES : PAGES / 2;
		CHECK_EQ(cdm_bytes(group, "cdm.max", cdm_node),
			 max * cdm_psize);
		where = task_call(&task, op_count, 0, PAGES);
		CHECK_EQ(where.dev + where.ram, PAGES);
		CHECK_EQ(where.bad, 0);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, where.dev), where.dev);
		/* The next write succeeds, and evicts the rest. */
		CHECK_EQ(write_fd(fd, half), 0);
		where = task_call(&task, op_count, 0, PAGES);
		CHECK_LE(where.dev, PAGES / 2);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, where.dev), where.dev);
	}
	close(fd);
	task_end(&task);
	check_walked("cdm.max", nth, refused);
}

static void test_policy(const char *group)
{
	int nth, refused = 0, fd = open_in(group, "cdm.policy");
	bool fired = true;
	char line[64];

	for (nth = 1; fired && nth < MAX_NTH; nth++) {
		long ret;

		CHECK_EQ(cdm_write(group, "cdm.policy", "fallback"), 0);
		nth_set(nth);
		ret = write_fd(fd, "reclaim,fail\n");
		fired = nth_fired();
		check_refused("cdm.policy", nth, ret);
		refused += ret < 0;
		CHECK_EQ(cg_read(group, "cdm.policy", line, sizeof(line)), 0);
		CHECK_STR(line, ret ? "default fallback\n" :
				    "default reclaim,fail\n");
		CHECK_EQ(write_fd(fd, "reclaim,fail\n"), 0);
	}
	close(fd);
	check_walked("cdm.policy", nth, refused);
}

/* The peak since the reset through this open file. */
static long peak_of(int fd)
{
	char buf[256], key[32], *pos;
	ssize_t len = pread(fd, buf, sizeof(buf) - 1, 0);

	buf[len < 0 ? 0 : len] = '\0';
	snprintf(key, sizeof(key), "node%d ", cdm_node);
	pos = strstr(buf, key);
	return pos ? strtol(pos + strlen(key), NULL, 10) / cdm_psize : CDM_NONE;
}

static void test_peak(const char *group)
{
	int nth, refused = 0, fd;
	struct cdm_task task;
	bool fired = true;
	long peak;

	task_start_on(&task, group, PAGES, cdm_node);
	CHECK_EQ(task_call(&task, op_unmap, 0, PAGES).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	/* This includes what CPUs have charged in advance. */
	peak = cdm_bytes(group, "cdm.peak", cdm_node) / cdm_psize;
	CHECK_GE(peak, PAGES);
	for (nth = 1; fired && nth < MAX_NTH; nth++) {
		long ret;

		fd = open_in(group, "cdm.peak");
		nth_set(nth);
		ret = write_fd(fd, "reset\n");
		fired = nth_fired();
		check_refused("cdm.peak", nth, ret);
		refused += ret < 0;
		CHECK_EQ(peak_of(fd), ret ? peak : 0);
		CHECK_EQ(write_fd(fd, "reset\n"), 0);
		CHECK_EQ(peak_of(fd), 0);
		close(fd);
	}
	task_end(&task);
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_node), peak * cdm_psize);
	check_walked("cdm.peak", nth, refused);
}

/*
 * The same in a worker: ->ret is what the call returned, and ->code is whether
 * an allocation failed.
 */

/* Page tables and pages. The kernel would repeat an ordinary fault. */
static struct cdm_reply op_populate(struct cdm_buf *buf, long nth, long b)
{
	struct cdm_reply reply = { 0 };

	(void)b;
	nth_open();
	if (buf->addr)
		munmap(buf->addr, PAGES * cdm_psize);
	if (buf_map(buf, PAGES, cdm_node, false))
		return buf_errno(-1);
	nth_set(nth);
	if (madvise(buf->addr, PAGES * cdm_psize, MADV_POPULATE_WRITE))
		reply.ret = -errno;
	reply.code = nth_fired();
	return reply;
}

static void test_populate(const char *group)
{
	struct cdm_reply reply, where;
	int nth, refused = 0;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	for (nth = 1; nth < MAX_NTH; nth++) {
		reply = task_call(&task, op_populate, nth, 0);
		check_refused("populate", nth, reply.ret);
		refused += reply.ret < 0;
		where = task_call(&task, op_count, 0, PAGES);
		CHECK_EQ(where.ram, 0);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, where.dev), where.dev);
		if (!reply.ret)
			CHECK_EQ(where.dev, PAGES);
		CHECK_EQ(task_call(&task, op_touch, 0, PAGES).dev, PAGES);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, PAGES), PAGES);
		if (!reply.code)
			break;
	}
	task_end(&task);
	/* The controller refused only where a failure was injected. */
	CHECK_EQ(cdm_item(group, "cdm.events", cdm_node, "fail"),
		 cdm_item(group, "cdm.events", cdm_node, "max"));
	check_walked("populate", nth + 1, refused);
}

static struct cdm_reply op_move_nth(struct cdm_buf *buf, long nth, long node)
{
	void *pages[PAGES];
	int nodes[PAGES], status[PAGES], i;
	struct cdm_reply reply = { 0 };

	nth_open();
	for (i = 0; i < PAGES; i++) {
		pages[i] = buf->addr + i * cdm_psize;
		nodes[i] = node;
		status[i] = 0;
	}
	nth_set(nth);
	reply.ret = sys_move_pages(0, PAGES, pages, nodes, status,
				   MPOL_MF_MOVE);
	if (reply.ret < 0)
		reply.ret = -errno;
	reply.code = nth_fired();
	return reply;
}

/* Move to the node and back; each page is in one place or the other. */
static void test_move(const char *group)
{
	struct cdm_reply reply, where;
	int nth, refused = 0, back;
	struct cdm_task task;
	bool fired = true;

	task_start_on(&task, group, PAGES, -1);
	for (nth = 1; fired && nth < MAX_NTH; nth++) {
		fired = false;
		for (back = 0; back < 2; back++) {
			int node = back ? cdm_ram_node : cdm_node;

			reply = task_call(&task, op_move_nth, nth, node);
			check_refused("move_pages", nth, reply.ret);
			refused += reply.ret != 0;
			fired |= reply.code;
			where = task_call(&task, op_count, 0, PAGES);
			CHECK_EQ(where.dev + where.ram, PAGES);
			CHECK_EQ(where.bad, 0);
			CHECK_EQ(cdm_wait_usage(group, cdm_node, where.dev),
				 where.dev);
			reply = task_call(&task, op_move, PAGES, node);
			CHECK_EQ(reply.ok, PAGES);
		}
	}
	task_end(&task);
	check_walked("move_pages", nth, refused);
}

/* Find the state file in sysfs of a part of the plugged node's memory. */
static bool find_block(char *path, size_t len)
{
	DIR *dir = opendir("/sys/devices/system/node/node3");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		found = !strncmp(entry->d_name, "memory", 6) &&
			entry->d_name[6] >= '0' && entry->d_name[6] <= '9';
		if (found)
			snprintf(path, len,
				 "/sys/devices/system/memory/%s/state",
				 entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Try to online with one failed allocation, or with some percent of them. */
static long try_online(int fd, int nth, long percent, bool *fired)
{
	long ret;

	if (percent) {
		faults_random(percent);
		faults_on_me(true);
	}
	nth_set(nth);
	ret = write_fd(fd, "online_movable");
	*fired = nth_fired();
	if (percent) {
		faults_on_me(false);
		faults_random(0);
	}
	/*
	 * KASAN's notifier returns this if there is no memory for its shadow.
	 */
	return ret == -EPERM ? -ENOMEM : ret;
}

/*
 * The memory of a node comes online as a whole, or not at all. The controller
 * allocates its tables once only, so each of these has to fail before the first
 * success. Single pages do not fail: KASAN asks for thousands of them.
 */
static void test_online(const char *group)
{
	int nth = 1, refused = 0, round, fd;
	char state[PATH_MAX];
	bool fired = true;
	long ret = -ENOMEM;

	(void)group;
	if (!CHECK_EQ(cdm_hotplug("add", "none"), 0) ||
	    !CHECK_EQ(find_block(state, sizeof(state)), true))
		return;
	fd = open(state, O_RDWR | O_CLOEXEC);
	faults_write("fail_page_alloc", "min-order", 1);
	for (round = 0; round < 20 && ret; round++) {
		ret = try_online(fd, 0, 20, &fired);
		check_refused("online", -round, ret);
		CHECK_EQ(cdm_other_node() >= 0, !ret);
	}
	if (!ret)
		CHECK_EQ(write_fd(fd, "offline"), 0);
	for (fired = true; fired && nth < MAX_NTH; nth++) {
		ret = try_online(fd, nth, 0, &fired);
		check_refused("online", nth, ret);
		refused += ret < 0;
		CHECK_EQ(cdm_other_node() >= 0, !ret);
		if (ret)
			continue;
		CHECK_EQ(cdm_audit(cdm_other_node(), "used"), 0);
		CHECK_EQ(write_fd(fd, "offline"), 0);
		CHECK_EQ(cdm_other_node(), -1);
	}
	faults_write("fail_page_alloc", "min-order", 0);
	close(fd);
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
	check_walked("online", nth, refused);
}

/*
 * Some failed allocations
 */

#define ROUNDS		300
#define WORK_PAGES	256

/*
 * Nothing here may take an ordinary fault: the kernel would repeat it until it
 * succeeds, and complain.
 */
static struct cdm_reply op_work(struct cdm_buf *buf, long seed, long b)
{
	unsigned int state = seed;
	struct cdm_buf part = *buf;
	struct cdm_reply reply;
	int i;

	(void)b;
	if (nth_open() || buf_map(buf, WORK_PAGES, cdm_node, false) ||
	    mlockall(MCL_CURRENT) ||
	    munlock(buf->addr, WORK_PAGES * cdm_psize))
		return buf_errno(-1);
	faults_on_me(true);
	for (i = 0; i < ROUNDS; i++) {
		long first = rand_r(&state) % (WORK_PAGES - 32);

		part = *buf;
		part.addr += first * cdm_psize;
		switch (rand_r(&state) % 6) {
		case 0:
			madvise(part.addr, 32 * cdm_psize, MADV_DONTNEED);
			break;
		case 1:
			madvise(part.addr, 32 * cdm_psize, MADV_PAGEOUT);
			break;
		case 2:
			op_move_nth(&part, 0, cdm_ram_node);
			break;
		case 3:
			op_move_nth(&part, 0, cdm_node);
			break;
		default:
			madvise(part.addr, 32 * cdm_psize,
				MADV_POPULATE_WRITE);
		}
	}
	faults_on_me(false);
	reply = buf_touch(buf, 0, WORK_PAGES);
	if (reply.ok != WORK_PAGES)
		reply.ret = -1;
	return reply;
}

static void test_random(const char *group)
{
	struct cdm_reply where;
	struct cdm_task tasks[3];
	long dev = 0;
	size_t i;

	CHECK_EQ(cdm_write(group, "cdm.policy", "reclaim"), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 2 * WORK_PAGES), 0);
	faults_random(5);
	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		task_start(&tasks[i], group);
		task_send(&tasks[i], op_work, i + 1, 0);
	}
	for (i = 0; i < ARRAY_SIZE(tasks); i++)
		CHECK_EQ(task_reply(&tasks[i]).ret, 0);
	faults_random(0);
	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		where = task_call(&tasks[i], op_count, 0, WORK_PAGES);
		CHECK_EQ(where.dev + where.ram, WORK_PAGES);
		CHECK_EQ(where.bad, 0);
		dev += where.dev;
	}
	CHECK_EQ(cdm_wait_usage(group, cdm_node, dev), dev);
	for (i = 0; i < ARRAY_SIZE(tasks); i++)
		task_end(&tasks[i]);
}

/*
 * Refused charges
 */

static void refuse(long times)
{
	faults_write("fail_cdm_charge", "interval", 1);
	faults_write("fail_cdm_charge", "space", 0);
	faults_write("fail_cdm_charge", "times", times);
	faults_write("fail_cdm_charge", "probability", times ? 100 : 0);
}

struct refusal {
	const char *policy;
	long times;		/* refused charges, -1 for all of them */
	long dev, ram, bus;	/* what happens to PAGES pages */
	long fallback, fail, reclaim;
};

/*
 * The group has some pages already, which the policy "reclaim" can demote
 * before it charges again.
 */
static const struct refusal refusals[] = {
	{ "fallback", 3, PAGES - 3, 3, 0, 3, 0, 0 },
	{ "fallback", -1, 0, PAGES, 0, PAGES, 0, 0 },
	{ "fail", 3, PAGES - 3, 0, 3, 0, 3, 0 },
	{ "fail", -1, 0, 0, PAGES, 0, PAGES, 0 },
	{ "reclaim", 1, PAGES, 0, 0, 0, 0, 1 },
	{ "reclaim,fail", 1, PAGES, 0, 0, 0, 0, 1 },
};

static void test_refused(const char *group, const void *arg)
{
	const struct refusal *row = arg;
	struct cdm_task early, late;
	long refused = row->times < 0 ? PAGES : row->times;
	struct cdm_reply reply, old;

	if (!CHECK_EQ(file_exists(CHARGES), true))
		return;
	CHECK_EQ(cdm_write(group, "cdm.policy", "%s", row->policy), 0);
	task_start_on(&early, group, PAGES, cdm_node);
	task_start(&late, group);
	CHECK_EQ(task_call(&late, op_map, PAGES, cdm_node).ret, 0);
	/* Stocks of CPUs are not usage. */
	CHECK_EQ(cdm_wait_usage(group, cdm_node, PAGES), PAGES);
	refuse(row->times);
	reply = task_call(&late, op_touch, 0, PAGES);
	refuse(0);
	CHECK_EQ(reply.dev, row->dev);
	CHECK_EQ(reply.ram, row->ram);
	CHECK_EQ(reply.bus, row->bus);
	old = task_call(&early, op_count, 0, PAGES);
	CHECK_EQ(old.dev + old.ram, PAGES);
	if (row->reclaim)
		CHECK_LT(old.dev, PAGES);
	else
		CHECK_EQ(old.dev, PAGES);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, old.dev + row->dev),
		 old.dev + row->dev);
	CHECK_EQ(cdm_event_local(group, "max"), refused);
	CHECK_EQ(cdm_event_local(group, "depleted"), 0);
	CHECK_EQ(cdm_event_local(group, "fallback"), row->fallback);
	CHECK_EQ(cdm_event_local(group, "fail"), row->fail);
	CHECK_EQ(cdm_event_local(group, "reclaim"), row->reclaim);
	/* There was room all the time. */
	reply = task_call(&late, op_move, PAGES, cdm_node);
	CHECK_EQ(reply.ok + reply.bus, row->dev + row->ram);
	CHECK_EQ(reply.bus, 0);
	task_end(&early);
	task_end(&late);
}

static bool setup(void)
{
	static const char * const dirs[] = { "failslab", "fail_page_alloc" };
	size_t i;

	if (nth_open())
		return false;
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		faults_write(dirs[i], "probability", 0);
		faults_write(dirs[i], "verbose", 0);
		faults_write(dirs[i], "ignore-gfp-wait", 0);
	}
	faults_write("fail_page_alloc", "min-order", 0);
	faults_write("fail_page_alloc", "ignore-gfp-highmem", 0);
	return true;
}

int main(void)
{
	char name[128];
	size_t i;

	cdm_init(8 + ARRAY_SIZE(refusals));
	if (!setup())
		ksft_exit_skip("no fault injection in this kernel\n");
	cdm_case("mkdir: any allocation may fail", test_mkdir);
	cdm_case("cdm.max: any allocation may fail", test_max);
	cdm_case("cdm.policy: any allocation may fail", test_policy);
	cdm_case("cdm.peak: any allocation may fail", test_peak);
	cdm_case("a fault: any allocation may fail", test_populate);
	cdm_case("move_pages(): any allocation may fail", test_move);
	cdm_case("onlining a node: any allocation may fail", test_online);
	cdm_case("work while allocations fail", test_random);
	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		snprintf(name, sizeof(name),
			 "%s: %ld charges refused with room",
			 refusals[i].policy, refusals[i].times);
		cdm_case_arg(name, test_refused, &refusals[i]);
	}
	cdm_exit();
}
