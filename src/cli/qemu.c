/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel-system-x86_64, and doppel qemu: QEMU's command line for our machine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/qemu.h"
#include "cli/stopper.h"
#include "cpu/engines.h"

#define DEFAULT_QEMU_MEMORY (128ull << 20)
#define DEFAULT_QEMU_CPU    "max"

/* The names of the program that mean this front; what a script says may be linked to it. */
static const char *const front_names[] = { "doppel-system-x86_64", "qemu-system-x86_64" };

/* -- Help -------------------------------------------------------------------------------------------------- */

static void print_options(enum qemu_option_is is)
{
	for (const struct qemu_option *o = qemu_option_table; o->name; o++) {
		char left[64];

		if (o->is != is)
			continue;
		snprintf(left, sizeof(left), "-%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		printf("%-22s %s\n", left, o->help);
	}
}

int qemu_say_help(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	printf("QEMU emulator version " QEMU_VERSION " command line, as doppel " DOPPEL_VERSION " carries it out\n"
	       "usage: doppel-system-x86_64 [options] [disk_image]\n\n"
	       "'disk_image' is a hard disk image for IDE hard disk 0\n\n");
	print_options(QEMU_WORKS);
	printf("\nTaken, and nothing changes by them:\n");
	print_options(QEMU_NO_OP);
	printf("\nRefused, as it is not built:\n");
	print_options(QEMU_REFUSED);
	return QEMU_ANSWERED;
}

int qemu_say_version(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	printf("QEMU emulator version " QEMU_VERSION " command line, as doppel " DOPPEL_VERSION " carries it out\n");
	return QEMU_ANSWERED;
}

/* -- Parsing ------------------------------------------------------------------------------------------------- */

static const struct qemu_option *find_option(const char *word)
{
	const char *name = word + 1 + (word[1] == '-');

	for (const struct qemu_option *o = qemu_option_table; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

/* One word, and its argument's: moves *i to the last. */
static int take_word(struct qemu *q, char **argv, int *i, struct err *e)
{
	static const struct qemu_option disk = { "hda", "FILE", QEMU_WORKS, NULL, PHASE_DRIVE, qemu_add_disk, NULL };
	const char *word = argv[*i];
	const struct qemu_option *o;

	if (word[0] != '-' || !word[1]) {
		q->given[q->n_given++] = (struct qemu_given){ &disk, word };
		return 0;
	}
	o = find_option(word);
	if (!o)
		return err_set(e, EINVAL, "%s: invalid option; -help lists them", word);
	if (o->is == QEMU_REFUSED)
		return err_set(e, ENOTSUP, "-%s is not built: %s", o->name, o->help);
	if (o->arg && !argv[*i + 1])
		return err_set(e, EINVAL, "-%s: requires an argument: %s", o->name, o->arg);
	if (o->arg)
		++*i;
	if (o->answer && o->answer(argv[*i]))
		return QEMU_ANSWERED;
	q->given[q->n_given++] = (struct qemu_given){ o, o->arg ? argv[*i] : NULL };
	return 0;
}

static int carry_out(struct qemu *q, enum qemu_phase phase, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < q->n_given && !rc; i++)
		if (q->given[i].o->phase == phase)
			rc = q->given[i].o->set(q, q->given[i].o, q->given[i].arg, e);
	return rc;
}

static int parse(struct qemu *q, int argc, char **argv, struct err *e)
{
	int rc = 0;

	q->given = calloc((size_t)argc + 1, sizeof(*q->given));
	BUG_ON(!q->given);
	for (int i = 1; i < argc && !rc; i++)
		rc = take_word(q, argv, &i, e);
	return rc ? rc : carry_out(q, PHASE_PROCESS, e);
}

/* -- From options to a configuration ---------------------------------------------------------------------------- */

static int check_together(const struct qemu *q, struct err *e)
{
	if (!q->kernel && (q->append || q->initrd))
		return err_set(e, EINVAL, "-%s: it goes with -kernel; add one or leave it out", q->append ? "append" : "initrd");
	if (q->kernel && q->bios)
		return err_set(e, EINVAL, "-bios: with -kernel, no firmware runs; leave one of them out");
	return 0;
}

/* Open backends and describe the devices. */
static int configure(struct qemu *q, struct err *e)
{
	int rc = 0;

	if (!q->cpu.len)
		rc = qemu_cpu_spec(&q->cpu, DEFAULT_QEMU_CPU, e);
	q->cfg.cpu = q->cpu.buf;
	if (!rc)
		rc = qemu_boot_files(q, e);
	for (enum qemu_phase p = PHASE_OBJECT; p <= PHASE_PORT && !rc; p++)
		rc = carry_out(q, p, e);
	if (!rc)
		rc = qemu_plug_flash(q, e);
	if (!rc)
		rc = qemu_default_display(q, e);
	if (!rc)
		rc = qemu_default_ports(q, e);
	if (!rc)
		rc = qemu_default_net(q, e);
	return rc ? rc : carry_out(q, PHASE_DEVICE, e);
}

static void init(struct qemu *q)
{
	memset(q, 0, sizeof(*q));
	list_init(&q->devices);
	q->cfg.memory = DEFAULT_QEMU_MEMORY;
	q->cfg.cpus = 1;
	q->cfg.engine = engine_choose(NULL);
}

static void release(struct qemu *q)
{
	for (unsigned i = 0; i < q->n_drives; i++) {
		blk_close(q->drive[i].blk);
		blk_options_release(&q->drive[i].o);
		keyval_release(&q->drive[i].k);
	}
	for (unsigned i = 0; i < q->n_netdevs; i++) {
		net_close(q->netdev[i].net);
		keyval_release(&q->netdev[i].k);
	}
	for (unsigned i = 0; i < q->n_chrs; i++) {
		chr_free(q->chr[i].chr);
		keyval_release(&q->chr[i].k);
	}
	for (unsigned i = 0; i < q->n_objects; i++)
		keyval_release(&q->object[i].k);
	for (unsigned i = 0; i < q->n_globals; i++)
		keyval_release(&q->global[i]);
	while (!list_empty(&q->devices)) {
		struct qemu_device *d = list_entry(q->devices.next, struct qemu_device, node);

		list_del(&d->node);
		keyval_release(&d->k);
		free(d);
	}
	screen_release(&q->screen);
	qemu_boot_release(q);
	strbuf_release(&q->cpu);
	free(q->given);
}

static int configure_and_run(struct qemu *q, int daemon_fd)
{
	struct err e = { "" };
	int status = STATUS_FAILED;

	if (configure(q, &e) || qemu_write_pidfile(q, &e))
		cli_fail("%s", e.msg);
	else
		status = qemu_run(q, daemon_fd);
	if (status)
		qemu_daemon_ready(daemon_fd, status);
	return status;
}

int qemu_front(int argc, char **argv)
{
	struct qemu *q = malloc(sizeof(*q));
	struct err e = { "" };
	int rc, status = STATUS_OK, fd = -1;
	bool parent = false;

	BUG_ON(!q);
	init(q);
	log_set_level(LOG_WARN);
	rc = parse(q, argc, argv, &e);
	if (!rc)
		rc = check_together(q, &e);
	if (!rc && q->daemonize)
		rc = qemu_daemonize(q, &parent, &status, &fd, &e);
	if (rc < 0)
		status = cli_fail("%s", e.msg);
	else if (!rc && !parent)
		status = configure_and_run(q, fd);
	release(q);
	free(q);
	return status;
}

bool qemu_front_name(const char *argv0)
{
	const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;

	for (size_t i = 0; i < ARRAY_SIZE(front_names); i++)
		if (!strcmp(front_names[i], name))
			return true;
	return false;
}

const struct cli_command qemu_command = {
	.name = "qemu",
	.synopsis = "[QEMU'S OPTIONS] [DISK]",
	.summary = "the same by the command line of qemu-system-x86_64",
	.run = qemu_front,
};
