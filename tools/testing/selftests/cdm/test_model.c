// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations against a model (see model.h) of which group is charged for
 * each page, and of what the page contains.
 *
 *   test_model [-s seed] [-t seconds] [-n operations] [-x operation]...
 *
 * First one operation at a time, with exact checks of the books after every
 * few; then, for a third of the time, all processes at once, and a check when
 * they are done. A failure prints the last operations, and the options that
 * repeat the run up to there: -n ends it before anything is concurrent.
 *
 * Without arguments there are two rounds with fixed seeds, one with and one
 * without groups that change in the concurrent part. With -t, which may be
 * hours, the seeds are new ones, unless -s gives the first. -x leaves an
 * operation out.
 */

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define EVEN_SEED	20161122
#define ODD_SEED	20170103
#define SHORT_ROUND	6	/* seconds, without arguments */
#define SHORT_LEAST	250	/* operations in sequence, at least */
#define LONG_ROUND	30
#define WORKERS		5	/* in the concurrent part */
#define SILENT_SECONDS	60	/* without progress a process hangs */
#define HPAGE_SIZE	(2UL << 20)
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

struct rng {
	unsigned long state;
};

static unsigned long rnd(struct rng *rng, unsigned long below)
{
	unsigned long z = rng->state += 0x9e3779b97f4a7c15UL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9UL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebUL;
	return (z ^ (z >> 31)) % below;
}

/* Pipes to and from the process of each slot, open in all processes. */
static int down[SLOTS][2], up[SLOTS][2];

/*
 * What processes do
 */

static sigjmp_buf bus_jump;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus_jump, 1);
}

static unsigned long word_value(unsigned int stamp, long word)
{
	return (stamp * 0x9e3779b97f4a7c15UL) ^ (word & 7);
}

/* Returns false on SIGBUS, when nothing was written. */
static bool page_fill(char *addr, unsigned int stamp)
{
	unsigned long *word = (unsigned long *)addr;
	long i;

	cdm_progress();
	if (sigsetjmp(bus_jump, 0))
		return false;
	for (i = 0; i < cdm_psize / (long)sizeof(*word); i++)
		__atomic_store_n(&word[i], word_value(stamp, i),
				 __ATOMIC_RELAXED);
	return true;
}

/* The first wrong word, or -1; also -1 if the access gets SIGBUS. */
static long page_wrong(char *addr, unsigned int stamp)
{
	unsigned long *word = (unsigned long *)addr;
	long i;

	if (sigsetjmp(bus_jump, 0))
		return -1;
	for (i = 0; i < cdm_psize / (long)sizeof(*word); i++)
		if (__atomic_load_n(&word[i], __ATOMIC_RELAXED) !=
		    word_value(stamp, i))
			return i;
	return -1;
}

static void do_touch(struct region *region, const struct cmd *cmd)
{
	long i;

	for (i = cmd->first; i < cmd->first + cmd->nr; i++) {
		struct page *page = region_page(region, i);
		unsigned int stamp = (cmd->stamp + i) | 1;

		if (page->gone || !page_fill(region->addr + i * cdm_psize,
					     stamp))
			continue;
		page->stamp = stamp;
		page->written = true;
	}
}

/* Check what was written; with @all, in swap too. */
static void do_verify(struct region *region, bool all)
{
	long i, wrong;

	for (i = 0; i < region->pages; i++) {
		struct page *page = region_page(region, i);

		if (!page->stamp || page->gone ||
		    (page->place == IN_SWAP && !all))
			continue;
		wrong = page_wrong(region->addr + i * cdm_psize, page->stamp);
		if (wrong >= 0)
			FAIL("page %ld at %p of process %d: word %ld is wrong",
			     i, region->addr, getpid(), wrong);
	}
}

static long bind_region(const struct region *region, enum policy policy,
			int flags)
{
	unsigned long mask = 0;
	int mode = policy == POLICY_PREFERRED ? MPOL_PREFERRED : MPOL_BIND;

	if (policy == POLICY_OTHER)
		mask |= 1UL << model->node[1].id;
	else
		mask |= 1UL << cdm_node;
	if (policy == POLICY_BOTH)
		mask |= 1UL << cdm_ram_node;
	return syscall(__NR_mbind, region->addr, region->pages * cdm_psize,
		       mode, &mask, 8 * sizeof(mask) + 1, flags);
}

