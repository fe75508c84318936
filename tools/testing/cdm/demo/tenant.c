// SPDX-License-Identifier: GPL-2.0-only
/*
 * tenant - a cache of objects in the memory of one NUMA node
 *
 *   tenant -n node -s MiB -k MiB [-z exponent] [-r seed]
 *
 * Serves requests for -k MiB worth of objects of 64 KiB from a cache of -s MiB,
 * which prefers node -n (MPOL_PREFERRED).  The popularity of the objects
 * follows Zipf's law with the given exponent (0.8); their order is random, and
 * the same for the same seed.  An object that is not in the cache replaces the
 * least recently used one, whose memory is given back to the kernel and
 * allocated again.  So the cache grows until it is full, and from then on
 * allocates as much as it frees.
 *
 * Reads numbers from standard input.  For each it serves that many requests,
 * and then prints a line:
 *
 *   requests=500 misses=131 pages=16384 device=9000 ram=7384 away=0
 *	accesses=8000 served=5210 fresh=2096
 *
 * (in one line).  "pages" are those that the cache has, by where they are now:
 * on node -n, on any other, or not resident.  A request accesses every page of
 * its object once; "served" are the accesses to pages that were on node -n.
 * "fresh" are pages that were asked of the kernel.  requests, misses, accesses,
 * served and fresh are those since the line before.
 *
 * The place of a page is looked up (move_pages(2)) before it is freed and at
 * the end of the round; all accesses since the last look-up count for the place
 * that is found.  So a page that moves within a round counts for where it went,
 * for the whole round.
 *
 * Ends on 0 or the end of the input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MPOL_PREFERRED	1

#define MIB		1048576UL
#define OBJECT_SIZE	65536UL
#define MAX_NODES	1024UL
#define MASK_BITS	(8 * sizeof(long))
#define QUERY_PAGES	4096UL
#define NONE		UINT32_MAX

#define die(fmt, ...)							\
	do {								\
		fprintf(stderr, "tenant: " fmt "\n", ##__VA_ARGS__);	\
		exit(2);						\
	} while (0)

/* A place in the cache; those in use are a list, the most recent one first. */
struct slot {
	uint32_t key;
	uint32_t accesses;	/* that are not counted in "served" yet */
	uint32_t prev;
	uint32_t next;
};

static int node = -1;
static unsigned long size_mib;
static unsigned long keys_mib;
static double exponent = 0.8;
static uint64_t seed = 1;

static size_t page_size;
static unsigned long object_pages;
static unsigned long nr_slots, used_slots;
static unsigned long nr_keys;
static char *arena;
static struct slot *slots;
static uint32_t head = NONE, tail = NONE;
static uint32_t *where;		/* the slot of each key */
static double *below;		/* the probability of a key or one before it */

static struct {
	unsigned long requests;
	unsigned long misses;
	unsigned long accesses;
	unsigned long served;
	unsigned long fresh;
} round_;

static void *allocate(size_t nr, size_t size)
{
	void *p = calloc(nr, size);

	if (!p)
		die("no memory");
	return p;
}

