// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU plugin: what the guest's kernel executes, by function, in windows that
 * the guest marks.
 *
 *	cc -O2 -fPIC -shared -o insncount.so insncount.c
 *	qemu-system-x86_64 \
 *		-plugin ./insncount.so,map=System.map,out=FILE[,lines=on]
 *
 * A window is what is executed between two marks (see mark.h). Of each function
 * it counts calls, instructions, and locked read-modify-write instructions. The
 * locked instruction of a spinlock counts for the function that takes the lock.
 * Interrupts are left out, from their entry to their return.
 *
 * With lines=on, for more than one virtual CPU, it counts accesses to shared
 * cache lines instead: for each line and CPU its stores, but no more than the
 * accesses of other CPUs to that line; and its loads, but no more than the
 * stores of others. That is an upper bound of how often a line of 64 bytes has
 * to move between CPUs, whatever the order in which they get to it.
 *
 * The kernel must not be relocated (nokaslr) and must keep its lock prefixes on
 * one CPU (noreplace-smp).
 *
 * Output, tab separated: a line "window N", and its functions below it:
 *	function calls instructions locked
 *	function loads stores shared-loads shared-stores	(lines=on)
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mark.h"
#include "qemu-plugin-api.h"

#define MAX_CPUS	4
#define LINE_SHIFT	6
/* Code that is in no symbol: modules follow the kernel's text. */
#define MODULE_GAP	0x100000UL

enum { SYM_USER, SYM_MODULE, SYM_FIRST };
enum { CALLS, INSNS, LOCKED, NR_COUNTS };

struct sym {
	uint64_t addr;
	char *name;
	bool lock;	/* of the out-of-line spinlock functions */
	bool irq;	/* entry of an interrupt */
};

static struct sym *syms;
static size_t nr_syms;
static FILE *out;
static bool lines;

int qemu_plugin_version = 4;

static plugin_insn_data_1 insn_data_1;
static plugin_insn_data_4 insn_data_4;
static plugin_inline_1 inline_1;
static plugin_inline_4 inline_4;
static plugin_score_find score_find;
static struct qemu_plugin_scoreboard *score;
static uint64_t *counters;	/* interface 1, and lines=on never uses them */

/* This must run before QEMU looks at qemu_plugin_version. */
__attribute__((constructor)) static void find_interface(void)
{
	void *data = dlsym(RTLD_DEFAULT, "qemu_plugin_insn_data");

	if (dlsym(RTLD_DEFAULT, "qemu_plugin_scoreboard_new")) {
		insn_data_4 = (plugin_insn_data_4)data;
		inline_4 = (plugin_inline_4)dlsym(RTLD_DEFAULT,
			"qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu");
		score_find = (plugin_score_find)dlsym(RTLD_DEFAULT,
						      "qemu_plugin_scoreboard_find");
	} else {
		qemu_plugin_version = 1;
		insn_data_1 = (plugin_insn_data_1)data;
		inline_1 = (plugin_inline_1)dlsym(RTLD_DEFAULT,
			"qemu_plugin_register_vcpu_insn_exec_inline");
	}
}

static void *xalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		fprintf(stderr, "insncount: out of memory\n");
		abort();
	}
	return p;
}

/*
 * Symbols
 */

