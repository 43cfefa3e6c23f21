#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# What runs while a guest's vector state is in the host's registers uses none of them, and calls nothing that might.
"""usage: test_general_regs.py EXECUTABLE LIBRARY...

No function of the libraries (compiled with -mgeneral-regs-only) may name a vector, x87 or MMX register, and what they call
outside of the libraries must be in the tables below. The executable shows those that are called through pointers.
"""
import re
import subprocess
import sys

# Outside functions -> why the guest's vector state is safe, or not there yet.
MAY_CALL = {
    "interp_step": "the state is parked before",
    "debug_stops_here": "the state is parked before",
    "bt_translate": "the state is parked before",
    "bt_clone": "the state is parked before",
    "bt_trace": "the state is parked before",
    **dict.fromkeys(["vcpu_pio_read", "vcpu_pio_write", "cpuid_query", "msr_read", "msr_write"], "the state is parked before"),
    "bt_undo_branch": "the state is parked before", "interp_last_mnemonic": "the state is parked before",
    "debug_stops_here": "the state is parked before",
    "bug_at": "the end of the process",
    "bt_fpu_park": "the door itself",
    "bt_fpu_resume": "the door itself",
    "bt_fpu_to_state": "the state is parked before",
    "bt_fault_thread": "before the first entry",
    "vcpu_read_tsc": "RDTSC; in lockstep the state is parked",
    "bt_turn_begin": "turn by turn the state is parked; else nothing is done",
    "bt_turn_step": "a store", "bt_turn_go_on": "as bt_turn_begin", "bt_turn_end": "as bt_turn_begin",
    "bt_fpu_init": "at start", "bt_fault_init": "at start", "bt_emit_common": "at start",
    "bt_fault_release": "at the end", "isa_configure_decoder": "at start", "ZydisDecoderInit": "at start",
    "ram_set_mark_listener": "at start",
    "cpuid_vendor_is_amd": "a comparison of two integers",
    "err_set": "start that fails",
}
# System calls and the like, which keep vector registers: the wrappers only set errno.
MAY_CALL |= dict.fromkeys(["sched_yield", "syscall", "madvise", "mmap64", "munmap", "__errno_location", "getauxval"], "a system call and nothing else")
# The C library's: only from functions that run at start, at the end, or with the state parked.
ONLY_FROM = {
    "memset": {"bt_cache_flush", "bt_block_new", "bt_block_publish", "ram_dirty_start", "ram_dirty_fetch"},
}
# What of the libraries runs at start, at the end, or with the state parked: it calls whatever it likes.
OUTSIDE_OF_RUN = re.compile(
    r"(add$|space_(new|free|add|remove|move|set_listener|print|dma|read|write|shadow)|copy_regions|ram_(new|free|dirty|set|mark_code|slot)|(tlb|nested|pscache)_init|ram_discard"
    r"|bt_(cache_)?(init|release|destroy|new|delete|get|put)$|cache_free|map_code|map_window|rebuild|guest_copy|publish)")
# The snapshot of the state, and back, around instructions that name it.
MAY_CALL |= dict.fromkeys(["bt_fpu_snapshot", "bt_fpu_reload"], "the door itself")
# Of other libraries, looked at in the executable: called by name, or through pointers by ram_written() and ram_mark_code().
BY_NAME = ["lock_take", "lock_try", "lock_drop"]
BY_POINTER = ["vcpu_group_code_changed", "bt_page_becomes_code", "bt_code_changed"]

VECTOR = re.compile(r"%(?:[xyz]mm|mm[0-7]|st\b|k[0-7]\b)|\bf(?:ninit|ldcw|xsave|xrstor)|\bxrstor|\bxsave|\bldmxcsr")


FUNCTION = re.compile(r"[0-9a-f]+ <([^>]+)>:")
CALL = re.compile(r"R_X86_64_(?:PLT32|GOTPCRELX|REX_GOTPCRELX)\s+([A-Za-z_]\w*)")


def disassemble(path, *options):
    """Of an executable or a library: (function name, line) pairs."""
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", *options, path], check=True, capture_output=True, text=True)
    name = None
    for line in out.stdout.splitlines():
        start = FUNCTION.match(line)
        if start:
            name = start.group(1)
        elif name and line.startswith("\t\t\t") or line.startswith(" "):
            yield name, line


def main():
    others = set(BY_POINTER) | set(BY_NAME)
    ours, findings = set(others), []
    code = [pair for library in sys.argv[2:] for pair in disassemble(library, "-r")]
    ours |= {name for name, _ in code}
    for name, line in code:
        whole = name.split(".")[0]
        if VECTOR.search(line):
            findings.append(f"{name}: a vector instruction: {line.strip()}")
        call = CALL.search(line)
        callee = call and call.group(1)
        if callee and callee not in ours and not OUTSIDE_OF_RUN.match(whole) and callee not in MAY_CALL \
                and whole not in ONLY_FROM.get(callee, ()):
            findings.append(f"{name}: calls {callee}, which may use vector registers")
    pointed = [(name, line) for name, line in disassemble(sys.argv[1]) if name in others]
    findings += [f"{name}: a vector instruction: {line.strip()}" for name, line in pointed if VECTOR.search(line)]
    print(*findings, sep="\n")
    if len(ours) < 50 or {name for name, _ in pointed} != others:
        findings.append("")
        print("the functions were not found: stripped, or renamed?")
    print(f"{len(ours)} functions, {len(findings)} findings")
    return findings != []


sys.exit(main())
