/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about bytes: -chardev, -serial, -parallel, -debugcon, -monitor, -qmp, -mon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/qemu.h"

/* -- Character backends ------------------------------------------------------------------------------------------ */

static struct qemu_chr *find_chr(struct qemu *q, const char *id)
{
	for (unsigned i = 0; i < q->n_chrs; i++)
		if (q->chr[i].id && !strcmp(q->chr[i].id, id))
			return &q->chr[i];
	return NULL;
}

static struct qemu_chr *new_chr(struct qemu *q, const char *what, struct err *e)
{
	struct qemu_chr *c = &q->chr[q->n_chrs];

	if (q->n_chrs == QEMU_MAX_BACKENDS) {
		err_set(e, E2BIG, "%s: more than %d character backends", what, QEMU_MAX_BACKENDS);
		return NULL;
	}
	q->n_chrs++;
	memset(c, 0, sizeof(*c));
	return c;
}

static int open_stdio(struct qemu *q, struct qemu_chr *c, struct strbuf *spec, struct err *e)
{
	for (unsigned i = 0; i < q->n_chrs; i++)
		if (&q->chr[i] != c && q->chr[i].is_stdio)
			return err_set(e, EBUSY, "%s: stdio is in use by '%s'; mon:stdio lets a port and the monitor share it", c->k.what,
				       q->chr[i].id);
	if (q->daemonize)
		return err_set(e, EINVAL, "%s: stdio: not with -daemonize; use a file or a socket", c->k.what);
	keyval_skip(&c->k, "signal");
	c->is_stdio = true;
	strbuf_addf(spec, "stdio");
	return 0;
}

static int open_file(struct qemu *q, struct qemu_chr *c, struct strbuf *spec, struct err *e)
{
	const char *path = keyval_take(&c->k, "path");
	bool append = false;
	int rc = keyval_take_bool(&c->k, "append", &append, e);

	if (!rc && !path)
		rc = err_set(e, EINVAL, "%s %s: path=FILE is missing", c->k.what, c->k.text);
	if (!rc)
		strbuf_addf(spec, "%s:%s", append ? "append" : "file", path);
	return rc;
}

static int open_socket(struct qemu *q, struct qemu_chr *c, struct strbuf *spec, struct err *e)
{
	static const char *const off[] = { "telnet", "tn3270", "websocket", "abstract" };
	const char *path = keyval_take(&c->k, "path"), *host = keyval_take(&c->k, "host"), *port = keyval_take(&c->k, "port");
	bool server = false, wait = true;
	int rc = keyval_take_bool(&c->k, "server", &server, e);

	if (!rc)
		rc = keyval_take_bool(&c->k, "wait", &wait, e);
	for (size_t i = 0; i < ARRAY_SIZE(off) && !rc; i++)
		rc = keyval_only(&c->k, off[i], false, "the bytes go as they are", e);
	keyval_skip(&c->k, "nodelay");
	keyval_skip(&c->k, "delay");
	keyval_skip(&c->k, "ipv4");
	keyval_skip(&c->k, "ipv6");
	keyval_skip(&c->k, "tight");
	if (keyval_take(&c->k, "reconnect") && strcmp(keyval_peek(&c->k, "reconnect"), "0"))
		return err_set(e, ENOTSUP, "%s %s: reconnect= is not built: let this side listen: server=on", c->k.what, c->k.text);
	if (rc)
		return rc;
	if (!path && !port)
		return err_set(e, EINVAL, "%s %s: give path=PATH or host=HOST,port=PORT", c->k.what, c->k.text);
	c->wait = server && wait;
	if (path)
		strbuf_addf(spec, "%s:%s", server ? "unix" : "unix-client", path);
	else
		strbuf_addf(spec, "%s:%s:%s", server ? "tcp" : "tcp-client", host ? host : "", port);
	return 0;
}

static int open_pty(struct qemu *q, struct qemu_chr *c, struct strbuf *spec, struct err *e)
{
	strbuf_addf(spec, "pty");
	return 0;
}

static int open_null(struct qemu *q, struct qemu_chr *c, struct strbuf *spec, struct err *e)
{
	/* A virtual console's size. */
	keyval_skip(&c->k, "width");
	keyval_skip(&c->k, "height");
	keyval_skip(&c->k, "cols");
	keyval_skip(&c->k, "rows");
	strbuf_addf(spec, "null");
	return 0;
}

