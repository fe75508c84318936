// SPDX-License-Identifier: GPL-2.0
/*
 * The memory controller does not count device memory: it is not in
 * memory.current, and memory.max neither limits it nor kills tasks because of
 * it. A page that moves to RAM counts from then on, and does not move if that
 * would exceed memory.max. cdm.stat counts the moves.
 */

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

/* Many more than a process needs otherwise, or CPUs have in stock. */
#define PAGES	4096

/* Make a child which, like its parent, has files of the memory controller. */
static char *child_of(const char *group)
{
	CHECK_EQ(cdm_enable(group, "+memory +cdm"), 0);
	return cdm_make_group(group, "child");
}

#define ACCOUNTING	"memory_hugetlb_accounting"

/* Pages of a pool count in RAM only, if memory.current has them at all. */
static void test_pool(const char *group)
{
	const long pages = 2 * cdm_hpages;
	struct cdm_task task, ram;
	long before;
	char *child;

	CHECK_EQ(cdm_mount_option(ACCOUNTING, true), 0);
	child = child_of(group);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 2), 2);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 2), 2);
	task_start(&task, child);
	before = cdm_ram_usage(child);
	CHECK_EQ(task_call(&task, op_map_pool, 2, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	CHECK_EQ(cdm_usage(child, cdm_node), pages);
	cdm_check_ram(child, before, 0);
	task_start(&ram, child);
	CHECK_EQ(task_call(&ram, op_map_pool, 2, cdm_ram_node).ret, 0);
	CHECK_EQ(task_call(&ram, op_touch, 0, pages).ram, pages);
	cdm_check_ram(child, before, pages);
	task_end(&task);
	cdm_check_ram(child, before, pages);
	task_end(&ram);
	CHECK_LE(cdm_ram_usage(child), CDM_RAM_SLACK);
	CHECK_EQ(cdm_set_pool(cdm_ram_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_set_pool(cdm_node, CDM_POOL_KB, 0), 0);
	CHECK_EQ(cdm_mount_option(ACCOUNTING, false), 0);
	cdm_check_root(0);
}

/* An ancestor's limit evicts pages of a child whose RAM is protected. */
static void test_protection(const char *group)
{
	static const char * const files[] = { "memory.min", "memory.low" };
	char *child = child_of(group);
	struct cdm_task task;
	size_t i;

	task_start_on(&task, child, PAGES, cdm_node);
	for (i = 0; i < 2; i++) {
		cdm_set_memory(group, files[i], 4 * PAGES);
		cdm_set_memory(child, files[i], 4 * PAGES);
		CHECK_EQ(cdm_limit(group, cdm_node, PAGES >> (i + 1)), 0);
		CHECK_LE(cdm_usage(child, cdm_node), PAGES >> (i + 1));
		cdm_set_memory(child, files[i], 0);
		cdm_set_memory(group, files[i], 0);
	}
	task_end(&task);
}

/* Each kind of page, well beyond memory.max, which has no effect. */
static void test_uncounted(const char *group, const void *map)
{
	struct cdm_reply reply;
	struct cdm_task task;
	long before[2];
	char *child;

	child = child_of(group);
	cdm_set_memory(child, "memory.max", PAGES / 2);
	cdm_set_memory(child, "memory.swap.max", 0);
	task_start(&task, child);
	before[0] = cdm_ram_usage(group);
	before[1] = cdm_ram_usage(child);
	CHECK_EQ(task_call(&task, (cdm_op)map, PAGES, cdm_node).ret, 0);
	reply = task_call(&task, op_touch, 0, PAGES);
	CHECK_EQ(reply.dev, PAGES);
	CHECK_EQ(cdm_usage(child, cdm_node), PAGES);
	cdm_check_ram(group, before[0], 0);
	cdm_check_ram(child, before[1], 0);
	/* The pages are in the group's statistics, though. */
	CHECK_GE(cg_read_key_long(child, "memory.stat", map == op_map_memfd ?
				  "shmem " : "anon "),
		 (PAGES - CDM_RAM_SLACK) * cdm_psize);
	CHECK_EQ(cg_read_key_long(child, "memory.events", "max "), 0);
	cdm_check_no_oom(child);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, 0), 0);
	/* Nothing is subtracted that was never added. */
	CHECK_LE(cdm_ram_usage(child), CDM_RAM_SLACK);
	CHECK_LE(cdm_ram_usage(group), CDM_RAM_SLACK);
}

