// SPDX-License-Identifier: GPL-2.0
/*
 * The door: every allocation that names a CDM node comes here
 *
 * Charge first, allocate second, and apply the policy if either fails:
 *
 *   request names           tried, in this order
 *   ----------------------  ---------------------------------------------------
 *   CDM only                CDM by distance, policy
 *   CDM and RAM             whichever is nearer, the other, policy
 *   kernel memory, or a     RAM
 *   cpuset without the node
 *
 *   policy                  what the request gets
 *   ----------------------  ---------------------------------------------------
 *   fallback                RAM
 *   fail                    nothing
 *   reclaim,fallback        colder pages make way, CDM again, RAM
 *   reclaim,fail            colder pages make way, CDM again, nothing
 *
 * Each node's policy says whether pages make way on it, and those of which
 * subtree: that of the group in whose cdm.policy the word stands, as far as the
 * limit that was met. The policy of the first node says what the request gets
 * in the end. If cdm.low promises the group more pages than it has, others'
 * pages make way first, under every policy.
 *
 * "Nothing" is only for a page without contents, and only where the user asked
 * for no other memory than CDM: see cdm_may_refuse(). Otherwise it is RAM.
 *
 * Two kinds of requests get nothing under every policy when CDM has no room:
 * those with __GFP_THISNODE, as ever, and the copy of a folio that is being
 * migrated, which stays where it is. A request for a large folio that may fail
 * quietly gets nothing while base pages still fit, so that its caller comes
 * back for those: a quota can be used to the last page.
 */
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/vmstat.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/cdm.h>

/**
 * cdm_node_allowed - may current have pages of a node?
 * @nid: the node
 *
 * Context: any.
 * Return: true if the node has memory and the cpuset of a task includes it.
 */
bool cdm_node_allowed(int nid)
{
	return node_state(nid, N_MEMORY) &&
	       (!cpusets_enabled() || !in_task() ||
		node_isset(nid, cpuset_current_mems_allowed));
}

/*
 * Reclaim in a task whose memory policy names CDM allocates for itself (buffers
 * of what it writes), not for the task, nor for whom the task works: a scope is
 * none of its business unless it began in reclaim, as that of a migration does.
 */
static bool cdm_is_for_reclaim(const struct cdm_request *rq)
{
	return (current->flags & PF_MEMALLOC) &&
	       !(rq->scope && rq->scope->memalloc);
}

/**
 * cdm_candidates - nodes that a request may use
 * @rq: the request
 * @nodes: set to the CDM nodes, none if the request is for RAM after all
 * @ram: set to the nodes with RAM that the request names
 *
 * Context: any.
 * Return: true if RAM is named and not farther away than CDM.
 */
bool cdm_candidates(const struct cdm_request *rq, nodemask_t *nodes,
		    nodemask_t *ram)
{
	int nid;

	nodes_clear(*nodes);
	nodes_clear(*ram);
	/* Not movable: kernel memory, or the target of a long-term pin. */
	if (gfp_zone(rq->gfp) != ZONE_MOVABLE)
		return false;
	if (rq->scope && rq->scope->ram_only)
		return false;
	if (cdm_is_for_reclaim(rq))
		return false;
	/*
	 * A kernel thread has no memory policy. It met that of a file that it
	 * writes to, for whoever it may be.
	 */
	if (rq->only_free && (rq->nodemask || rq->prefers))
		return false;
	if (rq->nodemask) {
		nodes_and(*nodes, *rq->nodemask, cdm_nodes);
		nodes_andnot(*ram, *rq->nodemask, cdm_nodes);
	} else {
		__node_set(rq->nid, nodes);
	}
	for_each_node_mask(nid, *nodes)
		if (!cdm_node_allowed(nid) || !cdm_may_place(rq->scope, nid))
			__node_clear(nid, nodes);
	return !nodes_empty(*nodes) && !nodes_empty(*ram) &&
	       node_distance(rq->nid, cdm_nearest(rq->nid, ram)) <=
	       node_distance(rq->nid, cdm_nearest(rq->nid, nodes));
}

