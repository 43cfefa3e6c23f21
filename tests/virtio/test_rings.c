/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings, registers and interrupts of virtio over PCI, with the simplest device; and what a hostile driver can do. */
#include "vtest.h"

#include "virtio/rng.h"

static struct vtest t;

static int setup(void **state)
{
	v_init(&t);
	v_plug(&t, virtio_rng_new(t.mem, VIRTIO_F_PACKED));
	return 0;
}

static int teardown(void **state)
{
	v_release(&t);
	return 0;
}

/* The formats, with and without the features that change them. */
static const uint64_t formats[] = {
	0, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT, VIRTIO_F_PACKED, VIRTIO_F_PACKED | VIRTIO_F_EVENT_IDX,
	VIRTIO_F_PACKED | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX,
};

static bool all_zero(uint64_t gpa, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (*v_ptr(&t, gpa + i))
			return false;
	return true;
}

static void test_round_the_ring(void **state)
{
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		v_setup(&t, formats[f], 1);
		for (unsigned i = 0; i < 5 * V_QSIZE; i++) {
			const struct v_buf b[3] = {
				{ V_BUFFERS, 32, true }, { V_BUFFERS + 0x1000, 16, true }, { V_BUFFERS + 0x2000, 0, true },
			};

			memset(v_ptr(&t, V_BUFFERS), 0, 0x3000);
			assert_int_equal(v_do(&t, 0, b, 1 + i % 3), i % 3 ? 48 : 32);
			assert_false(all_zero(V_BUFFERS, 32));
			assert_int_equal(all_zero(V_BUFFERS + 0x1000, 16), i % 3 == 0);
			assert_true(all_zero(V_BUFFERS + 32, 64));
		}
		assert_int_equal(v_read(&t, V_STATUS, 1), 15);
	}
	struct strbuf sb = STRBUF_INIT;
	t.vd->dev.ops->print_stats(&t.vd->dev, &sb);
	/* Fewer interrupts than chains: the event index, which nobody moved, was passed only once. */
	assert_string_equal(sb.buf, "virtio-rng.0  240 kicks, 240 chains of buffers, 201 interrupts\n");
	strbuf_release(&sb);
}

static void test_indirect(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		uint8_t *table = v_ptr(&t, V_BUFFERS), *d;

		v_setup(&t, VIRTIO_F_INDIRECT | (packed ? VIRTIO_F_PACKED : 0), 1);
		for (unsigned i = 0; i < 20; i++, table += 16) { /* more than the ring has */
			put_le64(table, V_BUFFERS + 0x1000 + i * 64);
			put_le32(table + 8, 8);
			put_le16(table + 12, packed ? 0 : VQ_WRITE | (i < 19 ? VQ_NEXT : 0));
			put_le16(table + 14, packed ? VQ_WRITE : (uint16_t)(i + 1));
		}
		const struct v_buf b = { V_BUFFERS, 20 * 16, false };
		v_add(&t, 0, &b, 1);
		d = v_ptr(&t, v_desc(0));
		if (packed)
			put_le16(d + 14, get_le16(d + 14) | VQ_INDIRECT);
		else
			put_le16(d + 12, VQ_INDIRECT);
		v_kick(&t, 0);
		assert_int_equal(v_used(&t, 0), 160);
		assert_false(all_zero(V_BUFFERS + 0x1000 + 19 * 64, 8));
	}
}

static void test_negotiation(void **state)
{
	v_reset(&t);
	v_write(&t, V_DEV_SEL, 4, 1);
	assert_int_equal(v_read(&t, V_DEV_FEAT, 4), (VIRTIO_F_VERSION_1 | VIRTIO_F_PACKED) >> 32);
	v_write(&t, V_DEV_SEL, 4, 7);
	assert_int_equal(v_read(&t, V_DEV_FEAT, 4), 0);
	/* Without version 1, or with a feature that was not offered, there is no FEATURES_OK. */
	v_write(&t, V_STATUS, 1, 3);
	v_write(&t, V_STATUS, 1, 11);
	assert_int_equal(v_read(&t, V_STATUS, 1), 3);
	v_write(&t, V_DRV_SEL, 4, 1);
	v_write(&t, V_DRV_FEAT, 4, 1 | 1u << 30);
	v_write(&t, V_STATUS, 1, 11);
	assert_int_equal(v_read(&t, V_STATUS, 1), 3);
	v_write(&t, V_DRV_FEAT, 4, 1);
	v_write(&t, V_STATUS, 1, 11);
	assert_int_equal(v_read(&t, V_STATUS, 1), 11);
	v_write(&t, V_DRV_FEAT, 4, 0); /* too late */
	assert_int_equal(v_read(&t, V_DRV_FEAT, 4), 1);
	v_write(&t, V_Q_SEL, 2, 1);
	assert_int_equal(v_read(&t, V_Q_SIZE, 2), 0);
}

