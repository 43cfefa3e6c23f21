/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitors on character backends: output that waits for slow readers, events, and what QMP and lines have in common. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/display/input.h"
#include "base/lock.h"
#include "monitor/monitor.h"

#define OUT_LOW  (64u << 10) /* more than this waiting: nothing new is read from the client */
#define OUT_MAX  (4u << 20)  /* more than this: events get lost */
#define LINE_MAX_LEN 4096
#define PROMPT   "(qemu) "
#define MEDIUM_BLOCK_MAX 4096
#define BACKSPACE 0x08
#define DELETE    0x7f

struct monitor {
	struct monitor_env *env;
	struct chr *chr;
	struct qmp *qmp;          /* NULL: lines */
	struct vm_listener listener;
	bool shared;
	char line[LINE_MAX_LEN];  /* the I/O thread's */
	size_t len;
	struct lock lock;         /* guards out, and keeps answers and events apart */
	struct strbuf out;
};

/* -- Output ---------------------------------------------------------------------------------------------------------------- */

static void push_locked(struct monitor *m)
{
	size_t n = m->out.len ? chr_write(m->chr, m->out.buf, m->out.len) : 0;

	memmove(m->out.buf, m->out.buf + n, m->out.len - n);
	m->out.len -= n;
}

static void send(void *opaque, const char *text, size_t len)
{
	struct monitor *m = opaque;

	lock_take(&m->lock);
	if (m->out.len + len <= OUT_MAX)
		strbuf_add(&m->out, text, len);
	if (m->out.len)
		push_locked(m);
	lock_drop(&m->lock);
}

/* A chip's lines end in CR LF on a raw terminal, and so do ours. */
static void send_text(struct monitor *m, const char *text)
{
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");

		send(m, p, n);
		p += n;
		if (*p) {
			send(m, "\r\n", 2);
			p++;
		}
	}
}

static bool choked(struct monitor *m)
{
	bool choked;

	lock_take(&m->lock);
	choked = m->out.len > OUT_LOW;
	lock_drop(&m->lock);
	return choked;
}

static void on_writable(void *opaque)
{
	struct monitor *m = opaque;

	send(m, "", 0);
	if (!choked(m))
		chr_resume_read(m->chr);
}

/* -- Input ----------------------------------------------------------------------------------------------------------------- */

static void run_line(struct monitor *m)
{
	struct strbuf answer = STRBUF_INIT;

	m->line[m->len] = 0;
	m->len = 0;
	send(m, "\r\n", 2);
	hmp_run(m->env, m->line, &answer);
	if (answer.len)
		send_text(m, answer.buf);
	strbuf_release(&answer);
	send_text(m, PROMPT);
}

static void take_char(struct monitor *m, char c)
{
	if (c == '\n' || c == '\r') {
		run_line(m);
	} else if (c == BACKSPACE || c == DELETE) {
		if (m->len) {
			m->len--;
			send(m, "\b \b", 3);
		}
	} else if (c >= ' ' && m->len < LINE_MAX_LEN - 1) {
		m->line[m->len++] = c;
		send(m, &c, 1);
	}
}

static size_t on_read(void *opaque, const uint8_t *buf, size_t len)
{
	struct monitor *m = opaque;

	if (choked(m))
		return 0;
	if (m->qmp) {
		qmp_input(m->qmp, buf, len);
		return len;
	}
	for (size_t i = 0; i < len; i++)
		take_char(m, (char)buf[i]);
	return len;
}

static void on_opened(void *opaque, bool open)
{
	struct monitor *m = opaque;

	m->len = 0;
	lock_take(&m->lock);
	m->out.len = 0;
	lock_drop(&m->lock);
	if (!open)
		return;
	if (m->qmp) {
		qmp_open(m->qmp);
	} else {
		send_text(m, "doppel monitor - type 'help' for more information\n" PROMPT);
	}
}

static const struct chr_handlers handlers = { .read = on_read, .writable = on_writable, .opened = on_opened };
/* Of a terminal that a port shares: it says nothing until it is asked. */
static const struct chr_handlers shared_handlers = { .read = on_read };

static void on_event(struct vm_listener *l, const struct vm_event *ev)
{
	struct monitor *m = CONTAINER_OF(l, struct monitor, listener);

	if (ev->type == VM_EVENT_RESUME)
		m->env->begun = true;
	if (m->qmp)
		qmp_event(m->qmp, ev);
}

/* -- Life ------------------------------------------------------------------------------------------------------------------ */

void monitor_env_init(struct monitor_env *env)
{
	memset(env, 0, sizeof(*env));
	env->lock = calloc(1, sizeof(*env->lock));
	BUG_ON(!env->lock);
	lock_init(env->lock, RANK_VM);
}

void monitor_env_release(struct monitor_env *env)
{
	for (unsigned i = 0; i < env->n_media; i++)
		blk_close(env->medium[i]);
	if (env->lock)
		lock_release(env->lock);
	free(env->lock);
	memset(env, 0, sizeof(*env));
}

struct monitor *monitor_new(struct monitor_env *env, struct chr *chr, bool control, bool pretty, bool shared)
{
	struct monitor *m = calloc(1, sizeof(*m));

