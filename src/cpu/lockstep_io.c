/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine's vCPU sees of the world is written down, and read to the reference's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/lockstep_int.h"

#define PORT_BITS 16

static const char *const kind_name[] = {
	[REC_IN] = "port read",     [REC_OUT] = "port write",       [REC_MMIO_READ] = "device read",
	[REC_MMIO_WRITE] = "device write", [REC_TSC] = "time stamp",  [REC_ACK] = "interrupt",
	[REC_TPR_READ] = "read of CR8",    [REC_TPR_WRITE] = "write of CR8", [REC_RDMSR] = "RDMSR of the APIC",
	[REC_WRMSR] = "WRMSR of the APIC",
};

/* -- The two ends of the list ---------------------------------------------------------------------------- */

static void record(struct lockstep *ls, struct record r)
{
	struct records *l = &ls->rec;

	if (!ls->in_turn)
		return;
	if (l->n == l->room) {
		unsigned room = MAX(64u, l->room * 2);
		struct record *more = realloc(l->r, room * sizeof(*more));

		if (!more) {
			ls->stale = true;
			return;
		}
		l->r = more;
		l->room = room;
	}
	l->r[l->n++] = r;
}

/* The record that answers what the reference does now; NULL, and a difference, if the engine did not do the same. */
static const struct record *replay(struct lockstep *ls, enum record_kind kind, uint64_t addr, unsigned size,
				   const uint64_t *written)
{
	const struct record *r = ls->rec.next < ls->rec.n ? &ls->rec.r[ls->rec.next] : NULL;

	if (r && r->kind == kind && r->addr == addr && r->size == size && (!written || !((r->val ^ *written) & ~ls->io_flags))) {
		ls->rec.next++;
		return r;
	}
	if (ls->io_difference[0])
		return NULL;
	if (r)
		snprintf(ls->io_difference, sizeof(ls->io_difference),
			 "the engine: %s %#" PRIx64 ", %u bytes, %#" PRIx64 "; the reference: %s %#" PRIx64 ", %u bytes, %#" PRIx64,
			 kind_name[r->kind], r->addr, r->size, r->val, kind_name[kind], addr, size, written ? *written : 0);
	else
		snprintf(ls->io_difference, sizeof(ls->io_difference), "only the reference: %s %#" PRIx64 ", %u bytes",
			 kind_name[kind], addr, size);
	return NULL;
}

static uint64_t replay_read(struct lockstep *ls, enum record_kind kind, uint64_t addr, unsigned size)
{
	const struct record *r = replay(ls, kind, addr, size, NULL);

	return r ? r->val : 0;
}

bool lockstep_next_is_interrupt(const struct lockstep *ls)
{
	return ls->rec.next < ls->rec.n && ls->rec.r[ls->rec.next].kind == REC_ACK;
}

uint64_t lockstep_tsc(struct lockstep *ls, struct vcpu *v)
{
	uint64_t tsc;

	if (v == ls->shadow)
		return replay_read(ls, REC_TSC, 0, 8);
	tsc = vcpu_tsc(v);
	record(ls, (struct record){ .kind = REC_TSC, .size = 8, .val = tsc });
	return tsc;
}

/* -- Ports ------------------------------------------------------------------------------------------------- */

static uint64_t port_in(void *opaque, uint64_t port, unsigned size)
{
	struct lockstep *ls = opaque;
	uint64_t val = space_read(ls->pio, port, size);

	record(ls, (struct record){ .kind = REC_IN, .size = (uint8_t)size, .addr = port, .val = val });
	return val;
}

static void port_out(void *opaque, uint64_t port, unsigned size, uint64_t val)
{
	struct lockstep *ls = opaque;

	record(ls, (struct record){ .kind = REC_OUT, .size = (uint8_t)size, .addr = port, .val = val });
	space_write(ls->pio, port, size, val);
}

static uint64_t shadow_port_in(void *opaque, uint64_t port, unsigned size)
{
	return replay_read(opaque, REC_IN, port, size);
}

static void shadow_port_out(void *opaque, uint64_t port, unsigned size, uint64_t val)
{
	replay(opaque, REC_OUT, port, size, &val);
}

static const struct io_ops port_tap = { .read = port_in, .write = port_out, .min_size = 1, .max_size = 8 };
static const struct io_ops port_replay = { .read = shadow_port_in, .write = shadow_port_out, .min_size = 1, .max_size = 8 };

/* -- The interrupt controller, and device memory, which is asked for through it ------------------------------------ */

static bool tap_pending(void *opaque)
{
	struct lockstep *ls = opaque;

	return ls->intc.ops && ls->intc.ops->pending(ls->intc.opaque);
}

static int tap_ack(void *opaque)
{
	struct lockstep *ls = opaque;
	int vector = ls->intc.ops->ack(ls->intc.opaque);

	if (vector >= 0)
		record(ls, (struct record){ .kind = REC_ACK, .size = 1, .val = (uint64_t)vector });
	return vector;
}

static unsigned tap_get_tpr(void *opaque)
{
	struct lockstep *ls = opaque;
	unsigned tpr = ls->intc.ops ? ls->intc.ops->get_tpr(ls->intc.opaque) : 0;

	record(ls, (struct record){ .kind = REC_TPR_READ, .size = 1, .val = tpr });
	return tpr;
}

