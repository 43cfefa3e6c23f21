/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds or makes the default guest: kernel, busybox, initramfs, request, command line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "boot/cpio.h"
#include "boot/elf.h"
#include "cli/cache.h"
#include "cli/default_guest.h"
#include "cli/fetch.h"
#include "cli/guest/guest_files.h"
#include "cli/modules.h"
#include "cli/sha256.h"
#include "cli/subprocess.h"
#include "machine/devices.h"

/*
 * mitigations=off: all of this guest's programs trust each other, and against speculation on the host
 * its mitigations would not help; they cost an emulated processor time. tsc=reliable: its TSC is the
 * host's. The others keep the boot short: no self-tests, no grace periods waited out.
 */
#define CMDLINE "console=ttyS0 panic=-1 mitigations=off tsc=reliable no_timer_check " \
		"rcupdate.rcu_expedited=1 cryptomgr.notests audit=0 8250.nr_uarts=2"
/* Nothing but the command's own output may reach the console. */
#define CMDLINE_SILENT " quiet loglevel=0"

#define MAX_ARGS 4096 /* as the agent has room for */

/* What the guest's scripts use of busybox. */
static const char *const applets[] = { "sh",	   "mount", "mkdir", "hostname", "ifconfig",
				       "poweroff", "grep",  "awk",   "cut",	 "uname",
				       "cat",	 "sort",  "xargs", "modprobe", "udhcpc", "ip" };

static const struct fetch_request kernel_request = {
	"linux-image-cloud-amd64", "linux-image-", "boot/vmlinuz-", "Debian's kernel",
};
static const struct fetch_request busybox_request = { "busybox-static", NULL, "bin/busybox", "busybox" };

static const char *const installed_busybox[] = { "/bin/busybox", "/usr/bin/busybox" };

/* The newest kernel in dir; the cloud flavour first. */
static bool find_kernel(const char *dir, struct strbuf *path)
{
	char *name = newest_file(dir, "vmlinuz-", "-cloud-amd64");

	if (!name)
		name = newest_file(dir, "vmlinuz-", "-amd64");
	if (!name)
		return false;
	strbuf_addf(path, "%s/%s", dir, name);
	free(name);
	return true;
}

static bool find_cached_kernel(const struct cache *c, struct strbuf *path)
{
	char *name = newest_file(c->dir.buf, "vmlinuz-", "-amd64");
	bool ok = name && cache_find(c, name, path);

	free(name);
	return ok;
}

/* Fetch a file and keep it in the cache under its own name. */
static int fetch(struct cache *c, const struct fetch_request *rq, struct strbuf *path, struct err *e)
{
	struct strbuf work = STRBUF_INIT, name = STRBUF_INIT, file = STRBUF_INIT;
	int rc = cache_make_work(c, &work, e);

	if (!rc) {
		rc = fetch_from_package(rq, work.buf, &name, e);
		if (!rc) {
			strbuf_addf(&file, "%s/file", work.buf);
			rc = cache_keep_file(c, strrchr(name.buf, '/') + 1, file.buf, path, e);
		}
		cache_remove_work(work.buf);
	}
	strbuf_release(&work);
	strbuf_release(&name);
	strbuf_release(&file);
	return rc;
}

static int get_kernel(struct cache *c, struct strbuf *path, struct err *e)
{
	if (find_kernel("/boot", path) || find_cached_kernel(c, path))
		return 0;
	return fetch(c, &kernel_request, path, e);
}

/* An x86-64 program that needs no dynamic linker. */
static bool is_static(const struct mapped_file *f)
{
	const struct boot_blob blob = file_blob(f);
	struct err ignored;
	struct elf elf;

	return elf_detect(&blob) && !elf_parse(&elf, &blob, &ignored) && elf.is_64 && !elf.interpreted;
}

static bool has_applets(const char *path)
{
	const char *const argv[] = { path, "--list", NULL };
	struct strbuf out = STRBUF_INIT, line = STRBUF_INIT;
	const struct subprocess s = { .argv = argv, .out = &out };
	struct err ignored;
	bool ok;

	strbuf_add(&out, "\n", 1);
	ok = !subprocess_run(&s, &ignored);
	for (size_t i = 0; ok && i < ARRAY_SIZE(applets); i++) {
		line.len = 0;
		strbuf_addf(&line, "\n%s\n", applets[i]);
		ok = strstr(out.buf, line.buf);
	}
	strbuf_release(&out);
	strbuf_release(&line);
	return ok;
}

