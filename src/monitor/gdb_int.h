/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the stub's connection (gdb.c) and its commands (gdb_command.c) share a debugger; monitor/gdb*.c only. */
#ifndef DOPPEL_MONITOR_GDB_INT_H
#define DOPPEL_MONITOR_GDB_INT_H

#include "cpu/vcpu.h"
#include "monitor/gdb_packet.h"
#include "vm/vm.h"

#define GDB_SIGINT  2
#define GDB_SIGTRAP 5

/* What the connection does after a command. */
enum gdb_then {
	GDB_ANSWER,  /* send what is in reply */
	GDB_GO,      /* let the machine run; the answer comes when it stops */
	GDB_DETACH,  /* send the reply, let the machine run and hang up */
	GDB_KILL,    /* end the machine */
};

/* A breakpoint as gdb asked for it: which kind it is told of matters to it. */
struct gdb_breakpoint {
	uint64_t la;
	bool software, hardware;
};

struct gdb_session {
	struct vm *vm;
	unsigned thread;   /* index of the vCPU that registers and memory are of */
	unsigned step_thread; /* the one that 'c' and 's' are about */
	bool no_ack, reports_breakpoints;
	struct gdb_breakpoint breakpoint[DEBUG_MAX_BREAKPOINTS];
	unsigned n_breakpoints;
	struct strbuf reply;
	enum gdb_then then;
};

/* Each by vm_call(), so with the vCPUs standing still. */

/* Carry out the packet; s->reply and s->then tell what to do. */
void gdb_command(struct gdb_session *s, const char *packet, size_t len);

/* Why the machine stands still, into s->reply; that vCPU becomes the current thread. */
void gdb_report_stop(struct gdb_session *s);

/* A debugger comes: what the last one left behind; or it goes. */
void gdb_session_begin(struct gdb_session *s);
void gdb_session_end(struct gdb_session *s);

#endif
