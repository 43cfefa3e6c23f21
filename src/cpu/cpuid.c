/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's CPUID leaves, built from the policy's features, and what changes in them as it runs (SDM vol. 2, CPUID). */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cpu/cpuid_features.h"
#include "cpu/isa.h"
#include "cpu/vcpu.h"

enum { EAX, EBX, ECX, EDX };

#define LEAF_KVM          0x40000000u
#define LEAF_KVM_FEATURES 0x40000001u
#define LEAF_KVM_FREQ     0x40000010u /* TSC and APIC bus in kHz, as VMware and KVM have it */
#define LEAF_EXT          0x80000000u

#define MAX_BASIC_INTEL 0x1fu
#define MAX_BASIC_AMD   0xdu
#define MAX_EXT_INTEL   0x80000008u
#define MAX_EXT_AMD     0x80000021u

#define GPA_BITS_MIN 46 /* room for RAM_MAX_SIZE and 64-bit BARs, whatever the host has */
#define GPA_BITS_MAX 52
#define LA_BITS      48
#define LA_BITS_LA57 57

#define CLFLUSH_LINE 8 /* in units of 8 bytes */
#define LEAF1_APIC    BIT(9)  /* EDX */
#define LEAF1_HTT     BIT(28) /* EDX */
#define LEAF1_OSXSAVE BIT(27) /* ECX */
#define AMD_CMP_LEGACY BIT(1) /* 0x80000001 ECX */
/* Bits of leaf 1 EDX that AMD repeats in 0x80000001 EDX: 0-9, 12-17, 23 and 24 */
#define AMD_EDX_COMMON 0x0183f3ffu

/* KVM's features (Linux Documentation/virt/kvm/x86/cpuid): clocksource2, and that its clock is stable. */
#define KVM_FEATURE_CLOCKSOURCE2     BIT(3)
#define KVM_FEATURE_CLOCKSOURCE_STABLE BIT(24)

#define LEAF7_SUBLEAVES 2

#define TOPO_SMT  (1u << 8) /* leaf 0xb ECX: level type */
#define TOPO_CORE (2u << 8)

#define CACHE_LEAVES_MAX 8
#define XSAVE_HEADER_END 576
#define XSAVE_AREA_MAX   4096 /* our components end well before */
#define MXCSR_MASK_DEFAULT 0xffbfu /* when FXSAVE stores 0, SDM vol. 1, 11.6.6 */
#define MXCSR_MM BIT(17) /* AMD misaligned SSE */

/* -- The host ----------------------------------------------------------------------------------- */

static void host_query(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	__cpuid_count(leaf, subleaf, out[EAX], out[EBX], out[ECX], out[EDX]);
}

