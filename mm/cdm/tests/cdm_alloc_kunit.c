// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the allocator's paths that no program can reach
 *
 * They need a CDM node at boot, and nobody who uses it.
 */
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/migrate.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/vmstat.h>
#include <linux/zsmalloc.h>

#include "cdm_kunit.h"

/*
 * Contiguous allocation, which no system call does: charged, within the limit,
 * and given back whole. Needs a CDM node at boot, and nobody who uses it.
 */
static void contiguous(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct cdm_owner *root = cdm_root_owner;
	const unsigned long nr = 8192;
	unsigned long before;
	struct page *page;
	int idx, nid;

	if (nodes_empty(cdm_nodes) || !IS_ENABLED(CONFIG_CONTIG_ALLOC))
		kunit_skip(test, "no node, or no alloc_contig_pages()");
	nid = first_node(cdm_nodes);
	idx = cdm_node_idx(nid);
	before = cdm_usage(root, idx);

	page = alloc_contig_pages(nr, gfp, nid, NULL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, page_to_nid(page), nid);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before + nr);
	free_contig_range(page_to_pfn(page), nr);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);

	cdm_drain(root, idx);
	cdm_set_setting(root, idx, CDM_SETTING_MAX, before + nr - 1);
	KUNIT_EXPECT_NULL(test, alloc_contig_pages(nr, gfp, nid, NULL));
	cdm_set_setting(root, idx, CDM_SETTING_MAX, CDM_MAX);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);
}

/* The bulk allocator, from which user space gets kernel memory only. */
static void in_bulk(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct cdm_owner *root = cdm_root_owner;
	unsigned long before, nr = 0, got;
	struct page *pages[50] = { };
	int idx, nid;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	nid = first_node(cdm_nodes);
	idx = cdm_node_idx(nid);
	before = cdm_usage(root, idx);

	/* It may give less than it was asked for. */
	while ((got = alloc_pages_bulk_array_node(gfp, nid, ARRAY_SIZE(pages),
						  pages)) > nr)
		nr = got;
	KUNIT_EXPECT_EQ(test, nr, ARRAY_SIZE(pages));
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before + nr);
	while (nr--) {
		KUNIT_EXPECT_EQ(test, page_to_nid(pages[nr]), nid);
		__free_page(pages[nr]);
	}
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);
}

/* A mask without a node is no request for RAM. DAMON's second try has one. */
static void no_node(struct kunit *test)
{
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) |
			  __GFP_NOWARN;
	nodemask_t none = NODE_MASK_NONE;
	int nid;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	for_each_online_node(nid)
		KUNIT_EXPECT_NULL(test, __alloc_pages(gfp, 0, nid, &none));
}

/* What reclaim allocates for itself is not taken past the door either. */
static void this_node_in_reclaim(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	unsigned int flags;
	struct page *page;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	flags = memalloc_noreclaim_save();
	page = alloc_pages_node(first_node(cdm_nodes), gfp, 0);
	memalloc_noreclaim_restore(flags);
	KUNIT_EXPECT_NULL(test, page);
	if (page)
		__free_page(page);
}

/* A request for one node alone that is refused is seen in the events. */
static void this_node(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE;
	struct cdm_owner *root = cdm_root_owner;
	unsigned long fails;
	struct page *page;
	int idx, nid;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	nid = first_node(cdm_nodes);
	idx = cdm_node_idx(nid);
	cdm_drain(cdm_root_owner, idx);
	fails = cdm_read_event(root, idx, CDM_EV_FAIL, true);
	cdm_set_setting(root, idx, CDM_SETTING_MAX, 0);
	page = alloc_pages_node(nid, gfp, 0);
	cdm_set_setting(root, idx, CDM_SETTING_MAX, CDM_MAX);
	KUNIT_EXPECT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, cdm_read_event(root, idx, CDM_EV_FAIL, true),
			fails + 1);
	if (page)
		__free_page(page);
}

/*
 * A kernel thread that does not say whom it works for, as this one: a driver's
 * gets what is free, and the memory policy of a file means RAM. So it is if it
 * works for somebody in no group.
 */
