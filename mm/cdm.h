/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hooks of coherent device memory (CDM) in mm/
 *
 * Each is an inline that costs a patched-out branch until the first CDM node is
 * known, and nothing at all without CONFIG_CGROUP_CDM: cdm_enabled() is then
 * constant, and the compiler drops the call behind it. Only what needs data of
 * its own has a second version, beside the first.
 *
 * Documentation/mm/cdm/hooks.rst says why each is there and which test fails
 * without it.
 */
#ifndef _MM_CDM_H
#define _MM_CDM_H

#include <linux/cdm.h>
#include <linux/cgroup.h>
#include <linux/cleanup.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/migrate.h>
#include <linux/migrate_mode.h>
#include <linux/mm.h>
#include <linux/mm_types.h>
#include <linux/sched.h>

struct hstate;
struct mem_cgroup;
struct mempolicy;
struct numa_meminfo;
struct sysinfo;
struct zone;

/*
 * Which memory is CDM
 */

#ifdef CONFIG_CGROUP_CDM
/*
 * No CDM node has a lower number, and no page on one a lower struct page: one
 * comparison tells most of RAM apart. They only ever decrease, before there is
 * memory that needs it. What a driver has in ZONE_DEVICE, on a node that may
 * be marked as well, is its own: it has no owners, and counts as ever.
 */
extern int cdm_first_node;
extern unsigned long cdm_first_page;

static inline bool page_is_cdm(const struct page *page)
{
	return cdm_enabled() &&
	       unlikely((unsigned long)page >= cdm_first_page) &&
	       node_isset(page_to_nid(page), cdm_nodes) &&
	       !is_zone_device_page(page);
}

/*
 * The door in: does this request name a CDM node? Zonelists keep every other
 * request away, so the allocator has nothing else to ask.
 */
static inline bool cdm_is_named(int nid, const nodemask_t *nodemask)
{
	if (!cdm_enabled())
		return false;
	if (unlikely(nodemask))
		return nodes_intersects(*nodemask, cdm_nodes);
	return unlikely(nid >= cdm_first_node) && node_isset(nid, cdm_nodes);
}
#else
static inline bool page_is_cdm(const struct page *page)
{
	return false;
}

static inline bool cdm_is_named(int nid, const nodemask_t *nodemask)
{
	return false;
}
#endif

static inline bool folio_is_cdm(const struct folio *folio)
{
	return page_is_cdm(&folio->page);
}

/*
 * Who pays when current is not the payer
 */

/* Is the answer known already? See &struct cdm_scope. */
enum cdm_may_move {
	CDM_MOVE_ASK,
	CDM_MOVE_NO,
	CDM_MOVE_YES,
	CDM_MOVE_ANYWHERE,
};

/**
 * struct cdm_scope - names who pays when current is not the payer
 * @src:	folio that is migrated: its owner pays; NULL if @mm names the
 *		payer
 * @mm:		address space that the work is done for, or NULL
 * @ram_only:	nobody asked for device memory: use RAM, whatever policy says
 * @collapse:	a huge page that is to replace base pages: never worth RAM
 * @hole:	a page without contents, for shared memory
 * @vmf:	the fault that needs it; NULL for a system call
 * @bounded:	demotion may take @allowance pages more, and no others
 * @allowance:	see @bounded
 * @pools:	what is given back was reserved in pools on CDM nodes
 * @memalloc:	PF_MEMALLOC of the task when it began: see cdm_is_for_reclaim()
 * @mover:	address space of who asked for @src to be moved; NULL if nobody
 *		has to be asked whether he may
 * @may_move:	whether he may have @src moved, once somebody wanted to know
 * @denied:	set where he may not: index of the CDM node that @src would have
 *		come to or left, plus 1
 * @no_room:	set by the allocator: the request missed, and @src, or the base
 *		pages, stay where they are
 * @ram_full:	set by migration in the scope around it: RAM has no room for a
 *		copy
 * @memcg_full:	set by migration in the scope around it: memory.max has no room
 *		for a copy
 * @outer:	scope that this one hides until it ends
 *
 * Lives on the stack between cdm_scope_begin() and cdm_scope_end(). Only its
 * own task looks at it, so it needs no lock. Interrupts ignore it.
 */
