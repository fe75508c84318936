/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Coherent device memory (CDM): NUMA nodes whose memory belongs to a device.
 *
 * This is the one header that the hooks in mm/ and kernel/ include. Each hook
 * is an inline that costs a patched-out branch until the first CDM node is
 * known, and nothing at all without CONFIG_CGROUP_CDM.
 *
 * See Documentation/mm/cdm.rst.
 */
#ifndef _LINUX_CDM_H
#define _LINUX_CDM_H

#include <linux/cgroup.h>
#include <linux/cleanup.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/jump_label.h>
#include <linux/migrate.h>
#include <linux/mm_types.h>
#include <linux/nodemask.h>
#include <linux/sched.h>

struct hstate;
struct mem_cgroup;
struct mempolicy;
struct numa_meminfo;
struct seq_file;
struct sysinfo;
struct zone;

/**
 * struct cdm_scope - names who pays when current is not the payer
 * @src:	folio being migrated: its owner pays; NULL if @mm names the payer
 * @mm:		address space that the work is done for, or NULL
 * @ram:	nobody asked for device memory: use RAM, whatever policy says
 * @collapse:	a huge page that base pages may do without: never worth RAM
 * @refused:	set by the allocator: the payer had no room on the node; by migration,
 *		in the scope around it: RAM had no room for a copy
 * @full:	set by migration in the scope around it: memory.max had none
 * @outer:	scope that this one hides until it ends
 *
 * Lives on the stack between cdm_scope_begin() and cdm_scope_end() and is only
 * looked at by its own task, so it needs no lock. Interrupts ignore it.
 */
struct cdm_scope {
	struct folio *src;
	struct mm_struct *mm;
	bool ram;
	bool collapse;
	bool refused;
	bool full;
	struct cdm_scope *outer;
};

/* In mm/page_alloc.c, for mm/cdm/ alone: __alloc_pages() behind the door. */
struct page *__alloc_pages_raw(gfp_t gfp, unsigned int order, int nid, nodemask_t *nodemask);
/* The same for movable pages of a zone that has plenty. NULL says nothing. */
struct page *__alloc_pages_zone(gfp_t gfp, unsigned int order, struct zone *zone);
/* In mm/memcontrol.c, for mm/cdm/ alone: give a charge back to this CPU's stock. */
void refill_stock(struct mem_cgroup *memcg, unsigned int nr_pages);

#ifdef CONFIG_CGROUP_CDM

DECLARE_STATIC_KEY_FALSE(cdm_key);

/* Nodes marked as CDM, with or without memory. Bits are only ever set after boot. */
extern nodemask_t cdm_nodes;

/* True once a CDM node is known. */
static inline bool cdm_enabled(void)
{
	return static_branch_unlikely(&cdm_key);
}

/* May be called with NUMA_NO_NODE. */
static inline bool cdm_node(int nid)
{
	return cdm_enabled() && nid >= 0 && node_isset(nid, cdm_nodes);
}

/*
 * No CDM node has a lower number, and no page of theirs a lower struct page. One
 * comparison with these tells most of RAM apart. They only ever become less, before
 * there is memory that needs it.
 */
extern int cdm_first_node;
extern unsigned long cdm_first_page;

static inline bool cdm_page(const struct page *page)
{
	return cdm_enabled() && unlikely((unsigned long)page >= cdm_first_page) &&
	       node_isset(page_to_nid(page), cdm_nodes);
}

static inline bool cdm_folio(const struct folio *folio)
{
	return cdm_page(&folio->page);
}

struct page *cdm_alloc_pages(gfp_t gfp, unsigned int order, int nid, nodemask_t *nodemask);
vm_fault_t cdm_remote_fault(struct vm_area_struct *vma, unsigned long address,
			    unsigned int flags);
void __cdm_free_pages(struct page *page, unsigned int order);
void __cdm_migrate_owner(struct folio *dst, struct folio *src);
struct folio *__cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
				  unsigned long private, int reason);
