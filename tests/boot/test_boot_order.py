# SPDX-License-Identifier: GPL-2.0-or-later
"""What SeaBIOS boots of a floppy, a CD and two disks that say who they are: the order, once, boot indices, and its menu by keys."""
import re
import subprocess

import pytest

from conftest import BOOT_LIMIT, long_only
from screen import Machine
from test_qmp import Client

# A boot sector, or a CD's boot image: says its name on COM1 and resets the machine.
SECTOR = """
.code16
.globl _start
_start:
    cli
    ljmp $0, $1f
1:  xorw %ax, %ax
    movw %ax, %ds
    movw $name, %si
2:  lodsb
    testb %al, %al
    jz 4f
    movb %al, %bl
    movw $0x3fd, %dx
3:  inb %dx, %al
    testb $0x20, %al
    jz 3b
    movb %bl, %al
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 2b
4:  movw $0xcf9, %dx
    movb $6, %al
    outb %al, %dx
5:  hlt
    jmp 5b
name: .asciz "booted: NAME\\n"
.org 510
.word 0xaa55
"""
SIZES = {"floppy": 1440 << 10, "CD": 2048, "disk": 1 << 20, "virtio": 1 << 20}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """The images' paths by their names."""
    top = tmp_path_factory.mktemp("media")
    (top / "iso").mkdir()
    paths = {name: top / "iso" / name if name == "CD" else top / name for name in SIZES}
    for name, path in paths.items():
        subprocess.run(["as", "--32", "-o", f"{top}/o", "-"], input=SECTOR.replace("NAME", name), text=True, check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat=binary", "-o", path, f"{top}/o"], check=True)
        with open(path, "r+b") as f:
            f.truncate(SIZES[name])
    subprocess.run(["xorriso", "-as", "mkisofs", "-o", top / "iso.iso", "-b", "CD", "-c", "catalog", "-no-emul-boot", "-boot-load-size", "4",
                    top / "iso"], check=True, capture_output=True)
    return dict(paths, CD=top / "iso.iso")


def drives(media, **index):
    """All of them as options, some with a boot index."""
    n = {name: f",bootindex={index[name]}" if name in index else "" for name in media}
    return ["--disk", f"{media['disk']},if=ide{n['disk']}", "--disk", f"{media['virtio']}{n['virtio']}",
            "--cdrom", f"{media['CD']}{n['CD']}", "--floppy", f"{media['floppy']}{n['floppy']}", "--memory", "16M"]


def booted(text):
    return re.findall(r"booted: (\w+)", text)


def boots(doppel, *args):
    r = doppel("run", *args, "--no-reboot", limit=BOOT_LIMIT)
    assert r.status == 0, r
    name, = booted(r.out)
    return name


@pytest.mark.parametrize("order,first", [(None, "disk"), ("c", "disk"), ("a", "floppy"), ("d", "CD"), ("dca", "CD"), ("order=ac,menu=off", "floppy"),
                                         ("nd", "CD")])
def test_order(doppel, media, order, first):
    assert boots(doppel, *drives(media), *(["--boot", order] if order else [])) == first


def test_next_of_the_order(doppel, media, tmp_path):
    """What can't be booted is passed over, in the order's sense."""
    blank = tmp_path / "blank"
    blank.write_bytes(bytes(1 << 20))
    others = ["--cdrom", media["CD"], "--floppy", media["floppy"], "--memory", "16M"]
    assert boots(doppel, "--disk", f"{blank},if=ide", *others, "--boot", "cad") == "floppy"
    assert boots(doppel, "--disk", f"{blank},if=ide", *others, "--boot", "cda") == "CD"


@pytest.mark.parametrize("index,first", [({"virtio": 0}, "virtio"), ({"CD": 7, "virtio": 9}, "CD"), ({"floppy": 1, "CD": 2, "disk": 3, "virtio": 4}, "floppy"),
                                         ({"disk": 5, "virtio": 4, "CD": 3, "floppy": 8}, "CD")], ids=str)
def test_indices(doppel, media, index, first):
    """They come before the order of kinds."""
    assert boots(doppel, *drives(media, **index), "--boot", "a") == first


def test_once(terminal, media):
    """Until the first reset."""
    t = terminal("run", *drives(media), "--boot", "ac,once=d")
    t.expect(r"booted: CD[\s\S]*booted: floppy[\s\S]*booted: floppy", BOOT_LIMIT)
    assert booted(t.text())[:3] == ["CD", "floppy", "floppy"]


@long_only
def test_qemu_words(doppel, media):
    """The same by QEMU's options."""
    def qemu(*args):
        r = doppel("qemu", "-nodefaults", "-nographic", "-serial", "stdio", "-m", "16", "-no-reboot", *args, limit=BOOT_LIMIT)
        assert r.status == 0, r
        name, = booted(r.out)
        return name

    plain = ["-drive", f"file={media['disk']},format=raw", "-cdrom", media["CD"], "-drive", f"file={media['floppy']},if=floppy,format=raw"]
    assert [qemu(*plain, "-boot", how) for how in ("c", "order=dc", "a", "once=d,order=c")] == ["disk", "CD", "floppy", "CD"]
    by_index = ["-drive", f"file={media['disk']},if=none,id=d,format=raw", "-device", "ide-hd,drive=d,bootindex=2",
                "-drive", f"file={media['virtio']},if=none,id=v,format=raw", "-device", "virtio-blk-pci,drive=v,bootindex=1"]
    assert qemu(*by_index) == "virtio"


MENU = ("--boot", "c,menu=on,splash-time=60000")


def choices(text):
    """The menu's numbers by a word of their line."""
    lines = dict((what, n) for n, what in re.findall(r"^(\d)\. (.*)$", text, re.M))
    return {name: next(n for what, n in lines.items() if word in what)
            for name, word in (("floppy", "Floppy"), ("CD", "DVD/CD"), ("disk", "ata0-0"), ("virtio", "irtio disk"))}


@long_only
@pytest.mark.parametrize("name", SIZES)
def test_menu_on_the_serial_port(terminal, media, name):
    t = terminal("run", *drives(media), *MENU, "--no-reboot")
    t.expect("Press ESC for boot menu", BOOT_LIMIT)
    t.send("\033")
    t.expect(r"4\. .*\n", BOOT_LIMIT)
    t.send(choices(t.text())[name])
    assert t.wait(BOOT_LIMIT) == 0
    assert booted(t.text()) == [name]


def test_menu_on_the_screen(doppel, media, tmp_path):
    """Read from the screen, with the keyboard's keys."""
    out = tmp_path / "serial"
    m = Machine(doppel, tmp_path, *drives(media), *MENU, "--no-reboot", "--vga", "std", "--qmp", tmp_path / "qmp", display="none", serial=f"file:{out}")
    try:
        qmp = Client(tmp_path / "qmp")

        def press(key):
            qmp("send-key", keys=[{"type": "qcode", "data": key}])

        m.expect("Press ESC for boot menu")
        press("esc")
        press(choices(m.expect("Select boot device", "4. "))["CD"])
        assert m.p.wait(BOOT_LIMIT) == 0
        qmp.close()
    finally:
        m.close()
    assert booted(out.read_text(errors="replace")) == ["CD"]
