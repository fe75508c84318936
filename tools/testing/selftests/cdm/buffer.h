/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The mapping that a worker keeps, and building blocks for its calls.
 *
 * Each page is filled with a pattern of its own, so that a later call can tell
 * whether the page still holds what was written.
 */
#ifndef _SELFTESTS_CDM_BUFFER_H
#define _SELFTESTS_CDM_BUFFER_H

#include <stdbool.h>

/* The mapping of a worker. */
struct cdm_buf {
	char *addr;
	long pages;
	int pins[256];		/* pipes that hold pages from vmsplice() */
	int nr_pins;
	int fd;			/* the file that is mapped, or -1 */
};

/* What a call returns. Each call says which members it sets. */
struct cdm_reply {
	long ret;		/* what it returned; -errno if it failed */
	long ok;		/* pages written to */
	long bus;		/* pages that got SIGBUS, or did not move */
	int code;		/* si_code of the last SIGBUS */
	bool addr_good;		/* each SIGBUS named the address of its page */
	long dev;		/* pages on cdm_node */
	long other;		/* pages on another CDM node */
	long ram;		/* pages in RAM */
	long bad;		/* pages with other contents than written */
	bool last_dev;		/* the last page asked about is on cdm_node */
};

int buf_map(struct cdm_buf *buf, long pages, int node, bool huge);
struct cdm_reply buf_map_fd(struct cdm_buf *buf, long first, long pages, int fd,
			    int flags);
struct cdm_reply buf_map_memfd(struct cdm_buf *buf, long pages);
struct cdm_reply buf_map_pool(struct cdm_buf *buf, long huge, int node,
			      int flags);
struct cdm_reply buf_bind(const struct cdm_buf *buf, int node,
			  unsigned int flags);
struct cdm_reply buf_touch(const struct cdm_buf *buf, long first, long nr);
struct cdm_reply buf_count(const struct cdm_buf *buf, long first, long nr);
struct cdm_reply buf_verify(const struct cdm_buf *buf, long first, long nr);
struct cdm_reply buf_errno(long ret);
long buf_pattern(long page);

#endif /* _SELFTESTS_CDM_BUFFER_H */