/* Reserve address space, aligned for huge pages. */
static char *reserve(long pages)
{
	char *addr, *start;
	size_t size = pages * cdm_psize;

	addr = mmap(NULL, size + HPAGE_SIZE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	start = (char *)(((unsigned long)addr + HPAGE_SIZE - 1) &
			 ~(HPAGE_SIZE - 1));
	if (start != addr)
		munmap(addr, start - addr);
	munmap(start + size, addr + HPAGE_SIZE - start);
	return start;
}

static void do_map(struct region *region, const struct cmd *cmd)
{
	memset(region, 0, sizeof(*region));
	region->pages = cmd->nr;
	region->policy = cmd->policy;
	region->file = cmd->file;
	region->huge = cmd->flag;
	region->addr = mmap(reserve(cmd->nr), cmd->nr * cdm_psize,
			    PROT_READ | PROT_WRITE, MAP_FIXED |
			    (cmd->file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS :
			     MAP_SHARED),
			    cmd->file < 0 ? -1 : model->file[cmd->file].fd, 0);
	if (region->addr == MAP_FAILED) {
		FAIL("mmap: %s", strerror(errno));
		region->addr = NULL;
		return;
	}
	if (cmd->flag)
		madvise(region->addr, cmd->nr * cdm_psize, MADV_HUGEPAGE);
	if (cmd->policy != POLICY_NONE && bind_region(region, cmd->policy, 0))
		FAIL("mbind: %s", strerror(errno));
}

static void pages_gone(struct region *region, const struct cmd *cmd, bool gone)
{
	long i;

	for (i = cmd->first; i < cmd->first + cmd->nr; i++) {
		struct page *page = region_page(region, i);

		page->stamp = 0;
		page->place = NOWHERE;
		page->gone |= gone;
	}
}

static void do_unmap(struct region *region, const struct cmd *cmd)
{
	if (cmd->flag) {
		munmap(region->addr, region->pages * cdm_psize);
		region->addr = NULL;
		return;
	}
	/*
	 * Keep the range reserved: what is done to the region next must not
	 * be done to some other mapping.
	 */
	if (mmap(region->addr + cmd->first * cdm_psize, cmd->nr * cdm_psize,
		 PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		 MAP_FIXED, -1, 0) == MAP_FAILED)
		FAIL("munmap: %s", strerror(errno));
	pages_gone(region, cmd, true);
}

static void do_discard(struct region *region, const struct cmd *cmd)
{
	madvise(region->addr + cmd->first * cdm_psize, cmd->nr * cdm_psize,
		MADV_DONTNEED);
	if (region->file < 0)
		pages_gone(region, cmd, false);
}

static void do_punch(struct region *region, const struct cmd *cmd)
{
	if (region->file < 0)
		return;
	if (fallocate(model->file[region->file].fd,
		      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      cmd->first * cdm_psize, cmd->nr * cdm_psize))
		FAIL("punch: %s", strerror(errno));
	pages_gone(region, cmd, false);
}

/* This fails if a part was unmapped, and then changes nothing. */
static void do_remap(struct region *region)
{
	size_t size = region->pages * cdm_psize;
	char *place = reserve(region->pages), *addr;

	addr = mremap(region->addr, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
		      place);
	if (addr == MAP_FAILED)
		munmap(place, size);
	else
		region->addr = addr;
}

static int node_id(int node)
{
	return node < 0 ? cdm_ram_node : model->node[node].id;
}

static void move_region(pid_t pid, const struct region *region,
			const struct cmd *cmd)
{
	static void *pages[REGION_PAGES];
	static int nodes[REGION_PAGES], status[REGION_PAGES];
	char *addr = region->addr;
	long i;

	for (i = 0; i < cmd->nr; i++) {
		pages[i] = addr + (cmd->first + i) * cdm_psize;
		nodes[i] = node_id(cmd->node);
	}
	sys_move_pages(pid, cmd->nr, pages, nodes, status,
		       cmd->flag ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE);
}

static void do_mbind(struct region *region, const struct cmd *cmd)
{
	/* Parts may be unmapped, and pages need not move. */
	bind_region(region, cmd->policy, cmd->flag ? MPOL_MF_MOVE_ALL :
		    MPOL_MF_MOVE);
	region->policy = cmd->policy;
}

static void do_collapse(struct region *region, const struct cmd *cmd)
{
	unsigned long at = cmd->first * cdm_psize & ~(HPAGE_SIZE - 1);

	if (region->file >= 0)
		return;
	region->huge = true;
	madvise(region->addr + at, HPAGE_SIZE, MADV_COLLAPSE);
}

/* Fork a child that writes to pages it shares, and exits. */
static void fork_briefly(struct region *region, const struct cmd *cmd)
{
	pid_t pid = fork();
	long i;

	if (!pid) {
		for (i = cmd->first; region->file < 0 &&
		     i < cmd->first + cmd->nr; i++)
			if (!region_page(region, i)->gone)
				page_fill(region->addr + i * cdm_psize, 1);
		_exit(0);
	}
	/* As SIGCHLD is ignored, this waits until all children are gone. */
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void serve(int index);

static long do_fork(const struct cmd *cmd)
{
	pid_t pid = fork();

	if (!pid) {
		serve(cmd->slot);
		_exit(0);
	}
	return pid;
}

static void churn(int index, const struct cmd *cmd);

static long perform(int index, const struct cmd *cmd)
{
	struct slot *slot = &model->slot[index];
	struct region *region = &slot->region[cmd->region];
	char *addr = region->addr + cmd->first * cdm_psize;
	int i;

	cdm_progress();
	switch (cmd->op) {
	case OP_TOUCH:
		do_touch(region, cmd);
		break;
	case OP_READ:
		do_verify(region, true);
		break;
	case OP_MAP:
		do_map(region, cmd);
		break;
	case OP_UNMAP:
		do_unmap(region, cmd);
		break;
	case OP_DISCARD:
		do_discard(region, cmd);
		break;
	case OP_PAGEOUT:
		madvise(addr, cmd->nr * cdm_psize, MADV_PAGEOUT);
		break;
	case OP_COLLAPSE:
		do_collapse(region, cmd);
		break;
	case OP_HUGE:
		region->huge |= cmd->flag;
		madvise(region->addr, region->pages * cdm_psize, cmd->flag ?
			MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	case OP_REMAP:
		do_remap(region);
		break;
	case OP_MBIND:
		do_mbind(region, cmd);
		break;
	case OP_MOVE:
		move_region(0, region, cmd);
		break;
	case OP_PUNCH:
		do_punch(region, cmd);
		break;
	case OP_FORK:
		if (cmd->slot >= 0)
			return do_fork(cmd);
		fork_briefly(region, cmd);
		break;
	case OP_VERIFY:
		for (i = 0; i < REGIONS; i++)
			if (slot->region[i].addr)
				do_verify(&slot->region[i], cmd->flag);
		break;
	case OP_CHURN:
		churn(index, cmd);
		break;
	default:
		break;
	}
	return 0;
}

static void serve(int index)
{
	struct cmd cmd;
	long ret;

	signal(SIGCHLD, SIG_IGN);
	while (read(down[index][0], &cmd, sizeof(cmd)) == sizeof(cmd)) {
		if (cmd.op == OP_EXIT)
			break;
		ret = perform(index, &cmd);
		if (write(up[index][1], &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	fflush(stdout);
	_exit(0);
}

/*
 * What they are told to do
 */

struct weight {
	enum op op;
	int weight;
};

static bool left_out[OP_NONE];

static enum op pick(struct rng *rng, const struct weight *weights, size_t nr)
{
	long sum = 0, at;
	size_t i;

	for (i = 0; i < nr; i++)
		sum += weights[i].weight;
	at = rnd(rng, sum);
	for (i = 0; at >= weights[i].weight; i++)
		at -= weights[i].weight;
	return weights[i].op;
}

static const struct weight own_ops[] = {
	{ OP_TOUCH, 30 }, { OP_READ, 3 }, { OP_MAP, 8 }, { OP_UNMAP, 4 },
	{ OP_DISCARD, 6 }, { OP_PAGEOUT, 4 }, { OP_COLLAPSE, 5 },
	{ OP_HUGE, 2 }, { OP_REMAP, 4 }, { OP_MBIND, 5 }, { OP_MOVE, 9 },
	{ OP_PUNCH, 3 }, { OP_FORK, 4 },
};

static bool other_there(void)
{
	return model->node[1].id >= 0;
}

static enum policy pick_policy(struct rng *rng)
{
	static const enum policy policies[] = {
		POLICY_DEV, POLICY_DEV, POLICY_DEV, POLICY_BOTH,
		POLICY_PREFERRED, POLICY_OTHER, POLICY_OTHER,
	};
	enum policy policy = policies[rnd(rng, ARRAY_SIZE(policies))];

	return policy == POLICY_OTHER && !other_there() ? POLICY_DEV : policy;
}

static void pick_range(struct rng *rng, const struct region *region,
		       struct cmd *cmd)
{
	cmd->first = rnd(rng, region->pages);
	cmd->nr = 1 + rnd(rng, rnd(rng, 3) ? 64 : region->pages);
	if (cmd->nr > region->pages - cmd->first)
		cmd->nr = region->pages - cmd->first;
}

static void pick_map(struct rng *rng, struct cmd *cmd, int file)
{
	static const long sizes[] = { 16, 100, 300, 512, 1024 };

	cmd->op = OP_MAP;
	cmd->flag = rnd(rng, 2);
	cmd->nr = cmd->flag ? 512 << rnd(rng, 2) :
		  sizes[rnd(rng, ARRAY_SIZE(sizes))];
	cmd->policy = rnd(rng, 4) ? pick_policy(rng) : POLICY_NONE;
	cmd->file = rnd(rng, 4) ? -1 : file < 0 ? (int)rnd(rng, FILES) : file;
	if (cmd->file >= FILES)
		cmd->file = -1;
	if (cmd->file >= 0) {
		cmd->nr = FILE_PAGES;
		cmd->flag = false;
	}
}

/* Pick an operation for a process; @file is the only file for it, or -1. */
static void pick_own(struct rng *rng, int index, int file, struct cmd *cmd)
{
	struct slot *slot = &model->slot[index];
	struct region *region;

	memset(cmd, 0, sizeof(*cmd));
	cmd->op = pick(rng, own_ops, ARRAY_SIZE(own_ops));
	cmd->region = rnd(rng, REGIONS);
	cmd->stamp = rnd(rng, 1UL << 32);
	cmd->slot = -1;
	region = &slot->region[cmd->region];
	if (!region->addr) {
		pick_map(rng, cmd, file);
		return;
	}
	if (cmd->op == OP_MAP || left_out[cmd->op])
		cmd->op = OP_TOUCH;
	pick_range(rng, region, cmd);
	cmd->flag = rnd(rng, 2);
	cmd->node = (int)rnd(rng, other_there() ? 3 : 2) - 1;
	if (cmd->op == OP_MBIND)
		cmd->policy = pick_policy(rng);
	/*
	 * The record of a file is shared: unmap it as a whole, or not at all.
	 */
	if (cmd->op == OP_UNMAP && region->file >= 0)
		cmd->flag = true;
	/* Only files can have holes. */
	if (cmd->op == OP_PUNCH && region->file < 0)
		cmd->op = OP_TOUCH;
}

static void churn(int index, const struct cmd *cmd)
{
	struct rng rng = { cmd->stamp };
	struct cmd own;

	while (cdm_now() < cmd->end && !model->failed) {
		pick_own(&rng, index, index, &own);
		perform(index, &own);
		__atomic_fetch_add(&model->done[own.op], 1, __ATOMIC_RELAXED);
	}
}

/*
 * Telling them
 */

static void __printf(1, 2) note(const char *fmt, ...)
{
	char *line = model->history[model->op % HISTORY];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(model->history[0]), fmt, args);
	va_end(args);
}

static void send(int index, const struct cmd *cmd)
{
	if (write(down[index][1], cmd, sizeof(*cmd)) != sizeof(*cmd))
		FAIL("process %d takes no commands", model->slot[index].pid);
}

static double slowest;

/* For debugging: does the process hang, or is it slow? */
static void show_silent(pid_t pid)
{
	static const char * const files[] = { "stat", "syscall", "stack" };
	char path[64], text[2048];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
		if (!file_read(path, text, sizeof(text)))
			ksft_print_msg("%s: %s\n", path, text);
	}
}

static bool is_dead(pid_t pid)
{
	siginfo_t info = { };

	if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
	    !info.si_pid)
		return false;
	FAIL("process %d is dead: %s %d", pid, info.si_code == CLD_EXITED ?
	     "exit" : "signal", info.si_status);
	return true;
}

/*
 * Wait for an answer. Returns false if there is none, and no process has made
 * any progress, for SILENT_SECONDS polls of a second each, or if it died.
 */
static bool is_heard(int fd, pid_t pid)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int quiet = 0;
	long seen = 0;

	while (poll(&pfd, 1, 1000) != 1) {
		if (wait_progress() != seen)
			quiet = 0;
		else if (++quiet > SILENT_SECONDS * cdm_slow)
			return false;
		seen = wait_progress();
		if (pid && is_dead(pid))
			return false;
	}
	return true;
}

static long answer(int index)
{
	pid_t pid = model->slot[index].pid;
	double start = cdm_now();
	int fd = up[index][0];
	long ret = -1;

	if (!is_heard(fd, pid)) {
		if (!model->failed) {
			FAIL("process %d is silent", pid);
			show_silent(pid);
		}
		return ret;
	}
	if (read(fd, &ret, sizeof(ret)) != sizeof(ret))
		FAIL("process %d says nothing", pid);
	if (cdm_now() - start > slowest)
		slowest = cdm_now() - start;
	return ret;
}

static long tell(int index, const struct cmd *cmd)
{
	if (model->failed)
		return -1;
	send(index, cmd);
	return answer(index);
}

static void spawn(int index, int group)
{
	struct slot *slot = &model->slot[index];
	pid_t pid;

	memset(slot->region, 0, sizeof(slot->region));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_CHILD_SUBREAPER, 0);
		serve(index);
	}
	slot->pid = pid;
	slot->group = group;
	if (pid < 0 || cg_enter(model->group[group].path, pid))
		FAIL("no process in %s", model->group[group].path);
}

