// SPDX-License-Identifier: GPL-2.0
/*
 * Who owns which page of a CDM node
 *
 * Two bytes a page: the id of a struct cdm_owner, 0 for a page that is free or
 * that nobody asked for through the door (the audit finds those). A table of
 * our own rather than memcg's page data costs nothing for RAM, is the same for
 * every kernel version, and needs no work when a folio is split.
 *
 * A node's table has one array per memory section, so that a node may have
 * holes and grow. Arrays are allocated in RAM before the section goes online
 * and are kept when it goes offline; the directory of arrays is replaced under
 * RCU when the node grows beyond it.
 *
 * An entry is written by whoever holds the page: the allocator before it hands
 * the page out, the freeing path, or migration with both folios locked. So
 * there is no lock. Directories are read with interrupts off or under RCU.
 *
 * The allocator's paths use cdm_owner_dir[], which leads to the same arrays and
 * has no bounds: they have a page, so its section went online. Others ask
 * cdm_owner_entry().
 */
#include <linux/cdm.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
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
u16 **cdm_owner_dir[CDM_MAX_NODES] __read_mostly;

/* Entry of @pfn, or NULL. RCU read side. */
static u16 *cdm_owner_entry(unsigned int idx, unsigned long pfn)
{
	struct cdm_owner_table *table = rcu_dereference_sched(cdm_owner_tables[idx]);
	unsigned long nr = pfn_to_section_nr(pfn);

	if (unlikely(!table || nr < table->first || nr - table->first >= table->nr ||
		     !table->section[nr - table->first]))
		return NULL;
	return &table->section[nr - table->first][pfn & ~PAGE_SECTION_MASK];
}

bool cdm_owner_table_covers(unsigned int idx, unsigned long pfn)
{
	bool ret;

	preempt_disable();
	ret = cdm_owner_entry(idx, pfn);
	preempt_enable();
	return ret;
}

static struct cdm_owner_table *cdm_owner_table_copy(const struct cdm_owner_table *old,
						    unsigned long first, unsigned long end)
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
int cdm_owner_table_grow(unsigned int idx, unsigned long start_pfn, unsigned long nr_pages)
{
	struct cdm_owner_table *old = rcu_dereference_protected(cdm_owner_tables[idx], true);
	unsigned long first = pfn_to_section_nr(start_pfn);
	unsigned long end = pfn_to_section_nr(start_pfn + nr_pages - 1) + 1;
	struct cdm_owner_table *table = old;
	unsigned long nr;

	if (!old || first < old->first || end > old->first + old->nr) {
		table = cdm_owner_table_copy(old, first, end);
		if (!table)
			return -ENOMEM;
		rcu_assign_pointer(cdm_owner_tables[idx], table);
		/* The same, for those who know that there is an array. */
		smp_store_release(&cdm_owner_dir[idx], (u16 **)((unsigned long)table->section -
								table->first * sizeof(u16 *)));
		if (old)
			kfree_rcu(old, rcu);
	}
	for (nr = first; nr < end; nr++) {
		u16 *section;

		if (table->section[nr - table->first])
			continue;
		section = kvcalloc(PAGES_PER_SECTION, sizeof(*section), GFP_KERNEL);
		if (!section)
			return -ENOMEM;
		/* Zeroed before it is seen; readers depend on the address. */
		smp_store_release(&table->section[nr - table->first], section);
	}
	return 0;
}

static void cdm_fill(u16 *entry, unsigned int order, u16 id)
{
	unsigned long nr = 1UL << order;

	/* Aligned, as the page is: four entries a store. */
	if (nr >= 4)
		memset64((u64 *)entry, id * 0x0001000100010001ULL, nr / 4);
	else
		memset16(entry, id, nr);
}

