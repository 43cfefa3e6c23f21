/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code that modifies itself, by every way to write memory, and under every name that a page can have (SDM vol. 3, 12.6). */
#include "check.h"
#include "base/tunables.h"

#define CODE_B   TINY_HIGH              /* a second page of code */
#define ALIAS    (TINY_HIGH + 0x10000)  /* a second name for TINY_CODE's page, or CODE_B's */
#define FRAME_X  (TINY_HIGH + 0x20000)
#define FRAME_Y  (TINY_HIGH + 0x30000)
#define PTE_RW   0x7ull
#define ROUNDS   300u
#define SUM      (ROUNDS * (ROUNDS + 1) / 2)

static uint64_t run_long(struct tiny *t)
{
	int r = tiny_run(t);

	assert_int_equal(r, TINY_HLT);
	return GPR(t, DX);
}

/* A loop for ECX = ROUNDS .. 1 that adds up in RDX what its body leaves in EAX. */
#define SUM_LOOP(body) "mov $300, %ecx; xor %edx, %edx; 1:" body "; add %rax, %rdx; dec %ecx; jnz 1b; hlt"

/* -- The next instruction ------------------------------------------------------------------------------------ */

GUEST(next_mov, 64, SUM_LOOP("mov %ecx, 2f+1(%rip); 2: mov $0, %eax"));
GUEST(next_byte, 64, SUM_LOOP("mov %cl, 2f+1(%rip); mov %ch, 2f+2(%rip); 2: mov $0, %eax"));
GUEST(next_xchg, 64, SUM_LOOP("mov %ecx, %ebx; xchg %ebx, 2f+1(%rip); 2: mov $0, %eax"));
GUEST(next_lock, 64, SUM_LOOP("mov 2f+1(%rip), %ebx; sub %ecx, %ebx; neg %ebx; lock xadd %ebx, 2f+1(%rip); 2: mov $0, %eax"));
GUEST(next_cmpxchg, 64, SUM_LOOP("mov 2f+1(%rip), %eax; lock cmpxchg %ecx, 2f+1(%rip); 2: mov $0, %eax"));
GUEST(next_sse, 64, SUM_LOOP("movd %ecx, %xmm0; movd %xmm0, 2f+1(%rip); 2: mov $0, %eax"));
GUEST(next_stos, 64, SUM_LOOP("lea 2f+1(%rip), %rdi; mov %ecx, %eax; stosl; 2: mov $0, %eax"));
GUEST(next_movs, 64, SUM_LOOP("mov %ecx, 0xa000; mov %ecx, %ebx; mov $0xa000, %esi; lea 2f+1(%rip), %rdi; mov $4, %ecx;"
			      "rep movsb; mov %ebx, %ecx; 2: mov $0, %eax"));
GUEST(next_push, 64, SUM_LOOP("mov 2f(%rip), %rbx; shr $40, %rbx; shl $32, %rbx; mov %rsp, %rbp; mov %ecx, %eax; or %rax, %rbx;"
			      "shl $8, %rbx; or $0xb8, %rbx; lea 2f+8(%rip), %rsp; push %rbx; mov %rbp, %rsp; 2: mov $0, %eax;"
			      "nop; nop; nop"));
/* A prefix, a branch, and an instruction in the middle of what follows. */
GUEST(next_opcode, 64, SUM_LOOP("mov %ecx, %eax; movb $0x90, 2f(%rip); test $1, %cl; jz 3f; movb $0xf9, 2f(%rip); 3: clc; 2: nop;"
				"sbb %eax, %eax; neg %eax; imul %ecx, %eax"));
GUEST(next_branch, 64, SUM_LOOP("mov %cl, %al; and $1, %al; or $0x74, %al; mov %al, 2f(%rip); mov %ecx, %eax; cmp %eax, %eax;"
				"2: jz 3f; xor %eax, %eax; 3:"));

static void check_sum(struct tiny *t, const unsigned char *code, size_t len, uint64_t sum)
{
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	tiny_put(t, TINY_CODE, code, len);
	assert_int_equal(run_long(t), sum);
}

