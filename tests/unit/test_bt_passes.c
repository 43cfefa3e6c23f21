/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each pass of the translator, on its output: classes, liveness, the plan of accesses, flow, and where flags are parked. */
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

/* -- classify.c --------------------------------------------------------------------------------------------- */

#define B(text) (const uint8_t *)(text), sizeof(text) - 1

static void test_classes(void **state)
{
	static const struct {
		const char *what;
		const uint8_t *bytes;
		unsigned len;
		uint8_t cls;
	} cases[] = {
		{ "add rax, rbx", B("\x48\x01\xd8"), BT_COPY },
		{ "lea rax, [rbx + 16]", B("\x48\x8d\x43\x10"), BT_COPY },
		{ "rdtsc", B("\x0f\x31"), BT_COPY },
		{ "mov rax, [rbx]", B("\x48\x8b\x03"), BT_MEMORY },
		{ "lock xadd [rbx], eax", B("\xf0\x0f\xc1\x03"), BT_MEMORY },
		{ "movaps xmm0, [rbx]", B("\x0f\x28\x03"), BT_MEMORY },
		{ "lea rax, [rip + 16]", B("\x48\x8d\x05\x10\0\0\0"), BT_LEA },
		{ "nop", B("\x90"), BT_NOP },
		{ "prefetcht0 [rbx]", B("\x0f\x18\x0b"), BT_NOP },
		{ "push rbp", B("\x55"), BT_PUSH },
		{ "push [rbx]", B("\xff\x33"), BT_PUSH },
		{ "pop r10", B("\x41\x5a"), BT_POP },
		{ "leave", B("\xc9"), BT_LEAVE },
		{ "jz", B("\x74\x05"), BT_JCC },
		{ "loop", B("\xe2\x05"), BT_JCC },
		{ "jmp rel8", B("\xeb\x05"), BT_JMP },
		{ "call rel32", B("\xe8\x10\0\0\0"), BT_CALL },
		{ "jmp rax", B("\xff\xe0"), BT_JMP_IND },
		{ "call [rbx]", B("\xff\x13"), BT_CALL_IND },
		{ "ret 8", B("\xc2\x08\0"), BT_RET },
		{ "iretq", B("\x48\xcf"), BT_SYSTEM_END },
		/* What must go to the reference */
		{ "retf", B("\xcb"), BT_INTERP },
		{ "jmp far [rbx]", B("\xff\x2b"), BT_INTERP },
		{ "call rel32 with 66", B("\x66\xe8\x10\0\0\0"), BT_INTERP },
		{ "ud2", B("\x0f\x0b"), BT_INTERP },
		{ "xlat", B("\xd7"), BT_INTERP },
		{ "enter", B("\xc8\x08\0\0"), BT_INTERP },
		{ "hlt", B("\xf4"), BT_INTERP },
		{ "mov [rbx], ah", B("\x88\x23"), BT_INTERP },
		{ "pop [rbx]", B("\x8f\x03"), BT_INTERP },
		{ "prefetch of a register", B("\x0f\x0d\xc0"), BT_INTERP },
		{ "fld dword [rbx]", B("\xd9\x03"), BT_INTERP_FPU },
		{ "maskmovdqu", B("\x66\x0f\xf7\xc1"), BT_INTERP_FPU },
		{ "fxsave [rbx]", B("\x0f\xae\x03"), BT_INTERP_FPU },
	};
	struct bt_insn in;

	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		passes_decode(bt, cases[n].bytes, cases[n].len, TINY_CODE, &in);
		if (in.cls != cases[n].cls)
			print_error("%s: class %u, not %u\n", cases[n].what, in.cls, cases[n].cls);
		assert_int_equal(in.cls, cases[n].cls);
		assert_int_equal(bt_ends_block(&in), (in.cls >= BT_JMP && in.cls <= BT_RET) || in.cls == BT_SYSTEM_END ||
							     in.cls == BT_INLINE_END || in.cls >= BT_INTERP);
	}
}

