/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decoding of 64-bit code by patterns: find an instruction's parts, learn patterns from Zydis, fill in what is each instruction's own. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cpu/bt/decode.h"

/* -- Parts ------------------------------------------------------------------------------------------------- */

/*
 * What of an instruction belongs to its pattern, by opcode: n: there is no ModRM, all of it (a number of a register is in the
 * opcode and REX). m: whether ModRM says memory. g: the same, and ModRM.reg. x: the
 * same, and of a register all of ModRM. Dot: leave it to Zydis.
 */
static const char kind_of[2][257] = {
	"mmmmnn..mmmmnn.." /* 00 */
	"mmmmnn..mmmmnn.."
	"mmmmnn..mmmmnn.."
	"mmmmnn..mmmmnn.."
	"................" /* 40: REX */
	"nnnnnnnnnnnnnnnn"
	"...m....nmnm...."
	"nnnnnnnnnnnnnnnn"
	"gg.gmmmmmmmm.m.g" /* 80 */
	"nnnnnnnnnn..nnnn"
	"....nnnnnnnnnnnn"
	"nnnnnnnnnnnnnnnn"
	"ggnn..xx.n..nn.n" /* c0 */
	"gggg............"
	"nnnnnnnnnn.nnnnn"
	"....nnggnnnnnngg",
	".x...nnn.n.n.g.." /* 0f 00 */
	"mmmmmmmmg.....xg"
	"........mmmmmmmm"
	"nnnn............"
	"mmmmmmmmmmmmmmmm" /* 0f 40 */
	"mmmmmmmmmmmmmmmm"
	"mmmmmmmmmmmmmmmm"
	"mgggmmmn....mmmm"
	"nnnnnnnnnnnnnnnn" /* 0f 80 */
	"mmmmmmmmmmmmmmmm"
	"nnnmmm..nn.mmmxm"
	"mm.m..mmm.gmmmmm"
	"mmmmmmmgnnnnnnnn" /* 0f c0 */
	"mmmmmmmmmmmmmmmm"
	"mmmmmmmmmmmmmmmm"
	"mmmmmmmmmmmmmmm.",
};

#define PATTERN_HASH    2654435761u /* Knuth's multiplicative hash: 2^32 / golden ratio */
#define MAX_PREFIXES 2 /* without REX */

struct parts {
	const uint8_t *bytes;
	unsigned len;          /* at most */
	uint32_t key;
	uint8_t prefixes;      /* without REX */
	uint8_t rex, rex_at;
	uint8_t map, opcode;
	bool has_modrm, has_sib;
	uint8_t modrm, sib;
	uint8_t disp_bytes;
	uint8_t at;            /* of what follows opcode, ModRM and SIB */
};

static unsigned prefix_number(uint8_t byte)
{
	switch (byte) {
	case 0x66: return 1;
	case 0xf2: return 2;
	case 0xf3: return 3;
	case 0xf0: return 4;
	case 0x64: return 5;
	case 0x65: return 6;
	default: return 0;
	}
}

static unsigned modrm_mod(const struct parts *p)
{
	return p->modrm >> 6;
}

static unsigned modrm_rm(const struct parts *p)
{
	return p->modrm & 7;
}

static void split_modrm(struct parts *p)
{
	p->has_modrm = true;
	p->modrm = p->bytes[p->at++];
	if (modrm_mod(p) == 3)
		return;
	p->has_sib = modrm_rm(p) == 4;
	if (p->has_sib)
		p->sib = p->bytes[p->at++];
	if (modrm_mod(p) == 1)
		p->disp_bytes = 1;
	else if (modrm_mod(p) == 2 || modrm_rm(p) == 5 || (p->has_sib && (p->sib & 7) == 5))
		p->disp_bytes = 4;
}

