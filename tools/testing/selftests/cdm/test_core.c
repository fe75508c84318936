// SPDX-License-Identifier: GPL-2.0
/*
 * The interface of the cdm controller: which files there are, what they accept
 * and print, and how CDM nodes appear in other files.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdm_util.h"

#define KIB	1024L
#define MIB	(KIB << 10)
#define GIB	(MIB << 10)

/* Mode 0 means that the file must not be there. */
static const struct {
	const char *file;
	unsigned int root;
	unsigned int group;
} files[] = {
	{ "cdm.capacity",	0444, 0 },
	{ "cdm.current",	0444, 0444 },
	{ "cdm.effective",	0444, 0444 },
	{ "cdm.events",		0, 0444 },
	{ "cdm.events.local",	0, 0444 },
	{ "cdm.low",		0, 0644 },
	{ "cdm.max",		0, 0644 },
	{ "cdm.peak",		0644, 0644 },
	{ "cdm.policy",		0644, 0644 },
	{ "cdm.reclaim",	0200, 0200 },
	{ "cdm.stat",		0444, 0444 },
};

static unsigned int file_mode(const char *group, const char *file)
{
	char *path = cg_control(group, file);
	unsigned int mode = 0;
	struct stat st;

	if (!stat(path, &st))
		mode = st.st_mode & 07777;
	free(path);
	return mode;
}

static void test_files(const char *group)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		unsigned int root_mode = file_mode(cdm_root, files[i].file);
		unsigned int mode = file_mode(group, files[i].file);

		if (root_mode != files[i].root)
			cdm_fail(__FILE__, __LINE__,
				 "root's %s has mode %o, not %o",
				 files[i].file, root_mode, files[i].root);
		if (mode != files[i].group)
			cdm_fail(__FILE__, __LINE__,
				 "%s has mode %o, not %o", files[i].file,
				 mode, files[i].group);
	}
}

/* A new group has no limit, protection, usage, event or policy. */
static void test_defaults(const char *group)
{
	static const char * const events[] = {
		"max", "depleted", "fallback", "fail", "reclaim", "low",
		"taken",
	};
	static const char * const stats[] = {
		"charged", "uncharged", "moved_in", "moved_out", "demoted",
		"pinned_out", "demoted_anon", "demoted_file", "demoted_shmem",
		"taken",
	};
	char buf[4096];
	size_t i;

	CHECK_EQ(cg_read(group, "cdm.max", buf, sizeof(buf)), 0);
	CHECK_STR(buf, "default max\n");
	CHECK_EQ(cg_read(group, "cdm.policy", buf, sizeof(buf)), 0);
	CHECK_STR(buf, "default inherit\n");
	CHECK_EQ(cg_read(cdm_root, "cdm.policy", buf, sizeof(buf)), 0);
	CHECK_STR(buf, "default fallback\n");
	CHECK_EQ(cg_read(group, "cdm.low", buf, sizeof(buf)), 0);
	CHECK_STR(buf, "default 0\n");
	CHECK_EQ(cdm_bytes(group, "cdm.current", cdm_node), 0);
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_node), 0);
	for (i = 0; i < ARRAY_SIZE(stats); i++)
		CHECK_EQ(cdm_item(group, "cdm.stat", cdm_node, stats[i]), 0);
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		CHECK_EQ(cdm_item(group, "cdm.events", cdm_node, events[i]),
			 0);
		CHECK_EQ(cdm_item(group, "cdm.events.local", cdm_node,
				  events[i]), 0);
	}
}

/*
 * For the files that take a size for each node, cdm.max and cdm.low: the size
 * that "node<N> " or "default " followed by @text sets.
 */
static const struct {
	const char *text;
	long bytes;
} sizes[] = {
	{ "0", 0 },
	{ "4096", 4096 },
	{ "65536", 65536 },
	{ "64K", 64 * KIB },
	{ "64k", 64 * KIB },
	{ "64M", 64 * MIB },
	{ "64m", 64 * MIB },
	{ "3G", 3 * GIB },
	{ "3g", 3 * GIB },
	{ "2T", 2048 * GIB },
	{ "1P", 1024 * 1024 * GIB },
	{ "1e", 1024 * 1024 * 1024 * GIB },
	{ "max", LONG_MAX },
	{ "64M ", 64 * MIB },
	{ "32M\t \t\n", 32 * MIB },
	{ "16M\n\n", 16 * MIB },
};

