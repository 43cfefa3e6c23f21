# SPDX-License-Identifier: GPL-2.0-or-later
"""The screen of guests that boot through firmware, as a person sees it; keys by VNC and from a web page."""
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from conftest import GUEST_LIMIT, ROOT, long_only
from debian_kernel import Kernel
from screen import KEYS, Chromium, Machine, Vnc

sys.path.insert(0, str(ROOT / "bench"))
from lib.archive import Cpio
from lib.machines import Guest

MEMTEST = Path("/boot/memtest86+x64.bin")
INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
exec busybox setsid busybox sh -c 'exec </dev/tty1 >/dev/tty1 2>&1; while echo; echo -n "screen login: "; read name; do
echo "hello, $name"; done'
"""
MENU = """set timeout=-1
menuentry "First choice" { echo "one was chosen"; sleep 1000 }
menuentry "Linux" { linux /vmlinuz quiet console=tty0 rdinit=/test-init
initrd /initrd
}
menuentry "Memtest" { linux /memtest }
"""
# A boot sector: the BIOS sets a mode, something is drawn, and a key leads to the next one.
MODES = """
.code16
.globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    movw $0xa000, %ax
    movw %ax, %es
    movw $0x0013, %ax        # 320 x 200, 256 colours: pixel (x, y) has colour x + y
    int $0x10
    xorw %di, %di
    xorw %dx, %dx
1:  xorw %cx, %cx
2:  movw %cx, %ax
    addw %dx, %ax
    stosb
    incw %cx
    cmpw $320, %cx
    jne 2b
    incw %dx
    cmpw $200, %dx
    jne 1b
    call key
    movw $0x0012, %ax        # 640 x 480, 16 colours: a square of colour 12 by the BIOS, at (100, 50)
    int $0x10
    movw $50, %dx
1:  movw $100, %cx
2:  movw $0x0c0c, %ax
    xorw %bx, %bx
    int $0x10
    incw %cx
    cmpw $164, %cx
    jne 2b
    incw %dx
    cmpw $66, %dx
    jne 1b
    call key
    movw $0x4f02, %ax        # 800 x 600, 16 bits, by its bank at 0xa0000: the first 32768 pixels are green
    movw $0x0114, %bx
    int $0x10
    xorw %di, %di
    movw $0x07e0, %ax
    movw $32768, %cx
    rep stosw
    call key
    movw $0x0003, %ax
    int $0x10
    movb $0x21, %al
1:  movb $0x0e, %ah          # then every key is echoed
    xorw %bx, %bx
    int $0x10
    call key
    jmp 1b
key:
    xorw %ax, %ax
    int $0x16
    ret
