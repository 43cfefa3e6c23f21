/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel img create and resize: images come to be and change their size. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/img.h"

/* Space for all of a file, or even its bytes written. */
static int fill_file(const char *name, bool write_all, struct err *e)
{
	static const char zeroes[1 << 20];
	int fd = open(name, O_RDWR | O_CLOEXEC), rc = 0;
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

	if (fd < 0 || size < 0 || (size && fallocate(fd, 0, 0, size) < 0 && errno != EOPNOTSUPP))
		rc = err_set(e, errno, "%s: space for it: %s", name, strerror(errno));
	/* Only holes: what the format has written stays. */
	for (off_t at = 0; !rc && write_all && at < size;) {
		off_t end = lseek(fd, at, SEEK_DATA);

		if (end < 0)
			end = size;
		while (!rc && at < end) {
			const size_t n = (size_t)MIN((off_t)sizeof(zeroes), end - at);

			if (pwrite(fd, zeroes, n, at) != (ssize_t)n)
				rc = err_set(e, errno ? errno : ENOSPC, "%s: writing: %s", name, strerror(errno));
			at += (off_t)n;
		}
		end = lseek(fd, at, SEEK_HOLE);
		at = end > at ? end : size;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int write_format(struct img_args *a, struct bfile *f, const char *format, uint64_t size, struct err *e)
{
	int rc;

	if (!strcmp(format, "qcow2")) {
		a->create.size = size;
		a->create.backing_file = a->backing;
		a->create.backing_format = a->backing ? a->backing_format : NULL;
		a->create.secret_file = a->encrypt ? img_secret(a) : NULL;
		return qcow2_create(f, &a->create, e);
	}
	rc = f->ops->truncate(f, size);
	return rc && rc != -ENOTSUP ? err_set(e, -rc, "%s: %s", f->name, strerror(-rc)) : 0;
}

int img_make(struct img_args *a, const char *name, const char *format, uint64_t size, struct err *e)
{
	const bool qcow2 = !strcmp(format, "qcow2");
	struct loop *l;
	struct bfile *f;
	int rc;

	if (!qcow2 && strcmp(format, "raw"))
		return err_set(e, ENOTSUP, "'%s': images can be made as qcow2 or raw", format);
	if (!qcow2 && (a->backing || a->encrypt))
		return err_set(e, EINVAL, "%s: a raw image has neither backing file nor encryption; make it qcow2", name);
	if (a->encrypt && !img_secret(a))
		return err_set(e, EINVAL, "%s: encryption needs a passphrase: --secret FILE", name);
	rc = loop_new(&l, e);
	if (rc)
		return rc;
	rc = bfile_create_host(&f, l, name, e);
	if (!rc) {
		rc = write_format(a, f, format, ALIGN_UP(size, 512), e);
		bfile_close(f);
	}
	loop_free(l);
	if (!rc && a->falloc)
		rc = fill_file(name, a->full, e);
	return rc;
}

/* The backing file must be there, unless the size was given and it isn't a file. */
static int look_below(struct img_args *a, uint64_t *size, struct err *e)
{
	struct img_file f;
	char *name = image_relative_name(a->files[0], a->backing);
	int rc = name ? img_open(&f, a, name, a->backing_format, 0, false, e) : err_set(e, ENOMEM, "no memory");

	free(name);
	if (rc)
		return err_prefix(e, rc, "the backing file");
	*size = f.img->size;
	if (!a->backing_format)
		a->backing_format = f.img->ops->name;
	return img_close(&f, e);
}

static int create(struct img_args *a)
{
	const char *format = a->out_format ? a->out_format : a->backing ? "qcow2" : "raw";
	uint64_t size = 0;
	struct err e;
	int rc = 0;

	if (a->backing)
		rc = look_below(a, &size, &e);
	else if (a->n_files < 2)
		rc = err_set(&e, EINVAL, "%s: how large? Give a size, as in 10G", a->files[0]);
	if (!rc && a->n_files > 1 && blk_parse_size(a->files[1], &size))
		rc = err_set(&e, EINVAL, "'%s': no size; give one as in 512M or 10G", a->files[1]);
	if (!rc)
		rc = img_make(a, a->files[0], format, size, &e);
	if (rc)
		return cli_fail("img create: %s", e.msg);
	if (!a->quiet)
		printf("%s: %s, %" PRIu64 " bytes%s%s\n", a->files[0], format, ALIGN_UP(size, 512), a->backing ? ", on top of " : "",
		       a->backing ? a->backing : "");
	return STATUS_OK;
}

const struct img_subcommand img_create = {
	.name = "create",
	.options = "+:f:b:F:o:q",
	.synopsis = "[-f FORMAT] [-b BASE [-F FORMAT]] [-o OPTIONS] FILE [SIZE]",
	.summary = "Make an image; with a backing file it begins as what that is, and SIZE may be left out",
	.help = "  -f FORMAT            raw [the default] or qcow2 [with -b]\n"
		"  -b BASE              backing file, by its name as seen from FILE\n"
		"  -F FORMAT            its format\n"
		"  -o NAME=VALUE,...    cluster_size [64K], refcount_bits [16], lazy_refcounts=on,\n"
		"                       compat=0.10|1.1, compression_type=zlib|zstd, encrypt.format=luks,\n"
		"                       preallocation=off|metadata|falloc|full\n"
		"  -q                   say nothing\n",
	.min_files = 1,
	.max_files = 2,
	.run = create,
};

static int new_size(const char *text, uint64_t old, uint64_t *size, struct err *e)
{
	const char sign = *text;
	uint64_t v;

	if (blk_parse_size(sign == '+' || sign == '-' ? text + 1 : text, &v))
		return err_set(e, EINVAL, "'%s': no size; give one as in 10G or +512M", text);
	if (sign == '-' && v > old)
		return err_set(e, EINVAL, "'%s': the image has only %" PRIu64 " bytes", text, old);
	if (sign == '+' && v > INT64_MAX - old)
		return err_set(e, EFBIG, "'%s': too large", text);
	*size = ALIGN_UP(sign == '+' ? old + v : sign == '-' ? old - v : v, 512);
	return 0;
}

static int resize(struct img_args *a)
{
	struct img_file f;
	uint64_t size = 0;
	struct err e, e2;
	int rc;

	/* A size such as -1G looks like options. */
	rc = img_open(&f, a, a->files[0], a->format, BFILE_WRITE, false, &e);
	if (rc)
		return cli_fail("img resize: %s", e.msg);
	rc = new_size(a->files[1], f.img->size, &size, &e);
	if (!rc && size < f.img->size && !a->shrink)
		rc = err_set(&e, EINVAL, "%s: would lose what is behind %" PRIu64 " bytes; make the file systems in it smaller first, then add "
			     "--shrink", a->files[0], size);
	if (!rc)
		rc = f.img->ops->resize(f.img, size, &e);
	if (img_close(&f, rc ? &e2 : &e) && !rc)
		rc = -EIO;
	if (rc)
		return cli_fail("img resize: %s", e.msg);
	if (!a->quiet)
		printf("%s: %" PRIu64 " bytes\n", a->files[0], size);
	return STATUS_OK;
}

const struct img_subcommand img_resize = {
	.name = "resize",
	.options = "+:f:q",
	.synopsis = "[-f FORMAT] [--shrink] FILE [+|-]SIZE",
	.summary = "Change the size of the disk in an image",
	.help = "  --shrink             allow a smaller size: what is behind it is lost\n"
		"  -f FORMAT            the image's format, if it can't be found out\n"
		"  -q                   say nothing\n",
	.min_files = 2,
	.max_files = 2,
	.run = resize,
};
