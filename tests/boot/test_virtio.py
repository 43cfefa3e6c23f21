# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's stock virtio drivers against our devices."""
import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import time

import pytest

from conftest import BOOT_LIMIT, long_only, memory_kib
from virtio_guest import VirtioGuest

MIB = 1 << 20


@pytest.fixture(scope="session")
def vguest(doppel, tmp_path_factory):
    # The first run of the default guest fetches the kernel and busybox.
    assert doppel("run", "--engine", "bt", "--", "true", limit=BOOT_LIMIT).status == 0
    return VirtioGuest(doppel, tmp_path_factory.mktemp("virtio"))


@pytest.fixture
def ext4(tmp_path):
    image = tmp_path / "disk.img"
    with open(image, "wb") as f:
        f.truncate(64 * MIB)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", image], check=True)
    return image


DISK = """
cat /sys/block/vda/serial; echo; ls /sys/block/vda/mq | tr '\\n' ' '; echo
mount -t ext4 /dev/vda /mnt && seq 1 400000 > /mnt/keep && seq 1 800000 > /mnt/big && sync
md5sum /mnt/keep; cat /sys/bus/virtio/devices/virtio0/features
read line < /proc/uptime; rm /mnt/big; sync; fstrim -v /mnt; umount /mnt
mount -t ext4 /dev/vda /mnt && md5sum /mnt/keep; umount /mnt
dd if=/dev/hwrng bs=64 count=2 2>/dev/null | wc -c; cat /sys/class/misc/hw_random/rng_available
grep -c 'PCI-MSI.*virtio0-req' /proc/interrupts; grep -c IO-APIC.*virtio0 /proc/interrupts
"""


@pytest.mark.parametrize("ring,append,vectors", [("packed=off", "", 2), ("packed=on", "", 2), ("event_idx=off", "pci=nomsi", 0)])
def test_disk_and_entropy(vguest, ext4, tmp_path, ring, append, vectors):
    out = vguest.run(DISK, "--cpus", 2, "--disk", f"{ext4},serial=S1234,{ring}", "--device", f"virtio-rng-pci,{ring}",
                     append=append, limit=BOOT_LIMIT)
    digest = hashlib.md5("".join(f"{i}\n" for i in range(1, 400001)).encode()).hexdigest()
    assert "S1234" in out and "\n0 1 \n" in out, out
    assert out.count(digest) == 2, out
    features = re.search(r"^[01]{64}$", out, re.M)[0]
    assert (features[34] == "1", features[29] == "1") == (ring == "packed=on", ring != "event_idx=off")
    assert "\n128\n" in out and "virtio_rng" in out, out
    assert out.rstrip().splitlines()[-2:] == [str(vectors), "0" if vectors else "1"], out
    # What the guest has discarded takes no room on the host: there were 5 MiB of it.
    assert int(re.search(r"(\d+) bytes", out)[1]) > 5 * MIB
    assert os.stat(ext4).st_blocks * 512 < 16 * MIB
    copy = tmp_path / "keep"
    subprocess.run(["/sbin/debugfs", "-R", f"dump /keep {copy}", ext4], check=True, capture_output=True)
    assert hashlib.md5(copy.read_bytes()).hexdigest() == digest
    assert subprocess.run(["/sbin/e2fsck", "-fn", ext4], capture_output=True, check=False).returncode == 0


def test_without_pci(vguest, ext4, tmp_path):
    (tmp_path / "file").write_text("shared\n")
    out = vguest.run("mount -t ext4 /dev/vda /mnt && seq 1 100000 > /mnt/x && sync && md5sum /mnt/x; umount /mnt\n"
                     "head -c 64 /dev/hwrng | wc -c; mount -t virtiofs tag /mnt && cat /mnt/file\n"
                     "ls /sys/bus/platform/drivers/virtio-mmio; grep -c IO-APIC.*virtio /proc/interrupts",
                     "--device", f"virtio-blk-device,drive={ext4}", "--device", "virtio-rng-device,packed=on", "--device",
                     f"virtio-fs-device,dir={tmp_path},tag=tag", "--cpus", 2, limit=BOOT_LIMIT)
    assert hashlib.md5("".join(f"{i}\n" for i in range(1, 100001)).encode()).hexdigest() in out, out
    assert "\n64\n" in out and "shared\n" in out and "LNRO0005:02" in out and out.endswith("\n3\n"), out


