// SPDX-License-Identifier: GPL-2.0
/*
 * Making room on a CDM node: demotion of colder pages to RAM
 *
 *   who asks                  whose pages                    breaks cdm.low
 *   ------------------------  -----------------------------  --------------
 *   a request over a limit    of the limit's group and those  policy
 *                             below it                        reclaim,fail
 *   a request on a depleted   anybody's on the node           policy
 *   node                                                      reclaim,fail
 *   a lower cdm.max,          of the group and those below    yes
 *   cdm.reclaim               it
 *   kswapd                    anybody's on the node           no
 *
 * Pages leave for RAM only; nothing is swapped or written out for a quota, so
 * with no room in RAM, or in the owner's memory.max, this fails and the policy's
 * next step is taken. The LRU lists of the memory controller say what is cold.
 * It exists for every group that has cdm, which depends on it.
 *
 * A request takes a batch at a time, from one group after the other: the next
 * request goes on where this one ended. Only what is not protected is taken
 * while there is any; a group's protection is broken in the last resort, for
 * who has no other way out.
 */
#include <linux/atomic.h>
#include <linux/cdm.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/psi.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/sysctl.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include <trace/events/cdm.h>

#include "internal.h"

/*
 * Passes over the groups for one call. The first looks at a batch of each group's
 * pages, those after that at twice as many each, and in the end at all. So groups
 * whose pages nobody has looked at for long get old at the same pace. Then it may
 * take a few passes until pages that are all in use have got old, but not many:
 * it ends when each page was looked at so many times in vain.
 */
#define CDM_RECLAIM_PASSES	(DEF_PRIORITY + 8)
#define CDM_VAIN_LOOKS		4

/* After so many looks at all of a group recently used pages are taken as well. */
#define CDM_FULL_LOOKS		2

/*
 * Reclaim that looked at so many pages in vain is not tried again for so long, if
 * RAM will do.
 */
#define CDM_VAIN_PAGES		2048
#define CDM_FUTILE		(HZ / 10)

/* Ticks that a request waits for pages that others are moving, or for RAM. */
#define CDM_WAIT_TICKS		10

/* Rounds of eviction below a lowered cdm.max that may achieve nothing. */
#define CDM_EXCESS_RETRIES	16

/**
 * struct cdm_walk - one reclaim from a subtree
 * @root:	owner of the subtree's group
 * @memcg:	its group of the memory controller
 * @pgdat:	the node
 * @idx:	its index
 * @gfp:	flags of who waits
 * @wanted:	pages
 * @got:	pages demoted
 * @vain:	pages that were looked at in groups where all stayed
 * @low:	take protected pages
 * @protected:	set if there were protected pages
 * @forced:	recently used pages were looked for, too
 * @last_resort: who asks has no other way out
 * @no_room:	set if RAM had no room for a page
 * @full:	a group whose memory.max had none; only to be compared
 * @before:	cdm_demoted at the start
 */
struct cdm_walk {
	struct cdm_owner *root;
	struct mem_cgroup *memcg;
	pg_data_t *pgdat;
	unsigned int idx;
	gfp_t gfp;
	unsigned long wanted;
	unsigned long got;
	unsigned long vain;
	bool forced;
	bool last_resort;
	bool low;
	bool protected;
	bool no_room;
	struct mem_cgroup *full;
	long before;
};

/*
 * By node index: who is just taking pages, and how many were demoted since boot.
 * Isolated pages are in no list, and MGLRU counts them nowhere.
 */
static atomic_t cdm_busy[CDM_MAX_NODES];
static atomic_long_t cdm_demoted[CDM_MAX_NODES];

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
 * What part of a group's @pages does a pass look at? See mem_cgroup_demote_node().
 * Below 0 it is all of them, as often before.
 */
static int cdm_priority(unsigned long pages, int pass)
{
	int first = ilog2(max(pages / CDM_RECLAIM_BATCH, 1));

	return min(first, DEF_PRIORITY - 1) - pass;
}