/* Map it if it will do. */
static bool try_busybox(struct mapped_file *f, const char *path)
{
	struct err ignored;

	if (access(path, R_OK | X_OK) || file_map(f, path, "busybox", &ignored))
		return false;
	if (is_static(f) && has_applets(path))
		return true;
	file_unmap(f);
	return false;
}

static int get_busybox(struct cache *c, struct mapped_file *f, struct strbuf *path, struct err *e)
{
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(installed_busybox); i++) {
		if (try_busybox(f, installed_busybox[i])) {
			strbuf_addf(path, "%s", installed_busybox[i]);
			return 0;
		}
	}
	if (!cache_find(c, "busybox", path)) {
		rc = fetch(c, &busybox_request, path, e);
		if (rc)
			return rc;
	}
	return file_map(f, path->buf, "busybox", e);
}

static void build_initrd(const struct mapped_file *busybox, struct strbuf *out)
{
	static const char *const dirs[] = { "bin", "sbin", "usr", "usr/bin", "usr/sbin",
					    "dev", "proc", "sys", "run",     "tmp",
					    "etc", "root", "var", "mnt",     "doppel" };
	static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n", group[] = "root:x:0:\n";

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		cpio_dir(out, dirs[i], 0755);
	/* Standard input and output of /init, before it has mounted anything. */
	cpio_chardev(out, "dev/console", 0600, 5, 1);
	cpio_file(out, "init", 0755, guest_init, sizeof(guest_init));
	cpio_file(out, "bin/busybox", 0755, busybox->data, busybox->len);
	cpio_file(out, "doppel/agent", 0755, guest_agent, sizeof(guest_agent));
	cpio_file(out, "doppel/dhcp", 0755, guest_dhcp, sizeof(guest_dhcp));
	cpio_file(out, "etc/profile", 0644, guest_profile, sizeof(guest_profile));
	cpio_file(out, "etc/passwd", 0644, passwd, sizeof(passwd) - 1);
	cpio_file(out, "etc/group", 0644, group, sizeof(group) - 1);
	cpio_end(out);
}

/* The name says what is in it, so that a new busybox or doppel makes a new one. */
static void initrd_name(const struct mapped_file *busybox, struct strbuf *name)
{
	struct strbuf parts = STRBUF_INIT;
	char hex[SHA256_HEX_SIZE];

	strbuf_addf(&parts, "%s %zu %lld.%09ld ", busybox->path, busybox->len,
		    (long long)busybox->mtime.tv_sec, busybox->mtime.tv_nsec);
	strbuf_add(&parts, guest_init, sizeof(guest_init));
	strbuf_add(&parts, guest_agent, sizeof(guest_agent));
	strbuf_add(&parts, guest_dhcp, sizeof(guest_dhcp));
	strbuf_add(&parts, guest_profile, sizeof(guest_profile));
	sha256_hex(parts.buf, parts.len, hex);
	strbuf_addf(name, "initrd-%s-%.16s.cpio", DOPPEL_VERSION, hex);
	strbuf_release(&parts);
}

static int get_initrd(struct cache *c, struct strbuf *path, struct err *e)
{
	struct strbuf busybox_path = STRBUF_INIT, name = STRBUF_INIT, archive = STRBUF_INIT;
	struct mapped_file busybox = { 0 };
	int rc = get_busybox(c, &busybox, &busybox_path, e);

	if (!rc) {
		initrd_name(&busybox, &name);
		if (!cache_find(c, name.buf, path)) {
			build_initrd(&busybox, &archive);
			rc = cache_keep_bytes(c, name.buf, archive.buf, archive.len, path, e);
			cache_prune(c, "initrd-", name.buf);
		}
	}
	file_unmap(&busybox);
	strbuf_release(&busybox_path);
	strbuf_release(&name);
	strbuf_release(&archive);
	return rc;
}

static void add_string(struct strbuf *out, const char *s)
{
	strbuf_add(out, s, strlen(s) + 1);
}

