/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files and block devices of the host: asynchronous, buffered or direct, with holes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/block/bfile.h"
#include "base/log.h"
#include "base/tunables.h"

struct host_file {
	struct bfile base;
	int fd;
	bool device, direct;
	bool no_punch, no_zero_range; /* the file system can't */
	bool sync_failed;             /* see sync_done() */
	uint32_t io_align, mem_align; /* direct */
	struct ranges ranges;         /* direct: a write that must read first excludes its neighbours */
};

static struct host_file *host(struct bfile *f)
{
	return CONTAINER_OF(f, struct host_file, base);
}

static void finish(struct bio *b, int rc)
{
	free(b->rest);
	b->rest = NULL;
	free(b->bounce);
	b->bounce = NULL;
	if (b->ranged)
		ranges_leave(&host(b->file)->ranges, &b->range);
	b->done(b, rc);
}

static void resubmit(struct bio *b)
{
	loop_submit(b->file->loop, &b->io);
}

/* Go on behind what was moved. False without memory. */
static bool advance(struct bio *b)
{
	const struct iovec *iov = b->bounce ? &b->bounce_iov : b->iov;
	const unsigned n = b->bounce ? 1 : b->n_iov;
	const uint64_t all = b->bounce ? b->bounce_iov.iov_len : b->len,
		       start = b->bounce ? ALIGN_DOWN(b->offset, host(b->file)->io_align) : b->offset;

	if (!b->rest)
		b->rest = malloc(n * sizeof(*b->rest));
	if (!b->rest)
		return false;
	b->io.n_iov = MIN(iov_slice(b->rest, iov, n, b->moved, all - b->moved), (unsigned)IOV_MAX);
	b->io.iov = b->rest;
	b->io.offset = start + b->moved;
	return true;
}

/* The end of the file was met: what is missing reads as zero. */
static void end_read(struct bio *b)
{
	if (b->bounce) {
		memset(b->bounce + b->moved, 0, b->bounce_iov.iov_len - b->moved);
		iov_from_buf(b->iov, b->n_iov, 0, b->bounce + (b->offset & (host(b->file)->io_align - 1)), b->len);
	} else if (b->moved < b->len) {
		iov_zero(b->iov, b->n_iov, b->moved, b->len - b->moved);
	}
	finish(b, 0);
}

static bool at_end(struct host_file *h, uint64_t offset)
{
	struct stat st;

	return !h->device && !fstat(h->fd, &st) && (uint64_t)st.st_size <= offset;
}

static void read_done(struct loop_io *io, int64_t rc)
{
	struct bio *b = CONTAINER_OF(io, struct bio, io);
	const uint64_t all = b->bounce ? b->bounce_iov.iov_len : b->len;

	if (rc < 0 && rc != -EINTR && rc != -EAGAIN) {
		finish(b, (int)rc);
		return;
	}
	b->moved += (uint64_t)MAX(rc, 0);
	/* A direct read can end short, and at an odd byte, just at the end of the file. */
	if (!rc || b->moved >= all || (host(b->file)->direct && at_end(host(b->file), b->io.offset + (uint64_t)MAX(rc, 0))))
		end_read(b);
	else if (!advance(b))
		finish(b, -ENOMEM);
	else
		resubmit(b);
}

static void write_done(struct loop_io *io, int64_t rc)
{
	struct bio *b = CONTAINER_OF(io, struct bio, io);
	const uint64_t all = b->bounce ? b->bounce_iov.iov_len : b->len;

	if (rc < 0 && rc != -EINTR && rc != -EAGAIN) {
		finish(b, (int)rc);
		return;
	}
	b->moved += (uint64_t)MAX(rc, 0);
	if (b->moved >= all)
		finish(b, 0);
	else if (!rc)
		finish(b, -ENOSPC);
	else if (!advance(b))
		finish(b, -ENOMEM);
	else
		resubmit(b);
}

