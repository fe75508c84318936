/* SPDX-License-Identifier: GPL-2.0 */
/* Trace events. */
#ifndef _SELFTESTS_CDM_TRACE_H
#define _SELFTESTS_CDM_TRACE_H

/* Trace an event, or all events of a system, into an empty buffer. */
#define CDM_TRACING	"/sys/kernel/tracing/"
void cdm_trace_filter(const char *event, const char *filter);
void cdm_trace_begin(const char *event);
void cdm_trace_end(const char *event);
long cdm_trace_sum(const char *event, const char *text, const char *key,
		   long *lines);

/* Trace migrations; the end returns how many pages moved for @reason. */
void cdm_migrations_begin(void);
long cdm_migrations_end(const char *reason);

#endif /* _SELFTESTS_CDM_TRACE_H */
