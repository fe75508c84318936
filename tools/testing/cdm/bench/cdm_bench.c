// SPDX-License-Identifier: GPL-2.0
/*
 * The page allocator without a page fault around it, for make bench: see
 * cdm_bench.h. Works on a kernel without cdm as well.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>

#include "cdm_bench.h"
#include "mark.h"

/**
 * struct bench_file - an open /proc/cdm_bench
 * @lock: one command at a time
 * @page: allocated, or NULL where that failed
 * @room: entries of @page
 * @nr: entries in use
 * @order: of all of them
 * @result: of the last command
 * @nr_samples: entries of @sample in use
 * @sample: ticks of the time stamp counter, by operation
 */
struct bench_file {
	struct mutex lock;	/* protects the rest */
	struct page **page;
	unsigned long room;
	unsigned long nr;
	unsigned int order;
	struct bench_result result;
	unsigned int nr_samples;
	u64 sample[BENCH_SAMPLES];
};

static gfp_t bench_gfp(const struct bench_cmd *cmd)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE;

	if (cmd->flags & BENCH_ACCOUNT)
		gfp = GFP_KERNEL_ACCOUNT;
	else if (cmd->flags & BENCH_KERNEL)
		gfp = GFP_KERNEL;
	else if (cmd->order)
		gfp = GFP_TRANSHUGE_LIGHT;
	if (cmd->flags & BENCH_THISNODE)
		gfp |= __GFP_THISNODE;
	if (cmd->flags & BENCH_NOWAIT)
		gfp &= ~__GFP_RECLAIM;
	return gfp | __GFP_NOWARN;
}

static unsigned long bench_bulk(struct page **page, gfp_t gfp, int node)
{
	unsigned long got, last = 0;

	for (;;) {
		got = alloc_pages_bulk_noprof(gfp, node, NULL, BENCH_BATCH,
					      NULL, page);
		if (got == BENCH_BATCH || got == last)
			return got;
		last = got;
	}
}

static void bench_one(struct bench_file *b, const struct bench_cmd *cmd,
		      gfp_t gfp)
{
	switch (cmd->op) {
	case BENCH_ALLOC:
		b->page[b->nr++] = alloc_pages_node(cmd->node, gfp, cmd->order);
		break;
	case BENCH_BULK:
		bench_bulk(b->page + b->nr, gfp, cmd->node);
		b->nr += BENCH_BATCH;
		break;
	case BENCH_FREE:
		b->nr--;
		if (b->page[b->nr])
			__free_pages(b->page[b->nr], b->order);
		b->page[b->nr] = NULL;
		break;
	}
}

static void bench_loop(struct bench_file *b, const struct bench_cmd *cmd,
		       unsigned long ops)
{
	gfp_t gfp = bench_gfp(cmd);
	u64 before, after;
	unsigned long i;

	if (cmd->flags & BENCH_WINDOW)
		mark(MARK_BEGIN);
	else if (cmd->flags & BENCH_MORE)
		mark(MARK_RESUME);
	if (cmd->flags & BENCH_SAMPLE) {
		before = rdtsc_ordered();
		for (i = 0; i < ops; i++) {
			bench_one(b, cmd, gfp);
			after = rdtsc_ordered();
			b->sample[i] = after - before;
			before = after;
		}
		b->nr_samples = ops;
	} else {
		for (i = 0; i < ops; i++)
			bench_one(b, cmd, gfp);
		b->nr_samples = 0;
	}
	if (cmd->flags & (BENCH_WINDOW | BENCH_MORE))
		mark(MARK_END);
}

static int bench_room(struct bench_file *b, unsigned long nr)
{
	if (b->page)
		return -EBUSY;
	b->page = vcalloc(nr, sizeof(*b->page));
	if (!b->page)
		return -ENOMEM;
	b->room = nr;
	return 0;
}

static int bench_do(struct bench_file *b, const struct bench_cmd *cmd)
{
	unsigned long ops = cmd->nr, first = b->nr, i;

	switch (cmd->op) {
	case BENCH_ROOM:
		return bench_room(b, cmd->nr);
	case BENCH_NOP:
		break;
	case BENCH_BULK:
		ops /= BENCH_BATCH;
		fallthrough;
	case BENCH_ALLOC:
		if (cmd->node < 0 || cmd->node >= MAX_NUMNODES ||
		    !node_online(cmd->node) || cmd->nr > b->room - b->nr ||
		    cmd->order > MAX_PAGE_ORDER)
			return -EINVAL;
		if (b->nr && cmd->order != b->order)
			return -EBUSY;
		b->order = cmd->order;
		break;
	case BENCH_FREE:
		if (cmd->nr > b->nr)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if ((cmd->flags & BENCH_SAMPLE) && ops > BENCH_SAMPLES)
		return -EINVAL;

	bench_loop(b, cmd, ops);
	b->result = (struct bench_result){ .done = cmd->nr };
	for (i = first; i < b->nr; i++) {
		if (!b->page[i])
			b->result.done--;
		else if (page_to_nid(b->page[i]) != cmd->node)
			b->result.elsewhere++;
	}
	return 0;
}

static ssize_t bench_write(struct file *file, const char __user *buf,
			   size_t len, loff_t *pos)
{
	struct bench_file *b = file->private_data;
	struct bench_cmd cmd;
	int ret;

	if (len != sizeof(cmd) || copy_from_user(&cmd, buf, len))
		return -EINVAL;
	mutex_lock(&b->lock);
	ret = bench_do(b, &cmd);
	mutex_unlock(&b->lock);
	return ret ?: len;
}

static ssize_t bench_read(struct file *file, char __user *buf, size_t len,
			  loff_t *pos)
{
	struct bench_file *b = file->private_data;
	size_t bytes;
	int ret = 0;

	mutex_lock(&b->lock);
	bytes = b->nr_samples * sizeof(*b->sample);
	if (len < sizeof(b->result) + bytes ||
	    copy_to_user(buf, &b->result, sizeof(b->result)) ||
	    copy_to_user(buf + sizeof(b->result), b->sample, bytes))
		ret = -EINVAL;
	mutex_unlock(&b->lock);
	return ret ?: sizeof(b->result) + bytes;
}

static int bench_open(struct inode *inode, struct file *file)
{
	struct bench_file *b = vzalloc(sizeof(*b));

	if (!b)
		return -ENOMEM;
	mutex_init(&b->lock);
	file->private_data = b;
	return 0;
}

static int bench_release(struct inode *inode, struct file *file)
{
	struct bench_file *b = file->private_data;

	while (b->nr--)
		if (b->page[b->nr])
			__free_pages(b->page[b->nr], b->order);
	vfree(b->page);
	vfree(b);
	return 0;
}

static const struct proc_ops bench_ops = {
	.proc_open	= bench_open,
	.proc_read	= bench_read,
	.proc_write	= bench_write,
	.proc_release	= bench_release,
};

static int __init bench_init(void)
{
	return proc_create("cdm_bench", 0600, NULL, &bench_ops) ? 0 : -ENOMEM;
}

static void __exit bench_exit(void)
{
	remove_proc_entry("cdm_bench", NULL);
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("Cost of allocating and freeing pages");
MODULE_LICENSE("GPL");
