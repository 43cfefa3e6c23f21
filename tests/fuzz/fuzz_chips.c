/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random accesses to all ports, all device memory and the APICs of a whole PC, with its clock running and no
 * guest code, from one thread for each vCPU; now and then a pause, a reset or a round trip through saved state.
 *
 *   fuzz_chips [--seconds N] [--iterations N] [--seed S]
 *
 * Ends at whichever comes first. The same seed makes each thread do the same; their interleaving differs.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/block/blk.h"
#include "backend/chr/chr.h"
#include "base/bits.h"
#include "base/log.h"
#include "bus/device.h"
#include "machine/devices.h"
#include "machine/pc.h"
#include "fuzz.h"

#define CPUS             2
#define FLASH_SIZE       (128 * KiB)
#define DEFAULT_SECONDS  2
#define DEFAULT_SEED     0x0dde5
#define RARE             4096              /* one step in so many is a big one */
#define RSS_LIMIT_KIB    (512 * 1024)      /* a leak in this many accesses would be more */
#define SLOW_ACCESS_S    5                 /* an access that takes longer is a hang */

/* What the threads share. */
struct machine {
	struct pc *pc;
	pthread_rwlock_t running; /* held for reading by accesses, for writing while the machine stands */
	double seconds;
	uint64_t iterations;      /* of each thread */
	_Atomic uint64_t events, saves, accesses;
	_Atomic bool failed;
};

/* One thread. */
struct fuzz {
	struct machine *m;
	struct pc *pc;
	struct vcpu *v;
	uint64_t seed;
	pthread_t thread;
};

/* Places worth more than their share of the address space. */
static const uint16_t hot_ports[] = {
	0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x92,
	0xe0, 0xe4, 0xe8, 0xf1, 0xf4, 0x378, 0x379, 0x37a, 0x505, 0x2000, 0x2018, 0x2f8, 0x2f9, 0x2fa, 0x2fb, 0x2fc, 0x2fd, 0x2fe, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff,
	0x600, 0x602, 0x604, 0x608, 0xcf8, 0xcf9, 0xcfc, 0xcfd, 0xcfe, 0xcff,
};
static const uint64_t hot_pages[] = {
	0xa0000, 0xbf000, 0xc0000000, 0xd0000000, 0xfebff000, 0xfed00000, 0xfed00000, 0xff000000, 0xfec00000, 0xfec00000, 0xfec00000, 0xfee00000,
	0xfffe0000, 0xfffe0000, 0xfffff000, 0x100000000, 0xffffffffff000,
};

static uint64_t rnd(struct fuzz *f)
{
	return fuzz_random(&f->seed);
}

/* Random values are often small, single bits or all ones. */
static uint64_t value(struct fuzz *f)
{
	uint64_t r = rnd(f);

	switch (r & 7) {
	case 0:
		return (r >> 8) & 0xf;
	case 1:
		return 1ull << ((r >> 8) & 63);
	case 2:
		return ~0ull << ((r >> 8) & 63);
	case 3:
		return (r >> 8) & 0xff;
	default:
		return rnd(f);
	}
}

static void on_event(void *opaque, const struct pc_event *ev)
{
	struct machine *m = opaque;

	atomic_fetch_add(&m->events, 1);
}

static void port_step(struct fuzz *f)
{
	uint64_t r = rnd(f);
	uint16_t port = r & 0xf00 ? hot_ports[(r >> 12) % ARRAY_SIZE(hot_ports)] : r >> 16;
	unsigned size = 1u << ((r >> 32) % 3);

	if (r & 1)
		space_write(f->pc->pio, port, size, value(f));
	else
		space_read(f->pc->pio, port, size);
}

