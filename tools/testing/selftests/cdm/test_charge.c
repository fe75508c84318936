// SPDX-License-Identifier: GPL-2.0
/*
 * A charge from its start to its end: groups that are removed before their
 * charges end, and pages that are moved, split, swapped, copied or left behind.
 */

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_util.h"

/* Map @pages of the kept file from page @first on, under no policy. */
static struct cdm_reply op_map_keep_ram(struct cdm_buf *buf, long first,
					long pages)
{
	return buf_map_fd(buf, first, pages, cdm_keep_fd, MAP_SHARED);
}

/* The parent takes over the charges of a removed group. */
static void test_rmdir(const char *group)
{
	char *child;

	cdm_enable(group, "+cdm");
	child = cdm_make_group(group, "child");
	cdm_keep_open(200);
	cdm_leave_charged(child, 0, 200);
	CHECK_EQ(cdm_usage(group, cdm_node), 200);
	CHECK_EQ(rmdir(child), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 200);
	CHECK_EQ(cdm_audit(cdm_node, "charged"),
		 cdm_usage(cdm_root, cdm_node));

	/* When these pages are freed, the parent is uncharged. */
	CHECK_EQ(ftruncate(cdm_keep_fd, 50 * cdm_psize), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 50), 50);
	cdm_keep_close();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* The same for a group whose task has left before. */
static void test_rmdir_task(const char *group)
{
	struct cdm_task task;
	char *child, *other;

	cdm_enable(group, "+cdm");
	child = cdm_make_group(group, "child");
	other = cdm_make_group(group, "other");
	task_start_on(&task, child, 100, cdm_node);
	CHECK_EQ(cg_enter(other, task.pid), 0);
	CHECK_EQ(rmdir(child), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	CHECK_EQ(cdm_usage(other, cdm_node), 0);
	CHECK_EQ(task_call(&task, op_count, 0, 100).dev, 100);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* What the parent takes over counts against its limit. */
static void test_rmdir_limit(const char *group)
{
	struct cdm_task task;
	char *child, *other;

	cdm_enable(group, "+cdm");
	child = cdm_make_group(group, "child");
	other = cdm_make_group(group, "other");
	CHECK_EQ(cdm_limit(group, cdm_node, 60), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	cdm_keep_open(40);
	cdm_leave_charged(child, 0, 40);
	CHECK_EQ(rmdir(child), 0);
	task_start(&task, other);
	CHECK_EQ(task_call(&task, op_map, 60, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 60).dev, 20);
	cdm_keep_close();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 20), 20);
	CHECK_EQ(task_call(&task, op_touch, 0, 60).dev, 60);

	task_end(&task);
}

/* A limit below usage also evicts the pages of removed groups. */
static void test_evict_orphans(const char *group)
{
	struct cdm_task reader;
	char *child;

	cdm_enable(group, "+cdm");
	child = cdm_make_group(group, "child");
	cdm_keep_open(100);
	cdm_leave_charged(child, 0, 100);
	CHECK_EQ(rmdir(child), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 30), 0);
	CHECK_LE(cdm_usage(group, cdm_node), 30);
	task_start(&reader, NULL);
	CHECK_EQ(task_call(&reader, op_map_keep, 0, 100).ret, 0);
	CHECK_EQ(task_call(&reader, op_count, 0, 100).bad, 0);
	task_end(&reader);
	cdm_keep_close();
}

/* Pages in RAM of a removed group are charged to its parent when they move. */
static void test_migrate_orphans(const char *group)
{
	struct cdm_task task, mover;
	char *child;

	cdm_enable(group, "+cdm");
	child = cdm_make_group(group, "child");
	cdm_keep_open(100);
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map_keep_ram, 0, 100).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).ram, 100);
	task_end(&task);
	CHECK_EQ(rmdir(child), 0);

	CHECK_EQ(cdm_limit(group, cdm_node, 40), 0);
	task_start(&mover, NULL);
	CHECK_EQ(task_call(&mover, op_map_keep_ram, 0, 100).ret, 0);
	CHECK_EQ(task_call(&mover, op_touch, 0, 100).ram, 100);
	task_call(&mover, op_move, 100, cdm_node);
	CHECK_EQ(task_call(&mover, op_count, 0, 100).dev, 40);
	CHECK_EQ(cdm_usage(group, cdm_node), 40);
	CHECK_EQ(cdm_usage(cdm_root, cdm_node), 40);
	task_end(&mover);
	cdm_keep_close();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

#define DEPTH	6

