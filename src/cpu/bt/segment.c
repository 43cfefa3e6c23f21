/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses outside of 64-bit mode: offsets wrapped to 16 or 32 bits, segment limits and bases.
 *
 * A segment that is flat costs nothing. Any other, where the flags do not matter:
 *
 *	lea   T1, [T0 + size - 1]
 *	cmp   T1, [limit of that kind of access]; jg fault    -1: no access at all
 *	mov   T1, [base]; lea T0d, [T0 + T1]
 *
 * and where they do, with RCX borrowed: the sum with -(limit + 1) is negative, and small, if all is well:
 *
 *	mov   rcx, [limit]; not rcx; lea rcx, [rcx + T0 + size - 1]
 *	rorx  rcx, rcx, 32; not ecx; jrcxz ok; jmp fault
 *
 * The fault is the reference engine's: it executes the instruction. So do accesses through expand-down segments, whose limit
 * in the slots is always -1.
 */
#include "cpu/bt/legacy.h"

/* -- Segments -------------------------------------------------------------------------------------------- */

static void emit_limit_check(struct translation *t, const struct bt_insn *in, const int64_t *limit, unsigned size)
{
	static const uint8_t not_rcx[] = { 0x48, 0xf7, 0xd1 }, not_ecx[] = { 0xf7, 0xd1 };
	static const uint8_t rorx_rcx_rcx_32[] = { 0xc4, 0xe3, 0xfb, 0xf0, 0xc9, 0x20 };
	struct bt_stub *s = bt_add_stub(t, NULL, in->fpu ? SITE_INTERP_FPU : SITE_INTERP, in->rip);
	struct assembler *a = &t->a;

	s->site.sub = true;
	if (!in->flags_live) {
		lea_disp(a, T1, T0, (int32_t)size - 1);
		cmp_reg_slot(a, T1, limit);
		s->disp = jcc_forward(a, 15); /* jg */
		return;
	}
	store_slot(a, &t->bt->rcx, R_CX);
	load_slot(a, R_CX, limit);
	put_bytes(a, not_rcx, sizeof(not_rcx));
	lea_full(a, 1, R_CX, R_CX, T0, 0, (int32_t)size - 1);
	put_bytes(a, rorx_rcx_rcx_32, sizeof(rorx_rcx_rcx_32));
	put_bytes(a, not_ecx, sizeof(not_ecx));
	bt_emit_unless_rcx(t, s, RCX_IN_SLOT);
}

void bt_emit_linear(struct translation *t, const struct bt_insn *in, unsigned seg, unsigned size, bool write)
{
	const struct bt_segment *s = &t->bt->segment[seg];

	if (bt_is_flat(t, seg, write))
		return;
	emit_limit_check(t, in, &s->limit[write], size);
	load_slot(&t->a, T1, &s->base);
	lea_full(&t->a, 0, T0, T0, T1, 0, 0);
}

/* -- Offsets ---------------------------------------------------------------------------------------------- */

static void emit_wrap16(struct assembler *a)
{
	static const uint8_t movzx_r10d_r10w[] = { 0x45, 0x0f, 0xb7, 0xd2 };

	put_bytes(a, movzx_r10d_r10w, sizeof(movzx_r10d_r10w));
}

/* lea T0d, [base + disp32] */
static void lea32_disp(struct assembler *a, unsigned base, int32_t disp)
{
	rex(a, 0, T0, 0, base);
	put8(a, 0x8d);
	put8(a, 0x80 | (T0 & 7) << 3 | (base & 7));
	if ((base & 7) == R_SP)
		put8(a, 0x24);
	put32(a, (uint32_t)disp);
}

void bt_emit_offset(struct translation *t, const struct bt_insn *in, const struct bt_memory *m)
{
	/* SIB without a base: Zydis 4.0 may see one beside a 67 prefix. */
	bool no_base = in->i.raw.sib.offset && in->i.raw.modrm.mod == 0 && in->i.raw.sib.base == 5;
	bool base = !no_base && m->base != ZYDIS_REGISTER_NONE, index = m->index != ZYDIS_REGISTER_NONE;
	unsigned scale = m->scale ? (unsigned)__builtin_ctz(m->scale) : 0;
	int32_t disp = (int32_t)(no_base ? in->i.raw.disp.value : m->disp.value);
	struct assembler *a = &t->a;

	if (base && index)
		lea_full(a, 0, T0, bt_gpr_number(m->base), bt_gpr_number(m->index), scale, disp);
	else if (base)
		lea32_disp(a, bt_gpr_number(m->base), disp);
	else if (index)
		lea_index(a, 0, T0, bt_gpr_number(m->index), scale, disp);
	else
		mov_imm(a, T0, in->i.address_width == 16 ? (uint16_t)disp : (uint32_t)disp);
	if (in->i.address_width == 16 && (base || index))
		emit_wrap16(a);
}

void bt_emit_legacy_address(struct translation *t, const struct bt_insn *in)
{
	bt_emit_offset(t, in, &in->mem->mem);
	bt_emit_linear(t, in, in->mem->mem.segment - ZYDIS_REGISTER_ES, MAX(in->mem->size / 8u, 1), in->writes_mem);
}

void bt_emit_register_offset(struct translation *t, unsigned reg, int32_t disp, bool wide32)
{
	lea32_disp(&t->a, reg, disp);
	if (!wide32)
		emit_wrap16(&t->a);
}

void bt_emit_offset_check(struct translation *t, const struct bt_insn *in, uint32_t last)
{
	static const uint8_t rorx_rcx_rcx_32[] = { 0xc4, 0xe3, 0xfb, 0xf0, 0xc9, 0x20 }, not_ecx[] = { 0xf7, 0xd1 };
	struct bt_stub *s = bt_add_stub(t, NULL, SITE_INTERP, in->rip);
	struct assembler *a = &t->a;

	s->site.sub = true;
	store_slot(a, &t->bt->rcx, R_CX);
	mov_imm(a, R_CX, ~(uint64_t)last);
	lea_full(a, 1, R_CX, R_CX, T0, 0, 0);
	put_bytes(a, rorx_rcx_rcx_32, sizeof(rorx_rcx_rcx_32));
	put_bytes(a, not_ecx, sizeof(not_ecx));
	bt_emit_unless_rcx(t, s, RCX_IN_SLOT);
}

/* -- Host memory --------------------------------------------------------------------------------------------- */

void bt_op_sized(struct assembler *a, unsigned opcode, unsigned size, unsigned reg)
{
	if (size == 2)
		put8(a, 0x66);
	/* REX even where no bit of it would be needed, for SIL and its kin: base and index are T0 and T1 anyway */
	rex(a, size == 8, reg, T1, T0);
	put8(a, size == 1 ? opcode & ~1u : opcode);
	put8(a, (reg & 7) << 3 | 4);
	put8(a, (T1 & 7) << 3 | (T0 & 7));
}

void bt_load_zero_extended(struct assembler *a, unsigned size)
{
	if (size > 2) {
		bt_op_sized(a, 0x8b, size, T0);
		return;
	}
	rex(a, 0, T0, T1, T0); /* movzx T0d, [T0 + T1] */
	put8(a, 0x0f);
	put8(a, size == 1 ? 0xb6 : 0xb7);
	put8(a, (T0 & 7) << 3 | 4);
	put8(a, (T1 & 7) << 3 | (T0 & 7));
}