@long_only
def test_readonly_disk(vguest, ext4):
    before = ext4.read_bytes()
    out = vguest.run("cat /sys/block/vda/ro; mount -t ext4 -o ro,noload /dev/vda /mnt && ls /mnt\n"
                     "dd if=/dev/zero of=/dev/vda count=1 && echo WRITTEN", "--disk", f"{ext4},readonly", limit=BOOT_LIMIT)
    assert out.startswith("1\n") and "lost+found" in out and "WRITTEN" not in out, out
    assert ext4.read_bytes() == before


@pytest.mark.parametrize("ring", ["packed=off", "packed=on"])
def test_console_and_ports(vguest, tmp_path, ring):
    """A console to a file; a named port to a socket that echoes, both ways and more than the rings hold."""
    hvc, path = tmp_path / "hvc", tmp_path / "port.sock"
    script = """
    echo on-the-console > /dev/hvc0
    p=/dev/$(basename $(dirname $(grep -l org.doppel.test /sys/class/virtio-ports/*/name)))
    exec 3<>$p; seq 1 30000 >&3; head -c 168894 <&3 | md5sum; exec 3>&-
    """
    p = vguest.doppel.start(*vguest.options(script), "--device", f"virtio-serial-pci,{ring}", "--device",
                            f"virtconsole,chardev=file:{hvc}", "--device", f"virtserialport,name=org.doppel.test,chardev=unix:{path}")
    text = "".join(f"{i}\n" for i in range(1, 30001)).encode()
    try:
        end = time.monotonic() + BOOT_LIMIT
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(BOOT_LIMIT)
            s.connect(str(path))
            got = b""
            while len(got) < len(text):
                part = s.recv(65536)
                assert part, got[-100:]
                got += part
            s.sendall(got)
            out = p.communicate(timeout=BOOT_LIMIT)[0].decode()
    finally:
        p.kill()
    assert got == text
    assert hashlib.md5(text).hexdigest() in out, out
    assert hvc.read_text().replace("\r", "") == "on-the-console\n"


def wait_output(p, word):
    out = b""
    while word.encode() not in out:
        part = os.read(p.stdout.fileno(), 4096)
        assert part, out
        out += part
    return out


BALLOON = """
dd if=/dev/zero of=/tmp/fill bs=1M count=400 2>/dev/null
rm /tmp/fill; echo FULL; read x
insmod /mod/virtio_balloon.ko; read x
"""


@long_only
@pytest.mark.parametrize("option", ["size=256M,free-page-reporting=off", "size=0", "size=256M,free-page-reporting=off,packed=on"])
def test_balloon_returns_memory(vguest, option):
    """The driver comes when the guest has used its memory: the VMM's resident memory falls by what it gives back."""
    p = vguest.doppel.start(*vguest.options(BALLOON, later="virtio_balloon"), "--memory", "768M",
                            "--device", f"virtio-balloon-pci,{option}", stdin=subprocess.PIPE)
    try:
        wait_output(p, "FULL")
        before = memory_kib(p.pid)["RssShmem"]
        p.stdin.write(b"\n")
        p.stdin.flush()
        end = time.monotonic() + BOOT_LIMIT
        while time.monotonic() < end and before - memory_kib(p.pid)["RssShmem"] < 240 * 1024:
            time.sleep(0.1)
        after = memory_kib(p.pid)["RssShmem"]
        print(f"{option}: {before >> 10} MiB before, {after >> 10} MiB after")
        assert before - after >= 240 * 1024
        p.stdin.write(b"\n")
        p.stdin.flush()
        assert b"GUEST-DONE" in p.communicate(timeout=BOOT_LIMIT)[0]
    finally:
        p.kill()


