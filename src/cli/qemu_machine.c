/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about the board: -machine, -accel, -cpu, -smp, -m, -name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/qemu.h"
#include "cpu/engines.h"

/* -- -accel, and accel= of -machine -------------------------------------------------------------------------- */

static const struct {
	const char *name, *engine, *help;
} accels[] = {
	{ "tcg", "auto", "guest code is translated" },
	{ "interp", "interp", "the reference: slow" },
	{ "bt", "bt", "the translator, or an error" },
};

bool qemu_answer_accel(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("Accelerators supported:\n");
	for (size_t i = 0; i < ARRAY_SIZE(accels); i++)
		printf("%-10s %s\n", accels[i].name, accels[i].help);
	return true;
}

/* The first of a list "kvm:tcg" that is built. */
static int choose_accel(struct qemu *q, const char *list, struct err *e)
{
	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ":");

		for (size_t i = 0; i < ARRAY_SIZE(accels); i++)
			if (strlen(accels[i].name) == len && !memcmp(accels[i].name, p, len))
				return engine_find(&q->cfg.engine, accels[i].engine, e);
		p += len + (p[len] == ':');
	}
	return err_set(e, ENOTSUP, "accelerator '%s' is not built: use tcg, as in -accel kvm -accel tcg or -machine accel=kvm:tcg", list);
}

/* Several -accel are tried in order, as QEMU does: what is not built counts only if none is. */
static int later_accel(const struct qemu *q, const struct qemu_option *o, const char *arg)
{
	for (unsigned i = 0; i < q->n_given; i++)
		if (q->given[i].o == o && q->given[i].arg != arg)
			for (size_t a = 0; a < ARRAY_SIZE(accels); a++)
				if (!strncmp(q->given[i].arg, accels[a].name, strlen(accels[a].name)))
					return 1;
	return 0;
}

int qemu_set_accel(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval k;
	int rc = keyval_parse(&k, "-accel", arg, "accel", e);
	const char *name = keyval_take(&k, "accel");

	/* How an accelerator of QEMU's does its work. */
	keyval_skip(&k, "thread");
	keyval_skip(&k, "tb-size");
	keyval_skip(&k, "split-wx");
	keyval_skip(&k, "one-insn-per-tb");
	keyval_skip(&k, "kernel-irqchip");
	if (!rc && !name)
		rc = err_set(e, EINVAL, "-accel %s: which one? use tcg", arg);
	if (!rc)
		rc = keyval_done(&k, e);
	if (!rc) {
		rc = choose_accel(q, name, e);
		if (rc && later_accel(q, o, arg))
			rc = 0;
	}
	keyval_release(&k);
	return rc;
}

/* -- -machine ------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *help;
} machines[] = {
	{ "pc", "i440FX and PIIX3 (default)" },
	{ "microvm", "the same, with nothing that was not asked for" },
};

bool qemu_answer_machine(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("Supported machines are:\n");
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		printf("%-20s %s\n", machines[i].name, machines[i].help);
	printf("%-20s %s\n", "pc-i440fx-N.N", "the same as pc");
	return true;
}

static int choose_machine(struct qemu *q, const char *type, struct err *e)
{
	if (!strcmp(type, "microvm")) {
		q->microvm = q->nodefaults = true;
		return 0;
	}
	if (!strcmp(type, "pc") || !strncmp(type, "pc-i440fx-", 10))
		return 0;
	return err_set(e, ENOTSUP, "-machine %s is not built: use pc or microvm", type);
}

/* Properties that have one value here, and why. */
static const struct {
	const char *name;
	bool value;
	const char *why;
} fixed[] = {
	{ "acpi", true, "the board has ACPI" },
	{ "usb", false, "there is no USB bus" },
	{ "hpet", false, "the board has one by -device hpet" },
	{ "nvdimm", false, "there are no such modules" },
	{ "hmat", false, "the machine has one memory node" },
	{ "cxl", false, "there is no CXL" },
	{ "igd-passthru", false, "no device of the host is passed through" },
	{ "pit", true, "the board has it" },
	{ "pic", true, "the board has it" },
	{ "rtc", true, "the board has it" },
	{ "isa-serial", true, "the board has it" },
	{ "i8042", true, "the board has it" },
	{ "fd-bootchk", false, "firmware of Debian boots floppies without the check" },
};

/* Properties that say how QEMU does its work. */
static const char *const indifferent[] = {
	"kernel-irqchip", "dump-guest-core", "mem-merge", "suppress-vmdesc", "phandle-start", "auto-kernel-cmdline",
	"x-option-roms", "ioapic2", "default-bus-bypass-iommu", "pcie", "option-roms", "dtb-randomness",
};

/* "auto" is the same as not to say it. */
static void drop_auto(struct keyval *k, const char *name)
{
	const char *value = keyval_peek(k, name);

	if (value && !strcmp(value, "auto"))
		keyval_skip(k, name);
}

static int take_switch(struct keyval *k, const char *name, bool value, const char *why, struct err *e)
{
	const char *text = keyval_peek(k, name);

	drop_auto(k, name);
	return text && !strcmp(text, "auto") ? 0 : keyval_only(k, name, value, why, e);
}

