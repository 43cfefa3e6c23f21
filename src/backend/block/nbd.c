/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exports of NBD servers, by libnbd: qemu-nbd's and nbdkit's formats, and the network.
 *
 * A request becomes one command for each piece that the server takes at once. libnbd calls back from inside of its own functions, so a
 * callback only counts, and the loop calls done(). Missing: going on with a new connection when one has broken;
 * requests fail with -EIO then.
 */
#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/bfile.h"
#include "base/log.h"

#define MAX_PIECE (32 * MiB) /* what every server has to take, by the protocol's text */

struct nbd_file {
	struct bfile base;
	struct nbd_handle *h;
	struct loop_watch watch;
	uint64_t size, max_piece;
	bool can_flush, can_fua, can_trim, can_zero, has_extents, dead_said;
};

/* One bio on its way. */
struct job {
	struct nbd_file *f;
	struct bio *b;
	unsigned n;        /* commands under way, and 1 while they are started */
	uint64_t len;      /* without what is behind the export's end */
	uint8_t *bounce;
	bool synced;
	int rc;
};

static struct nbd_file *nbd_of(struct bfile *f)
{
	return CONTAINER_OF(f, struct nbd_file, base);
}

/* libnbd's last error, as ours. */
static int last_error(void)
{
	const int n = nbd_get_errno();

	return n ? -n : -EIO;
}

static void start_flush(struct job *j);

static void end_job(struct job *j)
{
	struct bio *b = j->b;
	const int rc = j->rc;

	if (!rc && b->op == BLK_READ && j->bounce)
		iov_from_buf(b->iov, b->n_iov, 0, j->bounce, j->len);
	if (!rc && b->op == BLK_READ && j->len < b->len)
		iov_zero(b->iov, b->n_iov, j->len, b->len - j->len);
	free(j->bounce);
	free(j);
	b->done(b, rc);
}

static void finished(struct loop_work *w)
{
	struct job *j = (struct job *)CONTAINER_OF(w, struct bio, work)->bounce;

	if (!j->rc && j->b->fua && !j->synced && !j->f->can_fua && j->f->can_flush)
		start_flush(j);
	else
		end_job(j);
}

static void drop(struct job *j)
{
	if (--j->n)
		return;
	j->b->bounce = (uint8_t *)j; /* the lower layer's field */
	j->b->work.fn = finished;
	loop_defer(j->f->base.loop, &j->b->work);
}

static int command_done(void *opaque, int *error)
{
	struct job *j = opaque;

	if (*error && !j->rc)
		j->rc = *error == ENOTCONN || *error == EINVAL ? -EIO : -*error;
	drop(j);
	return 1;
}

/* A command was started, or could not be. */
static void started(struct job *j, int64_t cookie)
{
	if (cookie >= 0)
		return;
	if (!j->rc)
		j->rc = last_error() == -ENOTCONN ? -EIO : last_error();
	if (nbd_aio_is_dead(j->f->h) && !j->f->dead_said) {
		j->f->dead_said = true;
		log_msg(LOG_ERROR, "%s: the connection to the server is gone; all requests fail", j->f->base.name);
	}
	j->n--;
}

static void start_flush(struct job *j)
{
	j->synced = true;
	j->n = 2;
	started(j, nbd_aio_flush(j->f->h, (nbd_completion_callback){ .callback = command_done, .user_data = j }, 0));
	drop(j);
}