/**
 * cdm_is_denied - does a folio stay because of who wants it on a CDM node?
 * @rq: the request for its copy, after cdm_candidates() left no CDM node
 * @ram: the nodes with RAM that it names
 *
 * Context: any.
 * Return: true if so: it names no other node, and may not have one of those.
 */
bool cdm_is_denied(const struct cdm_request *rq, const nodemask_t *ram)
{
	if (!rq->scope || !rq->scope->denied || !nodes_empty(*ram))
		return false;
	rq->scope->no_room = true;
	return true;
}

/**
 * cdm_nearest - the nearest of some nodes
 * @from: a node
 * @nodes: at least one
 *
 * Context: any.
 * Return: the nearest; @from if it is one of them.
 */
int cdm_nearest(int from, const nodemask_t *nodes)
{
	int nid, best = NUMA_NO_NODE;

	for_each_node_mask(nid, *nodes)
		if (best == NUMA_NO_NODE || nid == from ||
		    (best != from &&
		     node_distance(from, nid) < node_distance(from, best)))
			best = nid;
	return best;
}

/**
 * cdm_request_ram - where a request for RAM may look
 * @rq: the request
 * @ram: space for the answer
 *
 * Context: any.
 * Return: @ram, set to the nodes with RAM that the request names, which are
 * none if it names no node at all. NULL, which means any, if it names CDM nodes
 * only.
 */
nodemask_t *cdm_request_ram(const struct cdm_request *rq, nodemask_t *ram)
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

	return __alloc_pages_raw(gfp & ~__GFP_THISNODE, rq->order,
				 cdm_nearest_ram(rq->nid),
				 cdm_request_ram(rq, &ram));
}

/* Only what is free. */
static gfp_t cdm_quick(gfp_t gfp)
{
	return (gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) | __GFP_NOWARN;
}

/* RAM in the end: where it is named, or anywhere if that was a preference. */
static struct page *cdm_end_in_ram(struct cdm_request *rq)
{
	struct page *page;

	if (rq->prefers) {
		page = cdm_alloc_ram(rq, cdm_quick(rq->gfp));
		if (page)
			return page;
		rq->nodemask = NULL;
	}
	return cdm_alloc_ram(rq, rq->gfp);
}

/* Pages on other CPUs' lists are free, but the allocator does not see them. */
static bool cdm_pcp_holds(struct zone *zone, unsigned long nr)
{
	unsigned long count = 0;
	int cpu;

	for_each_online_cpu(cpu)
		count += READ_ONCE(per_cpu_ptr(zone->per_cpu_pageset,
					       cpu)->count);
	return count >= nr;
}

/*
 * By node index: jiffies. Until then pages below the node's high watermark are
 * left to requests that have pages demoted. Otherwise a group that takes what
 * it finds would take what was freed for others, and pages, its own included,
 * would be demoted for ever. The same holds for what kswapd demotes beyond that
 * mark: less than a batch, which may wait for the batch's end on a CPU's list.
 */
static unsigned long cdm_reserved_until[CDM_MAX_NODES];

#define CDM_RESERVE_TIME	HZ
#define CDM_RESERVE_SLACK	(2 * CDM_RECLAIM_BATCH)

static __always_inline bool cdm_has_plenty(struct zone *zone,
					   unsigned int order)
{
	return zone_page_state(zone, NR_FREE_PAGES) >
	       high_wmark_pages(zone) + CDM_RESERVE_SLACK + (1UL << order);
}

/*
 * Is what the node keeps free kept for @owner, too? Either it competes for the
 * whole node, or cdm.low promises it @nr pages more than it has.
 */
static bool cdm_claims_reserve(struct cdm_owner *owner, unsigned int idx,
			       unsigned int nr)
{
	return cdm_get_policy(owner, idx).reach == cdm_root_owner ||
	       cdm_is_entitled(owner, cdm_root_owner, idx, nr);
}

/*
 * May @owner take 1 << @order of the free pages? All but @nr of them are
 * charged to it already. What was just demoted for the request is for it.
 */
