/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Generates the stub around one rewritten guest instruction.
 *
 * A stub is a System V function `uint32_t stub(void *mem, uint64_t arg)`:
 *
 *   push callee-saved registers that the instruction or we use; [push arg]
 *   [fxrstor64 the image]
 *   state register <- &v->s; base register <- mem
 *   load vector, mask registers and MXCSR from the state
 *   load the six arithmetic flags, then the general registers (MOV keeps flags)
 *   the instruction
 *   store general registers, flags into EAX
 *   store vector, mask registers, MXCSR; restore the host's
 *   [fxsave64 the image; fninit]
 *   pop, ret
 *
 *   abort: what the host needs restored, EAX = HX_ABORTED, pop, ret
 *
 * The host's RSP stays the host's throughout, so a signal may arrive at any instruction. The state
 * register is one that the instruction does not use; it lives across it. Neither it nor the base
 * register is RSP, RBP, R12 or R13, whose ModRM forms differ.
 */
#include <string.h>

#include "cpu/interp/hostexec_int.h"

struct out {
	uint8_t *p;
};

static void put(struct out *o, const void *bytes, unsigned n)
{
	memcpy(o->p, bytes, n);
	o->p += n;
}

#define PUT(o, ...) put(o, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void put32(struct out *o, uint32_t v)
{
	put(o, &v, sizeof(v));
}

/* ModRM with mod 10: [base + disp32]. */
static void put_modrm(struct out *o, unsigned reg, unsigned base, size_t disp)
{
	PUT(o, (uint8_t)(0x80 | (reg & 7) << 3 | (base & 7)));
	put32(o, (uint32_t)disp);
}

static void put_rex(struct out *o, bool w, unsigned reg, unsigned base)
{
	uint8_t rex = (uint8_t)(0x40 | w << 3 | (reg >= 8) << 2 | (base >= 8));

	if (rex != 0x40)
		PUT(o, rex);
}

static void push(struct out *o, unsigned reg)
{
	put_rex(o, false, 0, reg);
	PUT(o, (uint8_t)(0x50 | (reg & 7)));
}

static void pop(struct out *o, unsigned reg)
{
	put_rex(o, false, 0, reg);
	PUT(o, (uint8_t)(0x58 | (reg & 7)));
}

static void mov_imm64(struct out *o, unsigned reg, const void *ptr)
{
	uint64_t v = (uintptr_t)ptr;

	put_rex(o, true, 0, reg);
	PUT(o, (uint8_t)(0xb8 | (reg & 7)));
	put(o, &v, sizeof(v));
}

/* 8b: MOV r64, m64; 89: MOV m64, r64. */
static void mov_gpr(struct out *o, uint8_t opcode, unsigned reg, unsigned base, size_t disp)
{
	put_rex(o, true, reg, base);
	PUT(o, opcode);
	put_modrm(o, reg, base, disp);
}

/* -- Vector, mask and control registers ------------------------------------------------------------------ */

/* MOVAPS: 28 loads, 29 stores; the form is the narrowest that keeps what the instruction's class keeps. */
static void mov_vec(struct out *o, const struct hostexec *hx, enum hx_class cls, uint8_t opcode, unsigned reg,
		    unsigned base)
{
	size_t disp = offsetof(struct x86_state, fpu.zmm) + reg * 64;
	uint8_t rex_b = base >= 8;

	if (cls == HX_SSE) {
		put_rex(o, false, reg, base);
		PUT(o, 0x0f, opcode);
	} else if (hx->vec_bytes == 64) {
		/* EVEX.512.0F.W0, no mask; R, X, B and R' are inverted. */
		PUT(o, 0x62, (uint8_t)(0x01 | !(reg & 8) << 7 | 1 << 6 | !rex_b << 5 | !(reg & 16) << 4),
		    0x7c, 0x48, opcode);
	} else {
		/* VEX.256.0F.W0 */
		PUT(o, 0xc4, (uint8_t)(0x01 | !(reg & 8) << 7 | 1 << 6 | !rex_b << 5), 0x7c, opcode);
	}
	put_modrm(o, reg, base, disp);
}

