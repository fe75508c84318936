// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to a request that misses: with each policy, at the group's own
 * limit, at an ancestor's and on a depleted node, for base and huge pages.
 */

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

/* Headers of Linux 6.8 and older do not have it. */
#define WEIGHTED_INTERLEAVE	6

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

enum limit { LIMIT_OWN, LIMIT_ANCESTOR, DEPLETED };

static const char * const limit_names[] = {
	[LIMIT_OWN]		= "own limit",
	[LIMIT_ANCESTOR]	= "ancestor's limit",
	[DEPLETED]		= "depleted node",
};

/* Does the request get a page on the node after all, RAM, or SIGBUS? */
enum outcome { RECLAIMS, FALLS_BACK, FAILS };

struct row {
	const char *policy;
	bool pinned;		/* the pages of the group cannot be reclaimed */
	enum outcome outcome;
};

static const struct row rows[] = {
	{ "fallback",		false,	FALLS_BACK },
	{ "fail",		false,	FAILS },
	{ "reclaim",		false,	RECLAIMS },
	{ "reclaim",		true,	FALLS_BACK },
	{ "reclaim,fail",	false,	RECLAIMS },
	{ "reclaim,fail",	true,	FAILS },
};

struct params {
	const struct row *row;
	enum limit limit;
	bool huge;
};

static long free_pages(void)
{
	file_write("/proc/sys/vm/stat_refresh", "1");
	return node_meminfo(cdm_node, "MemFree:") * 1024 / cdm_psize;
}

/* Pages that the allocator keeps: the lowest watermark of the zone. */
static long last_pages(void)
{
	long pages = cdm_bytes(cdm_root, "cdm.capacity", cdm_node) / cdm_psize /
		     1024;

	return pages < 32 ? 32 : pages > 128 ? 128 : pages;
}

/*
 * Until then the kernel reserves some pages for tasks that demoted others. That
 * is by its clock, and so this is the only thing here that waits for a time.
 */
static double reserved_until;

/*
 * Deplete the node: a hog in a group of its own takes all free pages and pins
 * them, so that reclaim cannot take them. After huge pages it takes base pages,
 * repeatedly, until it gets none at all.
 */
static void deplete(struct cdm_task *hog, const char *group)
{
	long pages = free_pages() + 2048;
	struct cdm_wait wait = cdm_wait_begin(20);
	struct cdm_reply reply;

	task_start(hog, group);
	CHECK_EQ(task_call(hog, op_map_huge, pages, cdm_node).ret, 0);
	task_call(hog, op_touch, 0, pages);
	CHECK_EQ(task_call(hog, op_pin, 0, pages).ret, pages);
	while (cdm_now() < reserved_until) {
		usleep(50 * 1000);
		cdm_progress();
	}
	do {
		CHECK_EQ(task_call(hog, op_map, 512, cdm_node).ret, 0);
		reply = task_call(hog, op_touch, 0, 512);
		CHECK_EQ(task_call(hog, op_pin, 0, 512).ret, 512);
	} while ((reply.dev || free_pages() > last_pages() + 16) &&
		 cdm_wait_more(&wait));
	CHECK_EQ(reply.dev, 0);
}

/* A base page that missed is counted exactly once, in the right groups. */
static void check_events(const char *top, const char *payer,
			 const struct params *params, long refused)
{
	enum limit limit = params->limit;
	const char *outcome;

	outcome = params->row->outcome == FAILS ? "fail" : "fallback";
	CHECK_EQ(cdm_event_local(payer, outcome), refused);
	CHECK_EQ(cdm_event(payer, outcome), refused);
	CHECK_EQ(cdm_event_local(top, outcome), 0);
	CHECK_EQ(cdm_event_local(payer, params->row->outcome == FAILS ?
			     "fallback" : "fail"), 0);

	CHECK_EQ(cdm_event_local(payer, "max"),
		 limit == LIMIT_OWN ? refused : 0);
	CHECK_EQ(cdm_event(payer, "max"), limit == LIMIT_OWN ? refused : 0);
	CHECK_EQ(cdm_event_local(top, "max"),
		 limit == LIMIT_ANCESTOR ? refused : 0);
	CHECK_EQ(cdm_event(top, "max"), limit == DEPLETED ? 0 : refused);

	CHECK_EQ(cdm_event_local(payer, "depleted"),
		 limit == DEPLETED ? refused : 0);
	CHECK_EQ(cdm_event_local(top, "depleted"), 0);
	if (limit != DEPLETED) {
		CHECK_EQ(cdm_event(top, outcome), refused);
		CHECK_EQ(cdm_event(top, "depleted"), 0);
	}
}

