/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Enumeration of all encodings that the decoder knows, cut down to one form for each way of encoding a mnemonic. */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "catalog.h"

const char *const class_names[FORM_CLASSES] = { "int", "stack", "branch", "string", "x87",   "mmx",
						"sse", "avx",   "avx512", "system", "xsave", "invalid" };

static const uint8_t pp_byte[4] = { 0, 0x66, 0xf3, 0xf2 };

struct builder {
	struct catalog *c;
	uint32_t cap;
	ZydisDecodedInstruction in; /* of the last try */
	bool full;
};

static unsigned emit_legacy(const struct form *f, const struct encoding *enc, uint8_t *out)
{
	static const uint8_t escape[5][2] = { { 0, 0 }, { 0x0f, 0 }, { 0x0f, 0x38 }, { 0x0f, 0x3a }, { 0x0f, 0x0f } };
	unsigned n = 0;

	if (f->mode == MODE_64 && (enc->rex || f->w || enc->r || enc->x || enc->b))
		out[n++] = (uint8_t)(0x40 | f->w << 3 | enc->r << 2 | enc->x << 1 | enc->b);
	for (unsigned i = 0; i < 2 && escape[f->map][i]; i++)
		out[n++] = escape[f->map][i];
	if (f->map != 4)
		out[n++] = f->opcode;
	out[n++] = enc->modrm;
	return n;
}

static unsigned emit_vex(const struct form *f, const struct encoding *enc, uint8_t *out)
{
	bool short_form = f->kind == FORM_VEX && f->map == 1 && !f->w && !enc->x && !enc->b && !enc->rex;
	uint8_t tail = (uint8_t)((~enc->vvvv & 15) << 3 | enc->l << 2 | f->pp);
	unsigned n = 0;

	if (short_form) {
		out[n++] = 0xc5;
		out[n++] = (uint8_t)((enc->r ^ 1) << 7 | tail);
	} else {
		out[n++] = f->kind == FORM_VEX ? 0xc4 : 0x8f;
		out[n++] = (uint8_t)((enc->r ^ 1) << 7 | (enc->x ^ 1) << 6 | (enc->b ^ 1) << 5 | f->map);
		out[n++] = (uint8_t)(f->w << 7 | tail);
	}
	out[n++] = f->opcode;
	out[n++] = enc->modrm;
	return n;
}

static unsigned emit_evex(const struct form *f, const struct encoding *enc, uint8_t *out)
{
	out[0] = 0x62;
	out[1] = (uint8_t)((enc->r ^ 1) << 7 | (enc->x ^ 1) << 6 | (enc->b ^ 1) << 5 | (enc->r2 ^ 1) << 4 | f->map);
	out[2] = (uint8_t)(f->w << 7 | (~enc->vvvv & 15) << 3 | 4 | f->pp);
	out[3] = (uint8_t)(enc->z << 7 | enc->l << 5 | enc->bc << 4 | (enc->v2 ^ 1) << 3 | enc->aaa);
	out[4] = f->opcode;
	out[5] = enc->modrm;
	return 6;
}

unsigned form_emit(const struct form *f, const struct encoding *enc, uint8_t *out)
{
	unsigned n = enc->n_prefixes;

	memcpy(out, enc->prefix, n);
	switch (f->kind) {
	case FORM_LEGACY:
		return n + emit_legacy(f, enc, out + n);
	case FORM_EVEX:
		return n + emit_evex(f, enc, out + n);
	default:
		return n + emit_vex(f, enc, out + n);
	}
}

struct encoding form_default(const struct form *f)
{
	unsigned reg = f->reg < 0 ? 0 : (unsigned)f->reg, rm = f->rm < 0 ? 0 : (unsigned)f->rm;
	struct encoding enc = { .vvvv = f->vvvv, .aaa = f->aaa, .l = f->l };

	if (f->kind == FORM_LEGACY && f->pp)
		enc.prefix[enc.n_prefixes++] = pp_byte[f->pp];
	/* Memory by SIB, so that gathers decode; in 16-bit addressing the SIB byte is just something that follows. */
	enc.modrm = (uint8_t)(f->mem ? reg << 3 | 4 : 0xc0 | reg << 3 | rm);
	return enc;
}

