/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The same guest code in another address space. Programs and libraries stand at another random address in each process
 * (ASLR), and a translation holds linear addresses: return addresses, what is relative to RIP, where it leaves to. To
 * make it anew for each process that starts costs some 400 ns an instruction; so a translation of user code is
 * kept together with a list of what depends on its place, is found by guest-physical address, and copied:
 *
 * 1. Only a valid translation whose page's version is current is copied: the bytes, and the mark that the page is code, are
 *    those that it was made with. The mode is the same.
 * 2. Nothing in the translator looks further than the page that the block stands in, and pages move as a whole.
 * 3. Linear addresses stand in the code as 64-bit immediates, whatever their value (mov_la()), so that every other one fits.
 * 4. Copies begin on the alignment that originals do (16 bytes): padding before jumps that are patched comes out the same.
 * 5. A copy's jumps are not chained, wherever those of its original lead by now.
 *
 * A copy has no list, and is no original for others.
 */
#include "cpu/bt/cache.h"
#include "cpu/bt/clone.h"

#define LOWEST  (1ull << 32) /* what is not position-independent stands below */
#define HIGHEST (1ull << 47)

bool bt_moves(uint64_t la, const struct bt_mode *mode)
{
	return !mode->legacy.on && mode->form == FORM_NORMAL && la >= LOWEST && la < HIGHEST;
}

void bt_keep_moves(struct bt_cache *c, struct bt_block *b, uint32_t start, const struct asm_move *move, unsigned n)
{
	unsigned h = bt_hash_of(b->gpa) % BT_ORIGINALS;

	if (n > ASM_MAX_MOVES || c->n_moves + n > c->max_moves || b->gpa2 != BT_NO_PAGE)
		return;
	memcpy(c->move + c->n_moves, move, n * sizeof(*move));
	b->moves = c->n_moves;
	b->n_moves = (uint16_t)n;
	b->start = start;
	c->n_moves += n;
	b->original_next = c->original[h];
	c->original[h] = b;
}

static const struct bt_block *find_original(struct bt *bt, uint64_t gpa, struct bt_mode mode)
{
	const struct bt_block *b = bt->cache->original[bt_hash_of(gpa) % BT_ORIGINALS];

	for (; b; b = b->original_next)
		if (b->gpa == gpa && bt_block_current(bt, b) && bt_same_mode(b->mode, mode))
			return b;
	return NULL;
}

/* -- The copy ------------------------------------------------------------------------------------------------- */

struct copy {
	struct bt_cache *c;
	uint32_t host; /* what is added to addresses in the code, */
	uint64_t la;   /* and to linear addresses */
};

static void add32(uint8_t *p, uint32_t n)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	v += n;
	memcpy(p, &v, sizeof(v));
}

static void add64(uint8_t *p, uint64_t n)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	v += n;
	memcpy(p, &v, sizeof(v));
}

/* jmp [place]: p is at its displacement; before its three bytes stands the address, which has moved already. */
static void move_jc(const struct copy *m, uint8_t *p)
{
	uint64_t target;
	int32_t places;

	memcpy(&target, p - 3 - sizeof(target), sizeof(target));
	places = (int32_t)bt_jc_index(target) - (int32_t)bt_jc_index(target - m->la);
	add32(p, (uint32_t)(places * (int32_t)sizeof(uint64_t)) - m->host);
}

static void move_site(const struct copy *m, struct bt_site *s)
{
	uint32_t *const at[] = { &s->retry, &s->patch, &s->stub, &s->pass };
	uint32_t disp;

	for (unsigned n = 0; n < ARRAY_SIZE(at); n++)
		if (*at[n])
			*at[n] += m->host;
	s->rip += m->la;
	s->chained = 0;
	s->next_in = 0;
	if (s->patch) {
		disp = s->stub - (s->patch + 4);
		memcpy(bt_rw(m->c, s->patch), &disp, sizeof(disp));
	}
}

static void move(const struct copy *m, uint8_t *p, enum asm_moves what)
{
	switch (what) {
	case MOVES_NEAR: add32(p, 0 - m->host); break;
	case MOVES_HOST: add32(p, m->host); break;
	case MOVES_LA: add64(p, m->la); break;
	case MOVES_NEG_LA: add64(p, 0 - m->la); break;
	case MOVES_JC: move_jc(m, p); break;
	case MOVES_SITE: move_site(m, (void *)p); break;
	}
}

static void copy_map(struct bt_cache *c, struct bt_block *b, const struct bt_block *from, uint32_t host)
{
	b->map = c->n_map;
	for (unsigned n = 0; n < from->insns + from->loop_insns; n++) {
		c->map[c->n_map] = c->map[from->map + n];
		c->map[c->n_map++].host += host;
	}
}

struct bt_block *bt_clone(struct bt *bt, uint64_t la, uint64_t gpa, struct bt_mode mode)
{
	struct bt_cache *c = bt->cache;
	uint32_t start = (uint32_t)(uintptr_t)c->code_rx + c->code_used;
	const struct bt_block *from = bt_moves(la, &mode) ? find_original(bt, gpa, mode) : NULL;
	struct bt_block *b;
	struct copy m;

	if (!from)
		return NULL;
	m = (struct copy){ .c = c, .host = start - from->start, .la = la - from->la };
	b = bt_block_new(c);
	b->la = la;
	b->gpa = gpa;
	b->gpa2 = BT_NO_PAGE;
	b->mode = mode;
	b->version = from->version;
	b->entry = from->entry + m.host;
	b->ientry = from->ientry + m.host;
	b->flags_entry = from->flags_entry + m.host;
	b->body = from->body + m.host;
	b->stale_stub = from->stale_stub + m.host;
	b->end = from->end + m.host;
	b->insns = from->insns;
	b->loop_insns = from->loop_insns;
	if (from->loop_entry) {
		b->loop_entry = from->loop_entry + m.host;
		b->loop_body = from->loop_body + m.host;
		b->loop_fault = from->loop_fault + m.host;
	}
	memcpy(bt_rw(c, start), bt_rw(c, from->start), from->end - from->start);
	for (unsigned n = 0; n < from->n_moves; n++)
		move(&m, (uint8_t *)bt_rw(c, start) + c->move[from->moves + n].at, (enum asm_moves)c->move[from->moves + n].what);
	copy_map(c, b, from, m.host);
	b->granules = from->granules;
	b->contents = from->contents;
	b->entry_code = *(const uint64_t *)bt_rw(c, b->entry);
	c->code_used = (uint32_t)ALIGN_UP(b->end - (uint32_t)(uintptr_t)c->code_rx, 16);
	bt_block_publish(c, b);
	return b;
}
