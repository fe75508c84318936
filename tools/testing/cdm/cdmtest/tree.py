# SPDX-License-Identifier: GPL-2.0
"""Make, update and read back the scratch tree: base + overlay + hooks.

  $ scripts/tree
  tree v6.12: 14 files, 19 patches: /home/me/.cache/cdm/clones/.../tree
  $ cd <that>; quilt edit mm/page_alloc.c; scripts/tree refresh

What this repository adds stands at its path in the tree (the overlay); what it
changes in existing files is a quilt series, patches/BASE/series. Files whose
content stays the same keep their times, so that make does not rebuild them.
Edits made in the tree are never lost: an update that would overwrite one stops.

  tree patched     bring the tree up to date with the repository (default)
  tree pristine    only have the base unpacked
  tree refresh     write the tree's edits to the repository
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

from . import files, hooks, log, packages, paths, proc, repo

# Refreshed patches are the same byte for byte, whoever refreshes them.
REFRESH = ["-p", "ab", "--no-timestamps", "--no-index", "-f"]


def sha_of(path):
    return files.sha(files.read(path)) if os.path.isfile(path) else ""


class Tree:
    """The scratch tree and what was last put into it."""

    def __init__(self, place):
        self.place = place
        self.dir = place.tree
        self.record = f"{place.work}/tree.json"
        self.state = {"base": "", "overlay": {}, "patches": {}, "patched": {}}
        if os.path.isdir(self.dir):
            self.state.update(json.loads(files.read(self.record, b"")
                                         or "{}"))

    def save(self):
        files.write(self.record, json.dumps(self.state, indent=1))

    def quilt(self, verb, *args):
        """Whether it worked, and what it printed; not with one's own rc."""
        p = subprocess.run(["quilt", "--quiltrc", "-", verb, *args],
                           env=dict(os.environ, QUILT_PATCHES="patches",
                                    LC_ALL="C"),
                           cwd=self.dir, text=True, errors="replace",
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        return p.returncode == 0, p.stdout

    def applied(self):
        ok, out = self.quilt("applied")
        return out.split() if ok else []

    def edited(self, kind):
        """Files of the tree that are not as they were put there."""
        known = dict(self.state[kind])
        if kind == "patched":
            # Those of a patch that is being made were as in the base.
            for p in self.touched():
                known.setdefault(p, sha_of(f"{self.state['base']}/{p}"))
        return [p for p, sha in known.items()
                if sha_of(f"{self.dir}/{p}") != sha]

    def touched(self):
        """Files that the applied patches touch."""
        ok, out = self.quilt("files", "-a")
        return sorted({*self.state["patched"], *(out.split() if ok else [])})

    def pop(self):
        """Back to the base. Not by quilt, which does not know what is applied
        any more when a patch has got another name in the series.
        """
        for p in self.touched():
            base = f"{self.state['base']}/{p}"
            if os.path.exists(base):
                files.write(f"{self.dir}/{p}", files.read(base))
                shutil.copymode(base, f"{self.dir}/{p}")
            elif os.path.exists(f"{self.dir}/{p}"):
                os.unlink(f"{self.dir}/{p}")
        shutil.rmtree(f"{self.dir}/.pc", ignore_errors=True)

    # From the repository to the tree.

    def create(self, pristine):
        log.note(f"tree {self.place.base}: copying {pristine}")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.place.work, exist_ok=True)
        proc.run(["cp", "-a", "--reflink=auto", pristine, self.dir + ".new"])
        os.rename(self.dir + ".new", self.dir)
        self.link_patches()
        self.state = {"base": pristine, "overlay": {}, "patches": {},
                      "patched": {}}
        self.save()

    def link_patches(self):
        """quilt finds the series in the tree's directory "patches": that of the
        repository, or for another version than the pinned one a copy of it,
        with the variants that are to be applied.
        """
        link, copies = f"{self.dir}/patches", f"{self.place.work}/patches"
        target = self.place.hooks
        if not hooks.pinned(self.place):
            target = copies
            shutil.rmtree(copies, ignore_errors=True)
            for name, path in [*hooks.paths_of(self.place),
                               ("series", f"{self.place.hooks}/series")]:
                files.write(f"{copies}/{name}", files.read(path))
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(target, link)

    def sync_overlay(self):
        """Returns how many files changed."""
        old, edited = self.state["overlay"], set(self.edited("overlay"))
        now = {p: sha_of(f"{paths.REPO}/{p}") for p in repo.overlay()}
        change = [p for p in {**old, **now} if old.get(p) != now.get(p)]
        lost = [p for p in change if p in edited
                and sha_of(f"{self.dir}/{p}") != now.get(p, "")]
        if lost:
            log.die("edited both in the repository and in the tree "
                    f"{self.dir}:\n  " + "\n  ".join(lost))
        for p in change:
            target = f"{self.dir}/{p}"
            if p not in now:
                if os.path.exists(target):
                    os.unlink(target)
                continue
            if p not in old and os.path.exists(f"{self.state['base']}/{p}"):
                log.die(f"{p} is a file of the base: change it by a patch")
            files.write(target, files.read(f"{paths.REPO}/{p}"))
            shutil.copymode(f"{paths.REPO}/{p}", target)
        self.state["overlay"] = now
        self.save()
        for p in edited - set(change):
            log.note(f"tree {self.place.base}: edited, not refreshed: {p}")
        return len(change)

    def sync_patches(self):
        """Returns how many patches were applied anew."""
        want = {p: sha_of(path) for p, path in hooks.paths_of(self.place)}
        edited = self.edited("patched")
        if list(want.items()) == list(self.state["patches"].items()):
            for p in edited:
                log.note(f"tree {self.place.base}: edited, not refreshed: {p}")
            return 0
        if edited:
            log.die(f"the tree {self.dir} has edits that the changed patches "
                    "would overwrite; make refresh or undo them:\n  "
                    + "\n  ".join(edited))
        before = self.snapshot(self.touched())
        self.pop()
        self.link_patches()
        self.state.update(patches={}, patched={})
        self.save()
        if want:
            self.push()
        after = self.touched()
        # What a patch no longer touches is as in the base, times included.
        for p in set(before) - set(after):
            base = f"{self.state['base']}/{p}"
            if os.path.exists(base):
                os.utime(f"{self.dir}/{p}")
        for p in after:
            sha, times = before.get(p) or ("", None)
            if times and sha_of(f"{self.dir}/{p}") == sha:
                os.utime(f"{self.dir}/{p}", ns=times)
        self.state.update(
            patches=want,
            patched={p: sha_of(f"{self.dir}/{p}") for p in after})
        self.save()
        return len(want)

    def snapshot(self, names):
        """{path: (checksum, times)}"""
        found = {}
        for p in names:
            if os.path.exists(f"{self.dir}/{p}"):
                st = os.stat(f"{self.dir}/{p}")
                found[p] = (sha_of(f"{self.dir}/{p}"),
                            (st.st_atime_ns, st.st_mtime_ns))
        return found

    def push(self):
        ok, out = self.quilt("push", "-a", "--fuzz=0")
        if not ok:
            log.note(out)
            self.pop()
            log.die("a patch does not apply, or only with fuzz")
        for line in out.splitlines():
            if "offset" in line:
                log.note(line)

    # From the tree to the repository.

    def refresh(self):
        applied = self.applied()
        path = {p: hooks.path(self.place, p) for p in applied}
        before = {p: sha_of(path[p]) for p in applied}
        for patch in applied:
            ok, out = self.quilt("refresh", *REFRESH, patch)
            if not ok:
                log.die(f"quilt could not refresh {patch}:\n{out}")
        # Of copies, what is more than other numbers of lines.
        for patch in applied if not hooks.pinned(self.place) else []:
            data = files.read(f"{self.dir}/patches/{patch}")
            if not hooks.same(data, files.read(path[patch], b"")):
                files.write(path[patch], data)
        files.write(f"{self.place.hooks}/series",
                    files.read(f"{self.dir}/patches/series"))
        known, edited = self.state["overlay"], self.edited("overlay")
        both = [p for p in edited if sha_of(f"{paths.REPO}/{p}") not in
                (known[p], sha_of(f"{self.dir}/{p}"))]
        if both:
            log.die("edited both in the repository and in the tree "
                    f"{self.dir}:\n  " + "\n  ".join(both))
        for p in edited:
            if os.path.exists(f"{self.dir}/{p}"):
                files.write(f"{paths.REPO}/{p}", files.read(f"{self.dir}/{p}"))
                print(f"refreshed {p}")
        for patch in applied:
            if sha_of(path[patch]) != before[patch]:
                print(f"refreshed {path[patch].removeprefix(paths.REPO)[1:]}")
        self.state.update(
            overlay={p: sha_of(f"{self.dir}/{p}") for p in known},
            patches={p: sha_of(path[p]) for p in applied},
            patched={p: sha_of(f"{self.dir}/{p}") for p in self.touched()})
        self.save()
        rest = [p for p in hooks.series(self.place) if p not in applied]
        if rest:
            log.note(f"not applied, not refreshed: {' '.join(rest)}")


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("verb", nargs="?", default="patched",
                    choices=["patched", "pristine", "refresh"])
    args = ap.parse_args()

    packages.need("tree")
    place = paths.Place()
    place.lock("tree")
    p = subprocess.run([f"{paths.SCRIPTS}/fetch", place.base],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       text=True)
    if p.returncode:
        sys.exit(1)
    pristine = p.stdout.strip()
    files.write(f"{place.work}/pristine", pristine)
    if args.verb == "pristine":
        return
    tree = Tree(place)
    if args.verb == "refresh":
        if not os.path.isdir(tree.dir):
            log.die("there is no tree yet: make tree")
        tree.refresh()
        return
    if tree.state["base"] != pristine:
        tree.create(pristine)
    ours, patches = tree.sync_overlay(), tree.sync_patches()
    if ours or patches or log.VERBOSE:
        log.note(f"tree {place.base}: {ours} files, {patches} patches: "
                 f"{tree.dir}")

