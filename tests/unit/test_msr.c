/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RDMSR and WRMSR: which registers each vendor's CPU has, what may be written to them, what a write does. */
#include "base/log.h"
#include "cpu/msr.h"
#include "one_cpu.h"

enum { EAX, EBX, ECX, EDX };

/* Hosts with every feature bit, so that the tests do not depend on where they run. */
static void query(uint32_t leaf, uint32_t subleaf, uint32_t out[4], const char *vendor)
{
	static const uint32_t xsave[8][2] = { [2] = { 256, 576 }, [5] = { 64, 1088 }, [6] = { 512, 1152 },
					      [7] = { 1024, 1664 } };

	memset(out, 0xff, 16);
	if (leaf == 0 || leaf == 0x80000000) {
		out[EAX] = leaf ? 0x80000021 : 0x1f;
		memcpy(&out[EBX], vendor, 4);
		memcpy(&out[EDX], vendor + 4, 4);
		memcpy(&out[ECX], vendor + 8, 4);
	} else if (leaf == 0xd && subleaf < 8) {
		out[EAX] = subleaf < 2 ? 0xf : xsave[subleaf][0];
		out[EBX] = xsave[subleaf][1];
		out[ECX] = 0;
	} else if (leaf == 0x80000008) {
		out[EAX] = 0x3030;
	} else if (leaf == 4 || leaf == 0x8000001d) {
		out[EAX] = 0;
	}
}

static void query_intel(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	query(leaf, subleaf, out, "GenuineIntel");
}

static void query_amd(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	query(leaf, subleaf, out, "AuthenticAMD");
}

static const struct cpuid_host intel_host = { query_intel, ~0ull, 0xffff };
static const struct cpuid_host amd_host = { query_amd, ~0ull, 0x2ffff };

/* An interrupt controller that keeps what it is given. */
static struct {
	uint64_t base, deadline, x2apic;
	unsigned deadline_writes;
} chip;

static bool chip_rdmsr(void *opaque, uint32_t msr, uint64_t *val)
{
	*val = msr == MSR_APIC_BASE ? chip.base : msr == MSR_TSC_DEADLINE ? chip.deadline : chip.x2apic;
	return msr != 0x8ff;
}

static bool chip_wrmsr(void *opaque, uint32_t msr, uint64_t val)
{
	if (msr == MSR_APIC_BASE)
		chip.base = val;
	else if (msr == MSR_TSC_DEADLINE) {
		chip.deadline = val;
		chip.deadline_writes++;
	} else
		chip.x2apic = val;
	return msr != 0x8ff;
}

static void chip_reset(void *opaque, bool init)
{
}

static bool chip_pending(void *opaque)
{
	return false;
}

static const struct cpu_intc_ops chip_ops = { .rdmsr = chip_rdmsr, .wrmsr = chip_wrmsr, .reset = chip_reset,
					      .pending = chip_pending };

static struct one_cpu *intel, *amd;

static int setup(void **state)
{
	intel = one_cpu_new(&intel_host, "host", 1);
	amd = one_cpu_new(&amd_host, "host", 1);
	log_set_level(LOG_ERROR);
	intel->v->intc.ops = amd->v->intc.ops = &chip_ops;
	return 0;
}

static int teardown(void **state)
{
	one_cpu_free(intel);
	one_cpu_free(amd);
	return 0;
}

/* -- The table -------------------------------------------------------------------------------------------- */

#define NONCANON 0x0000800000000000ull
#define KERNEL   0xffff800000000000ull
#define GP       1 /* the write faults */
#define KEEP     2 /* the write is accepted and the register keeps its value */
#define SAME     3 /* the register then reads as written */

enum who { BOTH, INTEL, AMD };

