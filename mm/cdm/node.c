// SPDX-License-Identifier: GPL-2.0
/*
 * Which nodes are coherent device memory
 *
 * A node becomes CDM by the boot parameter cdm_nodes=, or by a driver's call of
 * cdm_node_register() before its memory goes online. It remains CDM until the
 * machine is restarted, with or without memory. All its memory is in
 * ZONE_MOVABLE; isolate.c says why.
 *
 * The set of nodes (cdm_nodes) only grows, under cdm_node_mutex or at boot, and
 * is read without a lock.
 */
#define pr_fmt(fmt) "cdm: " fmt

#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/memory-tiers.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/node.h>
#include <linux/numa_memblks.h>
#include <linux/sysfs.h>
#ifdef CONFIG_X86
#include <asm/numa.h>
#endif

#include "internal.h"

DEFINE_STATIC_KEY_FALSE(cdm_key);
/* zsmalloc, which has a hook, may be a module. */
EXPORT_SYMBOL_GPL(cdm_key);

nodemask_t cdm_nodes __read_mostly;

/* Boot option cdm=off. */
bool cdm_off __ro_after_init;

/* Nodes by index, in the order in which they were marked, and the reverse. */
static int cdm_nids[CDM_MAX_NODES] __read_mostly = {
	[0 ... CDM_MAX_NODES - 1] = NUMA_NO_NODE,
};

s8 cdm_idx[MAX_NUMNODES] __read_mostly;
static unsigned int cdm_nr;

/* Protects the set of nodes and their indices. */
static DEFINE_MUTEX(cdm_node_mutex);

/* Changed at boot and by memory hotplug. */
nodemask_t cdm_ram_nodemask __read_mostly;

int cdm_first_node __read_mostly = MAX_NUMNODES;
unsigned long cdm_first_page __read_mostly = ULONG_MAX;

/* What cdm_nodes= says. */
static nodemask_t cdm_param __initdata;

/* movable_node is only on until the zones of these nodes are set up. */
static bool cdm_movable_node __initdata;

/**
 * cdm_node_idx - index of a CDM node
 * @nid: a node
 *
 * Context: any.
 * Return: the index, constant from the node's marking on; -ENODEV for others.
 */
int cdm_node_idx(int nid)
{
	return node_isset(nid, cdm_nodes) ? cdm_idx[nid] : -ENODEV;
}

/**
 * cdm_idx_node - the node of an index
 * @idx: below CDM_MAX_NODES
 *
 * Context: any.
 * Return: the node, or NUMA_NO_NODE.
 */
int cdm_idx_node(unsigned int idx)
{
	return READ_ONCE(cdm_nids[idx]);
}

/**
 * cdm_node_capacity - memory of a node
 * @idx: index of the node
 *
 * Context: any.
 * Return: pages.
 */
unsigned long cdm_node_capacity(unsigned int idx)
{
	return zone_managed_pages(cdm_zone(cdm_idx_node(idx)));
}

/**
 * cdm_node_free - free memory of a node that a request can have
 * @idx: index of a node with memory
 *
 * What is below the lowest watermark is not given to user space.
 *
 * Context: any.
 * Return: pages.
 */
unsigned long cdm_node_free(unsigned int idx)
{
	struct zone *zone = cdm_zone(cdm_idx_node(idx));
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);

	return free - min(free, min_wmark_pages(zone));
}

/*
 * By node index: what cdm_nearest_ram() returns. Set after memory came or went,
 * and read without a lock: a node that has no memory any more falls back to
 * others.
 */
static s16 cdm_nearest_ram_nid[CDM_MAX_NODES] = {
	[0 ... CDM_MAX_NODES - 1] = NUMA_NO_NODE,
};

/* The RAM node that comes first in the fallback list of @nid. */
static int cdm_find_ram(int nid)
{
	struct zonelist *list = node_zonelist(nid, GFP_HIGHUSER_MOVABLE);
	struct zoneref *z;
	struct zone *zone;

	for_each_zone_zonelist(zone, z, list, ZONE_MOVABLE)
		if (!node_isset(zone_to_nid(zone), cdm_nodes))
			return zone_to_nid(zone);
	return numa_mem_id();
}

/**
 * cdm_nearest_ram - where a request goes that a CDM node does not serve
 * @nid: the node that it prefers
 *
 * Context: any.
 * Return: for a CDM node, the RAM node that comes first in its fallback list;
 * for any other, @nid.
 */
int cdm_nearest_ram(int nid)
{
	int ram;

	if (!node_is_cdm(nid))
		return nid;
	ram = READ_ONCE(cdm_nearest_ram_nid[cdm_idx[nid]]);
	/* The node's memory is just coming online. */
	return likely(ram != NUMA_NO_NODE) ? ram : cdm_find_ram(nid);
}

