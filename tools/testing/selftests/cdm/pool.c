// SPDX-License-Identifier: GPL-2.0
/* Pools of huge pages, see pool.h. */

#include <stdio.h>

#include "files.h"
#include "kselftest.h"
#include "node.h"
#include "pool.h"
#include "system.h"
#include "usage.h"
#include "wait.h"

const char *cdm_pool_path(int node, long kb, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-%ldkB/%s",
		 node, kb, file);
	return path;
}

/* Resize a pool to @pages huge pages; returns how many it has then. */
long cdm_set_pool(int node, long kb, long pages)
{
	file_write(cdm_pool_path(node, kb, "nr_hugepages"), "%ld", pages);
	return file_long(cdm_pool_path(node, kb, "nr_hugepages"));
}

/**
 * cdm_shrink_node - make cdm_node smaller
 * @pages: pages to leave free; negative to leave all
 *
 * A small node is quickly full, which makes tests quick. The other pages go
 * into the node's pool of huge pages, which reclaim does not touch.
 */
void cdm_shrink_node(long pages)
{
	long kb = cdm_hpages * cdm_psize / 1024, pool;
	struct cdm_wait wait = cdm_wait_begin(5);

	cdm_set_pool(cdm_node, kb, 0);
	if (pages < 0)
		return;
	pool = (cdm_nr_free() - pages) / cdm_hpages;
	while (cdm_set_pool(cdm_node, kb, pool) != pool) {
		if (!cdm_wait_more(&wait))
			ksft_exit_fail_msg("no pool of huge pages\n");
		cdm_drain_lru();
	}
}
