# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles as users have them: terminal, pseudo-terminal, socket, file; with a guest that echoes."""
import os
import re
import select
import signal
import socket
import time

from conftest import GUEST_LIMIT, PATIENCE
from test_hostile import HELLO, flood_text, FLOOD

# Reads COM1 by polling and sends back what came; 'q' ends.
ECHO = """
    movl $text, %esi
    call puts
1:  movw $COM1 + 5, %dx
    inb %dx, %al
    testb $1, %al
    jz 1b
    movw $COM1, %dx
    inb %dx, %al
    cmpb $'q', %al
    je 2f
    call putc
    jmp 1b
2:  movb $0, %al
    jmp leave
text: .asciz "ready\\r\\n"
"""
# The same on the second port too.
HELLO_COM2 = """
    movl $text, %esi
1:  lodsb
    testb %al, %al
    jz 2f
    movw $0x2f8, %dx
    outb %al, %dx
3:  movw $0x2fd, %dx
    inb %dx, %al
    testb $0x20, %al
    jz 3b
    jmp 1b
2:  movb $0, %al
    jmp leave
text: .asciz "second\\n"
"""


def echo_args(guest):
    return ["run", "--kernel", guest(ECHO), "--debug-exit", "--memory", "16M"]


def read_until(fd, end, limit=GUEST_LIMIT):
    got, stop = b"", time.monotonic() + limit
    while end not in got:
        assert time.monotonic() < stop, got
        if select.select([fd], [], [], 0.2)[0]:
            chunk = os.read(fd, 65536)
            assert chunk, got
            got += chunk
    return got


def test_terminal(terminal, guest):
    t = terminal(*echo_args(guest))
    t.expect("ready\n")
    assert t.is_raw()
    t.send("abc\x03")
    t.expect("abc\x03")
    t.send("\x01h")
    t.expect("Ctrl-A x.*\n.*\n.*\nCtrl-A h")
    t.send("\x01\x01z")
    t.expect("\x01z")
    t.send("\x01x")
    assert t.wait() == 0
    assert t.restored()


def test_starting_line_vanishes(terminal, guest):
    t = terminal(*echo_args(guest))
    t.expect("ready\n")
    assert re.search(r"^[^\n]*starting[^\n]*\x1b\[Kready\n", t.text()), t.text()
    t.send("q")
    assert t.wait() == 1
    t = terminal(*echo_args(guest), "--quiet")
    t.expect("^ready\n")


def test_terminal_is_restored_after_signals(terminal, guest):
    for sig, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGQUIT, 131),
                        (signal.SIGSEGV, None)):
        t = terminal(*echo_args(guest))
        t.expect("ready\n")
        assert t.is_raw()
        t.p.send_signal(sig)
        got = t.wait()
        assert got == status or (status is None and got != 0), (sig, got)
        assert t.restored(), sig


# Divides by zero with the exception unmasked: #XM in the guest, and a signal in whoever lets the host CPU do it.
SIMD_FAULT = """
    movl $table + 19 * 8, %edi
    movl $handler, %eax
    movw %ax, (%edi)
    movw %cs, 2(%edi)
    movw $0x8e00, 4(%edi)
    shrl $16, %eax
    movw %ax, 6(%edi)
    lidt pointer
    movl %cr4, %eax
    orl $0x600, %eax
    movl %eax, %cr4
    ldmxcsr mxcsr
    movups ones, %xmm0
    xorps %xmm1, %xmm1
    divps %xmm1, %xmm0
    jmp leave
handler:
    movl $text, %esi
    call puts
    movw $COM1 + 5, %dx
1:  inb %dx, %al
    testb $1, %al
    jz 1b
    movb $2, %al
    jmp leave
text: .asciz "caught\\r\\n"
pointer: .word 255
    .long table
mxcsr: .long 0x1d80
ones: .float 1, 1, 1, 1
.align 8
table: .skip 256
"""


def test_guest_faults_while_the_terminal_is_raw(terminal, guest):
    """The signals of the engine and those that give the terminal back do not get into each other's way."""
    t = terminal("run", "--kernel", guest(SIMD_FAULT), "--debug-exit", "--memory", "16M", "--quiet")
    t.expect("^caught\n")
    assert t.is_raw()
    t.send("q")
    assert t.wait() == 5
    assert t.restored()


def test_stop_and_continue(terminal, guest):
    t = terminal(*echo_args(guest))
    t.expect("ready\n")
    t.p.send_signal(signal.SIGTSTP)
    os.waitid(os.P_PID, t.p.pid, os.WSTOPPED)
    assert t.restored()
    t.p.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + GUEST_LIMIT
    while not t.is_raw():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    t.send("on")
    t.expect("on")
    t.send("q")
    assert t.wait() == 1
    assert t.restored()