static uint64_t host_xcr0(void)
{
	uint32_t r[4], lo, hi;

	host_query(1, 0, r);
	if (!(r[ECX] & LEAF1_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static uint32_t host_mxcsr_mask(void)
{
	_Alignas(16) uint8_t area[512] = { 0 };
	uint32_t mask;

	__asm__ volatile("fxsave %0" : "=m"(area));
	memcpy(&mask, area + 28, sizeof(mask));
	return mask;
}

static uint32_t max_basic(const struct cpuid_policy *p)
{
	return p->vendor == VENDOR_AMD ? MAX_BASIC_AMD : MAX_BASIC_INTEL;
}

/* A leaf of the host, zeros beyond what it has. */
static void host_leaf(const struct cpuid_host *host, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	host->query(leaf & LEAF_EXT, 0, out);
	if (out[EAX] < leaf)
		memset(out, 0, 4 * sizeof(out[0]));
	else
		host->query(leaf, subleaf, out);
}

/* -- Building ------------------------------------------------------------------------------------ */

static struct cpuid_entry *add(struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_entry *en = &p->entry[p->n];

	BUG_ON(p->n == CPUID_MAX_ENTRIES);
	p->n++;
	*en = (struct cpuid_entry){ .leaf = leaf, .subleaf = subleaf };
	return en;
}

/* Register reg of a leaf: the bits of all features that are on. */
static uint32_t feature_bits(const struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf, unsigned reg)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < FEAT_COUNT; i++) {
		const struct cpuid_feature *f = &cpuid_features[i];

		if (f->leaf == leaf && f->subleaf == subleaf && f->reg == reg && cpuid_feature_on(p, i))
			bits |= 1u << f->bit;
	}
	return bits;
}

static struct cpuid_entry *add_features(struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_entry *en = add(p, leaf, subleaf);

	en->eax = feature_bits(p, leaf, subleaf, EAX);
	en->ebx = feature_bits(p, leaf, subleaf, EBX);
	en->ecx = feature_bits(p, leaf, subleaf, ECX);
	en->edx = feature_bits(p, leaf, subleaf, EDX);
	return en;
}

static void add_regs(struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf, const uint32_t r[4])
{
	struct cpuid_entry *en = add(p, leaf, subleaf);

	en->eax = r[EAX];
	en->ebx = r[EBX];
	en->ecx = r[ECX];
	en->edx = r[EDX];
}

/* Bits of an APIC id that number the CPUs of the one package. */
static unsigned id_bits(const struct cpuid_policy *p)
{
	unsigned bits = 0;

	while ((1u << bits) < p->n_cpus)
		bits++;
	return bits;
}

static void add_basic(struct cpuid_policy *p, const struct cpuid_host *host)
{
	struct cpuid_entry *en;
	uint32_t r[4];

	host_leaf(host, 0, 0, r);
	r[EAX] = max_basic(p);
	add_regs(p, 0, 0, r);

	host_leaf(host, 1, 0, r);
	en = add_features(p, 1, 0);
	en->eax = r[EAX];
	en->ebx = CLFLUSH_LINE << 8 | (1u << id_bits(p)) << 16;
	if (p->n_cpus > 1)
		en->edx |= LEAF1_HTT;

	add_features(p, 6, 0);
	en = add_features(p, 7, 0);
	for (uint32_t i = 1; i <= LEAF7_SUBLEAVES; i++)
		if (feature_bits(p, 7, i, EAX) | feature_bits(p, 7, i, EDX)) {
			en->eax = i; /* the highest */
			add_features(p, 7, i);
		}
}

/* Caches in leaf 4 (Intel) or 0x8000001d (AMD): L1 and L2 are one CPU's own, what is above is all CPUs'. */
static void add_caches(struct cpuid_policy *p, const struct cpuid_host *host, uint32_t leaf)
{
	uint32_t r[4], all = (1u << id_bits(p)) - 1;

	for (unsigned i = 0; i < CACHE_LEAVES_MAX; i++) {
		host_leaf(host, leaf, i, r);
		if (!(r[EAX] & 0x1f)) /* type: no more caches */
			break;
		r[EAX] &= 0x3fff;
		if ((r[EAX] >> 5 & 7) >= 3)
			r[EAX] |= (all & 0xfff) << 14;
		if (leaf == 4)
			r[EAX] |= (all & 0x3f) << 26;
		add_regs(p, leaf, i, r);
	}
}

static void add_topology(struct cpuid_policy *p, uint32_t leaf)
{
	struct cpuid_entry *en = add(p, leaf, 0);

	en->ebx = 1;
	en->ecx = TOPO_SMT;
	en = add(p, leaf, 1);
	en->eax = id_bits(p);
	en->ebx = p->n_cpus;
	en->ecx = 1 | TOPO_CORE;
}

/*
 * Leaf 0x15: TSC = APIC bus clock * EBX / EAX; ECX is that clock, which Linux takes for the APIC timer's.
 * It multiplies the clock in kHz by EBX in 32 bits, so the fraction must be a small one: the best there is.
 */
static void add_tsc_ratio(struct cpuid_policy *p)
{
	const uint64_t max_num = UINT32_MAX / (CPUID_APIC_BUS_HZ / 1000);
	struct cpuid_entry *en = add(p, 0x15, 0);
	uint64_t best = UINT64_MAX;

	for (uint64_t den = 1; den <= max_num; den++) {
		uint64_t num = (p->tsc_hz * den + CPUID_APIC_BUS_HZ / 2) / CPUID_APIC_BUS_HZ;
		uint64_t hz = CPUID_APIC_BUS_HZ * num / den;
		uint64_t off = hz > p->tsc_hz ? hz - p->tsc_hz : p->tsc_hz - hz;

		if (num == 0 || num > max_num || off >= best)
			continue;
		best = off;
		en->eax = (uint32_t)den;
		en->ebx = (uint32_t)num;
	}
	en->ecx = (uint32_t)CPUID_APIC_BUS_HZ;
}

static void add_intel(struct cpuid_policy *p, const struct cpuid_host *host)
{
	struct cpuid_entry *en = add(p, 2, 0);
	uint32_t mhz = (uint32_t)(p->tsc_hz / 1000000);

	en->eax = 0x00feff01; /* descriptors: TLBs and caches are in leaves 0x18 (none given) and 4 */
	add_caches(p, host, 4);
	add_topology(p, 0x1f);
	add_tsc_ratio(p);
	en = add(p, 0x16, 0);
	en->eax = en->ebx = mhz;
	en->ecx = 100;
}

/* Leaf 0xd: the layout is the host's, as code that the host's CPU runs may rely on it. */
static int init_xsave(struct cpuid_policy *p, const struct cpuid_host *host, struct err *e)
{
	uint32_t r[4];

	if (!cpuid_feature_on(p, FEAT_XSAVE))
		return 0;
	p->xcr0_allowed = XCR0_X87 | XCR0_SSE;
	if (cpuid_feature_on(p, FEAT_AVX))
		p->xcr0_allowed |= XCR0_AVX;
	if (cpuid_feature_on(p, FEAT_AVX512F))
		p->xcr0_allowed |= XCR0_AVX512;
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++) {
		static const uint16_t arch_size[XSAVE_COMPONENTS] = { [2] = 256, [5] = 64, [6] = 512, [7] = 1024 };

		if (!(p->xcr0_allowed & BIT(i)))
			continue;
		host_leaf(host, 0xd, i, r);
		if (r[EAX] != arch_size[i] || r[EBX] < XSAVE_HEADER_END || r[EBX] > XSAVE_AREA_MAX - r[EAX])
			return err_set(e, ENOTSUP, "host CPU: XSAVE component %u is %u bytes at %u: try --cpu x86-64-v2", i,
				       r[EAX], r[EBX]);
		p->xsave[i] = (struct xsave_component){ .offset = r[EBX], .size = r[EAX], .align64 = r[ECX] & 2 };
	}
	return 0;
}

