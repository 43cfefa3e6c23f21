/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE protocol, server side.
 *
 * Specification: linux/fuse.h, version 7.31 (later clients agree to speak it).
 * Missing: extended attributes, locks (the guest's own kernel keeps those), ioctl, DAX, notifications. After a
 * snapshot is restored the guest's nodes and open files are unknown (ESTALE).
 *
 * A request is read into memory of ours, once, but for the data of a write; data goes straight from and to guest RAM.
 */
#include <errno.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "virtio/fs_fuse.h"
#include "virtio/sg.h"

#define PROTOCOL_MINOR 31
#define MAX_WRITE      (1u << 20)
#define MAX_PAGES      (MAX_WRITE / 4096)
#define MAX_ARGS       8192 /* longest arguments: a name and a link's target */
#define MAX_DIR        (64 * KiB)
#define VALID_S        1    /* how long the guest may believe names and attributes: the host may change them */
#define FORGET_MAX     2048 /* in one request */

struct request {
	struct fs_session *s;
	struct vq_chain *c;
	struct fuse_in_header h;
	struct fs_node *node;
	uint8_t args[MAX_ARGS + 1]; /* what follows the header, with a zero behind it */
	size_t args_len;
	uint8_t *out;            /* answer behind its header, room for out_room */
	size_t out_room, out_len;
	bool direct;             /* the answer's data is already in the chain */
	char path[PATH_MAX], path2[PATH_MAX];
};

/* -- Arguments ------------------------------------------------------------------------------------------- */

/* The fixed part of the arguments, or NULL when there is less. */
static const void *fixed(const struct request *r, size_t size)
{
	return r->args_len >= size ? r->args : NULL;
}

/* The string at `off` of the arguments, which must end in them; its successor's offset in *next. */
static const char *string_at(const struct request *r, size_t off, size_t *next)
{
	const char *s = (const char *)r->args + off;
	size_t len;

	if (off >= r->args_len)
		return NULL;
	len = strnlen(s, r->args_len - off);
	if (len == r->args_len - off)
		return NULL;
	if (next)
		*next = off + len + 1;
	return s;
}

static int answer(struct request *r, const void *data, size_t len)
{
	memcpy(r->out, data, MIN(len, r->out_room));
	r->out_len = MIN(len, r->out_room);
	return 0;
}

/* The path of the request's node, or of a name in it. */
static int path_of(struct request *r, const char *name)
{
	return name || r->node->linked ? fs_node_path(r->node, name, r->path, sizeof(r->path)) : -ESTALE;
}

static void to_fuse(const struct share_attr *a, struct fuse_attr *f)
{
	*f = (struct fuse_attr){
		.ino = a->ino, .size = a->size, .blocks = a->blocks, .atime = (uint64_t)a->atime, .mtime = (uint64_t)a->mtime,
		.ctime = (uint64_t)a->ctime, .atimensec = a->atime_ns, .mtimensec = a->mtime_ns, .ctimensec = a->ctime_ns,
		.mode = a->mode, .nlink = a->nlink, .uid = a->uid, .gid = a->gid, .rdev = a->rdev, .blksize = a->blksize,
	};
}

/* -- Names ------------------------------------------------------------------------------------------------ */

/* The entry of a name that is there now, with one more look-up of its node. */
static int make_entry(struct request *r, const char *name, const char *path, struct fuse_entry_out *out)
{
	struct share_attr a;
	struct fs_node *n;
	int rc = share_stat(r->s->share, path, NULL, &a);

	if (rc)
		return rc;
	n = fs_node_enter(&r->s->table, r->node, name, a.ino);
	if (!n)
		return -ENFILE;
	*out = (struct fuse_entry_out){ .nodeid = n->id, .entry_valid = VALID_S, .attr_valid = VALID_S };
	to_fuse(&a, &out->attr);
	return 0;
}

static int answer_entry(struct request *r, const char *name, const char *path)
{
	struct fuse_entry_out out;
	int rc = make_entry(r, name, path, &out);

	return rc ? rc : answer(r, &out, sizeof(out));
}

static int do_lookup(struct request *r)
{
	const char *name = string_at(r, 0, NULL);
	int rc = name ? path_of(r, name) : -EINVAL;

	return rc ? rc : answer_entry(r, name, r->path);
}

static int do_mknod(struct request *r)
{
	const struct fuse_mknod_in *in = fixed(r, sizeof(*in));
	const char *name = in ? string_at(r, sizeof(*in), NULL) : NULL;
	int rc = name ? path_of(r, name) : -EINVAL;

	if (!rc)
		rc = share_mknod(r->s->share, r->path, in->mode & ~in->umask);
	return rc ? rc : answer_entry(r, name, r->path);
}

static int do_mkdir(struct request *r)
{
	const struct fuse_mkdir_in *in = fixed(r, sizeof(*in));
	const char *name = in ? string_at(r, sizeof(*in), NULL) : NULL;
	int rc = name ? path_of(r, name) : -EINVAL;

	if (!rc)
		rc = share_mkdir(r->s->share, r->path, in->mode & ~in->umask);
	return rc ? rc : answer_entry(r, name, r->path);
}

static int do_symlink(struct request *r)
{
	size_t next = 0;
	const char *name = string_at(r, 0, &next), *target = name ? string_at(r, next, NULL) : NULL;
	int rc = target ? path_of(r, name) : -EINVAL;

	if (!rc)
		rc = share_symlink(r->s->share, r->path, target);
	return rc ? rc : answer_entry(r, name, r->path);
}

static int do_unlink(struct request *r)
{
	const char *name = string_at(r, 0, NULL);
	int rc = name ? path_of(r, name) : -EINVAL;

	if (!rc)
		rc = share_unlink(r->s->share, r->path, r->h.opcode == FUSE_RMDIR);
	if (!rc)
		fs_node_unlinked(&r->s->table, r->node, name);
	return rc;
}

static int rename_to(struct request *r, uint64_t newdir, size_t at, uint32_t flags)
{
	struct fs_node *to = fs_node_get(&r->s->table, newdir);
	size_t next = 0;
	const char *old = string_at(r, at, &next), *name = old ? string_at(r, next, NULL) : NULL;
	int rc = name && to ? path_of(r, old) : -EINVAL;

	if (!rc)
		rc = fs_node_path(to, name, r->path2, sizeof(r->path2));
	if (!rc)
		rc = share_rename(r->s->share, r->path, r->path2, flags);
	if (!rc)
		fs_node_renamed(&r->s->table, r->node, old, to, name, flags & 2 /* RENAME_EXCHANGE */);
	return rc;
}

static int do_rename(struct request *r)
{
	const struct fuse_rename_in *in = fixed(r, sizeof(*in));

	return in ? rename_to(r, in->newdir, sizeof(*in), 0) : -EINVAL;
}

static int do_rename2(struct request *r)
{
	const struct fuse_rename2_in *in = fixed(r, sizeof(*in));

	return in ? rename_to(r, in->newdir, sizeof(*in), in->flags) : -EINVAL;
}

static int do_link(struct request *r)
{
	const struct fuse_link_in *in = fixed(r, sizeof(*in));
	struct fs_node *old = in ? fs_node_get(&r->s->table, in->oldnodeid) : NULL;
	const char *name = in ? string_at(r, sizeof(*in), NULL) : NULL;
	int rc = name && old ? path_of(r, name) : -EINVAL;

	if (!rc)
		rc = fs_node_path(old, NULL, r->path2, sizeof(r->path2));
	if (!rc)
		rc = share_link(r->s->share, r->path2, r->path);
	return rc ? rc : answer_entry(r, name, r->path);
}

static int do_readlink(struct request *r)
{
	char target[PATH_MAX];
	int rc = path_of(r, NULL);

	if (!rc)
		rc = share_readlink(r->s->share, r->path, target, sizeof(target));
	return rc < 0 ? rc : answer(r, target, (size_t)rc);
}

/* -- Attributes ------------------------------------------------------------------------------------------- */

static int answer_attr(struct request *r, struct share_file *f)
{
	struct fuse_attr_out out = { .attr_valid = VALID_S };
	struct share_attr a;
	int rc = share_stat(r->s->share, r->path, f, &a);

	if (rc)
		return rc;
	to_fuse(&a, &out.attr);
	return answer(r, &out, sizeof(out));
}

/* The open file that the guest names, else any of the node if it has no path; then *f is NULL and the path is set. */
static int file_or_path(struct request *r, bool named, uint64_t handle, struct share_file **f)
{
	*f = named ? fs_file_get(&r->s->table, handle, r->node) : NULL;
	if (*f || !path_of(r, NULL))
		return 0;
	*f = fs_file_any(&r->s->table, r->node);
	return *f ? 0 : -ESTALE;
}

static int do_getattr(struct request *r)
{
	const struct fuse_getattr_in *in = fixed(r, sizeof(*in));
	struct share_file *f;
	int rc = in ? file_or_path(r, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &f) : -EINVAL;

	return rc ? rc : answer_attr(r, f);
}

static int do_setattr(struct request *r)
{
	static const struct {
		uint32_t fattr;
		unsigned what;
	} map[] = {
		{ FATTR_MODE, SHARE_SET_MODE }, { FATTR_UID, SHARE_SET_OWNER }, { FATTR_GID, SHARE_SET_GROUP },
		{ FATTR_SIZE, SHARE_SET_SIZE }, { FATTR_ATIME, SHARE_SET_ATIME }, { FATTR_MTIME, SHARE_SET_MTIME },
		{ FATTR_ATIME_NOW, SHARE_SET_ATIME_NOW }, { FATTR_MTIME_NOW, SHARE_SET_MTIME_NOW },
	};
	const struct fuse_setattr_in *in = fixed(r, sizeof(*in));
	struct share_attr a = { 0 };
	struct share_file *f;
	unsigned what = 0;
	int rc = in ? file_or_path(r, in->valid & FATTR_FH, in->fh, &f) : -EINVAL;

	if (rc)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		what |= in->valid & map[i].fattr ? map[i].what : 0;
	a.mode = in->mode;
	a.uid = in->uid;
	a.gid = in->gid;
	a.size = in->size;
	a.atime = (int64_t)in->atime;
	a.mtime = (int64_t)in->mtime;
	a.atime_ns = in->atimensec;
	a.mtime_ns = in->mtimensec;
	rc = share_setattr(r->s->share, r->path, f, what, &a);
	return rc ? rc : answer_attr(r, f);
}

static int do_statfs(struct request *r)
{
	struct fuse_statfs_out out = { 0 };
	struct share_statfs v;
	int rc = share_statfs(r->s->share, &v);

	if (rc)
		return rc;
	out.st = (struct fuse_kstatfs){
		.blocks = v.blocks, .bfree = v.bfree, .bavail = v.bavail, .files = v.files, .ffree = v.ffree, .bsize = v.bsize,
		.namelen = v.namelen, .frsize = v.frsize,
	};
	return answer(r, &out, sizeof(out));
}

/* -- Files ------------------------------------------------------------------------------------------------ */

static int answer_open(struct request *r, struct fs_node *n, struct share_file *f)
{
	struct fuse_open_out out = { 0 };
	int rc = fs_file_add(&r->s->table, n, f, &out.fh);

	return rc ? rc : answer(r, &out, sizeof(out));
}

static int do_open(struct request *r)
{
	const struct fuse_open_in *in = fixed(r, sizeof(*in));
	struct share_file *f;
	int rc = in ? path_of(r, NULL) : -EINVAL;

	if (rc)
		return rc;
	if (r->h.opcode == FUSE_OPENDIR)
		rc = share_dir_open(r->s->share, r->path, &f);
	else
		rc = share_file_open(r->s->share, r->path, in->flags, &f);
	return rc ? rc : answer_open(r, r->node, f);
}

static int do_create(struct request *r)
{
	const struct fuse_create_in *in = fixed(r, sizeof(*in));
	const char *name = in ? string_at(r, sizeof(*in), NULL) : NULL;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { 0 };
	struct share_file *f;
	int rc = name ? path_of(r, name) : -EINVAL;

	if (!rc)
		rc = share_file_create(r->s->share, r->path, in->flags, in->mode & ~in->umask, &f);
	if (rc)
		return rc;
	rc = make_entry(r, name, r->path, &out.entry);
	if (rc) {
		share_file_close(f);
		return rc;
	}
	rc = fs_file_add(&r->s->table, fs_node_get(&r->s->table, out.entry.nodeid), f, &out.open.fh);
	return rc ? rc : answer(r, &out, sizeof(out));
}

static int do_read(struct request *r)
{
	const struct fuse_read_in *in = fixed(r, sizeof(*in));
	struct share_file *f = in ? fs_file_get(&r->s->table, in->fh, r->node) : NULL;
	struct iovec iov[IOV_MAX];
	ssize_t got;
	unsigned n;

	if (!f || r->c->n_in > IOV_MAX)
		return -EBADF;
	n = sg_slice(iov, r->c->in, r->c->n_in, sizeof(struct fuse_out_header), MIN(in->size, MAX_WRITE));
	got = share_file_read(f, iov, n, in->offset);
	if (got < 0)
		return (int)got;
	r->direct = true;
	r->out_len = (size_t)got;
	return 0;
}

static int do_write(struct request *r)
{
	const struct fuse_write_in *in = fixed(r, sizeof(*in));
	struct share_file *f = in ? fs_file_get(&r->s->table, in->fh, r->node) : NULL;
	struct fuse_write_out out = { 0 };
	struct iovec iov[IOV_MAX];
	ssize_t put;
	unsigned n;

	if (!f || r->c->n_out > IOV_MAX)
		return -EBADF;
	n = sg_slice(iov, r->c->out, r->c->n_out, sizeof(r->h) + sizeof(*in), MIN(in->size, MAX_WRITE));
	put = share_file_write(f, iov, n, in->offset);
	if (put < 0)
		return (int)put;
	out.size = (uint32_t)put;
	return answer(r, &out, sizeof(out));
}

static int do_release(struct request *r)
{
	const struct fuse_release_in *in = fixed(r, sizeof(*in));

	if (!in || !fs_file_get(&r->s->table, in->fh, r->node))
		return -EBADF;
	fs_file_close(&r->s->table, in->fh);
	return 0;
}

static int do_flush(struct request *r)
{
	return 0;
}

static int do_fsync(struct request *r)
{
	const struct fuse_fsync_in *in = fixed(r, sizeof(*in));
	struct share_file *f = in ? fs_file_get(&r->s->table, in->fh, r->node) : NULL;

	return f ? share_file_sync(f, in->fsync_flags & FUSE_FSYNC_FDATASYNC) : -EBADF;
}

static int do_fallocate(struct request *r)
{
	const struct fuse_fallocate_in *in = fixed(r, sizeof(*in));
	struct share_file *f = in ? fs_file_get(&r->s->table, in->fh, r->node) : NULL;

	return f ? share_file_allocate(f, in->mode, in->offset, in->length) : -EBADF;
}

static int do_lseek(struct request *r)
{
	const struct fuse_lseek_in *in = fixed(r, sizeof(*in));
	struct share_file *f = in ? fs_file_get(&r->s->table, in->fh, r->node) : NULL;
	struct fuse_lseek_out out;
	int64_t at;

	if (!f)
		return -EBADF;
	at = share_file_seek(f, in->offset, in->whence);
	if (at < 0)
		return (int)at;
	out.offset = (uint64_t)at;
	return answer(r, &out, sizeof(out));
}

/* -- Directories ------------------------------------------------------------------------------------------ */

/* One entry at r->out + r->out_len; false: it does not fit. */
static bool add_entry(struct request *r, const struct share_entry *e, size_t room)
{
	bool plus = r->h.opcode == FUSE_READDIRPLUS, dots = !strcmp(e->name, ".") || !strcmp(e->name, "..");
	size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET, len = strlen(e->name);
	size_t size = FUSE_DIRENT_ALIGN(head + len);
	struct fuse_entry_out entry = { 0 };
	uint8_t *at = r->out + r->out_len;
	struct fuse_dirent d = { .ino = e->ino, .off = e->next, .namelen = (uint32_t)len, .type = e->type };

	if (size > room - r->out_len || len > FS_MAX_NAME)
		return len > FS_MAX_NAME; /* such a name can't be used: left out */
	memset(at, 0, size);
	/* What has gone in between is shown by its name only. */
	if (plus && !dots && (path_of(r, e->name) || make_entry(r, e->name, r->path, &entry)))
		memset(&entry, 0, sizeof(entry));
	if (plus)
		memcpy(at, &entry, sizeof(entry));
	memcpy(at + head - FUSE_NAME_OFFSET, &d, FUSE_NAME_OFFSET);
	memcpy(at + head, e->name, len);
	r->out_len += size;
	return true;
}

static int do_readdir(struct request *r)
{
	const struct fuse_read_in *in = fixed(r, sizeof(*in));
	struct share_file *f = in ? fs_file_get(&r->s->table, in->fh, r->node) : NULL;
	struct share_entry e = { 0 };
	uint64_t off;
	size_t room;
	int rc;

	if (!f)
		return -EBADF;
	room = MIN(in->size, r->out_room);
	for (off = in->offset;; off = e.next) {
		rc = share_dir_read(f, off, &e);
		if (rc <= 0)
			return r->out_len ? 0 : rc;
		if (!add_entry(r, &e, room))
			return 0;
	}
}

/* -- The session ------------------------------------------------------------------------------------------ */

static int do_init(struct request *r)
{
	/* Fields that came after version 7.5 may be missing. */
	const struct fuse_init_in *in = fixed(r, 16);
	const uint32_t want = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_DO_READDIRPLUS |
			      FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_ASYNC_DIO | FUSE_AUTO_INVAL_DATA;
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = PROTOCOL_MINOR };

	if (!in || in->major < FUSE_KERNEL_VERSION)
		return -EPROTO;
	fs_table_clear(&r->s->table);
	if (in->major > FUSE_KERNEL_VERSION) /* the client tries again with ours */
		return answer(r, &out, sizeof(out));
	out.max_readahead = in->max_readahead;
	out.flags = in->flags & want;
	out.max_background = 64;
	out.congestion_threshold = 48;
	out.max_write = MAX_WRITE;
	out.time_gran = 1;
	out.max_pages = MAX_PAGES;
	return answer(r, &out, sizeof(out));
}

