/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What counts as a difference between the host CPU and an engine. */
#include <string.h>
#include "compare.h"

#define FSW_ES BIT(7)
enum { ENV_POINTERS = 6, ENV_END = 28 }; /* where in an x87 environment pointers are, in one format or the other */
#define X87_POINTER_BITS (BIT(47) - 1) /* processors differ in how they sign-extend what is not canonical */

/* What may differ in the outcome of one case. */
struct tolerance {
	uint64_t flags;
	uint64_t cr2;
	uint64_t gpr, rsp; /* upper halves that may differ */
	uint32_t err;
	bool x87_pointers, fdp;
	int env;           /* image offset of an x87 environment whose pointers do not count, or -1 */
	bool memory;
	bool all;
	int zmm;           /* of this register only the low bytes count, if not -1 */
	unsigned zmm_bytes;
};

/* Linux hides from its processes which of the kernel's pages are there, from here on. */
#define LINUX_TASK_END 0x7ffffffff000ull

/* Several accesses, in an order that is the implementation's: which byte of the page faults is too. */
static bool many_accesses(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR: case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64: case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_IRET: case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ:
	case ZYDIS_MNEMONIC_PUSHA: case ZYDIS_MNEMONIC_PUSHAD: case ZYDIS_MNEMONIC_POPA: case ZYDIS_MNEMONIC_POPAD:
		return true;
	default:
		return in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
	}
}

/* A masked store of nothing may fault or not (SDM vol. 2, MASKMOVDQU). */
static bool stores_nothing(const struct diff_case *c, const struct decoded_insn *d)
{
	unsigned bytes = d->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? 8 : 16, n, any = 0;
	const ZydisDecodedOperand *op = &d->op[0];
	const uint8_t *mask;

	if (d->i.mnemonic != ZYDIS_MNEMONIC_MASKMOVQ && d->i.mnemonic != ZYDIS_MNEMONIC_MASKMOVDQU &&
	    d->i.mnemonic != ZYDIS_MNEMONIC_VMASKMOVDQU)
		return false;
	/* The second register. */
	while (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
		op++;
	n = (unsigned)ZydisRegisterGetId(op[1].reg.value);
	mask = bytes == 8 ? c->fpu.st[n & 7] : c->fpu.zmm[n];
	for (unsigned i = 0; i < bytes; i++)
		any |= mask[i] & 0x80;
	return !any;
}

/*
 * Of several faults which comes first is the implementation's: frames read before or after their contents are
 * judged, pushes before or after the target is, the two operands of a compare.
 */
static bool order_is_open(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_IRET: case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ: case ZYDIS_MNEMONIC_CALL:
	case ZYDIS_MNEMONIC_POPA: case ZYDIS_MNEMONIC_POPAD: case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_CMPSB: case ZYDIS_MNEMONIC_CMPSW: case ZYDIS_MNEMONIC_CMPSD: case ZYDIS_MNEMONIC_CMPSQ:
		return true;
	default:
		return in->mnemonic == ZYDIS_MNEMONIC_RET && in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
	}
}

/*
 * AMD's processors load and save the x87 pointers only while an exception is pending; else what they hold is left
 * from somebody's earlier instruction, and FNSTENV and FNSAVE show it.
 */
