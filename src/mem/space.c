/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces and dispatch of accesses.
 *
 * Regions may overlap; what CPUs look at is a flat view computed from them, a sorted array of stretches.
 * Look-ups take no lock: there are two views, one in use, one spare. A change builds the spare one under
 * the space's lock, publishes it and increments seq; a look-up copies its stretch and accepts the copy
 * if seq has not moved. The view it read cannot have been rebuilt before the increment that it would see.
 * Views that became too small are kept until space_free, for look-ups that still read them; as each is
 * at least twice the size of the one before, memory stays bounded however often a guest moves its BARs.
 *
 * The copy is complete, so callbacks run without any lock of the space and may change it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/bits.h"
#include "base/list.h"
#include "base/strbuf.h"
#include "mem/view.h"

#define MAX_ADDR_BITS  63
#define FIRST_CAPACITY 16 /* stretches in a view */
#define MAX_ACCESS     8  /* bytes of one access */

struct region {
	struct list node; /* space's lock: in order of age, newest last */
	char *name;
	struct stretch st; /* start and end unused */
};

/* struct stretch, but each field may be read while the view is being rebuilt. */
struct flat {
	_Atomic uint64_t start, end, base, size;
	_Atomic(const struct io_ops *) ops;
	_Atomic(void *) opaque;
	_Atomic(struct lock *) lock;
	_Atomic(struct ram *) ram;
	_Atomic bool readonly;
	const struct region *region; /* space's lock */
};

struct view {
	struct view *next_retired;
	unsigned capacity;
	_Atomic unsigned n;
	struct flat flat[];
};

struct space {
	const char *name;
	uint64_t size;
	struct lock lock; /* RANK_SPACE: regions, and everything about views but reading the current one */
	struct list regions;
	unsigned n_regions;
	struct view *spare, *retired;
	uint64_t *points; /* room for the ends of all regions, as many as a view has stretches, and one */
	_Atomic(struct view *) view;
	_Atomic uint64_t seq;
	_Atomic unsigned hint; /* index of the last hit, no more than a guess */
	void (*changed)(void *opaque);
	void *opaque;
};

/* -- Look-up ---------------------------------------------------------------------------------- */

#define READ(field)       atomic_load_explicit(&(field), memory_order_acquire)
#define WRITE(field, val) atomic_store_explicit(&(field), (val), memory_order_release)

static bool flat_has(const struct flat *f, uint64_t addr)
{
	return addr >= READ(f->start) && addr < READ(f->end);
}

static const struct flat *find(struct space *s, const struct view *v, uint64_t addr)
{
	unsigned n = READ(v->n), hint = atomic_load_explicit(&s->hint, memory_order_relaxed);
	unsigned lo = 0, hi = n;

	if (hint < n && flat_has(&v->flat[hint], addr))
		return &v->flat[hint];
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (addr < READ(v->flat[mid].start))
			hi = mid;
		else if (addr >= READ(v->flat[mid].end))
			lo = mid + 1;
		else {
			atomic_store_explicit(&s->hint, mid, memory_order_relaxed);
			return &v->flat[mid];
		}
	}
	return NULL;
}

bool space_lookup(struct space *s, uint64_t addr, struct stretch *out)
{
	for (;;) {
		uint64_t seq = READ(s->seq);
		const struct flat *f = find(s, READ(s->view), addr);

		if (f) {
			out->start = READ(f->start);
			out->end = READ(f->end);
			out->base = READ(f->base);
			out->size = READ(f->size);
			out->ops = READ(f->ops);
			out->opaque = READ(f->opaque);
			out->lock = READ(f->lock);
			out->ram = READ(f->ram);
			out->readonly = READ(f->readonly);
		}
		if (READ(s->seq) == seq)
			return f;
	}
}

/* -- Changes of the map ------------------------------------------------------------------------- */

