/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IDE controller through its ports: disks by PIO and DMA, a CD-ROM drive by packets, resets, saved state, hostile tables. */
#include "dev_test.h"
#include "disk_test.h"

#include "base/bits.h"
#include "dev/storage/ide.h"
#include "dev/storage/ide_regs.h"

#define CMD     0x1f0
#define CTL     0x3f6
#define CMD2    0x170
#define CTL2    0x376
#define BM      0x1000
#define DEVFN   PCI_DEVFN(1, 1)
#define SECTORS 4096u
#define LIMIT   60000 /* ms that anything may take */
#define TABLE   0x1000u
#define DATA    0x10000u

static struct {
	struct bench b;
	struct ram *ram;
	struct region *region;
	struct pci_bus *bus;
	struct ide *ide;
	struct probe irq[IDE_CHANNELS];
	struct blk *disk, *cd, *other;
} f;

static void config(unsigned reg, unsigned size, uint32_t val)
{
	pci_config_write(f.bus, 0, DEVFN, reg, size, val);
}

static int setup(void **state)
{
	struct pci_bus_config bc;
	struct ide_config c;
	struct ide_drive_config disk = { .serial = "SERIAL1", .model = "A DISK" }, cd = { .cdrom = true };

	memset(&f, 0, sizeof(f));
	bench_init(&f.b);
	assert_int_equal(ram_new(&f.ram, 2 * MiB, NULL), 0);
	assert_int_equal(space_add_ram(f.b.mem, &f.region, "ram", 0, 2 * MiB, f.ram, false), 0);
	bc = (struct pci_bus_config){ .mem = f.b.mem, .pio = f.b.pio, .io = { 0x1000, 0xf000 } };
	f.bus = pci_bus_new(&bc);
	c = (struct ide_config){ .bus = f.bus, .devfn = DEVFN, .pio = f.b.pio, .mem = f.b.mem,
				 .channel = { { CMD, CTL, probe_line(&f.irq[0]) }, { CMD2, CTL2, probe_line(&f.irq[1]) } } };
	f.ide = ide_new(&c);
	disk.blk = f.disk = numbered_disk(SECTORS, false);
	cd.blk = f.cd = numbered_disk(SECTORS, true);
	f.other = numbered_disk(SECTORS / 2, true);
	ide_plug(f.ide, 0, 0, &disk);
	ide_plug(f.ide, 1, 0, &cd);
	reset_device(f.ide);
	assert_int_equal(in8(&f.b, CMD + ATA_STATUS), 0xff); /* not decoded yet */
	ide_enable(f.ide);
	config(PCI_BAR0 + 16, 4, BM);
	config(PCI_COMMAND, 2, PCI_CMD_IO | PCI_CMD_MASTER);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.ide);
	pci_bus_free(f.bus);
	bench_release(&f.b);
	ram_free(f.ram);
	blk_close(f.disk);
	blk_close(f.cd);
	blk_close(f.other);
	return 0;
}

static bool not_busy(void *opaque)
{
	return !(in8(&f.b, *(uint16_t *)opaque) & ATA_BSY);
}

static uint8_t wait_ready(uint16_t ctl)
{
	assert_true(wait_for(not_busy, &ctl, LIMIT));
	return in8(&f.b, ctl);
}

static uint8_t status(void)
{
	return in8(&f.b, CMD + ATA_STATUS);
}

static void issue(uint8_t command, uint32_t lba, uint8_t count, uint8_t feature)
{
	out8(&f.b, CMD + ATA_SELECT, 0xe0 | (lba >> 24 & 0xf));
	out8(&f.b, CMD + ATA_FEATURE, feature);
	out8(&f.b, CMD + ATA_NSECTOR, count);
	for (unsigned i = 0; i < 3; i++)
		out8(&f.b, CMD + ATA_LBA_LOW + i, lba >> 8 * i & 0xff);
	out8(&f.b, CMD + ATA_COMMAND, command);
}

static uint8_t simple(uint8_t command, uint8_t count, uint8_t feature)
{
	issue(command, 0, count, feature);
	wait_ready(CTL);
	return status();
}

static void get_block(uint16_t port, uint8_t *buf, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i += 2)
		put_le16(buf + i, (uint16_t)space_read(f.b.pio, port, 2));
}

static void put_block(uint16_t port, const uint8_t *buf, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i += 4)
		space_write(f.b.pio, port, 4, get_le32(buf + i));
}

/* -- Disks ----------------------------------------------------------------------------------------- */

