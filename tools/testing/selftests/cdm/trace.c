// SPDX-License-Identifier: GPL-2.0
/* Trace events, see trace.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "files.h"
#include "trace.h"

static void trace_enable(const char *event, bool on)
{
	char path[128];

	snprintf(path, sizeof(path), CDM_TRACING "events/%s/enable", event);
	CHECK_EQ(file_write(path, "%d", on), 0);
}

/* Trace an event only where @filter is true; "0" for all of them. */
void cdm_trace_filter(const char *event, const char *filter)
{
	char path[128];

	snprintf(path, sizeof(path), CDM_TRACING "events/%s/filter", event);
	CHECK_EQ(file_write(path, "%s", filter), 0);
}

void cdm_trace_begin(const char *event)
{
	int fd = open(CDM_TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	CHECK_GE(fd, 0);
	close(fd);
	trace_enable(event, true);
}

void cdm_trace_end(const char *event)
{
	trace_enable(event, false);
}

/**
 * cdm_trace_sum - add up numbers in the trace
 * @event: the event's name, as in the trace
 * @text: what else its lines have to contain
 * @key: the text before the number
 * @lines: gets how many lines there are, unless it is NULL
 *
 * Return: the sum, or CDM_NONE.
 */
long cdm_trace_sum(const char *event, const char *text, const char *key,
		   long *lines)
{
	static char line[1024];
	long sum = 0, nr = 0;
	FILE *trace;

	trace = fopen(CDM_TRACING "trace", "r");
	if (!trace)
		return CDM_NONE;
	while (fgets(line, sizeof(line), trace)) {
		char *number = strstr(line, key);

		if (!number || !strstr(line, event) || !strstr(line, text))
			continue;
		sum += strtol(number + strlen(key), NULL, 10);
		nr++;
	}
	fclose(trace);
	if (lines)
		*lines = nr;
	return sum;
}

#define MIGRATIONS	"migrate/mm_migrate_pages"

void cdm_migrations_begin(void)
{
	cdm_trace_begin(MIGRATIONS);
}

long cdm_migrations_end(const char *reason)
{
	char text[64];

	cdm_trace_end(MIGRATIONS);
	snprintf(text, sizeof(text), "reason=%s\n", reason);
	return cdm_trace_sum("mm_migrate_pages:", text, "nr_succeeded=", NULL);
}
