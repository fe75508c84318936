// SPDX-License-Identifier: GPL-2.0
/*
 * Reclaim of coherent device memory: demotion of colder pages to RAM
 *
 *   on behalf of              whose pages                      breaks cdm.low
 *   ------------------------  -------------------------------  --------------
 *   a request over a limit    of the reach of its policy, but  never
 *                             not above the limit's group
 *   a request on a depleted   of the reach of its policy       never
 *   node
 *   a request that cdm.low    of the limit's group and those   never
 *   promises room             below it, or anybody's
 *   a lower cdm.max,          of the group and those below it  if it must
 *   cdm.reclaim
 *   kswapd                    anybody's on the node            never
 *
 * Pages go to RAM only; nothing is swapped or written out for a quota. So
 * without room in RAM, or in the owner's memory.max, reclaim fails and the
 * policy's next step is taken. The LRU lists of the memory controller say what
 * is cold. Every group with cdm has them, because cdm depends on memory.
 *
 * A request has a batch demoted at a time, from one group after the other: the
 * next request continues where this one ended. Protected pages are left alone;
 * of those, the group that asks may only take its own.
 */
#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/psi.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/sysctl.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include <trace/events/cdm.h>

#include "internal.h"

/*
 * Passes over the groups for one call. The first scans a batch of each group's
 * pages, each further pass twice as many, and in the end all of them. So the
 * pages of all groups age at the same pace, even those not scanned for long. If
 * all pages are in use it takes a few passes until some are old, but not many:
 * reclaim ends after CDM_FUTILE_SCANS scans of each page that freed nothing.
 */
#define CDM_RECLAIM_PASSES	(DEF_PRIORITY + 8)
#define CDM_FUTILE_SCANS	4

/* After this many scans of a whole group recently used pages are taken, too. */
#define CDM_FULL_SCANS		2

/*
 * If RAM will do, reclaim is not tried again for CDM_FUTILE_TIME after it
 * scanned this many pages and freed nothing.
 */
#define CDM_FUTILE_PAGES	2048
#define CDM_FUTILE_TIME		(HZ / 10)

/* Pages of the largest folio that the lists may give. */
#define CDM_LARGEST	(IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ?	\
			 (unsigned long)HPAGE_PMD_NR : 1)

/* Time between two looks into the batches of other CPUs. */
#define CDM_DRAIN_TIME		(HZ / 10)

/* Ticks that a request waits for pages that others are moving, or for RAM. */
#define CDM_WAIT_TICKS		10

/*
 * Rounds below a lowered cdm.max that may demote nothing before it gives up.
 * Each may wait for CDM_DRAIN_TIME.
 */
#define CDM_EXCESS_RETRIES	4

/**
 * struct cdm_walk - one reclaim from a subtree
 * @root:	owner of the subtree's group
 * @payer:	whom pages make way for, or NULL
 * @request:	somebody asks for a page: what is demoted is taken from others
 * @memcg:	its group of the memory controller
 * @pgdat:	the node
 * @idx:	its index
 * @gfp:	flags of the request that waits
 * @wanted:	pages wanted
 * @got:	pages demoted
 * @futile:	pages scanned in groups where all of them stayed
 * @forced:	recently used pages were scanned, too
 * @last_resort: the request has no other way out
 * @low:	take protected pages
 * @protected:	set if there were protected pages
 * @ram_full:	set if RAM had no room for a page
 * @full_memcg: a group whose memory.max had none; only compared, not
 *		referenced
 * @before:	cdm_demoted at the start
 */
struct cdm_walk {
	struct cdm_owner *root;
	struct cdm_owner *payer;
	bool request;
	struct mem_cgroup *memcg;
	pg_data_t *pgdat;
	unsigned int idx;
	gfp_t gfp;
	unsigned long wanted;
	unsigned long got;
	unsigned long futile;
	bool forced;
	bool last_resort;
	bool low;
	bool protected;
	bool ram_full;
	struct mem_cgroup *full_memcg;
	long before;
};

/*
 * By node index: walks that are taking pages at the moment, and pages demoted
 * since boot. Isolated pages are on no list, and MGLRU counts them nowhere.
 */
static atomic_t cdm_nr_walkers[CDM_MAX_NODES];
static atomic_long_t cdm_demoted[CDM_MAX_NODES];

/*
 * By node index: jiffies when the batches of all CPUs were last put on the
 * lists for the node; under the mutex, which is held meanwhile.
 */
