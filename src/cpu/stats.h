/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters that every engine fills, one X-macro line each; owned by the vCPU's thread. */
#ifndef DOPPEL_CPU_STATS_H
#define DOPPEL_CPU_STATS_H

#include <stdint.h>

#define VCPU_STATS(X)                                                            \
	X(instructions, "guest instructions completed outside of translated code") \
	X(decodes, "instructions decoded")                                       \
	X(host_executed, "instructions executed by the host CPU in a stub")      \
	X(tlb_misses, "software TLB misses (page walks)")                        \
	X(page_faults, "#PF delivered")                                          \
	X(exceptions, "other exceptions delivered")                              \
	X(interrupts, "external interrupts delivered")                           \
	X(mmio, "memory-mapped device accesses")                                 \
	X(pio, "port accesses")                                                  \
	X(halts, "times the vCPU slept in HLT")                                  \
	X(code_invalidations, "cached code found stale")                         \
	X(exits, "returns from the engine's run()")                              \
	X(bt_translations, "translator: blocks translated")                      \
	X(bt_translated_insns, "translator: guest instructions in them")         \
	X(bt_loops, "translator: of these blocks, loops checked for many iterations") \
	X(bt_copies, "translator: blocks copied from another address space's")   \
	X(bt_exits, "translator: exits from translated code")                    \
	X(bt_interp_steps, "translator: instructions left to the reference")     \
	X(bt_tlb_flushes, "translator: flushes of its TLB and jump caches")      \
	X(bt_window_switches, "translator: switches to the tables of another PCID") \
	X(bt_windows_made, "translator: PCIDs that found no tables of their own") \
	X(bt_stack_opened, "translator: stack windows opened")                   \
	X(bt_stack_pages, "translator: pages mapped into them")                  \
	X(bt_stack_closed, "translator: stack windows closed, their pages changed") \
	X(bt_cache_flushes, "translator: flushes of all code")                   \
	X(bt_dropped, "translator: blocks dropped because their page changed")   \
	X(bt_woken, "translator: of these, put back to work unchanged")          \
	X(bt_beside_code, "translator: stores to pages that hold code, beside that") \
	X(bt_chains, "translator: jumps chained to the block they lead to")      \
	X(bt_unchains, "translator: jumps that lost the block they led to")

struct vcpu_stats {
#define X(name, help) uint64_t name;
	VCPU_STATS(X)
#undef X
};

#endif
