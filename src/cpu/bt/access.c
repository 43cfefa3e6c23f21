/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operands: the address, the check against the TLB, and the instruction re-based to host memory.
 *
 * The check leaves host = [T0 + T1] with T0 the offset in the page and T1 the host page. Where the flags do not matter:
 *
 *	rorx  T1, T0, 12; movzx T1d, T1w       index
 *	xor   T0, [tag + T1 * 8]               the offset, if the page matches
 *	cmp   T0, 4096 - size; ja slow         catches a miss and a page crossing at once
 *	mov   T1, [host + T1 * 8]
 *
 * An access by a base register and a displacement keeps them, and its T1 is the addend: [base + disp + T1]. So the
 * address waits for one load of the table and not for the comparison.
 *
 * and where they do, without flags, RCX borrowed:
 *
 *	mov   [rcx slot], rcx; rorx; movzx
 *	mov   rcx, [tag + T1 * 8]; not rcx     minus the tag, minus 1
 *	lea   T0, [T0 + rcx + 1]               la - tag
 *	lea   rcx, [T0 + size - 1]
 *	pext  rcx, rcx, [page_bits]            zero only if both bytes are in the page
 *	jrcxz ok; jmp slow
 *   ok:	mov   rcx, [rcx slot]; mov T1, [host + T1 * 8]
 *
 * An access that faults where the flags do not matter leaves them destroyed in the image that the exception pushes,
 * where a processor would show the older ones. Nobody who goes on with the same instruction can tell; a debugger, or
 * a handler that goes on elsewhere, could. To keep them would mean the second form everywhere (1.4 times the time).
 *
 * In both the slow path finds T1 to be the index still, and so the address from T0 (SITE_TLB). It comes back with the address in T0 and
 * the addend in T1, which suits all forms of the access.
 */
#include "cpu/bt/legacy.h"

/* -- Stubs --------------------------------------------------------------------------------------------- */

struct bt_stub *bt_add_stub(struct translation *t, uint8_t *disp, enum bt_site_kind kind, uint64_t rip)
{
	struct bt_stub *s = &t->stub[t->n_stubs++];

	BUG_ON(t->n_stubs > BT_MAX_STUBS);
	*s = (struct bt_stub){ .disp = disp, .parked = t->parked, .site = { .rip = rip, .kind = (uint8_t)kind } };
	return s;
}

void bt_emit_restore_rcx(struct bt *bt, struct assembler *a, enum bt_rcx from)
{
	if (from == RCX_IN_SLOT)
		load_slot(a, R_CX, &bt->rcx);
	else if (from == RCX_IN_T1)
		mov_rr(a, R_CX, T1);
}

void bt_emit_unless_rcx(struct translation *t, struct bt_stub *s, enum bt_rcx from)
{
	put8(&t->a, 0xe3); /* jrcxz over the jump */
	put8(&t->a, 5);
	s->disp = jmp_forward(&t->a);
	s->rcx = (uint8_t)from;
	bt_emit_restore_rcx(t->bt, &t->a, from);
}

/* -- Address ----------------------------------------------------------------------------------------------- */

/* A base or index register as it stands, or loaded from its home into the same stolen register. */
static unsigned address_register(struct translation *t, ZydisRegister r)
{
	unsigned n = bt_gpr_number(r);

	if (n == T0)
		load_slot(&t->a, T0, &t->bt->r10);
	else if (n == T1)
		load_slot(&t->a, T1, &t->bt->r11);
	return n;
}

static unsigned scale_bits(uint8_t scale)
{
	return scale ? (unsigned)__builtin_ctz(scale) : 0;
}

static void emit_lea32(struct assembler *a, unsigned base, int32_t disp) /* lea T0d, [base + disp] */
{
	rex(a, 0, T0, 0, base);
	put8(a, 0x8d);
	put8(a, 0x80 | (T0 & 7) << 3 | (base & 7));
	if ((base & 7) == R_SP)
		put8(a, 0x24);
	put32(a, (uint32_t)disp);
}

