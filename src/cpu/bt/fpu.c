/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two homes of the guest's x87, vector and mask state: the XSAVE image that translated code is
 * entered with and left to, and the canonical arrays of struct x86_fpu.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "base/endian.h"
#include "cpu/bt/bt.h"

/* Runs while the guest's vector state is in the host's registers, which the sanitizers' checks would use. */
#define NOT_SANITIZED __attribute__((no_sanitize("address", "thread", "undefined")))

/* Offsets in the legacy region of an XSAVE image, SDM vol. 1, table 10-2 */
enum { XS_FCW = 0, XS_FSW = 2, XS_FTW = 4, XS_FOP = 6, XS_MXCSR = 24, XS_ST = 32, XS_XMM = 160, XS_BV = 512 };

/* Bytes [from, from + bytes) of zmm[first] and so on stand in component `number` one behind the other. */
struct component {
	uint64_t bit;
	unsigned number, from, bytes, first, count;
};

static const struct component components[] = {
	{ XCR0_AVX, 2, 16, 16, 0, 16 },
	{ XCR0_ZMM_HI, 6, 32, 32, 0, 16 },
	{ XCR0_HI16, 7, 0, 64, 16, 16 },
};

#define COMPONENT_OPMASK 5

static uint64_t host_xcr0(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static unsigned component_offset(unsigned n)
{
	unsigned a, b, c, d;

	__cpuid_count(0xd, n, a, b, c, d);
	return b;
}

int bt_fpu_init(struct bt *bt, struct err *e)
{
	const char *why = bt_unusable();
	unsigned a, b, c, d;

	if (why)
		return err_set(e, ENOTSUP, "translator: %s; use --engine interp", why);
	bt->xsave_mask = host_xcr0() & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512);
	__cpuid_count(0xd, 1, a, b, c, d);
	bt->use_xsaveopt = a & 1;
	for (unsigned n = 2; n < ARRAY_SIZE(bt->xs_offset); n++)
		bt->xs_offset[n] = component_offset(n);
	return 0;
}

/* -- Host registers and image ------------------------------------------------------------------------------ */

NOT_SANITIZED void bt_fpu_park(struct bt *bt)
{
	if (!bt->fpu_live)
		return;
	if (bt->use_xsaveopt)
		__asm__ volatile("xsaveopt64 (%0)" : : "r"(bt->fpu), "a"((uint32_t)bt->xsave_mask), "d"(0) : "memory");
	else
		__asm__ volatile("xsave64 (%0)" : : "r"(bt->fpu), "a"((uint32_t)bt->xsave_mask), "d"(0) : "memory");
	__asm__ volatile("fninit; fldcw %0; ldmxcsr %1; vzeroupper" : : "m"(bt->host_fcw), "m"(bt->host_mxcsr));
	bt->fpu_live = false;
	bt->fpu_in_image = true;
}

NOT_SANITIZED void bt_fpu_resume(struct bt *bt)
{
	if (bt->fpu_live)
		return;
	if (!bt->fpu_in_image)
		bt_fpu_to_image(bt);
	__asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(bt->host_mxcsr), "=m"(bt->host_fcw));
	__asm__ volatile("xrstor64 (%0)" : : "r"(bt->fpu), "a"((uint32_t)bt->xsave_mask), "d"(0) : "memory");
	bt->fpu_live = true;
}

NOT_SANITIZED void bt_fpu_snapshot(struct bt *bt)
{
	if (bt->fpu_live)
		__asm__ volatile("xsave64 (%0)" : : "r"(bt->fpu), "a"((uint32_t)bt->xsave_mask), "d"(0) : "memory");
	else if (!bt->fpu_in_image)
		bt_fpu_to_image(bt);
	bt->fpu_in_image = true;
}

NOT_SANITIZED void bt_fpu_reload(struct bt *bt)
{
	if (bt->fpu_live)
		__asm__ volatile("xrstor64 (%0)" : : "r"(bt->fpu), "a"((uint32_t)bt->xsave_mask), "d"(0) : "memory");
}

/* -- Image and canonical state ------------------------------------------------------------------------------- */

void bt_fpu_to_state(struct bt *bt)
{
	struct x86_fpu *f = &bt->v->s.fpu;
	const uint8_t *x = bt->fpu;
	uint64_t bv = get_le64(x + XS_BV);

	f->fcw = bv & XCR0_X87 ? get_le16(x + XS_FCW) : 0x37f;
	f->fsw = bv & XCR0_X87 ? get_le16(x + XS_FSW) : 0;
	f->ftw = bv & XCR0_X87 ? x[XS_FTW] : 0;
	for (unsigned i = 0; i < 8 && (bv & XCR0_X87); i++)
		memcpy(f->st[i], x + XS_ST + i * 16, 16);
	if (!(bv & XCR0_X87))
		memset(f->st, 0, sizeof(f->st));
	f->mxcsr = get_le32(x + XS_MXCSR);
	for (unsigned i = 0; i < 16; i++) {
		if (bv & XCR0_SSE)
			memcpy(f->zmm[i], x + XS_XMM + i * 16, 16);
		else
			memset(f->zmm[i], 0, 16);
	}
	for (unsigned k = 0; k < ARRAY_SIZE(components); k++) {
		const struct component *c = &components[k];

		if (!(bt->xsave_mask & c->bit))
			continue;
		for (unsigned i = 0; i < c->count; i++) {
			if (bv & c->bit)
				memcpy(f->zmm[c->first + i] + c->from, x + bt->xs_offset[c->number] + i * c->bytes, c->bytes);
			else
				memset(f->zmm[c->first + i] + c->from, 0, c->bytes);
		}
	}
	if (bt->xsave_mask & XCR0_OPMASK) {
		if (bv & XCR0_OPMASK)
			memcpy(f->k, x + bt->xs_offset[COMPONENT_OPMASK], sizeof(f->k));
		else
			memset(f->k, 0, sizeof(f->k));
	}
}

void bt_fpu_to_image(struct bt *bt)
{
	const struct x86_fpu *f = &bt->v->s.fpu;
	uint8_t *x = bt->fpu;

	memset(x, 0, 576);
	put_le16(x + XS_FCW, f->fcw);
	put_le16(x + XS_FSW, f->fsw);
	x[XS_FTW] = (uint8_t)f->ftw;
	put_le32(x + XS_MXCSR, f->mxcsr);
	for (unsigned i = 0; i < 8; i++)
		memcpy(x + XS_ST + i * 16, f->st[i], 10);
	for (unsigned i = 0; i < 16; i++)
		memcpy(x + XS_XMM + i * 16, f->zmm[i], 16);
	put_le64(x + XS_BV, bt->xsave_mask);
	for (unsigned k = 0; k < ARRAY_SIZE(components); k++) {
		const struct component *c = &components[k];

		for (unsigned i = 0; i < c->count && (bt->xsave_mask & c->bit); i++)
			memcpy(x + bt->xs_offset[c->number] + i * c->bytes, f->zmm[c->first + i] + c->from, c->bytes);
	}
	if (bt->xsave_mask & XCR0_OPMASK)
		memcpy(x + bt->xs_offset[COMPONENT_OPMASK], f->k, sizeof(f->k));
}
