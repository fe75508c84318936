// SPDX-License-Identifier: GPL-2.0
/*
 * The machine is shut down with pages in a file system, a group with a limit,
 * and a group that was removed. The shutdown must not produce a warning, and
 * the books must be in order, both of which the runner of the guest checks.
 */

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdm_util.h"

#define LEFT	1000

/* Not a case, because a case leaves nothing behind. */
static bool leave_behind(void)
{
	char *group = cg_name(cdm_root, "left");
	char *child = cg_name(group, "gone");
	char options[64], page[4096] = "";
	long i, node_pages = 0;
	int fd;

	snprintf(options, sizeof(options), "mpol=bind:%d", cdm_node);
	if (cg_create(group) || cdm_enable(group, "+cdm") || cg_create(child) ||
	    cdm_limit(group, cdm_node, 2 * LEFT) || cg_enter_current(child) ||
	    (mkdir("left", 0700) && errno != EEXIST) ||
	    mount("cdm", "left", "tmpfs", 0, options))
		return false;
	fd = open("left/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	for (i = 0; i < LEFT; i++)
		node_pages += write(fd, page, cdm_psize) == cdm_psize;
	close(fd);
	if (cg_enter_current(cdm_root) || rmdir(child))
		return false;
	return node_pages == LEFT && cdm_usage(group, cdm_node) == LEFT;
}

int main(void)
{
	cdm_init(1);
	cdm_report(leave_behind(), "charges left for the shutdown");
	cdm_exit();
}
