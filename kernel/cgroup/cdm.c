// SPDX-License-Identifier: GPL-2.0
/*
 * Coherent device memory (cdm) controller for cgroup v2
 *
 * Limits how much memory of each coherent device node a group may hold. This
 * file has the controller's interface: the life of a group, what its files take
 * and what they print. Everything else is in mm/cdm/: counters and limits
 * (counter.c), whom pages are charged to and the settings of a group (owner.c),
 * events and statistics (stat.c), and the pages themselves.
 *
 * The one surprising rule: pages are charged to the group's owner (struct
 * cdm_owner), which outlives the group. When a group is removed its charges go
 * to the parent at once, whatever their number.
 *
 * Keys are "node<N>", sizes are bytes. Readings show a node while it has
 * memory; settings are there for every node that is known to be CDM.
 *
 * Documentation/admin-guide/cgroup-v2/cdm.rst describes the files.
 */
#include <kunit/visibility.h>
#include <linux/cdm_cgroup.h>
#include <linux/cgroup.h>
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/kstrtox.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>

/**
 * struct cdm_peak_watcher - an open cdm.peak that was reset
 * @list:	in the group's @watchers
 * @of:		the open file
 * @value:	by node index: highest usage since this file's reset, as far as
 *		it is not in the counter's own mark
 */
struct cdm_peak_watcher {
	struct list_head list;
	struct kernfs_open_file *of;
	unsigned long value[CDM_MAX_NODES];
};

/*
 * Reading
 */

/* Step to the next CDM node, with memory or without: see cdm_next_shown(). */
static bool cdm_next_known(unsigned int *idx, int *nid)
{
	unsigned int i = *nid == NUMA_NO_NODE ? 0 : *idx + 1;

	for (; i < READ_ONCE(cdm_nr_nodes); i++) {
		*idx = i;
		*nid = cdm_idx_node(i);
		if (*nid != NUMA_NO_NODE)
			return true;
	}
	return false;
}

/*
 * Step to the next node that readings show. @nid is NUMA_NO_NODE before the
 * first, and @idx is then ignored. False when there are no more.
 */
static bool cdm_next_shown(unsigned int *idx, int *nid)
{
	while (cdm_next_known(idx, nid))
		if (node_state(*nid, N_MEMORY))
			return true;
	return false;
}

static u64 cdm_bytes(unsigned long pages)
{
	return (u64)pages << PAGE_SHIFT;
}

static void cdm_show_size(struct seq_file *sf, unsigned long pages)
{
	if (pages == CDM_MAX)
		seq_puts(sf, "max");
	else
		seq_printf(sf, "%llu", cdm_bytes(pages));
}

static int cdm_current_show(struct seq_file *sf, void *v)
{
	struct cdm_group *group = css_cdm(seq_css(sf));
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid))
		seq_printf(sf, "node%d %llu\n", nid,
			   cdm_bytes(cdm_usage(group->owner, idx)));
	return 0;
}

static int cdm_capacity_show(struct seq_file *sf, void *v)
{
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid))
		seq_printf(sf, "node%d %llu\n", nid,
			   cdm_bytes(cdm_node_capacity(idx)));
	return 0;
}

static const char * const cdm_policy_names[CDM_NR_POLICIES] = {
	[CDM_INHERIT]		= "inherit",
	[CDM_INHERIT_FALLBACK]	= "inherit,fallback",
	[CDM_INHERIT_FAIL]	= "inherit,fail",
	[CDM_FALLBACK]		= "fallback",
	[CDM_FAIL]		= "fail",
	[CDM_RECLAIM_FALLBACK]	= "reclaim,fallback",
	[CDM_RECLAIM_FAIL]	= "reclaim,fail",
};

static void cdm_show_value(struct seq_file *sf, enum cdm_setting which,
			   unsigned long value)
{
	if (which == CDM_SETTING_POLICY)
		seq_puts(sf, cdm_policy_names[value]);
	else
		cdm_show_size(sf, value);
	seq_putc(sf, '\n');
}