static int do_destroy(struct request *r)
{
	fs_table_clear(&r->s->table);
	return 0;
}

static void do_forget(struct request *r)
{
	const struct fuse_forget_in *in = fixed(r, sizeof(*in));

	if (in && r->node)
		fs_node_forget(&r->s->table, r->node, in->nlookup);
}

/* The list may be longer than our copy of the arguments. */
static void do_batch_forget(struct request *r)
{
	const struct fuse_batch_forget_in *in = fixed(r, sizeof(*in));
	size_t off = sizeof(r->h) + sizeof(*in);
	struct fuse_forget_one one;

	for (uint32_t i = 0; in && i < MIN(in->count, FORGET_MAX); i++, off += sizeof(one)) {
		struct fs_node *n;

		if (sg_read(r->c->out, r->c->n_out, off, &one, sizeof(one)) != sizeof(one))
			return;
		n = fs_node_get(&r->s->table, one.nodeid);
		if (n)
			fs_node_forget(&r->s->table, n, one.nlookup);
	}
}

static int (*const ops[])(struct request *r) = {
	[FUSE_LOOKUP] = do_lookup, [FUSE_GETATTR] = do_getattr, [FUSE_SETATTR] = do_setattr, [FUSE_READLINK] = do_readlink,
	[FUSE_SYMLINK] = do_symlink, [FUSE_MKNOD] = do_mknod, [FUSE_MKDIR] = do_mkdir, [FUSE_UNLINK] = do_unlink,
	[FUSE_RMDIR] = do_unlink, [FUSE_RENAME] = do_rename, [FUSE_LINK] = do_link, [FUSE_OPEN] = do_open,
	[FUSE_READ] = do_read, [FUSE_WRITE] = do_write, [FUSE_STATFS] = do_statfs, [FUSE_RELEASE] = do_release,
	[FUSE_FSYNC] = do_fsync, [FUSE_FLUSH] = do_flush, [FUSE_INIT] = do_init, [FUSE_OPENDIR] = do_open,
	[FUSE_READDIR] = do_readdir, [FUSE_RELEASEDIR] = do_release, [FUSE_FSYNCDIR] = do_fsync, [FUSE_CREATE] = do_create,
	[FUSE_DESTROY] = do_destroy, [FUSE_FALLOCATE] = do_fallocate, [FUSE_READDIRPLUS] = do_readdir,
	[FUSE_RENAME2] = do_rename2, [FUSE_LSEEK] = do_lseek,
};

