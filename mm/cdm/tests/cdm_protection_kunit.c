// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of protection of coherent device memory
 */
#include <linux/cgroup.h>
#include <linux/module.h>

#include "cdm_kunit.h"

/* One child of the protected group: what it has, asks for and keeps. */
struct protected_child {
	unsigned int usage;
	unsigned long low;
	unsigned long elow;
	unsigned long elow_recursive;
	struct cdm_owner *owner;
};

/*
 * What reclaim from @root's subtree may take of @owner, for protection of
 * @elow.
 */
static void expect_share(struct kunit *test, struct cdm_owner *root,
			 struct cdm_owner *owner, unsigned long pages,
			 unsigned long elow)
{
	struct cdm_share share, other;

	cdm_get_share(owner, root, IDX, ULONG_MAX, &share);
	KUNIT_EXPECT_EQ(test, share.pages,
			elow ? pages - min(pages, elow) : ULONG_MAX);
	KUNIT_EXPECT_EQ(test, share.low, elow && pages && pages <= elow);
	/* What one may take no other may. */
	if (share.counter) {
		cdm_get_share(owner, root, IDX, ULONG_MAX, &other);
		KUNIT_EXPECT_EQ(test, other.pages, 0);
		cdm_put_share(IDX, &other);
		KUNIT_EXPECT_EQ(test, share.counter->leaving, share.pages);
	}
	cdm_put_share(IDX, &share);
	if (share.counter)
		KUNIT_EXPECT_EQ(test, share.counter->leaving, 0);
}

/* @child of @unit pages each, in a group with protection @low */
static void expect_tree(struct kunit *test, unsigned long low,
			struct protected_child *child, unsigned int nr,
			unsigned int unit, bool recursive)
{
	struct cdm_owner *top = make_owner(test, cdm_root_owner);
	struct cdm_owner *mid = make_owner(test, top);
	unsigned int old = cgrp_dfl_root.flags, i, n;
	unsigned long sum = 0, elow;
	struct cdm_owner *limit;

	if (recursive)
		cgrp_dfl_root.flags |= CGRP_ROOT_MEMORY_RECURSIVE_PROT;
	else
		cgrp_dfl_root.flags &= ~CGRP_ROOT_MEMORY_RECURSIVE_PROT;
	low *= unit;
	cdm_set_setting(mid, IDX, CDM_SETTING_LOW, low);
	for (i = 0; i < nr; i++) {
		child[i].owner = make_owner(test, mid);
		cdm_set_setting(child[i].owner, IDX, CDM_SETTING_LOW,
				child[i].low * unit);
		for (n = 0; n < child[i].usage; n++)
			KUNIT_EXPECT_TRUE(test, charge(child[i].owner, unit,
						       &limit));
		sum += (unsigned long)child[i].usage * unit;
	}
	cdm_drain(cdm_root_owner, IDX);
	for (i = 0; i < nr; i++) {
		unsigned long pages = (unsigned long)child[i].usage * unit;

		elow = unit / 100 *
		       (recursive ? child[i].elow_recursive : child[i].elow);
		expect_share(test, top, child[i].owner, pages, elow);
		/* Its own low does not hold against itself. */
		expect_share(test, child[i].owner, child[i].owner, pages, 0);
	}
	expect_share(test, top, mid, sum, low);
	for (i = 0; i < nr; i++) {
		for (n = 0; n < child[i].usage; n++)
			cdm_uncharge(child[i].owner->id, IDX, unit);
		remove_owner(child[i].owner);
	}
	cgrp_dfl_root.flags = old;
	KUNIT_EXPECT_EQ(test, usage(mid), 0);
	remove_owner(mid);
	remove_owner(top);
}

