/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The switch that virtual machines of other processes plug into: each of its ports is a unix socket. */
#ifndef DOPPEL_BACKEND_NET_SWITCH_SERVER_H
#define DOPPEL_BACKEND_NET_SWITCH_SERVER_H

#include "base/err.h"
#include "base/strbuf.h"

struct switch_server;

int switch_server_new(struct switch_server **out, struct err *e);
void switch_server_free(struct switch_server *s); /* NULL is fine */

/*
 * Add a port: PATH[,vlan=N][,trunk][,tenant=NAME][,isolated][,bps=BYTES], as vswitch.h has it. One machine at a time is plugged
 * in; the next may connect when it has left. Errors: -EINVAL, -E2BIG, what the socket says, with a message.
 */
int switch_server_add(struct switch_server *s, const char *spec, struct err *e);

/* Carry frames until stop_fd becomes readable. */
int switch_server_run(struct switch_server *s, int stop_fd, struct err *e);

/* What passed each port, with its path. */
void switch_server_print_stats(const struct switch_server *s, struct strbuf *out);

#endif
