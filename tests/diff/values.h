/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random values with the interesting ones in them: integers, addresses, flags, vectors, x87 state. */
#ifndef DOPPEL_DIFF_VALUES_H
#define DOPPEL_DIFF_VALUES_H

#include "case.h"
#include "rng.h"

uint64_t value_int(struct rng *r); /* small, boundary or any */

/* A linear address for an access of `size` bytes: mostly in the data pages, often at their edges, sometimes bad. */
uint64_t value_address(struct rng *r, unsigned size, bool low);

/* A linear address in the code pages at which nothing but filling stands. */
uint64_t value_code_address(struct rng *r, bool low);

uint16_t value_selector(struct rng *r, bool ldt);
uint64_t value_flags(struct rng *r, bool string);
uint32_t value_mxcsr(struct rng *r);
uint16_t value_fcw(struct rng *r);
void value_st(struct rng *r, uint8_t st[16]);

/* Fill n bytes (a multiple of 8) with elements of one random kind. */
void value_vector(struct rng *r, uint8_t *v, unsigned n);

void value_x87(struct rng *r, struct x86_fpu *fpu, bool any); /* any: more than the initial state */
void value_vectors(struct rng *r, struct x86_fpu *fpu, uint64_t xcr0);

/* First contents of memory: numbers of all kinds, addresses, selectors. */
void value_image(struct rng *r, uint8_t image[][PAGE_SIZE]);

#endif
