#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The demo of two tenants, with few requests: its verdict on cdm.low is good,
# and samples in which one thing is wrong make it bad.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

demo=$CDM_TESTING/demo

# spoiled WHAT REGEX SCRIPT: the verdict is bad, and says why, for samples that
# sed's SCRIPT has changed
spoiled()
{
	sed -E "$3" "$dir/tenants.samples" > "$dir/spoiled"
	refused "a bad verdict: $1" "^  WRONG .*$2" \
		env LC_ALL=C "$demo/tenants.py" "$dir/spoiled"
}

host()
{
	local out low='/run=low .*name'

	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	plan 11

	out=$(LC_ALL=C "$demo/tenants.sh" --short --out "$dir" 2>&1)
	result $? "the demo ends well"
	diag "$out"
	like "it says so" "$(printf '%s\n' "$out" | tail -n 1)" "^PASS: "
	is "a chart for each run" \
		"$(printf '%s\n' "$out" | grep -c '256 M |')" 3
	is "in plain ASCII" "$(printf '%s' "$out" | LC_ALL=C tr -d '\n -~')" ""
	like "without control less than half of the protected one's are there" \
		"$(printf '%s\n' "$out" | grep '^  .* at end ')" \
		"at end +[0-4]?[0-9]\.[0-9] %"
	is "a picture" "$(head -c 4 "$dir/tenants.png" | tail -c 3)" PNG

	spoiled "less of the device than promised" "protected pages" \
		"$low=protected/s/ device=[0-9]+/ device=99/"
	spoiled "a part of the device is unused" "in use" \
		"$low=node/s/used=2/used=1/"
	spoiled "more demoted than handed over" "per page handed over" \
		"$low=greedy/s/demoted=/demoted=1/"
	spoiled "one of its own pages demoted" "own pages" \
		"$low=protected/s/demoted=.*/demoted=4096/"
	spoiled "no run with cdm.low" "no run with cdm.low" "/run=low /d"
}

run_halves "$@"
