/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP: JSON objects in, answers and events out. A client is greeted, negotiates with qmp_capabilities, and then commands. What it
 * sends is bounded: an object has at most MESSAGE_MAX bytes and DEPTH_MAX levels; else it gets an error, and reading
 * goes on behind the next line end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "monitor/qmp_int.h"

#define MESSAGE_MAX (256u << 10)
#define DEPTH_MAX   64

struct qmp {
	struct qmp_session s;
	bool pretty;
	void (*send)(void *opaque, const char *text, size_t len);
	void *opaque;
	_Atomic bool negotiated;

	/* a message on its way in */
	struct strbuf in;
	unsigned depth;
	bool in_string, escaped, skipping;
};

static void send_json(struct qmp *q, json_t *root)
{
	char *text = json_dumps(root, q->pretty ? JSON_INDENT(4) : 0);
	struct strbuf line = STRBUF_INIT;

	BUG_ON(!text);
	strbuf_addf(&line, "%s\r\n", text);
	q->send(q->opaque, line.buf, line.len);
	strbuf_release(&line);
	free(text);
	json_decref(root);
}

static void send_error(struct qmp *q, json_t *id, const char *class, const char *text)
{
	json_t *root = json_pack("{s:{s:s,s:s}}", "error", "class", class, "desc", text);

	if (!root) /* the text is no UTF-8 */
		root = json_pack("{s:{s:s,s:s}}", "error", "class", class, "desc", "Invalid request");
	if (id)
		json_object_set(root, "id", id);
	send_json(q, root);
}

void qmp_open(struct qmp *q)
{
	q->negotiated = q->skipping = q->in_string = q->escaped = false;
	q->depth = 0;
	q->in.len = 0;
	send_json(q, json_pack("{s:{s:o,s:[]}}", "QMP", "version", qmp_version(q->s.env), "capabilities"));
}

/* -- Commands -------------------------------------------------------------------------------------------------------------- */