static void add_xsave(struct cpuid_policy *p)
{
	struct cpuid_entry *en;

	if (!p->xcr0_allowed)
		return;
	en = add(p, 0xd, 0);
	en->eax = (uint32_t)p->xcr0_allowed;
	en->ecx = cpuid_xsave_size(p, p->xcr0_allowed, false);
	add_features(p, 0xd, 1);
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++) {
		if (!p->xsave[i].size)
			continue;
		en = add(p, 0xd, i);
		en->eax = p->xsave[i].size;
		en->ebx = p->xsave[i].offset;
		en->ecx = p->xsave[i].align64 ? 2 : 0;
	}
}

static void add_kvm(struct cpuid_policy *p)
{
	struct cpuid_entry *en;

	if (!cpuid_feature_on(p, FEAT_HYPERVISOR))
		return;
	en = add(p, LEAF_KVM, 0);
	en->eax = LEAF_KVM_FREQ;
	memcpy(&en->ebx, "KVMK", 4);
	memcpy(&en->ecx, "VMKV", 4);
	memcpy(&en->edx, "M\0\0\0", 4);
	en = add(p, LEAF_KVM_FEATURES, 0);
	en->eax = KVM_FEATURE_CLOCKSOURCE2 | KVM_FEATURE_CLOCKSOURCE_STABLE;
	en = add(p, LEAF_KVM_FREQ, 0);
	en->eax = (uint32_t)(p->tsc_hz / 1000);
	en->ebx = (uint32_t)(CPUID_APIC_BUS_HZ / 1000);
}

