/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A screen's picture as a PNG file. */
#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/display/impl.h"
#include "base/strbuf.h"

#define FILE_MODE 0666 /* as the umask allows */

/* A copy of the picture, so that nobody waits for a slow disk. */
static struct display_surface take_picture(struct display *d)
{
	struct display_surface s;
	size_t bytes;

	lock_take(&d->lock);
	display_draw_locked(d, true);
	s = d->surface;
	bytes = (size_t)s.width * s.height * sizeof(*s.pixel);
	s.pixel = malloc(bytes);
	if (s.pixel)
		memcpy(s.pixel, d->surface.pixel, bytes);
	lock_drop(&d->lock);
	return s;
}

static void append(png_structp png, png_bytep data, size_t len)
{
	strbuf_add(png_get_io_ptr(png), data, len);
}

static void no_flush(png_structp png)
{
}

/* libpng reports its errors by a longjmp; nothing that has to be freed is made below here. */
static int encode(png_structp png, png_infop info, const struct display_surface *s, struct strbuf *out)
{
	if (setjmp(png_jmpbuf(png)))
		return -EIO;
	png_set_write_fn(png, out, append, no_flush);
	png_set_IHDR(png, info, s->width, s->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
		     PNG_FILTER_TYPE_DEFAULT);
	png_write_info(png, info);
	png_set_bgr(png);
	png_set_filler(png, 0, PNG_FILLER_AFTER); /* the byte X of a pixel */
	for (unsigned y = 0; y < s->height; y++)
		png_write_row(png, (png_const_bytep)(s->pixel + (size_t)y * s->width));
	png_write_end(png, info);
	return 0;
}

int display_png_bytes(struct display *d, struct strbuf *out, struct err *e)
{
	struct display_surface s = take_picture(d);
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	int rc = s.pixel && info ? encode(png, info, &s, out) : -ENOMEM;

	png_destroy_write_struct(&png, &info);
	free(s.pixel);
	return rc ? err_set(e, -rc, "screendump: cannot make a PNG file: %s", strerror(-rc)) : 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	for (ssize_t n; len; data += n, len -= (size_t)n) {
		n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0)
			return -errno;
	}
	return 0;
}

/* Beside the file that it will be. */
static int write_file(const char *path, const struct strbuf *png)
{
	struct strbuf beside = STRBUF_INIT;
	int fd, rc;

	strbuf_addf(&beside, "%s.XXXXXX", path);
	fd = mkostemp(beside.buf, O_CLOEXEC);
	rc = fd < 0 ? -errno : write_all(fd, png->buf, png->len);
	if (fd >= 0) {
		mode_t mask = umask(0);

		umask(mask);
		if (!rc && fchmod(fd, FILE_MODE & ~mask))
			rc = -errno;
		if (close(fd) && !rc)
			rc = -errno;
		if (!rc && rename(beside.buf, path))
			rc = -errno;
		if (rc)
			unlink(beside.buf);
	}
	strbuf_release(&beside);
	return rc;
}

int display_png(struct display *d, const char *path, struct err *e)
{
	struct strbuf png = STRBUF_INIT;
	int rc = display_png_bytes(d, &png, e);

	if (!rc) {
		rc = write_file(path, &png);
		if (rc)
			err_set(e, -rc, "screendump '%s': %s; choose a path where a file can be made", path, strerror(-rc));
	}
	strbuf_release(&png);
	return rc;
}
