// SPDX-License-Identifier: GPL-2.0
/*
 * Coherent device memory (cdm) controller for cgroup v2
 *
 * Limits how much memory of each coherent device node (see mm/cdm/) a group
 * may hold. This file counts: it knows groups, limits and events, but neither
 * pages nor zones. mm/cdm/ charges before it takes a page from a node, and
 * uncharges when the page is free again.
 *
 * Exactness is the point. A limit of N pages lets exactly N pages be had, at
 * any depth of the tree, and the usage is at or below the limit at every
 * instant. So all counters of one node change under one lock, in two passes:
 * look whether every level has room, then add to every level. No level is ever
 * charged for a request that a higher one refuses. The lock is no hotter than
 * the zone lock of the same node, because both are taken once per batch: a CPU
 * keeps a few pages of charge in its stock (struct cdm_stock), and a limit is
 * called reached only after all stocks were drained.
 *
 * The surprising rule: a page is charged to a struct cdm_owner, which outlives
 * the group. When a group is removed its usage, which the parent's contains
 * anyway, is forgotten, and pages that it leaves behind uncharge from the
 * parent upwards.
 *
 * Lock order:
 *
 *   cgroup_mutex
 *     cdm_mutex
 *       cdm_count[].lock	(raw, interrupts off; innermost)
 *
 * cdm_mutex: the list of groups, the set of nodes, limits as configured.
 * cdm_count[].lock: the counters of one node in all groups.
 * A CPU's stock is touched by that CPU alone, with interrupts off.
 */
#include <kunit/visibility.h>
#include <linux/cdm.h>
#include <linux/cdm_cgroup.h>
#include <linux/cpuhotplug.h>
#include <linux/ctype.h>
#include <linux/idr.h>
#include <linux/kstrtox.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/timer.h>

/**
 * struct cdm_peak_watcher - an open cdm.peak that was reset
 * @list:	in the group's @watchers
 * @of:		the open file
 * @value:	by node index: highest usage since this file's reset, as far as it
 *		is not in the counter's @fd_peak
 */
struct cdm_peak_watcher {
	struct list_head list;
	struct kernfs_open_file *of;
	unsigned long value[CDM_MAX_NODES];
};

/**
 * struct cdm_count - what is common to all counters of one node
 * @lock:	protects every struct cdm_counter of the node
 * @stocked:	CPUs whose stock may hold pages of the node; a bit is set by its
 *		CPU before it keeps pages, and cleared by it when it has none
 * @pending:	CPUs that may have pages or refusals of the node to add to a @stat or
 *		to events; as @stocked
 * @draining:	runs of cdm_drain_for()
 * @lows:	groups with protection on the node; under @lock, read anywhere
 */
struct cdm_count {
	raw_spinlock_t lock;
	unsigned int lows;
	struct cpumask stocked;
	struct cpumask pending;
	atomic_t draining;
} ____cacheline_aligned_in_smp;

#define SLOT_ID(slot)	((u16)((slot) >> 48))
#define SLOT_IDX(slot)	((unsigned int)((slot) >> 32) & 0xffff)
#define SLOT_NR(slot)	((u16)((slot) >> 16))
#define SLOT_TAKEN(slot) ((u16)(slot))
/* Nothing in it, and nothing to tell. */
#define SLOT_EMPTY(slot) (!(u32)(slot))

DEFINE_PER_CPU_ALIGNED(struct cdm_stock, cdm_stock);

static struct cdm_count cdm_count[CDM_MAX_NODES] = {
	[0 ... CDM_MAX_NODES - 1] = {
		.lock = __RAW_SPIN_LOCK_UNLOCKED(cdm_count.lock),
	},
};

static DEFINE_MUTEX(cdm_mutex);
static LIST_HEAD(cdm_groups);
static struct cdm_group *cdm_root;
static unsigned int cdm_nr_nodes;	/* indices in use; cdm_mutex, read anywhere */

static void cdm_settle(unsigned int idx);

/* Owners by id. Changed under cdm_mutex, read under RCU. */
static DEFINE_IDR(cdm_owners);

/* Boot option cdm=off. */
bool cdm_off __ro_after_init;

/*
 * Owners
 */

/**
 * cdm_owner_by_id - find an owner
 * @id: what an owner table holds, not 0
 *
 * Context: RCU read side, or the caller knows of a page charged to @id.
 * Return: the owner, or NULL.
 */
struct cdm_owner *cdm_owner_by_id(u16 id)
{
	return idr_find(&cdm_owners, id);
}

/**
 * cdm_owner_root - the owner that every other is below
 *
 * Context: any; it does not go away.
 * Return: the root group's.
 */
struct cdm_owner *cdm_owner_root(void)
{
	return cdm_root->owner;
}

/**
 * cdm_owner_get - take a reference, on the owner or its nearest living ancestor
 * @owner: from a lookup
 *
 * Context: RCU read side.
 * Return: an owner with a reference.
 */
struct cdm_owner *cdm_owner_get(struct cdm_owner *owner)
{
	while (!refcount_inc_not_zero(&owner->ref))
		owner = owner->parent;
	return owner;
}

static void cdm_owner_free_rcu(struct rcu_head *head)
{
	struct cdm_owner *owner = container_of(head, struct cdm_owner, rcu);
	int i;

	if (owner->parent)
		cdm_owner_put(owner->parent);
	for (i = 0; i < CDM_MAX_NODES; i++)
		kfree(owner->counter[i]);
	kfree(owner);
}

static void cdm_owner_free(struct work_struct *work)
{
	struct cdm_owner *owner = container_of(work, struct cdm_owner, free_work);
	unsigned int idx;

	/* What is pending for it goes to its ancestors. */
	for (idx = 0; idx < READ_ONCE(cdm_nr_nodes); idx++)
		cdm_settle(idx);
	mutex_lock(&cdm_mutex);
	idr_remove(&cdm_owners, owner->id);
	mutex_unlock(&cdm_mutex);

	/* Somebody may have found the owner by id, and walk up its counters. */
	call_rcu(&owner->rcu, cdm_owner_free_rcu);
}

/**
 * cdm_owner_put - drop a reference
 * @owner: with a reference
 *
 * Context: any.
 */
void cdm_owner_put(struct cdm_owner *owner)
{
	if (refcount_dec_and_test(&owner->ref))
		queue_work(system_unbound_wq, &owner->free_work);
}

/**
 * cdm_owner_of_css - owner of a group
 * @css: of cdm
 *
 * Context: the css does not go away: a reference, or RCU.
 * Return: the owner.
 */
struct cdm_owner *cdm_owner_of_css(struct cgroup_subsys_state *css)
{
	return css_cdm(css)->owner;
}

/**
 * cdm_owner_of_mm - who pays for pages of an address space
 * @mm: the address space
 *
 * The group of the process that owns @mm, whatever group the thread is in that
 * does the work. Without an owner (the process exits) the root.
 *
 * Context: RCU read side.
 * Return: the owner.
 */
struct cdm_owner *cdm_owner_of_mm(struct mm_struct *mm)
{
	struct cdm_group *group = cdm_mm_group(mm);

	return likely(group) ? group->owner : cdm_root->owner;
}

/**
 * cdm_owner_of_current - who pays for what current allocates
 *
 * Context: RCU read side.
 * Return: the owner: that of current's address space, or of a kernel thread's
 * own group.
 */
struct cdm_owner *cdm_owner_of_current(void)
{
	if (current->mm)
		return cdm_owner_of_mm(current->mm);
	return cdm_owner_of_css(task_css(current, cdm_cgrp_id));
}

/**
 * cdm_effective_policy - policy that applies to an owner
 * @owner: the owner
 *
 * Context: any; the owner does not go away.
 * Return: anything but CDM_INHERIT.
 */
