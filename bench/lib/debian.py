# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's own programs: packages of tools/packages-bench, unpacked into a tree that is the guest's and the host's root."""
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from . import workload
from .archive import Cpio
from .machines import Failed, in_root, machines
from .report import note
from .speed import run_group

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MIB = 2048 # the archive, the files unpacked from it, and room to work
REPEAT = {"native": 3, "doppel": 2, "qemu": 1}
# What the programs do not need: documentation, link-time optimization, sanitizers' libraries.
LEFT_OUT = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian",
            "usr/lib/gcc/x86_64-linux-gnu/12/lto1", "usr/lib/python3.11/test"]
SKIPPED_PACKAGES = ("libasan", "libtsan", "liblsan", "libubsan", "dpkg_", "tar_", "libgprofng")

PROGRAMS = {
    "1000-processes": ["/bin/sh", "/bench/processes.sh"],
    "gcc": ["/bin/sh", "/bench/gcc.sh"],
    "python-start": ["/bin/sh", "/bench/python-start.sh"],
    "python": ["/usr/bin/python3", "/bench/pure.py"],
    "sqlite": ["/usr/bin/sqlite3", "-init", "/bench/inserts.sql", "/tmp/bench.db", ".quit"],
    "xz": ["/usr/bin/xz", "-2", "-T1", "-c", "/bench/data"],
}


def package_group(group):
    """The packages of tools/packages-bench below the line [group]."""
    lines = [line.split("#")[0].strip() for line in (ROOT / "tools" / "packages-bench").read_text().splitlines()]
    start = lines.index(f"[{group}]") + 1
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
    return [w for w in lines[start:end] if w]


def packages():
    return package_group("debian")


def download(cache, names):
    """Packages by name and what they depend on, as for an empty system; apt checks their signatures."""
    (cache / "partial").mkdir(parents=True, exist_ok=True)
    (cache / "status").touch()
    command = ["apt-get", "-qq", "-y", "-o", f"Dir::State::status={cache / 'status'}", "-o", "Debug::NoLocking=1",
               "-o", "APT::Sandbox::User=root", "-o", "APT::Install-Recommends=false", "-o", f"Dir::Cache::archives={cache}",
               "--download-only", "install", *names]
    note(f"Debian's packages for the guest, in {cache}")
    for attempt in range(2):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode == 0:
            return sorted(p for p in cache.glob("*.deb") if not p.name.startswith(SKIPPED_PACKAGES))
        if attempt == 0 and os.geteuid() == 0:
            subprocess.run(["apt-get", "-qq", "update"], capture_output=True)
    raise Failed("apt-get could not download: " + done.stderr.decode(errors="replace")[-300:])


def unpack(debs, tree, left_out=LEFT_OUT):
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", str(deb), str(tree)], check=True)
    for path in left_out:
        if (tree / path).is_dir():
            shutil.rmtree(tree / path)
        elif (tree / path).exists():
            (tree / path).unlink()
    for path in ("proc", "dev", "tmp", "root"):
        (tree / path).mkdir(exist_ok=True)
    (tree / "bin").mkdir(exist_ok=True)
    if not (tree / "bin/sh").exists():
        (tree / "bin/sh").symlink_to("dash")
    (tree / "etc/ld.so.conf").write_text("/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n")
    subprocess.run(["/sbin/ldconfig", "-r", str(tree)], check=True)


def compile_python(tree):
    """As the packages' own scripts would do."""
    done = subprocess.run([*in_root(tree), "/usr/bin/python3", "-m", "compileall", "-q", "/usr/lib/python3.11"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        note("python's library stays uncompiled")


def make_tree(build, programs):
    """The tree, made anew when the packages have changed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel-bench"
    tree, stamp = build / "bench" / "debian", build / "bench" / "debian.stamp"
    debs = sorted(p for p in cache.glob("*.deb") if not p.name.startswith(SKIPPED_PACKAGES))
    wanted = hashlib.sha256(" ".join(packages() + [d.name for d in debs]).encode()).hexdigest()
    if not debs or not stamp.exists() or stamp.read_text() != wanted:
        debs = download(cache, packages())
        note("unpacking them")
        unpack(debs, tree)
        compile_python(tree)
        stamp.write_text(hashlib.sha256(" ".join(packages() + [d.name for d in debs]).encode()).hexdigest())
    shutil.rmtree(tree / "bench", ignore_errors=True)
    shutil.copytree(programs, tree / "bench")
    workload.write(tree / "bench")
    return tree


def prepare(build, programs, guest):
    """(the tree, the archive with it over the default guest's)"""
    tree = make_tree(build, programs)
    cpio = Cpio(build / "bench" / "debian.cpio", guest.initrd)
    cpio.tree(tree)
    return tree, cpio.close()


def bench_debian(report, env, names):
    tree, initrd = prepare(env.build, env.programs(), env.guest)
    hosts = machines(env.doppel, env.guest, initrd, MEMORY_MIB, env.bench, root=tree)
    report.table("Debian's programs", "ms")
    try:
        chosen = [n for n in PROGRAMS if n in names]
        rows = run_group(report, hosts, "debian", chosen, "ms", lambda name: ["/bench/wrap", "0", *PROGRAMS[name]], REPEAT)
        if rows:
            report.mean("Debian's programs", rows, "(goal: >= 3 each)")
    finally:
        for m in hosts:
            m.close()