static void unknown_payer(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_NOWARN;
	struct mem_cgroup *old;
	nodemask_t mask;
	struct page *page;
	int nid;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	nid = first_node(cdm_nodes);
	mask = nodemask_of_node(nid);
	page = __alloc_pages(gfp, 0, nid, NULL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, page_to_nid(page), nid);
	__free_page(page);

	page = __alloc_pages(gfp, 0, nid, &mask);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_FALSE(test, page_is_cdm(page));
	__free_page(page);

	old = set_active_memcg(root_mem_cgroup);
	page = __alloc_pages(gfp, 0, nid, NULL);
	set_active_memcg(old);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_FALSE(test, page_is_cdm(page));
	__free_page(page);
}

static void never_released(struct percpu_ref *ref)
{
}

/* A page that a driver accounts, under a memory.max of 0. */
static struct page *alloc_accounted(struct kunit *test, int nid)
{
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) |
			  __GFP_THISNODE | __GFP_ACCOUNT;
	bool online = static_key_enabled(&memcg_kmem_online_key);
	struct cgroup_subsys_state *root = &root_mem_cgroup->css, *css;
	struct mem_cgroup *memcg, *old;
	struct obj_cgroup objcg = { };
	struct page *page;

	css = memory_cgrp_subsys.css_alloc(root);
	KUNIT_ASSERT_FALSE(test, IS_ERR(css));
	css->cgroup = root->cgroup;
	css->flags = CSS_NO_REF;
	memcg = mem_cgroup_from_css(css);
	page_counter_set_max(&memcg->memory, 0);
	KUNIT_ASSERT_EQ(test, percpu_ref_init(&objcg.refcnt, never_released, 0,
					      GFP_KERNEL), 0);
	objcg.memcg = memcg;
	RCU_INIT_POINTER(memcg->objcg, &objcg);
	if (!online)
		static_branch_enable(&memcg_kmem_online_key);

	old = set_active_memcg(memcg);
	page = alloc_pages_node(nid, gfp, 0);
	set_active_memcg(old);

	if (!online)
		static_branch_disable(&memcg_kmem_online_key);
	RCU_INIT_POINTER(memcg->objcg, NULL);
	percpu_ref_exit(&objcg.refcnt);
	memory_cgrp_subsys.css_free(css);
	return page;
}

/*
 * Pages that a driver accounts count once: in cdm, and in memory only if device
 * memory counts there. If memory has no room then, that is not for want of
 * device memory.
 */
static void accounted(struct kunit *test)
{
	struct cdm_owner *root = cdm_root_owner;
	unsigned long before, depleted, fails;
	bool counts = cdm_counts_as_ram;
	struct page *page;
	int idx, nid;

	/* Later the boot option is read-only. */
	if (nodes_empty(cdm_nodes) || system_state > SYSTEM_SCHEDULING)
		kunit_skip(test, "no node, or too late");
	nid = first_node(cdm_nodes);
	idx = cdm_node_idx(nid);
	before = cdm_usage(root, idx);
	depleted = cdm_read_event(root, idx, CDM_EV_DEPLETED, true);
	fails = cdm_read_event(root, idx, CDM_EV_FAIL, true);

	cdm_counts_as_ram = false;
	page = alloc_accounted(test, nid);
	cdm_counts_as_ram = counts;
	KUNIT_EXPECT_NOT_NULL(test, page);
	if (page) {
		KUNIT_EXPECT_FALSE(test, PageMemcgKmem(page));
		KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before + 1);
		__free_page(page);
	}

	cdm_counts_as_ram = true;
	page = alloc_accounted(test, nid);
	cdm_counts_as_ram = counts;
	KUNIT_EXPECT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);
	KUNIT_EXPECT_EQ(test, cdm_read_event(root, idx, CDM_EV_DEPLETED, true),
			depleted);
	KUNIT_EXPECT_EQ(test, cdm_read_event(root, idx, CDM_EV_FAIL, true),
			fails + 1);
	if (page)
		__free_page(page);
}

static unsigned long replaced_counts(struct kunit *test,
				     struct mem_cgroup *memcg, int nid)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct page *old = alloc_page(GFP_HIGHUSER),
		    *new = alloc_pages_node(nid, gfp, 0);
	unsigned long counts = 0;

	if (old && new) {
		lock_page(old);
		lock_page(new);
		page_folio(old)->memcg_data = (unsigned long)memcg;
		mem_cgroup_replace_folio(page_folio(old), page_folio(new));
		page_folio(old)->memcg_data = 0;
		unlock_page(new);
		unlock_page(old);
		counts = page_counter_read(&memcg->memory);
	} else {
		KUNIT_FAIL(test, "no page");
	}
	if (old)
		__free_page(old);
	if (new)
		put_page(new);
	KUNIT_EXPECT_EQ(test, page_counter_read(&memcg->memory), 0);
	return counts;
}

