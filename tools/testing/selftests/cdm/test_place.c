// SPDX-License-Identifier: GPL-2.0
/*
 * Who may have pages moved to a CDM node or off it: anybody his own, and the
 * administrator all. What others own neither comes nor goes for anybody else,
 * because its owner pays for it, and has it where he wants it.
 */

#include <grp.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cdm_util.h"

#define NOBODY	65534
#define PAGES	60

/* Have no privileges any more, but for the capabilities in the mask @keep. */
static struct cdm_reply op_drop(struct cdm_buf *buf, long keep, long b)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
		{ .permitted = keep, .effective = keep },
	};

	(void)buf;
	(void)b;
	if (prctl(PR_SET_KEEPCAPS, 1) || setgroups(0, NULL) ||
	    setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		return buf_errno(-1);
	/* So that others of this user may look into it. */
	prctl(PR_SET_DUMPABLE, 1);
	return buf_errno(syscall(__NR_capset, &header, data));
}

/* All capabilities, but in a user namespace of its own. */
static struct cdm_reply op_new_userns(struct cdm_buf *buf, long a, long b)
{
	(void)buf;
	(void)a;
	(void)b;
	return buf_errno(unshare(CLONE_NEWUSER));
}

static struct cdm_reply op_map_private(struct cdm_buf *buf, long first,
				       long pages)
{
	return buf_map_fd(buf, first, pages, cdm_keep_fd, MAP_PRIVATE);
}

static struct cdm_reply op_map_shared(struct cdm_buf *buf, long first,
				      long pages)
{
	return buf_map_fd(buf, first, pages, cdm_keep_fd, MAP_SHARED);
}

static struct cdm_reply op_read_in(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { 0 };
	long i;

	for (i = first; i < first + nr; i++)
		reply.ret += *(const char *)(buf->addr + i * cdm_psize) != 0;
	return reply;
}

/*
 * The ways to have the pages of one's buffer moved.
 */

static struct cdm_reply by_move_pages(struct cdm_buf *buf, long node, long b)
{
	(void)b;
	return op_move(buf, buf->pages, node);
}

static struct cdm_reply by_mbind(struct cdm_buf *buf, long node, long b)
{
	(void)b;
	return buf_bind(buf, node, MPOL_MF_MOVE);
}

/* Each page is asked for, those that several tasks map as well. */
static struct cdm_reply by_mbind_all(struct cdm_buf *buf, long node, long b)
{
	(void)b;
	return buf_bind(buf, node, MPOL_MF_MOVE_ALL);
}

/* So are those of one half. */
static struct cdm_reply by_mbind_half(struct cdm_buf *buf, long node, long b)
{
	long half = buf->pages / 2 * cdm_psize;

	(void)b;
	return buf_errno(sys_mbind(buf->addr + half, half, MPOL_BIND, node,
				   MPOL_MF_MOVE_ALL));
}

static struct cdm_reply by_migrate_pages(struct cdm_buf *buf, long node, long b)
{
	unsigned long from = 1UL << cdm_node;
	int nodes[CDM_MAX_NODES], nr = 0;

	(void)buf;
	(void)b;
	/* From all RAM: it depends on the CPU where the pages are. */
	if (node == cdm_node) {
		nr = node_list("/sys/devices/system/node/has_cpu", nodes,
			       CDM_MAX_NODES);
		from = 0;
	}
	while (nr-- > 0)
		from |= 1UL << nodes[nr];
	return buf_errno(sys_migrate_pages(0, from, 1UL << node));
}

struct way {
	cdm_op move;
	/* Does it only ask for pages of the buffer? */
	bool exact;
};

static const struct way move_pages = { by_move_pages, true };
static const struct way mbind_move = { by_mbind, true };
static const struct way migrate_pages_of_all = { by_migrate_pages, false };

/* The caller's own pages, there and back, without privileges. */
static void test_own(const char *group, const void *arg)
{
	const struct way *way = arg;
	struct cdm_task task;

	task_start_on(&task, group, PAGES, -1);
	CHECK_EQ(task_call(&task, op_drop, 0, 0).ret, 0);
	CHECK_GE(task_call(&task, way->move, cdm_node, 0).ret, 0);
	task_check_at(&task, PAGES, PAGES, 0);
	CHECK_GE(cdm_usage(group, cdm_node), PAGES);
	CHECK_GE(task_call(&task, way->move, cdm_ram_node, 0).ret, 0);
	task_check_at(&task, PAGES, 0, PAGES);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	task_end(&task);
}

