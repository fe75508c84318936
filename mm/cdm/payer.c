// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for device memory, and who may have it moved
 *
 * Normally the group of the address space that current runs in pays. Migration,
 * khugepaged, remote faults and readahead of swap allocate on behalf of others:
 * a struct cdm_scope at those few places names the payer.
 *
 * The owner of a folio pays for its copy, so move_pages(), migrate_pages() and
 * mbind() could spend the quota of others, or take from them what they have on
 * a device. Who calls them without being the machine's administrator may have
 * moved, to a CDM node or from one:
 *
 *   - what his cgroup owns, or one below it
 *   - private memory that only his address space maps, whoever owns it: a task
 *     that changed its cgroup keeps what it has
 *
 * and has to have a limit on the node, even for what others pay for. Other
 * folios stay, as they do for want of room.
 */
#include <linux/capability.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/user_namespace.h>

#include "internal.h"

/*
 * The group of the process that owns @mm, whatever group the thread that does
 * the work is in. NULL when the process has gone, and only others, who work on
 * what it leaves, keep the address space. RCU read side.
 */
static struct cdm_owner *cdm_mm_owner(struct mm_struct *mm)
{
	struct cdm_group *group = cdm_mm_group(mm);

	if (likely(group))
		return group->owner;
	return mm == &init_mm ? cdm_root_owner : NULL;
}

/* The group that a kernel thread, or an interrupt, says that it works for. */
static struct mem_cgroup *cdm_active_memcg(void)
{
	return in_task() ? current->active_memcg :
			   this_cpu_read(int_active_memcg);
}

/*
 * That of current's address space, or of whom a kernel thread works for. If
 * it does not say, that of the thread's own group; and the root for an
 * interrupt, which has nothing to do with current. NULL as from cdm_mm_owner(),
 * and if somebody is named who is in no group: that may be anybody, as all are
 * for the block layer without the io controller. RCU read side.
 */
static struct cdm_owner *cdm_current_owner(void)
{
	struct mem_cgroup *memcg;

	if (in_task() && current->mm)
		return cdm_mm_owner(current->mm);
	memcg = cdm_active_memcg();
	if (memcg)
		return mem_cgroup_is_root(memcg) ? NULL :
						   cdm_memcg_owner(memcg);
	if (!in_task())
		return cdm_root_owner;
	return css_cdm(task_css(current, cdm_cgrp_id))->owner;
}

/**
 * cdm_memcg_owner - the owner for a group of the memory controller
 * @memcg: the group
 *
 * Context: RCU read side.
 * Return: that of the same cgroup or, where cdm is not enabled, of its nearest
 * ancestor.
 */
struct cdm_owner *cdm_memcg_owner(struct mem_cgroup *memcg)
{
	return cdm_css_group(&memcg->css)->owner;
}

static struct cdm_owner *cdm_folio_owner(struct folio *folio)
{
	struct mem_cgroup *memcg;
	u16 id;

	if (!folio_is_cdm(folio)) {
		memcg = folio_memcg_check(folio);
		return memcg ? cdm_memcg_owner(memcg) : NULL;
	}
	id = cdm_get_owner(&folio->page);
	return id ? cdm_owner_by_id(id) : NULL;
}

/**
 * cdm_find_payer - who pays for what current allocates now
 * @scope: from cdm_current_scope()
 *
 * Context: RCU read side.
 * Return: the owner; NULL if there is nobody any more, so that it has to be
 * RAM.
 */
struct cdm_owner *cdm_find_payer(struct cdm_scope *scope)
{
	struct cdm_owner *owner = NULL;

	if (scope && scope->src)
		owner = cdm_folio_owner(scope->src);
	else if (scope && scope->mm)
		return cdm_mm_owner(scope->mm);
	return owner ? owner : cdm_current_owner();
}

/**
 * cdm_payer_is_known - is it known whom current allocates for?
 * @scope: from cdm_current_scope()
 *
 * Context: any.
 * Return: false for a kernel thread, or an interrupt, that does not say so. A
 * driver's may have what is free, and should make nobody else's pages go.
 */
bool cdm_payer_is_known(const struct cdm_scope *scope)
{
	if (scope && (scope->src || scope->mm))
		return true;
	return (in_task() && current->mm) || cdm_active_memcg();
}

