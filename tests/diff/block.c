/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases that are blocks: 2 to 12 instructions, most of them of 64-bit code, whose results every manual defines (but for AF), with
 * several accesses off one base, stack traffic, calls, forward branches, flags that live across instructions, and
 * faults in the middle where a base points near the end of a page.
 */
#include "gen.h"
#include "values.h"

#define BLOCK_LEAST 2
#define BLOCK_MOST  BLOCK_INSNS
#define INSN_ROOM   14 /* of the longest that put_insn() makes */

static const uint8_t bases[] = { R_BX, R_BX, R_BX, R_BP, R_10, R_SP }, old_bases[] = { R_BX, R_BX, R_BP, R_SP };

static void put(struct diff_case *c, unsigned byte)
{
	c->code[c->code_len++] = (uint8_t)byte;
}

/* Outside of 64-bit mode: opcode (0x0fxx: two bytes), ModRM for a register or base + disp8; [bx] and [bp] alone in 16-bit code. */
static void put_old_rm(struct rng *r, struct diff_case *c, unsigned prefix, unsigned opcode, unsigned reg, bool memory)
{
	unsigned rm = memory ? old_bases[rng_below(r, sizeof(old_bases))] : rng_below(r, 8);
	bool sib = memory && rm == R_SP && c->mode == MODE_32;

	if (!memory && (rm == R_SP || rm == R_BX))
		rm = R_CX;
	if (memory && c->mode == MODE_16)
		rm = rm == R_BX ? 7 : 6;
	if (prefix)
		put(c, prefix);
	else if (one_in(r, 8))
		put(c, 0x66);
	if (opcode >> 8)
		put(c, opcode >> 8);
	put(c, opcode & 0xff);
	put(c, (memory ? 0x40 : 0xc0) | (reg & 7) << 3 | rm);
	if (sib)
		put(c, 0x24);
	if (memory)
		put(c, rng_below(r, 64) - 16u);
}

/* The same with REX. */
static void put_rm(struct rng *r, struct diff_case *c, unsigned prefix, unsigned opcode, unsigned reg, bool memory)
{
	unsigned rm;

	if (c->mode != MODE_64) {
		put_old_rm(r, c, prefix, opcode, reg, memory);
		return;
	}
	rm = memory ? bases[rng_below(r, sizeof(bases))] : rng_below(r, 16);
	if (!memory && (rm == R_SP || rm == R_BX))
		rm = R_11;
	if (prefix)
		put(c, prefix);
	put(c, 0x40 | rng_below(r, 2) << 3 | (reg >> 3) << 2 | rm >> 3);
	if (opcode >> 8)
		put(c, opcode >> 8);
	put(c, opcode & 0xff);
	put(c, (memory ? 0x40 : 0xc0) | (reg & 7) << 3 | (rm & 7));
	if (memory && (rm & 7) == R_SP)
		put(c, 0x24);
	if (memory)
		put(c, rng_below(r, 64) - 16u);
}

/* A register that may change: not the bases. */
static unsigned free_reg(struct rng *r, const struct diff_case *c)
{
	static const uint8_t regs[] = { R_AX, R_CX, R_DX, R_SI, R_DI, R_8, R_9, R_11, R_12, R_13, R_14, R_15 };

	return regs[rng_below(r, c->mode == MODE_64 ? sizeof(regs) : 5)];
}

static void put_push_or_pop(struct rng *r, struct diff_case *c, unsigned reg)
{
	if (c->mode == MODE_64) {
		put(c, 0x41);
		reg = reg >= R_11 ? reg : R_11;
	}
	put(c, (one_in(r, 2) ? 0x50 : 0x58) | (reg & 7));
}

/* CALL of an instruction further on that returns: call 1f; jmp 2f; 1: push; pop; ret; 2: */
static void put_call(struct rng *r, struct diff_case *c)
{
	put(c, 0xe8);
	put(c, 2);
	for (unsigned i = c->mode == MODE_16 ? 2 : 0; i < 3; i++) /* of 16 or 32 bits */
		put(c, 0);
	put(c, 0xeb);
	put(c, 3);
	put(c, 0x50 | rng_below(r, 8));
	put(c, 0x58 | rng_below(r, 3)); /* RAX, RCX, RDX */
	put(c, 0xc3);
}

static void put_insn(struct rng *r, struct diff_case *c)
{
	bool memory = one_in(r, 2);
	unsigned reg = free_reg(r, c);

	switch (rng_below(r, 12)) {
	case 0: case 1: case 2: put_rm(r, c, 0, rng_below(r, 8) << 3 | rng_below(r, 4), reg, memory); break;
	case 3: case 4: put_rm(r, c, 0, 0x88 + rng_below(r, 4), reg, memory); break;
	case 5: put_rm(r, c, 0, 0xd0 + rng_below(r, 2), 4 | rng_below(r, 2), memory); break; /* shl, shr by 1 */
	case 6: put_rm(r, c, 0, 0x0f40 | rng_below(r, 16), reg, memory); break;
	case 7: put_rm(r, c, 0, 0x0f90 | rng_below(r, 16), 0, memory); break;
	case 8: put_rm(r, c, 0, 0x0fb6 + rng_below(r, 2), reg, memory); break;
	case 9: put_push_or_pop(r, c, reg); break;
	case 10: put_rm(r, c, one_in(r, 2) ? 0xf3 : 0x66, one_in(r, 2) ? 0x0f6f : 0x0f7f, rng_below(r, 8), memory); break;
	default: put_call(r, c); break;
	}
}

void block_make(struct rng *r, struct diff_case *c)
{
	unsigned insns = BLOCK_LEAST + rng_below(r, BLOCK_MOST - BLOCK_LEAST + 1), jump = 0;

	for (; insns && c->code_len + INSN_ROOM < CASE_CODE_MAX; insns--) {
		unsigned start = c->code_len;

		if (jump == 0 && one_in(r, 5)) { /* over the next one */
			put(c, 0x70 | rng_below(r, 16));
			put(c, 0);
			jump = c->code_len;
		} else {
			put_insn(r, c);
			if (jump)
				c->code[jump - 1] = (uint8_t)(c->code_len - jump);
			jump = 0;
		}
		c->insn_at[c->n_insns++] = (uint8_t)start;
	}
}
