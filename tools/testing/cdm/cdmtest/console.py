# SPDX-License-Identifier: GPL-2.0
"""The kernel's log: which of its lines are complaints."""

import re

# Headlines of what a kernel must not say while it is tested; call traces and
# details follow them.
SUSPECT = re.compile(r"""
    WARNING:|BUG[: ]|\bOops\b|Kernel\ panic|general\ protection
  | unable\ to\ handle
  | KASAN|KCSAN|KFENCE|UBSAN|refcount_t|INFO:|suspicious\ RCU
  | rcu:.*(self-detected|detected)\ stall
  | possible\ (circular|recursive|irq|deadlock|swapper)|lock\ held
  | scheduling\ while\ atomic|sleeping\ function|soft\ lockup|hard\ LOCKUP
  | Bad\ (page|rss|swap)|bad\ pmd|\bcorrupt(ed|ion)
  | unreferenced\ object|suspected\ memory\ leak|ODEBUG|less\ than\ 0|underflow
  | Huh\ VM_FAULT_OOM|invoked\ oom-killer|[Oo]ut\ of\ memory
  | page\ allocation\ failure|nobody\ cared|vm-init:
""", re.VERBOSE)
# These look like the above and say nothing bad.
HARMLESS = re.compile(r"INFO: lockdep is turned off|NMI watchdog: Perf")

# A line of each kind that the kernel must not say, for the check of the above.
EXAMPLES = """
WARNING: CPU: 0 PID: 1 at mm/cdm/alloc.c:1 cdm_test+0x1/0x2
WARNING: possible circular locking dependency detected
WARNING: suspicious RCU usage
BUG: KASAN: slab-use-after-free in cdm_test+0x1/0x2
BUG: KCSAN: data-race in cdm_test / cdm_test
BUG: sleeping function called from invalid context at mm/cdm/alloc.c:1
BUG: scheduling while atomic: test/1/0x00000002
BUG: Bad page state in process test  pfn:12345
BUG: Bad rss-counter state mm:0000000012345678 type:MM_ANONPAGES val:1
BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!
BUG kmalloc-64 (Not tainted): Poison overwritten
ODEBUG: free active (active state 0) object: 0000000012345678
list_del corruption. prev->next should be 1, but was 2
pagealloc: memory corruption
page_counter underflow: -1 nr_pages=1
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu: INFO: rcu_preempt self-detected stall on CPU
watchdog: BUG: soft lockup - CPU#0 stuck for 52s! [test:1]
INFO: task test:1 blocked for more than 120 seconds.
refcount_t: underflow; use-after-free.
kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
kmemleak: unreferenced object 0xffff888012345678 (size 64):
page_owner: page allocation failure: order:0
test invoked oom-killer: gfp_mask=0x1, order=0, oom_score_adj=0
""".strip().splitlines()

# What vm says when QEMU is at fault, and the run is worth another.
STALE = "vm: the emulator ran a breakpoint that is not in memory any more"
CRASHED = "vm: the emulator crashed"


def complaint(text, allow=None):
    """Is this line one; allow is a pattern of those that are expected."""
    return bool(SUSPECT.search(text) and not HARMLESS.search(text)
                and not (allow and allow.search(text)))
