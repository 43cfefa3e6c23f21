/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From guest code to a block: decode a superblock along not-taken branches within one page, run the
 * passes, emit, append the stubs.
 *
 * The layout of a block's host code:
 *
 *   ientry:  is T0 our address?  else to its second place (what jump caches point to)
 *   entry:   is something pending?  else to its stub
 *            the instructions, each beginning at its `retry` address
 *            of some loops a second form (loop_emit.c)
 *            stubs, each followed by its struct bt_site
 */
#include <stdlib.h>

#include "cpu/bt/clone.h"
#include "cpu/bt/jumps.h"
#include "cpu/bt/legacy.h"
#include "cpu/bt/system.h"

/* -- Decoding -------------------------------------------------------------------------------------------- */

static struct bt_patterns *patterns_of(struct translation *t)
{
	return t->mode.legacy.on ? NULL : &t->patterns;
}

/* A copy of len bytes of the page at `off`, which are marked and read by whole granules, each once for a translation. */
static const uint8_t *code_at(struct translation *t, const uint8_t *page, unsigned off, unsigned len)
{
	uint64_t granules = ram_granules(off, len), missing = granules & ~t->granules;

	for (; missing; missing &= missing - 1) {
		unsigned at = (unsigned)__builtin_ctzll(missing) * RAM_GRANULE;

		ram_mark_code(t->bt->v->ram, (t->b->gpa & PAGE_MASK) + at, RAM_GRANULE);
		ram_read_code(page + at, t->code + at, RAM_GRANULE);
	}
	t->granules |= granules;
	return t->code + off;
}

static bool decode_one(struct translation *t, const uint8_t *page, const uint8_t *page2, uint64_t la, struct bt_insn *in)
{
	unsigned off = (unsigned)(la & (PAGE_SIZE - 1)), left = (unsigned)MIN(PAGE_SIZE - off, BT_MAX_INSN_LEN);
	unsigned len = page2 ? BT_MAX_INSN_LEN : left;

	memset(in, 0, offsetof(struct bt_insn, i));
	in->rip = la;
	memcpy(in->bytes, code_at(t, page, off, left), sizeof(in->bytes));
	if (page2)
		ram_read_code(page2, in->bytes + left, len - left);
	if (!bt_decode(patterns_of(t), &t->bt->cache->decoder[bt_code_size(&t->mode)], in->bytes, len, &in->i, in->op))
		return false;
	in->n_bytes = in->i.length;
	return true;
}

/*
 * The instruction at la needs more than its page: a block of its own, that is looked up by both pages. Not decodable even so,
 * it is one for the reference engine.
 */
static bool decode_crossing(struct translation *t, const uint8_t *page, uint64_t la, uint64_t gpa2, struct bt_insn *in)
{
	struct ram *r = t->bt->v->ram;

	if ((la & (PAGE_SIZE - 1)) + BT_MAX_INSN_LEN <= PAGE_SIZE)
		return false;
	t->b->gpa2 = gpa2;
	if (gpa2 >= BT_UNMAPPED_PAGE)
		return false;
	t->b->version2 = ram_mark_code(r, gpa2 & PAGE_MASK, BT_MAX_INSN_LEN);
	return decode_one(t, page, r->base + (gpa2 & PAGE_MASK), la, in);
}

/* A jump forward in the page: the block goes on there. */
static bool goes_on(const struct translation *t, const struct bt_insn *in)
{
	uint64_t target;

	if (in->cls != BT_JMP || t->mode.legacy.on)
		return false;
	target = bt_branch_target(in);
	return target >= bt_next_rip(in) && (target & PAGE_MASK) == (t->b->la & PAGE_MASK);
}

/* A debugger wants to be in front of the instruction at la: it comes alone, for the run loop. */
static bool breakpoint_at(const struct translation *t, uint64_t la)
{
	const struct vcpu_group *g = t->bt->v->group;

	return g->points.n_breakpoints && debug_breakpoint_at(g, t->mode.legacy.on ? (uint32_t)la : la);
}