/* Memory came or went, or a node was marked. */
static void cdm_update_ram_nodes(void)
{
	int nid;

	nodes_andnot(cdm_ram_nodemask, node_states[N_MEMORY], cdm_nodes);
	for_each_node_mask(nid, cdm_nodes)
		WRITE_ONCE(cdm_nearest_ram_nid[cdm_idx[nid]],
			   node_state(nid, N_MEMORY) ? cdm_find_ram(nid) :
						       NUMA_NO_NODE);
}

/* Give the node an index. It is CDM from here on. */
static int cdm_mark(int nid)
{
	if (node_isset(nid, cdm_nodes))
		return 0;
	if (cdm_nr == CDM_MAX_NODES)
		return -ENOSPC;
	cdm_idx[nid] = cdm_nr;
	WRITE_ONCE(cdm_nids[cdm_nr++], nid);
	/*
	 * The index is stored before the bit. Readers test the bit first,
	 * without a barrier: a node is marked long before it has memory. Until
	 * then a stale index only makes cdm_nearest_ram() return RAM that is
	 * near to another node.
	 */
	smp_mb__before_atomic();
	node_set(nid, cdm_nodes);
	WRITE_ONCE(cdm_first_node, min(cdm_first_node, nid));
	return 0;
}

/*
 * Boot parameters
 */

/* No CDM nodes and no controller, as if the kernel did not know them. */
static int __init cdm_setup(char *str)
{
	if (!str || strcmp(str, "off"))
		return -EINVAL;
	cdm_off = true;
	static_branch_disable(&cdm_cgrp_subsys_enabled_key);
	return 0;
}
early_param("cdm", cdm_setup);

static int __init cdm_nodes_setup(char *str)
{
	if (!str || nodelist_parse(str, cdm_param)) {
		nodes_clear(cdm_param);
		pr_err("cdm_nodes=%s: not a list of nodes below %d, ignored\n",
		       str ? str : "", MAX_NUMNODES);
		return 0;
	}
	/*
	 * Until the firmware's tables are read, allocate near the kernel image,
	 * as movable_node does: memory that the kernel uses cannot be CDM.
	 */
	memblock_set_bottom_up(true);
	return 0;
}
early_param("cdm_nodes", cdm_nodes_setup);

static bool __init cdm_node_has_cpus(int nid)
{
#ifdef CONFIG_X86
	int i;

	for (i = 0; i < MAX_LOCAL_APIC; i++)
		if (__apicid_to_node[i] == nid)
			return true;
#endif
	return false;
}

/* Does [@start, @end) contain memory that is already in use? */
static bool __init cdm_range_in_use(u64 start, u64 end)
{
	struct memblock_region *r;

	for_each_reserved_mem_region(r)
		if (r->base < end && start < r->base + r->size)
			return true;
	return false;
}

/* Is there memory on nodes other than @nodes? */
static bool __init cdm_ram_beside(const struct numa_meminfo *mi,
				  const nodemask_t *nodes)
{
	int i;

	for (i = 0; i < mi->nr_blks; i++)
		if (!node_isset(mi->blk[i].nid, *nodes))
			return true;
	return false;
}

/* Why node @nid of the firmware's tables cannot be CDM, or NULL. */
static const char *__init cdm_why_unfit(const struct numa_meminfo *mi, int nid)
{
	nodemask_t alone = nodemask_of_node(nid);
	int i;

	if (!node_isset(nid, numa_nodes_parsed))
		return "no such node";
	if (!cdm_ram_beside(mi, &alone))
		return "the only node with RAM";
	if (cdm_node_has_cpus(nid))
		return "has CPUs";
	for (i = 0; i < mi->nr_blks; i++) {
		const struct numa_memblk *b = &mi->blk[i];

		if (b->nid != nid)
			continue;
		if (!IS_ALIGNED(b->start, PAGE_SIZE << MAX_PAGE_ORDER))
			return "its memory is not aligned";
		if (cdm_range_in_use(b->start, b->end))
			return "holds memory that the kernel uses (try nokaslr)";
	}
	return NULL;
}

/*
 * Mark the nodes of cdm_nodes= before their memory is set up: see
 * cdm_numa_init(). Their memory becomes ZONE_MOVABLE by the means of the
 * movable_node parameter, for these nodes alone if the user did not ask for it
 * elsewhere. It would also say where memory goes that is plugged in later, so
 * cdm_node_init() switches it off again.
 */
