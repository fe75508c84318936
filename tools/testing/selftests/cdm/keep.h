/* SPDX-License-Identifier: GPL-2.0 */
/* A file in memory, whose pages stay charged while no task maps them. */
#ifndef _SELFTESTS_CDM_KEEP_H
#define _SELFTESTS_CDM_KEEP_H

#include "buffer.h"

extern int cdm_keep_fd;
void cdm_keep_open(long pages);
void cdm_keep_close(void);
void cdm_leave_charged(const char *group, long first, long pages);
struct cdm_reply op_map_keep(struct cdm_buf *buf, long first, long pages);

#endif /* _SELFTESTS_CDM_KEEP_H */