/* The parts of an instruction in front of its displacement, and its pattern's key; false: no pattern's. */
static bool split(struct parts *p, const uint8_t *bytes, unsigned len)
{
	unsigned n, variant = 0;
	uint32_t key = 1;
	char kind;

	*p = (struct parts){ .bytes = bytes, .len = len };
	while ((n = prefix_number(bytes[p->at]))) {
		if (p->prefixes++ == MAX_PREFIXES)
			return false;
		key = key << 3 | n;
		p->at++;
	}
	if ((bytes[p->at] & 0xf0) == 0x40) {
		p->rex_at = p->at;
		p->rex = bytes[p->at++];
		key = key << 2 | 2 | (p->rex >> 3 & 1);
	} else {
		key <<= 2;
	}
	p->map = bytes[p->at] == 0x0f;
	p->at = (uint8_t)(p->at + p->map);
	p->opcode = bytes[p->at++];
	kind = kind_of[p->map][p->opcode];
	if (kind == '.')
		return false;
	if (kind == 'n') {
		variant = p->rex & 7;
	} else {
		split_modrm(p);
		variant = modrm_mod(p) == 3;
		if (kind == 'x' && variant)
			variant = p->modrm;
		else if (kind != 'm')
			variant |= p->modrm >> 2 & 0xe;
	}
	p->key = key << 17 | (uint32_t)p->map << 16 | (uint32_t)p->opcode << 8 | variant;
	return true;
}

static int64_t load_signed(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return n && n < 8 ? (int64_t)(v << (64 - 8 * n)) >> (64 - 8 * n) : (int64_t)v;
}

/* -- Filling in -------------------------------------------------------------------------------------------- */

/* What struct bt_pattern_op says of a segment beside ES to GS. */
#define SEGMENT_NONE    6
#define SEGMENT_OF_BASE 7 /* SS for RSP and RBP, else DS */

enum fill { FILL_NONE, FILL_REGISTER, FILL_REG, FILL_RM, FILL_MEMORY, FILL_FIXED_MEMORY, FILL_IMM, FILL_CONSTANT };

static const uint8_t fill_type[] = {
	[FILL_REGISTER] = ZYDIS_OPERAND_TYPE_REGISTER, [FILL_REG] = ZYDIS_OPERAND_TYPE_REGISTER,
	[FILL_RM] = ZYDIS_OPERAND_TYPE_REGISTER, [FILL_MEMORY] = ZYDIS_OPERAND_TYPE_MEMORY,
	[FILL_FIXED_MEMORY] = ZYDIS_OPERAND_TYPE_MEMORY, [FILL_IMM] = ZYDIS_OPERAND_TYPE_IMMEDIATE,
	[FILL_CONSTANT] = ZYDIS_OPERAND_TYPE_IMMEDIATE,
};

/* Register n of the kind whose number 0 is `zero`. */
static ZydisRegister numbered(const struct parts *p, unsigned zero, unsigned n)
{
	if (zero == ZYDIS_REGISTER_AL && p->rex && n >= 4)
		n += ZYDIS_REGISTER_SPL - ZYDIS_REGISTER_AH;
	else if (zero == ZYDIS_REGISTER_MM0)
		n &= 7;
	return (ZydisRegister)(zero + n);
}

/* The memory operand of ModRM. */
static void fill_memory(const struct parts *p, const struct bt_pattern_op *f, int64_t disp, ZydisDecodedOperandMem *m)
{
	unsigned base = p->has_sib ? p->sib & 7 : modrm_rm(p), index = p->sib >> 3 & 7;

	if (p->has_sib) {
		index |= (p->rex & 2) << 2;
		if (index != 4) {
			m->index = (ZydisRegister)(ZYDIS_REGISTER_RAX + (int)index);
			m->scale = (uint8_t)(1 << (p->sib >> 6));
		}
	}
	if (base == 5 && !modrm_mod(p))
		m->base = p->has_sib ? ZYDIS_REGISTER_NONE : ZYDIS_REGISTER_RIP;
	else
		m->base = (ZydisRegister)(ZYDIS_REGISTER_RAX + (int)(base | (p->rex & 1) << 3));
	if (f->segment == SEGMENT_OF_BASE)
		m->segment = m->base == ZYDIS_REGISTER_RSP || m->base == ZYDIS_REGISTER_RBP ? ZYDIS_REGISTER_SS : ZYDIS_REGISTER_DS;
	else if (f->segment != SEGMENT_NONE)
		m->segment = (ZydisRegister)(ZYDIS_REGISTER_ES + f->segment);
	m->disp.has_displacement = p->disp_bytes != 0;
	m->disp.value = disp;
}

