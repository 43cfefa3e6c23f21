# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules of a Debian kernel, installed or not."""
import os
import subprocess
from pathlib import Path


def cache():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel"


def find_modules(version):
    """The directory of that kernel's modules: installed, or out of its package, which is kept."""
    installed = Path("/lib/modules") / version / "kernel"
    if installed.is_dir():
        return installed
    kept = cache() / f"modules-{version}"
    if not kept.is_dir():
        work = cache() / f"modules-{version}.{os.getpid()}"
        work.mkdir(parents=True)
        subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", f"linux-image-{version}"], cwd=work,
                       check=True, capture_output=True)
        deb = next(work.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", deb.name, "x"], cwd=work, check=True)
        os.rename(work / "x", kept)
        subprocess.run(["rm", "-rf", work], check=True)
    return next(p for p in (kept / "lib/modules" / version / "kernel", kept / "usr/lib/modules" / version / "kernel") if p.is_dir())


def read_module(modules, name):
    """The bytes of a module, by the name of its file."""
    found = next(modules.rglob(f"{name}.ko*"))
    if found.suffix == ".ko":
        return found.read_bytes()
    return subprocess.run(["xz", "-dc", found], check=True, capture_output=True).stdout
