/* SPDX-License-Identifier: GPL-2.0 */
/* Pools of huge pages. */
#ifndef _SELFTESTS_CDM_POOL_H
#define _SELFTESTS_CDM_POOL_H

#include "node.h"

/* Files of the pool of @node whose huge pages have @kb KiB each. */
const char *cdm_pool_path(int node, long kb, const char *file);
long cdm_set_pool(int node, long kb, long pages);
void cdm_shrink_node(long pages);

/* KiB of a huge page of the default size, as in the names in sysfs. */
#define CDM_POOL_KB	(cdm_hpages * cdm_psize / 1024)
#define CDM_OVERCOMMIT	"/proc/sys/vm/nr_overcommit_hugepages"

#endif /* _SELFTESTS_CDM_POOL_H */