static void decode_block(struct translation *t, const uint8_t *page, uint64_t gpa2)
{
	uint64_t la = t->b->la;
	bool stops;

	while (t->n < BT_MAX_INSNS) {
		stops = breakpoint_at(t, la);
		if (stops && t->n)
			return;
		struct bt_insn *in = &t->insn[t->n++];

		if (!decode_one(t, page, NULL, la, in)) {
			if (t->n > 1) {
				t->n--;
				return;
			}
			if (!decode_crossing(t, page, la, gpa2, in)) {
				memset(&in->i, 0, sizeof(in->i));
				in->cls = BT_INTERP_FPU;
				return;
			}
		}
		if (t->mode.legacy.on)
			bt_legacy_classify(t, in);
		else
			bt_classify(t->bt, in, t->mode);
		if (stops) {
			in->cls = BT_INTERP_FPU;
			return;
		}
		la = bt_next_rip(in);
		if (goes_on(t, in)) {
			la = bt_branch_target(in);
			in->cls = BT_NOP;
			continue;
		}
		/* Whether a branch to the next instruction was taken could not be told from where it went (turn.c). */
		if (in->i.raw.imm.is_relative && !in->i.raw.imm.value.s)
			return;
		if (bt_ends_block(in) || (la & PAGE_MASK) != (t->b->la & PAGE_MASK) || t->mode.form == FORM_CROSSING)
			return;
	}
}

/* A jump that the block did not go on behind is one after all. */
static void end_block(struct translation *t)
{
	struct bt_insn *last = &t->insn[t->n - 1];

	if (last->cls == BT_NOP && last->i.meta.category == ZYDIS_CATEGORY_UNCOND_BR)
		last->cls = BT_JMP;
}

/* -- Entries ------------------------------------------------------------------------------------------------ */

/* The flags are parked here, whoever goes on elsewhere fetches them. */
static void emit_indirect_entry(struct translation *t)
{
	static const uint8_t cmp_r10_imm[] = { 0x49, 0x81, 0xfa }, cmp_r10_r11[] = { 0x4d, 0x39, 0xda };
	struct assembler *a = &t->a;

	if (!a->move && t->b->la == (uint64_t)(int64_t)(int32_t)t->b->la) {
		put_bytes(a, cmp_r10_imm, sizeof(cmp_r10_imm));
		put32(a, (uint32_t)t->b->la);
	} else {
		mov_la(a, T1, t->b->la, MOVES_LA);
		put_bytes(a, cmp_r10_r11, sizeof(cmp_r10_r11));
	}
	put8(a, 0x0f); /* jne */
	put8(a, 0x85);
	note_move(a, MOVES_NEAR, 0);
	put32(a, t->bt->cache->second_stub[bt_jc_set_of(&t->mode)] - (a->pc + 4));
}

/* Its first instruction has 8 aligned bytes: dropping the block writes a jump over it (cache.c). */
static void emit_entry(struct translation *t)
{
	struct assembler *a = &t->a;
	struct bt_stub *s;

	t->parked = t->insn[0].flags_live;
	s = bt_add_stub(t, NULL, SITE_POLL, t->b->la);
	t->b->entry = a->pc;
	cmp_slot(a, &t->bt->poll, 0);
	s->disp = jcc_forward(a, 5);
	s->site.sub = !t->insn[0].flags_live;
	t->b->body = a->pc;
}

/* For those who come with the flags in place; stands behind the block. */
static void emit_flags_entry(struct translation *t)
{
	t->b->flags_entry = t->b->entry;
	if (!t->insn[0].flags_live)
		return;
	t->b->flags_entry = t->a.pc;
	bt_emit_park(t, T0);
	jmp_back(&t->a, t->b->entry);
}

/* The indirect entry falls into the other one, which is aligned: its length is found by emitting it twice. */
static void emit_entries(struct translation *t)
{
	struct assembler at = t->a;
	unsigned len;

	emit_indirect_entry(t);
	len = t->a.pc - at.pc;
	for (t->a = at; (t->a.pc + len) & 7;)
		put8(&t->a, 0xcc);
	t->b->ientry = t->a.pc;
	emit_indirect_entry(t);
	emit_entry(t);
}

/* -- Instructions ---------------------------------------------------------------------------------------------- */