/* KMOVQ (or KMOVW where the host has no more): 90 loads, 91 stores. */
static void mov_mask(struct out *o, const struct hostexec *hx, uint8_t opcode, unsigned reg, unsigned base)
{
	PUT(o, 0xc4, (uint8_t)(0xc1 | !(base >= 8) << 5), hx->k64 ? 0xf8 : 0x78, opcode);
	put_modrm(o, reg, base, offsetof(struct x86_state, fpu.k) + reg * 8);
}

/* 0F AE: /2 LDMXCSR, /3 STMXCSR of the guest's. */
static void mov_mxcsr(struct out *o, unsigned ext, unsigned base)
{
	put_rex(o, false, 0, base);
	PUT(o, 0x0f, 0xae);
	put_modrm(o, ext, base, offsetof(struct x86_state, fpu.mxcsr));
}

/* 0F AE: /0 FXSAVE64, /1 FXRSTOR64 of the image. */
static void move_fx(struct out *o, struct hostexec *hx, unsigned ext, unsigned reg)
{
	mov_imm64(o, reg, &hx->fx);
	put_rex(o, true, 0, reg);
	PUT(o, 0x0f, 0xae);
	put_modrm(o, ext, reg, 0);
}

static void move_vectors(struct out *o, const struct hostexec *hx, const struct hx_desc *d, bool store)
{
	uint32_t vec = store ? d->vec_out : d->vec_in;
	uint8_t k = store ? d->k_out : d->k_in;

	for (unsigned r = 0; r < 32; r++)
		if (vec & BIT(r))
			mov_vec(o, hx, (enum hx_class)d->cls, store ? 0x29 : 0x28, r, d->state);
	for (unsigned r = 0; r < 8; r++)
		if (k & BIT(r))
			mov_mask(o, hx, store ? 0x91 : 0x90, r, d->state);
}

/* -- General registers and flags ------------------------------------------------------------------------- */

static unsigned host_reg(const struct hx_desc *d, unsigned guest)
{
	return guest == R_SP ? d->alias : guest;
}

static size_t gpr_disp(unsigned guest)
{
	return offsetof(struct x86_state, gpr) + guest * 8;
}

/* CF, PF, AF, ZF, SF by SAHF; OF by an addition that overflows if bit 11 was set. */
static void load_flags(struct out *o, const struct hx_desc *d)
{
	put_rex(o, false, R_AX, d->state);
	PUT(o, 0x8b); /* mov eax, [rflags] */
	put_modrm(o, R_AX, d->state, offsetof(struct x86_state, rflags));
	PUT(o, 0x86, 0xe0);  /* xchg al, ah */
	PUT(o, 0x24, 0x08);  /* and al, 8 */
	PUT(o, 0x04, 0x78);  /* add al, 0x78 */
	PUT(o, 0x9e);        /* sahf */
}

static void load_gprs(struct out *o, const struct hx_desc *d)
{
	for (unsigned r = 0; r < 16; r++) {
		if (!(d->gpr_in & BIT(r)))
			continue;
		if ((d->flags & HXF_BITOFF) && r == d->bitreg) {
			put_rex(o, true, host_reg(d, r), 0);
			PUT(o, 0x8b, (uint8_t)(0x04 | (host_reg(d, r) & 7) << 3), 0x24); /* mov r64, [rsp] */
		} else {
			mov_gpr(o, 0x8b, host_reg(d, r), d->state, gpr_disp(r));
		}
	}
}

static void store_gprs(struct out *o, const struct hx_desc *d)
{
	for (unsigned r = 0; r < 16; r++)
		if (d->gpr_out & BIT(r))
			mov_gpr(o, 0x89, host_reg(d, r), d->state, gpr_disp(r));
}

