# SPDX-License-Identifier: GPL-2.0-or-later
"""The host has no space for what the guest writes: the guest stands still until there is some, and loses nothing."""
import os
import re
import select
import signal
import subprocess
import time

import pytest

from conftest import BOOT_LIMIT, default_signals, long_only
from virtio_guest import VirtioGuest

MIB = 1 << 20
SIZE = 8 * MIB
SCRIPT = f"""
head -c {SIZE} /dev/urandom > /tmp/data; md5sum /tmp/data
(while :; do echo tick; usleep 50000; done) &
dd if=/tmp/data of=/dev/vda bs=1M conv=fsync 2>/dev/null && echo WRITTEN
echo 3 > /proc/sys/vm/drop_caches; head -c {SIZE} /dev/vda | md5sum; kill $!
"""


@pytest.fixture(scope="module")
def vguest(doppel, tmp_path_factory):
    assert doppel("run", "--engine", "bt", "--", "true", limit=BOOT_LIMIT).status == 0
    return VirtioGuest(doppel, tmp_path_factory.mktemp("full"))


@pytest.fixture
def held(vguest, tmp_path):
    """Start a guest whose disk is in a file system of 24 MiB, of which 20 are taken; wait until it stands still."""
    small, started = tmp_path / "small", []
    small.mkdir()

    def start(fmt):
        words = [vguest.doppel.path, *map(str, vguest.options(SCRIPT)), "--disk", f"{small}/disk,format={fmt}", "--cpus", "2"]
        script = f'mount -t tmpfs -o size=24m tmpfs {small} && qemu-img create -q -f {fmt} {small}/disk 16M && ' \
                 f'head -c {20 * MIB} /dev/zero > {small}/filler && exec "$@"'
        with open(tmp_path / "err", "wb") as err:
            p = subprocess.Popen(["unshare", "-rm", "sh", "-c", script, "sh", *words], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=err, preexec_fn=default_signals)
        os.set_blocking(p.stdout.fileno(), False)
        started.append(p)
        p.out = b""
        end = time.monotonic() + BOOT_LIMIT
        while "no space" not in (tmp_path / "err").read_text():
            pump(p)
            if p.poll() is not None and "Operation not permitted" in (tmp_path / "err").read_text():
                pytest.skip("no user namespace with mounts for this user")
            assert p.poll() is None and time.monotonic() < end, (tmp_path / "err").read_text()
        return p, small

    yield start
    for p in started:
        p.kill()
        p.wait()


def pump(p):
    if select.select([p.stdout], [], [], 0.05)[0]:
        p.out += os.read(p.stdout.fileno(), 65536)


@pytest.mark.parametrize("fmt", ["raw", pytest.param("qcow2", marks=long_only)])
def test_goes_on_after_space_is_made(held, tmp_path, fmt):
    p, small = held(fmt)
    # It stands still: what comes out now was on its way; several trials later there is nothing.
    end = time.monotonic() + BOOT_LIMIT
    quiet = 0
    while quiet < 2 and time.monotonic() < end:
        before = len(p.out)
        for _ in range(30):
            pump(p)
        quiet = quiet + 1 if len(p.out) == before else 0
    assert quiet == 2 and b"WRITTEN" not in p.out and b"tick" in p.out
    assert (tmp_path / "err").read_text().count("no space") == 1
    os.unlink(f"/proc/{p.pid}/root{small}/filler")
    end = time.monotonic() + BOOT_LIMIT
    while p.poll() is None and time.monotonic() < end:
        pump(p)
    pump(p)
    text = p.out.decode().replace("\r", "")
    assert p.returncode == 0 and "GUEST-DONE" in text and "WRITTEN" in text, text
    sums = re.findall(r"\b[0-9a-f]{32}\b", text)
    assert len(sums) == 2 and sums[0] == sums[1], text


def test_can_be_ended_meanwhile(held, tmp_path):
    p, _ = held("qcow2")
    p.send_signal(signal.SIGTERM)
    p.wait(timeout=BOOT_LIMIT)
    assert p.returncode == 128 + signal.SIGTERM
    assert "is lost" in (tmp_path / "err").read_text()
