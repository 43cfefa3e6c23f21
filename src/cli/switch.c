/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel switch: a switch that virtual machines of this host plug into, with VLANs, tenants and limits. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "backend/net/switch_server.h"
#include "backend/net/vswitch.h"
#include "cli/command.h"

struct switch_options {
	const char *port[VSWITCH_PORTS];
	unsigned n_ports;
	bool stats;
};

static int set_port(void *opts, const char *arg, struct err *e)
{
	struct switch_options *o = opts;

	if (o->n_ports == VSWITCH_PORTS)
		return err_set(e, EINVAL, "'%s': a switch has at most %d ports; start another one", arg, VSWITCH_PORTS);
	o->port[o->n_ports++] = arg;
	return 0;
}

static int set_stats(void *opts, const char *arg, struct err *e)
{
	((struct switch_options *)opts)->stats = true;
	return 0;
}

static const struct cli_option options[] = {
	{ "port", "PATH[,OPTS]", "a port; OPTS: vlan=N trunk tenant=NAME isolated bps=N", set_port },
	{ "stats", NULL, "print what passed each port at the end", set_stats },
	{ 0 },
};

/* Readable once somebody wants us to end. */
static int stop_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int carry(const struct switch_options *o, struct err *e)
{
	struct strbuf stats = STRBUF_INIT;
	struct switch_server *s;
	int stop = stop_signals(), rc = switch_server_new(&s, e);

	for (unsigned i = 0; !rc && i < o->n_ports; i++)
		rc = switch_server_add(s, o->port[i], e);
	if (!rc && stop < 0)
		rc = err_set(e, errno, "signalfd: %s", strerror(errno));
	if (!rc)
		rc = switch_server_run(s, stop, e);
	if (!rc && o->stats) {
		switch_server_print_stats(s, &stats);
		fputs(stats.buf, stdout);
		strbuf_release(&stats);
	}
	switch_server_free(s);
	close(stop);
	return rc;
}

static int run_switch(int argc, char **argv)
{
	struct switch_options o = { 0 };
	struct err e = { "" };
	int status;

	if (cli_parse(&switch_command, argc, argv, &o, &status) < 0)
		return status;
	if (!o.n_ports) {
		cli_fail("no port; give --port PATH for each machine, and start them with --net switch=PATH");
		return STATUS_USAGE;
	}
	return carry(&o, &e) ? cli_fail("%s", e.msg) : STATUS_OK;
}

const struct cli_command switch_command = {
	.name = "switch",
	.synopsis = "--port PATH[,OPTIONS]...",
	.summary = "connect virtual machines with each other",
	.details = "An Ethernet switch, until it is interrupted. 'doppel run --net switch=PATH' plugs\n"
		   "a machine in. Ports of different tenants, or VLANs, do not reach each other.\n",
	.options = options,
	.run = run_switch,
};
