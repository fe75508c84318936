// SPDX-License-Identifier: GPL-2.0
/*
 * What operations on memory cost, in instructions. The first and only program
 * of the guests that make bench boots: see scripts/bench, which reads what this
 * prints, and Documentation/mm/cdm/bench.rst.
 *
 *	init [quick] [lines] [calls]
 *
 * QEMU's -icount makes the time stamp counter go on by one with every
 * instruction, so differences of it are counts. A line of results is
 *
 *	= NAME n=OPERATIONS p50=.. mean=.. min=.. max=.. window=N
 *
 * by operation, where window is that of insncount. "! TEXT" is a failure, and
 * "# TEXT" a note. The last line is "= end".
 *
 * Node 0 has the CPU and RAM, node 1 is the device: a node of CDM, or on a
 * kernel without cdm an ordinary one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_bench.h"
#include "mark.h"

#define WHITE		"\t\n "
#define CG		"/sys/fs/cgroup"
#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define HUGE_PAGES	(HUGE / PAGE)
#define RAM		0
#define DEVICE		1
#define MAX_PATH	256
#define MAX_TURNS	8

/* What the processes of this program share. */
static struct shared {
	unsigned int windows;
	int ready, go;		/* of two_cpus(), by atomic operations */
	uint64_t sample[BENCH_SAMPLES];
	struct {
		struct bench_result result;
		uint64_t sample[BENCH_SAMPLES];
	} answer;	/* of the module */
} *shared;

static bool quick, has_cdm, has_node;

/*
 * Reporting
 */

static void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("! ");
	vprintf(fmt, ap);
	printf(" (%s)\n", strerror(errno));
	va_end(ap);
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Report @n samples of @ops operations; each is @per times the cost of one. */
static void report_ops(const char *name, const char *where, uint64_t *sample,
		       long n, double per, long ops)
{
	double sum = 0;
	long i;

	for (i = 0; i < n; i++)
		sum += sample[i];
	qsort(sample, n, sizeof(*sample), by_value);
	printf("= %s%s n=%ld p50=%.2f mean=%.2f min=%.2f max=%.2f window=%u\n",
	       name, where, ops, sample[n / 2] / per, sum / n / per,
	       sample[0] / per,
	       sample[n - 1] / per, shared->windows);
}

/* Report @n samples, each of @per operations. */
static void report(const char *name, const char *where, uint64_t *sample,
		   long n, long per)
{
	report_ops(name, where, sample, n, per, n * per);
}

static void begin(void)
{
	shared->windows++;
	mark(MARK_BEGIN);
}

static void end(void)
{
	mark(MARK_END);
}