#define ODD_SUM  22500 /* 1 + 3 + ... + 299 */
#define EVEN_SUM 22650

#define SUM_TEST(name, sum)                                                                                  \
	static void test_##name(void **state)                                                                \
	{                                                                                                    \
		check_sum(*state, name, (size_t)(name##_end - name), sum);                                   \
	}
SUM_TEST(next_mov, SUM)
SUM_TEST(next_byte, SUM)
SUM_TEST(next_xchg, SUM)
SUM_TEST(next_lock, SUM)
SUM_TEST(next_cmpxchg, SUM)
SUM_TEST(next_sse, SUM)
SUM_TEST(next_stos, SUM)
SUM_TEST(next_movs, SUM)
SUM_TEST(next_push, SUM)
SUM_TEST(next_opcode, ODD_SUM)
SUM_TEST(next_branch, EVEN_SUM)

/* -- Functions in other pages ------------------------------------------------------------------------------------ */

GUEST(returns_0, 64, "mov $0, %eax; ret");
/* Called directly, through a register, jumped to; each call site is executed often enough to be linked. */
GUEST(call_direct, 64, SUM_LOOP("mov %ecx, 0x100001; .byte 0xe8; .long 0x100000 - 0x8000 - (2f - call_direct); 2:"));
GUEST(call_register, 64, SUM_LOOP("mov %ecx, 0x100001; mov $0x100000, %ebx; call *%rbx"));
GUEST(call_twice, 64, SUM_LOOP("mov $0x100000, %ebx; call *%rbx; mov %ecx, 0x100001; call *%rbx"));

/* CMP EAX, EAX begins a function that asks for ZF; with a NOP in its place the caller's ZF counts. */
GUEST(asks_zf, 64, "cmp %eax, %eax; setz %al; movzbl %al, %eax; ret");
GUEST(call_asking, 64, SUM_LOOP("mov $0x100000, %ebx; movw $0xc039, (%rbx); call *%rbx; movw $0x9066, (%rbx); test $1, %cl;"
				"call *%rbx; imul %ecx, %eax"));

static void test_flags_begin_to_matter(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, CODE_B, asks_zf);
	TINY_LOAD(t, TINY_CODE, call_asking);
	assert_int_equal(run_long(t), EVEN_SUM);
}

static void check_function(struct tiny *t, const unsigned char *code, size_t len, uint64_t sum)
{
	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, CODE_B, returns_0);
	tiny_put(t, TINY_CODE, code, len);
	assert_int_equal(run_long(t), sum);
}