static void test_identify(void **state)
{
	uint8_t id[512];

	assert_int_equal(simple(0xec, 0, 0), ATA_READY | ATA_DRQ);
	get_block(CMD, id, sizeof(id));
	assert_int_equal(status(), ATA_READY);
	assert_memory_equal(id + 54, " AIDKS", 6); /* "A DISK" */
	assert_memory_equal(id + 20, "ESIRLA1", 6);
	assert_int_equal(get_le32(id + 120), SECTORS);
	assert_int_equal(get_le32(id + 200), SECTORS);
	assert_int_equal(f.irq[0].rises, 1);
	/* Nobody is the slave; the CD-ROM drive is no disk and says so. */
	out8(&f.b, CMD + ATA_SELECT, 0xb0);
	assert_int_equal(status(), 0);
	out8(&f.b, CMD2 + ATA_COMMAND, 0xec);
	assert_int_equal(in8(&f.b, CMD2 + ATA_STATUS) & ATA_ERR, ATA_ERR);
	assert_int_equal(in8(&f.b, CMD2 + ATA_LBA_MID), 0x14);
	assert_int_equal(in8(&f.b, CMD2 + ATA_LBA_HIGH), 0xeb);
}

static void test_pio_read(void **state)
{
	uint8_t buf[512];

	issue(0x20, 7, 200, 0); /* more than the channel's buffer */
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(wait_ready(CTL), ATA_READY | ATA_DRQ);
		assert_true(f.irq[0].level);
		status();
		assert_false(f.irq[0].level);
		get_block(CMD, buf, 512);
		assert_int_equal(get_le32(buf), 7 + i);
	}
	assert_int_equal(wait_ready(CTL), ATA_READY);
	assert_int_equal(f.irq[0].rises, 200);
	/* READ MULTIPLE: an interrupt for each block of sixteen. */
	assert_int_equal(simple(0xc6, 16, 0), ATA_READY);
	issue(0xc4, 0, 20, 0);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(wait_ready(CTL), ATA_READY | ATA_DRQ);
		get_block(CMD, buf, 512);
		assert_int_equal(get_le32(buf), i);
	}
	assert_int_equal(status(), ATA_READY);
	assert_int_equal(simple(0xc6, 3, 0), ATA_READY | ATA_ERR);
}

static void test_pio_write(void **state)
{
	uint8_t buf[512], back[512];

	for (unsigned n = 0; n < 130; n++) {
		memset(buf, (int)n + 1, sizeof(buf));
		if (!n)
			issue(0x30, 100, 130, 0);
		assert_int_equal(wait_ready(CTL), ATA_READY | ATA_DRQ);
		put_block(CMD, buf, 512);
	}
	assert_int_equal(wait_ready(CTL), ATA_READY);
	assert_int_equal(simple(0xe7, 0, 0), ATA_READY);
	for (unsigned n = 0; n < 130; n++) {
		memset(buf, (int)n + 1, sizeof(buf));
		assert_int_equal(blk_read(f.disk, (100 + n) * 512, back, 512), 0);
		assert_memory_equal(buf, back, 512);
	}
}

static void test_chs_and_bounds(void **state)
{
	uint8_t buf[512];

	/* Cylinder 1, head 2, sector 3 of 16 heads and 63 sectors. */
	out8(&f.b, CMD + ATA_SELECT, 0xa2);
	out8(&f.b, CMD + ATA_NSECTOR, 1);
	out8(&f.b, CMD + ATA_LBA_LOW, 3);
	out8(&f.b, CMD + ATA_LBA_MID, 1);
	out8(&f.b, CMD + ATA_LBA_HIGH, 0);
	out8(&f.b, CMD + ATA_COMMAND, 0x20);
	assert_int_equal(wait_ready(CTL), ATA_READY | ATA_DRQ);
	get_block(CMD, buf, 512);
	assert_int_equal(get_le32(buf), 16 * 63 + 2 * 63 + 2);
	issue(0x20, SECTORS - 1, 2, 0);
	assert_int_equal(wait_ready(CTL), ATA_READY | ATA_ERR);
	assert_int_equal(in8(&f.b, CMD + ATA_ERROR), ATA_IDNF);
	issue(0x42, SECTORS, 1, 0);
	assert_int_equal(wait_ready(CTL) & ATA_ERR, ATA_ERR);
	assert_int_equal(simple(0x77, 0, 0), ATA_READY | ATA_ERR);
	assert_int_equal(in8(&f.b, CMD + ATA_ERROR), ATA_ABRT);
}

