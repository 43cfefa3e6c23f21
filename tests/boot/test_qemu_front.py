# SPDX-License-Identifier: GPL-2.0-or-later
"""The front that speaks QEMU's command line: every option works, changes nothing for a reason, or is refused by name."""
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from conftest import GUEST_LIMIT, ROOT
from test_hostile import HELLO

ANSWER = "hello from the guest\n"
# A machine with nothing that was not asked for, and a port to end it.
BARE = ["-nodefaults", "-display", "none", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"]


@pytest.fixture
def qemu(doppel):
    return lambda *args, **kw: doppel("qemu", *args, **kw)


def refused(r, *words):
    assert r.status == 1 and r.out == "", r
    assert r.err.count("\n") == 1 and r.err.startswith("doppel: "), r
    for w in words:
        assert w in r.err, (w, r)


def table(qemu):
    """name -> (works | no-op | refused, argument's name or None, text), from -help."""
    state, rows = "works", {}
    for line in qemu("-help").out.splitlines():
        state = "no-op" if line.startswith("Taken, and") else "refused" if line.startswith("Refused, as") else state
        m = re.match(r"-([\w-]+)(?: ([A-Z.=|]\S*|\S*[=|.]\S*|file=F,\.\.\.))? +(\S.*)$", line)
        if m:
            rows[m[1]] = (state, m[2], m[3])
    return rows


def test_the_page_is_the_table(qemu):
    page = (ROOT / "docs" / "qemu-options.md").read_text().replace("&#124;", "|")
    rows = re.findall(r"^\| `-([\w-]+)(?: [^`]*)?` \| (works|no-op|refused) \| (.*) \|$", page, re.M)
    assert {n: (s, t) for n, s, t in rows} == {n: (s, t) for n, (s, _, t) in table(qemu).items()}


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="the real one is not installed")
def test_all_of_qemus_options_are_known(qemu):
    text = subprocess.run(["qemu-system-x86_64", "-help"], capture_output=True, text=True, check=True).stdout
    names = set()
    for m in re.finditer(r"^--?([\w-]+)(?:(?: or |/)-?(\w+))?", text, re.M):
        names |= {m[1]} | ({m[2]} if m[2] else set())
    known = set(table(qemu))
    assert names - {"fda/"} <= known, names - known


def test_refused_options(qemu):
    for name, (state, arg, text) in table(qemu).items():
        if state == "refused":
            refused(qemu(f"-{name}", *(["x"] if arg else [])), f"-{name} is not built", text)


def test_unknown_options(qemu):
    refused(qemu("-frobnicate"), "-frobnicate", "invalid option")
    refused(qemu("-kernel"), "-kernel", "argument")


def test_names_of_the_program(doppel, guest, tmp_path):
    for name in ("doppel-system-x86_64", "qemu-system-x86_64"):
        os.symlink(os.path.abspath(doppel.path), tmp_path / name)
        r = subprocess.run([tmp_path / name, *BARE, "-serial", "stdio", "-kernel", guest(HELLO)], stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=GUEST_LIMIT, check=False)
        assert (r.returncode, r.stdout, r.stderr) == (43, ANSWER.encode(), b"")
        # Two dashes are as good as one.
        r = subprocess.run([tmp_path / name, "--version"], capture_output=True, text=True, check=False)
        assert r.returncode == 0 and re.match(r"QEMU emulator version \d+\.\d+\.\d+ .*doppel \d", r.stdout)


# -- Every option that works: arguments, and what is to be seen of them besides the guest's answer ---------------------------------

def boot(qemu, guest, *args, status=43, out=ANSWER, body=HELLO, serial=True, **kw):
    r = qemu(*BARE, *(["-serial", "stdio"] if serial else []), "-kernel", guest(body), *args, **kw)
    assert (r.status, r.out, r.err) == (status, out, ""), r
    return r