enum cdm_policy cdm_effective_policy(const struct cdm_owner *owner)
{
	for (; owner; owner = owner->parent) {
		enum cdm_policy policy = READ_ONCE(owner->policy);

		if (policy != CDM_INHERIT)
			return policy;
	}
	return CDM_FALLBACK;
}

/**
 * cdm_owner_memcg - the memory group whose LRU lists hold an owner's pages
 * @owner: with a reference
 *
 * Context: process context.
 * Return: css of the memory controller with a reference, or NULL if the group
 * was removed.
 */
struct cgroup_subsys_state *cdm_owner_memcg(struct cdm_owner *owner)
{
	struct cgroup_subsys_state *css = NULL;
	struct cdm_group *group;

	rcu_read_lock();
	group = rcu_dereference(owner->group);
	if (group)
		css = cgroup_get_e_css(group->css.cgroup, &memory_cgrp_subsys);
	rcu_read_unlock();
	return css;
}

static bool cdm_owner_below(const struct cdm_owner *owner, const struct cdm_owner *ancestor)
{
	for (; owner; owner = owner->parent)
		if (owner == ancestor)
			return true;
	return false;
}

/*
 * Counters
 */

/*
 * The owner that a charge to @owner goes to: itself, or the nearest ancestor
 * whose group still exists. The root always does.
 */
static struct cdm_owner *cdm_live_owner(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *c;

	for (;;) {
		/* Pairs with smp_store_release() in cdm_add_counter(). */
		c = smp_load_acquire(&owner->counter[idx]);
		if (c && !READ_ONCE(c->dead))
			return owner;
		owner = owner->parent;
	}
}

/*
 * How many pages fit at @c and above, and in @limit the lowest counter without
 * room for @nr. Node's lock held.
 */
static unsigned long cdm_room(struct cdm_counter *c, unsigned long nr, struct cdm_counter **limit)
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

/* Usage or low of @c have changed. Node's lock held. */
static void cdm_update_low(struct cdm_counter *c)
{
	unsigned long low_usage = min(c->usage, c->low);

	if (c->parent)
		c->parent->children_low += low_usage - c->low_usage;
	c->low_usage = low_usage;
}

/* Charge @nr pages to the owner; @charged more were charged for somebody by now. */
static void cdm_add(struct cdm_owner *owner, unsigned int idx, unsigned long nr,
		    unsigned long charged)
{
	struct cdm_counter *c = owner->counter[idx];

	lockdep_assert_held(&cdm_count[idx].lock);
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
 * Take @nr pages off the owner. If they are what @slot holds, it is emptied
 * under the lock, and what it has to tell is counted: cdm_charged() of an idle group
 * is exact meanwhile. Any context.
 */
static void cdm_sub(struct cdm_owner *owner, unsigned int idx, unsigned long nr, u64 *slot)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags, charged = 0;
	bool last;

	raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
	if (slot) {
		charged = SLOT_TAKEN(*slot);
		WRITE_ONCE(*slot, 0);
	}
	if (WARN_ONCE(!c || c->own < nr, "cdm: owner %u gives back %lu pages of %lu\n",
		      owner->id, nr, c ? c->own : 0)) {
		raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
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
	raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);

	if (last)
		cdm_owner_put(owner);
}

static void cdm_flush_slot(u64 *slot)
{
	struct cdm_owner *owner;
	u64 val = *slot;

	if (SLOT_EMPTY(val))
		return;
	rcu_read_lock();
	owner = cdm_owner_by_id(SLOT_ID(val));
	/* Only pages keep it alive. It is gone if this CPU was missed by its last drain. */
	if (owner)
		cdm_sub(owner, SLOT_IDX(val), SLOT_NR(val), slot);
	else
		WRITE_ONCE(*slot, 0);
	rcu_read_unlock();
}

static u64 *cdm_slot(u16 id, unsigned int idx)
{
	return this_cpu_ptr(&cdm_stock.slot[SLOT_OF(id, idx)]);
}

static bool cdm_slot_is(u64 slot, u16 id, unsigned int idx)
{
	return !((slot ^ SLOT_KEY(id, idx)) >> 32);
}

/* A slot as far as it is that of @id and @idx: empty if it is somebody else's. */
static u64 cdm_slot_of(u64 slot, u16 id, unsigned int idx)
{
	return cdm_slot_is(slot, id, idx) ? slot : SLOT_KEY(id, idx);
}

/*
 * This CPU is about to have pages of @c in stock: let those know who do not find room.
 * Interrupts off until it has them.
 */
static void cdm_mark_stocked(struct cdm_counter *c, unsigned int idx)
{
	struct cpumask *stocked = &cdm_count[idx].stocked;
	int cpu = smp_processor_id();

	if (!cpumask_test_cpu(cpu, stocked))
		cpumask_set_cpu(cpu, stocked);
	/* Who takes the mark away, or finds it, sees the CPU: see cdm_drain_for(). */
	smp_mb();
	for (; c; c = c->parent)
		if (!READ_ONCE(c->stocked))
			WRITE_ONCE(c->stocked, true);
}

/* Have @nr pages, no more and no less, in this CPU's stock. Interrupts off. */
static void cdm_keep(u16 id, unsigned int idx, unsigned int nr)
{
	u64 *slot = cdm_slot(id, idx);

	if (!cdm_slot_is(*slot, id, idx))
		cdm_flush_slot(slot);
	WRITE_ONCE(*slot, SLOT_KEY(id, idx) | nr * SLOT_ONE |
		   SLOT_TAKEN(cdm_slot_of(*slot, id, idx)));
}

/*
 * Charge @nr pages, and @extra that are to be kept in stock; @charged are counted as
 * charged. Interrupts off, @owner lives for the node. Fails with the limit if @nr
 * does not fit.
 */
static bool cdm_charge_locked(struct cdm_owner *owner, unsigned int idx, unsigned int nr,
			      unsigned int charged, struct cdm_counter **limit,
			      unsigned int *extra)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long room;

	lockdep_assert_held(&cdm_count[idx].lock);
	room = cdm_room(c, nr, limit);
	if (room < nr)
		return false;
	/*
	 * Take ahead only what cannot make another CPU meet the limit while
	 * there is room: all stocks together stay below half of it. And nothing with a
	 * huge page, which no stock would do for.
	 */
	*extra = 0;
	if (nr && nr < CDM_BATCH)
		*extra = min_t(unsigned long, CDM_BATCH, (room - nr) / (2 * num_online_cpus()));
	if (*extra)
		cdm_mark_stocked(c, idx);
	cdm_add(owner, idx, nr + *extra, charged);
	return true;
}

static struct cdm_owner *cdm_counter_owner(struct cdm_owner *owner, unsigned int idx,
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
 * @limit: where to put the lowest owner whose limit has too little room; set on
 *	failure only
 *
 * If the group of @owner was removed, its nearest living ancestor pays.
 *
 * Context: RCU read side; any context otherwise.
 * Return: id of the owner that was charged, or 0 if @nr pages do not fit. Other
 * CPUs' stocks may hold room, see cdm_drain().
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
	val = cdm_slot_of(*slot, id, idx);
	if (SLOT_NR(val) >= nr && SLOT_TAKEN(val) + nr <= SLOT_TAKEN_MAX) {
		WRITE_ONCE(*slot, val - nr * SLOT_ONE + nr);
		goto out;
	}

	raw_spin_lock(&cdm_count[idx].lock);
	owner = cdm_live_owner(owner, idx);
	id = owner->id;
	slot = cdm_slot(id, idx);
	val = cdm_slot_of(*slot, id, idx);
	have = min(SLOT_NR(val), nr);
	if (!cdm_charge_locked(owner, idx, nr - have, nr + SLOT_TAKEN(val), &full, &extra)) {
		raw_spin_unlock(&cdm_count[idx].lock);
		*limit = cdm_counter_owner(owner, idx, full);
		id = 0;
		goto out;
	}
	/* What the slot had to tell is told. */
	ours = cdm_slot_is(*slot, id, idx);
	if (ours)
		WRITE_ONCE(*slot, SLOT_KEY(id, idx) | (SLOT_NR(val) - have + extra) * SLOT_ONE);
	raw_spin_unlock(&cdm_count[idx].lock);
	if (!ours && extra)
		cdm_keep(id, idx, extra);
out:
	local_irq_restore(flags);
	return id;
}

