/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slots of memory in the PCI hole: parts of the RAM's memfd mapped where the guest's registers put them. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "base/bits.h"
#include "mem/slot.h"
#include "mem/slots.h"
#include "mem/view.h"

void ram_slots_init(struct ram_slots *t, struct ram *r)
{
	lock_init(&t->lock, RANK_LEAF);
	t->ram = r;
}

void ram_slots_release(struct ram_slots *t)
{
	for (unsigned i = 0; i < t->n; i++)
		munmap(t->slot[i].host, t->slot[i].size);
	lock_release(&t->lock);
}

/* The slot that holds gpa, NULL for none. */
static const struct ram_slot *find(const struct ram_slots *t, uint64_t gpa)
{
	unsigned n = atomic_load(&t->n);

	for (unsigned i = 0; i < n; i++) {
		uint64_t at = atomic_load(&t->slot[i].gpa);

		if (at != RAM_SLOT_NOWHERE && gpa >= at && gpa - at < t->slot[i].size)
			return &t->slot[i];
	}
	return NULL;
}

bool ram_slots_contain(const struct ram_slots *t, uint64_t gpa, uint64_t len)
{
	const struct ram_slot *s = find(t, gpa);

	return s && len <= s->size - (gpa - atomic_load(&s->gpa));
}

uint64_t ram_slots_offset(const struct ram_slots *t, uint64_t gpa)
{
	const struct ram_slot *s = find(t, gpa);

	/* One that has just moved away: any of its bytes will do for who has not yet heard. */
	return s ? s->file_off + (gpa - atomic_load(&s->gpa)) : ram_size(t->ram);
}

int ram_slot_new(struct ram_slot **out, struct ram *r, uint64_t size, struct err *e)
{
	struct ram_slots *t = ram_slots(r);
	struct ram_slot *s = &t->slot[t->n];
	void *host;

	*out = NULL;
	BUG_ON(!size || size % PAGE_SIZE);
	if (t->n == RAM_SLOTS || size > RAM_SLOT_SPACE - t->used)
		return err_set(e, ENOSPC, "memory on chips: %llu MiB more is too much; there are %llu MiB for at most %d chips",
			       (unsigned long long)(size / MiB), (unsigned long long)(RAM_SLOT_SPACE / MiB), RAM_SLOTS);
	host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, r->memfd,
		    (off_t)(ram_size(r) + t->used));
	if (host == MAP_FAILED)
		return err_set(e, errno, "memory on chips: no address space for %llu MiB: %s",
			       (unsigned long long)(size / MiB), strerror(errno));
	s->table = t;
	s->size = size;
	s->file_off = ram_size(r) + t->used;
	s->host = host;
	atomic_store(&s->gpa, RAM_SLOT_NOWHERE);
	t->used += size;
	atomic_fetch_add(&t->n, 1);
	*out = s;
	return 0;
}

uint8_t *ram_slot_host(const struct ram_slot *s)
{
	return s->host;
}

uint64_t ram_slot_size(const struct ram_slot *s)
{
	return s->size;
}

uint64_t ram_slot_where(const struct ram_slot *s)
{
	return atomic_load(&s->gpa);
}

void ram_slot_read(const struct ram_slot *s, uint64_t off, void *buf, size_t len)
{
	BUG_ON(off > s->size || len > s->size - off);
	guest_copy_from(buf, s->host + off, len);
}

void ram_slot_wrote(const struct ram_slot *s, uint64_t off, uint64_t len)
{
	uint64_t gpa = atomic_load_explicit(&s->gpa, memory_order_relaxed);

	if (gpa != RAM_SLOT_NOWHERE)
		ram_note_update(s->table->ram, gpa + off, len, RAM_BY_DEVICE);
}

/* Whoever holds code of these pages drops it; flags that the former owner of the place left behind go. */
static void forget_code(struct ram *r, uint64_t gpa, uint64_t size)
{
	for (uint64_t end = gpa + size; gpa < end; gpa += PAGE_SIZE)
		if (atomic_load(&r->flags[gpa >> PAGE_SHIFT]))
			ram_written(r, gpa, PAGE_SIZE);
}

static int check_place(const struct ram_slot *s, uint64_t gpa)
{
	const struct ram_slots *t = s->table;

	if (gpa % PAGE_SIZE || gpa < t->ram->low_size || gpa > 4 * GiB || s->size > 4 * GiB - gpa)
		return -EINVAL;
	for (unsigned i = 0; i < t->n; i++) {
		const struct ram_slot *other = &t->slot[i];
		uint64_t at = atomic_load(&other->gpa);

		if (other != s && at != RAM_SLOT_NOWHERE && gpa < at + other->size && at < gpa + s->size)
			return -EBUSY;
	}
	return 0;
}

static int show_locked(struct ram_slot *s, uint64_t gpa)
{
	struct ram *r = s->table->ram;
	int rc = gpa == RAM_SLOT_NOWHERE ? 0 : check_place(s, gpa);

	if (rc)
		return rc;
	if (gpa != RAM_SLOT_NOWHERE && mmap(r->base + gpa, s->size, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_NORESERVE | MAP_FIXED, r->memfd,
					    (off_t)s->file_off) == MAP_FAILED)
		return -errno;
	atomic_store(&s->gpa, gpa);
	return 0;
}

int ram_slot_show(struct ram_slot *s, uint64_t gpa)
{
	struct ram *r = s->table->ram;
	uint64_t before = atomic_load(&s->gpa);
	int rc;

	if (gpa == before)
		return 0;
	lock_take(&s->table->lock);
	rc = show_locked(s, gpa);
	lock_drop(&s->table->lock);
	if (rc)
		return rc;
	if (before != RAM_SLOT_NOWHERE)
		forget_code(r, before, s->size);
	if (gpa != RAM_SLOT_NOWHERE)
		forget_code(r, gpa, s->size);
	return 0;
}