/* The first of several stretches begins the window, the others resume it. */
static void begin_or_resume(bool first)
{
	if (first)
		begin();
	else
		mark(MARK_RESUME);
}

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	asm volatile("lfence; rdtsc; lfence"
		     : "=a" (low), "=d" (high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/*
 * Files and groups
 */

static bool write_to(const char *path, const char *fmt, ...)
{
	char text[MAX_PATH];
	int fd = open(path, O_WRONLY), len;
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (fd < 0)
		return false;
	ok = write(fd, text, len) == len;
	close(fd);
	return ok;
}

/* A file of group @dir. */
static const char *in(const char *dir, const char *file)
{
	static char path[4][2 * MAX_PATH];
	static unsigned int i;

	snprintf(path[++i % 4], sizeof(path[0]), "%s/%s", dir, file);
	return path[i % 4];
}

static bool exists(const char *path)
{
	return !access(path, F_OK);
}

static void enable(const char *dir)
{
	if (!write_to(in(dir, "cgroup.subtree_control"), "+memory") ||
	    (has_cdm && !write_to(in(dir, "cgroup.subtree_control"), "+cdm")))
		fail("controllers of %s", dir);
}

static void make(const char *dir)
{
	if (mkdir(dir, 0755) && errno != EEXIST)
		fail("mkdir %s", dir);
}

/* The last of a chain of @depth groups; at depth 0 the root. */
static const char *leaf(int depth)
{
	static char dir[MAX_PATH];
	int i, len = snprintf(dir, sizeof(dir), CG);

	for (i = 0; i < depth; i++) {
		enable(dir);
		len += snprintf(dir + len, sizeof(dir) - len, i ? "/d" : "/d%d",
				depth);
		make(dir);
	}
	return dir;
}

static void enter(const char *dir)
{
	if (!write_to(in(dir, "cgroup.procs"), "0"))
		fail("cgroup.procs of %s", dir);
}

/* The value of @key in a flat keyed file, or 0. */
static long value(const char *path, const char *key)
{
	char word[64];
	FILE *f = fopen(path, "r");
	long v, found = 0;

	while (f && fscanf(f, "%63s %ld%*[^\n]", word, &v) == 2)
		if (!strcmp(word, key))
			found = v;
	if (f)
		fclose(f);
	return found;
}

static void wait_for(pid_t pid, const char *what)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		printf("! %s: status %#x\n", what, status);
}

/*
 * Memory
 */

enum kind { ANON, THP, SHMEM, HUGETLB };

struct place {
	const char *tag;
	int node;	/* to bind to, or -1 for no policy */
	int mode;
};

static const struct place ram = { "ram", -1, MPOL_DEFAULT };
static const struct place device = { "device", DEVICE, MPOL_BIND };
static const struct place prefer = { "prefer", DEVICE, MPOL_PREFERRED };

static void place_at(void *p, size_t len, const struct place *where, int flags)
{
	unsigned long mask = where->node < 0 ? 0 : 1UL << where->node;

	if (syscall(SYS_mbind, p, len, where->mode, mask ? &mask : NULL,
		    mask ? 64 : 0, flags))
		fail("mbind");
}

/* Untouched memory, aligned to a huge page. */
static char *map(enum kind kind, size_t len)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	char *p, *aligned;

	if (kind == HUGETLB)
		flags |= MAP_HUGETLB;
	if (kind == SHMEM) {
		flags = MAP_SHARED;
		fd = memfd_create("bench", 0);
		if (fd < 0 || ftruncate(fd, len))
			fail("memfd");
	}
	/* A hint at a multiple of 1 GiB, where nothing else is. */
	p = mmap((void *)(64UL << 30), len, PROT_READ | PROT_WRITE, flags, fd,
		 0);
	aligned = (char *)(((uintptr_t)p + HUGE - 1) & -HUGE);
	if (p == MAP_FAILED || p != aligned)
		fail("mmap");
	if (fd >= 0)
		close(fd);
	if (kind != HUGETLB)
		madvise(p, len, kind == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

static void unmap(char *p, size_t len)
{
	if (munmap(p, len))
		fail("munmap");
}

static inline void touch_page(char *p)
{
	asm volatile("movb $1, %0" : "=m" (*p));
}

static void touch(char *p, long n, size_t step)
{
	long i;

	for (i = 0; i < n; i++)
		touch_page(p + i * step);
}

/* How many of n pages are on @node. */
static long count_on(char *p, long n, size_t step, int node)
{
	void **addr = calloc(n, sizeof(*addr));
	int *status = calloc(n, sizeof(*status));
	long i, found = 0;

	for (i = 0; i < n; i++)
		addr[i] = p + i * step;
	if (syscall(SYS_move_pages, 0, n, addr, NULL, status, 0))
		fail("move_pages");
	for (i = 0; i < n; i++)
		found += status[i] == node;
	free(addr);
	free(status);
	return found;
}

static void expect_on(const char *what, char *p, long n, size_t step, int node)
{
	long found = count_on(p, n, step, node);

	if (found != n)
		printf("! %s: %ld of %ld pages on node %d\n", what, found, n,
		       node);
}

/*
 * Faults
 */

static void sample_faults(char *p, long n, size_t step)
{
	uint64_t before, after;
	long i;

	before = ticks();
	for (i = 0; i < n; i++) {
		touch_page(p + i * step);
		after = ticks();
		shared->sample[i] = after - before;
		before = after;
	}
}

static void faults(enum kind kind, const struct place *where, int depth,
		   const char *more)
{
	static const char * const name[] = {
		"fault", "thp", "shmem", "hugetlb",
	};
	static const char * const freed[] = {
		"free", "thp-free", "shmem-free", "hugetlb-free",
	};
	bool huge = kind == THP || kind == HUGETLB;
	size_t step = huge ? HUGE : PAGE, len;
	long n = huge ? 16 : quick ? 2048 : 4096, chunks, i;
	int node = where->node < 0 || *more ? RAM : where->node;
	bool warm = true;
	char tag[64];
	uint64_t before;
	char *p;

	if (quick && huge)
		n = 8;
	len = n * step;
	chunks = len / HUGE;
	snprintf(tag, sizeof(tag), "/%s/d%d%s", where->tag, depth, more);
	for (;; warm = false) {
		p = map(kind, len);
		place_at(p, len, where, 0);
		if (!warm)
			begin();
		sample_faults(p, n, step);
		if (!warm) {
			end();
			report(name[kind], tag, shared->sample, n, 1);
		}
		expect_on(name[kind], p, n, step, node);
		if (!warm)
			begin();
		for (i = 0; i < chunks; i++) {
			before = ticks();
			if (kind == SHMEM)
				madvise(p + i * HUGE, HUGE, MADV_REMOVE);
			else
				munmap(p + i * HUGE, HUGE);
			shared->sample[i] = ticks() - before;
		}
		if (!warm)
			break;
		munmap(p, len);
	}
	end();
	report(freed[kind], tag, shared->sample, chunks, huge ? 1 : HUGE_PAGES);
	munmap(p, len);
}

static void set_pool(int node, int pages)
{
	char path[MAX_PATH];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages",
		 node);
	if (!write_to(path, "%d", pages))
		fail("%s", path);
}

/*
 * The page allocator alone
 */

static int bench_open(long room)
{
	struct bench_cmd cmd = { .op = BENCH_ROOM, .nr = room };
	int fd = open("/proc/cdm_bench", O_RDWR);

	if (fd < 0 || write(fd, &cmd, sizeof(cmd)) != sizeof(cmd))
		fail("/proc/cdm_bench");
	return fd;
}

/* Returns how many pages it could handle. */
static long bench_do(int fd, enum bench_op op, int node, int order, long nr,
		     int flags)
{
	struct bench_cmd cmd = {
		.op = op, .flags = flags,
		.node = node, .order = order, .nr = nr,
	};

	if (flags & BENCH_WINDOW)
		shared->windows++;
	if (write(fd, &cmd, sizeof(cmd)) != sizeof(cmd))
		fail("bench command %d", op);
	if (read(fd, &shared->answer, sizeof(shared->answer)) < 0)
		fail("bench result");
	return shared->answer.result.done;
}

#define SAMPLED		(BENCH_WINDOW | BENCH_SAMPLE)

/* Check that the last command handled all @n pages. */
static void expect_pages(const char *name, const char *where, long n)
{
	struct bench_result *r = &shared->answer.result;

	if ((long)r->done != n || r->elsewhere)
		printf("! %s%s: %lld of %ld pages, %lld elsewhere\n", name,
		       where, r->done, n, r->elsewhere);
}

static void pages(const char *name, int node, int order, int depth, int flags)
{
	long n = order ? 64 : quick ? 2048 : 4096;
	char tag[64], freed[64];
	int fd = bench_open(n);

	snprintf(tag, sizeof(tag), "/%s/d%d", node == RAM ? "ram" : "device",
		 depth);
	snprintf(freed, sizeof(freed), "%s-free", name);
	/* The first round fills the per-CPU lists and the stock. */
	bench_do(fd, BENCH_ALLOC, node, order, n, flags);
	bench_do(fd, BENCH_FREE, node, order, n, 0);
	bench_do(fd, BENCH_ALLOC, node, order, n, flags | SAMPLED);
	expect_pages(name, tag, n);
	report(name, tag, shared->answer.sample, n, 1);
	bench_do(fd, BENCH_FREE, node, order, n, SAMPLED);
	report(freed, tag, shared->answer.sample, n, 1);
	close(fd);
}

static void bulk(int node, int depth)
{
	long n = 2048;
	int fd = bench_open(n);
	char tag[64];

	snprintf(tag, sizeof(tag), "/%s/d%d", node == RAM ? "ram" : "device",
		 depth);
	bench_do(fd, BENCH_BULK, node, 0, n, 0);
	bench_do(fd, BENCH_FREE, node, 0, n, 0);
	bench_do(fd, BENCH_BULK, node, 0, n, SAMPLED);
	expect_pages("bulk", tag, n);
	report("bulk", tag, shared->answer.sample, n / BENCH_BATCH,
	       BENCH_BATCH);
	close(fd);
}

static void loop_alone(void)
{
	int fd = bench_open(1);

	bench_do(fd, BENCH_NOP, RAM, 0, 1024, SAMPLED);
	report("loop", "", shared->answer.sample, 1024, 1);
	close(fd);
}

/* The last 64 pages of a quota, for which stocks get smaller and smaller. */
static void near_quota(const char *dir)
{
	long n = 512, last = 64;
	int fd = bench_open(n);

	if (!write_to(in(dir, "cdm.max"), "node%d %ld", DEVICE, n * PAGE))
		fail("cdm.max");
	bench_do(fd, BENCH_ALLOC, DEVICE, 0, n, 0);
	bench_do(fd, BENCH_FREE, DEVICE, 0, last, 0);
	if (bench_do(fd, BENCH_ALLOC, DEVICE, 0, last,
		     SAMPLED | BENCH_THISNODE) != last)
		printf("! page-near: %lld of %ld\n", shared->answer.result.done,
		       last);
	report("page-near", "/device/d1", shared->answer.sample, last, 1);
	bench_do(fd, BENCH_FREE, DEVICE, 0, last, SAMPLED);
	report("page-near-free", "/device/d1", shared->answer.sample, last, 1);
	write_to(in(dir, "cdm.max"), "node%d max", DEVICE);
	close(fd);
}

/* The cost of a miss. */
static void refused(const char *dir)
{
	int fd = bench_open(256);

	if (!write_to(in(dir, "cdm.max"), "node%d 0", DEVICE))
		fail("cdm.max");
	write_to(in(dir, "cdm.policy"), "fail");
	bench_do(fd, BENCH_ALLOC, DEVICE, 0, 32, 0);
	if (bench_do(fd, BENCH_ALLOC, DEVICE, 0, 128, SAMPLED))
		printf("! a page over the quota\n");
	report("refused", "/device/d1", shared->answer.sample, 128, 1);
	write_to(in(dir, "cdm.max"), "node%d max", DEVICE);
	write_to(in(dir, "cdm.policy"), "inherit");
	close(fd);
}

/*
 * Migration
 */

static void move(bool huge, bool out)
{
	long n = huge ? 16 : quick ? 2048 : 4096, batch = huge ? 2 : 512, i;
	size_t step = huge ? HUGE : PAGE, len = n * step;
	int target = out ? RAM : DEVICE;
	void **addr = calloc(n, sizeof(*addr));
	int *status = calloc(n, sizeof(*status));
	int *nodes = calloc(n, sizeof(*nodes));
	char name[32];
	uint64_t before;
	int round;
	char *p;

	snprintf(name, sizeof(name), "%s-%s", huge ? "move2m" : "move",
		 out ? "out" : "in");
	for (round = 0; round < 2; round++) {
		p = map(huge ? THP : ANON, len);
		if (out)
			place_at(p, len, &device, 0);
		touch(p, n, step);
		for (i = 0; i < n; i++) {
			addr[i] = p + i * step;
			nodes[i] = target;
		}
		for (i = 0; i < n; i += batch) {
			if (round)
				begin_or_resume(!i);
			before = ticks();
			syscall(SYS_move_pages, 0, batch, addr + i, nodes + i,
				status + i, MPOL_MF_MOVE);
			shared->sample[i / batch] = ticks() - before;
			if (round)
				end();
		}
		expect_on(name, p, n, step, target);
		if (round)
			report(name, "/d1", shared->sample, n / batch, batch);
		unmap(p, len);
	}
	free(addr);
	free(nodes);
	free(status);
}

static void bind_and_move(bool out)
{
	long n = quick ? 2048 : 4096, i;
	size_t len = n * PAGE;
	const struct place to_ram = { "ram", RAM, MPOL_BIND };
	const char *name = out ? "mbind-out" : "mbind-in";
	uint64_t before;
	int round;
	char *p;

	for (round = 0; round < 2; round++) {
		p = map(ANON, len);
		if (out)
			place_at(p, len, &device, 0);
		touch(p, n, PAGE);
		for (i = 0; i < (long)(len / HUGE); i++) {
			if (round)
				begin_or_resume(!i);
			before = ticks();
			place_at(p + i * HUGE, HUGE, out ? &to_ram : &device,
				 MPOL_MF_MOVE);
			shared->sample[i] = ticks() - before;
			if (round)
				end();
		}
		expect_on(name, p, n, PAGE, out ? RAM : DEVICE);
		if (round)
			report(name, "/d1", shared->sample, len / HUGE,
			       HUGE_PAGES);
		unmap(p, len);
	}
}

/*
 * Demotion and reclaim
 */

enum how { BY_MAX, BY_CDM_RECLAIM, BY_MEMORY_RECLAIM };

static bool make_way(const char *dir, enum how how, long keep, long go)
{
	switch (how) {
	case BY_MAX:
		return write_to(in(dir, "cdm.max"), "node%d %ld", DEVICE,
				keep * PAGE);
	case BY_CDM_RECLAIM:
		return write_to(in(dir, "cdm.reclaim"), "node%d %ld", DEVICE,
				go * PAGE);
	default:
		return write_to(in(dir, "memory.reclaim"), "%ld", go * PAGE);
	}
}

/* Demote the group's pages in eighths; the cost is for each 4K page. */
static void demote_by(const char *dir, bool huge, enum how how, int depth)
{
	static const char * const name[] = {
		"demote-max", "demote-cdm.reclaim", "demote-memory.reclaim",
	};
	long n = huge ? 16 : quick ? 2048 : 4096;
	long per = huge ? HUGE_PAGES : 1, left, was, i;
	size_t step = huge ? HUGE : PAGE, len = n * step;
	long split = value("/proc/vmstat", "thp_split_page");
	const struct place any = { "any", -1, MPOL_DEFAULT };
	char tag[64];
	uint64_t before;
	int round;
	char *p;

	snprintf(tag, sizeof(tag), "%s/d%d", huge ? "-2m" : "", depth);
	for (round = 0; round < 2; round++) {
		p = map(huge ? THP : ANON, len);
		place_at(p, len, &device, 0);
		touch(p, n, step);
		expect_on(name[how], p, n, step, DEVICE);
		/* Unpatched, pages that are bound may be demoted as well. */
		place_at(p, len, &any, 0);
		left = n;
		for (i = 0; i < 8 && left; i++) {
			was = left;
			if (round)
				begin_or_resume(!i);
			before = ticks();
			make_way(dir, how, (n - (i + 1) * n / 8) * per,
				 n / 8 * per);
			before = ticks() - before;
			if (round)
				end();
			left = count_on(p, n, step, DEVICE);
			if (left == was) {
				printf("! %s%s: stays at %ld\n", name[how], tag,
				       left);
				break;
			}
			shared->sample[i] = before * 1000 /
				((was - left) * per);
		}
		if (round && i)
			report_ops(name[how], tag, shared->sample, i, 1000,
				   (n - left) * per);
		write_to(in(dir, "cdm.max"), "node%d max", DEVICE);
		unmap(p, len);
	}
	if (huge)
		printf("# split %s%s %ld\n", name[how], tag,
		       value("/proc/vmstat", "thp_split_page") - split);
}

/* Faults at the limit, each of which has to make room for itself. */
static void demote_for_faults(const char *dir)
{
	long n = quick ? 1024 : 2048, quota = 1024;
	char *p = map(ANON, (n + quota) * PAGE);

	write_to(in(dir, "cdm.policy"), "reclaim");
	if (!write_to(in(dir, "cdm.max"), "node%d %ld", DEVICE, quota * PAGE))
		fail("cdm.max");
	place_at(p, (n + quota) * PAGE, &device, 0);
	touch(p, quota + 64, PAGE);
	begin();
	sample_faults(p + (quota + 64) * PAGE, n - 64, PAGE);
	end();
	report("demote-fault", "/d1", shared->sample, n - 64, 1);
	write_to(in(dir, "cdm.max"), "node%d max", DEVICE);
	write_to(in(dir, "cdm.policy"), "inherit");
	unmap(p, (n + quota) * PAGE);
}

/* Clean page cache of a disk that has no content. */
static void reclaim_cache(const char *dir)
{
	static char buf[1 << 20];
	int fd = open("/dev/vda", O_RDONLY), i;
	uint64_t before;
	long was, now, pages = 0;

	if (fd < 0)
		fail("/dev/vda");
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	for (i = 0; i < 4; i++) {
		was = value(in(dir, "memory.stat"), "file");
		begin_or_resume(!i);
		before = ticks();
		write_to(in(dir, "memory.reclaim"), "1M");
		before = ticks() - before;
		end();
		now = value(in(dir, "memory.stat"), "file");
		if (now >= was)
			fail("memory.reclaim: %ld bytes of cache, then %ld",
			     was, now);
		shared->sample[i] = before * 1000 / ((was - now) / PAGE);
		pages += (was - now) / PAGE;
	}
	report_ops("reclaim-cache", "/d1", shared->sample, 4, 1000, pages);
	close(fd);
}

/*
 * Processes and groups
 */

static void fork_big(const struct place *where)
{
	const struct sched_param first = { .sched_priority = 1 };
	size_t len = 64UL << 20;
	char *p = map(ANON, len), tag[32];
	uint64_t before, forked, exit_sample[8];
	pid_t pid;
	int i;

	place_at(p, len, where, 0);
	touch(p, len / PAGE, PAGE);
	/* The child does not run before its parent waits. */
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		fail("sched_setscheduler");
	for (i = -1; i < 8; i++) {
		if (i >= 0)
			begin_or_resume(!i);
		before = ticks();
		pid = fork();
		if (!pid)
			_exit(0);
		forked = ticks();
		waitpid(pid, NULL, 0);
		if (i < 0)
			continue;
		end();
		exit_sample[i] = ticks() - forked;
		shared->sample[i] = forked - before;
	}
	snprintf(tag, sizeof(tag), "/%s/d1", where->tag);
	report("fork", tag, shared->sample, 8, 1);
	report("fork-exit", tag, exit_sample, 8, 1);
	unmap(p, len);
}

static void make_and_remove(void)
{
	uint64_t before, made, removed[32];
	int i, n = quick ? 16 : 32;

	leaf(1);
	for (i = -4; i < n; i++) {
		if (i >= 0)
			begin_or_resume(!i);
		before = ticks();
		mkdir(CG "/x", 0755);
		made = ticks();
		rmdir(CG "/x");
		if (i < 0)
			continue;
		removed[i] = ticks() - made;
		shared->sample[i] = made - before;
		end();
	}
	report("mkdir", "", shared->sample, n, 1);
	report("rmdir", "", removed, n, 1);
}

/*
 * Remove a group that has @nr pages of the device charged. The cost is that of
 * the call, and of everything that follows it.
 */
static void remove_charged(long nr)
{
	int order = nr >= 100000 ? 9 : 0, rounds = 3, i, fd;
	int to_child[2], from_child[2];
	char name[32], c = 0;
	uint64_t before;
	pid_t pid;

	snprintf(name, sizeof(name), "/%ld", nr);
	for (i = 0; i < rounds; i++) {
		if (pipe(to_child) || pipe(from_child))
			fail("pipe");
		make(CG "/held");
		pid = fork();
		if (!pid) {
			enter(CG "/held");
			fd = bench_open(nr >> order);
			if (bench_do(fd, BENCH_ALLOC, DEVICE, order,
				     nr >> order,
				     BENCH_THISNODE) != nr >> order) {
				printf("# rmdir-held%s: node has no room\n",
				       name);
				c = 1;
			}
			/* The pages stay charged to the group. */
			enter(CG);
			if (write(from_child[1], &c, 1) != 1 ||
			    read(to_child[0], &c, 1) != 1)
				fail("pipe");
			_exit(0);
		}
		if (read(from_child[0], &c, 1) != 1)
			fail("pipe");
		begin_or_resume(!i);
		before = ticks();
		if (rmdir(CG "/held"))
			fail("rmdir");
		shared->sample[i] = ticks() - before;
		usleep(100000);
		end();
		if (write(to_child[1], &c, 1) != 1)
			fail("pipe");
		wait_for(pid, name);
		close(to_child[0]);
		close(to_child[1]);
		close(from_child[0]);
		close(from_child[1]);
		/* Wait until the owner of the pages is freed, too. */
		usleep(100000);
		if (c)
			return;
	}
	report("rmdir-held", name, shared->sample, rounds, 1);
}

/* Kernel memory. */
static long used_kb(void)
{
	return value("/proc/meminfo", "Slab:") +
	       value("/proc/meminfo", "Percpu:");
}

static void read_stat(int groups)
{
	const char *many = CG "/many";
	char dir[MAX_PATH], buf[4096];
	uint64_t before;
	int i, fd;
	long kb;

	make(many);
	enable(many);
	kb = used_kb();
	for (i = 0; i < groups; i++) {
		snprintf(dir, sizeof(dir), "%s/%d", many, i);
		make(dir);
	}
	printf("# kB of %d groups %ld\n", groups, used_kb() - kb);
	for (i = -1; i < 8; i++) {
		if (i >= 0)
			begin_or_resume(!i);
		before = ticks();
		fd = open(in(many, has_cdm ? "cdm.stat" : "memory.stat"),
			  O_RDONLY);
		/* Without a CDM node the file is empty. */
		if (read(fd, buf, sizeof(buf)) < 0)
			fail("read of stat");
		close(fd);
		if (i < 0)
			continue;
		shared->sample[i] = ticks() - before;
		end();
	}
	snprintf(dir, sizeof(dir), "/%d", groups);
	report(has_cdm ? "cdm.stat" : "memory.stat", dir, shared->sample, 8, 1);
	for (i = 0; i < groups; i++) {
		snprintf(dir, sizeof(dir), "%s/%d", many, i);
		rmdir(dir);
	}
	usleep(100000);
	rmdir(many);
}

/*
 * Groups take turns on one CPU. Each allocates TURN_PAGES in a turn; when all
 * groups have theirs, they free them in the same way. What happens between the
 * turns is in no window.
 */
#define TURN_PAGES	32
#define TURNS		16

static void turn_child(int from, int to)
{
	int fd = bench_open(TURN_PAGES * TURNS), flags;
	char c;

	while (read(from, &c, 1) == 1 && c != 'q') {
		flags = c == 'A' || c == 'F' ? BENCH_MORE : 0;
		bench_do(fd, c == 'a' || c == 'A' ? BENCH_ALLOC : BENCH_FREE,
			 DEVICE, 0, TURN_PAGES, flags);
		if (write(to, &c, 1) != 1)
			break;
	}
	_exit(0);
}

static void turns(int groups, int stride, const char *name)
{
	static const char orders[] = "afAF";
	int to[MAX_TURNS][2], from[MAX_TURNS][2], i, turn;
	char dir[MAX_PATH], c;
	pid_t pid[MAX_TURNS];
	const char *o;

	/* The groups between these are there only to use up ids. */
	for (i = 0; i < groups * stride; i++) {
		snprintf(dir, sizeof(dir), CG "/turn%d", i);
		make(dir);
	}
	for (i = 0; i < groups; i++) {
		if (pipe(to[i]) || pipe(from[i]))
			fail("pipe");
		pid[i] = fork();
		if (!pid[i]) {
			snprintf(dir, sizeof(dir), CG "/turn%d", i * stride);
			enter(dir);
			turn_child(to[i][0], from[i][1]);
		}
	}
	for (o = orders; *o; o++) {
		if (*o == 'A') {
			begin();
			end();
		}
		for (turn = 0; turn < TURNS; turn++)
			for (i = 0; i < groups; i++)
				if (write(to[i][1], o, 1) != 1 ||
				    read(from[i][0], &c, 1) != 1)
					fail("turns");
	}
	for (i = 0; i < groups; i++) {
		if (write(to[i][1], "q", 1) != 1)
			fail("turns");
		wait_for(pid[i], name);
		close(to[i][0]);
		close(to[i][1]);
		close(from[i][0]);
		close(from[i][1]);
	}
	shared->sample[0] = 0;
	printf("= %s n=%d window=%u\n", name, groups * TURNS * TURN_PAGES,
	       shared->windows);
	for (i = 0; i < groups * stride; i++) {
		snprintf(dir, sizeof(dir), CG "/turn%d", i);
		rmdir(dir);
	}
	usleep(100000);
}

/*
 * A node without a free page, and a quota without one
 */

/*
 * Allocate all that the device has without reclaim, and keep it. On a CDM node
 * that takes requests that may wait: they empty the lists of the CPUs before
 * they give up.
 */
static void fill_device(int tell)
{
	int huge = bench_open(4096), small = bench_open(1 << 16);
	int flags = BENCH_THISNODE | (has_node ? 0 : BENCH_NOWAIT);

	while (bench_do(huge, BENCH_ALLOC, DEVICE, 9, 32, BENCH_THISNODE) == 32)
		;
	while (bench_do(small, BENCH_ALLOC, DEVICE, 0, 32, flags) == 32)
		;
	if (write(tell, "", 1) != 1)
		fail("pipe");
	for (;;)
		pause();
}

static void fall_back_full(const char *dir)
{
	faults(ANON, &prefer, 1, "/full");
}

static void fall_back_max(const char *dir)
{
	if (!write_to(in(dir, "cdm.max"), "node%d 0", DEVICE))
		fail("cdm.max");
	faults(ANON, &prefer, 1, "/max");
	faults(ANON, &device, 1, "/max");
	write_to(in(dir, "cdm.max"), "node%d max", DEVICE);
}

/*
 * Running
 */

/* Run @what in group @dir, in a process of its own. */
static void run(const char *dir, void (*what)(const char *dir))
{
	char path[MAX_PATH];
	pid_t pid;

	snprintf(path, sizeof(path), "%s", dir);
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (!pid) {
		enter(path);
		what(path);
		exit(0);
	}
	wait_for(pid, path);
}

static int depth;

static void plain_costs(const char *dir)
{
	faults(ANON, &ram, depth, "");
	faults(ANON, &device, depth, "");
	pages("page", RAM, 0, depth, 0);
	pages("page", DEVICE, 0, depth, 0);
}

static void huge_costs(const char *dir)
{
	faults(THP, &ram, depth, "");
	faults(THP, &device, depth, "");
	pages("page2m", RAM, 9, depth, 0);
	pages("page2m", DEVICE, 9, depth, 0);
	pages("kernel", RAM, 0, depth, BENCH_KERNEL);
	pages("account", RAM, 0, depth, BENCH_ACCOUNT);
}

static void more_costs(const char *dir)
{
	faults(SHMEM, &ram, depth, "");
	faults(SHMEM, &device, depth, "");
	faults(HUGETLB, &ram, depth, "");
	faults(HUGETLB, &device, depth, "");
	bulk(RAM, depth);
	bulk(DEVICE, depth);
}

static void move_in(const char *dir)
{
	move(false, false);
	move(true, false);
}

static void move_more(const char *dir)
{
	move(false, true);
	move(true, true);
	bind_and_move(false);
	bind_and_move(true);
}

static void processes(const char *dir)
{
	fork_big(&ram);
	fork_big(&device);
}

static void demotion(const char *dir)
{
	demote_by(dir, false, has_node ? BY_MAX : BY_MEMORY_RECLAIM, depth);
	demote_by(dir, true, has_node ? BY_MAX : BY_MEMORY_RECLAIM, depth);
	if (exists(in(dir, "cdm.reclaim")) && has_node) {
		demote_by(dir, false, BY_CDM_RECLAIM, depth);
		demote_by(dir, true, BY_CDM_RECLAIM, depth);
	}
}

static void quota(const char *dir)
{
	near_quota(dir);
	refused(dir);
	demote_for_faults(dir);
	fall_back_max(dir);
}

static void one_cpu(void)
{
	static const int depths[] = { 1, 4, 0, 16 };
	int filled[2], i;
	pid_t filler;
	char c;

	loop_alone();
	if (!quick) {
		set_pool(RAM, 20);
		set_pool(DEVICE, 20);
	}
	for (i = 0; i < (quick ? 2 : 4); i++) {
		depth = depths[i];
		run(leaf(depth), plain_costs);
		if (!quick || depth == 1)
			run(leaf(depth), huge_costs);
		if (!quick)
			run(leaf(depth), more_costs);
	}
	if (!quick) {
		set_pool(RAM, 0);
		set_pool(DEVICE, 0);
	}

	run(leaf(1), move_in);
	if (!quick) {
		run(leaf(1), move_more);
		run(leaf(1), processes);
		run(leaf(1), reclaim_cache);
		make_and_remove();
		read_stat(1000);
	}
	for (depth = 1; depth <= (quick ? 1 : 4); depth += 3)
		run(leaf(depth), demotion);
	if (has_node)
		run(leaf(1), quota);
	turns(1, 1, "turns/1");
	turns(MAX_TURNS, 1, "turns/8");
	if (!quick)
		turns(MAX_TURNS, 8, "turns/8-spread");
	remove_charged(100);
	remove_charged(10000);
	remove_charged(quick ? 50000 : 1000000);

	if (pipe(filled))
		fail("pipe");
	filler = fork();
	if (!filler)
		fill_device(filled[1]);
	if (read(filled[0], &c, 1) != 1)
		fail("pipe");
	run(leaf(1), fall_back_full);
	kill(filler, SIGKILL);
	waitpid(filler, NULL, 0);
}

/*
 * Two CPUs in one group: with lines=on, insncount watches which lines move.
 */

#define LINES_PAGES	1024
#define LINES_ROUNDS	16

static void lines_child(int cpu, int node, int flags)
{
	int fd = bench_open(LINES_PAGES), i;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("affinity");
	for (i = -1; i < LINES_ROUNDS; i++) {
		if (!i) {
			__sync_fetch_and_add(&shared->ready, 1);
			while (!__atomic_load_n(&shared->go, __ATOMIC_SEQ_CST))
				sched_yield();
		}
		bench_do(fd, BENCH_ALLOC, node, 0, LINES_PAGES, flags);
		bench_do(fd, BENCH_FREE, node, 0, LINES_PAGES, 0);
	}
	/* The CPU that is done first must not run into its exit meanwhile. */
	__sync_fetch_and_sub(&shared->ready, 1);
	while (__atomic_load_n(&shared->go, __ATOMIC_SEQ_CST))
		sched_yield();
	exit(0);
}

static void two_cpus(const char *name, int round, int node, int flags)
{
	pid_t pid[2];
	int cpu;

	for (cpu = 0; cpu < 2; cpu++) {
		pid[cpu] = fork();
		if (!pid[cpu]) {
			enter(leaf(1));
			lines_child(cpu, node, flags);
		}
	}
	while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	begin();
	__atomic_store_n(&shared->go, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST))
		usleep(1000);
	end();
	__atomic_store_n(&shared->go, 0, __ATOMIC_SEQ_CST);
	for (cpu = 0; cpu < 2; cpu++)
		wait_for(pid[cpu], name);
	printf("= %s/%d n=%d window=%u\n", name, round,
	       2 * LINES_PAGES * LINES_ROUNDS, shared->windows);
}

