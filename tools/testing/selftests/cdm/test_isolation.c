// SPDX-License-Identifier: GPL-2.0
/*
 * No page goes to a CDM node that nobody asked for: RAM is filled with every
 * kind of page, beyond what it can hold, while the device stays empty. And
 * cpusets decide which tasks may ask.
 */

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cdm_util.h"

#define KSM		"/sys/kernel/mm/ksm/"
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"
#define THP_ENABLED	"/sys/kernel/mm/transparent_hugepage/enabled"
#define DEMOTION	"/sys/kernel/mm/numa/demotion_enabled"
#define BALANCING	"/proc/sys/kernel/numa_balancing"
#define TIERS		"/sys/devices/virtual/memory_tiering/"

/* The size of the smaller workloads. */
#define SOME_MIB	48

/* The books of the unused device, with an exact MemFree. */
struct state {
	long free;
	long used;
	long unowned;
	long charged;
};

static struct state device_state(void)
{
	struct state state;

	cdm_drain_lru();
	/* The audit empties the free lists of CPUs, */
	state.used = cdm_audit(cdm_node, "used");
	/* and this has the CPUs add their parts to the counters. */
	file_long("/proc/sys/vm/stat_refresh");
	state.free = node_meminfo(cdm_node, "MemFree:");
	state.unowned = cdm_audit(cdm_node, "unowned");
	state.charged = cdm_bytes(cdm_root, "cdm.current", cdm_node);
	return state;
}

static struct state before;

static void check_untouched(void)
{
	struct state after = device_state();

	CHECK_EQ(before.used, 0);
	CHECK_EQ(after.used, 0);
	CHECK_EQ(after.unowned, 0);
	CHECK_EQ(after.charged, 0);
	CHECK_EQ(after.free, before.free);
}

static struct cdm_reply reply_ret(long ret)
{
	struct cdm_reply reply = { .ret = ret };

	return reply;
}

static long mem_key(const char *key)
{
	return file_key("/proc/meminfo", key);
}

static long mib_pages(long mib)
{
	return (mib << 20) / cdm_psize;
}

/* More than RAM has left, and no more than swap has room for. */
static long overflow_pages(void)
{
	long kib = mem_key("MemAvailable:");
	long swap = mem_key("SwapFree:");

	return (kib + (swap > (192 << 10) ? 96 << 10 : 0)) /
	       (cdm_psize / 1024);
}

/* Fill RAM with anonymous pages, base or huge, until swap is in use. */
static void fill_anon(const char *group, cdm_op map)
{
	long pages = overflow_pages();
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_GT(mem_key("SwapFree:"), 192 << 10);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, map, pages, -1).ret, 0);
	reply = task_call(&task, op_touch, 0, pages);
	CHECK_EQ(reply.ok, pages);
	CHECK_EQ(reply.dev, 0);
	CHECK_EQ(reply.other, 0);
	check_untouched();
	/* Swap the first of them in again. */
	reply = task_call(&task, op_touch, 0, mib_pages(SOME_MIB));
	CHECK_EQ(reply.ok, mib_pages(SOME_MIB));
	CHECK_EQ(reply.dev, 0);
	task_end(&task);
}

static void test_anon(const char *group)
{
	fill_anon(group, op_map);
	check_untouched();
}

static void test_thp(const char *group)
{
	fill_anon(group, op_map_huge);
	check_untouched();
}

/* Write @pages to a new file at @path, through the page cache. */
static long write_file(const char *path, long pages, bool keep)
{
	char *data = calloc(1, 1 << 20);
	long left = pages * cdm_psize;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	memset(data, 'x', 1 << 20);
	while (left > 0 && write(fd, data, 1 << 20) == 1 << 20)
		left -= 1 << 20;
	lseek(fd, 0, SEEK_SET);
	while (read(fd, data, 1 << 20) > 0)
		continue;
	if (!keep)
		unlink(path);
	close(fd);
	free(data);
	return left > 0 ? -ENOSPC : 0;
}

static struct cdm_reply op_write_cache(struct cdm_buf *buf, long pages, long b)
{
	(void)buf;
	(void)b;
	return reply_ret(write_file("cache", pages, true));
}

static struct cdm_reply op_write_shmem(struct cdm_buf *buf, long pages, long b)
{
	struct cdm_reply reply = buf_map_memfd(buf, pages);

	(void)b;
	return reply.ret ? reply : op_touch(buf, 0, pages);
}

/*
 * Run @op while another task holds nearly all RAM in anonymous pages, so that
 * pages of files have to make room for themselves.
 */
static void beside_pressure(const char *group, cdm_op op, long pages)
{
	long leave = mib_pages(SOME_MIB / 2);
	struct cdm_task hog, task;
	struct cdm_reply reply;
	long fill = mem_key("MemFree:") / (cdm_psize / 1024) - leave;

	task_start(&hog, group);
	CHECK_EQ(task_call(&hog, op_map_huge, fill, -1).ret, 0);
	CHECK_EQ(task_call(&hog, op_touch, 0, fill).dev, 0);
	task_start(&task, group);
	reply = task_call(&task, op, pages, 0);
	CHECK_GE(reply.ret, 0);
	CHECK_EQ(reply.dev, 0);
	check_untouched();
	task_end(&task);
	task_end(&hog);
}

static void test_page_cache(const char *group)
{
	beside_pressure(group, op_write_cache, mib_pages(4 * SOME_MIB));
	unlink("cache");
	check_untouched();
}

static void test_shmem(const char *group)
{
	beside_pressure(group, op_write_shmem, mib_pages(3 * SOME_MIB));
	check_untouched();
}

#define FILES	15000
#define PIPES	200

/* Fill RAM with dentries and inodes of a tmpfs, and with pipe buffers. */
static struct cdm_reply op_slab(struct cdm_buf *buf, long a, long b)
{
	char name[64], data[4096] = "";
	int fds[2], i, fd;

	(void)buf;
	(void)a;
	(void)b;
	if (mkdir("slab", 0700) && errno != EEXIST)
		return buf_errno(-1);
	if (mount("cdm", "slab", "tmpfs", 0, NULL))
		return buf_errno(-1);
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "slab/name-%08d", i);
		fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			return buf_errno(-1);
		close(fd);
	}
	for (i = 0; i < PIPES; i++) {
		if (pipe2(fds, O_NONBLOCK | O_CLOEXEC))
			return buf_errno(-1);
		while (write(fds[1], data, sizeof(data)) > 0)
			continue;
	}
	return reply_ret(0);
}

static void test_slab(const char *group)
{
	beside_pressure(group, op_slab, 0);
	CHECK_EQ(umount("slab"), 0);
	CHECK_EQ(rmdir("slab"), 0);
	check_untouched();
}

