/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of gdb's remote serial protocol (GDB manual, appendix E.2 to E.4), on a machine that stands still. */
#include <stdlib.h>
#include <string.h>

#include "monitor/gdb_int.h"
#include "monitor/gdb_regs.h"

#define OK          "OK"
#define E_SYNTAX    "E01" /* gdb shows the number and does not know what it means */
#define E_MEMORY    "E02"
#define E_REGISTER  "E03"
#define E_THREAD    "E04"
#define E_POINT     "E05"

static void reply(struct gdb_session *s, const char *text)
{
	s->reply.len = 0;
	strbuf_add(&s->reply, text, strlen(text));
}

static struct vcpu *current(struct gdb_session *s)
{
	return vm_vcpus(s->vm)->v[s->thread];
}

/* -- Threads: vCPU n is thread n + 1 -------------------------------------------------------------------------- */

/* A thread's number at *p; -1 and 0 mean any, for which `any` is taken. */
static bool thread_id(struct gdb_session *s, const char **p, unsigned any, unsigned *index)
{
	uint64_t id;

	if (!strncmp(*p, "-1", 2)) {
		*p += 2;
		*index = any;
		return true;
	}
	if (!gdb_number(p, &id) || id > vm_vcpus(s->vm)->n)
		return false;
	*index = id ? (unsigned)id - 1 : any;
	return true;
}

static void select_thread(struct gdb_session *s, const char *p)
{
	bool for_steps = *p == 'c';
	unsigned index;

	if (!*p || !(++p, thread_id(s, &p, s->thread, &index))) {
		reply(s, E_THREAD);
		return;
	}
	*(for_steps ? &s->step_thread : &s->thread) = index;
	reply(s, OK);
}

static void thread_alive(struct gdb_session *s, const char *p)
{
	unsigned index;

	reply(s, thread_id(s, &p, 0, &index) ? OK : E_THREAD);
}

static void list_threads(struct gdb_session *s)
{
	s->reply.len = 0;
	for (unsigned i = 0; i < vm_vcpus(s->vm)->n; i++)
		strbuf_addf(&s->reply, "%c%x", i ? ',' : 'm', i + 1);
}

static void describe_thread(struct gdb_session *s, const char *p)
{
	static const char *const activity[] = { "running", "halted", "not started", "shut down" };
	struct strbuf text = STRBUF_INIT;
	unsigned index;

	if (!thread_id(s, &p, 0, &index)) {
		reply(s, E_THREAD);
		return;
	}
	strbuf_addf(&text, "CPU#%u [%s]", index, activity[vm_vcpus(s->vm)->v[index]->s.activity]);
	s->reply.len = 0;
	gdb_add_hex(&s->reply, text.buf, text.len);
	strbuf_release(&text);
}

/* -- Registers and memory --------------------------------------------------------------------------------------- */

static void read_registers(struct gdb_session *s)
{
	uint8_t buf[GDB_REG_MAX];

	s->reply.len = 0;
	for (unsigned n = 0; n < gdb_n_regs(); n++)
		gdb_add_hex(&s->reply, buf, gdb_get_reg(current(s), n, buf));
}

static void write_registers(struct gdb_session *s, const char *p)
{
	uint8_t buf[GDB_REG_MAX], now[GDB_REG_MAX];
	bool all = true;

	for (unsigned n = 0; n < gdb_n_regs() && *p; n++) {
		unsigned len = gdb_get_reg(current(s), n, now);

		if (gdb_from_hex(p, buf, len) != len) {
			reply(s, E_SYNTAX);
			return;
		}
		all &= !memcmp(buf, now, len) || gdb_set_reg(current(s), n, buf, len);
		p += 2 * len;
	}
	reply(s, all ? OK : E_REGISTER);
}

static void read_register(struct gdb_session *s, const char *p)
{
	uint8_t buf[GDB_REG_MAX];
	uint64_t n;
	unsigned len = gdb_number(&p, &n) && n < gdb_n_regs() ? gdb_get_reg(current(s), (unsigned)n, buf) : 0;

	reply(s, len ? "" : E_REGISTER);
	gdb_add_hex(&s->reply, buf, len);
}

