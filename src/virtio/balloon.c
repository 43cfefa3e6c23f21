/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio memory balloon.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.5.
 * Missing: free page hints (for migration), page poison. Queues are numbered as Linux does, without gaps for
 * what was not negotiated.
 *
 * Pages come as lists of numbers in no useful order; they are sorted and given back in runs, because each
 * run is a system call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "virtio/balloon.h"

#define F_STATS          BIT(1)
#define F_DEFLATE_ON_OOM BIT(2)
#define F_REPORTING      BIT(5)

enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_COUNT = 4 };
enum { CFG_NUM_PAGES = 0, CFG_ACTUAL = 4, CFG_SIZE = 16 };

#define BALLOON_SHIFT 12   /* 5.5.6: pages are 4 KiB always */
#define BATCH         1024 /* page numbers that are sorted at once */
#define STAT_SIZE     10   /* le16 tag, le64 value */
#define SECOND        1000000000ull

struct virtio_balloon {
	struct virtio_device vd;
	struct clock *clock;
	uint32_t num_pages, actual;     /* vd.lock */
	struct vq_chain *stats_chain;   /* that queue's lock: the buffer that waits for us to ask */
	struct virtio_balloon_stats stats; /* that queue's lock */
	uint64_t interval_ns;
	struct timer timer;
	_Atomic uint64_t inflated, reported; /* bytes given back to the host so far */
};

/* -- Pages ----------------------------------------------------------------------------------------------- */

static int compare_pfn(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void give_back(struct virtio_balloon *b, uint32_t *pfn, size_t n)
{
	qsort(pfn, n, sizeof(*pfn), compare_pfn);
	for (size_t i = 0, run; i < n; i += run) {
		for (run = 1; i + run < n && pfn[i + run] - pfn[i] <= run; run++)
			;
		b->inflated += space_dma_discard(b->vd.mem, (uint64_t)pfn[i] << BALLOON_SHIFT,
						 ((uint64_t)(pfn[i + run - 1] - pfn[i]) + 1) << BALLOON_SHIFT);
	}
}

static void inflate(struct virtio_balloon *b, const struct vq_chain *c)
{
	uint32_t pfn[BATCH];
	size_t off = 0, len;

	while ((len = sg_read(c->out, c->n_out, off, pfn, sizeof(pfn))) >= sizeof(pfn[0])) {
		give_back(b, pfn, len / sizeof(pfn[0]));
		off += len;
	}
}

/* Free page reporting: the buffers are the free pages themselves. */
static void report(struct virtio_balloon *b, const struct vq_chain *c)
{
	for (unsigned i = 0; i < c->n_seg; i++)
		b->reported += space_dma_discard(b->vd.mem, c->seg[i].gpa, c->seg[i].len);
}

/* -- Statistics ------------------------------------------------------------------------------------------ */

static void read_stats(struct virtio_balloon *b, const struct vq_chain *c)
{
	uint64_t *slots = (uint64_t *)&b->stats;
	uint8_t entry[STAT_SIZE];

	memset(&b->stats, 0xff, sizeof(b->stats));
	for (size_t off = 0; off < BATCH * STAT_SIZE; off += STAT_SIZE) {
		if (sg_read(c->out, c->n_out, off, entry, STAT_SIZE) < STAT_SIZE)
			return;
		if (get_le16(entry) < sizeof(b->stats) / sizeof(*slots))
			slots[get_le16(entry)] = get_le64(entry + 2);
	}
}

/* Give the buffer back: the driver fills it anew. */
static void ask_for_stats(struct virtio_balloon *b)
{
	struct virtqueue *vq = &b->vd.vq[Q_STATS];

	lock_take(&vq->lock);
	if (b->stats_chain && vq->running) {
		vq_push(b->stats_chain, 0);
		b->stats_chain = NULL;
	}
	lock_drop(&vq->lock);
}

static void on_timer(void *opaque)
{
	struct virtio_balloon *b = opaque;

	ask_for_stats(b);
	timer_arm(&b->timer, clock_now(b->clock) + b->interval_ns);
}

static void take_stats(struct virtio_balloon *b, struct vq_chain *c)
{
	read_stats(b, c);
	if (b->stats_chain) /* 5.5.6.3: there is one buffer at a time; whoever sends more gets it back */
		vq_push(b->stats_chain, 0);
	b->stats_chain = c;
}

/* -- Queues ---------------------------------------------------------------------------------------------- */

static bool balloon_process(struct virtio_device *vd, struct virtqueue *vq)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;
	bool stats = vq->index == Q_STATS && virtio_has(vd, F_STATS);

	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *c = vq_pop(vq);

		if (!c)
			return false;
		if (stats) {
			take_stats(b, c);
			continue;
		}
		if (vq->index == Q_INFLATE)
			inflate(b, c);
		else if (vq->index >= Q_STATS)
			report(b, c);
		vq_push(c, 0);
	}
	return true;
}