/* The stolen registers as data operands. */
static void test_stolen_registers(void **state)
{
	static const struct {
		const uint8_t *bytes;
		unsigned len;
		uint8_t uses[2], defs[2];
	} cases[] = {
		{ B("\x4d\x89\xd3"), { 1, 0 }, { 0, 1 } },     /* mov r11, r10 */
		{ B("\x41\x88\xc2"), { 1, 0 }, { 1, 0 } },     /* mov r10b, al: the rest stays */
		{ B("\x41\x89\xc2"), { 0, 0 }, { 1, 0 } },     /* mov r10d, eax: the rest becomes zero */
		{ B("\x4c\x0f\x44\xd8"), { 0, 1 }, { 0, 1 } }, /* cmovz r11, rax: may stay */
		{ B("\x4c\x0f\xbc\xd8"), { 0, 1 }, { 0, 1 } }, /* bsf r11, rax: may stay */
		{ B("\x4d\x8b\x1a"), { 0, 0 }, { 0, 1 } },     /* mov r11, [r10]: an address is no data */
		{ B("\x48\x01\xd8"), { 0, 0 }, { 0, 0 } },     /* add rax, rbx */
	};
	struct bt_insn in;

	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		passes_decode(bt, cases[n].bytes, cases[n].len, TINY_CODE, &in);
		assert_memory_equal(in.uses, cases[n].uses, 2);
		assert_memory_equal(in.defs, cases[n].defs, 2);
	}
}

/* -- liveness.c ----------------------------------------------------------------------------------------------- */

#define CODE(text) translate((const uint8_t *)(text), sizeof(text) - 1)

/* Put it into a page that is otherwise HLT, and translate what begins at `from`. */
static struct translation *translate_from(const uint8_t *code, size_t len, unsigned from)
{
	uint8_t page[PAGE_SIZE];

	memset(page, 0xf4, sizeof(page));
	memcpy(page, code, len);
	tiny_put(t, TINY_CODE, page, sizeof(page));
	return passes_translate(bt, TINY_CODE + from, TINY_CODE + from, passes_mode());
}

static struct translation *translate(const uint8_t *code, size_t len)
{
	return translate_from(code, len, 0);
}

/* want: '1' for each instruction before which flags matter. */
static void check_live(const struct translation *tr, const char *want)
{
	assert_int_equal(tr->n, strlen(want));
	for (unsigned n = 0; n < tr->n; n++)
		if (tr->insn[n].flags_live != (want[n] == '1'))
			fail_msg("[%u]: flags are %s, expected %s", n, tr->insn[n].flags_live ? "live" : "dead", want);
}

static void test_liveness_in_block(void **state)
{
	/* mov; add; jz; hlt: what ADD sets is read by JZ, and HLT's flags are unknown */
	check_live(CODE("\x48\x89\xc3\x48\x01\xd8\x74\x10\xf4"), "0011");
	/* inc leaves CF: alive before it, for adc behind */
	check_live(CODE("\x48\xff\xc0\x48\x11\xd8\x48\x01\xd8\xf4"), "1101");
	/* shl by 0 may keep all; by 1 does not */
	check_live(CODE("\x48\xd3\xe0\xf4"), "11");
	check_live(CODE("\x48\xd1\xe0\xf4"), "01");
	/* cmp [rbx], eax may fault: what it sets is dead before it all the same */
	check_live(CODE("\x39\x03\x48\x01\xd8\xf4"), "001");
	/* clc writes one flag only */
	check_live(CODE("\xf8\xf4"), "11");
}

static void test_liveness_behind_block(void **state)
{
	/* add; hlt; and jmp back to them: nothing reads them there */
	check_live(translate_from(B("\x48\x01\xd8\xf4\xeb\xfa"), 4), "0");
	/* back to adc */
	check_live(translate_from(B("\x48\x11\xd8\xf4\xeb\xfa"), 4), "1");
	/* jmp into another page: all are live */
	check_live(CODE("\xe9\xfb\x0f\0\0"), "1");
	/* jz over adc; add on both ways: dead at the end, live for JZ */
	check_live(CODE("\x74\x03\x90\x90\x90\x48\x01\xd8\xf4"), "100001");
	/* ret: where it goes is not known */
	check_live(CODE("\xc3"), "1");
}

