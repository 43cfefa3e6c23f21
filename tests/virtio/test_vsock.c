/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vsock's packets through its rings, against real unix sockets: life of a connection, credit, and what a hostile driver sends. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vtest.h"

#include "backend/vsock/vsock.h"
#include "virtio/vsock.h"

#define CID     7u
#define RX_BUF  (V_BUFFERS + 0x10000)
#define RX_STEP 0x2000u
#define TX_BUF  (V_BUFFERS + 0x100000)
#define HDR     44u
#define ALLOC   0x40000u
#define BIG     0x10000u

static struct vtest t;
static char dir[] = "/tmp/test_vsock.XXXXXX", path[64];
static unsigned rx_next; /* buffer that the next packet comes in */

static int listen_at(uint32_t port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", path, port);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void offer_rx(void)
{
	for (unsigned i = 0; i < V_QSIZE; i++) {
		const struct v_buf b = { RX_BUF + i * RX_STEP, RX_STEP, true };

		v_add(&t, 0, &b, 1);
	}
	v_kick(&t, 0);
}

static void start(void)
{
	v_setup(&t, 0, 3);
	rx_next = 0;
	offer_rx();
}

static int setup(void **state)
{
	struct virtio_vsock_config c = { .cid = CID };
	struct err e = { "" };

	snprintf(path, sizeof(path), "%s/v", mkdtemp(dir));
	v_init(&t);
	assert_int_equal(vsock_open(&c.vsock, path, &e), 0);
	c.mem = t.mem;
	v_plug(&t, virtio_vsock_new(&c));
	start();
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	v_release(&t);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* A packet of the guest's; the data, len bytes of it, is what stands in the buffer. */
static void put(uint32_t port, uint32_t host_port, uint16_t op, uint32_t flags, uint32_t len, uint32_t fwd)
{
	uint8_t *h = v_ptr(&t, TX_BUF);
	const struct v_buf b[2] = { { TX_BUF, HDR, false }, { TX_BUF + HDR, len, false } };

	put_le64(h, CID);
	put_le64(h + 8, 2);
	put_le32(h + 16, port);
	put_le32(h + 20, host_port);
	put_le32(h + 24, len);
	put_le16(h + 28, 1);
	put_le16(h + 30, op);
	put_le32(h + 32, flags);
	put_le32(h + 36, ALLOC);
	put_le32(h + 40, fwd);
	assert_int_equal(v_do(&t, 1, b, len ? 2 : 1), 0);
}

/* The next packet for the guest must be this one; returns its data. Its buffer is offered again. */
static const uint8_t *get(uint16_t op, uint32_t *host_port, uint32_t *len)
{
	uint64_t at = RX_BUF + rx_next++ % V_QSIZE * RX_STEP;
	int64_t used = v_used(&t, 0);
	const uint8_t *h = v_ptr(&t, at);
	const struct v_buf b = { at, RX_STEP, true };
	static uint8_t copy[RX_STEP];

	assert_in_range(used, HDR, RX_STEP);
	assert_int_equal(get_le64(h), 2);
	assert_int_equal(get_le64(h + 8), CID);
	assert_int_equal(get_le16(h + 30), op);
	assert_int_equal(get_le32(h + 24), used - HDR);
	if (host_port)
		*host_port = get_le32(h + 16);
	if (len)
		*len = (uint32_t)used - HDR;
	memcpy(copy, h, (size_t)used);
	v_add(&t, 0, &b, 1);
	v_kick(&t, 0);
	return copy + HDR;
}

static void expect_end(int fd)
{
	char c;

	assert_true(recv(fd, &c, 1, 0) <= 0);
	close(fd);
}

static void test_guest_connects(void **state)
{
	int listener = listen_at(80), fd;
	char buf[16];
	uint32_t len;

	put(1000, 80, VSOCK_REQUEST, 0, 0, 0);
	get(VSOCK_RESPONSE, NULL, NULL);
	fd = accept(listener, NULL, NULL);
	memcpy(v_ptr(&t, TX_BUF + HDR), "hello", 5);
	put(1000, 80, VSOCK_RW, 0, 5, 0);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(send(fd, "answer", 6, 0), 6);
	assert_memory_equal(get(VSOCK_RW, NULL, &len), "answer", 6);
	assert_int_equal(len, 6);
	/* One direction ends, then the other. */
	put(1000, 80, VSOCK_SHUTDOWN, VSOCK_NO_MORE_SENT, 0, 6);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), 0);
	assert_int_equal(send(fd, "more", 4, 0), 4);
	assert_memory_equal(get(VSOCK_RW, NULL, NULL), "more", 4);
	shutdown(fd, SHUT_WR);
	get(VSOCK_SHUTDOWN, NULL, NULL);
	put(1000, 80, VSOCK_SHUTDOWN, 3, 0, 10);
	get(VSOCK_RST, NULL, NULL);
	expect_end(fd);
	close(listener);
	/* Nobody there; and what belongs to no connection. */
	put(1001, 81, VSOCK_REQUEST, 0, 0, 0);
	get(VSOCK_RST, NULL, NULL);
	put(1001, 81, VSOCK_RW, 0, 5, 0);
	get(VSOCK_RST, NULL, NULL);
	put(1001, 81, VSOCK_RST, 0, 0, 0); /* no answer to that */
}

