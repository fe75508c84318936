// SPDX-License-Identifier: GPL-2.0
/* The bookkeeping of test_model, see model.h. */

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"

/* Of /proc/<pid>/pagemap and /proc/kpageflags. */
#define PM_PRESENT	0x8000000000000000UL
#define PM_SWAP		0x4000000000000000UL
#define PM_PFN		0x007fffffffffffffUL
#define KPF_BUDDY	0x400UL
#define KPF_MMAP	0x800UL
#define KPF_SWAPCACHE	0x2000UL
#define KPF_NOPAGE	0x100000UL
#define KPF_THP		0x400000UL

struct model *model;

static unsigned long zero_pfn;

/* The first failure prints the last operations, and how to repeat it. */
void model_fail(const char *file, int line, const char *fmt, ...)
{
	char what[512];
	va_list args;
	long i;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	cdm_fail(file, line, "seed %u, operation %ld: %s", model->seed,
		 model->op, what);
	if (model->failed)
		return;
	model->failed = true;
	for (i = model->op - HISTORY + 1; i <= model->op; i++)
		if (i >= 0)
			ksft_print_msg("  %ld: %s\n", i,
				       model->history[i % HISTORY]);
	if (model->at_once)
		ksft_print_msg("again, perhaps: test_model -s %u -t 30\n",
			       model->seed);
	else
		ksft_print_msg("again up to there: test_model -s %u -n %ld\n",
			       model->seed, model->op);
}

/*
 * Nodes and groups
 */

static void node_range(struct node *node)
{
	static char buf[1 << 18];
	unsigned long spanned;
	char key[64], *pos;

	if (file_read("/proc/zoneinfo", buf, sizeof(buf)))
		return;
	snprintf(key, sizeof(key), "Node %d, zone  Movable", node->id);
	pos = strstr(buf, key);
	if (!pos)
		return;
	spanned = strtoul(strstr(pos, "spanned") + 7, NULL, 10);
	node->start = strtoul(strstr(pos, "start_pfn:") + 10, NULL, 10);
	node->end = node->start + spanned;
	free(node->seen);
	free(node->first);
	node->seen = calloc(spanned, sizeof(*node->seen));
	node->first = calloc(spanned, sizeof(*node->first));
}

/* Find the device nodes; to be called again after memory came or went. */
void model_nodes(void)
{
	int i, id[NODES] = { cdm_node, cdm_other_node() };

	for (i = 0; i < NODES; i++) {
		struct node *node = &model->node[i];

		node->start = 0;
		node->end = 0;
		node->id = id[i];
		if (node->id >= 0)
			node_range(node);
	}
}

static int node_of(unsigned long pfn)
{
	int i;

	for (i = 0; i < NODES; i++)
		if (pfn >= model->node[i].start && pfn < model->node[i].end)
			return i;
	return -1;
}

static void group_fresh(struct group *group)
{
	int i;

	group->def = -1;
	memset(group->peak, 0, sizeof(group->peak));
	memset(group->events, 0, sizeof(group->events));
	for (i = 0; i < NODES; i++) {
		group->line[i] = -2;
		group->over[i] = 0;
	}
}

static int group_enter(int parent, const char *path)
{
	struct group *group;
	struct stat st;
	int i;

	for (i = 0; i < GROUPS && model->group[i].used; i++)
		continue;
	group = &model->group[i];
	memset(group, 0, sizeof(*group));
	group->used = true;
	group->parent = parent;
	group->charged = parent < 0 || model->group[parent].enabled;
	snprintf(group->path, sizeof(group->path), "%s", path);
	if (!stat(path, &st))
		group->ino = st.st_ino;
	group_fresh(group);
	return i;
}

int group_add(int parent, const char *name, bool inner)
{
	char path[300];
	int i;

	snprintf(path, sizeof(path), "%s/%s", model->group[parent].path, name);
	if (mkdir(path, 0755))
		FAIL("mkdir %s: %s", path, strerror(errno));
	i = group_enter(parent, path);
	model->group[i].inner = inner;
	model->group[i].enabled = inner;
	if (inner && cdm_enable(path, "+memory +cdm"))
		FAIL("controllers of %s", path);
	return i;
}

/* The group that is charged for what the processes of @group do. */
int group_charged(int group)
{
	while (!model->group[group].charged)
		group = model->group[group].parent;
	return group;
}

