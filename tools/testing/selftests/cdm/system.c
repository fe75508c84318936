// SPDX-License-Identifier: GPL-2.0
/* The system, see system.h. */

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "node.h"
#include "syscall.h"
#include "system.h"

int cdm_memfd(long pages)
{
	int fd = memfd_create("cdm", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, pages * cdm_psize)) {
		close(fd);
		return -1;
	}
	return fd;
}

/**
 * cdm_set_swap - stop using the swap area, or use it again
 * @on: use it
 *
 * The path of the area is remembered when it is taken out of use, so that must
 * come first. Return: 0 or -errno.
 */
int cdm_set_swap(bool on)
{
	static char area[128];
	char text[1024], *line;

	if (on)
		return swapon(area, 0) ? -errno : 0;
	if (file_read("/proc/swaps", text, sizeof(text)))
		return -ENOENT;
	line = strchr(text, '\n');
	if (!line || sscanf(line, " %127s", area) != 1)
		return -ENOENT;
	return swapoff(area) ? -errno : 0;
}

void cdm_empty_cache(void)
{
	sync();
	CHECK_EQ(file_write("/proc/sys/vm/drop_caches", "3"), 0);
}

/*
 * Switch zswap. With it a page that is swapped out is free at once; without it
 * the page stays in memory until it is written, and then until reclaim looks
 * at it again.
 */
void cdm_set_zswap(bool on)
{
	CHECK_EQ(file_write("/sys/module/zswap/parameters/enabled", "%c",
			    on ? 'Y' : 'N'), 0);
}

/*
 * Have all CPUs put the pages in their batches on the LRU lists: move_pages()
 * does that first. A page in a batch has a reference too many to be migrated,
 * and is not freed when it is unmapped.
 */
void cdm_drain_lru(void)
{
	static long page;
	void *addr = &page;
	int node, status;

	page++;
	node = addr_node(addr);
	sys_move_pages(0, 1, &addr, &node, &status, MPOL_MF_MOVE);
}

/* Put a poisoned page that is not in use back into service. */
int cdm_unpoison(long frame)
{
	return file_write("/sys/kernel/debug/hwpoison/unpoison-pfn", "%ld",
			  frame);
}
