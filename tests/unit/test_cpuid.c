/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID policies: models, +feature and -feature, what needs what, leaves that agree with each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <cpuid.h>
#include <errno.h>
#include "cpu/cpuid_features.h"
#include "cpu/isa.h"
#include "cpu/vcpu.h"

enum { EAX, EBX, ECX, EDX };

#define TSC_HZ 2600000000ull

/* -- Hosts ---------------------------------------------------------------------------------------- */

static void vendor_leaf(const char *name, uint32_t max, uint32_t out[4])
{
	out[EAX] = max;
	memcpy(&out[EBX], name, 4);
	memcpy(&out[EDX], name + 4, 4);
	memcpy(&out[ECX], name + 8, 4);
}

static void xsave_leaf(uint32_t subleaf, uint32_t out[4])
{
	static const uint32_t size_offset[8][2] = {
		[2] = { 256, 576 }, [5] = { 64, 1088 }, [6] = { 512, 1152 }, [7] = { 1024, 1664 },
	};

	memset(out, 0, 16);
	if (subleaf == 0)
		out[EAX] = 0xe7;
	else if (subleaf == 1)
		out[EAX] = 0xf;
	else if (subleaf < 8) {
		out[EAX] = size_offset[subleaf][0];
		out[EBX] = size_offset[subleaf][1];
	}
}

/* A host with every feature bit there is. */
static void everything_query(uint32_t leaf, uint32_t subleaf, uint32_t out[4], const char *vendor)
{
	memset(out, 0xff, 16);
	if (leaf == 0)
		vendor_leaf(vendor, 0x1f, out);
	else if (leaf == 0x80000000)
		vendor_leaf(vendor, 0x80000021, out);
	else if (leaf == 1)
		out[EAX] = 0x000906ea;
	else if (leaf == 7 && subleaf == 0)
		out[EAX] = 1;
	else if (leaf == 0xd)
		xsave_leaf(subleaf, out);
	else if (leaf == 0x80000008)
		out[EAX] = 0x3027;
	else if (leaf == 4 || leaf == 0x8000001d) {
		memset(out, 0, 16);
		if (subleaf < 4) { /* L1d, L1i, L2, L3; 16 share the last */
			static const uint32_t type_level[4] = { 0x21, 0x22, 0x43, 0x63 };

			out[EAX] = type_level[subleaf] | 0x100 | (subleaf == 3 ? 15u << 14 : 1u << 14) | 7u << 26;
			out[EBX] = 0x01c0003f;
			out[ECX] = 63;
		}
	}
}

static void intel_query(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	everything_query(leaf, subleaf, out, "GenuineIntel");
}

static void amd_query(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	everything_query(leaf, subleaf, out, "AuthenticAMD");
}

/* A CPU of 2009: psABI level 2, no leaf 7 and no XSAVE. */
static void old_query(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 16);
	if (leaf == 0)
		vendor_leaf("GenuineIntel", 0xb, out);
	else if (leaf == 0x80000000)
		vendor_leaf("GenuineIntel", 0x80000008, out);
	else if (leaf == 1) {
		out[EAX] = 0x106a5;
		out[ECX] = 0x0098e3bd;
		out[EDX] = 0xbfebfbff;
	} else if (leaf == 0x80000001) {
		out[ECX] = 1;
		out[EDX] = 0x28100800;
	} else if (leaf == 0x80000008)
		out[EAX] = 0x3024;
}

static const struct cpuid_host intel = { intel_query, ~0ull, 0xffff };
static const struct cpuid_host amd = { amd_query, ~0ull, 0x2ffff };
static const struct cpuid_host old = { old_query, 0, 0 };
static const struct cpuid_host *const hosts[] = { &intel, &amd, &old };

static void build(struct cpuid_policy *p, const struct cpuid_host *h, const char *spec, unsigned n_cpus)
{
	struct err e = { "" };
	int rc = cpuid_policy_init_from(p, h, spec, n_cpus, TSC_HZ, &e);

	if (rc)
		fail_msg("%s: %s", spec, e.msg);
}

