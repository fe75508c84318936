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
 * only after all stocks were drained.
 *
 * A page is charged to a struct cdm_owner, which outlives its group. When the
 * group is removed its usage, which its parent's includes anyway, is dropped,
 * and the pages that it leaves behind uncharge from the parent upwards.
 *
 * Locking: cdm_trees[].lock protects the counters of one node in all groups. It
 * is raw, taken with interrupts off, and innermost. A CPU's stock is changed by
 * that CPU alone, with interrupts off.
 */
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
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
static void cdm_add(struct cdm_owner *owner, unsigned int idx,
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
		if (usage > c->peak)
			WRITE_ONCE(c->peak, usage);
		if (usage > c->fd_peak)
			WRITE_ONCE(c->fd_peak, usage);
		if (unlikely(c->low))
			cdm_update_low(c);
	}
}

/*
 * Take @nr pages off @owner. If they are what @slot holds, empty it under the
 * lock and report what was charged from it, so that cdm_charged() of an idle
 * group is exact meanwhile. Any context.
 */
static void cdm_sub(struct cdm_owner *owner, unsigned int idx,
		    unsigned long nr, u64 *slot)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags, charged = 0;
	bool last;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	if (slot) {
		charged = SLOT_CHARGED(*slot);
		WRITE_ONCE(*slot, 0);
	}
	if (WARN_ONCE(!c || c->own < nr,
		      "cdm: owner %u gives back %lu pages of %lu\n",
		      owner->id, nr, c ? c->own : 0)) {
		raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
		return;
	}
	c->own -= nr;
	last = nr && !c->own;
	for (; c; c = c->parent) {
		if (c->dead)
			continue;
		WRITE_ONCE(c->usage, c->usage - nr);
		c->charged += charged;
		if (unlikely(c->low))
			cdm_update_low(c);
	}
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);

	if (last)
		cdm_owner_put(owner);
}

/*
 * Stocks
 */

static void cdm_flush_slot(u64 *slot)
{
	struct cdm_owner *owner;
	u64 val = *slot;

	if (SLOT_IS_EMPTY(val))
		return;
	rcu_read_lock();
	owner = cdm_owner_by_id(SLOT_ID(val));
	/*
	 * A slot with pages keeps its owner alive. One that only has something
	 * to report does not: its owner may have gone while this CPU was going
	 * offline, which no drain interrupts any more.
	 */
	if (owner)
		cdm_sub(owner, SLOT_IDX(val), SLOT_NR(val), slot);
	else
		WRITE_ONCE(*slot, 0);
	rcu_read_unlock();
}

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
 * This CPU is about to have pages of @c in stock: announce it to those who do
 * not find room. Interrupts stay off until the pages are in the slot.
 */
static void cdm_mark_stock(struct cdm_counter *c, unsigned int idx)
{
	struct cpumask *stock_cpus = &cdm_trees[idx].stock_cpus;
	int cpu = smp_processor_id();

	if (!cpumask_test_cpu(cpu, stock_cpus))
		cpumask_set_cpu(cpu, stock_cpus);
	/*
	 * Pairs with the smp_mb() in cdm_drain(): either this sees that
	 * @in_stock was cleared, or the drain sees this CPU in @stock_cpus.
	 */
	smp_mb();
	for (; c; c = c->parent)
		if (!READ_ONCE(c->in_stock))
			WRITE_ONCE(c->in_stock, true);
	/*
	 * Pairs with the smp_rmb() in cdm_full_limit(): usage that includes the
	 * pages is not seen before the mark is.
	 */
	smp_wmb();
}

/* Have exactly @nr pages of @id in this CPU's stock. Interrupts off. */
static void cdm_stock_set(u16 id, unsigned int idx, unsigned int nr)
{
	u64 *slot = cdm_slot(id, idx);

	if (!cdm_slot_is_of(*slot, id, idx))
		cdm_flush_slot(slot);
	WRITE_ONCE(*slot, SLOT_KEY(id, idx) | nr * SLOT_PAGE |
		   SLOT_CHARGED(cdm_slot_part(*slot, id, idx)));
}

