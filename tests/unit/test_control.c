/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads of CR0, CR3, CR4, XCR0 and EFER: faults, effects, TLB (SDM vol. 3, 2.5, 4.10.4.1, 9.8.5); reset. */
#include "one_cpu.h"

#define PDPT      0x1000ull /* good PDPTEs */
#define PDPT_BAD  0x2000ull /* the third has a reserved bit set */
#define CODE64    (SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_L)
#define CODE32    (SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_DB)
#define TSS32     (SEG_P | 11)
#define TSS16     (SEG_P | 3)

/* Where a case starts. */
enum start { REAL, PROT, PAGED32, PAE, PAE_BAD, LONG, COMPAT, LONG_PCID };

#define CR0_BASE  (CR0_PE | CR0_ET | CR0_NE)
#define CR0_PAGED (CR0_BASE | CR0_PG)

static struct one_cpu *machine;

static void start_in(enum start mode)
{
	struct x86_state *s = &machine->v->s;

	x86_reset(s, false);
	tlb_flush_all(machine->v->tlb);
	s->cr0 = mode == REAL ? CR0_ET : mode == PROT ? CR0_BASE : CR0_PAGED;
	s->cr3 = mode == PAE_BAD ? PDPT_BAD : PDPT;
	s->tr.attr = TSS32;
	s->seg[SEG_CS].attr = CODE32;
	if (mode >= PAE)
		s->cr4 = CR4_PAE;
	if (mode >= LONG) {
		s->efer = EFER_LME | EFER_LMA;
		s->seg[SEG_CS].attr = mode == COMPAT ? CODE32 : CODE64;
	}
	if (mode == LONG_PCID)
		s->cr4 |= CR4_PCIDE;
	machine->v->tlb->pcid = 0;
}

static int setup(void **state)
{
	uint64_t good[4] = { 0x3001, 0, 0x4001, 0 }, bad[4] = { 0x3001, 0, 0x4001 | BIT(5), 0 };

	machine = one_cpu_new(NULL, "host,+la57", 1);
	memcpy(machine->ram->base + PDPT, good, sizeof(good));
	memcpy(machine->ram->base + PDPT_BAD, bad, sizeof(bad));
	return 0;
}

static int teardown(void **state)
{
	one_cpu_free(machine);
	return 0;
}

/* -- What faults ---------------------------------------------------------------------------------------- */

enum reg { CR0, CR3, CR4, XCR0, EFER };

static int load(enum reg r, uint64_t val)
{
	struct vcpu *v = machine->v;

	switch (r) {
	case CR0: return vcpu_set_cr0(v, val);
	case CR3: return vcpu_set_cr3(v, val);
	case CR4: return vcpu_set_cr4(v, val);
	case XCR0: return vcpu_set_xcr0(v, val);
	default: return vcpu_set_efer(v, val);
	}
}

static uint64_t read_back(enum reg r)
{
	const struct x86_state *s = &machine->v->s;
	const uint64_t vals[] = { s->cr0, s->cr3, s->cr4, s->xcr0, s->efer };

	return vals[r];
}

#define GP UINT64_MAX /* the load faults and changes nothing */

