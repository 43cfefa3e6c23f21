/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about what is started and what the firmware is told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "cli/qemu.h"

#define SEABIOS "bios-256k.bin" /* as Debian's package has it */

/* Where Debian's packages have ROMs. */
static const char *const rom_dirs[] = { "/usr/share/seabios", "/usr/share/qemu", "/usr/share/ovmf", "/usr/share/OVMF" };

/* -- Names of files ------------------------------------------------------------------------------------------------ */

int qemu_set_kernel(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->kernel = *arg ? arg : NULL;
	return 0;
}

int qemu_set_initrd(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->initrd = *arg ? arg : NULL;
	return 0;
}

int qemu_set_append(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->append = *arg ? arg : NULL;
	return 0;
}

int qemu_set_bios(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->bios = arg;
	return 0;
}

int qemu_set_dir(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	if (q->n_dirs == QEMU_MAX_DIRS)
		return err_set(e, E2BIG, "-L %s: more than %d", arg, QEMU_MAX_DIRS);
	q->dir[q->n_dirs++] = arg;
	return 0;
}

/* -- Files ------------------------------------------------------------------------------------------------------------ */

/* The ROM as named, or in one of the directories. */
static int map_rom(struct qemu *q, struct err *e)
{
	const char *name = q->bios ? q->bios : SEABIOS;
	unsigned n = q->n_dirs + (unsigned)ARRAY_SIZE(rom_dirs);

	snprintf(q->rom_path, sizeof(q->rom_path), "%s", name);
	for (unsigned i = 0; i < n && access(q->rom_path, F_OK) && *name != '/'; i++)
		snprintf(q->rom_path, sizeof(q->rom_path), "%s/%s", i < q->n_dirs ? q->dir[i] : rom_dirs[i - q->n_dirs], name);
	if (access(q->rom_path, F_OK))
		return err_set(e, ENOENT, "firmware '%s': it is not there; install Debian's package seabios, or name another by -bios", name);
	return file_map(&q->rom, q->rom_path, "firmware", e);
}

static int add_initrd(struct qemu *q, const char *path, const char *args, struct err *e)
{
	unsigned n = q->cfg.n_initrds;
	int rc;

	if (n == VM_MAX_INITRDS)
		return err_set(e, E2BIG, "-initrd: more than %d modules", VM_MAX_INITRDS);
	rc = file_map(&q->initrd_file[n], path, "initrd", e);
	if (rc)
		return rc;
	q->cfg.initrd[n] = file_blob(&q->initrd_file[n]);
	q->cfg.initrd[n].args = args;
	q->cfg.n_initrds++;
	return 0;
}

/* One file; or, for a Multiboot kernel, modules "FILE ARGS" with commas between them. */
static int map_initrds(struct qemu *q, struct err *e)
{
	int rc = 0;

	if (!q->initrd)
		return 0;
	if (!access(q->initrd, F_OK))
		return add_initrd(q, q->initrd, NULL, e);
	q->initrd_text = strdup(q->initrd);
	BUG_ON(!q->initrd_text);
	for (char *p = q->initrd_text, *args = p; p && !rc;) {
		char *from = p, *to = p, *module = p, *space;

		while (*from && !(from[0] == ',' && from[1] != ',')) {
			from += *from == ',';
			*to++ = *from++;
		}
		p = *from ? from + 1 : NULL;
		*to = 0;
		args = strdup(module);
		BUG_ON(!args);
		free(q->module_args[q->cfg.n_initrds]);
		q->module_args[q->cfg.n_initrds] = args;
		space = strchr(module, ' ');
		if (space)
			*space = 0;
		rc = add_initrd(q, module, args, e);
	}
	return rc;
}

/* Firmware in flash memory takes the ROM's place. */
static bool has_flash(const struct qemu *q)
{
	for (unsigned i = 0; i < q->n_given; i++)
		if (!strcmp(q->given[i].o->name, "pflash") || (!strcmp(q->given[i].o->name, "drive") && strstr(q->given[i].arg, "if=pflash")))
			return true;
	return false;
}

