/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile code in ring 0 and 3 of every mode, run by the translator in lockstep with the reference.
 *
 *   fuzz_bt [--seconds N] [--iterations N] [--seed S] [--program K] [--verbose]
 *
 * An iteration is a fresh machine that runs some programs one after the other, over what the ones before have left in
 * memory and in the code cache. A program is user code full of calls, returns, indirect jumps - to where there is no
 * address, too - and accesses near RSP; or noise, or instructions of a table with wild operands - stores into code,
 * page tables and descriptors, jumps into the middle of instructions, segment loads, control registers, far branches,
 * repeated string instructions, MSRs - in parts overwritten by noise. It ends at a HLT, or after so many turns.
 * A difference is a failure, and so are a crash and a hang: the iteration runs in a child process. A failure names the
 * iteration's seed; --program runs the iteration's program K only, --verbose prints its bytes.
 *
 * Two kinds of difference are none, and end the iteration: a block that goes on with flags which the manuals leave undefined
 * (IMUL; JS), and what comes after a change of page tables, since the two engines' TLBs forget at different times.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/lockstep.h"
#include "tiny.h"

#define DEFAULT_SECONDS 3
#define DEFAULT_SEED    0xb7b7
#define PROGRAM_LIMIT_NS 2000000000ull /* one that loops is cut short */
#define ITERATIONS_A_CHILD 16
#define PROGRAMS        24
#define PROGRAM_MAX     512
#define TURNS           300
#define HANG_SECONDS    60 /* of one iteration, on a host with too much to do */
#define TABLES_SIZE     0x10000u
#define PTE_AD          (BIT(5) | BIT(6)) /* accessed, dirty */
#define HANDLER         (TINY_DATA + 0x800)  /* for events without error code */
#define HANDLER_ERR     (HANDLER + 0x20)

struct shared { /* with the child */
	uint64_t seed; /* of the iteration that it is in */
	uint64_t done, programs, halted, faults, shutdowns, cut, open;
	unsigned program;
};

struct fuzz {
	uint64_t rng;
	struct tiny *t;
	struct shared *sh;
	uint8_t code[PROGRAM_MAX];
	unsigned len, bits; /* of the code segment: 16, 32, 64 */
	uint64_t at;        /* where the program stands */
	uint8_t tables[TABLES_SIZE]; /* page tables, as they were at the start of the program */
	int only;           /* --program, or -1 */
	bool verbose;
};

static uint64_t rnd(struct fuzz *f)
{
	f->rng ^= f->rng >> 12;
	f->rng ^= f->rng << 25;
	f->rng ^= f->rng >> 27;
	return f->rng * 0x2545f4914f6cdd1dull;
}

static unsigned below(struct fuzz *f, unsigned n)
{
	return (unsigned)((rnd(f) >> 32) % n);
}

/* An address that hurts. */
static uint64_t address(struct fuzz *f)
{
	static const uint64_t places[] = {
		TINY_CODE, TINY_CODE, TINY_CODE + PAGE_SIZE, TINY_DATA, TINY_DATA, TINY_GDT, TINY_IDT, TINY_TSS, TINY_TABLES,
		TINY_TABLES + 0x3000, TINY_FREE, TINY_STACK, TINY_STACK0, TINY_HIGH, TINY_HIGH + PAGE_SIZE, TINY_MMIO, TINY_RAM,
		0, 0x40000000, 0x7fff0000, 0x80000000, 0xfffff000, 0x100000000, 0x7fffffffe000, 0x7ffffffff000, 0x800000000000,
		0xffff800000000000, 0xffffffff80000000, 0xfffffffffffff000, 0x0123456789abc000,
	};

	return places[below(f, ARRAY_SIZE(places))] + (below(f, 4) ? below(f, 0x400) & ~7u : (uint64_t)(below(f, 32)) - 16);
}

/* -- Programs -------------------------------------------------------------------------------------------------- */

static void put(struct fuzz *f, unsigned byte)
{
	if (f->len < PROGRAM_MAX)
		f->code[f->len++] = (uint8_t)byte;
}

static void put_number(struct fuzz *f, uint64_t v, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		put(f, (unsigned)(v >> 8 * i) & 0xff);
}

static unsigned word_size(const struct fuzz *f)
{
	return f->bits == 16 ? 2 : 4;
}

