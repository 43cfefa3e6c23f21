/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Firmware by name: where Debian's packages have it, and a file of UEFI variables for who has none. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/firmware.h"

#define OVMF      "ovmf"
#define OVMF_CODE "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define OVMF_VARS "/usr/share/OVMF/OVMF_VARS_4M.fd"
#define VARS      "vars="

/* A comma in a name is doubled by each of the two readers. */
static void add_name(struct strbuf *s, const char *name)
{
	for (; *name; name++)
		strbuf_addf(s, "%s", *name == ',' ? ",,,," : (char[]){ *name, 0 });
}

/* Without a file of the user's the variables are forgotten at the end. */
static int add_vars(struct run_options *o, struct err *e)
{
	struct strbuf s = STRBUF_INIT;
	int rc;

	strbuf_addf(&s, "cfi.pflash01,drive=");
	add_name(&s, o->firmware_vars ? o->firmware_vars : OVMF_VARS);
	strbuf_addf(&s, ",,format=raw%s", o->firmware_vars ? "" : ",,ephemeral=on");
	rc = device_options_add(&o->devices, "device", s.buf, e);
	strbuf_release(&s);
	return rc;
}

int firmware_option(struct run_options *o, const char *arg, struct err *e)
{
	const char *rest = arg + strlen(OVMF);

	if (strncmp(arg, OVMF, strlen(OVMF)) || (*rest && *rest != ',')) {
		o->firmware = arg;
		return 0;
	}
	if (o->firmware)
		return err_set(e, EINVAL, "firmware '%s': there is one already, '%s'", arg, o->firmware);
	o->firmware = OVMF_CODE;
	if (*rest && (strncmp(rest + 1, VARS, strlen(VARS)) || !rest[1 + strlen(VARS)]))
		return err_set(e, EINVAL, "firmware '%s': what may follow is the file of its variables: vars=FILE", arg);
	o->firmware_vars = *rest ? rest + 1 + strlen(VARS) : NULL;
	return add_vars(o, e);
}

int firmware_make_vars(const struct run_options *o, struct err *e)
{
	struct mapped_file empty = { 0 };
	const char *path = o->firmware_vars;
	ssize_t n;
	int fd, rc;

	if (!path || !access(path, F_OK))
		return 0;
	rc = file_map(&empty, OVMF_VARS, "firmware variables", e);
	if (rc)
		return rc;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	n = fd < 0 ? -1 : write(fd, empty.data, empty.len);
	if (n != (ssize_t)empty.len) {
		rc = err_set(e, n < 0 ? errno : ENOSPC, "firmware variables '%s': cannot make the file: %s", path,
			     n < 0 ? strerror(errno) : strerror(ENOSPC));
		if (fd >= 0)
			unlink(path);
	}
	if (fd >= 0)
		close(fd);
	file_unmap(&empty);
	return rc;
}