/* Pages of @memcg itself that reclaim could find, whoever is charged for them. */
static unsigned long cdm_listed(struct mem_cgroup *memcg, pg_data_t *pgdat)
{
	struct lruvec *lruvec = mem_cgroup_lruvec(memcg, pgdat);
	unsigned long pages = 0;
	enum lru_list lru;

	for_each_evictable_lru(lru)
		pages += mem_cgroup_get_zone_lru_size(lruvec, lru, ZONE_MOVABLE);
#ifdef CONFIG_LRU_GEN
	for (int gen = 0; gen < MAX_NR_GENS; gen++)
		for (int type = 0; type < ANON_AND_FILE; type++)
			pages += max(READ_ONCE(lruvec->lrugen.nr_pages[gen][type][ZONE_MOVABLE]),
				     0L);
#endif
	return pages;
}

/* Demote some of what @memcg itself has. The caller holds a reference. */
static void cdm_walk_group(struct cdm_walk *walk, struct mem_cgroup *memcg, int pass)
{
	struct cdm_share share;
	struct cdm_scope scope;
	struct cdm_owner *owner;
	unsigned long got, listed, scanned = 0;
	int priority;
	bool force;

	/* One that is being made has no pages, and no place in the LRU's lists. */
	if (!mem_cgroup_online(memcg) && !css_is_dying(&memcg->css))
		return;
	listed = cdm_listed(memcg, walk->pgdat);
	if (!listed)
		return;
	priority = cdm_priority(listed, pass);
	force = priority <= -CDM_FULL_LOOKS;
	rcu_read_lock();
	owner = cdm_owner_get(cdm_owner_of_css(cgroup_e_css(memcg->css.cgroup,
							    &cdm_cgrp_subsys)));
	rcu_read_unlock();
	cdm_get_share(owner, walk->root, walk->idx, &share);
	if (walk->full == memcg || cdm_memcg_full(memcg))
		share = (struct cdm_share){ };
	if (share.low) {
		walk->protected = true;
		if (walk->low)
			share.pages = CDM_RECLAIM_BATCH;
	}
	if (share.pages) {
		/* __cdm_get_new_folio() notes here that a page had nowhere to go. */
		cdm_scope_begin(&scope, NULL, NULL);
		scope.ram = true;
		atomic_inc(&cdm_busy[walk->idx]);
		got = mem_cgroup_demote_node(memcg, walk->pgdat,
					     min(share.pages, walk->wanted - walk->got),
					     max(priority, 0), force, walk->gfp, &scanned);
		walk->forced |= force;
		atomic_long_add(got, &cdm_demoted[walk->idx]);
		atomic_dec(&cdm_busy[walk->idx]);
		cdm_scope_end(&scope);
		walk->got += got;
		if (scope.refused)
			walk->no_room = true;
		else if (scope.full)
			walk->full = memcg;
		else if (!got)
			walk->vain += scanned;
		if (share.low && got)
			cdm_event(owner, walk->idx, CDM_EV_LOW);
	}
	cdm_owner_put(owner);
	cond_resched();
}

/* From the group after @memcg, which has a reference, to that of @last. */
static void cdm_walk_part(struct cdm_walk *walk, struct mem_cgroup *memcg, unsigned short last,
			  int pass)
{
	unsigned short *turn = &walk->root->counter[walk->idx]->turn;
	unsigned long before;

	while (walk->got < walk->wanted && !fatal_signal_pending(current)) {
		memcg = mem_cgroup_iter(walk->memcg, memcg, NULL);
		if (!memcg)
			return;
		before = walk->got;
		cdm_walk_group(walk, memcg, pass);
		if (walk->got > before)
			WRITE_ONCE(*turn, mem_cgroup_id(memcg));
		if (last && mem_cgroup_id(memcg) == last)
			break;
	}
	mem_cgroup_iter_break(walk->memcg, memcg);
}