/*
 * Charge @nr pages, and @extra more for the stock; count @charged as charged.
 * Interrupts off, @owner is alive on the node. If @nr pages do not fit, return
 * false and the limit.
 */
static bool cdm_charge_locked(struct cdm_owner *owner, unsigned int idx,
			      unsigned int nr, unsigned int charged,
			      struct cdm_counter **limit, unsigned int *extra)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long room;

	lockdep_assert_held(&cdm_trees[idx].lock);
	room = cdm_counter_room(c, nr, limit);
	if (room < nr)
		return false;
	/*
	 * Take ahead only what cannot make another CPU meet the limit while
	 * there is room: all stocks together get less than half of it. And
	 * nothing with a huge page, which a stock is too small for.
	 */
	*extra = 0;
	if (nr && nr < CDM_BATCH)
		*extra = min_t(unsigned long, CDM_BATCH,
			       (room - nr) / (2 * num_online_cpus()));
	if (*extra)
		cdm_mark_stock(c, idx);
	cdm_add(owner, idx, nr + *extra, charged);
	return true;
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
 * Stocks of other CPUs may hold room, see cdm_drain().
 */
u16 cdm_try_charge(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
		   struct cdm_owner **limit)
{
	struct cdm_counter *full;
	unsigned int have, extra;
	unsigned long flags;
	u64 *slot, val;
	bool ours;
	u16 id;

	local_irq_save(flags);
	id = owner->id;
	slot = cdm_slot(id, idx);
	val = cdm_slot_part(*slot, id, idx);
	if (SLOT_NR(val) >= nr && SLOT_CHARGED(val) + nr <= SLOT_CHARGED_MAX) {
		WRITE_ONCE(*slot, val - nr * SLOT_PAGE + nr);
		goto out;
	}

	raw_spin_lock(&cdm_trees[idx].lock);
	owner = cdm_live_owner(owner, idx);
	id = owner->id;
	slot = cdm_slot(id, idx);
	val = cdm_slot_part(*slot, id, idx);
	have = min(SLOT_NR(val), nr);
	if (!cdm_charge_locked(owner, idx, nr - have, nr + SLOT_CHARGED(val),
			       &full, &extra)) {
		raw_spin_unlock(&cdm_trees[idx].lock);
		*limit = cdm_counter_owner(owner, idx, full);
		id = 0;
		goto out;
	}
	/* What was charged from the slot is reported now. */
	ours = cdm_slot_is_of(*slot, id, idx);
	if (ours)
		WRITE_ONCE(*slot, SLOT_KEY(id, idx) |
			   (SLOT_NR(val) - have + extra) * SLOT_PAGE);
	raw_spin_unlock(&cdm_trees[idx].lock);
	if (!ours && extra)
		cdm_stock_set(id, idx, extra);
out:
	local_irq_restore(flags);
	return id;
}

/*
 * Must pages of @c not wait in a stock? Those of a removed group have no
 * request to wait for, and while a level is over its limit nothing may be
 * charged, which a stock would allow.
 */
static bool cdm_must_not_stock(const struct cdm_counter *c)
{
	if (READ_ONCE(c->dead))
		return true;
	for (; c; c = c->parent)
		if (READ_ONCE(c->usage) > READ_ONCE(c->max))
			return true;
	return false;
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
	u64 val;

	local_irq_save(flags);
	val = cdm_slot_part(*cdm_slot(id, idx), id, idx);
	have = SLOT_NR(val);
	if (have && have + nr <= CDM_STOCK_MAX) {
		WRITE_ONCE(*cdm_slot(id, idx), val + nr * SLOT_PAGE);
		goto out;
	}

	/* The pages that are uncharged keep the owner alive. */
	owner = cdm_owner_by_id(id);
	if (WARN_ONCE(!owner, "cdm: no owner %u\n", id))
		goto out;
	if (have) {
		cdm_stock_set(id, idx, CDM_BATCH);
		cdm_sub(owner, idx, have + nr - CDM_BATCH, NULL);
	} else if (nr >= CDM_BATCH || cdm_must_not_stock(owner->counter[idx])) {
		cdm_sub(owner, idx, nr, NULL);
	} else {
		/*
		 * Look again. The mark's smp_mb() pairs with that in
		 * cdm_drain(), which runs after a group is removed or its limit
		 * lowered: either this sees the new state, or the drain
		 * interrupts this CPU once the pages are in the slot.
		 */
		cdm_mark_stock(owner->counter[idx], idx);
		if (cdm_must_not_stock(owner->counter[idx]))
			cdm_sub(owner, idx, nr, NULL);
		else
			cdm_stock_set(id, idx, nr);
	}
out:
	local_irq_restore(flags);
}