static const struct {
	const char *type, *help;
	int (*open)(struct qemu *q, struct qemu_chr *c, struct strbuf *spec, struct err *e);
} types[] = {
	{ "stdio", "the terminal", open_stdio },     { "pty", "a new pseudo-terminal", open_pty }, { "file", "output to path=", open_file },
	{ "socket", "path= or host=,port=", open_socket }, { "null", "nowhere", open_null },
	{ "vc", "a console in a window that there is not: nowhere", open_null },
};

bool qemu_answer_chardev(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("Available chardev backend types:\n");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		printf("  %-8s %s\n", types[i].type, types[i].help);
	return true;
}

/* c->k is parsed, id taken. */
static int open_chr(struct qemu *q, struct qemu_chr *c, struct err *e)
{
	const char *type = keyval_take(&c->k, "backend");
	struct strbuf spec = STRBUF_INIT;
	int rc = -ENOTSUP;
	size_t i;

	if (!type)
		return err_set(e, EINVAL, "%s %s: which type? '-chardev help' lists them", c->k.what, c->k.text);
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].type, type))
			break;
	if (i == ARRAY_SIZE(types))
		return err_set(e, ENOTSUP, "%s: '%s' is not built: use stdio, pty, file, socket or null", c->k.what, type);
	rc = keyval_take_bool(&c->k, "mux", &c->mux, e);
	if (!rc)
		rc = types[i].open(q, c, &spec, e);
	if (!rc && c->mux && !c->is_stdio)
		rc = err_set(e, ENOTSUP, "%s %s: mux=on is built for stdio alone", c->k.what, c->k.text);
	if (!rc)
		rc = keyval_done(&c->k, e);
	if (!rc)
		rc = chr_open(&c->chr, spec.buf, e);
	if (!rc)
		chr_quiet_end(c->chr);
	strbuf_release(&spec);
	return rc;
}

int qemu_add_chardev(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct qemu_chr *c = new_chr(q, "-chardev", e);
	int rc;

	if (!c)
		return -E2BIG;
	rc = keyval_parse(&c->k, "-chardev", arg, "backend", e);
	if (rc)
		return rc;
	c->id = keyval_take(&c->k, "id");
	if (!c->id)
		return err_set(e, EINVAL, "-chardev %s: give it a name: id=ID", arg);
	if (find_chr(q, c->id) != c)
		return err_set(e, EEXIST, "-chardev %s: there is one of that name already", arg);
	return open_chr(q, c, e);
}

/* -- "stdio", "unix:PATH,server=on", "chardev:ID" ... --------------------------------------------------------------- */

/* A value in the text of another option: its commas are doubled already where they were written so. */
static int legacy_text(const char *what, const char *dev, struct strbuf *out, struct err *e)
{
	const char *colon = strchr(dev, ':'), *rest = strchr(dev, ',');
	size_t len = rest ? (size_t)(rest - dev) : strlen(dev);
	const char *at = colon && colon < dev + len ? colon + 1 : NULL, *port;

	if (!strncmp(dev, "file:", 5)) {
		strbuf_addf(out, "file,path=%s", dev + 5);
	} else if (!strncmp(dev, "unix:", 5)) {
		strbuf_addf(out, "socket,path=%s", dev + 5);
	} else if (!strncmp(dev, "tcp:", 4)) {
		for (port = dev + len; port > at && port[-1] != ':';)
			port--;
		if (port == at)
			return err_set(e, EINVAL, "%s %s: write it like tcp:HOST:PORT", what, dev);
		strbuf_addf(out, "socket,host=%.*s,port=%s", (int)(port - 1 - at), at, port);
	} else if (!strncmp(dev, "vc", 2) && (!dev[2] || dev[2] == ':')) {
		strbuf_addf(out, "vc");
	} else if (!strcmp(dev, "stdio") || !strcmp(dev, "pty") || !strcmp(dev, "null")) {
		strbuf_addf(out, "%s", dev);
	} else {
		return err_set(e, ENOTSUP, "%s %s is not built: use stdio, mon:stdio, pty, file:PATH, unix:PATH, tcp:HOST:PORT, null, chardev:ID or none",
			       what, dev);
	}
	return 0;
}

