/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports: IN, OUT, INS, OUTS, IOPL and the I/O permission bitmap; what interrupts a repeated string instruction. */
#include "check.h"

#define BITMAP 0x68u /* offset of the bitmap in the TSS */

BOTH(in_all, "in $0x42, %al\n mov %al, %bl\n mov $0x1234, %edx\n in %dx, %ax\n mov %ax, %cx\n in %dx, %eax\n hlt");
BOTH(out_all, "mov $0x1234, %edx\n out %al, $0x42\n out %ax, %dx\n out %eax, %dx\n hlt");

static void test_in_out(void **state)
{
	struct tiny *t = *state;

	t->in_value = 0x8765432187654321;
	FOR_BOTH(t, 0, in_all) {
		GPR(t, BX) = GPR(t, CX) = ~0ull;
		GPR(t, AX) = ~0ull;
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(GPR(t, BX), 0xffffffffffffff21);
		assert_int_equal(GPR(t, CX), 0xffffffffffff4321);
		assert_int_equal(GPR(t, AX), 0x87654321); /* zero-extended */
		assert_int_equal(t->n_io, 3);
		assert_int_equal(t->io[0].addr, 0x42);
		assert_int_equal(t->io[2].addr, 0x1234);
		assert_int_equal(t->io[2].size, 4);
	}
	FOR_BOTH(t, 0, out_all) {
		static const struct tiny_io want[] = {
			{ 0x42, 0x44, 1, true, false }, { 0x1234, 0x3344, 2, true, false },
			{ 0x1234, 0x11223344, 4, true, false },
		};

		GPR(t, AX) = 0x11223344;
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(t->n_io, 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(t->io[i].addr, want[i].addr);
			assert_int_equal(t->io[i].val, want[i].val);
			assert_int_equal(t->io[i].size, want[i].size);
			assert_true(t->io[i].write);
		}
	}
}

/* -- Permission (SDM vol. 1, 18.5) ------------------------------------------------------------- */

BOTH(out_dx, "out %eax, %dx\n int3");
GUEST(out_dx16, 16, "out %eax, %dx\n int3");

/* A bitmap of all ones for the first 0x400 ports, but for the bits cleared. */
static void set_bitmap(struct tiny *t, unsigned port, unsigned bits)
{
	uint8_t ones[0x81];

	memset(ones, 0xff, sizeof(ones));
	tiny_poke(t, TINY_TSS + 102, 2, BITMAP);
	tiny_put(t, TINY_TSS + BITMAP, ones, sizeof(ones));
	for (unsigned i = port; i < port + bits; i++)
		tiny_poke(t, TINY_TSS + BITMAP + i / 8, 1,
			  tiny_peek(t, TINY_TSS + BITMAP + i / 8, 1) & ~(1ull << (i % 8)));
	t->v->s.tr.limit = BITMAP + sizeof(ones) - 1;
}

static void test_iopl(void **state)
{
	struct tiny *t = *state;

	for (unsigned iopl = 0; iopl <= 3; iopl++) {
		FOR_BOTH(t, 3, out_dx) {
			FLAGS(t) |= (uint64_t)iopl << 12;
			GPR(t, DX) = 0x80;
			if (iopl == 3) {
				assert_int_equal(tiny_run(t), X86_BP);
				assert_int_equal(t->n_io, 1);
			} else {
				assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
				assert_int_equal(t->n_io, 0);
			}
		}
	}
}

