/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit tests of mm/cdm/ share.
 *
 * Tests of counters need no device and no cgroup: they charge by hand, to
 * owners that no group has, on an index that no node has.
 */
#ifndef _MM_CDM_KUNIT_H
#define _MM_CDM_KUNIT_H

#include <kunit/test.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/rcupdate.h>

#include "../internal.h"

/* The index: fewer nodes have been added when the tests run at boot. */
#define IDX	8

static inline int cdm_test_init(struct kunit *test)
{
	int ret;

	if (cdm_off)
		kunit_skip(test, "booted with cdm=off");
	ret = cdm_owner_add_node(IDX, NUMA_NO_NODE);
	/* A drain in the test before may have left stocks forbidden. */
	if (!ret)
		cdm_root_owner->counter[IDX]->keep_after = jiffies;
	return ret;
}

static inline struct cdm_owner *make_owner(struct kunit *test,
					   struct cdm_owner *parent)
{
	struct cdm_owner *owner = cdm_owner_create(parent, NULL);

	KUNIT_ASSERT_FALSE(test, IS_ERR(owner));
	KUNIT_ASSERT_EQ(test, cdm_owner_online(owner), 0);
	return owner;
}

/* As when its group is removed. */
static inline void remove_owner(struct cdm_owner *owner)
{
	cdm_owner_offline(owner);
	cdm_owner_detach(owner);
	synchronize_rcu();
	cdm_owner_release(owner);
}

/* Charge as the door does for a request that may wait. */
static inline u16 charge(struct cdm_owner *owner, unsigned int nr,
			 struct cdm_owner **limit)
{
	u16 id;

	rcu_read_lock();
	id = cdm_charge_wait(owner, IDX, nr, limit);
	rcu_read_unlock();
	return id;
}

static inline unsigned long usage(struct cdm_owner *owner)
{
	return cdm_usage(owner, IDX);
}

#endif /* _MM_CDM_KUNIT_H */
