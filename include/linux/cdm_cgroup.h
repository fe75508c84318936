/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the cdm controller (kernel/cgroup/cdm.c), which counts and knows no
 * pages, and mm/cdm/, which knows pages and asks the controller.
 */
#ifndef _LINUX_CDM_CGROUP_H
#define _LINUX_CDM_CGROUP_H

#include <linux/bits.h>
#include <linux/cache.h>
#include <linux/cgroup.h>
#include <linux/irqflags.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct mm_struct;

/* Nodes that can be CDM at a time: bounds the counter pointers of a group. */
#define CDM_MAX_NODES	64

/* Id of the root group's owner, the first that is made. */
#define CDM_ROOT_ID	1

/*
 * Pages that reclaim takes at a time from the lists of one group, if it is not a
 * huge page; and at least for one request, so that the next ones find room.
 */
#define CDM_RECLAIM_BATCH	64

/* No limit, in pages. */
#define CDM_MAX		ULONG_MAX

/**
 * enum cdm_policy - what happens when a charge does not fit
 * @CDM_INHERIT: what the nearest ancestor says; the root says @CDM_FALLBACK
 * @CDM_FALLBACK: take RAM
 * @CDM_RECLAIM: demote colder pages of the node to RAM and retry, then take RAM
 * @CDM_RECLAIM_FAIL: demote and retry, then fail
 * @CDM_FAIL: fail
 */
enum cdm_policy {
	CDM_INHERIT,
	CDM_FALLBACK,
	CDM_RECLAIM,
	CDM_RECLAIM_FAIL,
	CDM_FAIL,
	/* private: */
	CDM_NR_POLICIES,
};

/* Does the policy make room, at the cost of colder pages? */
static inline bool cdm_policy_reclaims(enum cdm_policy policy)
{
	return policy == CDM_RECLAIM || policy == CDM_RECLAIM_FAIL;
}

/**
 * enum cdm_event - lines of cdm.events
 * @CDM_EV_MAX: the limit of this group refused a charge
 * @CDM_EV_DEPLETED: the node had no page although the limits had room
 * @CDM_EV_FALLBACK: a request of this group went to RAM, or its page stayed there
 * @CDM_EV_FAIL: a request of this group failed
 * @CDM_EV_RECLAIM: pages were demoted to make room for a request of this group
 * @CDM_EV_LOW: pages of this group were demoted although cdm.low protects them
 */
enum cdm_event {
	CDM_EV_MAX,
	CDM_EV_DEPLETED,
	CDM_EV_FALLBACK,
	CDM_EV_FAIL,
	CDM_EV_RECLAIM,
	CDM_EV_LOW,
	/* private: */
	CDM_NR_EVENTS,
};

/**
 * enum cdm_stat - lines of cdm.stat that count migrated pages
 * @CDM_STAT_MOVED_IN: to the node, from RAM or another CDM node
 * @CDM_STAT_MOVED_OUT: from the node, for none of the reasons below
 * @CDM_STAT_DEMOTED: from the node to RAM, by reclaim: the sum of those below,
 *	made when it is read
 * @CDM_STAT_PINNED_OUT: from the node to RAM, to be pinned for long
 * @CDM_STAT_DEMOTED_ANON: part of @CDM_STAT_DEMOTED: private memory
 * @CDM_STAT_DEMOTED_FILE: part of @CDM_STAT_DEMOTED: page cache
 * @CDM_STAT_DEMOTED_SHMEM: part of @CDM_STAT_DEMOTED: shared memory and tmpfs
 */
enum cdm_stat {
	CDM_STAT_MOVED_IN,
	CDM_STAT_MOVED_OUT,
	CDM_STAT_DEMOTED,
	CDM_STAT_PINNED_OUT,
	CDM_STAT_DEMOTED_ANON,
	CDM_STAT_DEMOTED_FILE,
	CDM_STAT_DEMOTED_SHMEM,
	/* private: */
	CDM_NR_STATS,
};