static int by_addr(const void *a, const void *b)
{
	const struct sym *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool starts(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

static void classify(struct sym *s)
{
	const char *kind = starts(s->name,
				  "_raw_") ? s->name + strlen("_raw_") : "";

	s->lock = (starts(kind, "spin_") || starts(kind, "read_") ||
		   starts(kind, "write_")) &&
		  strstr(kind, "lock") && !strstr(kind, "unlock");
	s->irq = starts(s->name, "asm_sysvec_") ||
		!strcmp(s->name, "asm_common_interrupt") ||
		 !strcmp(s->name, "asm_exc_nmi");
}

static bool load_map(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t room = 1 << 16, i, n;
	char name[256], type;
	uint64_t addr;

	if (!f)
		return false;
	syms = xalloc(room, sizeof(*syms));
	syms[SYM_USER].name = "[user]";
	syms[SYM_MODULE].name = "[module]";
	nr_syms = SYM_FIRST;
	while (fscanf(f, "%" SCNx64 " %c %255s%*[^\n]", &addr, &type,
		      name) == 3) {
		if (!strchr("tTwW", type) || !(addr >> 63))
			continue;
		if (nr_syms == room) {
			syms = realloc(syms, 2 * room * sizeof(*syms));
			if (!syms)
				abort();
			memset(syms + room, 0, room * sizeof(*syms));
			room *= 2;
		}
		syms[nr_syms].addr = addr;
		syms[nr_syms++].name = strdup(name);
	}
	fclose(f);
	qsort(syms + SYM_FIRST, nr_syms - SYM_FIRST, sizeof(*syms), by_addr);
	for (i = n = SYM_FIRST; i < nr_syms; i++)
		if (n == SYM_FIRST || syms[i].addr != syms[n - 1].addr)
			syms[n++] = syms[i];
	nr_syms = n;
	for (i = SYM_FIRST; i < nr_syms; i++)
		classify(&syms[i]);
	return nr_syms > SYM_FIRST;
}

static size_t find_sym(uint64_t addr)
{
	static size_t last = SYM_FIRST;
	size_t low = SYM_FIRST, high = nr_syms, mid;

	if (!(addr >> 63))
		return SYM_USER;
	if (addr < syms[SYM_FIRST].addr ||
	    addr >= syms[nr_syms - 1].addr + MODULE_GAP)
		return SYM_MODULE;
	if (addr >= syms[last].addr && last + 1 < nr_syms &&
	    addr < syms[last + 1].addr)
		return last;
	while (high - low > 1) {
		mid = (low + high) / 2;
		if (syms[mid].addr <= addr)
			low = mid;
		else
			high = mid;
	}
	last = low;
	return low;
}

/*
 * Counting by function, one virtual CPU
 */

static uint64_t *at_begin;	/* counters when the window began or resumed */
static uint64_t *at_irq;	/* and when an interrupt came */
static uint64_t *window;	/* counts of the window */
static unsigned int nr_windows;
static bool counting, in_irq;

static uint64_t *now(void)
{
	return score ? score_find(score, 0) : counters;
}

static void copy_counters(uint64_t *to)
{
	memcpy(to, now(), nr_syms * NR_COUNTS * sizeof(*to));
}

static void irq_begins(unsigned int cpu, void *data)
{
	if (!counting || in_irq)
		return;
	in_irq = true;
	copy_counters(at_irq);
}

/* Move the start of the window by what the interrupt executed. */
static void irq_ends(unsigned int cpu, void *data)
{
	uint64_t *c = now();
	size_t i;

	if (!counting || !in_irq)
		return;
	in_irq = false;
	for (i = 0; i < nr_syms * NR_COUNTS; i++)
		at_begin[i] += c[i] - at_irq[i];
}

static void write_window(void)
{
	size_t i;

	if (!nr_windows)
		return;
	fprintf(out, "window %u\n", nr_windows);
	for (i = 0; i < nr_syms; i++) {
		uint64_t *w = window + i * NR_COUNTS;

		if (w[INSNS] || w[LOCKED])
			fprintf(out,
				"%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n",
				syms[i].name, w[CALLS], w[INSNS], w[LOCKED]);
	}
	memset(window, 0, nr_syms * NR_COUNTS * sizeof(*window));
}

static void count_mark(unsigned int kind)
{
	uint64_t *c = now();
	size_t i;

	if (kind == MARK_END) {
		if (!counting)
			return;
		counting = false;
		for (i = 0; i < nr_syms * NR_COUNTS; i++)
			window[i] += c[i] - at_begin[i];
		return;
	}
	if (kind == MARK_BEGIN) {
		write_window();
		nr_windows++;
	}
	counting = true;
	in_irq = false;
	copy_counters(at_begin);
}

static void count_inline(struct qemu_plugin_insn *insn, size_t sym,
			 unsigned int what)
{
	size_t i = sym * NR_COUNTS + what;

	if (inline_4)
		inline_4(insn, QEMU_PLUGIN_INLINE_ADD_U64,
			 (struct qemu_plugin_u64){ score,
						  i * sizeof(uint64_t) }, 1);
	else
		inline_1(insn, QEMU_PLUGIN_INLINE_ADD_U64, &counters[i], 1);
}

/*
 * Accesses to shared lines, several virtual CPUs
 */

struct cell {
	uint64_t line;
	uint64_t loads, stores;
	uint32_t sym;
	bool used;
};

/* By line and function. The lock is for the mark that ends a window. */
static struct table {
	pthread_mutex_t lock;
	struct cell *cells;
	size_t size, used;
	uint32_t locker;	/* function that is taking a spinlock */
} tables[MAX_CPUS];

static bool watching;

static struct cell *find_cell(struct cell *cells, size_t size, uint64_t line,
			      uint32_t sym)
{
	size_t h = (line * 0x9e3779b97f4a7c15ULL ^ sym * 0x85ebca6bULL) >> 20 &
		(size - 1);

	while (cells[h].used && (cells[h].line != line || cells[h].sym != sym))
		h = (h + 1) & (size - 1);
	return &cells[h];
}

static struct cell *use_cell(struct table *t, uint64_t line, uint32_t sym)
{
	struct cell *c, *new;
	size_t size, i;

	if (t->used * 2 >= t->size) {
		size = t->size ? t->size * 2 : 1 << 16;
		new = xalloc(size, sizeof(*new));
		for (i = 0; i < t->size; i++)
			if (t->cells[i].used)
				*find_cell(new, size, t->cells[i].line, t->cells[i].sym) =
					t->cells[i];
		free(t->cells);
		t->cells = new;
		t->size = size;
	}
	c = find_cell(t->cells, t->size, line, sym);
	if (!c->used) {
		c->used = true;
		c->line = line;
		c->sym = sym;
		t->used++;
	}
	return c;
}

static void access_mem(unsigned int cpu, qemu_plugin_meminfo_t info,
		       uint64_t vaddr, void *data)
{
	uint32_t sym = (uintptr_t)data;
	struct table *t = &tables[cpu];
	struct cell *c;

	if (!watching || !(vaddr >> 63) || cpu >= MAX_CPUS)
		return;
	pthread_mutex_lock(&t->lock);
	if (syms[sym].lock)
		sym = t->locker;
	c = use_cell(t, vaddr >> LINE_SHIFT, sym);
	if (qemu_plugin_mem_is_store(info))
		c->stores++;
	else
		c->loads++;
	pthread_mutex_unlock(&t->lock);
}

static void take_lock(unsigned int cpu, void *data)
{
	if (cpu < MAX_CPUS)
		tables[cpu].locker = (uintptr_t)data;
}

/* Accesses of one CPU to a line, or of all, over all functions. */
static void add_up(struct table *sum, const struct table *t)
{
	struct cell *c;
	size_t i;

	for (i = 0; i < t->size; i++) {
		if (!t->cells[i].used)
			continue;
		c = use_cell(sum, t->cells[i].line, 0);
		c->loads += t->cells[i].loads;
		c->stores += t->cells[i].stores;
	}
}

/* The share of @part in @all, but no more than @bound together. */
static double bounded(uint64_t part, uint64_t all, uint64_t bound)
{
	return all <= bound ? part : (double)part * bound / all;
}

static void write_lines(void)
{
	struct table all = { 0 }, own[MAX_CPUS] = { 0 };
	double (*sum)[4] = xalloc(nr_syms, sizeof(*sum));
	size_t i;
	int cpu;

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		add_up(&own[cpu], &tables[cpu]);
		add_up(&all, &tables[cpu]);
	}
	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		for (i = 0; i < tables[cpu].size; i++) {
			struct cell *c = &tables[cpu].cells[i], *o, *a;
			double *s = sum[c->sym];

			if (!c->used)
				continue;
			o = use_cell(&own[cpu], c->line, 0);
			a = use_cell(&all, c->line, 0);
			s[0] += c->loads;
			s[1] += c->stores;
			s[2] += bounded(c->loads, o->loads,
					a->stores - o->stores);
			s[3] += bounded(c->stores, o->stores,
					a->loads - o->loads + a->stores - o->stores);
		}
		free(own[cpu].cells);
	}
	free(all.cells);
	fprintf(out, "window %u\n", nr_windows);
	for (i = 0; i < nr_syms; i++)
		if (sum[i][0] + sum[i][1])
			fprintf(out, "%s\t%.0f\t%.0f\t%.3f\t%.3f\n",
				syms[i].name, sum[i][0], sum[i][1], sum[i][2],
				sum[i][3]);
	free(sum);
}