static bool cdm_may_take(const struct cdm_request *rq, struct cdm_owner *owner,
			 int nid, unsigned int order, unsigned int nr)
{
	unsigned int idx = cdm_node_idx(nid);
	struct zone *zone = cdm_zone(nid);

	if (likely(cdm_has_plenty(zone, order)))
		return true;
	if (!rq->only_free && cdm_claims_reserve(owner, idx, nr)) {
		WRITE_ONCE(cdm_reserved_until[idx], jiffies + CDM_RESERVE_TIME);
		return true;
	}
	return rq->freed >= 1UL << order ||
	       !time_before(jiffies, READ_ONCE(cdm_reserved_until[idx])) ||
	       cdm_pcp_holds(zone, high_wmark_pages(zone) + (1UL << order));
}

static struct page *cdm_take_page(const struct cdm_request *rq, int nid,
				  bool wake_kswapd)
{
	gfp_t gfp = rq->gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL |
				__GFP_ACCOUNT);
	struct page *page;

	if (!wake_kswapd)
		gfp &= ~__GFP_KSWAPD_RECLAIM;
	/* A request that cannot wait may not use up reserves here either. */
	gfp |= __GFP_THISNODE | __GFP_NOWARN | __GFP_NOMEMALLOC;
	page = __alloc_pages_raw(gfp, rq->order, nid, NULL);
	if (!page && cdm_may_reclaim(rq->gfp) &&
	    cdm_pcp_holds(cdm_zone(nid), 1UL << rq->order)) {
		drain_all_pages(cdm_zone(nid));
		page = __alloc_pages_raw(gfp, rq->order, nid, NULL);
	}
	return page;
}

/* Migration within a node: the entry follows the folio, nobody pays twice. */
static bool cdm_is_copy_within(const struct cdm_request *rq, int nid)
{
	return rq->scope && rq->scope->src &&
	       folio_nid(rq->scope->src) == nid &&
	       cdm_get_owner(&rq->scope->src->page);
}

/**
 * cdm_note_miss - remember that the first node could not serve a request
 * @rq: the request
 * @nid: a node that was tried
 * @limited: a limit has no room; otherwise the node has no page
 *
 * Context: any.
 */
void cdm_note_miss(struct cdm_request *rq, int nid, bool limited)
{
	if (rq->missed != NUMA_NO_NODE)
		return;
	rq->missed = nid;
	rq->limited = limited;
}

/* Drains other CPUs' stocks if the request may wait for that. */
static u16 cdm_charge_owner(struct cdm_owner *payer, unsigned int idx,
			    unsigned long nr, gfp_t gfp,
			    struct cdm_owner **limit)
{
	if (cdm_should_fail_charge()) {
		*limit = payer;
		return 0;
	}
	return gfpflags_allow_blocking(gfp) ?
		       cdm_charge_wait(payer, idx, nr, limit) :
		       cdm_try_charge(payer, idx, nr, limit);
}

/**
 * cdm_charge - charge a request
 * @rq: the request; takes note of a miss
 * @nid: node to charge for
 *
 * Context: any; waits for other CPUs if the request may block.
 * Return: id of the owner that was charged, 0 for none.
 */
u16 cdm_charge(struct cdm_request *rq, int nid)
{
	struct cdm_owner *payer, *limit;
	unsigned int idx = cdm_node_idx(nid);
	u16 id;

	rcu_read_lock();
	payer = cdm_find_payer(rq->scope);
	if (unlikely(!payer)) {
		cdm_note_miss(rq, nid, false);
		rcu_read_unlock();
		return 0;
	}
	id = cdm_charge_owner(payer, idx, 1U << rq->order, rq->gfp, &limit);
	if (unlikely(!id)) {
		cdm_note_miss(rq, nid, true);
		cdm_event(limit, idx, CDM_EV_MAX);
		trace_cdm_charge_fail(nid, payer->cgroup, limit->cgroup,
				      rq->order);
	}
	rcu_read_unlock();
	return id;
}

/*
 * What a driver has accounted, with __GFP_ACCOUNT, is charged to cdm, and to
 * memory as well only if device memory counts there. Gives the page back if
 * memory.max has no room for it, which is no lack of device memory.
 */
static bool cdm_account_page(struct cdm_request *rq, struct page *page)
{
	if (likely(!(rq->gfp & __GFP_ACCOUNT)) || cdm_nodes_are_exempt() ||
	    !memcg_kmem_online() ||
	    !__memcg_kmem_charge_page(page, rq->gfp, rq->order))
		return true;
	rq->memcg_full = true;
	cdm_note_miss(rq, page_to_nid(page), false);
	__free_pages(page, rq->order);
	return false;
}

