/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetches a package by apt-get and unpacks a file of it by dpkg-deb. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cache.h"
#include "cli/fetch.h"
#include "cli/progress.h"
#include "cli/subprocess.h"
#include "cli/tar.h"

/* Root's downloads would go through another user, who can't write here. */
#define AS_MYSELF "APT::Sandbox::User=root"

struct fetch {
	const struct fetch_request *rq;
	const char *work;
	struct progress progress;
	bool refreshed;
};

/* How far a download is: all that has arrived in the directory. */
static uint64_t bytes_in(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	struct stat st;
	uint64_t sum = 0;

	if (!d)
		return 0;
	while ((de = readdir(d)))
		if (!fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	closedir(d);
	return sum;
}

static void tick(void *opaque)
{
	struct fetch *f = opaque;

	progress_update(&f->progress, bytes_in(f->work));
}

/* Run a command with progress: 0, or -EIO with what it complained about. */
static int step(struct fetch *f, const char *const *argv, struct strbuf *out, struct err *e)
{
	struct strbuf complaint = STRBUF_INIT;
	const struct subprocess s = {
		.argv = argv, .dir = f->work, .out = out, .err = &complaint, .tick = tick, .opaque = f
	};
	int rc = subprocess_run(&s, e);

	if (rc > 0)
		rc = err_set(e, EIO, "%s: %s", argv[0], last_line(&complaint));
	strbuf_release(&complaint);
	return rc;
}

/* A bare machine has no package lists, and old ones name files that are gone. Root refreshes them, once. */
static int refresh(struct fetch *f, struct err *e)
{
	static const char *const update[] = { "apt-get", "-qq", "update", NULL };
	int rc;

	if (f->refreshed || geteuid())
		return -EPERM;
	f->refreshed = true;
	progress_begin(&f->progress, "refreshing the package lists (apt-get update)", 0);
	rc = step(f, update, NULL, e);
	progress_end(&f->progress);
	return rc;
}

/* The first word of text that begins with prefix and ends at a blank, comma or line end; appended to name. */
static bool find_word(const char *text, const char *prefix, struct strbuf *name)
{
	const char *p = strstr(text, prefix);

	if (!p)
		return false;
	strbuf_add(name, p, strcspn(p, " ,\n|("));
	return true;
}

/* Which package it is really, by the lists. */
static int resolve(struct fetch *f, struct strbuf *package, struct err *e)
{
	const char *const show[] = { "apt-cache", "show", "--no-all-versions", f->rq->package, NULL };
	struct strbuf out = STRBUF_INIT;
	const char *depends;
	int rc = step(f, show, &out, e);

	if (!rc && !out.len)
		rc = err_set(e, EIO, "apt-cache knows no package %s", f->rq->package);
	if (!rc && !f->rq->depends)
		strbuf_add(package, f->rq->package, strlen(f->rq->package));
	if (!rc && f->rq->depends) {
		depends = strstr(out.buf, "\nDepends:");
		if (!depends || !find_word(depends, f->rq->depends, package))
			rc = err_set(e, EIO, "package %s depends on no %s*", f->rq->package, f->rq->depends);
	}
	strbuf_release(&out);
	return rc;
}

/* The size is the third word of a line "'URI' FILE SIZE HASH"; 0: not known. */
static uint64_t download_size(struct fetch *f, const char *package)
{
	const char *const uris[] = { "apt-get", "-qq", "--print-uris", "download", package, NULL };
	struct strbuf out = STRBUF_INIT;
	unsigned long long size = 0;
	struct err ignored;

	if (step(f, uris, &out, &ignored) || !out.len || sscanf(out.buf, "'%*[^']' %*s %llu", &size) != 1)
		size = 0;
	strbuf_release(&out);
	return size;
}

static int download(struct fetch *f, struct err *e)
{
	struct strbuf package = STRBUF_INIT, what = STRBUF_INIT;
	int rc = resolve(f, &package, e);

	if (!rc) {
		const char *const get[] = {
			"apt-get", "-qq", "-o", AS_MYSELF, "download", package.buf, NULL
		};
		uint64_t size = download_size(f, package.buf);

		strbuf_addf(&what, "fetching %s (package %s, not to be installed)", f->rq->what, package.buf);
		progress_begin(&f->progress, what.buf, size);
		rc = step(f, get, NULL, e);
		progress_end(&f->progress);
	}
	strbuf_release(&package);
	strbuf_release(&what);
	return rc;
}

/* What to do with the package's tar stream: the file into work/"file", or each that somebody wants. */
struct unpack {
	const struct fetch_request *rq;
	const char *to;
	struct strbuf *name;
	const struct tar_visitor *v;
	void *opaque;
};

static int unpack_file(const struct unpack *u, int in, struct err *e)
{
	int out = open(u->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), rc;
	char member[TAR_NAME_SIZE];

	if (out < 0)
		return err_set(e, errno, "%s: %s", u->to, strerror(errno));
	rc = tar_extract(in, u->rq->member, out, member, e);
	close(out);
	if (!rc)
		strbuf_add(u->name, member, strlen(member));
	return rc;
}

static int unpack_deb(const struct unpack *u, const char *deb, struct err *e)
{
	const char *const argv[] = { "dpkg-deb", "--fsys-tarfile", deb, NULL };
	pid_t pid;
	int in, rc = subprocess_open(argv, &pid, &in, e);

	if (rc)
		return rc;
	rc = u->v ? tar_visit(in, u->v, u->opaque, e) : unpack_file(u, in, e);
	/* A pipe that is closed early kills it, so its status says nothing. */
	subprocess_close(pid, in);
	return err_prefix(e, rc, "%s", deb);
}

static int unpack(struct unpack *u, const char *work, struct err *e)
{
	struct strbuf path = STRBUF_INIT, to = STRBUF_INIT;
	char *deb = newest_file(work, "", ".deb");
	int rc;

	if (!deb)
		return err_set(e, EIO, "apt-get downloaded no package");
	strbuf_addf(&path, "%s/%s", work, deb);
	strbuf_addf(&to, "%s/file", work);
	u->to = to.buf;
	rc = unpack_deb(u, path.buf, e);
	strbuf_release(&path);
	strbuf_release(&to);
	free(deb);
	return rc;
}

static int fetch(const struct fetch_request *rq, const char *work, struct unpack *u, struct err *e)
{
	struct fetch f = { .rq = rq, .work = work };
	struct err why = { "" }, ignored;
	int rc = download(&f, &why);

	if (rc == -EIO && !refresh(&f, &ignored))
		rc = download(&f, &why);
	if (rc == -ENOENT)
		return err_set(e, ENOENT,
			       "cannot fetch %s: %s: this host is no Debian; give --kernel and --initrd",
			       rq->what, why.msg);
	if (rc)
		return err_set(
			e, -rc,
			"cannot fetch %s: %.200s: run '%sapt-get update' and try again, or give --kernel",
			rq->what, why.msg, geteuid() ? "sudo " : "");
	return unpack(u, work, e);
}

int fetch_from_package(const struct fetch_request *rq, const char *work, struct strbuf *name, struct err *e)
{
	struct unpack u = { .rq = rq, .name = name };

	return fetch(rq, work, &u, e);
}

int fetch_members(const struct fetch_request *rq, const char *work, const struct tar_visitor *v, void *opaque, struct err *e)
{
	struct unpack u = { .rq = rq, .v = v, .opaque = opaque };

	return fetch(rq, work, &u, e);
}
