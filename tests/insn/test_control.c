/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control registers, system registers, MSRs and privileged instructions (SDM vol. 2; vol. 3, ch. 2). */
#include "check.h"

/* -- CR0, CR4, CR8 (2.5) ----------------------------------------------------------------------- */

GUEST(set_cr0, 64, "mov %rax, %cr0\n mov %cr0, %rcx\n hlt");
GUEST(set_cr0_32, 32, "mov %eax, %cr0\n mov %cr0, %ecx\n hlt");
GUEST(set_cr3, 64, "mov %rax, %cr3\n mov %cr3, %rcx\n hlt");
GUEST(set_cr4, 64, "mov %rax, %cr4\n mov %cr4, %rcx\n hlt");
GUEST(set_cr4_32, 32, "mov %eax, %cr4\n mov %cr4, %ecx\n hlt");
GUEST(set_cr8, 64, "mov %rax, %cr8\n mov %cr8, %rcx\n hlt");
GUEST(set_cr2, 64, "mov %rax, %cr2\n mov %cr2, %rcx\n hlt");

static void check_set(struct tiny *t, const unsigned char *code, const unsigned char *end, uint64_t val, bool ok)
{
	GPR(t, AX) = val;
	tiny_put(t, TINY_CODE, code, (size_t)(end - code));
	if (ok) {
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(GPR(t, CX), val);
	} else {
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
}

static void test_cr0(void **state)
{
	struct tiny *t = *state;
	static const struct {
		uint64_t set, clear;
		bool ok;
	} c[] = {
		{ CR0_TS | CR0_EM | CR0_AM, 0, true }, { 0, CR0_WP | CR0_NE, true }, { CR0_CD, 0, true },
		{ CR0_NW, 0, false },            /* NW without CD */
		{ CR0_CD | CR0_NW, 0, true },    { BIT(32), 0, false },
		{ 0, CR0_PE, false },            /* PG without PE */
		{ 0, CR0_PG, false },            /* in 64-bit mode */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		tiny_enter(t, TINY_LONG, 0);
		check_set(t, set_cr0, set_cr0_end, (t->v->s.cr0 & ~c[i].clear) | c[i].set, c[i].ok);
	}
	/* ET is hard-wired, reserved bits below 32 are ignored. */
	tiny_enter(t, TINY_PROT32, 0);
	GPR(t, AX) = (t->v->s.cr0 & ~CR0_ET) | BIT(6);
	assert_int_equal(RUN(t, set_cr0_32), TINY_HLT);
	assert_int_equal(GPR(t, CX), t->v->s.cr0);
	assert_true(t->v->s.cr0 & CR0_ET);
	assert_false(t->v->s.cr0 & BIT(6));
}

static void test_cr4(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr4, set_cr4_end, CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_DE, true);
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr4, set_cr4_end, CR4_PAE | BIT(15), false); /* reserved */
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr4, set_cr4_end, CR4_PAE | BIT(63), false);
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr4, set_cr4_end, CR4_PGE, false); /* PAE must stay in IA-32e mode */
	tiny_enter(t, TINY_PROT32, 0);
	check_set(t, set_cr4_32, set_cr4_32_end, CR4_PSE | CR4_PAE, true);
	if (!(t->cpuid.cr4_allowed & CR4_PCIDE))
		return;
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr4, set_cr4_end, CR4_PAE | CR4_PCIDE, true);
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr3 |= 1;
	check_set(t, set_cr4, set_cr4_end, CR4_PAE | CR4_PCIDE, false); /* CR3[11:0] != 0 */
	tiny_enter(t, TINY_PROT32, 0);
	check_set(t, set_cr4_32, set_cr4_32_end, CR4_PCIDE, false); /* only in IA-32e mode */
}

