/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The switch: who gets which frame, with which tag, and how much of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backend/net/vswitch.h"

#define S       1000000000ull
#define BROADCAST 0xff

struct sink {
	unsigned frames;
	size_t bytes;
	uint8_t last[2048];
	size_t last_len;
};

static bool sink_output(void *opaque, const uint8_t *frame, size_t len)
{
	struct sink *s = opaque;

	s->frames++;
	s->bytes += len;
	memcpy(s->last, frame, len < sizeof(s->last) ? len : sizeof(s->last));
	s->last_len = len;
	return true;
}

static struct sink sink[8];
static struct vswitch *sw;
static struct vswitch_port *port[8];

static int setup(void **state)
{
	memset(sink, 0, sizeof(sink));
	sw = vswitch_new();
	return 0;
}

static int teardown(void **state)
{
	vswitch_free(sw);
	return 0;
}

static void add(unsigned n, struct vswitch_port_config c)
{
	c.vlan = c.vlan ? c.vlan : 1;
	c.output = sink_output;
	c.opaque = &sink[n];
	port[n] = vswitch_add_port(sw, &c);
	assert_non_null(port[n]);
}

/* Addresses: 02:00:00:00:00:N. vlan 0: untagged. */
static void send_at(unsigned from, uint8_t src, uint8_t dst, unsigned vlan, uint64_t now)
{
	uint8_t f[64] = { 0 };

	memset(f, dst == BROADCAST ? 0xff : 0, 6);
	f[0] |= 0x02;
	f[5] = dst;
	f[6] = 0x02;
	f[11] = src;
	if (vlan) {
		f[12] = 0x81;
		f[14] = (uint8_t)(vlan >> 8);
		f[15] = (uint8_t)vlan;
		f[16] = 0x08;
	} else {
		f[12] = 0x08;
	}
	for (unsigned i = 0; i < 8; i++)
		sink[i].frames = 0;
	vswitch_input(port[from], f, sizeof(f), now);
}

static void expect(unsigned a, unsigned b, unsigned c, unsigned d)
{
	assert_int_equal(sink[0].frames, a);
	assert_int_equal(sink[1].frames, b);
	assert_int_equal(sink[2].frames, c);
	assert_int_equal(sink[3].frames, d);
}

static void test_learning(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		add(i, (struct vswitch_port_config){ 0 });
	send_at(0, 10, 11, 0, 1 * S); /* unknown: to all others */
	expect(0, 1, 1, 1);
	send_at(1, 11, 10, 0, 1 * S); /* known by now */
	expect(1, 0, 0, 0);
	send_at(0, 10, 11, 0, 1 * S);
	expect(0, 1, 0, 0);
	send_at(0, 10, BROADCAST, 0, 1 * S);
	expect(0, 1, 1, 1);
	send_at(2, 11, 10, 0, 2 * S); /* it has moved */
	send_at(0, 10, 11, 0, 2 * S);
	expect(0, 0, 1, 0);
	send_at(2, 12, 11, 0, 2 * S); /* to its own side */
	expect(0, 0, 0, 0);
	send_at(0, 10, 11, 0, 303 * S); /* forgotten */
	expect(0, 1, 1, 1);
	vswitch_forget(port[0]);
	send_at(3, 13, 10, 0, 303 * S);
	expect(1, 1, 1, 0);
}

static void test_vlans(void **state)
{
	add(0, (struct vswitch_port_config){ .vlan = 10 });
	add(1, (struct vswitch_port_config){ .vlan = 20 });
	add(2, (struct vswitch_port_config){ .vlan = 10 });
	add(3, (struct vswitch_port_config){ .trunk = true });
	send_at(0, 10, BROADCAST, 0, S);
	expect(0, 0, 1, 1);
	assert_int_equal(sink[2].last_len, 64);
	assert_int_equal(sink[3].last_len, 68); /* tagged on the trunk */
	assert_int_equal(sink[3].last[12], 0x81);
	assert_int_equal(sink[3].last[15], 10);
	assert_int_equal(sink[3].last[16], 0x08);
	send_at(3, 13, BROADCAST, 20, S);
	expect(0, 1, 0, 0);
	assert_int_equal(sink[1].last_len, 60); /* and the tag is off again */
	assert_int_equal(sink[1].last[12], 0x08);
	send_at(0, 10, BROADCAST, 20, S); /* an access port can't choose */
	expect(0, 0, 0, 0);
	/* The same address in two VLANs is two machines. */
	send_at(1, 10, BROADCAST, 0, S);
	send_at(2, 12, 10, 0, S);
	expect(1, 0, 0, 0);
	send_at(3, 13, BROADCAST, 0, S); /* VLAN 1: nobody else */
	expect(0, 0, 0, 0);
}

static void test_tenants(void **state)
{
	add(0, (struct vswitch_port_config){ .tenant = "red" });
	add(1, (struct vswitch_port_config){ .tenant = "blue" });
	add(2, (struct vswitch_port_config){ .tenant = "red", .isolated = true });
	add(3, (struct vswitch_port_config){ .tenant = "red", .isolated = true });
	send_at(0, 10, BROADCAST, 0, S);
	expect(0, 0, 1, 1);
	send_at(2, 12, BROADCAST, 0, S);
	expect(1, 0, 0, 0);
	send_at(3, 13, 12, 0, S); /* known, but not to be reached */
	expect(1, 0, 0, 0);
	/* An address that another tenant claims stays reachable. */
	send_at(1, 10, BROADCAST, 0, S);
	send_at(2, 12, 10, 0, S);
	expect(1, 0, 0, 0);
}

static void test_limit(void **state)
{
	const uint64_t rate = 1000000;
	uint64_t now = S, bytes = 0;

	add(0, (struct vswitch_port_config){ .bps = rate });
	add(1, (struct vswitch_port_config){ 0 });
	while (now < 6 * S) {
		uint64_t wait = vswitch_wait(port[0], 64, now);

		now += wait;
		if (wait)
			continue;
		send_at(0, 10, 11, 0, now);
		bytes += 64;
	}
	assert_in_range(bytes, 5 * rate * 95 / 100, 5 * rate * 105 / 100);
	/* What it gets is limited too, by loss. */
	sink[0].bytes = 0;
	for (now = 10 * S; now < 15 * S; now += 10000)
		send_at(1, 11, BROADCAST, 0, now); /* 6.4 MB a second */
	assert_in_range(sink[0].bytes, 5 * rate * 95 / 100, 5 * rate * 105 / 100);
}

static void test_flood_of_addresses(void **state)
{
	uint8_t f[64] = { 2 };

	add(0, (struct vswitch_port_config){ 0 });
	add(1, (struct vswitch_port_config){ 0 });
	for (uint32_t i = 0; i < 1000000; i++) {
		f[6] = 2;
		memcpy(f + 7, &i, 4);
		vswitch_input(port[0], f, sizeof(f), S);
	}
	send_at(1, 11, 10, 0, 2 * S);
	send_at(0, 10, 11, 0, 2 * S);
	expect(0, 1, 0, 0);
	/* Too short, and as long as nothing is. */
	vswitch_input(port[0], f, 13, S);
	vswitch_input(port[0], f, 0, S);
	expect(0, 1, 0, 0);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_learning), T(test_vlans), T(test_tenants), T(test_limit), T(test_flood_of_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