static void test_sizes(const char *group, const void *file)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK_EQ(cdm_write(group, file, "node%d %s", cdm_node,
				   sizes[i].text), 0);
		if (cdm_bytes(group, file, cdm_node) != sizes[i].bytes)
			cdm_fail(__FILE__, __LINE__,
				 "node%d '%s' gives %ld, not %ld", cdm_node,
				 sizes[i].text,
				 cdm_bytes(group, file, cdm_node),
				 sizes[i].bytes);
	}
}

/*
 * "default" comes first, and holds for nodes without a value of their own. A
 * value alone is the same.
 */
static void test_default(const char *group, const void *file)
{
	char buf[4096], want[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK_EQ(cdm_write(group, file, "default %s",
				   sizes[i].text), 0);
		CHECK_EQ(cdm_bytes(group, file, cdm_node),
			 sizes[i].bytes);
		CHECK_EQ(cdm_write(group, file, "default 12288"), 0);
		CHECK_EQ(cdm_write(group, file, "%s", sizes[i].text), 0);
		CHECK_EQ(cdm_bytes(group, file, cdm_node),
			 sizes[i].bytes);
		CHECK_EQ(cdm_has_line(group, file, cdm_node), false);
	}
	CHECK_EQ(cdm_write(group, file, "default 0\n"), 0);
	CHECK_EQ(cdm_write(group, file, "node%d 8192\n", cdm_node), 0);
	CHECK_EQ(cg_read(group, file, buf, sizeof(buf)), 0);
	snprintf(want, sizeof(want), "default 0\nnode%d 8192\n", cdm_node);
	CHECK_STR(buf, want);

	/* A later default does not change a node's own setting. */
	CHECK_EQ(cdm_write(group, file, "default 1M\n"), 0);
	CHECK_EQ(cdm_bytes(group, file, cdm_node), 8192);
	CHECK_EQ(cdm_write(group, file, "node%d default\n", cdm_node), 0);
	CHECK_EQ(cg_read(group, file, buf, sizeof(buf)), 0);
	CHECK_STR(buf, "default 1048576\n");
}

/* What was read is written to a new group, which then has the same. */
static void check_restores(const char *group, const char *file)
{
	char *fresh = cdm_make_group(group, "fresh"), old[4096], new[4096];

	CHECK_EQ(cg_read(group, file, old, sizeof(old)), 0);
	CHECK_EQ(cdm_write(fresh, file, "%s", old), 0);
	CHECK_EQ(cg_read(fresh, file, new, sizeof(new)), 0);
	CHECK_STR(new, old);
	CHECK_EQ(cg_destroy(fresh), 0);
}

static void test_restore(const char *group)
{
	static const char * const values[][4] = {
		{ "cdm.max", "max", "0", "64M" },
		{ "cdm.low", "0", "max", "1G" },
		{ "cdm.policy", "inherit", "fail", "reclaim,fallback" },
	};
	size_t i, j;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		const char *file = values[i][0];

		check_restores(group, file);
		for (j = 1; j < 4; j++) {
			CHECK_EQ(cdm_write(group, file, "%s", values[i][j]), 0);
			check_restores(group, file);
			CHECK_EQ(cdm_write(group, file, "node%d %s", cdm_node,
					   values[i][j % 3 + 1]), 0);
			check_restores(group, file);
			/* The value that it would have anyway is its own. */
			CHECK_EQ(cdm_write(group, file, "node%d %s", cdm_node,
					   values[i][j]), 0);
			CHECK_EQ(cdm_has_line(group, file, cdm_node), true);
			check_restores(group, file);
			CHECK_EQ(cdm_write(group, file, "node%d default",
					   cdm_node), 0);
			CHECK_EQ(cdm_has_line(group, file, cdm_node), false);
		}
	}
}

static void test_rounding(const char *group, const void *file)
{
	static const struct { long bytes; long pages; } rows[] = {
		{ 1, 0 }, { 4095, 0 }, { 4097, 1 }, { 8191, 1 }, { 12289, 3 },
	};
	size_t i;

	/* The rows are for pages of 4 KiB: scale them to the page size. */
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		long bytes = rows[i].bytes / 4096 * cdm_psize +
			     rows[i].bytes % 4096;

		CHECK_EQ(cdm_write(group, file, "node%d %ld\n", cdm_node,
				   bytes), 0);
		CHECK_EQ(cdm_bytes(group, file, cdm_node),
			 rows[i].pages * cdm_psize);
	}
}