/*
 * Several CPUs: how often one of them interrupts the others.
 */

#define CALLS_ROUNDS	1000
#define CALLS_QUOTA	256

/* Function call interrupts that all CPUs but @except have had. */
static long calls(int except)
{
	static char buf[1 << 16];
	int fd = open("/proc/interrupts", O_RDONLY), cpu;
	long sum = 0, n;
	ssize_t len, got = 0;
	char *pos, *next;

	while (fd >= 0 && (len = read(fd, buf + got,
				      sizeof(buf) - 1 - got)) > 0)
		got += len;
	buf[got] = '\0';
	close(fd);
	pos = strstr(buf, "Function call interrupts");
	if (!pos)
		fail("/proc/interrupts");
	*pos = '\0';
	pos = strchr(strrchr(buf, '\n'), ':') + 1;
	for (cpu = 0; ; cpu++, pos = next) {
		n = strtol(pos, &next, 10);
		if (next == pos)
			return sum;
		sum += cpu == except ? 0 : n;
	}
}

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("affinity");
}

/* Use and free pages of the device, and one more than the quota allows. */
static pid_t start_user(const char *dir, int cpu, long nr)
{
	pid_t pid = fork();
	char *p;

	if (pid)
		return pid;
	enter(dir);
	on_cpu(cpu);
	p = map(ANON, (nr + 1) * PAGE);
	place_at(p, (nr + 1) * PAGE, &device, 0);
	for (;;) {
		touch(p, nr + 1, PAGE);
		__sync_fetch_and_add(&shared->ready, 1);
		madvise(p, (nr + 1) * PAGE, MADV_DONTNEED);
	}
}

