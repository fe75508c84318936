// SPDX-License-Identifier: GPL-2.0
/*
 * The door: every allocation that names a CDM node comes here
 *
 * Charge first, allocate second, apply the policy if either fails:
 *
 *   request names           tried, in this order
 *   ----------------------  ---------------------------------------------------
 *   CDM only                CDM by distance, policy
 *   CDM and RAM             whichever is nearer, the other, policy
 *   kernel memory, or a     RAM
 *   cpuset without the node
 *
 *   policy                  what the requester gets
 *   ----------------------  ---------------------------------------------------
 *   fallback                RAM
 *   reclaim                 demote, CDM again, RAM
 *   reclaim,fail            demote, CDM again, nothing
 *   fail                    nothing
 *
 * A group that cdm.low still promises pages to has others demoted for it first,
 * under every policy.
 *
 * Two kinds of requests get nothing under every policy when CDM has no room:
 * those with __GFP_THISNODE, as they always did, and the copy of a folio that
 * is being migrated, which stays where it is. A request for a large folio that
 * may fail quietly gets nothing while base pages still fit, so that its caller
 * comes back for those: a quota can be used to the last page.
 */
#include <linux/cdm.h>
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/vmstat.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/cdm.h>

bool cdm_node_allowed(int nid)
{
	return node_state(nid, N_MEMORY) &&
	       (!cpusets_enabled() || !in_task() ||
		node_isset(nid, cpuset_current_mems_allowed));
}

/**
 * cdm_candidates - nodes that a request may use
 * @rq: the request
 * @nodes: where to put the CDM nodes, none if it is for RAM after all
 * @ram: where to put the nodes with RAM that it names
 *
 * Return: true if RAM is named and not farther away than CDM.
 */
bool cdm_candidates(const struct cdm_request *rq, nodemask_t *nodes, nodemask_t *ram)
{
	int nid;

	nodes_clear(*nodes);
	nodes_clear(*ram);
	/* Not movable: kernel memory, or the target of a long-term pin. */
	if (gfp_zone(rq->gfp) != ZONE_MOVABLE)
		return false;
	if (rq->scope && rq->scope->ram)
		return false;
	/*
	 * Reclaim that runs in a task with a policy for CDM allocates for
	 * itself (compressed swap), not for the task.
	 */
	if ((current->flags & PF_MEMALLOC) && !rq->scope)
		return false;
	if (rq->nodemask) {
		nodes_and(*nodes, *rq->nodemask, cdm_nodes);
		nodes_andnot(*ram, *rq->nodemask, cdm_nodes);
	} else {
		__node_set(rq->nid, nodes);
	}
	for_each_node_mask(nid, *nodes)
		if (!cdm_node_allowed(nid))
			__node_clear(nid, nodes);
	return !nodes_empty(*nodes) && !nodes_empty(*ram) &&
	       node_distance(rq->nid, cdm_nearest(rq->nid, ram)) <=
	       node_distance(rq->nid, cdm_nearest(rq->nid, nodes));
}

/**
 * cdm_nearest - the nearest of some nodes
 * @from: a node
 * @nodes: at least one
 *
 * Return: @from if it is one of them.
 */
int cdm_nearest(int from, const nodemask_t *nodes)
{
	int nid, best = NUMA_NO_NODE;

	for_each_node_mask(nid, *nodes)
		if (best == NUMA_NO_NODE || nid == from ||
		    (best != from && node_distance(from, nid) < node_distance(from, best)))
			best = nid;
	return best;
}

/**
 * cdm_ram_mask - where a request for RAM may look
 * @rq: the request
 * @ram: space for the answer
 *
 * Return: the nodes with RAM that it names, @ram; none of them if it names no node
 * at all. NULL, for any, if it names nodes of devices only.
 */
nodemask_t *cdm_ram_mask(const struct cdm_request *rq, nodemask_t *ram)
{
	if (!rq->nodemask)
		return NULL;
	nodes_andnot(*ram, *rq->nodemask, cdm_nodes);
	return nodes_empty(*ram) && !nodes_empty(*rq->nodemask) ? NULL : ram;
}

