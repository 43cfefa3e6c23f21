/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which loops the translator gives a second form, what it finds of their streams, and the code that it makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes.h"

static struct tiny *t;
static struct bt *bt;

static int set_up(void **state)
{
	t = passes_machine(TINY_LONG);
	bt = t->v->engine_data;
	return 0;
}

static int tear_down(void **state)
{
	tiny_free(t);
	return 0;
}

/* Each at TINY_CODE, which is also where its loop begins unless it says otherwise. */
static struct translation *translated(const unsigned char *code, const unsigned char *end)
{
	uint8_t page[PAGE_SIZE] = { 0 };
	struct bt_mode mode = passes_mode();

	memcpy(page, code, (size_t)(end - code));
	tiny_put(t, TINY_CODE, page, sizeof(page));
	mode.fpu = FPU_AVX;
	return passes_translate(bt, TINY_CODE, TINY_CODE, mode);
}

#define TRANSLATED(name) translated(name, name##_end)

static void check_stream(const struct bt_stream *s, unsigned base, unsigned index, unsigned carrier, int off, unsigned size, int step,
			 bool write)
{
	assert_int_equal(s->base, base);
	assert_int_equal(s->index, index);
	assert_int_equal(s->carrier, carrier);
	assert_int_equal(s->off, off);
	assert_int_equal(s->size, size);
	assert_int_equal(s->step, step);
	assert_int_equal(s->write, write);
}

/* -- Marks ----------------------------------------------------------------------------------------------- */

GUEST(multiply, 64, "1: movsd (%rcx), %xmm0; mulsd (%rsi,%rax), %xmm0; addsd (%rdx,%rax), %xmm0; movsd %xmm0, (%rdx,%rax);"
		    "add $8, %rax; cmp $0x600, %rax; jne 1b; hlt");

static void test_streams(void **state)
{
	const struct bt_loop *l = &TRANSLATED(multiply)->loop;

	assert_int_equal(l->n, 7);
	assert_int_equal(l->n_streams, 3);
	check_stream(&l->stream[0], R_CX, BT_PLAN_NONE, R_CX, 0, 8, 0, false);
	check_stream(&l->stream[1], R_SI, R_AX, R_SI, 0, 8, 8, false);
	check_stream(&l->stream[2], R_DX, R_AX, R_DX, 0, 8, 8, true);
	assert_int_equal(l->counter, T0);
	assert_int_equal(l->of[3], 2);
	assert_int_equal(l->of[4], -1);
}

GUEST(pointers, 64, "1: mov 8(%rsi), %rax; add $-16, %rsi; mov %rax, 12(%rsi); lea 4(%rdi), %rdi; mov (%rdi,%rbx,4), %eax;"
		    "sub $2, %rbx; cmp %r8, %rax; jne 1b; hlt");

/* Offsets and steps count from the loop's beginning; an access that is half behind a step is of the same stream. */
static void test_steps(void **state)
{
	const struct bt_loop *l = &TRANSLATED(pointers)->loop;

	assert_int_equal(l->n_streams, 2);
	check_stream(&l->stream[0], R_SI, BT_PLAN_NONE, R_SI, -4, 20, -16, true);
	check_stream(&l->stream[1], R_DI, R_BX, R_DI, 4, 4, -4, false);
}

GUEST(compared, 64, "1: add (%rsi), %rax; mov %rax, (%rdi); add $8, %rsi; add $8, %rdi; cmp %rdi, %r8; jne 1b; hlt");
GUEST(compared_r11, 64, "1: add (%rsi), %r11; mov %r11, (%rdi); add $8, %rsi; add $8, %rdi; cmp %rdi, %r8; jne 1b; hlt");
GUEST(stolen, 64, "1: mov (%r10), %rax; mov %rax, (%r11,%rcx); add $8, %r10; add $8, %rcx; cmp %rcx, %r8; jne 1b; hlt");

/* A register that is compared takes no addend: one such stream goes by T1. */
static void test_carriers(void **state)
{
	const struct bt_loop *l = &TRANSLATED(compared)->loop;

	assert_int_equal(l->n_streams, 2);
	check_stream(&l->stream[1], R_DI, BT_PLAN_NONE, T1, 0, 8, 8, true);
	assert_int_equal(TRANSLATED(compared_r11)->loop.n, 0);
	l = &TRANSLATED(stolen)->loop;
	assert_int_equal(l->n, 6);
	assert_true(l->stolen[0] && l->stolen[1]);
	assert_int_equal(l->counter, BT_PLAN_NONE);
	assert_int_equal(l->stream[0].carrier, R_10);
	assert_int_equal(l->stream[1].carrier, R_11);
}

