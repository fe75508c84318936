// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages of every size on the device: made by faults, by khugepaged and on
 * request; split on request, by partial unmapping and under pressure; moved,
 * copied and swapped. The charge is always that of their base pages.
 */

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cdm_util.h"

#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define KHUGEPAGED	THP "khugepaged/"
#define SPLIT		"/sys/kernel/debug/split_huge_pages"

static void start_huge(struct cdm_task *task, const char *group, long pages)
{
	task_start(task, group);
	CHECK_EQ(task_call(task, op_map_huge, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(task, op_touch, 0, pages).dev, pages);
	CHECK_EQ(task_call(task, op_huge_mapped, 0, 0).ret, pages);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
}

static void split(struct cdm_task *task, long pages)
{
	long addr = task_call(task, op_address, 0, 0).ret;

	CHECK_EQ(file_write(SPLIT, "%d,0x%lx,0x%lx", task->pid, addr,
			    addr + pages * cdm_psize), 0);
}

/* After a split each page is charged once, and by itself. */
static void test_split(const char *group)
{
	long pages = 2 * cdm_hpages, i;
	struct cdm_task task;

	start_huge(&task, group, pages);
	split(&task, pages);
	CHECK_EQ(task_call(&task, op_huge_mapped, 0, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
	task_check_at(&task, pages, pages, 0);
	for (i = 0; i < cdm_hpages; i += 3)
		task_call(&task, op_discard, i, 1);
	i = pages - (cdm_hpages + 2) / 3;
	CHECK_EQ(cdm_wait_usage(group, cdm_node, i), i);
	task_check_at(&task, pages, i, 0);
	/* The others can be moved one by one. */
	CHECK_EQ(task_call(&task, op_move, pages, cdm_ram_node).code, -ENOENT);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_check_at(&task, pages, 0, i);
	task_end(&task);
}

/*
 * Unmap half of each huge page. They stay whole, and are charged as a whole,
 * until an eviction splits them and frees the halves that are not mapped.
 */
static void test_partial(const char *group)
{
	long huge = 4, pages = huge * cdm_hpages, half = cdm_hpages / 2, i;
	struct cdm_reply reply;
	struct cdm_task task;

	start_huge(&task, group, pages);
	for (i = 0; i < huge; i++)
		CHECK_EQ(task_call(&task, op_unmap, i * cdm_hpages, half).ret,
			 0);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
	CHECK_EQ(cdm_limit(group, cdm_node, pages / 2), 0);
	CHECK_LE(cdm_usage(group, cdm_node), pages / 2);
	for (i = 0; i < huge; i++) {
		reply = task_call(&task, op_count, i * cdm_hpages + half,
				  half);
		CHECK_EQ(reply.dev + reply.ram, half);
		CHECK_EQ(reply.bad, 0);
	}
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_end(&task);
}

/* The same with pressure from a depleted node. */
static void test_partial_pressure(const char *group)
{
	long free = node_meminfo(cdm_node, "MemFree:") * 1024 / cdm_psize;
	long huge = free / cdm_hpages - 2, half = cdm_hpages / 2, i;
	struct cdm_task holder, needs;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_write(b, "cdm.policy", "reclaim"), 0);
	task_start(&holder, b);
	CHECK_EQ(task_call(&holder, op_map_huge, huge * cdm_hpages,
			   cdm_node).ret, 0);
	CHECK_EQ(task_call(&holder, op_touch, 0, huge * cdm_hpages).dev,
		 huge * cdm_hpages);
	for (i = 0; i < huge; i++)
		task_call(&holder, op_unmap, i * cdm_hpages, half);
	CHECK_EQ(cdm_usage(b, cdm_node), huge * cdm_hpages);

	/* More than is free, and less than is not mapped. */
	task_start(&needs, b);
	CHECK_EQ(task_call(&needs, op_map, 8 * cdm_hpages, cdm_node).ret, 0);
	reply = task_call(&needs, op_touch, 0, 8 * cdm_hpages);
	CHECK_EQ(reply.ok, 8 * cdm_hpages);
	CHECK_GT(reply.dev, 3 * cdm_hpages);
	for (i = 0; i < huge; i++)
		CHECK_EQ(task_call(&holder, op_verify, i * cdm_hpages + half,
				   half).bad, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	task_end(&needs);
	task_end(&holder);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
}

static void set_sizes(const char *small, const char *pmd)
{
	CHECK_EQ(file_write(THP "hugepages-64kB/enabled", "%s", small), 0);
	CHECK_EQ(file_write(THP "hugepages-2048kB/enabled", "%s", pmd), 0);
}

/* Folios of 16 pages use all of a quota that is not a multiple of them. */
static void test_small_sizes(const char *group)
{
	long counter = file_long(THP "hugepages-64kB/stats/anon_fault_alloc");
	const long quota = 10 * 16 + 7, pages = 256;
	struct cdm_reply reply;
	struct cdm_task task;

	set_sizes("madvise", "never");
	CHECK_EQ(cdm_limit(group, cdm_node, quota), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_huge, pages, cdm_node).ret, 0);
	reply = task_call(&task, op_touch, 0, pages);
	CHECK_EQ(reply.dev, quota);
	CHECK_EQ(reply.bus, pages - quota);
	CHECK_EQ(cdm_usage(group, cdm_node), quota);
	CHECK_EQ(file_long(THP "hugepages-64kB/stats/anon_fault_alloc"),
		 counter + 10);

	/* Unmapped in part, the folio stays until it is split. */
	CHECK_EQ(task_call(&task, op_discard, 0, 5).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), quota);
	split(&task, 16);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, quota - 5), quota - 5);
	CHECK_EQ(task_call(&task, op_touch, 0, 5).dev, 5);
	CHECK_EQ(cdm_usage(group, cdm_node), quota);
	task_check_at(&task, pages, quota, 0);

	/* Move them to RAM and back, and lower the limit. */
	CHECK_EQ(task_call(&task, op_move, 64, cdm_ram_node).ok, 64);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, quota - 64), quota - 64);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_check_at(&task, pages, 0, quota);
	task_end(&task);
	set_sizes("never", "inherit");
}