/* A huge page that missed is retried as base pages, so there are more. */
static void check_events_huge(const char *top, const char *payer,
			      const struct params *params)
{
	CHECK_GE(cdm_event_local(payer, params->row->outcome == FAILS ?
			     "fail" : "fallback"), 1);
	switch (params->limit) {
	case LIMIT_OWN:
		CHECK_GE(cdm_event_local(payer, "max"), 1);
		CHECK_EQ(cdm_event_local(top, "max"), 0);
		break;
	case LIMIT_ANCESTOR:
		CHECK_EQ(cdm_event_local(payer, "max"), 0);
		CHECK_GE(cdm_event_local(top, "max"), 1);
		break;
	case DEPLETED:
		CHECK_GE(cdm_event_local(payer, "depleted"), 1);
		CHECK_EQ(cdm_event(top, "max"), 0);
		break;
	}
}

static void check_refusals(const char *top, const char *payer,
			   const struct params *params,
			   const struct cdm_reply *reply, long asked,
			   long before)
{
	long refused = asked - reply->dev;

	CHECK_GT(refused, 0);
	if (params->limit != DEPLETED)
		CHECK_EQ(reply->dev, 0);
	if (params->row->outcome == FAILS) {
		CHECK_EQ(reply->bus, refused);
		CHECK_EQ(reply->ram, 0);
		CHECK_EQ(reply->code, BUS_ADRERR);
		CHECK_EQ(reply->addr_good, true);
	} else {
		CHECK_EQ(reply->bus, 0);
		CHECK_EQ(reply->ram, refused);
	}
	if (params->huge)
		check_events_huge(top, payer, params);
	else
		check_events(top, payer, params, refused + before);
	CHECK_EQ(cdm_event_local(payer, "reclaim") > 0, params->row->pinned);
}

/*
 * Pin what the node still has free: these pages could make room for each other.
 * The counters of the allocator are inexact until they are refreshed. Returns
 * how many requests missed.
 */
static long pin_rest(struct cdm_task *task, long first, long nr)
{
	long i, refused = 0, in_a_row = 0;

	for (i = 0; i < nr && in_a_row < 3; i++) {
		file_write("/proc/sys/vm/stat_refresh", "1");
		if (task_call(task, op_touch, first + i, 1).dev) {
			CHECK_EQ(task_call(task, op_pin, first + i, 1).ret, 1);
			in_a_row = 0;
		} else {
			refused++;
			in_a_row++;
		}
	}
	CHECK_EQ(in_a_row, 3);
	return refused;
}

/* Colder pages of the group made room: the newest are on the node. */
static void check_reclaimed(const char *payer, const struct params *params,
			    const struct cdm_reply *reply,
			    const struct cdm_reply *all, long pages, long asked)
{
	CHECK_EQ(reply->bus, 0);
	CHECK_EQ(reply->ok, asked);
	CHECK_GT(all->ram, 0);
	CHECK_GE(cdm_event_local(payer, "reclaim"), 1);
	CHECK_EQ(cdm_event_local(payer, "fail"), 0);
	CHECK_EQ(cdm_event_local(payer, "fallback"), 0);
	if (params->limit != DEPLETED) {
		CHECK_EQ(reply->last_dev, true);
		CHECK_LE(all->dev, pages);
	}
}

/* No more pages than this may be left on a depleted node. */
#define REST	64

