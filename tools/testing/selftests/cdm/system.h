/* SPDX-License-Identifier: GPL-2.0 */
/* The whole system: swap, caches, batches of CPUs, poisoned pages. */
#ifndef _SELFTESTS_CDM_SYSTEM_H
#define _SELFTESTS_CDM_SYSTEM_H

#include <stdbool.h>

/* Create a file in memory of @pages; returns its descriptor, or -1. */
int cdm_memfd(long pages);

int cdm_set_swap(bool on);

/* Write back and drop the page cache. */
void cdm_empty_cache(void);
void cdm_set_zswap(bool on);
void cdm_drain_lru(void);
int cdm_unpoison(long frame);

#endif /* _SELFTESTS_CDM_SYSTEM_H */