static void test_liveness_without_peek(void **state)
{
	struct bt_insn in;

	passes_decode(bt, B("\xeb\x02"), TINY_CODE, &in);
	bt_flag_liveness(&in, 1, NULL);
	assert_true(in.flags_live);
	assert_int_not_equal(bt_flags_live_at(NULL, TINY_CODE), 0);
}

/* -- plan.c, group.c, access.c ------------------------------------------------------------------------------------ */

static void test_groups(void **state)
{
	/* mov rax, [rbx]; mov rcx, [rbx + 8]; mov [rbx + 16], rax; hlt */
	struct translation *tr = CODE("\x48\x8b\x03\x48\x8b\x4b\x08\x48\x89\x43\x10\xf4");
	const struct bt_plan *p = &tr->plan;

	assert_int_equal(p->n_groups, 1);
	assert_int_equal(p->group[0].members, 3);
	assert_int_equal(p->group[0].size, 24);
	assert_true(p->group[0].write);
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(p->at[n].group, 0);
	/* one look-up for all three, by RORX */
	assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_RORX), 1);
}

static void test_no_group(void **state)
{
	/* mov rax, [rbx]; mov rcx, [rdi]: roots differ */
	struct translation *tr = CODE("\x48\x8b\x03\x48\x8b\x0f\xf4");

	assert_int_equal(tr->plan.at[0].group, BT_NO_GROUP);
	assert_int_equal(tr->plan.at[1].group, BT_NO_GROUP);
	assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_RORX), 2);
	/* [rbx] and [rbx + 0x400]: too far apart */
	tr = CODE("\x48\x8b\x03\x48\x8b\x8b\0\x04\0\0\xf4");
	assert_true(tr->plan.at[0].group == BT_NO_GROUP || tr->plan.at[0].group != tr->plan.at[1].group);
	/* xor rbx, rcx between: it is another address */
	tr = CODE("\x48\x8b\x03\x48\x31\xcb\x48\x8b\x0b\xf4");
	assert_true(tr->plan.at[0].group == BT_NO_GROUP || tr->plan.at[0].group != tr->plan.at[2].group);
	/* fs: has a base of its own */
	tr = CODE("\x64\x48\x8b\x03\x64\x48\x8b\x4b\x08\xf4");
	assert_int_equal(tr->plan.n_groups, 0);
}

/* The address is followed through additions of constants, copies and pushes. */
static void test_known_distances(void **state)
{
	/* mov rax, [rbx]; add rbx, 32; mov rcx, [rbx - 8] */
	struct translation *tr = CODE("\x48\x8b\x03\x48\x83\xc3\x20\x48\x8b\x4b\xf8\xf4");

	assert_int_equal(tr->plan.n_groups, 1);
	assert_int_equal(tr->plan.group[0].size, 32);
	/* push rax; push rcx; pop rdx: one check of 16 bytes below RSP */
	tr = CODE("\x50\x51\x5a\xf4");
	assert_int_equal(tr->plan.n_groups, 1);
	assert_int_equal(tr->plan.group[0].members, 3);
	assert_int_equal(tr->plan.group[0].size, 16);
	/* mov rdi, rbx; mov rax, [rbx]; mov rcx, [rdi + 8] */
	tr = CODE("\x48\x89\xdf\x48\x8b\x03\x48\x8b\x4f\x08\xf4");
	assert_int_equal(tr->plan.at[1].group, tr->plan.at[2].group);
}

/* -- plan.c, anchor.c: the stack window -------------------------------------------------------------------------- */

#define USER_CODE(text) translate_user((const uint8_t *)(text), sizeof(text) - 1)

