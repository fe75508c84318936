#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The guest's half of the demo of two tenants (see tenants.sh): runs both under
# each kind of control, and prints a line of key=value pairs for each sample.
#
#   tenants-guest.sh TENANT NODE ALONE BOTH REQUESTS
#
# In a run the greedy tenant serves ALONE rounds of REQUESTS requests, then both
# serve BOTH rounds.  In a round the two run at the same time; the next one
# starts when both are done, so a sample covers the same requests, however fast
# the machine is.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

TENANT=$1
node=$2
alone=$3
both=$4
requests=$5

size=$(keyed $CG/cdm.capacity "node$node")
half=$((size / 2))
greedy_mib=$((size * 5 / 4 / MIB))
protected_mib=$((half / MIB))

# What kswapd keeps free on the node when it is asked to
reserve=$(awk -v n="$node," '
	/^Node/			{ mine = $2 == n }
	mine && $1 == "high"	{ pages += $2 }
	END			{ print pages }' /proc/zoneinfo)

# Each tenant's pipes: requests go in, samples come out.
declare -A in out

# row KEY=VALUE... : one line for the host
row()
{
	echo "row $*"
}

# start NAME [options of tenant]
start()
{
	local name=$1 fd

	shift
	rm -f /tmp/in /tmp/out
	mkfifo /tmp/in /tmp/out || die "cannot make a pipe"
	in_group "$CG/$name" "$TENANT" -n "$node" "$@" \
		< /tmp/in > /tmp/out &
	exec {fd}> /tmp/in
	in[$name]=$fd
	exec {fd}< /tmp/out
	out[$name]=$fd
}

# stop NAME: end it, which frees its memory
stop()
{
	local to=${in[$1]} from=${out[$1]}

	echo 0 >&"$to"
	exec {to}>&- {from}<&-
}

# sample RUN ROUND NAME...: one round, and where all pages are after it
sample()
{
	local run=$1 round=$2 name line

	shift 2
	for name; do
		echo "$requests" >&"${in[$name]}"
	done
	for name; do
		read -r line <&"${out[$name]}" || die "$name ended"
		row run="$run" round="$round" name="$name" "$line" \
			"$(keyed "$CG/$name/cdm.stat" "node$node" |
				grep -o 'demoted=[0-9]*')"
	done
	row run="$run" round="$round" name=node \
		used="$(keyed $CG/cdm.current "node$node")"
}

# run NAME: both tenants, in groups that have been set up
run()
{
	local name=$1 i

	start greedy -s $greedy_mib -k $((2 * greedy_mib)) -r 1
	for ((i = 1; i <= alone; i++)); do
		sample "$name" $i greedy
	done
	start protected -s $protected_mib -k $((2 * protected_mib)) -r 2
	for (( ; i <= alone + both; i++)); do
		sample "$name" $i greedy protected
	done
	stop greedy
	stop protected
	wait
	rmdir $CG/greedy $CG/protected
}

groups()
{
	local name

	for name in greedy protected; do
		new_group $name > /dev/null || die "cannot make the groups"
	done
}

page=$(getconf PAGESIZE)
row name=setup kernel="$(uname -r)" page="$page" capacity="$size" \
	reserve=$((reserve * page)) low=$half alone="$alone" \
	requests="$requests"

groups
run none

groups
echo "node$node $half" > $CG/greedy/cdm.max
echo "node$node $half" > $CG/protected/cdm.max
run max

groups
echo "node$node $half" > $CG/protected/cdm.low ||
	die "this kernel has no cdm.low"
# The root's word lets the protected tenant compete for the whole node.
echo reclaim > $CG/cdm.policy
echo fallback > $CG/greedy/cdm.policy
run low
