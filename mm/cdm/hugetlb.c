// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages of a pool on a CDM node
 *
 * The node's own nr_hugepages file sets the size of the pool. Its pages are
 * charged to the root group, whatever group wrote the file: a pool is the
 * administrator's decision and outlives that group. A task that takes a page
 * from the pool pays for it until the page is returned.
 *
 * A page is taken under hugetlb_lock, where it is impossible to wait. Room
 * under the limit is made before that; if another task takes it, the policy
 * decides at once.
 */
#include <linux/hugetlb.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "internal.h"

/* @folio, charged to @id already, is no longer charged to its old owner. */
static void cdm_hugetlb_set_owner(struct folio *folio, u16 id)
{
	unsigned int idx = cdm_node_idx(folio_nid(folio));
	u16 old = cdm_get_owner(&folio->page);

	cdm_set_owner_range(&folio->page, folio_nr_pages(folio), id);
	if (old)
		cdm_uncharge(old, idx, folio_nr_pages(folio));
}

/* Charge the root for a page that returns to its pool. hugetlb_lock held. */
void __cdm_hugetlb_to_pool(struct folio *folio)
{
	unsigned int idx = cdm_node_idx(folio_nid(folio));
	struct cdm_owner *limit;
	u16 id;

	if (cdm_get_owner(&folio->page) == CDM_ROOT_ID)
		return;
	rcu_read_lock();
	/* The root has no limit. */
	id = cdm_try_charge(cdm_root_owner, idx, folio_nr_pages(folio), &limit);
	rcu_read_unlock();
	cdm_hugetlb_set_owner(folio, id);
}

static struct folio *
cdm_dequeue_ram(struct hstate *h, int nid, nodemask_t nodes,
		struct folio *(*dequeue)(struct hstate *h, int nid))
{
	struct folio *folio = NULL;

	while (!folio && !nodes_empty(nodes)) {
		int near = cdm_nearest(nid, &nodes);

		if (cdm_node_allowed(near))
			folio = dequeue(h, near);
		__node_clear(near, &nodes);
	}
	return folio;
}

/* Take a page of the RAM that a request for CDM may have instead. */
static struct folio *
cdm_dequeue_instead(const struct cdm_request *rq, struct hstate *h,
		    struct folio *(*dequeue)(struct hstate *h, int nid))
{
	nodemask_t ram, *mask = cdm_request_ram(rq, &ram);

	return cdm_dequeue_ram(h, cdm_nearest_ram(rq->nid),
			       mask ? *mask : *cdm_ram_nodes(), dequeue);
}

static struct folio *
cdm_dequeue_node(struct cdm_request *rq, struct hstate *h, int nid,
		 struct folio *(*dequeue)(struct hstate *h, int nid))
{
	struct folio *folio;
	u16 id;

	if (!h->free_huge_pages_node[nid]) {
		cdm_note_miss(rq, nid, false);
		return NULL;
	}
	id = cdm_charge(rq, nid);
	if (!id)
		return NULL;
	folio = dequeue(h, nid);
	if (!folio) {
		/* The free pages are bad, or may not be pinned. */
		cdm_uncharge(id, cdm_node_idx(nid), 1U << rq->order);
		cdm_note_miss(rq, nid, false);
		return NULL;
	}
	cdm_hugetlb_set_owner(folio, id);
	current->cdm_refused = false;
	return folio;
}

/* All nodes that the request names have missed. */
static struct folio *
cdm_dequeue_policy(struct cdm_request *rq, struct hstate *h,
		   struct folio *(*dequeue)(struct hstate *h, int nid))
{
	unsigned int idx = cdm_node_idx(rq->missed);
	struct folio *folio = NULL;
	struct cdm_owner *payer;

	/* No reserved page for a copy: its caller asks the allocator next. */
	if (rq->scope && rq->scope->src)
		return NULL;
	rcu_read_lock();
	payer = cdm_find_payer(rq->scope);
	if (!rq->limited)
		cdm_event(payer, idx, CDM_EV_DEPLETED);
	/* Not a copy, and with a nodemask, or it would only be preferred. */
	if (rq->nodemask && rq->scope && rq->scope->hole &&
	    cdm_may_refuse(rq) &&
	    cdm_get_policy(payer, idx).fails) {
		current->cdm_refused = true;
		cdm_event(payer, idx, CDM_EV_FAIL);
	} else {
		folio = cdm_dequeue_instead(rq, h, dequeue);
		if (folio)
			cdm_event(payer, idx, CDM_EV_FALLBACK);
	}
	rcu_read_unlock();
	return folio;
}

