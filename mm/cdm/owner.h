/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Owners of coherent device memory: see owner.c.
 *
 * Finding an owner and counting references on it are inlines, because counters
 * need them: counter.c calls nothing in owner.c, which creates counters.
 */
#ifndef _MM_CDM_OWNER_H
#define _MM_CDM_OWNER_H

#include <linux/cdm_cgroup.h>
#include <linux/idr.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct cdm_counter;

/*
 * Groups below each other, without the root. Charges go from a group up to the
 * root with interrupts off, so this bounds how long they are off, whatever
 * groups a tenant makes.
 */
#define CDM_MAX_DEPTH	256

/* Id of the root group's owner, the first that is created. */
#define CDM_ROOT_ID	1

/**
 * struct cdm_owner - whom a page is charged to
 * @id:		what a node's owner table holds for each page; 0 is nobody
 * @ref:	one for the group, for each child, for each node with pages
 *		charged to the owner itself, and for each user
 * @depth:	groups above, at most CDM_MAX_DEPTH; 0 in the root; constant
 * @parent:	owner of the parent group; NULL in the root; constant
 * @group:	RCU: the group; NULL once it was removed
 * @cgroup:	id of the group's cgroup, for tracing; written before the owner
 *		is online
 * @list:	in cdm_owner_list, after its parent, while the group is online;
 *		cdm_mutex
 * @default_value: by &enum cdm_setting: for nodes without a value of their own;
 *		cdm_mutex
 * @own:	by &enum cdm_setting: indices of nodes that have a value of
 *		their own; written under cdm_mutex, read anywhere
 * @free_work:	frees the owner where sleeping is allowed
 * @rcu:	defers the free past readers that found the owner by its id
 * @counter:	by node index; published by a release store and then constant
 *
 * An owner outlives its group: pages keep their owner's id when the group is
 * removed, and the last page that is freed takes the owner with it. So a
 * removal takes the same time whatever the number of pages.
 */
struct cdm_owner {
	u16 id;
	u16 depth;
	refcount_t ref;
	struct cdm_owner *parent;
	struct cdm_group __rcu *group;
	u64 cgroup;
	struct list_head list;
	unsigned long default_value[CDM_NR_SETTINGS];
	DECLARE_BITMAP(own[CDM_NR_SETTINGS], CDM_MAX_NODES);
	struct work_struct free_work;
	struct rcu_head rcu;
	struct cdm_counter *counter[CDM_MAX_NODES];
};

/* Owners by id; changed under cdm_mutex, read under RCU. */
extern struct idr cdm_owners;
extern struct cdm_owner *cdm_root_owner;

/**
 * cdm_owner_by_id - find an owner
 * @id: what an owner table holds, not 0
 *
 * Context: RCU read side, or the caller holds a page charged to @id.
 * Return: the owner, or NULL.
 */
static inline struct cdm_owner *cdm_owner_by_id(u16 id)
{
	return idr_find(&cdm_owners, id);
}

/**
 * cdm_owner_get - take a reference on an owner or its nearest living ancestor
 * @owner: from a lookup
 *
 * Context: RCU read side.
 * Return: an owner with a reference.
 */
static inline struct cdm_owner *cdm_owner_get(struct cdm_owner *owner)
{
	while (!refcount_inc_not_zero(&owner->ref))
		owner = owner->parent;
	return owner;
}

/**
 * cdm_owner_put - drop a reference
 * @owner: with a reference
 *
 * Context: any.
 */
static inline void cdm_owner_put(struct cdm_owner *owner)
{
	if (refcount_dec_and_test(&owner->ref))
		queue_work(system_unbound_wq, &owner->free_work);
}

/* Is @owner @ancestor, or below it? The caller keeps @owner alive. */
static inline bool cdm_owner_is_below(const struct cdm_owner *owner,
				      const struct cdm_owner *ancestor)
{
	while (owner->depth > ancestor->depth)
		owner = owner->parent;
	return owner == ancestor;
}

int cdm_owner_add_node(unsigned int idx, int nid);
bool cdm_owner_names(const struct cdm_owner *owner, unsigned int idx);
struct cgroup_subsys_state *cdm_owner_memcg(struct cdm_owner *owner);

#endif /* _MM_CDM_OWNER_H */