/*
 * May pages of @c not wait in a stock? Those of a removed group have nobody to
 * wait for, and while a level is over its limit nothing may be charged, which
 * a stock would allow. Stocks were drained when @c came into that state, and
 * interrupts are off: if this sees the old state, the drain is yet to come.
 */
static bool cdm_over(const struct cdm_counter *c)
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
	val = cdm_slot_of(*cdm_slot(id, idx), id, idx);
	have = SLOT_NR(val);
	if (have && have + nr <= CDM_STOCK_MAX) {
		WRITE_ONCE(*cdm_slot(id, idx), val + nr * SLOT_ONE);
		goto out;
	}

	/* The pages to give back keep the owner alive. */
	owner = cdm_owner_by_id(id);
	if (WARN_ONCE(!owner, "cdm: no owner %u\n", id))
		goto out;
	if (have) {
		cdm_keep(id, idx, CDM_BATCH);
		cdm_sub(owner, idx, have + nr - CDM_BATCH, NULL);
	} else if (nr >= CDM_BATCH || cdm_over(owner->counter[idx])) {
		cdm_sub(owner, idx, nr, NULL);
	} else {
		cdm_mark_stocked(owner->counter[idx], idx);
		cdm_keep(id, idx, nr);
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
	cpumask_clear_cpu(smp_processor_id(), &cdm_count[idx].stocked);
	local_irq_restore(flags);
}

/**
 * cdm_drain - give back what the CPUs' stocks hold of a node
 * @idx: index of the node
 *
 * Afterwards every page of usage is charged for a page in use, but for what
 * concurrent charges took meanwhile.
 *
 * Context: interrupts on; does not sleep, but waits for other CPUs.
 */
void cdm_drain(unsigned int idx)
{
	on_each_cpu_mask(&cdm_count[idx].stocked, cdm_drain_local, &idx, true);
}

/* Is a charge that does not fit at @c refused for good, without a drain? */
static bool cdm_is_full(const struct cdm_counter *c, unsigned int idx)
{
	if (READ_ONCE(c->stocked))
		return false;
	/* Who has taken the mark away may not be done. */
	smp_rmb();
	return !atomic_read(&cdm_count[idx].draining);
}

/**
 * cdm_drain_for - cdm_drain(), if that may make room under a limit
 * @limit: whose limit has refused a charge
 * @idx: index of the node
 *
 * A group whose quota is used up may be refused again and again, and should not
 * interrupt the CPUs of others each time.
 *
 * Context: RCU read side; otherwise as cdm_drain().
 * Return: false if it was not worth while: nobody has pages of the group in stock.
 */
bool cdm_drain_for(struct cdm_owner *limit, unsigned int idx)
{
	struct cdm_counter *c = limit->counter[idx];

	if (cdm_is_full(c, idx))
		return false;
	atomic_inc(&cdm_count[idx].draining);
	/* Who misses the mark sees that: see cdm_is_full(). */
	smp_mb__after_atomic();
	WRITE_ONCE(c->stocked, false);
	/* Pages that are kept from here on are marked again. */
	smp_mb();
	cdm_drain(idx);
	/* It is done. */
	smp_mb__before_atomic();
	atomic_dec(&cdm_count[idx].draining);
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

DEFINE_PER_CPU(struct cdm_pending, cdm_pending);

static void cdm_flush_pending(struct cdm_pending *p)
{
	unsigned int idx = PENDING_IDX(p->key);
	struct cdm_owner *owner;
	struct cdm_counter *c;
	unsigned long flags;
	int item;

	rcu_read_lock();
	owner = p->key ? cdm_owner_by_id(PENDING_ID(p->key)) : NULL;
	if (owner) {
		raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
		for (c = cdm_live_owner(owner, idx)->counter[idx]; c; c = c->parent)
			for (item = 0; item < CDM_NR_STATS; item++)
				WRITE_ONCE(c->stat[item], c->stat[item] + p->nr[item]);
		raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
	}
	rcu_read_unlock();
	memset(p, 0, sizeof(*p));
}

/* From here on this CPU's pages are those of @key. Interrupts off. */
void cdm_start_pending(u32 key)
{
	struct cdm_pending *p = this_cpu_ptr(&cdm_pending);

	cdm_flush_pending(p);
	p->key = key;
	cpumask_set_cpu(smp_processor_id(), &cdm_count[PENDING_IDX(key)].pending);
}

/* Events of @owner and those above it. Any context, RCU read side. */
static void cdm_count_events(struct cdm_owner *owner, unsigned int idx, enum cdm_event ev,
			     unsigned int nr)
{
	struct cdm_counter *c;
	unsigned long flags;

	raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
	c = cdm_live_owner(owner, idx)->counter[idx];
	WRITE_ONCE(c->events_local[ev], c->events_local[ev] + nr);
	for (; c; c = c->parent)
		WRITE_ONCE(c->events[ev], c->events[ev] + nr);
	raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
}

/*
 * Notices are not sent more often than the cgroup core's timer does: while that is
 * pending nothing is to be done. It runs after the event was counted.
 */
static void cdm_notify_file(struct cgroup_file *file)
{
	/* Pairs with the timer, which is not pending any more when it runs. */
	smp_mb();
	if (!timer_pending(&file->notify_timer))
		cgroup_file_notify(file);
}

/* Wake who waits for events of @owner. RCU read side; not under the node's lock. */
static void cdm_notify(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_group *group;
	bool local = true;

	owner = cdm_live_owner(owner, idx);
	for (; owner; owner = owner->parent, local = false) {
		group = rcu_dereference(owner->group);
		if (!group)
			continue;
		if (local)
			cdm_notify_file(&group->events_local_file);
		cdm_notify_file(&group->events_file);
	}
}

/*
 * Requests of one owner that one limit has refused, that went to RAM, and that this CPU
 * has not counted yet: there tend to be many in a row. Who pays, the limit, the node
 * and the number are one word, which only its own CPU changes: by one instruction,
 * if that only counts one more, or with interrupts off. Who waits for the events is
 * told by a timer, a jiffy later.
 */
struct cdm_refusals {
	u64 word;
	struct timer_list timer;
};

#define REFUSAL_KEY(payer, limit, idx)	((u64)(payer) << 48 | (u64)(limit) << 32 | (u64)(idx) << 24)
#define REFUSAL_NR_MASK	((1ULL << 24) - 1)
#define REFUSAL_PAYER(word)	((u16)((word) >> 48))
#define REFUSAL_LIMIT(word)	((u16)((word) >> 32))
#define REFUSAL_IDX(word)	((u8)((word) >> 24))
#define REFUSAL_NR(word)	((unsigned int)((word) & REFUSAL_NR_MASK))

static void cdm_refusals_timer(struct timer_list *timer);
static DEFINE_PER_CPU(struct cdm_refusals, cdm_refusals) = {
	.timer = __TIMER_INITIALIZER(cdm_refusals_timer, TIMER_PINNED),
};

static void cdm_flush_refusals(struct cdm_refusals *r)
{
	u64 word = r->word;
	struct cdm_owner *owner;

	if (!REFUSAL_NR(word))
		return;
	rcu_read_lock();
	owner = cdm_owner_by_id(REFUSAL_LIMIT(word));
	if (owner)
		cdm_count_events(owner, REFUSAL_IDX(word), CDM_EV_MAX, REFUSAL_NR(word));
	owner = cdm_owner_by_id(REFUSAL_PAYER(word));
	if (owner)
		cdm_count_events(owner, REFUSAL_IDX(word), CDM_EV_FALLBACK, REFUSAL_NR(word));
	rcu_read_unlock();
	WRITE_ONCE(r->word, word & ~REFUSAL_NR_MASK);
}

/* Tell of what @word has counted. Interrupts on. */
static void cdm_tell_refusals(u64 word)
{
	const u16 ids[] = { REFUSAL_PAYER(word), REFUSAL_LIMIT(word) };
	struct cdm_owner *owner;
	int i;

	rcu_read_lock();
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		owner = ids[i] ? cdm_owner_by_id(ids[i]) : NULL;
		if (owner)
			cdm_notify(owner, REFUSAL_IDX(word));
	}
	rcu_read_unlock();
}