static void test_file_cache(const char *group)
{
	struct cdm_task task;
	long before;

	task_start(&task, group);
	before = cdm_ram_usage(group);
	CHECK_EQ(task_call(&task, op_map_memfd, PAGES, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, PAGES).dev, PAGES);
	cdm_check_ram(group, before, 0);
	/* The file's pages outlive the task, and count when evicted to RAM. */
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	cdm_check_ram(group, before, PAGES);
	task_end(&task);
	CHECK_LE(cdm_ram_usage(group), CDM_RAM_SLACK);
}

/* A group at memory.max with much device memory reclaims its RAM. */
static void test_no_oom(const char *group)
{
	struct cdm_task device, ram;
	struct cdm_reply reply;

	cdm_set_memory(group, "memory.max", PAGES / 2);
	task_start_on(&device, group, 2 * PAGES, cdm_node);
	task_start(&ram, group);
	CHECK_EQ(task_call(&ram, op_map, PAGES, -1).ret, 0);
	reply = task_call(&ram, op_touch, 0, PAGES);
	CHECK_EQ(reply.ok, PAGES);
	CHECK_EQ(reply.dev, 0);
	cdm_check_no_oom(group);
	CHECK_GT(cg_read_key_long(group, "memory.events", "max "), 0);
	CHECK_LE(cdm_ram_usage(group), PAGES / 2);
	CHECK_EQ(cdm_usage(group, cdm_node), 2 * PAGES);
	CHECK_EQ(task_call(&device, op_count, 0, 2 * PAGES).dev, 2 * PAGES);
	CHECK_EQ(task_end(&ram), 0);
	CHECK_EQ(task_end(&device), 0);
}

/* Move pages out of memory.current, and back into it. */
static void test_move(const char *group, const void *map)
{
	struct cdm_reply reply;
	struct cdm_task task;
	char *child;
	long before;

	child = child_of(group);
	task_start(&task, child);
	before = cdm_ram_usage(child);
	CHECK_EQ(task_call(&task, (cdm_op)map, PAGES, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, PAGES).ram, PAGES);
	cdm_check_ram(child, before, PAGES);
	CHECK_EQ(task_call(&task, op_bind, cdm_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(cdm_usage(child, cdm_node), PAGES);
	cdm_check_ram(child, before, 0);
	CHECK_EQ(cdm_item(child, "cdm.stat", cdm_node, "moved_in"), PAGES);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "moved_in"), PAGES);
	CHECK_EQ(cdm_item(child, "cdm.stat", cdm_node, "moved_out"), 0);

	CHECK_EQ(task_call(&task, op_bind, cdm_ram_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, 0), 0);
	cdm_check_ram(child, before, PAGES);
	cdm_check_ram(group, before, PAGES);
	CHECK_EQ(cdm_item(child, "cdm.stat", cdm_node, "moved_out"), PAGES);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "moved_out"), PAGES);
	CHECK_EQ(cdm_item(child, "cdm.stat", cdm_node, "demoted"), 0);
	reply = task_call(&task, op_count, 0, PAGES);
	CHECK_EQ(reply.bad, 0);
	task_end(&task);
	CHECK_LE(cdm_ram_usage(child), CDM_RAM_SLACK);
}

