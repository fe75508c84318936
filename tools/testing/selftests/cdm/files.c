// SPDX-License-Identifier: GPL-2.0
/* Plain files, see files.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"

/* Read a text file; the text is terminated. Returns 0 or -errno. */
int file_read(const char *path, char *buf, size_t len)
{
	size_t got = 0;
	ssize_t ret;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		ret = read(fd, buf + got, len - 1 - got);
		if (ret > 0)
			got += ret;
	} while (ret > 0 && got < len - 1);
	buf[got] = '\0';
	ret = ret < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* Write to a file, in a single write(). Returns 0 or -errno. */
int file_write(const char *path, const char *fmt, ...)
{
	char buf[4096];
	va_list args;
	int fd, len, ret;

	va_start(args, fmt);
	len = vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, buf, len);
	if (ret < 0)
		ret = -errno;
	else
		ret = ret == len ? 0 : -EIO;
	close(fd);
	return ret;
}

/* Read the number that a file starts with, or CDM_NONE. */
long file_long(const char *path)
{
	char buf[128];

	if (file_read(path, buf, sizeof(buf)))
		return CDM_NONE;
	return strtol(buf, NULL, 0);
}

/**
 * file_key - read one number of a file of many
 * @path: the file
 * @key: the text before the number; its first occurrence counts
 *
 * Return: the number, or CDM_NONE.
 */
long file_key(const char *path, const char *key)
{
	static char buf[1 << 16];
	char *found;

	if (file_read(path, buf, sizeof(buf)))
		return CDM_NONE;
	found = strstr(buf, key);
	if (!found)
		return CDM_NONE;
	return strtol(found + strlen(key), NULL, 0);
}

/* Read a counter of /proc/vmstat, after the CPUs have added their parts. */
long vm_event(const char *name)
{
	char key[64];

	file_long("/proc/sys/vm/stat_refresh");
	snprintf(key, sizeof(key), "\n%s ", name);
	return file_key("/proc/vmstat", key);
}

bool file_exists(const char *path)
{
	return !access(path, F_OK);
}
