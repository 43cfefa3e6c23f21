# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: bad input gives one line that says what, where and what to do; help fits a screen."""
import gzip
import os
import re
import socket
import struct
import subprocess

import pytest

from conftest import ROOT, SHORT, long_only
from test_hostile import HELLO

COMMANDS = ["run", "stats", "screendump", "link", "doctor", "help", "version"]


def one_line(r, status, *words):
    assert r.status == status, r
    assert r.err.count("\n") == 1 and r.err.endswith("\n"), r
    assert r.err.startswith("doppel"), r
    for w in words:
        assert w in r.err, (w, r)
    assert r.out == "", r


USAGE_ERRORS = [
    ([], "no command"),
    (["rum"], "rum"),
    (["help", "rum"], "rum"),
    (["run", "--kernal", "x"], "--kernal", "--help"),
    (["run", "a", "b"], "a", "--disk"),
    (["doctor", "vmlinuz"], "vmlinuz", "--help"),
    (["run", "--kernel"], "--kernel", "FILE"),
    (["run", "--kernel", "--cpus", "2"], "--kernel", "FILE"),
    (["run", "--stats=yes"], "--stats"),
    (["run", "--memory", "lots"], "lots", "512M"),
    (["run", "--memory", ""], "size", "512M"),
    (["run", "--memory", "-1G"], "-1G"),
    (["run", "--memory", "1.5"], "1.5"),
    (["run", "--memory", "1.G"], "1.G"),
    (["run", "--memory", "12Q"], "12Q"),
    (["run", "--memory", "1GG"], "1GG"),
    (["run", "--memory", "512"], "512", "did you mean 512M"),
    (["run", "--memory", "2T"], "2T", "1024G"),
    (["run", "--memory", "99999999999999999999"], "too large"),
    (["run", "--memory", "99999999999G"], "too large"),
    (["run", "--cpus", "0"], "0", "128"),
    (["run", "--cpus", "129"], "129", "128"),
    (["run", "--cpus", "two"], "two", "128"),
    (["run", "--cpus", "1x"], "1x"),
    (["run", "--cpus", "18446744073709551617"], "18446744073709551617"),
    (["run", "--cpu", "pentium"], "pentium"),
    (["run", "--cpu", "host,+nonsense"], "nonsense"),
    (["run", "--cpu", "host,nonsense"], "nonsense"),
    (["run", "--engine", "warp"], "warp", "interp"),
    (["run", "--serial", "tty"], "tty", "stdio"),
    (["run", "--serial", "file:"], "file:"),
    (["run", "--serial", "stdio", "--serial", "stdio"], "stdio"),
    (["run", "--serial", "null", "--serial", "null", "--serial", "null"], "2 serial ports"),
    (["run", "--kernel", "/dev/null", "--", "true"], "true", "--kernel"),
    (["run", "--trace", "interp"], "interp", "bt"),
    (["run", "--trace", "bt,"], "trace", "file="),
    (["run", "--trace", "bt,file="], "file="),
    (["run", "--trace", "bt,colour=red"], "colour", "from="),
    (["run", "--trace", "bt,from=here"], "here", "address"),
    (["run", "--trace", "bt,to="], "address"),
    (["run", "--trace", "bt,to=-1"], "-1", "address"),
    (["run", "--trace", "bt,from=0x2000,to=0x1000"], "0x2000", "0x1000"),
    (["run", "--trace", "bt", "--engine", "interp"], "interp", "--engine bt"),
    (["run", "--control", ""], "path"),
    (["run", "--boot", "x"], "'x'", "floppy"),
    (["run", "--boot", "c,menu=perhaps"], "perhaps", "on or off"),
    (["run", "--boot", "c,colour=red"], "colour", "once"),
    (["run", "--boot", "c"], "--boot", "--firmware"),
    (["run", "--smbios", "product=x"], "type="),
    (["run", "--smbios", "type=9"], "9", "17"),
    (["run", "--smbios", "type=1,colour=red"], "colour", "product"),
    (["run", "--smbios", "type=1,uuid=1234"], "1234", "UUID"),
    (["run", "--rtc", "yesterday"], "yesterday", "localtime"),
    (["stats"], "PATH"),
    (["stats", "a", "b"], "b"),
    (["stats", "--all"], "--all"),
    (["doctor", "now"], "now"),
    (["version", "--all"], "--all"),
]