/* cdm.max, cdm.low and cdm.policy: the file's private member says which. */
static int cdm_setting_show(struct seq_file *sf, void *v)
{
	struct cdm_owner *owner = css_cdm(seq_css(sf))->owner;
	enum cdm_setting which = seq_cft(sf)->private;
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	seq_puts(sf, "default ");
	cdm_show_value(sf, which, cdm_owner_default(owner, which));
	while (cdm_next_known(&idx, &nid)) {
		if (!cdm_owner_has_own(owner, idx, which))
			continue;
		seq_printf(sf, "node%d ", nid);
		cdm_show_value(sf, which, cdm_get_setting(owner, idx, which));
	}
	mutex_unlock(&cdm_mutex);
	return 0;
}

/* What applies to the group, with all that its ancestors say. */
static int cdm_effective_show(struct seq_file *sf, void *v)
{
	struct cdm_owner *owner = css_cdm(seq_css(sf))->owner;
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid)) {
		struct cdm_effective_policy policy = cdm_get_policy(owner, idx);
		unsigned long capacity = cdm_node_capacity(idx);
		unsigned long max = cdm_effective_max(owner, idx);
		unsigned long low = cdm_protected_pages(owner, idx);
		unsigned long avail = cdm_available_pages(owner, idx);

		seq_printf(sf, "node%d max=%llu low=%llu avail=%llu ", nid,
			   cdm_bytes(min(max, capacity)),
			   cdm_bytes(min(low, capacity)),
			   cdm_bytes(min(avail, cdm_node_free(idx))));
		seq_printf(sf, "policy=%s%s reach=",
			   policy.reach ? "reclaim," : "",
			   policy.fails ? "fail" : "fallback");
		if (policy.reach)
			seq_printf(sf, "%u\n",
				   cdm_owner_levels(owner, policy.reach));
		else
			seq_puts(sf, "-\n");
	}
	return 0;
}

static void cdm_show_events(struct seq_file *sf, bool local)
{
	static const char * const names[CDM_NR_EVENTS] = {
		[CDM_EV_MAX]		= "max",
		[CDM_EV_DEPLETED]	= "depleted",
		[CDM_EV_FALLBACK]	= "fallback",
		[CDM_EV_FAIL]		= "fail",
		[CDM_EV_RECLAIM]	= "reclaim",
		[CDM_EV_LOW]		= "low",
		[CDM_EV_TAKEN]		= "taken",
	};
	struct cdm_group *group = css_cdm(seq_css(sf));
	int nid = NUMA_NO_NODE, ev;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid)) {
		seq_printf(sf, "node%d", nid);
		for (ev = 0; ev < CDM_NR_EVENTS; ev++)
			seq_printf(sf, " %s=%lu", names[ev],
				   cdm_read_event(group->owner, idx, ev,
						  local));
		seq_putc(sf, '\n');
	}
}

static int cdm_events_show(struct seq_file *sf, void *v)
{
	cdm_show_events(sf, false);
	return 0;
}

static int cdm_events_local_show(struct seq_file *sf, void *v)
{
	cdm_show_events(sf, true);
	return 0;
}

