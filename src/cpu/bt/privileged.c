/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which instructions have a helper in system.c, and the exits that lead there. */
#include "cpu/bt/insn.h"
#include "cpu/bt/system.h"

static bool is_gpr64(const struct bt_operand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR64;
}

static enum bt_system_op mov_op(const struct bt_insn *in)
{
	ZydisRegister to = in->op[0].reg.value, from = in->op[1].reg.value;

	if (in->mem && in->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER && in->i.address_width == 64 &&
	    ZydisRegisterGetClass(from) == ZYDIS_REGCLASS_SEGMENT && in->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY)
		return BT_OP_MOV_FROM_SREG;
	if (in->op[0].type != ZYDIS_OPERAND_TYPE_REGISTER || in->op[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return BT_OP_NONE;
	if (is_gpr64(&in->op[1]) && to == ZYDIS_REGISTER_CR3)
		return BT_OP_MOV_TO_CR3;
	if (ZydisRegisterGetClass(to) == ZYDIS_REGCLASS_SEGMENT && to != ZYDIS_REGISTER_CS && to != ZYDIS_REGISTER_SS)
		return BT_OP_MOV_TO_SREG;
	if (is_gpr64(&in->op[0]) && (from == ZYDIS_REGISTER_CR0 || from == ZYDIS_REGISTER_CR2 ||
				     from == ZYDIS_REGISTER_CR3 || from == ZYDIS_REGISTER_CR4))
		return BT_OP_MOV_FROM_CR;
	/* 16 bits into a stolen register are not worth the code. */
	if (ZydisRegisterGetClass(from) == ZYDIS_REGCLASS_SEGMENT &&
	    (in->op[0].size >= 32 || (bt_gpr_number(to) & ~1u) != R_10))
		return BT_OP_MOV_FROM_SREG;
	return BT_OP_NONE;
}

/* With a register offset, 32 or 64 bits wide; LOCK changes nothing for a helper that is atomic anyway. */
static enum bt_system_op bit_op(const struct bt_insn *in, enum bt_system_op op)
{
	unsigned wide = in->i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? 64 : 32;

	return in->mem && in->i.address_width == wide && in->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			       in->op[1].size >= 32
		       ? op
		       : BT_OP_NONE;
}

/* 64-bit addresses, no segment but what has base 0, at most one REP prefix (F3). */
static enum bt_system_op string_op(const struct bt_insn *in, enum bt_system_op op)
{
	const uint64_t bad = ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS | ZYDIS_ATTRIB_HAS_REPNE |
			     ZYDIS_ATTRIB_HAS_REPNZ;

	if (in->i.meta.category != ZYDIS_CATEGORY_STRINGOP || in->i.address_width != 64 || (in->i.attributes & bad))
		return BT_OP_NONE;
	for (unsigned n = 0; n < in->i.raw.prefix_count; n++)
		if (in->bytes[n] == 0xf2)
			return BT_OP_NONE;
	return op;
}

/* Which of the family; -1: none. */
static int xsave_kind(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: return BT_XSAVE;
	case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64: return BT_XSAVEOPT;
	case ZYDIS_MNEMONIC_XSAVEC: case ZYDIS_MNEMONIC_XSAVEC64: return BT_XSAVEC;
	case ZYDIS_MNEMONIC_XSAVES: case ZYDIS_MNEMONIC_XSAVES64:
	case ZYDIS_MNEMONIC_XRSTORS: case ZYDIS_MNEMONIC_XRSTORS64: return BT_XSAVES;
	default: return -1;
	}
}

static enum bt_system_op xsave_op(const struct bt_insn *in)
{
	if (!in->mem || in->i.address_width != 64)
		return BT_OP_NONE;
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_XRSTORS: case ZYDIS_MNEMONIC_XRSTORS64: return BT_OP_XRSTOR;
	default: return BT_OP_XSAVE;
	}
}

/* -- Outside of 64-bit mode ------------------------------------------------------------------------------ */

static bool is_sreg(const struct bt_operand *o) /* that may be loaded without a shadow */
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT &&
	       o->reg.value != ZYDIS_REGISTER_CS && o->reg.value != ZYDIS_REGISTER_SS;
}

