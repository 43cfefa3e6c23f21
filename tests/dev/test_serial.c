/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16550A through its ports, with a real socket at the other end of the line. */
#include "dev_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/chr/chr.h"
#include "dev/char/serial.h"

#define PORT 0x3f8
enum { DATA = PORT, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct fixture {
	struct bench b;
	struct probe irq;
	struct chr *chr;
	struct serial *s;
	char dir[32], path[64];
	int fd; /* the client's end */
};

static struct fixture f;

static int connect_client(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static bool data_ready(void *opaque)
{
	return in8(&f.b, LSR) & 1;
}

static bool irq_high(void *opaque)
{
	return f.irq.level;
}

static bool thr_empty(void *opaque)
{
	return in8(&f.b, LSR) & 0x20;
}

static void send_text(const char *s)
{
	assert_int_equal(write(f.fd, s, strlen(s)), (ssize_t)strlen(s));
}

static int setup(void **state)
{
	char spec[80];
	struct err e = { "" };

	f = (struct fixture){ .dir = "/tmp/doppel-serial-XXXXXX" };
	bench_init(&f.b);
	assert_non_null(mkdtemp(f.dir));
	snprintf(f.path, sizeof(f.path), "%s/s", f.dir);
	snprintf(spec, sizeof(spec), "unix:%s", f.path);
	assert_int_equal(chr_open(&f.chr, spec, &e), 0);
	assert_int_equal(chr_begin(f.chr, &e), 0);
	f.s = serial_new(probe_line(&f.irq), f.chr, f.b.clock);
	assert_int_equal(serial_attach(f.s, f.b.pio, PORT), 0);
	f.fd = connect_client(f.path);
	send_text("!"); /* what arrives shows that the client has been let in */
	assert_true(wait_for(data_ready, NULL, 1000));
	assert_int_equal(in8(&f.b, DATA), '!');
	out8(&f.b, MCR, 0x08); /* OUT2: interrupts through */
	return 0;
}

static int teardown(void **state)
{
	close(f.fd);
	free_device(f.s);
	chr_free(f.chr);
	unlink(f.path);
	rmdir(f.dir);
	bench_release(&f.b);
	return 0;
}

static void read_all(char *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(f.fd, buf + got, len - got);

		assert_true(n > 0);
		got += n;
	}
}

static void test_reset_values(void **state)
{
	reset_device(f.s);
	assert_int_equal(in8(&f.b, IER), 0);
	assert_int_equal(in8(&f.b, IIR), 0x01);
	assert_int_equal(in8(&f.b, LCR), 0);
	assert_int_equal(in8(&f.b, MCR), 0);
	assert_int_equal(in8(&f.b, LSR), 0x60);
	assert_int_equal(in8(&f.b, MSR), 0xb0);
	out8(&f.b, SCR, 0x5a);
	assert_int_equal(in8(&f.b, SCR), 0x5a);
	out8(&f.b, LCR, 0x83);
	out8(&f.b, DATA, 0x34);
	out8(&f.b, IER, 0x12);
	assert_int_equal(in8(&f.b, DATA), 0x34);
	assert_int_equal(in8(&f.b, IER), 0x12);
	out8(&f.b, LCR, 0x03);
	assert_int_equal(in8(&f.b, IER), 0);
	out8(&f.b, IER, 0xff);
	assert_int_equal(in8(&f.b, IER), 0x0f);
}

static void test_transmit(void **state)
{
	char buf[6] = "";

	for (const char *p = "hello"; *p; p++) {
		assert_true(in8(&f.b, LSR) & 0x20);
		out8(&f.b, DATA, *p);
	}
	read_all(buf, 5);
	assert_string_equal(buf, "hello");
}

/* Data sheet 8.6: when THRE interrupts come and go. */
static void test_thre_interrupt(void **state)
{
	out8(&f.b, IER, 0x02); /* enabled while empty: at once */
	assert_true(f.irq.level);
	assert_int_equal(in8(&f.b, IIR), 0x02); /* reading IIR clears it */
	assert_false(f.irq.level);
	assert_int_equal(in8(&f.b, IIR), 0x01);
	out8(&f.b, DATA, 'x'); /* written and gone: empty again, a new edge */
	assert_int_equal(f.irq.rises, 2);
	out8(&f.b, DATA, 'y');
	assert_int_equal(f.irq.rises, 3);
	out8(&f.b, IER, 0);
	assert_false(f.irq.level);
	out8(&f.b, IER, 0x02);
	assert_true(f.irq.level);
	out8(&f.b, MCR, 0); /* OUT2 gates it */
	assert_false(f.irq.level);
	assert_int_equal(in8(&f.b, IIR), 0x02);
}

static void test_receive_16450(void **state)
{
	out8(&f.b, IER, 0x01);
	send_text("ab");
	assert_true(wait_for(irq_high, NULL, 1000));
	assert_int_equal(in8(&f.b, IIR), 0x04);
	assert_int_equal(in8(&f.b, LSR), 0x61);
	assert_int_equal(in8(&f.b, DATA), 'a');
	assert_true(wait_for(irq_high, NULL, 1000)); /* the second waited in the backend */
	assert_int_equal(in8(&f.b, DATA), 'b');
	assert_false(f.irq.level);
	assert_int_equal(in8(&f.b, LSR), 0x60);
}

static void test_fifo_trigger_and_timeout(void **state)
{
	out8(&f.b, IIR, 0x81); /* FIFO, trigger at 8 */
	out8(&f.b, IER, 0x01);
	send_text("1234567");
	assert_true(wait_for(irq_high, NULL, 1000));
	assert_int_equal(in8(&f.b, IIR), 0xcc); /* not 8: the time-out */
	assert_int_equal(in8(&f.b, DATA), '1'); /* clears it */
	assert_false(f.irq.level);
	assert_true(wait_for(irq_high, NULL, 1000)); /* still some left: again */
	for (unsigned i = 2; i <= 7; i++)
		assert_int_equal(in8(&f.b, DATA), '0' + i);
	assert_false(f.irq.level);
	sleep_ns(5 * MS);
	assert_false(f.irq.level);
	send_text("abcdefgh");
	assert_true(wait_for(irq_high, NULL, 1000));
	assert_int_equal(in8(&f.b, IIR) & 0xfb, 0xc0); /* data available, or first the time-out of a part */
	for (unsigned i = 0; i < 8; i++) {
		assert_true(wait_for(data_ready, NULL, 1000));
		assert_int_equal(in8(&f.b, DATA), 'a' + i);
	}
}

/* More input than the FIFO holds waits; none is lost. */
static void test_receive_flow(void **state)
{
	char text[200];

	for (unsigned i = 0; i < sizeof(text) - 1; i++)
		text[i] = 'A' + i % 50;
	text[sizeof(text) - 1] = 0;
	out8(&f.b, IIR, 0xc7);
	send_text(text);
	for (unsigned i = 0; i < sizeof(text) - 1; i++) {
		assert_true(wait_for(data_ready, NULL, 1000));
		assert_int_equal(in8(&f.b, LSR) & 0x9e, 0); /* no overrun, no error */
		assert_int_equal(in8(&f.b, DATA), text[i]);
	}
}

/* The reader is slow: THRE stays low until there is room, and every byte arrives in order. */
static void test_transmit_never_loses(void **state)
{
	unsigned sent = 0, stalls = 0, got = 0;
	char buf[4096];

	out8(&f.b, IIR, 0x01);
	while (stalls < 3 && sent < 64u << 20) {
		if (in8(&f.b, LSR) & 0x20) {
			for (unsigned i = 0; i < 16; i++, sent++)
				out8(&f.b, DATA, sent % 251);
			continue;
		}
		if (wait_for(thr_empty, NULL, 20))
			continue; /* the socket's buffer is filling up */
		stalls++; /* nobody reads */
		out8(&f.b, IIR, 0x07);                       /* clearing the FIFO lets what is in it go out */
		assert_int_equal(in8(&f.b, LSR) & 0x60, 0);
		if (stalls == 1) {
			check_round_trip(f.b.clock, f.s); /* a reset does not lose it either, nor saving */
			assert_int_equal(in8(&f.b, LSR) & 0x60, 0);
		}
	}
	assert_int_equal(stalls, 3);
	while (got < sent) {
		ssize_t n = read(f.fd, buf, sizeof(buf));

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal((uint8_t)buf[i], got % 251);
	}
	assert_true(wait_for(thr_empty, NULL, 1000));
	assert_int_equal(fcntl(f.fd, F_SETFL, O_NONBLOCK), 0);
	assert_true(read(f.fd, buf, 1) < 0); /* and not one byte more */
}

static void test_loopback(void **state)
{
	in8(&f.b, MSR);
	out8(&f.b, MCR, 0x10);
	assert_int_equal(in8(&f.b, MSR), 0x0b); /* CTS, DSR, DCD fell */
	out8(&f.b, MCR, 0x1f);
	assert_int_equal(in8(&f.b, MSR), 0xfb);
	out8(&f.b, MCR, 0x13);
	assert_int_equal(in8(&f.b, MSR), 0x3c); /* RI's trailing edge, DCD */
	out8(&f.b, IIR, 0xc7);
	out8(&f.b, IER, 0x05);
	for (unsigned i = 0; i < 16; i++)
		out8(&f.b, DATA, 0x80 + i);
	assert_int_equal(in8(&f.b, IIR), 0xc4);
	out8(&f.b, DATA, 0xff); /* no room */
	assert_int_equal(in8(&f.b, IIR), 0xc6);
	assert_int_equal(in8(&f.b, LSR), 0x63); /* overrun, cleared by the read */
	assert_int_equal(in8(&f.b, LSR), 0x61);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in8(&f.b, DATA), 0x80 + i);
	assert_int_equal(in8(&f.b, LSR), 0x60);
	assert_false(f.irq.level); /* OUT2 is inactive in loopback */
	out8(&f.b, LCR, 0x43); /* break: a null with framing error and break */
	assert_int_equal(in8(&f.b, LSR), 0xf9);
	assert_int_equal(in8(&f.b, DATA), 0);
	out8(&f.b, LCR, 0x03);
	/* Input from outside waits until loopback ends. */
	send_text("z");
	sleep_ns(20 * MS);
	assert_int_equal(in8(&f.b, LSR), 0x60);
	out8(&f.b, MCR, 0x08);
	assert_true(wait_for(data_ready, NULL, 1000));
	assert_int_equal(in8(&f.b, DATA), 'z');
}