# Options of which it is enough here that the guest runs with them.
GOES = {
    "machine": ["pc", "type=pc,accel=tcg", "pc-i440fx-7.2,accel=kvm:tcg,usb=off,vmport=off,dump-guest-core=off", "accel=tcg,kernel_irqchip=on",
                "microvm,rtc=on,pit=on", "pc,smm=off,graphics=off"],
    "M": ["pc", "microvm"],
    "cpu": ["max", "host", "qemu64", "qemu64,+sse4.1,-vmx", "kvm64", "Nehalem-v1", "max,sse4_2=off,kvm=off", "max,check,enforce", "base"],
    "accel": ["tcg", "tcg,thread=multi,tb-size=256", "interp", "accel=tcg"],
    "smp": ["2", "cpus=2,maxcpus=2", "2,sockets=1,cores=2,threads=1", "sockets=2,cores=1"],
    "m": ["32", "size=32M", "0.03125G", "32,slots=0", "size=32M,maxmem=32M"],
    "name": ["vm", "guest=vm,process=vmp,debug-threads=on"],
    "uuid": ["550e8400-e29b-41d4-a716-446655440000"],
    "append": ["quiet"],
    "global": ["isa-debugcon.readback=0xe8", "driver=virtio-rng-pci,property=packed,value=on"],
    "object": ["rng-random,id=r,filename=/dev/urandom", "rng-builtin,id=r", "iothread,id=io"],
    "L": ["/nowhere"],
    "d": ["guest_errors", "unimp,nochain"],
    "nic": ["none", "user,model=virtio,mac=52:54:00:00:00:01", "user,model=e1000,hostname=vm", "user,model=pcnet"],
    "net": ["none", "nic,model=e1000", "user"],
    "vga": ["none"], "vnc": ["none", "unix:TMP/v", "unix:TMP/v,password-file=TMP/password"], "display": ["none", "vnc=unix:TMP/v"],
    "monitor": ["none"], "parallel": ["none"], "debugcon": ["none"],
    "boot": ["d", "order=cd,once=n,menu=on", "menu=off,strict=on", "c,splash-time=100,reboot-timeout=1000"],
    "rtc": ["base=utc", "base=localtime,clock=host", "base=2020-02-02T12:00:00,driftfix=slew", "clock=vm"],
    "smbios": ["type=1,manufacturer=me,product=it,uuid=550e8400-e29b-41d4-a716-446655440000", "type=0,vendor=me", "type=3,serial=1"],
    "fw_cfg": ["name=opt/a,string=text", "opt/b,string=x"],
    "snapshot": [None], "nodefaults": [None], "no-reboot": [None], "no-shutdown": [None],
    "action": ["reboot=shutdown,shutdown=poweroff,panic=exit-failure", "panic=none", "reboot=reset"],
    "netdev": ["user,id=n,hostname=vm,dns=10.0.2.9,restrict=on", "user,id=n,ipv6=off,net=10.9.0.0/24"],
    "chardev": ["null,id=c", "vc,id=c", "pty,id=c"],
}


@pytest.mark.parametrize("name", GOES)
def test_options_that_go(qemu, guest, tmp_path, name):
    (tmp_path / "password").write_text("secret\n")
    for arg in GOES[name]:
        args = [f"-{name}"] + ([arg.replace("TMP", str(tmp_path))] if arg else [])
        r = qemu(*BARE, "-serial", "stdio", "-kernel", guest(HELLO), *args)
        assert r.status == 43 and r.out.endswith(ANSWER) and r.err == "", (args, r)


def test_no_ops(qemu, guest):
    args = []
    for name, (state, arg, _) in table(qemu).items():
        if state == "no-op":
            args += [f"-{name}"] + (["en-us"] if arg else [])
    assert len(args) > 8
    boot(qemu, guest, *args)


