/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio file system device.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.11; the requests are FUSE's (fs_fuse.c).
 * Missing: DAX window, notification queue. Requests are carried out one after the other, on the device's thread.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "virtio/fs.h"
#include "virtio/fs_fuse.h"
#include "virtio/sg.h"

enum { Q_HIPRIO, Q_REQUEST, Q_COUNT };
enum { CFG_TAG = 0, CFG_QUEUES = VIRTIO_FS_TAG, CFG_SIZE = VIRTIO_FS_TAG + 4 };

struct virtio_fs {
	struct virtio_device vd;
	char tag[VIRTIO_FS_TAG];
	pthread_mutex_t busy;  /* one request at a time, or a reset: outside of the ranks, as it is held while files are waited for */
	struct fs_session session;
};

static bool fs_process(struct virtio_device *vd, struct virtqueue *vq)
{
	struct virtio_fs *f = (struct virtio_fs *)vd;

	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *c = vq_pop(vq);
		int64_t len;

		if (!c)
			return false;
		lock_drop(&vq->lock);
		pthread_mutex_lock(&f->busy);
		len = fs_session_handle(&f->session, c);
		pthread_mutex_unlock(&f->busy);
		lock_take(&vq->lock);
		if (len < 0)
			virtio_break(vd, "a file request without header or room for an answer");
		vq_push(c, len > 0 ? (uint64_t)len : 0);
	}
	return true;
}

static void fs_config_read(struct virtio_device *vd, uint8_t *buf)
{
	memcpy(buf + CFG_TAG, ((struct virtio_fs *)vd)->tag, VIRTIO_FS_TAG);
	put_le32(buf + CFG_QUEUES, Q_COUNT - Q_REQUEST);
}

static void fs_reset(struct virtio_device *vd)
{
	struct virtio_fs *f = (struct virtio_fs *)vd;

	pthread_mutex_lock(&f->busy);
	fs_table_clear(&f->session.table);
	pthread_mutex_unlock(&f->busy);
}

static void fs_free(struct virtio_device *vd)
{
	struct virtio_fs *f = (struct virtio_fs *)vd;

	fs_table_release(&f->session.table);
	share_close(f->session.share);
	pthread_mutex_destroy(&f->busy);
}

static const struct state_field fs_state[] = { VIRTIO_STATE(struct virtio_fs), STATE_END() };

static const struct device_ops fs_dev_ops = {
	.name = "virtio-fs",
	.reset = virtio_dev_reset,
	.post_load = virtio_dev_post_load,
	.quiesce = virtio_dev_quiesce,
	.free = virtio_dev_free,
	.print_stats = virtio_dev_print_stats,
	.state = fs_state,
	.state_version = 1,
};

static const struct virtio_ops fs_ops = {
	.process = fs_process,
	.config_read = fs_config_read,
	.reset = fs_reset,
	.free = fs_free,
	.threaded = BIT(Q_COUNT) - 1,
};

struct virtio_device *virtio_fs_new(const struct virtio_fs_config *c)
{
	const struct virtio_params p = {
		.id = VIRTIO_ID_FS, .dev_ops = &fs_dev_ops, .ops = &fs_ops, .mem = c->mem, .features = c->features,
		.n_queues = Q_COUNT, .queue_size = VQ_MAX_SIZE, .config_size = CFG_SIZE,
	};
	struct virtio_fs *f = calloc(1, sizeof(*f));

	BUG_ON(!f);
	memcpy(f->tag, c->tag, strnlen(c->tag, VIRTIO_FS_TAG));
	pthread_mutex_init(&f->busy, NULL);
	f->session.share = c->share;
	fs_table_init(&f->session.table);
	virtio_init(&f->vd, &p);
	return &f->vd;
}