/* The brand string: the host's for model host; for the others "doppel MODEL", the host's vendor kept. */
static void add_brand(struct cpuid_policy *p, const struct cpuid_host *host, const char *model)
{
	char brand[48] = { 0 };
	uint32_t r[4];

	snprintf(brand, sizeof(brand), "doppel %s", model);
	for (unsigned i = 0; i < 3; i++) {
		if (!strcmp(model, "host"))
			host_leaf(host, LEAF_EXT + 2 + i, 0, r);
		else
			memcpy(r, brand + i * sizeof(r), sizeof(r));
		add_regs(p, LEAF_EXT + 2 + i, 0, r);
	}
}

static void add_extended(struct cpuid_policy *p, const struct cpuid_host *host)
{
	bool amd = p->vendor == VENDOR_AMD;
	struct cpuid_entry *en;
	uint32_t r[4];

	host_leaf(host, 0, 0, r);
	if (!amd)
		memset(r, 0, sizeof(r));
	r[EAX] = amd ? MAX_EXT_AMD : MAX_EXT_INTEL;
	add_regs(p, LEAF_EXT, 0, r);

	en = add_features(p, 0x80000001, 0);
	if (amd) {
		host_leaf(host, 0x80000001, 0, r);
		en->eax = cpuid_signature(p);
		en->ebx = r[EBX]; /* package type */
		en->edx |= feature_bits(p, 1, 0, EDX) & AMD_EDX_COMMON;
		if (p->n_cpus > 1)
			en->ecx |= AMD_CMP_LEGACY;
	}
	if (amd) {
		host_leaf(host, 0x80000005, 0, r);
		add_regs(p, 0x80000005, 0, r);
	}
	host_leaf(host, 0x80000006, 0, r);
	add_regs(p, 0x80000006, 0, r);
	add_features(p, 0x80000007, 0);
	en = add_features(p, 0x80000008, 0);
	en->eax = p->gpa_bits | (cpuid_feature_on(p, FEAT_LA57) ? LA_BITS_LA57 : LA_BITS) << 8;
	if (amd)
		en->ecx = (p->n_cpus - 1) | id_bits(p) << 12;
}

static void add_amd(struct cpuid_policy *p, const struct cpuid_host *host)
{
	uint32_t r[4];

	host_leaf(host, 0x8000001a, 0, r); /* widths of the floating-point unit */
	add_regs(p, 0x8000001a, 0, r);
	if (cpuid_feature_on(p, FEAT_TOPOEXT)) {
		add_caches(p, host, 0x8000001d);
		add(p, 0x8000001e, 0);
	}
	add_features(p, 0x80000021, 0);
}

/* -- What the policy allows in registers ---------------------------------------------------------- */

static const struct {
	enum cpuid_feature_id feature;
	uint64_t cr4, efer;
} control_bits[] = {
	{ FEAT_VME, CR4_VME | CR4_PVI, 0 },
	{ FEAT_TSC, CR4_TSD, 0 },
	{ FEAT_DE, CR4_DE, 0 },
	{ FEAT_PSE, CR4_PSE, 0 },
	{ FEAT_PAE, CR4_PAE, 0 },
	{ FEAT_MCE, CR4_MCE, 0 },
	{ FEAT_PGE, CR4_PGE, 0 },
	{ FEAT_FXSR, CR4_OSFXSR, 0 },
	{ FEAT_SSE, CR4_OSXMMEXCPT, 0 },
	{ FEAT_UMIP, CR4_UMIP, 0 },
	{ FEAT_LA57, CR4_LA57, 0 },
	{ FEAT_FSGSBASE, CR4_FSGSBASE, 0 },
	{ FEAT_PCID, CR4_PCIDE, 0 },
	{ FEAT_XSAVE, CR4_OSXSAVE, 0 },
	{ FEAT_SMEP, CR4_SMEP, 0 },
	{ FEAT_SMAP, CR4_SMAP, 0 },
	{ FEAT_SYSCALL, 0, EFER_SCE },
	{ FEAT_LM, 0, EFER_LME | EFER_LMA },
	{ FEAT_NX, 0, EFER_NXE },
	{ FEAT_FXSR_OPT, 0, EFER_FFXSR },
	{ FEAT_AUTOIBRS, 0, EFER_AUTOIBRS },
};