BAD = [
    (["-machine", "q36"], "q36"), (["-machine", "pc,vmport=on"], "vmport"), (["-machine", "pc,colour=red"], "colour"),
    (["-machine", "pc,accel=kvm"], "kvm", "tcg"), (["-accel", "hvf"], "hvf", "tcg"), (["-accel", "tcg,colour=red"], "colour"),
    (["-cpu", "i860"], "i860", "-cpu help"), (["-cpu", "max,+vmx"], "vmx"), (["-cpu", "max,colour=on"], "colour"),
    (["-cpu", "max,-colour"], "colour"), (["-smp", "0"], "-smp"), (["-smp", "129"], "-smp"), (["-smp", "1,maxcpus=4"], "maxcpus"),
    (["-smp", "2,cores=0"], "cores"), (["-smp", "two"], "two"), (["-m", "12Q"], "12Q"), (["-m", "1G,slots=2,maxmem=4G"], "slots"),
    (["-name", "a,colour=red"], "colour"), (["-uuid", "12"], "-uuid"), (["-uuid", "x" * 32], "-uuid"), (["-append", "a"], "-kernel"),
    (["-initrd", "a"], "-kernel"), (["-kernel", "/nonexistent"], "/nonexistent"), (["-bios", "/nonexistent"], "/nonexistent"),
    (["-kernel", "/bin/true", "-bios", "x"], "-bios"), (["-device", "flux-capacitor"], "flux-capacitor"), (["-device", "id=3"], "-device"),
    (["-device", "isa-debug-exit,colour=red"], "colour"), (["-device", "virtio-blk-pci,drive=d"], "drive=d"),
    (["-device", "virtio-net-pci,netdev=n"], "netdev=n"), (["-device", "isa-debugcon,chardev=c"], "chardev=c"),
    (["-device", "isa-serial,chardev=c"], "-chardev"), (["-device", "virtio-rng-pci,rng=r"], "rng=r"),
    (["-device", "virtio-rng-pci,ats=on"], "ats"), (["-device", "virtio-rng-pci,disable-legacy=off"], "disable-legacy"), (["-device", "virtio-rng-pci,id=a", "-device", "virtio-rng-pci,id=a"], "id=a"),
    (["-global", "x"], "DRIVER.PROPERTY=VALUE"), (["-global", "flux.a=b"], "flux"), (["-object", "memory-backend-ram,id=m"], "memory-backend-ram"),
    (["-object", "secret,id=s,data=x"], "file="), (["-object", "rng-random"], "id=ID"), (["-object", "rng-random,id=r,filename=/dev/zero"], "filename"),
    (["-drive", "if=virtio"], "file=FILE"), (["-drive", "file=/nonexistent,if=virtio"], "/nonexistent"), (["-drive", "file=x,if=scsi"], "if=scsi"),
    (["-drive", "file=x,if=virtio,colour=red"], "colour"), (["-drive", "file=fat:/tmp,if=none"], "fat:"), (["-drive", "file=/bin/ls,format=vmdk,if=none"], "vmdk"),
    (["-drive", "file=x,if=none,cache=directsync"], "directsync"), (["-drive", "file=x,if=none,werror=ignore"], "werror"),
    (["-drive", "file=x,if=none,media=tape"], "media"), (["-blockdev", "driver=file,filename=x"], "node-name"),
    (["-blockdev", "driver=qcow2,file=f,node-name=q"], "file=NODE"), (["-blockdev", "driver=ssh,node-name=q"], "ssh"), (["-blockdev", "{"], "JSON"),
    (["-netdev", "user"], "id=ID"), (["-netdev", "vde,id=n"], "vde"), (["-netdev", "tap,id=n"], "ifname"), (["-netdev", "tap,id=n,ifname=t0"], "script"),
    (["-netdev", "user,id=n,tftp=/"], "tftp"), (["-netdev", "user,id=n,hostfwd=1:2"], "hostfwd"), (["-netdev", "socket,id=n,listen=:1"], "listen"),
    (["-nic", "user,model=ne2k"], "ne2k"), (["-net", "vde"], "vde"), (["-chardev", "stdio"], "id=ID"), (["-chardev", "braille,id=b"], "braille"),
    (["-chardev", "file,id=b"], "path"), (["-chardev", "null,id=b,logfile=x"], "logfile"), (["-serial", "frob:1"], "frob"), (["-serial", "unix:"], "path"),
    (["-serial", "stdio", "-monitor", "stdio"], "stdio"), (["-serial", "null", "-serial", "null", "-serial", "null"], "2 serial ports"),
    (["-mon", "chardev=c"], "-chardev"), (["-mon", "c,mode=x"], "mode"), (["-display", "gtk"], "gtk"), (["-vnc", ":1,password=on"], "password-file"), (["-vnc", ":1,tls-creds=x"], "tls-creds"), (["-vnc", "x"], "vnc"), (["-gdb", "frob:1", "-kernel", "GUEST"], "frob"), (["-vga", "cirrus"], "cirrus"),
    (["-action", "reboot=x"], "reboot"), (["-action", "panic=x"], "panic"), (["-action", "watchdog=reset"], "watchdog"), (["-d", "exec"], "exec"),
    (["-D", "/nonexistent/log", "-kernel", "GUEST"], "/nonexistent/log"), (["-pidfile", "/nonexistent/pid", "-kernel", "GUEST"], "/nonexistent/pid"),
    (["-boot", "xyz"], "-boot"), (["-boot", "colour=red"], "colour"), (["-rtc", "base=noon"], "noon"), (["-rtc", "clock=cuckoo"], "cuckoo"),
    (["-rtc", "driftfix=x"], "driftfix"), (["-smbios", "type=99"], "99"), (["-smbios", "type=1,colour=red"], "colour"),
    (["-fw_cfg", "x"], "string="), (["-fw_cfg", "x,file=/nonexistent"], "/nonexistent"), (["-daemonize", "-serial", "stdio"], "-daemonize"),
]