static void test_other_crs(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr2, set_cr2_end, 0xdead00000000beef, true); /* not checked at all */
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr3, set_cr3_end, t->v->s.cr3 | 0x18, true);
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr3, set_cr3_end, t->v->s.cr3 | BIT(t->cpuid.gpa_bits), false);
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr8, set_cr8_end, 0xf, true);
	assert_int_equal(t->tpr, 0xf);
	tiny_enter(t, TINY_LONG, 0);
	check_set(t, set_cr8, set_cr8_end, 0x10, false);
	/* CR1, CR5..7, CR9..15: #UD. */
	for (unsigned n = 0; n < 16; n++) {
		uint8_t code[] = { n & 8 ? 0x44 : 0x40, 0x0f, 0x20, (uint8_t)(0xc0 | (n & 7) << 3) };
		bool there = n == 0 || n == 2 || n == 3 || n == 4 || n == 8;

		tiny_enter(t, TINY_LONG, there ? 3 : 0);
		tiny_put(t, TINY_CODE, code, sizeof(code));
		assert_fault(t, tiny_run(t), there ? X86_GP : X86_UD, TINY_CODE, 0);
	}
}

/* vol. 2, LMSW, SMSW, CLTS */
GUEST(lmsw, 32, "lmsw %ax\n hlt");
GUEST(clts, 32, "clts\n hlt");
static void test_lmsw(void **state)
{
	struct tiny *t = *state;
	uint64_t old;

	tiny_enter(t, TINY_PROT32, 0);
	old = t->v->s.cr0;
	GPR(t, AX) = 0xfff0 | CR0_TS | CR0_EM; /* PE cannot be cleared; only bits 3:0 count */
	assert_int_equal(RUN(t, lmsw), TINY_HLT);
	assert_int_equal(t->v->s.cr0, (old & ~0xeull) | CR0_TS | CR0_EM);
	tiny_enter(t, TINY_PROT32, 0);
	t->v->s.cr0 |= CR0_TS;
	assert_int_equal(RUN(t, clts), TINY_HLT);
	assert_false(t->v->s.cr0 & CR0_TS);
}

/* -- Descriptor-table, task and LDT registers (2.4) -------------------------------------------- */

GUEST(lgdt, 64, "lgdt (%rdi)\n hlt");
GUEST(lidt, 32, "lidt (%edi)\n hlt");
GUEST(lidt16, 32, "lidtw (%edi)\n hlt");

static void test_table_loads(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	tiny_poke(t, TINY_DATA, 2, 0x1234);
	tiny_poke(t, TINY_DATA + 2, 8, 0xffff800012345678);
	GPR(t, DI) = TINY_DATA;
	assert_int_equal(RUN(t, lgdt), TINY_HLT);
	assert_int_equal(t->v->s.gdtr.base, 0xffff800012345678);
	assert_int_equal(t->v->s.gdtr.limit, 0x1234);
	tiny_enter(t, TINY_LONG, 0);
	tiny_poke(t, TINY_DATA + 2, 8, BIT(62));
	GPR(t, DI) = TINY_DATA;
	assert_fault(t, RUN(t, lgdt), X86_GP, TINY_CODE, 0);
	assert_int_equal(t->v->s.gdtr.base, TINY_GDT);
	tiny_enter(t, TINY_PROT32, 0);
	tiny_poke(t, TINY_DATA + 2, 8, 0x5555555587654321);
	GPR(t, DI) = TINY_DATA;
	assert_int_equal(RUN(t, lidt), TINY_HLT);
	assert_int_equal(t->v->s.idtr.base, 0x87654321);
	tiny_enter(t, TINY_PROT32, 0);
	GPR(t, DI) = TINY_DATA;
	assert_int_equal(RUN(t, lidt16), TINY_HLT);
	assert_int_equal(t->v->s.idtr.base, 0x654321); /* 24 bits */
}

BOTH(lldt, "lldt %ax\n hlt");
BOTH(ltr, "ltr %ax\n hlt");
#define SEL_X (SEL_FREE) /* 16 bytes in IA-32e mode */