static void write_register(struct gdb_session *s, const char *p)
{
	uint8_t buf[GDB_REG_MAX];
	uint64_t n;

	if (!gdb_number_then(&p, &n, '=') || n >= gdb_n_regs())
		reply(s, E_REGISTER);
	else
		reply(s, gdb_set_reg(current(s), (unsigned)n, buf, gdb_from_hex(p, buf, sizeof(buf))) ? OK : E_REGISTER);
}

static void read_memory(struct gdb_session *s, const char *p)
{
	uint8_t buf[GDB_PACKET_MAX / 2];
	uint64_t la, len;
	size_t n;

	if (!gdb_number_then(&p, &la, ',') || !gdb_number(&p, &len)) {
		reply(s, E_SYNTAX);
		return;
	}
	n = debug_read_memory(current(s), la, buf, MIN(len, sizeof(buf)));
	reply(s, n || !len ? "" : E_MEMORY);
	gdb_add_hex(&s->reply, buf, n);
}

/* M has the bytes in hexadecimal, X as they are. */
static void write_memory(struct gdb_session *s, const char *p, const char *end, bool hex)
{
	uint8_t buf[GDB_PACKET_MAX];
	uint64_t la, len;
	bool whole;

	if (!gdb_number_then(&p, &la, ',') || !gdb_number_then(&p, &len, ':') || len > sizeof(buf)) {
		reply(s, E_SYNTAX);
		return;
	}
	whole = hex ? gdb_from_hex(p, buf, len) == len : (size_t)(end - p) == len;
	if (!whole)
		reply(s, E_SYNTAX);
	else
		reply(s, debug_write_memory(current(s), la, hex ? (const void *)buf : p, len) == len ? OK : E_MEMORY);
}

/* -- Breakpoints -------------------------------------------------------------------------------------------------- */

static struct gdb_breakpoint *find_breakpoint(struct gdb_session *s, uint64_t la)
{
	for (unsigned n = 0; n < s->n_breakpoints; n++)
		if (s->breakpoint[n].la == la)
			return &s->breakpoint[n];
	return NULL;
}

static bool set_breakpoint(struct gdb_session *s, uint64_t la, bool hardware)
{
	struct gdb_breakpoint *b = find_breakpoint(s, la);

	if (!b) {
		if (s->n_breakpoints == DEBUG_MAX_BREAKPOINTS || debug_add_breakpoint(vm_vcpus(s->vm), la))
			return false;
		b = &s->breakpoint[s->n_breakpoints++];
		*b = (struct gdb_breakpoint){ .la = la };
	}
	*(hardware ? &b->hardware : &b->software) = true;
	return true;
}

static bool clear_breakpoint(struct gdb_session *s, uint64_t la, bool hardware)
{
	struct gdb_breakpoint *b = find_breakpoint(s, la);

	if (!b)
		return true;
	*(hardware ? &b->hardware : &b->software) = false;
	if (b->hardware || b->software)
		return true;
	*b = s->breakpoint[--s->n_breakpoints];
	return !debug_remove_breakpoint(vm_vcpus(s->vm), la);
}

/* Ztype,addr,kind and ztype,addr,kind; what may follow are conditions, which were not announced. */
static void change_point(struct gdb_session *s, const char *p, bool set)
{
	static const enum debug_access access[] = { [2] = DEBUG_WRITE, [3] = DEBUG_READ, [4] = DEBUG_ACCESS };
	struct debug_watchpoint w;
	uint64_t type, la, len;
	bool done;

	if (!gdb_number_then(&p, &type, ',') || !gdb_number_then(&p, &la, ',') || !gdb_number(&p, &len)) {
		reply(s, E_SYNTAX);
		return;
	}
	if (type > 4) {
		reply(s, "");
		return;
	}
	if (type < 2) {
		done = set ? set_breakpoint(s, la, type) : clear_breakpoint(s, la, type);
	} else {
		w = (struct debug_watchpoint){ la, len, access[type] };
		done = set ? len && !debug_add_watchpoint(vm_vcpus(s->vm), &w) : !debug_remove_watchpoint(vm_vcpus(s->vm), &w);
	}
	reply(s, done ? OK : E_POINT);
}

/* -- Going on -------------------------------------------------------------------------------------------------------- */