static void init_controls(struct cpuid_policy *p, const struct cpuid_host *host)
{
	/* RDPMC is there since the P6 even without a counter to read, and CR4.PCE with it. */
	p->cr4_allowed = CR4_PCE;
	p->efer_allowed = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(control_bits); i++) {
		if (!cpuid_feature_on(p, control_bits[i].feature))
			continue;
		p->cr4_allowed |= control_bits[i].cr4;
		p->efer_allowed |= control_bits[i].efer;
	}
	p->mxcsr_mask = host->mxcsr_mask ? host->mxcsr_mask : MXCSR_MASK_DEFAULT;
	if (!cpuid_feature_on(p, FEAT_MISALIGNSSE))
		p->mxcsr_mask &= ~(uint32_t)MXCSR_MM;
}

static void init_host_facts(struct cpuid_policy *p, const struct cpuid_host *host)
{
	uint32_t r[4];
	char vendor[12];

	host_leaf(host, 0, 0, r);
	memcpy(vendor, &r[EBX], 4);
	memcpy(vendor + 4, &r[EDX], 4);
	memcpy(vendor + 8, &r[ECX], 4);
	p->vendor = VENDOR_INTEL;
	if (!memcmp(vendor, "AuthenticAMD", 12) || !memcmp(vendor, "HygonGenuine", 12))
		p->vendor = VENDOR_AMD;
	host_leaf(host, 0x80000008, 0, r);
	p->gpa_bits = MIN(MAX(r[EAX] & 0xff, GPA_BITS_MIN), GPA_BITS_MAX);
}

int cpuid_policy_init_from(struct cpuid_policy *p, const struct cpuid_host *host, const char *spec, unsigned n_cpus,
			   uint64_t tsc_hz, struct err *e)
{
	const char *model;
	int rc;

	memset(p, 0, sizeof(*p));
	p->n_cpus = n_cpus;
	p->tsc_hz = tsc_hz;
	init_host_facts(p, host);
	rc = cpuid_select_features(p, host, spec, &model, e);
	if (rc)
		return rc;
	rc = init_xsave(p, host, e);
	if (rc)
		return rc;
	init_controls(p, host);
	isa_init(p);

	add_basic(p, host);
	if (p->vendor == VENDOR_INTEL)
		add_intel(p, host);
	add_topology(p, 0xb);
	add_xsave(p);
	add_kvm(p);
	add_extended(p, host);
	add_brand(p, host, model);
	if (p->vendor == VENDOR_AMD)
		add_amd(p, host);
	return 0;
}

int cpuid_policy_init(struct cpuid_policy *p, const char *spec, unsigned n_cpus, uint64_t tsc_hz, struct err *e)
{
	const struct cpuid_host host = { .query = host_query, .xcr0 = host_xcr0(), .mxcsr_mask = host_mxcsr_mask() };

	return cpuid_policy_init_from(p, &host, spec, n_cpus, tsc_hz, e);
}

/* -- Asking ---------------------------------------------------------------------------------------- */

bool cpuid_has(const struct cpuid_policy *p, const char *feature)
{
	int id = cpuid_feature_find(feature);

	return id >= 0 && cpuid_feature_on(p, (enum cpuid_feature_id)id);
}