static void cdm_refusals_timer(struct timer_list *timer)
{
	struct cdm_refusals *r = from_timer(r, timer, timer);
	u64 told;

	local_irq_disable();
	told = r->word;
	/* That of a CPU which is gone was flushed when it went. */
	if (r == this_cpu_ptr(&cdm_refusals))
		cdm_flush_refusals(r);
	local_irq_enable();
	cdm_tell_refusals(told);
}

/* Count a refusal of @key that may be the first since this CPU's were counted. */
static noinline void cdm_count_refusal(u64 key)
{
	struct cdm_refusals *r;
	unsigned long flags;
	bool other;
	u64 word;

	local_irq_save(flags);
	r = this_cpu_ptr(&cdm_refusals);
	word = r->word;
	other = (word ^ key) & ~REFUSAL_NR_MASK;
	if (other || REFUSAL_NR(word) == REFUSAL_NR_MASK) {
		cdm_flush_refusals(r);
		WRITE_ONCE(r->word, key);
	}
	WRITE_ONCE(r->word, r->word + 1);
	if (REFUSAL_NR(r->word) == 1) {
		cpumask_set_cpu(smp_processor_id(), &cdm_count[REFUSAL_IDX(key)].pending);
		mod_timer(&r->timer, jiffies + 1);
	}
	local_irq_restore(flags);
	/* The timer will not know of those any more. */
	if (other)
		cdm_tell_refusals(word);
}

/**
 * cdm_refuse_page - does a base page of a group have to go to RAM?
 * @group: its group
 * @idx: index of the node
 *
 * Looks at the limits without the lock, for a quota that is used up. True only if
 * it is certain: there is no room at this moment, nobody has any in stock, the
 * policy is fallback, and no protection says otherwise. The events are counted.
 *
 * Context: RCU read side, task.
 * Return: true if so.
 */
bool cdm_refuse_page(struct cdm_group *group, unsigned int idx)
{
	struct cdm_owner *limit = group->owner;
	/* Pairs with smp_store_release() in cdm_add_counter(). */
	struct cdm_counter *c = smp_load_acquire(&limit->counter[idx]);
	u64 key, word;

	if (READ_ONCE(group->policy) != CDM_FALLBACK || !c || READ_ONCE(c->dead) ||
	    READ_ONCE(cdm_count[idx].lows))
		return false;
	while (READ_ONCE(c->usage) < READ_ONCE(c->max)) {
		limit = limit->parent;
		if (!limit)
			return false;
		c = limit->counter[idx];
	}
	/* A charge that made it full marked what it left in stock before. */
	smp_rmb();
	if (!cdm_is_full(c, idx))
		return false;

	key = REFUSAL_KEY(group->id, limit->id, idx);
	word = this_cpu_read(cdm_refusals.word);
	/* One or more are counted, so this CPU's timer is pending. */
	if (unlikely(word - (key + 1) >= REFUSAL_NR_MASK - 1 ||
		     !this_cpu_try_cmpxchg(cdm_refusals.word, &word, word + 1)))
		cdm_count_refusal(key);
	return true;
}

static void cdm_settle_local(void *arg)
{
	unsigned int idx = *(unsigned int *)arg;
	unsigned long flags;

	local_irq_save(flags);
	if (PENDING_IDX(this_cpu_read(cdm_pending.key)) == idx)
		cdm_flush_pending(this_cpu_ptr(&cdm_pending));
	if (REFUSAL_IDX(this_cpu_read(cdm_refusals.word)) == idx)
		cdm_flush_refusals(this_cpu_ptr(&cdm_refusals));
	cpumask_clear_cpu(smp_processor_id(), &cdm_count[idx].pending);
	local_irq_restore(flags);
}

/* Add to the counters what CPUs have pending. Context as cdm_drain(). */
static void cdm_settle(unsigned int idx)
{
	on_each_cpu_mask(&cdm_count[idx].pending, cdm_settle_local, &idx, true);
}

static int cdm_cpu_dead(unsigned int cpu)
{
	struct cdm_stock *stock = per_cpu_ptr(&cdm_stock, cpu);
	unsigned int i;

	for (i = 0; i < CDM_STOCK_SLOTS; i++)
		cdm_flush_slot(&stock->slot[i]);
	cdm_flush_pending(per_cpu_ptr(&cdm_pending, cpu));
	cdm_flush_refusals(per_cpu_ptr(&cdm_refusals, cpu));
	for (i = 0; i < CDM_MAX_NODES; i++) {
		cpumask_clear_cpu(cpu, &cdm_count[i].stocked);
		cpumask_clear_cpu(cpu, &cdm_count[i].pending);
	}
	return 0;
}

/**
 * cdm_headroom - pages that an owner may still charge
 * @owner: the owner
 * @idx: index of the node
 *
 * Context: RCU read side or a reference; any context otherwise.
 * Return: pages; out of date at once.
 */
unsigned long cdm_headroom(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_counter *limit;
	unsigned long flags, room;

	raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
	room = cdm_room(cdm_live_owner(owner, idx)->counter[idx], 0, &limit);
	raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
	return room;
}

/*
 * Pages of @owner and those below it that wait in stocks; to @charged is added what
 * the stocks have to tell. RCU read side.
 */
static unsigned long cdm_stocks(const struct cdm_owner *owner, unsigned int idx,
				unsigned long *charged)
{
	unsigned long nr = 0;
	int cpu, i;

	for_each_cpu(cpu, &cdm_count[idx].stocked) {
		for (i = 0; i < CDM_STOCK_SLOTS; i++) {
			u64 val = READ_ONCE(per_cpu(cdm_stock, cpu).slot[i]);
			struct cdm_owner *holder;

			if (SLOT_EMPTY(val) || SLOT_IDX(val) != idx)
				continue;
			holder = cdm_owner_by_id(SLOT_ID(val));
			if (holder && cdm_owner_below(holder, owner)) {
				nr += SLOT_NR(val);
				*charged += SLOT_TAKEN(val);
			}
		}
	}
	return nr;
}

static unsigned long cdm_stocked(const struct cdm_owner *owner, unsigned int idx)
{
	unsigned long charged = 0;

	return cdm_stocks(owner, idx, &charged);
}

