/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor for people: a line is a command and its words. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/net/net.h"
#include "base/bits.h"
#include "cpu/debug.h"
#include "cpu/vcpu.h"
#include "mem/space.h"
#include "monitor/monitor.h"

#define MAX_WORDS 8
#define MAX_KEYS  16
#define DUMP_MAX  4096 /* bytes that x and xp show at most */

struct words {
	struct monitor_env *env;
	char *word[MAX_WORDS]; /* the command, then what follows */
	unsigned n;
	struct strbuf *out;
};

/* -- info ------------------------------------------------------------------------------------------------------------------- */

static void info_status(struct words *w)
{
	const char *status = monitor_status(w->env);
	bool running = !strcmp(status, "running");

	strbuf_addf(w->out, "VM status: %s%s%s%s\n", running ? "running" : "paused", running || !strcmp(status, "paused") ? "" : " (",
		    running || !strcmp(status, "paused") ? "" : status, running || !strcmp(status, "paused") ? "" : ")");
}

static void info_version(struct words *w)
{
	strbuf_addf(w->out, "%s (doppel " DOPPEL_VERSION ")\n", w->env->version);
}

static void info_name(struct words *w)
{
	strbuf_addf(w->out, "%s\n", w->env->cfg->name ? w->env->cfg->name : "");
}

static void info_kvm(struct words *w)
{
	strbuf_addf(w->out, "kvm support: disabled\n");
}

static void info_uuid(struct words *w)
{
	const uint8_t *u = w->env->cfg->smbios.uuid;

	for (unsigned i = 0; i < SMBIOS_UUID_LEN; i++)
		strbuf_addf(w->out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
	strbuf_addf(w->out, "\n");
}

static void info_chardev(struct words *w)
{
	for (unsigned i = 0; i < w->env->n_chrs; i++)
		strbuf_addf(w->out, "%s: filename=%s\n", w->env->chr[i].label, chr_where(w->env->chr[i].chr));
}

static void add_disk(struct words *w, const char *name, struct blk *blk)
{
	struct blk_info info;

	if (!blk) {
		strbuf_addf(w->out, "%s: [not inserted]\n", name);
		return;
	}
	blk_info(blk, &info);
	strbuf_addf(w->out, "%s: %s (%s%s)\n", name, blk_file(blk), blk_format(blk), info.readonly ? ", read-only" : "");
}

static void info_block(struct words *w)
{
	struct pc_media_info m;

	for (unsigned i = 0; i < w->env->n_drives; i++) {
		bool shown = w->env->drive[i].blk;

		for (unsigned n = 0; shown && vm_media_get(w->env->vm, n, &m); n++)
			shown = m.blk != w->env->drive[i].blk;
		if (shown)
			add_disk(w, w->env->drive[i].name, w->env->drive[i].blk);
	}
	for (unsigned n = 0; vm_media_get(w->env->vm, n, &m); n++)
		add_disk(w, m.id, m.blk);
}

static void info_network(struct words *w)
{
	for (unsigned i = 0; i < w->env->cfg->n_devices; i++) {
		const struct device_config *d = &w->env->cfg->device[i];

		if (d->net)
			strbuf_addf(w->out, "%s: model=%s,link=%s\n", d->id ? d->id : d->driver, d->driver, net_link_up(d->net) ? "up" : "down");
	}
}

static void info_balloon(struct words *w)
{
	struct err e;
	uint64_t actual;

	if (vm_balloon_actual(w->env->vm, &actual, &e))
		strbuf_addf(w->out, "Error: %s\n", e.msg);
	else
		strbuf_addf(w->out, "balloon: actual=%" PRIu64 "\n", (w->env->cfg->memory - actual) >> 20);
}

static void print_cpus(struct vm *vm, void *opaque)
{
	struct words *w = opaque;

	for (unsigned i = 0; i < vm_vcpus(vm)->n; i++) {
		strbuf_addf(w->out, "%c CPU #%u: ", i ? ' ' : '*', i);
		vm_print_cpu(vm, i, w->out);
		strbuf_addf(w->out, "\n");
	}
}

static void print_registers(struct vm *vm, void *opaque)
{
	static const char *const names[] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8 ", "R9 ", "R10", "R11", "R12", "R13",
					     "R14", "R15" };
	static const char *const segs[] = { "ES", "CS", "SS", "DS", "FS", "GS" };
	const struct x86_state *s = &vm_vcpus(vm)->v[0]->s;
	struct words *w = opaque;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		strbuf_addf(w->out, "%s=%016" PRIx64 "%c", names[i], s->gpr[i], i % 4 == 3 ? '\n' : ' ');
	strbuf_addf(w->out, "RIP=%016" PRIx64 " RFL=%08" PRIx64 "\n", s->rip, s->rflags);
	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		strbuf_addf(w->out, "%s =%04x %016" PRIx64 " %08x\n", segs[i], s->seg[i].sel, (uint64_t)s->seg[i].base, s->seg[i].limit);
	strbuf_addf(w->out, "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64 "\nEFER=%016" PRIx64 "\n", s->cr0, s->cr2, s->cr3,
		    s->cr4, s->efer);
}