/* Charges go up a chain of groups that are removed one by one. */
static void test_rmdir_chain(const char *group)
{
	char *chain[DEPTH];
	int i, j;

	for (i = 0; i < DEPTH; i++) {
		cdm_enable(i ? chain[i - 1] : group, "+cdm");
		chain[i] = cdm_make_group(i ? chain[i - 1] : group, "d");
	}
	cdm_keep_open(90);
	cdm_leave_charged(chain[DEPTH - 1], 0, 90);
	for (i = DEPTH - 1; i >= 0; i--) {
		CHECK_EQ(rmdir(chain[i]), 0);
		for (j = 0; j < i; j++)
			CHECK_EQ(cdm_usage(chain[j], cdm_node), 90);
		CHECK_EQ(cdm_usage(group, cdm_node), 90);
	}
	cdm_keep_close();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* The controller is switched off and on below a group with charges. */
static void test_toggle(const char *group)
{
	struct cdm_task task;
	char *child;
	int i;

	cdm_enable(group, "+cdm");
	child = cdm_make_group(group, "child");
	task_start(&task, child);
	CHECK_EQ(task_call(&task, op_map, 300, cdm_node).ret, 0);
	for (i = 0; i < 5; i++) {
		CHECK_EQ(task_call(&task, op_touch, 20 * i, 10).dev, 10);
		CHECK_EQ(cdm_usage(child, cdm_node), 10);
		CHECK_EQ(cdm_enable(group, "-cdm"), 0);
		CHECK_EQ(cdm_bytes(child, "cdm.current", cdm_node), CDM_NONE);
		CHECK_EQ(cdm_usage(group, cdm_node), 20 * i + 10);

		/* The nearest ancestor that has the controller pays. */
		CHECK_EQ(task_call(&task, op_touch, 20 * i + 10, 10).dev, 10);
		CHECK_EQ(cdm_usage(group, cdm_node), 20 * i + 20);
		CHECK_EQ(cdm_enable(group, "+cdm"), 0);
		CHECK_EQ(cdm_usage(child, cdm_node), 0);
	}
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

static struct cdm_reply op_mremap(struct cdm_buf *buf, long a, long b)
{
	char *addr, *place;
	size_t size = buf->pages * cdm_psize;

	(void)a;
	(void)b;
	place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	addr = mremap(buf->addr, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
		      place);
	if (addr == MAP_FAILED)
		return buf_errno(-1);
	buf->addr = addr;
	return buf_errno(0);
}

static void test_mremap(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 80).dev, 80);
	CHECK_EQ(task_call(&task, op_mremap, 0, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 80);
	reply = task_call(&task, op_count, 0, 100);
	CHECK_EQ(reply.dev, 80);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(task_call(&task, op_touch, 80, 20).dev, 20);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	task_end(&task);
}

/*
 * Discard all but one of each @keep of a worker's first @pages. The one is
 * picked at random: compaction looks at every 2^n-th page, and would always
 * meet the same.
 */
static struct cdm_reply op_thin(struct cdm_buf *buf, long pages, long keep)
{
	unsigned int state = 1;
	long i, stays;

	for (i = 0; i + keep <= pages; i += keep) {
		stays = rand_r(&state) % keep;
		if (stays)
			op_discard(buf, i, stays);
		if (stays < keep - 1)
			op_discard(buf, i + stays + 1, keep - stays - 1);
	}
	return buf_errno(0);
}

/*
 * Pages that compaction moves within the node stay charged. Two tasks fill the
 * node and leave holes everywhere, so that compaction has something to do.
 */
static void test_compaction(const char *group)
{
	const long keep = 4;
	long pages = node_meminfo(cdm_node, "MemFree:") * 1024 / cdm_psize;
	long moved = file_key("/proc/vmstat", "pgmigrate_success ");
	struct cdm_task task[2];
	struct cdm_reply reply;
	char path[128], *child[2];
	int i;

	pages = (pages / 2 - 1024) / keep * keep;
	cdm_make_two_groups(group, &child[0], &child[1]);
	for (i = 0; i < 2; i++)
		task_start_on(&task[i], child[i], pages, cdm_node);
	for (i = 0; i < 2; i++)
		task_call(&task[i], op_thin, pages, keep);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/compact",
		 cdm_node);
	CHECK_EQ(file_write(path, "1"), 0);
	CHECK_GT(file_key("/proc/vmstat", "pgmigrate_success "), moved + 999);

	CHECK_EQ(cdm_wait_usage(group, cdm_node, 2 * pages / keep),
		 2 * pages / keep);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(cdm_usage(child[i], cdm_node), pages / keep);
		reply = task_call(&task[i], op_count, 0, pages);
		CHECK_EQ(reply.dev, pages / keep);
		CHECK_EQ(reply.bad, 0);
	}
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "stale"), 0);
	for (i = 0; i < 2; i++)
		task_end(&task[i]);
}