/* One page table for each of many huge ranges, which are only read. */
static struct cdm_reply op_page_tables(struct cdm_buf *buf, long tables, long b)
{
	size_t step = cdm_hpages * cdm_psize, size = tables * step;
	long i, sum = 0;
	char *addr;

	(void)buf;
	(void)b;
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (addr == MAP_FAILED || madvise(addr, size, MADV_NOHUGEPAGE))
		return buf_errno(-1);
	for (i = 0; i < tables; i++)
		sum += *(addr + i * step);
	return reply_ret(sum);
}

static void test_page_tables(const char *group)
{
	beside_pressure(group, op_page_tables, mib_pages(SOME_MIB));
	check_untouched();
}

/* The pool that is not of a node grows in RAM only. */
static void test_hugetlb(const char *group)
{
	long want = mem_key("MemFree:") / 1024;
	const char *path;

	(void)group;
	path = cdm_pool_path(cdm_node, CDM_POOL_KB, "nr_hugepages");
	/* Twice what is free, so that it ends when RAM is used up. */
	CHECK_EQ(file_write("/proc/sys/vm/nr_hugepages", "%ld", want), 0);
	CHECK_GT(file_long("/proc/sys/vm/nr_hugepages"), 0);
	CHECK_EQ(file_long(path), 0);
	check_untouched();
	CHECK_EQ(file_write("/proc/sys/vm/nr_hugepages", "0"), 0);
	CHECK_EQ(file_long("/proc/sys/vm/nr_hugepages"), 0);
	check_untouched();
}

/* Use overcommitted huge pages, which are allocated by the fault. */
static struct cdm_reply op_surplus(struct cdm_buf *buf, long pages, long b)
{
	size_t size = pages * cdm_hpages * cdm_psize;
	char *addr;

	(void)buf;
	(void)b;
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (addr == MAP_FAILED)
		return buf_errno(-1);
	memset(addr, 1, size);
	munmap(addr, size);
	return reply_ret(0);
}

static void test_hugetlb_surplus(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(file_write("/proc/sys/vm/nr_overcommit_hugepages", "20"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_surplus, 20, 0).ret, 0);
	task_end(&task);
	CHECK_EQ(file_write("/proc/sys/vm/nr_overcommit_hugepages", "0"), 0);
	check_untouched();
}

/* Swap RAM out and in, through zswap if the kernel has it. */
static void test_swap(const char *group)
{
	long pages = mib_pages(SOME_MIB);
	struct cdm_reply reply;
	struct cdm_task task;

	cdm_set_zswap(true);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, pages, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).ram, pages);
	CHECK_EQ(task_call(&task, op_pageout, 0, pages).ret, 0);
	check_untouched();
	CHECK_EQ(task_call(&task, op_touch, 0, pages).ok, pages);
	reply = task_call(&task, op_count, 0, pages);
	CHECK_EQ(reply.ram, pages);
	CHECK_EQ(reply.bad, 0);
	check_untouched();
	task_end(&task);
	cdm_set_zswap(false);
}

/* Pages that compression makes no smaller than a quarter. */
static char *make_noise(long pages)
{
	long page = cdm_psize / sizeof(int), i;
	int *noise = mmap(NULL, pages * cdm_psize, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (noise == MAP_FAILED)
		return NULL;
	srandom(1);
	for (i = 0; i < pages * page; i++)
		noise[i] = i % page < page / 4 ? random() : 0;
	return (char *)noise;
}

#define NOISE	64

/*
 * A task with a policy for the device writes to the memory of another one,
 * whose memory.max has no room. Reclaim begins in the fault that is for others.
 */
static void test_swap_remote(const char *group)
{
	long pages = mib_pages(SOME_MIB), zspages = vm_event("nr_zspages");
	struct iovec local = { .iov_len = NOISE * cdm_psize }, remote;
	struct cdm_task owner;
	long addr, i;

	local.iov_base = make_noise(NOISE);
	cdm_set_zswap(true);
	/* The compressed pages count in it, too. */
	cdm_set_memory(group, "memory.max", pages * 3 / 4);
	task_start(&owner, group);
	CHECK_EQ(task_call(&owner, op_map, pages, cdm_ram_node).ret, 0);
	addr = task_call(&owner, op_address, 0, 0).ret;
	CHECK_EQ(sys_set_mempolicy(MPOL_BIND, 1UL << cdm_node), 0);
	for (i = 0; i < pages; i += NOISE) {
		remote.iov_base = (void *)(addr + i * cdm_psize);
		remote.iov_len = local.iov_len;
		if (!CHECK_EQ(process_vm_writev(owner.pid, &local, 1, &remote,
						1, 0), local.iov_len))
			break;
	}
	CHECK_EQ(sys_set_mempolicy(MPOL_DEFAULT, 0), 0);
	/* Compressed pages are there, and none of them on a device. */
	CHECK_GT(vm_event("nr_zspages"), zspages);
	CHECK_EQ(cdm_audit(cdm_node, "foreign"), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_end(&owner);
	cdm_set_zswap(false);
	munmap(local.iov_base, local.iov_len);
}

/*
 * Swap readahead brings in neighbours that belong to another group. They must
 * not go to the device, which only the task that faults asked for. The slots
 * of the two groups alternate.
 */
static void test_swap_readahead(const char *group)
{
	const long pages = 512;
	struct cdm_task wants, denied;
	struct cdm_reply reply;
	char *a, *b;
	long i;

	cdm_enable(group, "+cdm");
	a = cdm_make_group(group, "wants");
	b = cdm_make_group(group, "denied");
	CHECK_EQ(cdm_write(b, "cdm.max", "default 0"), 0);
	file_write("/sys/kernel/mm/swap/vma_ra_enabled", "0");
	cdm_set_zswap(true);
	task_start(&wants, a);
	task_start(&denied, b);
	task_call(&wants, op_on_cpu, 0, 0);
	task_call(&denied, op_on_cpu, 0, 0);
	CHECK_EQ(task_call(&wants, op_map, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&denied, op_map, pages, -1).ret, 0);
	CHECK_EQ(task_call(&wants, op_touch, 0, pages).dev, pages);
	CHECK_EQ(task_call(&denied, op_touch, 0, pages).ram, pages);
	for (i = 0; i < pages; i += 2) {
		task_call(&wants, op_pageout, i, 2);
		task_call(&denied, op_pageout, i, 2);
	}
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);

	CHECK_EQ(task_call(&wants, op_touch, 0, pages).ok, pages);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	reply = task_call(&denied, op_touch, 0, pages);
	CHECK_EQ(reply.ok, pages);
	CHECK_EQ(reply.dev, 0);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	reply = task_call(&wants, op_count, 0, pages);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), reply.dev);
	CHECK_EQ(cdm_usage(group, cdm_node), reply.dev);
	task_end(&wants);
	task_end(&denied);
	file_write("/sys/kernel/mm/swap/vma_ra_enabled", "1");
	cdm_set_zswap(false);
}

