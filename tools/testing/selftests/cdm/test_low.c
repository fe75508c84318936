// SPDX-License-Identifier: GPL-2.0
/*
 * cdm.low: a group gets the pages that are protected for it, even if others
 * were there first, and keeps them, whichever group asks for them and why; how
 * much is protected down the tree; and when protection is broken because there
 * is nothing else left. All with both implementations of the LRU, on a node of
 * 128 MiB of which most cases leave little free.
 */

#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdm_util.h"

/*
 * Reclaim takes this many pages off the LRU lists at a time, so it may demote
 * as many too many. A request makes room for as many, which adds up to less
 * than two batches. A group is not reclaimed from for less than a batch above
 * its protection.
 */
#define BATCH		64

/* Free pages on the lists of CPUs, which the watermarks do not count. */
#define UNSEEN		(6 * BATCH)

/* A limit that is soon reached, and a part of it. */
#define ROOM		1024
#define SHARE		(5 * BATCH)

/* Pages of the node that are left for cases that deplete it. */
#define SMALL_NODE	2560

/* Less than a batch beyond its protection is left of @group. */
static void check_share(const char *group, long low)
{
	long pages = cdm_usage(group, cdm_node);

	CHECK_GE(pages, low);
	CHECK_LT(pages, low + BATCH);
}

/* @task has all its pages in @group, and no protection was broken. */
static void check_kept(struct cdm_task *task, const char *group, long pages)
{
	CHECK_EQ(cdm_wait_usage(group, cdm_node, pages), pages);
	CHECK_EQ(cdm_stat(group, "demoted"), 0);
	CHECK_EQ(cdm_event(group, "low"), 0);
	task_check_at(task, pages, pages, 0);
}

/*
 * Limit the case's group. Its own protection does not matter for the groups
 * below when it is reclaimed from itself, but keeps others and kswapd out.
 */
static void start_limit(const char *group, long pages)
{
	CHECK_EQ(cdm_limit(group, cdm_node, pages), 0);
	CHECK_EQ(cdm_protect(group, cdm_node, -1), 0);
}

