/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks by name: links between two of them, the switch's sockets, libslirp's answers, and what is refused. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/net/net.h"
#include "backend/net/switch_server.h"
#include "base/lock.h"

#define PATIENCE_MS 60000
#define KEPT        64

/* A NIC: keeps what it gets. */
struct nic {
	struct net *net;
	struct lock lock;
	unsigned frames, arp_replies, refuse, writable;
	bool up;
	size_t len[KEPT];
	uint8_t data[KEPT][2048];
};

static bool nic_receive(void *opaque, const struct iovec *iov, unsigned n, const struct net_offload *off)
{
	struct nic *c = opaque;
	bool taken = true;

	lock_take(&c->lock);
	if (c->refuse) {
		c->refuse--;
		taken = false;
	} else {
		size_t len = 0;

		for (unsigned i = 0; i < n; i++)
			len += iov[i].iov_len;
		c->len[c->frames % KEPT] = len;
		memcpy(c->data[c->frames % KEPT], iov[0].iov_base, iov[0].iov_len < 2048 ? iov[0].iov_len : 2048);
		if (!memcmp(c->data[c->frames % KEPT] + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02", 10))
			c->arp_replies++;
		c->frames++;
	}
	lock_drop(&c->lock);
	return taken;
}

static void nic_writable(void *opaque)
{
	struct nic *c = opaque;

	lock_take(&c->lock);
	c->writable++;
	lock_drop(&c->lock);
}

static void nic_link(void *opaque, bool up)
{
	struct nic *c = opaque;

	lock_take(&c->lock);
	c->up = up;
	lock_drop(&c->lock);
}

static const struct net_handlers nic_handlers = { nic_receive, nic_writable, nic_link };

static void nic_open(struct nic *c, const char *spec)
{
	struct err e = { "" };

	memset(c, 0, sizeof(*c));
	lock_init(&c->lock, RANK_DEVICE);
	c->up = true;
	if (net_open(&c->net, spec, &e))
		fail_msg("%s", e.msg);
	net_set_handlers(c->net, &nic_handlers, c);
}

static void nic_close(struct nic *c)
{
	net_close(c->net);
	lock_release(&c->lock);
}

static void sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	nanosleep(&ts, NULL);
}

static unsigned frames_of(struct nic *c)
{
	unsigned n;

	lock_take(&c->lock);
	n = c->frames;
	lock_drop(&c->lock);
	return n;
}

static unsigned writable_of(struct nic *c)
{
	unsigned n;

	lock_take(&c->lock);
	n = c->writable;
	lock_drop(&c->lock);
	return n;
}

static void wait_frames(struct nic *c, unsigned n)
{
	for (unsigned ms = 0; ms < PATIENCE_MS; ms += 5) {
		if (frames_of(c) >= n)
			return;
		sleep_ms(5);
	}
	fail_msg("%u frames have come, not %u", frames_of(c), n);
}

static void wait_up(struct nic *c, bool up)
{
	for (unsigned ms = 0; ms < PATIENCE_MS; ms += 5) {
		if (net_link_up(c->net) == up)
			return;
		sleep_ms(5);
	}
	fail_msg("the link is not %s", up ? "up" : "down");
}

/* A frame from 02:..:N to everybody, filled with N. */
static bool nic_send(struct nic *c, uint8_t n, size_t len)
{
	uint8_t frame[2048];
	struct iovec iov[2] = { { frame, 20 }, { frame + 20, len - 20 } };

	memset(frame, n, sizeof(frame));
	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x02\0\0\0\0", 5);
	return net_send(c->net, iov, 2, NULL);
}

static struct nic a, b, c3;

/* -- Links --------------------------------------------------------------------------------------------------- */

static void exchange(void)
{
	for (unsigned i = 1; i <= 10; i++) {
		assert_true(nic_send(&a, (uint8_t)i, 60 + i * 100));
		assert_true(nic_send(&b, (uint8_t)(100 + i), 61));
	}
	wait_frames(&b, 10);
	wait_frames(&a, 10);
	for (unsigned i = 1; i <= 10; i++) {
		assert_int_equal(b.len[i - 1], 60 + i * 100);
		assert_int_equal(b.data[i - 1][30], i);
		assert_int_equal(a.data[i - 1][30], 100 + i);
	}
}

static void test_unix_link(void **state)
{
	char path[64], spec[96];

	snprintf(path, sizeof(path), "/tmp/doppel-link-%d", getpid());
	snprintf(spec, sizeof(spec), "link=unix:%s,listen", path);
	nic_open(&a, spec);
	snprintf(spec, sizeof(spec), "link=unix:%s", path);
	nic_open(&b, spec);
	wait_up(&a, true);
	wait_up(&b, true);
	exchange();
	/* The NIC refuses for a while: nothing is lost, nothing comes out of order. */
	lock_take(&b.lock);
	b.refuse = 3;
	b.frames = 0;
	lock_drop(&b.lock);
	for (unsigned i = 1; i <= 20; i++)
		nic_send(&a, (uint8_t)i, 1000);
	for (unsigned i = 0; i < 5; i++) {
		sleep_ms(10);
		net_resume(b.net);
	}
	wait_frames(&b, 20);
	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(b.data[i - 1][30], i);
	/* Who leaves takes the link down, who comes back takes it up. */
	nic_close(&b);
	wait_up(&a, false);
	nic_open(&b, spec);
	wait_up(&a, true);
	nic_close(&b);
	nic_close(&a);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_udp_link(void **state)
{
	unsigned port = 20000 + (unsigned)getpid() % 20000;
	char spec[96];

	snprintf(spec, sizeof(spec), "link=udp:%u:127.0.0.1:%u", port, port + 1);
	nic_open(&a, spec);
	snprintf(spec, sizeof(spec), "link=udp:%u:127.0.0.1:%u", port + 1, port);
	nic_open(&b, spec);
	exchange();
	nic_close(&a);
	nic_close(&b);
}

/* More than the queue holds, at a link that nobody reads. */
static void test_backpressure(void **state)
{
	char path[64], spec[96];
	unsigned refused = 0;

	snprintf(path, sizeof(path), "/tmp/doppel-link-%d", getpid());
	snprintf(spec, sizeof(spec), "link=unix:%s,listen", path);
	nic_open(&a, spec);
	snprintf(spec, sizeof(spec), "link=unix:%s", path);
	nic_open(&b, spec);
	wait_up(&a, true);
	wait_up(&b, true);
	lock_take(&b.lock);
	b.refuse = UINT32_MAX;
	lock_drop(&b.lock);
	for (unsigned i = 0; i < 10000 && !refused; i++)
		refused += !nic_send(&a, 1, 1500);
	assert_int_equal(refused, 1);
	assert_int_equal(writable_of(&a), 0);
	lock_take(&b.lock);
	b.refuse = 0;
	lock_drop(&b.lock);
	net_resume(b.net);
	for (unsigned ms = 0; ms < PATIENCE_MS && !writable_of(&a); ms += 5)
		sleep_ms(5);
	assert_int_equal(writable_of(&a), 1);
	nic_close(&a);
	nic_close(&b);
}

/* -- The switch ------------------------------------------------------------------------------------------------ */

static int stop_fd;

static void *serve(void *arg)
{
	struct err e = { "" };

	return (void *)(intptr_t)switch_server_run(arg, stop_fd, &e);
}

static void test_switch(void **state)
{
	static const char *const ports[] = { ",tenant=red", ",tenant=red", ",tenant=blue" };
	struct nic *nic[] = { &a, &b, &c3 };
	struct switch_server *s;
	struct err e = { "" };
	char spec[128];
	uint64_t one = 1;
	pthread_t thread;

	stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(switch_server_new(&s, &e), 0);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(spec, sizeof(spec), "/tmp/doppel-sw-%d-%u%s", getpid(), i, ports[i]);
		if (switch_server_add(s, spec, &e))
			fail_msg("%s", e.msg);
	}
	assert_int_equal(switch_server_add(s, "/tmp/x,colour=red", &e), -EINVAL);
	assert_int_equal(switch_server_add(s, "/tmp/x,vlan=4095", &e), -EINVAL);
	assert_int_equal(pthread_create(&thread, NULL, serve, s), 0);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(spec, sizeof(spec), "switch=/tmp/doppel-sw-%d-%u", getpid(), i);
		nic_open(nic[i], spec);
		wait_up(nic[i], true);
	}
	exchange();
	assert_int_equal(frames_of(&c3), 0); /* another tenant hears nothing */
	for (unsigned i = 0; i < 3; i++)
		nic_close(nic[i]);
	assert_int_equal(write(stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(thread, NULL);
	switch_server_free(s);
	close(stop_fd);
}

/* -- User mode --------------------------------------------------------------------------------------------------- */

#define GUEST_MAC "\x52\x54\x00\x12\x34\x56"

static void send_bytes(struct nic *c, const void *frame, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)frame, .iov_len = len };

	while (!net_send(c->net, &iov, 1, NULL)) /* its queue is full */
		sleep_ms(1);
}

