# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that boot by themselves: Debian's SeaBIOS starts GRUB from a virtio disk, and GRUB a kernel."""
import re
import subprocess
import sys

import pytest

from conftest import BOOT_LIMIT, ROOT, long_only, on_bios_screen

sys.path.insert(0, str(ROOT / "bench"))
from lib.archive import Cpio
from lib.machines import Guest

SERIAL = "serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\nset timeout=0\n"
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
echo hello from $(busybox uname -s), started by $(busybox cat /sys/class/dmi/id/bios_vendor 2>/dev/null || echo firmware)
busybox poweroff -f
"""


@pytest.fixture
def disk(tmp_path):
    """Make an image with these files; grub.cfg is among them."""
    def make(grub_cfg, **files):
        root = tmp_path / "disk"
        (root / "boot/grub").mkdir(parents=True)
        (root / "boot/grub/grub.cfg").write_text(SERIAL + grub_cfg)
        for name, data in files.items():
            (root / name).write_bytes(data)
        image = tmp_path / "boot.img"
        subprocess.run(["grub-mkrescue", "-o", str(image), str(root)], check=True, capture_output=True)
        return str(image)
    return make


def test_grub(doppel, disk):
    r = doppel("run", disk('echo "GRUB says hello"\nhalt\n'), "--memory", "128M", limit=BOOT_LIMIT)
    assert r.status == 0, r
    assert "SeaBIOS (version" in r.out and re.search(on_bios_screen("GRUB says hello"), r.out), r


@long_only
def test_kernel_by_grub(doppel, disk, tmp_path):
    guest = Guest(doppel.path)
    archive = Cpio(tmp_path / "initrd", guest.initrd)
    archive.add("test-init", INIT.encode())
    initrd = archive.close().read_bytes()
    image = disk("linux /vmlinuz console=ttyS0 rdinit=/test-init quiet\ninitrd /initrd\nboot\n",
                 vmlinuz=guest.kernel.read_bytes(), initrd=initrd)
    r = doppel("run", image, "--memory", "256M", "--cpus", "2", limit=BOOT_LIMIT)
    assert r.status == 0, r
    assert "hello from Linux" in r.out


def test_reboot_ends_where_asked(doppel, disk):
    r = doppel("run", disk("reboot\n"), "--memory", "64M", "--no-reboot", limit=BOOT_LIMIT)
    assert r.status == 0, r


def test_refused(doppel, tmp_path):
    image = tmp_path / "empty"
    image.write_bytes(bytes(1 << 20))
    for args, words in (((str(image), str(image)), "--disk"), ((str(image), "--kernel", "x"), "--kernel"),
                        ((str(image), "--append", "x"), "--append"), ((str(tmp_path / "none"),), "none")):
        r = doppel("run", *args)
        assert r.status in (1, 2) and words in r.err, r
    bad = tmp_path / "rom"
    bad.write_bytes(b"x" * 1000)
    r = doppel("run", "--firmware", str(bad))
    assert r.status == 1 and "64 KiB" in r.err, r