static enum bt_system_op legacy_mov(const struct bt_insn *in)
{
	ZydisRegister to = in->op[0].reg.value, from = in->op[1].reg.value;

	if (in->op[0].type != ZYDIS_OPERAND_TYPE_REGISTER || in->op[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return BT_OP_NONE;
	if (is_sreg(&in->op[0]))
		return BT_OP_LEGACY_MOV_SREG;
	if (to == ZYDIS_REGISTER_CR3)
		return BT_OP_MOV_TO_CR3;
	return from == ZYDIS_REGISTER_CR0 || from == ZYDIS_REGISTER_CR2 || from == ZYDIS_REGISTER_CR3 || from == ZYDIS_REGISTER_CR4
		       ? BT_OP_MOV_FROM_CR
		       : BT_OP_NONE;
}

/* F2 or F3, whichever comes last; 0: neither */
static uint8_t repeat_prefix(const struct bt_insn *in)
{
	uint8_t p = 0;

	for (unsigned n = 0; n < in->i.raw.prefix_count; n++)
		if (in->bytes[n] == 0xf2 || in->bytes[n] == 0xf3)
			p = in->bytes[n];
	return p;
}

/* MOVS, CMPS, STOS and SCAS; repeated LODS is for nobody. */
static enum bt_system_op legacy_string(const struct bt_insn *in)
{
	return repeat_prefix(in) && (in->i.opcode & 0xfe) != 0xac ? BT_OP_LEGACY_STRING : BT_OP_NONE;
}

static void describe_string(struct bt_site *site, const struct bt_insn *in)
{
	static const uint8_t ops[] = { [0] = BT_STRING_MOVS, [1] = BT_STRING_CMPS, [3] = BT_STRING_STOS, [5] = BT_STRING_SCAS };

	site->reg = ops[(in->i.opcode - 0xa4) >> 1 & 7] | (repeat_prefix(in) == 0xf3 ? BT_STRING_WHILE_EQUAL : 0);
	site->sub = in->i.address_width == 32;
	for (unsigned n = 0; n < in->i.operand_count; n++) {
		const struct bt_operand *o = &in->op[n];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		site->size = (uint8_t)(o->size / 8);
		if (bt_gpr_number(o->mem.base) == R_SI)
			site->write = (uint8_t)(o->mem.segment - ZYDIS_REGISTER_ES);
	}
}

/* In all modes. */
static enum bt_system_op common_op(const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_IN: return BT_OP_IN;
	case ZYDIS_MNEMONIC_OUT: return BT_OP_OUT;
	case ZYDIS_MNEMONIC_CPUID: return BT_OP_CPUID;
	case ZYDIS_MNEMONIC_SYSCALL: return BT_OP_SYSCALL;
	case ZYDIS_MNEMONIC_INT:
	case ZYDIS_MNEMONIC_INT3: return BT_OP_INT;
	default: return BT_OP_NONE;
	}
}

static enum bt_system_op legacy_op(const struct bt_insn *in)
{
	if (in->i.meta.category == ZYDIS_CATEGORY_STRINGOP)
		return legacy_string(in);
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_CLI: return BT_OP_CLI;
	case ZYDIS_MNEMONIC_STI: return BT_OP_STI;
	case ZYDIS_MNEMONIC_CLAC: return BT_OP_CLAC;
	case ZYDIS_MNEMONIC_STAC: return BT_OP_STAC;
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD: return BT_OP_LEGACY_PUSHF;
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD: return BT_OP_LEGACY_POPF;
	case ZYDIS_MNEMONIC_POP: return is_sreg(&in->op[0]) ? BT_OP_LEGACY_POP_SREG : BT_OP_NONE;
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD: return BT_OP_LEGACY_IRET;
	case ZYDIS_MNEMONIC_SYSENTER: return BT_OP_SYSENTER;
	case ZYDIS_MNEMONIC_SYSEXIT: return BT_OP_SYSEXIT;
	case ZYDIS_MNEMONIC_RDTSC: return BT_OP_RDTSC;
	case ZYDIS_MNEMONIC_RDTSCP: return BT_OP_RDTSCP;
	case ZYDIS_MNEMONIC_RDMSR: return BT_OP_RDMSR;
	case ZYDIS_MNEMONIC_WRMSR: return BT_OP_WRMSR;
	case ZYDIS_MNEMONIC_INVLPG: return in->mem ? BT_OP_INVLPG : BT_OP_NONE;
	case ZYDIS_MNEMONIC_MOV: return legacy_mov(in);
	case ZYDIS_MNEMONIC_BT: return bit_op(in, BT_OP_BT);
	case ZYDIS_MNEMONIC_BTS: return bit_op(in, BT_OP_BTS);
	case ZYDIS_MNEMONIC_BTR: return bit_op(in, BT_OP_BTR);
	case ZYDIS_MNEMONIC_BTC: return bit_op(in, BT_OP_BTC);
	default: return common_op(in);
	}
}