static int cdm_stat_show(struct seq_file *sf, void *v)
{
	static const char * const names[CDM_NR_STATS] = {
		[CDM_STAT_MOVED_IN]	= "moved_in",
		[CDM_STAT_MOVED_OUT]	= "moved_out",
		[CDM_STAT_DEMOTED]	= "demoted",
		[CDM_STAT_PINNED_OUT]	= "pinned_out",
		[CDM_STAT_DEMOTED_ANON]	= "demoted_anon",
		[CDM_STAT_DEMOTED_FILE]	= "demoted_file",
		[CDM_STAT_DEMOTED_SHMEM] = "demoted_shmem",
		[CDM_STAT_TAKEN]	= "taken",
	};
	struct cdm_group *group = css_cdm(seq_css(sf));
	int nid = NUMA_NO_NODE, item;
	unsigned int idx;

	while (cdm_next_shown(&idx, &nid)) {
		unsigned long usage, charged;

		charged = cdm_charged(group->owner, idx, &usage);
		seq_printf(sf, "node%d charged=%llu uncharged=%llu", nid,
			   cdm_bytes(charged),
			   cdm_bytes(charged - min(usage, charged)));
		for (item = 0; item < CDM_NR_STATS; item++)
			seq_printf(sf, " %s=%llu", names[item],
				   cdm_bytes(cdm_read_stat(group->owner, idx,
							   item)));
		seq_putc(sf, '\n');
	}
	return 0;
}

/*
 * Writing
 */

/**
 * cdm_parse_size - parse a limit
 * @str: "max", or bytes with an optional K, M, G, T, P or E (powers of 1024)
 * @pages: where to put the limit: bytes rounded down to pages, or CDM_MAX
 *
 * Return:
 * * %0 - done
 * * %-EINVAL - syntax
 * * %-ERANGE - the bytes do not fit 64 bits, or that many pages are no limit
 */
VISIBLE_IF_KUNIT int cdm_parse_size(const char *str, unsigned long *pages)
{
	static const char units[] = "KMGTPE";
	const char *unit;
	unsigned int shift = 0, len = strspn(str, "0123456789");
	char digits[24];
	u64 bytes;
	int ret;

	if (!strcmp(str, "max")) {
		*pages = CDM_MAX;
		return 0;
	}
	if (!len)
		return -EINVAL;
	if (str[len]) {
		unit = strchr(units, toupper(str[len]));
		if (!unit || str[len + 1])
			return -EINVAL;
		shift = 10 * (unit - units + 1);
	}
	if (len >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, str, len);
	digits[len] = '\0';
	ret = kstrtou64(digits, 10, &bytes);
	if (ret)
		return ret;
	if (bytes > U64_MAX >> shift)
		return -ERANGE;
	bytes = (bytes << shift) >> PAGE_SHIFT;
	if (bytes >= CDM_MAX)
		return -ERANGE;
	*pages = bytes;
	return 0;
}

/* "node<N>" to the index of a node that is known to be CDM. */
static int cdm_parse_node(const char *str)
{
	unsigned int nid;
	int idx, ret;

	if (strncmp(str, "node", 4) || !isdigit(str[4]))
		return -EINVAL;
	ret = kstrtouint(str + 4, 10, &nid);
	if (ret == -EINVAL)
		return ret;
	if (ret || nid >= MAX_NUMNODES)
		return -ENODEV;
	idx = cdm_node_idx(nid);
	if (idx < 0 || idx >= READ_ONCE(cdm_nr_nodes))
		return -ENODEV;
	return idx;
}

static int cdm_parse_policy(const char *str, unsigned long *value)
{
	int policy = match_string(cdm_policy_names, CDM_NR_POLICIES, str);

	if (!strcmp(str, "reclaim"))
		policy = CDM_RECLAIM_FALLBACK;
	*value = policy;
	return min(policy, 0);
}

static int cdm_parse_line(char *line, enum cdm_setting which,
			  struct cdm_settings *settings)
{
	char *key = strim(line), *str;
	unsigned long value = 0;
	bool drop;
	int idx, ret;

