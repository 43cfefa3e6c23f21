/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PC as a whole: construction, start, pause, reset, end, and what it tells its owner. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/lockstep.h"
#include "cpu/pvclock.h"
#include "machine/bootorder.h"

#define MEM_ADDR_BITS 52
#define PIO_ADDR_BITS 16

void pc_tell(struct pc *pc, enum pc_event_type type, enum pc_cause cause, uint32_t code)
{
	struct pc_event ev = { .type = type, .cause = cause, .code = code };

	if (pc->cfg.on_event)
		pc->cfg.on_event(pc->cfg.opaque, &ev);
}

static void on_vcpu_exit(void *opaque, struct vcpu *v, enum vcpu_exit why)
{
	if (why == EXIT_DEBUG)
		pc_tell(opaque, PC_EVENT_DEBUG, PC_CAUSE_ENGINE, v->index);
	else if (why == EXIT_SHUTDOWN)
		pc_tell(opaque, PC_EVENT_RESET, PC_CAUSE_TRIPLE_FAULT, v->index);
	else
		pc_tell(opaque, PC_EVENT_ERROR, PC_CAUSE_ENGINE, v->index);
}

static int check_config(const struct pc_config *cfg, struct err *e)
{
	if (cfg->cpus < 1 || cfg->cpus > PC_MAX_CPUS)
		return err_set(e, EINVAL, "%u CPUs: give 1 to %d", cfg->cpus, PC_MAX_CPUS);
	if (cfg->lockstep && cfg->cpus > 1)
		return err_set(e, EINVAL, "lockstep: it takes one CPU, not %u", cfg->cpus);
	return 0;
}

/*
 * OVMF maps the whole address space, by as many bits as CPUID tells if there are pages of 1 GiB, but with pages of 2 MiB: the
 * tables would be larger than most guests' memory. Without pages of 1 GiB it is content with 40 bits. Flash chips mean OVMF.
 */
static bool starts_ovmf(const struct pc_config *cfg)
{
	for (unsigned i = 0; i < cfg->n_devices; i++)
		if (!strcmp(cfg->devices[i].driver, "cfi.pflash01"))
			return true;
	return false;
}

/* Two engines would not draw the same random numbers: in lockstep the guest's CPU has none. */
static int make_policy(struct pc *pc, struct err *e)
{
	struct strbuf spec = STRBUF_INIT;
	int rc;

	strbuf_addf(&spec, "%s%s%s", pc->cfg.cpu_spec, pc->cfg.lockstep ? ",-rdrand,-rdseed" : "",
		    starts_ovmf(&pc->cfg) ? ",-pdpe1gb" : "");
	rc = cpuid_policy_init(&pc->policy, spec.buf, pc->cfg.cpus, clock_tsc_hz(pc->clock), e);
	strbuf_release(&spec);
	return rc;
}

static int make_vcpus(struct pc *pc, struct err *e)
{
	struct vcpu_group *g = &pc->group;

	g->v = calloc(pc->cfg.cpus, sizeof(struct vcpu *));
	if (!g->v)
		return err_set(e, ENOMEM, "machine: out of memory");
	g->mem = pc->mem;
	g->pio = pc->pio;
	g->ram = pc->ram;
	g->clock = pc->clock;
	g->cpuid = &pc->policy;
	g->code_listener = pc->cfg.code_listener;
	g->block_tracer = pc->cfg.block_tracer;
	g->count_jumps = pc->cfg.count_jumps;
	g->stack_window = pc->cfg.stack_window;
	g->on_exit = on_vcpu_exit;
	g->opaque = pc;
	for (; g->n < pc->cfg.cpus; g->n++) {
		int rc = vcpu_new(&g->v[g->n], g, g->n, pc->cfg.engine, e);

		if (rc)
			return rc;
	}
	return 0;
}

static int build(struct pc *pc, struct err *e)
{
	int rc = check_config(&pc->cfg, e);

	if (!rc)
		rc = clock_new(&pc->clock, e);
	if (!rc)
		rc = make_policy(pc, e);
	if (!rc)
		rc = ram_new(&pc->ram, pc->cfg.ram_size, e);
	if (rc)
		return rc;
	clock_pause(pc->clock, true); /* guest time begins with the first instruction */
	pc->mem = space_new("memory", MEM_ADDR_BITS);
	pc->pio = space_new("ports", PIO_ADDR_BITS);
	rc = make_vcpus(pc, e);
	if (!rc)
		rc = board_new(pc, e);
	if (!rc && pc->cfg.lockstep)
		rc = lockstep_new(pc->group.v[0], e);
	if (rc)
		return rc;
	ram_set_listener(pc->ram, vcpu_group_code_changed, &pc->group);
	space_set_listener(pc->mem, vcpu_group_memory_changed, &pc->group);
	pc_reset(pc);
	return 0;
}

int pc_new(struct pc **out, const struct pc_config *cfg, struct err *e)
{
	struct pc *pc = calloc(1, sizeof(*pc));
	int rc;

	*out = NULL;
	if (!pc)
		return err_set(e, ENOMEM, "machine: out of memory");
	pc->cfg = *cfg;
	pc->paused = true;
	list_init(&pc->devices);
	rc = build(pc, e);
	if (rc)
		pc_free(pc);
	else
		*out = pc;
	return rc;
}

void pc_free(struct pc *pc)
{
	if (!pc)
		return;
	if (!pc->paused)
		pc_pause(pc, true);
	for (unsigned i = 0; i < pc->group.n; i++)
		vcpu_join(pc->group.v[i]);
	board_free(pc);
	for (unsigned i = 0; i < pc->group.n; i++)
		vcpu_free(pc->group.v[i]);
	free(pc->group.v);
	if (pc->pio)
		space_free(pc->pio);
	if (pc->mem)
		space_free(pc->mem);
	if (pc->ram)
		ram_free(pc->ram);
	if (pc->clock)
		clock_free(pc->clock);
	free(pc);
}

int pc_start(struct pc *pc, struct err *e)
{
	for (unsigned i = 0; i < pc->group.n; i++) {
		int rc = vcpu_start(pc->group.v[i], e);

		if (rc)
			return rc;
	}
	pc->started = true;
	return 0;
}

static void quiesce(struct pc *pc, bool on)
{
	struct device *d;

	list_for_each(d, &pc->devices, node)
		if (d->ops->quiesce)
			d->ops->quiesce(d, on);
}

void pc_pause(struct pc *pc, bool paused)
{
	if (paused == pc->paused)
		return;
	pc->paused = paused;
	if (paused) {
		for (unsigned i = 0; i < pc->group.n; i++)
			vcpu_pause(pc->group.v[i]);
		pvclock_stop(&pc->group);
		clock_pause(pc->clock, true);
		quiesce(pc, true);
		return;
	}
	clock_pause(pc->clock, false);
	quiesce(pc, false);
	board_retry_disks(pc);
	for (unsigned i = 0; i < pc->group.n; i++)
		pvclock_update(pc->group.v[i]);
	for (unsigned i = 0; i < pc->group.n; i++)
		vcpu_resume(pc->group.v[i]);
}

void pc_reset(struct pc *pc)
{
	struct device *d;

	board_give_up_disks(pc);
	list_for_each(d, &pc->devices, node)
		d->ops->reset(d);
	board_boot_order(pc, !pc->started);
	for (unsigned i = 0; i < pc->group.n; i++)
		vcpu_reset(pc->group.v[i], false);
	if (!pc_has_firmware(pc))
		board_firmware_init(pc);
}
