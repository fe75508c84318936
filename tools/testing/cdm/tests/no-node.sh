#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A kernel with cdm, but without device nodes, works as Linux always did.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

without_node()
{
	local group out size

	is "there is no device node" \
		"$(cat /sys/devices/system/node/has_coherent_memory)" ""
	is "MemTotal counts node 2" "$(meminfo_kb MemTotal)" \
		"$(cat /sys/devices/system/node/node*/meminfo |
			awk '$3 == "MemTotal:" { n += $4 } END { print n }')"
	is "there is no device memory in /proc/meminfo" \
		"$(meminfo_kb CdmTotal | grep -v '^0$')" ""

	# As always, when a node is used up, the next one is used.
	size=$((($(node_kb 0 MemFree) + $(node_kb 1 MemFree)) / 1024 + 64))
	out=$("$HOG" -n 2 -m none -s $size -c 64 -H)
	is "more than nodes 0 and 1 have free: the program ends well" \
		"$(field end "$out")" 0
	check "and part of it is on node 2" \
		test "$(field device "$out" | cut -d. -f1)" -gt 0

	out=$("$HOG" -n 2 -s 64)
	is "mbind to node 2 takes it" "$(field device "$out")" 64

	check "a group with cdm" new_group none
	group=$CG/none
	is "cdm.max has the default only" "$(cat $group/cdm.max)" "default max"
	is "cdm.current has no node" "$(cat $group/cdm.current)" ""
	is "cdm.capacity has no node" "$(cat $CG/cdm.capacity)" ""
	refused "a limit for node 2 is refused: it is no device" \
		"No such device" \
		bash -c "echo 'node2 1M' > $group/cdm.max"

	echo "default 1M" > $group/cdm.max
	out=$(in_group $group "$HOG" -n 2 -s 32)
	is "a default limit does not reach an ordinary node" \
		"$(field device "$out")" 32
	is "/proc/buddyinfo: node 2 has zones for the kernel" \
		"$(awk '$2 == "2," && $4 != "Movable" { print "yes"; exit }' \
			/proc/buddyinfo)" yes
}

host()
{
	plan 14
	in_guest 13 without_node --without cdm_nodes=2,3
}

run_halves "$@"