@pytest.mark.parametrize("args", USAGE_ERRORS, ids=lambda a: " ".join(a[0]) or "nothing")
def test_usage_errors(doppel, args):
    one_line(doppel(*args[0]), 2, *args[1:])


def elf(machine=62, bits=2, kind=2, phnum=1):
    head = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0x100000, 64, 0, 0, 64, 56, phnum, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0x1000, 0x100000, 0x100000, 0x100, 0x1000, 0x1000) + bytes(64)


BAD_KERNELS = {
    "empty": b"",
    "one byte": b"\x7f",
    "zeros": bytes(100000),
    "text": b"#!/bin/sh\necho this is no kernel\n" * 100,
    "random": bytes((i * 7919 + (i >> 3) * 31) & 0xFF for i in range(70000)),
    "cut ELF header": elf()[:40],
    "ELF of another architecture": elf(machine=183),
    "32-bit big program": elf(bits=1),
    "ELF whose segment lies behind its end": elf(),
    "ELF with 65535 program headers": elf(phnum=65535),
    "ELF without program headers": elf(phnum=0),
    "gzip of text": gzip.compress(b"hello, world\n" * 1000),
    "cut gzip": gzip.compress(bytes(os.urandom(20000)))[:5000],
    "boot sector without kernel": bytes(510) + b"\x55\xaa" + bytes(2000),
    "cut bzImage": bytes(0x1f1) + b"\x04" + bytes(12) + b"\x55\xaa" + b"\xeb\x66HdrS" + b"\x0f\x02" + bytes(100),
}


@pytest.mark.parametrize("what", BAD_KERNELS)
def test_bad_kernels(doppel, tmp_path, what):
    path = tmp_path / "kernel"
    path.write_bytes(BAD_KERNELS[what])
    one_line(doppel("run", "--kernel", path), 1, str(path))


def test_unreadable_files(doppel, guest, tmp_path):
    one_line(doppel("run", "--kernel", "/nonexistent/vmlinuz"), 1, "/nonexistent/vmlinuz", "kernel", "No such file")
    one_line(doppel("run", "--kernel", tmp_path), 1, str(tmp_path), "regular file")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    one_line(doppel("run", "--kernel", fifo), 1, str(fifo), "regular file")
    one_line(doppel("run", "--kernel", guest(HELLO), "--initrd", "/nonexistent/initrd"), 1, "initrd",
             "/nonexistent/initrd")
    if os.geteuid():
        path = tmp_path / "secret"
        path.write_bytes(b"x")
        path.chmod(0)
        one_line(doppel("run", "--kernel", path), 1, str(path), "Permission denied", "readable")


def test_too_little_memory(doppel, guest, tmp_path):
    big = tmp_path / "initrd"
    with open(big, "wb") as f:
        f.truncate(64 << 20)
    r = doppel("run", "--kernel", guest(HELLO), "--initrd", big, "--memory", "16M")
    one_line(r, 1, str(big))
    one_line(doppel("run", "--kernel", guest(HELLO), "--memory", "1M"), 1, "memory")


def test_bad_serial_places(doppel, guest, tmp_path):
    k = guest(HELLO)
    one_line(doppel("run", "--kernel", k, "--serial", "file:/nonexistent/log"), 1, "/nonexistent/log")
    one_line(doppel("run", "--kernel", k, "--serial", f"file:{tmp_path}"), 1, str(tmp_path))
    one_line(doppel("run", "--kernel", k, "--serial", "unix:/nonexistent/socket"), 1, "/nonexistent/socket")
    one_line(doppel("run", "--kernel", k, "--serial", "unix:" + "x" * 200), 1, "xxx", "shorter")
    one_line(doppel("run", "--kernel", k, "--serial", f"unix:{k}"), 1, k)
    assert os.path.getsize(k) > 0


