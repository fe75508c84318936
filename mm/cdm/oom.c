// SPDX-License-Identifier: GPL-2.0
/*
 * The OOM killer is after RAM: device memory of a process does not count
 *
 * oom_badness() has the number of pages that a process maps, and nobody keeps
 * that by node. How many of them are on devices takes a walk of its page
 * tables, and the killer compares processes where it is impossible to sleep.
 * So it first compares by all pages, of which there are never less than of
 * those in RAM. Then the device memory of the one that it would kill is
 * counted, and it compares again, until the one that it would kill has been
 * counted. None of the others has more in RAM, whatever it has elsewhere.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/pagewalk.h>
#include <linux/sched/mm.h>

#include "../internal.h"
#include "internal.h"

/*
 * That many processes are counted for a kill. If there are more which have
 * most of their memory on devices, the last of them is taken as it comes.
 */
#define CDM_OOM_TRIES	16

/*
 * And in each of them that many page tables: 32 GiB of base pages. What is
 * beyond counts as RAM.
 */
#define CDM_OOM_TABLES	16384

/* Those that were counted so far. Protected by oom_lock. */
static struct {
	struct mm_struct *mm;
	unsigned long pages;
} cdm_oom_counted[CDM_OOM_TRIES];
static unsigned int cdm_oom_nr;

struct cdm_oom_walk {
	unsigned long pages;
	unsigned int tables;
};

static int cdm_oom_tables(pmd_t *pmd, unsigned long addr, unsigned long end,
			  struct mm_walk *walk)
{
	struct cdm_oom_walk *count = walk->private;
	spinlock_t *ptl = pmd_trans_huge_lock(pmd, walk->vma);
	struct page *page;
	pte_t *start, *pte;

	/* sparse does not know which calls return with a lock: say so. */
	if (ptl) {
		__acquire(ptl);
		page = pmd_present(*pmd) ?
			       vm_normal_page_pmd(walk->vma, addr, *pmd) :
			       NULL;
		if (page && page_is_cdm(page))
			count->pages += HPAGE_PMD_NR;
		spin_unlock(ptl);
		goto out;
	}
	start = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	if (!start)
		return 0;
	__acquire(ptl);
	for (pte = start; addr != end; pte++, addr += PAGE_SIZE) {
		pte_t entry = ptep_get(pte);

		page = pte_present(entry) ?
			       vm_normal_page(walk->vma, addr, entry) :
			       NULL;
		if (page && page_is_cdm(page))
			count->pages++;
	}
	pte_unmap_unlock(start, ptl);
out:
	cond_resched();
	return ++count->tables == CDM_OOM_TABLES;
}

static const struct mm_walk_ops cdm_oom_ops = {
	.pmd_entry = cdm_oom_tables,
	.walk_lock = PGWALK_RDLOCK,
};

static long cdm_oom_find(const struct mm_struct *mm)
{
	unsigned int i;

	for (i = 0; i < cdm_oom_nr; i++)
		if (cdm_oom_counted[i].mm == mm)
			return cdm_oom_counted[i].pages;
	return 0;
}

/*
 * Count the device memory of @task. False if there is nothing new, so that
 * @task is what has to be killed.
 */
static bool cdm_oom_count(struct task_struct *task)
{
	struct cdm_oom_walk count = { };
	struct mm_struct *mm = NULL;
	struct task_struct *p;

	if (cdm_oom_nr == CDM_OOM_TRIES)
		return false;
	p = find_lock_task_mm(task);
	if (!p)
		return false;
	__acquire(&p->alloc_lock);
	if (!cdm_oom_find(p->mm) && mmget_not_zero(p->mm))
		mm = p->mm;
	task_unlock(p);
	if (!mm)
		return false;
	/* Its holder may wait for this kill. What is not seen counts as RAM. */
	if (mmap_read_trylock(mm)) {
		walk_page_range(mm, 0, ULONG_MAX, &cdm_oom_ops, &count);
		mmap_read_unlock(mm);
	}
	if (count.pages) {
		mmgrab(mm);
		cdm_oom_counted[cdm_oom_nr].mm = mm;
		cdm_oom_counted[cdm_oom_nr++].pages = count.pages;
	}
	mmput_async(mm);
	return count.pages;
}

/* oom_evaluate_task(): see cdm_oom_points(). RCU read side, or as there. */
long __cdm_oom_points(struct task_struct *task, long points)
{
	struct task_struct *p;

	if (!cdm_oom_nr || points == LONG_MIN)
		return points;
	p = find_lock_task_mm(task);
	if (p) {
		__acquire(&p->alloc_lock);
		points -= cdm_oom_find(p->mm);
		task_unlock(p);
	}
	return points;
}

/* out_of_memory(): see cdm_oom_select(). oom_lock held; sleeps. */
void __cdm_oom_select(struct oom_control *oc,
		      void (*select)(struct oom_control *oc))
{
	lockdep_assert_held(&oom_lock);
	/* There device memory is what the limit is about. */
	if (oc->memcg && !cdm_nodes_are_exempt())
		return;
	while (oc->chosen && oc->chosen != (void *)-1UL &&
	       cdm_oom_count(oc->chosen)) {
		put_task_struct(oc->chosen);
		oc->chosen = NULL;
		select(oc);
	}
	while (cdm_oom_nr)
		mmdrop(cdm_oom_counted[--cdm_oom_nr].mm);
}