/* ModRM and what belongs to it; the operand may be memory that this program itself stands in. */
static void put_modrm(struct fuzz *f, unsigned reg)
{
	unsigned rm = below(f, 8), mod = below(f, 4);
	bool absolute = f->bits == 16 ? mod == 0 && rm == 6 : mod == 0 && rm == 5;

	put(f, mod << 6 | (reg & 7) << 3 | rm);
	if (mod == 3)
		return;
	if (f->bits != 16 && rm == 4) {
		unsigned sib = below(f, 256);

		put(f, sib);
		absolute = mod == 0 && (sib & 7) == 5;
	}
	if (absolute) /* in 64-bit code most often relative to RIP: near the program */
		put_number(f, f->bits == 64 ? below(f, 256) - 128u : address(f), word_size(f));
	else if (mod == 1)
		put(f, below(f, 256));
	else if (mod == 2)
		put_number(f, below(f, 2) ? below(f, 64) - 32u : address(f), word_size(f));
}

enum shape { PLAIN, MODRM, MODRM_I8, MODRM_IZ, I8, IZ, I16, FAR, MOV_IMM, CR, MSR, COUNTED };

struct template {
	uint16_t opcode; /* 0x0fxx: two bytes */
	uint8_t shape;
	uint8_t spread;  /* opcodes from it on */
	int8_t reg;      /* of ModRM; -1: any */
};

static const struct template templates[] = {
	{ 0x00, MODRM, 4, -1 }, { 0x10, MODRM, 4, -1 }, { 0x28, MODRM, 4, -1 }, { 0x30, MODRM, 4, -1 }, { 0x38, MODRM, 4, -1 },
	{ 0x80, MODRM_I8, 1, -1 }, { 0x81, MODRM_IZ, 1, -1 }, { 0x83, MODRM_I8, 1, -1 }, { 0x84, MODRM, 8, -1 },
	{ 0x88, MODRM, 4, -1 }, { 0xc6, MODRM_I8, 1, 0 }, { 0xc7, MODRM_IZ, 1, 0 }, { 0xc0, MODRM_I8, 2, -1 },
	{ 0xd0, MODRM, 4, -1 }, { 0xf6, MODRM, 2, -1 }, { 0xfe, MODRM, 2, -1 }, { 0xff, MODRM, 1, -1 }, { 0x8f, MODRM, 1, 0 },
	{ 0x8d, MODRM, 1, -1 }, { 0x0f40, MODRM, 16, -1 }, { 0x0f90, MODRM, 16, -1 }, { 0x0fa3, MODRM, 1, -1 },
	{ 0x0fb0, MODRM, 2, -1 }, { 0x0fc0, MODRM, 2, -1 }, { 0x0fb6, MODRM, 2, -1 }, { 0x0faf, MODRM, 1, -1 },
	{ 0x0f10, MODRM, 2, -1 }, { 0x0f6f, MODRM, 1, -1 }, { 0x0f7f, MODRM, 1, -1 }, { 0x0fc7, MODRM, 1, 1 },
	{ 0x70, I8, 16, 0 }, { 0xeb, I8, 1, 0 }, { 0xe0, I8, 4, 0 }, { 0xe8, IZ, 2, 0 }, { 0xc2, I16, 1, 0 }, { 0xc3, PLAIN, 1, 0 },
	{ 0x50, PLAIN, 16, 0 }, { 0x68, IZ, 1, 0 }, { 0x6a, I8, 1, 0 }, { 0xc9, PLAIN, 1, 0 }, { 0x9c, PLAIN, 2, 0 },
	{ 0xb8, MOV_IMM, 8, 0 }, { 0xb8, MOV_IMM, 8, 0 }, { 0xa4, COUNTED, 4, 0 }, { 0xaa, COUNTED, 6, 0 }, { 0x6c, COUNTED, 4, 0 },
	{ 0xf8, PLAIN, 6, 0 }, { 0x98, PLAIN, 2, 0 }, { 0xcc, PLAIN, 1, 0 }, { 0xcd, I8, 1, 0 }, { 0xcf, PLAIN, 1, 0 },
	{ 0x8e, MODRM, 1, -1 }, { 0x8c, MODRM, 1, -1 }, { 0x06, PLAIN, 2, 0 }, { 0x1e, PLAIN, 2, 0 }, { 0x0fa0, PLAIN, 2, 0 },
	{ 0x0fa8, PLAIN, 2, 0 }, { 0xc4, MODRM, 2, -1 }, { 0x9a, FAR, 1, 0 }, { 0xea, FAR, 1, 0 }, { 0xff, MODRM, 1, 5 },
	{ 0xca, I16, 1, 0 }, { 0xcb, PLAIN, 1, 0 }, { 0x0f20, CR, 1, 0 }, { 0x0f22, CR, 1, 0 }, { 0x0f01, MODRM, 1, -1 },
	{ 0x0f00, MODRM, 1, -1 }, { 0x0f30, MSR, 1, 0 }, { 0x0f32, MSR, 1, 0 }, { 0x0f05, PLAIN, 1, 0 }, { 0x0f07, PLAIN, 1, 0 },
	{ 0x0f31, PLAIN, 1, 0 }, { 0x0fa2, PLAIN, 1, 0 }, { 0x0f06, PLAIN, 1, 0 }, { 0xe4, I8, 4, 0 }, { 0xec, PLAIN, 4, 0 },
	{ 0x0fae, MODRM, 1, -1 }, { 0x0f38, PLAIN, 1, 0 }, { 0xd8, MODRM, 8, -1 }, { 0xc8, PLAIN, 1, 0 }, { 0x0f80, IZ, 16, 0 },
};

