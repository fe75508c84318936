// SPDX-License-Identifier: GPL-2.0
/*
 * Counters of coherent device memory: charges of each node in a tree of groups
 *
 * This file counts. It knows owners, limits and CPUs, but no pages and no
 * cgroups: mm/cdm/alloc.c charges here before it takes a page from a node, and
 * mm/cdm/owner_table.c uncharges when the page is free again.
 *
 * Exactness is the point. A limit of N pages allows exactly N pages, at any
 * depth of the tree, and usage is at or below the limit at every instant. So
 * all counters of one node change under one lock, in two passes: see whether
 * every level has room, then add to every level. No level is ever charged for
 * a request that a higher one does not admit. The lock is no hotter than the
 * zone lock of the same node, because both are taken once per batch: a CPU
 * keeps some charge in its stock (struct cdm_stock), and a limit counts as full
 * only after the stocks of its subtree were drained.
 *
 * What stocks, drains and removals promise each other is proved by
 * tools/testing/cdm/model/stock.pml, which has the same steps by the same
 * names. A change here is one there first.
 *
 * A page is charged to a struct cdm_owner, which outlives its group. When the
 * group is removed its usage, which its parent's includes anyway, is dropped,
 * and the pages that it leaves behind uncharge from the parent upwards.
 *
 * Locking: cdm_trees[].lock protects the counters of one node in all groups. It
 * is raw, taken with interrupts off, and innermost. A CPU's stock is changed by
 * that CPU alone, with interrupts off.
 */
#include <linux/bitmap.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include "counter.h"

#define SLOT_ID(slot)		((u16)((slot) >> 48))
#define SLOT_IDX(slot)		((unsigned int)((slot) >> 32) & 0xffff)
#define SLOT_NR(slot)		((u16)((slot) >> 16))
#define SLOT_CHARGED(slot)	((u16)(slot))
/* It holds no pages and has none to report. */
#define SLOT_IS_EMPTY(slot)	(!(u32)(slot))

DEFINE_PER_CPU_ALIGNED(struct cdm_stock, cdm_stock);

struct cdm_tree cdm_trees[CDM_MAX_NODES] = {
	[0 ... CDM_MAX_NODES - 1] = {
		.lock = __RAW_SPIN_LOCK_UNLOCKED(cdm_trees.lock),
	},
};

/* Indices of nodes in use; written under cdm_mutex, read anywhere. */
unsigned int cdm_nr_nodes;

/*
 * Charges
 */

/*
 * How many pages fit at @c and above it; and in @limit the lowest counter that
 * has no room for @nr. Tree's lock held.
 */
static unsigned long cdm_counter_room(struct cdm_counter *c, unsigned long nr,
				      struct cdm_counter **limit)
{
	unsigned long room = CDM_MAX;

	*limit = NULL;
	for (; c; c = c->parent) {
		unsigned long left = c->max > c->usage ? c->max - c->usage : 0;

		if (c->max == CDM_MAX)
			continue;
		room = min(room, left);
		if (left < nr && !*limit)
			*limit = c;
	}
	return room;
}

/* Usage or low of @c have changed. Tree's lock held. */
static void cdm_update_low(struct cdm_counter *c)
{
	unsigned long low_usage = min(c->usage, c->low);

	if (c->parent)
		c->parent->children_low += low_usage - c->low_usage;
	c->low_usage = low_usage;
}

/*
 * Charge @nr pages to @owner. @charged is how many pages were charged to
 * somebody: those that go into a stock are not, yet.
 */
static void cdm_add_locked(struct cdm_owner *owner, unsigned int idx,
			   unsigned long nr, unsigned long charged)
{
	struct cdm_counter *c = owner->counter[idx];

	lockdep_assert_held(&cdm_trees[idx].lock);
	if (!c->own)
		refcount_inc(&owner->ref);
	c->own += nr;
	for (; c; c = c->parent) {
		unsigned long usage = c->usage + nr;

		WRITE_ONCE(c->usage, usage);
		c->charged += charged;
		c->changes++;
		if (usage > c->peak)
			WRITE_ONCE(c->peak, usage);
		if (usage > c->fd_peak)
			WRITE_ONCE(c->fd_peak, usage);
		if (unlikely(c->low))
			cdm_update_low(c);
	}
}

/*
 * Take @nr pages off @owner. Returns true if these were the last that it was
 * charged for: cdm_owner_put() is due then, without the lock.
 */
