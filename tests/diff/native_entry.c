/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signal entry of the oracle's child, and the XSAVE area in its signal frames (SDM vol. 1, 13.4). */
#include <cpuid.h>
#include <stddef.h>
#include <string.h>
#include "native.h"
#include "native_entry.h"

struct native_regs native_in, native_out;
uint64_t native_tls;

_Static_assert(offsetof(struct native_regs, ds) == 16 && offsetof(struct native_regs, gs) == 22 &&
		       offsetof(struct native_regs, flags) == 24, "as in the assembly");

/*
 * A case leaves AC, NT and ID as it likes, and any data segments and bases. The kernel has already cleared DF and
 * TF and set CS and SS. 0x244000 = AC | ID | NT.
 */
__asm__(".text\n"
	".globl native_text_start, native_text_end, native_entry, native_restorer, native_syscall, native_kick\n"
	".type native_entry, @function\n"
	"native_entry:\n"
	"	pushfq\n"
	"	andl	$~0x244000, (%rsp)\n"
	"	popfq\n"
	"	rdfsbase %rax\n"
	"	mov	%rax, native_in(%rip)\n"
	"	rdgsbase %rax\n"
	"	mov	%rax, native_in+8(%rip)\n"
	"	mov	%ds, native_in+16(%rip)\n"
	"	mov	%es, native_in+18(%rip)\n"
	"	mov	%fs, native_in+20(%rip)\n"
	"	mov	%gs, native_in+22(%rip)\n"
	"	xor	%eax, %eax\n"
	"	mov	%eax, %ds\n"
	"	mov	%eax, %es\n"
	"	mov	%eax, %fs\n"
	"	mov	%eax, %gs\n"
	"	mov	native_tls(%rip), %rax\n"
	"	wrfsbase %rax\n"
	"	sub	$8, %rsp\n"
	"	call	native_trap\n"
	"	add	$8, %rsp\n"
	"	mov	native_out+16(%rip), %ds\n"
	"	mov	native_out+18(%rip), %es\n"
	"	mov	native_out+20(%rip), %fs\n"
	"	mov	native_out+22(%rip), %gs\n"
	"	mov	native_out(%rip), %rax\n"
	"	wrfsbase %rax\n"
	"	mov	native_out+8(%rip), %rax\n"
	"	wrgsbase %rax\n"
	"	push	native_out+24(%rip)\n"
	"	popfq\n"
	"	ret\n"
	".type native_kick, @function\n"
	"native_kick:\n"
	"	ud2\n"
	"	ret\n"
	"native_text_start:\n"
	".type native_restorer, @function\n"
	"native_restorer:\n"
	"	mov	$15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	".type native_syscall, @function\n"
	"native_syscall:\n"
	"	mov	%rdi, %rax\n"
	"	mov	%rsi, %rdi\n"
	"	mov	%rdx, %rsi\n"
	"	mov	%rcx, %rdx\n"
	"	mov	%r8, %r10\n"
	"	mov	%r9, %r8\n"
	"	mov	8(%rsp), %r9\n"
	"	syscall\n"
	"	ret\n"
	"native_text_end:\n");

uint64_t native_read_fs_base(void)
{
	uint64_t v;

	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}

/* The legacy region, as FXSAVE64 writes it, and the header. */
enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FDP = 16, FX_MXCSR = 24, FX_ST = 32,
       FX_XMM = 160, XSTATE_BV = 512 };
#define MXCSR_INIT 0x1f80
#define FCW_INIT   0x37f

#define XCR0_CASE (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)

uint64_t native_xcr0(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo & XCR0_CASE;
}