/* Ask for more pages than there are, so that colder ones make room. */
static void press(struct cdm_task *task, const char *group, long pages)
{
	cdm_compete(group, "reclaim");
	/* Reclaim does not find pages in the batches of CPUs. */
	cdm_drain_lru();
	CHECK_EQ(task_call(task, op_map, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(task, op_write, 0, pages).bus, 0);
	CHECK_EQ(task_call(task, op_unmap, 0, pages).ret, 0);
	cdm_drain_lru();
}

/*
 * Two groups share the room below their parent's limit, or on the node. The
 * greedy one has all of it; the tenant may be protected.
 */
struct scene {
	bool depleted;
	long room;
	char *top;
	char *greedy;
	char *tenant;
	char *outside;		/* not below the limit */
	struct cdm_task has;	/* in greedy, outside and tenant */
	struct cdm_task stays;
	struct cdm_task asks;
};

/* On a depleted node protection is limited by that of the parents. */
static void scene_groups(struct scene *scene, const char *group, bool depleted)
{
	scene->depleted = depleted;
	CHECK_EQ(cdm_set_recursive_low(false), 0);
	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	scene->top = cdm_make_group(group, "top");
	scene->outside = cdm_make_group(group, "outside");
	CHECK_EQ(cdm_protect(group, cdm_node, -1), 0);
	CHECK_EQ(cdm_protect(scene->top, cdm_node, -1), 0);
	cdm_make_two_groups(scene->top, &scene->greedy, &scene->tenant);
	if (!depleted) {
		CHECK_EQ(cdm_limit(scene->top, cdm_node, ROOM), 0);
		task_start_on(&scene->stays, scene->outside, 100, cdm_node);
	}
	task_start(&scene->has, scene->greedy);
	task_start(&scene->asks, scene->tenant);
}

/* Have the greedy one take all that is free. */
static void scene_fill_by(struct scene *scene, cdm_op map)
{
	long room = scene->depleted ? cdm_nr_free() :
		ROOM - cdm_usage(scene->top, cdm_node);
	long left = 0;

	if (scene->depleted)
		left = cdm_zone_mark("high") + UNSEEN + room / 25;
	CHECK_EQ(cdm_write(scene->greedy, "cdm.policy", "fallback"), 0);
	CHECK_EQ(task_call(&scene->has, map, room + 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&scene->has, op_write, 0, room + 100).bus, 0);
	scene->room = cdm_usage(scene->greedy, cdm_node);
	CHECK_LE(scene->room, room);
	CHECK_GE(scene->room, room - left);
	cdm_drain_lru();
}

static void scene_fill(struct scene *scene)
{
	scene_fill_by(scene, op_map);
}

/* Have it take again what it has lost meanwhile. */
static void scene_refill(struct scene *scene)
{
	task_call(&scene->has, op_move, scene->room + 100, cdm_node);
	cdm_drain_lru();
}

static void scene_end(struct scene *scene)
{
	if (!scene->depleted) {
		check_kept(&scene->stays, scene->outside, 100);
		task_end(&scene->stays);
	}
	task_end(&scene->has);
	task_end(&scene->asks);
}

/*
 * The ways to get a page on the device. Each gets @pages of them, and counts
 * them by where they are.
 */

static struct cdm_reply take_fault(struct cdm_buf *buf, long pages, long node)
{
	if (buf_map(buf, pages, node, false))
		return buf_errno(-1);
	return op_touch(buf, 0, pages);
}

static struct cdm_reply take_huge(struct cdm_buf *buf, long pages, long node)
{
	if (buf_map(buf, pages, node, true))
		return buf_errno(-1);
	return op_touch(buf, 0, pages);
}

static struct cdm_reply take_preferred(struct cdm_buf *buf, long pages,
				       long node)
{
	if (buf_map(buf, pages, -1, false) ||
	    sys_mbind(buf->addr, pages * cdm_psize, MPOL_PREFERRED, node, 0))
		return buf_errno(-1);
	return op_touch(buf, 0, pages);
}

static struct cdm_reply take_task_policy(struct cdm_buf *buf, long pages,
					 long node)
{
	/* The policy must not apply to what else the task writes to. */
	if (take_fault(buf, 1, -1).ret || buf_map(buf, pages, -1, false) ||
	    sys_set_mempolicy(MPOL_BIND, 1UL << node))
		return buf_errno(-1);
	buf_touch(buf, 0, pages);
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	return buf_count(buf, 0, pages);
}

static struct cdm_reply take_move(struct cdm_buf *buf, long pages, long node)
{
	take_fault(buf, pages, -1);
	op_move(buf, pages, node);
	return buf_count(buf, 0, pages);
}

static struct cdm_reply take_mbind(struct cdm_buf *buf, long pages, long node)
{
	take_fault(buf, pages, -1);
	op_bind(buf, node, MPOL_MF_MOVE);
	return buf_count(buf, 0, pages);
}

static struct cdm_reply take_shared(struct cdm_buf *buf, long pages, long node)
{
	if (op_map_memfd(buf, pages, node).ret)
		return buf_errno(-1);
	return op_touch(buf, 0, pages);
}

/* Unmap the whole buffer, and close its file. */
static struct cdm_reply op_give_back(struct cdm_buf *buf, long a, long b)
{
	(void)a;
	(void)b;
	if (buf->fd >= 0)
		close(buf->fd);
	buf->fd = -1;
	return op_unmap(buf, 0, buf->pages);
}

static const struct way {
	const char *name;
	cdm_op take;
	bool huge;
	enum { ALWAYS, AT_LIMIT, FALLBACK } when;
} ways[] = {
	{ "fault", take_fault, false, ALWAYS },
	{ "huge fault", take_huge, true, ALWAYS },
	{ "move_pages", take_move, false, ALWAYS },
	{ "preferred", take_preferred, false, AT_LIMIT },
	{ "mbind", take_mbind, false, AT_LIMIT },
	{ "task policy", take_task_policy, false, FALLBACK },
	{ "shared memory", take_shared, false, FALLBACK },
};

struct entitled {
	const char *policy;
	bool depleted;
};

/*
 * The tenant gets what is protected for it, and the greedy one loses no more.
 */
static void take(struct scene *scene, const struct way *way, long by_kswapd)
{
	long pages = way->huge ? cdm_hpages : SHARE;
	long spare = (way->huge ? cdm_hpages : 2 * BATCH) + by_kswapd;
	long lost = cdm_stat(scene->greedy, "demoted");
	long asked = cdm_event_local(scene->tenant, "reclaim");
	struct cdm_reply reply;

	CHECK_EQ(cdm_protect(scene->tenant, cdm_node, pages), 0);
	reply = task_call(&scene->asks, way->take, pages, cdm_node);
	lost = cdm_stat(scene->greedy, "demoted") - lost;
	if (reply.dev != pages || reply.bad)
		cdm_fail(__FILE__, __LINE__, "%s: %ld of %ld pages, %ld bad",
			 way->name, reply.dev, pages, reply.bad);
	if (lost > pages + pages / 20 + spare)
		cdm_fail(__FILE__, __LINE__,
			 "%s: %ld demoted for %ld pages, %ld free", way->name,
			 lost, pages, cdm_nr_free());
	CHECK_EQ(cdm_usage(scene->tenant, cdm_node), reply.dev);
	CHECK_EQ(cdm_stat(scene->tenant, "demoted"), 0);
	if (!scene->depleted)
		CHECK_GT(cdm_event_local(scene->tenant, "reclaim"), asked);
}

/* The policy decides on pages beyond the protection. */
static void check_beyond(struct scene *scene, const char *policy,
			 long by_kswapd)
{
	const long more = 4 * BATCH;
	long fallback = cdm_event_local(scene->tenant, "fallback");
	long fail = cdm_event_local(scene->tenant, "fail");
	struct cdm_reply reply;

	CHECK_EQ(task_call(&scene->asks, op_map, more, cdm_node).ret, 0);
	reply = task_call(&scene->asks, op_touch, 0, more);
	if (!strcmp(policy, "fallback")) {
		CHECK_LT(reply.dev, 2 * BATCH + by_kswapd);
		CHECK_EQ(reply.ram, more - reply.dev);
		CHECK_EQ(reply.bus, 0);
	} else if (!strcmp(policy, "fail")) {
		CHECK_LT(reply.dev, 2 * BATCH + by_kswapd);
		CHECK_EQ(reply.ram, 0);
		CHECK_EQ(reply.bus, more - reply.dev);
	} else {
		CHECK_EQ(reply.bus, 0);
		CHECK_EQ(cdm_event_local(scene->tenant, "fallback"), fallback);
		CHECK_EQ(cdm_event_local(scene->tenant, "fail"), fail);
	}
	CHECK_GE(cdm_usage(scene->tenant, cdm_node), SHARE);
	CHECK_EQ(task_call(&scene->asks, op_unmap, 0, more).ret, 0);
}

/* The tenant asks with @policy. Those who may make way are all that can. */
static void scene_policy(struct scene *scene, const char *policy)
{
	if (strstr(policy, "reclaim"))
		cdm_compete(scene->tenant, policy);
	else
		cdm_policy(scene->tenant, policy);
}

static void test_entitled(const char *group, const void *arg)
{
	const struct entitled *row = arg;
	struct scene scene;
	long by_kswapd = 0;
	size_t i;

	scene_groups(&scene, group, row->depleted);
	scene_fill(&scene);
	scene_policy(&scene, row->policy);
	if (row->depleted)
		by_kswapd = cdm_zone_mark("high") + UNSEEN;
	for (i = ARRAY_SIZE(ways); i--;) {
		if (ways[i].when == AT_LIMIT && row->depleted)
			continue;
		if (ways[i].when == FALLBACK && strcmp(row->policy, "fallback"))
			continue;
		take(&scene, &ways[i], by_kswapd);
		if (!i)
			break;
		CHECK_EQ(task_call(&scene.asks, op_give_back, 0, 0).ret, 0);
		CHECK_EQ(cdm_wait_usage(scene.tenant, cdm_node, 0), 0);
		scene_refill(&scene);
	}
	check_beyond(&scene, row->policy, by_kswapd);
	scene_end(&scene);
}

/*
 * The tree of the kernel's own tests of memory.low, and some more like it:
 *
 *	group	limit LIMIT
 *	  b	protected
 *	    leaves
 *	  g	asks until only its own pages are not protected
 *
 * Numbers are in units of UNIT pages.
 */
#define UNIT		10
#define LIMIT		160
#define LEAVES		4

struct leaf {
	long low;
	long pages;
	bool pinned;
	long min;		/* left at least */
};

struct tree {
	const char *name;
	bool recursive;
	long low;		/* of b */
	long min;		/* left in all leaves, at least */
	struct leaf leaves[LEAVES];
};

/*
 * When the children claim more than the parent has, their claims are scaled by
 * usage. Any split of the parent's protection in which no child has more than
 * it claims is a fixed point of that, so the result depends on the order in
 * which the children are reclaimed from. Pinned pages cannot be reclaimed, and
 * leave only one fixed point. The same goes for the rest of the parent's
 * protection with memory_recursiveprot.
 */
static const struct tree trees[] = {
	{ "the tree of test_memcg_low", false, 50, 50, {
		{ 75, 50, false, 25 },
		{ 25, 50, false, 16 },
		{ 0, 50, false, 0 },
		{ 500, 0, false, 0 } } },
	{ "the tree of test_memcg_low", true, 50, 50, {
		{ 75, 50, false, 25 },
		{ 25, 50, false, 16 },
		{ 0, 50, false, 0 },
		{ 500, 0, false, 0 } } },
	{ "claims below the parent's", false, 50, 35, {
		{ 20, 50, false, 20 },
		{ 15, 50, false, 15 },
		{ 0, 50, false, 0 } } },
	{ "claims below the parent's", true, 50, 50, {
		{ 20, 50, false, 20 },
		{ 15, 50, false, 15 },
		{ 0, 50, false, 0 } } },
	{ "claims alike above the parent's", false, 40, 40, {
		{ 30, 50, false, 10 },
		{ 30, 50, false, 10 } } },
	{ "a claim beside a pinned one, both too high", false, 50, 55, {
		{ 75, 50, false, 25 },
		{ 25, 30, true, 30 } } },
	{ "a claim beside a small pinned one", false, 50, 50, {
		{ 75, 80, false, 40 },
		{ 10, 10, true, 10 } } },
	{ "no claims beside pinned pages", false, 50, 30, {
		{ 0, 80, false, 0 },
		{ 0, 30, true, 30 } } },
	{ "no claims beside pinned pages", true, 50, 50, {
		{ 0, 80, false, 20 },
		{ 0, 30, true, 30 } } },
	{ "small claims beside pinned pages", true, 50, 50, {
		{ 10, 80, false, 20 },
		{ 10, 30, true, 30 } } },
	{ "a parent that claims less than its child", false, 20, 20, {
		{ 60, 80, false, 20 } } },
	{ "a parent without a claim", false, 0, 0, {
		{ 60, 80, false, 0 } } },
};

/* The protected pages of each leaf, by the usage of all leaves. */
static void tree_shares(const struct tree *tree, const long *pages, long *share)
{
	long all = 0, claims = 0, parent = tree->low * UNIT, rest;
	size_t i;

	for (i = 0; i < LEAVES; i++) {
		share[i] = pages[i];
		if (share[i] > tree->leaves[i].low * UNIT)
			share[i] = tree->leaves[i].low * UNIT;
		claims += share[i];
		all += pages[i];
	}
	rest = tree->recursive && all > claims ? parent - claims : 0;
	for (i = 0; i < LEAVES; i++) {
		if (claims > parent)
			share[i] = share[i] * parent / claims;
		else if (rest > 0)
			share[i] += rest * (pages[i] - share[i]) /
				    (all - claims);
	}
}

static char *tree_leaf(const char *b, size_t nr)
{
	char name[8];

	snprintf(name, sizeof(name), "leaf%zu", nr);
	return cdm_make_group(b, name);
}

static void tree_plant(const struct tree *tree, const char *b, char **leaves,
		       struct cdm_task *tasks)
{
	size_t i;

	for (i = 0; i < LEAVES; i++) {
		const struct leaf *leaf = &tree->leaves[i];
		long pages = leaf->pages * UNIT;

		leaves[i] = tree_leaf(b, i);
		CHECK_EQ(cdm_protect(leaves[i], cdm_node, leaf->low * UNIT), 0);
		task_start_on(&tasks[i], leaves[i], pages, cdm_node);
		if (leaf->pinned)
			CHECK_EQ(task_call(&tasks[i], op_pin, 0, pages).ret,
				 pages);
	}
}

/* Each leaf has what it should, and less than a batch more. */
static void tree_check(const struct tree *tree, const char *b, char **leaves)
{
	long pages[LEAVES], share[LEAVES];
	size_t i;

	for (i = 0; i < LEAVES; i++)
		pages[i] = cdm_usage(leaves[i], cdm_node);
	tree_shares(tree, pages, share);
	for (i = 0; i < LEAVES; i++) {
		const struct leaf *leaf = &tree->leaves[i];
		/* Small rests are hardly scanned while others have more. */
		long max = share[i] ? share[i] + BATCH - 1 : 2 * BATCH;

		CHECK_EQ(cdm_event(leaves[i], "low"), 0);
		if (leaf->pinned)
			max = leaf->pages * UNIT;
		if (pages[i] < leaf->min * UNIT || pages[i] > max)
			cdm_fail(__FILE__, __LINE__,
				 "leaf %zu has %ld pages, not %ld to %ld", i,
				 pages[i], leaf->min * UNIT, max);
	}
	CHECK_GE(cdm_usage(b, cdm_node), tree->min * UNIT);
}

static void test_tree(const char *group, const void *arg)
{
	const struct tree *tree = arg;
	struct cdm_task tasks[LEAVES], asks;
	char *b, *g, *leaves[LEAVES];
	size_t i;

	CHECK_EQ(cdm_set_recursive_low(tree->recursive), 0);
	cdm_make_two_groups(group, &b, &g);
	CHECK_EQ(cdm_enable(b, "+cdm"), 0);
	start_limit(group, LIMIT * UNIT);
	CHECK_EQ(cdm_protect(b, cdm_node, tree->low * UNIT), 0);
	tree_plant(tree, b, leaves, tasks);

	task_start(&asks, g);
	press(&asks, g, LIMIT * UNIT * 3 / 2);
	tree_check(tree, b, leaves);
	for (i = 0; i < LEAVES; i++)
		task_end(&tasks[i]);
	task_end(&asks);
}

/*
 * cdm.reclaim of the group itself: its own protection does not count, and is
 * not broken.
 */
static void test_own_reclaim(const char *group)
{
	struct scene scene;
	long left;

	scene_groups(&scene, group, false);
	scene_fill(&scene);
	CHECK_EQ(cdm_protect(scene.greedy, cdm_node, -1), 0);
	CHECK_EQ(cdm_reclaim(scene.greedy, cdm_node, ROOM / 2), 0);
	left = cdm_usage(scene.greedy, cdm_node);
	CHECK_LE(left, ROOM / 2);
	CHECK_GT(left, ROOM / 2 - BATCH);
	CHECK_EQ(cdm_limit(scene.greedy, cdm_node, ROOM / 4), 0);
	left = cdm_usage(scene.greedy, cdm_node);
	CHECK_LE(left, ROOM / 4);
	CHECK_GT(left, ROOM / 4 - BATCH);
	CHECK_EQ(cdm_event(group, "low"), 0);
	scene_end(&scene);
}

/* Groups are left what is protected to the page, and nothing above it. */
static void test_excess(const char *group)
{
	static const long excess[] = { 0, 1, BATCH - 1, BATCH, BATCH + 1, 200 };
	struct cdm_task tasks[ARRAY_SIZE(excess)], asks;
	char name[16], *child[ARRAY_SIZE(excess)], *other;
	size_t i;

	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	start_limit(group, ROOM);
	other = cdm_make_group(group, "other");
	for (i = 0; i < ARRAY_SIZE(excess); i++) {
		snprintf(name, sizeof(name), "excess%ld", excess[i]);
		child[i] = cdm_make_group(group, name);
		CHECK_EQ(cdm_protect(child[i], cdm_node, 50), 0);
		task_start_on(&tasks[i], child[i], 50 + excess[i], cdm_node);
	}
	task_start(&asks, other);
	press(&asks, other, 2 * ROOM);
	for (i = 0; i < ARRAY_SIZE(excess); i++) {
		if (!excess[i])
			check_kept(&tasks[i], child[i], 50);
		else
			CHECK_EQ(cdm_usage(child[i], cdm_node), 50);
		CHECK_EQ(cdm_event(child[i], "low"), 0);
		task_end(&tasks[i]);
	}
	task_end(&asks);
}

/* A huge page of which a part is protected stays. */
static void test_huge(const char *group)
{
	const long pages = 3 * cdm_hpages, low = 3 * cdm_hpages / 2;
	struct cdm_task task, asks;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	start_limit(group, pages + ROOM / 2);
	CHECK_EQ(cdm_protect(a, cdm_node, low), 0);
	task_start(&task, a);
	CHECK_EQ(task_call(&task, op_map_huge, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, pages).dev, pages);
	CHECK_EQ(task_call(&task, op_huge_mapped, 0, 0).ret, pages);
	task_start(&asks, b);
	press(&asks, b, 2 * (pages + ROOM / 2));
	CHECK_EQ(cdm_usage(a, cdm_node), 2 * cdm_hpages);
	CHECK_EQ(cdm_event(a, "low"), 0);
	task_check_at(&task, pages, 2 * cdm_hpages, cdm_hpages);
	CHECK_EQ(task_call(&task, op_huge_mapped, 0, 0).ret, pages);
	task_end(&task);
	task_end(&asks);
}

/*
 * Requests for the pages of others
 */

/* A tenant with all its protected pages; a neighbour has the other room. */
static void scene_tenant(struct scene *scene, const char *group, bool depleted,
			 long pages)
{
	scene_groups(scene, group, depleted);
	CHECK_EQ(cdm_protect(scene->tenant, cdm_node, pages), 0);
	CHECK_EQ(task_ask(&scene->asks, pages).dev, pages);
	scene_fill(scene);
}

static void test_neighbour(const char *group, const void *depleted)
{
	struct scene scene;
	long kswapd, fallback;

	scene_tenant(&scene, group, depleted, ROOM / 2);
	fallback = cdm_event(scene.greedy, "fallback");
	kswapd = vm_event("pgdemote_kswapd");
	press(&scene.has, scene.greedy, 2 * scene.room);
	check_kept(&scene.asks, scene.tenant, ROOM / 2);
	/* The neighbour paid for all of it. */
	CHECK_EQ(cdm_event(scene.greedy, "fallback"), fallback);
	CHECK_GE(cdm_stat(scene.greedy, "demoted"), scene.room);
	if (depleted)
		CHECK_GT(vm_event("pgdemote_kswapd"), kswapd);
	scene_end(&scene);
}

/* Reclaim of the parent takes protected pages only after all others. */
static void test_ancestor(const char *group, const void *max)
{
	const long pages = ROOM / 2;
	struct scene scene;

	scene_tenant(&scene, group, false, pages);
	if (max)
		CHECK_EQ(cdm_limit(scene.top, cdm_node, pages), 0);
	else
		CHECK_EQ(cdm_reclaim(scene.top, cdm_node, ROOM - pages), 0);
	CHECK_EQ(cdm_usage(scene.greedy, cdm_node), 0);
	check_kept(&scene.asks, scene.tenant, pages);

	/* Then they go, which is an event. */
	if (max)
		CHECK_EQ(cdm_limit(scene.top, cdm_node, pages - 100), 0);
	else
		CHECK_EQ(cdm_reclaim(scene.top, cdm_node, 100), 0);
	CHECK_LE(cdm_usage(scene.tenant, cdm_node), pages - 100);
	CHECK_GT(cdm_usage(scene.tenant, cdm_node), pages - 100 - BATCH);
	CHECK_GE(cdm_event_local(scene.tenant, "low"), 1);
	CHECK_EQ(cdm_event(scene.tenant, "low"),
		 cdm_event_local(scene.tenant, "low"));
	CHECK_EQ(cdm_event(scene.top, "low"),
		 cdm_event_local(scene.tenant, "low"));
	CHECK_EQ(cdm_event(group, "low"),
		 cdm_event_local(scene.tenant, "low"));
	CHECK_EQ(cdm_event_local(scene.top, "low"), 0);
	CHECK_EQ(cdm_event(scene.greedy, "low"), 0);
	scene_end(&scene);
}

/* The pages that are mapped, on the device or in RAM. */
static long count_present(struct cdm_task *task, long pages)
{
	struct cdm_reply reply = task_call(task, op_count, 0, pages);

	return reply.dev + reply.ram;
}

/*
 * All the room is protected for the group that has it. Another group gets what
 * its policy says, and breaks the protection under no policy: if pages make way
 * they are its own.
 */
static void test_kept(const char *group, const void *arg)
{
	const struct entitled *row = arg;
	bool fails = strstr(row->policy, "fail");
	const long more = BATCH - 10;
	struct cdm_reply reply;
	struct scene scene;

	scene_groups(&scene, group, row->depleted);
	CHECK_EQ(cdm_protect(scene.greedy, cdm_node, -1), 0);
	scene_fill(&scene);
	scene_policy(&scene, row->policy);
	reply = task_ask(&scene.asks, more);
	CHECK_EQ(cdm_usage(scene.greedy, cdm_node), scene.room);
	/* On a depleted node a few pages are left. */
	if (!row->depleted) {
		CHECK_EQ(reply.dev, 0);
		CHECK_EQ(reply.bus, fails ? more : 0);
	} else if (!fails) {
		CHECK_EQ(reply.bus, 0);
	}
	CHECK_LE(cdm_usage(scene.tenant, cdm_node), more);
	/* A page that kswapd is just moving is nowhere. */
	cdm_wait_until(5, count_present(&scene.asks, more) == more - reply.bus);
	CHECK_EQ(count_present(&scene.asks, more), more - reply.bus);
	CHECK_EQ(cdm_stat(scene.greedy, "demoted"), 0);
	CHECK_EQ(cdm_event(scene.greedy, "taken"), 0);
	CHECK_EQ(cdm_event(group, "low"), 0);
	scene_end(&scene);
}

/*
 * More is protected than there is: the group that was first keeps what it has,
 * and the other one what it got.
 */
static void test_first(const char *group, const void *arg)
{
	const struct entitled *row = arg;
	bool reclaims = strstr(row->policy, "reclaim");
	struct cdm_reply reply;
	long room, low, want, has;
	struct scene scene;

	scene_groups(&scene, group, row->depleted);
	room = row->depleted ? cdm_nr_free() : ROOM;
	low = room * 3 / 4;
	want = room - low + 200;
	CHECK_EQ(cdm_protect(scene.greedy, cdm_node, low), 0);
	CHECK_EQ(cdm_protect(scene.tenant, cdm_node, low), 0);
	scene_policy(&scene, row->policy);
	CHECK_EQ(task_ask(&scene.has, low).dev, low);
	reply = task_ask(&scene.asks, want);
	has = cdm_usage(scene.tenant, cdm_node);
	CHECK_LE(has, room - low);
	/* If it reclaims, its own colder pages have made way for later ones. */
	CHECK_GE(has, room - low - (reclaims ? 2 * BATCH : 0) -
		 (row->depleted ? cdm_zone_mark("min") + BATCH : 0));
	CHECK_EQ(reply.bus, strcmp(row->policy, "fail") ? 0 : want - reply.dev);
	check_kept(&scene.has, scene.greedy, low);

	/* The other keeps its part as well, which is below its protection. */
	press(&scene.has, scene.greedy, 4 * BATCH);
	CHECK_EQ(cdm_usage(scene.tenant, cdm_node), has);
	CHECK_EQ(cdm_event(group, "low"), 0);
	scene_end(&scene);
}

/*
 * The protection of a removed group ends: its parent takes over its pages, and
 * its siblings share what it had claimed.
 */
static void test_removed(const char *group)
{
	const long pages = ROOM / 4;
	char *parent, *other, *stays, *goes;
	struct cdm_task task, asks;

	CHECK_EQ(cdm_set_recursive_low(false), 0);
	cdm_make_two_groups(group, &parent, &other);
	CHECK_EQ(cdm_enable(parent, "+cdm"), 0);
	stays = cdm_make_group(parent, "stays");
	goes = cdm_make_group(parent, "goes");
	start_limit(group, ROOM);
	CHECK_EQ(cdm_protect(parent, cdm_node, pages), 0);
	CHECK_EQ(cdm_protect(stays, cdm_node, pages), 0);
	CHECK_EQ(cdm_protect(goes, cdm_node, pages), 0);
	task_start_on(&task, stays, pages, cdm_node);
	cdm_keep_open(pages);
	cdm_leave_charged(goes, 0, pages);
	CHECK_EQ(rmdir(goes), 0);
	CHECK_EQ(cdm_wait_dying(group, 0), 0);
	CHECK_EQ(cdm_usage(parent, cdm_node), 2 * pages);

	task_start(&asks, other);
	press(&asks, other, 3 * ROOM);
	check_kept(&task, stays, pages);
	check_share(parent, pages);
	CHECK_EQ(cdm_event(group, "low"), 0);
	cdm_keep_close();
	task_end(&task);
	task_end(&asks);
}

/* With memory_recursiveprot, protection of the parent is for its children. */
static void test_level_up(const char *group, const void *recursive)
{
	const long pages = ROOM / 4;
	char *parent, *other, *child;
	struct cdm_task task, asks;

	CHECK_EQ(cdm_set_recursive_low(recursive), 0);
	cdm_make_two_groups(group, &parent, &other);
	CHECK_EQ(cdm_enable(parent, "+cdm"), 0);
	child = cdm_make_group(parent, "child");
	start_limit(group, ROOM);
	CHECK_EQ(cdm_protect(parent, cdm_node, pages), 0);
	task_start_on(&task, child, pages, cdm_node);
	task_start(&asks, other);
	press(&asks, other, 2 * ROOM);
	if (recursive)
		check_kept(&task, child, pages);
	else
		CHECK_LT(cdm_usage(child, cdm_node), 2 * BATCH);
	/* A child is protected up to the protection of its parent. */
	CHECK_EQ(cdm_protect(child, cdm_node, -1), 0);
	CHECK_EQ(cdm_protect(parent, cdm_node, pages / 2), 0);
	task_call(&task, op_move, pages, cdm_node);
	press(&asks, other, 2 * ROOM);
	check_share(child, pages / 2);
	CHECK_EQ(cdm_event(group, "low"), 0);
	task_end(&task);
	task_end(&asks);
}

/* A new value holds for present pages, from the next request on. */
static void test_change(const char *group)
{
	const long pages = ROOM / 2;
	struct scene scene;

	scene_tenant(&scene, group, false, pages);
	press(&scene.has, scene.greedy, ROOM);
	check_kept(&scene.asks, scene.tenant, pages);

	CHECK_EQ(cdm_protect(scene.tenant, cdm_node, pages / 4), 0);
	press(&scene.has, scene.greedy, 2 * ROOM);
	check_share(scene.tenant, pages / 4);

	/* Raised again, the tenant gets back what it had. */
	CHECK_EQ(cdm_protect(scene.tenant, cdm_node, pages), 0);
	scene_refill(&scene);
	CHECK_EQ(task_call(&scene.asks, op_move, pages, cdm_node).ok, pages);
	CHECK_EQ(cdm_usage(scene.tenant, cdm_node), pages);
	press(&scene.has, scene.greedy, ROOM);
	CHECK_EQ(cdm_usage(scene.tenant, cdm_node), pages);

	/* With the default for all nodes, and without any. */
	CHECK_EQ(cdm_write(scene.tenant, "cdm.low",
			   "default %ld\nnode%d default",
			   pages / 2 * cdm_psize, cdm_node), 0);
	press(&scene.has, scene.greedy, 2 * ROOM);
	check_share(scene.tenant, pages / 2);
	CHECK_EQ(cdm_write(scene.tenant, "cdm.low", "default 0"), 0);
	press(&scene.has, scene.greedy, 2 * ROOM);
	CHECK_LT(cdm_usage(scene.tenant, cdm_node), 2 * BATCH);
	CHECK_EQ(cdm_event(group, "low"), 0);
	scene_end(&scene);
}

/*
 * All is protected, and a request finds nothing. Then a protection is lowered,
 * and the very next request must find the pages.
 */
static void test_change_at_once(const char *group, const void *policy)
{
	struct scene scene;
	int i;

	scene_groups(&scene, group, false);
	CHECK_EQ(cdm_protect(scene.tenant, cdm_node, ROOM), 0);
	scene_policy(&scene, policy);
	scene_fill(&scene);
	for (i = 0; i < 3; i++) {
		long before = cdm_usage(scene.tenant, cdm_node), more;

		CHECK_EQ(cdm_protect(scene.greedy, cdm_node, -1), 0);
		/* First use up what is left of the last batch. */
		task_ask(&scene.asks, 3 * BATCH);
		CHECK_LT(cdm_usage(scene.tenant, cdm_node), before + 2 * BATCH);
		/* It may have taken a batch of its own pages meanwhile. */
		more = ROOM - cdm_usage(scene.top, cdm_node);
		CHECK_LT(more, 2 * BATCH);
		before = cdm_usage(scene.tenant, cdm_node);
		more += BATCH;
		CHECK_EQ(cdm_protect(scene.greedy, cdm_node, 0), 0);
		CHECK_EQ(task_ask(&scene.asks, more).dev, more);
		CHECK_GE(cdm_usage(scene.tenant, cdm_node), before + BATCH);
	}
	scene_end(&scene);
}

/*
 * The whole node, full with the pages of a group without protection. They are
 * huge pages, which are quickly allocated.
 */

struct late {
	const char *policy;
	bool together;		/* that group goes on asking, and competes */
};

static const struct late latecomers[] = {
	{ "fallback", false },
	{ "reclaim", true },
};

static void test_late(const char *group, const void *arg)
{
	const struct late *late = arg;
	long given = cdm_zone_mark("managed") - cdm_zone_mark("high");
	long pages = cdm_zone_mark("managed") / 2, lost, more = pages / 8;
	struct cdm_reply reply;
	struct scene scene;
	long free;

	cdm_shrink_node(-1);
	scene_groups(&scene, group, true);
	scene_fill_by(&scene, op_map_huge);
	free = cdm_nr_free();
	CHECK_EQ(cdm_protect(scene.tenant, cdm_node, pages), 0);
	if (late->together)
		cdm_policy(scene.greedy, "inherit");
	scene_policy(&scene, late->policy);
	CHECK_EQ(task_call(&scene.asks, op_map, pages, cdm_node).ret, 0);
	if (late->together) {
		CHECK_EQ(task_call(&scene.has, op_map, more, cdm_node).ret, 0);
		task_send(&scene.has, op_write, 0, more);
	}
	reply = task_call(&scene.asks, op_touch, 0, pages);
	if (late->together)
		CHECK_EQ(task_reply(&scene.has).bus, 0);

	CHECK_GE(reply.dev, pages - pages / 1000);
	CHECK_EQ(reply.bad, 0);
	CHECK_EQ(cdm_stat(scene.tenant, "demoted"), 0);
	CHECK_EQ(cdm_event(group, "low"), 0);
	/* One huge page too many may go for the last page, one by kswapd. */
	CHECK_GE(cdm_usage(cdm_root, cdm_node),
		 given / 100 * 99 - 2 * cdm_hpages);
	/* One page goes for each that comes, and those that kswapd frees. */
	lost = cdm_stat(scene.greedy, "demoted");
	if (cdm_nr_free() > free)
		lost -= cdm_nr_free() - free;
	if (late->together)
		lost -= more;
	CHECK_LE(lost, pages + pages / 20);

	/* The tenant keeps its pages. */
	press(&scene.has, scene.greedy, more);
	CHECK_GE(task_call(&scene.asks, op_count, 0, pages).dev,
		 pages - pages / 1000);
	CHECK_EQ(cdm_stat(scene.tenant, "demoted"), 0);
	scene_end(&scene);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
	cdm_shrink_node(SMALL_NODE);
}

static const struct entitled entitled[] = {
	{ "fail", true },
	{ "fallback", true },
	{ "reclaim", true },
	{ "reclaim,fail", true },
	{ "fail", false },
	{ "fallback", false },
	{ "reclaim", false },
	{ "reclaim,fail", false },
};

/*
 * Run with each policy, at a limit and on a depleted node. Without @all leave
 * out "fail" on a depleted node, which differs from "fallback" only in what
 * happens to a request that misses.
 */
static void run_rows(const char *what, bool all,
		     void (*test)(const char *group, const void *row))
{
	char name[128];
	size_t i;

	for (i = !all; i < ARRAY_SIZE(entitled); i++) {
		snprintf(name, sizeof(name), "%s, %s, %s", what,
			 entitled[i].policy, entitled[i].depleted ?
			 "depleted node" : "limit");
		cdm_case_arg(name, test, &entitled[i]);
	}
}

static void run_trees(void)
{
	char name[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(trees); i++) {
		snprintf(name, sizeof(name), "%s%s", trees[i].name,
			 trees[i].recursive ? ", memory_recursiveprot" : "");
		cdm_case_arg(name, test_tree, &trees[i]);
	}
}

static void run_latecomers(void)
{
	char name[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(latecomers); i++) {
		snprintf(name, sizeof(name),
			 "half of a node that is full, %s",
			 latecomers[i].policy);
		cdm_case_arg(name, test_late, &latecomers[i]);
	}
}

#define OTHERS		13
#define CASES		(3 * ARRAY_SIZE(entitled) - 2 + ARRAY_SIZE(trees) + \
			 ARRAY_SIZE(latecomers) + OTHERS)

