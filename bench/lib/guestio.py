# SPDX-License-Identifier: GPL-2.0-or-later
"""fio and iperf3 of Debian in the guest, on virtio disks and on a virtio card in the user-mode network: doppel beside QEMU."""
import os
import socket
import subprocess
import time
from pathlib import Path

from .archive import Cpio
from .debian import download, package_group, unpack
from .disks import make_images
from .machines import QEMU, Failed, Machine, doppel_command, qemu_command
from .modules import find_modules, read_module
from .report import geomean, note

MEMORY_MIB = 512
SECONDS = 4
ROUNDS = 2
IDLE_S = 3
PROGRAMS = ["usr/bin/fio", "usr/bin/iperf3"]
MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover", "net_failover",
           "virtio_blk", "virtio_net"]
# what -> fio's words
KINDS = {
    "read": "--rw=read --bs=1M --iodepth=8",
    "write": "--rw=write --bs=1M --iodepth=8",
    "randread": "--rw=randread --bs=4k --iodepth=32",
    "randwrite": "--rw=randwrite --bs=4k --iodepth=32",
}
DISKS = {"raw": "/dev/vda", "qcow2": "/dev/vdb"}
NETWORK = {"net-send": "", "net-receive": "-R"}
LINES = [*(f"{disk}-{kind}" for disk in DISKS for kind in KINDS), *NETWORK]

# Both say what they moved and how long it took, in the words that converse() knows: bytes, nanoseconds.
FIO = f"""#!/bin/busybox sh
echo @begin; read x
set -- $(fio --name=x --thread --direct=1 --ioengine=libaio --time_based --runtime={SECONDS} --minimal "$@" | busybox tr ';' ' ')
shift 5
[ $4 != 0 ] || shift 41
echo @end; read x
echo @result 0 $(($1 * 1024)) $(($4 * 1000000)) 0
"""
IPERF = rf"""#!/bin/busybox sh
echo @begin; read x
set -- $(iperf3 -c 10.0.2.2 -t {SECONDS} -f k "$@" | busybox grep receiver | busybox sed 's/.* \([0-9]*\) Kbits.*/\1/')
echo @end; read x
echo @result 0 $(($1 * 125 * {SECONDS})) {SECONDS}000000000 0
"""
SETUP = """#!/bin/busybox sh
for m in MODULES; do busybox insmod /modules/$m.ko || exit 1; done
busybox mkdir -p /dev/shm
busybox ip link set lo up
busybox ip link set eth0 up
busybox ip addr add 10.0.2.15/24 dev eth0
echo @begin; read x
echo @end; read x
echo @result 0 0 1 1
""".replace("MODULES", " ".join(MODULES))


