/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small x86-64 assembler: just the instructions that translated code is glued together with. */
#ifndef DOPPEL_CPU_BT_ASM_H
#define DOPPEL_CPU_BT_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "x86/bits.h"

/* What must change in code that is copied to another place, for guest code at another linear address (clone.c). */
enum asm_moves {
	MOVES_NEAR,    /* a 32-bit displacement from RIP to what stays in place */
	MOVES_HOST,    /* a 32-bit address in the code itself */
	MOVES_LA,      /* a 64-bit linear address in or relative to the guest code */
	MOVES_NEG_LA,  /* its negative */
	MOVES_JC,      /* MOVES_NEAR, to a jump cache's place for the linear address that the instruction before has loaded */
	MOVES_SITE,    /* a struct bt_site */
};

struct asm_move {
	uint16_t at; /* offset from where the code begins */
	uint8_t what;
};

#define ASM_MAX_MOVES 2048 /* of one block; with more it cannot be copied */

/* Where code is written (rw) and where it will run (pc, below 2 GiB); the caller has made sure of room. */
struct assembler {
	uint8_t *rw;
	uint32_t pc;
	const void *slots; /* the struct bt whose members are named as slots and tables; the code finds its own at GS */
	struct asm_move *move; /* NULL: nobody wants to know; else room for ASM_MAX_MOVES */
	unsigned n_moves;      /* more than that: too many */
	uint32_t start;        /* pc at the beginning */
};

#define ASM_GS 0x65 /* segment override prefix */

static inline void put8(struct assembler *a, unsigned b)
{
	*a->rw++ = (uint8_t)b;
	a->pc++;
}

static inline void put32(struct assembler *a, uint32_t v)
{
	memcpy(a->rw, &v, 4);
	a->rw += 4;
	a->pc += 4;
}

static inline void put64(struct assembler *a, uint64_t v)
{
	memcpy(a->rw, &v, 8);
	a->rw += 8;
	a->pc += 8;
}

static inline void put_bytes(struct assembler *a, const uint8_t *p, unsigned n)
{
	memcpy(a->rw, p, n);
	a->rw += n;
	a->pc += n;
}

/* What stands at pc (or will, `ahead` bytes further) has to change with the code's place. */
static inline void note_move(struct assembler *a, enum asm_moves what, unsigned ahead)
{
	uint32_t at = a->pc + ahead - a->start;

	if (!a->move)
		return;
	if (a->n_moves < ASM_MAX_MOVES && at <= UINT16_MAX)
		a->move[a->n_moves++] = (struct asm_move){ (uint16_t)at, (uint8_t)what };
	else
		a->n_moves = ASM_MAX_MOVES + 1;
}

/* REX for a register operand `reg` (R), index (X) and base or rm (B). */
static inline void rex(struct assembler *a, unsigned w, unsigned reg, unsigned index, unsigned base)
{
	unsigned r = 0x40 | w << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;

	if (r != 0x40)
		put8(a, r);
}

static inline uint32_t slot_offset(const struct assembler *a, const void *slot)
{
	return (uint32_t)((uintptr_t)slot - (uintptr_t)a->slots);
}

/*
 * ModRM of a slot, for an instruction that began with ASM_GS; imm_len bytes of immediate follow the displacement.
 * Its address relative to GS is formed from RIP: with the plain displacement a load waits much longer for the store before.
 */
static inline void modrm_of_slot(struct assembler *a, unsigned reg, const void *slot, unsigned imm_len)
{
	put8(a, (reg & 7) << 3 | 5);
	note_move(a, MOVES_NEAR, 0);
	put32(a, slot_offset(a, slot) - (a->pc + 4 + imm_len));
}

/* jmp [slot], a jump cache's place for the linear address that mov_la() has just loaded */
static inline void jmp_jc(struct assembler *a, const void *slot)
{
	put8(a, ASM_GS);
	put8(a, 0xff);
	put8(a, 4 << 3 | 5);
	note_move(a, MOVES_JC, 0);
	put32(a, slot_offset(a, slot) - (a->pc + 4));
}

static inline void op_slot(struct assembler *a, unsigned opcode, unsigned reg, const void *slot) /* 32-bit operand, or a jump */
{
	put8(a, ASM_GS);
	rex(a, 0, reg, 0, 0);
	put8(a, opcode);
	modrm_of_slot(a, reg, slot, 0);
}

static inline void inc_slot(struct assembler *a, const void *slot) /* inc qword [slot] */
{
	put8(a, ASM_GS);
	rex(a, 1, 0, 0, 0);
	put8(a, 0xff);
	modrm_of_slot(a, 0, slot, 0);
}

static inline void cmp_slot(struct assembler *a, const void *slot, int8_t imm) /* cmp dword [slot], imm; 8 bytes */
{
	put8(a, ASM_GS);
	put8(a, 0x83);
	modrm_of_slot(a, 7, slot, 1);
	put8(a, (uint8_t)imm);
}

