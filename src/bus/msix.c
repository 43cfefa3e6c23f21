/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X: table, pending bits, masks.
 *
 * Specification: PCI Local Bus Specification 3.0, 6.8.2. The BAR has the table at 0 and the pending bits
 * behind the largest table.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "bus/msix.h"

#define CAP_ID        0x11
#define CAP_SIZE      12
#define CAP_CONTROL   2
#define CAP_TABLE     4
#define CAP_PBA       8
#define CONTROL_ENABLE 0x8000
#define CONTROL_MASK   0x4000
#define ENTRY_DATA    8
#define ENTRY_CONTROL 12
#define ENTRY_MASKED  1u
#define PBA_OFFSET    (MSIX_MAX_VECTORS * MSIX_ENTRY_SIZE)

static bool pending(const struct msix *m, unsigned v)
{
	return m->pba[v / 8] & BIT(v % 8);
}

static bool masked_locked(const struct msix *m, unsigned v)
{
	return m->masked || (m->table[v * MSIX_ENTRY_SIZE + ENTRY_CONTROL] & ENTRY_MASKED);
}

static void send_locked(struct msix *m, unsigned v)
{
	const uint8_t *entry = m->table + v * MSIX_ENTRY_SIZE;
	struct msi_msg msg = { get_le64(entry), get_le32(entry + ENTRY_DATA) };

	m->pba[v / 8] &= (uint8_t)~BIT(v % 8);
	msi_send(&m->sink, msg);
}

/* Masks may have gone: what waits can leave. */
static void flush_locked(struct msix *m)
{
	for (unsigned v = 0; v < m->vectors && m->enabled; v++)
		if (pending(m, v) && !masked_locked(m, v))
			send_locked(m, v);
}

bool msix_enabled(struct msix *m)
{
	bool on;

	lock_take(&m->lock);
	on = m->enabled;
	lock_drop(&m->lock);
	return on;
}

void msix_notify(struct msix *m, unsigned vector)
{
	if (vector >= m->vectors)
		return;
	lock_take(&m->lock);
	if (m->enabled && !masked_locked(m, vector))
		send_locked(m, vector);
	else if (m->enabled)
		m->pba[vector / 8] |= (uint8_t)BIT(vector % 8);
	lock_drop(&m->lock);
}

static uint64_t msix_read(void *opaque, uint64_t off, unsigned size)
{
	struct msix *m = opaque;
	uint64_t val = 0;

	lock_take(&m->lock);
	if (off + size <= m->vectors * MSIX_ENTRY_SIZE)
		memcpy(&val, m->table + off, size);
	else if (off >= PBA_OFFSET && off + size <= PBA_OFFSET + sizeof(m->pba))
		memcpy(&val, m->pba + off - PBA_OFFSET, size);
	lock_drop(&m->lock);
	return val;
}

static void msix_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct msix *m = opaque;

	lock_take(&m->lock);
	if (off + size <= m->vectors * MSIX_ENTRY_SIZE) {
		memcpy(m->table + off, &val, size);
		flush_locked(m);
	}
	lock_drop(&m->lock);
}

static const struct io_ops msix_io = { .read = msix_read, .write = msix_write, .min_size = 4 };

static void follow_control(struct msix *m)
{
	uint16_t control = get_le16(m->f->config + m->cap + CAP_CONTROL);

	lock_take(&m->lock);
	m->enabled = control & CONTROL_ENABLE;
	m->masked = control & CONTROL_MASK;
	flush_locked(m);
	lock_drop(&m->lock);
}

void msix_config_written(struct msix *m, unsigned off, unsigned size)
{
	unsigned control = m->cap + CAP_CONTROL;

	if (off < control + 2 && off + size > control)
		follow_control(m);
}

/* Every vector is masked after a reset. */
static void clear(struct msix *m)
{
	memset(m->table, 0, sizeof(m->table));
	memset(m->pba, 0, sizeof(m->pba));
	for (unsigned v = 0; v < m->vectors; v++)
		put_le32(m->table + v * MSIX_ENTRY_SIZE + ENTRY_CONTROL, ENTRY_MASKED);
}

void msix_reset(struct msix *m)
{
	lock_take(&m->lock);
	clear(m);
	m->enabled = m->masked = false;
	lock_drop(&m->lock);
}

int msix_post_load(struct msix *m)
{
	for (unsigned v = m->vectors; v < MSIX_MAX_VECTORS; v++)
		if (pending(m, v))
			return -EINVAL;
	follow_control(m);
	return 0;
}

void msix_init(struct msix *m, struct pci_function *f, unsigned bar, unsigned vectors, struct msi_sink sink)
{
	const struct pci_bar desc = {
		.type = PCI_BAR_MEM32, .size = MSIX_BAR_SIZE, .name = "msix", .ops = &msix_io, .opaque = m,
	};

	BUG_ON(!vectors || vectors > MSIX_MAX_VECTORS);
	m->f = f;
	m->sink = sink;
	m->vectors = vectors;
	lock_init(&m->lock, RANK_MSIX);
	clear(m);
	pci_add_bar(f, bar, &desc);
	m->cap = pci_add_capability(f, CAP_ID, CAP_SIZE);
	put_le16(f->config + m->cap + CAP_CONTROL, (uint16_t)(vectors - 1));
	put_le16(f->writable + m->cap + CAP_CONTROL, CONTROL_ENABLE | CONTROL_MASK);
	put_le32(f->config + m->cap + CAP_TABLE, bar);
	put_le32(f->config + m->cap + CAP_PBA, PBA_OFFSET | bar);
}

void msix_release(struct msix *m)
{
	lock_release(&m->lock);
}