static const struct {
	const char *what;
	enum start start;
	enum reg reg;
	uint64_t val, expect;
} loads[] = {
	{ "CR0 upper half", LONG, CR0, CR0_PAGED | BIT(32), GP },
	{ "CR0 PG without PE", REAL, CR0, CR0_PG, GP },
	{ "CR0 NW without CD", PROT, CR0, CR0_BASE | CR0_NW, GP },
	{ "CR0 NW with CD", PROT, CR0, CR0_BASE | CR0_NW | CR0_CD, CR0_BASE | CR0_NW | CR0_CD },
	{ "CR0 reserved bits are ignored, ET is fixed", PROT, CR0, (CR0_BASE & ~CR0_ET) | BIT(6) | BIT(28) | BIT(17),
	  CR0_BASE },
	{ "CR0 to protected mode", REAL, CR0, CR0_BASE, CR0_BASE },
	{ "CR0 paging on", PROT, CR0, CR0_PAGED, CR0_PAGED },
	{ "CR0 paging off in 64-bit mode", LONG, CR0, CR0_BASE, GP },
	{ "CR0 paging off in compatibility mode", COMPAT, CR0, CR0_BASE, CR0_BASE },
	{ "CR0 paging off with PCIDE", LONG_PCID, CR0, CR0_BASE, GP },
	{ "CR0 reloads bad PDPTEs when CD changes", PAE_BAD, CR0, CR0_PAGED | CR0_CD, GP },
	{ "CR0 does not reload PDPTEs for TS", PAE_BAD, CR0, CR0_PAGED | CR0_TS, CR0_PAGED | CR0_TS },
	{ "CR0 good PDPTEs", PAE, CR0, CR0_PAGED | CR0_CD, CR0_PAGED | CR0_CD },

	{ "CR3 32 bits outside of long mode", PROT, CR3, 0x1234567890ull, 0x34567890 },
	{ "CR3 low bits are kept", PROT, CR3, 0x5fff, 0x5fff },
	{ "CR3 PAE", PAE, CR3, PDPT, PDPT },
	{ "CR3 PAE bad PDPTE", PAE, CR3, PDPT_BAD, GP },
	{ "CR3 bad table without PAE is nothing yet", PAGED32, CR3, PDPT_BAD, PDPT_BAD },
	{ "CR3 bit 51 beyond MAXPHYADDR", LONG, CR3, BIT(51), GP },
	{ "CR3 bit 63 without PCIDE", LONG, CR3, BIT(63) | PDPT, GP },
	{ "CR3 bit 63 with PCIDE is not stored", LONG_PCID, CR3, BIT(63) | PDPT | 5, PDPT | 5 },
	{ "CR3 bit 62 with PCIDE", LONG_PCID, CR3, BIT(62) | PDPT, GP },
	{ "CR3 LAM bit", LONG, CR3, BIT(61) | PDPT, GP },

	{ "CR4 reserved bit 15", PROT, CR4, BIT(15), GP },
	{ "CR4 VMXE", PROT, CR4, BIT(13), GP },
	{ "CR4 PKE", PROT, CR4, CR4_PKE, GP },
	{ "CR4 CET", PROT, CR4, BIT(23), GP },
	{ "CR4 upper half", LONG, CR4, CR4_PAE | BIT(32), GP },
	{ "CR4 much of it", PROT, CR4, CR4_PSE | CR4_PGE | CR4_OSFXSR | CR4_SMEP | CR4_SMAP | CR4_UMIP,
	  CR4_PSE | CR4_PGE | CR4_OSFXSR | CR4_SMEP | CR4_SMAP | CR4_UMIP },
	{ "CR4 PAE off in long mode", LONG, CR4, 0, GP },
	{ "CR4 PAE off in compatibility mode", COMPAT, CR4, 0, GP },
	{ "CR4 PCIDE outside of long mode", PAE, CR4, CR4_PAE | CR4_PCIDE, GP },
	{ "CR4 PCIDE", LONG, CR4, CR4_PAE | CR4_PCIDE, CR4_PAE | CR4_PCIDE },
	{ "CR4 LA57 on in long mode", LONG, CR4, CR4_PAE | CR4_LA57, GP },
	{ "CR4 LA57 on in compatibility mode", COMPAT, CR4, CR4_PAE | CR4_LA57, GP },
	{ "CR4 LA57 on before long mode", PROT, CR4, CR4_PAE | CR4_LA57, CR4_PAE | CR4_LA57 },
	{ "CR4 bad PDPTEs when PGE changes", PAE_BAD, CR4, CR4_PAE | CR4_PGE, GP },
	{ "CR4 bad PDPTEs are not read for TSD", PAE_BAD, CR4, CR4_PAE | CR4_TSD, CR4_PAE | CR4_TSD },
	{ "CR4 PAE on with good PDPTEs", PAGED32, CR4, CR4_PAE, CR4_PAE },

	{ "XCR0 without x87", PROT, XCR0, XCR0_SSE, GP },
	{ "XCR0 nothing", PROT, XCR0, 0, GP },
	{ "XCR0 x87", PROT, XCR0, XCR0_X87, XCR0_X87 },
	{ "XCR0 AVX without SSE", PROT, XCR0, XCR0_X87 | XCR0_AVX, GP },
	{ "XCR0 MPX", PROT, XCR0, XCR0_X87 | BIT(3) | BIT(4), GP },
	{ "XCR0 PKRU", PROT, XCR0, XCR0_X87 | BIT(9), GP },
	{ "XCR0 bit 63", PROT, XCR0, XCR0_X87 | BIT(63), GP },
	{ "XCR0 AVX-512 without AVX", PROT, XCR0, XCR0_X87 | XCR0_SSE | XCR0_AVX512, GP },
	{ "XCR0 a part of AVX-512", PROT, XCR0, XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_OPMASK, GP },

	{ "EFER SCE and NXE", PROT, EFER, EFER_SCE | EFER_NXE, EFER_SCE | EFER_NXE },
	{ "EFER reserved bit", PROT, EFER, BIT(1), GP },
	{ "EFER SVME", PROT, EFER, BIT(12), GP },
	{ "EFER LME with paging", PAE, EFER, EFER_LME, GP },
	{ "EFER LME off in long mode", LONG, EFER, 0, GP },
	{ "EFER LMA cannot be written", PROT, EFER, EFER_LME | EFER_LMA, EFER_LME },
	{ "EFER LMA stays", LONG, EFER, EFER_LME | EFER_SCE, EFER_LME | EFER_LMA | EFER_SCE },
};