static void test_lines(const char *group, const void *file)
{
	int fd;

	/* All lines in one write; the last one for a key counts. */
	CHECK_EQ(cdm_write(group, file, "default 0\nnode%d 64K\n",
			   cdm_node), 0);
	CHECK_EQ(cdm_bytes(group, file, cdm_node), 64 * KIB);
	CHECK_EQ(cdm_write(group, file,
			   "\n\nnode%d 128K \t\n\n \t\ndefault 4K\n\n",
			   cdm_node), 0);
	CHECK_EQ(cdm_bytes(group, file, cdm_node), 128 * KIB);
	CHECK_EQ(cdm_write(group, file, "node%d 8K\nnode%d 12K\n",
			   cdm_node, cdm_node), 0);
	CHECK_EQ(cdm_bytes(group, file, cdm_node), 12 * KIB);

	/* What was read can be written back as a whole. */
	CHECK_EQ(cdm_write(group, file, "default 4K\nnode%d default",
			   cdm_node), 0);
	CHECK_EQ(cdm_bytes(group, file, cdm_node), 4 * KIB);

	/* One line in each write to the same open file. */
	fd = cg_open(group, file, O_WRONLY);
	CHECK_GE(fd, 0);
	CHECK_EQ(dprintf(fd, "default 16K\n"), 12);
	CHECK_EQ(dprintf(fd, "node%d 20K\n", cdm_node) > 0, true);
	close(fd);
	CHECK_EQ(cdm_bytes(group, file, cdm_node), 20 * KIB);

	/* An empty line changes nothing. */
	CHECK_EQ(cdm_write(group, file, "\n"), 0);
	CHECK_EQ(cdm_bytes(group, file, cdm_node), 20 * KIB);
}

/* %d stands for the number of a CDM node. */
static const struct {
	const char *text;
	int error;
} bad_lines[] = {
	{ "node%d", -EINVAL },
	{ "node%d ", -EINVAL },
	{ "node%d -1", -EINVAL },
	{ "node%d -4096", -EINVAL },
	{ "node%d +4096", -EINVAL },
	{ "node%d 4096 4096", -EINVAL },
	{ "node%d 4096x", -EINVAL },
	{ "node%d 4096KK", -EINVAL },
	{ "node%d 4096KB", -EINVAL },
	{ "node%d 1.5M", -EINVAL },
	{ "node%d M", -EINVAL },
	{ "node%d maximum", -EINVAL },
	{ "node%d MAX", -EINVAL },
	{ "node%d max max", -EINVAL },
	{ "node%d=4096", -EINVAL },
	{ "node%d inherit", -EINVAL },
	{ "node%d default 4096", -EINVAL },
	{ "default", -EINVAL },
	{ "default ", -EINVAL },
	{ "4096 node%d", -EINVAL },
	{ "4096 4096", -EINVAL },
	{ "4096x", -EINVAL },
	{ "maximum", -EINVAL },
	{ "inherit", -EINVAL },
	{ "default default", -EINVAL },
	{ "default -1", -EINVAL },
	{ "default 4096 node%d", -EINVAL },
	{ "node", -EINVAL },
	{ "node 4096", -EINVAL },
	{ "nodeX 4096", -EINVAL },
	{ "node-1 4096", -EINVAL },
	{ "Node%d 4096", -EINVAL },
	{ "node%dx 4096", -EINVAL },
	{ "xnode%d 4096", -EINVAL },
	{ "cdm%d 4096", -EINVAL },
	{ "node0 4096", -ENODEV },
	{ "node0 default", -ENODEV },
	{ "node0 max", -ENODEV },
	{ "node63 4096", -ENODEV },
	{ "node999 4096", -ENODEV },
	{ "node%d 99999999999999999999", -ERANGE },
	{ "node%d 18446744073709551616", -ERANGE },
	{ "node%d 18446744073709551615K", -ERANGE },
	{ "node%d 17592186044416M", -ERANGE },
	{ "node%d 16777216T", -ERANGE },
	{ "node%d 16384P", -ERANGE },
	{ "node%d 16E", -ERANGE },
	{ "18446744073709551616", -ERANGE },
	{ "default 99999999999999999999", -ERANGE },
	{ "default 16777216T", -ERANGE },
};

static void check_kept(const char *group, const char *file, const char *text,
		       const char *before)
{
	char after[4096];

	CHECK_EQ(cg_read(group, file, after, sizeof(after)), 0);
	if (strcmp(after, before))
		cdm_fail(__FILE__, __LINE__, "refused '%s' changed it: '%s'",
			 text, after);
}