static void forget_stops(struct gdb_session *s)
{
	for (unsigned i = 0; i < vm_vcpus(s->vm)->n; i++)
		vm_vcpus(s->vm)->v[i]->debug.stop = DEBUG_NO_STOP;
}

/* One step of one vCPU; the others stand still meanwhile. */
static void step_alone(struct gdb_session *s, unsigned thread)
{
	forget_stops(s);
	s->thread = thread;
	vcpu_step(vm_vcpus(s->vm)->v[thread]);
	gdb_report_stop(s);
}

static void go_on(struct gdb_session *s)
{
	forget_stops(s);
	s->then = GDB_GO;
}

/* c, s, C sig, S sig, each with an address to go on at; there are no signals here. */
static void old_resume(struct gdb_session *s, const char *p)
{
	struct vcpu *v = vm_vcpus(s->vm)->v[s->step_thread];
	bool step = (*p | 0x20) == 's', signal = *p < 'a';
	uint64_t number, la = debug_pc(v);

	p++;
	if (signal && !gdb_number(&p, &number)) {
		reply(s, E_SYNTAX);
		return;
	}
	if (signal && *p == ';')
		p++;
	if (*p && gdb_number(&p, &la)) {
		v->s.rip = x86_64bit(&v->s) ? la : (uint32_t)(la - v->s.seg[SEG_CS].base);
		v->debug.written |= SYNC_GPR;
	}
	if (step)
		step_alone(s, s->step_thread);
	else
		go_on(s);
}

/* vCont;action[:thread]...: the first that fits a thread counts. A step with others going on is taken with them. */
static void resume(struct gdb_session *s, const char *p)
{
	int stepper = -1;
	bool others = false;

	while (*p == ';') {
		char action = (char)(p[1] | 0x20);
		unsigned thread = s->step_thread;
		uint64_t number;

		if (!p[1])
			break;
		p += 2;
		if ((p[-1] == 'C' || p[-1] == 'S') && !gdb_number(&p, &number))
			break;
		if (*p == ':') {
			p++;
			if (!thread_id(s, &p, s->step_thread, &thread))
				break;
		}
		if (action == 's' && stepper < 0)
			stepper = (int)thread;
		else if (action == 'c')
			others = true;
		else if (action != 's' && action != 't')
			break;
	}
	if (*p) {
		reply(s, E_SYNTAX);
		return;
	}
	if (stepper >= 0 && !others) {
		step_alone(s, (unsigned)stepper);
		return;
	}
	go_on(s);
	if (stepper >= 0) {
		s->thread = (unsigned)stepper;
		vm_vcpus(s->vm)->v[stepper]->debug.step = true;
	}
}

void gdb_report_stop(struct gdb_session *s)
{
	struct vcpu_group *g = vm_vcpus(s->vm);
	enum debug_stop why = g->v[s->thread]->debug.stop;
	const struct gdb_breakpoint *b;
	const struct debug_watchpoint *w;

	for (unsigned i = 0; i < g->n && why == DEBUG_NO_STOP; i++) {
		why = g->v[i]->debug.stop;
		if (why != DEBUG_NO_STOP)
			s->thread = i;
	}
	s->step_thread = s->thread;
	s->reply.len = 0;
	strbuf_addf(&s->reply, "T%02xthread:%x;", why == DEBUG_NO_STOP ? GDB_SIGINT : GDB_SIGTRAP, s->thread + 1);
	if (why == DEBUG_WATCHED) {
		w = &g->v[s->thread]->debug.hit;
		strbuf_addf(&s->reply, "%s:%llx;", w->access == DEBUG_WRITE ? "watch" : w->access == DEBUG_READ ? "rwatch" : "awatch",
			    (unsigned long long)w->la);
	}
	b = why == DEBUG_AT_BREAKPOINT ? find_breakpoint(s, debug_pc(g->v[s->thread])) : NULL;
	if (b && s->reports_breakpoints)
		strbuf_addf(&s->reply, "%s:;", b->software ? "swbreak" : "hwbreak");
}

/* -- Questions ------------------------------------------------------------------------------------------------------- */

static void supported(struct gdb_session *s, const char *p)
{
	s->reports_breakpoints = strstr(p, "swbreak+") && strstr(p, "hwbreak+");
	s->reply.len = 0;
	strbuf_addf(&s->reply, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+",
		    GDB_PACKET_MAX);
}

