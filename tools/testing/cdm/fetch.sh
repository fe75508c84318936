#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Unpack the kernel source that patches/BASE/base names, and print where:
#
#   $ scripts/fetch v6.12
#   /home/me/.cache/cdm/base/linux-source-6.12_6.12.107-1
#
# The package comes from the mirrors that this machine already uses, by a
# private apt configuration, as the suite that carries it need not be the one
# that is installed here. apt verifies the signatures of the package lists.
# KSRC=<dir> is used instead, when set: any tree of the same series.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=$(realpath -m "${CDM_CACHE:-$HOME/.cache/cdm}")
pin=$here/../../../patches/$1/base
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$cache/base"

die() {
	echo "fetch: $*" >&2
	exit 1
}

field() {
	sed -n "s/^$1[[:space:]]*//p" "$pin"
}

# A copy, as a tree that was built in cannot serve for builds outside of it.
use_ksrc() {
	local series

	[ -r "$KSRC/Makefile" ] || die "no kernel source in KSRC=$KSRC"
	series=$(awk '$1 == "VERSION" { v = $3 } $1 == "PATCHLEVEL" { p = $3 }
		END { print "v" v "." p }' "$KSRC/Makefile")
	[ "$series" = "$1" ] || die "$KSRC is $series, not $1"
	dir=$cache/base/ksrc-$(realpath "$KSRC" | sha256sum | cut -c1-12)
	rsync -a --delete --exclude=.git --exclude=/.pc --exclude=/patches \
		"$KSRC/" "$dir/"
	[ ! -e "$dir/.config" ] || make -s -C "$dir" mrproper
	echo "$dir"
}

# The archives of this machine's sources that are Debian itself (and not its
# security updates or others), whatever form the sources have.
sites() {
	# shellcheck disable=SC2016	# apt expands these
	apt-get indextargets --format '$(LABEL)|$(SITE)' \
		'Created-By: Packages' | sed -n 's/^Debian|//p' | sort -u
}

my_apt() {
	apt-get -q -o Dir::Etc::SourceList="$apt/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" \
		-o Dir::State::Status=/dev/null \
		-o APT::Sandbox::User="$(id -un)" "$@"
}

# A proxy or a mirror of its own may be all that this machine reaches; its apt
# configuration says, and stays in force.
setup_apt() {
	local site suite sudo=

	apt=$cache/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	if [ -z "$(sites)" ]; then
		[ "$(id -u)" = 0 ] || sudo=sudo
		$sudo apt-get -q update >&2
	fi
	for site in $(sites); do
		for suite in $(field suites); do
			echo "deb [signed-by=$keyring] $site $suite main"
		done
	done >"$apt/sources.list"
	[ -s "$apt/sources.list" ] || die "no Debian mirror among this" \
		"machine's package sources; set KSRC=<a tree of $1>"
	my_apt update >&2 || echo "fetch: some package lists are missing" >&2
}

# The newest that the mirror has, when the pinned version left it.
newest() {
	my_apt -o APT::Get::Print-URIs=1 download "$package" 2>/dev/null |
		sed -n "s/^'[^']*' \([^ ]*\)_\([^_]*\)_all.deb .*/\2/p" | tail -1
}

download() {
	local deb

	setup_apt "$1"
	cd "$cache/base"
	if my_apt download "$package=$version" >&2; then
		deb=$(echo "${package}"_*.deb)
		echo "$(field sha256)  $deb" | sha256sum --quiet -c >&2 ||
			die "$deb is not what $pin says"
		return
	fi
	version=$(newest)
	[ -n "$version" ] || die "the mirrors have no $package"
	echo "$version" >"$instead"
	dir=$cache/base/${package}_$version
	[ -d "$dir" ] || my_apt download "$package=$version" >&2
}

unpack() {
	local deb new=$dir.new.$$

	deb=$(ls "$cache/base/$package"_*.deb)
	rm -rf "$cache/base"/*.new.*
	mkdir -p "$new/tree"
	echo "unpacking $package $version" >&2
	dpkg-deb --fsys-tarfile "$deb" |
		tar -x -C "$new" --wildcards --strip-components=3 \
			"./usr/src/linux-source-*.tar.*"
	tar -x -C "$new/tree" --strip-components=1 \
		-f "$new"/linux-source-*.tar.*
	mv "$new/tree" "$dir"
	rm -rf "$new" "$deb"
}

[ -r "$pin" ] || die "no $pin"
if [ -n "${KSRC-}" ]; then
	use_ksrc "$1"
	exit
fi
package=$(field package)
version=$(field version)
dir=$cache/base/${package}_$version
instead=$dir.instead
exec 9>"$cache/base/.lock"
flock 9
if [ ! -d "$dir" ] && [ -e "$instead" ]; then
	version=$(cat "$instead")
	dir=$cache/base/${package}_$version
fi
if [ ! -d "$dir" ]; then
	rm -f "$cache/base/$package"_*.deb
	download "$1"
	[ -d "$dir" ] || unpack
fi
if [ "$version" != "$(field version)" ]; then
	cat >&2 <<-END
	fetch: ########################################################
	fetch: # the mirrors no longer have $package $(field version);
	fetch: # using their $version, which the hooks may not fit
	fetch: ########################################################
	END
fi
echo "$dir"
