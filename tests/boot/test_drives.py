# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux' own drivers of IDE disks, CD-ROM and floppy drives (ata_piix, sr_mod, floppy): what they read and what they write."""
import hashlib
import os
import random
import time
from pathlib import Path

import pytest

from conftest import BOOT_LIMIT, SHORT, long_only
from debian_image import debian_image, overlay
from debian_kernel import Kernel
from screen import Picture
from test_media import isolinux_iso
from test_qmp import Client

MODULES = ["ata_piix", "sd_mod", "sr_mod", "isofs", "nls_utf8", "floppy"]
PATTERN = random.Random(1).randbytes(1 << 20)
SCRIPT = """
sum() { busybox md5sum $1 | busybox cut -d' ' -f1; }
until [ -b /dev/sdb ] && [ -b /dev/sr0 ] && [ -b /dev/fd0 ]; do busybox sleep 0.1; done
large=/dev/sda small=/dev/sdb # they are found in any order
[ $(busybox cat /sys/block/sda/size) -gt $(busybox cat /sys/block/sdb/size) ] || large=/dev/sdb small=/dev/sda
echo "modes $(busybox cat /sys/class/ata_device/dev1.0/dma_mode /sys/class/ata_device/dev2.0/dma_mode)"
echo "large $(sum $large) small $(sum $small) fd0 $(sum /dev/fd0) sr0 $(sum /dev/sr0)"
busybox dd if=/pattern of=$large bs=64k seek=7 conv=fsync && echo written
busybox dd if=/pattern of=$small bs=4k seek=1 oflag=direct conv=fsync && echo written
busybox dd if=/pattern of=/dev/fd0 bs=36k seek=2 count=10 conv=fsync && echo written
echo 3 > /proc/sys/vm/drop_caches
echo "large $(sum $large)"
busybox mkdir /cd && busybox mount -t iso9660 /dev/sr0 /cd && busybox grep SAY /cd/isolinux.cfg
cd /proc/sys/dev/cdrom
echo 0 > autoclose
echo 1 > autoeject
busybox umount /cd # and out comes the tray
busybox dd if=/dev/sr0 of=/dev/null count=1 2>&1 | busybox grep -o "No medium found"
echo 0 > autoeject
echo 1 > autoclose
busybox dd if=/dev/sr0 of=/dev/null count=1 2>/dev/null # shuts the tray, and hears that the medium may be another one
echo "sr0 $(sum /dev/sr0)"
"""

CHANGES = """
say() { echo "@$* $(busybox md5sum /dev/sr0 | busybox cut -d' ' -f1)"; }
until [ -b /dev/sr0 ]; do busybox sleep 0.1; done
say first
exec 3</dev/sr0 # and the door is locked
echo @locked
read line
exec 3<&-
echo @unlocked
until busybox dd if=/dev/sr0 of=/dev/null count=1 2>&1 | busybox grep -q "No medium found"; do busybox sleep 0.1; done
echo @empty
until busybox dd if=/dev/sr0 of=/dev/null count=1 2>/dev/null; do busybox sleep 0.1; done
say second
read line
say third
"""


@pytest.fixture(scope="module")
def kernel():
    return Kernel()


def md5(data):
    return hashlib.md5(data).hexdigest()


def patched(data, at, new):
    return data[:at] + new + data[at + len(new):]


@long_only
def test_linux(doppel, kernel, tmp_path):
    rnd = random.Random(2)
    sda, sdb, fd0 = (rnd.randbytes(n) for n in (6 << 20, (3 << 20) + 512 * 7, 1440 << 10))
    files = {}
    for name, data in (("sda", sda), ("sdb", sdb), ("fd0", fd0)):
        files[name] = tmp_path / name
        files[name].write_bytes(data)
    iso = isolinux_iso(tmp_path / "cd.iso")
    initrd = kernel.initrd(doppel.path, tmp_path / "initrd", SCRIPT, MODULES, [("pattern", PATTERN)])
    command = kernel.command(doppel.path, initrd, "--disk", f"{files['sda']},if=ide", "--disk", f"{files['sdb']},if=ide",
                             "--cdrom", iso, "--floppy", files["fd0"], "--no-reboot")
    r = doppel(*command[1:], limit=BOOT_LIMIT)
    assert r.status == 0 and "test-init: end" in r.out and "FAILED" not in r.out, r
    assert f"large {md5(sda)} small {md5(sdb)} fd0 {md5(fd0)} sr0 {md5(iso.read_bytes())}" in r.out, r
    assert "MW_DMA_2" in r.out, r
    sda, sdb = patched(sda, 7 << 16, PATTERN), patched(sdb, 4096, PATTERN)
    assert r.out.count("written") == 3 and f"large {md5(sda)}" in r.out, r
    assert (files["sda"].read_bytes(), files["sdb"].read_bytes()) == (sda, sdb)
    assert files["fd0"].read_bytes() == patched(fd0, 72 << 10, PATTERN[:360 << 10])
    for words in ("SAY ISOLINUX", "No medium found"):
        assert words in r.out, (words, r)
    assert r.out.count(f"sr0 {md5(iso.read_bytes())}") == 2, r


