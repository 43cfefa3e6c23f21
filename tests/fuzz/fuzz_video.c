/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PC with a VGA card, keyboard and mouse: one thread is the guest that drives their registers and memory with garbage, one looks
 * at the screen and types, one is VNC and HTTP clients that send garbage. Now and then a reset or a round trip through saved state.
 *
 *   fuzz_video [--seconds N] [--iterations N] [--seed S]
 *
 * Ends at whichever comes first. The same seed makes each thread do the same; their interleaving differs.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/display/display.h"
#include "backend/display/input.h"
#include "backend/display/viewer.h"
#include "backend/display/viewer_impl.h"
#include "base/bits.h"
#include "base/log.h"
#include "bus/device.h"
#include "fuzz.h"
#include "machine/devices.h"
#include "machine/pc.h"

#define DEFAULT_SECONDS 2
#define DEFAULT_SEED    0x5c4ee
#define RARE            20000 /* one step in so many is a big one */
#define SLOW_S          20    /* a step that takes longer is a hang */
#define VGA_SLOT        2

struct machine {
	struct pc *pc;
	struct display *display;
	struct input *input;
	struct fuzz_options o;
	_Atomic bool over, failed;
	_Atomic uint64_t accesses, looks, clients;
};

/* Random values are often small, single bits or all ones. */
static uint64_t value(uint64_t *seed)
{
	uint64_t r = fuzz_random(seed);

	switch (r & 7) {
	case 0:
		return r >> 8 & 0xf;
	case 1:
		return 1ull << (r >> 8 & 63);
	case 2:
		return ~0ull;
	default:
		return r >> 8;
	}
}

/* -- The guest --------------------------------------------------------------------------------------- */

static void config_step(struct machine *m, uint64_t *seed)
{
	static const uint8_t reg[] = { 0x04, 0x04, 0x10, 0x18, 0x30 };
	uint64_t r = fuzz_random(seed);
	uint32_t val = r & 1 ? (uint32_t)value(seed) : 0xc0000000u | (uint32_t)(r & 0x3f000000u) | (uint32_t)(r >> 40 & 1);

	space_write(m->pc->pio, 0xcf8, 4, 0x80000000u | VGA_SLOT << 11 | reg[(r >> 8) % sizeof(reg)]);
	if (r & 0x10000)
		space_write(m->pc->pio, 0xcfc, r & 0x20000 ? 4 : 2, r & 0x20000 ? val : 7);
	else
		space_read(m->pc->pio, 0xcfc, 4);
}

static void port_step(struct machine *m, uint64_t *seed)
{
	uint64_t r = fuzz_random(seed);
	uint16_t port = (uint16_t)(0x3b0 + (r >> 8) % 0x30);

	if ((r & 0x3000000) == 0)
		port = (r >> 8) & 1 ? 0x60 : 0x64;
	if ((r & 0x3000000) == 0x1000000) {
		space_write(m->pc->pio, 0x1ce, 2, (r >> 8) % 12);
		space_write(m->pc->pio, 0x1cf, 2, r & 0x10 ? value(seed) : (r >> 40) % 2000);
		return;
	}
	if (r & 2)
		space_write(m->pc->pio, port, 1u << (r >> 3 & 1), value(seed));
	else
		space_read(m->pc->pio, port, 1);
}

static void memory_step(struct machine *m, uint64_t *seed)
{
	uint64_t r = fuzz_random(seed), gpa = 0xa0000 + (r >> 8) % 0x20000;
	unsigned size = 1u << (r >> 4 & 3);

	if (r & 1)
		gpa = 0xc0000000u + (r >> 8) % 0x3e000000u;
	if (r & 2)
		space_write(m->pc->mem, gpa, size, value(seed));
	else
		space_read(m->pc->mem, gpa, size);
}

static int save_and_load(struct pc *pc)
{
	struct device *d;
	struct err e;
	int rc = 0;

	list_for_each(d, &pc->devices, node) {
		struct strbuf image = STRBUF_INIT;

		if (d->ops->state) {
			device_save(d, &image);
			rc = device_load(d, d->ops->state_version, image.buf, image.len, &e);
			strbuf_release(&image);
		}
		if (rc) {
			fprintf(stderr, "%s refuses the state that it saved: %s\n", d->ops->name, e.msg);
			break;
		}
	}
	return rc;
}

static int big_step(struct machine *m, uint64_t *seed)
{
	int rc = 0;

	pc_pause(m->pc, true);
	if (fuzz_below(seed, 4))
		rc = save_and_load(m->pc);
	else
		pc_reset(m->pc);
	pc_pause(m->pc, false);
	return rc;
}

static int guest_step(struct machine *m, uint64_t *seed)
{
	uint64_t r = fuzz_below(seed, RARE);

	if (!r)
		return big_step(m, seed);
	if (r < 50)
		config_step(m, seed);
	else if (r % 2)
		port_step(m, seed);
	else
		memory_step(m, seed);
	return 0;
}

static void be_guest(struct machine *m)
{
	uint64_t seed = m->o.seed, i;
	double start = fuzz_now();

	for (i = 0; i < m->o.iterations && (i % 256 || fuzz_now() - start < m->o.seconds); i++)
		if (guest_step(m, &seed)) {
			atomic_store(&m->failed, true);
			break;
		}
	atomic_store(&m->accesses, i);
	atomic_store(&m->over, true);
}

