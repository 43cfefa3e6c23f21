/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A shared directory.
 *
 * How it can't be left: openat2(2) finds the directory of each path with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, and
 * what is done to the last part is done relative to that descriptor, on a name without slashes that is
 * no dot or dot-dot, and without following it. A file is first found with O_PATH and looked at; only a regular file is
 * opened, through its descriptor, so that nothing can be put in its place in between.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/share/share.h"
#include "base/bits.h"

#define MODE_BITS  01777u /* never set-ID bits: the files belong to the user of the host */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_APPEND)
#define PROC_PATH  32

struct share {
	int root;
	bool readonly;
	uid_t uid;
	gid_t gid;
};

struct share_file {
	int fd;
	bool writable;
	DIR *dir;
	uint64_t at; /* of dir */
};

/* -- Finding -------------------------------------------------------------------------------------------- */

static int open_beneath(int dir, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The directory of a path, and the last part of it; not for the root. */
static int open_parent(struct share *s, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	size_t len = slash ? (size_t)(slash - path) : 0;

	*name = slash ? slash + 1 : path;
	if (!**name || !strcmp(*name, ".") || !strcmp(*name, ".."))
		return -EINVAL;
	if (len >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, len);
	dir[len] = 0;
	return open_beneath(s->root, dir, O_PATH | O_DIRECTORY);
}

/* The same where something is going to be changed. */
static int open_parent_rw(struct share *s, const char *path, const char **name)
{
	return s->readonly ? -EROFS : open_parent(s, path, name);
}

/* The object itself, whatever it is: a descriptor for looking at it. RESOLVE_NO_SYMLINKS minds a link at the end, too. */
static int open_path(struct share *s, const char *path)
{
	const char *name;
	int dir, fd;

	if (!*path)
		return open_beneath(s->root, "", O_PATH | O_DIRECTORY);
	dir = open_parent(s, path, &name);
	if (dir < 0)
		return dir;
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(dir);
	return fd;
}

static int closing(int fd, int rc)
{
	rc = rc < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static void proc_path(char *buf, int fd)
{
	snprintf(buf, PROC_PATH, "/proc/self/fd/%d", fd);
}

int share_open(struct share **out, const char *dir, bool readonly, struct err *e)
{
	struct share *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, ENOMEM, "share '%s': no memory", dir);
	s->root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0) {
		rc = err_set(e, errno, "share '%s': %s; name a directory", dir, strerror(errno));
		free(s);
		return rc;
	}
	rc = open_beneath(s->root, "", O_PATH | O_DIRECTORY);
	if (rc < 0) {
		share_close(s);
		return err_set(e, -rc, "share '%s': openat2: %s; it takes Linux 5.6 and a seccomp profile that allows it", dir,
			       strerror(-rc));
	}
	close(rc);
	s->readonly = readonly;
	s->uid = geteuid();
	s->gid = getegid();
	*out = s;
	return 0;
}

void share_close(struct share *s)
{
	if (!s)
		return;
	close(s->root);
	free(s);
}

/* -- Attributes ------------------------------------------------------------------------------------------- */

static void convert(const struct share *s, const struct stat *st, struct share_attr *a)
{
	*a = (struct share_attr){
		.ino = st->st_ino, .size = (uint64_t)st->st_size, .blocks = (uint64_t)st->st_blocks,
		.atime = st->st_atim.tv_sec, .mtime = st->st_mtim.tv_sec, .ctime = st->st_ctim.tv_sec,
		.atime_ns = (uint32_t)st->st_atim.tv_nsec, .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.ctime_ns = (uint32_t)st->st_ctim.tv_nsec, .mode = st->st_mode, .nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid == s->uid ? 0 : st->st_uid, .gid = st->st_gid == s->gid ? 0 : st->st_gid,
		.rdev = (uint32_t)st->st_rdev, .blksize = (uint32_t)st->st_blksize,
	};
}

int share_stat(struct share *s, const char *path, struct share_file *f, struct share_attr *out)
{
	int fd = f ? f->fd : open_path(s, path), rc;
	struct stat st;

	if (fd < 0)
		return fd;
	rc = fstat(fd, &st) ? -errno : 0;
	if (!f)
		close(fd);
	if (!rc)
		convert(s, &st, out);
	return rc;
}

static int set_size(int pathfd, uint64_t size)
{
	char proc[PROC_PATH];
	struct stat st;

	if (size > INT64_MAX)
		return -EFBIG;
	if (fstat(pathfd, &st) || !S_ISREG(st.st_mode))
		return -EINVAL;
	proc_path(proc, pathfd);
	return truncate(proc, (off_t)size) ? -errno : 0;
}