struct cdm_scope {
	struct folio *src;
	struct mm_struct *mm;
	struct vm_fault *vmf;
	struct mm_struct *mover;
	struct cdm_scope *outer;
	unsigned long allowance;
	bool ram_only;
	bool collapse;
	bool hole;
	bool bounded;
	bool pools;
	bool memalloc;
	bool no_room;
	bool ram_full;
	bool memcg_full;
	u8 may_move;	/* enum cdm_may_move */
	u8 denied;
};

#ifdef CONFIG_CGROUP_CDM
static inline void cdm_scope_begin(struct cdm_scope *scope, struct folio *src,
				   struct mm_struct *mm)
{
	scope->src = src;
	scope->mm = mm;
	scope->vmf = NULL;
	scope->mover = NULL;
	scope->outer = current->cdm_scope;
	/* The compiler merges the rest into two stores. */
	scope->allowance = 0;
	scope->ram_only = false;
	scope->collapse = false;
	scope->hole = false;
	scope->bounded = false;
	scope->pools = false;
	scope->memalloc = current->flags & PF_MEMALLOC;
	scope->no_room = false;
	scope->ram_full = false;
	scope->memcg_full = false;
	scope->may_move = CDM_MOVE_ASK;
	scope->denied = 0;
	current->cdm_scope = scope;
}

static inline void cdm_scope_end(struct cdm_scope *scope)
{
	current->cdm_scope = scope->outer;
}

/*
 * handle_mm_fault(): a fault on behalf of another address space is paid for by
 * that space, so it has to go through cdm_handle_remote_fault(). Begins any
 * fault: no page of it was refused yet.
 */
static inline bool cdm_fault_is_remote(struct mm_struct *mm)
{
	if (!cdm_enabled())
		return false;
	current->cdm_refused = false;
	return unlikely(mm != current->mm) &&
	       !(current->cdm_scope && current->cdm_scope->mm == mm);
}

/*
 * handle_mm_fault(): a page that policy refused is a SIGBUS, because
 * VM_FAULT_OOM would only repeat the fault for ever. Callers without a user to
 * signal (GUP, faults of the kernel) keep VM_FAULT_OOM and turn it into -ENOMEM
 * or -EFAULT.
 */
static inline vm_fault_t cdm_fault_result(vm_fault_t ret, unsigned int flags)
{
	if (!cdm_enabled() || likely(!(ret & VM_FAULT_OOM)))
		return ret;
	if (current->cdm_refused && (flags & FAULT_FLAG_USER))
		ret = (ret & ~VM_FAULT_OOM) | VM_FAULT_SIGBUS;
	return ret;
}
#else
static inline void cdm_scope_begin(struct cdm_scope *scope, struct folio *src,
				   struct mm_struct *mm)
{
}

static inline void cdm_scope_end(struct cdm_scope *scope)
{
}

static inline bool cdm_fault_is_remote(struct mm_struct *mm)
{
	return false;
}

static inline vm_fault_t cdm_fault_result(vm_fault_t ret, unsigned int flags)
{
	return ret;
}
#endif

static inline struct cdm_scope *cdm_scope_enter(struct cdm_scope *scope,
						struct mm_struct *mm,
						bool ram_only)
{
	if (!cdm_enabled() || (!ram_only && mm == current->mm))
		return NULL;
	cdm_scope_begin(scope, NULL, mm);
	scope->ram_only = ram_only;
	return scope;
}

/* Who pays does not change. */
static inline struct cdm_scope *cdm_scope_hole(struct cdm_scope *scope,
					       struct vm_fault *vmf)
{
	if (!cdm_enabled())
		return NULL;
	cdm_scope_begin(scope, NULL, current->mm);
	if (scope->outer) {
		scope->mm = scope->outer->mm;
		scope->ram_only = scope->outer->ram_only;
	}
	scope->hole = true;
	scope->vmf = vmf;
	return scope;
}

static inline void cdm_scope_leave(struct cdm_scope *scope)
{
	if (scope)
		cdm_scope_end(scope);
}

