# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at a guest's screen and typing: PNG files, text read by its glyphs, a VNC client, headless Chromium."""
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest

from conftest import BOOT_LIMIT, PATIENCE, default_signals

VGA_BIOS = Path("/usr/share/seabios/vgabios-stdvga.bin")
LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000") # of the font with 16 lines, by which it is found
KEYS = {"ret": 0xFF0D, "down": 0xFF54, "up": 0xFF52, "shift": 0xFFE1, "esc": 0xFF1B, "backspace": 0xFF08}


class Picture:
    """A PNG file of 8-bit RGB without interlace."""

    def __init__(self, data):
        assert data.startswith(b"\x89PNG\r\n\x1a\n"), data[:100]
        at, packed = 8, b""
        while at < len(data):
            size, kind = struct.unpack(">I4s", data[at:at + 8])
            body = data[at + 8:at + 8 + size]
            assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
            if kind == b"IHDR":
                self.width, self.height = struct.unpack(">II", body[:8])
                assert body[8:] == bytes((8, 2, 0, 0, 0))
            elif kind == b"IDAT":
                packed += body
            at += 12 + size
        self.rows = self.unfilter(zlib.decompress(packed))

    def unfilter(self, data):
        rows, before, n = [], bytes(self.width * 3), self.width * 3
        for y in range(self.height):
            how, row = data[y * (n + 1)], bytearray(data[y * (n + 1) + 1:(y + 1) * (n + 1)])
            if how == 2:
                row = bytearray((a + b) & 255 for a, b in zip(row, before))
            elif how:
                for i in range(n):
                    left, up, corner = row[i - 3] if i > 2 else 0, before[i], before[i - 3] if i > 2 else 0
                    guess = left + up - corner
                    paeth = min((left, up, corner), key=lambda v: abs(guess - v))
                    row[i] = (row[i] + {1: left, 3: (left + up) // 2, 4: paeth}[how]) & 255
            rows.append(bytes(row))
            before = row
        return rows

    def at(self, x, y):
        return tuple(self.rows[y][3 * x:3 * x + 3])

    def text(self, width=9):
        """The characters of a text screen by exact match of their glyphs; what is none is a blank."""
        lines, known = [], {}
        for top in range(0, self.height - 15, 16):
            line, rows = "", self.rows[top:top + 16]
            for left in range(0, 3 * (self.width - width + 1), 3 * width):
                cell = b"".join(row[left:left + 24] for row in rows)
                if cell not in known:
                    known[cell] = character(cell)
                line += known[cell]
            lines.append(line.rstrip())
        return "\n".join(lines)


def character(cell):
    """Of 8 by 16 pixels."""
    pixels = [cell[i:i + 3] for i in range(0, len(cell), 3)]
    back = Counter(pixels).most_common(1)[0][0]
    bits = bytes(sum(128 >> x for x in range(8) if pixels[8 * y + x] != back) for y in range(16))
    return glyphs().get(bits) or glyphs().get(bytes(b ^ 255 for b in bits)) or " "


FONT = {}


def glyphs():
    """ASCII characters by their glyphs in the video BIOS."""
    if not FONT:
        rom = VGA_BIOS.read_bytes()
        start = rom.index(LETTER_A) - 16 * ord("A")
        FONT.update({rom[start + 16 * c:start + 16 * c + 16]: chr(c) for c in range(126, 31, -1)})
    return FONT


class Machine:
    """A machine with a screen that runs, and its control socket."""

    def __init__(self, doppel, directory, *args, display="unix", serial="null"):
        self.doppel, self.control, self.vnc = doppel, str(directory / "control"), str(directory / "vnc")
        self.log = open(directory / "log", "w+", encoding="utf-8")
        view = ("--display", f"vnc=unix:{self.vnc}") if display == "unix" else ("--display", display)
        self.p = doppel.start("run", *args, "--control", self.control, "--serial", serial, *view, stdout=self.log, stderr=self.log)
        self.wait(lambda: os.path.exists(self.control), "its control socket")

    def messages(self):
        self.log.seek(0)
        return self.log.read()

    def wait(self, done, what, limit=None):
        end = time.monotonic() + (limit or BOOT_LIMIT)
        while not (got := done()):
            if self.p.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{what} did not come: {self.messages()}\n{self.picture().text() if self.p.poll() is None else ''}")
            time.sleep(0.2)
        return got

    def picture(self, save=None):
        path = save or self.control + ".png"
        r = self.doppel("screendump", self.control, path)
        assert r.status == 0, r
        return Picture(Path(path).read_bytes())

    def expect(self, *words):
        """Wait until all of the words are on the screen; the text."""
        def seen():
            text = self.picture().text()
            return text if all(w in text for w in words) else None
        return self.wait(seen, repr(words))

    def close(self):
        if self.p.poll() is None:
            self.p.terminate()
        status = self.p.wait(30 * PATIENCE)
        self.log.close()
        return status


class Vnc:
    """A VNC client that types and takes raw pictures."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * PATIENCE)
        self.s.connect(path)
        assert self.get(12) == b"RFB 003.008\n"
        self.s.sendall(b"RFB 003.008\n")
        self.types = self.get(self.get(1)[0])

    def get(self, n):
        data = b""
        while len(data) < n:
            piece = self.s.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def login(self):
        self.s.sendall(b"\x01")
        assert self.get(4) == bytes(4)
        self.s.sendall(b"\x01")
        head = self.get(24)
        self.width, self.height = struct.unpack(">HH", head[:4])
        self.get(struct.unpack(">I", head[20:])[0])
        return self

    def key(self, keysym, *downs):
        for down in downs or (1, 0):
            self.s.sendall(struct.pack(">BBHI", 4, down, 0, keysym))

    def type(self, text):
        """As a US keyboard's owner does: shift is held for what needs it."""
        for c in text:
            shift = c.isupper() or c in '~!@#$%^&*()_+{}|:"<>?'
            if shift:
                self.key(KEYS["shift"], 1)
            self.key(KEYS["ret"] if c == "\n" else ord(c))
            if shift:
                self.key(KEYS["shift"], 0)

    def pointer(self, x, y, buttons=0):
        self.s.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def update(self):
        """Ask for all of the picture; the pixels of the first rectangle (x, y, width, height, bytes)."""
        self.s.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        while self.get(1) != b"\0":
            pass
        self.get(1)
        assert struct.unpack(">H", self.get(2))[0] >= 1
        x, y, w, h, how = struct.unpack(">HHHHi", self.get(12))
        assert how == 0
        return x, y, w, h, self.get(w * h * 4)

    def close(self):
        self.s.close()


class Chromium:
    """The browser without a window, by its pipe for debuggers."""

    PATH = shutil.which("chromium")

    def __init__(self, directory):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def move():
            default_signals()
            a, b = os.dup(theirs_in), os.dup(theirs_out) # neither is 3 or 4 then
            a, b = os.dup2(a, 103), os.dup2(b, 104)
            os.dup2(a, 3)
            os.dup2(b, 4)

        flags = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
                 "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe").split()
        self.log = open(directory / "chromium.log", "wb")
        self.p = subprocess.Popen([self.PATH, *flags, f"--user-data-dir={directory / 'profile'}", "about:blank"], preexec_fn=move,
                                  close_fds=False, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        os.close(theirs_in)
        os.close(theirs_out)
        self.inp, self.out, self.n, self.buffer = ours_in, ours_out, 0, b""
        page = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]

    session = None

    def __call__(self, method, **params):
        self.n += 1
        message = {"id": self.n, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60 * PATIENCE
        while True:
            while b"\0" not in self.buffer:
                assert time.monotonic() < end and select.select([self.inp], [], [], 60 * PATIENCE)[0], f"no answer to {method}"
                data = os.read(self.inp, 1 << 20)
                assert data, "the browser has ended"
                self.buffer += data
            text, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.n:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script):
        return self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get("value")

    def press(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=code, **({"text": text} if text and kind == "keyDown" else {}))

    def close(self):
        self.p.terminate()
        self.p.wait(60)
        os.close(self.inp)
        os.close(self.out)
        self.log.close()
