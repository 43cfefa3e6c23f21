/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One test case - code and complete user state - and what came of it in one executor. */
#ifndef DOPPEL_DIFF_CASE_H
#define DOPPEL_DIFF_CASE_H

#include <stdbool.h>
#include <stdint.h>
#include "layout.h"
#include "x86/state.h"

enum case_mode { MODE_64, MODE_32, MODE_16, CASE_MODES };

#define CASE_CODE_MAX  64
#define BLOCK_INSNS    12
#define CASE_PATCHES   6
#define CASE_PATCH_MAX 1024
#define NO_FORM        0xffffffffu

struct patch {
	uint16_t off; /* in the image */
	uint16_t len;
	uint16_t data; /* index into patch_data */
};

struct diff_case {
	uint64_t index;
	uint32_t form;     /* of the catalogue, or NO_FORM */
	uint16_t mnemonic; /* ZydisMnemonic, 0 if it does not decode */
	uint8_t mode;      /* enum case_mode */
	uint8_t code_len;  /* bytes that belong to the case */
	uint8_t insn_len;  /* of the first instruction, 0 if it does not decode */
	uint8_t n_insns;   /* of a block; 0: the case is one instruction */
	uint8_t insn_at[BLOCK_INSNS]; /* where they begin in code */
	uint8_t n_patches;
	uint16_t patch_used;
	uint8_t code[CASE_CODE_MAX];
	uint64_t start;    /* linear address of the code */
	uint64_t gpr[16], rip, rflags;
	uint64_t fs_base, gs_base;
	uint16_t sel[SEG_COUNT];
	struct x86_fpu fpu;
	struct patch patch[CASE_PATCHES];
	uint8_t patch_data[CASE_PATCH_MAX];
};

/* What changed in the data frames, as 64-byte lines. */
#define LINE_SIZE      64
#define LINES_PER_PAGE (PAGE_SIZE / LINE_SIZE)
#define OUTCOME_LINES  48

struct changed_line {
	uint16_t line; /* from the start of the image */
	uint8_t data[LINE_SIZE];
};

enum outcome_kind { OUTCOME_NONE, OUTCOME_TRAP, OUTCOME_HANG, OUTCOME_DIED };

/* How it ended: always with an exception, that of the HLT after the case if with no other. */
struct outcome {
	uint8_t kind; /* enum outcome_kind */
	uint8_t vector;
	uint32_t err;
	uint64_t cr2; /* for #PF */
	uint64_t gpr[16], rip, rflags;
	uint64_t fs_base, gs_base;
	uint16_t sel[SEG_COUNT];
	uint32_t mem_hash; /* of all changed lines, when there are more than fit */
	uint16_t n_lines;
	struct x86_fpu fpu;
	struct changed_line line[OUTCOME_LINES];
};

/* The case ran to its end: the trap is that of the filling, not of the first instruction. */
static inline bool outcome_completed(const struct diff_case *c, const struct outcome *o)
{
	return o->kind == OUTCOME_TRAP && o->vector == X86_GP && o->err == 0 && o->rip != c->rip;
}

/*
 * Cases come in batches over one image of memory; the batch is shared between the two processes.
 * `posted` and `done` are futexes: batch numbers.
 */
#define BATCH_CASES 256

struct batch {
	_Atomic uint32_t posted, done;
	_Atomic uint32_t at; /* the case that the child is in, for the post-mortem */
	uint32_t n;
	uint8_t image[IMAGE_FRAMES][PAGE_SIZE];
	struct diff_case c[BATCH_CASES];
	struct outcome native[BATCH_CASES];
};

/* Add a patch of len bytes at image offset off; silently nothing when there is no room or it is not data. */
void case_patch(struct diff_case *c, unsigned off, const void *data, unsigned len);

/* Image offset of a linear address in the world, or -1 if it is not in a page of the image. */
int world_image_offset(uint64_t la);

/* Put image and patches, or code, into frames; what to do before each case. */
void frames_load(uint8_t *const frame[FRAMES], const uint8_t image[][PAGE_SIZE], const struct diff_case *c);
void frames_load_code(uint8_t *const frame[FRAMES], const struct diff_case *c);

/* Note what differs from the image, and undo it, so that the frames equal the image again; the code too. */
void frames_collect(uint8_t *const frame[FRAMES], const uint8_t image[][PAGE_SIZE], const struct diff_case *c,
		    struct outcome *o);

#endif