static void ask(const struct cpuid_policy *p, unsigned index, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	struct vcpu *v = aligned_alloc(64, ALIGN_UP(sizeof(*v), 64));

	memset(v, 0, sizeof(*v));
	v->cpuid = p;
	v->index = index;
	v->s.xcr0 = XCR0_X87;
	cpuid_query(v, leaf, subleaf, out);
	free(v);
}

static bool shown(const struct cpuid_policy *p, unsigned id)
{
	uint32_t r[4];

	ask(p, 0, cpuid_features[id].leaf, cpuid_features[id].subleaf, r);
	return r[cpuid_features[id].reg] >> cpuid_features[id].bit & 1;
}

/* -- Consistency ------------------------------------------------------------------------------------ */

static void check_consistent(const struct cpuid_policy *p)
{
	for (unsigned i = 0; i < FEAT_COUNT; i++) {
		const struct cpuid_feature *f = &cpuid_features[i];

		if (cpuid_has(p, f->name) && f->needs && !cpuid_has(p, f->needs))
			fail_msg("%s without %s", f->name, f->needs);
		if (shown(p, i) != cpuid_has(p, f->name))
			fail_msg("%s: leaf %#x shows %d, policy says %d", f->name, f->leaf, shown(p, i),
				 cpuid_has(p, f->name));
	}
	assert_int_equal(!!(p->xcr0_allowed & XCR0_AVX), cpuid_has(p, "avx"));
	assert_int_equal(!!(p->xcr0_allowed & XCR0_AVX512), cpuid_has(p, "avx512f"));
	assert_int_equal(!!(p->cr4_allowed & CR4_OSXSAVE), cpuid_has(p, "xsave"));
	assert_int_equal(!!(p->cr4_allowed & CR4_LA57), cpuid_has(p, "la57"));
	assert_int_equal(!!(p->cr4_allowed & CR4_PCIDE), cpuid_has(p, "pcid"));
	assert_int_equal(!!(p->efer_allowed & EFER_NXE), cpuid_has(p, "nx"));
	assert_int_equal(p->cr4_allowed & CR4_PKE, 0);
	assert_in_range(p->gpa_bits, 46, 52);
	assert_int_equal(p->xss_allowed, 0);
}

static void test_consistent(void **state)
{
	static const char *const specs[] = {
		"host", "host,-avx", "host,-xsave", "host,-sse", "host,-fpu", "host,-lm", "host,-hypervisor",
		"host,+la57",
		"host,-avx512f", "host,-pge", "x86-64-v2",
	};
	static struct cpuid_policy p;

	for (unsigned h = 0; h < ARRAY_SIZE(hosts); h++)
		for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
			build(&p, hosts[h], specs[i], 1 + i % 4);
			check_consistent(&p);
		}
	assert_int_equal(cpuid_policy_init(&p, "host", 2, TSC_HZ, NULL), 0);
	check_consistent(&p);
}

/* What the real host policy shows of the user-mode instructions, this CPU has. */
static void test_real_host(void **state)
{
	static struct cpuid_policy p;
	uint32_t r[4];

	assert_int_equal(cpuid_policy_init(&p, "host", 2, TSC_HZ, NULL), 0);
	for (unsigned i = 0; i < FEAT_COUNT; i++) {
		const struct cpuid_feature *f = &cpuid_features[i];

		__cpuid_count(f->leaf, f->subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
		if (f->policy == FEATURE_HOST && cpuid_has(&p, f->name) && !(r[f->reg] >> f->bit & 1))
			fail_msg("%s: not on this host", f->name);
	}
	assert_true(cpuid_has(&p, "sse2") && cpuid_has(&p, "lm") && cpuid_has(&p, "nx"));
	assert_int_not_equal(p.mxcsr_mask, 0);
}

/* -- Models -------------------------------------------------------------------------------------------- */

/* The psABI's levels (x86-64 psABI, table 3.1), v1 being the base of long mode. OSXSAVE stands for xsave. */
static const char *const v1[] = { "cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2", "clflush", "nonstop_tsc",
				  "fdp_excptn_only", "lfence_rdtsc", "topoext", NULL };
static const char *const v2[] = { "cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3", NULL };
static const char *const v3[] = { "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave", NULL };
static const char *const v4[] = { "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", NULL };
static const char *const *const levels[] = { v1, v2, v3, v4 };

static bool in_list(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(*list, name))
			return true;
	return false;
}