/* Decode the form's default encoding; true if it is an instruction. */
static bool try_form(struct builder *b, const struct form *f)
{
	struct encoding enc = form_default(f);
	uint8_t buf[40] = { 0 };
	unsigned n = form_emit(f, &enc, buf);

	if (f->mem)
		buf[n] = 0x08; /* [rax + rcx], or [xmm1 + rax] */
	if (f->kind == FORM_LEGACY && f->map == 4)
		buf[n + (f->mem ? 1 : 0)] = f->opcode;
	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&b->c->decoder[f->mode], NULL, buf, sizeof(buf), &b->in));
}

/* Encodings whose vvvv or mask must be something, and the others, for which it must be nothing. */
static bool try_operands(struct builder *b, struct form *f)
{
	static const uint8_t choice[][2] = { { 0, 0 }, { 0, 1 }, { 2, 0 }, { 2, 1 } }; /* vvvv, aaa */

	for (unsigned i = 0; i < ARRAY_SIZE(choice); i++) {
		f->vvvv = choice[i][0];
		f->aaa = choice[i][1];
		if (try_form(b, f))
			return true;
		if (f->kind == FORM_LEGACY || (f->kind != FORM_EVEX && i == 2))
			return false;
		if (f->kind != FORM_EVEX)
			i++;
	}
	return false;
}

static enum form_class classify(const ZydisDecodedInstruction *in)
{
	switch (in->meta.category) {
	case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_UNCOND_BR: case ZYDIS_CATEGORY_COND_BR:
		return CLASS_BRANCH;
	case ZYDIS_CATEGORY_PUSH: case ZYDIS_CATEGORY_POP:
		return CLASS_STACK;
	case ZYDIS_CATEGORY_STRINGOP:
		return CLASS_STRING;
	case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP: case ZYDIS_CATEGORY_SYSTEM: case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET: case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_SEGOP: case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_SMAP: case ZYDIS_CATEGORY_SGX: case ZYDIS_CATEGORY_RDWRFSGS: case ZYDIS_CATEGORY_PKU:
	case ZYDIS_CATEGORY_PCONFIG: case ZYDIS_CATEGORY_CET:
		return CLASS_SYSTEM;
	case ZYDIS_CATEGORY_XSAVE: case ZYDIS_CATEGORY_XSAVEOPT:
		return CLASS_XSAVE;
	case ZYDIS_CATEGORY_BMI1: case ZYDIS_CATEGORY_BMI2:
		return CLASS_INT;
	case ZYDIS_CATEGORY_KMASK:
		return CLASS_AVX512;
	default:
		break;
	}
	switch (in->meta.isa_ext) {
	case ZYDIS_ISA_EXT_X87:
		return CLASS_X87;
	case ZYDIS_ISA_EXT_MMX: case ZYDIS_ISA_EXT_AMD3DNOW:
		return CLASS_MMX;
	case ZYDIS_ISA_EXT_SSE: case ZYDIS_ISA_EXT_SSE2: case ZYDIS_ISA_EXT_SSE3: case ZYDIS_ISA_EXT_SSSE3:
	case ZYDIS_ISA_EXT_SSE4: case ZYDIS_ISA_EXT_SSE4A: case ZYDIS_ISA_EXT_AES: case ZYDIS_ISA_EXT_SHA:
	case ZYDIS_ISA_EXT_PCLMULQDQ:
		return CLASS_SSE;
	default:
		break;
	}
	if (in->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return CLASS_AVX512;
	return in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ? CLASS_INT : CLASS_AVX;
}

static void add_form(struct builder *b, struct form f, const ZydisDecodedInstruction *in)
{
	struct catalog *c = b->c;

	if (catalog_excluded((uint16_t)in->mnemonic))
		return;
	if (c->n == b->cap) {
		struct form *more = realloc(c->form, (b->cap * 2 + 4096) * sizeof(*more));

		if (!more) {
			b->full = true;
			return;
		}
		c->form = more;
		b->cap = b->cap * 2 + 4096;
	}
	f.mnemonic = (uint16_t)in->mnemonic;
	f.class = (uint8_t)classify(in);
	f.has_modrm = in->attributes & ZYDIS_ATTRIB_HAS_MODRM;
	c->form[c->n++] = f;
}

/* A prefix or REX.W that changes nothing makes no form of its own. */
static bool redundant(struct builder *b, const struct form *f)
{
	ZydisDecodedInstruction in = b->in;
	struct form plain = *f;
	bool same = false;

	if (f->kind != FORM_LEGACY || (!f->pp && !f->w))
		return false;
	if (f->pp >= 2 && !(in.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))) {
		plain.pp = 0;
		same = try_form(b, &plain) && b->in.mnemonic == in.mnemonic;
	} else if (f->w) {
		plain.w = 0;
		same = try_form(b, &plain) && b->in.mnemonic == in.mnemonic &&
		       b->in.operand_width == in.operand_width;
	}
	b->in = in;
	return same;
}

