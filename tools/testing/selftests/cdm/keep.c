// SPDX-License-Identifier: GPL-2.0
/* A file that keeps charges, see keep.h. */

#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "keep.h"
#include "node.h"
#include "system.h"
#include "usage.h"
#include "worker.h"

int cdm_keep_fd = -1;

void cdm_keep_open(long pages)
{
	cdm_keep_fd = cdm_memfd(pages);
	CHECK_GE(cdm_keep_fd, 0);
}

/* Truncate the file first, as workers may have it open too. */
void cdm_keep_close(void)
{
	CHECK_EQ(ftruncate(cdm_keep_fd, 0), 0);
	close(cdm_keep_fd);
	cdm_keep_fd = -1;
}

/* Map @pages of the file from page @first on, bound to the device. */
struct cdm_reply op_map_keep(struct cdm_buf *buf, long first, long pages)
{
	if (buf_map_fd(buf, first, pages, cdm_keep_fd, MAP_SHARED).ret)
		return buf_errno(-1);
	return buf_bind(buf, cdm_node, 0);
}

/* Charge pages of the file to @group, and leave no task in the group. */
void cdm_leave_charged(const char *group, long first, long pages)
{
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_keep, first, pages).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	task_end(&task);
	CHECK_EQ(cdm_usage(group, cdm_node), pages);
}
