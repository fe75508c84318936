// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the cdm controller's counters and parsers
 *
 * They need no device: the counters of an index that no node has are charged
 * by hand, in groups that no cgroup has.
 */
#include <kunit/test.h>
#include <linux/cdm.h>
#include <linux/cdm_cgroup.h>
#include <linux/prandom.h>

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);

/* No node gets this index before 63 others have theirs. */
#define IDX	(CDM_MAX_NODES - 1)

static struct cgroup_subsys_state *root_css(void)
{
	struct cgroup_subsys_state *css;

	rcu_read_lock();
	css = task_css(&init_task, cdm_cgrp_id);
	while (css->parent)
		css = css->parent;
	rcu_read_unlock();
	return css;
}

static struct cgroup_subsys_state *make_group(struct kunit *test,
					      struct cgroup_subsys_state *parent)
{
	struct cgroup_subsys_state *css = cdm_cgrp_subsys.css_alloc(parent);

	KUNIT_ASSERT_FALSE(test, IS_ERR(css));
	KUNIT_ASSERT_EQ(test, cdm_cgrp_subsys.css_online(css), 0);
	return css;
}

static void remove_group(struct cgroup_subsys_state *css)
{
	cdm_cgrp_subsys.css_offline(css);
	cdm_cgrp_subsys.css_released(css);
	synchronize_rcu();
	cdm_cgrp_subsys.css_free(css);
}

/* Charge as the door does: once more after a drain. */
static u16 charge(struct cgroup_subsys_state *css, unsigned int nr, struct cdm_owner **limit)
{
	u16 id;

	rcu_read_lock();
	id = cdm_try_charge(cdm_owner_of_css(css), IDX, nr, limit);
	if (!id) {
		cdm_drain(IDX);
		id = cdm_try_charge(cdm_owner_of_css(css), IDX, nr, limit);
	}
	rcu_read_unlock();
	return id;
}

static unsigned long usage(struct cgroup_subsys_state *css)
{
	return cdm_usage(cdm_owner_of_css(css), IDX);
}

static int cdm_test_init(struct kunit *test)
{
	if (cdm_off)
		kunit_skip(test, "booted with cdm=off");
	return cdm_cgroup_add_node(IDX, NUMA_NO_NODE);
}

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
		KUNIT_EXPECT_EQ_MSG(test, ret, cases[i].ret, "\"%s\"", cases[i].str);
		if (!cases[i].ret)
			KUNIT_EXPECT_EQ_MSG(test, pages, cases[i].pages, "\"%s\"", cases[i].str);
	}
}

/* A limit of N pages lets exactly N pages be had, page by page and in one go. */
static void limit_is_exact(struct kunit *test)
{
	static const unsigned int limits[] = { 0, 1, 2, 63, 64, 65, 127, 129, 1000 };
	struct cgroup_subsys_state *css = make_group(test, root_css());
	struct cdm_owner *owner = cdm_owner_of_css(css), *limit;
	unsigned int i, n;
	u16 id;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		cdm_set_max(owner, IDX, limits[i]);
		for (n = 0; charge(css, 1, &limit); n++)
			;
		KUNIT_EXPECT_EQ(test, n, limits[i]);
		KUNIT_EXPECT_PTR_EQ(test, limit, owner);
		KUNIT_EXPECT_EQ(test, usage(css), limits[i]);
		for (; n; n--)
			cdm_uncharge(owner->id, IDX, 1);
		KUNIT_EXPECT_EQ(test, usage(css), 0);

		KUNIT_EXPECT_EQ(test, charge(css, limits[i] + 1, &limit), 0);
		if (!limits[i])
			continue;
		id = charge(css, limits[i], &limit);
		KUNIT_EXPECT_EQ(test, id, owner->id);
		KUNIT_EXPECT_EQ(test, charge(css, 1, &limit), 0);
		cdm_uncharge(id, IDX, limits[i]);
	}
	remove_group(css);
}