/* With ModRM.reg given: one form, or one for each ModRM.rm that makes a mnemonic of its own. */
static void add_by_rm(struct builder *b, struct form f)
{
	ZydisDecodedInstruction first;
	bool any = false, differ = false;

	for (int rm = 0; rm < 8; rm++) {
		f.rm = (int8_t)rm;
		if (!try_operands(b, &f)) {
			differ = true;
			continue;
		}
		if (any && b->in.mnemonic != first.mnemonic)
			differ = true;
		first = b->in;
		any = true;
	}
	if (!any)
		return;
	if (!differ) {
		f.rm = -1;
		add_form(b, f, &first);
		return;
	}
	for (int rm = 0; rm < 8; rm++) {
		f.rm = (int8_t)rm;
		if (try_operands(b, &f))
			add_form(b, f, &b->in);
	}
}

/* Opcodes in which ModRM.rm of a register operand is part of the opcode. */
static bool rm_matters(const struct form *f)
{
	if (f->kind != FORM_LEGACY || f->mem)
		return false;
	if (f->map == 0)
		return (f->opcode & 0xf8) == 0xd8 || f->opcode == 0xc6 || f->opcode == 0xc7;
	return f->map == 1 && (f->opcode == 0x01 || f->opcode == 0xae || f->opcode == 0x1e || f->opcode == 0xa7 ||
			       f->opcode == 0xa6);
}

static void add_by_reg(struct builder *b, struct form f)
{
	ZydisDecodedInstruction first;
	unsigned valid = 0;
	bool differ = false;

	f.rm = -1;
	for (int reg = 0; reg < 8; reg++) {
		f.reg = (int8_t)reg;
		if (!try_operands(b, &f))
			continue;
		if (valid++ && b->in.mnemonic != first.mnemonic)
			differ = true;
		first = b->in;
	}
	if (rm_matters(&f)) {
		for (int reg = 0; reg < 8; reg++) {
			f.reg = (int8_t)reg;
			add_by_rm(b, f);
		}
		return;
	}
	/* Six of eight: gathers and segment or control registers refuse some numbers without being groups. */
	if (valid && !differ && (valid >= 6 || f.kind == FORM_VEX)) {
		f.reg = -1;
		if (valid == 8 || !try_operands(b, &f))
			b->in = first;
		if (!redundant(b, &f))
			add_form(b, f, &first);
		return;
	}
	for (int reg = 0; valid && reg < 8; reg++) {
		f.reg = (int8_t)reg;
		if (try_operands(b, &f) && !redundant(b, &f))
			add_form(b, f, &b->in);
	}
}

static bool is_prefix(uint8_t op, uint8_t mode)
{
	static const uint8_t prefixes[] = { 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 };

	if (memchr(prefixes, op, sizeof(prefixes)))
		return true;
	return mode == MODE_64 && ((op & 0xf0) == 0x40 || op == 0xc4 || op == 0xc5 || op == 0x62);
}

static void add_legacy(struct builder *b, uint8_t mode)
{
	for (unsigned i = 0; i < 5u << 12; i++) {
		struct form f = { .mode = mode, .kind = FORM_LEGACY, .map = (uint8_t)(i >> 12),
				  .opcode = (uint8_t)(i >> 4), .pp = i & 3, .w = i >> 2 & 1, .mem = i >> 3 & 1 };

		if ((f.w && mode != MODE_64) || (f.map == 0 && is_prefix(f.opcode, mode)))
			continue;
		if (f.map == 1 && (f.opcode == 0x38 || f.opcode == 0x3a || f.opcode == 0x0f))
			continue;
		if (f.map == 4 && (f.pp || f.w))
			continue;
		add_by_reg(b, f);
	}
}