static int compare_points(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The newest region that has all of [start, end), where no region begins or ends in between. */
static const struct region *owner(struct space *s, uint64_t start, uint64_t end)
{
	const struct region *best = NULL, *r;

	list_for_each(r, &s->regions, node)
		if (start >= r->st.base && end - r->st.base <= r->st.size)
			best = r;
	return best;
}

static void put_stretch(struct flat *f, uint64_t start, uint64_t end, const struct region *r)
{
	WRITE(f->start, start);
	WRITE(f->end, end);
	WRITE(f->base, r->st.base);
	WRITE(f->size, r->st.size);
	WRITE(f->ops, r->st.ops);
	WRITE(f->opaque, r->st.opaque);
	WRITE(f->lock, r->st.lock);
	WRITE(f->ram, r->st.ram);
	WRITE(f->readonly, r->st.readonly);
	f->region = r;
}

/* Compute the spare view from the regions and make it the current one. */
static void rebuild_locked(struct space *s)
{
	struct view *v = s->spare, *old = atomic_load(&s->view);
	const struct region *r, *last = NULL;
	unsigned n_points = 0, n = 0;

	list_for_each(r, &s->regions, node) {
		s->points[n_points++] = r->st.base;
		s->points[n_points++] = r->st.base + r->st.size;
	}
	qsort(s->points, n_points, sizeof(s->points[0]), compare_points);
	for (unsigned i = 0; i + 1 < n_points; i++) {
		uint64_t start = s->points[i], end = s->points[i + 1];

		if (start == end)
			continue;
		r = owner(s, start, end);
		if (r && r == last)
			WRITE(v->flat[n - 1].end, end);
		else if (r)
			put_stretch(&v->flat[n++], start, end, r);
		last = r;
	}
	BUG_ON(n > v->capacity);
	WRITE(v->n, n);
	WRITE(s->view, v);
	WRITE(s->seq, atomic_load(&s->seq) + 1);
	s->spare = old;
}

static struct view *view_new(unsigned capacity)
{
	struct view *v = calloc(1, sizeof(*v) + capacity * sizeof(v->flat[0]));

	if (v)
		v->capacity = capacity;
	return v;
}

static void retire_locked(struct space *s, struct view *v)
{
	v->next_retired = s->retired;
	s->retired = v;
}

/* Make room for one more region: what follows cannot fail. n regions make at most 2n - 1 stretches. */
static int reserve_locked(struct space *s)
{
	unsigned capacity = MAX(FIRST_CAPACITY, s->spare->capacity);
	struct view *current, *spare;
	uint64_t *points;

	while (capacity < 2 * (s->n_regions + 1))
		capacity *= 2;
	if (capacity == s->spare->capacity)
		return 0;
	points = realloc(s->points, (capacity + 1) * sizeof(*points));
	if (points)
		s->points = points;
	current = view_new(capacity);
	spare = view_new(capacity);
	if (!points || !current || !spare) {
		free(current);
		free(spare);
		return -ENOMEM;
	}
	/* The new current view becomes so by a rebuild, which leaves the old one as spare. */
	retire_locked(s, s->spare);
	s->spare = current;
	rebuild_locked(s);
	retire_locked(s, s->spare);
	s->spare = spare;
	return 0;
}

static void tell(struct space *s)
{
	if (s->changed)
		s->changed(s->opaque);
}

static bool fits(const struct space *s, uint64_t base, uint64_t size)
{
	return size && base < s->size && size <= s->size - base;
}

static int add(struct space *s, struct region **out, const char *name, const struct stretch *st)
{
	struct region *r;
	int rc = -ENOMEM;

	if (!fits(s, st->base, st->size))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->st = *st;
	r->name = strdup(name);
	if (r->name) {
		lock_take(&s->lock);
		rc = reserve_locked(s);
		if (!rc) {
			s->n_regions++;
			list_add_tail(&s->regions, &r->node);
			rebuild_locked(s);
		}
		lock_drop(&s->lock);
	}
	if (rc) {
		free(r->name);
		free(r);
		return rc;
	}
	if (out)
		*out = r;
	tell(s);
	return 0;
}

int space_add_io(struct space *s, struct region **out, const char *name, uint64_t base, uint64_t size,
		 const struct io_ops *ops, void *opaque, struct lock *lock)
{
	struct stretch st = { .base = base, .size = size, .ops = ops, .opaque = opaque, .lock = lock };

	return add(s, out, name, &st);
}

int space_add_rom(struct space *s, struct region **out, const char *name, uint64_t base, uint64_t size, struct ram *ram,
		  const struct io_ops *ops, void *opaque, struct lock *lock)
{
	struct stretch st = { .base = base, .size = size, .ops = ops, .opaque = opaque, .lock = lock, .ram = ram, .readonly = true };

	return ram_backed(ram, base, size) ? add(s, out, name, &st) : -EINVAL;
}

int space_add_ram(struct space *s, struct region **out, const char *name, uint64_t base, uint64_t size,
		  struct ram *ram, bool readonly)
{
	struct stretch st = { .base = base, .size = size, .ram = ram, .readonly = readonly };

	return ram_backed(ram, base, size) ? add(s, out, name, &st) : -EINVAL;
}

void space_remove(struct space *s, struct region *r)
{
	if (!r)
		return;
	lock_take(&s->lock);
	list_del(&r->node);
	s->n_regions--;
	rebuild_locked(s);
	lock_drop(&s->lock);
	free(r->name);
	free(r);
	tell(s);
}

int space_move(struct space *s, struct region *r, uint64_t base)
{
	bool moved;

	if (!fits(s, base, r->st.size) || (r->st.ram && !ram_backed(r->st.ram, base, r->st.size)))
		return -EINVAL;
	lock_take(&s->lock);
	moved = r->st.base != base;
	if (moved) {
		r->st.base = base;
		rebuild_locked(s);
	}
	lock_drop(&s->lock);
	if (moved)
		tell(s);
	return 0;
}

void space_set_listener(struct space *s, void (*changed)(void *opaque), void *opaque)
{
	s->changed = changed;
	s->opaque = opaque;
}

/* -- Life and death ------------------------------------------------------------------------------- */

struct space *space_new(const char *name, unsigned addr_bits)
{
	struct space *s = calloc(1, sizeof(*s));

	BUG_ON(addr_bits == 0 || addr_bits > MAX_ADDR_BITS);
	if (!s)
		BUG("out of memory for an address space");
	s->name = name;
	s->size = BIT(addr_bits);
	lock_init(&s->lock, RANK_SPACE);
	list_init(&s->regions);
	s->spare = view_new(0);
	atomic_init(&s->view, view_new(0));
	if (!s->spare || !atomic_load(&s->view))
		BUG("out of memory for an address space");
	return s;
}

/* All regions as they are, oldest first; NULL: out of memory. */
static struct stretch *copy_regions(struct space *s, unsigned *n)
{
	const struct region *r;
	struct stretch *copy;

	lock_take(&s->lock);
	copy = calloc(s->n_regions + 1, sizeof(*copy));
	*n = 0;
	if (copy)
		list_for_each(r, &s->regions, node)
			copy[(*n)++] = r->st;
	lock_drop(&s->lock);
	return copy;
}

struct space *space_shadow(struct space *s, struct ram *ram)
{
	static const struct io_ops nobody;
	struct space *shadow = space_new(s->name, (unsigned)__builtin_ctzll(s->size));
	unsigned n;
	struct stretch *st = copy_regions(s, &n);
	int rc = st ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !rc; i++) {
		bool has_ram = st[i].ram && ram_contains(ram, st[i].base, st[i].size);

		rc = has_ram ? space_add_ram(shadow, NULL, "shadow", st[i].base, st[i].size, ram, st[i].readonly)
			     : space_add_io(shadow, NULL, "shadow", st[i].base, st[i].size, &nobody, NULL, NULL);
	}
	free(st);
	if (!rc)
		return shadow;
	space_free(shadow);
	return NULL;
}