/* For user code that relies on the stack window. */
static struct translation *translate_user(const uint8_t *code, size_t len)
{
	struct bt_mode mode = passes_mode();
	uint8_t page[PAGE_SIZE];

	memset(page, 0xf4, sizeof(page));
	memcpy(page, code, len);
	tiny_put(t, TINY_CODE, page, sizeof(page));
	mode.mmu = MMU_USER;
	mode.ring0 = 0;
	mode.stack = 1;
	return passes_translate(bt, TINY_CODE, TINY_CODE, mode);
}

/* Before which instructions RSP is probed (p), behind which it is verified (v), and which access goes by the window (w). */
static void check_stack(const struct translation *tr, const char *want)
{
	assert_int_equal(tr->n, strlen(want));
	for (unsigned n = 0; n < tr->n; n++) {
		const bool window = tr->plan.at[n].group == BT_STACK_GROUP;
		const char is = tr->plan.at[n].probe ? 'p' : tr->plan.at[n].verify ? 'v' : window ? 'w' : '-';

		if (is != want[n])
			fail_msg("[%u] is %c, expected %s", n, is, want);
	}
}

static void test_stack_window(void **state)
{
	/* push rbx; mov [rsp+8], rax; pop rbx; ret: no look-up at all but the return's in the jump cache */
	struct translation *tr = USER_CODE("\x53\x48\x89\x44\x24\x08\x5b\xc3");

	check_stack(tr, "wwww");
	assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_PEXT), 0);
	assert_int_equal(tr->n_stubs, 1); /* the poll's */
	/* mov rbp, rsp; mov rax, [rbp-8]; mov rax, [rbx]: what is a constant from RSP, and what is not */
	check_stack(USER_CODE("\x48\x89\xe5\x48\x8b\x45\xf8\x48\x8b\x03\xf4"), "-w--");
	/* mov rax, [rsp+rcx]; mov rax, fs:[rsp] */
	check_stack(USER_CODE("\x48\x8b\x04\x0c\x64\x48\x8b\x04\x24\xf4"), "---");
	/* mov rax, [rsp+0x100000]: beyond reach */
	check_stack(USER_CODE("\x48\x8b\x84\x24\0\0\x10\0\xf4"), "--");
}

static void test_anchor(void **state)
{
	/* sub rsp, 64; hlt: loose where the block is left */
	check_stack(USER_CODE("\x48\x83\xec\x40\xf4"), "-p");
	/* sub rsp, 64; mov [rsp], rax; hlt: anchored; so is it by a push */
	check_stack(USER_CODE("\x48\x83\xec\x40\x48\x89\x04\x24\xf4"), "-w-");
	check_stack(USER_CODE("\x48\x83\xec\x40\x50\xf4"), "-w-");
	/* a prefetch, which touches nothing for sure: prefetcht0 [rsp] */
	check_stack(USER_CODE("\x48\x83\xec\x40\x0f\x18\x0c\x24\xf4"), "--p");
	/* sub rsp, 64; jz: before it, and not again behind */
	check_stack(USER_CODE("\x48\x83\xec\x40\x74\x20\xf4"), "-p-");
	/* add rsp, 8; ret: it reads there itself */
	check_stack(USER_CODE("\x48\x83\xc4\x08\xc3"), "-w");
	/* mov rsp, rbx; pop rsp; and rsp, -16; leave; sub rsp, 0x100000 */
	check_stack(USER_CODE("\x48\x89\xdc\xf4"), "v-");
	check_stack(USER_CODE("\x5c\xf4"), "v-");
	check_stack(USER_CODE("\x48\x83\xe4\xf0\xf4"), "v-");
	check_stack(USER_CODE("\xc9\xf4"), "v-");
	check_stack(USER_CODE("\x48\x81\xec\0\0\x10\0\xf4"), "v-");
	/* sub rsp, 64; lea rbx, [rdi+rdi]; group of [rbx], [rbx+8]: the block may be left at its check */
	check_stack(USER_CODE("\x48\x83\xec\x40\x48\x8d\x1c\x3f\x48\x8b\x03\x48\x8b\x4b\x08\xf4"), "--p--");
}