@pytest.mark.parametrize("args", BAD, ids=lambda a: " ".join(a[0]))
def test_bad_arguments(qemu, guest, args):
    words = [guest(HELLO) if w == "GUEST" else w for w in args[0]]
    refused(qemu("-nodefaults", "-display", "none", "-m", "16", *words), *args[1:])


@pytest.mark.parametrize("args,words", [
    (["-machine", "help"], ["pc ", "microvm"]), (["-M", "?"], ["pc "]), (["-cpu", "help"], ["x86 max", "x86 Haswell", "avx2"]), (["-accel", "help"], ["tcg"]),
    (["-device", "help"], ["isa-debug-exit", "virtio-blk-pci", "isa-serial"]), (["-device", "virtio-blk,help"], ["queue-size", "addr"]),
    (["-netdev", "help"], ["user", "tap"]), (["-nic", "model=help"], ["e1000"]), (["-chardev", "help"], ["socket"]), (["-d", "help"], ["in_asm"]),
    (["-vga", "help"], ["std"]), (["-display", "help"], ["vnc"]), (["-h"], ["-machine", "-enable-kvm"]), (["-version"], ["QEMU emulator version", "doppel"]),
], ids=lambda a: " ".join(a))
def test_questions(qemu, args, words):
    r = qemu(*args)
    assert (r.status, r.err) == (0, "") and all(w in r.out for w in words), r


# The Multiboot information's modules: prints the command line of each, then of the kernel.
MODULES = """
    movl %ebx, %ebp
    movl 20(%ebp), %edi
    movl 24(%ebp), %ebx
1:  testl %edi, %edi
    jz 2f
    movl 8(%ebx), %esi
    call puts
    movb $'\\n', %al
    call putc
    addl $16, %ebx
    decl %edi
    jmp 1b
2:  movl 16(%ebp), %esi
    call puts
    movb $21, %al
    jmp leave
"""


def test_kernel_append_and_modules(qemu, guest, tmp_path):
    for name in ("a", "b,c"):
        (tmp_path / name).write_text("module")
    r = qemu(*BARE, "-serial", "stdio", "-kernel", guest(MODULES), "-append", "one two", "-initrd", f"{tmp_path}/a x y,{tmp_path}/b,,c")
    assert r.status == 43, r
    lines = r.out.split("\n")
    assert lines[:2] == [f"{tmp_path}/a x y", f"{tmp_path}/b,c"] and lines[2].endswith("one two"), r
    r = qemu(*BARE, "-serial", "stdio", "-kernel", guest(MODULES), "-initrd", f"{tmp_path}/b,c")
    assert r.status == 43 and r.out.startswith("b,c\n"), r


RESET = """
    movl $text, %esi
    call puts
    movb $0xfe, %al
    outb %al, $0x64
1:  hlt
    jmp 1b
text: .asciz "again\\n"
"""


def test_no_reboot(qemu, guest):
    for args in (["-no-reboot"], ["-action", "reboot=shutdown"]):
        boot(qemu, guest, *args, status=0, out="again\n", body=RESET)


# COM1 and COM2 get a letter each, the debug console one, and then the end.
PORTS = """
    movb $'1', %al
    call putc
    movw $0x2f8, %dx
    movb $'2', %al
    outb %al, %dx
    movb $'d', %al
    outb %al, $0xe9
    movb $21, %al
    jmp leave
"""