static void check_bitmap(struct tiny *t, unsigned port, unsigned first, unsigned bits, bool ok)
{
	FOR_BOTH(t, 3, out_dx) {
		set_bitmap(t, first, bits);
		GPR(t, DX) = port;
		if (ok)
			assert_int_equal(tiny_run(t), X86_BP);
		else
			assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
}

static void test_bitmap(void **state)
{
	struct tiny *t = *state;

	check_bitmap(t, 0x80, 0x80, 4, true);
	check_bitmap(t, 0x80, 0x80, 3, false); /* all bits of the access */
	check_bitmap(t, 0x86, 0x86, 4, true);  /* across bytes */
	check_bitmap(t, 0x86, 0x86, 3, false);
	check_bitmap(t, 0x3f8, 0x3f8, 8, true); /* its second byte is the one behind the bitmap */
	check_bitmap(t, 0x400, 0x400, 8, false); /* two bytes are read: the second is beyond the limit */
	check_bitmap(t, 0x408, 0x400, 8, false);
	check_bitmap(t, 0xffff, 0, 8, false);
	/* No bitmap: its base is at or beyond the limit. A TSS too short to hold a base. */
	FOR_BOTH(t, 3, out_dx)
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	FOR_BOTH(t, 3, out_dx) {
		set_bitmap(t, 0, 8);
		t->v->s.tr.limit = 0x66;
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
}

/* Virtual-8086 mode asks the bitmap at any IOPL (20.2.8). */
static void test_bitmap_v86(void **state)
{
	struct tiny *t = *state;

	for (unsigned ok = 0; ok < 2; ok++) {
		tiny_enter(t, TINY_V86, 3);
		FLAGS(t) |= FL_IOPL;
		set_bitmap(t, 0x80, ok ? 4 : 0);
		GPR(t, DX) = 0x80;
		assert_int_equal(RUN(t, out_dx16), ok ? X86_BP : X86_GP);
		assert_int_equal(t->n_io, ok);
	}
}

/* -- Strings ----------------------------------------------------------------------------------- */

BOTH(rep_ins, "rep insw\n hlt");
BOTH(rep_outs, "std\n rep outsb\n hlt");
BOTH(outs_fs, "outsl %fs:(%esi), %dx\n hlt");
BOTH(rep_movs, "rep movsb\n hlt");
BOTH(rep_stos, "rep stosb\n hlt");

static void test_strings(void **state)
{
	struct tiny *t = *state;

	t->in_value = 0xbeef;
	FOR_BOTH(t, 0, rep_ins) {
		GPR(t, DX) = 0x1f0;
		GPR(t, DI) = TINY_DATA;
		GPR(t, CX) = 5;
		tiny_poke(t, TINY_DATA + 8, 4, 0);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(t->n_io, 5);
		assert_int_equal(t->io[4].size, 2);
		assert_int_equal(GPR(t, CX), 0);
		assert_int_equal(GPR(t, DI), TINY_DATA + 10);
		assert_int_equal(tiny_peek(t, TINY_DATA + 8, 4), 0xbeef);
	}
	FOR_BOTH(t, 0, rep_outs) {
		GPR(t, DX) = 0x3f8;
		GPR(t, SI) = TINY_DATA + 2;
		GPR(t, CX) = 3;
		tiny_put(t, TINY_DATA, "cba", 3);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(t->n_io, 3);
		assert_int_equal(t->io[0].val, 'a');
		assert_int_equal(t->io[2].val, 'c');
		assert_int_equal(GPR(t, SI), TINY_DATA - 1);
	}
	FOR_BOTH(t, 0, rep_ins) { /* nothing to do: no port is touched */
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(t->n_io, 0);
	}
	FOR_BOTH(t, 0, outs_fs) {
		SEG(t, FS).base = 0x1000;
		GPR(t, SI) = TINY_DATA;
		tiny_poke(t, TINY_DATA + 0x1000, 4, 0x600df00d);
		tiny_state_changed(t);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(t->io[0].val, 0x600df00d);
	}
}

/* INS must not read the port before it knows that the memory takes the value. */
static void test_ins_fault_first(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, rep_ins_64);
	tiny_set_pte(t, TINY_HIGH + 0x1000, 0);
	GPR(t, DI) = TINY_HIGH + 0x1000 - 4;
	GPR(t, CX) = 10;
	assert_fault(t, tiny_run(t), X86_PF, TINY_CODE, PF_W);
	/* The iterations before are done and counted. */
	assert_int_equal(t->n_io, 2);
	assert_int_equal(GPR(t, CX), 8);
	assert_int_equal(GPR(t, DI), TINY_HIGH + 0x1000);
	assert_true(t->frame.rflags & FL_RF);
}

static void interrupt_third(struct tiny *t)
{
	if (t->n_io == 3)
		tiny_intr(t, 0x55);
}

/* SDM vol. 2, REP: an interrupt is taken between iterations; RIP is the instruction's, RF is set (17.3.1.1). */
static void check_interrupted(struct tiny *t, unsigned left, uint64_t at)
{
	FLAGS(t) |= FL_IF;
	t->on_io = interrupt_third;
	assert_fault(t, tiny_run(t), 0x55, at, 0);
	assert_int_equal(GPR(t, CX), left);
	assert_int_equal(t->n_io, 3);
	assert_true(t->frame.rflags & FL_RF);
	/* Go on as IRET would. */
	t->v->s.rip = t->frame.rip;
	FLAGS(t) = t->frame.rflags & ~FL_IF;
	t->v->s.activity = ACT_RUNNING;
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(GPR(t, CX), 0);
	assert_int_equal(t->n_io, 3 + left);
	t->on_io = NULL;
}

static void test_interruptible(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, rep_ins) {
		GPR(t, DX) = 0x1f0;
		GPR(t, DI) = TINY_DATA;
		GPR(t, CX) = 10;
		check_interrupted(t, 7, TINY_CODE);
	}
	FOR_BOTH(t, 0, rep_outs) {
		GPR(t, SI) = TINY_DATA;
		GPR(t, CX) = 5;
		check_interrupted(t, 2, TINY_CODE + 1);
	}
	/* To device memory, each store an access. */
	FOR_BOTH(t, 0, rep_movs) {
		GPR(t, SI) = TINY_DATA;
		GPR(t, DI) = TINY_MMIO;
		GPR(t, CX) = 9;
		check_interrupted(t, 6, TINY_CODE);
		assert_int_equal(GPR(t, DI), TINY_MMIO + 9);
		assert_int_equal(GPR(t, SI), TINY_DATA + 9);
	}
	FOR_BOTH(t, 0, rep_stos) {
		GPR(t, DI) = TINY_MMIO;
		GPR(t, CX) = 4;
		check_interrupted(t, 1, TINY_CODE);
	}
}

/* A fault in the middle of REP MOVS leaves the registers at the element that faulted. */
static void test_string_fault(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 3);
	TINY_LOAD(t, TINY_CODE, rep_movs_64);
	tiny_set_pte(t, TINY_HIGH + 0x1000, 0);
	GPR(t, SI) = TINY_DATA;
	GPR(t, DI) = TINY_HIGH + 0xf00;
	GPR(t, CX) = 0x1000;
	assert_fault(t, tiny_run(t), X86_PF, TINY_CODE, PF_W | PF_U);
	assert_int_equal(t->v->s.cr2, TINY_HIGH + 0x1000);
	assert_int_equal(GPR(t, CX), 0x1000 - 0x100);
	assert_int_equal(GPR(t, SI), TINY_DATA + 0x100);
	assert_int_equal(GPR(t, DI), TINY_HIGH + 0x1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_in_out), TEST(test_iopl), TEST(test_bitmap), TEST(test_bitmap_v86), TEST(test_strings),
		TEST(test_ins_fault_first), TEST(test_interruptible), TEST(test_string_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
