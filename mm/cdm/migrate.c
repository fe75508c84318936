// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays when current works for somebody else
 *
 * Migration, khugepaged, remote faults and swap readahead allocate on behalf of
 * others. A struct cdm_scope at those few funnels says for whom.
 */
#include <linux/cdm.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>

#include "internal.h"

/* The cdm group of the cgroup whose memory a RAM folio is charged to. */
static struct cdm_owner *cdm_owner_of_ram(struct folio *folio)
{
	struct mem_cgroup *memcg = folio_memcg_check(folio);

	if (!memcg)
		return NULL;
	return cdm_owner_of_css(cgroup_e_css(memcg->css.cgroup, &cdm_cgrp_subsys));
}

static struct cdm_owner *cdm_owner_of_folio(struct folio *folio)
{
	struct cdm_owner *owner = NULL;
	u16 id;

	if (!cdm_folio(folio))
		return cdm_owner_of_ram(folio);
	id = cdm_get_owner(&folio->page);
	if (id)
		owner = cdm_owner_by_id(id);
	return owner;
}

/**
 * cdm_payer - who pays for what current allocates now
 * @scope: from cdm_current_scope()
 *
 * Context: RCU read side.
 * Return: the owner.
 */
struct cdm_owner *cdm_payer(struct cdm_scope *scope)
{
	struct cdm_owner *owner = NULL;

	if (!scope)
		return cdm_owner_of_current();
	if (scope->src)
		owner = cdm_owner_of_folio(scope->src);
	else if (scope->mm)
		owner = cdm_owner_of_mm(scope->mm);
	return owner ? owner : cdm_owner_of_current();
}

struct folio *__cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
				  unsigned long private, int reason)
{
	struct cdm_scope scope;
	struct folio *dst;
	bool full;

	/* A pool page is charged where other CPUs cannot be waited for. */
	if (folio_test_hugetlb(src))
		cdm_drain_all();
	cdm_scope_begin(&scope, src, NULL);
	dst = get_new_folio(src, private);
	cdm_scope_end(&scope);
	if (likely(dst && !cdm_memcg_charge_copy(dst, src, reason))) {
		current->cdm_refused = false;
		return dst;
	}
	/* There was a page, but memory.max has no room for it. */
	full = dst;
	if (full) {
		folio_put(dst);
		scope.refused = true;
	}
	/*
	 * Reclaim wants to know that there is no room for what it demotes. A large
	 * folio is split when it gets no copy.
	 */
	if (current->cdm_scope && !folio_test_large(src)) {
		current->cdm_scope->full |= full;
		current->cdm_scope->refused |= !full;
	}
	/* For __cdm_migrate_error(), which runs next in this task. */
	current->cdm_refused = scope.refused;
	return NULL;
}

/*
 * handle_mm_fault() for another address space, which pays: see cdm_enter_fault().
 * There are no registers that such a fault could be accounted to.
 */
vm_fault_t cdm_remote_fault(struct vm_area_struct *vma, unsigned long address,
			    unsigned int flags)
{
	struct cdm_scope scope;
	vm_fault_t ret;

	cdm_scope_begin(&scope, NULL, vma->vm_mm);
	ret = handle_mm_fault(vma, address, flags, NULL);
	cdm_scope_end(&scope);
	return ret;
}

/*
 * -EDQUOT is none of the errors that migration gives a meaning to: the folio
 * alone is skipped. It goes where those go that are given up.
 */
int __cdm_migrate_error(struct folio *src, struct list_head *ret)
{
	if (!current->cdm_refused)
		return -ENOMEM;
	current->cdm_refused = false;
	list_move_tail(&src->lru, ret);
	return -EDQUOT;
}