/* RAM is left out: its bytes are nobody's registers. */
static void memory_step(struct fuzz *f, struct vcpu *v)
{
	uint64_t r = rnd(f);
	uint64_t gpa = hot_pages[(r >> 12) % ARRAY_SIZE(hot_pages)] + ((r >> 20) & 0xfff);
	unsigned size = 1u << ((r >> 32) & 3);

	if (r & 2)
		gpa &= ~0xfull;
	if (r & 1)
		vcpu_mmio_write(v, gpa, size, value(f));
	else
		vcpu_mmio_read(v, gpa, size);
}

static void apic_step(struct fuzz *f, struct vcpu *v)
{
	const struct cpu_intc *ic = &v->intc;
	uint64_t r = rnd(f), val = value(f);
	uint32_t msr = 0x800 + ((r >> 8) & 0x3f);

	switch (r & 7) {
	case 0:
	case 1:
		while (ic->ops->pending(ic->opaque) && ic->ops->ack(ic->opaque) >= 0 && (rnd(f) & 3))
			;
		break;
	case 2:
		ic->ops->set_tpr(ic->opaque, val & 0xf);
		ic->ops->get_tpr(ic->opaque);
		break;
	case 3:
		ic->ops->wrmsr(ic->opaque, 0x1b, r & 0x100 ? (0xfee00000 | (val & 0xd00)) : val);
		break;
	case 4:
		ic->ops->wrmsr(ic->opaque, 0x6e0, r & 0x100 ? val : vcpu_tsc(v) + (val & 0xffff));
		break;
	case 5:
		ic->ops->wrmsr(ic->opaque, msr, val);
		break;
	case 6:
		ic->ops->rdmsr(ic->opaque, msr, &val);
		break;
	default:
		/* The common values, so that the APIC is mostly enabled and EOIs happen. */
		val = r & 0x100 ? 0 : 0x1ff;
		ic->ops->mmio(ic->opaque, 0xfee00000 + (r & 0x100 ? 0xb0 : 0xf0), 4, true, &val);
	}
}

static int save_and_load(struct fuzz *f)
{
	struct device *d;
	struct err e;
	int rc = 0;

	pc_pause(f->pc, true);
	list_for_each(d, &f->pc->devices, node) {
		struct strbuf image = STRBUF_INIT;

		if (!d->ops->state)
			continue;
		device_save(d, &image);
		rc = device_load(d, d->ops->state_version, image.buf, image.len, &e);
		strbuf_release(&image);
		if (rc) {
			fprintf(stderr, "%s refuses the state that it saved: %s\n", d->ops->name, e.msg);
			break;
		}
	}
	atomic_fetch_add(&f->m->saves, 1);
	pc_pause(f->pc, false);
	return rc;
}

/* The other threads stand. */
static int big_step(struct fuzz *f)
{
	struct vcpu *v = f->pc->group.v[1];

	switch (rnd(f) & 7) {
	case 0:
		pc_pause(f->pc, true);
		pc_reset(f->pc);
		pc_pause(f->pc, false);
		return 0;
	case 1:
		v->intc.ops->reset(v->intc.opaque, true);
		return 0;
	case 2:
		pc_power_button(f->pc);
		return 0;
	default:
		return save_and_load(f);
	}
}

static void small_step(struct fuzz *f)
{
	switch (rnd(f) >> 40 & 7) {
	case 0:
	case 1:
		apic_step(f, f->v);
		break;
	case 2:
	case 3:
		memory_step(f, f->v);
		break;
	default:
		port_step(f);
	}
}

static int step(struct fuzz *f)
{
	bool big = rnd(f) % RARE == 0;
	int rc = 0;

	if (big)
		pthread_rwlock_wrlock(&f->m->running);
	else
		pthread_rwlock_rdlock(&f->m->running);
	if (big)
		rc = big_step(f);
	else
		small_step(f);
	pthread_rwlock_unlock(&f->m->running);
	return rc;
}