#define FUNCTION_TEST(name)                                                                                  \
	static void test_##name(void **state)                                                                \
	{                                                                                                    \
		check_function(*state, name, (size_t)(name##_end - name), SUM);                              \
	}
FUNCTION_TEST(call_direct)
FUNCTION_TEST(call_register)
FUNCTION_TEST(call_twice)

/* A chain of blocks in one page, the last of which is modified behind the others' backs. */
GUEST(chained, 64, "2: jmp 3f; .space 70; 3: test %eax, %eax; jnz 4f; 4: jmp 5f; .space 70; 5: mov $0, %eax; ret");
GUEST(call_chained, 64, SUM_LOOP("mov %ecx, 0x100001 + (5f - 4f); mov $0x100000, %ebx; call *%rbx; jmp 6f;"
				 "4: .space 150; 5: 6:"));

static void test_chained(void **state)
{
	struct tiny *t = *state;
	size_t at;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, call_chained);
	TINY_LOAD(t, CODE_B, chained);
	at = (size_t)(chained_end - chained) - 6; /* mov $0, %eax; ret */
	assert_int_equal(tiny_peek(t, CODE_B + at, 1), 0xb8);
	tiny_poke(t, TINY_CODE + 10, 4, (uint32_t)(CODE_B + at + 1)); /* mov %ecx, disp32: 89 0c 25 disp32 behind 7 bytes */
	assert_int_equal(run_long(t), SUM);
}

/* -- Other names ---------------------------------------------------------------------------------------------------- */

GUEST(call_alias, 64, SUM_LOOP("mov %ecx, 0x110001; mov $0x100000, %ebx; call *%rbx"));
GUEST(both_names, 64, SUM_LOOP("mov $0x100000, %ebx; call *%rbx; mov %ecx, 0x100001; mov $0x110000, %ebx; call *%rbx"));

static void test_alias(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	tiny_set_pte(t, ALIAS, CODE_B | PTE_RW);
	TINY_LOAD(t, CODE_B, returns_0);
	TINY_LOAD(t, TINY_CODE, call_alias);
	assert_int_equal(run_long(t), SUM);
}

static void test_both_names(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	tiny_set_pte(t, ALIAS, CODE_B | PTE_RW);
	TINY_LOAD(t, CODE_B, returns_0);
	TINY_LOAD(t, TINY_CODE, both_names);
	assert_int_equal(run_long(t), SUM);
}

/* The page table gives the same address another frame at each turn, and back; INVLPG as the kernel's munmap does. */
GUEST(remap, 64, SUM_LOOP("mov %rcx, %rax; and $1, %eax; shl $16, %eax; lea 0x120007(%rax), %rax; mov %rax, (%rdi);"
			  "invlpg 0x100000; mov $0x100000, %ebx; call *%rbx; imul %ecx, %eax"));

static void test_remap(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, FRAME_X, returns_0);
	TINY_LOAD(t, FRAME_Y, returns_0);
	tiny_poke(t, FRAME_Y + 1, 4, 1); /* odd: 1, even: 0 */
	TINY_LOAD(t, TINY_CODE, remap);
	GPR(t, DI) = tiny_pte_addr(t, CODE_B);
	assert_int_equal(run_long(t), ODD_SUM);
}

/* The same, and a frame is rewritten while it has another name only; CR3 is loaded instead. */
GUEST(reuse, 64, SUM_LOOP("mov %rcx, %rax; and $1, %eax; shl $16, %eax; lea 0x120007(%rax), %rax; mov %rax, (%rdi);"
			  "xor $0x10006, %eax; mov %ecx, (%rax); mov %cr3, %rax; mov %rax, %cr3;"
			  "mov $0x100000, %ebx; call *%rbx"));

static void test_reuse(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, FRAME_X, returns_0);
	TINY_LOAD(t, FRAME_Y, returns_0);
	TINY_LOAD(t, TINY_CODE, reuse);
	GPR(t, DI) = tiny_pte_addr(t, CODE_B);
	/* Each turn runs what the turn before it has written: 300 to 2, and the first turn a 0. */
	assert_int_equal(run_long(t), SUM - 1);
}

/* -- Instructions over a page's end ----------------------------------------------------------------------------------- */

GUEST(call_crossing, 64, SUM_LOOP("mov %ecx, (%rdi); mov $0x100ffd, %ebx; call *%rbx"));

GUEST(call_crossing_second, 64, SUM_LOOP("mov %cx, 0x110000; mov $0x100ffd, %ebx; call *%rbx"));

/* At 0x100ffd: b8 and two bytes of the constant; the other two and RET are in the next page. */
static void test_crossing(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_HIGH + 0xffd, returns_0);
	TINY_LOAD(t, TINY_CODE, call_crossing);
	GPR(t, DI) = TINY_HIGH + 0xffe;
	assert_int_equal(run_long(t), SUM);
}

/* Only bytes of the second page change, through another name of it. */
static void test_crossing_second(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	tiny_set_pte(t, ALIAS, (TINY_HIGH + 0x1000) | PTE_RW);
	TINY_LOAD(t, TINY_HIGH + 0xffd, returns_0);
	TINY_LOAD(t, TINY_CODE, call_crossing_second);
	assert_int_equal(run_long(t), (uint64_t)SUM << 16);
}

/* -- Devices ------------------------------------------------------------------------------------------------------------ */

/* Each OUT makes the device write the value of the counter into the instruction behind it, by DMA. */
GUEST(dma_next, 64, SUM_LOOP("mov %ecx, %eax; out %eax, $0x80; 2: mov $0, %eax"));
GUEST(dma_function, 64, SUM_LOOP("mov %ecx, %eax; out %eax, $0x80; mov $0x100000, %ebx; call *%rbx"));