/* ARP: who has 10.0.2.2? tell 10.0.2.15 */
static void say_who_we_are(struct nic *c)
{
	uint8_t arp[60] = "\xff\xff\xff\xff\xff\xff" GUEST_MAC "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" GUEST_MAC
			  "\x0a\x00\x02\x0f\x00\x00\x00\x00\x00\x00\x0a\x00\x02\x02";

	send_bytes(c, arp, sizeof(arp));
}

static void test_user(void **state)
{
	const uint8_t *reply = a.data[0];

	nic_open(&a, "user");
	say_who_we_are(&a);
	wait_frames(&a, 1);
	assert_memory_equal(reply, GUEST_MAC, 6);
	assert_memory_equal(reply + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02", 10); /* a reply */
	assert_memory_equal(reply + 28, "\x0a\x00\x02\x02", 4);
	nic_close(&a);
}

/* A connection to a published port becomes a SYN for the guest. */
static void test_publish(void **state)
{
	unsigned port = 20000 + (unsigned)getpid() % 20000;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port) };
	char spec[64];
	struct err e = { "" };
	struct net *second;
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	bool seen = false;

	snprintf(spec, sizeof(spec), "user,publish=%u:80", port);
	nic_open(&a, spec);
	assert_int_not_equal(net_open(&second, spec, &e), 0);
	assert_non_null(strstr(e.msg, "is it taken"));
	say_who_we_are(&a);
	wait_frames(&a, 1);
	connect(s, (struct sockaddr *)&to, sizeof(to));
	for (unsigned ms = 0; ms < PATIENCE_MS && !seen; ms += 5) {
		unsigned n = frames_of(&a);

		for (unsigned i = 0; i < n && i < KEPT; i++) /* IPv4, TCP, to 10.0.2.15 port 80, SYN */
			seen |= a.data[i][12] == 8 && a.data[i][13] == 0 && a.data[i][23] == 6 && a.data[i][33] == 15 &&
				a.data[i][37] == 80 && a.data[i][47] == 2;
		sleep_ms(5);
	}
	assert_true(seen);
	close(s);
	nic_close(&a);
}