/* Fill in the node numbers of @fmt, of which there are two at most. */
static void expand(char *text, size_t len, const char *fmt)
{
	const char *from = fmt;
	size_t pos = 0;

	while (*from && pos < len - 16) {
		if (from[0] == '%' && from[1] == 'd') {
			pos += snprintf(text + pos, len - pos, "%d", cdm_node);
			from += 2;
		} else {
			text[pos++] = *from++;
		}
	}
	text[pos] = '\0';
}

static void check_error(const char *group, const char *file, const char *text,
			int error)
{
	int ret = cdm_write(group, file, "%s", text);

	if (ret != error)
		cdm_fail(__FILE__, __LINE__, "'%s' gives %d, not %d", text,
			 ret, error);
}

static void check_refused(const char *group, const char *file, const char *text,
			  int error, const char *before)
{
	check_error(group, file, text, error);
	check_kept(group, file, text, before);
}

/* A bad line alone, and before or after good ones in the same write. */
static void test_bad_lines(const char *group, const void *file)
{
	char before[4096], text[256], both[512];
	size_t i;

	CHECK_EQ(cdm_write(group, file, "default 1M\nnode%d 2M\n",
			   cdm_node), 0);
	CHECK_EQ(cg_read(group, file, before, sizeof(before)), 0);
	for (i = 0; i < ARRAY_SIZE(bad_lines); i++) {
		expand(text, sizeof(text), bad_lines[i].text);
		check_refused(group, file, text, bad_lines[i].error, before);
		snprintf(both, sizeof(both), "node%d 4096\ndefault 0\n%s\n",
			 cdm_node, text);
		check_refused(group, file, both, bad_lines[i].error, before);
		snprintf(both, sizeof(both), "%s\nnode%d 4096\ndefault 0\n",
			 text, cdm_node);
		check_refused(group, file, both, bad_lines[i].error, before);
	}
}

/* A node number too large for an int is refused, whatever its low bits. */
static void test_huge_node(const char *group, const void *file)
{
	static const char * const names[] = {
		"node99999999999", "node4294967296", "node4294967298",
		"node18446744073709551618",
	};
	char before[4096], after[4096];
	size_t i;
	int ret;

	CHECK_EQ(cg_read(group, file, before, sizeof(before)), 0);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		ret = cdm_write(group, file, "%s 0", names[i]);
		CHECK_EQ(ret, -ENODEV);
		CHECK_EQ(cg_read(group, file, after, sizeof(after)), 0);
		CHECK_STR(after, before);
	}
}

/*
 * cdm.reclaim takes one line for one node. It refuses the bad lines above, and
 * also those that make sense for a limit only.
 */
static void test_reclaim_lines(const char *group)
{
	char text[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_lines); i++) {
		if (strstr(bad_lines[i].text, "default") ||
		    strstr(bad_lines[i].text, "max"))
			continue;
		expand(text, sizeof(text), bad_lines[i].text);
		check_error(group, "cdm.reclaim", text, bad_lines[i].error);
		check_error(cdm_root, "cdm.reclaim", text, bad_lines[i].error);
	}
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		bool none = !sizes[i].bytes;

		snprintf(text, sizeof(text), "node%d %s", cdm_node,
			 sizes[i].text);
		if (sizes[i].bytes == LONG_MAX)
			check_error(group, "cdm.reclaim", text, -EINVAL);
		else
			check_error(group, "cdm.reclaim", text,
				    none ? 0 : -EAGAIN);
	}
	snprintf(text, sizeof(text), "node%d default", cdm_node);
	check_error(group, "cdm.reclaim", text, -EINVAL);
	check_error(group, "cdm.reclaim", "4096", -EINVAL);
	check_error(group, "cdm.reclaim", "max", -EINVAL);
	check_error(group, "cdm.reclaim", "default 4096", -EINVAL);
	check_error(group, "cdm.reclaim", "default 0", -EINVAL);
	/* Less than a page is rounded down to nothing. */
	snprintf(text, sizeof(text), "node%d %ld", cdm_node, cdm_psize - 1);
	check_error(group, "cdm.reclaim", text, 0);
}

static void check_policy(const char *group, const char *line)
{
	char buf[256], want[256];

	snprintf(want, sizeof(want), "%s\n", line);
	CHECK_EQ(cg_read(group, "cdm.policy", buf, sizeof(buf)), 0);
	CHECK_STR(buf, want);
}