/* Count the pages of a task, once kswapd has stopped moving them. */
static struct cdm_reply count_at_rest(struct cdm_task *task,
				      const char *payer, long pages,
				      long present)
{
	struct cdm_reply all;
	struct cdm_wait wait = cdm_wait_begin(5);
	long used;

	do {
		cdm_drain_lru();
		all = task_call(task, op_count, 0, pages);
		used = cdm_usage(payer, cdm_node);
	} while ((used != all.dev || all.dev + all.ram != present) &&
		 cdm_wait_more(&wait));
	CHECK_EQ(used, all.dev);
	CHECK_EQ(all.dev + all.ram, present);
	CHECK_EQ(all.bad, 0);
	return all;
}

static void test_row(const char *group, const void *arg)
{
	const struct params *params = arg;
	long pages = params->huge ? 2 * cdm_hpages + 5 : 200;
	long asked = params->huge ? 3 * cdm_hpages - 5 : 150;
	struct cdm_task task, hog;
	struct cdm_reply reply, all;
	long refused = 0;
	char *payer;

	if (params->limit == DEPLETED) {
		pages = params->huge ? 3 * cdm_hpages : 200;
		asked = params->huge ? 2 * cdm_hpages : 600;
		/* Each request scans the whole node, and finds nothing. */
		if (params->row->pinned)
			asked = 20;
	}
	/* Each waits for the next look into the batches of other CPUs. */
	if (params->row->pinned && params->row->outcome == FAILS && asked > 40)
		asked = 40;
	CHECK_EQ(cdm_enable(group, "+memory +cdm"), 0);
	payer = cdm_make_group(group, "payer");
	CHECK_EQ(cdm_write(payer, "cdm.policy", "%s", params->row->policy), 0);
	if (params->limit == LIMIT_OWN)
		CHECK_EQ(cdm_limit(payer, cdm_node, pages), 0);
	if (params->limit == LIMIT_ANCESTOR)
		CHECK_EQ(cdm_limit(group, cdm_node, pages), 0);

	/* The payer takes all that it can get. */
	task_start(&task, payer);
	CHECK_EQ(task_call(&task, params->huge ? op_map_huge : op_map,
			   pages + asked + REST, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	if (params->row->pinned)
		CHECK_EQ(task_call(&task, op_pin, 0, pages).ret, pages);
	if (params->limit == DEPLETED) {
		char *other = cdm_make_group(group, "hog");

		deplete(&hog, other);
		if (params->row->pinned)
			refused = pin_rest(&task, pages + asked, REST);
	}

	/* Then it asks for more. */
	reply = task_call(&task, op_touch, pages, asked);
	all = task_call(&task, op_count, pages + asked, REST);
	all = count_at_rest(&task, payer, pages + asked + REST,
			    pages + reply.ok + all.dev + all.ram);
	if (params->row->outcome == RECLAIMS)
		check_reclaimed(payer, params, &reply, &all, pages, asked);
	else
		check_refusals(group, payer, params, &reply, asked, refused);
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom "), 0);
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom_kill "), 0);

	CHECK_EQ(task_end(&task), 0);
	if (params->limit == DEPLETED) {
		task_end(&hog);
		reserved_until = cdm_now() + 1.1;
	}
}

static void run_row(const struct row *row, enum limit limit, bool huge)
{
	struct params params = { row, limit, huge };
	char name[128];

	snprintf(name, sizeof(name), "%s%s at %s, %s pages", row->policy,
		 row->pinned ? " of what is pinned" : "", limit_names[limit],
		 huge ? "huge" : "base");
	cdm_case_arg(name, test_row, &params);
}

static void run_rows(void)
{
	enum limit limit;
	size_t i;

	for (limit = LIMIT_OWN; limit <= DEPLETED; limit++) {
		for (i = 0; i < ARRAY_SIZE(rows); i++) {
			run_row(&rows[i], limit, false);
			run_row(&rows[i], limit, true);
		}
	}
}

/* The nearest ancestor that does not inherit decides; the root falls back. */
static void test_inherit(const char *group)
{
	static const struct {
		const char *top, *mid, *leaf;
		bool fails;
	} table[] = {
		{ "inherit", "inherit", "inherit", false },
		{ "fail", "inherit", "inherit", true },
		{ "fail", "fallback", "inherit", false },
		{ "fallback", "fail", "inherit", true },
		{ "fallback", "fail", "fallback", false },
		{ "reclaim", "inherit", "fail", true },
		{ "reclaim", "inherit", "inherit,fail", true },
		{ "inherit", "inherit", "inherit,fail", true },
		{ "fail", "inherit", "inherit,fallback", false },
		{ "fail", "inherit,fallback", "inherit", false },
		{ "fail", "inherit,fallback", "inherit,fail", true },
		{ "reclaim,fail", "inherit", "inherit", true },
		{ "reclaim,fail", "inherit,fallback", "inherit", false },
	};
	struct cdm_reply reply;
	struct cdm_task task;
	char *mid, *leaf;
	size_t i;

	cdm_enable(group, "+cdm");
	mid = cdm_make_group(group, "mid");
	cdm_enable(mid, "+cdm");
	leaf = cdm_make_group(mid, "leaf");
	CHECK_EQ(cdm_limit(leaf, cdm_node, 0), 0);
	task_start(&task, leaf);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		CHECK_EQ(cdm_write(group, "cdm.policy", "%s", table[i].top), 0);
		CHECK_EQ(cdm_write(mid, "cdm.policy", "%s", table[i].mid), 0);
		CHECK_EQ(cdm_write(leaf, "cdm.policy", "%s", table[i].leaf),
			 0);
		CHECK_EQ(task_call(&task, op_map, 10, cdm_node).ret, 0);
		reply = task_call(&task, op_touch, 0, 10);
		CHECK_EQ(reply.bus, table[i].fails ? 10 : 0);
		CHECK_EQ(reply.ram, table[i].fails ? 0 : 10);
	}
	task_end(&task);
}

/* The payer's policy counts, not that of the group whose limit is full. */
static void test_policy_of_payer(const char *group)
{
	char *a, *b;
	struct cdm_task task[2];

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	CHECK_EQ(cdm_write(a, "cdm.policy", "fallback"), 0);
	task_start(&task[0], a);
	task_start(&task[1], b);
	task_call(&task[0], op_map, 10, cdm_node);
	task_call(&task[1], op_map, 10, cdm_node);
	CHECK_EQ(task_call(&task[0], op_touch, 0, 10).ram, 10);
	CHECK_EQ(task_call(&task[1], op_touch, 0, 10).bus, 10);
	task_end(&task[0]);
	task_end(&task[1]);
}

struct waiter {
	int poll_fd;
	int inotify_fd;
};

static void waiter_open(struct waiter *waiter, const char *group,
			const char *file)
{
	char buf[4096], *path = cg_control(group, file);

	waiter->poll_fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_GT(pread(waiter->poll_fd, buf, sizeof(buf), 0), 0);
	waiter->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	CHECK_GE(inotify_add_watch(waiter->inotify_fd, path, IN_MODIFY), 0);
	free(path);
}

static void check_wakes(struct waiter *waiter, bool wakes)
{
	struct pollfd fds[2] = {
		{ .fd = waiter->poll_fd, .events = POLLPRI },
		{ .fd = waiter->inotify_fd, .events = POLLIN },
	};

	if (wakes)
		cdm_wait_until(3, poll(fds, 2, 0) == 2);
	CHECK_EQ(poll(&fds[0], 1, 0), wakes);
	CHECK_EQ(poll(&fds[1], 1, 0), wakes);
	if (wakes)
		CHECK_NE(fds[0].revents & POLLPRI, 0);
}

static void waiter_close(struct waiter *waiter)
{
	close(waiter->poll_fd);
	close(waiter->inotify_fd);
}

/* Events of a group wake the tasks that wait for them, and no others. */
static void test_wake(const char *group)
{
	enum { TOP, TOP_LOCAL, PAYER, PAYER_LOCAL, OTHER, WAITERS };
	struct waiter waiter[WAITERS];
	struct cdm_task task;
	char *payer, *other;
	int i;

	cdm_enable(group, "+cdm");
	payer = cdm_make_group(group, "payer");
	other = cdm_make_group(group, "other");
	waiter_open(&waiter[TOP], group, "cdm.events");
	waiter_open(&waiter[TOP_LOCAL], group, "cdm.events.local");
	waiter_open(&waiter[PAYER], payer, "cdm.events");
	waiter_open(&waiter[PAYER_LOCAL], payer, "cdm.events.local");
	waiter_open(&waiter[OTHER], other, "cdm.events");

	/* A charge that fits is no event. */
	CHECK_EQ(cdm_limit(payer, cdm_node, 10), 0);
	task_start(&task, payer);
	CHECK_EQ(task_call(&task, op_map, 20, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 10).dev, 10);
	for (i = 0; i < WAITERS; i++)
		check_wakes(&waiter[i], false);

	CHECK_EQ(task_call(&task, op_touch, 10, 1).ram, 1);
	check_wakes(&waiter[PAYER_LOCAL], true);
	check_wakes(&waiter[PAYER], true);
	check_wakes(&waiter[TOP], true);
	check_wakes(&waiter[TOP_LOCAL], false);
	check_wakes(&waiter[OTHER], false);
	for (i = 0; i < WAITERS; i++)
		waiter_close(&waiter[i]);
	task_end(&task);
}

/*
 * System calls that have to fault pages in, which are refused under "fail".
 */

static struct cdm_reply op_read(struct cdm_buf *buf, long first, long nr)
{
	int fd = open("/dev/zero", O_RDONLY);
	struct cdm_reply reply = buf_errno(read(fd, buf->addr +
						first * cdm_psize,
						nr * cdm_psize));

	close(fd);
	return reply;
}

static struct cdm_reply op_read_pipe(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply;
	int fds[2];

	if (pipe(fds) || write(fds[1], "data", 4) != 4)
		return buf_errno(-1);
	reply = buf_errno(read(fds[0], buf->addr + first * cdm_psize, nr));
	close(fds[0]);
	close(fds[1]);
	return reply;
}

static struct cdm_reply op_read_direct(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply;
	int fd = open("direct", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);

	unlink("direct");
	if (fd < 0 || ftruncate(fd, nr * cdm_psize) ||
	    fallocate(fd, 0, 0, nr * cdm_psize))
		return buf_errno(-1);
	reply = buf_errno(pread(fd, buf->addr + first * cdm_psize,
				nr * cdm_psize, 0));
	close(fd);
	return reply;
}

static struct cdm_reply op_populate(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_POPULATE_WRITE));
}