	if (!*key)
		return 0;
	str = key + strcspn(key, " \t");
	if (*str) {
		*str++ = '\0';
		str = skip_spaces(str);
	} else {
		/* A value alone is that of the default line. */
		str = key;
		key = "default";
	}
	drop = !strcmp(str, "default");
	if (!drop) {
		ret = which == CDM_SETTING_POLICY ?
			      cdm_parse_policy(str, &value) :
			      cdm_parse_size(str, &value);
		if (ret)
			return ret;
	}
	if (!strcmp(key, "default")) {
		if (drop)
			return -EINVAL;
		settings->has_default = true;
		settings->default_value = value;
		return 0;
	}
	idx = cdm_parse_node(key);
	if (idx < 0)
		return idx;
	settings->line[idx] = drop ? CDM_LINE_DROP : CDM_LINE_SET;
	settings->value[idx] = value;
	return 0;
}

/* A buffer of lines; the result is to be freed. */
static struct cdm_settings *cdm_parse(char *buf, enum cdm_setting which)
{
	struct cdm_settings *settings;
	char *line;
	int ret = 0;

	settings = kzalloc(sizeof(*settings), GFP_KERNEL);
	if (!settings)
		return ERR_PTR(-ENOMEM);
	while (!ret && (line = strsep(&buf, "\n")))
		ret = cdm_parse_line(line, which, settings);
	if (!ret)
		return settings;
	kfree(settings);
	return ERR_PTR(ret);
}

static ssize_t cdm_max_write(struct kernfs_open_file *of, char *buf,
			     size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_settings *settings = cdm_parse(buf, CDM_SETTING_MAX);
	unsigned int idx;

	if (IS_ERR(settings))
		return PTR_ERR(settings);
	cdm_owner_apply(group->owner, CDM_SETTING_MAX, settings);
	kfree(settings);

	/*
	 * The limit holds from now on; move out what exceeds it and can move.
	 */
	for (idx = 0; idx < READ_ONCE(cdm_nr_nodes); idx++) {
		if (!cdm_excess(group->owner, idx))
			continue;
		cdm_drain(group->owner, idx);
		if (!(of->file->f_flags & O_NONBLOCK))
			cdm_reclaim_excess(group->owner, idx);
	}
	return nbytes;
}

static ssize_t cdm_low_write(struct kernfs_open_file *of, char *buf,
			     size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_settings *settings = cdm_parse(buf, CDM_SETTING_LOW);

	if (IS_ERR(settings))
		return PTR_ERR(settings);
	cdm_owner_apply(group->owner, CDM_SETTING_LOW, settings);
	kfree(settings);
	return nbytes;
}

/* The root has nobody to inherit from. */
static bool cdm_names_a_parent(const struct cdm_settings *settings)
{
	unsigned int idx;

	if (settings->has_default &&
	    cdm_policy_inherits(settings->default_value))
		return true;
	for (idx = 0; idx < CDM_MAX_NODES; idx++)
		if (settings->line[idx] == CDM_LINE_SET &&
		    cdm_policy_inherits(settings->value[idx]))
			return true;
	return false;
}

static ssize_t cdm_policy_write(struct kernfs_open_file *of, char *buf,
				size_t nbytes, loff_t off)
{
	struct cgroup_subsys_state *css = of_css(of);
	struct cdm_settings *settings = cdm_parse(buf, CDM_SETTING_POLICY);
	ssize_t ret = nbytes;

	if (IS_ERR(settings))
		return PTR_ERR(settings);
	if (!css->parent && cdm_names_a_parent(settings))
		ret = -EINVAL;
	else
		cdm_owner_apply(css_cdm(css)->owner, CDM_SETTING_POLICY,
				settings);
	kfree(settings);
	return ret;
}

/* Only amounts for nodes that have memory make sense here. */
static int cdm_check_amounts(const struct cdm_settings *amounts)
{
	unsigned int idx;

	if (amounts->has_default)
		return -EINVAL;
	for (idx = 0; idx < CDM_MAX_NODES; idx++) {
		if (amounts->line[idx] == CDM_LINE_NONE)
			continue;
		if (amounts->line[idx] == CDM_LINE_DROP ||
		    amounts->value[idx] == CDM_MAX)
			return -EINVAL;
		if (!node_state(cdm_idx_node(idx), N_MEMORY))
			return -ENODEV;
	}
	return 0;
}

