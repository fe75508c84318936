// SPDX-License-Identifier: GPL-2.0
/*
 * What keeps everybody else away from coherent device memory, and keeps it out
 * of the books of RAM
 *
 * Isolation is by structure. The node's zones are in no other node's fallback
 * list, so only a request that names the node can reach it; and all its memory
 * is in ZONE_MOVABLE, so that naming it does not give kernel memory either.
 * What remains are the places in mm/ that walk over all nodes with memory and
 * name each in turn. Those ask here which nodes to use.
 */
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/vmstat.h>

#include "../internal.h"
#include "internal.h"
#ifdef CONFIG_CPUSETS
#include "../../kernel/cgroup/cpuset-internal.h"
#endif

void __cdm_fallback_exclude(int nid, nodemask_t *used)
{
	nodes_or(*used, *used, cdm_nodes);
	node_clear(nid, *used);
}

/*
 * Nodes whose weight for MPOL_WEIGHTED_INTERLEAVE was written, and not reset
 * since. Written under iw_table_lock.
 */
static nodemask_t cdm_weighted;

void cdm_weight_written(int nid, u8 weight)
{
	if (weight)
		node_set(nid, cdm_weighted);
	else
		node_clear(nid, cdm_weighted);
}

/*
 * A mask with all RAM that is allowed means "everywhere", as libnuma's nodes of
 * all or a list that was made when the program was started do. Take the CDM
 * nodes out of it, except those that somebody meant: all of them with
 * MPOL_F_STATIC_NODES, those whose weight the administrator wrote, and those
 * that cdm.max of the task's cgroup has a line for.
 */
static void cdm_drop_everywhere(const struct mempolicy *pol, nodemask_t *nodes,
				const nodemask_t *allowed)
{
	struct cdm_owner *payer;
	nodemask_t ram, cdm;
	int nid;

	nodes_and(cdm, *nodes, cdm_nodes);
	nodes_andnot(ram, *allowed, cdm_nodes);
	if ((pol->flags & MPOL_F_STATIC_NODES) || nodes_empty(cdm) ||
	    nodes_empty(ram) || !nodes_subset(ram, *nodes))
		return;
	rcu_read_lock();
	payer = cdm_find_payer(cdm_current_scope());
	for_each_node_mask(nid, cdm)
		if (!node_isset(nid, cdm_weighted) &&
		    !cdm_owner_names(payer, cdm_node_idx(nid)))
			node_clear(nid, *nodes);
	rcu_read_unlock();
}

/* Nodes of a memory policy that is being set: see cdm_mpol_nodes(). */
void __cdm_mpol_nodes(struct mempolicy *pol, nodemask_t *nodes,
		      const nodemask_t *allowed)
{
	if (nodes_intersects(*nodes, cdm_nodes))
		pol->flags |= MPOL_F_CDM;
	cdm_drop_everywhere(pol, nodes, allowed);
}

/*
 * Nodes of a memory policy after its cpuset has changed: see
 * cdm_rebind_nodes(). @nodes may be empty.
 *
 * With static nodes the policy has those of its nodes that are allowed, and
 * with relative ones what position says, if it named a device when it was set.
 * Both find a device again that had gone. Any other policy keeps the CDM nodes
 * that it has and is still allowed, and gets no others.
 */
void __cdm_rebind_nodes(const struct mempolicy *pol, nodemask_t *nodes,
			const nodemask_t *allowed)
{
	nodemask_t cdm, ram;

	nodes_andnot(ram, *nodes, cdm_nodes);
	if (pol->flags & MPOL_F_RELATIVE_NODES) {
		if (!(pol->flags & MPOL_F_CDM))
			*nodes = ram;
	} else if (!(pol->flags & MPOL_F_STATIC_NODES)) {
		nodes_and(cdm, pol->nodes, cdm_nodes);
		nodes_and(cdm, cdm, *allowed);
		if (nodes_subset(pol->nodes, cdm_nodes) && !nodes_empty(cdm))
			nodes_clear(ram);
		nodes_or(*nodes, ram, cdm);
	}
	cdm_drop_everywhere(pol, nodes, allowed);
	if (nodes_empty(*nodes))
		nodes_andnot(*nodes, *allowed, cdm_nodes);
}

void __cdm_cpuset_mems(nodemask_t *mems, const nodemask_t *own)
{
	nodemask_t others;

	nodes_andnot(others, cdm_nodes, *own);
	nodes_andnot(*mems, *mems, others);
}

void __cdm_cpuset_migrate(nodemask_t *from, nodemask_t *to)
{
	nodemask_t stay;

	nodes_and(stay, *to, cdm_nodes);
	nodes_andnot(*to, *to, cdm_nodes);
	nodes_andnot(*from, *from, stay);
	if (nodes_empty(*to))
		nodes_clear(*from);
}

