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

static int parse_option(enum stack_window *window, const char *option, struct err *e)
{
	static const char *const names[] = {
		[STACK_WINDOW_HOT] = "hot", [STACK_WINDOW_NEVER] = "never", [STACK_WINDOW_ALWAYS] = "always",
	};
	const char *value = strchr(option, '=');
	const int key = value ? (int)(value - option) : (int)strlen(option);

	if (strncmp(option, "stack-window", (size_t)key) || key != (int)strlen("stack-window"))
		return err_set(e, EINVAL, "engine option '%s': unknown; there is stack-window=", option);
	for (unsigned i = 0; i < ARRAY_SIZE(names) && value; i++)
		if (!strcmp(value + 1, names[i])) {
			*window = (enum stack_window)i;
			return 0;
		}
	return err_set(e, EINVAL, "engine option '%s': use stack-window=hot, never or always", option);
}

int engine_parse(const struct engine_ops **out, enum stack_window *window, const char *text, struct err *e)
{
	const char *comma = strchr(text, ',');
	char name[32];
	int rc;

	*window = STACK_WINDOW_HOT;
	if (!comma)
		return engine_find(out, text, e);
	if ((size_t)(comma - text) >= sizeof(name))
		return err_set(e, EINVAL, "engine '%s': unknown; --engine help lists them", text);
	memcpy(name, text, (size_t)(comma - text));
	name[comma - text] = 0;
	rc = engine_find(out, name, e);
	if (!rc && *out != &bt_engine)
		return err_set(e, EINVAL, "engine '%s': takes no options; those are the translator's (--engine bt)", name);
	return rc ? rc : parse_option(window, comma + 1, e);
}

void engine_print_names(struct strbuf *out)
{
	strbuf_addf(out, "%-10s %s\n", "auto", "the best one for this host (doppel doctor says which)");
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++)
		strbuf_addf(out, "%-10s %s\n", engines[i]->name, engines[i]->summary);
}
