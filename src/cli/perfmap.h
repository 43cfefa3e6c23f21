/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file from which perf(1) learns what translated code is. */
#ifndef DOPPEL_CLI_PERFMAP_H
#define DOPPEL_CLI_PERFMAP_H

#include "base/err.h"
#include "cpu/vcpu.h"

/*
 * Make /tmp/perf-PID.map (perf's tools/perf/Documentation/jit-interface.txt) and the listener that adds a line to it for
 * each block: "user" or "kernel" and its guest address. It stays for perf report, which runs later.
 */
int perfmap_open(struct code_listener *out, struct err *e);

#endif
