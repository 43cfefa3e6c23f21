# SPDX-License-Identifier: GPL-2.0-or-later
"""A 32-bit program under the 64-bit kernel of the default guest."""
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import BOOT_LIMIT, ROOT

sys.path.insert(0, str(ROOT / "bench"))
from lib.archive import Cpio
from lib.machines import Guest, doppel_command

SOURCE = Path(__file__).parent / "guest" / "compat.c"
FLAGS = ["-m32", "-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-pic", "-fno-stack-protector",
         "-fno-tree-loop-distribute-patterns", "-e", "start", "-Wl,-z,noexecstack"]
MEMORY_MIB = 256
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
/compat
echo "ends: $?"
busybox poweroff -f
"""


def test_a_32_bit_program(doppel, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    program = root / "compat"
    subprocess.run(["gcc", *FLAGS, str(SOURCE), "-o", str(program)], check=True)
    (root / "compat-init").write_text(INIT)
    (root / "compat-init").chmod(0o755)
    try:
        native = subprocess.run([str(program)], capture_output=True, check=True, text=True)
    except OSError:
        pytest.skip("the host's kernel runs no 32-bit programs to compare with")
    guest = Guest(doppel.path)
    archive = Cpio(tmp_path / "compat.cpio", guest.initrd)
    archive.tree(root)
    command = doppel_command(doppel.path, guest, archive.close(), MEMORY_MIB, "rdinit=/compat-init quiet loglevel=0", [])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_LIMIT, check=False)
    out = done.stdout.decode(errors="replace").replace("\r", "")
    assert native.stdout in out and "ends: 0" in out, out[-3000:] + done.stderr.decode(errors="replace")
