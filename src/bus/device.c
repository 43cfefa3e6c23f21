/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saving and restoring any device by its state table. */
#include <errno.h>
#include "bus/device.h"

void device_save(const struct device *d, struct strbuf *out)
{
	if (d->ops->state)
		fields_save(d->ops->state, d, out);
}

static int load(struct device *d, unsigned version, const void *buf, size_t len, struct err *e)
{
	static const struct state_field none[] = { STATE_END() };
	const struct state_field *table = d->ops->state ? d->ops->state : none;
	int rc;

	if (version > d->ops->state_version)
		return err_set(e, EINVAL,
			       "state of version %u, newer than our %u: use the doppel that saved it",
			       version, d->ops->state_version);
	rc = fields_load(table, version, d, buf, len, e);
	if (rc || !d->ops->post_load)
		return rc;
	rc = d->ops->post_load(d);
	return rc ? err_set(e, -rc, "the saved state is not one that the device can be in") : 0;
}

int device_load(struct device *d, unsigned version, const void *buf, size_t len, struct err *e)
{
	int rc;

	/* From reset state: fields that are younger than the saved version have their reset values then. */
	if (d->ops->reset)
		d->ops->reset(d);
	rc = load(d, version, buf, len, e);
	if (!rc)
		return 0;
	if (d->ops->reset)
		d->ops->reset(d);
	return err_prefix(e, rc, "%s", d->ops->name);
}