/* One try on one node. */
static struct page *cdm_alloc_node(struct cdm_request *rq, int nid)
{
	unsigned int idx = cdm_node_idx(nid);
	struct cdm_owner *owner;
	struct page *page;
	bool take, wake;
	u16 id;

	if (cdm_is_copy_within(rq, nid)) {
		page = cdm_take_page(rq, nid, false);
		if (!page)
			cdm_note_miss(rq, nid, false);
		return page;
	}

	id = cdm_charge(rq, nid);
	if (!id)
		return NULL;
	take = likely(cdm_has_plenty(cdm_zone(nid), rq->order));
	wake = false;
	if (!take || rq->order) {
		rcu_read_lock();
		owner = cdm_owner_by_id(id);
		take = take || cdm_may_take(rq, owner, nid, rq->order, 0);
		/* kswapd is for those who compete for the whole node. */
		wake = take && !rq->only_free &&
		       cdm_claims_reserve(owner, idx, 0);
		rcu_read_unlock();
	}
	page = take ? cdm_take_page(rq, nid, wake) : NULL;
	if (likely(page)) {
		cdm_set_owner(page, rq->order, id);
		if (unlikely(!cdm_account_page(rq, page)))
			return NULL;
		rq->freed -= min(rq->freed, 1UL << rq->order);
		if (in_task())
			current->cdm_refused = false;
		return page;
	}

	cdm_cancel_charge(id, idx, 1U << rq->order);
	rcu_read_lock();
	cdm_note_miss(rq, nid, false);
	owner = cdm_find_payer(rq->scope);
	if (owner)
		cdm_event(owner, idx, CDM_EV_DEPLETED);
	rcu_read_unlock();
	return NULL;
}

static struct page *cdm_alloc_nodes(struct cdm_request *rq, nodemask_t nodes)
{
	struct page *page = NULL;

	while (!page && !rq->memcg_full && !nodes_empty(nodes)) {
		int nid = cdm_nearest(rq->nid, &nodes);

		page = cdm_alloc_node(rq, nid);
		__node_clear(nid, &nodes);
	}
	return page;
}

/* Would a base page still fit where a large folio did not? */
static bool cdm_base_page_fits(const struct cdm_request *rq)
{
	struct zone *zone = cdm_zone(rq->missed);

	return cdm_headroom(rq->payer, cdm_node_idx(rq->missed)) &&
	       zone_watermark_ok(zone, 0, min_wmark_pages(zone), ZONE_MOVABLE,
				 0) &&
	       cdm_may_take(rq, rq->payer, rq->missed, 0, 1);
}

/* A large folio that may fail: the caller asks for base pages next. */
static bool cdm_may_split(const struct cdm_request *rq)
{
	return rq->order && (rq->gfp & __GFP_NOWARN);
}

/* May the request be tried again in another form, without a word of it? */
static bool cdm_is_probe(const struct cdm_request *rq)
{
	return cdm_may_split(rq) || (!gfpflags_allow_blocking(rq->gfp) &&
				     (rq->gfp & __GFP_NOWARN));
}

/* Does the memory policy of an area, or else of the task, allow only CDM? */
static bool cdm_vma_is_strict(struct vm_area_struct *vma)
{
	struct mempolicy *pol = vma->vm_policy ?: current->mempolicy;

	return pol && pol->mode == MPOL_BIND &&
	       nodes_subset(pol->nodes, cdm_nodes);
}

/**
 * cdm_may_refuse - may a request be refused, if that is the policy?
 * @rq: the request
 *
 * Data that exists is never refused: swap-in, copies and the like take RAM. And
 * nobody is refused by what others wish: a preference ends in RAM, and so does
 * a memory policy that somebody else gave to shared memory. Fresh pages of
 * anonymous memory are told by __GFP_ZERO, where the architecture has pages
 * zeroed as they are allocated, as x86 and arm64 do; without a nodemask it is a
 * driver that names the node.
 *
 * Context: task; a fault that needs the page has its VMA locked.
 * Return: true if so.
 */
