/* SPDX-License-Identifier: GPL-2.0 */
/* Calls of a worker on a file in the current directory. */
#ifndef _SELFTESTS_CDM_CACHED_H
#define _SELFTESTS_CDM_CACHED_H

#include "buffer.h"

#define CDM_CACHED	"cached"
struct cdm_reply op_make_file(struct cdm_buf *buf, long pages, long dirty);
struct cdm_reply op_read_file(struct cdm_buf *buf, long pages, long b);
struct cdm_reply op_where_file(struct cdm_buf *buf, long pages, long b);
struct cdm_reply op_move_file(struct cdm_buf *buf, long pages, long b);

#endif /* _SELFTESTS_CDM_CACHED_H */