def libraries(tree, program):
    """The files that the dynamic linker of the tree finds for a program in it."""
    loader = next(tree.glob("lib*/x86_64-linux-gnu/ld-linux-x86-64.so.2"))
    path = ":".join(str(tree / d) for d in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/ceph"))
    start = [str(loader), "--library-path", path]
    out = subprocess.run([*start, "--list", str(tree / program)], check=True, capture_output=True, text=True).stdout
    return start, sorted({w for w in out.split() if w.startswith(str(tree))})


def make_tree(env):
    """Debian's packages, unpacked."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel-bench" / "io"
    tree = env.build / "bench" / "io"
    if not all((tree / p).exists() for p in PROGRAMS):
        unpack(download(cache, package_group("io")), tree)
    return tree


def make_initrd(env, tree):
    modules = find_modules(env.guest.kernel.name.removeprefix("vmlinuz-"))
    env.programs()
    cpio = Cpio(env.build / "bench" / "io.cpio", env.guest.initrd)
    for d in ("bench", "modules", "usr", "usr/bin", "usr/lib", "lib64"):
        cpio.directory(d)
    cpio.add("bench/driver", (env.bench / "driver").read_bytes())
    for name, text in ("setup", SETUP), ("fio", FIO), ("iperf", IPERF):
        cpio.add(f"bench/{name}.sh", text.encode())
    for m in MODULES:
        cpio.add(f"modules/{m}.ko", read_module(modules, m))
    loader = next(tree.glob("lib*/x86_64-linux-gnu/ld-linux-x86-64.so.2"))
    cpio.add("lib64/ld-linux-x86-64.so.2", loader.read_bytes())
    files = set()
    for p in PROGRAMS:
        cpio.add(p, (tree / p).read_bytes())
        files.update(libraries(tree, p)[1])
    for f in sorted(files):
        cpio.add(f"usr/lib/{Path(f).name}", Path(f).read_bytes())
    return cpio.close()


def machines(env, initrd, images):
    """The same disks and card, on each machine's own copies."""
    words = "rdinit=/bench/driver quiet loglevel=0 LD_LIBRARY_PATH=/usr/lib"
    ours = {fmt: make_copy(env, image, fmt, "doppel") for fmt, image in images.items()}
    theirs = {fmt: make_copy(env, image, fmt, "qemu") for fmt, image in images.items()}
    more = [w for fmt in DISKS for w in ("--disk", f"{ours[fmt]},format={fmt}")] + ["--net", "user"]
    out = [Machine("doppel", doppel_command(env.doppel, env.guest, initrd, MEMORY_MIB, words, more))]
    if QEMU:
        more = [w for fmt in DISKS for w in ("-drive", f"file={theirs[fmt]},format={fmt},if=none,id={fmt}", "-device",
                                             f"virtio-blk-pci,drive={fmt},disable-legacy=on")]
        more += ["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,disable-legacy=on"]
        out.append(Machine("qemu", qemu_command(env.guest, initrd, MEMORY_MIB, words, more)))
    else:
        note("qemu-system-x86_64 is not installed (package qemu-system-x86): its column is left out")
    return out


def make_copy(env, image, fmt, name):
    copy = env.tmp / f"{name}.{fmt}"
    subprocess.run(["cp", "--sparse=never", str(image), str(copy)], check=True)
    return copy


def command(line, port):
    if line in NETWORK:
        return ["/bench/iperf.sh", "-p", str(port), *NETWORK[line].split()]
    disk, kind = line.split("-")
    return ["/bench/fio.sh", f"--filename={DISKS[disk]}", *KINDS[kind].split()]


def iperf_server(tree):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    start = libraries(tree, "usr/bin/iperf3")[0]
    return port, subprocess.Popen([*start, str(tree / "usr/bin/iperf3"), "-s", "-B", "127.0.0.1", "-p", str(port)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def thread_seconds(pid):
    """CPU time of every thread: {name and id: seconds}"""
    out = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            out[f"{name}/{task.name}"] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, IndexError):
            continue
    return out


def idle_threads(machine):
    """After the work: the share of a core that all threads but the vCPU's still take, in percent."""
    time.sleep(1)
    before, start = thread_seconds(machine.process.pid), time.monotonic()
    time.sleep(IDLE_S)
    after, took = thread_seconds(machine.process.pid), time.monotonic() - start
    return sum(100 * (after[t] - before.get(t, 0)) / took for t in after if not t.startswith(("vcpu", "cpu")))


def measure(report, hosts, line, port):
    best = {}
    for _ in range(ROUNDS):
        for m in hosts:
            r = m.run(command(line, port))
            if r.operations == 0:
                raise Failed(f"{m.name}: {line}: nothing was moved")
            # MiB for each second of time, and seconds of the host's CPUs for each GiB
            now = r.operations / r.wall / (1 << 20), r.cpu / r.operations * (1 << 30)
            best[m.name] = max(best[m.name][0], now[0]) if m.name in best else now[0], \
                min(best[m.name][1], now[1]) if m.name in best else now[1]
    ours, theirs = best["doppel"], best.get("qemu")
    text = f"{line:28} {ours[0]:10.1f} "
    text += f"{theirs[0]:10.1f} {ours[0] / theirs[0]:8.2f}  {ours[1]:10.2f} {theirs[1]:10.2f} {theirs[1] / ours[1]:8.2f}" if theirs else ""
    report.line(text)
    report.data["rows"].append({"group": "io", "name": line, "unit": "MiB/s", "doppel": ours[0], "qemu": theirs and theirs[0],
                                "doppel_cpu": ours[1], "qemu_cpu": theirs and theirs[1]})
    return ours[0] / theirs[0] if theirs else None


def bench_io(report, env, names):
    tree = make_tree(env)
    hosts = machines(env, make_initrd(env, tree), make_images(env))
    port, server = iperf_server(tree)
    report.line()
    report.line(f"{'disks and network, guest':28} {'doppel':>10} {'QEMU':>10} {'ratio':>8}  {'CPU doppel':>10} {'CPU QEMU':>10} {'ratio':>8}")
    report.line(f"{'':28} {'MiB/s':>10} {'MiB/s':>10} {'':8}  {'s/GiB':>10} {'s/GiB':>10}")
    try:
        for m in hosts:
            m.run(["/bench/setup.sh"])
        ratios = [measure(report, hosts, line, port) for line in LINES if line in names]
        if all(ratios):
            report.line(f"{f'geometric mean of {len(ratios)}':28} {'':21} {geomean(ratios):8.2f}  (goal: >= 2 each)")
        report.row("threads of disks and network, idle", idle_threads(hosts[0]), "%", [], "(goal: nothing is polled)")
    finally:
        server.terminate()
        server.wait()
        for m in hosts:
            m.close()
