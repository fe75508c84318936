/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_CDM_INTERNAL_H
#define _MM_CDM_INTERNAL_H

#include <linux/cdm.h>
#include <linux/cdm_cgroup.h>

/* owner.c */
int cdm_owner_table_grow(unsigned int idx, unsigned long start_pfn, unsigned long nr_pages);
void cdm_set_owner(struct page *page, unsigned int order, u16 id);
u16 cdm_get_owner(const struct page *page);
bool cdm_owner_table_covers(unsigned int idx, unsigned long pfn);

/* node.c */
int cdm_nearest_ram(int nid);
struct zone *cdm_zone(int nid);

/* reclaim.c */
unsigned long cdm_reclaim(struct cdm_owner *owner, unsigned int idx, unsigned long nr_pages,
			  gfp_t gfp);
bool cdm_may_reclaim(gfp_t gfp);

/* migrate.c */
struct cdm_owner *cdm_payer(struct cdm_scope *scope);

static inline struct cdm_scope *cdm_current_scope(void)
{
	return in_task() ? current->cdm_scope : NULL;
}

#endif /* _MM_CDM_INTERNAL_H */