/* Only as many pages went to RAM as CPUs had charged in advance. */
static void check_stayed(const char *group, struct cdm_task *task)
{
	long dev = cdm_usage(group, cdm_node);
	struct cdm_reply reply;

	CHECK_GE(dev, PAGES - CDM_RAM_SLACK);
	CHECK_LE(cdm_ram_usage(group) * cdm_psize,
		 cg_read_long(group, "memory.max"));
	cdm_check_no_oom(group);
	cdm_set_memory(group, "memory.max", -1);
	reply = task_call(task, op_count, 0, PAGES);
	CHECK_EQ(reply.dev, dev);
	CHECK_EQ(reply.ram, PAGES - dev);
	CHECK_EQ(reply.bad, 0);
}

/* A limit below usage evicts no more than RAM has room for. */
static void test_evict_full(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_fill_ram(group);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	check_stayed(group, &task);
	/* With room again, the next write of the limit evicts the rest. */
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "demoted"), PAGES);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "moved_out"), 0);
	task_end(&task);
}

/* Pages that a system call is to move stay as well, and it says so. */
static void test_move_full(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_fill_ram(group);
	CHECK_NE(task_call(&task, op_bind, cdm_ram_node,
			   MPOL_MF_MOVE | MPOL_MF_STRICT).ret, 0);
	check_stayed(group, &task);
	task_end(&task);
}

static void test_pin_full(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, PAGES, cdm_node);
	/* Open the file while there is room to do so. */
	CHECK_EQ(task_call(&task, op_longterm, 0, 0).ret, 0);
	cdm_fill_ram(group);
	CHECK_LT(task_call(&task, op_longterm, 0, PAGES / 2).ret, 0);
	check_stayed(group, &task);
	/* With room the pages go one by one, and are counted separately. */
	CHECK_EQ(task_call(&task, op_longterm, 0, PAGES / 2).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, PAGES / 2), PAGES / 2);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "pinned_out"),
		 PAGES / 2);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "moved_out"), 0);
	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	task_end(&task);
}

/* With swap the group's RAM makes room for the pages. */
static void test_move_swap(const char *group)
{
	struct cdm_task task;
	long dev;

	task_start_on(&task, group, PAGES, cdm_node);
	cdm_set_memory(group, "memory.max", PAGES / 2);
	task_call(&task, op_move, PAGES, cdm_ram_node);
	CHECK_LE(cdm_ram_usage(group), PAGES / 2);
	dev = cdm_usage(group, cdm_node);
	CHECK_LT(dev, PAGES / 2);
	cdm_check_no_oom(group);
	cdm_set_memory(group, "memory.max", -1);
	CHECK_EQ(task_call(&task, op_verify, 0, PAGES).bad, 0);
	task_end(&task);
}

/* Memory that goes offline exceeds memory.max if it has to. */
static void test_offline_full(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;
	long before;
	int other;

	CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	other = cdm_other_node();
	if (!CHECK_GE(other, 0))
		return;
	task_start_on(&task, group, PAGES, other);
	before = cdm_ram_usage(group);
	cdm_fill_ram(group);
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
	cdm_check_ram(group, before, PAGES);
	CHECK_GT(cdm_ram_usage(group) * cdm_psize,
		 cg_read_long(group, "memory.max"));
	cdm_check_no_oom(group);
	cdm_set_memory(group, "memory.max", -1);
	reply = task_call(&task, op_count, 0, PAGES);
	CHECK_EQ(reply.ram, PAGES);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(task_end(&task), 0);
}

/* A page counts as swap while it is swapped out, and not after that. */
static void test_swap(const char *group)
{
	struct cdm_task task;
	long before;

	cdm_set_zswap(true);
	task_start_on(&task, group, PAGES, cdm_node);
	before = cdm_ram_usage(group);
	CHECK_EQ(task_call(&task, op_pageout, 0, PAGES).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cg_read_long(group, "memory.swap.current"),
		 PAGES * cdm_psize);
	cdm_set_zswap(false);
	CHECK_EQ(file_write("/proc/sys/vm/page-cluster", "0"), 0);
	CHECK_EQ(task_call(&task, op_verify, 0, PAGES).bad, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, PAGES), PAGES);
	cdm_check_ram(group, before, 0);
	CHECK_EQ(file_write("/proc/sys/vm/page-cluster", "3"), 0);
	task_end(&task);
	/* CPUs free swap slots in batches. */
	CHECK_LE(cg_read_long(group, "memory.swap.current"),
		 CDM_RAM_SLACK * cdm_psize);
	CHECK_LE(cdm_ram_usage(group), CDM_RAM_SLACK);
}

