// SPDX-License-Identifier: GPL-2.0
/*
 * Self-checks, for development
 *
 * Reading /sys/kernel/debug/cdm/audit walks all pages of all CDM nodes: every
 * page in use must have one owner, each owner must be charged for the pages
 * that it has, and the charges must add up to the pages in use. No page may
 * belong to a part of the kernel that nobody sends there. And each owner must
 * have a reason to be there. The result is exact if nothing is allocated or
 * freed during the walk.
 *
 * Writing to /sys/kernel/debug/cdm/plant leaks something, for tests of those
 * who look for leaks.
 */
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/idr.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

#include "../internal.h"
#include "internal.h"

/*
 * Pages
 */

/**
 * struct cdm_audit - what the walk of a node found, in pages
 * @present: online
 * @free:	in the buddy allocator or on per-CPU lists
 * @owned:	in use, with an owner
 * @unowned:	in use, without one
 * @stale:	free, with an owner
 * @foreign:	in use, by a part of the kernel that has no business there
 * @poisoned:	lost for good: neither free nor in use, without an owner
 * @by_owner:	by id: pages that have this owner
 */
struct cdm_audit {
	unsigned long present;
	unsigned long free;
	unsigned long owned;
	unsigned long unowned;
	unsigned long stale;
	unsigned long foreign;
	unsigned long poisoned;
	u32 *by_owner;
};

/*
 * Pages of compressed swap, balloons, slabs, page tables: they are on no LRU
 * list, so no limit can have them leave.
 */
static bool cdm_is_foreign(struct page *page)
{
	/* A tail keeps other things where a page has its type and mapping. */
	if (PageTail(page) || PageHuge(page))
		return false;
	return page_has_type(page) || __PageMovable(page) || PageReserved(page);
}

static void cdm_audit_page(struct page *page, bool free,
			   struct cdm_audit *audit)
{
	u16 owner = cdm_get_owner(page);

	audit->present++;
	audit->by_owner[owner]++;
	if (PageHWPoison(page) && !owner) {
		audit->poisoned++;
		return;
	}
	audit->free += free;
	audit->owned += owner && !free;
	audit->unowned += !owner && !free;
	audit->stale += owner && free;
	audit->foreign += !free && page_count(page) && cdm_is_foreign(page);
}

static void cdm_audit_walk(struct zone *zone, struct cdm_audit *audit)
{
	unsigned long pfn = zone->zone_start_pfn, end = zone_end_pfn(zone);
	unsigned long flags;

	while (pfn < end) {
		struct page *page = pfn_to_online_page(pfn);
		unsigned long nr = 1;
		bool free = false;

		if (!page || page_zone(page) != zone) {
			pfn++;
			continue;
		}
		/* Buddy pages do not change order under the lock. */
		spin_lock_irqsave(&zone->lock, flags);
		if (PageBuddy(page)) {
			nr = 1UL << buddy_order(page);
			free = true;
		}
		spin_unlock_irqrestore(&zone->lock, flags);
		while (nr--)
			cdm_audit_page(pfn_to_page(pfn++), free, audit);
		cond_resched();
	}
}

/*
 * Owners that are charged for more or fewer pages than they have. Without
 * stocks, which a drain has just emptied, a charge is a page.
 */
static unsigned int cdm_audit_charges(unsigned int idx, const u32 *by_owner)
{
	struct cdm_owner *owner;
	unsigned int wrong = 0;
	int id;

	guard(mutex)(&cdm_mutex);
	idr_for_each_entry(&cdm_owners, owner, id) {
		struct cdm_counter *c = owner->counter[idx];

		/* Nothing is charged meanwhile, or the result is no good. */
		wrong += by_owner[id] != (c ? data_race(c->own) : 0);
	}
	return wrong;
}

static void cdm_audit_node(struct seq_file *m, unsigned int idx, int nid,
			   u32 *by_owner)
{
	struct cdm_audit audit = { .by_owner = by_owner };
	unsigned long charged;
	unsigned int wrong;
	bool ok;

	drain_all_pages(cdm_zone(nid));
	memset(by_owner, 0, (U16_MAX + 1) * sizeof(*by_owner));
	cdm_audit_walk(cdm_zone(nid), &audit);

	cdm_drain(cdm_root_owner, idx);
	charged = cdm_usage(cdm_root_owner, idx);
	wrong = cdm_audit_charges(idx, by_owner);
	ok = !audit.unowned && !audit.stale && !audit.foreign && !wrong &&
	     audit.owned == charged;
	seq_printf(m, "node%d present %lu free %lu used %lu owned %lu ", nid,
		   audit.present, audit.free, audit.owned + audit.unowned,
		   audit.owned);
	seq_printf(m, "unowned %lu stale %lu foreign %lu poisoned %lu ",
		   audit.unowned, audit.stale, audit.foreign, audit.poisoned);
	seq_printf(m, "charged %lu wrong %u %s\n", charged, wrong,
		   ok ? "ok" : "BAD");
}

