/* SPDX-License-Identifier: GPL-2.0 */
/* Time, and how much of it a slow kernel needs. */
#ifndef _SELFTESTS_CDM_WAIT_H
#define _SELFTESTS_CDM_WAIT_H

/* How long frees that others hold up may take to be seen. */
#define CDM_SETTLE_SECONDS	5

extern int cdm_slow;		/* factor of time limits: $CDM_SLOW, or 1 */

void wait_init(void);
double cdm_now(void);

#endif /* _SELFTESTS_CDM_WAIT_H */
