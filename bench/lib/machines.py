# SPDX-License-Identifier: GPL-2.0-or-later
"""
Where a benchmark program runs: on the host itself, in doppel, in QEMU with its translator; all three take the same
command lines and speak the protocol of guest/span.c. The figure of a run is the CPU time of the host that it cost,
for a virtual machine that of all its threads, so that what else the host does matters little.
"""
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

from .report import note

BOOT_LIMIT_S = 300
RUN_LIMIT_S = 300
QEMU = shutil.which("qemu-system-x86_64")
ENGINE = os.environ.get("DOPPEL_ENGINE") or "bt"
KERNEL_WORDS = "rdinit=/bench/driver quiet loglevel=0"


class Failed(RuntimeError):
    pass


class Result:
    """One run of a program: seconds of host CPU, of its own clocks; what it has computed."""

    def __init__(self, host_cpu, words):
        self.checksum, self.operations = words[0], int(words[1])
        self.wall, self.own_cpu = int(words[2]) / 1e9, int(words[3]) / 1e9
        self.cpu = host_cpu if host_cpu is not None else self.own_cpu
        self.each = self.cpu / (self.operations or 1)


class Lines:
    """Lines from a file descriptor, with a deadline."""

    def __init__(self, fd):
        self.fd, self.buffer = fd, b""

    def next(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise Failed(f"no answer in time; last words: {self.buffer[-200:]!r}")
            data = os.read(self.fd, 65536)
            if not data:
                raise Failed(f"ended early; last words: {self.buffer[-200:]!r}")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").strip("\r")


def converse(lines, answer, host_cpu, limit=RUN_LIMIT_S, ends="@result"):
    """Follow one program through its span. Returns its Result."""
    deadline, before, after, result = time.monotonic() + limit, None, None, None
    while True:
        words = lines.next(deadline).split()
        if not words or not words[0].startswith("@"):
            continue
        if words[0] == "@begin":
            before = host_cpu()
            answer(b"\n")
        elif words[0] == "@end":
            after = host_cpu()
            answer(b"\n")
        elif words[0] == "@result":
            result = Result(after - before if after is not None else None, words[1:])
        elif words[0] == "@failed" or (words[0] == "@exit" and (not result or words[1] != "0")):
            raise Failed(" ".join(words))
        if words[0] == ends:
            return result


class Native:
    """The host. root: a directory for the programs to see as /, or None."""

    name = "native"

    def __init__(self, bench, root=None):
        self.bench, self.root = bench, root

    def run(self, argv, limit=RUN_LIMIT_S):
        command = [str(self.bench / Path(w).name) if w.startswith("/bench/") and not self.root else w for w in argv]
        if self.root:
            command = in_root(self.root) + argv
        p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", "LANG": "C", "TMPDIR": "/tmp"})
        try:
            return converse(Lines(p.stdout.fileno()), lambda b: os.write(p.stdin.fileno(), b), lambda: None, limit)
        finally:
            p.stdin.close()
            p.stdout.close()
            p.wait()

    def close(self):
        pass


def in_root(root):
    """The words before a command that is to see `root` as its root directory; as root, or in a user namespace."""
    return ["chroot", str(root)] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "chroot", str(root)]


class Machine:
    """A virtual machine whose process 1 is guest/driver.c, on the standard input and output of its process."""

    def __init__(self, name, command):
        self.name, self.command, self.process = name, command, None

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = Lines(self.process.stdout.fileno())
        deadline = time.monotonic() + BOOT_LIMIT_S
        try:
            while self.lines.next(deadline) != "@ready":
                pass
        except Failed as e:
            self.process.kill()
            said = self.process.stderr.read().decode(errors="replace")[-300:]
            self.close()
            raise Failed(f"{self.name}: {e} {said}") from None

    def cpu(self):
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                continue
        return total / 1e9

    def answer(self, data):
        os.write(self.process.stdin.fileno(), data)

    def run(self, argv, limit=RUN_LIMIT_S):
        if not self.process:
            self.start()
        try:
            self.answer(" ".join(argv).encode() + b"\n")
            return converse(self.lines, self.answer, self.cpu, limit, ends="@exit")
        except (Failed, OSError) as e:
            self.close()
            raise Failed(f"{self.name}: {' '.join(argv)}: {e}") from None

    def close(self):
        if not self.process:
            return
        self.process.kill()
        self.process.wait()
        for f in (self.process.stdin, self.process.stdout, self.process.stderr):
            f.close()
        self.process = None


class Guest:
    """The kernel and initramfs that doppel's default guest has, once doppel has made them."""

    def __init__(self, doppel):
        done = subprocess.run([doppel, "run", "--quiet", "--engine", ENGINE, "--", "cat", "/proc/cmdline"], stdin=subprocess.DEVNULL,
                              capture_output=True)
        if done.returncode:
            raise Failed(f"doppel run: {done.stderr.decode(errors='replace')[-300:]}")
        self.cmdline = done.stdout.decode().strip()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel"
        kernels = sorted(Path("/boot").glob("vmlinuz-*-cloud-amd64")) or sorted(cache.glob("vmlinuz-*-cloud-amd64"))
        initrds = sorted(cache.glob("initrd-*.cpio"), key=lambda p: p.stat().st_mtime)
        if not kernels or not initrds:
            raise Failed("doppel's default kernel or initramfs is not where bench/run looks for it")
        self.kernel, self.initrd = kernels[-1], initrds[-1]


def doppel_command(doppel, guest, initrd, memory, words=KERNEL_WORDS, more=()):
    return [doppel, "run", "--quiet", "--engine", ENGINE, "--kernel", str(guest.kernel),
            "--initrd", str(initrd), "--append", f"{guest.cmdline} {words}", "--memory", f"{memory}M", "--serial", "stdio",
            "--no-reboot", *more]


def qemu_command(guest, initrd, memory, words=KERNEL_WORDS, more=()):
    return [QEMU, "-accel", "tcg", "-cpu", "max", "-display", "none", "-monitor", "none", "-serial", "stdio", "-m", str(memory),
            "-net", "none", "-machine", "q35", "-no-reboot", "-kernel", str(guest.kernel), "-initrd", str(initrd),
            "-append", f"{guest.cmdline} {words}", *more]


def machines(doppel, guest, initrd, memory, bench, root=None, cpus=1):
    """All there are; QEMU is left out, with a word, where it is not installed."""
    out = [Native(bench, root), Machine("doppel", doppel_command(doppel, guest, initrd, memory, more=["--cpus", str(cpus)]))]
    if QEMU:
        out.append(Machine("qemu", qemu_command(guest, initrd, memory, more=["-smp", str(cpus)])))
    else:
        note("qemu-system-x86_64 is not installed (package qemu-system-x86): its column is left out")
    return out
