/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random values: the boundaries of every type come up often, and the rest sometimes. */
#include "values.h"

uint64_t value_int(struct rng *r)
{
	static const uint64_t edges[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
					  0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~1ull };

	switch (rng_below(r, 4)) {
	case 0:
		return edges[rng_below(r, ARRAY_SIZE(edges))];
	case 1:
		return (uint64_t)(int64_t)((int)rng_below(r, 129) - 64);
	case 2:
		return rng_next(r) >> rng_below(r, 64);
	default:
		return rng_next(r);
	}
}

static uint64_t data_offset(struct rng *r, unsigned size)
{
	uint64_t span = one_in(r, 4) ? 0x1000 : 0x3000, start = span == 0x1000 ? 0x6000 : 0x1000;
	uint64_t off = start + rng_below(r, (uint32_t)(size < span ? span - size + 1 : 1));
	unsigned align = size >= 64 ? 64 : size >= 32 ? 32 : size >= 16 ? 16 : size >= 8 ? 8 : 4;

	return percent(r, 70) ? ALIGN_DOWN(off, align) : off;
}

uint64_t value_address(struct rng *r, unsigned size, bool low)
{
	uint64_t base = low || one_in(r, 2) ? WORLD_LOW : WORLD_HIGH;
	unsigned p = rng_below(r, 100);

	if (p < 74)
		return base + data_offset(r, size);
	if (p < 86) /* over or at the edge of a page */
		return base + ((rng_below(r, 7) + 1) << PAGE_SHIFT) - rng_below(r, size + 8);
	if (p < 91)
		return base + 0x4000 + rng_below(r, PAGE_SIZE);
	if (p < 94)
		return base + WORLD_CODE + rng_below(r, CODE_SIZE);
	if (p < 96)
		return base + (one_in(r, 2) ? 0x5000 : 0x7000) + rng_below(r, PAGE_SIZE);
	if (p < 98)
		return rng_next(r);
	/* At the ends of the canonical halves, but over none of them: which fault is first is not architectural. */
	base = one_in(r, 2) ? 0x0000800000000000ull : 0xffff800000000000ull;
	return one_in(r, 2) ? base - size - rng_below(r, 80) : base + rng_below(r, 80);
}

uint64_t value_code_address(struct rng *r, bool low)
{
	return (low ? WORLD_LOW : WORLD_HIGH) + WORLD_CODE + rng_below(r, CODE_SIZE);
}

uint16_t value_selector(struct rng *r, bool ldt)
{
	/* Not 0x78: its limit is the number of the CPU. */
	static const uint16_t gdt[] = { 0, 1, 2, 3, 0x2b, 0x2b, 0x28, 0x2a, 0x23, 0x20, 0x33, 0x10, 0x18, 0x08, 0x40,
					0x43, 0x50, 0x48, 0x63, 0x68, 0x80, 0x83, 0xfff8 };

	if (ldt && percent(r, 40))
		return (uint16_t)(LDT_SEL(rng_below(r, WORLD_LDT_ENTRIES + 2)) - (one_in(r, 8) ? rng_below(r, 4) : 0));
	return one_in(r, 24) ? (uint16_t)(0x80 | rng_next(r)) : gdt[rng_below(r, ARRAY_SIZE(gdt))];
}

uint64_t value_flags(struct rng *r, bool string)
{
	uint64_t f = FL_1 | FL_IF | (rng_next(r) & FL_ARITH);

	if (one_in(r, string ? 2 : 12))
		f |= FL_DF;
	if (one_in(r, 64))
		f |= FL_TF;
	if (one_in(r, 24))
		f |= FL_AC;
	if (one_in(r, 24))
		f |= FL_ID;
	if (one_in(r, 64))
		f |= FL_NT;
	return f;
}

#define MXCSR_MASKS 0x1f80u
#define MXCSR_FLAGS 0x003fu
#define MXCSR_RC    0x6000u
#define MXCSR_ZERO  0x8040u /* FTZ and DAZ */