/* An IPv4 packet of the guest's from a port of its own to port `to` of the host: a datagram, or the first packet of a connection. */
static void send_from_port(struct nic *c, bool udp, uint16_t from, uint16_t to)
{
	uint8_t f[60] = "\x52\x55\x0a\x00\x02\x02" GUEST_MAC "\x08\x00\x45\x00\x00\x00\x00\x01\x40\x00\x40\x00\x00\x00"
			"\x0a\x00\x02\x0f\x0a\x00\x02\x02";
	struct net_offload off = { .needs_csum = true, .csum_start = 34, .csum_offset = udp ? 6 : 16 };
	uint32_t sum = 0x0a00 + 0x020f + 0x0a00 + 0x0202 + (udp ? 17 + 9 : 6 + 20), head = 0;
	struct iovec iov = { f, sizeof(f) };

	f[17] = (uint8_t)(20 + (udp ? 9 : 20));
	f[23] = udp ? 17 : 6;
	for (unsigned i = 14; i < 34; i += 2)
		head += (uint32_t)(f[i] << 8 | f[i + 1]);
	head = ~((head & 0xffff) + (head >> 16));
	f[24] = (uint8_t)(head >> 8);
	f[25] = (uint8_t)head;
	f[34] = (uint8_t)(from >> 8);
	f[35] = (uint8_t)from;
	f[36] = (uint8_t)(to >> 8);
	f[37] = (uint8_t)to;
	sum = (sum & 0xffff) + (sum >> 16);
	f[34 + off.csum_offset] = (uint8_t)(sum >> 8);
	f[35 + off.csum_offset] = (uint8_t)sum;
	f[udp ? 39 : 46] = udp ? 9 : 0x50;
	f[47] = udp ? 0 : 2;
	iov.iov_len = 34 + (udp ? 9u : 20u);
	while (!net_send(c->net, &iov, 1, &off))
		sleep_ms(1);
}