/**
 * enum cdm_limit - values that a group has for each node
 * @CDM_LIMIT_MAX: cdm.max
 * @CDM_LIMIT_LOW: cdm.low
 */
enum cdm_limit {
	CDM_LIMIT_MAX,
	CDM_LIMIT_LOW,
	/* private: */
	CDM_NR_LIMITS,
};

/**
 * struct cdm_counter - pages of one group on one node
 * @parent:	same node's counter in the parent group; NULL in the root
 * @usage:	pages charged to the group and those below it, those that wait in
 *		per-CPU stocks included
 * @charged:	pages that were ever charged to the group and those below it, but for
 *		those that per-CPU stocks have yet to tell of
 * @max:	limit on @usage, or CDM_MAX
 * @low:	@usage up to this is protected, as far as the ancestors' is
 * @low_usage:	part of @usage that @low claims: the lesser of both
 * @children_low: sum of the children's @low_usage
 * @below:	scratch of cdm_effective_low(): the next counter on the way down
 * @peak:	high-water mark of @usage: above that of the true usage by no more
 *		than what the stocks hold
 * @fd_peak:	the same since the last reset through some open file
 * @own:	part of @usage that is charged to this very group
 * @dead:	the group was removed: @usage has moved to the parent, only @own counts
 * @stocked:	CPUs may hold pages of the group and those below it in stock; no lock,
 *		see cdm_drain_for()
 * @futile:	jiffies; reclaim from the group and those below it has found nothing,
 *		and need not be tried before; no lock
 * @turn:	id of the memory group that was the last to give pages to reclaim from
 *		the group and those below it; a hint, no lock
 * @has_line:	by &enum cdm_limit: was set for this node, else by "default"; under
 *		cdm_mutex
 * @events:	of the group and those below it
 * @events_local: of the group alone
 * @stat:	pages of the group and those below it, by &enum cdm_stat
 *
 * All but @futile, @turn, @has_line, @stocked and what is constant are under the
 * node's lock; readers that only show a number take no lock.
 */
struct cdm_counter {
	struct cdm_counter *parent;
	unsigned long usage;
	unsigned long charged;
	unsigned long max;
	unsigned long low;
	unsigned long low_usage;
	unsigned long children_low;
	struct cdm_counter *below;
	unsigned long peak;
	unsigned long fd_peak;
	unsigned long own;
	bool dead;
	bool stocked;
	bool has_line[CDM_NR_LIMITS];
	unsigned long futile;
	unsigned short turn;
	unsigned long events[CDM_NR_EVENTS];
	unsigned long events_local[CDM_NR_EVENTS];
	unsigned long stat[CDM_NR_STATS];
};

/**
 * struct cdm_share - what reclaim may take from a group
 * @pages:	so many of those charged to the group and those below it; ULONG_MAX
 *		without protection
 * @low:	protection is why there are none
 */
struct cdm_share {
	unsigned long pages;
	bool low;
};

/* Pages taken ahead by a charge, and kept at most by an uncharge. */
#define CDM_BATCH	128U
#define CDM_STOCK_MAX	(2 * CDM_BATCH)
#define CDM_STOCK_SLOTS	8

/**
 * struct cdm_group - the cdm part of a cgroup
 * @css:	base
 * @owner:	who its pages are charged to; constant
 * @id:		of @owner; constant
 * @policy:	that applies: its own or an ancestor's; cdm_mutex, read anywhere
 * @default_limit: by &enum cdm_limit: pages on nodes without a line of their own;
 *		cdm_mutex
 * @list:	in cdm_groups, parents before children; cdm_mutex
 * @watchers:	open files that have reset cdm.peak; cdm_mutex
 * @events_file: cdm.events, to notify
 * @events_local_file: cdm.events.local, to notify
 */
