/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What translated code has noted of x87 instructions becomes the pointers to the last one, as cpu/interp/hostexec_x87.c records them. */
#include "cpu/bt/cache.h"

void bt_x87_settle(struct bt *bt)
{
	struct x86_state *s = &bt->v->s;
	struct x86_fpu *f = &s->fpu;
	uint32_t last = bt->x87.reg ? bt->x87.reg : bt->x87.mem;
	const struct bt_map *m = bt_map_at(bt->cache, last);
	uint64_t la = bt_block_at(bt->cache, last)->la + m->rip_off;

	/* Segments change at exits only: what they were then they are now. */
	f->fip = x86_64bit(s) ? la : (uint32_t)(la - s->seg[SEG_CS].base);
	f->fcs = s->seg[SEG_CS].sel;
	f->fop = m->fop;
	if (bt->x87.mem) {
		f->fdp = bt->x87.offset;
		f->fds = s->seg[bt_map_at(bt->cache, bt->x87.mem)->x87 >> X87_KIND_BITS].sel;
	}
	bt->x87.mem = bt->x87.reg = 0;
}
