#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A real client: a container started by runc gets its quota and its policy from
# linux.resources.unified of its OCI configuration, which takes files of
# controllers that runc does not know.
#
# runc before 1.2 writes a value of several lines in one write(2), later ones
# write line by line; both must work.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

id=cdm-runc-test
group=$CG/$id
bundle=/scratch/$id

# bundle MAX POLICY COMMAND...: make the bundle; MAX is a JSON string's inside
bundle()
{
	local max=$1 policy=$2 args

	shift 2
	args=$(printf ', "%s"' "$@")
	mkdir -p $bundle/rootfs/{bin,proc,dev,sys}
	cp -f "$(command -v busybox)" "$HOG" $bundle/rootfs/bin/
	cat > $bundle/config.json <<-JSON
	{
	  "ociVersion": "1.0.2",
	  "process": {
	    "user": { "uid": 0, "gid": 0 },
	    "args": [ ${args#, } ],
	    "env": [ "PATH=/bin" ],
	    "cwd": "/"
	  },
	  "root": { "path": "rootfs", "readonly": true },
	  "mounts": [
	    { "destination": "/proc", "type": "proc", "source": "proc" },
	    { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
	      "options": [ "nosuid", "mode=755", "size=64k" ] }
	  ],
	  "linux": {
	    "cgroupsPath": "/$id",
	    "namespaces": [
	      { "type": "pid" }, { "type": "mount" }, { "type": "ipc" },
	      { "type": "uts" }
	    ],
	    "resources": {
	      "unified": { "cdm.max": "$max", "cdm.policy": "$policy" }
	    }
	  }
	}
	JSON
}

create()
{
	runc create --bundle $bundle $id < /dev/null > $bundle/out \
		2> $bundle/err || {
		cat $bundle/err
		return 1
	}
}

# until_status STATUS: wait until the container has it
until_status()
{
	local i

	for ((i = 0; i < 300; i++)); do
		runc state $id 2> /dev/null |
			grep -q "\"status\": \"$1\"" && return
		sleep 0.1
	done
	runc state $id
	return 1
}

# An id that cannot be made leaves nothing to delete.
cannot_create()
{
	create || return
	runc delete --force $id
}

deleted()
{
	check "runc delete" runc delete "$@" $id
	[ ! -e $group ]
	result $? "nothing is left of the group"
}

one_node()
{
	bundle "node2 32M" fail /bin/hog -n 2 -s 96 -c 1
	check "runc create" create
	is "the group has the quota before the program starts" \
		"$(keyed $group/cdm.max node2)" $((32 * MIB))
	is "and the policy" "$(cat $group/cdm.policy)" "default fail"

	check "runc start" runc start $id
	check "the program ends" until_status stopped
	like "the quota held, to the last page" "$(cat $bundle/out)" \
		" device=32 "
	like "it got SIGBUS" "$(cat $bundle/out)" " end=SIGBUS$"
	is "the peak is the quota" "$(keyed $group/cdm.peak node2)" \
		$((32 * MIB))
	deleted
}

several_lines()
{
	local i stay

	bundle 'default 0\nnode2 32M' fallback /bin/hog -n 2 -s 96 -w
	check "several lines: runc create" create
	is "both lines apply" "$(head -n 2 $group/cdm.max)" \
		"default 0"$'\n'"node2 $((32 * MIB))"
	runc start $id
	for ((i = 0; i < 300; i++)); do
		[ -s $bundle/out ] && break
		sleep 0.1
	done
	like "the quota holds, the rest is in RAM" "$(cat $bundle/out)" \
		" device=32 ram=64 "
	is "cdm.current" "$(keyed $group/cdm.current node2)" $((32 * MIB))

	echo '{ "unified": { "cdm.max": "node2 16M" } }' > $bundle/update.json
	check "runc update lowers the quota of the running container" \
		runc update --resources $bundle/update.json $id
	# Pages leave in batches, so up to 128 pages less than the limit stay.
	stay=$(keyed $group/cdm.current node2)
	[ "$stay" -le $((16 * MIB)) ] && [ "$stay" -gt $((16 * MIB - MIB / 2)) ]
	result $? "and its pages leave the device: $stay bytes stay"
	deleted --force
}

bad_values()
{
	bundle "node9 1M" fail /bin/hog
	refused "no such node: runc says so" "no such device" cannot_create
	bundle "node2 99999999999999999999" fail /bin/hog
	refused "too large: runc says so" "numerical result out of range" \
		cannot_create
	bundle "node2 32M" sometimes /bin/hog
	refused "no such policy: runc says so" "invalid argument" cannot_create
	[ ! -e $group ]
	result $? "a container that was not made leaves no group"
}

containers()
{
	one_node
	several_lines
	bad_values
	is "the root has no usage left" \
		"$(keyed $CG/cdm.current node2)" 0
}

host()
{
	plan 24
	in_guest 23 containers --timeout 300
}

run_halves "$@"
