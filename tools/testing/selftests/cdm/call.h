/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls of a worker.
 *
 * Page numbers are relative to the start of the worker's buffer, which the
 * op_map*() calls replace. A negative node means no memory policy.
 */
#ifndef _SELFTESTS_CDM_CALL_H
#define _SELFTESTS_CDM_CALL_H

#include "buffer.h"

typedef struct cdm_reply (*cdm_op)(struct cdm_buf *buf, long a, long b);

struct cdm_reply op_map(struct cdm_buf *buf, long pages, long node);
struct cdm_reply op_map_huge(struct cdm_buf *buf, long pages, long node);
struct cdm_reply op_map_memfd(struct cdm_buf *buf, long pages, long node);
struct cdm_reply op_touch(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_write(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_verify(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_count(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_resident(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_unmap(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_discard(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_pageout(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_address(struct cdm_buf *buf, long a, long b);
struct cdm_reply op_move(struct cdm_buf *buf, long nr, long node);
struct cdm_reply op_move_part(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_bind(struct cdm_buf *buf, long node, long flags);
struct cdm_reply op_mlock(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_huge_mapped(struct cdm_buf *buf, long a, long b);
struct cdm_reply op_collapse(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_frame(struct cdm_buf *buf, long page, long b);
struct cdm_reply op_on_cpu(struct cdm_buf *buf, long cpu, long b);
struct cdm_reply op_map_pool(struct cdm_buf *buf, long huge, long node);

#endif /* _SELFTESTS_CDM_CALL_H */
