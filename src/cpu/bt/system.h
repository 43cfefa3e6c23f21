/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that C code does between two pieces of translated code, with the guest's vector state left in place. */
#ifndef DOPPEL_CPU_BT_SYSTEM_H
#define DOPPEL_CPU_BT_SYSTEM_H

#include "cpu/bt/insn.h"

/*
 * One line each: the operation, the function of system.c that does it, its name in the statistics. What the site says
 * beside the operation (struct bt_site) stands behind it; reg is a general register unless something else is said.
 */
#define BT_OPS_NEXT(X)                                                                                       \
	X(CLI, do_cli, "cli")                                                                                \
	X(STI, do_sti, "sti")                                                                                \
	X(PUSHF, do_pushf, "pushf")                                                                          \
	X(POPF, do_popf, "popf")                                                                             \
	X(CLAC, do_ac, "clac")                                                                               \
	X(STAC, do_ac, "stac")                                                                               \
	X(SWAPGS, do_swapgs, "swapgs")                                                                       \
	X(RDTSC, do_rdtscp, "rdtsc")                                                                         \
	X(RDTSCP, do_rdtscp, "rdtscp")                                                                       \
	X(MOV_FROM_CR, do_mov_from_cr, "mov from cr")     /* size: which, reg */                             \
	X(MOV_FROM_SREG, do_mov_from_sreg, "mov from sreg") /* size: which, reg */                           \
	X(MOV_TO_SREG, do_mov_to_sreg, "mov to sreg")     /* size: ES, DS, FS or GS; reg */                  \
	X(RDBASE, do_base, "rd base")                     /* RDFSBASE and its kin. size: which segment, reg */ \
	X(WRBASE, do_base, "wr base")                                                                        \
	X(RDMSR, do_msr, "rdmsr")                                                                            \
	X(WRMSR, do_msr, "wrmsr")                                                                            \
	X(BT, do_bit, "bt")                               /* T0: the bit string, reg: bit offset, size: of the operand */ \
	X(BTS, do_bit, "bts")                                                                                \
	X(BTR, do_bit, "btr")                                                                                \
	X(BTC, do_bit, "btc")                                                                                \
	X(MOVS, do_string, "movs")                        /* size: of an element, reg: 1 with REP */         \
	X(STOS, do_string, "stos")                                                                           \
	X(XSAVE, bt_do_xsave, "xsave")                    /* T0: the area, size: enum bt_xsave, reg: REX.W */ \
	X(XRSTOR, bt_do_xrstor, "xrstor")                 /* the same */                                     \
	/* Outside of 64-bit mode: legacy_system.c */                                                        \
	X(LEGACY_PUSHF, bt_do_legacy_pushf, "pushf.32")   /* size: of the operand */                         \
	X(LEGACY_POPF, bt_do_legacy_popf, "popf.32")      /* the same */                                     \
	X(LEGACY_MOV_SREG, bt_do_legacy_mov_sreg, "mov to sreg.32") /* size: ES, DS, FS or GS; reg */        \
	X(LEGACY_POP_SREG, bt_do_legacy_pop_sreg, "pop sreg.32") /* size: the same; reg: size of the operand */ \
	X(LEGACY_STRING, bt_do_legacy_string, "rep.32")   /* size: of an element; reg: enum bt_legacy_string; sub: ECX */

/* These set RIP themselves and never go on behind their site. */
#define BT_OPS_JUMP(X)                                                                                       \
	X(MOV_TO_CR3, do_mov_to_cr3, "mov to cr3")        /* reg */                                          \
	X(INVLPG, do_invlpg, "invlpg")                    /* T0: the address */                              \
	X(INVPCID, do_invpcid, "invpcid")                 /* T0: the descriptor's address, reg */            \
	X(IN, bt_do_in, "in")                             /* size: of the port; reg: 1 if sub is the port, else DX */ \
	X(OUT, bt_do_out, "out")                          /* the same */                                     \
	X(CPUID, bt_do_cpuid, "cpuid")                                                                       \
	X(SYSCALL, do_syscall, "syscall")                                                                    \
	X(SYSRET, do_sysret, "sysret")                    /* reg: REX.W */                                   \
	X(IRETQ, do_iretq, "iretq")                                                                          \
	X(INT, bt_do_int, "int")                          /* reg: vector */                                  \
	X(LEGACY_IRET, bt_do_legacy_iret, "iret.32")      /* size: of the operand */                         \
	X(SYSENTER, bt_do_sysenter, "sysenter")                                                              \
	X(SYSEXIT, bt_do_sysenter, "sysexit")

