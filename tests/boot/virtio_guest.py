# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with Debian's kernel, its virtio modules and busybox, that runs a script."""
import os
import re
import sys
from pathlib import Path

from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))
from lib.modules import cache, find_modules, read_module

MODULES = """virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_mmio failover net_failover
virtio_blk virtio-rng virtio_console virtio_net virtio_balloon vsock vmw_vsock_virtio_transport_common
vmw_vsock_virtio_transport fuse virtiofs""".split()

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
for m in MODULES; do [ $m = LATER ] || insmod /mod/$m.ko; done
. /script
echo GUEST-DONE
poweroff -f
"""


def find_kernel():
    found = [p for d in (Path("/boot"), cache()) for p in sorted(d.glob("vmlinuz-*-cloud-amd64"))]
    return found[-1]


def cpio(files):
    """A newc archive of {path: (mode, bytes)}."""
    out = b""
    for i, (path, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        name = path.encode() + b"\0"
        fields = (i, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08x" % f for f in fields) + name
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


class VirtioGuest:
    def __init__(self, doppel, directory):
        self.doppel, self.dir, self.count = doppel, directory, 0
        self.kernel = find_kernel()
        modules = find_modules(self.kernel.name.removeprefix("vmlinuz-"))
        self.files = {d: (0o40755, b"") for d in ("bin", "dev", "proc", "sys", "mnt", "mod", "tmp")}
        busybox = next(p for p in (Path("/bin/busybox"), cache() / "busybox") if p.exists())
        self.files["bin/busybox"] = (0o100755, busybox.read_bytes())
        for m in MODULES:
            self.files[f"mod/{m}.ko"] = (0o100644, read_module(modules, m))

    def options(self, script, append="", later="none"):
        self.count += 1
        initrd = self.dir / f"initrd{self.count}"
        init = INIT.replace("MODULES", " ".join(MODULES)).replace("LATER", later)
        initrd.write_bytes(cpio({**self.files, "init": (0o100755, init.encode()), "script": (0o100644, script.encode())}))
        engine = () if os.environ.get("DOPPEL_ENGINE") else ("--engine", "bt")
        words = "console=ttyS0 panic=-1 mitigations=off tsc=reliable no_timer_check quiet loglevel=1 " + append
        return ["run", *engine, "--kernel", self.kernel, "--initrd", initrd, "--append", words, "--no-reboot"]

    def run(self, script, *options, append="", limit=None):
        """Run to the end; what the script wrote."""
        r = self.doppel(*self.options(script, append), *options, limit=limit)
        assert r.status == 0 and "GUEST-DONE" in r.out, r
        assert "needs a reset" not in r.err, r
        return re.sub(r"\r", "", r.out).split("GUEST-DONE")[0]