bool cdm_may_refuse(const struct cdm_request *rq)
{
	if (rq->prefers)
		return false;
	if (!rq->nodemask)
		return true;
	if (!nodes_subset(*rq->nodemask, cdm_nodes))
		return false;
	if (rq->scope && rq->scope->hole)
		return !rq->scope->vmf ||
		       cdm_vma_is_strict(rq->scope->vmf->vma);
	/* A large folio is cleared later. Its base pages come next. */
	return (rq->gfp & __GFP_ZERO) || cdm_may_split(rq);
}

/* Does cdm.low promise the payer @nr pages more than it has on the node? */
static bool cdm_is_promised(const struct cdm_request *rq, int nid,
			    unsigned int nr)
{
	unsigned int idx = cdm_node_idx(nid);
	struct cdm_owner *limit = cdm_find_limit(rq->payer, idx, nr);

	return cdm_is_entitled(rq->payer, limit ?: cdm_root_owner, idx, nr);
}

/* Have pages make way on a node, if the policy or cdm.low of the payer says. */
static struct page *cdm_make_way(struct cdm_request *rq, int nid)
{
	unsigned int idx = cdm_node_idx(nid);
	struct cdm_way way = {
		.idx = idx,
		.payer = rq->payer,
		.nr_pages = 1UL << rq->order,
		.gfp = rq->gfp,
		.last_resort = !cdm_may_split(rq) && cdm_may_refuse(rq) &&
			       cdm_get_policy(rq->payer, idx).fails,
	};
	/* For a large folio more room does not help if it is in pieces. */
	int rounds = cdm_may_split(rq) ? 1 : CDM_RECLAIM_ROUNDS;
	struct page *page = NULL;

	if (!cdm_find_way(&way, cdm_find_limit(rq->payer, idx, way.nr_pages)))
		return NULL;
	cdm_event(rq->payer, idx, CDM_EV_RECLAIM);
	while (!page && rounds--) {
		rq->freed = cdm_reclaim(&way);
		if (!rq->freed && !way.others)
			break;
		page = cdm_alloc_node(rq, nid);
		if (rq->memcg_full || fatal_signal_pending(current))
			break;
	}
	rq->freed = 0;
	return page;
}

/* The same on each of some nodes, by distance. */
static struct page *cdm_make_way_on(struct cdm_request *rq, nodemask_t nodes)
{
	struct page *page = NULL;

	if (rq->only_free || !cdm_may_reclaim(rq->gfp))
		return NULL;
	while (!page && !nodes_empty(nodes)) {
		int nid = cdm_nearest(rq->nid, &nodes);

		page = cdm_make_way(rq, nid);
		__node_clear(nid, &nodes);
	}
	return page;
}

static struct page *cdm_fail(struct cdm_request *rq)
{
	cdm_event(rq->payer, cdm_node_idx(rq->missed), CDM_EV_FAIL);
	if (in_task())
		current->cdm_refused = true;
	return NULL;
}

/*
 * Does everything stay as it is without a page? A folio that was to move to the
 * node stays where it is, and base pages are not collapsed. (A folio that has
 * to leave its page within the node may go to RAM.)
 */
static bool cdm_source_stays(const struct cdm_request *rq)
{
	if (!rq->scope)
		return false;
	if (rq->scope->src)
		return folio_nid(rq->scope->src) != rq->missed;
	return rq->scope->collapse;
}

/* memory.max was exceeded: RAM, which it limits as well, is no way out. */
static struct page *cdm_fail_memcg(struct cdm_request *rq)
{
	if (!cdm_is_probe(rq))
		cdm_event(rq->payer, cdm_node_idx(rq->missed), CDM_EV_FAIL);
	return NULL;
}

/* All @nodes that the request names have missed: what now? */
static struct page *cdm_apply_policy(struct cdm_request *rq, nodemask_t nodes)
{
	unsigned int idx = cdm_node_idx(rq->missed);
	struct cdm_effective_policy policy = cdm_get_policy(rq->payer, idx);
	bool stays = cdm_source_stays(rq);
	struct page *page;

