/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82540EM: registers, EEPROM, PHY, interrupts. Descriptor rings are in e1000_ring.c.
 *
 * Specification: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453-005).
 * Missing: wake-up, flow control, ASF, header split, receive checksums (reported as not done).
 * Ignored: interrupt throttling and delays (an interrupt comes at once), LEDs, loopback, packet buffer split.
 */
#include <stdlib.h>
#include <string.h>

#include "backend/net/net.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "dev/net/e1000_impl.h"

#define EEPROM_SUM 0xbaba
#define EEPROM_MAC 0
#define EEPROM_CHECKSUM 0x3f
#define DEVICE_ID  0x100e
#define PHY_ADDRESS 1
#define INTX_A     1
#define RAH_VALID  0x80000000u

/* Serial EEPROM (93C46): start bit, two of opcode, six of address */
#define OPCODE_READ  6 /* 1 10 */
#define OPCODE_BITS  9

/* PHY registers, IEEE 802.3 clause 22 and Marvell 88E1011 */
enum { PHY_CTRL = 0, PHY_STATUS = 1, PHY_ID1 = 2, PHY_ID2 = 3, PHY_ANAR = 4, PHY_LPAR = 5, PHY_ANER = 6, PHY_1000T_CTRL = 9,
       PHY_1000T_STATUS = 10, M88_SPEC_CTRL = 16, M88_SPEC_STATUS = 17, M88_EXT_CTRL = 20 };
#define PHY_CTRL_RESET   0x8000
#define PHY_CTRL_RESTART 0x0200
#define PHY_STATUS_LINK  0x0004
#define PHY_STATUS_DONE  0x0020
#define M88_STATUS_LINK  0x0400

static const struct {
	uint8_t reg;
	uint16_t val;
} phy_reset[] = {
	{ PHY_CTRL, 0x1140 },   { PHY_STATUS, 0x7949 }, { PHY_ID1, 0x0141 },           { PHY_ID2, 0x0c20 },
	{ PHY_ANAR, 0x0de1 },   { PHY_LPAR, 0x01e0 },   { PHY_ANER, 0x0001 },          { PHY_1000T_CTRL, 0x0e00 },
	{ PHY_1000T_STATUS, 0x3c00 }, { M88_SPEC_CTRL, 0x0360 }, { M88_SPEC_STATUS, 0xa800 }, { M88_EXT_CTRL, 0x0d60 },
};

static const struct pci_ids ids = {
	.vendor = 0x8086, .device = DEVICE_ID, .class_code = 0x020000, .revision = 3, .subvendor = 0x8086, .subsystem = 0x001e,
};

/* -- Interrupts ----------------------------------------------------------------------------------------- */

static void update_irq(struct e1000 *n)
{
	pci_set_intx(&n->fn, n->icr & n->ims);
}

void e1000_raise(struct e1000 *n, uint32_t cause)
{
	n->icr |= cause;
	update_irq(n);
}

/* -- Link ------------------------------------------------------------------------------------------------- */

static void set_link(struct e1000 *n, bool up)
{
	uint32_t before = *e1000_reg(n, E1000_STATUS);

	if (up) {
		*e1000_reg(n, E1000_STATUS) |= STATUS_LU;
		n->phy[PHY_STATUS] |= PHY_STATUS_LINK | PHY_STATUS_DONE;
		n->phy[M88_SPEC_STATUS] |= M88_STATUS_LINK;
	} else {
		*e1000_reg(n, E1000_STATUS) &= ~STATUS_LU;
		n->phy[PHY_STATUS] &= (uint16_t)~(PHY_STATUS_LINK | PHY_STATUS_DONE);
		n->phy[M88_SPEC_STATUS] &= (uint16_t)~M88_STATUS_LINK;
	}
	if (before != *e1000_reg(n, E1000_STATUS))
		e1000_raise(n, ICR_LSC);
}

static bool cable(const struct e1000 *n)
{
	return n->net && net_link_up(n->net);
}

static void on_link(void *opaque, bool up)
{
	struct e1000 *n = opaque;

	lock_take(&n->lock);
	set_link(n, up);
	lock_drop(&n->lock);
}

/* -- PHY and EEPROM ---------------------------------------------------------------------------------------- */