void bt_emit_address(struct translation *t, const struct bt_insn *in)
{
	const struct bt_memory *m = &in->mem->mem;
	unsigned wide = in->i.address_width == 64, base, index;
	int32_t disp = (int32_t)m->disp.value;
	bool seg = m->segment == ZYDIS_REGISTER_FS || m->segment == ZYDIS_REGISTER_GS;

	if (t->mode.legacy.on) {
		bt_emit_legacy_address(t, in);
		return;
	}
	if (in->i.raw.disp.size == 64) {
		mov_imm(&t->a, T0, (uint64_t)m->disp.value);
	} else if (m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP) {
		uint64_t la = bt_next_rip(in) + (uint64_t)(int64_t)disp;

		mov_rip_relative(&t->a, T0, la, wide);
	} else if (m->base != ZYDIS_REGISTER_NONE && m->index != ZYDIS_REGISTER_NONE) {
		base = address_register(t, m->base);
		index = address_register(t, m->index);
		lea_full(&t->a, wide, T0, base, index, scale_bits(m->scale), disp);
	} else if (m->base != ZYDIS_REGISTER_NONE) {
		base = address_register(t, m->base);
		if (wide)
			lea_disp(&t->a, T0, base, disp);
		else
			emit_lea32(&t->a, base, disp);
	} else if (m->index != ZYDIS_REGISTER_NONE) {
		index = address_register(t, m->index);
		lea_index(&t->a, wide, T0, index, scale_bits(m->scale), disp);
	} else {
		mov_imm(&t->a, T0, wide ? (uint64_t)(int64_t)disp : (uint32_t)disp);
	}
	if (seg) {
		load_slot(&t->a, T1, &t->bt->seg_base[m->segment == ZYDIS_REGISTER_GS]);
		lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	}
}

/* -- Check --------------------------------------------------------------------------------------------------- */

static void emit_index(struct assembler *a)
{
	static const uint8_t rorx_movzx[] = {
		0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x0c, /* rorx r11, r10, 12 */
		0x45, 0x0f, 0xb7, 0xdb,             /* movzx r11d, r11w */
	};

	put_bytes(a, rorx_movzx, sizeof(rorx_movzx));
}

/* T1 = the host page; or (addend) what to add to the address, which T0 holds still where flags survive. */
static struct bt_stub *emit_lookup(struct translation *t, const struct bt_insn *in, enum bt_site_kind kind, unsigned size,
				   bool write, uint32_t retry, bool addend)
{
	static const uint8_t cmp_r10[] = { 0x49, 0x81, 0xfa };                /* cmp r10, imm32 */
	static const uint8_t not_rcx[] = { 0x48, 0xf7, 0xd1 };
	static const uint8_t gs_pext_rcx_rcx[] = { 0x65, 0xc4, 0xe2, 0xf2, 0xf5 }; /* pext rcx, rcx, gs:r/m64 */
	struct assembler *a = &t->a;
	struct bt_tlb *tlb = &t->bt->tlb[t->mode.mmu];
	struct bt_stub *s = bt_add_stub(t, NULL, kind, in->rip);

	s->site.retry = retry;
	s->site.size = (uint16_t)size;
	s->site.write = write;
	s->site.t0 = !t->keep_flags ? T0_XOR_TAG : addend ? T0_LA : T0_MINUS_TAG;
	if (!t->keep_flags) {
		emit_index(a);
		op_table(a, 0x33, 1, T0, tlb->tag[write], T1); /* xor T0, [tag] */
		put_bytes(a, cmp_r10, sizeof(cmp_r10));
		put32(a, (uint32_t)(PAGE_SIZE - size));
		s->disp = jcc_forward(a, 7); /* ja */
	} else {
		store_slot(a, &t->bt->rcx, R_CX);
		emit_index(a);
		op_table(a, 0x8b, 1, R_CX, tlb->tag[write], T1);
		put_bytes(a, not_rcx, sizeof(not_rcx));
		if (addend) {
			lea_full(a, 1, R_CX, T0, R_CX, 0, (int32_t)size);
		} else {
			lea_full(a, 1, T0, T0, R_CX, 0, 1);
			lea_disp(a, R_CX, T0, (int32_t)size - 1);
		}
		put_bytes(a, gs_pext_rcx_rcx, sizeof(gs_pext_rcx_rcx));
		modrm_of_slot(a, R_CX, &t->bt->page_bits, 0);
		bt_emit_unless_rcx(t, s, RCX_IN_SLOT);
	}
	op_table(a, 0x8b, 1, T1, addend ? tlb->addend : tlb->host, T1);
	return s;
}

struct bt_stub *bt_emit_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry)
{
	return emit_lookup(t, in, SITE_TLB, size, write, retry, false);
}