int __cdm_migrate_error(struct folio *src, struct list_head *ret);
struct mempolicy *__cdm_readahead_policy(struct mempolicy *mpol);
int __cdm_spread_node(int rotor);
int __cdm_alloc_contig(unsigned long start_pfn, unsigned long end_pfn, gfp_t gfp);
int cdm_commit(struct folio *folio, struct mem_cgroup *memcg);
void __cdm_hugetlb_uncount(struct folio *folio, struct mem_cgroup *memcg);
void __cdm_memcg_migrate(struct folio *old, struct folio *new, struct mem_cgroup *memcg);
void __cdm_hugetlb_prepare(struct vm_area_struct *vma, unsigned long addr, unsigned int order);
void __cdm_hugetlb_to_pool(struct folio *folio);
unsigned long __cdm_shrink_node(struct pglist_data *pgdat, int priority);

/*
 * The door in: does this request name a CDM node? Zonelists keep every other
 * request away, so nothing else has to be asked in the allocator.
 */
static inline bool cdm_wants(int nid, const nodemask_t *nodemask)
{
	if (!cdm_enabled())
		return false;
	if (unlikely(nodemask))
		return nodes_intersects(*nodemask, cdm_nodes);
	return unlikely(nid >= cdm_first_node) && node_isset(nid, cdm_nodes);
}

/* The door out: ends the charge of 1 << @order pages. Any context. */
static inline void cdm_free_pages(struct page *page, unsigned int order)
{
	if (cdm_page(page))
		__cdm_free_pages(page, order);
}

static inline void cdm_scope_begin(struct cdm_scope *scope, struct folio *src,
				   struct mm_struct *mm)
{
	*scope = (struct cdm_scope){ .src = src, .mm = mm, .outer = current->cdm_scope };
	current->cdm_scope = scope;
}

static inline void cdm_scope_end(struct cdm_scope *scope)
{
	current->cdm_scope = scope->outer;
}

static inline struct cdm_scope *cdm_scope_enter(struct cdm_scope *scope, struct mm_struct *mm,
						bool ram)
{
	if (!cdm_enabled() || (!ram && mm == current->mm))
		return NULL;
	cdm_scope_begin(scope, NULL, mm);
	scope->ram = ram;
	return scope;
}

static inline void cdm_scope_leave(struct cdm_scope *scope)
{
	if (scope)
		cdm_scope_end(scope);
}

/*
 * handle_mm_fault(): a fault on behalf of another address space is paid for by
 * that space. True if it is one, and has to go through cdm_remote_fault().
 */
static inline bool cdm_enter_fault(struct mm_struct *mm)
{
	if (!cdm_enabled())
		return false;
	current->cdm_refused = false;
	return unlikely(mm != current->mm) &&
	       !(current->cdm_scope && current->cdm_scope->mm == mm);
}

/*
 * A page that policy refused is a SIGBUS: VM_FAULT_OOM would only repeat the fault
 * for ever. Callers without a user to signal (GUP, faults of the kernel) keep
 * VM_FAULT_OOM and turn it into -ENOMEM or -EFAULT.
 */
static inline vm_fault_t cdm_exit_fault(vm_fault_t ret, unsigned int flags)
{
	if (!cdm_enabled() || likely(!(ret & VM_FAULT_OOM)))
		return ret;
	if (current->cdm_refused && (flags & FAULT_FLAG_USER))
		ret = (ret & ~VM_FAULT_OOM) | VM_FAULT_SIGBUS;
	return ret;
}

/* khugepaged and MADV_COLLAPSE: @mm's group pays for the huge page. */
static inline struct folio *cdm_folio_alloc(gfp_t gfp, unsigned int order, int nid,
					    nodemask_t *nodemask, struct mm_struct *mm)
{
	struct cdm_scope scope;
	struct folio *folio;

	if (!cdm_enabled())
		return __folio_alloc(gfp, order, nid, nodemask);
	cdm_scope_begin(&scope, NULL, mm);
	scope.collapse = true;
	folio = __folio_alloc(gfp, order, nid, nodemask);
	cdm_scope_end(&scope);
	return folio;
}

