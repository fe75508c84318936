/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The stock protocol of mm/cdm/counter.c, for the model checker Spin
 *
 * Three CPUs, a group P and a group A below it, one node, and few pages. Every
 * order of steps is tried, from every state that a few pages can be in. What is
 * proved stands in check() and in assertions:
 *
 *   - usage is what is in use and what waits in stocks, at each level, and no
 *     charge takes it above a limit;
 *   - a request that may block is refused only at an instant at which its limit
 *     has no room and no stock has a page of that limit's subtree; the mark
 *     "full" is there only while that is so;
 *   - when the drain after a removal is done no CPU has pages of the removed
 *     group any more, and none will; when the one after a lowered limit is done
 *     nothing comes from a stock while usage is above the limit;
 *   - everybody gets to an end.
 *
 * Memory is that of x86: a CPU's stores wait in a buffer, and reach memory in
 * order, at any later time; the CPU itself sees them at once. A locked
 * instruction waits until the buffer is empty. What is only touched under the
 * lock is changed in memory at once: nobody can look before the store that
 * drops the lock has left the buffer, behind the others. So there are buffers
 * for what others look at without the lock: slots, and the lock.
 *
 * What a CPU does under the lock is one step, because others see nothing of it
 * before its end. So is what it does with interrupts off to its slot alone.
 *
 * That no CPU keeps pages for a time after a drain (keep_after) bounds the rate
 * of interrupts. It forbids steps that are allowed here, and is left out.
 *
 * A scenario is chosen by -D: LIMIT (nothing but requests), REMOVE (A is
 * removed), LOWER (a limit is lowered), HOTPLUG (a CPU goes). So is a mutant,
 * which leaves something out. Spin has to find an error in each of them, or it
 * would not find the same in the code. The test "model-stock" runs them all; by
 * hand:
 *
 *	spin -a -DREMOVE stock.pml && cc -O2 -DSAFETY -o pan pan.c
 *	./pan -m100000 && echo; spin -t -p -DREMOVE stock.pml
 */
#define CPUS	3
#define P	0
#define A	1
#define NOBODY	2

/* Requests and frees, of all CPUs together. With 3 it takes minutes. */
#ifndef OPS
#define OPS	2
#endif
/*
 * Who removes a group or lowers a limit does nothing else, and where a limit is
 * lowered all is done in A: or there are too many orders.
 */
#if defined(REMOVE) || defined(LOWER)
#define MORE	(ops < OPS && me != 2)
#else
#define MORE	(ops < OPS)
#endif
#ifdef LOWER
#define ALSO_P	0
#else
#define ALSO_P	1
#endif

/* A slot: the owner and up to SLOT_MAX pages. */
#define SLOT_MAX	2
#define SLOT(g, n)	((g) * 4 + (n))
#define OWNER(slot)	((slot) / 4)
#define PAGES(slot)	((slot) % 4)
/* Has it pages of the subtree of @g? */
#define HOLDS(slot, g)	(PAGES(slot) && (g == P || OWNER(slot) == A))
/* Has it pages of @g itself? */
#define HAS(slot, g)	(PAGES(slot) && OWNER(slot) == (g))

/* Counters, changed under the lock. */
byte max[2];
byte usage[2];
byte drains[2];		/* drains of the subtree that are under way */
bit in_stock[2];	/* stocks may have pages of the subtree */
bit is_full[2];
bit dead;		/* A was removed */
bit lock;

/* Each CPU's slot: as the CPU itself sees it, and as it is in memory. */
byte slot[CPUS];
byte seen[CPUS];

/* Stores that wait: to a CPU's slot, or of 0 to the lock. */
mtype = { STORE_SLOT, DROP_LOCK, ADD_DRAIN };
mtype = { REFUSED, AGAIN, DRAIN };
chan buffer[CPUS] = [3] of { mtype, byte };

/* Interrupts: who wants what drained; and answers that a CPU waits for. */
chan call[CPUS] = [CPUS] of { byte, byte };
byte calls[CPUS];
bit is_active[CPUS];	/* cpu_active() */
bit online[CPUS];

/* For the proof. */
byte used[2];		/* pages in use, by the owner that pays */
byte freed[2];		/* those on their way to cdm_uncharge() */
byte users;		/* requests that have found A */
byte ops;		/* requests and frees so far */
bit gone;		/* the drain after A's removal is done */
bit lowered;		/* the drain after P's limit was lowered is done */

#define IN_STOCK(i, g)	(HOLDS(slot[i], g) -> PAGES(slot[i]) : 0)
#define STOCK(g)	(IN_STOCK(0, g) + IN_STOCK(1, g) + IN_STOCK(2, g))