static void test_host_connects(void **state)
{
	char buf[64];
	uint32_t port, len;
	int fd = dial();

	assert_int_equal(send(fd, "CONNECT 52\nearly", 16, 0), 16);
	get(VSOCK_REQUEST, &port, NULL);
	put(52, port, VSOCK_RESPONSE, 0, 0, 0);
	assert_memory_equal(get(VSOCK_RW, NULL, &len), "early", 5);
	len = (uint32_t)recv(fd, buf, sizeof(buf) - 1, 0);
	buf[len] = 0;
	assert_int_equal(strtoul(buf + 3, NULL, 10), port);
	assert_memory_equal(buf, "OK ", 3);
	close(fd);
	get(VSOCK_SHUTDOWN, NULL, NULL);
	put(52, port, VSOCK_RST, 0, 0, 0);
	/* The guest refuses. */
	fd = dial();
	assert_int_equal(send(fd, "CONNECT 53\r\n", 12, 0), 12);
	get(VSOCK_REQUEST, &port, NULL);
	put(53, port, VSOCK_RST, 0, 0, 0);
	expect_end(fd);
	/* Lines that are none. */
	static const char *const bad[] = { "GET / HTTP/1.0\n", "CONNECT x\n", "CONNECT 4294967295\n", "CONNECT 1 2\n",
					   "CONNECT 00000000000000000000000000000000000000001\n" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = dial();
		send(fd, bad[i], strlen(bad[i]), MSG_NOSIGNAL);
		expect_end(fd);
	}
}

/* Neither side can be made to keep more than was agreed. */
static void test_credit(void **state)
{
	int listener = listen_at(90), fd;
	uint32_t len, sum = 0, sent = 0;
	static char block[4096];

	put(2000, 90, VSOCK_REQUEST, 0, 0, 0);
	get(VSOCK_RESPONSE, NULL, NULL);
	fd = accept(listener, NULL, NULL);
	/* To the guest: ALLOC bytes, then a question, then no more until it has taken some. */
	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0 || sum < ALLOC) {
		get(VSOCK_RW, NULL, &len);
		sum += len;
		if (sum == ALLOC)
			break;
	}
	assert_int_equal(sum, ALLOC);
	get(VSOCK_CREDIT_REQUEST, NULL, NULL);
	put(2000, 90, VSOCK_CREDIT_UPDATE, 0, 0, 4096);
	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	for (sum = 0; sum < 4096; sum += len)
		get(VSOCK_RW, NULL, &len);
	assert_int_equal(sum, 4096);
	get(VSOCK_CREDIT_REQUEST, NULL, NULL);
	put(2000, 90, VSOCK_RST, 0, 0, 0);
	expect_end(fd);
	/* From the guest, to a reader who does not read: more than its credit ends the connection. */
	put(2001, 90, VSOCK_REQUEST, 0, 0, 0);
	get(VSOCK_RESPONSE, NULL, NULL);
	fd = accept(listener, NULL, NULL);
	for (uint16_t op = 0; op != VSOCK_RST;) {
		put(2001, 90, VSOCK_RW, 0, BIG, 0);
		sent += BIG;
		assert_true(sent < 64 * BIG);
		while (vq_load(v_ptr(&t, v_device(0)) + 2) != t.q[0].used) {
			op = get_le16(v_ptr(&t, RX_BUF + rx_next % V_QSIZE * RX_STEP) + 30);
			assert_true(op == VSOCK_RST || op == VSOCK_CREDIT_UPDATE);
			get(op, NULL, NULL);
		}
	}
	assert_true(sent > 2 * BIG);
	close(fd);
	close(listener);
}

/* More connections than there is room for, and none of them ever read; then all is as before. */
static void test_flood(void **state)
{
	int listener = listen_at(100), fd;
	struct strbuf sb = STRBUF_INIT;

	fcntl(listener, F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < 600; i++) {
		put(3000 + i, 100, VSOCK_REQUEST, 0, 0, 0);
		while ((fd = accept(listener, NULL, NULL)) >= 0)
			close(fd);
		put(3000 + i, 100, (uint16_t)(i % 11), i, i % 40, i);
	}
	t.vd->dev.ops->print_stats(&t.vd->dev, &sb);
	assert_non_null(strstr(sb.buf, "connections"));
	strbuf_release(&sb);
	close(listener);
	start();
	listener = listen_at(101);
	put(1, 101, VSOCK_REQUEST, 0, 0, 0);
	get(VSOCK_RESPONSE, NULL, NULL);
	close(listener);
}

static void test_bad_packets(void **state)
{
	const struct v_buf shorter = { TX_BUF, HDR - 1, false }, none = { TX_BUF, HDR, false }, tiny = { RX_BUF, HDR, true };

	v_add(&t, 1, &shorter, 1);
	v_kick(&t, 1);
	assert_true(v_broken(&t));
	start();
	memset(v_ptr(&t, TX_BUF), 0xff, HDR); /* a length without data */
	v_add(&t, 1, &none, 1);
	v_kick(&t, 1);
	assert_true(v_broken(&t));
	v_setup(&t, 0, 3);
	v_add(&t, 0, &tiny, 1);
	put(1, 2, VSOCK_RW, 0, 0, 0);
	assert_true(v_broken(&t));
}

/* After a restored state the guest hears that its connections have gone. */
static void test_restored(void **state)
{
	const struct v_buf b = { V_BUFFERS, 8, true };
	struct strbuf image = STRBUF_INIT;
	struct device *d = &t.vd->dev;
	struct err e = { "" };

	start();
	v_add(&t, 2, &b, 1);
	d->ops->quiesce(d, true);
	device_save(d, &image);
	assert_int_equal(device_load(d, 1, image.buf, image.len, &e), 0);
	put_le32(v_ptr(&t, V_BUFFERS), 77);
	d->ops->quiesce(d, false);
	assert_int_equal(v_used(&t, 2), 4);
	assert_int_equal(get_le32(v_ptr(&t, V_BUFFERS)), 0);
	strbuf_release(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_connects), cmocka_unit_test(test_host_connects), cmocka_unit_test(test_credit),
		cmocka_unit_test(test_flood),          cmocka_unit_test(test_bad_packets),   cmocka_unit_test(test_restored),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