static inline void cmp_reg_slot(struct assembler *a, unsigned reg, const void *slot) /* cmp reg, [slot] */
{
	put8(a, ASM_GS);
	rex(a, 1, reg, 0, 0);
	put8(a, 0x3b);
	modrm_of_slot(a, reg, slot, 0);
}

static inline void load_slot(struct assembler *a, unsigned reg, const void *slot) /* mov reg, [slot] */
{
	put8(a, ASM_GS);
	rex(a, 1, reg, 0, 0);
	put8(a, 0x8b);
	modrm_of_slot(a, reg, slot, 0);
}

static inline void store_slot(struct assembler *a, const void *slot, unsigned reg) /* mov [slot], reg; 8 bytes */
{
	put8(a, ASM_GS);
	rex(a, 1, reg, 0, 0);
	put8(a, 0x89);
	modrm_of_slot(a, reg, slot, 0);
}

/* mov [slot], imm, with a slot of 4 bytes or (w) 8, imm below 2 GiB; 11 bytes and (w) 12 */
static inline void store_slot_imm(struct assembler *a, unsigned w, const void *slot, uint32_t imm)
{
	put8(a, ASM_GS);
	rex(a, w, 0, 0, 0);
	put8(a, 0xc7);
	modrm_of_slot(a, 0, slot, 4);
	put32(a, imm);
}

/* The same with an address in the code. */
static inline void store_slot_host(struct assembler *a, unsigned w, const void *slot, uint32_t addr)
{
	store_slot_imm(a, w, slot, addr);
	note_move(a, MOVES_HOST, 0u - 4);
}

static inline void mov_rr(struct assembler *a, unsigned dst, unsigned src)
{
	rex(a, 1, src, 0, dst);
	put8(a, 0x89);
	put8(a, 0xc0 | (src & 7) << 3 | (dst & 7));
}

/* mov reg, imm in its shortest form; no flags. */
static inline void mov_imm(struct assembler *a, unsigned reg, uint64_t imm)
{
	if (imm == (uint32_t)imm) {
		rex(a, 0, 0, 0, reg);
		put8(a, 0xb8 | (reg & 7));
		put32(a, (uint32_t)imm);
	} else if (imm == (uint64_t)(int64_t)(int32_t)imm) {
		rex(a, 1, 0, 0, reg);
		put8(a, 0xc7);
		put8(a, 0xc0 | (reg & 7));
		put32(a, (uint32_t)imm);
	} else {
		rex(a, 1, 0, 0, reg);
		put8(a, 0xb8 | (reg & 7));
		put64(a, imm);
	}
}

/* mov reg, a linear address that lies as far from the guest code wherever that is mapped; or (what: MOVES_NEG_LA) its negative. */
static inline void mov_la(struct assembler *a, unsigned reg, uint64_t la, enum asm_moves what)
{
	if (!a->move) {
		mov_imm(a, reg, la);
		return;
	}
	rex(a, 1, 0, 0, reg);
	put8(a, 0xb8 | (reg & 7));
	note_move(a, what, 0);
	put64(a, la);
}

/* mov reg, an address relative to RIP; one of 32 bits (address-size prefix) keeps the code where it is. */
static inline void mov_rip_relative(struct assembler *a, unsigned reg, uint64_t la, bool wide)
{
	if (wide) {
		mov_la(a, reg, la, MOVES_LA);
		return;
	}
	a->n_moves = ASM_MAX_MOVES + 1;
	mov_imm(a, reg, (uint32_t)la);
}

/* ModRM.mod for a displacement, in its place; RBP and R13 have no form without one. */
static inline unsigned disp_mod(int32_t disp, unsigned base)
{
	if (!disp && (base & 7) != 5)
		return 0;
	return disp == (int8_t)disp ? 0x40 : 0x80;
}

static inline void put_disp(struct assembler *a, unsigned mod, int32_t disp)
{
	if (mod == 0x40)
		put8(a, (uint8_t)disp);
	else if (mod)
		put32(a, (uint32_t)disp);
}

/* lea dst, [base + disp] */
static inline void lea_disp(struct assembler *a, unsigned dst, unsigned base, int32_t disp)
{
	unsigned mod = disp_mod(disp, base);

	if (!disp) { /* which costs nothing */
		mov_rr(a, dst, base);
		return;
	}
	rex(a, 1, dst, 0, base);
	put8(a, 0x8d);
	put8(a, mod | (dst & 7) << 3 | (base & 7));
	if ((base & 7) == 4)
		put8(a, 0x24);
	put_disp(a, mod, disp);
}

/* lea dst, [base + index * scale + disp]; dst is 32 bits wide without wide. scale_bits: 0 to 3 */
static inline void lea_full(struct assembler *a, unsigned wide, unsigned dst, unsigned base, unsigned index,
			    unsigned scale_bits, int32_t disp)
{
	unsigned mod = disp_mod(disp, base);

	rex(a, wide, dst, index, base);
	put8(a, 0x8d);
	put8(a, mod | 4 | (dst & 7) << 3);
	put8(a, scale_bits << 6 | (index & 7) << 3 | (base & 7));
	put_disp(a, mod, disp);
}

