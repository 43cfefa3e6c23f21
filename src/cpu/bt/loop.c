/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pass over blocks that jump back to their own beginning: can the accesses of many iterations be checked at once?
 *
 * Accesses with the same base, index and scale are a stream. Where these registers stand still or move by a constant in each
 * iteration, one look-up of the page that the stream is in tells for how many iterations it stays there. For so many iterations,
 * the fewest of any stream's, the loop runs in a second form (loop_emit.c), which is the guest's own code: the distance from
 * guest to host memory (the addend) has been added to one register of each stream, its carrier, and is taken off again on
 * each way out.
 *
 * 1. A carrier is named by nothing but the addresses of its own stream and instructions that add a constant to it, whose flags
 *    nobody reads. So it is the guest's value plus the addend at each instruction, and taking that off is exact wherever the
 *    loop is left: by a branch, by a fault of the host, or behind the last iteration that was checked.
 * 2. A stream whose registers serve for more than that goes by T1, with a single register for its address: one stream.
 * 3. The flags do not matter at the loop's beginning: the count of iterations destroys them there.
 * 4. Nothing in the loop but plain instructions (BT_COPY, BT_MEMORY) and conditional jumps out of it: nothing leaves for C,
 *    changes translations or moves RSP, which is no carrier.
 * 5. The check has no effect of its own. Where it fails - the page is not in the TLB for this kind of access, or the next
 *    iteration crosses its end - the block's ordinary code does an iteration, with all that this may mean, and the next one
 *    tries again. So a page becomes dirty by a store only, and devices, code pages, watchpoints and the dirty log, which all
 *    keep a page out of the TLB, never meet this form.
 * 6. Who flushes the TLB or drops translations asks vCPUs out of translated code by `poll` and waits; it is looked at before
 *    each check, at least every BT_LOOP_CHUNK iterations.
 */
#include "cpu/bt/insn.h"

struct finder {
	const struct bt_insn *in;
	struct bt_loop *l;
	bool data[16];     /* named by something else than addresses and steps */
	bool unknown[16];  /* changed by something else than steps */
	int32_t moved[16]; /* by steps since the loop's beginning */
	uint8_t streams[16]; /* how many name it */
};

static bool is_gpr(const struct bt_operand *o)
{
	ZydisRegisterClass c = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(o->reg.value) : ZYDIS_REGCLASS_INVALID;

	return c >= ZYDIS_REGCLASS_GPR8 && c <= ZYDIS_REGCLASS_GPR64;
}

/* -- The loop -------------------------------------------------------------------------------------------- */

static bool short_jcc(const struct bt_insn *in)
{
	unsigned op = in->i.opcode;

	return in->cls == BT_JCC && ((op & 0xf0) == 0x70 || (op & 0xf0) == 0x80);
}

/* How many instructions the loop has, the jump back included; 0: it is none, or none that we know how to treat. */
static unsigned find_end(const struct bt_insn *in, unsigned n)
{
	uint64_t la = in[0].rip;

	if ((la & (PAGE_SIZE - 1)) + BT_MAX_INSN_LEN > PAGE_SIZE) /* jumps there are not chained */
		return 0;
	for (unsigned i = 0; i < n; i++) {
		if ((in[i].cls == BT_JMP || short_jcc(&in[i])) && bt_branch_target(&in[i]) == la)
			return i + 1;
		if (in[i].x87 || (in[i].cls != BT_COPY && in[i].cls != BT_MEMORY && in[i].cls != BT_NOP && !short_jcc(&in[i])))
			return 0;
	}
	return 0;
}

/* -- Registers ------------------------------------------------------------------------------------------------ */

/* Whether the instruction adds a constant to a 64-bit register: which, and how much. */
static bool is_step(const struct bt_insn *in, unsigned *reg, int32_t *by)
{
	const struct bt_operand *o = in->op;
	bool imm = in->i.operand_count_visible > 1 && o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	int64_t n;

	if (in->cls != BT_COPY || o[0].type != ZYDIS_OPERAND_TYPE_REGISTER || ZydisRegisterGetClass(o[0].reg.value) != ZYDIS_REGCLASS_GPR64)
		return false;
	*reg = bt_gpr_number(o[0].reg.value);
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_ADD: n = imm ? o[1].imm.value.s : 0; break;
	case ZYDIS_MNEMONIC_SUB: n = imm ? -o[1].imm.value.s : 0; break;
	case ZYDIS_MNEMONIC_INC: n = 1; break;
	case ZYDIS_MNEMONIC_DEC: n = -1; break;
	case ZYDIS_MNEMONIC_LEA:
		if (in->i.address_width != 64 || o[1].mem.base != o[0].reg.value || o[1].mem.index != ZYDIS_REGISTER_NONE)
			return false;
		n = o[1].mem.disp.value;
		break;
	default: return false;
	}
	*by = (int32_t)n;
	return n && n <= BT_LOOP_STEP && n >= -BT_LOOP_STEP;
}

static void mark_register(struct finder *f, unsigned reg)
{
	if ((reg & ~1u) == R_10)
		f->l->stolen[reg & 1] = true;
}

static void mark_address(struct finder *f, const struct bt_memory *m, bool data)
{
	const ZydisRegister r[] = { m->base, m->index };

	for (unsigned k = 0; k < 2; k++) {
		ZydisRegisterClass c = ZydisRegisterGetClass(r[k]);

		if (c != ZYDIS_REGCLASS_GPR64 && c != ZYDIS_REGCLASS_GPR32)
			continue;
		mark_register(f, bt_gpr_number(r[k]));
		f->data[bt_gpr_number(r[k])] |= data;
	}
}