.org 510
.word 0xaa55
"""


@pytest.fixture
def machine(doppel, tmp_path):
    made = []

    def start(*args, **kw):
        directory = tmp_path / f"machine{len(made)}"
        directory.mkdir()
        made.append(Machine(doppel, directory, *args, **kw))
        return made[-1]

    yield start
    for m in made:
        m.close()


@pytest.fixture(scope="module")
def modes_disk(tmp_path_factory):
    base = tmp_path_factory.mktemp("modes") / "boot"
    subprocess.run(["as", "--32", "-o", f"{base}.o", "-"], input=MODES, text=True, check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat=binary", "-o", str(base), f"{base}.o"], check=True)
    with open(base, "r+b") as f:
        f.truncate(1 << 20)
    return str(base)


@pytest.fixture(scope="module")
def menu_disk(doppel, tmp_path_factory):
    directory = tmp_path_factory.mktemp("menu")
    guest = Guest(doppel.path)
    archive = Cpio(directory / "initrd", guest.initrd)
    archive.add("test-init", INIT.encode())
    root = directory / "disk"
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/grub.cfg").write_text(MENU)
    (root / "initrd").write_bytes(archive.close().read_bytes())
    (root / "vmlinuz").write_bytes(guest.kernel.read_bytes())
    if MEMTEST.exists():
        (root / "memtest").write_bytes(MEMTEST.read_bytes())
    subprocess.run(["grub-mkrescue", "-o", str(directory / "img"), str(root)], check=True, capture_output=True)
    return str(directory / "img")


def test_modes(machine, modes_disk):
    """The BIOS sets them, and each pixel is where it belongs."""
    m = machine(modes_disk, "--memory", "16M")
    vnc = None

    def shown(check):
        m.wait(lambda: (p := m.picture()) and check(p), "the picture")

    def grey(p, x, y):
        return p.at(2 * x, 2 * y)

    shown(lambda p: (p.width, p.height) == (640, 400) and grey(p, 200, 199) != (0, 0, 0))
    p = m.picture()
    # The BIOS' palette: 16 greys from entry 16 on; 4 is red; entries from 248 on are black.
    for x, y, want in ((4, 0, (170, 0, 0)), (3, 1, (170, 0, 0)), (31, 0, (255, 255, 255)), (0, 31, (255, 255, 255)),
                       (149, 100, (0, 0, 0)), (256, 4, (170, 0, 0))):
        assert grey(p, x, y) == want, (x, y)
    vnc = Vnc(m.vnc).login()
    vnc.type(" ")
    shown(lambda p: (p.width, p.height) == (640, 480) and p.at(163, 65) == (255, 85, 85))
    p = m.picture()
    assert [p.at(x, 50) for x in (99, 100, 163, 164)] == [(0, 0, 0), (255, 85, 85), (255, 85, 85), (0, 0, 0)]
    assert [p.at(100, y) for y in (49, 50, 65, 66)] == [(0, 0, 0), (255, 85, 85), (255, 85, 85), (0, 0, 0)]
    vnc.type(" ")
    shown(lambda p: (p.width, p.height) == (800, 600) and p.at(767, 40) == (0, 255, 0))
    p = m.picture()
    assert p.at(0, 0) == p.at(799, 39) == (0, 255, 0) and p.at(768, 40) == p.at(0, 41) == (0, 0, 0)
    vnc.close()
    vnc = Vnc(m.vnc).login()
    assert (vnc.width, vnc.height) == (800, 600)
    x, y, w, _, pixels = vnc.update()
    assert (x, y, w) == (0, 0, 800) and pixels[:4] == bytes((0, 255, 0, 0)) and pixels[4 * (40 * 800 + 768):][:4] == bytes(4)
    vnc.type(" ")
    assert m.expect("!").strip() == "!"
    vnc.close()


@long_only
def test_menu_and_login(machine, menu_disk):
    """SeaBIOS, GRUB's menu, Linux' console: read from the screen, driven by keys."""
    m = machine(menu_disk, "--memory", "256M")
    m.expect("First choice", "Linux", "Memtest")
    vnc = Vnc(m.vnc).login()
    vnc.key(KEYS["down"])
    vnc.type("\n")
    m.expect("screen login:")
    vnc.type("Root7! ~/{x}\n")
    m.expect("hello, Root7! ~/{x}")
    # Characters of a keyboard that is no US one: its shift is held where ours is not, and the other way round.
    vnc.key(KEYS["shift"], 1)
    vnc.key(ord("/"))
    vnc.key(KEYS["shift"], 0)
    vnc.key(ord("A"))
    vnc.type("\n")
    m.expect("hello, /A")
    vnc.close()


@long_only
@pytest.mark.skipif(not MEMTEST.exists(), reason="Debian's memtest86+ is not installed")
def test_memtest(machine, menu_disk):
    m = machine(menu_disk, "--memory", "64M")
    m.expect("First choice", "Memtest")
    vnc = Vnc(m.vnc).login()
    vnc.key(KEYS["down"])
    vnc.key(KEYS["down"])
    vnc.type("\n")
    text = m.expect("Memtest86+", "Pass", "Test #")
    assert "CLK/Temp" in text
    vnc.close()


def test_console_without_firmware(machine):
    """A kernel that is started directly finds the card in text mode and says what it has to say there."""
    m = machine("--vga", "std", "--memory", "128M", "--append", "console=tty0 console=ttyS0 ignore_loglevel")
    m.expect("Run /init as init process", "TERM=linux")
    p = m.picture()
    assert (p.width, p.height) == (720, 400)


DRIVERS = """
until busybox grep 'Mouse"' /proc/bus/input/devices; do busybox sleep 1; done
echo 'linear and as planned' >/dev/tty1 # letters that its font has as the BIOS' has them
echo @ready
busybox head -c 3 /dev/input/mice | busybox hexdump -e '3/1 "@%02x " "\\n"'
IFS= read -r line </dev/tty1
echo "@typed $line"
busybox sleep 1000
"""


@long_only
def test_linux_drivers(doppel, machine, tmp_path):
    """Without firmware: Linux' drivers of the card, the keyboard and the mouse."""
    kernel = Kernel()
    initrd = kernel.initrd(doppel.path, tmp_path / "initrd", DRIVERS, ["psmouse", "bochs"])
    out = tmp_path / "serial"
    m = machine("--kernel", kernel.vmlinuz, "--initrd", initrd, "--memory", "256M", "--append",
                "console=ttyS0 rdinit=/test-init quiet loglevel=3", serial=f"file:{out}")

    def said(words):
        m.wait(lambda: words in out.read_text(errors="replace"), words)

    said("@ready")
    p = m.picture()
    assert (p.width, p.height) == (1024, 768) and "linear and as planned" in p.text(8), p.text(8)
    vnc = Vnc(m.vnc).login()
    vnc.pointer(10, 20)
    said("@28 @0a @ec") # right by 10, down by 20
    vnc.type("By keys!\n")
    said("@typed By keys!")
    vnc.close()


