/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hooks of coherent device memory in mm/hugetlb.c: pools and reservations
 *
 * Pools in RAM and pools on CDM nodes are counted apart. Who asks for no node
 * in particular is told of, promised and given pages of RAM only. The sums in
 * struct hstate are over all nodes, except resv_huge_pages, which is RAM's;
 * mm/cdm/hugetlb.c has what is reserved on CDM nodes.
 *
 * As in mm/cdm.h, the compiler drops the calls without CONFIG_CGROUP_CDM.
 */
#ifndef _MM_CDM_HUGETLB_H
#define _MM_CDM_HUGETLB_H

#include <linux/cdm.h>
#include <linux/cleanup.h>
#include <linux/hugetlb.h>

struct cdm_resv;

/* hugetlb_acct_memory() */
typedef int (*cdm_acct_t)(struct hstate *h, long delta);

unsigned long __cdm_hugetlb_in_ram(unsigned long sum,
				   const unsigned int *nodes);
unsigned long __cdm_hugetlb_target(struct hstate *h, unsigned long count,
				   const nodemask_t *nodes);
unsigned long __cdm_hugetlb_free_apart(struct hstate *h,
				       const nodemask_t *nodes);
unsigned long __cdm_hugetlb_resv(struct hstate *h, int nid);
bool __cdm_hugetlb_spare(struct hstate *h, int nid);
bool __cdm_hugetlb_may_take(struct hstate *h, int nid);
void __cdm_hugetlb_taker(struct resv_map *map, bool reserved);
void __cdm_hugetlb_no_taker(void);
bool __cdm_hugetlb_consume(struct hstate *h, struct folio *folio,
			   struct resv_map *map);
bool __cdm_hugetlb_restore(struct hstate *h, struct folio *folio,
			   struct resv_map *map);
bool __cdm_hugetlb_bound(const nodemask_t *nodes);
long __cdm_hugetlb_needed(struct hstate *h, long delta);
nodemask_t *__cdm_hugetlb_surplus(void);
int __cdm_hugetlb_acct(struct hstate *h, long delta, struct resv_map *map,
		       cdm_acct_t acct);
void __cdm_resv_free(struct cdm_resv *resv);

/* Of a sum over all nodes, what is in RAM; @nodes has the summands. */
static inline unsigned long cdm_hugetlb_in_ram(unsigned long sum,
					       const unsigned int *nodes)
{
	return cdm_enabled() ? __cdm_hugetlb_in_ram(sum, nodes) : sum;
}

/* Of the pages in all pools of a size, those in RAM. */
static inline unsigned long cdm_ram_huge(const struct hstate *h)
{
	return cdm_hugetlb_in_ram(h->nr_huge_pages, h->nr_huge_pages_node);
}

static inline unsigned long cdm_ram_free_huge(const struct hstate *h)
{
	return cdm_hugetlb_in_ram(h->free_huge_pages, h->free_huge_pages_node);
}

static inline unsigned long cdm_ram_surplus_huge(const struct hstate *h)
{
	return cdm_hugetlb_in_ram(h->surplus_huge_pages,
				  h->surplus_huge_pages_node);
}

/* hugetlb_sysctl_handler_common(): the target for RAM. */
static inline unsigned long cdm_ram_max_huge(const struct hstate *h)
{
	return cdm_enabled() ? cdm_ram_huge(h) - cdm_ram_surplus_huge(h) :
			       h->max_huge_pages;
}

/*
 * set_max_huge_pages(): a target of @count pages that is not for one node @nid
 * is for @nodes. Pages on other CDM nodes come on top.
 */
static inline unsigned long cdm_hugetlb_target(struct hstate *h,
					       unsigned long count, int nid,
					       const nodemask_t *nodes)
{
	if (!cdm_enabled() || nid != NUMA_NO_NODE)
		return count;
	return __cdm_hugetlb_target(h, count, nodes);
}

/* The same: free pages on CDM nodes beside @nodes are no use for the others. */
static inline unsigned long cdm_hugetlb_free_apart(struct hstate *h,
						   const nodemask_t *nodes)
{
	return cdm_enabled() ? __cdm_hugetlb_free_apart(h, nodes) : 0;
}