void space_free(struct space *s)
{
	struct region *r, *next;

	if (!s)
		return;
	list_for_each_safe(r, next, &s->regions, node) {
		free(r->name);
		free(r);
	}
	retire_locked(s, s->spare);
	retire_locked(s, atomic_load(&s->view));
	while (s->retired) {
		struct view *v = s->retired;

		s->retired = v->next_retired;
		free(v);
	}
	lock_release(&s->lock);
	free(s->points);
	free(s);
}

/* -- Access to chips ------------------------------------------------------------------------------- */

/*
 * One permitted access that covers part of a guest's access: `chunk` bytes at region offset `at`, of
 * which the guest's take `n`, beginning with number `skip`.
 */
struct piece {
	uint64_t at;
	unsigned chunk, skip, n;
};

static struct piece next_piece(const struct io_ops *ops, uint64_t off, unsigned left)
{
	unsigned min = ops->min_size ? ops->min_size : 1, max = ops->max_size ? ops->max_size : MAX_ACCESS;
	unsigned skip = (unsigned)off & (min - 1);
	struct piece p = { .at = off - skip, .skip = skip, .chunk = min };

	if (!p.skip && left >= min)
		while (p.chunk < max && p.chunk * 2 <= left)
			p.chunk *= 2;
	p.n = MIN(p.chunk - p.skip, left);
	return p;
}