/* Once over the groups, beginning after the one that was the last to give pages. */
static void cdm_walk_once(struct cdm_walk *walk, int pass)
{
	unsigned short last = READ_ONCE(walk->root->counter[walk->idx]->turn);
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = last ? mem_cgroup_from_id(last) : NULL;
	if (memcg && (!mem_cgroup_is_descendant(memcg, walk->memcg) || !css_tryget(&memcg->css)))
		memcg = NULL;
	rcu_read_unlock();
	if (memcg)
		cdm_walk_part(walk, memcg, 0, pass);
	cdm_walk_part(walk, NULL, memcg ? last : 0, pass);
}

static void cdm_walk(struct cdm_walk *walk)
{
	unsigned long enough = CDM_VAIN_LOOKS *
			       READ_ONCE(walk->root->counter[walk->idx]->usage);
	int pass;

	walk->vain = 0;
	walk->forced = false;
	for (pass = 0; pass < CDM_RECLAIM_PASSES && walk->got < walk->wanted; pass++) {
		cdm_walk_once(walk, pass);
		/* To look harder only helps if what was found could leave. */
		if (fatal_signal_pending(current) || (walk->no_room && !walk->got) ||
		    (walk->vain > enough && walk->forced))
			break;
	}
}

/* In reclaim, as far as the rest of the kernel is concerned. */
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

/* Have others demoted pages meanwhile? Then there may be room. */
static bool cdm_others_did(const struct cdm_walk *walk)
{
	return atomic_long_read(&cdm_demoted[walk->idx]) - walk->before > walk->got;
}

/* All ways to find something that is not protected. */
static void cdm_walk_patiently(struct cdm_walk *walk)
{
	int ticks = CDM_WAIT_TICKS;

	/* Pages on their way to the lists are not found there. */
	lru_add_drain();
	cdm_walk_direct(walk);
	if (!walk->got && !walk->no_room) {
		lru_add_drain_all();
		cdm_walk_direct(walk);
	}
	/* kswapd may be making room in RAM, too. */
	while (!walk->got && !cdm_others_did(walk) && !fatal_signal_pending(current) && ticks-- &&
	       (atomic_read(&cdm_busy[walk->idx]) || (walk->no_room && walk->last_resort))) {
		walk->no_room = false;
		schedule_timeout_killable(1);
		cdm_walk_direct(walk);
	}
}

/**
 * cdm_reclaim - demote pages of a group and those below it
 * @root: the group's owner, with a reference
 * @idx: index of the node
 * @nr_pages: pages wanted
 * @gfp: flags of the request
 * @reason: why
 * @last_resort: break cdm.low rather than find nothing
 * @others: set if others may have made room meanwhile
 *
 * Where RAM will do instead, a subtree with thousands of pages none of which can
 * leave, because they are pinned for example, is not asked again for a tenth of
 * a second: all of them would be looked at for each request.
 *
 * Context: process context, not in reclaim; sleeps.
 * Return: pages demoted.
 */
unsigned long cdm_reclaim(struct cdm_owner *root, unsigned int idx, unsigned long nr_pages,
			  gfp_t gfp, enum cdm_reclaim_reason reason, bool last_resort,
			  bool *others)
{
	struct cdm_counter *c = root->counter[idx];
	int nid = cdm_idx_node(idx);
	struct cdm_walk walk = {
		.root = root,
		.pgdat = NODE_DATA(nid),
		.idx = idx,
		.gfp = gfp,
		.wanted = nr_pages,
		.last_resort = last_resort,
		.before = atomic_long_read(&cdm_demoted[idx]),
	};
	struct cgroup_subsys_state *css;
	bool request = reason <= CDM_FOR_LOW;
	unsigned long pflags;

	*others = false;
	if (!last_resort && time_before(jiffies, READ_ONCE(c->futile)))
		return 0;
	/* Without its group the owner has no lists of its own any more. */
	css = cdm_owner_memcg(root);
	if (!css)
		return 0;
	walk.memcg = mem_cgroup_from_css(css);
	if (request)
		walk.wanted = max(nr_pages, CDM_RECLAIM_BATCH);

	trace_cdm_reclaim_begin(nid, root->id, reason, walk.wanted);
	/* As elsewhere, reclaim that was asked for is no stall. */
	if (request)
		psi_memstall_enter(&pflags);
	cdm_walk_patiently(&walk);
	if (!walk.got && !walk.no_room && walk.protected && last_resort) {
		walk.low = true;
		cdm_walk_direct(&walk);
	}
	if (request)
		psi_memstall_leave(&pflags);
	trace_cdm_reclaim_end(nid, root->id, reason, walk.got);

	*others = cdm_others_did(&walk);
	if (walk.got)
		walk.pgdat->kswapd_failures = 0;
	else if (!*others && !fatal_signal_pending(current) && walk.vain > CDM_VAIN_PAGES)
		WRITE_ONCE(c->futile, jiffies + CDM_FUTILE);
	css_put(css);
	return walk.got;
}

