/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The default guest's drivers.
 *
 * Of the kernel's modules those are taken that drive our devices, and the file systems that disks come with, each with what it
 * depends on. modules.dep and modules.alias are made from what the modules say about themselves (.modinfo), as depmod
 * does, so that busybox' modprobe in the guest loads what its devices ask for and nothing else. What a kernel has built
 * in, or does not have at all, is simply not among the modules.
 */
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "boot/cpio.h"
#include "boot/decompress.h"
#include "cli/fetch.h"
#include "cli/file.h"
#include "cli/modules.h"

#define MAX_MODULES     8192        /* that a kernel may have */
#define MAX_MODULE_SIZE (64 * MiB)
#define NAME_SIZE       64

/* Names with underscores, as in .modinfo. */
static const char *const wanted[] = {
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "virtio_balloon", "virtiofs",
	"vmw_vsock_virtio_transport", "e1000", "pcnet32", "ata_piix", "sd_mod", "sr_mod", "floppy", "isofs", "vfat", "nls_cp437",
	"nls_ascii",
};

struct module {
	char name[NAME_SIZE];
	char *path;          /* installed: where it is */
	uint8_t *data;       /* once it is read */
	size_t len;
	const char *depends; /* in data: names with commas between them */
	bool chosen;
};

struct modules {
	struct module *m;
	unsigned n;
};

/* -- Reading them ------------------------------------------------------------------------------------------ */

/* "a/b/virtio-rng.ko.xz" is virtio_rng; false: no module. */
static bool module_name(const char *path, char name[NAME_SIZE])
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *ko = strstr(base, ".ko");

	if (!ko || (ko[3] && ko[3] != '.') || (size_t)(ko - base) >= NAME_SIZE)
		return false;
	memcpy(name, base, (size_t)(ko - base));
	name[ko - base] = 0;
	for (char *p = name; *p; p++)
		*p = *p == '-' ? '_' : *p;
	return true;
}

/* The next "key=value" of .modinfo from *at on, each behind a NUL: the value. */
static const char *next_info(const struct module *m, const char *key, size_t *at)
{
	size_t len = strlen(key);

	while (*at + len + 1 < m->len) {
		const uint8_t *p = memmem(m->data + *at, m->len - *at, key, len);

		if (!p)
			return NULL;
		*at = (size_t)(p - m->data) + len;
		if (p > m->data && !p[-1] && *at < m->len && m->data[*at] == '=')
			return (const char *)m->data + *at + 1;
	}
	return NULL;
}

/* Keep a module's bytes; they end with a NUL of ours. */
static int set_data(struct module *m, const char *path, const void *data, size_t len, struct err *e)
{
	struct decompressed d = { 0 };
	size_t at = 0;
	int rc;

	if (decompress_name(data, len)) {
		rc = decompress(data, len, MAX_MODULE_SIZE, &d, e);
		if (rc)
			return err_prefix(e, rc, "%s", path);
		data = d.data;
		len = d.len;
	}
	m->data = malloc(len + 1);
	BUG_ON(!m->data);
	memcpy(m->data, data, len);
	m->data[len] = 0;
	m->len = len;
	m->depends = next_info(m, "depends", &at);
	decompress_release(&d);
	return 0;
}

static void release(struct modules *all)
{
	for (unsigned i = 0; i < all->n; i++) {
		free(all->m[i].data);
		free(all->m[i].path);
	}
	free(all->m);
}

static struct module *find(const struct modules *all, const char *name, size_t len)
{
	for (unsigned i = 0; i < all->n; i++)
		if (strlen(all->m[i].name) == len && !memcmp(all->m[i].name, name, len))
			return &all->m[i];
	return NULL;
}

/* -- From the host, or from the package ---------------------------------------------------------------------- */

/* False: the kernel's modules are not installed here. */
static bool find_installed(struct modules *all, const char *version)
{
	struct strbuf dir = STRBUF_INIT;
	char *const paths[] = { (strbuf_addf(&dir, "/lib/modules/%s/kernel", version), dir.buf), NULL };
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *f;

	while (fts && all->n < MAX_MODULES && (f = fts_read(fts))) {
		if (f->fts_info != FTS_F || !module_name(f->fts_path, all->m[all->n].name))
			continue;
		all->m[all->n].path = strdup(f->fts_path);
		BUG_ON(!all->m[all->n].path);
		all->n++;
	}
	if (fts)
		fts_close(fts);
	strbuf_release(&dir);
	return all->n;
}

/* Only those that are chosen are read. */
static int read_installed(struct module *m, struct err *e)
{
	struct mapped_file file = { 0 };
	int rc = file_map(&file, m->path, "module", e);

	if (!rc)
		rc = set_data(m, m->path, file.data, file.len, e);
	file_unmap(&file);
	return rc;
}

static bool want_member(void *opaque, const char *name, uint64_t size)
{
	char ignored[NAME_SIZE];

	return strstr(name, "lib/modules/") && size <= MAX_MODULE_SIZE && module_name(name, ignored);
}

static int take_member(void *opaque, const char *name, const void *data, size_t len, struct err *e)
{
	struct modules *all = opaque;

	if (all->n == MAX_MODULES || !module_name(name, all->m[all->n].name))
		return 0;
	return set_data(&all->m[all->n++], name, data, len, e);
}

static const struct tar_visitor visitor = { want_member, take_member };