void __init __cdm_numa_init(struct numa_meminfo *mi)
{
	const char *why;
	int nid, i;

	if (cdm_off)
		nodes_clear(cdm_param);
	for_each_node_mask(nid, cdm_param) {
		why = cdm_why_unfit(mi, nid);
		if (why) {
			pr_err("node %d: %s, ignored\n", nid, why);
			node_clear(nid, cdm_param);
		}
	}
	while (!nodes_empty(cdm_param) && !cdm_ram_beside(mi, &cdm_param)) {
		nid = first_node(cdm_param);
		pr_err("node %d: no RAM would be left, ignored\n", nid);
		node_clear(nid, cdm_param);
	}
	if (nodes_empty(cdm_param))
		return;

	if (!movable_node_is_enabled()) {
		memblock_clear_hotplug(0, PHYS_ADDR_MAX);
		movable_node_enabled = true;
		cdm_movable_node = true;
	}
	for (i = 0; i < mi->nr_blks; i++)
		if (node_isset(mi->blk[i].nid, cdm_param))
			memblock_mark_hotplug(mi->blk[i].start,
					      mi->blk[i].end -
						      mi->blk[i].start);
	for_each_node_mask(nid, cdm_param)
		if (cdm_mark(nid))
			pr_err("node %d: more than %d CDM nodes, ignored\n",
			       nid, CDM_MAX_NODES);
}

/* Make tables and counters for memory that is about to be there. */
static int cdm_prepare(unsigned int idx, int nid, unsigned long start_pfn,
		       unsigned long nr_pages)
{
	unsigned long pfn, first = cdm_first_page;
	int ret;

	ret = cdm_owner_table_grow(idx, start_pfn, nr_pages);
	if (ret)
		return ret;
	/* Without a virtual memory map, sections may be in any order. */
	for (pfn = start_pfn; pfn < start_pfn + nr_pages;
	     pfn = SECTION_ALIGN_UP(pfn + 1))
		if (pfn_valid(pfn))
			first = min(first, (unsigned long)pfn_to_page(pfn));
	WRITE_ONCE(cdm_first_page, first);
	return cdm_owner_add_node(idx, nid);
}

/*
 * Memory that comes and goes
 */

static int cdm_going_online(const struct memory_notify *arg)
{
	int nid = page_to_nid(pfn_to_page(arg->start_pfn));
	int idx = cdm_node_idx(nid);

	if (idx < 0)
		return 0;
	if (page_zonenum(pfn_to_page(arg->start_pfn)) != ZONE_MOVABLE) {
		pr_err("node %d: coherent device memory must be onlined as online_movable\n",
		       nid);
		return -EINVAL;
	}
	/* With memmap_on_memory a block starts with its own struct pages. */
	if (!IS_ALIGNED(arg->start_pfn, PAGES_PER_SECTION)) {
		pr_err("node %d: coherent device memory cannot hold its own memmap\n",
		       nid);
		return -EINVAL;
	}
	return cdm_prepare(idx, nid, arg->start_pfn, arg->nr_pages);
}

static void cdm_gone_offline(const struct memory_notify *arg)
{
	int idx = cdm_node_idx(pfn_to_nid(arg->start_pfn));

	if (idx >= 0)
		cdm_owner_table_end(idx, arg->start_pfn, arg->nr_pages);
}

static int cdm_memory_callback(struct notifier_block *nb, unsigned long action,
			       void *data)
{
	const struct memory_notify *arg = data;
	int nid = arg->status_change_nid;

	if (action == MEM_ONLINE || action == MEM_OFFLINE)
		cdm_update_ram_nodes();
	switch (action) {
	case MEM_GOING_ONLINE:
		return notifier_from_errno(cdm_going_online(arg));
	case MEM_ONLINE:
		if (nid >= 0 && node_is_cdm(nid))
			pr_info("node %d: coherent device memory online\n",
				nid);
		break;
	case MEM_OFFLINE:
		cdm_gone_offline(arg);
		if (nid >= 0 && node_is_cdm(nid))
			pr_info("node %d: coherent device memory gone\n", nid);
		break;
	}
	return NOTIFY_OK;
}

/*
 * Demotion goes from higher tiers to lower ones: put CDM above everything,
 * whatever the firmware's tables say of its speed.
 */
static int cdm_adistance(struct notifier_block *nb, unsigned long nid,
			 void *data)
{
	if (!node_is_cdm(nid))
		return NOTIFY_OK;
	*(int *)data = 0;
	return NOTIFY_STOP;
}

static struct notifier_block cdm_adistance_nb = {
	.notifier_call = cdm_adistance,
	.priority = INT_MAX,
};

