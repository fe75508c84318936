/* SPDX-License-Identifier: GPL-2.0 */
/* Calls of a worker that hold pages where they are. */
#ifndef _SELFTESTS_CDM_PIN_H
#define _SELFTESTS_CDM_PIN_H

#include "buffer.h"

struct cdm_reply op_pin(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_unpin(struct cdm_buf *buf, long a, long b);
struct cdm_reply op_longterm(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_longterm_end(struct cdm_buf *buf, long a, long b);

#endif /* _SELFTESTS_CDM_PIN_H */
