# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's full kernel with its modules, for guests that need drivers which the default guest's small one has not."""
import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ENGINE, ROOT

sys.path.insert(0, str(ROOT / "bench"))
from lib.archive import Cpio
from lib.machines import Guest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel-test"


def package():
    out = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], check=True, capture_output=True, text=True).stdout
    return re.search(r"Depends: (linux-image-\S+)", out).group(1)


class Kernel:
    """vmlinuz, and a tree of all modules; downloaded and unpacked once."""

    def __init__(self):
        name = package()
        CACHE.mkdir(parents=True, exist_ok=True)
        self.tree = CACHE / name
        if not (self.tree / "complete").exists():
            self.tree.mkdir(exist_ok=True)
            subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name], cwd=CACHE, check=True)
            deb = sorted(CACHE.glob(f"{name}_*.deb"))[-1]
            subprocess.run(["dpkg-deb", "-x", str(deb), str(self.tree)], check=True)
            deb.unlink()
            (self.tree / "complete").touch()
        self.vmlinuz = next((self.tree / "boot").glob("vmlinuz-*"))
        self.modules = next((self.tree / "lib/modules").iterdir()) / "kernel"

    def module(self, name):
        """Path of a module's file, by the name that modprobe would take."""
        found = [p for p in self.modules.rglob("*.ko") if p.stem.replace("-", "_") == name.replace("-", "_")]
        if not found:
            raise LookupError(f"the kernel has no module {name}")
        return found[0]

    def with_dependencies(self, names):
        """The modules and what they need, in the order of loading."""
        out = []
        for name in names:
            needs = re.search(rb"\0depends=([^\0]*)\0", self.module(name).read_bytes()).group(1).decode()
            for n in [*self.with_dependencies([w for w in needs.split(",") if w]), name]:
                out.append(n) if n not in out else None
        return out

    def initrd(self, doppel_path, out, script, modules=(), files=()):
        """
        The default guest's archive with modules and a script: process 1 of the kernel with "rdinit=/test-init". The modules are
        loaded in the order given, each after what it needs. files: (name in the guest, bytes) pairs.
        """
        archive = Cpio(out, Guest(doppel_path).initrd)
        load = []
        for name in self.with_dependencies(modules):
            archive.add(f"{name}.ko", self.module(name).read_bytes())
            load.append(f"busybox insmod /{name}.ko || echo FAILED insmod {name}")
        for name, data in files:
            archive.add(name, data)
        lines = ["#!/bin/busybox sh", "export PATH=/bin:/sbin:/usr/bin:/usr/sbin", "busybox mount -t proc proc /proc",
                 "busybox mount -t sysfs sysfs /sys", "busybox mount -t devtmpfs dev /dev", *load, script,
                 "echo test-init: end", "busybox poweroff -f"]
        archive.add("test-init", ("\n".join(lines) + "\n").encode())
        return archive.close()

    def command(self, doppel_path, initrd, *options, memory="256M"):
        return [doppel_path, "run", *(["--engine", ENGINE] if ENGINE else []), "--memory", memory, "--kernel", str(self.vmlinuz), "--initrd", str(initrd),
                "--append", "console=ttyS0 rdinit=/test-init quiet loglevel=3", *options]