static void write_phy(struct e1000 *n, unsigned reg, uint16_t val)
{
	if (reg == PHY_CTRL) {
		n->phy[PHY_CTRL] = val & (uint16_t)~(PHY_CTRL_RESET | PHY_CTRL_RESTART);
		if (val & (PHY_CTRL_RESET | PHY_CTRL_RESTART))
			set_link(n, cable(n));
	} else if (reg == PHY_ANAR || reg == PHY_1000T_CTRL || reg == M88_SPEC_CTRL || reg == M88_EXT_CTRL) {
		n->phy[reg] = val;
	}
}

static void write_mdic(struct e1000 *n, uint32_t val)
{
	unsigned reg = MDIC_REG(val);

	if (MDIC_PHY(val) != PHY_ADDRESS)
		val |= MDIC_ERROR;
	else if (val & MDIC_READ)
		val = (val & ~0xffffu) | n->phy[reg];
	else if (val & MDIC_WRITE)
		write_phy(n, reg, MDIC_DATA(val));
	*e1000_reg(n, E1000_MDIC) = val | MDIC_READY;
	if (val & MDIC_INT)
		e1000_raise(n, ICR_MDAC);
}

/* A clock edge of the serial interface: bits come in after chip select, then 16 go out. */
static void clock_eeprom(struct e1000 *n, uint32_t val)
{
	if (n->eeprom_bits < OPCODE_BITS) {
		n->eeprom_in = (uint16_t)(n->eeprom_in << 1 | !!(val & EECD_DI));
		/* Nothing counts before the start bit. */
		n->eeprom_bits += n->eeprom_in ? 1 : 0;
		return;
	}
	n->eeprom_bits = (uint8_t)MIN(n->eeprom_bits + 1u, UINT8_MAX);
}

static void write_eecd(struct e1000 *n, uint32_t val)
{
	uint32_t before = n->eecd;

	n->eecd = val & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ);
	if (!(val & EECD_CS)) {
		n->eeprom_in = 0;
		n->eeprom_bits = 0;
	} else if ((val & EECD_SK) && !(before & EECD_SK)) {
		clock_eeprom(n, val);
	}
}

static uint32_t read_eecd(const struct e1000 *n)
{
	uint32_t val = n->eecd | EECD_PRES | (n->eecd & EECD_REQ ? EECD_GNT : 0);
	unsigned out = n->eeprom_bits - OPCODE_BITS; /* the first bit after the address is a dummy 0 */

	if (n->eeprom_bits < OPCODE_BITS || n->eeprom_in >> 6 != OPCODE_READ)
		return val | EECD_DO; /* ready */
	if (out >= 1 && out <= 16)
		val |= n->eeprom[n->eeprom_in & 0x3f] >> (16 - out) & 1 ? EECD_DO : 0;
	return val;
}

static void fill_eeprom(struct e1000 *n, const uint8_t *mac)
{
	uint16_t sum = 0;

	memset(n->eeprom, 0, sizeof(n->eeprom));
	for (unsigned i = 0; i < 3; i++)
		n->eeprom[EEPROM_MAC + i] = get_le16(mac + 2 * i);
	n->eeprom[0x0a] = 0x4408;     /* initialization control word 1 */
	n->eeprom[0x0b] = ids.subsystem;
	n->eeprom[0x0c] = ids.subvendor;
	n->eeprom[0x0d] = DEVICE_ID;
	n->eeprom[0x0e] = ids.vendor;
	n->eeprom[0x0f] = 0x3040;     /* initialization control word 2 */
	for (unsigned i = 0; i < EEPROM_CHECKSUM; i++)
		sum = (uint16_t)(sum + n->eeprom[i]);
	n->eeprom[EEPROM_CHECKSUM] = (uint16_t)(EEPROM_SUM - sum);
}

/* -- Registers ------------------------------------------------------------------------------------------------ */

