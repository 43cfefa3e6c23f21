/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vCPU's thread: run the engine, sleep in HLT, stop when asked; and its pending-work word. */
#include "cpu/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cpu/interp/interp.h"
#include "cpu/lockstep.h"

/* -- Pending work ------------------------------------------------------------------------------------ */

/*
 * `sleeping` and `work` are a store-load pair on both sides, sequentially consistent: either the raiser
 * sees the sleeper and signals under the lock, or the sleeper sees the work.
 */
void vcpu_raise(struct vcpu *v, uint32_t work)
{
	atomic_fetch_or(&v->work, work);
	if (atomic_load(&v->sleeping)) {
		pthread_mutex_lock(&v->sleep_lock);
		pthread_cond_broadcast(&v->sleep_cond);
		pthread_mutex_unlock(&v->sleep_lock);
	}
	if (v->engine->kick)
		v->engine->kick(v);
}

static void kick_raise(void *vcpu, enum cpu_event ev, unsigned arg)
{
	static const uint32_t bit[] = {
		[CPU_EVENT_INTR] = WORK_INTR, [CPU_EVENT_NMI] = WORK_NMI,   [CPU_EVENT_SMI] = WORK_SMI,
		[CPU_EVENT_INIT] = WORK_INIT, [CPU_EVENT_SIPI] = WORK_SIPI,
	};
	struct vcpu *v = vcpu;

	if (ev == CPU_EVENT_SIPI)
		atomic_store(&v->sipi_vector, arg & 0xff);
	vcpu_raise(v, bit[ev]);
}

struct cpu_kick vcpu_kick(struct vcpu *v)
{
	return (struct cpu_kick){ kick_raise, v };
}

void vcpu_group_memory_changed(void *opaque)
{
	struct vcpu_group *g = opaque;

	for (unsigned i = 0; i < g->n; i++) {
		if (g->v[i]->engine->memory_changed)
			g->v[i]->engine->memory_changed(g->v[i]);
		vcpu_raise(g->v[i], WORK_TLB);
	}
}

void vcpu_group_code_changed(void *opaque, uint64_t gpa, uint64_t len)
{
	struct vcpu_group *g = opaque;

	for (unsigned i = 0; i < g->n; i++)
		if (g->v[i] && g->v[i]->engine->code_changed)
			g->v[i]->engine->code_changed(g->v[i], gpa, len);
}

/* SDM vol. 3, 8.4.4.1: real mode at the start of the vector's page. */
static void start_by_sipi(struct vcpu *v)
{
	unsigned vector = atomic_load(&v->sipi_vector);

	if (v->s.activity != ACT_WAIT_SIPI)
		return;
	v->s.seg[SEG_CS].sel = (uint16_t)(vector << 8);
	v->s.seg[SEG_CS].base = vector << 12;
	v->s.rip = 0;
	v->s.activity = ACT_RUNNING;
}

void vcpu_take_work(struct vcpu *v)
{
	uint32_t work = atomic_fetch_and(&v->work, ~(uint32_t)(WORK_INIT | WORK_SIPI | WORK_TLB | WORK_SMI));

	if (work & WORK_TLB) {
		nested_flush(v->nested);
		tlb_flush_all(v->tlb);
	}
	if (work & WORK_INIT)
		vcpu_reset(v, true);
	if (work & WORK_SIPI)
		start_by_sipi(v);
}

int vcpu_intr_vector(struct vcpu *v)
{
	/* Clear first: an interrupt that arrives from here on sets the bit again. */
	atomic_fetch_and(&v->work, ~(uint32_t)WORK_INTR);
	if (!v->intc.ops || !v->intc.ops->pending(v->intc.opaque))
		return -1;
	/* More may wait behind this one. */
	atomic_fetch_or(&v->work, WORK_INTR);
	return v->intc.ops->ack(v->intc.opaque);
}

uint64_t vcpu_read_tsc(struct vcpu *v)
{
	return unlikely(v->lockstep) ? lockstep_tsc(v->lockstep, v) : vcpu_tsc(v);
}

/* -- Accesses to devices -------------------------------------------------------------------------------- */

uint64_t vcpu_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size)
{
	uint64_t val = 0;

	v->stats.mmio++;
	if (v->intc.ops && v->intc.ops->mmio(v->intc.opaque, gpa, size, false, &val))
		return val;
	return space_read(v->mem, gpa, size);
}

void vcpu_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t val)
{
	v->stats.mmio++;
	if (v->intc.ops && v->intc.ops->mmio(v->intc.opaque, gpa, size, true, &val))
		return;
	space_write(v->mem, gpa, size, val);
}