/* What a port's option names, opened if need be; *out NULL for none. label: its name in query-chardev. */
static int use_dev(struct qemu *q, const char *what, const char *label, const char *dev, struct qemu_chr **out, struct err *e)
{
	struct strbuf text = STRBUF_INIT;
	bool mux = !strncmp(dev, "mon:", 4);
	struct qemu_chr *c;
	int rc;

	*out = NULL;
	dev += mux ? 4 : 0;
	if (!strcmp(dev, "none"))
		return 0;
	if (!strncmp(dev, "chardev:", 8)) {
		*out = find_chr(q, dev + 8);
		return *out ? 0 : err_set(e, EINVAL, "%s %s: there is no -chardev of that name", what, dev);
	}
	c = new_chr(q, what, e);
	if (!c)
		return -E2BIG;
	rc = legacy_text(what, dev, &text, e);
	if (!rc)
		rc = keyval_parse(&c->k, what, text.buf, "backend", e);
	strbuf_release(&text);
	if (rc)
		return rc;
	snprintf(c->own_id, sizeof(c->own_id), "%s", label);
	c->id = c->own_id;
	c->mux = mux;
	*out = c;
	rc = open_chr(q, c, e);
	if (!rc && mux && !c->is_stdio)
		return err_set(e, ENOTSUP, "%s mon:%s: only stdio can be shared with the monitor", what, dev);
	return rc;
}

static int take_chr(struct qemu_chr *c, const char *who, struct err *e)
{
	if (c->user)
		return err_set(e, EBUSY, "%s: character backend '%s' is in use by %s; give each its own", who, c->id, c->user);
	c->user = who;
	return 0;
}

struct chr *qemu_chr_use(struct qemu *q, const char *id, const char *who, struct err *e)
{
	struct qemu_chr *c = find_chr(q, id);

	if (!c) {
		err_set(e, EINVAL, "%s: chardev=%s: there is no -chardev of that name", who, id);
		return NULL;
	}
	return take_chr(c, who, e) ? NULL : c->chr;
}

/* -- Monitors ---------------------------------------------------------------------------------------------------------- */

static int add_monitor(struct qemu *q, struct qemu_chr *c, bool control, bool pretty, struct err *e)
{
	struct qemu_monitor *m = &q->monitor[q->n_monitors];

	if (q->n_monitors == QEMU_MAX_MONITORS)
		return err_set(e, E2BIG, "monitors: more than %d", QEMU_MAX_MONITORS);
	if (c->monitor)
		return err_set(e, EBUSY, "monitor: '%s' has one already", c->id);
	if (!c->mux && take_chr(c, "a monitor", e))
		return -EBUSY;
	if (c->mux && control)
		return err_set(e, ENOTSUP, "monitor: '%s' is shared; QMP takes a backend of its own", c->id);
	c->monitor = true;
	q->n_monitors++;
	*m = (struct qemu_monitor){ .chr = c, .control = control, .pretty = pretty };
	return 0;
}

int qemu_add_monitor(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	bool control = strcmp(o->name, "monitor") != 0;
	char label[24];
	struct qemu_chr *c;
	int rc;

	snprintf(label, sizeof(label), "compat_monitor%u", q->n_monitors);
	q->monitor_given |= !control;
	rc = use_dev(q, control ? "-qmp" : "-monitor", label, arg, &c, e);
	if (rc || !c)
		return rc;
	return add_monitor(q, c, control, !strcmp(o->name, "qmp-pretty"), e);
}

int qemu_add_mon(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval k;
	int rc = keyval_parse(&k, "-mon", arg, "chardev", e);
	const char *id = keyval_take(&k, "chardev"), *mode = keyval_take(&k, "mode");
	struct qemu_chr *c = id ? find_chr(q, id) : NULL;
	bool pretty = false, control = mode && !strcmp(mode, "control");

	if (!rc)
		rc = keyval_take_bool(&k, "pretty", &pretty, e);
	if (!rc)
		rc = keyval_done(&k, e);
	if (!rc && mode && !control && strcmp(mode, "readline"))
		rc = err_set(e, EINVAL, "-mon %s: mode=%s: give readline or control", arg, mode);
	if (!rc && !c)
		rc = err_set(e, EINVAL, "-mon %s: there is no -chardev of that name", arg);
	if (!rc)
		rc = add_monitor(q, c, control, pretty, e);
	q->monitor_given |= !control;
	keyval_release(&k);
	return rc;
}