static bool cdm_sub_locked(struct cdm_owner *owner, unsigned int idx,
			   unsigned long nr, unsigned long charged)
{
	struct cdm_counter *c = owner->counter[idx];
	bool last;

	lockdep_assert_held(&cdm_trees[idx].lock);
	if (WARN_ONCE(!c || c->own < nr,
		      "cdm: owner %u gives back %lu pages of %lu\n",
		      owner->id, nr, c ? c->own : 0))
		return false;
	c->own -= nr;
	last = nr && !c->own;
	for (; c; c = c->parent) {
		if (c->dead)
			continue;
		WRITE_ONCE(c->usage, c->usage - nr);
		WRITE_ONCE(c->full, false);
		c->charged += charged;
		c->changes++;
		if (unlikely(c->low))
			cdm_update_low(c);
	}
	return last;
}

/*
 * Stocks
 *
 * A slot gets its first page under the tree's lock, after a look at what
 * forbids that: a removed group, a limit that usage exceeds, a drain. So when
 * one of these was set under the lock, all slots with pages are known: no more
 * come up, and those that there are can be seen from other CPUs without the
 * lock. They are emptied by their own CPUs, which an interrupt asks to do so.
 */

static u64 *cdm_slot(u16 id, unsigned int idx)
{
	return this_cpu_ptr(&cdm_stock.slot[SLOT_NUMBER(id, idx)]);
}

static bool cdm_slot_is_of(u64 slot, u16 id, unsigned int idx)
{
	return !((slot ^ SLOT_KEY(id, idx)) >> 32);
}

/* What @slot holds of @id on @idx: nothing if it is another owner's. */
static u64 cdm_slot_part(u64 slot, u16 id, unsigned int idx)
{
	return cdm_slot_is_of(slot, id, idx) ? slot : SLOT_KEY(id, idx);
}

/*
 * Empty @slot, of this CPU and the tree whose lock is held. Returns an owner
 * that cdm_owner_put() is due for, or NULL. RCU read side.
 */
static struct cdm_owner *cdm_empty_slot_locked(u64 *slot)
{
	u64 val = *slot;
	struct cdm_owner *owner = cdm_owner_by_id(SLOT_ID(val));

	WRITE_ONCE(*slot, 0);
	/*
	 * A slot with pages keeps its owner alive, and one that only has
	 * something to report is emptied before its owner goes.
	 */
	if (WARN_ONCE(!owner, "cdm: no owner %u\n", SLOT_ID(val)))
		return NULL;
	return cdm_sub_locked(owner, SLOT_IDX(val), SLOT_NR(val),
			      SLOT_CHARGED(val)) ?
		       owner : NULL;
}

/* Empty @slot of this CPU. Interrupts off, no tree's lock held. */
static void cdm_empty_slot(u64 *slot)
{
	struct cdm_owner *put;
	struct cdm_tree *tree;

	if (SLOT_IS_EMPTY(*slot))
		return;
	tree = &cdm_trees[SLOT_IDX(*slot)];
	rcu_read_lock();
	raw_spin_lock(&tree->lock);
	put = cdm_empty_slot_locked(slot);
	raw_spin_unlock(&tree->lock);
	if (put)
		cdm_owner_put(put);
	rcu_read_unlock();
}

/*
 * Make @slot ready for pages of @id. It cannot be if it holds some of another
 * node, whose lock is another. @put is as cdm_empty_slot_locked() returns it.
 */
static bool cdm_clear_slot_locked(u64 *slot, u16 id, unsigned int idx,
				  struct cdm_owner **put)
{
	if (cdm_slot_is_of(*slot, id, idx) || SLOT_IS_EMPTY(*slot))
		return true;
	if (SLOT_IDX(*slot) != idx)
		return false;
	*put = cdm_empty_slot_locked(slot);
	return true;
}

/*
 * May this CPU have pages of @c in stock? Those of a removed group have no
 * request to wait for; while a level is over its limit nothing may be charged,
 * which a stock would allow; a drain has to come to an end, and is not to be
 * repeated at once; and a CPU that is going offline is not asked any more. Once
 * it has emptied its stock, see cdm_stock_cpu_down(), there is nothing in it.
 */
static bool cdm_may_keep(const struct cdm_counter *c)
{
	if (c->dead || !cpu_active(smp_processor_id()))
		return false;
	for (; c; c = c->parent)
		if (c->drains || time_before(jiffies, c->keep_after) ||
		    c->usage > c->max)
			return false;
	return true;
}