static const struct {
	const char *text;
	const char *shown;
	bool inherits;
} words[] = {
	{ "fallback", "fallback", false },
	{ "fail", "fail", false },
	{ "reclaim", "reclaim,fallback", false },
	{ "reclaim,fallback", "reclaim,fallback", false },
	{ "reclaim,fail", "reclaim,fail", false },
	{ "inherit", "inherit", true },
	{ "inherit,fallback", "inherit,fallback", true },
	{ "inherit,fail", "inherit,fail", true },
};

/* The words of cdm.policy, as the default and for a node. */
static void check_words(const char *group, bool root)
{
	char want[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		int error = root && words[i].inherits ? -EINVAL : 0;

		cdm_policy(group, "default fallback");
		CHECK_EQ(cdm_write(group, "cdm.policy", "%s", words[i].text),
			 error);
		snprintf(want, sizeof(want), "default %s",
			 error ? "fallback" : words[i].shown);
		check_policy(group, want);
		cdm_policy(group, "default fail");
		CHECK_EQ(cdm_write(group, "cdm.policy", "default\t%s \t\n",
				   words[i].text), error);
		snprintf(want, sizeof(want), "default %s",
			 error ? "fail" : words[i].shown);
		check_policy(group, want);

		cdm_policy(group, "default fail");
		CHECK_EQ(cdm_write(group, "cdm.policy", "node%d %s", cdm_node,
				   words[i].text), error);
		if (error) {
			check_policy(group, "default fail");
			continue;
		}
		snprintf(want, sizeof(want), "default fail\nnode%d %s",
			 cdm_node, words[i].shown);
		check_policy(group, want);
		CHECK_EQ(cdm_write(group, "cdm.policy", "node%d default",
				   cdm_node), 0);
		check_policy(group, "default fail");
	}
}

static void test_policy_words(const char *group)
{
	static const char * const bad[] = {
		" fail fallback", "Fail", "fallbac", "fallbackk",
		"fail,reclaim", "reclaim, fail", "reclaim fail", "0",
		"fail fail", "default", "max", "inherit,reclaim",
		"default default", "default fail fail", "fail,fallback",
		"fail\nfallbac", "node0 fail\nfail", "fail\nnode%d x",
		"node%d", "node%d ", "node%d reclaim fail",
	};
	char text[256];
	size_t i;

	check_words(group, false);
	check_words(cdm_root, true);
	/* The last line counts. */
	cdm_policy(group, "fail\nreclaim");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		expand(text, sizeof(text), bad[i]);
		check_error(group, "cdm.policy", text,
			    strstr(text, "node0") ? -ENODEV : -EINVAL);
		check_policy(group, "default reclaim,fallback");
	}
}

