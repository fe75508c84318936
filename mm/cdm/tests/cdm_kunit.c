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
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);

/*
 * Indices of nodes that are not there: fewer nodes than that have been added
 * when the tests run at boot.
 */
#define IDX	8
#define LATE_IDX	9

static uint seed;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one");

static void seed_state(struct kunit *test, struct rnd_state *rnd)
{
	u32 this_seed = seed ?: get_random_u32();

	kunit_info(test, "cdm_kunit.seed=%u", this_seed);
	prandom_seed_state(rnd, this_seed);
}

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
		cdm_set_limit(owner, IDX, CDM_LIMIT_MAX, limits[i]);
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

	cdm_set_limit(cdm_owner_of_css(a), IDX, CDM_LIMIT_MAX, 10);
	cdm_set_limit(cdm_owner_of_css(b), IDX, CDM_LIMIT_MAX, 20);
	KUNIT_EXPECT_EQ(test, charge(b, 15, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, limit, cdm_owner_of_css(a));
	KUNIT_EXPECT_EQ(test, charge(b, 25, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, limit, cdm_owner_of_css(b));
	KUNIT_EXPECT_EQ(test, usage(a), 0);
	remove_group(b);
	remove_group(a);
}

/* One child of the protected group: what it has, asks for and keeps. */
struct protected_child {
	unsigned int usage;
	unsigned long low;
	unsigned long elow;
	unsigned long elow_recursive;
	struct cgroup_subsys_state *css;
};

/* What reclaim from @root's subtree may take of @css, for protection of @elow. */
static void expect_share(struct kunit *test, struct cgroup_subsys_state *root,
			 struct cgroup_subsys_state *css, unsigned long pages, unsigned long elow)
{
	unsigned long kept = elow ? elow + CDM_RECLAIM_BATCH - 1 : 0;
	struct cdm_share share;

	cdm_get_share(cdm_owner_of_css(css), cdm_owner_of_css(root), IDX, &share);
	KUNIT_EXPECT_EQ(test, share.pages, kept ? pages - min(pages, kept) : ULONG_MAX);
	KUNIT_EXPECT_EQ(test, share.low, pages && pages <= kept);
}

/* @child of @unit pages each, in a group with protection @low */
static void expect_tree(struct kunit *test, unsigned long low, struct protected_child *child,
			unsigned int nr, unsigned int unit, bool recursive)
{
	struct cgroup_subsys_state *top = make_group(test, root_css());
	struct cgroup_subsys_state *mid = make_group(test, top);
	unsigned int old = cgrp_dfl_root.flags, i, n;
	unsigned long sum = 0, elow;
	struct cdm_owner *limit;

	if (recursive)
		cgrp_dfl_root.flags |= CGRP_ROOT_MEMORY_RECURSIVE_PROT;
	else
		cgrp_dfl_root.flags &= ~CGRP_ROOT_MEMORY_RECURSIVE_PROT;
	low *= unit;
	cdm_set_limit(cdm_owner_of_css(mid), IDX, CDM_LIMIT_LOW, low);
	for (i = 0; i < nr; i++) {
		child[i].css = make_group(test, mid);
		cdm_set_limit(cdm_owner_of_css(child[i].css), IDX, CDM_LIMIT_LOW,
			      child[i].low * unit);
		for (n = 0; n < child[i].usage; n++)
			KUNIT_EXPECT_NE(test, charge(child[i].css, unit, &limit), 0);
		sum += (unsigned long)child[i].usage * unit;
	}
	cdm_drain(IDX);
	for (i = 0; i < nr; i++) {
		unsigned long pages = (unsigned long)child[i].usage * unit;

		elow = unit / 100 * (recursive ? child[i].elow_recursive : child[i].elow);
		expect_share(test, top, child[i].css, pages, elow);
		/* Its own low does not hold against itself. */
		expect_share(test, child[i].css, child[i].css, pages, 0);
	}
	expect_share(test, top, mid, sum, low);
	for (i = 0; i < nr; i++) {
		for (n = 0; n < child[i].usage; n++)
			cdm_uncharge(cdm_owner_of_css(child[i].css)->id, IDX, unit);
		remove_group(child[i].css);
	}
	cgrp_dfl_root.flags = old;
	KUNIT_EXPECT_EQ(test, usage(mid), 0);
	remove_group(mid);
	remove_group(top);
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
	/* Less: 20 claimed of 50; 30 for 20, 60 and 0 pages beyond the claims. */
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
		expect_tree(test, 50, under, ARRAY_SIZE(under), units[i], false);
		expect_tree(test, 50, under, ARRAY_SIZE(under), units[i], true);
	}
}