/*
 * Owners
 */

/*
 * An owner without a group is there for its own pages, or for those of owners
 * below it. Returns how many are there for neither: somebody keeps a reference.
 * @children, by id, is scratch space.
 */
static unsigned int cdm_idle_owners(u32 *children, unsigned int *total)
{
	struct cdm_owner *owner;
	unsigned int idle = 0;
	bool used;
	int id;

	guard(mutex)(&cdm_mutex);
	*total = 0;
	memset(children, 0, (U16_MAX + 1) * sizeof(*children));
	idr_for_each_entry(&cdm_owners, owner, id) {
		++*total;
		if (owner->parent)
			children[owner->parent->id]++;
	}
	idr_for_each_entry(&cdm_owners, owner, id) {
		used = children[id] || rcu_access_pointer(owner->group);
		for (int idx = 0; idx < CDM_MAX_NODES && !used; idx++) {
			struct cdm_counter *c = owner->counter[idx];

			/* An owner that is not used stays so. */
			used = c && data_race(c->own);
		}
		idle += !used;
	}
	return idle;
}

static void cdm_audit_owners(struct seq_file *m, u32 *children)
{
	unsigned int idle, total;
	int ticks = 2 * HZ;

	/* Those that are being freed wait for a worker, and for RCU. */
	while ((idle = cdm_idle_owners(children, &total)) && ticks--)
		schedule_timeout_uninterruptible(1);
	seq_printf(m, "owners %u idle %u %s\n", total, idle,
		   idle ? "BAD" : "ok");
}

static int cdm_audit_show(struct seq_file *m, void *v)
{
	unsigned int idx;
	u32 *by_owner;
	int nid;

	by_owner = kvcalloc(U16_MAX + 1, sizeof(*by_owner), GFP_KERNEL);
	if (!by_owner)
		return -ENOMEM;
	/* Pages in batches of the LRU or the allocator are no error. */
	lru_add_drain_all();
	get_online_mems();
	for (idx = 0; idx < CDM_MAX_NODES; idx++) {
		nid = cdm_idx_node(idx);
		if (nid != NUMA_NO_NODE && node_state(nid, N_MEMORY))
			cdm_audit_node(m, idx, nid, by_owner);
	}
	put_online_mems();
	cdm_audit_owners(m, by_owner);
	kvfree(by_owner);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cdm_audit);

/*
 * Planted leaks
 */

/* Enough of them to stand out from what caches keep. */
#define CDM_PLANT_MANY	4096

/* The last page that was planted; writers are not meant to compete. */
static struct page *cdm_planted;

static bool cdm_plant_isolate(struct page *page, isolate_mode_t mode)
{
	return false;
}

static int cdm_plant_migrate(struct page *dst, struct page *src,
			     enum migrate_mode mode)
{
	return -EAGAIN;
}

static void cdm_plant_putback(struct page *page)
{
}

static const struct movable_operations cdm_plant_mops = {
	.isolate_page = cdm_plant_isolate,
	.migrate_page = cdm_plant_migrate,
	.putback_page = cdm_plant_putback,
};

/* A page that is on no list, as of a driver that has pages for itself. */
static struct page *cdm_plant_page(int nid)
{
	cdm_planted = alloc_pages_node(nid, GFP_HIGHUSER_MOVABLE |
				       __GFP_THISNODE | __GFP_NOWARN, 0);
	return cdm_planted;
}

static int cdm_plant_held(int nid)
{
	return cdm_plant_page(nid) ? 0 : -ENOMEM;
}

static int cdm_plant_movable(int nid)
{
	struct page *page = cdm_plant_page(nid);

	if (!page)
		return -ENOMEM;
	lock_page(page);
	__SetPageMovable(page, &cdm_plant_mops);
	unlock_page(page);
	return 0;
}

/* One that the driver lets go with its memory, as a balloon's. */
static int cdm_plant_offline(int nid)
{
	struct page *page = cdm_plant_page(nid);

	if (!page)
		return -ENOMEM;
	__folio_set_offline(page_folio(page));
	page_ref_dec(page);
	return 0;
}

/* One that nobody pays for. */
static int cdm_plant_unowned(int nid)
{
	struct page *page = cdm_plant_page(nid);

	if (!page)
		return -ENOMEM;
	cdm_uncharge(cdm_get_owner(page), cdm_node_idx(nid), 1);
	cdm_set_owner(page, 0, 0);
	return 0;
}