/* The same request for RAM; @gfp is that of @rq or weaker. */
static struct page *cdm_alloc_ram(const struct cdm_request *rq, gfp_t gfp)
{
	nodemask_t ram;

	return __alloc_pages_raw(gfp & ~__GFP_THISNODE, rq->order, cdm_nearest_ram(rq->nid),
				 cdm_ram_mask(rq, &ram));
}

/* Pages on other CPUs' lists are free, though the allocator does not see them. */
static bool cdm_pcp_has(struct zone *zone, unsigned long nr)
{
	unsigned long count = 0;
	int cpu;

	for_each_online_cpu(cpu)
		count += READ_ONCE(per_cpu_ptr(zone->per_cpu_pageset, cpu)->count);
	return count >= nr;
}

/*
 * By node index: jiffies. Until then what is below the node's high watermark is
 * left to those whose requests have pages demoted. Otherwise a group that takes
 * what it finds would have others' and its own pages demoted for ever by taking
 * what was freed for somebody else. So is what kswapd demotes beyond that mark:
 * less than a batch, which may wait for its end on a CPU's list.
 */
static unsigned long cdm_reserved[CDM_MAX_NODES];

#define CDM_RESERVE_TIME	HZ
#define CDM_RESERVE_SLACK	(2 * CDM_RECLAIM_BATCH)

static __always_inline bool cdm_has_plenty(struct zone *zone, unsigned int order)
{
	return zone_page_state(zone, NR_FREE_PAGES) >
	       high_wmark_pages(zone) + CDM_RESERVE_SLACK + (1UL << order);
}

/* May @owner have 1 << @order pages that are free? All but @nr are charged already. */
static bool cdm_may_take(struct cdm_owner *owner, int nid, unsigned int order, unsigned int nr)
{
	unsigned int idx = cdm_node_idx(nid);
	struct zone *zone = cdm_zone(nid);

	if (likely(cdm_has_plenty(zone, order)))
		return true;
	if (cdm_policy_reclaims(cdm_effective_policy(owner)) ||
	    cdm_entitled(owner, cdm_owner_root(), idx, nr)) {
		WRITE_ONCE(cdm_reserved[idx], jiffies + CDM_RESERVE_TIME);
		return true;
	}
	return !time_before(jiffies, READ_ONCE(cdm_reserved[idx])) ||
	       cdm_pcp_has(zone, high_wmark_pages(zone) + (1UL << order));
}

static struct page *cdm_take_page(const struct cdm_request *rq, int nid, bool wake_kswapd)
{
	gfp_t gfp = rq->gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL);
	struct page *page;

	if (!wake_kswapd)
		gfp &= ~__GFP_KSWAPD_RECLAIM;
	/* What cannot wait may not dip into reserves for it either. */
	gfp |= __GFP_THISNODE | __GFP_NOWARN | __GFP_NOMEMALLOC;
	page = __alloc_pages_raw(gfp, rq->order, nid, NULL);
	if (!page && cdm_may_reclaim(rq->gfp) &&
	    cdm_pcp_has(cdm_zone(nid), 1UL << rq->order)) {
		drain_all_pages(cdm_zone(nid));
		page = __alloc_pages_raw(gfp, rq->order, nid, NULL);
	}
	return page;
}

/* Migration within a node: the owner entry follows the folio, nobody pays twice. */
static bool cdm_same_node(const struct cdm_request *rq, int nid)
{
	return rq->scope && rq->scope->src && folio_nid(rq->scope->src) == nid &&
	       cdm_get_owner(&rq->scope->src->page);
}

/* Remember why the first node tried refused. RCU read side. */
void cdm_refused(struct cdm_request *rq, int nid, struct cdm_owner *limit)
{
	if (rq->tried != NUMA_NO_NODE)
		return;
	rq->tried = nid;
	if (limit)
		rq->limit = cdm_owner_get(limit);
}

