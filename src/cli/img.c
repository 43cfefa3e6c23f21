/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel img: disk images, with the options that qemu-img's users know. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/img.h"

static const struct img_subcommand *const subcommands[] = {
	&img_create, &img_info, &img_convert, &img_check, &img_snapshot, &img_commit, &img_resize, &img_map,
};

enum { OPT_OUTPUT = 256, OPT_OBJECT, OPT_SECRET, OPT_SHRINK };

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "object", required_argument, NULL, OPT_OBJECT },
	{ "secret", required_argument, NULL, OPT_SECRET },
	{ "shrink", no_argument, NULL, OPT_SHRINK },
	{ "force-share", no_argument, NULL, 'U' },
	{ 0 },
};

const char *img_secret(const struct img_args *a)
{
	if (a->secret_file)
		return a->secret_file;
	for (unsigned i = 0; i < a->n_secrets; i++)
		if (!a->secret_id || !strcmp(a->secrets[i].id, a->secret_id))
			return a->secrets[i].file;
	return NULL;
}

static int set_bool(bool *b, const char *value, struct err *e)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return err_set(e, EINVAL, "'%s': neither on nor off", value);
	*b = !strcmp(value, "on");
	return 0;
}

static int set_preallocation(struct img_args *a, const char *value, struct err *e)
{
	a->create.preallocate = strcmp(value, "off") != 0;
	a->full = !strcmp(value, "full");
	a->falloc = a->full || !strcmp(value, "falloc");
	if (a->create.preallocate && !a->falloc && strcmp(value, "metadata"))
		return err_set(e, EINVAL, "'%s': there are off, metadata, falloc and full", value);
	return 0;
}

static int set_word(const char *value, const char *one, const char *other, bool *is_other, struct err *e)
{
	if (strcmp(value, one) && strcmp(value, other))
		return err_set(e, EINVAL, "'%s': there are %s and %s", value, one, other);
	*is_other = !strcmp(value, other);
	return 0;
}

static int set_number(uint32_t *out, const char *value, struct err *e)
{
	uint64_t v;

	if (blk_parse_size(value, &v) || v > UINT32_MAX)
		return err_set(e, EINVAL, "'%s': no number that can be", value);
	*out = (uint32_t)v;
	return 0;
}

static int set_option(struct img_args *a, const char *name, const char *value, struct err *e)
{
	struct qcow2_create *c = &a->create;
	bool flag = false;
	int rc;

	if (!strcmp(name, "cluster_size"))
		return set_number(&c->cluster_size, value, e);
	if (!strcmp(name, "refcount_bits"))
		return set_number(&c->refcount_bits, value, e);
	if (!strcmp(name, "lazy_refcounts"))
		return set_bool(&c->lazy_refcounts, value, e);
	if (!strcmp(name, "compression_type"))
		return set_word(value, "zlib", "zstd", &c->zstd, e);
	if (!strcmp(name, "compat")) {
		rc = set_word(value, "1.1", "0.10", &flag, e);
		c->version = flag ? 2 : 3;
		return rc;
	}
	if (!strcmp(name, "preallocation"))
		return set_preallocation(a, value, e);
	if (!strcmp(name, "backing_file")) {
		a->backing = value;
	} else if (!strcmp(name, "backing_fmt")) {
		a->backing_format = value;
	} else if (!strcmp(name, "encrypt.key-secret")) {
		a->secret_id = value;
	} else if (!strcmp(name, "encrypt.format")) {
		a->encrypt = true;
		return strcmp(value, "luks") ? err_set(e, EINVAL, "'%s': images are encrypted by luks", value) : 0;
	} else if (strcmp(name, "extended_l2") || strcmp(value, "off")) {
		return err_set(e, EINVAL, "'%s=%s': no such option; there are cluster_size, compat, lazy_refcounts, refcount_bits, "
			       "preallocation, backing_file, backing_fmt, compression_type, encrypt.format, encrypt.key-secret", name,
			       value);
	}
	return 0;
}