/*
 * One line where current works for others, until the end of the block:
 *
 *	CLASS(cdm_payer, payer)(&(struct cdm_scope){ }, mm);	@mm's group pays
 *	CLASS(cdm_ram_only, ram)(&(struct cdm_scope){ });	take RAM
 *	CLASS(cdm_hole, hole)(&(struct cdm_scope){ }, vmf);	no contents yet
 *
 * &init_mm, which has no owner, stands for the root group.
 */
DEFINE_CLASS(cdm_payer, struct cdm_scope *, cdm_scope_leave(_T),
	     cdm_scope_enter(scope, mm, false),
	     struct cdm_scope *scope, struct mm_struct *mm)
DEFINE_CLASS(cdm_ram_only, struct cdm_scope *, cdm_scope_leave(_T),
	     cdm_scope_enter(scope, NULL, true), struct cdm_scope *scope)
DEFINE_CLASS(cdm_hole, struct cdm_scope *, cdm_scope_leave(_T),
	     cdm_scope_hole(scope, vmf),
	     struct cdm_scope *scope, struct vm_fault *vmf)

vm_fault_t cdm_handle_remote_fault(struct vm_area_struct *vma,
				   unsigned long address, unsigned int flags);

/*
 * Allocation and free
 */

struct page *cdm_alloc_pages(gfp_t gfp, unsigned int order, int nid,
			     nodemask_t *nodemask);
struct page *cdm_alloc_preferred(gfp_t gfp, unsigned int order, int nid,
				 nodemask_t *nodemask);
/* mm/page_alloc.c: __alloc_pages() behind the door. */
struct page *__alloc_pages_raw(gfp_t gfp, unsigned int order, int nid,
			       nodemask_t *nodemask);
int __cdm_alloc_contig(unsigned long start_pfn, unsigned long end_pfn,
		       gfp_t gfp);
void __cdm_uncharge_pages(struct page *page, unsigned int order);

/*
 * The nodes of a memory policy that prefers a CDM node, or whose turn it is,
 * and ends in RAM. The door tells it by this mask from a driver that names the
 * node.
 */
extern nodemask_t cdm_prefers;

/*
 * alloc_pages_mpol(): the door, for a memory policy that is bound to @nodemask,
 * or without one prefers @nid.
 */
#ifdef CONFIG_CGROUP_CDM
static inline struct page *cdm_alloc_mpol(gfp_t gfp, unsigned int order,
					  int nid, nodemask_t *nodemask)
{
	if (cdm_is_named(nid, nodemask))
		return cdm_alloc_pages(gfp, order, nid,
				       nodemask ?: &cdm_prefers);
	return __alloc_pages_raw(gfp, order, nid, nodemask);
}
#else
static inline struct page *cdm_alloc_mpol(gfp_t gfp, unsigned int order,
					  int nid, nodemask_t *nodemask)
{
	return __alloc_pages_noprof(gfp, order, nid, nodemask);
}
#endif

/*
 * alloc_contig_range(): charge pages that were taken past the door. Frees them
 * if the payer has no room.
 */
static inline int cdm_alloc_contig(unsigned long start_pfn,
				   unsigned long end_pfn, gfp_t gfp)
{
	if (!node_is_cdm(pfn_to_nid(start_pfn)))
		return 0;
	return __cdm_alloc_contig(start_pfn, end_pfn, gfp);
}

/* khugepaged and MADV_COLLAPSE: @mm's group pays for the huge page. */
static inline struct folio *
cdm_collapse_alloc(gfp_t gfp, unsigned int order, int nid,
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

/* The door out: end the charge of 1 << @order pages. Any context. */
static inline void cdm_uncharge_pages(struct page *page, unsigned int order)
{
	if (page_is_cdm(page))
		__cdm_uncharge_pages(page, order);
}

/*
 * Migration
 */

struct folio *__cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
				  unsigned long private, enum migrate_mode mode,
				  int reason);
int __cdm_migrate_error(struct folio *src, struct list_head *ret);
void __cdm_migrate_owner(struct folio *dst, struct folio *src);
void __cdm_count_arrival(struct folio *dst);

/*
 * migrate_folio_unmap() and its hugetlb twin: the owner of @src pays for the
 * copy, and who asked for it has to be allowed to. A copy in RAM counts in
 * memory.current, where @src did not.
 */