/* Any range, as gigantic pages and contiguous allocations have it. RCU read side. */
static bool cdm_fill_range(unsigned int idx, unsigned long pfn, unsigned long nr, u16 id)
{
	bool whole = true;

	while (nr) {
		unsigned long n = min(nr, PAGES_PER_SECTION - (pfn & ~PAGE_SECTION_MASK));
		u16 *entry = cdm_owner_entry(idx, pfn);

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
	whole = cdm_fill_range(cdm_node_idx(page_to_nid(page)), page_to_pfn(page), nr, id);
	preempt_enable();
	WARN_ONCE(!whole, "cdm: pfn %#lx has no owner entry\n", page_to_pfn(page));
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
	entry = cdm_owner_entry(cdm_node_idx(page_to_nid(page)), page_to_pfn(page));
	if (entry)
		cdm_fill(entry, order, id);
	preempt_enable();
	WARN_ONCE(!entry, "cdm: pfn %#lx has no owner entry\n", page_to_pfn(page));
}

/**
 * cdm_get_owner - who owns a page
 * @page: on a CDM node
 *
 * Context: any. The answer is stable while the caller holds the page and it is
 * not migrated.
 * Return: owner's id, 0 for none.
 */
u16 cdm_get_owner(const struct page *page)
{
	u16 id;

	preempt_disable();
	id = READ_ONCE(*cdm_owner_slot(page, cdm_idx[page_to_nid(page)]));
	preempt_enable();
	return id;
}

/*
 * The door out: see cdm_free_pages(). Runs before the page can be allocated
 * again, so its entry is clear when the next owner sets it.
 */
void __cdm_free_pages(struct page *page, unsigned int order)
{
	unsigned int idx = cdm_idx[page_to_nid(page)];
	unsigned long flags;
	u16 *entry, id = 0;

	if (likely(!order)) {
		preempt_disable();
		entry = cdm_owner_slot(page, idx);
		id = *entry;
		if (likely(id))
			*entry = 0;
		preempt_enable();
		if (likely(id) && !cdm_stock_put(id, idx))
			cdm_uncharge(id, idx, 1);
		return;
	}

	local_irq_save(flags);
	entry = cdm_owner_entry(idx, page_to_pfn(page));
	if (likely(entry))
		id = *entry;
	if (id) {
		if (likely(order <= MAX_PAGE_ORDER))
			cdm_fill(entry, order, 0);
		else
			cdm_fill_range(idx, page_to_pfn(page), 1UL << order, 0);
		cdm_uncharge(id, idx, 1U << order);
	}
	local_irq_restore(flags);
}

/*
 * Within a node: compaction and contiguous allocation take the copy's page
 * without passing the door. The charge stays and the entries move with the
 * folio. A copy that came through the door has an owner and is charged itself;
 * @src's charge then ends when it is freed.
 */
static void cdm_move_entries(struct folio *dst, struct folio *src)
{
	unsigned int idx = cdm_node_idx(folio_nid(dst));
	unsigned int order = folio_order(src);
	u16 *from, *to;

	if (folio_order(dst) != order)
		return;
	preempt_disable();
	from = cdm_owner_entry(idx, folio_pfn(src));
	to = cdm_owner_entry(idx, folio_pfn(dst));
	if (from && to && *from && !*to) {
		cdm_fill(to, order, *from);
		cdm_fill(from, order, 0);
	}
	preempt_enable();
}

static __always_inline void cdm_count_folio(struct folio *folio, enum cdm_stat item)
{
	u16 id = cdm_get_owner(&folio->page);

	if (id)
		cdm_stat_add(id, cdm_idx[folio_nid(folio)], item, folio_nr_pages(folio));
}

/* Why does current take a folio off its node? */
static enum cdm_stat cdm_leave_reason(void)
{
	if (current->flags & PF_MEMALLOC_PIN)
		return CDM_STAT_PINNED_OUT;
	return current->reclaim_state ? CDM_STAT_DEMOTED : CDM_STAT_MOVED_OUT;
}

/* What kind of memory does a demoted folio hold? Not hugetlb's. */
static enum cdm_stat cdm_demoted_kind(const struct folio *folio)
{
	if (folio_test_anon(folio))
		return CDM_STAT_DEMOTED_ANON;
	return folio_test_swapbacked(folio) ? CDM_STAT_DEMOTED_SHMEM : CDM_STAT_DEMOTED_FILE;
}

/* folio_migrate_flags(): see cdm_migrate_owner(). Both folios are locked. */
void __cdm_migrate_owner(struct folio *dst, struct folio *src)
{
	if (folio_nid(src) == folio_nid(dst)) {
		cdm_move_entries(dst, src);
		return;
	}
	if (cdm_folio(src)) {
		enum cdm_stat reason = cdm_leave_reason();

		/* The sum of what is demoted is made when it is read. */
		cdm_count_folio(src, reason == CDM_STAT_DEMOTED ? cdm_demoted_kind(src) : reason);
	}
	if (cdm_folio(dst))
		cdm_count_folio(dst, CDM_STAT_MOVED_IN);
}