/* Other CPUs' stocks are taken into account if that may be waited for. */
static u16 cdm_charge_owner(struct cdm_owner *payer, unsigned int idx, unsigned long nr,
			    gfp_t gfp, struct cdm_owner **limit)
{
	u16 id;

	if (cdm_should_fail_charge()) {
		*limit = payer;
		return 0;
	}
	id = cdm_try_charge(payer, idx, nr, limit);
	if (unlikely(!id) && gfpflags_allow_blocking(gfp) && cdm_drain_for(*limit, idx))
		id = cdm_try_charge(payer, idx, nr, limit);
	return id;
}

/**
 * cdm_charge - charge a request
 * @rq: the request; takes note of a refusal
 * @nid: node to charge for
 * @policy: where to put the payer's policy
 *
 * Return: id of the owner that was charged, 0 for none.
 */
u16 cdm_charge(struct cdm_request *rq, int nid, enum cdm_policy *policy)
{
	struct cdm_owner *payer, *limit;
	unsigned int idx = cdm_node_idx(nid);
	u16 id;

	rcu_read_lock();
	payer = cdm_payer(rq->scope);
	id = cdm_charge_owner(payer, idx, 1U << rq->order, rq->gfp, &limit);
	if (unlikely(!id)) {
		cdm_refused(rq, nid, limit);
		cdm_event(limit, idx, CDM_EV_MAX);
		trace_cdm_charge_fail(nid, payer->id, limit->id, rq->order);
	}
	*policy = cdm_effective_policy(payer);
	rcu_read_unlock();
	return id;
}

/* One try on one node. */
static struct page *cdm_alloc_node(struct cdm_request *rq, int nid)
{
	unsigned int idx = cdm_node_idx(nid);
	enum cdm_policy policy;
	struct page *page;
	bool take;
	u16 id;

	if (cdm_same_node(rq, nid)) {
		page = cdm_take_page(rq, nid, false);
		if (!page)
			cdm_refused(rq, nid, NULL);
		return page;
	}

	id = cdm_charge(rq, nid, &policy);
	if (!id)
		return NULL;
	take = likely(cdm_has_plenty(cdm_zone(nid), rq->order));
	if (!take) {
		rcu_read_lock();
		take = cdm_may_take(cdm_owner_by_id(id), nid, rq->order, 0);
		rcu_read_unlock();
	}
	page = take ? cdm_take_page(rq, nid, cdm_policy_reclaims(policy)) : NULL;
	if (likely(page)) {
		cdm_set_owner(page, rq->order, id);
		if (in_task())
			current->cdm_refused = false;
		return page;
	}

	cdm_uncharge(id, idx, 1U << rq->order);
	rcu_read_lock();
	cdm_refused(rq, nid, NULL);
	cdm_event(cdm_payer(rq->scope), idx, CDM_EV_DEPLETED);
	rcu_read_unlock();
	return NULL;
}

static struct page *cdm_alloc_nodes(struct cdm_request *rq, nodemask_t nodes)
{
	struct page *page = NULL;

	while (!page && !nodes_empty(nodes)) {
		int nid = cdm_nearest(rq->nid, &nodes);

		page = cdm_alloc_node(rq, nid);
		__node_clear(nid, &nodes);
	}
	return page;
}

/* Would a base page still fit where a large folio did not? */
static bool cdm_base_page_fits(const struct cdm_request *rq)
{
	struct zone *zone = cdm_zone(rq->tried);

	return cdm_headroom(rq->payer, cdm_node_idx(rq->tried)) &&
	       zone_watermark_ok(zone, 0, min_wmark_pages(zone), ZONE_MOVABLE, 0) &&
	       cdm_may_take(rq->payer, rq->tried, 0, 1);
}

/* A large folio that may fail: its caller asks for base pages next. */
static bool cdm_may_split(const struct cdm_request *rq)
{
	return rq->order && (rq->gfp & __GFP_NOWARN);
}

static struct page *cdm_reclaim_and_retry(struct cdm_request *rq, struct cdm_owner *root,
					  enum cdm_reclaim_reason reason, bool last_resort)
{
	unsigned int idx = cdm_node_idx(rq->tried);
	struct page *page = NULL;
	bool others;
	/* More room does not help if it is in pieces. */
	int rounds = cdm_may_split(rq) ? 1 : CDM_RECLAIM_ROUNDS;