static void test_modem_interrupt(void **state)
{
	in8(&f.b, MSR);
	out8(&f.b, MCR, 0x18);
	out8(&f.b, IER, 0x08);
	in8(&f.b, MSR);
	out8(&f.b, MCR, 0x08);
	assert_true(f.irq.level);
	assert_int_equal(in8(&f.b, IIR), 0x00);
	in8(&f.b, MSR);
	assert_false(f.irq.level);
}

static void test_quiesce(void **state)
{
	struct device *d = (struct device *)f.s;

	d->ops->quiesce(d, true);
	send_text("q");
	sleep_ns(20 * MS);
	assert_int_equal(in8(&f.b, LSR), 0x60);
	d->ops->quiesce(d, false);
	assert_true(wait_for(data_ready, NULL, 1000));
	assert_int_equal(in8(&f.b, DATA), 'q');
}

static void test_nothing_plugged_in(void **state)
{
	struct probe p = { 0 };
	struct serial *s = serial_new(probe_line(&p), NULL, f.b.clock);

	assert_int_equal(serial_attach(s, f.b.pio, 0x2f8), 0);
	assert_int_equal(in8(&f.b, 0x2fe), 0);
	out8(&f.b, 0x2f8, 'x');
	assert_int_equal(in8(&f.b, 0x2fd), 0x60);
	free_device(s);
	space_free(f.b.pio);
	f.b.pio = space_new("ports", 16);
}

