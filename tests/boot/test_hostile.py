# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that do their worst: the VMM neither crashes nor hangs, and console output is never lost."""
import os
import select
import signal
import subprocess
import time

import pytest

from conftest import GUEST_LIMIT, PATIENCE, SHORT, long_only

SEEDS = range(1, 3) if SHORT else range(1, 9)
HAMMER_SECONDS = 3 if SHORT else 2

HELLO = """
    movl $text, %esi
    call puts
    movb $21, %al
    jmp leave
text: .asciz "hello from the guest\\n"
"""


def test_hello(doppel, guest):
    r = doppel("run", "--kernel", guest(HELLO), "--debug-exit", "--memory", "16M")
    assert (r.status, r.out, r.err) == (43, "hello from the guest\n", "")


def test_no_debug_exit_unless_asked(doppel, guest):
    """The port is nobody's then, and the guest spins on."""
    with doppel.start("run", "--kernel", guest(HELLO), "--memory", "16M") as p:
        assert p.stdout.read(21) == b"hello from the guest\n"
        time.sleep(0.3)
        assert p.poll() is None
        p.terminate()
        assert p.wait(GUEST_LIMIT) == 143


ENDS_BY_TRIPLE_FAULT = {
    "no IDT": "lidt nothing\n int3\n nothing: .word 0, 0, 0\n",
    "jump into the void": "lidt nothing\n movl $0xdead0000, %eax\n jmp *%eax\n nothing: .word 0, 0, 0\n",
    "jump to ROM that is not there": "lidt nothing\n movl $0xfffffff0, %eax\n jmp *%eax\n nothing: .word 0, 0, 0\n",
    "call through the void": "lidt nothing\n movl $0xe0000000, %esp\n ret\n nothing: .word 0, 0, 0\n",
    "page tables in the void": """
        lidt nothing
        movl $0xfffff000, %eax
        movl %eax, %cr3
        movl %cr0, %eax
        orl $0x80000000, %eax
        movl %eax, %cr0
        hlt
        nothing: .word 0, 0, 0
    """,
    "IDT in the void": "lidt table\n int $0x80\n table: .word 0xffff, 0x0000, 0xd000\n",
    "stack fault at the fault": """
        lidt nothing
        movl $0, %esp
        pushl %eax
        ud2
        nothing: .word 0, 0, 0
    """,
}


@pytest.mark.parametrize("what", ENDS_BY_TRIPLE_FAULT)
def test_triple_fault(doppel, guest, what):
    r = doppel("run", "--kernel", guest(ENDS_BY_TRIPLE_FAULT[what]), "--memory", "16M")
    assert r.status == 1, r
    assert "triple fault" in r.err and r.err.count("\n") == 1, r


def test_triple_fault_as_reboot(doppel, guest):
    """reboot=triple on the command line says that it is meant."""
    k = guest(ENDS_BY_TRIPLE_FAULT["no IDT"])
    r = doppel("run", "--kernel", k, "--append", "quiet reboot=triple", "--no-reboot", "--memory", "16M")
    assert r.status == 0, r
    with doppel.start("run", "--kernel", k, "--append", "reboot=t", "--memory", "16M") as p:
        time.sleep(1)
        assert p.poll() is None
        p.terminate()
        assert p.wait(GUEST_LIMIT) == 143


SPINS = {
    "spin": "cli\n 1: jmp 1b\n",
    "halt for ever": "cli\n 1: hlt\n jmp 1b\n",
    "string instruction without end": "cli\n xorl %edi, %edi\n 1: movl $-1, %ecx\n movl $0x200000, %edi\n rep stosb\n jmp 1b\n",
    "port reads": "cli\n 1: inl $0x60, %eax\n jmp 1b\n",
    "string port reads": "cli\n 1: movl $-1, %ecx\n movl $0x200000, %edi\n movw $0x80, %dx\n rep insb\n jmp 1b\n",
    "reboots": "movb $0xfe, %al\n outb %al, $0x64\n 1: jmp 1b\n",
    "fault loop": """
        movl $table, %edi
        movl $32, %ecx
    1:  movl $handler, %eax
        movw %ax, (%edi)
        movw %cs, 2(%edi)
        movw $0x8e00, 4(%edi)
        shrl $16, %eax
        movw %ax, 6(%edi)
        addl $8, %edi
        loop 1b
        lidt pointer
        ud2
    handler:
        iret
    pointer: .word 255
        .long table
    .align 8
    table: .skip 256
    """,
}


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals(doppel, guest, signum):
    with doppel.start("run", "--kernel", guest(SPINS["spin"]), "--memory", "16M") as p:
        time.sleep(1 if SHORT else 0.5)
        p.send_signal(signum)
        assert p.wait(GUEST_LIMIT) == 128 + signum


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("what", SPINS)
def test_spinning_guest_can_be_ended(doppel, guest, what, cpus):
    with doppel.start("run", "--kernel", guest(SPINS[what]), "--memory", "16M", "--cpus", cpus) as p:
        time.sleep(1 if SHORT else 0.5)
        assert p.poll() is None, p.stderr.read()
        p.terminate()
        assert p.wait(GUEST_LIMIT) == 143


