/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decoding of 64-bit code by patterns: find an instruction's parts, learn patterns from Zydis, fill in what is each instruction's own. */
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

/* -- Filling in -------------------------------------------------------------------------------------------- */

/* What is added to what a pattern says of an operand. */
enum fill {
	FILL_FIXED,
	FILL_REG, FILL_RM,           /* ModRM's fields, extended by REX: registers are numbered so */
	FILL_REG_BYTE, FILL_RM_BYTE, /* behind REX, where 4 to 7 are SPL to DIL, which Zydis counts behind AH to BH */
	FILL_REG_MMX, FILL_RM_MMX,   /* not extended */
	FILL_MEMORY,
	FILL_MEMORY_SEGMENT,         /* and its segment is SS by RSP and RBP, else DS */
	FILL_IMM,
	FILLS
};

static_assert(FILLS <= 1 << BT_PATTERN_FILL_BITS && BT_PATTERN_OPS * BT_PATTERN_FILL_BITS <= 16, "they fit into bt_pattern.fill");

/* So many bytes behind offset `at`, at least; what is behind the instruction's longest form is nothing. */
static uint64_t bytes_at(const struct parts *p, unsigned at)
{
	unsigned from = MIN(at, BT_DECODE_BYTES - 8);
	uint64_t v;

	memcpy(&v, p->bytes + from, 8);
	return v >> (at - from) * 8;
}

static uint64_t extend(uint64_t v, unsigned bytes, bool is_signed)
{
	unsigned unused = (64 - 8 * bytes) & 63;

	v = bytes ? v << unused : 0;
	return is_signed ? (uint64_t)((int64_t)v >> unused) : v >> unused;
}

/* The memory operand of ModRM but for its displacement: the first half of struct bt_memory; *segment: to be added. */
static uint64_t memory_of(const struct parts *p, uint64_t *segment)
{
	unsigned base = p->has_sib ? p->sib & 7 : modrm_rm(p), index = (p->sib >> 3 & 7u) | (p->rex & 2u) << 2;
	bool no_base = base == 5 && !modrm_mod(p), has_index = p->has_sib && index != 4;
	struct bt_memory m = { .segment = ZYDIS_REGISTER_DS };
	uint64_t v;

	memcpy(segment, &m, sizeof(*segment));
	m.base = (uint16_t)(ZYDIS_REGISTER_RAX + (base | (p->rex & 1u) << 3));
	if (no_base)
		m.base = p->has_sib ? ZYDIS_REGISTER_NONE : ZYDIS_REGISTER_RIP;
	*segment += m.base == ZYDIS_REGISTER_RSP || m.base == ZYDIS_REGISTER_RBP ? ZYDIS_REGISTER_SS - ZYDIS_REGISTER_DS : 0;
	m.segment = 0;
	m.index = has_index ? (uint16_t)(ZYDIS_REGISTER_RAX + index) : ZYDIS_REGISTER_NONE;
	m.scale = has_index ? (uint8_t)(1 << (p->sib >> 6)) : 0;
	memcpy(&v, &m, sizeof(v));
	return v;
}

static void fill_operands(const struct parts *p, const struct bt_pattern *f, const struct bt_raw *raw, struct bt_operand *op)
{
	unsigned reg = raw->modrm.reg | (p->rex & 4u) << 1, rm = raw->modrm.rm | (p->rex & 1u) << 3;
	uint64_t add[FILLS] = {
		[FILL_REG] = reg, [FILL_RM] = rm, [FILL_IMM] = raw->imm.value.u, [FILL_REG_MMX] = raw->modrm.reg, [FILL_RM_MMX] = raw->modrm.rm,
		[FILL_REG_BYTE] = reg + (reg >= 4 ? ZYDIS_REGISTER_SPL - ZYDIS_REGISTER_AH : 0),
		[FILL_RM_BYTE] = rm + (rm >= 4 ? ZYDIS_REGISTER_SPL - ZYDIS_REGISTER_AH : 0),
	};

	if (p->has_modrm && modrm_mod(p) != 3) {
		add[FILL_MEMORY] = memory_of(p, &add[FILL_MEMORY_SEGMENT]);
		add[FILL_MEMORY_SEGMENT] += add[FILL_MEMORY];
	}
	/* All of them: those that are not there are 0, and how many are there cannot be predicted. */
	for (unsigned n = 0; n < BT_PATTERN_OPS; n++) {
		unsigned fill = f->fill >> n * BT_PATTERN_FILL_BITS & ((1u << BT_PATTERN_FILL_BITS) - 1);
		const uint64_t whole[] = { f->op[n].head, f->op[n].value + add[fill],
					   fill == FILL_MEMORY || fill == FILL_MEMORY_SEGMENT ? (uint64_t)raw->disp.value : 0 };

		static_assert(sizeof(whole) == sizeof(op[n]), "an operand is its head, a value and a displacement");
		memcpy(&op[n], whole, sizeof(whole));
	}
}