/*
 * migrate_folio_unmap() and its hugetlb twin: the owner of @src pays for the
 * copy. One in RAM counts in memory.current, where @src did not.
 */
static inline struct folio *cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
					      unsigned long private, int reason)
{
	if (!cdm_enabled())
		return get_new_folio(src, private);
	return __cdm_get_new_folio(get_new_folio, src, private, reason);
}

/*
 * The error for a folio that got no copy: -ENOMEM ends the whole batch, so one
 * owner's full quota is reported for its folio alone.
 */
static inline int cdm_migrate_error(struct folio *src, struct list_head *ret)
{
	return cdm_enabled() ? __cdm_migrate_error(src, ret) : -ENOMEM;
}

/* folio_migrate_flags(): @dst took the place of @src. */
static inline void cdm_migrate_owner(struct folio *dst, struct folio *src)
{
	if (cdm_folio(dst) || cdm_folio(src))
		__cdm_migrate_owner(dst, src);
}

/* Swap readahead brings neighbours of other owners: only the page @wanted is by policy. */
static inline struct mempolicy *cdm_readahead_policy(struct mempolicy *mpol, bool wanted)
{
	return cdm_enabled() && !wanted ? __cdm_readahead_policy(mpol) : mpol;
}

/* cpuset_spread_node(): the next node to start at does not ask for a device. */
static inline int cdm_spread_node(int rotor)
{
	if (cdm_enabled())
		return __cdm_spread_node(rotor);
	return next_node_in(rotor, current->mems_allowed);
}

/*
 * alloc_contig_range(): pages that were taken past the door. Frees them if the
 * payer has no room.
 */
static inline int cdm_alloc_contig(unsigned long start_pfn, unsigned long end_pfn, gfp_t gfp)
{
	if (!cdm_node(pfn_to_nid(start_pfn)))
		return 0;
	return __cdm_alloc_contig(start_pfn, end_pfn, gfp);
}

/* Boot option cgroup.memory=cdm. */
extern bool cdm_counted;

/*
 * Do CDM pages not count in memory.current? cgroup v1 has no cdm: what is charged
 * there counts as ever. Wrong for pages of removed groups alone, if memory is
 * mounted on the other version meanwhile.
 */
static inline bool cdm_not_ram(void)
{
	return !cdm_counted && cgroup_subsys_on_dfl(memory_cgrp_subsys);
}

/* Is @folio left out of memory.current? The same at its charge and its uncharge. */
static inline bool cdm_uncounted(const struct folio *folio)
{
	return cdm_folio(folio) && cdm_not_ram();
}

/* mem_cgroup_migrate(): one of the folios may count as RAM and the other not. */
static inline void cdm_memcg_migrate(struct folio *old, struct folio *new,
				     struct mem_cgroup *memcg)
{
	if (cdm_folio(old) != cdm_folio(new))
		__cdm_memcg_migrate(old, new, memcg);
}

/* alloc_hugetlb_folio() charges before it has a page: does this one not count? */
static inline void cdm_hugetlb_uncount(struct folio *folio, struct mem_cgroup *memcg, int charged)
{
	if (!charged && cdm_uncounted(folio))
		__cdm_hugetlb_uncount(folio, memcg);
}

/*
 * alloc_hugetlb_folio(): make room for a pool page on a CDM node while that may
 * be waited for; dequeue_hugetlb_folio_nodemask() may not.
 */
static inline void cdm_hugetlb_prepare(struct vm_area_struct *vma, unsigned long addr,
				       unsigned int order)
{
	if (cdm_enabled())
		__cdm_hugetlb_prepare(vma, addr, order);
}

/* enqueue_hugetlb_folio(): pages of a pool are the system's. hugetlb_lock held. */
static inline void cdm_hugetlb_to_pool(struct folio *folio)
{
	if (cdm_folio(folio))
		__cdm_hugetlb_to_pool(folio);
}