static const struct {
	enum who who;
	uint32_t msr;
	uint64_t val;
	int result;
} writes[] = {
	{ BOTH, MSR_EFER, EFER_SCE | EFER_NXE, SAME },
	{ BOTH, MSR_EFER, BIT(12), GP },
	{ AMD, MSR_EFER, EFER_AUTOIBRS, SAME },
	{ INTEL, MSR_EFER, EFER_AUTOIBRS, GP },
	{ BOTH, MSR_STAR, 0x0023001000000000, SAME },
	{ BOTH, MSR_LSTAR, KERNEL | 0x1234, SAME },
	{ BOTH, MSR_LSTAR, NONCANON, GP },
	{ BOTH, MSR_CSTAR, NONCANON, GP },
	{ BOTH, MSR_CSTAR, KERNEL, SAME },
	{ BOTH, MSR_SFMASK, 0x47700, SAME },
	{ BOTH, MSR_FS_BASE, 0x7fffffffffff, SAME },
	{ BOTH, MSR_FS_BASE, NONCANON, GP },
	{ BOTH, MSR_GS_BASE, KERNEL, SAME },
	{ BOTH, MSR_GS_BASE, 0x1000000000000000, GP },
	{ BOTH, MSR_KERNEL_GS_BASE, KERNEL, SAME },
	{ BOTH, MSR_KERNEL_GS_BASE, NONCANON, GP },
	{ BOTH, MSR_TSC_AUX, 0xffffffff, SAME },
	{ INTEL, MSR_TSC_AUX, BIT(32), GP },
	{ BOTH, MSR_SYSENTER_CS, 0x10, SAME },
	{ BOTH, MSR_SYSENTER_ESP, KERNEL, SAME },
	{ BOTH, MSR_SYSENTER_ESP, NONCANON, GP },
	{ BOTH, MSR_SYSENTER_EIP, NONCANON, GP },
	{ BOTH, MSR_PAT, 0x0007040600070406, SAME },
	{ BOTH, MSR_PAT, 0x0407050600070106, SAME },
	{ BOTH, MSR_PAT, 0x0002040600070406, GP },
	{ BOTH, MSR_PAT, 0x0800000000000000, GP },
	{ BOTH, MSR_MTRRCAP, 0x508, GP },
	{ BOTH, MSR_MTRR_DEF_TYPE, 0xc06, SAME },
	{ BOTH, MSR_MTRR_DEF_TYPE, 0xc02, GP },
	{ BOTH, MSR_MTRR_DEF_TYPE, 0xc07, GP },
	{ BOTH, MSR_MTRR_DEF_TYPE, 0x100c06, GP },
	{ BOTH, MSR_MTRR_PHYSBASE0, 0xc0000006, SAME },
	{ BOTH, MSR_MTRR_PHYSBASE0, 0xc0000002, GP },
	{ BOTH, MSR_MTRR_PHYSBASE0, 0xc0000106, GP },
	{ BOTH, MSR_MTRR_PHYSBASE0, BIT(52), GP },
	{ BOTH, MSR_MTRR_PHYSBASE0 + 1, 0xffffc0000800, SAME },
	{ BOTH, MSR_MTRR_PHYSBASE0 + 1, 0xffffc0000801, GP },
	{ BOTH, MSR_MTRR_PHYSBASE0 + 15, 0x800, SAME },
	{ BOTH, MSR_MTRR_PHYSBASE0 + 16, 0, GP },
	{ BOTH, MSR_MTRR_FIX64K_00000, 0x0606060606060606, SAME },
	{ BOTH, MSR_MTRR_FIX64K_00000, 0x0607060606060606, GP },
	{ BOTH, MSR_MTRR_FIX16K_A0000, 0x0001040506000104, SAME },
	{ BOTH, MSR_MTRR_FIX4K_C0000 + 7, 0x0505050505050505, SAME },
	{ BOTH, MSR_MTRR_FIX4K_C0000 + 8, 0, GP },
	{ BOTH, MSR_MCG_CAP, 0, GP },
	{ BOTH, MSR_MCG_STATUS, 5, SAME },
	{ BOTH, MSR_MCG_STATUS, 0x100, GP },
	{ BOTH, MSR_MC0_CTL, 0, GP },
	{ BOTH, MSR_XSS, 0, SAME },
	{ BOTH, MSR_XSS, 0x100, GP },
	{ BOTH, MSR_DEBUGCTL, 3, KEEP },
	{ BOTH, MSR_DEBUGCTL, 4, GP },
	{ BOTH, MSR_BIOS_SIGN_ID, 0, KEEP },
	{ BOTH, MSR_APIC_BASE, 0xfee00900, SAME },
	{ BOTH, MSR_APIC_BASE, 0xfee00d00, SAME },
	{ BOTH, MSR_APIC_BASE, BIT(52), GP },
	{ BOTH, 0x808, 0x20, SAME },
	{ BOTH, 0x8ff, 0, GP }, /* the controller says no */
	{ BOTH, 0x900, 0, GP },
	{ BOTH, 0x12345678, 0, GP },
	{ BOTH, 0xffffffff, 0, GP },
	{ BOTH, MSR_KVM_SYSTEM_TIME_NEW, 0, SAME },

	{ INTEL, MSR_MISC_ENABLE, 0x1801, SAME },
	{ INTEL, MSR_MISC_ENABLE, BIT(34), GP },
	{ AMD, MSR_MISC_ENABLE, 0x1801, GP },
	{ INTEL, MSR_PLATFORM_ID, 0, GP },
	{ INTEL, MSR_SPEC_CTRL, 3, SAME },
	{ INTEL, MSR_SPEC_CTRL, BIT(10), SAME },
	{ INTEL, MSR_SPEC_CTRL, BIT(7), GP },
	{ INTEL, MSR_PRED_CMD, 2, GP },
	{ AMD, MSR_SPEC_CTRL, 0, GP },
	{ AMD, MSR_PRED_CMD, 1, GP },
	{ INTEL, MSR_ARCH_CAPABILITIES, 0, GP },
	{ AMD, MSR_AMD_SYSCFG, BIT(18), KEEP },
	{ AMD, MSR_AMD_HWCR, BIT(24) | BIT(3), KEEP },
	{ AMD, MSR_AMD_HWCR, BIT(30), GP },
	{ AMD, 0xc001001f, BIT(46), KEEP }, /* NB_CFG: Linux sets CF8 extended configuration */
	{ AMD, 0xc0011029, BIT(1), KEEP },  /* DE_CFG: LFENCE is serializing already */
	{ AMD, 0xc0011020, BIT(10), KEEP }, /* LS_CFG */
	{ INTEL, MSR_AMD_HWCR, 0, GP },
	{ AMD, 0xc0010000, 0, GP }, /* performance counters are not there */
};