static void reset_registers(struct e1000 *n)
{
	memset(n->reg, 0, sizeof(n->reg));
	memset(n->phy, 0, sizeof(n->phy));
	memset(&n->tx, 0, sizeof(n->tx));
	for (size_t i = 0; i < ARRAY_SIZE(phy_reset); i++)
		n->phy[phy_reset[i].reg] = phy_reset[i].val;
	*e1000_reg(n, E1000_CTRL) = CTRL_FD;
	*e1000_reg(n, E1000_STATUS) = STATUS_RESET;
	*e1000_reg(n, E1000_VET) = 0x8100;
	*e1000_reg(n, E1000_PBA) = 0x00100030; /* 16 KiB to send, 48 KiB to receive */
	memcpy(e1000_reg(n, E1000_RA), n->mac, 4);
	*e1000_reg(n, E1000_RA + 4) = get_le16(n->mac + 4) | RAH_VALID;
	n->icr = n->ims = n->eecd = 0;
	n->eeprom_in = 0;
	n->eeprom_bits = 0;
	set_link(n, cable(n));
	n->icr = 0;
	update_irq(n);
}

static uint32_t read_reg(struct e1000 *n, uint32_t off)
{
	uint32_t val;

	switch (off) {
	case E1000_ICR:
		val = n->icr;
		n->icr = 0;
		update_irq(n);
		return val;
	case E1000_ICS:
	case E1000_IMC:
		return 0;
	case E1000_IMS:
		return n->ims;
	case E1000_EECD:
		return read_eecd(n);
	}
	val = *e1000_reg(n, off);
	if (off >= E1000_STATS && off < E1000_STATS_END)
		*e1000_reg(n, off) = 0; /* counters are cleared by reading */
	return val;
}

static void write_control(struct e1000 *n, uint32_t val)
{
	if (val & CTRL_RST) {
		reset_registers(n);
		return;
	}
	*e1000_reg(n, E1000_CTRL) = val & ~CTRL_PHY_RST;
	if (val & CTRL_SLU)
		set_link(n, cable(n));
}

static void write_reg(struct e1000 *n, uint32_t off, uint32_t val)
{
	switch (off) {
	case E1000_CTRL:
		write_control(n, val);
		return;
	case E1000_ICR:
		n->icr &= ~val;
		update_irq(n);
		return;
	case E1000_ICS:
		e1000_raise(n, val);
		return;
	case E1000_IMS:
		n->ims |= val;
		update_irq(n);
		return;
	case E1000_IMC:
		n->ims &= ~val;
		update_irq(n);
		return;
	case E1000_EECD:
		write_eecd(n, val);
		return;
	case E1000_EERD:
		*e1000_reg(n, off) = val;
		if (val & EERD_START)
			*e1000_reg(n, off) = (val & 0xff00) | EERD_DONE | (uint32_t)n->eeprom[val >> 8 & 0x3f] << 16;
		return;
	case E1000_MDIC:
		write_mdic(n, val);
		return;
	case E1000_STATUS:
		return;
	}
	if (off >= E1000_STATS && off < E1000_STATS_END)
		return;
	*e1000_reg(n, off) = val;
	if (off == E1000_TDT || off == E1000_TCTL)
		e1000_transmit(n);
	if (off == E1000_RDT || off == E1000_RCTL)
		n->resume = true;
}

/* -- Access ------------------------------------------------------------------------------------------------------ */

/* With the lock of the region, ours, held; the network is told behind it. */
static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
	struct e1000 *n = opaque;

	return off < E1000_REGS_SIZE ? read_reg(n, (uint32_t)off) : 0;
}

static void mmio_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct e1000 *n = opaque;

	if (off < E1000_REGS_SIZE)
		write_reg(n, (uint32_t)off, (uint32_t)val);
	if (n->resume && n->net) {
		n->resume = false;
		net_resume(n->net); /* takes RANK_NET inside, which is allowed under RANK_DEVICE */
	}
}

/* IOADDR and IODATA, 13.3 */
static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
	struct e1000 *n = opaque;

	if (off == 0)
		return n->ioaddr;
	return off == 4 ? mmio_read(n, n->ioaddr & ~3u, 4) : 0;
}

static void io_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct e1000 *n = opaque;

	if (off == 0)
		n->ioaddr = (uint32_t)val % E1000_MMIO_SIZE;
	else if (off == 4)
		mmio_write(n, n->ioaddr & ~3u, 4, val);
}

static const struct io_ops mmio_ops = { .read = mmio_read, .write = mmio_write, .min_size = 4, .max_size = 4 };
static const struct io_ops io_ops = { .read = io_read, .write = io_write, .min_size = 4, .max_size = 4 };