uint32_t value_mxcsr(struct rng *r)
{
	uint32_t bits = (uint32_t)rng_next(r), m = MXCSR_MASKS;

	if (one_in(r, 6))
		m &= bits;
	if (one_in(r, 2))
		m |= bits & MXCSR_RC;
	if (one_in(r, 4))
		m |= bits & MXCSR_ZERO;
	if (one_in(r, 3))
		m |= bits & MXCSR_FLAGS;
	return m;
}

#define FCW_MASKS 0x003f
#define FCW_FIXED 0x0040
#define FSW_ES    0x8080 /* and B, which follows it */

uint16_t value_fcw(struct rng *r)
{
	uint16_t bits = (uint16_t)rng_next(r), v = FCW_FIXED | (bits & 0x1f00);

	if (one_in(r, 3))
		v = 0x037f;
	return (uint16_t)(v | (one_in(r, 6) ? bits & FCW_MASKS : FCW_MASKS));
}

void value_st(struct rng *r, uint8_t st[16])
{
	static const uint16_t exponents[] = { 0, 0, 1, 0x3fff, 0x3ffe, 0x4000, 0x403e, 0x403f, 0x43fe, 0x407f, 0x3bcd,
					      0x3f6a, 0x7ffe, 0x7fff, 0x7fff };
	static const uint64_t mantissas[] = { 0, 1, 0x8000000000000000, 0xc000000000000000, 0x8000000000000001,
					      0xffffffffffffffff, 0x7fffffffffffffff, 0xa000000000000000,
					      0x8000000000000400, 0x8000008000000000, 0xfffffffffffff800 };
	uint64_t m = one_in(r, 2) ? mantissas[rng_below(r, ARRAY_SIZE(mantissas))] : rng_next(r) | BIT(63);
	uint16_t e = one_in(r, 2) ? exponents[rng_below(r, ARRAY_SIZE(exponents))] :
				    (uint16_t)(0x3fff - 70 + rng_below(r, 140));

	if (one_in(r, 12))
		m &= ~BIT(63); /* unnormal, or denormal */
	if (one_in(r, 24))
		e = (uint16_t)rng_next(r);
	e = (uint16_t)((e & 0x7fff) | (one_in(r, 2) ? 0x8000 : 0));
	memcpy(st, &m, 8);
	memcpy(st + 8, &e, 2);
	memset(st + 10, 0, 6);
}

static uint64_t element_f32(struct rng *r)
{
	static const uint32_t edges[] = { 0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
					  0x7f800001, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x3f000000, 0x4effffff,
					  0x4f000000, 0xcf000000, 0x5f000000, 0x40490fdb, 0x34000000, 0xff7fffff };
	uint64_t v = 0;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t x = rng_next(r);
		uint32_t near_one = (uint32_t)((x & 0x807fffff) | (0x3f800000 + (((x >> 40) % 64) << 23) - (32u << 23)));

		v = v << 32 | ((x >> 60) < 6 ? edges[(x >> 32) % ARRAY_SIZE(edges)] : near_one);
	}
	return v;
}

static uint64_t element_f64(struct rng *r)
{
	static const uint64_t edges[] = { 0, BIT(63), 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
					  0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 1,
					  0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
					  0x3fe0000000000000, 0x41dfffffffc00000, 0xc1e0000000000000,
					  0x43e0000000000000, 0x47efffffe0000000, 0x3690000000000000, 0x36a0000000000000 };
	uint64_t x = rng_next(r), e = 0x3ff - 32 + (rng_next(r) & 63);

	if (x >> 60 < 6)
		return edges[(x >> 32) % ARRAY_SIZE(edges)];
	return (x & 0x800fffffffffffff) | e << 52;
}

static uint64_t element_f16(struct rng *r)
{
	static const uint16_t edges[] = { 0, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 1, 0x3ff, 0x400,
					  0x7bff };
	uint64_t v = 0, x = rng_next(r);

	for (unsigned i = 0; i < 4; i++, x >>= 16)
		v = v << 16 | (x & 0x100 ? edges[x % ARRAY_SIZE(edges)] : x & 0xffff);
	return v;
}

