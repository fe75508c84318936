// SPDX-License-Identifier: GPL-2.0
/*
 * Long-term pins, as RDMA, VFIO and the fixed buffers of io_uring take them.
 * Device memory must stay movable, so such a pin first moves pages to RAM,
 * which ends their charges, and gets RAM for pages that were not there before.
 * Short pins change nothing.
 */

#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cdm_util.h"

/* Pinned pages leave, stay away while they are pinned, and may come back. */
static void test_pin(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start_on(&task, group, 200, cdm_node);
	CHECK_EQ(task_call(&task, op_longterm, 40, 60).ret, 0);
	task_check_at(&task, 200, 140, 60);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 140), 140);

	/* Their room is free for others, and they cannot be moved back. */
	reply = task_call(&task, op_move_part, 40, 60);
	CHECK_EQ(reply.ok, 0);
	CHECK_EQ(reply.bus, 60);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 140), 140);
	task_check_at(&task, 200, 140, 60);

	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	CHECK_EQ(task_call(&task, op_move_part, 40, 60).ok, 60);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 200), 200);
	task_check_at(&task, 200, 200, 0);
	task_end(&task);
}

/* Pages that the pin itself faults in are never on the device. */
static void test_pin_untouched(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_longterm, 0, 100).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	CHECK_EQ(cdm_item(group, "cdm.events", cdm_node, "fail"), 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).ram, 100);
	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	task_end(&task);
}

/* A huge page moves as a whole. */
static void test_pin_huge(const char *group)
{
	long pages = 2 * cdm_hpages;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_huge, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
	CHECK_EQ(task_call(&task, op_longterm, 7, 3).ret, 0);
	task_check_at(&task, pages, cdm_hpages, pages - cdm_hpages);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, cdm_hpages), cdm_hpages);
	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	task_end(&task);
}

static void test_pin_file(const char *group)
{
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_memfd, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).dev, 100);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	CHECK_EQ(task_call(&task, op_longterm, 30, 20).ret, 0);
	task_check_at(&task, 100, 80, 20);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 80), 80);
	CHECK_EQ(task_call(&task, op_longterm_end, 0, 0).ret, 0);
	task_end(&task);
}

/*
 * fork() must not share a pinned page, and copies it at once. The copies obey
 * the policy, and are charged like other allocations of the parent.
 */
static void test_pin_fork(const char *group)
{
	struct cdm_task parent, child;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&parent, a, 100, cdm_node);
	CHECK_EQ(task_call(&parent, op_longterm, 0, 30).ret, 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 70), 70);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	task_check_at(&child, 100, 100, 0);
	task_check_at(&parent, 100, 70, 30);

	/* The child pays for copies on write, but not for those of fork(). */
	CHECK_EQ(task_call(&child, op_touch, 20, 30).dev, 30);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	CHECK_EQ(cdm_usage(b, cdm_node), 20);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 70), 70);
	CHECK_EQ(task_call(&parent, op_longterm_end, 0, 0).ret, 0);
	task_end(&parent);
}

/* Short-term references leave the pages where they are. */
static void test_short_pin(const char *group)
{
	struct cdm_task task;

	task_start_on(&task, group, 100, cdm_node);
	CHECK_EQ(task_call(&task, op_pin, 0, 100).ret, 100);
	task_check_at(&task, 100, 100, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	/* The pipe keeps pages that are no longer mapped, with their charge. */
	CHECK_EQ(task_call(&task, op_discard, 0, 40).ret, 0);
	cdm_drain_lru();
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	CHECK_EQ(task_call(&task, op_unpin, 0, 0).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 60), 60);
	task_end(&task);
}

static int ring = -1;

static struct cdm_reply op_fixed_buffer(struct cdm_buf *buf, long first,
					long nr)
{
	struct io_uring_params params;
	struct iovec iov = {
		.iov_base = buf->addr + first * cdm_psize,
		.iov_len = nr * cdm_psize,
	};

	memset(&params, 0, sizeof(params));
	ring = syscall(__NR_io_uring_setup, 8, &params);
	if (ring < 0)
		return buf_errno(-1);
	return buf_errno(syscall(__NR_io_uring_register, ring,
				 IORING_REGISTER_BUFFERS, &iov, 1));
}

static struct cdm_reply op_fixed_end(struct cdm_buf *buf, long a, long b)
{
	(void)buf;
	(void)a;
	(void)b;
	return buf_errno(syscall(__NR_io_uring_register, ring,
				 IORING_UNREGISTER_BUFFERS, NULL, 0));
}

static void test_fixed_buffers(const char *group)
{
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 80).dev, 80);
	/* Half of these pages are there already. */
	CHECK_EQ(task_call(&task, op_fixed_buffer, 60, 40).ret, 0);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 60), 60);
	CHECK_EQ(task_call(&task, op_touch, 80, 20).ram, 20);
	task_check_at(&task, 100, 60, 40);
	CHECK_EQ(task_call(&task, op_fixed_end, 0, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 60);
	task_end(&task);
}

int main(void)
{
	cdm_init(7);
	cdm_case("a long-term pin sends pages to RAM", test_pin);
	cdm_case("a long-term pin of untouched memory", test_pin_untouched);
	cdm_case("a long-term pin of huge pages", test_pin_huge);
	cdm_case("a long-term pin of shared memory", test_pin_file);
	cdm_case("fork of a process with pinned pages", test_pin_fork);
	cdm_case("a short pin keeps page and charge", test_short_pin);
	cdm_case("fixed buffers of io_uring", test_fixed_buffers);
	cdm_exit();
}