def test_leaving_a_flood_that_is_not_read(terminal, guest):
    """The terminal hangs, and still Ctrl-A x works."""
    t = terminal("run", "--kernel", guest(FLOOD.replace("LINES", "-1")), "--memory", "16M")
    t.expect("00000001\n")
    time.sleep(1)
    t.send("\x01x")
    deadline = time.monotonic() + 20 * PATIENCE
    while t.p.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert t.p.returncode == 0
    assert t.restored()


def test_leaving_a_guest_that_does_not_read(terminal, guest):
    t = terminal("run", "--kernel", guest("cli\n 1: jmp 1b\n"), "--memory", "16M", "--quiet")
    deadline = time.monotonic() + GUEST_LIMIT
    while not t.is_raw():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for _ in range(20):
        t.send("x" * 1000)
        time.sleep(0.01)
    t.send("\x01x")
    assert t.wait() == 0


def test_piped_input(doppel, guest):
    """Bytes as they are, Ctrl-A included, and Ctrl-D at the end."""
    r = doppel(*echo_args(guest), stdin=b"one\x01x two\n\x80q")
    assert (r.status, r.out.encode(errors="replace")) == (1, b"ready\r\none\x01x two\n\xef\xbf\xbd"), r
    with doppel.start(*echo_args(guest)) as p:
        assert read_until(p.stdout.fileno(), b"\x04") == b"ready\r\n\x04"
        p.terminate()
        assert p.wait(GUEST_LIMIT) == 143


def test_long_piped_input(doppel, guest):
    """The guest takes a byte at a time; none is lost."""
    text = bytes(c for c in range(256) if c not in b"q\x04") * 40
    r = doppel.start(*echo_args(guest), stdin=-1)
    out, _ = r.communicate(text + b"q", timeout=GUEST_LIMIT)
    assert out == b"ready\r\n" + text
    assert r.returncode == 1


def test_file(doppel, guest, tmp_path):
    log = tmp_path / "log"
    log.write_text("old and longer than what comes" * 10)
    r = doppel("run", "--kernel", guest(HELLO), "--debug-exit", "--memory", "16M", "--serial", f"file:{log}")
    assert (r.status, r.out) == (43, ""), r
    assert log.read_text() == "hello from the guest\n"


def test_two_ports(doppel, guest, tmp_path):
    log = tmp_path / "log"
    r = doppel("run", "--kernel", guest(HELLO_COM2), "--debug-exit", "--memory", "16M", "--serial", "stdio",
               "--serial", f"file:{log}")
    assert (r.status, r.out) == (1, ""), r
    assert log.read_text() == "second\n"


def test_full_disk(doppel, guest):
    """An error of the host's is told once and does not stop the guest."""
    r = doppel("run", "--kernel", guest(FLOOD.replace("LINES", "2000")), "--debug-exit", "--memory", "16M",
               "--serial", "file:/dev/full")
    assert r.status == 3 and r.err.count("\n") == 1 and "No space left" in r.err, r


def test_pty(doppel, guest):
    with doppel.start(*echo_args(guest), "--serial", "pty") as p:
        line = p.stderr.readline().decode()
        name = re.search(r"/dev/pts/\d+", line)[0]
        time.sleep(0.5)
        for turn in range(2):
            fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
            if not turn:
                assert read_until(fd, b"ready\r\n") == b"ready\r\n"
            os.write(fd, b"to and fro")
            assert read_until(fd, b"fro") == b"to and fro"
            os.close(fd)
            time.sleep(0.3)
        p.terminate()
        assert p.wait(GUEST_LIMIT) == 143


def test_socket(doppel, guest, tmp_path):
    path = tmp_path / "socket"
    with doppel.start(*echo_args(guest), "--serial", f"unix:{path}") as p:
        deadline = time.monotonic() + GUEST_LIMIT
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for turn in range(3):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
                if not turn:
                    assert read_until(s.fileno(), b"ready\r\n") == b"ready\r\n"
                s.sendall(b"client %d." % turn)
                assert read_until(s.fileno(), b".") == b"client %d." % turn
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            s.sendall(b"q")
            assert p.wait(GUEST_LIMIT) == 1
    assert not path.exists()


def test_socket_slow_client(doppel, guest, tmp_path):
    path, lines = tmp_path / "socket", 30000
    # The guest waits at the beginning for a byte, so that the client misses nothing.
    body = "1: movw $COM1 + 5, %dx\n inb %dx, %al\n testb $1, %al\n jz 1b\n" + FLOOD.replace("1:", "5:").replace("1b", "5b")
    with doppel.start("run", "--kernel", guest(body.replace("LINES", str(lines))), "--debug-exit", "--memory", "16M",
                      "--serial", f"unix:{path}") as p:
        deadline = time.monotonic() + GUEST_LIMIT
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            s.sendall(b"g")
            time.sleep(1)
            got = b""
            while len(got) < lines * 9:
                chunk = s.recv(30000)
                assert chunk
                got += chunk
                time.sleep(0.005)
            assert got == flood_text(lines)
            assert p.wait(GUEST_LIMIT) == 3
