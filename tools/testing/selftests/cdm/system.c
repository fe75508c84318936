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

/*
 * The path of the swap area is asked for while it is in use; a program that
 * takes it out of use gives it back.
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
 * With the compressed cache on, a page that is swapped out is free at once;
 * otherwise it stays where it is until it is written and looked for again.
 */
void cdm_set_zswap(bool on)
{
	CHECK_EQ(file_write("/sys/module/zswap/parameters/enabled", "%c",
			    on ? 'Y' : 'N'), 0);
}

/*
 * Empty the per-CPU batches of pages on their way to an LRU list: move_pages()
 * does it before it looks at a page.
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

/* Put a page that was poisoned, and that nobody uses, into service again. */
int cdm_unpoison(long frame)
{
	return file_write("/sys/kernel/debug/hwpoison/unpoison-pfn", "%ld",
			  frame);
}