/*
 * When the kernel can't write back, it says so once and drops the pages: a later success would be a lie about
 * everything before it. So a file that has failed to sync stays failed, unless no page is at stake.
 */
static int note_sync(struct host_file *h, int rc)
{
	if (rc && rc != -ENOSPC && rc != -EDQUOT && !h->direct && !h->sync_failed) {
		h->sync_failed = true;
		log_msg(LOG_ERROR, "%s: the host could not write its data back (%s); all flushes fail from here on",
			h->base.name, strerror(-rc));
	}
	return rc;
}

static void sync_done(struct loop_io *io, int64_t rc)
{
	struct bio *b = CONTAINER_OF(io, struct bio, io);

	finish(b, note_sync(host(b->file), (int)MIN(rc, 0)));
}

static void start_sync(struct bio *b)
{
	struct host_file *h = host(b->file);

	h->base.n_sync++;
	if (h->sync_failed || h->base.no_sync) {
		bio_finish_later(h->base.loop, b, h->sync_failed ? -EIO : 0);
		return;
	}
	b->io.op = LOOP_SYNC;
	b->io.done = sync_done;
	resubmit(b);
}

static bool must_bounce(const struct host_file *h, const struct bio *b)
{
	if (!h->direct)
		return false;
	if ((b->offset | b->len) & (h->io_align - 1))
		return true;
	for (unsigned i = 0; i < b->n_iov; i++)
		if (((uintptr_t)b->iov[i].iov_base | b->iov[i].iov_len) & (h->mem_align - 1))
			return true;
	return false;
}

static int make_bounce(struct host_file *h, struct bio *b)
{
	const uint64_t start = ALIGN_DOWN(b->offset, h->io_align), end = ALIGN_UP(b->offset + b->len, h->io_align);

	b->bounce = aligned_alloc(MAX(h->mem_align, h->io_align), ALIGN_UP(end - start, MAX(h->mem_align, h->io_align)));
	if (!b->bounce)
		return -ENOMEM;
	b->bounce_iov = (struct iovec){ b->bounce, end - start };
	b->io.iov = &b->bounce_iov;
	b->io.n_iov = 1;
	b->io.offset = start;
	return 0;
}

static int host_pread(struct bfile *f, uint64_t offset, void *buf, size_t len);

/* A write of less than the device's blocks: the rest of the first and last one is read, rarely enough to wait for it. */
static int fill_edges(struct host_file *h, struct bio *b)
{
	const uint64_t a = h->io_align, head = b->offset & (a - 1), size = b->bounce_iov.iov_len;
	int rc = 0;

	if (head)
		rc = host_pread(&h->base, b->io.offset, b->bounce, a);
	if (!rc && (head + b->len) & (a - 1) && (size > a || !head))
		rc = host_pread(&h->base, b->io.offset + size - a, b->bounce + size - a, a);
	if (!rc)
		iov_to_buf(b->iov, b->n_iov, 0, b->bounce + head, b->len);
	return rc;
}

static void transfer_failed(struct loop_work *w)
{
	struct bio *b = CONTAINER_OF(w, struct bio, work);

	finish(b, b->rc);
}

static void transfer(struct bio *b)
{
	struct host_file *h = host(b->file);
	int rc = 0;

	b->io = (struct loop_io){ .op = b->op == BLK_READ ? LOOP_READ : LOOP_WRITE,
				  .fd = h->fd,
				  .flags = b->op == BLK_WRITE && b->fua && !h->base.no_sync ? RWF_DSYNC : 0,
				  .offset = b->offset,
				  .iov = b->iov,
				  .n_iov = MIN(b->n_iov, (unsigned)IOV_MAX),
				  .done = b->op == BLK_READ ? read_done : write_done };
	if (must_bounce(h, b)) {
		rc = make_bounce(h, b);
		if (!rc && b->op == BLK_WRITE)
			rc = fill_edges(h, b);
	}
	if (rc) {
		b->rc = rc;
		b->work.fn = transfer_failed;
		loop_defer(h->base.loop, &b->work);
	} else {
		resubmit(b);
	}
}