/* False: it is longer than it may be. Few branches: between two translations the host forgets which way they go. */
static bool fill(const struct parts *p, const struct bt_pattern *f, struct bt_decoded *i, struct bt_operand *op)
{
	unsigned imm = p->at + p->disp_bytes, len = imm + f->imm_bytes;
	bool relative = p->has_modrm && !modrm_mod(p) && modrm_rm(p) == 5;

	if (len > p->len)
		return false;
	memcpy(i, f->fixed, BT_PATTERN_FIXED);
	memset((uint8_t *)i + BT_PATTERN_FIXED, 0, sizeof(*i) - BT_PATTERN_FIXED);
	i->length = (uint8_t)len;
	i->attributes |= (p->has_sib ? ZYDIS_ATTRIB_HAS_SIB : 0) | (relative ? ZYDIS_ATTRIB_IS_RELATIVE : 0);
	i->raw.rex.R = p->rex >> 2 & 1;
	i->raw.modrm.mod = (uint8_t)modrm_mod(p);
	i->raw.modrm.reg = p->modrm >> 3 & 7;
	i->raw.modrm.rm = (uint8_t)modrm_rm(p);
	i->raw.sib.offset = p->has_sib ? (uint8_t)(p->at - 1) : 0;
	i->raw.sib.base = p->sib & 7;
	i->raw.disp.value = (int64_t)extend(bytes_at(p, p->at), p->disp_bytes, true);
	i->raw.disp.size = (uint8_t)(p->disp_bytes * 8);
	i->raw.disp.offset = p->disp_bytes ? p->at : 0;
	i->raw.imm.value.u = extend(bytes_at(p, imm), f->imm_bytes, f->imm_signed);
	i->raw.imm.size = (uint8_t)(f->imm_bytes * 8);
	i->raw.imm.is_relative = f->imm_relative;
	if (op)
		fill_operands(p, f, &i->raw, op);
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

#define OWN_ATTRIBUTES (ZYDIS_ATTRIB_HAS_SIB | ZYDIS_ATTRIB_IS_RELATIVE) /* that fill() finds */

/* -- Learning ------------------------------------------------------------------------------------------------ */

/* A register by its number in ModRM: *fill, and *zero: that of number 0. False: one that we do not know. */
static bool learn_number(const struct parts *p, const struct bt_operand *o, bool rm, enum fill *fill, uint64_t *zero)
{
	*fill = rm ? FILL_RM : FILL_REG;
	switch (ZydisRegisterGetClass(o->reg.value)) {
	case ZYDIS_REGCLASS_GPR8:
		*zero = ZYDIS_REGISTER_AL;
		if (p->rex)
			*fill = rm ? FILL_RM_BYTE : FILL_REG_BYTE;
		return true;
	case ZYDIS_REGCLASS_GPR16: *zero = ZYDIS_REGISTER_AX; return true;
	case ZYDIS_REGCLASS_GPR32: *zero = ZYDIS_REGISTER_EAX; return true;
	case ZYDIS_REGCLASS_GPR64: *zero = ZYDIS_REGISTER_RAX; return true;
	case ZYDIS_REGCLASS_XMM: *zero = ZYDIS_REGISTER_XMM0; return true;
	case ZYDIS_REGCLASS_MMX:
		*zero = ZYDIS_REGISTER_MM0;
		*fill = rm ? FILL_RM_MMX : FILL_REG_MMX;
		return true;
	default: return false;
	}
}

/* The memory operand of ModRM: what does not change is its type, and a segment that is not the base's. */
static void learn_memory(const struct bt_operand *o, enum fill *fill, uint64_t *value)
{
	bool of_base = o->mem.segment == ZYDIS_REGISTER_DS || o->mem.segment == ZYDIS_REGISTER_SS;
	struct bt_memory m = { .type = o->mem.type, .segment = of_base ? 0 : o->mem.segment };

	*fill = of_base ? FILL_MEMORY_SEGMENT : FILL_MEMORY;
	memcpy(value, &m, sizeof(*value));
}

static bool learn_operand(struct bt_pattern *f, const struct parts *p, unsigned n, const struct bt_decoded *i, const struct bt_operand *o)
{
	bool reg = o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG, rm = o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM, ok = true;
	enum fill fill = FILL_FIXED;
	uint64_t value;

	memcpy(&f->op[n].head, o, sizeof(f->op[n].head));
	memcpy(&value, &o->imm.value.u, sizeof(value)); /* or a register, or the first half of a memory operand */
	if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && (reg || rm))
		ok = learn_number(p, o, rm, &fill, &value);
	else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && rm)
		learn_memory(o, &fill, &value);
	else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && i->raw.imm.size)
		fill = FILL_IMM, value = 0;
	else if (o->encoding != ZYDIS_OPERAND_ENCODING_NONE && o->encoding != ZYDIS_OPERAND_ENCODING_OPCODE)
		ok = o->type != ZYDIS_OPERAND_TYPE_REGISTER; /* a register by a field that we do not know */
	f->op[n].value = value;
	f->fill |= (uint16_t)(fill << n * BT_PATTERN_FILL_BITS);
	return ok;
}

static bool learn(struct bt_pattern *f, const struct parts *p, bool imm_signed, const struct bt_decoded *i, const struct bt_operand *op)
{
	uint64_t attributes = i->attributes & ~(p->has_modrm ? OWN_ATTRIBUTES : 0);

	*f = (struct bt_pattern){ .key = p->key, .imm_bytes = i->raw.imm.size / 8, .imm_signed = imm_signed, .imm_relative = i->raw.imm.is_relative };
	memcpy(f->fixed, i, BT_PATTERN_FIXED);
	memcpy(f->fixed, &attributes, sizeof(attributes));
	if (i->operand_count > BT_PATTERN_OPS)
		return false;
	for (unsigned n = 0; n < i->operand_count; n++)
		if (!learn_operand(f, p, n, i, &op[n]))
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
		f->refused = !learn(f, p, z.raw.imm[0].is_signed, i, op) || !holds(f, p, i, op);
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
