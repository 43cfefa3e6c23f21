# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots from CD, floppy and IDE disk through Debian's SeaBIOS: GRUB, ISOLINUX, SYSLINUX, and memtest86+ from each."""
import re
import subprocess
from pathlib import Path

import pytest

from conftest import BOOT_LIMIT, long_only, on_bios_screen
from screen import Machine

MEMTEST = Path("/boot/memtest86+ia32.bin")
SYSLINUX = Path("/usr/lib/syslinux/modules/bios")
GRUB_CFG = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
"""
GRUB_MEMTEST = 'echo "GRUB says hello"\nlinux16 /memtest console=ttyS0,115200\nboot\n'
SYSLINUX_CFG = """DEFAULT memtest
PROMPT 0
SAY %s says hello
LABEL memtest
LINUX memtest
APPEND console=ttyS0,115200
"""
ISOLINUX_SAYS, SYSLINUX_SAYS, GRUB_SAYS = map(on_bios_screen, ("ISOLINUX says hello", "SYSLINUX says hello", "GRUB says hello"))
STARTED = r"Memtest86\+ v"
TESTS = r"Memtest86\+ v[\s\S]*Status: Testing"


def do(*args):
    subprocess.run([str(a) for a in args], check=True, capture_output=True)


def grub_iso(path, cfg):
    root = path.parent / "grub"
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/grub.cfg").write_text(GRUB_CFG + cfg)
    (root / "memtest").write_bytes(MEMTEST.read_bytes())
    do("grub-mkrescue", "-o", path, root)
    return path


def isolinux_iso(path):
    root = path.parent / "iso"
    root.mkdir()
    (root / "isolinux.cfg").write_text(SYSLINUX_CFG % "ISOLINUX")
    for f in (Path("/usr/lib/ISOLINUX/isolinux.bin"), SYSLINUX / "ldlinux.c32"):
        (root / f.name).write_bytes(f.read_bytes())
    (root / "memtest").write_bytes(MEMTEST.read_bytes())
    do("xorriso", "-as", "mkisofs", "-o", path, "-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4",
       "-boot-info-table", root)
    return path


def syslinux_floppy(path, kib=1440):
    cfg = path.parent / "syslinux.cfg"
    cfg.write_text(SYSLINUX_CFG % "SYSLINUX")
    do("mformat", "-C", "-f", kib, "-i", path, "::")
    do("syslinux", "--install", path)
    do("mcopy", "-i", path, cfg, "::")
    do("mcopy", "-i", path, MEMTEST, "::memtest")
    return path


@long_only
def test_grub_iso(terminal, tmp_path):
    t = terminal("run", "--cdrom", grub_iso(tmp_path / "grub.iso", GRUB_MEMTEST), "--memory", "64M", cols=132)
    t.expect("Booting from DVD/CD", BOOT_LIMIT)
    t.expect(GRUB_SAYS, BOOT_LIMIT)
    t.expect(TESTS, BOOT_LIMIT)


def test_grub_from_ide_disk(doppel, tmp_path):
    image = grub_iso(tmp_path / "disk.img", 'echo "GRUB says hello"\nls\nhalt\n')
    r = doppel("run", f"{image},if=ide", "--memory", "64M", limit=BOOT_LIMIT)
    assert r.status == 0 and "Booting from Hard Disk" in r.out, r
    assert re.search(GRUB_SAYS, r.out) and re.search(on_bios_screen("(hd0)"), r.out), r


def test_isolinux_iso(terminal, tmp_path):
    t = terminal("run", "--cdrom", isolinux_iso(tmp_path / "iso.iso"), "--memory", "64M", cols=132)
    t.expect(ISOLINUX_SAYS, BOOT_LIMIT)
    t.expect(STARTED, BOOT_LIMIT)


@long_only
@pytest.mark.parametrize("kib", (1440, 720))
def test_syslinux_floppy(terminal, tmp_path, kib):
    t = terminal("run", "--floppy", f"{syslinux_floppy(tmp_path / 'floppy.img', kib)},readonly", "--memory", "64M", cols=132)
    t.expect("Booting from Floppy", BOOT_LIMIT)
    t.expect(SYSLINUX_SAYS, BOOT_LIMIT)
    t.expect(TESTS if kib == 1440 else STARTED, BOOT_LIMIT)


@long_only
def test_memtest_on_the_screen(doppel, tmp_path):
    """Debian's own image of it, from the CD; what a person sees."""
    m = Machine(doppel, tmp_path, "--cdrom", "/usr/lib/memtest86+/memtest86+ia32.iso", "--memory", "64M", display="none")
    try:
        m.expect("Memtest86+ v", "Status: Testing", "Errors: 0")
    finally:
        m.close()


@long_only
def test_memtest_directly(terminal):
    t = terminal("run", "--kernel", MEMTEST, "--append", "console=ttyS0,115200", "--memory", "64M", cols=132)
    t.expect(TESTS, BOOT_LIMIT)


def test_order(doppel, tmp_path):
    """The disk comes first; --boot changes that."""
    cd = grub_iso(tmp_path / "cd.iso", 'echo "from the CD"\nhalt\n')
    disk = tmp_path / "disk.img"
    disk.write_bytes(cd.read_bytes().replace(b"from the CD", b"off the disk"[:11]))
    both = ("--disk", f"{disk},if=ide", "--cdrom", cd, "--memory", "64M")
    assert "off the dis" in doppel("run", *both, limit=BOOT_LIMIT).out
    assert "from the CD" in doppel("run", *both, "--boot", "d", limit=BOOT_LIMIT).out


def test_refused(doppel, tmp_path):
    image = tmp_path / "large.img"
    image.write_bytes(bytes(4 << 20))
    small = tmp_path / "small.img"
    small.write_bytes(bytes(720 << 10))
    for args, words in ((("--floppy", image), "larger than a floppy"), (("--disk", f"{image},if=scsi"), "give virtio or ide"),
                        (("--cdrom", tmp_path / "none"), "none"), (("--floppy", f"{image},drive-type=9"), "drive-type"),
                        (("--disk", f"{image},if=ide,bus=ide.7"), "ide.0 or ide.1"),
                        (("--cdrom", image, "--disk", f"{image},if=ide,readonly,bus=ide.1,unit=0"), "taken"),
                        (("--disk", f"{image},if=ide,block-size=4096"), "512 bytes"),
                        (("--cdrom", image) * 5, "all four places"), (("--floppy", f"{small},readonly") * 3, "there are two"), (("--disk", f"{image},if=ide", "--floppy", small, "--floppy", small),
                         "another program writes to it")):
        r = doppel("run", *args)
        assert r.status in (1, 2) and words in r.err, r


def test_broken_iso(terminal, tmp_path):
    """What the image lacks or says wrongly is firmware's to refuse: here the boot file lies behind the end, and nothing boots at all."""
    iso = isolinux_iso(tmp_path / "iso.iso").read_bytes()
    short, garbage = tmp_path / "short.iso", tmp_path / "garbage.iso"
    short.write_bytes(iso[:40 << 10])
    garbage.write_bytes(bytes(i * 7 & 0xff for i in range(100 << 10)))
    for image in (short, garbage):
        t = terminal("run", "--cdrom", image, "--memory", "64M")
        t.expect("No bootable device", BOOT_LIMIT)