/* What applies, and what is left, with all that the ancestors say. */
static void test_effective(const char *group)
{
	long capacity = cdm_bytes(cdm_root, "cdm.capacity", cdm_node);
	char *mid, *leaf, word[64];
	struct cdm_task task;

#define EFFECTIVE(of, item)	cdm_item(of, "cdm.effective", cdm_node, item)
#define CHECK_WORD(of, item, want)					\
({									\
	CHECK_EQ(cdm_word(of, "cdm.effective", cdm_node, item, word,	\
			  sizeof(word)), 0);				\
	CHECK_STR(word, want);						\
})
	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	mid = cdm_make_group(group, "mid");
	CHECK_EQ(cdm_enable(mid, "+cdm"), 0);
	leaf = cdm_make_group(mid, "leaf");

	CHECK_EQ(EFFECTIVE(leaf, "max"), capacity);
	CHECK_EQ(EFFECTIVE(leaf, "low"), 0);
	CHECK_LE(EFFECTIVE(leaf, "avail"), capacity);
	CHECK_GT(EFFECTIVE(leaf, "avail"), capacity / 2);
	CHECK_WORD(leaf, "policy", "fallback");
	CHECK_WORD(leaf, "reach", "-");
	CHECK_WORD(cdm_root, "policy", "fallback");
	CHECK_WORD(cdm_root, "reach", "-");

	CHECK_EQ(cdm_limit(group, cdm_node, 300), 0);
	CHECK_EQ(cdm_limit(leaf, cdm_node, 400), 0);
	CHECK_EQ(cdm_protect(group, cdm_node, 50), 0);
	CHECK_EQ(cdm_protect(mid, cdm_node, 80), 0);
	task_start_on(&task, leaf, 100, cdm_node);
	CHECK_EQ(EFFECTIVE(leaf, "max"), 300 * cdm_psize);
	CHECK_EQ(EFFECTIVE(leaf, "avail"), 200 * cdm_psize);
	CHECK_EQ(EFFECTIVE(group, "avail"), 200 * cdm_psize);
	CHECK_EQ(EFFECTIVE(group, "low"), 50 * cdm_psize);
	CHECK_EQ(EFFECTIVE(mid, "low"), 50 * cdm_psize);
	CHECK_EQ(cdm_limit(leaf, cdm_node, 120), 0);
	CHECK_EQ(EFFECTIVE(leaf, "avail"), 20 * cdm_psize);
	CHECK_EQ(EFFECTIVE(mid, "avail"), 200 * cdm_psize);
	CHECK_EQ(cdm_limit(mid, cdm_node, 0), 0);
	CHECK_EQ(EFFECTIVE(leaf, "max"), 0);
	CHECK_EQ(EFFECTIVE(leaf, "avail"), 0);

	cdm_policy(cdm_root, "reclaim");
	CHECK_WORD(leaf, "policy", "reclaim,fallback");
	CHECK_WORD(leaf, "reach", "3");
	CHECK_WORD(cdm_root, "reach", "0");
	cdm_policy(leaf, "inherit,fail");
	CHECK_WORD(leaf, "policy", "reclaim,fail");
	CHECK_WORD(leaf, "reach", "3");
	cdm_policy(mid, "reclaim");
	CHECK_WORD(leaf, "policy", "reclaim,fail");
	CHECK_WORD(leaf, "reach", "1");
	CHECK_WORD(mid, "policy", "reclaim,fallback");
	CHECK_WORD(mid, "reach", "0");
	CHECK_EQ(cdm_write(mid, "cdm.policy", "node%d inherit,fallback",
			   cdm_node), 0);
	cdm_policy(group, "fail");
	CHECK_WORD(leaf, "policy", "fail");
	CHECK_WORD(leaf, "reach", "-");
	CHECK_WORD(mid, "policy", "fallback");
	cdm_policy(leaf, "inherit");
	CHECK_WORD(leaf, "policy", "fallback");
	cdm_policy(leaf, "reclaim,fail");
	CHECK_WORD(leaf, "policy", "reclaim,fail");
	CHECK_WORD(leaf, "reach", "0");
	task_end(&task);
#undef EFFECTIVE
#undef CHECK_WORD
}

static long peak_of(int fd)
{
	char buf[4096] = "", key[32], *pos;

	if (pread(fd, buf, sizeof(buf) - 1, 0) <= 0)
		return CDM_NONE;
	snprintf(key, sizeof(key), "node%d ", cdm_node);
	pos = strstr(buf, key);
	return pos ? strtol(pos + strlen(key), NULL, 10) / cdm_psize : CDM_NONE;
}

/*
 * A write to cdm.peak resets the peak for that open file only. CPUs charge some
 * pages in advance, but never beyond the limit, so limits determine the peaks
 * here.
 */
static void test_peak(const char *group)
{
	struct cdm_task task;
	int reset, other;

	reset = cg_open(group, "cdm.peak", O_RDWR);
	other = cg_open(group, "cdm.peak", O_RDWR);
	CHECK_GE(reset, 0);
	CHECK_GE(other, 0);

	CHECK_EQ(cdm_limit(group, cdm_node, 100), 0);
	task_start_on(&task, group, 100, cdm_node);
	CHECK_EQ(peak_of(reset), 100);
	task_call(&task, op_unmap, 40, 60);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 40), 40);
	CHECK_EQ(peak_of(reset), 100);

	CHECK_EQ(write(reset, "reset\n", 6), 6);
	CHECK_EQ(peak_of(reset), 40);
	CHECK_EQ(peak_of(other), 100);
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_node), 100 * cdm_psize);

	CHECK_EQ(cdm_limit(group, cdm_node, 60), 0);
	CHECK_EQ(task_call(&task, op_map, 20, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 20).dev, 20);
	CHECK_EQ(peak_of(reset), 60);
	CHECK_EQ(peak_of(other), 100);
	CHECK_EQ(write(other, "reset\n", 6), 6);
	CHECK_EQ(peak_of(other), 60);
	task_end(&task);
	CHECK_EQ(peak_of(reset), 60);
	close(reset);
	close(other);
	CHECK_EQ(cdm_bytes(group, "cdm.peak", cdm_node), 100 * cdm_psize);
}

