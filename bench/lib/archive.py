# SPDX-License-Identifier: GPL-2.0-or-later
"""What is put into the benchmark guest: the programs of bench/guest, built by gcc, and cpio archives."""
import os
import stat
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "guest"
FLAGS = ["-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-static", "-no-pie"]
# program -> sources and libraries
PROGRAMS = {
    "driver": ["driver.c"],
    "wrap": ["wrap.c", "span.c"],
    "micro": ["micro.c", "span.c"],
    "programs": ["main.c", "span.c", "dhry.c", "memory.c", "compute.c", "vector.c", "-lm"],
}


def build_programs(out):
    """Compile into the directory out, whose name is the same in the guest: /bench."""
    out.mkdir(parents=True, exist_ok=True)
    for name, words in PROGRAMS.items():
        sources = [str(SOURCES / w) if w.endswith(".c") else w for w in words]
        subprocess.run(["gcc", *FLAGS, "-o", str(out / name), *sources], check=True)
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector",
                    "-Wl,--build-id=none", "-o", str(out / "first"), str(SOURCES / "first.c")], check=True)
    return out


def cpio_entry(name, data, mode, device=(0, 0)):
    """One member of a cpio archive in the newc format that Linux unpacks as its initramfs."""
    name = name.encode() + b"\0"
    fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


class Cpio:
    """An archive that is written to a file."""

    def __init__(self, path, *before):
        """before: archives that this one is laid over."""
        self.path = path
        self.file = open(path, "wb")
        for archive in before:
            self.file.write(Path(archive).read_bytes())
            self._align(512)

    def _align(self, size):
        self.file.write(b"\0" * (-self.file.tell() % size))

    def add(self, name, data, mode=0o100755):
        self.file.write(cpio_entry(name, data, mode))

    def directory(self, name):
        self.add(name, b"", stat.S_IFDIR | 0o755)

    def tree(self, root, under=""):
        """All of a directory, below the name `under`."""
        for top, dirs, names in os.walk(root):
            dirs.sort()
            base = os.path.normpath(os.path.join(under, os.path.relpath(top, root)))
            for name in sorted(dirs + names):
                path, inside = os.path.join(top, name), os.path.normpath(os.path.join(base, name)).lstrip("/")
                info = os.lstat(path)
                if stat.S_ISLNK(info.st_mode):
                    self.add(inside, os.readlink(path).encode(), info.st_mode)
                elif stat.S_ISDIR(info.st_mode):
                    self.add(inside, b"", info.st_mode)
                elif stat.S_ISREG(info.st_mode):
                    self.add(inside, Path(path).read_bytes(), info.st_mode)

    def close(self):
        self.file.write(cpio_entry("TRAILER!!!", b"", 0))
        self._align(512)
        self.file.close()
        return self.path