/* MAP_POPULATE populates what it can; the mapping itself succeeds. */
static struct cdm_reply op_map_populate(struct cdm_buf *buf, long pages,
					long node)
{
	char *addr;

	if (sys_set_mempolicy(MPOL_BIND, 1UL << node))
		return buf_errno(-1);
	addr = mmap(NULL, pages * cdm_psize, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	if (addr == MAP_FAILED)
		return buf_errno(-1);
	buf->addr = addr;
	buf->pages = pages;
	return buf_count(buf, 0, pages);
}

/*
 * Each fails with -ENOMEM, or with its error for memory that is not accessible:
 * a copy to user space knows only -EFAULT, and mlock() has -EAGAIN.
 */
static const struct {
	const char *name;
	cdm_op op;
	int error;
} syscalls[] = {
	{ "read of /dev/zero", op_read, -EFAULT },
	{ "read of a pipe", op_read_pipe, -EFAULT },
	{ "read with O_DIRECT", op_read_direct, -EFAULT },
	{ "mlock", op_mlock, -EAGAIN },
	{ "madvise(MADV_POPULATE_WRITE)", op_populate, -ENOMEM },
};

/* The call fails: there is no signal, and no endless loop. */
static void test_syscalls(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;
	size_t i;

	CHECK_EQ(cdm_limit(group, cdm_node, 10), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 50, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 10).dev, 10);
	for (i = 0; i < ARRAY_SIZE(syscalls); i++) {
		reply = task_call(&task, syscalls[i].op, 20, 4);
		if (reply.ret != -ENOMEM && reply.ret != syscalls[i].error)
			cdm_fail(__FILE__, __LINE__, "%s gives %ld",
				 syscalls[i].name, reply.ret);
		CHECK_EQ(task_call(&task, op_count, 20, 4).dev, 0);
		CHECK_EQ(cdm_usage(group, cdm_node), 10);
	}
	CHECK_GE(cdm_event_local(group, "fail"), 4);
	CHECK_EQ(task_end(&task), 0);
}

