// SPDX-License-Identifier: GPL-2.0
/* Waiting for others, see wait.h. */

#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "wait.h"

/* About as many as an idle machine takes in a second. */
#define TURNS		50
/* Most waits are short: the first polls only let others run. */
#define QUICK_POLLS	100

int cdm_slow;

/* Steps that all processes of the program have done so far. */
static atomic_long *progress;

void wait_init(void)
{
	const char *slow = getenv("CDM_SLOW");

	cdm_slow = slow ? atoi(slow) : 1;
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED)
		ksft_exit_fail_msg("no shared page\n");
}

/* Seconds on a clock that is never set. */
double cdm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* To be called after each step of what may take long: it does not hang. */
void cdm_progress(void)
{
	atomic_fetch_add_explicit(progress, 1, memory_order_relaxed);
}

long wait_progress(void)
{
	return atomic_load_explicit(progress, memory_order_relaxed);
}

/**
 * cdm_wait_begin - begin a wait
 * @seconds: its limit on an idle machine
 */
struct cdm_wait cdm_wait_begin(int seconds)
{
	struct cdm_wait wait = {
		.end = cdm_now() + seconds * cdm_slow,
		.turns = (long)seconds * cdm_slow * TURNS,
	};

	return wait;
}

/**
 * cdm_wait_more - let others run between two polls
 * @wait: the wait
 *
 * Return: whether to poll again; false when the wait is given up.
 */
bool cdm_wait_more(struct cdm_wait *wait)
{
	if (wait->turns <= 0 && cdm_now() > wait->end)
		return false;
	cdm_progress();
	if (wait->polls++ < QUICK_POLLS) {
		sched_yield();
		return true;
	}
	/* With a single CPU the barrier returns at once. */
	usleep(1000);
	syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	wait->turns--;
	return true;
}