/* -- Life --------------------------------------------------------------------------------------------------------- */

static bool on_receive(void *opaque, const struct iovec *iov, unsigned count, const struct net_offload *off)
{
	struct e1000 *n = opaque;
	bool taken;

	lock_take(&n->lock);
	taken = e1000_receive(n, iov, count);
	lock_drop(&n->lock);
	return taken;
}

static void on_writable(void *opaque)
{
	struct e1000 *n = opaque;

	lock_take(&n->lock);
	e1000_transmit(n);
	lock_drop(&n->lock);
}

static const struct net_handlers net_handlers = { .receive = on_receive, .writable = on_writable, .link = on_link };

static void e1000_reset(struct device *d)
{
	struct e1000 *n = (struct e1000 *)d;

	pci_function_reset(&n->fn);
	lock_take(&n->lock);
	n->ioaddr = 0;
	reset_registers(n);
	lock_drop(&n->lock);
}

static int e1000_post_load(struct device *d)
{
	struct e1000 *n = (struct e1000 *)d;
	int rc = pci_function_post_load(&n->fn);

	if (rc || n->ioaddr >= E1000_MMIO_SIZE || n->tx.len > sizeof(n->tx.frame))
		return -EINVAL;
	lock_take(&n->lock);
	set_link(n, cable(n));
	update_irq(n);
	lock_drop(&n->lock);
	return 0;
}

static void e1000_free(struct device *d)
{
	struct e1000 *n = (struct e1000 *)d;

	if (n->net)
		net_set_handlers(n->net, NULL, NULL);
	pci_function_release(&n->fn);
	lock_release(&n->lock);
	free(n);
}

static const struct state_field e1000_state[] = {
	STATE_BYTES(struct e1000, fn.config),
	STATE_ARRAY(struct e1000, reg),
	STATE_ARRAY(struct e1000, phy),
	STATE_U32(struct e1000, icr),
	STATE_U32(struct e1000, ims),
	STATE_U32(struct e1000, eecd),
	STATE_U32(struct e1000, ioaddr),
	STATE_U16(struct e1000, eeprom_in),
	STATE_U8(struct e1000, eeprom_bits),
	STATE_BYTES(struct e1000, tx.context),
	STATE_BYTES(struct e1000, tx.frame),
	STATE_U32(struct e1000, tx.len),
	STATE_U8(struct e1000, tx.popts),
	STATE_BOOL(struct e1000, tx.tse),
	STATE_BOOL(struct e1000, tx.too_long),
	STATE_BOOL(struct e1000, tx.tcp),
	STATE_BOOL(struct e1000, tx.finished),
	STATE_END(),
};

static const struct device_ops e1000_ops = {
	.name = "e1000",
	.reset = e1000_reset,
	.post_load = e1000_post_load,
	.free = e1000_free,
	.state = e1000_state,
	.state_version = 1,
};

struct e1000 *e1000_new(const struct e1000_config *c)
{
	struct e1000 *n = calloc(1, sizeof(*n));
	struct pci_bar mmio = { .type = PCI_BAR_MEM32, .size = E1000_MMIO_SIZE, .name = "e1000", .ops = &mmio_ops, .opaque = n };
	struct pci_bar io = { .type = PCI_BAR_IO, .size = E1000_IO_SIZE, .name = "e1000-io", .ops = &io_ops, .opaque = n };

	BUG_ON(!n);
	n->dev.ops = &e1000_ops;
	list_init(&n->dev.node);
	lock_init(&n->lock, RANK_DEVICE);
	n->mem = c->mem;
	n->net = c->net;
	memcpy(n->mac, c->mac, sizeof(n->mac));
	fill_eeprom(n, c->mac);
	pci_function_init(&n->fn, c->bus, c->devfn, &ids);
	n->fn.config[PCI_INTERRUPT_PIN] = INTX_A;
	mmio.lock = io.lock = &n->lock;
	pci_add_bar(&n->fn, 0, &mmio);
	pci_add_bar(&n->fn, 1, &io);
	pci_function_seal(&n->fn);
	reset_registers(n);
	if (n->net) {
		net_set_can_receive(n->net, 0);
		net_set_handlers(n->net, &net_handlers, n);
	}
	return n;
}