static void each_page(void (*fn)(struct page *page, long arg), long arg)
{
	int s, r, f;
	long i;

	for (s = 0; s < SLOTS; s++) {
		struct slot *slot = &model->slot[s];

		for (r = 0; slot->pid && r < REGIONS; r++) {
			struct region *region = &slot->region[r];

			if (!region->addr || region->file >= 0)
				continue;
			for (i = 0; i < region->pages; i++)
				fn(&region->page[i], arg);
		}
	}
	for (f = 0; f < FILES; f++)
		for (i = 0; i < FILE_PAGES; i++)
			fn(&model->file[f].page[i], arg);
}

static void page_reparent(struct page *page, long group)
{
	int heir = group_charged(model->group[group].parent);

	if (page->owner == group)
		page->owner = heir;
	if (page->other == group)
		page->other = heir;
	if (page->other == page->owner)
		page->other = NOBODY;
}

static void page_reparent_memcg(struct page *page, long group)
{
	/* For a page in swap this is a guess, see page_swapped_in(). */
	if (page->memcg == group)
		page->memcg = model->group[group].parent;
}

void group_remove(int group)
{
	if (rmdir(model->group[group].path))
		FAIL("rmdir %s: %s", model->group[group].path,
		     strerror(errno));
	each_page(page_reparent, group);
	each_page(page_reparent_memcg, group);
	model->group[group].used = false;
}

/* Switch the controller off or on in the children of @group. */
void group_toggle(int group)
{
	bool on = !model->group[group].enabled;
	int i, ret;

	ret = cdm_enable(model->group[group].path, on ? "+cdm" : "-cdm");
	if (ret)
		FAIL("%ccdm in %s: %d", on ? '+' : '-',
		     model->group[group].path, ret);
	model->group[group].enabled = on;
	for (i = 0; i < GROUPS; i++) {
		if (!model->group[i].used || model->group[i].parent != group)
			continue;
		model->group[i].charged = on;
		group_fresh(&model->group[i]);
		if (!on)
			each_page(page_reparent, i);
	}
}

/* Does a group have processes or children? */
bool group_busy(int group)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (model->slot[i].pid && model->slot[i].group == group)
			return true;
	for (i = 0; i < GROUPS; i++)
		if (model->group[i].used && model->group[i].parent == group)
			return true;
	return false;
}

/* The group's own limit in pages, LONG_MAX if it has none. */
long group_max(int group, int node)
{
	struct group *g = &model->group[group];
	long max = g->line[node] == -2 ? g->def : g->line[node];

	return max < 0 ? LONG_MAX : max;
}

/*
 * Pages
 */

struct page *region_page(struct region *region, long page)
{
	if (region->file >= 0)
		return &model->file[region->file].page[page];
	return &region->page[page];
}

static int kernel_fd(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	return fd;
}

/* The group whose memory a page is, in RAM or not, by the kernel. */
static int memcg_of(unsigned long pfn)
{
	static int fd = -1;
	unsigned long ino;
	int i;

	if (fd < 0)
		fd = kernel_fd("/proc/kpagecgroup");
	if (pread(fd, &ino, sizeof(ino), pfn * sizeof(ino)) != sizeof(ino))
		return 0;
	for (i = 0; i < GROUPS; i++)
		if (model->group[i].used && model->group[i].ino == ino)
			return i;
	return 0;
}

/* The current page map entry; the model may not know of it yet. */
static unsigned long page_entry(const struct slot *slot, const char *addr)
{
	unsigned long entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", slot->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (unsigned long)addr / cdm_psize *
		  sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry;
}

/* A page that still has @pfn: the frame may have been reused since. */
static struct page *region_sharer(struct slot *slot, struct region *region,
				  struct page *self, unsigned long pfn)
{
	unsigned long entry;
	long i;

	for (i = 0; i < region->pages; i++) {
		struct page *page = &region->page[i];

		if (page == self || page->place != ON_NODE || page->pfn != pfn)
			continue;
		entry = page_entry(slot, region->addr + i * cdm_psize);
		if ((entry & PM_PRESENT) && (entry & PM_PFN) == pfn)
			return page;
	}
	return NULL;
}