/*
 * Protection
 *
 * As memory.low's: a group's pages are protected up to cdm.low, as far as its
 * ancestors' protection reaches. Where siblings claim more than the parent has,
 * each gets its part by what it uses; with the mount option memory_recursiveprot
 * what they leave goes to all of them, by what they use beyond their claims.
 *
 * Worked out when it is asked for, from the counters as they are at that
 * moment: O(depth) under the node's lock, as a charge. What the stocks hold of
 * the group itself does not count as used; what they hold of its relatives does,
 * which moves shares by no more than that.
 */

/* The part of its parent's protection @elow that @c has, with @nr pages more in it. */
static unsigned long cdm_low_share(const struct cdm_counter *c, unsigned long elow,
				   unsigned long nr)
{
	unsigned long usage = c->usage + nr;
	unsigned long claim = min(usage, c->low);
	unsigned long claims = c->parent->children_low - c->low_usage + claim;
	unsigned long parent_usage = c->parent->usage + nr;

	if (claims > elow)
		return mul_u64_u64_div_u64(claim, elow, claims);
	if (!(cgrp_dfl_root.flags & CGRP_ROOT_MEMORY_RECURSIVE_PROT))
		return claim;
	if (elow > claims && parent_usage > claims && usage > claim)
		claim += mul_u64_u64_div_u64(elow - claims, usage - claim, parent_usage - claims);
	return claim;
}

/*
 * Protection of @c where @root's subtree is reclaimed, if it had @nr pages more.
 * Node's lock held.
 */
static unsigned long cdm_effective_low(struct cdm_counter *c, const struct cdm_counter *root,
				       unsigned long nr)
{
	struct cdm_counter *pos = c;
	unsigned long elow;

	if (c == root || !c->parent)
		return 0;
	for (; pos->parent != root; pos = pos->parent) {
		if (!pos->parent->parent)
			break;
		pos->parent->below = pos;
	}
	for (elow = pos->low; pos != c; elow = cdm_low_share(pos, elow, nr))
		pos = pos->below;
	return elow;
}

/**
 * cdm_get_share - what may reclaim take from a group?
 * @owner: the group's
 * @root: owner of the group whose subtree is reclaimed
 * @idx: index of the node
 * @share: where to put it
 *
 * Reclaim takes up to CDM_RECLAIM_BATCH pages at a time, or a huge page. So a
 * group is left alone while it has less than that above its protection.
 *
 * Usage is no bound for a group without protection: what its memory group has on
 * its lists may be charged to an ancestor, if cdm was switched on later.
 *
 * Context: RCU read side or a reference; any context otherwise.
 */
void cdm_get_share(struct cdm_owner *owner, const struct cdm_owner *root, unsigned int idx,
		   struct cdm_share *share)
{
	unsigned long flags, elow, usage = 0;
	struct cdm_counter *c;

	rcu_read_lock();
	raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
	owner = cdm_live_owner(owner, idx);
	c = owner->counter[idx];
	elow = cdm_count[idx].lows ? cdm_effective_low(c, root->counter[idx], 0) : 0;
	if (elow)
		usage = c->usage - min(c->usage, cdm_stocked(owner, idx));
	raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
	rcu_read_unlock();

	elow = min(elow, usage);
	if (elow) {
		elow += CDM_RECLAIM_BATCH - 1;
		share->low = usage <= elow;
		share->pages = usage - min(usage, elow);
	} else {
		share->low = false;
		share->pages = ULONG_MAX;
	}
}

/**
 * cdm_entitled - would pages that a group wants be protected?
 * @owner: the group's
 * @root: owner of the group whose subtree would be reclaimed for them
 * @idx: index of the node
 * @nr: pages
 *
 * Then others give way for them, whatever the group's policy.
 *
 * Context: RCU read side or a reference; any context otherwise.
 * Return: true if so.
 */
bool cdm_entitled(struct cdm_owner *owner, const struct cdm_owner *root, unsigned int idx,
		  unsigned int nr)
{
	unsigned long flags, elow, usage;
	struct cdm_counter *c;

	if (!READ_ONCE(cdm_count[idx].lows))
		return false;
	rcu_read_lock();
	raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
	owner = cdm_live_owner(owner, idx);
	c = owner->counter[idx];
	elow = cdm_effective_low(c, root->counter[idx], nr);
	usage = c->usage + nr;
	if (elow)
		usage -= min(c->usage, cdm_stocked(owner, idx));
	raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
	rcu_read_unlock();
	return elow >= usage;
}

/**
 * cdm_excess - pages by which usage is over the group's own limit
 * @owner: with a reference
 * @idx: index of the node
 *
 * Only lowering cdm.max makes such an excess.
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
 * cdm_charged - pages that were ever charged to a group and those below it
 * @owner: with a reference
 * @idx: index of the node
 * @usage: where to put how many of them are in use
 *
 * Exact when nothing is being charged; else off by no more than the pages
 * charged and uncharged during the call.
 *
 * Context: process context.
 * Return: pages.
 */
unsigned long cdm_charged(struct cdm_owner *owner, unsigned int idx, unsigned long *usage)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags, charged, stocked;

	*usage = 0;
	if (!c)
		return 0;
	rcu_read_lock();
	raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
	charged = c->charged;
	*usage = c->usage;
	stocked = cdm_stocks(owner, idx, &charged);
	raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
	rcu_read_unlock();
	*usage -= min(*usage, stocked);
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
 * cdm_event - count an event and wake who waits for it
 * @owner: group that it happened to
 * @idx: index of the node
 * @ev: the event
 *
 * Context: RCU read side or a reference; may not be called in NMI. Takes locks
 * of the cgroup core, so not under the node's lock.
 */
void cdm_event(struct cdm_owner *owner, unsigned int idx, enum cdm_event ev)
{
	rcu_read_lock();
	cdm_count_events(owner, idx, ev, 1);
	cdm_notify(owner, idx);
	rcu_read_unlock();
}

VISIBLE_IF_KUNIT void cdm_set_limit(struct cdm_owner *owner, unsigned int idx,
				    enum cdm_limit which, unsigned long pages)
{
	struct cdm_counter *c = owner->counter[idx];
	unsigned long flags;

	raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
	if (which == CDM_LIMIT_MAX) {
		WRITE_ONCE(c->max, pages);
	} else {
		WRITE_ONCE(cdm_count[idx].lows, cdm_count[idx].lows + !!pages - !!c->low);
		WRITE_ONCE(c->low, pages);
		cdm_update_low(c);
	}
	/* What was in vain may not be any more. */
	for (; c; c = c->parent)
		WRITE_ONCE(c->futile, jiffies);
	raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);
}

/* cdm_mutex held: the caller adds groups or nodes. */
static int cdm_add_counter(struct cdm_group *group, unsigned int idx)
{
	struct cdm_owner *owner = group->owner;
	struct cdm_counter *c;

	lockdep_assert_held(&cdm_mutex);
	if (owner->counter[idx])
		return 0;
	c = kzalloc(sizeof(*c), GFP_KERNEL);
	if (!c)
		return -ENOMEM;
	c->parent = owner->parent ? owner->parent->counter[idx] : NULL;
	c->max = group->default_limit[CDM_LIMIT_MAX];
	c->futile = jiffies;
	/* Pairs with smp_load_acquire() in cdm_live_owner(). */
	smp_store_release(&owner->counter[idx], c);
	cdm_set_limit(owner, idx, CDM_LIMIT_LOW, group->default_limit[CDM_LIMIT_LOW]);
	return 0;
}

/**
 * cdm_cgroup_add_node - give every group a counter for a node
 * @idx: index of the node
 * @nid: the node
 *
 * Does nothing for a node that has them. Counters stay when the node goes, so
 * limits hold when it comes back.
 *
 * Context: process context, takes cdm_mutex.
 * Return:
 * * %0 - done
 * * %-ENOMEM - no memory; nothing can be charged on the node
 */