static void put_prefixes(struct fuzz *f)
{
	static const uint8_t prefixes[] = { 0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

	while (!below(f, 6))
		put(f, prefixes[below(f, ARRAY_SIZE(prefixes))]);
	if (f->bits == 64 && below(f, 2))
		put(f, 0x40 | below(f, 16));
}

static void put_opcode(struct fuzz *f, unsigned opcode)
{
	if (opcode >> 8)
		put(f, opcode >> 8);
	put(f, opcode & 0xff);
}

static void put_mov_imm(struct fuzz *f, unsigned reg, uint64_t v)
{
	if (f->bits == 64)
		put(f, 0x48 | (below(f, 4) ? 0 : 1));
	put(f, 0xb8 | reg);
	put_number(f, v, f->bits / 8);
}

/* A selector: of the machine's, often, with any RPL. */
static unsigned selector(struct fuzz *f)
{
	return below(f, 8) ? below(f, SEL_FREE / 8 + 2) * 8 + below(f, 4) : below(f, 0x10000);
}

static void put_msr(struct fuzz *f)
{
	static const uint32_t msrs[] = { 0x10, 0x1b, 0x174, 0x175, 0x176, 0x1a0, 0x277, 0x2ff, 0x6e0, 0x800, 0x802, 0xc0000080, 0xc0000081,
					 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103 };

	put(f, 0xb9); /* mov $imm, %ecx, or CX */
	put_number(f, msrs[below(f, ARRAY_SIZE(msrs))], word_size(f));
	if (!below(f, 3))
		return;
	put(f, 0xb8);
	put_number(f, below(f, 2) ? address(f) : 0xd01u ^ 1u << below(f, 12), word_size(f));
	put(f, 0xba);
	put_number(f, below(f, 2) ? 0 : address(f) >> 32, word_size(f));
}

static void put_insn(struct fuzz *f)
{
	const struct template *t = &templates[below(f, ARRAY_SIZE(templates))];
	unsigned opcode = t->opcode + below(f, t->spread), reg = t->reg < 0 ? below(f, 8) : (unsigned)t->reg;

	if (t->shape == MSR)
		put_msr(f);
	if (t->shape == COUNTED && below(f, 4)) { /* with a count that comes to an end */
		put_mov_imm(f, R_CX, below(f, 600));
		put(f, below(f, 4) ? 0xf3 : 0xf2);
	}
	if (t->shape == MOV_IMM) {
		put_mov_imm(f, opcode & 7, below(f, 3) ? address(f) : below(f, 2) ? rnd(f) : selector(f));
		return;
	}
	put_prefixes(f);
	put_opcode(f, opcode);
	switch (t->shape) {
	case MODRM: put_modrm(f, reg); break;
	case MODRM_I8: put_modrm(f, reg), put(f, below(f, 256)); break;
	case MODRM_IZ: put_modrm(f, reg), put_number(f, below(f, 2) ? address(f) : rnd(f), word_size(f)); break;
	case I8: put(f, below(f, 3) ? below(f, 24) - 12u : below(f, 256)); break;
	case IZ: put_number(f, below(f, 4) ? below(f, 64) - 32u : address(f) - f->at, word_size(f)); break;
	case I16: put_number(f, below(f, 32), 2); break;
	case FAR: put_number(f, f->at + below(f, 64), word_size(f)), put_number(f, selector(f), 2); break;
	case CR: put(f, 0xc0 | below(f, 64)); break;
	default: break;
	}
}

/* In 64-bit code: a loop of accesses off registers that move by constants, which the translator makes a second form of. */
static void put_loop(struct fuzz *f)
{
	static const uint8_t opcodes[] = { 0x8b, 0x8b, 0x89, 0x01, 0x03, 0x31, 0x88, 0x8a, 0x39 };
	unsigned start, base;

	put_mov_imm(f, R_CX, 2 + below(f, 40));
	start = f->len;
	for (unsigned n = 1 + below(f, 4); n; n--) {
		base = R_SI + below(f, 5); /* to R10 */
		put(f, 0x48 | base >> 3);
		put(f, opcodes[below(f, ARRAY_SIZE(opcodes))]);
		put(f, 0x40 | below(f, 4) << 3 | (base & 7));
		put(f, below(f, 64));
		if (!below(f, 3))
			continue;
		put(f, 0x48 | base >> 3); /* add, or */
		put(f, 0x83);
		put(f, (below(f, 4) ? 0xc0 : 0xe8) | (base & 7));
		put(f, below(f, 64));
	}
	put(f, 0x83); /* sub $1, %ecx; jnz */
	put(f, 0xe9);
	put(f, 1);
	put(f, 0x75);
	put(f, start - (f->len + 1));
}

/* -- Rows of 64-bit user code: what compilers make, with the stack window always open ----------------------------- */

static void put_bytes(struct fuzz *f, const char *bytes, unsigned n)
{
	while (n--)
		put(f, (uint8_t)*bytes++);
}

#define PUT(f, bytes) put_bytes((f), (bytes), sizeof(bytes) - 1)

static unsigned any_but_sp(struct fuzz *f)
{
	unsigned reg = below(f, 7);

	return reg == R_SP ? R_DI : reg;
}

/* reg = an address that ends up in the program, mostly: an instruction, or the middle of one. */
static void put_code_address(struct fuzz *f, unsigned reg)
{
	PUT(f, "\x48\x8d"); /* lea disp(%rip), reg */
	put(f, reg << 3 | 5);
	put_number(f, below(f, 12) ? below(f, 60) - 16u : address(f) - f->at, 4);
}

static void put_jump(struct fuzz *f)
{
	unsigned reg = any_but_sp(f), to = below(f, 6);

	if (to)
		put_code_address(f, reg);
	else
		put_mov_imm(f, reg, address(f) ^ (below(f, 2) ? 0 : 1ull << 63)); /* not canonical, often */
	switch (below(f, 4)) {
	case 0:
		put(f, 0x50 | reg); /* push; ret, or ret and drop some */
		if (below(f, 2))
			put(f, 0xc3);
		else
			put(f, 0xc2), put_number(f, below(f, 4) * 8, 2);
		break;
	case 1:
		put(f, 0x50 | reg); /* push; jmp *(%rsp), which leaves it there */
		PUT(f, "\xff\x24\x24");
		break;
	case 2:
		if (to) { /* call */
			put(f, 0xff), put(f, 0xd0 | reg);
			break;
		}
		/* fall through */
	default:
		put(f, 0xff), put(f, 0xe0 | reg); /* jmp */
		break;
	}
}

/* An operation between a register and memory near RSP. */
static void put_stack_access(struct fuzz *f)
{
	static const uint8_t opcodes[] = { 0x01, 0x03, 0x29, 0x2b, 0x31, 0x39, 0x3b, 0x85, 0x89, 0x8b, 0x89, 0x8b };
	unsigned reg = any_but_sp(f);

	put(f, below(f, 4) ? 0x48 : 0x40);
	put(f, opcodes[below(f, ARRAY_SIZE(opcodes))]);
	if (below(f, 3)) {
		put(f, 0x44 | reg << 3), put(f, 0x24), put(f, below(f, 3) ? below(f, 16) * 8 : below(f, 256));
	} else {
		put(f, 0x84 | reg << 3), put(f, 0x24);
		put_number(f, below(f, 2) ? below(f, 0x2000) - 0x1000u : below(f, 0x200000) - 0x100000u, 4);
	}
}

static void put_stack_move(struct fuzz *f)
{
	switch (below(f, 10)) {
	case 0: PUT(f, "\x48\x83\xec"), put(f, below(f, 16) * 8); break; /* sub $imm8, %rsp */
	case 1: PUT(f, "\x48\x83\xc4"), put(f, below(f, 16) * 8); break;
	case 2: PUT(f, "\x48\x81\xec"), put_number(f, below(f, 0x40000), 4); break;
	case 3: PUT(f, "\x48\x8d\xa4\x24"), put_number(f, below(f, 0x80000) - 0x40000u, 4); break; /* lea disp(%rsp), %rsp */
	case 4: PUT(f, "\x48\x89\xe5"); break;                                                  /* mov %rsp, %rbp */
	case 5: PUT(f, "\x48\x89\xec"); break;                                                  /* mov %rbp, %rsp */
	case 6: put(f, 0xc9); break;                                                            /* leave */
	case 7: PUT(f, "\x48\x83\xe4\xf0"); break;                                              /* and $-16, %rsp */
	case 8: PUT(f, "\x48\x94"); break;                                                       /* xchg %rax, %rsp */
	default: PUT(f, "\x48\xbc"), put_number(f, below(f, 3) ? TINY_STACK3 - below(f, 0x1000) : address(f), 8); break;
	}
}

static void put_row(struct fuzz *f)
{
	switch (below(f, 12)) {
	case 0:
	case 1:
		put_jump(f);
		break;
	case 2: /* call, near by */
		put(f, 0xe8), put_number(f, below(f, 48) - 8u, 4);
		break;
	case 3:
		put(f, 0xc3);
		break;
	case 4:
		put(f, 0x70 | below(f, 16)), put(f, below(f, 32) - 4u);
		break;
	case 5:
	case 6:
		put(f, 0x50 | below(f, 16)); /* push, pop */
		break;
	case 7:
		put_stack_move(f);
		break;
	case 8:
		put_insn(f);
		break;
	default:
		put_stack_access(f);
		break;
	}
}

/* Instructions, then noise over a part of them; or noise from the start. */
static void make_program(struct fuzz *f, bool rows)
{
	unsigned insns = 4 + below(f, 60);

	f->len = 0;
	if (rows)
		while (insns-- && f->len < PROGRAM_MAX - 32)
			put_row(f);
	else if (!below(f, 8))
		while (f->len < 16 + insns)
			put(f, below(f, 256));
	else
		while (insns-- && f->len < PROGRAM_MAX - 64)
			f->bits == 64 && !below(f, 8) ? put_loop(f) : put_insn(f);
	for (unsigned n = rows || below(f, 3) ? 0 : below(f, 6); n; n--)
		f->code[below(f, f->len)] = (uint8_t)below(f, 256);
	put(f, 0xf4);
}

/* -- Machines -------------------------------------------------------------------------------------------------- */

static const struct {
	uint8_t mode, bits;
	bool user, rows;
} modes[] = {
	{ TINY_LONG, 64, true, true }, { TINY_LONG, 64, true, true }, { TINY_LONG, 64, true, true },
	{ TINY_LONG, 64, false }, { TINY_LONG, 64, false }, { TINY_LONG, 64, true }, { TINY_LONG57, 64, false },
	{ TINY_COMPAT, 32, false }, { TINY_PROT32, 32, false }, { TINY_PROT32, 32, true }, { TINY_PAGED32, 32, false },
	{ TINY_PAE, 32, false }, { TINY_PROT16, 16, false }, { TINY_PROT16, 16, true }, { TINY_REAL, 16, false },
	{ TINY_V86, 16, true },
};

/* Events go on a byte behind where they came from: in the middle of something. */
static void handle_events(struct fuzz *f, enum tiny_mode mode)
{
	static const uint8_t on[] = { 0xff, 0x04, 0x24 }, drop64[] = { 0x48, 0x83, 0xc4, 8 }, drop32[] = { 0x83, 0xc4, 4 };
	static const uint8_t iret64[] = { 0x48, 0xcf }, iret32[] = { 0xcf };
	bool wide = mode == TINY_LONG || mode == TINY_LONG57 || mode == TINY_COMPAT;

	if (mode == TINY_PROT16 || mode == TINY_REAL || below(f, 3))
		return;
	tiny_put(f->t, HANDLER, on, sizeof(on));
	tiny_put(f->t, HANDLER + sizeof(on), wide ? iret64 : iret32, wide ? sizeof(iret64) : sizeof(iret32));
	tiny_put(f->t, HANDLER_ERR, wide ? drop64 : drop32, wide ? sizeof(drop64) : sizeof(drop32));
	tiny_put(f->t, HANDLER_ERR + 4u - !wide, on, sizeof(on));
	tiny_put(f->t, HANDLER_ERR + 7u - !wide, wide ? iret64 : iret32, wide ? sizeof(iret64) : sizeof(iret32));
	for (unsigned n = 0; n < 32; n++) {
		bool err = n == X86_DF || (n >= X86_TS && n <= X86_PF) || n == X86_AC;

		tiny_set_gate(f->t, n, 0xe, n == X86_BP ? 3 : 0, wide ? SEL_CODE0_64 : SEL_CODE0, err ? HANDLER_ERR : HANDLER, 0);
	}
}

static void random_registers(struct fuzz *f)
{
	struct x86_state *s = &f->t->v->s;

	for (unsigned i = 0; i < 16; i++)
		if (i != R_SP || !below(f, 4))
			s->gpr[i] = below(f, 4) ? address(f) : below(f, 2) ? below(f, 32) : rnd(f);
	if (f->bits != 64)
		for (unsigned i = 0; i < 16; i++)
			s->gpr[i] = i < 8 ? (uint32_t)s->gpr[i] : 0;
	s->gpr[R_CX] = below(f, 4) ? below(f, 300) : s->gpr[R_CX];
	s->rflags |= rnd(f) & (FL_ARITH | FL_DF | FL_AC | FL_ID | (below(f, 6) ? 0 : FL_TF | FL_IF));
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->rip = f->at;
}

static void print_program(const struct fuzz *f, unsigned k)
{
	fprintf(stderr, "program %u, %u-bit, mode %d, CPL %d, at %#" PRIx64 ":\n", k, f->bits, (int)f->t->mode, f->t->v->s.cpl, f->at);
	for (unsigned i = 0; i < f->len; i++)
		fprintf(stderr, "%02x%s", f->code[i], i + 1 == f->len ? "\n" : " ");
}

static bool tables_changed(struct fuzz *f)
{
	for (unsigned off = 0; off < TABLES_SIZE; off += 4) {
		uint32_t was;

		memcpy(&was, f->tables + off, 4);
		if ((was ^ tiny_peek(f->t, TINY_TABLES + off, 4)) & ~PTE_AD)
			return true;
	}
	return false;
}

/* The numbers behind two words of a report, the second after the first. */
static bool numbers(const char *report, const char *first, const char *between, const char *second, uint64_t *a, uint64_t *b)
{
	const char *p = strstr(report, first), *q = p ? strstr(p, between) : NULL;

	q = q ? strstr(q, second) : NULL;
	if (!q)
		return false;
	*a = strtoull(p + strlen(first), NULL, 16);
	*b = strtoull(q + strlen(second), NULL, 16);
	return true;
}

/*
 * What differs is in the tables and no matter of accessed and dirty: one has been changed where they differed in such. Or it is
 * one accessed bit that was read there, or written elsewhere, before lockstep could make it the same.
 */
static bool tables_differ(const char *report)
{
	const char *ram = strstr(report, "RAM ");
	uint64_t at = ram ? strtoull(ram + 4, NULL, 16) : 0, engine, reference, differ;

	if (!numbers(report, "  engine ", "  reference ", "  reference ", &engine, &reference) &&
	    !numbers(report, "bytes, ", "the reference: ", "bytes, ", &engine, &reference))
		return false;
	differ = engine ^ reference;
	if (at >= TINY_TABLES && at < TINY_TABLES + TABLES_SIZE)
		return (differ & ~PTE_AD) != 0;
	return differ && !(differ & (differ - 1)) && (differ & 0x2020202020202020);
}

/* The architecture leaves open what comes of it. */
static bool is_open(struct fuzz *f)
{
	const struct vcpu_turn *turn = f->t->v->turn;
	uint64_t undefined = 0;

	for (unsigned i = 0; i < turn->n; i++)
		undefined |= turn->undefined[i] & ~FL_AF;
	return undefined ||
	       (f->t->mode >= TINY_PAGED32 && (tables_changed(f) || tables_differ(lockstep_report(f->t->v->lockstep))));
}

/* False: end of the iteration. */
static bool run_program(struct fuzz *f, unsigned k)
{
	unsigned m = below(f, ARRAY_SIZE(modes));
	struct shared *sh = f->sh;
	int r;

	f->bits = modes[m].bits;
	f->at = below(f, 3) ? TINY_CODE : TINY_CODE + PAGE_SIZE - below(f, 48); /* or over a page's end */
	make_program(f, modes[m].rows);
	tiny_enter(f->t, modes[m].mode, modes[m].user ? 3 : 0);
	handle_events(f, modes[m].mode);
	random_registers(f);
	tiny_put(f->t, f->at, f->code, f->len);
	f->t->in_value = rnd(f);
	tiny_get(f->t, TINY_TABLES, f->tables, TABLES_SIZE);
	sh->program = k;
	if (f->only >= 0 && (unsigned)f->only != k)
		return true;
	if (f->verbose)
		print_program(f, k);
	r = tiny_run(f->t);
	sh->programs++;
	if (lockstep_report(f->t->v->lockstep)[0] && is_open(f)) {
		sh->open++;
		return false;
	}
	if (lockstep_report(f->t->v->lockstep)[0]) {
		print_program(f, k);
		fprintf(stderr, "%s", lockstep_report(f->t->v->lockstep));
		_exit(1);
	}
	*(r == TINY_HLT ? &sh->halted : r >= 0 ? &sh->faults : r == TINY_SHUTDOWN ? &sh->shutdowns : &sh->cut) += 1;
	return true;
}

static void one(struct fuzz *f)
{
	f->sh->seed = f->rng;
	alarm(HANG_SECONDS);
	f->t = tiny_new_cpu("host,-rdrand,-rdseed"); /* as under --lockstep */
	f->t->limit_ns = PROGRAM_LIMIT_NS;
	lockstep_limit(f->t->v->lockstep, TURNS);
	for (unsigned k = 0; k < PROGRAMS && run_program(f, k); k++)
		;
	tiny_free(f->t);
	alarm(0);
	f->sh->done++;
}

/* -- Processes ------------------------------------------------------------------------------------------------- */

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Some iterations in a child: 0, or 1 after a message. */
static int run_child(struct fuzz *f, uint64_t limit, double until)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		const uint64_t first = f->sh->done;

		do
			one(f);
		while (f->sh->done < limit && f->sh->done - first < ITERATIONS_A_CHILD && now_s() < until);
		f->sh->seed = f->rng;
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("fuzz_bt");
		return 1;
	}
	f->rng = f->sh->seed; /* of the next iteration */
	if (!status)
		return 0;
	fprintf(stderr, "fuzz_bt: %s %d in program %u (repeat with --seed %#" PRIx64 " --iterations 1)\n",
		WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
		f->sh->program, f->sh->seed);
	return 1;
}

