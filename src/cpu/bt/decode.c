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
static uint16_t numbered(const struct parts *p, unsigned zero, unsigned n)
{
	if (zero == ZYDIS_REGISTER_AL && p->rex && n >= 4)
		n += ZYDIS_REGISTER_SPL - ZYDIS_REGISTER_AH;
	else if (zero == ZYDIS_REGISTER_MM0)
		n &= 7;
	return (uint16_t)(zero + n);
}

/* The memory operand of ModRM. */
static void fill_memory(const struct parts *p, const struct bt_pattern_op *f, int64_t disp, struct bt_memory *m)
{
	unsigned base = p->has_sib ? p->sib & 7 : modrm_rm(p), index = p->sib >> 3 & 7;

	if (p->has_sib) {
		index |= (p->rex & 2) << 2;
		if (index != 4) {
			m->index = (uint16_t)(ZYDIS_REGISTER_RAX + (int)index);
			m->scale = (uint8_t)(1 << (p->sib >> 6));
		}
	}
	if (base == 5 && !modrm_mod(p))
		m->base = p->has_sib ? ZYDIS_REGISTER_NONE : ZYDIS_REGISTER_RIP;
	else
		m->base = (uint16_t)(ZYDIS_REGISTER_RAX + (int)(base | (p->rex & 1) << 3));
	if (f->segment == SEGMENT_OF_BASE)
		m->segment = m->base == ZYDIS_REGISTER_RSP || m->base == ZYDIS_REGISTER_RBP ? ZYDIS_REGISTER_SS : ZYDIS_REGISTER_DS;
	else if (f->segment != SEGMENT_NONE)
		m->segment = (uint16_t)(ZYDIS_REGISTER_ES + f->segment);
	m->disp.value = disp;
}

static void fill_operand(const struct parts *p, const struct bt_pattern_op *f, const struct bt_decoded *i, struct bt_operand *o)
{
	o->type = fill_type[f->fill];
	o->visibility = f->visibility;
	o->actions = f->actions;
	o->encoding = f->encoding;
	o->size = f->size;
	switch (f->fill) {
	case FILL_REGISTER:
		o->reg.value = f->reg;
		break;
	case FILL_REG:
		o->reg.value = numbered(p, f->reg, (p->modrm >> 3 & 7u) | (p->rex & 4u) << 1);
		break;
	case FILL_RM:
		o->reg.value = numbered(p, f->reg, modrm_rm(p) | (p->rex & 1u) << 3);
		break;
	case FILL_MEMORY:
		o->mem.type = f->mem_type;
		fill_memory(p, f, i->raw.disp.value, &o->mem);
		break;
	case FILL_FIXED_MEMORY:
		o->mem.type = f->mem_type;
		o->mem.base = f->reg;
		o->mem.segment = (uint16_t)(ZYDIS_REGISTER_ES + f->segment);
		break;
	case FILL_IMM:
		o->imm.value.u = i->raw.imm.value.u;
		break;
	default:
		o->imm.value.u = f->reg;
		break;
	}
}

