/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: one shared memfd mapped once, with a byte of flags and a version for each page. */
#ifndef DOPPEL_MEM_RAM_H
#define DOPPEL_MEM_RAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ull
#define PAGE_MASK  (~(PAGE_SIZE - 1))

/*
 * The bytes of guest-physical address g stand at base + g: RAM below the PCI hole and RAM above
 * 4 GiB are mapped at their own places in one reservation, and the hole is PROT_NONE. In the
 * memfd they follow each other without a gap, and behind them stands memory of chips, which is mapped into the hole
 * where it is shown. Only addresses that are ram_backed() may be touched. flags and version reach to 4 GiB at least.
 *
 * flags[g >> 12] is read after every store by whoever writes guest RAM (engines and DMA alike):
 *   RAM_PAGE_CODE  some engine holds decoded or translated code of this page; granules[g >> 12] says of which
 *                  64-byte pieces, one bit each
 *   RAM_PAGE_LOG   the dirty log has not yet noted a write to this page
 *   RAM_PAGE_TRACE the tracer hears of each store to this page
 * A writer that finds the byte non-zero calls ram_written(). An engine that caches code calls
 * ram_mark_code() *before* it reads the bytes, remembers version[g >> 12] from before that call,
 * and drops what it cached when the version has moved on. It moves when a piece is written that holds code: data beside
 * code does not drop it.
 */
struct ram {
	uint8_t *base;
	uint64_t low_size;   /* bytes at [0, low_size), low_size <= hole_start */
	uint64_t high_size;  /* bytes at [4 GiB, 4 GiB + high_size) */
	uint64_t end;        /* one past the highest RAM address */
	int memfd;
	_Atomic uint8_t *flags;
	_Atomic uint32_t *version;
	_Atomic uint64_t *granules;
	void (*code_changed)(void *opaque, uint64_t gpa, uint64_t len); /* may be NULL */
	void *opaque;
	void (*code_marked)(void *opaque, uint64_t gpa, bool page); /* may be NULL; see ram_set_mark_listener */
	void *mark_opaque;
	const struct ram_tracer *tracer; /* NULL, or who hears of stores; see ram_trace */
	struct ram_own *own; /* ram.c's: dirty log, marking lock, sizes of the mappings */
};

enum {
	RAM_PAGE_CODE = 1,
	RAM_PAGE_LOG = 2,
	RAM_PAGE_ARMING = 4, /* ram.c's own: becoming RAM_PAGE_CODE; for a writer the same */
	RAM_PAGE_TRACE = 8,
};

/* Who stores to guest RAM beside a vCPU's instructions. */
enum ram_updater {
	RAM_BY_WALK,   /* a page walk: A and D bits */
	RAM_BY_DEVICE, /* DMA, and what the VMM writes by itself */
};

/*
 * For lockstep, which has to know what changes. updated: a store that no instruction made, after it, on any thread, under any
 * lock. stored: with all of RAM traced, each store that is made by who looks at the flags.
 */
struct ram_tracer {
	void (*updated)(void *opaque, uint64_t gpa, uint64_t len, enum ram_updater by);
	void (*stored)(void *opaque, uint64_t gpa, uint64_t len);
	void *opaque;
};

#define RAM_GRANULE 64u /* bytes of a page for each bit of granules[] */

/* The bits of granules[] for [off, off + len) of a page, cut at its end; len is at least 1. */
static inline uint64_t ram_granules(uint64_t off, uint64_t len)
{
	unsigned first = (unsigned)(off / RAM_GRANULE), last;

	last = (unsigned)((off + len > PAGE_SIZE ? PAGE_SIZE - 1 : off + len - 1) / RAM_GRANULE);
	return (~0ull >> (63 - (last - first))) << first;
}

#define RAM_HOLE_START 0xc0000000ull /* the PCI hole: 3 GiB to 4 GiB */
#define RAM_MAX_SIZE   (1ull << 40)

/*
 * Make RAM of `size` bytes (a multiple of 4 KiB, at least 1 MiB, at most RAM_MAX_SIZE); pages are
 * zero and take host memory when first touched. Errors: -EINVAL for the size, -ENOMEM and what the
 * host says when the mapping cannot be had, with advice.
 */
int ram_new(struct ram **out, uint64_t size, struct err *e);
void ram_free(struct ram *r);