/* Map a range that can be collapsed, but not by khugepaged yet. */
static struct cdm_reply op_map_aligned(struct cdm_buf *buf, long pages,
				       long node)
{
	size_t align = cdm_hpages * cdm_psize, size = pages * cdm_psize;
	char *addr = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (addr == MAP_FAILED)
		return buf_errno(-1);
	buf->addr = (char *)(((unsigned long)addr + align - 1) & -align);
	buf->pages = pages;
	return op_bind(buf, node, 0);
}

static struct cdm_reply op_advise(struct cdm_buf *buf, long advice, long b)
{
	(void)b;
	return buf_errno(madvise(buf->addr, buf->pages * cdm_psize, advice));
}

/* Start a worker with @huge ranges of base pages on the device. */
static void start_base(struct cdm_task *task, const char *group, long huge)
{
	long pages = huge * cdm_hpages;

	task_start(task, group);
	CHECK_EQ(task_call(task, op_map_aligned, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(task, op_touch, 0, pages).dev, pages);
	CHECK_EQ(task_call(task, op_huge_mapped, 0, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
}

/* During the copy the huge page is charged in addition to the base pages. */
static void test_collapse_quota(const char *group)
{
	struct cdm_task task;

	start_base(&task, group, 1);
	/* With room for all but one page nothing changes, under each policy. */
	CHECK_EQ(cdm_limit(group, cdm_node, 2 * cdm_hpages - 1), 0);
	CHECK_LT(task_call(&task, op_collapse, 0, cdm_hpages).ret, 0);
	task_check_at(&task, cdm_hpages, cdm_hpages, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), cdm_hpages);
	CHECK_EQ(cdm_limit(group, cdm_node, cdm_hpages), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	CHECK_LT(task_call(&task, op_collapse, 0, cdm_hpages).ret, 0);
	task_check_at(&task, cdm_hpages, cdm_hpages, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), cdm_hpages);

	CHECK_EQ(cdm_limit(group, cdm_node, 2 * cdm_hpages), 0);
	CHECK_EQ(task_call(&task, op_collapse, 0, cdm_hpages).ret, 0);
	CHECK_EQ(task_call(&task, op_huge_mapped, 0, 0).ret, cdm_hpages);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, cdm_hpages), cdm_hpages);
	task_check_at(&task, cdm_hpages, cdm_hpages, 0);
	task_end(&task);
}

/* Pages in RAM are collapsed in RAM, whatever the policy of the mapping. */
static void test_collapse_ram(const char *group)
{
	struct cdm_task task;

	start_base(&task, group, 1);
	CHECK_EQ(task_call(&task, op_move, cdm_hpages, cdm_ram_node).ok,
		 cdm_hpages);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_call(&task, op_collapse, 0, cdm_hpages);
	task_check_at(&task, cdm_hpages, 0, cdm_hpages);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_end(&task);
}

/* process_madvise() by a task that may use nothing: the owner pays. */
static void test_collapse_other(const char *group)
{
	struct cdm_task task;
	struct iovec iov;
	char *a, *b;
	int pidfd;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(b, cdm_node, 0), 0);
	start_base(&task, a, 1);
	iov.iov_base = (void *)task_call(&task, op_address, 0, 0).ret;
	iov.iov_len = cdm_hpages * cdm_psize;
	pidfd = syscall(__NR_pidfd_open, task.pid, 0);
	CHECK_GE(pidfd, 0);
	CHECK_EQ(cg_enter_current(b), 0);
	CHECK_EQ(syscall(__NR_process_madvise, pidfd, &iov, 1, MADV_COLLAPSE,
			 0), iov.iov_len);
	CHECK_EQ(cg_enter_current(cdm_root), 0);
	close(pidfd);
	CHECK_EQ(task_call(&task, op_huge_mapped, 0, 0).ret, cdm_hpages);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, cdm_hpages), cdm_hpages);
	CHECK_GE(cdm_bytes(a, "cdm.peak", cdm_node),
		 2 * cdm_hpages * cdm_psize);
	CHECK_EQ(cdm_bytes(b, "cdm.peak", cdm_node), 0);
	task_check_at(&task, cdm_hpages, cdm_hpages, 0);
	task_end(&task);
}