static void start_piece(struct job *j, uint8_t *buf, uint64_t at, uint64_t len)
{
	const nbd_completion_callback cb = { .callback = command_done, .user_data = j };
	const struct bio *b = j->b;
	const uint32_t fua = b->fua && j->f->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
	struct nbd_handle *h = j->f->h;
	int64_t cookie;

	j->n++;
	switch (b->op) {
	case BLK_READ:
		cookie = nbd_aio_pread(h, buf + at, len, b->offset + at, cb, 0);
		break;
	case BLK_WRITE:
		cookie = nbd_aio_pwrite(h, buf + at, len, b->offset + at, cb, fua);
		break;
	case BLK_DISCARD:
		cookie = nbd_aio_trim(h, len, b->offset + at, cb, 0);
		break;
	default:
		cookie = nbd_aio_zero(h, len, b->offset + at, cb, fua | (b->unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
		break;
	}
	started(j, cookie);
}

/* Memory in one piece: the only vector, or a copy. */
static int make_buffer(struct job *j, uint8_t **buf)
{
	struct bio *b = j->b;

	if (b->op > BLK_WRITE && (b->op != BLK_WRITE_ZEROES || j->f->can_zero))
		return 0;
	if (b->op <= BLK_WRITE && b->n_iov == 1) {
		*buf = b->iov->iov_base;
		return 0;
	}
	j->bounce = calloc(1, MAX(j->len, 1ull));
	if (!j->bounce)
		return -ENOMEM;
	if (b->op == BLK_WRITE)
		iov_to_buf(b->iov, b->n_iov, 0, j->bounce, j->len);
	*buf = j->bounce;
	return 0;
}

/* Zeroes for servers that have no command for them. */
static void write_zeroes(struct job *j, uint8_t *buf, uint64_t at, uint64_t len)
{
	j->n++;
	started(j, nbd_aio_pwrite(j->f->h, buf + at, len, j->b->offset + at,
				  (nbd_completion_callback){ .callback = command_done, .user_data = j },
				  j->b->fua && j->f->can_fua ? LIBNBD_CMD_FLAG_FUA : 0));
}

static void start(struct job *j)
{
	const struct nbd_file *f = j->f;
	uint8_t *buf = NULL;

	if (j->b->op == BLK_FLUSH) {
		j->synced = true;
		if (f->can_flush && !f->base.no_sync)
			start_flush(j);
		else
			drop(j);
		return;
	}
	j->rc = make_buffer(j, &buf);
	if (j->b->op == BLK_DISCARD && !f->can_trim)
		j->len = 0;
	for (uint64_t at = 0; at < j->len && !j->rc; at += f->max_piece) {
		const uint64_t len = MIN(f->max_piece, j->len - at);

		if (j->b->op == BLK_WRITE_ZEROES && !f->can_zero)
			write_zeroes(j, buf, at, len);
		else
			start_piece(j, buf, at, len);
	}
	drop(j);
}

static void nbd_submit(struct bfile *bf, struct bio *b)
{
	struct nbd_file *f = nbd_of(bf);
	struct job *j = calloc(1, sizeof(*j));

	bf->n_sync += b->op == BLK_FLUSH;
	if (!j) {
		bio_finish_later(bf->loop, b, -ENOMEM);
		return;
	}
	j->f = f;
	j->b = b;
	j->n = 1;
	j->len = b->offset < f->size ? MIN(b->len, f->size - b->offset) : 0;
	start(j);
}

static int nbd_file_pread(struct bfile *bf, uint64_t offset, void *buf, size_t len)
{
	struct nbd_file *f = nbd_of(bf);
	uint8_t *p = buf;
	size_t there = offset < f->size ? MIN(len, f->size - offset) : 0;

	memset(p + there, 0, len - there);
	while (there) {
		const size_t n = MIN(there, f->max_piece);

		if (nbd_pread(f->h, p, n, offset, 0) < 0)
			return last_error();
		p += n;
		offset += n;
		there -= n;
	}
	return 0;
}

static int nbd_file_pwrite(struct bfile *bf, uint64_t offset, const void *buf, size_t len)
{
	struct nbd_file *f = nbd_of(bf);
	const uint8_t *p = buf;

	if (offset > f->size || len > f->size - offset)
		return -ENOSPC;
	while (len) {
		const size_t n = MIN(len, f->max_piece);

		if (nbd_pwrite(f->h, p, n, offset, 0) < 0)
			return last_error();
		p += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int nbd_file_sync(struct bfile *bf)
{
	struct nbd_file *f = nbd_of(bf);

	return f->can_flush && nbd_flush(f->h, 0) < 0 ? last_error() : 0;
}

static int nbd_file_size(struct bfile *bf, uint64_t *size)
{
	*size = nbd_of(bf)->size;
	return 0;
}

static int nbd_file_truncate(struct bfile *bf, uint64_t size)
{
	return -ENOTSUP;
}

struct found {
	bool any, data;
	uint64_t len;
};

static int note_extent(void *opaque, const char *context, uint64_t offset, uint32_t *entries, size_t n, int *error)
{
	struct found *x = opaque;

	if (!x->any && n >= 2 && entries[0]) {
		x->any = true;
		x->len = entries[0];
		x->data = !(entries[1] & LIBNBD_STATE_ZERO);
	}
	return 0;
}

static int nbd_file_extent(struct bfile *bf, uint64_t offset, uint64_t max, bool *data, uint64_t *len)
{
	struct nbd_file *f = nbd_of(bf);
	struct found x = { 0 };
	const uint64_t there = offset < f->size ? MIN(max, f->size - offset) : 0;
	const nbd_extent_callback cb = { .callback = note_extent, .user_data = &x };

	*data = true;
	*len = max;
	if (there && f->has_extents && nbd_block_status(f->h, MIN(there, (uint64_t)1 << 31), offset, cb, LIBNBD_CMD_FLAG_REQ_ONE) >= 0 &&
	    x.any) {
		*data = x.data;
		*len = MIN(max, x.len);
	}
	return 0;
}

static void nbd_file_close(struct bfile *bf)
{
	struct nbd_file *f = nbd_of(bf);

	loop_unwatch(&f->watch);
	if (!nbd_aio_is_dead(f->h))
		nbd_shutdown(f->h, 0);
	nbd_close(f->h);
	free(f);
}

static const struct bfile_ops nbd_ops = {
	.name = "nbd",
	.submit = nbd_submit,
	.pread = nbd_file_pread,
	.pwrite = nbd_file_pwrite,
	.sync = nbd_file_sync,
	.size = nbd_file_size,
	.truncate = nbd_file_truncate,
	.extent = nbd_file_extent,
	.close = nbd_file_close,
};

static short events(struct loop_watch *w)
{
	struct nbd_file *f = CONTAINER_OF(w, struct nbd_file, watch);
	const unsigned direction = nbd_aio_is_dead(f->h) ? 0 : nbd_aio_get_direction(f->h);

	w->fd = direction ? nbd_aio_get_fd(f->h) : -1;
	return (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) | (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

static void ready(struct loop_watch *w, short what)
{
	struct nbd_file *f = CONTAINER_OF(w, struct nbd_file, watch);
	const unsigned direction = nbd_aio_is_dead(f->h) ? 0 : nbd_aio_get_direction(f->h);

	/* An error in here makes the connection dead, which ends all commands. */
	if (direction & LIBNBD_AIO_DIRECTION_READ && what & ~POLLOUT)
		nbd_aio_notify_read(f->h);
	else if (direction & LIBNBD_AIO_DIRECTION_WRITE && what & ~POLLIN)
		nbd_aio_notify_write(f->h);
}

static int connect_to(struct nbd_file *f, const char *uri, struct err *e)
{
	int64_t size;

	if (nbd_add_meta_context(f->h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 || nbd_connect_uri(f->h, uri) < 0)
		return err_set(e, -last_error(), "%s: %s; is a server running there?", uri, nbd_get_error());
	size = nbd_get_size(f->h);
	if (size < 0)
		return err_set(e, -last_error(), "%s: its size: %s", uri, nbd_get_error());
	f->size = (uint64_t)size;
	return 0;
}

static void ask_abilities(struct nbd_file *f)
{
	const int64_t max = nbd_get_block_size(f->h, LIBNBD_SIZE_MAXIMUM), min = nbd_get_block_size(f->h, LIBNBD_SIZE_MINIMUM);

	f->max_piece = max > 0 ? MIN((uint64_t)max, MAX_PIECE) : MAX_PIECE;
	f->base.must_align = min > 0 ? (uint32_t)min : 1;
	f->base.align = MAX(f->base.must_align, 512u);
	f->can_flush = nbd_can_flush(f->h) > 0;
	f->can_fua = nbd_can_fua(f->h) > 0;
	f->can_trim = nbd_can_trim(f->h) > 0;
	f->can_zero = nbd_can_zero(f->h) > 0;
	f->has_extents = nbd_can_meta_context(f->h, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0;
}

int bfile_open_nbd(struct bfile **out, struct loop *l, const char *uri, unsigned flags, struct err *e)
{
	struct nbd_file *f = calloc(1, sizeof(*f));
	int rc = 0;

	if (!f || !(f->base.name = strdup(uri)) || !(f->h = nbd_create()))
		rc = err_set(e, ENOMEM, "%s: no memory", uri);
	if (!rc)
		rc = connect_to(f, uri, e);
	if (!rc && flags & BFILE_WRITE && nbd_is_read_only(f->h) > 0)
		rc = err_set(e, EROFS, "%s: the server does not let us write; open it read-only", uri);
	if (rc) {
		if (f) {
			nbd_close(f->h);
			free(f->base.name);
		}
		free(f);
		return rc;
	}
	f->base.ops = &nbd_ops;
	f->base.loop = l;
	f->base.readonly = !(flags & BFILE_WRITE);
	f->base.fixed_size = true;
	ask_abilities(f);
	f->watch.events = events;
	f->watch.ready = ready;
	loop_watch(l, &f->watch);
	*out = &f->base;
	return 0;
}