static void test_interrupts(void **state)
{
	const struct v_buf b = { V_BUFFERS, 8, true };
	uint8_t *avail = v_ptr(&t, v_driver(0));

	/* INTx: level until the ISR is read. */
	v_setup(&t, 0, 1);
	assert_int_equal(v_do(&t, 0, &b, 1), 8);
	assert_true(t.intx);
	assert_int_equal(v_read(&t, V_ISR, 1), 1);
	assert_false(t.intx);
	assert_int_equal(v_read(&t, V_ISR, 1), 0);
	put_le16(avail, 1); /* NO_INTERRUPT */
	assert_int_equal(v_do(&t, 0, &b, 1), 8);
	assert_false(t.intx);
	/* MSI-X: capability is found by its id. */
	uint8_t cap = (uint8_t)pci_config_read(t.bus, 0, PCI_DEVFN(3, 0), PCI_CAPABILITIES, 1);
	while (pci_config_read(t.bus, 0, PCI_DEVFN(3, 0), cap, 1) != 0x11)
		cap = (uint8_t)pci_config_read(t.bus, 0, PCI_DEVFN(3, 0), cap + 1u, 1);
	assert_int_equal(pci_config_read(t.bus, 0, PCI_DEVFN(3, 0), cap + 2u, 2), 1);
	pci_config_write(t.bus, 0, PCI_DEVFN(3, 0), cap + 2u, 2, 0x8000);
	space_write(t.mem, V_MSIX + 16, 4, 0xfee00000);
	space_write(t.mem, V_MSIX + 24, 4, 0x4321);
	v_write(&t, V_Q_SEL, 2, 0);
	v_write(&t, V_Q_VECTOR, 2, 9);
	assert_int_equal(v_read(&t, V_Q_VECTOR, 2), 0xffff);
	v_write(&t, V_Q_VECTOR, 2, 1);
	put_le16(avail, 0);
	assert_int_equal(v_do(&t, 0, &b, 1), 8);
	assert_int_equal(t.msis, 0); /* masked: pending */
	assert_int_equal(space_read(t.mem, V_MSIX + 0x800, 4), 2);
	space_write(t.mem, V_MSIX + 28, 4, 0);
	assert_int_equal(t.msis, 1);
	assert_int_equal(t.last_data, 0x4321);
	assert_int_equal(space_read(t.mem, V_MSIX + 0x800, 4), 0);
	assert_int_equal(v_do(&t, 0, &b, 1), 8);
	assert_int_equal(t.msis, 2);
	pci_config_write(t.bus, 0, PCI_DEVFN(3, 0), cap + 2u, 2, 0xc000); /* function masked */
	assert_int_equal(v_do(&t, 0, &b, 1), 8);
	assert_int_equal(t.msis, 2);
	pci_config_write(t.bus, 0, PCI_DEVFN(3, 0), cap + 2u, 2, 0x8000);
	assert_int_equal(t.msis, 3);
	assert_false(t.intx);
}

/* The driver asks for an interrupt at an index, and hears nothing before. */
static void test_event_index(void **state)
{
	const struct v_buf b = { V_BUFFERS, 8, true };

	v_setup(&t, VIRTIO_F_EVENT_IDX, 1);
	put_le16(v_ptr(&t, v_driver(0) + 4 + 2 * V_QSIZE), 3); /* used_event */
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(v_do(&t, 0, &b, 1), 8);
		assert_int_equal(v_read(&t, V_ISR, 1), i == 0 || i == 3); /* the first always may */
		assert_int_equal(get_le16(v_ptr(&t, v_device(0) + 4 + 8 * V_QSIZE)), i + 1); /* avail_event */
	}
	v_setup(&t, VIRTIO_F_EVENT_IDX | VIRTIO_F_PACKED, 1);
	put_le16(v_ptr(&t, v_driver(0)), 3 | 0x8000);
	put_le16(v_ptr(&t, v_driver(0) + 2), 2);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(v_do(&t, 0, &b, 1), 8);
		assert_int_equal(v_read(&t, V_ISR, 1), i == 3);
	}
}

