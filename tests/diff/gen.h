/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generator: seed and index give a case. */
#ifndef DOPPEL_DIFF_GEN_H
#define DOPPEL_DIFF_GEN_H

#include "case.h"
#include "catalog.h"
#include "rng.h"

struct generator {
	const struct catalog *catalog;
	uint64_t seed;
	uint64_t xcr0;   /* components that cases may use */
	bool ldt;
	bool plain;      /* no fetch faults: code in the middle of a page and of its segment */
	uint32_t *only;  /* forms to take, if --class was given; else NULL */
	uint32_t n_only;
	bool blocks;     /* --class blocks: nothing else */
};

/* Restrict to forms by class name, mnemonic, or mode ("64", "32", "16"). -EINVAL when nothing has that name. */
int gen_restrict(struct generator *g, const char *name, struct err *e);

void gen_image(const struct generator *g, uint64_t batch, uint8_t image[][PAGE_SIZE]);
void gen_case(const struct generator *g, uint64_t index, struct diff_case *c);

/* A case of this very form, from the stream of `index` (the probe for what the host has). */
void gen_case_of_form(const struct generator *g, uint64_t index, uint32_t form, struct diff_case *c);

struct decoded_insn {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};
bool gen_decode(const struct catalog *cat, const struct diff_case *c, struct decoded_insn *d);

/* steer.c: make registers, immediates and memory such that the instruction has something to do. */
struct steer {
	struct rng *r;
	struct diff_case *c;
	const struct decoded_insn *d;
	bool ldt;
	uint32_t locked; /* general registers that must stay as they are */
};
void steer_encoding(struct rng *r, struct diff_case *c, const struct decoded_insn *d); /* displacement, immediates */
void steer_operands(struct steer *s);

/* block.c: the code of a block. */
void block_make(struct rng *r, struct diff_case *c);

/* special.c: what particular mnemonics need on top of that. */
void steer_special(struct steer *s);
/* Registers that special cases want set before memory operands are solved. */
void steer_special_early(struct steer *s);

/* Helpers of the two. Register numbers as in enum x86_reg. */
int steer_gpr_number(ZydisRegister reg); /* -1: not a general register; AH to BH give 0 to 3 */
void steer_set_gpr(struct steer *s, unsigned reg, unsigned bits, uint64_t val);
uint64_t steer_segment_base(const struct diff_case *c, ZydisRegister seg);
/* Linear address of a memory operand with the registers as they are; VSIB without the index. */
uint64_t steer_linear(const struct diff_case *c, const struct decoded_insn *d, const ZydisDecodedOperand *op);
void steer_patch_linear(struct steer *s, uint64_t la, const void *data, unsigned len);

#endif
