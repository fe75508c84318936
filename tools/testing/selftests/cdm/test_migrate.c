// SPDX-License-Identifier: GPL-2.0
/*
 * Migration to a CDM node and from it: the owner of the page is charged,
 * whichever task asks for the move, and moves stop at the owner's limit.
 */

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

/* What move_pages() returned, and where the pages are afterwards. */
struct moved {
	long ret;		/* pages not moved, or an error */
	long there;		/* on the node that was asked for */
	long elsewhere;		/* on another node */
	long else_;		/* nowhere */
	int status;		/* of the last of these */
};

/*
 * Move @nr pages of @task, each @stride-th of its buffer, from the test itself.
 * A huge page must be named only once.
 */
static struct moved move_pages_of(struct cdm_task *task, long nr, long stride,
				  int node, int flags)
{
	long addr = task_call(task, op_address, 0, 0).ret;
	int *status = calloc(nr, sizeof(*status));
	int *nodes = calloc(nr, sizeof(*nodes));
	void **pages = calloc(nr, sizeof(*pages));
	struct moved moved = { 0 };
	long i;

	for (i = 0; i < nr; i++) {
		pages[i] = (void *)(addr + i * stride * cdm_psize);
		nodes[i] = node;
		status[i] = INT_MIN;
	}
	moved.ret = sys_move_pages(task->pid, nr, pages, nodes, status, flags);
	if (moved.ret < 0)
		moved.ret = -errno;
	/* When a page did not move, the call has not stored any status. */
	CHECK_EQ(sys_move_pages(task->pid, nr, pages, NULL, status, 0), 0);
	for (i = 0; i < nr; i++) {
		if (status[i] == node) {
			moved.there++;
		} else if (status[i] >= 0) {
			moved.elsewhere++;
		} else {
			moved.else_++;
			moved.status = status[i];
		}
	}
	free(status);
	free(nodes);
	free(pages);
	return moved;
}

static void check_moved(const struct moved *moved, long there, long elsewhere)
{
	CHECK_EQ(moved->there, there);
	CHECK_EQ(moved->elsewhere, elsewhere);
	CHECK_EQ(moved->else_, 0);
	if (moved->else_)
		CHECK_EQ(moved->status, 0);
	CHECK_EQ(moved->ret, elsewhere);
}

/* A process moves its own pages to the device and back. */
static void test_move_own(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start_on(&task, group, 300, -1);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	reply = task_call(&task, op_move, 200, cdm_node);
	CHECK_EQ(reply.ret, 0);
	CHECK_EQ(reply.ok, 200);
	task_check_at(&task, 300, 200, 100);
	CHECK_EQ(cdm_usage(group, cdm_node), 200);

	/* A second time changes nothing. */
	CHECK_EQ(task_call(&task, op_move, 200, cdm_node).ok, 200);
	CHECK_EQ(cdm_usage(group, cdm_node), 200);

	reply = task_call(&task, op_move, 150, cdm_ram_node);
	CHECK_EQ(reply.ret, 0);
	CHECK_EQ(reply.ok, 150);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 50), 50);
	task_check_at(&task, 300, 50, 250);
	task_end(&task);
}

/* The limit holds whatever the policy for faults; the rest stays in RAM. */
static void test_move_limit(const char *group, const void *policy)
{
	struct cdm_reply reply;
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.policy", "%s", (const char *)policy),
		 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 77), 0);
	task_start_on(&task, group, 200, -1);
	reply = task_call(&task, op_move, 200, cdm_node);
	CHECK_EQ(reply.ok, 77);
	CHECK_EQ(reply.bus, 123);
	CHECK_EQ(reply.ret, 123);
	task_check_at(&task, 200, 77, 123);
	CHECK_EQ(cdm_usage(group, cdm_node), 77);
	CHECK_GE(cdm_item(group, "cdm.events.local", cdm_node, "max"), 123);

	/* With a limit of 0 no page moves. */
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	task_check_at(&task, 200, 0, 200);
	reply = task_call(&task, op_move, 200, cdm_node);
	CHECK_EQ(reply.ok, 0);
	CHECK_EQ(reply.bus, 200);
	CHECK_EQ(reply.ret, 200);
	task_check_at(&task, 200, 0, 200);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_end(&task);
}

/*
 * The mover pays nothing, even when its limit has room and the owner's has not.
 */