/* Whether all of [gpa, gpa + len) is RAM; len 0 asks about the one address. No overflow for any input. */
static inline bool ram_contains(const struct ram *r, uint64_t gpa, uint64_t len)
{
	if (gpa < r->low_size)
		return len <= r->low_size - gpa;
	return gpa >= (1ull << 32) && gpa < r->end && len <= r->end - gpa;
}

static inline uint64_t ram_size(const struct ram *r)
{
	return r->low_size + r->high_size;
}

/* As ram_contains(), and true as well for memory of a chip that is shown in the hole (mem/slot.h). */
bool ram_backed(const struct ram *r, uint64_t gpa, uint64_t len);

/* The offset in the memfd of an address that is ram_backed(). */
uint64_t ram_file_offset(const struct ram *r, uint64_t gpa);

/*
 * Give the pages of [gpa, gpa + len), whole ones and ram_backed(), back to the host: they read as zero and take memory
 * again when they are next touched. Engines and the dirty log hear of it. -errno of fallocate(2).
 */
int ram_discard(struct ram *r, uint64_t gpa, uint64_t len);

/*
 * Called with the range when pieces that hold code are among what is written: for each page before its flag is cleared, and
 * once at the end. On the writer's thread, under any lock.
 */
void ram_set_listener(struct ram *r, void (*code_changed)(void *opaque, uint64_t gpa, uint64_t len),
		      void *opaque);

/*
 * Called before anybody reads bytes as code: an engine whose stores do not look at the flags makes sure in here that none
 * of them can still reach those unseen. page: their page gets RAM_PAGE_CODE, and a leaf lock is held; else it has
 * that, and what is left are stores beside its code that are under way (whoever has set the bits of their pieces).
 */
void ram_set_mark_listener(struct ram *r, void (*code_marked)(void *opaque, uint64_t gpa, bool page), void *opaque);

/*
 * Say that len bytes (at least 1) from gpa on, as far as they are in its page, are about to be read as code. Sets
 * RAM_PAGE_CODE and, when it was clear, issues membarrier(2) so that every writer on another thread either has its bytes
 * visible here or sees the flag. Returns the page's version from before.
 */
uint32_t ram_mark_code(struct ram *r, uint64_t gpa, uint64_t len);

/*
 * Read len bytes of a page's code from host on, by aligned words, as processors fetch: who changes an instruction's constant by one
 * aligned store is seen before it or after it.
 */
void ram_read_code(const uint8_t *host, uint8_t *out, unsigned len);

/* The slow part of a store to [gpa, gpa+len) whose page flags were non-zero: version, listener, dirty log. */
void ram_written(struct ram *r, uint64_t gpa, uint64_t len);

/*
 * What a writer calls after storing len bytes (at least 1) through a host pointer; inline because every
 * store does. The store must not move behind the look at the flags: a fence for the compiler here, and
 * for the CPU the membarrier of whoever sets a flag.
 */
static inline void ram_note_write(struct ram *r, uint64_t gpa, uint64_t len)
{
	uint64_t first = gpa >> PAGE_SHIFT, last = (gpa + len - 1) >> PAGE_SHIFT;

	atomic_signal_fence(memory_order_seq_cst);
	for (uint64_t p = first; p <= last; p++)
		if (__builtin_expect(atomic_load_explicit(&r->flags[p], memory_order_relaxed), 0))
			ram_written(r, gpa, len);
}

/* The same for who is no instruction. */
static inline void ram_note_update(struct ram *r, uint64_t gpa, uint64_t len, enum ram_updater by)
{
	ram_note_write(r, gpa, len);
	if (__builtin_expect(!!r->tracer, 0))
		r->tracer->updated(r->tracer->opaque, gpa, len, by);
}

/* Set the tracer, which stays as long as r, before anything runs. all: set RAM_PAGE_TRACE for all pages. */
void ram_trace(struct ram *r, const struct ram_tracer *t, bool all);

/*
 * Dirty log. Start: all pages count as clean. Fetch: copy one bit per page (page number of the
 * *guest-physical* address, so the hole has zero bits) into bitmap of ram_bitmap_bytes() and clear
 * the log. Safe while vCPUs run: a write is in this fetch or the next one, and whoever reads a page
 * after the fetch that named it sees every write which a later fetch will not name.
 * Start returns -EALREADY when the log is on, -ENOMEM when there is no memory for it.
 */
int ram_dirty_start(struct ram *r, struct err *e);
void ram_dirty_stop(struct ram *r);
uint64_t ram_bitmap_bytes(const struct ram *r);
void ram_dirty_fetch(struct ram *r, void *bitmap);

#endif
