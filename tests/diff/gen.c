/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From seed and index to a case: which form, its bytes, and a random world around it. */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include "gen.h"
#include "values.h"

enum { PURPOSE_CASE, PURPOSE_IMAGE, PURPOSE_BLOCK };

#define BLOCK_ONE_IN 8 /* of all cases */

/* Shares in percent; the sum is 100. */
static const uint8_t class_share[FORM_CLASSES] = {
	[CLASS_INT] = 26, [CLASS_STACK] = 5,   [CLASS_BRANCH] = 6,  [CLASS_STRING] = 6, [CLASS_X87] = 10, [CLASS_MMX] = 4,
	[CLASS_SSE] = 11, [CLASS_AVX] = 11,    [CLASS_AVX512] = 13, [CLASS_SYSTEM] = 5, [CLASS_XSAVE] = 1,
	[CLASS_INVALID] = 2,
};
static const uint8_t mode_share[CASE_MODES] = { [MODE_64] = 76, [MODE_32] = 17, [MODE_16] = 7 };
static const char *const mode_names[CASE_MODES] = { "64", "32", "16" };

static unsigned pick_share(struct rng *r, const uint8_t *share, unsigned n)
{
	unsigned x = rng_below(r, 100), i = 0;

	while (i + 1 < n && x >= share[i])
		x -= share[i++];
	return i;
}

int gen_restrict(struct generator *g, const char *name, struct err *e)
{
	const struct catalog *cat = g->catalog;

	if (!strcasecmp(name, "blocks")) {
		g->blocks = true;
		return 0;
	}

	uint32_t *more = realloc(g->only, cat->n * sizeof(*more)), kept = 0;
	bool first = !g->only;

	if (!more)
		return err_set(e, ENOMEM, "out of memory");
	g->only = more;
	for (uint32_t i = 0; i < (first ? cat->n : g->n_only); i++) {
		uint32_t n = first ? i : g->only[i];
		const struct form *f = &cat->form[n];

		if (!strcasecmp(name, class_names[f->class]) || !strcmp(name, mode_names[f->mode]) ||
		    !strcasecmp(name, ZydisMnemonicGetString(f->mnemonic)))
			g->only[kept++] = n;
	}
	g->n_only = kept;
	return kept ? 0 : err_set(e, EINVAL, "nothing to test is called '%s': give a class, a mnemonic or 64, 32, 16",
				  name);
}

void gen_image(const struct generator *g, uint64_t batch, uint8_t image[][PAGE_SIZE])
{
	struct rng r = rng_make(g->seed, batch, PURPOSE_IMAGE);

	value_image(&r, image);
}

bool gen_decode(const struct catalog *cat, const struct diff_case *c, struct decoded_insn *d)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&cat->decoder[c->mode], c->code, sizeof(c->code), &d->i, d->op));
}

/* -- Bytes ------------------------------------------------------------------------------------- */

static void add_prefix(struct rng *r, struct encoding *enc, uint8_t byte)
{
	unsigned at = rng_below(r, enc->n_prefixes + 1u);

	memmove(enc->prefix + at + 1, enc->prefix + at, enc->n_prefixes - at);
	enc->prefix[at] = byte;
	enc->n_prefixes++;
}

static void random_prefixes(struct rng *r, const struct form *f, struct encoding *enc)
{
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x64, 0x65 };

	if (one_in(r, 8))
		add_prefix(r, enc, segments[rng_below(r, ARRAY_SIZE(segments))]);
	if (one_in(r, 12))
		add_prefix(r, enc, 0x67);
	if (one_in(r, f->class == CLASS_INT && f->mem ? 10 : 100))
		add_prefix(r, enc, 0xf0);
	if (one_in(r, 40))
		add_prefix(r, enc, 0x66);
	if (one_in(r, 40))
		add_prefix(r, enc, one_in(r, 2) ? 0xf2 : 0xf3);
	if (one_in(r, 60))
		add_prefix(r, enc, segments[rng_below(r, ARRAY_SIZE(segments))]);
}

/* Attempts that do not decode get tamer: everything random, then registers only, then as in the catalogue. */
static struct encoding random_encoding(struct rng *r, const struct form *f, unsigned attempt)
{
	struct encoding enc = form_default(f);
	uint32_t bits = (uint32_t)rng_next(r);
	unsigned reg = f->reg < 0 ? bits & 7 : (unsigned)f->reg;
	unsigned rm = f->rm < 0 ? bits >> 3 & 7 : (unsigned)f->rm;