static void lines_mark(unsigned int kind)
{
	int cpu;

	watching = false;
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		pthread_mutex_lock(&tables[cpu].lock);
	if (kind == MARK_END) {
		write_lines();
	} else {
		nr_windows++;
		for (cpu = 0; cpu < MAX_CPUS; cpu++) {
			free(tables[cpu].cells);
			tables[cpu].cells = NULL;
			tables[cpu].size = 0;
			tables[cpu].used = 0;
		}
	}
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		pthread_mutex_unlock(&tables[cpu].lock);
	watching = kind != MARK_END;
}

/*
 * Instructions
 */

static void on_mark(unsigned int cpu, void *data)
{
	unsigned int kind = (uintptr_t)data;

	if (lines)
		lines_mark(kind);
	else
		count_mark(kind);
}

static void watch_mark(struct qemu_plugin_insn *insn, unsigned int kind)
{
	qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark,
					       QEMU_PLUGIN_CB_NO_REGS,
					       (void *)(uintptr_t)kind);
}

static size_t insn_bytes(struct qemu_plugin_insn *insn, uint8_t *b, size_t room)
{
	size_t len = qemu_plugin_insn_size(insn);

	if (insn_data_4)
		return insn_data_4(insn, b, room);
	if (len > room)
		len = room;
	memcpy(b, insn_data_1(insn), len);
	return len;
}

