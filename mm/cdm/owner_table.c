// SPDX-License-Identifier: GPL-2.0
/*
 * Owner tables: which owner has which page of a CDM node
 *
 * An entry is two bytes per page: the id of a struct cdm_owner, or 0 for a page
 * that is free or was taken past the door (the audit finds those). A table of
 * our own, rather than memcg's page data, costs nothing for RAM, is the same in
 * every kernel version, and needs no work when a folio is split.
 *
 * A node's table has one array per memory section, so that a node may have
 * holes and grow. Arrays are allocated in RAM before the section goes online,
 * and are kept when it goes offline. The directory of arrays is replaced under
 * RCU when the node grows beyond it.
 *
 * There is no lock: an entry is written by whoever holds the page, that is the
 * allocator before it hands the page out, the freeing path, or migration with
 * both folios locked. Directories are read with interrupts off or under RCU.
 *
 * The paths of the allocator use cdm_entries[], which leads to the same arrays
 * without bounds: they have a page, so its section has been online. Others use
 * cdm_find_entry().
 */
#include <linux/jiffies.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/page-flags.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "internal.h"

/**
 * struct cdm_owner_table - owners of a node's pages
 * @first:	number of the section that @section[0] is for
 * @nr:		entries of @section
 * @rcu:	defers the free of a directory that was replaced
 * @section:	arrays of PAGES_PER_SECTION ids; NULL for a hole
 */
struct cdm_owner_table {
	unsigned long first;
	unsigned long nr;
	struct rcu_head rcu;
	u16 *section[] __counted_by(nr);
};

/* By node index. Replaced under the memory hotplug lock, or at boot. */
static struct cdm_owner_table __rcu *cdm_owner_tables[CDM_MAX_NODES];
u16 **cdm_entries[CDM_MAX_NODES] __read_mostly;

/* Entry of @pfn, or NULL. RCU read side. */
static u16 *cdm_find_entry(unsigned int idx, unsigned long pfn)
{
	struct cdm_owner_table *table =
		rcu_dereference_sched(cdm_owner_tables[idx]);
	unsigned long nr = pfn_to_section_nr(pfn);

	if (unlikely(!table || nr < table->first ||
		     nr - table->first >= table->nr ||
		     !table->section[nr - table->first]))
		return NULL;
	return &table->section[nr - table->first][pfn & ~PAGE_SECTION_MASK];
}

static struct cdm_owner_table *
cdm_owner_table_copy(const struct cdm_owner_table *old, unsigned long first,
		     unsigned long end)
{
	struct cdm_owner_table *table;

	if (old) {
		first = min(first, old->first);
		end = max(end, old->first + old->nr);
	}
	table = kzalloc(struct_size(table, section, end - first), GFP_KERNEL);
	if (!table)
		return NULL;
	table->first = first;
	table->nr = end - first;
	if (old)
		memcpy(&table->section[old->first - first], old->section,
		       flex_array_size(old, section, old->nr));
	return table;
}

/**
 * cdm_owner_table_grow - make a node's table cover a range
 * @idx: index of the node
 * @start_pfn: first page
 * @nr_pages: length of the range
 *
 * Context: process context; serialized by the memory hotplug lock, or boot.
 * Return: 0 or -ENOMEM. What was covered stays covered in any case.
 */
int cdm_owner_table_grow(unsigned int idx, unsigned long start_pfn,
			 unsigned long nr_pages)
{
	struct cdm_owner_table *old =
		rcu_dereference_protected(cdm_owner_tables[idx], true);
	unsigned long first = pfn_to_section_nr(start_pfn);
	unsigned long end = pfn_to_section_nr(start_pfn + nr_pages - 1) + 1;
	struct cdm_owner_table *table = old;
	unsigned long nr;

	if (!old || first < old->first || end > old->first + old->nr) {
		table = cdm_owner_table_copy(old, first, end);
		if (!table)
			return -ENOMEM;
		rcu_assign_pointer(cdm_owner_tables[idx], table);
		/*
		 * The same, for pages that are known to have an array. Pairs
		 * with the address dependency in cdm_entry().
		 */
		smp_store_release(&cdm_entries[idx],
				  (u16 **)((unsigned long)table->section -
					   table->first * sizeof(u16 *)));
		if (old)
			kfree_rcu(old, rcu);
	}
	for (nr = first; nr < end; nr++) {
		u16 *section;

		if (table->section[nr - table->first])
			continue;
		section = kvcalloc(PAGES_PER_SECTION, sizeof(*section),
				   GFP_KERNEL);
		if (!section)
			return -ENOMEM;
		/*
		 * Zeroed before it is seen. Pairs with the address dependency
		 * in cdm_entry() and cdm_find_entry().
		 */
		smp_store_release(&table->section[nr - table->first], section);
	}
	return 0;
}

