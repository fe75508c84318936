# SPDX-License-Identifier: GPL-2.0
"""Print a path that belongs to this clone, BASE and LANE.

  $ scripts/where build
  /home/me/.cache/cdm/clones/.../v6.12/build/fast
"""

import argparse
import shutil

from . import paths


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("what", nargs="?", default="work", choices=[
        "work", "tree", "pristine", "build", "image", "logs", "programs"])
    ap.add_argument("--clean", action="store_true",
                    help="remove all of this clone (downloads and the\n"
                    "compiler's cache are shared, and stay)")
    args = ap.parse_args()
    place = paths.Place()
    if args.clean:
        shutil.rmtree(paths.CLONE, ignore_errors=True)
    else:
        print(getattr(place, args.what))