/* End a process, and wait until its memory is freed. */
static void leave(int index, bool killed)
{
	struct slot *slot = &model->slot[index];
	struct cmd cmd = { .op = OP_EXIT };
	int fd;

	fd = syscall(SYS_pidfd_open, slot->pid, 0);
	if (killed)
		kill(slot->pid, SIGKILL);
	else
		send(index, &cmd);
	if (fd < 0 || !is_heard(fd, 0))
		FAIL("process %d does not end", slot->pid);
	close(fd);
	waitpid(slot->pid, NULL, WNOHANG);
	slot->pid = 0;
}

static int pick_slot(struct rng *rng, bool used)
{
	int i, at = rnd(rng, SLOTS);

	for (i = 0; i < SLOTS; i++, at = (at + 1) % SLOTS)
		if (!model->slot[at].pid != used)
			return at;
	return -1;
}

enum kind { LEAF, INNER, CHARGED, EMPTY, TOGGLES };

static bool group_is(int i, enum kind kind)
{
	struct group *group = &model->group[i];
	int child;

	if (!i || !group->used)
		return false;
	switch (kind) {
	case LEAF:
		return !group->inner;
	case INNER:
		return group->inner;
	case CHARGED:
		return group->charged;
	case EMPTY:
		return i > 1 && !group_busy(i);
	case TOGGLES:
		if (!group->inner || !group->charged)
			return false;
		for (child = 0; child < GROUPS; child++)
			if (model->group[child].used &&
			    model->group[child].parent == i &&
			    model->group[child].enabled)
				return false;
		return true;
	}
	return false;
}