static void cdm_fill_entries(u16 *entry, unsigned int order, u16 id)
{
	unsigned long nr = 1UL << order;

	/* Aligned as the page is: four entries per store. */
	if (nr >= 4)
		memset64((u64 *)entry, id * 0x0001000100010001ULL, nr / 4);
	else
		memset16(entry, id, nr);
}

/* Any range: gigantic pages and contiguous allocations. RCU read side. */
static bool cdm_fill_range(unsigned int idx, unsigned long pfn,
			   unsigned long nr, u16 id)
{
	bool whole = true;

	while (nr) {
		unsigned long n =
			min(nr, PAGES_PER_SECTION - (pfn & ~PAGE_SECTION_MASK));
		u16 *entry = cdm_find_entry(idx, pfn);

		if (entry)
			memset16(entry, id, n);
		else
			whole = false;
		pfn += n;
		nr -= n;
	}
	return whole;
}

/**
 * cdm_set_owner_range - record who owns pages that were just allocated
 * @page: first page, on a CDM node
 * @nr: pages
 * @id: owner's id
 *
 * Context: any; the caller holds the pages.
 */
void cdm_set_owner_range(struct page *page, unsigned long nr, u16 id)
{
	bool whole;

	preempt_disable();
	whole = cdm_fill_range(cdm_node_idx(page_to_nid(page)),
			       page_to_pfn(page), nr, id);
	preempt_enable();
	WARN_ONCE(!whole, "cdm: pfn %#lx has no owner entry\n",
		  page_to_pfn(page));
}

/**
 * cdm_set_owner - record who owns a page that was just allocated
 * @page: first page, on a CDM node
 * @order: order, up to MAX_PAGE_ORDER
 * @id: owner's id
 *
 * Context: any; the caller holds the page.
 */
void cdm_set_owner(struct page *page, unsigned int order, u16 id)
{
	u16 *entry;

	preempt_disable();
	entry = cdm_find_entry(cdm_node_idx(page_to_nid(page)),
			       page_to_pfn(page));
	if (entry)
		cdm_fill_entries(entry, order, id);
	preempt_enable();
	WARN_ONCE(!entry, "cdm: pfn %#lx has no owner entry\n",
		  page_to_pfn(page));
}

/**
 * cdm_get_owner - who owns a page
 * @page: on a CDM node
 *
 * Context: any. The result is stable while the caller holds the page and it is
 * not migrated.
 * Return: owner's id, 0 for none.
 */
u16 cdm_get_owner(const struct page *page)
{
	u16 id;

	preempt_disable();
	id = READ_ONCE(*cdm_entry(page, cdm_idx[page_to_nid(page)]));
	preempt_enable();
	return id;
}

/*
 * End the charge of a page that is lost with its memory. Whoever holds it may
 * free it at this moment, and then ends the charge.
 */
static void cdm_end_charge(struct page *page, unsigned int idx)
{
	int ticks = HZ;
	u16 id;

	/* A driver's that it gave up in place: nobody frees it. */
	if (PageOffline(page) || get_page_unless_zero(page)) {
		id = cdm_get_owner(page);
		cdm_set_owner(page, 0, 0);
		if (id)
			cdm_uncharge(id, idx, 1);
		if (!PageOffline(page))
			put_page(page);
		return;
	}
	/* Between the last reference and free_pages_prepare(). */
	while (cdm_get_owner(page) && ticks--)
		schedule_timeout_uninterruptible(1);
}

/**
 * cdm_owner_table_end - end the charges of memory that has gone offline
 * @idx: index of the node
 * @start_pfn: first page
 * @nr_pages: length of the range
 *
 * Pages that are in use do not go offline, with two exceptions: those with
 * hardware errors, and those that a driver has marked PageOffline(). They
 * would be charged for ever; and when the memory comes back it is given to the
 * allocator in large pieces, whose first entry would count for all of them.
 *
 * Context: process context, sleeps.
 */
