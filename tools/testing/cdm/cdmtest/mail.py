# SPDX-License-Identifier: GPL-2.0
"""Make a series to mail: git format-patch, with a cover letter.

  $ scripts/series out
  out/0000-cover-letter.patch
  out/0001-include-add-the-interface-of-coherent-device-memory.patch
  ...

Our files come first, in a few commits (mail/NN-*, each with the paths it
takes and its message), then the hooks in the order of the series, then what is
left: documents and tests. The result applies with "git am" on the base.
"""

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from . import files, hooks, log, packages, paths

NAME, MAIL = "cdm", "cdm@localhost"
# These need the guests and the builds that only this repository has.
UNMAILED = ("tools/testing/cdm/", "Documentation/mm/cdm/bench.rst")


class Repository:
    """A git repository that holds of the base only what the hooks touch."""

    def __init__(self, path, place, patches):
        self.path = path
        self.run("init", "-q", "-b", "base")
        for f in sorted({f for p in patches for f in hooks.touched(p)}):
            if os.path.exists(f"{place.pristine}/{f}"):
                self.put(f, f"{place.pristine}/{f}")
        self.run("add", "-A", "-f")
        self.commit(f"{place.base}\n", sign=False)

    def run(self, *args, text=None):
        p = subprocess.run(
            ["git", "-c", "core.autocrlf=false", *args], cwd=self.path,
            input=text, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=self.identity())
        if p.returncode:
            log.die(f"git {args[0]}:\n{p.stdout}")
        return p.stdout

    @staticmethod
    def identity():
        """The sender is who git says; a name is needed on any machine."""
        env = dict(os.environ)
        for kind in ("AUTHOR", "COMMITTER"):
            for key, value in (("name", NAME), ("email", MAIL)):
                p = subprocess.run(["git", "-C", paths.REPO, "config",
                                    f"user.{key}"], text=True,
                                   stdout=subprocess.PIPE)
                env.setdefault(f"GIT_{kind}_{key.upper()}",
                               p.stdout.strip() or value)
        return env

    def put(self, name, source):
        target = f"{self.path}/{name}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)

    def commit(self, message, sign=True):
        sign = ["-s"] if sign else []
        self.run("commit", "-q", *sign, "-F", "-", text=message)


def groups():
    """[(number, paths below which, message)] of mail, in order."""
    for path in sorted(glob.glob(f"{paths.TESTING}/mail/[0-9]*")):
        head, _, message = files.read(path).decode().partition("\n\n")
        below = re.findall(r"^Path: (\S+)", head, re.M)
        yield int(os.path.basename(path)[:2]), below, message


def add_groups(repo, ours, after):
    """Commit the groups before (0x) or after (5x) the hooks."""
    for number, below, message in groups():
        mine = [f for f in ours if f.startswith(tuple(below))]
        ours -= set(mine)
        if (number >= 50) != after or not mine:
            ours |= set(mine)
            continue
        for f in sorted(mine):
            repo.put(f, f"{paths.REPO}/{f}")
        repo.run("add", "-f", "--", *mine)
        repo.commit(message)


def build(repo, patches, ours):
    add_groups(repo, ours, after=False)
    for hook in patches:
        repo.run("apply", "--index", "--whitespace=nowarn", hook)
        repo.commit(hooks.message_of(hook))
    add_groups(repo, ours, after=True)
    if ours:
        log.die("in no group of mail: " + " ".join(sorted(ours)))


def verify(repo, place, out, patches, ours):
    """The mails, applied to the base, give what the scratch tree has."""
    repo.run("checkout", "-q", "-b", "again", "base")
    for mail in sorted(glob.glob(f"{out}/*.patch"))[1:]:
        repo.run("am", "-q", mail)
    differ = [f for f in ours | {f for p in patches for f in hooks.touched(p)}
              if files.read(f"{repo.path}/{f}", b"")
              != files.read(f"{place.tree}/{f}", b"")]
    if differ:
        log.die("the mails do not give: " + " ".join(sorted(differ)))


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--verify", action="store_true",
                    help="apply the result to the base, and compare")
    ap.add_argument("--quiet", action="store_true")
    ap.add_argument("out")
    args = ap.parse_args()
    packages.need("tree")
    if subprocess.call([f"{paths.SCRIPTS}/tree"]):
        sys.exit(1)
    place = paths.Place()
    patches = [path for _, path in hooks.paths_of(place)]
    ours = set(overlay(place))
    out = os.path.abspath(args.out)
    os.makedirs(out, exist_ok=True)
    for old in glob.glob(f"{out}/[0-9][0-9][0-9][0-9]-*.patch"):
        os.unlink(old)
    with tempfile.TemporaryDirectory() as tmp:
        repo = Repository(tmp, place, patches)
        repo.run("checkout", "-q", "-b", "cdm")
        build(repo, patches, set(ours))
        repo.run("format-patch", "-q", "--cover-letter", "-o", out, "base")
        cover(f"{out}/0000-cover-letter.patch")
        if args.verify:
            verify(repo, place, out, patches, ours)
    if not (args.verify or args.quiet):
        print("\n".join(sorted(glob.glob(f"{args.out}/*.patch"))))


def overlay(place):
    """What the tree was last given from this repository."""
    known = json.loads(files.read(f"{place.work}/tree.json"))["overlay"]
    return [f for f in known if not f.startswith(UNMAILED)]


def cover(path):
    subject, _, blurb = files.read(f"{paths.TESTING}/mail/cover").decode() \
        .split("\n", 1)[1].partition("\n\n")
    text = files.read(path).decode()
    text = text.replace("*** SUBJECT HERE ***", subject.strip())
    text = text.replace("*** BLURB HERE ***", blurb.strip())
    files.write(path, text)

