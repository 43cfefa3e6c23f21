/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums and TCP segments against a slow calculation of the same by the books. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backend/net/frame.h"

#define ETHER   14
#define PAYLOAD 5000
#define MSS     1460

/* RFC 1071, a 16-bit word at a time. */
static uint16_t slow_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		sum += (uint32_t)(p[len - 1] << 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void test_csum(void **state)
{
	uint8_t frame[2000];

	srand(1);
	for (unsigned round = 0; round < 2000; round++) {
		size_t len = 60 + (size_t)rand() % 1900;
		struct net_offload off = { .needs_csum = true, .csum_start = (uint16_t)(rand() % 40), .csum_offset = 6 };

		for (size_t i = 0; i < len; i++)
			frame[i] = (uint8_t)(rand() >> 4);
		frame_finish_csum(frame, len, &off);
		/* With the partial sum that stood there replaced, everything no longer needs to sum up to ones: so compare by the books. */
		memset(frame + off.csum_start + 6, 0, 2);
		frame_finish_csum(frame, len, &off);
		assert_int_equal(slow_sum(frame + off.csum_start, len - off.csum_start, 0), 0xffff);
	}
}

static void test_offload_ok(void **state)
{
	assert_true(frame_offload_ok(&(struct net_offload){ 0 }, 14));
	assert_true(frame_offload_ok(&(struct net_offload){ .needs_csum = true, .csum_start = 50, .csum_offset = 8 }, 60));
	assert_false(frame_offload_ok(&(struct net_offload){ .needs_csum = true, .csum_start = 50, .csum_offset = 9 }, 60));
	assert_false(frame_offload_ok(&(struct net_offload){ .needs_csum = true, .csum_start = 65535, .csum_offset = 65535 }, 60));
	assert_false(frame_offload_ok(&(struct net_offload){ .gso_type = NET_GSO_TCPV4 }, 60));
}

/* -- Segments -------------------------------------------------------------------------------------- */

struct segments {
	unsigned n;
	size_t bytes;
	bool v6;
	const uint8_t *payload;
};

static void check_segment(void *opaque, const uint8_t *f, size_t len)
{
	struct segments *s = opaque;
	size_t ip = ETHER, tcp = ip + (s->v6 ? 40 : 20), data = tcp + 32;
	uint8_t pseudo[4] = { 0, 6, (uint8_t)((len - tcp) >> 8), (uint8_t)(len - tcp) };
	uint32_t seq = (uint32_t)f[tcp + 4] << 24 | (uint32_t)f[tcp + 5] << 16 | (uint32_t)f[tcp + 6] << 8 | f[tcp + 7];
	bool last = s->bytes + len - data == PAYLOAD;

	assert_true(len - data == MSS || last);
	assert_int_equal(seq, 0xfffffff0u + (uint32_t)s->bytes);
	assert_memory_equal(f + data, s->payload + s->bytes, len - data);
	assert_int_equal(f[tcp + 13], 0x10 | (last ? 0x09 : 0) | (s->n ? 0 : 0x80)); /* ACK; FIN, PSH; CWR */
	if (s->v6) {
		assert_int_equal(f[ip + 4] << 8 | f[ip + 5], len - tcp);
	} else {
		assert_int_equal(f[ip + 2] << 8 | f[ip + 3], len - ip);
		assert_int_equal(f[ip + 4] << 8 | f[ip + 5], (0xffff + s->n) & 0xffff);
		assert_int_equal(slow_sum(f + ip, 20, 0), 0xffff);
	}
	assert_int_equal(slow_sum(f + tcp, len - tcp,
				  (uint32_t)slow_sum(pseudo, 4, 0) + slow_sum(f + ip + (s->v6 ? 8 : 12), s->v6 ? 32 : 8, 0)),
			 0xffff);
	s->bytes += len - data;
	s->n++;
}

static size_t make_tcp(uint8_t *f, bool v6)
{
	size_t ip = ETHER, tcp = ip + (v6 ? 40 : 20);

	for (size_t i = 0; i < tcp + 32 + PAYLOAD; i++)
		f[i] = (uint8_t)(i * 13 + i / 256);
	f[12] = v6 ? 0x86 : 0x08;
	f[13] = v6 ? 0xdd : 0x00;
	f[ip] = v6 ? 0x60 : 0x45;
	if (v6) {
		f[ip + 6] = 6;
	} else {
		f[ip + 4] = f[ip + 5] = 0xff;
		f[ip + 9] = 6;
	}
	memcpy(f + tcp + 4, "\xff\xff\xff\xf0", 4);
	f[tcp + 12] = 0x80; /* 32 bytes with options */
	f[tcp + 13] = 0x10 | 0x09 | 0x80;
	return tcp + 32 + PAYLOAD;
}

static void test_segments(void **state)
{
	uint8_t f[6000];

	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct net_offload off = { .gso_type = v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4, .gso_size = MSS };
		size_t len = make_tcp(f, v6);
		struct segments s = { .v6 = v6, .payload = f + len - PAYLOAD };

		assert_int_equal(frame_segment(f, len, &off, check_segment, &s), 0);
		assert_int_equal(s.n, 4);
		assert_int_equal(s.bytes, PAYLOAD);
	}
}

static void count_segment(void *opaque, const uint8_t *f, size_t len)
{
	++*(unsigned *)opaque;
}

static void test_hostile(void **state)
{
	struct net_offload off = { .gso_type = NET_GSO_TCPV4, .gso_size = MSS };
	uint8_t f[6000], *copy;
	unsigned n = 0;
	size_t len = make_tcp(f, false);

	f[ETHER + 9] = 17; /* UDP */
	assert_int_equal(frame_segment(f, len, &off, count_segment, &n), -EINVAL);
	make_tcp(f, false);
	f[ETHER] = 0x41;
	assert_int_equal(frame_segment(f, len, &off, count_segment, &n), -EINVAL);
	make_tcp(f, false);
	f[ETHER + 20 + 12] = 0x40;
	assert_int_equal(frame_segment(f, len, &off, count_segment, &n), -EINVAL);
	make_tcp(f, false);
	/* Each length, in memory of exactly that length, for the address sanitizer's eyes. */
	for (size_t cut = 14; cut < 90; cut++) {
		copy = malloc(cut);
		memcpy(copy, f, cut);
		frame_segment(copy, cut, &off, count_segment, &n);
		free(copy);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_csum), cmocka_unit_test(test_offload_ok), cmocka_unit_test(test_segments),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