static void test_move_other(const char *group)
{
	struct cdm_task task;
	struct moved moved;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(a, cdm_node, 60), 0);
	CHECK_EQ(cdm_limit(b, cdm_node, 5), 0);
	task_start_on(&task, a, 100, -1);
	CHECK_EQ(cg_enter_current(b), 0);
	moved = move_pages_of(&task, 100, 1, cdm_node, MPOL_MF_MOVE);
	check_moved(&moved, 60, 40);
	CHECK_EQ(cdm_usage(a, cdm_node), 60);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	task_check_at(&task, 100, 60, 40);

	moved = move_pages_of(&task, 100, 1, cdm_ram_node, MPOL_MF_MOVE);
	check_moved(&moved, 100, 0);
	CHECK_EQ(cg_enter_current(cdm_root), 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	task_end(&task);
}

/*
 * Pages of two owners in one call: a child in b shares the even pages with its
 * parent in a, and has odd ones of its own. When the limit of one owner is
 * full, the call goes on with the pages of the other.
 */
static void move_two_owners(const char *a, const char *b, long limit_a,
			    long limit_b)
{
	struct cdm_task parent, child;
	struct moved moved;
	long i;

	CHECK_EQ(cdm_limit(a, cdm_node, limit_a), 0);
	CHECK_EQ(cdm_limit(b, cdm_node, limit_b), 0);
	task_start_on(&parent, a, 100, -1);
	CHECK_EQ(task_fork(&parent, &child), 0);
	CHECK_EQ(cg_enter(b, child.pid), 0);
	for (i = 1; i < 100; i += 2)
		CHECK_EQ(task_call(&child, op_touch, i, 1).ram, 1);

	moved = move_pages_of(&child, 100, 1, cdm_node, MPOL_MF_MOVE_ALL);
	check_moved(&moved, limit_a + limit_b, 100 - limit_a - limit_b);
	CHECK_EQ(cdm_usage(a, cdm_node), limit_a);
	CHECK_EQ(cdm_usage(b, cdm_node), limit_b);
	task_check_at(&child, 100, limit_a + limit_b,
		      100 - limit_a - limit_b);
	task_end(&child);
	task_end(&parent);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
}

static void test_move_two_owners(const char *group)
{
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	move_two_owners(a, b, 0, 50);
	move_two_owners(a, b, 50, 0);
	move_two_owners(a, b, 7, 31);
}

/* mbind() with MPOL_MF_MOVE moves the pages that are there already. */
static void test_mbind_move(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, 120, -1);
	CHECK_EQ(task_call(&task, op_bind, cdm_node, MPOL_MF_MOVE).ret, 0);
	task_check_at(&task, 120, 120, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 120);
	CHECK_EQ(task_call(&task, op_bind, cdm_ram_node, MPOL_MF_MOVE).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_check_at(&task, 120, 0, 120);
	task_end(&task);
}

static void test_mbind_move_limit(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_limit(group, cdm_node, 33), 0);
	task_start_on(&task, group, 120, -1);
	task_call(&task, op_bind, cdm_node, MPOL_MF_MOVE);
	task_check_at(&task, 120, 33, 87);
	CHECK_EQ(cdm_usage(group, cdm_node), 33);

	/* With MPOL_MF_STRICT the call fails. */
	CHECK_LT(task_call(&task, op_bind, cdm_node,
			   MPOL_MF_MOVE | MPOL_MF_STRICT).ret, 0);
	task_check_at(&task, 120, 33, 87);
	CHECK_EQ(cdm_usage(group, cdm_node), 33);
	task_end(&task);
}

/* A file in memory that two workers map; the first writer owns its pages. */
static int shared_fd = -1;

static struct cdm_reply op_map_shared(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	return buf_map_fd(buf, 0, pages, shared_fd, MAP_SHARED);
}

static struct cdm_reply op_read_in(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { 0 };
	long i;

	for (i = first; i < first + nr; i++)
		reply.ret += *(const char *)(buf->addr + i * cdm_psize) != 0;
	return reply;
}

static void open_shared(long pages)
{
	shared_fd = cdm_memfd(pages);
	CHECK_GE(shared_fd, 0);
}

