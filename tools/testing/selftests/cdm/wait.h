/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Waiting for others, however busy the machine is.
 *
 * A case often waits for a kernel thread, for another CPU or for RCU. A limit
 * in seconds would depend on the load: the CPUs of a virtual machine stand
 * still while its host runs something else. So a wait is given up only when two
 * limits have passed: seconds on the clock, and turns of the whole machine. A
 * turn is an RCU grace period, in which every CPU that is not idle has to pass
 * through its scheduler or its tick. It takes some 20 ms on an idle machine,
 * and longer on a busy one.
 *
 * There is no limit for a whole case. Instead, what takes long reports
 * progress, and a case that makes none is taken for one that hangs, see case.c.
 */
#ifndef _SELFTESTS_CDM_WAIT_H
#define _SELFTESTS_CDM_WAIT_H

#include <stdbool.h>

/* Factor of all time limits, for slow kernels: $CDM_SLOW, or 1. */
extern int cdm_slow;

struct cdm_wait {
	double end;		/* the clock's limit */
	long polls;
	long turns;		/* that are left */
};

struct cdm_wait cdm_wait_begin(int seconds);
bool cdm_wait_more(struct cdm_wait *wait);

/* Poll until @condition is true; returns false if it was given up. */
#define cdm_wait_until(seconds, condition)				\
({									\
	struct cdm_wait __wait = cdm_wait_begin(seconds);		\
	bool __met;							\
									\
	do {								\
		__met = (condition);					\
	} while (!__met && cdm_wait_more(&__wait));			\
	__met;								\
})

double cdm_now(void);
void cdm_progress(void);

/* For the cases, see case.h. */
void wait_init(void);
long wait_progress(void);

#endif /* _SELFTESTS_CDM_WAIT_H */