/* A page of another process with the same frame; not for pages of files. */
static struct page *page_sharer(struct page *self, unsigned long pfn)
{
	struct page *page;
	int s, r;

	for (s = 0; s < SLOTS; s++) {
		struct slot *slot = &model->slot[s];

		for (r = 0; slot->pid && r < REGIONS; r++) {
			struct region *region = &slot->region[r];

			if (!region->addr || region->file >= 0)
				continue;
			page = region_sharer(slot, region, self, pfn);
			if (page)
				return page;
		}
	}
	return NULL;
}

/*
 * The page is the memory of the group that swapped it out, or of the reader's
 * if that group is gone. On a device the process that faulted pays for it,
 * unless it had never left the node.
 */
static void page_swapped_in(struct page *page, unsigned long pfn, int group)
{
	struct page *sharer = page_sharer(page, pfn);
	int last = page->owner;

	page->memcg = memcg_of(pfn);
	page->owner = group_charged(group);
	page->other = NOBODY;
	if (sharer) {
		page->owner = sharer->owner;
		page->other = sharer->other;
	} else if (pfn == page->pfn && last != page->owner) {
		page->other = last;
	}
}

static bool moves(enum op op)
{
	return op == OP_MOVE || op == OP_MOVE_OTHER || op == OP_MBIND ||
	       op == OP_MIGRATE;
}

static void page_learn_place(struct page *page, unsigned long pfn, enum op op,
			     int group)
{
	int node = node_of(pfn);
	bool taken, fresh;

	/* What comes back because swap is taken away goes to RAM. */
	if (op == OP_SWAPOFF && page->place == IN_SWAP && node >= 0 &&
	    pfn != page->pfn)
		FAIL("pfn %#lx: swapoff put it on node%d", pfn,
		     model->node[node].id);
	/* The group that wrote pays, or the one whose memory is collapsed. */
	taken = page->place == NOWHERE ||
		(page->place != IN_SWAP && page->pfn != pfn &&
		 ((page->cow && page->written) || op == OP_COLLAPSE));
	fresh = taken || page->place == IN_SWAP;
	if (taken) {
		page->memcg = group;
		page->owner = group_charged(group);
		page->other = NOBODY;
	} else if (page->place == IN_SWAP) {
		page_swapped_in(page, pfn, group);
	}
	if (node >= 0 && !fresh) {
		int memcg = group_charged(page->memcg);

		if (page->place == IN_RAM) {
			page->owner = memcg;
			page->other = NOBODY;
		} else if (page->pfn != pfn && moves(op) &&
			   page->owner != memcg && page->other == NOBODY) {
			page->other = memcg;
		}
	}
	page->place = node < 0 ? IN_RAM : ON_NODE;
	page->node = node < 0 ? 0 : node;
	page->pfn = pfn;
}

/* The frame that is mapped where a process has only read. */
static unsigned long find_zero_pfn(void)
{
	int fd = kernel_fd("/proc/self/pagemap");
	unsigned long entry = 0;
	char *addr;

	addr = mmap(NULL, cdm_psize, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)__atomic_load_n(addr, __ATOMIC_RELAXED);
	if (pread(fd, &entry, sizeof(entry), (unsigned long)addr / cdm_psize *
		  sizeof(entry)) != sizeof(entry))
		ksft_exit_fail_msg("no page map\n");
	munmap(addr, cdm_psize);
	close(fd);
	return entry & PM_PFN;
}

/* Learn where a page is, after @op by or on a process of @group. */
static void page_learn(struct page *page, unsigned long entry, enum op op,
		       int group)
{
	/* Splitting a huge page may free what was never written. */
	if (entry & PM_PRESENT && (entry & PM_PFN) == zero_pfn)
		page->place = NOWHERE;
	else if (entry & PM_PRESENT)
		page_learn_place(page, entry & PM_PFN, op, group);
	else if (entry & PM_SWAP)
		page->place = IN_SWAP;
	else
		page->place = NOWHERE;
	if (page->written)
		page->cow = false;
	page->written = false;
}

static bool region_asked(const struct region *region)
{
	return region->policy != POLICY_NONE;
}

/*
 * Collapsing pages that were moved to the node makes a huge page there, which
 * also covers what was never written.
 */