/* A store behind a branch is checked before it, but not so that the page becomes dirty. */
static void test_write_behind_branch(void **state)
{
	/* mov rax, [rbx]; jz; mov [rbx + 8], rax */
	struct translation *tr = CODE("\x48\x8b\x03\x74\x20\x48\x89\x43\x08\xf4");

	assert_int_equal(tr->plan.at[0].group, 0);
	assert_int_equal(tr->plan.at[2].group, 0);
	assert_true(tr->plan.group[0].write && tr->plan.group[0].perhaps);
	assert_true(tr->stub[1].site.kind == SITE_GROUP && tr->stub[1].site.masked);
	/* without the branch it is a store for sure */
	tr = CODE("\x48\x8b\x03\x90\x90\x48\x89\x43\x08\xf4");
	assert_true(tr->plan.group[0].write && !tr->plan.group[0].perhaps);
	assert_true(tr->stub[1].site.kind == SITE_GROUP && !tr->stub[1].site.masked);
	/* and so is one behind a branch if there was one before: mov [rbx], rax; jz; mov [rbx + 8], rax */
	tr = CODE("\x48\x89\x03\x74\x20\x48\x89\x43\x08\xf4");
	assert_int_equal(tr->plan.at[2].group, 0);
	assert_false(tr->plan.group[0].perhaps);
	/* a load may */
	tr = CODE("\x48\x8b\x03\x74\x20\x48\x8b\x4b\x08\xf4");
	assert_int_not_equal(tr->plan.at[0].group, BT_NO_GROUP);
	assert_int_equal(tr->plan.at[0].group, tr->plan.at[2].group);
}

/* T1 holds the addend; what destroys it between two accesses makes the second one reload it. */
static void test_addend(void **state)
{
	struct translation *tr = CODE("\x48\x8b\x03\x48\x8b\x4b\x08\xf4");

	assert_false(tr->plan.at[1].reload);
	assert_false(tr->plan.group[0].kept);
	/* mov r11, rax between them */
	tr = CODE("\x48\x8b\x03\x49\x89\xc3\x48\x8b\x4b\x08\xf4");
	assert_true(tr->plan.at[2].reload);
	assert_true(tr->plan.group[0].kept);
}

/* Checks that must not destroy flags borrow RCX, and need PEXT. */
static void test_check_keeps_flags(void **state)
{
	/* test rax, rax; mov rax, [rbx]; jz: the check stands before TEST */
	struct translation *tr = CODE("\x48\x85\xc0\x48\x8b\x03\x74\x10\xf4");

	assert_true(tr->insn[1].flags_live);
	assert_int_equal(tr->plan.at[1].group, 0);
	assert_int_equal(tr->plan.group[0].check, 0);
	assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_PEXT), 0);
	/* xor rbx, rcx; mov rax, [rbx]; jz: there it cannot, nobody knows the address */
	tr = CODE("\x48\x31\xcb\x48\x8b\x03\x74\x10\xf4");
	assert_true(tr->insn[1].flags_live);
	assert_int_equal(tr->plan.at[1].group, BT_NO_GROUP);
	assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_PEXT), 1);
}

/* What does an access look like behind its check: the operand of the last instruction but HLT. */
static const ZydisDecodedOperandMem *access_of(const struct translation *tr, ZydisMnemonic m, ZydisDecodedOperand op[])
{
	ZydisDecodedInstruction i;

	for (uint32_t at = tr->b->body; at < tr->code_end; at += i.length) {
		assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&bt->cache->decoder[CODE_64], bt_rw(bt->cache, at), 15, &i, op)));
		if (i.mnemonic != m)
			continue;
		for (unsigned n = 0; n < i.operand_count_visible; n++)
			if (op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
				return &op[n].mem;
	}
	fail_msg("it is not there");
	return NULL;
}

