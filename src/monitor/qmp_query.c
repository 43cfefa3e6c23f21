/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The questions that QMP answers. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor/qmp_int.h"

json_t *qmp_version(const struct monitor_env *env)
{
	unsigned v[3] = { 0 };

	sscanf(env->version, "%u.%u.%u", &v[0], &v[1], &v[2]);
	return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "micro", (int)v[2], "minor", (int)v[1], "major", (int)v[0], "package",
			 "doppel " DOPPEL_VERSION);
}

QMP_COMMAND(qmp_query_version)
{
	*ret = qmp_version(s->env);
	return 0;
}

QMP_COMMAND(qmp_query_status)
{
	const char *status = monitor_status(s->env);

	*ret = json_pack("{s:s,s:b,s:b}", "status", status, "singlestep", false, "running", !strcmp(status, "running"));
	return 0;
}

QMP_COMMAND(qmp_query_commands)
{
	*ret = json_array();
	for (unsigned i = 0; qmp_command_at(i); i++)
		json_array_append_new(*ret, json_pack("{s:s}", "name", qmp_command_at(i)->name));
	return 0;
}

QMP_COMMAND(qmp_query_name)
{
	const char *name = s->env->cfg->name;

	*ret = json_object();
	if (name && *name)
		json_object_set_new(*ret, "name", json_string(name));
	return 0;
}

QMP_COMMAND(qmp_query_uuid)
{
	const uint8_t *u = s->env->cfg->smbios.uuid;
	char text[40];

	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4], u[5], u[6],
		 u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	*ret = json_pack("{s:s}", "UUID", text);
	return 0;
}

QMP_COMMAND(qmp_query_kvm)
{
	*ret = json_pack("{s:b,s:b}", "enabled", false, "present", false);
	return 0;
}

QMP_COMMAND(qmp_query_target)
{
	*ret = json_pack("{s:s}", "arch", "x86_64");
	return 0;
}

QMP_COMMAND(qmp_query_chardev)
{
	*ret = json_array();
	for (unsigned i = 0; i < s->env->n_chrs; i++)
		json_array_append_new(*ret, json_pack("{s:s,s:b,s:s*}", "label", s->env->chr[i].label, "frontend-open", true, "filename",
						      chr_where(s->env->chr[i].chr)));
	return 0;
}

QMP_COMMAND(qmp_query_cpus_fast)
{
	*ret = json_array();
	for (unsigned i = 0; i < s->env->cfg->cpus; i++) {
		char path[48];

		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
		json_array_append_new(*ret, json_pack("{s:i,s:s,s:i,s:{s:i,s:i,s:i},s:s}", "cpu-index", (int)i, "qom-path", path, "thread-id",
						      (int)getpid(), "props", "core-id", (int)i, "thread-id", 0, "socket-id", 0, "target", "x86_64"));
	}
	return 0;
}

QMP_COMMAND(qmp_query_balloon)
{
	uint64_t actual;
	int rc = vm_balloon_actual(s->env->vm, &actual, e);

	if (rc) {
		s->class = "DeviceNotActive";
		return rc;
	}
	*ret = json_pack("{s:I}", "actual", (json_int_t)(s->env->cfg->memory - actual));
	return 0;
}

/* -- Disks ------------------------------------------------------------------------------------------------------------------- */

static json_t *inserted(const char *name, struct blk *blk)
{
	struct blk_info info;

	blk_info(blk, &info);
	return json_pack("{s:s*,s:s*,s:b,s:s,s:b,s:{s:s*,s:s*,s:I}}", "file", blk_file(blk), "drv", blk_format(blk), "ro", info.readonly, "node-name",
			 name, "encrypted", false, "image", "filename", blk_file(blk), "format", blk_format(blk), "virtual-size",
			 (json_int_t)info.size);
}

static void add_disk(json_t *list, const char *name, struct blk *blk, bool removable, const struct pc_media_info *m)
{
	json_t *d = json_pack("{s:s,s:s,s:b,s:b,s:s}", "device", name, "type", "unknown", "removable", removable, "locked", m && m->locked,
			      "io-status", "ok");

	if (m)
		json_object_set_new(d, "tray_open", json_boolean(m->tray_open));
	if (blk)
		json_object_set_new(d, "inserted", inserted(name, blk));
	json_array_append_new(list, d);
}

QMP_COMMAND(qmp_query_block)
{
	struct pc_media_info m;

	*ret = json_array();
	for (unsigned i = 0; i < s->env->n_drives; i++) {
		bool shown = s->env->drive[i].blk;

		/* What can be changed comes below, with what is in it now. */
		for (unsigned n = 0; shown && vm_media_get(s->env->vm, n, &m); n++)
			shown = m.blk != s->env->drive[i].blk;
		if (shown)
			add_disk(*ret, s->env->drive[i].name, s->env->drive[i].blk, false, NULL);
	}
	for (unsigned n = 0; vm_media_get(s->env->vm, n, &m); n++)
		add_disk(*ret, m.id, m.blk, true, &m);
	return 0;
}