static void *fuzz_main(void *arg)
{
	struct fuzz *f = arg;
	double start = fuzz_now(), before = start, now;
	uint64_t i;

	for (i = 0; i < f->m->iterations && !atomic_load(&f->m->failed); i++) {
		if (step(f))
			atomic_store(&f->m->failed, true);
		if (i % 64)
			continue;
		now = fuzz_now();
		if (now - before > SLOW_ACCESS_S) {
			fprintf(stderr, "64 accesses before number %" PRIu64 " took %.1f s\n", i, now - before);
			atomic_store(&f->m->failed, true);
		}
		before = now;
		if (now - start >= f->m->seconds)
			break;
	}
	atomic_fetch_add(&f->m->accesses, i);
	return NULL;
}

static int run(struct machine *m, uint64_t seed)
{
	struct fuzz f[CPUS];
	struct rusage ru;

	for (unsigned i = 0; i < CPUS; i++) {
		f[i] = (struct fuzz){ .m = m, .pc = m->pc, .v = m->pc->group.v[i], .seed = seed + i * 2 };
		if (pthread_create(&f[i].thread, NULL, fuzz_main, &f[i]))
			abort();
	}
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(f[i].thread, NULL);
	getrusage(RUSAGE_SELF, &ru);
	printf("%" PRIu64 " accesses, %" PRIu64 " events, %" PRIu64 " saves, %ld KiB\n", m->accesses, m->events,
	       m->saves, ru.ru_maxrss);
	return m->failed || ru.ru_maxrss > RSS_LIMIT_KIB;
}

enum { PRINTER = 5, FLASH, DEVICES };

static struct device_config devices[DEVICES] = {
	{ .driver = "isa-debug-exit", .prop = { { "iobase", DEBUG_EXIT_PORT_TEXT } }, .n_props = 1 },
	{ .driver = "hpet" }, { .driver = "pvpanic" }, { .driver = "pc-testdev" }, { .driver = "pci-testdev" },
	[PRINTER] = { .driver = "isa-parallel" }, [FLASH] = { .driver = "cfi.pflash01" }, /* are given their backends */
};

/* A file without a name; what the guest programs need not survive. */
static int open_flash(struct blk **out, struct err *e)
{
	char path[] = "/tmp/fuzz_chips.XXXXXX";
	struct blk_options o;
	int fd = mkstemp(path), rc;

	if (fd < 0 || ftruncate(fd, FLASH_SIZE))
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	close(fd);
	blk_options_init(&o);
	o.file = path;
	o.format = "raw";
	rc = blk_options_set(&o, "cache", "unsafe", e);
	if (!rc)
		rc = blk_open(out, &o, e);
	unlink(path);
	return rc;
}

int main(int argc, char **argv)
{
	const struct fuzz_options o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED);
	struct machine m = { .seconds = o.seconds, .iterations = o.iterations };
	struct pc_config c = {
		.ram_size = 16 * MiB, .cpus = CPUS, .cpu_spec = "host", .engine = &interp_engine,
		.devices = devices, .n_devices = ARRAY_SIZE(devices),
		.on_event = on_event, .opaque = &m,
	};
	struct chr *printer = NULL;
	struct blk *flash = NULL;
	struct err e = { "" };
	int rc;

	printf("seed %#" PRIx64 "\n", o.seed);
	fflush(stdout);
	log_set_level(LOG_ERROR);
	pthread_rwlock_init(&m.running, NULL);
	rc = chr_open(&c.serial[0], "null", &e);
	if (!rc)
		rc = chr_open(&printer, "null", &e);
	devices[PRINTER].chr = printer;
	if (!rc)
		rc = open_flash(&flash, &e);
	devices[FLASH].blk = flash;
	if (!rc)
		rc = pc_new(&m.pc, &c, &e);
	if (rc) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	pc_pause(m.pc, false);
	rc = run(&m, o.seed);
	pc_free(m.pc);
	chr_free(c.serial[0]);
	chr_free(printer);
	blk_close(flash);
	pthread_rwlock_destroy(&m.running);
	return rc;
}
