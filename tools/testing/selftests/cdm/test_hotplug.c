// SPDX-License-Identifier: GPL-2.0
/*
 * A CDM node whose memory is added and removed: with groups that are older than
 * the node, with charges, and with pages that are still in use.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cdm_util.h"

#define ONLINE_POLICY	"/sys/module/memory_hotplug/parameters/online_policy"

static const char * const keyed[] = {
	"cdm.current", "cdm.peak", "cdm.events", "cdm.events.local", "cdm.stat",
	"cdm.effective",
};

static const char * const settings[] = { "cdm.max", "cdm.low", "cdm.policy" };

/* The plugged node; not known before the first time. */
static int plugged = -1;

static int plug(const char *how)
{
	int ret = cdm_hotplug("add", how);

	if (!ret)
		plugged = cdm_other_node();
	return ret;
}

static int unplug(void)
{
	return cdm_hotplug("remove", NULL);
}

static struct cdm_reply op_map_static(struct cdm_buf *buf, long pages,
				      long node)
{
	int ret = buf_map(buf, pages, -1, false);

	if (ret)
		return buf_errno(ret);
	return buf_errno(sys_mbind(buf->addr, pages * cdm_psize,
				   MPOL_BIND | MPOL_F_STATIC_NODES, node, 0));
}

/* The node of the page that the mapping's last page would get. */
static struct cdm_reply op_last_node(struct cdm_buf *buf, long a, long b)
{
	struct cdm_reply reply = { 0 };
	char *last = buf->addr + (buf->pages - 1) * cdm_psize;

	(void)a;
	(void)b;
	madvise(last, cdm_psize, MADV_DONTNEED);
	__atomic_store_n(last, 1, __ATOMIC_RELAXED);
	reply.ret = addr_node(last);
	return reply;
}

static void check_keys(const char *group, int node, bool there)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keyed); i++)
		CHECK_EQ(cdm_bytes(group, keyed[i], node) != CDM_NONE, there);
	CHECK_EQ(cdm_bytes(cdm_root, "cdm.capacity", node) != CDM_NONE, there);
	CHECK_EQ(cdm_bytes(cdm_root, "cdm.current", node) != CDM_NONE, there);
}

/* New memory shows in every file, and has no owner yet. */
static void test_appears(const char *group)
{
	long total = file_key("/proc/meminfo", "CdmTotal:");
	long ram = file_key("/proc/meminfo", "MemTotal:");

	CHECK_EQ(cdm_other_node(), -1);
	if (!CHECK_EQ(plug("movable"), 0) || !CHECK_GE(plugged, 0))
		return;
	check_keys(group, plugged, true);
	CHECK_EQ(cdm_bytes(cdm_root, "cdm.capacity", plugged),
		 node_meminfo(plugged, "MemTotal:") * 1024);
	CHECK_EQ(file_key("/proc/meminfo", "CdmTotal:"),
		 total + node_meminfo(plugged, "MemTotal:"));
	CHECK_EQ(file_key("/proc/meminfo", "MemTotal:"), ram);
	CHECK_EQ(cdm_bytes(cdm_root, "cdm.current", plugged), 0);
	CHECK_EQ(cdm_audit(plugged, "used"), 0);

	CHECK_EQ(unplug(), 0);
	CHECK_EQ(cdm_other_node(), -1);
	check_keys(group, plugged, false);
	CHECK_EQ(file_key("/proc/meminfo", "CdmTotal:"), total);
	CHECK_EQ(file_key("/proc/meminfo", "MemTotal:"), ram);
}

static long touch_on(const char *group, int node, long pages)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, pages, node).ret, 0);
	reply = task_call(&task, op_touch, 0, pages);
	CHECK_EQ(reply.ok, pages);
	CHECK_EQ(cdm_usage(group, node), reply.other);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(group, node, 0), 0);
	return reply.other;
}

/* "default" applies to a node that appears later. */
static void test_default_applies(const char *group)
{
	char *free_group, *denied, *some;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	free_group = cdm_make_group(group, "free");
	denied = cdm_make_group(group, "denied");
	some = cdm_make_group(group, "some");
	CHECK_EQ(cdm_write(denied, "cdm.max", "default 0\nnode%d max\n",
			   cdm_node), 0);
	CHECK_EQ(cdm_write(some, "cdm.max", "default %ld\n",
			   25 * cdm_psize), 0);

	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(cdm_bytes(free_group, "cdm.max", plugged), LONG_MAX);
	CHECK_EQ(cdm_bytes(denied, "cdm.max", plugged), 0);
	CHECK_EQ(cdm_bytes(denied, "cdm.max", cdm_node), LONG_MAX);
	CHECK_EQ(cdm_bytes(some, "cdm.max", plugged), 25 * cdm_psize);
	CHECK_EQ(touch_on(free_group, plugged, 60), 60);
	CHECK_EQ(touch_on(denied, plugged, 60), 0);
	CHECK_EQ(touch_on(some, plugged, 60), 25);
	CHECK_EQ(unplug(), 0);
}