static unsigned long cdm_lru_drained[CDM_MAX_NODES];
static DEFINE_MUTEX(cdm_lru_mutex);

/**
 * cdm_may_reclaim - may this request wait for demotion?
 * @gfp: its flags
 *
 * Context: any.
 * Return: true if so.
 */
bool cdm_may_reclaim(gfp_t gfp)
{
	return gfpflags_allow_blocking(gfp) && !(current->flags & PF_MEMALLOC);
}

/*
 * What part of a group's @pages does a pass scan? See mem_cgroup_demote_node().
 * Below 0 it is all of them, for as many times as the number says.
 */
static int cdm_priority(unsigned long pages, int pass)
{
	int first = ilog2(max(pages / CDM_RECLAIM_BATCH, 1));

	return min(first, DEF_PRIORITY - 1) - pass;
}

/* Pages on the lists of @memcg itself, whoever they are charged to. */
static unsigned long cdm_nr_listed(struct mem_cgroup *memcg, pg_data_t *pgdat)
{
	struct lruvec *lruvec = mem_cgroup_lruvec(memcg, pgdat);
	unsigned long pages = 0;
	enum lru_list lru;

	for_each_evictable_lru(lru)
		pages += mem_cgroup_get_zone_lru_size(lruvec, lru,
						      ZONE_MOVABLE);
#ifdef CONFIG_LRU_GEN
	for (int gen = 0; gen < MAX_NR_GENS; gen++) {
		for (int type = 0; type < ANON_AND_FILE; type++) {
			long *nr = lruvec->lrugen.nr_pages[gen][type];

			pages += max(READ_ONCE(nr[ZONE_MOVABLE]), 0L);
		}
	}
#endif
	return pages;
}

/*
 * A folio that is larger than what may still be taken stays: splitting it would
 * cost its group more than the request gains.
 */
bool __cdm_may_demote(const struct folio *folio)
{
	struct cdm_scope *scope = cdm_current_scope();
	unsigned long nr = folio_nr_pages(folio);

	if (!scope || !scope->bounded)
		return true;
	if (scope->allowance < nr)
		return false;
	scope->allowance -= nr;
	return true;
}

/*
 * Demote @nr pages of @memcg, or more by less than a batch or a huge page, but
 * never more than @share says. Returns how many there were.
 */
static unsigned long cdm_demote(struct cdm_walk *walk, struct mem_cgroup *memcg,
				unsigned long nr, const struct cdm_share *share,
				int priority)
{
	bool force = priority <= -CDM_FULL_SCANS;
	unsigned long got, scanned = 0;
	struct cdm_scope scope;

	/* __cdm_get_new_folio() notes here what had no room for a page. */
	cdm_scope_begin(&scope, NULL, NULL);
	scope.ram_only = true;
	scope.bounded = share->counter;
	scope.allowance = share->pages;
	atomic_inc(&cdm_nr_walkers[walk->idx]);
	got = mem_cgroup_demote_node(memcg, walk->pgdat, nr, max(priority, 0),
				     force, walk->gfp, &scanned);
	atomic_long_add(got, &cdm_demoted[walk->idx]);
	atomic_dec(&cdm_nr_walkers[walk->idx]);
	cdm_scope_end(&scope);

	walk->forced |= force;
	walk->got += got;
	if (scope.ram_full)
		walk->ram_full = true;
	else if (scope.memcg_full)
		walk->full_memcg = memcg;
	else if (!got)
		walk->futile += scanned;
	return got;
}

/* Demote some of what @memcg itself has. The caller holds a reference. */
static void cdm_walk_group(struct cdm_walk *walk, struct mem_cgroup *memcg,
			   int pass)
{
	struct cdm_share share;
	struct cdm_owner *owner;
	unsigned long listed, wanted, got;
	bool low;

	/*
	 * One that is being made has no pages, and no place in the LRU's lists.
	 */
	if (!mem_cgroup_online(memcg) && !css_is_dying(&memcg->css))
		return;
	listed = cdm_nr_listed(memcg, walk->pgdat);
	if (!listed)
		return;
	rcu_read_lock();
	owner = cdm_owner_get(cdm_memcg_owner(memcg));
	rcu_read_unlock();
	wanted = walk->wanted - walk->got;
	/* The lists give a batch, or a huge page. */
	cdm_get_share(owner, walk->root, walk->idx,
		      max3(wanted, CDM_RECLAIM_BATCH, CDM_LARGEST), &share);
	low = share.low;
	if (low)
		walk->protected = true;
	if (low && walk->low)
		share = (struct cdm_share){ .pages = CDM_RECLAIM_BATCH };
	if (share.pages && walk->full_memcg != memcg &&
	    !cdm_memcg_is_full(memcg)) {
		got = cdm_demote(walk, memcg, min(share.pages, wanted), &share,
				 cdm_priority(listed, pass));
		if (low && got)
			cdm_event(owner, walk->idx, CDM_EV_LOW);
		if (walk->request && got)
			cdm_count_taken(owner, walk->payer, walk->idx, got);
	}
	cdm_put_share(walk->idx, &share);
	cdm_owner_put(owner);
	cond_resched();
}

