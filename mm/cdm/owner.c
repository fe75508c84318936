// SPDX-License-Identifier: GPL-2.0
/*
 * Owners of coherent device memory: life, ids and settings
 *
 * There is an owner for each group, and as long as pages are charged to it or
 * to a group below it. It has what the group is configured to: limits,
 * protection and policy; and a counter for each node that was ever CDM.
 *
 * Lock order:
 *
 *   cgroup_mutex
 *     cdm_mutex
 *       cdm_trees[].lock		(raw, interrupts off; innermost)
 *
 * cdm_mutex protects the list of owners, the ids, the set of nodes that have
 * counters, and settings as configured.
 */
#include <linux/cgroup.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "counter.h"
#include "owner.h"
#include "stat.h"

/* See the lock order above. */
DEFINE_MUTEX(cdm_mutex);

DEFINE_IDR(cdm_owners);
struct cdm_owner *cdm_root_owner;

/* Owners whose group is online, after their parents. */
static LIST_HEAD(cdm_owner_list);

/*
 * Life
 */

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
	struct cdm_owner *owner = container_of(work, struct cdm_owner,
					       free_work);

	/* What is pending for it goes to its ancestors. */
	cdm_settle(owner);
	mutex_lock(&cdm_mutex);
	idr_remove(&cdm_owners, owner->id);
	mutex_unlock(&cdm_mutex);

	/* Others may have found the owner by its id, and walk its counters. */
	call_rcu(&owner->rcu, cdm_owner_free_rcu);
}

/**
 * cdm_owner_create - make an owner for a new group
 * @parent: the parent group's owner, or NULL for the root, which comes first
 * @group: the group
 *
 * Context: process context, takes cdm_mutex.
 * Return: the owner, with a reference for the group; -ENOMEM, -ENOSPC if there
 * is no id left, or -EAGAIN, as for cgroup.max.depth, if there would be more
 * than CDM_MAX_DEPTH groups below each other.
 */
struct cdm_owner *cdm_owner_create(struct cdm_owner *parent,
				   struct cdm_group *group)
{
	struct cdm_owner *owner;
	int id;

	if (parent && parent->depth == CDM_MAX_DEPTH)
		return ERR_PTR(-EAGAIN);
	owner = kzalloc(sizeof(*owner), GFP_KERNEL);
	if (!owner)
		return ERR_PTR(-ENOMEM);
	mutex_lock(&cdm_mutex);
	/* Cyclic: an id that a bug left behind is not soon another owner's. */
	id = idr_alloc_cyclic(&cdm_owners, owner, 1, U16_MAX + 1, GFP_KERNEL);
	mutex_unlock(&cdm_mutex);
	if (id < 0) {
		kfree(owner);
		return ERR_PTR(id);
	}
	owner->id = id;
	refcount_set(&owner->ref, 1);
	owner->parent = parent;
	if (parent) {
		owner->depth = parent->depth + 1;
		refcount_inc(&parent->ref);
	} else {
		cdm_root_owner = owner;
	}
	owner->default_value[CDM_SETTING_MAX] = CDM_MAX;
	owner->default_value[CDM_SETTING_POLICY] =
		parent ? CDM_INHERIT : CDM_FALLBACK;
	INIT_LIST_HEAD(&owner->list);
	INIT_WORK(&owner->free_work, cdm_owner_free);
	RCU_INIT_POINTER(owner->group, group);
	return owner;
}

/**
 * cdm_owner_id - what owner tables hold for an owner's pages
 * @owner: the owner
 *
 * Context: any.
 * Return: the id, which is constant and not 0.
 */
u16 cdm_owner_id(const struct cdm_owner *owner)
{
	return owner->id;
}

/**
 * cdm_owner_online - let pages be charged to an owner
 * @owner: from cdm_owner_create()
 *
 * Nodes that come later find the owner in the list, after its parent.
 *
 * Context: process context, takes cdm_mutex.
 * Return: 0 or -ENOMEM.
 */
int cdm_owner_online(struct cdm_owner *owner)
{
	struct cdm_group *group = rcu_access_pointer(owner->group);
	unsigned int idx;
	int ret = 0;

	if (group)
		owner->cgroup = cgroup_id(group->css.cgroup);
	mutex_lock(&cdm_mutex);
	for (idx = 0; idx < cdm_nr_nodes && !ret; idx++)
		ret = cdm_counter_create(owner, idx);
	if (!ret)
		list_add_tail(&owner->list, &cdm_owner_list);
	mutex_unlock(&cdm_mutex);
	return ret;
}

/**
 * cdm_owner_offline - let an owner's ancestors pay from now on
 * @owner: the owner of a group that is removed
 *
 * Context: process context, takes cdm_mutex.
 */
void cdm_owner_offline(struct cdm_owner *owner)
{
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	list_del_init(&owner->list);
	for (idx = 0; idx < cdm_nr_nodes; idx++)
		cdm_counter_retire(owner, idx);
	mutex_unlock(&cdm_mutex);
}

/**
 * cdm_owner_detach - forget the group of an owner
 * @owner: the owner of a group that is freed after a grace period
 *
 * Context: any.
 */
void cdm_owner_detach(struct cdm_owner *owner)
{
	/* Readers use the group within an RCU read side section. */
	RCU_INIT_POINTER(owner->group, NULL);
}

/**
 * cdm_owner_release - drop a group's reference on its owner
 * @owner: after cdm_owner_detach() and a grace period
 *
 * Nobody charges pages to the owner any more. What CPUs have in stock for it
 * would keep it, and is given back here, where no lock is held that others
 * wait for.
 *
 * Context: process context, interrupts on.
 */