/* Let a copy of @src fit under its payer's limits, on whatever node. */
static void cdm_make_copy_fit(struct folio *src)
{
	struct cdm_owner *payer, *limit;
	unsigned int idx;

	rcu_read_lock();
	payer = cdm_folio_owner(src);
	if (!payer)
		payer = cdm_current_owner();
	for (idx = 0; payer && idx < READ_ONCE(cdm_nr_nodes); idx++)
		cdm_make_fit(payer, idx, folio_nr_pages(src), &limit);
	rcu_read_unlock();
}

/*
 * Who may have it moved
 */

/*
 * The address space that asks for a folio to be moved. The kernel's own reasons
 * need no leave, except that a task's cpuset has its pages moved by a kernel
 * thread, for the task: do_migrate_pages() says so.
 */
static struct mm_struct *cdm_mover(int reason)
{
	if (reason != MR_SYSCALL && reason != MR_MEMPOLICY_MBIND)
		return NULL;
	if (likely(current->mm))
		return current->mm;
	return current->cdm_scope ? current->cdm_scope->mm : NULL;
}

/*
 * May the mover move what it likes, to where the owner's limits allow it?
 * CAP_SYS_NICE does not do: containers are given it for mbind(). Nobody is
 * refused anything for want of this, so nobody should hear of it.
 */
static bool cdm_mover_is_admin(const struct cdm_scope *scope)
{
	return scope->mover == current->mm &&
	       ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);
}

/* Who else maps a folio? */
struct cdm_sharers {
	struct mm_struct *mm;
	bool found;
};

static bool cdm_is_own_vma(struct vm_area_struct *vma, void *arg)
{
	const struct cdm_sharers *sharers = arg;

	return vma->vm_mm == sharers->mm;
}

static bool cdm_is_mapped_in(struct folio *folio, struct vm_area_struct *vma,
			     unsigned long address, void *arg)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, address, 0);
	struct cdm_sharers *sharers = arg;

	/* To its end, where the walk lets its lock go by itself. */
	while (page_vma_mapped_walk(&pvmw))
		sharers->found = true;
	return !sharers->found;
}

/*
 * Is @folio, which is isolated, private memory that no address space but @mm
 * maps? What is isolated is not merged by KSM meanwhile, whose pages are
 * everybody's. For huge pages folio_likely_mapped_shared() is only a guess.
 */
static bool cdm_is_private(struct folio *folio, struct mm_struct *mm)
{
	struct cdm_sharers sharers = { .mm = mm };
	struct rmap_walk_control rwc = {
		.arg = &sharers,
		.rmap_one = cdm_is_mapped_in,
		.anon_lock = folio_lock_anon_vma_read,
		.invalid_vma = cdm_is_own_vma,
	};

	if (!folio_test_anon(folio) || folio_test_ksm(folio))
		return false;
	rmap_walk(folio, &rwc);
	return !sharers.found;
}

/* A folio that nobody owns is the root's. */
static bool cdm_owns(struct mm_struct *mm, struct folio *folio)
{
	struct cdm_owner *mover, *owner;
	bool owns;

	rcu_read_lock();
	mover = cdm_mm_owner(mm);
	owner = cdm_folio_owner(folio);
	owns = cdm_owner_is_below(owner ? owner : cdm_root_owner, mover);
	rcu_read_unlock();
	return owns;
}

static bool cdm_may_move(struct cdm_scope *scope)
{
	if (scope->may_move != CDM_MOVE_ASK)
		return scope->may_move != CDM_MOVE_NO;
	if (cdm_mover_is_admin(scope))
		scope->may_move = CDM_MOVE_ANYWHERE;
	else if (cdm_owns(scope->mover, scope->src) ||
		 cdm_is_private(scope->src, scope->mover))
		scope->may_move = CDM_MOVE_YES;
	else
		scope->may_move = CDM_MOVE_NO;
	return scope->may_move != CDM_MOVE_NO;
}

/* Does the limit of @mm's group, or one above it, deny it the node? */
static bool cdm_is_denied_node(struct mm_struct *mm, int nid)
{
	unsigned int idx = cdm_node_idx(nid);
	struct cdm_owner *owner;
	bool denied;

	rcu_read_lock();
	owner = cdm_mm_owner(mm);
	denied = !owner ||
		 !cdm_effective_max(cdm_live_owner(owner, idx), idx);
	rcu_read_unlock();
	return denied;
}

/**
 * __cdm_may_place - may the copy of a folio be on a CDM node?
 * @scope: of the migration, with a mover
 * @nid: the node
 *
 * Context: that of get_new_folio(), where it sleeps; any for a page of a pool.
 * Return: true if so.
 */
