// SPDX-License-Identifier: GPL-2.0
/*
 * Events and statistics of coherent device memory
 *
 * What happens often, and many times in a row for the same owner, is pending on
 * the CPU that saw it until something else happens there: migrated pages, and
 * base pages that go to RAM because a quota is used up. Everything else is
 * counted at once. A reader adds up what is pending, and interrupts nobody.
 *
 * The numbers are in the counters (struct cdm_stats) and change under the lock
 * of the node's tree. Those who poll cdm.events are woken outside that lock,
 * because this takes locks of the cgroup core.
 */
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/timer.h>

#include "counter.h"
#include "owner.h"
#include "stat.h"

/*
 * Migrated pages
 */

DEFINE_PER_CPU(struct cdm_pending_stat, cdm_pending_stat);

/*
 * Interrupts off. Under the tree's lock @p is emptied as the counters get what
 * it has, so that a reader finds out: see cdm_has_changed().
 */
static void cdm_flush_pending_stat(struct cdm_pending_stat *p)
{
	unsigned int idx = PENDING_IDX(p->key);
	struct cdm_owner *owner;
	struct cdm_counter *c;
	unsigned long flags;
	int item;

	if (!p->key)
		return;
	rcu_read_lock();
	owner = cdm_owner_by_id(PENDING_ID(p->key));
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	c = owner ? cdm_live_owner(owner, idx)->counter[idx] : NULL;
	for (; c; c = c->parent) {
		for (item = 0; item < CDM_NR_STATS; item++)
			WRITE_ONCE(c->stats.pages[item],
				   c->stats.pages[item] + p->pages[item]);
		c->changes++;
	}
	WRITE_ONCE(p->key, 0);
	for (item = 0; item < CDM_NR_STATS; item++)
		WRITE_ONCE(p->pages[item], 0);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	rcu_read_unlock();
}

/* From here on this CPU's pending pages are those of @key. Interrupts off. */
void cdm_start_pending_stat(u32 key)
{
	struct cdm_pending_stat *p = this_cpu_ptr(&cdm_pending_stat);

	cdm_flush_pending_stat(p);
	WRITE_ONCE(p->key, key);
}

/*
 * Events
 */

/* Events of @owner and those above it. Tree's lock held, RCU read side. */
static void cdm_count_events_locked(struct cdm_owner *owner, unsigned int idx,
				    enum cdm_event ev, unsigned int nr)
{
	struct cdm_counter *c = cdm_live_owner(owner, idx)->counter[idx];

	WRITE_ONCE(c->stats.events_local[ev], c->stats.events_local[ev] + nr);
	for (; c; c = c->parent) {
		WRITE_ONCE(c->stats.events[ev], c->stats.events[ev] + nr);
		c->changes++;
	}
}

/* Wake those who wait for events of @owner. RCU read side, tree unlocked. */
static void cdm_notify(struct cdm_owner *owner, unsigned int idx)
{
	struct cdm_group *group;
	bool local = true;

	owner = cdm_live_owner(owner, idx);
	for (; owner; owner = owner->parent, local = false) {
		group = rcu_dereference(owner->group);
		if (group)
			cdm_group_notify(group, local);
	}
}

/**
 * cdm_event - count an event and wake those who wait for it
 * @owner: group that it happened to
 * @idx: index of the node
 * @ev: the event
 *
 * Context: RCU read side or a reference; not in NMI. Takes locks of the cgroup
 * core, so not under the tree's lock.
 */
void cdm_event(struct cdm_owner *owner, unsigned int idx, enum cdm_event ev)
{
	unsigned long flags;

	rcu_read_lock();
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	cdm_count_events_locked(owner, idx, ev, 1);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	cdm_notify(owner, idx);
	rcu_read_unlock();
}

/* Is a request of @payer one from outside @owner's subtree? */
static bool cdm_is_outside(const struct cdm_owner *payer,
			   const struct cdm_owner *owner)
{
	return !payer || !cdm_owner_is_below(payer, owner);
}

/**
 * cdm_count_taken - pages of a group were demoted for a request
 * @victim: the group's owner, with a reference
 * @payer: whom the request was for, with a reference; NULL for kswapd
 * @idx: index of the node
 * @pages: their number, not 0
 *
 * Counts in the group, and in those above it that do not contain the payer.
 *
 * Context: process context.
 */
void cdm_count_taken(struct cdm_owner *victim, const struct cdm_owner *payer,
		     unsigned int idx, unsigned long pages)
{
	struct cdm_owner *owner;
	struct cdm_group *group;
	struct cdm_stats *stats;
	unsigned long flags;

	rcu_read_lock();
	victim = cdm_live_owner(victim, idx);
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	for (owner = victim; owner && cdm_is_outside(payer, owner);
	     owner = owner->parent) {
		stats = &owner->counter[idx]->stats;
		if (owner == victim)
			WRITE_ONCE(stats->events_local[CDM_EV_TAKEN],
				   stats->events_local[CDM_EV_TAKEN] + 1);
		WRITE_ONCE(stats->events[CDM_EV_TAKEN],
			   stats->events[CDM_EV_TAKEN] + 1);
		WRITE_ONCE(stats->pages[CDM_STAT_TAKEN],
			   stats->pages[CDM_STAT_TAKEN] + pages);
	}
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	for (owner = victim; owner && cdm_is_outside(payer, owner);
	     owner = owner->parent) {
		group = rcu_dereference(owner->group);
		if (group)
			cdm_group_notify(group, owner == victim);
	}
	rcu_read_unlock();
}