/* Give back what this CPU holds of node *@arg. */
static void cdm_drain_local(void *arg)
{
	unsigned int idx = *(unsigned int *)arg, i;
	unsigned long flags;

	local_irq_save(flags);
	for (i = 0; i < CDM_STOCK_SLOTS; i++) {
		u64 *slot = this_cpu_ptr(&cdm_stock.slot[i]);

		if (SLOT_IDX(*slot) == idx)
			cdm_flush_slot(slot);
	}
	cpumask_clear_cpu(smp_processor_id(), &cdm_trees[idx].stock_cpus);
	local_irq_restore(flags);
}

/**
 * cdm_drain - give back what the CPUs' stocks hold of a node
 * @idx: index of the node
 *
 * Afterwards every page of usage is charged for a page in use, except for what
 * charges took ahead and uncharges kept meanwhile.
 *
 * Context: interrupts on; does not sleep, but waits for other CPUs.
 */
void cdm_drain(unsigned int idx)
{
	/* Pairs with the smp_mb() in cdm_mark_stock(), see cdm_uncharge(). */
	smp_mb();
	on_each_cpu_mask(&cdm_trees[idx].stock_cpus, cdm_drain_local, &idx,
			 true);
}

/*
 * Is there certainly nothing to drain for a limit at @c? The caller has found
 * it to have no room, and looks again if so: a drain may have ended meanwhile.
 */
static bool cdm_is_drained(const struct cdm_counter *c, unsigned int idx)
{
	if (READ_ONCE(c->in_stock))
		return false;
	/*
	 * Pairs with smp_mb__after_atomic() in cdm_drain_for(): if the mark was
	 * cleared by a drain, that drain is seen until it is done.
	 */
	smp_rmb();
	if (atomic_read(&cdm_trees[idx].draining))
		return false;
	/*
	 * Pairs with smp_mb__before_atomic() in cdm_drain_for(): usage is now
	 * seen without what a drain that is done has given back.
	 */
	smp_rmb();
	return true;
}

/**
 * cdm_drain_for - cdm_drain(), if that may make room under a limit
 * @limit: whose limit had no room for a charge
 * @idx: index of the node
 *
 * Charges to a group whose quota is used up may fail again and again, and
 * should not interrupt all CPUs each time.
 *
 * Context: RCU read side; otherwise as cdm_drain().
 * Return: true if the charge is worth another try: stocks were drained, or a
 * drain by others ended meanwhile and left room.
 */
bool cdm_drain_for(struct cdm_owner *limit, unsigned int idx)
{
	struct cdm_counter *c = limit->counter[idx];

	if (cdm_is_drained(c, idx))
		return READ_ONCE(c->usage) < READ_ONCE(c->max);
	atomic_inc(&cdm_trees[idx].draining);
	/* Pairs with the first smp_rmb() in cdm_is_drained(). */
	smp_mb__after_atomic();
	WRITE_ONCE(c->in_stock, false);
	/* Its barrier also pairs with that in cdm_mark_stock(). */
	cdm_drain(idx);
	/*
	 * Pairs with the second smp_rmb() in cdm_is_drained(): what was drained
	 * is uncharged before the drain is seen to be done.
	 */
	smp_mb__before_atomic();
	atomic_dec(&cdm_trees[idx].draining);
	return true;
}

/**
 * cdm_drain_all - cdm_drain() for every node
 *
 * Context: as cdm_drain().
 */
void cdm_drain_all(void)
{
	unsigned int idx;

	for (idx = 0; idx < READ_ONCE(cdm_nr_nodes); idx++)
		cdm_drain(idx);
}