struct cdm_group {
	struct cgroup_subsys_state css;
	struct cdm_owner *owner;
	u16 id;
	u8 policy;
	unsigned long default_limit[CDM_NR_LIMITS];
	struct list_head list;
	struct list_head watchers;
	struct cgroup_file events_file;
	struct cgroup_file events_local_file;
};

/*
 * Charge held by a CPU, by owner and node: the owner's id, the node's index, the
 * number of pages and how many were taken since that was last told to the counters,
 * in one word, so that a reader on another CPU sees a consistent slot. Changed by
 * its own CPU only: by one instruction, or with interrupts off. At most
 * CDM_STOCK_SLOTS * CDM_STOCK_MAX pages.
 */
struct cdm_stock {
	u64 slot[CDM_STOCK_SLOTS];
};

DECLARE_PER_CPU_ALIGNED(struct cdm_stock, cdm_stock);

#define SLOT_KEY(id, idx)	((u64)(id) << 48 | (u64)(idx) << 32)
#define SLOT_OF(id, idx)	(((id) + (idx)) % CDM_STOCK_SLOTS)
#define SLOT_ONE		BIT_ULL(16)	/* page */
#define SLOT_TAKEN_MAX		(SLOT_ONE - 1)

/* Take a page from the stock of this CPU, whichever that is: the slot tells. */
static __always_inline bool cdm_stock_take(u16 id, unsigned int idx)
{
	u64 val = this_cpu_read(cdm_stock.slot[SLOT_OF(id, idx)]);

	/* There is one, all of them are of @id, and one more that is taken can be counted. */
	return val - (SLOT_KEY(id, idx) + SLOT_ONE) < CDM_STOCK_MAX * SLOT_ONE &&
	       (u16)val != SLOT_TAKEN_MAX &&
	       this_cpu_try_cmpxchg(cdm_stock.slot[SLOT_OF(id, idx)], &val, val - SLOT_ONE + 1);
}

/* Put one to those that are there, if they are not too many. */
static __always_inline bool cdm_stock_put(u16 id, unsigned int idx)
{
	u64 val = this_cpu_read(cdm_stock.slot[SLOT_OF(id, idx)]);

	return val - (SLOT_KEY(id, idx) + SLOT_ONE) < (CDM_STOCK_MAX - 1) * SLOT_ONE &&
	       this_cpu_try_cmpxchg(cdm_stock.slot[SLOT_OF(id, idx)], &val, val + SLOT_ONE);
}

/*
 * Pages of one owner that a CPU has seen migrated and not yet added to the counters:
 * there tend to be many in a row. The owner's id and the node's index are one word,
 * 0 for none. Its own CPU only, interrupts off.
 */
struct cdm_pending {
	u32 key;
	u32 nr[CDM_NR_STATS];
};

DECLARE_PER_CPU(struct cdm_pending, cdm_pending);

#define PENDING_KEY(id, idx)	((u32)(id) << 16 | (idx))
#define PENDING_ID(key)		((u16)((key) >> 16))
#define PENDING_IDX(key)	((key) & 0xffff)

static __always_inline struct cdm_group *css_cdm(struct cgroup_subsys_state *css)
{
	return css ? container_of(css, struct cdm_group, css) : NULL;
}

/**
 * cdm_mm_group - whose group pays for pages of an address space
 * @mm: the address space, or NULL
 *
 * Context: RCU read side.
 * Return: the group of cdm_owner_of_mm(), or NULL without an owner.
 */
static __always_inline struct cdm_group *cdm_mm_group(const struct mm_struct *mm)
{
	struct task_struct *task = mm ? rcu_dereference(mm->owner) : NULL;

	return task ? css_cdm(task_css(task, cdm_cgrp_id)) : NULL;
}

