# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernel from `doppel run` to the first instruction of process 1, which ends the machine; and what translation costs."""
import os
import re
import subprocess
import time

from .machines import QEMU, Failed, doppel_command, qemu_command
from .speed import MEMORY_MIB

REPEAT = 3
ENDED = 1 # the status that guest/first.c ends with
WORDS = "rdinit=/bench/first quiet loglevel=0"
EXIT_DEVICE = ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]


def boot(command):
    """(CPU seconds, wall seconds, what it said on standard error)"""
    start = time.monotonic()
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = p.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode != ENDED:
        raise Failed(f"{command[0]}: status {p.returncode}, not {ENDED}: {said[-300:]}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - start, said


def counter(said, name):
    """The sum over all vCPUs of a line of --stats."""
    return sum(int(n) for n in re.findall(rf"^cpu\d+\.{re.escape(name)} +(\d+)", said, re.M))


def best_boots(env):
    initrd = env.initrd()
    commands = {"doppel": doppel_command(env.doppel, env.guest, initrd, MEMORY_MIB, WORDS, ["--debug-exit", "--stats"])}
    if QEMU:
        commands["qemu"] = qemu_command(env.guest, initrd, MEMORY_MIB, WORDS, EXIT_DEVICE)
    best = {}
    for _ in range(REPEAT):
        for name, command in commands.items():
            run = boot(command)
            best[name] = min(best.get(name, run), run)
    return best


def bench_kernel(report, env, names):
    best = best_boots(env)
    report.table("Debian's kernel to process 1", "s")
    row = report.table_row("kernel", "kernel boot", "s", {k: b[0] for k, b in best.items()})
    row["wall"] = {k: b[1] for k, b in best.items()}
    cpu, wall, said = best["doppel"]
    report.row("kernel boot, time of day", wall, "s", [], "(goal: <= 2, >= 3 times faster than QEMU)")
    us = counter(said, "bt_translation.us") # less the turns of other programs (src/cpu/bt/run.c)
    insns = counter(said, "bt_translated_insns")
    if insns:
        report.row("translation of an instruction", us * 1000 / insns, "ns", [], "(goal: <= 250)")
        report.row("translation, share of the boot", us / 1e4 / cpu, "%", [], "(goal: < 8)")
