// SPDX-License-Identifier: GPL-2.0
/*
 * NUMA balancing leaves device memory alone: its pages get no hinting faults,
 * and are not moved to the CPU that uses them, while pages in RAM of the same
 * mapping are.
 */

#include <linux/mempolicy.h>
#include <sched.h>

#include "cdm_util.h"

#define BALANCING	"/proc/sys/kernel/numa_balancing"

/* Enough for several scans of a task that keeps running. */
#define SCAN_SECONDS	20

/*
 * The buffer has three parts: RAM of the far node, the device, and RAM of the
 * far node again. A scan that has marked both ends has passed over the middle.
 */
#define RAM_PART	512
#define DEV_PART	6144
#define PAGES		(RAM_PART + DEV_PART + RAM_PART)

static int far_node = -1;

static void find_far_node(void)
{
	int nodes[CDM_MAX_NODES], nr, i;

	nr = node_list("/sys/devices/system/node/has_cpu", nodes,
		       CDM_MAX_NODES);
	for (i = 0; i < nr; i++)
		if (nodes[i] != cdm_ram_node)
			far_node = nodes[i];
}

static long on_node(const struct cdm_buf *buf, long first, long nr, int node)
{
	long i, found = 0;

	for (i = first; i < first + nr; i++)
		found += addr_node(buf->addr + i * cdm_psize) == node;
	return found;
}

/* Use every page from the near CPU, until both ends have been moved to it. */
static struct cdm_reply op_use(struct cdm_buf *buf, long a, long b)
{
	struct cdm_wait wait = cdm_wait_begin(SCAN_SECONDS);
	struct cdm_reply reply = { 0 };
	int i;

	(void)a;
	(void)b;
	do {
		for (i = 0; i < 20; i++)
			buf_touch(buf, 0, PAGES);
		reply.ok = on_node(buf, 0, RAM_PART, cdm_ram_node) +
			on_node(buf, RAM_PART + DEV_PART, RAM_PART,
				cdm_ram_node);
	} while (reply.ok < 2 * RAM_PART && cdm_wait_more(&wait));
	reply.dev = on_node(buf, RAM_PART, DEV_PART, cdm_node);
	return reply;
}

static struct cdm_reply op_ends_away(struct cdm_buf *buf, long node, long b)
{
	struct cdm_reply reply = op_move(buf, RAM_PART, node);
	struct cdm_buf end = *buf;

	(void)b;
	end.addr += (RAM_PART + DEV_PART) * cdm_psize;
	reply.ok += op_move(&end, RAM_PART, node).ok;
	return reply;
}

static struct cdm_reply op_bind_middle(struct cdm_buf *buf, long mode, long b)
{
	(void)b;
	return buf_errno(sys_mbind(buf->addr + RAM_PART * cdm_psize,
				   DEV_PART * cdm_psize, mode, cdm_node,
				   MPOL_MF_MOVE));
}

/*
 * Two rounds, as the first scan of a mapping may be shorter than the others.
 * Each moves the ends from far to near, with one hinting fault for each page.
 */
static void use_and_check(const char *group, struct cdm_task *task, long dev)
{
	long faults, round;
	struct cdm_reply reply;

	CHECK_EQ(cdm_usage(group, cdm_node), dev);
	for (round = 0; round < 2; round++) {
		CHECK_EQ(task_call(task, op_ends_away, far_node, 0).ok,
			 2 * RAM_PART);
		faults = vm_event("numa_hint_faults");
		reply = task_call(task, op_use, 0, 0);
		CHECK_EQ(reply.ok, 2 * RAM_PART);
		CHECK_EQ(reply.dev, dev);
		faults = vm_event("numa_hint_faults") - faults;
		/* Fewer faults than device pages; libraries have some. */
		CHECK_GE(faults, 1);
		CHECK_LT(faults, DEV_PART / 2);
	}
	CHECK_EQ(cdm_usage(group, cdm_node), dev);
	reply = task_call(task, op_count, 0, PAGES);
	CHECK_EQ(reply.dev, dev);
	CHECK_EQ(reply.bad, 0);
}

static void start(struct cdm_task *task, const char *group, cdm_op map)
{
	CHECK_EQ(file_write(BALANCING, "1"), 0);
	task_start_cpu(task, group, 0);
	CHECK_EQ(task_call(task, map, PAGES, -1).ret, 0);
	CHECK_EQ(task_call(task, op_touch, 0, PAGES).ram, PAGES);
}

static void stop(struct cdm_task *task)
{
	task_end(task);
	CHECK_EQ(file_write(BALANCING, "0"), 0);
}

/* Pages that move_pages() put there: no policy keeps them there. */
static void test_moved(const char *group)
{
	struct cdm_task task;

	start(&task, group, op_map);
	CHECK_EQ(task_call(&task, op_move_part, RAM_PART, DEV_PART).ok,
		 DEV_PART);
	use_and_check(group, &task, DEV_PART);
	stop(&task);
}

/* The same with huge pages, of which each part is a whole number. */
static void test_moved_huge(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(RAM_PART % cdm_hpages, 0);
	CHECK_EQ(DEV_PART % cdm_hpages, 0);
	start(&task, group, op_map_huge);
	CHECK_EQ(task_call(&task, op_move_part, RAM_PART, DEV_PART).ok,
		 DEV_PART);
	use_and_check(group, &task, DEV_PART);
	stop(&task);
}

/* Balancing among the nodes of a policy that has only this one. */
static void test_bound(const char *group)
{
	struct cdm_task task;

	start(&task, group, op_map);
	CHECK_EQ(task_call(&task, op_bind_middle,
			   MPOL_BIND | MPOL_F_NUMA_BALANCING, 0).ret, 0);
	use_and_check(group, &task, DEV_PART);
	stop(&task);
}

int main(void)
{
	cdm_init(3);
	find_far_node();
	if (far_node < 0)
		ksft_exit_skip("one node has all CPUs\n");
	cdm_case("pages moved to the device stay there", test_moved);
	cdm_case("huge pages moved to the device stay there",
		 test_moved_huge);
	cdm_case("bound pages get no hinting faults", test_bound);
	cdm_exit();
}