int cdm_cgroup_add_node(unsigned int idx, int nid)
{
	struct cdm_group *group;
	unsigned int i;
	int ret = 0;

	mutex_lock(&cdm_mutex);
	/* Nodes may come in any order, but indices below the highest are in use. */
	list_for_each_entry(group, &cdm_groups, list)
		for (i = 0; i <= idx && !ret; i++)
			ret = cdm_add_counter(group, i);
	if (!ret)
		WRITE_ONCE(cdm_nr_nodes, max(cdm_nr_nodes, idx + 1));
	mutex_unlock(&cdm_mutex);
	if (ret)
		pr_err("cdm: node %d: no memory for counters\n", nid);
	return ret;
}

/*
 * Interface files. A node is shown while it has memory.
 */

/*
 * Step to the next node that is shown. @nid is NUMA_NO_NODE before the first,
 * @idx then ignored. False when there are no more.
 */
static bool cdm_next_shown(unsigned int *idx, int *nid)
{
	unsigned int i = *nid == NUMA_NO_NODE ? 0 : *idx + 1;

	for (; i < READ_ONCE(cdm_nr_nodes); i++) {
		*idx = i;
		*nid = cdm_idx_node(i);
		if (*nid != NUMA_NO_NODE && node_state(*nid, N_MEMORY))
			return true;
	}
	return false;
}

static u64 cdm_bytes(unsigned long pages)
{
	return (u64)pages << PAGE_SHIFT;
}

static void cdm_show_size(struct seq_file *sf, unsigned long pages)
{
	if (pages == CDM_MAX)
		seq_puts(sf, "max\n");
	else
		seq_printf(sf, "%llu\n", cdm_bytes(pages));
}

static int cdm_current_show(struct seq_file *sf, void *v)
{
	struct cdm_group *group = css_cdm(seq_css(sf));
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid))
		seq_printf(sf, "node%d %llu\n", nid, cdm_bytes(cdm_usage(group->owner, idx)));
	return 0;
}

static int cdm_capacity_show(struct seq_file *sf, void *v)
{
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid))
		seq_printf(sf, "node%d %llu\n", nid, cdm_bytes(cdm_node_capacity(idx)));
	return 0;
}

/* cdm.max and cdm.low: the file's private member says which. */
static int cdm_limit_show(struct seq_file *sf, void *v)
{
	struct cdm_group *group = css_cdm(seq_css(sf));
	enum cdm_limit which = seq_cft(sf)->private;
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	seq_puts(sf, "default ");
	cdm_show_size(sf, group->default_limit[which]);
	while (cdm_next_shown(&idx, &nid)) {
		struct cdm_counter *c = group->owner->counter[idx];

		seq_printf(sf, "node%d ", nid);
		cdm_show_size(sf, which == CDM_LIMIT_MAX ? c->max : c->low);
	}
	mutex_unlock(&cdm_mutex);
	return 0;
}

/**
 * struct cdm_limits - a parsed write to cdm.max, cdm.low or cdm.reclaim
 * @has_default: there was a "default" line
 * @default_pages: its value
 * @what:	by node index: LINE_*
 * @pages:	by node index: the value
 */
struct cdm_limits {
	bool has_default;
	unsigned long default_pages;
	enum { LINE_NONE, LINE_SET, LINE_DROP } what[CDM_MAX_NODES];
	unsigned long pages[CDM_MAX_NODES];
};

/**
 * cdm_parse_size - parse a limit
 * @str: "max", or bytes with an optional K, M, G or T (powers of 1024)
 * @pages: where to put the limit: bytes rounded down to pages, or CDM_MAX
 *
 * Return:
 * * %0 - done
 * * %-EINVAL - syntax
 * * %-ERANGE - the bytes do not fit 64 bits, or so many pages are no limit
 */
VISIBLE_IF_KUNIT int cdm_parse_size(const char *str, unsigned long *pages)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned int shift = 0, len = strspn(str, "0123456789");
	char digits[24];
	u64 bytes;
	int ret;

	if (!strcmp(str, "max")) {
		*pages = CDM_MAX;
		return 0;
	}
	if (!len)
		return -EINVAL;
	if (str[len]) {
		unit = strchr(units, toupper(str[len]));
		if (!unit || str[len + 1])
			return -EINVAL;
		shift = 10 * (unit - units + 1);
	}
	if (len >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, str, len);
	digits[len] = '\0';
	ret = kstrtou64(digits, 10, &bytes);
	if (ret)
		return ret;
	if (bytes > U64_MAX >> shift)
		return -ERANGE;
	bytes = (bytes << shift) >> PAGE_SHIFT;
	if (bytes >= CDM_MAX)
		return -ERANGE;
	*pages = bytes;
	return 0;
}

/* "node<N>" to the index of a node that has memory. */
static int cdm_parse_node(const char *str)
{
	unsigned int nid;
	int idx, ret;

	if (strncmp(str, "node", 4) || !isdigit(str[4]))
		return -EINVAL;
	ret = kstrtouint(str + 4, 10, &nid);
	if (ret == -EINVAL)
		return ret;
	if (ret || nid >= MAX_NUMNODES)
		return -ENODEV;
	idx = cdm_node_idx(nid);
	if (idx < 0 || idx >= READ_ONCE(cdm_nr_nodes) || !node_state(nid, N_MEMORY))
		return -ENODEV;
	return idx;
}

static int cdm_parse_line(char *line, struct cdm_limits *limits)
{
	char *key = strim(line), *value;
	unsigned long pages = 0;
	bool drop;
	int idx, ret;

	if (!*key)
		return 0;
	value = key + strcspn(key, " \t");
	if (*value)
		*value++ = '\0';
	value = skip_spaces(value);
	drop = !strcmp(value, "default");
	if (!drop) {
		ret = cdm_parse_size(value, &pages);
		if (ret)
			return ret;
	}
	if (!strcmp(key, "default")) {
		if (drop)
			return -EINVAL;
		limits->has_default = true;
		limits->default_pages = pages;
		return 0;
	}
	idx = cdm_parse_node(key);
	if (idx < 0)
		return idx;
	limits->what[idx] = drop ? LINE_DROP : LINE_SET;
	limits->pages[idx] = pages;
	return 0;
}

/* A buffer of lines; the result is to be freed. */
static struct cdm_limits *cdm_parse(char *buf)
{
	struct cdm_limits *limits;
	char *line;
	int ret = 0;

	limits = kzalloc(sizeof(*limits), GFP_KERNEL);
	if (!limits)
		return ERR_PTR(-ENOMEM);
	while (!ret && (line = strsep(&buf, "\n")))
		ret = cdm_parse_line(line, limits);
	if (!ret)
		return limits;
	kfree(limits);
	return ERR_PTR(ret);
}

static void cdm_apply_limits(struct cdm_group *group, enum cdm_limit which,
			     const struct cdm_limits *limits)
{
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	if (limits->has_default)
		group->default_limit[which] = limits->default_pages;
	for (idx = 0; idx < CDM_MAX_NODES; idx++) {
		struct cdm_counter *c = group->owner->counter[idx];

		if (!c)
			continue;
		if (limits->what[idx] != LINE_NONE)
			c->has_line[which] = limits->what[idx] == LINE_SET;
		if (limits->what[idx] == LINE_SET)
			cdm_set_limit(group->owner, idx, which, limits->pages[idx]);
		else if (!c->has_line[which])
			cdm_set_limit(group->owner, idx, which, group->default_limit[which]);
	}
	mutex_unlock(&cdm_mutex);
}

