// SPDX-License-Identifier: GPL-2.0
/* Cases, see case.h. */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"
#include "check.h"
#include "files.h"
#include "group.h"
#include "node.h"
#include "system.h"
#include "usage.h"
#include "wait.h"
#include "worker.h"

#define AUDIT		"/sys/kernel/debug/cdm/audit"
#define LRU_GEN		"/sys/kernel/mm/lru_gen/enabled"

/*
 * A case hangs if it makes no progress for this long, see cdm_progress(). No
 * single call to the kernel takes a tenth of that on an idle machine.
 */
#define HANG_SECONDS	120

static char case_group[PATH_MAX + 16];
static char case_name[256];
static const char *lru_name = "";
static long root_before[CDM_MAX_NODES];
static int kmsg = -1;
static atomic_bool case_runs;

/* A thread, because a signal would interrupt what the case does. */
static void *watch_progress(void *unused)
{
	static const char text[] = "Bail out! the case hangs\n";
	long seen = 0, quiet = 0;

	for (;;) {
		/*
		 * Time in which the whole machine stands still does not count.
		 */
		sleep(1);
		if (!atomic_load(&case_runs) || wait_progress() != seen)
			quiet = 0;
		else if (++quiet > HANG_SECONDS * cdm_slow)
			break;
		seen = wait_progress();
	}
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(KSFT_FAIL + 1);
	_exit(KSFT_FAIL);
	return unused;
}

static void reap_workers(void)
{
	workers_kill();
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
		/* A group without the controller has no files of it. */
		if (cdm_bytes(path, "cdm.current", nodes[i]) == CDM_NONE)
			continue;
		left = cdm_wait_usage(path, nodes[i], 0);
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

bool cdm_expects_oom;

static void check_log(void)
{
	static const char * const bad[] = {
		"VM_FAULT_OOM leaked", "oom-kill", "Out of memory",
	};
	const size_t nr = cdm_expects_oom ? 1 : ARRAY_SIZE(bad);
	char line[1024];
	ssize_t len;
	size_t i;

	/* A reader whose messages were overwritten gets EPIPE once. */
	while ((len = read(kmsg, line, sizeof(line) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		line[len < 0 ? 0 : len] = '\0';
		for (i = 0; i < nr; i++)
			if (strstr(line, bad[i]))
				cdm_fail(__FILE__, __LINE__,
					 "in the kernel log: %s", line);
	}
}

static void check_books(void)
{
	int nodes[CDM_MAX_NODES], nr, i;
	char audit[4096] = "", line[512], *owners;
	size_t len;

	nr = coherent_nodes(nodes);
	for (i = 0; i < nr; i++)
		CHECK_EQ(cdm_wait_usage(cdm_root, nodes[i],
					root_before[nodes[i]]),
			 root_before[nodes[i]]);
	/* Read once for all nodes, as it looks at every page of them. */
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
	owners = strstr(audit, "owners ");
	if (!owners || strstr(owners, " BAD"))
		cdm_fail(__FILE__, __LINE__, "audit: %s",
			 owners ? owners : "no owners");
}

static void case_begin(const char *name)
{
	int nodes[CDM_MAX_NODES], nr, i;

	snprintf(case_name, sizeof(case_name), "%s%s", name, lru_name);
	checks_begin();
	cdm_progress();
	atomic_store(&case_runs, true);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	cdm_drain_lru();
	memset(root_before, 0, sizeof(root_before));
	nr = coherent_nodes(nodes);
	for (i = 0; i < nr; i++)
		root_before[nodes[i]] = cdm_usage(cdm_root, nodes[i]);
	if (cg_create(case_group))
		ksft_exit_fail_msg("mkdir %s: %s\n", case_group,
				   strerror(errno));
}

static void case_end(void)
{
	reap_workers();
	cdm_drain_lru();
	nftw(case_group, check_group_empty, 16, FTW_PHYS);
	remove_groups();
	cdm_policy(cdm_root, "fallback");
	check_books();
	check_log();
	groups_forget();
	atomic_store(&case_runs, false);
	ksft_test_result(!checks_failed(), "%s\n", case_name);
}

/**
 * cdm_case - run one case and report its result
 * @name: for the report
 * @fn: the case; it gets the path of a new group
 */
void cdm_case(const char *name, void (*fn)(const char *group))
{
	case_begin(name);
	fn(case_group);
	case_end();
}

/* The same for a case that takes an argument. */
void cdm_case_arg(const char *name,
		  void (*fn)(const char *group, const void *arg),
		  const void *arg)
{
	case_begin(name);
	fn(case_group, arg);
	case_end();
}

/**
 * cdm_run_each_lru - run cases with both implementations of the LRU
 * @run: runs the cases
 *
 * The name of the implementation is added to the cases' names. The kernel gets
 * back the one that it had.
 */
void cdm_run_each_lru(void (*run)(void))
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

/* Report a result without a case: nothing is cleaned up or checked. */
void cdm_report(bool good, const char *name)
{
	ksft_test_result(good, "%s\n", name);
}

void cdm_case_skip(const char *name, const char *why)
{
	ksft_test_result_skip("%s: %s\n", name, why);
}

/**
 * cdm_init - to be called first by each program
 * @cases: how many results it will report
 *
 * Skips the program on a machine that cannot run it.
 */
void cdm_init(unsigned int cases)
{
	pthread_t thread;

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("only root may do this\n");
	checks_init();
	wait_init();
	nodes_init();
	groups_init();
	snprintf(case_group, sizeof(case_group), "%s/cdm_test", cdm_root);
	if (file_exists(case_group))
		remove_groups();
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	if (pthread_create(&thread, NULL, watch_progress, NULL))
		ksft_exit_fail_msg("no thread\n");
	ksft_set_plan(cases);
}

void __noreturn cdm_exit(void)
{
	ksft_finished();
}