int qemu_boot_files(struct qemu *q, struct err *e)
{
	int rc;

	if (has_flash(q) && (q->kernel || q->bios))
		return err_set(e, EINVAL, "if=pflash: firmware starts from it; leave out -kernel and -bios");

	q->cfg.append = q->append;
	if (has_flash(q))
		return 0;
	if (!q->kernel) {
		rc = map_rom(q, e);
		q->cfg.firmware = file_blob(&q->rom);
		return rc;
	}
	rc = file_map(&q->kernel_file, q->kernel, "kernel", e);
	q->cfg.kernel = file_blob(&q->kernel_file);
	return rc ? rc : map_initrds(q, e);
}

void qemu_boot_idle(const struct qemu *q)
{
	if (q->kernel)
		file_idle(&q->kernel_file);
	for (unsigned i = 0; i < q->cfg.n_initrds; i++)
		file_idle(&q->initrd_file[i]);
}

int qemu_boot_recheck(const struct qemu *q, struct err *e)
{
	int rc = q->kernel ? file_recheck(&q->kernel_file, e) : 0;

	for (unsigned i = 0; i < q->cfg.n_initrds && !rc; i++)
		rc = file_recheck(&q->initrd_file[i], e);
	return rc;
}

void qemu_boot_release(struct qemu *q)
{
	file_unmap(&q->rom);
	file_unmap(&q->kernel_file);
	for (unsigned i = 0; i < VM_MAX_INITRDS; i++) {
		file_unmap(&q->initrd_file[i]);
		free(q->module_args[i]);
	}
	for (unsigned i = 0; i < q->n_fw_files; i++) {
		file_unmap(&q->fw_file[i]);
		keyval_release(&q->fw_text[i]);
	}
	free(q->initrd_text);
}

/* -- What the firmware is told ------------------------------------------------------------------------------------------ */

int qemu_set_fw_cfg(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	unsigned n = q->n_fw_files;
	struct keyval *k = &q->fw_text[n];
	const char *name, *file, *string;
	int rc;

	if (n == VM_MAX_FW_FILES)
		return err_set(e, E2BIG, "-fw_cfg %s: more than %d", arg, VM_MAX_FW_FILES);
	q->n_fw_files++;
	rc = keyval_parse(k, "-fw_cfg", arg, "name", e);
	name = keyval_take(k, "name");
	file = keyval_take(k, "file");
	string = keyval_take(k, "string");
	if (!rc)
		rc = keyval_done(k, e);
	if (!rc && (!name || !file == !string))
		rc = err_set(e, EINVAL, "-fw_cfg %s: write NAME,string=TEXT or NAME,file=FILE", arg);
	if (!rc && file)
		rc = file_map(&q->fw_file[n], file, "fw_cfg", e);
	if (rc)
		return rc;
	q->cfg.fw_file[n] = file ? file_blob(&q->fw_file[n]) : (struct boot_blob){ .data = string, .len = strlen(string) };
	q->cfg.fw_file[n].name = name;
	q->cfg.n_fw_files = n + 1;
	return 0;
}

int qemu_set_boot(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	int rc = parse_boot(arg, &q->cfg.boot, e);

	return rc ? err_prefix(e, rc, "-boot %s", arg) : 0;
}

int qemu_set_rtc(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval k;
	int rc = keyval_parse(&k, "-rtc", arg, NULL, e);
	const char *base = keyval_take(&k, "base"), *clock = keyval_take(&k, "clock"), *fix = keyval_take(&k, "driftfix");

	/* The clock is the host's without the time that the machine stood still, and no tick of it gets lost. */
	if (!rc && clock && strcmp(clock, "host") && strcmp(clock, "rt") && strcmp(clock, "vm"))
		rc = err_set(e, EINVAL, "-rtc clock=%s: give host, rt or vm", clock);
	if (!rc && fix && strcmp(fix, "none") && strcmp(fix, "slew"))
		rc = err_set(e, EINVAL, "-rtc driftfix=%s: give none or slew", fix);
	if (!rc && base)
		rc = parse_rtc_base(base, &q->cfg.rtc_offset_s, e);
	if (!rc)
		rc = keyval_done(&k, e);
	keyval_release(&k);
	return rc;
}

int qemu_set_smbios(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	return smbios_parse(&q->cfg.smbios, arg, e);
}

int qemu_set_uuid(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	int rc = smbios_parse_uuid(q->cfg.smbios.uuid, arg, e);

	return rc ? err_prefix(e, rc, "-uuid %s", arg) : 0;
}
