/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of translations for the same guest code at other linear addresses. Everything under the cache's lock. */
#ifndef DOPPEL_CPU_BT_CLONE_H
#define DOPPEL_CPU_BT_CLONE_H

#include "cpu/bt/asm.h"
#include "cpu/bt/bt.h"

struct bt_cache;

/* Whether code at la may stand elsewhere in another process: then the assembler shall note what moves. */
bool bt_moves(uint64_t la, const struct bt_mode *mode);

/* b, which is published, may be copied: n notes of the assembler that made it from host address `start` on. */
void bt_keep_moves(struct bt_cache *c, struct bt_block *b, uint32_t start, const struct asm_move *move, unsigned n);

/* The block at la from a translation of the same guest memory, if there is one; room was checked. */
struct bt_block *bt_clone(struct bt *bt, uint64_t la, uint64_t gpa, struct bt_mode mode);

#endif