def test_nothing_half_started(doppel, tmp_path):
    """A kernel that cannot be booted costs neither the old log nor leaves a socket behind."""
    kernel, log, sock = tmp_path / "kernel", tmp_path / "log", tmp_path / "socket"
    kernel.write_bytes(b"nonsense" * 1000)
    log.write_text("precious")
    one_line(doppel("run", "--kernel", kernel, "--serial", f"file:{log}", "--serial", f"unix:{sock}"), 1, str(kernel))
    assert log.read_text() == "precious"
    assert not sock.exists()


def test_closed_standard_streams(doppel, guest):
    """Nothing of ours may take the place of a closed stream, and nothing crashes."""
    for redirect in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        cmd = f"exec '{doppel.path}' run --kernel '{guest(HELLO)}' --debug-exit --memory 16M {redirect}"
        r = subprocess.run(["sh", "-c", cmd], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        assert r.returncode == 43, (redirect, r)
        if ">&- " not in redirect + " ":
            assert r.stdout == b"hello from the guest\n"


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["help"]] + [[c, "--help"] for c in COMMANDS] +
                         [["help", c] for c in COMMANDS], ids=" ".join)
def test_help_fits_a_screen(doppel, args):
    r = doppel(*args)
    assert (r.status, r.err) == (0, ""), r
    lines = r.out.splitlines()
    assert lines[0].startswith("Usage: doppel")
    # What there is to say about a machine takes more than the smallest terminal.
    limit = 44 if "run" in args else 24
    assert len(lines) <= limit and max(map(len, lines)) < 80, (len(lines), max(map(len, lines)))


def test_overview_names_all_commands(doppel):
    out = doppel("--help").out
    for c in COMMANDS:
        assert re.search(rf"^  {c} ", out, re.M), c


def help_options(doppel, command):
    return set(re.findall(r"^  --([a-z-]+)", doppel(command, "--help").out, re.M))


def test_manual_and_completion_name_the_same_options(doppel):
    options = help_options(doppel, "run")
    assert len(options) > 10
    man = (ROOT / "docs" / "doppel.1").read_text()
    section = man.split(".SH OPTIONS OF RUN")[1].split(".SH EXIT STATUS")[0]
    named = {m.replace("\\-", "-") for m in re.findall(r'^\.BI? \\-\\-((?:[a-z]|\\-)+)', section, re.M)}
    assert named == options
    completion = (ROOT / "completions" / "doppel.bash").read_text()
    run_options = re.search(r'run_options="([^"]*)"', completion)[1]
    assert set(re.findall(r"--([a-z-]+)", run_options)) == options
    for c in COMMANDS:
        assert re.search(rf"doppel {c}\b", man), c
        assert re.search(rf'commands="[^"]*\b{c}\b', completion), c


