/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop of the diff test, and its reports. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "minimise.h"
#include "subject.h"
#include "worker.h"

struct worker {
	const struct worker_env *env;
	struct native *native, *second; /* second: the other side of --self */
	struct subject *subject;
	struct compare cmp;
	struct outcome ours;
	struct strbuf why[BATCH_CASES]; /* of the failures of the batch, as they were in it */
	uint16_t reports[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* printed, by mnemonic */
};

static void print_text(struct strbuf *text)
{
	if (text->len && write(STDOUT_FILENO, text->buf, text->len) < 0)
		_exit(1);
	strbuf_release(text);
}

static void print_error(const struct err *e)
{
	fprintf(stderr, "diff: %s\n", e->msg);
}

/* -- Running ----------------------------------------------------------------------------------- */

static int run_native(struct native *n, struct err *e)
{
	native_post(n);
	return native_wait(n, e);
}

/* The other side: the engine, or for --self another process on the host CPU. */
static const struct outcome *run_other(struct worker *w, unsigned i)
{
	if (w->second)
		return &native_batch(w->second)->native[i];
	w->env->totals->at[w->env->job] = native_batch(w->native)->c[i].index;
	subject_run(w->subject, &native_batch(w->native)->c[i], &w->ours);
	return &w->ours;
}

static int run_second(struct worker *w, struct err *e)
{
	struct batch *from = native_batch(w->native), *to = native_batch(w->second);

	memcpy(to->image, from->image, sizeof(to->image));
	memcpy(to->c, from->c, from->n * sizeof(from->c[0]));
	to->n = from->n;
	return run_native(w->second, e);
}

/* Run one case in both, outside of a batch, on the image that is loaded. */
static bool run_one(struct worker *w, const struct diff_case *c, struct strbuf *why, struct outcome *host)
{
	struct batch *b = native_batch(w->native);
	struct err e;

	b->c[0] = *c;
	b->n = 1;
	if (run_native(w->native, &e) < 0 || (w->second && run_second(w, &e) < 0))
		return true;
	*host = b->native[0];
	if (host->kind != OUTCOME_TRAP)
		return host->kind == OUTCOME_HANG;
	return outcomes_agree(&w->cmp, c, host, run_other(w, 0), why);
}

static bool still_fails(void *opaque, const struct diff_case *c)
{
	struct outcome host;

	return !run_one(opaque, c, NULL, &host);
}

/* -- Reports ----------------------------------------------------------------------------------- */

static void report(struct worker *w, const struct diff_case *failed, const struct strbuf *in_batch)
{
	const struct options *o = w->env->o;
	struct strbuf text = STRBUF_INIT, why = STRBUF_INIT;
	struct diff_case c = *failed;
	struct outcome host;

	case_minimise(&c, still_fails, w);
	run_one(w, &c, &why, &host);
	strbuf_addf(&text, "difference: --seed %llu", (unsigned long long)o->seed);
	for (unsigned i = 0; i < o->n_classes; i++)
		strbuf_addf(&text, " --class %s", o->classes[i]);
	strbuf_addf(&text, " --case %llu\n  ", (unsigned long long)c.index);
	case_print(&w->cmp, &c, &text);
	strbuf_addf(&text, "  host: ");
	outcome_print(&c, &host, &text);
	strbuf_addf(&text, "\n  %s: ", w->second ? "again" : o->engine);
	outcome_print(&c, w->second ? &native_batch(w->second)->native[0] : &w->ours, &text);
	strbuf_addf(&text, "\n%s", why.len ? why.buf : "    only in the company of other cases:\n");
	if (!why.len)
		strbuf_add(&text, in_batch->buf, in_batch->len);
	strbuf_release(&why);
	print_text(&text);
}

static void failed_case(struct worker *w, const struct diff_case *c, const struct strbuf *why)
{
	const struct options *o = w->env->o;
	struct totals *t = w->env->totals;
	unsigned per_mnemonic = o->keep_going ? 1 : o->max_reports;

	t->failures++;
	t->form[c->form == NO_FORM ? w->env->catalog->n : c->form].failures++;
	if (w->reports[c->mnemonic] >= per_mnemonic)
		return;
	w->reports[c->mnemonic]++;
	if (t->reported++ < o->max_reports)
		report(w, c, why);
	if (!o->keep_going && t->reported >= o->max_reports)
		t->stop = true;
}

/* -- Batches ----------------------------------------------------------------------------------- */

static void count_case(struct worker *w, const struct diff_case *c, const struct outcome *host)
{
	struct form_count *f = &w->env->totals->form[c->form == NO_FORM ? w->env->catalog->n : c->form];

	f->cases++;
	if (host->kind == OUTCOME_TRAP && host->vector != X86_UD && (host->vector != X86_PF || host->cr2 != host->rip))
		f->executed++;
}

static void judge(struct worker *w, unsigned n, unsigned *failed, unsigned *n_failed)
{
	struct batch *b = native_batch(w->native);

	for (unsigned i = 0; i < n && !w->env->totals->stop; i++) {
		const struct outcome *host = &b->native[i];

		count_case(w, &b->c[i], host);
		if (host->kind == OUTCOME_HANG) {
			w->env->totals->hangs++;
			continue;
		}
		if (!outcomes_agree(&w->cmp, &b->c[i], host, run_other(w, i), &w->why[*n_failed]))
			failed[(*n_failed)++] = i;
	}
}

static int run_batch(struct worker *w, uint64_t batch, unsigned n, struct err *e)
{
	static struct diff_case keep[BATCH_CASES];
	struct batch *b = native_batch(w->native);
	unsigned failed[BATCH_CASES], n_failed = 0;

	gen_image(w->env->gen, batch, b->image);
	for (unsigned i = 0; i < n; i++)
		gen_case(w->env->gen, batch * BATCH_CASES + i, &b->c[i]);
	b->n = n;
	if (run_native(w->native, e) < 0 || (w->second && run_second(w, e) < 0))
		return -1;
	if (w->subject)
		subject_image(w->subject, b->image);
	judge(w, n, failed, &n_failed);
	w->env->totals->cases += n;
	for (unsigned i = 0; i < n_failed; i++)
		keep[i] = b->c[failed[i]];
	for (unsigned i = 0; i < n_failed && !w->env->totals->stop; i++)
		failed_case(w, &keep[i], &w->why[i]);
	for (unsigned i = 0; i < n_failed; i++)
		strbuf_release(&w->why[i]);
	return 0;
}

/* --case: one, and all about it. */
static int run_single(struct worker *w, struct err *e)
{
	const struct options *o = w->env->o;
	struct batch *b = native_batch(w->native);
	struct strbuf text = STRBUF_INIT, why = STRBUF_INIT;
	static struct diff_case c;
	struct outcome host;
	bool agree;

	gen_image(w->env->gen, o->only_case / BATCH_CASES, b->image);
	gen_case(w->env->gen, o->only_case, &c);
	if (w->subject)
		subject_image(w->subject, b->image);
	agree = run_one(w, &c, &why, &host);
	case_print(&w->cmp, &c, &text);
	strbuf_addf(&text, "  host: ");
	outcome_print(&c, &host, &text);
	strbuf_addf(&text, "\n%s", agree ? "  no difference\n" : why.len ? why.buf : "\n");
	print_text(&text);
	if (!agree) {
		w->env->totals->failures++;
		report(w, &c, &why);
	}
	strbuf_release(&why);
	w->env->totals->cases++;
	return 0;
}

static bool time_is_up(const struct worker_env *env)
{
	struct timespec now;

	if (!env->deadline_ns)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec >= env->deadline_ns;
}

static int run_all(struct worker *w, struct err *e)
{
	struct totals *t = w->env->totals;
	uint64_t limit = w->env->o->cases;

	while (!t->stop && !time_is_up(w->env)) {
		uint64_t batch = t->next_batch++, first = batch * BATCH_CASES;

		if (limit && first >= limit)
			break;
		if (run_batch(w, batch, limit && limit - first < BATCH_CASES ? (unsigned)(limit - first) : BATCH_CASES, e))
			return -1;
	}
	return 0;
}

int worker_main(const struct worker_env *env)
{
	struct worker *w = calloc(1, sizeof(*w));
	struct err e = { "" };
	int rc;

	if (!w)
		return 1;
	w->env = env;
	w->cmp = (struct compare){ env->catalog, env->o->strict, !strncmp(env->o->engine, "bt", 2) };
	rc = native_new(&w->native, &e);
	if (!rc && env->o->self)
		rc = native_new(&w->second, &e);
	else if (!rc)
		rc = subject_new(&w->subject, env->o->engine, env->o->cpu, &e);
	if (!rc)
		rc = env->o->one ? run_single(w, &e) : run_all(w, &e);
	if (rc)
		print_error(&e);
	if (w->native)
		native_free(w->native);
	if (w->second)
		native_free(w->second);
	if (w->subject)
		subject_free(w->subject);
	free(w);
	return rc ? 1 : 0;
}

/* Run one case of each form in list; those that were refused stay in it. Returns their number, or -1. */
static int probe_forms(struct native *n, const struct generator *gen, uint32_t *list, uint32_t len, unsigned round,
		       struct err *e)
{
	struct batch *b = native_batch(n);
	uint32_t left = 0;