static void test_capacity(const char *group)
{
	int nodes[CDM_MAX_NODES], nr, i;

	(void)group;
	nr = node_list("/sys/devices/system/node/has_coherent_memory", nodes,
		       CDM_MAX_NODES);
	CHECK_GE(nr, 1);
	for (i = 0; i < nr; i++)
		CHECK_EQ(cdm_bytes(cdm_root, "cdm.capacity", nodes[i]),
			 node_meminfo(nodes[i], "MemTotal:") * KIB);
}

/* In each file that is read exactly the CDM nodes with memory have lines. */
static void test_keys(const char *group)
{
	static const char * const keyed[] = {
		"cdm.current", "cdm.peak", "cdm.events", "cdm.events.local",
		"cdm.stat", "cdm.effective",
	};
	int cdm[CDM_MAX_NODES], nr_cdm, node;
	size_t i;

	nr_cdm = node_list("/sys/devices/system/node/has_coherent_memory", cdm,
			   CDM_MAX_NODES);
	for (i = 0; i < ARRAY_SIZE(keyed); i++)
		for (node = 0; node < CDM_MAX_NODES; node++)
			CHECK_EQ(cdm_bytes(group, keyed[i], node) != CDM_NONE,
				 nodes_have(cdm, nr_cdm, node));
}

/* Enabling cdm needs nothing else, and enables memory without its files. */
static void test_depends_on_memory(const char *group)
{
	char *parent = cdm_make_group(group, "parent"), *child, buf[4096];

	CHECK_EQ(cg_read_strstr(cdm_root, "cgroup.controllers", "cdm"), 0);
	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	CHECK_EQ(cg_read(group, "cgroup.subtree_control", buf, sizeof(buf)),
		 0);
	CHECK_STR(buf, "cdm\n");
	CHECK_EQ(cg_read(parent, "cgroup.controllers", buf, sizeof(buf)), 0);
	CHECK_STR(buf, "cdm\n");
	CHECK_EQ(cdm_enable(parent, "+cdm"), 0);
	child = cdm_make_group(parent, "child");
	CHECK_EQ(file_mode(child, "cdm.max"), 0644);
	CHECK_EQ(file_mode(child, "memory.max"), 0);

	/* memory can be enabled as well, and disabled again. */
	CHECK_EQ(cdm_enable(group, "+memory"), 0);
	CHECK_EQ(file_mode(parent, "memory.max"), 0644);
	CHECK_EQ(cdm_enable(group, "-memory"), 0);
	CHECK_EQ(file_mode(parent, "memory.max"), 0);
	CHECK_EQ(cdm_bytes(parent, "cdm.current", cdm_node), 0);

	/* Disabled in the parent, the files are gone. */
	CHECK_EQ(cdm_enable(parent, "-cdm"), 0);
	CHECK_EQ(file_mode(child, "cdm.max"), 0);
}

static void test_node_masks(const char *group)
{
	int nodes[CDM_MAX_NODES], nr;

	(void)group;
	nr = node_list("/sys/devices/system/node/has_memory", nodes,
		       CDM_MAX_NODES);
	CHECK_EQ(nodes_have(nodes, nr, cdm_node), true);
	nr = node_list("/sys/devices/system/node/has_coherent_memory", nodes,
		       CDM_MAX_NODES);
	CHECK_EQ(nodes_have(nodes, nr, cdm_ram_node), false);
	nr = node_list("/sys/devices/system/node/has_cpu", nodes,
		       CDM_MAX_NODES);
	CHECK_EQ(nodes_have(nodes, nr, cdm_node), false);
	nr = node_list("/sys/devices/system/node/has_normal_memory", nodes,
		       CDM_MAX_NODES);
	CHECK_EQ(nodes_have(nodes, nr, cdm_node), false);
}

/* The sum of a meminfo line over the nodes that are CDM, or that are not. */
static long node_sum(const char *key, bool cdm)
{
	int all[CDM_MAX_NODES], dev[CDM_MAX_NODES], nr_all, nr_dev, i;
	long sum = 0;

	nr_all = node_list("/sys/devices/system/node/has_memory", all,
			   CDM_MAX_NODES);
	nr_dev = node_list("/sys/devices/system/node/has_coherent_memory", dev,
			   CDM_MAX_NODES);
	for (i = 0; i < nr_all; i++)
		if (nodes_have(dev, nr_dev, all[i]) == cdm)
			sum += node_meminfo(all[i], key);
	return sum;
}