static void test_features(void **state)
{
	assert_int_equal(simple(0xef, 0x45, 0x03), ATA_READY);           /* UDMA 5 */
	assert_int_equal(simple(0xef, 0x46, 0x03), ATA_READY | ATA_ERR); /* 6 is not there */
	assert_int_equal(simple(0xef, 0, 0x82), ATA_READY);
	assert_int_equal(simple(0xef, 0, 0x77), ATA_READY | ATA_ERR);
	assert_int_equal(simple(0xe0, 0, 0), ATA_READY);
	assert_int_equal(simple(0xe5, 7, 0), ATA_READY);
	assert_int_equal(in8(&f.b, CMD + ATA_NSECTOR), 0);
	assert_int_equal(simple(0xe1, 0, 0), ATA_READY);
	assert_int_equal(simple(0xe5, 7, 0), ATA_READY);
	assert_int_equal(in8(&f.b, CMD + ATA_NSECTOR), 0xff);
	issue(0xb0, 0xc24f00, 0, 0xda); /* SMART RETURN STATUS */
	assert_int_equal(wait_ready(CTL), ATA_READY);
	assert_int_equal(in8(&f.b, CMD + ATA_LBA_MID), 0x4f);
}

/* -- DMA ------------------------------------------------------------------------------------------------ */

static void entry(unsigned n, uint32_t addr, uint32_t count)
{
	uint8_t e[8];

	put_le32(e, addr);
	put_le32(e + 4, count);
	assert_int_equal(space_dma_write(f.b.mem, TABLE + 8 * n, e, 8), 0);
}

static uint8_t run_dma(uint8_t command, uint32_t lba, uint8_t count)
{
	space_write(f.b.pio, BM + BM_TABLE, 4, TABLE);
	out8(&f.b, BM + BM_STATUS, BM_ERROR | BM_INTERRUPT);
	issue(command, lba, count, 0);
	out8(&f.b, BM + BM_COMMAND, BM_START);
	assert_true(wait_rises(&f.irq[0], 1, LIMIT));
	f.irq[0].rises = 0;
	out8(&f.b, BM + BM_COMMAND, 0);
	return status();
}

static void test_dma(void **state)
{
	uint8_t buf[1024], pattern[1024];

	/* Two areas, the first of which ends inside of a sector. */
	entry(0, DATA, 700);
	entry(1, DATA + 0x8000, 324 | 0x80000000u);
	assert_int_equal(run_dma(0xc8, 50, 2), ATA_READY);
	assert_int_equal(in8(&f.b, BM + BM_STATUS) & 7, BM_INTERRUPT);
	assert_int_equal(space_dma_read(f.b.mem, DATA, buf, 700), 0);
	assert_int_equal(get_le32(buf), 50);
	assert_int_equal(get_le32(buf + 512), 51);
	memset(pattern, 0x5a, sizeof(pattern));
	assert_int_equal(space_dma_write(f.b.mem, DATA, pattern, 700), 0);
	assert_int_equal(space_dma_write(f.b.mem, DATA + 0x8000, pattern, 324), 0);
	assert_int_equal(run_dma(0xca, 60, 2), ATA_READY);
	assert_int_equal(blk_read(f.disk, 60 * 512, buf, 1024), 0);
	assert_memory_equal(buf, pattern, 1024);
	/* Sectors in pieces of two bytes: 256 of them for each. */
	for (unsigned i = 0; i < 512; i++)
		entry(i, DATA + 4 * i, 2 | (i == 511 ? 0x80000000u : 0));
	assert_int_equal(run_dma(0xc8, 70, 2), ATA_READY);
	assert_int_equal(space_dma_read(f.b.mem, DATA, buf, 2), 0);
	assert_int_equal(get_le16(buf), 70);
	/* A longer table stays active. */
	entry(0, DATA, 4096 | 0x80000000u);
	assert_int_equal(run_dma(0xc8, 5, 1), ATA_READY);
}

static void test_bad_tables(void **state)
{
	entry(0, 0xf0000000u, 512 | 0x80000000u); /* no RAM */
	assert_int_equal(run_dma(0xc8, 0, 1), ATA_READY | ATA_ERR);
	assert_int_equal(in8(&f.b, BM + BM_STATUS) & 7, BM_INTERRUPT | BM_ERROR);
	/* Too short: no interrupt, no longer active. */
	entry(0, DATA, 256 | 0x80000000u);
	space_write(f.b.pio, BM + BM_TABLE, 4, TABLE);
	out8(&f.b, BM + BM_STATUS, BM_ERROR | BM_INTERRUPT);
	issue(0xc8, 0, 1, 0);
	out8(&f.b, BM + BM_COMMAND, BM_START);
	assert_int_equal(in8(&f.b, BM + BM_STATUS) & 7, 0);
	out8(&f.b, BM + BM_COMMAND, 0);
	/* A table in no RAM. */
	space_write(f.b.pio, BM + BM_TABLE, 4, 0xf0000000u);
	issue(0xc8, 0, 1, 0);
	out8(&f.b, BM + BM_COMMAND, BM_START);
	assert_int_equal(in8(&f.b, BM + BM_STATUS) & BM_ACTIVE, 0);
}

