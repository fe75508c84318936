// SPDX-License-Identifier: GPL-2.0
/* Helpers of the cdm selftests, see cdm_util.h. */

#include <fcntl.h>
#include <ftw.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cdm_util.h"

#define HAS_COHERENT_MEMORY	"/sys/devices/system/node/has_coherent_memory"
#define THP_SIZE	"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"
#define AUDIT		"/sys/kernel/debug/cdm/audit"
#define LRU_GEN		"/sys/kernel/mm/lru_gen/enabled"

/*
 * No case takes this long; one that does hangs in the kernel. Times are those
 * of a kernel without debugging, see cdm_slow.
 */
#define CASE_SECONDS	55
/* How long frees that others hold up may take to be seen. */
#define SETTLE_SECONDS	5

char cdm_root[PATH_MAX];
int cdm_node;
int cdm_ram;
long cdm_psize;
long cdm_hpages;
int cdm_slow;
int cdm_keep_fd = -1;

/* Failed checks of the running case, shared with its workers. */
static atomic_int *failures;

/* Every worker that has not been ended, to be killed after the case. */
static pid_t running[64];

/* Paths of the groups that the running case has made. */
static char *paths[64];
static size_t nr_paths;

static char case_group[PATH_MAX + 16];
static char case_name[256];
static const char *lru_name = "";
static long root_before[CDM_MAX_NODES];
static int kmsg = -1;

/*
 * Checks
 */

void cdm_fail(const char *file, int line, const char *fmt, ...)
{
	char what[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	ksft_print_msg("%s:%d: %s\n", file, line, what);
	atomic_fetch_add(failures, 1);
}

void cdm_check_failed(const char *file, int line, const char *what,
		      long actual, const char *op, long expected)
{
	cdm_fail(file, line, "%s: %ld %s %ld is not so", what, actual, op,
		 expected);
}

bool cdm_check_str(const char *file, int line, const char *what,
		   const char *actual, const char *expected)
{
	if (!strcmp(actual, expected))
		return true;
	cdm_fail(file, line, "%s: '%s' is not '%s'", what, actual, expected);
	return false;
}

/*
 * Plain files
 */

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

long file_long(const char *path)
{
	char buf[128];

	if (file_read(path, buf, sizeof(buf)))
		return CDM_NONE;
	return strtol(buf, NULL, 0);
}

/* The number after @key, the first word of a line but for what is before. */
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

/* A counter of /proc/vmstat, with what the CPUs have not added to it yet. */
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

long node_meminfo(int node, const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo",
		 node);
	return file_key(path, key);
}

/* Write to a file of the node's directory in sysfs. */
int node_write(int node, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/%s", node,
		 file);
	return file_write(path, "%s", text);
}

/* Parse a node list such as "0-2,5"; returns how many nodes it has. */
int node_list(const char *path, int *nodes, int max)
{
	char buf[256], *pos = buf;
	int nr = 0;

	if (file_read(path, buf, sizeof(buf)))
		return -1;
	while (*pos >= '0' && *pos <= '9') {
		long first = strtol(pos, &pos, 10), last = first;

		if (*pos == '-')
			last = strtol(pos + 1, &pos, 10);
		while (first <= last && nr < max)
			nodes[nr++] = first++;
		if (*pos == ',')
			pos++;
	}
	return nr;
}

bool node_in(const int *nodes, int nr, int node)
{
	while (nr--)
		if (nodes[nr] == node)
			return true;
	return false;
}

static int coherent_nodes(int *nodes)
{
	return node_list(HAS_COHERENT_MEMORY, nodes, CDM_MAX_NODES);
}

/* A CDM node beside the one that the tests use, or -1. */
int cdm_other_node(void)
{
	int nodes[CDM_MAX_NODES], nr = coherent_nodes(nodes), i;

	for (i = 0; i < nr; i++)
		if (nodes[i] != cdm_node)
			return nodes[i];
	return -1;
}

/*
 * Have the machine plug memory into a CDM node or take it away again; returns
 * the exit status of the program that does it for the virtual machine.
 */
int cdm_hotplug(const char *what, const char *how)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		execlp("cdm-hotplug", "cdm-hotplug", what, how, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* The tests use a node of memory that is plugged in, rather than the first. */
void cdm_use_plugged(void)
{
	if (cdm_other_node() < 0 && cdm_hotplug("add", "movable"))
		ksft_exit_skip("no memory can be plugged\n");
	cdm_node = cdm_other_node();
	if (cdm_node < 0)
		ksft_exit_fail_msg("no node for the memory plugged\n");
}

/* One of the marks in /proc/zoneinfo, in pages, of the node that tests use. */
long cdm_zone_mark(const char *mark)
{
	static char buf[1 << 17];
	char key[64], *pos;

	if (file_read("/proc/zoneinfo", buf, sizeof(buf)))
		return CDM_NONE;
	snprintf(key, sizeof(key), "Node %d, zone  Movable", cdm_node);
	pos = strstr(buf, key);
	snprintf(key, sizeof(key), " %s ", mark);
	pos = pos ? strstr(pos, "\n  pages free") : NULL;
	pos = pos ? strstr(pos, key) : NULL;
	return pos ? strtol(pos + strlen(key), NULL, 10) : CDM_NONE;
}

/*
 * Pages of the node that tests use that nobody has. Those in CPUs' lists are not
 * in its MemFree.
 */
long cdm_free(void)
{
	return cdm_zone_mark("managed") - cdm_pages(cdm_root, cdm_node);
}

/*
 * Leave @pages of the node free, and hide the others in its pool of huge pages,
 * where no reclaim comes by; or all, if that is negative. A node that is soon
 * full makes for quick tests.
 */
void cdm_small_node(long pages)
{
	long kb = cdm_hpages * cdm_psize / 1024, pool;
	double end = cdm_now() + SETTLE_SECONDS * cdm_slow;

	cdm_set_pool(cdm_node, kb, 0);
	if (pages < 0)
		return;
	pool = (cdm_free() - pages) / cdm_hpages;
	while (cdm_set_pool(cdm_node, kb, pool) != pool) {
		if (cdm_now() > end)
			ksft_exit_fail_msg("no pool of huge pages\n");
		cdm_drain();
	}
}

/*
 * Groups
 */

/* Make a group. Its path is good until the case ends. */
char *cdm_group(const char *parent, const char *name)
{
	char *group = cg_name(parent, name);

	if (nr_paths == ARRAY_SIZE(paths))
		ksft_exit_fail_msg("too many groups\n");
	paths[nr_paths++] = group;
	if (mkdir(group, 0755))
		cdm_fail(__FILE__, __LINE__, "mkdir %s: %s", group,
			 strerror(errno));
	return group;
}

int cdm_memfd(long pages)
{
	int fd = memfd_create("cdm", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, pages * cdm_psize)) {
		close(fd);
		return -1;
	}
	return fd;
}