static void test_levels_are_the_psabi(void **state)
{
	static const char *const models[] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };
	static struct cpuid_policy p;

	for (unsigned h = 0; h < 2; h++)
		for (unsigned m = 0; m < ARRAY_SIZE(models); m++) {
			build(&p, hosts[h], models[m], 1);
			check_consistent(&p);
			for (unsigned i = 0; i < FEAT_COUNT; i++) {
				const struct cpuid_feature *f = &cpuid_features[i];
				bool expect = f->policy == FEATURE_SOFT;

				if (f->vendor != VENDOR_ANY && f->vendor != p.vendor)
					continue;
				for (unsigned l = 0; l <= m + 1; l++)
					expect |= in_list(f->name, levels[l]);
				if (cpuid_has(&p, f->name) != expect)
					fail_msg("%s: %s is %d", models[m], f->name, !expect);
			}
		}
}

static void test_model_identity(void **state)
{
	static struct cpuid_policy p;
	uint32_t r[4];
	char brand[49] = { 0 };

	build(&p, &amd, "x86-64-v3", 1);
	for (unsigned i = 0; i < 3; i++) {
		ask(&p, 0, 0x80000002 + i, 0, r);
		memcpy(brand + 16 * i, r, 16);
	}
	assert_string_equal(brand, "doppel x86-64-v3");
	ask(&p, 0, 0, 0, r);
	assert_memory_equal(&r[EBX], "Auth", 4);
	assert_int_equal(r[EAX], 0xd);
	assert_int_equal(cpuid_signature(&p), 0x000906ea);
	build(&p, &amd, "host", 1);
	ask(&p, 0, 0x80000002, 0, r);
	assert_int_equal(r[EAX], 0xffffffff);
}

static void expect_error(const struct cpuid_host *h, const char *spec, const char *word)
{
	static struct cpuid_policy p;
	struct err e = { "" };

	assert_int_equal(cpuid_policy_init_from(&p, h, spec, 1, TSC_HZ, &e), -EINVAL);
	if (!strstr(e.msg, word))
		fail_msg("'%s': message '%s' does not name '%s'", spec, e.msg, word);
	assert_null(strchr(e.msg, '\n'));
}

static void test_errors(void **state)
{
	static char long_spec[400] = "host,+";

	memset(long_spec + 6, 'x', sizeof(long_spec) - 7);
	expect_error(&intel, "", "no such model");
	expect_error(&intel, "hos", "'hos'");
	expect_error(&intel, "hostx", "'hostx'");
	expect_error(&intel, "pentium", "'pentium'");
	expect_error(&intel, "x86-64-v5,+avx", "'x86-64-v5'");
	expect_error(&intel, "host,", "+feature");
	expect_error(&intel, "host,avx", "'avx'");
	expect_error(&intel, "host,+", "'+'");
	expect_error(&intel, "host,+avx,,-fma", "+feature");
	expect_error(&intel, "host,+nonsense", "'nonsense'");
	expect_error(&intel, "host,-nonsense", "'nonsense'");
	expect_error(&intel, "host,+vmx", "'vmx'");
	expect_error(&intel, long_spec, "no such feature");
	expect_error(&intel, "host,+autoibrs", "autoibrs"); /* the other vendor's */
	expect_error(&old, "host,+avx", "avx");
	expect_error(&old, "x86-64-v3", "x86-64-v3");
	expect_error(&old, "x86-64-v4", "no ");
}