FLOOD = """
    xorl %ebx, %ebx             # line number
1:  movl $8, %ecx
    movl %ebx, %edx
2:  roll $4, %edx
    movl %edx, %eax
    andl $15, %eax
    movb digits(%eax), %al
    call putc
    loop 2b
    movb $'\\n', %al
    call putc
    incl %ebx
    cmpl $LINES, %ebx
    jne 1b
    movb $1, %al
    jmp leave
digits: .ascii "0123456789abcdef"
"""


def flood_text(lines):
    return "".join(f"{i:08x}\n" for i in range(lines)).encode()


def test_flood_with_slow_reader(doppel, guest):
    """The guest waits for the reader: every byte arrives, in order, and the VM ends in order."""
    lines = 5000 if SHORT else 40000
    want = flood_text(lines)
    got = b""
    with doppel.start("run", "--kernel", guest(FLOOD.replace("LINES", str(lines))), "--debug-exit",
                      "--memory", "16M") as p:
        time.sleep(1)
        while True:
            chunk = os.read(p.stdout.fileno(), 20000)
            if not chunk:
                break
            got += chunk
            time.sleep(0.02)
        assert p.wait(GUEST_LIMIT) == 3
    assert got == want


def test_all_output_comes_out_after_the_end(doppel, guest):
    """The VM is over before its reader has begun."""
    lines = 6000  # less than ring and pipe hold together
    with doppel.start("run", "--kernel", guest(FLOOD.replace("LINES", str(lines))), "--debug-exit",
                      "--memory", "16M") as p:
        time.sleep(2 * PATIENCE)
        assert p.stdout.read() == flood_text(lines)
        assert p.wait(GUEST_LIMIT) == 3


def test_reader_that_goes_away(doppel, guest):
    with doppel.start("run", "--kernel", guest(FLOOD.replace("LINES", "20000")), "--debug-exit",
                      "--memory", "16M") as p:
        assert p.stdout.read(9) == b"00000000\n"
        p.stdout.close()
        assert p.wait(GUEST_LIMIT) == 3
        err = p.stderr.read().decode()
        assert "reader has gone" in err and err.count("\n") == 1


def test_flood_that_nobody_reads_can_be_ended(doppel, guest):
    """A full pipe holds up the guest, but neither SIGTERM nor the end of the program for long."""
    with doppel.start("run", "--kernel", guest(FLOOD.replace("LINES", "-1")), "--memory", "16M") as p:
        time.sleep(1.5)
        before = time.monotonic()
        p.terminate()
        assert p.wait(GUEST_LIMIT) == 143
        print(f"ended {time.monotonic() - before:.2f} s after SIGTERM")