def test_hostile_clients(machine, modes_disk):
    """Whatever they send or keep to themselves, the guest runs on and others are served."""
    m = machine(modes_disk, "--memory", "16M")
    m.wait(lambda: (p := m.picture()) and (p.width, p.height) == (640, 400), "the first mode")
    held = []
    for data in (b"", b"\0" * 100, b"RFB 003.008\n", b"RFB 999.999\n\xff\xff", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01" + b"\xff" * 200,
                 os.urandom(4000)):
        s = socket.socket(socket.AF_UNIX)
        s.connect(m.vnc)
        s.send(data)
        held.append(s)
    for data in (b"\x06\0\0\0\x7f\xff\xff\xff", b"\x02\0\xff\xff" + b"\xff" * 64, b"\x00" * 4 + b"\xff" * 16,
                 b"\x03\0" + b"\xff" * 8, b"\x05\xff\xff\xff\xff\xff" * 50, b"\x07" + b"\xff" * 30, b"\x08\0\0\0", b"\xfb" * 40):
        vnc = Vnc(m.vnc).login()
        vnc.s.send(data)
        held.append(vnc.s)
    vnc = Vnc(m.vnc).login()
    assert vnc.update()[2] == 640
    assert m.p.poll() is None
    for s in held:
        s.close()
    vnc.close()


def address(m):
    return next(w for w in m.messages().split() if w.startswith("http://"))


def status(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=GUEST_LIMIT) as r:
            return r.status
    except urllib.error.HTTPError as e:
        return e.code


def raw(port, request):
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(GUEST_LIMIT)
        s.sendall(request)
        try:
            return s.recv(100)
        except ConnectionResetError:
            return b""


needs_novnc = pytest.mark.skipif(not os.path.exists("/usr/share/novnc/vnc.html"), reason="Debian's novnc is not installed")


@needs_novnc
def test_web_server(machine, modes_disk):
    """Its files and no others, for pages of its own and no others."""
    m = machine(modes_disk, "--memory", "16M", display="web=0")
    m.wait(lambda: "http://" in m.messages(), "the address")
    url = address(m)
    port = int(url.rsplit(":", 1)[1].strip("/"))
    assert status(url) == 200 and status(url + "core/rfb.js") == 200
    assert status(url + "core/") == 404 and status(url + "nonesuch.js") == 404
    assert raw(port, b"GET /../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert raw(port, b"GET /core/%2e%2e/x HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert raw(port, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 405")
    assert status(url, Host="evil.example") == 403
    upgrade = (b"GET /websockify HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n")
    assert raw(port, upgrade % (port, b"")).startswith(b"HTTP/1.1 403")
    assert raw(port, upgrade % (port, b"Origin: http://evil.example\r\n")).startswith(b"HTTP/1.1 403")
    assert raw(port, upgrade % (port, b"Origin: http://localhost:%d\r\n" % port)).startswith(b"HTTP/1.1 101")
    assert raw(port, b"GET /" + b"a" * 20000) == b""
    assert m.p.poll() is None


@needs_novnc
@pytest.mark.skipif(not Chromium.PATH, reason="Debian's chromium is not installed")
def test_web_console(machine, modes_disk, tmp_path):
    """Typed in the browser, seen on the guest's screen and on the page; with a password."""
    (tmp_path / "password").write_text("s3cret\n")
    m = machine(modes_disk, "--memory", "16M", display=f"web=0,password-file={tmp_path / 'password'}")
    browser = Chromium(tmp_path)
    try:
        browser("Page.navigate", url=address(m) + "vnc.html?autoconnect=true&password=s3cret")
        m.wait(lambda: browser.run("document.documentElement.classList.contains('noVNC_connected')"), "the connection")
        m.wait(lambda: m.picture().at(20, 0) != (0, 0, 0), "the first picture")
        browser.run("document.querySelector('canvas').focus()")
        for width in (640, 800, 720):
            browser.press(" ", "Space", " ")
            m.wait(lambda w=width: browser.run("document.querySelector('canvas').width") == w, f"the size {width}")
        for c in "echo":
            browser.press(c, f"Key{c.upper()}", c)
        m.expect("!echo")
        # The page has the same as the guest's screen: as many light pixels.
        count = ("(() => { const c = document.querySelector('canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                 "let n = 0; for (let i = 0; i < d.length; i += 4) n += d[i] > 100; return n; })()")

        def same():
            p = m.picture()
            return browser.run(count) == sum(row[i] > 100 for row in p.rows for i in range(0, len(row), 3)) > 50
        m.wait(same, "the guest's screen on the page")
    finally:
        browser.close()


def test_refused(doppel, tmp_path):
    for args, words in ((("--vga", "cirrus"), "std"), (("--display", "sdl"), "vnc"), (("--display", "vnc=5901"), "vnc"),
                        (("--display", "web=99999"), "web"), (("--display", "vnc=:1,password=x"), "password-file")):
        r = doppel("run", *args)
        assert r.status == 2 and words in r.err, r
    long = tmp_path / "password"
    long.write_text("longer than eight\n")
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"x")
    for display, words in ((f"vnc=unix:{tmp_path}/v,password-file={long}", "8 characters"), (f"vnc=unix:{tmp_path}/none/v", "none/v"),
                           ("vnc=198.51.100.1:1", "198.51.100.1"), (f"vnc=:1,password-file={tmp_path}/no", "/no")):
        r = doppel("run", "--kernel", kernel, "--display", display)
        assert r.status == 1 and words in r.err, r
    r = doppel("screendump", tmp_path / "nobody", tmp_path / "x.png")
    assert r.status == 1 and "nobody" in r.err and not (tmp_path / "x.png").exists(), r