def test_ports_to_files(qemu, guest, tmp_path):
    one, two, three = (tmp_path / n for n in ("1", "2", "3"))
    boot(qemu, guest, "-serial", f"file:{one}", "-serial", f"file:{two}", "-debugcon", f"file:{three}", body=PORTS, out="", serial=False)
    assert (one.read_text(), two.read_text(), three.read_text()) == ("1", "2", "d")
    args = ["-chardev", f"file,id=a,path={one},append=on", "-chardev", f"file,id=b,path={two}", "-serial", "chardev:a",
            "-device", "isa-serial,chardev=b,iobase=0x2f8,irq=3", "-chardev", f"file,id=c,path={three}", "-device", "isa-debugcon,iobase=0xe9,chardev=c"]
    boot(qemu, guest, *args, body=PORTS, out="", serial=False)
    assert (one.read_text(), two.read_text(), three.read_text()) == ("11", "2", "d")
    # The first port is left out.
    boot(qemu, guest, "-serial", "none", "-serial", "stdio", body=PORTS, out="2", serial=False)


def read_all(s):
    s.settimeout(GUEST_LIMIT)
    return b"".join(iter(lambda: s.recv(4096), b""))


def connect(make, limit=GUEST_LIMIT):
    end = time.monotonic() + limit
    while True:
        try:
            return make()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_serial_sockets(doppel, guest, tmp_path):
    """A listening port makes the machine wait for its client; a connecting one needs somebody who listens."""
    path = str(tmp_path / "s")

    def to_unix():
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        return s

    with doppel.start("qemu", *BARE, "-kernel", guest(HELLO), "-serial", f"unix:{path},server=on") as p:
        with connect(to_unix) as s:
            assert read_all(s) == ANSWER.encode()
        assert p.wait(GUEST_LIMIT) == 43
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        with doppel.start("qemu", *BARE, "-kernel", guest(HELLO), "-chardev", f"socket,id=c,path={path}", "-serial", "chardev:c") as p:
            with listener.accept()[0] as s:
                assert read_all(s) == ANSWER.encode()
            assert p.wait(GUEST_LIMIT) == 43
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with doppel.start("qemu", *BARE, "-kernel", guest(HELLO), "-serial", f"tcp:127.0.0.1:{port}") as p:
            with listener.accept()[0] as s:
                assert read_all(s) == ANSWER.encode()
            assert p.wait(GUEST_LIMIT) == 43
    with doppel.start("qemu", *BARE, "-kernel", guest(HELLO), "-serial", f"tcp:127.0.0.1:{port},server") as p:
        with connect(lambda: socket.create_connection(("127.0.0.1", port))) as s:
            assert read_all(s) == ANSWER.encode()
        assert p.wait(GUEST_LIMIT) == 43
    with doppel.start("qemu", *BARE, "-kernel", guest(HELLO), "-serial", f"unix:{path}2,server,nowait") as p:
        assert p.wait(GUEST_LIMIT) == 43


def test_pidfile_and_daemonize(doppel, qemu, guest, tmp_path):
    pidfile, log = tmp_path / "pid", tmp_path / "log"
    spin = guest("    movl $text, %esi\n    call puts\n1:  jmp 1b\ntext: .asciz \"here\\n\"\n")
    r = qemu(*BARE, "-kernel", spin, "-pidfile", pidfile, "-daemonize", "-serial", f"file:{log}", "-name", "vm,process=a-vm")
    assert (r.status, r.out, r.err) == (0, "", ""), r
    pid = int(pidfile.read_text())
    try:
        connect(lambda: log.stat().st_size == 5 or (_ for _ in ()).throw(OSError))
        assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/fd/1") == "/dev/null"
    finally:
        os.kill(pid, 15)
    connect(lambda: not pidfile.exists() or (_ for _ in ()).throw(OSError))
    # What goes wrong is told by the one that was started.
    refused(qemu(*BARE, "-kernel", "/nonexistent", "-daemonize"), "/nonexistent")