static ssize_t cdm_reclaim_write(struct kernfs_open_file *of, char *buf,
				 size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_settings *amounts = cdm_parse(buf, CDM_SETTING_MAX);
	ssize_t ret;
	unsigned int idx;

	if (IS_ERR(amounts))
		return PTR_ERR(amounts);
	ret = cdm_check_amounts(amounts);
	for (idx = 0; idx < CDM_MAX_NODES && !ret; idx++) {
		unsigned long wanted = amounts->value[idx];

		if (!wanted)
			continue;
		if (of->file->f_flags & O_NONBLOCK)
			ret = -EAGAIN;
		else if (cdm_reclaim_proactive(group->owner, idx, wanted) <
			 wanted)
			ret = signal_pending(current) ? -EINTR : -EAGAIN;
	}
	kfree(amounts);
	return ret ?: nbytes;
}

/*
 * cdm.peak
 */

static struct cdm_peak_watcher *
cdm_find_watcher(struct cdm_group *group, struct kernfs_open_file *of)
{
	struct cdm_peak_watcher *w;

	lockdep_assert_held(&cdm_mutex);
	list_for_each_entry(w, &group->watchers, list)
		if (w->of == of)
			return w;
	return NULL;
}

static int cdm_peak_show(struct seq_file *sf, void *v)
{
	struct cdm_group *group = css_cdm(seq_css(sf));
	struct cdm_peak_watcher *w;
	int nid = NUMA_NO_NODE;
	unsigned int idx;

	mutex_lock(&cdm_mutex);
	w = cdm_find_watcher(group, sf->private);
	while (cdm_next_shown(&idx, &nid)) {
		unsigned long peak = cdm_peak(group->owner, idx, w);

		if (w)
			peak = max(w->value[idx], peak);
		seq_printf(sf, "node%d %llu\n", nid, cdm_bytes(peak));
	}
	mutex_unlock(&cdm_mutex);
	return 0;
}

/* Whatever is written: this open file's peak starts over at current usage. */
static ssize_t cdm_peak_write(struct kernfs_open_file *of, char *buf,
			      size_t nbytes, loff_t off)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_peak_watcher *w, *new;
	unsigned int idx;

	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return -ENOMEM;
	new->of = of;

	/* Interrupts other CPUs, and must not make others wait for the lock. */
	for (idx = 0; idx < READ_ONCE(cdm_nr_nodes); idx++)
		cdm_drain(group->owner, idx);
	mutex_lock(&cdm_mutex);
	if (!cdm_find_watcher(group, of)) {
		list_add(&new->list, &group->watchers);
		new = NULL;
	}
	for (idx = 0; idx < cdm_nr_nodes; idx++) {
		unsigned long usage, peak;

		usage = cdm_reset_peak(group->owner, idx, &peak);
		/* Other files keep the peak that the counter forgets. */
		list_for_each_entry(w, &group->watchers, list)
			w->value[idx] = w->of == of ?
					usage : max(w->value[idx], peak);
	}
	mutex_unlock(&cdm_mutex);
	kfree(new);
	return nbytes;
}

static void cdm_peak_release(struct kernfs_open_file *of)
{
	struct cdm_group *group = css_cdm(of_css(of));
	struct cdm_peak_watcher *w;

	mutex_lock(&cdm_mutex);
	w = cdm_find_watcher(group, of);
	if (w)
		list_del(&w->list);
	mutex_unlock(&cdm_mutex);
	kfree(w);
}

