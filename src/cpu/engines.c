/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engines that this build has, by name, and which one is the best here. */
#include <errno.h>
#include <string.h>
#include "base/bits.h"
#include "cpu/bt/bt.h"
#include "cpu/engines.h"

static const struct engine_ops *const engines[] = {
	&interp_engine,
	&bt_engine,
};

const struct engine_ops *engine_at(unsigned i)
{
	return i < ARRAY_SIZE(engines) ? engines[i] : NULL;
}

const struct engine_ops *engine_choose(const char **why)
{
	const char *missing = bt_unusable();

	if (why)
		*why = missing ? missing : "the fastest one here";
	return missing ? &interp_engine : &bt_engine;
}

int engine_find(const struct engine_ops **out, const char *name, struct err *e)
{
	struct strbuf names = STRBUF_INIT;
	int rc = 0;

	if (!strcmp(name, "auto")) {
		*out = engine_choose(NULL);
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
		if (!strcmp(name, engines[i]->name)) {
			*out = engines[i];
			goto out;
		}
		strbuf_addf(&names, ", %s", engines[i]->name);
	}
	rc = err_set(e, EINVAL, "engine '%s': unknown; use auto%s", name, names.buf);
out:
	strbuf_release(&names);
	return rc;
}

void engine_print_names(struct strbuf *out)
{
	strbuf_addf(out, "%-10s %s\n", "auto", "the best one for this host (doppel doctor says which)");
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++)
		strbuf_addf(out, "%-10s %s\n", engines[i]->name, engines[i]->summary);
}
