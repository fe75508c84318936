// SPDX-License-Identifier: GPL-2.0
/*
 * Who asks how much memory there is, and what it is used for, is told of RAM:
 * /proc/meminfo, sysinfo(2), the dirty limits. A device full of every kind of
 * page changes none of these. Only the test for an obvious overcommit knows
 * that a buffer may be for a device.
 */

#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cdm_util.h"

#define OVERCOMMIT	"/proc/sys/vm/overcommit_memory"
#define WRITEBACK	"/proc/sys/vm/dirty_writeback_centisecs"

/* KiB that the rest of the system may allocate between two readings. */
#define SLACK	4096

static long line_of(const char *key)
{
	return file_key("/proc/meminfo", key);
}

static void check_near(const char *what, long is, long want)
{
	if (labs(is - want) > SLACK)
		cdm_fail(__FILE__, __LINE__, "%s is %ld KiB, not about %ld",
			 what, is, want);
}

/* The sum of a line of the nodes with RAM. */
static long of_ram(const char *key)
{
	int nodes[CDM_MAX_NODES], nr, i;
	long sum = 0;

	nr = node_list("/sys/devices/system/node/has_memory", nodes,
		       CDM_MAX_NODES);
	for (i = 0; i < nr; i++)
		if (nodes[i] != cdm_node)
			sum += node_meminfo(nodes[i], key);
	return sum;
}

/* Have each CPU add its part to the counters. */
static void refresh(void)
{
	cdm_drain_lru();
	file_long("/proc/sys/vm/stat_refresh");
}

/* Kinds of pages, all of them on the device. */
enum { ANON, LOCKED, HUGE, SHMEM, CLEAN, DIRTY, KINDS };

struct full {
	struct cdm_task task[KINDS];
	long pages;
};

static void fill(struct full *full, const char *group)
{
	static const cdm_op map[] = {
		[ANON] = op_map, [LOCKED] = op_map, [HUGE] = op_map_huge,
		[SHMEM] = op_map_memfd,
	};
	long pages = full->pages;
	int i;

	/* What is dirty stays so. */
	CHECK_EQ(file_write(WRITEBACK, "0"), 0);
	for (i = 0; i < KINDS; i++) {
		task_start(&full->task[i], group);
		if (i <= SHMEM) {
			CHECK_EQ(task_call(&full->task[i], map[i], pages,
					   cdm_node).ret, 0);
			CHECK_EQ(task_call(&full->task[i], op_touch, 0,
					   pages).dev, pages);
			continue;
		}
		CHECK_EQ(task_call(&full->task[i], op_make_file, pages,
				   i == DIRTY).ok, pages);
		CHECK_EQ(task_call(&full->task[i], op_move_file, pages, 0).ok,
			 pages);
		CHECK_EQ(task_call(&full->task[i], op_where_file, pages,
				   0).dev, pages);
		unlink(CDM_CACHED);
	}
	CHECK_EQ(task_call(&full->task[LOCKED], op_mlock, 0, pages).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), KINDS * pages);
	refresh();
}

static void empty(struct full *full, const char *group)
{
	int i;

	for (i = 0; i < KINDS; i++)
		task_end(&full->task[i]);
	CHECK_EQ(file_write(WRITEBACK, "500"), 0);
	cdm_empty_cache();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* Every line that the nodes have as well is the sum of those with RAM. */
static void test_lines(const char *group)
{
	static const char * const keys[] = {
		"MemTotal:", "MemFree:", "Active:", "Inactive:",
		"Active(anon):", "Inactive(anon):", "Active(file):",
		"Inactive(file):", "Unevictable:", "Mlocked:", "Dirty:",
		"Writeback:", "AnonPages:", "Mapped:", "Shmem:",
		"AnonHugePages:", "ShmemHugePages:", "ShmemPmdMapped:",
		"FileHugePages:", "FilePmdMapped:", "WritebackTmp:",
	};
	/* Lines that would be wrong by the pages on the device. */
	static const char * const used[] = {
		"AnonPages:", "Mlocked:", "Mapped:", "Shmem:", "AnonHugePages:",
		"FilePages:", "Dirty:",
	};
	struct full full = { .pages = 8 * cdm_hpages };
	long kib = full.pages * cdm_psize / 1024;
	size_t i;

	fill(&full, group);
	for (i = 0; i < ARRAY_SIZE(used); i++)
		CHECK_GE(node_meminfo(cdm_node, used[i]), kib);
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		check_near(keys[i], line_of(keys[i]), of_ram(keys[i]));
	check_near("Cached:", line_of("Cached:"),
		   of_ram("FilePages:") - line_of("SwapCached:") -
		   line_of("Buffers:"));
	/* The parts are not more than the whole: what tools call "used". */
	CHECK_GT(line_of("MemTotal:") - line_of("MemFree:") -
		 line_of("Buffers:") - line_of("Cached:") -
		 line_of("SReclaimable:"), 0);
	empty(&full, group);
}

static void test_sysinfo(const char *group)
{
	struct full full = { .pages = 8 * cdm_hpages };
	struct sysinfo info;
	long unit;

	fill(&full, group);
	CHECK_EQ(sysinfo(&info), 0);
	unit = info.mem_unit;
	check_near("totalram", info.totalram * unit / 1024,
		   of_ram("MemTotal:"));
	check_near("freeram", info.freeram * unit / 1024, of_ram("MemFree:"));
	check_near("sharedram", info.sharedram * unit / 1024,
		   of_ram("Shmem:"));
	empty(&full, group);
}

/* /proc/vmstat has the sums of all nodes. */
static void test_vmstat(const char *group)
{
	struct full full = { .pages = 8 * cdm_hpages };

	fill(&full, group);
	check_near("nr_anon_pages",
		   vm_event("nr_anon_pages") * cdm_psize / 1024,
		   of_ram("AnonPages:") + node_meminfo(cdm_node, "AnonPages:"));
	empty(&full, group);
}

/* Sums over the zones of RAM, in KiB. */
struct zones {
	long low;	/* low watermarks */
	long reserve;	/* what the kernel keeps: totalreserve_pages */
};

static struct zones zones_of_ram(void)
{
	static char text[1 << 17];
	long value, most, high = 0, managed = 0;
	struct zones sum = { 0 };
	char *line, *save, *p;
	int node = -1;

	CHECK_EQ(file_read("/proc/zoneinfo", text, sizeof(text)), 0);
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "Node %d, zone", &node) == 1)
			continue;
		if (node == cdm_node)
			continue;
		if (sscanf(line, " low %ld", &value) == 1)
			sum.low += value;
		else if (sscanf(line, " high %ld", &value) == 1)
			high = value;
		else if (sscanf(line, " managed %ld", &value) == 1)
			managed = value;
		p = strstr(line, "protection: (");
		if (!p)
			continue;
		most = 0;
		for (p = strchr(p, '('); p; p = strchr(p + 1, ','))
			if (sscanf(p + 1, "%ld", &value) == 1 && value > most)
				most = value;
		most += high;
		sum.reserve += most < managed ? most : managed;
	}
	sum.low *= cdm_psize / 1024;
	sum.reserve *= cdm_psize / 1024;
	return sum;
}