/* mbind(MPOL_MF_MOVE_ALL) by a task that also maps the owner's pages. */
static void test_mbind_move_all(const char *group)
{
	struct cdm_task owner, mover;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	open_shared(100);
	CHECK_EQ(cdm_limit(a, cdm_node, 44), 0);
	task_start(&owner, a);
	task_start(&mover, b);
	CHECK_EQ(task_call(&owner, op_map_shared, 100, 0).ret, 0);
	CHECK_EQ(task_call(&owner, op_touch, 0, 100).ram, 100);
	CHECK_EQ(task_call(&mover, op_map_shared, 100, 0).ret, 0);
	CHECK_EQ(task_call(&mover, op_read_in, 0, 100).ret > 0, true);

	task_call(&mover, op_bind, cdm_node, MPOL_MF_MOVE_ALL);
	task_check_at(&owner, 100, 44, 56);
	CHECK_EQ(cdm_usage(a, cdm_node), 44);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	task_call(&mover, op_bind, cdm_ram_node, MPOL_MF_MOVE_ALL);
	task_check_at(&owner, 100, 0, 100);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	task_end(&owner);
	task_end(&mover);
	close(shared_fd);
}

/* migrate_pages() of another process: its own pages are charged to it. */
static void test_migrate_pages(const char *group)
{
	struct cdm_task task;
	unsigned long ram = 0, dev = 1UL << cdm_node;
	int nodes[CDM_MAX_NODES], nr, i;
	long others;

	nr = node_list("/sys/devices/system/node/has_cpu", nodes,
		       CDM_MAX_NODES);
	for (i = 0; i < nr; i++)
		ram |= 1UL << nodes[i];
	CHECK_EQ(cdm_limit(group, cdm_node, 90), 0);
	task_start_on(&task, group, 300, -1);

	CHECK_GE(sys_migrate_pages(task.pid, ram, dev), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 90);
	CHECK_LE(task_call(&task, op_count, 0, 300).dev, 90);
	CHECK_EQ(task_call(&task, op_count, 0, 300).bad, 0);
	/* Pages that it shares with others, such as libraries, are theirs. */
	others = cdm_usage(cdm_root, cdm_node) - 90;
	CHECK_GE(others, 0);

	CHECK_EQ(sys_migrate_pages(task.pid, dev, ram), 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_check_at(&task, 300, 0, 300);

	/* Without a limit all pages go. */
	CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);
	CHECK_GE(sys_migrate_pages(task.pid, ram, dev), 0);
	task_check_at(&task, 300, 300, 0);
	CHECK_GE(cdm_usage(group, cdm_node), 300);
	CHECK_EQ(sys_migrate_pages(task.pid, dev, ram), 0);
	task_check_at(&task, 300, 0, 300);
	task_end(&task);
}

static void start_huge_in_ram(struct cdm_task *task, const char *group,
			      long pages)
{
	task_start(task, group);
	CHECK_EQ(task_call(task, op_map_huge, pages, -1).ret, 0);
	CHECK_EQ(task_call(task, op_touch, 0, pages).ram, pages);
}

