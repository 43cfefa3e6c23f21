# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks with Linux's own drivers: each card on the user-mode network, ports that lead into the guest, two guests on a switch."""
import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import time

import pytest

from conftest import BOOT_LIMIT, SHORT
from debian_kernel import Kernel

pytestmark = pytest.mark.skipif(SHORT, reason="minutes in a sanitizer build")

# model, modules
CARDS = {
    "e1000": ["e1000"],
    "pcnet": ["pcnet32"],
    "virtio": ["virtio_pci", "virtio_net"],
}
BIG = 3_000_000 # bytes through the network each way

DHCP = """#!/bin/busybox sh
[ "$1" = bound ] || exit 0
busybox ip addr add $ip/$mask dev $interface
busybox ip route add default via $router
echo nameserver $dns > /etc/resolv.conf
"""
UP = """
busybox ip link set lo up
busybox ip link set eth0 up
busybox udhcpc -q -n -f -i eth0 -s /dhcp.sh || echo FAILED dhcp
busybox ip -4 addr show eth0
busybox ping -c 2 -W 5 10.0.2.2 || echo FAILED ping
"""


@pytest.fixture(scope="module")
def kernel():
    return Kernel()


class Files(http.server.BaseHTTPRequestHandler):
    data = os.urandom(BIG)
    posted = {}

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data)

    def do_POST(self):
        self.posted[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s.server_port
    s.shutdown()


def run(command, limit=BOOT_LIMIT):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)
    out = done.stdout.decode(errors="replace").replace("\r", "")
    print(out, done.stderr.decode(errors="replace"))
    assert done.returncode == 0 and "test-init: end" in out and "FAILED" not in out
    return out


@pytest.mark.parametrize("card", CARDS)
def test_card(doppel, kernel, server, tmp_path, card):
    """An address by DHCP, an answer to ping, a file from the host and back again, unharmed."""
    script = UP + f"""
busybox wget -q -O /tmp/file http://10.0.2.2:{server}/file || echo FAILED get
busybox md5sum /tmp/file
busybox cat /sys/class/net/eth0/operstate /sys/class/net/eth0/speed
echo POST /{card} HTTP/1.0 > /tmp/head; echo Content-Length: {BIG} >> /tmp/head; echo >> /tmp/head
busybox cat /tmp/head /tmp/file | busybox nc 10.0.2.2 {server} || echo FAILED post
busybox ip link set eth0 mtu 1400 || echo FAILED mtu
busybox ping -c 1 -W 5 -s 1300 10.0.2.2 || echo FAILED ping with another MTU
busybox ip link set eth0 down && busybox ip link set eth0 up
busybox ip route add default via 10.0.2.2
busybox ping -c 1 -W 5 10.0.2.2 || echo FAILED ping after down and up
"""
    initrd = kernel.initrd(doppel.path, tmp_path / "initrd", "busybox mkdir -p /tmp /etc\n" + script, CARDS[card],
                           [("dhcp.sh", DHCP.encode())])
    out = run(kernel.command(doppel.path, initrd, "--net", f"user,model={card},mac=52:54:00:aa:bb:01"))
    assert "inet 10.0.2.15/24" in out
    assert Files.posted[f"/{card}"] == Files.data