/* qXfer:features:read:target.xml:offset,length */
static void read_features(struct gdb_session *s, const char *p)
{
	static const char name[] = "target.xml:";
	struct strbuf xml = STRBUF_INIT;
	uint64_t at, len;

	if (strncmp(p, name, strlen(name)) || (p += strlen(name), !gdb_number_then(&p, &at, ',')) || !gdb_number(&p, &len)) {
		reply(s, "E00");
		return;
	}
	gdb_describe_target(&xml);
	at = MIN(at, xml.len);
	len = MIN(MIN(len, GDB_PACKET_MAX / 2), xml.len - at); /* it grows by escapes */
	reply(s, at + len < xml.len ? "m" : "l");
	strbuf_add(&s->reply, xml.buf + at, len);
	strbuf_release(&xml);
}

static void answer_c(struct gdb_session *s, const char *p)
{
	s->reply.len = 0;
	strbuf_addf(&s->reply, "QC%x", s->thread + 1);
}

static void first_threads(struct gdb_session *s, const char *p)
{
	list_threads(s);
}

static void no_more_threads(struct gdb_session *s, const char *p)
{
	reply(s, "l");
}

static void attached(struct gdb_session *s, const char *p)
{
	reply(s, "1"); /* so that it detaches at its end, and kills nothing */
}

static void no_ack(struct gdb_session *s, const char *p)
{
	s->no_ack = true;
	reply(s, OK);
}

static void can_continue(struct gdb_session *s, const char *p)
{
	reply(s, "vCont;c;C;s;S");
}

static void kill_it(struct gdb_session *s, const char *p)
{
	s->then = GDB_KILL;
	reply(s, OK);
}

static const struct {
	const char *name; /* and what follows it goes to fn */
	void (*fn)(struct gdb_session *s, const char *p);
} long_commands[] = {
	{ "qSupported", supported }, { "qXfer:features:read:", read_features }, { "qfThreadInfo", first_threads },
	{ "qsThreadInfo", no_more_threads }, { "qThreadExtraInfo,", describe_thread }, { "qAttached", attached },
	{ "QStartNoAckMode", no_ack }, { "vCont?", can_continue }, { "vCont", resume }, { "vKill", kill_it },
};

static void long_command(struct gdb_session *s, const char *packet)
{
	if (!strcmp(packet, "qC")) {
		answer_c(s, packet);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(long_commands); i++) {
		size_t len = strlen(long_commands[i].name);

		if (!strncmp(packet, long_commands[i].name, len)) {
			long_commands[i].fn(s, packet + len);
			return;
		}
	}
}

/* -- Dispatch -------------------------------------------------------------------------------------------------------- */

void gdb_command(struct gdb_session *s, const char *packet, size_t len)
{
	const char *p = packet + 1;

	s->then = GDB_ANSWER;
	reply(s, ""); /* not known */
	switch (packet[0]) {
	case '?': gdb_report_stop(s); break;
	case 'H': select_thread(s, p); break;
	case 'T': thread_alive(s, p); break;
	case 'g': read_registers(s); break;
	case 'G': write_registers(s, p); break;
	case 'p': read_register(s, p); break;
	case 'P': write_register(s, p); break;
	case 'm': read_memory(s, p); break;
	case 'M':
	case 'X': write_memory(s, p, packet + len, packet[0] == 'M'); break;
	case 'Z':
	case 'z': change_point(s, p, packet[0] == 'Z'); break;
	case 'c':
	case 'C':
	case 's':
	case 'S': old_resume(s, packet); break;
	case 'D':
		s->then = GDB_DETACH;
		reply(s, OK);
		break;
	case 'k': s->then = GDB_KILL; break;
	case 'q':
	case 'Q':
	case 'v': long_command(s, packet); break;
	default: break;
	}
}

void gdb_session_begin(struct gdb_session *s)
{
	s->thread = s->step_thread = 0;
	s->no_ack = s->reports_breakpoints = false;
	s->n_breakpoints = 0;
	forget_stops(s);
}

void gdb_session_end(struct gdb_session *s)
{
	s->n_breakpoints = 0;
	debug_clear(vm_vcpus(s->vm));
}
