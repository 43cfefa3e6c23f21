/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the translator keeps: re-encoded instructions of old modes, TLBs and windows, blocks in the cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/bt/jumps.h"
#include "cpu/bt/legacy.h"
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

/* -- legacy_encode.c ---------------------------------------------------------------------------------------- */

#define B(text) (const uint8_t *)(text), sizeof(text) - 1

/* Of 32- or 16-bit code, what comes out is the same mnemonic with registers of the same width in 64-bit mode. */
static void test_legacy_encode(void **state)
{
	static const struct {
		const char *what;
		const uint8_t *bytes;
		unsigned len;
		enum bt_code_size size;
		const uint8_t *out;
		unsigned out_len;
	} cases[] = {
		{ "inc eax", B("\x40"), CODE_32, B("\xff\xc0") },
		{ "dec di", B("\x66\x4f"), CODE_32, B("\x66\xff\xcf") },
		{ "inc ax", B("\x40"), CODE_16, B("\x66\xff\xc0") },
		{ "dec edi", B("\x66\x4f"), CODE_16, B("\xff\xcf") },
		{ "add eax, ebx", B("\x01\xd8"), CODE_32, B("\x01\xd8") },
		{ "add ax, bx", B("\x01\xd8"), CODE_16, B("\x66\x01\xd8") },
		{ "add eax, imm32", B("\x66\x05\x78\x56\x34\x12"), CODE_16, B("\x05\x78\x56\x34\x12") },
		{ "mov ax, imm16", B("\xb8\x34\x12"), CODE_16, B("\x66\xb8\x34\x12") },
		{ "es: add eax, ebx", B("\x26\x01\xd8"), CODE_32, B("\x01\xd8") },
		{ "add cl, 5 by 82", B("\x82\xc1\x05"), CODE_32, B("\x80\xc1\x05") },
		{ "movzx eax, bx", B("\x0f\xb7\xc3"), CODE_32, B("\x0f\xb7\xc3") },
		{ "paddd xmm0, xmm1", B("\x66\x0f\xfe\xc1"), CODE_32, B("\x66\x0f\xfe\xc1") },
		{ "popcnt eax, ebx", B("\xf3\x0f\xb8\xc3"), CODE_32, B("\xf3\x0f\xb8\xc3") },
	};
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction i;
	struct bt_insn in;

	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		memset(&in, 0, sizeof(in));
		memcpy(in.bytes, cases[n].bytes, cases[n].len);
		assert_true(bt_decode(NULL, &bt->cache->decoder[cases[n].size], in.bytes, cases[n].len, &in.i, in.op));
		in.n_bytes = in.i.length;
		in.fpu = in.i.mnemonic == ZYDIS_MNEMONIC_PADDD;
		bt_legacy_encode(&in);
		if (in.n_bytes != cases[n].out_len || memcmp(in.bytes, cases[n].out, in.n_bytes))
			print_error("%s\n", cases[n].what);
		assert_int_equal(in.n_bytes, cases[n].out_len);
		assert_memory_equal(in.bytes, cases[n].out, in.n_bytes);
		assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&bt->cache->decoder[CODE_64], in.bytes, in.n_bytes, &i, op)));
		assert_int_equal(i.mnemonic, in.i.mnemonic);
		assert_int_equal(i.length, in.n_bytes);
		for (unsigned k = 0; k < in.i.operand_count_visible; k++)
			if (in.op[k].type == ZYDIS_OPERAND_TYPE_REGISTER)
				assert_int_equal(op[k].reg.value, in.op[k].reg.value);
	}
}

/* -- tlb.c, window.c -------------------------------------------------------------------------------------------- */

#define LA (TINY_HIGH + 0x3000)
#define PT_G BIT(8) /* global: SDM vol. 3, table 4-20 */

static unsigned slot(uint64_t la)
{
	return (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1);
}

/* The user's entry in the window that is open, or the kernel's. */
static bool is_in(enum mmu_mode mode, uint64_t la, bool write)
{
	const struct bt *view = mode == MMU_KERNEL ? bt : bt->current->view;

	return view->tlb[mode].tag[write][slot(la)] == (la & PAGE_MASK);
}

static void fill(enum mmu_mode mode, uint64_t la, bool write)
{
	uint32_t err = 0;

	assert_int_equal(bt_tlb_fill(bt, la, 8, write, mode, &err), BT_FILLED);
	assert_true(is_in(mode, la, write));
}