/* The lowest limit without room is the one to blame. */
static void lowest_limit(struct kunit *test)
{
	struct cgroup_subsys_state *a = make_group(test, root_css());
	struct cgroup_subsys_state *b = make_group(test, a);
	struct cdm_owner *limit = NULL;

	cdm_set_max(cdm_owner_of_css(a), IDX, 10);
	cdm_set_max(cdm_owner_of_css(b), IDX, 20);
	KUNIT_EXPECT_EQ(test, charge(b, 15, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, limit, cdm_owner_of_css(a));
	KUNIT_EXPECT_EQ(test, charge(b, 25, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, limit, cdm_owner_of_css(b));
	KUNIT_EXPECT_EQ(test, usage(a), 0);
	remove_group(b);
	remove_group(a);
}

/* What a removed group leaves behind is its parent's, and goes with its pages. */
static void removal_moves_charge(struct kunit *test)
{
	struct cgroup_subsys_state *a = make_group(test, root_css());
	struct cgroup_subsys_state *b = make_group(test, a);
	struct cgroup_subsys_state *c = make_group(test, b);
	unsigned long before = usage(root_css());
	struct cdm_owner *limit;
	u16 id_b, id_c;

	id_c = charge(c, 5, &limit);
	id_b = charge(b, 3, &limit);
	KUNIT_EXPECT_NE(test, id_b, id_c);
	KUNIT_EXPECT_EQ(test, usage(b), 8);
	remove_group(c);
	KUNIT_EXPECT_EQ(test, usage(b), 8);
	remove_group(b);
	KUNIT_EXPECT_EQ(test, usage(a), 8);

	cdm_uncharge(id_c, IDX, 2);
	KUNIT_EXPECT_EQ(test, usage(a), 6);
	cdm_uncharge(id_c, IDX, 3);
	cdm_uncharge(id_b, IDX, 3);
	KUNIT_EXPECT_EQ(test, usage(a), 0);
	KUNIT_EXPECT_EQ(test, usage(root_css()), before);
	remove_group(a);
}

/* Late charges to a removed group go to its nearest living ancestor. */
static void late_charge(struct kunit *test)
{
	struct cgroup_subsys_state *a = make_group(test, root_css());
	struct cgroup_subsys_state *b = make_group(test, a);
	struct cdm_owner *limit;
	u16 id;

	cdm_cgrp_subsys.css_offline(b);
	id = charge(b, 1, &limit);
	KUNIT_EXPECT_EQ(test, id, cdm_owner_of_css(a)->id);
	KUNIT_EXPECT_EQ(test, usage(a), 1);
	cdm_uncharge(id, IDX, 1);
	cdm_cgrp_subsys.css_released(b);
	synchronize_rcu();
	cdm_cgrp_subsys.css_free(b);
	remove_group(a);
}

#define MODEL_GROUPS	7
#define MODEL_STEPS	20000

/**
 * struct model - what must be true, in plain words
 * @css:	group i is the child of group (i - 1) / 2; 0 is a child of the root
 * @own:	pages charged to the group itself
 * @max:	its limit
 */
struct model {
	struct cgroup_subsys_state *css[MODEL_GROUPS];
	unsigned long own[MODEL_GROUPS];
	unsigned long max[MODEL_GROUPS];
};

static unsigned long model_usage(const struct model *m, int group)
{
	unsigned long sum = m->own[group];
	int child;

	for (child = 2 * group + 1; child <= 2 * group + 2 && child < MODEL_GROUPS; child++)
		sum += model_usage(m, child);
	return sum;
}

static bool model_fits(const struct model *m, int group, unsigned long nr)
{
	for (;; group = (group - 1) / 2) {
		if (model_usage(m, group) + nr > m->max[group])
			return false;
		if (!group)
			return true;
	}
}

static void model_step(struct kunit *test, struct model *m, struct rnd_state *rnd)
{
	static const unsigned int sizes[] = { 1, 1, 1, 2, 8, 63, 64, 65, 200, 512 };
	int group = prandom_u32_state(rnd) % MODEL_GROUPS;
	unsigned int nr = sizes[prandom_u32_state(rnd) % ARRAY_SIZE(sizes)];
	struct cdm_owner *owner = cdm_owner_of_css(m->css[group]), *limit;

	switch (prandom_u32_state(rnd) % 8) {
	case 0:
		m->max[group] = prandom_u32_state(rnd) % 4 ? prandom_u32_state(rnd) % 2000 :
				CDM_MAX;
		cdm_set_max(owner, IDX, m->max[group]);
		/* As a write to cdm.max does when usage is over. */
		cdm_drain(IDX);
		break;
	case 1 ... 4:
		if (model_fits(m, group, nr)) {
			KUNIT_ASSERT_EQ(test, charge(m->css[group], nr, &limit), owner->id);
			m->own[group] += nr;
		} else {
			KUNIT_ASSERT_EQ(test, charge(m->css[group], nr, &limit), 0);
		}
		break;
	default:
		nr = min_t(unsigned long, nr, m->own[group]);
		if (nr)
			cdm_uncharge(owner->id, IDX, nr);
		m->own[group] -= nr;
	}
	KUNIT_ASSERT_EQ(test, usage(m->css[group]), model_usage(m, group));
}

/* Random charges and limits, against the model after each step. */
static void model(struct kunit *test)
{
	unsigned long before = usage(root_css());
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	u32 seed = get_random_u32();
	struct rnd_state rnd;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	kunit_info(test, "seed %u", seed);
	prandom_seed_state(&rnd, seed);
	for (i = 0; i < MODEL_GROUPS; i++) {
		m->css[i] = make_group(test, i ? m->css[(i - 1) / 2] : root_css());
		m->max[i] = CDM_MAX;
	}
	for (i = 0; i < MODEL_STEPS; i++)
		model_step(test, m, &rnd);

	for (i = MODEL_GROUPS - 1; i >= 0; i--) {
		if (m->own[i])
			cdm_uncharge(cdm_owner_of_css(m->css[i])->id, IDX, m->own[i]);
		m->own[i] = 0;
		KUNIT_EXPECT_EQ(test, usage(m->css[i]), 0);
		remove_group(m->css[i]);
	}
	KUNIT_EXPECT_EQ(test, usage(root_css()), before);
}

static struct kunit_case cdm_cases[] = {
	KUNIT_CASE(parse_size),
	KUNIT_CASE(limit_is_exact),
	KUNIT_CASE(lowest_limit),
	KUNIT_CASE(removal_moves_charge),
	KUNIT_CASE(late_charge),
	KUNIT_CASE_SLOW(model),
	{ }
};

static struct kunit_suite cdm_suite = {
	.name = "cdm",
	.init = cdm_test_init,
	.test_cases = cdm_cases,
};

kunit_test_suite(cdm_suite);

MODULE_DESCRIPTION("KUnit tests of the cdm controller");
MODULE_LICENSE("GPL");