	if (attempt >= 9)
		return enc;
	enc.modrm = (uint8_t)((f->mem ? (bits >> 6) % 3 << 6 : 0xc0) | reg << 3 | rm);
	enc.r = bits >> 8 & 1;
	enc.x = bits >> 9 & 1;
	enc.b = bits >> 10 & 1;
	if (f->kind == FORM_LEGACY) {
		enc.rex = bits >> 11 & 1;
		if (bits >> 12 & 1)
			enc.r = enc.x = enc.b = 0;
	}
	if (f->mode != MODE_64)
		enc.r = enc.x = enc.b = 0;
	if (attempt >= 6)
		return enc;
	random_prefixes(r, f, &enc);
	enc.r2 = f->mode == MODE_64 && (bits >> 13 & 1);
	enc.v2 = f->mode == MODE_64 && (bits >> 14 & 1);
	if (attempt & 1)
		return enc;
	enc.vvvv = bits >> 15 & 15;
	if (bits >> 19 & 1)
		enc.aaa = bits >> 20 & 7;
	enc.z = enc.aaa && (bits >> 23 & 3) == 0;
	enc.bc = (bits >> 25 & 3) == 0;
	if (enc.bc && !f->mem)
		enc.l = bits >> 27 & 3; /* rounding mode */
	return enc;
}

/* On AMD's processors F2 and F3 override the condition of LOOPE and LOOPNE; no manual says so. */
static bool loop_with_rep(const ZydisDecodedInstruction *in)
{
	if (in->mnemonic != ZYDIS_MNEMONIC_LOOPE && in->mnemonic != ZYDIS_MNEMONIC_LOOPNE)
		return false;
	for (unsigned i = 0; i < in->raw.prefix_count; i++)
		if (in->raw.prefixes[i].value == 0xf2 || in->raw.prefixes[i].value == 0xf3)
			return true;
	return false;
}

/* VEX.W outside of 64-bit mode where it would choose a 64-bit register: ignored by Intel's, not by AMD's. */
static bool wide_in_narrow_mode(const ZydisDecodedInstruction *in)
{
	if (in->machine_mode == ZYDIS_MACHINE_MODE_LONG_64 || in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	if (!(in->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ? in->raw.evex.W : in->raw.vex.W))
		return false;
	return in->mnemonic == ZYDIS_MNEMONIC_VPINSRD || in->mnemonic == ZYDIS_MNEMONIC_VPEXTRD ||
	       in->mnemonic == ZYDIS_MNEMONIC_KMOVD;
}

static bool allowed(const ZydisDecodedInstruction *in)
{
	if (loop_with_rep(in) || wide_in_narrow_mode(in))
		return false;
	/* INT 80h enters Linux. */
	if (in->mnemonic == ZYDIS_MNEMONIC_INT && in->raw.imm[0].value.u == 0x80)
		return false;
	return !catalog_excluded((uint16_t)in->mnemonic);
}

/* 3DNow!: the opcode stands behind the operands, wherever that is. */
static bool put_last_opcode(const struct generator *g, const struct form *f, unsigned n, struct diff_case *c,
			    struct decoded_insn *d)
{
	for (unsigned end = n; end < n + 6; end++) {
		uint8_t random = c->code[end];

		c->code[end] = f->opcode;
		if (gen_decode(g->catalog, c, d) && d->i.length == end + 1 && d->i.mnemonic == f->mnemonic)
			return true;
		c->code[end] = random;
	}
	return false;
}

static bool bytes_of_form(const struct generator *g, struct rng *r, const struct form *f, struct diff_case *c,
			  struct decoded_insn *d)
{
	for (unsigned attempt = 0; attempt < 12; attempt++) {
		struct encoding enc = random_encoding(r, f, attempt);
		unsigned n = form_emit(f, &enc, c->code);

		rng_fill(r, c->code + n, 16);
		if (attempt >= 9 && f->mem)
			c->code[n] = 0x08;
		if (f->kind == FORM_LEGACY && f->map == 4 && !put_last_opcode(g, f, n, c, d))
			continue;
		if (gen_decode(g->catalog, c, d) && allowed(&d->i))
			return true;
	}
	return false;
}

/* What should not decode: too long, LOCK where it may not be, reserved bits, noise. */
static void invalid_bytes(const struct generator *g, struct rng *r, struct diff_case *c, struct decoded_insn *d)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0x2e, 0x3e, 0xf2, 0xf3, 0x64, 0xf0 };
	const struct form *f = &g->catalog->form[rng_below(r, g->catalog->n)];
	struct encoding enc = random_encoding(r, f, 0);
	unsigned kind = rng_below(r, 4), pad = kind == 0 ? 8 + rng_below(r, 8) : kind == 1 ? 1 : 0, n;

	for (n = 0; n < pad; n++)
		c->code[n] = kind == 1 ? 0xf0 : prefixes[rng_below(r, 7)];
	n += form_emit(f, &enc, c->code + n);
	rng_fill(r, c->code + n, 16);
	if (kind == 2) /* flip a bit near the front */
		c->code[rng_below(r, 5)] ^= (uint8_t)(1u << rng_below(r, 8));
	if (kind == 3)
		rng_fill(r, c->code, 16);
	c->insn_len = 0;
	c->code_len = 15;
	if (gen_decode(g->catalog, c, d)) {
		if (!allowed(&d->i)) {
			c->code[0] = 0x0f; /* UD2 instead */
			c->code[1] = 0x0b;
			gen_decode(g->catalog, c, d);
		}
		c->insn_len = c->code_len = d->i.length;
	}
}

