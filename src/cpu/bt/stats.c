/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator's counters by cause: exits, system instructions done by helpers, instructions left to the reference. */
#include <inttypes.h>
#include <string.h>

#include "base/strbuf.h"
#include "cpu/bt/system.h"

static const char *const kind_name[SITE_KINDS] = {
	[SITE_LOOKUP] = "lookup", [SITE_INDIRECT] = "indirect", [SITE_POLL] = "poll", [SITE_TLB] = "tlb", [SITE_GROUP] = "group",
	[SITE_STACK] = "stack", [SITE_OFF_STACK] = "off_stack", [SITE_CROSSED] = "crossed",
	[SITE_SYSTEM] = "system", [SITE_INTERP] = "interp", [SITE_INTERP_FPU] = "interp_fpu",
};

static const char *const why_name[BT_WHYS] = {
	[WHY_BOUNDARY] = "boundary", [WHY_FETCH] = "fetch", [WHY_INSTRUCTION] = "instruction", [WHY_REFUSED] = "refused",
	[WHY_MEMORY] = "memory", [WHY_CROSSING] = "crossing", [WHY_SEGMENT] = "segment",
};

_Static_assert(BT_OP_COUNT <= ARRAY_SIZE(((struct bt *)0)->system_ops), "a counter for each operation");

const char *bt_system_name(enum bt_system_op op)
{
	static const char *const names[BT_OP_COUNT] = {
#define X(op, fn, name) [BT_OP_##op] = name,
		BT_OPS_NEXT(X)
		BT_OPS_JUMP(X)
#undef X
	};

	return names[op] ? names[op] : "-";
}

static void line(const struct vcpu *v, struct strbuf *out, const char *group, const char *name, uint64_t n)
{
	if (n)
		strbuf_addf(out, "cpu%u.%s.%-*s %14" PRIu64 "\n", v->index, group, (int)(18 - strlen(group)), name, n);
}

/* The cache is the VM's: told once. What is in use by now; the largest blocks leave a little of it free. */
static void print_cache(const struct vcpu *v, const struct bt_cache *c, struct strbuf *out)
{
	if (v->index)
		return;
	line(v, out, "bt_cache", "KiB used", c->code_used / 1024);
	line(v, out, "bt_cache", "KiB", c->code_size / 1024);
	line(v, out, "bt_cache", "blocks", atomic_load(&c->n_blocks));
}

/* Every SITE_LOOKUP exit is a direct jump that was not chained yet; every SITE_INDIRECT one missed in the jump cache. */
static void print_jumps(const struct vcpu *v, const struct bt *bt, struct strbuf *out)
{
	if (!bt->dispatches)
		return;
	line(v, out, "bt_jump", "cached", bt->dispatches);
	line(v, out, "bt_jump", "second", bt->seconds - MIN(bt->seconds, bt->exits[SITE_INDIRECT]));
	line(v, out, "bt_jump", "missed", bt->exits[SITE_INDIRECT]);
	line(v, out, "bt_jump", "hits per 10000",
	     (uint64_t)(10000 - MIN(10000.0, 10000.0 * (double)bt->exits[SITE_INDIRECT] / (double)bt->dispatches)));
}

void bt_print_stats(struct vcpu *v, struct strbuf *out)
{
	const struct bt *bt = v->engine_data;

	line(v, out, "bt_translation", "us", (uint64_t)((double)bt->translation_ticks * 1e6 / (double)v->cpuid->tsc_hz));
	print_cache(v, bt->cache, out);
	print_jumps(v, bt, out);
	line(v, out, "bt_loop", "chunks", bt->loop_chunks);
	for (unsigned k = 0; k < SITE_KINDS; k++)
		line(v, out, "bt_exit", kind_name[k], bt->exits[k]);
	for (unsigned op = 0; op < BT_OP_COUNT; op++)
		line(v, out, "bt_system", bt_system_name((enum bt_system_op)op), bt->system_ops[op]);
	line(v, out, "pscache", "hits", v->tlb->ps.stats.hits);
	line(v, out, "pscache", "misses", v->tlb->ps.stats.misses);
	line(v, out, "pscache", "stale", v->tlb->ps.stats.stale);
	line(v, out, "pscache", "flushes", v->tlb->ps.stats.flushes);
	line(v, out, "nested", "hits", v->nested->stats.hits);
	line(v, out, "nested", "misses", v->nested->stats.misses);
	line(v, out, "nested", "flushes", v->nested->stats.flushes);
	for (unsigned n = 0; n < BT_WHYS; n++)
		line(v, out, "bt_why", why_name[n], bt->why[n]);
	line(v, out, "bt_fallback", "events", bt->fallbacks[0]);
	for (unsigned m = 1; m < ARRAY_SIZE(bt->fallbacks); m++)
		line(v, out, "bt_fallback", ZydisMnemonicGetString((ZydisMnemonic)m), bt->fallbacks[m]);
}
