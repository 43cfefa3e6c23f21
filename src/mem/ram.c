/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM, and the protocol by which writers of RAM tell those who cached its contents.
 *
 * A writer stores its bytes and then looks at the page's flags, without any fence between: the store
 * may still be in its CPU's store buffer when the flags are read. Nearly all stores of a guest come
 * this way, so the price is paid by the rare other side: whoever sets a flag issues membarrier(2),
 * which puts a full barrier into the run of every other thread of the process. A writer whose look at
 * the flags came before that barrier has its bytes visible after it; any other sees the flag.
 *
 * Code. Requirements:
 *   1. Who marked a page, read its bytes and still finds the version of before, has the newest bytes.
 *   2. A writer that has returned from ram_note_write() has moved the version of every page that was
 *      marked before its store; on its own thread at least it will not run what it has overwritten.
 * The marker reads the version, sets the flag, lets the barrier happen and then reads the bytes. The
 * writer bumps the version, clears the flag, and bumps the version again:
 *   - were the flag cleared last, a marker between the bump and the clearing would take the new
 *     version and find the flag still set, yet the next writer would find it clear and say nothing;
 *   - were the version bumped last only, a second writer that finds the flag cleared by the first one
 *     could go on before the first one's bump, against requirement 2.
 * The pieces. A writer that sees the flag looks at granules[] behind a full fence (the atomic operation that reads it), a marker sets
 * its bits before it looks at the flag: either the marker reads the new bytes or the writer finds the bits. Writes beside them
 * change nothing. The bits are cleared with the flag, between the two bumps: a marker whose bits that takes away has the version
 * from before the last bump, and its code is as stale as the rest of the page's.
 *
 * The listener hears twice: before the flag is cleared, so that who finds it clear finds the request to drop what is stale, too, and
 * after the last bump, for code that was cached between the two.
 *
 * A second marker may skip the barrier only when the flag it sees has its barrier behind it. So the
 * first marker sets RAM_PAGE_ARMING, which writers treat as the flag, and turns it into RAM_PAGE_CODE
 * after the barrier, if no writer has cleared it in the meantime. Markers exclude each other by a lock,
 * or one could promote the ARMING that belongs to another's unfinished barrier.
 *
 * Dirty log. RAM_PAGE_LOG is set while a page's next write must be noted. The writer clears the flag and
 * then sets the page's bit (C, M); the fetch takes the bits, sets the flag again for those it took, and
 * issues a barrier (T, S, B). What must never happen is flag clear and bit clear with no M or S to come:
 *   - the flag is cleared only by C, and M follows;  a bit is taken only by T, and S follows;
 *   - in the order S, T a writer's C and M could both fall between them, and its page would be lost;
 *     in the order M, C the fetch's T and S could, with the same end.
 * A write that found the flag clear between T and S is in front of B, hence seen by who reads the page
 * after this fetch, which names it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/bits.h"
#include "base/lock.h"
#include "mem/ram.h"
#include "mem/slots.h"

#define RAM_MIN_SIZE   MiB
#define HIGH_START     (4 * GiB)
#define GUARD          (64 * KiB) /* behind the last byte, against our own off-by-ones */
#define BITS_PER_WORD  64
#define LOG_EVERYWHERE (RAM_PAGE_LOG * 0x0101010101010101ull) /* the flags of eight pages */

struct ram_own {
	struct lock mark_lock; /* RANK_LEAF: one marker at a time */
	struct lock log_lock;  /* RANK_LEAF: start, stop and fetch exclude each other */
	bool log_on;           /* log_lock */
	_Atomic uint64_t *bitmap; /* one bit per page; from the first start on, until ram_free */
	size_t reserved, flags_bytes, version_bytes, granules_bytes, bitmap_bytes;
	int barrier; /* membarrier command */
	struct ram_slots slots;
};

/* The hole is always part of it. */
static uint64_t page_count(const struct ram *r)
{
	return MAX(r->end, HIGH_START) >> PAGE_SHIFT;
}

struct ram_slots *ram_slots(const struct ram *r)
{
	return &r->own->slots;
}

bool ram_backed(const struct ram *r, uint64_t gpa, uint64_t len)
{
	return ram_contains(r, gpa, len) || ram_slots_contain(&r->own->slots, gpa, len);
}

uint64_t ram_file_offset(const struct ram *r, uint64_t gpa)
{
	if (gpa < r->low_size)
		return gpa;
	return gpa >= HIGH_START ? gpa - HIGH_START + r->low_size : ram_slots_offset(&r->own->slots, gpa);
}

/* -- The barrier ------------------------------------------------------------------------------ */