/* Wait until a counter in a file has reached a value. */
static bool reaches(const char *path, long value)
{
	return cdm_wait_until(20, file_long(path) >= value);
}

static struct cdm_reply op_same(struct cdm_buf *buf, long first, long nr)
{
	memset(buf->addr + first * cdm_psize, 0x5a, nr * cdm_psize);
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_MERGEABLE));
}

/* Start a worker with pages in RAM, and merge them with all that match. */
static void ksm_merge_ram(struct cdm_task *ram, const char *group)
{
	CHECK_EQ(file_write(KSM "sleep_millisecs", "0"), 0);
	CHECK_EQ(file_write(KSM "pages_to_scan", "2000"), 0);
	task_start(ram, group);
	CHECK_EQ(task_call(ram, op_map, 400, -1).ret, 0);
	CHECK_EQ(task_call(ram, op_same, 0, 400).ret, 0);
	CHECK_EQ(file_write(KSM "run", "1"), 0);
	CHECK_EQ(reaches(KSM "pages_sharing", 390), true);
}

/* The one copy that replaces many pages is in RAM, wherever those were. */
static void test_ksm(const char *group)
{
	struct cdm_task ram, dev;
	long shared;

	task_start(&dev, group);
	CHECK_EQ(task_call(&dev, op_map, 200, cdm_node).ret, 0);
	CHECK_EQ(task_call(&dev, op_same, 0, 200).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 200);
	ksm_merge_ram(&ram, group);
	CHECK_EQ(reaches(KSM "full_scans", file_long(KSM "full_scans") + 2),
		 true);

	CHECK_EQ(task_call(&ram, op_count, 0, 400).dev, 0);
	shared = cdm_usage(group, cdm_node);
	CHECK_LE(shared, 200);
	CHECK_EQ(file_write(KSM "run", "2"), 0);
	CHECK_EQ(file_long(KSM "pages_shared"), 0);
	CHECK_EQ(task_call(&ram, op_count, 0, 400).dev, 0);
	task_end(&ram);
	task_end(&dev);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(file_write(KSM "run", "0"), 0);
	check_untouched();
}

/* A huge page on the device is not split to merge parts of it. */
static void test_ksm_huge(const char *group)
{
	struct cdm_task ram, dev;

	task_start(&dev, group);
	CHECK_EQ(task_call(&dev, op_map_huge, cdm_hpages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&dev, op_same, 0, cdm_hpages).ret, 0);
	CHECK_EQ(task_call(&dev, op_huge_mapped, 0, 0).ret, cdm_hpages);
	ksm_merge_ram(&ram, group);
	CHECK_EQ(reaches(KSM "full_scans", file_long(KSM "full_scans") + 3),
		 true);

	CHECK_EQ(task_call(&dev, op_huge_mapped, 0, 0).ret, cdm_hpages);
	CHECK_EQ(task_call(&dev, op_count, 0, cdm_hpages).dev, cdm_hpages);
	CHECK_EQ(cdm_usage(group, cdm_node), cdm_hpages);
	CHECK_EQ(file_write(KSM "run", "2"), 0);
	task_end(&ram);
	task_end(&dev);
	CHECK_EQ(file_write(KSM "run", "0"), 0);
}

/* Fill pages so that only pages of another task are the same. */
static struct cdm_reply op_mergeable(struct cdm_buf *buf, long nr, long b)
{
	long i;

	(void)b;
	for (i = 0; i < nr; i++)
		memset(buf->addr + i * cdm_psize, 1 + i, cdm_psize);
	return buf_errno(madvise(buf->addr, nr * cdm_psize, MADV_MERGEABLE));
}

#define KSM_BATCH	25

/* Wait until the batch is done, or the end of the round was reached. */
static bool ksm_stepped(long scanned, long rounds)
{
	return cdm_wait_until(20, file_long(KSM "pages_scanned") >=
			      scanned + KSM_BATCH ||
			      file_long(KSM "full_scans") != rounds);
}

/* ksmd scans a batch of pages each time its sleep time is changed. */
static void ksm_step(void)
{
	long scanned = file_long(KSM "pages_scanned");
	long rounds = file_long(KSM "full_scans");
	static long pause = 1000000;

	CHECK_EQ(file_write(KSM "sleep_millisecs", "%ld", ++pause), 0);
	CHECK_EQ(ksm_stepped(scanned, rounds), true);
}

static void ksm_round(void)
{
	long before = file_long(KSM "full_scans");
	int steps = 100;

	while (file_long(KSM "full_scans") == before && steps--)
		ksm_step();
	CHECK_GE(steps, 0);
}

/* A page that moved to the device after ksmd had recorded it is not merged. */
static void test_ksm_later(const char *group)
{
	const long nr = 4 * KSM_BATCH;
	struct cdm_task dev, ram;
	long scanned, rounds;
	int i;

	CHECK_EQ(file_write(KSM "smart_scan", "0"), 0);
	CHECK_EQ(file_write(KSM "sleep_millisecs", "1000000"), 0);
	CHECK_EQ(file_write(KSM "pages_to_scan", "%d", KSM_BATCH), 0);
	task_start(&dev, group);
	CHECK_EQ(task_call(&dev, op_map, nr, -1).ret, 0);
	CHECK_EQ(task_call(&dev, op_mergeable, nr, 0).ret, 0);
	task_start(&ram, group);
	CHECK_EQ(task_call(&ram, op_map, nr, -1).ret, 0);
	CHECK_EQ(task_call(&ram, op_mergeable, nr, 0).ret, 0);
	scanned = file_long(KSM "pages_scanned");
	rounds = file_long(KSM "full_scans");
	CHECK_EQ(file_write(KSM "run", "1"), 0);
	CHECK_EQ(ksm_stepped(scanned, rounds), true);
	/* A round to find the pages unchanged, then half of them to record. */
	ksm_round();
	for (i = 0; i < nr / KSM_BATCH; i++)
		ksm_step();
	CHECK_EQ(file_long(KSM "pages_unshared"), nr);
	CHECK_EQ(task_call(&dev, op_move, nr, cdm_node).ok, nr);
	ksm_round();
	CHECK_EQ(task_call(&dev, op_count, 0, nr).dev, nr);
	/* In RAM the same pages are merged. */
	CHECK_EQ(task_call(&dev, op_move, nr, cdm_ram_node).ok, nr);
	ksm_round();
	ksm_round();
	CHECK_EQ(file_long(KSM "pages_sharing"), nr);
	CHECK_EQ(file_write(KSM "run", "2"), 0);
	task_end(&ram);
	task_end(&dev);
	CHECK_EQ(file_write(KSM "smart_scan", "1"), 0);
	CHECK_EQ(file_write(KSM "run", "0"), 0);
}