void cdm_keep_open(long pages)
{
	cdm_keep_fd = cdm_memfd(pages);
	CHECK_GE(cdm_keep_fd, 0);
}

/* Workers may have it open too, so closing it would not do. */
void cdm_keep_close(void)
{
	CHECK_EQ(ftruncate(cdm_keep_fd, 0), 0);
	close(cdm_keep_fd);
	cdm_keep_fd = -1;
}

/* Leave pages of the file charged to @group and no task in it. */
void cdm_leave_charged(const char *group, long first, long pages)
{
	struct cdm_task task;

	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map_keep, first, pages).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	task_end(&task);
	CHECK_EQ(cdm_pages(group, cdm_node), pages);
}

const char *cdm_pool_path(int node, long kb, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-%ldkB/%s",
		 node, kb, file);
	return path;
}

/* How many there are then. */
long cdm_set_pool(int node, long kb, long pages)
{
	file_write(cdm_pool_path(node, kb, "nr_hugepages"), "%ld", pages);
	return file_long(cdm_pool_path(node, kb, "nr_hugepages"));
}

void cdm_check_root(long pages)
{
	CHECK_EQ(cdm_settle(cdm_root, cdm_node, pages), pages);
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "stale"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "charged"), pages);
}

/*
 * The path of the swap area is asked for while it is in use; a program that
 * takes it out of use gives it back.
 */
int cdm_swap(bool on)
{
	static char area[128];
	char text[1024], *line;

	if (on)
		return swapon(area, 0) ? -errno : 0;
	if (file_read("/proc/swaps", text, sizeof(text)))
		return -ENOENT;
	line = strchr(text, '\n');
	if (!line || sscanf(line, " %127s", area) != 1)
		return -ENOENT;
	return swapoff(area) ? -errno : 0;
}

void cdm_empty_cache(void)
{
	sync();
	CHECK_EQ(file_write("/proc/sys/vm/drop_caches", "3"), 0);
}