/* An access by a base register keeps it, if the longer instruction is one. */
static void test_keeps_base(void **state)
{
	static const struct {
		const uint8_t *bytes;
		unsigned len;
		ZydisRegister base;
		int64_t disp;
	} cases[] = {
		{ B("\x48\x03\x43\x08\xf4"), ZYDIS_REGISTER_RBX, 8 },              /* add rax, [rbx + 8] */
		{ B("\x48\x03\x85\x00\x01\x00\x00\xf4"), ZYDIS_REGISTER_RBP, 256 },  /* add rax, [rbp + 256] */
		{ B("\x48\x03\x04\x24\xf4"), ZYDIS_REGISTER_RSP, 0 },              /* add rax, [rsp] */
		{ B("\x49\x03\x42\x08\xf4"), ZYDIS_REGISTER_R10, 0 },              /* add rax, [r10 + 8] */
		{ B("\x48\x03\x44\x0b\x08\xf4"), ZYDIS_REGISTER_R10, 0 },          /* add rax, [rbx + rcx + 8] */
		{ B("\x64\x48\x03\x43\x08\xf4"), ZYDIS_REGISTER_R10, 0 },          /* add rax, fs:[rbx + 8] */
		{ B("\x67\x48\x03\x43\x08\xf4"), ZYDIS_REGISTER_R10, 0 },          /* add rax, [ebx + 8] */
		/* add qword [rbx + 256], 1 with four prefixes too many: 15 bytes */
		{ B("\x66\x66\x66\x66\x48\x81\x83\x00\x01\x00\x00\x01\x00\x00\x00\xf4"), ZYDIS_REGISTER_R10, 0 },
	};
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		const ZydisDecodedOperandMem *m = access_of(translate(cases[n].bytes, cases[n].len), ZYDIS_MNEMONIC_ADD, op);

		assert_int_equal(m->base, cases[n].base);
		assert_int_equal(m->index, ZYDIS_REGISTER_R11);
		assert_int_equal(m->disp.value, cases[n].disp);
	}
	/* two stores with as many prefixes share no check, since they could not be longer */
	assert_int_equal(CODE("\x66\x66\x66\x66\x48\xc7\x83\x00\x01\x00\x00\x01\x00\x00\x00"
			      "\x66\x66\x66\x66\x48\xc7\x83\x08\x01\x00\x00\x01\x00\x00\x00\xf4")->plan.n_groups, 0);
}

/* -- flow.c ----------------------------------------------------------------------------------------------------------- */

static const struct bt_site *site_of(const struct translation *tr, enum bt_site_kind kind, uint64_t rip)
{
	for (unsigned n = 0; n < tr->n_stubs; n++)
		if (tr->stub[n].site.kind == kind && tr->stub[n].site.rip == rip)
			return &tr->stub[n].site;
	return NULL;
}

static void test_chains(void **state)
{
	/* jz within the page, then jmp back within it: two jumps that can be patched, in one aligned quadword each */
	struct translation *tr = CODE("\x74\x10\xeb\xfe");
	const struct bt_site *taken = site_of(tr, SITE_LOOKUP, TINY_CODE + 0x12), *next = site_of(tr, SITE_LOOKUP, TINY_CODE + 2);

	assert_non_null(taken);
	assert_non_null(next);
	assert_true(taken->patch && (taken->patch & 7) <= 4);
	assert_true(next->patch && (next->patch & 7) <= 4);
	/* Behind a jump forward the block goes on: jmp +2; hlt; hlt; add; hlt */
	tr = CODE("\xeb\x02\xf4\xf4\x48\x01\xd8\xf4");
	assert_int_equal(tr->n, 3);
	assert_int_equal(tr->insn[1].rip, TINY_CODE + 4);
	/* A block that ends for its length goes on, too. */
	tr = CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90"
		  "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90");
	assert_int_equal(tr->n, BT_MAX_INSNS);
	assert_non_null(site_of(tr, SITE_LOOKUP, TINY_CODE + BT_MAX_INSNS));
}