/* One that current's group pays for, and the root has. */
static int cdm_plant_wrong(int nid)
{
	struct page *page = cdm_plant_page(nid);

	if (!page)
		return -ENOMEM;
	cdm_set_owner(page, 0, CDM_ROOT_ID);
	return 0;
}

static int cdm_plant_css(int nid)
{
	task_get_css(current, memory_cgrp_id);
	return 0;
}

static int cdm_plant_owner(int nid)
{
	rcu_read_lock();
	cdm_owner_get(css_cdm(task_css(current, cdm_cgrp_id))->owner);
	rcu_read_unlock();
	return 0;
}

static int cdm_plant_mm(int nid)
{
	mmgrab(current->mm);
	return 0;
}

static int cdm_plant_pid(int nid)
{
	get_pid(task_pid(current));
	return 0;
}

static int cdm_plant_slab(int nid)
{
	for (int i = 0; i < CDM_PLANT_MANY; i++)
		if (!kmalloc(sizeof(struct cdm_owner), GFP_KERNEL))
			return -ENOMEM;
	return 0;
}

static int cdm_plant_percpu(int nid)
{
	for (int i = 0; i < CDM_PLANT_MANY; i++)
		if (!__alloc_percpu(256, sizeof(long)))
			return -ENOMEM;
	return 0;
}

static const struct {
	const char *name;
	int (*plant)(int nid);
	bool page;
} cdm_plants[] = {
	{ "page", cdm_plant_held, true },
	{ "movable", cdm_plant_movable, true },
	{ "offline", cdm_plant_offline, true },
	{ "unowned", cdm_plant_unowned, true },
	{ "wrong", cdm_plant_wrong, true },
	{ "css", cdm_plant_css },
	{ "owner", cdm_plant_owner },
	{ "mm", cdm_plant_mm },
	{ "pid", cdm_plant_pid },
	{ "slab", cdm_plant_slab },
	{ "percpu", cdm_plant_percpu },
};

/* "KIND", or "KIND NODE" for a page on a node. */
static ssize_t cdm_plant_write(struct file *file, const char __user *ubuf,
			       size_t count, loff_t *ppos)
{
	char buf[32] = "", name[16];
	int ret, words, nid = NUMA_NO_NODE;

	if (count >= sizeof(buf) || copy_from_user(buf, ubuf, count))
		return -EINVAL;
	words = sscanf(buf, "%15s %d", name, &nid);
	for (int i = 0; i < ARRAY_SIZE(cdm_plants) && words > 0; i++) {
		if (strcmp(name, cdm_plants[i].name))
			continue;
		if (cdm_plants[i].page &&
		    !(nid >= 0 && nid < MAX_NUMNODES && node_is_cdm(nid)))
			return -EINVAL;
		ret = cdm_plants[i].plant(nid);
		return ret ? ret : count;
	}
	return -EINVAL;
}

/* The frame of the page that was planted last. */
static int cdm_plant_show(struct seq_file *m, void *v)
{
	if (cdm_planted)
		seq_printf(m, "%lu\n", page_to_pfn(cdm_planted));
	return 0;
}
DEFINE_SHOW_STORE_ATTRIBUTE(cdm_plant);

/*
 * Fault injection: a charge fails as if the payer's own limit had no room. See
 * Documentation/fault-injection/.
 */
static DECLARE_FAULT_ATTR(fail_cdm_charge);

static int __init cdm_fail_charge_setup(char *str)
{
	return setup_fault_attr(&fail_cdm_charge, str);
}
__setup("fail_cdm_charge=", cdm_fail_charge_setup);

/**
 * cdm_should_fail_charge - shall this charge fail?
 *
 * Context: any.
 * Return: true if so.
 */
bool cdm_should_fail_charge(void)
{
	return should_fail(&fail_cdm_charge, 1);
}

/**
 * cdm_charge_may_fail - may charges be made to fail?
 *
 * Context: any.
 * Return: true if cdm_should_fail_charge() has to be asked.
 */
bool cdm_charge_may_fail(void)
{
#ifdef CONFIG_FAULT_INJECTION
	return READ_ONCE(fail_cdm_charge.probability) || current->fail_nth;
#else
	return false;
#endif
}

static int __init cdm_audit_init(void)
{
	struct dentry *dir;

	if (cdm_off)
		return 0;
	dir = debugfs_create_dir("cdm", NULL);
	debugfs_create_file("audit", 0400, dir, NULL, &cdm_audit_fops);
	debugfs_create_file("plant", 0600, dir, NULL, &cdm_plant_fops);
	fault_create_debugfs_attr("fail_cdm_charge", NULL, &fail_cdm_charge);
	return 0;
}
late_initcall(cdm_audit_init);