static void trace_enable(const char *event, bool on)
{
	char path[128];

	snprintf(path, sizeof(path), CDM_TRACING "events/%s/enable", event);
	CHECK_EQ(file_write(path, "%d", on), 0);
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

/*
 * Of the lines of @event with @text in them: the sum of the numbers that follow
 * @key, and how many lines there are.
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

void cdm_set_pages(const char *group, const char *file, long pages)
{
	if (pages < 0)
		CHECK_EQ(cdm_write(group, file, "max"), 0);
	else
		CHECK_EQ(cdm_write(group, file, "%ld", pages * cdm_psize), 0);
}

void cdm_fill_ram(const char *group)
{
	cdm_set_pages(group, "memory.swap.max", 0);
	cdm_set_pages(group, "memory.max", cdm_ram_pages(group));
}

long cdm_ram_pages(const char *group)
{
	return cg_read_long(group, "memory.current") / cdm_psize;
}

/* RAM of @group has grown by @pages since it was @before. */
void cdm_check_ram(const char *group, long before, long pages)
{
	long now = cdm_ram_pages(group);

	CHECK_GE(now, before + pages - CDM_RAM_SLACK);
	CHECK_LE(now, before + pages + CDM_RAM_SLACK);
}

void cdm_check_no_oom(const char *group)
{
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom "), 0);
	CHECK_EQ(cg_read_key_long(group, "memory.events", "oom_kill "), 0);
}

/* Make the groups a and b, with the controller on. */
void cdm_two_groups(const char *parent, char **a, char **b)
{
	CHECK_EQ(cdm_enable(parent, "+cdm"), 0);
	*a = cdm_group(parent, "a");
	*b = cdm_group(parent, "b");
}

int cdm_enable(const char *group, const char *controllers)
{
	return cdm_write(group, "cgroup.subtree_control", "%s", controllers);
}

/* Returns 0 or -errno; the whole text goes in one write(). */
int cdm_write(const char *group, const char *file, const char *fmt, ...)
{
	char buf[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	return cg_write(group, file, buf);
}

/* Limit @group to @pages on @node, or not at all if that is negative. */
int cdm_limit(const char *group, int node, long pages)
{
	if (pages < 0)
		return cdm_write(group, "cdm.max", "node%d max\n", node);
	return cdm_write(group, "cdm.max", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/* Promise @group @pages on @node, or all that it uses if that is negative. */
int cdm_protect(const char *group, int node, long pages)
{
	if (pages < 0)
		return cdm_write(group, "cdm.low", "node%d max\n", node);
	return cdm_write(group, "cdm.low", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/* Have @pages of @group and what is below it demoted. */
int cdm_reclaim(const char *group, int node, long pages)
{
	return cdm_write(group, "cdm.reclaim", "node%d %ld\n", node,
			 pages * cdm_psize);
}

/*
 * Mount cgroup2 anew, with an option or without it, and all else as it is.
 * Returns 0 or -errno.
 */
int cdm_mount_option(const char *option, bool on)
{
	static const char * const all[] = {
		"nsdelegate", "favordynmods", "memory_localevents",
		"memory_recursiveprot", "memory_hugetlb_accounting",
		"pids_localevents",
	};
	char mounts[1 << 14], key[PATH_MAX + 16], options[256], *pos;
	struct statvfs st;
	size_t i;

	if (file_read("/proc/self/mounts", mounts, sizeof(mounts)) ||
	    statvfs(cdm_root, &st))
		return -errno;
	snprintf(key, sizeof(key), " %s cgroup2 ", cdm_root);
	pos = strstr(mounts, key);
	if (!pos)
		return -ENOENT;
	*strchrnul(pos, '\n') = '\0';
	snprintf(options, sizeof(options), "%s", on ? option : "");
	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (strstr(pos, all[i]) && strcmp(all[i], option))
			snprintf(options + strlen(options),
				 sizeof(options) - strlen(options), ",%s",
				 all[i]);
	/* The flags of a mount have the same bits in both interfaces. */
	if (mount("none", cdm_root, NULL, MS_REMOUNT |
		  (st.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC)), options))
		return -errno;
	return 0;
}

int cdm_recursive_low(bool on)
{
	return cdm_mount_option("memory_recursiveprot", on);
}

/* What follows "node<N> " in the text of a keyed file. */
static int text_line(const char *text, int node, char *line, size_t len)
{
	char key[32];
	const char *pos, *end;

	snprintf(key, sizeof(key), "node%d ", node);
	for (pos = text; pos; pos = strchr(pos, '\n')) {
		if (*pos == '\n')
			pos++;
		if (strncmp(pos, key, strlen(key)))
			continue;
		end = strchrnul(pos, '\n');
		snprintf(line, len, "%.*s", (int)(end - pos - strlen(key)),
			 pos + strlen(key));
		return 0;
	}
	return -1;
}

static int node_line(const char *group, const char *file, int node,
		     char *line, size_t len)
{
	char buf[4096];

	if (cg_read(group, file, buf, sizeof(buf)))
		return -1;
	return text_line(buf, node, line, len);
}

/* In bytes, LONG_MAX for max, CDM_NONE if there is no such node or file. */
long cdm_value(const char *group, const char *file, int node)
{
	char line[256];

	if (node_line(group, file, node, line, sizeof(line)))
		return CDM_NONE;
	if (!strcmp(line, "max"))
		return LONG_MAX;
	return strtol(line, NULL, 10);
}

long cdm_pages(const char *group, int node)
{
	long value = cdm_value(group, "cdm.current", node);

	return value == CDM_NONE ? CDM_NONE : value / cdm_psize;
}

double cdm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*
 * The usage of @group, once it is @pages or the time for that is over: a page
 * that was unmapped lives on while another CPU has it in a batch.
 */
long cdm_settle(const char *group, int node, long pages)
{
	double end = cdm_now() + SETTLE_SECONDS * cdm_slow;
	long got;

	for (;;) {
		got = cdm_pages(group, node);
		if (got == pages || cdm_now() > end)
			return got;
		cdm_drain();
	}
}

/* Groups of the controller below @group that are removed and not gone yet. */
long cdm_dying(const char *group)
{
	return cg_read_key_long(group, "cgroup.stat", "nr_dying_subsys_cdm ");
}

/* Wait until as many of them are left. */
long cdm_dying_settle(const char *group, long want)
{
	double end = cdm_now() + 2 * SETTLE_SECONDS * cdm_slow;
	long left;

	do {
		left = cdm_dying(group);
		sched_yield();
	} while (left != want && cdm_now() < end);
	return left;
}

long cdm_event(const char *group, const char *file, int node,
	       const char *event)
{
	char line[512], key[64], *pos;

	if (node_line(group, file, node, line + 1, sizeof(line) - 1))
		return CDM_NONE;
	line[0] = ' ';
	snprintf(key, sizeof(key), " %s=", event);
	pos = strstr(line, key);
	return pos ? strtol(pos + strlen(key), NULL, 10) : CDM_NONE;
}

long cdm_count(const char *group, const char *event)
{
	return cdm_event(group, "cdm.events", cdm_node, event);
}

long cdm_count_local(const char *group, const char *event)
{
	return cdm_event(group, "cdm.events.local", cdm_node, event);
}

long cdm_stat(const char *group, const char *item)
{
	return cdm_event(group, "cdm.stat", cdm_node, item);
}

long cdm_audit(int node, const char *key)
{
	char line[512], *pos;
	size_t len = strlen(key);

	if (node_line("/sys/kernel/debug/cdm", "audit", node, line,
		      sizeof(line)))
		return CDM_NONE;
	for (pos = line; pos; pos = strchr(pos, ' ')) {
		if (*pos == ' ')
			pos++;
		if (!strncmp(pos, key, len) && pos[len] == ' ')
			return strtol(pos + len, NULL, 10);
	}
	return CDM_NONE;
}

/*
 * Empty the per-CPU batches of pages on their way to an LRU list: move_pages()
 * does it before it looks at a page.
 */
void cdm_drain(void)
{
	static long page;
	void *addr = &page;
	int node, status;

	page++;
	node = addr_node(addr);
	sys_move_pages(0, 1, &addr, &node, &status, MPOL_MF_MOVE);
}

/*
 * With the compressed cache on, a page that is swapped out is free at once;
 * otherwise it stays where it is until it is written and looked for again.
 */
void cdm_zswap(bool on)
{
	CHECK_EQ(file_write("/sys/module/zswap/parameters/enabled", "%c",
			    on ? 'Y' : 'N'), 0);
}

/* Put a page that was poisoned, and that nobody uses, into service again. */
int cdm_unpoison(long frame)
{
	return file_write("/sys/kernel/debug/hwpoison/unpoison-pfn", "%ld",
			  frame);
}

/*
 * System calls
 */

long sys_mbind_nodes(void *addr, unsigned long len, int mode,
		     unsigned long nodes, unsigned int flags)
{
	return syscall(__NR_mbind, addr, len, mode, &nodes,
		       8 * sizeof(nodes) + 1, flags);
}

long sys_mbind(void *addr, unsigned long len, int mode, int node,
	       unsigned int flags)
{
	return sys_mbind_nodes(addr, len, mode, 1UL << node, flags);
}

long sys_set_mempolicy(int mode, unsigned long nodes)
{
	return syscall(__NR_set_mempolicy, mode, &nodes,
		       8 * sizeof(nodes) + 1);
}

long sys_move_pages(int pid, unsigned long count, void **pages,
		    const int *nodes, int *status, int flags)
{
	return syscall(__NR_move_pages, pid, count, pages, nodes, status,
		       flags);
}

long sys_migrate_pages(int pid, unsigned long from, unsigned long to)
{
	return syscall(__NR_migrate_pages, pid, 8 * sizeof(from) + 1, &from,
		       &to);
}

/*
 * Buffers
 */

static sigjmp_buf sigbus_jump;
static int sigbus_code;
static char *sigbus_addr;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	sigbus_code = info->si_code;
	sigbus_addr = info->si_addr;
	siglongjmp(sigbus_jump, 1);
}

static void sigbus_catch(struct sigaction *old)
{
	struct sigaction sa = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigaction(SIGBUS, &sa, old);
}

static long pattern(long page)
{
	return (page + 1) * 0x9e3779b97f4a7c15L;
}

/* Atomic accesses, for the compiler must neither drop nor merge them. */
static long page_read(char *page, bool tail)
{
	long *word = tail ? (long *)(page + cdm_psize) - 1 : (long *)page;

	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static bool page_write(char *page, long value)
{
	if (sigsetjmp(sigbus_jump, 0))
		return false;
	__atomic_store_n((long *)page, value, __ATOMIC_RELAXED);
	__atomic_store_n((long *)(page + cdm_psize) - 1, value,
			 __ATOMIC_RELAXED);
	return true;
}

/* Write to @nr pages; those that get SIGBUS are counted and left. */
struct cdm_reply buf_touch(const struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { .addr_good = true };
	struct sigaction old;
	long i;

	sigbus_catch(&old);
	for (i = first; i < first + nr; i++) {
		char *page = buf->addr + i * cdm_psize;

		if (page_write(page, pattern(i))) {
			reply.ok++;
			continue;
		}
		reply.bus++;
		reply.code = sigbus_code;
		if ((unsigned long)(sigbus_addr - page) >=
		    (unsigned long)cdm_psize)
			reply.addr_good = false;
	}
	sigaction(SIGBUS, &old, NULL);
	return reply;
}

static void count_page(struct cdm_reply *reply, const struct cdm_buf *buf,
		       long page, int node, const int *nodes, int nr)
{
	char *addr = buf->addr + page * cdm_psize;

	reply->last_dev = node == cdm_node;
	if (node < 0)
		return;
	if (node == cdm_node)
		reply->dev++;
	else if (node_in(nodes, nr, node))
		reply->other++;
	else
		reply->ram++;
	if (page_read(addr, false) != pattern(page) ||
	    page_read(addr, true) != pattern(page))
		reply->bad++;
}

/* Say where @nr pages are and whether they hold what was written. */
struct cdm_reply buf_count(const struct cdm_buf *buf, long first, long nr)
{
	int nodes[CDM_MAX_NODES], nr_nodes, status[256];
	struct cdm_reply reply = { 0 };
	void *pages[256];
	long i, chunk;

	nr_nodes = coherent_nodes(nodes);
	for (; nr > 0; first += chunk, nr -= chunk) {
		chunk = nr < 256 ? nr : 256;
		for (i = 0; i < chunk; i++)
			pages[i] = buf->addr + (first + i) * cdm_psize;
		if (sys_move_pages(0, chunk, pages, NULL, status, 0)) {
			reply.ret = -errno;
			break;
		}
		for (i = 0; i < chunk; i++)
			count_page(&reply, buf, first + i, status[i], nodes,
				   nr_nodes);
	}
	return reply;
}

struct cdm_reply buf_errno(long ret)
{
	struct cdm_reply reply = { .ret = ret < 0 ? -errno : ret };

	return reply;
}

/* The node that the page at @addr is on, or -errno. */
long addr_node(void *addr)
{
	int status;

	if (sys_move_pages(0, 1, &addr, NULL, &status, 0))
		return -errno;
	return status;
}

/*
 * Map @pages, bound to @node. A buffer is made of base pages only, or may be
 * of huge pages and is aligned to them.
 */
int buf_map(struct cdm_buf *buf, long pages, int node, bool huge)
{
	size_t size = pages * cdm_psize;
	size_t align = huge ? cdm_hpages * cdm_psize : cdm_psize;
	char *addr;

	addr = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr == MAP_FAILED)
		return -errno;
	buf->addr = (char *)(((unsigned long)addr + align - 1) & ~(align - 1));
	buf->pages = pages;
	if (madvise(buf->addr, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) &&
	    (huge || errno != EINVAL))
		return -errno;
	if (node >= 0 && sys_mbind(buf->addr, size, MPOL_BIND, node, 0))
		return -errno;
	return 0;
}

/*
 * Workers
 */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

enum request_kind { REQUEST_CALL, REQUEST_FORK, REQUEST_QUIT };

struct request {
	enum request_kind kind;
	cdm_op op;
	long a;
	long b;
};

/* The buffer becomes @pages of a file from page @first on. */
struct cdm_reply buf_map_fd(struct cdm_buf *buf, long first, long pages, int fd,
			    int flags)
{
	buf->pages = pages;
	buf->addr = mmap(NULL, pages * cdm_psize, PROT_READ | PROT_WRITE,
			 flags, fd, first * cdm_psize);
	return buf_errno(buf->addr == MAP_FAILED ? -1 : 0);
}

/* The same of a new file in memory, by no policy but the task's. */
struct cdm_reply buf_map_memfd(struct cdm_buf *buf, long pages)
{
	buf->fd = cdm_memfd(pages);
	if (buf->fd < 0)
		return buf_errno(-1);
	return buf_map_fd(buf, 0, pages, buf->fd, MAP_SHARED);
}

struct cdm_reply op_map_memfd(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = buf_map_memfd(buf, pages);

	return reply.ret ? reply : op_bind(buf, node, 0);
}

/* Map @pages of the file that is kept from page @first on, on the device. */
struct cdm_reply op_map_keep(struct cdm_buf *buf, long first, long pages)
{
	if (buf_map_fd(buf, first, pages, cdm_keep_fd, MAP_SHARED).ret)
		return buf_errno(-1);
	return op_bind(buf, cdm_node, 0);
}

struct cdm_reply op_map(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = { .ret = buf_map(buf, pages, node, false) };

	return reply;
}

struct cdm_reply op_map_huge(struct cdm_buf *buf, long pages, long node)
{
	struct cdm_reply reply = { .ret = buf_map(buf, pages, node, true) };

	return reply;
}

/* Write to the pages, then say where they are. */
struct cdm_reply op_touch(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = buf_touch(buf, first, nr);
	struct cdm_reply where = buf_count(buf, first, nr);

	where.ok = reply.ok;
	where.bus = reply.bus;
	where.code = reply.code;
	where.addr_good = reply.addr_good;
	return where;
}

/* Write to the pages, wherever they are then. */
struct cdm_reply op_write(struct cdm_buf *buf, long first, long nr)
{
	return buf_touch(buf, first, nr);
}

struct cdm_reply op_count(struct cdm_buf *buf, long first, long nr)
{
	return buf_count(buf, first, nr);
}

/* Read every page, wherever it is: those with other contents are in ->bad. */
struct cdm_reply op_verify(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { 0 };
	long i;

	for (i = first; i < first + nr; i++) {
		char *page = buf->addr + i * cdm_psize;

		reply.bad += page_read(page, false) != pattern(i) ||
			page_read(page, true) != pattern(i);
	}
	return reply;
}

/* How many of the pages are in memory, mapped or not. */
struct cdm_reply op_resident(struct cdm_buf *buf, long first, long nr)
{
	unsigned char *in = calloc(nr, 1);
	struct cdm_reply reply = { 0 };
	long i;

	if (mincore(buf->addr + first * cdm_psize, nr * cdm_psize, in))
		reply.ret = -errno;
	for (i = 0; i < nr; i++)
		reply.ret += in[i] & 1;
	free(in);
	return reply;
}

struct cdm_reply op_unmap(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(munmap(buf->addr + first * cdm_psize,
				nr * cdm_psize));
}

struct cdm_reply op_discard(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_DONTNEED));
}

struct cdm_reply op_pageout(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_PAGEOUT));
}