/* khugepaged collapses on the node, and the owner pays. */
static void test_khugepaged(const char *group)
{
	struct cdm_task fits, full;
	char *a, *b;
	long scans;

	CHECK_EQ(file_write(KHUGEPAGED "scan_sleep_millisecs", "1"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "alloc_sleep_millisecs", "1"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "pages_to_scan", "8192"), 0);
	cdm_make_two_groups(group, &a, &b);
	start_base(&fits, a, 2);
	start_base(&full, b, 2);
	CHECK_EQ(cdm_limit(b, cdm_node, 2 * cdm_hpages), 0);
	CHECK_EQ(task_call(&fits, op_advise, MADV_HUGEPAGE, 0).ret, 0);
	CHECK_EQ(task_call(&full, op_advise, MADV_HUGEPAGE, 0).ret, 0);
	cdm_wait_until(20, task_call(&fits, op_huge_mapped, 0, 0).ret >=
		       2 * cdm_hpages);
	scans = file_long(KHUGEPAGED "full_scans") + 3;
	CHECK_EQ(cdm_wait_until(20, file_long(KHUGEPAGED "full_scans") >=
				scans), true);
	CHECK_EQ(task_call(&fits, op_huge_mapped, 0, 0).ret, 2 * cdm_hpages);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 2 * cdm_hpages), 2 * cdm_hpages);
	task_check_at(&fits, 2 * cdm_hpages, 2 * cdm_hpages, 0);
	/* Without room for the copy nothing is collapsed. */
	CHECK_EQ(task_call(&full, op_huge_mapped, 0, 0).ret, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 2 * cdm_hpages);
	task_check_at(&full, 2 * cdm_hpages, 2 * cdm_hpages, 0);
	task_end(&fits);
	task_end(&full);
	CHECK_EQ(file_write(KHUGEPAGED "scan_sleep_millisecs", "10000"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "alloc_sleep_millisecs", "60000"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "pages_to_scan", "4096"), 0);
}

/* A write after fork() copies single base pages of a huge page. */
static void test_fork(const char *group)
{
	struct cdm_task parent, child;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_huge(&parent, a, cdm_hpages);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	CHECK_EQ(task_call(&child, op_touch, 10, 30).dev, 30);
	CHECK_EQ(cdm_usage(a, cdm_node), cdm_hpages);
	CHECK_EQ(cdm_usage(b, cdm_node), 30);
	task_end(&parent);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, cdm_hpages), cdm_hpages);
	task_check_at(&child, cdm_hpages, cdm_hpages, 0);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
}

/* Move half of a huge page to another address, and back. */
static struct cdm_reply op_move_half(struct cdm_buf *buf, long a, long b)
{
	size_t half = cdm_hpages / 2 * cdm_psize;
	char *away = mremap(buf->addr, half, half,
			    MREMAP_MAYMOVE | MREMAP_FIXED,
			    buf->addr - 64 * half);

	(void)a;
	(void)b;
	if (away == MAP_FAILED)
		return buf_errno(-1);
	return buf_errno(mremap(away, half, half,
				MREMAP_MAYMOVE | MREMAP_FIXED,
				buf->addr) == buf->addr ? 0 : -1);
}

static void test_mremap(const char *group)
{
	struct cdm_task task;

	start_huge(&task, group, cdm_hpages);
	CHECK_EQ(task_call(&task, op_move_half, 0, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), cdm_hpages);
	task_check_at(&task, cdm_hpages, cdm_hpages, 0);
	task_end(&task);
}

static void test_swap(const char *group)
{
	struct cdm_task task;

	cdm_set_zswap(true);
	start_huge(&task, group, 2 * cdm_hpages);
	CHECK_EQ(task_call(&task, op_pageout, 0, 2 * cdm_hpages).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 2 * cdm_hpages).ok,
		 2 * cdm_hpages);
	task_check_at(&task, 2 * cdm_hpages, cdm_usage(group, cdm_node),
		      2 * cdm_hpages - cdm_usage(group, cdm_node));
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	cdm_set_zswap(false);
}

int main(void)
{
	cdm_init(11);
	if (!cdm_hpages)
		ksft_exit_skip("no huge pages\n");
	cdm_case("split by request", test_split);
	cdm_case("unmapped in part, then evicted", test_partial);
	cdm_case("unmapped in part, and the node is depleted",
		 test_partial_pressure);
	cdm_case("folios of 64 KiB use a quota to the last page",
		 test_small_sizes);
	cdm_case("collapse stops at the quota", test_collapse_quota);
	cdm_case("collapse leaves RAM in RAM", test_collapse_ram);
	cdm_case("collapse by another: the owner pays", test_collapse_other);
	cdm_case("khugepaged: the owner pays", test_khugepaged);
	cdm_case("a child's copies of a huge page", test_fork);
	cdm_case("mremap of half a huge page", test_mremap);
	cdm_case("huge pages swapped out and in", test_swap);
	cdm_exit();
}