static void check_write(struct one_cpu *c, unsigned i)
{
	const char *who = c == amd ? "AMD" : "Intel";
	uint64_t before = 0, after = 0;
	bool readable, ok, after_readable;

	x86_reset(&c->v->s, false);
	readable = msr_read(c->v, writes[i].msr, &before);
	ok = msr_write(c->v, writes[i].msr, writes[i].val);
	after_readable = msr_read(c->v, writes[i].msr, &after);
	if (ok != (writes[i].result != GP))
		fail_msg("%s: MSR %#x = %#lx: accepted %d", who, writes[i].msr, (unsigned long)writes[i].val, ok);
	if (writes[i].result != GP && !(readable && after_readable))
		fail_msg("%s: MSR %#x cannot be read", who, writes[i].msr);
	if (writes[i].result == SAME && after != writes[i].val)
		fail_msg("%s: MSR %#x reads %#lx", who, writes[i].msr, (unsigned long)after);
	if (writes[i].result == KEEP && after != before)
		fail_msg("%s: MSR %#x changed to %#lx", who, writes[i].msr, (unsigned long)after);
	if (writes[i].result == GP && writes[i].msr != 0x8ff && (readable != after_readable || before != after))
		fail_msg("%s: MSR %#x changed by a faulting write", who, writes[i].msr);
}

static void test_writes(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		if (writes[i].who != AMD)
			check_write(intel, i);
		if (writes[i].who != INTEL)
			check_write(amd, i);
	}
}