/* Pages that fit in a pipe: its table of them has to be allocated in one. */
#define PIPE_PAGES	4096

/* Put references to up to PIPE_PAGES pages into a new pipe; returns how many. */
static long pin_some(struct cdm_buf *buf, char *addr, long nr)
{
	struct iovec iov = { .iov_base = addr };
	ssize_t ret;
	int fds[2];

	if (nr > PIPE_PAGES)
		nr = PIPE_PAGES;
	iov.iov_len = nr * cdm_psize;
	if (buf->nr_pins + 2 > (int)ARRAY_SIZE(buf->pins) ||
	    pipe2(fds, O_CLOEXEC))
		return -1;
	buf->pins[buf->nr_pins++] = fds[0];
	buf->pins[buf->nr_pins++] = fds[1];
	if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_PAGES * cdm_psize) < 0)
		return -1;
	while (iov.iov_len) {
		ret = vmsplice(fds[1], &iov, 1, SPLICE_F_NONBLOCK);
		if (ret <= 0)
			return -1;
		iov.iov_base = (char *)iov.iov_base + ret;
		iov.iov_len -= ret;
	}
	return nr;
}

/* Hold references to the pages in pipes: such pages cannot be migrated. */
struct cdm_reply op_pin(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { 0 };
	long some;

	while (reply.ret < nr) {
		some = pin_some(buf, buf->addr +
				(first + reply.ret) * cdm_psize,
				nr - reply.ret);
		if (some < 0)
			return buf_errno(-1);
		reply.ret += some;
	}
	return reply;
}

