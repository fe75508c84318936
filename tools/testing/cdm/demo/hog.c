// SPDX-License-Identifier: GPL-2.0-only
/*
 * hog - ask for memory on one NUMA node and say where each page went
 *
 *   hog [-n node] [-m mode] [-s MiB] [-c MiB] [-k cells] [-H] [-w]
 *
 * Maps -s MiB of anonymous memory, gives it a memory policy, touches it page by
 * page in steps of -c MiB and asks move_pages(2) where each page is.  The
 * policy -m is bind (to node -n, the default), preferred (node -n), interleave
 * (over all nodes) or none; -H asks for huge pages.  Prints one line:
 *
 *   asked=160 touched=160 device=64 ram=96 away=0 map=DDDDRRRRRR end=0
 *
 * All sizes are MiB; with a fraction when it is not a whole number.  "device"
 * are the pages on node -n, "ram" those on any other node, "away" those that
 * were touched and are no longer resident (swapped out).  "map" shows the
 * buffer from first to last byte in -k cells, each the place of its pages:
 * D device, R other node, M both, S swapped (some), . never touched.  "end" is
 * the exit status, or the name of the signal that ended the program.
 *
 * The work is done by a child, so that a child that is killed is reported too:
 * then the numbers are those of its last complete step.  SIGBUS is taken by the
 * child first, to count its pages, and then kills it as it would any program.
 *
 * With -w a program that got all it asked for prints its line with
 * end=holding, keeps its pages and waits: it ends on SIGTERM (status 0), and
 * should it be killed, a second line says so.
 *
 * The exit status is 0, or 128 + the signal's number, as a shell reports it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MPOL_PREFERRED	1
#define MPOL_BIND	2
#define MPOL_INTERLEAVE	3
#define MPOL_F_MEMS_ALLOWED	4

#define MIB		1048576UL
#define MAX_CELLS	64
#define QUERY_PAGES	512
#define MAX_NODES	1024UL
#define MASK_BITS	(8 * sizeof(long))

#define die(fmt, ...)							\
	do {								\
		fprintf(stderr, "hog: " fmt "\n", ##__VA_ARGS__);	\
		_exit(2);						\
	} while (0)

struct count {
	unsigned long device;
	unsigned long ram;
	unsigned long away;
};

/* Shared with the child, so that it outlives it. */
struct report {
	unsigned long touched;		/* pages, stored as they are touched */
	struct count pages;
	char map[MAX_CELLS + 1];
};

static int node = 2;
static int mode = MPOL_BIND;
static unsigned long size_mib = 160;
static unsigned long chunk_mib = 8;
static unsigned long cells = 32;
static int huge;
static int hold;

static size_t page_size;
static struct report *report;
static char *buf;
static sigjmp_buf bus;
static pid_t child;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus, 1);
}

static void on_term(int sig)
{
	(void)sig;
	if (child > 0)
		kill(child, SIGKILL);
	_exit(0);
}

/* The letter of a cell of the map. */
static char place(const struct count *cell)
{
	if (cell->away)
		return 'S';
	if (!cell->ram)
		return 'D';
	return cell->device ? 'M' : 'R';
}

/* Count the pages [from, to) by where they are, and fill the map's cells. */
static void count_pages(struct count *sum, unsigned long from, unsigned long to)
{
	unsigned long total = size_mib * MIB / page_size;
	struct count cell = { 0 };
	unsigned long i, done;
	void *pages[QUERY_PAGES];
	int status[QUERY_PAGES];

	for (done = from; done < to; done += i) {
		unsigned long nr = to - done;

		if (nr > QUERY_PAGES)
			nr = QUERY_PAGES;
		for (i = 0; i < nr; i++)
			pages[i] = buf + (done + i) * page_size;
		if (syscall(SYS_move_pages, 0, nr, pages, NULL, status, 0) < 0)
			die("move_pages: %s", strerror(errno));

		for (i = 0; i < nr; i++) {
			unsigned long c = (done + i) * cells / total;

			if (status[i] == node)
				cell.device++;
			else if (status[i] >= 0)
				cell.ram++;
			else
				cell.away++;

			/* The last page of a cell, or the last one there is. */
			if ((done + i + 1) * cells / total != c ||
			    done + i + 1 == to) {
				report->map[c] = place(&cell);
				sum->device += cell.device;
				sum->ram += cell.ram;
				sum->away += cell.away;
				memset(&cell, 0, sizeof(cell));
			}
		}
	}
}

static void recount(void)
{
	struct count sum = { 0 };

	count_pages(&sum, 0, report->touched);
	report->pages = sum;
}