static struct cdm_reply op_hugepage(struct cdm_buf *buf, long a, long b)
{
	(void)a;
	(void)b;
	return buf_errno(madvise(buf->addr, buf->pages * cdm_psize,
				 MADV_HUGEPAGE));
}

static struct cdm_reply op_nohugepage(struct cdm_buf *buf, long a, long b)
{
	(void)a;
	(void)b;
	return buf_errno(madvise(buf->addr, buf->pages * cdm_psize,
				 MADV_NOHUGEPAGE));
}

/*
 * Start a worker with a huge range of base pages, @dev of them on the device.
 */
static void start_mixed(struct cdm_task *task, const char *group, long dev)
{
	task_start(task, group);
	CHECK_EQ(task_call(task, op_map_huge, cdm_hpages, -1).ret, 0);
	CHECK_EQ(task_call(task, op_nohugepage, 0, 0).ret, 0);
	CHECK_EQ(task_call(task, op_touch, 0, cdm_hpages).ram, cdm_hpages);
	CHECK_EQ(task_call(task, op_move, dev, cdm_node).ok, dev);
	CHECK_EQ(task_call(task, op_hugepage, 0, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), dev);
}

/* khugepaged may take pages off the device, but never puts any there. */
static void test_khugepaged(const char *group)
{
	static const long parts[] = { 1, 256, 400, 511 };
	struct cdm_task task[ARRAY_SIZE(parts)];
	struct cdm_reply reply;
	char *child[ARRAY_SIZE(parts)], name[16];
	long scans;
	size_t i;

	cdm_enable(group, "+cdm");
	CHECK_EQ(file_write(KHUGEPAGED "scan_sleep_millisecs", "1"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "alloc_sleep_millisecs", "1"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "pages_to_scan", "8192"), 0);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		snprintf(name, sizeof(name), "mixed%ld", parts[i]);
		child[i] = cdm_make_group(group, name);
		start_mixed(&task[i], child[i], parts[i]);
	}
	scans = file_long(KHUGEPAGED "full_scans");
	CHECK_EQ(reaches(KHUGEPAGED "full_scans", scans + 3), true);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		reply = task_call(&task[i], op_count, 0, cdm_hpages);
		CHECK_LE(reply.dev, parts[i]);
		CHECK_EQ(reply.dev + reply.ram, cdm_hpages);
		CHECK_EQ(reply.bad, 0);
		CHECK_EQ(cdm_wait_usage(child[i], cdm_node, reply.dev),
			 reply.dev);

		/* The same goes for a collapse that the process asks for. */
		task_call(&task[i], op_collapse, 0, cdm_hpages);
		reply = task_call(&task[i], op_count, 0, cdm_hpages);
		CHECK_LE(reply.dev, parts[i]);
		CHECK_EQ(reply.dev + reply.ram, cdm_hpages);
		CHECK_EQ(reply.bad, 0);
		CHECK_EQ(cdm_wait_usage(child[i], cdm_node, reply.dev),
			 reply.dev);
		task_end(&task[i]);
	}
	CHECK_EQ(file_write(KHUGEPAGED "scan_sleep_millisecs", "10000"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "alloc_sleep_millisecs", "60000"), 0);
	CHECK_EQ(file_write(KHUGEPAGED "pages_to_scan", "4096"), 0);
}

static char *cpuset_group(const char *group, const char *mems);

/* Policies that name no node, or only RAM, do not use the device. */
static struct cdm_reply op_policy(struct cdm_buf *buf, long mode, long nodes)
{
	(void)buf;
	return buf_errno(sys_set_mempolicy(mode, nodes));
}

static unsigned long ram_mask(void)
{
	int nodes[CDM_MAX_NODES], nr, i;
	unsigned long mask = 0;

	nr = node_list("/sys/devices/system/node/has_cpu", nodes,
		       CDM_MAX_NODES);
	for (i = 0; i < nr; i++)
		mask |= 1UL << nodes[i];
	return mask;
}

/* All nodes with memory. */
static unsigned long all_mask(void)
{
	int nodes[CDM_MAX_NODES], nr, i;
	unsigned long mask = 0;

	nr = node_list("/sys/devices/system/node/has_memory", nodes,
		       CDM_MAX_NODES);
	for (i = 0; i < nr; i++)
		mask |= 1UL << nodes[i];
	return mask;
}

/* Touch pages of a task under a policy of its own. */
static struct cdm_reply touch_under(const char *group, int mode,
				    unsigned long nodes, long pages)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, pages, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_policy, mode, nodes).ret, 0);
	reply = task_call(&task, op_touch, 0, pages);
	CHECK_EQ(reply.ok, pages);
	task_call(&task, op_policy, MPOL_DEFAULT, 0);
	task_end(&task);
	return reply;
}

/* What get_mempolicy(2) says of the nodes in the worker's policy. */
static struct cdm_reply op_nodes(struct cdm_buf *buf, long a, long b)
{
	unsigned long nodes[16] = { 0 };
	int mode;

	(void)buf;
	(void)a;
	(void)b;
	if (syscall(__NR_get_mempolicy, &mode, nodes, 8 * sizeof(nodes), NULL,
		    0))
		return buf_errno(-1);
	return reply_ret(nodes[0]);
}

static unsigned long nodes_under(const char *group, int mode,
				 unsigned long nodes)
{
	struct cdm_task task;
	long ret;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_policy, mode, nodes).ret, 0);
	ret = task_call(&task, op_nodes, 0, 0).ret;
	task_call(&task, op_policy, MPOL_DEFAULT, 0);
	task_end(&task);
	return ret;
}

static const int mask_modes[] = {
	MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED_MANY,
	MPOL_WEIGHTED_INTERLEAVE,
};

static void test_policies(const char *group)
{
	long pages = mib_pages(SOME_MIB);
	size_t i;

	CHECK_EQ(touch_under(group, MPOL_DEFAULT, 0, pages).ram, pages);
	CHECK_EQ(touch_under(group, MPOL_LOCAL, 0, pages).ram, pages);
	CHECK_EQ(touch_under(group, MPOL_PREFERRED, 0, pages).ram, pages);
	for (i = 0; i < ARRAY_SIZE(mask_modes); i++)
		CHECK_EQ(touch_under(group, mask_modes[i], ram_mask(),
				     pages).ram, pages);
	check_untouched();
}

#define WEIGHTS	"/sys/kernel/mm/mempolicy/weighted_interleave/"

static void set_weight(int node, const char *weight)
{
	char path[128];

	snprintf(path, sizeof(path), WEIGHTS "node%d", node);
	CHECK_EQ(file_write(path, "%s", weight), 0);
}

