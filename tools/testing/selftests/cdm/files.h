/* SPDX-License-Identifier: GPL-2.0 */
/* Plain files, most of them in /proc and /sys. */
#ifndef _SELFTESTS_CDM_FILES_H
#define _SELFTESTS_CDM_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "kselftest.h"

/* Returned when a number cannot be read; no counter has this value. */
#define CDM_NONE	(-1L)

int file_read(const char *path, char *buf, size_t len);
int file_write(const char *path, const char *fmt, ...)
	__printf(2, 3);
long file_long(const char *path);
long file_key(const char *path, const char *key);
long vm_event(const char *name);
bool file_exists(const char *path);

#endif /* _SELFTESTS_CDM_FILES_H */