struct cdm_reply op_unpin(struct cdm_buf *buf, long a, long b)
{
	struct cdm_reply reply = { 0 };

	(void)a;
	(void)b;
	while (buf->nr_pins)
		close(buf->pins[--buf->nr_pins]);
	return reply;
}

struct cdm_reply op_address(struct cdm_buf *buf, long a, long b)
{
	struct cdm_reply reply = { .ret = (long)buf->addr + a * cdm_psize };

	(void)b;
	return reply;
}

/*
 * move_pages() of @nr pages of the caller's own buffer: how many are where they
 * should be in ->ok, and how many are not in ->bus. The call says only how many
 * it did not move when there are any, so it is asked again.
 */
static struct cdm_reply move_part(struct cdm_buf *buf, long first, long nr,
				  long node)
{
	struct cdm_reply reply = { 0 };
	int *status = calloc(nr, sizeof(*status));
	int *nodes = calloc(nr, sizeof(*nodes));
	void **pages = calloc(nr, sizeof(*pages));
	long i;

	for (i = 0; i < nr; i++) {
		pages[i] = buf->addr + (first + i) * cdm_psize;
		nodes[i] = node;
		status[i] = INT_MIN;
	}
	reply.ret = sys_move_pages(0, nr, pages, nodes, status, MPOL_MF_MOVE);
	if (reply.ret < 0)
		reply.ret = -errno;
	if (sys_move_pages(0, nr, pages, NULL, status, 0))
		reply.ret = -errno;
	for (i = 0; i < nr; i++) {
		if (status[i] == node)
			reply.ok++;
		else if (status[i] >= 0)
			reply.bus++;
		else
			reply.code = status[i];
	}
	free(status);
	free(nodes);
	free(pages);
	return reply;
}

/* Move the first @nr pages. */
struct cdm_reply op_move(struct cdm_buf *buf, long nr, long node)
{
	return move_part(buf, 0, nr, node);
}

/* Move @nr pages from page @first on to cdm_node. */
struct cdm_reply op_move_part(struct cdm_buf *buf, long first, long nr)
{
	return move_part(buf, first, nr, cdm_node);
}

/* Bind the buffer to a node, with flags such as MPOL_MF_MOVE. */
struct cdm_reply op_bind(struct cdm_buf *buf, long node, long flags)
{
	return buf_errno(sys_mbind(buf->addr, buf->pages * cdm_psize,
				   MPOL_BIND, node, flags));
}

struct cdm_reply op_mlock(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(mlock(buf->addr + first * cdm_psize, nr * cdm_psize));
}

/* How many of the pages are mapped as parts of a huge page, by /proc/smaps. */
struct cdm_reply op_huge_mapped(struct cdm_buf *buf, long a, long b)
{
	unsigned long addr = (unsigned long)buf->addr, start, end;
	struct cdm_reply reply = { 0 };
	char line[512];
	bool ours = false;
	FILE *smaps = fopen("/proc/self/smaps", "r");
	long kib;

	(void)a;
	(void)b;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			ours = end > addr &&
				start < addr + buf->pages * cdm_psize;
		else if (ours && sscanf(line, "AnonHugePages: %ld", &kib) == 1)
			reply.ret += kib * 1024 / cdm_psize;
	}
	fclose(smaps);
	return reply;
}

struct cdm_reply op_collapse(struct cdm_buf *buf, long first, long nr)
{
	return buf_errno(madvise(buf->addr + first * cdm_psize,
				 nr * cdm_psize, MADV_COLLAPSE));
}

/* The number of the page frame that is mapped, or 0. */
struct cdm_reply op_frame(struct cdm_buf *buf, long page, long b)
{
	unsigned long addr = (unsigned long)buf->addr + page * cdm_psize;
	struct cdm_reply reply = { 0 };
	unsigned long entry = 0;
	int fd;