static void test_config_window(void **state)
{
	uint8_t cap = (uint8_t)pci_config_read(t.bus, 0, PCI_DEVFN(3, 0), PCI_CAPABILITIES, 1);
	const uint8_t fn = PCI_DEVFN(3, 0);

	while (pci_config_read(t.bus, 0, fn, cap + 3u, 1) != 5)
		cap = (uint8_t)pci_config_read(t.bus, 0, fn, cap + 1u, 1);
	pci_config_write(t.bus, 0, fn, cap + 4u, 1, 4);
	pci_config_write(t.bus, 0, fn, cap + 8u, 4, V_STATUS);
	pci_config_write(t.bus, 0, fn, cap + 12u, 4, 1);
	pci_config_write(t.bus, 0, fn, cap + 16u, 4, 3);
	assert_int_equal(v_read(&t, V_STATUS, 1), 3);
	assert_int_equal(pci_config_read(t.bus, 0, fn, cap + 16u, 4), 3);
	pci_config_write(t.bus, 0, fn, cap + 8u, 4, 0xfffffff0); /* nowhere */
	pci_config_write(t.bus, 0, fn, cap + 16u, 4, 0);
	assert_int_equal(v_read(&t, V_STATUS, 1), 3);
}

/* -- Hostile drivers ------------------------------------------------------------------------------------- */

static void desc(unsigned n, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *d = v_ptr(&t, v_desc(0) + n * 16);

	put_le64(d, gpa);
	put_le32(d + 8, len);
	put_le16(d + 12, flags);
	put_le16(d + 14, next);
}

static void offer(uint16_t idx, uint16_t head)
{
	put_le16(v_ptr(&t, v_driver(0) + 4), head);
	put_le16(v_ptr(&t, v_driver(0) + 2), idx);
	v_kick(&t, 0);
}

static void expect_broken(void)
{
	const struct v_buf b = { V_BUFFERS, 8, true };

	assert_true(v_broken(&t));
	assert_int_equal(v_read(&t, V_ISR, 1) & 2, 2);
	assert_int_equal(get_le16(v_ptr(&t, v_device(0) + 2)), 0);
	v_kick(&t, 0);
	/* After a reset it is as new. */
	v_setup(&t, VIRTIO_F_INDIRECT, 1);
	assert_int_equal(v_do(&t, 0, &b, 1), 8);
	v_setup(&t, VIRTIO_F_INDIRECT, 1);
	v_read(&t, V_ISR, 1);
}

static void test_hostile_split(void **state)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
		uint16_t flags, next;
	} bad[] = {
		{ V_BUFFERS, 8, VQ_WRITE | VQ_NEXT, 0 },             /* a loop */
		{ V_BUFFERS, 8, VQ_WRITE | VQ_NEXT, V_QSIZE },       /* out of the ring */
		{ V_BUFFERS, 8, VQ_WRITE | VQ_NEXT, 0xffff },
		{ V_RAM - 4, 8, VQ_WRITE, 0 },                       /* out of RAM */
		{ UINT64_MAX - 4, 8, VQ_WRITE, 0 },
		{ V_BAR, 8, VQ_WRITE, 0 },                           /* a device */
		{ V_BUFFERS, UINT32_MAX, VQ_WRITE, 0 },
		{ V_BUFFERS, 16, VQ_INDIRECT | VQ_NEXT, 1 },
		{ V_BUFFERS, 15, VQ_INDIRECT, 0 },
		{ V_BUFFERS, 0, VQ_INDIRECT, 0 },
		{ V_BUFFERS, 16 * 4096, VQ_INDIRECT, 0 },
		{ V_RAM - 8, 16, VQ_INDIRECT, 0 },
		{ V_BUFFERS, 32, VQ_INDIRECT, 0 },                   /* see below: a loop inside */
		{ V_BUFFERS + 64, 32, VQ_INDIRECT, 0 },              /* indirect in indirect */
	};

	uint8_t *table = v_ptr(&t, V_BUFFERS);

	memset(table, 0, 256);
	put_le64(table, V_BUFFERS);
	put_le32(table + 8, 8);
	put_le16(table + 12, VQ_WRITE | VQ_NEXT);
	put_le16(table + 64 + 12, VQ_INDIRECT);
	v_setup(&t, VIRTIO_F_INDIRECT, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		desc(0, bad[i].gpa, bad[i].len, bad[i].flags, bad[i].next);
		offer(1, 0);
		expect_broken();
	}
	offer(V_QSIZE + 1, 0); /* more than the ring has */
	expect_broken();
	offer(1, V_QSIZE);
	expect_broken();
	/* To be read behind to be written. */
	desc(0, V_BUFFERS, 8, VQ_WRITE | VQ_NEXT, 1);
	desc(1, V_BUFFERS, 8, 0, 0);
	offer(1, 0);
	expect_broken();
}