/* A group is entitled to what it would still be protected with. */
static void entitled(struct kunit *test)
{
	struct cgroup_subsys_state *a = make_group(test, root_css());
	struct cgroup_subsys_state *b = make_group(test, a);
	struct cdm_owner *top = cdm_owner_of_css(root_css()), *limit;
	struct cdm_owner *owner = cdm_owner_of_css(b);

	KUNIT_EXPECT_FALSE(test, cdm_entitled(owner, top, IDX, 1));
	cdm_set_limit(owner, IDX, CDM_LIMIT_LOW, 100);
	/* The parent has nothing to pass on. */
	KUNIT_EXPECT_FALSE(test, cdm_entitled(owner, top, IDX, 1));
	KUNIT_EXPECT_TRUE(test, cdm_entitled(owner, cdm_owner_of_css(a), IDX, 100));
	KUNIT_EXPECT_FALSE(test, cdm_entitled(owner, cdm_owner_of_css(a), IDX, 101));
	cdm_set_limit(cdm_owner_of_css(a), IDX, CDM_LIMIT_LOW, 70);
	KUNIT_EXPECT_TRUE(test, cdm_entitled(owner, top, IDX, 70));
	KUNIT_EXPECT_FALSE(test, cdm_entitled(owner, top, IDX, 71));
	/* What waits in a stock is not used. */
	KUNIT_EXPECT_NE(test, charge(b, 30, &limit), 0);
	KUNIT_EXPECT_TRUE(test, cdm_entitled(owner, top, IDX, 40));
	KUNIT_EXPECT_FALSE(test, cdm_entitled(owner, top, IDX, 41));
	KUNIT_EXPECT_FALSE(test, cdm_entitled(owner, owner, IDX, 1));
	cdm_uncharge(owner->id, IDX, 30);
	remove_group(b);
	KUNIT_EXPECT_TRUE(test, cdm_entitled(cdm_owner_of_css(a), top, IDX, 70));
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

/*
 * A node that appears when there are groups: they can be charged there, with
 * the same limits, and what they have elsewhere is not touched.
 */
static void new_node(struct kunit *test)
{
	struct cgroup_subsys_state *a = make_group(test, root_css());
	struct cgroup_subsys_state *b = make_group(test, a);
	struct cdm_owner *owner = cdm_owner_of_css(b), *limit;
	u16 id, late;

	if (cdm_owner_of_css(root_css())->counter[LATE_IDX])
		kunit_skip(test, "only once after a boot");
	id = charge(b, 7, &limit);
	KUNIT_EXPECT_EQ(test, cdm_usage(owner, LATE_IDX), 0);
	KUNIT_ASSERT_EQ(test, cdm_cgroup_add_node(LATE_IDX, NUMA_NO_NODE), 0);
	cdm_set_limit(cdm_owner_of_css(a), LATE_IDX, CDM_LIMIT_MAX, 3);
	rcu_read_lock();
	KUNIT_EXPECT_EQ(test, cdm_try_charge(owner, LATE_IDX, 4, &limit), 0);
	late = cdm_try_charge(owner, LATE_IDX, 3, &limit);
	rcu_read_unlock();
	KUNIT_EXPECT_EQ(test, late, id);
	KUNIT_EXPECT_EQ(test, cdm_usage(cdm_owner_of_css(a), LATE_IDX), 3);
	KUNIT_EXPECT_EQ(test, usage(a), 7);

	/* Gone with charges on both nodes, which end one after the other. */
	remove_group(b);
	cdm_uncharge(id, IDX, 7);
	KUNIT_EXPECT_EQ(test, usage(a), 0);
	KUNIT_EXPECT_EQ(test, cdm_usage(cdm_owner_of_css(a), LATE_IDX), 3);
	cdm_uncharge(late, LATE_IDX, 3);
	KUNIT_EXPECT_EQ(test, cdm_usage(cdm_owner_of_css(a), LATE_IDX), 0);
	remove_group(a);
}

#define MODEL_GROUPS	15
#define MODEL_STEPS	100000
#define MODEL_ORPHANS	256

/**
 * struct orphans - pages that a removed group left behind
 * @id:		who they are charged to
 * @nr:		how many there are still
 * @heir:	group whose usage holds them, or -1 for the root
 */
struct orphans {
	u16 id;
	unsigned long nr;
	int heir;
};

/**
 * struct model - what must be true, in plain words
 * @css:	group i is the child of group (i - 1) / 2, and group 0 of the root;
 *		NULL: removed
 * @own:	pages charged to the group itself
 * @left:	pages that removed groups left to it
 * @max:	its limit
 * @charged:	pages that were ever charged to it or to those below it
 * @orphans:	what removed groups left
 * @gone:	removed groups, to be freed after a grace period
 * @nr_gone:	entries of @gone
 * @rnd:	where chance comes from
 */
struct model {
	struct cgroup_subsys_state *css[MODEL_GROUPS];
	unsigned long own[MODEL_GROUPS];
	unsigned long left[MODEL_GROUPS];
	unsigned long max[MODEL_GROUPS];
	unsigned long charged[MODEL_GROUPS];
	struct orphans orphans[MODEL_ORPHANS];
	struct cgroup_subsys_state *gone[64];
	unsigned int nr_gone;
	struct rnd_state rnd;
};

static int model_parent(int group)
{
	return group ? (group - 1) / 2 : -1;
}

static bool model_has_child(const struct model *m, int group)
{
	int child = 2 * group + 1;

	return child + 1 < MODEL_GROUPS && (m->css[child] || m->css[child + 1]);
}

static unsigned long model_usage(const struct model *m, int group)
{
	unsigned long sum = m->own[group] + m->left[group];
	int child;

	for (child = 2 * group + 1; child <= 2 * group + 2 && child < MODEL_GROUPS; child++)
		if (m->css[child])
			sum += model_usage(m, child);
	return sum;
}

static bool model_fits(const struct model *m, int group, unsigned long nr)
{
	for (; group >= 0; group = model_parent(group))
		if (model_usage(m, group) + nr > m->max[group])
			return false;
	return true;
}

/**
 * struct remote - a charge or uncharge on another CPU
 * @css:	group to charge
 * @id:		owner to uncharge, or what the charge returned
 * @nr:		pages
 */
struct remote {
	struct cgroup_subsys_state *css;
	u16 id;
	unsigned int nr;
};

static unsigned int other_cpu(void)
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());

	return cpu < nr_cpu_ids ? cpu : raw_smp_processor_id();
}

