/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model-specific registers (SDM vol. 4 ch. 2; APM vol. 2 appendix A): one table, one row each.
 *
 * Missing: performance counters, last-branch records (DEBUGCTL's LBR and BTF can be set and do nothing),
 * machine-check banks (there are none), power management. Ignored, because their effects are on
 * what the guest cannot see: microcode loading, AMD's configuration registers, SPEC_CTRL and PRED_CMD.
 */
#include <stddef.h>
#include <stdlib.h>
#include "base/log.h"
#include "cpu/cpuid_features.h"
#include "cpu/msr.h"
#include "cpu/vcpu.h"

/* Facts of SDM vol. 4 and APM vol. 2 that only this file needs. */
enum {
	MSR_SMI_COUNT = 0x34,
	MSR_FEAT_CTL = 0x3a,
	MSR_PPIN_CTL = 0x4e,
	MSR_PPIN = 0x4f,
	MSR_PERFCTR0 = 0xc1,
	MSR_PERFCTR1 = 0xc2,
	MSR_PLATFORM_INFO = 0xce,
	MSR_MISC_FEATURES_ENABLES = 0x140,
	MSR_MCG_CTL = 0x17b,
	MSR_EVNTSEL0 = 0x186,
	MSR_EVNTSEL1 = 0x187,
	MSR_MTRR_PHYSMASK7 = 0x20f,
	MSR_MTRR_FIX4K_F8000 = 0x26f,
	MSR_MC_LAST = 0x47f,
	MSR_RAPL_FIRST = 0x606,
	MSR_RAPL_LAST = 0x64e,
	MSR_K7_EVNTSEL0 = 0xc0010000,
	MSR_K7_PERFCTR3 = 0xc0010007,
	MSR_AMD_NB_CFG = 0xc001001f,
	MSR_AMD_PATCH_LOADER = 0xc0010020,
	MSR_AMD_INT_PENDING = 0xc0010055,
	MSR_AMD_MMIO_CONF_BASE = 0xc0010058,
	MSR_AMD_LS_CFG = 0xc0011020,
	MSR_AMD_IC_CFG = 0xc0011021,
	MSR_AMD_DC_CFG = 0xc0011022,
	MSR_AMD_DE_CFG = 0xc0011029,
	MSR_AMD_BU_CFG2 = 0xc001102a,
	MSR_AMD_BP_CFG = 0xc001102e,
};

#define APIC_BASE_EXTD BIT(10)
#define FEAT_CTL_LOCKED BIT(0)
#define MISC_ENABLE_WRITABLE (BIT(0) | BIT(3) | BIT(11) | BIT(12))
#define DEBUGCTL_WRITABLE (BIT(0) | BIT(1)) /* LBR, BTF */
#define MCG_STATUS_WRITABLE 7
#define MTRRCAP_VALUE (8 | BIT(8) | BIT(10)) /* 8 variable ranges, fixed ranges, write combining */
#define MTRR_DEF_TYPE_DEFINED (0xff | BIT(10) | BIT(11))
#define MTRR_BASE_RESERVED 0xf00ull
#define MTRR_MASK_RESERVED 0x7ffull
#define SPEC_CTRL_WRITABLE 3 /* IBRS, STIBP */
#define SPEC_CTRL_BHI_DIS_S BIT(10)
#define PRED_CMD_WRITABLE 1  /* IBPB */
#define HWCR_TSC_FREQ_SEL BIT(24) /* the TSC counts at P0's frequency: Linux warns if clear */
#define HWCR_WRITABLE (BIT(3) | BIT(6) | BIT(8) | BIT(18) | HWCR_TSC_FREQ_SEL)
#define DE_CFG_LFENCE_SERIALIZE BIT(1)
/* What KVM shows: above any revision that a guest might ask for. */
#define PATCH_LEVEL_AMD   0x01000065ull
#define PATCH_LEVEL_INTEL (1ull << 32) /* the revision is the upper half */

/*
 * IA32_ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO,
 * SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: cpuid_features.h says why.
 */
#define ARCH_CAPABILITIES_VALUE                                                                    \
	(BIT(0) | BIT(1) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(20) | \
	 BIT(24) | BIT(26) | BIT(27) | BIT(62))

/*
 * One MSR or a range. What faults silently (no read, no write, known to be probed) has only numbers.
 * arg: the offset of the value in struct x86_state, or the value itself; writable: bits that may be
 * set. A row counts if the feature is on and the vendor is right.
 */
struct msr_def {
	uint32_t first, last;
	bool (*read)(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val);
	bool (*write)(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val);
	uint64_t arg;
	uint64_t writable;
	uint8_t feature; /* enum cpuid_feature_id, or NEEDS_NONE */
	uint8_t vendor;
};
#define NEEDS_NONE FEAT_COUNT

static uint64_t *field(struct vcpu *v, const struct msr_def *d, uint32_t msr)
{
	return (uint64_t *)((char *)&v->s + d->arg) + (msr - d->first);
}

/* -- What many rows use ---------------------------------------------------------------------------- */

static bool read_field(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = *field(v, d, msr);
	return true;
}

/* Reserved bits fault. */
static bool write_field(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	if (val & ~d->writable)
		return false;
	*field(v, d, msr) = val;
	return true;
}

/* Reserved bits are ignored. */
static bool write_masked(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	*field(v, d, msr) = val & d->writable;
	return true;
}

/* Here the width counts that the CPU supports, not the one in force (SDM vol. 2, WRMSR; vol. 1, 3.3.7.1). */
static bool write_canonical(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	unsigned bits = cpuid_feature_on(v->cpuid, FEAT_LA57) ? 57 : 48;

	if ((uint64_t)sign_extend(val, bits) != val)
		return false;
	*field(v, d, msr) = val;
	return true;
}

static bool read_const(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = d->arg;
	return true;
}

/* Writes of allowed bits go nowhere. */
static bool write_ignored(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	return !(val & ~d->writable);
}

/* -- The interrupt controller's ------------------------------------------------------------------- */

static bool read_intc(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	return v->intc.ops && v->intc.ops->rdmsr && v->intc.ops->rdmsr(v->intc.opaque, msr, val);
}

static bool write_intc(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	return v->intc.ops && v->intc.ops->wrmsr && v->intc.ops->wrmsr(v->intc.opaque, msr, val);
}

static bool write_apic_base(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	if (val >> v->cpuid->gpa_bits)
		return false;
	if ((val & APIC_BASE_EXTD) && !cpuid_feature_on(v->cpuid, FEAT_X2APIC))
		return false;
	return write_intc(v, d, msr, val);
}

/* -- The TSC (SDM vol. 3, 18.17.3) ----------------------------------------------------------------- */

static void move_tsc(struct vcpu *v, uint64_t delta)
{
	uint64_t deadline;

	if (!delta)
		return;
	v->s.msr.tsc_offset += delta;
	v->s.msr.tsc_adjust += delta;
	/* The deadline is a value of the guest's TSC: set it again, so that the controller times it anew. */
	if (read_intc(v, NULL, MSR_TSC_DEADLINE, &deadline) && deadline)
		write_intc(v, NULL, MSR_TSC_DEADLINE, deadline);
	pvclock_update(v);
}

static bool read_tsc(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = vcpu_read_tsc(v);
	return true;
}

static bool write_tsc(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	move_tsc(v, val - vcpu_read_tsc(v));
	return true;
}

static bool write_tsc_adjust(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	move_tsc(v, val - v->s.msr.tsc_adjust);
	return true;
}

static bool has_tsc_aux(const struct vcpu *v)
{
	return cpuid_feature_on(v->cpuid, FEAT_RDTSCP) || cpuid_feature_on(v->cpuid, FEAT_RDPID);
}

static bool read_tsc_aux(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = v->s.msr.tsc_aux;
	return has_tsc_aux(v);
}

/* The upper half: reserved on Intel, ignored on AMD. */
static bool write_tsc_aux(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	if (!has_tsc_aux(v) || (v->cpuid->vendor == VENDOR_INTEL && val >> 32))
		return false;
	v->s.msr.tsc_aux = (uint32_t)val;
	return true;
}

/* -- Memory types (SDM vol. 3, 11.11 and 11.12). Kept, and without effect: all RAM is write-back ------- */

/* UC 0, WC 1, WT 4, WP 5, WB 6 */
static bool mtrr_type_ok(uint64_t type)
{
	return type < 8 && (0x73 >> type & 1);
}

static bool each_type_ok(uint64_t val, uint8_t also)
{
	for (unsigned i = 0; i < 64; i += 8) {
		uint64_t type = val >> i & 0xff;

		if (!mtrr_type_ok(type) && !(also && type == also))
			return false;
	}
	return true;
}

static bool write_pat(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	if (!each_type_ok(val, 7)) /* 7: UC-, in the PAT only */
		return false;
	v->s.msr.pat = val;
	return true;
}

static bool write_mtrr_def_type(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	if ((val & ~MTRR_DEF_TYPE_DEFINED) || !mtrr_type_ok(val & 0xff))
		return false;
	v->s.msr.mtrr_def_type = val;
	return true;
}

static uint64_t *mtrr_variable(struct vcpu *v, uint32_t msr)
{
	unsigned n = (msr - MSR_MTRR_PHYSBASE0) / 2;

	return msr & 1 ? &v->s.msr.mtrr_mask[n] : &v->s.msr.mtrr_base[n];
}

static bool read_mtrr_variable(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = *mtrr_variable(v, msr);
	return true;
}

static bool write_mtrr_variable(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	bool mask = msr & 1;

	if (val >> v->cpuid->gpa_bits || (val & (mask ? MTRR_MASK_RESERVED : MTRR_BASE_RESERVED)))
		return false;
	if (!mask && !mtrr_type_ok(val & 0xff))
		return false;
	*mtrr_variable(v, msr) = val;
	return true;
}

static uint64_t *mtrr_fixed(struct vcpu *v, uint32_t msr)
{
	if (msr == MSR_MTRR_FIX64K_00000)
		return &v->s.msr.mtrr_fixed[0];
	if (msr < MSR_MTRR_FIX4K_C0000)
		return &v->s.msr.mtrr_fixed[1 + msr - MSR_MTRR_FIX16K_80000];
	return &v->s.msr.mtrr_fixed[3 + msr - MSR_MTRR_FIX4K_C0000];
}

static bool read_mtrr_fixed(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = *mtrr_fixed(v, msr);
	return true;
}

static bool write_mtrr_fixed(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	if (!each_type_ok(val, 0))
		return false;
	*mtrr_fixed(v, msr) = val;
	return true;
}

/* -- Singles ------------------------------------------------------------------------------------------ */

static bool write_efer(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	return !vcpu_set_efer(v, val);
}

static bool write_xss(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	if (val & ~v->cpuid->xss_allowed)
		return false;
	v->s.xss = val;
	return true;
}

/* FS and GS bases live in the segment registers. */
static bool read_seg_base(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = v->s.seg[msr == MSR_FS_BASE ? SEG_FS : SEG_GS].base;
	return true;
}

static bool write_seg_base(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	static const struct msr_def base[] = {
		{ .first = MSR_FS_BASE, .arg = offsetof(struct x86_state, seg[SEG_FS].base) },
		{ .first = MSR_GS_BASE, .arg = offsetof(struct x86_state, seg[SEG_GS].base) },
	};

	return write_canonical(v, &base[msr - MSR_FS_BASE], msr, val);
}

static bool write_spec_ctrl(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	uint64_t bhi = cpuid_feature_on(v->cpuid, FEAT_BHI_CTRL) ? SPEC_CTRL_BHI_DIS_S : 0;

	if (val & ~(d->writable | bhi))
		return false;
	v->s.msr.spec_ctrl = val;
	return true;
}

static bool read_patch_level(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = v->cpuid->vendor == VENDOR_AMD ? PATCH_LEVEL_AMD : PATCH_LEVEL_INTEL;
	return true;
}

/* Maximum non-turbo ratio in units of 100 MHz. */
static bool read_platform_info(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t *val)
{
	*val = (v->cpuid->tsc_hz / 100000000 & 0xff) << 8;
	return true;
}

static bool write_system_time(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	v->s.msr.kvm_system_time = val;
	pvclock_update(v);
	return true;
}

static bool write_wall_clock(struct vcpu *v, const struct msr_def *d, uint32_t msr, uint64_t val)
{
	v->s.msr.kvm_wall_clock = val;
	pvclock_write_wall(v, val);
	return true;
}

/* -- The table, in the order of the numbers ------------------------------------------------------------- */

#define FIELD(m) offsetof(struct x86_state, msr.m)
#define ALL      UINT64_MAX
#define INTEL    VENDOR_INTEL
#define AMD      VENDOR_AMD
#define ANY      VENDOR_ANY

static const struct msr_def msrs[] = {
	{ MSR_TSC, MSR_TSC, read_tsc, write_tsc, 0, ALL, FEAT_TSC, ANY },
	{ MSR_PLATFORM_ID, MSR_PLATFORM_ID, read_const, NULL, 0, 0, NEEDS_NONE, INTEL },
	{ MSR_APIC_BASE, MSR_APIC_BASE, read_intc, write_apic_base, 0, ALL, FEAT_APIC, ANY },
	{ MSR_SMI_COUNT, MSR_SMI_COUNT },
	{ MSR_FEAT_CTL, MSR_FEAT_CTL, read_const, NULL, FEAT_CTL_LOCKED, 0, NEEDS_NONE, INTEL },
	{ MSR_TSC_ADJUST, MSR_TSC_ADJUST, read_field, write_tsc_adjust, FIELD(tsc_adjust), ALL, FEAT_TSC_ADJUST, ANY },
	{ MSR_SPEC_CTRL, MSR_SPEC_CTRL, read_field, write_spec_ctrl, FIELD(spec_ctrl), SPEC_CTRL_WRITABLE,
	  FEAT_SPEC_CTRL, ANY },
	{ MSR_PRED_CMD, MSR_PRED_CMD, NULL, write_ignored, 0, PRED_CMD_WRITABLE, FEAT_SPEC_CTRL, ANY },
	{ MSR_PPIN_CTL, MSR_PPIN },
	{ MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, read_patch_level, write_ignored, 0, ALL, NEEDS_NONE, ANY },
	{ MSR_PERFCTR0, MSR_PERFCTR1 },
	{ MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, read_platform_info, NULL, 0, 0, NEEDS_NONE, INTEL },
	{ MSR_MTRRCAP, MSR_MTRRCAP, read_const, NULL, MTRRCAP_VALUE, 0, FEAT_MTRR, ANY },
	{ MSR_ARCH_CAPABILITIES, MSR_ARCH_CAPABILITIES, read_const, NULL, ARCH_CAPABILITIES_VALUE, 0,
	  FEAT_ARCH_CAPABILITIES, ANY },
	{ MSR_MISC_FEATURES_ENABLES, MSR_MISC_FEATURES_ENABLES },
	{ MSR_SYSENTER_CS, MSR_SYSENTER_CS, read_field, write_masked, FIELD(sysenter_cs), UINT32_MAX, FEAT_SEP, ANY },
	{ MSR_SYSENTER_ESP, MSR_SYSENTER_ESP, read_field, write_canonical, FIELD(sysenter_esp), ALL, FEAT_SEP, ANY },
	{ MSR_SYSENTER_EIP, MSR_SYSENTER_EIP, read_field, write_canonical, FIELD(sysenter_eip), ALL, FEAT_SEP, ANY },
	{ MSR_MCG_CAP, MSR_MCG_CAP, read_const, NULL, 0, 0, FEAT_MCA, ANY },
	{ MSR_MCG_STATUS, MSR_MCG_STATUS, read_field, write_field, FIELD(mcg_status), MCG_STATUS_WRITABLE, FEAT_MCA,
	  ANY },
	{ MSR_MCG_CTL, MSR_MCG_CTL },
	{ MSR_EVNTSEL0, MSR_EVNTSEL1 },
	{ MSR_MISC_ENABLE, MSR_MISC_ENABLE, read_field, write_field, FIELD(misc_enable), MISC_ENABLE_WRITABLE,
	  NEEDS_NONE, INTEL },
	{ MSR_DEBUGCTL, MSR_DEBUGCTL, read_const, write_ignored, 0, DEBUGCTL_WRITABLE, NEEDS_NONE, ANY },
	{ MSR_MTRR_PHYSBASE0, MSR_MTRR_PHYSMASK7, read_mtrr_variable, write_mtrr_variable, 0, ALL, FEAT_MTRR, ANY },
	{ MSR_MTRR_FIX64K_00000, MSR_MTRR_FIX64K_00000, read_mtrr_fixed, write_mtrr_fixed, 0, ALL, FEAT_MTRR, ANY },
	{ MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, read_mtrr_fixed, write_mtrr_fixed, 0, ALL, FEAT_MTRR, ANY },
	{ MSR_MTRR_FIX4K_C0000, MSR_MTRR_FIX4K_F8000, read_mtrr_fixed, write_mtrr_fixed, 0, ALL, FEAT_MTRR, ANY },
	{ MSR_PAT, MSR_PAT, read_field, write_pat, FIELD(pat), ALL, FEAT_PAT, ANY },
	{ MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, read_field, write_mtrr_def_type, FIELD(mtrr_def_type), ALL, FEAT_MTRR,
	  ANY },
	{ MSR_MC0_CTL, MSR_MC_LAST },
	{ MSR_RAPL_FIRST, MSR_RAPL_LAST },
	{ MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, read_intc, write_intc, 0, ALL, FEAT_TSC_DEADLINE, ANY },
	{ MSR_X2APIC_FIRST, MSR_X2APIC_LAST, read_intc, write_intc, 0, ALL, FEAT_X2APIC, ANY },
	{ MSR_XSS, MSR_XSS, read_field, write_xss, offsetof(struct x86_state, xss), ALL, FEAT_XSAVES, ANY },
	{ MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_WALL_CLOCK_NEW, read_field, write_wall_clock, FIELD(kvm_wall_clock), ALL,
	  FEAT_HYPERVISOR, ANY },
	{ MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_SYSTEM_TIME_NEW, read_field, write_system_time, FIELD(kvm_system_time), ALL,
	  FEAT_HYPERVISOR, ANY },
	{ MSR_EFER, MSR_EFER, read_field, write_efer, offsetof(struct x86_state, efer), ALL, NEEDS_NONE, ANY },
	{ MSR_STAR, MSR_STAR, read_field, write_field, FIELD(star), ALL, FEAT_SYSCALL, ANY },
	{ MSR_LSTAR, MSR_LSTAR, read_field, write_canonical, FIELD(lstar), ALL, FEAT_LM, ANY },
	{ MSR_CSTAR, MSR_CSTAR, read_field, write_canonical, FIELD(cstar), ALL, FEAT_LM, ANY },
	{ MSR_SFMASK, MSR_SFMASK, read_field, write_masked, FIELD(sfmask), UINT32_MAX, FEAT_SYSCALL, ANY },
	{ MSR_FS_BASE, MSR_GS_BASE, read_seg_base, write_seg_base, 0, ALL, FEAT_LM, ANY },
	{ MSR_KERNEL_GS_BASE, MSR_KERNEL_GS_BASE, read_field, write_canonical, FIELD(kernel_gs_base), ALL, FEAT_LM,
	  ANY },
	{ MSR_TSC_AUX, MSR_TSC_AUX, read_tsc_aux, write_tsc_aux, 0, ALL, NEEDS_NONE, ANY },
	{ MSR_K7_EVNTSEL0, MSR_K7_PERFCTR3 },
	{ MSR_AMD_SYSCFG, MSR_AMD_SYSCFG, read_const, write_ignored, 0, ALL, NEEDS_NONE, AMD },
	{ MSR_AMD_HWCR, MSR_AMD_HWCR, read_const, write_ignored, HWCR_TSC_FREQ_SEL, HWCR_WRITABLE, NEEDS_NONE, AMD },
	{ MSR_AMD_NB_CFG, MSR_AMD_NB_CFG, read_const, write_ignored, 0, ALL, NEEDS_NONE, AMD },
	{ MSR_AMD_PATCH_LOADER, MSR_AMD_PATCH_LOADER, NULL, write_ignored, 0, ALL, NEEDS_NONE, AMD },
	{ MSR_AMD_INT_PENDING, MSR_AMD_INT_PENDING, read_const, write_ignored, 0, ALL, NEEDS_NONE, AMD },
	{ MSR_AMD_MMIO_CONF_BASE, MSR_AMD_MMIO_CONF_BASE, read_const, write_ignored, 0, 0, NEEDS_NONE, AMD },
	{ MSR_AMD_LS_CFG, MSR_AMD_DC_CFG, read_const, write_ignored, 0, ALL, NEEDS_NONE, AMD },
	{ MSR_AMD_DE_CFG, MSR_AMD_DE_CFG, read_const, write_ignored, DE_CFG_LFENCE_SERIALIZE, ALL, NEEDS_NONE, AMD },
	{ MSR_AMD_BU_CFG2, MSR_AMD_BU_CFG2, read_const, write_ignored, 0, ALL, NEEDS_NONE, AMD },
	{ MSR_AMD_BP_CFG, MSR_AMD_BP_CFG, read_const, write_ignored, 0, ALL, NEEDS_NONE, AMD },
};

static int compare_number(const void *key, const void *row)
{
	uint32_t msr = *(const uint32_t *)key;
	const struct msr_def *d = row;

	return msr < d->first ? -1 : msr > d->last;
}

/* The row of an MSR that this guest has, or NULL. */
static const struct msr_def *find(const struct vcpu *v, uint32_t msr, bool write)
{
	const struct msr_def *d = bsearch(&msr, msrs, ARRAY_SIZE(msrs), sizeof(msrs[0]), compare_number);

	if (!d || (d->vendor != VENDOR_ANY && d->vendor != v->cpuid->vendor)) {
		guest_log("vCPU %u: %s of MSR %#x, which this CPU does not have: #GP", v->index,
			  write ? "WRMSR" : "RDMSR", msr);
		return NULL;
	}
	if (d->feature != NEEDS_NONE && !cpuid_feature_on(v->cpuid, d->feature))
		return NULL;
	return d;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	const struct msr_def *d = find(v, msr, false);

	return d && d->read && d->read(v, d, msr, val);
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t val)
{
	const struct msr_def *d = find(v, msr, true);

	return d && d->write && d->write(v, d, msr, val);
}