	cdm_event(rq->payer, idx, CDM_EV_RECLAIM);
	while (!page && rounds--) {
		if (!cdm_reclaim(root, idx, 1UL << rq->order, rq->gfp, reason, last_resort,
				 &others) && !others)
			break;
		page = cdm_alloc_node(rq, rq->tried);
		if (fatal_signal_pending(current))
			break;
	}
	return page;
}

/* Whose pages have to make way for a request that was refused? */
static struct cdm_owner *cdm_way_root(const struct cdm_request *rq)
{
	return rq->limit ? rq->limit : cdm_owner_root();
}

/* Does cdm.low promise the payer @nr pages that it does not have? */
static bool cdm_promised(const struct cdm_request *rq, unsigned int nr)
{
	return cdm_entitled(rq->payer, cdm_way_root(rq), cdm_node_idx(rq->tried), nr);
}

/* Demotion on behalf of the payer: because its policy, or its cdm.low, says so. */
static struct page *cdm_make_way(struct cdm_request *rq, enum cdm_policy policy)
{
	struct cdm_owner *root = cdm_way_root(rq);
	enum cdm_reclaim_reason reason = rq->limit ? CDM_FOR_LIMIT : CDM_FOR_DEPLETED;

	if (!cdm_may_reclaim(rq->gfp))
		return NULL;
	if (!cdm_policy_reclaims(policy)) {
		if (!cdm_promised(rq, 1U << rq->order))
			return NULL;
		reason = CDM_FOR_LOW;
	}
	return cdm_reclaim_and_retry(rq, root, reason,
				     policy == CDM_RECLAIM_FAIL && !cdm_may_split(rq));
}

static struct page *cdm_fail(struct cdm_request *rq)
{
	cdm_event(rq->payer, cdm_node_idx(rq->tried), CDM_EV_FAIL);
	if (in_task())
		current->cdm_refused = true;
	return NULL;
}

/*
 * Does no page mean that all stays as it is? A folio that was to move to the
 * node stays where it was, and base pages are not collapsed. (A folio that has
 * to leave its page within the node may go to RAM.)
 */
static bool cdm_stays(const struct cdm_request *rq)
{
	if (!rq->scope)
		return false;
	if (rq->scope->src)
		return folio_nid(rq->scope->src) != rq->tried;
	return rq->scope->collapse;
}

/* Neither quota nor node had room: what now? */
static struct page *cdm_apply_policy(struct cdm_request *rq)
{
	enum cdm_policy policy = cdm_effective_policy(rq->payer);
	unsigned int idx = cdm_node_idx(rq->tried);
	bool stays = cdm_stays(rq);
	bool fails = policy == CDM_FAIL || policy == CDM_RECLAIM_FAIL;
	struct page *page;

	trace_cdm_policy(rq->tried, rq->payer->id, policy, rq->order, !rq->limit);
	if (cdm_may_split(rq) && !stays && cdm_base_page_fits(rq))
		return NULL;

	page = cdm_make_way(rq, policy);
	if (page)
		return page;
	/* What was freed may do for base pages, or more may be for those. */
	if (cdm_may_split(rq) && !stays && (cdm_base_page_fits(rq) || cdm_promised(rq, 1)))
		return NULL;

	if (!(rq->gfp & __GFP_NOFAIL)) {
		if (stays) {
			rq->scope->refused = true;
			cdm_event(rq->payer, idx, fails ? CDM_EV_FAIL : CDM_EV_FALLBACK);
			return NULL;
		}
		if (fails)
			return cdm_may_split(rq) ? NULL : cdm_fail(rq);
		if (rq->gfp & __GFP_THISNODE)
			return NULL;
	}
	cdm_event(rq->payer, idx, CDM_EV_FALLBACK);
	return cdm_alloc_ram(rq, rq->gfp);
}