/* What Linux 6.1 reads at boot without expecting a fault ("unchecked MSR access"). */
static void test_linux_reads(void **state)
{
	static const struct {
		enum who who;
		uint32_t msr;
		uint64_t mask, val;
	} reads[] = {
		{ BOTH, MSR_EFER, 0, 0 }, { BOTH, MSR_MTRRCAP, 0xffff, 0x508 }, { BOTH, MSR_MCG_CAP, 0xff, 0 },
		{ BOTH, MSR_PAT, ~0ull, 0x0007040600070406 }, { BOTH, MSR_APIC_BASE, 0, 0 }, { BOTH, MSR_TSC, 0, 0 },
		{ BOTH, MSR_TSC_ADJUST, ~0ull, 0 }, { BOTH, MSR_BIOS_SIGN_ID, 0, 0 },
		{ INTEL, MSR_MISC_ENABLE, 1, 1 }, /* fast strings: else no REP_GOOD */
		{ INTEL, MSR_MISC_ENABLE, BIT(34) | BIT(22), 0 }, { INTEL, MSR_ARCH_CAPABILITIES, 1, 1 },
		{ INTEL, MSR_ARCH_CAPABILITIES, BIT(2) | BIT(7) | BIT(19), 0 }, { INTEL, MSR_SPEC_CTRL, 0, 0 },
		{ INTEL, MSR_PLATFORM_ID, 0, 0 }, { INTEL, 0x3a, 1, 1 }, { INTEL, 0xce, 0, 0 },
		{ AMD, MSR_AMD_HWCR, BIT(24), BIT(24) }, /* else "TSC doesn't count with P0 frequency" */
		{ AMD, MSR_AMD_SYSCFG, ~0ull, 0 }, { AMD, 0xc001001f, 0, 0 }, { AMD, 0xc0010055, ~0ull, 0 },
		{ AMD, 0xc0011020, 0, 0 }, { AMD, 0xc0011029, 2, 2 }, { AMD, 0xc001102a, 0, 0 }, { AMD, 0xc001102e, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++)
		for (unsigned who = INTEL; who <= AMD; who++) {
			struct one_cpu *c = who == AMD ? amd : intel;
			uint64_t val = 0;

			if (reads[i].who != BOTH && reads[i].who != who)
				continue;
			x86_reset(&c->v->s, false);
			if (!msr_read(c->v, reads[i].msr, &val) || (val & reads[i].mask) != reads[i].val)
				fail_msg("%s: MSR %#x: %#lx", who == AMD ? "AMD" : "Intel", reads[i].msr,
					 (unsigned long)val);
		}
}

static void test_pred_cmd_is_write_only(void **state)
{
	uint64_t val;

	assert_true(msr_write(intel->v, MSR_PRED_CMD, 1));
	assert_false(msr_read(intel->v, MSR_PRED_CMD, &val));
}

/* A register belongs to a feature: take that away and it faults. */
static void test_features(void **state)
{
	static const struct {
		const char *spec;
		uint32_t msr;
	} cases[] = {
		{ "host,-xsaves", MSR_XSS }, { "host,-tsc_deadline_timer", MSR_TSC_DEADLINE },
		{ "host,-x2apic", 0x802 }, { "host,-tsc_adjust", MSR_TSC_ADJUST }, { "host,-mtrr", MSR_MTRRCAP },
		{ "host,-pat", MSR_PAT }, { "host,-mca", MSR_MCG_CAP }, { "host,-spec_ctrl", MSR_ARCH_CAPABILITIES },
		{ "host,-hypervisor", MSR_KVM_SYSTEM_TIME_NEW }, { "host,-rdtscp,-rdpid", MSR_TSC_AUX },
		{ "host,-lm", MSR_LSTAR },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct one_cpu *c = one_cpu_new(&intel_host, cases[i].spec, 1);
		uint64_t val;

		c->v->intc.ops = &chip_ops;
		assert_true(msr_read(intel->v, cases[i].msr, &val));
		if (msr_read(c->v, cases[i].msr, &val) || msr_write(c->v, cases[i].msr, 0))
			fail_msg("%s: MSR %#x is there", cases[i].spec, cases[i].msr);
		one_cpu_free(c);
	}
}

/* Without an interrupt controller its registers fault; nothing crashes. */
static void test_no_controller(void **state)
{
	struct one_cpu *c = one_cpu_new(&amd_host, "host", 1);
	uint64_t val;

	assert_false(msr_read(c->v, MSR_APIC_BASE, &val));
	assert_false(msr_write(c->v, MSR_TSC_DEADLINE, 1));
	assert_false(msr_read(c->v, 0x802, &val));
	assert_true(msr_write(c->v, MSR_TSC, 0));
	one_cpu_free(c);
}

static void test_x2apic_needs_the_feature(void **state)
{
	struct one_cpu *c = one_cpu_new(&amd_host, "host,-x2apic", 1);

	c->v->intc.ops = &chip_ops;
	assert_true(msr_write(c->v, MSR_APIC_BASE, 0xfee00900));
	assert_false(msr_write(c->v, MSR_APIC_BASE, 0xfee00d00));
	one_cpu_free(c);
}

/* Every MSR number near a known one, both ways: no crash, and what is refused stays. */
static void test_no_number_crashes(void **state)
{
	static const uint32_t bases[] = { 0, 0x400, 0x600, 0xd80, 0x4b564cf0, 0xbfffff00, 0xc0000000, 0xc0010000,
					  0xc0010f80, 0xfffffe00 };
	static const uint64_t vals[] = { 0, 1, ~0ull, NONCANON, 0xfee00800 };
	uint64_t val;

	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
		for (uint32_t n = 0; n < 0x200; n++)
			for (unsigned k = 0; k < ARRAY_SIZE(vals); k++) {
				msr_write(amd->v, bases[i] + n, vals[k]);
				msr_write(intel->v, bases[i] + n, vals[k]);
				msr_read(amd->v, bases[i] + n, &val);
				msr_read(intel->v, bases[i] + n, &val);
			}
}

/* -- The TSC (SDM vol. 3, 18.17) ------------------------------------------------------------------------------ */

static uint64_t tsc(struct vcpu *v)
{
	uint64_t val = 0;

	assert_true(msr_read(v, MSR_TSC, &val));
	return val;
}

#define SOON 100000000000ull /* ticks: longer than any test step takes */

static void test_tsc(void **state)
{
	struct vcpu *v = amd->v;
	uint64_t adjust, before, now;

	x86_reset(&v->s, false);
	assert_int_equal(v->s.msr.tsc_offset, 0);
	before = tsc(v);
	/* A write to the TSC moves TSC_ADJUST by as much. */
	assert_true(msr_write(v, MSR_TSC, 1000));
	now = tsc(v);
	assert_in_range(now, 1000, 1000 + SOON);
	assert_true(msr_read(v, MSR_TSC_ADJUST, &adjust));
	assert_int_equal(adjust, v->s.msr.tsc_offset);
	/* Back to 0: the host's TSC again. */
	assert_true(msr_write(v, MSR_TSC_ADJUST, 0));
	assert_int_equal(v->s.msr.tsc_offset, 0);
	assert_in_range(tsc(v), before, before + SOON);
	assert_true(msr_write(v, MSR_TSC_ADJUST, (uint64_t)-5000));
	assert_int_equal(v->s.msr.tsc_offset, (uint64_t)-5000);
}

/* The deadline is the guest's TSC: the controller hears of it again when that is moved. */
static void test_deadline_is_set_again(void **state)
{
	struct vcpu *v = amd->v;

	x86_reset(&v->s, false);
	assert_true(msr_write(v, MSR_TSC_DEADLINE, 5000000));
	assert_int_equal(chip.deadline, 5000000);
	chip.deadline_writes = 0;
	assert_true(msr_write(v, MSR_TSC_ADJUST, 0));
	assert_int_equal(chip.deadline_writes, 0);
	assert_true(msr_write(v, MSR_TSC_ADJUST, 1000));
	assert_int_equal(chip.deadline_writes, 1);
	assert_int_equal(chip.deadline, 5000000);
	/* A disarmed timer stays so. */
	assert_true(msr_write(v, MSR_TSC_DEADLINE, 0));
	chip.deadline_writes = 0;
	assert_true(msr_write(v, MSR_TSC, 0));
	assert_int_equal(chip.deadline_writes, 0);
	x86_reset(&v->s, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes),
		cmocka_unit_test(test_linux_reads),
		cmocka_unit_test(test_pred_cmd_is_write_only),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_no_controller),
		cmocka_unit_test(test_x2apic_needs_the_feature),
		cmocka_unit_test(test_no_number_crashes),
		cmocka_unit_test(test_tsc),
		cmocka_unit_test(test_deadline_is_set_again),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
