/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile driver of IDE disks, CD-ROM and floppy drives: commands, packets, DMA tables and programs of the DMA controller that
 * are garbage or nearly right, resets, pauses, media that change, and saved states with fields changed.
 *
 *   fuzz_storage [--seconds N] [--iterations N] [--seed S]
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/log.h"
#include "bus/device.h"
#include "machine/devices.h"
#include "machine/pc.h"
#include "../dev/disk_test.h"
#include "fuzz.h"

#define DEFAULT_SECONDS 2
#define DEFAULT_SEED    0xd15c
#define RAM_SIZE        (4 * MiB)
#define BM              0x1000
#define IDE_BAR4        0x80000920u /* configuration address of function 1.1, BAR 4 */
#define IDE_COMMAND     0x80000904u
#define SLOW_S          10          /* what takes longer is a hang */

static const uint16_t ports[2][2] = { { 0x1f0, 0x3f6 }, { 0x170, 0x376 } };
static const uint8_t ata_commands[] = {
	0x00, 0x08, 0x20, 0x24, 0x25, 0x27, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3d, 0x40, 0x42, 0x70, 0x90, 0x91, 0xa0, 0xa0, 0xa0, 0xa1, 0xb0,
	0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xce, 0xe0, 0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xef, 0xf8,
};
static const uint8_t packets[] = {
	0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x28, 0x2b, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x55, 0x5a, 0xa8, 0xad, 0xbb, 0xbd, 0xbe,
};
static const uint8_t fdc_commands[] = {
	0x02, 0x03, 0x04, 0x07, 0x08, 0x0e, 0x0f, 0x10, 0x12, 0x13, 0x14, 0x45, 0x46, 0x4a, 0x4d, 0x56, 0x8f, 0x94, 0xc5, 0xe6, 0xcf,
};

static struct {
	struct pc *pc;
	struct blk *disk[2], *cd[2], *floppy[2];
	uint64_t seed, saves, taken, steps;
} m;

static uint64_t rnd(void)
{
	return fuzz_random(&m.seed);
}

static uint8_t pick(const uint8_t *from, size_t n)
{
	return rnd() % 16 ? from[rnd() % n] : (uint8_t)rnd();
}

static void out(uint16_t port, unsigned size, uint32_t val)
{
	space_write(m.pc->pio, port, size, val);
}

static uint32_t in(uint16_t port, unsigned size)
{
	return (uint32_t)space_read(m.pc->pio, port, size);
}

/* -- IDE ------------------------------------------------------------------------------------------------ */

static void write_table(void)
{
	uint32_t table = (uint32_t)rnd() & (rnd() % 8 ? 0x3ffffcu : ~0u);
	uint8_t e[8];

	for (unsigned i = 0, n = (unsigned)(rnd() % 20); i <= n; i++) {
		put_le32(e, (uint32_t)rnd() & (rnd() % 32 ? 0x3fffffu : ~0u));
		put_le32(e + 4, (uint32_t)(rnd() & (rnd() & 1 ? 0xffff : 0x3ff)) | (i == n && rnd() % 16 ? 0x80000000u : 0));
		space_dma_write(m.pc->mem, table + 8 * i, e, 8);
	}
	out((uint16_t)(BM + 8 * (rnd() & 1) + 4), 4, table);
}

static void move_data(uint16_t base)
{
	const unsigned size = 1u << rnd() % 3;

	for (unsigned n = (unsigned)(rnd() % 2048); n; n--) {
		if (rnd() & 1)
			out(base, size, (uint32_t)rnd());
		else
			in(base, size);
	}
}

static void send_packet(uint16_t base)
{
	uint8_t p[12];

	for (unsigned i = 0; i < 12; i++)
		p[i] = (uint8_t)(rnd() % 3 ? rnd() & 0x0f : rnd());
	p[0] = pick(packets, sizeof(packets));
	if (rnd() & 1)
		p[2] = p[3] = p[7] = 0;
	for (unsigned i = 0; i < 12; i += 2)
		out(base, 2, get_le16(p + i));
}

