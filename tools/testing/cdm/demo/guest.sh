#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The guest's half of the demo (see run.sh): makes groups, runs programs in
# them, prints one line of key=value pairs for each.
#
#   guest.sh cdm|off HOG NODE

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

mode=$1
HOG=$2
node=$3
quota=64
ask=160

# row KEY=VALUE... : one line for the host
row()
{
	echo "row $*"
}

# The events that happened, as max:12,fallback:24576
events()
{
	keyed "$1/cdm.events" "node$node" | tr ' ' '\n' |
		sed -n '/=0$/d; s/=/:/p' | paste -sd,
}

# Programs that do not ask for the device: one spreads over all nodes, as with
# numactl --interleave=all; one has no policy, and needs more than there is RAM.
bystanders()
{
	local size=$((($(node_kb 0 MemFree) + $(node_kb 1 MemFree)) / 1024 + 64))

	row name=interleave "$("$HOG" -n "$node" -m interleave -s $ask)"
	row name=large "$("$HOG" -n "$node" -m none -s $size -c 64 -H)"
}

# Wait for the line that says that a program has its memory, or has ended.
wait_line()
{
	while ! [ -s "$1" ]; do
		sleep 0.1
	done
}

row kernel="$(uname -r)" cpus="$(nproc)" \
	size=$(($(node_kb "$node" MemTotal) / 1024))

if [ "$mode" = cdm ]; then
	for policy in fallback reclaim fail; do
		group=$(new_group "$policy") || die "cannot make a group"
		echo "node$node ${quota}M" > "$group/cdm.max"
		echo $policy > "$group/cdm.policy"
		in_group "$group" "$HOG" -n "$node" -s $ask > "/tmp/$policy" &
	done
	wait
	for policy in fallback reclaim fail; do
		group=$CG/$policy
		row name=$policy \
			policy="$(setting "$group/cdm.policy" "node$node")" \
			quota=$(($(keyed "$group/cdm.max" "node$node") / MIB)) \
			peak="$(keyed "$group/cdm.peak" "node$node")" \
			events="$(events "$group")" "$(cat "/tmp/$policy")"
	done

	group=$(new_group open) || die "cannot make a group"
	result=$(in_group "$group" "$HOG" -n "$node" -s $ask)
	row name=open policy="$(setting "$group/cdm.policy" "node$node")" \
		quota="$(setting "$group/cdm.max" "node$node")" \
		peak="$(keyed "$group/cdm.peak" "node$node")" \
		events="$(events "$group")" "$result"
	bystanders
	exit 0
fi

bystanders

# Without swap it is obvious who loses when the device is used up.
swapoff -a

# One tenant has taken what it wanted, the next asks for as much.
"$HOG" -n "$node" -s $ask -w > /tmp/first &
wait_line /tmp/first
before=$(cat /tmp/first)
"$HOG" -n "$node" -s $ask > /tmp/second
sleep 0.5
after=$(tail -n 1 /tmp/first)
row name=first "$before"
row name=second "$(cat /tmp/second)"
row name=first-after "$after"
kill %1 2> /dev/null
exit 0
