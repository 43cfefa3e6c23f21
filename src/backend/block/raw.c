/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images: the bytes of the disk are those of the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/image.h"
#include "base/log.h"

#define SECTOR 512

struct raw {
	struct image base;
	bool probed; /* nobody said that it is raw: see forbidden() */
};

/*
 * A guest could write the header of another format into a raw image, which the next look at it would then believe, with
 * any file of the host as its backing file. So where the format was guessed, such headers can't be written.
 */
static bool forbidden(const struct raw *r, const struct bio *b)
{
	uint8_t head[IMAGE_PROBE_LEN] = { 0 };

	if (!r->probed || b->op != BLK_WRITE || b->offset)
		return false;
	iov_to_buf(b->iov, b->n_iov, 0, head, MIN(b->len, sizeof(head)));
	if (!image_probe(head, sizeof(head)))
		return false;
	log_msg(LOG_WARN, "%s: the guest writes the header of an image into it, which is refused because nobody said that it "
		"is raw; add format=raw to allow it", r->base.name);
	return true;
}

static void raw_submit(struct image *img, struct bio *b)
{
	if (unlikely(b->op == BLK_WRITE && forbidden(CONTAINER_OF(img, struct raw, base), b)))
		bio_finish_later(img->loop, b, -EPERM);
	else
		img->file->ops->submit(img->file, b);
}

static int raw_extent(struct image *img, uint64_t offset, uint64_t max, struct image_extent *x)
{
	bool data;
	int rc = img->file->ops->extent(img->file, offset, max, &data, &x->len);

	*x = (struct image_extent){ .len = x->len, .allocated = true, .zero = !data, .has_host = true, .host = offset };
	return rc;
}

static int raw_resize(struct image *img, uint64_t size, struct err *e)
{
	int rc = img->file->ops->truncate(img->file, size);

	if (rc == -ENOTSUP)
		return err_set(e, ENOTSUP, "%s: the size of a device can't be changed from here", img->name);
	if (rc)
		return err_set(e, -rc, "%s: %s", img->name, strerror(-rc));
	img->size = size;
	return 0;
}

static int raw_sync(struct image *img)
{
	return img->readonly ? 0 : bfile_sync(img->file);
}

static int raw_close(struct image *img)
{
	int rc = raw_sync(img);

	free(CONTAINER_OF(img, struct raw, base));
	return rc;
}

static const struct image_ops raw_ops = {
	.name = "raw",
	.submit = raw_submit,
	.extent = raw_extent,
	.resize = raw_resize,
	.sync = raw_sync,
	.close = raw_close,
};

int raw_open(struct image **out, struct bfile *f, bool probed, struct err *e)
{
	struct raw *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "%s: no memory", f->name);
	r->base.ops = &raw_ops;
	r->probed = probed && !f->fixed_size;
	r->base.discard_align = f->align;
	r->base.cluster_size = 1;
	rc = f->ops->size(f, &r->base.size);
	if (rc) {
		free(r);
		return err_set(e, -rc, "%s: its size: %s", f->name, strerror(-rc));
	}
	/* A file with a broken sector at its end: the rest of that reads as zero. */
	r->base.size = ALIGN_UP(r->base.size, SECTOR);
	*out = &r->base;
	return 0;
}