/*
 * Fallbacks of base pages because of a limit
 */

#define FALLBACK_PAYER(word)	((u16)((word) >> 48))
#define FALLBACK_LIMIT(word)	((u16)((word) >> 32))
#define FALLBACK_IDX(word)	((u8)((word) >> 24))
#define FALLBACK_NR(word)	((unsigned int)((word) & FALLBACK_NR_MASK))

static void cdm_fallbacks_timer(struct timer_list *timer);

DEFINE_PER_CPU(struct cdm_pending_fallbacks, cdm_pending_fallbacks) = {
	.timer = __TIMER_INITIALIZER(cdm_fallbacks_timer, TIMER_PINNED),
};

/* Interrupts off, or the CPU is dead. See cdm_flush_pending_stat(). */
static void cdm_flush_fallbacks(struct cdm_pending_fallbacks *p)
{
	u64 word = p->word;
	unsigned int idx = FALLBACK_IDX(word), nr = FALLBACK_NR(word);
	struct cdm_owner *owner;
	unsigned long flags;

	if (!nr)
		return;
	rcu_read_lock();
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	owner = cdm_owner_by_id(FALLBACK_LIMIT(word));
	if (owner)
		cdm_count_events_locked(owner, idx, CDM_EV_MAX, nr);
	owner = cdm_owner_by_id(FALLBACK_PAYER(word));
	if (owner)
		cdm_count_events_locked(owner, idx, CDM_EV_FALLBACK, nr);
	WRITE_ONCE(p->word, word & ~FALLBACK_NR_MASK);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	rcu_read_unlock();
}

/* Wake those who wait for what @word has counted. Interrupts on. */
static void cdm_notify_fallbacks(u64 word)
{
	const u16 ids[] = { FALLBACK_PAYER(word), FALLBACK_LIMIT(word) };
	struct cdm_owner *owner;
	int i;

	rcu_read_lock();
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		owner = ids[i] ? cdm_owner_by_id(ids[i]) : NULL;
		if (owner)
			cdm_notify(owner, FALLBACK_IDX(word));
	}
	rcu_read_unlock();
}

static void cdm_fallbacks_timer(struct timer_list *timer)
{
	struct cdm_pending_fallbacks *p = from_timer(p, timer, timer);
	u64 word;

	local_irq_disable();
	word = p->word;
	/* Those of a CPU that is dead were flushed when it died. */
	if (p == this_cpu_ptr(&cdm_pending_fallbacks))
		cdm_flush_fallbacks(p);
	local_irq_enable();
	cdm_notify_fallbacks(word);
}

/* Count a fallback of @key that may be the first since the last flush. */
noinline void cdm_start_pending_fallbacks(u64 key)
{
	struct cdm_pending_fallbacks *p;
	unsigned long flags;
	bool other;
	u64 word;

	local_irq_save(flags);
	p = this_cpu_ptr(&cdm_pending_fallbacks);
	word = p->word;
	other = (word ^ key) & ~FALLBACK_NR_MASK;
	if (other || FALLBACK_NR(word) == FALLBACK_NR_MASK) {
		cdm_flush_fallbacks(p);
		WRITE_ONCE(p->word, key);
	}
	WRITE_ONCE(p->word, p->word + 1);
	if (FALLBACK_NR(p->word) == 1)
		mod_timer(&p->timer, jiffies + 1);
	local_irq_restore(flags);
	/* The timer will not know of those any more. */
	if (other)
		cdm_notify_fallbacks(word);
}

/*
 * Readings
 */

/* Whose are the events @ev of @word? An id, or 0. */
static u16 cdm_fallbacks_of(u64 word, enum cdm_event ev)
{
	switch (ev) {
	case CDM_EV_MAX:
		return FALLBACK_LIMIT(word);
	case CDM_EV_FALLBACK:
		return FALLBACK_PAYER(word);
	default:
		return 0;
	}
}

/* Is @id that of @owner, or with @below of one below it? */
static bool cdm_is_counted(u16 id, unsigned int idx,
			   const struct cdm_owner *owner, bool below)
{
	struct cdm_owner *found;
	bool counted;

	rcu_read_lock();
	found = id ? cdm_owner_by_id(id) : NULL;
	if (found)
		found = cdm_live_owner(found, idx);
	counted = found && (below ? cdm_owner_is_below(found, owner) :
				    found == owner);
	rcu_read_unlock();
	return counted;
}

/* Events that are pending on CPUs. */
static unsigned long cdm_pending_events(const struct cdm_owner *owner,
					unsigned int idx, enum cdm_event ev,
					bool local)
{
	unsigned long nr = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		u64 word = READ_ONCE(per_cpu(cdm_pending_fallbacks, cpu).word);

		if (FALLBACK_NR(word) && FALLBACK_IDX(word) == idx &&
		    cdm_is_counted(cdm_fallbacks_of(word, ev), idx, owner,
				   !local))
			nr += FALLBACK_NR(word);
	}
	return nr;
}

