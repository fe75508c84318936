/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the cdm selftests.
 *
 * A program consists of cases. cdm_case() gives each a fresh cgroup, runs it,
 * ends what it left behind and checks the books: no usage left in any group,
 * the root's usage as it was before, every page of every node owned by whom it
 * is charged to, nobody killed for lack of memory.
 *
 * A case drives workers: processes in a cgroup that do what they are told, a
 * call at a time, and answer. The case stays a straight line, and nothing ever
 * waits for a time to pass.
 *
 * A failed check prints where and which values, marks the case failed and goes
 * on; "if (!CHECK_EQ(...)) return;" stops where going on makes no sense. Checks
 * work in workers too.
 */
#ifndef _SELFTESTS_CDM_UTIL_H
#define _SELFTESTS_CDM_UTIL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cgroup_util.h"

#define CDM_MAX_NODES	64

/* A reading that could not be taken; no counter has this value. */
#define CDM_NONE	(-1L)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

/* The machine, filled in by cdm_init(). */
extern char cdm_root[PATH_MAX];	/* where cgroup2 is mounted */
extern int cdm_node;		/* the CDM node that the tests use */
extern int cdm_ram;		/* a node with CPUs and RAM */
extern long cdm_psize;		/* bytes in a page */
extern long cdm_hpages;		/* pages in a huge page, 0 without THP */
extern int cdm_slow;		/* factor of time limits: $CDM_SLOW, or 1 */

/* Checks. */
void cdm_check_failed(const char *file, int line, const char *what,
		      long actual, const char *op, long expected);
void cdm_fail(const char *file, int line, const char *fmt, ...)
	__printf(3, 4);

