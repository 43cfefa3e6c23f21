/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel img: what its subcommands share. */
#ifndef DOPPEL_CLI_IMG_H
#define DOPPEL_CLI_IMG_H

#include <stdbool.h>
#include <stdint.h>
#include "backend/block/blk.h"
#include "backend/block/image.h"
#include "backend/block/qcow2.h"

/* Exit statuses that qemu-img's users know. */
enum { IMG_CORRUPT = 2, IMG_LEAKS = 3, IMG_NO_CHECK = 63 };

#define IMG_MAX_SECRETS 4

struct img_args {
	const char *name;                  /* of the subcommand */
	const char *format, *out_format;   /* -f, -O */
	const char *backing, *backing_format; /* -b, -F */
	const char *snapshot;              /* the name behind -c, -a, -d */
	char snapshot_op;                  /* 'l', 'c', 'a', 'd' */
	unsigned fix;                      /* -r: QCOW2_FIX_* */
	bool json, progress, quiet, compress, no_create, shrink, keep, share;
	enum blk_cache cache;              /* -t, of the target */
	const char *secret_file;           /* --secret */
	struct {
		char *id, *file;
	} secrets[IMG_MAX_SECRETS];        /* --object secret,... */
	unsigned n_secrets;
	const char *secret_id;             /* -o encrypt.key-secret= */
	bool encrypt, full, falloc;        /* -o encrypt.format=luks, preallocation=full, =falloc */
	struct qcow2_create create;        /* -o */
	char *option_strings[16];          /* what create's strings point into */
	unsigned n_option_strings;
	const char *files[2];              /* FILE, SIZE or SOURCE, TARGET */
	unsigned n_files;
};

struct img_subcommand {
	const char *name;
	const char *options;               /* for getopt(3) */
	const char *synopsis, *summary;
	const char *help;                  /* a line for each option */
	unsigned min_files, max_files;
	int (*run)(struct img_args *a);    /* exit status */
};

extern const struct img_subcommand img_create, img_info, img_convert, img_check, img_snapshot, img_commit, img_resize, img_map;

/* -o: name=value,... into a. */
int img_parse_options(struct img_args *a, const char *text, struct err *e);

/* The passphrase for images that are opened: the one that was given. NULL: none. */
const char *img_secret(const struct img_args *a);

/* An image in a loop of its own, on this thread; flags: BFILE_*. */
struct img_file {
	struct loop *loop;
	struct image *img;
};
int img_open(struct img_file *f, const struct img_args *a, const char *name, const char *format, unsigned flags, bool no_backing,
	     struct err *e);
int img_close(struct img_file *f, struct err *e);

void img_print_snapshots(struct image *img);

/* Make the file of a target: format, size and options. */
int img_make(struct img_args *a, const char *name, const char *format, uint64_t size, struct err *e);

#endif
