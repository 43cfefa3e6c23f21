# SPDX-License-Identifier: GPL-2.0-or-later
"""A tap interface, in a network namespace of its own: both ways, with the offloads that make frames larger than the wire's."""
import json
import os
import subprocess
import sys

import pytest

from conftest import BOOT_LIMIT, ENGINE, long_only

SIZE = 6_000_000
# Inside of the namespace: the interface, a server behind it, a guest; what the interface has counted.
INSIDE = """
import hashlib, http.server, json, os, subprocess, sys, threading
doppel, options, size = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
for words in ("link set lo up", "tuntap add tap0 mode tap", "addr add 10.9.0.1/24 dev tap0", "link set tap0 up"):
    subprocess.run(["ip", *words.split()], check=True)
data, posted = os.urandom(size), []

class Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(data)
    def do_POST(self):
        posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("10.9.0.1", 0), Files)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
script = f'''ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up; ping -c 1 -W 5 10.9.0.1
wget -q -O /tmp/f http://10.9.0.1:{port}/ && md5sum /tmp/f
(printf "POST / HTTP/1.0\\r\\nContent-Length: {size}\\r\\n\\r\\n"; cat /tmp/f) | nc 10.9.0.1 {port}'''
r = subprocess.run([doppel, "run", *options, "--", "sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
count = {n: int(open(f"/sys/class/net/tap0/statistics/{n}").read()) for n in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")} \\
    if os.path.exists("/sys/class/net/tap0/statistics") else {}
print(json.dumps([r.returncode, r.stdout, r.stderr, hashlib.md5(data).hexdigest(), posted == [data], count]))
"""


def inside(doppel, *options):
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun is not for this user")
    if subprocess.run(["unshare", "-rnm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network namespace for this user")
    words = [*(["--engine", ENGINE] if ENGINE else []), *options]
    # The new namespace's interfaces show in a sysfs of its own only.
    r = subprocess.run(["unshare", "-rnm", "sh", "-c", 'mount -t sysfs sysfs /sys 2>/dev/null; exec "$@"', "sh", sys.executable, "-c", INSIDE,
                        doppel.path, json.dumps(words), str(SIZE)], check=False, capture_output=True, text=True, timeout=BOOT_LIMIT)
    assert r.returncode == 0, r
    status, out, err, digest, posted, count = json.loads(r.stdout)
    assert status == 0 and digest in out and posted, (out, err)
    return count


def test_offloads(doppel):
    """Segments of many kilobytes pass the interface: the guest's to the host (rx of the interface), the host's to the guest."""
    assert doppel("run", "--net", "none", "--", "true", limit=BOOT_LIMIT).status == 0 # fetches what is to be fetched
    c = inside(doppel, "--net", "tap=tap0", "--cpus", "2")
    if c:
        print(c)
        assert c["rx_bytes"] > SIZE and c["tx_bytes"] > SIZE
        assert c["rx_bytes"] / c["rx_packets"] > 1600 or c["tx_bytes"] / c["tx_packets"] > 1600, c


@long_only
def test_without_offloads(doppel):
    c = inside(doppel, "--net", "tap=tap0,offloads=off")
    assert not c or (c["rx_bytes"] / c["rx_packets"] < 1520 and c["tx_bytes"] / c["tx_packets"] < 1520), c