static void tolerate_pointers(const struct diff_case *c, const struct decoded_insn *d, struct tolerance *t)
{
	bool pending = c->fpu.fsw & FSW_ES, memory = false;

	for (unsigned i = 0; i < d->i.operand_count; i++) {
		if (d->op[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		memory = true;
		if (!pending && (d->i.mnemonic == ZYDIS_MNEMONIC_FNSTENV || d->i.mnemonic == ZYDIS_MNEMONIC_FNSAVE))
			t->env = world_image_offset(steer_linear(c, d, &d->op[i]));
	}
	t->fdp = !pending && !memory;
}

/* A gather of 32-bit elements by 64-bit indices zeroes the upper part of its destination when it gets there. */
static void tolerate_gather(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *op, struct tolerance *t)
{
	if (in->mnemonic != ZYDIS_MNEMONIC_VGATHERQPS && in->mnemonic != ZYDIS_MNEMONIC_VPGATHERQD)
		return;
	t->zmm = ZydisRegisterGetId(op[0].reg.value);
	t->zmm_bytes = in->avx.vector_length / 16;
}

/* Linux keeps the CPU's number in a segment of its own, which the engine's world does not have. */
#define SEL_LINUX_CPU_NUMBER 0x78

static bool loads_far_pointer(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_LDS: case ZYDIS_MNEMONIC_LES: case ZYDIS_MNEMONIC_LFS: case ZYDIS_MNEMONIC_LGS:
	case ZYDIS_MNEMONIC_LSS:
		return true;
	default:
		return false;
	}
}

static bool uses_fs_or_gs(const struct decoded_insn *d)
{
	for (unsigned i = 0; i < d->i.operand_count; i++)
		if (d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && (d->op[i].mem.segment == ZYDIS_REGISTER_FS ||
								   d->op[i].mem.segment == ZYDIS_REGISTER_GS))
			return true;
	return false;
}

/* What no manual says, seen on the processors that this runs on; `both`: host and engine fault on the instruction. */
static void tolerate_undocumented(const struct decoded_insn *d, const struct outcome *native,
				  const struct outcome *subject, bool both, struct tolerance *t)
{
	if (loads_far_pointer(&d->i) && subject->vector == X86_GP && (subject->err & ~3u) == SEL_LINUX_CPU_NUMBER)
		t->all = true;
	/* An effective address that is not canonical, and is with the base of FS or GS added: AMD's judge both. */
	if (both && uses_fs_or_gs(d) && native->vector == X86_GP && subject->vector == X86_PF &&
	    subject->cr2 >= LINUX_TASK_END)
		t->all = true;
	/* Misaligned within the limit of a segment, and reaching beyond it: which comes first? */
	if (both && native->vector == X86_AC && (subject->vector == X86_GP || subject->vector == X86_SS))
		t->all = true;
	/* Which byte of an element that is split over pages is reported. */
	if (both && d->i.meta.category == ZYDIS_CATEGORY_SCATTER && native->vector == X86_PF)
		t->cr2 = PAGE_SIZE - 1;
	/* It can make an old exception a pending one, whose pointers AMD's processors have not kept. */
	if (d->i.mnemonic == ZYDIS_MNEMONIC_FLDCW)
		t->x87_pointers = true;
}

/* AF of logic and shifts; flags of a faulting instruction; and over the end of the canonical half, which fault comes first. */
static void tolerate_block(const struct compare *cmp, const struct diff_case *c, const struct outcome *native,
			   const struct outcome *subject, struct tolerance *t)
{
	uint64_t cr2 = native->vector == X86_PF ? native->cr2 : subject->cr2;

	t->flags |= FL_AF;
	if (cmp->dead_flags && native->rip - c->rip < c->code_len)
		t->flags |= FL_ARITH;
	if (native->rip == subject->rip && native->vector != subject->vector && cr2 >= LINUX_TASK_END && cr2 < BIT(47))
		t->all = true;
}

static void tolerate_insn(const struct compare *cmp, const struct diff_case *c, const struct outcome *native,
			  const struct outcome *subject, struct tolerance *t)
{
	bool faulted = native->rip == c->rip, both = faulted && subject->rip == c->rip;
	struct decoded_insn d;

	if (c->n_insns) {
		tolerate_block(cmp, c, native, subject, t);
		return;
	}
	if (!gen_decode(cmp->catalog, c, &d)) {
		/*
		 * What Zydis refuses is #UD in the engine, or #GP when it is too long. The host counts the bytes of such an
		 * instruction before it judges its prefixes, and ignores EVEX.b and EVEX.V' where they mean nothing.
		 * Where both take it for a NOP, what follows is not known to be comparable.
		 */
		t->all = subject->rip == c->rip ? subject->vector == X86_UD || (both && subject->vector == X86_GP) : !faulted;
		return;
	}
	if (!c->insn_len)
		return;
	tolerate_undocumented(&d, native, subject, both, t);
	if (!cmp->strict && d.i.cpu_flags)
		t->flags |= d.i.cpu_flags->undefined & FL_ARITH;
	if (native->vector == X86_PF && many_accesses(&d.i)) {
		t->cr2 = ~0ull;
		t->err = PF_P;
	}
	if (cmp->dead_flags && both && d.i.cpu_flags)
		t->flags |= (d.i.cpu_flags->modified | d.i.cpu_flags->set_0 | d.i.cpu_flags->set_1 |
			     d.i.cpu_flags->undefined) & FL_ARITH;
	/* What was written before the fault stays written, or not. */
	if (faulted && (d.i.mnemonic == ZYDIS_MNEMONIC_ENTER || many_accesses(&d.i)))
		t->memory = true;
	if ((faulted && stores_nothing(c, &d)) || (both && order_is_open(&d.i)))
		t->all = true;
	/* Components in their initial state are read, too, or not. */
	if (faulted && (native->vector == X86_PF || (c->mode != MODE_64 && native->vector != X86_UD)) &&
	    (d.i.mnemonic == ZYDIS_MNEMONIC_XRSTOR || d.i.mnemonic == ZYDIS_MNEMONIC_XRSTOR64))
		t->all = true;
	if (faulted)
		tolerate_gather(&d.i, d.op, t);
	tolerate_pointers(c, &d, t);
}

/* An opcode that the host does not have is refused without a look at its operands, which may be a page further. */
static bool refused_or_not_fetched(const struct diff_case *c, const struct outcome *a, const struct outcome *b)
{
	return a->vector == X86_UD && b->vector == X86_PF && a->rip == c->rip && b->rip == c->rip && (b->err & PF_I);
}

static void tolerate(const struct compare *cmp, const struct diff_case *c, const struct outcome *native,
		     const struct outcome *subject, struct tolerance *t)
{
	*t = (struct tolerance){ .zmm = -1, .env = -1 };
	t->all = refused_or_not_fetched(c, native, subject) || refused_or_not_fetched(c, subject, native);
	/* Over the end of the canonical half: the page before it, which no process of Linux has, or the hole first? */
	if (native->vector == X86_PF && native->cr2 >= LINUX_TASK_END && native->cr2 < BIT(47) &&
	    (subject->vector == X86_GP || subject->vector == X86_SS) && subject->rip == c->rip)
		t->all = true;
	if (native->vector == X86_PF && native->cr2 >= LINUX_TASK_END)
		t->err |= PF_P;
	/* AMD's processors save them only while an exception is pending (APM vol. 2, 11.4.4.3). */
	t->x87_pointers = !(native->fpu.fsw & FSW_ES);
	/*
	 * The upper halves of registers are undefined outside of 64-bit mode (SDM vol. 1, 3.4.1.1); in that of RSP
	 * Linux's own stack shows after an IRET to a 16-bit stack segment.
	 */
	if (c->mode != MODE_64)
		t->gpr = ~0xffffffffull;
	if (c->mode != MODE_64 || native->sel[SEG_CS] != SEL_CS64)
		t->rsp = ~0xffffffffull;
	/* After a step of a repeated string instruction RF should be set (SDM vol. 3, 17.3.1.1); AMD's leave it clear. */
	if (native->vector == X86_DB && native->rip == c->rip)
		t->flags |= FL_RF;
	/* AMD's processors push RF clear for a fetch beyond the limit of CS. */
	if (c->sel[SEG_CS] == LDT_SEL(LDT_CODE32) && native->rip + 15 > world_ldt[LDT_CODE32].limit)
		t->flags |= FL_RF;
	tolerate_insn(cmp, c, native, subject, t);
}

struct differences {
	struct strbuf *why;
	bool any;
};

static void differ(struct differences *d, const char *what, int n, uint64_t native, uint64_t subject)
{
	d->any = true;
	if (!d->why)
		return;
	strbuf_addf(d->why, "    %s", what);
	if (n >= 0)
		strbuf_addf(d->why, "%d", n);
	strbuf_addf(d->why, ": host %#llx, engine %#llx\n", (unsigned long long)native, (unsigned long long)subject);
}

#define CHECK(name, n, a, b)                                                     \
	do {                                                                     \
		if ((uint64_t)(a) != (uint64_t)(b))                              \
			differ(d, name, n, a, b);                                \
	} while (0)

static const char *const gpr_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					   "r8",  "r9",	 "r10", "r11", "r12", "r13", "r14", "r15" };
static const char *const seg_names[SEG_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs" };

static void bytes_print(struct strbuf *out, const uint8_t *p, unsigned n)
{
	for (unsigned i = n; i-- > 0;)
		strbuf_addf(out, "%02x%s", p[i], i && i % 8 == 0 ? "_" : "");
}

static void check_bytes(struct differences *d, const char *what, unsigned n, const uint8_t *a, const uint8_t *b,
			unsigned len)
{
	if (!memcmp(a, b, len))
		return;
	d->any = true;
	if (!d->why)
		return;
	strbuf_addf(d->why, "    %s%u: host ", what, n);
	bytes_print(d->why, a, len);
	strbuf_addf(d->why, "\n    %*s engine ", (int)strlen(what) + 1, "");
	bytes_print(d->why, b, len);
	strbuf_add(d->why, "\n", 1);
}

static void check_fpu(struct differences *d, const struct x86_fpu *a, const struct x86_fpu *b,
		      const struct tolerance *t)
{
	CHECK("fcw", -1, a->fcw, b->fcw);
	CHECK("fsw", -1, a->fsw, b->fsw);
	CHECK("ftw", -1, a->ftw, b->ftw);
	if (!t->x87_pointers) {
		CHECK("fop", -1, a->fop, b->fop);
		CHECK("fip", -1, a->fip & X87_POINTER_BITS, b->fip & X87_POINTER_BITS);
		if (!t->fdp)
			CHECK("fdp", -1, a->fdp & X87_POINTER_BITS, b->fdp & X87_POINTER_BITS);
	}
	CHECK("mxcsr", -1, a->mxcsr, b->mxcsr);
	for (unsigned i = 0; i < 8; i++) {
		check_bytes(d, "st", i, a->st[i], b->st[i], 10);
		CHECK("k", (int)i, a->k[i], b->k[i]);
	}
	if (memcmp(a->zmm, b->zmm, sizeof(a->zmm)))
		for (unsigned i = 0; i < 32; i++)
			check_bytes(d, "zmm", i, a->zmm[i], b->zmm[i], (int)i == t->zmm ? t->zmm_bytes : 64);
}

/* One changed line, without the bytes that the tolerance leaves out. */
static void check_line(struct differences *d, const struct changed_line *a, const struct changed_line *b,
		       const struct tolerance *t)
{
	struct changed_line x = *a, y = *b;

	for (int i = 0; t->env >= 0 && i < LINE_SIZE; i++) {
		int off = x.line * LINE_SIZE + i - t->env;

		if (off >= ENV_POINTERS && off < ENV_END)
			x.data[i] = y.data[i] = 0;
	}
	check_bytes(d, "memory line ", a->line, x.data, y.data, LINE_SIZE);
}

static bool has_line(const struct outcome *o, unsigned line)
{
	for (unsigned i = 0; i < MIN(o->n_lines, (unsigned)OUTCOME_LINES); i++)
		if (o->line[i].line == line)
			return true;
	return false;
}

/*
 * The lines kept that count, and how many those are. One that begins with the pointers of an x87 environment has changed on one side only when
 * these, which the tolerance leaves out, were by chance what stood there.
 */
static unsigned lines_that_count(const struct outcome *o, const struct outcome *other, const struct tolerance *t,
				 const struct changed_line *line[OUTCOME_LINES])
{
	unsigned n = 0;

	for (unsigned i = 0; i < MIN(o->n_lines, (unsigned)OUTCOME_LINES); i++) {
		int off = o->line[i].line * LINE_SIZE - t->env;

		if (t->env < 0 || off < ENV_POINTERS || off >= ENV_END || has_line(other, o->line[i].line))
			line[n++] = &o->line[i];
	}
	return n;
}

/* Of which only a hash was kept. */
static unsigned more_lines(const struct outcome *o)
{
	return o->n_lines - MIN(o->n_lines, (unsigned)OUTCOME_LINES);
}

static void check_memory(struct differences *d, const struct outcome *a, const struct outcome *b,
			 const struct tolerance *t)
{
	const struct changed_line *in_a[OUTCOME_LINES], *in_b[OUTCOME_LINES];
	unsigned a_lines = lines_that_count(a, b, t, in_a), b_lines = lines_that_count(b, a, t, in_b);

	CHECK("lines of memory changed", -1, a_lines + more_lines(a), b_lines + more_lines(b));
	CHECK("memory hash", -1, a->mem_hash, b->mem_hash);
	for (unsigned i = 0; i < MIN(a_lines, b_lines); i++) {
		CHECK("changed line ", (int)i, in_a[i]->line, in_b[i]->line);
		if (in_a[i]->line == in_b[i]->line)
			check_line(d, in_a[i], in_b[i], t);
	}
}

static void check_all(struct differences *d, const struct outcome *a, const struct outcome *b,
		      const struct tolerance *t)
{
	CHECK("end (1 trap, 2 hang, 3 death)", -1, a->kind, b->kind);
	CHECK("exception", -1, a->vector, b->vector);
	CHECK("error code", -1, a->err & ~t->err, b->err & ~t->err);
	CHECK("cr2", -1, a->cr2 & ~t->cr2, b->cr2 & ~t->cr2);
	CHECK("rip", -1, a->rip, b->rip);
	for (unsigned i = 0; i < 16; i++)
		if ((a->gpr[i] ^ b->gpr[i]) & ~(i == R_SP ? t->rsp : i < 8 ? t->gpr : 0))
			differ(d, gpr_names[i], -1, a->gpr[i], b->gpr[i]);
	CHECK("rflags", -1, a->rflags & ~t->flags, b->rflags & ~t->flags);
	/* A null selector in DS, ES, FS or GS loses its RPL at the IRET by which Linux comes back (SDM vol. 2). */
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (a->sel[i] != b->sel[i] && (a->sel[i] | b->sel[i]) > 3)
			differ(d, seg_names[i], -1, a->sel[i], b->sel[i]);
	CHECK("fs base", -1, a->fs_base, b->fs_base);
	CHECK("gs base", -1, a->gs_base, b->gs_base);
	check_fpu(d, &a->fpu, &b->fpu, t);
	if (!t->memory)
		check_memory(d, a, b, t);
}

bool outcomes_agree(const struct compare *cmp, const struct diff_case *c, const struct outcome *native,
		    const struct outcome *subject, struct strbuf *why)
{
	struct differences d = { .why = why };
	struct tolerance t;

	tolerate(cmp, c, native, subject, &t);
	if (!t.all)
		check_all(&d, native, subject, &t);
	return !d.any;
}

/* -- Text -------------------------------------------------------------------------------------- */

static void insn_print(const struct compare *cmp, const struct diff_case *c, struct strbuf *out)
{
	struct decoded_insn d;
	ZydisFormatter f;
	char text[128] = "(does not decode)";

	if (gen_decode(cmp->catalog, c, &d)) {
		ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
		ZydisFormatterFormatInstruction(&f, &d.i, d.op, d.i.operand_count_visible, text, sizeof(text),
						c->rip, NULL);
	}
	strbuf_addf(out, "%s\n    bytes", text);
	for (unsigned i = 0; i < c->code_len; i++)
		strbuf_addf(out, " %02x", c->code[i]);
}

void case_print(const struct compare *cmp, const struct diff_case *c, struct strbuf *out)
{
	static const char *const modes[CASE_MODES] = { "64-bit", "32-bit", "16-bit" };

	strbuf_addf(out, "%s: ", modes[c->mode]);
	insn_print(cmp, c, out);
	strbuf_addf(out, "\n    rip %#llx (linear %#llx) rflags %#llx\n   ", (unsigned long long)c->rip,
		    (unsigned long long)c->start, (unsigned long long)c->rflags);
	for (unsigned i = 0; i < 16; i++)
		if (c->gpr[i])
			strbuf_addf(out, " %s=%#llx", gpr_names[i], (unsigned long long)c->gpr[i]);
	strbuf_addf(out, "\n   ");
	for (unsigned i = 0; i < SEG_COUNT; i++)
		strbuf_addf(out, " %s=%#x", seg_names[i], c->sel[i]);
	strbuf_addf(out, " fsbase=%#llx gsbase=%#llx\n    mxcsr %#x fcw %#x fsw %#x ftw %#x\n",
		    (unsigned long long)c->fs_base, (unsigned long long)c->gs_base, c->fpu.mxcsr, c->fpu.fcw,
		    c->fpu.fsw, c->fpu.ftw);
	for (unsigned i = 0; i < 8; i++)
		if (c->fpu.k[i])
			strbuf_addf(out, "    k%u %#llx\n", i, (unsigned long long)c->fpu.k[i]);
	for (unsigned i = 0; i < 8; i++)
		if (c->fpu.st[i][0] || memcmp(c->fpu.st[i], c->fpu.st[i] + 1, 9)) {
			strbuf_addf(out, "    st%u ", i);
			bytes_print(out, c->fpu.st[i], 10);
			strbuf_addf(out, "\n");
		}
	for (unsigned i = 0; i < 32; i++)
		if (c->fpu.zmm[i][0] || memcmp(c->fpu.zmm[i], c->fpu.zmm[i] + 1, 63)) {
			strbuf_addf(out, "    zmm%u ", i);
			bytes_print(out, c->fpu.zmm[i], 64);
			strbuf_addf(out, "\n");
		}
	for (unsigned i = 0; i < c->n_patches; i++) {
		strbuf_addf(out, "    memory %#x: ", c->patch[i].off);
		bytes_print(out, c->patch_data + c->patch[i].data, MIN(c->patch[i].len, 64));
		strbuf_addf(out, "\n");
	}
}

void outcome_print(const struct diff_case *c, const struct outcome *o, struct strbuf *out)
{
	static const char *const kinds[] = { "nothing", "trap", "hang", "death of the process" };

	if (o->kind != OUTCOME_TRAP)
		strbuf_addf(out, "%s", kinds[o->kind]);
	else if (outcome_completed(c, o))
		strbuf_addf(out, "completed, rip %#llx", (unsigned long long)o->rip);
	else
		strbuf_addf(out, "exception %u, error code %#x, rip %#llx, cr2 %#llx", o->vector, o->err,
			    (unsigned long long)o->rip, (unsigned long long)o->cr2);
}
