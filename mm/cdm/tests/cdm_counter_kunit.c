// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the counters of coherent device memory: limits, stocks,
 * removal of groups, ids
 */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/prandom.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "cdm_kunit.h"

/* Another index that no node has, for one that comes late. */
#define LATE_IDX	9

static uint seed;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "Seed of the random tests, 0 for a new one");

static void seed_state(struct kunit *test, struct rnd_state *rnd)
{
	u32 this_seed = seed ?: get_random_u32();

	kunit_info(test, KBUILD_MODNAME ".seed=%u", this_seed);
	prandom_seed_state(rnd, this_seed);
}

/* A limit of N pages allows exactly N pages, page by page and at once. */
static void limit_is_exact(struct kunit *test)
{
	static const unsigned int limits[] = {
		0, 1, 2, 63, 64, 65, 127, 129, 1000,
	};
	struct cdm_owner *owner = make_owner(test, cdm_root_owner);
	struct cdm_owner *limit;
	unsigned int i, n;
	u16 id;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		cdm_set_setting(owner, IDX, CDM_SETTING_MAX, limits[i]);
		for (n = 0; charge(owner, 1, &limit); n++)
			;
		KUNIT_EXPECT_EQ(test, n, limits[i]);
		KUNIT_EXPECT_PTR_EQ(test, limit, owner);
		KUNIT_EXPECT_EQ(test, usage(owner), limits[i]);
		for (; n; n--)
			cdm_uncharge(owner->id, IDX, 1);
		KUNIT_EXPECT_EQ(test, usage(owner), 0);

		KUNIT_EXPECT_EQ(test, charge(owner, limits[i] + 1, &limit), 0);
		if (!limits[i])
			continue;
		id = charge(owner, limits[i], &limit);
		KUNIT_EXPECT_EQ(test, id, owner->id);
		KUNIT_EXPECT_EQ(test, charge(owner, 1, &limit), 0);
		cdm_uncharge(id, IDX, limits[i]);
	}
	remove_owner(owner);
}