static uint64_t dma_to;

static void dma_write(struct tiny *t)
{
	uint32_t val = (uint32_t)t->io[t->n_io - 1].val;

	t->n_io = 0;
	assert_int_equal(space_dma_write(t->mem, dma_to, &val, sizeof(val)), 0);
}

static void test_dma_next(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, dma_next);
	dma_to = TINY_CODE + 7 + 4 + 1; /* behind two instructions, mov and out */
	t->on_io = dma_write;
	assert_int_equal(run_long(t), SUM);
}

static void test_dma_function(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, dma_function);
	TINY_LOAD(t, CODE_B, returns_0);
	dma_to = CODE_B + 1;
	t->on_io = dma_write;
	assert_int_equal(run_long(t), SUM);
}

/* -- Other privilege, other sizes ------------------------------------------------------------------------------------------ */

static void test_user(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 3);
	TINY_LOAD(t, TINY_CODE, call_register);
	TINY_LOAD(t, CODE_B, returns_0);
	assert_int_equal(tiny_run(t), X86_GP); /* HLT */
	assert_int_equal(GPR(t, DX), SUM);
}

GUEST(next_16, 16, "mov $300, %cx; xor %edx, %edx; 1: mov %cx, %cs:0x8000 + (2f - next_16) + 1; 2: mov $0, %ax;"
		   "movzwl %ax, %eax; add %eax, %edx; dec %cx; jnz 1b; hlt");
GUEST(next_32, 32, "mov $300, %ecx; xor %edx, %edx; 1: mov %ecx, 0x8000 + (2f - next_32) + 1; 2: mov $0, %eax;"
		   "add %eax, %edx; dec %ecx; jnz 1b; hlt");

static void test_other_modes(void **state)
{
	static const enum tiny_mode modes[] = { TINY_PROT32, TINY_PAGED32, TINY_PAE, TINY_COMPAT };
	struct tiny *t = *state;

	for (unsigned n = 0; n < ARRAY_SIZE(modes); n++) {
		tiny_enter(t, modes[n], 0);
		TINY_LOAD(t, TINY_CODE, next_32);
		assert_int_equal(run_long(t), SUM);
	}
	tiny_enter(t, TINY_REAL, 0);
	TINY_LOAD(t, TINY_CODE, next_16);
	assert_int_equal(run_long(t), SUM);
}

/* -- Endless translation ------------------------------------------------------------------------------------------------------ */

/* A MOV and 46 additions to memory, then RET; the MOV's constant is written at each turn, which makes a large new block. */
GUEST(pressure, 64, "mov $0x100000, %ebx; 1: mov %ecx, 0x100003; call *%rbx; dec %ecx; jnz 1b; mov 0xa000, %rdx; hlt");

static void test_pressure(void **state)
{
	static const uint8_t add[] = { 0x81, 0x04, 0x25, 0x00, 0xa0, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00 }; /* addl $1, 0xa000 */
	struct tiny *t = *state;
	const unsigned turns = 6000, adds = 46;
	bool bt = !strcmp(t->v->engine->name, "bt");

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, pressure);
	tiny_poke(t, CODE_B, 4, 0xc0c748); /* mov $imm32, %rax: its constant is what changes */
	for (unsigned n = 0; n < adds; n++)
		tiny_put(t, CODE_B + 7 + n * sizeof(add), add, sizeof(add));
	tiny_poke(t, CODE_B + 7 + adds * sizeof(add), 1, 0xc3);
	for (unsigned n = 0; n < turns; n += 1000) { /* each run has its own time limit */
		GPR(t, CX) = 1000;
		t->v->s.rip = TINY_CODE;
		assert_int_equal(run_long(t), (n + 1000) * adds);
	}
	if (bt)
		assert_true(t->v->stats.bt_cache_flushes > 0);
}

/* -- What does not change -------------------------------------------------------------------------------------------------------- */