static uint64_t piece_read(const struct stretch *st, const struct piece *p)
{
	/* A region whose size is no multiple of its min: what would reach behind its end meets nobody. */
	if (!st->ops->read || p->at + p->chunk > st->size)
		return size_mask(p->chunk);
	return st->ops->read(st->opaque, p->at, p->chunk) & size_mask(p->chunk);
}

static void piece_write(const struct stretch *st, const struct piece *p, uint64_t val)
{
	if (!st->ops->write || p->at + p->chunk > st->size)
		return;
	if (p->n != p->chunk) {
		uint64_t mask = size_mask(p->n) << (p->skip * 8);

		val = (piece_read(st, p) & ~mask) | (val << (p->skip * 8) & mask);
	}
	st->ops->write(st->opaque, p->at, p->chunk, val & size_mask(p->chunk));
}

static uint64_t io_read(const struct stretch *st, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	if (st->lock)
		lock_take(st->lock);
	for (unsigned done = 0; done < size;) {
		struct piece p = next_piece(st->ops, off + done, size - done);

		val |= (piece_read(st, &p) >> (p.skip * 8) & size_mask(p.n)) << (done * 8);
		done += p.n;
	}
	if (st->lock)
		lock_drop(st->lock);
	return val;
}

static void io_write(const struct stretch *st, uint64_t off, unsigned size, uint64_t val)
{
	if (st->lock)
		lock_take(st->lock);
	for (unsigned done = 0; done < size;) {
		struct piece p = next_piece(st->ops, off + done, size - done);

		piece_write(st, &p, val >> (done * 8));
		done += p.n;
	}
	if (st->lock)
		lock_drop(st->lock);
}

/* -- Access by CPUs ---------------------------------------------------------------------------------- */

uint64_t space_read(struct space *s, uint64_t addr, unsigned size)
{
	struct stretch st;
	uint64_t val = 0;

	addr &= s->size - 1;
	if (!space_lookup(s, addr, &st)) {
		if (size == 1)
			return size_mask(1);
	} else if (size <= st.end - addr) {
		if (!st.ram)
			return io_read(&st, addr - st.base, size);
		guest_copy_from(&val, st.ram->base + addr, size);
		return val;
	}
	for (unsigned i = 0; i < size; i++)
		val |= space_read(s, addr + i, 1) << (i * 8);
	return val;
}

static void ram_write(const struct stretch *st, uint64_t addr, unsigned size, uint64_t val)
{
	if (st->readonly)
		return;
	guest_copy_to(st->ram->base + addr, &val, size);
	ram_note_write(st->ram, addr, size);
}

void space_write(struct space *s, uint64_t addr, unsigned size, uint64_t val)
{
	struct stretch st;

	addr &= s->size - 1;
	if (!space_lookup(s, addr, &st)) {
		if (size == 1)
			return;
	} else if (size <= st.end - addr) {
		if (st.ram && !(st.readonly && st.ops))
			ram_write(&st, addr, size, val);
		else
			io_write(&st, addr - st.base, size, val);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		space_write(s, addr + i, 1, val >> (i * 8));
}

uint8_t *space_page(struct space *s, uint64_t gpa, bool *readonly)
{
	struct stretch st;

	*readonly = false;
	if (gpa >= s->size || !space_lookup(s, gpa, &st) || !st.ram || st.end - gpa < PAGE_SIZE)
		return NULL;
	*readonly = st.readonly;
	return st.ram->base + gpa;
}

void space_print(struct space *s, struct strbuf *out)
{
	const struct view *v;

	lock_take(&s->lock);
	v = atomic_load(&s->view);
	strbuf_addf(out, "space %s\n", s->name);
	for (unsigned i = 0; i < atomic_load(&v->n); i++) {
		const struct flat *f = &v->flat[i];
		const char *kind = !f->region->st.ram ? "io" : f->region->st.readonly ? "rom" : "ram";

		strbuf_addf(out, "%013llx-%013llx %-3s %s\n", (unsigned long long)atomic_load(&f->start),
			    (unsigned long long)atomic_load(&f->end) - 1, kind, f->region->name);
	}
	lock_drop(&s->lock);
}