HAMMER_PORTS = """
1:  random
    movl %eax, %edx
    random
    movl %eax, %ebx
    random
    testb $1, %bl
    jz 2f
    outb %al, %dx
    testb $2, %bl
    jz 2f
    outl %eax, %dx
    outw %ax, %dx
2:  inb %dx, %al
    testb $4, %bl
    jz 1b
    inl %dx, %eax
    jmp 1b
"""
# The same, but only at ports where chips are.
HAMMER_CHIPS = """
1:  random
    andl $0x1f, %eax
    movzwl chips(, %eax, 2), %edx
    random
    andl $7, %eax
    addl %eax, %edx
    random
    testl $0x10000, %eax
    jz 2f
    outb %al, %dx
    jmp 1b
2:  inb %dx, %al
    jmp 1b
chips: .word 0x20, 0xa0, 0x40, 0x60, 0x70, 0x3f8, 0x2f8, 0xcf8, 0xcfc, 0x4d0, 0x600, 0x608, 0x80, 0x92, 0x61, 0x43
    .word 0x20, 0xa0, 0x40, 0x3f8, 0x3f8, 0x2f8, 0xcf8, 0xcfc, 0xb000, 0x402, 0x1f0, 0x170, 0x40, 0x70, 0x3f8, 0x64
"""
HAMMER_APICS = """
1:  random
    andl $0xffc, %eax
    movl %eax, %edi
    random
    testb $1, %al
    jz 2f
    addl $0xfee00000, %edi
    jmp 3f
2:  addl $0xfec00000, %edi
3:  random
    movl %eax, %ebx
    random
    testb $1, %bl
    jz 4f
    movl %eax, (%edi)
    movb %al, 1(%edi)
4:  movl (%edi), %eax
    movw 2(%edi), %ax
    jmp 1b
"""
HAMMER_MEMORY = """
1:  random
    movl %eax, %edi
    orl $0xc0000000, %edi
    random
    movl %eax, (%edi)
    movl (%edi), %eax
    jmp 1b
"""
HAMMER_MSRS = """
    movl $table, %edi
    movl $32, %ecx
1:  movl $handler, %eax
    movw %ax, (%edi)
    movw %cs, 2(%edi)
    movw $0x8e00, 4(%edi)
    shrl $16, %eax
    movw %ax, 6(%edi)
    addl $8, %edi
    loop 1b
    lidt pointer
2:  random
    andl $7, %eax
    movl bases(, %eax, 4), %ecx
    random
    andl $0x3ff, %eax
    addl %eax, %ecx
    rdmsr
    random
    movl %eax, %edx
    random
    wrmsr
    jmp 2b
handler:
    addl $4, %esp
    addl $2, (%esp)
    iret
pointer: .word 255
    .long table
.align 8
table: .skip 256
bases: .long 0, 0, 0x10, 0x200, 0x800, 0xc0000080, 0x4b564d00, 0xc0010000
"""
HAMMERS = {"ports": HAMMER_PORTS, "chips": HAMMER_CHIPS, "apics": HAMMER_APICS, "memory": HAMMER_MEMORY,
           "msrs": HAMMER_MSRS}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", HAMMERS)
def test_hammer(doppel, guest, what, seed):
    """
    Anything to any register. The guest may thereby power off (0), reset (0, by --no-reboot) or kill itself
    (1); else it is ended after a while, and must not hold that up.
    """
    k = guest(HAMMERS[what], seed)
    p = doppel.start("run", "--kernel", k, "--no-reboot", "--memory", "16M", "--cpus", 1 + seed % 2,
                     "--serial", "null", "--quiet", stdout=subprocess.DEVNULL)
    with p:
        try:
            status = p.wait(HAMMER_SECONDS / (2 if seed > 2 else 1))
        except subprocess.TimeoutExpired:
            p.terminate()
            try:
                status = p.wait(GUEST_LIMIT)
            except subprocess.TimeoutExpired:
                p.kill()
                raise
            assert status == 143, (status, p.stderr.read())
        assert status in (0, 1, 143), (status, p.stderr.read())


def test_guest_messages_do_not_flood_the_host(doppel, guest):
    """What a guest can provoke is printed at a limited rate, even when asked to be verbose."""
    with doppel.start("run", "--kernel", guest(HAMMER_MSRS), "--memory", "16M", "--verbose", "--serial", "null",
                      stdout=subprocess.DEVNULL) as p:
        time.sleep(3)
        p.terminate()
        assert p.wait(GUEST_LIMIT) in (0, 1, 143)
        assert p.stderr.read().count(b"\n") < 1000


@long_only
def test_typing_ahead_without_end(doppel, guest):
    """A guest that never reads: input piles up in front of it, not in the VMM's memory."""
    p = doppel.start("run", "--kernel", guest(SPINS["spin"]), "--memory", "16M", stdin=subprocess.PIPE)
    with p:
        os.set_blocking(p.stdin.fileno(), False)
        sent, end = 0, time.monotonic() + 3
        while time.monotonic() < end:
            if select.select([], [p.stdin], [], 0.1)[1]:
                sent += os.write(p.stdin.fileno(), b"x" * 65536)
        assert sent < 1 << 20
        p.terminate()
        assert p.wait(GUEST_LIMIT) == 143
        p.stdin.close()