/* Data in the page of the code that writes it, behind it and in front of it: nothing is translated again. */
GUEST(beside, 64, "mov $20000, %ecx; 1: incq 0x8800; incl 0x8004; lock incl 0x8ffc; dec %ecx; jnz 1b; mov 0x8800, %rdx; hlt");

static void test_data_beside(void **state)
{
	struct tiny *t = *state;
	bool bt = !strcmp(t->v->engine->name, "bt");

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE + 0x400, beside);
	t->v->s.rip = TINY_CODE + 0x400;
	assert_int_equal(run_long(t), 20000);
	assert_int_equal(tiny_peek(t, TINY_CODE + 4, 4), 20000);
	assert_int_equal(tiny_peek(t, TINY_CODE + 0xffc, 4), 20000);
	if (bt) { /* in translated code, but for what lockstep follows step by step */
		assert_in_range(t->v->stats.bt_translations, 1, 20);
		assert_true(t->v->stats.bt_beside_code >= 3 * 20000);
	}
}

/*
 * Every kind of store that passes beside code, in 64-bit and 32-bit code, with flags that matter across it: pieces of a page
 * become code one after the other while the page is written to.
 */
GUEST(grows_64, 64, "mov $60, %ecx; mov $0x100fc0, %ebx; xor %edx, %edx; 1: cmp %ecx, %ecx; movl $0xb8, (%rbx); movw $0, 3(%rbx);"
		    "movb $0xc3, 5(%rbx); mov %ecx, 1(%rbx); jne 2f; mov %rsp, %rbp; lea 0x20(%rbx), %rsp; push %rcx; push $7; mov %rbp, %rsp;"
		    "call *%rbx; add %rax, %rdx; add 0x18(%rbx), %rdx; add 0x10(%rbx), %rdx; sub $64, %ebx; dec %ecx; jnz 1b; 2: hlt");
GUEST(grows_32, 32, "mov $60, %ecx; mov $0x100fc0, %ebx; xor %edx, %edx; 1: cmp %ecx, %ecx; movl $0xb8, (%ebx); movw $0, 3(%ebx);"
		    "movb $0xc3, 5(%ebx); mov %ecx, 1(%ebx); jne 2f; mov %esp, %ebp; lea 0x20(%ebx), %esp; push %ecx; push $7; mov %ebp, %esp;"
		    "call *%ebx; add %eax, %edx; add 0x1c(%ebx), %edx; add 0x18(%ebx), %edx; sub $64, %ebx; dec %ecx; jnz 1b; 2: hlt");

static void test_grows(void **state)
{
	struct tiny *t = *state;
	bool bt = !strcmp(t->v->engine->name, "bt");

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, grows_64);
	assert_int_equal(run_long(t), 2 * (60 * 61 / 2) + 60 * 7);
	tiny_enter(t, TINY_PAGED32, 0);
	TINY_LOAD(t, TINY_CODE, grows_32);
	assert_int_equal(run_long(t), 2 * (60 * 61 / 2) + 60 * 7);
	if (bt)
		assert_true(t->v->stats.bt_beside_code > 59 * 4);
}

/* A store beside code says nothing of the rest of its page: REP MOVS and STOS from there into code. */
GUEST(rep_into, 64, "mov $100, %ecx; xor %edx, %edx; mov $0x100040, %ebx; movl $0xc3c88948, (%rbx); 1: mov %ecx, %esi; call *%rbx; add %rax, %rdx;"
		    "mov $0x100000, %edi; mov $0xa000, %esi; mov %ecx, %eax; mov $0x44, %ecx; rep movsb; mov %eax, %ecx; call *%rbx; sub %rax, %rdx;"
		    "movl $0xc3c88948, (%rbx); dec %ecx; jnz 1b; hlt");

static void test_rep_into(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, rep_into);
	tiny_poke(t, TINY_DATA + 0x40, 4, 0xc3c03148); /* xor %rax, %rax; ret: over mov %rcx, %rax; ret */
	assert_int_equal(run_long(t), 100 * 101 / 2);
}