	if (unlikely(rq->memcg_full))
		return cdm_fail_memcg(rq);
	trace_cdm_policy(rq->missed, rq->payer->cgroup,
			 policy.reach ? policy.reach->cgroup : 0, policy.fails,
			 rq->order, !rq->limited);
	if (cdm_may_split(rq) && !stays && cdm_base_page_fits(rq))
		return NULL;

	page = cdm_make_way_on(rq, nodes);
	if (page)
		return page;
	if (unlikely(rq->memcg_full))
		return cdm_fail_memcg(rq);
	/* What was demoted, or may yet be, can do for base pages. */
	if (cdm_may_split(rq) && !stays &&
	    (cdm_base_page_fits(rq) || cdm_is_promised(rq, rq->missed, 1)))
		return NULL;

	if (!(rq->gfp & __GFP_NOFAIL)) {
		if (stays) {
			rq->scope->no_room = true;
			cdm_event(rq->payer, idx, policy.fails ?
					  CDM_EV_FAIL : CDM_EV_FALLBACK);
			return NULL;
		}
		if ((policy.fails && cdm_may_refuse(rq)) ||
		    (rq->gfp & __GFP_THISNODE))
			return cdm_is_probe(rq) ? NULL : cdm_fail(rq);
	}
	cdm_event(rq->payer, idx, CDM_EV_FALLBACK);
	return cdm_end_in_ram(rq);
}

/*
 * A request that insists on a node that it may not have. Kernel memory fails as
 * ever, on a node that has none for it. Whatever the node could serve would not
 * be charged: it is past the task's cpuset, or reclaim's own.
 */
static struct page *cdm_alloc_nothing(const struct cdm_request *rq, gfp_t gfp)
{
	if (gfp_zone(rq->gfp) == ZONE_MOVABLE)
		return NULL;
	return __alloc_pages_raw(gfp, rq->order, rq->nid, rq->nodemask);
}

/* Nobody is there any more to pay for a page on a device. */
static struct page *cdm_alloc_unowned(struct cdm_request *rq)
{
	if (!cdm_source_stays(rq))
		return cdm_end_in_ram(rq);
	rq->scope->no_room = true;
	return NULL;
}

/* Any request: see cdm_alloc_pages(). */
static noinline struct page *cdm_alloc_slow(gfp_t gfp, unsigned int order,
					    int nid, nodemask_t *nodemask,
					    bool prefers)
{
	struct cdm_request rq = {
		.gfp = current_gfp_context(gfp & gfp_allowed_mask),
		.order = order,
		.nid = nid,
		.nodemask = nodemask,
		.scope = cdm_current_scope(),
		.prefers = prefers,
		.missed = NUMA_NO_NODE,
	};
	struct page *page = NULL;
	nodemask_t nodes, ram;
	bool ram_first;

	rq.only_free = !cdm_payer_is_known(rq.scope);
	ram_first = cdm_candidates(&rq, &nodes, &ram);
	if (unlikely(nodes_empty(nodes))) {
		if (cdm_is_denied(&rq, &ram))
			return NULL;
		if ((gfp & __GFP_THISNODE) && !(rq.scope && rq.scope->ram_only))
			return cdm_alloc_nothing(&rq, gfp);
		return cdm_end_in_ram(&rq);
	}

	/* RAM that comes before the policy. */
	if (ram_first)
		page = cdm_alloc_ram(&rq, cdm_quick(gfp));
	if (!page)
		page = cdm_alloc_nodes(&rq, nodes);
	if (!page && !ram_first && !nodes_empty(ram))
		page = cdm_alloc_ram(&rq, cdm_quick(gfp));
	if (likely(page))
		return page;

	rcu_read_lock();
	rq.payer = cdm_find_payer(rq.scope);
	if (likely(rq.payer))
		rq.payer = cdm_owner_get(rq.payer);
	rcu_read_unlock();
	if (likely(rq.payer)) {
		page = cdm_apply_policy(&rq, nodes);
		cdm_owner_put(rq.payer);
	} else {
		page = cdm_alloc_unowned(&rq);
	}
	return page;
}

/*
 * For a memory policy that prefers a node, whatever its other nodes are: see
 * cdm_alloc_mpol(). Only its address counts.
 */
