# SPDX-License-Identifier: GPL-2.0-or-later
"""Systems from Debian's packages, not installed: the installer to its first dialogue on either console, Xen to user space of its dom0."""
import os
import subprocess
from pathlib import Path

import pytest

from conftest import BOOT_LIMIT
from screen import Machine

pytestmark = pytest.mark.skipif(not os.environ.get("DOPPEL_LONG"), reason="for make test-long: downloads 135 MB")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel-test"


def unpacked(name):
    """The tree of a package's files; downloaded and unpacked once."""
    tree = CACHE / name
    if not (tree / "complete").exists():
        tree.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name], cwd=CACHE, check=True)
        deb = sorted(CACHE.glob(f"{name}_*.deb"))[-1]
        subprocess.run(["dpkg-deb", "-x", str(deb), str(tree)], check=True)
        deb.unlink()
        (tree / "complete").touch()
    return tree


@pytest.fixture
def installer():
    return unpacked("debian-installer-12-netboot-amd64") / "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"


def test_installer(terminal, installer):
    t = terminal("run", "--kernel", installer / "linux", "--initrd", installer / "initrd.gz", "--memory", "1G",
                 "--append", "console=ttyS0 DEBIAN_FRONTEND=text")
    t.expect("Select a language", BOOT_LIMIT)


def test_installer_screen(doppel, installer, tmp_path):
    """The same on the screen: by then Linux' driver of the card has set a mode, with characters of 8 by 16 dots."""
    m = Machine(doppel, tmp_path, "--kernel", installer / "linux", "--initrd", installer / "initrd.gz", "--vga", "std", "--memory", "1G",
                "--append", "fb=false DEBIAN_FRONTEND=text") # fb: else letters are of the installer's own font
    try:
        m.wait(lambda: "Select a language" in m.picture().text(8), "the first dialogue")
        assert m.picture().width == 1024
    finally:
        m.close()


def test_xen(terminal, installer):
    xen = next((unpacked("xen-hypervisor-4.17-amd64") / "boot").glob("xen-4.17-*.gz"))
    t = terminal("run", "--kernel", xen, "--initrd", installer / "linux", "--initrd", installer / "initrd.gz", "--memory", "1G",
                 "--append", "com1=115200 console=com1")
    t.expect(r"Xen version: 4\.17", BOOT_LIMIT) # says Linux
    t.expect(r"Starting system log daemon", BOOT_LIMIT)
