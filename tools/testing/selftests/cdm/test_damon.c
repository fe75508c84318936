// SPDX-License-Identifier: GPL-2.0
/*
 * DAMON moves pages by how they are used: to the device, up to the limit of
 * their owner, and back. Its kernel thread is in no group, and pays nothing.
 *
 * Needs a kernel with CONFIG_DAMON_PADDR and CONFIG_DAMON_SYSFS.
 *
 * lane: debug
 */

#include <stdio.h>
#include <string.h>

#include "cdm_util.h"

#define DAMON		"/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT		"0/contexts/0/"
#define SCHEME		CONTEXT "schemes/0/"
#define PAGES		300
/* Pages of the worker's stack and heap that may be among them. */
#define OWN		16

static int damon(const char *file, const char *text)
{
	char path[PATH_MAX];
	int err;

	snprintf(path, sizeof(path), DAMON "%s", file);
	err = file_write(path, "%s", text);
	if (err)
		cdm_fail(__FILE__, __LINE__, "%s: %s: %s", file, text,
			 strerror(-err));
	return err;
}

static int damon_long(const char *file, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	return damon(file, text);
}

/* The lowest and the highest frame of the worker's pages. */
static void frames(struct cdm_task *task, long *first, long *last)
{
	long i;

	*first = LONG_MAX;
	*last = 0;
	for (i = 0; i < PAGES; i++) {
		long frame = task_call(task, op_frame, i, 0).ret;

		CHECK_GT(frame, 0);
		*first = frame < *first ? frame : *first;
		*last = frame > *last ? frame : *last;
	}
}

/* Move the group's pages among the worker's frames to @node. */
static int damon_start(struct cdm_task *task, const char *group, int node)
{
	long first, last;

	frames(task, &first, &last);
	return damon("nr_kdamonds", "1") ||
	       damon("0/contexts/nr_contexts", "1") ||
	       damon(CONTEXT "operations", "paddr") ||
	       damon(CONTEXT "monitoring_attrs/intervals/sample_us", "1000") ||
	       damon(CONTEXT "monitoring_attrs/intervals/aggr_us", "10000") ||
	       damon(CONTEXT "targets/nr_targets", "1") ||
	       damon(CONTEXT "targets/0/regions/nr_regions", "1") ||
	       damon_long(CONTEXT "targets/0/regions/0/start",
			  first * cdm_psize) ||
	       damon_long(CONTEXT "targets/0/regions/0/end",
			  (last + 1) * cdm_psize) ||
	       damon(CONTEXT "schemes/nr_schemes", "1") ||
	       damon(SCHEME "action", "migrate_cold") ||
	       damon_long(SCHEME "target_nid", node) ||
	       damon_long(SCHEME "access_pattern/sz/max", LONG_MAX) ||
	       damon(SCHEME "access_pattern/nr_accesses/max", "1000000") ||
	       damon(SCHEME "access_pattern/age/max", "1000000") ||
	       damon(SCHEME "filters/nr_filters", "1") ||
	       damon(SCHEME "filters/0/type", "memcg") ||
	       damon(SCHEME "filters/0/matching", "N") ||
	       damon(SCHEME "filters/0/memcg_path", group + strlen(cdm_root)) ||
	       damon("0/state", "on");
}

/* How often DAMON has tried to move something so far. */
static long tried(void)
{
	CHECK_EQ(damon("0/state", "update_schemes_stats"), 0);
	return file_long(DAMON SCHEME "stats/nr_tried");
}

/*
 * Wait until the group has between @least and @most pages on the device, and
 * then for some more tries.
 */
static void damon_wait(const char *group, long least, long most)
{
	struct cdm_wait wait = cdm_wait_begin(20);
	bool done = false;
	long until = 0;

	do {
		long pages = cdm_usage(group, cdm_node);

		cdm_drain_lru();
		if (pages < least || pages > most)
			continue;
		if (!until)
			until = tried() + 50;
		else
			done = tried() >= until;
	} while (!done && cdm_wait_more(&wait));
	CHECK_EQ(done, true);
}

static void damon_stop(void)
{
	CHECK_EQ(damon("0/state", "off"), 0);
	CHECK_EQ(damon("nr_kdamonds", "0"), 0);
}

/*
 * As many of the worker's pages as the limit admits are moved, once each. The
 * others are not moved from RAM to RAM.
 */
static void to_device(struct cdm_task *task, const char *group, long limit)
{
	long least = limit < PAGES ? limit : PAGES;
	long most = limit < PAGES ? limit : PAGES + OWN, moved;
	struct cdm_reply reply;

	cdm_migrations_begin();
	if (CHECK_EQ(damon_start(task, group, cdm_node), 0))
		damon_wait(group, least, most);
	damon_stop();
	moved = cdm_migrations_end("damon");
	CHECK_GE(moved, least);
	CHECK_LE(moved, most);
	CHECK_EQ(cdm_usage(group, cdm_node), moved);
	reply = task_call(task, op_count, 0, PAGES);
	CHECK_GE(reply.dev, least - OWN);
	CHECK_EQ(reply.dev + reply.ram, PAGES);
	CHECK_EQ(reply.bad, 0);
}

static void test_there_and_back(const char *group)
{
	struct cdm_task task;
	long pages;

	task_start_on(&task, group, PAGES, -1);
	to_device(&task, group, LONG_MAX);
	task_check_at(&task, PAGES, PAGES, 0);

	pages = cdm_usage(group, cdm_node);
	cdm_migrations_begin();
	if (CHECK_EQ(damon_start(&task, group, cdm_ram_node), 0))
		damon_wait(group, 0, OWN);
	damon_stop();
	CHECK_EQ(cdm_migrations_end("damon"),
		 pages - cdm_usage(group, cdm_node));
	task_check_at(&task, PAGES, 0, PAGES);
	task_end(&task);
}

/* Pages beyond the limit stay where they are, whatever the policy. */
static void test_limit(const char *group)
{
	static const char * const policies[] = { "fallback", "fail" };
	struct cdm_task task;
	size_t i;

	CHECK_EQ(cdm_limit(group, cdm_node, 200), 0);
	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		CHECK_EQ(cdm_write(group, "cdm.policy", "%s", policies[i]), 0);
		task_start_on(&task, group, PAGES, -1);
		to_device(&task, group, 200);
		task_end(&task);
	}
}

/* Pages of other groups are left alone. */
static void test_others(const char *group)
{
	struct cdm_task task, other;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&other, b, PAGES, -1);
	task_start_on(&task, a, PAGES, -1);
	to_device(&task, a, LONG_MAX);
	task_check_at(&other, PAGES, 0, PAGES);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	task_end(&task);
	task_end(&other);
}

/* What memory.max has no room for does not come to RAM. */
static void test_full_ram(const char *group)
{
	struct cdm_task task;
	long full;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_fill_ram(group);
	full = cdm_ram_usage(group);
	if (CHECK_EQ(damon_start(&task, group, cdm_ram_node), 0))
		damon_wait(group, 0, PAGES + OWN);
	damon_stop();
	CHECK_LE(cdm_ram_usage(group), full);
	CHECK_EQ(task_call(&task, op_verify, 0, PAGES).bad, 0);
	cdm_set_memory(group, "memory.max", -1);
	task_end(&task);
}

int main(void)
{
	cdm_init(4);
	cdm_case("there and back", test_there_and_back);
	cdm_case("a limit", test_limit);
	cdm_case("the pages of one group", test_others);
	cdm_case("RAM without room", test_full_ram);
	cdm_exit();
}