/* This CPU has pages of @c in stock. Tree's lock held. */
static void cdm_mark_stock(struct cdm_counter *c)
{
	int cpu = smp_processor_id();

	for (; c; c = c->parent) {
		c->in_stock = true;
		c->changes++;
		WRITE_ONCE(c->full, false);
		/* Atomic for those who look without the lock. */
		if (!test_bit(cpu, c->stock_cpus))
			set_bit(cpu, c->stock_cpus);
	}
}

static struct cdm_owner *cdm_counter_owner(struct cdm_owner *owner,
					   unsigned int idx,
					   const struct cdm_counter *c)
{
	while (owner->counter[idx] != c)
		owner = owner->parent;
	return owner;
}

/**
 * cdm_try_charge - charge pages to an owner, within all limits
 * @owner: who pays
 * @idx: index of the node
 * @nr: pages
 * @limit: set on failure only: the lowest owner whose limit has too little room
 *
 * If the group of @owner was removed, its nearest living ancestor pays.
 *
 * Context: RCU read side; any context otherwise.
 * Return: id of the owner that was charged, or 0 if @nr pages do not fit.
 * Stocks of other CPUs may hold room, see cdm_charge_wait().
 */
u16 cdm_try_charge(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		   struct cdm_owner **limit)
{
	unsigned int have, need, extra = 0;
	struct cdm_owner *put = NULL;
	struct cdm_counter *c, *full;
	unsigned long flags, room;
	u64 *slot, val;
	u16 id;

	local_irq_save(flags);
	id = owner->id;
	slot = cdm_slot(id, idx);
	val = cdm_slot_part(*slot, id, idx);
	if (SLOT_NR(val) >= nr && SLOT_CHARGED(val) + nr <= SLOT_CHARGED_MAX) {
		WRITE_ONCE(*slot, val - nr * SLOT_PAGE + nr);
		goto out;
	}
	/* Nothing is kept beside a huge page: it is too large for a stock. */
	if (nr < CDM_BATCH && SLOT_IDX(*slot) != idx)
		cdm_empty_slot(slot);

	raw_spin_lock(&cdm_trees[idx].lock);
	owner = cdm_live_owner(owner, idx);
	c = owner->counter[idx];
	id = owner->id;
	slot = cdm_slot(id, idx);
	val = cdm_slot_part(*slot, id, idx);
	have = min(SLOT_NR(val), nr);
	need = nr - have;
	room = cdm_counter_room(c, need, &full);
	if (room < need) {
		if (full->usage >= full->max && !full->in_stock)
			WRITE_ONCE(full->full, true);
		raw_spin_unlock(&cdm_trees[idx].lock);
		*limit = cdm_counter_owner(owner, idx, full);
		id = 0;
		goto out;
	}
	/*
	 * Take ahead only what cannot make another CPU meet the limit while
	 * there is room: all stocks together get less than half of it.
	 */
	if (need && need < CDM_BATCH)
		extra = min_t(unsigned long, CDM_BATCH,
			      (room - need) / (2 * num_online_cpus()));
	if (extra && (!cdm_may_keep(c) ||
		      !cdm_clear_slot_locked(slot, id, idx, &put)))
		extra = 0;
	/* What was charged from the slot is reported now. */
	cdm_add_locked(owner, idx, need + extra, nr + SLOT_CHARGED(val));
	if (extra || val != SLOT_KEY(id, idx))
		WRITE_ONCE(*slot, SLOT_KEY(id, idx) |
			   (SLOT_NR(val) - have + extra) * SLOT_PAGE);
	if (extra)
		cdm_mark_stock(c);
	raw_spin_unlock(&cdm_trees[idx].lock);
	if (put)
		cdm_owner_put(put);
out:
	local_irq_restore(flags);
	return id;
}

/*
 * End the charge of @nr pages that find no room in @slot, of which it has
 * @val. Interrupts off.
 */
static void cdm_uncharge_slow(struct cdm_owner *owner, unsigned int idx,
			      unsigned int nr, u64 *slot, u64 val)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned int left = 0, have = SLOT_NR(val);
	struct cdm_owner *put = NULL;

	if (!have && nr < CDM_BATCH && SLOT_IDX(*slot) != idx)
		cdm_empty_slot(slot);

	raw_spin_lock(&cdm_trees[idx].lock);
	if (cdm_may_keep(c)) {
		if (have)
			left = CDM_BATCH;
		else if (nr < CDM_BATCH &&
			 cdm_clear_slot_locked(slot, owner->id, idx, &put))
			left = nr;
	}
	if (left && !have)
		cdm_mark_stock(c);
	if (left || val != SLOT_KEY(owner->id, idx))
		WRITE_ONCE(*slot,
			   SLOT_KEY(owner->id, idx) | left * SLOT_PAGE);
	if (cdm_sub_locked(owner, idx, have + nr - left, SLOT_CHARGED(val)))
		put = owner;
	raw_spin_unlock(&cdm_trees[idx].lock);
	if (put)
		cdm_owner_put(put);
}

