# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian on a copy-on-write disk as its users have it: apt, a web server that the host reaches, a directory shared with the host."""
import functools
import hashlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

from conftest import BOOT_LIMIT, SHORT
from debian_image import debian_image, overlay

pytestmark = [
    pytest.mark.skipif(SHORT, reason="minutes in a sanitizer build"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed: make setup does it"),
]
long_test = pytest.mark.skipif(not os.environ.get("DOPPEL_LONG"), reason="20 seconds for each boot; make test-long runs it")

MIB = 1 << 20
PAGE = "hello from a package\n"
CONTROL = """Package: hello-web
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@localhost>
Depends: busybox
Description: a web server with one page
"""
SERVICE = """[Unit]
Description=one page
[Service]
ExecStart=/bin/busybox httpd -f -p 80 -h /usr/share/hello-web
"""
POSTINST = "#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl start hello-web.service\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def image(doppel):
    return debian_image(doppel)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with one package, as apt-ftparchive would make it, served on the loopback; the port."""
    top = tmp_path_factory.mktemp("repository")
    tree = top / "tree"
    for path, text, mode in (("DEBIAN/control", CONTROL, 0o644), ("DEBIAN/postinst", POSTINST, 0o755),
                             ("lib/systemd/system/hello-web.service", SERVICE, 0o644),
                             ("usr/share/hello-web/index.html", PAGE, 0o644)):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
        (tree / path).chmod(mode)
    serve = top / "serve"
    serve.mkdir()
    deb = serve / "hello-web_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)], check=True, capture_output=True)
    data = deb.read_bytes()
    (serve / "Packages").write_text(CONTROL + f"Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=serve)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Debian:
    """The guest at its root shell on the serial console."""

    def __init__(self, terminal, disk, *options):
        self.t = terminal("run", disk, "--memory", "512M", *options)
        self.t.expect(r"GRUB loading", BOOT_LIMIT)
        self.t.expect(r"debian# ", BOOT_LIMIT)
        self.sh("systemctl is-system-running --wait | grep -x -e running")
        assert "inactive" not in self.sh("systemctl is-active multi-user.target")

    def sh(self, command):
        """Run it; what it wrote. It must succeed."""
        # The echo of the line has no digits behind the word, the answer has.
        m = self.t.command(f"{command}; echo \"[END\"=$?]", r"(?s)\[END=(\d+)\]", BOOT_LIMIT)
        assert m[1] == "0", self.t.text()[-3000:]
        return m.string[:m.start()].split("=$?]", 1)[-1]

    def power_off(self):
        self.t.send("systemctl poweroff\n")
        assert self.t.wait(BOOT_LIMIT) == 0, self.t.text()[-2000:]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(disk):
    out = subprocess.run(["qemu-img", "check", str(disk)], check=True, capture_output=True, text=True).stdout
    assert "No errors were found" in out, out


def install(guest, port):
    guest.sh(f"echo deb [trusted=yes] http://10.0.2.2:{port} ./ > /etc/apt/sources.list && apt-get -q update && "
             "apt-get -q -y install hello-web")
    assert "install ok installed" in guest.sh("dpkg -s hello-web")


def ask(port):
    """The server's page. systemd calls a service started before it listens: until then the guest resets connections."""
    end = time.monotonic() + BOOT_LIMIT
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=BOOT_LIMIT) as answer:
                return answer.read().decode()
        except ConnectionResetError:
            assert time.monotonic() < end
            time.sleep(0.1)


def use_share(guest, share):
    (share / "from-host").write_bytes(os.urandom(4 * MIB))
    out = guest.sh("mount -t virtiofs share /mnt && sha256sum /mnt/from-host && "
                   "head -c 4M /dev/urandom > /mnt/from-guest && sha256sum /mnt/from-guest && umount /mnt")
    assert re.findall(r"^([0-9a-f]{64})  /mnt", out, re.M) == [digest(share / "from-host"), digest(share / "from-guest")]


def test_debian(doppel, terminal, image, repository, tmp_path):
    """All in one boot, from a disk with a backing file that stays as it is."""
    disk, share, port = overlay(doppel, image, tmp_path / "disk.qcow2"), tmp_path / "share", free_port()
    share.mkdir()
    before = digest(disk), os.stat(image).st_mtime_ns
    guest = Debian(terminal, disk, "--ephemeral", "--net", f"user,publish=127.0.0.1:{port}:80", "--share", f"{share}:share")
    guest.sh("[ $(mountpoint -d /) = $(cat /sys/class/block/vda1/dev) ]")
    install(guest, repository)
    assert ask(port) == PAGE
    use_share(guest, share)
    guest.power_off()
    assert (digest(disk), os.stat(image).st_mtime_ns) == before


@long_test
def test_debian_keeps(doppel, terminal, image, repository, tmp_path):
    """Without --ephemeral everything is there at the next boot, on two CPUs, and both images are sound."""
    disk, port = overlay(doppel, image, tmp_path / "disk.qcow2"), free_port()
    before = os.stat(image).st_mtime_ns
    guest = Debian(terminal, disk, "--net", f"user,publish=127.0.0.1:{port}:80")
    install(guest, repository)
    out = guest.sh("head -c 64M /dev/urandom > /root/data && sha256sum /root/data")
    guest.power_off()
    check(disk)
    guest = Debian(terminal, disk, "--cpus", "2", "--net", f"user,publish=127.0.0.1:{port}:80")
    assert re.search(r"[0-9a-f]{64}  /root/data", out)[0] in guest.sh("sha256sum /root/data")
    guest.sh("systemctl start hello-web")
    assert ask(port) == PAGE
    guest.power_off()
    check(disk)
    assert os.stat(image).st_mtime_ns == before