static void emit_interp(struct translation *t, const struct bt_insn *in)
{
	bt_add_stub(t, jmp_forward(&t->a), in->cls == BT_INTERP ? SITE_INTERP : SITE_INTERP_FPU, in->rip);
}

static void emit_lea_constant(struct translation *t, const struct bt_insn *in)
{
	unsigned reg = bt_gpr_number(in->op[0].reg.value);
	uint64_t la = bt_next_rip(in) + (uint64_t)in->mem->mem.disp.value;

	mov_rip_relative(&t->a, reg, la, in->i.address_width != 32);
	if (reg == T0)
		store_slot(&t->a, &t->bt->r10, T0);
	else if (reg == T1)
		store_slot(&t->a, &t->bt->r11, T1);
}

/* Accesses of fewer bytes cross a page seldom: not worth the code. */
#define NATIVE_CROSSING 16

static void emit_memory(struct translation *t, const struct bt_insn *in)
{
	bool based = bt_keeps_base(t, in);
	uint32_t retry = t->a.pc;
	struct bt_stub *s;

	if (t->mode.form == FORM_CROSSING) {
		load_slot(&t->a, T0, &t->bt->exit_t0);
		load_slot(&t->a, T1, &t->bt->exit_t1);
		bt_emit_memory_insn(t, in);
		bt_emit_x87_note(t, 0);
		bt_add_stub(t, jmp_forward(&t->a), SITE_CROSSED, bt_next_rip(in));
		return;
	}
	bt_emit_address(t, in);
	if (based)
		s = bt_emit_addend_check(t, in, in->mem->size / 8u, in->writes_mem, retry);
	else
		s = bt_emit_check(t, in, in->mem->size / 8u, in->writes_mem, retry);
	if (in->writes_mem || !t->mode.legacy.on) /* (a read over a page's end: there are limits besides) */
		s->site.pass = t->a.pc;
	if (!t->mode.legacy.on && !in->writes_mem)
		s->behind = t->a.pc;
	else if (!t->mode.legacy.on)
		s->site.cross = in->i.mnemonic != ZYDIS_MNEMONIC_XCHG && !(in->i.attributes & ZYDIS_ATTRIB_HAS_LOCK) && !in->masked;
	s->site.masked = in->masked;
	if (in->mem->size < NATIVE_CROSSING * 8 || in->mem->size > BT_MAX_CROSSING * 8 || t->keep_flags)
		s->behind = 0;
	else if (!t->mode.legacy.on && bt_stores_over_end(in))
		s->store = in;
	s->mmu = t->mode.mmu;
	if (based)
		bt_emit_memory_based(t, in, bt_gpr_number(in->mem->mem.base));
	else
		bt_emit_memory_insn(t, in);
	if (s->store)
		s->behind = t->a.pc;
}

static void emit_insn(struct translation *t, const struct bt_insn *in)
{
	switch (in->cls) {
	case BT_COPY: bt_emit_copy(t, in); break;
	case BT_MEMORY: emit_memory(t, in); break;
	case BT_LEA: emit_lea_constant(t, in); break;
	case BT_NOP: break;
	case BT_PUSH: bt_emit_push(t, in); break;
	case BT_POP: bt_emit_pop(t, in); break;
	case BT_LEAVE: bt_emit_leave(t, in); break;
	case BT_JCC: bt_emit_jcc(t, in); break;
	case BT_JMP: bt_emit_goto(t, bt_branch_target(in)); break;
	case BT_CALL: bt_emit_call(t, in); break;
	case BT_JMP_IND:
	case BT_CALL_IND: bt_emit_indirect(t, in); break;
	case BT_RET: bt_emit_ret(t, in); break;
	case BT_INLINE:
	case BT_INLINE_END: bt_emit_inline(t, in); break;
	case BT_SYSTEM:
	case BT_SYSTEM_END: bt_emit_system(t, in); break;
	case BT_LEGACY:
	case BT_LEGACY_JCC:
	case BT_LEGACY_END: bt_emit_legacy(t, in); break;
	default: emit_interp(t, in); break;
	}
}