@long_only
def test_media_changed_by_the_host(doppel, terminal, kernel, tmp_path):
    rnd = random.Random(3)
    discs = {name: rnd.randbytes(n << 11) for name, n in (("first", 700), ("second", 1300), ("third", 400))}
    for name, data in discs.items():
        (tmp_path / name).write_bytes(data)
    initrd = kernel.initrd(doppel.path, tmp_path / "initrd", CHANGES, ["ata_piix", "sr_mod"])
    command = kernel.command(doppel.path, initrd, "--cdrom", tmp_path / "first", "--qmp", tmp_path / "qmp", "--no-reboot")
    t = terminal(*command[1:])
    t.expect(f"@first {md5(discs['first'])}", BOOT_LIMIT)
    t.expect("@locked", BOOT_LIMIT)
    qmp = Client(tmp_path / "qmp")
    cd, = [b for b in qmp("query-block") if b["removable"]]
    assert cd["locked"] and "locked" in qmp.ask("eject", device=cd["device"])["error"]["desc"]
    t.send("\n")
    t.expect("@unlocked", BOOT_LIMIT)
    while "return" not in qmp.ask("eject", device=cd["device"]): # while the guest reads, the door is locked again
        time.sleep(0.05)
    t.expect("@empty", BOOT_LIMIT)
    assert qmp("blockdev-change-medium", id=cd["device"], filename=str(tmp_path / "second"), format="raw") == {}
    t.expect(f"@second {md5(discs['second'])}", BOOT_LIMIT)
    # One for the other, with no time between in which the guest could find the drive empty.
    assert qmp("blockdev-change-medium", id=cd["device"], filename=str(tmp_path / "third"), format="raw") == {}
    t.send("\n")
    t.expect(f"@third {md5(discs['third'])}", BOOT_LIMIT)
    qmp.close()
    assert t.wait(BOOT_LIMIT) == 0


def wait_for_login_on_screen(doppel, control):
    """In text mode, or on the frame buffer console once its driver is there."""
    end = time.monotonic() + BOOT_LIMIT
    while True:
        assert doppel("screendump", control, control + ".png").status == 0
        picture = Picture(Path(control + ".png").read_bytes())
        if any("login:" in picture.text(width) for width in (9, 8)):
            return
        assert time.monotonic() < end, picture.text(9)
        time.sleep(0.5)


@pytest.mark.skipif(not os.environ.get("DOPPEL_LONG") or SHORT, reason="20 seconds for a boot; make test-long runs it")
def test_debian_from_ide(doppel, terminal, tmp_path):
    disk = overlay(doppel, debian_image(doppel), tmp_path / "disk.qcow2")
    control = str(tmp_path / "control")
    t = terminal("run", f"{disk},if=ide", "--memory", "512M", "--vga", "std", "--control", control)
    t.expect("GRUB loading", BOOT_LIMIT)
    t.expect("debian# ", BOOT_LIMIT)
    wait_for_login_on_screen(doppel, control)
    t.command("cat /sys/block/sda/device/model", "DOPPEL HARDDISK", BOOT_LIMIT)
    t.command("dd if=/dev/urandom of=/f bs=1M count=8 && sync && md5sum /f > /sum && echo 3 > /proc/sys/vm/drop_caches && md5sum -c /sum",
              "/f: OK", BOOT_LIMIT)
    t.send("poweroff\n")
    assert t.wait(BOOT_LIMIT) == 0
