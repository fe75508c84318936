// SPDX-License-Identifier: GPL-2.0
/* System calls, see syscall.h. */

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "syscall.h"

long sys_mbind_nodes(void *addr, unsigned long len, int mode,
		     unsigned long nodes, unsigned int flags)
{
	return syscall(__NR_mbind, addr, len, mode, &nodes,
		       8 * sizeof(nodes) + 1, flags);
}

long sys_mbind(void *addr, unsigned long len, int mode, int node,
	       unsigned int flags)
{
	return sys_mbind_nodes(addr, len, mode, 1UL << node, flags);
}

long sys_set_mempolicy(int mode, unsigned long nodes)
{
	return syscall(__NR_set_mempolicy, mode, &nodes,
		       8 * sizeof(nodes) + 1);
}

long sys_move_pages(int pid, unsigned long count, void **pages,
		    const int *nodes, int *status, int flags)
{
	return syscall(__NR_move_pages, pid, count, pages, nodes, status,
		       flags);
}

long sys_migrate_pages(int pid, unsigned long from, unsigned long to)
{
	return syscall(__NR_migrate_pages, pid, 8 * sizeof(from) + 1, &from,
		       &to);
}

/* Return the node of the page at @addr, or -errno. */
long addr_node(void *addr)
{
	int status;

	if (sys_move_pages(0, 1, &addr, NULL, &status, 0))
		return -errno;
	return status;
}
