// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what the cdm controller's files take, and what it means
 */
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "cdm_kunit.h"

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);

static void parse_size(struct kunit *test)
{
	static const struct {
		const char *str;
		int ret;
		unsigned long pages;
	} cases[] = {
		{ "0", 0, 0 },
		{ "max", 0, CDM_MAX },
		{ "4096", 0, 4096 >> PAGE_SHIFT },
		{ "4095", 0, 4095 >> PAGE_SHIFT },
		{ "1M", 0, SZ_1M >> PAGE_SHIFT },
		{ "1m", 0, SZ_1M >> PAGE_SHIFT },
		{ "64K", 0, SZ_64K >> PAGE_SHIFT },
		{ "2G", 0, SZ_2G >> PAGE_SHIFT },
		{ "1T", 0, 1ULL << 40 >> PAGE_SHIFT },
		{ "1p", 0, 1ULL << 50 >> PAGE_SHIFT },
		{ "3E", 0, 3ULL << 60 >> PAGE_SHIFT },
		{ "007K", 0, 7168 >> PAGE_SHIFT },
		{ "18446744073709551615", 0, ULONG_MAX >> PAGE_SHIFT },
		{ "18446744073709551616", -ERANGE },
		{ "16777216T", -ERANGE },
		{ "16E", -ERANGE },
		{ "99999999999999999999999999999", -ERANGE },
		{ "", -EINVAL },
		{ "-1", -EINVAL },
		{ "+1", -EINVAL },
		{ "0x10", -EINVAL },
		{ "1KB", -EINVAL },
		{ "1 K", -EINVAL },
		{ "K", -EINVAL },
		{ "1Z", -EINVAL },
		{ "1.5M", -EINVAL },
		{ "MAX", -EINVAL },
		{ "maximum", -EINVAL },
	};
	unsigned long pages;
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		pages = 1234567;
		ret = cdm_parse_size(cases[i].str, &pages);
		KUNIT_EXPECT_EQ_MSG(test, ret, cases[i].ret, "\"%s\"",
				    cases[i].str);
		if (!cases[i].ret)
			KUNIT_EXPECT_EQ_MSG(test, pages, cases[i].pages,
					    "\"%s\"", cases[i].str);
	}
}

static struct cdm_owner *want_reach(struct cdm_owner **owner, int levels)
{
	return levels < 0 ? NULL : owner[levels];
}

/*
 * Whose pages make way, and what a request gets without room, by the words of
 * the payer, its parent and its grandparent. The root says "fallback".
 */
static void policy_words(struct kunit *test)
{
	static const struct {
		enum cdm_policy words[3];	/* from the payer upwards */
		int reach;			/* levels up; -1 is nobody */
		bool fails;
	} cases[] = {
		{ { CDM_INHERIT, CDM_INHERIT, CDM_INHERIT }, -1, false },
		{ { CDM_FAIL, CDM_INHERIT, CDM_RECLAIM_FALLBACK }, -1, true },
		{ { CDM_RECLAIM_FAIL, CDM_FALLBACK, CDM_INHERIT }, 0, true },
		{ { CDM_RECLAIM_FALLBACK, CDM_FAIL, CDM_FAIL }, 0, false },
		{ { CDM_INHERIT, CDM_RECLAIM_FAIL, CDM_FALLBACK }, 1, true },
		{ { CDM_INHERIT, CDM_INHERIT, CDM_RECLAIM_FAIL }, 2, true },
		{ { CDM_INHERIT_FAIL, CDM_INHERIT, CDM_INHERIT }, -1, true },
		{ { CDM_INHERIT_FAIL, CDM_RECLAIM_FALLBACK, CDM_FAIL }, 1,
		  true },
		{ { CDM_INHERIT_FALLBACK, CDM_INHERIT_FAIL, CDM_RECLAIM_FAIL },
		  2, false },
		{ { CDM_INHERIT, CDM_INHERIT_FALLBACK, CDM_RECLAIM_FAIL }, 2,
		  false },
		{ { CDM_INHERIT_FAIL, CDM_FALLBACK, CDM_RECLAIM_FAIL }, -1,
		  true },
	};
	struct cdm_owner *owner[3] = { };
	int i, j;

	for (j = 2; j >= 0; j--)
		owner[j] = make_owner(test, j == 2 ? cdm_root_owner :
						     owner[j + 1]);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cdm_effective_policy policy;

		mutex_lock(&cdm_mutex);
		for (j = 0; j < 3; j++)
			cdm_set_setting(owner[j], IDX, CDM_SETTING_POLICY,
					cases[i].words[j]);
		mutex_unlock(&cdm_mutex);
		policy = cdm_get_policy(owner[0], IDX);
		KUNIT_EXPECT_PTR_EQ_MSG(test, policy.reach,
					want_reach(owner, cases[i].reach),
					"case %d", i);
		KUNIT_EXPECT_EQ_MSG(test, policy.fails, cases[i].fails,
				    "case %d", i);
	}
	for (j = 0; j < 3; j++)
		remove_owner(owner[j]);
}

static struct kunit_case cdm_files_cases[] = {
	KUNIT_CASE(parse_size),
	KUNIT_CASE(policy_words),
	{ }
};

static struct kunit_suite cdm_files_suite = {
	.name = "cdm_files",
	.init = cdm_test_init,
	.test_cases = cdm_files_cases,
};

kunit_test_suite(cdm_files_suite);

MODULE_DESCRIPTION("KUnit tests of the cdm controller's files");
MODULE_LICENSE("GPL");