static int machine_switches(struct qemu *q, struct keyval *k, struct err *e)
{
	bool graphics = true;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fixed) && !rc; i++)
		rc = take_switch(k, fixed[i].name, fixed[i].value, fixed[i].why, e);
	for (size_t i = 0; i < ARRAY_SIZE(indifferent); i++)
		keyval_skip(k, indifferent[i]);
	if (!rc)
		rc = take_switch(k, "vmport", false, "there is no VMware port", e);
	if (!rc)
		rc = take_switch(k, "smm", false, "there is no system management mode", e);
	if (!rc)
		rc = keyval_take_bool(k, "graphics", &graphics, e);
	if (!graphics)
		q->vga = "none";
	return rc;
}

int qemu_set_machine(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval k;
	int rc = keyval_parse(&k, "-machine", arg, "type", e);
	const char *type, *accel;

	/* The old way to write them. */
	for (unsigned i = 0; i < k.n; i++)
		for (char *c = k.pair[i].name; *c; c++)
			*c = *c == '_' ? '-' : *c;
	type = keyval_take(&k, "type");
	accel = keyval_take(&k, "accel");
	if (!rc && type)
		rc = choose_machine(q, type, e);
	if (!rc && accel)
		rc = choose_accel(q, accel, e);
	if (!rc)
		rc = machine_switches(q, &k, e);
	if (!rc)
		rc = keyval_done(&k, e);
	keyval_release(&k);
	return rc;
}

/* -- Processors and memory -------------------------------------------------------------------------------------- */

int qemu_set_cpu(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct cpuid_policy p;
	int rc;

	strbuf_release(&q->cpu);
	rc = qemu_cpu_spec(&q->cpu, arg, e);
	/* The frequency and number of CPUs do not matter for whether the policy can be made. */
	return rc ? rc : cpuid_policy_init(&p, q->cpu.buf, 1, 1000000000, e);
}

int qemu_set_smp(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	static const char *const parts[] = { "sockets", "dies", "clusters", "cores", "threads" };
	uint64_t cpus = UINT64_MAX, maxcpus = 0, product = 1;
	struct keyval k;
	int rc = keyval_parse(&k, "-smp", arg, "cpus", e);
	bool any = false;

	if (!rc)
		rc = keyval_take_uint(&k, "cpus", PC_MAX_CPUS, &cpus, e);
	if (!rc)
		rc = keyval_take_uint(&k, "maxcpus", PC_MAX_CPUS, &maxcpus, e);
	for (size_t i = 0; i < ARRAY_SIZE(parts) && !rc; i++) {
		uint64_t n = 1;

		any |= keyval_peek(&k, parts[i]) != NULL;
		rc = keyval_take_uint(&k, parts[i], PC_MAX_CPUS, &n, e);
		if (!rc && !n)
			rc = err_set(e, EINVAL, "-smp %s: %s=0: give 1 or more", arg, parts[i]);
		product *= n;
	}
	if (!rc)
		rc = keyval_done(&k, e);
	keyval_release(&k);
	if (rc)
		return rc;
	if (cpus == UINT64_MAX)
		cpus = maxcpus ? maxcpus : product;
	if (maxcpus > cpus)
		return err_set(e, ENOTSUP, "-smp %s: maxcpus=%u is not built: processors cannot be plugged in later", arg, (unsigned)maxcpus);
	if (!cpus || cpus > PC_MAX_CPUS || product > PC_MAX_CPUS)
		return err_set(e, EINVAL, "-smp %s: give 1 to %d processors", arg, PC_MAX_CPUS);
	if (any && cpus > product && strstr(arg, "sockets"))
		return err_set(e, EINVAL, "-smp %s: sockets, cores and threads do not make %u processors", arg, (unsigned)cpus);
	q->cfg.cpus = (unsigned)cpus;
	return 0;
}

int qemu_set_memory(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval k;
	int rc = keyval_parse(&k, "-m", arg, "size", e);
	const char *size = keyval_take(&k, "size"), *max = keyval_take(&k, "maxmem");
	uint64_t slots = 0, most = 0;
	char text[64];

	if (!rc && size) {
		bool bare = strspn(size, "0123456789") == strlen(size);

		snprintf(text, sizeof(text), "%.48s%s", size, bare ? "M" : "");
		rc = parse_memory(text, &q->cfg.memory, e);
	}
	if (!rc)
		rc = keyval_take_uint(&k, "slots", UINT32_MAX, &slots, e);
	if (!rc && max)
		rc = parse_size(max, &most, e);
	if (!rc && (slots || most > q->cfg.memory))
		rc = err_set(e, ENOTSUP, "-m %s: slots= and maxmem= are not built: memory cannot be plugged in later", arg);
	if (!rc)
		rc = keyval_done(&k, e);
	keyval_release(&k);
	return rc;
}

int qemu_set_name(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	static const char *const names[] = { "guest", "process" };
	struct keyval k;
	int rc = keyval_parse(&k, "-name", arg, "guest", e);
	const char *value;

	if (!rc)
		rc = keyval_take_bool(&k, "debug-threads", &(bool){ false }, e);
	for (size_t i = 0; i < ARRAY_SIZE(names) && !rc; i++) {
		value = keyval_take(&k, names[i]);
		if (!value)
			continue;
		snprintf(i ? q->process : q->name, sizeof(q->name), "%s", value);
	}
	if (!rc)
		rc = keyval_done(&k, e);
	keyval_release(&k);
	return rc;
}