static void test_reset(void **state)
{
	issue(0x20, 0, 100, 0);
	out8(&f.b, CTL, ATA_SRST);
	assert_int_equal(in8(&f.b, CTL) & ATA_BSY, ATA_BSY);
	out8(&f.b, CTL, ATA_NIEN);
	assert_int_equal(wait_ready(CTL), ATA_READY);
	assert_int_equal(in8(&f.b, CMD + ATA_NSECTOR), 1);
	assert_int_equal(in8(&f.b, CMD + ATA_LBA_LOW), 1);
	assert_int_equal(in8(&f.b, CMD + ATA_LBA_MID), 0);
	assert_int_equal(simple(0xec, 0, 0), ATA_READY | ATA_DRQ);
	assert_false(f.irq[0].level); /* nIEN */
}

/* -- CD-ROM ------------------------------------------------------------------------------------------------ */

/* Send a packet; its reply, if it has one. Returns the status at the end. */
static uint8_t packet(const uint8_t *p, uint8_t *reply, unsigned room, unsigned *got)
{
	uint8_t st;

	*got = 0;
	out8(&f.b, CMD2 + ATA_SELECT, 0xa0);
	out8(&f.b, CMD2 + ATA_FEATURE, 0);
	out8(&f.b, CMD2 + ATA_LBA_MID, 0x00);
	out8(&f.b, CMD2 + ATA_LBA_HIGH, 0x08); /* blocks of 2048 bytes */
	out8(&f.b, CMD2 + ATA_COMMAND, 0xa0);
	assert_int_equal(wait_ready(CTL2) & ATA_DRQ, ATA_DRQ);
	assert_int_equal(in8(&f.b, CMD2 + ATA_NSECTOR), ATAPI_COD);
	put_block(CMD2, p, 12);
	while ((st = wait_ready(CTL2)) & ATA_DRQ) {
		unsigned n = in8(&f.b, CMD2 + ATA_LBA_MID) | in8(&f.b, CMD2 + ATA_LBA_HIGH) << 8;

		assert_int_equal(in8(&f.b, CMD2 + ATA_NSECTOR), ATAPI_IO);
		assert_true(n && n <= 2048 && *got + n <= room);
		get_block(CMD2, reply + *got, n);
		*got += n;
	}
	assert_int_equal(in8(&f.b, CMD2 + ATA_NSECTOR), ATAPI_COD | ATAPI_IO);
	return in8(&f.b, CMD2 + ATA_STATUS);
}

static uint8_t reply[65536];

/* The sense of the last command: key, ASC. */
static uint16_t sense(void)
{
	static const uint8_t p[12] = { 0x03, 0, 0, 0, 18 };
	unsigned n;

	assert_int_equal(packet(p, reply, sizeof(reply), &n), ATA_READY);
	assert_int_equal(n, 18);
	return (uint16_t)(reply[2] << 8 | reply[12]);
}

static bool command(const uint8_t *p, unsigned *n)
{
	return !(packet(p, reply, sizeof(reply), n) & ATA_ERR);
}

#define PACKET(...) ((const uint8_t[12]){ __VA_ARGS__ })