SHARE = """
mount -t virtiofs tag /mnt && cd /mnt
cat hello; md5sum big; ls | sort | tr '\\n' ' '; echo
echo from-guest > new; mv new sub/moved; mkdir dir; echo x > dir/f; mv dir dir2; cat dir2/f
dd if=/dev/urandom of=large bs=64k count=256 2>/dev/null; md5sum large
ln hello hard; stat -c 'links %h' hard; ln -s hello soft; cat soft
exec 5>gone; rm gone; echo still >&5 && echo OPEN-UNLINKED-OK; exec 5>&-
chmod 4755 sub/moved; stat -c 'mode %a owner %u' sub/moved
for i in $(seq 1 500); do : > sub/f$i; done; ls sub | wc -l; rm sub/f*
cat passwd 2>&1; cat up/etc/hostname 2>&1; mknod disk b 8 0 2>&1
rm -r dir2; rmdir sub 2>&1
cd /; umount /mnt; mount -t virtiofs ro /mnt; cat /mnt/hello
(echo x > /mnt/hello) 2>&1; rm -f /mnt/hello 2>&1; mkdir /mnt/d 2>&1
"""


def test_share(vguest, tmp_path):
    top = tmp_path / "share"
    (top / "sub").mkdir(parents=True)
    (top / "hello").write_text("hello from the host\n")
    (top / "big").write_bytes(os.urandom(8 * MIB))
    secret = tmp_path / "secret"
    secret.write_text("SECRET\n")
    (top / "passwd").symlink_to(secret)
    (top / "up").symlink_to("../..")
    os.mkfifo(top / "fifo")
    out = vguest.run(SHARE, "--share", f"{top}:tag", "--share", f"{top}:ro,readonly", limit=BOOT_LIMIT)
    assert out.count("hello from the host\n") == 3, out
    assert hashlib.md5((top / "big").read_bytes()).hexdigest() in out
    assert "big fifo hello passwd sub up \n" in out, out
    assert (top / "sub" / "moved").read_text() == "from-guest\n"
    assert hashlib.md5((top / "large").read_bytes()).hexdigest() in out
    assert "links 2" in out and "OPEN-UNLINKED-OK" in out, out
    assert "mode 755 owner 0" in out and not os.stat(top / "sub" / "moved").st_mode & 0o6000, out
    assert "\n501\n" in out, out
    assert "SECRET" not in out and secret.read_text() == "SECRET\n"
    assert "Operation not permitted" in out and not (top / "disk").exists()
    assert out.count("Read-only file system") == 3, out
    assert sorted(p.name for p in top.iterdir()) == ["big", "fifo", "hard", "hello", "large", "passwd", "soft", "sub", "up"]


class Handler(http.server.BaseHTTPRequestHandler):
    data = os.urandom(4 * MIB)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data)

    def log_message(self, *args):
        pass


@long_only
@pytest.mark.parametrize("options", ["packed=off", "packed=on,mrg_rxbuf=off", "offloads=off,event_idx=off"])
def test_net(vguest, options):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = f"""
        ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
        cat /sys/class/net/eth0/address; ls /sys/class/net/eth0/queues | tr '\\n' ' '; echo
        wget -q -O - http://10.0.2.2:{server.server_address[1]}/ | md5sum
        """
        out = vguest.run(script, "--cpus", 2, "--device", f"virtio-net-pci,netdev=user,mac=52:54:00:aa:bb:cc,{options}",
                         limit=BOOT_LIMIT)
        server.shutdown()
    assert "52:54:00:aa:bb:cc" in out and "rx-0 rx-1 tx-0 tx-1" in out, out
    assert hashlib.md5(Handler.data).hexdigest() in out, out
