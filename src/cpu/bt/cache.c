/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code memory and the blocks in it: allocation, look-up, dropping what has become stale, flushing. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/tunables.h"
#include "cpu/bt/insn.h"
#include "cpu/bt/jumps.h"
#include "cpu/isa.h"

/* What the largest block can take: its instructions, and a stub with its site for each exit. */
#define BLOCK_MAX_LOOP (BT_MAX_INSNS * 320u + 2048u) /* a loop's second form: instructions, ways out of it; checks */
#define BLOCK_MAX_CODE (BT_MAX_INSNS * 512u + BT_MAX_STUBS * 96u + BLOCK_MAX_LOOP)

unsigned bt_hash_of(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> (64 - BT_HASH_BITS));
}

/* -- Memory ------------------------------------------------------------------------------------------------ */

/*
 * Two views of one memfd: one to write, one to run, so that no mapping is writable and executable. The
 * one to run is below 2 GiB, so that code reaches its vCPU's slots by 32-bit displacements from RIP and GS.
 */
static int map_code(struct bt_cache *c, uint32_t size, struct err *e)
{
	int fd = memfd_create("doppel-bt", MFD_CLOEXEC), rc = 0;

	if (fd < 0 || ftruncate(fd, size) < 0) {
		rc = err_set(e, errno, "translator: no memory for code: %s", strerror(errno));
		goto out;
	}
	c->code_size = size;
	c->code_rw = mmap(NULL, c->code_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	c->code_rx = mmap(NULL, c->code_size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_32BIT, fd, 0);
	if (c->code_rw == MAP_FAILED || c->code_rx == MAP_FAILED)
		rc = err_set(e, errno, "translator: cannot map code below 2 GiB: %s", strerror(errno));
out:
	if (fd >= 0)
		close(fd);
	return rc;
}

static int init_decoder(struct bt_cache *c, const struct cpuid_policy *p, struct err *e)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} sizes[BT_CODE_SIZES] = {
		[CODE_64] = { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
		[CODE_32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
		[CODE_16] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
	};

	for (unsigned n = 0; n < BT_CODE_SIZES; n++) {
		if (!ZYAN_SUCCESS(ZydisDecoderInit(&c->decoder[n], sizes[n].mode, sizes[n].stack)))
			return err_set(e, EINVAL, "translator: libzydis refuses machine mode %u: install libzydis 4.0",
				       (unsigned)sizes[n].mode);
		isa_configure_decoder(p, &c->decoder[n]);
	}
	return 0;
}

static void unmap(uint8_t *p, uint32_t size)
{
	if (p && p != MAP_FAILED)
		munmap(p, size);
}

/* Together they need one large page less. */
struct whole_cache {
	struct bt_cache cache;
	struct translation translation;
};

static void cache_free(struct bt_cache *c)
{
	unmap(c->code_rw, c->code_size);
	unmap(c->code_rx, c->code_size);
	bt_table_free(c->block, c->max_blocks * sizeof(*c->block));
	bt_table_free(c->map, c->max_map * sizeof(*c->map));
	free(c->move);
	lock_release(&c->lock);
	bt_table_free(c, sizeof(struct whole_cache));
}

static struct bt_cache *cache_new(const struct vcpu_group *g, struct err *e)
{
	uint32_t size = g->code_size ? g->code_size : TUNE_BT_CODE_SIZE;
	struct whole_cache *whole = bt_table_new(sizeof(*whole));
	struct bt_cache *c;
	int rc;

	if (!whole) {
		err_set(e, ENOMEM, "translator: out of memory");
		return NULL;
	}
	c = &whole->cache;
	c->translation = &whole->translation;
	lock_init(&c->lock, RANK_CODE);
	/* Few blocks are smaller than 256 bytes, few instructions than 32. */
	c->max_blocks = size / 256;
	c->max_map = size / 32;
	c->max_moves = size / 32;
	c->block = bt_table_new(c->max_blocks * sizeof(*c->block));
	c->map = bt_table_new(c->max_map * sizeof(*c->map));
	c->move = calloc(c->max_moves, sizeof(*c->move));
	if (!c->block || !c->map || !c->move)
		rc = err_set(e, ENOMEM, "translator: out of memory");
	else
		rc = map_code(c, size, e);
	if (!rc)
		rc = init_decoder(c, g->cpuid, e);
	if (!rc)
		return c;
	cache_free(c);
	return NULL;
}

int bt_cache_get(struct bt *bt, struct err *e)
{
	struct vcpu_group *g = bt->v->group;
	struct bt_cache *c = g->engine_shared;

	bt->cache = c ? c : cache_new(g, e);
	if (!bt->cache)
		return -ENOMEM;
	if (!c)
		bt_emit_common(bt);
	g->engine_shared = bt->cache;
	bt->cache->users++;
	bt->generation = atomic_load(&bt->cache->generation);
	return 0;
}

void bt_cache_put(struct bt *bt)
{
	if (!bt->cache || --bt->cache->users)
		return;
	bt->v->group->engine_shared = NULL;
	cache_free(bt->cache);
}

/* -- Inside and outside ---------------------------------------------------------------------------------------- */

/* SDM vol. 3, 9.1.3: before a processor runs code that another one has written. */
static void serialize(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

bool bt_join(struct bt *bt)
{
	struct bt_cache *c = bt->cache;
	uint32_t generation;

	/* Store and load, in this order on both sides: either the flush sees us inside or we see the flush. */
	atomic_store(&bt->in_code, true);
	while (atomic_load(&c->stop)) {
		bt_leave(bt);
		bt_fpu_park(bt);
		lock_take(&c->lock);
		lock_drop(&c->lock);
		atomic_store(&bt->in_code, true);
	}
	generation = atomic_load_explicit(&c->generation, memory_order_relaxed);
	if (bt->generation != generation) {
		bt_jc_clear(bt);
		serialize(); /* other code may stand where we have run some */
		bt->generation = generation;
	}
	if (likely(!atomic_load(&bt->drop_writes) && !atomic_load(&bt->check_pages)))
		return true;
	bt_leave(bt);
	return false;
}

/* All others are outside when this returns, and stay there until `stop` is cleared. */
static void stop_others(struct bt *bt)
{
	struct vcpu_group *g = bt->v->group;

	atomic_store(&bt->cache->stop, true);
	for (unsigned n = 0; n < g->n; n++) {
		struct bt *other = g->v[n] ? g->v[n]->engine_data : NULL;

		if (!other || other == bt)
			continue;
		atomic_store(&other->poll, 1);
		while (atomic_load(&other->in_code))
			sched_yield();
	}
}

void bt_cache_flush(struct bt *bt)
{
	struct bt_cache *c = bt->cache;

	stop_others(bt);
	for (unsigned h = 0; h < BT_HASH_SIZE; h++)
		atomic_store_explicit(&c->hash[h], NULL, memory_order_relaxed);
	memset(c->page, 0, sizeof(c->page));
	memset(c->original, 0, sizeof(c->original));
	c->n_map = c->n_moves = 0;
	atomic_store(&c->n_blocks, 0);
	c->code_used = c->code_base_used;
	atomic_fetch_add(&c->generation, 1);
	atomic_store(&c->stop, false);
	bt->v->stats.bt_cache_flushes++;
}

/* -- Blocks ------------------------------------------------------------------------------------------------- */

bool bt_cache_has_room(const struct bt_cache *c)
{
	return c->code_used + BLOCK_MAX_CODE <= c->code_size && c->n_blocks + 2 < c->max_blocks &&
	       c->n_map + 2 * BT_MAX_INSNS <= c->max_map;
}

/* Counted when it is published: bt_block_at() may look on at any time. */
struct bt_block *bt_block_new(struct bt_cache *c)
{
	struct bt_block *b = &c->block[c->n_blocks];

	memset(b, 0, sizeof(*b));
	return b;
}

static unsigned hash_of_page(uint64_t page)
{
	return bt_hash_of(page) % BT_PAGES;
}

static void list_in_page(struct bt_cache *c, struct bt_block *b)
{
	unsigned p = hash_of_page(b->gpa >> PAGE_SHIFT);

	b->page_next = c->page[p];
	c->page[p] = b;
}

static void publish_second_page(struct bt_cache *c, struct bt_block *b)
{
	struct bt_block *second = bt_block_new(c);

	second->gpa = b->gpa2;
	second->version = b->version2;
	second->whole = b;
	second->end = b->end; /* keeps the pool in order, for bt_block_at() */
	second->ientry = b->ientry;
	list_in_page(c, second);
	atomic_fetch_add(&c->n_blocks, 1);
}

void bt_block_publish(struct bt_cache *c, struct bt_block *b)
{
	unsigned h = bt_hash_of(b->la);

	atomic_store_explicit(&b->valid, true, memory_order_relaxed);
	list_in_page(c, b);
	atomic_fetch_add(&c->n_blocks, 1);
	if (b->gpa2 < BT_UNMAPPED_PAGE)
		publish_second_page(c, b);
	atomic_store_explicit(&b->hash_next, atomic_load_explicit(&c->hash[h], memory_order_relaxed),
			      memory_order_relaxed);
	atomic_store_explicit(&c->hash[h], b, memory_order_release);
}

static uint32_t page_version(const struct bt *bt, uint64_t gpa)
{
	return atomic_load(&bt->v->ram->version[gpa >> PAGE_SHIFT]);
}

bool bt_block_current(const struct bt *bt, const struct bt_block *b)
{
	return atomic_load_explicit(&b->valid, memory_order_relaxed) && b->version == page_version(bt, b->gpa);
}

struct bt_block *bt_block_find(struct bt *bt, uint64_t la, uint64_t gpa, uint64_t gpa2, struct bt_mode mode)
{
	uint32_t version = page_version(bt, gpa);
	struct bt_block *b = atomic_load_explicit(&bt->cache->hash[bt_hash_of(la)], memory_order_acquire);

	for (; b; b = atomic_load_explicit(&b->hash_next, memory_order_acquire)) {
		if (b->la != la || b->gpa != gpa || atomic_load_explicit(&b->version, memory_order_relaxed) != version || !bt_same_mode(b->mode, mode) ||
		    !atomic_load_explicit(&b->valid, memory_order_relaxed))
			continue;
		if (b->gpa2 == BT_NO_PAGE)
			return b;
		if (b->gpa2 == gpa2 && (gpa2 == BT_UNMAPPED_PAGE || b->version2 == page_version(bt, gpa2)))
			return b;
	}
	return NULL;
}

/* -- Chains --------------------------------------------------------------------------------------------------- */

/*
 * Change the displacement of a jump that somebody may be executing: the emitter has put it into one aligned quadword.
 * By an instruction of our own choice: C has no store that may be unaligned but is made in one piece.
 */
static void patch_jump(struct bt_cache *c, uint32_t patch, uint32_t target)
{
	uint32_t *p = bt_rw(c, patch);

	BUG_ON((patch & 7) > 4);
	__asm__ volatile("movl %1, (%0)" : : "r"(p), "r"(target - (patch + 4)) : "memory");
}

static struct bt_site *site_rw(struct bt_cache *c, uint32_t at)
{
	return bt_rw(c, at);
}

/* Into a loop from its own end, by the second form if it has one. */
static uint32_t way_in(const struct bt_site *site, const struct bt_block *b)
{
	if (site->sub && b->loop_entry)
		return b->loop_entry;
	return site->parked ? b->entry : b->flags_entry;
}

void bt_chain(struct bt *bt, const struct bt_site *site, struct bt_block *b)
{
	struct bt_cache *c = bt->cache;
	uint32_t at = (uint32_t)(uintptr_t)site;

	bt_fpu_park(bt);
	if (!lock_try(&c->lock))
		return;
	/* Another vCPU may have been faster, or have dropped the block since we found it. */
	if (!site_rw(c, at)->chained && atomic_load_explicit(&b->valid, memory_order_relaxed)) {
		site_rw(c, at)->chained = 1;
		site_rw(c, at)->next_in = b->chained;
		b->chained = at;
		patch_jump(c, site->patch, way_in(site, b));
		bt->v->stats.bt_chains++;
	}
	lock_drop(&c->lock);
}

static void unchain_all(struct bt *bt, struct bt_block *b)
{
	struct bt_cache *c = bt->cache;

	for (uint32_t at = b->chained; at; at = site_rw(c, at)->next_in) {
		struct bt_site *site = site_rw(c, at);

		patch_jump(c, site->patch, site->stub);
		site->chained = 0;
		bt->v->stats.bt_unchains++;
	}
	b->chained = 0;
}

/* -- Dropping ------------------------------------------------------------------------------------------------- */

/* Who jumps to it, through a jump cache or by a chain that he has just fetched, leaves by its stub. */
static void redirect_entry(struct bt_cache *c, const struct bt_block *b)
{
	uint64_t *p = bt_rw(c, b->entry), code = __atomic_load_n(p, __ATOMIC_RELAXED);
	uint8_t bytes[8];
	struct assembler a = { .rw = bytes, .pc = b->entry };

	BUG_ON(b->entry & 7);
	memcpy(bytes, &code, sizeof(bytes));
	jmp_to(&a, b->stale_stub);
	memcpy(&code, bytes, sizeof(code));
	__atomic_store_n(p, code, __ATOMIC_RELEASE);
}

static void restore_entry(struct bt_cache *c, const struct bt_block *b)
{
	uint64_t *p = bt_rw(c, b->entry);

	__atomic_store_n(p, b->entry_code, __ATOMIC_RELEASE);
}

static void unhash(struct bt_cache *c, struct bt_block *b)
{
	struct bt_block *_Atomic *p = &c->hash[bt_hash_of(b->la)], *at;

	while ((at = atomic_load_explicit(p, memory_order_relaxed)) && at != b)
		p = &at->hash_next;
	if (at)
		atomic_store_explicit(p, atomic_load_explicit(&b->hash_next, memory_order_relaxed), memory_order_release);
}

/* Out of the way, for good or to sleep. */
static void drop(struct bt *bt, struct bt_block *b)
{
	if (!b->granules)
		unhash(bt->cache, b);
	redirect_entry(bt->cache, b);
	unchain_all(bt, b);
	atomic_store_explicit(&b->valid, false, memory_order_relaxed);
	bt->v->stats.bt_dropped++;
}

static void drop_stale_in(struct bt *bt, unsigned h)
{
	struct bt_block **p = &bt->cache->page[h], *b;

	while ((b = *p)) {
		if (b->version == page_version(bt, b->gpa)) {
			p = &b->page_next;
			continue;
		}
		*p = b->page_next;
		if (b->whole)
			b = b->whole;
		if (atomic_load_explicit(&b->valid, memory_order_relaxed))
			drop(bt, b);
	}
}

void bt_note_written(struct bt *bt, uint64_t gpa, uint64_t len)
{
	uint64_t first = gpa >> PAGE_SHIFT, last = (gpa + len - 1) >> PAGE_SHIFT;

	if (last - first >= BT_WRITTEN_RING) {
		atomic_store(&bt->written_many, true);
		return;
	}
	for (uint64_t p = first; p <= last; p++) {
		uint32_t i = atomic_fetch_add(&bt->written_head, 1);

		atomic_store(&bt->written[i % BT_WRITTEN_RING], (uint64_t)i << 32 | (uint32_t)p);
	}
}

/* A slot of the ring that is not there yet, or not any more, is as good as all pages. */
void bt_drop_stale(struct bt *bt)
{
	uint32_t head = atomic_load(&bt->written_head);
	bool all = atomic_exchange(&bt->written_many, false);

	bt_fpu_park(bt);
	lock_take(&bt->cache->lock);
	for (uint32_t i = bt->written_tail; i != head && !all; i++) {
		uint64_t slot = atomic_load(&bt->written[i % BT_WRITTEN_RING]);

		if (slot >> 32 == i)
			drop_stale_in(bt, hash_of_page((uint32_t)slot));
		else
			all = true;
	}
	bt->written_tail = head;
	for (unsigned h = 0; h < BT_PAGES && all; h++)
		drop_stale_in(bt, h);
	lock_drop(&bt->cache->lock);
}

/* -- Sleeping and waking --------------------------------------------------------------------------------------------- */

/* Of one key. More than two texts that take turns in one place are rare. */
#define MAX_SLEEPERS 4

/* Of the pieces of a page, whose bytes somebody may be writing: then the page's version moves. */
static uint64_t hash_contents(struct bt *bt, uint64_t gpa, uint64_t granules)
{
	const volatile uint64_t *page = (const volatile uint64_t *)(uintptr_t)(bt->v->ram->base + (gpa & PAGE_MASK));
	uint64_t h = granules;

	for (; granules; granules &= granules - 1) {
		const volatile uint64_t *word = page + (unsigned)__builtin_ctzll(granules) * (RAM_GRANULE / 8);

		for (unsigned n = 0; n < RAM_GRANULE / 8; n++) {
			h = (h ^ word[n]) * 0x9e3779b97f4a7c15ull;
			h ^= h >> 29;
		}
	}
	return h;
}

void bt_note_contents(struct bt *bt, struct bt_block *b, uint64_t granules)
{
	b->entry_code = *(const uint64_t *)bt_rw(bt->cache, b->entry);
	if (b->gpa2 != BT_NO_PAGE)
		return;
	b->contents = hash_contents(bt, b->gpa, granules);
	if (b->version == page_version(bt, b->gpa))
		b->granules = granules;
}

/* Its pieces count as code again from before they are compared. */
static bool is_unchanged(struct bt *bt, const struct bt_block *b, uint32_t *version)
{
	struct ram *r = bt->v->ram;
	uint64_t page = b->gpa & PAGE_MASK, left = b->granules;

	*version = ram_mark_code(r, b->gpa, 1);
	for (; left; left &= left - 1)
		ram_mark_code(r, page + (unsigned)__builtin_ctzll(left) * RAM_GRANULE, RAM_GRANULE);
	return hash_contents(bt, b->gpa, b->granules) == b->contents && page_version(bt, b->gpa) == *version;
}

struct bt_block *bt_block_wake(struct bt *bt, uint64_t la, uint64_t gpa, struct bt_mode mode)
{
	struct bt_cache *c = bt->cache;
	struct bt_block *next, *b = atomic_load_explicit(&c->hash[bt_hash_of(la)], memory_order_relaxed);
	unsigned sleepers = 0;
	uint32_t version;

	for (; b; b = next) {
		next = atomic_load_explicit(&b->hash_next, memory_order_relaxed);
		if (b->la != la || b->gpa != gpa || !bt_same_mode(b->mode, mode) ||
		    atomic_load_explicit(&b->valid, memory_order_relaxed))
			continue;
		if (is_unchanged(bt, b, &version)) {
			atomic_store_explicit(&b->version, version, memory_order_relaxed);
			list_in_page(c, b);
			restore_entry(c, b);
			atomic_store_explicit(&b->valid, true, memory_order_release);
			bt->v->stats.bt_woken++;
			return b;
		}
		if (++sleepers >= MAX_SLEEPERS)
			unhash(c, b);
	}
	return NULL;
}

/* -- By host address ------------------------------------------------------------------------------------------ */

struct bt_block *bt_block_at(struct bt_cache *c, uint32_t host)
{
	unsigned lo = 0, n = atomic_load_explicit(&c->n_blocks, memory_order_acquire), hi = n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (host >= c->block[mid].end)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && host >= c->block[lo].ientry ? &c->block[lo] : NULL;
}

const struct bt_map *bt_map_at(struct bt_cache *c, uint32_t host)
{
	const struct bt_block *b = bt_block_at(c, host);
	unsigned n;

	if (!b)
		return NULL;
	for (n = b->map + b->insns + b->loop_insns - 1u; n > b->map && c->map[n].host > host; n--)
		;
	return &c->map[n];
}

bool bt_site_touches_fpu(struct bt_cache *c, const struct bt_site *site)
{
	const struct bt_map *m = bt_map_at(c, site->retry);

	return !m || m->fpu;
}
