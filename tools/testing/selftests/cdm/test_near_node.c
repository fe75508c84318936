// SPDX-License-Identifier: GPL-2.0
/*
 * A node with RAM whose nearest neighbour is a device: pages that find no room
 * on it, or have to leave it, go to RAM that is farther away.
 *
 * vm: --nodes near --append cdm_nodes=2
 */

#include <linux/mempolicy.h>

#include "cdm_util.h"

/* The node whose RAM is plugged. */
#define NODE	3

static struct cdm_reply op_prefer(struct cdm_buf *buf, long node, long b)
{
	(void)b;
	return buf_errno(sys_mbind(buf->addr, buf->pages * cdm_psize,
				   MPOL_PREFERRED, node, 0));
}

static struct cdm_reply op_on_node(struct cdm_buf *buf, long node, long pages)
{
	struct cdm_reply reply = { 0 };
	long i;

	for (i = 0; i < pages; i++)
		reply.ok += addr_node(buf->addr + i * cdm_psize) == node;
	return reply;
}

static void test_full(const char *group)
{
	long pages = node_meminfo(NODE, "MemTotal:") * 1024 / cdm_psize;
	struct cdm_reply reply;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_huge, pages, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_prefer, NODE, 0).ret, 0);
	reply = task_call(&task, op_touch, 0, pages);
	CHECK_EQ(reply.dev, 0);
	CHECK_EQ(reply.ram, pages);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_end(&task);
	cdm_check_root(0);
}

static void test_offline(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 400, NODE).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 400).ram, 400);
	CHECK_EQ(task_call(&task, op_on_node, NODE, 400).ok, 400);
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
	reply = task_call(&task, op_count, 0, 400);
	CHECK_EQ(reply.dev, 0);
	CHECK_EQ(reply.ram, 400);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	task_end(&task);
	cdm_check_root(0);
}

int main(void)
{
	cdm_init(2);
	if (cdm_hotplug("add", "movable"))
		ksft_exit_skip("no memory can be plugged\n");
	cdm_case("a node that is full", test_full);
	cdm_case("a node that goes offline", test_offline);
	cdm_exit();
}
