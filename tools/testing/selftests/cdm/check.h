/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Checks.
 *
 * A check that fails prints its place and the values, marks the case as failed
 * and goes on. Where that makes no sense, "if (!CHECK_EQ(...)) return;" ends
 * the case. Checks may also be used in workers.
 */
#ifndef _SELFTESTS_CDM_CHECK_H
#define _SELFTESTS_CDM_CHECK_H

#include <stdbool.h>

#include "kselftest.h"

void cdm_check_failed(const char *file, int line, const char *what,
		      long actual, const char *op, long expected);
void cdm_fail(const char *file, int line, const char *fmt, ...)
	__printf(3, 4);

#define CHECK_OP(actual, op, expected)					\
({									\
	long __actual = (long)(actual);					\
	long __expected = (long)(expected);				\
	bool __good = __actual op __expected;				\
									\
	if (!__good)							\
		cdm_check_failed(__FILE__, __LINE__,			\
				 #actual " " #op " " #expected,		\
				 __actual, #op, __expected);		\
	__good;								\
})

#define CHECK_EQ(actual, expected)	CHECK_OP(actual, ==, expected)
#define CHECK_NE(actual, expected)	CHECK_OP(actual, !=, expected)
#define CHECK_LE(actual, expected)	CHECK_OP(actual, <=, expected)
#define CHECK_LT(actual, expected)	CHECK_OP(actual, <, expected)
#define CHECK_GE(actual, expected)	CHECK_OP(actual, >=, expected)
#define CHECK_GT(actual, expected)	CHECK_OP(actual, >, expected)
#define CHECK_STR(actual, expected)					\
	cdm_check_str(__FILE__, __LINE__, #actual, actual, expected)

bool cdm_check_str(const char *file, int line, const char *what,
		   const char *actual, const char *expected);

/* For the cases, see case.h. */
void checks_init(void);
void checks_begin(void);
bool checks_failed(void);

#endif /* _SELFTESTS_CDM_CHECK_H */