static void test_fill(void **state)
{
	uint32_t err = 0;

	bt_tlb_flush(bt);
	assert_false(is_in(MMU_USER, LA, false));
	fill(MMU_USER, LA + 0x123, false);
	assert_false(is_in(MMU_USER, LA, true)); /* a read says nothing about writes */
	assert_ptr_equal((uint8_t *)bt->current->view->tlb[MMU_USER].host[slot(LA)], t->ram->base + LA);
	fill(MMU_USER, LA, true);
	assert_true(is_in(MMU_USER, LA, false));
	assert_int_equal(bt_tlb_fill(bt, LA + PAGE_SIZE - 4, 8, false, MMU_USER, &err), BT_NOT_PLAIN);
	assert_int_equal(bt_tlb_fill(bt, TINY_MMIO, 4, false, MMU_KERNEL, &err), BT_NOT_PLAIN);
	assert_int_equal(bt_tlb_fill(bt, 1ull << 63, 8, false, MMU_KERNEL, &err), BT_NOT_PLAIN);
	assert_int_equal(bt_tlb_fill(bt, 1ull << 30, 8, true, MMU_USER, &err), BT_PAGE_FAULT);
	assert_int_equal(err, 6); /* a write by the user, not present */
}

static void test_flush_page(void **state)
{
	bt_tlb_flush(bt);
	bt_tlb_catch_up(bt);
	fill(MMU_USER, LA, false);
	fill(MMU_KERNEL, LA, true);
	fill(MMU_USER, LA + PAGE_SIZE, false);
	tlb_flush_page(t->v->tlb, LA);
	bt_tlb_catch_up(bt);
	assert_false(is_in(MMU_USER, LA, false));
	assert_false(is_in(MMU_KERNEL, LA, true));
	assert_true(is_in(MMU_USER, LA + PAGE_SIZE, false));
}

/* What a PCID has stays while others run, and goes when it is flushed by name. */
static void test_pcids(void **state)
{
	bt_tlb_flush(bt);
	bt_tlb_catch_up(bt);
	bt_window_open(bt, 5);
	fill(MMU_USER, LA, false);
	bt_window_open(bt, 6);
	assert_false(is_in(MMU_USER, LA, false));
	fill(MMU_USER, LA + PAGE_SIZE, false);
	bt_window_open(bt, 5);
	assert_true(is_in(MMU_USER, LA, false));
	assert_false(is_in(MMU_USER, LA + PAGE_SIZE, false));
	t->v->tlb->pcid = 5;
	tlb_flush_nonglobal(t->v->tlb, 6);
	bt_tlb_catch_up(bt);
	assert_true(is_in(MMU_USER, LA, false));
	bt_window_open(bt, 6);
	assert_false(is_in(MMU_USER, LA + PAGE_SIZE, false));
	/* More PCIDs than windows: the one that was used the longest time ago has gone. */
	for (uint16_t pcid = 10; pcid < 10 + BT_WINDOWS; pcid++)
		bt_window_open(bt, pcid);
	assert_null(bt_window_find(bt, 5));
	assert_non_null(bt_window_find(bt, 10 + BT_WINDOWS - 1));
	t->v->tlb->pcid = 0;
	bt_window_open(bt, 0);
}

static void test_global(void **state)
{
	uint64_t cr4 = t->v->s.cr4;

	t->v->s.cr4 |= CR4_PGE;
	tiny_set_pte(t, LA, tiny_pte(t, LA) | PT_G);
	bt_tlb_flush(bt);
	bt_tlb_catch_up(bt);
	fill(MMU_KERNEL, LA, false);
	fill(MMU_KERNEL, LA + PAGE_SIZE, false);
	bt_set_flush(bt, &bt->set[BT_KERNEL_SET], false);
	assert_true(is_in(MMU_KERNEL, LA, false));
	assert_false(is_in(MMU_KERNEL, LA + PAGE_SIZE, false));
	bt_set_flush(bt, &bt->set[BT_KERNEL_SET], true);
	assert_false(is_in(MMU_KERNEL, LA, false));
	tiny_set_pte(t, LA, tiny_pte(t, LA) & ~(uint64_t)PT_G);
	t->v->s.cr4 = cr4;
}