static bool collapses_there(const struct region *region, long page, enum op op)
{
	long start = page - page % cdm_hpages, i;

	for (i = start; i < start + cdm_hpages && i < region->pages; i++)
		if (op == OP_COLLAPSE && region->page[i].place == ON_NODE)
			return true;
	return false;
}

static void region_learn(struct slot *slot, struct region *region, int pagemap,
			 enum op op, bool loose)
{
	static unsigned long entry[REGION_PAGES];
	ssize_t size = region->pages * sizeof(*entry);
	bool there = false;
	long i;

	if (pread(pagemap, entry, size, (unsigned long)region->addr /
		  cdm_psize * sizeof(*entry)) != size) {
		FAIL("no page map of process %d", slot->pid);
		return;
	}
	for (i = 0; i < region->pages && !model->failed; i++) {
		struct page *page = &region->page[i];
		bool empty = page->place == NOWHERE && !page->written;

		if (!(i % cdm_hpages))
			there = region_asked(region) ||
				collapses_there(region, i, op);
		if (page->gone)
			continue;
		page_learn(page, entry[i], op, slot->group);
		if (page->stamp && page->place == NOWHERE)
			FAIL("page %ld at %p of process %d is lost", i,
			     region->addr, slot->pid);
		if (loose || model->loose)
			continue;
		if (empty && page->place != NOWHERE && !region->huge)
			FAIL("page %ld at %p of process %d: not asked for", i,
			     region->addr, slot->pid);
		if (empty && page->place == ON_NODE && !there)
			FAIL("page %ld at %p of process %d: for RAM", i,
			     region->addr, slot->pid);
	}
}

/*
 * Learn where the pages of a process are, after @op on @region; a negative
 * @region means all of them. With @loose anything else may have happened too.
 */
void slot_learn(struct slot *slot, enum op op, int region, bool loose)
{
	char path[64];
	int i, fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", slot->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		FAIL("process %d is gone", slot->pid);
		return;
	}
	for (i = 0; i < REGIONS; i++) {
		struct region *r = &slot->region[i];

		if (r->addr && r->file < 0)
			region_learn(slot, r, fd, region < 0 || region == i ?
				     op : OP_NONE, loose);
	}
	close(fd);
}

/* Forget where the pages were: anything may have happened to them. */
void slot_forget(struct slot *slot)
{
	int r;
	long i;

	for (r = 0; r < REGIONS; r++) {
		for (i = 0; i < REGION_PAGES; i++) {
			slot->region[r].page[i].place = NOWHERE;
			slot->region[r].page[i].cow = false;
		}
	}
}

/*
 * Learn where the pages of a file are. Those in memory can be mapped for a
 * moment without allocating any.
 */
static void file_learn(struct file *file, int pagemap, enum op op, int group)
{
	unsigned long entry[FILE_PAGES] = { 0 };
	unsigned char in_core[FILE_PAGES];
	long i;

	if (mincore(file->addr, FILE_PAGES * cdm_psize, in_core)) {
		FAIL("mincore: %s", strerror(errno));
		return;
	}
	for (i = 0; i < FILE_PAGES; i++)
		if (in_core[i] & 1)
			(void)__atomic_load_n(file->addr + i * cdm_psize,
					      __ATOMIC_RELAXED);
	if (pread(pagemap, entry, sizeof(entry), (unsigned long)file->addr /
		  cdm_psize * sizeof(*entry)) != sizeof(entry))
		FAIL("no page map of a file");
	madvise(file->addr, FILE_PAGES * cdm_psize, MADV_DONTNEED);
	for (i = 0; i < FILE_PAGES; i++) {
		struct page *page = &file->page[i];

		if (!(in_core[i] & 1))
			entry[i] = page->stamp ? PM_SWAP : 0;
		page_learn(page, entry[i], op,
			   file->user < 0 ? group : file->user);
	}
}

void files_learn(enum op op, int group)
{
	int fd = kernel_fd("/proc/self/pagemap"), i;

	for (i = 0; i < FILES; i++)
		file_learn(&model->file[i], fd, op, group);
	close(fd);
}

/* Learn where all pages are, after something that may have moved any. */
void model_learn(enum op op)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (model->slot[i].pid)
			slot_learn(&model->slot[i], op, -1, false);
	files_learn(op, 0);
}

/*
 * Books
 */