/* A child's copies do not count as RAM, nor do the pages it shares. */
static void test_fork(const char *group)
{
	struct cdm_task parent, child;
	long before[2];
	char *a, *b;

	CHECK_EQ(cdm_enable(group, "+memory"), 0);
	cdm_make_two_groups(group, &a, &b);
	task_start_on(&parent, a, PAGES, cdm_node);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	before[0] = cdm_ram_usage(a);
	before[1] = cdm_ram_usage(b);
	CHECK_EQ(task_call(&child, op_touch, 0, PAGES).dev, PAGES);
	cdm_check_ram(a, before[0], 0);
	cdm_check_ram(b, before[1], 0);
	CHECK_EQ(cdm_usage(b, cdm_node), PAGES);
	task_end(&parent);
	task_end(&child);
	CHECK_LE(cdm_ram_usage(a), CDM_RAM_SLACK);
	CHECK_LE(cdm_ram_usage(b), CDM_RAM_SLACK);
}

/* Pages that another task moves are counted for their owner. */
static void test_stat_owner(const char *group)
{
	struct cdm_task owner;
	void *page[10];
	int node[10], status[10], i;
	long addr;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&owner, a, 10, -1);
	addr = task_call(&owner, op_address, 0, 0).ret;
	for (i = 0; i < 10; i++) {
		page[i] = (void *)(addr + i * cdm_psize);
		node[i] = cdm_node;
	}
	CHECK_EQ(cg_enter_current(b), 0);
	CHECK_EQ(sys_move_pages(owner.pid, 10, page, node, status,
				MPOL_MF_MOVE), 0);
	CHECK_EQ(cg_enter_current(cdm_root), 0);
	CHECK_EQ(cdm_item(a, "cdm.stat", cdm_node, "moved_in"), 10);
	CHECK_EQ(cdm_item(b, "cdm.stat", cdm_node, "moved_in"), 0);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "moved_in"), 10);
	CHECK_GE(cdm_item(cdm_root, "cdm.stat", cdm_node, "moved_in"), 10);
	task_end(&owner);
}

int main(void)
{
	cdm_init(17);
	cdm_case_arg("base pages do not count in memory.current",
		     test_uncounted, op_map);
	cdm_case_arg("huge pages do not count in memory.current",
		     test_uncounted, op_map_huge);
	cdm_case_arg("shared memory does not count in memory.current",
		     test_uncounted, op_map_memfd);
	cdm_case("huge pages of a pool do not count in memory.current",
		 test_pool);
	cdm_case("a file's pages count when they are evicted",
		 test_file_cache);
	cdm_case("a group full of RAM is not killed for device pages",
		 test_no_oom);
	cdm_case_arg("base pages that move count, or no longer", test_move,
		     op_map);
	cdm_case_arg("huge pages that move count, or no longer", test_move,
		     op_map_huge);
	cdm_case("memory.min and memory.low do not keep device pages",
		 test_protection);
	cdm_case("eviction stops at memory.max", test_evict_full);
	cdm_case("migration stops at memory.max", test_move_full);
	cdm_case("a long-term pin stops at memory.max", test_pin_full);
	cdm_case("migration reclaims RAM first", test_move_swap);
	cdm_case("memory that goes offline exceeds memory.max",
		 test_offline_full);
	cdm_case("swapped out and in", test_swap);
	cdm_case("fork and copies", test_fork);
	cdm_case("cdm.stat counts for the owner", test_stat_owner);
	cdm_exit();
}
