// SPDX-License-Identifier: GPL-2.0
/*
 * Every reason that the kernel has to migrate a page, provoked for pages on
 * the device: what the trace says was moved, where the pages are afterwards,
 * and which group is charged. NUMA balancing, which must never move one, has
 * test_numa_balancing, and DAMON has test_damon; contiguous ranges of movable
 * memory are for drivers only. The task that asks for the move is in no group
 * and pays nothing.
 */

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

/* A new reason is a new way for pages to move, and needs a case here. */
static void test_known(const char *group)
{
	static const char * const known[] = {
		"compaction", "memory_failure", "memory_hotplug",
		"syscall_or_cpuset", "mempolicy_mbind", "numa_misplaced",
		"contig_range", "longterm_pin", "demotion", "damon",
	};
	char text[4096], want[64], *reasons, *pos;
	size_t i, nr = 0;

	(void)group;
	CHECK_EQ(file_read(CDM_TRACING
			   "events/migrate/mm_migrate_pages/format", text,
			   sizeof(text)), 0);
	reasons = strstr(text, "(REC->reason,");
	if (!CHECK_EQ(!reasons, false))
		return;
	for (pos = reasons; (pos = strchr(pos, '{')); pos++)
		nr++;
	CHECK_EQ(nr, ARRAY_SIZE(known));
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		snprintf(want, sizeof(want), "\"%s\"", known[i]);
		if (!strstr(reasons, want))
			cdm_fail(__FILE__, __LINE__, "no reason %s", known[i]);
	}
}

#define CHUNK	8

/* Discard every other page of the worker's first @pages. */
static struct cdm_reply op_every_second(struct cdm_buf *buf, long pages, long b)
{
	long i;

	(void)b;
	for (i = 0; i < pages; i += 2)
		op_discard(buf, i, 1);
	return buf_errno(0);
}

/*
 * Two groups take turns to fill the node, and free every other page. The pages
 * that compaction moves keep their owners: when one of the tasks ends, exactly
 * its charges end.
 */
static void test_compaction(const char *group)
{
	long pages = node_meminfo(cdm_node, "MemFree:") * 1024 / cdm_psize;
	struct cdm_task task[2];
	struct cdm_reply reply;
	char *child[2];
	long done;
	int i;

	pages = (pages / 2 - 1024) / CHUNK * CHUNK;
	cdm_make_two_groups(group, &child[0], &child[1]);
	for (i = 0; i < 2; i++) {
		task_start(&task[i], child[i]);
		/* Both use the lists of the same CPU, one after the other. */
		CHECK_EQ(task_call(&task[i], op_on_cpu, 0, 0).ret, 0);
		CHECK_EQ(task_call(&task[i], op_map, pages, cdm_node).ret, 0);
	}
	for (done = 0; done < pages; done += CHUNK)
		for (i = 0; i < 2; i++)
			task_call(&task[i], op_touch, done, CHUNK);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(cdm_usage(child[i], cdm_node), pages);
		task_call(&task[i], op_every_second, pages, 0);
	}
	CHECK_EQ(cdm_wait_usage(group, cdm_node, pages), pages);

	cdm_migrations_begin();
	CHECK_EQ(node_write(cdm_node, "compact", "1"), 0);
	CHECK_GE(cdm_migrations_end("compaction"), pages / 8);

	for (i = 0; i < 2; i++) {
		CHECK_EQ(cdm_usage(child[i], cdm_node), pages / 2);
		reply = task_call(&task[i], op_count, 0, pages);
		CHECK_EQ(reply.dev, pages / 2);
		CHECK_EQ(reply.bad, 0);
	}
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "stale"), 0);
	task_end(&task[0]);
	CHECK_EQ(cdm_wait_usage(child[0], cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(child[1], cdm_node), pages / 2);
	task_end(&task[1]);
}

#define PAGES	300

static void check_at(struct cdm_task *task, const char *group, long dev)
{
	task_check_at(task, PAGES, dev, PAGES - dev);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, dev), dev);
}

/* A page that is offlined is replaced by another on its node. */
static struct cdm_reply op_soft_offline(struct cdm_buf *buf, long page, long b)
{
	struct cdm_reply reply = { .ret = op_frame(buf, page, 0).ret };

	(void)b;
	if (madvise(buf->addr + page * cdm_psize, cdm_psize,
		    MADV_SOFT_OFFLINE))
		return buf_errno(-1);
	return reply;
}

