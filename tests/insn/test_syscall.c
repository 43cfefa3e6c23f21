/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT in every mode, by vendor (SDM vol. 2; APM vol. 3). */
#include "check.h"

#define ENTRY (TINY_CODE + 0x100)

GUEST(syscall_64, 64, "syscall\n int3");
GUEST(syscall_32, 32, "syscall\n int3");
GUEST(sysret_64, 64, "sysretq\n int3");
GUEST(sysret_32, 64, "sysretl\n int3");
GUEST(sysret_legacy, 32, "sysret\n int3");
GUEST(sysenter, 32, "sysenter\n int3");
GUEST(sysenter_64, 64, "sysenter\n int3");
GUEST(sysexit_32, 32, "sysexit\n int3");
GUEST(sysexit_64, 64, "sysexitq\n int3");

static bool amd(const struct tiny *t)
{
	return cpuid_vendor_is_amd(&t->cpuid);
}

static void set_msrs(struct tiny *t)
{
	bool lm = x86_long_mode(&t->v->s);

	/* In legacy mode the low half of STAR is the target. */
	t->v->s.msr.star = (uint64_t)SEL_CODE3 << 48 | (uint64_t)(lm ? SEL_CODE0_64 : SEL_CODE0) << 32 | (ENTRY + 2);
	t->v->s.msr.lstar = ENTRY;
	t->v->s.msr.cstar = ENTRY + 1;
	t->v->s.msr.sfmask = FL_IF | FL_DF;
	t->v->s.msr.sysenter_cs = lm ? SEL_CODE0_64 : SEL_CODE0;
	t->v->s.msr.sysenter_esp = 0x81000;
	t->v->s.msr.sysenter_eip = ENTRY;
	tiny_put(t, ENTRY, "\xf4\xf4\xf4", 3);
}

static void assert_flat(struct tiny *t, uint16_t cs, uint16_t ss, unsigned cpl, uint16_t mode_bit)
{
	assert_int_equal(SEG(t, CS).sel, cs);
	assert_int_equal(SEG(t, CS).attr, SEG_P | cpl << 5 | SEG_S | 0xb | SEG_G | mode_bit);
	assert_int_equal(SEG(t, CS).limit, 0xffffffff);
	assert_int_equal(SEG(t, CS).base, 0);
	assert_int_equal(SEG(t, SS).sel, ss);
	assert_int_equal(t->v->s.cpl, cpl);
}

static void test_syscall64(void **state)
{
	struct tiny *t = *state;
	uint64_t flags = FL_1 | FL_IF | FL_DF | FL_CF | FL_AC;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		tiny_enter(t, TINY_LONG, cpl);
		set_msrs(t);
		FLAGS(t) = flags;
		tiny_state_changed(t);
		assert_int_equal(RUN(t, syscall_64), TINY_HLT);
		assert_int_equal(t->v->s.rip, ENTRY + 1);
		assert_int_equal(GPR(t, CX), TINY_CODE + 2);
		assert_int_equal(GPR(t, 11), flags);
		assert_int_equal(FLAGS(t), flags & ~(FL_IF | FL_DF));
		/* RSP is software's business. */
		assert_int_equal(GPR(t, SP), cpl ? TINY_STACK3 : TINY_STACK);
		assert_flat(t, SEL_CODE0_64, SEL_CODE0_64 + 8, 0, SEG_L);
	}
	tiny_enter(t, TINY_LONG, 3);
	t->v->s.efer &= ~EFER_SCE;
	assert_fault(t, RUN(t, syscall_64), X86_UD, TINY_CODE, 0);
}

/* Compatibility and legacy mode: AMD's only. */
static void test_syscall32(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_COMPAT, 3);
	set_msrs(t);
	if (!amd(t)) {
		assert_fault(t, RUN(t, syscall_32), X86_UD, TINY_CODE, 0);
		return;
	}
	assert_int_equal(RUN(t, syscall_32), TINY_HLT);
	assert_int_equal(t->v->s.rip, ENTRY + 2); /* CSTAR */
	assert_int_equal(GPR(t, CX), TINY_CODE + 2);
	assert_flat(t, SEL_CODE0_64, SEL_CODE0_64 + 8, 0, SEG_L);
	tiny_enter(t, TINY_PROT32, 3);
	set_msrs(t);
	FLAGS(t) |= FL_IF;
	GPR(t, 11) = 5;
	assert_int_equal(RUN(t, syscall_32), TINY_HLT);
	assert_int_equal(t->v->s.rip, ENTRY + 3); /* STAR */
	assert_int_equal(FLAGS(t), FL_1);
	assert_int_equal(GPR(t, 11), 5);
	assert_flat(t, SEL_CODE0, SEL_DATA0, 0, SEG_DB);
	/* And back: IF is set. */
	tiny_enter(t, TINY_PROT32, 0);
	set_msrs(t);
	GPR(t, CX) = ENTRY;
	tiny_put(t, ENTRY, "\xcc", 1);
	assert_int_equal(RUN(t, sysret_legacy), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE3);
	assert_int_equal(t->frame.ss, SEL_DATA3);
	assert_int_equal(t->frame.rflags, FL_1 | FL_IF);
}