/**
 * cdm_uncharge - end the charge of pages
 * @id: owner that they are charged to
 * @idx: index of the node
 * @nr: pages
 *
 * Context: any.
 */
void cdm_uncharge(u16 id, unsigned int idx, unsigned int nr)
{
	struct cdm_owner *owner;
	unsigned long flags;
	unsigned int have;
	u64 *slot, val;

	local_irq_save(flags);
	slot = cdm_slot(id, idx);
	val = cdm_slot_part(*slot, id, idx);
	have = SLOT_NR(val);
	if (have && have + nr <= CDM_STOCK_MAX) {
		WRITE_ONCE(*slot, val + nr * SLOT_PAGE);
		goto out;
	}
	rcu_read_lock();
	/* The pages that are uncharged keep the owner alive. */
	owner = cdm_owner_by_id(id);
	if (!WARN_ONCE(!owner, "cdm: no owner %u\n", id))
		cdm_uncharge_slow(owner, idx, nr, slot, val);
	rcu_read_unlock();
out:
	local_irq_restore(flags);
}

/**
 * cdm_cancel_charge - take back a charge for which there was no page
 * @id: owner that was charged
 * @idx: index of the node
 * @nr: pages
 *
 * The pages do not count as charged, unlike those that are uncharged.
 *
 * Context: any.
 */
void cdm_cancel_charge(u16 id, unsigned int idx, unsigned int nr)
{
	struct cdm_tree *tree = &cdm_trees[idx];
	struct cdm_owner *owner;
	unsigned long flags;
	bool last = false;
	u64 *slot, val;

	local_irq_save(flags);
	slot = cdm_slot(id, idx);
	val = cdm_slot_part(*slot, id, idx);
	if (SLOT_NR(val) && SLOT_NR(val) + nr <= CDM_STOCK_MAX &&
	    SLOT_CHARGED(val) >= nr) {
		WRITE_ONCE(*slot, val + nr * SLOT_PAGE - nr);
		goto out;
	}
	rcu_read_lock();
	owner = cdm_owner_by_id(id);
	if (!WARN_ONCE(!owner, "cdm: no owner %u\n", id)) {
		raw_spin_lock(&tree->lock);
		last = cdm_sub_locked(owner, idx, nr, -(unsigned long)nr);
		raw_spin_unlock(&tree->lock);
		if (last)
			cdm_owner_put(owner);
	}
	rcu_read_unlock();
out:
	local_irq_restore(flags);
}

/*
 * Drains
 */

/**
 * struct cdm_drain - what CPUs are asked to give back
 * @owner:	that of this owner and those below it
 * @idx:	index of the node
 * @reports:	slots that have no pages but something to report as well
 * @others:	set if a CPU other than the caller's had to be interrupted
 */
struct cdm_drain {
	const struct cdm_owner *owner;
	unsigned int idx;
	bool reports;
	bool others;
};

/* RCU read side. */
static bool cdm_slot_is_drained(const struct cdm_drain *drain, u64 slot)
{
	const struct cdm_owner *holder;

	if (SLOT_IDX(slot) != drain->idx ||
	    (drain->reports ? SLOT_IS_EMPTY(slot) : !SLOT_NR(slot)))
		return false;
	holder = cdm_owner_by_id(SLOT_ID(slot));
	return holder && cdm_owner_is_below(holder, drain->owner);
}

/* Has @cpu to be interrupted? Preemption off. */
static bool cdm_cpu_is_drained(int cpu, void *arg)
{
	struct cdm_stock *stock = per_cpu_ptr(&cdm_stock, cpu);
	struct cdm_drain *drain = arg;
	bool found = false;
	int i;

	if (!test_bit(cpu, drain->owner->counter[drain->idx]->stock_cpus))
		return false;
	rcu_read_lock();
	for (i = 0; i < CDM_STOCK_SLOTS && !found; i++)
		found = cdm_slot_is_drained(drain, READ_ONCE(stock->slot[i]));
	rcu_read_unlock();
	if (found && cpu != smp_processor_id())
		drain->others = true;
	return found;
}