	BUG_ON(!m);
	m->env = env;
	m->chr = chr;
	m->shared = shared;
	lock_init(&m->lock, RANK_VM);
	if (control)
		m->qmp = qmp_new(env, pretty, send, m);
	m->listener.on_event = on_event;
	vm_listen(env->vm, &m->listener);
	if (shared)
		chr_share(chr, &shared_handlers, m);
	else
		chr_set_handlers(chr, &handlers, m);
	return m;
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	if (m->shared)
		chr_unshare(m->chr);
	else
		chr_set_handlers(m->chr, NULL, NULL);
	vm_unlisten(&m->listener);
	qmp_free(m->qmp);
	strbuf_release(&m->out);
	lock_release(&m->lock);
	free(m);
}

/* -- What both do ---------------------------------------------------------------------------------------------------------- */

static void nothing(struct vm *vm, void *opaque)
{
}

const char *monitor_status(struct monitor_env *env)
{
	unsigned holds = vm_holds(env->vm);

	return holds & VM_HOLD_END ? "shutdown" : holds & VM_HOLD_IO ? "io-error" : holds & VM_HOLD_DEBUG ? "debug" : !holds ? "running" :
	       env->begun ? "paused" : "prelaunch";
}

int monitor_stop(struct monitor_env *env)
{
	vm_hold(env->vm, VM_HOLD_USER);
	return vm_call(env->vm, nothing, NULL) ? 0 : -ESHUTDOWN;
}

int monitor_cont(struct monitor_env *env, struct err *e)
{
	if (vm_holds(env->vm) & VM_HOLD_END)
		return err_set(e, EINVAL, "Resetting the Virtual Machine is required");
	vm_unhold(env->vm, VM_HOLD_USER | VM_HOLD_IO);
	vm_call(env->vm, nothing, NULL);
	return 0;
}

/* A medium that a monitor has opened and that is in no drive any more is closed. */
static void close_medium(struct monitor_env *env, struct blk *blk)
{
	bool ours = false;

	lock_take(env->lock);
	for (unsigned i = 0; i < env->n_media && blk; i++) {
		if (env->medium[i] != blk)
			continue;
		env->medium[i] = env->medium[--env->n_media];
		ours = true;
		break;
	}
	lock_drop(env->lock);
	if (ours)
		blk_close(blk);
}

/* The owner's thread does it: what else it does with disks does not expect them to change meanwhile. */
struct medium_change {
	const char *id;
	struct blk *blk, *old; /* blk NULL: eject */
	bool force;
	struct err *e;
	int rc;
};

static void change_medium(struct vm *vm, void *opaque)
{
	struct medium_change *c = opaque;

	if (c->blk)
		c->rc = vm_media_change(vm, c->id, c->blk, &c->old, c->e);
	else
		c->rc = vm_media_eject(vm, c->id, c->force, &c->old, c->e);
}

static int have_changed(struct vm *vm, struct medium_change *c)
{
	if (!vm_call(vm, change_medium, c))
		return err_set(c->e, ESHUTDOWN, "the machine is going away");
	return c->rc;
}

int monitor_eject(struct monitor_env *env, const char *id, bool force, struct err *e)
{
	struct medium_change c = { .id = id, .force = force, .e = e };
	int rc = have_changed(env->vm, &c);

	if (!rc)
		close_medium(env, c.old);
	return rc;
}

/* What cannot be read is not put in. (And the new one's thread has begun before the old one's memory goes.) */
static int try_medium(struct blk *blk, struct err *e)
{
	uint8_t block[MEDIUM_BLOCK_MAX];
	struct blk_info info;
	int rc;

	blk_info(blk, &info);
	if (info.size < info.block_size)
		return 0;
	rc = blk_read(blk, 0, block, info.block_size);
	return rc ? err_set(e, -rc, "%s: cannot read it: %s", blk_file(blk), strerror(-rc)) : 0;
}

int monitor_change(struct monitor_env *env, const char *id, const char *file, const char *format, bool readonly, struct err *e)
{
	struct blk_options o;
	struct medium_change c = { .id = id, .e = e };
	struct blk *blk = NULL;
	int rc;

	blk_options_init(&o);
	o.file = strdup(file);
	BUG_ON(!o.file);
	o.readonly = readonly;
	rc = format ? blk_options_set(&o, "format", format, e) : 0;
	if (!rc)
		rc = blk_open(&blk, &o, e);
	blk_options_release(&o);
	if (rc)
		return rc;
	rc = try_medium(blk, e);
	if (rc) {
		blk_close(blk);
		return rc;
	}
	lock_take(env->lock);
	if (env->n_media == MONITOR_DRIVES)
		rc = err_set(e, ENOSPC, "too many media");
	else
		env->medium[env->n_media++] = blk;
	lock_drop(env->lock);
	if (rc) {
		blk_close(blk);
		return rc;
	}
	c.blk = blk;
	rc = have_changed(env->vm, &c);
	close_medium(env, rc ? blk : c.old);
	return rc;
}

int monitor_keys(struct monitor_env *env, const char *const *keys, unsigned n, unsigned hold_ms, struct err *e)
{
	struct input *in = vm_input(env->vm);
	struct timespec hold = { .tv_sec = hold_ms / 1000, .tv_nsec = hold_ms % 1000 * 1000000l };

	if (!in)
		return err_set(e, ENODEV, "the machine has no keyboard that takes keys");
	for (unsigned i = 0; i < n; i++)
		if (input_key_by_name(keys[i]) < 0)
			return err_set(e, EINVAL, "Invalid parameter '%.32s'", keys[i]);
	for (unsigned i = 0; i < n; i++)
		input_key(in, (unsigned)input_key_by_name(keys[i]), true);
	nanosleep(&hold, NULL);
	for (unsigned i = n; i-- > 0;)
		input_key(in, (unsigned)input_key_by_name(keys[i]), false);
	return 0;
}
