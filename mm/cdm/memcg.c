// SPDX-License-Identifier: GPL-2.0
/*
 * Coherent device memory is not RAM for the memory controller either
 *
 * memory.max limits RAM, cdm.max limits device memory: a page counts in one of
 * them. A folio on a CDM node belongs to a memory group, whose LRU lists hold
 * it and whose memory.stat shows it, but is exempt from memory.current: no
 * limit on RAM makes the OOM killer kill for pages that are not RAM. Whether a
 * folio is exempt depends on its node alone. So its uncharge needs no record of
 * its charge, and migration between CDM and RAM changes both:
 *
 *   RAM to CDM		what the original counted is given back when the copy
 *			takes its place
 *   CDM to RAM		the copy is charged before it is used, while that may
 *			still fail: if the group is full the page stays
 *
 * With the boot option cgroup.memory=cdm no page is exempt.
 */
#include <linux/cgroup.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/migrate_mode.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "../internal.h"
#include "internal.h"

bool cdm_counts_as_ram __ro_after_init;

static int __init cdm_memcg_setup(char *str)
{
	/*
	 * The memory controller parses the other words, and ignores this one.
	 */
	cdm_counts_as_ram = parse_option_str(str, "cdm");
	return 0;
}
early_param("cgroup.memory", cdm_memcg_setup);

/* charge_memcg() of a folio that is exempt. */
int cdm_commit_exempt(struct folio *folio, struct mem_cgroup *memcg)
{
	mem_cgroup_commit_charge(folio, memcg);
	return 0;
}

void __cdm_hugetlb_exempt(struct folio *folio, struct mem_cgroup *memcg)
{
	mem_cgroup_cancel_charge(memcg, folio_nr_pages(folio));
}

/**
 * cdm_memcg_nodes - CDM nodes that reclaim for a memory limit has to visit
 *
 * They are not in the fallback list that it walks.
 *
 * Context: any.
 * Return: the nodes, with or without memory; not to be changed.
 */
nodemask_t *cdm_memcg_nodes(void)
{
	static nodemask_t none;

	return cdm_counts_as_ram ? &cdm_nodes : &none;
}

/* Charge @folio to @memcg, which the caller knows not to go away. */
static int cdm_memcg_charge(struct folio *folio, struct mem_cgroup *memcg,
			    gfp_t gfp)
{
	struct mem_cgroup *old = set_active_memcg(memcg);
	int ret = mem_cgroup_charge(folio, NULL, gfp);

	set_active_memcg(old);
	return ret;
}

/**
 * __cdm_memcg_charge_copy - charge a copy that counts, of a folio that does not
 * @dst: the copy, just allocated, in RAM
 * @src: isolated folio on a CDM node
 * @reason: why it is migrated, MR_*
 *
 * Demotion, and DAMON's kind of it, take what fits at once: they are part of
 * reclaim, and must neither recurse nor exceed the limit. Other migration
 * reclaims from the group once. If the page cannot stay, because its memory
 * goes offline or is bad, the limit is exceeded as a last resort.
 *
 * Context: process context; sleeps unless @reason is MR_DEMOTION or MR_DAMON.
 * Return: 0 or -ENOMEM.
 */
int __cdm_memcg_charge_copy(struct folio *dst, struct folio *src, int reason)
{
	struct mem_cgroup *memcg;
	gfp_t gfp = GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN;
	unsigned int noreclaim;
	int ret;

	/*
	 * Stable, because @src is isolated. hugetlb without
	 * memory_hugetlb_accounting has none.
	 */
	memcg = folio_memcg_check(src);
	if (!memcg)
		return 0;

	switch (reason) {
	case MR_DEMOTION:
	case MR_DAMON:
		/* PF_MEMALLOC would exceed the limit. */
		noreclaim = current->flags & PF_MEMALLOC;
		memalloc_flags_restore(noreclaim);
		ret = cdm_memcg_charge(dst, memcg, GFP_NOWAIT | __GFP_NOWARN);
		memalloc_flags_save(noreclaim);
		return ret;
	case MR_MEMORY_FAILURE:
	case MR_MEMORY_HOTPLUG:
	case MR_CONTIG_RANGE:
		gfp |= __GFP_NOFAIL;
		break;
	}
	return cdm_memcg_charge(dst, memcg, gfp);
}

/**
 * cdm_memcg_is_full - does a memory.max leave no room for pages from a CDM
 * node?
 * @memcg: the group that has them
 *
 * Charges in the memory controller's per-CPU stocks are taken for used: the
 * answer may be "full" while up to 64 pages per CPU are left.
 *
 * Context: any; the caller has a reference.
 * Return: true if so.
 */
bool cdm_memcg_is_full(struct mem_cgroup *memcg)
{
	if (!cdm_nodes_are_exempt())
		return false;
	for (; memcg; memcg = parent_mem_cgroup(memcg))
		if (page_counter_read(&memcg->memory) >=
		    READ_ONCE(memcg->memory.max))
			return true;
	return false;
}

/*
 * mem_cgroup_migrate(): the reference of @old on the group goes to @new, as
 * ever. If @new is exempt, what @old took of memory.max goes to this CPU's
 * stock. If it is not, it was charged before, with a reference of its own.
 * Cannot fail: the flags only matter for a copy that bypassed
 * cdm_get_new_folio().
 */
void __cdm_memcg_migrate(struct folio *new, bool to, struct mem_cgroup *memcg)
{
	if (!cdm_nodes_are_exempt())
		return;
	if (to) {
		if (!mem_cgroup_is_root(memcg))
			refill_stock(memcg, folio_nr_pages(new));
		return;
	}
	if (!folio_memcg_charged(new))
		cdm_memcg_charge(new, memcg, GFP_NOWAIT | __GFP_NOFAIL);
	new->memcg_data = 0;
	css_put(&memcg->css);
}
