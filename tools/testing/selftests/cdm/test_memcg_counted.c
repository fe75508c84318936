// SPDX-License-Identifier: GPL-2.0
/*
 * With cgroup.memory=cdm on the command line device memory counts like RAM:
 * memory.max limits the sum of both, and its reclaim swaps out device pages, as
 * demotion would not lower memory.current.
 *
 * vm: --append cgroup.memory=cdm
 */

#include <linux/mempolicy.h>

#include "cdm_util.h"

#define PAGES	4096

static void test_counted(const char *group, const void *map)
{
	struct cdm_task task;
	long before;

	task_start(&task, group);
	before = cdm_ram_usage(group);
	CHECK_EQ(task_call(&task, (cdm_op)map, PAGES, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, PAGES).dev, PAGES);
	cdm_check_ram(group, before, PAGES);
	/* It makes no difference where the pages are. */
	CHECK_EQ(task_call(&task, op_bind, cdm_ram_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	cdm_check_ram(group, before, PAGES);
	CHECK_EQ(task_call(&task, op_bind, cdm_node, MPOL_MF_MOVE).ret, 0);
	cdm_check_ram(group, before, PAGES);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_LE(cdm_ram_usage(group), CDM_RAM_SLACK);
}

static long demoted(void)
{
	return vm_event("pgdemote_direct") + vm_event("pgdemote_kswapd") +
		vm_event("pgdemote_khugepaged");
}

/* Four times memory.max on the device: the rest is swapped out. */
static void test_max(const char *group)
{
	long max = PAGES / 4, before = demoted();
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "memory.max", "%ld", max * cdm_psize), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, PAGES, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, PAGES).ok, PAGES);
	CHECK_LE(cdm_ram_usage(group), max);
	CHECK_LE(cdm_usage(group, cdm_node), max);
	CHECK_GE(cg_read_long(group, "memory.swap.current"),
		 (PAGES - max - CDM_RAM_SLACK) * cdm_psize);
	CHECK_EQ(demoted(), before);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "demoted"), 0);
	cdm_check_no_oom(group);
	CHECK_EQ(task_call(&task, op_verify, 0, PAGES).bad, 0);
	CHECK_LE(cdm_ram_usage(group), max);
	cdm_check_no_oom(group);
	CHECK_EQ(task_end(&task), 0);
}

/* A lower memory.max and memory.reclaim both find device pages. */
static void test_reclaim(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, PAGES, cdm_node);
	CHECK_EQ(cdm_write(group, "memory.max", "%ld",
			   PAGES / 2 * cdm_psize), 0);
	CHECK_LE(cdm_ram_usage(group), PAGES / 2);
	CHECK_LE(cdm_usage(group, cdm_node), PAGES / 2);
	cdm_check_no_oom(group);
	CHECK_EQ(cdm_write(group, "memory.max", "max"), 0);
	CHECK_EQ(task_call(&task, op_verify, 0, PAGES).bad, 0);

	CHECK_EQ(cdm_write(group, "memory.reclaim", "%ld",
			   PAGES / 4 * cdm_psize), 0);
	CHECK_LE(cdm_ram_usage(group), PAGES - PAGES / 4 + CDM_RAM_SLACK);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "demoted"), 0);
	CHECK_EQ(task_call(&task, op_verify, 0, PAGES).bad, 0);
	CHECK_EQ(task_end(&task), 0);
}

/* cdm.max demotes as always, which does not change memory.current. */
static void test_cdm_max(const char *group)
{
	struct cdm_task task;
	long before;

	task_start(&task, group);
	before = cdm_ram_usage(group);
	CHECK_EQ(task_call(&task, op_map, PAGES, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, PAGES).dev, PAGES);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(task_call(&task, op_count, 0, PAGES).ram, PAGES);
	cdm_check_ram(group, before, PAGES);
	CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, "demoted"), PAGES);
	task_end(&task);
}

int main(void)
{
	cdm_init(5);
	cdm_case_arg("base pages count", test_counted, op_map);
	cdm_case_arg("huge pages count", test_counted, op_map_huge);
	cdm_case("memory.max swaps pages of the device out", test_max);
	cdm_case("memory.max lowered, and memory.reclaim", test_reclaim);
	cdm_case("cdm.max demotes, and memory.current stays", test_cdm_max);
	cdm_exit();
}