/* The child: touch the buffer, keep the report true, say when done. */
static int work(int done_fd)
{
	unsigned long total = size_mib * MIB / page_size;
	unsigned long chunk = chunk_mib * MIB / page_size;
	unsigned long mask[1 + MAX_NODES / MASK_BITS] = { 0 };
	struct sigaction sa = { .sa_handler = on_bus };

	prctl(PR_SET_PDEATHSIG, SIGKILL);

	buf = mmap(NULL, size_mib * MIB, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (buf == MAP_FAILED)
		die("mmap: %s", strerror(errno));

	if (mode == MPOL_INTERLEAVE) {
		/* As numactl --interleave=all asks. */
		if (syscall(SYS_get_mempolicy, NULL, mask, MAX_NODES, NULL,
			    MPOL_F_MEMS_ALLOWED))
			die("get_mempolicy: %s", strerror(errno));
	} else {
		mask[node / MASK_BITS] = 1UL << node % MASK_BITS;
	}
	if (mode && syscall(SYS_mbind, buf, size_mib * MIB, mode, mask,
			    MAX_NODES, 0UL))
		die("mbind: %s", strerror(errno));

	if (huge && madvise(buf, size_mib * MIB, MADV_HUGEPAGE))
		die("madvise: %s", strerror(errno));

	sigaction(SIGBUS, &sa, NULL);
	if (sigsetjmp(bus, 1)) {
		recount();
		signal(SIGBUS, SIG_DFL);
		raise(SIGBUS);
	}

	while (report->touched < total) {
		unsigned long start = report->touched;

		while (report->touched < total &&
		       report->touched - start < chunk) {
			buf[report->touched * page_size] = 1;
			/* Not a register: the next touch may be the last. */
			__atomic_fetch_add(&report->touched, 1,
					   __ATOMIC_SEQ_CST);
		}
		count_pages(&report->pages, start, report->touched);
	}

	recount();
	if (hold) {
		if (write(done_fd, "", 1) != 1)
			die("write: %s", strerror(errno));
		for (;;)
			pause();
	}
	return 0;
}

/* A page is 1/256 MiB or more: the digits are exact, and "64" is 64 MiB. */
static void print_mib(const char *key, unsigned long pages)
{
	printf("%s=%.12g ", key, (double)pages * page_size / MIB);
}

static void print_report(const char *end)
{
	printf("asked=%lu ", size_mib);
	print_mib("touched", report->touched);
	print_mib("device", report->pages.device);
	print_mib("ram", report->pages.ram);
	print_mib("away", report->pages.away);
	printf("map=%s end=%s\n", report->map, end);
	fflush(stdout);
}

static unsigned long number(const char *arg, unsigned long min,
			    unsigned long max)
{
	unsigned long val;
	char *end;

	errno = 0;
	val = strtoul(arg, &end, 10);
	if (errno || end == arg || *end || val < min || val > max)
		die("%s: expected %lu to %lu", arg, min, max);
	return val;
}

static void parse_args(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "n:m:s:c:k:Hw")) != -1) {
		switch (opt) {
		case 'n':
			node = number(optarg, 0, 1023);
			break;
		case 'm':
			if (!strcmp(optarg, "bind"))
				mode = MPOL_BIND;
			else if (!strcmp(optarg, "preferred"))
				mode = MPOL_PREFERRED;
			else if (!strcmp(optarg, "interleave"))
				mode = MPOL_INTERLEAVE;
			else if (!strcmp(optarg, "none"))
				mode = 0;
			else
				die("%s: no such mode", optarg);
			break;
		case 's':
			size_mib = number(optarg, 1, 1UL << 20);
			break;
		case 'c':
			chunk_mib = number(optarg, 1, 1UL << 20);
			break;
		case 'k':
			cells = number(optarg, 1, MAX_CELLS);
			break;
		case 'H':
			huge = 1;
			break;
		case 'w':
			hold = 1;
			break;
		default:
			die("usage: hog [-Hw] [-n node] [-m mode] [-s MiB] [-c MiB] [-k n]");
		}
	}
	if (optind < argc)
		die("%s: unexpected argument", argv[optind]);
}

int main(int argc, char **argv)
{
	struct sigaction term = { .sa_handler = on_term };
	char end[32];
	int status, done[2];
	char byte;

	parse_args(argc, argv);
	page_size = sysconf(_SC_PAGESIZE);

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED || pipe(done))
		die("setting up: %s", strerror(errno));
	memset(report->map, '.', cells);

	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (!child) {
		close(done[0]);
		_exit(work(done[1]));
	}
	close(done[1]);

	sigaction(SIGTERM, &term, NULL);
	if (read(done[0], &byte, 1) == 1)
		print_report("holding");

	if (waitpid(child, &status, 0) != child)
		die("waitpid: %s", strerror(errno));
	if (WIFSIGNALED(status)) {
		int sig = WTERMSIG(status);
		const char *name = sigabbrev_np(sig);

		if (name)
			snprintf(end, sizeof(end), "SIG%s", name);
		else
			snprintf(end, sizeof(end), "signal%d", sig);
		print_report(end);
		return 128 + sig;
	}

	status = WEXITSTATUS(status);
	snprintf(end, sizeof(end), "%d", status);
	print_report(end);
	return status;
}