/**
 * cdm_dequeue_hugetlb - take a page from a pool for a request that names a CDM
 * node
 * @h: size
 * @gfp: flags
 * @nid: preferred node
 * @nodemask: nodes allowed, or NULL
 * @dequeue: takes a page of a node's pool
 *
 * The order of nodes and the policy are those of cdm_alloc_pages(), except that
 * nothing is demoted, because it is impossible to wait here.
 *
 * Context: task, hugetlb_lock held.
 * Return: the page, charged to its owner if it is on a CDM node, or NULL.
 */
struct folio *
cdm_dequeue_hugetlb(struct hstate *h, gfp_t gfp, int nid, nodemask_t *nodemask,
		    struct folio *(*dequeue)(struct hstate *h, int nid))
{
	struct cdm_request rq = {
		.gfp = current_gfp_context(gfp) & ~__GFP_DIRECT_RECLAIM,
		.order = huge_page_order(h),
		.nid = nid,
		.nodemask = nodemask == &cdm_prefers ? NULL : nodemask,
		.scope = cdm_current_scope(),
		.missed = NUMA_NO_NODE,
	};
	struct folio *folio = NULL;
	nodemask_t nodes, ram;
	bool ram_first;

	ram_first = cdm_candidates(&rq, &nodes, &ram);
	if (nodes_empty(nodes))
		return cdm_dequeue_instead(&rq, h, dequeue);
	if (ram_first)
		folio = cdm_dequeue_ram(h, nid, ram, dequeue);
	while (!folio && !nodes_empty(nodes)) {
		int near = cdm_nearest(nid, &nodes);

		folio = cdm_dequeue_node(&rq, h, near, dequeue);
		__node_clear(near, &nodes);
	}
	if (!folio && !ram_first)
		folio = cdm_dequeue_ram(h, nid, ram, dequeue);
	if (!folio)
		folio = cdm_dequeue_policy(&rq, h, dequeue);
	return folio;
}

/*
 * Demote until @nr pages fit under the limits of @payer, if its policy or its
 * cdm.low says so. Sleeps.
 */
static void cdm_make_room(struct cdm_owner *payer, unsigned int idx,
			  unsigned int nr)
{
	struct cdm_way way = {
		.idx = idx,
		.payer = payer,
		.nr_pages = nr,
		.gfp = GFP_KERNEL,
		.last_resort = cdm_get_policy(payer, idx).fails,
	};
	struct cdm_owner *limit;
	unsigned long got;
	int round;
	u16 id;

	if (cdm_headroom(payer, idx) >= nr)
		return;
	cdm_drain(idx);
	for (round = 0;
	     round < CDM_RECLAIM_ROUNDS && !fatal_signal_pending(current);
	     round++) {
		rcu_read_lock();
		id = cdm_try_charge(payer, idx, nr, &limit);
		rcu_read_unlock();
		if (id) {
			cdm_uncharge(id, idx, nr);
			return;
		}
		/* The limit is the payer's, or that of an ancestor. */
		if (!cdm_find_way(&way, limit))
			return;
		if (!round)
			cdm_event(payer, idx, CDM_EV_RECLAIM);
		got = cdm_reclaim(&way);
		if (!got && !way.others)
			return;
		cdm_drain(idx);
	}
}

/* Make room for a pool page of @order that a fault at @addr will take. */
void __cdm_hugetlb_prepare(struct vm_area_struct *vma, unsigned long addr,
			   unsigned int order)
{
	struct cdm_request rq = {
		.gfp = GFP_HIGHUSER_MOVABLE,
		.order = order,
		.scope = cdm_current_scope(),
	};
	struct mempolicy *mpol;
	struct cdm_owner *payer;
	nodemask_t nodes, ram;

	rq.nid = huge_node(vma, addr, rq.gfp, &mpol, &rq.nodemask);
	if (rq.nodemask == &cdm_prefers)
		rq.nodemask = NULL;
	if (cdm_is_named(rq.nid, rq.nodemask)) {
		cdm_candidates(&rq, &nodes, &ram);
		if (!nodes_empty(nodes)) {
			rcu_read_lock();
			payer = cdm_owner_get(cdm_find_payer(rq.scope));
			rcu_read_unlock();
			cdm_make_room(payer,
				      cdm_node_idx(cdm_nearest(rq.nid, &nodes)),
				      1U << order);
			cdm_owner_put(payer);
		}
	}
	mpol_cond_put(mpol);
}