/*
 * A page is not charged while it is swapped out, and is charged again when it
 * comes back, up to the limit. Readahead is off, as it reads into RAM.
 */
static void test_swap(const char *group)
{
	long cluster = file_long("/proc/sys/vm/page-cluster");
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(file_write("/proc/sys/vm/page-cluster", "0"), 0);
	cdm_set_zswap(true);

	task_start_on(&task, group, 200, cdm_node);
	/* A page in the batch of another CPU cannot be isolated. */
	cdm_drain_lru();
	CHECK_EQ(task_call(&task, op_pageout, 0, 200).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);

	CHECK_EQ(task_call(&task, op_touch, 0, 200).ok, 200);
	reply = task_call(&task, op_count, 0, 200);
	CHECK_EQ(reply.dev, 200);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 200);

	cdm_drain_lru();
	CHECK_EQ(task_call(&task, op_pageout, 0, 200).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 50), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 200).ok, 200);
	reply = task_call(&task, op_count, 0, 200);
	CHECK_EQ(reply.dev, 50);
	CHECK_EQ(reply.ram, 150);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 50);
	task_end(&task);
	CHECK_EQ(file_write("/proc/sys/vm/page-cluster", "%ld", cluster), 0);
	cdm_set_zswap(false);
}

/* After a split only the base pages that are left are charged. */
static void test_split(const char *group)
{
	struct cdm_task task;
	long half = cdm_hpages / 2, addr, i;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_huge, 2 * cdm_hpages, cdm_node).ret,
		 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 2 * cdm_hpages).dev,
		 2 * cdm_hpages);
	CHECK_EQ(cdm_usage(group, cdm_node), 2 * cdm_hpages);

	/* Unmapped in half, the huge page is whole until it is split. */
	CHECK_EQ(task_call(&task, op_discard, 0, half).ret, 0);
	addr = task_call(&task, op_address, 0, 0).ret;
	CHECK_EQ(file_write("/sys/kernel/debug/split_huge_pages",
			    "%d,0x%lx,0x%lx", task.pid, addr,
			    addr + 2 * cdm_hpages * cdm_psize), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 2 * cdm_hpages - half),
		 2 * cdm_hpages - half);
	CHECK_EQ(task_call(&task, op_count, 0, 2 * cdm_hpages).bad, 0);

	/* Unmap every other page of the second one. */
	for (i = cdm_hpages; i < 2 * cdm_hpages; i += 2)
		task_call(&task, op_discard, i, 1);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, cdm_hpages), cdm_hpages);
	CHECK_EQ(task_call(&task, op_count, 0, 2 * cdm_hpages).bad, 0);
	task_end(&task);
}

/* A collapse leaves the books balanced, wherever its huge page is from. */
static void test_collapse(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_huge, cdm_hpages, cdm_node).ret, 0);
	/* Base pages: the limit has no room for a huge page. */
	CHECK_EQ(cdm_limit(group, cdm_node, cdm_hpages - 1), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, cdm_hpages - 1).dev,
		 cdm_hpages - 1);
	CHECK_EQ(cdm_limit(group, cdm_node, 2 * cdm_hpages), 0);
	task_call(&task, op_collapse, 0, cdm_hpages);
	reply = task_call(&task, op_count, 0, cdm_hpages);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, reply.dev), reply.dev);
	reply = task_call(&task, op_count, 0, cdm_hpages - 1);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(reply.dev + reply.ram, cdm_hpages - 1);
	task_end(&task);
}

static struct cdm_reply op_hugetlb(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = {
		.ok = cdm_set_pool(node, cdm_hpages * cdm_psize / 1024, pages),
	};

	(void)buf;
	return reply;
}