static int pick_group(struct rng *rng, enum kind kind)
{
	int i, at = rnd(rng, GROUPS);

	for (i = 0; i < GROUPS; i++, at = (at + 1) % GROUPS)
		if (group_is(at, kind))
			return at;
	return -1;
}

static int depth_of(int group)
{
	int depth = 0;

	while ((group = model->group[group].parent) >= 0)
		depth++;
	return depth;
}

static void make_group(struct rng *rng)
{
	static int serial;
	int parent = pick_group(rng, INNER), i, room = 0;
	bool inner = !rnd(rng, 3);
	char name[32];

	for (i = 0; i < GROUPS; i++)
		room += !model->group[i].used;
	if (parent < 0 || room < 2)
		return;
	if (!model->group[parent].enabled || depth_of(parent) > 3)
		inner = false;
	snprintf(name, sizeof(name), "g%d", serial++);
	note("mkdir %s/%s%s", model->group[parent].path, name,
	     inner ? " (inner)" : "");
	group_add(parent, name, inner);
}

/*
 * A lower limit evicts all pages beyond it. Nothing is pinned here, so pages
 * can stay only for as long as other CPUs hold references to them.
 */
static void write_limit(int index, int node, long pages, bool def)
{
	struct group *group = &model->group[index];
	long now, max, tries, n;
	char value[32] = "max";

	if (pages >= 0)
		snprintf(value, sizeof(value), "%ld", pages * cdm_psize);
	note("%s: limit %s of node%d to %ld pages", group->path,
	     def ? "default" : "", model->node[node].id, pages);
	if (def) {
		group->def = pages;
		group->line[node] = -2;
	} else {
		group->line[node] = pages;
	}
	for (tries = 0; tries < 8; tries++) {
		int ret;

		if (def)
			ret = cdm_write(group->path, "cdm.max",
					"default %s\nnode%d default\n", value,
					model->node[node].id);
		else
			ret = cdm_write(group->path, "cdm.max", "node%d %s\n",
					model->node[node].id, value);
		if (ret)
			FAIL("cdm.max of %s: %d", group->path, ret);
		max = group_max(index, node);
		now = cdm_usage(group->path, model->node[node].id);
		if (now <= max)
			break;
		cdm_drain_lru();
	}
	model_learn(OP_NONE);
	for (n = 0; n < NODES; n++) {
		if (model->node[n].id < 0)
			continue;
		max = group_max(index, n);
		now = cdm_usage(group->path, model->node[n].id);
		group->over[n] = now > max ? now : 0;
		if (model->loose || n != node || now <= max ||
		    now - max <= group_stuck(index, n))
			continue;
		FAIL("%s: node%d keeps %ld pages, limit %ld, not its own %ld",
		     group->path, model->node[n].id, now, max,
		     group_stuck(index, n));
		show_kinds(n);
	}
}