/* At its limit: a page that fits, freed and used, and one that does not. */
static void at_limit(char *p)
{
	int i;

	for (i = 0; i < CALLS_ROUNDS; i++) {
		madvise(p, PAGE, MADV_DONTNEED);
		touch_page(p);
		touch_page(p + CALLS_QUOTA * PAGE);
		madvise(p + CALLS_QUOTA * PAGE, PAGE, MADV_DONTNEED);
	}
}

static void read_group(const char *dir)
{
	static const char * const files[] = {
		"cdm.events", "cdm.stat", "cdm.current", "cdm.peak",
	};
	char buf[1024];
	int fd[4], i, seen;

	for (i = 0; i < 4; i++)
		fd[i] = open(in(dir, files[i]), O_RDONLY);
	for (i = 0; i < CALLS_ROUNDS; i++) {
		if (pread(fd[i % 4], buf, sizeof(buf), 0) <= 0)
			fail("%s", files[i % 4]);
		/* Until there is something to read again. */
		seen = __atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) ==
		       seen)
			sched_yield();
	}
	for (i = 0; i < 4; i++)
		close(fd[i]);
}

static void reset_peak(const char *dir)
{
	int i;

	for (i = 0; i < CALLS_ROUNDS; i++)
		if (!write_to(in(dir, "cdm.peak"), "reset"))
			fail("cdm.peak");
}