/*
 * shrink_node(): on a CDM node cdm.low says who keeps what, and pages leave for
 * RAM. Reclaim that is told not to demote swaps for a memory limit: leave that.
 */
static inline bool cdm_shrink_node(struct pglist_data *pgdat, int priority, bool no_demotion,
				   unsigned long *nr_reclaimed)
{
	if (no_demotion || !cdm_node(pgdat->node_id))
		return false;
	*nr_reclaimed += __cdm_shrink_node(pgdat, priority);
	return true;
}

/* Pages to count as RAM of @count that appeared at or left @page. */
static inline long cdm_ram_pages(const struct page *page, long count)
{
	return cdm_page(page) ? 0 : count;
}

struct folio *cdm_dequeue_hugetlb(struct hstate *h, gfp_t gfp, int nid, nodemask_t *nodemask,
				  struct folio *(*dequeue)(struct hstate *h, int nid));
nodemask_t *cdm_memcg_nodes(void);
nodemask_t *cdm_ram_nodes(void);
bool cdm_collapse_abort(int nid, const u32 *node_load);
void cdm_fallback_exclude(int nid, nodemask_t *used);
void cdm_mpol_nodes(unsigned short mode, unsigned short flags, nodemask_t *nodes,
		    const nodemask_t *allowed);
void cdm_rebind_nodes(nodemask_t *nodes, const nodemask_t *old, const nodemask_t *allowed);
void cdm_cpuset_migrate(nodemask_t *from, nodemask_t *to);
long cdm_available(long available);
void cdm_si_meminfo(struct sysinfo *val);
void cdm_report_meminfo(struct seq_file *m);
void cdm_numa_init(struct numa_meminfo *mi);

int cdm_node_register(int nid);

/**
 * mem_cgroup_demote_node - demote pages of one group from one node to RAM
 * @memcg: the group; those below it are not included
 * @pgdat: the node
 * @nr_pages: pages wanted
 * @priority: looks at this power of two's part of the group's pages
 * @force: takes recently used pages as well
 * @gfp: flags of who waits
 * @scanned: where to put how many pages were looked at
 *
 * Pages that cannot go to RAM stay. memory.min and memory.low do not apply: they
 * protect RAM.
 *
 * In mm/vmscan.c, for mm/cdm/ alone.
 *
 * Context: process context, in reclaim (current->reclaim_state is set); sleeps.
 * Return: pages demoted; more than wanted by less than a batch of the lists (64
 * pages) or a huge page.
 */
unsigned long mem_cgroup_demote_node(struct mem_cgroup *memcg, struct pglist_data *pgdat,
				     unsigned long nr_pages, int priority, bool force, gfp_t gfp,
				     unsigned long *scanned);

#else /* !CONFIG_CGROUP_CDM */

static inline bool cdm_enabled(void)
{
	return false;
}

static inline bool cdm_node(int nid)
{
	return false;
}

static inline bool cdm_folio(const struct folio *folio)
{
	return false;
}

static inline bool cdm_wants(int nid, const nodemask_t *nodemask)
{
	return false;
}

static inline struct page *cdm_alloc_pages(gfp_t gfp, unsigned int order, int nid,
					   nodemask_t *nodemask)
{
	return NULL;
}

static inline void cdm_free_pages(struct page *page, unsigned int order)
{
}

static inline bool cdm_enter_fault(struct mm_struct *mm)
{
	return false;
}

static inline vm_fault_t cdm_remote_fault(struct vm_area_struct *vma, unsigned long address,
					  unsigned int flags)
{
	return VM_FAULT_OOM;
}

static inline vm_fault_t cdm_exit_fault(vm_fault_t ret, unsigned int flags)
{
	return ret;
}

static inline struct folio *cdm_folio_alloc(gfp_t gfp, unsigned int order, int nid,
					    nodemask_t *nodemask, struct mm_struct *mm)
{
	return __folio_alloc(gfp, order, nid, nodemask);
}

static inline struct cdm_scope *cdm_scope_enter(struct cdm_scope *scope, struct mm_struct *mm,
						bool ram)
{
	return NULL;
}

