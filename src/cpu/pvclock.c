/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM paravirtual clock (Linux Documentation/virt/kvm/x86/msr, MSR_KVM_SYSTEM_TIME_NEW, WALL_CLOCK_NEW). */
#include <sched.h>
#include <stddef.h>
#include "base/log.h"
#include "cpu/vcpu.h"

#define NS_PER_SEC 1000000000ull

#define SYSTEM_TIME_ENABLE BIT(0)
#define PVCLOCK_TSC_STABLE BIT(0) /* the lines of all vCPUs are one */
#define SAMPLES 5 /* pairs of TSC and clock; the tightest counts */

/* The ABI; the guest reads it between two equal, even versions. */
struct pvclock_time {
	uint32_t version;
	uint32_t pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time; /* ns */
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};
_Static_assert(sizeof(struct pvclock_time) == 32, "pvclock ABI");
_Static_assert(offsetof(struct pvclock_time, tsc_to_system_mul) == 24, "pvclock ABI");

struct pvclock_wall {
	uint32_t version, sec, nsec;
};
_Static_assert(sizeof(struct pvclock_wall) == 12, "pvclock ABI");

static void base_lock(struct pvclock_base *b)
{
	while (atomic_exchange_explicit(&b->busy, true, memory_order_acquire))
		sched_yield();
}

static void base_unlock(struct pvclock_base *b)
{
	atomic_store_explicit(&b->busy, false, memory_order_release);
}

/* Choose shift so that mul has its top bit set: 32 significant bits, an error below 0.3 ppb. */
void pvclock_scale(uint64_t tsc_hz, uint32_t *mul, int8_t *shift)
{
	uint64_t hz = MAX(tsc_hz, 1);
	int sh = 0;

	while (hz > 2 * NS_PER_SEC) {
		hz >>= 1;
		sh--;
	}
	while (sh >= 0 && hz <= NS_PER_SEC) {
		hz <<= 1;
		sh++;
	}
	/* ns per tick = 10^9 / tsc_hz = mul / 2^32 * 2^sh; hz above lost bits by shifting, so start afresh. */
	if (sh < 0)
		*mul = (uint32_t)((((unsigned __int128)NS_PER_SEC << 32) << -sh) / tsc_hz);
	else
		*mul = (uint32_t)(((unsigned __int128)NS_PER_SEC << 32) / hz);
	*shift = (int8_t)sh;
}

static uint64_t ticks_to_ns(uint64_t ticks, uint64_t tsc_hz)
{
	uint32_t mul;
	int8_t shift;

	pvclock_scale(tsc_hz, &mul, &shift);
	ticks = shift < 0 ? ticks >> -shift : ticks << shift;
	return (uint64_t)(((unsigned __int128)ticks * mul) >> 32);
}

/* Draw the line through a (TSC, guest time) pair: the one of several that was read in the least time. */
static void draw_locked(struct vcpu_group *g)
{
	struct pvclock_base *b = &g->pvclock;
	uint64_t best = UINT64_MAX, ns = 0;

	if (b->valid)
		return;
	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t before = host_tsc(), now = clock_now(g->clock), gap = host_tsc() - before;

		if (gap < best) {
			best = gap;
			b->tsc = before + gap / 2;
			ns = now;
		}
	}
	b->ns = b->stopped ? MAX(b->ns, ns) : ns;
	b->valid = true;
	b->stopped = false;
}

static uint64_t ns_locked(struct vcpu_group *g, uint64_t tsc)
{
	const struct pvclock_base *b = &g->pvclock;

	/* A TSC from just before the line was drawn. */
	if (tsc < b->tsc)
		return b->ns - MIN(b->ns, ticks_to_ns(b->tsc - tsc, g->cpuid->tsc_hz));
	return b->ns + ticks_to_ns(tsc - b->tsc, g->cpuid->tsc_hz);
}

uint64_t pvclock_ns(struct vcpu_group *g, uint64_t tsc)
{
	uint64_t ns;

	base_lock(&g->pvclock);
	draw_locked(g);
	ns = ns_locked(g, tsc);
	base_unlock(&g->pvclock);
	return ns;
}

void pvclock_stop(struct vcpu_group *g)
{
	struct pvclock_base *b = &g->pvclock;

	base_lock(b);
	if (b->valid) {
		b->ns = ns_locked(g, host_tsc());
		b->valid = false;
		b->stopped = true;
	}
	base_unlock(b);
}

/*
 * Write a structure of the ABI, whose first word is its version: odd while the rest changes. Other
 * vCPUs read it meanwhile (Linux's vDSO reads CPU 0's on every CPU). A bad address writes nothing.
 */
static void write_versioned(struct vcpu *v, uint64_t gpa, const void *data, size_t len)
{
	uint32_t version;

	if (gpa % sizeof(version) || space_dma_read(v->mem, gpa, &version, sizeof(version))) {
		guest_log("paravirtual clock: no RAM for its structure at %#lx", (unsigned long)gpa);
		return;
	}
	version = (version & ~1u) + 1;
	if (space_dma_write(v->mem, gpa, &version, sizeof(version)))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	space_dma_write(v->mem, gpa + sizeof(version), (const uint8_t *)data + sizeof(version), len - sizeof(version));
	atomic_thread_fence(memory_order_seq_cst);
	version++;
	space_dma_write(v->mem, gpa, &version, sizeof(version));
}

void pvclock_update(struct vcpu *v)
{
	struct vcpu_group *g = v->group;
	uint64_t msr = v->s.msr.kvm_system_time;
	struct pvclock_time t = { .flags = PVCLOCK_TSC_STABLE };

	if (!(msr & SYSTEM_TIME_ENABLE))
		return;
	base_lock(&g->pvclock);
	draw_locked(g);
	t.tsc_timestamp = g->pvclock.tsc + v->s.msr.tsc_offset;
	t.system_time = g->pvclock.ns;
	base_unlock(&g->pvclock);
	pvclock_scale(g->cpuid->tsc_hz, &t.tsc_to_system_mul, &t.tsc_shift);
	write_versioned(v, msr & ~SYSTEM_TIME_ENABLE, &t, sizeof(t));
}

void pvclock_write_wall(struct vcpu *v, uint64_t gpa)
{
	uint64_t start = clock_wall_ns(v->group->clock) - pvclock_ns(v->group, host_tsc());
	struct pvclock_wall w = { .sec = (uint32_t)(start / NS_PER_SEC), .nsec = (uint32_t)(start % NS_PER_SEC) };

	write_versioned(v, gpa, &w, sizeof(w));
}
