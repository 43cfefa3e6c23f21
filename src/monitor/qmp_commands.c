/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of QMP: their table, and those that do something. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/qmp_int.h"

#define MAX_KEYS 16

/* -- Arguments --------------------------------------------------------------------------------------------------------------- */

static const char *string_arg(json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

static int need_string(json_t *args, const char *name, const char **value, struct err *e)
{
	json_t *v = json_object_get(args, name);

	if (!v)
		return err_set(e, EINVAL, "Parameter '%s' is missing", name);
	*value = json_string_value(v);
	return *value ? 0 : err_set(e, EINVAL, "Invalid parameter type for '%s', expected: string", name);
}

static int bool_arg(json_t *args, const char *name, bool *value, struct err *e)
{
	json_t *v = json_object_get(args, name);

	if (v && !json_is_boolean(v))
		return err_set(e, EINVAL, "Invalid parameter type for '%s', expected: boolean", name);
	*value = v ? json_is_true(v) : *value;
	return 0;
}

static int int_arg(json_t *args, const char *name, json_int_t min, json_int_t max, json_int_t *value, struct err *e)
{
	json_t *v = json_object_get(args, name);

	if (v && (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max))
		return err_set(e, EINVAL, "Parameter '%s' expects a number from %lld to %lld", name, (long long)min, (long long)max);
	*value = v ? json_integer_value(v) : *value;
	return 0;
}

/* -- The machine -------------------------------------------------------------------------------------------------------------- */

static QMP_COMMAND(qmp_capabilities)
{
	json_t *enable = json_object_get(args, "enable");

	if (enable && json_array_size(enable))
		return err_set(e, EINVAL, "Capability is not available");
	return 0;
}

static QMP_COMMAND(stop)
{
	return monitor_stop(s->env) ? err_set(e, ESHUTDOWN, "the machine ends") : 0;
}

static QMP_COMMAND(cont)
{
	return monitor_cont(s->env, e);
}

static QMP_COMMAND(system_reset)
{
	vm_request_reset(s->env->vm);
	return 0;
}

static QMP_COMMAND(system_powerdown)
{
	vm_request_powerdown(s->env->vm);
	return 0;
}

static QMP_COMMAND(quit)
{
	vm_stop(s->env->vm, 0);
	return 0;
}

static QMP_COMMAND(human_monitor_command)
{
	struct strbuf out = STRBUF_INIT;
	const char *line;
	int rc = need_string(args, "command-line", &line, e);

	if (rc)
		return rc;
	hmp_run(s->env, line, &out);
	*ret = json_string(out.buf ? out.buf : "");
	if (!*ret)
		*ret = json_string("");
	strbuf_release(&out);
	return 0;
}

/* -- Screen and keys ------------------------------------------------------------------------------------------------------------ */

static QMP_COMMAND(screendump)
{
	const char *file, *format = string_arg(args, "format");
	int rc = need_string(args, "filename", &file, e);

	if (!rc && format && strcmp(format, "png"))
		rc = err_set(e, ENOTSUP, "format '%.20s' is not built: use png", format);
	return rc ? rc : vm_screendump(s->env->vm, file, e);
}

static QMP_COMMAND(send_key)
{
	json_t *list = json_object_get(args, "keys");
	const char *keys[MAX_KEYS];
	json_int_t hold = MONITOR_HOLD_MS;
	size_t n = json_array_size(list);
	int rc = int_arg(args, "hold-time", 0, MONITOR_HOLD_MAX_MS, &hold, e);

	if (rc)
		return rc;
	if (!json_is_array(list) || n > MAX_KEYS)
		return err_set(e, EINVAL, "Parameter 'keys' expects a list of at most %d keys", MAX_KEYS);
	for (size_t i = 0; i < n; i++) {
		json_t *k = json_array_get(list, i);
		const char *type = json_string_value(json_object_get(k, "type"));

		keys[i] = json_string_value(json_object_get(k, "data"));
		if (!type || strcmp(type, "qcode") || !keys[i])
			return err_set(e, EINVAL, "Parameter 'keys' expects objects of type qcode");
	}
	return monitor_keys(s->env, keys, (unsigned)n, (unsigned)hold, e);
}

/* -- Media, network, memory ------------------------------------------------------------------------------------------------------ */

/* The drive: "id" is the device's, "device" the older name. */
static int drive_arg(json_t *args, const char **id, struct err *e)
{
	return json_object_get(args, "id") ? need_string(args, "id", id, e) : need_string(args, "device", id, e);
}

static QMP_COMMAND(eject)
{
	bool force = false;
	const char *id;
	int rc = drive_arg(args, &id, e);

	if (!rc)
		rc = bool_arg(args, "force", &force, e);
	return rc ? rc : monitor_eject(s->env, id, force, e);
}

static QMP_COMMAND(blockdev_change_medium)
{
	const char *id, *file, *mode = string_arg(args, "read-only-mode");
	bool readonly = !mode || strcmp(mode, "read-write");
	int rc = drive_arg(args, &id, e);

	if (!rc)
		rc = need_string(args, "filename", &file, e);
	return rc ? rc : monitor_change(s->env, id, file, string_arg(args, "format"), readonly, e);
}

static QMP_COMMAND(change)
{
	const char *id, *file;
	int rc = need_string(args, "device", &id, e);

	if (!rc)
		rc = need_string(args, "target", &file, e);
	return rc ? rc : monitor_change(s->env, id, file, string_arg(args, "arg"), true, e);
}

static QMP_COMMAND(set_link)
{
	const char *name;
	bool up = true;
	int rc = need_string(args, "name", &name, e);

	if (!rc && !json_object_get(args, "up"))
		rc = err_set(e, EINVAL, "Parameter 'up' is missing");
	if (!rc)
		rc = bool_arg(args, "up", &up, e);
	if (!rc) {
		rc = vm_set_link(s->env->vm, name, up, e);
		if (rc)
			s->class = "DeviceNotFound";
	}
	return rc;
}

/* "value": what the guest keeps; the balloon is the rest. */
static QMP_COMMAND(balloon)
{
	json_int_t total = (json_int_t)s->env->cfg->memory, value = total;
	int rc = int_arg(args, "value", 1, INT64_MAX, &value, e);

	if (!rc && !json_object_get(args, "value"))
		rc = err_set(e, EINVAL, "Parameter 'value' is missing");
	if (rc)
		return rc;
	return vm_balloon_set(s->env->vm, value < total ? (uint64_t)(total - value) : 0, e);
}

/* -- The table ---------------------------------------------------------------------------------------------------------------------- */

static const struct qmp_command commands[] = {
	{ "qmp_capabilities", { "enable" }, qmp_capabilities },
	{ "query-status", { NULL }, qmp_query_status },
	{ "query-version", { NULL }, qmp_query_version },
	{ "query-commands", { NULL }, qmp_query_commands },
	{ "query-block", { NULL }, qmp_query_block },
	{ "query-cpus-fast", { NULL }, qmp_query_cpus_fast },
	{ "query-name", { NULL }, qmp_query_name },
	{ "query-uuid", { NULL }, qmp_query_uuid },
	{ "query-kvm", { NULL }, qmp_query_kvm },
	{ "query-target", { NULL }, qmp_query_target },
	{ "query-chardev", { NULL }, qmp_query_chardev },
	{ "query-balloon", { NULL }, qmp_query_balloon },
	{ "stop", { NULL }, stop },
	{ "cont", { NULL }, cont },
	{ "system_reset", { NULL }, system_reset },
	{ "system_powerdown", { NULL }, system_powerdown },
	{ "quit", { NULL }, quit },
	{ "screendump", { "filename", "format" }, screendump },
	{ "send-key", { "keys", "hold-time" }, send_key },
	{ "eject", { "device", "id", "force" }, eject },
	{ "blockdev-change-medium", { "device", "id", "filename", "format", "read-only-mode" }, blockdev_change_medium },
	{ "change", { "device", "target", "arg" }, change },
	{ "set_link", { "name", "up" }, set_link },
	{ "balloon", { "value" }, balloon },
	{ "human-monitor-command", { "command-line", "cpu-index" }, human_monitor_command },
	{ NULL, { NULL }, NULL },
};

const struct qmp_command *qmp_command_at(unsigned i)
{
	return commands[i].name ? &commands[i] : NULL;
}

const struct qmp_command *qmp_command_find(const char *name)
{
	for (const struct qmp_command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

bool qmp_argument_known(const struct qmp_command *c, const char *name)
{
	for (unsigned i = 0; i < QMP_MAX_ARGS && c->args[i]; i++)
		if (!strcmp(c->args[i], name))
			return true;
	return false;
}
