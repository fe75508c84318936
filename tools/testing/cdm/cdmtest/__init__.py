# SPDX-License-Identifier: GPL-2.0
"""Fetch, build, boot and check kernels with cdm; see README.rst."""
