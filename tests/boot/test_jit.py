# SPDX-License-Identifier: GPL-2.0-or-later
"""A real just-in-time compiler in the guest: Debian's Node.js, whose V8 writes, links, patches and throws away code all the time."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import BOOT_LIMIT, ENGINE, ROOT, SHORT

sys.path.insert(0, str(ROOT / "bench"))
from lib.archive import Cpio
from lib.debian import download, unpack
from lib.machines import Guest, doppel_command, in_root

PROGRAM = Path(__file__).parent / "guest" / "jit.js"
MEMORY_MIB = 1024 # the archive and the files unpacked from it
# What node does not need
LEFT_OUT = ["usr/share/doc", "usr/share/gdb", "usr/lib/x86_64-linux-gnu/gconv"]
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
/usr/bin/node /jit.js 2>&1
echo "node ends: $?"
busybox poweroff -f
"""

pytestmark = pytest.mark.skipif(ENGINE != "bt" or SHORT, reason="minutes on the reference engine")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel-test"
    debs = sorted(cache.glob("*.deb")) or download(cache, ["nodejs"])
    root = tmp_path_factory.mktemp("node") / "tree"
    unpack(debs, root, LEFT_OUT)
    (root / "jit.js").write_bytes(PROGRAM.read_bytes())
    (root / "jit-init").write_text(INIT)
    (root / "jit-init").chmod(0o755)
    return root


@pytest.fixture(scope="module")
def expected(tree):
    """What the same files print on the host's own CPU."""
    command = [*in_root(tree), "/usr/bin/node", "/jit.js"]
    return subprocess.run(command, capture_output=True, check=True, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, text=True).stdout


@pytest.mark.parametrize("cpus", [1, 2])
def test_node_prints_the_same(doppel, tree, expected, tmp_path, cpus):
    guest = Guest(doppel.path)
    archive = Cpio(tmp_path / "node.cpio", guest.initrd)
    archive.tree(tree)
    initrd = archive.close()
    words = "rdinit=/jit-init quiet loglevel=0"
    command = doppel_command(doppel.path, guest, initrd, MEMORY_MIB, words, ["--cpus", str(cpus)])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * BOOT_LIMIT, check=False)
    out = done.stdout.decode(errors="replace").replace("\r", "")
    assert "node ends: 0" in out, (out[-2000:], done.stderr[-2000:])
    lines = expected.splitlines()
    assert len(lines) == 7
    assert out.split("node ends")[0].splitlines()[-len(lines):] == lines
