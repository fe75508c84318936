/* SPDX-License-Identifier: GPL-2.0 */
/* Reading the files of a group, and the audit of a node. */
#ifndef _SELFTESTS_CDM_USAGE_H
#define _SELFTESTS_CDM_USAGE_H

#include <stdbool.h>
#include <stddef.h>

#include <stddef.h>

int text_line(const char *text, int node, char *line, size_t len);
long cdm_bytes(const char *group, const char *file, int node);
long cdm_usage(const char *group, int node);
long cdm_wait_usage(const char *group, int node, long pages);
long cdm_nr_dying(const char *group);
long cdm_wait_dying(const char *group, long want);
bool cdm_has_line(const char *group, const char *file, int node);
int cdm_word(const char *group, const char *file, int node, const char *item,
	     char *word, size_t len);
long cdm_item(const char *group, const char *file, int node,
	      const char *event);
long cdm_audit(int node, const char *key);
long cdm_nr_free(void);

/* For cdm_node: events of a group with all below it, or of it alone. */
long cdm_event(const char *group, const char *event);
long cdm_event_local(const char *group, const char *event);
long cdm_stat(const char *group, const char *item);

void cdm_check_root(long pages);

#endif /* _SELFTESTS_CDM_USAGE_H */