/* A call that can do a part does it, up to the limit. */
static void test_syscalls_partly(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_limit(group, cdm_node, 10), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 50, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_read, 0, 30).ret, 10 * cdm_psize);
	CHECK_EQ(cdm_usage(group, cdm_node), 10);
	task_call(&task, op_discard, 0, 50);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);

	CHECK_EQ(task_call(&task, op_map_populate, 30, cdm_node).dev, 10);
	CHECK_EQ(cdm_usage(group, cdm_node), 10);
	CHECK_EQ(task_end(&task), 0);
}

static struct cdm_reply op_map_both(struct cdm_buf *buf, long pages, long ram)
{
	unsigned long mask = 1UL << cdm_node | 1UL << ram;
	int ret = buf_map(buf, pages, -1, false);

	if (!ret && sys_set_mempolicy(MPOL_BIND, mask))
		return buf_errno(-1);
	return buf_errno(ret);
}

static struct cdm_reply op_no_policy(struct cdm_buf *buf, long a, long b)
{
	(void)buf;
	(void)a;
	(void)b;
	return buf_errno(sys_set_mempolicy(MPOL_DEFAULT, 0));
}

/* With RAM in the node mask a request never fails. */
static void test_mixed_mask(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_limit(group, cdm_node, 10), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_both, 100, cdm_ram_node).ret, 0);
	reply = task_call(&task, op_touch, 0, 100);
	CHECK_EQ(reply.bus, 0);
	CHECK_EQ(reply.dev + reply.ram, 100);
	CHECK_LE(reply.dev, 10);
	CHECK_LE(cdm_usage(group, cdm_node), 10);
	task_call(&task, op_no_policy, 0, 0);
	CHECK_EQ(task_end(&task), 0);
}