static ssize_t cdm_max_write(struct kernfs_open_file *of, char *buf, size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_limits *limits = cdm_parse(buf);
	unsigned int idx;

	if (IS_ERR(limits))
		return PTR_ERR(limits);
	cdm_apply_limits(group, CDM_LIMIT_MAX, limits);
	kfree(limits);

	/* The limit holds from now on; what is over it is moved out if it can be. */
	for (idx = 0; idx < READ_ONCE(cdm_nr_nodes); idx++) {
		if (!cdm_excess(group->owner, idx))
			continue;
		cdm_drain(idx);
		if (!(of->file->f_flags & O_NONBLOCK))
			cdm_reclaim_excess(group->owner, idx);
	}
	return nbytes;
}

static ssize_t cdm_low_write(struct kernfs_open_file *of, char *buf, size_t nbytes, loff_t off)
{
	struct cdm_limits *limits = cdm_parse(buf);

	if (IS_ERR(limits))
		return PTR_ERR(limits);
	cdm_apply_limits(css_cdm(of_css(of)), CDM_LIMIT_LOW, limits);
	kfree(limits);
	return nbytes;
}

static ssize_t cdm_reclaim_write(struct kernfs_open_file *of, char *buf, size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_limits *limits = cdm_parse(buf);
	ssize_t ret = nbytes;
	unsigned int idx;

	if (IS_ERR(limits))
		return PTR_ERR(limits);
	if (limits->has_default)
		ret = -EINVAL;
	for (idx = 0; idx < CDM_MAX_NODES; idx++)
		if (limits->what[idx] == LINE_DROP || limits->pages[idx] == CDM_MAX)
			ret = -EINVAL;
	for (idx = 0; idx < CDM_MAX_NODES && ret > 0; idx++)
		if (cdm_reclaim_proactive(group->owner, idx, limits->pages[idx]) <
		    limits->pages[idx])
			ret = signal_pending(current) ? -EINTR : -EAGAIN;
	kfree(limits);
	return ret;
}

static const char * const cdm_policy_names[CDM_NR_POLICIES] = {
	[CDM_INHERIT]		= "inherit",
	[CDM_FALLBACK]		= "fallback",
	[CDM_RECLAIM]		= "reclaim",
	[CDM_RECLAIM_FAIL]	= "reclaim,fail",
	[CDM_FAIL]		= "fail",
};

/* Groups are in the list after their parents. */
static void cdm_update_policies(void)
{
	struct cdm_group *group;

	lockdep_assert_held(&cdm_mutex);
	list_for_each_entry(group, &cdm_groups, list)
		WRITE_ONCE(group->policy, cdm_effective_policy(group->owner));
}

static int cdm_policy_show(struct seq_file *sf, void *v)
{
	struct cdm_group *group = css_cdm(seq_css(sf));

	seq_printf(sf, "%s\n", cdm_policy_names[READ_ONCE(group->owner->policy)]);
	return 0;
}

static ssize_t cdm_policy_write(struct kernfs_open_file *of, char *buf, size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	int policy;

	policy = match_string(cdm_policy_names, CDM_NR_POLICIES, strstrip(buf));
	if (policy < 0)
		return policy;
	mutex_lock(&cdm_mutex);
	WRITE_ONCE(group->owner->policy, policy);
	cdm_update_policies();
	mutex_unlock(&cdm_mutex);
	return nbytes;
}

static void cdm_show_events(struct seq_file *sf, bool local)
{
	static const char * const names[CDM_NR_EVENTS] = {
		[CDM_EV_MAX]		= "max",
		[CDM_EV_DEPLETED]	= "depleted",
		[CDM_EV_FALLBACK]	= "fallback",
		[CDM_EV_FAIL]		= "fail",
		[CDM_EV_RECLAIM]	= "reclaim",
		[CDM_EV_LOW]		= "low",
	};
	struct cdm_group *group = css_cdm(seq_css(sf));
	int nid = NUMA_NO_NODE, ev;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid)) {
		struct cdm_counter *c = group->owner->counter[idx];

		cdm_settle(idx);
		seq_printf(sf, "node%d", nid);
		for (ev = 0; ev < CDM_NR_EVENTS; ev++)
			seq_printf(sf, " %s=%lu", names[ev],
				   READ_ONCE(*(local ? &c->events_local[ev] : &c->events[ev])));
		seq_putc(sf, '\n');
	}
}

static int cdm_events_show(struct seq_file *sf, void *v)
{
	cdm_show_events(sf, false);
	return 0;
}

static int cdm_events_local_show(struct seq_file *sf, void *v)
{
	cdm_show_events(sf, true);
	return 0;
}

static unsigned long cdm_stat_read(const struct cdm_counter *c, enum cdm_stat item)
{
	if (item != CDM_STAT_DEMOTED)
		return READ_ONCE(c->stat[item]);
	return READ_ONCE(c->stat[CDM_STAT_DEMOTED_ANON]) +
	       READ_ONCE(c->stat[CDM_STAT_DEMOTED_FILE]) +
	       READ_ONCE(c->stat[CDM_STAT_DEMOTED_SHMEM]);
}

static int cdm_stat_show(struct seq_file *sf, void *v)
{
	static const char * const names[CDM_NR_STATS] = {
		[CDM_STAT_MOVED_IN]	= "moved_in",
		[CDM_STAT_MOVED_OUT]	= "moved_out",
		[CDM_STAT_DEMOTED]	= "demoted",
		[CDM_STAT_PINNED_OUT]	= "pinned_out",
		[CDM_STAT_DEMOTED_ANON]	= "demoted_anon",
		[CDM_STAT_DEMOTED_FILE]	= "demoted_file",
		[CDM_STAT_DEMOTED_SHMEM] = "demoted_shmem",
	};
	struct cdm_group *group = css_cdm(seq_css(sf));
	int nid = NUMA_NO_NODE, item;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid)) {
		struct cdm_counter *c = group->owner->counter[idx];
		unsigned long usage, charged = cdm_charged(group->owner, idx, &usage);

		cdm_settle(idx);
		seq_printf(sf, "node%d charged=%lu uncharged=%lu", nid, charged,
			   charged - min(usage, charged));
		for (item = 0; item < CDM_NR_STATS; item++)
			seq_printf(sf, " %s=%lu", names[item], cdm_stat_read(c, item));
		seq_putc(sf, '\n');
	}
	return 0;
}

static struct cdm_peak_watcher *cdm_find_watcher(struct cdm_group *group,
						 struct kernfs_open_file *of)
{
	struct cdm_peak_watcher *w;

	lockdep_assert_held(&cdm_mutex);
	list_for_each_entry(w, &group->watchers, list)
		if (w->of == of)
			return w;
	return NULL;
}

static int cdm_peak_show(struct seq_file *sf, void *v)
{
	struct cdm_group *group = css_cdm(seq_css(sf));
	struct cdm_peak_watcher *w;
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	w = cdm_find_watcher(group, sf->private);
	while (cdm_next_shown(&idx, &nid)) {
		struct cdm_counter *c = group->owner->counter[idx];
		unsigned long peak = READ_ONCE(c->peak);

		if (w)
			peak = max(w->value[idx], READ_ONCE(c->fd_peak));
		seq_printf(sf, "node%d %llu\n", nid, cdm_bytes(peak));
	}
	mutex_unlock(&cdm_mutex);
	return 0;
}