/* Shares of protection, in hundredths of a unit; worked out by hand. */
static void protection(struct kunit *test)
{
	/* As much as the parent has. */
	struct protected_child fits[] = {
		{ .usage = 50, .low = 30, .elow = 3000, .elow_recursive = 3000 },
		{ .usage = 10, .low = 20, .elow = 1000, .elow_recursive = 1000 },
		{ .usage = 0, .low = 20 },
		{ .usage = 40, .low = 0, .elow = 0, .elow_recursive = 0 },
	};
	/* More: 100 claimed, 50 there. */
	struct protected_child over[] = {
		{ .usage = 80, .low = 75, .elow = 3750, .elow_recursive = 3750 },
		{ .usage = 25, .low = 60, .elow = 1250, .elow_recursive = 1250 },
		{ .usage = 50, .low = 0 },
	};
	/*
	 * Less: 20 claimed of 50; 30 for 20, 60 and 0 pages beyond the claims.
	 */
	struct protected_child under[] = {
		{ .usage = 30, .low = 10, .elow = 1000, .elow_recursive = 1750 },
		{ .usage = 60, .low = 0, .elow = 0, .elow_recursive = 2250 },
		{ .usage = 10, .low = 40, .elow = 1000, .elow_recursive = 1000 },
	};
	/* With the last one products of pages do not fit 64 bits. */
	static const unsigned int units[] = { 100, 4000, 4000000000 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(units); i++) {
		expect_tree(test, 40, fits, ARRAY_SIZE(fits), units[i], false);
		expect_tree(test, 40, fits, ARRAY_SIZE(fits), units[i], true);
		expect_tree(test, 50, over, ARRAY_SIZE(over), units[i], false);
		expect_tree(test, 50, over, ARRAY_SIZE(over), units[i], true);
		expect_tree(test, 50, under, ARRAY_SIZE(under), units[i],
			    false);
		expect_tree(test, 50, under, ARRAY_SIZE(under), units[i], true);
	}
}

/* A group is entitled to what it would still be protected with. */
static void entitled(struct kunit *test)
{
	struct cdm_owner *a = make_owner(test, cdm_root_owner);
	struct cdm_owner *b = make_owner(test, a);
	struct cdm_owner *top = cdm_root_owner, *limit;
	struct cdm_owner *owner = b;

	KUNIT_EXPECT_FALSE(test, cdm_is_entitled(owner, top, IDX, 1));
	cdm_set_setting(owner, IDX, CDM_SETTING_LOW, 100);
	/* The parent has nothing to pass on. */
	KUNIT_EXPECT_FALSE(test, cdm_is_entitled(owner, top, IDX, 1));
	KUNIT_EXPECT_TRUE(test, cdm_is_entitled(owner, a, IDX, 100));
	KUNIT_EXPECT_FALSE(test, cdm_is_entitled(owner, a, IDX, 101));
	cdm_set_setting(a, IDX, CDM_SETTING_LOW, 70);
	KUNIT_EXPECT_TRUE(test, cdm_is_entitled(owner, top, IDX, 70));
	KUNIT_EXPECT_FALSE(test, cdm_is_entitled(owner, top, IDX, 71));
	/* What waits in a stock is not used. */
	KUNIT_EXPECT_NE(test, charge(b, 30, &limit), 0);
	KUNIT_EXPECT_TRUE(test, cdm_is_entitled(owner, top, IDX, 40));
	KUNIT_EXPECT_FALSE(test, cdm_is_entitled(owner, top, IDX, 41));
	KUNIT_EXPECT_FALSE(test, cdm_is_entitled(owner, owner, IDX, 1));
	cdm_uncharge(owner->id, IDX, 30);
	remove_owner(b);
	KUNIT_EXPECT_TRUE(test, cdm_is_entitled(a, top, IDX, 70));
	remove_owner(a);
}

static struct kunit_case cdm_protection_cases[] = {
	KUNIT_CASE(protection),
	KUNIT_CASE(entitled),
	{ }
};

static struct kunit_suite cdm_protection_suite = {
	.name = "cdm_protection",
	.init = cdm_test_init,
	.test_cases = cdm_protection_cases,
};

kunit_test_suite(cdm_protection_suite);

MODULE_DESCRIPTION("KUnit tests of protection of coherent device memory");
MODULE_LICENSE("GPL");