/* The node that is known to be CDM and has no memory, or -1. */
static int find_known(const char *group)
{
	int node, found = -1;

	for (node = 0; node < CDM_MAX_NODES; node++) {
		if (node == cdm_node ||
		    cdm_write(group, "cdm.max", "node%d 4096", node))
			continue;
		CHECK_EQ(found, -1);
		found = node;
		CHECK_EQ(cdm_write(group, "cdm.max", "node%d default", node),
			 0);
	}
	return found;
}

/* Settings of a node can be made, seen and dropped before it has memory. */
static void test_before(const char *group)
{
	int node = find_known(group);
	size_t i;

	CHECK_EQ(cdm_other_node(), -1);
	CHECK_GE(node, 0);
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *value = strcmp(settings[i], "cdm.policy") ?
					    "81920" : "fail";

		CHECK_EQ(cdm_has_line(group, settings[i], node), false);
		CHECK_EQ(cdm_write(group, settings[i], "node%d %s", node,
				   value), 0);
		CHECK_EQ(cdm_has_line(group, settings[i], node), true);
		CHECK_EQ(cdm_write(group, settings[i], "node%d default", node),
			 0);
		CHECK_EQ(cdm_has_line(group, settings[i], node), false);
	}
	CHECK_EQ(cdm_write(group, "cdm.reclaim", "node%d 4096", node), -ENODEV);
	check_keys(group, node, false);

	CHECK_EQ(cdm_limit(group, node, 20), 0);
	CHECK_EQ(cdm_write(group, "cdm.low", "node%d max", node), 0);
	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(plugged, node);
	CHECK_EQ(touch_on(group, node, 30), 20);
	CHECK_EQ(cdm_item(group, "cdm.effective", node, "avail"),
		 20 * cdm_psize);
	CHECK_EQ(unplug(), 0);
	CHECK_EQ(cdm_bytes(group, "cdm.max", node), 20 * cdm_psize);
}

/* Removal moves the pages to RAM, and ends their charges. */
static void test_remove_charged(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task, huge;
	char *leaf;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	leaf = cdm_make_group(group, "leaf");
	CHECK_EQ(plug("movable"), 0);
	task_start_on(&task, leaf, 3000, plugged);
	task_start(&huge, leaf);
	CHECK_EQ(task_call(&huge, op_map_huge, 4 * cdm_hpages, plugged).ret,
		 0);
	CHECK_EQ(task_call(&huge, op_touch, 0, 4 * cdm_hpages).other,
		 4 * cdm_hpages);
	CHECK_EQ(cdm_usage(group, plugged), 3000 + 4 * cdm_hpages);

	CHECK_EQ(unplug(), 0);
	CHECK_EQ(cdm_other_node(), -1);
	CHECK_EQ(cdm_bytes(leaf, "cdm.current", plugged), CDM_NONE);
	reply = task_call(&task, op_count, 0, 3000);
	CHECK_EQ(reply.other, 0);
	CHECK_EQ(reply.dev + reply.ram, 3000);
	CHECK_EQ(reply.bad, 0);
	reply = task_call(&huge, op_count, 0, 4 * cdm_hpages);
	CHECK_EQ(reply.dev + reply.ram, 4 * cdm_hpages);
	CHECK_EQ(reply.bad, 0);
	/* None went to the other device, which no policy names. */
	CHECK_EQ(reply.dev, 0);
	CHECK_EQ(cdm_usage(leaf, cdm_node), 0);

	/* When the memory comes back, its counters start at 0. */
	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(cdm_bytes(leaf, "cdm.current", plugged), 0);
	CHECK_EQ(cdm_bytes(group, "cdm.current", plugged), 0);
	CHECK_EQ(cdm_bytes(cdm_root, "cdm.current", plugged), 0);
	CHECK_EQ(task_end(&task), 0);
	CHECK_EQ(task_end(&huge), 0);
	CHECK_EQ(touch_on(leaf, plugged, 100), 100);
	CHECK_EQ(unplug(), 0);
}

#define PLANT	"/sys/kernel/debug/cdm/plant"
#define POISON	"/sys/kernel/debug/hwpoison/corrupt-pfn"

/*
 * Memory goes with a page in it that is charged: one of a driver's that has
 * failed, or one that a driver lets go in place. The charge ends, and nothing
 * of it is left when the memory comes back.
 */
static void test_remove_held(const char *group, const void *kind)
{
	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(cg_enter_current(group), 0);
	CHECK_EQ(file_write(PLANT, "%s %d", (const char *)kind, plugged), 0);
	CHECK_EQ(cg_enter_current(cdm_root), 0);
	CHECK_EQ(cdm_usage(group, plugged), 1);
	/* The kernel cannot do anything about it, and says so. */
	if (!strcmp(kind, "page"))
		file_write(POISON, "%ld", file_long(PLANT));
	CHECK_EQ(cdm_usage(group, plugged), 1);

	CHECK_EQ(unplug(), 0);
	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(cdm_usage(group, plugged), 0);
	CHECK_EQ(cdm_usage(cdm_root, plugged), 0);
	CHECK_EQ(cdm_audit(plugged, "stale"), 0);
	CHECK_EQ(touch_on(group, plugged, 100), 100);
	CHECK_EQ(unplug(), 0);
}