/* A huge page moves as a whole, or split and up to the limit. */
static void test_move_huge(const char *group)
{
	long pages = 3 * cdm_hpages, dev;
	struct cdm_task task;
	struct moved moved;

	start_huge_in_ram(&task, group, pages);
	moved = move_pages_of(&task, 3, cdm_hpages, cdm_node, MPOL_MF_MOVE);
	check_moved(&moved, 3, 0);
	task_check_at(&task, pages, pages, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
	moved = move_pages_of(&task, 3, cdm_hpages, cdm_ram_node, MPOL_MF_MOVE);
	check_moved(&moved, 3, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_check_at(&task, pages, 0, pages);

	CHECK_EQ(cdm_limit(group, cdm_node, 2 * cdm_hpages - 1), 0);
	moved = move_pages_of(&task, 3, cdm_hpages, cdm_node, MPOL_MF_MOVE);
	CHECK_GE(moved.there, 1);
	CHECK_GE(moved.elsewhere, 1);
	CHECK_GE(moved.ret, 1);
	dev = cdm_usage(group, cdm_node);
	CHECK_LE(dev, 2 * cdm_hpages - 1);
	CHECK_GE(dev, cdm_hpages);
	task_check_at(&task, pages, dev, pages - dev);
	task_end(&task);
}

/* Between two CDM nodes the charge moves with the page. */
static void test_between(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;
	int other;

	if (cdm_other_node() < 0)
		CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	other = cdm_other_node();
	if (!CHECK_GE(other, 0))
		return;
	CHECK_EQ(cdm_limit(group, other, 70), 0);
	task_start_on(&task, group, 100, cdm_node);
	reply = task_call(&task, op_move, 100, other);
	CHECK_EQ(reply.ok, 70);
	CHECK_EQ(reply.bus, 30);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 30), 30);
	CHECK_EQ(cdm_usage(group, other), 70);
	reply = task_call(&task, op_count, 0, 100);
	CHECK_EQ(reply.dev, 30);
	CHECK_EQ(reply.other, 70);
	CHECK_EQ(reply.bad, 0);

	CHECK_EQ(task_call(&task, op_move, 100, cdm_node).ok, 100);
	CHECK_EQ(cdm_wait_usage(group, other, 0), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	task_end(&task);
}

/* Write a file under a policy for the device. */
static struct cdm_reply op_write_file(struct cdm_buf *buf, long pages, long b)
{
	struct cdm_reply reply = { 0 };
	char *data = calloc(1, cdm_psize);
	long i;

	(void)b;
	if (sys_set_mempolicy(MPOL_BIND, 1UL << cdm_node))
		return buf_errno(-1);
	for (i = 0; i < pages; i++)
		if (write(buf->fd, data, cdm_psize) == cdm_psize)
			reply.ok++;
	if (i != reply.ok)
		reply.ret = -errno;
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	fsync(buf->fd);
	return reply;
}

static struct cdm_reply op_open_disk(struct cdm_buf *buf, long a, long b)
{
	(void)a;
	(void)b;
	buf->fd = open("cache", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unlink("cache");
	return buf_errno(buf->fd);
}

static struct cdm_reply op_open_memory(struct cdm_buf *buf, long a, long b)
{
	(void)a;
	(void)b;
	buf->fd = memfd_create("cache", MFD_CLOEXEC);
	return buf_errno(buf->fd);
}

static struct cdm_reply op_truncate(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	return buf_errno(ftruncate(buf->fd, pages * cdm_psize));
}

static struct cdm_reply op_map_file(struct cdm_buf *buf, long pages, long b)
{
	(void)b;
	shared_fd = buf->fd;
	return op_map_shared(buf, pages, 0);
}

/* The pages of the worker's file that are on the device. */
static long file_pages_on_node(struct cdm_task *task, long pages)
{
	CHECK_EQ(task_call(task, op_map_file, pages, 0).ret, 0);
	task_call(task, op_read_in, 0, pages);
	return task_call(task, op_count, 0, pages).dev;
}

static void test_memory_file(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_limit(group, cdm_node, 40), 0);
	task_start(&task, group);
	CHECK_GE(task_call(&task, op_open_memory, 0, 0).ret, 0);
	CHECK_EQ(task_call(&task, op_write_file, 100, 0).ok, 100);
	CHECK_EQ(file_pages_on_node(&task, 100), 40);
	CHECK_EQ(cdm_usage(group, cdm_node), 40);
	CHECK_EQ(task_call(&task, op_truncate, 0, 0).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_end(&task);
}

static void test_disk_file(const char *group)
{
	struct cdm_task task;

	task_start(&task, group);
	CHECK_GE(task_call(&task, op_open_disk, 0, 0).ret, 0);
	CHECK_EQ(task_call(&task, op_write_file, 100, 0).ok, 100);
	/* The policy does not put it there; a move does. */
	CHECK_EQ(file_pages_on_node(&task, 100), 0);
	CHECK_EQ(task_call(&task, op_move, 100, cdm_node).ok, 100);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	cdm_check_root(100);
	CHECK_EQ(task_call(&task, op_truncate, 0, 0).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_end(&task);
	/* This also drops what the file system itself has read. */
	cdm_empty_cache();
}

int main(void)
{
	cdm_init(13);
	cdm_case("move_pages there and back", test_move_own);
	cdm_case_arg("move_pages stops at the limit (fallback)",
		     test_move_limit, "fallback");
	cdm_case_arg("move_pages stops at the limit (fail)", test_move_limit,
		     "fail");
	cdm_case("move_pages of another: its group pays", test_move_other);
	cdm_case("move_pages of two owners: each its own limit",
		 test_move_two_owners);
	cdm_case("mbind(MPOL_MF_MOVE) there and back", test_mbind_move);
	cdm_case("mbind(MPOL_MF_MOVE) stops at the limit",
		 test_mbind_move_limit);
	cdm_case("mbind(MPOL_MF_MOVE_ALL) by another: the owner pays",
		 test_mbind_move_all);
	cdm_case("migrate_pages of another: its group pays",
		 test_migrate_pages);
	cdm_case("huge pages move there and back", test_move_huge);
	cdm_case("a file in memory is charged", test_memory_file);
	cdm_case("page cache of a disk that is moved is charged",
		 test_disk_file);
	cdm_case("between CDM nodes the charge moves along", test_between);
	cdm_exit();
}
