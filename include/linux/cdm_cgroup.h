/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the files of the cdm controller (kernel/cgroup/cdm.c) and mm/cdm/,
 * which does the work
 *
 * Calls go one way: the controller calls mm/cdm/, which never calls it back,
 * except for a KUnit test of the parser.
 * The little that mm/cdm/ needs of a cgroup, which is to find one and to notify
 * its files, it takes from struct cdm_group by the inlines below.
 */
#ifndef _LINUX_CDM_CGROUP_H
#define _LINUX_CDM_CGROUP_H

#include <linux/cgroup.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/types.h>

struct cdm_owner;
struct mm_struct;

/* Nodes that can be CDM at a time: bounds the counter pointers of an owner. */
#define CDM_MAX_NODES	64

/* No limit, in pages. */
#define CDM_MAX		ULONG_MAX

/**
 * enum cdm_policy - the words of cdm.policy
 * @CDM_INHERIT: both answers are the nearest ancestor's that has them
 * @CDM_INHERIT_FALLBACK: who makes way is an ancestor's answer; without room
 *	take RAM
 * @CDM_INHERIT_FAIL: who makes way is an ancestor's answer; without room fail
 * @CDM_FALLBACK: nobody makes way; take RAM
 * @CDM_FAIL: nobody makes way; fail
 * @CDM_RECLAIM_FALLBACK: colder pages of the subtree that begins at the group
 *	with this word make way; without room take RAM
 * @CDM_RECLAIM_FAIL: the same; without room fail
 *
 * A word answers two questions: may colder pages make way for a request that
 * misses, and what does it get if there is no page?
 */
enum cdm_policy {
	CDM_INHERIT,
	CDM_INHERIT_FALLBACK,
	CDM_INHERIT_FAIL,
	CDM_FALLBACK,
	CDM_FAIL,
	CDM_RECLAIM_FALLBACK,
	CDM_RECLAIM_FAIL,
	/* private: */
	CDM_NR_POLICIES,
};

/* Is it left to an ancestor who makes way? */
static inline bool cdm_policy_inherits(enum cdm_policy policy)
{
	return policy <= CDM_INHERIT_FAIL;
}

static inline bool cdm_policy_reclaims(enum cdm_policy policy)
{
	return policy >= CDM_RECLAIM_FALLBACK;
}

static inline bool cdm_policy_fails(enum cdm_policy policy)
{
	return policy == CDM_INHERIT_FAIL || policy == CDM_FAIL ||
	       policy == CDM_RECLAIM_FAIL;
}

/**
 * struct cdm_effective_policy - the policy that applies to an owner on a node
 * @reach: owner of the group whose subtree may make way: that in whose file the
 *	word stands; NULL for nobody
 * @fails: no page is preferred to one in RAM
 */
struct cdm_effective_policy {
	struct cdm_owner *reach;
	bool fails;
};

/**
 * enum cdm_event - lines of cdm.events
 * @CDM_EV_MAX: the limit of this group had no room for a charge
 * @CDM_EV_DEPLETED: the node had no page although the limits had room
 * @CDM_EV_FALLBACK: a request of this group went to RAM, or its page stayed
 *	there
 * @CDM_EV_FAIL: a request of this group was refused
 * @CDM_EV_RECLAIM: pages were demoted to make room for a request of this group
 * @CDM_EV_LOW: pages of this group were demoted although cdm.low protects them
 * @CDM_EV_TAKEN: pages of this group were demoted for a request from outside it
 */
enum cdm_event {
	CDM_EV_MAX,
	CDM_EV_DEPLETED,
	CDM_EV_FALLBACK,
	CDM_EV_FAIL,
	CDM_EV_RECLAIM,
	CDM_EV_LOW,
	CDM_EV_TAKEN,
	/* private: */
	CDM_NR_EVENTS,
};