static long remote_charge(void *arg)
{
	struct remote *r = arg;
	struct cdm_owner *limit;

	r->id = charge(r->css, r->nr, &limit);
	return 0;
}

static void remote_uncharge(void *arg)
{
	struct remote *r = arg;

	cdm_uncharge(r->id, IDX, r->nr);
}

/* On whichever CPU, so that stocks are filled and emptied on different ones. */
static void model_uncharge(struct model *m, u16 id, unsigned int nr)
{
	struct remote r = { .id = id, .nr = nr };

	if (!nr)
		return;
	if (prandom_u32_state(&m->rnd) % 4)
		cdm_uncharge(id, IDX, nr);
	else
		smp_call_function_single(other_cpu(), remote_uncharge, &r, true);
}

static u16 model_charge(struct model *m, int group, unsigned int nr)
{
	struct remote r = { .css = m->css[group], .nr = nr };
	struct cdm_owner *limit;

	if (prandom_u32_state(&m->rnd) % 32)
		return charge(m->css[group], nr, &limit);
	work_on_cpu(other_cpu(), remote_charge, &r);
	return r.id;
}

static void model_free_gone(struct model *m)
{
	synchronize_rcu();
	while (m->nr_gone)
		cdm_cgrp_subsys.css_free(m->gone[--m->nr_gone]);
}

