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
 *
 * Reservations count the pools of RAM. Those of a task whose memory policy
 * names CDM nodes count the pools there which its cpuset and its limits allow,
 * as far as nobody else has reserved them:
 *
 *   the policy			not enough on the device
 *   -------------------------	-------------------------------------------
 *   allows only CDM nodes	pages beyond the pool (overcommit), or ENOMEM
 *   prefers them, or names	the whole reservation is in RAM
 *   RAM as well
 *
 * A reservation is charged to nobody, but cannot exceed the limits. The pages
 * are those of the node, and any free one of them will do.
 */
#include <linux/hugetlb.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hugetlb.h"
#include "internal.h"

/**
 * struct cdm_resv - what a reservation map has reserved on CDM nodes
 * @h:		size of the pages
 * @owner:	whose limits allowed it, with a reference while @total is not 0
 * @total:	huge pages, on all nodes
 * @pages:	the same by node index
 * @cdm:	there was a reservation at some time
 *
 * hugetlb_lock protects all of it, and the pointer in struct resv_map.
 */
struct cdm_resv {
	struct hstate *h;
	struct cdm_owner *owner;
	unsigned long total;
	unsigned int pages[CDM_MAX_NODES];
	bool cdm;
};

/* Reserved huge pages by size and node index; hugetlb_lock. */
static unsigned int cdm_resv_pages[HUGE_MAX_HSTATE][CDM_MAX_NODES];

/*
 * The mapping that a page is dequeued for. Without @active it is another user
 * who has made sure that RAM has a page for him. hugetlb_lock.
 */
static struct {
	bool active;
	bool reserved;
	struct cdm_resv *resv;
} cdm_taker;

/*
 * Pools of RAM
 */

unsigned long __cdm_hugetlb_in_ram(unsigned long sum, const unsigned int *nodes)
{
	unsigned long cdm = 0;
	int nid;

	for_each_node_mask(nid, cdm_nodes)
		cdm += nodes[nid];
	/* Readers take no lock. */
	return sum - min(sum, cdm);
}

unsigned long __cdm_hugetlb_target(struct hstate *h, unsigned long count,
				   const nodemask_t *nodes)
{
	unsigned long sum = count;
	int nid;

	for_each_node_mask(nid, cdm_nodes)
		if (!node_isset(nid, *nodes))
			sum += h->nr_huge_pages_node[nid] -
			       h->surplus_huge_pages_node[nid];
	/* As much as possible was asked for. */
	return sum < count ? ULONG_MAX : sum;
}

unsigned long __cdm_hugetlb_free_apart(struct hstate *h,
				       const nodemask_t *nodes)
{
	unsigned long sum = 0;
	int nid;

	for_each_node_mask(nid, cdm_nodes)
		if (!node_isset(nid, *nodes))
			sum += h->free_huge_pages_node[nid];
	return sum;
}

/* Free pages in RAM that are not reserved; less than 0 if some were lost. */
static long cdm_ram_spare(struct hstate *h)
{
	return cdm_ram_free_huge(h) - h->resv_huge_pages;
}

/*
 * Reservations on CDM nodes
 */

unsigned long __cdm_hugetlb_resv(struct hstate *h, int nid)
{
	return cdm_resv_pages[hstate_index(h)][cdm_node_idx(nid)];
}

bool __cdm_hugetlb_spare(struct hstate *h, int nid)
{
	return h->free_huge_pages_node[nid] > __cdm_hugetlb_resv(h, nid);
}

void __cdm_hugetlb_taker(struct resv_map *map, bool reserved)
{
	cdm_taker.active = true;
	cdm_taker.reserved = reserved;
	cdm_taker.resv = map && map->cdm && map->cdm->total ? map->cdm : NULL;
}

void __cdm_hugetlb_no_taker(void)
{
	cdm_taker.active = false;
	cdm_taker.reserved = false;
	cdm_taker.resv = NULL;
}

bool __cdm_hugetlb_may_take(struct hstate *h, int nid)
{
	bool has_cdm = cdm_taker.reserved && cdm_taker.resv;

	if (node_is_cdm(nid))
		return (has_cdm && cdm_taker.resv->pages[cdm_node_idx(nid)]) ||
		       __cdm_hugetlb_spare(h, nid);
	if (!cdm_taker.active || (cdm_taker.reserved && !has_cdm))
		return true;
	return cdm_ram_spare(h) > 0;
}