static void run_command(struct qmp *q, const char *name, json_t *args, json_t *id)
{
	const struct qmp_command *c = qmp_command_find(name);
	struct err e = { "" };
	json_t *ret = NULL, *root;
	const char *key;
	json_t *value;
	char text[300];

	if (!q->negotiated && strcmp(name, "qmp_capabilities")) {
		send_error(q, id, "CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
		return;
	}
	if (!c || (q->negotiated && !strcmp(name, "qmp_capabilities"))) {
		snprintf(text, sizeof(text), c ? "Capabilities negotiation is already complete, command ignored" : "The command %.200s has not been found", name);
		send_error(q, id, "CommandNotFound", text);
		return;
	}
	q->s.class = "GenericError";
	json_object_foreach(args, key, value) {
		if (qmp_argument_known(c, key))
			continue;
		snprintf(text, sizeof(text), "Parameter '%.200s' is unexpected", key);
		send_error(q, id, "GenericError", text);
		return;
	}
	if (c->run(&q->s, args, &ret, &e)) {
		json_decref(ret);
		send_error(q, id, q->s.class, e.msg);
		return;
	}
	if (!strcmp(name, "qmp_capabilities"))
		q->negotiated = true;
	root = json_pack("{s:o}", "return", ret ? ret : json_object());
	BUG_ON(!root);
	if (id)
		json_object_set(root, "id", id);
	send_json(q, root);
}

static void message(struct qmp *q)
{
	json_error_t where;
	json_t *root = json_loadb(q->in.buf, q->in.len, 0, &where), *id = json_object_get(root, "id");
	json_t *execute = json_object_get(root, "execute"), *args = json_object_get(root, "arguments");
	const char *key, *bad = NULL;
	json_t *value;
	char text[300];

	json_object_foreach(root, key, value)
		if (strcmp(key, "execute") && strcmp(key, "arguments") && strcmp(key, "id"))
			bad = key;
	if (!json_is_object(root))
		send_error(q, NULL, "GenericError", "Invalid JSON syntax");
	else if (bad) {
		snprintf(text, sizeof(text), "QMP input member '%.200s' is unexpected", bad);
		send_error(q, id, "GenericError", text);
	} else if (!execute)
		send_error(q, id, "GenericError", "QMP input lacks member 'execute'");
	else if (!json_is_string(execute))
		send_error(q, id, "GenericError", "QMP input member 'execute' must be a string");
	else if (args && !json_is_object(args))
		send_error(q, id, "GenericError", "QMP input member 'arguments' must be an object");
	else
		run_command(q, json_string_value(execute), args, id);
	json_decref(root);
}

/* -- From bytes to messages ------------------------------------------------------------------------------------------------ */

static void give_up(struct qmp *q, const char *why)
{
	send_error(q, NULL, "GenericError", why);
	q->in.len = 0;
	q->depth = 0;
	q->in_string = q->escaped = false;
	q->skipping = true;
}

static void nest(struct qmp *q, char c)
{
	if (q->in_string) {
		if (q->escaped)
			q->escaped = false;
		else if (c == '\\')
			q->escaped = true;
		else if (c == '"')
			q->in_string = false;
	} else if (c == '"') {
		q->in_string = true;
	} else if (c == '{' || c == '[') {
		q->depth++;
	} else if (c == '}' || c == ']') {
		q->depth--;
	}
}

static void take_char(struct qmp *q, char c)
{
	bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';

	if (q->skipping) {
		q->skipping = c != '\n';
		return;
	}
	if (!q->in.len && space)
		return;
	if (!q->in.len && c != '{') {
		give_up(q, "JSON parse error, expecting value");
		q->skipping = c != '\n';
		return;
	}
	strbuf_add(&q->in, &c, 1);
	nest(q, c);
	if (q->in.len > MESSAGE_MAX || q->depth > DEPTH_MAX) {
		give_up(q, "JSON message size limit exceeded");
	} else if (!q->depth) {
		message(q);
		q->in.len = 0;
		q->in_string = q->escaped = false;
	}
}

void qmp_input(struct qmp *q, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		take_char(q, (char)buf[i]);
}

/* -- Events ---------------------------------------------------------------------------------------------------------------- */

static const char *reason(const struct vm_event *ev)
{
	switch (ev->end) {
	case VM_END_POWER_OFF:
	case VM_END_DEBUG_EXIT:
		return "guest-shutdown";
	case VM_END_RESET:
	case VM_END_TRIPLE_FAULT:
		return ev->by_guest ? "guest-reset" : "host-qmp-system-reset";
	case VM_END_PANIC:
		return "guest-panic";
	case VM_END_ENGINE:
		return "host-error";
	case VM_END_STOPPED:
		break;
	}
	return "host-qmp-quit";
}

static json_t *event_data(const struct vm_event *ev)
{
	if (ev->type == VM_EVENT_PANICKED)
		return json_pack("{s:s}", "action", ev->end == VM_END_PANIC ? "poweroff" : ev->holds ? "pause" : "run");
	if (ev->type == VM_EVENT_RESET || ev->type == VM_EVENT_SHUTDOWN)
		return json_pack("{s:b,s:s}", "guest", ev->by_guest, "reason", reason(ev));
	if (ev->type == VM_EVENT_IO_ERROR)
		return json_pack("{s:s,s:s,s:s,s:b,s:s}", "device", "", "operation", "write", "action", "stop", "nospace", true, "reason",
				 "No space left on device");
	return NULL;
}

void qmp_event(struct qmp *q, const struct vm_event *ev)
{
	static const char *const names[VM_N_EVENTS] = {
		[VM_EVENT_STOP] = "STOP", [VM_EVENT_RESUME] = "RESUME", [VM_EVENT_RESET] = "RESET", [VM_EVENT_SHUTDOWN] = "SHUTDOWN",
		[VM_EVENT_POWERDOWN] = "POWERDOWN", [VM_EVENT_IO_ERROR] = "BLOCK_IO_ERROR",
		[VM_EVENT_PANICKED] = "GUEST_PANICKED",
	};
	struct timeval now;
	json_t *root, *data = event_data(ev);

	if (!q->negotiated) {
		json_decref(data);
		return;
	}
	gettimeofday(&now, NULL);
	root = json_pack("{s:{s:I,s:I},s:s}", "timestamp", "seconds", (json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_usec, "event",
			 names[ev->type]);
	if (data)
		json_object_set_new(root, "data", data);
	send_json(q, root);
}

/* -- Life ------------------------------------------------------------------------------------------------------------------ */

struct qmp *qmp_new(struct monitor_env *env, bool pretty, void (*send)(void *opaque, const char *text, size_t len), void *opaque)
{
	struct qmp *q = calloc(1, sizeof(*q));

	BUG_ON(!q);
	q->s.env = env;
	q->pretty = pretty;
	q->send = send;
	q->opaque = opaque;
	return q;
}

void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	strbuf_release(&q->in);
	free(q);
}
