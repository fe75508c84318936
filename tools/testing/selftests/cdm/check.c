// SPDX-License-Identifier: GPL-2.0
/* Checks, see check.h. */

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "kselftest.h"

/* Shared with the workers. */
static struct {
	atomic_long failures;	/* checks that failed in the running case */
} *shared;

void cdm_fail(const char *file, int line, const char *fmt, ...)
{
	char what[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	ksft_print_msg("%s:%d: %s\n", file, line, what);
	atomic_fetch_add(&shared->failures, 1);
}

void cdm_check_failed(const char *file, int line, const char *what,
		      long actual, const char *op, long expected)
{
	cdm_fail(file, line, "%s: %ld %s %ld is not so", what, actual, op,
		 expected);
}

bool cdm_check_str(const char *file, int line, const char *what,
		   const char *actual, const char *expected)
{
	if (!strcmp(actual, expected))
		return true;
	cdm_fail(file, line, "%s: '%s' is not '%s'", what, actual, expected);
	return false;
}

void checks_init(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_msg("no shared page\n");
	atomic_store(&shared->failures, 0);
}

void checks_begin(void)
{
	atomic_store(&shared->failures, 0);
}

bool checks_failed(void)
{
	return atomic_load(&shared->failures);
}