inline check()
{
	assert(usage[P] == used[P] + freed[P] + used[A] + freed[A] + STOCK(P));
	assert(dead || usage[A] == used[A] + freed[A] + STOCK(A));
	assert(!is_full[P] || (usage[P] >= max[P] && !STOCK(P)));
	assert(dead || !is_full[A] || (usage[A] >= max[A] && !STOCK(A)));
	assert(!gone || !STOCK(A))
}

/*
 * The lock
 */

inline acquire()
{
	!lock && empty(buffer[me]);
	lock = 1
}

inline release()
{
	check();
	buffer[me]!DROP_LOCK, 0;
#ifdef FILL_LATE	/* mutant: a slot is filled after the lock is dropped */
	if
	:: late -> buffer[me]!STORE_SLOT, slot[me]; late = 0
	:: else
	fi
#endif
}

inline set_slot(val)
{
	slot[me] = val;
	buffer[me]!STORE_SLOT, slot[me]
}

inline fill_slot(val)
{
#ifdef FILL_LATE
	slot[me] = val;
	late = 1
#else
	set_slot(val)
#endif
}

/* When a store leaves a buffer is up to nobody. */
active proctype memory()
{
	byte val;

end:	do
	:: atomic { buffer[0]?STORE_SLOT, val -> seen[0] = val; val = 0 }
	:: atomic { buffer[1]?STORE_SLOT, val -> seen[1] = val; val = 0 }
	:: atomic { buffer[2]?STORE_SLOT, val -> seen[2] = val; val = 0 }
	:: atomic { buffer[0]?DROP_LOCK, _ -> lock = 0 }
	:: atomic { buffer[1]?DROP_LOCK, _ -> lock = 0 }
	:: atomic { buffer[2]?DROP_LOCK, _ -> lock = 0 }
#ifdef BEGIN_PLAIN
	:: atomic { buffer[0]?ADD_DRAIN, val -> drains[val]++; val = 0 }
	:: atomic { buffer[1]?ADD_DRAIN, val -> drains[val]++; val = 0 }
	:: atomic { buffer[2]?ADD_DRAIN, val -> drains[val]++; val = 0 }
#endif
	od
}

/*
 * Under the lock
 */

inline unfull(g)
{
#ifndef FULL_STAYS	/* mutant: the mark "full" is not taken away again */
	is_full[P] = 0;
	if
	:: g == A && !dead -> is_full[A] = 0
	:: else
	fi
#else
	skip
#endif
}

/* cdm_sub_locked() */
inline sub(g, nr)
{
	usage[P] = usage[P] - nr;
	if
	:: g == A && !dead -> usage[A] = usage[A] - nr
	:: else
	fi;
	unfull(g)
}

/* cdm_may_keep() */
#ifdef KEEP_DEAD	/* mutant of REMOVE: pages of a removed group stay */
#define IS_DEAD		0
#else
#define IS_DEAD		dead
#endif
#ifdef KEEP_OVER	/* mutant of LOWER: pages stay above a limit */
#define IS_OVER(g)	0
#else
#define IS_OVER(g)	(usage[g] > max[g])
#endif
#ifdef KEEP_DRAINED	/* mutant: pages are kept during a drain */
#define IS_DRAINED(g)	0
#else
#define IS_DRAINED(g)	drains[g]
#endif
#ifdef KEEP_DYING	/* mutant of HOTPLUG: a CPU that goes keeps pages */
#define IS_ACTIVE	1
#else
#define IS_ACTIVE	is_active[me]
#endif
#define MAY_KEEP_A	(!IS_DEAD && !IS_DRAINED(A) && !IS_OVER(A))
#define MAY_KEEP(g)	(IS_ACTIVE && !IS_DRAINED(P) && !IS_OVER(P) && \
			 (g == P || MAY_KEEP_A))

/* cdm_mark_stock() */
inline mark(g)
{
#ifdef MARK_ONE		/* mutant: one level alone learns of it */
	in_stock[g] = 1;
#else
	in_stock[P] = 1;
	if
	:: g == A -> in_stock[A] = 1
	:: else
	fi;
#endif
	unfull(g)
}

/* The first page of @g in stock. What there is of another owner goes back. */
inline keep(g)
{
	if
	:: PAGES(slot[me]) && OWNER(slot[me]) != g ->
		sub(OWNER(slot[me]), PAGES(slot[me]))
	:: else
	fi;
	mark(g);
	fill_slot(SLOT(g, 1))
}

