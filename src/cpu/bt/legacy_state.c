/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What translated code outside of 64-bit mode knows of the segment registers. */
#include "cpu/bt/legacy.h"

static bool allows(const struct x86_state *s, const struct x86_seg *seg, bool write)
{
	if (x86_real_like(s))
		return true;
	if (!(seg->attr & SEG_P) || (seg->attr & (SEG_CODE | SEG_CONF)) == SEG_CONF) /* expand-down: the reference's */
		return false;
	return seg->attr & SEG_CODE ? !write && (seg->attr & SEG_RW) : !write || (seg->attr & SEG_RW);
}

/* CS is only read through. */
static bool is_flat(const struct x86_state *s, unsigned n)
{
	const struct x86_seg *seg = &s->seg[n];

	return seg->base == 0 && seg->limit == UINT32_MAX && allows(s, seg, n != SEG_CS);
}

struct bt_legacy bt_legacy_mode(const struct vcpu *v)
{
	const struct x86_state *s = &v->s;
	struct bt_legacy m = { 0 };

	if (x86_64bit(s))
		return m;
	m.on = 1;
	m.code32 = (s->seg[SEG_CS].attr & SEG_DB) != 0 && x86_protected(s);
	m.stack32 = (s->seg[SEG_SS].attr & SEG_DB) != 0;
	m.real = x86_real_like(s);
	m.cs_base = (uint32_t)s->seg[SEG_CS].base;
	m.cs_limit = s->seg[SEG_CS].limit;
	for (unsigned n = 0; n < SEG_COUNT; n++)
		m.flat |= (uint8_t)(is_flat(s, n) << n);
	return m;
}

void bt_legacy_load(struct bt *bt)
{
	const struct x86_state *s = &bt->v->s;

	for (unsigned n = 0; n < SEG_COUNT; n++) {
		const struct x86_seg *seg = &s->seg[n];
		struct bt_segment *slot = &bt->segment[n];

		slot->base = seg->base;
		slot->limit[0] = allows(s, seg, false) ? (int64_t)seg->limit : -1;
		slot->limit[1] = allows(s, seg, true) ? (int64_t)seg->limit : -1;
	}
}