#define CHECK_OP(actual, op, expected)					\
({									\
	long __actual = (long)(actual);					\
	long __expected = (long)(expected);				\
	bool __good = __actual op __expected;				\
									\
	if (!__good)							\
		cdm_check_failed(__FILE__, __LINE__,			\
				 #actual " " #op " " #expected,		\
				 __actual, #op, __expected);		\
	__good;								\
})

#define CHECK_EQ(actual, expected)	CHECK_OP(actual, ==, expected)
#define CHECK_NE(actual, expected)	CHECK_OP(actual, !=, expected)
#define CHECK_LE(actual, expected)	CHECK_OP(actual, <=, expected)
#define CHECK_LT(actual, expected)	CHECK_OP(actual, <, expected)
#define CHECK_GE(actual, expected)	CHECK_OP(actual, >=, expected)
#define CHECK_GT(actual, expected)	CHECK_OP(actual, >, expected)
#define CHECK_STR(actual, expected)					\
	cdm_check_str(__FILE__, __LINE__, #actual, actual, expected)

bool cdm_check_str(const char *file, int line, const char *what,
		   const char *actual, const char *expected);

/* Cases. */
void cdm_init(unsigned int cases);
void cdm_case(const char *name, void (*fn)(const char *group));
void cdm_case_arg(const char *name,
		  void (*fn)(const char *group, const void *arg),
		  const void *arg);
void cdm_both_lru(void (*run)(void));
void cdm_result(bool good, const char *name);
void cdm_case_skip(const char *name, const char *why);
void __noreturn cdm_exit(void);

/* Plain files, and the time in seconds. */
double cdm_now(void);
int file_read(const char *path, char *buf, size_t len);
int file_write(const char *path, const char *fmt, ...)
	__printf(2, 3);
long file_long(const char *path);
long file_key(const char *path, const char *key);
long vm_event(const char *name);
bool file_exists(const char *path);
long node_meminfo(int node, const char *key);
int node_write(int node, const char *file, const char *text);
int node_list(const char *path, int *nodes, int max);
bool node_in(const int *nodes, int nr, int node);
int cdm_other_node(void);
int cdm_hotplug(const char *what, const char *how);
void cdm_use_plugged(void);
long cdm_zone_mark(const char *mark);
long cdm_free(void);
void cdm_small_node(long pages);

/* Groups. */
char *cdm_group(const char *parent, const char *name);
void cdm_two_groups(const char *parent, char **a, char **b);
int cdm_enable(const char *group, const char *controllers);
int cdm_write(const char *group, const char *file, const char *fmt, ...)
	__printf(3, 4);
int cdm_limit(const char *group, int node, long pages);
int cdm_protect(const char *group, int node, long pages);
int cdm_reclaim(const char *group, int node, long pages);
int cdm_mount_option(const char *option, bool on);
int cdm_recursive_low(bool on);
long cdm_value(const char *group, const char *file, int node);
long cdm_pages(const char *group, int node);
long cdm_settle(const char *group, int node, long pages);
long cdm_dying(const char *group);
long cdm_dying_settle(const char *group, long want);
long cdm_event(const char *group, const char *file, int node,
	       const char *event);
long cdm_audit(int node, const char *key);

/* Of cdm_node: an event of a group with what is below it, and of it alone. */
long cdm_count(const char *group, const char *event);
long cdm_count_local(const char *group, const char *event);
long cdm_stat(const char *group, const char *item);
void cdm_zswap(bool on);
void cdm_drain(void);
int cdm_unpoison(long frame);

/* A new file in memory of @pages, or -1. */
int cdm_memfd(long pages);

/* A file in memory whose pages keep their charges when nobody maps them. */
extern int cdm_keep_fd;
void cdm_keep_open(long pages);
void cdm_keep_close(void);
void cdm_leave_charged(const char *group, long first, long pages);

/* Take the swap area out of use, or into it again. */
int cdm_swap(bool on);

/* Have the page cache written and dropped. */
void cdm_empty_cache(void);

/* Trace an event, or all of a system, from an empty buffer on. */
#define CDM_TRACING	"/sys/kernel/tracing/"
void cdm_trace_begin(const char *event);
void cdm_trace_end(const char *event);
long cdm_trace_sum(const char *event, const char *text, const char *key,
		   long *lines);

/* Trace migrations; how many pages were moved for @reason? */
void cdm_migrations_begin(void);
long cdm_migrations_end(const char *reason);

/* A node's pool of huge pages of @kb each. */
const char *cdm_pool_path(int node, long kb, const char *file);
long cdm_set_pool(int node, long kb, long pages);

/* The size of a huge page of the default size in sysfs. */
#define CDM_POOL_KB	(cdm_hpages * cdm_psize / 1024)
#define CDM_OVERCOMMIT	"/proc/sys/vm/nr_overcommit_hugepages"

/* The root's group has @pages of the device, and all is in order. */
void cdm_check_root(long pages);

/* Set a file of the memory controller to @pages, or to max if negative. */
void cdm_set_pages(const char *group, const char *file, long pages);

/* RAM that counts in memory.current, which CPUs' stocks make inexact. */
#define CDM_RAM_SLACK	256
long cdm_ram_pages(const char *group);
void cdm_check_ram(const char *group, long before, long pages);
void cdm_check_no_oom(const char *group);

/* memory.max as it is now, and no swap: nothing more fits into RAM. */
void cdm_fill_ram(const char *group);

/* System calls without a wrapper in libc. */
long sys_mbind_nodes(void *addr, unsigned long len, int mode,
		     unsigned long nodes, unsigned int flags);
long sys_mbind(void *addr, unsigned long len, int mode, int node,
	       unsigned int flags);
long sys_set_mempolicy(int mode, unsigned long nodes);
long sys_move_pages(int pid, unsigned long count, void **pages,
		    const int *nodes, int *status, int flags);
long sys_migrate_pages(int pid, unsigned long from, unsigned long to);

/* A mapping, as a worker keeps it. */
struct cdm_buf {
	char *addr;
	long pages;
	int pins[256];		/* pipes that hold pages from vmsplice() */
	int nr_pins;
	int fd;			/* a file that the mapping is of, or -1 */
};

/* What a worker answers. Which members mean something is up to the call. */
struct cdm_reply {
	long ret;		/* what the call returned, -errno if it failed */
	long ok;		/* pages written to */
	long bus;		/* pages whose write got SIGBUS, or that did not move */
	int code;		/* si_code of the last SIGBUS */
	bool addr_good;		/* each SIGBUS named the address of its page */
	long dev;		/* pages on cdm_node */
	long other;		/* pages on another CDM node */
	long ram;		/* pages in RAM */
	long bad;		/* pages with other contents than written */
	bool last_dev;		/* the last page asked about is on cdm_node */
};

typedef struct cdm_reply (*cdm_op)(struct cdm_buf *buf, long a, long b);

struct cdm_task {
	pid_t pid;
	int up;			/* replies */
	int down;		/* requests */
	int spare_up;		/* the same for a child of the worker */
	int spare_down;
	bool direct;		/* our own child: to be waited for */
};

void task_start(struct cdm_task *task, const char *group);
void task_start_on(struct cdm_task *task, const char *group, long pages,
		   int node);
void task_start_cpu(struct cdm_task *task, const char *group, int cpu);
int task_fork(struct cdm_task *task, struct cdm_task *child);
int task_fork_into(struct cdm_task *task, struct cdm_task *child,
		   const char *group);
void task_send(struct cdm_task *task, cdm_op op, long a, long b);
struct cdm_reply task_reply(struct cdm_task *task);
struct cdm_reply task_call(struct cdm_task *task, cdm_op op, long a, long b);
int task_end(struct cdm_task *task);

/* Have the worker ask for @pages of cdm_node, in a new buffer. */
struct cdm_reply task_ask(struct cdm_task *task, long pages);

/* Of the first @pages of the worker's buffer so many are where, none is bad. */
void task_check_at(struct cdm_task *task, long pages, long dev, long ram);
int task_kill(struct cdm_task *task);

/*
 * Calls of a worker. Pages are counted from the start of its buffer, op_map()
 * replaces the buffer; a node below 0 is no memory policy at all.
 */
struct cdm_reply op_map(struct cdm_buf *buf, long pages, long node);
struct cdm_reply op_map_huge(struct cdm_buf *buf, long pages, long node);
struct cdm_reply op_map_keep(struct cdm_buf *buf, long first, long pages);
struct cdm_reply op_map_memfd(struct cdm_buf *buf, long pages, long node);
struct cdm_reply op_touch(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_write(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_verify(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_count(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_resident(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_unmap(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_discard(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_pageout(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_pin(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_unpin(struct cdm_buf *buf, long a, long b);
struct cdm_reply op_address(struct cdm_buf *buf, long a, long b);
struct cdm_reply op_move(struct cdm_buf *buf, long nr, long node);
struct cdm_reply op_move_part(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_bind(struct cdm_buf *buf, long node, long flags);
struct cdm_reply op_mlock(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_huge_mapped(struct cdm_buf *buf, long a, long b);
struct cdm_reply op_collapse(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_frame(struct cdm_buf *buf, long page, long b);
struct cdm_reply op_longterm(struct cdm_buf *buf, long first, long nr);
struct cdm_reply op_longterm_end(struct cdm_buf *buf, long a, long b);
struct cdm_reply op_on_cpu(struct cdm_buf *buf, long cpu, long b);
struct cdm_reply op_map_pool(struct cdm_buf *buf, long huge, long node);

/* A file in the current directory, and where its pages in memory are. */
#define CDM_CACHED	"cached"
struct cdm_reply op_make_file(struct cdm_buf *buf, long pages, long dirty);
struct cdm_reply op_read_file(struct cdm_buf *buf, long pages, long bind);
struct cdm_reply op_where_file(struct cdm_buf *buf, long pages, long b);

/* Parts of the above, for calls that a program adds. */
struct cdm_reply buf_touch(const struct cdm_buf *buf, long first, long nr);
struct cdm_reply buf_count(const struct cdm_buf *buf, long first, long nr);
struct cdm_reply buf_map_pool(struct cdm_buf *buf, long huge, int node,
			      int flags);
struct cdm_reply buf_errno(long ret);
int buf_map(struct cdm_buf *buf, long pages, int node, bool huge);
struct cdm_reply buf_map_fd(struct cdm_buf *buf, long first, long pages, int fd,
			    int flags);
struct cdm_reply buf_map_memfd(struct cdm_buf *buf, long pages);
long addr_node(void *addr);

#endif /* _SELFTESTS_CDM_UTIL_H */