static void store_flags(struct out *o, const struct hx_desc *d)
{
	if (d->flags & HXF_FLAGS)
		PUT(o, 0x9f, 0x0f, 0x90, 0xc0, 0x0f, 0xb7, 0xc0); /* lahf; seto al; movzx eax, ax */
	else
		PUT(o, 0x31, 0xc0);                               /* xor eax, eax */
}

/* -- The stub -------------------------------------------------------------------------------------------- */

#define CALLEE_SAVED (BIT(R_BX) | BIT(R_BP) | BIT(R_12) | BIT(R_13) | BIT(R_14) | BIT(R_15))

static uint32_t used_regs(const struct hx_desc *d)
{
	uint32_t used = (uint32_t)(BIT(d->state) | BIT(d->base));

	for (unsigned r = 0; r < 16; r++)
		if ((d->gpr_in | d->gpr_out) & BIT(r))
			used |= (uint32_t)BIT(host_reg(d, r));
	return used & CALLEE_SAVED;
}

static void leave(struct out *o, const struct hx_desc *d)
{
	uint32_t saved = used_regs(d);

	if (d->flags & HXF_BITOFF)
		PUT(o, 0x48, 0x8d, 0x64, 0x24, 0x08); /* lea rsp, [rsp + 8] */
	for (int r = 15; r >= 0; r--)
		if (saved & BIT(r))
			pop(o, (unsigned)r);
	PUT(o, 0xc3);
}

static void restore_host(struct out *o, struct hostexec *hx, const struct hx_desc *d)
{
	if (d->flags & HXF_MXCSR) {
		mov_mxcsr(o, 3, d->state);
		mov_imm64(o, d->state, &hx->host_mxcsr);
		put_rex(o, false, 0, d->state);
		PUT(o, 0x0f, 0xae);
		put_modrm(o, 2, d->state, 0);
	}
	if (d->cls >= HX_AVX && (d->vec_in | d->vec_out))
		PUT(o, 0xc5, 0xf8, 0x77); /* vzeroupper */
	if (d->flags & HXF_FX) {
		move_fx(o, hx, 0, d->state);
		PUT(o, 0xdb, 0xe3); /* fninit: empty stack, default control word, as the ABI wants it */
	}
}

static void enter(struct out *o, struct hostexec *hx, const struct hx_desc *d)
{
	uint32_t saved = used_regs(d);

	for (unsigned r = 0; r < 16; r++)
		if (saved & BIT(r))
			push(o, r);
	if (d->flags & HXF_BITOFF)
		push(o, R_SI);
	if (d->flags & HXF_FX)
		move_fx(o, hx, 1, R_AX);
	mov_imm64(o, d->state, &hx->v->s);
	if (d->mem != HX_MEM_NONE && d->base != R_DI)
		PUT(o, 0x48, 0x89, (uint8_t)(0xf8 | d->base)); /* mov base, rdi; base is below 8 */
	move_vectors(o, hx, d, false);
	if (d->flags & HXF_MXCSR)
		mov_mxcsr(o, 2, d->state);
	if (d->flags & HXF_FLAGS)
		load_flags(o, d);
	load_gprs(o, d);
}

void hx_emit(struct hostexec *hx, struct hx_stub *st)
{
	const struct hx_desc *d = &st->d;
	struct out o = { hx->rw + hx->used };
	uint8_t *start = o.p;

	st->code = (hx_code)(uintptr_t)(hx->rx + hx->used);
	enter(&o, hx, d);
	put(&o, d->code, d->len);
	store_gprs(&o, d);
	store_flags(&o, d);
	move_vectors(&o, hx, d, true);
	restore_host(&o, hx, d);
	leave(&o, d);

	st->abort_off = (uint16_t)(o.p - start);
	restore_host(&o, hx, d);
	PUT(&o, 0xb8);
	put32(&o, HX_ABORTED);
	leave(&o, d);
	st->code_len = (uint16_t)(o.p - start);
	BUG_ON(st->code_len > HX_STUB_MAX);
	hx->used = (uint32_t)ALIGN_UP(hx->used + st->code_len, 16);
}
