/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are put into a guest: mapped read-only, and checked not to have changed since. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cli/file.h"

static const char *advice(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
		return "; check the path";
	case EACCES:
		return "; make it readable for you";
	default:
		return "";
	}
}

int file_map(struct mapped_file *f, const char *path, const char *what, struct err *e)
{
	struct stat st;
	int rc = 0;

	memset(f, 0, sizeof(*f));
	/* O_NONBLOCK: opening a FIFO must not hang; it is refused below. */
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0 || fstat(f->fd, &st))
		rc = err_set(e, errno, "%s '%s': cannot open it: %s%s", what, path, strerror(errno), advice(errno));
	else if (!S_ISREG(st.st_mode))
		rc = err_set(e, EINVAL, "%s '%s': not a regular file; name a %s file", what, path, what);
	else if (!st.st_size)
		rc = err_set(e, EINVAL, "%s '%s': the file is empty; get it again", what, path);
	if (!rc) {
		f->len = (size_t)st.st_size;
		f->data = mmap(NULL, f->len, PROT_READ, MAP_PRIVATE, f->fd, 0);
		if (f->data == MAP_FAILED)
			rc = err_set(e, errno, "%s '%s': cannot read it: %s", what, path, strerror(errno));
	}
	if (rc) {
		if (f->fd >= 0)
			close(f->fd);
		memset(f, 0, sizeof(*f));
		return rc;
	}
	f->path = path;
	f->what = what;
	f->mtime = st.st_mtim;
	return 0;
}

void file_unmap(struct mapped_file *f)
{
	if (!f->data)
		return;
	munmap(f->data, f->len);
	close(f->fd);
	memset(f, 0, sizeof(*f));
}

int file_recheck(const struct mapped_file *f, struct err *e)
{
	struct stat st;

	if (fstat(f->fd, &st))
		return err_set(e, errno, "%s '%s': %s", f->what, f->path, strerror(errno));
	if ((size_t)st.st_size != f->len || st.st_mtim.tv_sec != f->mtime.tv_sec ||
	    st.st_mtim.tv_nsec != f->mtime.tv_nsec)
		return err_set(e, ESTALE, "%s '%s': changed since the start, so a reboot cannot load it; start again",
			       f->what, f->path);
	return 0;
}

void file_idle(const struct mapped_file *f)
{
	madvise(f->data, f->len, MADV_DONTNEED);
}
