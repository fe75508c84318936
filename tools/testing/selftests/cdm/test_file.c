// SPDX-License-Identifier: GPL-2.0
/*
 * Files on the device: shared memory and tmpfs, whose policy is the file's and
 * holds for all tasks that map it. The task that brings a page in pays for it,
 * and the charge ends when the page leaves the file. The page cache of a disk
 * is RAM's whatever a task's policy says, and is moved there on request alone.
 */

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_util.h"

/* The case's file, which the workers inherit. */
static int shared_fd = -1;

static void open_shared(long pages)
{
	shared_fd = cdm_memfd(pages);
	CHECK_GE(shared_fd, 0);
}

static struct cdm_reply op_map_shared(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	return buf_map_fd(buf, 0, pages, shared_fd, MAP_SHARED);
}

/* Punch a hole, from outside of the groups. */
static void punch(long first, long nr)
{
	CHECK_EQ(fallocate(shared_fd, FALLOC_FL_PUNCH_HOLE |
			   FALLOC_FL_KEEP_SIZE, first * cdm_psize,
			   nr * cdm_psize), 0);
}

/*
 * The policy that one task sets is the file's: the other task, which has none,
 * gets device memory as well, and pays for it, up to its own limit.
 */
static void test_shared_policy(const char *group)
{
	struct cdm_task first, second;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(b, cdm_node, 35), 0);
	open_shared(100);
	task_start(&first, a);
	task_start(&second, b);
	CHECK_EQ(task_call(&first, op_map_shared, 100, 0).ret, 0);
	CHECK_EQ(task_call(&second, op_map_shared, 100, 0).ret, 0);
	CHECK_EQ(task_call(&first, op_bind, cdm_node, 0).ret, 0);

	CHECK_EQ(task_call(&first, op_touch, 0, 20).dev, 20);
	reply = task_call(&second, op_touch, 0, 60);
	CHECK_EQ(reply.dev, 55);
	CHECK_EQ(reply.ram, 5);
	CHECK_EQ(cdm_usage(a, cdm_node), 20);
	CHECK_EQ(cdm_usage(b, cdm_node), 35);
	/* A task that maps a page later pays nothing. */
	CHECK_EQ(task_call(&first, op_touch, 0, 60).dev, 55);
	CHECK_EQ(cdm_usage(a, cdm_node), 20);
	CHECK_EQ(cdm_usage(b, cdm_node), 35);

	/* Each hole ends the charges of the pages that were in it. */
	punch(10, 20);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 10), 10);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 25), 25);
	CHECK_EQ(task_call(&first, op_touch, 10, 20).dev, 20);
	CHECK_EQ(cdm_usage(a, cdm_node), 30);
	CHECK_EQ(cdm_usage(b, cdm_node), 25);

	/* The file outlives its mappings, and so do its charges. */
	CHECK_EQ(task_call(&second, op_unmap, 0, 100).ret, 0);
	task_end(&first);
	CHECK_EQ(cdm_usage(a, cdm_node), 30);
	CHECK_EQ(cdm_usage(b, cdm_node), 25);
	CHECK_EQ(ftruncate(shared_fd, 15 * cdm_psize), 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 15), 15);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	CHECK_EQ(ftruncate(shared_fd, 0), 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	task_end(&second);
	close(shared_fd);
}

/*
 * A private mapping of the file: the policy of the mapping also applies to
 * copies, which the writer pays for.
 */
static struct cdm_reply op_map_private(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	return buf_map_fd(buf, 0, pages, shared_fd, MAP_PRIVATE);
}

static void test_private(const char *group)
{
	struct cdm_task first, second;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	open_shared(50);
	task_start(&first, a);
	task_start(&second, b);
	CHECK_EQ(task_call(&first, op_map_shared, 50, 0).ret, 0);
	CHECK_EQ(task_call(&first, op_bind, cdm_node, 0).ret, 0);
	CHECK_EQ(task_call(&first, op_touch, 0, 50).dev, 50);
	CHECK_EQ(cdm_limit(b, cdm_node, 30), 0);
	CHECK_EQ(task_call(&second, op_map_private, 50, 0).ret, 0);
	CHECK_EQ(task_call(&second, op_verify, 0, 50).bad, 0);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(task_call(&second, op_touch, 0, 20).dev, 20);
	CHECK_EQ(cdm_usage(b, cdm_node), 20);
	CHECK_EQ(task_call(&second, op_touch, 20, 15).dev, 10);
	CHECK_EQ(cdm_usage(b, cdm_node), 30);
	CHECK_EQ(cdm_usage(a, cdm_node), 50);
	task_end(&second);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 50);
	CHECK_EQ(ftruncate(shared_fd, 0), 0);
	task_end(&first);
	close(shared_fd);
}

