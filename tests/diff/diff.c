/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host CPU as oracle: random instructions in random states, run natively and in an engine, must have the same
 * outcome to the last bit. See README.md here. Exit status 0: no difference; 1: differences; 2: usage or trouble.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "worker.h"

#define DEFAULT_SEED  20260801
#define DEFAULT_CASES 100000
#define MAX_JOBS      64 /* as totals.at[] */
/* With this many cases per mnemonic of the catalogue, each of them must have come up. */
#define COVERAGE_FROM 1000000
#define COVERAGE_MIN  10

static const char usage[] =
	"usage: diff [options]\n"
	"  --cases N       stop after N cases (default 100000; 0: no limit)\n"
	"  --seconds S     stop after S seconds\n"
	"  --seed N|random seed of all cases (default fixed)\n"
	"  --case N        run only case N, and show it\n"
	"  --class NAME    only a class, a mnemonic or a mode (64, 32, 16), several narrow it down; or blocks\n"
	"  --jobs N        processes (default: 2)\n"
	"  --engine NAME   engine under test (default interp)\n"
	"  --cpu MODEL     its CPUID (default host)\n"
	"  --self          the host CPU against itself: which instructions are not deterministic\n"
	"  --strict        compare undefined flags too\n"
	"  --keep-going    do not stop at differences: one report a mnemonic, and a table\n"
	"  --reports N     how many differences to show (default 10)\n"
	"  --coverage      how often each mnemonic was tested\n";

enum { OPT_CASES = 1, OPT_SECONDS, OPT_SEED, OPT_CASE, OPT_CLASS, OPT_JOBS, OPT_ENGINE, OPT_CPU, OPT_SELF, OPT_STRICT,
       OPT_KEEP_GOING, OPT_REPORTS, OPT_COVERAGE, OPT_HELP };

