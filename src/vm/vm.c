/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtual machine's making, loading and resetting, and what it tells about itself when it stands still. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "backend/display/display.h"
#include "base/log.h"
#include "boot/acpi.h"
#include "bus/device.h"
#include "cpu/lockstep.h"
#include "vm/vm_internal.h"

#define RNG_SEED_LEN 64

/* Put the kernel into RAM, which is zero, and the boot processor at its entry. */
static int load(struct vm *vm, struct boot_info *info, struct err *e)
{
	struct acpi_platform acpi = { 0 };
	struct smbios_platform smbios;
	uint8_t seed[RNG_SEED_LEN];
	struct boot_config bc = {
		.kernel = vm->cfg.kernel,
		.initrds = vm->cfg.initrd,
		.n_initrds = vm->cfg.n_initrds,
		.cmdline = vm->cfg.append,
		.mode = BOOT_AUTO,
		.rng_seed = seed,
		.rng_seed_len = sizeof(seed),
		.acpi = &acpi,
		.smbios = &smbios,
		.text_screen = pc_has_text_screen(vm->pc),
	};

	pc_acpi_platform(vm->pc, &acpi);
	pc_smbios_platform(vm->pc, &smbios);
	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed) ||
	    getrandom(&bc.kaslr_seed, sizeof(bc.kaslr_seed), 0) != sizeof(bc.kaslr_seed))
		return err_set(e, errno, "no random numbers for the guest: getrandom: %s", strerror(errno));
	return boot_load(&bc, vm->pc->ram, &vm->pc->group.v[0]->s, info, e);
}

int vm_new(struct vm **out, const struct vm_config *cfg, struct boot_info *info, struct err *e)
{
	struct pc_config pcc = {
		.ram_size = cfg->memory,
		.cpus = cfg->cpus,
		.count_jumps = cfg->count_jumps,
		.stack_window = cfg->stack_window,
		.cpu_spec = cfg->cpu,
		.engine = cfg->engine,
		.lockstep = cfg->lockstep,
		.code_listener = cfg->code_listener,
		.block_tracer = cfg->block_tracer,
		.on_event = vm_on_pc_event,
	};
	struct vm *vm = calloc(1, sizeof(*vm));
	int rc;

	if (!vm)
		return err_set(e, ENOMEM, "virtual machine: out of memory");
	vm->cfg = *cfg;
	lock_init(&vm->lock, RANK_LEAF);
	pthread_cond_init(&vm->cond, NULL);
	list_init(&vm->calls);
	list_init(&vm->listeners);
	memcpy(pcc.serial, cfg->serial, sizeof(pcc.serial));
	pcc.opaque = vm;
	pcc.display = cfg->display;
	pcc.input = cfg->input;
	pcc.vga_rom = cfg->vga_rom;
	pcc.firmware = vm->cfg.firmware;
	pcc.boot = vm->cfg.boot;
	pcc.smbios = vm->cfg.smbios;
	pcc.rtc_offset_s = vm->cfg.rtc_offset_s;
	pcc.devices = vm->cfg.device;
	pcc.n_devices = vm->cfg.n_devices;
	pcc.fw_files = vm->cfg.fw_file;
	pcc.n_fw_files = vm->cfg.n_fw_files;
	rc = pc_new(&vm->pc, &pcc, e);
	if (!rc && !pc_has_firmware(vm->pc))
		rc = load(vm, info, e);
	if (rc) {
		vm_free(vm);
		return rc;
	}
	*out = vm;
	return 0;
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	pc_free(vm->pc);
	pthread_cond_destroy(&vm->cond);
	lock_release(&vm->lock);
	free(vm);
}

/* Give RAM back to the host, which makes it read as zero, and tell engines that their code has gone. */
static int clear_ram(struct ram *ram, struct err *e)
{
	if (fallocate(ram->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)ram_size(ram)))
		return err_set(e, errno, "reset: cannot clear the guest's RAM: %s", strerror(errno));
	for (uint64_t gpa = 0; gpa < ram->end; gpa += PAGE_SIZE)
		if (ram_contains(ram, gpa, PAGE_SIZE) && atomic_load(&ram->flags[gpa >> PAGE_SHIFT]))
			ram_written(ram, gpa, PAGE_SIZE);
	return 0;
}