def test_logs(qemu, guest, tmp_path):
    log = tmp_path / "log"
    r = qemu(*BARE, "-accel", "bt", "-serial", "stdio", "-kernel", guest(HELLO), "-d", "in_asm,out_asm,op", "-D", log)
    assert r.status == 43 and r.out == ANSWER and re.search(r"^block 0x[0-9a-f]+:", log.read_text(), re.M), r


def test_nographic(qemu, guest):
    """Port and monitor share standard input and output; Ctrl-A x leaves."""
    r = qemu("-nographic", "-vga", "none", "-nic", "none", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4", "-kernel", guest(HELLO))
    assert (r.status, r.out, r.err) == (43, ANSWER, ""), r


DISK_OPTIONS = [
    ["-drive", "file=DISK,if=virtio,format=raw"],
    ["-drive", "file=DISK,if=none,id=d,format=raw,cache=none,aio=native,discard=unmap,werror=enospc", "-device", "virtio-blk-pci,drive=d,write-cache=on"],
    ["-device", "virtio-blk,drive=d,disable-legacy=on,iothread=io", "-object", "iothread,id=io", "-drive", "file=DISK,if=none,id=d,format=raw,bps=1M,bps_max=2M"],
    ["-blockdev", "driver=file,filename=DISK,node-name=f", "-blockdev", "raw,file=f,node-name=d", "-device", "virtio-blk-pci,drive=d"],
    ["-blockdev", '{"driver":"raw","node-name":"d","read-only":true,"file":{"driver":"file","filename":"DISK"}}', "-device", '{"driver":"virtio-blk-pci","drive":"d"}'],
    ["-snapshot", "-drive", "file=DISK,if=virtio,format=raw,readonly=off"],
]


@pytest.mark.parametrize("args", DISK_OPTIONS, ids=" ".join)
def test_disks(qemu, guest, tmp_path, args):
    disk = tmp_path / "disk,1"
    disk.write_bytes(bytes(1 << 20))
    plain = tmp_path / "disk"
    plain.write_bytes(bytes(1 << 20))
    boot(qemu, guest, *(a.replace("DISK", str(plain) if a.startswith("{") else str(disk).replace(",", ",,")) for a in args))


def drivers(qemu):
    return set(re.findall(r"^(\S+)", qemu("-device", "help").out, re.M))


@pytest.mark.parametrize("args,driver", [
    (["-hda", "DISK"], "ide-hd"), (["-hdb", "DISK"], "ide-hd"), (["-hdc", "DISK"], "ide-hd"), (["-hdd", "DISK"], "ide-hd"), (["DISK"], "ide-hd"),
    (["-drive", "file=DISK,format=raw,index=1"], "ide-hd"), (["-drive", "file=DISK,if=none,id=d,format=raw", "-device", "ide-hd,drive=d,bus=ide.1,unit=0"], "ide-hd"),
    (["-cdrom", "DISK"], "ide-cd"), (["-drive", "file=DISK,media=cdrom,if=ide"], "ide-cd"),
    (["-fda", "FLOPPY"], "floppy"), (["-fdb", "FLOPPY"], "floppy"), (["-drive", "file=FLOPPY,if=floppy,format=raw"], "floppy"),
    (["-vga", "std"], "VGA"), (["-device", "VGA"], "VGA"), (["-parallel", "file:OUT"], "isa-parallel"),
    (["-device", "pc-testdev"], "pc-testdev"), (["-device", "pci-testdev"], "pci-testdev"),
], ids=str)
def test_drives_and_cards_of_the_board(qemu, guest, tmp_path, args, driver):
    for name, size in (("DISK", 1 << 20), ("FLOPPY", 1474560), ("FLASH", 1 << 17)):
        (tmp_path / name).write_bytes(bytes(size))
    words = [re.sub("(DISK|FLOPPY|FLASH|OUT)", rf"{tmp_path}/\1", a) for a in args]
    if driver in drivers(qemu):
        boot(qemu, guest, *words)
    else:
        refused(qemu(*BARE, "-kernel", guest(HELLO), *words), "not built")


def test_firmware_in_flash(qemu, doppel, guest, tmp_path):
    """SeaBIOS from flash memory finds nothing to boot, and the monitor is there to end it; units are plugged in by their order."""
    (tmp_path / "rom").write_bytes(open("/usr/share/seabios/bios-256k.bin", "rb").read())
    (tmp_path / "vars").write_bytes(bytes(1 << 16))
    flash = ["-drive", f"if=pflash,unit=1,format=raw,file={tmp_path}/vars", "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={tmp_path}/rom"]
    refused(qemu(*BARE, *flash, "-kernel", guest(HELLO)), "pflash")
    refused(qemu(*BARE, *flash[:2]), "unit=0")
    for args in (flash, ["-pflash", tmp_path / "rom"]):
        if "cfi.pflash01" in drivers(qemu):
            assert qemu(*BARE, *args, "-S", "-monitor", "stdio", stdin=b"quit\n").status == 0
        else:
            refused(qemu(*BARE, *args), "cfi.pflash01", "not built")


def test_one_disk_has_one_device(qemu, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    drive = ["-drive", f"file={disk},if=none,id=d,format=raw"]
    refused(qemu("-nodefaults", *drive, "-device", "virtio-blk-pci,drive=d", "-device", "virtio-blk-pci,drive=d"), "drive=d")
    refused(qemu("-nodefaults", *drive, *drive), "id=d")


NET_OPTIONS = [
    ["-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:41722-:22,hostfwd=udp::41753-10.0.2.15:53", "-device", "virtio-net-pci,netdev=n,mac=52:54:00:01:02:03,romfile=,mq=on"],
    ["-device", "e1000,netdev=n", "-netdev", "user,id=n"],
    ["-net", "nic,model=virtio,macaddr=52:54:00:01:02:03", "-net", "user"],
    ["-net", "user", "-net", "nic"],
    ["-netdev", "user,id=n", "-net", "nic,netdev=n,model=pcnet"],
    ["-nic", "user,id=n,model=virtio-net-pci,mac=52:54:00:01:02:03"],
    ["-netdev", "dgram,id=n,local.type=inet,local.host=127.0.0.1,local.port=40001,remote.type=inet,remote.host=127.0.0.1,remote.port=40002", "-device", "e1000,netdev=n"],
    ["-netdev", "stream,id=n,server=on,addr.type=unix,addr.path=TMP/net", "-device", "e1000,netdev=n"],
]


@pytest.mark.parametrize("args", NET_OPTIONS, ids=" ".join)
def test_networks(qemu, guest, tmp_path, args):
    boot(qemu, guest, *(a.replace("TMP", str(tmp_path)) for a in args))


# -- Command lines as others write them ---------------------------------------------------------------------------------------------

def test_command_line_of_vmtest(qemu, guest):
    boot(qemu, guest, "-no-user-config", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-object", "rng-random,filename=/dev/urandom,id=rng0",
         "-device", "virtio-rng-pci,rng=rng0", "-device", "virtio-serial-pci,id=ser0", "-chardev", "null,id=c0",
         "-device", "virtserialport,chardev=c0,name=org.qemu.guest_agent.0", "-append", "console=ttyS0 panic=-1", "-no-reboot")


def test_command_line_of_libguestfs(qemu, guest, tmp_path):
    disk = tmp_path / "d"
    disk.write_bytes(bytes(1 << 20))
    sock = tmp_path / "guestfsd.sock"
    boot(qemu, guest, "-global", "virtio-blk-pci.packed=off", "-no-user-config", "-machine", "accel=kvm:tcg,graphics=off", "-cpu", "max", "-m", "1280", "-no-reboot",
         "-rtc", "driftfix=slew", "-no-hpet", "-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-pci,rng=rng0",
         "-drive", f"file={disk},cache=unsafe,format=raw,id=hd0,if=none", "-device", "virtio-blk-pci,drive=hd0", "-device", "virtio-serial-pci",
         "-chardev", f"socket,path={sock},server=on,wait=off,id=channel0", "-device", "virtserialport,chardev=channel0,name=org.libguestfs.channel.0",
         "-append", "panic=1 console=ttyS0")


def test_every_option_is_tested(qemu):
    """Somewhere above: each that works stands in this file as it is written on a command line, or in the table of those that go."""
    text = "".join((ROOT / "tests" / "boot" / f"test_{n}.py").read_text() for n in ("qemu_front", "qmp"))
    missing = [n for n, (state, _, _) in table(qemu).items() if state == "works" and n not in GOES and f'"-{n}"' not in text]
    assert not missing