static const char * const words[] = {
	"fallback", "reclaim", "reclaim,fail", "fail", "inherit",
	"inherit,fallback", "inherit,fail",
};

static void write_policy(struct rng *rng, int group)
{
	const char *word = words[rnd(rng, ARRAY_SIZE(words))];

	note("%s: policy %s", model->group[group].path, word);
	if (cdm_write(model->group[group].path, "cdm.policy", "%s", word))
		FAIL("cdm.policy of %s", model->group[group].path);
}

static void pick_limit(struct rng *rng)
{
	int group = pick_group(rng, CHARGED);
	int node = rnd(rng, other_there() ? 2 : 1);
	long pages = rnd(rng, 4) ? (long)rnd(rng, 1500) : -1;
	bool def = !rnd(rng, 4);

	if (group >= 0)
		write_limit(group, node, pages, def);
}

static unsigned long ram_mask(void)
{
	int nodes[CDM_MAX_NODES], nr;
	unsigned long mask = 0;

	nr = node_list("/sys/devices/system/node/has_cpu", nodes,
		       CDM_MAX_NODES);
	while (nr-- > 0)
		mask |= 1UL << nodes[nr];
	return mask;
}

/* Migrate all of a process, code and stack included, and back. */
static void migrate(int index, int node)
{
	unsigned long ram = ram_mask(), dev = 1UL << model->node[node].id;
	struct slot *slot = &model->slot[index];
	struct cdm_wait wait = cdm_wait_begin(5);
	long left;

	note("migrate_pages of process %d to node%d and back", index,
	     model->node[node].id);
	sys_migrate_pages(slot->pid, ram, dev);
	model_learn(OP_MIGRATE);
	while ((left = sys_migrate_pages(slot->pid, dev, ram)) &&
	       cdm_wait_more(&wait))
		cdm_drain_lru();
	if (left)
		FAIL("migrate_pages does not get all of %d back", slot->pid);
	model_learn(OP_MIGRATE);
}

static void split_pages(int index)
{
	struct slot *slot = &model->slot[index];
	int r;

	note("split huge pages of process %d", index);
	for (r = 0; r < REGIONS; r++)
		if (slot->region[r].addr)
			file_write("/sys/kernel/debug/split_huge_pages",
				   "%d,0x%lx,0x%lx", slot->pid,
				   (long)slot->region[r].addr,
				   (long)slot->region[r].addr +
				   slot->region[r].pages * cdm_psize);
}

static void compact_node(int node)
{
	char path[128];

	note("compact node%d", model->node[node].id);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/compact",
		 model->node[node].id);
	file_write(path, "1");
}

static void swap_off_on(void)
{
	char buf[1024], *line, *end;

	note("swapoff, swapon");
	if (file_read("/proc/swaps", buf, sizeof(buf)))
		return;
	line = strchr(buf, '\n');
	end = line ? strpbrk(line, " \t") : NULL;
	if (!end)
		return;
	*end = '\0';
	if (swapoff(line + 1) || swapon(line + 1, 0))
		FAIL("swap %s: %s", line + 1, strerror(errno));
}

static void plug(void)
{
	const char *what = other_there() ? "remove" : "add";
	int i;

	note("%s memory", what);
	model_learn(OP_NONE);
	if (cdm_hotplug(what, "movable"))
		FAIL("memory hotplug: %s", what);
	model_nodes();
	for (i = 0; i < GROUPS && !other_there(); i++)
		model->group[i].over[1] = 0;
	model_learn(OP_NONE);
}

static const char * const op_names[] = {
	[OP_TOUCH] = "touch", [OP_READ] = "read", [OP_MAP] = "mmap",
	[OP_UNMAP] = "munmap", [OP_DISCARD] = "discard",
	[OP_PAGEOUT] = "pageout", [OP_COLLAPSE] = "collapse",
	[OP_HUGE] = "hugepage", [OP_REMAP] = "mremap", [OP_MBIND] = "mbind",
	[OP_MOVE] = "move_pages", [OP_PUNCH] = "punch", [OP_FORK] = "fork",
	[OP_MOVE_OTHER] = "move_pages-other", [OP_MIGRATE] = "migrate_pages",
	[OP_SPLIT] = "split", [OP_EXIT] = "exit", [OP_SPAWN] = "spawn",
	[OP_ENTER] = "enter", [OP_LIMIT] = "limit", [OP_POLICY] = "policy",
	[OP_MKDIR] = "mkdir", [OP_RMDIR] = "rmdir", [OP_TOGGLE] = "toggle",
	[OP_COMPACT] = "compact", [OP_SWAPOFF] = "swapoff",
	[OP_HOTPLUG] = "hotplug",
};

static const struct weight ops[] = {
	{ OP_TOUCH, 400 }, { OP_MOVE_OTHER, 40 }, { OP_MIGRATE, 5 },
	{ OP_SPLIT, 10 }, { OP_EXIT, 6 }, { OP_SPAWN, 12 }, { OP_ENTER, 20 },
	{ OP_LIMIT, 30 }, { OP_POLICY, 10 }, { OP_MKDIR, 12 },
	{ OP_RMDIR, 10 }, { OP_TOGGLE, 4 }, { OP_COMPACT, 12 },
	{ OP_SWAPOFF, 2 }, { OP_HOTPLUG, 1 },
};

/* The region is index:pages,policy,file; "to" is node policy file slot. */
static void note_own(int index, const struct cmd *cmd, const char *who)
{
	struct slot *slot = &model->slot[index];
	struct region *region = &slot->region[cmd->region];

	note("%s%s: process %d %s region %d:%ld,%d,%d pages %ld+%ld flag %d to %d %d %d %d",
	     who, op_names[cmd->op], index, model->group[slot->group].path +
	     strlen(model->group[1].path), cmd->region, region->pages,
	     region->policy, region->file, cmd->first, cmd->nr, cmd->flag,
	     cmd->node, cmd->policy, cmd->file, cmd->slot);
}