/* The lowest limit without room is the one to blame. */
static void lowest_limit(struct kunit *test)
{
	struct cdm_owner *a = make_owner(test, cdm_root_owner);
	struct cdm_owner *b = make_owner(test, a);
	struct cdm_owner *limit = NULL;

	cdm_set_setting(a, IDX, CDM_SETTING_MAX, 10);
	cdm_set_setting(b, IDX, CDM_SETTING_MAX, 20);
	KUNIT_EXPECT_EQ(test, charge(b, 15, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, limit, a);
	KUNIT_EXPECT_EQ(test, charge(b, 25, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, limit, b);
	KUNIT_EXPECT_EQ(test, usage(a), 0);
	remove_owner(b);
	remove_owner(a);
}

/* A limit is full when there is no room, and nothing in any stock. */
static void full_limit(struct kunit *test)
{
	struct cdm_owner *owner = make_owner(test, cdm_root_owner), *limit;
	struct cdm_counter *c = owner->counter[IDX];

	cdm_set_setting(owner, IDX, CDM_SETTING_MAX, 1000);
	KUNIT_EXPECT_EQ(test, charge(owner, 2, &limit), owner->id);
	rcu_read_lock();
	KUNIT_EXPECT_NULL(test, cdm_full_limit(owner, IDX));
	/* Over the limit by what was charged ahead. */
	KUNIT_EXPECT_GT(test, c->usage, 2);
	cdm_set_setting(owner, IDX, CDM_SETTING_MAX, 2);
	KUNIT_EXPECT_NULL(test, cdm_full_limit(owner, IDX));
	KUNIT_EXPECT_FALSE(test, cdm_make_fit(owner, IDX, 1, &limit));
	KUNIT_EXPECT_EQ(test, c->usage, 2);
	/* Only a request that has found no room says so. */
	KUNIT_EXPECT_NULL(test, cdm_full_limit(owner, IDX));
	KUNIT_EXPECT_EQ(test, cdm_try_charge(owner, IDX, 1, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, cdm_full_limit(owner, IDX), owner);
	/* Over it by a page in use: what is freed waits nowhere. */
	cdm_set_setting(owner, IDX, CDM_SETTING_MAX, 1);
	KUNIT_EXPECT_NULL(test, cdm_full_limit(owner, IDX));
	cdm_uncharge(owner->id, IDX, 1);
	KUNIT_EXPECT_EQ(test, c->usage, 1);
	KUNIT_EXPECT_FALSE(test, c->in_stock);
	KUNIT_EXPECT_EQ(test, cdm_try_charge(owner, IDX, 1, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, cdm_full_limit(owner, IDX), owner);
	/* A page that is freed may wait in a stock: that is not full. */
	cdm_uncharge(owner->id, IDX, 1);
	KUNIT_EXPECT_NULL(test, cdm_full_limit(owner, IDX));
	rcu_read_unlock();
	KUNIT_EXPECT_EQ(test, usage(owner), 0);
	remove_owner(owner);
}

/**
 * struct remote - a charge or uncharge on another CPU
 * @owner:	group to charge
 * @id:		owner to uncharge, or what the charge returned
 * @nr:		pages
 */
struct remote {
	struct cdm_owner *owner;
	u16 id;
	unsigned int nr;
};

static unsigned int other_cpu(void)
{
	unsigned int cpu =
		cpumask_any_but(cpu_online_mask, raw_smp_processor_id());

	return cpu < nr_cpu_ids ? cpu : raw_smp_processor_id();
}

static long remote_charge(void *arg)
{
	struct remote *r = arg;
	struct cdm_owner *limit;

	r->id = charge(r->owner, r->nr, &limit);
	return 0;
}

static void remote_uncharge(void *arg)
{
	struct remote *r = arg;

	cdm_uncharge(r->id, IDX, r->nr);
}

static u16 charge_there(struct cdm_owner *owner, unsigned int nr)
{
	struct remote r = { .owner = owner, .nr = nr };

	work_on_cpu(other_cpu(), remote_charge, &r);
	return r.id;
}

static void uncharge_there(u16 id, unsigned int nr)
{
	struct remote r = { .id = id, .nr = nr };

	smp_call_function_single(other_cpu(), remote_uncharge, &r, true);
}

/* Pages of @owner that wait in the stock of the CPU that others run on. */
static unsigned int stock_there(const struct cdm_owner *owner)
{
	const struct cdm_stock *stock = per_cpu_ptr(&cdm_stock, other_cpu());
	u64 slot = READ_ONCE(stock->slot[SLOT_NUMBER(owner->id, IDX)]);

	return slot >> 32 == SLOT_KEY(owner->id, IDX) >> 32 ?
		       (u16)(slot >> 16) : 0;
}

/* Neighbours whose pages are in different slots of a stock. */
static void make_neighbours(struct kunit *test, struct cdm_owner **a,
			    struct cdm_owner **b)
{
	*a = make_owner(test, cdm_root_owner);
	*b = make_owner(test, cdm_root_owner);
	KUNIT_ASSERT_NE(test, SLOT_NUMBER((*a)->id, IDX),
			SLOT_NUMBER((*b)->id, IDX));
}

/*
 * A limit that is met takes from its own subtree's stocks alone, and the CPU
 * that was interrupted keeps none of it for a while. Nothing is refused for
 * that.
 */
static void drain_own(struct kunit *test)
{
	struct cdm_owner *a, *b, *child, *limit;
	unsigned int kept;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	make_neighbours(test, &a, &b);
	child = make_owner(test, a);
	migrate_disable();
	cdm_set_setting(a, IDX, CDM_SETTING_MAX, 400);
	KUNIT_EXPECT_EQ(test, charge_there(b, 1), b->id);
	kept = stock_there(b);
	KUNIT_EXPECT_GT(test, kept, 0);
	KUNIT_EXPECT_EQ(test, charge_there(child, 1), child->id);
	KUNIT_EXPECT_GT(test, stock_there(child), 0);

	/* All that is left, what waits there included. */
	KUNIT_EXPECT_EQ(test, charge(child, 399, &limit), child->id);
	KUNIT_EXPECT_EQ(test, stock_there(child), 0);
	KUNIT_EXPECT_EQ(test, stock_there(b), kept);
	KUNIT_EXPECT_EQ(test, charge(child, 1, &limit), 0);
	KUNIT_EXPECT_PTR_EQ(test, limit, a);

	/* Freed there, it does not stay, and can be had here at once. */
	a->counter[IDX]->keep_after = jiffies + HZ * 1000;
	uncharge_there(child->id, 1);
	KUNIT_EXPECT_EQ(test, stock_there(child), 0);
	rcu_read_lock();
	KUNIT_EXPECT_EQ(test, cdm_try_charge(child, IDX, 1, &limit),
			child->id);
	rcu_read_unlock();
	a->counter[IDX]->keep_after = jiffies;
	uncharge_there(child->id, 1);
	KUNIT_EXPECT_EQ(test, stock_there(child), 1);
	migrate_enable();

	cdm_uncharge(child->id, IDX, 399);
	cdm_uncharge(b->id, IDX, 1);
	remove_owner(child);
	remove_owner(a);
	remove_owner(b);
}

/* Readers leave what waits in stocks where it is. */
static void reading(struct kunit *test)
{
	struct cdm_owner *owner = make_owner(test, cdm_root_owner);
	unsigned long used;
	unsigned int kept;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	migrate_disable();
	KUNIT_EXPECT_EQ(test, charge_there(owner, 3), owner->id);
	KUNIT_EXPECT_EQ(test, charge_there(owner, 4), owner->id);
	kept = stock_there(owner);
	KUNIT_EXPECT_GT(test, kept, 0);
	KUNIT_EXPECT_EQ(test, cdm_charged(owner, IDX, &used), 7);
	KUNIT_EXPECT_EQ(test, used, 7);
	KUNIT_EXPECT_EQ(test, usage(owner), 7);
	KUNIT_EXPECT_EQ(test, stock_there(owner), kept);
	migrate_enable();
	cdm_uncharge(owner->id, IDX, 7);
	KUNIT_EXPECT_EQ(test, cdm_charged(owner, IDX, &used), 7);
	KUNIT_EXPECT_EQ(test, used, 0);
	remove_owner(owner);
}

/* A charge for which there was no page does not count as one. */
static void cancelled(struct kunit *test)
{
	static const unsigned int nr[] = { 1, 1, 16, 127, 128, 512, 1 };
	struct cdm_owner *owner = make_owner(test, cdm_root_owner), *limit;
	unsigned long used;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		KUNIT_EXPECT_EQ(test, charge(owner, nr[i], &limit), owner->id);
		cdm_cancel_charge(owner->id, IDX, nr[i]);
		KUNIT_EXPECT_EQ(test, cdm_charged(owner, IDX, &used), 0);
		KUNIT_EXPECT_EQ(test, used, 0);
	}
	/* Charged on one CPU, cancelled on another. */
	KUNIT_EXPECT_EQ(test, charge_there(owner, 1), owner->id);
	KUNIT_EXPECT_EQ(test, charge_there(owner, 1), owner->id);
	cdm_cancel_charge(owner->id, IDX, 1);
	KUNIT_EXPECT_EQ(test, cdm_charged(owner, IDX, &used), 1);
	KUNIT_EXPECT_EQ(test, used, 1);
	cdm_uncharge(owner->id, IDX, 1);
	remove_owner(owner);
}

/*
 * A huge page of a pool is charged where nobody can wait: once it fits, stocks
 * do not take the room again.
 */
static void make_fit(struct kunit *test)
{
	struct cdm_owner *owner = make_owner(test, cdm_root_owner), *limit;
	unsigned int i;

	cdm_set_setting(owner, IDX, CDM_SETTING_MAX, 600);
	KUNIT_EXPECT_EQ(test, charge(owner, 1, &limit), owner->id);
	KUNIT_EXPECT_EQ(test, charge_there(owner, 1), owner->id);
	rcu_read_lock();
	KUNIT_EXPECT_FALSE(test, cdm_make_fit(owner, IDX, 599, &limit));
	KUNIT_EXPECT_PTR_EQ(test, limit, owner);
	KUNIT_EXPECT_TRUE(test, cdm_make_fit(owner, IDX, 500, &limit));
	owner->counter[IDX]->keep_after = jiffies + HZ * 1000;
	rcu_read_unlock();
	for (i = 0; i < 98; i++)
		KUNIT_EXPECT_EQ(test, charge_there(owner, 1), owner->id);
	rcu_read_lock();
	KUNIT_EXPECT_EQ(test, cdm_try_charge(owner, IDX, 500, &limit),
			owner->id);
	rcu_read_unlock();
	cdm_uncharge(owner->id, IDX, 500);
	cdm_uncharge(owner->id, IDX, 100);
	remove_owner(owner);
}

/* Groups below each other, which a charge has to go through. */
static void depth(struct kunit *test)
{
	struct cdm_owner **owner, *more, *limit;
	int i;

	owner = kunit_kcalloc(test, CDM_MAX_DEPTH, sizeof(*owner), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, owner);
	for (i = 0; i < CDM_MAX_DEPTH; i++)
		owner[i] = make_owner(test, i ? owner[i - 1] : cdm_root_owner);
	more = cdm_owner_create(owner[CDM_MAX_DEPTH - 1], NULL);
	KUNIT_EXPECT_TRUE(test, IS_ERR(more));
	KUNIT_EXPECT_EQ(test, PTR_ERR(more), -EAGAIN);
	KUNIT_EXPECT_EQ(test, charge(owner[CDM_MAX_DEPTH - 1], 5, &limit),
			owner[CDM_MAX_DEPTH - 1]->id);
	KUNIT_EXPECT_EQ(test, usage(owner[0]), 5);
	cdm_uncharge(owner[CDM_MAX_DEPTH - 1]->id, IDX, 5);
	for (i = CDM_MAX_DEPTH - 1; i >= 0; i--) {
		cdm_owner_offline(owner[i]);
		cdm_owner_detach(owner[i]);
	}
	synchronize_rcu();
	for (i = CDM_MAX_DEPTH - 1; i >= 0; i--)
		cdm_owner_release(owner[i]);
}

/*
 * What a removed group leaves behind is its parent's, and goes with its pages.
 */
static void removal_moves_charge(struct kunit *test)
{
	struct cdm_owner *a = make_owner(test, cdm_root_owner);
	struct cdm_owner *b = make_owner(test, a);
	struct cdm_owner *c = make_owner(test, b);
	unsigned long before = usage(cdm_root_owner);
	struct cdm_owner *limit;
	u16 id_b, id_c;

	id_c = charge(c, 5, &limit);
	id_b = charge(b, 3, &limit);
	KUNIT_EXPECT_NE(test, id_b, id_c);
	KUNIT_EXPECT_EQ(test, usage(b), 8);
	remove_owner(c);
	KUNIT_EXPECT_EQ(test, usage(b), 8);
	remove_owner(b);
	KUNIT_EXPECT_EQ(test, usage(a), 8);

	cdm_uncharge(id_c, IDX, 2);
	KUNIT_EXPECT_EQ(test, usage(a), 6);
	cdm_uncharge(id_c, IDX, 3);
	cdm_uncharge(id_b, IDX, 3);
	KUNIT_EXPECT_EQ(test, usage(a), 0);
	KUNIT_EXPECT_EQ(test, usage(cdm_root_owner), before);
	remove_owner(a);
}

/* Late charges to a removed group go to its nearest living ancestor. */
static void late_charge(struct kunit *test)
{
	struct cdm_owner *a = make_owner(test, cdm_root_owner);
	struct cdm_owner *b = make_owner(test, a);
	struct cdm_owner *limit;
	u16 id;

	cdm_owner_offline(b);
	id = charge(b, 1, &limit);
	KUNIT_EXPECT_EQ(test, id, a->id);
	KUNIT_EXPECT_EQ(test, usage(a), 1);
	cdm_uncharge(id, IDX, 1);
	cdm_owner_detach(b);
	synchronize_rcu();
	cdm_owner_release(b);
	remove_owner(a);
}

/*
 * A node that appears when there are groups: they can be charged there, with
 * the same limits, and what they have elsewhere is not touched.
 */
static void new_node(struct kunit *test)
{
	struct cdm_owner *a = make_owner(test, cdm_root_owner);
	struct cdm_owner *b = make_owner(test, a);
	struct cdm_owner *owner = b, *limit;
	u16 id, late;

	if (cdm_root_owner->counter[LATE_IDX])
		kunit_skip(test, "only once after a boot");
	id = charge(b, 7, &limit);
	KUNIT_EXPECT_EQ(test, cdm_usage(owner, LATE_IDX), 0);
	KUNIT_ASSERT_EQ(test, cdm_owner_add_node(LATE_IDX, NUMA_NO_NODE), 0);
	cdm_set_setting(a, LATE_IDX, CDM_SETTING_MAX, 3);
	rcu_read_lock();
	KUNIT_EXPECT_EQ(test, cdm_try_charge(owner, LATE_IDX, 4, &limit), 0);
	late = cdm_try_charge(owner, LATE_IDX, 3, &limit);
	rcu_read_unlock();
	KUNIT_EXPECT_EQ(test, late, id);
	KUNIT_EXPECT_EQ(test, cdm_usage(a, LATE_IDX), 3);
	KUNIT_EXPECT_EQ(test, usage(a), 7);

	/* Gone with charges on both nodes, which end one after the other. */
	remove_owner(b);
	cdm_uncharge(id, IDX, 7);
	KUNIT_EXPECT_EQ(test, usage(a), 0);
	KUNIT_EXPECT_EQ(test, cdm_usage(a, LATE_IDX), 3);
	cdm_uncharge(late, LATE_IDX, 3);
	KUNIT_EXPECT_EQ(test, cdm_usage(a, LATE_IDX), 0);
	remove_owner(a);
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
 * @owner:	group i is the child of group (i - 1) / 2, and group 0 of the
 *		root; NULL: removed
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
	struct cdm_owner *owner[MODEL_GROUPS];
	unsigned long own[MODEL_GROUPS];
	unsigned long left[MODEL_GROUPS];
	unsigned long max[MODEL_GROUPS];
	unsigned long charged[MODEL_GROUPS];
	struct orphans orphans[MODEL_ORPHANS];
	struct cdm_owner *gone[64];
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

	return child + 1 < MODEL_GROUPS &&
	       (m->owner[child] || m->owner[child + 1]);
}

static unsigned long model_usage(const struct model *m, int group)
{
	unsigned long sum = m->own[group] + m->left[group];
	int child;

	for (child = 2 * group + 1;
	     child <= 2 * group + 2 && child < MODEL_GROUPS; child++)
		if (m->owner[child])
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

/* On whichever CPU, so that stocks are filled and emptied on different ones. */
static void model_uncharge(struct model *m, u16 id, unsigned int nr)
{
	if (!nr)
		return;
	if (prandom_u32_state(&m->rnd) % 4)
		cdm_uncharge(id, IDX, nr);
	else
		uncharge_there(id, nr);
}

static u16 model_charge(struct model *m, int group, unsigned int nr)
{
	struct cdm_owner *limit;

	if (prandom_u32_state(&m->rnd) % 32)
		return charge(m->owner[group], nr, &limit);
	return charge_there(m->owner[group], nr);
}

static void model_free_gone(struct model *m)
{
	synchronize_rcu();
	while (m->nr_gone)
		cdm_owner_release(m->gone[--m->nr_gone]);
}

/*
 * The pages of a group that goes are its parent's, with those it had taken
 * over.
 */
static void model_remove(struct model *m, int group)
{
	struct cdm_owner *owner = m->owner[group];
	u16 id = owner->id;
	int i, heir = model_parent(group);

	for (i = 0; i < MODEL_ORPHANS && m->orphans[i].nr; i++)
		;
	if (model_has_child(m, group) || i == MODEL_ORPHANS)
		return;
	cdm_owner_offline(owner);
	cdm_owner_detach(owner);
	m->gone[m->nr_gone++] = owner;
	m->owner[group] = NULL;
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

	if (parent >= 0 && !m->owner[parent])
		return;
	m->owner[group] = make_owner(test, parent < 0 ? cdm_root_owner :
							m->owner[parent]);
	m->max[group] = CDM_MAX;
	m->charged[group] = 0;
}

static void model_uncharge_orphan(struct model *m, unsigned int nr)
{
	struct orphans *o =
		&m->orphans[prandom_u32_state(&m->rnd) % MODEL_ORPHANS];

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

	if (!m->owner[group]) {
		model_make(test, m, group);
		return;
	}
	owner = m->owner[group];
	switch (prandom_u32_state(&m->rnd) % 64) {
	case 0:
		if (!(prandom_u32_state(&m->rnd) % 4))
			model_remove(m, group);
		break;
	case 1 ... 7:
		m->max[group] = prandom_u32_state(&m->rnd) % 4 ?
				prandom_u32_state(&m->rnd) % 3000 : CDM_MAX;
		cdm_set_setting(owner, IDX, CDM_SETTING_MAX, m->max[group]);
		/* As a write to cdm.max does when usage is over. */
		if (cdm_excess(owner, IDX))
			cdm_drain(owner, IDX);
		/* Stocks are what is tested. */
		owner->counter[IDX]->keep_after = jiffies;
		break;
	case 8 ... 35:
		if (model_fits(m, group, nr)) {
			KUNIT_ASSERT_EQ(test, model_charge(m, group, nr),
					owner->id);
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
	if (m->owner[group]) {
		KUNIT_ASSERT_EQ(test, cdm_charged(owner, IDX, &used),
				m->charged[group]);
		KUNIT_ASSERT_EQ(test, used, model_usage(m, group));
	}
}

static void model_end(struct kunit *test, struct model *m)
{
	int i;

	for (i = MODEL_GROUPS - 1; i >= 0; i--) {
		if (!m->owner[i])
			continue;
		KUNIT_EXPECT_EQ(test, usage(m->owner[i]), model_usage(m, i));
		model_uncharge(m, m->owner[i]->id, m->own[i]);
		m->own[i] = 0;
		while (m->nr_gone == ARRAY_SIZE(m->gone))
			model_free_gone(m);
		cdm_owner_offline(m->owner[i]);
		cdm_owner_detach(m->owner[i]);
		m->gone[m->nr_gone++] = m->owner[i];
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
	unsigned long before = usage(cdm_root_owner);
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
	KUNIT_EXPECT_EQ(test, usage(cdm_root_owner), before);
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
static void id_batch(struct kunit *test, struct cdm_owner **owner, u16 *ids,
		     int batch)
{
	struct cdm_owner *limit;
	int i;

	for (i = 0; i < ID_BATCH; i++) {
		owner[i] = make_owner(test, cdm_root_owner);
		/* Most leave nothing for a stock, which saves a drain each. */
		if ((i + batch) % 16)
			cdm_set_setting(owner[i], IDX, CDM_SETTING_MAX,
					1 + i % 512);
		ids[i] = charge(owner[i], 1 + i % 512, &limit);
		KUNIT_ASSERT_EQ(test, ids[i], owner[i]->id);
	}
	for (i = 0; i < ID_BATCH; i++) {
		cdm_owner_offline(owner[i]);
		cdm_owner_detach(owner[i]);
	}
	synchronize_rcu();
	for (i = 0; i < ID_BATCH; i++) {
		cdm_owner_release(owner[i]);
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
	unsigned long before = usage(cdm_root_owner), end, *had;
	unsigned int i, left, wraps = 0;
	struct cdm_owner **owner;
	u16 last = 0, *ids;

	owner = kunit_kcalloc(test, ID_BATCH, sizeof(*owner), GFP_KERNEL);
	ids = kunit_kcalloc(test, ID_BATCH, sizeof(*ids), GFP_KERNEL);
	had = kunit_kcalloc(test, BITS_TO_LONGS(65536), sizeof(long),
			    GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, owner && ids && had);
	for (i = 1; i <= U16_MAX; i++)
		__assign_bit(i, had, id_used(i));
	for (i = 0; i < ID_CYCLES / ID_BATCH; i++) {
		id_batch(test, owner, ids, i);
		wraps += ids[ID_BATCH - 1] < last;
		last = ids[ID_BATCH - 1];
	}
	KUNIT_EXPECT_GE(test, wraps, 1);
	KUNIT_EXPECT_EQ(test, usage(cdm_root_owner), before);

	/* They are freed by a worker. */
	end = jiffies + 10 * HZ;
	do {
		for (left = 0, i = 1; i <= U16_MAX; i++)
			left += id_used(i) && !test_bit(i, had);
		if (left)
			msleep(20);
	} while (left && time_before(jiffies, end));
	KUNIT_EXPECT_EQ(test, left, 0);
}

static struct kunit_case cdm_counter_cases[] = {
	KUNIT_CASE(limit_is_exact),
	KUNIT_CASE(lowest_limit),
	KUNIT_CASE(full_limit),
	KUNIT_CASE(drain_own),
	KUNIT_CASE(reading),
	KUNIT_CASE(cancelled),
	KUNIT_CASE(make_fit),
	KUNIT_CASE(depth),
	KUNIT_CASE(removal_moves_charge),
	KUNIT_CASE(late_charge),
	KUNIT_CASE(new_node),
	KUNIT_CASE_SLOW(model),
	KUNIT_CASE_SLOW(id_reuse),
	{ }
};

static struct kunit_suite cdm_counter_suite = {
	.name = "cdm_counter",
	.init = cdm_test_init,
	.test_cases = cdm_counter_cases,
};

kunit_test_suite(cdm_counter_suite);

MODULE_DESCRIPTION("KUnit tests of the counters of coherent device memory");
MODULE_LICENSE("GPL");
