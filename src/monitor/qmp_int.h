/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's commands as its sessions see them. */
#ifndef DOPPEL_MONITOR_QMP_INT_H
#define DOPPEL_MONITOR_QMP_INT_H

#include <jansson.h>
#include "monitor/monitor.h"

#define QMP_MAX_ARGS 8

struct qmp_session {
	struct monitor_env *env;
	const char *class; /* of the error that a command returns; "GenericError" at first */
};

struct qmp_command {
	const char *name;
	/* Names of arguments; more than these are an error. */
	const char *args[QMP_MAX_ARGS];
	/* *ret: a new reference, NULL for an empty object. Negative: e says why. */
	int (*run)(struct qmp_session *s, json_t *args, json_t **ret, struct err *e);
};

const struct qmp_command *qmp_command_find(const char *name);
const struct qmp_command *qmp_command_at(unsigned i); /* NULL behind the last */
bool qmp_argument_known(const struct qmp_command *c, const char *name);

json_t *qmp_version(const struct monitor_env *env);

/* The questions (qmp_query.c). */
#define QMP_COMMAND(name) int name(struct qmp_session *s, json_t *args, json_t **ret, struct err *e)
QMP_COMMAND(qmp_query_status);
QMP_COMMAND(qmp_query_version);
QMP_COMMAND(qmp_query_commands);
QMP_COMMAND(qmp_query_block);
QMP_COMMAND(qmp_query_cpus_fast);
QMP_COMMAND(qmp_query_name);
QMP_COMMAND(qmp_query_uuid);
QMP_COMMAND(qmp_query_kvm);
QMP_COMMAND(qmp_query_target);
QMP_COMMAND(qmp_query_chardev);
QMP_COMMAND(qmp_query_balloon);

#endif