/*
 * What is left of masks with the device in them. @nodes are the nodes that the
 * tasks of @group may use, @ram those of them with RAM.
 *
 *   mask			on the device
 *   -------------------------  --------------------------------
 *   all RAM and the device	nothing: it means everywhere
 *   the same, static nodes	its share
 *   the same, weight written	its share
 *   the same, node in cdm.max	its share, but for a limit of 0
 *   the device alone		all
 */
static void check_masks(const char *group, const char *child,
			unsigned long ram)
{
	unsigned long mask = ram | 1UL << cdm_node;
	long nodes = __builtin_popcountl(mask);
	struct cdm_reply reply;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mask_modes); i++) {
		CHECK_EQ(touch_under(child, mask_modes[i], mask, 60).ram, 60);
		/* Nodes that do not exist, or are not allowed, do not count. */
		CHECK_EQ(touch_under(child, mask_modes[i], mask | 1UL << 13,
				     60).ram, 60);
		CHECK_EQ(nodes_under(child, mask_modes[i], mask) &
			 1UL << cdm_node, 0);
	}
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_node), 0);

	reply = touch_under(child, MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, mask,
			    60);
	CHECK_EQ(reply.dev, 60 / nodes);
	CHECK_EQ(reply.ram, 60 - 60 / nodes);

	/* A default says nothing about this node, and 0 says that it is not. */
	CHECK_EQ(cdm_write(group, "cdm.max", "default 1G"), 0);
	CHECK_EQ(touch_under(child, MPOL_INTERLEAVE, mask, 60).ram, 60);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_EQ(touch_under(child, MPOL_INTERLEAVE, mask, 60).ram, 60);
	CHECK_EQ(cdm_limit(group, cdm_node, 1000), 0);
	for (i = 0; i < ARRAY_SIZE(mask_modes); i++) {
		if (mask_modes[i] == MPOL_PREFERRED)
			continue;
		CHECK_EQ(nodes_under(child, mask_modes[i], mask), mask);
	}
	CHECK_EQ(touch_under(child, MPOL_WEIGHTED_INTERLEAVE, mask, 60).dev,
		 60 / nodes);
	CHECK_EQ(cdm_write(group, "cdm.max", "node%d default", cdm_node), 0);
	CHECK_EQ(touch_under(child, MPOL_INTERLEAVE, mask, 60).ram, 60);
	CHECK_EQ(cdm_write(group, "cdm.max", "default max"), 0);

	CHECK_EQ(touch_under(child, MPOL_BIND, 1UL << cdm_node, 60).dev, 60);
}

/* The default weight is 1 as well; what matters is that it was written. */
static void check_weight(const char *child, unsigned long ram)
{
	unsigned long mask = ram | 1UL << cdm_node;
	long nodes = __builtin_popcountl(mask);

	set_weight(cdm_node, "1");
	CHECK_EQ(touch_under(child, MPOL_WEIGHTED_INTERLEAVE, mask, 60).dev,
		 60 / nodes);
	set_weight(cdm_node, "\n");
	CHECK_EQ(touch_under(child, MPOL_WEIGHTED_INTERLEAVE, mask, 60).ram,
		 60);
	/* That of another node does not matter. */
	set_weight(cdm_ram_node, "1");
	CHECK_EQ(touch_under(child, MPOL_WEIGHTED_INTERLEAVE, mask, 60).ram,
		 60);
	set_weight(cdm_ram_node, "\n");
}

static void test_everywhere(const char *group)
{
	check_masks(group, group, ram_mask());
	check_weight(group, ram_mask());
	/* A mask with some of the RAM and the device means just these. */
	CHECK_EQ(touch_under(group, MPOL_INTERLEAVE,
			     1UL << cdm_ram_node | 1UL << cdm_node, 60).dev,
		 30);
}

/* The group of a task may be below that which has the limit. */
static void test_everywhere_one(const char *group)
{
	char mems[16], *child;

	snprintf(mems, sizeof(mems), "%d,%d", cdm_ram_node, cdm_node);
	child = cpuset_group(group, mems);
	check_masks(group, child, 1UL << cdm_ram_node);
	check_weight(child, 1UL << cdm_ram_node);
}

/*
 * A cpuset that leaves one node with RAM makes everywhere of a mask that was
 * less, in every mode; the task's own cgroup counts, and not the writer's.
 */
static void test_everywhere_rebound(const char *group)
{
	unsigned long mask = 1UL << cdm_ram_node | 1UL << cdm_node;
	static const int modes[] = { MPOL_INTERLEAVE, MPOL_PREFERRED_MANY };
	struct cdm_task task;
	char *child;
	size_t i;

	child = cpuset_group(group, "");
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		CHECK_EQ(cdm_write(child, "cpuset.mems", "\n"), 0);
		task_start(&task, child);
		CHECK_EQ(task_call(&task, op_map, 60, -1).ret, 0);
		CHECK_EQ(task_call(&task, op_policy, modes[i], mask).ret, 0);
		CHECK_EQ(cdm_write(child, "cpuset.mems", "%d,%d", cdm_ram_node,
				   cdm_node), 0);
		CHECK_EQ(task_call(&task, op_nodes, 0, 0).ret,
			 1UL << cdm_ram_node);
		CHECK_EQ(task_call(&task, op_touch, 0, 60).ram, 60);
		task_call(&task, op_policy, MPOL_DEFAULT, 0);
		task_end(&task);
	}

	CHECK_EQ(cdm_limit(group, cdm_node, 1000), 0);
	CHECK_EQ(cdm_write(child, "cpuset.mems", "\n"), 0);
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map, 60, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_policy, MPOL_INTERLEAVE, mask).ret, 0);
	CHECK_EQ(cdm_write(child, "cpuset.mems", "%d,%d", cdm_ram_node,
			   cdm_node), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 60).dev, 30);
	task_call(&task, op_policy, MPOL_DEFAULT, 0);
	task_end(&task);
}

/* A tmpfs over all nodes, and files in it. */
static struct cdm_reply op_write_tmpfs(struct cdm_buf *buf, long pages, long b)
{
	(void)buf;
	(void)b;
	return reply_ret(write_file("tmpfs/file", pages, true));
}

static void check_tmpfs(const char *group, const char *policy, long dev)
{
	struct cdm_task task;
	char options[64];

	snprintf(options, sizeof(options), "mpol=%s", policy);
	mkdir("tmpfs", 0700);
	if (!CHECK_EQ(mount("cdm", "tmpfs", "tmpfs", 0, options), 0))
		return;
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_write_tmpfs, 768, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), dev);
	task_end(&task);
	CHECK_EQ(umount("tmpfs"), 0);
	rmdir("tmpfs");
}