static inline void cdm_scope_leave(struct cdm_scope *scope)
{
}

static inline struct folio *cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
					      unsigned long private, int reason)
{
	return get_new_folio(src, private);
}

static inline int cdm_alloc_contig(unsigned long start_pfn, unsigned long end_pfn, gfp_t gfp)
{
	return 0;
}

static inline bool cdm_uncounted(const struct folio *folio)
{
	return false;
}

static inline int cdm_commit(struct folio *folio, struct mem_cgroup *memcg)
{
	return 0;
}

static inline void cdm_memcg_migrate(struct folio *old, struct folio *new,
				     struct mem_cgroup *memcg)
{
}

static inline void cdm_hugetlb_uncount(struct folio *folio, struct mem_cgroup *memcg, int charged)
{
}

static inline void cdm_hugetlb_prepare(struct vm_area_struct *vma, unsigned long addr,
				       unsigned int order)
{
}

static inline bool cdm_shrink_node(struct pglist_data *pgdat, int priority, bool no_demotion,
				   unsigned long *nr_reclaimed)
{
	return false;
}

static inline void cdm_hugetlb_to_pool(struct folio *folio)
{
}

static inline struct folio *cdm_dequeue_hugetlb(struct hstate *h, gfp_t gfp, int nid,
						nodemask_t *nodemask,
						struct folio *(*dequeue)(struct hstate *h, int nid))
{
	return NULL;
}

static inline nodemask_t *cdm_memcg_nodes(void)
{
	return NULL;
}

static inline int cdm_migrate_error(struct folio *src, struct list_head *ret)
{
	return -ENOMEM;
}

static inline void cdm_migrate_owner(struct folio *dst, struct folio *src)
{
}

static inline struct mempolicy *cdm_readahead_policy(struct mempolicy *mpol, bool wanted)
{
	return mpol;
}

static inline long cdm_ram_pages(const struct page *page, long count)
{
	return count;
}

static inline nodemask_t *cdm_ram_nodes(void)
{
	return &node_states[N_MEMORY];
}

static inline bool cdm_collapse_abort(int nid, const u32 *node_load)
{
	return false;
}

static inline void cdm_fallback_exclude(int nid, nodemask_t *used)
{
}

static inline void cdm_mpol_nodes(unsigned short mode, unsigned short flags, nodemask_t *nodes,
				  const nodemask_t *allowed)
{
}

static inline void cdm_rebind_nodes(nodemask_t *nodes, const nodemask_t *old,
				    const nodemask_t *allowed)
{
}

static inline void cdm_cpuset_migrate(nodemask_t *from, nodemask_t *to)
{
}

static inline int cdm_spread_node(int rotor)
{
	return next_node_in(rotor, current->mems_allowed);
}

static inline long cdm_available(long available)
{
	return available;
}

static inline void cdm_si_meminfo(struct sysinfo *val)
{
}

static inline void cdm_report_meminfo(struct seq_file *m)
{
}

static inline void cdm_numa_init(struct numa_meminfo *mi)
{
}

static inline int cdm_node_register(int nid)
{
	return -EOPNOTSUPP;
}

#endif /* CONFIG_CGROUP_CDM */

/*
 * One line where current works for others, until the end of the block:
 *
 *	CLASS(cdm_payer, payer)(&(struct cdm_scope){ }, mm);	@mm's group pays
 *	CLASS(cdm_use_ram, ram)(&(struct cdm_scope){ });	take RAM
 *
 * &init_mm, which belongs to nobody, names the root group.
 */
DEFINE_CLASS(cdm_payer, struct cdm_scope *, cdm_scope_leave(_T),
	     cdm_scope_enter(scope, mm, false), struct cdm_scope *scope, struct mm_struct *mm)
DEFINE_CLASS(cdm_use_ram, struct cdm_scope *, cdm_scope_leave(_T),
	     cdm_scope_enter(scope, NULL, true), struct cdm_scope *scope)

#endif /* _LINUX_CDM_H */