/* A page that becomes code loses its write tag, and only that. */
static void test_page_becomes_code(void **state)
{
	bt_tlb_flush(bt);
	fill(MMU_KERNEL, LA, true);
	fill(MMU_KERNEL, LA, false);
	fill(MMU_KERNEL, LA + PAGE_SIZE, true);
	ram_mark_code(t->ram, LA, 16);
	assert_true(atomic_load(&bt->drop_writes));
	bt_tlb_drop_writes(bt);
	assert_false(is_in(MMU_KERNEL, LA, true));
	assert_true(is_in(MMU_KERNEL, LA, false));
	assert_true(is_in(MMU_KERNEL, LA + PAGE_SIZE, true));
}

/* -- cache.c -------------------------------------------------------------------------------------------------------- */

static const uint8_t ret_code[] = { 0x90, 0xc3 };

static struct bt_block *find(uint64_t la)
{
	return bt_block_find(bt, la, la, BT_NO_PAGE, passes_mode());
}

static struct bt_block *make(uint64_t la)
{
	tiny_put(t, la, ret_code, sizeof(ret_code));
	return passes_translate(bt, la, la, passes_mode())->b;
}

static void flush_cache(void)
{
	lock_take(&bt->cache->lock);
	bt_cache_flush(bt);
	lock_drop(&bt->cache->lock);
}

static void test_look_up(void **state)
{
	struct bt_mode other = passes_mode();
	struct bt_block *b = make(LA);

	assert_ptr_equal(find(LA), b);
	assert_null(find(LA + 1));
	assert_null(bt_block_find(bt, LA, LA + PAGE_SIZE, BT_NO_PAGE, passes_mode())); /* another page behind it */
	other.fpu = FPU_NONE;
	assert_null(bt_block_find(bt, LA, LA, BT_NO_PAGE, other));
	assert_ptr_equal(bt_block_at(bt->cache, b->entry), b);
	assert_ptr_equal(bt_block_at(bt->cache, b->end - 1), b);
	assert_ptr_not_equal(bt_block_at(bt->cache, b->end), b);
	assert_int_equal(bt_map_at(bt->cache, bt->cache->map[b->map + 1].host)->rip_off, 1);
}

/* A store into the block's piece of the page drops it; one beside it does not. */
static void test_drop_by_piece(void **state)
{
	struct bt_block *b;

	flush_cache();
	b = make(LA);
	assert_ptr_equal(find(LA), b);
	tiny_poke(t, LA + 8 * RAM_GRANULE, 8, 1);
	bt_drop_stale(bt);
	assert_ptr_equal(find(LA), b);
	assert_true(bt_block_current(bt, b));
	tiny_poke(t, LA + 1, 1, 0xcc);
	assert_null(find(LA));
	bt_drop_stale(bt);
	assert_false(b->valid);
	assert_null(bt_block_wake(bt, LA, LA, passes_mode()));
	/* The same bytes again: it is put back to work. */
	tiny_poke(t, LA + 1, 1, ret_code[1]);
	bt_drop_stale(bt);
	assert_ptr_equal(bt_block_wake(bt, LA, LA, passes_mode()), b);
	assert_ptr_equal(find(LA), b);
}

static void test_chain_and_drop(void **state)
{
	static const uint8_t jmp[] = { 0xeb, 0xee }; /* at LA + 16, to LA */
	struct bt_block *to;
	const struct bt_site *s = NULL;
	struct translation *tr;
	int32_t before, after;

	flush_cache();
	to = make(LA);
	tiny_put(t, LA + 16, jmp, sizeof(jmp));
	tr = passes_translate(bt, LA + 16, LA + 16, passes_mode());
	for (unsigned n = 0; n < tr->n_stubs; n++)
		if (tr->stub[n].site.kind == SITE_LOOKUP)
			s = (const struct bt_site *)(uintptr_t)((n + 1 < tr->n_stubs ? tr->stub[n + 1].start : tr->b->end) -
								sizeof(struct bt_site));
	assert_non_null(s);
	memcpy(&before, bt_rw(bt->cache, s->patch), 4);
	assert_int_equal(s->patch + 4 + (uint32_t)before, s->stub);
	bt_chain(bt, s, to);
	memcpy(&after, bt_rw(bt->cache, s->patch), 4);
	assert_int_equal(s->patch + 4 + (uint32_t)after, s->parked ? to->entry : to->flags_entry);
	tiny_poke(t, LA, 1, 0xf4);
	bt_drop_stale(bt);
	memcpy(&after, bt_rw(bt->cache, s->patch), 4);
	assert_int_equal(after, before);
}