enum bt_system_op {
	BT_OP_NONE,
#define X(op, fn, name) BT_OP_##op,
	BT_OPS_NEXT(X)
	BT_OP_SETS_RIP,
	BT_OPS_JUMP(X)
#undef X
	BT_OP_COUNT
};

enum bt_xsave { BT_XSAVE, BT_XSAVEOPT, BT_XSAVEC, BT_XSAVES }; /* XRSTOR is the first, XRSTORS the last */

/* write: the segment of [SI] */
enum bt_legacy_string {
	BT_STRING_MOVS, BT_STRING_STOS, BT_STRING_CMPS, BT_STRING_SCAS, BT_STRING_OP = 3,
	BT_STRING_WHILE_EQUAL = 4, /* REPE, not REPNE */
};

enum bt_done {
	BT_REFUSED, /* not a plain case: the reference engine executes it, at RIP */
	BT_NEXT,    /* done, RIP is behind it: go on at site->retry unless an event is pending */
	BT_MOVED,   /* done; go on at RIP, in what mode that is */
	BT_OUTSIDE, /* the same, and we are outside of the cache, the site may be gone */
};

/* The instruction of a SITE_SYSTEM; the guest's state is in v->s but for the vector registers. */
enum bt_done bt_system(struct bt *bt, const struct bt_site *site);

/* xstate.c; they change the FPU state, and what they refuse needs it in its canonical place. */
enum bt_done bt_do_xsave(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_xrstor(struct bt *bt, const struct bt_site *site);

/* outside.c; all may also be refused when they have left the cache */
enum bt_done bt_do_in(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_out(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_cpuid(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_any_msr(struct bt *bt, const struct bt_site *site); /* that do_msr() does not know */

/* legacy_system.c */
enum bt_done bt_do_legacy_pushf(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_legacy_popf(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_legacy_mov_sreg(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_legacy_pop_sreg(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_legacy_string(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_legacy_iret(struct bt *bt, const struct bt_site *site);
enum bt_done bt_do_sysenter(struct bt *bt, const struct bt_site *site);

/* Data segments that the ring just returned to may not use become null. */
void bt_null_inner_segments(struct x86_state *s);

/* A present GDT descriptor of code or data whose accessed bit is set; 0: there is none, or it is not a plain case. */
uint64_t bt_read_descriptor(struct bt *bt, unsigned sel);
void bt_load_descriptor(struct x86_seg *seg, unsigned sel, uint64_t d);

enum bt_done bt_do_int(struct bt *bt, const struct bt_site *site); /* deliver.c */

/*
 * deliver.c: deliver a fault with an error code at RIP through the IDT. False: not a plain case, nothing has changed, the reference
 * raises it.
 */
bool bt_deliver_fault(struct bt *bt, uint8_t vector, uint32_t err);

const char *bt_system_name(enum bt_system_op op); /* for the statistics */

/* privileged.c: which of these the instruction is, and the exit for it. */
enum bt_system_op bt_system_op(const struct bt_insn *in);
void bt_emit_system(struct translation *t, const struct bt_insn *in);
struct bt_stub *bt_add_system_stub(struct translation *t, uint8_t *disp, const struct bt_insn *in); /* site.retry is to be set */

/* inline.c: whether code does it, or the exit; and that code. */
enum bt_class bt_inline_class(enum bt_system_op op, struct bt_mode mode);
void bt_emit_inline(struct translation *t, const struct bt_insn *in);
void bt_emit_string(struct translation *t, const struct bt_insn *in); /* strings.c */

#endif