	(void)b;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &entry, sizeof(entry),
		  addr / cdm_psize * sizeof(entry)) != sizeof(entry))
		reply.ret = -errno;
	else if (entry >> 63)
		reply.ret = entry & ((1UL << 55) - 1);
	close(fd);
	return reply;
}

static long write_pages(int fd, long pages)
{
	long *page = calloc(1, cdm_psize), nr;

	lseek(fd, 0, SEEK_SET);
	for (nr = 0; nr < pages; nr++) {
		page[0] = pattern(nr);
		page[cdm_psize / sizeof(long) - 1] = pattern(nr);
		if (write(fd, page, cdm_psize) != cdm_psize)
			break;
	}
	free(page);
	return nr;
}

/*
 * Make a file of which nothing is in memory, or with @dirty all of it, on the
 * device and not written to the disk. Its blocks have been found before then.
 */
struct cdm_reply op_make_file(struct cdm_buf *buf, long pages, long dirty)
{
	struct cdm_reply reply = { 0 };

	buf->fd = open(CDM_CACHED, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		       0600);
	reply.ok = write_pages(buf->fd, pages);
	fsync(buf->fd);
	posix_fadvise(buf->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (dirty) {
		sys_set_mempolicy(MPOL_BIND, 1UL << cdm_node);
		reply.ok = write_pages(buf->fd, pages);
		sys_set_mempolicy(MPOL_DEFAULT, 0);
	}
	return reply;
}

/* Read it, with @bind under a policy for the device. */
struct cdm_reply op_read_file(struct cdm_buf *buf, long pages, long bind)
{
	char *data = calloc(1, cdm_psize);
	struct cdm_reply reply = { 0 };

	if (bind && sys_set_mempolicy(MPOL_BIND, 1UL << cdm_node))
		return buf_errno(-1);
	lseek(buf->fd, 0, SEEK_SET);
	while (reply.ok < pages && read(buf->fd, data, cdm_psize) == cdm_psize)
		reply.ok++;
	if (reply.ok < pages)
		reply.ret = -errno;
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	free(data);
	return reply;
}

/* Map what is cached, and say where it is. */
struct cdm_reply op_where_file(struct cdm_buf *buf, long pages, long b)
{
	long i;

	(void)b;
	buf->pages = pages;
	buf->addr = mmap(NULL, pages * cdm_psize, PROT_READ, MAP_SHARED,
			 buf->fd, 0);
	if (buf->addr == MAP_FAILED)
		return buf_errno(-1);
	for (i = 0; i < pages; i++)
		__atomic_load_n(buf->addr + i * cdm_psize, __ATOMIC_RELAXED);
	return buf_count(buf, 0, pages);
}

/*
 * From mm/gup_test.h, which is not for user space: hold pages as a driver does
 * that lets its hardware write to them. There can be one such holder at a time.
 */
#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define USE_WRITE	1

struct pin_longterm_test {
	unsigned long long addr;
	unsigned long long size;
	unsigned int flags;
};

static int longterm_fd = -1;

/* Without pages it opens the file that does it. */
struct cdm_reply op_longterm(struct cdm_buf *buf, long first, long nr)
{
	struct pin_longterm_test args = {
		.addr = (unsigned long)buf->addr + first * cdm_psize,
		.size = nr * cdm_psize,
		.flags = USE_WRITE,
	};

	if (longterm_fd < 0)
		longterm_fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	if (longterm_fd < 0)
		return buf_errno(-1);
	if (!nr)
		return buf_errno(0);
	return buf_errno(ioctl(longterm_fd, PIN_LONGTERM_TEST_START, &args));
}

struct cdm_reply op_longterm_end(struct cdm_buf *buf, long a, long b)
{
	(void)buf;
	(void)a;
	(void)b;
	close_fd(&longterm_fd);
	return buf_errno(0);
}

/* Map @huge pages of the default size, bound to @node if it is one. */
struct cdm_reply buf_map_pool(struct cdm_buf *buf, long huge, int node,
			      int flags)
{
	buf->pages = huge * cdm_hpages;
	buf->addr = mmap(NULL, buf->pages * cdm_psize, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_HUGETLB | flags, -1, 0);
	if (buf->addr == MAP_FAILED)
		return buf_errno(-1);
	return node < 0 ? buf_errno(0) : op_bind(buf, node, 0);
}

struct cdm_reply op_map_pool(struct cdm_buf *buf, long huge, long node)
{
	return buf_map_pool(buf, huge, node, MAP_PRIVATE);
}

struct cdm_reply op_on_cpu(struct cdm_buf *buf, long cpu, long b)
{
	cpu_set_t set;

	(void)buf;
	(void)b;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return buf_errno(sched_setaffinity(0, sizeof(set), &set));
}

/* fork() with the child in @group from its first moment on. */
static pid_t fork_into(const char *group)
{
	int fd = dirfd_open_opath(group);
	pid_t pid;

	if (fd < 0)
		return -1;
	pid = clone_into_cgroup(fd);
	close(fd);
	return pid;
}

struct channel {
	int in;
	int out;
};

static void serve(struct channel own, struct channel spare);

/* Fork a worker that is reached by the spare channel; returns its pid. */
static long serve_fork(struct channel *own, struct channel *spare,
		       const char *group)
{
	struct channel none = { -1, -1 };
	pid_t pid;

	pid = group ? fork_into(group) : fork();
	if (pid) {
		close_fd(&spare->in);
		close_fd(&spare->out);
		return pid < 0 ? -errno : pid;
	}
	close_fd(&own->in);
	close_fd(&own->out);
	serve(*spare, none);
	return 0;
}

/* The buffer of this worker; a forked worker starts with its parent's. */
static struct cdm_buf worker_buf = { .fd = -1 };

static void serve(struct channel own, struct channel spare)
{
	struct request request;
	struct cdm_reply reply;

	while (read(own.in, &request, sizeof(request)) == sizeof(request)) {
		if (request.kind == REQUEST_QUIT)
			break;
		if (request.kind == REQUEST_FORK) {
			memset(&reply, 0, sizeof(reply));
			reply.ret = serve_fork(&own, &spare,
					       (const char *)request.a);
		} else {
			reply = request.op(&worker_buf, request.a, request.b);
		}
		if (write(own.out, &reply, sizeof(reply)) != sizeof(reply))
			break;
	}
	fflush(stdout);
	_exit(0);
}

static void running_add(pid_t pid)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(running); i++) {
		if (!running[i]) {
			running[i] = pid;
			return;
		}
	}
}

