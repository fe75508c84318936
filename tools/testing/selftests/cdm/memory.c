// SPDX-License-Identifier: GPL-2.0
/* RAM of a group, see memory.h. */

#include "check.h"
#include "group.h"
#include "memory.h"
#include "node.h"

void cdm_set_memory(const char *group, const char *file, long pages)
{
	if (pages < 0)
		CHECK_EQ(cdm_write(group, file, "max"), 0);
	else
		CHECK_EQ(cdm_write(group, file, "%ld", pages * cdm_psize), 0);
}

long cdm_ram_usage(const char *group)
{
	return cg_read_long(group, "memory.current") / cdm_psize;
}

void cdm_fill_ram(const char *group)
{
	cdm_set_memory(group, "memory.swap.max", 0);
	cdm_set_memory(group, "memory.max", cdm_ram_usage(group));
}

/* Check that the RAM of @group has grown from @before by @pages. */
void cdm_check_ram(const char *group, long before, long pages)
{
	long now = cdm_ram_usage(group);

	CHECK_GE(now, before + pages - CDM_RAM_SLACK);
	CHECK_LE(now, before + pages + CDM_RAM_SLACK);
}

void cdm_check_no_oom(const char *group)
{
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom "), 0);
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom_kill "), 0);
}