static void test_sysret(void **state)
{
	struct tiny *t = *state;
	uint64_t image = FL_1 | FL_IF | FL_IOPL | FL_ID | FL_RF | FL_VM | FL_NT;

	for (unsigned to64 = 0; to64 < 2; to64++) {
		tiny_enter(t, TINY_LONG, 0);
		set_msrs(t);
		GPR(t, CX) = ENTRY;
		GPR(t, 11) = image;
		tiny_put(t, ENTRY, "\xcc", 1);
		assert_int_equal(to64 ? RUN(t, sysret_64) : RUN(t, sysret_32), X86_BP);
		assert_int_equal(t->frame.cs, to64 ? SEL_CODE3_64 : SEL_CODE3);
		assert_int_equal(t->frame.ss, SEL_DATA3);
		assert_int_equal(t->frame.rip, ENTRY + 1);
		assert_int_equal(t->frame.rflags, image & ~(FL_RF | FL_VM));
		assert_int_equal(t->frame.rsp, TINY_STACK);
	}
	tiny_enter(t, TINY_LONG, 3);
	assert_fault(t, RUN(t, sysret_64), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.efer &= ~EFER_SCE;
	assert_fault(t, RUN(t, sysret_64), X86_UD, TINY_CODE, 0);
}

/* A non-canonical RCX: Intel faults in ring 0, AMD at the first fetch in ring 3. */
static void test_sysret_noncanonical(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	set_msrs(t);
	GPR(t, CX) = BIT(47);
	assert_int_equal(RUN(t, sysret_64), X86_GP);
	assert_int_equal(t->frame.err, 0);
	assert_int_equal(t->frame.rip, amd(t) ? BIT(47) : TINY_CODE);
	assert_int_equal(t->frame.cs & 3, amd(t) ? 3 : 0);
}

static void test_sysenter(void **state)
{
	struct tiny *t = *state;

	for (unsigned mode = 0; mode < 2; mode++) {
		tiny_enter(t, mode ? TINY_V86 : TINY_PROT32, 3);
		set_msrs(t);
		FLAGS(t) |= FL_IF | FL_CF;
		/* The bytes are the same in 16-bit code. */
		assert_int_equal(RUN(t, sysenter), TINY_HLT);
		assert_int_equal(t->v->s.rip, ENTRY + 1);
		assert_int_equal(GPR(t, SP), 0x81000);
		assert_int_equal(FLAGS(t), FL_1 | FL_CF);
		assert_flat(t, SEL_CODE0, SEL_DATA0, 0, SEG_DB);
	}
	tiny_enter(t, TINY_PROT32, 3);
	set_msrs(t);
	t->v->s.msr.sysenter_cs = 3;
	assert_fault(t, RUN(t, sysenter), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_REAL, 0);
	set_msrs(t);
	assert_int_equal(RUN(t, sysenter), X86_GP);
	/* IA-32e mode: not on AMD. */
	tiny_enter(t, TINY_LONG, 3);
	set_msrs(t);
	if (amd(t)) {
		assert_fault(t, RUN(t, sysenter_64), X86_UD, TINY_CODE, 0);
		return;
	}
	assert_int_equal(RUN(t, sysenter_64), TINY_HLT);
	assert_flat(t, SEL_CODE0_64, SEL_CODE0_64 + 8, 0, SEG_L);
}

static void test_sysexit(void **state)
{
	struct tiny *t = *state;

	/* User segments stand 16 and 24 behind the kernel's; the descriptors are not read. */
	tiny_enter(t, TINY_PROT32, 0);
	set_msrs(t);
	t->v->s.msr.sysenter_cs = SEL_CODE3 - 3 - 16;
	GPR(t, CX) = 0x8b000;
	GPR(t, DX) = ENTRY;
	tiny_put(t, ENTRY, "\xcc", 1);
	assert_int_equal(RUN(t, sysexit_32), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE3);
	assert_int_equal(t->frame.ss, SEL_DATA3);
	assert_int_equal(t->frame.rsp, 0x8b000);
	assert_int_equal(t->frame.rip, ENTRY + 1);
	tiny_enter(t, TINY_PROT32, 3);
	set_msrs(t);
	assert_fault(t, RUN(t, sysexit_32), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0);
	set_msrs(t);
	if (amd(t)) {
		assert_fault(t, RUN(t, sysexit_64), X86_UD, TINY_CODE, 0);
		return;
	}
	t->v->s.msr.sysenter_cs = SEL_CODE3_64 - 3 - 32;
	GPR(t, CX) = 0x8b000;
	GPR(t, DX) = ENTRY;
	tiny_put(t, ENTRY, "\xcc", 1);
	assert_int_equal(RUN(t, sysexit_64), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE3_64);
	GPR(t, CX) = BIT(50);
	tiny_enter(t, TINY_LONG, 0);
	set_msrs(t);
	GPR(t, CX) = BIT(50);
	assert_fault(t, RUN(t, sysexit_64), X86_GP, TINY_CODE, 0);
}

/* The other vendor, whatever the host is. */
static void test_other_vendor(void **state)
{
	struct tiny *t = *state;

	t->cpuid.vendor = amd(t) ? VENDOR_INTEL : VENDOR_AMD;
	test_syscall64(state);
	test_syscall32(state);
	test_sysret(state);
	test_sysret_noncanonical(state);
	test_sysenter(state);
	test_sysexit(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_syscall64), TEST(test_syscall32), TEST(test_sysret), TEST(test_sysret_noncanonical),
		TEST(test_sysenter), TEST(test_sysexit), TEST(test_other_vendor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