/**
 * cdm_stock_cpu_dead - give back what a CPU that is dead held
 * @cpu: the CPU
 *
 * Context: process context, from CPU hotplug.
 */
void cdm_stock_cpu_dead(unsigned int cpu)
{
	struct cdm_stock *stock = per_cpu_ptr(&cdm_stock, cpu);
	unsigned int i;

	for (i = 0; i < CDM_STOCK_SLOTS; i++)
		cdm_flush_slot(&stock->slot[i]);
	for (i = 0; i < CDM_MAX_NODES; i++)
		cpumask_clear_cpu(cpu, &cdm_trees[i].stock_cpus);
}

/*
 * Limits and readings
 */

/**
 * cdm_full_limit - whose limit leaves no room for even one page?
 * @owner: who would pay
 * @idx: index of the node
 *
 * Looks at the limits without the lock, for a quota that is used up and asked
 * for again and again. The answer is an owner only if it is certain: there is
 * no room at this moment, nothing in any stock, and no protection on the node
 * that could say otherwise. Only the stock of a CPU that is just going offline
 * may be missed.
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
	/* Pairs with the smp_wmb() in cdm_mark_stock(). */
	smp_rmb();
	if (!cdm_is_drained(c, idx))
		return NULL;
	return READ_ONCE(c->usage) < READ_ONCE(c->max) ? NULL : owner;
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

/*
 * Pages of @owner and those below it that wait in stocks. Pages that were
 * charged from these stocks but not reported are added to @charged. RCU read
 * side.
 */
static unsigned long cdm_stock_pages(const struct cdm_owner *owner,
				     unsigned int idx, unsigned long *charged)
{
	unsigned long nr = 0;
	int cpu, i;

	for_each_cpu(cpu, &cdm_trees[idx].stock_cpus) {
		struct cdm_stock *stock = per_cpu_ptr(&cdm_stock, cpu);

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
	}
	return nr;
}

/**
 * cdm_usage_locked - usage of a group without what waits in stocks
 * @owner: alive on the node
 * @idx: index of the node
 *
 * Context: RCU read side, under the tree's lock.
 * Return: pages.
 */
unsigned long cdm_usage_locked(const struct cdm_owner *owner, unsigned int idx)
{
	unsigned long usage = owner->counter[idx]->usage, charged = 0;

	lockdep_assert_held(&cdm_trees[idx].lock);
	return usage - min(usage, cdm_stock_pages(owner, idx, &charged));
}

/**
 * cdm_charged - pages that were ever charged to a group and those below it
 * @owner: with a reference
 * @idx: index of the node
 * @usage: set to the number of them that are in use
 *
 * Exact while nothing is charged; otherwise off by no more than the pages
 * charged and uncharged during the call.
 *
 * Context: process context.
 * Return: pages.
 */
unsigned long cdm_charged(struct cdm_owner *owner, unsigned int idx,
			  unsigned long *usage)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags, charged, stock;

	*usage = 0;
	if (!c)
		return 0;
	rcu_read_lock();
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	charged = c->charged;
	*usage = c->usage;
	stock = cdm_stock_pages(owner, idx, &charged);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	rcu_read_unlock();
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
unsigned long cdm_usage(struct cdm_owner *owner, unsigned int idx)
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
 * Context: as cdm_drain().
 * Return: usage in pages, which the new mark begins with.
 */
unsigned long cdm_reset_peak(struct cdm_owner *owner, unsigned int idx,
			     unsigned long *peak)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags, usage;

	/* What waits in stocks is not in use. */
	cdm_drain(idx);
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
	c = kzalloc(sizeof(*c), GFP_KERNEL);
	if (!c)
		return -ENOMEM;
	c->parent = owner->parent ? owner->parent->counter[idx] : NULL;
	c->max = owner->default_value[CDM_SETTING_MAX];
	c->policy = owner->default_value[CDM_SETTING_POLICY];
	c->futile_until = jiffies;
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
 * charged to the group; from here on its ancestors pay.
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
	/* No CPU keeps pages of the group from here on: see cdm_uncharge(). */
	cdm_drain(idx);
}