static void check_load(struct tiny *t, bool tr, unsigned lm, uint16_t sel, uint64_t desc, uint64_t upper, int vector,
		       uint32_t err)
{
	tiny_enter(t, lm ? TINY_LONG : TINY_PROT32, 0);
	tiny_set_desc(t, SEL_X, desc);
	tiny_set_desc(t, SEL_X + 8, upper);
	GPR(t, AX) = sel;
	if (lm)
		TINY_LOAD(t, TINY_CODE, lldt_64);
	else
		TINY_LOAD(t, TINY_CODE, lldt_32);
	if (tr)
		tiny_poke(t, TINY_CODE + 2, 1, 0xd8); /* 0F 00 /3 */
	if (vector == TINY_HLT)
		assert_int_equal(tiny_run(t), TINY_HLT);
	else
		assert_fault(t, tiny_run(t), vector, TINY_CODE, err);
}

static void test_lldt_ltr(void **state)
{
	struct tiny *t = *state;
	uint64_t ldt = tiny_desc(0x12340, 0x77, 0x82), tss = tiny_desc(0x12340, 0x67, 0x89);

	for (unsigned lm = 0; lm < 2; lm++) {
		check_load(t, false, lm, SEL_X, ldt, lm ? 0xffff8000 : 0, TINY_HLT, 0);
		assert_int_equal(t->v->s.ldtr.sel, SEL_X);
		assert_int_equal(t->v->s.ldtr.base, lm ? 0xffff800000012340 : 0x12340);
		check_load(t, false, lm, 3, 0, 0, TINY_HLT, 0); /* null: no LDT */
		assert_int_equal(t->v->s.ldtr.attr & SEG_P, 0);
		check_load(t, false, lm, SEL_X | 4, ldt, 0, X86_GP, SEL_X | 4);
		check_load(t, false, lm, SEL_X, tss, 0, X86_GP, SEL_X);
		check_load(t, false, lm, SEL_X, ldt & ~BIT(47), 0, X86_NP, SEL_X);
		check_load(t, true, lm, SEL_X, tss, 0, TINY_HLT, 0);
		assert_int_equal(t->v->s.tr.sel, SEL_X);
		assert_int_equal(tiny_get_desc(t, SEL_X), tiny_desc(0x12340, 0x67, 0x8b)); /* busy now */
		check_load(t, true, lm, SEL_X, tiny_desc(0, 0x67, 0x8b), 0, X86_GP, SEL_X);
		check_load(t, true, lm, 0, 0, 0, X86_GP, 0);
		check_load(t, true, lm, SEL_X, tss & ~BIT(47), 0, X86_NP, SEL_X);
		/* A 16-bit TSS: not in IA-32e mode. */
		check_load(t, true, lm, SEL_X, tiny_desc(0, 0x2b, 0x81), 0, lm ? X86_GP : TINY_HLT, SEL_X);
	}
	check_load(t, true, 1, SEL_X, tss, 0x8000, X86_GP, SEL_X);   /* not canonical */
	check_load(t, true, 1, SEL_X, tss, BIT(40), X86_GP, SEL_X);  /* a type in the upper half */
	check_load(t, false, 1, SEL_X, ldt, BIT(44), X86_GP, SEL_X);
	tiny_enter(t, TINY_LONG, 3);
	assert_fault(t, RUN(t, lldt_64), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 3);
	assert_fault(t, RUN(t, ltr_64), X86_GP, TINY_CODE, 0);
}

/* -- Privilege (5.9): #GP(0) above ring 0 ------------------------------------------------------ */

GUEST(p_hlt, 64, "hlt");
GUEST(p_cli, 64, "cli");
GUEST(p_sti, 64, "sti");
GUEST(p_clts, 64, "clts");
GUEST(p_lmsw, 64, "lmsw %ax");
GUEST(p_invlpg, 64, "invlpg (%rax)");
GUEST(p_wbinvd, 64, "wbinvd");
GUEST(p_invd, 64, "invd");
GUEST(p_rdmsr, 64, "rdmsr");
GUEST(p_wrmsr, 64, "wrmsr");
GUEST(p_lgdt, 64, "lgdt (%rax)");
GUEST(p_lidt, 64, "lidt (%rax)");
GUEST(p_cr3, 64, "mov %cr3, %rax");
GUEST(p_cr8, 64, "mov %rax, %cr8");
GUEST(p_dr7, 64, "mov %rax, %dr7");
GUEST(p_in, 64, "in %dx, %al");
GUEST(p_out, 64, "out %al, %dx");
GUEST(p_ins, 64, "insb");
GUEST(p_rdpmc, 64, "rdpmc");

