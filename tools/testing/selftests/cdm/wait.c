// SPDX-License-Identifier: GPL-2.0
/* Time, see wait.h. */

#include <stdlib.h>
#include <time.h>

#include "wait.h"

int cdm_slow;

void wait_init(void)
{
	const char *slow = getenv("CDM_SLOW");

	cdm_slow = slow ? atoi(slow) : 1;
}

double cdm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}
