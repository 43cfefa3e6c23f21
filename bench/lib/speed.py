# SPDX-License-Identifier: GPL-2.0-or-later
"""The speed table: user programs and micro-benchmarks in the guest against the host and QEMU."""
import os
import shutil

from .archive import Cpio
from .machines import Failed
from .report import note

MEMORY_MIB = 512
REPEAT = {"native": 5, "doppel": 4, "qemu": 2}
SLOW_S = 4 # a run that takes longer is not repeated

# name -> what, in the order of the report. The C programs say more in guest/programs.h.
C_PROGRAMS = ["dhry", "hash", "chase_l1", "chase_l2", "quicksort", "strmem", "matmul", "vm", "sha256", "fib", "objects"]
VECTOR_PROGRAMS = ["nbody", "simd"]
BUSYBOX_PROGRAMS = {
    "sh": ["sh", "/bench/loop.sh"],
    "gzip": ["gzip", "-c", "/bench/text"],
    "awk": ["awk", "-f", "/bench/words.awk", "/bench/text"],
}
BUSYBOX = ("/bin/busybox", "/usr/bin/busybox") # as doppel looks for it
MICRO = ["getppid", "read-zero", "signal", "page-fault", "fork", "exec", "ping-pong", "mprotect"]
SMP_MICRO = ["shootdown"] # with two CPUs

LOOP_SH = """i=0; s=0; t=abc
while [ $i -lt 60000 ]; do
	case $t in a*) s=$((s + i % 7)) ;; *) s=$((s - 1)) ;; esac
	t=${t#?}${t%??}; i=$((i + 1))
done
echo $s
"""
WORDS_AWK = """{ for (i = 1; i <= NF; i++) { n[$i]++; l += length($i) } }
END { for (w in n) { k++; if (n[w] > m) m = n[w] } print k, l, m }
"""
TEXT_WORDS = 200000


def text():
    """Words by a fixed rule, some much more frequent than others: what gzip and awk read."""
    state, out, line = 1, [], []
    for _ in range(TEXT_WORDS):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        rank = int(3000 ** ((state >> 33) / 2**31))
        line.append("".join(chr(97 + (rank * 7 + i * i * 3 + rank // (i + 1)) % 26) for i in range(2 + rank % 8)))
        if len(line) == 12:
            out.append(" ".join(line))
            line = []
    return "\n".join(out) + "\n"


def prepare(bench, guest):
    """The files of /bench, and the archive with them over the default guest's."""
    busybox = next((p for p in BUSYBOX if os.access(p, os.X_OK)), guest.initrd.parent / "busybox")
    shutil.copy(busybox, bench / "busybox")
    (bench / "loop.sh").write_text(LOOP_SH)
    (bench / "words.awk").write_text(WORDS_AWK)
    (bench / "text").write_text(text())
    cpio = Cpio(bench.parent / "bench.cpio", guest.initrd)
    cpio.directory("bench")
    cpio.tree(bench, "bench")
    return cpio.close()


def command_of(name):
    if name in BUSYBOX_PROGRAMS:
        return ["/bench/wrap", "0", "/bench/busybox", *BUSYBOX_PROGRAMS[name]]
    return ["/bench/micro" if name in (*MICRO, *SMP_MICRO) else "/bench/programs", name]


def measure(hosts, argv, repeat=None):
    """Runs by turns: machine name -> best Result; a machine that fails is missing. Checksums must agree."""
    repeat, best, broken = repeat or REPEAT, {}, set()
    for turn in range(max(repeat.values())):
        for m in hosts:
            if turn >= repeat[m.name] or m.name in broken or (turn and best[m.name].cpu > SLOW_S):
                continue
            try:
                result = m.run(argv)
            except Failed as e:
                note(str(e))
                broken.add(m.name)
                best.pop(m.name, None)
                continue
            if m.name not in best or result.each < best[m.name].each:
                best[m.name] = result
    sums = {r.checksum for r in best.values()}
    if len(sums) > 1:
        raise Failed(f"{' '.join(argv)}: checksums differ: " + ", ".join(f"{k} {r.checksum}" for k, r in best.items()))
    return best


def run_group(report, hosts, group, names, unit, argv_of, repeat=None):
    rows = []
    for name in names:
        try:
            best = measure(hosts, argv_of(name), repeat)
        except Failed as e:
            note(str(e))
            report.line(f"{name}: failed: {e}")
            report.failed = True
            continue
        if "doppel" not in best:
            report.failed = True
        rows.append(report.table_row(group, name, unit, {k: r.each for k, r in best.items()}))
        rows[-1]["runs"] = {k: {"cpu": r.cpu, "wall": r.wall, "own_cpu": r.own_cpu} for k, r in best.items()}
    return rows


def bench_programs(report, env, names):
    chosen = [n for n in [*C_PROGRAMS, *BUSYBOX_PROGRAMS] if n in names]
    report.table("user programs", "ms")
    rows = run_group(report, env.machines(), "programs", chosen, "ms", command_of)
    if rows:
        report.mean("user programs", rows, "(goal: <= 2.0, >= 4)")


def bench_vector(report, env, names):
    report.table("double precision and SIMD", "ms")
    rows = run_group(report, env.machines(), "vector", [n for n in VECTOR_PROGRAMS if n in names], "ms", command_of)
    if rows:
        report.mean("double precision and SIMD", rows, "(goal: <= 1.3, >= 20)")


def bench_micro(report, env, names):
    report.table("kernel", "us")
    rows = run_group(report, env.machines(), "micro", [n for n in MICRO if n in names], "us", command_of)
    if rows:
        report.mean("kernel", rows, "(goal: >= 3)")


def bench_smp(report, env, names):
    hosts = env.machines_of(2)
    report.table("two CPUs", "us")
    run_group(report, hosts, "smp", [n for n in SMP_MICRO if n in names], "us", command_of)
    for m in hosts:
        m.close()