static void test_everywhere_tmpfs(const char *group)
{
	char all[64], policy[96];
	int nodes[CDM_MAX_NODES];
	long nr;

	CHECK_EQ(file_read("/sys/devices/system/node/has_memory", all,
			   sizeof(all)), 0);
	all[strcspn(all, "\n")] = '\0';
	nr = node_list("/sys/devices/system/node/has_memory", nodes,
		       CDM_MAX_NODES);
	check_tmpfs(group, "interleave", 0);
	snprintf(policy, sizeof(policy), "interleave:%s", all);
	check_tmpfs(group, policy, 0);
	snprintf(policy, sizeof(policy), "bind:%s", all);
	check_tmpfs(group, policy, 0);
	snprintf(policy, sizeof(policy), "interleave=static:%s", all);
	check_tmpfs(group, policy, 768 / nr);
}

/*
 * Masks and mounts from before another device came get nothing of the first
 * one, and nothing of the other.
 */
static void test_everywhere_late(const char *group)
{
	unsigned long mask = all_mask();
	struct cdm_task task;
	size_t i;

	mkdir("tmpfs", 0700);
	CHECK_EQ(mount("cdm", "tmpfs", "tmpfs", 0, "mpol=interleave"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 60, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_policy, MPOL_INTERLEAVE, mask).ret, 0);
	CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	CHECK_GE(cdm_other_node(), 0);

	CHECK_EQ(task_call(&task, op_touch, 0, 60).ram, 60);
	task_call(&task, op_policy, MPOL_DEFAULT, 0);
	CHECK_EQ(task_call(&task, op_write_tmpfs, 768, 0).ret, 0);
	for (i = 0; i < ARRAY_SIZE(mask_modes); i++)
		CHECK_EQ(touch_under(group, mask_modes[i], mask, 60).ram, 60);
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_node), 0);
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_other_node()), 0);
	task_end(&task);
	CHECK_EQ(umount("tmpfs"), 0);
	rmdir("tmpfs");
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
}

/* Tasks on two CPUs share pages, which hinting faults move. */
static void test_numa_balancing(const char *group)
{
	struct cdm_task task[2];
	struct cdm_reply reply;
	long pages = 2048;
	int mode, i, round;

	for (mode = 1; mode <= 2; mode++) {
		CHECK_EQ(file_write(BALANCING, "%d", mode), 0);
		task_start(&task[0], group);
		CHECK_EQ(task_call(&task[0], op_map, pages, -1).ret, 0);
		CHECK_EQ(task_call(&task[0], op_touch, 0, pages).ram, pages);
		CHECK_EQ(task_fork(&task[0], &task[1]), 0);
		for (round = 0; round < 100; round++)
			for (i = 0; i < 2; i++)
				task_call(&task[i], op_touch, 0, pages);
		for (i = 0; i < 2; i++) {
			reply = task_call(&task[i], op_count, 0, pages);
			CHECK_EQ(reply.ram, pages);
			CHECK_EQ(reply.bad, 0);
		}
		task_end(&task[1]);
		task_end(&task[0]);
	}
	CHECK_EQ(file_write(BALANCING, "0"), 0);
	check_untouched();
}

/* With demotion enabled, RAM goes to swap and not to the device. */
static void test_demotion(const char *group)
{
	CHECK_EQ(file_write(DEMOTION, "1"), 0);
	fill_anon(group, op_map);
	check_untouched();
	CHECK_EQ(file_write(DEMOTION, "0"), 0);
}

static int tier_of(int node)
{
	char path[128];
	int nodes[CDM_MAX_NODES], nr, tier;

	for (tier = 0; tier < 1024; tier++) {
		snprintf(path, sizeof(path), TIERS "memory_tier%d/nodelist",
			 tier);
		nr = node_list(path, nodes, CDM_MAX_NODES);
		if (nr > 0 && nodes_have(nodes, nr, node))
			return tier;
	}
	return -1;
}

/* Demotion goes to lower tiers: the device is above RAM. */
static void test_tier(const char *group)
{
	(void)group;
	CHECK_GE(tier_of(cdm_ram_node), 0);
	CHECK_GE(tier_of(cdm_node), 0);
	CHECK_LT(tier_of(cdm_node), tier_of(cdm_ram_node));
}

/* All of the device's managed pages are in ZONE_MOVABLE. */
static void test_zones(const char *group)
{
	static char text[1 << 16];
	char zone[32] = "", *line, *save;
	long movable = 0, pages;
	int node = -1;

	(void)group;
	CHECK_EQ(file_read("/proc/zoneinfo", text, sizeof(text)), 0);
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "Node %d, zone %31s", &node, zone) == 2)
			continue;
		if (node != cdm_node ||
		    sscanf(line, " managed %ld", &pages) != 1)
			continue;
		if (!strcmp(zone, "Movable"))
			movable = pages;
		else
			CHECK_EQ(pages, 0);
	}
	CHECK_EQ(movable * cdm_psize,
		 cdm_bytes(cdm_root, "cdm.capacity", cdm_node));
}

/*
 * cpusets
 */

static char *cpuset_group(const char *group, const char *mems)
{
	char *child;

	CHECK_EQ(cdm_enable(cdm_root, "+cpuset"), 0);
	CHECK_EQ(cdm_enable(group, "+cpuset +cdm"), 0);
	child = cdm_make_group(group, "cpuset");
	CHECK_EQ(cdm_write(child, "cpuset.mems", "%s", mems), 0);
	return child;
}

static void ram_list(char *list, size_t len)
{
	file_read("/sys/devices/system/node/has_cpu", list, len);
	list[strcspn(list, "\n")] = '\0';
}

/* A cpuset without the node keeps its tasks off it. */
static void test_cpuset_excludes(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;
	char mems[64], *child;

	ram_list(mems, sizeof(mems));
	child = cpuset_group(group, mems);
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, -EINVAL);
	CHECK_EQ(task_call(&task, op_map, 100, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).ram, 100);
	CHECK_LT(task_call(&task, op_move, 100, cdm_node).ret, 0);
	reply = task_call(&task, op_count, 0, 100);
	CHECK_EQ(reply.ram, 100);
	task_end(&task);
	check_untouched();
}

static struct cdm_reply op_bind_static(struct cdm_buf *buf, long pages,
				       long node)
{
	int ret = buf_map(buf, pages, -1, false);

	if (ret)
		return reply_ret(ret);
	return buf_errno(sys_mbind(buf->addr, pages * cdm_psize,
				   MPOL_BIND | MPOL_F_STATIC_NODES, node, 0));
}

/* Another node with RAM. */
static int second_ram(void)
{
	char mems[64];
	int last;

	ram_list(mems, sizeof(mems));
	return sscanf(mems, "%*d-%d", &last) == 1 ? last : CDM_NONE;
}

/*
 * The nodes of a policy are remapped by position when the cpuset's change. The
 * device must not take the place of a node with RAM.
 */
