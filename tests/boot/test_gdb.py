# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's gdb on the stub: a kernel by its symbols, two CPUs, old modes; and clients that are no gdb."""
import random
import re
import socket
import subprocess
import time

import pytest

from conftest import BOOT_LIMIT, GUEST_LIMIT, PATIENCE

# What the tests look at, of the guest's /proc/kallsyms, which is its System.map; the addresses are those of every boot without KASLR.
SYMBOLS = ("start_kernel", "linux_banner", "__x64_sys_sethostname", "jiffies", "init_uts_ns", "panic")


@pytest.fixture(scope="module")
def symbols(doppel, tmp_path_factory):
    """An ELF file with the kernel's symbols and nothing else, as docs/gdb.md makes it."""
    r = doppel("run", "--append", "nokaslr", "--", "cat", "/proc/kallsyms", limit=BOOT_LIMIT)
    assert r.status == 0, r
    found = {m[3]: (int(m[1], 16), m[2]) for m in re.finditer(r"^([0-9a-f]{16}) (\w) (\w+)\r?$", r.out, re.M)}
    directory = tmp_path_factory.mktemp("symbols")
    empty, out = directory / "empty.o", directory / "kernel.elf"
    start, size = found["_text"][0], found["_end"][0] - found["_text"][0]
    subprocess.run(["as", "-o", empty, "-"], input=f'.section .kernel, "ax", @nobits\n.skip {size:#x}\n', text=True, check=True)
    command = ["objcopy", f"--change-section-address=.kernel={start:#x}"]
    for name in SYMBOLS:
        where, kind = found[name]
        command.append(f"--add-symbol={name}=.kernel:{where - start:#x},{'function' if kind in 'tT' else 'object'},global")
    subprocess.run([*command, empty, out], check=True)
    return out