/* -- Ports --------------------------------------------------------------------------------------------------------------- */

static int set_serial(struct qemu *q, unsigned port, struct qemu_chr *c, struct err *e)
{
	int rc = take_chr(c, "a serial port", e);

	if (!rc && c->mux && !c->monitor)
		rc = add_monitor(q, c, false, false, e);
	if (!rc)
		q->cfg.serial[port] = c->chr;
	return rc;
}

int qemu_add_serial(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct qemu_chr *c;
	char label[16];
	int rc;

	snprintf(label, sizeof(label), "serial%u", q->n_serial);
	rc = use_dev(q, "-serial", label, arg, &c, e);
	if (rc)
		return rc;
	if (c && q->n_serial >= PC_SERIAL_PORTS)
		return err_set(e, ENOTSUP, "-serial %s: the board has %u serial ports", arg, PC_SERIAL_PORTS);
	q->n_serial++;
	return c ? set_serial(q, q->n_serial - 1, c, e) : 0;
}

int qemu_serial_use(struct qemu *q, struct keyval *k, struct err *e)
{
	static const unsigned iobase[PC_SERIAL_PORTS] = { 0x3f8, 0x2f8 }, irq[PC_SERIAL_PORTS] = { 4, 3 };
	const char *id = keyval_take(k, "chardev");
	uint64_t index = UINT64_MAX, base = 0, line = 0;
	struct qemu_chr *c = id ? find_chr(q, id) : NULL;
	int rc = keyval_take_uint(k, "index", UINT32_MAX, &index, e);

	keyval_skip(k, "id");
	if (!rc)
		rc = keyval_take_uint(k, "iobase", UINT16_MAX, &base, e);
	if (!rc)
		rc = keyval_take_uint(k, "irq", UINT8_MAX, &line, e);
	if (!rc)
		rc = keyval_done(k, e);
	if (rc)
		return rc;
	if (!c)
		return err_set(e, EINVAL, "-device isa-serial: give it a -chardev: chardev=ID");
	for (unsigned i = 0; i < PC_SERIAL_PORTS; i++)
		if (index == UINT64_MAX && !q->cfg.serial[i] && (!base || base == iobase[i]))
			index = i;
	if (index >= PC_SERIAL_PORTS || (base && base != iobase[index]) || (line && line != irq[index]))
		return err_set(e, ENOTSUP, "%s %s: the board has serial ports at 0x3f8 (irq 4) and 0x2f8 (irq 3)", k->what, k->text);
	if (q->cfg.serial[index])
		return err_set(e, EBUSY, "%s %s: serial port %u is taken", k->what, k->text, (unsigned)index);
	return set_serial(q, (unsigned)index, c, e);
}

/* A device for a backend that an option like -debugcon names. */
static int plug_port(struct qemu *q, const char *what, const char *label, const char *driver, const char *arg, struct err *e)
{
	struct qemu_chr *c;
	char text[160];
	int rc = use_dev(q, what, label, arg, &c, e);

	if (rc || !c)
		return rc;
	snprintf(text, sizeof(text), "%s,chardev=%.64s", driver, c->id);
	return qemu_plug(q, what, text, e);
}

int qemu_add_parallel(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	char label[24];

	snprintf(label, sizeof(label), "parallel%u", q->n_parallel++);
	return plug_port(q, "-parallel", label, "isa-parallel", arg, e);
}

int qemu_add_debugcon(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	return plug_port(q, "-debugcon", "debugcon", "isa-debugcon,iobase=0xe9", arg, e);
}

/* -nographic: the first serial port and the monitor on the terminal, unless they have been placed. */
int qemu_default_ports(struct qemu *q, struct err *e)
{
	static const struct qemu_option serial = { .name = "serial" }, monitor = { .name = "monitor" };
	bool ports = !q->n_serial && !q->nodefaults, mon = !q->monitor_given && !q->nodefaults;

	for (unsigned i = 0; i < q->n_chrs; i++)
		if (q->chr[i].is_stdio)
			return 0;
	if (!q->nographic)
		return 0;
	if (ports)
		return qemu_add_serial(q, &serial, mon ? "mon:stdio" : "stdio", e);
	return mon ? qemu_add_monitor(q, &monitor, "stdio", e) : 0;
}