static void cdm_drain_local(void *arg)
{
	struct cdm_drain *drain = arg;
	unsigned int i;

	rcu_read_lock();
	for (i = 0; i < CDM_STOCK_SLOTS; i++) {
		u64 *slot = this_cpu_ptr(&cdm_stock.slot[i]);

		if (cdm_slot_is_drained(drain, *slot))
			cdm_empty_slot(slot);
	}
	rcu_read_unlock();
}

/*
 * The rest of a drain for @owner that has begun: @drains was incremented under
 * the lock. So no slot comes up that is not seen here, and in the end none of
 * the subtree has pages. Others that look under the lock meanwhile find
 * @in_stock still set, and drain as well: nobody is refused before.
 */
static void cdm_end_drain(const struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *c = owner->counter[idx];
	struct cdm_drain drain = {
		.owner = owner,
		.idx = idx,
		.reports = READ_ONCE(c->dead),
	};
	unsigned long flags;

	on_each_cpu_cond_mask(cdm_cpu_is_drained, cdm_drain_local, &drain, true,
			      cpu_online_mask);
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	c->drains--;
	c->in_stock = false;
	/* What nobody was interrupted for does not have to be limited. */
	if (drain.others)
		c->keep_after = jiffies + CDM_KEEP_PAUSE;
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
}

/**
 * cdm_drain - give back what the CPUs' stocks hold of a group
 * @owner: the group's, with a reference
 * @idx: index of the node
 *
 * Afterwards every page of usage is charged for a page in use, except for what
 * charges took ahead and uncharges kept since then. Interrupts only CPUs that
 * have pages of the group or those below it, and none of them twice within
 * CDM_KEEP_PAUSE, because they keep none for that time.
 *
 * Context: interrupts on; does not sleep, but waits for other CPUs.
 */
void cdm_drain(const struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags;

	if (!c)
		return;
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	c->drains++;
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	cdm_end_drain(owner, idx);
}

/*
 * @nr pages did not fit under @limit. Drain stocks if that may help. Returns
 * true if it is worth another try: after a drain, or if others have made room.
 * False is certain: at this instant there was no room, and nothing in stocks.
 */
static bool cdm_drain_for(struct cdm_owner *limit, unsigned int idx,
			  unsigned int nr)
{
	struct cdm_counter *c = limit->counter[idx];
	bool in_stock, room;
	unsigned long flags;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	in_stock = c->in_stock;
	if (in_stock)
		c->drains++;
	room = c->dead || (c->max >= nr && c->usage <= c->max - nr);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	if (!in_stock)
		return room;
	cdm_end_drain(limit, idx);
	return true;
}

/**
 * cdm_charge_wait - charge pages, those that wait in stocks included
 * @owner: who pays
 * @idx: index of the node
 * @nr: pages
 * @limit: set on failure only: the lowest owner whose limit has too little room
 *
 * Fails only if there was an instant at which @nr pages did not fit under
 * @limit and no stock had a page of it. Each further round means that others
 * got what there was.
 *
 * Context: RCU read side; otherwise as cdm_drain().
 * Return: as cdm_try_charge().
 */
u16 cdm_charge_wait(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		    struct cdm_owner **limit)
{
	u16 id;

	do {
		id = cdm_try_charge(owner, idx, nr, limit);
	} while (unlikely(!id) && cdm_drain_for(*limit, idx, nr));
	return id;
}

/**
 * cdm_make_fit - let pages fit that are charged where it is impossible to wait
 * @owner: who will pay
 * @idx: index of the node
 * @nr: pages
 * @limit: set on failure only: the lowest owner whose limit has too little room
 *
 * Takes from stocks what is missing. Where less than twice as many pages are
 * left, no CPU takes ahead or keeps any for CDM_KEEP_PAUSE, so that the room is
 * there unless others use it.
 *
 * Context: RCU read side; otherwise as cdm_drain().
 * Return: true if @nr pages fit.
 */
bool cdm_make_fit(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		  struct cdm_owner **limit)
{
	struct cdm_counter *c, *full;
	unsigned long flags;

	for (;;) {
		raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
		owner = cdm_live_owner(owner, idx);
		c = owner->counter[idx];
		cdm_counter_room(c, nr, &full);
		for (; c && !full; c = c->parent)
			if (c->max != CDM_MAX && c->max - c->usage < 2UL * nr)
				c->keep_after = jiffies + CDM_KEEP_PAUSE;
		raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
		if (!full)
			return true;
		*limit = cdm_counter_owner(owner, idx, full);
		if (!cdm_drain_for(*limit, idx, nr))
			return false;
	}
}