/**
 * enum cdm_stat - items of cdm.stat that count migrated pages
 * @CDM_STAT_MOVED_IN: to the node, from RAM or another CDM node
 * @CDM_STAT_MOVED_OUT: from the node, for none of the reasons below
 * @CDM_STAT_DEMOTED: from the node to RAM, by reclaim: the sum of the three
 *	kinds below, calculated when it is read
 * @CDM_STAT_PINNED_OUT: from the node to RAM, to be pinned for long
 * @CDM_STAT_DEMOTED_ANON: part of @CDM_STAT_DEMOTED: private memory
 * @CDM_STAT_DEMOTED_FILE: part of @CDM_STAT_DEMOTED: page cache
 * @CDM_STAT_DEMOTED_SHMEM: part of @CDM_STAT_DEMOTED: shared memory and tmpfs
 * @CDM_STAT_TAKEN: part of @CDM_STAT_DEMOTED: for requests from outside the
 *	group, see @CDM_EV_TAKEN
 */
enum cdm_stat {
	CDM_STAT_MOVED_IN,
	CDM_STAT_MOVED_OUT,
	CDM_STAT_DEMOTED,
	CDM_STAT_PINNED_OUT,
	CDM_STAT_DEMOTED_ANON,
	CDM_STAT_DEMOTED_FILE,
	CDM_STAT_DEMOTED_SHMEM,
	CDM_STAT_TAKEN,
	/* private: */
	CDM_NR_STATS,
};

/**
 * enum cdm_setting - values that a group has for each node
 * @CDM_SETTING_MAX: cdm.max, in pages
 * @CDM_SETTING_LOW: cdm.low, in pages
 * @CDM_SETTING_POLICY: cdm.policy, an &enum cdm_policy
 */
enum cdm_setting {
	CDM_SETTING_MAX,
	CDM_SETTING_LOW,
	CDM_SETTING_POLICY,
	/* private: */
	CDM_NR_SETTINGS,
};

/**
 * enum cdm_line - what a write says of one node
 * @CDM_LINE_NONE: nothing
 * @CDM_LINE_SET: its value
 * @CDM_LINE_DROP: that it has the default value
 */
enum cdm_line {
	CDM_LINE_NONE,
	CDM_LINE_SET,
	CDM_LINE_DROP,
};

/**
 * struct cdm_settings - a parsed write to a file of settings, or to cdm.reclaim
 * @has_default: there was a value for nodes with none of their own
 * @default_value: that value
 * @line:	by node index: which kind of line there was
 * @value:	by node index: the value of a @CDM_LINE_SET
 */
struct cdm_settings {
	bool has_default;
	unsigned long default_value;
	enum cdm_line line[CDM_MAX_NODES];
	unsigned long value[CDM_MAX_NODES];
};

/**
 * struct cdm_group - the cdm part of a cgroup
 * @css:	base
 * @owner:	whom its pages are charged to; constant
 * @id:		of @owner; constant
 * @watchers:	open files that have reset cdm.peak; cdm_mutex
 * @events_file: cdm.events, to notify
 * @events_local_file: cdm.events.local, to notify
 */
struct cdm_group {
	struct cgroup_subsys_state css;
	struct cdm_owner *owner;
	u16 id;
	struct list_head watchers;
	struct cgroup_file events_file;
	struct cgroup_file events_local_file;
};

/*
 * What mm/cdm/ needs of cgroups.
 */

static __always_inline struct cdm_group *
css_cdm(struct cgroup_subsys_state *css)
{
	return css ? container_of(css, struct cdm_group, css) : NULL;
}

/**
 * cdm_mm_group - the group that pays for pages of an address space
 * @mm: the address space, or NULL
 *
 * Context: RCU read side.
 * Return: the group of the process that owns @mm, or NULL without such a one.
 */
static __always_inline struct cdm_group *
cdm_mm_group(const struct mm_struct *mm)
{
	struct task_struct *task = mm ? rcu_dereference(mm->owner) : NULL;

	return task ? css_cdm(task_css(task, cdm_cgrp_id)) : NULL;
}

/* The nearest group up the tree from the cgroup of @css. RCU read side. */
static inline struct cdm_group *
cdm_css_group(const struct cgroup_subsys_state *css)
{
	return css_cdm(cgroup_e_css(css->cgroup, &cdm_cgrp_subsys));
}

