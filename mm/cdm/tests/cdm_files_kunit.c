// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what the cdm controller's files take
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
		{ "007K", 0, 7168 >> PAGE_SHIFT },
		{ "18446744073709551615", 0, ULONG_MAX >> PAGE_SHIFT },
		{ "18446744073709551616", -ERANGE },
		{ "16777216T", -ERANGE },
		{ "99999999999999999999999999999", -ERANGE },
		{ "", -EINVAL },
		{ "-1", -EINVAL },
		{ "+1", -EINVAL },
		{ "0x10", -EINVAL },
		{ "1KB", -EINVAL },
		{ "1 K", -EINVAL },
		{ "K", -EINVAL },
		{ "1P", -EINVAL },
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

static struct kunit_case cdm_files_cases[] = {
	KUNIT_CASE(parse_size),
	{ }
};

static struct kunit_suite cdm_files_suite = {
	.name = "cdm_files",
	.test_cases = cdm_files_cases,
};

kunit_test_suite(cdm_files_suite);

MODULE_DESCRIPTION("KUnit tests of the cdm controller's files");
MODULE_LICENSE("GPL");