static void emit_insns(struct translation *t)
{
	struct bt_cache *c = t->bt->cache;
	struct bt_flag_marks marks = { 0 };

	t->b->map = c->n_map;
	t->b->insns = (uint16_t)t->n;
	t->holds[0] = t->holds[1] = false;
	for (unsigned n = 0; n < t->n; n++) {
		const struct bt_insn *in = &t->insn[n];

		marks = bt_flag_marks(marks, in, n == 0);
		c->map[c->n_map++] = (struct bt_map){
			.host = t->a.pc,
			.rip_off = (uint16_t)(in->rip - t->b->la),
			.fpu = in->fpu,
			.marks = marks,
			.rsp = bt_branch_rsp(in),
		};
		bt_x87_map(in, &c->map[c->n_map - 1]);
		if (in->cls != BT_COPY && in->cls != BT_NOP)
			t->holds[0] = t->holds[1] = false;
		bt_settle_flags(t, n);
		c->map[c->n_map - 1].parked = t->parked;
		if (t->plan.at[n].probe)
			bt_emit_probe(t);
		bt_emit_group_checks(t, &t->plan, n);
		if (t->plan.at[n].group >= 0)
			bt_emit_member(t, &t->plan, n);
		else
			emit_insn(t, in);
		if (t->mode.form != FORM_CROSSING)
			bt_emit_x87_note(t, n);
		if (t->plan.at[n].verify)
			bt_emit_verify_sp(t, n);
	}
	t->keep_flags = !t->parked;
	if (!bt_ends_block(&t->insn[t->n - 1]))
		bt_emit_goto(t, bt_next_rip(&t->insn[t->n - 1]));
}

/* -- Stubs ------------------------------------------------------------------------------------------------------- */

/* Name the site and leave. The site stands behind the jump, aligned. Returns the address for those with RCX in place. */
static uint32_t emit_stub(struct bt *bt, struct assembler *a, const struct bt_site *site, enum bt_rcx rcx, bool parked)
{
	uint32_t start, at;

	bt_emit_restore_rcx(bt, a, rcx);
	start = a->pc;
	if (parked)
		bt_emit_fetch_in_stub(bt, a);
	/* the store is 12 bytes, the jump 5 */
	at = (uint32_t)ALIGN_UP(a->pc + 17, 8);
	store_slot_host(a, 1, &bt->exit_site, at);
	jmp_to(a, bt->cache->exit_stub);
	while (a->pc < at)
		put8(a, 0xcc);
	note_move(a, MOVES_SITE, 0);
	put_bytes(a, (const uint8_t *)site, sizeof(*site));
	return start;
}

/* The way that a group's check takes when it fails: by a jump that can be made to lead to the translation without groups. */
static void emit_group_way(struct translation *t, struct bt_stub *s)
{
	bt_emit_restore_rcx(t->bt, &t->a, s->rcx);
	s->rcx = RCX_IN_PLACE;
	if (s->parked)
		bt_emit_fetch_in_stub(t->bt, &t->a);
	s->parked = false;
	pad_before_jump(&t->a, 1);
	put8(&t->a, 0xe9);
	s->site.patch = t->a.pc;
	put32(&t->a, 0);
	s->site.stub = t->a.pc;
}

static void emit_stubs(struct translation *t)
{
	for (unsigned n = 0; n < t->n_stubs; n++) {
		struct bt_stub *s = &t->stub[n];
		uint32_t start;

		jump_here(&t->a, s->disp);
		s->start = s->site.stub = t->a.pc;
		if (s->site.kind == SITE_GROUP)
			emit_group_way(t, s);
		if (s->behind)
			bt_emit_crossing(t, s);
		start = emit_stub(t->bt, &t->a, &s->site, s->rcx, s->parked);
		if (s->site.kind == SITE_POLL)
			t->b->stale_stub = start; /* the way out of a dropped block */
	}
}

