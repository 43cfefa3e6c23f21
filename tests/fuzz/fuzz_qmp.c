/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages that no program would send, nearly right ones most of them, to the monitors of a machine: QMP's JSON and commands, and
 * the lines for people. Each answer must be JSON.
 *
 *   fuzz_qmp [--seconds N] [--iterations N] [--seed S]
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "cpu/engines.h"
#include "fuzz.h"
#include "kernels.h"
#include "monitor/qmp_int.h"

#define DEFAULT_SECONDS 2
#define DEFAULT_SEED    0x91f
#define ROOM            4096
#define LONG_EVERY      4096

struct fuzz {
	uint64_t rng, sent, answers, errors;
	struct strbuf kernel;
	struct vm_config cfg;
	struct vm *vm;
	struct monitor_env env;
	struct qmp *qmp;
	char text[ROOM];
	size_t len;
	pthread_t owner;
};

/* "quit" would end it all; a file that "screendump" makes is refused, as there is no screen. */
static const char *const templates[] = {
	"{\"execute\":\"qmp_capabilities\"}", "{\"execute\":\"query-status\",\"id\":1}", "{\"execute\":\"stop\"}", "{\"execute\":\"cont\"}",
	"{\"execute\":\"send-key\",\"arguments\":{\"keys\":[{\"type\":\"qcode\",\"data\":\"ret\"}],\"hold-time\":0}}", "{\"execute\":\"query-block\"}",
	"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info registers\"}}", "{\"execute\":\"balloon\",\"arguments\":{\"value\":1}}",
	"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"x/16g 0x100000\"}}", "{\"execute\":\"query-cpus-fast\"}",
	"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"xp/999999999b 0xfffffffffffffff8\"}}", "{\"execute\":\"query-commands\"}",
	"{\"execute\":\"eject\",\"arguments\":{\"device\":\"cd\",\"force\":true}}", "{\"execute\":\"change\",\"arguments\":{\"device\":\"cd\",\"target\":\"\"}}",
	"{\"execute\":\"set_link\",\"arguments\":{\"name\":\"net0\",\"up\":false}}", "{\"execute\":\"screendump\",\"arguments\":{\"filename\":\"\"}}",
	"{\"execute\":\"system_reset\"}", "{\"execute\":\"system_powerdown\"}", "{\"execute\":\"query-uuid\",\"id\":{\"a\":[null,1.5e300,\"\\u00e4\"]}}",
};
static const char *const lines[] = {
	"info status", "info block", "info cpus", "info network", "info", "help", "stop", "c", "x/4w", "x/9g 0", "xp/b 0x100000", "sendkey a-b-c 0", "sendkey - 0",
	"eject -f", "change a b c", "set_link a on", "balloon 99999999999999999999", "x/-1b -1", "info stats", "system_reset", "",
};

static void answered(void *opaque, const char *text, size_t len)
{
	struct fuzz *f = opaque;
	json_error_t where;
	json_t *root = json_loadb(text, len, 0, &where);

	if (!json_is_object(root)) {
		fprintf(stderr, "fuzz_qmp: no JSON: %.*s\n", (int)len, text);
		abort();
	}
	f->answers++;
	f->errors += json_object_get(root, "error") != NULL;
	json_decref(root);
}

static void damage(struct fuzz *f)
{
	for (uint64_t n = fuzz_below(&f->rng, 4); n && f->len; n--) {
		size_t at = fuzz_below(&f->rng, f->len);

		switch (fuzz_below(&f->rng, 4)) {
		case 0:
			f->text[at] = (char)fuzz_random(&f->rng);
			break;
		case 1:
			f->text[at] = "{}[]\",:\\\n0"[fuzz_below(&f->rng, 10)];
			break;
		case 2: /* a piece again, elsewhere */
			memmove(f->text + at, f->text + fuzz_below(&f->rng, f->len - at + 1), f->len - at > 8 ? 8 : f->len - at);
			break;
		default:
			f->len = at;
		}
	}
}

static void one(struct fuzz *f)
{
	bool line = !fuzz_below(&f->rng, 4);
	const char *from = line ? lines[fuzz_below(&f->rng, ARRAY_SIZE(lines))] : templates[fuzz_below(&f->rng, ARRAY_SIZE(templates))];
	struct strbuf out = STRBUF_INIT;

	f->len = (size_t)snprintf(f->text, sizeof(f->text), "%s", from);
	if (fuzz_below(&f->rng, 2))
		damage(f);
	if (!fuzz_below(&f->rng, 8))
		qmp_open(f->qmp);
	if (line) {
		f->text[f->len] = 0;
		hmp_run(&f->env, f->text, &out);
		strbuf_release(&out);
	} else {
		qmp_input(f->qmp, (const uint8_t *)f->text, f->len);
		qmp_input(f->qmp, (const uint8_t *)"\n", 1);
	}
	for (unsigned n = 0; !fuzz_below(&f->rng, LONG_EVERY) && n < 100; n++)
		qmp_input(f->qmp, (const uint8_t *)f->text, f->len);
	f->sent++;
}

/* Resets are carried out; it stands still all the while, or runs for a moment. */
static void *own(void *opaque)
{
	struct fuzz *f = opaque;
	struct err e;
	uint32_t code;

	while (vm_wait(f->vm, &code) != VM_END_STOPPED)
		if (vm_reset(f->vm, &e))
			abort();
	vm_end_calls(f->vm);
	return NULL;
}

static int build(struct fuzz *f, struct err *e)
{
	int rc;

	make_multiboot(&f->kernel, MB_FLAT, 0);
	f->cfg = (struct vm_config){
		.memory = 16 * MiB, .cpus = 2, .cpu = "host", .engine = engine_choose(NULL), .append = "",
		.kernel = { .data = f->kernel.buf, .len = f->kernel.len, .name = "kernel" },
	};
	rc = vm_new(&f->vm, &f->cfg, NULL, e);
	if (rc)
		return rc;
	monitor_env_init(&f->env);
	f->env.vm = f->vm;
	f->env.cfg = &f->cfg;
	f->env.version = "7.2.0";
	f->qmp = qmp_new(&f->env, false, answered, f);
	vm_hold(f->vm, VM_HOLD_USER);
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
		fprintf(stderr, "fuzz_qmp: %s\n", e.msg);
		return 1;
	}
	if (pthread_create(&f.owner, NULL, own, &f))
		abort();
	while (fuzz_goes_on(&o, start, f.sent))
		one(&f);
	vm_stop(f.vm, 0);
	pthread_join(f.owner, NULL);
	qmp_free(f.qmp);
	vm_free(f.vm);
	monitor_env_release(&f.env);
	strbuf_release(&f.kernel);
	printf("fuzz_qmp: %" PRIu64 " messages, %" PRIu64 " answers, %" PRIu64 " of them errors\n", f.sent, f.answers, f.errors);
	return o.iterations >= FUZZ_LEAST && (!f.answers || f.errors == f.answers);
}
