# SPDX-License-Identifier: GPL-2.0-or-later
"""
A disk with Debian as debootstrap installs it, started by GRUB from its master boot record. It is made once and kept; tests write to
overlays. Nothing of it needs root or a loop device: the file system is filled by mke2fs, GRUB's two pieces are put where its first
stage looks for them, and what packages do at their installation is done in a chroot where we may, or else in a guest.
"""
import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
from pathlib import Path

from conftest import PATIENCE
from virtio_guest import VirtioGuest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doppel-test"
SUITE = "bookworm"
PACKAGES = "systemd-sysv udev iproute2 kmod busybox initramfs-tools netbase linux-image-cloud-amd64".split()
SIZE_MIB = 2048
PARTITION = 2048 # first sector
GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = "biosdisk part_msdos ext2 linux normal serial terminal echo test search configfile minicmd".split()
GUEST_INSTALL_LIMIT = 1200 * PATIENCE

GRUB_CFG = """serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry Debian {
	linux /vmlinuz root=/dev/disk/by-uuid/UUID ro console=tty0 console=ttyS0 mitigations=off quiet
	initrd /initrd.img
}
"""
UUID = "6a2d2a5e-3f0c-4a86-9c0e-0d0b5e1f0001"
AUTOLOGIN = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear %I vt100\n"
# What an administrator would configure: a root shell on the consoles, addresses by DHCP, and a small initramfs.
FILES = {
    "etc/hostname": "debian\n",
    "etc/hosts": "127.0.0.1 localhost debian\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/fstab": f"UUID={UUID} / ext4 errors=remount-ro,discard 0 1\n",
    "etc/dpkg/dpkg.cfg.d/small": "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n"
                                 "force-unsafe-io\n",
    "etc/initramfs-tools/conf.d/small": "MODULES=list\nCOMPRESS=gzip\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\nata_piix\nata_generic\nsd_mod\nsr_mod\n",
    "etc/systemd/network/cable.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
    "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf": AUTOLOGIN,
    "etc/systemd/system/getty@tty1.service.d/autologin.conf": AUTOLOGIN,
    "root/.inputrc": "set enable-bracketed-paste off\n",
    "root/.profile": "PS1='debian# '; PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH\n",
    "boot/grub/grub.cfg": GRUB_CFG.replace("UUID", UUID),
}
LINKS = {
    "etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
}
SECOND_STAGE = "/usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C " \
               "/debootstrap/debootstrap --second-stage"
IN_GUEST = f"""
mount -t ext4 /dev/vda1 /mnt; mount -t devtmpfs dev /mnt/dev
chroot /mnt {SECOND_STAGE} && echo INSTALLED || tail -n 30 /mnt/debootstrap/debootstrap.log
chroot /mnt apt-get clean; umount /mnt/dev; umount -r /mnt
"""


def mirror():
    """Where this host has its own packages from."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
                         check=True, capture_output=True, text=True).stdout
    found = [line.split()[0] for line in out.splitlines() if line.split()[1:] == [SUITE, "main"]]
    return found[:1] # debootstrap has a default


def recipe():
    parts = SUITE, PACKAGES, SIZE_MIB, PARTITION, GRUB_MODULES, FILES, LINKS, SECOND_STAGE
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def fill(work):
    """The script's text that makes work/root and the file system of it: one process, so that one fakeroot sees both."""
    tree = work / "root"
    lines = ["set -e", " ".join(["debootstrap", "--foreign", "--variant=minbase", f"--cache-dir={CACHE / 'debs'}",
                                 "--include=" + ",".join(PACKAGES), SUITE, str(tree), *mirror()])]
    for path, text in FILES.items():
        lines += [f"mkdir -p {(tree / path).parent}", f"cat >{tree / path} <<'END'\n{text}END"]
    for path, target in LINKS.items():
        lines += [f"mkdir -p {(tree / path).parent}", f"ln -sfn {target} {tree / path}"]
    if os.geteuid() == 0:
        lines += [f"chroot {tree} {SECOND_STAGE}", f"umount -R {tree}/proc {tree}/sys 2>/dev/null || true",
                  f"chroot {tree} apt-get clean"]
    lines += [f"truncate -s {SIZE_MIB}M {work}/disk",
              f"/sbin/mke2fs -q -F -t ext4 -U {UUID} -d {tree} -E offset={PARTITION * 512},root_owner=0:0 {work}/disk "
              f"{(SIZE_MIB << 10) - PARTITION // 2}k"]
    return "\n".join(lines) + "\n"


def write_boot_record(work):
    """GRUB's first stage in sector 0 with a table of one partition, its core behind it: what grub-install does."""
    core = work / "core.img"
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", str(core), "-p", "(hd0,msdos1)/boot/grub", *GRUB_MODULES], check=True)
    boot, core = bytearray((GRUB / "boot.img").read_bytes()), core.read_bytes()
    assert len(core) < (PARTITION - 1) * 512
    entry = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff\xff\xff", PARTITION, SIZE_MIB * 2048 - PARTITION)
    boot[446:512] = entry + bytes(48) + b"\x55\xaa"
    with open(work / "disk", "r+b") as disk:
        disk.write(boot + core)


def install_in_guest(doppel, work):
    r = doppel(*VirtioGuest(doppel, work).options(IN_GUEST), "--disk", f"{work / 'disk'},cache=unsafe", "--memory", "1G",
               limit=GUEST_INSTALL_LIMIT)
    assert r.status == 0 and "INSTALLED" in r.out, r


def build(doppel, work, image):
    script = work / "fill"
    script.write_text(fill(work))
    as_root = [] if os.geteuid() == 0 else ["fakeroot"]
    done = subprocess.run([*as_root, "sh", str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]
    write_boot_record(work)
    if os.geteuid() != 0:
        install_in_guest(doppel, work)
    r = doppel("img", "convert", "-O", "qcow2", work / "disk", work / "qcow2")
    assert r.status == 0, r
    (work / "qcow2").chmod(0o444)
    os.rename(work / "qcow2", image)


def debian_image(doppel):
    """The qcow2 image's path, not to be written to; made if it is not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    image = CACHE / f"debian-{recipe()}.qcow2"
    with open(CACHE / "debian.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            for old in CACHE.glob("debian-*.qcow2"):
                old.unlink()
            work = CACHE / f"debian.{os.getpid()}"
            work.mkdir(exist_ok=True)
            (CACHE / "debs").mkdir(exist_ok=True)
            try:
                build(doppel, work, image)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return image


def overlay(doppel, image, path):
    """A new disk that begins as `image` and is written to."""
    r = doppel("img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", path)
    assert r.status == 0, r
    return path