/* splitmix64: any seed is good, and the sequence is the same everywhere */
static uint64_t next_random(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void init_zipf(void)
{
	double sum = 0;
	unsigned long i;

	below = allocate(nr_keys, sizeof(*below));
	for (i = 0; i < nr_keys; i++)
		below[i] = sum += pow(i + 1, -exponent);
	for (i = 0; i < nr_keys; i++)
		below[i] /= sum;
}

static uint32_t next_key(void)
{
	double x = ldexp(next_random() >> 11, -53);
	uint32_t low = 0, high = nr_keys - 1;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (below[mid] > x)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static char *object(uint32_t s)
{
	return arena + s * OBJECT_SIZE;
}

/* Look up the pages of nr slots: the node of each page, or an error. */
static void query(uint32_t first, unsigned long nr, int *status)
{
	unsigned long i, left = nr * object_pages;
	static void *pages[QUERY_PAGES];
	char *addr = object(first);

	while (left) {
		unsigned long n = left < QUERY_PAGES ? left : QUERY_PAGES;

		for (i = 0; i < n; i++, addr += page_size)
			pages[i] = addr;
		if (syscall(SYS_move_pages, 0, n, pages, NULL, status, 0) < 0)
			die("move_pages: %s", strerror(errno));
		status += n;
		left -= n;
	}
}

/* Count the accesses to a slot since its place was last looked up. */
static void settle(uint32_t s, const int *status)
{
	unsigned long i;

	for (i = 0; i < object_pages; i++)
		if (status[i] == node)
			round_.served += slots[s].accesses;
	slots[s].accesses = 0;
}

static void unlink_slot(uint32_t s)
{
	struct slot *slot = &slots[s];

	if (slot->prev == NONE)
		head = slot->next;
	else
		slots[slot->prev].next = slot->next;
	if (slot->next == NONE)
		tail = slot->prev;
	else
		slots[slot->next].prev = slot->prev;
}

static void link_first(uint32_t s)
{
	slots[s].prev = NONE;
	slots[s].next = head;
	if (head == NONE)
		tail = s;
	else
		slots[head].prev = s;
	head = s;
}

/* Give back the memory of the least recently used object. */
static uint32_t evict(void)
{
	int status[OBJECT_SIZE / 4096];
	uint32_t s = tail;

	query(s, 1, status);
	settle(s, status);
	if (madvise(object(s), OBJECT_SIZE, MADV_DONTNEED))
		die("madvise: %s", strerror(errno));
	where[slots[s].key] = NONE;
	unlink_slot(s);
	return s;
}

static void serve(uint32_t key)
{
	uint32_t s = where[key];
	unsigned long i;

	if (s == NONE) {
		s = used_slots < nr_slots ? used_slots++ : evict();
		slots[s].key = key;
		where[key] = s;
		round_.misses++;
		round_.fresh += object_pages;
	} else {
		unlink_slot(s);
	}
	for (i = 0; i < object_pages; i++)
		object(s)[i * page_size]++;
	link_first(s);
	slots[s].accesses++;
	round_.requests++;
	round_.accesses += object_pages;
}

static void report(int *status)
{
	unsigned long i, pages = used_slots * object_pages;
	unsigned long device = 0, ram = 0;

	query(0, used_slots, status);
	for (i = 0; i < used_slots; i++)
		settle(i, status + i * object_pages);
	for (i = 0; i < pages; i++) {
		if (status[i] == node)
			device++;
		else if (status[i] >= 0)
			ram++;
	}

	printf("requests=%lu misses=%lu ", round_.requests, round_.misses);
	printf("pages=%lu device=%lu ram=%lu away=%lu ", pages, device, ram,
	       pages - device - ram);
	printf("accesses=%lu served=%lu fresh=%lu\n", round_.accesses,
	       round_.served, round_.fresh);
	fflush(stdout);
	memset(&round_, 0, sizeof(round_));
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

	while ((opt = getopt(argc, argv, "n:s:k:z:r:")) != -1) {
		switch (opt) {
		case 'n':
			node = number(optarg, 0, MAX_NODES - 1);
			break;
		case 's':
			size_mib = number(optarg, 1, 1UL << 16);
			break;
		case 'k':
			keys_mib = number(optarg, 1, 1UL << 16);
			break;
		case 'z':
			exponent = atof(optarg);
			break;
		case 'r':
			seed = number(optarg, 0, UINT32_MAX);
			break;
		default:
			exit(2);
		}
	}
	if (optind < argc || node < 0 || !size_mib || keys_mib < size_mib)
		die("usage: tenant -n node -s MiB -k MiB [-z exponent] [-r seed], -k at least -s");
}

static void init_cache(void)
{
	unsigned long mask[1 + MAX_NODES / MASK_BITS] = { 0 };
	size_t size = size_mib * MIB;

	nr_slots = size / OBJECT_SIZE;
	nr_keys = keys_mib * MIB / OBJECT_SIZE;
	slots = allocate(nr_slots, sizeof(*slots));
	where = allocate(nr_keys, sizeof(*where));
	memset(where, 0xff, nr_keys * sizeof(*where));

	arena = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	mask[node / MASK_BITS] = 1UL << node % MASK_BITS;
	if (syscall(SYS_mbind, arena, size, MPOL_PREFERRED, mask, MAX_NODES,
		    0UL))
		die("mbind: %s", strerror(errno));
	/* This fails if there are no huge pages, which is just as good. */
	madvise(arena, size, MADV_NOHUGEPAGE);
}

int main(int argc, char **argv)
{
	unsigned long requests;
	int *status;

	parse_args(argc, argv);
	page_size = sysconf(_SC_PAGESIZE);
	object_pages = OBJECT_SIZE / page_size;

	init_cache();
	init_zipf();
	status = allocate(nr_slots * object_pages, sizeof(*status));

	while (scanf("%lu", &requests) == 1 && requests) {
		while (requests--)
			serve(next_key());
		report(status);
	}
	return 0;
}