static void test_privilege(void **state)
{
	static const unsigned char *const code[] = { p_hlt,	 p_cli,	  p_sti,  p_clts,  p_lmsw,  p_invlpg, p_wbinvd,
						     p_invd,	 p_rdmsr, p_wrmsr, p_lgdt, p_lidt,  p_cr3,    p_cr8,
						     p_dr7,	 p_in,	  p_out,  p_ins,   p_rdpmc };
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
		tiny_enter(t, TINY_LONG, 3);
		tiny_put(t, TINY_CODE, code[i], 4);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
}

/* What no guest has: #UD in every ring. */
static void test_undefined(void **state)
{
	static const char *const code[] = {
		"\x0f\x0b\x90\x90", /* UD2 */
		"\x0f\xb9\xc0\x90", /* UD1 */
		"\x0f\xff\xc0\x90", /* UD0 */
		"\x0f\xaa\x90\x90", /* RSM */
		"\x0f\x01\xc2\x90", /* VMLAUNCH */
		"\x0f\x01\xc4\x90", /* VMXOFF */
		"\x0f\x01\xd8\x90", /* VMRUN */
		"\x0f\x01\xdc\x90", /* STGI */
		"\x0f\x37\x90\x90", /* GETSEC */
		"\x0f\x01\xc8\x90", /* MONITOR */
		"\x0f\x01\xc9\x90", /* MWAIT */
		"\x0f\x04\x90\x90", "\x0f\x0a\x90\x90", "\x0f\x38\xff\xc0", /* nothing */
	};
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
		for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
			tiny_enter(t, TINY_LONG, cpl);
			tiny_put(t, TINY_CODE, code[i], 4);
			assert_fault(t, tiny_run(t), X86_UD, TINY_CODE, 0);
		}
	}
}

/* Both vendors' hypercalls are answered as KVM answers an unknown one: -1000 in ring 0, -1 above it. */
static void test_hypercall(void **state)
{
	static const char *const code[] = { "\x0f\x01\xc1\xf4", "\x0f\x01\xd9\xf4" };
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
		tiny_enter(t, TINY_LONG, 0);
		tiny_put(t, TINY_CODE, code[i], 4);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal((int64_t)t->v->s.gpr[R_AX], -1000);
		tiny_enter(t, TINY_PROT32, 0);
		tiny_put(t, TINY_CODE, code[i], 4);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(t->v->s.gpr[R_AX], 0xfffffc18);
		tiny_enter(t, TINY_LONG, 3);
		tiny_put(t, TINY_CODE, code[i], 4);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE + 3, 0); /* of HLT */
		assert_int_equal((int64_t)t->v->s.gpr[R_AX], -1);
	}
}

/* LOCK before what has no locked form, and before register operands. */
static void test_lock_undefined(void **state)
{
	static const char *const code[] = {
		"\xf0\x90\x90\x90", /* NOP */
		"\xf0\x01\xc0\x90", /* ADD of registers */
		"\xf0\x8b\x00\x90", /* MOV from memory */
		"\xf0\x0f\x20\xc0", /* MOV from CR0: AMD's way to CR8 where CPUID says so */
	};
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
		tiny_enter(t, TINY_LONG, 0);
		tiny_put(t, TINY_CODE, code[i], 4);
		assert_fault(t, tiny_run(t), X86_UD, TINY_CODE, 0);
	}
}

/* -- MSRs, CPUID, time ------------------------------------------------------------------------- */

