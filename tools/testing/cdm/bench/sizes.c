// SPDX-License-Identifier: GPL-2.0
/*
 * Sizes of structures that are private to mm/cdm/, for make bench: compiled,
 * looked at with nm, and never linked.
 */
#include <mm/cdm/owner_table.c>

#define SIZE(name, type) char size_##name[sizeof(type)]

SIZE(entry, *((struct cdm_owner_table *)0)->section[0]);
SIZE(directory, ((struct cdm_owner_table *)0)->section[0]);
SIZE(group, struct cdm_group);
SIZE(owner, struct cdm_owner);
SIZE(counter, struct cdm_counter);
SIZE(tree, struct cdm_tree);
SIZE(stock, struct cdm_stock);
SIZE(pending, struct cdm_pending_stat);
SIZE(fallbacks, struct cdm_pending_fallbacks);