/* Of the nodes with RAM those that tasks of @cgrp may use, as they are now. */
static void cdm_cgroup_mems(struct cgroup *cgrp, nodemask_t *mems)
{
	*mems = *cdm_ram_nodes();
#ifdef CONFIG_CPUSETS
	struct cpuset *cs;

	rcu_read_lock();
	cs = css_cs(cgroup_e_css(cgrp, &cpuset_cgrp_subsys));
	/* One without RAM has that of an ancestor: see cdm_cpuset_mems(). */
	while (cs && !nodes_intersects(cs->effective_mems, *mems))
		cs = parent_cs(cs);
	if (cs)
		nodes_and(*mems, *mems, cs->effective_mems);
	rcu_read_unlock();
#endif
}

/*
 * See cdm_demotion_targets(). Folios of a CDM node are demoted from the lists
 * of one group at a time.
 */
bool __cdm_demotion_targets(struct folio *folio,
			    struct migration_target_control *mtc)
{
	struct mem_cgroup *memcg = folio_memcg_check(folio);
	nodemask_t mems;

	if (!memcg)
		return true;
	cdm_cgroup_mems(memcg->css.cgroup, &mems);
	nodes_and(*mtc->nmask, *mtc->nmask, mems);
	if (nodes_empty(*mtc->nmask))
		return false;
	if (!node_isset(mtc->nid, *mtc->nmask))
		mtc->nid = cdm_nearest(folio_nid(folio), mtc->nmask);
	return true;
}

/*
 * Are base pages, @node_load on each node and the next one on @nid, neither all
 * in RAM nor all on one CDM node? khugepaged takes the node with most of them
 * for the huge page: it would pull pages onto the device, or off it, unasked.
 */
bool __cdm_collapse_abort(int nid, const u32 *node_load)
{
	int i;

	for_each_node_state(i, N_MEMORY)
		if (i != nid && node_load[i] &&
		    (node_is_cdm(i) || node_is_cdm(nid)))
			return true;
	return false;
}

/* Pages that swap readahead brings in are placed by the default policy. */
struct mempolicy *__cdm_readahead_policy(struct mempolicy *mpol)
{
	static struct mempolicy local = {
		.refcnt = ATOMIC_INIT(1),
		.mode = MPOL_LOCAL,
	};

	return nodes_intersects(mpol->nodes, cdm_nodes) ? &local : mpol;
}

/*
 * The books of RAM
 */

static unsigned long cdm_node_free_pages(int nid)
{
	return zone_page_state(cdm_zone(nid), NR_FREE_PAGES);
}

/* Of @sum pages on all nodes those in RAM, never negative. */
unsigned long __cdm_ram_node_state(unsigned long sum, enum node_stat_item item)
{
	unsigned long cdm = 0;
	int nid;

	for_each_node_mask(nid, cdm_nodes)
		if (node_state(nid, N_MEMORY))
			cdm += node_page_state(NODE_DATA(nid), item);
	return sum - min(sum, cdm);
}

unsigned long __cdm_ram_zone_state(unsigned long sum, enum zone_stat_item item)
{
	unsigned long cdm = 0;
	int nid;

	for_each_node_mask(nid, cdm_nodes)
		if (node_state(nid, N_MEMORY))
			cdm += zone_page_state(cdm_zone(nid), item);
	return sum - min(sum, cdm);
}

unsigned long __cdm_swapcache(unsigned long sum)
{
#ifdef CONFIG_SWAP
	return __cdm_ram_node_state(sum, NR_SWAPCACHE);
#else
	return sum;
#endif
}

/* Take CDM out of a summary, whose total leaves it out already. */
void __cdm_si_meminfo(struct sysinfo *val)
{
	val->freeram = cdm_ram_zone_state(NR_FREE_PAGES);
	val->sharedram = cdm_ram_node_state(NR_SHMEM);
}

/* What CDM nodes have, in pages. */
unsigned long __cdm_total_pages(void)
{
	unsigned long total = 0;
	int nid;

	for_each_node_mask(nid, cdm_nodes)
		if (node_state(nid, N_MEMORY))
			total += zone_managed_pages(cdm_zone(nid));
	return total;
}

void __cdm_report_meminfo(struct seq_file *m)
{
	unsigned long free = 0;
	int nid;

	for_each_node_mask(nid, cdm_nodes)
		if (node_state(nid, N_MEMORY))
			free += cdm_node_free_pages(nid);
	seq_printf(m, "CdmTotal:       %8lu kB\n",
		   __cdm_total_pages() << (PAGE_SHIFT - 10));
	seq_printf(m, "CdmFree:        %8lu kB\n", free << (PAGE_SHIFT - 10));
}
