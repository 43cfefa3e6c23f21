/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images by name, with what is under them; blocking access for tools. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/image.h"
#include "backend/block/qcow2.h"
#include "base/log.h"
#include "base/tunables.h"

/* Formats that are known by their first bytes; those without a way to open them are never taken for raw. */
static const struct {
	const char *name;
	unsigned offset, len;
	const char *magic;
} magics[] = {
	{ "qcow2", 0, 4, "QFI\xfb" },
	{ "luks", 0, 6, "LUKS\xba\xbe" },
	{ "vmdk", 0, 4, "KDMV" },
	{ "vmdk", 0, 4, "COWD" },
	{ "vmdk", 0, 21, "# Disk DescriptorFile" },
	{ "vdi", 0x40, 4, "\x7f\x10\xda\xbe" },
	{ "vhdx", 0, 8, "vhdxfile" },
	{ "vpc", 0, 8, "conectix" },
	{ "qed", 0, 4, "QED\0" },
	{ "parallels", 0, 16, "WithoutFreeSpace" },
	{ "parallels", 0, 16, "WithouFreSpacExt" },
};

const char *image_probe(const uint8_t *head, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (magics[i].offset + magics[i].len <= n && !memcmp(head + magics[i].offset, magics[i].magic, magics[i].len))
			return magics[i].name;
	return NULL;
}

char *image_relative_name(const char *of, const char *name)
{
	const char *slash = strrchr(of, '/');
	char *s;

	if (name[0] == '/' || bfile_is_uri(name) || !slash)
		return strdup(name);
	s = malloc((size_t)(slash - of) + strlen(name) + 2);
	if (s) {
		memcpy(s, of, (size_t)(slash - of) + 1);
		strcpy(s + (slash - of) + 1, name);
	}
	return s;
}

static int find_format(struct bfile *f, const char **format, bool *probed, struct err *e)
{
	uint8_t head[IMAGE_PROBE_LEN];
	int rc;

	*probed = false;
	if (*format)
		return 0;
	rc = f->ops->pread(f, 0, head, sizeof(head));
	if (rc)
		return err_set(e, -rc, "%s: reading: %s", f->name, strerror(-rc));
	*format = image_probe(head, sizeof(head));
	if (!*format) {
		*format = "raw";
		*probed = true;
	}
	return 0;
}

static int open_format(struct image **out, struct bfile *f, const struct image_options *o, unsigned depth, struct err *e)
{
	const char *format = o->format;
	bool probed;
	int rc = find_format(f, &format, &probed, e);

	if (rc)
		return rc;
	if (!strcmp(format, "raw") || !strcmp(format, "nbd"))
		return raw_open(out, f, probed, e);
	if (!strcmp(format, "qcow2"))
		return qcow2_open(out, f, o, depth, e);
	return err_set(e, ENOTSUP, "%s: the format '%s' is not for us; convert it with 'qemu-img convert -O qcow2', or serve it with "
		       "'qemu-nbd -r -f %s' and open nbd://localhost", f->name, format, format);
}

int image_open_depth(struct image **out, struct loop *l, const char *name, const struct image_options *o, unsigned depth,
		     struct err *e)
{
	struct bfile *f;
	struct image *img;
	char *copy;
	int rc;

	if (depth > TUNE_BLOCK_MAX_CHAIN)
		return err_set(e, ELOOP, "%s: more than %u backing files on top of each other; is one its own?", name,
			       TUNE_BLOCK_MAX_CHAIN);
	rc = bfile_open(&f, l, name, o->flags, e);
	if (rc)
		return rc;
	f->no_sync = o->no_sync;
	copy = strdup(name);
	rc = copy ? open_format(&img, f, o, depth, e) : err_set(e, ENOMEM, "%s: no memory", name);
	if (rc) {
		free(copy);
		bfile_close(f);
		return rc;
	}
	img->name = copy;
	img->file = f;
	img->loop = l;
	img->readonly = f->readonly;
	*out = img;
	return 0;
}

int image_open(struct image **out, struct loop *l, const char *name, const struct image_options *o, struct err *e)
{
	return image_open_depth(out, l, name, o, 0, e);
}

int image_close(struct image *img)
{
	struct image *backing;
	struct bfile *f;
	char *name, *backing_name;
	int rc;

	if (!img)
		return 0;
	backing = img->own_backing ? img->backing : NULL;
	f = img->file;
	name = img->name;
	backing_name = img->backing_name;
	rc = img->ops->close(img);
	bfile_close(f);
	free(name);
	free(backing_name);
	image_close(backing);
	return rc;
}

struct wait {
	struct bio bio;
	bool over;
	int rc;
};

static void wait_done(struct bio *b, int rc)
{
	struct wait *w = CONTAINER_OF(b, struct wait, bio);

	w->over = true;
	w->rc = rc;
}

static int wait_for(struct image *img, struct wait *w)
{
	w->bio.done = wait_done;
	img->ops->submit(img, &w->bio);
	while (!w->over)
		loop_step(img->loop, UINT64_MAX);
	return w->rc;
}

static int transfer(struct image *img, enum blk_op op, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	struct wait w = { .bio = { .op = op, .offset = offset, .len = len, .iov = &iov, .n_iov = 1 } };

	return len ? wait_for(img, &w) : 0;
}

int image_pread(struct image *img, uint64_t offset, void *buf, size_t len)
{
	return transfer(img, BLK_READ, offset, buf, len);
}

int image_pwrite(struct image *img, uint64_t offset, const void *buf, size_t len)
{
	return transfer(img, BLK_WRITE, offset, (void *)(uintptr_t)buf, len);
}

int image_zero(struct image *img, uint64_t offset, uint64_t len, bool unmap)
{
	struct wait w = { .bio = { .op = BLK_WRITE_ZEROES, .offset = offset, .len = len, .unmap = unmap } };

	return len ? wait_for(img, &w) : 0;
}

int image_chain_extent(struct image *img, uint64_t offset, uint64_t max, struct image_extent *x, unsigned *depth)
{
	*depth = 0;
	for (;;) {
		int rc = img->ops->extent(img, offset, max, x);

		if (rc || x->allocated || !img->backing)
			return rc;
		max = x->len;
		img = img->backing;
		++*depth;
		if (offset >= img->size) {
			*x = (struct image_extent){ .len = max, .zero = true };
			return 0;
		}
		max = MIN(max, img->size - offset);
	}
}