/* -- Which -------------------------------------------------------------------------------------------------- */

enum bt_system_op bt_system_op(const struct bt_insn *in)
{
	bool wide = in->i.operand_width == 64;

	if (in->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
		return legacy_op(in);
	if (xsave_kind(in->i.mnemonic) >= 0)
		return xsave_op(in);
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_CLI: return BT_OP_CLI;
	case ZYDIS_MNEMONIC_STI: return BT_OP_STI;
	case ZYDIS_MNEMONIC_PUSHFQ: return wide ? BT_OP_PUSHF : BT_OP_NONE;
	case ZYDIS_MNEMONIC_POPFQ: return wide ? BT_OP_POPF : BT_OP_NONE;
	case ZYDIS_MNEMONIC_CLAC: return BT_OP_CLAC;
	case ZYDIS_MNEMONIC_STAC: return BT_OP_STAC;
	case ZYDIS_MNEMONIC_SYSRET: return BT_OP_SYSRET;
	case ZYDIS_MNEMONIC_IRETQ: return BT_OP_IRETQ;
	case ZYDIS_MNEMONIC_SWAPGS: return BT_OP_SWAPGS;
	case ZYDIS_MNEMONIC_RDTSC: return BT_OP_RDTSC;
	case ZYDIS_MNEMONIC_RDTSCP: return BT_OP_RDTSCP;
	case ZYDIS_MNEMONIC_RDFSBASE:
	case ZYDIS_MNEMONIC_RDGSBASE: return wide ? BT_OP_RDBASE : BT_OP_NONE;
	case ZYDIS_MNEMONIC_WRFSBASE:
	case ZYDIS_MNEMONIC_WRGSBASE: return wide ? BT_OP_WRBASE : BT_OP_NONE;
	case ZYDIS_MNEMONIC_RDMSR: return BT_OP_RDMSR;
	case ZYDIS_MNEMONIC_WRMSR: return BT_OP_WRMSR;
	case ZYDIS_MNEMONIC_INVLPG: return in->mem ? BT_OP_INVLPG : BT_OP_NONE;
	case ZYDIS_MNEMONIC_INVPCID: return in->mem ? BT_OP_INVPCID : BT_OP_NONE;
	case ZYDIS_MNEMONIC_MOV: return mov_op(in);
	case ZYDIS_MNEMONIC_BT: return bit_op(in, BT_OP_BT);
	case ZYDIS_MNEMONIC_BTS: return bit_op(in, BT_OP_BTS);
	case ZYDIS_MNEMONIC_BTR: return bit_op(in, BT_OP_BTR);
	case ZYDIS_MNEMONIC_BTC: return bit_op(in, BT_OP_BTC);
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ: return string_op(in, BT_OP_MOVS);
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ: return string_op(in, BT_OP_STOS);
	default: return common_op(in);
	}
}

/* IN and OUT: the accumulator is one operand, the port the other one. */
static void describe_io(struct bt_site *site, const struct bt_operand *value, const struct bt_operand *port)
{
	site->size = (uint8_t)(value->size / 8);
	site->reg = port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	site->sub = site->reg ? (uint8_t)port->imm.value.u : 0;
}