void cdm_owner_table_end(unsigned int idx, unsigned long start_pfn,
			 unsigned long nr_pages)
{
	unsigned long pfn;

	for (pfn = start_pfn; pfn < start_pfn + nr_pages; pfn++) {
		if (cdm_get_owner(pfn_to_page(pfn)))
			cdm_end_charge(pfn_to_page(pfn), idx);
		if (!(pfn % PAGES_PER_SECTION))
			cond_resched();
	}
}

/*
 * The door out: see cdm_uncharge_pages(). Runs before the pages can be
 * allocated again, so that their entries are clear when the next owner sets
 * them.
 */
void __cdm_uncharge_pages(struct page *page, unsigned int order)
{
	unsigned int idx = cdm_idx[page_to_nid(page)];
	unsigned long flags;
	u16 *entry, id = 0;

	if (likely(!order)) {
		preempt_disable();
		entry = cdm_entry(page, idx);
		id = *entry;
		if (likely(id))
			*entry = 0;
		preempt_enable();
		if (likely(id) && !cdm_stock_put(id, idx))
			cdm_uncharge(id, idx, 1);
		return;
	}

	local_irq_save(flags);
	entry = cdm_find_entry(idx, page_to_pfn(page));
	if (likely(entry))
		id = *entry;
	if (id) {
		if (likely(order <= MAX_PAGE_ORDER))
			cdm_fill_entries(entry, order, 0);
		else
			cdm_fill_range(idx, page_to_pfn(page), 1UL << order, 0);
		cdm_uncharge(id, idx, 1U << order);
	}
	local_irq_restore(flags);
}

/*
 * Within a node: compaction and contiguous allocation take the copy's pages
 * past the door. The charge stays, and the entries move with the folio. A copy
 * that came through the door has an owner and a charge of its own; that of @src
 * then ends when it is freed.
 */
static void cdm_move_entries(struct folio *dst, struct folio *src)
{
	unsigned int idx = cdm_node_idx(folio_nid(dst));
	unsigned int order = folio_order(src);
	u16 *from, *to;

	if (folio_order(dst) != order)
		return;
	preempt_disable();
	from = cdm_find_entry(idx, folio_pfn(src));
	to = cdm_find_entry(idx, folio_pfn(dst));
	if (from && to && *from && !*to) {
		cdm_fill_entries(to, order, *from);
		cdm_fill_entries(from, order, 0);
	}
	preempt_enable();
}

static __always_inline void cdm_count_folio(struct folio *folio,
					    enum cdm_stat item)
{
	unsigned int idx = cdm_idx[folio_nid(folio)];
	u16 id;

	preempt_disable();
	id = READ_ONCE(*cdm_entry(&folio->page, idx));
	preempt_enable();
	if (id)
		cdm_stat_add(id, idx, item, folio_nr_pages(folio));
}

/* Why does current take a folio off its node? */
static enum cdm_stat cdm_leave_reason(void)
{
	if (current->flags & PF_MEMALLOC_PIN)
		return CDM_STAT_PINNED_OUT;
	return current->reclaim_state ? CDM_STAT_DEMOTED : CDM_STAT_MOVED_OUT;
}

/* What kind of memory is in a demoted folio? hugetlb's is not demoted. */
static enum cdm_stat cdm_demoted_kind(const struct folio *folio)
{
	if (folio_test_anon(folio))
		return CDM_STAT_DEMOTED_ANON;
	return folio_test_swapbacked(folio) ? CDM_STAT_DEMOTED_SHMEM :
					      CDM_STAT_DEMOTED_FILE;
}

/* @dst, which is locked and on a CDM node, took the place of one in RAM. */
void __cdm_count_arrival(struct folio *dst)
{
	cdm_count_folio(dst, CDM_STAT_MOVED_IN);
}

/*
 * folio_migrate_flags(): see cdm_migrate_owner(). @src is on a CDM node. Both
 * folios are locked.
 */
void __cdm_migrate_owner(struct folio *dst, struct folio *src)
{
	enum cdm_stat reason;

	if (folio_nid(src) == folio_nid(dst)) {
		cdm_move_entries(dst, src);
		return;
	}
	reason = cdm_leave_reason();
	/* The sum of all kinds is calculated when it is read. */
	cdm_count_folio(src, reason == CDM_STAT_DEMOTED ?
				     cdm_demoted_kind(src) :
				     reason);
	if (folio_is_cdm(dst))
		__cdm_count_arrival(dst);
}