/* Add @nr pages, which may be less than 0, to a reservation. */
static void cdm_resv_add(struct cdm_resv *resv, struct hstate *h,
			 unsigned int idx, long nr)
{
	struct cdm_counter *counter = resv->owner->counter[idx];

	lockdep_assert_held(&hugetlb_lock);
	resv->pages[idx] += nr;
	resv->total += nr;
	cdm_resv_pages[hstate_index(h)][idx] += nr;
	for (; counter; counter = counter->parent)
		counter->reserved += nr * (long)pages_per_huge_page(h);
	if (!resv->total) {
		cdm_owner_put(resv->owner);
		resv->owner = NULL;
	}
}

/* Take up to @nr pages off a reservation; returns how many it was. */
static unsigned long cdm_resv_drop(struct cdm_resv *resv, struct hstate *h,
				   unsigned long nr)
{
	unsigned long left = nr, n;
	unsigned int idx;

	for (idx = 0; idx < CDM_MAX_NODES && left && resv->total; idx++) {
		n = min_t(unsigned long, left, resv->pages[idx]);
		if (n)
			cdm_resv_add(resv, h, idx, -(long)n);
		left -= n;
	}
	return nr - left;
}

/*
 * Returns false if it was a page of RAM that was reserved. What was reserved on
 * a device goes with the first pages, wherever they are. If @folio is returned
 * unused, the reservation is not restored.
 */
bool __cdm_hugetlb_consume(struct hstate *h, struct folio *folio,
			   struct resv_map *map)
{
	struct cdm_resv *resv = map ? map->cdm : NULL;
	int idx = cdm_node_idx(folio_nid(folio));

	if (!resv || !resv->total)
		return false;
	if (idx >= 0 && resv->pages[idx])
		cdm_resv_add(resv, h, idx, -1);
	else
		cdm_resv_drop(resv, h, 1);
	folio_clear_hugetlb_restore_reserve(folio);
	return true;
}

/* How many pages of a node do the limits of @owner allow to reserve? */
static unsigned long cdm_reservable(struct cdm_owner *owner, unsigned int idx,
				    struct hstate *h)
{
	unsigned long max, room = ULONG_MAX;
	struct cdm_counter *counter;

	/* Pairs with the release in cdm_counter_create(). */
	counter = smp_load_acquire(&owner->counter[idx]);
	if (!counter)
		return 0;
	for (; counter; counter = counter->parent) {
		max = READ_ONCE(counter->max);
		room = min(room, max - min(max, counter->reserved));
	}
	return room / pages_per_huge_page(h);
}

/* CDM nodes that current's memory policy names and its cpuset allows. */
static nodemask_t cdm_policy_nodes(bool *only)
{
	struct mempolicy *pol = get_task_policy(current);
	nodemask_t nodes;
	int nid;

	*only = pol->mode != MPOL_PREFERRED &&
		pol->mode != MPOL_PREFERRED_MANY &&
		nodes_subset(pol->nodes, cdm_nodes);
	nodes_and(nodes, pol->nodes, cdm_nodes);
	for_each_node_mask(nid, nodes)
		if (!cdm_node_allowed(nid))
			__node_clear(nid, &nodes);
	return nodes;
}

/* Free pages that nobody has reserved; less than 0 if some were lost. */
static long cdm_node_spare(struct hstate *h, int nid)
{
	return (long)h->free_huge_pages_node[nid] -
	       (long)__cdm_hugetlb_resv(h, nid);
}

static long cdm_pool_spare(struct hstate *h, const nodemask_t *nodes)
{
	long sum = 0;
	int nid;

	for_each_node_mask(nid, *nodes)
		sum += max(cdm_node_spare(h, nid), 0L);
	return sum;
}

/*
 * hugetlb_acct_memory() for pages beyond the pools of CDM nodes, with the task
 * bound to these. It counts them for RAM meanwhile.
 */
static int cdm_acct_beyond(struct hstate *h, long delta, cdm_acct_t acct)
{
	struct cdm_scope scope;
	int ret;

	cdm_scope_begin(&scope, NULL, NULL);
	scope.pools = true;
	ret = acct(h, delta);
	cdm_scope_end(&scope);
	return ret;
}

static bool cdm_is_beyond(void)
{
	struct cdm_scope *scope = cdm_current_scope();

	return scope && scope->pools;
}

nodemask_t *__cdm_hugetlb_surplus(void)
{
	return cdm_is_beyond() ? &cdm_nodes : cdm_ram_nodes();
}

