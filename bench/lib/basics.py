# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference engine's loop, and the default guest at its shell: times, idle load, memory of the VMM."""
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

from .archive import SOURCES, cpio_entry
from .machines import QEMU, Failed
from .report import note

INSTRUCTIONS_PER_ROUND = 11.5
GUEST_STATUS = 33 # what loop_guest.S ends with
BOOT_LIMIT_S = 300
PROMPT = re.compile(rb"[#$] (\x1b\[[0-9;?]*[A-Za-z])*$")


# -- Integer loop ------------------------------------------------------------------------------------------------


def assemble(source, rounds, out, flags):
    subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", f"-DROUNDS={rounds}", "-Wl,--build-id=none", *flags,
                    "-o", str(out), str(SOURCES / source)], check=True)
    return out


def seconds(command, expected):
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != expected:
        raise Failed(f"{command[0]}: status {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    return time.monotonic() - start


def mips(command_for, build, expected, rounds):
    """From the difference of a long and a short run, so that start-up does not count; the best of three."""
    short, long = build(rounds // 10), build(rounds)
    best = min(seconds(command_for(long), expected) - seconds(command_for(short), expected) for _ in range(3))
    return INSTRUCTIONS_PER_ROUND * (rounds - rounds // 10) / best / 1e6


def bench_loop(report, env, names):
    def guest(rounds):
        return assemble("loop_guest.S", rounds, env.tmp / f"guest-{rounds}",
                        ["-m32", "-Wl,-melf_i386,-Ttext=0x200000,-z,noexecstack"])

    def host(rounds):
        return assemble("loop_host.S", rounds, env.tmp / f"host-{rounds}", ["-Wl,-z,noexecstack"])

    def ours(image, engine="interp"):
        return [env.doppel, "run", "--quiet", "--kernel", str(image), "--memory", "64M", "--serial", "null", "--engine",
                engine, "--debug-exit"]

    def qemu(image):
        return [QEMU, "-accel", "tcg", "-display", "none", "-monitor", "none", "-serial", "none", "-m", "64",
                "-kernel", str(image), "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-net", "none"]

    native = mips(lambda image: [str(image)], host, 0, 300_000_000)
    theirs = mips(qemu, guest, GUEST_STATUS, 100_000_000) if QEMU else None
    report.row("integer loop, reference engine", mips(ours, guest, GUEST_STATUS, 20_000_000), "MIPS",
               [("host CPU", native), ("qemu tcg", theirs)], "(promised: 40 or more)")
    report.row("the same, 32-bit code translated", mips(lambda image: ours(image, "bt"), guest, GUEST_STATUS, 300_000_000), "MIPS",
               [("host CPU", native), ("qemu tcg", theirs)])


# -- A guest on a terminal ----------------------------------------------------------------------------------------


class Session:
    """A program on a pseudo-terminal, until its guest shows a shell prompt."""

    def __init__(self, command):
        self.start = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execv(command[0], command)

    def wait_prompt(self):
        seen = b""
        while time.monotonic() - self.start < BOOT_LIMIT_S:
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                break
            seen = (seen + data)[-4096:]
            if PROMPT.search(seen):
                return time.monotonic() - self.start
        raise Failed("no shell prompt; the end of the console: " + seen[-300:].decode(errors="replace"))

    def drain(self, duration):
        end = time.monotonic() + duration
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                os.read(self.fd, 65536)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def own_memory_mib(self):
        """Memory that is the program's and not its guest's: all but the mapping of guest RAM (a memfd)."""
        total, ram = 0, False
        for text in Path(f"/proc/{self.pid}/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", text):
                ram = "/memfd:" in text
            elif text.startswith("Pss:") and not ram:
                total += int(text.split()[1])
        return total / 1024

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def shell_request():
    """What doppel puts beside its initrd to ask for a shell (src/cli/guest/agent.c)."""
    words = ["shell=1", "stdin_tty=1", "stdout_tty=1", "rows=24", "cols=80", "exit_port=244", "", "/bin/sh", "-l"]
    data = b"".join(w.encode() + b"\0" for w in words)
    return (cpio_entry("doppel", b"", 0o040755) + cpio_entry("doppel/request", data, 0o100600) +
            cpio_entry("TRAILER!!!", b"", 0))


def qemu_default_guest(guest, tmp):
    """The same kernel, initrd and command line in QEMU; None if that is not installed."""
    if not QEMU:
        return None
    initrd = tmp / "initrd"
    data = guest.initrd.read_bytes()
    initrd.write_bytes(data + b"\0" * (-len(data) % 512) + shell_request())
    return [QEMU, "-accel", "tcg", "-cpu", "max", "-display", "none", "-monitor", "none", "-serial", "stdio",
            "-object", "memory-backend-memfd,id=ram,size=512M", "-machine", "q35,memory-backend=ram", "-m", "512",
            "-net", "none", "-kernel", str(guest.kernel), "-initrd", str(initrd), "-append", guest.cmdline,
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]


def with_session(command, measure):
    session = Session(command)
    try:
        return measure(session)
    finally:
        session.close()


def compare_sessions(report, env, what, unit, measure, promise):
    command = qemu_default_guest(env.guest, env.tmp)
    ours = with_session([env.doppel, "run", "--engine", "interp"], measure)
    theirs = None
    if command:
        try:
            theirs = with_session(command, measure)
        except Failed as e:
            note(f"qemu: {e}")
    report.row(what, ours, unit, [("qemu tcg", theirs)], promise)


def idle_share(session):
    session.wait_prompt()
    session.drain(3)
    before, start = session.cpu_seconds(), time.monotonic()
    session.drain(10)
    return 100 * (session.cpu_seconds() - before) / (time.monotonic() - start)


def own_memory(session):
    session.wait_prompt()
    session.drain(1)
    return session.own_memory_mib()


def bench_boot(report, env, names):
    compare_sessions(report, env, "default guest to shell", "s", Session.wait_prompt, "(promised: 60 or less)")


def bench_idle(report, env, names):
    compare_sessions(report, env, "idle guest, share of a core", "%", idle_share, "(promised: under 2)")


def bench_memory(report, env, names):
    compare_sessions(report, env, "own memory at the shell", "MiB", own_memory, "(promised: 30 or less)")
