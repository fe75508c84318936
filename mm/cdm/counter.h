/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counters of coherent device memory: see counter.c and protection.c.
 */
#ifndef _MM_CDM_COUNTER_H
#define _MM_CDM_COUNTER_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/cache.h>
#include <linux/cdm_cgroup.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>

#include "owner.h"
#include "stat.h"

/*
 * Pages that reclaim takes at a time from the lists of one group, unless it
 * takes a huge page. A request that waits for reclaim has at least this many
 * demoted, so that the next ones find room.
 */
#define CDM_RECLAIM_BATCH	64

/*
 * Ticks for which no CPU keeps pages of a subtree after other CPUs were
 * interrupted to give back what they had of it.
 */
#define CDM_KEEP_PAUSE	max(HZ / 10, 1)

/*
 * Times that a reader adds up what is pending on CPUs, until nothing changes
 * meanwhile. A group without charges and events does not need more than a few.
 */
#define CDM_READ_TRIES	16

/* Pages that a charge takes ahead, and that a slot of a stock holds at most. */
#define CDM_BATCH	128U
#define CDM_STOCK_MAX	(2 * CDM_BATCH)
#define CDM_STOCK_SLOTS	8

/**
 * struct cdm_counter - pages of one group on one node
 * @parent:	the same node's counter in the parent group; NULL in the root
 * @usage:	pages charged to the group and those below it, including those
 *		that wait in stocks
 * @charged:	pages that were ever charged to the group and those below it,
 *		except those that stocks have yet to report
 * @max:	limit on @usage, or CDM_MAX
 * @policy:	an &enum cdm_policy; written under cdm_mutex, no lock to read
 * @low:	@usage up to this is protected, as far as the ancestors' is
 * @low_usage:	part of @usage that @low claims: the lesser of the two
 * @children_low: sum of the children's @low_usage
 * @below:	scratch of cdm_effective_low(): the next counter on the way down
 * @peak:	high-water mark of @usage; exceeds that of the pages in use by
 *		no more than the stocks held
 * @fd_peak:	the same since the last reset through an open file
 * @own:	part of @usage that is charged to this very group
 * @leaving:	part of @own that reclaim is about to demote for others, see
 *		cdm_get_share()
 * @reserved:	pages of pools that reservations promise to the group and those
 *		below it, on top of @usage; hugetlb_lock
 * @dead:	the group was removed: @usage has moved to the parent, and only
 *		@own counts
 * @in_stock:	stocks may hold pages of the group or those below it
 * @full:	there is no room for a page, and none waits in a stock; set by
 *		the request that finds out
 * @drains:	runs of cdm_drain() for the group that are under way
 * @keep_after:	jiffies; before, no CPU keeps pages of the group or those below
 *		it
 * @changes:	counts changes of the group's numbers and of those below it, for
 *		readers that add what is pending on CPUs
 * @futile_until: jiffies; reclaim from the group and those below it found
 *		nothing and is not worth a try before; no lock
 * @last_memcg:	id of the memory group that was the last to give pages to
 *		reclaim from the group and those below it; a hint, no lock
 * @stats:	events and statistics
 * @stock_cpus:	CPUs that have ever kept pages of the group or those below it
 *
 * Everything is protected by the tree's lock, except @reserved, the fields
 * marked "no lock" and @parent, which is constant. Readers that only report a
 * number take no lock, nor does who looks whether @full is set, or where stocks
 * are.
 */
struct cdm_counter {
	struct cdm_counter *parent;
	unsigned long usage;
	unsigned long charged;
	unsigned long max;
	unsigned int policy;
	unsigned long low;
	unsigned long low_usage;
	unsigned long children_low;
	struct cdm_counter *below;
	unsigned long peak;
	unsigned long fd_peak;
	unsigned long own;
	unsigned long leaving;
	unsigned long reserved;
	bool dead;
	bool in_stock;
	bool full;
	unsigned short last_memcg;
	unsigned int drains;
	unsigned int changes;
	unsigned long keep_after;
	unsigned long futile_until;
	struct cdm_stats stats;
	unsigned long stock_cpus[];
};

/**
 * struct cdm_tree - what the counters of one node have in common
 * @lock:	protects every struct cdm_counter of the node
 * @nr_low:	counters with @low set; written under @lock, read anywhere
 */
struct cdm_tree {
	raw_spinlock_t lock;
	unsigned int nr_low;
} ____cacheline_aligned_in_smp;

extern struct cdm_tree cdm_trees[CDM_MAX_NODES];

/**
 * struct cdm_share - what reclaim may take from a group
 * @pages:	that many of the pages charged to the group and those below it;
 *		ULONG_MAX without protection
 * @low:	there are none because of protection
 * @counter:	the counter whose @leaving has @pages until cdm_put_share();
 *		NULL without protection
 */