/* A group's own setting for a node outlives the node. */
static void test_line_kept(const char *group)
{
	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(cdm_limit(group, plugged, 12), 0);
	CHECK_EQ(touch_on(group, plugged, 30), 12);
	CHECK_EQ(unplug(), 0);
	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(cdm_bytes(group, "cdm.max", plugged), 12 * cdm_psize);
	CHECK_EQ(touch_on(group, plugged, 30), 12);
	CHECK_EQ(unplug(), 0);
}

/* CDM memory must be movable; anything else is refused, with a message. */
static void test_kernel_zone(const char *group)
{
	char line[1024];
	bool told = false;
	ssize_t len;
	int log;

	(void)group;
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(log, 0, SEEK_END);
	CHECK_NE(cdm_hotplug("add", "kernel"), 0);
	CHECK_EQ(cdm_other_node(), -1);
	while ((len = read(log, line, sizeof(line) - 1)) > 0) {
		line[len] = '\0';
		told |= strstr(line, "cdm: ") && strstr(line, "movable");
	}
	close(log);
	CHECK_EQ(told, true);

	/* The memory is still plugged, and can be onlined as movable. */
	CHECK_EQ(unplug(), 0);
	CHECK_EQ(plug("movable"), 0);
	CHECK_EQ(touch_on(group, plugged, 50), 50);
	CHECK_EQ(unplug(), 0);
}

/* Who onlines it need not know that it is CDM: the zone is right by itself. */
static void test_plain(const char *group)
{
	CHECK_EQ(plug("plain"), 0);
	CHECK_EQ(touch_on(group, plugged, 50), 50);
	CHECK_EQ(unplug(), 0);
	CHECK_EQ(file_write(ONLINE_POLICY, "auto-movable"), 0);
	CHECK_EQ(plug("plain"), 0);
	CHECK_EQ(touch_on(group, plugged, 50), 50);
	CHECK_EQ(unplug(), 0);
	CHECK_EQ(file_write(ONLINE_POLICY, "contig-zones"), 0);
}

/* A policy with static nodes finds the device again that was away. */
static void test_policy_back(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(plug("movable"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_static, 150, plugged).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 50).other, 50);
	CHECK_EQ(unplug(), 0);
	CHECK_EQ(task_call(&task, op_touch, 50, 50).ram, 50);
	CHECK_EQ(plug("movable"), 0);
	/* A work item tells cpusets. */
	CHECK_EQ(cdm_wait_until(10, task_call(&task, op_last_node, 0, 0).ret ==
				plugged), true);
	CHECK_EQ(task_call(&task, op_touch, 100, 50).other, 50);
	task_end(&task);
	CHECK_EQ(unplug(), 0);
}

/* Repeatedly, while a task has pages on the other CDM node. */
static void test_repeat(const char *group)
{
	struct cdm_task task;
	int i;

	task_start_on(&task, group, 100, cdm_node);
	for (i = 0; i < 3; i++) {
		if (!CHECK_EQ(plug("movable"), 0))
			break;
		CHECK_EQ(touch_on(group, plugged, 40), 40);
		CHECK_EQ(unplug(), 0);
		CHECK_EQ(cdm_usage(group, cdm_node), 100);
	}
	CHECK_EQ(task_call(&task, op_count, 0, 100).dev, 100);
	task_end(&task);
}

static void run_short(void)
{
	cdm_case("default applies to a node that appears later",
		 test_default_applies);
	cdm_case("removal evicts to RAM and ends charges",
		 test_remove_charged);
	cdm_case_arg("a driver's bad page goes with its memory",
		     test_remove_held, "page");
}

static void run_all(void)
{
	/* The first case, as its groups must be older than the node. */
	cdm_case("default applies to a node that appears later",
		 test_default_applies);
	cdm_case("settings of a node without memory", test_before);
	cdm_case("a node appears in the files and goes again", test_appears);
	cdm_case("removal evicts to RAM and ends charges",
		 test_remove_charged);
	cdm_case("a limit outlives the node's absence", test_line_kept);
	cdm_case("memory that is not movable is refused", test_kernel_zone);
	cdm_case("memory that is onlined as ever is movable", test_plain);
	cdm_case("a policy finds the device again", test_policy_back);
	cdm_case("add and remove repeatedly", test_repeat);
	cdm_case_arg("a driver's bad page goes with its memory",
		     test_remove_held, "page");
	cdm_case_arg("a page that a driver lets go in place",
		     test_remove_held, "offline");
}

/* With "short" what a kernel with its debug options can do in five minutes. */
int main(int argc, char **argv)
{
	bool is_short = argc > 1 && !strcmp(argv[1], "short");

	cdm_init(is_short ? 3 : 11);
	if (is_short)
		run_short();
	else
		run_all();
	cdm_exit();
}
