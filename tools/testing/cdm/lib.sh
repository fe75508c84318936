# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the demo and the host tests share; sourced, not run.
#
# The caller's environment may hold (make sets them; these are the defaults):
#   CDM_REPO   the repository
#   CDM_VM     the program that boots guests   ($CDM_REPO/scripts/vm)
#   CDM_BUILD  where guest programs are built  (a directory the guest can see)
#   CDM_LANE   the kernel configuration to boot ($CDM_VM's default)
#
# A test is one script in two halves.  Called by the user it is the host half:
# it prints the TAP plan and boots guests, in which it calls itself with the
# name of one of its functions.  The guest half prints TAP cases too.

# The demo and the tests all run programs of this directory.
CDM_TESTING=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${CDM_REPO:=$(cd "$CDM_TESTING/../../.." && pwd)}"
: "${CDM_VM:=$CDM_REPO/scripts/vm}"
: "${CDM_BUILD:=$HOME/.cache/cdm/guest-programs}"
export CDM_REPO CDM_VM CDM_BUILD

export CG=/sys/fs/cgroup
export MIB=1048576

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# build_program NAME [LIBRARY...]: build what runs in the guest, and print where
# it is.  Static: a container has no libraries.
build_program()
{
	local src=$CDM_TESTING/demo/$1.c bin=$CDM_BUILD/demo/$1

	shift
	echo "$bin"
	[ "$bin" -nt "$src" ] && return
	mkdir -p "$CDM_BUILD/demo" || die "cannot make $CDM_BUILD"
	${CC:-cc} -static -O2 -Wall -Wextra -o "$bin.$$" "$src" "$@" ||
		die "cannot build $src"
	mv "$bin.$$" "$bin"
}

build_hog()
{
	HOG=$(build_program hog) || exit
}

# vm [options of vm run] -- command...
vm()
{
	"$CDM_VM" run ${CDM_LANE:+--lane "$CDM_LANE"} "$@"
}

# ----------------------------------------------------------------- TAP ----

TAP_NR=0
TAP_FAILED=0

plan()
{
	echo "TAP version 13"
	echo "1..$1"
}

diag()
{
	printf '%s\n' "$*" | sed 's/^/# /'
}

# result STATUS DESCRIPTION
result()
{
	TAP_NR=$((TAP_NR + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $TAP_NR - $2"
	else
		echo "not ok $TAP_NR - $2"
		TAP_FAILED=$((TAP_FAILED + 1))
	fi
}

# is DESCRIPTION GOT WANTED: both texts are the same
is()
{
	[ "$2" = "$3" ]
	result $? "$1"
	[ "$2" = "$3" ] || {
		diag "got:"
		diag "$2"
		diag "wanted:"
		diag "$3"
	}
}

# like DESCRIPTION GOT REGEX: a line of the text matches
like()
{
	local status=0

	printf '%s\n' "$2" | grep -qE -e "$3" || status=1
	result $status "$1"
	[ $status -eq 0 ] || {
		diag "got:"
		diag "$2"
		diag "wanted a line like: $3"
	}
}

# check DESCRIPTION COMMAND...: the command succeeds; its output if it does not
check()
{
	local what=$1 out status

	shift
	out=$("$@" 2>&1)
	status=$?
	result $status "$what"
	[ $status -eq 0 ] || {
		diag "status $status: $*"
		[ -z "$out" ] || diag "$out"
	}
}

# refused DESCRIPTION REGEX COMMAND...: fails, and its output says why
refused()
{
	local what=$1 why=$2 out status

	shift 2
	out=$("$@" 2>&1)
	status=$?
	if [ $status -ne 0 ] && printf '%s\n' "$out" | grep -qE -e "$why"; then
		result 0 "$what"
		return
	fi
	result 1 "$what"
	diag "status $status: $*"
	diag "${out:-(no output)}"
	diag "wanted a failure that says: $why"
}

# in_guest CASES FUNCTION [options of vm run]: boot a guest, in which this
# script calls FUNCTION, which prints CASES cases.  One more case is that the
# run itself was clean: all of them were printed, the kernel log has no warning
# and the books balance at the end.
in_guest()
{
	local cases=$1 function=$2 out status n

	shift 2
	out=$(mktemp)
	vm "$@" -- "$(realpath "$0")" --guest "$HOG" "$TAP_NR" "$function" |
		tee "$out"
	status=${PIPESTATUS[0]}
	n=$(grep -cE '^(not )?ok ' "$out")
	rm -f "$out"

	TAP_NR=$((TAP_NR + cases))
	[ "$status" -eq 0 ] && [ "$n" -eq "$cases" ]
	result $? "$function: the guest run is clean"
	[ "$status" -eq 0 ] || diag "exit status $status"
	[ "$n" -eq "$cases" ] || diag "$n cases of $cases"
}

# The last line of a test: call the half that is wanted.
run_halves()
{
	if [ "${1:-}" = --guest ]; then
		HOG=$2
		TAP_NR=$3
		"$4"
		exit 0
	fi
	build_hog
	host
	[ $TAP_FAILED -eq 0 ]
}

# -------------------------------------------------------- in the guest ----

# new_group NAME: a group with cdm; prints its path
new_group()
{
	echo +cdm > $CG/cgroup.subtree_control &&
	mkdir "$CG/$1" &&
	echo "$CG/$1"
}

# in_group PATH COMMAND...
in_group()
{
	sh -c 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"' sh "$@"
}

# field KEY LINE: the value of key= in a line
field()
{
	printf '%s\n' "$2" | tr ' ' '\n' | sed -n "s/^$1=//p"
}

# keyed FILE KEY: the rest of the line that starts with the key
keyed()
{
	sed -n "s/^$2 //p" "$1"
}

# setting FILE NODE: the value that a node has in a file of settings
setting()
{
	local own

	own=$(keyed "$1" "$2")
	echo "${own:-$(keyed "$1" default)}"
}

# node_kb NODE FIELD: a number of /sys/devices/system/node/nodeN/meminfo
node_kb()
{
	awk -v f="$2:" '$3 == f { print $4 }' \
		"/sys/devices/system/node/node$1/meminfo"
}

# meminfo_kb FIELD
meminfo_kb()
{
	awk -v f="$1:" '$1 == f { print $2 }' /proc/meminfo
}