/* The pages of a group that goes are its parent's, with those it had taken over. */
static void model_remove(struct model *m, int group)
{
	struct cgroup_subsys_state *css = m->css[group];
	u16 id = cdm_owner_of_css(css)->id;
	int i, heir = model_parent(group);

	for (i = 0; i < MODEL_ORPHANS && m->orphans[i].nr; i++)
		;
	if (model_has_child(m, group) || i == MODEL_ORPHANS)
		return;
	cdm_cgrp_subsys.css_offline(css);
	cdm_cgrp_subsys.css_released(css);
	m->gone[m->nr_gone++] = css;
	m->css[group] = NULL;
	m->orphans[i].id = id;
	m->orphans[i].nr = m->own[group];
	m->orphans[i].heir = group;
	if (heir >= 0)
		m->left[heir] += m->own[group] + m->left[group];
	m->own[group] = 0;
	m->left[group] = 0;
	for (i = 0; i < MODEL_ORPHANS; i++)
		if (m->orphans[i].heir == group)
			m->orphans[i].heir = heir;
	if (m->nr_gone == ARRAY_SIZE(m->gone))
		model_free_gone(m);
}

static void model_make(struct kunit *test, struct model *m, int group)
{
	int parent = model_parent(group);

	if (parent >= 0 && !m->css[parent])
		return;
	m->css[group] = make_group(test, parent < 0 ? root_css() : m->css[parent]);
	m->max[group] = CDM_MAX;
	m->charged[group] = 0;
}

static void model_uncharge_orphan(struct model *m, unsigned int nr)
{
	struct orphans *o = &m->orphans[prandom_u32_state(&m->rnd) % MODEL_ORPHANS];

	nr = min_t(unsigned long, nr, o->nr);
	o->nr -= nr;
	if (o->heir >= 0)
		m->left[o->heir] -= nr;
	model_uncharge(m, o->id, nr);
}

static void model_step(struct kunit *test, struct model *m)
{
	int group = prandom_u32_state(&m->rnd) % MODEL_GROUPS;
	unsigned int nr = 1 + prandom_u32_state(&m->rnd) %
			  (prandom_u32_state(&m->rnd) % 2 ? 4 : 512);
	struct cdm_owner *owner;
	unsigned long used;
	int i;

	if (!m->css[group]) {
		model_make(test, m, group);
		return;
	}
	owner = cdm_owner_of_css(m->css[group]);
	switch (prandom_u32_state(&m->rnd) % 64) {
	case 0:
		if (!(prandom_u32_state(&m->rnd) % 4))
			model_remove(m, group);
		break;
	case 1 ... 7:
		m->max[group] = prandom_u32_state(&m->rnd) % 4 ?
				prandom_u32_state(&m->rnd) % 3000 : CDM_MAX;
		cdm_set_limit(owner, IDX, CDM_LIMIT_MAX, m->max[group]);
		/* As a write to cdm.max does when usage is over. */
		cdm_drain(IDX);
		break;
	case 8 ... 35:
		if (model_fits(m, group, nr)) {
			KUNIT_ASSERT_EQ(test, model_charge(m, group, nr), owner->id);
			m->own[group] += nr;
			for (i = group; i >= 0; i = model_parent(i))
				m->charged[i] += nr;
		} else {
			KUNIT_ASSERT_EQ(test, model_charge(m, group, nr), 0);
		}
		break;
	case 36 ... 45:
		model_uncharge_orphan(m, nr);
		break;
	default:
		nr = min_t(unsigned long, nr, m->own[group]);
		m->own[group] -= nr;
		model_uncharge(m, owner->id, nr);
	}
	if (m->css[group]) {
		KUNIT_ASSERT_EQ(test, cdm_charged(owner, IDX, &used), m->charged[group]);
		KUNIT_ASSERT_EQ(test, used, model_usage(m, group));
	}
}