static void running_del(pid_t pid)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(running); i++)
		if (running[i] == pid)
			running[i] = 0;
}

/* Start a worker in @group, or where the caller is if that is NULL. */
void task_start(struct cdm_task *task, const char *group)
{
	int up[2], down[2], spare_up[2], spare_down[2];
	struct cdm_reply ready = { 0 };

	if (pipe2(up, O_CLOEXEC) || pipe2(down, O_CLOEXEC) ||
	    pipe2(spare_up, O_CLOEXEC) || pipe2(spare_down, O_CLOEXEC))
		ksft_exit_fail_msg("no pipes: %s\n", strerror(errno));
	task->pid = fork();
	if (task->pid < 0)
		ksft_exit_fail_msg("no fork: %s\n", strerror(errno));
	if (!task->pid) {
		struct channel own = { down[0], up[1] };
		struct channel spare = { spare_down[0], spare_up[1] };

		alarm(0);
		signal(SIGCHLD, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_CHILD_SUBREAPER, 0);
		ready.ret = group ? cg_enter_current(group) : 0;
		if (write(own.out, &ready, sizeof(ready)) == sizeof(ready))
			serve(own, spare);
		_exit(1);
	}
	close(up[1]);
	close(down[0]);
	close(spare_up[1]);
	close(spare_down[0]);
	task->up = up[0];
	task->down = down[1];
	task->spare_up = spare_up[0];
	task->spare_down = spare_down[1];
	task->direct = true;
	running_add(task->pid);
	ready = task_reply(task);
	if (ready.ret)
		cdm_fail(__FILE__, __LINE__, "cannot enter %s: %ld", group,
			 ready.ret);
}

/* Start a worker that has @pages on @node, or in RAM if that is negative. */
void task_start_on(struct cdm_task *task, const char *group, long pages,
		   int node)
{
	struct cdm_reply reply;

	task_start(task, group);
	CHECK_EQ(task_call(task, op_map, pages, node).ret, 0);
	reply = task_call(task, op_touch, 0, pages);
	if (node == cdm_node)
		CHECK_EQ(reply.dev, pages);
	else
		CHECK_EQ(node < 0 ? reply.ram : reply.other, pages);
}

/* Start a worker in @group that stays on a CPU. */
void task_start_cpu(struct cdm_task *task, const char *group, int cpu)
{
	task_start(task, group);
	CHECK_EQ(task_call(task, op_on_cpu, cpu, 0).ret, 0);
}

static void request(struct cdm_task *task, enum request_kind kind, cdm_op op,
		    long a, long b)
{
	struct request request = { kind, op, a, b };

	if (write(task->down, &request, sizeof(request)) != sizeof(request) &&
	    kind != REQUEST_QUIT)
		cdm_fail(__FILE__, __LINE__, "worker %d is gone", task->pid);
}

/*
 * Have a worker fork: the child has its memory and its buffer, and is in @group,
 * which must be older than the worker, or in the worker's if that is NULL.
 */
int task_fork_into(struct cdm_task *task, struct cdm_task *child,
		   const char *group)
{
	struct cdm_reply reply;

	request(task, REQUEST_FORK, NULL, (long)group, 0);
	reply = task_reply(task);
	child->pid = reply.ret;
	child->up = task->spare_up;
	child->down = task->spare_down;
	child->spare_up = -1;
	child->spare_down = -1;
	child->direct = false;
	task->spare_up = -1;
	task->spare_down = -1;
	return reply.ret < 0 ? reply.ret : 0;
}

int task_fork(struct cdm_task *task, struct cdm_task *child)
{
	return task_fork_into(task, child, NULL);
}

void task_send(struct cdm_task *task, cdm_op op, long a, long b)
{
	request(task, REQUEST_CALL, op, a, b);
}

struct cdm_reply task_reply(struct cdm_task *task)
{
	struct cdm_reply reply;

	if (read(task->up, &reply, sizeof(reply)) != sizeof(reply)) {
		cdm_fail(__FILE__, __LINE__, "worker %d died", task->pid);
		memset(&reply, 0, sizeof(reply));
		reply.ret = -EPIPE;
	}
	return reply;
}

struct cdm_reply task_call(struct cdm_task *task, cdm_op op, long a, long b)
{
	task_send(task, op, a, b);
	return task_reply(task);
}

/*
 * Wait until the worker's memory is gone: its pipe is closed after that.
 * Returns its exit code or the negative number of the signal that ended it.
 */
static int task_gone(struct cdm_task *task)
{
	struct cdm_reply reply;
	int status = 0;

	while (read(task->up, &reply, sizeof(reply)) > 0)
		continue;
	if (task->direct) {
		while (waitpid(task->pid, &status, 0) < 0 && errno == EINTR)
			continue;
		running_del(task->pid);
	}
	close_fd(&task->up);
	close_fd(&task->down);
	close_fd(&task->spare_up);
	close_fd(&task->spare_down);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

struct cdm_reply task_ask(struct cdm_task *task, long pages)
{
	CHECK_EQ(task_call(task, op_map, pages, cdm_node).ret, 0);
	return task_call(task, op_touch, 0, pages);
}

void task_check_at(struct cdm_task *task, long pages, long dev, long ram)
{
	struct cdm_reply reply = task_call(task, op_count, 0, pages);

	CHECK_EQ(reply.dev, dev);
	CHECK_EQ(reply.ram, ram);
	CHECK_EQ(reply.bad, 0);
}

int task_end(struct cdm_task *task)
{
	request(task, REQUEST_QUIT, NULL, 0, 0);
	return task_gone(task);
}

int task_kill(struct cdm_task *task)
{
	kill(task->pid, SIGKILL);
	return task_gone(task);
}

/*
 * Cases
 */

static void on_alarm(int sig)
{
	static const char text[] = "Bail out! the case hangs\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(KSFT_FAIL + 1);
	_exit(KSFT_FAIL);
}

static void reap_workers(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(running); i++) {
		if (running[i])
			kill(running[i], SIGKILL);
		running[i] = 0;
	}
	if (file_exists(case_group))
		cdm_write(case_group, "cgroup.kill", "1");
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		continue;
}

static int check_group_empty(const char *path, const struct stat *st, int type,
			     struct FTW *ftw)
{
	int nodes[CDM_MAX_NODES], nr, i;
	long left;