/*
 * A CPU that goes offline gives back what it has, while it is still there: it
 * is not active any more and keeps nothing from here on, see cdm_may_keep().
 */
static int cdm_stock_cpu_down(unsigned int cpu)
{
	unsigned long flags;
	unsigned int i;

	local_irq_save(flags);
	for (i = 0; i < CDM_STOCK_SLOTS; i++)
		cdm_empty_slot(this_cpu_ptr(&cdm_stock.slot[i]));
	local_irq_restore(flags);
	return 0;
}

static int __init cdm_counter_init(void)
{
	int ret;

	ret = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "mm/cdm:online",
					NULL, cdm_stock_cpu_down);
	return ret < 0 ? ret : 0;
}
subsys_initcall(cdm_counter_init);

/*
 * Limits and readings
 */

/**
 * cdm_full_limit - whose limit leaves no room for even one page?
 * @owner: who would pay
 * @idx: index of the node
 *
 * Looks at the limits without the lock, for a quota that is used up and asked
 * for again and again. The answer is an owner only if it is certain: a request
 * has found no room and nothing in any stock, which still holds; and there is
 * no protection on the node that could say otherwise.
 *
 * Context: RCU read side; any context otherwise.
 * Return: the lowest such owner, or NULL.
 */
struct cdm_owner *cdm_full_limit(struct cdm_owner *owner, unsigned int idx)
{
	/* Pairs with smp_store_release() in cdm_counter_create(). */
	struct cdm_counter *c = smp_load_acquire(&owner->counter[idx]);

	if (!c || READ_ONCE(c->dead) || READ_ONCE(cdm_trees[idx].nr_low))
		return NULL;
	while (READ_ONCE(c->usage) < READ_ONCE(c->max)) {
		owner = owner->parent;
		if (!owner)
			return NULL;
		c = owner->counter[idx];
	}
	return READ_ONCE(c->full) ? owner : NULL;
}

/**
 * cdm_find_limit - whose limit leaves no room for a charge?
 * @owner: who would pay
 * @idx: index of the node
 * @nr: pages
 *
 * Context: any; the caller keeps @owner alive, and by it all of its ancestors.
 * Return: the lowest such owner, or NULL. Stocks may hold room, see
 * cdm_try_charge().
 */
struct cdm_owner *cdm_find_limit(struct cdm_owner *owner, unsigned int idx,
				 unsigned int nr)
{
	struct cdm_counter *limit;
	unsigned long flags;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	owner = cdm_live_owner(owner, idx);
	cdm_counter_room(owner->counter[idx], nr, &limit);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	return limit ? cdm_counter_owner(owner, idx, limit) : NULL;
}

/**
 * cdm_headroom - pages that still fit under all limits of an owner
 * @owner: the owner
 * @idx: index of the node
 *
 * Context: RCU read side or a reference; any context otherwise.
 * Return: pages; may be out of date at once.
 */
unsigned long cdm_headroom(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *limit;
	unsigned long flags, room;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	owner = cdm_live_owner(owner, idx);
	room = cdm_counter_room(owner->counter[idx], 0, &limit);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	return room;
}

/**
 * cdm_stock_pages - pages of a group and those below it that wait in stocks
 * @owner: the group's
 * @idx: index of a node that has counters
 * @charged: pages that were charged from these stocks but not reported are
 *	     added to this
 *
 * Context: any; not under a tree's lock, because it looks at many CPUs.
 * Return: pages, see cdm_has_changed().
 */
unsigned long cdm_stock_pages(const struct cdm_owner *owner, unsigned int idx,
			      unsigned long *charged)
{
	unsigned long nr = 0;
	int cpu, i;

	for_each_possible_cpu(cpu) {
		struct cdm_stock *stock = per_cpu_ptr(&cdm_stock, cpu);

		if (!test_bit(cpu, owner->counter[idx]->stock_cpus))
			continue;
		rcu_read_lock();
		for (i = 0; i < CDM_STOCK_SLOTS; i++) {
			u64 val = READ_ONCE(stock->slot[i]);
			struct cdm_owner *holder;

			if (SLOT_IS_EMPTY(val) || SLOT_IDX(val) != idx)
				continue;
			holder = cdm_owner_by_id(SLOT_ID(val));
			if (holder && cdm_owner_is_below(holder, owner)) {
				nr += SLOT_NR(val);
				*charged += SLOT_CHARGED(val);
			}
		}
		rcu_read_unlock();
	}
	return nr;
}