/* Give back what this CPU has of the subtree of @g. */
inline flush(g)
{
	if
	:: HOLDS(slot[me], g) ->
		sub(OWNER(slot[me]), PAGES(slot[me]));
		set_slot(0)
	:: else
	fi
}

/*
 * Drains
 */

/* cdm_drain_local() */
inline answer()
{
	call[me]?from, what;
	atomic {
		acquire();
		flush(what);
		calls[from]--;
		from = 0;
		what = 0;
		release()
	}
}

inline poll()
{
	do
	:: nempty(call[me]) -> answer()
	:: true -> break
	od
}

#define LOOK(j)		(j == me -> slot[j] : seen[j])

inline begin_drain(g)
{
#ifdef FORGET_EARLY	/* mutant: stocks are forgotten before they are drained */
	in_stock[g] = 0;
#endif
	drains[g]++
}

/* The rest of cdm_drain_below(): look at the CPUs, one by one. */
inline drain(g)
{
	do
	:: atomic { j < CPUS ->
		if
		:: online[j] && HOLDS(LOOK(j), g) ->
			call[j]!me, g;
			calls[me]++
		:: else
		fi;
		j++ }
	:: atomic { j == CPUS -> j = 0; break }
	od;
	do
	:: nempty(call[me]) -> answer()
	:: empty(call[me]) && !calls[me] -> break
	od;
	atomic {
		acquire();
		drains[g]--;
		in_stock[g] = 0;
		release()
	}
}

/*
 * Requests
 */

/* A page of charge, from a stock or not, becomes one in use. */
inline take(g)
{
	assert(!lowered || usage[P] <= max[P]);
	used[g]++;
	set_slot(slot[me] - 1)
}

/* cdm_try_charge(), with interrupts off. It sets @limit if it fails. */
inline try_charge()
{
	atomic {
		acquire();
		pays = (g == A && dead -> P : g);
		limit = NOBODY;
		if
		:: HAS(slot[me], pays) -> take(pays)
		:: !HAS(slot[me], pays) && pays == A && usage[A] >= max[A] ->
			limit = A
		:: !HAS(slot[me], pays) && usage[P] >= max[P] &&
		   (pays == P || usage[A] < max[A]) ->
			limit = P
		:: else ->
			usage[P]++;
			if
			:: pays == A -> usage[A]++
			:: else
			fi;
			used[pays]++;
			assert(usage[P] <= max[P]);
			assert(pays == P || usage[A] <= max[A]);
			/* Take one more ahead, or not. */
			if
			:: usage[P] < max[P] && MAY_KEEP(pays) &&
			   (pays == P || usage[A] < max[A]) ->
				usage[P]++;
				if
				:: pays == A -> usage[A]++
				:: else
				fi;
				keep(pays)
			:: true
			fi
		fi;
		if
		:: limit == NOBODY
#ifndef FULL_BLIND	/* mutant: "full", whoever may have pages in stock */
		:: limit != NOBODY && in_stock[limit]
		:: limit != NOBODY && !in_stock[limit] -> is_full[limit] = 1
#else
		:: limit != NOBODY -> is_full[limit] = 1
#endif
		fi;
		release()
	}
}

/* The page allocator's way, cdm_stock_take(), and then cdm_charge_wait(). */
inline charge()
{
	do
	:: atomic { HAS(slot[me], g) && nfull(buffer[me]) -> take(g); break }
	:: !HAS(slot[me], g) ->
		try_charge();
		if
		:: limit == NOBODY -> break
		:: else
		fi;
		poll();
		/* cdm_drain_for(): refused, once more, or a drain? */
#ifdef BEGIN_PLAIN	/* mutant: a drain begins with a store, without lock */
		verdict = DRAIN;
		buffer[me]!ADD_DRAIN, limit;
#else
		atomic {
			acquire();
			if
			:: !in_stock[limit] && usage[limit] >= max[limit] ->
				assert(!STOCK(limit));
				verdict = REFUSED
			:: !in_stock[limit] && usage[limit] < max[limit] ->
				verdict = AGAIN
			:: else ->
				begin_drain(limit);
				verdict = DRAIN
			fi;
			release()
		}
#endif
		if
		:: verdict == REFUSED -> break
		:: verdict == AGAIN
		:: verdict == DRAIN ->
			drain(limit);
#ifdef NO_RETRY		/* mutant: it does not try again after a drain */
			atomic {
				acquire();
				assert(usage[limit] >= max[limit]);
				release()
			}
			break
#endif
		fi
	od;
	atomic { limit = 0; pays = 0; verdict = 0 }
}

/* cdm_stock_put(), and cdm_uncharge(). */
#define ROOM_IN_SLOT(g)	(HAS(slot[me], g) && PAGES(slot[me]) < SLOT_MAX)