/* Pages by the group that is charged: at least, and at most. */
static long sure[GROUPS][NODES], most[GROUPS][NODES], total[NODES];
static long unsure, counted;

static void count_for(const struct page *page)
{
	total[page->node]++;
	counted++;
	most[page->owner][page->node]++;
	if (page->other == NOBODY) {
		sure[page->owner][page->node]++;
		return;
	}
	most[page->other][page->node]++;
	unsure++;
}

static void page_count(struct page *page, long arg)
{
	struct node *node = &model->node[page->node];
	struct page *first;
	unsigned long i;

	(void)arg;
	if (page->place != ON_NODE)
		return;
	i = page->pfn - node->start;
	if (node->seen[i] == model->count) {
		first = node->first[i];
		if (first->owner != page->owner && first->other == NOBODY &&
		    page->other == NOBODY)
			FAIL("pfn %#lx: charged to %s or %s?", page->pfn,
			     model->group[first->owner].path,
			     model->group[page->owner].path);
		return;
	}
	node->seen[i] = model->count;
	node->first[i] = page;
	count_for(page);
}

static bool group_below(int group, int above)
{
	while (group >= 0 && group != above)
		group = model->group[group].parent;
	return group == above;
}

static int stuck_group, stuck_node;
static long stuck;

static void page_stuck(struct page *page, long arg)
{
	(void)arg;
	if (page->place == ON_NODE && page->node == stuck_node &&
	    (group_below(page->owner, stuck_group) ||
	     page->other != NOBODY) && !group_below(page->memcg, stuck_group))
		stuck++;
}

/*
 * Pages that a group cannot evict when its limit is lowered: they are charged
 * to it, but are the memory of another group, and so on the LRU lists of that.
 */
long group_stuck(int group, int node)
{
	stuck_group = group;
	stuck_node = node;
	stuck = 0;
	each_page(page_stuck, 0);
	return stuck;
}

/*
 * Count pages that no page map shows. The rest of a huge page that is mapped
 * only in part is charged to the owner of that part, until the kernel splits
 * the page. Pages on their way to swap that are no longer mapped may be
 * anybody's: returns how many there are.
 */
static long count_hidden(int n)
{
	struct node *node = &model->node[n];
	unsigned long nr = node->end - node->start, i;
	unsigned long *flags = calloc(nr, sizeof(*flags));
	struct page *part = NULL;
	long found = 0, j;
	int fd;

	fd = kernel_fd("/proc/kpageflags");
	if (pread(fd, flags, nr * sizeof(*flags),
		  node->start * sizeof(*flags)) < 0)
		FAIL("no page flags");
	close(fd);
	for (i = 0; i < nr; i++) {
		/* A node starts at a multiple of the size of a huge page. */
		if (!(i % cdm_hpages)) {
			part = NULL;
			for (j = 0; j < cdm_hpages; j++)
				if (node->seen[i + j] == model->count)
					part = node->first[i + j];
		}
		if (node->seen[i] == model->count)
			continue;
		if ((flags[i] & KPF_THP) && part)
			count_for(part);
		else if ((flags[i] & (KPF_SWAPCACHE | KPF_MMAP)) ==
			 KPF_SWAPCACHE)
			found++;
	}
	free(flags);
	return found;
}

static void sum_up(void)
{
	long own_sure[GROUPS][NODES], own_most[GROUPS][NODES];
	int i, n, up;

	memcpy(own_sure, sure, sizeof(sure));
	memcpy(own_most, most, sizeof(most));
	for (i = 0; i < GROUPS; i++) {
		if (!model->group[i].used)
			continue;
		for (up = model->group[i].parent; up >= 0;
		     up = model->group[up].parent) {
			for (n = 0; n < NODES; n++) {
				sure[up][n] += own_sure[i][n];
				most[up][n] += own_most[i][n];
			}
		}
	}
}

/* For debugging: pages in use that the model does not know of. */
static void show_unknown(int n)
{
	struct node *node = &model->node[n];
	int flags_fd = kernel_fd("/proc/kpageflags"), left = 12;
	unsigned long pfn, flags;

	for (pfn = node->start; pfn < node->end && left; pfn++) {
		if (node->seen[pfn - node->start] == model->count ||
		    pread(flags_fd, &flags, sizeof(flags),
			  pfn * sizeof(flags)) != sizeof(flags) ||
		    !flags || (flags & (KPF_BUDDY | KPF_NOPAGE)))
			continue;
		ksft_print_msg("  pfn %#lx: flags %#lx, memory of %s\n", pfn,
			       flags, model->group[memcg_of(pfn)].path);
		left--;
	}
	close(flags_fd);
}