static int read_package(struct modules *all, struct cache *c, const char *version, struct err *e)
{
	struct strbuf package = STRBUF_INIT, work = STRBUF_INIT;
	struct fetch_request rq = { .what = "the drivers of Debian's kernel" };
	int rc = cache_make_work(c, &work, e);

	if (!rc) {
		strbuf_addf(&package, "linux-image-%s", version);
		rq.package = package.buf;
		rc = fetch_members(&rq, work.buf, &visitor, all, e);
		cache_remove_work(work.buf);
	}
	if (!rc && !all->n)
		rc = err_set(e, ENOENT, "package %s has no modules", package.buf);
	strbuf_release(&package);
	strbuf_release(&work);
	return rc;
}

/* -- The archive ------------------------------------------------------------------------------------------------ */

/* Choose a module and what it depends on. */
static int choose(struct modules *all, struct module *m, struct err *e)
{
	int rc = 0;

	if (!m || m->chosen)
		return 0;
	m->chosen = true;
	if (!m->data)
		rc = read_installed(m, e);
	for (const char *p = m->depends; p && *p && !rc; p += strcspn(p, ","), p += *p == ',')
		rc = choose(all, find(all, p, strcspn(p, ",")), e);
	return rc;
}

/* What m needs, the deepest last, as modprobe wants it; what is named twice it has loaded by then. */
static void print_depends(struct modules *all, const struct module *m, struct strbuf *out)
{
	for (const char *p = m->depends; p && *p; p += strcspn(p, ","), p += *p == ',') {
		const struct module *d = find(all, p, strcspn(p, ","));

		if (d)
			strbuf_addf(out, " %s.ko", d->name);
	}
	for (const char *p = m->depends; p && *p; p += strcspn(p, ","), p += *p == ',') {
		const struct module *d = find(all, p, strcspn(p, ","));

		if (d)
			print_depends(all, d, out);
	}
}

static void print_aliases(const struct module *m, struct strbuf *out)
{
	const char *alias;
	size_t at = 0;

	while ((alias = next_info(m, "alias", &at)))
		strbuf_addf(out, "alias %s %s\n", alias, m->name);
}

static void add_dir(struct strbuf *out, const char *version, struct strbuf *dir)
{
	static const char *const parents[] = { "lib", "lib/modules" };

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++)
		cpio_dir(out, parents[i], 0755);
	strbuf_addf(dir, "lib/modules/%s", version);
	cpio_dir(out, dir->buf, 0755);
}

static void build_archive(struct modules *all, const char *version, struct strbuf *out)
{
	struct strbuf dir = STRBUF_INIT, name = STRBUF_INIT, dep = STRBUF_INIT, alias = STRBUF_INIT;

	add_dir(out, version, &dir);
	for (unsigned i = 0; i < all->n; i++) {
		const struct module *m = &all->m[i];

		if (!m->chosen)
			continue;
		name.len = 0;
		strbuf_addf(&name, "%s/%s.ko", dir.buf, m->name);
		cpio_file(out, name.buf, 0644, m->data, m->len);
		strbuf_addf(&dep, "%s.ko:", m->name);
		print_depends(all, m, &dep);
		strbuf_add(&dep, "\n", 1);
		print_aliases(m, &alias);
	}
	name.len = 0;
	strbuf_addf(&name, "%s/modules.dep", dir.buf);
	cpio_file(out, name.buf, 0644, dep.buf, dep.len);
	name.len = 0;
	strbuf_addf(&name, "%s/modules.alias", dir.buf);
	cpio_file(out, name.buf, 0644, alias.buf, alias.len);
	cpio_end(out);
	strbuf_release(&dir);
	strbuf_release(&name);
	strbuf_release(&dep);
	strbuf_release(&alias);
}

static int make_archive(struct cache *c, const char *version, const char *name, struct strbuf *path, struct err *e)
{
	struct modules all = { .m = calloc(MAX_MODULES + 1, sizeof(*all.m)) };
	struct strbuf archive = STRBUF_INIT;
	int rc = 0;

	BUG_ON(!all.m);
	if (!find_installed(&all, version))
		rc = read_package(&all, c, version, e);
	for (size_t i = 0; i < ARRAY_SIZE(wanted) && !rc; i++)
		rc = choose(&all, find(&all, wanted[i], strlen(wanted[i])), e);
	if (!rc) {
		build_archive(&all, version, &archive);
		rc = cache_keep_bytes(c, name, archive.buf, archive.len, path, e);
	}
	strbuf_release(&archive);
	release(&all);
	return rc;
}

int modules_prepare(struct cache *c, const char *kernel_path, struct strbuf *path, struct err *e)
{
	const char *slash = strrchr(kernel_path, '/'), *version = strstr(slash ? slash : kernel_path, "vmlinuz-");
	struct strbuf name = STRBUF_INIT;
	int rc = 0;

	if (!version)
		return err_set(e, EINVAL, "kernel '%s': no version in its name, by which its drivers could be found", kernel_path);
	version += strlen("vmlinuz-");
	strbuf_addf(&name, "drivers-" DOPPEL_VERSION "-%s.cpio", version);
	if (!cache_find(c, name.buf, path)) {
		rc = make_archive(c, version, name.buf, path, e);
		if (!rc)
			cache_prune(c, "drivers-", name.buf);
	}
	strbuf_release(&name);
	return rc;
}
