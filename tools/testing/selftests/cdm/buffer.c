// SPDX-License-Identifier: GPL-2.0
/* Buffers, see buffer.h. */

#include <errno.h>
#include <linux/mempolicy.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

#include "buffer.h"
#include "node.h"
#include "syscall.h"
#include "system.h"
#include "wait.h"

static sigjmp_buf sigbus_jump;
static int sigbus_code;
static char *sigbus_addr;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	sigbus_code = info->si_code;
	sigbus_addr = info->si_addr;
	siglongjmp(sigbus_jump, 1);
}

static void sigbus_catch(struct sigaction *old)
{
	struct sigaction sa = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigaction(SIGBUS, &sa, old);
}

/* What the first and the last word of a page are written with. */
long buf_pattern(long page)
{
	return (page + 1) * 0x9e3779b97f4a7c15L;
}

/* Atomic accesses, which the compiler can neither drop nor merge. */
static long page_read(char *page, bool tail)
{
	long *word = tail ? (long *)(page + cdm_psize) - 1 : (long *)page;

	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static bool page_write(char *page, long value)
{
	if (sigsetjmp(sigbus_jump, 0))
		return false;
	__atomic_store_n((long *)page, value, __ATOMIC_RELAXED);
	__atomic_store_n((long *)(page + cdm_psize) - 1, value,
			 __ATOMIC_RELAXED);
	return true;
}

/**
 * buf_touch - write to pages
 * @buf: the buffer
 * @first: the first page
 * @nr: how many
 *
 * A page whose write gets SIGBUS is counted in ->bus and left alone.
 */
struct cdm_reply buf_touch(const struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { .addr_good = true };
	struct sigaction old;
	long i;

	sigbus_catch(&old);
	for (i = first; i < first + nr; i++) {
		char *page = buf->addr + i * cdm_psize;

		cdm_progress();
		if (page_write(page, buf_pattern(i))) {
			reply.ok++;
			continue;
		}
		reply.bus++;
		reply.code = sigbus_code;
		if ((unsigned long)(sigbus_addr - page) >=
		    (unsigned long)cdm_psize)
			reply.addr_good = false;
	}
	sigaction(SIGBUS, &old, NULL);
	return reply;
}

static void count_page(struct cdm_reply *reply, const struct cdm_buf *buf,
		       long page, int node, const int *nodes, int nr)
{
	char *addr = buf->addr + page * cdm_psize;

	reply->last_dev = node == cdm_node;
	if (node < 0)
		return;
	if (node == cdm_node)
		reply->dev++;
	else if (nodes_have(nodes, nr, node))
		reply->other++;
	else
		reply->ram++;
	if (page_read(addr, false) != buf_pattern(page) ||
	    page_read(addr, true) != buf_pattern(page))
		reply->bad++;
}

/**
 * buf_count - count pages by where they are
 * @buf: the buffer
 * @first: the first page
 * @nr: how many
 *
 * Pages that do not hold what buf_touch() wrote are counted in ->bad as well.
 */
struct cdm_reply buf_count(const struct cdm_buf *buf, long first, long nr)
{
	int nodes[CDM_MAX_NODES], nr_nodes, status[256];
	struct cdm_reply reply = { 0 };
	void *pages[256];
	long i, chunk;

	nr_nodes = coherent_nodes(nodes);
	for (; nr > 0; first += chunk, nr -= chunk) {
		chunk = nr < 256 ? nr : 256;
		for (i = 0; i < chunk; i++)
			pages[i] = buf->addr + (first + i) * cdm_psize;
		if (sys_move_pages(0, chunk, pages, NULL, status, 0)) {
			reply.ret = -errno;
			break;
		}
		for (i = 0; i < chunk; i++)
			count_page(&reply, buf, first + i, status[i], nodes,
				   nr_nodes);
	}
	return reply;
}

/* Read all the pages, from swap too; ->bad is those with other contents. */
struct cdm_reply buf_verify(const struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { 0 };
	long i;

	for (i = first; i < first + nr; i++) {
		char *page = buf->addr + i * cdm_psize;

		reply.bad += page_read(page, false) != buf_pattern(i) ||
			page_read(page, true) != buf_pattern(i);
	}
	return reply;
}

struct cdm_reply buf_errno(long ret)
{
	struct cdm_reply reply = { .ret = ret < 0 ? -errno : ret };

	return reply;
}

/**
 * buf_map - map anonymous memory
 * @buf: the buffer
 * @pages: how many
 * @node: the node to bind it to; no policy if negative
 * @huge: align the buffer, and allow huge pages; otherwise forbid them
 *
 * Return: 0 or -errno.
 */
int buf_map(struct cdm_buf *buf, long pages, int node, bool huge)
{
	size_t size = pages * cdm_psize;
	size_t align = huge ? cdm_hpages * cdm_psize : cdm_psize;
	char *addr;

	addr = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr == MAP_FAILED)
		return -errno;
	buf->addr = (char *)(((unsigned long)addr + align - 1) & ~(align - 1));
	buf->pages = pages;
	if (madvise(buf->addr, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) &&
	    (huge || errno != EINVAL))
		return -errno;
	if (node >= 0 && sys_mbind(buf->addr, size, MPOL_BIND, node, 0))
		return -errno;
	return 0;
}

/* Bind the whole buffer to a node, with flags such as MPOL_MF_MOVE. */
struct cdm_reply buf_bind(const struct cdm_buf *buf, int node,
			  unsigned int flags)
{
	return buf_errno(sys_mbind(buf->addr, buf->pages * cdm_psize,
				   MPOL_BIND, node, flags));
}

/* Map @pages of a file, from its page @first on. */
struct cdm_reply buf_map_fd(struct cdm_buf *buf, long first, long pages, int fd,
			    int flags)
{
	buf->pages = pages;
	buf->addr = mmap(NULL, pages * cdm_psize, PROT_READ | PROT_WRITE,
			 flags, fd, first * cdm_psize);
	return buf_errno(buf->addr == MAP_FAILED ? -1 : 0);
}

/* Map a new file in memory, under no policy but that of the task. */
struct cdm_reply buf_map_memfd(struct cdm_buf *buf, long pages)
{
	buf->fd = cdm_memfd(pages);
	if (buf->fd < 0)
		return buf_errno(-1);
	return buf_map_fd(buf, 0, pages, buf->fd, MAP_SHARED);
}

/* Map @huge pages from a pool, bound to @node unless it is negative. */
struct cdm_reply buf_map_pool(struct cdm_buf *buf, long huge, int node,
			      int flags)
{
	void *addr;
	int error;

	buf->pages = huge * cdm_hpages;
	/*
	 * The task's policy says which pools a reservation counts. Write first
	 * to what is written to below: after fork() that takes a copy.
	 */
	errno = 0;
	if (node >= 0 && sys_set_mempolicy(MPOL_BIND, 1UL << node))
		return buf_errno(-1);
	addr = mmap(NULL, buf->pages * cdm_psize, PROT_READ | PROT_WRITE,
		    MAP_ANONYMOUS | MAP_HUGETLB | flags, -1, 0);
	error = errno;
	if (node >= 0)
		sys_set_mempolicy(MPOL_DEFAULT, 0);
	errno = error;
	buf->addr = addr;
	if (buf->addr == MAP_FAILED)
		return buf_errno(-1);
	return node < 0 ? buf_errno(0) : buf_bind(buf, node, 0);
}
