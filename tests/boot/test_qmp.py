# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitors: QMP over a socket with a client of our own, its answers beside the real QEMU's, and lines for people."""
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from conftest import GUEST_LIMIT, PATIENCE
from test_hostile import HELLO
from test_qemu_front import BARE, connect

SPIN = """
    movl $text, %esi
    call puts
1:  incl counter
    jmp 1b
text: .asciz "here\\n"
.data
counter: .long 0
.text
"""


class Client:
    """Speaks QMP; keeps the events that come in between."""

    def __init__(self, path, negotiate=True):
        self.s = connect(lambda: self._connect(path))
        self.s.settimeout(GUEST_LIMIT * 2)
        self.f = self.s.makefile("rb")
        self.events = []
        self.greeting = self.read()
        if negotiate:
            assert self("qmp_capabilities") == {}

    @staticmethod
    def _connect(path):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(path))
        return s

    def read(self):
        line = self.f.readline()
        return json.loads(line) if line else None

    def raw(self, text):
        self.s.sendall(text if isinstance(text, bytes) else text.encode())
        while True:
            r = self.read()
            if r is None or "event" not in r:
                return r
            self.events.append(r)

    def ask(self, command, /, **args):
        return self.raw(json.dumps({"execute": command, "arguments": {k.replace("_", "-"): v for k, v in args.items()}}))

    def __call__(self, command, /, **args):
        r = self.ask(command, **args)
        assert "return" in r, (command, args, r)
        return r["return"]

    def event(self, name):
        """The next event of that name, read or yet to come."""
        while True:
            for i, e in enumerate(self.events):
                if e["event"] == name:
                    del self.events[:i + 1]
                    return e
            r = self.read()
            assert r is not None, (name, self.events)
            self.events.append(r)

    def hmp(self, line):
        return self("human-monitor-command", command_line=line)

    def close(self):
        self.f.close()
        self.s.close()


@pytest.fixture
def machine(doppel, guest, tmp_path):
    """Start QEMU's front with a socket for QMP; returns the process and a client."""
    started = []

    def start(*args, body=SPIN, front=("qemu",), **kw):
        path = tmp_path / f"qmp{len(started)}"
        qmp = ["-qmp", f"unix:{path},server=on,wait=off"] if front[0] == "qemu" else ["--qmp", path]
        p = doppel.start(*front, *args, *qmp, *(["-kernel", guest(body)] if body and front[0] == "qemu" else []), **kw)
        started.append(p)
        c = Client(path)
        c.path = path
        return p, c

    yield start
    for p in started:
        p.kill()
        p.communicate()


def test_greeting_and_negotiation(machine, tmp_path):
    p, c = machine(*BARE)
    version = c.greeting["QMP"]["version"]
    assert version["qemu"]["major"] >= 7 and version["package"].startswith("doppel") and c.greeting["QMP"]["capabilities"] == []
    assert c("query-version") == version
    assert c.ask("qmp_capabilities")["error"]["class"] == "CommandNotFound"
    c.close()
    # The next client begins anew.
    second = Client(c.path, negotiate=False)
    assert second.greeting == c.greeting
    assert second.ask("query-status")["error"]["class"] == "CommandNotFound"
    assert second("qmp_capabilities") == {} and second("query-status")["running"]
    assert second("quit") == {}
    e = second.event("SHUTDOWN")
    assert e["data"] == {"guest": False, "reason": "host-qmp-quit"} and e["timestamp"]["seconds"] > 1e9 and 0 <= e["timestamp"]["microseconds"] < 1e6
    assert p.wait(GUEST_LIMIT) == 0


