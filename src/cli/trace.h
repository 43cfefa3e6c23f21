/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option --trace: what is traced, and where it goes. */
#ifndef DOPPEL_CLI_TRACE_H
#define DOPPEL_CLI_TRACE_H

#include "base/err.h"
#include "cpu/vcpu.h"

struct trace_option {
	bool on;
	const char *path;  /* in the option's text, path_len bytes; NULL: standard error */
	size_t path_len;
	uint64_t from, to; /* linear addresses, both included */
};

/* Of "bt[,file=PATH][,from=ADDR][,to=ADDR]", which has to stay. -EINVAL with a message for anything else. */
int trace_parse(struct trace_option *o, const char *arg, struct err *e);

/* Open the file, whose old contents stay, and make the tracer that writes to it. */
int trace_open(const struct trace_option *o, struct block_tracer *out, struct err *e);

#endif