static void ide_step(void)
{
	const unsigned channel = rnd() & 1;
	const uint16_t base = ports[channel][0], control = ports[channel][1], bm = (uint16_t)(BM + 8 * channel);

	switch (rnd() % 12) {
	case 0:
		write_table();
		break;
	case 1:
	case 2:
		move_data(base);
		break;
	case 3:
		out(bm, 1, (uint32_t)rnd() & 9);
		out((uint16_t)(bm + 2), 1, (uint32_t)rnd());
		break;
	case 4:
		out(control, 1, rnd() & 1 ? 0 : (uint32_t)rnd() & 0x86);
		break;
	case 5:
		send_packet(base);
		break;
	case 6:
		for (unsigned i = 0; i < 8; i++)
			in((uint16_t)(base + rnd() % 8), 1u << rnd() % 3);
		break;
	default:
		for (uint16_t i = 1; i < 7; i++)
			if (rnd() % 8)
				out((uint16_t)(base + i), 1, (uint32_t)(rnd() % 3 ? rnd() & 0x0f : rnd()));
		out((uint16_t)(base + 6), 1, 0xe0 | ((uint32_t)rnd() & 0x10));
		out((uint16_t)(base + 7), 1, pick(ata_commands, sizeof(ata_commands)));
		if (rnd() & 1)
			out(bm, 1, 1);
	}
}

/* -- Floppy ----------------------------------------------------------------------------------------------- */

static void program_dma(void)
{
	out(0x0c, 1, 0);
	out(0x0b, 1, rnd() % 8 ? 0x42 | (rnd() & 1 ? 4 : 8) | ((uint32_t)rnd() & 0x10) : (uint32_t)rnd());
	for (unsigned i = 0; i < 2; i++) {
		out(0x04, 1, (uint32_t)rnd());
		out(0x05, 1, (uint32_t)rnd() & (i ? 0x0f : 0xff));
	}
	out(0x81, 1, (uint32_t)rnd() & (rnd() % 8 ? 0x3f : 0xff));
	out(0x0a, 1, rnd() % 8 ? 2 : 6);
}

static void floppy_step(void)
{
	switch (rnd() % 8) {
	case 0:
		out(0x3f2, 1, rnd() % 4 ? 0x1c : (uint32_t)rnd());
		break;
	case 1:
		out(0x3f4, 1, (uint32_t)rnd() & (rnd() % 8 ? 3 : 0xff));
		out(0x3f7, 1, (uint32_t)rnd() & (rnd() & 1 ? 0 : 3));
		break;
	case 2:
		program_dma();
		break;
	case 3:
		for (unsigned n = (unsigned)(rnd() % 1024); n; n--)
			if (rnd() % 4)
				in(0x3f5, 1);
			else
				out(0x3f5, 1, (uint32_t)rnd());
		break;
	default:
		for (unsigned i = 0; i < 16; i++)
			in(0x3f5, 1);
		out(0x3f5, 1, pick(fdc_commands, sizeof(fdc_commands)));
		for (unsigned i = (unsigned)(rnd() % 9); i; i--)
			out(0x3f5, 1, rnd() % 4 ? (uint32_t)rnd() & 3 : (uint32_t)rnd() & 0x1f);
	}
}

/* -- The machine -------------------------------------------------------------------------------------------- */

static void change_media(void)
{
	const unsigned n = rnd() & 1;
	struct blk *old;
	struct err e;

	switch (rnd() % 4) {
	case 0:
		pc_media_eject(m.pc, "ide1-cd0", rnd() & 1, &old, &e);
		break;
	case 1:
		pc_media_eject(m.pc, "floppy0", false, &old, &e);
		break;
	case 2:
		pc_media_change(m.pc, "ide1-cd0", m.cd[n], &old, &e);
		break;
	default:
		pc_media_change(m.pc, "floppy0", m.floppy[n], &old, &e);
	}
}

/* Fields are picked alike, however long they are. */
static void change_field(struct strbuf *image)
{
	unsigned n = (unsigned)(rnd() % 64);

	for (size_t at = 0;; n--) {
		const size_t value = at + 1 + (uint8_t)image->buf[at] + 4, len = get_le32(image->buf + value - 4);

		if (!n) {
			image->buf[value + rnd() % len] = (char)(rnd() & 1 ? rnd() : rnd() & 7);
			return;
		}
		at = value + len < image->len ? value + len : 0;
	}
}