/* Out of the page only through the jump cache; so with what is only known when it is run. */
static void test_jump_cache(void **state)
{
	static const struct {
		const uint8_t *bytes;
		unsigned len;
	} cases[] = { { B("\xe9\0\x20\0\0") }, { B("\xff\xe0") }, { B("\xc3") }, { B("\xff\xd0") } };

	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		struct translation *tr = translate(cases[n].bytes, cases[n].len);

		for (unsigned k = 0; k < tr->n_stubs; k++)
			assert_int_not_equal(tr->stub[k].site.kind, SITE_LOOKUP);
		assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_JMP), 1);
	}
}

static void test_return_address_and_rsp(void **state)
{
	struct translation *tr = CODE("\xc2\x10\0");
	const struct bt_map *m = &bt->cache->map[tr->b->map];

	assert_int_equal(m->rsp, 0x18);
	assert_int_equal(m->rip_off, 0);
	tr = CODE("\xff\xd0");
	assert_int_equal(bt->cache->map[tr->b->map].rsp, -8);
	assert_int_equal(bt_jc_index(0x12345678), 0x5678 + 0x1234);
}

/* -- flags.c ------------------------------------------------------------------------------------------------------------ */

/* Two checks where the flags matter: parked once, by LAHF, for both and the way out. */
static void test_parking(void **state)
{
	/* xor rbx, rcx; mov rdi, [rbx]; mov rcx, [rdi]; ret */
	struct translation *tr = CODE("\x48\x31\xcb\x48\x8b\x3b\x48\x8b\x0f\xc3");
	const struct bt_map *m = &bt->cache->map[tr->b->map];

	assert_false(m[0].parked);
	assert_true(m[1].parked && m[2].parked && m[3].parked);
	assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_LAHF), 1);
	assert_int_equal(passes_count(tr, tr->b->body, tr->code_end, ZYDIS_MNEMONIC_PEXT), 0);
	/* Then they are fetched where somebody reads them. */
	tr = CODE("\x48\x31\xcb\x48\x8b\x3b\x48\x8b\x0f\x48\x11\xc0\xf4");
	m = &bt->cache->map[tr->b->map];
	assert_true(m[1].parked);
	assert_false(m[3].parked);
	assert_int_equal(passes_count(tr, m[3].host, tr->code_end, ZYDIS_MNEMONIC_SAHF), 1);
}

/* Live at the beginning: parked by whoever comes, with an entry of its own for those who have them in place. */
static void test_entries(void **state)
{
	struct translation *tr = CODE("\x48\x89\xc3\xc3");

	assert_true(tr->insn[0].flags_live);
	assert_int_not_equal(tr->b->flags_entry, tr->b->entry);
	tr = CODE("\x48\x01\xd8\xc3");
	assert_int_equal(tr->b->flags_entry, tr->b->entry);
	assert_int_equal(tr->b->entry & 7, 0);
}

static void test_parked_form(void **state)
{
	static const uint64_t flags[] = { FL_CF, FL_PF, FL_AF, FL_ZF, FL_SF, FL_OF };

	for (unsigned n = 0; n < ARRAY_SIZE(flags); n++) {
		assert_int_equal(bt_unparked(bt_parked(flags[n])), flags[n]);
		assert_int_equal(bt_unparked(bt_parked(FL_ARITH & ~flags[n])), FL_ARITH & ~flags[n]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_stolen_registers),
		cmocka_unit_test(test_liveness_in_block),
		cmocka_unit_test(test_liveness_behind_block),
		cmocka_unit_test(test_liveness_without_peek),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_no_group),
		cmocka_unit_test(test_known_distances),
		cmocka_unit_test(test_stack_window),
		cmocka_unit_test(test_anchor),
		cmocka_unit_test(test_write_behind_branch),
		cmocka_unit_test(test_addend),
		cmocka_unit_test(test_check_keeps_flags),
		cmocka_unit_test(test_keeps_base),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_jump_cache),
		cmocka_unit_test(test_return_address_and_rsp),
		cmocka_unit_test(test_parking),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_parked_form),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
