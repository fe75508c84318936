// SPDX-License-Identifier: GPL-2.0
/*
 * Protection of coherent device memory: how much of what a group has is kept
 * from reclaim for others
 *
 * As memory.low's: a group's pages are protected up to cdm.low, as far as its
 * ancestors' protection reaches. Where siblings claim more than the parent has,
 * each gets a part in proportion to what it uses. With the mount option
 * memory_recursiveprot, what they leave goes to all of them, in proportion to
 * what they use beyond their claims.
 *
 * It is calculated when it is needed, from the counters at that moment:
 * O(depth) under the tree's lock, as a charge is. What the stocks hold of the
 * group itself does not count as used; what they hold of its relatives does,
 * which shifts the parts by no more than that.
 */
#include <linux/cgroup.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>

#include "counter.h"

/*
 * Rounded up, so that the parts of a protection are not less than it is. The
 * remainder is smaller than @div, so it does not matter that products wrap.
 */
static unsigned long cdm_part(u64 a, u64 b, u64 div)
{
	u64 part = mul_u64_u64_div_u64(a, b, div);

	return part + (part * div != a * b);
}

/*
 * The part of its parent's protection @elow that @c gets if it has @nr pages
 * more.
 */
static unsigned long cdm_distribute_low(const struct cdm_counter *c,
					unsigned long elow, unsigned long nr)
{
	const struct cdm_counter *parent = c->parent;
	unsigned long usage = c->usage + nr;
	unsigned long claim = min(usage, c->low);
	unsigned long claims = parent->children_low - c->low_usage + claim;
	unsigned long parent_usage = parent->usage + nr;

	if (claims > elow)
		return cdm_part(claim, elow, claims);
	if (!(cgrp_dfl_root.flags & CGRP_ROOT_MEMORY_RECURSIVE_PROT))
		return claim;
	if (elow > claims && parent_usage > claims && usage > claim)
		claim += cdm_part(elow - claims, usage - claim,
				  parent_usage - claims);
	return claim;
}

/*
 * Protection of @c while @root's subtree is reclaimed, if @c had @nr pages
 * more. Tree's lock held.
 */
static unsigned long cdm_effective_low(struct cdm_counter *c,
				       const struct cdm_counter *root,
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
	for (elow = pos->low; pos != c;
	     elow = cdm_distribute_low(pos, elow, nr))
		pos = pos->below;
	return elow;
}

/**
 * cdm_get_share - what may reclaim take from a group?
 * @owner: the group's
 * @root: owner of the group whose subtree is reclaimed
 * @idx: index of the node
 * @wanted: pages that reclaim would take
 * @share: where to put it; to be returned by cdm_put_share()
 *
 * What one reclaim may take from a group with protection no other may take as
 * well. So a group is never brought below it, except for what CPUs have in
 * stock of it: CDM_STOCK_MAX pages each at most.
 *
 * Usage is no bound for a group without protection: pages on the lists of its
 * memory group may be charged to an ancestor, if cdm was enabled later.
 *
 * Context: RCU read side or a reference; any context otherwise.
 */
void cdm_get_share(struct cdm_owner *owner, const struct cdm_owner *root,
		   unsigned int idx, unsigned long wanted,
		   struct cdm_share *share)
{
	unsigned long flags, elow = 0, usage = 0, stock = 0, charged = 0;
	int tries = CDM_READ_TRIES;
	unsigned int changes = 0;
	struct cdm_counter *c;

	*share = (struct cdm_share){ .pages = ULONG_MAX };
	rcu_read_lock();
	owner = cdm_live_owner(owner, idx);
	c = owner->counter[idx];
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	for (;;) {
		if (!cdm_trees[idx].nr_low)
			break;
		elow = cdm_effective_low(c, root->counter[idx], 0);
		if (!elow || (tries < CDM_READ_TRIES && changes == c->changes) ||
		    !tries--)
			break;
		changes = c->changes;
		raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
		/* Not under the lock: this looks at the stocks of CPUs. */
		stock = cdm_stock_pages(owner, idx, &charged);
		raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	}
	if (elow) {
		usage = c->usage - min(c->usage, stock);
		usage -= min(usage, c->leaving);
		share->pages = min(usage - min(usage, elow), wanted);
		share->low = usage && !share->pages;
		share->counter = c;
		c->leaving += share->pages;
	}
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	rcu_read_unlock();
}

/**
 * cdm_put_share - reclaim has taken its share, or as much of it as it could
 * @idx: index of the node
 * @share: from cdm_get_share()
 *
 * Context: any; the caller has kept the owner alive.
 */
void cdm_put_share(unsigned int idx, struct cdm_share *share)
{
	unsigned long flags;

	if (!share->counter)
		return;
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	share->counter->leaving -= share->pages;
	/* The pages may have gone to stocks since others looked there. */
	share->counter->changes++;
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
}

/**
 * cdm_protected_pages - protection of a group while the whole node is reclaimed
 * @owner: with a reference
 * @idx: index of a node that has counters
 *
 * Context: any.
 * Return: pages, or CDM_MAX.
 */
unsigned long cdm_protected_pages(struct cdm_owner *owner, unsigned int idx)
{
	unsigned long flags, elow;

	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	owner = cdm_live_owner(owner, idx);
	elow = cdm_effective_low(owner->counter[idx],
				 cdm_root_owner->counter[idx], 0);
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	return elow;
}

/**
 * cdm_is_entitled - would the pages that a group asks for be protected?
 * @owner: the group's
 * @root: owner of the group whose subtree would be reclaimed for them
 * @idx: index of the node
 * @nr: pages
 *
 * If so, others make way for them, whatever the group's policy is.
 *
 * Context: RCU read side or a reference; any context otherwise.
 * Return: true if they would.
 */
bool cdm_is_entitled(struct cdm_owner *owner, const struct cdm_owner *root,
		     unsigned int idx, unsigned int nr)
{
	unsigned long flags, elow, usage;

	if (!READ_ONCE(cdm_trees[idx].nr_low))
		return false;
	rcu_read_lock();
	owner = cdm_live_owner(owner, idx);
	raw_spin_lock_irqsave(&cdm_trees[idx].lock, flags);
	elow = cdm_effective_low(owner->counter[idx], root->counter[idx], nr);
	usage = nr + owner->counter[idx]->usage;
	raw_spin_unlock_irqrestore(&cdm_trees[idx].lock, flags);
	/* Not under the lock: this looks at the stocks of CPUs. */
	if (elow && elow < usage)
		usage = nr + cdm_usage(owner, idx);
	rcu_read_unlock();
	return elow >= usage;
}