nodemask_t cdm_prefers __read_mostly = NODE_MASK_ALL;

/* The only node of a request, or NUMA_NO_NODE. */
static __always_inline int cdm_only_node(int nid, const nodemask_t *nodemask)
{
	if (!nodemask || nodemask == &cdm_prefers)
		return nid;
	if (MAX_NUMNODES <= BITS_PER_LONG)
		return is_power_of_2(nodemask->bits[0]) ?
			       __ffs(nodemask->bits[0]) :
			       NUMA_NO_NODE;
	nid = first_node(*nodemask);
	return next_node(nid, *nodemask) == MAX_NUMNODES ? nid : NUMA_NO_NODE;
}

/* A base page in RAM, for a payer whose quota is used up. */
static struct page *cdm_alloc_fallback(gfp_t gfp, int nid)
{
	return __alloc_pages_raw(gfp, 0, cdm_nearest_ram(nid), NULL);
}

static bool cdm_is_traced(void)
{
	return trace_cdm_charge_fail_enabled() || trace_cdm_policy_enabled();
}

/*
 * cdm_get_policy() for the most common answer: nobody makes way, take RAM. A
 * policy that comes to the same in another way is left to the slow way. RCU
 * read side.
 */
static __always_inline bool cdm_only_falls_back(const struct cdm_owner *owner,
						unsigned int idx)
{
	/* Pairs with smp_store_release() in cdm_counter_create(). */
	const struct cdm_counter *c = smp_load_acquire(&owner->counter[idx]);

	if (unlikely(!c))
		return false;
	while (READ_ONCE(c->policy) == CDM_INHERIT && c->parent)
		c = c->parent;
	return READ_ONCE(c->policy) == CDM_FALLBACK;
}

/*
 * Must a base page for a payer whose quota is used up come from RAM, without
 * another look at the node? The events are counted then. RCU read side.
 */
static bool cdm_must_fall_back(const struct cdm_group *group, unsigned int idx)
{
	struct cdm_owner *limit;

	if (!cdm_only_falls_back(group->owner, idx))
		return false;
	limit = cdm_full_limit(group->owner, idx);
	if (!limit)
		return false;
	cdm_count_fallback(group->id, limit->id, idx);
	return true;
}

/*
 * The payer where current works for others, if that is simple: the group of
 * what cdm_find_payer() returns. NULL if that has to be called, or if the payer
 * is not all that matters. RCU read side.
 */
static __always_inline struct cdm_group *
cdm_scope_group(const struct cdm_scope *scope)
{
	struct mem_cgroup *memcg;
	struct cdm_group *group;
	struct cgroup *cgrp;

	if (!in_task() || scope->ram_only)
		return NULL;
	if (!scope->src)
		return cdm_mm_group(scope->mm);
	memcg = folio_is_cdm(scope->src) ? NULL :
					   folio_memcg_check(scope->src);
	if (!memcg)
		return NULL;
	/* None where cdm is not enabled: an ancestor's then. */
	cgrp = memcg->css.cgroup;
	group = css_cdm(rcu_dereference(cgrp->subsys[cdm_cgrp_id]));
	/*
	 * What is its own a task may place wherever its own limits have room.
	 * About anything else __cdm_may_place() asks, which may sleep.
	 */
	if (scope->mover && group != cdm_mm_group(scope->mover))
		return NULL;
	return group;
}

/*
 * Id of the owner that 1 << @order pages were charged to, or 0. RCU read side.
 */
static __always_inline u16 cdm_charge_fast(struct cdm_group *group,
					   unsigned int idx, unsigned int order)
{
	struct cdm_owner *limit;

	if (likely(!order))
		return cdm_stock_take(group->id, idx) ? group->id : 0;
	return cdm_try_charge(group->owner, idx, 1U << order, &limit);
}

/*
 * The way that most pages take: a task asks for movable memory, a base page or
 * a huge page, on one node that has plenty; and for a base page this CPU has
 * charge of the payer in stock. Whatever is not as simple, or fails, gets NULL
 * and is left to cdm_alloc_slow(). @from is the preferred node, which may be
 * RAM.
 */