/* The pages of a file that @task maps: @dev on the device, the rest in RAM. */
static void check_file_at(struct cdm_task *task, long dev)
{
	struct cdm_reply reply = task_call(task, op_count, 0, PAGES);

	CHECK_EQ(reply.dev, dev);
	CHECK_EQ(reply.ram, PAGES - dev);
	CHECK_EQ(reply.bad, 0);
}

/* Write a file in memory from group @a, and leave it unmapped. */
static void start_with_file(struct cdm_task *owner, const char *a, int node)
{
	cdm_keep_open(PAGES);
	task_start(owner, a);
	CHECK_EQ(task_call(owner, op_map_shared, 0, PAGES).ret, 0);
	if (node >= 0)
		CHECK_EQ(task_call(owner, op_bind, node, 0).ret, 0);
	CHECK_EQ(task_call(owner, op_touch, 0, PAGES).ok, PAGES);
	CHECK_EQ(task_call(owner, op_unmap, 0, PAGES).ret, 0);
}

static void start_mover(struct cdm_task *mover, const char *b, long caps)
{
	task_start(mover, b);
	CHECK_EQ(task_call(mover, op_map_shared, 0, PAGES).ret, 0);
	CHECK_EQ(task_call(mover, op_read_in, 0, PAGES).ret > 0, true);
	CHECK_EQ(task_call(mover, op_drop, caps, 0).ret, 0);
}

/* Pages of a file whose owner has room, and the mover, too: they stay. */
static void test_others_in(const char *group, const void *arg)
{
	struct cdm_task owner, mover;
	const struct way *way = arg;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_with_file(&owner, a, -1);
	start_mover(&mover, b, 0);
	CHECK_GE(task_call(&mover, way->move, cdm_node, 0).ret, 0);
	check_file_at(&mover, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	/* Told is who asked, once for each. */
	CHECK_EQ(cdm_item(a, "cdm.events", cdm_node, "fail"), 0);
	CHECK_GE(cdm_item(b, "cdm.events.local", cdm_node, "fail"), PAGES);
	if (way->exact)
		CHECK_EQ(cdm_item(b, "cdm.events.local", cdm_node, "fail"),
			 PAGES);
	task_end(&mover);
	task_end(&owner);
	cdm_keep_close();
}

/* The same from the device. */
static void test_others_out(const char *group, const void *arg)
{
	struct cdm_task owner, mover;
	const struct way *way = arg;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_with_file(&owner, a, cdm_node);
	CHECK_EQ(cdm_usage(a, cdm_node), PAGES);
	start_mover(&mover, b, 0);
	CHECK_GE(task_call(&mover, way->move, cdm_ram_node, 0).ret, 0);
	check_file_at(&mover, PAGES);
	CHECK_EQ(cdm_usage(a, cdm_node), PAGES);
	CHECK_EQ(cdm_item(a, "cdm.events", cdm_node, "fail"), 0);
	CHECK_EQ(cdm_item(b, "cdm.events.local", cdm_node, "fail"), PAGES);
	task_end(&mover);
	task_end(&owner);
	cdm_keep_close();
}

/* move_pages() says that these were not moved, as for want of room. */
static void test_told(const char *group)
{
	struct cdm_task owner, mover;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_with_file(&owner, a, -1);
	start_mover(&mover, b, 0);
	reply = task_call(&mover, op_move, PAGES, cdm_node);
	CHECK_EQ(reply.ret, PAGES);
	CHECK_EQ(reply.ok, 0);
	CHECK_EQ(reply.bus, PAGES);
	CHECK_LT(task_call(&mover, op_bind, cdm_node,
			   MPOL_MF_MOVE | MPOL_MF_STRICT).ret, 0);
	check_file_at(&mover, 0);
	task_end(&mover);
	task_end(&owner);
	cdm_keep_close();
}

/*
 * Capabilities: CAP_SYS_NICE allows to ask for pages that others map, and no
 * more. CAP_SYS_ADMIN of a user namespace that anybody can make does not count.
 */
static void test_capabilities(const char *group)
{
	struct cdm_task owner, mover;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_with_file(&owner, a, -1);

	start_mover(&mover, b, 1 << CAP_SYS_NICE);
	CHECK_EQ(task_call(&mover, by_mbind_all, cdm_node, 0).ret, 0);
	check_file_at(&mover, 0);
	task_end(&mover);

	start_mover(&mover, b, 0);
	CHECK_EQ(task_call(&mover, op_new_userns, 0, 0).ret, 0);
	CHECK_EQ(task_call(&mover, by_mbind, cdm_node, 0).ret, 0);
	check_file_at(&mover, 0);
	task_end(&mover);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);

	/* The administrator may, and the owner pays, with a limit of his. */
	CHECK_EQ(cdm_limit(b, cdm_node, 0), 0);
	CHECK_EQ(cdm_limit(a, cdm_node, PAGES / 2), 0);
	start_mover(&mover, b, 1 << CAP_SYS_ADMIN);
	CHECK_EQ(task_call(&mover, by_mbind, cdm_node, 0).ret, 0);
	check_file_at(&mover, PAGES / 2);
	CHECK_EQ(cdm_usage(a, cdm_node), PAGES / 2);
	CHECK_EQ(task_call(&mover, by_move_pages, cdm_ram_node, 0).ret, 0);
	check_file_at(&mover, 0);
	task_end(&mover);
	task_end(&owner);
	cdm_keep_close();
}

