// SPDX-License-Identifier: GPL-2.0
/*
 * Events and statistics of coherent device memory
 *
 * What happens often, and many times in a row for the same owner, is pending on
 * the CPU that saw it until something else happens there, or until somebody
 * asks (cdm_settle()): migrated pages, and base pages that go to RAM because a
 * quota is used up. Everything else is counted at once.
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
 * By node index: CPUs that may have something pending; a CPU sets its bit
 * before it has, and clears it when it has nothing.
 */
static struct cpumask cdm_pending_cpus[CDM_MAX_NODES];

/*
 * Migrated pages
 */

DEFINE_PER_CPU(struct cdm_pending_stat, cdm_pending_stat);

static void cdm_flush_pending_stat(struct cdm_pending_stat *p)
{
	unsigned int idx = PENDING_IDX(p->key);
	struct cdm_owner *owner;
	struct cdm_counter *c;
	unsigned long flags;
	int item;

	rcu_read_lock();
	owner = p->key ? cdm_owner_by_id(PENDING_ID(p->key)) : NULL;
	if (owner) {
		raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
		c = cdm_live_owner(owner, idx)->counter[idx];
		for (; c; c = c->parent)
			for (item = 0; item < CDM_NR_STATS; item++)
				WRITE_ONCE(c->stats.pages[item],
					   c->stats.pages[item] +
					   p->pages[item]);
		raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	}
	rcu_read_unlock();
	memset(p, 0, sizeof(*p));
}

/* From here on this CPU's pending pages are those of @key. Interrupts off. */
void cdm_start_pending_stat(u32 key)
{
	struct cdm_pending_stat *p = this_cpu_ptr(&cdm_pending_stat);

	cdm_flush_pending_stat(p);
	p->key = key;
	cpumask_set_cpu(smp_processor_id(),
			&cdm_pending_cpus[PENDING_IDX(key)]);
}

/*
 * Events
 */

/* Events of @owner and those above it. Any context, RCU read side. */
static void cdm_count_events(struct cdm_owner *owner, unsigned int idx,
			     enum cdm_event ev, unsigned int nr)
{
	struct cdm_counter *c;
	unsigned long flags;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	c = cdm_live_owner(owner, idx)->counter[idx];
	WRITE_ONCE(c->stats.events_local[ev], c->stats.events_local[ev] + nr);
	for (; c; c = c->parent)
		WRITE_ONCE(c->stats.events[ev], c->stats.events[ev] + nr);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
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
	rcu_read_lock();
	cdm_count_events(owner, idx, ev, 1);
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

static void cdm_flush_fallbacks(struct cdm_pending_fallbacks *p)
{
	u64 word = p->word;
	struct cdm_owner *owner;

	if (!FALLBACK_NR(word))
		return;
	rcu_read_lock();
	owner = cdm_owner_by_id(FALLBACK_LIMIT(word));
	if (owner)
		cdm_count_events(owner, FALLBACK_IDX(word), CDM_EV_MAX,
				 FALLBACK_NR(word));
	owner = cdm_owner_by_id(FALLBACK_PAYER(word));
	if (owner)
		cdm_count_events(owner, FALLBACK_IDX(word), CDM_EV_FALLBACK,
				 FALLBACK_NR(word));
	rcu_read_unlock();
	WRITE_ONCE(p->word, word & ~FALLBACK_NR_MASK);
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
	if (FALLBACK_NR(p->word) == 1) {
		cpumask_set_cpu(smp_processor_id(),
				&cdm_pending_cpus[FALLBACK_IDX(key)]);
		mod_timer(&p->timer, jiffies + 1);
	}
	local_irq_restore(flags);
	/* The timer will not know of those any more. */
	if (other)
		cdm_notify_fallbacks(word);
}

/*
 * Readings
 */

static void cdm_settle_local(void *arg)
{
	unsigned int idx = *(unsigned int *)arg;
	unsigned long flags;

	local_irq_save(flags);
	if (PENDING_IDX(this_cpu_read(cdm_pending_stat.key)) == idx)
		cdm_flush_pending_stat(this_cpu_ptr(&cdm_pending_stat));
	if (FALLBACK_IDX(this_cpu_read(cdm_pending_fallbacks.word)) == idx)
		cdm_flush_fallbacks(this_cpu_ptr(&cdm_pending_fallbacks));
	cpumask_clear_cpu(smp_processor_id(), &cdm_pending_cpus[idx]);
	local_irq_restore(flags);
}

/**
 * cdm_settle - add to the counters of a node what CPUs have pending
 * @idx: index of the node
 *
 * Context: interrupts on; does not sleep, but waits for other CPUs.
 */
void cdm_settle(unsigned int idx)
{
	on_each_cpu_mask(&cdm_pending_cpus[idx], cdm_settle_local, &idx, true);
}

/**
 * cdm_read_event - number of events
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @ev: the event
 * @local: of the group alone, without those below it
 *
 * Context: any; exact after cdm_settle().
 * Return: number.
 */
unsigned long cdm_read_event(const struct cdm_owner *owner, unsigned int idx,
			     enum cdm_event ev, bool local)
{
	const struct cdm_stats *stats = &owner->counter[idx]->stats;

	return READ_ONCE(*(local ? &stats->events_local[ev] :
				   &stats->events[ev]));
}

/**
 * cdm_read_stat - number of migrated pages
 * @owner: with a reference
 * @idx: index of a node that has counters
 * @item: what happened to them
 *
 * Context: any; exact after cdm_settle().
 * Return: pages.
 */
unsigned long cdm_read_stat(const struct cdm_owner *owner, unsigned int idx,
			    enum cdm_stat item)
{
	const struct cdm_stats *stats = &owner->counter[idx]->stats;

	if (item != CDM_STAT_DEMOTED)
		return READ_ONCE(stats->pages[item]);
	return READ_ONCE(stats->pages[CDM_STAT_DEMOTED_ANON]) +
	       READ_ONCE(stats->pages[CDM_STAT_DEMOTED_FILE]) +
	       READ_ONCE(stats->pages[CDM_STAT_DEMOTED_SHMEM]);
}

/* All that a dead CPU held: the stocks are counter.c's. */
static int cdm_cpu_dead(unsigned int cpu)
{
	unsigned int i;

	cdm_stock_cpu_dead(cpu);
	cdm_flush_pending_stat(per_cpu_ptr(&cdm_pending_stat, cpu));
	cdm_flush_fallbacks(per_cpu_ptr(&cdm_pending_fallbacks, cpu));
	for (i = 0; i < CDM_MAX_NODES; i++)
		cpumask_clear_cpu(cpu, &cdm_pending_cpus[i]);
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
