#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# What runs while a guest's vector state is in the host's registers uses none of them, and calls nothing that might.
"""usage: test_general_regs.py EXECUTABLE LIBRARY...

The functions of the libraries (compiled with -mgeneral-regs-only) are looked up in the executable's disassembly: none
may name a vector, x87 or MMX register, and what they call outside of the libraries must be in the tables below.
"""
import re
import subprocess
import sys

# Outside functions -> why the guest's vector state is safe, or not there yet.
MAY_CALL = {
    "interp_step": "the state is parked before",
    "bt_translate": "the state is parked before",
    "bt_undo_branch": "the state is parked before",
    "bt_fpu_park": "the door itself",
    "bt_fpu_resume": "the door itself",
    "bt_fpu_to_state": "the state is parked before",
    "bt_fault_thread": "before the first entry",
    "bt_fpu_init": "at start", "bt_fault_init": "at start", "bt_emit_common": "at start",
    "bt_fault_release": "at the end", "isa_configure_decoder": "at start", "ZydisDecoderInit": "at start",
    "ram_set_mark_listener": "at start",
    "err_set": "start that fails",
}
# System calls and the like, which keep vector registers: the wrappers only set errno.
MAY_CALL |= dict.fromkeys(["sched_yield", "syscall", "__errno_location"], "a system call and nothing else")
# The C library's: only from functions that run at start, at the end, or with the state parked.
ONLY_FROM = {
    "memset": {"bt_cache_flush", "bt_block_new", "bt_block_publish", "ram_dirty_start", "ram_dirty_fetch"},
}
# What of the libraries runs at start, at the end, or with the state parked: it calls whatever it likes.
OUTSIDE_OF_RUN = re.compile(
    r"(add$|space_(new|free|add|remove|move|set_listener|print|dma|read|write)|ram_(new|free|dirty|set|mark_code)|tlb_init"
    r"|bt_(cache_)?(init|release|destroy)|map_code|rebuild|guest_copy|publish)")
# Called through pointers by ram_written() and ram_mark_code() on a vCPU's thread.
BY_POINTER = ["vcpu_group_code_changed", "bt_page_becomes_code", "bt_code_changed"]

VECTOR = re.compile(r"%(?:[xyz]mm|mm[0-7]|st\b|k[0-7]\b)|\bf(?:ninit|ldcw|xsave|xrstor)|\bxrstor|\bxsave|\bldmxcsr")
CALL = re.compile(r"\t(?:call|jmp|j[a-z]+)\s+[0-9a-f]+ <([^>+@]+)(?:@plt)?>")


def functions_of(libraries):
    out = subprocess.run(["nm", "--defined-only", *libraries], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r" [tT] (\S+)", out))


def disassemble(executable):
    """Function name -> lines; of several static functions with one name, all."""
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", executable], check=True, capture_output=True, text=True)
    code, name = {}, None
    for line in out.stdout.splitlines():
        start = re.match(r"[0-9a-f]+ <([^>]+)>:", line)
        if start:
            name = start.group(1)
        elif name and line.startswith(" "):
            code.setdefault(name, []).append(line)
    return code


def main():
    ours = functions_of(sys.argv[2:]) | set(BY_POINTER)
    code = disassemble(sys.argv[1])
    failed = 0
    seen = [name for name in sorted(ours) if name in code]
    for name in seen:
        whole = name.split(".")[0]
        for line in code[name]:
            if VECTOR.search(line):
                print(f"{name}: a vector instruction: {line.strip()}")
                failed += 1
            call = CALL.search(line)
            callee = call and call.group(1)
            if not callee or callee.split(".")[0] == whole or callee in ours or OUTSIDE_OF_RUN.match(whole):
                continue
            if callee in MAY_CALL or whole in ONLY_FROM.get(callee, ()):
                continue
            print(f"{name}: calls {callee}, which may use vector registers")
            failed += 1
    if len(seen) < 50 or not set(BY_POINTER) <= set(seen):
        print("the executable's functions were not found: is it stripped?")
        failed += 1
    print(f"{len(seen)} functions, {failed} findings")
    return failed != 0


sys.exit(main())
