# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's vsock driver and unix sockets of the host: both directions, more data than any buffer, ends and refusals."""
import hashlib
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import BOOT_LIMIT, SHORT
from virtio_guest import VirtioGuest

SOURCE = Path(__file__).parent / "guest" / "vsock.c"
SIZE = 1_500_000 if SHORT else 6_000_000 # bytes each way
SCRIPT = f"""
chmod 755 /vsock; head -c {SIZE} /dev/urandom > /tmp/data; md5sum /tmp/data
/vsock connect 1234 < /tmp/data > /tmp/back || echo FAILED connect
md5sum /tmp/back
/vsock connect 77 < /dev/null; echo refused $?
/vsock echo 5000 3 || echo FAILED echo
"""


@pytest.fixture(scope="module")
def vguest(doppel, tmp_path_factory):
    assert doppel("run", "--engine", "bt", "--", "true", limit=BOOT_LIMIT).status == 0
    d = tmp_path_factory.mktemp("vsock")
    subprocess.run(["gcc", "-O1", "-static", "-o", d / "vsock", SOURCE], check=True)
    g = VirtioGuest(doppel, d)
    g.files["vsock"] = (0o100755, (d / "vsock").read_bytes())
    return g


def read_all(s, slowly=False):
    got = b""
    while part := s.recv(65536):
        got += part
        if slowly and len(got) < 400_000:
            time.sleep(0.02)
    return got


def ask(path, port):
    """A connection to the guest's port, or None if nobody listens there (yet)."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(BOOT_LIMIT)
    s.connect(str(path))
    s.sendall(b"CONNECT %d\n" % port)
    answer = b""
    while not answer.endswith(b"\n"):
        c = s.recv(1)
        if not c:
            s.close()
            return None
        answer += c
    assert answer.startswith(b"OK ")
    return s


@pytest.mark.parametrize("ring", ["packed=off", "packed=on"])
def test_both_ways(vguest, tmp_path, ring):
    path, data, seen = tmp_path / "v.sock", os.urandom(SIZE), []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}_1234")
        listener.listen()

        def serve():
            """All that the guest sends until it says that this was all; then as much back."""
            s, _ = listener.accept()
            with s:
                seen.append(read_all(s, slowly=True))
                s.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        p = vguest.doppel.start(*vguest.options(SCRIPT), "--vsock", f"{path},cid=42,{ring}")
        out = b""
        try:
            while b"listening" not in out:
                part = os.read(p.stdout.fileno(), 4096)
                assert part, out
                out += part
            assert ask(path, 4999) is None
            for _ in range(3):
                s = ask(path, 5000)
                sender = threading.Thread(target=lambda s=s: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
                sender.start()
                assert hashlib.md5(read_all(s)).digest() == hashlib.md5(data).digest()
                sender.join()
                s.close()
            out += p.communicate(timeout=BOOT_LIMIT)[0]
        finally:
            p.kill()
    text = out.decode().replace("\r", "")
    assert "GUEST-DONE" in text and "FAILED" not in text and p.returncode == 0, text
    assert hashlib.md5(seen[0]).hexdigest() in text and len(seen[0]) == SIZE, text
    assert hashlib.md5(data).hexdigest() in text and "refused 1" in text, text
    assert not path.exists()