/* One of two functions in a page is rewritten at each turn. The other one sleeps and wakes; it is not translated again. */
GUEST(two_functions, 64, SUM_LOOP("mov %ecx, 0x100001; mov $0x100000, %ebx; call *%rbx; mov %eax, %esi; mov $0x100800, %ebx; call *%rbx;"
				  "mov %esi, %eax"));

static void test_wakes(void **state)
{
	struct tiny *t = *state;
	bool bt = !strcmp(t->v->engine->name, "bt");

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, CODE_B, returns_0);
	TINY_LOAD(t, CODE_B + 0x800, returns_0);
	TINY_LOAD(t, TINY_CODE, two_functions);
	assert_int_equal(run_long(t), SUM);
	if (bt) {
		assert_in_range(t->v->stats.bt_translations, ROUNDS, ROUNDS + 30);
		assert_in_range(t->v->stats.bt_woken, ROUNDS - 10, ROUNDS + 10);
	}
}

/* Two texts take turns in one place, as a patched branch does. */
GUEST(turns, 64, SUM_LOOP("mov %ecx, %eax; and $1, %eax; mov %eax, 0x100001; mov $0x100000, %ebx; call *%rbx; imul %ecx, %eax"));

static void test_takes_turns(void **state)
{
	struct tiny *t = *state;
	bool bt = !strcmp(t->v->engine->name, "bt");

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, CODE_B, returns_0);
	TINY_LOAD(t, TINY_CODE, turns);
	assert_int_equal(run_long(t), ODD_SUM);
	if (bt)
		assert_in_range(t->v->stats.bt_translations, 2, 20);
}

#define WAKES 0x40

/* The listener of a guest whose store into code comes together with an interrupt. */
static void interrupt_too(void *opaque, uint64_t gpa, uint64_t len)
{
	struct tiny *t = opaque;

	vcpu_group_code_changed(&t->group, gpa, len);
	tiny_intr(t, WAKES);
}

GUEST(behind_sti, 64, "call *%rbx; sti; mov (%rsi), %eax; hlt");
GUEST(returns, 64, "ret");

/*
 * The instruction behind an STI sets the accessed bit of its operand's page, beside code: it is to be seen whether that has
 * changed, and then the interrupt that came meanwhile still waits for the end of the instruction.
 */
static void test_behind_sti(void **state)
{
	struct tiny *t = *state;
	uint64_t table, neighbour;

	tiny_enter(t, TINY_LONG, 0);
	table = t->v->s.cr3;
	for (unsigned level = 0; level < 3; level++)
		table = tiny_peek(t, table & PAGE_MASK, 8);
	neighbour = (table & PAGE_MASK) + ((TINY_DATA >> PAGE_SHIFT) + 1) * 8; /* the entry of a page that is not used */
	TINY_LOAD(t, neighbour, returns);
	TINY_LOAD(t, TINY_CODE, behind_sti);
	GPR(t, BX) = neighbour;
	GPR(t, SI) = TINY_DATA;
	ram_set_listener(t->ram, interrupt_too, t);
	assert_int_equal(tiny_run(t), WAKES);
	assert_int_equal(t->frame.rip, TINY_CODE + (size_t)(behind_sti_end - behind_sti) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_next_mov),	 TEST(test_next_byte),	   TEST(test_next_xchg),  TEST(test_next_lock),
		TEST(test_next_cmpxchg), TEST(test_next_sse),	   TEST(test_next_stos),  TEST(test_next_movs),
		TEST(test_next_push),	 TEST(test_next_opcode),   TEST(test_next_branch), TEST(test_call_direct),
		TEST(test_call_register), TEST(test_call_twice),   TEST(test_chained),	  TEST(test_alias),
		TEST(test_both_names),	 TEST(test_remap),	   TEST(test_reuse),	  TEST(test_crossing),
		TEST(test_crossing_second), TEST(test_dma_next),   TEST(test_dma_function), TEST(test_user),
		TEST(test_other_modes),	 TEST(test_pressure),
		TEST(test_data_beside),	 TEST(test_grows),	   TEST(test_rep_into),	  TEST(test_wakes),
		TEST(test_takes_turns),
		TEST(test_behind_sti),	 TEST(test_flags_begin_to_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
