/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delivery of a fault through the IDT in 64-bit mode, the plain case: an interrupt or trap gate to a ring-0 segment of 64-bit
 * code, from ring 3 or 0, with every table and the whole frame in ordinary memory. All of it is looked at before anything is
 * changed; whatever is different is the reference's (cpu/interp/event.c), which then raises what there is to raise.
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
	unsigned sel, ist;
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

bool bt_deliver_fault(struct bt *bt, uint8_t vector, uint32_t err)
{
	struct x86_state *s = &bt->v->s;
	struct gate g;
	uint64_t rsp, *frame;

	if (!x86_64bit(s) || s->cpl % 3 || !read_gate(bt, vector, &g) || !read_stack(bt, &g, &rsp))
		return false;
	rsp = (rsp & ~15ull) - (FRAME_WORDS + 1) * 8;
	if (!x86_canonical(s, rsp) || !x86_canonical(s, rsp + (FRAME_WORDS + 1) * 8 - 1) ||
	    !(frame = bt_reach(bt, rsp, (FRAME_WORDS + 1) * 8, true, MMU_KERNEL)))
		return false;
	frame[5] = s->seg[SEG_SS].sel;
	frame[4] = s->gpr[R_SP];
	frame[3] = s->rflags | FL_RF;
	frame[2] = s->seg[SEG_CS].sel;
	frame[1] = s->rip;
	frame[0] = err;
	ram_note_write(bt->v->ram, (uint64_t)((uint8_t *)frame - bt->v->ram->base), (FRAME_WORDS + 1) * 8);
	enter(s, &g, rsp);
	return true;
}