	(void)st;
	(void)ftw;
	if (type != FTW_D)
		return 0;
	nr = coherent_nodes(nodes);
	for (i = 0; i < nr; i++) {
		/* A group for which the controller is off has no files. */
		if (cdm_value(path, "cdm.current", nodes[i]) == CDM_NONE)
			continue;
		left = cdm_settle(path, nodes[i], 0);
		if (left)
			cdm_fail(__FILE__, __LINE__,
				 "%s still has %ld pages on node %d", path,
				 left, nodes[i]);
	}
	return 0;
}

static int remove_group(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_DP && cg_destroy(path))
		cdm_fail(__FILE__, __LINE__, "rmdir %s: %s", path,
			 strerror(errno));
	return 0;
}

static void remove_groups(void)
{
	nftw(case_group, remove_group, 16, FTW_DEPTH | FTW_PHYS);
}

static void check_log(void)
{
	static const char * const bad[] = {
		"oom-kill", "Out of memory", "VM_FAULT_OOM leaked",
	};
	char line[1024];
	ssize_t len;
	size_t i;

	/* A reader that was overtaken by the ring buffer gets EPIPE once. */
	while ((len = read(kmsg, line, sizeof(line) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		line[len < 0 ? 0 : len] = '\0';
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			if (strstr(line, bad[i]))
				cdm_fail(__FILE__, __LINE__,
					 "in the kernel log: %s", line);
	}
}

static void check_books(void)
{
	int nodes[CDM_MAX_NODES], nr, i;
	char audit[4096] = "", line[512];
	size_t len;

	nr = coherent_nodes(nodes);
	for (i = 0; i < nr; i++)
		CHECK_EQ(cdm_settle(cdm_root, nodes[i], root_before[nodes[i]]),
			 root_before[nodes[i]]);
	/* Once for all nodes: to read it is to look at each of their pages. */
	file_read(AUDIT, audit, sizeof(audit));
	for (i = 0; i < nr; i++) {
		if (text_line(audit, nodes[i], line, sizeof(line))) {
			cdm_fail(__FILE__, __LINE__, "no audit of node %d",
				 nodes[i]);
			continue;
		}
		len = strlen(line);
		if (len < 3 || strcmp(line + len - 3, " ok"))
			cdm_fail(__FILE__, __LINE__, "audit: node%d %s",
				 nodes[i], line);
	}
}

static void case_begin(const char *name)
{
	int nodes[CDM_MAX_NODES], nr, i;

	snprintf(case_name, sizeof(case_name), "%s%s", name, lru_name);
	atomic_store(failures, 0);
	alarm(CASE_SECONDS * cdm_slow);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	cdm_drain();
	memset(root_before, 0, sizeof(root_before));
	nr = coherent_nodes(nodes);
	for (i = 0; i < nr; i++)
		root_before[nodes[i]] = cdm_pages(cdm_root, nodes[i]);
	if (cg_create(case_group))
		ksft_exit_fail_msg("mkdir %s: %s\n", case_group,
				   strerror(errno));
}

static void case_end(void)
{
	reap_workers();
	cdm_drain();
	nftw(case_group, check_group_empty, 16, FTW_PHYS);
	remove_groups();
	check_books();
	check_log();
	while (nr_paths)
		free(paths[--nr_paths]);
	alarm(0);
	ksft_test_result(!atomic_load(failures), "%s\n", case_name);
}

void cdm_case(const char *name, void (*fn)(const char *group))
{
	case_begin(name);
	fn(case_group);
	case_end();
}

void cdm_case_arg(const char *name,
		  void (*fn)(const char *group, const void *arg),
		  const void *arg)
{
	case_begin(name);
	fn(case_group, arg);
	case_end();
}

/*
 * Run cases with each kind of LRU lists that the kernel has, and leave it with
 * the kind that it had. The names of the cases say which it was.
 */
void cdm_both_lru(void (*run)(void))
{
	static const struct {
		const char *write;
		const char *name;
	} kinds[] = { { "7", " (mglru)" }, { "0", " (classic)" } };
	char before[32];
	size_t i;

	if (file_read(LRU_GEN, before, sizeof(before)))
		ksft_exit_fail_msg("%s: %s\n", LRU_GEN, strerror(errno));
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (file_write(LRU_GEN, "%s", kinds[i].write))
			ksft_exit_fail_msg("no LRU lists%s\n", kinds[i].name);
		lru_name = kinds[i].name;
		run();
	}
	lru_name = "";
	file_write(LRU_GEN, "%s", before);
}

/* A result without a case: nothing is cleaned up or checked. */
void cdm_result(bool good, const char *name)
{
	ksft_test_result(good, "%s\n", name);
}

void cdm_case_skip(const char *name, const char *why)
{
	ksft_test_result_skip("%s: %s\n", name, why);
}

static void find_nodes(void)
{
	int nodes[CDM_MAX_NODES];

	if (node_list(HAS_COHERENT_MEMORY, nodes, CDM_MAX_NODES) < 1)
		ksft_exit_skip("no node with coherent device memory\n");
	cdm_node = nodes[0];
	if (node_list("/sys/devices/system/node/has_cpu", nodes,
		      CDM_MAX_NODES) < 1)
		ksft_exit_fail_msg("no node has a CPU\n");
	cdm_ram = nodes[0];
}

/* Find the machine, make ready for @cases results. */
void cdm_init(unsigned int cases)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	const char *slow;

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("only root may do this\n");
	failures = mmap(NULL, sizeof(*failures), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (failures == MAP_FAILED)
		ksft_exit_fail_msg("no shared page\n");
	atomic_store(failures, 0);

	cdm_psize = sysconf(_SC_PAGESIZE);
	slow = getenv("CDM_SLOW");
	cdm_slow = slow ? atoi(slow) : 1;
	if (file_long(THP_SIZE) > 0)
		cdm_hpages = file_long(THP_SIZE) / cdm_psize;
	find_nodes();
	if (cg_find_unified_root(cdm_root, sizeof(cdm_root), NULL))
		ksft_exit_skip("cgroup v2 is not mounted\n");
	if (cdm_enable(cdm_root, "+memory +cdm"))
		ksft_exit_skip("no cdm controller\n");
	snprintf(case_group, sizeof(case_group), "%s/cdm_test", cdm_root);
	if (file_exists(case_group))
		remove_groups();
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGALRM, &sa, NULL);
	ksft_set_plan(cases);
}

void __noreturn cdm_exit(void)
{
	ksft_finished();
}