static int set_times(int pathfd, unsigned what, const struct share_attr *a)
{
	struct timespec ts[2] = {
		{ a->atime, what & SHARE_SET_ATIME_NOW ? UTIME_NOW : what & SHARE_SET_ATIME ? (long)a->atime_ns : UTIME_OMIT },
		{ a->mtime, what & SHARE_SET_MTIME_NOW ? UTIME_NOW : what & SHARE_SET_MTIME ? (long)a->mtime_ns : UTIME_OMIT },
	};

	return utimensat(pathfd, "", ts, AT_EMPTY_PATH) ? -errno : 0;
}

int share_setattr(struct share *s, const char *path, struct share_file *f, unsigned what, const struct share_attr *a)
{
	char proc[PROC_PATH];
	struct stat st;
	int fd, rc = 0;

	if (s->readonly)
		return -EROFS;
	fd = f ? f->fd : open_path(s, path);
	if (fd < 0)
		return fd;
	proc_path(proc, fd);
	if (fstat(fd, &st))
		rc = -errno;
	/* There is one owner: only what is so already may be asked for. */
	else if ((what & SHARE_SET_OWNER && (a->uid ? a->uid : s->uid) != st.st_uid) ||
		 (what & SHARE_SET_GROUP && (a->gid ? a->gid : s->gid) != st.st_gid))
		rc = -EPERM;
	else if (what & SHARE_SET_MODE && (S_ISLNK(st.st_mode) || chmod(proc, a->mode & MODE_BITS)))
		rc = S_ISLNK(st.st_mode) ? -EOPNOTSUPP : -errno;
	if (!rc && what & SHARE_SET_SIZE)
		rc = set_size(fd, a->size);
	if (!rc && what & (SHARE_SET_ATIME | SHARE_SET_MTIME | SHARE_SET_ATIME_NOW | SHARE_SET_MTIME_NOW))
		rc = set_times(fd, what, a);
	if (!f)
		close(fd);
	return rc;
}

int share_statfs(struct share *s, struct share_statfs *out)
{
	struct statvfs v;

	if (fstatvfs(s->root, &v))
		return -errno;
	*out = (struct share_statfs){
		.blocks = v.f_blocks, .bfree = v.f_bfree, .bavail = v.f_bavail, .files = v.f_files, .ffree = v.f_ffree,
		.bsize = (uint32_t)v.f_bsize, .namelen = (uint32_t)v.f_namemax, .frsize = (uint32_t)v.f_frsize,
	};
	return 0;
}

/* -- Names ---------------------------------------------------------------------------------------------- */

int share_readlink(struct share *s, const char *path, char *buf, size_t len)
{
	int fd = open_path(s, path);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", buf, len);
	if (n < 0)
		n = -errno;
	close(fd);
	return (int)n;
}

int share_symlink(struct share *s, const char *path, const char *target)
{
	const char *name;
	int dir = open_parent_rw(s, path, &name);

	return dir < 0 ? dir : closing(dir, symlinkat(target, dir, name));
}

int share_mknod(struct share *s, const char *path, uint32_t mode)
{
	const char *name;
	int dir;

	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EPERM;
	dir = open_parent_rw(s, path, &name);
	return dir < 0 ? dir : closing(dir, mknodat(dir, name, mode & (S_IFMT | MODE_BITS), 0));
}

int share_mkdir(struct share *s, const char *path, uint32_t mode)
{
	const char *name;
	int dir = open_parent_rw(s, path, &name);

	return dir < 0 ? dir : closing(dir, mkdirat(dir, name, mode & MODE_BITS));
}

int share_unlink(struct share *s, const char *path, bool is_dir)
{
	const char *name;
	int dir = open_parent_rw(s, path, &name);

	return dir < 0 ? dir : closing(dir, unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0));
}

/* Both directories are open; neither name is followed. */
static int two_names(struct share *s, const char *old, const char *path, int (*act)(int, const char *, int, const char *, unsigned),
		     unsigned flags)
{
	const char *from, *to;
	int a = open_parent_rw(s, old, &from), b;

	if (a < 0)
		return a;
	b = open_parent_rw(s, path, &to);
	if (b < 0) {
		close(a);
		return b;
	}
	b = closing(b, act(a, from, b, to, flags));
	close(a);
	return b;
}

static int act_link(int a, const char *from, int b, const char *to, unsigned flags)
{
	return linkat(a, from, b, to, 0);
}

