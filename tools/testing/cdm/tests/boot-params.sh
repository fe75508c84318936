#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# cdm_nodes= and cdm=: what cannot be a device node is refused with a line in
# the kernel log that names it, and the rest of the parameter still counts.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

# The nodes that are device nodes now
cdm_nodes()
{
	cat /sys/devices/system/node/has_coherent_memory
}

# The log's lines about cdm
cdm_log()
{
	dmesg | sed -n 's/^\[[^]]*\] *//; /^cdm: /p'
}

log_says()
{
	like "the log says: $1" "$(cdm_log)" "^cdm: $1"
}

no_such_node()
{
	is "cdm_nodes=2,9: node 2 is taken" "$(cdm_nodes)" 2
	log_says "node 9: no such node, ignored"
	is "node 2 has its capacity" \
		"$(keyed $CG/cdm.capacity node2)" \
		$(($(node_kb 2 MemTotal) * 1024))
}

node_with_cpus()
{
	is "cdm_nodes=0-2: node 2 is taken" "$(cdm_nodes)" 2
	log_says "node 0: has CPUs, ignored"
	log_says "node 1: has CPUs, ignored"
}

only_ram()
{
	is "the only node with RAM is not taken" "$(cdm_nodes)" ""
	log_says "node 2: the only node with RAM, ignored"
}

garbage()
{
	is "cdm_nodes=banana: there is no device node" "$(cdm_nodes)" ""
	like "the log says so" "$(cdm_log)" "^cdm: .*banana"
	is "the controller is there all the same" \
		"$(tr ' ' '\n' < $CG/cgroup.controllers | grep -x cdm)" cdm
}

off()
{
	is "cdm=off: no controller" \
		"$(tr ' ' '\n' < $CG/cgroup.controllers | grep -x cdm)" ""
	is "no files" "$(find $CG -maxdepth 1 -name 'cdm.*')" ""
	is "no device node" \
		"$(cdm_nodes 2> /dev/null)" ""
	is "MemTotal counts every node" "$(meminfo_kb MemTotal)" \
		"$(cat /sys/devices/system/node/node*/meminfo |
			awk '$3 == "MemTotal:" { n += $4 } END { print n }')"
}

no_memory()
{
	is "cgroup_disable=memory: no controller" \
		"$(tr ' ' '\n' < $CG/cgroup.controllers | grep -x cdm)" ""
	is "no files" "$(find $CG -maxdepth 1 -name 'cdm.*')" ""
	log_says "no control groups without memory"
	is "the node is isolated" "$(cdm_nodes)" 2
	is "who names it gets it" \
		"$(field device "$("$HOG" -n 2 -s 32)")" 32
}

as_shipped()
{
	is "the default command line: node 2" "$(cdm_nodes)" 2
	log_says "node 2: 25[56] MiB of coherent device memory"
	is "MemTotal leaves it out" "$(meminfo_kb MemTotal)" \
		$(($(node_kb 0 MemTotal) + $(node_kb 1 MemTotal)))
	is "CdmTotal counts it" "$(meminfo_kb CdmTotal)" "$(node_kb 2 MemTotal)"
}

# The zone of ordinary memory that is plugged into node 3 and goes online as the
# global policy says
plugged_zone()
{
	local block

	cdm-hotplug add none || return
	for block in /sys/devices/system/node/node3/memory[0-9]*; do
		block=/sys/devices/system/memory/${block##*/}
		echo online > "$block/state" && cat "$block/valid_zones"
	done | sort -u
}

ordinary()
{
	is "cdm_nodes=2: node 2 is taken" "$(cdm_nodes)" 2
	is "RAM that is plugged in is not movable" "$(plugged_zone)" Normal
}

ordinary_movable()
{
	is "cdm_nodes=2 and movable_node: node 2 is taken" "$(cdm_nodes)" 2
	is "RAM that is plugged in is movable" "$(plugged_zone)" Movable
}

host()
{
	local drop=(--without "cdm_nodes=2,3" --allow "cdm: .*ignored")

	plan 37
	in_guest 4 as_shipped
	in_guest 3 no_such_node "${drop[@]}" --append cdm_nodes=2,9
	in_guest 3 node_with_cpus "${drop[@]}" --append cdm_nodes=0-2
	in_guest 2 only_ram --nodes onlyram "${drop[@]}" --append cdm_nodes=2
	in_guest 3 garbage "${drop[@]}" --append cdm_nodes=banana
	in_guest 4 off --append cdm=off
	in_guest 5 no_memory --append cgroup_disable=memory
	in_guest 2 ordinary --without "cdm_nodes=2,3" --append cdm_nodes=2
	in_guest 2 ordinary_movable --without "cdm_nodes=2,3" \
		--append cdm_nodes=2 --append movable_node
}

run_halves "$@"