bool __cdm_may_place(struct cdm_scope *scope, int nid)
{
	/* What reclaim allocates meanwhile is not the copy. */
	if (current->flags & PF_MEMALLOC)
		return false;
	if (cdm_may_move(scope) &&
	    (scope->may_move == CDM_MOVE_ANYWHERE ||
	     !cdm_is_denied_node(scope->mover, nid)))
		return true;
	scope->denied = cdm_node_idx(nid) + 1;
	return false;
}

/* May the folio leave where it is? Its copy, if any, is on another node. */
static bool cdm_may_leave(struct cdm_scope *scope)
{
	if (!scope->mover)
		return true;
	/* A pool page is taken where it is impossible to sleep: ask now. */
	if (folio_test_hugetlb(scope->src))
		cdm_may_move(scope);
	if (!folio_is_cdm(scope->src) || cdm_may_move(scope))
		return true;
	scope->denied = cdm_node_idx(folio_nid(scope->src)) + 1;
	scope->no_room = true;
	return false;
}

/* Who wanted the folio to move is told, and not its owner. */
static void cdm_count_denied(const struct cdm_scope *scope)
{
	struct cdm_owner *mover;

	rcu_read_lock();
	mover = cdm_mm_owner(scope->mover);
	if (mover)
		cdm_event(mover, scope->denied - 1, CDM_EV_FAIL);
	rcu_read_unlock();
}

/* Whatever has to be asked or done before there is a copy: may @src leave? */
static noinline bool cdm_prepare_copy(struct cdm_scope *scope)
{
	if (!cdm_may_leave(scope))
		return false;
	/* A pool page is charged where it is impossible to wait. */
	if (folio_test_hugetlb(scope->src))
		cdm_make_copy_fit(scope->src);
	return true;
}

/* There is no copy, or memory.max has no room for @dst. */
static noinline struct folio *cdm_no_copy(const struct cdm_scope *scope,
					  struct folio *dst,
					  enum migrate_mode mode)
{
	struct cdm_scope *outer = current->cdm_scope;
	const bool memcg_full = dst;

	/* What fails in this mode is tried again in another. */
	if (!dst && scope->denied && scope->no_room && mode != MIGRATE_ASYNC)
		cdm_count_denied(scope);
	if (dst)
		folio_put(dst);
	/*
	 * Reclaim needs to know that there is no room for what it demotes. A
	 * large folio does not count: it is split when it gets no copy.
	 */
	if (outer && !folio_test_large(scope->src)) {
		outer->memcg_full |= memcg_full;
		outer->ram_full |= !memcg_full;
	}
	current->cdm_refused = scope->no_room || memcg_full;
	return NULL;
}

/*
 * migrate_folio_unmap(): see cdm_get_new_folio(). Its caller asks
 * __cdm_migrate_error() next, in this task, why there is no copy.
 */
struct folio *__cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
				  unsigned long private, enum migrate_mode mode,
				  int reason)
{
	struct cdm_scope scope __uninitialized;
	struct folio *dst = NULL;

	cdm_scope_begin(&scope, src, NULL);
	scope.mover = cdm_mover(reason);
	if (likely(!folio_is_cdm(src) && !folio_test_hugetlb(src)) ||
	    cdm_prepare_copy(&scope))
		dst = get_new_folio(src, private);
	cdm_scope_end(&scope);
	if (unlikely(!dst || cdm_memcg_charge_copy(dst, src, reason)))
		return cdm_no_copy(&scope, dst, mode);
	current->cdm_refused = false;
	return dst;
}

/*
 * -EDQUOT is none of the errors that migration gives a meaning to: this folio
 * alone is skipped. It goes to those that are given up.
 */
int __cdm_migrate_error(struct folio *src, struct list_head *ret)
{
	if (!current->cdm_refused)
		return -ENOMEM;
	current->cdm_refused = false;
	list_move_tail(&src->lru, ret);
	return -EDQUOT;
}

/**
 * cdm_handle_remote_fault - handle_mm_fault() for another address space
 * @vma: area of that address space, whose group pays
 * @address: faulting address
 * @flags: FAULT_FLAG_*
 *
 * There are no registers that such a fault could be accounted to.
 *
 * Context: as handle_mm_fault().
 * Return: as handle_mm_fault().
 */
vm_fault_t cdm_handle_remote_fault(struct vm_area_struct *vma,
				   unsigned long address, unsigned int flags)
{
	struct cdm_scope scope;
	vm_fault_t ret;

	cdm_scope_begin(&scope, NULL, vma->vm_mm);
	ret = handle_mm_fault(vma, address, flags, NULL);
	cdm_scope_end(&scope);
	return ret;
}
