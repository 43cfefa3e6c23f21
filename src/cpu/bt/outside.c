/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports, CPUID and most MSRs: done by what the reference uses, too, but without a step of it. Devices may wait for others and use
 * vector registers, so this is done outside of the cache with the guest's state put away; the run loop goes on at RIP (BT_OUTSIDE).
 * Turn by turn all of it is the reference's, which tells lockstep.
 */
#include "cpu/bt/cache.h"
#include "cpu/bt/system.h"
#include "cpu/cpuid.h"
#include "cpu/msr.h"

/* The site may be gone from here on. */
static void go_outside(struct bt *bt)
{
	bt_leave(bt);
	bt_fpu_park(bt);
}

static enum bt_done done(struct bt *bt, unsigned len)
{
	struct x86_state *s = &bt->v->s;

	s->rip = x86_64bit(s) ? s->rip + len : (uint32_t)(s->rip + len);
	return BT_OUTSIDE;
}

/* No permission map is asked: what it is needed for is the reference's. */
static bool may_do_io(const struct bt *bt)
{
	const struct x86_state *s = &bt->v->s;

	return !bt->v->turn && !x86_v86(s) && (!x86_protected(s) || s->cpl <= bits_of(s->rflags, 13, 12));
}

static uint16_t port_of(const struct bt *bt, const struct bt_site *site)
{
	return site->reg ? site->sub : (uint16_t)bt->v->s.gpr[R_DX];
}

enum bt_done bt_do_in(struct bt *bt, const struct bt_site *site)
{
	uint64_t *ax = &bt->v->s.gpr[R_AX], val, mask = UINT64_MAX >> (64 - site->size * 8);
	unsigned size = site->size, len = site->len, port = port_of(bt, site);

	if (!may_do_io(bt))
		return BT_REFUSED;
	go_outside(bt);
	val = vcpu_pio_read(bt->v, (uint16_t)port, size) & mask;
	*ax = size == 4 ? val : (*ax & ~mask) | val;
	return done(bt, len);
}

enum bt_done bt_do_out(struct bt *bt, const struct bt_site *site)
{
	uint64_t val = bt->v->s.gpr[R_AX] & (UINT64_MAX >> (64 - site->size * 8));
	unsigned size = site->size, len = site->len, port = port_of(bt, site);

	if (!may_do_io(bt))
		return BT_REFUSED;
	go_outside(bt);
	vcpu_pio_write(bt->v, (uint16_t)port, size, val);
	return done(bt, len);
}

enum bt_done bt_do_cpuid(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	unsigned len = site->len;
	uint32_t out[4];

	if (bt->v->turn)
		return BT_REFUSED;
	go_outside(bt);
	cpuid_query(bt->v, (uint32_t)s->gpr[R_AX], (uint32_t)s->gpr[R_CX], out);
	s->gpr[R_AX] = out[0];
	s->gpr[R_BX] = out[1];
	s->gpr[R_CX] = out[2];
	s->gpr[R_DX] = out[3];
	return done(bt, len);
}

/* What an MSR refuses it has logged by now: not again by way of the reference, if possible. */
static enum bt_done fault(struct bt *bt)
{
	bt->shadow_rip = BT_NO_SHADOW;
	return bt_deliver_fault(bt, X86_GP, 0) ? BT_OUTSIDE : BT_REFUSED;
}

enum bt_done bt_do_any_msr(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	uint64_t val = (uint32_t)s->gpr[R_AX] | s->gpr[R_DX] << 32;
	bool write = site->op == BT_OP_WRMSR;
	unsigned len = site->len;

	if (bt->v->turn || s->cpl)
		return BT_REFUSED;
	go_outside(bt);
	if (write ? !msr_write(bt->v, (uint32_t)s->gpr[R_CX], val) : !msr_read(bt->v, (uint32_t)s->gpr[R_CX], &val))
		return fault(bt);
	if (!write) {
		s->gpr[R_AX] = (uint32_t)val;
		s->gpr[R_DX] = val >> 32;
	}
	return done(bt, len);
}
