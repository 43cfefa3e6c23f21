/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modes: what blocks are translated for, besides their address; and the jump caches, which do not know of it. */
#include "cpu/bt/jumps.h"
#include "cpu/bt/legacy.h"
#include "cpu/bt/system.h"

static enum bt_fpu_level fpu_level(const struct vcpu *v)
{
	const struct x86_state *s = &v->s;

	if ((s->cr0 & (CR0_EM | CR0_TS)) || !(s->cr4 & CR4_OSFXSR) || !(s->cr4 & CR4_OSXMMEXCPT))
		return FPU_NONE;
	if (!(s->cr4 & CR4_OSXSAVE) || (s->xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX))
		return FPU_SSE;
	return (s->xcr0 & XCR0_AVX512) == XCR0_AVX512 ? FPU_AVX512 : FPU_AVX;
}

/* The mode of code that would run now, were it at this privilege. */
static struct bt_mode mode_at(const struct vcpu *v, enum mmu_mode mmu)
{
	const struct x86_state *s = &v->s;
	bool outer = mmu == MMU_USER || s->cpl == 1 || s->cpl == 2;

	return (struct bt_mode){
		.mmu = (uint8_t)mmu,
		.fpu = (uint8_t)fpu_level(v),
		.x87 = !(s->cr0 & (CR0_EM | CR0_TS)),
		.tsc_native = !v->turn && s->msr.tsc_offset == 0 && !(outer && (s->cr4 & CR4_TSD)),
		.ring0 = !outer,
		.la57 = (s->cr4 & CR4_LA57) != 0,
		.fsgsbase = (s->cr4 & (CR4_FSGSBASE | CR4_LA57)) == CR4_FSGSBASE,
	};
}

void bt_settle_modes(struct bt *bt)
{
	bool same = true;

	for (unsigned m = 0; m < MMU_MODES; m++) {
		struct bt_mode now = mode_at(bt->v, m);

		same &= bt_same_mode(bt->jc_mode[m], now);
		bt->jc_mode[m] = now;
	}
	if (!same)
		bt_jc_clear(bt);
}

struct bt_mode bt_current_mode(struct bt *bt)
{
	struct bt_mode m = mode_at(bt->v, bt_mmu_mode(bt->v));
	struct bt_legacy known;

	if (x86_64bit(&bt->v->s)) {
		m.stack = m.mmu == MMU_USER && bt_stack_usable(bt);
		return m;
	}
	m.legacy = known = bt_legacy_mode(bt->v);
	known.cs_base = 0;
	if (__builtin_memcmp(&known, &bt->jc_legacy[m.mmu == MMU_USER], sizeof(known))) {
		bt_jc_clear(bt);
		bt->jc_legacy[m.mmu == MMU_USER] = known;
	}
	return m;
}