/**
 * cdm_reclaim_excess - bring usage down to a limit that was lowered below it
 * @owner: the group, with a reference
 * @idx: index of the node
 *
 * In small steps, so that it ends at the limit or little below: less than a
 * batch or one large folio. Gives up when nothing moves any more, or on a signal.
 *
 * Context: process context, sleeps.
 */
void cdm_reclaim_excess(struct cdm_owner *owner, unsigned int idx)
{
	int retries = CDM_EXCESS_RETRIES;
	unsigned long excess;
	bool others;

	while ((excess = cdm_excess(owner, idx)) && !signal_pending(current)) {
		if (!cdm_reclaim(owner, idx, min(excess, CDM_RECLAIM_BATCH), GFP_KERNEL,
				 CDM_FOR_EXCESS, true, &others) && !retries--)
			break;
		cond_resched();
	}
}

/**
 * cdm_reclaim_proactive - demote pages because somebody asked for it
 * @owner: the group, with a reference
 * @idx: index of the node
 * @nr_pages: pages
 *
 * Context: process context, sleeps.
 * Return: pages demoted: less than @nr_pages if there are no more, or on a signal.
 */
unsigned long cdm_reclaim_proactive(struct cdm_owner *owner, unsigned int idx,
				    unsigned long nr_pages)
{
	unsigned long done = 0, got;
	bool others;

	while (done < nr_pages && !signal_pending(current)) {
		got = cdm_reclaim(owner, idx, min(nr_pages - done, CDM_RECLAIM_BATCH),
				  GFP_KERNEL, CDM_FOR_PROACTIVE, true, &others);
		if (!got && !others)
			break;
		done += got;
		cond_resched();
	}
	return done;
}

/* kswapd: one pass, up to the watermark that it has to reach and no further. */
unsigned long __cdm_shrink_node(struct pglist_data *pgdat, int priority)
{
	struct zone *zone = cdm_zone(pgdat->node_id);
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);
	unsigned long mark = sysctl_numa_balancing_mode & NUMA_BALANCING_MEMORY_TIERING ?
			     promo_wmark_pages(zone) : high_wmark_pages(zone);
	struct cdm_owner *root = cdm_owner_root();
	struct cdm_walk walk = {
		.root = root,
		.memcg = root_mem_cgroup,
		.pgdat = pgdat,
		.idx = cdm_node_idx(pgdat->node_id),
		.gfp = GFP_KERNEL,
		.wanted = mark > free ? mark - free : 0,
	};

	/* It is woken for large folios, too, for which compaction is to care. */
	if (walk.wanted) {
		trace_cdm_reclaim_begin(pgdat->node_id, root->id, CDM_FOR_KSWAPD, walk.wanted);
		lru_add_drain();
		cdm_walk_once(&walk, DEF_PRIORITY - priority);
		trace_cdm_reclaim_end(pgdat->node_id, root->id, CDM_FOR_KSWAPD, walk.got);
	}
	if (walk.got || !walk.wanted)
		pgdat->kswapd_failures = 0;
	return walk.got;
}