static int save_and_load(bool change)
{
	struct device *d;
	struct err e = { "" };
	int rc = 0;

	pc_pause(m.pc, true);
	list_for_each(d, &m.pc->devices, node) {
		struct strbuf image = STRBUF_INIT;

		if (strcmp(d->ops->name, "ide") && strcmp(d->ops->name, "floppy") && strcmp(d->ops->name, "i8237"))
			continue;
		device_save(d, &image);
		for (unsigned i = change ? 1 + rnd() % 3 : 0; i; i--)
			change_field(&image);
		rc = device_load(d, d->ops->state_version, image.buf, image.len, &e);
		strbuf_release(&image);
		m.saves++;
		m.taken += !rc;
		if (rc && change)
			d->ops->reset(d);
		else if (rc)
			break;
	}
	pc_pause(m.pc, false);
	if (rc && !change)
		fprintf(stderr, "%s refuses the state that it saved: %s\n", d->ops->name, e.msg);
	return change ? 0 : rc;
}

static void start_over(void)
{
	pc_pause(m.pc, true);
	pc_reset(m.pc);
	pc_pause(m.pc, false);
	out(0xcf8, 4, IDE_BAR4);
	out(0xcfc, 4, BM);
	out(0xcf8, 4, IDE_COMMAND);
	out(0xcfc, 2, 5);
}

static int step(void)
{
	m.steps++;
	switch (rnd() % 512) {
	case 0:
		start_over();
		return 0;
	case 1:
	case 2:
		return save_and_load(false);
	case 3:
	case 4:
	case 5:
	case 6:
		return save_and_load(true);
	case 7:
		change_media();
		return 0;
	}
	if (rnd() % 3)
		ide_step();
	else
		floppy_step();
	return 0;
}

static int run(const struct fuzz_options *o)
{
	const double start = fuzz_now();
	double before = start;
	int rc = 0;

	for (uint64_t i = 0; !rc && i < o->iterations; i++) {
		const double now = fuzz_now();

		if (now - before > SLOW_S) {
			fprintf(stderr, "step %" PRIu64 " took %.1f s\n", i, now - before);
			return 1;
		}
		before = now;
		if (now - start >= o->seconds)
			break;
		rc = step();
	}
	return rc;
}

static void on_event(void *opaque, const struct pc_event *ev)
{
}

int main(int argc, char **argv)
{
	const struct fuzz_options o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED);
	struct device_config devices[] = {
		{ .driver = "ide-hd" }, { .driver = "ide-hd" }, { .driver = "ide-cd" }, { .driver = "floppy" }, { .driver = "floppy" },
	};
	struct pc_config c = {
		.ram_size = RAM_SIZE, .cpus = 1, .cpu_spec = "host", .engine = &interp_engine, .devices = devices,
		.n_devices = ARRAY_SIZE(devices), .on_event = on_event,
	};
	struct err e = { "" };
	int rc;

	m.seed = o.seed;
	printf("seed %#" PRIx64 "\n", m.seed);
	fflush(stdout);
	log_set_level(LOG_ERROR);
	for (unsigned i = 0; i < 2; i++) {
		m.disk[i] = numbered_disk(i ? 20000 : 300, false);
		m.cd[i] = numbered_disk(i ? 4000 : 17, true);
		m.floppy[i] = numbered_disk(i ? 2880 : 1440, i);
		devices[i].blk = m.disk[i];
	}
	devices[2].blk = m.cd[1];
	devices[3].blk = m.floppy[1];
	rc = pc_new(&m.pc, &c, &e);
	if (rc) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	pc_pause(m.pc, false);
	start_over();
	rc = run(&o);
	pc_free(m.pc);
	for (unsigned i = 0; i < 2; i++) {
		blk_close(m.disk[i]);
		blk_close(m.cd[i]);
		blk_close(m.floppy[i]);
	}
	printf("%" PRIu64 " steps, %" PRIu64 " states, %" PRIu64 " of them taken\n", m.steps, m.saves, m.taken);
	return rc != 0;
}
