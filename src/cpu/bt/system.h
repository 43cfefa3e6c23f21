/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that C code does between two pieces of translated code, with the guest's vector state left in place. */
#ifndef DOPPEL_CPU_BT_SYSTEM_H
#define DOPPEL_CPU_BT_SYSTEM_H

#include "cpu/bt/bt.h"

enum bt_system_op {
	BT_OP_NONE,
	BT_OP_CLI, BT_OP_STI, BT_OP_PUSHF, BT_OP_POPF, BT_OP_CLAC, BT_OP_STAC,
	BT_OP_SWAPGS, BT_OP_RDTSC, BT_OP_RDTSCP,
	BT_OP_MOV_FROM_CR,              /* size: which, reg: to */
	BT_OP_MOV_FROM_SREG,            /* size: which, reg: to */
	BT_OP_RDBASE, BT_OP_WRBASE,     /* RDFSBASE and its kin. size: which segment, reg */
	BT_OP_RDMSR, BT_OP_WRMSR,
	BT_OP_BT, BT_OP_BTS, BT_OP_BTR, BT_OP_BTC, /* T0: address of the bit string, reg: bit offset, size: of the operand */
	BT_OP_MOVS, BT_OP_STOS,         /* size: of an element, reg: 1 with REP */
	/* These set RIP themselves and never go on behind their site. */
	BT_OP_SETS_RIP,
	BT_OP_MOV_TO_CR3 = BT_OP_SETS_RIP, /* reg */
	BT_OP_INVLPG,                   /* T0: the address */
	BT_OP_SYSCALL, BT_OP_SYSRET, BT_OP_IRETQ,
};

enum bt_done {
	BT_REFUSED, /* not a plain case: the reference engine executes it, at RIP */
	BT_NEXT,    /* done, RIP is behind it: go on at site->retry unless an event is pending */
	BT_MOVED,   /* done; go on at RIP, in what mode that is */
};

/* The instruction of a SITE_SYSTEM; the guest's state is in v->s but for the vector registers. */
enum bt_done bt_system(struct bt *bt, const struct bt_site *site);

struct bt_insn;
struct translation;

/* privileged.c: which of these the instruction is, and the exit for it. */
enum bt_system_op bt_system_op(const struct bt_insn *in);
void bt_emit_system(struct translation *t, const struct bt_insn *in);

#endif