uint64_t vcpu_pio_read(struct vcpu *v, uint16_t port, unsigned size)
{
	v->stats.pio++;
	return space_read(v->pio, port, size);
}

void vcpu_pio_write(struct vcpu *v, uint16_t port, unsigned size, uint64_t val)
{
	v->stats.pio++;
	space_write(v->pio, port, size, val);
}

/* -- The thread -------------------------------------------------------------------------------------------- */

static bool has_reason_to_run(const struct vcpu *v)
{
	uint32_t work = atomic_load(&v->work);
	uint32_t wakes = WORK_EXIT | WORK_INIT;

	if (v->s.activity != ACT_SHUTDOWN)
		wakes |= WORK_SIPI | WORK_TLB;
	if (v->s.activity == ACT_HALTED || v->s.activity == ACT_RUNNING) {
		wakes |= v->s.nmi_blocked ? 0 : WORK_NMI;
		wakes |= (v->s.rflags & FL_IF) ? WORK_INTR : 0;
	}
	return work & wakes;
}

static void sleep_until_work(struct vcpu *v)
{
	v->stats.halts++;
	pthread_mutex_lock(&v->sleep_lock);
	atomic_store(&v->sleeping, true);
	while (!has_reason_to_run(v))
		pthread_cond_wait(&v->sleep_cond, &v->sleep_lock);
	atomic_store(&v->sleeping, false);
	pthread_mutex_unlock(&v->sleep_lock);
}

/* Stand still while asked to. False: the thread shall end. */
static bool wait_while_paused(struct vcpu *v)
{
	bool go;

	pthread_mutex_lock(&v->sleep_lock);
	atomic_fetch_and(&v->work, ~(uint32_t)WORK_EXIT);
	while (v->paused && !v->quit) {
		v->stopped_ack = true;
		pthread_cond_broadcast(&v->sleep_cond);
		pthread_cond_wait(&v->sleep_cond, &v->sleep_lock);
	}
	v->stopped_ack = false;
	go = !v->quit;
	if (!go)
		v->stopped_ack = true;
	pthread_cond_broadcast(&v->sleep_cond);
	pthread_mutex_unlock(&v->sleep_lock);
	return go;
}

/* Nothing but a pause ends what a debugger has begun. */
static void wait_for_debugger(struct vcpu *v)
{
	pthread_mutex_lock(&v->sleep_lock);
	atomic_store(&v->sleeping, true);
	while (!(atomic_load(&v->work) & WORK_EXIT))
		pthread_cond_wait(&v->sleep_cond, &v->sleep_lock);
	atomic_store(&v->sleeping, false);
	pthread_mutex_unlock(&v->sleep_lock);
}

/* Whether this was vcpu_step(), which hears of it. */
static bool end_of_step(struct vcpu *v)
{
	bool stepping;

	pthread_mutex_lock(&v->sleep_lock);
	stepping = v->stepping;
	v->stepping = false;
	pthread_cond_broadcast(&v->sleep_cond);
	pthread_mutex_unlock(&v->sleep_lock);
	return stepping;
}

static void end_of_run(struct vcpu *v, enum vcpu_exit why)
{
	bool stepped = unlikely(why != EXIT_KICKED && why != EXIT_HALTED) && end_of_step(v);

	if (why == EXIT_DEBUG) {
		if (!stepped && v->group->on_exit)
			v->group->on_exit(v->group->opaque, v, why);
		wait_for_debugger(v);
		return;
	}
	if (why == EXIT_SHUTDOWN || why == EXIT_INTERNAL) {
		v->s.activity = ACT_SHUTDOWN;
		if (v->group->on_exit)
			v->group->on_exit(v->group->opaque, v, why);
	}
	if (why != EXIT_KICKED)
		sleep_until_work(v);
}

enum vcpu_exit vcpu_run(struct vcpu *v)
{
	if (unlikely(v->debug.written)) {
		if (v->engine->sync_in)
			v->engine->sync_in(v, v->debug.written);
		v->debug.written = 0;
	}
	if (unlikely(debug_takes_over(v)))
		return debug_run(v);
	return v->lockstep ? lockstep_run(v->lockstep) : v->engine->run(v);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->index);
	pthread_setname_np(pthread_self(), name);
	while (wait_while_paused(v))
		end_of_run(v, vcpu_run(v));
	return NULL;
}

/* Signals of the process belong to the front; only what an instruction itself causes comes here. */
int vcpu_start(struct vcpu *v, struct err *e)
{
	sigset_t all, old;
	int rc;

	v->paused = true;
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&v->thread, NULL, vcpu_main, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(e, rc, "vCPU %u: cannot start its thread: %s", v->index, strerror(rc));
	v->thread_started = true;
	return 0;
}

