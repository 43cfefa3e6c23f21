/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stub for gdb's remote serial protocol: one debugger at a time sees the vCPUs as threads of one program. */
#ifndef DOPPEL_MONITOR_GDB_H
#define DOPPEL_MONITOR_GDB_H

#include "base/err.h"

struct gdb;
struct vm;

#define GDB_DEFAULT_WHERE "tcp::1234"

/*
 * Listen where: "tcp:[HOST]:PORT" or "HOST:PORT" (HOST defaults to the loopback address), or "unix:PATH". A debugger that connects stops
 * the machine (VM_HOLD_DEBUG) until it says continue; when it leaves, its breakpoints go and the machine runs on. On the owner's
 * thread, before the machine starts.
 */
int gdb_new(struct gdb **out, const char *where, struct vm *vm, struct err *e);
void gdb_free(struct gdb *g); /* on the owner's thread, before the VM is freed; NULL is fine */

#endif