static void tap_set_tpr(void *opaque, unsigned tpr)
{
	struct lockstep *ls = opaque;

	record(ls, (struct record){ .kind = REC_TPR_WRITE, .size = 1, .val = tpr });
	if (ls->intc.ops)
		ls->intc.ops->set_tpr(ls->intc.opaque, tpr);
}

static bool tap_rdmsr(void *opaque, uint32_t msr, uint64_t *val)
{
	struct lockstep *ls = opaque;
	bool ok = ls->intc.ops && ls->intc.ops->rdmsr && ls->intc.ops->rdmsr(ls->intc.opaque, msr, val);

	record(ls, (struct record){ .kind = REC_RDMSR, .size = 8, .ok = ok, .addr = msr, .val = ok ? *val : 0 });
	return ok;
}

static bool tap_wrmsr(void *opaque, uint32_t msr, uint64_t val)
{
	struct lockstep *ls = opaque;
	bool ok = ls->intc.ops && ls->intc.ops->wrmsr && ls->intc.ops->wrmsr(ls->intc.opaque, msr, val);

	record(ls, (struct record){ .kind = REC_WRMSR, .size = 8, .ok = ok, .addr = msr, .val = val });
	return ok;
}

static bool tap_mmio(void *opaque, uint64_t gpa, unsigned size, bool write, uint64_t *val)
{
	struct lockstep *ls = opaque;
	uint64_t out = *val;
	bool here = ls->intc.ops && ls->intc.ops->mmio(ls->intc.opaque, gpa, size, write, val);

	if (!here && write)
		space_write(ls->v->mem, gpa, size, out);
	else if (!here)
		*val = space_read(ls->v->mem, gpa, size);
	record(ls, (struct record){ .kind = write ? REC_MMIO_WRITE : REC_MMIO_READ, .size = (uint8_t)size, .addr = gpa,
				    .val = write ? out : *val });
	return true;
}

static void tap_reset(void *opaque, bool init)
{
	struct lockstep *ls = opaque;

	if (ls->intc.ops)
		ls->intc.ops->reset(ls->intc.opaque, init);
}

static const struct cpu_intc_ops intc_tap = {
	.pending = tap_pending, .ack = tap_ack,     .get_tpr = tap_get_tpr, .set_tpr = tap_set_tpr,
	.rdmsr = tap_rdmsr,     .wrmsr = tap_wrmsr, .mmio = tap_mmio,       .reset = tap_reset,
};

static bool shadow_pending(void *opaque)
{
	return lockstep_next_is_interrupt(opaque);
}

static int shadow_ack(void *opaque)
{
	return (int)replay_read(opaque, REC_ACK, 0, 1);
}

static unsigned shadow_get_tpr(void *opaque)
{
	return (unsigned)replay_read(opaque, REC_TPR_READ, 0, 1);
}

static void shadow_set_tpr(void *opaque, unsigned tpr)
{
	uint64_t val = tpr;

	replay(opaque, REC_TPR_WRITE, 0, 1, &val);
}

static bool shadow_rdmsr(void *opaque, uint32_t msr, uint64_t *val)
{
	const struct record *r = replay(opaque, REC_RDMSR, msr, 8, NULL);

	if (r && r->ok)
		*val = r->val;
	return r && r->ok;
}

static bool shadow_wrmsr(void *opaque, uint32_t msr, uint64_t val)
{
	const struct record *r = replay(opaque, REC_WRMSR, msr, 8, &val);

	return r && r->ok;
}

static bool shadow_mmio(void *opaque, uint64_t gpa, unsigned size, bool write, uint64_t *val)
{
	const struct record *r = replay(opaque, write ? REC_MMIO_WRITE : REC_MMIO_READ, gpa, size, write ? val : NULL);

	if (!write)
		*val = r ? r->val : 0;
	return true;
}

static void shadow_reset(void *opaque, bool init)
{
}

static const struct cpu_intc_ops intc_replay = {
	.pending = shadow_pending, .ack = shadow_ack,     .get_tpr = shadow_get_tpr, .set_tpr = shadow_set_tpr,
	.rdmsr = shadow_rdmsr,     .wrmsr = shadow_wrmsr, .mmio = shadow_mmio,       .reset = shadow_reset,
};

/* -- Life ---------------------------------------------------------------------------------------------------- */

int lockstep_io_init(struct lockstep *ls, struct err *e)
{
	int rc;

	ls->pio = ls->v->pio;
	ls->intc = ls->v->intc;
	ls->pio_tap = space_new("ports, recorded", PORT_BITS);
	ls->group.pio = space_new("ports, replayed", PORT_BITS);
	rc = space_add_io(ls->pio_tap, NULL, "tap", 0, BIT(PORT_BITS), &port_tap, ls, NULL);
	if (!rc)
		rc = space_add_io(ls->group.pio, NULL, "replay", 0, BIT(PORT_BITS), &port_replay, ls, NULL);
	if (rc)
		return err_set(e, -rc, "lockstep: out of memory");
	ls->shadow->pio = ls->group.pio;
	ls->shadow->intc = (struct cpu_intc){ &intc_replay, ls };
	ls->v->pio = ls->pio_tap;
	ls->v->intc = (struct cpu_intc){ &intc_tap, ls };
	return 0;
}

void lockstep_io_release(struct lockstep *ls)
{
	if (ls->pio) {
		ls->v->pio = ls->pio;
		ls->v->intc = ls->intc;
	}
	if (ls->pio_tap)
		space_free(ls->pio_tap);
	if (ls->group.pio)
		space_free(ls->group.pio);
	free(ls->rec.r);
}
