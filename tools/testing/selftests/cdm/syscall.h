/* SPDX-License-Identifier: GPL-2.0 */
/* System calls and constants that libc may lack. */
#ifndef _SELFTESTS_CDM_SYSCALL_H
#define _SELFTESTS_CDM_SYSCALL_H

#include <linux/mempolicy.h>

/* An enumerator where headers have it. */
#define MPOL_WEIGHTED_INTERLEAVE	6

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

long sys_mbind_nodes(void *addr, unsigned long len, int mode,
		     unsigned long nodes, unsigned int flags);
long sys_mbind(void *addr, unsigned long len, int mode, int node,
	       unsigned int flags);
long sys_set_mempolicy(int mode, unsigned long nodes);
long sys_move_pages(int pid, unsigned long count, void **pages,
		    const int *nodes, int *status, int flags);
long sys_migrate_pages(int pid, unsigned long from, unsigned long to);
long addr_node(void *addr);

#endif /* _SELFTESTS_CDM_SYSCALL_H */
