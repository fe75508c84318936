#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The quick tour of README.md works, line by line, and prints what README.md
# says it prints.
#
# In the section "Quick tour" the lines of the ```console blocks that start with
# "# " are commands; what follows each is its output.  A line "..." stands for
# any number of lines.  A command's exit status is 0 unless the tour itself
# looks at it ("echo $?") in the next line.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

# commands: the tour's commands, numbered, and outputs, as files in $1
extract()
{
	awk -v dir="$1" '
	/^## /				{ tour = /^## Quick tour/ }
	!tour				{ next }
	/^```/				{ block = /^```console/; next }
	!block				{ next }
	/^# /				{ n++
					  f = sprintf("%s/%03d", dir, n)
					  print substr($0, 3) > (f ".cmd")
					  printf "" > (f ".out")
					  next }
	n				{ print > (f ".out") }
	' "$CDM_REPO/README.md"
}

# as_written GOT WANTED: the same text, where a line "..." stands for any lines
as_written()
{
	awk -v wanted="$2" '
	BEGIN	{ n = split(wanted, w, "\n")
		  while ((getline line < ARGV[1]) > 0)
			g[++m] = line
		  exit !match_from(1, 1) }
	function match_from(i, j)
	{
		if (i > n)
			return j > m
		if (w[i] == "...") {
			for (; j <= m + 1; j++)
				if (match_from(i + 1, j))
					return 1
			return 0
		}
		return j <= m && g[j] == w[i] && match_from(i + 1, j + 1)
	}' "$1"
}

run_tour()
{
	local dir=/tmp/tour cmd out status wanted line next

	mkdir -p $dir
	extract $dir
	cd /scratch || return
	status=0

	for cmd in "$dir"/*.cmd; do
		out=${cmd%.cmd}.out
		line=$(cat "$cmd")
		wanted=$(cat "$out")

		# In this shell, which keeps the tour's variables, and after a
		# command with the last one's status, which the tour may print.
		(exit $status)
		eval "$line" > $dir/got 2>&1
		status=$?

		next=$(printf '%s/%03d.cmd' $dir $((TAP_NR + 2)))
		# shellcheck disable=SC2016
		if [ $status -ne 0 ] &&
		   ! grep -qx 'echo $?' "$next" 2> /dev/null; then
			result 1 "$line"
			diag "exit status $status"
			diag "$(cat $dir/got)"
		elif [ -s "$dir/got" ] || [ -n "$wanted" ]; then
			as_written $dir/got "$wanted"
			result $? "$line"
			as_written $dir/got "$wanted" || {
				diag "printed:"
				diag "$(cat $dir/got)"
				diag "README.md says:"
				diag "$wanted"
			}
		else
			result 0 "$line"
		fi
	done
}

host()
{
	local dir

	dir=$(mktemp -d)
	extract "$dir"
	set -- "$dir"/*.cmd
	rm -rf "$dir"
	plan $(($# + 1))
	in_guest $# run_tour
}

run_halves "$@"