/*
 * From the group after @memcg to the one with id @last; all of them if that is
 * 0. @memcg has a reference that is dropped, unless it is the walk's root.
 */
static void cdm_walk_part(struct cdm_walk *walk, struct mem_cgroup *memcg,
			  unsigned short last, int pass)
{
	struct cdm_counter *c = walk->root->counter[walk->idx];
	unsigned long before;

	while (walk->got < walk->wanted && !fatal_signal_pending(current)) {
		memcg = mem_cgroup_iter(walk->memcg, memcg, NULL);
		if (!memcg)
			return;
		before = walk->got;
		cdm_walk_group(walk, memcg, pass);
		if (walk->got > before)
			WRITE_ONCE(c->last_memcg, mem_cgroup_id(memcg));
		if (last && mem_cgroup_id(memcg) == last)
			break;
	}
	mem_cgroup_iter_break(walk->memcg, memcg);
}

/*
 * Once over the groups, starting after the one that was the last to give pages.
 */
static void cdm_walk_once(struct cdm_walk *walk, int pass)
{
	unsigned short last =
		READ_ONCE(walk->root->counter[walk->idx]->last_memcg);
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = last ? mem_cgroup_from_id(last) : NULL;
	/*
	 * As mem_cgroup_iter() has it: the caller's reference does for the
	 * root, and nobody would drop another one.
	 */
	if (memcg && memcg != walk->memcg &&
	    (!mem_cgroup_is_descendant(memcg, walk->memcg) ||
	     !css_tryget(&memcg->css)))
		memcg = NULL;
	rcu_read_unlock();
	if (memcg)
		cdm_walk_part(walk, memcg, 0, pass);
	cdm_walk_part(walk, NULL, memcg ? last : 0, pass);
}

static void cdm_walk(struct cdm_walk *walk)
{
	unsigned long enough = CDM_FUTILE_SCANS *
			       READ_ONCE(walk->root->counter[walk->idx]->usage);
	int pass;

	walk->futile = 0;
	walk->forced = false;
	for (pass = 0; pass < CDM_RECLAIM_PASSES && walk->got < walk->wanted;
	     pass++) {
		cdm_walk_once(walk, pass);
		/* Scanning more only helps if what was found could leave. */
		if (fatal_signal_pending(current) ||
		    (walk->ram_full && !walk->got) ||
		    (walk->futile > enough && walk->forced))
			break;
	}
}

/* For the rest of the kernel this is direct reclaim. */
static void cdm_walk_direct(struct cdm_walk *walk)
{
	struct reclaim_state state = { };
	unsigned int noreclaim;

	fs_reclaim_acquire(walk->gfp);
	noreclaim = memalloc_noreclaim_save();
	current->reclaim_state = &state;
	cdm_walk(walk);
	current->reclaim_state = NULL;
	memalloc_noreclaim_restore(noreclaim);
	fs_reclaim_release(walk->gfp);
}

/* Have others demoted pages meanwhile, so that there may be room? */
static bool cdm_others_demoted(const struct cdm_walk *walk)
{
	return atomic_long_read(&cdm_demoted[walk->idx]) - walk->before >
	       walk->got;
}

/*
 * Have the other CPUs put what is in their batches on the lists, which
 * interrupts what they do: once in CDM_DRAIN_TIME for a node, for all who look
 * for pages there. Who has no other way out waits for the next time.
 *
 * Returns whether that was done since the call.
 */
