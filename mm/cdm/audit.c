// SPDX-License-Identifier: GPL-2.0
/*
 * Self-checks, for development
 *
 * Reading /sys/kernel/debug/cdm/audit walks all pages of all CDM nodes: every
 * page in use must have one owner, and the owners' charges must add up to the
 * pages in use. The result is exact if nothing is allocated or freed there
 * during the walk.
 */
#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/seq_file.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "../internal.h"
#include "internal.h"

/**
 * struct cdm_audit - what the walk of a node found, in pages
 * @present: online
 * @free:	in the buddy allocator or on per-CPU lists
 * @owned:	in use, with an owner
 * @unowned:	in use, without one
 * @stale:	free, with an owner
 * @poisoned:	lost for good: neither free nor in use, without an owner
 */
struct cdm_audit {
	unsigned long present;
	unsigned long free;
	unsigned long owned;
	unsigned long unowned;
	unsigned long stale;
	unsigned long poisoned;
};

static void cdm_audit_page(struct page *page, bool free,
			   struct cdm_audit *audit)
{
	bool owned = cdm_get_owner(page);

	audit->present++;
	if (PageHWPoison(page) && !owned) {
		audit->poisoned++;
		return;
	}
	audit->free += free;
	audit->owned += owned && !free;
	audit->unowned += !owned && !free;
	audit->stale += owned && free;
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

static int cdm_audit_show(struct seq_file *m, void *v)
{
	unsigned long charged;
	unsigned int idx;
	int nid;
	bool ok;

	/* Pages in batches of the LRU or the allocator are no error. */
	lru_add_drain_all();
	get_online_mems();
	for (idx = 0; idx < CDM_MAX_NODES; idx++) {
		struct cdm_audit audit = { };

		nid = cdm_idx_node(idx);
		if (nid == NUMA_NO_NODE || !node_state(nid, N_MEMORY))
			continue;
		drain_all_pages(cdm_zone(nid));
		cdm_audit_walk(cdm_zone(nid), &audit);

		charged = cdm_usage(cdm_root_owner, idx);
		ok = !audit.unowned && !audit.stale && audit.owned == charged;
		seq_printf(m, "node%d present %lu free %lu used %lu owned %lu ",
			   nid, audit.present, audit.free,
			   audit.owned + audit.unowned, audit.owned);
		seq_printf(m, "unowned %lu stale %lu poisoned %lu ",
			   audit.unowned, audit.stale, audit.poisoned);
		seq_printf(m, "charged %lu %s\n", charged, ok ? "ok" : "BAD");
	}
	put_online_mems();
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cdm_audit);

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
	if (cdm_off)
		return 0;
	debugfs_create_file("audit", 0400, debugfs_create_dir("cdm", NULL),
			    NULL, &cdm_audit_fops);
	fault_create_debugfs_attr("fail_cdm_charge", NULL, &fail_cdm_charge);
	return 0;
}
late_initcall(cdm_audit_init);
