/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer arithmetic with exact flags: the host's own instruction computes both result and flags. */
#ifndef DOPPEL_CPU_INTERP_ALU_H
#define DOPPEL_CPU_INTERP_ALU_H

#include <stdint.h>
#include "x86/bits.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST, ALU_OPS };
enum unary_op { UNARY_INC, UNARY_DEC, UNARY_NEG, UNARY_NOT, UNARY_OPS };
enum shift_op { SHIFT_ROL, SHIFT_ROR, SHIFT_RCL, SHIFT_RCR, SHIFT_SHL, SHIFT_SHR, SHIFT_SAR, SHIFT_OPS };

/* After "lahf; seto al": AH holds SF ZF AF PF CF in place, AL holds OF. */
ALWAYS_INLINE uint64_t flags_of(uint32_t ax)
{
	return ((ax >> 8) & (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)) | (uint64_t)(ax & 1) << 11;
}

ALWAYS_INLINE void set_arith(uint64_t *rflags, uint64_t mask, uint32_t ax)
{
	*rflags = (*rflags & ~mask) | (flags_of(ax) & mask);
}

/* a = a OP b at one size; CF goes in from *fl, all arithmetic flags come out. */
#define ASM_BINARY(PRE, INSN)                                                                                \
	switch (size) {                                                                                      \
	case 1:                                                                                              \
		__asm__(PRE INSN "b %b3, %b1; lahf; seto %%al"                                               \
			: "=&a"(ax), "+&q"(a) : "r"(*fl), "q"(b) : "cc");                                    \
		break;                                                                                       \
	case 2:                                                                                              \
		__asm__(PRE INSN "w %w3, %w1; lahf; seto %%al"                                               \
			: "=&a"(ax), "+&r"(a) : "r"(*fl), "r"(b) : "cc");                                    \
		break;                                                                                       \
	case 4:                                                                                              \
		__asm__(PRE INSN "l %k3, %k1; lahf; seto %%al"                                               \
			: "=&a"(ax), "+&r"(a) : "r"(*fl), "r"(b) : "cc");                                    \
		break;                                                                                       \
	default:                                                                                             \
		__asm__(PRE INSN "q %3, %1; lahf; seto %%al"                                                 \
			: "=&a"(ax), "+&r"(a) : "r"(*fl), "r"(b) : "cc");                                    \
		break;                                                                                       \
	}

#define CARRY_IN "btl $0, %k2; "

ALWAYS_INLINE uint64_t alu(enum alu_op op, unsigned size, uint64_t a, uint64_t b, uint64_t *fl)
{
	uint32_t ax = 0;

	switch (op) {
	case ALU_ADD: ASM_BINARY("", "add") break;
	case ALU_OR: ASM_BINARY("", "or") break;
	case ALU_ADC: ASM_BINARY(CARRY_IN, "adc") break;
	case ALU_SBB: ASM_BINARY(CARRY_IN, "sbb") break;
	case ALU_AND: ASM_BINARY("", "and") break;
	case ALU_SUB: ASM_BINARY("", "sub") break;
	case ALU_XOR: ASM_BINARY("", "xor") break;
	case ALU_CMP: ASM_BINARY("", "cmp") break;
	default: ASM_BINARY("", "test") break;
	}
	set_arith(fl, FL_ARITH, ax);
	return a;
}

#define ASM_UNARY(INSN)                                                                                      \
	switch (size) {                                                                                      \
	case 1: __asm__(INSN "b %b1; lahf; seto %%al" : "=&a"(ax), "+q"(a) : : "cc"); break;                 \
	case 2: __asm__(INSN "w %w1; lahf; seto %%al" : "=&a"(ax), "+r"(a) : : "cc"); break;                 \
	case 4: __asm__(INSN "l %k1; lahf; seto %%al" : "=&a"(ax), "+r"(a) : : "cc"); break;                 \
	default: __asm__(INSN "q %1; lahf; seto %%al" : "=&a"(ax), "+r"(a) : : "cc"); break;                 \
	}

ALWAYS_INLINE uint64_t unary(enum unary_op op, unsigned size, uint64_t a, uint64_t *fl)
{
	uint32_t ax = 0;

	switch (op) {
	case UNARY_INC:
		ASM_UNARY("inc")
		set_arith(fl, FL_ARITH & ~FL_CF, ax);
		return a;
	case UNARY_DEC:
		ASM_UNARY("dec")
		set_arith(fl, FL_ARITH & ~FL_CF, ax);
		return a;
	case UNARY_NEG:
		ASM_UNARY("neg")
		set_arith(fl, FL_ARITH, ax);
		return a;
	default:
		return ~a;
	}
}

/* The count is in CL; CF goes in, for the rotates through it. */
#define ASM_SHIFT(INSN)                                                                                      \
	switch (size) {                                                                                      \
	case 1:                                                                                              \
		__asm__(CARRY_IN INSN "b %%cl, %b1; lahf; seto %%al"                                         \
			: "=&a"(ax), "+&q"(a) : "r"(*fl), "c"(count) : "cc");                                \
		break;                                                                                       \
	case 2:                                                                                              \
		__asm__(CARRY_IN INSN "w %%cl, %w1; lahf; seto %%al"                                         \
			: "=&a"(ax), "+&r"(a) : "r"(*fl), "c"(count) : "cc");                                \
		break;                                                                                       \
	case 4:                                                                                              \
		__asm__(CARRY_IN INSN "l %%cl, %k1; lahf; seto %%al"                                         \
			: "=&a"(ax), "+&r"(a) : "r"(*fl), "c"(count) : "cc");                                \
		break;                                                                                       \
	default:                                                                                             \
		__asm__(CARRY_IN INSN "q %%cl, %1; lahf; seto %%al"                                          \
			: "=&a"(ax), "+&r"(a) : "r"(*fl), "c"(count) : "cc");                                \
		break;                                                                                       \
	}

/* SDM vol. 2, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR: a masked count of 0 leaves the flags alone. */
ALWAYS_INLINE uint64_t shift(enum shift_op op, unsigned size, uint64_t a, uint8_t count, uint64_t *fl)
{
	uint32_t ax = 0;
	uint64_t changed = op <= SHIFT_RCR ? FL_CF | FL_OF : FL_ARITH;

	if (!(count & (size == 8 ? 63 : 31)))
		return a;
	switch (op) {
	case SHIFT_ROL: ASM_SHIFT("rol") break;
	case SHIFT_ROR: ASM_SHIFT("ror") break;
	case SHIFT_RCL: ASM_SHIFT("rcl") break;
	case SHIFT_RCR: ASM_SHIFT("rcr") break;
	case SHIFT_SHL: ASM_SHIFT("shl") break;
	case SHIFT_SHR: ASM_SHIFT("shr") break;
	default: ASM_SHIFT("sar") break;
	}
	set_arith(fl, changed, ax);
	return a;
}

/* Condition codes 0-15, SDM vol. 1, appendix B. */
ALWAYS_INLINE bool condition(unsigned cc, uint64_t fl)
{
	bool r;

	switch (cc >> 1) {
	case 0: r = fl & FL_OF; break;
	case 1: r = fl & FL_CF; break;
	case 2: r = fl & FL_ZF; break;
	case 3: r = fl & (FL_CF | FL_ZF); break;
	case 4: r = fl & FL_SF; break;
	case 5: r = fl & FL_PF; break;
	case 6: r = !(fl & FL_SF) != !(fl & FL_OF); break;
	default: r = (fl & FL_ZF) || !(fl & FL_SF) != !(fl & FL_OF); break;
	}
	return r != (cc & 1);
}

#endif
