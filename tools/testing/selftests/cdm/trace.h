/* SPDX-License-Identifier: GPL-2.0 */
/* Trace events, and what they say of migrations. */
#ifndef _SELFTESTS_CDM_TRACE_H
#define _SELFTESTS_CDM_TRACE_H

/* Trace an event, or all of a system, from an empty buffer on. */
#define CDM_TRACING	"/sys/kernel/tracing/"
void cdm_trace_begin(const char *event);
void cdm_trace_end(const char *event);
long cdm_trace_sum(const char *event, const char *text, const char *key,
		   long *lines);

/* Trace migrations; how many pages were moved for @reason? */
void cdm_migrations_begin(void);
long cdm_migrations_end(const char *reason);

#endif /* _SELFTESTS_CDM_TRACE_H */
