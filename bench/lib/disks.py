# SPDX-License-Identifier: GPL-2.0-or-later
"""The block layer alone against QEMU's, on the same files: qemu-img bench and tests/block/bench_disk."""
import re
import subprocess

from .machines import Failed

SIZE_MIB = 256
ROUNDS = 3
STRIDE = 1052672 # qemu-img knows no random offsets; this is far enough from one to the next
KINDS = [
    # name, bytes, requests, stride, write
    ("sequential read", 1 << 20, 600, 0, False),
    ("sequential write", 1 << 20, 600, 0, True),
    ("4k random read", 4096, 60000, STRIDE, False),
    ("4k random write", 4096, 60000, STRIDE, True),
]


def ours(env, image, fmt, cache, size, count, stride, write):
    command = [str(env.build / "tests" / "block" / "bench_disk"), "-f", fmt, "-t", cache, "-s", str(size), "-c", str(count)]
    command += ["-S", str(stride)] if stride else []
    done = subprocess.run([*command, *(["-w"] if write else []), str(image)], capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr)
    return float(done.stdout)


def theirs(image, fmt, cache, aio, size, count, stride, write):
    command = ["qemu-img", "bench", "-f", fmt, "-t", cache, "-i", aio, "-d", "64", "-s", str(size), "-c", str(count)]
    command += ["-S", str(stride)] if stride else []
    done = subprocess.run([*command, *(["-w"] if write else []), str(image)], capture_output=True, text=True)
    found = re.search(r"([0-9.]+) seconds", done.stdout)
    if done.returncode or not found:
        raise Failed(done.stderr)
    return float(found[1])


def make_images(env):
    images = {}
    for fmt in "raw", "qcow2":
        images[fmt] = env.tmp / f"disk.{fmt}"
    with open("/dev/urandom", "rb") as random, open(images["raw"], "wb") as out:
        for _ in range(SIZE_MIB):
            out.write(random.read(1 << 20))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(images["raw"]), str(images["qcow2"])], check=True)
    return images


def bench_disk(report, env, names):
    images = make_images(env)
    for fmt, image in images.items():
        for what, size, count, stride, write in KINDS:
            for cache in "writeback", "none":
                # Alternating, so that a noisy moment hits all of them; the best of each counts.
                runs = {"ours": [], "io_uring": [], "threads": []}
                for _ in range(ROUNDS):
                    runs["ours"].append(ours(env, image, fmt, cache, size, count, stride, write))
                    for aio in "io_uring", "threads":
                        runs[aio].append(theirs(image, fmt, cache, aio, size, count, stride, write))
                mib = {name: size * count / min(times) / (1 << 20) for name, times in runs.items()}
                report.row(f"{fmt}, {cache}: {what}", mib["ours"], "MiB/s",
                           [(f"QEMU {aio}", mib[aio]) for aio in ("io_uring", "threads")], ">= QEMU's")