static void test_loads(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
		uint64_t before;
		int rc;

		start_in(loads[i].start);
		before = read_back(loads[i].reg);
		rc = load(loads[i].reg, loads[i].val);
		if (loads[i].expect == GP ? rc != X86_GP || read_back(loads[i].reg) != before :
					    rc != 0 || read_back(loads[i].reg) != loads[i].expect)
			fail_msg("%s: returned %d, register is %#lx", loads[i].what, rc,
				 (unsigned long)read_back(loads[i].reg));
	}
}

static void test_pcide_needs_pcid_0(void **state)
{
	start_in(LONG);
	machine->v->s.cr3 = PDPT | 1;
	assert_int_equal(vcpu_set_cr4(machine->v, CR4_PAE | CR4_PCIDE), X86_GP);
	assert_int_equal(machine->v->s.cr4, CR4_PAE);
}

static void test_xcr0_what_is_allowed(void **state)
{
	uint64_t all = machine->cpuid.xcr0_allowed;

	start_in(LONG);
	if (all) {
		assert_int_equal(vcpu_set_xcr0(machine->v, all), 0);
		assert_int_equal(machine->v->s.xcr0, all);
	}
}

/* -- Into long mode and out ------------------------------------------------------------------------------- */

static void test_long_mode(void **state)
{
	struct vcpu *v = machine->v;

	start_in(PROT);
	assert_int_equal(vcpu_set_efer(v, EFER_LME), 0);
	assert_int_equal(vcpu_set_cr0(v, CR0_PAGED), X86_GP); /* no PAE */
	assert_int_equal(vcpu_set_cr4(v, CR4_PAE), 0);
	v->s.cr3 = PDPT_BAD; /* is no matter in long mode */
	v->s.tr.attr = TSS16;
	assert_int_equal(vcpu_set_cr0(v, CR0_PAGED), X86_GP);
	v->s.tr.attr = TSS32;
	v->s.seg[SEG_CS].attr = CODE64;
	assert_int_equal(vcpu_set_cr0(v, CR0_PAGED), X86_GP);
	v->s.seg[SEG_CS].attr = CODE32;
	assert_int_equal(v->s.efer, EFER_LME);
	assert_int_equal(vcpu_set_cr0(v, CR0_PAGED), 0);
	assert_int_equal(v->s.efer, EFER_LME | EFER_LMA);
	/* and out, through compatibility mode */
	assert_int_equal(vcpu_set_cr0(v, CR0_BASE), 0);
	assert_int_equal(v->s.efer, EFER_LME);
}

static void test_pdptes_are_loaded(void **state)
{
	struct vcpu *v = machine->v;

	start_in(PROT);
	v->s.cr4 = CR4_PAE;
	assert_int_equal(vcpu_set_cr0(v, CR0_PAGED), 0);
	assert_int_equal(v->s.pdpte[0], 0x3001);
	assert_int_equal(v->s.pdpte[2], 0x4001);
	/* A fault leaves the old ones. */
	assert_int_equal(vcpu_set_cr3(v, PDPT_BAD), X86_GP);
	assert_int_equal(v->s.pdpte[2], 0x4001);
	assert_int_equal(v->s.cr3, PDPT);
	/* Beyond RAM: all ones, which has reserved bits. */
	assert_int_equal(vcpu_set_cr3(v, 0x80000000), X86_GP);
}