/* -- The world around it ----------------------------------------------------------------------- */

static uint64_t random_start(const struct generator *g, struct rng *r, unsigned len)
{
	unsigned p = rng_below(r, 100);

	if (g->plain)
		return PAGE_SIZE / 2;
	if (p < 16) /* over the middle */
		return PAGE_SIZE - rng_below(r, len + 1);
	if (p < 20) /* up to the end, or beyond it */
		return CODE_SIZE - (p & 1 ? len : rng_below(r, len) + 1);
	return rng_below(r, CODE_SIZE - 64);
}

static void random_segments(const struct generator *g, struct rng *r, struct diff_case *c)
{
	static const uint16_t data[] = { SEL_DATA, SEL_DATA, SEL_DATA, SEL_DATA, LDT_SEL(LDT_DATA32), LDT_SEL(LDT_DATA16),
					 LDT_SEL(LDT_DOWN), LDT_SEL(LDT_RODATA), SEL_CS32, 0 };
	static const uint16_t stack[] = { SEL_DATA, SEL_DATA, SEL_DATA, LDT_SEL(LDT_DATA32), LDT_SEL(LDT_DATA16),
					  LDT_SEL(LDT_DOWN), LDT_SEL(LDT_FLAT16) };

	c->sel[SEG_CS] = c->mode == MODE_64 ? SEL_CS64 : SEL_CS32;
	c->sel[SEG_SS] = SEL_DATA;
	if (c->mode == MODE_64) {
		uint16_t both = one_in(r, 4) ? SEL_DATA : 0;

		c->sel[SEG_DS] = c->sel[SEG_ES] = both;
		c->fs_base = one_in(r, 2) ? value_address(r, 8, false) : value_int(r) & 0xffff;
		c->gs_base = one_in(r, 2) ? value_address(r, 8, false) : value_int(r) & 0xffff;
		c->fs_base &= 0x7fffffffffff; /* WRFSBASE takes canonical addresses only */
		c->gs_base &= 0x7fffffffffff;
		return;
	}
	c->sel[SEG_DS] = c->sel[SEG_ES] = c->sel[SEG_FS] = c->sel[SEG_GS] = SEL_DATA;
	if (g->ldt) {
		if (c->mode == MODE_16 || one_in(r, 4))
			c->sel[SEG_CS] = LDT_SEL(c->mode == MODE_16 ? LDT_CODE16 : LDT_CODE32);
		for (unsigned s = 0; s < SEG_COUNT; s++)
			if (s != SEG_CS && s != SEG_SS)
				c->sel[s] = data[rng_below(r, ARRAY_SIZE(data))];
		c->sel[SEG_SS] = stack[rng_below(r, ARRAY_SIZE(stack))];
	}
	c->fs_base = world_seg_base(c->sel[SEG_FS]);
	c->gs_base = world_seg_base(c->sel[SEG_GS]);
}

static void random_registers(struct rng *r, struct diff_case *c)
{
	bool low = c->mode != MODE_64;

	for (unsigned i = 0; i < 16; i++) {
		bool stack = i == R_SP || i == R_BP;

		if (stack || one_in(r, 3)) {
			c->gpr[i] = value_address(r, 8, low);
			if (low)
				c->gpr[i] -= world_seg_base(c->sel[stack ? SEG_SS : SEG_DS]);
		} else {
			c->gpr[i] = value_int(r);
		}
		if (low && i < 8)
			c->gpr[i] = (uint32_t)c->gpr[i];
	}
	if (!one_in(r, 8))
		c->gpr[R_SP] &= ~7ull;
}

static bool uses_x87(const struct decoded_insn *d)
{
	if (d->i.meta.isa_ext == ZYDIS_ISA_EXT_X87 || d->i.meta.category == ZYDIS_CATEGORY_XSAVE)
		return true;
	for (unsigned i = 0; i < d->i.operand_count; i++)
		if (d->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (ZydisRegisterGetClass(d->op[i].reg.value) == ZYDIS_REGCLASS_MMX ||
		     ZydisRegisterGetClass(d->op[i].reg.value) == ZYDIS_REGCLASS_X87))
			return true;
	return d->i.mnemonic == ZYDIS_MNEMONIC_EMMS || d->i.mnemonic == ZYDIS_MNEMONIC_FXRSTOR ||
	       d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE || d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE64;
}