static void print_stats(struct vm *vm, void *opaque)
{
	vm_print_stats(vm, ((struct words *)opaque)->out);
}

static void info_cpus(struct words *w)
{
	vm_call(w->env->vm, print_cpus, w);
}

static void info_registers(struct words *w)
{
	vm_call(w->env->vm, print_registers, w);
}

static void info_stats(struct words *w)
{
	vm_call(w->env->vm, print_stats, w);
}

static const struct {
	const char *name;
	void (*run)(struct words *w);
} infos[] = {
	{ "status", info_status },   { "version", info_version },   { "name", info_name },       { "uuid", info_uuid },
	{ "kvm", info_kvm },         { "chardev", info_chardev },   { "block", info_block },     { "network", info_network },
	{ "balloon", info_balloon }, { "cpus", info_cpus },         { "registers", info_registers }, { "stats", info_stats },
};

static void info(struct words *w)
{
	for (size_t i = 0; w->n > 1 && i < ARRAY_SIZE(infos); i++) {
		if (!strcmp(infos[i].name, w->word[1])) {
			infos[i].run(w);
			return;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
		strbuf_addf(w->out, "info %s\n", infos[i].name);
}

/* -- Orders -------------------------------------------------------------------------------------------------------------------- */

static void answer(struct words *w, int rc, const struct err *e)
{
	if (rc)
		strbuf_addf(w->out, "Error: %s\n", e->msg);
}

static void stop(struct words *w)
{
	monitor_stop(w->env);
}

static void cont(struct words *w)
{
	struct err e = { "" };

	answer(w, monitor_cont(w->env, &e), &e);
}

static void reset(struct words *w)
{
	vm_request_reset(w->env->vm);
}

static void powerdown(struct words *w)
{
	vm_request_powerdown(w->env->vm);
}

static void quit(struct words *w)
{
	vm_stop(w->env->vm, 0);
}

static void screendump(struct words *w)
{
	struct err e = { "" };

	answer(w, vm_screendump(w->env->vm, w->word[1], &e), &e);
}

/* Names with '-' between them; "_minus" is that key. */
static void sendkey(struct words *w)
{
	const char *keys[MAX_KEYS];
	unsigned n = 0, hold = w->n > 2 ? (unsigned)strtoul(w->word[2], NULL, 10) : MONITOR_HOLD_MS;
	struct err e = { "" };
	char *save, *key;

	for (key = strtok_r(w->word[1], "-", &save); key && n < MAX_KEYS; key = strtok_r(NULL, "-", &save))
		keys[n++] = key;
	answer(w, monitor_keys(w->env, keys, n, MIN(hold, MONITOR_HOLD_MAX_MS), &e), &e);
}

static void eject(struct words *w)
{
	bool force = !strcmp(w->word[1], "-f");
	struct err e = { "" };

	if (force && w->n < 3)
		strbuf_addf(w->out, "eject: which drive?\n");
	else
		answer(w, monitor_eject(w->env, w->word[force ? 2 : 1], force, &e), &e);
}

static void change(struct words *w)
{
	struct err e = { "" };

	answer(w, monitor_change(w->env, w->word[1], w->word[2], w->n > 3 ? w->word[3] : NULL, true, &e), &e);
}

static void set_link(struct words *w)
{
	struct err e = { "" };

	answer(w, vm_set_link(w->env->vm, w->word[1], !strcmp(w->word[2], "on"), &e), &e);
}

/* MiB that the guest keeps. */
static void balloon(struct words *w)
{
	uint64_t total = w->env->cfg->memory, keep = strtoull(w->word[1], NULL, 10);
	struct err e = { "" };

	keep = keep > total >> 20 ? total : keep << 20;
	answer(w, vm_balloon_set(w->env->vm, total - keep, &e), &e);
}

/* -- Memory ----------------------------------------------------------------------------------------------------------------------- */

struct dump {
	struct words *w;
	bool physical;
	uint64_t addr;
	unsigned size, count; /* of an item */
};

/* One item's bytes; false: nothing is there. */
static bool read_item(struct vcpu *v, const struct dump *d, uint64_t addr, uint64_t *val)
{
	*val = 0;
	if (!d->physical)
		return debug_read_memory(v, addr, val, d->size) == d->size;
	return ram_contains(v->group->ram, addr, d->size) && !space_dma_read(v->group->mem, addr, val, d->size);
}

static void dump(struct vm *vm, void *opaque)
{
	const struct dump *d = opaque;
	unsigned per_line = 16 / d->size;
	uint64_t val;

	for (unsigned i = 0; i < d->count; i++) {
		uint64_t addr = d->addr + (uint64_t)i * d->size;

		if (i % per_line == 0)
			strbuf_addf(d->w->out, "%s%016" PRIx64 ":", i ? "\n" : "", addr);
		if (!read_item(vm_vcpus(vm)->v[0], d, addr, &val)) {
			strbuf_addf(d->w->out, "\nCannot access memory at address 0x%" PRIx64, addr);
			break;
		}
		strbuf_addf(d->w->out, " 0x%0*" PRIx64, (int)d->size * 2, val);
	}
	strbuf_addf(d->w->out, "\n");
}

/* x/FMT ADDR: a count and a size b, h, w or g; hexadecimal whatever the format says. */
static void examine(struct words *w)
{
	struct dump d = { .w = w, .physical = w->word[0][1] == 'p', .size = 4, .count = 1 };
	const char *fmt = strchr(w->word[0], '/');
	char *end = NULL;

	if (fmt && fmt[1] >= '0' && fmt[1] <= '9')
		d.count = (unsigned)MIN(strtoul(fmt + 1, NULL, 10), DUMP_MAX);
	for (; fmt && *fmt; fmt++)
		d.size = *fmt == 'b' ? 1 : *fmt == 'h' ? 2 : *fmt == 'w' ? 4 : *fmt == 'g' ? 8 : d.size;
	d.count = MIN(d.count, DUMP_MAX / d.size);
	d.addr = strtoull(w->word[1], &end, 0);
	if (*end)
		strbuf_addf(w->out, "%s: no address\n", w->word[1]);
	else
		vm_call(w->env->vm, dump, &d);
}

/* -- The table ------------------------------------------------------------------------------------------------------------------------ */

static void help(struct words *w);

static const struct {
	const char *name, *args;
	unsigned n; /* that must be there */
	const char *help;
	void (*run)(struct words *w);
} commands[] = {
	{ "help", "", 0, "this", help },
	{ "info", "[WHAT]", 0, "tell about the machine", info },
	{ "stop", "", 0, "let it stand still", stop },
	{ "cont", "", 0, "let it go on", cont },
	{ "c", "", 0, "the same", cont },
	{ "system_reset", "", 0, "press the reset button", reset },
	{ "system_powerdown", "", 0, "press the power button", powerdown },
	{ "quit", "", 0, "end the program", quit },
	{ "q", "", 0, "the same", quit },
	{ "screendump", "FILE", 1, "the screen as PNG", screendump },
	{ "sendkey", "KEY-KEY... [MS]", 1, "press keys together", sendkey },
	{ "eject", "[-f] DRIVE", 1, "take the medium out", eject },
	{ "change", "DRIVE FILE [FORMAT]", 2, "put another medium in", change },
	{ "set_link", "CARD on|off", 2, "put the cable in, or pull it out", set_link },
	{ "balloon", "MIB", 1, "memory that the guest keeps", balloon },
	{ "x", "ADDR", 1, "x/COUNT[bhwg]: memory by linear address", examine },
	{ "xp", "ADDR", 1, "xp/COUNT[bhwg]: memory by physical address", examine },
};

static void help(struct words *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		strbuf_addf(w->out, "%s %s -- %s\n", commands[i].name, commands[i].args, commands[i].help);
}

static bool is_command(const char *word, size_t i)
{
	size_t len = strlen(commands[i].name);

	return !strncmp(word, commands[i].name, len) && (!word[len] || (word[len] == '/' && commands[i].run == examine));
}

void hmp_run(struct monitor_env *env, const char *line, struct strbuf *out)
{
	struct words w = { .env = env, .out = out };
	char *text = strdup(line), *save, *word;
	size_t i;

	BUG_ON(!text);
	for (word = strtok_r(text, " \t\r\n", &save); word && w.n < MAX_WORDS; word = strtok_r(NULL, " \t\r\n", &save))
		w.word[w.n++] = word;
	for (i = 0; w.n && i < ARRAY_SIZE(commands); i++)
		if (is_command(w.word[0], i))
			break;
	if (w.n && i == ARRAY_SIZE(commands))
		strbuf_addf(out, "unknown command: '%s'\n", w.word[0]);
	else if (w.n && w.n - 1 < commands[i].n)
		strbuf_addf(out, "%s: write it like %s %s\n", commands[i].name, commands[i].name, commands[i].args);
	else if (w.n)
		commands[i].run(&w);
	free(text);
}