/* Pages that are pending on CPUs. */
static unsigned long cdm_pending_pages(const struct cdm_owner *owner,
				       unsigned int idx, enum cdm_stat item)
{
	unsigned long nr = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct cdm_pending_stat *p = per_cpu_ptr(&cdm_pending_stat,
							 cpu);
		u32 key = READ_ONCE(p->key);

		/* If the pages are another owner's, @changes tells. */
		if (key && PENDING_IDX(key) == idx &&
		    cdm_is_counted(PENDING_ID(key), idx, owner, true))
			nr += READ_ONCE(p->pages[item]);
	}
	return nr;
}

/**
 * cdm_read_event - number of events
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @ev: the event
 * @local: of the group alone, without those below it
 *
 * Adds what is pending on CPUs, without interrupting them, and without a lock
 * while it does so. Exact while nothing happens to the group or those below it;
 * otherwise off by no more than the events during the call; or, if they came
 * too fast to read between two of them, those that were pending.
 *
 * Context: any.
 * Return: number.
 */
unsigned long cdm_read_event(const struct cdm_owner *owner, unsigned int idx,
			     enum cdm_event ev, bool local)
{
	const struct cdm_counter *c = owner->counter[idx];
	int tries = CDM_READ_TRIES;
	unsigned long flags, nr;
	unsigned int changes;

	do {
		raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
		changes = c->changes;
		nr = local ? c->stats.events_local[ev] : c->stats.events[ev];
		raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
		if (ev != CDM_EV_MAX && ev != CDM_EV_FALLBACK)
			break;
		nr += cdm_pending_events(owner, idx, ev, local);
	} while (cdm_has_changed(c, idx, changes) && --tries);
	return nr;
}

static unsigned long cdm_read_pages(const struct cdm_owner *owner,
				    unsigned int idx, enum cdm_stat item)
{
	const struct cdm_counter *c = owner->counter[idx];
	int tries = CDM_READ_TRIES;
	unsigned long flags, nr;
	unsigned int changes;

	do {
		raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
		changes = c->changes;
		nr = c->stats.pages[item];
		raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
		nr += cdm_pending_pages(owner, idx, item);
	} while (cdm_has_changed(c, idx, changes) && --tries);
	return nr;
}

/**
 * cdm_read_stat - number of migrated pages
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @item: what happened to them
 *
 * Context: any; as exact as cdm_read_event().
 * Return: pages.
 */
unsigned long cdm_read_stat(const struct cdm_owner *owner, unsigned int idx,
			    enum cdm_stat item)
{
	if (item != CDM_STAT_DEMOTED)
		return cdm_read_pages(owner, idx, item);
	return cdm_read_pages(owner, idx, CDM_STAT_DEMOTED_ANON) +
	       cdm_read_pages(owner, idx, CDM_STAT_DEMOTED_FILE) +
	       cdm_read_pages(owner, idx, CDM_STAT_DEMOTED_SHMEM);
}

/*
 * An owner that goes
 */

/* Has @cpu something pending for the owner? */
static bool cdm_cpu_is_settled(int cpu, void *arg)
{
	u64 word = READ_ONCE(per_cpu(cdm_pending_fallbacks, cpu).word);
	u32 key = READ_ONCE(per_cpu(cdm_pending_stat, cpu).key);
	const struct cdm_owner *owner = arg;

	return PENDING_ID(key) == owner->id ||
	       (FALLBACK_NR(word) && (FALLBACK_PAYER(word) == owner->id ||
				      FALLBACK_LIMIT(word) == owner->id));
}

static void cdm_settle_local(void *arg)
{
	cdm_flush_pending_stat(this_cpu_ptr(&cdm_pending_stat));
	cdm_flush_fallbacks(this_cpu_ptr(&cdm_pending_fallbacks));
}

/**
 * cdm_settle - add to the counters what CPUs have pending for an owner
 * @owner: the owner, which nobody has any more
 *
 * Interrupts the CPUs that have.
 *
 * Context: interrupts on; does not sleep, but waits for other CPUs.
 */
void cdm_settle(struct cdm_owner *owner)
{
	on_each_cpu_cond_mask(cdm_cpu_is_settled, cdm_settle_local, owner, true,
			      cpu_online_mask);
}

/* What a dead CPU had pending. Its stock it has emptied itself: counter.c. */
static int cdm_cpu_dead(unsigned int cpu)
{
	cdm_flush_pending_stat(per_cpu_ptr(&cdm_pending_stat, cpu));
	cdm_flush_fallbacks(per_cpu_ptr(&cdm_pending_fallbacks, cpu));
	return 0;
}

static int __init cdm_stat_init(void)
{
	int ret;

	/* States before the CPU starts are torn down when it is dead. */
	ret = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "mm/cdm:dead",
					NULL, cdm_cpu_dead);
	return ret < 0 ? ret : 0;
}
subsys_initcall(cdm_stat_init);