static void fill_operand(const struct parts *p, const struct bt_pattern_op *f, const ZydisDecodedInstruction *i, ZydisDecodedOperand *o)
{
	o->visibility = (ZydisOperandVisibility)f->visibility;
	o->actions = f->actions;
	o->encoding = (ZydisOperandEncoding)f->encoding;
	o->size = f->size;
	o->element_type = (ZydisElementType)f->element_type;
	o->element_size = f->element_size;
	o->element_count = f->element_count;
	o->type = (ZydisOperandType)fill_type[f->fill];
	switch (f->fill) {
	case FILL_REGISTER:
		o->reg.value = (ZydisRegister)f->reg;
		break;
	case FILL_REG:
		o->reg.value = numbered(p, f->reg, (p->modrm >> 3 & 7u) | (p->rex & 4u) << 1);
		break;
	case FILL_RM:
		o->reg.value = numbered(p, f->reg, modrm_rm(p) | (p->rex & 1u) << 3);
		break;
	case FILL_MEMORY:
		o->mem.type = (ZydisMemoryOperandType)f->mem_type;
		fill_memory(p, f, i->raw.disp.value, &o->mem);
		break;
	case FILL_FIXED_MEMORY:
		o->mem.type = (ZydisMemoryOperandType)f->mem_type;
		o->mem.base = (ZydisRegister)f->reg;
		o->mem.segment = (ZydisRegister)(ZYDIS_REGISTER_ES + f->segment);
		break;
	case FILL_IMM:
		o->imm.is_signed = i->raw.imm[0].is_signed;
		o->imm.is_relative = i->raw.imm[0].is_relative;
		o->imm.value.u = i->raw.imm[0].value.u;
		break;
	default:
		o->imm.value.u = f->reg;
		break;
	}
}

static void fill_prefixes(const struct parts *p, const struct bt_pattern *f, ZydisDecodedInstruction *i)
{
	i->raw.prefix_count = (uint8_t)(p->prefixes + (p->rex != 0));
	for (unsigned n = 0; n < i->raw.prefix_count; n++) {
		i->raw.prefixes[n].type = (ZydisPrefixType)f->prefix_type[n];
		i->raw.prefixes[n].value = p->bytes[n];
	}
	if (!p->rex)
		return;
	i->raw.rex.W = p->rex >> 3 & 1;
	i->raw.rex.R = p->rex >> 2 & 1;
	i->raw.rex.X = p->rex >> 1 & 1;
	i->raw.rex.B = p->rex & 1;
	i->raw.rex.offset = p->rex_at;
}

static void fill_address(const struct parts *p, ZydisDecodedInstruction *i)
{
	i->raw.modrm.mod = (uint8_t)modrm_mod(p);
	i->raw.modrm.reg = p->modrm >> 3 & 7;
	i->raw.modrm.rm = (uint8_t)modrm_rm(p);
	i->raw.modrm.offset = (uint8_t)(p->at - 1 - p->has_sib);
	if (p->has_sib) {
		i->attributes |= ZYDIS_ATTRIB_HAS_SIB;
		i->raw.sib.scale = p->sib >> 6;
		i->raw.sib.index = p->sib >> 3 & 7;
		i->raw.sib.base = p->sib & 7;
		i->raw.sib.offset = (uint8_t)(p->at - 1);
	}
	if (!modrm_mod(p) && modrm_rm(p) == 5)
		i->attributes |= ZYDIS_ATTRIB_IS_RELATIVE;
	if (p->disp_bytes) {
		i->raw.disp.value = load_signed(p->bytes + p->at, p->disp_bytes);
		i->raw.disp.size = (uint8_t)(p->disp_bytes * 8);
		i->raw.disp.offset = p->at;
	}
}

static void fill_immediate(const struct parts *p, const struct bt_pattern *f, ZydisDecodedInstruction *i)
{
	unsigned at = p->at + p->disp_bytes;

	if (!f->imm_bytes)
		return;
	i->raw.imm[0].is_signed = f->imm_signed;
	i->raw.imm[0].is_relative = f->imm_relative;
	i->raw.imm[0].size = (uint8_t)(f->imm_bytes * 8);
	i->raw.imm[0].offset = (uint8_t)at;
	if (f->imm_signed)
		i->raw.imm[0].value.s = load_signed(p->bytes + at, f->imm_bytes);
	else
		memcpy(&i->raw.imm[0].value.u, p->bytes + at, f->imm_bytes);
}