static void run_fork(int index, struct cmd *cmd)
{
	struct slot *slot = &model->slot[index], *child;
	int r;
	long i;

	child = &model->slot[cmd->slot];
	for (r = 0; r < REGIONS; r++) {
		struct region *region = &slot->region[r];

		for (i = 0; region->addr && region->file < 0 &&
		     i < region->pages; i++)
			region->page[i].cow = true;
	}
	memcpy(child->region, slot->region, sizeof(slot->region));
	child->group = slot->group;
	child->pid = tell(index, cmd);
	if (child->pid <= 0)
		FAIL("fork: %d", child->pid);
}

/* Have a process do something, and learn what that did to its pages. */
static void run_own(struct rng *rng, int index)
{
	struct slot *slot = &model->slot[index];
	struct region *region;
	struct cmd cmd;
	bool file;

	pick_own(rng, index, -1, &cmd);
	region = &slot->region[cmd.region];
	if (cmd.op == OP_FORK) {
		cmd.slot = pick_slot(rng, false);
		if (cmd.slot < 0)
			cmd.op = OP_TOUCH;
	}
	model->done[cmd.op]++;
	note_own(index, &cmd, "");
	file = region->addr && region->file >= 0;
	slot_learn(slot, OP_NONE, -1, false);
	if (file)
		files_learn(OP_NONE, slot->group);
	if (cmd.op == OP_FORK)
		run_fork(index, &cmd);
	else
		tell(index, &cmd);
	if (model->failed)
		return;
	if (cmd.flag && (cmd.op == OP_MOVE || cmd.op == OP_MBIND)) {
		model_learn(cmd.op);
		return;
	}
	slot_learn(slot, cmd.op, cmd.region, false);
	if (file)
		files_learn(cmd.op, slot->group);
}

static void run_move_other(struct rng *rng, int index)
{
	struct region *region;
	struct cmd cmd;

	pick_own(rng, index, -1, &cmd);
	region = &model->slot[index].region[cmd.region];
	if (!region->addr)
		return;
	cmd.op = OP_MOVE_OTHER;
	cmd.node = (int)rnd(rng, other_there() ? 3 : 2) - 1;
	note_own(index, &cmd, "other ");
	model_learn(OP_NONE);
	move_region(model->slot[index].pid, region, &cmd);
	model_learn(OP_MOVE_OTHER);
}

static void run_enter(struct rng *rng, int index)
{
	struct slot *slot = &model->slot[index];
	int leaf = pick_group(rng, LEAF);

	if (leaf < 0)
		return;
	note("process %d to %s", index, model->group[leaf].path);
	slot_learn(slot, OP_NONE, -1, false);
	if (cg_enter(model->group[leaf].path, slot->pid))
		FAIL("cannot enter %s", model->group[leaf].path);
	slot->group = leaf;
}

static void run_groups(struct rng *rng, enum op op)
{
	int group;

	if (op == OP_MKDIR) {
		make_group(rng);
		return;
	}
	group = pick_group(rng, op == OP_RMDIR ? EMPTY : TOGGLES);
	if (group < 0)
		return;
	note("%s %s", op_names[op], model->group[group].path);
	model_learn(OP_NONE);
	if (op == OP_RMDIR)
		group_remove(group);
	else
		group_toggle(group);
}

static void run_slot(struct rng *rng, enum op op)
{
	int index = pick_slot(rng, op != OP_SPAWN), group;

	if (index < 0)
		return;
	switch (op) {
	case OP_SPAWN:
		group = pick_group(rng, LEAF);
		if (group < 0)
			return;
		note("process %d in %s", index, model->group[group].path);
		spawn(index, group);
		break;
	case OP_EXIT:
		note("end of process %d", index);
		leave(index, rnd(rng, 2));
		break;
	case OP_MOVE_OTHER:
		run_move_other(rng, index);
		break;
	case OP_MIGRATE:
		model_learn(OP_NONE);
		migrate(index, rnd(rng, other_there() ? 2 : 1));
		break;
	case OP_SPLIT:
		split_pages(index);
		model_learn(OP_NONE);
		break;
	case OP_ENTER:
		run_enter(rng, index);
		break;
	default:
		run_own(rng, index);
		break;
	}
}

static void run_one(struct rng *rng)
{
	enum op op = pick(rng, ops, ARRAY_SIZE(ops));

	if (left_out[op])
		op = OP_TOUCH;
	note("%s: nothing to do", op_names[op]);
	if (op != OP_TOUCH)
		model->done[op]++;
	switch (op) {
	case OP_LIMIT:
		pick_limit(rng);
		break;
	case OP_POLICY:
		write_policy(rng, pick_group(rng, CHARGED));
		break;
	case OP_MKDIR:
	case OP_RMDIR:
	case OP_TOGGLE:
		run_groups(rng, op);
		break;
	case OP_COMPACT:
		compact_node(rnd(rng, other_there() ? 2 : 1));
		model_learn(OP_NONE);
		break;
	case OP_SWAPOFF:
		model_learn(OP_NONE);
		swap_off_on();
		model_learn(OP_SWAPOFF);
		break;
	case OP_HOTPLUG:
		plug();
		break;
	default:
		run_slot(rng, op);
		break;
	}
}

static void check_audit(void)
{
	char buf[4096];

	cdm_drain_lru();
	if (file_read("/sys/kernel/debug/cdm/audit", buf, sizeof(buf)))
		FAIL("no audit");
	else if (strstr(buf, "BAD"))
		FAIL("audit: %s", buf);
}