int main(int argc, char **argv)
{
	double seconds = DEFAULT_SECONDS, start = now_s();
	struct fuzz f = { .rng = DEFAULT_SEED, .only = -1 };
	uint64_t iterations = UINT64_MAX;
	const struct shared *sh;
	int rc = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--verbose"))
			f.verbose = true;
		else if (i + 1 == argc)
			break;
		else if (!strcmp(argv[i], "--seconds"))
			seconds = strtod(argv[++i], NULL);
		else if (!strcmp(argv[i], "--iterations"))
			iterations = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			f.rng = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--program"))
			f.only = atoi(argv[++i]);
	}
	if (!f.rng)
		f.rng = DEFAULT_SEED;
	log_set_level(LOG_ERROR); /* not what guests do wrong */
	setenv("DOPPEL_ENGINE", "bt,stack-window=always", 1);
	setenv("DOPPEL_LOCKSTEP", "1", 1);
	sh = f.sh = mmap(NULL, sizeof(*f.sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED) {
		perror("fuzz_bt");
		return 1;
	}
	do
		rc = run_child(&f, iterations, start + seconds);
	while (!rc && sh->done < iterations && now_s() < start + seconds);
	printf("fuzz_bt: %" PRIu64 " machines, %" PRIu64 " programs: %" PRIu64 " halted, %" PRIu64 " faulted, %" PRIu64 " shut down, %" PRIu64
	       " cut short, %" PRIu64 " undefined\n", sh->done, sh->programs, sh->halted, sh->faults, sh->shutdowns, sh->cut, sh->open);
	return rc;
}