void cdm_owner_release(struct cdm_owner *owner)
{
	unsigned int idx;

	for (idx = 0; idx < READ_ONCE(cdm_nr_nodes); idx++)
		cdm_drain(owner, idx);
	cdm_owner_put(owner);
}

/**
 * cdm_owner_add_node - give every owner a counter for a node
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
int cdm_owner_add_node(unsigned int idx, int nid)
{
	struct cdm_owner *owner;
	unsigned int i;
	int ret = 0;

	mutex_lock(&cdm_mutex);
	/* Nodes may come in any order, but lower indices count as in use. */
	list_for_each_entry(owner, &cdm_owner_list, list)
		for (i = 0; i <= idx && !ret; i++)
			ret = cdm_counter_create(owner, i);
	if (!ret)
		WRITE_ONCE(cdm_nr_nodes, max(cdm_nr_nodes, idx + 1));
	mutex_unlock(&cdm_mutex);
	if (ret)
		pr_err("cdm: node %d: no memory for counters\n", nid);
	return ret;
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
		css = cdm_group_get_memcg(group);
	rcu_read_unlock();
	return css;
}

/*
 * Settings
 */

/**
 * cdm_get_policy - the policy that applies to an owner
 * @owner: the owner
 * @idx: index of the node
 *
 * That of the nearest ancestor whose word answers the question, for each of the
 * two questions. If the group of @owner was removed, its nearest living
 * ancestor's.
 *
 * Context: RCU read side, or @owner does not go away. Owners that are named as
 * a reach stay as long as @owner does.
 * Return: the policy; the root's word answers both questions.
 */
struct cdm_effective_policy cdm_get_policy(struct cdm_owner *owner,
					   unsigned int idx)
{
	struct cdm_effective_policy policy = { };
	bool decided = false;

	for (owner = cdm_live_owner(owner, idx); owner; owner = owner->parent) {
		unsigned int word = READ_ONCE(owner->counter[idx]->policy);

		if (!decided && word != CDM_INHERIT) {
			policy.fails = cdm_policy_fails(word);
			decided = true;
		}
		if (!cdm_policy_inherits(word)) {
			if (cdm_policy_reclaims(word))
				policy.reach = owner;
			break;
		}
	}
	return policy;
}

/**
 * cdm_owner_levels - how far up the tree is an ancestor?
 * @owner: an owner
 * @ancestor: @owner, or above it
 *
 * Context: any; the caller keeps @owner alive.
 * Return: levels; 0 for @owner itself.
 */
unsigned int cdm_owner_levels(const struct cdm_owner *owner,
			      const struct cdm_owner *ancestor)
{
	unsigned int levels = 0;

	for (; owner != ancestor; owner = owner->parent)
		levels++;
	return levels;
}

/**
 * cdm_owner_default - the value for nodes without one of their own
 * @owner: with a reference
 * @which: which setting
 *
 * Context: under cdm_mutex.
 * Return: the value.
 */
unsigned long cdm_owner_default(const struct cdm_owner *owner,
				enum cdm_setting which)
{
	lockdep_assert_held(&cdm_mutex);
	return owner->default_value[which];
}

/**
 * cdm_owner_names - does cdm.max of a group have a line for a node?
 * @owner: the owner of the group
 * @idx: index of the node
 *
 * A limit other than 0 in the group or in an ancestor below the root says that
 * somebody meant this very node for it. A default does not.
 *
 * Context: any; the owner does not go away.
 * Return: true if so.
 */
bool cdm_owner_names(const struct cdm_owner *owner, unsigned int idx)
{
	const struct cdm_counter *counter;

	for (; owner->parent; owner = owner->parent) {
		/* Written under cdm_mutex; a write under way may win. */
		if (!test_bit(idx, owner->own[CDM_SETTING_MAX]))
			continue;
		/* Pairs with the release in cdm_counter_create(). */
		counter = smp_load_acquire(&owner->counter[idx]);
		if (counter && READ_ONCE(counter->max))
			return true;
	}
	return false;
}

/**
 * cdm_owner_has_own - does a node have a value of its own?
 * @owner: with a reference
 * @idx: index of the node
 * @which: which setting
 *
 * Context: under cdm_mutex.
 * Return: true if so.
 */
bool cdm_owner_has_own(const struct cdm_owner *owner, unsigned int idx,
		       enum cdm_setting which)
{
	lockdep_assert_held(&cdm_mutex);
	return test_bit(idx, owner->own[which]);
}

/**
 * cdm_owner_apply - apply a write to a file of settings
 * @owner: with a reference
 * @which: which setting
 * @settings: what was written
 *
 * Each node's value changes once, whatever the order of the lines was. So no
 * value that was not asked for is ever in force.
 *
 * Context: process context, takes cdm_mutex.
 */
void cdm_owner_apply(struct cdm_owner *owner, enum cdm_setting which,
		     const struct cdm_settings *settings)
{
	unsigned long *own = owner->own[which];
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	if (settings->has_default)
		owner->default_value[which] = settings->default_value;
	for (idx = 0; idx < cdm_nr_nodes; idx++) {
		if (settings->line[idx] != CDM_LINE_NONE)
			__assign_bit(idx, own,
				     settings->line[idx] == CDM_LINE_SET);
		if (settings->line[idx] == CDM_LINE_SET)
			cdm_set_setting(owner, idx, which,
					settings->value[idx]);
		else if (!test_bit(idx, own))
			cdm_set_setting(owner, idx, which,
					owner->default_value[which]);
	}
	mutex_unlock(&cdm_mutex);
}