/**
 * cdm_node_register - make a node CDM before its memory goes online
 * @nid: the node, without memory
 *
 * For drivers. Memory added to the node goes online in ZONE_MOVABLE, whatever
 * the global policy is; to ask for another zone is rejected.
 *
 * Context: process context, may sleep; not from a memory notifier.
 * Return:
 * * %0 - the node is CDM, perhaps was before
 * * %-EINVAL - no such node
 * * %-EBUSY - the node has CPUs, or memory that was not added as CDM
 * * %-ENOSPC - too many CDM nodes
 * * %-ENOMEM - no memory for counters; another call tries again
 * * %-EOPNOTSUPP - the kernel was booted with cdm=off
 */
int cdm_node_register(int nid)
{
	int ret = 0;

	if (cdm_off)
		return -EOPNOTSUPP;
	if (nid < 0 || nid >= MAX_NUMNODES || !node_possible(nid))
		return -EINVAL;
	mutex_lock(&cdm_node_mutex);
	if (!node_isset(nid, cdm_nodes)) {
		if (node_state(nid, N_MEMORY) || node_state(nid, N_CPU))
			ret = -EBUSY;
		else
			ret = cdm_mark(nid);
	}
	mutex_unlock(&cdm_node_mutex);
	if (ret)
		return ret;
	/* It is marked for good, whether there are counters or not. */
	cdm_update_ram_nodes();
	static_branch_enable(&cdm_key);
	/* Settings can be made from now on. */
	return cdm_owner_add_node(cdm_idx[nid], nid);
}
EXPORT_SYMBOL_GPL(cdm_node_register);

/* Unmark a node of cdm_nodes= that turned out to be unfit. */
static void __init cdm_unmark(int nid, const char *why)
{
	pr_err("node %d: %s, ignored\n", nid, why);
	node_clear(nid, cdm_nodes);
	WRITE_ONCE(cdm_nids[cdm_idx[nid]], NUMA_NO_NODE);
	build_all_zonelists(NULL);
}

static int __init cdm_boot_node(int nid)
{
	pg_data_t *pgdat = NODE_DATA(nid);
	int ret;

	/* Settings can be made for it all the same. */
	if (!node_state(nid, N_MEMORY))
		return cdm_owner_add_node(cdm_idx[nid], nid);
	if (pgdat->node_present_pages != cdm_zone(nid)->present_pages) {
		cdm_unmark(nid, "has memory outside ZONE_MOVABLE");
		return 0;
	}
	ret = cdm_prepare(cdm_idx[nid], nid, pgdat->node_start_pfn,
			  pgdat->node_spanned_pages);
	if (ret)
		return ret;
	/* Not RAM: memblock counted it when it was freed to the allocator. */
	totalram_pages_add(-(long)pgdat->node_present_pages);
	pr_info("node %d: %lu MiB of coherent device memory\n", nid,
		pgdat->node_present_pages >> (20 - PAGE_SHIFT));
	return 0;
}

static int __init cdm_node_init(void)
{
	int nid, ret;

	if (cdm_off)
		return 0;
	/* Memory has its zones, and nothing can be plugged in before this. */
	if (cdm_movable_node)
		movable_node_enabled = false;
	for_each_node_mask(nid, cdm_nodes) {
		ret = cdm_boot_node(nid);
		if (ret)
			panic("cdm: no memory for the tables of node %d\n",
			      nid);
	}
	register_mt_adistance_algorithm(&cdm_adistance_nb);
	cdm_update_ram_nodes();
	/* Before anybody else is notified of memory that may be rejected. */
	hotplug_memory_notifier(cdm_memory_callback, INT_MAX);
	if (!nodes_empty(cdm_nodes))
		static_branch_enable(&cdm_key);
	return 0;
}
early_initcall(cdm_node_init);

/*
 * /sys/devices/system/node/has_coherent_memory
 */

static ssize_t has_coherent_memory_show(struct kobject *kobj,
					struct kobj_attribute *attr, char *buf)
{
	nodemask_t nodes;

	nodes_and(nodes, cdm_nodes, node_states[N_MEMORY]);
	return sysfs_emit(buf, "%*pbl\n", nodemask_pr_args(&nodes));
}

static struct kobj_attribute has_coherent_memory_attr =
	__ATTR_RO(has_coherent_memory);

static int __init cdm_sysfs_init(void)
{
	struct node *node = node_devices[first_online_node];

	if (cdm_off)
		return 0;
	/* Beside has_memory, in the directory that has all nodes. */
	return sysfs_create_file(node->dev.kobj.parent,
				 &has_coherent_memory_attr.attr);
}
late_initcall(cdm_sysfs_init);
