/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Events and statistics of coherent device memory: see stat.c.
 */
#ifndef _MM_CDM_STAT_H
#define _MM_CDM_STAT_H

#include <linux/cdm_cgroup.h>
#include <linux/irqflags.h>
#include <linux/percpu.h>
#include <linux/timer_types.h>
#include <linux/types.h>

struct cdm_owner;

/**
 * struct cdm_stats - what is counted for one group on one node
 * @events:	times, by &enum cdm_event, of the group and those below it
 * @events_local: times, by &enum cdm_event, of the group alone
 * @pages:	by &enum cdm_stat, of the group and those below it
 *
 * Protected by the lock of the node's tree, read without it.
 */
struct cdm_stats {
	unsigned long events[CDM_NR_EVENTS];
	unsigned long events_local[CDM_NR_EVENTS];
	unsigned long pages[CDM_NR_STATS];
};

/**
 * struct cdm_pending_stat - migrated pages that a CPU has not counted yet
 * @key:	the owner's id and the node's index; 0 for none
 * @pages:	by &enum cdm_stat
 *
 * Pages of one owner tend to be migrated many in a row. Only its own CPU
 * changes it, with interrupts off, and empties it under the lock of the node's
 * tree.
 */
struct cdm_pending_stat {
	u32 key;
	u32 pages[CDM_NR_STATS];
};

DECLARE_PER_CPU(struct cdm_pending_stat, cdm_pending_stat);

#define PENDING_KEY(id, idx)	((u32)(id) << 16 | (idx))
#define PENDING_ID(key)		((u16)((key) >> 16))
#define PENDING_IDX(key)	((key) & 0xffff)

/**
 * struct cdm_pending_fallbacks - fallbacks that a CPU has not counted yet
 * @word:	payer, limit, node and number
 * @timer:	wakes those who wait for the events, a jiffy later
 *
 * Base pages that one limit has no room for and that go to RAM, of one payer:
 * there tend to be many in a row. Only its own CPU changes @word: by one
 * instruction if that only counts one more, or with interrupts off; and empties
 * it under the lock of the node's tree.
 */
struct cdm_pending_fallbacks {
	u64 word;
	struct timer_list timer;
};

DECLARE_PER_CPU(struct cdm_pending_fallbacks, cdm_pending_fallbacks);

#define FALLBACK_NR_MASK	((1ULL << 24) - 1)
#define FALLBACK_KEY(payer, limit, idx)					\
	((u64)(payer) << 48 | (u64)(limit) << 32 | (u64)(idx) << 24)

void cdm_settle(struct cdm_owner *owner);
void cdm_event(struct cdm_owner *owner, unsigned int idx, enum cdm_event ev);
void cdm_count_taken(struct cdm_owner *victim, const struct cdm_owner *payer,
		     unsigned int idx, unsigned long pages);
void cdm_start_pending_stat(u32 key);
void cdm_start_pending_fallbacks(u64 key);

/**
 * cdm_stat_add - count migrated pages
 * @id: owner of pages that the caller holds
 * @idx: index of the node
 * @item: what happened to them
 * @nr: number of pages
 *
 * Context: any.
 */
static __always_inline void cdm_stat_add(u16 id, unsigned int idx,
					 enum cdm_stat item, unsigned long nr)
{
	u32 key = PENDING_KEY(id, idx);
	unsigned long flags;

	local_irq_save(flags);
	if (unlikely(__this_cpu_read(cdm_pending_stat.key) != key))
		cdm_start_pending_stat(key);
	__this_cpu_add(cdm_pending_stat.pages[item], nr);
	local_irq_restore(flags);
}

/**
 * cdm_count_fallback - count a base page that goes to RAM because of a limit
 * @payer: id of the owner that would have paid
 * @limit: id of the owner whose limit is full
 * @idx: index of the node
 *
 * Context: task, interrupts on.
 */
static __always_inline void cdm_count_fallback(u16 payer, u16 limit,
					       unsigned int idx)
{
	u64 key = FALLBACK_KEY(payer, limit, idx);
	u64 word = this_cpu_read(cdm_pending_fallbacks.word);

	/* If some are pending already, so is this CPU's timer. */
	if (unlikely(word - (key + 1) >= FALLBACK_NR_MASK - 1 ||
		     !this_cpu_try_cmpxchg(cdm_pending_fallbacks.word, &word,
					   word + 1)))
		cdm_start_pending_fallbacks(key);
}

#endif /* _MM_CDM_STAT_H */
