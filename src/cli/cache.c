/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache directory: lock, checked files, atomic replacement. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cache.h"
#include "cli/sha256.h"

#define SUM_SUFFIX ".sum"
#define SUM_LINE_MAX 128

int cache_path(struct strbuf *dir, struct err *e)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	/* The specification wants a relative path ignored. */
	if (xdg && *xdg == '/')
		strbuf_addf(dir, "%s/doppel", xdg);
	else if (home && *home)
		strbuf_addf(dir, "%s/.cache/doppel", home);
	else
		return err_set(e, ENOENT,
			       "no place for the default guest's files: set HOME or XDG_CACHE_HOME");
	return 0;
}

static int make_dirs(char *path)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

static int take_lock(struct cache *c, struct err *e)
{
	struct strbuf path = STRBUF_INIT;
	int rc = 0;

	strbuf_addf(&path, "%s/lock", c->dir.buf);
	c->lock_fd = open(path.buf, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (c->lock_fd < 0)
		rc = err_set(e, errno, "cache %s: %s: make it writable, or set XDG_CACHE_HOME", c->dir.buf,
			     strerror(errno));
	strbuf_release(&path);
	if (rc || !flock(c->lock_fd, LOCK_EX | LOCK_NB))
		return rc;
	if (errno == EWOULDBLOCK)
		fprintf(stderr, "doppel: waiting for another doppel that prepares the default guest\n");
	while (flock(c->lock_fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		rc = err_set(e, errno, "cache %s: cannot lock it: %s", c->dir.buf, strerror(errno));
		close(c->lock_fd);
		return rc;
	}
	return 0;
}

int cache_open(struct cache *c, struct err *e)
{
	int rc;

	*c = (struct cache){ .lock_fd = -1 };
	rc = cache_path(&c->dir, e);
	if (rc)
		return rc;
	rc = make_dirs(c->dir.buf);
	if (rc)
		rc = err_set(e, -rc, "cache %s: cannot make it: %s: make it writable, or set XDG_CACHE_HOME",
			     c->dir.buf, strerror(-rc));
	if (!rc)
		rc = take_lock(c, e);
	if (rc)
		strbuf_release(&c->dir);
	return rc;
}

void cache_close(struct cache *c)
{
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	c->lock_fd = -1;
	strbuf_release(&c->dir);
}

/* What a file's .sum has to say: one line. -errno if it can't be read. */
static int file_sum(const char *path, char line[SUM_LINE_MAX])
{
	char hex[SHA256_HEX_SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = -EINVAL;
	struct stat st;
	void *p;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p != MAP_FAILED) {
			sha256_hex(p, (size_t)st.st_size, hex);
			munmap(p, (size_t)st.st_size);
			snprintf(line, SUM_LINE_MAX, "%s %lld\n", hex, (long long)st.st_size);
			rc = 0;
		}
	}
	close(fd);
	return rc;
}

bool cache_find(const struct cache *c, const char *name, struct strbuf *path)
{
	char want[SUM_LINE_MAX] = "", have[SUM_LINE_MAX];
	struct strbuf file = STRBUF_INIT, sum = STRBUF_INIT;
	FILE *f;
	bool ok;

	strbuf_addf(&file, "%s/%s", c->dir.buf, name);
	strbuf_addf(&sum, "%s" SUM_SUFFIX, file.buf);
	f = fopen(sum.buf, "re");
	ok = f && fgets(want, sizeof(want), f);
	if (f)
		fclose(f);
	ok = ok && !file_sum(file.buf, have) && !strcmp(want, have);
	if (ok)
		strbuf_add(path, file.buf, file.len);
	strbuf_release(&file);
	strbuf_release(&sum);
	return ok;
}

static int write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), rc = 0;

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < len && !rc;) {
		ssize_t n = write(fd, (const char *)data + done, len - done);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		if (n > 0)
			done += (size_t)n;
	}
	if (!rc && fsync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

int cache_keep_file(struct cache *c, const char *name, const char *from, struct strbuf *path, struct err *e)
{
	struct strbuf to = STRBUF_INIT, sum = STRBUF_INIT;
	char line[SUM_LINE_MAX];
	int rc = file_sum(from, line);

	strbuf_addf(&to, "%s/%s", c->dir.buf, name);
	strbuf_addf(&sum, "%s" SUM_SUFFIX, to.buf);
	/* Between the two renames the sum does not match, which counts as not there. */
	if (!rc)
		rc = write_file(sum.buf, line, strlen(line));
	if (!rc && (chmod(from, 0644) || rename(from, to.buf)))
		rc = -errno;
	if (rc)
		err_set(e, -rc, "cache %s: cannot keep %s: %s: is there room?", c->dir.buf, name,
			strerror(-rc));
	else
		strbuf_add(path, to.buf, to.len);
	strbuf_release(&to);
	strbuf_release(&sum);
	return rc;
}

int cache_keep_bytes(struct cache *c, const char *name, const void *data, size_t len, struct strbuf *path,
		     struct err *e)
{
	struct strbuf tmp = STRBUF_INIT;
	int rc;

	strbuf_addf(&tmp, "%s/%s.new", c->dir.buf, name);
	rc = write_file(tmp.buf, data, len);
	if (rc)
		err_set(e, -rc, "cache %s: cannot write %s: %s: is there room?", c->dir.buf, name,
			strerror(-rc));
	else
		rc = cache_keep_file(c, name, tmp.buf, path, e);
	if (rc)
		unlink(tmp.buf);
	strbuf_release(&tmp);
	return rc;
}

/* Remove the files in dir whose names begin with prefix, but not those that begin with keep (may be NULL). */
static void remove_files(const char *dir, const char *prefix, const char *keep)
{
	DIR *d = opendir(dir);
	struct dirent *de;

	if (!d)
		return;
	while ((de = readdir(d)))
		if (!strncmp(de->d_name, prefix, strlen(prefix)) && strcmp(de->d_name, ".") &&
		    strcmp(de->d_name, "..") && (!keep || strncmp(de->d_name, keep, strlen(keep))))
			unlinkat(dirfd(d), de->d_name, 0);
	closedir(d);
}

void cache_prune(struct cache *c, const char *prefix, const char *keep)
{
	remove_files(c->dir.buf, prefix, keep);
}

int cache_make_work(struct cache *c, struct strbuf *dir, struct err *e)
{
	strbuf_addf(dir, "%s/work-XXXXXX", c->dir.buf);
	if (!mkdtemp(dir->buf))
		return err_set(e, errno, "cache %s: cannot make a directory in it: %s", c->dir.buf,
			       strerror(errno));
	return 0;
}

void cache_remove_work(const char *dir)
{
	struct strbuf partial = STRBUF_INIT;

	/* apt-get leaves such a directory behind when it is interrupted. */
	strbuf_addf(&partial, "%s/partial", dir);
	remove_files(partial.buf, "", NULL);
	rmdir(partial.buf);
	strbuf_release(&partial);
	remove_files(dir, "", NULL);
	rmdir(dir);
}

static bool has_affixes(const char *name, const char *prefix, const char *suffix)
{
	size_t n = strlen(name), p = strlen(prefix), s = strlen(suffix);

	return n >= p + s && !memcmp(name, prefix, p) && !memcmp(name + n - s, suffix, s);
}

char *newest_file(const char *dir, const char *prefix, const char *suffix)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	char *best = NULL;

	if (!d)
		return NULL;
	while ((de = readdir(d))) {
		if (!has_affixes(de->d_name, prefix, suffix) || (best && strverscmp(de->d_name, best) <= 0) ||
		    faccessat(dirfd(d), de->d_name, R_OK, AT_EACCESS))
			continue;
		free(best);
		best = strdup(de->d_name);
	}
	closedir(d);
	return best;
}