/* -- What leaves the TLB ------------------------------------------------------------------------------------ */

#define LA_LOCAL  0x100000ull
#define LA_GLOBAL 0x101000ull

static void fill(uint64_t la, bool global, uint64_t pcid)
{
	struct mmu_translation tr = { .gpa = la, .page_shift = 12, .global = global, .dirty = true, .can_write = true,
				      .can_fetch = true, .can_read = true };
	uint64_t was = machine->v->tlb->pcid;

	machine->v->tlb->pcid = pcid;
	tlb_fill(machine->v->tlb, MMU_KERNEL, la, &tr, machine->ram->base + la, false);
	machine->v->tlb->pcid = was;
}

static bool cached(uint64_t la, uint64_t pcid)
{
	uint64_t was = machine->v->tlb->pcid;
	bool hit;

	machine->v->tlb->pcid = pcid;
	hit = tlb_lookup(machine->v->tlb, MMU_KERNEL, ACCESS_READ, la);
	machine->v->tlb->pcid = was;
	return hit;
}

static const struct {
	const char *what;
	enum start start;
	enum reg reg;
	uint64_t flip;  /* bits of the register that change */
	bool local, global; /* what stays */
} flushes[] = {
	{ "CR0.TS", LONG, CR0, CR0_TS, true, true },
	{ "CR0.WP", LONG, CR0, CR0_WP, false, false },
	{ "CR0.PG", COMPAT, CR0, CR0_PG, false, false },
	{ "CR3", LONG, CR3, 0x8000, false, true },
	{ "CR3 with the same value", LONG, CR3, 0, false, true },
	{ "CR4.PGE", LONG, CR4, CR4_PGE, false, false },
	{ "CR4.PSE", LONG, CR4, CR4_PSE, false, false },
	{ "CR4.SMEP", LONG, CR4, CR4_SMEP, false, false },
	{ "CR4.SMAP", LONG, CR4, CR4_SMAP, false, false },
	{ "CR4.PCIDE on", LONG, CR4, CR4_PCIDE, true, true },
	{ "CR4.PCIDE off", LONG_PCID, CR4, CR4_PCIDE, false, false },
	{ "CR4.TSD", LONG, CR4, CR4_TSD, true, true },
	{ "CR4.OSXSAVE", LONG, CR4, CR4_OSFXSR, true, true },
	{ "EFER.NXE", LONG, EFER, EFER_NXE, false, false },
	{ "EFER.SCE", LONG, EFER, EFER_SCE, true, true },
};

static void test_flushes(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(flushes); i++) {
		start_in(flushes[i].start);
		fill(LA_LOCAL, false, 0);
		fill(LA_GLOBAL, true, 0);
		assert_true(cached(LA_LOCAL, 0) && cached(LA_GLOBAL, 0));
		assert_int_equal(load(flushes[i].reg, read_back(flushes[i].reg) ^ flushes[i].flip), 0);
		if (cached(LA_LOCAL, 0) != flushes[i].local || cached(LA_GLOBAL, 0) != flushes[i].global)
			fail_msg("%s: local page %d, global page %d", flushes[i].what, cached(LA_LOCAL, 0),
				 cached(LA_GLOBAL, 0));
	}
}

static void test_cr3_with_pcid(void **state)
{
	struct vcpu *v = machine->v;

	start_in(LONG_PCID);
	assert_int_equal(vcpu_set_cr3(v, PDPT | 1), 0);
	assert_int_equal(v->tlb->pcid, 1);
	fill(LA_LOCAL, false, 1);
	fill(LA_LOCAL + 0x1000, false, 2);
	/* To PCID 2 without a flush: both stay. */
	assert_int_equal(vcpu_set_cr3(v, PDPT | 2 | CR3_NOFLUSH), 0);
	assert_int_equal(v->tlb->pcid, 2);
	assert_int_equal(v->s.cr3, PDPT | 2);
	assert_true(cached(LA_LOCAL, 1) && cached(LA_LOCAL + 0x1000, 2));
	/* To PCID 1 with one: only that goes. */
	assert_int_equal(vcpu_set_cr3(v, PDPT | 1), 0);
	assert_false(cached(LA_LOCAL, 1));
	assert_true(cached(LA_LOCAL + 0x1000, 2));
	assert_int_equal(vcpu_set_cr4(v, CR4_PAE), 0);
	assert_int_equal(v->tlb->pcid, 0);
}