static struct cftype cdm_files[] = {
	{
		.name = "current",
		.seq_show = cdm_current_show,
	},
	{
		.name = "peak",
		.release = cdm_peak_release,
		.seq_show = cdm_peak_show,
		.write = cdm_peak_write,
	},
	{
		.name = "max",
		.flags = CFTYPE_NOT_ON_ROOT,
		.private = CDM_SETTING_MAX,
		.seq_show = cdm_setting_show,
		.write = cdm_max_write,
	},
	{
		.name = "low",
		.flags = CFTYPE_NOT_ON_ROOT,
		.private = CDM_SETTING_LOW,
		.seq_show = cdm_setting_show,
		.write = cdm_low_write,
	},
	{
		.name = "reclaim",
		.flags = CFTYPE_NS_DELEGATABLE,
		.write = cdm_reclaim_write,
	},
	{
		.name = "policy",
		.flags = CFTYPE_NS_DELEGATABLE,
		.private = CDM_SETTING_POLICY,
		.seq_show = cdm_setting_show,
		.write = cdm_policy_write,
	},
	{
		.name = "effective",
		.seq_show = cdm_effective_show,
	},
	{
		.name = "events",
		.flags = CFTYPE_NOT_ON_ROOT,
		.file_offset = offsetof(struct cdm_group, events_file),
		.seq_show = cdm_events_show,
	},
	{
		.name = "events.local",
		.flags = CFTYPE_NOT_ON_ROOT,
		.file_offset = offsetof(struct cdm_group, events_local_file),
		.seq_show = cdm_events_local_show,
	},
	{
		.name = "stat",
		.seq_show = cdm_stat_show,
	},
	{
		.name = "capacity",
		.flags = CFTYPE_ONLY_ON_ROOT,
		.seq_show = cdm_capacity_show,
	},
	{ }	/* terminate */
};

/*
 * Life of a group
 */

/*
 * Reclaim takes pages off the lists of the memory controller. Without it, all
 * that is left is to keep the nodes apart, and to charge the root.
 */
static int cdm_need_memory(bool is_root)
{
	if (is_root && !cgroup_subsys_enabled(memory_cgrp_subsys) &&
	    cgroup_subsys_enabled(cdm_cgrp_subsys)) {
		static_branch_disable(&cdm_cgrp_subsys_enabled_key);
		pr_info("cdm: no control groups without memory\n");
	}
	if (!is_root && !cgroup_subsys_on_dfl(memory_cgrp_subsys)) {
		pr_info_once("cdm: no groups with memory on cgroup v1\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static struct cgroup_subsys_state *
cdm_css_alloc(struct cgroup_subsys_state *parent_css)
{
	struct cdm_group *parent = css_cdm(parent_css), *group;
	struct cdm_owner *owner;
	int ret;

	ret = cdm_need_memory(!parent);
	if (ret)
		return ERR_PTR(ret);
	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&group->watchers);
	owner = cdm_owner_create(parent ? parent->owner : NULL, group);
	if (IS_ERR(owner)) {
		kfree(group);
		return ERR_CAST(owner);
	}
	group->owner = owner;
	group->id = cdm_owner_id(owner);
	return &group->css;
}

static int cdm_css_online(struct cgroup_subsys_state *css)
{
	return cdm_owner_online(css_cdm(css)->owner);
}

static void cdm_css_offline(struct cgroup_subsys_state *css)
{
	cdm_owner_offline(css_cdm(css)->owner);
}

/* The group is freed after a grace period, see cdm_event(). */
static void cdm_css_released(struct cgroup_subsys_state *css)
{
	cdm_owner_detach(css_cdm(css)->owner);
}

static void cdm_css_free(struct cgroup_subsys_state *css)
{
	struct cdm_group *group = css_cdm(css);

	cdm_owner_release(group->owner);
	kfree(group);
}

struct cgroup_subsys cdm_cgrp_subsys = {
	.css_alloc	= cdm_css_alloc,
	.css_online	= cdm_css_online,
	.css_offline	= cdm_css_offline,
	.css_released	= cdm_css_released,
	.css_free	= cdm_css_free,
	.dfl_cftypes	= cdm_files,
	.depends_on	= 1 << memory_cgrp_id,
};
