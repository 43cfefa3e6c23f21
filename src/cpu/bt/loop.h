/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The second form of a block that is a loop: its accesses are checked once for many iterations. */
#ifndef DOPPEL_CPU_BT_LOOP_H
#define DOPPEL_CPU_BT_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include "cpu/bt/bt.h"

#define BT_LOOP_STREAMS 8    /* of one loop; not more than BT_MAX_GROUPS, whose slots their addends use */
#define BT_LOOP_STEP    1024 /* bytes: of larger steps too few fit into a page */
#define BT_LOOP_SPAN    2048 /* bytes that one iteration may reach of a stream */
/*
 * Iterations between two looks at what is pending: 6144 instructions at most, so that an interrupt waits for some microseconds
 * even where each of them takes ten cycles.
 */
#define BT_LOOP_CHUNK   128

_Static_assert(BT_LOOP_STREAMS <= BT_MAX_GROUPS, "each stream's addend has a slot");

/* Accesses with the same registers for their address. */
struct bt_stream {
	uint8_t base, index, scale; /* index: BT_PLAN_NONE if there is none */
	uint8_t carrier;            /* the register that takes the addend; T1: none, the addend itself stands in T1 */
	bool write;                 /* checked for writing */
	uint16_t size;              /* bytes that one iteration reaches */
	int16_t step;               /* of the address from one iteration to the next */
	int32_t off;                /* the lowest byte, from what the registers say at the loop's beginning */
};

struct bt_loop {
	uint8_t n;         /* the block's first n instructions are the loop, the last of them jumps back; 0: it has no second form */
	uint8_t n_streams;
	uint8_t counter;   /* the stolen register that counts iterations, or BT_PLAN_NONE: the slot does */
	bool stolen[2];    /* the loop uses r10, r11: they are in place */
	struct bt_stream stream[BT_LOOP_STREAMS];
	int8_t of[BT_MAX_INSNS]; /* the stream of an instruction's access; -1: none */
};

struct bt_insn;
struct translation;

/* loop.c: of n classified instructions whose flags_live is known; the block is 64-bit code. l->n is 0 if there is none. */
void bt_loop_plan(struct bt_loop *l, const struct bt_insn *in, unsigned n);

/* An interrupt has come: what was not worth it is tried again. */
static inline void bt_loop_tick(struct bt *bt)
{
	for (unsigned n = 0; n < BT_LOOP_RECORDS; n++)
		bt->loop_worth[n] = 0;
}

/* loop_emit.c: behind the block's own code. */
void bt_emit_loop(struct translation *t);

#endif