static int run(struct request *r)
{
	uint32_t op = r->h.opcode;

	if (op >= ARRAY_SIZE(ops) || !ops[op])
		return -ENOSYS;
	if (!r->node && op != FUSE_INIT && op != FUSE_DESTROY)
		return -ESTALE;
	return ops[op](r);
}

/* The answer's header, and what is not in the chain yet. */
static int64_t finish(struct request *r, int rc)
{
	struct fuse_out_header out = { .error = rc < 0 ? rc : 0, .unique = r->h.unique };

	if (rc < 0)
		r->out_len = 0;
	out.len = (uint32_t)(sizeof(out) + r->out_len);
	sg_write(r->c->in, r->c->n_in, 0, &out, sizeof(out));
	if (!r->direct || rc < 0)
		sg_write(r->c->in, r->c->n_in, sizeof(out), r->out, r->out_len);
	return out.len;
}

int64_t fs_session_handle(struct fs_session *s, struct vq_chain *c)
{
	struct request *r = malloc(sizeof(*r));
	int64_t len = 0;

	if (!r)
		return -ENOMEM;
	memset(r, 0, offsetof(struct request, args));
	r->s = s;
	r->c = c;
	r->direct = false;
	r->out = NULL;
	r->out_len = 0;
	if (sg_read(c->out, c->n_out, 0, &r->h, sizeof(r->h)) != sizeof(r->h)) {
		free(r);
		return -EINVAL;
	}
	r->args_len = sg_read(c->out, c->n_out, sizeof(r->h), r->args, MAX_ARGS);
	r->args[r->args_len] = 0;
	r->path[0] = r->path2[0] = 0;
	r->node = fs_node_get(&s->table, r->h.nodeid);
	r->out_room = c->in_len > sizeof(struct fuse_out_header) ? MIN(c->in_len - sizeof(struct fuse_out_header), MAX_DIR) : 0;
	if (r->h.opcode == FUSE_FORGET) {
		do_forget(r);
	} else if (r->h.opcode == FUSE_BATCH_FORGET) {
		do_batch_forget(r);
	} else if (c->in_len < sizeof(struct fuse_out_header)) {
		len = -EINVAL;
	} else {
		r->out = malloc(MAX_DIR);
		len = r->out ? finish(r, run(r)) : finish(r, -ENOMEM);
	}
	free(r->out);
	free(r);
	return len;
}