/* -- Reset (SDM vol. 3, table 9-1) ----------------------------------------------------------------------------- */

static void test_power_on(void **state)
{
	struct x86_state *s = &machine->v->s;

	memset(s, 0xa5, sizeof(*s));
	x86_reset(s, false);
	assert_int_equal(s->rip, 0xfff0);
	assert_int_equal(s->rflags, 2);
	assert_int_equal(s->cr0, 0x60000010);
	assert_int_equal(s->cr2 | s->cr3 | s->cr4 | s->efer, 0);
	assert_int_equal(s->seg[SEG_CS].sel, 0xf000);
	assert_int_equal(s->seg[SEG_CS].base, 0xffff0000);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_int_equal(s->seg[i].limit, 0xffff);
		assert_int_equal(s->seg[i].attr & (SEG_P | SEG_S | SEG_RW | SEG_ACCESSED),
				 SEG_P | SEG_S | SEG_RW | SEG_ACCESSED);
	}
	assert_int_equal(s->gdtr.limit, 0xffff);
	assert_int_equal(s->idtr.limit, 0xffff);
	assert_int_equal(s->ldtr.limit, 0xffff);
	assert_int_equal(s->tr.limit, 0xffff);
	assert_int_equal(s->dr[6], 0xffff0ff0);
	assert_int_equal(s->dr[7], 0x400);
	assert_int_equal(s->xcr0, 1);
	assert_int_equal(s->fpu.fcw, 0x40);
	assert_int_equal(s->fpu.mxcsr, 0x1f80);
	assert_int_equal(s->msr.pat, 0x0007040600070406);
	assert_int_equal(s->msr.mtrr_def_type, 0);
	assert_int_equal(s->msr.tsc_offset, 0);
	assert_int_equal(s->activity, ACT_RUNNING);
}

static void test_init_keeps(void **state)
{
	struct x86_state *s = &machine->v->s;
	struct x86_fpu fpu;

	x86_reset(s, false);
	memset(&s->fpu, 0x5a, sizeof(s->fpu));
	fpu = s->fpu;
	s->xcr0 = 7;
	s->cr0 = CR0_PE | CR0_PG | CR0_CD | CR0_WP;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE;
	s->msr.tsc_adjust = 123;
	s->msr.tsc_offset = 456;
	s->msr.mtrr_mask[3] = 0x800;
	s->msr.lstar = 789;
	s->msr.kvm_system_time = 0x1001;
	s->dr[0] = 0x1234;
	s->dr[7] = 0x401;
	s->gpr[R_BX] = 1;
	x86_reset(s, true);
	assert_memory_equal(&s->fpu, &fpu, sizeof(fpu));
	assert_int_equal(s->xcr0, 7);
	assert_int_equal(s->cr0, CR0_CD | CR0_ET);
	assert_int_equal(s->efer, 0);
	assert_int_equal(s->msr.tsc_adjust, 123);
	assert_int_equal(s->msr.tsc_offset, 456);
	assert_int_equal(s->msr.mtrr_mask[3], 0x800);
	assert_int_equal(s->msr.lstar, 789);
	assert_int_equal(s->msr.kvm_system_time, 0);
	assert_int_equal(s->dr[0], 0);
	assert_int_equal(s->dr[7], 0x400);
	assert_int_equal(s->gpr[R_BX], 0);
	assert_int_equal(s->rip, 0xfff0);
	/* EDX is the CPU's signature, which the vCPU puts there. */
	vcpu_reset(machine->v, true);
	assert_int_equal(s->gpr[R_DX], cpuid_signature(&machine->cpuid));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads),
		cmocka_unit_test(test_pcide_needs_pcid_0),
		cmocka_unit_test(test_xcr0_what_is_allowed),
		cmocka_unit_test(test_long_mode),
		cmocka_unit_test(test_pdptes_are_loaded),
		cmocka_unit_test(test_flushes),
		cmocka_unit_test(test_cr3_with_pcid),
		cmocka_unit_test(test_power_on),
		cmocka_unit_test(test_init_keeps),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