/*
 * Page cache that is replaced by a page that a driver brings, uncharged: it
 * counts as RAM if it is RAM. No program can do that. The memcg is never
 * online, and so keeps its id.
 */
static void replaced(struct kunit *test)
{
	struct cgroup_subsys_state *root = &root_mem_cgroup->css, *css;

	if (nodes_empty(cdm_nodes) || !cdm_nodes_are_exempt())
		kunit_skip(test, "no node, or it counts");
	css = memory_cgrp_subsys.css_alloc(root);
	KUNIT_ASSERT_FALSE(test, IS_ERR(css));
	css->cgroup = root->cgroup;
	css->flags = CSS_NO_REF;
	KUNIT_EXPECT_EQ(test, replaced_counts(test, mem_cgroup_from_css(css),
					      first_node(*cdm_ram_nodes())), 1);
	KUNIT_EXPECT_EQ(test, replaced_counts(test, mem_cgroup_from_css(css),
					      first_node(cdm_nodes)), 0);
	memory_cgrp_subsys.css_free(css);
}

/* A bad page that is freed goes nowhere, and is nobody's. */
static void poisoned(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct cdm_owner *root = cdm_root_owner;
	unsigned long before;
	struct page *page;
	int idx, nid;

	if (nodes_empty(cdm_nodes) || !IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no node, or no bad pages");
	nid = first_node(cdm_nodes);
	idx = cdm_node_idx(nid);
	before = cdm_usage(root, idx);

	page = alloc_pages_node(nid, gfp, 0);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before + 1);
	SetPageHWPoison(page);
	__free_page(page);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);

	ClearPageHWPoison(page);
	init_page_count(page);
	__free_page(page);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);
}

/* Where a page is that names the node; it is freed. */
static int node_of_page(struct kunit *test, int nid)
{
	struct page *page = __alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN,
					  0, nid, NULL);
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, page);
	ret = page_to_nid(page);
	__free_page(page);
	return ret;
}

/*
 * Reclaim that begins inside of a scope asks for itself. A scope that begins in
 * reclaim is that of a migration, which asks for whom it names.
 */
static void in_reclaim(struct kunit *test)
{
	struct cdm_scope scope;
	unsigned int flags;
	int nid;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	nid = first_node(cdm_nodes);
	KUNIT_EXPECT_EQ(test, node_of_page(test, nid), nid);
	flags = memalloc_noreclaim_save();
	KUNIT_EXPECT_NE(test, node_of_page(test, nid), nid);
	cdm_scope_begin(&scope, NULL, &init_mm);
	KUNIT_EXPECT_EQ(test, node_of_page(test, nid), nid);
	cdm_scope_end(&scope);
	memalloc_noreclaim_restore(flags);

	cdm_scope_begin(&scope, NULL, &init_mm);
	KUNIT_EXPECT_EQ(test, node_of_page(test, nid), nid);
	flags = memalloc_noreclaim_save();
	KUNIT_EXPECT_NE(test, node_of_page(test, nid), nid);
	memalloc_noreclaim_restore(flags);
	cdm_scope_end(&scope);
}

#if IS_BUILTIN(CONFIG_ZSMALLOC)
/*
 * Who writes to a compressed disk with a policy for the device. There is no
 * reclaim, and each object fills most of a page of its own.
 */
static void compressed(struct kunit *test)
{
	const gfp_t gfp = GFP_NOIO | __GFP_HIGHMEM | __GFP_MOVABLE;
	struct mempolicy bind = {
		.refcnt = ATOMIC_INIT(1),
		.mode = MPOL_BIND,
	}, *old = current->mempolicy;
	unsigned long handle[16];
	struct zs_pool *pool;
	int nid, i;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	nid = first_node(cdm_nodes);
	node_set(nid, bind.nodes);
	pool = zs_create_pool("cdm_test");
	KUNIT_ASSERT_NOT_NULL(test, pool);
	current->mempolicy = &bind;
	for (i = 0; i < ARRAY_SIZE(handle); i++)
		handle[i] = zs_malloc(pool, PAGE_SIZE - 100, gfp);
	current->mempolicy = old;
	KUNIT_EXPECT_GT(test, zs_get_total_pages(pool), 0);
	KUNIT_EXPECT_EQ(test, zone_page_state(cdm_zone(nid), NR_ZSPAGES), 0);
	for (i = 0; i < ARRAY_SIZE(handle); i++)
		if (!IS_ERR_VALUE(handle[i]))
			zs_free(pool, handle[i]);
	zs_destroy_pool(pool);
}
#endif

