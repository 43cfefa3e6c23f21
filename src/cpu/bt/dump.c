/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the translator has made of a block, as text: for each guest instruction the host's, and behind them the ways out. */
#include "cpu/bt/cache.h"
#include "cpu/disasm.h"

#define DUMP_MAX 4096 /* bytes of host code: the ways out of a large block go on for long, and hold data */

void bt_dump_code(struct bt *bt, const struct bt_block *b, struct strbuf *out)
{
	const struct bt_cache *c = bt->cache;
	uint32_t pc = b->ientry, end = MIN(b->end, b->ientry + DUMP_MAX);
	unsigned n = 0;

	strbuf_addf(out, "emitted code, mode %u, form at %#x; * a guest instruction begins:\n", b->mode.mmu, b->ientry);
	while (pc < end) {
		while (n < b->insns && c->map[b->map + n].host <= pc) {
			strbuf_addf(out, "  * %#llx\n", (unsigned long long)(b->la + c->map[b->map + n].rip_off));
			n++;
		}
		strbuf_addf(out, "      ");
		pc += disasm_host(pc, bt_rw(c, pc), MIN(end - pc, DISASM_MAX), out);
	}
}

/* Every form of the block that there is. The vCPU stands still, outside of the cache. */
void bt_dump_block(struct vcpu *v, uint64_t rip, struct strbuf *out)
{
	struct bt *bt = v->engine_data;
	uint64_t la = x86_64bit(&v->s) ? rip : (uint32_t)(v->s.seg[SEG_CS].base + rip);

	lock_take(&bt->cache->lock);
	for (unsigned i = 0; i < bt->cache->n_blocks; i++) {
		const struct bt_block *b = &bt->cache->block[i];

		if (b->la == la && b->valid && !b->whole)
			bt_dump_code(bt, b, out);
	}
	lock_drop(&bt->cache->lock);
}