static void test_state(void **state)
{
	out8(&f.b, IIR, 0x81);
	send_text("abc");
	assert_true(wait_for(data_ready, NULL, 1000));
	sleep_ns(20 * MS);
	out8(&f.b, LCR, 0x83);
	out8(&f.b, DATA, 12);
	out8(&f.b, LCR, 0x03);
	out8(&f.b, SCR, 0x77);
	sleep_ns(20 * MS);
	check_round_trip(f.b.clock, f.s);
	assert_int_equal(in8(&f.b, SCR), 0x77);
	assert_int_equal(in8(&f.b, DATA), 'a');
	assert_int_equal(in8(&f.b, DATA), 'b');
	out8(&f.b, IER, 0x01); /* the time-out of what is left */
	assert_true(wait_for(irq_high, NULL, 1000));
	assert_int_equal(in8(&f.b, DATA), 'c');
}

static void poke(void *opaque)
{
	for (unsigned i = 0; i < 24; i++)
		in8(&f.b, DATA);
	for (unsigned i = 0; i < 8; i++)
		in8(&f.b, PORT + i);
	out8(&f.b, LCR, 3);
	for (unsigned i = 0; i < 20; i++)
		out8(&f.b, DATA, i);
}

static void test_hostile_state(void **state)
{
	out8(&f.b, IIR, 0x81);
	check_hostile_state(f.b.clock, f.s, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_reset_values), T(test_transmit), T(test_thre_interrupt), T(test_receive_16450),
		T(test_fifo_trigger_and_timeout), T(test_receive_flow), T(test_transmit_never_loses),
		T(test_loopback), T(test_modem_interrupt), T(test_quiesce), T(test_nothing_plugged_in),
		T(test_state), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