static void random_world(const struct generator *g, struct rng *r, struct diff_case *c, const struct decoded_insn *d)
{
	uint64_t base;

	random_segments(g, r, c);
	base = (c->mode == MODE_64 && one_in(r, 2) ? WORLD_HIGH : WORLD_LOW) + WORLD_CODE;
	c->start = base + random_start(g, r, c->code_len);
	c->rip = c->start - world_seg_base(c->sel[SEG_CS]);
	c->rflags = value_flags(r, c->insn_len && d->i.meta.category == ZYDIS_CATEGORY_STRINGOP);
	random_registers(r, c);
	value_x87(r, &c->fpu, (c->insn_len && uses_x87(d)) || one_in(r, 16));
	value_vectors(r, &c->fpu, g->xcr0);
}

static void make_case(const struct generator *g, struct rng *r, const struct form *f, struct diff_case *c)
{
	struct decoded_insn d;
	struct steer s = { .r = r, .c = c, .d = &d, .ldt = g->ldt };

	c->mode = f->mode;
	if (c->form == NO_FORM || !bytes_of_form(g, r, f, c, &d)) {
		c->form = NO_FORM;
		invalid_bytes(g, r, c, &d);
	} else {
		c->insn_len = c->code_len = d.i.length;
	}
	random_world(g, r, c, &d);
	if (!c->insn_len)
		return;
	c->mnemonic = (uint16_t)d.i.mnemonic;
	steer_encoding(r, c, &d);
	if (!gen_decode(g->catalog, c, &d))
		return;
	steer_special_early(&s);
	steer_operands(&s);
	steer_special(&s);
}

static uint32_t pick_form(const struct generator *g, struct rng *r)
{
	const struct catalog *cat = g->catalog;

	for (unsigned attempt = 0;; attempt++) {
		unsigned mode = pick_share(r, mode_share, CASE_MODES), class = pick_share(r, class_share, FORM_CLASSES);
		const struct mnemonic_forms *m;
		uint32_t n;

		if (g->only) {
			n = g->only[rng_below(r, g->n_only)];
		} else {
			if (mode == MODE_16 && !g->ldt)
				mode = MODE_32;
			if (!cat->group[mode][class].n)
				return NO_FORM;
			m = &cat->mnemonic[cat->group[mode][class].first + rng_below(r, cat->group[mode][class].n)];
			n = m->first + rng_below(r, m->n);
		}
		if (!cat->form[n].foreign || one_in(r, 16) || attempt > 100)
			return n;
	}
}

void gen_case_of_form(const struct generator *g, uint64_t index, uint32_t form, struct diff_case *c)
{
	struct rng r = rng_make(g->seed, index, PURPOSE_CASE);

	memset(c, 0, offsetof(struct diff_case, patch_data));
	c->index = index;
	c->form = form;
	make_case(g, &r, &g->catalog->form[form], c);
}

static void make_block(const struct generator *g, struct rng *r, struct diff_case *c)
{
	static const uint8_t bases[] = { R_BX, R_BP, R_10, R_SP };
	bool low;

	c->form = NO_FORM;
	c->mode = (uint8_t)pick_share(r, mode_share, CASE_MODES);
	if (c->mode == MODE_16 && !g->ldt)
		c->mode = MODE_32;
	low = c->mode != MODE_64;
	block_make(r, c);
	random_world(g, r, c, NULL);
	c->rflags &= ~(FL_TF | FL_AC);
	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		c->gpr[bases[i]] = value_address(r, 8, low);
		if (low)
			c->gpr[bases[i]] = (uint32_t)(c->gpr[bases[i]] - world_seg_base(c->sel[i & 1 ? SEG_SS : SEG_DS]));
	}
}

void gen_case(const struct generator *g, uint64_t index, struct diff_case *c)
{
	struct rng r = rng_make(g->seed, index, PURPOSE_CASE), b = rng_make(g->seed, index, PURPOSE_BLOCK);

	memset(c, 0, offsetof(struct diff_case, patch_data));
	c->index = index;
	if (g->blocks || (!g->only && one_in(&b, BLOCK_ONE_IN))) {
		make_block(g, &b, c);
		return;
	}
	c->form = pick_form(g, &r);
	make_case(g, &r, &g->catalog->form[c->form == NO_FORM ? rng_below(&r, g->catalog->n) : c->form], c);
}