/* For debugging: how many pages have which flags and whose memory they are. */
void show_kinds(int n)
{
	struct node *node = &model->node[n];
	int fd = kernel_fd("/proc/kpageflags"), kinds = 0, i;
	struct {
		unsigned long flags;
		int memcg;
		long nr;
	} kind[32] = { };
	unsigned long pfn, flags;

	for (pfn = node->start; pfn < node->end; pfn++) {
		int memcg = memcg_of(pfn);

		if (pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) !=
		    sizeof(flags) || !flags ||
		    (flags & (KPF_BUDDY | KPF_NOPAGE)))
			continue;
		for (i = 0; i < kinds; i++)
			if (kind[i].flags == flags && kind[i].memcg == memcg)
				break;
		if (i == (int)ARRAY_SIZE(kind))
			continue;
		kind[i].flags = flags;
		kind[i].memcg = memcg;
		kind[i].nr++;
		kinds = i == kinds ? i + 1 : kinds;
	}
	close(fd);
	for (i = 0; i < kinds; i++)
		ksft_print_msg("  %ld pages with flags %#lx, memory of %s\n",
			       kind[i].nr, kind[i].flags,
			       model->group[kind[i].memcg].path);
}

/* Compare one number; quietly while it may still be changing. */
static bool compare(int group, int n, long now, long slack, bool quiet)
{
	long least = sure[group][n], top = most[group][n] + slack;

	if (!group) {
		least = total[n];
		top = total[n] + slack;
	} else if (model->loose) {
		least = 0;
		top = total[n] + slack;
	}
	if (now >= least && now <= top)
		return true;
	if (!quiet)
		FAIL("%s: node%d has %ld pages charged, expected %ld to %ld",
		     model->group[group].path, model->node[n].id, now, least,
		     top);
	return false;
}

/* The line of each node in a file of @group, empty for a node without one. */
static void node_lines(int group, const char *file, char line[NODES][256])
{
	char path[400], buf[4096], key[32], *pos;
	int n;

	snprintf(path, sizeof(path), "%s/%s", model->group[group].path, file);
	if (file_read(path, buf, sizeof(buf)))
		FAIL("%s cannot be read", path);
	for (n = 0; n < NODES; n++) {
		snprintf(key, sizeof(key), "node%d ", model->node[n].id);
		pos = strstr(buf, key);
		line[n][0] = '\0';
		if (pos && model->node[n].id >= 0)
			snprintf(line[n], 256, "%.*s",
				 (int)strcspn(pos, "\n"), pos);
	}
}

static long line_key(const char *line, const char *key)
{
	const char *pos = strstr(line, key);

	return pos ? strtol(pos + strlen(key), NULL, 10) : CDM_NONE;
}

static void group_pages(int group, const char *file, long pages[NODES])
{
	char line[NODES][256];
	int n;

	node_lines(group, file, line);
	for (n = 0; n < NODES; n++)
		pages[n] = line_key(line[n], " ") / cdm_psize;
}

static bool compare_all(bool quiet)
{
	long slack[NODES] = { 0 }, now[NODES];
	bool good = true;
	int i, n;

	memset(sure, 0, sizeof(sure));
	memset(most, 0, sizeof(most));
	memset(total, 0, sizeof(total));
	unsure = 0;
	counted = 0;
	model->count++;
	each_page(page_count, 0);
	group_pages(0, "cdm.current", now);
	/* Looked for only when it matters. */
	for (n = 0; n < NODES; n++)
		if (model->node[n].id >= 0 && now[n] != total[n])
			slack[n] = count_hidden(n);
	sum_up();
	for (i = 0; i < GROUPS; i++) {
		if (!model->group[i].used || !model->group[i].charged)
			continue;
		group_pages(i, "cdm.current", now);
		for (n = 0; n < NODES; n++)
			if (model->node[n].id >= 0)
				good &= compare(i, n, now[n], slack[n], quiet);
	}
	return good;
}

