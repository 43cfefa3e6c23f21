/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Access of devices and loaders to guest RAM: all or nothing, whatever address the guest gave them. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include "base/bits.h"
#include "mem/view.h"

#define WORD sizeof(uint64_t)

/* An aligned access of 2 or 4 bytes in one piece, as CPUs make them; false: it is not one. */
static bool copy_whole_from(void *to, const uint8_t *guest, size_t len)
{
	if ((uintptr_t)guest & (len - 1))
		return false;
	if (len == 4) {
		uint32_t v = __atomic_load_n((const uint32_t *)(const void *)guest, __ATOMIC_RELAXED);

		memcpy(to, &v, sizeof(v));
	} else if (len == 2) {
		uint16_t v = __atomic_load_n((const uint16_t *)(const void *)guest, __ATOMIC_RELAXED);

		memcpy(to, &v, sizeof(v));
	}
	return len == 4 || len == 2;
}

static bool copy_whole_to(uint8_t *guest, const void *from, size_t len)
{
	uint32_t v4;
	uint16_t v2;

	if ((uintptr_t)guest & (len - 1))
		return false;
	if (len == 4) {
		memcpy(&v4, from, sizeof(v4));
		__atomic_store_n((uint32_t *)(void *)guest, v4, __ATOMIC_RELAXED);
	} else if (len == 2) {
		memcpy(&v2, from, sizeof(v2));
		__atomic_store_n((uint16_t *)(void *)guest, v2, __ATOMIC_RELAXED);
	}
	return len == 4 || len == 2;
}

/* How many bytes go before the next word boundary of the guest's side. */
static size_t head_of(const uint8_t *guest, size_t len)
{
	return MIN(-(uintptr_t)guest & (WORD - 1), len);
}

void guest_copy_from(void *to, const uint8_t *guest, size_t len)
{
	uint8_t *out = to;
	size_t head = head_of(guest, len);

	if (copy_whole_from(to, guest, len))
		return;
	for (len -= head; head; head--)
		*out++ = __atomic_load_n(guest++, __ATOMIC_RELAXED);
	for (; len >= WORD; len -= WORD, out += WORD, guest += WORD) {
		uint64_t word = __atomic_load_n((const uint64_t *)(const void *)guest, __ATOMIC_RELAXED);

		memcpy(out, &word, WORD);
	}
	for (; len; len--)
		*out++ = __atomic_load_n(guest++, __ATOMIC_RELAXED);
}

void guest_copy_to(uint8_t *guest, const void *from, size_t len)
{
	const uint8_t *in = from;
	size_t head = head_of(guest, len);

	if (copy_whole_to(guest, from, len))
		return;
	for (len -= head; head; head--)
		__atomic_store_n(guest++, *in++, __ATOMIC_RELAXED);
	for (; len >= WORD; len -= WORD, in += WORD, guest += WORD) {
		uint64_t word;

		memcpy(&word, in, WORD);
		__atomic_store_n((uint64_t *)(void *)guest, word, __ATOMIC_RELAXED);
	}
	for (; len; len--)
		__atomic_store_n(guest++, *in++, __ATOMIC_RELAXED);
}

/*
 * The stretch of RAM at gpa and how many of len bytes it holds; 0 when there is none that this access
 * may use. A space ends below 2^63, so gpa + length cannot overflow.
 */
static size_t ram_here(struct space *s, uint64_t gpa, size_t len, bool write, struct stretch *st)
{
	if (!space_lookup(s, gpa, st) || !st->ram || (write && st->readonly))
		return 0;
	return MIN(len, st->end - gpa);
}

static bool all_ram(struct space *s, uint64_t gpa, size_t len, bool write)
{
	struct stretch st;
	size_t n;

	for (; len; gpa += n, len -= n) {
		n = ram_here(s, gpa, len, write, &st);
		if (!n)
			return false;
	}
	return true;
}

/*
 * The range was looked at as a whole before; should another vCPU change the map right now, the transfer
 * ends where the RAM has gone, as it would on a bus.
 */
int space_dma_read(struct space *s, uint64_t gpa, void *buf, size_t len)
{
	struct stretch st;
	uint8_t *to = buf;
	size_t n;

	if (!all_ram(s, gpa, len, false))
		return -EFAULT;
	for (; len; gpa += n, to += n, len -= n) {
		n = ram_here(s, gpa, len, false, &st);
		if (!n)
			return -EFAULT;
		guest_copy_from(to, st.ram->base + gpa, n);
	}
	return 0;
}

int space_dma_write(struct space *s, uint64_t gpa, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	struct stretch st;
	size_t n;

	if (!all_ram(s, gpa, len, true))
		return -EFAULT;
	for (; len; gpa += n, from += n, len -= n) {
		n = ram_here(s, gpa, len, true, &st);
		if (!n)
			return -EFAULT;
		guest_copy_to(st.ram->base + gpa, from, n);
		ram_note_update(st.ram, gpa, n, RAM_BY_DEVICE);
	}
	return 0;
}

int space_dma_map(struct space *s, uint64_t gpa, uint64_t len, bool write, struct iovec *iov, unsigned max)
{
	struct stretch st;
	unsigned count = 0;
	size_t n;

	for (; len; gpa += n, len -= n) {
		n = ram_here(s, gpa, len, write, &st);
		if (!n)
			return -EFAULT;
		if (count == max)
			return -E2BIG;
		iov[count++] = (struct iovec){ st.ram->base + gpa, n };
	}
	return (int)count;
}

void space_dma_wrote(struct space *s, uint64_t gpa, uint64_t len)
{
	struct stretch st;
	size_t n;

	for (; len; gpa += n, len -= n) {
		/* What the map has become since does not matter: the bytes were stored. */
		if (!space_lookup(s, gpa, &st) || !st.ram)
			return;
		n = MIN(len, st.end - gpa);
		ram_note_update(st.ram, gpa, n, RAM_BY_DEVICE);
	}
}

uint64_t space_dma_discard(struct space *s, uint64_t gpa, uint64_t len)
{
	uint64_t end, given = 0;
	struct stretch st;

	if (__builtin_add_overflow(gpa, len, &end))
		return 0;
	end = ALIGN_DOWN(end, PAGE_SIZE);
	for (gpa = ALIGN_UP(gpa, PAGE_SIZE); gpa < end;) {
		size_t n = ram_here(s, gpa, end - gpa, true, &st);

		/* Pages that are partly something else stay as they are. */
		n = ALIGN_DOWN(n, PAGE_SIZE);
		if (!n)
			return given;
		if (!ram_discard(st.ram, gpa, n))
			given += n;
		gpa += n;
	}
	return given;
}
