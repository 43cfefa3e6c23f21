# SPDX-License-Identifier: GPL-2.0-or-later
"""doppel img and disks behind NBD servers, against qemu-img, qemu-nbd and nbdkit."""
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

DOPPEL = os.environ["DOPPEL"]


def run(*args, status=0, cwd=None):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False, cwd=cwd, timeout=200)
    assert done.returncode == status, f"{args}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout if status == 0 else done.stdout + done.stderr


def img(*args, **kw):
    return run(DOPPEL, "img", *args, **kw)


def qemu(*args, **kw):
    return run("qemu-img", *args, **kw)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def make_raw(name, size=5 << 20, seed=1):
    """Data, holes, text that compresses, and an end that is no whole cluster."""
    r = random.Random(seed)
    with open(name, "wb") as f:
        f.truncate(size)
        for _ in range(12):
            f.seek(r.randrange(size // 512) * 512)
            f.write(r.randbytes(r.randrange(200000)) if r.random() < 0.5 else b"compressible " * r.randrange(9000))
        f.truncate(size)


def same(a, fa, b, fb):
    qemu("compare", "-f", fa, "-F", fb, a, b)


@pytest.mark.parametrize("options", ["", "compat=0.10", "cluster_size=4096,refcount_bits=1", "cluster_size=512", "cluster_size=2M",
                                     "lazy_refcounts=on", "compression_type=zstd", "refcount_bits=64", "preallocation=metadata",
                                     "preallocation=falloc", "preallocation=full"])
def test_convert_both_ways(here, options):
    make_raw("a.raw", (5 << 20) + 1536)
    more = ["-o", options] if options else []
    img("convert", "-f", "raw", "-O", "qcow2", *more, "a.raw", "ours.qcow2")
    qemu("check", "ours.qcow2")
    same("a.raw", "raw", "ours.qcow2", "qcow2")
    qemu("convert", "-f", "raw", "-O", "qcow2", *more, "a.raw", "theirs.qcow2")
    img("check", "theirs.qcow2")
    img("convert", "theirs.qcow2", "back.raw")
    same("a.raw", "raw", "back.raw", "raw")
    if options in ("", "cluster_size=4096,refcount_bits=1"):
        assert os.stat("back.raw").st_blocks * 512 < os.stat("back.raw").st_size


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
def test_compressed(here, kind):
    make_raw("a.raw", (5 << 20) + 512)
    img("convert", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", "a.raw", "c.qcow2")
    qemu("check", "c.qcow2")
    same("a.raw", "raw", "c.qcow2", "qcow2")
    assert json.loads(img("check", "--output=json", "c.qcow2"))["compressed-clusters"] > 10
    plain = os.stat("a.raw").st_blocks
    assert os.stat("c.qcow2").st_blocks < plain
    img("convert", "-O", "qcow2", "c.qcow2", "plain.qcow2")
    same("a.raw", "raw", "plain.qcow2", "qcow2")


def test_info_fields(here):
    img("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,refcount_bits=8", "base.qcow2", "20M")
    img("create", "-q", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-io", "-c", "write 1M 300k", "top.qcow2")
    img("snapshot", "-c", "before", "top.qcow2")
    for name in "base.qcow2", "top.qcow2":
        ours, theirs = json.loads(img("info", "--output=json", name)), json.loads(qemu("info", "--output=json", name))
        for s in theirs.get("snapshots", []):
            s.pop("icount", None)
        for key, value in theirs.items():
            assert ours[key] == value, key
    ours, theirs = (json.loads(f("check", "--output=json", "top.qcow2")) for f in (img, qemu))
    assert ours == theirs
    ours, theirs = (json.loads(f("map", "--output=json", "top.qcow2")) for f in (img, qemu))
    data = [[e for e in m if e["data"]] for m in (ours, theirs)]
    assert [(e["start"], e["length"], e["offset"], e["depth"]) for e in data[0]] == \
           [(e["start"], e["length"], e["offset"], e["depth"]) for e in data[1]]
    assert "before" in img("info", "top.qcow2") and "300" not in img("map", "base.qcow2")


def test_snapshots(here):
    make_raw("a.raw")
    img("convert", "-O", "qcow2", "a.raw", "s.qcow2")
    img("snapshot", "-c", "one", "s.qcow2")
    run("qemu-io", "-c", "write -P 3 0 3M", "s.qcow2")
    img("snapshot", "-c", "two", "s.qcow2")
    assert "one" in qemu("snapshot", "-l", "s.qcow2") and "two" in img("snapshot", "-l", "s.qcow2")
    qemu("check", "s.qcow2")
    img("snapshot", "-a", "one", "s.qcow2")
    qemu("check", "s.qcow2")
    same("a.raw", "raw", "s.qcow2", "qcow2")
    img("snapshot", "-d", "one", "s.qcow2")
    img("snapshot", "-d", "2", "s.qcow2")
    qemu("check", "s.qcow2")
    same("a.raw", "raw", "s.qcow2", "qcow2")
    assert "no snapshot" in img("snapshot", "-d", "one", "s.qcow2", status=1)


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_commit(here, fmt):
    make_raw("a.raw")
    img("convert", "-O", fmt, "a.raw", "base")
    img("create", "-q", "-f", "qcow2", "-b", "base", "-F", fmt, "top.qcow2", "7M")
    run("qemu-io", "-c", "write -P 3 1M 1M", "-c", "write -P 4 6M 100k", "-c", "write -z 3M 512k", "top.qcow2")
    qemu("convert", "-O", "raw", "top.qcow2", "want.raw")
    img("commit", "top.qcow2")
    same("want.raw", "raw", "base", fmt)
    same("want.raw", "raw", "top.qcow2", "qcow2")
    qemu("check", "top.qcow2")
    assert json.loads(img("check", "--output=json", "top.qcow2"))["allocated-clusters"] == 0


def test_resize(here):
    img("create", "-q", "-f", "qcow2", "r.qcow2", "1G")
    run("qemu-io", "-c", "write -P 3 0 1M", "r.qcow2")
    img("resize", "r.qcow2", "+600G")
    assert json.loads(qemu("info", "--output=json", "r.qcow2"))["virtual-size"] == 601 << 30
    qemu("check", "r.qcow2")
    assert "--shrink" in img("resize", "r.qcow2", "512K", status=1)
    img("resize", "--shrink", "r.qcow2", "512K")
    qemu("check", "r.qcow2")
    img("create", "-q", "raw.img", "1M")
    img("resize", "raw.img", "3M")
    assert os.path.getsize("raw.img") == 3 << 20


def test_luks(here):
    make_raw("a.raw")
    with open("pw", "w", encoding="ascii") as f:
        f.write("open sesame")
    secret = ["--object", "secret,id=s,file=pw"]
    img("convert", *secret, "-O", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s", "a.raw", "l.qcow2")
    qemu("compare", *secret, "--image-opts", "driver=raw,file.filename=a.raw",
         "driver=qcow2,file.filename=l.qcow2,encrypt.key-secret=s")
    assert "passphrase" in img("convert", "l.qcow2", "b.raw", status=1)
    img("convert", "--secret", "pw", "l.qcow2", "b.raw")
    same("a.raw", "raw", "b.raw", "raw")
    assert json.loads(img("info", "--output=json", "l.qcow2"))["encrypted"]


def damage(name, offset, data):
    with open(name, "r+b") as f:
        f.seek(offset)
        f.write(data)


def test_check_and_repair(here):
    make_raw("a.raw")
    img("convert", "-O", "qcow2", "a.raw", "good.qcow2")
    block = int.from_bytes(open("good.qcow2", "rb").read()[65536:65544], "big")
    # A leak: a cluster behind the others is counted.
    shutil.copy("good.qcow2", "leak.qcow2")
    with open("leak.qcow2", "r+b") as f:
        f.truncate(os.path.getsize("good.qcow2") + 65536)
    damage("leak.qcow2", block + 2 * (os.path.getsize("leak.qcow2") // 65536 - 1), b"\0\1")
    assert "leaked" in img("check", "leak.qcow2", status=3)
    img("check", "-r", "leaks", "leak.qcow2")
    qemu("check", "leak.qcow2")
    # Counts that are too low.
    shutil.copy("good.qcow2", "low.qcow2")
    damage("low.qcow2", block + 2 * 8, b"\0\0" * 4)
    assert "damaged" in img("check", "low.qcow2", status=2)
    img("check", "-r", "all", "low.qcow2")
    qemu("check", "low.qcow2")
    same("a.raw", "raw", "low.qcow2", "qcow2")
    # A refcount table that leads nowhere.
    shutil.copy("good.qcow2", "table.qcow2")
    damage("table.qcow2", 65536, b"\0\0\0\x7f\0\0\0\0")
    img("check", "table.qcow2", status=2)
    img("check", "-r", "all", "table.qcow2")
    qemu("check", "table.qcow2")
    same("a.raw", "raw", "table.qcow2", "qcow2")


def test_tables_that_are_one(here):
    """No refcount makes a cluster good that is two tables."""
    make_raw("a.raw")
    img("convert", "-O", "qcow2", "a.raw", "good.qcow2")
    img("snapshot", "-c", "s", "good.qcow2")
    img("check", "good.qcow2")
    head = open("good.qcow2", "rb").read(104)
    l1 = int.from_bytes(head[40:48], "big")
    # An L1 entry leads to the L1 table itself: it is dropped.
    shutil.copy("good.qcow2", "entry.qcow2")
    damage("entry.qcow2", l1, (l1 | 1 << 63).to_bytes(8, "big"))
    assert "no L2 table of its own" in img("check", "entry.qcow2", status=2)
    img("check", "-r", "all", "entry.qcow2")
    img("check", "entry.qcow2")
    # The disk's L1 table is the snapshot's: that stays damage.
    shutil.copy("good.qcow2", "both.qcow2")
    table = int.from_bytes(head[64:72], "big")
    damage("both.qcow2", 40, open("good.qcow2", "rb").read()[table:table + 8])
    for options in [], ["-r", "all"], []:
        assert "is another table, too" in img("check", *options, "both.qcow2", status=2)


def test_help_and_mistakes(here):
    assert len(img("--help").splitlines()) < 24
    for command in "create", "info", "convert", "check", "snapshot", "commit", "resize", "map":
        text = img(command, "--help")
        assert len(text.splitlines()) < 24 and all(len(line) <= 100 for line in text.splitlines())
    for args in (["create", "-f", "vmdk", "x", "1G"], ["create", "x"], ["create", "x", "1Q"], ["info", "nothing"],
                 ["convert", "-c", "/dev/null", "x"], ["create", "-o", "cluster_size=100", "-f", "qcow2", "x", "1G"],
                 ["create", "-f", "qcow2", "-b", "nothing", "-F", "raw", "x"]):
        assert img(*args, status=1).startswith("doppel: img ")
    for args in ([], ["frob"], ["info"], ["info", "--output=xml", "x"], ["create", "-o", "size", "x"], ["check", "-r", "some", "x"]):
        img(*args, status=2)


def test_a_chain_that_is_its_own_end(here):
    qemu("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    qemu("create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
    qemu("rebase", "-u", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2")
    assert "backing files" in img("convert", "a.qcow2", "x.raw", status=1)


class Server:
    def __init__(self, socket, *args):
        self.socket = socket
        self.process = subprocess.Popen([str(a) for a in args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not os.path.exists(socket) and time.monotonic() < deadline:
            assert self.process.poll() is None
            time.sleep(0.02)

    def __enter__(self):
        return f"nbd+unix:///?socket={self.socket}"

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def test_nbd_of_qemu(here):
    make_raw("a.raw")
    qemu("convert", "-f", "raw", "-O", "vmdk", "a.raw", "a.vmdk")
    with Server("s", "qemu-nbd", "-t", "-k", here / "s", "-f", "vmdk", "-e", "8", "a.vmdk") as uri:
        assert json.loads(img("info", "--output=json", uri))["virtual-size"] == 5 << 20
        img("convert", "-O", "qcow2", uri, "b.qcow2")
        same("a.raw", "raw", "b.qcow2", "qcow2")
        img("create", "-q", "-f", "qcow2", "-b", uri, "-F", "raw", "top.qcow2")
        img("convert", "top.qcow2", "c.raw")
        same("a.raw", "raw", "c.raw", "raw")
        make_raw("new.raw", seed=2)
        img("convert", "-n", "-f", "raw", "new.raw", uri)
    same("new.raw", "raw", "a.vmdk", "vmdk")
    assert "server" in img("info", "nbd+unix:///?socket=nothing", status=1)


def test_nbd_of_nbdkit(here):
    with Server("s", "nbdkit", "-f", "-U", here / "s", "--filter=blocksize-policy", "memory", "8M", "blocksize-minimum=512",
                "blocksize-maximum=64K", "blocksize-preferred=4096", "blocksize-error-policy=error") as uri:
        make_raw("a.raw", 8 << 20)
        img("convert", "-n", "-f", "raw", "a.raw", uri)
        img("convert", uri, "b.raw")
        same("a.raw", "raw", "b.raw", "raw")
    with Server("r", "nbdkit", "-f", "-r", "-U", here / "r", "pattern", "1M") as uri:
        img("convert", uri, "p.raw")
        with open("p.raw", "rb") as f:
            data = f.read()
        assert data == b"".join(i.to_bytes(8, "big") for i in range(0, 1 << 20, 8))
        assert "read-only" in img("resize", uri, "2M", status=1)


def test_a_second_writer_is_refused(here):
    img("create", "-q", "-f", "qcow2", "a.qcow2", "4M")
    with Server("s", "qemu-nbd", "-t", "-k", here / "s", "-f", "qcow2", "a.qcow2"):
        assert "another program" in img("resize", "a.qcow2", "8M", status=1)
        assert "another program" in img("info", "a.qcow2", status=1)
        assert "virtual size" in img("info", "-U", "a.qcow2")


def test_source_is_left_alone(here):
    make_raw("a.raw")
    qemu("convert", "-f", "raw", "-O", "qcow2", "-o", "lazy_refcounts=on", "a.raw", "a.qcow2")
    before = hashlib.sha256(open("a.qcow2", "rb").read()).digest()
    img("convert", "a.qcow2", "b.raw")
    img("info", "a.qcow2")
    img("map", "a.qcow2")
    img("check", "a.qcow2")
    assert hashlib.sha256(open("a.qcow2", "rb").read()).digest() == before