/**
 * cdm_has_changed - must a reader add up again?
 * @c: counter of what is read
 * @idx: index of the node
 * @changes: what @c->changes was at the beginning, under the tree's lock
 *
 * Slots and pending numbers are moved to the counters under the tree's lock,
 * which @changes counts. What was read from them in between belongs to the
 * counters' numbers from the beginning if that did not go on.
 *
 * Context: any.
 * Return: true if numbers were moved meanwhile.
 */
bool cdm_has_changed(const struct cdm_counter *c, unsigned int idx,
		     unsigned int changes)
{
	unsigned long flags;
	bool changed;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	changed = c->changes != changes;
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	return changed;
}

/**
 * cdm_charged - pages that were ever charged to a group and those below it
 * @owner: with a reference
 * @idx: index of the node
 * @usage: set to the number of them that are in use
 *
 * Exact while nothing is charged or uncharged. Otherwise off by no more than
 * the pages charged and uncharged during the call; or, if charges came too fast
 * to read the stocks between two of them, the pages that stocks hold. Neither
 * interrupts other CPUs nor holds the lock while it looks at their stocks.
 *
 * Context: any.
 * Return: pages.
 */
unsigned long cdm_charged(const struct cdm_owner *owner, unsigned int idx,
			  unsigned long *usage)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags, charged, stock;
	int tries = CDM_READ_TRIES;
	unsigned int changes;

	*usage = 0;
	if (!c)
		return 0;
	do {
		raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
		changes = c->changes;
		charged = c->charged;
		*usage = c->usage;
		raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
		stock = cdm_stock_pages(owner, idx, &charged);
	} while (cdm_has_changed(c, idx, changes) && --tries);
	*usage -= min(*usage, stock);
	return charged;
}

/**
 * cdm_usage - pages of a group and those below it that are in use
 * @owner: with a reference
 * @idx: index of the node
 *
 * Context: process context.
 * Return: pages, as exact as those of cdm_charged().
 */
unsigned long cdm_usage(const struct cdm_owner *owner, unsigned int idx)
{
	unsigned long usage;

	cdm_charged(owner, idx, &usage);
	return usage;
}

/**
 * cdm_excess - pages by which usage exceeds the group's own limit
 * @owner: with a reference
 * @idx: index of the node
 *
 * Only a lowered cdm.max leads to an excess.
 *
 * Context: any.
 * Return: pages; 0 if the group was removed.
 */
unsigned long cdm_excess(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long usage, max;

	if (!c || READ_ONCE(c->dead))
		return 0;
	usage = READ_ONCE(c->usage);
	max = READ_ONCE(c->max);
	return usage > max ? usage - max : 0;
}

/**
 * cdm_peak - high-water mark of usage
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @reset: the mark since the last cdm_reset_peak() rather than since ever
 *
 * Context: any.
 * Return: pages; too many by no more than stocks held at that moment.
 */
unsigned long cdm_peak(const struct cdm_owner *owner, unsigned int idx,
		       bool reset)
{
	const struct cdm_counter *c = owner->counter[idx];

	return reset ? READ_ONCE(c->fd_peak) : READ_ONCE(c->peak);
}

/**
 * cdm_reset_peak - begin a new high-water mark of usage
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @peak: set to the mark that ends here
 *
 * What waits in stocks is not in use: it is exact after cdm_drain(), which the
 * caller does first, without a lock that others need.
 *
 * Context: any.
 * Return: usage in pages, which the new mark begins with.
 */
unsigned long cdm_reset_peak(struct cdm_owner *owner, unsigned int idx,
			     unsigned long *peak)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags, usage;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	usage = c->usage;
	*peak = c->fd_peak;
	c->fd_peak = usage;
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	return usage;
}

/**
 * cdm_get_setting - the value of a setting that is in force
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @which: which setting
 *
 * Context: any.
 * Return: the value.
 */
unsigned long cdm_get_setting(const struct cdm_owner *owner, unsigned int idx,
			      enum cdm_setting which)
{
	const struct cdm_counter *c = owner->counter[idx];

	if (which == CDM_SETTING_POLICY)
		return READ_ONCE(c->policy);
	return READ_ONCE(*(which == CDM_SETTING_MAX ? &c->max : &c->low));
}