static bool cdm_drain_batches(struct cdm_walk *walk)
{
	unsigned long *drained = &cdm_lru_drained[walk->idx];
	unsigned long start = jiffies;
	bool done = false;

	while (!done && !mutex_lock_killable(&cdm_lru_mutex)) {
		long wait = *drained + CDM_DRAIN_TIME - jiffies;

		done = time_after(*drained, start);
		if (!done && wait <= 0) {
			*drained = jiffies;
			lru_add_drain_all();
			done = true;
		}
		mutex_unlock(&cdm_lru_mutex);
		if (!done && (!walk->last_resort ||
			      schedule_timeout_killable(wait)))
			break;
	}
	return done;
}

/* Try everything to find pages that are not protected. */
static void cdm_walk_patiently(struct cdm_walk *walk)
{
	int ticks = CDM_WAIT_TICKS;

	/* Pages in this CPU's batches are not on the lists yet. */
	lru_add_drain();
	cdm_walk_direct(walk);
	if (!walk->got && !walk->ram_full && cdm_drain_batches(walk))
		cdm_walk_direct(walk);
	/* Other walks may be making room, or kswapd in RAM. */
	while (!walk->got && !cdm_others_demoted(walk) &&
	       !fatal_signal_pending(current) && ticks-- &&
	       (atomic_read(&cdm_nr_walkers[walk->idx]) ||
		(walk->ram_full && walk->last_resort))) {
		walk->ram_full = false;
		schedule_timeout_killable(1);
		cdm_walk_direct(walk);
	}
}

/**
 * cdm_find_way - whose pages make way for a request that misses?
 * @way: has the node, the payer and the number of pages; gets the rest
 * @limit: owner whose limit has no room, or NULL if the node is depleted
 *
 * If cdm.low promises the payer the pages, everybody's below the limit do.
 * Otherwise those of the reach that the payer's policy has, as far as the
 * limit. Both begin at the payer or above it, so one has the other in it.
 *
 * Context: any; the caller has a reference on the payer.
 * Return: true if anybody's do.
 */
bool cdm_find_way(struct cdm_way *way, struct cdm_owner *limit)
{
	struct cdm_owner *reach = cdm_get_policy(way->payer, way->idx).reach;
	struct cdm_owner *widest = limit ?: cdm_root_owner;

	way->root = widest;
	way->own = reach;
	way->reason = limit ? CDM_FOR_LIMIT : CDM_FOR_DEPLETED;
	if (reach && cdm_owner_is_below(widest, reach))
		return true;
	if (cdm_is_entitled(way->payer, widest, way->idx, way->nr_pages)) {
		way->reason = CDM_FOR_LOW;
		return true;
	}
	way->root = reach;
	return reach;
}

/* One reclaim from the subtree of @root. */
static void cdm_reclaim_from(struct cdm_walk *walk, const struct cdm_way *way,
			     struct cdm_owner *root)
{
	struct cgroup_subsys_state *css;

	/* Without a group the owner has no lists of its own any more. */
	css = cdm_owner_memcg(root);
	if (!css)
		return;
	walk->root = root;
	walk->memcg = mem_cgroup_from_css(css);
	trace_cdm_reclaim_begin(walk->pgdat->node_id, root->cgroup, way->reason,
				walk->wanted);
	cdm_walk_patiently(walk);
	/* Who takes from himself may take what is protected from others. */
	if (!walk->got && !walk->ram_full && walk->protected &&
	    way->reason >= CDM_FOR_EXCESS) {
		walk->low = true;
		cdm_walk_direct(walk);
	}
	trace_cdm_reclaim_end(walk->pgdat->node_id, root->cgroup, way->reason,
			      walk->got);
	css_put(css);
}

/**
 * cdm_reclaim - demote pages of a group and those below it
 * @way: what is wanted of whom, and why
 *
 * A subtree may have thousands of pages of which none can leave, for example
 * because they are pinned. If RAM will do, it is not scanned again for a tenth
 * of a second: each request would scan all of them.
 *
 * Context: process context, not in reclaim; sleeps.
 * Return: pages demoted.
 */