/* System V shared memory keeps policy and pages while it is not attached. */
static int shm_id = -1;

static struct cdm_reply op_attach(struct cdm_buf *buf, long pages, long node)
{
	buf->pages = pages;
	buf->addr = shmat(shm_id, NULL, 0);
	if (buf->addr == (void *)-1)
		return buf_errno(-1);
	return node < 0 ? buf_errno(0) : op_bind(buf, node, 0);
}

static void test_sysv(const char *group)
{
	struct cdm_task first, second;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	shm_id = shmget(IPC_PRIVATE, 60 * cdm_psize, IPC_CREAT | 0600);
	CHECK_GE(shm_id, 0);
	task_start(&first, a);
	CHECK_EQ(task_call(&first, op_attach, 60, cdm_node).ret, 0);
	CHECK_EQ(task_call(&first, op_touch, 0, 25).dev, 25);
	task_end(&first);
	CHECK_EQ(cdm_usage(a, cdm_node), 25);
	task_start(&second, b);
	CHECK_EQ(task_call(&second, op_attach, 60, -1).ret, 0);
	CHECK_EQ(task_call(&second, op_verify, 0, 25).bad, 0);
	CHECK_EQ(task_call(&second, op_touch, 20, 40).dev, 40);
	CHECK_EQ(cdm_usage(a, cdm_node), 25);
	CHECK_EQ(cdm_usage(b, cdm_node), 35);
	task_end(&second);
	CHECK_EQ(cdm_usage(b, cdm_node), 35);
	CHECK_EQ(shmctl(shm_id, IPC_RMID, NULL), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* A tmpfs whose files are on the device. */
static bool mount_tmpfs(const char *options)
{
	char all[128];

	if (mkdir("tmpfs", 0700) && errno != EEXIST)
		return false;
	snprintf(all, sizeof(all), "mpol=bind:%d%s", cdm_node, options);
	return !mount("cdm", "tmpfs", "tmpfs", 0, all);
}

static void unmount_tmpfs(void)
{
	CHECK_EQ(umount("tmpfs"), 0);
	CHECK_EQ(rmdir("tmpfs"), 0);
}

static struct cdm_reply op_write_file(struct cdm_buf *buf, long pages, long at)
{
	int fd = open("tmpfs/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *data = calloc(1, cdm_psize);
	struct cdm_reply reply = { 0 };

	(void)buf;
	while (reply.ok < pages &&
	       pwrite(fd, data, cdm_psize, (at + reply.ok) * cdm_psize) ==
	       cdm_psize)
		reply.ok++;
	if (reply.ok < pages)
		reply.ret = -errno;
	close(fd);
	free(data);
	return reply;
}

static void test_tmpfs(const char *group)
{
	struct cdm_task first, second;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(mount_tmpfs(""), true);
	CHECK_EQ(cdm_limit(b, cdm_node, 10), 0);
	CHECK_EQ(cdm_write(b, "cdm.policy", "fail"), 0);
	task_start(&first, a);
	task_start(&second, b);
	CHECK_EQ(task_call(&first, op_write_file, 50, 0).ok, 50);
	CHECK_EQ(cdm_usage(a, cdm_node), 50);
	/* Overwrite what is there, and go on to the last page of the quota. */
	reply = task_call(&second, op_write_file, 50, 30);
	CHECK_EQ(reply.ok, 30);
	CHECK_EQ(reply.ret, -ENOMEM);
	CHECK_EQ(cdm_usage(a, cdm_node), 50);
	CHECK_EQ(cdm_usage(b, cdm_node), 10);
	CHECK_EQ(truncate("tmpfs/file", 55 * cdm_psize), 0);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 5), 5);
	task_end(&first);
	task_end(&second);
	CHECK_EQ(cdm_usage(a, cdm_node), 50);
	CHECK_EQ(unlink("tmpfs/file"), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	unmount_tmpfs();
}

/* A huge page of a file that is truncated in the middle is split. */
static void test_tmpfs_huge(const char *group)
{
	long pages = 2 * cdm_hpages, left = cdm_hpages + 100;
	struct cdm_task task;

	CHECK_EQ(mount_tmpfs(",huge=always"), true);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_write_file, pages, 0).ok, pages);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
	CHECK_GE(node_meminfo(cdm_node, "ShmemHugePages:"),
		 pages * cdm_psize / 1024);
	CHECK_EQ(truncate("tmpfs/file", left * cdm_psize), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, left), left);
	task_end(&task);
	CHECK_EQ(unlink("tmpfs/file"), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	unmount_tmpfs();
}