static void test_cpuset_position(const char *group)
{
	struct cdm_task task;
	int second = second_ram();
	char mems[64], *child;

	ram_list(mems, sizeof(mems));
	child = cpuset_group(group, mems);
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map, 100, second).ret, 0);
	CHECK_EQ(cdm_write(child, "cpuset.mems", "%d,%d", cdm_ram_node,
			   cdm_node), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).ram, 100);
	task_end(&task);
	check_untouched();
}

/* The position of a node among all that have memory. */
static int relative(int node)
{
	return __builtin_popcountl(all_mask() & ((1UL << node) - 1));
}

/* Map 200 pages, bound to @nodes in the way that @flag says. */
static struct cdm_reply op_bind_nodes(struct cdm_buf *buf, long flag,
				      long nodes)
{
	int ret = buf_map(buf, 200, -1, false);

	if (ret)
		return reply_ret(ret);
	return buf_errno(sys_mbind_nodes(buf->addr, 200 * cdm_psize,
					 MPOL_BIND | flag, nodes, 0));
}

/* When a cpuset loses the node, old and new pages go to RAM. */
static void cpuset_leaves_out(const char *group, cdm_op map)
{
	struct cdm_reply reply;
	struct cdm_task task;
	char mems[64], *child;

	child = cpuset_group(group, "");
	task_start(&task, child);
	CHECK_EQ(task_call(&task, map, 200, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).dev, 100);
	ram_list(mems, sizeof(mems));
	CHECK_EQ(cdm_write(child, "cpuset.mems", "%s", mems), 0);
	CHECK_EQ(cdm_wait_usage(child, cdm_node, 0), 0);
	reply = task_call(&task, op_touch, 100, 100);
	CHECK_EQ(reply.ram, 100);
	reply = task_call(&task, op_count, 0, 200);
	CHECK_EQ(reply.ram, 200);
	CHECK_EQ(reply.bad, 0);
	task_end(&task);
	check_untouched();
}

/* Reserve more than the RAM of the cpuset has: the device does not count. */
static void test_cpuset_reserve(const char *group)
{
	int second = second_ram();
	long huge = node_meminfo(second, "MemTotal:") / CDM_POOL_KB + 8;
	struct cdm_task task;
	char mems[16], *child;

	snprintf(mems, sizeof(mems), "%d,%d", second, cdm_node);
	child = cpuset_group(group, mems);
	task_start(&task, child);
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "%ld", huge), 0);
	CHECK_EQ(task_call(&task, op_map_pool, huge, -1).ret, -ENOMEM);
	CHECK_EQ(file_write(CDM_OVERCOMMIT, "0"), 0);
	check_untouched();
	task_end(&task);
}

static void test_cpuset_later(const char *group)
{
	cpuset_leaves_out(group, op_map);
}

static void test_cpuset_later_static(const char *group)
{
	cpuset_leaves_out(group, op_bind_static);
}

/*
 * A policy with static or relative nodes finds the device again when it comes
 * back: that of a mapping, and that of a task. Any other has left it for good.
 */
static void comes_back(const char *group, int flag, unsigned long nodes,
		       bool back)
{
	struct cdm_task task;
	char mems[64], *child;
	int bind;

	child = cpuset_group(group, "");
	ram_list(mems, sizeof(mems));
	for (bind = 0; bind <= 1; bind++) {
		CHECK_EQ(cdm_write(child, "cpuset.mems", "\n"), 0);
		task_start(&task, child);
		if (bind) {
			CHECK_EQ(task_call(&task, op_bind_nodes, flag,
					   nodes).ret, 0);
		} else {
			CHECK_EQ(task_call(&task, op_map, 200, -1).ret, 0);
			CHECK_EQ(task_call(&task, op_policy, MPOL_BIND | flag,
					   nodes).ret, 0);
		}
		CHECK_EQ(task_call(&task, op_touch, 0, 50).dev, 50);
		CHECK_EQ(cdm_write(child, "cpuset.mems", "%s", mems), 0);
		CHECK_EQ(task_call(&task, op_touch, 50, 50).ram, 50);
		CHECK_EQ(cdm_write(child, "cpuset.mems", "%s,%d", mems,
				   cdm_node), 0);
		CHECK_EQ(task_call(&task, op_touch, 100, 50).dev,
			 back ? 50 : 0);
		task_call(&task, op_policy, MPOL_DEFAULT, 0);
		task_end(&task);
	}
	cg_destroy(child);
}

static void test_comes_back(const char *group)
{
	comes_back(group, MPOL_F_STATIC_NODES, 1UL << cdm_node, true);
	comes_back(group, MPOL_F_RELATIVE_NODES, 1UL << relative(cdm_node),
		   true);
	comes_back(group, 0, 1UL << cdm_node, false);
}

/* Relative nodes that were RAM never become a device. */
static void test_relative_ram(const char *group)
{
	int second = second_ram();
	struct cdm_task task;
	char mems[64], *child;

	ram_list(mems, sizeof(mems));
	child = cpuset_group(group, mems);
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map, 200, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_policy, MPOL_BIND | MPOL_F_RELATIVE_NODES,
			   1UL << relative(second)).ret, 0);
	CHECK_EQ(cdm_write(child, "cpuset.mems", "%d,%d", cdm_ram_node,
			   cdm_node), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).ram, 100);
	task_call(&task, op_policy, MPOL_DEFAULT, 0);
	task_end(&task);
	check_untouched();
}

/* A task whose cpuset has only the device can do everything all the same. */
static void test_cpuset_only(const char *group)
{
	long pages = mib_pages(SOME_MIB / 4);
	struct cdm_task task, child_task;
	char mems[16], *child;

	snprintf(mems, sizeof(mems), "%d", cdm_node);
	child = cpuset_group(group, mems);
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map, pages, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).ok, pages);
	CHECK_EQ(task_fork(&task, &child_task), 0);
	CHECK_EQ(task_call(&child_task, op_touch, 0, pages).ok, pages);
	CHECK_EQ(task_call(&child_task, op_write_cache, pages, 0).ret, 0);
	CHECK_EQ(task_call(&child_task, op_page_tables, 500, 0).ret, 0);
	/* None of that is on the device, which no policy has named. */
	check_untouched();
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).dev, 100);
	CHECK_EQ(task_end(&child_task), 0);
	CHECK_EQ(task_end(&task), 0);
	unlink("cache");
}

/* It gets RAM from the cpusets above, and not their other devices. */
static void test_cpuset_other(const char *group)
{
	struct cdm_task task;
	char mems[16], *child;
	int other;

	CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	other = cdm_other_node();
	snprintf(mems, sizeof(mems), "%d", cdm_node);
	child = cpuset_group(group, mems);
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map, 100, other).ret, -EINVAL);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).dev, 100);
	CHECK_LT(task_call(&task, op_move, 100, other).ret, 0);
	CHECK_EQ(cdm_usage(child, other), 0);
	task_end(&task);
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
}

