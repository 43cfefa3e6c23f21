/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second form of a loop (loop.c), behind the block's own code:
 *
 *   entry:  is something pending?  else to its stub          (what the block's own jump back is chained to)
 *           has it paid before?  else to the block's ordinary code
 *           for each stream: its page, or to the block's ordinary code; how many iterations stay in it
 *           addends into carriers, the least count into its counter, the loop's r10 and r11 in place
 *   body:   the guest's instructions as they are; on branches out of the loop: restore, and go on there
 *           count down, to the body; restore, and to the entry
 *   fault:  restore, and leave: a fault of the host in the body
 *
 * "Restore" makes the guest's registers, without touching the flags. T0 and T1 are free up to the body.
 *
 * Checks and restoring cost what the accesses' own checks do in some iterations. So the first iteration of a loop is the
 * ordinary code's; and when the loop is left, the iterations that the second form did, less those that it costs, are added to
 * its record (loop_worth). Where that is below zero the loop goes by the ordinary code until the next interrupt, which clears
 * all records (bt_loop_tick()).
 */
#include "cpu/bt/insn.h"

#define RECIPROCAL_BITS 22 /* n / step for n < 4096 and step <= 1024 is exactly (n * ceil(2^22 / step)) >> 22 */
#define BODY_ALIGN      16

_Static_assert((uint64_t)PAGE_SIZE * BT_LOOP_STEP <= 1ull << RECIPROCAL_BITS, "division by multiplication is exact");

static bool is_stolen(unsigned reg)
{
	return (reg & ~1u) == R_10;
}

static void *home(struct translation *t, unsigned reg)
{
	return reg == T0 ? (void *)&t->bt->r10 : (void *)&t->bt->r11;
}

static void *record(const struct translation *t)
{
	return &t->bt->loop_worth[bt_hash_of(t->b->gpa) % BT_LOOP_RECORDS];
}

/* -- Instructions ---------------------------------------------------------------------------------------- */

static void jcc_back(struct assembler *a, unsigned cc, uint32_t target)
{
	put8(a, 0x0f);
	put8(a, 0x80 | cc);
	put32(a, target - (a->pc + 4));
}

static void add_slot(struct assembler *a, unsigned reg, const void *slot) /* add reg, [slot] */
{
	put8(a, ASM_GS);
	rex(a, 1, reg, 0, 0);
	put8(a, 0x03);
	modrm_of_slot(a, reg, slot, 0);
}

static void count_slot(struct assembler *a, bool down, const void *slot) /* inc or dec qword [slot] */
{
	put8(a, ASM_GS);
	rex(a, 1, 0, 0, 0);
	put8(a, 0xff);
	modrm_of_slot(a, down, slot, 0);
}

/* T0 = the lesser of T0 and the slot's value, unsigned */
static void least_slot(struct assembler *a, const void *slot)
{
	cmp_reg_slot(a, T0, slot);
	put8(a, ASM_GS);
	rex(a, 1, T0, 0, 0);
	put8(a, 0x0f); /* cmova */
	put8(a, 0x47);
	modrm_of_slot(a, T0, slot, 0);
}

/* T0 /= by, exact for T0 below a page's size; by is 1 to BT_LOOP_STEP */
static void divide_t0(struct assembler *a, unsigned by)
{
	static const uint8_t imul_r10[] = { 0x4d, 0x69, 0xd2 }, shr_r10[] = { 0x49, 0xc1, 0xea };
	unsigned shift = (unsigned)__builtin_ctz(by);

	if (by & (by - 1)) {
		put_bytes(a, imul_r10, sizeof(imul_r10));
		put32(a, ((1u << RECIPROCAL_BITS) + by - 1) / by);
		shift = RECIPROCAL_BITS;
	}
	put_bytes(a, shr_r10, sizeof(shr_r10));
	put8(a, shift);
}

/* -- Checks -------------------------------------------------------------------------------------------------- */

/* T0 = the lowest address of the stream's next iteration. */
static void emit_lowest(struct translation *t, const struct bt_stream *s)
{
	struct assembler *a = &t->a;

	if (is_stolen(s->base))
		load_slot(a, s->base, home(t, s->base));
	if (s->index == BT_PLAN_NONE) {
		lea_disp(a, T0, s->base, s->off);
		return;
	}
	if (is_stolen(s->index))
		load_slot(a, s->index, home(t, s->index));
	lea_full(a, 1, T0, s->base, s->index, (unsigned)__builtin_ctz(s->scale), s->off);
}

/* The stream's addend into its slot; T0 is then the offset in the page. Else to the block's ordinary code. */
static void emit_check(struct translation *t, const struct bt_stream *s, const void *slot)
{
	static const uint8_t rorx_movzx[] = {
		0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x0c, /* rorx r11, r10, 12 */
		0x45, 0x0f, 0xb7, 0xdb,             /* movzx r11d, r11w */
	};
	static const uint8_t cmp_r10[] = { 0x49, 0x81, 0xfa }; /* cmp r10, imm32 */
	struct bt_tlb *tlb = &t->bt->tlb[t->mode.mmu];
	struct assembler *a = &t->a;

	emit_lowest(t, s);
	put_bytes(a, rorx_movzx, sizeof(rorx_movzx));
	op_table(a, 0x33, 1, T0, tlb->tag[s->write], T1); /* xor T0, [tag] */
	put_bytes(a, cmp_r10, sizeof(cmp_r10));
	put32(a, (uint32_t)(PAGE_SIZE - s->size));
	jcc_back(a, 7, t->b->body); /* ja */
	op_table(a, 0x8b, 1, T1, tlb->addend, T1);
	store_slot(a, slot, T1);
}

/* The count becomes what it is, or the iterations after the next one in which the stream stays in its page. */
static void emit_count(struct translation *t, const struct bt_stream *s, bool first)
{
	static const uint8_t neg_r10[] = { 0x49, 0xf7, 0xda }, add_r10[] = { 0x49, 0x81, 0xc2 };
	struct assembler *a = &t->a;

	if (s->step > 0) {
		put_bytes(a, neg_r10, sizeof(neg_r10));
		put_bytes(a, add_r10, sizeof(add_r10));
		put32(a, (uint32_t)(PAGE_SIZE - s->size));
	}
	divide_t0(a, (unsigned)(s->step < 0 ? -s->step : s->step));
	least_slot(a, first ? &t->bt->loop_most : &t->bt->loop_count);
	store_slot(a, &t->bt->loop_count, T0);
}

static void emit_checks(struct translation *t)
{
	const struct bt_loop *l = &t->loop;
	bool first = true;

	for (unsigned k = 0; k < l->n_streams; k++) {
		emit_check(t, &l->stream[k], &t->bt->group[k]);
		if (!l->stream[k].step)
			continue;
		emit_count(t, &l->stream[k], first);
		first = false;
	}
	if (first) {
		load_slot(&t->a, T0, &t->bt->loop_most);
	} else {
		load_slot(&t->a, T0, &t->bt->loop_count);
	}
	lea_disp(&t->a, T0, T0, 1);
	store_slot(&t->a, &t->bt->loop_count, T0);
	store_slot(&t->a, &t->bt->loop_left, T0);
	count_slot(&t->a, false, &t->bt->loop_chunks);
}

/* -- Registers ------------------------------------------------------------------------------------------------- */

static void emit_carriers(struct translation *t)
{
	const struct bt_loop *l = &t->loop;
	struct assembler *a = &t->a;

	for (unsigned k = 0; k < 2; k++)
		if (l->stolen[k])
			load_slot(a, k ? T1 : T0, home(t, k ? T1 : T0));
	for (unsigned k = 0; k < l->n_streams; k++) {
		const struct bt_stream *s = &l->stream[k];

		if (s->carrier == T1 && !l->stolen[1])
			load_slot(a, T1, &t->bt->group[k]);
		else
			add_slot(a, s->carrier, &t->bt->group[k]);
	}
	if (l->counter != BT_PLAN_NONE)
		load_slot(a, l->counter, &t->bt->loop_count);
}

/* reg -= the addend, without flags */
static void emit_subtract(struct assembler *a, unsigned reg, const void *slot)
{
	static const uint8_t not_r11[] = { 0x49, 0xf7, 0xd3 };

	load_slot(a, T1, slot);
	put_bytes(a, not_r11, sizeof(not_r11));
	lea_full(a, 1, reg, reg, T1, 0, 1);
}

static void emit_homes(struct translation *t)
{
	for (unsigned k = 0; k < 2; k++)
		if (t->loop.stolen[k])
			store_slot(&t->a, home(t, k ? T1 : T0), k ? T1 : T0);
}

/* Behind emit_homes(). */
static void emit_restore(struct translation *t)
{
	const struct bt_loop *l = &t->loop;
	struct assembler *a = &t->a;

	for (unsigned k = 0; k < l->n_streams; k++) {
		unsigned reg = l->stream[k].carrier;

		if (reg == T1 && !l->stolen[1])
			continue;
		if (is_stolen(reg)) {
			load_slot(a, T0, home(t, reg));
			emit_subtract(a, T0, &t->bt->group[k]);
			store_slot(a, home(t, reg), T0);
		} else {
			emit_subtract(a, reg, &t->bt->group[k]);
		}
	}
}

/* -- The body ---------------------------------------------------------------------------------------------------- */

static void emit_map(struct translation *t, unsigned n)
{
	struct bt_cache *c = t->bt->cache;
	struct bt_map *m = &c->map[c->n_map++];

	*m = c->map[t->b->map + n];
	m->host = t->a.pc;
	m->parked = false;
}

static void emit_insn(struct translation *t, unsigned n)
{
	const struct bt_loop *l = &t->loop;
	const struct bt_insn *in = &t->insn[n];

	if (in->cls == BT_NOP)
		return;
	if (l->of[n] >= 0 && l->stream[l->of[n]].carrier == T1 && !l->stolen[1])
		bt_emit_memory_based(t, in, l->stream[l->of[n]].base);
	else
		put_bytes(&t->a, in->bytes, in->n_bytes);
}

/* Behind the loop's last instruction, or on the way of its jump back. */
static void emit_again(struct translation *t, uint32_t body)
{
	const struct bt_loop *l = &t->loop;
	struct assembler *a = &t->a;

	if (l->counter == BT_PLAN_NONE) {
		count_slot(a, true, &t->bt->loop_left);
	} else {
		rex(a, 1, 0, 0, l->counter); /* dec */
		put8(a, 0xff);
		put8(a, 0xc8 | (l->counter & 7));
	}
	jcc_back(a, 5, body); /* jnz */
	emit_homes(t);
	emit_restore(t);
	load_slot(a, T0, &t->bt->loop_count);
	store_slot(a, &t->bt->loop_before, T0);
	bt_emit_goto(t, t->b->la);
}

/*
 * In iterations: some 24 instructions, and 22 for each stream, instead of 6 for each access. They wait for each other more
 * than those do: half as much again.
 */
static int cost(const struct translation *t)
{
	unsigned accesses = 0;

	for (unsigned n = 0; n < t->loop.n; n++)
		accesses += t->loop.of[n] >= 0;
	return (int)((24 + 22u * t->loop.n_streams) / (4 * accesses) + 1);
}

/* On the way out of the loop: what has it been worth? Without flags; r10 and r11 are at home. */
static void emit_note(struct translation *t)
{
	static const uint8_t not_r10[] = { 0x49, 0xf7, 0xd2 };
	const struct bt_loop *l = &t->loop;
	struct assembler *a = &t->a;

	if (l->counter == BT_PLAN_NONE)
		load_slot(a, T0, &t->bt->loop_left);
	else if (l->counter != T0)
		mov_rr(a, T0, l->counter);
	put_bytes(a, not_r10, sizeof(not_r10));
	load_slot(a, T1, &t->bt->loop_count);
	lea_full(a, 1, T0, T0, T1, 0, 1);
	load_slot(a, T1, &t->bt->loop_before);
	lea_full(a, 1, T0, T0, T1, 0, 0);
	load_slot(a, T1, record(t));
	lea_full(a, 1, T0, T0, T1, 0, -cost(t));
	store_slot(a, record(t), T0);
	store_slot_imm(a, 1, &t->bt->loop_before, 0);
}

static void emit_body(struct translation *t)
{
	uint32_t body = t->a.pc;
	uint8_t *out[BT_MAX_INSNS];
	unsigned last = t->loop.n - 1u;

	for (unsigned n = 0; n <= last; n++) {
		const struct bt_insn *in = &t->insn[n];

		emit_map(t, n);
		out[n] = NULL;
		if (in->cls == BT_JCC)
			out[n] = jcc_forward(&t->a, (in->i.opcode & 0xf) ^ (n == last));
		else if (in->cls != BT_JMP)
			emit_insn(t, n);
	}
	emit_again(t, body);
	for (unsigned n = 0; n <= last; n++) {
		if (!out[n])
			continue;
		jump_here(&t->a, out[n]);
		emit_homes(t);
		emit_note(t);
		emit_restore(t);
		bt_emit_goto(t, n == last ? bt_next_rip(&t->insn[n]) : bt_branch_target(&t->insn[n]));
	}
}

void bt_emit_loop(struct translation *t)
{
	struct assembler *a = &t->a;
	struct bt_stub *s;

	t->holds[0] = t->holds[1] = t->parked = t->keep_flags = false;
	s = bt_add_stub(t, NULL, SITE_POLL, t->b->la);
	s->site.sub = 1;
	t->b->loop_entry = a->pc;
	t->b->loop_insns = t->loop.n;
	cmp_slot(a, &t->bt->poll, 0);
	s->disp = jcc_forward(a, 5);
	t->b->loop_body = a->pc;
	cmp_slot(a, record(t), 0);
	jcc_back(a, 12, t->b->body); /* jl */
	emit_checks(t);
	emit_carriers(t);
	while (a->pc & (BODY_ALIGN - 1))
		put8(a, 0x90);
	emit_body(t);
	t->keep_flags = true;
	t->b->loop_fault = a->pc;
	emit_homes(t);
	emit_restore(t);
	jmp_to(a, t->bt->cache->exit_stub);
}
