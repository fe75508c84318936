#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A real client: libcgroup's cgcreate, cgset, cgget, cgexec and cgdelete work
# with cdm, a controller whose name they do not know.
#
# libcgroup 2 writes a value in one write(2), lines and all.  libcgroup 3
# silently ignores a value of several lines (exit status 0), and so needs a cgset
# for each node.  The test accepts either, but never half a value.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

group=cgset-test

multi_line_value()
{
	local before both after

	before=$(cat $CG/$group/cdm.max)
	both=$(printf 'default %s\nnode2 %s\n' $((8 * MIB)) $((16 * MIB)))
	cgset -r cdm.max="$(printf 'default 8M\nnode2 16M')" $group || return
	after=$(cat $CG/$group/cdm.max)

	if ldconfig -p | grep -q 'libcgroup\.so\.2 '; then
		[ "$(echo "$after" | head -n 2)" = "$both" ]
	else
		[ "$(echo "$after" | head -n 2)" = "$both" ] ||
			[ "$after" = "$before" ]
	fi || {
		echo "before: $before"
		echo "after: $after"
		return 1
	}
}

with_cdm()
{
	local out

	check "cgcreate enables cdm and makes the group" \
		cgcreate -g cdm:/$group
	check "cgset: one node, with a suffix" \
		cgset -r cdm.max="node2 32M" $group
	is "the kernel has the value" \
		"$(keyed $CG/$group/cdm.max node2)" $((32 * MIB))
	check "cgset: another line keeps the node's" \
		cgset -r cdm.max="default 4M" $group
	is "both lines are there" "$(head -n 2 $CG/$group/cdm.max)" \
		"default $((4 * MIB))"$'\n'"node2 $((32 * MIB))"
	check "a value of several lines: all of it or nothing" multi_line_value

	cgset -r cdm.max="node2 32M" $group
	refused "cgset: no such node, ENODEV" "No such device" \
		cgset -r cdm.max="node9 1M" $group
	refused "cgset: too large, ERANGE" "Numerical result out of range" \
		cgset -r cdm.max="node2 99999999999999999999" $group
	refused "cgset: not a size, EINVAL" "Invalid argument" \
		cgset -r cdm.max="node2 many" $group
	is "a refused value changes nothing" \
		"$(keyed $CG/$group/cdm.max node2)" $((32 * MIB))

	check "cgset: the policy" cgset -r cdm.policy=fail $group
	is "cgget: the policy" "$(cgget -nv -r cdm.policy $group)" "default fail"
	like "cgget: the limits" "$(cgget -r cdm.max $group)" \
		"node2 $((32 * MIB))"

	out=$(cgexec -g cdm:$group "$HOG" -n 2 -s 48)
	is "cgexec: the quota holds, to the last page" \
		"$(field device "$out")" 32
	is "cgexec: and the policy" "$(field end "$out")" SIGBUS
	is "all is given back" "$(cgget -nv -r cdm.current $group)" "node2 0"

	check "cgdelete" cgdelete -g cdm:/$group
	[ ! -e $CG/$group ]
	result $? "the group is gone"
}

without_cdm()
{
	mkdir $CG/$group
	refused "cdm=off: cgcreate says so" "." cgcreate -g cdm:/$group-2

	# libcgroup 3 prints that the controller can't be added, exit status 0.
	like "cdm=off: cgset says so" \
		"$(cgset -r cdm.max="node2 32M" $group 2>&1; echo "status $?")" \
		"status [1-9]|cdm can't be add"
	rmdir $CG/$group
}

host()
{
	plan 22
	in_guest 18 with_cdm
	in_guest 2 without_cdm --append cdm=off
}

run_halves "$@"