GUEST(msr_round, 64, "wrmsr\n xor %eax, %eax\n xor %edx, %edx\n rdmsr\n hlt");
static void test_msrs(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	GPR(t, CX) = 0xffffffff00000000 | MSR_LSTAR; /* ECX */
	GPR(t, AX) = 0xffffffff12345678;
	GPR(t, DX) = 0xffff8000;
	assert_int_equal(RUN(t, msr_round), TINY_HLT);
	assert_int_equal(t->v->s.msr.lstar, 0xffff800012345678);
	assert_int_equal(GPR(t, AX), 0x12345678);
	assert_int_equal(GPR(t, DX), 0xffff8000);
	tiny_enter(t, TINY_LONG, 0); /* canonical only */
	GPR(t, CX) = MSR_LSTAR;
	GPR(t, DX) = 0x00800000;
	assert_fault(t, RUN(t, msr_round), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0); /* no such MSR */
	GPR(t, CX) = 0xdead;
	assert_fault(t, RUN(t, msr_round), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0);
	GPR(t, CX) = MSR_GS_BASE;
	GPR(t, AX) = 0x1234;
	assert_int_equal(RUN(t, msr_round), TINY_HLT);
	assert_int_equal(SEG(t, GS).base, 0x1234);
	/* EFER: LME cannot change while paging, reserved bits are #GP(0). */
	tiny_enter(t, TINY_LONG, 0);
	GPR(t, CX) = MSR_EFER;
	GPR(t, AX) = EFER_LMA | EFER_NXE;
	assert_fault(t, RUN(t, msr_round), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0);
	GPR(t, CX) = MSR_EFER;
	GPR(t, AX) = t->v->s.efer | BIT(2);
	assert_fault(t, RUN(t, msr_round), X86_GP, TINY_CODE, 0);
}

GUEST(cpuid_0, 64, "xor %eax, %eax\n mov $-1, %rbx\n cpuid\n int3");
static void test_cpuid(void **state)
{
	struct tiny *t = *state;
	uint32_t out[4];

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		tiny_enter(t, TINY_LONG, cpl);
		cpuid_query(t->v, 0, 0, out);
		assert_int_equal(RUN(t, cpuid_0), X86_BP);
		assert_int_equal(GPR(t, AX), out[0]);
		assert_int_equal(GPR(t, BX), out[1]);
		assert_int_equal(GPR(t, CX), out[2]);
		assert_int_equal(GPR(t, DX), out[3]);
	}
}

/* CR4.TSD, CR4.PCE; time goes on. */
GUEST(rdtsc, 64, "rdtsc\n mov %rax, %rsi\n mov %rdx, %rdi\n rdtsc\n int3");
static void test_rdtsc(void **state)
{
	struct tiny *t = *state;
	uint64_t first, second;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		for (unsigned tsd = 0; tsd < 2; tsd++) {
			tiny_enter(t, TINY_LONG, cpl);
			t->v->s.cr4 |= tsd ? CR4_TSD : 0;
			if (cpl && tsd) {
				assert_fault(t, RUN(t, rdtsc), X86_GP, TINY_CODE, 0);
				continue;
			}
			assert_int_equal(RUN(t, rdtsc), X86_BP);
			first = GPR(t, SI) | GPR(t, DI) << 32;
			second = GPR(t, AX) | GPR(t, DX) << 32;
			assert_true(second > first);
			assert_true(second - first < 1000000000);
		}
	}
}

/* vol. 2, STAC, CLAC: #UD above ring 0. */
GUEST(stac, 64, "stac\n pushfq\n pop %rax\n clac\n hlt");
static void test_stac(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 3);
	assert_fault(t, RUN(t, stac), X86_UD, TINY_CODE, 0);
	if (!cpuid_has(&t->cpuid, "smap"))
		return;
	tiny_enter(t, TINY_LONG, 0);
	assert_int_equal(RUN(t, stac), TINY_HLT);
	assert_true(GPR(t, AX) & FL_AC);
	assert_false(FLAGS(t) & FL_AC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cr0), TEST(test_cr4), TEST(test_other_crs), TEST(test_lmsw), TEST(test_table_loads),
		TEST(test_lldt_ltr), TEST(test_privilege), TEST(test_undefined), TEST(test_hypercall),
		TEST(test_lock_undefined),
		TEST(test_msrs), TEST(test_cpuid), TEST(test_rdtsc), TEST(test_stac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