/**
 * struct cdm_owner - who a page is charged to
 * @id:		what the owner table of a node holds for each page; 0 is nobody
 * @ref:	one for the group, each child, each node with @own pages, each user
 * @parent:	owner of the parent group; NULL in the root; constant
 * @group:	RCU: the group, NULL once it was removed
 * @policy:	what cdm.policy says; read without a lock
 * @free_work:	frees the owner where sleeping is allowed
 * @rcu:	defers the free past readers that found the owner by its id
 * @counter:	by node index; published by a release store and then constant
 *
 * Outlives its group: pages keep their owner's id when the group is removed,
 * and the last page that goes takes the owner with it. So removal costs the
 * same whatever the number of pages.
 */
struct cdm_owner {
	u16 id;
	refcount_t ref;
	struct cdm_owner *parent;
	struct cdm_group __rcu *group;
	enum cdm_policy policy;
	struct work_struct free_work;
	struct rcu_head rcu;
	struct cdm_counter *counter[CDM_MAX_NODES];
};

/* kernel/cgroup/cdm.c */
extern bool cdm_off;

int cdm_cgroup_add_node(unsigned int idx, int nid);
u16 cdm_try_charge(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		   struct cdm_owner **limit);
void cdm_uncharge(u16 id, unsigned int idx, unsigned int nr);
void cdm_drain(unsigned int idx);
bool cdm_drain_for(struct cdm_owner *limit, unsigned int idx);
bool cdm_refuse_page(struct cdm_group *group, unsigned int idx);
void cdm_drain_all(void);
unsigned long cdm_headroom(struct cdm_owner *owner, unsigned int idx);
void cdm_get_share(struct cdm_owner *owner, const struct cdm_owner *root, unsigned int idx,
		   struct cdm_share *share);
bool cdm_entitled(struct cdm_owner *owner, const struct cdm_owner *root, unsigned int idx,
		  unsigned int nr);
unsigned long cdm_excess(struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_usage(struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_charged(struct cdm_owner *owner, unsigned int idx, unsigned long *usage);

struct cdm_owner *cdm_owner_of_mm(struct mm_struct *mm);
struct cdm_owner *cdm_owner_of_current(void);
struct cdm_owner *cdm_owner_of_css(struct cgroup_subsys_state *css);
struct cdm_owner *cdm_owner_by_id(u16 id);
struct cdm_owner *cdm_owner_root(void);
struct cdm_owner *cdm_owner_get(struct cdm_owner *owner);
void cdm_owner_put(struct cdm_owner *owner);
enum cdm_policy cdm_effective_policy(const struct cdm_owner *owner);
struct cgroup_subsys_state *cdm_owner_memcg(struct cdm_owner *owner);
void cdm_event(struct cdm_owner *owner, unsigned int idx, enum cdm_event ev);
void cdm_start_pending(u32 key);

/**
 * cdm_stat_add - count migrated pages
 * @id: owner of pages that the caller holds
 * @idx: index of the node
 * @item: what happened
 * @nr: to so many pages
 *
 * Context: any.
 */
static __always_inline void cdm_stat_add(u16 id, unsigned int idx, enum cdm_stat item,
					 unsigned long nr)
{
	u32 key = PENDING_KEY(id, idx);
	unsigned long flags;

	local_irq_save(flags);
	if (unlikely(__this_cpu_read(cdm_pending.key) != key))
		cdm_start_pending(key);
	__this_cpu_add(cdm_pending.nr[item], nr);
	local_irq_restore(flags);
}

#if IS_ENABLED(CONFIG_KUNIT)
int cdm_parse_size(const char *str, unsigned long *pages);
void cdm_set_limit(struct cdm_owner *owner, unsigned int idx, enum cdm_limit which,
		   unsigned long pages);
#endif

/* mm/cdm/node.c */
int cdm_node_idx(int nid);
int cdm_idx_node(unsigned int idx);
unsigned long cdm_node_capacity(unsigned int idx);

/* mm/cdm/reclaim.c */
void cdm_reclaim_excess(struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_reclaim_proactive(struct cdm_owner *owner, unsigned int idx,
				    unsigned long nr_pages);

#endif /* _LINUX_CDM_CGROUP_H */