	for (uint32_t first = 0; first < len; first += BATCH_CASES) {
		b->n = MIN(len - first, BATCH_CASES);
		for (unsigned i = 0; i < b->n; i++)
			gen_case_of_form(gen, list[first + i] + ((uint64_t)round << 32), list[first + i], &b->c[i]);
		if (run_native(n, e) < 0)
			return -1;
		for (unsigned i = 0; i < b->n; i++)
			if (b->c[i].form == NO_FORM ||
			    (b->native[i].vector == X86_UD && b->native[i].rip == b->c[i].rip))
				list[left++] = list[first + i];
	}
	return (int)left;
}

#define PROBES 4

int worker_probe(struct catalog *cat, const struct generator *gen, struct err *e)
{
	uint32_t *list = calloc(cat->n, sizeof(*list));
	struct generator plain = *gen;
	int left = (int)cat->n, rc;
	struct native *n;

	if (!list)
		return err_set(e, ENOMEM, "probe: out of memory");
	rc = native_new(&n, e);
	if (rc) {
		free(list);
		return rc;
	}
	plain.plain = true;
	gen_image(gen, 0, native_batch(n)->image);
	for (uint32_t i = 0; i < cat->n; i++)
		list[i] = i;
	for (unsigned round = 0; round < PROBES && left > 0; round++)
		left = probe_forms(n, &plain, list, (uint32_t)left, round, e);
	for (int i = 0; i < left; i++)
		cat->form[list[i]].foreign = true;
	native_free(n);
	free(list);
	return left < 0 ? -1 : 0;
}