/* -- jumps.c -------------------------------------------------------------------------------------------------------- */

static bool in_first(const struct bt_block *b)
{
	return bt->jc[MMU_KERNEL][bt_jc_index(b->la)] == b->ientry;
}

static unsigned in_second(const struct bt_block *b)
{
	const struct bt_jc_second *at = &bt->second[MMU_KERNEL][bt_jc_second_index(b->la)];
	unsigned n = 0;

	for (unsigned k = 0; k < BT_JC_WAYS; k++)
		n += at[k].la == b->la && at[k].host == b->ientry;
	return n;
}

/* Of a set's two kinds of pages one is flushed, or a page; a block that is entered again has one place still. */
static void test_jump_places(void **state)
{
	struct bt_set *set = &bt->set[BT_KERNEL_SET];
	struct bt_block *global, *local;

	flush_cache();
	bt_jc_clear(bt);
	global = make(LA);
	local = make(LA + PAGE_SIZE);
	for (unsigned n = 0; n < 3; n++) {
		bt_jc_set(bt, global, true);
		bt_jc_set(bt, local, false);
	}
	assert_true(in_first(global) && in_first(local));
	assert_int_equal(in_second(global) + in_second(local), 2);
	bt_jc_flush(bt, set, false);
	assert_true(in_first(global) && !in_first(local));
	assert_true(in_second(global) && !in_second(local));
	bt_jc_set(bt, local, false);
	bt_jc_flush_page(bt, set, LA + 8);
	assert_true(!in_first(global) && !in_second(global) && in_second(local));
	bt_jc_set(bt, global, true);
	bt_jc_flush(bt, set, true);
	assert_false(in_first(global) || in_second(global) || in_second(local));
	assert_int_equal(bt->jc[MMU_KERNEL][bt_jc_index(LA)], bt->cache->second_stub[MMU_KERNEL]);
	assert_int_equal(set->jc[0].n + set->jc[1].n, 0);
}

/* Code may have put another target back into a place that both kinds of pages have used: it goes with either. */
static void test_mixed_place(void **state)
{
	struct bt_block *global = make(LA), *local = make(LA + 0xffff);

	assert_int_equal(bt_jc_index(global->la), bt_jc_index(local->la));
	bt_jc_clear(bt);
	bt_jc_set(bt, local, false);
	bt_jc_set(bt, global, true);
	bt->jc[MMU_KERNEL][bt_jc_index(LA)] = local->ientry; /* as the stub does */
	bt_jc_flush(bt, &bt->set[BT_KERNEL_SET], false);
	assert_false(in_first(local) || in_second(local));
	assert_int_equal(in_second(global), 1);
	bt_jc_clear(bt);
}

/* -- cache.c, again: the generation ---------------------------------------------------------------------------------- */

static void test_generation(void **state)
{
	uint32_t generation = atomic_load(&bt->cache->generation);
	struct bt_block *b = make(LA);

	bt_jc_set(bt, b, false);
	assert_int_equal(bt->jc[bt_jc_set_of(&b->mode)][bt_jc_index(LA)], b->ientry);
	flush_cache();
	assert_int_equal(atomic_load(&bt->cache->generation), generation + 1);
	assert_null(find(LA));
	assert_int_equal(bt->cache->code_used, bt->cache->code_base_used);
	atomic_store(&bt->drop_writes, false);
	atomic_store(&bt->check_pages, false);
	assert_true(bt_join(bt)); /* on the way inside the jump caches are found void */
	bt_leave(bt);
	assert_int_equal(bt->generation, generation + 1);
	assert_int_equal(bt->jc[MMU_KERNEL][bt_jc_index(LA)], bt->cache->second_stub[MMU_KERNEL]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_legacy_encode),
		cmocka_unit_test(test_fill),
		cmocka_unit_test(test_flush_page),
		cmocka_unit_test(test_pcids),
		cmocka_unit_test(test_global),
		cmocka_unit_test(test_page_becomes_code),
		cmocka_unit_test(test_look_up),
		cmocka_unit_test(test_drop_by_piece),
		cmocka_unit_test(test_chain_and_drop),
		cmocka_unit_test(test_jump_places),
		cmocka_unit_test(test_mixed_place),
		cmocka_unit_test(test_generation),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