/* False: it is longer than it may be. */
static bool fill(const struct parts *p, const struct bt_pattern *f, ZydisDecodedInstruction *i, ZydisDecodedOperand *op)
{
	unsigned len = p->at + p->disp_bytes + f->imm_bytes;

	if (len > p->len)
		return false;
	memset(i, 0, sizeof(*i));
	i->machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
	i->mnemonic = (ZydisMnemonic)f->mnemonic;
	i->length = (uint8_t)len;
	i->encoding = ZYDIS_INSTRUCTION_ENCODING_LEGACY;
	i->opcode_map = p->map ? ZYDIS_OPCODE_MAP_0F : ZYDIS_OPCODE_MAP_DEFAULT;
	i->opcode = p->opcode;
	i->stack_width = f->stack_width;
	i->operand_width = f->operand_width;
	i->address_width = f->address_width;
	i->operand_count = f->operands;
	i->operand_count_visible = f->operands_visible;
	i->attributes = f->attributes;
	i->cpu_flags = f->cpu_flags;
	i->fpu_flags = f->fpu_flags;
	i->meta.category = (ZydisInstructionCategory)f->category;
	i->meta.isa_set = (ZydisISASet)f->isa_set;
	i->meta.isa_ext = (ZydisISAExt)f->isa_ext;
	i->meta.branch_type = (ZydisBranchType)f->branch_type;
	i->meta.exception_class = (ZydisExceptionClass)f->exception_class;
	fill_prefixes(p, f, i);
	if (p->has_modrm)
		fill_address(p, i);
	fill_immediate(p, f, i);
	if (!op)
		return true;
	memset(op, 0, sizeof(*op) * MAX(f->operands, BT_DECODE_OPS));
	for (unsigned n = 0; n < f->operands; n++) {
		op[n].id = (uint8_t)n;
		fill_operand(p, &f->op[n], i, &op[n]);
	}
	return true;
}

#define OWN_ATTRIBUTES (ZYDIS_ATTRIB_HAS_SIB | ZYDIS_ATTRIB_IS_RELATIVE) /* that fill_address() finds */

/* -- Learning ------------------------------------------------------------------------------------------------ */

static bool learn_register(struct bt_pattern_op *f, const ZydisDecodedOperand *o)
{
	static const struct {
		ZydisRegisterClass class;
		ZydisRegister zero;
	} kinds[] = {
		{ ZYDIS_REGCLASS_GPR8, ZYDIS_REGISTER_AL }, { ZYDIS_REGCLASS_GPR16, ZYDIS_REGISTER_AX },
		{ ZYDIS_REGCLASS_GPR32, ZYDIS_REGISTER_EAX }, { ZYDIS_REGCLASS_GPR64, ZYDIS_REGISTER_RAX },
		{ ZYDIS_REGCLASS_MMX, ZYDIS_REGISTER_MM0 }, { ZYDIS_REGCLASS_XMM, ZYDIS_REGISTER_XMM0 },
	};

	f->fill = o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ? FILL_REG : o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ? FILL_RM : FILL_REGISTER;
	f->reg = (uint16_t)o->reg.value;
	if (f->fill == FILL_REGISTER)
		return o->encoding == ZYDIS_OPERAND_ENCODING_NONE || o->encoding == ZYDIS_OPERAND_ENCODING_OPCODE;
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (kinds[k].class == ZydisRegisterGetClass(o->reg.value)) {
			f->reg = (uint16_t)kinds[k].zero;
			return true;
		}
	}
	return false;
}

static void learn_memory(struct bt_pattern_op *f, const ZydisDecodedOperand *o)
{
	f->mem_type = (uint8_t)o->mem.type & 7;
	f->segment = o->mem.segment == ZYDIS_REGISTER_NONE ? SEGMENT_NONE : (uint8_t)(o->mem.segment - ZYDIS_REGISTER_ES) & 7;
	if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
		f->fill = FILL_MEMORY;
		if (o->mem.segment == ZYDIS_REGISTER_DS || o->mem.segment == ZYDIS_REGISTER_SS)
			f->segment = SEGMENT_OF_BASE;
	} else {
		f->fill = FILL_FIXED_MEMORY;
		f->reg = (uint16_t)o->mem.base;
	}
}

