# SPDX-License-Identifier: GPL-2.0-or-later
"""The program is killed while a guest scribbles on its disk: what the guest was told is flushed is there afterwards."""
import os
import random
import re
import subprocess

import pytest

from conftest import BOOT_LIMIT, long_only
from virtio_guest import VirtioGuest

long_test = pytest.mark.skipif(not os.environ.get("DOPPEL_LONG"), reason="three boots more; make test-long runs it")

ROUNDS = 3
SLOT = 64 << 10
SLOTS = 512
# One record after the other, each to another place and flushed before it is reported; between them writes that are not.
SCRIBBLE = f"""
n=FIRST
while :; do
	yes "record $n" | head -c {SLOT} | dd of=/dev/vda bs={SLOT} seek=$((n * 37 % {SLOTS})) conv=notrunc,fsync 2>/dev/null
	echo "FLUSHED $n"
	yes "noise $n" | head -c {SLOT} | dd of=/dev/vda bs={SLOT} seek=$(({SLOTS} + n * 29 % {SLOTS})) conv=notrunc 2>/dev/null
	n=$((n + 1))
done
"""


def scribble(vguest, image, first, records):
    """Boot, let it write, and kill it some time after so many records; the last that was reported."""
    p = vguest.doppel.start(*vguest.options(SCRIBBLE.replace("FIRST", str(first))), "--disk", image)
    last, seen = first - 1, b""
    try:
        while last < first - 1 + records:
            part = p.stdout.read1(4096)
            assert part, p.stderr.read()[-2000:]
            seen += part
            found = re.findall(rb"FLUSHED (\d+)\r?\n", seen)
            last = int(found[-1]) if found else last
    finally:
        p.kill()
        seen += p.communicate(timeout=BOOT_LIMIT)[0]
    return int(re.findall(rb"FLUSHED (\d+)\r?\n", seen)[-1])


@long_only
@pytest.mark.parametrize("lazy", ["off", pytest.param("on", marks=long_test)])
def test_flushed_is_kept(doppel, tmp_path, lazy):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    assert doppel("run", "--engine", "bt", "--", "true", limit=BOOT_LIMIT).status == 0 # fetches the kernel and busybox
    vguest = VirtioGuest(doppel, tmp_path)
    base, image, raw = tmp_path / "base", tmp_path / "disk.qcow2", tmp_path / "raw"
    base.write_bytes(bytes(2 * SLOTS * SLOT))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"lazy_refcounts={lazy}", "-b", base, "-F", "raw", image], check=True)
    first, flushed = 1, []
    for _ in range(ROUNDS):
        last = scribble(vguest, image, first, rng.randrange(2, 60))
        # Leaked clusters are no damage; the counts of an image with lazy ones are put right by whoever opens it to write.
        how = ["-r", "all"] if lazy == "on" else []
        checked = subprocess.run(["qemu-img", "check", *how, image], capture_output=True, text=True, check=False)
        assert checked.returncode in (0, 3), checked
        subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
        data = raw.read_bytes()
        flushed += range(first, last + 1)
        for n in flushed: # fewer than there are places
            at = n * 37 % SLOTS * SLOT
            assert data[at:at + SLOT] == (f"record {n}\n".encode() * SLOT)[:SLOT], f"record {n} of {last} is not there"
        first = last + 2 # the one that was under way may be there or not
    print(f"{len(flushed)} records in {ROUNDS} runs")