/*
 * A word in a group's own file takes from that group only, whatever the limit
 * is that was met. That of the parent lets its children compete.
 */
static void test_reach(const char *group, const void *word)
{
	bool fails = strstr(word, "fail");
	struct cdm_reply reply;
	struct cdm_task cold, task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(group, cdm_node, 400), 0);
	task_start_on(&cold, a, 400, cdm_node);
	cdm_drain_lru();
	cdm_policy(b, word);
	task_start(&task, b);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	reply = task_call(&task, op_touch, 0, 50);
	CHECK_EQ(reply.dev, 0);
	CHECK_EQ(reply.bus, fails ? 50 : 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 400);
	CHECK_EQ(cdm_event(group, "taken"), 0);

	/* Its own pages make way for its own. */
	CHECK_EQ(cdm_limit(group, cdm_node, 430), 0);
	reply = task_call(&task, op_touch, 50, 50);
	CHECK_EQ(reply.bus, 0);
	CHECK_GT(reply.dev, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 400);
	CHECK_EQ(cdm_event(group, "taken"), 0);
	CHECK_EQ(cdm_event(group, "fail"), reply.bus + (fails ? 50 : 0));

	/* "inherit,fail" is the child's answer to the parent's word. */
	cdm_policy(group, "reclaim");
	cdm_policy(b, fails ? "inherit,fail" : "inherit");
	reply = task_call(&task, op_map, 300, cdm_node);
	reply = task_call(&task, op_touch, 0, 300);
	CHECK_EQ(reply.bus, 0);
	CHECK_LT(cdm_usage(a, cdm_node), 400);
	CHECK_GE(cdm_event_local(a, "taken"), 1);
	CHECK_EQ(cdm_event(a, "taken"), cdm_event_local(a, "taken"));
	CHECK_EQ(cdm_stat(a, "taken"), cdm_stat(a, "demoted"));
	CHECK_EQ(cdm_event(b, "taken"), 0);
	/* For the parent it was a request from inside. */
	CHECK_EQ(cdm_event(group, "taken"), 0);
	CHECK_EQ(cdm_stat(group, "taken"), 0);
	task_end(&cold);
	task_end(&task);
}