static __always_inline struct page *cdm_alloc_fast(gfp_t gfp,
						   unsigned int order, int nid,
						   int from)
{
	const gfp_t movable = __GFP_HIGHMEM | __GFP_MOVABLE;
	const gfp_t special = __GFP_ACCOUNT | __GFP_WRITE;
	struct task_struct *task = current;
	struct zone *zone = cdm_zone(nid);
	struct cdm_group *group;
	bool fall_back = false;
	unsigned int idx;
	struct page *page;
	u16 id = 0;

	if (unlikely((gfp & (movable | special)) != movable ||
		     (task->flags & (PF_MEMALLOC | PF_MEMALLOC_PIN)) ||
		     cdm_charge_may_fail()))
		return NULL;
	/* An interrupt has nothing to do with the task. */
	if (unlikely(!gfpflags_allow_blocking(gfp)) && !in_task())
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
		if (unlikely(!id) && !order && !task->cdm_scope &&
		    !(gfp & __GFP_THISNODE) && !cdm_is_traced())
			fall_back = cdm_must_fall_back(group, idx);
	}
	rcu_read_unlock();
	if (unlikely(!id))
		return fall_back ? cdm_alloc_fallback(gfp, from) : NULL;
	page = __alloc_pages_zone(gfp, order, zone);
	if (unlikely(!page)) {
		cdm_cancel_charge(id, idx, 1U << order);
		return NULL;
	}
	if (unlikely(order)) {
		cdm_set_owner(page, order, id);
		return page;
	}
	preempt_disable();
	*cdm_entry(page, idx) = id;
	preempt_enable();
	return page;
}

/*
 * Not inlined: base pages should not pay for the registers that this needs. For
 * orders that CPUs have no lists of there is no short way.
 */
static noinline struct page *cdm_alloc_huge(gfp_t gfp, unsigned int order,
					    int nid, int from)
{
	if (order > PAGE_ALLOC_COSTLY_ORDER &&
	    !(IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
	      order == HPAGE_PMD_ORDER))
		return NULL;
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
struct page *cdm_alloc_pages(gfp_t gfp, unsigned int order, int nid,
			     nodemask_t *nodemask)
{
	int node = cdm_only_node(nid, nodemask);
	struct page *page;

	might_alloc(gfp);
	if (likely(node != NUMA_NO_NODE)) {
		/*
		 * Two copies, so that the first is free of tests of the order.
		 */
		page = likely(!order) ? cdm_alloc_fast(gfp, 0, node, nid) :
					cdm_alloc_huge(gfp, order, node, nid);
		if (likely(page))
			return page;
	}
	if (nodemask == &cdm_prefers)
		return cdm_alloc_slow(gfp, order, nid, NULL, true);
	return cdm_alloc_slow(gfp, order, nid, nodemask, false);
}

/**
 * cdm_alloc_preferred - allocate for a memory policy that prefers CDM nodes
 * @gfp: flags
 * @order: order
 * @nid: preferred node
 * @nodemask: nodes that are preferred, some of them CDM
 *
 * alloc_pages_preferred_many() tries the nodes without reclaim, and then any
 * others. The door does both at once, so that pages may make way.
 *
 * Context: as cdm_alloc_pages().
 * Return: the page, or NULL as __alloc_pages().
 */
struct page *cdm_alloc_preferred(gfp_t gfp, unsigned int order, int nid,
				 nodemask_t *nodemask)
{
	might_alloc(gfp);
	return cdm_alloc_slow(gfp, order, nid, nodemask, true);
}

/*
 * alloc_contig_range() has taken pages of the node out of the free lists:
 * charge them now. What it migrated away was charged as in any migration.
 */
int __cdm_alloc_contig(unsigned long start_pfn, unsigned long end_pfn,
		       gfp_t gfp)
{
	struct page *page = pfn_to_page(start_pfn);
	unsigned int idx = cdm_node_idx(page_to_nid(page));
	unsigned long nr = end_pfn - start_pfn;
	struct cdm_owner *payer, *limit;
	u16 id;

	rcu_read_lock();
	payer = cdm_find_payer(cdm_current_scope());
	id = payer ? cdm_charge_owner(payer, idx, nr, gfp, &limit) : 0;
	if (payer && !id) {
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
