# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the cycles of one benchmark go: perf's samples, put down to guest code, the VMM's functions and the host's kernel."""
import bisect
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from .machines import Failed, Machine

FREQUENCY = 4999
TOP = 12
BLOCKS = 3 # how many of the hottest blocks are shown with their code
CODE = "memfd:doppel-bt" # the mapping with translated code


def symbols(path):
    """Sorted (address, name) of a program's functions."""
    out = subprocess.run(["nm", "-n", str(path)], capture_output=True, text=True).stdout
    return [(int(m[1], 16), m[2]) for m in re.finditer(r"^([0-9a-f]+) [tTwWi] (\S+)", out, re.M)]


def name_of(table, address):
    at = bisect.bisect(table, (address, "\x7f")) - 1
    return table[at][1] if at >= 0 else None


class Blocks:
    """The lines of --perf-map: of code that was thrown away the newest counts."""

    def __init__(self, path):
        made = {}
        for line in Path(path).read_text().splitlines():
            start, size, name = line.split()
            made[int(start, 16)] = (int(size, 16), name)
        self.starts = sorted(made)
        self.made = made

    def at(self, host):
        n = bisect.bisect(self.starts, host) - 1
        if n < 0:
            return None
        start = self.starts[n]
        size, name = self.made[start]
        return (start, size, name) if host < start + size else None


class Recorder(Machine):
    """A machine that perf watches between @begin and @end."""

    def __init__(self, command, data):
        super().__init__("doppel", command)
        self.data, self.perf = data, None

    def answer(self, data):
        if data == b"\n":
            if not self.perf:
                self.perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-o", str(self.data),
                                              "-p", str(self.process.pid)], stderr=subprocess.PIPE)
                # perf has no other way to say that it has begun
                try:
                    self.perf.wait(1)
                    raise Failed("perf record: " + self.perf.stderr.read().decode(errors="replace")[-300:])
                except subprocess.TimeoutExpired:
                    pass
            else:
                self.perf.terminate()
                self.perf.wait()
        super().answer(data)


def samples(data):
    """(address, symbol, mapping) of each sample."""
    out = subprocess.run(["perf", "script", "-i", str(data), "-F", "ip,sym,dso"], capture_output=True, text=True).stdout
    for line in out.splitlines():
        m = re.match(r"\s*([0-9a-f]+) (.*?) \((.*)\)$", line)
        if m:
            yield int(m[1], 16), m[2], m[3]


def disassemble(machine, start, size):
    """Lines of (address, text) of the process's code."""
    with open(f"/proc/{machine.process.pid}/mem", "rb") as mem, tempfile.NamedTemporaryFile() as tmp:
        mem.seek(start)
        tmp.write(mem.read(size))
        tmp.flush()
        out = subprocess.run(["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", f"--adjust-vma={start:#x}",
                              "--no-show-raw-insn", tmp.name], capture_output=True, text=True).stdout
    for line in out.splitlines():
        m = re.match(r"\s+([0-9a-f]+):\s+(.*)", line)
        if m:
            yield int(m[1], 16), m[2].strip()


def share(n, total):
    return f"{100 * n / total:6.2f} %"


def report_blocks(machine, blocks, hits, total, program, table):
    """The hottest blocks: guest code, then emitted code with its samples."""
    by_block = Counter()
    for ip, n in hits.items():
        block = blocks.at(ip)
        if block:
            by_block[block] += n
    for (start, size, name), n in by_block.most_common(BLOCKS):
        mode, la = name.split(":")
        symbol = name_of(table, int(la, 16)) if mode == "user" else None
        print(f"\nblock {name} {symbol or ''}: {share(n, total)}, {size} bytes")
        if symbol:
            out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", f"--start-address=0x{la}",
                                  f"--stop-address={int(la, 16) + 128:#x}", str(program)], capture_output=True, text=True).stdout
            print("\n".join("      guest  " + line.strip() for line in out.splitlines()[7:35]))
        for address, text in disassemble(machine, start, size):
            here = hits.get(address, 0)
            print(f"{share(here, total) if here else ' ' * 8}  {address:x}  {text}")


def profile(command, argv, program, out):
    """Run argv in the machine, program being the file in it; print what was seen."""
    data = Path(out) / "perf.data"
    machine = Recorder(command, data)
    try:
        machine.run(argv) # warm: it is not the boot or the translation that is looked for
        machine.perf = None
        machine.run(argv)
        blocks = Blocks(f"/tmp/perf-{machine.process.pid}.map")
        table, where, code, total = symbols(program) if program else [], Counter(), Counter(), 0
        for ip, symbol, mapping in samples(data):
            total += 1
            if CODE not in mapping and not mapping.startswith("/tmp/perf-"):
                where[(Path(mapping).name if mapping.startswith("/") else mapping.strip("[]"), symbol)] += 1
                continue
            code[ip] += 1
            block = blocks.at(ip)
            mode, la = block[2].split(":") if block else ("common stubs", "0")
            symbol = name_of(table, int(la, 16)) if mode == "user" and program else None
            where[(f"guest {mode}", symbol or (f"{int(la, 16) >> 12:x}000" if block else ""))] += 1
        parts = Counter()
        for (part, _), n in where.items():
            parts[part] += n
        print(f"{total} samples of {' '.join(argv)}")
        for part, n in parts.most_common():
            print(f"{share(n, total)}  {part}")
        print()
        for (part, symbol), n in where.most_common(TOP * 2):
            print(f"{share(n, total)}  {part:24} {symbol}")
        report_blocks(machine, blocks, code, total, program, table)
    finally:
        if machine.process:
            Path(f"/tmp/perf-{machine.process.pid}.map").unlink(missing_ok=True)
        machine.close()