static void fill_address(const struct parts *p, struct bt_decoded *i)
{
	i->raw.modrm.mod = (uint8_t)modrm_mod(p);
	i->raw.modrm.reg = p->modrm >> 3 & 7;
	i->raw.modrm.rm = (uint8_t)modrm_rm(p);
	i->raw.modrm.offset = (uint8_t)(p->at - 1 - p->has_sib);
	if (p->has_sib) {
		i->attributes |= ZYDIS_ATTRIB_HAS_SIB;
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

static void fill_immediate(const struct parts *p, const struct bt_pattern *f, struct bt_raw *raw)
{
	const uint8_t *at = p->bytes + p->at + p->disp_bytes;

	if (!f->imm_bytes)
		return;
	raw->imm.is_relative = f->imm_relative;
	raw->imm.size = (uint8_t)(f->imm_bytes * 8);
	if (f->imm_signed)
		raw->imm.value.s = load_signed(at, f->imm_bytes);
	else
		memcpy(&raw->imm.value.u, at, f->imm_bytes);
}

/* False: it is longer than it may be. */
static bool fill(const struct parts *p, const struct bt_pattern *f, struct bt_decoded *i, struct bt_operand *op)
{
	unsigned len = p->at + p->disp_bytes + f->imm_bytes;

	if (len > p->len)
		return false;
	memset(i, 0, sizeof(*i));
	i->machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
	i->mnemonic = f->mnemonic;
	i->length = (uint8_t)len;
	i->encoding = ZYDIS_INSTRUCTION_ENCODING_LEGACY;
	i->opcode_map = p->map ? ZYDIS_OPCODE_MAP_0F : ZYDIS_OPCODE_MAP_DEFAULT;
	i->opcode = p->opcode;
	i->operand_width = f->operand_width;
	i->address_width = f->address_width;
	i->operand_count = f->operands;
	i->operand_count_visible = f->operands_visible;
	i->attributes = f->attributes;
	i->flags = f->flags;
	i->meta.category = f->category;
	i->meta.isa_set = f->isa_set;
	i->meta.isa_ext = f->isa_ext;
	i->meta.branch_type = f->branch_type;
	i->raw.prefix_count = (uint8_t)(p->prefixes + (p->rex != 0));
	i->raw.mandatory_66 = f->mandatory_66;
	i->raw.rex.W = p->rex >> 3 & 1;
	i->raw.rex.R = p->rex >> 2 & 1;
	if (p->has_modrm)
		fill_address(p, i);
	fill_immediate(p, f, &i->raw);
	if (!op)
		return true;
	memset(op, 0, sizeof(*op) * MAX(f->operands, BT_DECODE_OPS));
	for (unsigned n = 0; n < f->operands; n++)
		fill_operand(p, &f->op[n], i, &op[n]);
	return true;
}

/* -- From Zydis ----------------------------------------------------------------------------------------------- */

static void take_raw(const ZydisDecodedInstructionRaw *z, struct bt_raw *raw)
{
	raw->prefix_count = z->prefix_count;
	for (unsigned n = 0; n < z->prefix_count; n++)
		raw->mandatory_66 |= z->prefixes[n].value == 0x66 && z->prefixes[n].type == ZYDIS_PREFIX_TYPE_MANDATORY;
	raw->rex.W = z->rex.W;
	raw->rex.R = z->rex.R;
	raw->vex.offset = z->vex.offset;
	raw->evex.offset = z->evex.offset;
	raw->modrm.offset = z->modrm.offset;
	raw->modrm.mod = z->modrm.mod;
	raw->modrm.reg = z->modrm.reg;
	raw->modrm.rm = z->modrm.rm;
	raw->sib.offset = z->sib.offset;
	raw->sib.base = z->sib.base;
	raw->disp.value = z->disp.value;
	raw->disp.size = z->disp.size;
	raw->disp.offset = z->disp.offset;
	raw->imm.value.u = z->imm[0].value.u;
	raw->imm.size = z->imm[0].size;
	raw->imm.is_relative = z->imm[0].is_relative;
}

static void take_instruction(const ZydisDecodedInstruction *z, struct bt_decoded *i)
{
	const ZydisAccessedFlags *f = z->cpu_flags;

	memset(i, 0, sizeof(*i));
	i->attributes = z->attributes;
	if (f)
		i->flags = (struct bt_flags){ f->tested, f->modified | f->set_0 | f->set_1, f->undefined };
	i->mnemonic = (uint16_t)z->mnemonic;
	i->mask = (uint16_t)z->avx.mask.reg;
	i->machine_mode = (uint8_t)z->machine_mode;
	i->length = z->length;
	i->encoding = (uint8_t)z->encoding;
	i->opcode_map = (uint8_t)z->opcode_map;
	i->opcode = z->opcode;
	i->operand_width = z->operand_width;
	i->address_width = z->address_width;
	i->operand_count = z->operand_count;
	i->operand_count_visible = z->operand_count_visible;
	i->meta.category = (uint8_t)z->meta.category;
	i->meta.isa_set = (uint8_t)z->meta.isa_set;
	i->meta.isa_ext = (uint8_t)z->meta.isa_ext;
	i->meta.branch_type = (uint8_t)z->meta.branch_type;
	take_raw(&z->raw, &i->raw);
}

static void take_operand(const ZydisDecodedOperand *z, struct bt_operand *o)
{
	o->type = (uint8_t)z->type;
	o->visibility = (uint8_t)z->visibility;
	o->actions = z->actions;
	o->encoding = (uint8_t)z->encoding;
	o->size = z->size;
	switch (z->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		o->reg.value = (uint16_t)z->reg.value;
		break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		o->mem.segment = (uint16_t)z->mem.segment;
		o->mem.base = (uint16_t)z->mem.base;
		o->mem.index = (uint16_t)z->mem.index;
		o->mem.scale = z->mem.scale;
		o->mem.type = (uint8_t)z->mem.type;
		o->mem.disp.value = z->mem.disp.value;
		break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		o->imm.value.u = z->imm.value.u;
		break;
	default: /* a far pointer: nobody's */
		break;
	}
}

static void take_operands(const ZydisDecodedOperand *z, unsigned n, struct bt_operand *op)
{
	memset(op, 0, sizeof(*op) * MAX(n, BT_DECODE_OPS));
	while (n--)
		take_operand(&z[n], &op[n]);
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
		.size = o->size, .actions = o->actions, .encoding = (uint8_t)o->encoding, .visibility = (uint8_t)o->visibility & 3,
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

static bool learn(struct bt_pattern *f, const struct parts *p, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op,
		  const struct bt_decoded *i)
{
	*f = (struct bt_pattern){
		.key = p->key, .mnemonic = i->mnemonic, .imm_bytes = i->raw.imm.size / 8, .imm_signed = z->raw.imm[0].is_signed & 1,
		.imm_relative = i->raw.imm.is_relative & 1, .mandatory_66 = i->raw.mandatory_66 & 1,
		.attributes = i->attributes & ~(p->has_modrm ? OWN_ATTRIBUTES : 0), .flags = i->flags,
		.operands = i->operand_count, .operands_visible = i->operand_count_visible,
		.operand_width = i->operand_width, .address_width = i->address_width, .category = i->meta.category,
		.isa_set = i->meta.isa_set, .isa_ext = i->meta.isa_ext, .branch_type = i->meta.branch_type,
	};
	if (i->operand_count > BT_PATTERN_OPS)
		return false;
	for (unsigned n = 0; n < i->operand_count; n++)
		if (!learn_operand(&f->op[n], z, &op[n]))
			return false;
	return true;
}

/* What is made of the pattern for the instruction it was learned from is what was taken from Zydis, to the byte. */
static bool holds(const struct bt_pattern *f, const struct parts *p, const struct bt_decoded *i, const struct bt_operand *op)
{
	struct bt_operand op2[BT_PATTERN_OPS];
	struct bt_decoded i2;

	return fill(p, f, &i2, op2) && !memcmp(i, &i2, sizeof(i2)) && !memcmp(op, op2, sizeof(*op) * i->operand_count);
}

struct bt_patterns *bt_patterns_new(void)
{
	struct bt_patterns *f = aligned_alloc(_Alignof(struct bt_patterns), sizeof(*f));

	if (f)
		memset(f, 0, sizeof(*f));
	return f;
}

/* f: the place for the pattern of p; NULL: none. */
static bool decode_by_zydis(const ZydisDecoder *d, const uint8_t *bytes, unsigned len, struct bt_pattern *f, const struct parts *p,
			    struct bt_decoded *i, struct bt_operand *op)
{
	ZydisDecodedOperand zop[ZYDIS_MAX_OPERAND_COUNT];
	struct bt_operand all[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;

	if (!op && f)
		op = all;
	if (!ZYAN_SUCCESS(op ? ZydisDecoderDecodeFull(d, bytes, len, &z, zop) : ZydisDecoderDecodeInstruction(d, NULL, bytes, len, &z)))
		return false;
	take_instruction(&z, i);
	if (op)
		take_operands(zop, z.operand_count, op);
	if (f)
		f->refused = !learn(f, p, &z, zop, i) || !holds(f, p, i, op);
	return true;
}

static unsigned place_of(const struct parts *p)
{
	return p->key * PATTERN_HASH >> (32 - BT_PATTERNS_LOG2);
}

bool bt_pattern_known(const struct bt_patterns *patterns, const uint8_t bytes[BT_DECODE_BYTES], unsigned len)
{
	struct parts p;

	return split(&p, bytes, len) && patterns->pattern[place_of(&p)].key == p.key && !patterns->pattern[place_of(&p)].refused;
}

bool bt_decode(struct bt_patterns *patterns, const ZydisDecoder *d, const uint8_t bytes[BT_DECODE_BYTES], unsigned len,
	       struct bt_decoded *i, struct bt_operand *op)
{
	struct bt_pattern *f;
	struct parts p;

	if (!patterns || !split(&p, bytes, len))
		return decode_by_zydis(d, bytes, len, NULL, NULL, i, op);
	f = &patterns->pattern[place_of(&p)];
	if (f->key == p.key && !f->refused)
		return fill(&p, f, i, op);
	return decode_by_zydis(d, bytes, len, f->key == p.key ? NULL : f, &p, i, op);
}
