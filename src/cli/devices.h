/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices that options of doppel run ask for: from the text to an entry of the configuration and an open backend. */
#ifndef DOPPEL_CLI_DEVICES_H
#define DOPPEL_CLI_DEVICES_H

#include "vm/config.h"

struct blk;
struct chr;
struct net;

/* One --disk, --net, --share, --balloon, --vsock or --device: "FIRST,name=value,..."; a comma in a value is written twice. */
struct device_option {
	const struct device_option_kind *kind;
	char *text;              /* ours: first and the values are parts of it */
	const char *first, *second; /* second: behind a colon; NULL: none */
	struct device_prop prop[DEVICE_MAX_PROPS];
	unsigned n_props;
	struct blk *blk;         /* once they are open */
	struct chr *chr;
	struct net *net;
};

struct device_options {
	struct device_option option[VM_MAX_DEVICES];
	unsigned n;
	bool ephemeral;          /* every disk is as with its own property of that name */
};

/* Note an option by its name ("disk") and check what can be checked without opening anything: usage errors. */
int device_options_add(struct device_options *o, const char *name, const char *arg, struct err *e);

/* Open what they need, and add them to the configuration, which then refers to o. */
int device_options_open(struct device_options *o, struct vm_config *c, struct err *e);

/*
 * What they mean for a guest that is made to fit: whether there are any, whether a network gives addresses, and the tags of shared
 * directories, each with a newline, appended to shares.
 */
void device_options_needs(const struct device_options *o, bool *any, bool *dhcp, struct strbuf *shares);

/* Let character backends move their bytes. */
int device_options_begin(struct device_options *o, struct err *e);

/* Close the backends; the machine has gone. */
void device_options_release(struct device_options *o);

#endif