static unsigned open_files(DIR *d)
{
	unsigned n = 0;

	rewinddir(d);
	while (readdir(d))
		n++;
	return n;
}

/* The answer to say_who_we_are() has come: so has everything that was sent before it been worked through. */
static void wait_arp_reply(struct nic *c)
{
	for (unsigned ms = 0; ms < PATIENCE_MS; ms += 5) {
		unsigned n;

		lock_take(&c->lock);
		n = c->arp_replies;
		lock_drop(&c->lock);
		if (n)
			return;
		sleep_ms(5);
	}
	fail_msg("no reply to ARP among %u frames", frames_of(c));
}

/* A guest that opens connections without end leaves the process descriptors for everything else, and still has a network. */
static void test_many_connections(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	DIR *d = opendir("/proc/self/fd");
	struct rlimit lim, old;
	unsigned n;

	assert_int_equal(bind(s, (struct sockaddr *)&at, len) || listen(s, 4096) || getsockname(s, (struct sockaddr *)&at, &len), 0);
	getrlimit(RLIMIT_NOFILE, &old);
	lim = (struct rlimit){ 400, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &lim), 0);
	nic_open(&a, "user");
	for (unsigned i = 0; i < 2000; i++)
		send_from_port(&a, i & 1, (uint16_t)(10000 + i), ntohs(at.sin_port));
	say_who_we_are(&a);
	wait_arp_reply(&a);
	n = open_files(d);
	closedir(d);
	print_message("%u open files\n", n);
	assert_in_range(n, 100, 220);
	nic_close(&a);
	setrlimit(RLIMIT_NOFILE, &old);
	close(s);
}

/* -- Refused --------------------------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	static const char *const specs[] = {
		"", "users", "user,colour=red", "user,publish=80", "user,publish=0:80", "user,publish=70000:80", "user,publish=a:b",
		"user,publish=1:2:3:4:5:6", "user,net=10.0.2.0/40", "user,net=here", "user,dns=x", "user,hostname=", "user,restrict=maybe",
		"tap", "tap=", "tap=0123456789abcdef", "tap=a/b", "switch", "switch=/a,b", "link", "link=tcp:1", "link=unix:",
		"link=unix:/x,mad", "link=udp:1:2", "link=udp:1:1.2.3.4:0", "none=1",
	};
	static const char *const good[] = {
		"user", "user,publish=8080:80,publish=udp:5353:53,publish=tcp:127.0.0.1:1:10.0.2.16:2", "user,net=192.168.7.0/24,ipv6=off",
		"tap=tap0", "switch=/run/x", "link=unix:/x,listen", "link=udp:5000:192.0.2.1:5001", "none",
	};

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		struct err e = { "" };

		if (net_check(specs[i], &e) >= 0 || !*e.msg)
			fail_msg("'%s' was taken", specs[i]);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct err e = { "" };

		if (net_check(good[i], &e))
			fail_msg("'%s': %s", good[i], e.msg);
	}
}

static void test_odd_frames(void **state)
{
	static uint8_t big[NET_MAX_FRAME + 1];
	struct net_offload off = { .needs_csum = true, .csum_start = 60000, .csum_offset = 2 };
	struct iovec iov = { big, 13 };
	struct strbuf sb = STRBUF_INIT;

	nic_open(&a, "user");
	assert_true(net_send(a.net, &iov, 1, NULL)); /* dropped, not refused */
	iov.iov_len = sizeof(big);
	assert_true(net_send(a.net, &iov, 1, NULL));
	iov.iov_len = 100;
	assert_true(net_send(a.net, &iov, 1, &off));
	net_print_stats(a.net, &sb);
	assert_non_null(strstr(sb.buf, "3 dropped"));
	strbuf_release(&sb);
	nic_close(&a);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unix_link), cmocka_unit_test(test_udp_link), cmocka_unit_test(test_backpressure),
		cmocka_unit_test(test_switch),    cmocka_unit_test(test_user),     cmocka_unit_test(test_publish),
		cmocka_unit_test(test_many_connections),
		cmocka_unit_test(test_refused),   cmocka_unit_test(test_odd_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