/* Offset of a component in the standard format: CPUID leaf 0xd, sub-leaf n, EBX. */
static unsigned xstate_offset(unsigned n)
{
	static unsigned cache[8];
	unsigned a, b, c, d;

	if (!cache[n]) {
		__cpuid_count(0xd, n, a, b, c, d);
		cache[n] = b;
	}
	return cache[n];
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

enum { YMM_HI = 2, OPMASK = 5, ZMM_HI = 6, HI16_ZMM = 7 };

void xstate_store(uint8_t *area, const struct x86_fpu *fpu)
{
	uint64_t have = native_xcr0(), bv = get64(area + XSTATE_BV);

	memcpy(area + FX_FCW, &fpu->fcw, 2);
	memcpy(area + FX_FSW, &fpu->fsw, 2);
	memcpy(area + FX_FTW, &fpu->ftw, 2);
	memcpy(area + FX_FOP, &fpu->fop, 2);
	memcpy(area + FX_FIP, &fpu->fip, 8);
	memcpy(area + FX_FDP, &fpu->fdp, 8);
	memcpy(area + FX_MXCSR, &fpu->mxcsr, 4);
	memcpy(area + FX_ST, fpu->st, sizeof(fpu->st));
	for (unsigned i = 0; i < 16; i++) {
		memcpy(area + FX_XMM + 16 * i, fpu->zmm[i], 16);
		if (have & XCR0_AVX)
			memcpy(area + xstate_offset(YMM_HI) + 16 * i, fpu->zmm[i] + 16, 16);
		if (have & XCR0_ZMM_HI)
			memcpy(area + xstate_offset(ZMM_HI) + 32 * i, fpu->zmm[i] + 32, 32);
	}
	if (have & XCR0_HI16)
		memcpy(area + xstate_offset(HI16_ZMM), fpu->zmm[16], sizeof(fpu->zmm) / 2);
	if (have & XCR0_OPMASK)
		memcpy(area + xstate_offset(OPMASK), fpu->k, sizeof(fpu->k));
	bv |= have;
	memcpy(area + XSTATE_BV, &bv, sizeof(bv));
}

/* A component whose bit in XSTATE_BV is clear is in its initial state, whatever the area holds. */
void xstate_load(const uint8_t *area, struct x86_fpu *fpu)
{
	uint64_t bv = get64(area + XSTATE_BV);

	memset(fpu, 0, sizeof(*fpu));
	fpu->fcw = FCW_INIT;
	memcpy(&fpu->mxcsr, area + FX_MXCSR, 4);
	if (bv & XCR0_X87) {
		memcpy(&fpu->fcw, area + FX_FCW, 2);
		memcpy(&fpu->fsw, area + FX_FSW, 2);
		memcpy(&fpu->ftw, area + FX_FTW, 1);
		memcpy(&fpu->fop, area + FX_FOP, 2);
		memcpy(&fpu->fip, area + FX_FIP, 8);
		memcpy(&fpu->fdp, area + FX_FDP, 8);
		memcpy(fpu->st, area + FX_ST, sizeof(fpu->st));
	}
	for (unsigned i = 0; i < 16; i++) {
		if (bv & XCR0_SSE)
			memcpy(fpu->zmm[i], area + FX_XMM + 16 * i, 16);
		if (bv & XCR0_AVX)
			memcpy(fpu->zmm[i] + 16, area + xstate_offset(YMM_HI) + 16 * i, 16);
		if (bv & XCR0_ZMM_HI)
			memcpy(fpu->zmm[i] + 32, area + xstate_offset(ZMM_HI) + 32 * i, 32);
	}
	if (bv & XCR0_HI16)
		memcpy(fpu->zmm[16], area + xstate_offset(HI16_ZMM), sizeof(fpu->zmm) / 2);
	if (bv & XCR0_OPMASK)
		memcpy(fpu->k, area + xstate_offset(OPMASK), sizeof(fpu->k));
}

void xstate_init(uint8_t *area)
{
	const uint64_t none = 0;
	const uint32_t mxcsr = MXCSR_INIT;

	memcpy(area + FX_MXCSR, &mxcsr, sizeof(mxcsr));
	memcpy(area + XSTATE_BV, &none, sizeof(none));
}