struct cdm_share {
	unsigned long pages;
	bool low;
	struct cdm_counter *counter;
};

/**
 * struct cdm_stock - charge that a CPU keeps for requests to come
 * @slot: one owner's charge on one node each
 *
 * A slot is one word, so that a reader on another CPU sees a consistent one:
 * the owner's id, the node's index, the number of pages, and how many pages
 * were charged from it since that was last reported to the counters. Only its
 * own CPU changes a slot: by one instruction or with interrupts off; and under
 * the tree's lock if it had no pages before, or if usage changes as well. A CPU
 * holds CDM_STOCK_SLOTS * CDM_STOCK_MAX pages at most.
 */
struct cdm_stock {
	u64 slot[CDM_STOCK_SLOTS];
};

DECLARE_PER_CPU_ALIGNED(struct cdm_stock, cdm_stock);

#define SLOT_KEY(id, idx)	((u64)(id) << 48 | (u64)(idx) << 32)
#define SLOT_NUMBER(id, idx)	(((id) + (idx)) % CDM_STOCK_SLOTS)
#define SLOT_PAGE		BIT_ULL(16)
#define SLOT_CHARGED_MAX	(SLOT_PAGE - 1)

/*
 * Charge a page to @id from this CPU's stock. There is no need to stay on the
 * CPU: the slot's own word says whose pages it has, wherever it is changed.
 */
static __always_inline bool cdm_stock_take(u16 id, unsigned int idx)
{
	u64 __percpu *slot = &cdm_stock.slot[SLOT_NUMBER(id, idx)];
	u64 val = this_cpu_read(*slot);

	/* It is @id's, has a page, and room to count one more as charged. */
	return val - (SLOT_KEY(id, idx) + SLOT_PAGE) <
	       CDM_STOCK_MAX * SLOT_PAGE && (u16)val != SLOT_CHARGED_MAX &&
	       this_cpu_try_cmpxchg(*slot, &val, val - SLOT_PAGE + 1);
}

/* Put an uncharged page of @id into this CPU's stock, beside some it has. */
static __always_inline bool cdm_stock_put(u16 id, unsigned int idx)
{
	u64 __percpu *slot = &cdm_stock.slot[SLOT_NUMBER(id, idx)];
	u64 val = this_cpu_read(*slot);

	return val - (SLOT_KEY(id, idx) + SLOT_PAGE) <
	       (CDM_STOCK_MAX - 1) * SLOT_PAGE &&
	       this_cpu_try_cmpxchg(*slot, &val, val + SLOT_PAGE);
}

/*
 * The owner that a charge to @owner goes to: itself, or its nearest ancestor
 * whose group still exists. The root's always does.
 */
static inline struct cdm_owner *cdm_live_owner(struct cdm_owner *owner,
					       unsigned int idx)
{
	struct cdm_counter *c;

	for (;;) {
		/* Pairs with smp_store_release() in cdm_counter_create(). */
		c = smp_load_acquire(&owner->counter[idx]);
		if (c && !READ_ONCE(c->dead))
			return owner;
		owner = owner->parent;
	}
}

/* counter.c */
int cdm_counter_create(struct cdm_owner *owner, unsigned int idx);
void cdm_counter_retire(struct cdm_owner *owner, unsigned int idx);
void cdm_set_setting(struct cdm_owner *owner, unsigned int idx,
		     enum cdm_setting which, unsigned long value);

u16 cdm_try_charge(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		   struct cdm_owner **limit);
u16 cdm_charge_wait(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		    struct cdm_owner **limit);
bool cdm_make_fit(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		  struct cdm_owner **limit);
void cdm_uncharge(u16 id, unsigned int idx, unsigned int nr);
void cdm_cancel_charge(u16 id, unsigned int idx, unsigned int nr);
struct cdm_owner *cdm_full_limit(struct cdm_owner *owner, unsigned int idx);
struct cdm_owner *cdm_find_limit(struct cdm_owner *owner, unsigned int idx,
				 unsigned int nr);
unsigned long cdm_headroom(struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_stock_pages(const struct cdm_owner *owner, unsigned int idx,
			      unsigned long *charged);
bool cdm_has_changed(const struct cdm_counter *c, unsigned int idx,
		     unsigned int changes);

/* protection.c */
void cdm_get_share(struct cdm_owner *owner, const struct cdm_owner *root,
		   unsigned int idx, unsigned long wanted,
		   struct cdm_share *share);
void cdm_put_share(unsigned int idx, struct cdm_share *share);
bool cdm_is_entitled(struct cdm_owner *owner, const struct cdm_owner *root,
		     unsigned int idx, unsigned int nr);

#endif /* _MM_CDM_COUNTER_H */