enum caller { READER, FULL, DRAIN };

/*
 * What CPU 1 does to all others, which are busy: it reads their group's files,
 * or meets the limit of its own group beside them, or resets cdm.peak of the
 * one that they are below.
 */
static void calls_of(enum caller caller)
{
	static const char * const name[] = {
		"calls/reader", "calls/full", "calls/drain",
	};
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), cpu, n;
	char top[32], own[48], others[48];
	pid_t pid[64], me;
	long before;
	char *p;

	snprintf(top, sizeof(top), CG "/calls%d", caller);
	enable(CG);
	make(top);
	enable(top);
	snprintf(own, sizeof(own), "%s/own", top);
	snprintf(others, sizeof(others), "%s/others", top);
	make(own);
	make(others);
	/* Readers find fallbacks that are not counted yet. */
	write_to(in(caller == READER ? others : own, "cdm.max"), "node%d %ld",
		 DEVICE, CALLS_QUOTA * PAGE);
	shared->ready = 0;
	for (cpu = n = 0; cpu < cpus && n < 64; cpu++)
		if (cpu != 1)
			pid[n++] = start_user(others, cpu, CALLS_QUOTA / cpus);
	me = fork();
	if (!me) {
		enter(own);
		on_cpu(1);
		p = map(ANON, (CALLS_QUOTA + 1) * PAGE);
		place_at(p, (CALLS_QUOTA + 1) * PAGE, &device, 0);
		touch(p, CALLS_QUOTA, PAGE);
		while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < 100)
			sched_yield();
		before = calls(1);
		if (caller == READER)
			read_group(others);
		else if (caller == FULL)
			at_limit(p);
		else
			reset_peak(top);
		printf("= %s n=%d calls=%ld window=0\n", name[caller],
		       CALLS_ROUNDS, calls(1) - before);
		exit(0);
	}
	wait_for(me, name[caller]);
	while (n--) {
		kill(pid[n], SIGKILL);
		waitpid(pid[n], NULL, 0);
	}
}