/* A task that changes its group keeps what it has, and may move it. */
static void test_changed_group(const char *group, const void *arg)
{
	const struct way *way = arg;
	struct cdm_task task;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&task, a, PAGES, -1);
	CHECK_EQ(cg_enter(b, task.pid), 0);
	CHECK_EQ(task_call(&task, op_drop, 0, 0).ret, 0);

	/* Not to a node that it is denied, directly or from above. */
	CHECK_EQ(cdm_limit(b, cdm_node, 0), 0);
	CHECK_GE(task_call(&task, way->move, cdm_node, 0).ret, 0);
	task_check_at(&task, PAGES, 0, PAGES);
	CHECK_EQ(cdm_limit(b, cdm_node, -1), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 0), 0);
	CHECK_GE(task_call(&task, way->move, cdm_node, 0).ret, 0);
	task_check_at(&task, PAGES, 0, PAGES);
	CHECK_EQ(cdm_limit(group, cdm_node, -1), 0);

	/* The owner pays, as ever. */
	CHECK_GE(task_call(&task, way->move, cdm_node, 0).ret, 0);
	task_check_at(&task, PAGES, PAGES, 0);
	CHECK_GE(cdm_usage(a, cdm_node), PAGES);
	if (way->exact)
		CHECK_EQ(cdm_usage(a, cdm_node), PAGES);
	CHECK_EQ(cdm_limit(b, cdm_node, 0), 0);
	CHECK_GE(task_call(&task, way->move, cdm_ram_node, 0).ret, 0);
	task_check_at(&task, PAGES, 0, PAGES);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	task_end(&task);
}

/* Huge pages of which a part was unmapped are split on the way. */
static bool move_home(struct cdm_task *task, long pages)
{
	CHECK_EQ(task_call(task, by_mbind_half, cdm_ram_node, 0).ret, 0);
	return task_call(task, op_count, pages / 2, pages / 2).ram == pages / 2;
}

/*
 * Private memory that a child in another group maps as well, after fork(): only
 * its owner may have it moved. Huge pages, too, of which the child maps a part.
 */
