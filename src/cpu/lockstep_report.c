/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lockstep: what differs, and the report of it. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"
#include "cpu/disasm.h"
#include "cpu/lockstep_int.h"

/* -- Registers ----------------------------------------------------------------------------------------------- */

struct reg {
	const char *name;
	uint16_t off, size;
};

#define REG(n, field) { n, offsetof(struct x86_state, field), sizeof(((struct x86_state *)NULL)->field) }
#define SEG(n, field) REG(n, field.sel), REG(n ".attr", field.attr), REG(n ".limit", field.limit), REG(n ".base", field.base)

static const struct reg regs[] = {
	REG("rip", rip), REG("rflags", rflags),
	REG("rax", gpr[R_AX]), REG("rcx", gpr[R_CX]), REG("rdx", gpr[R_DX]), REG("rbx", gpr[R_BX]),
	REG("rsp", gpr[R_SP]), REG("rbp", gpr[R_BP]), REG("rsi", gpr[R_SI]), REG("rdi", gpr[R_DI]),
	REG("r8", gpr[R_8]), REG("r9", gpr[R_9]), REG("r10", gpr[R_10]), REG("r11", gpr[R_11]),
	REG("r12", gpr[R_12]), REG("r13", gpr[R_13]), REG("r14", gpr[R_14]), REG("r15", gpr[R_15]),
	SEG("es", seg[SEG_ES]), SEG("cs", seg[SEG_CS]), SEG("ss", seg[SEG_SS]), SEG("ds", seg[SEG_DS]),
	SEG("fs", seg[SEG_FS]), SEG("gs", seg[SEG_GS]), SEG("ldtr", ldtr), SEG("tr", tr),
	REG("gdtr.base", gdtr.base), REG("gdtr.limit", gdtr.limit), REG("idtr.base", idtr.base), REG("idtr.limit", idtr.limit),
	REG("cr0", cr0), REG("cr2", cr2), REG("cr3", cr3), REG("cr4", cr4),
	REG("efer", efer), REG("xcr0", xcr0), REG("xss", xss),
	REG("dr0", dr[0]), REG("dr1", dr[1]), REG("dr2", dr[2]), REG("dr3", dr[3]), REG("dr6", dr[6]), REG("dr7", dr[7]),
	REG("pdpte0", pdpte[0]), REG("pdpte1", pdpte[1]), REG("pdpte2", pdpte[2]), REG("pdpte3", pdpte[3]),
	REG("cpl", cpl), REG("shadow", shadow), REG("nmi_blocked", nmi_blocked), REG("activity", activity),
	REG("sysenter_cs", msr.sysenter_cs), REG("sysenter_esp", msr.sysenter_esp), REG("sysenter_eip", msr.sysenter_eip),
	REG("star", msr.star), REG("lstar", msr.lstar), REG("cstar", msr.cstar), REG("sfmask", msr.sfmask),
	REG("kernel_gs_base", msr.kernel_gs_base), REG("tsc_offset", msr.tsc_offset), REG("tsc_adjust", msr.tsc_adjust),
	REG("tsc_aux", msr.tsc_aux), REG("pat", msr.pat), REG("misc_enable", msr.misc_enable), REG("spec_ctrl", msr.spec_ctrl),
	REG("mtrr_def_type", msr.mtrr_def_type), REG("mcg_status", msr.mcg_status),
	REG("kvm_system_time", msr.kvm_system_time), REG("kvm_wall_clock", msr.kvm_wall_clock),
};

static uint64_t reg_value(const struct x86_state *s, const struct reg *r)
{
	uint64_t val = 0;

	memcpy(&val, (const uint8_t *)s + r->off, r->size);
	return val;
}

static void compare_vectors(const struct x86_fpu *a, const struct x86_fpu *b, struct strbuf *out)
{
	for (unsigned i = 0; i < ARRAY_SIZE(a->zmm); i++)
		for (unsigned k = 0; k < sizeof(a->zmm[0]) && memcmp(a->zmm[i], b->zmm[i], sizeof(a->zmm[0])); k += 8) {
			uint64_t x, y;

			memcpy(&x, a->zmm[i] + k, 8);
			memcpy(&y, b->zmm[i] + k, 8);
			if (x != y)
				strbuf_addf(out, "  zmm%u[%u]%*s engine %016" PRIx64 "  reference %016" PRIx64 "\n", i, k / 8,
					    i < 10 ? 12 : 11, "", x, y);
		}
	for (unsigned i = 0; i < 8; i++) {
		if (a->k[i] != b->k[i])
			strbuf_addf(out, "  k%u                 engine %016" PRIx64 "  reference %016" PRIx64 "\n", i, a->k[i], b->k[i]);
		if (memcmp(a->st[i], b->st[i], 10)) /* 80 bits; what stands above them has no meaning */
			strbuf_addf(out, "  st%u                differs\n", i);
	}
	if (a->fcw != b->fcw || a->fsw != b->fsw || a->ftw != b->ftw || a->mxcsr != b->mxcsr)
		strbuf_addf(out, "  fcw fsw ftw mxcsr   engine %x %x %x %x  reference %x %x %x %x\n", a->fcw, a->fsw, a->ftw,
			    a->mxcsr, b->fcw, b->fsw, b->ftw, b->mxcsr);
	if (a->fip != b->fip || a->fdp != b->fdp || a->fop != b->fop || a->fcs != b->fcs || a->fds != b->fds)
		strbuf_addf(out, "  fcs:fip fds:fdp fop engine %x:%" PRIx64 " %x:%" PRIx64 " %x  reference %x:%" PRIx64 " %x:%" PRIx64 " %x\n",
			    a->fcs, a->fip, a->fds, a->fdp, a->fop, b->fcs, b->fip, b->fds, b->fdp, b->fop);
}

