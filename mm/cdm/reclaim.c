// SPDX-License-Identifier: GPL-2.0
/*
 * Making room on a CDM node: demotion of a group's colder pages to RAM
 *
 * Pages leave for RAM only; nothing is swapped or written out for a quota, so
 * with no room in RAM this fails and the policy's next step is taken. The LRU
 * lists of the memory controller say what is cold. It exists for every group
 * that has cdm, which depends on it.
 */
#include <linux/cdm.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include <trace/events/cdm.h>

#include "internal.h"

/* At least this much at a time, so that the next requests find room. */
#define CDM_RECLAIM_BATCH	SWAP_CLUSTER_MAX

/* Rounds of eviction below a lowered cdm.max that may achieve nothing. */
#define CDM_EXCESS_RETRIES	16

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

/**
 * cdm_reclaim - demote pages of a group and those below it
 * @owner: the group, with a reference
 * @idx: index of the node
 * @nr_pages: pages wanted
 * @gfp: flags of the request
 *
 * Context: process context, sleeps.
 * Return: pages demoted.
 */
unsigned long cdm_reclaim(struct cdm_owner *owner, unsigned int idx, unsigned long nr_pages,
			  gfp_t gfp)
{
	pg_data_t *pgdat = NODE_DATA(cdm_idx_node(idx));
	struct cgroup_subsys_state *css;
	struct mem_cgroup *memcg;
	unsigned long wanted, got;

	/* Without its group the owner has no lists of its own any more. */
	css = cdm_owner_memcg(owner);
	if (!css)
		return 0;
	memcg = mem_cgroup_from_css(css);
	wanted = max(nr_pages, CDM_RECLAIM_BATCH);
	/* Pages on their way to the lists are not found there. */
	lru_add_drain();
	got = mem_cgroup_demote_node(memcg, pgdat, wanted, gfp);
	if (!got) {
		/* All of them may wait on other CPUs, or be isolated by kswapd. */
		lru_add_drain_all();
		got = mem_cgroup_demote_node(memcg, pgdat, wanted, gfp);
	}
	trace_cdm_reclaim(cdm_idx_node(idx), owner->id, wanted, got);
	css_put(css);
	return got;
}

/**
 * cdm_reclaim_excess - bring usage down to a limit that was lowered below it
 * @owner: the group, with a reference
 * @idx: index of the node
 *
 * In small steps, so that it ends at the limit or little below: reclaim may
 * take up to 64 pages or one large folio more than a step asks for. Gives up
 * when nothing moves any more, or on a signal.
 *
 * Context: process context, sleeps.
 */
void cdm_reclaim_excess(struct cdm_owner *owner, unsigned int idx)
{
	int retries = CDM_EXCESS_RETRIES;

	while (cdm_excess(owner, idx) && !signal_pending(current)) {
		if (!cdm_reclaim(owner, idx, CDM_RECLAIM_BATCH, GFP_KERNEL) && !retries--)
			break;
		cond_resched();
	}
}
