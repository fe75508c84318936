// SPDX-License-Identifier: GPL-2.0
/* A file in the page cache, see cached.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cached.h"
#include "node.h"
#include "syscall.h"

static long write_pages(int fd, long pages)
{
	long *page = calloc(1, cdm_psize), nr;

	lseek(fd, 0, SEEK_SET);
	for (nr = 0; nr < pages; nr++) {
		page[0] = buf_pattern(nr);
		page[cdm_psize / sizeof(long) - 1] = buf_pattern(nr);
		if (write(fd, page, cdm_psize) != cdm_psize)
			break;
	}
	free(page);
	return nr;
}

/*
 * Create the file. Without @dirty none of it is in memory afterwards; with
 * @dirty all of it is on the device, and has not been written to the disk since
 * the blocks were allocated.
 */
struct cdm_reply op_make_file(struct cdm_buf *buf, long pages, long dirty)
{
	struct cdm_reply reply = { 0 };

	buf->fd = open(CDM_CACHED, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		       0600);
	reply.ok = write_pages(buf->fd, pages);
	fsync(buf->fd);
	posix_fadvise(buf->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (dirty) {
		sys_set_mempolicy(MPOL_BIND, 1UL << cdm_node);
		reply.ok = write_pages(buf->fd, pages);
		sys_set_mempolicy(MPOL_DEFAULT, 0);
	}
	return reply;
}

/* Read the file; with @bind, under a policy for the device. */
struct cdm_reply op_read_file(struct cdm_buf *buf, long pages, long bind)
{
	char *data = calloc(1, cdm_psize);
	struct cdm_reply reply = { 0 };

	if (bind && sys_set_mempolicy(MPOL_BIND, 1UL << cdm_node))
		return buf_errno(-1);
	lseek(buf->fd, 0, SEEK_SET);
	while (reply.ok < pages && read(buf->fd, data, cdm_psize) == cdm_psize)
		reply.ok++;
	if (reply.ok < pages)
		reply.ret = -errno;
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	free(data);
	return reply;
}

/* Map the file, and count its pages in memory by where they are. */
struct cdm_reply op_where_file(struct cdm_buf *buf, long pages, long b)
{
	long i;

	(void)b;
	buf->pages = pages;
	buf->addr = mmap(NULL, pages * cdm_psize, PROT_READ, MAP_SHARED,
			 buf->fd, 0);
	if (buf->addr == MAP_FAILED)
		return buf_errno(-1);
	for (i = 0; i < pages; i++)
		__atomic_load_n(buf->addr + i * cdm_psize, __ATOMIC_RELAXED);
	return buf_count(buf, 0, pages);
}