static struct cdm_reply map_with(struct cdm_buf *buf, long pages, int mode,
				 unsigned long nodes)
{
	if (buf_map(buf, pages, -1, false))
		return buf_errno(-1);
	return buf_errno(sys_mbind_nodes(buf->addr, pages * cdm_psize, mode,
					 nodes, 0));
}

static struct cdm_reply op_map_mode(struct cdm_buf *buf, long pages, long mode)
{
	return map_with(buf, pages, mode, 1UL << cdm_node);
}

static const int preferences[] = {
	MPOL_PREFERRED, MPOL_PREFERRED_MANY,
	MPOL_INTERLEAVE | MPOL_F_STATIC_NODES,
	WEIGHTED_INTERLEAVE | MPOL_F_STATIC_NODES,
};

static void test_preference(const char *group)
{
	long fallback = 0;
	struct cdm_reply reply;
	struct cdm_task task;
	size_t i;

	CHECK_EQ(cdm_limit(group, cdm_node, 10), 0);
	cdm_policy(group, "fail");
	task_start(&task, group);
	for (i = 0; i < ARRAY_SIZE(preferences); i++) {
		CHECK_EQ(task_call(&task, op_map_mode, 50, preferences[i]).ret,
			 0);
		reply = task_call(&task, op_touch, 0, 50);
		CHECK_EQ(reply.bus, 0);
		CHECK_EQ(reply.dev, 10);
		CHECK_EQ(reply.ram, 40);
		fallback += 40;
		CHECK_EQ(cdm_event(group, "fallback"), fallback);
		CHECK_EQ(cdm_event(group, "fail"), 0);
		CHECK_EQ(task_call(&task, op_unmap, 0, 50).ret, 0);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	}
	task_end(&task);
}

/* One preferred node or several: older pages make way, as the word says. */
static void test_preference_reclaims(const char *group)
{
	struct cdm_reply reply, all;
	struct cdm_task task;
	size_t i;

	CHECK_EQ(cdm_limit(group, cdm_node, 200), 0);
	cdm_policy(group, "reclaim");
	task_start(&task, group);
	for (i = 0; i < ARRAY_SIZE(preferences); i++) {
		CHECK_EQ(task_call(&task, op_map_mode, 500, preferences[i]).ret,
			 0);
		reply = task_call(&task, op_touch, 0, 500);
		CHECK_EQ(reply.ok, 500);
		CHECK_EQ(reply.last_dev, true);
		all = task_call(&task, op_count, 0, 500);
		CHECK_GT(all.dev, 100);
		CHECK_EQ(cdm_event(group, "fallback"), 0);
		CHECK_EQ(task_call(&task, op_unmap, 0, 500).ret, 0);
		CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	}
	task_end(&task);
}

