// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for device memory
 *
 * Normally the group of the address space that current runs in. Migration,
 * khugepaged, remote faults and readahead of swap allocate on behalf of others:
 * a struct cdm_scope at those few places names the payer.
 */
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/sched/mm.h>

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
 * migrate_folio_unmap(): see cdm_get_new_folio(). Its caller asks
 * __cdm_migrate_error() next, in this task, why there is no copy.
 */
struct folio *__cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
				  unsigned long private, int reason)
{
	struct cdm_scope scope, *outer;
	struct folio *dst;
	bool memcg_full;

	/* A pool page is charged where it is impossible to wait for a drain. */
	if (folio_test_hugetlb(src))
		cdm_make_copy_fit(src);
	cdm_scope_begin(&scope, src, NULL);
	dst = get_new_folio(src, private);
	cdm_scope_end(&scope);
	if (likely(dst && !cdm_memcg_charge_copy(dst, src, reason))) {
		current->cdm_refused = false;
		return dst;
	}
	/* There was a page, but memory.max has no room for it. */
	memcg_full = dst;
	if (dst)
		folio_put(dst);
	/*
	 * Reclaim needs to know that there is no room for what it demotes. A
	 * large folio does not count: it is split when it gets no copy.
	 */
	outer = current->cdm_scope;
	if (outer && !folio_test_large(src)) {
		outer->memcg_full |= memcg_full;
		outer->ram_full |= !memcg_full;
	}
	current->cdm_refused = scope.no_room || memcg_full;
	return NULL;
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