long __cdm_hugetlb_needed(struct hstate *h, long delta)
{
	nodemask_t nodes;
	bool only;

	if (!cdm_is_beyond())
		return delta - cdm_ram_spare(h);
	nodes = cdm_policy_nodes(&only);
	return delta - cdm_pool_spare(h, &nodes);
}

bool __cdm_hugetlb_bound(const nodemask_t *nodes)
{
	return cdm_is_beyond() && nodes_subset(*nodes, cdm_nodes);
}

/* Do the limits of @owner allow to reserve @nr pages on @nodes? */
static bool cdm_limits_allow(struct cdm_owner *owner, struct hstate *h,
			     unsigned long nr, const nodemask_t *nodes)
{
	unsigned long sum = 0;
	int nid;

	for_each_node_mask(nid, *nodes)
		sum += min(nr, cdm_reservable(owner, cdm_node_idx(nid), h));
	return sum >= nr;
}

/* Reserve @nr pages on @nodes, the nearest first: all or none. */
static bool cdm_resv_get(struct cdm_resv *resv, struct cdm_owner *owner,
			 struct hstate *h, unsigned long nr, nodemask_t nodes)
{
	unsigned long left = nr, n;
	unsigned int idx;
	int nid;

	/* Of a file: one cgroup does not pay with the limits of another. */
	if (resv->total && resv->owner != owner)
		return false;
	if (!cdm_limits_allow(owner, h, nr, &nodes) ||
	    cdm_pool_spare(h, &nodes) < (long)nr)
		return false;
	if (!resv->total) {
		rcu_read_lock();
		resv->owner = cdm_owner_get(owner);
		rcu_read_unlock();
	}
	while (left && !nodes_empty(nodes)) {
		nid = cdm_nearest(numa_node_id(), &nodes);
		__node_clear(nid, &nodes);
		idx = cdm_node_idx(nid);
		n = min3(left, cdm_reservable(resv->owner, idx, h),
			 (unsigned long)max(cdm_node_spare(h, nid), 0L));
		if (n)
			cdm_resv_add(resv, h, idx, n);
		left -= n;
	}
	if (!left) {
		resv->cdm = true;
		return true;
	}
	if (left < nr) {
		cdm_resv_drop(resv, h, nr - left);
	} else if (!resv->total) {
		cdm_owner_put(resv->owner);
		resv->owner = NULL;
	}
	return false;
}

/*
 * As hugetlb_acct_memory(), for pages of a device. Pages beyond the pool are
 * had by @acct: it allocates them where the task is bound, and counts them for
 * RAM until they are found in the pool.
 */
static int cdm_reserve(struct cdm_resv *resv, struct cdm_owner *owner,
		       struct hstate *h, long nr, const nodemask_t *nodes,
		       bool only, cdm_acct_t acct)
{
	bool got, allowed;
	int ret;

	spin_lock_irq(&hugetlb_lock);
	allowed = cdm_limits_allow(owner, h, nr, nodes);
	got = cdm_resv_get(resv, owner, h, nr, *nodes);
	spin_unlock_irq(&hugetlb_lock);
	if (got)
		return 0;
	if (!only)
		return acct(h, nr);
	if (!allowed || get_task_policy(current)->mode != MPOL_BIND)
		return -ENOMEM;

	ret = cdm_acct_beyond(h, nr, acct);
	if (ret)
		return ret;
	spin_lock_irq(&hugetlb_lock);
	got = cdm_resv_get(resv, owner, h, nr, *nodes);
	if (got)
		h->resv_huge_pages -= nr;
	spin_unlock_irq(&hugetlb_lock);
	if (got)
		return 0;
	cdm_acct_beyond(h, -nr, acct);
	return -ENOMEM;
}

/*
 * Returns false if the page had been reserved in RAM, where another may have
 * taken it since.
 */
bool __cdm_hugetlb_restore(struct hstate *h, struct folio *folio,
			   struct resv_map *map)
{
	unsigned int idx = cdm_node_idx(folio_nid(folio));
	struct cdm_resv *resv = map ? map->cdm : NULL;
	struct cdm_owner *owner;
	bool restore;

	/* Not by free_huge_folio(), which does it for RAM. */
	folio_clear_hugetlb_restore_reserve(folio);
	if (!resv)
		return false;
	spin_lock_irq(&hugetlb_lock);
	rcu_read_lock();
	owner = resv->total ? resv->owner :
			      cdm_find_payer(cdm_current_scope());
	restore = resv->cdm && cdm_reservable(owner, idx, h);
	if (restore) {
		if (!resv->total)
			resv->owner = cdm_owner_get(owner);
		cdm_resv_add(resv, h, idx, 1);
	}
	rcu_read_unlock();
	spin_unlock_irq(&hugetlb_lock);
	return restore;
}