static void balloon_config_read(struct virtio_device *vd, uint8_t *buf)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;

	put_le32(buf + CFG_NUM_PAGES, b->num_pages);
	put_le32(buf + CFG_ACTUAL, b->actual);
}

static void balloon_config_write(struct virtio_device *vd, unsigned off, unsigned size, uint64_t val)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;

	if (off == CFG_ACTUAL && size == 4)
		b->actual = (uint32_t)val;
}

static void balloon_reset(struct virtio_device *vd)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;
	struct virtqueue *vq = &vd->vq[Q_STATS];

	b->actual = 0;
	lock_take(&vq->lock);
	if (b->stats_chain)
		vq_drop(b->stats_chain);
	b->stats_chain = NULL;
	lock_drop(&vq->lock);
}

/* A buffer that waits for a question would be lost to a snapshot: it is as if it were not taken yet. */
static void balloon_drain(struct virtio_device *vd)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;
	struct virtqueue *vq = &vd->vq[Q_STATS];

	lock_take(&vq->lock);
	if (b->stats_chain)
		vq_unpop(vq, b->stats_chain);
	b->stats_chain = NULL;
	lock_drop(&vq->lock);
}

static void balloon_free(struct virtio_device *vd)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;

	timer_release(&b->timer);
	if (b->stats_chain)
		vq_drop(b->stats_chain);
}

static const struct state_field balloon_state[] = {
	VIRTIO_STATE(struct virtio_balloon),
	STATE_U32(struct virtio_balloon, num_pages),
	STATE_U32(struct virtio_balloon, actual),
	STATE_END(),
};

static const struct device_ops balloon_dev_ops = {
	.name = "virtio-balloon",
	.reset = virtio_dev_reset,
	.post_load = virtio_dev_post_load,
	.quiesce = virtio_dev_quiesce,
	.free = virtio_dev_free,
	.print_stats = virtio_dev_print_stats,
	.state = balloon_state,
	.state_version = 1,
};

static const struct virtio_ops balloon_ops = {
	.process = balloon_process,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.reset = balloon_reset,
	.drain = balloon_drain,
	.free = balloon_free,
	/* Giving memory back takes the host a while. */
	.threaded = BIT(Q_COUNT) - 1,
};

struct virtio_device *virtio_balloon_new(const struct virtio_balloon_config *c)
{
	struct virtio_balloon *b = calloc(1, sizeof(*b));
	const struct virtio_params p = {
		.id = VIRTIO_ID_BALLOON, .dev_ops = &balloon_dev_ops, .ops = &balloon_ops, .mem = c->mem, .n_queues = Q_COUNT,
		.features = c->features | F_STATS | (c->deflate_on_oom ? F_DEFLATE_ON_OOM : 0) | (c->reporting ? F_REPORTING : 0),
		.config_size = CFG_SIZE,
	};

	BUG_ON(!b);
	b->clock = c->clock;
	b->num_pages = (uint32_t)(c->initial >> BALLOON_SHIFT);
	memset(&b->stats, 0xff, sizeof(b->stats));
	virtio_init(&b->vd, &p);
	timer_init(&b->timer, c->clock, on_timer, b);
	b->interval_ns = c->stats_interval * SECOND;
	if (b->interval_ns)
		timer_arm(&b->timer, clock_now(c->clock) + b->interval_ns);
	return &b->vd;
}

void virtio_balloon_set(struct virtio_device *vd, uint64_t bytes)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;

	lock_take(&vd->lock);
	b->num_pages = (uint32_t)MIN(bytes >> BALLOON_SHIFT, UINT32_MAX);
	virtio_config_changed(vd);
	lock_drop(&vd->lock);
}

uint64_t virtio_balloon_actual(struct virtio_device *vd)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;
	uint64_t pages;

	lock_take(&vd->lock);
	pages = b->actual;
	lock_drop(&vd->lock);
	return pages << BALLOON_SHIFT;
}

void virtio_balloon_stats(struct virtio_device *vd, struct virtio_balloon_stats *out)
{
	struct virtio_balloon *b = (struct virtio_balloon *)vd;

	lock_take(&vd->vq[Q_STATS].lock);
	*out = b->stats;
	lock_drop(&vd->vq[Q_STATS].lock);
	ask_for_stats(b);
}