static void edge_granted(struct range *r)
{
	transfer(CONTAINER_OF(r, struct bio, range));
}

/* Direct writes, where a block can be larger than what is written. */
static void guarded_write(struct host_file *h, struct bio *b)
{
	b->ranged = true;
	b->range = (struct range){ .start = ALIGN_DOWN(b->offset, h->io_align),
				   .end = ALIGN_UP(b->offset + b->len, h->io_align),
				   .exclusive = ((b->offset | b->len) & (h->io_align - 1)) != 0,
				   .granted = edge_granted };
	if (ranges_enter(&h->ranges, &b->range))
		transfer(b);
}

static const uint8_t zeroes[64 * KiB];

static void zero_chunk_done(struct loop_io *io, int64_t rc);

/* Where the file system knows no better: writes of zeroes, piece by piece. */
static void write_zero_chunk(struct bio *b)
{
	b->bounce_iov = (struct iovec){ (void *)(uintptr_t)zeroes, MIN(sizeof(zeroes), b->len - b->moved) };
	b->io = (struct loop_io){ .op = LOOP_WRITE, .fd = host(b->file)->fd, .offset = b->offset + b->moved,
				  .iov = &b->bounce_iov, .n_iov = 1, .done = zero_chunk_done };
	resubmit(b);
}

static void zero_chunk_done(struct loop_io *io, int64_t rc)
{
	struct bio *b = CONTAINER_OF(io, struct bio, io);

	if (rc < 0 && rc != -EINTR && rc != -EAGAIN) {
		finish(b, (int)rc);
		return;
	}
	b->moved += (uint64_t)MAX(rc, 0);
	if (b->moved < b->len)
		write_zero_chunk(b);
	else if (b->fua)
		start_sync(b);
	else
		finish(b, 0);
}

static void start_fallocate(struct bio *b);

static bool unsupported(int64_t rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -ENODEV || rc == -EINVAL || rc == -ENOTTY || rc == -EPERM;
}

static void fallocate_done(struct loop_io *io, int64_t rc)
{
	struct bio *b = CONTAINER_OF(io, struct bio, io);
	struct host_file *h = host(b->file);

	if (unsupported(rc)) {
		*(io->flags & FALLOC_FL_PUNCH_HOLE ? &h->no_punch : &h->no_zero_range) = true;
		start_fallocate(b);
	} else if (rc < 0 || !b->fua || b->op == BLK_DISCARD) {
		finish(b, (int)MIN(rc, 0));
	} else {
		start_sync(b);
	}
}

