// SPDX-License-Identifier: GPL-2.0
/* Calls of a worker, see call.h. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "node.h"
#include "syscall.h"

struct cdm_reply op_map(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = { .ret = buf_map(buf, pages, node, false) };

	return reply;
}

struct cdm_reply op_map_huge(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = { .ret = buf_map(buf, pages, node, true) };

	return reply;
}

struct cdm_reply op_map_memfd(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = buf_map_memfd(buf, pages);

	return reply.ret ? reply : buf_bind(buf, node, 0);
}

struct cdm_reply op_map_pool(struct cdm_buf *buf, long huge, long node)
{
	return buf_map_pool(buf, huge, node, MAP_PRIVATE);
}

/* Write to the pages, then count them by where they are. */
struct cdm_reply op_touch(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = buf_touch(buf, first, nr);
	struct cdm_reply where = buf_count(buf, first, nr);

	where.ok = reply.ok;
	where.bus = reply.bus;
	where.code = reply.code;
	where.addr_good = reply.addr_good;
	return where;
}

/* Write to the pages without looking where they are afterwards. */
struct cdm_reply op_write(struct cdm_buf *buf, long first, long nr)
{
	return buf_touch(buf, first, nr);
}

struct cdm_reply op_count(struct cdm_buf *buf, long first, long nr)
{
	return buf_count(buf, first, nr);
}

/* Read all the pages, from swap too; ->bad is those with other contents. */
struct cdm_reply op_verify(struct cdm_buf *buf, long first, long nr)
{
	return buf_verify(buf, first, nr);
}

/* ->ret is how many of the pages are in memory, mapped or not. */
struct cdm_reply op_resident(struct cdm_buf *buf, long first, long nr)
{
	unsigned char *in = calloc(nr, 1);
	struct cdm_reply reply = { 0 };
	long i;

	if (mincore(buf->addr + first * cdm_psize, nr * cdm_psize, in))
		reply.ret = -errno;
	for (i = 0; i < nr; i++)
		reply.ret += in[i] & 1;
	free(in);
	return reply;
}

struct cdm_reply op_unmap(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(munmap(buf->addr + first * cdm_psize,
				nr * cdm_psize));
}

struct cdm_reply op_discard(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_DONTNEED));
}

struct cdm_reply op_pageout(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_PAGEOUT));
}

struct cdm_reply op_address(struct cdm_buf *buf, long a, long b)
{
	struct cdm_reply reply = { .ret = (long)buf->addr + a * cdm_psize };

	(void)b;
	return reply;
}

/*
 * move_pages() of the caller's own buffer: ->ok is the pages that are on @node
 * afterwards, and ->bus those that are not. The call has no status for each
 * page when it could not move some, so ask again where they are.
 */
static struct cdm_reply move_part(struct cdm_buf *buf, long first, long nr,
				  long node)
{
	struct cdm_reply reply = { 0 };
	int *status = calloc(nr, sizeof(*status));
	int *nodes = calloc(nr, sizeof(*nodes));
	void **pages = calloc(nr, sizeof(*pages));
	long i;

	for (i = 0; i < nr; i++) {
		pages[i] = buf->addr + (first + i) * cdm_psize;
		nodes[i] = node;
		status[i] = INT_MIN;
	}
	reply.ret = sys_move_pages(0, nr, pages, nodes, status, MPOL_MF_MOVE);
	if (reply.ret < 0)
		reply.ret = -errno;
	if (sys_move_pages(0, nr, pages, NULL, status, 0))
		reply.ret = -errno;
	for (i = 0; i < nr; i++) {
		if (status[i] == node)
			reply.ok++;
		else if (status[i] >= 0)
			reply.bus++;
		else
			reply.code = status[i];
	}
	free(status);
	free(nodes);
	free(pages);
	return reply;
}

/* Move the first @nr pages. */
struct cdm_reply op_move(struct cdm_buf *buf, long nr, long node)
{
	return move_part(buf, 0, nr, node);
}

/* Move @nr pages from page @first on to cdm_node. */
struct cdm_reply op_move_part(struct cdm_buf *buf, long first, long nr)
{
	return move_part(buf, first, nr, cdm_node);
}

/* Bind the buffer to a node, with flags such as MPOL_MF_MOVE. */
struct cdm_reply op_bind(struct cdm_buf *buf, long node, long flags)
{
	return buf_bind(buf, node, flags);
}

struct cdm_reply op_mlock(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(mlock(buf->addr + first * cdm_psize, nr * cdm_psize));
}

/* ->ret is how many pages are mapped as parts of huge ones, by smaps. */
struct cdm_reply op_huge_mapped(struct cdm_buf *buf, long a, long b)
{
	unsigned long addr = (unsigned long)buf->addr, start, end;
	struct cdm_reply reply = { 0 };
	char line[512];
	bool ours = false;
	FILE *smaps = fopen("/proc/self/smaps", "r");
	long kib;

	(void)a;
	(void)b;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			ours = end > addr &&
				start < addr + buf->pages * cdm_psize;
		else if (ours && sscanf(line, "AnonHugePages: %ld", &kib) == 1)
			reply.ret += kib * 1024 / cdm_psize;
	}
	fclose(smaps);
	return reply;
}

struct cdm_reply op_collapse(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_COLLAPSE));
}

/* ->ret is the frame number of a page, or 0 if none is mapped. */
struct cdm_reply op_frame(struct cdm_buf *buf, long page, long b)
{
	unsigned long addr = (unsigned long)buf->addr + page * cdm_psize;
	struct cdm_reply reply = { 0 };
	unsigned long entry = 0;
	int fd;

	(void)b;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &entry, sizeof(entry),
		  addr / cdm_psize * sizeof(entry)) != sizeof(entry))
		reply.ret = -errno;
	else if (entry >> 63)
		reply.ret = entry & ((1UL << 55) - 1);
	close(fd);
	return reply;
}

struct cdm_reply op_on_cpu(struct cdm_buf *buf, long cpu, long b)
{
	cpu_set_t set;

	(void)buf;
	(void)b;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return buf_errno(sched_setaffinity(0, sizeof(set), &set));
}