def complete(*words):
    script = f"""
        source '{ROOT}/completions/doppel.bash'
        compopt() {{ :; }}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _doppel; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    r = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True)
    return set(r.stdout.split())


def test_completion_works(doppel):
    assert complete("doppel", "r") == {"run"}
    assert complete("doppel", "run", "--me") == {"--memory"}
    assert complete("doppel", "run", "--") == {"--" + o for o in help_options(doppel, "run")}
    engines = set(re.findall(r"^(\S+)", doppel("run", "--engine", "help").out, re.M))
    assert complete("doppel", "run", "--engine", "") == engines | {"help"}
    assert complete("doppel", "help", "d") == {"doctor"}
    assert complete("doppel", "run", "--", "--") == set()


def test_manual_has_no_errors():
    r = subprocess.run(["man", "--warnings", "-l", str(ROOT / "docs" / "doppel.1")], capture_output=True, text=True,
                       env=dict(os.environ, MANWIDTH="80"), check=False) if has_man() else None
    if r is None:
        pytest.skip("man is not installed")
    assert r.returncode == 0 and r.stderr == ""


def has_man():
    return any(os.access(os.path.join(d, "man"), os.X_OK) for d in os.environ["PATH"].split(":"))


def test_version(doppel):
    for args in (["--version"], ["version"]):
        r = doppel(*args)
        assert r.status == 0 and re.fullmatch(r"doppel \d+\.\d+\.\d+\n", r.out)


def test_questions(doppel):
    r = doppel("run", "--engine", "help")
    assert r.status == 0 and re.search(r"^auto ", r.out, re.M) and re.search(r"^interp ", r.out, re.M)
    r = doppel("run", "--cpu", "help")
    assert r.status == 0
    for word in ("host", "x86-64-v2", "x86-64-v3", "x86-64-v4", "avx2", "sse4_2"):
        assert word in r.out, word


def test_doctor(doppel):
    r = doppel("doctor")
    assert (r.status, r.err) == (0, ""), r
    for word in ("processor", "virtualization", "/dev/kvm", "memory", "memfd", "membarrier", "terminal",
                 "default guest", "apt-get", "dpkg-deb", "engines", "would choose", "interp"):
        assert word in r.out, word
    # It has tried /dev/kvm, not only looked for it.
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        assert re.search(r"/dev/kvm +(opens, but|works: )", r.out), r


@long_only
def test_fractional_memory(doppel, guest):
    r = doppel("run", "--kernel", guest(HELLO), "--debug-exit", "--memory", "1.5G")
    assert r.status == 43, r


def test_sixty_four_gigabytes(doppel, guest):
    """RAM takes host memory only where it is touched."""
    if SHORT:
        pytest.skip("sanitizers have their own ideas of address space")
    r = doppel("run", "--kernel", guest(HELLO), "--debug-exit", "--memory=64G")
    assert (r.status, r.out) == (43, "hello from the guest\n"), r


def test_stats(doppel, guest):
    r = doppel("run", "--kernel", guest(HELLO), "--debug-exit", "--memory", "16M", "--cpus", "2", "--stats")
    assert r.status == 43 and r.out == "hello from the guest\n"
    for cpu in (0, 1):
        assert re.search(rf"^cpu{cpu}\.instructions +\d+  \S", r.err, re.M), r
    assert int(re.search(r"^cpu0\.instructions +(\d+)", r.err, re.M)[1]) > 0 # on the translator: what is left to the reference


# Two functions that take turns in one place of the translator's jump cache (src/cpu/bt/jumps.h).
TURNS = """
    movl $2000, %ecx
1:  movl $one, %eax
    call *%eax
    movl $one + 0xffff, %eax
    call *%eax
    decl %ecx
    jnz 1b
    movb $21, %al
    jmp leave
    nop
one: ret
    .skip 0xfffe
    ret
"""


def test_jump_stats(doppel, guest):
    r = doppel("run", "--engine", "bt", "--kernel", guest(TURNS), "--debug-exit", "--memory", "16M", "--stats")
    assert r.status == 43, r
    cached, second, missed, hits = (int(re.search(rf"^cpu0\.bt_jump\.{name} +(\d+)", r.err, re.M)[1])
                                    for name in ("cached", "second", "missed", "hits per 10000"))
    assert cached >= 8000 and second >= 3990 and missed < 100 and hits > 9800, r


# One store before flags are set, one between them and who reads them.
TRACED = """
    movl $0x12345678, %eax
    movl $table, %ebx
    movl %eax, 8(%ebx)
    cmpl $7, %eax
    movl %eax, 16(%ebx)
    je 1f
    movb $21, %al