/* The css of the memory controller for @group, with a reference. */
static inline struct cgroup_subsys_state *
cdm_group_get_memcg(struct cdm_group *group)
{
	return cgroup_get_e_css(group->css.cgroup, &memory_cgrp_subsys);
}

/*
 * The cgroup core limits the rate of notifications with a timer: while that is
 * pending there is nothing to do, because it runs after the event was counted.
 */
static inline void cdm_notify_file(struct cgroup_file *file)
{
	/*
	 * Orders the count before the test: a timer that is not pending any
	 * more may have notified before. Pairs with the timer code, which
	 * detaches a timer before it calls the function.
	 */
	smp_mb();
	if (!timer_pending(&file->notify_timer))
		cgroup_file_notify(file);
}

/* Wake those who poll the events of @group. May not hold a tree's lock. */
static inline void cdm_group_notify(struct cdm_group *group, bool local)
{
	if (local)
		cdm_notify_file(&group->events_local_file);
	cdm_notify_file(&group->events_file);
}

/*
 * What the controller calls.
 */

/* mm/cdm/owner.c */
extern struct mutex cdm_mutex;

struct cdm_owner *cdm_owner_create(struct cdm_owner *parent,
				   struct cdm_group *group);
u16 cdm_owner_id(const struct cdm_owner *owner);
int cdm_owner_online(struct cdm_owner *owner);
void cdm_owner_offline(struct cdm_owner *owner);
void cdm_owner_detach(struct cdm_owner *owner);
void cdm_owner_release(struct cdm_owner *owner);
unsigned long cdm_owner_default(const struct cdm_owner *owner,
				enum cdm_setting which);
bool cdm_owner_has_own(const struct cdm_owner *owner, unsigned int idx,
		       enum cdm_setting which);
void cdm_owner_apply(struct cdm_owner *owner, enum cdm_setting which,
		     const struct cdm_settings *settings);
struct cdm_effective_policy cdm_get_policy(struct cdm_owner *owner,
					   unsigned int idx);
unsigned int cdm_owner_levels(const struct cdm_owner *owner,
			      const struct cdm_owner *ancestor);

/* mm/cdm/counter.c */
extern unsigned int cdm_nr_nodes;

void cdm_drain(const struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_charged(const struct cdm_owner *owner, unsigned int idx,
			  unsigned long *usage);
unsigned long cdm_usage(const struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_excess(struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_peak(const struct cdm_owner *owner, unsigned int idx,
		       bool reset);
unsigned long cdm_reset_peak(struct cdm_owner *owner, unsigned int idx,
			     unsigned long *peak);
unsigned long cdm_get_setting(const struct cdm_owner *owner, unsigned int idx,
			      enum cdm_setting which);
unsigned long cdm_effective_max(const struct cdm_owner *owner,
				unsigned int idx);
unsigned long cdm_available_pages(struct cdm_owner *owner, unsigned int idx);

/* mm/cdm/protection.c */
unsigned long cdm_protected_pages(struct cdm_owner *owner, unsigned int idx);

/* mm/cdm/stat.c */
unsigned long cdm_read_event(const struct cdm_owner *owner, unsigned int idx,
			     enum cdm_event ev, bool local);
unsigned long cdm_read_stat(const struct cdm_owner *owner, unsigned int idx,
			    enum cdm_stat item);

/* mm/cdm/node.c */
int cdm_node_idx(int nid);
int cdm_idx_node(unsigned int idx);
unsigned long cdm_node_capacity(unsigned int idx);
unsigned long cdm_node_free(unsigned int idx);

/* mm/cdm/reclaim.c */
void cdm_reclaim_excess(struct cdm_owner *owner, unsigned int idx);
unsigned long cdm_reclaim_proactive(struct cdm_owner *owner, unsigned int idx,
				    unsigned long nr_pages);

#if IS_ENABLED(CONFIG_KUNIT)
/* kernel/cgroup/cdm.c */
int cdm_parse_size(const char *str, unsigned long *pages);
#endif

#endif /* _LINUX_CDM_CGROUP_H */
