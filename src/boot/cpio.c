/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The "newc" cpio format, Linux Documentation/driver-api/early-userspace/buffer-format.rst. */
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "boot/cpio.h"

#define CPIO_MAGIC "070701"
#define CPIO_BLOCK 512

struct cpio_meta {
	unsigned mode, rdev_major, rdev_minor;
};

static void pad(struct strbuf *out, size_t align)
{
	static const char zeroes[CPIO_BLOCK];
	size_t over = out->len % align;

	if (over)
		strbuf_add(out, zeroes, align - over);
}

/* Inode numbers only tell hard links apart; the entry's offset is unique. Links of 1 mean there are none. */
static void entry(struct strbuf *out, const char *name, struct cpio_meta m, const void *data, size_t len)
{
	unsigned name_size = (unsigned)strlen(name) + 1;
	unsigned ino = (unsigned)(out->len / 4) + 1;

	strbuf_addf(out, CPIO_MAGIC "%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ino, m.mode, 0, 0,
		    1, 0, (unsigned)len, 0, 0, m.rdev_major, m.rdev_minor, name_size, 0);
	strbuf_add(out, name, name_size);
	pad(out, 4);
	if (len)
		strbuf_add(out, data, len);
	pad(out, 4);
}

void cpio_dir(struct strbuf *out, const char *name, unsigned perm)
{
	entry(out, name, (struct cpio_meta){ S_IFDIR | perm, 0, 0 }, NULL, 0);
}

void cpio_file(struct strbuf *out, const char *name, unsigned perm, const void *data, size_t len)
{
	entry(out, name, (struct cpio_meta){ S_IFREG | perm, 0, 0 }, data, len);
}

void cpio_symlink(struct strbuf *out, const char *name, const char *target)
{
	entry(out, name, (struct cpio_meta){ S_IFLNK | 0777, 0, 0 }, target, strlen(target));
}

void cpio_chardev(struct strbuf *out, const char *name, unsigned perm, unsigned major, unsigned minor)
{
	entry(out, name, (struct cpio_meta){ S_IFCHR | perm, major, minor }, NULL, 0);
}

void cpio_end(struct strbuf *out)
{
	entry(out, "TRAILER!!!", (struct cpio_meta){ 0, 0, 0 }, NULL, 0);
	pad(out, CPIO_BLOCK);
}
