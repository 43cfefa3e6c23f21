/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A block as it is translated, as text: guest code, what the passes have found of each instruction, and the code emitted for it. */
#include "cpu/bt/insn.h"
#include "cpu/disasm.h"

static const char *const class_name[BT_CLASSES] = {
	[BT_COPY] = "copy",
	[BT_MEMORY] = "memory",
	[BT_LEA] = "constant",
	[BT_NOP] = "nop",
	[BT_PUSH] = "push",
	[BT_POP] = "pop",
	[BT_LEAVE] = "leave",
	[BT_JCC] = "conditional jump",
	[BT_JMP] = "jump",
	[BT_CALL] = "call",
	[BT_JMP_IND] = "indirect jump",
	[BT_CALL_IND] = "indirect call",
	[BT_RET] = "return",
	[BT_SYSTEM] = "system",
	[BT_SYSTEM_END] = "system, ends the block",
	[BT_INLINE] = "inline",
	[BT_INLINE_END] = "inline, ends the block",
	[BT_LEGACY] = "legacy",
	[BT_LEGACY_JCC] = "legacy conditional jump",
	[BT_LEGACY_END] = "legacy, ends the block",
	[BT_INTERP] = "reference",
	[BT_INTERP_FPU] = "reference, FPU",
};

static const char *const site_name[SITE_KINDS] = {
	[SITE_LOOKUP] = "go on at",
	[SITE_INDIRECT] = "indirect branch",
	[SITE_POLL] = "something is pending at",
	[SITE_TLB] = "TLB miss of",
	[SITE_GROUP] = "group's check failed before",
	[SITE_STACK] = "fault in the stack window by",
	[SITE_OFF_STACK] = "RSP is off the stack window at",
	[SITE_CROSSED] = "page-crossing store before",
	[SITE_SYSTEM] = "C code for",
	[SITE_INTERP] = "reference for",
	[SITE_INTERP_FPU] = "reference (FPU) for",
};

static const char *const form_name[] = {
	[FORM_NORMAL] = "normal",
	[FORM_UNGROUPED] = "ungrouped",
	[FORM_CROSSING] = "crossing",
};

/* Outside of 64-bit mode the upper half is the code segment's base (run.c). */
static unsigned long long linear(const struct bt_block *b, uint64_t la)
{
	return b->mode.legacy.on ? (uint32_t)la : la;
}

static void host_lines(const struct bt_cache *c, uint32_t pc, uint32_t end, struct strbuf *out)
{
	while (pc < end) {
		strbuf_addf(out, "      ");
		pc += disasm_host(pc, bt_rw(c, pc), MIN(end - pc, DISASM_MAX), out);
	}
}

/* From RAM, for what a pass has rewritten was not the guest's. */
static void guest_line(const struct bt *bt, const struct bt_block *b, uint64_t la, struct strbuf *out)
{
	const uint8_t *base = bt->v->ram->base;
	unsigned off = (unsigned)(la & (PAGE_SIZE - 1)), n = 0;
	uint8_t bytes[DISASM_MAX];

	for (; n < DISASM_MAX && off + n < PAGE_SIZE; n++)
		bytes[n] = ((const volatile uint8_t *)base)[(b->gpa & PAGE_MASK) + off + n];
	for (unsigned k = 0; b->gpa2 < BT_UNMAPPED_PAGE && n < DISASM_MAX; n++, k++)
		bytes[n] = ((const volatile uint8_t *)base)[(b->gpa2 & PAGE_MASK) + k];
	strbuf_addf(out, "  ");
	disasm_guest(&bt->v->s, linear(b, la), bytes, n, out);
}

static void access_mark(const struct translation *t, unsigned n, struct strbuf *out)
{
	if (t->plan.at[n].group == BT_STACK_GROUP)
		strbuf_addf(out, "; access by the stack window%s", t->plan.at[n].reload ? ", distance reloaded" : "");
	else if (t->plan.at[n].group >= 0)
		strbuf_addf(out, "; access of group %d%s", t->plan.at[n].group, t->plan.at[n].reload ? ", addend reloaded" : "");
	else if (bt_has_access(&t->insn[n]))
		strbuf_addf(out, "; access with its own check");
}

