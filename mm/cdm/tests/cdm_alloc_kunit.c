// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the allocator's paths that no program can reach
 *
 * They need a CDM node at boot, and nobody who uses it.
 */
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/pagemap.h>

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

static struct kunit_case cdm_alloc_cases[] = {
	KUNIT_CASE(contiguous),
	KUNIT_CASE(in_bulk),
	KUNIT_CASE(no_node),
	KUNIT_CASE(replaced),
	KUNIT_CASE(poisoned),
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