static void test_changes_take_dependents(void **state)
{
	static struct cpuid_policy p;
	uint32_t r[4];

	build(&p, &amd, "host,-avx", 1);
	assert_false(cpuid_has(&p, "avx2") || cpuid_has(&p, "avx512vbmi") || cpuid_has(&p, "fma"));
	assert_true(cpuid_has(&p, "sse4_2") && cpuid_has(&p, "bmi1"));
	assert_int_equal(p.xcr0_allowed, 3);
	ask(&p, 0, 0xd, 0, r);
	assert_int_equal(r[EAX], 3);
	assert_int_equal(r[ECX], 576);
	ask(&p, 0, 0xd, 2, r);
	assert_int_equal(r[EAX] | r[EBX] | r[ECX] | r[EDX], 0);

	build(&p, &amd, "x86-64-v2,+avx2", 1);
	assert_true(cpuid_has(&p, "avx2") && cpuid_has(&p, "avx") && cpuid_has(&p, "xsave"));
	assert_false(cpuid_has(&p, "fma"));
	/* The last word counts. */
	build(&p, &amd, "host,-avx,+avx", 1);
	assert_true(cpuid_has(&p, "avx"));
	assert_false(cpuid_has(&p, "avx2"));
	build(&p, &amd, "host,-misalignsse", 1);
	assert_int_equal(p.mxcsr_mask, 0xffff);
	build(&p, &amd, "host,-hypervisor", 1);
	ask(&p, 0, 0x40000000, 0, r);
	assert_int_equal(r[EAX] | r[EBX], 0);
	assert_false(cpuid_has(&p, "no such thing"));
}

/* -- Leaves -------------------------------------------------------------------------------------------- */

static void test_xsave_sizes(void **state)
{
	static const struct {
		uint64_t xcr0;
		uint32_t standard, compacted;
	} sizes[] = {
		{ 0x1, 576, 576 }, { 0x3, 576, 576 }, { 0x7, 832, 832 }, { 0xe7, 2688, 2432 },
	};
	static struct cpuid_policy p;
	struct vcpu *v = aligned_alloc(64, ALIGN_UP(sizeof(*v), 64));
	uint32_t r[4], host[4], lo, hi;

	memset(v, 0, sizeof(*v));
	v->cpuid = &p;
	build(&p, &intel, "host", 1);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		v->s.xcr0 = sizes[i].xcr0;
		cpuid_query(v, 0xd, 0, r);
		assert_int_equal(r[EBX], sizes[i].standard);
		assert_int_equal(r[ECX], 2688);
		cpuid_query(v, 0xd, 1, r);
		assert_int_equal(r[EBX], sizes[i].compacted);
	}
	/* The same numbers as this host's own, if it has XSAVE and we show all that it has enabled. */
	assert_int_equal(cpuid_policy_init(&p, "host", 1, TSC_HZ, NULL), 0);
	__cpuid(1, host[EAX], host[EBX], host[ECX], host[EDX]);
	if (host[ECX] & BIT(27)) {
		__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		v->s.xcr0 = lo & p.xcr0_allowed;
		__cpuid_count(0xd, 0, host[EAX], host[EBX], host[ECX], host[EDX]);
		cpuid_query(v, 0xd, 0, r);
		if (v->s.xcr0 == lo)
			assert_int_equal(r[EBX], host[EBX]);
	}
	free(v);
}

static void test_topology(void **state)
{
	static const struct {
		unsigned n, bits;
	} cases[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 8, 3 } };
	static struct cpuid_policy p;
	uint32_t r[4];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned h = 0; h < 2; h++) {
			unsigned n = cases[i].n, last = n - 1;

			build(&p, hosts[h], "host", n);
			ask(&p, last, 1, 0, r);
			assert_int_equal(r[EBX] >> 24, last);
			assert_int_equal(r[EBX] >> 16 & 0xff, 1 << cases[i].bits);
			assert_int_equal(r[EDX] >> 28 & 1, n > 1);
			ask(&p, last, 0xb, 0, r);
			assert_int_equal(r[EAX], 0);
			assert_int_equal(r[ECX], 0x100);
			assert_int_equal(r[EDX], last);
			ask(&p, last, 0xb, 1, r);
			assert_int_equal(r[EAX], cases[i].bits);
			assert_int_equal(r[EBX], n);
			assert_int_equal(r[ECX], 0x201);
			ask(&p, last, 0xb, 2, r);
			assert_int_equal(r[EBX], 0);
			assert_int_equal(r[ECX], 2);
			assert_int_equal(r[EDX], last);
			/* L2 is private, L3 is everyone's */
			ask(&p, last, h ? 0x8000001d : 4, 2, r);
			assert_int_equal(r[EAX] >> 14 & 0xfff, 0);
			ask(&p, last, h ? 0x8000001d : 4, 3, r);
			assert_int_equal(r[EAX] >> 14 & 0xfff, (1 << cases[i].bits) - 1);
			ask(&p, last, h ? 0x8000001d : 4, 4, r);
			assert_int_equal(r[EAX] & 0x1f, 0);
			ask(&p, last, 0x80000008, 0, r);
			assert_int_equal(r[ECX], h ? (n - 1) | cases[i].bits << 12 : 0);
			if (h) {
				ask(&p, last, 0x8000001e, 0, r);
				assert_int_equal(r[EAX], last);
				assert_int_equal(r[EBX], last);
			}
		}
}