static void model_end(struct kunit *test, struct model *m)
{
	int i;

	for (i = MODEL_GROUPS - 1; i >= 0; i--) {
		if (!m->css[i])
			continue;
		KUNIT_EXPECT_EQ(test, usage(m->css[i]), model_usage(m, i));
		model_uncharge(m, cdm_owner_of_css(m->css[i])->id, m->own[i]);
		m->own[i] = 0;
		while (m->nr_gone == ARRAY_SIZE(m->gone))
			model_free_gone(m);
		cdm_cgrp_subsys.css_offline(m->css[i]);
		cdm_cgrp_subsys.css_released(m->css[i]);
		m->gone[m->nr_gone++] = m->css[i];
	}
	/* Orphans of groups that are all gone by now. */
	for (i = 0; i < MODEL_ORPHANS; i++)
		model_uncharge(m, m->orphans[i].id, m->orphans[i].nr);
	model_free_gone(m);
}

/*
 * Random charges and uncharges on any CPU, limits, and groups that come and go
 * with pages charged to them, against the model after each step.
 */
static void model(struct kunit *test)
{
	unsigned long before = usage(root_css());
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	seed_state(test, &m->rnd);
	for (i = 0; i < MODEL_ORPHANS; i++)
		m->orphans[i].heir = -1;
	for (i = 0; i < MODEL_GROUPS; i++)
		model_make(test, m, i);
	for (i = 0; i < MODEL_STEPS; i++) {
		model_step(test, m);
		if (!(i % 1024))
			cond_resched();
	}
	model_end(test, m);
	KUNIT_EXPECT_EQ(test, usage(root_css()), before);
}

#define ID_CYCLES	100000
#define ID_BATCH	1000

static bool id_used(unsigned int id)
{
	bool used;

	rcu_read_lock();
	used = cdm_owner_by_id(id);
	rcu_read_unlock();
	return used;
}

/* Groups that come, are charged, go, and only then lose their pages. */
static void id_batch(struct kunit *test, struct cgroup_subsys_state **css, u16 *ids, int batch)
{
	struct cdm_owner *limit;
	int i;

	for (i = 0; i < ID_BATCH; i++) {
		css[i] = make_group(test, root_css());
		/* No more than asked for, but for some: that spares a drain each. */
		if ((i + batch) % 16)
			cdm_set_limit(cdm_owner_of_css(css[i]), IDX, CDM_LIMIT_MAX, 1 + i % 512);
		ids[i] = charge(css[i], 1 + i % 512, &limit);
		KUNIT_ASSERT_EQ(test, ids[i], cdm_owner_of_css(css[i])->id);
	}
	for (i = 0; i < ID_BATCH; i++) {
		cdm_cgrp_subsys.css_offline(css[i]);
		cdm_cgrp_subsys.css_released(css[i]);
	}
	synchronize_rcu();
	for (i = 0; i < ID_BATCH; i++) {
		cdm_cgrp_subsys.css_free(css[i]);
		/* The pages hold it. */
		KUNIT_ASSERT_TRUE(test, id_used(ids[i]));
		cdm_uncharge(ids[i], IDX, 1 + i % 512);
	}
	cond_resched();
}

/*
 * Ids are used again, more often than there are, and none is left behind or
 * given to two.
 */