/* Drop what is reserved on a device first. */
static int cdm_unreserve(struct cdm_resv *resv, struct hstate *h, long nr,
			 cdm_acct_t acct)
{
	unsigned long dropped;
	bool surplus = false;
	int nid;

	spin_lock_irq(&hugetlb_lock);
	dropped = cdm_resv_drop(resv, h, nr);
	for_each_node_mask(nid, cdm_nodes)
		surplus |= h->surplus_huge_pages_node[nid];
	surplus = surplus && dropped;
	if (surplus)
		h->resv_huge_pages += dropped;
	spin_unlock_irq(&hugetlb_lock);
	if (surplus)
		cdm_acct_beyond(h, -(long)dropped, acct);
	return acct(h, (long)dropped - nr);
}

/* The map's reservation on CDM nodes, which is made if there is none. */
static struct cdm_resv *cdm_resv_of(struct resv_map *map, struct hstate *h)
{
	struct cdm_resv *resv = READ_ONCE(map->cdm), *new;

	if (resv)
		return resv;
	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return NULL;
	new->h = h;
	resv = cmpxchg(&map->cdm, NULL, new);
	if (!resv)
		return new;
	kfree(new);
	return resv;
}

int __cdm_hugetlb_acct(struct hstate *h, long delta, struct resv_map *map,
		       cdm_acct_t acct)
{
	struct cdm_owner *owner;
	struct cdm_resv *resv;
	nodemask_t nodes;
	bool only;
	int ret;

	if (!map || !delta)
		return acct(h, delta);
	if (delta < 0) {
		resv = READ_ONCE(map->cdm);
		return resv ? cdm_unreserve(resv, h, -delta, acct) :
			      acct(h, delta);
	}
	nodes = cdm_policy_nodes(&only);
	if (nodes_empty(nodes))
		return acct(h, delta);
	resv = cdm_resv_of(map, h);
	if (!resv)
		return -ENOMEM;
	rcu_read_lock();
	owner = cdm_owner_get(cdm_find_payer(cdm_current_scope()));
	rcu_read_unlock();
	ret = cdm_reserve(resv, owner, h, delta, &nodes, only, acct);
	cdm_owner_put(owner);
	return ret;
}

/*
 * The map goes. What it has left was kept for the minimum of its file system
 * (hugepage_subpool), which is RAM's.
 */
void __cdm_resv_free(struct cdm_resv *resv)
{
	spin_lock_irq(&hugetlb_lock);
	if (resv->total)
		resv->h->resv_huge_pages += cdm_resv_drop(resv, resv->h,
							  resv->total);
	spin_unlock_irq(&hugetlb_lock);
	kfree(resv);
}

/*
 * Pages in use
 */

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

	/* Nobody has looked yet: the request may be for a device. */
	if (!cdm_taker.active && cdm_ram_spare(h) <= 0)
		return NULL;
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
		cdm_cancel_charge(id, cdm_node_idx(nid), 1U << rq->order);
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
	if (unlikely(!payer)) {
		rcu_read_unlock();
		return cdm_dequeue_instead(rq, h, dequeue);
	}
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
	if (nodes_empty(nodes) && cdm_is_denied(&rq, &ram))
		return NULL;
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
	bool fits;

	for (round = 0;
	     round < CDM_RECLAIM_ROUNDS && !fatal_signal_pending(current);
	     round++) {
		rcu_read_lock();
		fits = cdm_make_fit(payer, idx, nr, &limit);
		rcu_read_unlock();
		if (fits)
			return;
		/* The limit is the payer's, or that of an ancestor. */
		if (!cdm_find_way(&way, limit))
			return;
		if (!round)
			cdm_event(payer, idx, CDM_EV_RECLAIM);
		got = cdm_reclaim(&way);
		if (!got && !way.others)
			return;
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
			payer = cdm_find_payer(rq.scope);
			if (likely(payer))
				payer = cdm_owner_get(payer);
			rcu_read_unlock();
			if (likely(payer)) {
				cdm_make_room(payer,
					      cdm_node_idx(cdm_nearest(rq.nid,
								       &nodes)),
					      1U << order);
				cdm_owner_put(payer);
			}
		}
	}
	mpol_cond_put(mpol);
}