/* Discards and zeroes, by the best way that has not failed yet. */
static void start_fallocate(struct bio *b)
{
	struct host_file *h = host(b->file);
	const bool punch = !h->no_punch && (b->op == BLK_DISCARD || b->unmap || h->no_zero_range);

	if (b->op == BLK_DISCARD && !punch) {
		bio_finish_later(h->base.loop, b, 0);
		return;
	}
	if (!punch && h->no_zero_range) {
		write_zero_chunk(b);
		return;
	}
	b->io = (struct loop_io){ .op = LOOP_FALLOCATE, .fd = h->fd, .offset = b->offset, .len = b->len,
				  .flags = (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
				  .done = fallocate_done };
	resubmit(b);
}

static void host_submit(struct bfile *f, struct bio *b)
{
	struct host_file *h = host(f);

	b->file = f;
	b->rest = NULL;
	b->bounce = NULL;
	b->ranged = false;
	b->moved = 0;
	b->io.fd = h->fd;
	switch (b->op) {
	case BLK_READ:
		transfer(b);
		break;
	case BLK_WRITE:
		if (h->direct && h->io_align > 1)
			guarded_write(h, b);
		else
			transfer(b);
		break;
	case BLK_FLUSH:
		start_sync(b);
		break;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		start_fallocate(b);
		break;
	}
}

/* One transfer; in direct mode the buffer is any, so through one that is aligned. */
static ssize_t move(struct host_file *h, uint64_t offset, void *buf, size_t len, bool write)
{
	ssize_t n;

	do
		n = write ? pwrite(h->fd, buf, len, (off_t)offset) : pread(h->fd, buf, len, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int read_all(struct host_file *h, uint64_t offset, uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = move(h, offset, buf, len, false);

		if (n < 0)
			return (int)n;
		if (!n || (h->direct && (size_t)n < len && at_end(h, offset + (uint64_t)n))) {
			memset(buf + n, 0, len - (size_t)n);
			return 0;
		}
		buf += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_all(struct host_file *h, uint64_t offset, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = move(h, offset, (void *)(uintptr_t)buf, len, true);

		if (n <= 0)
			return n ? (int)n : -ENOSPC;
		buf += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* A blocking direct transfer by way of an aligned buffer; writes read their edges first. */
static int direct_move(struct host_file *h, uint64_t offset, void *buf, size_t len, bool write)
{
	const uint64_t a = MAX(h->io_align, h->mem_align), start = ALIGN_DOWN(offset, a), end = ALIGN_UP(offset + len, a);
	uint8_t *p = aligned_alloc(a, end - start);
	int rc = 0;

	if (!p)
		return -ENOMEM;
	if (!write || start != offset || end != offset + len)
		rc = read_all(h, start, p, end - start);
	if (!rc && write) {
		memcpy(p + (offset - start), buf, len);
		rc = write_all(h, start, p, end - start);
	} else if (!rc) {
		memcpy(buf, p + (offset - start), len);
	}
	free(p);
	return rc;
}

static int host_pread(struct bfile *f, uint64_t offset, void *buf, size_t len)
{
	struct host_file *h = host(f);

	return h->direct ? direct_move(h, offset, buf, len, false) : read_all(h, offset, buf, len);
}

static int host_pwrite(struct bfile *f, uint64_t offset, const void *buf, size_t len)
{
	struct host_file *h = host(f);

	return h->direct ? direct_move(h, offset, (void *)(uintptr_t)buf, len, true) : write_all(h, offset, buf, len);
}

static int host_sync(struct bfile *f)
{
	struct host_file *h = host(f);

	if (h->sync_failed)
		return -EIO;
	return note_sync(h, fdatasync(h->fd) < 0 ? -errno : 0);
}

static int host_size(struct bfile *f, uint64_t *size)
{
	struct host_file *h = host(f);
	struct stat st;

	if (h->device)
		return ioctl(h->fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
	if (fstat(h->fd, &st) < 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int host_truncate(struct bfile *f, uint64_t size)
{
	struct host_file *h = host(f);

	if (h->device)
		return -ENOTSUP;
	return ftruncate(h->fd, (off_t)size) < 0 ? -errno : 0;
}

static int host_extent(struct bfile *f, uint64_t offset, uint64_t max, bool *data, uint64_t *len)
{
	struct host_file *h = host(f);
	off_t d = lseek(h->fd, (off_t)offset, SEEK_DATA), end;

	*len = max;
	*data = true;
	if (d < 0 && errno == ENXIO) {
		*data = false;
		return 0;
	}
	if (d < 0)
		return 0;
	*data = (uint64_t)d == offset;
	end = *data ? lseek(h->fd, (off_t)offset, SEEK_HOLE) : d;
	if (end > 0 && (uint64_t)end > offset)
		*len = MIN(max, (uint64_t)end - offset);
	return 0;
}

static void host_close(struct bfile *f)
{
	close(host(f)->fd);
	free(host(f));
}

static const struct bfile_ops host_ops = {
	.name = "file",
	.submit = host_submit,
	.pread = host_pread,
	.pwrite = host_pwrite,
	.sync = host_sync,
	.size = host_size,
	.truncate = host_truncate,
	.extent = host_extent,
	.close = host_close,
};

uint64_t bfile_allocated(struct bfile *f)
{
	struct stat st;

	return f->ops == &host_ops && !fstat(host(f)->fd, &st) ? (uint64_t)st.st_blocks * 512 : 0;
}

/* What direct I/O must be aligned to: asked where the kernel says, else tried out. */
static void probe_alignment(struct host_file *h)
{
	static const uint32_t tries[] = { 512, 4096 };
	uint8_t *buf = aligned_alloc(4096, 4096);

	h->io_align = h->mem_align = 4096;
	for (size_t i = 0; buf && i < ARRAY_SIZE(tries); i++) {
		if (pread(h->fd, buf, tries[i], tries[i]) >= 0) {
			h->io_align = tries[i];
			break;
		}
	}
	if (buf && pread(h->fd, buf + 512, h->io_align, 0) >= 0)
		h->mem_align = 512;
	free(buf);
}

static int open_fd(const char *path, unsigned flags, struct err *e)
{
	int how = O_CLOEXEC | O_NOCTTY | (flags & BFILE_WRITE ? O_RDWR : O_RDONLY), fd;

	how |= flags & BFILE_DIRECT ? O_DIRECT : 0;
	how |= flags & BFILE_TEMPORARY ? O_TMPFILE : 0;
	fd = open(path, how, 0600);
	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
		return err_set(e, ENOENT, "%s: there is no such file; 'doppel img create' makes one", path);
	case EACCES:
	case EPERM:
	case EROFS:
		return err_set(e, errno, "%s: %s; %s", path, strerror(errno),
			       flags & BFILE_WRITE ? "open it read-only, or change its permissions" : "change its permissions");
	case EINVAL:
		if (flags & BFILE_DIRECT)
			return err_set(e, EINVAL, "%s: its file system has no direct I/O; use cache=writeback", path);
		break;
	default:
		break;
	}
	return err_set(e, errno, "%s: %s", path, strerror(errno));
}

static int wrap(struct bfile **out, struct loop *l, int fd, const char *path, unsigned flags, struct err *e)
{
	struct host_file *h = calloc(1, sizeof(*h));
	struct stat st;
	int rc = 0;

	if (!h || !(h->base.name = strdup(path)))
		rc = err_set(e, ENOMEM, "%s: no memory", path);
	else if (fstat(fd, &st) < 0)
		rc = err_set(e, errno, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		rc = err_set(e, EINVAL, "%s: is neither a file nor a block device; give a disk image", path);
	else if (!(flags & (BFILE_NO_LOCK | BFILE_TEMPORARY)))
		rc = file_lock(fd, path, flags & BFILE_WRITE, flags & BFILE_SHARE, e);
	if (rc) {
		if (h)
			free(h->base.name);
		free(h);
		close(fd);
		return rc;
	}
	h->base.ops = &host_ops;
	h->base.loop = l;
	h->base.readonly = !(flags & BFILE_WRITE);
	h->fd = fd;
	h->device = h->base.fixed_size = S_ISBLK(st.st_mode);
	h->direct = flags & BFILE_DIRECT;
	h->io_align = h->mem_align = 1;
	if (h->direct)
		probe_alignment(h);
	h->base.align = MAX(h->io_align, (uint32_t)MIN(st.st_blksize, 4096));
	ranges_init(&h->ranges);
	*out = &h->base;
	return 0;
}

int bfile_open_host(struct bfile **out, struct loop *l, const char *path, unsigned flags, struct err *e)
{
	int fd = open_fd(path, flags, e);

	return fd < 0 ? fd : wrap(out, l, fd, path, flags, e);
}

int bfile_create_host(struct bfile **out, struct loop *l, const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666), rc;

	if (fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	rc = wrap(out, l, fd, path, BFILE_WRITE, e);
	if (rc)
		return rc;
	/* Only now that it is locked: nobody's image is emptied under their feet. */
	rc = host_truncate(*out, 0);
	if (rc && !(*out)->fixed_size) {
		bfile_close(*out);
		return err_set(e, -rc, "%s: %s", path, strerror(-rc));
	}
	return 0;
}