/* Data that exists: what a child copies after fork() is not refused. */
static void test_copies(const char *group)
{
	struct cdm_task parent, child;
	struct cdm_reply reply;

	CHECK_EQ(cdm_limit(group, cdm_node, 50), 0);
	cdm_policy(group, "fail");
	task_start_on(&parent, group, 50, cdm_node);
	CHECK_EQ(task_fork_into(&parent, &child, group), 0);
	reply = task_call(&child, op_touch, 0, 50);
	CHECK_EQ(reply.bus, 0);
	CHECK_EQ(reply.ram, 50);
	CHECK_EQ(task_call(&child, op_verify, 0, 50).bad, 0);
	CHECK_EQ(task_call(&parent, op_count, 0, 50).dev, 50);
	CHECK_EQ(cdm_event(group, "fail"), 0);
	/* A new page is. */
	CHECK_EQ(task_call(&child, op_map, 5, cdm_node).ret, 0);
	CHECK_EQ(task_call(&child, op_touch, 0, 5).bus, 5);
	task_end(&child);
	task_end(&parent);
}

static struct cdm_reply op_map_nodes(struct cdm_buf *buf, long pages,
				     long nodes)
{
	return map_with(buf, pages, MPOL_BIND, nodes);
}

/*
 * A request for two nodes. Pages make way on each by the word for the node, and
 * in the end the nearer node's word decides.
 */
static void test_two_nodes(const char *group)
{
	static const struct {
		const char *near, *far;
		enum outcome outcome;
	} table[] = {
		{ "fail", "fallback", FAILS },
		{ "fallback", "fail", FALLS_BACK },
		{ "fail", "reclaim", RECLAIMS },
		{ "reclaim", "fail", RECLAIMS },
		{ "inherit", "fail", FALLS_BACK },
	};
	struct cdm_reply reply;
	struct cdm_task task;
	int near, far;
	long nodes;
	size_t i;

	if (!CHECK_EQ(cdm_hotplug("add", "movable"), 0))
		return;
	near = cdm_node;
	far = cdm_other_node();
	nodes = 1UL << near | 1UL << far;
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_nodes, 1, nodes).ret, 0);
	if (task_call(&task, op_touch, 0, 1).other) {
		near = far;
		far = cdm_node;
	}
	CHECK_EQ(task_call(&task, op_unmap, 0, 1).ret, 0);
	CHECK_EQ(cdm_limit(group, near, 70), 0);
	CHECK_EQ(cdm_limit(group, far, 70), 0);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		CHECK_EQ(cdm_write(group, "cdm.policy", "node%d %s\nnode%d %s",
				   near, table[i].near, far, table[i].far), 0);
		CHECK_EQ(task_call(&task, op_map_nodes, 200, nodes).ret, 0);
		reply = task_call(&task, op_touch, 0, 140);
		CHECK_EQ(reply.dev, 70);
		CHECK_EQ(reply.other, 70);
		cdm_drain_lru();
		reply = task_call(&task, op_touch, 140, 60);
		CHECK_EQ(reply.bus, table[i].outcome == FAILS ? 60 : 0);
		CHECK_EQ(reply.ram, table[i].outcome == FALLS_BACK ? 60 : 0);
		CHECK_EQ(task_call(&task, op_unmap, 0, 200).ret, 0);
		CHECK_EQ(cdm_wait_usage(group, near, 0), 0);
		CHECK_EQ(cdm_wait_usage(group, far, 0), 0);
	}
	task_end(&task);
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
}

int main(void)
{
	cdm_init(3 * 2 * ARRAY_SIZE(rows) + 12);
	run_rows();
	cdm_case("inherit takes the nearest ancestor's policy", test_inherit);
	cdm_case("the payer's policy counts", test_policy_of_payer);
	cdm_case("events wake poll and inotify", test_wake);
	cdm_case("system calls are refused, not signalled", test_syscalls);
	cdm_case("system calls go as far as the quota does",
		 test_syscalls_partly);
	cdm_case("a mask with RAM in it does not fail", test_mixed_mask);
	cdm_case_arg("a word takes from its own subtree, reclaim", test_reach,
		     "reclaim");
	cdm_case_arg("a word takes from its own subtree, reclaim,fail",
		     test_reach, "reclaim,fail");
	cdm_case("a preference never fails", test_preference);
	cdm_case("a preference has pages make way", test_preference_reclaims);
	cdm_case("copies are not refused", test_copies);
	cdm_case("two nodes, each by its word", test_two_nodes);
	cdm_exit();
}