unsigned long cdm_reclaim(struct cdm_way *way)
{
	struct cdm_counter *c = way->root->counter[way->idx];
	bool request = way->reason <= CDM_FOR_LOW;
	struct cdm_walk walk = {
		.payer = way->payer,
		.request = request,
		.pgdat = NODE_DATA(cdm_idx_node(way->idx)),
		.idx = way->idx,
		.gfp = way->gfp,
		.wanted = way->nr_pages,
		.last_resort = way->last_resort,
		.before = atomic_long_read(&cdm_demoted[way->idx]),
	};
	unsigned long pflags;

	way->others = false;
	if (!way->last_resort &&
	    time_before(jiffies, READ_ONCE(c->futile_until)))
		return 0;
	if (request)
		walk.wanted = max(walk.wanted, CDM_RECLAIM_BATCH);

	/* As elsewhere, proactive reclaim is no stall. */
	if (request)
		psi_memstall_enter(&pflags);
	cdm_reclaim_from(&walk, way, way->root);
	/* All that is left is protected: the payer can only take its own. */
	if (way->own && !walk.got && !walk.ram_full && walk.protected &&
	    way->root != way->payer)
		cdm_reclaim_from(&walk, way, way->payer);
	if (request)
		psi_memstall_leave(&pflags);

	way->others = cdm_others_demoted(&walk);
	if (walk.got)
		walk.pgdat->kswapd_failures = 0;
	else if (!way->others && !fatal_signal_pending(current) &&
		 walk.futile > CDM_FUTILE_PAGES)
		WRITE_ONCE(c->futile_until, jiffies + CDM_FUTILE_TIME);
	return walk.got;
}

/**
 * cdm_reclaim_excess - bring usage down to a limit that was lowered below it
 * @owner: the group, with a reference
 * @idx: index of the node
 *
 * Goes in small steps, so that usage ends at the limit or below it by less than
 * a batch or one large folio. Gives up when nothing moves any more, or on a
 * signal.
 *
 * Context: process context, sleeps.
 */
void cdm_reclaim_excess(struct cdm_owner *owner, unsigned int idx)
{
	int retries = CDM_EXCESS_RETRIES;
	struct cdm_way way = {
		.root = owner,
		.idx = idx,
		.gfp = GFP_KERNEL,
		.reason = CDM_FOR_EXCESS,
		.last_resort = true,
	};
	unsigned long excess;

	while ((excess = cdm_excess(owner, idx)) && !signal_pending(current)) {
		way.nr_pages = min(excess, CDM_RECLAIM_BATCH);
		if (!cdm_reclaim(&way) && !retries--)
			break;
		cond_resched();
	}
}

/**
 * cdm_reclaim_proactive - demote pages for a write to cdm.reclaim
 * @owner: the group, with a reference
 * @idx: index of the node
 * @nr_pages: pages
 *
 * Context: process context, sleeps.
 * Return: pages demoted: less than @nr_pages if there are no more, or on a
 * signal.
 */
unsigned long cdm_reclaim_proactive(struct cdm_owner *owner, unsigned int idx,
				    unsigned long nr_pages)
{
	struct cdm_way way = {
		.root = owner,
		.idx = idx,
		.gfp = GFP_KERNEL,
		.reason = CDM_FOR_PROACTIVE,
		.last_resort = true,
	};
	unsigned long done = 0, got;

	while (done < nr_pages && !signal_pending(current)) {
		way.nr_pages = min(nr_pages - done, CDM_RECLAIM_BATCH);
		got = cdm_reclaim(&way);
		if (!got && !way.others)
			break;
		done += got;
		cond_resched();
	}
	return done;
}

/*
 * kswapd: one pass over the groups, up to the watermark that it has to reach
 * and no further.
 */
unsigned long __cdm_shrink_node(struct pglist_data *pgdat, int priority)
{
	struct zone *zone = cdm_zone(pgdat->node_id);
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);
	unsigned long mark = sysctl_numa_balancing_mode &
					     NUMA_BALANCING_MEMORY_TIERING ?
				     promo_wmark_pages(zone) :
				     high_wmark_pages(zone);
	struct cdm_owner *root = cdm_root_owner;
	struct cdm_walk walk = {
		.root = root,
		.request = true,
		.memcg = root_mem_cgroup,
		.pgdat = pgdat,
		.idx = cdm_node_idx(pgdat->node_id),
		.gfp = GFP_KERNEL,
		.wanted = mark > free ? mark - free : 0,
	};

	/* It is woken for large folios, too, which are up to compaction. */
	if (walk.wanted) {
		trace_cdm_reclaim_begin(pgdat->node_id, root->cgroup,
					CDM_FOR_KSWAPD, walk.wanted);
		lru_add_drain();
		cdm_walk_once(&walk, DEF_PRIORITY - priority);
		trace_cdm_reclaim_end(pgdat->node_id, root->cgroup,
				      CDM_FOR_KSWAPD, walk.got);
	}
	if (walk.got || !walk.wanted)
		pgdat->kswapd_failures = 0;
	return walk.got;
}