1:  jmp leave
.bss
table: .skip 32
.text
"""


def trace(doppel, *args, status=43):
    r = doppel("run", "--debug-exit", "--memory", "16M", "--no-reboot", *args)
    assert r.status == status, r
    return r


def traced_blocks(text):
    return [int(a, 16) for a in re.findall(r"^block (0x[0-9a-f]+):", text, re.M)]


def test_trace(doppel, guest, tmp_path):
    """A block is there with its guest code, the passes' marks and the code emitted; it goes where it is asked to."""
    kernel, log = guest(TRACED), tmp_path / "log"
    log.write_text("what was there\n")
    err = trace(doppel, "--engine", "bt", "--kernel", kernel, "--trace", "bt").err
    assert len(traced_blocks(err)) >= 2, err
    insn = r"^  [0-9a-f]{16}  b878563412 .* mov eax, 0x12345678\n    \[\d+\] .*; flags \w+.*\n      [0-9a-f]{16}  b878563412 .* mov eax, 0x12345678$"
    assert re.search(insn, err, re.M), err
    assert re.search(r"^    \[\d+\] memory; flags live.*check", err, re.M), err
    assert re.search(r"^    \[\d+\] memory; flags dead.*check", err, re.M), err
    assert "conditional jump; flags live" in err
    assert re.search(r"^  way out: TLB miss of 0x[0-9a-f]+\n      [0-9a-f]{16}", err, re.M), err
    r = trace(doppel, "--engine", "bt", "--kernel", kernel, "--trace", f"bt,file={log}")
    assert r.err == "" and log.read_text().startswith("what was there\nblock ")
    # (An interrupted one goes on as a block of its own.)
    assert traced_blocks(log.read_text())[0] == traced_blocks(err)[0]


def test_trace_range(doppel, guest):
    kernel = guest(TRACED)
    everything = traced_blocks(trace(doppel, "--engine", "bt", "--kernel", kernel, "--trace", "bt").err)
    second = sorted(everything)[1]
    upper = traced_blocks(trace(doppel, "--engine", "bt", "--kernel", kernel, "--trace", f"bt,from={second + 32:#x}").err)
    lower = traced_blocks(trace(doppel, "--engine", "bt", "--kernel", kernel, "--trace", f"bt,to={second - 1:x}").err)
    assert lower and all(a < second for a in lower) and second not in upper
    assert len(lower) < len(everything)
    one_line(doppel("run", "--engine", "bt", "--kernel", kernel, "--trace", "bt,file=/nonexistent/log"), 1, "/nonexistent/log")


SPIN = """
    movl $ready, %esi
    call puts
1:  jmp 1b
ready: .asciz "ready\\n"
"""


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(request)
        s.shutdown(socket.SHUT_WR)
        try:
            return b"".join(iter(lambda: s.recv(4096), b""))
        except ConnectionResetError: # closed with some of the request unread
            return b""


def test_stats_of_a_running_machine(doppel, guest, tmp_path):
    path = tmp_path / "control"
    with doppel.start("run", "--kernel", guest(SPIN), "--memory", "16M", "--cpus", "2", "--control", path) as p:
        assert p.stdout.read(6) == b"ready\n"
        assert path.stat().st_mode & 0o777 == 0o600
        first = doppel("stats", path)
        assert (first.status, first.err) == (0, "") and re.search(r"^cpu1\.instructions +\d+  \S", first.out, re.M), first
        assert b"unknown" in ask(path, b"balloon\n")
        assert ask(path, b"stats") == b"" and ask(path, b"x" * 1000) == b"" and ask(path, b"") == b""
        second = doppel("stats", path)
        count = [int(re.search(r"^cpu0\.exits +(\d+)", r.out, re.M)[1]) for r in (first, second)]
        assert count[1] > count[0], "it goes on in between, and was stopped"
        one_line(doppel("run", "--kernel", guest(HELLO), "--memory", "16M", "--control", path), 1, str(path), "in use")
        p.terminate()
        assert p.wait(60) == 128 + 15
    assert not path.exists()
    one_line(doppel("stats", path), 1, str(path), "no machine", "--control")


def test_control_socket_that_was_left(doppel, guest, tmp_path):
    path, file = tmp_path / "control", tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
    one_line(doppel("stats", path), 1, str(path), "no machine")
    r = doppel("run", "--kernel", guest(HELLO), "--debug-exit", "--memory", "16M", "--control", path)
    assert r.status == 43 and not path.exists(), r
    file.write_text("precious")
    one_line(doppel("run", "--kernel", guest(HELLO), "--memory", "16M", "--control", file), 1, str(file))
    assert file.read_text() == "precious"
    one_line(doppel("run", "--kernel", guest(HELLO), "--memory", "16M", "--control", "x" * 200), 1, "bytes")
