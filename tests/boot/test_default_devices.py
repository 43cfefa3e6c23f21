# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks, networks, shared directories and sockets in the default guest: there when they are asked for, and ready before the command."""
import hashlib
import http.server
import subprocess
import threading

import pytest

from conftest import BOOT_LIMIT, long_only

MIB = 1 << 20


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from the host's server\n")

    def log_message(self, *args):
        pass


@pytest.fixture
def disk(tmp_path):
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "32M"], check=True)
    return image


def test_all_at_once(doppel, disk, tmp_path):
    top = tmp_path / "some dir"
    top.mkdir()
    (top / "hello").write_text("hello\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = f"""
        mke2fs -q /dev/vda 2>/dev/null; mount -t ext2 /dev/vda /tmp && echo kept > /tmp/file; umount /tmp
        ip -4 addr show eth0; wget -q -O - http://10.0.2.2:{server.server_address[1]}/
        cat "/mnt/some dir/hello"; echo written > "/mnt/some dir/new"; cat /mnt/again/hello; ls /dev/vsock
        cat /sys/bus/virtio/drivers/virtio_balloon/virtio*/device; exit 9"""
        r = doppel("run", "--disk", disk, "--net", "user", "--share", top, "--share", f"{top}:again,readonly", "--vsock",
                   tmp_path / "v.sock", "--balloon", "0", "--", "sh", "-c", script, limit=BOOT_LIMIT)
        server.shutdown()
    assert r.status == 9 and "inet 10.0.2.15/24" in r.out and "from the host's server" in r.out, r
    assert r.out.count("hello\n") == 2 and "/dev/vsock" in r.out and "0x0005" in r.out, r
    assert (top / "new").read_text() == "written\n"
    # The image has what was written, for another guest.
    r = doppel("run", "--disk", f"{disk},readonly", "--", "sh", "-c", "mount -r -t ext2 /dev/vda /mnt && cat /mnt/file", limit=BOOT_LIMIT)
    assert r.status == 0 and r.out == "kept\n", r


@long_only
def test_throw_away_overlay(doppel, disk, tmp_path):
    """The guest reads what it wrote, and the files stay as they were; for one disk, and for all."""
    before = disk.read_bytes()
    other = tmp_path / "other.img"
    other.write_bytes(bytes(MIB))
    script = f"""for d in vda vdb; do seq 1 100000 | dd of=/dev/$d bs=64k conv=fsync 2>/dev/null; done
    echo 3 > /proc/sys/vm/drop_caches; head -c {MIB // 4} /dev/vda | md5sum; head -c {MIB // 4} /dev/vdb | md5sum"""
    text = "".join(f"{i}\n" for i in range(1, 100001)).encode()[:MIB // 4]
    for options in (("--disk", f"{disk},ephemeral", "--disk", f"{other},ephemeral"), ("--disk", disk, "--disk", other, "--ephemeral")):
        r = doppel("run", *options, "--", "sh", "-c", script, limit=BOOT_LIMIT)
        assert r.status == 0 and r.out.count(hashlib.md5(text).hexdigest()) == 2, r
        assert disk.read_bytes() == before and other.read_bytes() == bytes(MIB)


@long_only
def test_without_devices_there_are_no_drivers(doppel):
    r = doppel("run", "--", "sh", "-c", "ls -d /lib/modules 2>/dev/null; lsmod | wc -l; ls /sys/class/net", limit=BOOT_LIMIT)
    assert r.out == "1\nlo\n", r