static bool apic_off(void *opaque, uint32_t msr, uint64_t *val)
{
	*val = *(uint64_t *)opaque;
	return msr == MSR_APIC_BASE;
}

static void test_bits_that_follow_registers(void **state)
{
	static const struct cpu_intc_ops ops = { .rdmsr = apic_off };
	static struct cpuid_policy p;
	struct vcpu *v = aligned_alloc(64, ALIGN_UP(sizeof(*v), 64));
	uint64_t base = 0xfee00900;
	uint32_t r[4];

	build(&p, &amd, "host", 1);
	memset(v, 0, sizeof(*v));
	v->cpuid = &p;
	v->intc = (struct cpu_intc){ &ops, &base };
	cpuid_query(v, 1, 0, r);
	assert_int_equal(r[ECX] & BIT(27), 0);
	assert_true(r[EDX] & BIT(9));
	v->s.cr4 = CR4_OSXSAVE;
	base = 0xfee00100;
	cpuid_query(v, 1, 0, r);
	assert_true(r[ECX] & BIT(27));
	assert_int_equal(r[EDX] & BIT(9), 0);
	cpuid_query(v, 0x80000001, 0, r);
	assert_int_equal(r[EDX] & BIT(9), 0);
	free(v);
}

static void test_out_of_range(void **state)
{
	static const uint32_t beyond[] = { 0x20, 0x1000, 0x7fffffff, 0x80000009, 0xffffffff };
	static struct cpuid_policy p;
	uint32_t r[4], last[4];

	build(&p, &intel, "host", 2);
	ask(&p, 1, 0x1f, 1, last);
	for (unsigned i = 0; i < ARRAY_SIZE(beyond); i++) {
		ask(&p, 1, beyond[i], 1, r);
		assert_memory_equal(r, last, sizeof(r));
	}
	ask(&p, 0, 0x4fffffff, 0, r);
	assert_int_equal(r[EAX] | r[EBX] | r[ECX] | r[EDX], 0);
	build(&p, &amd, "host", 2);
	for (unsigned i = 0; i < ARRAY_SIZE(beyond); i++) {
		if (beyond[i] == 0x80000009)
			continue;
		ask(&p, 1, beyond[i], 1, r);
		assert_int_equal(r[EAX] | r[EBX] | r[ECX] | r[EDX], 0);
	}
	ask(&p, 1, 0x1f, 0, r);
	assert_int_equal(r[EDX], 0);
}

static void test_hypervisor_leaves(void **state)
{
	static struct cpuid_policy p;
	uint32_t r[4];

	build(&p, &intel, "host", 1);
	ask(&p, 0, 0x40000000, 0, r);
	assert_memory_equal(&r[EBX], "KVMKVMKVM\0\0\0", 12);
	ask(&p, 0, 0x40000001, 0, r);
	assert_int_equal(r[EAX], 1 << 24 | 1 << 3);
	ask(&p, 0, 0x40000010, 0, r);
	assert_int_equal(r[EAX], TSC_HZ / 1000);
	/* Intel's own way to say it: ECX * EBX / EAX */
	ask(&p, 0, 0x15, 0, r);
	assert_int_equal((uint64_t)r[ECX] * r[EBX] / r[EAX], TSC_HZ);
	for (uint64_t hz = 500000000; hz < 4294000000ull; hz += 123456789) {
		uint64_t got;

		assert_int_equal(cpuid_policy_init_from(&p, &intel, "host", 1, hz, NULL), 0);
		ask(&p, 0, 0x15, 0, r);
		got = (uint64_t)r[ECX] * r[EBX] / r[EAX];
		assert_in_range(got, hz - hz / 500000, hz + hz / 500000); /* 2 ppm */
		/* Linux multiplies kHz in 32 bits. */
		assert_true((uint64_t)r[ECX] / 1000 * r[EBX] <= UINT32_MAX);
	}
	/* Nothing of leaf 0xa: no performance counters */
	ask(&p, 0, 0xa, 0, r);
	assert_int_equal(r[EAX] | r[EBX] | r[ECX] | r[EDX], 0);
}

