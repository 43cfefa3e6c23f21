/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets that gdb would not send, nearly right ones most of them, to the stub of a machine that stands still or takes single
 * steps; and noise through the reader of packets.
 *
 *   fuzz_gdb [--seconds N] [--iterations N] [--seed S]
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "cpu/engines.h"
#include "fuzz.h"
#include "kernels.h"
#include "monitor/gdb_int.h"

#define DEFAULT_SECONDS 2
#define DEFAULT_SEED    0x9db
#define PIECES          6

struct fuzz {
	uint64_t rng, answered, stepped, resumed;
	struct strbuf kernel;
	struct vm_config cfg;
	struct vm *vm;
	struct gdb_session session;
	struct gdb_reader reader;
	char packet[GDB_PACKET_MAX + 1];
	size_t len;
	pthread_t owner;
};

static const char *const commands[] = {
	"?", "g", "G", "p", "P", "m", "M", "X", "Z0,", "Z1,", "Z2,", "Z3,", "Z4,", "z0,", "z1,", "z2,", "z3,", "z4,", "c", "s", "C05", "S05;",
	"vCont?", "vCont;s:1", "vCont;c", "vCont;", "Hg", "Hc", "T", "D", "qSupported:swbreak+;hwbreak+", "qfThreadInfo",
	"qsThreadInfo", "qThreadExtraInfo,", "qXfer:features:read:target.xml:", "qC", "qAttached", "QStartNoAckMode", "!", "",
};
static const char *const pieces[] = {
	"0", "1", "2", "3", "-1", ",", ":", ";", "=", "ffffffffffffffff", "100000", "100080", "1000", "ffff", "0000000000000000", "c", "s",
	"fff", "cafe", "10", "8", "80000000", "\x7f", "zz",
};

static void add(struct fuzz *f, const char *text)
{
	size_t len = strlen(text);

	if (f->len + len > GDB_PACKET_MAX)
		return;
	memcpy(f->packet + f->len, text, len);
	f->len += len;
}

static void make_packet(struct fuzz *f)
{
	f->len = 0;
	add(f, commands[fuzz_below(&f->rng, ARRAY_SIZE(commands))]);
	for (uint64_t n = fuzz_below(&f->rng, PIECES); n; n--)
		add(f, pieces[fuzz_below(&f->rng, ARRAY_SIZE(pieces))]);
	if (!fuzz_below(&f->rng, 8))
		for (uint64_t n = fuzz_below(&f->rng, GDB_PACKET_MAX / 2); n && f->len < GDB_PACKET_MAX; n--)
			f->packet[f->len++] = "0123456789abcdef"[fuzz_below(&f->rng, 16)];
	if (f->len && !fuzz_below(&f->rng, 4))
		f->packet[fuzz_below(&f->rng, f->len)] = (char)fuzz_random(&f->rng);
	f->packet[f->len] = 0;
}

/* A single step may end the guest; then the machine is over, and the steps that follow do nothing. */
static void one(struct vm *vm, void *opaque)
{
	struct fuzz *f = opaque;

	make_packet(f);
	gdb_command(&f->session, f->packet, f->len);
	f->answered++;
	f->resumed += f->session.then == GDB_GO;
	f->stepped += f->session.reply.len && f->session.reply.buf[0] == 'T';
	if (!fuzz_below(&f->rng, 64)) {
		gdb_session_end(&f->session);
		gdb_session_begin(&f->session);
	}
	for (unsigned n = 0; n < 64; n++)
		gdb_reader_byte(&f->reader, fuzz_below(&f->rng, 4) ? (uint8_t)"$#}0a"[fuzz_below(&f->rng, 5)] : (uint8_t)fuzz_random(&f->rng));
}

/* The guest may reset itself: it starts again, held. */
static void *own(void *opaque)
{
	struct fuzz *f = opaque;
	struct err e;
	uint32_t code;

	while (vm_wait(f->vm, &code) != VM_END_STOPPED)
		if (vm_reset(f->vm, &e))
			abort();
	return NULL;
}

static int build(struct fuzz *f, struct err *e)
{
	int rc;

	make_multiboot(&f->kernel, MB_FLAT, 0);
	memset(f->kernel.buf + 0x200 + 0x80, 0x90, 0x400); /* NOPs, and what follows */
	f->cfg = (struct vm_config){
		.memory = 16 * MiB, .cpus = 2, .cpu = "host", .engine = engine_choose(NULL), .append = "",
		.kernel = { .data = f->kernel.buf, .len = f->kernel.len, .name = "nops" },
	};
	rc = vm_new(&f->vm, &f->cfg, NULL, e);
	if (rc)
		return rc;
	f->session.vm = f->vm;
	vm_hold(f->vm, VM_HOLD_DEBUG);
	return vm_start(f->vm, e);
}

int main(int argc, char **argv)
{
	struct fuzz_options o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED);
	struct fuzz f = { .rng = o.seed };
	struct err e = { "" };
	double start = fuzz_now();

	printf("seed %#" PRIx64 "\n", o.seed);
	fflush(stdout);
	log_set_level(LOG_ERROR);
	if (build(&f, &e)) {
		fprintf(stderr, "fuzz_gdb: %s\n", e.msg);
		return 1;
	}
	if (pthread_create(&f.owner, NULL, own, &f))
		abort();
	while (fuzz_goes_on(&o, start, f.answered) && vm_call(f.vm, one, &f))
		;
	vm_stop(f.vm, 0);
	pthread_join(f.owner, NULL);
	vm_free(f.vm);
	strbuf_release(&f.kernel);
	strbuf_release(&f.session.reply);
	printf("fuzz_gdb: %" PRIu64 " packets, %" PRIu64 " stops reported, %" PRIu64 " times on\n", f.answered, f.stepped, f.resumed);
	return o.iterations >= FUZZ_LEAST && (!f.stepped || !f.resumed);
}