static void run(void)
{
	run_rows("a group gets the pages it is promised", true, test_entitled);
	run_rows("promised pages stay with their group", false, test_kept);
	run_rows("more is promised than there is", false, test_first);
	run_trees();
	run_latecomers();
	cdm_case("to the page", test_excess);
	cdm_case("a huge page with a protected part stays", test_huge);
	cdm_case("not against reclaim of the group itself", test_own_reclaim);
	cdm_case_arg("a neighbour at a limit takes nothing", test_neighbour,
		     NULL);
	cdm_case_arg("a neighbour and kswapd on a depleted node take nothing",
		     test_neighbour, "depleted");
	cdm_case_arg("cdm.reclaim of the parent takes it last", test_ancestor,
		     NULL);
	cdm_case_arg("a lower cdm.max of the parent takes it last",
		     test_ancestor, "max");
	cdm_case("a promise ends with the group", test_removed);
	cdm_case_arg("a promise to the parent", test_level_up, NULL);
	cdm_case_arg("a promise to the parent, memory_recursiveprot",
		     test_level_up, "recursive");
	cdm_case("lowered and raised", test_change);
	cdm_case_arg("lowered at once, fallback", test_change_at_once,
		     "fallback");
	cdm_case_arg("lowered at once, reclaim", test_change_at_once,
		     "reclaim");
}

int main(void)
{
	bool recursive = proc_mount_contains("memory_recursiveprot") > 0;

	cdm_init(2 * CASES);
	cdm_use_plugged();
	cdm_shrink_node(SMALL_NODE);
	cdm_run_each_lru(run);
	cdm_set_recursive_low(recursive);
	cdm_shrink_node(-1);
	cdm_exit();
}