/* -- Who looks and types ----------------------------------------------------------------------------- */

static void see(void *opaque, const struct display_surface *s, const struct display_rect *r, bool resized)
{
	_Atomic bool *failed = opaque;

	if (!r->width || !r->height || r->x + r->width > s->width || r->y + r->height > s->height)
		atomic_store(failed, true);
}

static void *be_person(void *arg)
{
	struct machine *m = arg;
	struct display_view *view = display_view_new(m->display);
	uint64_t seed = m->o.seed ^ 0x1234567;
	struct input *in = m->input;

	while (!atomic_load(&m->over)) {
		double before = fuzz_now();

		display_view_update(view, see, &m->failed);
		atomic_fetch_add(&m->looks, 1);
		for (unsigned i = 0; i < 20; i++) {
			input_key(in, (unsigned)fuzz_below(&seed, INPUT_KEYS + 10), fuzz_random(&seed) & 1);
			input_move(in, (int)value(&seed), (int)value(&seed));
			input_move_to(in, (unsigned)value(&seed), (unsigned)value(&seed), (unsigned)value(&seed), (unsigned)value(&seed));
			input_buttons(in, (unsigned)value(&seed));
			input_wheel(in, (int)value(&seed));
		}
		input_release_all(in);
		if (fuzz_now() - before > SLOW_S)
			atomic_store(&m->failed, true);
	}
	display_view_free(view);
	return NULL;
}

/* -- Clients ----------------------------------------------------------------------------------------- */

static const char *const beginnings[] = {
	"RFB 003.008\n\x01\x01", "RFB 003.003\n\x01", "RFB 003.007\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"GET /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	"Sec-WebSocket-Key: eA==\r\n\r\n",
	"GET /../.. HTTP/1.1\r\nHost: [::1]\r\n\r\n", "GET ",
};

static void send_garbage(int fd, uint64_t *seed)
{
	const char *begin = beginnings[fuzz_below(seed, ARRAY_SIZE(beginnings))];
	char data[600];
	size_t n = strlen(begin), len = n + fuzz_below(seed, sizeof(data) - n);

	memcpy(data, begin, n);
	for (size_t i = n; i < len; i++)
		data[i] = (char)(fuzz_random(seed) & 1 ? fuzz_below(seed, 12) : fuzz_random(seed));
	if (!fuzz_below(seed, 3))
		data[fuzz_below(seed, len)] = (char)fuzz_random(seed);
	if (send(fd, data, len, MSG_NOSIGNAL) >= 0)
		shutdown(fd, SHUT_WR);
}

static void parse_garbage(uint64_t *seed)
{
	static const char letters[] = "vncweb=unix:/019,password-file";
	char text[400];
	size_t len = fuzz_below(seed, sizeof(text) - 1);

	for (size_t i = 0; i < len; i++)
		text[i] = letters[fuzz_below(seed, sizeof(letters) - 1)];
	text[len] = 0;
	if (fuzz_random(seed) & 1)
		memcpy(text, fuzz_random(seed) & 1 ? "vnc=" : "web=", MIN(len, 4));
	viewer_check(text, NULL);
}

static void *be_clients(void *arg)
{
	struct machine *m = arg;
	struct viewer_common v = { .display = m->display, .input = m->input };
	struct rfb *rfb = rfb_new(&v);
	uint64_t seed = m->o.seed ^ 0x7654321;

	while (!atomic_load(&m->over)) {
		double before = fuzz_now();
		int fd[2];

		for (unsigned i = 0; i < 100; i++)
			parse_garbage(&seed);
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
			break;
		send_garbage(fd[1], &seed);
		if (fuzz_random(&seed) & 1)
			http_serve(fd[0], &v, rfb);
		else
			rfb_serve(rfb, fd[0]);
		close(fd[1]);
		atomic_fetch_add(&m->clients, 1);
		if (fuzz_now() - before > SLOW_S)
			atomic_store(&m->failed, true);
	}
	rfb_free(rfb);
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct device_config devices[] = { { .driver = "VGA", .prop = { { "addr", "2" } }, .n_props = 1 } };
	static const uint8_t rom[4096] = { 0x55, 0xaa, 8 };
	struct machine m = { .o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED), .display = display_new(), .input = input_new() };
	struct pc_config c = {
		.ram_size = 16 * MiB, .cpus = 1, .cpu_spec = "host", .engine = &interp_engine, .display = m.display, .input = m.input,
		.devices = devices, .n_devices = ARRAY_SIZE(devices), .vga_rom = { .data = rom, .len = sizeof(rom), .name = "rom" },
	};
	pthread_t person, clients;
	struct err e = { "" };

	printf("seed %#" PRIx64 "\n", m.o.seed);
	fflush(stdout);
	log_set_level(LOG_ERROR);
	if (pc_new(&m.pc, &c, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	pc_pause(m.pc, false);
	if (pthread_create(&person, NULL, be_person, &m) || pthread_create(&clients, NULL, be_clients, &m))
		abort();
	be_guest(&m);
	pthread_join(person, NULL);
	pthread_join(clients, NULL);
	pc_free(m.pc);
	input_free(m.input);
	display_free(m.display);
	printf("%" PRIu64 " accesses, %" PRIu64 " looks, %" PRIu64 " clients\n", m.accesses, m.looks, m.clients);
	return m.failed;
}