static bool isolate_page(struct page *page, isolate_mode_t mode)
{
	return true;
}

static void putback_page(struct page *page)
{
}

static int migrate_page(struct page *dst, struct page *src,
			enum migrate_mode mode);

static const struct movable_operations mops = {
	.isolate_page = isolate_page,
	.migrate_page = migrate_page,
	.putback_page = putback_page,
};

static struct page *moved_to;

/* The driver's reference moves, too. */
static int migrate_page(struct page *dst, struct page *src,
			enum migrate_mode mode)
{
	__SetPageMovable(dst, &mops);
	get_page(dst);
	__ClearPageMovable(src);
	put_page(src);
	moved_to = dst;
	return MIGRATEPAGE_SUCCESS;
}

/* As compaction, which takes the copy's page past the door. */
static struct folio *past_the_door(struct folio *src, unsigned long nid)
{
	struct page *page = __alloc_pages_raw(GFP_HIGHUSER_MOVABLE |
					      __GFP_THISNODE, 0, nid, NULL);

	return page ? page_folio(page) : NULL;
}

/* A page of a driver's own that is moved within the node stays charged. */
static void drivers_page(struct kunit *test)
{
	struct cdm_owner *root = cdm_root_owner;
	unsigned long before;
	struct page *page;
	LIST_HEAD(list);
	int idx, nid;

	if (nodes_empty(cdm_nodes) || !IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "no node, or no movable pages");
	nid = first_node(cdm_nodes);
	idx = cdm_node_idx(nid);
	before = cdm_usage(root, idx);
	page = alloc_pages_node(nid, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE, 0);
	KUNIT_ASSERT_NOT_NULL(test, page);
	lock_page(page);
	__SetPageMovable(page, &mops);
	unlock_page(page);

	moved_to = NULL;
	KUNIT_ASSERT_TRUE(test, isolate_movable_page(page, 0));
	list_add(&page->lru, &list);
	KUNIT_EXPECT_EQ(test, migrate_pages(&list, past_the_door, NULL, nid,
					    MIGRATE_SYNC, MR_COMPACTION, NULL),
			0);
	KUNIT_ASSERT_NOT_NULL(test, moved_to);
	KUNIT_EXPECT_EQ(test, cdm_get_owner(moved_to), CDM_ROOT_ID);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before + 1);
	lock_page(moved_to);
	__ClearPageMovable(moved_to);
	unlock_page(moved_to);
	put_page(moved_to);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);
}

#ifdef CONFIG_ZONE_DEVICE
/* A driver's own pages, of a node that is CDM, are not. */
static void zone_device(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct page *page;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	page = alloc_pages_node(first_node(cdm_nodes), gfp, 0);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_TRUE(test, page_is_cdm(page));
	set_page_zone(page, ZONE_DEVICE);
	KUNIT_EXPECT_FALSE(test, page_is_cdm(page));
	KUNIT_EXPECT_FALSE(test, cdm_is_exempt(page_folio(page)));
	set_page_zone(page, ZONE_MOVABLE);
	__free_page(page);
}
#endif

static struct kunit_case cdm_alloc_cases[] = {
	KUNIT_CASE(contiguous),
	KUNIT_CASE(in_bulk),
	KUNIT_CASE(no_node),
	KUNIT_CASE(this_node_in_reclaim),
	KUNIT_CASE(this_node),
	KUNIT_CASE(unknown_payer),
	KUNIT_CASE(accounted),
	KUNIT_CASE(replaced),
	KUNIT_CASE(poisoned),
	KUNIT_CASE(in_reclaim),
#if IS_BUILTIN(CONFIG_ZSMALLOC)
	KUNIT_CASE(compressed),
#endif
	KUNIT_CASE(drivers_page),
#ifdef CONFIG_ZONE_DEVICE
	KUNIT_CASE(zone_device),
#endif
	{ }
};

static struct kunit_suite cdm_alloc_suite = {
	.name = "cdm_alloc",
	.init = cdm_test_init,
	.test_cases = cdm_alloc_cases,
};

kunit_test_suite(cdm_alloc_suite);

MODULE_DESCRIPTION("KUnit tests of coherent device memory's allocator");
MODULE_LICENSE("GPL");
