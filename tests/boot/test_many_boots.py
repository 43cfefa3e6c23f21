# SPDX-License-Identifier: GPL-2.0-or-later
"""The same boot again and again: races between vCPUs show up once in many times. For `make test-long`."""
import os

import pytest

from conftest import BOOT_LIMIT, ENGINE

BOOTS = 50
STATUS = 5
# Both CPUs fork, execute, fault and send each other interrupts before the guest ends.
WORK = f"n=0; while [ $n -lt 20 ]; do (cat /proc/interrupts | wc -l) >/dev/null & n=$((n+1)); done; wait; nproc; exit {STATUS}"

pytestmark = pytest.mark.skipif(ENGINE != "bt" or not os.environ.get("DOPPEL_LONG"), reason="minutes; make test-long runs it")


@pytest.mark.parametrize("cpus", [1, 2])
def test_boots_in_a_row(doppel, cpus):
    for n in range(BOOTS):
        r = doppel("run", "--cpus", cpus, "--", "sh", "-c", WORK, limit=BOOT_LIMIT)
        assert (r.status, r.out.strip()) == (STATUS, str(cpus)), f"boot {n}: {r}"
