/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A decoded instruction, and the tables that say which function executes which mnemonic. */
#ifndef DOPPEL_CPU_INTERP_INSN_H
#define DOPPEL_CPU_INTERP_INSN_H

#include <stdbool.h>
#include <stdint.h>
#include <Zydis/Zydis.h>

struct vcpu;
struct insn;

/* Executes one instruction. Faults by interp_raise*(), which does not return. */
typedef void (*insn_fn)(struct vcpu *v, const struct insn *in);

enum { INSN_LOCK = 1, INSN_REP = 2, INSN_REPNE = 4, INSN_RM_IS_MEM = 8, INSN_OPSIZE = 16 /* 66 seen */ };

#define INSN_NO_REG 16 /* base or index absent */
#define INSN_RIP    17 /* base is the RIP of the next instruction */

struct insn {
	uint64_t key;      /* run.c: guest-physical address and decoding mode */
	insn_fn fn;
	int64_t imm;       /* first immediate or branch displacement, sign-extended; moffs address */
	void *aux;         /* hostexec.c: the stub */
	int32_t disp;      /* of the memory operand; for INSN_RIP the instruction's length is added in */
	uint32_t version;  /* of the page, when decoded */
	uint16_t mnemonic; /* ZydisMnemonic */
	uint8_t len;       /* bytes, 1 to 15 */
	uint8_t size;      /* operand size in bytes: of the first explicit operand, 1, 2, 4 or 8 (more: vectors) */
	uint8_t osize;     /* effective operand-size attribute: 2, 4 or 8 */
	uint8_t asize;     /* address size: 2, 4 or 8 */
	uint8_t flags;     /* INSN_* */
	/* Register operands as byte offsets into gpr[]: n * 8, or n * 8 + 1 for AH, CH, DH, BH;
	 * for segment, control and debug registers the plain number. */
	uint8_t rm;        /* ModRM.rm register, or the register in the opcode byte */
	uint8_t reg;       /* ModRM.reg register */
	uint8_t seg;       /* enum x86_segreg of the memory operand */
	uint8_t base, index, scale; /* 0-15, INSN_NO_REG, INSN_RIP; scale is 1, 2, 4 or 8 */
	uint8_t cond;      /* Jcc, SETcc, CMOVcc: the low 4 bits of the opcode */
	uint16_t imm2;     /* second immediate (ENTER, far pointer selector, EXTRQ) */
	uint8_t rmsize;    /* size in bytes of the rm operand where it differs (MOVZX, MOVSX) */
	uint8_t spare[3];
};

_Static_assert(sizeof(struct insn) == 64, "one cache line");

/* What the decoder front hands to binding functions. */
struct decoded {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t bytes[16]; /* the instruction's bytes */
};

/*
 * One row: fn executes the mnemonic, or bind chooses (sets in->fn; leaves it NULL for #UD). A mnemonic
 * in no table goes to the host CPU (hostexec_bind) if it is unprivileged and allowed by CPUID.
 * LOCK-prefixed forms with memory operands always go to the host CPU.
 */
struct insn_def {
	uint16_t mnemonic;
	insn_fn fn;
	void (*bind)(struct vcpu *v, struct insn *in, const struct decoded *d);
};
#define INSN_DEFS_END { ZYDIS_MNEMONIC_INVALID, NULL, NULL }

/* Let the host CPU execute this instruction (hostexec.c). Sets in->fn, or leaves it NULL: #UD. */
void hostexec_bind(struct vcpu *v, struct insn *in, const struct decoded *d);

#endif