/* lea dst, [index * scale + disp32], no base */
static inline void lea_index(struct assembler *a, unsigned wide, unsigned dst, unsigned index, unsigned scale_bits,
			     int32_t disp)
{
	rex(a, wide, dst, index, 0);
	put8(a, 0x8d);
	put8(a, 0x04 | (dst & 7) << 3);
	put8(a, scale_bits << 6 | (index & 7) << 3 | 5);
	put32(a, (uint32_t)disp);
}

/* An opcode with [table + index * 8], a table of struct bt; reg is the register operand. */
static inline void op_table(struct assembler *a, unsigned opcode, unsigned w, unsigned reg, const void *table,
			    unsigned index)
{
	put8(a, ASM_GS);
	rex(a, w, reg, index, 0);
	put8(a, opcode);
	put8(a, (reg & 7) << 3 | 4);
	put8(a, 3 << 6 | (index & 7) << 3 | 5);
	put32(a, slot_offset(a, table));
}

/* opcode reg, [base + index] and the reverse, by opcode (8b: load, 89: store) */
static inline void op_base_index(struct assembler *a, unsigned opcode, unsigned reg, unsigned base, unsigned index)
{
	rex(a, 1, reg, index, base);
	put8(a, opcode);
	put8(a, (reg & 7) << 3 | 4);
	put8(a, (index & 7) << 3 | (base & 7));
}

/* mov reg, [base + disp32] and mov [base + disp32], reg; w: 64 bits wide, else 32 */
static inline void op_disp(struct assembler *a, unsigned opcode, unsigned w, unsigned reg, unsigned base, int32_t disp)
{
	rex(a, w, reg, 0, base);
	put8(a, opcode);
	put8(a, 0x80 | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == 4)
		put8(a, 0x24);
	put32(a, (uint32_t)disp);
}

static inline void load_disp(struct assembler *a, unsigned reg, unsigned base, size_t disp)
{
	op_disp(a, 0x8b, 1, reg, base, (int32_t)disp);
}

static inline void store_disp(struct assembler *a, unsigned base, size_t disp, unsigned reg)
{
	op_disp(a, 0x89, 1, reg, base, (int32_t)disp);
}

/* op dword [base + disp32], imm32, of the group of opcode 81: 1 or, 4 and, 6 xor, 7 cmp; or of F7: 0 test */
static inline void op_disp_imm(struct assembler *a, unsigned opcode, unsigned op, unsigned base, size_t disp, uint32_t imm)
{
	op_disp(a, opcode, 0, op, base, (int32_t)disp);
	put32(a, imm);
}

/* pext (pp 2) or pdep (pp 3) reg, reg, [slot] */
static inline void bits_slot(struct assembler *a, unsigned pp, unsigned reg, const void *slot)
{
	put8(a, ASM_GS);
	put8(a, 0xc4);
	put8(a, (reg >> 3 ? 0 : 0x80) | 0x62);
	put8(a, 0x80 | (~reg & 15) << 3 | pp);
	put8(a, 0xf5);
	modrm_of_slot(a, reg, slot, 0);
}

/* reg &= [slot], without flags */
static inline void mask_slot(struct assembler *a, unsigned reg, const void *slot)
{
	bits_slot(a, 2, reg, slot);
	bits_slot(a, 3, reg, slot);
}

/* To what does not move with the block. */
static inline void jmp_to(struct assembler *a, uint32_t target)
{
	put8(a, 0xe9);
	note_move(a, MOVES_NEAR, 0);
	put32(a, target - (a->pc + 4));
}

/* The same within the block. */
static inline void jmp_back(struct assembler *a, uint32_t target)
{
	put8(a, 0xe9);
	put32(a, target - (a->pc + 4));
}

/* A forward jump; its displacement is filled in by jump_here(). Returns where that stands. */
static inline uint8_t *jcc_forward(struct assembler *a, unsigned cc) /* cc: 0-15 */
{
	put8(a, 0x0f);
	put8(a, 0x80 | cc);
	put32(a, 0);
	return a->rw - 4;
}

static inline uint8_t *jmp_forward(struct assembler *a)
{
	put8(a, 0xe9);
	put32(a, 0);
	return a->rw - 4;
}

/*
 * So that the displacement of a jump whose opcode has n bytes lies in one aligned quadword, where it can be changed while
 * others run it. By prefixes that branches ignore: no instruction comes between the jump and a compare that it is fused with.
 */
static inline void pad_before_jump(struct assembler *a, unsigned n)
{
	while (((a->pc + n) & 7) > 4)
		put8(a, 0x2e);
}

static inline void jump_here(const struct assembler *a, uint8_t *disp)
{
	int32_t d = (int32_t)(a->rw - (disp + 4));

	memcpy(disp, &d, 4);
}

#endif