inline uncharge()
{
	if
	:: atomic { ROOM_IN_SLOT(g) && nfull(buffer[me]) ->
		freed[g]--;
		set_slot(slot[me] + 1) }
	:: !ROOM_IN_SLOT(g) ->
#ifdef LOOK_EARLY	/* mutant: it does not look again under the lock */
		may_keep = MAY_KEEP(g);
#endif
		atomic {
			acquire();
#ifndef LOOK_EARLY
			may_keep = MAY_KEEP(g);
#endif
			freed[g]--;
			if
			:: HAS(slot[me], g) && may_keep ->
				sub(g, SLOT_MAX);
				set_slot(SLOT(g, 1))
			:: HAS(slot[me], g) && !may_keep ->
				sub(g, SLOT_MAX + 1);
				set_slot(0)
			:: !HAS(slot[me], g) && may_keep ->
				keep(g)
			:: else ->
				sub(g, 1)
			fi;
			may_keep = 0;
			release()
		}
	fi
}

/*
 * What CPUs do
 */

proctype cpu(byte me)
{
	byte g, pays, limit, j, from, what;
	mtype verdict;
	bit may_keep, late;

end:	do
#ifdef REMOVE
	/* cdm_counter_retire(); a grace period; cdm_owner_release() */
	:: me == 2 && !dead ->
		atomic {
			acquire();
			dead = 1;
			usage[A] = 0;
			release()
		}
		do
		:: nempty(call[me]) -> answer()
		:: !users -> break
		od;
		atomic {
			acquire();
			begin_drain(A);
			release()
		}
		drain(A);
		atomic { gone = 1; check() }
#endif
#ifdef LOWER
	/* cdm_set_limit(), and a drain if usage is above it */
	:: me == 2 && max[P] > 1 ->
		atomic {
			acquire();
			max[P] = 1;
			unfull(P);
			may_keep = 0;
			release()
		}
		if
		:: usage[P] <= max[P]
		:: else ->
			atomic {
				acquire();
				begin_drain(P);
				release()
			}
			drain(P)
		fi;
		lowered = 1
#endif
#ifdef HOTPLUG
	/* sched_cpu_deactivate(); cdm_stock_cpu_down(); the end */
	:: me == 1 && is_active[me] ->
		is_active[me] = 0;
		atomic {
			acquire();
			flush(P);
			release()
		}
	:: atomic { !is_active[me] && empty(call[me]) && empty(buffer[me]) ->
		online[me] = 0; break }
#endif
	:: nempty(call[me]) -> answer()
	:: atomic { MORE && !dead -> ops++; users++; g = A }
		charge();
		atomic { users--; g = 0 }
	:: atomic { MORE && ALSO_P -> ops++; g = P }
		charge()
	:: atomic { MORE && used[A] ->
		ops++; used[A]--; freed[A]++; g = A }
		uncharge();
		g = 0
	:: atomic { MORE && used[P] ->
		ops++; used[P]--; freed[P]++; g = P }
		uncharge()
	od
}

/*
 * Any state that some pages in use and in stocks can be in. The marks that
 * stocks may have pages are set, as they can be if none has. CPUs that do the
 * same may change places, and so need not be tried both ways.
 */
#define SAME(i, j)	(slot[i] >= slot[j])
#ifdef LIMIT
#define SYMMETRY	(SAME(0, 1) && SAME(1, 2))
#elif defined(HOTPLUG)
#define SYMMETRY	SAME(0, 2)
#else
#define SYMMETRY	SAME(0, 1)
#endif

init
{
	byte i;

	atomic {
		max[P] = 3;
		max[A] = 2;
		in_stock[P] = 1;
		in_stock[A] = 1;
		if
		:: used[A] = 0
		:: used[A] = 1
		:: used[A] = 2
		fi;
		if
		:: used[P] = 0
#ifndef LOWER
		:: used[P] = 1
#endif
		fi;
		do
		:: i < CPUS ->
			is_active[i] = 1;
			online[i] = 1;
			if
			:: slot[i] = 0
			:: slot[i] = SLOT(A, 1)
			:: slot[i] = SLOT(P, 1)
			fi;
			seen[i] = slot[i];
			i++
		:: else -> break
		od;
		usage[A] = used[A] + STOCK(A);
		usage[P] = used[P] + used[A] + STOCK(P);
		if
		:: usage[A] <= max[A] && usage[P] <= max[P] && SYMMETRY ->
			run cpu(0);
			run cpu(1);
			run cpu(2)
		:: else
		fi
	}
}