static bool has_word(const char *path, const char *word)
{
	char line[256] = "", *w;
	FILE *f = fopen(path, "r");
	bool found = false;

	if (!f)
		return false;
	if (fgets(line, sizeof(line), f))
		for (w = strtok(line, WHITE); w; w = strtok(NULL, WHITE))
			found |= !strcmp(w, word);
	fclose(f);
	return found;
}

static void setup(void)
{
	int fd;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) ||
	    mount("sys", "/sys", "sysfs", 0, NULL) ||
	    mount("cgroup2", CG, "cgroup2", 0, NULL))
		fail("mount");
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open("/cdm_bench.ko", O_RDONLY);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		fail("cdm_bench.ko");
	close(fd);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap");
	has_cdm = has_word(CG "/cgroup.controllers", "cdm");
	has_node = has_word("/sys/devices/system/node/has_coherent_memory",
			    "1");
	write_to("/sys/kernel/mm/numa/demotion_enabled", "1");
}

int main(int argc, char **argv)
{
	bool lines = false, called = false;
	pid_t pid;
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 1; i < argc; i++) {
		quick |= !strcmp(argv[i], "quick");
		lines |= !strcmp(argv[i], "lines");
		called |= !strcmp(argv[i], "calls");
	}
	/* The first process must not exit, and a failure must end the run. */
	pid = fork();
	if (pid > 0) {
		waitpid(pid, &i, 0);
		printf("= end\n");
		fflush(stdout);
		reboot(RB_POWER_OFF);
	}
	setup();
	if (!lines && !called)
		one_cpu();
	for (i = READER; called && i <= DRAIN; i++)
		calls_of(i);
	for (i = 0; lines && i < 3; i++) {
		if (has_node)
			two_cpus("lines/device", i, DEVICE, 0);
		two_cpus("lines/account", i, RAM, BENCH_ACCOUNT);
	}
	return 0;
}
