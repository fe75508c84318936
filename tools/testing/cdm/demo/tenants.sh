#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The demo of two tenants: boot a guest in which a greedy tenant fills the
# device before a protected one starts; without control, with cdm.max only and
# with cdm.low. Show how much of the device each tenant has, and how many of its
# accesses the device serves.
#
#   tenants.sh [--short] [--out DIR]
#
# DIR (~/.cache/cdm/demo) gets the samples and the charts as a picture.  --short
# is the same with fewer requests.  Every number comes from the guest.  The exit
# status is 1 when the protected tenant had less than cdm.low, or the greedy one
# lost more than that requires.

# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

NODE=2
# Rounds of the greedy tenant alone and of both, and the requests in each
rounds=(18 30 1000)
out=${CDM_CACHE:-$HOME/.cache/cdm}/demo

while [ $# -gt 0 ]; do
	case $1 in
	--short)
		rounds=(6 4 2000)
		;;
	--out)
		[ $# -gt 1 ] || die "--out: which directory?"
		out=$2
		shift
		;;
	*)
		die "usage: ${0##*/} [--short] [--out DIR]"
		;;
	esac
	shift
done

mkdir -p "$out" || die "cannot make $out"
TENANT=$(build_program tenant -lm) || exit
# Only the numbers matter: without gnuplot there is just no picture.
"$CDM_REPO/scripts/need" plot || true

cat <<'END'

cdm: two tenants share a device

  Each tenant is a cache of 64 KiB objects that prefers the memory of the device
  and serves requests by Zipf's law; an object that is not there takes the place
  of the one not used for longest, in memory that is given back and asked for
  again.  The greedy tenant comes first and wants more than the device has; the
  protected one wants half of it, later.  That takes a minute or two.

END

log=$(mktemp)
trap 'rm -f "$log"' EXIT
vm --timeout 900 -- "$CDM_TESTING/demo/tenants-guest.sh" "$TENANT" $NODE \
	"${rounds[@]}" > "$log" 2>&1
status=$?
if [ $status -ne 0 ]; then
	cat "$log" >&2
	die "the guest failed with status $status"
fi
sed -n 's/\r$//; s/^row //p' "$log" > "$out/tenants.samples"

"$CDM_TESTING/demo/tenants.py" --png "$out/tenants.png" "$out/tenants.samples"