static void check_events(int group, const char *file, long (*last)[EVENTS])
{
	static const char * const keys[EVENTS] = {
		" max=", " depleted=", " fallback=", " fail=", " reclaim=",
	};
	char line[NODES][256];
	int n, ev;

	node_lines(group, file, line);
	for (n = 0; n < NODES; n++) {
		for (ev = 0; ev < EVENTS && line[n][0]; ev++) {
			long now = line_key(line[n], keys[ev]);

			if (now < last[n][ev])
				FAIL("%s: %s of node%d:%s went from %ld to %ld",
				     model->group[group].path, file,
				     model->node[n].id, keys[ev], last[n][ev],
				     now);
			last[n][ev] = now;
		}
	}
}

static void check_limit(int group, int n, long now, long peak)
{
	struct group *g = &model->group[group];
	long max = group_max(group, n);

	if (peak < now || peak < g->peak[n])
		FAIL("%s: node%d peak %ld, was %ld, and usage is %ld", g->path,
		     model->node[n].id, peak, g->peak[n], now);
	g->peak[n] = peak;
	if (now <= max || !group)
		g->over[n] = 0;
	else if (now > g->over[n])
		FAIL("%s: node%d has %ld pages, limit %ld, left over %ld",
		     g->path, model->node[n].id, now, max, g->over[n]);
	else
		g->over[n] = now;
}

static void check_group(int group)
{
	long now[NODES], peak[NODES];
	int n;

	group_pages(group, "cdm.current", now);
	group_pages(group, "cdm.peak", peak);
	for (n = 0; n < NODES; n++)
		if (model->node[n].id >= 0)
			check_limit(group, n, now[n], peak[n]);
	if (!group)
		return;
	check_events(group, "cdm.events", model->group[group].events[0]);
	check_events(group, "cdm.events.local", model->group[group].events[1]);
}

/* Check all numbers of all groups; returns false if one is wrong. */
bool model_books(void)
{
	struct cdm_wait wait = cdm_wait_begin(4);
	bool good;
	int i;

	for (;;) {
		good = compare_all(true);
		if (good || !cdm_wait_more(&wait))
			break;
		cdm_drain_lru();
		model_learn(OP_NONE);
	}
	if (!good) {
		compare_all(false);
		for (i = 0; i < NODES; i++)
			if (model->node[i].id >= 0)
				show_unknown(i);
	}
	model->ambiguous += unsure;
	model->counted += counted;
	for (i = 0; i < GROUPS && !model->failed; i++)
		if (model->group[i].used && model->group[i].charged)
			check_group(i);
	return !model->failed;
}

void model_init(unsigned int seed, const char *top)
{
	int i, root, group;

	if (!model) {
		model = mmap(NULL, sizeof(*model), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (model == MAP_FAILED)
			ksft_exit_fail_msg("no shared memory\n");
		for (i = 0; i < FILES; i++) {
			struct file *file = &model->file[i];

			file->fd = memfd_create("model", 0);
			if (ftruncate(file->fd, FILE_PAGES * cdm_psize))
				ksft_exit_fail_msg("no file\n");
			file->addr = mmap(NULL, FILE_PAGES * cdm_psize,
					  PROT_READ | PROT_WRITE, MAP_SHARED,
					  file->fd, 0);
		}
	}
	memset(model->slot, 0, sizeof(model->slot));
	memset(model->group, 0, sizeof(model->group));
	for (i = 0; i < FILES; i++) {
		if (ftruncate(model->file[i].fd, 0) ||
		    ftruncate(model->file[i].fd, FILE_PAGES * cdm_psize))
			ksft_exit_fail_msg("no file\n");
		memset(model->file[i].page, 0, sizeof(model->file[i].page));
		model->file[i].user = NOBODY;
	}
	zero_pfn = find_zero_pfn();
	model->seed = seed;
	model->op = 0;
	model->failed = false;
	model->at_once = false;
	model->loose = false;
	model->ambiguous = 0;
	model->counted = 0;
	model_nodes();

	root = group_enter(-1, cdm_root);
	model->group[root].enabled = true;
	group = group_enter(root, top);
	model->group[group].inner = true;
	model->group[group].enabled = true;
	if (cdm_enable(top, "+memory +cdm"))
		FAIL("controllers of %s", top);
}