/* Any request: see cdm_alloc_pages(). */
static noinline struct page *cdm_alloc_slow(gfp_t gfp, unsigned int order, int nid,
					    nodemask_t *nodemask)
{
	struct cdm_request rq = {
		.gfp = current_gfp_context(gfp & gfp_allowed_mask),
		.order = order,
		.nid = nid,
		.nodemask = nodemask,
		.scope = cdm_current_scope(),
		.tried = NUMA_NO_NODE,
	};
	/* RAM before the policy is asked: only what is free. */
	gfp_t quick = (gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) | __GFP_NOWARN;
	struct page *page = NULL;
	nodemask_t nodes, ram;
	bool ram_first;

	ram_first = cdm_candidates(&rq, &nodes, &ram);
	if (unlikely(nodes_empty(nodes))) {
		/* As ever: kernel memory on a node that has none for it. */
		if ((gfp & __GFP_THISNODE) && !(rq.scope && rq.scope->ram))
			return __alloc_pages_raw(gfp, order, nid, nodemask);
		return cdm_alloc_ram(&rq, gfp);
	}

	if (ram_first)
		page = cdm_alloc_ram(&rq, quick);
	if (!page)
		page = cdm_alloc_nodes(&rq, nodes);
	if (!page && !ram_first && !nodes_empty(ram))
		page = cdm_alloc_ram(&rq, quick);
	if (likely(page))
		goto out;

	rcu_read_lock();
	rq.payer = cdm_owner_get(cdm_payer(rq.scope));
	rcu_read_unlock();
	page = cdm_apply_policy(&rq);
	cdm_owner_put(rq.payer);
out:
	if (rq.limit)
		cdm_owner_put(rq.limit);
	return page;
}

/* The only node of a request, or NUMA_NO_NODE. */
static __always_inline int cdm_only_node(int nid, const nodemask_t *nodemask)
{
	if (!nodemask)
		return nid;
	if (MAX_NUMNODES <= BITS_PER_LONG)
		return is_power_of_2(nodemask->bits[0]) ? __ffs(nodemask->bits[0]) : NUMA_NO_NODE;
	nid = first_node(*nodemask);
	return next_node(nid, *nodemask) == MAX_NUMNODES ? nid : NUMA_NO_NODE;
}

static bool cdm_traced(void)
{
	return trace_cdm_charge_fail_enabled() || trace_cdm_policy_enabled();
}

/* A quota that is used up, and is asked for again and again. */
static struct page *cdm_alloc_refused(gfp_t gfp, int nid)
{
	return __alloc_pages_raw(gfp, 0, cdm_nearest_ram(nid), NULL);
}

/*
 * Who pays where current works for others, and that is simple: the group of
 * cdm_payer()'s answer. NULL if that has to be asked, or if who pays is not all that
 * matters. RCU read side.
 */
static __always_inline struct cdm_group *cdm_scope_group(const struct cdm_scope *scope)
{
	struct mem_cgroup *memcg;

	if (!in_task() || scope->ram)
		return NULL;
	if (!scope->src)
		return cdm_mm_group(scope->mm);
	memcg = cdm_folio(scope->src) ? NULL : folio_memcg_check(scope->src);
	if (!memcg)
		return NULL;
	/* None where cdm is not enabled: an ancestor's then. */
	return css_cdm(rcu_dereference(memcg->css.cgroup->subsys[cdm_cgrp_id]));
}

/* The id of the owner that 1 << @order pages were charged to, or 0. RCU read side. */
static __always_inline u16 cdm_charge_fast(struct cdm_group *group, unsigned int idx,
					   unsigned int order)
{
	struct cdm_owner *limit;

	if (likely(!order))
		return cdm_stock_take(group->id, idx) ? group->id : 0;
	return cdm_try_charge(group->owner, idx, 1U << order, &limit);
}

/*
 * The way in that most pages take: a task wants movable memory, a base page or a
 * huge page, on one node that has plenty, and for a base page this CPU has charge of
 * who pays in stock. What is not so simple, or does not work, gets NULL and is left
 * to cdm_alloc_slow(). @from is the node that is preferred; it may be one of RAM.
 */