/* demote_store(): how many free pages of @nid, or of RAM, are reserved. */
static inline unsigned long cdm_hugetlb_resv(struct hstate *h, int nid)
{
	return node_is_cdm(nid) ? __cdm_hugetlb_resv(h, nid) :
				  h->resv_huge_pages;
}

/* Has @nid a free page that is not reserved? @ram says so for RAM. */
static inline bool cdm_hugetlb_spare(struct hstate *h, int nid, bool ram)
{
	return node_is_cdm(nid) ? __cdm_hugetlb_spare(h, nid) : ram;
}

/*
 * dequeue_hugetlb_folio_node_exact(): may a page of @nid be taken, or are all
 * reserved for others?
 */
static inline bool cdm_hugetlb_may_take(struct hstate *h, int nid)
{
	return !cdm_enabled() || __cdm_hugetlb_may_take(h, nid);
}

static inline bool cdm_hugetlb_taker(struct resv_map *map, bool reserved)
{
	if (cdm_enabled())
		__cdm_hugetlb_taker(map, reserved);
	return cdm_enabled();
}

static inline void cdm_hugetlb_no_taker(bool taker)
{
	if (cdm_enabled() && taker)
		__cdm_hugetlb_no_taker();
}

/*
 * dequeue_hugetlb_folio_vma(): until the end of the block, pages are taken for
 * a mapping with reservation map @map, and one that is @reserved or not.
 */
DEFINE_CLASS(cdm_hugetlb_taker, bool, cdm_hugetlb_no_taker(_T),
	     cdm_hugetlb_taker(map, reserved),
	     struct resv_map *map, bool reserved)

/* @folio is taken, which a mapping with @map has reserved. */
static inline void cdm_hugetlb_consume(struct hstate *h, struct folio *folio,
				       struct resv_map *map)
{
	if (!cdm_enabled() || !__cdm_hugetlb_consume(h, folio, map))
		h->resv_huge_pages--;
}

/*
 * __unmap_hugepage_range(): a page is taken off a mapping that stays. Is it
 * reserved again? Pages of RAM are, by free_huge_folio().
 */
static inline bool cdm_hugetlb_restore(struct hstate *h, struct folio *folio,
				       struct resv_map *map)
{
	return !node_is_cdm(folio_nid(folio)) ||
	       __cdm_hugetlb_restore(h, folio, map);
}

/* gather_surplus_pages(): pages that are missing for a reservation. */
static inline long cdm_hugetlb_needed(struct hstate *h, long delta)
{
	if (!cdm_enabled())
		return (h->resv_huge_pages + delta) - h->free_huge_pages;
	return __cdm_hugetlb_needed(h, delta);
}

/*
 * The same, and allowed_mems_nr(): does a reservation count on @nid, made by a
 * task that is bound to @bound, or to none if that is NULL?
 */
static inline bool cdm_hugetlb_reserves(int nid, const nodemask_t *bound)
{
	if (bound && !node_isset(nid, *bound))
		return false;
	return !node_is_cdm(nid) || (bound && __cdm_hugetlb_bound(bound));
}

/* return_unused_surplus_pages(): nodes where a reservation may have been. */
static inline nodemask_t *cdm_hugetlb_surplus(void)
{
	return cdm_enabled() ? __cdm_hugetlb_surplus() : &node_states[N_MEMORY];
}

/* hugetlb_acct_memory(), @acct, for a mapping or file with @map. */
static inline int cdm_hugetlb_acct(struct hstate *h, long delta,
				   struct resv_map *map, cdm_acct_t acct)
{
	if (!cdm_enabled())
		return acct(h, delta);
	return __cdm_hugetlb_acct(h, delta, map, acct);
}

#define cdm_acct_memory(h, delta, map)	\
	cdm_hugetlb_acct(h, delta, map, hugetlb_acct_memory)

/* resv_map_release() */
static inline void cdm_resv_free(struct cdm_resv *resv)
{
	if (cdm_enabled() && resv)
		__cdm_resv_free(resv);
}

#endif /* _MM_CDM_HUGETLB_H */
