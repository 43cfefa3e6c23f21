# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run has measured: lines for people, and the same as JSON."""
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path


def note(text):
    """Progress; not part of the report."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def geomean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def host_name():
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.split(":", 1)[1].strip()
    return "unknown CPU"


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True)
    return done.stdout.decode().strip() or "unknown"


class Report:
    """BUILD/bench.txt and BUILD/bench.json; the latter is written anew after each group, so that it is always whole."""

    def __init__(self, build):
        self.text = open(build / "bench.txt", "w")
        self.path = build / "bench.json"
        self.failed = False
        self.data = {"host": host_name(), "cpus": os.cpu_count(), "commit": commit(),
                     "date": time.strftime("%Y-%m-%d %H:%M"), "load": os.getloadavg()[0], "rows": [], "means": {}}
        self.line(f"doppel {self.data['commit']} on {self.data['host']}, {self.data['cpus']} CPUs, {self.data['date']}")

    def line(self, text=""):
        print(text, flush=True)
        self.text.write(text + "\n")
        self.text.flush()

    def save(self):
        self.path.write_text(json.dumps(self.data, indent=1) + "\n")

    def row(self, what, ours, unit, others=(), promise=""):
        """One figure; others: (name, value) pairs. A ratio above 1 says that theirs is the bigger number."""
        self.line(f"{what:34} {ours:10.1f} {unit:5} {promise}")
        for name, value in others:
            if value is not None:
                self.line(f"{'  ' + name:34} {value:10.1f} {unit:5} x {value / ours if ours else 0:.2f}")
        self.data["rows"].append({"name": what, "unit": unit, "doppel": ours, **dict(others)})

    # -- Tables of programs against native and QEMU ----------------------------------------------------------------

    def table(self, title, unit):
        self.line()
        self.line(f"{title:28} {'native':>10} {'doppel':>10} {'QEMU':>10} {unit:5}  {'/native':>8}  {'QEMU/':>7}")

    def table_row(self, group, name, unit, results):
        """results: machine -> seconds for each operation or run, or None."""
        ours, native, qemu = (results.get(m) for m in ("doppel", "native", "qemu"))
        row = {"group": group, "name": name, "unit": unit, "native": native, "doppel": ours, "qemu": qemu,
               "slowdown": ours / native if ours and native else None, "speedup": qemu / ours if ours and qemu else None}
        self.data["rows"].append(row)

        def cell(value, width, form):
            return f"{value:{width}{form}}" if value is not None else " " * (width - 1) + "-"

        scale = {"ms": 1e3, "us": 1e6, "s": 1}[unit]
        cells = [cell(v and v * scale, 10, ".2f") for v in (native, ours, qemu)]
        self.line(f"{name:28} {' '.join(cells)} {unit:5}  {cell(row['slowdown'], 8, '.2f')}  {cell(row['speedup'], 7, '.2f')}")
        return row

    def mean(self, title, rows, promise=""):
        slow, fast = (geomean([r[k] for r in rows]) for k in ("slowdown", "speedup"))
        self.data["means"][title] = {"slowdown": slow, "speedup": fast, "of": len(rows)}
        slow_text = f"{slow:8.2f}" if slow else "       -"
        fast_text = f"{fast:7.2f}" if fast else "      -"
        self.line(f"{f'geometric mean of {len(rows)}: {title}':67}  {slow_text}  {fast_text}  {promise}")
