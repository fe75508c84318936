/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM cdm

#if !defined(_TRACE_CDM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_CDM_H

#include <linux/tracepoint.h>

/* Groups are named by the id of their cgroup, which is its inode number. */

TRACE_EVENT(cdm_charge_fail,

	TP_PROTO(int nid, u64 payer, u64 limit, unsigned int order),

	TP_ARGS(nid, payer, limit, order),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, payer)
		__field(u64, limit)
		__field(unsigned int, order)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->payer = payer;
		__entry->limit = limit;
		__entry->order = order;
	),

	TP_printk("node=%d payer=%llu limit=%llu order=%u",
		  __entry->nid, __entry->payer, __entry->limit, __entry->order)
);

/* @reach is the group whose subtree may make way; 0 is nobody. */
TRACE_EVENT(cdm_policy,

	TP_PROTO(int nid, u64 payer, u64 reach, bool fails, unsigned int order,
		 bool depleted),

	TP_ARGS(nid, payer, reach, fails, order, depleted),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, payer)
		__field(u64, reach)
		__field(bool, fails)
		__field(unsigned int, order)
		__field(bool, depleted)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->payer = payer;
		__entry->reach = reach;
		__entry->fails = fails;
		__entry->order = order;
		__entry->depleted = depleted;
	),

	TP_printk("node=%d payer=%llu policy=%s%s reach=%llu order=%u reason=%s",
		  __entry->nid, __entry->payer,
		  __entry->reach ? "reclaim," : "",
		  __entry->fails ? "fail" : "fallback", __entry->reach,
		  __entry->order, __entry->depleted ? "depleted" : "limit")
);

DECLARE_EVENT_CLASS(cdm_reclaim_class,

	TP_PROTO(int nid, u64 target, int reason, unsigned long pages),

	TP_ARGS(nid, target, reason, pages),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u64, target)
		__field(int, reason)
		__field(unsigned long, pages)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->target = target;
		__entry->reason = reason;
		__entry->pages = pages;
	),

	TP_printk("node=%d target=%llu reason=%s pages=%lu",
		  __entry->nid, __entry->target,
		  __print_symbolic(__entry->reason, { 0, "limit" },
				   { 1, "depleted" }, { 2, "low" },
				   { 3, "excess" }, { 4, "proactive" },
				   { 5, "kswapd" }),
		  __entry->pages)
);

/* Pages that are wanted. */
DEFINE_EVENT(cdm_reclaim_class, cdm_reclaim_begin,
	TP_PROTO(int nid, u64 target, int reason, unsigned long pages),
	TP_ARGS(nid, target, reason, pages)
);

/* Pages that were demoted. */
DEFINE_EVENT(cdm_reclaim_class, cdm_reclaim_end,
	TP_PROTO(int nid, u64 target, int reason, unsigned long pages),
	TP_ARGS(nid, target, reason, pages)
);

#endif /* _TRACE_CDM_H */

#include <trace/define_trace.h>