static void check(bool all)
{
	struct cmd cmd = { .op = OP_VERIFY, .flag = all };
	int i;

	cdm_drain_lru();
	for (i = 0; i < SLOTS && !model->failed; i++) {
		if (!model->slot[i].pid)
			continue;
		tell(i, &cmd);
		/* It pays for what it has read from swap. */
		if (all && !model->failed)
			files_learn(OP_NONE, model->slot[i].group);
	}
	if (model->failed)
		return;
	model_learn(OP_NONE);
	model_books();
}

static void part_sequential(struct rng *rng, double end, long least, long nr)
{
	int until = 1;

	while (!model->failed && model->op < nr &&
	       (cdm_now() < end || model->op < least)) {
		model->op++;
		run_one(rng);
		if (--until)
			continue;
		until = 1 + rnd(rng, 12);
		check(!rnd(rng, 8));
		if (!rnd(rng, 10))
			check_audit();
	}
	if (!model->failed) {
		check(true);
		check_audit();
	}
}

/*
 * All at once
 */

static atomic_bool sampling;

/* Limits that do not change must never be exceeded. */
static void sample(int group, int node, long *samples)
{
	const char *path = model->group[group].path;
	long max = group_max(group, node), now;
	int id = model->node[node].id;

	if (!model->group[group].used || max == LONG_MAX || id < 0)
		return;
	now = cdm_usage(path, id);
	if (now > max)
		FAIL("%s: %ld pages on node%d, limit %ld", path, now, id, max);
	(*samples)++;
}

static void *sampler(void *samples)
{
	int i, n;

	while (sampling && !model->failed)
		for (i = 1; i < GROUPS; i++)
			for (n = 0; n < NODES; n++)
				sample(i, n, samples);
	return NULL;
}

/*
 * Move pages of a region that its process may be changing. When the region is
 * gone, only another region can be at its address: regions are apart from what
 * the process shares with this one, whose pages the model does not know.
 */
static void move_changing(struct rng *rng, struct slot *slot)
{
	const struct region *now = &slot->region[rnd(rng, REGIONS)];
	struct region region = {
		.addr = __atomic_load_n(&now->addr, __ATOMIC_ACQUIRE),
		.pages = __atomic_load_n(&now->pages, __ATOMIC_ACQUIRE),
	};
	struct cmd cmd = { .flag = rnd(rng, 2) };

	if (!region.addr || !region.pages ||
	    region.addr != __atomic_load_n(&now->addr, __ATOMIC_ACQUIRE))
		return;
	pick_range(rng, &region, &cmd);
	cmd.node = (int)rnd(rng, other_there() ? 3 : 2) - 1;
	move_region(slot->pid, &region, &cmd);
}

static void disturb(struct rng *rng, bool wild)
{
	int index = rnd(rng, WORKERS), group = pick_group(rng, CHARGED);

	switch (rnd(rng, wild ? 9 : 6)) {
	case 0:
		split_pages(index);
		break;
	case 1:
		compact_node(rnd(rng, other_there() ? 2 : 1));
		break;
	case 2:
	case 3:
		move_changing(rng, &model->slot[index]);
		break;
	case 4:
		write_policy(rng, group);
		break;
	case 5:
		group = group_add(1, "passing", false);
		group_remove(group);
		break;
	case 6:
		model->group[group].line[0] = rnd(rng, 1500);
		cdm_limit(model->group[group].path, cdm_node,
			  model->group[group].line[0]);
		break;
	case 7:
		cg_enter(model->group[pick_group(rng, LEAF)].path,
			 model->slot[index].pid);
		break;
	case 8:
		group = pick_group(rng, LEAF);
		if (!rmdir(model->group[group].path))
			mkdir(model->group[group].path, 0755);
		break;
	}
}

static void files_empty(int users)
{
	int i;

	for (i = 0; i < FILES; i++) {
		struct file *file = &model->file[i];

		if (ftruncate(file->fd, 0) ||
		    ftruncate(file->fd, FILE_PAGES * cdm_psize))
			FAIL("cannot empty a file");
		memset(file->page, 0, sizeof(file->page));
		file->user = i < users ? model->slot[i].group : NOBODY;
	}
}

static void leave_all(void)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (model->slot[i].pid)
			leave(i, false);
}

/* Start processes in groups of their own; some groups have a limit. */
static void start_workers(struct rng *rng)
{
	int i, parent = 1;
	char name[16];

	for (i = GROUPS - 1; i > 1; i--)
		if (model->group[i].used && !group_busy(i)) {
			group_remove(i);
			i = GROUPS;
		}
	if (!model->group[1].enabled)
		group_toggle(1);
	for (i = 0; i < WORKERS && !model->failed; i++) {
		if (i == 2) {
			parent = group_add(1, "pair", true);
			write_limit(parent, 0, 1 + rnd(rng, 1500), false);
		}
		snprintf(name, sizeof(name), "w%d", i);
		spawn(i, group_add(parent, name, false));
		if (i % 2)
			write_limit(model->slot[i].group, 0,
				    1 + rnd(rng, 1000), false);
	}
	write_limit(1, 0, 4000, false);
	files_empty(WORKERS);
}

/*
 * When a limit was lowered while processes changed groups, pages that are the
 * memory of another group by now have stayed.
 */
static void limits_learn(void)
{
	int i, n;

	cdm_drain_lru();
	for (i = 1; i < GROUPS; i++)
		for (n = 0; n < NODES; n++)
			if (model->group[i].used && model->node[n].id >= 0)
				model->group[i].over[n] =
					cdm_usage(model->group[i].path,
						  model->node[n].id);
}