static __always_inline struct page *cdm_alloc_fast(gfp_t gfp, unsigned int order, int nid,
						   int from)
{
	const gfp_t movable = __GFP_HIGHMEM | __GFP_MOVABLE;
	const gfp_t special = __GFP_ACCOUNT | __GFP_WRITE;
	struct task_struct *task = current;
	struct zone *zone = cdm_zone(nid);
	struct cdm_group *group;
	bool refused = false;
	unsigned int idx;
	struct page *page;
	u16 id = 0;

	if (unlikely((gfp & (movable | special)) != movable ||
		     (task->flags & (PF_MEMALLOC | PF_MEMALLOC_PIN)) || cdm_charge_may_fail()))
		return NULL;
	if (cpusets_enabled() && !node_isset(nid, task->mems_allowed))
		return NULL;
	if (unlikely(!cdm_has_plenty(zone, order)))
		return NULL;
	idx = cdm_idx[nid];
	rcu_read_lock();
	group = unlikely(task->cdm_scope) ? cdm_scope_group(task->cdm_scope) :
		cdm_mm_group(task->mm);
	if (likely(group)) {
		id = cdm_charge_fast(group, idx, order);
		if (unlikely(!id) && !order && !task->cdm_scope && !(gfp & __GFP_THISNODE) &&
		    !cdm_traced())
			refused = cdm_refuse_page(group, idx);
	}
	rcu_read_unlock();
	if (unlikely(!id))
		return refused ? cdm_alloc_refused(gfp, from) : NULL;
	page = __alloc_pages_zone(gfp, order, zone);
	if (unlikely(!page)) {
		cdm_uncharge(id, idx, 1U << order);
		return NULL;
	}
	if (unlikely(order)) {
		cdm_set_owner(page, order, id);
		return page;
	}
	preempt_disable();
	*cdm_owner_slot(page, idx) = id;
	preempt_enable();
	return page;
}

/* As a function of its own: what it needs is not saved for base pages. */
static noinline struct page *cdm_alloc_huge(gfp_t gfp, unsigned int order, int nid, int from)
{
	return cdm_alloc_fast(gfp, order, nid, from);
}

/**
 * cdm_alloc_pages - allocate for a request that names a CDM node
 * @gfp: flags
 * @order: order
 * @nid: preferred node
 * @nodemask: nodes allowed, or NULL
 *
 * Context: that of __alloc_pages(); sleeps only if @gfp allows it.
 * Return: the page, charged to its owner if it is on a CDM node; NULL as
 * __alloc_pages() or if the payer's policy says so.
 */
struct page *cdm_alloc_pages(gfp_t gfp, unsigned int order, int nid, nodemask_t *nodemask)
{
	int node = cdm_only_node(nid, nodemask);
	struct page *page;

	might_alloc(gfp);
	if (likely(node != NUMA_NO_NODE)) {
		/* Two copies: all that is said of an order goes away in the first. */
		page = likely(!order) ? cdm_alloc_fast(gfp, 0, node, nid) :
			cdm_alloc_huge(gfp, order, node, nid);
		if (likely(page))
			return page;
	}
	return cdm_alloc_slow(gfp, order, nid, nodemask);
}

/*
 * alloc_contig_range() took pages of the node out of the free lists itself:
 * charge them now. What it migrated away was charged as any migration is.
 */
int __cdm_alloc_contig(unsigned long start_pfn, unsigned long end_pfn, gfp_t gfp)
{
	struct page *page = pfn_to_page(start_pfn);
	unsigned int idx = cdm_node_idx(page_to_nid(page));
	unsigned long nr = end_pfn - start_pfn;
	struct cdm_owner *payer, *limit;
	u16 id;

	rcu_read_lock();
	payer = cdm_payer(cdm_current_scope());
	id = cdm_charge_owner(payer, idx, nr, gfp, &limit);
	if (!id) {
		cdm_event(limit, idx, CDM_EV_MAX);
		cdm_event(payer, idx, CDM_EV_FAIL);
	}
	rcu_read_unlock();

	if (id) {
		cdm_set_owner_range(page, nr, id);
		return 0;
	}
	if (gfp & __GFP_COMP)
		__free_pages(page, ilog2(nr));
	else
		free_contig_range(start_pfn, nr);
	return -ENOMEM;
}