static int act_rename(int a, const char *from, int b, const char *to, unsigned flags)
{
	return renameat2(a, from, b, to, flags);
}

int share_link(struct share *s, const char *old, const char *path)
{
	return two_names(s, old, path, act_link, 0);
}

int share_rename(struct share *s, const char *old, const char *path, unsigned flags)
{
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	return two_names(s, old, path, act_rename, flags);
}

/* -- Files ---------------------------------------------------------------------------------------------- */

static int file_new(int fd, bool writable, struct share_file **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out) {
		close(fd);
		return -ENOMEM;
	}
	(*out)->fd = fd;
	(*out)->writable = writable;
	return 0;
}

static bool wants_write(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

int share_file_open(struct share *s, const char *path, uint32_t flags, struct share_file **out)
{
	char proc[PROC_PATH];
	struct stat st;
	int at, fd;

	if (s->readonly && wants_write(flags))
		return -EROFS;
	at = open_path(s, path);
	if (at < 0)
		return at;
	if (fstat(at, &st) || !S_ISREG(st.st_mode)) {
		close(at);
		return -EACCES;
	}
	proc_path(proc, at);
	fd = open(proc, (int)(flags & OPEN_FLAGS) | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		fd = -errno;
	close(at);
	return fd < 0 ? fd : file_new(fd, wants_write(flags), out);
}

int share_file_create(struct share *s, const char *path, uint32_t flags, uint32_t mode, struct share_file **out)
{
	const int how = (int)(flags & OPEN_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	const char *name;
	int dir = open_parent_rw(s, path, &name), fd;

	if (dir < 0)
		return dir;
	fd = openat(dir, name, how, mode & MODE_BITS);
	if (fd < 0)
		fd = -errno;
	close(dir);
	if (fd == -EEXIST && !(flags & O_EXCL))
		return share_file_open(s, path, flags, out);
	return fd < 0 ? fd : file_new(fd, wants_write(flags), out);
}

int share_dir_open(struct share *s, const char *path, struct share_file **out)
{
	int fd = open_beneath(s->root, path, O_RDONLY | O_DIRECTORY), rc;

	if (fd < 0)
		return fd;
	rc = file_new(fd, false, out);
	if (rc)
		return rc;
	(*out)->dir = fdopendir(fd);
	if ((*out)->dir)
		return 0;
	rc = -errno;
	share_file_close(*out);
	return rc;
}

void share_file_close(struct share_file *f)
{
	if (f->dir)
		closedir(f->dir);
	else
		close(f->fd);
	free(f);
}

ssize_t share_file_read(struct share_file *f, const struct iovec *iov, unsigned n, uint64_t off)
{
	ssize_t got = f->dir || off > INT64_MAX ? -1 : preadv(f->fd, iov, (int)n, (off_t)off);

	return got >= 0 ? got : f->dir || off > INT64_MAX ? -EINVAL : -errno;
}

ssize_t share_file_write(struct share_file *f, const struct iovec *iov, unsigned n, uint64_t off)
{
	ssize_t got;

	if (!f->writable)
		return -EBADF;
	if (off > INT64_MAX)
		return -EFBIG;
	got = pwritev(f->fd, iov, (int)n, (off_t)off);
	return got >= 0 ? got : -errno;
}

int share_file_sync(struct share_file *f, bool data_only)
{
	return (data_only ? fdatasync(f->fd) : fsync(f->fd)) ? -errno : 0;
}

int share_file_allocate(struct share_file *f, uint32_t mode, uint64_t off, uint64_t len)
{
	if (!f->writable || f->dir)
		return -EBADF;
	return fallocate(f->fd, (int)mode, (off_t)off, (off_t)len) ? -errno : 0;
}

int64_t share_file_seek(struct share_file *f, uint64_t off, uint32_t whence)
{
	off_t at;

	if (f->dir || off > INT64_MAX || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return -EINVAL;
	at = lseek(f->fd, (off_t)off, (int)whence);
	return at < 0 ? -errno : at;
}

int share_dir_read(struct share_file *f, uint64_t off, struct share_entry *out)
{
	struct dirent *de;

	if (!f->dir)
		return -ENOTDIR;
	if (off != f->at)
		seekdir(f->dir, (long)off);
	errno = 0;
	de = readdir(f->dir);
	if (!de) {
		f->at = UINT64_MAX;
		return errno ? -errno : 0;
	}
	f->at = (uint64_t)de->d_off;
	*out = (struct share_entry){ de->d_ino, f->at, de->d_type, de->d_name };
	return 1;
}
