#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Documentation/admin-guide/cgroup-v2/cdm.rst and the running kernel have the
# same files, in the same cgroups, with the same modes, formats and defaults.
# Both ways: a file that is not documented fails like one that is missing.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

doc=$CDM_REPO/Documentation/admin-guide/cgroup-v2/cdm.rst

# The documented files, a line each: name, mode, format, where.  An entry is the
# name, indented by two blanks, and then a sentence like
#   A read-only flat-keyed file which exists on non-root cgroups.
documented()
{
	awk '
	function flush()
	{
		if (name == "")
			return
		mode = format = where = "?"
		if (text ~ /A read-only /)
			mode = 444
		if (text ~ /A read-write /)
			mode = 644
		if (text ~ /A write-only /)
			mode = 200
		if (text ~ / single value file /)
			format = "single"
		if (text ~ / flat-keyed file /)
			format = "flat"
		if (text ~ / nested-keyed file /)
			format = "nested"
		if (text ~ / exists on all cgroups\./)
			where = "root,child"
		if (text ~ / exists on non-root cgroups\./)
			where = "child"
		if (text ~ / exists on the root cgroup\./)
			where = "root"
		print name, mode, format, where
		name = ""
	}
	/^  cdm\.[a-z.]+$/	{ flush(); name = $1; text = ""; body = 0; next }
	name != "" && /^\t/	{ text = text " " $0; body = 1; next }
	name != "" && body	{ flush() }
	END			{ flush() }' "$doc" | sort
}

# The format of a file, by its first line.  A list of KEY VALUE lines is
# flat-keyed, KEY SUBKEY=VALUE... is nested-keyed.  A file that cannot be read
# has the format that it accepts.
format()
{
	if [ "$(stat -c %a "$1")" = 200 ]; then
		echo "node2 0" > "$1" && echo flat
		return
	fi
	awk '
	NF < 2		{ print "single"; exit }
	$2 ~ /=/	{ print "nested"; exit }
			{ print "flat"; exit }' "$1"
}

# files WHERE DIRECTORY: what the kernel has there: name, mode, format, where
files()
{
	local f

	for f in "$2"/cdm.*; do
		[ -e "$f" ] &&
			echo "${f##*/} $(stat -c %a "$f") $(format "$f") $1"
	done
}

# present: root and child of a file in one line
present()
{
	{
		files root $CG
		files child $CG/documented
	} | sort | awk '
	{ key = $1 " " $2 " " $3 }
	key == last	{ line = line "," $4; next }
			{ if (last != "") print line; line = $0; last = key }
	END		{ if (last != "") print line }' |
		sed 's/child,root$/root,child/' | sort
}

compare()
{
	local file default

	new_group documented > /dev/null || return

	is "the files: name, mode, format, where" "$(present)" "$(documented)"

	# A new group has the defaults that are documented.
	for file in cdm.max cdm.low cdm.policy; do
		default=$(sed -n "/^  $file\$/,/^  cdm/p" "$doc" | tr '\n\t' '  ' |
			sed -n 's/.*[Tt]he *default *is "\([^"]*\)".*/\1/p')
		is "$file: the default is \"$default\"" \
			"$(sed 's/^default //; q' "$CG/documented/$file")" \
			"$default"
	done

	# Exactly the documented keys of cdm.events.
	is "cdm.events: the documented keys" \
		"$(keyed $CG/documented/cdm.events node2 | sed 's/=[0-9]*//g')" \
		"$(sed -n '/^  cdm.events$/,/^  cdm.events.local$/p' "$doc" |
			sed -n 's/^\t  \([a-z]*\)$/\1/p' | paste -sd' ')"

	# Every documented policy is accepted, and can be read back.
	# shellcheck disable=SC2013
	for policy in $(sed -n '/^  cdm.policy$/,/^  cdm.events$/p' "$doc" |
			sed -n 's/^\t  \([a-z,]*\)$/\1/p' | sort -u); do
		echo "$policy" > $CG/documented/cdm.policy
		is "cdm.policy takes $policy" \
			"$(cat $CG/documented/cdm.policy)" "default $policy"
	done

	is "/proc/meminfo has what is documented" \
		"$(grep -o '^Cdm[A-Za-z]*' /proc/meminfo)" \
		"$(grep -o '\<Cdm[A-Za-z]*' "$doc" | awk '!seen[$0]++')"

	# shellcheck disable=SC2013
	for file in $(sed -n 's|^  \(/sys/[^ <]*\)$|\1|p' "$doc"); do
		is "$file is read-only" "$(stat -c %a "$file")" 444
	done
	rmdir $CG/documented
}

host()
{
	plan 15
	in_guest 14 compare
}

run_halves "$@"