/* A lock prefix, or xchg with memory, which needs none. */
static bool is_locked(const uint8_t *b, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (b[i] == 0xf0)
			return true;
		/* Sizes, segments, repetition, REX. */
		if (!memchr("\x66\x67\xf2\xf3\x2e\x3e\x64\x65", b[i], 8) &&
		    (b[i] & 0xf0) != 0x40)
			break;
	}
	return i + 1 < len && (b[i] == 0x86 || b[i] == 0x87) &&
		(b[i + 1] & 0xc0) != 0xc0;
}

/* A call of, or a jump to, a function that takes a spinlock. */
static bool takes_lock(const uint8_t *b, size_t len, uint64_t addr, size_t from)
{
	uint64_t target;
	int32_t rel;
	size_t sym;

	if (len != 5 || (b[0] != 0xe8 && b[0] != 0xe9))
		return false;
	memcpy(&rel, b + 1, sizeof(rel));
	target = addr + len + rel;
	sym = find_sym(target);
	return sym != from && syms[sym].lock && syms[sym].addr == target;
}

static void watch_insn(struct qemu_plugin_insn *insn, const uint8_t *b,
		       size_t len, uint64_t addr, size_t sym)
{
	void *data = (void *)(uintptr_t)sym;

	if (sym == SYM_USER)
		return;
	qemu_plugin_register_vcpu_mem_cb(insn, access_mem,
					 QEMU_PLUGIN_CB_NO_REGS,
					 QEMU_PLUGIN_MEM_RW, data);
	if (takes_lock(b, len, addr, sym))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, take_lock,
						       QEMU_PLUGIN_CB_NO_REGS,
						       data);
}

static void count_insn(struct qemu_plugin_insn *insn, const uint8_t *b,
		       size_t len, uint64_t addr, size_t sym)
{
	bool first = sym >= SYM_FIRST && addr == syms[sym].addr;

	count_inline(insn, sym, INSNS);
	if (first)
		count_inline(insn, sym, CALLS);
	if (takes_lock(b, len, addr, sym) ||
	    (is_locked(b, len) && !syms[sym].lock))
		count_inline(insn, sym, LOCKED);
	if (first && syms[sym].irq)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, irq_begins,
						       QEMU_PLUGIN_CB_NO_REGS,
						       NULL);
	if (len == 2 && b[0] == 0x48 && b[1] == 0xcf)	/* iretq */
		qemu_plugin_register_vcpu_insn_exec_cb(insn, irq_ends,
						       QEMU_PLUGIN_CB_NO_REGS,
						       NULL);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;

	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t addr = qemu_plugin_insn_vaddr(insn);
		uint8_t b[MARK_LEN] = { 0 };
		size_t len = insn_bytes(insn, b, sizeof(b));
		size_t sym = find_sym(addr);

		if (lines)
			watch_insn(insn, b, len, addr, sym);
		else
			count_insn(insn, b, len, addr, sym);
		if (len == MARK_LEN && !memcmp(b, MARK_BYTES, MARK_LEN - 1))
			watch_mark(insn, b[MARK_LEN - 1]);
	}
}

static void at_exit(qemu_plugin_id_t id, void *data)
{
	if (!lines)
		write_window();
	fprintf(out, "end\n");
	fclose(out);
}

static void alloc_counters(void)
{
	size_t bytes = nr_syms * NR_COUNTS * sizeof(uint64_t);
	plugin_score_new new;

	at_begin = xalloc(1, bytes);
	at_irq = xalloc(1, bytes);
	window = xalloc(1, bytes);
	if (inline_4) {
		new = (plugin_score_new)dlsym(RTLD_DEFAULT,
					      "qemu_plugin_scoreboard_new");
		score = new(bytes);
	} else {
		counters = xalloc(1, bytes);
	}
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
			int argc, char **argv)
{
	const char *map = NULL;
	int i;

	for (i = 0; i < argc; i++) {
		if (starts(argv[i], "map="))
			map = argv[i] + strlen("map=");
		else if (starts(argv[i], "out="))
			out = fopen(argv[i] + strlen("out="), "w");
		else if (!strcmp(argv[i], "lines=on"))
			lines = true;
	}
	if (!info->system_emulation || strcmp(info->target_name, "x86_64") ||
	    !out || !map || !load_map(map)) {
		fprintf(stderr,
			"insncount: needs map=System.map and out=FILE, on x86_64\n");
		return -1;
	}
	for (i = 0; i < MAX_CPUS; i++)
		pthread_mutex_init(&tables[i].lock, NULL);
	if (!lines)
		alloc_counters();
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
