// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of 1 GiB. They cannot be migrated, so the kernel does not allocate them
 * in ZONE_MOVABLE, and a device has no other zone: its pool stays empty
 * whatever is free, and no group is charged. Those that the command line asks
 * for come from RAM, or not at all.
 *
 * vm: --nodes big --append hugepages=48 --append hugepagesz=1G --append hugepages=3
 */

#include <sys/mman.h>

#include "cdm_util.h"

#ifndef MAP_HUGE_1GB
#define MAP_HUGE_1GB	(30 << 26)
#endif

#define GIB		(1024L * 1024 * 1024)
#define POOL_KB		(GIB / 1024)
#define ALL_POOLS \
	"/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
#define SMALL_KB	2048
#define ALL_SMALL	"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

/* The command line asks for more than RAM has, while the device is free. */
static void test_boot(const char *group)
{
	(void)group;
	CHECK_EQ(file_long(cdm_pool_path(cdm_node, POOL_KB, "nr_hugepages")),
		 0);
	CHECK_GE(file_long(ALL_POOLS), 1);
	CHECK_LT(file_long(ALL_POOLS), 3);
	/* The smaller huge pages are spread over the nodes that have RAM. */
	CHECK_EQ(file_long(ALL_SMALL), 48);
	CHECK_EQ(file_long(cdm_pool_path(cdm_node, SMALL_KB, "nr_hugepages")),
		 0);
	CHECK_EQ(file_write(ALL_SMALL, "0"), 0);
	cdm_check_root(0);
	/* The pools do not get them later either. */
	CHECK_EQ(file_write(ALL_POOLS, "4"), 0);
	CHECK_EQ(file_long(cdm_pool_path(cdm_node, POOL_KB, "nr_hugepages")),
		 0);
	cdm_check_root(0);
	/*
	 * One stays for test_use(): once it is freed, the kernel's own pages
	 * may soon be in the middle of it.
	 */
	CHECK_EQ(file_write(ALL_POOLS, "1"), 0);
	CHECK_EQ(file_long(ALL_POOLS), 1);
}

static struct cdm_reply op_set_pool(struct cdm_buf *buf, long node, long pages)
{
	struct cdm_reply reply = { .ret = cdm_set_pool(node, POOL_KB, pages) };

	(void)buf;
	return reply;
}

#define PAGES	20000

/* Asking for a page in the device's pool moves and charges nothing. */
static void test_pool(const char *group)
{
	struct cdm_task task, maker;
	char *a, *b;
	int i;

	cdm_make_two_groups(group, &a, &b);
	cdm_check_root(0);
	task_start(&maker, b);
	for (i = 0; i < 3; i++) {
		CHECK_EQ(task_call(&maker, op_set_pool, cdm_node, 1).ret, 0);
		cdm_check_root(0);
	}
	task_start_on(&task, a, PAGES, cdm_node);
	CHECK_EQ(task_call(&maker, op_set_pool, cdm_node, 2).ret, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), PAGES);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(task_call(&task, op_count, 0, PAGES).dev, PAGES);
	cdm_check_root(PAGES);
	task_end(&task);
	task_end(&maker);
	cdm_check_root(0);
}

static struct cdm_reply op_map_gib(struct cdm_buf *buf, long pages, long node)
{
	buf->pages = pages * (GIB / cdm_psize);
	buf->addr = mmap(NULL, pages * GIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			 MAP_HUGETLB | MAP_HUGE_1GB, -1, 0);
	if (buf->addr == MAP_FAILED)
		return buf_errno(-1);
	return op_bind(buf, node, 0);
}

/* A task that asks for one on the device gets RAM, under each policy. */
static void test_use(const char *group)
{
	struct cdm_task task;

	if (!CHECK_EQ(file_long(ALL_POOLS), 1))
		return;
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_gib, 1, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 1).ram, 1);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	cdm_check_root(0);
	task_end(&task);
	CHECK_EQ(file_write(ALL_POOLS, "0"), 0);
	CHECK_EQ(file_long(ALL_POOLS), 0);
	cdm_check_root(0);
}

int main(void)
{
	cdm_init(3);
	if (!file_exists(cdm_pool_path(cdm_node, POOL_KB, "nr_hugepages")))
		ksft_exit_skip("no pages of 1 GiB\n");
	cdm_case("pages from the command line are in RAM", test_boot);
	cdm_case("the device has no pool of them", test_pool);
	cdm_case("a page that is asked for is of RAM", test_use);
	cdm_exit();
}
