/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions outside of 64-bit mode that do one element; those that repeat are do_legacy_string()'s. */
#include "cpu/bt/legacy.h"

struct element {
	unsigned size, source; /* source: segment of [SI] */
	bool wide32;           /* ESI and EDI, not SI and DI */
};

static struct element element_of(const struct bt_insn *in)
{
	struct element e = { .source = SEG_DS, .wide32 = in->i.address_width == 32 };

	for (unsigned n = 0; n < in->i.operand_count; n++) {
		const struct bt_operand *o = &in->op[n];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		e.size = o->size / 8u;
		if (bt_gpr_number(o->mem.base) == R_SI)
			e.source = o->mem.segment - ZYDIS_REGISTER_ES;
	}
	return e;
}

/* [T0 + T1] = the element at SI or DI */
static void check(struct translation *t, const struct bt_insn *in, const struct element *e, unsigned reg, bool write,
		  uint32_t retry)
{
	bt_emit_register_offset(t, reg, 0, e->wide32);
	bt_emit_linear(t, in, reg == R_SI ? e->source : SEG_ES, e->size, write);
	bt_emit_one_check(t, in, e->size, write, retry);
}

/* The element of one to the slot, then the address of the other's in T0 and the value in T1; in this order they fault. */
static void load_then_address(struct translation *t, const struct bt_insn *in, const struct element *e, unsigned one,
			      unsigned other, bool write)
{
	uint32_t retry = t->a.pc;

	check(t, in, e, one, false, retry);
	bt_load_zero_extended(&t->a, e->size);
	store_slot(&t->a, &t->bt->tmp, T0);
	check(t, in, e, other, write, retry);
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	load_slot(&t->a, T1, &t->bt->tmp);
}

/* opcode T1, [T0] */
static void op_t1(struct assembler *a, unsigned opcode, unsigned size)
{
	if (size == 2)
		put8(a, 0x66);
	rex(a, 0, T1, 0, T0);
	put8(a, size == 1 ? opcode & ~1u : opcode);
	put8(a, (T1 & 7) << 3 | (T0 & 7));
}

/* Add size to the register, or subtract it while DF is set: string_limit is 4096 or 0. No flags. */
static void advance(struct translation *t, const struct element *e, unsigned reg)
{
	static const uint8_t rorx_r11_r11_11[] = { 0xc4, 0x43, 0xfb, 0xf0, 0xdb, 0x0b };

	_Static_assert(PAGE_SIZE >> 11 == 2, "twice the step, plus 1");
	load_slot(&t->a, T1, &t->bt->string_limit);
	put_bytes(&t->a, rorx_r11_r11_11, sizeof(rorx_r11_r11_11));
	if (!e->wide32)
		put8(&t->a, 0x66);
	lea_full(&t->a, 0, reg, reg, T1, (unsigned)__builtin_ctz(e->size), -(int32_t)e->size);
}

void bt_emit_legacy_string(struct translation *t, const struct bt_insn *in)
{
	struct element e = element_of(in);

	switch (in->bytes[in->i.raw.prefix_count] & 0xfe) {
	case 0xa4: /* MOVS */
		load_then_address(t, in, &e, R_SI, R_DI, true);
		op_t1(&t->a, 0x89, e.size);
		break;
	case 0xa6: /* CMPS: the reference, as AMD's processors, takes [DI] first */
		load_then_address(t, in, &e, R_DI, R_SI, false);
		op_t1(&t->a, 0x39, e.size);
		break;
	case 0xaa: /* STOS */
		check(t, in, &e, R_DI, true, t->a.pc);
		bt_op_sized(&t->a, 0x89, e.size, R_AX);
		break;
	case 0xac: /* LODS */
		check(t, in, &e, R_SI, false, t->a.pc);
		bt_op_sized(&t->a, 0x8b, e.size, R_AX);
		advance(t, &e, R_SI);
		return;
	default: /* SCAS */
		check(t, in, &e, R_DI, false, t->a.pc);
		bt_op_sized(&t->a, 0x3b, e.size, R_AX);
		break;
	}
	if ((in->bytes[in->i.raw.prefix_count] & 0xfc) == 0xa4)
		advance(t, &e, R_SI);
	advance(t, &e, R_DI);
}