void lockstep_compare_state(struct lockstep *ls, bool fpu, struct strbuf *out)
{
	const struct x86_state *a = &ls->v->s;
	struct x86_state *b = &ls->shadow->s;

	if (fpu)
		compare_vectors(&a->fpu, &b->fpu, out);
	if (!memcmp(a, b, offsetof(struct x86_state, fpu)))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		uint64_t x = reg_value(a, &regs[i]), y = reg_value(b, &regs[i]);

		/* Dead ones stay as the reference has them: should something read them after all, it shows. */
		if (regs[i].off == offsetof(struct x86_state, rflags) && !((x ^ y) & ~ls->loose_flags))
			continue;
		if (x != y)
			strbuf_addf(out, "  %-18s  engine %016" PRIx64 "  reference %016" PRIx64 "\n", regs[i].name, x, y);
	}
}

/* -- The report -------------------------------------------------------------------------------------------------- */

static void print_instruction(struct lockstep *ls, uint64_t rip, struct strbuf *out)
{
	struct vcpu *s = ls->shadow;
	uint8_t bytes[DISASM_MAX];
	unsigned n = 0;

	for (; n < sizeof(bytes); n++) {
		uint64_t la = (x86_64bit(&s->s) ? 0 : s->s.seg[SEG_CS].base) + rip + n, gpa;

		if (!mmu_translate_debug(&s->s, s->mem, s->cpuid->gpa_bits, la, &gpa) || !ram_contains(s->ram, gpa, 1))
			break;
		bytes[n] = s->ram->base[gpa];
	}
	disasm_guest(&s->s, rip, bytes, n, out);
}

static void print_history(struct lockstep *ls, struct strbuf *out)
{
	uint64_t n = MIN(ls->insns, LOCKSTEP_HISTORY);

	strbuf_addf(out, "last %u instructions of the reference (* in the turn that differs):\n", (unsigned)n);
	for (uint64_t i = ls->insns - n; i < ls->insns; i++) {
		unsigned k = (unsigned)(i % LOCKSTEP_HISTORY);

		strbuf_addf(out, "  %c ", ls->history[k].turn == ls->turns ? '*' : ' ');
		print_instruction(ls, ls->history[k].rip, out);
	}
}

static void print_states(struct lockstep *ls, struct strbuf *out)
{
	strbuf_addf(out, "general registers, engine | reference:\n");
	for (unsigned i = 0; i < 18; i++)
		strbuf_addf(out, "  %-7s %016" PRIx64 " | %016" PRIx64 "\n", regs[i].name, reg_value(&ls->v->s, &regs[i]),
			    reg_value(&ls->shadow->s, &regs[i]));
}

static void log_lines(const char *text)
{
	for (const char *end; *text; text = end + 1) {
		end = strchrnul(text, '\n');
		log_msg(LOG_ERROR, "%.*s", (int)(end - text), text);
		if (!*end)
			return;
	}
}

void lockstep_write_report(struct lockstep *ls, const struct strbuf *what)
{
	const struct vcpu_turn *t = &ls->turn;
	struct strbuf *out = &ls->report;

	strbuf_addf(out, "lockstep: engine '%s' and the reference differ after %" PRIu64 " turns, %" PRIu64 " instructions\n",
		    ls->v->engine->name, ls->turns, ls->insns);
	strbuf_addf(out, "the turn: from %#" PRIx64 ", %s\n", ls->turn_rip,
		    !t->n ? "a step of the reference in both" : t->left ? "a block, left by a branch or at its end" : "a block, left in the middle");
	strbuf_add(out, what->buf, what->len);
	if (t->n)
		strbuf_addf(out, "guest code of the block:\n");
	for (unsigned i = 0; i < t->n; i++) {
		strbuf_addf(out, "    ");
		print_instruction(ls, t->rip[i], out);
	}
	if (t->n && ls->v->engine->dump_block)
		ls->v->engine->dump_block(ls->v, ls->turn_rip, out);
	print_history(ls, out);
	print_states(ls, out);
	log_lines(out->buf);
}