/**
 * cdm_set_setting - change the value of a setting
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @which: which setting
 * @value: the new value
 *
 * Context: any; cdm.policy under cdm_mutex.
 */
void cdm_set_setting(struct cdm_owner *owner, unsigned int idx,
		     enum cdm_setting which, unsigned long value)
{
	struct cdm_counter *c = owner->counter[idx];
	struct cdm_tree *tree = &cdm_trees[idx];
	unsigned long flags;

	raw_spin_lock_irqsave(&tree->lock, flags);
	switch (which) {
	case CDM_SETTING_MAX:
		WRITE_ONCE(c->max, value);
		WRITE_ONCE(c->full, false);
		break;
	case CDM_SETTING_LOW:
		WRITE_ONCE(tree->nr_low, tree->nr_low + !!value - !!c->low);
		WRITE_ONCE(c->low, value);
		cdm_update_low(c);
		break;
	default:
		WRITE_ONCE(c->policy, value);
	}
	/* Reclaim that was futile may not be any more. */
	for (; c; c = c->parent)
		WRITE_ONCE(c->futile_until, jiffies);
	raw_spin_unlock_irqrestore(&tree->lock, flags);
}

/**
 * cdm_effective_max - the least of the limits of a group and its ancestors
 * @owner: with a reference
 * @idx: index of a node that has counters
 *
 * Context: any.
 * Return: pages, or CDM_MAX.
 */
unsigned long cdm_effective_max(const struct cdm_owner *owner, unsigned int idx)
{
	const struct cdm_counter *c = owner->counter[idx];
	unsigned long max = CDM_MAX;

	for (; c; c = c->parent)
		max = min(max, READ_ONCE(c->max));
	return max;
}

/**
 * cdm_available_pages - what is left under each limit up the tree
 * @owner: with a reference
 * @idx: index of a node that has counters
 *
 * Pages that wait in stocks are not in use.
 *
 * Context: process context.
 * Return: the least of it in pages, or CDM_MAX; may be out of date at once.
 */
unsigned long cdm_available_pages(struct cdm_owner *owner, unsigned int idx)
{
	unsigned long left = CDM_MAX;

	for (; owner; owner = owner->parent) {
		unsigned long max = READ_ONCE(owner->counter[idx]->max), usage;

		if (max == CDM_MAX)
			continue;
		usage = cdm_usage(owner, idx);
		left = min(left, max - min(max, usage));
	}
	return left;
}

/*
 * Life of a counter
 */

/**
 * cdm_counter_create - give an owner a counter for a node
 * @owner: the owner; its parent has one
 * @idx: index of the node
 *
 * Does nothing if it has one already.
 *
 * Context: process context, under cdm_mutex.
 * Return: 0 or -ENOMEM.
 */
int cdm_counter_create(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *c;

	lockdep_assert_held(&cdm_mutex);
	if (owner->counter[idx])
		return 0;
	c = kzalloc(struct_size(c, stock_cpus, BITS_TO_LONGS(nr_cpu_ids)),
		    GFP_KERNEL);
	if (!c)
		return -ENOMEM;
	c->parent = owner->parent ? owner->parent->counter[idx] : NULL;
	c->max = owner->default_value[CDM_SETTING_MAX];
	c->policy = owner->default_value[CDM_SETTING_POLICY];
	c->futile_until = jiffies;
	c->keep_after = jiffies;
	/* Pairs with smp_load_acquire() in cdm_live_owner(). */
	smp_store_release(&owner->counter[idx], c);
	cdm_set_setting(owner, idx, CDM_SETTING_LOW,
			owner->default_value[CDM_SETTING_LOW]);
	return 0;
}

/**
 * cdm_counter_retire - move the charges of a removed group to its parent
 * @owner: the group's
 * @idx: index of a node that has counters
 *
 * The parent's usage includes them already. Until here new pages could be
 * charged to the group; from here on its ancestors pay, and no CPU keeps pages
 * of the group: see cdm_may_keep(). What stocks have of it is given back when
 * the group is freed, by cdm_owner_release(), or before, if an ancestor's limit
 * is met.
 *
 * Context: process context, interrupts on.
 */
void cdm_counter_retire(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *c = owner->counter[idx];

	raw_spin_lock_irq(&cdm_trees[idx].lock);
	WRITE_ONCE(c->dead, true);
	WRITE_ONCE(c->usage, 0);
	raw_spin_unlock_irq(&cdm_trees[idx].lock);
	cdm_set_setting(owner, idx, CDM_SETTING_LOW, 0);
}