static void test_memory_failure(const char *group)
{
	struct cdm_task task;
	long frame;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_migrations_begin();
	frame = task_call(&task, op_soft_offline, 5, 0).ret;
	CHECK_EQ(cdm_migrations_end("memory_failure"), 1);
	CHECK_GT(frame, 0);
	CHECK_NE(task_call(&task, op_frame, 5, 0).ret, frame);
	check_at(&task, group, PAGES);
	CHECK_EQ(cdm_unpoison(frame), 0);
	task_end(&task);
}

/* Memory that goes offline sends its pages to RAM. */
static void test_memory_hotplug(const char *group)
{
	struct cdm_task task;
	int other;

	CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	other = cdm_other_node();
	if (!CHECK_GE(other, 0))
		return;
	task_start_on(&task, group, PAGES, other);
	CHECK_EQ(cdm_usage(group, other), PAGES);
	cdm_migrations_begin();
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
	CHECK_EQ(cdm_migrations_end("memory_hotplug"), PAGES);
	CHECK_EQ(cdm_usage(group, other), CDM_NONE);
	check_at(&task, group, 0);
	task_end(&task);
}

static void test_syscall(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_migrations_begin();
	CHECK_EQ(task_call(&task, op_move, PAGES - 1, cdm_ram_node).ok,
		 PAGES - 1);
	CHECK_EQ(cdm_migrations_end("syscall_or_cpuset"), PAGES - 1);
	check_at(&task, group, 1);
	cdm_migrations_begin();
	CHECK_EQ(task_call(&task, op_move, PAGES, cdm_node).ok, PAGES);
	CHECK_EQ(cdm_migrations_end("syscall_or_cpuset"), PAGES - 1);
	check_at(&task, group, PAGES);
	task_end(&task);
}

/* A cpuset that loses the node has its tasks' pages moved. */
static void test_cpuset(const char *group)
{
	struct cdm_task task;
	char mems[64], *child;

	CHECK_EQ(cdm_enable(cdm_root, "+cpuset"), 0);
	CHECK_EQ(cdm_enable(group, "+cpuset +cdm"), 0);
	child = cdm_make_group(group, "cpuset");
	CHECK_EQ(file_read("/sys/devices/system/node/has_cpu", mems,
			   sizeof(mems)), 0);
	task_start_on(&task, child, PAGES, cdm_node);
	cdm_migrations_begin();
	CHECK_EQ(cdm_write(child, "cpuset.mems", "%s", mems), 0);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, 0), 0);
	check_at(&task, child, 0);
	CHECK_GE(cdm_migrations_end("syscall_or_cpuset"), PAGES);
	task_end(&task);
}

static void test_mbind(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, PAGES, -1);
	cdm_migrations_begin();
	CHECK_EQ(task_call(&task, op_bind, cdm_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(cdm_migrations_end("mempolicy_mbind"), PAGES);
	check_at(&task, group, PAGES);
	cdm_migrations_begin();
	CHECK_EQ(task_call(&task, op_bind, cdm_ram_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(cdm_migrations_end("mempolicy_mbind"), PAGES);
	check_at(&task, group, 0);
	task_end(&task);
}

/* Pages that are pinned long-term may not stay on a device: they go to RAM. */
static void test_longterm_pin(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_migrations_begin();
	CHECK_EQ(task_call(&task, op_longterm, 10, 100).ret, 0);
	CHECK_EQ(cdm_migrations_end("longterm_pin"), 100);
	check_at(&task, group, PAGES - 100);
	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	check_at(&task, group, PAGES - 100);
	task_end(&task);
}

static void test_demotion(const char *group)
{
	struct cdm_task task;
	long dev, moved;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_migrations_begin();
	CHECK_EQ(cdm_limit(group, cdm_node, PAGES - 100), 0);
	moved = cdm_migrations_end("demotion");
	dev = cdm_usage(group, cdm_node);
	CHECK_LE(dev, PAGES - 100);
	CHECK_EQ(moved, PAGES - dev);
	check_at(&task, group, dev);
	cdm_migrations_begin();
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_migrations_end("demotion"), dev);
	check_at(&task, group, 0);
	task_end(&task);
}

int main(void)
{
	cdm_init(9);
	cdm_case("all reasons are known", test_known);
	cdm_case("compaction of pages of two owners", test_compaction);
	cdm_case("memory failure replaces on the node", test_memory_failure);
	cdm_case("memory hotplug", test_memory_hotplug);
	cdm_case("move_pages there and back", test_syscall);
	cdm_case("a cpuset that loses the node", test_cpuset);
	cdm_case("mbind there and back", test_mbind);
	cdm_case("a long-term pin goes to RAM", test_longterm_pin);
	cdm_case("demotion by a limit", test_demotion);
	cdm_exit();
}
