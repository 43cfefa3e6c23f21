# SPDX-License-Identifier: GPL-2.0-or-later
"""Lockstep through a whole Debian boot: the translator and the reference agree on every block. Minutes, so in the long run."""
import os
import re

import pytest

from conftest import BOOT_LIMIT

long_run = pytest.mark.skipif(not os.environ.get("DOPPEL_LONG"), reason="make test-long: 70 seconds of CPU time")


@long_run
def test_boot_in_lockstep(doppel):
    r = doppel("run", "--engine", "bt", "--lockstep", "--stats", "--", "sh", "-c", "uname -s; seq 1000 | md5sum; exit 9",
               limit=10 * BOOT_LIMIT)
    assert r.status == 9 and "Linux" in r.out and "53d025127ae99ab79e8502aae2d9bea6" in r.out, r
    assert not re.search(r"engine +[0-9a-f]+ .*reference", r.err), r
    turns = int(re.search(r"lockstep\.turns +(\d+)", r.err).group(1))
    print(f"{turns} turns, " + re.search(r"lockstep\.resyncs +\d+", r.err).group(0))
    assert turns > 10_000_000, r


def test_lockstep_takes_one_cpu(doppel):
    r = doppel("run", "--engine", "bt", "--lockstep", "--cpus", "2", "--", "true")
    assert r.status != 0 and "one CPU" in r.err, r


def test_lockstep_needs_another_engine(doppel):
    r = doppel("run", "--engine", "interp", "--lockstep", "--", "true")
    assert r.status != 0 and "--engine bt" in r.err, r