/* Reads, faults and writes of a file on a disk under @mode for the device. */
static struct cdm_reply op_use_file(struct cdm_buf *buf, long pages, long mode)
{
	char *data = calloc(1, cdm_psize), *addr;
	struct cdm_reply reply = { 0 };
	long i;

	/* The buffer itself is not to come under the policy. */
	memset(data, 1, cdm_psize);
	if (sys_set_mempolicy(mode, 1UL << cdm_node))
		return buf_errno(-1);
	/* A third is read, a third comes by faults, and a third is written. */
	for (i = 0; i < pages / 3; i++)
		if (pread(buf->fd, data, cdm_psize, i * cdm_psize) == cdm_psize)
			reply.ok++;
	addr = mmap(NULL, pages * cdm_psize, PROT_READ | PROT_WRITE, MAP_SHARED,
		    buf->fd, 0);
	for (; i < 2 * (pages / 3); i++, reply.ok++)
		__atomic_fetch_add(addr + i * cdm_psize + 64, 1,
				   __ATOMIC_RELAXED);
	munmap(addr, pages * cdm_psize);
	for (; i < pages; i++)
		if (pwrite(buf->fd, data, cdm_psize, i * cdm_psize) ==
		    cdm_psize)
			reply.ok++;
	if (reply.ok < pages)
		reply.ret = -errno;
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	free(data);
	return reply;
}

/*
 * Page cache of a disk is RAM's under every policy of the task, and with every
 * word in cdm.policy: nothing is charged, refused or counted.
 */
static void test_page_cache(const char *group)
{
	static const int modes[] = {
		MPOL_BIND, MPOL_PREFERRED, MPOL_PREFERRED_MANY, MPOL_INTERLEAVE,
	};
	static const char * const words[] = { "fallback", "reclaim,fail" };
	struct cdm_reply reply;
	struct cdm_task task;
	size_t i;

	CHECK_EQ(cdm_limit(group, cdm_node, 40), 0);
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		cdm_policy(group, words[i % 2]);
		task_start(&task, group);
		CHECK_EQ(task_call(&task, op_make_file, 120, 0).ok, 120);
		cdm_empty_cache();
		reply = task_call(&task, op_use_file, 120, modes[i]);
		CHECK_EQ(reply.ok, 120);
		CHECK_EQ(reply.ret, 0);
		reply = task_call(&task, op_where_file, 120, 0);
		CHECK_EQ(reply.ram, 120);
		CHECK_EQ(reply.dev, 0);
		CHECK_EQ(cdm_usage(group, cdm_node), 0);
		cdm_check_root(0);
		task_end(&task);
		unlink(CDM_CACHED);
		cdm_empty_cache();
	}
	CHECK_EQ(cdm_event(group, "max"), 0);
	CHECK_EQ(cdm_event(group, "fail"), 0);
	CHECK_EQ(cdm_event(group, "fallback"), 0);
}