static long mem_key(const char *key)
{
	return file_key("/proc/meminfo", key);
}

static void test_meminfo(const char *group)
{
	struct cdm_task task;
	long free;

	/* Have the CPUs add their parts to the counters of free pages. */
	file_long("/proc/sys/vm/stat_refresh");
	CHECK_EQ(mem_key("CdmTotal:"), node_sum("MemTotal:", true));
	CHECK_EQ(mem_key("CdmFree:"), node_sum("MemFree:", true));
	CHECK_EQ(mem_key("MemTotal:"), node_sum("MemTotal:", false));
	CHECK_LE(mem_key("MemAvailable:"), mem_key("MemTotal:"));
	/* The device is free. Other tasks may free some RAM meanwhile. */
	CHECK_LE(mem_key("MemFree:"), node_sum("MemFree:", false) +
		 mem_key("CdmFree:") / 4);

	/* The pages of a task are missing from CdmFree. */
	free = mem_key("CdmFree:");
	task_start_on(&task, group, 4096, cdm_node);
	file_long("/proc/sys/vm/stat_refresh");
	CHECK_GE(free - mem_key("CdmFree:"), 4096 * cdm_psize / KIB);
	/* So are those on the free lists of CPUs. */
	CHECK_LT(free - mem_key("CdmFree:"), (4096 + 1024) * cdm_psize / KIB);
	task_end(&task);
}

/* The commit limit is made up of RAM and swap only. */
static void test_commit_limit(const char *group)
{
	long kb = cdm_psize / KIB;
	long ratio = file_long("/proc/sys/vm/overcommit_ratio");
	long huge = mem_key("Hugetlb:") / kb;
	long pages = mem_key("MemTotal:") / kb - huge;

	(void)group;
	CHECK_EQ(mem_key("CommitLimit:"),
		 (pages * ratio / 100 + mem_key("SwapTotal:") / kb) * kb);
}

/* The gap of the watermarks is by the node's size, not by min_free_kbytes. */
static void test_reserve(const char *group)
{
	static const char free_kb[] = "/proc/sys/vm/min_free_kbytes";
	long scale = file_long("/proc/sys/vm/watermark_scale_factor");
	long kb = file_long(free_kb);

	(void)group;
	CHECK_EQ(file_write(free_kb, "%d", 32 * 1024), 0);
	CHECK_EQ(cdm_zone_mark("low") - cdm_zone_mark("min"),
		 cdm_zone_mark("managed") * scale / 10000);
	CHECK_EQ(file_write(free_kb, "%ld", kb), 0);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*test)(const char *group, const void *file);
	} cases[] = {
		{ "takes sizes with suffixes", test_sizes },
		{ "default applies to nodes without a line", test_default },
		{ "is rounded down to pages", test_rounding },
		{ "takes many lines in one write, or one in each", test_lines },
		{ "refuses bad lines and changes nothing", test_bad_lines },
		{ "refuses node numbers that are too large", test_huge_node },
	};
	static const char * const files[] = { "cdm.max", "cdm.low" };
	char name[128];
	size_t i, j;

	cdm_init(14 + ARRAY_SIZE(cases) * ARRAY_SIZE(files));
	cdm_case("files are there with their modes", test_files);
	cdm_case("a new group has no limit, promise, usage or event",
		 test_defaults);
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		for (j = 0; j < ARRAY_SIZE(cases); j++) {
			snprintf(name, sizeof(name), "%s %s", files[i],
				 cases[j].name);
			cdm_case_arg(name, cases[j].test, files[i]);
		}
	}
	cdm_case("what is read restores a new group to the same", test_restore);
	cdm_case("cdm.reclaim refuses bad lines", test_reclaim_lines);
	cdm_case("cdm.policy takes its words and no other", test_policy_words);
	cdm_case("cdm.effective is what applies", test_effective);
	cdm_case("cdm.peak is reset for one open file", test_peak);
	cdm_case("cdm.capacity is the nodes' MemTotal", test_capacity);
	cdm_case("keyed files have the CDM nodes with memory", test_keys);
	cdm_case("enabling cdm brings memory along", test_depends_on_memory);
	cdm_case("node masks in sysfs know the CDM nodes", test_node_masks);
	cdm_case("meminfo counts CDM apart from RAM", test_meminfo);
	cdm_case("the commit limit leaves CDM out", test_commit_limit);
	cdm_case("a small reserve", test_reserve);
	cdm_exit();
}