static void fork_shares(const char *group, cdm_op map, long pages)
{
	struct cdm_task parent, child;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start(&parent, a);
	CHECK_EQ(task_call(&parent, map, pages, -1).ret, 0);
	CHECK_EQ(task_call(&parent, op_touch, 0, pages).ram, pages);
	CHECK_EQ(task_fork(&parent, &child), 0);
	CHECK_EQ(cg_enter(b, child.pid), 0);
	/* Of the child only one half is left. */
	CHECK_EQ(task_call(&child, op_unmap, 0, pages / 2).ret, 0);
	CHECK_EQ(task_call(&child, op_drop, 1 << CAP_SYS_NICE, 0).ret, 0);
	CHECK_EQ(task_call(&parent, op_drop, 1 << CAP_SYS_NICE, 0).ret, 0);
	CHECK_EQ(task_call(&child, by_mbind_half, cdm_node, 0).ret, 0);
	CHECK_EQ(task_call(&parent, op_count, 0, pages).dev, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);

	CHECK_EQ(task_call(&parent, by_mbind_all, cdm_node, 0).ret, 0);
	CHECK_EQ(task_call(&parent, op_count, 0, pages).dev, pages);
	CHECK_EQ(cdm_usage(a, cdm_node), pages);
	CHECK_EQ(task_call(&child, by_mbind_half, cdm_ram_node, 0).ret, 0);
	CHECK_EQ(task_call(&parent, op_count, 0, pages).dev, pages);

	/* When nobody else maps them any more they are the child's to move. */
	task_end(&parent);
	CHECK_EQ(cdm_wait_until(10, move_home(&child, pages)), true);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
}

static void test_fork(const char *group)
{
	fork_shares(group, op_map, PAGES);
}

static void test_fork_huge(const char *group)
{
	fork_shares(group, op_map_huge, cdm_hpages);
}

/* A file that is mapped privately is its owner's until it is written to. */
static void test_private_file(const char *group)
{
	struct cdm_task owner, mover;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_with_file(&owner, a, -1);
	task_start(&mover, b);
	CHECK_EQ(task_call(&mover, op_map_private, 0, PAGES).ret, 0);
	CHECK_EQ(task_call(&mover, op_read_in, 0, PAGES).ret > 0, true);
	CHECK_EQ(task_call(&mover, op_touch, 0, PAGES / 2).ok, PAGES / 2);
	CHECK_EQ(task_call(&mover, op_drop, 0, 0).ret, 0);
	CHECK_EQ(task_call(&mover, op_move, PAGES, cdm_node).ok, PAGES / 2);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(cdm_usage(b, cdm_node), PAGES / 2);
	task_end(&mover);
	task_end(&owner);
	cdm_keep_close();
}

/* What a removed group below the mover's owned is its own. */
static void test_below(const char *group)
{
	struct cdm_task owner, mover;
	char *a, *below;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	a = cdm_make_group(group, "a");
	CHECK_EQ(cdm_enable(a, "+cdm"), 0);
	below = cdm_make_group(a, "below");
	start_with_file(&owner, below, -1);
	task_end(&owner);
	CHECK_EQ(rmdir(below), 0);
	CHECK_EQ(cdm_enable(a, "-cdm"), 0);
	start_mover(&mover, a, 0);
	CHECK_EQ(task_call(&mover, op_move, PAGES, cdm_node).ok, PAGES);
	CHECK_EQ(cdm_usage(a, cdm_node), PAGES);
	CHECK_EQ(task_call(&mover, op_move, PAGES, cdm_ram_node).ok, PAGES);
	task_end(&mover);
	cdm_keep_close();
}

/*
 * Pages of another process of the same user: @addr is where they are. Returns
 * how many are on @node then.
 */
static pid_t remote_pid;
static long remote_addr;

static struct cdm_reply op_move_remote(struct cdm_buf *buf, long nr, long node)
{
	struct cdm_reply reply = { 0 };
	int nodes[PAGES], status[PAGES];
	void *pages[PAGES];
	long i;

	(void)buf;
	for (i = 0; i < nr; i++) {
		pages[i] = (void *)(remote_addr + i * cdm_psize);
		nodes[i] = node;
	}
	reply.ret = sys_move_pages(remote_pid, nr, pages, nodes, status,
				   MPOL_MF_MOVE);
	if (reply.ret < 0)
		reply.ret = -errno;
	if (sys_move_pages(remote_pid, nr, pages, NULL, status, 0))
		reply.ret = -errno;
	for (i = 0; i < nr; i++)
		reply.ok += status[i] == node;
	return reply;
}