/* What a program maps of it can be moved to the device, and is charged. */
static void test_page_cache_moved(const char *group)
{
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_make_file, 100, 0).ok, 100);
	CHECK_EQ(task_call(&task, op_move_file, 100, 0).ok, 100);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	CHECK_EQ(task_call(&task, op_where_file, 100, 0).dev, 100);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	cdm_check_root(100);
	/* The charge ends when pages are evicted to RAM, or dropped. */
	CHECK_EQ(cdm_limit(group, cdm_node, 30), 0);
	/* A folio of many pages goes as a whole. */
	CHECK_LE(cdm_usage(group, cdm_node), 30);
	CHECK_EQ(task_call(&task, op_where_file, 100, 0).dev,
		 cdm_usage(group, cdm_node));
	task_end(&task);
	unlink(CDM_CACHED);
	cdm_empty_cache();
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* Map the file of the tmpfs without a memory policy. */
static struct cdm_reply op_map_tmpfs(struct cdm_buf *buf, long pages, long b)
{
	int fd = open("tmpfs/mapped", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct cdm_reply reply;

	(void)b;
	if (fd < 0 || ftruncate(fd, pages * cdm_psize))
		return buf_errno(-1);
	reply = buf_map_fd(buf, 0, pages, fd, MAP_SHARED);
	close(fd);
	return reply;
}

/*
 * The mount's memory policy, or that of another mapping, is somebody else's: a
 * fault that it has no room for gets RAM. Who binds the same memory himself is
 * refused.
 */
static void test_not_his(const char *group)
{
	struct cdm_task task, other;
	struct cdm_reply reply;

	CHECK_EQ(mount_tmpfs(""), true);
	cdm_policy(group, "fail");
	CHECK_EQ(cdm_limit(group, cdm_node, 10), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_tmpfs, 50, 0).ret, 0);
	reply = task_call(&task, op_touch, 0, 30);
	CHECK_EQ(reply.bus, 0);
	CHECK_EQ(reply.dev, 10);
	CHECK_EQ(reply.ram, 20);
	CHECK_EQ(cdm_event(group, "fail"), 0);
	CHECK_EQ(cdm_event(group, "fallback"), 20);

	task_start(&other, group);
	CHECK_EQ(task_call(&other, op_map_tmpfs, 50, 0).ret, 0);
	CHECK_EQ(task_call(&other, op_bind, cdm_node, 0).ret, 0);
	CHECK_EQ(task_call(&other, op_touch, 30, 10).bus, 10);
	CHECK_EQ(cdm_event(group, "fail"), 10);
	/* That is the file's policy from now on, and still not the first's. */
	CHECK_EQ(task_call(&task, op_touch, 40, 10).ram, 10);
	CHECK_EQ(cdm_event(group, "fail"), 10);
	task_end(&task);
	task_end(&other);
	CHECK_EQ(unlink("tmpfs/mapped"), 0);
	unmount_tmpfs();
}

#define PROGRAM	"program"

/* Run a program whose text is read under the task's policy. */
static struct cdm_reply op_run_bound(struct cdm_buf *buf, long a, long b)
{
	struct cdm_reply reply = { 0 };
	int status = -1;
	pid_t pid;

	(void)buf;
	(void)a;
	(void)b;
	/* A worker leaves its children to the kernel. */
	signal(SIGCHLD, SIG_DFL);
	pid = fork();
	if (!pid) {
		sys_set_mempolicy(MPOL_PREFERRED, 1UL << cdm_node);
		execl(PROGRAM, PROGRAM, "exit", (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	reply.ret = status;
	return reply;
}

/* Nothing of it is on the device when the program has ended. */
static void test_program(const char *group)
{
	struct cdm_task task;

	/* A copy of this one, of which nothing is in memory. */
	CHECK_EQ(system("cp /proc/$PPID/exe " PROGRAM), 0);
	cdm_empty_cache();
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_run_bound, 0, 0).ret, 0);
	/* Its heap and stack were. */
	CHECK_GT(cdm_bytes(group, "cdm.peak", cdm_node), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	cdm_check_root(0);
	task_end(&task);
	unlink(PROGRAM);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return 0;
	cdm_init(9);
	cdm_case("a policy that is the file's: the first writer pays",
		 test_shared_policy);
	cdm_case("private mappings of a file", test_private);
	cdm_case("System V shared memory", test_sysv);
	cdm_case("tmpfs with a policy", test_tmpfs);
	cdm_case("what others bound is not refused", test_not_his);
	cdm_case("huge pages of tmpfs, truncated in the middle",
		 test_tmpfs_huge);
	cdm_case("page cache of a disk is RAM's", test_page_cache);
	cdm_case("page cache of a disk that is moved", test_page_cache_moved);
	cdm_case("a program under a policy leaves nothing", test_program);
	cdm_exit();
}