static bool learn_operand(struct bt_pattern_op *f, const ZydisDecodedInstruction *i, const ZydisDecodedOperand *o)
{
	*f = (struct bt_pattern_op){
		.size = o->size, .element_size = o->element_size, .element_count = o->element_count, .actions = o->actions,
		.encoding = (uint8_t)o->encoding, .element_type = (uint8_t)o->element_type & 15, .visibility = (uint8_t)o->visibility & 3,
	};
	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return learn_register(f, o);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		learn_memory(f, o);
		return true;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		f->fill = i->raw.imm[0].size ? FILL_IMM : FILL_CONSTANT;
		f->reg = (uint16_t)o->imm.value.u;
		return true;
	default:
		return false;
	}
}

static bool learn(struct bt_pattern *f, const struct parts *p, const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
	*f = (struct bt_pattern){
		.key = p->key, .mnemonic = (uint16_t)i->mnemonic, .imm_bytes = i->raw.imm[0].size / 8,
		.imm_signed = i->raw.imm[0].is_signed & 1, .imm_relative = i->raw.imm[0].is_relative & 1,
		.attributes = i->attributes & ~(p->has_modrm ? OWN_ATTRIBUTES : 0), .cpu_flags = i->cpu_flags, .fpu_flags = i->fpu_flags,
		.operands = i->operand_count, .operands_visible = i->operand_count_visible, .stack_width = i->stack_width,
		.operand_width = i->operand_width, .address_width = i->address_width, .category = (uint8_t)i->meta.category,
		.isa_set = (uint8_t)i->meta.isa_set, .isa_ext = (uint8_t)i->meta.isa_ext, .branch_type = (uint8_t)i->meta.branch_type,
		.exception_class = (uint8_t)i->meta.exception_class,
	};
	if (i->operand_count > BT_PATTERN_OPS)
		return false;
	for (unsigned n = 0; n < i->raw.prefix_count; n++)
		f->prefix_type[n] = (uint8_t)i->raw.prefixes[n].type;
	for (unsigned n = 0; n < i->operand_count; n++)
		if (!learn_operand(&f->op[n], i, &op[n]))
			return false;
	return true;
}

/* What is made of the pattern for the instruction it was learned from is what Zydis said, to the byte. */
static bool holds(const struct bt_pattern *f, const struct parts *p, const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
	ZydisDecodedOperand op2[BT_PATTERN_OPS];
	ZydisDecodedInstruction i2;

	return fill(p, f, &i2, op2) && !memcmp(i, &i2, sizeof(i2)) && !memcmp(op, op2, sizeof(*op) * i->operand_count);
}

struct bt_patterns *bt_patterns_new(void)
{
	struct bt_patterns *f = aligned_alloc(_Alignof(struct bt_patterns), sizeof(*f));

	if (f)
		memset(f, 0, sizeof(*f));
	return f;
}

bool bt_decode(struct bt_patterns *patterns, const ZydisDecoder *d, const uint8_t bytes[BT_DECODE_BYTES], unsigned len,
	       ZydisDecodedInstruction *i, ZydisDecodedOperand *op)
{
	ZydisDecodedOperand all[ZYDIS_MAX_OPERAND_COUNT];
	struct bt_pattern *f;
	struct parts p;

	if (!patterns || !split(&p, bytes, len))
		return ZYAN_SUCCESS(op ? ZydisDecoderDecodeFull(d, bytes, len, i, op) : ZydisDecoderDecodeInstruction(d, NULL, bytes, len, i));
	f = &patterns->pattern[p.key * PATTERN_HASH >> (32 - BT_PATTERNS_LOG2)];
	if (f->key == p.key && !f->refused)
		return fill(&p, f, i, op);
	if (!op)
		op = all;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(d, bytes, len, i, op)))
		return false;
	if (f->key != p.key)
		f->refused = !learn(f, &p, i, op) || !holds(f, &p, i, op);
	return true;
}
