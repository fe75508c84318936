/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Coherent device memory (CDM): NUMA nodes whose memory belongs to a device
 *
 * This header is for drivers, and has the few hooks outside mm/: cpusets and
 * /proc/meminfo. Those inside mm/ are in mm/cdm.h. A module can only call
 * cdm_node_register(), and have the hook that zsmalloc has.
 *
 * A hook costs a patched-out branch until the first CDM node is known, and
 * nothing at all without CONFIG_CGROUP_CDM. Where cdm_enabled() is constant the
 * compiler drops the calls behind it, so hooks need no second version.
 *
 * See Documentation/driver-api/cdm.rst.
 */
#ifndef _LINUX_CDM_H
#define _LINUX_CDM_H

#include <linux/errno.h>
#include <linux/jump_label.h>
#include <linux/mm.h>
#include <linux/nodemask.h>

struct seq_file;

#ifdef CONFIG_CGROUP_CDM

DECLARE_STATIC_KEY_FALSE(cdm_key);

/*
 * Nodes marked as CDM, with or without memory. After boot bits are only ever
 * set; read without a lock.
 */
extern nodemask_t cdm_nodes;

/* Is any CDM node known? */
static inline bool cdm_enabled(void)
{
	return static_branch_unlikely(&cdm_key);
}

/* Is @nid a CDM node? May be called with NUMA_NO_NODE. */
static inline bool node_is_cdm(int nid)
{
	return cdm_enabled() && nid >= 0 && node_isset(nid, cdm_nodes);
}

int cdm_node_register(int nid);

#else /* !CONFIG_CGROUP_CDM */

static inline bool cdm_enabled(void)
{
	return false;
}

static inline bool node_is_cdm(int nid)
{
	return false;
}

static inline int cdm_node_register(int nid)
{
	return -EOPNOTSUPP;
}

#endif /* CONFIG_CGROUP_CDM */

/* Nodes with memory that are not CDM; changed at boot and by memory hotplug. */
extern nodemask_t cdm_ram_nodemask;

/**
 * cdm_ram_nodes - nodes with RAM
 *
 * For those who would otherwise name every node with memory in turn.
 *
 * Context: any; changes when memory is hotplugged.
 * Return: the nodes; not to be changed.
 */
static inline nodemask_t *cdm_ram_nodes(void)
{
	return cdm_enabled() ? &cdm_ram_nodemask : &node_states[N_MEMORY];
}

void __cdm_cpuset_mems(nodemask_t *mems, const nodemask_t *own);
void __cdm_cpuset_migrate(nodemask_t *from, nodemask_t *to);
void __cdm_report_meminfo(struct seq_file *m);

/*
 * guarantee_online_mems(): the tasks of a cpuset with @own nodes get @mems,
 * which are those of an ancestor if @own has no RAM. That is for the RAM alone.
 */
static inline void cdm_cpuset_mems(nodemask_t *mems, const nodemask_t *own)
{
	if (cdm_enabled())
		__cdm_cpuset_mems(mems, own);
}

/**
 * cdm_cpuset_migrate - nodes between which a task's pages follow its cpuset
 * @from: nodes that the task had; changed
 * @to: nodes that it gets; changed
 *
 * Pages in RAM go to RAM. Pages on a CDM node go to RAM if the new cpuset does
 * not include the node.
 */
static inline void cdm_cpuset_migrate(nodemask_t *from, nodemask_t *to)
{
	if (cdm_enabled())
		__cdm_cpuset_migrate(from, to);
}

unsigned long __cdm_ram_node_state(unsigned long sum, enum node_stat_item item);
unsigned long __cdm_ram_zone_state(unsigned long sum, enum zone_stat_item item);
unsigned long __cdm_swapcache(unsigned long sum);

/* global_node_page_state(), for who asks about RAM. */
static inline unsigned long cdm_ram_node_state(enum node_stat_item item)
{
	unsigned long sum = global_node_page_state(item);

	return cdm_enabled() ? __cdm_ram_node_state(sum, item) : sum;
}

/* global_zone_page_state(), in the same way. */
static inline unsigned long cdm_ram_zone_state(enum zone_stat_item item)
{
	unsigned long sum = global_zone_page_state(item);

	return cdm_enabled() ? __cdm_ram_zone_state(sum, item) : sum;
}

/* total_swapcache_pages(), in the same way. */
static inline unsigned long cdm_swapcache(unsigned long sum)
{
	return cdm_enabled() ? __cdm_swapcache(sum) : sum;
}

/* The lines of CDM in /proc/meminfo. */
static inline void cdm_report_meminfo(struct seq_file *m)
{
	if (IS_ENABLED(CONFIG_CGROUP_CDM))
		__cdm_report_meminfo(m);
}

#endif /* _LINUX_CDM_H */