void vcpu_pause(struct vcpu *v)
{
	if (!v->thread_started)
		return;
	pthread_mutex_lock(&v->sleep_lock);
	v->paused = true;
	pthread_mutex_unlock(&v->sleep_lock);
	vcpu_raise(v, WORK_EXIT);
	pthread_mutex_lock(&v->sleep_lock);
	while (!v->stopped_ack)
		pthread_cond_wait(&v->sleep_cond, &v->sleep_lock);
	pthread_mutex_unlock(&v->sleep_lock);
}

void vcpu_resume(struct vcpu *v)
{
	pthread_mutex_lock(&v->sleep_lock);
	v->paused = false;
	/* So that a pause that follows at once waits for a new acknowledgement. */
	v->stopped_ack = false;
	pthread_cond_broadcast(&v->sleep_cond);
	pthread_mutex_unlock(&v->sleep_lock);
}

void vcpu_step(struct vcpu *v)
{
	if (v->s.activity == ACT_SHUTDOWN)
		return;
	pthread_mutex_lock(&v->sleep_lock);
	v->debug.step = v->stepping = true;
	v->paused = v->stopped_ack = false;
	pthread_cond_broadcast(&v->sleep_cond);
	while (v->stepping)
		pthread_cond_wait(&v->sleep_cond, &v->sleep_lock);
	pthread_mutex_unlock(&v->sleep_lock);
	vcpu_pause(v);
}

void vcpu_join(struct vcpu *v)
{
	if (!v->thread_started)
		return;
	pthread_mutex_lock(&v->sleep_lock);
	v->quit = true;
	pthread_cond_broadcast(&v->sleep_cond);
	pthread_mutex_unlock(&v->sleep_lock);
	vcpu_raise(v, WORK_EXIT);
	pthread_join(v->thread, NULL);
	v->thread_started = false;
}

/* -- Life ------------------------------------------------------------------------------------------------------ */

void vcpu_reset(struct vcpu *v, bool init)
{
	uint32_t leaf1[4];

	x86_reset(&v->s, init);
	cpuid_query(v, 1, 0, leaf1);
	v->s.gpr[R_DX] = leaf1[0]; /* SDM vol. 3, 9.1.2: the processor's signature */
	v->s.activity = v->index == 0 ? ACT_RUNNING : ACT_WAIT_SIPI;
	if (!init)
		atomic_fetch_and(&v->work, (uint32_t)WORK_EXIT);
	if (v->intc.ops)
		v->intc.ops->reset(v->intc.opaque, init);
	tlb_flush_all(v->tlb);
	v->tlb->pcid = 0;
	if (v->engine->sync_in)
		v->engine->sync_in(v, SYNC_ALL);
	if (v->lockstep)
		lockstep_resync(v->lockstep);
}

int vcpu_new(struct vcpu **out, struct vcpu_group *g, unsigned index, const struct engine_ops *engine, struct err *e)
{
	/* The vector registers are 64-byte aligned in the state. */
	struct vcpu *v = aligned_alloc(64, ALIGN_UP(sizeof(*v), 64));
	int rc = -ENOMEM;

	*out = NULL;
	if (!v)
		return err_set(e, ENOMEM, "vCPU %u: out of memory", index);
	memset(v, 0, sizeof(*v));
	pthread_mutex_init(&v->sleep_lock, NULL);
	pthread_cond_init(&v->sleep_cond, NULL);
	v->index = index;
	v->group = g;
	v->mem = g->mem;
	v->pio = g->pio;
	v->ram = g->ram;
	v->clock = g->clock;
	v->cpuid = g->cpuid;
	v->engine = engine;
	v->tlb = calloc(1, sizeof(*v->tlb));
	v->nested = calloc(1, sizeof(*v->nested));
	if (!v->tlb || !v->nested) {
		err_set(e, ENOMEM, "vCPU %u: out of memory", index);
		goto fail;
	}
	tlb_init(v->tlb);
	nested_init(v->nested, v->mem, v->ram);
	rc = interp_new(v, e);
	if (rc)
		goto fail;
	rc = engine->init ? engine->init(v, e) : 0;
	if (rc)
		goto fail;
	vcpu_reset(v, false);
	*out = v;
	return 0;
fail:
	vcpu_free(v);
	return rc;
}

void vcpu_free(struct vcpu *v)
{
	if (!v)
		return;
	vcpu_join(v);
	lockstep_free(v);
	if (v->engine->destroy)
		v->engine->destroy(v);
	interp_free(v);
	free(v->tlb);
	free(v->nested);
	pthread_cond_destroy(&v->sleep_cond);
	pthread_mutex_destroy(&v->sleep_lock);
	free(v);
}
