/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code memory and the blocks in it: allocation, look-up, dropping what has become stale, flushing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/tunables.h"
#include "cpu/bt/insn.h"

/* What the largest block can take: its instructions, and a stub with its site for each exit. */
#define BLOCK_MAX_CODE (BT_MAX_INSNS * 512u + BT_MAX_STUBS * 64u)
#define MAX_BLOCKS     (TUNE_BT_CODE_SIZE / 256)
#define MAX_MAP        (TUNE_BT_CODE_SIZE / 32)

static unsigned hash_of(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> 48) & (BT_HASH_SIZE - 1);
}

/* -- Memory ------------------------------------------------------------------------------------------------ */

/*
 * Two views of one memfd: one to write, one to run, so that no mapping is writable and executable. The
 * one to run is below 2 GiB, as struct bt is, so that code reaches its slots and tables.
 */
static int map_code(struct bt *bt, struct err *e)
{
	int fd = memfd_create("doppel-bt", MFD_CLOEXEC), rc = 0;

	if (fd < 0 || ftruncate(fd, TUNE_BT_CODE_SIZE) < 0) {
		rc = err_set(e, errno, "translator: no memory for code: %s", strerror(errno));
		goto out;
	}
	bt->code_size = TUNE_BT_CODE_SIZE;
	bt->code_rw = mmap(NULL, bt->code_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bt->code_rx = mmap(NULL, bt->code_size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_32BIT, fd, 0);
	if (bt->code_rw == MAP_FAILED || bt->code_rx == MAP_FAILED)
		rc = err_set(e, errno, "translator: cannot map code below 2 GiB: %s", strerror(errno));
out:
	if (fd >= 0)
		close(fd);
	return rc;
}

int bt_cache_init(struct bt *bt, struct err *e)
{
	int rc = map_code(bt, e);

	if (rc)
		return rc;
	bt->block = calloc(MAX_BLOCKS, sizeof(*bt->block));
	bt->map = calloc(MAX_MAP, sizeof(*bt->map));
	bt->translation = malloc(sizeof(*bt->translation));
	if (!bt->block || !bt->map || !bt->translation)
		return err_set(e, ENOMEM, "translator: out of memory");
	bt_emit_common(bt);
	return 0;
}

void bt_cache_release(struct bt *bt)
{
	if (bt->code_rw && bt->code_rw != MAP_FAILED)
		munmap(bt->code_rw, bt->code_size);
	if (bt->code_rx && bt->code_rx != MAP_FAILED)
		munmap(bt->code_rx, bt->code_size);
	free(bt->block);
	free(bt->map);
	free(bt->translation);
}

/* -- Blocks ------------------------------------------------------------------------------------------------- */

bool bt_cache_has_room(const struct bt *bt)
{
	return bt->code_used + BLOCK_MAX_CODE <= bt->code_size && bt->n_blocks + 1 < MAX_BLOCKS &&
	       bt->n_map + BT_MAX_INSNS <= MAX_MAP;
}

void bt_cache_flush(struct bt *bt)
{
	bt_jc_clear(bt);
	memset(bt->hash, 0, sizeof(bt->hash));
	memset(bt->page, 0, sizeof(bt->page));
	bt->n_blocks = bt->n_map = 0;
	bt->code_used = bt->code_base_used;
	bt->v->stats.bt_cache_flushes++;
}

struct bt_block *bt_block_new(struct bt *bt)
{
	struct bt_block *b = &bt->block[bt->n_blocks++];

	memset(b, 0, sizeof(*b));
	return b;
}

static void publish_second_page(struct bt *bt, struct bt_block *b)
{
	struct bt_block *second = bt_block_new(bt);
	unsigned p = hash_of(b->gpa2 >> PAGE_SHIFT);

	second->gpa = b->gpa2;
	second->version = b->version2;
	second->whole = b;
	second->end = b->end; /* keeps the pool in order, for bt_block_at() */
	second->ientry = b->ientry;
	second->page_next = bt->page[p];
	bt->page[p] = second;
}

void bt_block_publish(struct bt *bt, struct bt_block *b)
{
	unsigned h = hash_of(b->la), p = hash_of(b->gpa >> PAGE_SHIFT);

	b->valid = true;
	b->hash_next = bt->hash[h];
	bt->hash[h] = b;
	b->page_next = bt->page[p];
	bt->page[p] = b;
	if (b->gpa2 < BT_UNMAPPED_PAGE)
		publish_second_page(bt, b);
}

static uint32_t page_version(const struct bt *bt, uint64_t gpa)
{
	return atomic_load(&bt->v->ram->version[gpa >> PAGE_SHIFT]);
}

struct bt_block *bt_block_find(struct bt *bt, uint64_t la, uint64_t gpa, uint64_t gpa2, struct bt_mode mode)
{
	uint32_t version = page_version(bt, gpa);

	for (struct bt_block *b = bt->hash[hash_of(la)]; b; b = b->hash_next) {
		if (b->la != la || b->gpa != gpa || !b->valid || b->version != version || !bt_same_mode(b->mode, mode))
			continue;
		if (b->gpa2 == BT_NO_PAGE)
			return b;
		if (b->gpa2 == gpa2 && (gpa2 == BT_UNMAPPED_PAGE || b->version2 == page_version(bt, gpa2)))
			return b;
	}
	return NULL;
}

/* Out of the way for good: who jumps to it, chained or through a jump cache, leaves by its stub. */
static void drop(struct bt *bt, struct bt_block *b)
{
	struct assembler a = { .rw = bt_rw(bt, b->entry), .pc = b->entry };

	jmp_to(&a, b->stale_stub);
	b->valid = false;
	bt->v->stats.bt_dropped++;
}

static void unhash(struct bt *bt, struct bt_block *b)
{
	struct bt_block **p = &bt->hash[hash_of(b->la)];

	while (*p && *p != b)
		p = &(*p)->hash_next;
	if (*p)
		*p = b->hash_next;
}

static void drop_stale_in(struct bt *bt, unsigned h)
{
	struct bt_block **p = &bt->page[h], *b;

	while ((b = *p)) {
		if (b->version == page_version(bt, b->gpa)) {
			p = &b->page_next;
			continue;
		}
		*p = b->page_next;
		if (b->whole)
			b = b->whole;
		if (b->valid) {
			unhash(bt, b);
			drop(bt, b);
		}
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

	for (uint32_t i = bt->written_tail; i != head && !all; i++) {
		uint64_t slot = atomic_load(&bt->written[i % BT_WRITTEN_RING]);

		if (slot >> 32 == i)
			drop_stale_in(bt, hash_of((uint32_t)slot));
		else
			all = true;
	}
	bt->written_tail = head;
	for (unsigned h = 0; h < BT_HASH_SIZE && all; h++)
		drop_stale_in(bt, h);
}

struct bt_block *bt_block_at(struct bt *bt, uint32_t host)
{
	unsigned lo = 0, hi = bt->n_blocks;

	/* The pool is in the order of addresses. */
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (host >= bt->block[mid].end)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < bt->n_blocks && host >= bt->block[lo].ientry ? &bt->block[lo] : NULL;
}

const struct bt_map *bt_map_at(struct bt *bt, uint32_t host)
{
	const struct bt_block *b = bt_block_at(bt, host);
	unsigned n;

	if (!b)
		return NULL;
	for (n = b->map + b->insns - 1; n > b->map && bt->map[n].host > host; n--)
		;
	return &bt->map[n];
}

bool bt_site_touches_fpu(struct bt *bt, const struct bt_site *site)
{
	const struct bt_map *m = bt_map_at(bt, site->retry);

	return !m || m->fpu;
}