static long part_concurrent(struct rng *rng, double end, bool wild)
{
	struct cmd cmd = { .op = OP_CHURN, .end = end };
	long samples = 0, i;
	pthread_t thread;

	leave_all();
	files_empty(0);
	check(true);
	model->at_once = true;
	start_workers(rng);
	if (model->failed)
		return 0;
	sampling = !wild;
	if (pthread_create(&thread, NULL, sampler, &samples))
		ksft_exit_fail_msg("no thread\n");
	for (i = 0; i < WORKERS; i++) {
		cmd.stamp = rnd(rng, 1UL << 32);
		send(i, &cmd);
	}
	while (cdm_now() < end && !model->failed) {
		model->op++;
		disturb(rng, wild);
	}
	for (i = 0; i < WORKERS; i++)
		answer(i);
	sampling = false;
	pthread_join(thread, NULL);

	model->loose = wild;
	if (wild)
		limits_learn();
	note("after all at once%s", wild ? ", with changing groups" : "");
	for (i = 0; i < WORKERS && !model->failed; i++) {
		slot_forget(&model->slot[i]);
		slot_learn(&model->slot[i], OP_NONE, -1, true);
	}
	files_learn(OP_NONE, 0);
	check(true);
	check_audit();
	leave_all();
	files_empty(0);
	model->loose = false;
	if (!model->failed)
		check(true);
	return samples;
}

struct round {
	unsigned int seed;
	double seconds;
	long least, nr;		/* operations in sequence, at least, at most */
};

static void report(const struct round *round, double seconds, long sequential,
		   long samples)
{
	char line[512];
	int i, len = 0;

	for (i = 0; i < OP_NONE; i++)
		if (i < (int)ARRAY_SIZE(op_names) && len < (int)sizeof(line))
			len += snprintf(line + len, sizeof(line) - len,
					" %s %ld", op_names[i], model->done[i]);
	ksft_print_msg("seed %u: %ld operations, %.1f a second, slowest %.1f s\n",
		       round->seed, sequential, sequential / seconds, slowest);
	ksft_print_msg("compared: %ld pages, %ld ambiguous, %ld samples\n",
		       model->counted, model->ambiguous, samples);
	ksft_print_msg("done:%s\n", line);
}

static void test_round(const char *group, const void *arg)
{
	const struct round *round = arg;
	struct rng rng = { round->seed };
	double start = cdm_now();
	long sequential, samples = 0;
	double seconds;
	int i, s;

	slowest = 0;
	ksft_print_msg("seed %u\n", round->seed);
	model_init(round->seed, group);
	memset(model->done, 0, sizeof(model->done));
	if ((round->seed & 2) && !other_there())
		plug();
	for (i = 0; i < 4; i++)
		make_group(&rng);
	for (i = 0; i < 3; i++) {
		s = pick_group(&rng, LEAF);
		if (s < 0)
			s = group_add(1, "first", false);
		spawn(i, s);
	}
	part_sequential(&rng, start + round->seconds * 2 / 3, round->least,
			round->nr);
	sequential = model->op;
	seconds = cdm_now() - start;
	if (!model->failed && round->nr == LONG_MAX)
		samples = part_concurrent(&rng, cdm_now() + round->seconds / 3,
					  round->seed % 2);
	report(round, seconds, sequential, samples);
	files_empty(0);
	/* Taking the swap area out of use empties the swap cache. */
	if (!model->failed)
		swap_off_on();
}

static void leave_out(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(op_names); i++)
		left_out[i] |= !strcmp(op_names[i], name);
}

static void prepare(void)
{
	struct sigaction sa = { .sa_handler = on_bus, .sa_flags = SA_NODEFER };
	int i;

	for (i = 0; i < SLOTS; i++)
		if (pipe2(down[i], O_CLOEXEC) || pipe2(up[i], O_CLOEXEC))
			ksft_exit_fail_msg("no pipes\n");
	sigaction(SIGBUS, &sa, NULL);
	/* With zswap a page is free once swapped out; khugepaged must sleep. */
	file_write("/sys/module/zswap/parameters/enabled", "Y");
	/*
	 * On a disk that does not rotate, one process would read a page ahead
	 * onto the node and another would map it: the payer would be unknown.
	 */
	file_write("/sys/kernel/mm/swap/vma_ra_enabled", "0");
	file_write(KHUGEPAGED "scan_sleep_millisecs", "100000000");
}

int main(int argc, char **argv)
{
	struct round round = { time(NULL) ^ getpid() << 16, 2 * SHORT_ROUND,
			       argc > 1 ? 0 : SHORT_LEAST, LONG_MAX };
	bool seeded = false;
	int opt, rounds = 2, i;
	char name[64];

	while ((opt = getopt(argc, argv, "s:t:n:x:")) != -1) {
		switch (opt) {
		case 's':
			round.seed = strtoul(optarg, NULL, 0);
			seeded = true;
			break;
		case 't':
			round.seconds = strtod(optarg, NULL);
			break;
		case 'n':
			round.nr = strtol(optarg, NULL, 0);
			break;
		case 'x':
			leave_out(optarg);
			break;
		default:
			fprintf(stderr,
				"usage: %s [-s seed] [-t secs] [-n ops] [-x op]...\n",
				argv[0]);
			return KSFT_FAIL;
		}
	}
	if (argc > 1)
		rounds = round.nr < LONG_MAX ? 1 :
			 (int)((round.seconds + LONG_ROUND - 1) / LONG_ROUND);
	if (round.nr < LONG_MAX)
		round.seconds = 1e9;
	else
		round.seconds /= rounds;
	cdm_init(rounds);
	prepare();
	for (i = 0; i < rounds; i++) {
		if (argc == 1)
			round.seed = i ? ODD_SEED : EVEN_SEED;
		snprintf(name, sizeof(name), "the model agrees, %s seed",
			 argc == 1 ? i ? "an odd" : "an even" :
			 seeded ? "a given" : "a new");
		cdm_case_arg(name, test_round, &round);
		round.seed = round.seed * 1103515245U + 12345;
	}
	cdm_exit();
}
