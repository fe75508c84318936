/* SPDX-License-Identifier: GPL-2.0 */
/* Things of which the system has one: swap, caches, bad pages. */
#ifndef _SELFTESTS_CDM_SYSTEM_H
#define _SELFTESTS_CDM_SYSTEM_H

#include <stdbool.h>

/* A new file in memory of @pages, or -1. */
int cdm_memfd(long pages);

/* Take the swap area out of use, or into it again. */
int cdm_set_swap(bool on);

/* Have the page cache written and dropped. */
void cdm_empty_cache(void);
void cdm_set_zswap(bool on);
void cdm_drain_lru(void);
int cdm_unpoison(long frame);

#endif /* _SELFTESTS_CDM_SYSTEM_H */