/* Once for each code memory: leaving, and an empty place in a jump cache. */
void bt_emit_common(struct bt *bt)
{
	struct bt_cache *c = bt->cache;
	struct assembler a = { .rw = c->code_rw, .pc = (uint32_t)(uintptr_t)c->code_rx, .slots = bt };
	struct bt_site miss = { .kind = SITE_INDIRECT };

	c->exit_stub = a.pc;
	store_slot(&a, &bt->exit_t0, T0);
	store_slot(&a, &bt->exit_t1, T1);
	load_slot(&a, T1, &bt->self);
	op_slot(&a, 0xff, 4, &bt->exit_fn); /* jmp [exit_fn] */
	c->miss_stub = emit_stub(bt, &a, &miss, RCX_IN_PLACE, true);
	bt_emit_seconds(bt, &a);
	c->resume_stub = a.pc;
	load_slot(&a, T1, &bt->exit_t1);
	load_slot(&a, T0, &bt->exit_t0);
	op_slot(&a, 0xff, 4, &bt->resume_at); /* jmp [resume_at] */
	bt_emit_cross_common(bt, &a);
	c->code_base_used = c->code_used = (uint32_t)ALIGN_UP(a.pc - (uint32_t)(uintptr_t)c->code_rx, 16);
}

static void find_liveness(struct translation *t, const uint8_t *page)
{
	const struct bt_peek peek = {
		.decoder = &t->bt->cache->decoder[bt_code_size(&t->mode)], .patterns = patterns_of(t), .page = page, .la = t->b->la & PAGE_MASK, .gpa = t->b->gpa & PAGE_MASK,
		.version = t->b->version, .memo = t->memo, .ram = t->bt->v->ram, .granules = &t->granules,
	};

	/* With 16-bit offsets the targets wrap at 64 KiB, which must be a page's end for what looks into pages. */
	bool wraps = bt_code_size(&t->mode) == CODE_16 && (t->mode.legacy.cs_base & (PAGE_SIZE - 1));

	/* In front of a breakpoint somebody reads flags that the guest would not. */
	bool watched = t->bt->v->group->points.n_breakpoints;

	bt_flag_liveness(t->insn, t->n, wraps || watched ? NULL : &peek);
}

static void plan_loop(struct translation *t)
{
	t->loop.n = 0;
	if (t->mode.legacy.on || t->mode.form != FORM_NORMAL || t->b->gpa2 != BT_NO_PAGE)
		return;
	bt_loop_plan(&t->loop, t->insn, t->n);
	t->bt->v->stats.bt_loops += t->loop.n != 0;
}

static void plan(struct translation *t)
{
	unsigned what = (t->mode.form == FORM_NORMAL ? PLAN_GROUPS : 0) | (t->mode.stack ? PLAN_STACK : 0);

	bt_plan(&t->plan, t->insn, t->n, t->mode.legacy.on ? 0 : what);
}

struct bt_block *bt_translate(struct bt *bt, uint64_t la, uint64_t gpa, uint64_t gpa2, struct bt_mode mode)
{
	struct bt_cache *c = bt->cache;
	struct translation *t = c->translation;
	uint64_t page = gpa & PAGE_MASK;
	uint32_t start;

	t->bt = bt;
	t->mode = mode;
	t->n = t->n_stubs = 0;
	t->b = bt_block_new(c);
	t->b->la = la;
	t->b->gpa = gpa;
	t->b->gpa2 = BT_NO_PAGE;
	t->b->mode = mode;
	t->granules = 0;
	t->b->version = ram_mark_code(bt->v->ram, gpa, 1);
	decode_block(t, bt->v->ram->base + page, gpa2);
	end_block(t);
	find_liveness(t, bt->v->ram->base + page);
	plan_loop(t);
	plan(t);
	start = (uint32_t)(uintptr_t)c->code_rx + c->code_used;
	t->a = (struct assembler){ .rw = bt_rw(c, start), .pc = start, .slots = bt, .start = start };
	if (bt_moves(la, &mode))
		t->a.move = t->move;
	emit_entries(t);
	emit_insns(t);
	t->code_end = t->a.pc;
	emit_flags_entry(t);
	if (t->loop.n)
		bt_emit_loop(t);
	t->loop_end = t->a.pc;
	emit_stubs(t);
	t->b->end = t->a.pc;
	c->code_used = (uint32_t)ALIGN_UP(t->a.pc - (uint32_t)(uintptr_t)c->code_rx, 16);
	bt_note_contents(bt, t->b, t->granules);
	bt_block_publish(c, t->b);
	if (t->a.move)
		bt_keep_moves(c, t->b, start, t->move, t->a.n_moves);
	return t->b;
}