static inline struct folio *
cdm_get_new_folio(new_folio_t get_new_folio, struct folio *src,
		  unsigned long private, enum migrate_mode mode, int reason)
{
	if (!cdm_enabled())
		return get_new_folio(src, private);
	return __cdm_get_new_folio(get_new_folio, src, private, mode, reason);
}

/*
 * The error for a folio that got no copy: -ENOMEM ends the whole batch, so a
 * quota that is used up is reported for this folio alone.
 */
static inline int cdm_migrate_error(struct folio *src, struct list_head *ret)
{
	return cdm_enabled() ? __cdm_migrate_error(src, ret) : -ENOMEM;
}

/* folio_migrate_flags(): @dst took the place of @src. */
static inline void cdm_migrate_owner(struct folio *dst, struct folio *src)
{
	if (folio_is_cdm(src))
		__cdm_migrate_owner(dst, src);
	else if (folio_is_cdm(dst))
		__cdm_count_arrival(dst);
}

/*
 * Isolation
 */

void __cdm_fallback_exclude(int nid, nodemask_t *used);
void __cdm_mpol_nodes(struct mempolicy *pol, nodemask_t *nodes,
		      const nodemask_t *allowed);
void __cdm_rebind_nodes(const struct mempolicy *pol, nodemask_t *nodes,
			const nodemask_t *allowed);
bool __cdm_collapse_abort(int nid, const u32 *node_load);
struct mempolicy *__cdm_readahead_policy(struct mempolicy *mpol);
void __cdm_numa_init(struct numa_meminfo *mi);

/*
 * numa_memblks_init(): mark the nodes of cdm_nodes= before memblock regions get
 * their nodes for good.
 */
static inline void __init cdm_numa_init(struct numa_meminfo *mi)
{
	if (IS_ENABLED(CONFIG_CGROUP_CDM))
		__cdm_numa_init(mi);
}

/*
 * build_zonelists(): keep CDM out of the fallback list of @nid by adding it to
 * the nodes that are @used. A CDM node's own list is itself, then RAM.
 */
static inline void cdm_fallback_exclude(int nid, nodemask_t *used)
{
	if (IS_ENABLED(CONFIG_CGROUP_CDM))
		__cdm_fallback_exclude(nid, used);
}

/*
 * A flag of struct mempolicy beside those in uapi/linux/mempolicy.h: the mask
 * had a CDM node when the policy was set. For policies with relative nodes,
 * which have all nodes by position only.
 */
#define MPOL_F_CDM	BIT(5)

/*
 * mpol_set_nodemask(), mpol_rebind_preferred(): @pol names @nodes of those that
 * it is @allowed. To name all RAM does not ask for a device.
 */
static inline void cdm_mpol_nodes(struct mempolicy *pol, nodemask_t *nodes,
				  const nodemask_t *allowed)
{
	if (cdm_enabled())
		__cdm_mpol_nodes(pol, nodes, allowed);
}

/*
 * mpol_rebind_nodemask(): the cpuset of @pol becomes @allowed; @nodes is what
 * position makes of its nodes.
 */
static inline void cdm_rebind_nodes(const struct mempolicy *pol,
				    nodemask_t *nodes,
				    const nodemask_t *allowed)
{
	if (cdm_enabled())
		__cdm_rebind_nodes(pol, nodes, allowed);
}

/* huge_node() and others that take a page from a pool: see cdm_alloc_mpol(). */
static inline void cdm_mpol_pool(int nid, nodemask_t **nodemask)
{
	if (!*nodemask && node_is_cdm(nid))
		*nodemask = &cdm_prefers;
}

/*
 * A weight for weighted interleaving is written in sysfs, 0 for the default.
 * Nodes may become CDM later. iw_table_lock held.
 */
#ifdef CONFIG_CGROUP_CDM
void cdm_weight_written(int nid, u8 weight);
#else
static inline void cdm_weight_written(int nid, u8 weight)
{
}
#endif

/*
 * hpage_collapse_scan_abort(): no huge page in place of pages here and there.
 */
static inline bool cdm_collapse_abort(int nid, const u32 *node_load)
{
	return cdm_enabled() && __cdm_collapse_abort(nid, node_load);
}