int img_parse_options(struct img_args *a, const char *text, struct err *e)
{
	char *copy = strdup(text), *rest = copy, *word;
	int rc = 0;

	if (!copy || a->n_option_strings == sizeof(a->option_strings) / sizeof(a->option_strings[0])) {
		free(copy);
		return err_set(e, ENOMEM, "too many -o");
	}
	a->option_strings[a->n_option_strings++] = copy;
	while (!rc && (word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		if (!value)
			return err_set(e, EINVAL, "'%s': options are name=value", word);
		*value++ = '\0';
		rc = set_option(a, word, value, e);
		if (rc)
			return err_prefix(e, rc, "-o %s", word);
	}
	return rc;
}

/* secret,id=ID,file=FILE */
static int parse_object(struct img_args *a, const char *text, struct err *e)
{
	char *copy = strdup(text), *word, *id = NULL, *file = NULL;
	char *rest = copy;

	while (copy && (word = strsep(&rest, ","))) {
		if (!strncmp(word, "id=", 3))
			id = word + 3;
		else if (!strncmp(word, "file=", 5))
			file = word + 5;
	}
	if (!copy || strncmp(text, "secret,", 7) || !id || !file || a->n_secrets == IMG_MAX_SECRETS) {
		free(copy);
		return err_set(e, EINVAL, "--object %s: passphrases are given as --object secret,id=NAME,file=FILE or --secret FILE", text);
	}
	a->secrets[a->n_secrets].id = strdup(id);
	a->secrets[a->n_secrets++].file = strdup(file);
	free(copy);
	return 0;
}

static int set_cache(struct img_args *a, const char *value, struct err *e)
{
	struct blk_options o = { 0 };
	int rc = blk_options_set(&o, "cache", value, e);

	a->cache = o.cache;
	return rc;
}

static int set_repair(struct img_args *a, const char *value, struct err *e)
{
	a->fix = !strcmp(value, "all") ? QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS : QCOW2_FIX_LEAKS;
	return !strcmp(value, "all") || !strcmp(value, "leaks") ? 0 : err_set(e, EINVAL, "-r %s: there are leaks and all", value);
}

static int set_output(struct img_args *a, const char *value, struct err *e)
{
	return set_word(value, "human", "json", &a->json, e);
}

/* -c, -a and -d name a snapshot; for convert -c is to compress. */
static int take_letter(struct img_args *a, const struct img_subcommand *s, int c, struct err *e)
{
	if (s == &img_snapshot && strchr("lacd", c)) {
		if (a->snapshot_op)
			return err_set(e, EINVAL, "one of -l, -c, -a and -d at a time");
		a->snapshot_op = (char)c;
		a->snapshot = optarg;
		return 0;
	}
	switch (c) {
	case 'f':
		*(s == &img_create ? &a->out_format : &a->format) = optarg;
		return 0;
	case 'O':
		a->out_format = optarg;
		return 0;
	case 'b':
		a->backing = optarg;
		return 0;
	case 'F':
		a->backing_format = optarg;
		return 0;
	case 'o':
		return img_parse_options(a, optarg, e);
	case 'r':
		return set_repair(a, optarg, e);
	case 't':
		return set_cache(a, optarg, e);
	default:
		*(c == 'c' ? &a->compress : c == 'n' ? &a->no_create : c == 'p' ? &a->progress : c == 'd' ? &a->keep :
		  c == 'U' ? &a->share : &a->quiet) = true;
		return 0;
	}
}

static void print_help(const struct img_subcommand *s)
{
	printf("Usage: doppel img %s %s\n%s.\n\n%s", s->name, s->synopsis, s->summary, s->help);
	puts("  --secret FILE        the passphrase of an encrypted image\n"
	     "  --help               print this help");
}

/* 0; or 1 when the program ends with *status. */
static int parse(struct img_args *a, const struct img_subcommand *s, int argc, char **argv, int *status)
{
	struct err e = { "" };
	int c, rc = 0;

	*status = STATUS_USAGE;
	optind = 0;
	while (!rc && (c = getopt_long(argc, argv, s->options, long_options, NULL)) != -1) {
		switch (c) {
		case 'h':
			print_help(s);
			*status = STATUS_OK;
			return 1;
		case '?':
		case ':':
			fprintf(stderr, "doppel img %s: '%s' is no option or lacks its argument; see 'doppel img %s --help'\n", s->name,
				argv[optind - 1], s->name);
			return 1;
		case OPT_OUTPUT:
			rc = set_output(a, optarg, &e);
			break;
		case OPT_OBJECT:
			rc = parse_object(a, optarg, &e);
			break;
		case OPT_SECRET:
			a->secret_file = optarg;
			break;
		case OPT_SHRINK:
			a->shrink = true;
			break;
		default:
			rc = take_letter(a, s, c, &e);
			break;
		}
	}
	if (rc) {
		fprintf(stderr, "doppel img %s: %s\n", s->name, e.msg);
		return 1;
	}
	a->n_files = (unsigned)(argc - optind);
	if (a->n_files < s->min_files || a->n_files > s->max_files) {
		fprintf(stderr, "Usage: doppel img %s %s\n", s->name, s->synopsis);
		return 1;
	}
	for (unsigned i = 0; i < a->n_files; i++)
		a->files[i] = argv[optind + (int)i];
	return 0;
}

int img_open(struct img_file *f, const struct img_args *a, const char *name, const char *format, unsigned flags, bool no_backing,
	     struct err *e)
{
	const struct image_options o = { .format = format, .flags = flags, .no_backing = no_backing, .repair = no_backing,
					 .secret_file = img_secret(a) };
	int rc = loop_new(&f->loop, e);

	f->img = NULL;
	if (rc)
		return rc;
	rc = image_open(&f->img, f->loop, name, &o, e);
	if (rc)
		loop_free(f->loop);
	return rc;
}

int img_close(struct img_file *f, struct err *e)
{
	int rc = image_close(f->img);

	loop_free(f->loop);
	return rc ? err_set(e, -rc, "what was left to be written could not be: %s", strerror(-rc)) : 0;
}

static int run(int argc, char **argv)
{
	struct img_args a = { 0 };
	int status;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		cli_print_help(&img_command);
		return argc < 2 ? STATUS_USAGE : STATUS_OK;
	}
	qcow2_create_init(&a.create);
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++) {
		if (strcmp(subcommands[i]->name, argv[1]))
			continue;
		a.name = argv[1];
		if (!parse(&a, subcommands[i], argc - 1, argv + 1, &status))
			status = subcommands[i]->run(&a);
		for (unsigned k = 0; k < a.n_option_strings; k++)
			free(a.option_strings[k]);
		for (unsigned k = 0; k < a.n_secrets; k++) {
			free(a.secrets[k].id);
			free(a.secrets[k].file);
		}
		return status;
	}
	cli_fail("no command 'img %s'; 'doppel img --help' lists them", argv[1]);
	return STATUS_USAGE;
}

const struct cli_command img_command = {
	.name = "img",
	.synopsis = "COMMAND [OPTIONS] FILE...",
	.summary = "make, convert, check and change disk images",
	.details = "\n  create   [-f FORMAT] [-b BASE -F FORMAT] [-o OPTIONS] FILE [SIZE]\n"
		   "  info     [--output=json] FILE\n"
		   "  convert  [-f FORMAT] [-O FORMAT] [-c] [-n] [-o OPTIONS] SOURCE TARGET\n"
		   "  check    [-r leaks|all] [--output=json] FILE\n"
		   "  snapshot -l | -c NAME | -a NAME | -d NAME FILE\n"
		   "  commit   [-d] FILE\n"
		   "  resize   [--shrink] FILE [+|-]SIZE\n"
		   "  map      [--output=json] FILE\n\n"
		   "'doppel img COMMAND --help' tells about one of them. Formats: raw, qcow2, and with\n"
		   "nbd://HOST/EXPORT or nbd+unix:///EXPORT?socket=PATH what a server exports.\n",
	.run = run,
};