def test_stop_and_cont(machine):
    p, c = machine(*BARE, "-S", "-serial", "stdio")
    assert c("query-status") == {"status": "prelaunch", "running": False, "singlestep": False}
    assert c("cont") == {}
    c.event("RESUME")
    assert p.stdout.read(5) == b"here\n"
    assert c("query-status") == {"status": "running", "running": True, "singlestep": False}
    assert c("stop") == {}
    c.event("STOP")
    assert c("query-status") == {"status": "paused", "running": False, "singlestep": False}
    assert "paused" in c.hmp("info status")
    counter = c.hmp("x/1w 0x100000")
    assert counter.startswith("0000000000100000: 0x") and counter == c.hmp("xp/w 0x100000")
    regs = c.hmp("info registers")
    assert regs == c.hmp("info registers") and "RIP=0000000000100" in regs and "CR0=00000011" in regs
    assert c.hmp("cont") == "" and c("query-status")["running"]
    c.event("RESUME")
    assert c("system_reset") == {}
    assert c.event("RESET")["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
    assert p.stdout.read(5) == b"here\n"
    assert c.hmp("quit") == ""
    assert p.wait(GUEST_LIMIT) == 0


def test_ends_of_the_guest(machine):
    # It ends at the end of what is read from the port.
    p, c = machine(*BARE, "-S", "-serial", "stdio", body=HELLO)
    c("cont")
    assert c.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
    assert p.wait(GUEST_LIMIT) == 43
    reset = "    movb $0xfe, %al\n    outb %al, $0x64\n1:  jmp 1b\n"
    p, c = machine(*BARE, "-S", "-no-reboot", body=reset)
    c("cont")
    assert c.event("SHUTDOWN")["data"]["reason"] == "guest-reset"
    assert p.wait(GUEST_LIMIT) == 0


OFF = """
    movw $0x604, %dx
    movw $0x2000, %ax
    outw %ax, %dx
1:  jmp 1b
"""


@pytest.mark.parametrize("option", [["-no-shutdown"], ["-action", "shutdown=pause"]], ids=" ".join)
def test_no_shutdown(machine, option):
    p, c = machine(*BARE, "-S", *option, body=OFF)
    c("cont")
    c.event("SHUTDOWN")
    end = time.monotonic() + GUEST_LIMIT
    while c("query-status")["status"] != "shutdown":
        assert time.monotonic() < end
    assert "Resetting" in c.ask("cont")["error"]["desc"] and p.poll() is None
    assert c("quit") == {}
    assert p.wait(GUEST_LIMIT) == 0


PANIC = """
    movw $0x505, %dx
    movb $1, %al
    outb %al, %dx
1:  jmp 1b
"""


@pytest.mark.parametrize("action,status", [("pause", 0), ("none", 0), ("shutdown", 0), ("exit-failure", 1)])
def test_panic(machine, action, status):
    p, c = machine(*BARE, "-S", "-device", "pvpanic", "-action", f"panic={action}", body=PANIC)
    c("cont")
    c.event("GUEST_PANICKED")
    if action == "pause":
        c.event("STOP")
        c("cont")
    if action in ("pause", "none"):
        assert c("query-status")["running"] and c("quit") == {}
    assert p.wait(GUEST_LIMIT) == status


def test_questions(machine, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    p, c = machine(*BARE, "-smp", "2", "-name", "a vm", "-uuid", "550e8400-e29b-41d4-a716-446655440000", "-drive", f"file={disk},format=raw,if=none,id=d0,readonly=on",
                   "-device", "virtio-blk-pci,drive=d0", "-chardev", "null,id=c0", "-device", "virtio-balloon-pci", "-nic", "user,id=n0")
    assert c("query-name") == {"name": "a vm"} and c("query-uuid") == {"UUID": "550e8400-e29b-41d4-a716-446655440000"}
    assert c("query-kvm") == {"enabled": False, "present": False} and c("query-target") == {"arch": "x86_64"}
    cpus = c("query-cpus-fast")
    assert [x["cpu-index"] for x in cpus] == [0, 1] and all(x["thread-id"] > 0 for x in cpus)
    blocks = c("query-block")
    assert len(blocks) == 1 and blocks[0]["device"] == "d0" and blocks[0]["inserted"]["ro"] and blocks[0]["inserted"]["image"]["virtual-size"] == 1 << 20
    assert blocks[0]["inserted"]["file"] == str(disk) and blocks[0]["inserted"]["drv"] == "raw"
    assert {x["label"] for x in c("query-chardev")} >= {"c0", "compat_monitor0"}
    names = {x["name"] for x in c("query-commands")}
    assert names >= {"query-status", "query-version", "stop", "cont", "system_reset", "system_powerdown", "quit", "screendump", "send-key",
                     "query-block", "query-cpus-fast", "eject", "change", "blockdev-change-medium", "human-monitor-command", "set_link", "balloon"}
    assert c("query-balloon") == {"actual": 16 << 20} and c("balloon", value=8 << 20) == {}
    assert c("system_powerdown") == {}
    c.event("POWERDOWN")
    for what, word in (("block", "d0"), ("cpus", "CPU #1"), ("version", "doppel"), ("name", "a vm"), ("chardev", "c0"), ("network", "e1000"), ("kvm", "disabled"),
                       ("uuid", "550e8400-e29b"), ("balloon", "actual=16"), ("stats", "cpu0.exits")):
        assert word in c.hmp(f"info {what}"), what
    assert "info status" in c.hmp("info") and "sendkey" in c.hmp("help") and "unknown" in c.hmp("frobnicate") and "write it like" in c.hmp("change a")
    assert c.ask("set_link", name="nothing", up=False)["error"]["class"] == "DeviceNotFound"
    assert c("send-key", keys=[{"type": "qcode", "data": "ret"}], hold_time=1) == {} and c.hmp("sendkey ctrl-a 1") == ""


def test_media(machine, doppel, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    p, c = machine(*BARE, "-cdrom", tmp_path / "one")
    cd, = [b for b in c("query-block") if b["removable"]]
    assert cd["inserted"]["file"] == str(tmp_path / "one")
    name = cd["device"]
    assert c("eject", device=name, force=True) == {}
    assert "inserted" not in [b for b in c("query-block") if b["device"] == name][0]
    for i in range(20):
        assert c("blockdev-change-medium", id=name, filename=str(tmp_path / ("two", "one")[i % 2]), format="raw") == {}
    assert c("change", device=name, target=str(tmp_path / "two")) == {}
    assert [b for b in c("query-block") if b["device"] == name][0]["inserted"]["file"] == str(tmp_path / "two")
    assert c.ask("change", device=name, target="/nonexistent")["error"]["class"] == "GenericError"
    assert c.ask("eject", device="none")["error"]["desc"]
    assert c.hmp(f"eject -f {name}") == "" and c.hmp(f"change {name} {tmp_path}/one raw") == ""
    assert c("quit") == {}
    status = p.wait(GUEST_LIMIT)
    assert (status, p.stderr.read()) == (0, b"")


def test_screendump(machine, tmp_path):
    p, c = machine("-m", "16", "-device", "isa-debug-exit", "-nic", "none", "-vga", "std")
    assert c("screendump", filename=str(tmp_path / "s.png")) == {}
    assert (tmp_path / "s.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert c.hmp(f"screendump {tmp_path}/t.png") == "" and (tmp_path / "t.png").exists()
    assert "png" in c.ask("screendump", filename="x", format="ppm")["error"]["desc"]


def test_bad_input(machine):
    """Whatever comes is answered by an error, and the session goes on."""
    p, c = machine(*BARE)
    for text in ('{"execute"}', '{"execute": 3}', '{}', '{"execute": "stop", "colour": 1}', '{"execute": "stop", "arguments": 1}',
                 '{"execute": "frobnicate"}', '{"execute": "eject"}', '{"execute": "eject", "arguments": {"device": 1}}', '{"execute": "stop", "arguments": {"x": 1}}',
                 '{"execute": "send-key", "arguments": {"keys": [1]}}', '{"execute": "send-key", "arguments": {"keys": [{"type": "qcode", "data": "no"}]}}',
                 '{"execute": "balloon", "arguments": {"value": "x"}}', "nonsense\n", "]\n", '{"a": "\\ud800"}', '{"execute": "x\\u0000y"}', b'{"execute": "\xff"}'):
        r = c.raw(text)
        assert set(r["error"]) == {"class", "desc"}, (text, r)
    assert "limit" in c.raw('{"a":' * 100 + "\n")["error"]["desc"]
    assert "limit" in c.raw('{"a": "' + "x" * 300000 + "\n")["error"]["desc"]
    assert c.raw('{"execute": "query-status", "id": [1, {"a": "b"}]}')["id"] == [1, {"a": "b"}]
    # Several in one piece, and one in many.
    c.s.sendall(b'{"execute":"query-kvm","id":1} {"execute":"query-kvm","id":2}\r\n{"execute":')
    c.s.sendall(b'"query-kvm","id":3}')
    assert [c.read()["id"] for _ in range(3)] == [1, 2, 3]


def test_slow_reader(machine):
    """Who asks and never reads holds up nobody but himself."""
    p, c = machine(*BARE)
    c.s.settimeout(2)
    sent = 0
    try:
        for _ in range(20000):
            sent += c.s.send(b'{"execute":"query-commands"}' * 20)
    except (TimeoutError, socket.timeout):
        pass
    p.terminate()
    assert p.wait(GUEST_LIMIT * PATIENCE) == 0


def test_many_clients(machine):
    p, c = machine(*BARE)
    c.close()
    for i in range(20):
        one = Client(c.path, negotiate=i % 2)
        if i % 3:
            one.s.sendall(b'{"execute":"query-stat')
        one.close()
    assert Client(c.path)("query-status")["running"]


def test_pretty_and_mon(doppel, guest, tmp_path):
    one, two, three = (tmp_path / n for n in ("one", "two", "three"))
    with doppel.start("qemu", *BARE, "-kernel", guest(SPIN), "-qmp-pretty", f"unix:{one},server,nowait", "-chardev", f"socket,id=m,path={two},server=on,wait=off",
                      "-mon", "chardev=m,mode=control", "-monitor", f"unix:{three},server,nowait") as p:
        s = connect(lambda: Client._connect(one))
        assert s.makefile().readline() == "{\n"
        assert Client(two)("query-status")["running"]
        with connect(lambda: Client._connect(three)) as people:
            people.sendall(b"info statuq\bs\nquit\n")
            text = b"".join(iter(lambda: people.recv(4096), b"")).decode()
        assert "VM status: running\r\n" in text and text.count("(qemu) ") >= 2
        assert p.wait(GUEST_LIMIT) == 0
        s.close()


def test_monitor_shares_the_terminal(doppel, terminal, guest):
    """Ctrl-A c takes the keys to the monitor and back; Ctrl-A x leaves. Piped input has the same escapes."""
    t = terminal("qemu", "-nographic", "-vga", "none", "-nic", "none", "-m", "16", "-kernel", guest(SPIN))
    t.expect("here")
    t.send("\x01c\n")
    t.expect(r"\(qemu\) ")
    t.command("info status", "VM status: running")
    t.send("\x01c")
    t.send("\x01x")
    assert t.wait() == 0 and t.restored()
    r = doppel("qemu", "-nographic", "-vga", "none", "-nic", "none", "-m", "16", "-kernel", guest(SPIN), stdin=b"\x01cinfo name\nquit\n")
    assert r.status == 0 and "info name" in r.out, r
    assert doppel("qemu", "-nographic", "-vga", "none", "-nic", "none", "-m", "16", "-kernel", guest(SPIN), stdin=b"\x01x").status == 0


def test_doppel_run(machine, guest):
    p, c = machine("--kernel", guest(SPIN), "--memory", "16M", "--paused", front=("run",))
    assert c("query-status")["status"] == "prelaunch" and c("cont") == {}
    assert p.stdout.read(5) == b"here\n" and c("query-status")["running"]
    c("quit")
    assert p.wait(GUEST_LIMIT) == 0 and not os.path.exists(c.path)


def test_gdb_socket(doppel, machine, tmp_path):
    path = tmp_path / "gdb"
    p, c = machine(*BARE, "-S", "-gdb", f"unix:{path}")
    with connect(lambda: Client._connect(path)) as s:
        s.sendall(b"$?#3f")
        assert s.recv(100).startswith(b"+")
        assert c("query-status")["status"] == "debug"
    if not os.path.exists("/proc/net/tcp") or ":04D2 " in open("/proc/net/tcp").read():
        pytest.skip("port 1234 is taken")
    p, c = machine(*BARE, "-s")
    with connect(lambda: socket.create_connection(("127.0.0.1", 1234))):
        pass


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="the real one is not installed")
def test_same_shape_as_qemu(machine, tmp_path):
    """What the real QEMU answers has our members, of the same types."""
    path, disk = tmp_path / "real", tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    args = ["-nodefaults", "-display", "none", "-m", "16", "-S", "-name", "vm", "-drive", f"file={disk},format=raw,if=none,id=d,readonly=on",
            "-device", "virtio-blk-pci,drive=d", "-cdrom", disk]
    with subprocess.Popen(["qemu-system-x86_64", *args, "-accel", "tcg", "-qmp", f"unix:{path},server=on,wait=off"]) as q:
        try:
            real = Client(path)
            _, ours = machine(*args)

            def same(a, b, where):
                assert type(a) is type(b), (where, a, b)
                if isinstance(a, dict):
                    for k in a:
                        assert k in b, (where, k, b)
                        same(a[k], b[k], f"{where}.{k}")
                elif isinstance(a, list) and a and b:
                    same(a[0], b[0], where + "[0]")

            for name in ("query-status", "query-version", "query-name", "query-uuid", "query-kvm", "query-target", "query-cpus-fast", "query-block", "query-chardev",
                         "query-commands"):
                same(ours(name), real(name), name)
            same(ours.greeting, real.greeting, "greeting")
            assert ours("query-status") == real("query-status")
            assert {b["device"] for b in ours("query-block")} == {b["device"] for b in real("query-block")}
            for bad in ("nonsense\n", '{"execute": "frobnicate"}', '{"execute": "stop", "x": 1}', "{}", '{"execute": "eject", "arguments": {"x": 1}}'):
                assert ours.raw(bad)["error"]["class"] == real.raw(bad)["error"]["class"], bad
        finally:
            q.kill()