GUEST(flags_live, 64, "1: mov (%rsi), %rax; jc 2f; add $8, %rsi; cmp %r8, %rax; jne 1b; 2: hlt");
GUEST(carry_kept, 64, "1: mov (%rsi), %rax; dec %edx; jnz 1b; hlt");
GUEST(flags_of_step, 64, "1: mov %al, (%r11); add %r8, %r9; sub $8, %r11; jnz 1b; hlt");
GUEST(loaded, 64, "1: mov (%rsi), %rsi; test %rsi, %rsi; jne 1b; hlt");
GUEST(of_32_bits, 64, "1: mov (%rsi), %rax; add $8, %esi; cmp %r8, %rax; jne 1b; hlt");
GUEST(two_indexes, 64, "1: mov (%rsi,%rax,2), %cl; mov %cl, (%rsi,%rdx,2); add $1, %rax; add $2, %rdx; cmp %rax, %r8; jne 1b; hlt");
GUEST(large_step, 64, "1: add %rcx, (%rsi); add $2048, %rsi; cmp %rcx, %r8; jne 1b; hlt");
GUEST(wide_span, 64, "1: mov (%rsi), %rcx; add %rcx, 2048(%rsi); add $8, %rsi; cmp %rcx, %r8; jne 1b; hlt");
GUEST(by_segment, 64, "1: mov %gs:(%rsi), %rcx; add $8, %rsi; cmp %rcx, %r8; jne 1b; hlt");
GUEST(by_rip, 64, "1: mov 1b(%rip), %rcx; add $8, %rsi; cmp %rcx, %r8; jne 1b; hlt");
GUEST(with_push, 64, "1: mov (%rsi), %rcx; push %rcx; add $8, %rsi; cmp %rcx, %r8; jne 1b; hlt");
GUEST(with_port, 64, "1: mov (%rsi), %eax; out %al, %dx; add $8, %rsi; cmp %rcx, %r8; jne 1b; hlt");
GUEST(with_x87, 64, "1: mov (%rsi), %eax; fnop; add $8, %rsi; cmp %rcx, %r8; jne 1b; hlt");
GUEST(moves_rsp, 64, "1: mov (%rsp), %eax; add $8, %rsp; cmp %rax, %r8; jne 1b; hlt");
GUEST(no_access, 64, "1: add $8, %rsi; cmp %rcx, %rsi; jne 1b; hlt");
GUEST(forward, 64, "1: mov (%rsi), %eax; cmp %rax, %r8; jne 2f; nop; 2: hlt");

static void test_none(void **state)
{
	static const struct {
		const char *what;
		const unsigned char *code, *end;
	} cases[] = {
#define NONE(name) { #name, name, name##_end }
		NONE(flags_live), NONE(carry_kept), NONE(flags_of_step), NONE(loaded), NONE(of_32_bits), NONE(two_indexes), NONE(large_step),
		NONE(wide_span), NONE(by_segment), NONE(by_rip), NONE(with_push), NONE(with_port), NONE(with_x87), NONE(moves_rsp), NONE(no_access),
		NONE(forward),
	};

	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		const struct translation *tr = translated(cases[n].code, cases[n].end);

		if (tr->loop.n || tr->b->loop_entry)
			print_error("%s has a second form\n", cases[n].what);
		assert_true(!tr->loop.n && !tr->b->loop_entry && !tr->b->loop_insns);
	}
}

/* Neither in another form, nor where jumps are not chained. */
static void test_other_forms(void **state)
{
	struct bt_mode mode = passes_mode();

	TRANSLATED(multiply);
	mode.form = FORM_UNGROUPED;
	assert_int_equal(passes_translate(bt, TINY_CODE, TINY_CODE, mode)->loop.n, 0);
	tiny_put(t, TINY_CODE + PAGE_SIZE - 14, multiply, (size_t)(multiply_end - multiply));
	assert_int_equal(passes_translate(bt, TINY_CODE + PAGE_SIZE - 14, TINY_CODE + PAGE_SIZE - 14, passes_mode())->loop.n, 0);
}

/* -- Code -------------------------------------------------------------------------------------------------- */

/* The body is the guest's own bytes, one behind the other, and has a map of its own. */
static void test_body(void **state)
{
	const struct translation *tr = TRANSLATED(multiply);
	const struct bt_block *b = tr->b;
	const struct bt_map *m = &bt->cache->map[b->map + b->insns];
	size_t len = (size_t)(multiply_end - multiply) - 3; /* without jne and hlt */

	assert_int_equal(b->insns, 8);
	assert_int_equal(b->loop_insns, 7);
	assert_memory_equal(bt_rw(bt->cache, m->host), multiply, len);
	assert_int_equal(m[6].host, m->host + len);
	for (unsigned n = 0; n < 7; n++) {
		assert_int_equal(m[n].rip_off, tr->insn[n].rip - TINY_CODE);
		assert_ptr_equal(bt_map_at(bt->cache, m[n].host), &m[n]);
	}
	assert_true(b->loop_entry > bt->cache->map[b->map + 7].host && b->loop_body > b->loop_entry && m->host > b->loop_body);
	assert_true(b->loop_fault > m[6].host && b->loop_fault < b->end);
	/* Three checks, each with one way to the block's own code, before it. */
	assert_int_equal(passes_count(tr, b->loop_body, m->host, ZYDIS_MNEMONIC_RORX), 3);
	assert_int_equal(passes_count(tr, b->loop_body, m->host, ZYDIS_MNEMONIC_JNBE), 3);
	assert_int_equal(passes_count(tr, b->loop_body, m->host, ZYDIS_MNEMONIC_CMOVNBE), 2);
}

/* The jumps back are chained to the second form, others that lead to the block are not. */
static void test_chain(void **state)
{
	const struct translation *tr = TRANSLATED(multiply);
	unsigned into = 0, polls = 0;

	for (unsigned n = 0; n < tr->n_stubs; n++) {
		const struct bt_site *s = &tr->stub[n].site;

		if (s->kind == SITE_LOOKUP)
			assert_int_equal(s->sub, s->rip == TINY_CODE);
		into += s->kind == SITE_LOOKUP && s->sub;
		polls += s->kind == SITE_POLL && s->sub && s->rip == TINY_CODE;
	}
	assert_int_equal(into, 2);
	assert_int_equal(polls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams), cmocka_unit_test(test_steps), cmocka_unit_test(test_carriers), cmocka_unit_test(test_none),
		cmocka_unit_test(test_other_forms), cmocka_unit_test(test_body), cmocka_unit_test(test_chain),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