static void test_remote(const char *group)
{
	struct cdm_task task, neighbour, other;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&task, a, PAGES, -1);
	CHECK_EQ(task_call(&task, op_drop, 0, 0).ret, 0);
	remote_pid = task.pid;
	remote_addr = task_call(&task, op_address, 0, 0).ret;
	task_start(&neighbour, a);
	CHECK_EQ(task_call(&neighbour, op_drop, 0, 0).ret, 0);
	task_start(&other, b);
	CHECK_EQ(task_call(&other, op_drop, 0, 0).ret, 0);

	reply = task_call(&other, op_move_remote, PAGES, cdm_node);
	CHECK_EQ(reply.ret, PAGES);
	CHECK_EQ(reply.ok, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 0);
	CHECK_EQ(cdm_item(b, "cdm.events.local", cdm_node, "fail"), PAGES);

	reply = task_call(&neighbour, op_move_remote, PAGES, cdm_node);
	CHECK_EQ(reply.ret, 0);
	CHECK_EQ(reply.ok, PAGES);
	CHECK_EQ(cdm_usage(a, cdm_node), PAGES);

	CHECK_EQ(task_call(&other, op_move_remote, PAGES, cdm_ram_node).ok, 0);
	task_check_at(&task, PAGES, PAGES, 0);
	task_end(&other);
	task_end(&neighbour);
	task_end(&task);
}

/*
 * A group's cpuset: when it loses the node, its own pages leave, and not those
 * of another group that its tasks map.
 */
static struct cdm_reply op_map_both(struct cdm_buf *buf, long pages, long b)
{
	static struct cdm_buf file;

	(void)b;
	if (buf_map_fd(&file, 0, pages, cdm_keep_fd, MAP_SHARED).ret)
		return buf_errno(-1);
	op_read_in(&file, 0, pages);
	return op_map(buf, pages, cdm_node);
}

static void test_cpuset(const char *group)
{
	struct cdm_task owner, mover, reader;
	char *a, *b;

	CHECK_EQ(cdm_enable(cdm_root, "+cpuset"), 0);
	CHECK_EQ(cdm_enable(group, "+cpuset"), 0);
	cdm_make_two_groups(group, &a, &b);
	start_with_file(&owner, a, cdm_node);
	CHECK_EQ(cdm_write(b, "cpuset.mems", "%d,%d", cdm_ram_node, cdm_node),
		 0);
	task_start(&mover, b);
	CHECK_EQ(task_call(&mover, op_map_both, PAGES, 0).ret, 0);
	CHECK_EQ(task_call(&mover, op_touch, 0, PAGES).dev, PAGES);
	CHECK_EQ(cdm_write(b, "cpuset.mems", "%d", cdm_ram_node), 0);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	task_end(&mover);

	task_start(&reader, a);
	CHECK_EQ(task_call(&reader, op_map_shared, 0, PAGES).ret, 0);
	CHECK_EQ(task_call(&reader, op_read_in, 0, PAGES).ret > 0, true);
	check_file_at(&reader, PAGES);
	task_end(&reader);
	task_end(&owner);
	cdm_keep_close();
}

static void run(const char *name, void (*fn)(const char *group,
					     const void *arg))
{
	static const struct {
		const char *name;
		const struct way *way;
	} ways[] = {
		{ "move_pages", &move_pages },
		{ "mbind", &mbind_move },
		{ "migrate_pages", &migrate_pages_of_all },
	};
	static char text[100];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		snprintf(text, sizeof(text), "%s: %s", ways[i].name, name);
		cdm_case_arg(text, fn, ways[i].way);
	}
}

int main(void)
{
	cdm_init(20);
	run("one's own, there and back", test_own);
	run("what others own does not come", test_others_in);
	run("what others own does not go", test_others_out);
	run("a task that changed its group", test_changed_group);
	cdm_case("who asks is told", test_told);
	cdm_case("capabilities", test_capabilities);
	cdm_case("shared after fork()", test_fork);
	if (cdm_hpages)
		cdm_case("huge pages shared after fork()", test_fork_huge);
	else
		cdm_case_skip("huge pages shared after fork()", "no THP");
	cdm_case("a private mapping of another's file", test_private_file);
	cdm_case("what a removed group below owned", test_below);
	cdm_case("pages of another process", test_remote);
	cdm_case("a change of cpuset", test_cpuset);
	cdm_exit();
}