/* Readahead of swap meets pages of others: only @wanted follows its policy. */
static inline struct mempolicy *cdm_readahead_policy(struct mempolicy *mpol,
						     bool wanted)
{
	if (cdm_enabled() && !wanted)
		return __cdm_readahead_policy(mpol);
	return mpol;
}

/*
 * The books of RAM
 */

void __cdm_si_meminfo(struct sysinfo *val);
unsigned long __cdm_total_pages(void);

/* Of @count pages that appeared at or left @page: those that are RAM. */
static inline long cdm_ram_count(const struct page *page, long count)
{
	return page_is_cdm(page) ? 0 : count;
}

/*
 * si_mem_available(), calculate_totalreserve_pages(): of @pages that @zone
 * keeps free those that are RAM.
 */
static inline unsigned long cdm_ram_reserve(struct zone *zone,
					    unsigned long pages)
{
	return node_is_cdm(zone_to_nid(zone)) ? 0 : pages;
}

/* __vm_enough_memory(): what a program may map for a device. */
static inline unsigned long cdm_total_pages(void)
{
	return cdm_enabled() ? __cdm_total_pages() : 0;
}

/* si_meminfo(): what is on CDM nodes is no RAM. */
static inline void cdm_si_meminfo(struct sysinfo *val)
{
	if (cdm_enabled())
		__cdm_si_meminfo(val);
}

struct oom_control;

void __cdm_oom_select(struct oom_control *oc,
		      void (*select)(struct oom_control *oc));
long __cdm_oom_points(struct task_struct *task, long points);

/* oom_evaluate_task(): @points without the device memory that is known of. */
static inline long cdm_oom_points(struct task_struct *task, long points)
{
	return cdm_enabled() ? __cdm_oom_points(task, points) : points;
}

/*
 * out_of_memory(): @select has chosen by all the pages of each process. Have it
 * choose again until that is right for RAM.
 */
static inline void cdm_oom_select(struct oom_control *oc,
				  void (*select)(struct oom_control *oc))
{
	if (cdm_enabled())
		__cdm_oom_select(oc, select);
}

/*
 * The memory controller
 */

/* Boot option cgroup.memory=cdm: CDM pages count in memory.current. */
extern bool cdm_counts_as_ram;

int cdm_commit_exempt(struct folio *folio, struct mem_cgroup *memcg);
void __cdm_hugetlb_exempt(struct folio *folio, struct mem_cgroup *memcg);
void __cdm_memcg_migrate(struct folio *new, bool to, struct mem_cgroup *memcg);
nodemask_t *cdm_memcg_nodes(void);

/*
 * Are CDM nodes exempt from memory.current? cgroup v1 has no cdm: what is
 * charged there counts as ever. Wrong only for pages of removed groups, if
 * memory is mounted on the other version meanwhile.
 */
#ifdef CONFIG_CGROUP_CDM
static inline bool cdm_nodes_are_exempt(void)
{
	return !cdm_counts_as_ram && cgroup_subsys_on_dfl(memory_cgrp_subsys);
}
#else
static inline bool cdm_nodes_are_exempt(void)
{
	return false;
}
#endif

/* Is @folio left out of memory.current? The same at its charge and uncharge. */
static inline bool cdm_is_exempt(const struct folio *folio)
{
	return folio_is_cdm(folio) && cdm_nodes_are_exempt();
}

/*
 * mem_cgroup_migrate(): one of the folios may count as RAM and the other not.
 */
static inline void cdm_memcg_migrate(struct folio *old, struct folio *new,
				     struct mem_cgroup *memcg)
{
	bool to = folio_is_cdm(new);

	if (folio_is_cdm(old) != to)
		__cdm_memcg_migrate(new, to, memcg);
}

/*
 * alloc_hugetlb_folio() charges memory before it has a page, with result @ret:
 * take that back if the page turns out to be exempt.
 */
static inline void cdm_hugetlb_exempt(struct folio *folio,
				      struct mem_cgroup *memcg, int ret)
{
	if (!ret && cdm_is_exempt(folio))
		__cdm_hugetlb_exempt(folio, memcg);
}

/*
 * Pools of huge pages
 */