struct bt_stub *bt_emit_addend_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry)
{
	return emit_lookup(t, in, SITE_TLB, size, write, retry, true);
}

void bt_emit_one_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry)
{
	struct bt_stub *s = bt_emit_check(t, in, size, write, retry);

	if (write)
		s->site.pass = t->a.pc;
}

struct bt_stub *bt_emit_group_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry)
{
	return emit_lookup(t, in, SITE_GROUP, size, write, retry, true);
}

/* -- Instructions ------------------------------------------------------------------------------------------------ */

/* What of the prefixes stays: not the segment, not the address size, not branch hints. */
static void emit_legacy_prefixes(struct assembler *a, const struct bt_insn *in)
{
	for (unsigned n = 0; n < in->i.raw.prefix_count; n++) {
		uint8_t p = in->bytes[n];

		if (p == 0x66 || p == 0xf2 || p == 0xf3 || p == 0xf0)
			put8(a, p);
	}
}

/* Where the opcode bytes of a legacy encoding begin: behind the prefixes, REX included. */
static unsigned opcode_offset(const struct bt_insn *in)
{
	unsigned n = 0;

	for (;; n++) {
		switch (in->bytes[n]) {
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
		case 0xf0: case 0xf2: case 0xf3:
		case 0x40 ... 0x4f:
			continue;
		default:
			return n;
		}
	}
}

/*
 * The encoding's register extensions, with B for the base, X for index T1 if there is one, and R for
 * rename_reg if that is not negative; then the opcode. The VEX forms hold R, X and B inverted.
 */
static void emit_opcode(struct assembler *a, const struct bt_insn *in, unsigned base, bool index_t1, int rename_reg)
{
	const uint8_t *b = in->bytes;
	unsigned x = index_t1, not_b = base < 8, at;

	switch (in->i.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		at = in->i.raw.vex.offset;
		put8(a, 0xc4);
		put8(a, (rename_reg < 0 ? b[at + 1] & 0x80u : (unsigned)(rename_reg < 8) << 7) | (x ^ 1) << 6 | not_b << 5 |
				(b[at] == 0xc5 ? 1u : b[at + 1] & 0x1fu));
		put8(a, b[at] == 0xc5 ? b[at + 1] & 0x7fu : b[at + 2]);
		put8(a, in->i.opcode);
		return;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX: /* P0: R X B R' 0 m m m; never with a renamed GPR */
		at = in->i.raw.evex.offset;
		put8(a, 0x62);
		put8(a, (b[at + 1] & ~0x60u) | (x ^ 1) << 6 | not_b << 5);
		put8(a, b[at + 2]);
		put8(a, b[at + 3]);
		put8(a, in->i.opcode);
		return;
	default:
		break;
	}
	put8(a, 0x40u | (unsigned)in->i.raw.rex.W << 3 |
			(rename_reg < 0 ? in->i.raw.rex.R : (unsigned)rename_reg >> 3) << 2 | x << 1 | base >> 3);
	for (at = opcode_offset(in); at < in->i.raw.modrm.offset; at++)
		put8(a, b[at]);
}

/* The immediate, if any, follows ModRM, SIB and displacement. */
static void emit_immediates(struct assembler *a, const struct bt_insn *in)
{
	unsigned from = in->i.raw.modrm.offset + 1u;

	if (in->i.raw.sib.offset)
		from = in->i.raw.sib.offset + 1u;
	if (in->i.raw.disp.size)
		from = in->i.raw.disp.offset + in->i.raw.disp.size / 8u;
	put_bytes(a, in->bytes + from, in->n_bytes - from);
}

static void *home(struct bt *bt, unsigned k)
{
	return k ? &bt->r11 : &bt->r10;
}

/* MOV between the accumulator and an absolute address has no ModRM: becomes the ordinary MOV. */
static void emit_moffs(struct translation *t, const struct bt_insn *in)
{
	struct assembler *a = &t->a;
	unsigned size = in->mem->size / 8u;

	if (size == 2)
		put8(a, 0x66);
	put8(a, size == 8 ? 0x4b : 0x43); /* REX.XB, W */
	put8(a, (in->writes_mem ? 0x88 : 0x8a) | (size != 1));
	put8(a, R_AX << 3 | 4);
	put8(a, (T1 & 7) << 3 | (T0 & 7));
}

