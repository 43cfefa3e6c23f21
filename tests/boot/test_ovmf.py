# SPDX-License-Identifier: GPL-2.0-or-later
"""UEFI: Debian's OVMF reaches its shell, keeps its variables in a file, and boots GRUB from a disk."""
import subprocess

import pytest

from conftest import BOOT_LIMIT, long_only

GRUB_CFG = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
echo "GRUB on $grub_platform says hello"
halt
"""


@pytest.fixture
def script_disk(tmp_path):
    """A FAT disk with a script that the shell runs by itself."""
    def make(*lines):
        image = tmp_path / "script.img"
        image.write_bytes(bytes(4 << 20))
        script = tmp_path / "startup.nsh"
        script.write_text("\r\n".join(("@echo -off",) + lines) + "\r\n")
        subprocess.run(["mformat", "-i", str(image), "-v", "SCRIPT", "::"], check=True)
        subprocess.run(["mcopy", "-i", str(image), str(script), "::startup.nsh"], check=True)
        return str(image)
    return make


@long_only
def test_shell_and_variables(doppel, script_disk, tmp_path):
    """What the shell sets is there in the next run; without a file it is forgotten."""
    disk = script_disk('echo "seen [%doppel%]"', "set doppel kept", "reset -s")
    for options, seen in ((f"ovmf,vars={tmp_path}/vars.fd", "seen []"), (f"ovmf,vars={tmp_path}/vars.fd", "seen [kept]")):
        r = doppel("run", "--firmware", options, "--memory", "128M", disk, limit=BOOT_LIMIT)
        assert r.status == 0 and seen in r.out, r


@long_only
def test_grub(doppel, tmp_path):
    root = tmp_path / "disk"
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/grub.cfg").write_text(GRUB_CFG)
    image = tmp_path / "efi.img"
    subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/x86_64-efi", "-o", str(image), str(root)], check=True, capture_output=True)
    r = doppel("run", "--firmware", "ovmf", "--memory", "256M", "--cpus", "2", str(image), limit=BOOT_LIMIT)
    assert r.status == 0 and "GRUB on efi says hello" in r.out, r


def test_refused(doppel, tmp_path):
    for option, words in (("ovmf,", "vars="), ("ovmf,vars=", "vars="), ("ovmf,colour=red", "vars=")):
        r = doppel("run", "--firmware", option)
        assert r.status == 2 and words in r.err, r
    r = doppel("run", "--firmware", f"ovmf,vars={tmp_path}/none/vars.fd")
    assert r.status == 1 and "none/vars.fd" in r.err, r
    odd = tmp_path / "odd"
    odd.write_bytes(bytes(5000))
    r = doppel("run", "--device", f"cfi.pflash01,drive={odd},,format=raw")
    assert r.status == 1 and "odd" in r.err, r
