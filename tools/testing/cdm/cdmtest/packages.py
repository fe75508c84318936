# SPDX-License-Identifier: GPL-2.0
"""What has to be installed on this machine.

The work is done by scripts/need, a shell script, as Python itself may be
missing; what there is, is listed in tools/testing/cdm/packages.
"""

import subprocess
import sys

from . import paths


def need(*groups):
    """Install the packages that these groups lack."""
    if subprocess.call([f"{paths.SCRIPTS}/need", *groups]):
        sys.exit(1)