static void marks(const struct translation *t, unsigned n, struct strbuf *out)
{
	const struct bt_insn *in = &t->insn[n];
	bool parked = t->bt->cache->map[t->b->map + n].parked;

	strbuf_addf(out, "    [%u] %s; flags %s", n, class_name[in->cls], !in->flags_live ? "dead" : parked ? "live, parked" : "live");
	access_mark(t, n, out);
	strbuf_addf(out, "%s%s", t->plan.at[n].probe ? "; RSP is probed before" : "", t->plan.at[n].verify ? "; RSP is verified behind" : "");
	for (unsigned k = 0; k < 2; k++)
		if (in->uses[k] || in->defs[k])
			strbuf_addf(out, "; r%u %s", 10 + k, !in->defs[k] ? "read" : in->uses[k] ? "read, written" : "written");
	strbuf_addf(out, "\n");
}

static void groups(const struct bt_plan *p, struct strbuf *out)
{
	for (unsigned k = 0; k < p->n_groups; k++) {
		const struct bt_group *g = &p->group[k];

		if (bt_group_used(g))
			strbuf_addf(out, "  group %u: %u bytes, %u accesses, checked for %s before [%u]%s\n", k, g->size, g->members,
				    g->write ? "writing" : "reading", g->check, g->kept ? ", addend kept" : "");
	}
}

/* Each is followed by its struct bt_site, which is data. */
static void ways_out(const struct translation *t, struct strbuf *out)
{
	for (unsigned n = 0; n < t->n_stubs; n++) {
		const struct bt_site *s = &t->stub[n].site;
		uint32_t end = n + 1 < t->n_stubs ? t->stub[n + 1].start : t->b->end;

		strbuf_addf(out, "  way out: %s %#llx\n", site_name[s->kind], linear(t->b, s->rip));
		host_lines(t->bt->cache, t->stub[n].start, end - (uint32_t)sizeof(struct bt_site), out);
	}
}

static void head(const struct bt_block *b, const char *what, struct strbuf *out)
{
	strbuf_addf(out, "%s %#llx: mode %u, %s, form %s%s, %u instructions, %u bytes at %#x\n", what, linear(b, b->la), b->mode.mmu,
		    !b->mode.legacy.on ? "64-bit" : b->mode.legacy.code32 ? "32-bit" : "16-bit", form_name[b->mode.form], b->mode.stack ? ", stack window" : "", b->insns,
		    b->end - b->ientry, b->ientry);
}

static void loop(const struct translation *t, struct strbuf *out)
{
	const struct bt_loop *l = &t->loop;

	for (unsigned k = 0; k < l->n_streams; k++) {
		const struct bt_stream *s = &l->stream[k];

		strbuf_addf(out, "  stream %u: %u bytes from %+d off r%u", k, s->size, s->off, s->base);
		if (s->index != BT_PLAN_NONE)
			strbuf_addf(out, " + r%u * %u", s->index, s->scale);
		strbuf_addf(out, ", steps of %d, checked for %s, carried by r%u%s\n", s->step, s->write ? "writing" : "reading", s->carrier,
			    s->carrier == T1 && !l->stolen[1] ? ", which is the addend" : "");
	}
	strbuf_addf(out, "  the loop for many iterations:\n");
	host_lines(t->bt->cache, t->b->loop_entry, t->loop_end, out);
}

static void translated(const struct translation *t, struct strbuf *out)
{
	const struct bt_cache *c = t->bt->cache;
	const struct bt_block *b = t->b;

	head(b, "block", out);
	groups(&t->plan, out);
	host_lines(c, b->ientry, b->body, out);
	for (unsigned n = 0; n < t->n; n++) {
		guest_line(t->bt, b, t->insn[n].rip, out);
		marks(t, n, out);
		host_lines(c, c->map[b->map + n].host, n + 1 < t->n ? c->map[b->map + n + 1].host : t->code_end, out);
	}
	if (t->loop.n)
		loop(t, out);
	ways_out(t, out);
}

void bt_trace(struct bt *bt, const struct bt_block *b, bool copy)
{
	const struct block_tracer *tr = &bt->v->group->block_tracer;
	uint64_t first = linear(b, b->la), last;
	struct strbuf out = STRBUF_INIT;

	if (!tr->text)
		return;
	last = first + bt->cache->map[b->map + b->insns - 1].rip_off;
	if (last < tr->from || first > tr->to)
		return;
	if (copy) {
		head(b, "copy of a block, to", &out);
		bt_dump_code(bt, b, &out);
	} else {
		translated(bt->cache->translation, &out);
	}
	tr->text(tr->opaque, out.buf, out.len);
	strbuf_release(&out);
}
