// SPDX-License-Identifier: GPL-2.0
/* A file in the page cache, see cached.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cached.h"
#include "call.h"
#include "node.h"

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
 * @dirty all of it is, in RAM, and has not been written to the disk since the
 * blocks were allocated.
 */
struct cdm_reply op_make_file(struct cdm_buf *buf, long pages, long dirty)
{
	struct cdm_reply reply = { 0 };

	buf->fd = open(CDM_CACHED, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		       0600);
	reply.ok = write_pages(buf->fd, pages);
	fsync(buf->fd);
	posix_fadvise(buf->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (dirty)
		reply.ok = write_pages(buf->fd, pages);
	return reply;
}

/* Read the file. */
struct cdm_reply op_read_file(struct cdm_buf *buf, long pages, long b)
{
	char *data = calloc(1, cdm_psize);
	struct cdm_reply reply = { 0 };

	(void)b;
	lseek(buf->fd, 0, SEEK_SET);
	while (reply.ok < pages && read(buf->fd, data, cdm_psize) == cdm_psize)
		reply.ok++;
	if (reply.ok < pages)
		reply.ret = -errno;
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

/*
 * Move the file to the device: policies do not put it there. It is mapped for
 * that, and not any more afterwards. Returns what op_move() does.
 */
struct cdm_reply op_move_file(struct cdm_buf *buf, long pages, long b)
{
	struct cdm_reply reply = op_where_file(buf, pages, b);

	if (reply.ret)
		return reply;
	reply = op_move(buf, pages, cdm_node);
	munmap(buf->addr, pages * cdm_psize);
	buf->addr = NULL;
	return reply;
}