static void test_hostile_packed(void **state)
{
	static const struct v_buf loop = { V_BUFFERS, 8, true };
	const struct v_buf wild = { V_RAM - 4, 8, true };

	v_setup(&t, VIRTIO_F_PACKED | VIRTIO_F_INDIRECT, 1);
	v_add(&t, 0, &wild, 1);
	v_kick(&t, 0);
	assert_true(v_broken(&t));
	v_setup(&t, VIRTIO_F_PACKED, 1);
	for (unsigned i = 0; i < V_QSIZE; i++) { /* a chain that never ends */
		uint8_t *d = v_ptr(&t, v_desc(0) + i * 16);

		put_le64(d, V_BUFFERS);
		put_le32(d + 8, 8);
		put_le16(d + 14, VQ_WRITE | VQ_NEXT | VQ_AVAIL);
	}
	v_kick(&t, 0);
	assert_true(v_broken(&t));
	v_setup(&t, VIRTIO_F_PACKED, 1);
	assert_int_equal(v_do(&t, 0, &loop, 1), 8);
	/* Indirect without the feature. */
	v_add(&t, 0, &loop, 1);
	uint8_t *d = v_ptr(&t, v_desc(0) + 16);
	put_le16(d + 14, get_le16(d + 14) | VQ_INDIRECT);
	v_kick(&t, 0);
	assert_true(v_broken(&t));
}

static void test_hostile_addresses(void **state)
{
	static const uint64_t where[][3] = {
		{ V_RAM, V_RINGS, V_RINGS }, { V_RINGS, UINT64_MAX, V_RINGS }, { V_RINGS, V_RINGS, V_BAR },
		{ V_RINGS + 8, V_RINGS, V_RINGS }, { V_RINGS, V_RINGS + 1, V_RINGS }, { V_RINGS, V_RINGS, V_RINGS + 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
		v_setup(&t, 0, 0);
		v_write(&t, V_Q_SEL, 2, 0);
		v_write(&t, V_Q_SIZE, 2, V_QSIZE);
		v_write(&t, V_Q_DESC, 8, where[i][0]);
		v_write(&t, V_Q_DRIVER, 8, where[i][1]);
		v_write(&t, V_Q_DEVICE, 8, where[i][2]);
		v_write(&t, V_Q_ENABLE, 2, 1);
		assert_true(v_broken(&t));
		assert_int_equal(v_read(&t, V_Q_ENABLE, 2), 0);
		v_kick(&t, 0);
	}
	for (unsigned size = 0; size < 0x10000; size = size * 2 + 3) {
		v_setup(&t, 0, 0);
		v_write(&t, V_Q_SIZE, 2, size);
		v_write(&t, V_Q_ENABLE, 2, 1);
		assert_true(v_broken(&t));
	}
}

/* -- State ----------------------------------------------------------------------------------------------- */

static void test_save_and_restore(void **state)
{
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		const struct v_buf b = { V_BUFFERS, 8, true };
		struct strbuf core = STRBUF_INIT, glue = STRBUF_INIT;
		struct device *d = &t.vd->dev, *g = (struct device *)t.pci;
		struct v_queue q;
		struct err e = { "" };

		v_setup(&t, formats[f], 1);
		for (unsigned i = 0; i < V_QSIZE + 3; i++)
			assert_int_equal(v_do(&t, 0, &b, 1), 8);
		v_add(&t, 0, &b, 1); /* offered, and not yet seen */
		d->ops->quiesce(d, true);
		v_kick(&t, 0);
		device_save(d, &core);
		device_save(g, &glue);
		q = t.q[0];
		d->ops->reset(d);
		g->ops->reset(g);
		assert_int_equal(device_load(d, 1, core.buf, core.len, &e), 0);
		assert_int_equal(device_load(g, 1, glue.buf, glue.len, &e), 0);
		t.q[0] = q;
		d->ops->quiesce(d, false);
		assert_int_equal(v_used(&t, 0), 8);
		assert_int_equal(v_do(&t, 0, &b, 1), 8);
		assert_int_equal(v_read(&t, V_STATUS, 1), 15);
		strbuf_release(&core);
		strbuf_release(&glue);
	}
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_round_the_ring), T(test_indirect), T(test_negotiation), T(test_interrupts), T(test_event_index),
		T(test_config_window), T(test_hostile_split), T(test_hostile_packed), T(test_hostile_addresses),
		T(test_save_and_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