class Stub:
    """A machine that waits for a debugger."""

    def __init__(self, doppel, directory, *args):
        self.path = directory / "gdb.sock"
        self.p = doppel.start("run", "--gdb", f"unix:{self.path}", "--paused", *args)
        end = time.monotonic() + GUEST_LIMIT
        while not self.path.exists():
            assert self.p.poll() is None and time.monotonic() < end, self.p.communicate()
            time.sleep(0.02)

    def gdb(self, *commands, symbols=None):
        args = ["gdb", "-nx", "-q", "-batch", "-ex", "set pagination off", "-ex", "set confirm off",
                "-ex", f"set remotetimeout {60 * PATIENCE}", "-ex", "set tcp connect-timeout 60"]
        if symbols:
            args += ["-ex", f"symbol-file {symbols}"]
        for c in (f"target remote {self.path}", *commands):
            args += ["-ex", c]
        r = subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=BOOT_LIMIT, check=False)
        return r.stdout + r.stderr

    def raw(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(GUEST_LIMIT)
        s.connect(str(self.path))
        return s

    def end(self):
        out, err = self.p.communicate(timeout=BOOT_LIMIT)
        return self.p.returncode, out.decode(), err.decode()


@pytest.fixture
def stub(doppel, tmp_path):
    made = []

    def start(*args):
        made.append(Stub(doppel, tmp_path, *args))
        return made[-1]

    yield start
    for s in made:
        if s.p.poll() is None:
            s.p.kill()
            s.p.wait()


def test_kernel_by_symbol(stub, symbols):
    """Stop at a function, look around, step, go on to a second one that only a program's system call reaches, and to the end."""
    s = stub("--cpus", "2", "--append", "nokaslr", "--", "sh", "-c", "hostname twin; hostname; exit 7")
    out = s.gdb("hbreak start_kernel", "continue", "x/s (char *) &linux_banner", "p/x $cr4 & 0x20", "info threads",
                "x/i $pc", "stepi", "break *__x64_sys_sethostname", "delete 1", "continue", "bt 1", "p/x $cs", "p $_siginfo",
                "thread apply all -q p/x $cr3 != 0", "delete", "continue", symbols=symbols)
    assert re.search(r"Breakpoint 1, 0x\w+ in start_kernel \(\)", out), out
    assert re.search(r'<linux_banner>:\s+"Linux version 6', out), out
    assert "$1 = 0x20" in out, out
    assert re.search(r"\* 1 .*CPU#0 \[running\].*start_kernel", out) and re.search(r"2 .*CPU#1 \[not started\]", out), out
    called = re.search(r"=> 0x\w+ <start_kernel>:\s+call\s+(0x\w+)", out) # what every function of a kernel with ftrace begins with
    assert called and f"\n{called[1]} in " in out, out
    assert re.search(r"Breakpoint 2, 0x\w+ in __x64_sys_sethostname \(\)", out), out
    assert "= 0x10" in out, out
    assert out.count("= 0x1\n") == 2 or out.count("= 1\n") == 2, out
    assert "exited normally" in out, out
    status, text, err = s.end()
    assert (status, text.split()) == (7, ["twin"]), (status, text, err)


def test_watchpoints(stub, symbols):
    """The kernel's own name is written when it is set, and read when it is asked for."""
    s = stub("--append", "nokaslr", "--", "sh", "-c", "hostname observed; hostname")
    name = "*(char *) ((long) &init_uts_ns + 65)" # the second field of struct new_utsname, whose fields have 65 bytes
    out = s.gdb("break *__x64_sys_sethostname", "continue", "delete", f"p &{name}", f"watch {name}", "continue",
                f"x/s &{name}", "delete", f"rwatch {name}", "continue", "delete", "continue", symbols=symbols)
    assert re.search(r"Hardware watchpoint \d+: ", out), out
    assert re.search(r"Old value = .*\nNew value = .*'d'", out), out # the name that the default guest gives itself
    assert re.search(r"Hardware read watchpoint", out) and re.search(r"\nValue = .*'d'", out), out
    assert "exited normally" in out, out
    assert s.end()[:2] == (0, "observed\n")


def expect(client, pattern):
    got = b""
    while not re.search(pattern, got):
        more = client.recv(1000)
        assert more, got
        got += more


def test_interrupt_and_detach(stub, symbols):
    """Ctrl-C stops a machine that runs; a debugger that goes away leaves nothing behind."""
    s = stub("--append", "nokaslr", "--", "sh", "-c", "sleep 2; echo still there")
    with s.raw() as c:
        c.sendall(b"$QStartNoAckMode#b0")
        expect(c, rb"\$OK#")
        c.sendall(b"$vCont;c#a8")
        time.sleep(0.5)
        c.sendall(b"\x03")
        expect(c, rb"\$T02thread:[12];#")
        c.sendall(b"$Z0,ffffffff81000000,1#" + b"%02x" % (sum(b"Z0,ffffffff81000000,1") & 255))
        expect(c, rb"\$OK#")
    assert "0x" in s.gdb("p/x $rip", "detach", symbols=symbols)
    assert s.end()[:2] == (0, "still there\n")


REAL_MODE = """
    lgdt gdtr
    ljmp $8, $1f - 0x100000
.code16
1:  movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $0x9000, $0
.code32
.data
gdt: .quad 0, 0x00009b100000ffff
gdtr: .word 15
    .long gdt
.text
"""


def test_modes(stub, guest):
    """32-bit code and the way to real mode by single steps: program counters are linear addresses, registers go both ways."""
    body = """
    movl $0x12345678, %eax
    movl %eax, %ebx
1:  incl counter
    jmp 1b
.data
counter: .long 0
"""
    s = stub("--kernel", guest(body), "--memory", "16M")
    out = s.gdb("set architecture i386:x86-64", "p/x $cr0 & 1", "p/x $rip", "stepi", "stepi", "stepi", "p/x $rax", "stepi",
                "p/x $rbx", "set var $rbx = 0x55aa", "p/x $rbx", "p $eflags", "p $cs == 8 || $cs == 16",
                "set var $xmm1.v2_int64[1] = 77", "stepi", "p $xmm1.v2_int64[1]", "set var $efer = 0x100000000", "p/x $efer",
                "x/2xb 0x80000000", "kill")
    assert "$1 = 0x1" in out and re.search(r"\$2 = 0x1000\w\w", out), out
    assert "= 0x12345678" in out and "= 0x55aa" in out and "= 77" in out, out
    assert "= 0x0\n" in out.split("77", 1)[1], out # what the processor would refuse is not taken
    assert "Cannot access memory" in out, out
    assert s.end()[0] == 0


def test_real_mode(stub, guest):
    s = stub("--kernel", guest(REAL_MODE), "--memory", "16M")
    steps = ["stepi"] * 8
    out = s.gdb(*steps, "p/x $rip", "p/x $cs", "p/x $cr0 & 1", "hbreak *0x90004", "set var {char[6]} 0x90000 = {0x90, 0x90, 0x90, 0x90, 0x90, 0x90}", "continue",
                "p/x $rip", "kill")
    assert "= 0x90000" in out and "= 0x9000\n" in out, out
    assert "Breakpoint 1, 0x0000000000090004" in out, out


def test_no_gdb_at_all(stub, guest):
    """Whatever a client sends, the machine goes on when it has left."""
    rng = random.Random(3)
    s = stub("--kernel", guest("1: jmp 1b\n"), "--memory", "16M")
    words = [b"qSupported", b"m0,ffffffffffffffff", b"X0,4000:", b"G00", b"P7fffffff=00", b"vCont;s:1;c:2;t", b"Z9,0,0", b"Z2,0,0", b"Hg99",
             b"qXfer:features:read:target.xml:ffffffffffffffff,ffff", b"p3000000000", b"M0,2:00", b"z0,1,1", b"vCont;", b"D1;", b"S"]
    for _ in range(12):
        with s.raw() as c:
            for _ in range(rng.randrange(1, 20)):
                packet = rng.choice(words) + rng.randbytes(rng.choice((0, 0, 3, 40)))
                framed = b"$" + packet + b"#%02x" % (sum(packet) & 255 if rng.random() < 0.8 else 0)
                try:
                    c.sendall(framed if rng.random() < 0.8 else rng.randbytes(20000))
                except BrokenPipeError: # it has taken our noise for a detach
                    break
    out = s.gdb("p/x $cs", "kill")
    assert "$1 = 0x" in out, out
    assert s.end()[0] == 0


def test_lines_that_cannot_work(doppel, tmp_path):
    for args, word in ((["--gdb", "nowhere"], "tcp:[HOST]:PORT"), (["--gdb", f"unix:{tmp_path}/no/such"], "socket can be made"),
                       (["--paused"], "--gdb"), (["--gdb", "tcp::99999999"], "gdb"), (["--gdb", ":1", "--lockstep"], "lockstep")):
        r = doppel("run", *args, "--", "true")
        assert r.status in (1, 2) and word in r.err and r.err.count("\n") <= 2, (args, r)