/* Saturation and sign edges in 8-, 16- and 32-bit elements. */
static uint64_t element_int(struct rng *r)
{
	static const uint64_t edges[] = { 0, ~0ull, 0x8080808080808080, 0x7f7f7f7f7f7f7f7f, 0x8000800080008000,
					  0x7fff7fff7fff7fff, 0x8000000080000000, 0x7fffffff7fffffff, 0x0101010101010101,
					  0x0001000100010001, 0x0000000100000001, 0x00ff00ff00ff00ff };
	uint64_t x = rng_next(r);

	return x & 1 ? edges[(x >> 32) % ARRAY_SIZE(edges)] : x & 2 ? (x >> 8 & 0x0f0f0f0f0f0f0f0f) : x;
}

void value_vector(struct rng *r, uint8_t *v, unsigned n)
{
	static uint64_t (*const kinds[])(struct rng *) = { rng_next,    element_f32, element_f32, element_f64,
							   element_f64, element_f16, element_int, element_int };
	uint64_t (*kind)(struct rng *) = kinds[rng_below(r, ARRAY_SIZE(kinds))];

	for (unsigned i = 0; i < n; i += 8) {
		uint64_t e = kind(r);

		memcpy(v + i, &e, 8);
	}
}

void value_x87(struct rng *r, struct x86_fpu *fpu, bool any)
{
	uint16_t bits = (uint16_t)rng_next(r), exceptions;

	fpu->fcw = 0x037f;
	if (!any)
		return;
	fpu->fcw = value_fcw(r);
	exceptions = bits & FCW_MASKS & (one_in(r, 8) ? 0xff : fpu->fcw);
	if (one_in(r, 2))
		exceptions = 0;
	fpu->fsw = (uint16_t)((rng_next(r) & 0x7f40) | exceptions | (exceptions & ~fpu->fcw ? FSW_ES : 0));
	fpu->ftw = percent(r, 60) ? 0xff : percent(r, 60) ? bits >> 8 : 0;
	fpu->fop = (uint16_t)(rng_next(r) & 0x7ff);
	fpu->fip = value_code_address(r, one_in(r, 2));
	fpu->fdp = value_address(r, 8, true) & 0x7fffffffffff;
	for (unsigned i = 0; i < 8; i++)
		value_st(r, fpu->st[i]);
	if (one_in(r, 2)) /* some MMX contents */
		for (unsigned i = 0; i < 8; i++) {
			value_vector(r, fpu->st[i], 8);
			memset(fpu->st[i] + 8, 0xff, 2);
		}
}

void value_vectors(struct rng *r, struct x86_fpu *fpu, uint64_t xcr0)
{
	unsigned regs = xcr0 & XCR0_HI16 ? 32 : 16;
	unsigned bytes = xcr0 & XCR0_ZMM_HI ? 64 : xcr0 & XCR0_AVX ? 32 : 16;

	fpu->mxcsr = value_mxcsr(r);
	for (unsigned i = 0; i < regs; i++) {
		if (i && one_in(r, 6)) /* equal operands */
			memcpy(fpu->zmm[i], fpu->zmm[i - 1], 64);
		else
			value_vector(r, fpu->zmm[i], bytes);
	}
	if (xcr0 & XCR0_OPMASK)
		for (unsigned i = 0; i < 8; i++)
			fpu->k[i] = one_in(r, 3) ? value_int(r) : rng_next(r);
}

void value_image(struct rng *r, uint8_t image[][PAGE_SIZE])
{
	for (unsigned f = 0; f < IMAGE_FRAMES; f++)
		for (unsigned off = 0; off < PAGE_SIZE; off += 32) {
			uint64_t v[4];

			switch (rng_below(r, 4)) {
			case 0:
				for (unsigned i = 0; i < 4; i++)
					v[i] = value_int(r);
				break;
			case 1:
				v[0] = value_code_address(r, one_in(r, 2));
				v[1] = value_address(r, 8, true);
				v[2] = value_address(r, 8, false);
				v[3] = value_selector(r, true) | rng_next(r) << 32;
				break;
			case 2:
				value_st(r, (uint8_t *)v);
				value_st(r, (uint8_t *)(v + 2));
				break;
			default:
				value_vector(r, (uint8_t *)v, 32);
			}
			memcpy(image[f] + off, v, 32);
		}
}
