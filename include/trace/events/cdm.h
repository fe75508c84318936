/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM cdm

#if !defined(_TRACE_CDM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_CDM_H

#include <linux/tracepoint.h>

TRACE_EVENT(cdm_charge_fail,

	TP_PROTO(int nid, u16 payer, u16 limit, unsigned int order),

	TP_ARGS(nid, payer, limit, order),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u16, payer)
		__field(u16, limit)
		__field(unsigned int, order)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->payer = payer;
		__entry->limit = limit;
		__entry->order = order;
	),

	TP_printk("node=%d payer=%u limit=%u order=%u",
		  __entry->nid, __entry->payer, __entry->limit, __entry->order)
);

TRACE_EVENT(cdm_policy,

	TP_PROTO(int nid, u16 payer, int policy, unsigned int order, bool depleted),

	TP_ARGS(nid, payer, policy, order, depleted),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u16, payer)
		__field(int, policy)
		__field(unsigned int, order)
		__field(bool, depleted)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->payer = payer;
		__entry->policy = policy;
		__entry->order = order;
		__entry->depleted = depleted;
	),

	TP_printk("node=%d payer=%u policy=%s order=%u reason=%s",
		  __entry->nid, __entry->payer,
		  __print_symbolic(__entry->policy, { 1, "fallback" }, { 2, "reclaim" },
				   { 3, "reclaim,fail" }, { 4, "fail" }),
		  __entry->order, __entry->depleted ? "depleted" : "limit")
);

TRACE_EVENT(cdm_reclaim,

	TP_PROTO(int nid, u16 target, unsigned long wanted, unsigned long got),

	TP_ARGS(nid, target, wanted, got),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(u16, target)
		__field(unsigned long, wanted)
		__field(unsigned long, got)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->target = target;
		__entry->wanted = wanted;
		__entry->got = got;
	),

	TP_printk("node=%d target=%u wanted=%lu got=%lu",
		  __entry->nid, __entry->target, __entry->wanted, __entry->got)
);

#endif /* _TRACE_CDM_H */

#include <trace/define_trace.h>
