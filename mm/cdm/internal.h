/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mm/cdm/ share, apart from owners and counters.
 */
#ifndef _MM_CDM_INTERNAL_H
#define _MM_CDM_INTERNAL_H

#include <linux/mmzone.h>
#include <linux/preempt.h>
#include <linux/sched.h>

#include "../cdm.h"
#include "counter.h"
#include "owner.h"
#include "stat.h"

/*
 * node.c
 */

/* Boot option cdm=off. */
extern bool cdm_off;

/* Index of a node that is known to be CDM. */
extern s8 cdm_idx[MAX_NUMNODES];

int cdm_nearest_ram(int nid);

/* All of a CDM node's memory. */
static inline struct zone *cdm_zone(int nid)
{
	return &NODE_DATA(nid)->node_zones[ZONE_MOVABLE];
}

/*
 * owner_table.c
 */

/*
 * By node index: a node's arrays of entries, as if they began with section 0.
 * There is one for each section that is, or was, online.
 */
extern u16 **cdm_entries[CDM_MAX_NODES];

/* Entry of a page on a CDM node. RCU read side, or interrupts off. */
static __always_inline u16 *cdm_entry(const struct page *page, unsigned int idx)
{
	unsigned long pfn = page_to_pfn(page);

	return READ_ONCE(cdm_entries[idx])[pfn_to_section_nr(pfn)] +
	       (pfn & ~PAGE_SECTION_MASK);
}

int cdm_owner_table_grow(unsigned int idx, unsigned long start_pfn,
			 unsigned long nr_pages);
void cdm_owner_table_end(unsigned int idx, unsigned long start_pfn,
			 unsigned long nr_pages);
void cdm_set_owner(struct page *page, unsigned int order, u16 id);
void cdm_set_owner_range(struct page *page, unsigned long nr, u16 id);
u16 cdm_get_owner(const struct page *page);

/*
 * payer.c
 */

static inline struct cdm_scope *cdm_current_scope(void)
{
	return in_task() ? current->cdm_scope : NULL;
}

struct cdm_owner *cdm_find_payer(struct cdm_scope *scope);
bool cdm_payer_is_known(const struct cdm_scope *scope);
bool __cdm_may_place(struct cdm_scope *scope, int nid);
struct cdm_owner *cdm_memcg_owner(struct mem_cgroup *memcg);

/* May the copy of a folio be on node @nid? Not only its owner has a say. */
static inline bool cdm_may_place(struct cdm_scope *scope, int nid)
{
	return likely(!scope || !scope->mover) || __cdm_may_place(scope, nid);
}

/*
 * alloc.c
 */

/**
 * struct cdm_request - one allocation at the door
 * @gfp:	flags, with the scoped constraints of current applied
 * @order:	order
 * @nid:	preferred node
 * @nodemask:	nodes allowed by the caller, or NULL
 * @scope:	who pays, if not current
 * @prefers:	its memory policy prefers the nodes, and ends in RAM
 * @payer:	who pays, with a reference, once the fast path has failed
 * @missed:	the first CDM node that was tried and missed: its policy says
 *		what the request gets in the end; NUMA_NO_NODE before
 * @limited:	a limit had no room there, otherwise the node was depleted
 * @freed:	pages that were just demoted on a node for this request
 * @only_free:	nobody knows who pays: no other page makes way
 * @memcg_full:	there was a page, but memory.max has no room for it
 */
struct cdm_request {
	gfp_t gfp;
	unsigned int order;
	int nid;
	nodemask_t *nodemask;
	struct cdm_scope *scope;
	bool prefers;
	struct cdm_owner *payer;
	int missed;
	bool limited;
	unsigned long freed;
	bool only_free;
	bool memcg_full;
};

bool cdm_node_allowed(int nid);
bool cdm_candidates(const struct cdm_request *rq, nodemask_t *nodes,
		    nodemask_t *ram);
int cdm_nearest(int from, const nodemask_t *nodes);
bool cdm_is_denied(const struct cdm_request *rq, const nodemask_t *ram);
nodemask_t *cdm_request_ram(const struct cdm_request *rq, nodemask_t *ram);
void cdm_note_miss(struct cdm_request *rq, int nid, bool limited);
u16 cdm_charge(struct cdm_request *rq, int nid);
bool cdm_may_refuse(const struct cdm_request *rq);

/*
 * reclaim.c
 */

/* Rounds of demotion for one request, while each frees something. */
#define CDM_RECLAIM_ROUNDS	16

/**
 * enum cdm_reclaim_reason - why pages are demoted
 * @CDM_FOR_LIMIT: a limit has no room for a request
 * @CDM_FOR_DEPLETED: the node has no page for one
 * @CDM_FOR_LOW: either, and only cdm.low entitles the group that asks
 * @CDM_FOR_EXCESS: cdm.max was lowered below usage
 * @CDM_FOR_PROACTIVE: a write to cdm.reclaim
 * @CDM_FOR_KSWAPD: the node's watermark
 *
 * Up to @CDM_FOR_LOW it is for a request, which waits.
 */
enum cdm_reclaim_reason {
	CDM_FOR_LIMIT,
	CDM_FOR_DEPLETED,
	CDM_FOR_LOW,
	CDM_FOR_EXCESS,
	CDM_FOR_PROACTIVE,
	CDM_FOR_KSWAPD,
};

/**
 * struct cdm_way - pages that are to make way
 * @root:	owner of the group whose subtree makes way, with a reference
 * @idx:	index of the node
 * @payer:	whom they make way for, with a reference; NULL for nobody
 * @nr_pages:	pages wanted
 * @gfp:	flags of the request
 * @reason:	why
 * @last_resort: the request has no other way out
 * @own:	its policy has pages make way, so in the end its own do
 * @others:	set if others may have made room meanwhile
 */
struct cdm_way {
	struct cdm_owner *root;
	unsigned int idx;
	struct cdm_owner *payer;
	unsigned long nr_pages;
	gfp_t gfp;
	enum cdm_reclaim_reason reason;
	bool last_resort;
	bool own;
	bool others;
};

bool cdm_find_way(struct cdm_way *way, struct cdm_owner *limit);
unsigned long cdm_reclaim(struct cdm_way *way);
bool cdm_may_reclaim(gfp_t gfp);

/*
 * memcg.c
 */

int __cdm_memcg_charge_copy(struct folio *dst, struct folio *src, int reason);
bool cdm_memcg_is_full(struct mem_cgroup *memcg);

/* Charge the copy of @src to memory if it starts to count there. */
static inline int cdm_memcg_charge_copy(struct folio *dst, struct folio *src,
					int reason)
{
	if (!cdm_is_exempt(src) || folio_is_cdm(dst))
		return 0;
	return __cdm_memcg_charge_copy(dst, src, reason);
}

/*
 * audit.c
 */

#ifdef CONFIG_CGROUP_CDM_DEBUG
bool cdm_should_fail_charge(void);
bool cdm_charge_may_fail(void);
#else
static inline bool cdm_should_fail_charge(void)
{
	return false;
}

static inline bool cdm_charge_may_fail(void)
{
	return false;
}
#endif

#endif /* _MM_CDM_INTERNAL_H */
