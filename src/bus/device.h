/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lifecycle of a device; reads and writes are registered with an address space instead. */
#ifndef DOPPEL_BUS_DEVICE_H
#define DOPPEL_BUS_DEVICE_H

#include <stdbool.h>
#include "base/fields.h"
#include "base/list.h"
#include "base/strbuf.h"

struct device;

struct device_ops {
	const char *name;
	void (*reset)(struct device *d);              /* power-on reset */
	int (*post_load)(struct device *d);           /* re-derive and validate: a restored file is hostile input */
	void (*quiesce)(struct device *d, bool on);   /* stop or restart host-side activity; may be NULL */
	void (*free)(struct device *d);
	const struct state_field *state;              /* declarative, versioned */
	unsigned state_version;
	void (*print_stats)(const struct device *d, struct strbuf *out); /* a counter a line; the machine stands; may be NULL */
};

/* First member of every chip, so that a chip's pointer is its device's pointer. */
struct device {
	const struct device_ops *ops;
	struct list node; /* in the machine's list of devices */
};

/* Save to out / load from buf by the device's table, then post_load. A failed load leaves reset state. */
void device_save(const struct device *d, struct strbuf *out);
int device_load(struct device *d, unsigned version, const void *buf, size_t len, struct err *e);

#endif