@pytest.mark.parametrize("card", CARDS)
def test_link(doppel, kernel, tmp_path, card):
    """The host pulls the cable out and puts it back; the guest's driver notices, and the network works again."""
    path = tmp_path / "control"
    script = UP + """
until_carrier() { while [ "$(busybox cat /sys/class/net/eth0/carrier)" != $1 ]; do busybox usleep 20000; done; }
echo first 1; until_carrier 0
busybox ping -c 1 -W 1 10.0.2.2 >/dev/null && echo FAILED: reached it without a cable
echo second 0; until_carrier 1
busybox ping -c 3 -W 5 10.0.2.2 | busybox grep -q "bytes from" || echo FAILED ping after the cable is back
"""
    initrd = kernel.initrd(doppel.path, tmp_path / "initrd", "busybox mkdir -p /tmp /etc\n" + script, CARDS[card], [("dhcp.sh", DHCP.encode())])
    p = subprocess.Popen(kernel.command(doppel.path, initrd, "--net", f"user,model={card}", "--control", str(path)),
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out = b""
        for line in p.stdout:
            out += line
            if line.startswith(b"first 1"):
                assert subprocess.run([doppel.path, "link", path, "net0", "down"], check=False).returncode == 0
                assert subprocess.run([doppel.path, "link", path, "net1", "down"], check=False, capture_output=True).returncode != 0
            elif line.startswith(b"second 0"):
                assert subprocess.run([doppel.path, "link", path, "net0", "up"], check=False).returncode == 0
        assert p.wait(timeout=BOOT_LIMIT) == 0 and b"second 0" in out and b"test-init: end" in out and b"FAILED" not in out, out
    finally:
        p.kill()
        p.communicate()


def test_queues_and_mtu(doppel, kernel, server, tmp_path):
    """Each CPU's connection comes back on that CPU's queue; the guest begins with the MTU that it is told."""
    script = UP + f"""
busybox cat /sys/class/net/eth0/mtu
busybox ls /sys/class/net/eth0/queues | busybox tr '\\n' ' '; echo
for cpu in 1 2; do
	busybox taskset $cpu busybox wget -q -O - http://10.0.2.2:{server}/file | busybox md5sum
done
busybox grep -E 'virtio.*-(in|out)put' /proc/interrupts
"""
    initrd = kernel.initrd(doppel.path, tmp_path / "initrd", "busybox mkdir -p /tmp /etc\n" + script, CARDS["virtio"],
                           [("dhcp.sh", DHCP.encode())])
    out = run(kernel.command(doppel.path, initrd, "--net", "user,queues=2,mtu=1300", "--cpus", "2"))
    assert "\n1300\n" in out and "rx-0 rx-1 tx-0 tx-1" in out
    assert out.count(hashlib.md5(Files.data).hexdigest()) == 2
    taken = {name: int(a) + int(b) for a, b, name in re.findall(r"^ *\d+: +(\d+) +(\d+) .*?(virtio\d+-\w+\.\d)$", out, re.M)}
    assert len(taken) == 4 and taken["virtio0-input.0"] > 10 and taken["virtio0-input.1"] > 10, taken


def test_published_port(doppel, kernel, tmp_path):
    """A web server in the guest, asked from the host."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    script = UP + """
busybox mkdir /www; echo hello from the guest > /www/index.html
busybox httpd -p 80 -h /www
echo server is up
busybox sleep 600
"""
    initrd = kernel.initrd(doppel.path, tmp_path / "initrd", "busybox mkdir -p /tmp /etc\n" + script, CARDS["e1000"],
                           [("dhcp.sh", DHCP.encode())])
    p = subprocess.Popen(kernel.command(doppel.path, initrd, "--net", f"user,model=e1000,publish={port}:80"), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for line in p.stdout:
            if b"server is up" in line:
                break
        answer = b""
        with socket.create_connection(("127.0.0.1", port), timeout=BOOT_LIMIT) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while data := s.recv(4096):
                answer += data
        assert answer.endswith(b"hello from the guest\n")
    finally:
        p.kill()
        p.communicate()


def test_switch(doppel, kernel, tmp_path):
    """
    Two guests of one tenant and VLAN reach each other; not one of another tenant; one on a trunk with the VLAN's tag only. The limit
    of a port holds within 10 %.
    """
    ports = [f"{tmp_path}/p{i}" for i in range(4)]
    rate = 1_000_000
    spec = [f"{ports[0]},tenant=red,vlan=10,bps={rate}", f"{ports[1]},tenant=red,vlan=10", f"{ports[2]},tenant=blue,vlan=10",
            f"{ports[3]},tenant=red,trunk"]
    switch = subprocess.Popen([doppel.path, "switch", *[w for s in spec for w in ("--port", s)]])
    size = 8 * rate
    common = "busybox ip link set eth0 up\n"
    listener = common + f"""
busybox ip addr add 10.1.0.2/24 dev eth0
busybox nc -l -p 8 < /dev/ttyS0 > /tmp/tagged &
busybox nc -l -p 7 > /tmp/got
busybox wc -c < /tmp/got
wait
busybox wc -c < /tmp/tagged
"""
    sender = common + f"""
busybox ip addr add 10.1.0.1/24 dev eth0
for i in $(busybox seq 60); do busybox ping -c 1 -W 1 10.1.0.2 >/dev/null && break; done
busybox sleep 2
a=$(busybox cut -d' ' -f1 /proc/uptime)
busybox dd if=/dev/zero bs=1000 count={size // 1000} 2>/dev/null | busybox nc 10.1.0.2 7 || echo FAILED send
b=$(busybox cut -d' ' -f1 /proc/uptime)
echo took $a $b
"""
    stranger = common + """
busybox ip addr add 10.1.0.3/24 dev eth0
busybox ping -c 3 -W 2 10.1.0.2 && echo FAILED: reached another tenant
busybox ping -c 3 -W 2 10.1.0.1 && echo FAILED: reached another tenant
"""
    trunk = common + """
vlan() {
	busybox ip link del tagged 2>/dev/null
	busybox ip link add link eth0 name tagged type vlan id $1 && busybox ip addr add 10.1.0.4/24 dev tagged || echo FAILED vlan
	busybox ip link set tagged up
}
vlan 10
for i in $(busybox seq 60); do busybox ping -c 1 -W 1 10.1.0.2 >/dev/null && break; done
vlan 20
busybox ping -c 3 -W 2 10.1.0.2 && echo FAILED: reached another VLAN
vlan 10
busybox ping -c 3 -W 5 10.1.0.2 || echo FAILED: the VLAN of the tag
busybox dd if=/dev/zero bs=1000 count=345 2>/dev/null | busybox nc 10.1.0.2 8 || echo FAILED send
"""
    try:
        while not all(os.path.exists(p) for p in ports):
            time.sleep(0.05)
            assert switch.poll() is None
        outs = {}

        def guest(i, script):
            modules = CARDS["e1000"] + (["8021q"] if script is trunk else [])
            initrd = kernel.initrd(doppel.path, tmp_path / f"initrd{i}", "busybox mkdir -p /tmp\n" + script, modules)
            outs[i] = run(kernel.command(doppel.path, initrd, "--net", f"switch={ports[i]},model=e1000,mac=52:54:00:aa:bb:1{i}"))

        threads = [threading.Thread(target=guest, args=a) for a in enumerate((sender, listener, stranger, trunk))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        switch.terminate()
        switch.wait()
    assert len(outs) == 4
    assert f"{size}\n345000\n" in outs[1]
    took = [float(w) for line in outs[0].splitlines() if line.startswith("took ") for w in line.split()[1:]]
    # The switch counts whole frames: 1514 bytes for 1448 of payload.
    measured = size / (took[1] - took[0]) * 1514 / 1448
    print(f"limit {rate} bytes a second, measured {measured:.0f}")
    assert 0.9 * rate < measured < 1.1 * rate
