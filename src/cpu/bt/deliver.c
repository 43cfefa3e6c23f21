/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delivery of a fault or an INT n through the IDT in long mode, the plain case: an interrupt or trap gate to a ring-0 segment of
 * 64-bit code, from ring 3 or 0, with every table and the whole frame in ordinary memory. All of it is looked at before anything
 * is changed; whatever is different is the reference's (cpu/interp/event.c), which then raises what there is to raise.
 */
#include "cpu/bt/system.h"
#include "x86/desc.h"

/* SDM vol. 3, 7.7 */
#define TSS64_RSP0 0x04
#define TSS64_IST1 0x24

#define GATE_BYTES  16
#define FRAME_WORDS 5 /* SS, RSP, RFLAGS, CS, RIP; then the error code */

struct gate {
	uint64_t rip, code;
	unsigned sel, ist, dpl;
	bool trap;
};

static const uint64_t *read_words(struct bt *bt, uint64_t la, unsigned bytes)
{
	return x86_canonical(&bt->v->s, la) ? bt_reach(bt, la, bytes, false, MMU_KERNEL) : NULL;
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static bool read_gate(struct bt *bt, uint8_t vector, struct gate *g)
{
	const struct x86_state *s = &bt->v->s;
	unsigned off = vector * GATE_BYTES;
	const uint64_t *p;
	uint64_t low;

	if (off + GATE_BYTES - 1 > s->idtr.limit || !(p = read_words(bt, s->idtr.base + off, GATE_BYTES)))
		return false;
	low = load(p);
	if (!desc_is_system(low) || !desc_present(low) || (desc_type(low) | 1) != SYS_TRAP32)
		return false;
	g->trap = desc_type(low) & 1;
	g->dpl = desc_dpl(low);
	g->ist = (low >> 32) & 7;
	g->sel = (low >> 16) & SEL_MASK;
	g->rip = (low & 0xffff) | ((low >> 32) & 0xffff0000) | load(p + 1) << 32;
	g->code = bt_read_descriptor(bt, g->sel);
	return desc_is_code(g->code) && !desc_is_conforming(g->code) && !desc_dpl(g->code) && desc_is_64bit(g->code) &&
	       !desc_is_big(g->code) && x86_canonical(s, g->rip);
}

/* Where the frame begins to go down from, before it is aligned. */
static bool read_stack(struct bt *bt, const struct gate *g, uint64_t *rsp)
{
	const struct x86_state *s = &bt->v->s;
	unsigned off = g->ist ? TSS64_IST1 + (g->ist - 1) * 8 : TSS64_RSP0;
	const uint64_t *p;

	*rsp = s->gpr[R_SP];
	if (!g->ist && !s->cpl)
		return true;
	if (off + 7 > s->tr.limit || !(p = read_words(bt, s->tr.base + off, 8)))
		return false;
	__builtin_memcpy(rsp, p, 8); /* not aligned in the TSS */
	return true;
}

static void enter(struct x86_state *s, const struct gate *g, uint64_t rsp)
{
	if (s->cpl)
		s->seg[SEG_SS] = (struct x86_seg){ 0 };
	bt_load_descriptor(&s->seg[SEG_CS], g->sel, g->code);
	s->cpl = 0;
	s->gpr[R_SP] = rsp;
	s->rip = g->rip;
	s->rflags &= ~(FL_TF | FL_NT | FL_RF | FL_VM | (g->trap ? 0 : FL_IF));
	s->shadow = SHADOW_NONE;
}

/* The words, the first of them on top, on the stack that *rsp says; false: no plain case. */
static bool push_frame(struct bt *bt, uint64_t *rsp, const uint64_t *word, unsigned words)
{
	const struct x86_state *s = &bt->v->s;
	uint64_t *frame;

	*rsp = (*rsp & ~15ull) - words * 8;
	if (!x86_canonical(s, *rsp) || !x86_canonical(s, *rsp + words * 8 - 1) ||
	    !(frame = bt_reach(bt, *rsp, words * 8, true, MMU_KERNEL)))
		return false;
	for (unsigned n = 0; n < words; n++)
		frame[words - 1 - n] = word[n];
	ram_note_write(bt->v->ram, (uint64_t)((uint8_t *)frame - bt->v->ram->base), words * 8);
	return true;
}

static bool deliver(struct bt *bt, const struct gate *g, uint64_t rip, uint64_t rflags, unsigned words, uint32_t err)
{
	struct x86_state *s = &bt->v->s;
	const uint64_t word[FRAME_WORDS + 1] = { s->seg[SEG_SS].sel, s->gpr[R_SP], rflags, s->seg[SEG_CS].sel, rip, err };
	uint64_t rsp;

	if (!read_stack(bt, g, &rsp) || !push_frame(bt, &rsp, word, words))
		return false;
	enter(s, g, rsp);
	return true;
}

static bool is_plain(const struct x86_state *s)
{
	return x86_long_mode(s) && s->cpl % 3 == 0;
}

bool bt_deliver_fault(struct bt *bt, uint8_t vector, uint32_t err)
{
	struct x86_state *s = &bt->v->s;
	struct gate g;

	return is_plain(s) && read_gate(bt, vector, &g) && deliver(bt, &g, s->rip, s->rflags | FL_RF, FRAME_WORDS + 1, err);
}

enum bt_done bt_do_int(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	struct gate g;

	if (!is_plain(s) || !read_gate(bt, site->reg, &g) || g.dpl < s->cpl)
		return BT_REFUSED;
	return deliver(bt, &g, s->rip + site->len, s->rflags & ~FL_RF, FRAME_WORDS, 0) ? BT_MOVED : BT_REFUSED;
}