static long part_of(long kib, long low)
{
	return kib - (kib / 2 < low ? kib / 2 : low);
}

/* By the formula in si_mem_available(), of RAM's numbers. */
static void check_available(void)
{
	struct zones zones = zones_of_ram();
	long want;

	want = of_ram("MemFree:") - zones.reserve +
	       part_of(of_ram("Active(file):") + of_ram("Inactive(file):"),
		       zones.low) +
	       part_of(line_of("KReclaimable:"), zones.low);
	check_near("MemAvailable:", line_of("MemAvailable:"), want);
}

/* 20 % of what may be dirty: free RAM, and what files have of it. */
static void check_dirty(void)
{
	long kib = of_ram("MemFree:") - zones_of_ram().reserve +
		   of_ram("Active(file):") + of_ram("Inactive(file):");
	long ratio = file_long("/proc/sys/vm/dirty_ratio");

	check_near("nr_dirty_threshold",
		   vm_event("nr_dirty_threshold") * cdm_psize / 1024,
		   kib * ratio / 100);
}

static void test_available(const char *group)
{
	struct full full = { .pages = 8 * cdm_hpages };

	refresh();
	check_available();
	fill(&full, group);
	check_available();
	empty(&full, group);
}

static void test_dirty(const char *group)
{
	struct full full = { .pages = 8 * cdm_hpages };

	refresh();
	check_dirty();
	fill(&full, group);
	check_dirty();
	empty(&full, group);
}

static bool can_map(long kib)
{
	void *addr = mmap(NULL, kib << 10, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (addr == MAP_FAILED)
		return false;
	munmap(addr, kib << 10);
	return true;
}

/* A buffer may be for the device; the limit of strict overcommit is RAM's. */
static void test_overcommit(const char *group)
{
	long ram = line_of("MemTotal:") + line_of("SwapTotal:");
	long all = ram + line_of("CdmTotal:"), limit;
	long ratio = file_long("/proc/sys/vm/overcommit_ratio");

	(void)group;
	CHECK_EQ(file_long(OVERCOMMIT), 0);
	CHECK_GT(line_of("CdmTotal:"), 0);
	CHECK_EQ(can_map(ram - SLACK), true);
	CHECK_EQ(can_map(ram + SLACK), true);
	CHECK_EQ(can_map(all - SLACK), true);
	CHECK_EQ(can_map(all + SLACK), false);
	limit = line_of("CommitLimit:");
	check_near("CommitLimit:", limit, line_of("SwapTotal:") +
		   (line_of("MemTotal:") - line_of("Hugetlb:")) * ratio / 100);
	CHECK_EQ(file_write(OVERCOMMIT, "2"), 0);
	CHECK_EQ(can_map(limit - line_of("Committed_AS:") + SLACK), false);
	CHECK_EQ(file_write(OVERCOMMIT, "0"), 0);
}

int main(void)
{
	cdm_init(6);
	cdm_case("the lines of meminfo are of RAM", test_lines);
	cdm_case("sysinfo is of RAM", test_sysinfo);
	cdm_case("vmstat is of all nodes", test_vmstat);
	cdm_case("available memory is RAM", test_available);
	cdm_case("the dirty limits count RAM", test_dirty);
	cdm_case("a buffer as large as RAM and the device", test_overcommit);
	cdm_exit();
}