/* An operand that no step is about. */
static void mark_operand(struct finder *f, const struct bt_insn *in, const struct bt_operand *o)
{
	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
		mark_address(f, &o->mem, in->cls != BT_MEMORY);
	if (!is_gpr(o))
		return;
	mark_register(f, bt_gpr_number(o->reg.value));
	f->data[bt_gpr_number(o->reg.value)] = true;
	if (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		f->unknown[bt_gpr_number(o->reg.value)] = true;
}

/* in[1] is there: the last one is a jump. */
static void mark_registers(struct finder *f, const struct bt_insn *in)
{
	unsigned reg;
	int32_t by;

	if (in->cls != BT_COPY && in->cls != BT_MEMORY)
		return;
	if (is_step(in, &reg, &by)) {
		mark_register(f, reg);
		f->data[reg] |= in[1].flags_live && in->i.mnemonic != ZYDIS_MNEMONIC_LEA;
		return;
	}
	for (unsigned k = 0; k < in->i.operand_count; k++)
		mark_operand(f, in, &in->op[k]);
}

/* -- Streams ---------------------------------------------------------------------------------------------------- */

/* The address of an access: a stream of its own so far. */
static bool access_of(const struct finder *f, const struct bt_insn *in, struct bt_stream *s)
{
	const struct bt_memory *m = &in->mem->mem;
	int64_t off = m->disp.value;

	if (in->i.address_width != 64 || m->segment == ZYDIS_REGISTER_FS || m->segment == ZYDIS_REGISTER_GS ||
	    in->mem->size > BT_MAX_CROSSING * 8 || !in->i.raw.modrm.offset || ZydisRegisterGetClass(m->base) != ZYDIS_REGCLASS_GPR64)
		return false;
	*s = (struct bt_stream){ .base = (uint8_t)bt_gpr_number(m->base), .index = BT_PLAN_NONE, .write = in->writes_mem,
				 .size = in->mem->size / 8u };
	off += f->moved[s->base];
	if (m->index != ZYDIS_REGISTER_NONE) {
		s->index = (uint8_t)bt_gpr_number(m->index);
		s->scale = m->scale;
		off += (int64_t)f->moved[s->index] * s->scale;
	}
	s->off = (int32_t)off;
	return off == s->off && !f->unknown[s->base] && (s->index == BT_PLAN_NONE || !f->unknown[s->index]);
}

static bool merge(struct bt_stream *s, const struct bt_stream *more)
{
	int64_t lo = MIN(s->off, more->off), hi = MAX((int64_t)s->off + s->size, (int64_t)more->off + more->size);

	if (hi - lo > BT_LOOP_SPAN)
		return false;
	s->off = (int32_t)lo;
	s->size = (uint16_t)(hi - lo);
	s->write |= more->write;
	return true;
}

static bool add_access(struct finder *f, unsigned i)
{
	struct bt_loop *l = f->l;
	struct bt_stream a;
	unsigned k = 0;

	if (!access_of(f, &f->in[i], &a))
		return false;
	while (k < l->n_streams && (l->stream[k].base != a.base || l->stream[k].index != a.index || l->stream[k].scale != a.scale))
		k++;
	l->of[i] = (int8_t)k;
	if (k < l->n_streams)
		return merge(&l->stream[k], &a);
	if (k == BT_LOOP_STREAMS)
		return false;
	l->stream[l->n_streams++] = a;
	f->streams[a.base]++;
	if (a.index != BT_PLAN_NONE)
		f->streams[a.index]++;
	return true;
}

static bool find_streams(struct finder *f, unsigned n)
{
	unsigned reg;
	int32_t by;

	for (unsigned i = 0; i < n; i++) {
		f->l->of[i] = -1;
		if (f->in[i].cls == BT_MEMORY && !add_access(f, i))
			return false;
		if (is_step(&f->in[i], &reg, &by))
			f->moved[reg] += by;
	}
	return f->l->n_streams && !f->moved[R_SP] && !f->unknown[R_SP];
}

static bool may_carry(const struct finder *f, unsigned reg)
{
	return reg != R_SP && !f->data[reg] && f->streams[reg] == 1;
}

/* How far each goes in an iteration, and by which register. */
static bool settle_streams(struct finder *f)
{
	bool t1_taken = f->l->stolen[1];

	for (unsigned k = 0; k < f->l->n_streams; k++) {
		struct bt_stream *s = &f->l->stream[k];
		int64_t step = f->moved[s->base];

		if (s->index != BT_PLAN_NONE)
			step += (int64_t)f->moved[s->index] * s->scale;
		if (step > BT_LOOP_STEP || step < -BT_LOOP_STEP)
			return false;
		s->step = (int16_t)step;
		s->carrier = T1;
		if (may_carry(f, s->base))
			s->carrier = s->base;
		else if (s->index != BT_PLAN_NONE && s->scale == 1 && may_carry(f, s->index))
			s->carrier = s->index;
		else if (t1_taken || s->index != BT_PLAN_NONE)
			return false;
		else
			t1_taken = true;
	}
	f->l->counter = !f->l->stolen[0] ? T0 : !t1_taken ? T1 : BT_PLAN_NONE;
	return true;
}

void bt_loop_plan(struct bt_loop *l, const struct bt_insn *in, unsigned n)
{
	struct finder f = { .in = in, .l = l };
	unsigned end = find_end(in, n);

	l->n = l->n_streams = 0;
	l->stolen[0] = l->stolen[1] = false;
	if (!end || in[0].flags_live)
		return;
	for (unsigned i = 0; i < end; i++)
		mark_registers(&f, &in[i]);
	if (find_streams(&f, end) && settle_streams(&f))
		l->n = (uint8_t)end;
}
