#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The demo: boot a guest with a device node, let groups with a quota ask for
# more of it than that, and show where their pages went; then boot the same
# kernel with cdm=off, which is what Linux does without cdm.
#
# Every number comes from the guests.  The exit status is 1 when a quota was not
# held, or not usable to its last page.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

NODE=2
BAR=32
wrong=0

case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in
*[Uu][Tt][Ff]8* | *[Uu][Tt][Ff]-8*)
	ON_DEVICE=█ MIXED=▒ IN_RAM=░ SWAPPED=s NOWHERE=·
	;;
*)
	ON_DEVICE='#' MIXED=+ IN_RAM=: SWAPPED=s NOWHERE=.
	;;
esac

# bar MAP: the buffer, from its first byte to its last
bar()
{
	local map=$1

	map=${map//./$NOWHERE}
	map=${map//D/$ON_DEVICE}
	map=${map//M/$MIXED}
	map=${map//R/$IN_RAM}
	printf '%s' "${map//S/$SWAPPED}"
}

# ended ROW: how the program ended, in words
ended()
{
	local end

	end=$(field end "$1")
	case $end in
	0)
		echo "finished"
		;;
	holding)
		echo "has it all"
		;;
	SIGKILL)
		echo "killed: out of memory"
		;;
	SIG*)
		printf "%s after %.0f M\n" "$end" "$(field touched "$1")"
		;;
	*)
		echo "exit status $end"
		;;
	esac
}

heading()
{
	printf '  %-11s %6s %7s %7s %7s  %-*s  %s\n' \
		"$1" quota asked device RAM $BAR "the buffer, first to last byte" \
		"how it ended"
}

# line NAME QUOTA ROW: a program that was killed has nothing left
line()
{
	local device ram

	printf '  %-11s %6s %5s M' "$1" "$2" "$(field asked "$3")"
	if [ "$(field end "$3")" = SIGKILL ]; then
		printf ' %7s %7s  %-*s' - - $BAR ""
	else
		device=$(field device "$3")
		ram=$(field ram "$3")
		printf ' %5.0f M %5.0f M  %s' "$device" "$ram" \
			"$(bar "$(field map "$3")")"
	fi
	printf '  %s\n' "$(ended "$3")"
}

# complain TEXT...: something is not as it should be
complain()
{
	echo "  WRONG: $*"
	wrong=1
}

# held ROW SLACK: the program used its quota to the last page, and never more;
# in the end it has all but SLACK MiB of it, as reclaim makes room in advance
held()
{
	local quota device peak

	quota=$(field quota "$1")
	device=$(field device "$1")
	peak=$(field peak "$1")
	if [ "$peak" != $((quota * MIB)) ] ||
	   ! echo "$device $quota $2" |
			awk '{ exit !($1 <= $2 && $1 >= $2 - $3) }'; then
		complain "quota $quota M, on the device $device M, peak $peak"
	fi
}

# boot MODE [options of vm run]: the guest's rows, in $rows
boot()
{
	local mode=$1 log status

	shift
	log=$(mktemp)
	vm --timeout 180 "$@" -- \
		"$CDM_TESTING/demo/guest.sh" "$mode" "$HOG" $NODE > "$log" 2>&1
	status=$?
	rows=$(sed -n 's/\r$//; s/^row //p' "$log")
	if [ $status -ne 0 ] || [ -z "$rows" ]; then
		cat "$log" >&2
		rm -f "$log"
		die "the guest failed with status $status"
	fi
	rm -f "$log"
}

row()
{
	printf '%s\n' "$rows" | grep "^name=$1 "
}

# The programs that do not ask for the device; $unasked is what it has of them
bystanders()
{
	local name r

	unasked=0
	for name in interleave large; do
		r=$(row $name)
		line $name - "$r"
		unasked=$(echo "$unasked $(field device "$r")" |
			awk '{ printf "%.0f", $1 + $2 }')
	done
}

build_hog

cat <<EOF

cdm: a quota for device memory that is a NUMA node

  The guest has RAM on nodes 0 and 1; node $NODE is the memory of a device.  Each
  program maps 160 MiB, binds it to node $NODE with mbind(MPOL_BIND), touches every
  page and asks move_pages() where its pages are:
  $ON_DEVICE on the device   $IN_RAM in RAM   $MIXED both   $SWAPPED partly swapped   $NOWHERE never touched

EOF

boot cdm
echo "With cdm (Linux $(field kernel "$rows"), cdm_nodes=$NODE, node $NODE has $(field size "$rows") MiB)"
echo
heading "cdm.policy"
for policy in fallback reclaim fail; do
	r=$(row $policy)
	line $policy "$(field quota "$r") M" "$r"
	events=$(field events "$r")
	events=${events//:/ }
	printf '  %-11s cdm.events: %s\n' "" "${events//,/, }"

	slack=0 end=0
	case $policy in
	reclaim)
		slack=1
		;;
	fail)
		end=SIGBUS
		;;
	esac
	held "$r" $slack
	[ "$(field end "$r")" = $end ] || complain "it should end with $end"
done
r=$(row open)
line "(no quota)" "$(field quota "$r")" "$r"
[ "$(field device "$r")" = "$(field asked "$r")" ] ||
	complain "there was room on the device for all of it"
bystanders
isolated=$unasked
[ "$isolated" = 0 ] || complain "nobody asked for these pages on the device"

boot off --append cdm=off --no-check-log
echo
echo "Without cdm (the same guest with cdm=off: node $NODE is ordinary memory)"
echo
heading "program"
bystanders
line "tenant A" - "$(row first)"
line "tenant B" - "$(row second)"
r=$(row first-after)
line "A, after B" - "$r"
first=$(ended "$r")
second=$(ended "$(row second)")

cat <<EOF

  The three groups asked for the same.  Each got its quota, to the last page, and
  its policy decided about the rest: take RAM, move its older pages to RAM to make
  room, or SIGBUS.  The last two programs do not mean the device: "interleave"
  spreads over all nodes, "large" just needs more than there is free RAM.  With cdm
  the device has $isolated MiB of them, without it $unasked MiB.  And without cdm two tenants
  that bind to the device have nobody between them: A $first, B $second.

  Try it: make shell, then the quick tour of README.md.

EOF

[ $wrong -eq 0 ] || echo "cdm: the demo found something wrong, see above" >&2
exit $wrong