/* /doppel/request, as cli/guest/agent.c reads it. */
static int build_request(const struct guest_request *rq, struct strbuf *archive, struct err *e)
{
	struct strbuf s = STRBUF_INIT;
	unsigned n = 0;

	strbuf_addf(&s, "shell=%d%c", !rq->argv, 0);
	strbuf_addf(&s, "stdin_tty=%d%c", rq->stdin_tty || !rq->argv, 0);
	strbuf_addf(&s, "stdout_tty=%d%c", rq->stdout_tty || !rq->argv, 0);
	strbuf_addf(&s, "rows=%u%ccols=%u%c", rq->rows, 0, rq->cols, 0);
	strbuf_addf(&s, "exit_port=%u%c", DEBUG_EXIT_PORT, 0);
	if (rq->term && *rq->term)
		strbuf_addf(&s, "TERM=%s%c", rq->term, 0);
	add_string(&s, "");
	if (!rq->argv) {
		add_string(&s, "/bin/sh");
		add_string(&s, "-l");
	}
	for (; rq->argv && rq->argv[n]; n++)
		add_string(&s, rq->argv[n]);
	if (rq->dhcp)
		cpio_file(archive, "doppel/ask-for-addresses", 0600, "", 0);
	if (rq->shares)
		cpio_file(archive, "doppel/shares", 0600, rq->shares, strlen(rq->shares));
	if (n <= MAX_ARGS)
		cpio_file(archive, "doppel/request", 0600, s.buf, s.len);
	cpio_end(archive);
	strbuf_release(&s);
	return n > MAX_ARGS ?
		       err_set(e, E2BIG, "%u arguments are too many for a command: at most %d", n, MAX_ARGS) :
		       0;
}

static void build_cmdline(const struct guest_request *rq, struct strbuf *out)
{
	strbuf_addf(out, "%s%s", CMDLINE, rq->kernel_log ? "" : CMDLINE_SILENT);
	if (rq->append && *rq->append)
		strbuf_addf(out, " %s", rq->append);
}

static int prepare_files(struct default_guest *g, bool drivers, struct err *e)
{
	struct cache c;
	int rc = cache_open(&c, e);

	if (rc)
		return rc;
	rc = get_kernel(&c, &g->kernel_path, e);
	if (!rc)
		rc = get_initrd(&c, &g->initrd_path, e);
	if (!rc && drivers)
		rc = modules_prepare(&c, g->kernel_path.buf, &g->drivers_path, e);
	/* Mapped before the lock goes, lest another doppel's prune takes the file. */
	if (!rc)
		rc = file_map(&g->kernel, g->kernel_path.buf, "kernel", e);
	if (!rc)
		rc = file_map(&g->initrd, g->initrd_path.buf, "initrd", e);
	if (!rc && drivers)
		rc = file_map(&g->drivers, g->drivers_path.buf, "drivers", e);
	cache_close(&c);
	return rc;
}

int default_guest_prepare(struct default_guest *g, const struct guest_request *rq, struct err *e)
{
	int rc;

	*g = (struct default_guest){ 0 };
	rc = build_request(rq, &g->request, e);
	if (!rc)
		rc = prepare_files(g, rq->drivers, e);
	if (rc) {
		default_guest_release(g);
		return rc;
	}
	build_cmdline(rq, &g->cmdline);
	g->initrds[g->n_initrds++] = file_blob(&g->initrd);
	if (rq->drivers)
		g->initrds[g->n_initrds++] = file_blob(&g->drivers);
	g->initrds[g->n_initrds++] = (struct boot_blob){ g->request.buf, g->request.len, "with the command", NULL };
	return 0;
}

void default_guest_release(struct default_guest *g)
{
	file_unmap(&g->kernel);
	file_unmap(&g->initrd);
	file_unmap(&g->drivers);
	strbuf_release(&g->drivers_path);
	strbuf_release(&g->kernel_path);
	strbuf_release(&g->initrd_path);
	strbuf_release(&g->request);
	strbuf_release(&g->cmdline);
	*g = (struct default_guest){ 0 };
}

void default_guest_describe(struct strbuf *out)
{
	struct strbuf path = STRBUF_INIT, dir = STRBUF_INIT;
	struct err ignored;

	if (find_kernel("/boot", &path))
		strbuf_addf(out, "%s, and a busybox initramfs", path.buf);
	else if (cache_path(&dir, &ignored))
		strbuf_addf(out, "not available: %s", ignored.msg);
	else if (find_kernel(dir.buf, &path))
		strbuf_addf(out, "%s, and a busybox initramfs", path.buf);
	else
		strbuf_addf(out, "will be fetched at the first run (apt-get download, about 26 MiB), into %s",
			    dir.buf);
	strbuf_release(&path);
	strbuf_release(&dir);
}