/* What the helper needs to know beside the operation. */
static void describe(struct bt_site *site, const struct bt_insn *in)
{
	switch (site->op) {
	case BT_OP_MOV_FROM_CR:
		site->reg = (uint8_t)bt_gpr_number(in->op[0].reg.value);
		site->size = (uint8_t)(in->op[1].reg.value - ZYDIS_REGISTER_CR0);
		break;
	case BT_OP_MOV_FROM_SREG:
		site->reg = (uint8_t)bt_gpr_number(in->op[0].reg.value);
		site->size = (uint8_t)(in->op[1].reg.value - ZYDIS_REGISTER_ES);
		break;
	case BT_OP_MOV_TO_SREG:
		site->reg = (uint8_t)bt_gpr_number(in->op[1].reg.value);
		site->size = (uint8_t)(in->op[0].reg.value - ZYDIS_REGISTER_ES);
		break;
	case BT_OP_RDBASE:
	case BT_OP_WRBASE:
		site->reg = (uint8_t)bt_gpr_number(in->op[0].reg.value);
		site->size = in->i.mnemonic == ZYDIS_MNEMONIC_RDFSBASE || in->i.mnemonic == ZYDIS_MNEMONIC_WRFSBASE
				     ? SEG_FS
				     : SEG_GS;
		break;
	case BT_OP_LEGACY_PUSHF:
	case BT_OP_LEGACY_POPF:
	case BT_OP_LEGACY_IRET:
		site->size = in->i.operand_width / 8;
		break;
	case BT_OP_LEGACY_MOV_SREG:
		site->reg = (uint8_t)bt_gpr_number(in->op[1].reg.value);
		site->size = (uint8_t)(in->op[0].reg.value - ZYDIS_REGISTER_ES);
		break;
	case BT_OP_LEGACY_POP_SREG:
		site->reg = in->i.operand_width / 8;
		site->size = (uint8_t)(in->op[0].reg.value - ZYDIS_REGISTER_ES);
		break;
	case BT_OP_LEGACY_STRING:
		describe_string(site, in);
		break;
	case BT_OP_IN:
		describe_io(site, &in->op[0], &in->op[1]);
		break;
	case BT_OP_OUT:
		describe_io(site, &in->op[1], &in->op[0]);
		break;
	case BT_OP_INVPCID:
		site->reg = (uint8_t)bt_gpr_number(in->op[0].reg.value);
		break;
	case BT_OP_MOV_TO_CR3:
		site->reg = (uint8_t)bt_gpr_number(in->op[1].reg.value);
		break;
	case BT_OP_BT:
	case BT_OP_BTS:
	case BT_OP_BTR:
	case BT_OP_BTC:
		site->reg = (uint8_t)bt_gpr_number(in->op[1].reg.value);
		site->size = (uint8_t)(in->op[1].size / 8);
		break;
	case BT_OP_SYSRET:
		site->reg = in->i.raw.rex.W;
		break;
	case BT_OP_INT:
		site->reg = in->i.mnemonic == ZYDIS_MNEMONIC_INT3 ? X86_BP : (uint8_t)in->op[0].imm.value.u;
		break;
	case BT_OP_XSAVE:
	case BT_OP_XRSTOR:
		site->size = (uint8_t)xsave_kind(in->i.mnemonic);
		site->reg = in->i.raw.rex.W;
		break;
	case BT_OP_MOVS:
	case BT_OP_STOS:
		site->reg = (in->i.attributes & ZYDIS_ATTRIB_HAS_REP) != 0;
		site->size = (uint8_t)(in->op[0].size / 8);
		break;
	default:
		break;
	}
}

struct bt_stub *bt_add_system_stub(struct translation *t, uint8_t *disp, const struct bt_insn *in)
{
	struct bt_stub *s = bt_add_stub(t, disp, SITE_SYSTEM, in->rip);

	s->site.op = (uint8_t)bt_system_op(in);
	s->site.len = in->i.length;
	describe(&s->site, in);
	return s;
}

void bt_emit_system(struct translation *t, const struct bt_insn *in)
{
	struct bt_stub *s;

	if (in->mem)
		bt_emit_address(t, in);
	s = bt_add_system_stub(t, jmp_forward(&t->a), in);
	s->site.retry = t->a.pc;
}