/* -- Instruction sets -------------------------------------------------------------------------------------- */

static void test_isa(void **state)
{
	static struct cpuid_policy p;

	build(&p, &amd, "x86-64-v3", 1);
	assert_true(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_I86));
	assert_true(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AVX2));
	assert_true(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_LZCNT));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AVX512F_512));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AES));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AVXAES));
	build(&p, &amd, "host,-avx512vl", 1);
	assert_true(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AVX512BW_512));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AVX512BW_256));
	assert_true(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_VAES));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AVX512_VAES_256));
	build(&p, &amd, "host", 1);
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_VTX));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_SVM));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_AMX_TILE));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_PKU));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_RTM));
	assert_false(cpuid_isa_allowed(&p, ZYDIS_ISA_SET_INVALID));
	assert_false(cpuid_isa_allowed(&p, (ZydisISASet)(ZYDIS_ISA_SET_MAX_VALUE + 1)));
	assert_false(cpuid_isa_allowed(&p, (ZydisISASet)-1));
}

static ZydisMnemonic decode(const struct cpuid_policy *p, const uint8_t *code, size_t len)
{
	ZydisDecoder d;
	ZydisDecodedInstruction i;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	isa_configure_decoder(p, &d);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, code, len, &i)))
		return ZYDIS_MNEMONIC_INVALID;
	return i.mnemonic;
}

/* What a CPU without the feature takes for an older instruction. */
static void test_decoder_modes(void **state)
{
	static const uint8_t tzcnt[] = { 0xf3, 0x0f, 0xbc, 0xc0 }, lzcnt[] = { 0xf3, 0x0f, 0xbd, 0xc0 };
	static const uint8_t endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa }, wbnoinvd[] = { 0xf3, 0x0f, 0x09 };
	static struct cpuid_policy p;

	build(&p, &amd, "x86-64-v2", 1);
	assert_int_equal(decode(&p, tzcnt, 4), ZYDIS_MNEMONIC_BSF);
	assert_int_equal(decode(&p, lzcnt, 4), ZYDIS_MNEMONIC_BSR);
	build(&p, &amd, "x86-64-v3", 1);
	assert_int_equal(decode(&p, tzcnt, 4), ZYDIS_MNEMONIC_TZCNT);
	assert_int_equal(decode(&p, lzcnt, 4), ZYDIS_MNEMONIC_LZCNT);
	assert_int_equal(decode(&p, endbr, 4), ZYDIS_MNEMONIC_NOP);
	assert_int_equal(decode(&p, wbnoinvd, 3), ZYDIS_MNEMONIC_WBINVD);
}

static void test_help(void **state)
{
	struct strbuf sb = STRBUF_INIT;

	cpuid_print_models(&sb);
	assert_non_null(strstr(sb.buf, "x86-64-v3"));
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		assert_non_null(strstr(sb.buf, cpuid_features[i].name));
	strbuf_release(&sb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consistent),
		cmocka_unit_test(test_real_host),
		cmocka_unit_test(test_levels_are_the_psabi),
		cmocka_unit_test(test_model_identity),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_changes_take_dependents),
		cmocka_unit_test(test_xsave_sizes),
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_bits_that_follow_registers),
		cmocka_unit_test(test_out_of_range),
		cmocka_unit_test(test_hypervisor_leaves),
		cmocka_unit_test(test_isa),
		cmocka_unit_test(test_decoder_modes),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