/* A node's pool is charged to the root, whichever task asks for it. */
static void test_hugetlb(const char *group)
{
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(cdm_limit(group, cdm_node, 1), 0);
	CHECK_EQ(task_call(&task, op_hugetlb, 3, cdm_node).ok, 3);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(task_call(&task, op_hugetlb, 0, cdm_node).ok, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_end(&task);
}

static struct cdm_reply op_exec(struct cdm_buf *buf, long in, long b)
{
	(void)buf;
	(void)b;
	dup2(in, STDIN_FILENO);
	execlp("cat", "cat", (char *)NULL);
	return buf_errno(-1);
}

/* exec() frees the old memory, long before the process ends. */
static void test_exec(const char *group)
{
	struct cdm_task task;
	int fds[2];

	CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
	task_start_on(&task, group, 100, cdm_node);
	task_send(&task, op_exec, fds[0], 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	CHECK_EQ(kill(task.pid, 0), 0);
	task_kill(&task);
	close(fds[0]);
	close(fds[1]);
}

/*
 * Two processes in different groups share an mm: the group of its owner pays
 * for what a CLONE_VM child, or a thread, faults in.
 */
static int child_write(void *arg)
{
	struct cdm_buf *buf = arg;

	buf->pages = buf_touch(buf, 50, 50).ok;
	return 0;
}

static const char *clone_group;

static int clone_main(void *arg)
{
	if (cg_enter_current(clone_group))
		return 1;
	return child_write(arg);
}

static struct cdm_reply op_clone_vm(struct cdm_buf *buf, long a, long b)
{
	struct cdm_buf shared = *buf;
	char *stack = malloc(1 << 16);
	int status;
	pid_t pid;

	(void)a;
	(void)b;
	signal(SIGCHLD, SIG_DFL);
	pid = clone(clone_main, stack + (1 << 16), CLONE_VM | SIGCHLD, &shared);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return buf_errno(-1);
	free(stack);
	signal(SIGCHLD, SIG_IGN);
	return buf_errno(shared.pages);
}

static void test_shared_mm(const char *group)
{
	struct cdm_task task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	clone_group = b;
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 50).dev, 50);
	CHECK_EQ(task_call(&task, op_clone_vm, 0, 0).ret, 50);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
}

/* Pages that userfaultfd fills in are charged like those of a fault. */
static struct cdm_reply op_uffd(struct cdm_buf *buf, long pages, long b)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { (unsigned long)buf->addr, pages * cdm_psize },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	char *source = calloc(1, cdm_psize);
	struct cdm_reply reply = { 0 };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	long i;

	(void)b;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &range))
		return buf_errno(-1);
	for (i = 0; i < pages; i++) {
		struct uffdio_copy copy = {
			.dst = (unsigned long)buf->addr + i * cdm_psize,
			.src = (unsigned long)source,
			.len = cdm_psize,
		};

		if (!ioctl(fd, UFFDIO_COPY, &copy))
			reply.ok++;
		else
			reply.code = errno;
	}
	close(fd);
	return reply;
}

static void test_uffd(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 60, cdm_node).ret, 0);
	reply = task_call(&task, op_uffd, 60, 0);
	CHECK_EQ(reply.ok, 60);
	CHECK_EQ(task_call(&task, op_count, 0, 60).dev, 60);
	CHECK_EQ(cdm_usage(group, cdm_node), 60);

	CHECK_EQ(cdm_limit(group, cdm_node, 75), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	CHECK_EQ(task_call(&task, op_map, 30, cdm_node).ret, 0);
	/* These pages have contents, and are refused under no policy. */
	reply = task_call(&task, op_uffd, 30, 0);
	CHECK_EQ(reply.ok, 30);
	CHECK_EQ(task_call(&task, op_count, 0, 30).dev, 15);
	CHECK_EQ(cdm_usage(group, cdm_node), 75);
	CHECK_EQ(cdm_event(group, "fail"), 0);
	CHECK_EQ(cdm_event(group, "fallback"), 15);
	task_end(&task);
}

int main(void)
{
	cdm_init(16);
	cdm_case("rmdir gives charges to the parent", test_rmdir);
	cdm_case("rmdir of a group whose task has left", test_rmdir_task);
	cdm_case("charges taken over count against the limit",
		 test_rmdir_limit);
	cdm_case("charges taken over can be evicted", test_evict_orphans);
	cdm_case("a removed group's pages move at the parent's cost",
		 test_migrate_orphans);
	cdm_case("rmdir up a chain of groups", test_rmdir_chain);
	cdm_case("controller off and on with live charges", test_toggle);
	cdm_case("mremap keeps charges", test_mremap);
	cdm_case("compaction keeps charges", test_compaction);
	cdm_case("swap out and in", test_swap);
	cdm_case("split of huge pages", test_split);
	cdm_case("collapse into a huge page", test_collapse);
	cdm_case("hugetlb pool of the node", test_hugetlb);
	cdm_case("exec returns everything", test_exec);
	cdm_case("shared memory of processes is the owner's", test_shared_mm);
	cdm_case("userfaultfd charges the owner", test_uffd);
	cdm_exit();
}