/* How many of the buffer's pages are on @node? */
static struct cdm_reply op_count_on(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = { 0 };
	long i;

	for (i = 0; i < pages; i++)
		reply.ret += addr_node(buf->addr + i * cdm_psize) == node;
	return reply;
}

/* Demotion by whomever obeys the cpuset of those whose pages they are. */
static void test_cpuset_demotion(const char *group)
{
	int ram[] = { cdm_ram_node, second_ram() };
	struct cdm_task task;
	char mems[16], *child;
	size_t i;

	child = cpuset_group(group, "");
	for (i = 0; i < ARRAY_SIZE(ram); i++) {
		snprintf(mems, sizeof(mems), "%d,%d", ram[i], cdm_node);
		CHECK_EQ(cdm_write(child, "cpuset.mems", "%s", mems), 0);
		task_start_on(&task, child, 300, cdm_node);
		cdm_drain_lru();
		CHECK_EQ(cdm_limit(child, cdm_node, 0), 0);
		CHECK_EQ(cdm_usage(child, cdm_node), 0);
		CHECK_EQ(task_call(&task, op_count_on, 300, ram[i]).ret, 300);
		CHECK_EQ(cdm_write(child, "cdm.max", "node%d max", cdm_node),
			 0);
		task_end(&task);
	}
}

#define CPUSET_V1	"cpuset-v1"

/* Possible as soon as the last cpuset of cgroup v2 is gone. */
static int mount_v1(void)
{
	struct cdm_wait wait = cdm_wait_begin(10);
	int err;

	mkdir(CPUSET_V1, 0700);
	do {
		err = mount("cdm", CPUSET_V1, "cgroup", 0, "cpuset");
	} while (err && errno == EBUSY && cdm_wait_more(&wait));
	return err ? -errno : 0;
}

static int v1_write(const char *file, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), CPUSET_V1 "/spread/%s", file);
	return file_write(path, "%s", text);
}

/* Page cache spread over a cpuset of cgroup v1 is spread over its RAM. */
static void test_cpuset_spread(const char *group)
{
	struct cdm_task task;
	struct cdm_reply reply;
	char mems[64], pid[32];

	CHECK_EQ(cdm_write(cdm_root, "cgroup.subtree_control", "-cpuset"), 0);
	if (!CHECK_EQ(mount_v1(), 0))
		return;
	CHECK_EQ(mkdir(CPUSET_V1 "/spread", 0700), 0);
	CHECK_EQ(file_read("/sys/devices/system/node/has_memory", mems,
			   sizeof(mems)), 0);
	CHECK_EQ(v1_write("cpuset.mems", mems), 0);
	CHECK_EQ(v1_write("cpuset.cpus", "0"), 0);
	CHECK_EQ(v1_write("cpuset.memory_spread_page", "1"), 0);

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_make_file, 300, 0).ok, 300);
	snprintf(pid, sizeof(pid), "%d", task.pid);
	CHECK_EQ(v1_write("cgroup.procs", pid), 0);
	CHECK_EQ(task_call(&task, op_read_file, 300, 0).ok, 300);
	reply = task_call(&task, op_where_file, 300, 0);
	CHECK_EQ(reply.ram, 300);
	CHECK_EQ(reply.dev, 0);
	task_end(&task);

	CHECK_EQ(rmdir(CPUSET_V1 "/spread"), 0);
	CHECK_EQ(umount(CPUSET_V1), 0);
	rmdir(CPUSET_V1);
}

static void run(const char *name, void (*fn)(const char *group),
		const char *needs)
{
	if (needs && !file_exists(needs))
		cdm_case_skip(name, needs);
	else
		cdm_case(name, fn);
}

int main(void)
{
	cdm_init(36);
	before = device_state();
	run("base pages beyond RAM", test_anon, NULL);
	run("huge pages beyond RAM", test_thp, THP_ENABLED);
	run("page cache under pressure", test_page_cache, NULL);
	run("shared memory under pressure", test_shmem, NULL);
	run("slab under pressure", test_slab, NULL);
	run("page tables under pressure", test_page_tables, NULL);
	run("hugetlb pool", test_hugetlb, "/proc/sys/vm/nr_hugepages");
	run("hugetlb overcommit", test_hugetlb_surplus,
	    "/proc/sys/vm/nr_overcommit_hugepages");
	run("swap out and in, compressed", test_swap, NULL);
	run("swap out in a fault for others, compressed", test_swap_remote,
	    NULL);
	run("swap readahead of another group's pages", test_swap_readahead,
	    NULL);
	run("KSM merges in RAM", test_ksm, KSM);
	run("KSM leaves huge pages on the device", test_ksm_huge, KSM);
	run("KSM leaves what went to the device", test_ksm_later, KSM);
	run("khugepaged never adds to the device", test_khugepaged,
	    KHUGEPAGED);
	run("policies that do not name the device", test_policies, NULL);
	run("policies for everywhere", test_everywhere, NULL);
	run("policies for everywhere, one node with RAM", test_everywhere_one,
	    NULL);
	run("policies that a cpuset makes everywhere", test_everywhere_rebound,
	    NULL);
	run("tmpfs over everywhere", test_everywhere_tmpfs, NULL);
	run("everywhere, and a device that comes later", test_everywhere_late,
	    NULL);
	run("NUMA balancing", test_numa_balancing, BALANCING);
	run("demotion of RAM under pressure", test_demotion, DEMOTION);
	run("the device's memory tier is above RAM's", test_tier, NULL);
	run("the device is ZONE_MOVABLE alone", test_zones, NULL);
	run("a cpuset without the node is obeyed", test_cpuset_excludes,
	    NULL);
	run("a cpuset that changes maps no RAM to the device",
	    test_cpuset_position, NULL);
	run("huge pages beyond a cpuset's RAM", test_cpuset_reserve,
	    CDM_OVERCOMMIT);
	run("a cpuset that drops the node evicts", test_cpuset_later, NULL);
	run("a cpuset that drops the node beats static nodes",
	    test_cpuset_later_static, NULL);
	run("static and relative nodes come back", test_comes_back, NULL);
	run("relative nodes of RAM never become the device",
	    test_relative_ram, NULL);
	run("a cpuset of the node alone does not wedge", test_cpuset_only,
	    NULL);
	run("a cpuset of one device has no other", test_cpuset_other, NULL);
	run("demotion obeys the owner's cpuset", test_cpuset_demotion, NULL);
	/* This is the last one, as it takes cpusets away from cgroup v2. */
	run("page cache spread over a cpuset", test_cpuset_spread, NULL);
	cdm_exit();
}