static void id_reuse(struct kunit *test)
{
	struct cgroup_subsys_state **css = kunit_kcalloc(test, ID_BATCH, sizeof(*css), GFP_KERNEL);
	u16 *ids = kunit_kcalloc(test, ID_BATCH, sizeof(*ids), GFP_KERNEL);
	unsigned long *had = kunit_kzalloc(test, BITS_TO_LONGS(65536) * sizeof(long), GFP_KERNEL);
	unsigned long before = usage(root_css()), end;
	unsigned int i, left, wraps = 0;
	u16 last = 0;

	KUNIT_ASSERT_TRUE(test, css && ids && had);
	for (i = 1; i <= U16_MAX; i++)
		__assign_bit(i, had, id_used(i));
	for (i = 0; i < ID_CYCLES / ID_BATCH; i++) {
		id_batch(test, css, ids, i);
		wraps += ids[ID_BATCH - 1] < last;
		last = ids[ID_BATCH - 1];
	}
	KUNIT_EXPECT_GE(test, wraps, 1);
	KUNIT_EXPECT_EQ(test, usage(root_css()), before);

	/* They are freed by a worker. */
	end = jiffies + 10 * HZ;
	do {
		cdm_drain(IDX);
		for (left = 0, i = 1; i <= U16_MAX; i++)
			left += id_used(i) && !test_bit(i, had);
		if (left)
			msleep(20);
	} while (left && time_before(jiffies, end));
	KUNIT_EXPECT_EQ(test, left, 0);
}

/*
 * Contiguous allocation, which no system call does: charged, within the limit,
 * and given back whole. Needs a CDM node at boot, and nobody who uses it.
 */
static void contiguous(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct cdm_owner *root = cdm_owner_of_css(root_css());
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

	cdm_drain(idx);
	cdm_set_limit(root, idx, CDM_LIMIT_MAX, before + nr - 1);
	KUNIT_EXPECT_NULL(test, alloc_contig_pages(nr, gfp, nid, NULL));
	cdm_set_limit(root, idx, CDM_LIMIT_MAX, CDM_MAX);
	KUNIT_EXPECT_EQ(test, cdm_usage(root, idx), before);
}

/* The bulk allocator, from which user space gets kernel memory only. */
static void in_bulk(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct cdm_owner *root = cdm_owner_of_css(root_css());
	unsigned long before, nr = 0, got;
	struct page *pages[50] = { };
	int idx, nid;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	nid = first_node(cdm_nodes);
	idx = cdm_node_idx(nid);
	before = cdm_usage(root, idx);

	/* It may give less than it was asked for. */
	while ((got = alloc_pages_bulk_array_node(gfp, nid, ARRAY_SIZE(pages), pages)) > nr)
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
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_NOWARN;
	nodemask_t none = NODE_MASK_NONE;
	int nid;

	if (nodes_empty(cdm_nodes))
		kunit_skip(test, "no node");
	for_each_online_node(nid)
		KUNIT_EXPECT_NULL(test, __alloc_pages(gfp, 0, nid, &none));
}

static unsigned long replaced_counts(struct kunit *test, struct mem_cgroup *memcg, int nid)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN;
	struct page *old = alloc_page(GFP_HIGHUSER), *new = alloc_pages_node(nid, gfp, 0);
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
 * Page cache that is replaced by a page that a driver brings, uncharged: it counts
 * as RAM if it is RAM. No program can do that. The memcg is never online, and so
 * keeps its id.
 */
static void replaced(struct kunit *test)
{
	struct cgroup_subsys_state *root = &root_mem_cgroup->css, *css;

	if (nodes_empty(cdm_nodes) || !cdm_not_ram())
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
	struct cdm_owner *root = cdm_owner_of_css(root_css());
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

static struct kunit_case cdm_cases[] = {
	KUNIT_CASE(parse_size),
	KUNIT_CASE(limit_is_exact),
	KUNIT_CASE(lowest_limit),
	KUNIT_CASE(protection),
	KUNIT_CASE(entitled),
	KUNIT_CASE(removal_moves_charge),
	KUNIT_CASE(late_charge),
	KUNIT_CASE(new_node),
	KUNIT_CASE(contiguous),
	KUNIT_CASE(in_bulk),
	KUNIT_CASE(no_node),
	KUNIT_CASE(replaced),
	KUNIT_CASE(poisoned),
	KUNIT_CASE_SLOW(model),
	KUNIT_CASE_SLOW(id_reuse),
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