static bool has_stolen_data(const struct bt_insn *in)
{
	return in->uses[0] || in->uses[1];
}

/* One of the stolen registers is data: the address is in T0 alone, the data moves into T1. */
static void emit_stolen_data(struct translation *t, const struct bt_insn *in)
{
	unsigned k = in->uses[0] ? 0 : 1; /* which home is read */
	struct assembler *a = &t->a;

	load_slot(a, T1, home(t->bt, k));
	emit_legacy_prefixes(a, in);
	emit_opcode(a, in, T0, false, T1);
	put8(a, (T1 & 7) << 3 | (T0 & 7));
	emit_immediates(a, in);
	if (in->defs[k])
		store_slot(a, home(t->bt, k), T1);
}

static void store_defs(struct translation *t, const struct bt_insn *in)
{
	for (unsigned k = 0; k < 2; k++)
		if (in->defs[k])
			store_slot(&t->a, home(t->bt, k), k ? T1 : T0);
}

void bt_emit_memory_insn(struct translation *t, const struct bt_insn *in)
{
	struct assembler *a = &t->a;
	const struct bt_raw *r = &in->i.raw;

	if (!r->modrm.offset) {
		emit_moffs(t, in);
		return;
	}
	if (t->mode.legacy.on && bt_has_high_byte(in)) {
		bt_emit_high_byte(t, in);
		return;
	}
	if (has_stolen_data(in)) {
		lea_full(a, 1, T0, T0, T1, 0, 0);
		emit_stolen_data(t, in);
		return;
	}
	emit_legacy_prefixes(a, in);
	emit_opcode(a, in, T0, true, -1);
	put8(a, (unsigned)r->modrm.reg << 3 | 4);
	put8(a, (T1 & 7) << 3 | (T0 & 7));
	emit_immediates(a, in);
	store_defs(t, in);
}

bool bt_keeps_base(const struct translation *t, const struct bt_insn *in)
{
	const struct bt_memory *m = &in->mem->mem;

	return !t->mode.legacy.on && in->i.address_width == 64 && bt_is_gpr64(m->base) && (bt_gpr_number(m->base) & ~1u) != R_10 &&
	       m->index == ZYDIS_REGISTER_NONE && m->segment != ZYDIS_REGISTER_FS && m->segment != ZYDIS_REGISTER_GS &&
	       in->i.length + BT_BASED_GROWTH <= BT_MAX_INSN_LEN;
}

void bt_emit_memory_based(struct translation *t, const struct bt_insn *in, unsigned base)
{
	const struct bt_raw *r = &in->i.raw;
	struct assembler *a = &t->a;

	if (has_stolen_data(in)) {
		lea_full(a, 1, T0, base, T1, 0, (int32_t)in->mem->mem.disp.value);
		emit_stolen_data(t, in);
		return;
	}
	emit_legacy_prefixes(a, in);
	emit_opcode(a, in, base, true, -1);
	put8(a, (unsigned)r->modrm.mod << 6 | (unsigned)r->modrm.reg << 3 | 4);
	put8(a, (T1 & 7) << 3 | (base & 7));
	put_bytes(a, in->bytes + r->disp.offset, r->disp.size / 8u);
	emit_immediates(a, in);
	store_defs(t, in);
}

void bt_emit_copy(struct translation *t, const struct bt_insn *in)
{
	bool address[2] = { false, false }; /* LEA's operand */

	for (unsigned n = 0; in->i.mnemonic == ZYDIS_MNEMONIC_LEA && n < 2; n++) {
		ZydisRegister r = n ? in->mem->mem.index : in->mem->mem.base;

		if (r != ZYDIS_REGISTER_NONE && (bt_gpr_number(r) & ~1u) == R_10)
			address[bt_gpr_number(r) & 1] = true;
	}
	for (unsigned k = 0; k < 2; k++) {
		if ((in->uses[k] || address[k]) && !t->holds[k])
			load_slot(&t->a, k ? T1 : T0, home(t->bt, k));
		t->holds[k] |= in->uses[k] || address[k] || in->defs[k];
	}
	put_bytes(&t->a, in->bytes, in->n_bytes);
	for (unsigned k = 0; k < 2; k++)
		if (in->defs[k])
			store_slot(&t->a, home(t->bt, k), k ? T1 : T0);
}