static void test_cd(void **state)
{
	unsigned n;

	assert_true(command(PACKET(0x12, 0, 0, 0, 36), &n));
	assert_int_equal(n, 36);
	assert_int_equal(reply[0], 5);
	assert_false(command(PACKET(0x00), &n)); /* the reset is told first */
	assert_int_equal(sense(), 0x0629);
	assert_true(command(PACKET(0x00), &n));
	assert_true(command(PACKET(0x25), &n));
	assert_int_equal(get_be32(reply), SECTORS / 4 - 1);
	assert_int_equal(get_be32(reply + 4), 2048);
	assert_true(command(PACKET(0x28, 0, 0, 0, 0, 10, 0, 0, 20), &n));
	assert_int_equal(n, 20 * 2048);
	for (unsigned i = 0; i < 80; i++)
		assert_int_equal(get_le32(reply + 512 * i), 40 + i);
	assert_false(command(PACKET(0xa8, 0, 0, 0, 0x04, 0, 0, 0, 0, 1), &n)); /* behind the end */
	assert_int_equal(sense(), 0x0521);
	assert_false(command(PACKET(0x77), &n));
	assert_int_equal(sense(), 0x0520);
	assert_true(command(PACKET(0x43, 2, 0, 0, 0, 0, 0, 3, 0x24), &n));
	assert_int_equal(n, 20);
	assert_int_equal(reply[14], 0xaa);
	assert_true(command(PACKET(0x46, 0, 0, 0, 0, 0, 0, 1, 0), &n));
	assert_int_equal(get_be16(reply + 6), 8);
	assert_true(command(PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 200), &n));
	assert_int_equal(reply[8], 0x2a);
	assert_true(command(PACKET(0x51, 0, 0, 0, 0, 0, 0, 0, 34), &n));
	assert_false(command(PACKET(0xad, 0, 0, 0, 0, 0, 0, 0, 8), &n)); /* it is no DVD */
}

static void test_media(void **state)
{
	const struct media_drive d = ide_media(f.ide, 1, 0);
	static const uint8_t get_event[12] = { 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8 };
	struct media_state s;
	unsigned n;

	command(PACKET(0x00), &n);
	/* Locked: no way out, by button or command. */
	assert_true(command(PACKET(0x1e, 0, 0, 0, 1), &n));
	assert_false(d.ops->press_eject(d.chip, d.n));
	assert_true(command(get_event, &n));
	assert_int_equal(reply[4], 1);
	assert_false(command(PACKET(0x1b, 0, 0, 0, 2), &n));
	assert_int_equal(sense(), 0x0553);
	assert_true(command(PACKET(0x1e), &n));
	assert_true(d.ops->press_eject(d.chip, d.n));
	/* The guest opens the tray, and shuts it. */
	assert_true(command(PACKET(0x1b, 0, 0, 0, 2), &n));
	d.ops->get(d.chip, d.n, &s);
	assert_true(s.tray_open && s.blk == f.cd);
	assert_false(command(PACKET(0x25), &n));
	assert_int_equal(sense(), 0x023a);
	assert_true(command(PACKET(0x1b, 0, 0, 0, 3), &n));
	assert_false(command(PACKET(0x00), &n));
	assert_int_equal(sense(), 0x0628);
	/* Another one is put in. */
	assert_ptr_equal(d.ops->change(d.chip, d.n, NULL), f.cd);
	assert_false(command(PACKET(0x00), &n));
	assert_int_equal(sense(), 0x023a);
	assert_null(d.ops->change(d.chip, d.n, f.other));
	assert_true(command(get_event, &n));
	assert_int_equal(reply[4], 2);
	assert_int_equal(reply[5], 2);
	assert_false(command(PACKET(0x00), &n));
	assert_int_equal(sense(), 0x0628);
	assert_true(command(PACKET(0x25), &n));
	assert_int_equal(get_be32(reply), SECTORS / 8 - 1);
}

/* -- State ---------------------------------------------------------------------------------------------------- */

static void test_state(void **state)
{
	uint8_t buf[512];

	issue(0x20, 9, 3, 0);
	assert_int_equal(wait_ready(CTL), ATA_READY | ATA_DRQ);
	get_block(CMD, buf, 512);
	check_round_trip(f.b.clock, f.ide);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(wait_ready(CTL), ATA_READY | ATA_DRQ);
		get_block(CMD, buf, 512);
		assert_int_equal(get_le32(buf), 9 + i);
	}
}

static void poke(void *opaque)
{
	for (unsigned i = 0; i < 600; i++) {
		space_read(f.b.pio, CMD, 4);
		space_write(f.b.pio, CMD2, 2, i);
	}
	for (unsigned i = 1; i < ATA_PORTS; i++)
		in8(&f.b, (uint16_t)(CMD + i));
	out8(&f.b, BM + BM_COMMAND, BM_START);
	issue(0xc8, 0, 1, 0);
	out8(&f.b, CTL, ATA_SRST);
	out8(&f.b, CTL, 0);
}

static void test_hostile_state(void **state)
{
	issue(0x20, 9, 3, 0);
	wait_ready(CTL);
	check_hostile_state(f.b.clock, f.ide, poke, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identify), T(test_pio_read), T(test_pio_write), T(test_chs_and_bounds), T(test_features), T(test_dma),
		T(test_bad_tables), T(test_reset), T(test_cd), T(test_media), T(test_state), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