int vm_reset(struct vm *vm, struct err *e)
{
	int rc = 0;

	/* Firmware wants to find RAM as it was. */
	if (!pc_has_firmware(vm->pc))
		rc = clear_ram(vm->pc->ram, e);
	if (rc)
		return rc;
	pc_reset(vm->pc);
	if (!pc_has_firmware(vm->pc))
		rc = load(vm, NULL, e);
	if (rc)
		return rc;
	vm_after_reset(vm);
	return 0;
}

int vm_set_link(struct vm *vm, const char *name, bool up, struct err *e)
{
	return pc_set_link(vm->pc, name, up, e);
}

int vm_media_change(struct vm *vm, const char *id, struct blk *blk, struct blk **old, struct err *e)
{
	return pc_media_change(vm->pc, id, blk, old, e);
}

int vm_media_eject(struct vm *vm, const char *id, bool force, struct blk **old, struct err *e)
{
	return pc_media_eject(vm->pc, id, force, old, e);
}

bool vm_media_get(struct vm *vm, unsigned n, struct pc_media_info *out)
{
	return pc_media_get(vm->pc, n, out);
}

int vm_balloon_set(struct vm *vm, uint64_t bytes, struct err *e)
{
	return pc_balloon_set(vm->pc, bytes, e);
}

int vm_balloon_actual(struct vm *vm, uint64_t *bytes, struct err *e)
{
	return pc_balloon_actual(vm->pc, bytes, e);
}

int vm_screendump(struct vm *vm, const char *path, struct err *e)
{
	if (!vm->cfg.display)
		return err_set(e, ENODEV, "screendump '%s': the machine has no screen; give it one, as by --vga std", path);
	return display_png(vm->cfg.display, path, e);
}

int vm_screendump_bytes(struct vm *vm, struct strbuf *out, struct err *e)
{
	if (!vm->cfg.display)
		return err_set(e, ENODEV, "screendump: the machine has no screen; give it one, as by --vga std");
	return display_png_bytes(vm->cfg.display, out, e);
}

struct input *vm_input(const struct vm *vm)
{
	return vm->cfg.input;
}

struct vcpu_group *vm_vcpus(struct vm *vm)
{
	return &vm->pc->group;
}

void vm_print_cpu(const struct vm *vm, unsigned cpu, struct strbuf *out)
{
	const struct x86_state *s;

	if (cpu >= vm->pc->group.n)
		return;
	s = &vm->pc->group.v[cpu]->s;
	strbuf_addf(out,
		    "cs:rip %04x:%" PRIx64 " cr0 %" PRIx64 " cr2 %" PRIx64 " cr3 %" PRIx64 " cr4 %" PRIx64
		    " efer %" PRIx64,
		    s->seg[SEG_CS].sel, s->rip, s->cr0, s->cr2, s->cr3, s->cr4, s->efer);
}

void vm_print_stats(const struct vm *vm, struct strbuf *out)
{
	struct device *d;

	if (vm->pc->group.v[0]->lockstep)
		lockstep_print_stats(vm->pc->group.v[0]->lockstep, out);
	for (unsigned i = 0; i < vm->pc->group.n; i++) {
		const struct vcpu_stats *s = &vm->pc->group.v[i]->stats;

#define X(name, help) strbuf_addf(out, "cpu%u.%-19s %14" PRIu64 "  %s\n", i, #name, s->name, help);
		VCPU_STATS(X)
#undef X
		if (vm->pc->group.v[i]->engine->print_stats)
			vm->pc->group.v[i]->engine->print_stats(vm->pc->group.v[i], out);
	}
	list_for_each(d, &vm->pc->devices, node)
		if (d->ops->print_stats)
			d->ops->print_stats(d, out);
}