void __cdm_hugetlb_prepare(struct vm_area_struct *vma, unsigned long addr,
			   unsigned int order);
void __cdm_hugetlb_to_pool(struct folio *folio);
struct folio *cdm_dequeue_hugetlb(struct hstate *h, gfp_t gfp, int nid,
				  nodemask_t *nodemask,
				  struct folio *(*dequeue)(struct hstate *h,
							   int nid));

/*
 * alloc_hugetlb_folio(): make room for a pool page on a CDM node while the task
 * may wait for it; dequeue_hugetlb_folio_nodemask() may not.
 */
static inline void cdm_hugetlb_prepare(struct vm_area_struct *vma,
				       unsigned long addr, unsigned int order)
{
	if (cdm_enabled())
		__cdm_hugetlb_prepare(vma, addr, order);
}

/*
 * enqueue_hugetlb_folio(): pages of a pool are the root's. hugetlb_lock held.
 */
static inline void cdm_hugetlb_to_pool(struct folio *folio)
{
	if (folio_is_cdm(folio))
		__cdm_hugetlb_to_pool(folio);
}

/*
 * Reclaim
 */

/*
 * folio_evictable() of a folio that is not, and folio_referenced_one() of one
 * in a locked area: locked memory leaves a device like any other, and stays
 * locked, in RAM. So it is on the lists where demotion looks, and has an age.
 */
static inline bool cdm_locked_leaves(const struct folio *folio)
{
	return folio_is_cdm(folio);
}

unsigned long __cdm_shrink_node(struct pglist_data *pgdat, int priority);
bool __cdm_may_demote(const struct folio *folio);

/*
 * shrink_folio_list(): may a folio be demoted? Protection says how many pages a
 * walk may take from a group of a CDM node.
 */
static inline bool cdm_may_demote(const struct folio *folio)
{
	return !folio_is_cdm(folio) || __cdm_may_demote(folio);
}

struct migration_target_control;

bool __cdm_demotion_targets(struct folio *folio,
			    struct migration_target_control *mtc);

/*
 * demote_folio_list(): @folio, the first of them, and the others of its group
 * may only go where the group's cpuset has RAM. False if that is nowhere.
 */
static inline bool cdm_demotion_targets(struct folio *folio,
					struct migration_target_control *mtc)
{
	return !folio_is_cdm(folio) || __cdm_demotion_targets(folio, mtc);
}

/*
 * shrink_node(): on a CDM node cdm.low says who keeps what, and pages leave for
 * RAM. Reclaim that must not demote swaps for a memory limit: leave that alone.
 */
static inline bool cdm_shrink_node(struct pglist_data *pgdat, int priority,
				   bool no_demotion,
				   unsigned long *nr_reclaimed)
{
	if (no_demotion || !node_is_cdm(pgdat->node_id))
		return false;
	*nr_reclaimed += __cdm_shrink_node(pgdat, priority);
	return true;
}

/*
 * In mm/, for mm/cdm/ alone
 */

/*
 * mm/page_alloc.c: movable pages of a zone with plenty. NULL does not mean that
 * there is none.
 */
struct page *__alloc_pages_zone(gfp_t gfp, unsigned int order,
				struct zone *zone);

/**
 * mem_cgroup_demote_node - demote pages of one group from one node to RAM
 * @memcg: the group; those below it are not included
 * @pgdat: the node
 * @nr_pages: pages wanted
 * @priority: scan this power of two's part of the group's pages
 * @force: take recently used pages as well
 * @gfp: flags of the request that waits
 * @scanned: set to the number of pages that were scanned, unless none can go
 *
 * Pages that cannot go to RAM stay. memory.min and memory.low do not apply:
 * they protect RAM. In mm/vmscan.c.
 *
 * Context: process context, in reclaim (current->reclaim_state is set); sleeps.
 * Return: pages demoted; exceeds what was wanted by less than a batch of the
 * lists (64 pages) or a huge page.
 */
unsigned long mem_cgroup_demote_node(struct mem_cgroup *memcg,
				     struct pglist_data *pgdat,
				     unsigned long nr_pages, int priority,
				     bool force, gfp_t gfp,
				     unsigned long *scanned);

#endif /* _MM_CDM_H */