static const struct option long_options[] = {
	{ "cases", 1, NULL, OPT_CASES },   { "seconds", 1, NULL, OPT_SECONDS }, { "seed", 1, NULL, OPT_SEED },
	{ "case", 1, NULL, OPT_CASE },	   { "class", 1, NULL, OPT_CLASS },	{ "jobs", 1, NULL, OPT_JOBS },
	{ "engine", 1, NULL, OPT_ENGINE }, { "cpu", 1, NULL, OPT_CPU },		{ "self", 0, NULL, OPT_SELF },
	{ "strict", 0, NULL, OPT_STRICT }, { "keep-going", 0, NULL, OPT_KEEP_GOING },
	{ "reports", 1, NULL, OPT_REPORTS }, { "coverage", 0, NULL, OPT_COVERAGE }, { "help", 0, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static _Noreturn void trouble(const struct err *e)
{
	fprintf(stderr, "diff: %s\n", e->msg);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*end || !*text) {
		fprintf(stderr, "diff: '%s' is not a number\n", text);
		exit(2);
	}
	return n;
}

static void parse(int argc, char **argv, struct options *o, struct generator *gen)
{
	struct err e;
	int opt;

	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		switch (opt) {
		case OPT_CASES: o->cases = number(optarg); break;
		case OPT_SECONDS: o->seconds = (double)number(optarg); o->cases = 0; break;
		case OPT_SEED: o->seed = strcmp(optarg, "random") ? number(optarg) : now_ns() ^ (uint64_t)getpid() << 40; break;
		case OPT_CASE: o->only_case = number(optarg); o->one = true; break;
		case OPT_CLASS:
			if (gen_restrict(gen, optarg, &e) < 0)
				trouble(&e);
			if (o->n_classes < ARRAY_SIZE(o->classes))
				o->classes[o->n_classes++] = optarg;
			break;
		case OPT_JOBS: o->jobs = (unsigned)number(optarg); break;
		case OPT_ENGINE: o->engine = optarg; break;
		case OPT_CPU: o->cpu = optarg; break;
		case OPT_SELF: o->self = true; break;
		case OPT_STRICT: o->strict = true; break;
		case OPT_KEEP_GOING: o->keep_going = true; break;
		case OPT_REPORTS: o->max_reports = (unsigned)number(optarg); break;
		case OPT_COVERAGE: o->verbose = true; break;
		case OPT_HELP: fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	if (optind < argc || o->jobs < 1 || o->jobs > MAX_JOBS) {
		fputs(usage, stderr);
		exit(2);
	}
}

/* -- Tables ------------------------------------------------------------------------------------ */

/* What a mnemonic's forms add up to, over modes and classes. */
struct tally {
	uint64_t cases, executed, failures;
	bool foreign;
};

static void count_forms(const struct catalog *cat, const struct totals *t, struct tally *tally)
{
	for (uint32_t m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++)
		tally[m] = (struct tally){ .foreign = true };
	for (uint32_t i = 0; i < cat->n; i++) {
		struct tally *y = &tally[cat->form[i].mnemonic];

		y->cases += t->form[i].cases;
		y->executed += t->form[i].executed;
		y->failures += t->form[i].failures;
		y->foreign = y->foreign && cat->form[i].foreign;
	}
}

/* Returns how many mnemonics of this host came up too seldom. */
static unsigned print_tables(const struct options *o, const struct tally *tally, bool all_classes)
{
	unsigned seldom = 0, covered = 0;

	for (uint32_t m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		const struct tally *y = &tally[m];
		const char *name = ZydisMnemonicGetString((ZydisMnemonic)m);

		if (o->verbose && y->cases)
			printf("%-20s %8" PRIu64 " cases %8" PRIu64 " executed\n", name, y->cases, y->executed);
		if (y->failures)
			printf("differences in %-20s %8" PRIu64 " of %" PRIu64 " cases\n", name, y->failures, y->cases);
		if (y->foreign)
			continue;
		covered += y->executed >= COVERAGE_MIN;
		if (all_classes && y->executed < COVERAGE_MIN) {
			printf("seldom tested: %s, %" PRIu64 " cases\n", name, y->executed);
			seldom++;
		}
	}
	printf("diff: %u mnemonics executed\n", covered);
	return seldom;
}

/* -- Processes --------------------------------------------------------------------------------- */

static void bury(const struct worker_env *env, const pid_t *pid, pid_t dead, int status)
{
	for (unsigned i = 0; i < env->o->jobs; i++)
		if (pid[i] == dead && WIFSIGNALED(status))
			printf("diff: a worker died of signal %d, in the engine: --case %" PRIu64 "\n", WTERMSIG(status),
			       (uint64_t)env->totals->at[i]);
	env->totals->stop = true;
}

static int run_jobs(struct worker_env *env)
{
	pid_t pid[MAX_JOBS], dead;
	int status, rc = 0;

	for (unsigned i = 0; i < env->o->jobs; i++) {
		env->job = i;
		pid[i] = fork();
		if (pid[i] == 0)
			_exit(worker_main(env));
		if (pid[i] < 0) {
			perror("diff: fork");
			env->totals->stop = true;
			rc = 1;
			break;
		}
	}
	while ((dead = wait(&status)) > 0)
		if (status) {
			bury(env, pid, dead, status);
			rc = 1;
		}
	return rc;
}

static struct totals *shared_totals(const struct catalog *cat)
{
	struct totals *t = mmap(NULL, sizeof(*t) + (cat->n + 1) * sizeof(t->form[0]), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED) {
		perror("diff: mmap");
		exit(2);
	}
	return t;
}

int main(int argc, char **argv)
{
	static struct tally tally[ZYDIS_MNEMONIC_MAX_VALUE + 1];
	static struct catalog catalog;
	struct options o = { .seed = DEFAULT_SEED, .cases = DEFAULT_CASES, .jobs = 2, .max_reports = 10,
			     .engine = "interp", .cpu = "host" };
	struct generator gen = { .catalog = &catalog, .xcr0 = native_xcr0() };
	struct worker_env env = { .o = &o, .gen = &gen, .catalog = &catalog };
	struct err e;
	uint64_t start = now_ns();
	double seconds;
	unsigned seldom;
	int rc;

	if (catalog_init(&catalog, &e) < 0)
		trouble(&e);
	parse(argc, argv, &o, &gen);
	gen.seed = o.seed;
	gen.ldt = native_has_ldt();
	if (worker_probe(&catalog, &gen, &e) < 0)
		trouble(&e);
	if (o.one)
		o.jobs = 1;
	env.totals = shared_totals(&catalog);
	env.deadline_ns = o.seconds > 0 ? start + (uint64_t)(o.seconds * 1e9) : 0;
	printf("diff: seed %" PRIu64 ", %u forms%s\n", o.seed, catalog.n, gen.ldt ? "" : ", no LDT: no 16-bit mode");
	fflush(stdout);
	rc = run_jobs(&env);
	seconds = (double)(now_ns() - start) / 1e9;
	count_forms(&catalog, env.totals, tally);
	seldom = print_tables(&o, tally, env.totals->cases >= COVERAGE_FROM && !gen.only && !gen.blocks && !rc);
	printf("diff: %" PRIu64 " cases in %.1f s (%.0f a second), %" PRIu64 " hung natively, %" PRIu64 " differences\n",
	       (uint64_t)env.totals->cases, seconds, (double)env.totals->cases / seconds, (uint64_t)env.totals->hangs,
	       (uint64_t)env.totals->failures);
	catalog_release(&catalog);
	free(gen.only);
	return rc ? 2 : env.totals->failures || seldom ? 1 : 0;
}
