/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel img snapshot and commit: states inside of an image, and its changes into its backing file. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/img.h"
#include "cli/progress.h"

#define PIECE (2 * MiB)

static int change(struct img_args *a, struct image *img, struct err *e)
{
	switch (a->snapshot_op) {
	case 'c':
		return qcow2_snapshot_create(img, a->snapshot, e);
	case 'a':
		return qcow2_snapshot_apply(img, a->snapshot, e);
	default:
		return qcow2_snapshot_delete(img, a->snapshot, e);
	}
}

static int snapshot(struct img_args *a)
{
	const bool list = !a->snapshot_op || a->snapshot_op == 'l';
	struct img_file f;
	struct qcow2_info q;
	struct err e, e2;
	int rc;

	rc = img_open(&f, a, a->files[0], a->format, list ? (a->share ? BFILE_NO_LOCK : 0) : BFILE_WRITE, list, &e);
	if (rc)
		return cli_fail("img snapshot: %s", e.msg);
	if (!qcow2_info(f.img, &q))
		rc = err_set(&e, ENOTSUP, "%s: a %s image has no snapshots inside; convert it to qcow2", a->files[0], f.img->ops->name);
	else if (list)
		img_print_snapshots(f.img);
	else
		rc = change(a, f.img, &e);
	if (img_close(&f, rc ? &e2 : &e) && !rc)
		rc = -EIO;
	return rc ? cli_fail("img snapshot: %s", e.msg) : STATUS_OK;
}

const struct img_subcommand img_snapshot = {
	.name = "snapshot",
	.options = "+:f:lc:a:d:qU",
	.synopsis = "[-l | -c NAME | -a NAME | -d NAME] FILE",
	.summary = "Snapshots inside of a qcow2 image",
	.help = "  -l                   list them [the default]\n"
		"  -c NAME              make one of what the disk is now\n"
		"  -a NAME              go back to one: what the disk is now is lost\n"
		"  -d NAME              delete one\n",
	.min_files = 1,
	.max_files = 1,
	.run = snapshot,
};

/* One extent of the overlay into the base. */
static int commit_extent(struct image *top, struct image *base, uint64_t at, const struct image_extent *x, uint8_t *buf)
{
	int rc = 0;

	if (x->zero)
		return image_zero(base, at, x->len, true);
	for (uint64_t done = 0; done < x->len && !rc; done += MIN(PIECE, x->len - done)) {
		const uint64_t n = MIN(PIECE, x->len - done);

		rc = image_pread(top, at + done, buf, n);
		if (!rc)
			rc = image_pwrite(base, at + done, buf, n);
	}
	return rc;
}

static int copy_down(struct img_args *a, struct image *top, struct image *base, struct err *e)
{
	struct progress bar;
	uint8_t *buf = malloc(PIECE);
	int rc = buf ? 0 : -ENOMEM;

	if (!rc && base->size < top->size) {
		rc = base->ops->resize(base, top->size, e);
		if (rc) {
			free(buf);
			return rc;
		}
	}
	if (!a->quiet)
		progress_begin(&bar, "committing", top->size);
	for (uint64_t at = 0; at < top->size && !rc;) {
		struct image_extent x;

		rc = top->ops->extent(top, at, top->size - at, &x);
		if (!rc && x.allocated)
			rc = commit_extent(top, base, at, &x, buf);
		at += x.len;
		if (!a->quiet)
			progress_update(&bar, at);
	}
	if (!a->quiet)
		progress_end(&bar);
	free(buf);
	if (!rc)
		rc = base->ops->sync(base);
	return rc ? err_set(e, -rc, "%s: %s; nothing is lost, it can be done again", base->name, strerror(-rc)) : 0;
}

static int into_base(struct img_args *a, struct image *top, const struct qcow2_info *q, struct err *e)
{
	struct img_file base;
	struct err e2;
	char *name = image_relative_name(a->files[0], q->backing_file);
	int rc = name ? img_open(&base, a, name, q->backing_format, BFILE_WRITE, false, e) : err_set(e, ENOMEM, "no memory");

	if (rc) {
		free(name);
		return err_prefix(e, rc, "the backing file");
	}
	rc = copy_down(a, top, base.img, e);
	if (img_close(&base, rc ? &e2 : e) && !rc)
		rc = -EIO;
	free(name);
	return rc;
}

static int commit(struct img_args *a)
{
	struct img_file f;
	struct qcow2_info q;
	struct err e, e2;
	int rc;

	/* Alone: its parts that come from below are left there. */
	if (img_open(&f, a, a->files[0], a->format, BFILE_WRITE, true, &e))
		return cli_fail("img commit: %s", e.msg);
	if (!qcow2_info(f.img, &q) || !q.backing_file)
		rc = err_set(&e, EINVAL, "%s: has no backing file to commit to", a->files[0]);
	else if (q.corrupt || (q.encrypted && !img_secret(a)))
		rc = err_set(&e, EINVAL, "%s: %s", a->files[0], q.corrupt ? "is marked as corrupt; see 'doppel img check'" :
			     "is encrypted; give --secret FILE");
	else
		rc = into_base(a, f.img, &q, &e);
	if (!rc && !a->keep)
		rc = qcow2_make_empty(f.img, &e);
	if (img_close(&f, rc ? &e2 : &e) && !rc)
		rc = -EIO;
	if (rc)
		return cli_fail("img commit: %s", e.msg);
	if (!a->quiet)
		printf("%s: committed\n", a->files[0]);
	return STATUS_OK;
}

const struct img_subcommand img_commit = {
	.name = "commit",
	.options = "+:f:dpq",
	.synopsis = "[-d] FILE",
	.summary = "Write the changes that an image has over its backing file into that, and empty the image",
	.help = "  -d                   don't empty it, because it will be deleted anyway\n"
		"  -q                   say nothing, no progress\n",
	.min_files = 1,
	.max_files = 1,
	.run = commit,
};