static int membarrier(int cmd)
{
	return (int)syscall(SYS_membarrier, cmd, 0u, 0);
}

/*
 * The expedited command interrupts the CPUs that run us, microseconds; the global one waits until each
 * CPU has passed through the scheduler, milliseconds, but is just as right. (No trick by mprotect: its
 * TLB shootdown is not an interrupt on CPUs that broadcast invalidations.)
 */
static int barrier_init(struct ram_own *own, struct err *e)
{
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0)
		own->barrier = MEMBARRIER_CMD_PRIVATE_EXPEDITED;
	else if (membarrier(MEMBARRIER_CMD_GLOBAL) == 0)
		own->barrier = MEMBARRIER_CMD_GLOBAL;
	else
		return err_set(e, errno,
			       "guest RAM: membarrier(2): %s: it takes Linux 4.14 and a "
			       "seccomp profile that allows it",
			       strerror(errno));
	return 0;
}

static void barrier(const struct ram *r)
{
	int rc = membarrier(r->own->barrier);

	BUG_ON(rc != 0);
}

/* -- Making and freeing ------------------------------------------------------------------------ */

static void *map_sparse(size_t bytes)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(uintptr_t p, size_t bytes)
{
	if (p)
		munmap((void *)p, bytes);
}

static int make_memfd(struct ram *r, struct err *e)
{
	r->memfd = memfd_create("doppel-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->memfd < 0)
		return err_set(e, errno, "guest RAM: memfd_create: %s", strerror(errno));
	/* Sealed: a shrunk file would turn guest accesses into our SIGBUS. */
	if (ftruncate(r->memfd, (off_t)(ram_size(r) + RAM_SLOT_SPACE)) < 0 ||
	    fcntl(r->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		return err_set(e, errno,
			       "guest RAM: a memory file of %llu MiB: %s: try a smaller --memory, or a "
			       "higher limit of file size (ulimit -f)",
			       (unsigned long long)(ram_size(r) / MiB), strerror(errno));
	return 0;
}

static bool map_part(const struct ram *r, uint64_t gpa, uint64_t len)
{
	return !len ||
	       mmap(r->base + gpa, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
		    r->memfd, (off_t)ram_file_offset(r, gpa)) != MAP_FAILED;
}

static int map_all(struct ram *r, struct err *e)
{
	struct ram_own *own = r->own;
	void *base;

	own->reserved = (page_count(r) << PAGE_SHIFT) + GUARD;
	own->flags_bytes = ALIGN_UP(page_count(r), PAGE_SIZE);
	own->version_bytes = own->flags_bytes * sizeof(*r->version);
	own->granules_bytes = own->flags_bytes * sizeof(*r->granules);
	own->bitmap_bytes = ram_bitmap_bytes(r);
	base = mmap(NULL, own->reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		goto fail;
	r->base = base;
	if (!map_part(r, 0, r->low_size) || !map_part(r, HIGH_START, r->high_size))
		goto fail;
	r->flags = map_sparse(own->flags_bytes);
	r->version = map_sparse(own->version_bytes);
	r->granules = map_sparse(own->granules_bytes);
	if (!r->flags || !r->version || !r->granules)
		goto fail;
	return 0;
fail:
	return err_set(e, errno,
		       "guest RAM: no address space for %llu MiB: %s: try a smaller --memory, or a higher "
		       "limit of virtual memory (ulimit -v)",
		       (unsigned long long)(ram_size(r) / MiB), strerror(errno));
}

int ram_new(struct ram **out, uint64_t size, struct err *e)
{
	struct ram *r;
	int rc;

	if (size % PAGE_SIZE || size < RAM_MIN_SIZE || size > RAM_MAX_SIZE)
		return err_set(e, EINVAL,
			       "guest RAM: %llu bytes is not a size: take a multiple of 4 KiB from 1 MiB "
			       "to 1 TiB",
			       (unsigned long long)size);
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, ENOMEM, "guest RAM: out of memory");
	r->own = calloc(1, sizeof(*r->own));
	if (!r->own) {
		free(r);
		return err_set(e, ENOMEM, "guest RAM: out of memory");
	}
	lock_init(&r->own->mark_lock, RANK_LEAF);
	lock_init(&r->own->log_lock, RANK_LEAF);
	ram_slots_init(&r->own->slots, r);
	r->low_size = MIN(size, RAM_HOLE_START);
	r->high_size = size - r->low_size;
	r->end = r->high_size ? HIGH_START + r->high_size : r->low_size;
	r->memfd = -1;
	rc = barrier_init(r->own, e);
	if (!rc)
		rc = make_memfd(r, e);
	if (!rc)
		rc = map_all(r, e);
	if (rc) {
		ram_free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void ram_free(struct ram *r)
{
	struct ram_own *own;

	if (!r)
		return;
	own = r->own;
	ram_slots_release(&own->slots);
	unmap((uintptr_t)r->base, own->reserved);
	unmap((uintptr_t)r->flags, own->flags_bytes);
	unmap((uintptr_t)r->version, own->version_bytes);
	unmap((uintptr_t)r->granules, own->granules_bytes);
	unmap((uintptr_t)own->bitmap, own->bitmap_bytes);
	if (r->memfd >= 0)
		close(r->memfd);
	lock_release(&own->mark_lock);
	lock_release(&own->log_lock);
	free(own);
	free(r);
}

int ram_discard(struct ram *r, uint64_t gpa, uint64_t len)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (fallocate(r->memfd, mode, (off_t)ram_file_offset(r, gpa), (off_t)len))
		return -errno;
	ram_note_write(r, gpa, len);
	return 0;
}

/* -- Code pages ---------------------------------------------------------------------------------- */

void ram_set_listener(struct ram *r, void (*code_changed)(void *opaque, uint64_t gpa, uint64_t len),
		      void *opaque)
{
	r->code_changed = code_changed;
	r->opaque = opaque;
}

void ram_set_mark_listener(struct ram *r, void (*code_marked)(void *opaque, uint64_t gpa, bool page), void *opaque)
{
	r->code_marked = code_marked;
	r->mark_opaque = opaque;
}

uint32_t ram_mark_code(struct ram *r, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa >> PAGE_SHIFT, granules = ram_granules(gpa & (PAGE_SIZE - 1), len);
	uint32_t version = atomic_load(&r->version[page]);
	uint8_t flags;

	if ((atomic_load(&r->granules[page]) & granules) != granules)
		atomic_fetch_or(&r->granules[page], granules);
	if (atomic_load(&r->flags[page]) & RAM_PAGE_CODE) {
		if (r->code_marked)
			r->code_marked(r->mark_opaque, gpa, false);
		return version;
	}
	lock_take(&r->own->mark_lock);
	atomic_fetch_or(&r->flags[page], RAM_PAGE_ARMING);
	barrier(r);
	if (r->code_marked)
		r->code_marked(r->mark_opaque, gpa, true);
	flags = atomic_load(&r->flags[page]);
	while ((flags & RAM_PAGE_ARMING) &&
	       !atomic_compare_exchange_weak(&r->flags[page], &flags,
					     (uint8_t)((flags & ~RAM_PAGE_ARMING) | RAM_PAGE_CODE)))
		;
	lock_drop(&r->own->mark_lock);
	return version;
}

/* -- Writes to flagged pages ----------------------------------------------------------------------- */

static void note_dirty(struct ram *r, uint64_t page)
{
	_Atomic uint64_t *bitmap = r->own->bitmap;

	atomic_fetch_and(&r->flags[page], (uint8_t)~RAM_PAGE_LOG);
	atomic_fetch_or(&bitmap[page / BITS_PER_WORD], BIT(page % BITS_PER_WORD));
}

static void tell(struct ram *r, uint64_t gpa, uint64_t len)
{
	if (r->code_changed)
		r->code_changed(r->opaque, gpa, len);
}

/* Whether code is among the bytes of [gpa, gpa + len) that are in this page. */
static bool code_written(struct ram *r, uint64_t page, uint64_t gpa, uint64_t len)
{
	uint64_t start = page << PAGE_SHIFT, from = MAX(gpa, start), to = MIN(gpa + len, start + PAGE_SIZE);

	return atomic_fetch_or(&r->granules[page], 0) & ram_granules(from - start, to - from);
}

void ram_read_code(const uint8_t *host, uint8_t *out, unsigned len)
{
	for (unsigned i = 0, n; i < len; i += n) {
		const unsigned skip = (uintptr_t)(host + i) & 7;
		uint64_t word;

		/* Guests' races are not the thread sanitizer's business. */
		__asm__ volatile("movq %1, %0" : "=r"(word) : "m"(*(const uint64_t *)(const void *)(host + i - skip)));
		n = MIN(8 - skip, len - i);
		if (n == 8)
			memcpy(out + i, &word, 8);
		else
			memcpy(out + i, (const uint8_t *)&word + skip, n);
	}
}

void ram_written(struct ram *r, uint64_t gpa, uint64_t len)
{
	const uint8_t code = RAM_PAGE_CODE | RAM_PAGE_ARMING;
	uint64_t last = (gpa + len - 1) >> PAGE_SHIFT;
	bool code_hit = false, traced = false;

	for (uint64_t page = gpa >> PAGE_SHIFT; page <= last; page++) {
		uint8_t flags = atomic_load(&r->flags[page]);

		traced |= (flags & RAM_PAGE_TRACE) != 0;
		if (flags & RAM_PAGE_LOG)
			note_dirty(r, page);
		if ((flags & code) && code_written(r, page, gpa, len)) {
			atomic_fetch_add(&r->version[page], 1);
			tell(r, gpa, len);
			atomic_fetch_and(&r->flags[page], (uint8_t)~code);
			atomic_store(&r->granules[page], 0);
			atomic_fetch_add(&r->version[page], 1);
			code_hit = true;
		}
	}
	if (traced)
		r->tracer->stored(r->tracer->opaque, gpa, len);
	if (code_hit)
		tell(r, gpa, len);
}

void ram_trace(struct ram *r, const struct ram_tracer *t, bool all)
{
	r->tracer = t;
	for (uint64_t page = 0; all && page < page_count(r); page++)
		atomic_fetch_or(&r->flags[page], RAM_PAGE_TRACE);
}

/* -- Dirty log ---------------------------------------------------------------------------------------- */

uint64_t ram_bitmap_bytes(const struct ram *r)
{
	return ALIGN_UP(page_count(r), BITS_PER_WORD) / 8;
}

/* Set or clear RAM_PAGE_LOG for the pages of [start, end), eight at a time where it can. */
static void log_flags(struct ram *r, uint64_t start, uint64_t end, bool on)
{
	uint64_t page = start >> PAGE_SHIFT, last = end >> PAGE_SHIFT;

	for (; page + 8 <= last; page += 8) {
		uint64_t *word = (uint64_t *)((uintptr_t)r->flags + page);

		if (on)
			__atomic_fetch_or(word, LOG_EVERYWHERE, __ATOMIC_SEQ_CST);
		else if (__atomic_load_n(word, __ATOMIC_RELAXED))
			__atomic_fetch_and(word, ~LOG_EVERYWHERE, __ATOMIC_SEQ_CST);
	}
	for (; page < last; page++) {
		if (on)
			atomic_fetch_or(&r->flags[page], RAM_PAGE_LOG);
		else
			atomic_fetch_and(&r->flags[page], (uint8_t)~RAM_PAGE_LOG);
	}
}

static int log_on_locked(struct ram *r, struct err *e)
{
	struct ram_own *own = r->own;

	if (own->log_on)
		return err_set(e, EALREADY, "dirty log: it is already on");
	if (!own->bitmap)
		own->bitmap = map_sparse(own->bitmap_bytes);
	if (!own->bitmap)
		return err_set(e, ENOMEM, "dirty log: out of memory");
	/* A writer that was late at the last stop may have left a bit. */
	for (uint64_t i = 0; i < own->bitmap_bytes / sizeof(uint64_t); i++)
		if (atomic_load_explicit(&own->bitmap[i], memory_order_relaxed))
			atomic_store(&own->bitmap[i], 0);
	own->log_on = true;
	log_flags(r, 0, r->low_size, true);
	if (r->high_size)
		log_flags(r, HIGH_START, r->end, true);
	barrier(r);
	return 0;
}

int ram_dirty_start(struct ram *r, struct err *e)
{
	int rc;

	lock_take(&r->own->log_lock);
	rc = log_on_locked(r, e);
	lock_drop(&r->own->log_lock);
	return rc;
}

void ram_dirty_stop(struct ram *r)
{
	lock_take(&r->own->log_lock);
	log_flags(r, 0, r->low_size, false);
	if (r->high_size)
		log_flags(r, HIGH_START, r->end, false);
	r->own->log_on = false;
	lock_drop(&r->own->log_lock);
}

void ram_dirty_fetch(struct ram *r, void *bitmap)
{
	struct ram_own *own = r->own;
	uint64_t words = own->bitmap_bytes / sizeof(uint64_t);

	memset(bitmap, 0, own->bitmap_bytes);
	lock_take(&own->log_lock);
	for (uint64_t i = 0; own->log_on && i < words; i++) {
		uint64_t bits = 0;

		if (atomic_load_explicit(&own->bitmap[i], memory_order_relaxed))
			bits = atomic_exchange(&own->bitmap[i], 0);
		memcpy((uint8_t *)bitmap + i * sizeof(bits), &bits, sizeof(bits));
		for (; bits; bits &= bits - 1)
			atomic_fetch_or(&r->flags[i * BITS_PER_WORD + (unsigned)__builtin_ctzll(bits)],
					RAM_PAGE_LOG);
	}
	if (own->log_on)
		barrier(r);
	lock_drop(&own->log_lock);
}