/* Whatever is written: this open file's peak starts again from the usage of now. */
static ssize_t cdm_peak_write(struct kernfs_open_file *of, char *buf, size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_peak_watcher *w, *new;
	unsigned int idx;

	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return -ENOMEM;
	new->of = of;

	mutex_lock(&cdm_mutex);
	if (!cdm_find_watcher(group, of)) {
		list_add(&new->list, &group->watchers);
		new = NULL;
	}
	for (idx = 0; idx < cdm_nr_nodes; idx++) {
		struct cdm_counter *c = group->owner->counter[idx];
		unsigned long flags, usage, peak;

		/* What waits in stocks is not in use. */
		cdm_drain(idx);
		raw_spin_lock_irqsave(&cdm_count[idx].lock, flags);
		usage = c->usage;
		peak = c->fd_peak;
		c->fd_peak = usage;
		raw_spin_unlock_irqrestore(&cdm_count[idx].lock, flags);

		/* Others keep the peak that the counter forgets. */
		list_for_each_entry(w, &group->watchers, list)
			w->value[idx] = w->of == of ? usage : max(w->value[idx], peak);
	}
	mutex_unlock(&cdm_mutex);
	kfree(new);
	return nbytes;
}

static void cdm_peak_release(struct kernfs_open_file *of)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_peak_watcher *w;

	mutex_lock(&cdm_mutex);
	w = cdm_find_watcher(group, of);
	if (w)
		list_del(&w->list);
	mutex_unlock(&cdm_mutex);
	kfree(w);
}

static struct cftype cdm_files[] = {
	{
		.name = "current",
		.seq_show = cdm_current_show,
	},
	{
		.name = "peak",
		.release = cdm_peak_release,
		.seq_show = cdm_peak_show,
		.write = cdm_peak_write,
	},
	{
		.name = "max",
		.flags = CFTYPE_NOT_ON_ROOT,
		.private = CDM_LIMIT_MAX,
		.seq_show = cdm_limit_show,
		.write = cdm_max_write,
	},
	{
		.name = "low",
		.flags = CFTYPE_NOT_ON_ROOT,
		.private = CDM_LIMIT_LOW,
		.seq_show = cdm_limit_show,
		.write = cdm_low_write,
	},
	{
		.name = "reclaim",
		.flags = CFTYPE_NS_DELEGATABLE,
		.write = cdm_reclaim_write,
	},
	{
		.name = "policy",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cdm_policy_show,
		.write = cdm_policy_write,
	},
	{
		.name = "events",
		.flags = CFTYPE_NOT_ON_ROOT,
		.file_offset = offsetof(struct cdm_group, events_file),
		.seq_show = cdm_events_show,
	},
	{
		.name = "events.local",
		.flags = CFTYPE_NOT_ON_ROOT,
		.file_offset = offsetof(struct cdm_group, events_local_file),
		.seq_show = cdm_events_local_show,
	},
	{
		.name = "stat",
		.seq_show = cdm_stat_show,
	},
	{
		.name = "capacity",
		.flags = CFTYPE_ONLY_ON_ROOT,
		.seq_show = cdm_capacity_show,
	},
	{ }	/* terminate */
};

/*
 * Life of a group
 */

static struct cdm_owner *cdm_owner_alloc(struct cdm_group *group, struct cdm_owner *parent)
{
	struct cdm_owner *owner;
	int id;

	lockdep_assert_held(&cdm_mutex);
	owner = kzalloc(sizeof(*owner), GFP_KERNEL);
	if (!owner)
		return ERR_PTR(-ENOMEM);
	/* Cyclic: an id that a bug left behind is not soon somebody else's. */
	id = idr_alloc_cyclic(&cdm_owners, owner, 1, U16_MAX + 1, GFP_KERNEL);
	if (id < 0) {
		kfree(owner);
		return ERR_PTR(id);
	}
	owner->id = id;
	refcount_set(&owner->ref, 1);
	owner->parent = parent;
	if (parent)
		refcount_inc(&parent->ref);
	owner->policy = parent ? CDM_INHERIT : CDM_FALLBACK;
	INIT_WORK(&owner->free_work, cdm_owner_free);
	RCU_INIT_POINTER(owner->group, group);
	return owner;
}

static struct cgroup_subsys_state *cdm_css_alloc(struct cgroup_subsys_state *parent_css)
{
	struct cdm_group *parent = css_cdm(parent_css), *group;
	struct cdm_owner *owner;

	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return ERR_PTR(-ENOMEM);
	group->default_limit[CDM_LIMIT_MAX] = CDM_MAX;
	INIT_LIST_HEAD(&group->watchers);

	mutex_lock(&cdm_mutex);
	owner = cdm_owner_alloc(group, parent ? parent->owner : NULL);
	mutex_unlock(&cdm_mutex);
	if (IS_ERR(owner)) {
		kfree(group);
		return ERR_CAST(owner);
	}
	group->owner = owner;
	group->id = owner->id;
	if (!parent)
		cdm_root = group;
	return &group->css;
}

/* Nodes that come later find the group in the list, after its parent. */
static int cdm_css_online(struct cgroup_subsys_state *css)
{
	struct cdm_group *group = css_cdm(css);
	unsigned int idx;
	int ret = 0;

	mutex_lock(&cdm_mutex);
	for (idx = 0; idx < cdm_nr_nodes && !ret; idx++)
		ret = cdm_add_counter(group, idx);
	if (!ret) {
		list_add_tail(&group->list, &cdm_groups);
		group->policy = cdm_effective_policy(group->owner);
	}
	mutex_unlock(&cdm_mutex);
	return ret;
}

/*
 * The charges move to the parent: its usage holds them already. Until here new
 * pages could be charged to the group; from here its ancestors pay.
 */
static void cdm_css_offline(struct cgroup_subsys_state *css)
{
	struct cdm_group *group = css_cdm(css);
	struct cdm_owner *owner = group->owner;
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	list_del(&group->list);
	for (idx = 0; idx < cdm_nr_nodes; idx++) {
		struct cdm_counter *c = owner->counter[idx];

		raw_spin_lock_irq(&cdm_count[idx].lock);
		WRITE_ONCE(c->dead, true);
		WRITE_ONCE(c->usage, 0);
		raw_spin_unlock_irq(&cdm_count[idx].lock);
		cdm_set_limit(owner, idx, CDM_LIMIT_LOW, 0);
		/*
		 * A CPU that saw the group alive kept its pages with interrupts
		 * off, so the drain that interrupts it comes later and finds them.
		 */
		cdm_drain(idx);
	}
	mutex_unlock(&cdm_mutex);
}

static void cdm_css_released(struct cgroup_subsys_state *css)
{
	/* The group is freed after a grace period: see cdm_event(). */
	RCU_INIT_POINTER(css_cdm(css)->owner->group, NULL);
}

static void cdm_css_free(struct cgroup_subsys_state *css)
{
	struct cdm_group *group = css_cdm(css);

	cdm_owner_put(group->owner);
	kfree(group);
}

struct cgroup_subsys cdm_cgrp_subsys = {
	.css_alloc	= cdm_css_alloc,
	.css_online	= cdm_css_online,
	.css_offline	= cdm_css_offline,
	.css_released	= cdm_css_released,
	.css_free	= cdm_css_free,
	.dfl_cftypes	= cdm_files,
	.depends_on	= 1 << memory_cgrp_id,
};

/* cdm=off: no CDM nodes and no controller, as if the kernel did not know them. */
static int __init cdm_setup(char *str)
{
	if (!str || strcmp(str, "off"))
		return -EINVAL;
	cdm_off = true;
	static_branch_disable(&cdm_cgrp_subsys_enabled_key);
	return 0;
}
early_param("cdm", cdm_setup);

static int __init cdm_cgroup_init(void)
{
	int ret;

	/* The teardown of a state before the CPU starts runs when it is dead. */
	ret = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "mm/cdm:dead", NULL, cdm_cpu_dead);
	return ret < 0 ? ret : 0;
}
subsys_initcall(cdm_cgroup_init);