uint32_t cpuid_xsave_size(const struct cpuid_policy *p, uint64_t components, bool compacted)
{
	uint32_t end = XSAVE_HEADER_END;

	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++) {
		const struct xsave_component *c = &p->xsave[i];

		if (!(components & BIT(i)) || !c->size)
			continue;
		if (!compacted)
			end = MAX(end, c->offset + c->size);
		else
			end = (c->align64 ? (uint32_t)ALIGN_UP(end, 64) : end) + c->size;
	}
	return end;
}

static const struct cpuid_entry *find_entry(const struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->entry[i].leaf == leaf && p->entry[i].subleaf == subleaf)
			return &p->entry[i];
	return NULL;
}

uint32_t cpuid_signature(const struct cpuid_policy *p)
{
	return find_entry(p, 1, 0)->eax;
}

static bool has_subleaves(uint32_t leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1f || leaf == 0x8000001d;
}

/* Beyond the last leaf Intel answers with the last basic one, AMD with zeros; the hypervisor's range is zeros. */
static uint32_t clamp_leaf(const struct cpuid_policy *p, uint32_t leaf)
{
	if (p->vendor != VENDOR_INTEL || (leaf >> 28) == LEAF_KVM >> 28)
		return leaf;
	if (leaf <= MAX_BASIC_INTEL || (leaf >= LEAF_EXT && leaf <= MAX_EXT_INTEL))
		return leaf;
	return MAX_BASIC_INTEL;
}

static bool apic_enabled(const struct vcpu *v)
{
	uint64_t base;

	if (!v->intc.ops || !v->intc.ops->rdmsr || !v->intc.ops->rdmsr(v->intc.opaque, MSR_APIC_BASE, &base))
		return true;
	return base & BIT(11); /* global enable, SDM vol. 3, 11.4.4 */
}

/* The parts of a leaf that depend on this vCPU and on what it has written to its registers. */
static void fix_up(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct cpuid_policy *p = v->cpuid;

	switch (leaf) {
	case 1:
		out[EBX] |= (v->index & 0xff) << 24;
		if (v->s.cr4 & CR4_OSXSAVE)
			out[ECX] |= LEAF1_OSXSAVE;
		if (!apic_enabled(v))
			out[EDX] &= ~(uint32_t)LEAF1_APIC;
		break;
	case 0xb:
	case 0x1f:
		if (leaf > max_basic(p))
			break;
		out[ECX] |= subleaf & 0xff;
		out[EDX] = v->index;
		break;
	case 0xd:
		if (subleaf == 0 && p->xcr0_allowed)
			out[EBX] = cpuid_xsave_size(p, v->s.xcr0, false);
		else if (subleaf == 1 && cpuid_feature_on(p, FEAT_XSAVEC))
			out[EBX] = cpuid_xsave_size(p, v->s.xcr0 | v->s.xss, true);
		break;
	case 0x80000001:
		if (p->vendor == VENDOR_AMD && !apic_enabled(v))
			out[EDX] &= ~(uint32_t)LEAF1_APIC;
		break;
	case 0x8000001e:
		if (cpuid_feature_on(p, FEAT_TOPOEXT)) {
			out[EAX] = v->index;
			out[EBX] = v->index & 0xff; /* core id; one thread in each */
		}
		break;
	}
}

void cpuid_query(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct cpuid_policy *p = v->cpuid;
	const struct cpuid_entry *en;

	leaf = clamp_leaf(p, leaf);
	en = find_entry(p, leaf, has_subleaves(leaf) ? subleaf : 0);
	memset(out, 0, 4 * sizeof(out[0]));
	if (en) {
		out[EAX] = en->eax;
		out[EBX] = en->ebx;
		out[ECX] = en->ecx;
		out[EDX] = en->edx;
	}
	fix_up(v, leaf, subleaf, out);
}

bool cpuid_vendor_is_amd(const struct cpuid_policy *p)
{
	return p->vendor == VENDOR_AMD;
}