/* VEX, EVEX and XOP: like the above, but the prefixes are within. */
static void add_vector(struct builder *b, uint8_t mode, enum form_kind kind)
{
	static const uint8_t maps[4][6] = { [FORM_VEX] = { 1, 2, 3 }, [FORM_EVEX] = { 1, 2, 3, 5, 6 },
					    [FORM_XOP] = { 8, 9, 10 } };
	unsigned lengths = kind == FORM_EVEX ? 3 : 2, pps = kind == FORM_XOP ? 1 : 4;

	for (const uint8_t *map = maps[kind]; *map; map++)
		for (unsigned i = 0; i < 256 * 4 * 3 * 4; i++) {
			struct form f = { .mode = mode, .kind = (uint8_t)kind, .map = *map, .opcode = (uint8_t)(i / 48),
					  .mem = i & 1, .w = i >> 1 & 1, .pp = i >> 2 & 3, .l = (uint8_t)(i / 16 % 3) };

			if (f.l < lengths && f.pp < pps)
				add_by_reg(b, f);
		}
}

static int compare_forms(const void *pa, const void *pb)
{
	const struct form *a = pa, *b = pb;

	if (a->mode != b->mode)
		return a->mode - b->mode;
	if (a->class != b->class)
		return a->class - b->class;
	if (a->mnemonic != b->mnemonic)
		return a->mnemonic - b->mnemonic;
	return memcmp(a, b, sizeof(*a));
}

static int index_forms(struct catalog *c)
{
	uint32_t n = 0;

	c->mnemonic = calloc(c->n, sizeof(*c->mnemonic));
	if (!c->mnemonic)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct form *f = &c->form[i];

		if (i == 0 || f->mnemonic != f[-1].mnemonic || f->mode != f[-1].mode || f->class != f[-1].class) {
			if (!c->group[f->mode][f->class].n++)
				c->group[f->mode][f->class].first = n;
			c->mnemonic[n++] = (struct mnemonic_forms){ f->mnemonic, i, 0 };
		}
		c->mnemonic[n - 1].n++;
	}
	return 0;
}

/* AMD's processors heed 66 on near branches in 64-bit mode, others do not. */
static bool host_is_amd(void)
{
	uint32_t a, b, c, d;

	__cpuid(0, a, b, c, d);
	return b == 0x68747541 || b == 0x6f677948; /* "Auth", "Hygo" */
}

int catalog_init(struct catalog *c, struct err *e)
{
	static const ZydisMachineMode modes[CASE_MODES] = { ZYDIS_MACHINE_MODE_LONG_64,
							    ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
							    ZYDIS_MACHINE_MODE_LONG_COMPAT_16 };
	struct builder b = { .c = c };

	memset(c, 0, sizeof(*c));
	for (unsigned m = 0; m < CASE_MODES; m++) {
		ZydisDecoderInit(&c->decoder[m], modes[m], m == MODE_64 ? ZYDIS_STACK_WIDTH_64 :
				 m == MODE_32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
		ZydisDecoderEnableMode(&c->decoder[m], ZYDIS_DECODER_MODE_AMD_BRANCHES, host_is_amd());
		add_legacy(&b, (uint8_t)m);
		add_vector(&b, (uint8_t)m, FORM_VEX);
		add_vector(&b, (uint8_t)m, FORM_EVEX);
		add_vector(&b, (uint8_t)m, FORM_XOP);
	}
	if (b.full || c->n == 0)
		return err_set(e, ENOMEM, "catalogue: out of memory");
	qsort(c->form, c->n, sizeof(*c->form), compare_forms);
	return index_forms(c) < 0 ? err_set(e, ENOMEM, "catalogue: out of memory") : 0;
}

void catalog_release(struct catalog *c)
{
	free(c->form);
	free(c->mnemonic);
}
