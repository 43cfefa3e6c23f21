# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the tests that drive the program from outside: its path, small guests, a terminal."""
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = bool(os.environ.get("DOPPEL_SHORT"))
ENGINE = os.environ.get("DOPPEL_ENGINE") # all guests on this engine; empty: on the default one
# Sanitizer builds are some ten times slower; limits only catch what hangs.
PATIENCE = 10 if SHORT else 1
BOOT_LIMIT = 180 * PATIENCE
GUEST_LIMIT = 30 * PATIENCE

long_only = pytest.mark.skipif(SHORT, reason="left out of the shortened suite")


def binary():
    return os.environ.get("DOPPEL") or str(ROOT / "build" / "src" / "doppel")


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __repr__(self):
        return f"status {self.status}\n--- out\n{self.out[-4000:]!r}\n--- err\n{self.err[-4000:]!r}"


def default_signals():
    """A job in the background, or under nohup, has signals ignored that the tests send."""
    for s in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(s, signal.SIG_DFL)


class Doppel:
    """The program under test."""

    def __init__(self):
        self.path = binary()

    def start(self, *args, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        kw.setdefault("preexec_fn", default_signals)
        if args[:1] == ("run",) and ENGINE:
            args = ("run", "--engine", ENGINE, *args[1:])
        return subprocess.Popen([self.path, *map(str, args)], **kw)

    def __call__(self, *args, stdin=b"", limit=None, env=None):
        """Run to the end; text results, and the exit status as a shell would show it."""
        full_env = dict(os.environ, **env) if env else None
        p = self.start(*args, stdin=subprocess.PIPE, env=full_env)
        try:
            out, err = p.communicate(stdin, timeout=limit or GUEST_LIMIT)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            pytest.fail(f"did not end in {limit or GUEST_LIMIT} s: {Result(None, out, err)}")
        status = p.returncode if p.returncode >= 0 else 128 - p.returncode
        return Result(status, out.decode(errors="replace"), err.decode(errors="replace"))


@pytest.fixture(scope="session")
def doppel():
    d = Doppel()
    if not os.access(d.path, os.X_OK):
        pytest.exit(f"{d.path}: not there; run 'make' first, or set DOPPEL", returncode=2)
    return d


# Multiboot 1: flat 32-bit protected mode at 1 MiB. COM1 by polling, and ends for both outcomes.
PROLOGUE = """
.code32
.section .text
.globl _start
.set COM1, 0x3f8
.set DEBUG_EXIT, 0xf4
.align 4
    .long 0x1badb002, 0, -0x1badb002
_start:
    movl $stack_top, %esp
    jmp main

# Write AL to COM1.
putc:
    pushl %edx
    pushl %eax
    movw $COM1 + 5, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    popl %eax
    movw $COM1, %dx
    outb %al, %dx
    popl %edx
    ret

# Write the text at ESI.
puts:
    lodsb
    testb %al, %al
    jz 1f
    call putc
    jmp puts
1:  ret

# End with status 2 * AL + 1 (run with --debug-exit).
leave:
    outb %al, $DEBUG_EXIT
    jmp leave

# The next pseudo-random number in EAX.
.macro random
    imull $1103515245, seed, %eax
    addl $12345, %eax
    movl %eax, seed
    rorl $15, %eax
.endm
main:
"""
EPILOGUE = """
.data
seed: .long SEED
.bss
.align 16
    .skip 4096
stack_top:
"""


class Guests:
    """Assembles tiny guests; the same text is assembled once."""

    def __init__(self, directory):
        self.dir, self.made = directory, {}

    def __call__(self, body, seed=1):
        key = (body, seed)
        if key in self.made:
            return self.made[key]
        base = self.dir / f"guest{len(self.made)}"
        text = PROLOGUE + body + EPILOGUE.replace("SEED", str(seed))
        subprocess.run(["as", "--32", "-o", f"{base}.o", "-"], input=text, text=True, check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-N", "-Ttext=0x100000", "-e", "_start", "--no-warn-rwx-segments",
                        "-o", str(base), f"{base}.o"], check=True)
        self.made[key] = str(base)
        return str(base)


@pytest.fixture(scope="session")
def guest(tmp_path_factory):
    return Guests(tmp_path_factory.mktemp("guests"))


class Terminal:
    """The program on a pseudo-terminal of its own, as a user would have it."""

    def __init__(self, path, *args, rows=24, cols=80):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (rows, cols)) if hasattr(termios, "tcsetwinsize") else None
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        name = os.ttyname(self.slave)

        def own_terminal():
            default_signals()
            os.setsid()
            os.close(os.open(name, os.O_RDWR))

        self.p = subprocess.Popen([path, *map(str, args)], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                  preexec_fn=own_terminal)

    def text(self):
        return self.output.decode(errors="replace").replace("\r", "")

    def pump(self, seconds):
        """Read for that long, or until something came."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.output += os.read(self.master, 65536)
            except OSError:
                return False
        return True

    def expect(self, pattern, limit=None, since=0):
        """Wait for the regular expression in the output from `since` on; returns the match."""
        end = time.monotonic() + (limit or GUEST_LIMIT)
        while True:
            ended = self.p.poll() is not None # what it has written is here by now, or comes with the next look
            self.pump(0.2)
            m = re.search(pattern, self.text()[since:])
            if m:
                return m
            if ended or time.monotonic() > end:
                pytest.fail(f"no {pattern!r} in the output:\n{self.text()[-4000:]}")

    def send(self, data):
        os.write(self.master, data.encode() if isinstance(data, str) else data)

    def command(self, line, pattern, limit=None):
        """Type a line to a shell and wait for what must follow its echo."""
        since = len(self.text())
        self.send(line + "\n")
        return self.expect(pattern, limit, since)

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def wait(self, limit=None):
        """The exit status; the output is read on meanwhile."""
        end = time.monotonic() + (limit or GUEST_LIMIT)
        while self.p.poll() is None:
            if time.monotonic() > end:
                pytest.fail(f"did not end:\n{self.text()[-4000:]}")
            self.pump(0.05)
        while select.select([self.master], [], [], 0.1)[0]:
            self.pump(0)
        return self.p.returncode if self.p.returncode >= 0 else 128 - self.p.returncode

    def restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(doppel):
    open_ones = []

    def start(*args, **kw):
        open_ones.append(Terminal(doppel.path, *args, **kw))
        return open_ones[-1]

    yield start
    for t in open_ones:
        t.close()


def on_bios_screen(text):
    """A pattern for a text that a loader wrote on SeaBIOS's screen. On the serial port SeaBIOS shows what has gathered there at each tick of its
    clock, so a slow guest's words are split by movements of the cursor."""
    return r"(?:\x1b\[[0-9;]*H)*".join(re.escape(c) for c in text)


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    """Rss values of /proc/PID/status in KiB, by name."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {k: int(v) for k, v in re.findall(r"^(VmRSS|RssAnon|RssFile|RssShmem):\s+(\d+) kB", text, re.M)}
