/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that compute: SHA-256, interpreter of a byte code, calls, a tree of objects. */
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "span.h"

/* -- SHA-256 (FIPS 180-4), with constants computed from the primes ---------------------------------------------- */

#define SHA_BYTES  (1u << 20)
#define SHA_ROUNDS 24
#define BLOCK      64

static uint32_t k[64], start[8];
static uint8_t *message;

/* The first 32 bits of the fraction of p^(1/root), root 2 or 3, by bisection in integers. */
static uint32_t root_fraction(uint64_t p, unsigned root)
{
	unsigned __int128 low = 0, high = (unsigned __int128)32 << 32;

	while (high - low > 1) {
		unsigned __int128 mid = (low + high) / 2;
		int below;

		if (root == 2) {
			below = mid * mid <= (unsigned __int128)p << 64;
		} else {
			/* mid has up to 37 bits: its cube fits */
			below = mid * mid * mid <= (unsigned __int128)p << 96;
		}
		if (below)
			low = mid;
		else
			high = mid;
	}
	return (uint32_t)low;
}

void sha256_setup(void)
{
	uint64_t s = 3;
	unsigned n = 0;

	for (uint64_t p = 2; n < 64; p++) {
		int prime = 1;

		for (uint64_t d = 2; d * d <= p; d++)
			prime &= p % d != 0;
		if (!prime)
			continue;
		if (n < 8)
			start[n] = root_fraction(p, 2);
		k[n++] = root_fraction(p, 3);
	}
	message = malloc(SHA_BYTES);
	if (!message)
		fail("sha256");
	for (unsigned i = 0; i < SHA_BYTES; i++)
		message[i] = (uint8_t)next_random(&s);
}

static inline uint32_t ror(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

/* Step n of eight: its variables a to h have moved on by n places, instead of their values. */
static inline void sha_step(uint32_t *v, unsigned n, uint32_t add)
{
	uint32_t a = v[-n & 7], b = v[(1 - n) & 7], c = v[(2 - n) & 7];
	uint32_t e = v[(4 - n) & 7], f = v[(5 - n) & 7], g = v[(6 - n) & 7];
	uint32_t t = v[(7 - n) & 7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + add;

	v[(3 - n) & 7] += t;
	v[(7 - n) & 7] = t + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
}

static void sha_block(uint32_t *h, const uint8_t *m)
{
	uint32_t w[64], v[8];

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)m[4 * i] << 24 | (uint32_t)m[4 * i + 1] << 16 | (uint32_t)m[4 * i + 2] << 8 | m[4 * i + 3];
	for (unsigned i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, h, sizeof(v));
	for (unsigned i = 0; i < 64; i += 8) {
#pragma GCC unroll 8
		for (unsigned n = 0; n < 8; n++)
			sha_step(v, n, k[i + n] + w[i + n]);
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] += v[i];
}

uint64_t sha256_run(void)
{
	uint32_t h[8];

	memcpy(h, start, sizeof(h));
	for (unsigned n = 0; n < SHA_ROUNDS; n++)
		for (unsigned at = 0; at < SHA_BYTES; at += BLOCK)
			sha_block(h, message + at);
	return (uint64_t)h[0] << 32 | h[7];
}

/* -- Interpreter: a stack machine that counts primes ------------------------------------------------------------- */

#define VM_LIMIT  3000
#define VM_ROUNDS 120

enum op { PUSH, ADD, MUL, MOD, LESS, JUMP, JUMP_ZERO, LOAD, STORE, DUP, POP, HALT };

/* for (n = 2; n < LIMIT; n++) { for (d = 2; d * d < n + 1; d++) if (n % d == 0) goto next; count++; next: } */
static const int16_t code[] = {
	PUSH, 2, STORE, 0,                                        /* 0: n = 2 */
	LOAD, 0, PUSH, VM_LIMIT, LESS, JUMP_ZERO, 61,             /* 4: while n < LIMIT */
	PUSH, 2, STORE, 1,                                        /* 11: d = 2 */
	LOAD, 1, DUP, MUL, LOAD, 0, PUSH, 1, ADD, LESS, JUMP_ZERO, 45, /* 15: while d * d < n + 1 */
	LOAD, 0, LOAD, 1, MOD, JUMP_ZERO, 52,                     /* 27: if n % d == 0, next */
	LOAD, 1, PUSH, 1, ADD, STORE, 1, JUMP, 15, POP, POP,      /* 34: d++ */
	LOAD, 2, PUSH, 1, ADD, STORE, 2,                          /* 45: count++ */
	LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 4,                 /* 52: n++ */
	HALT,                                                     /* 61 */
};
static const int16_t *volatile program = code;

void vm_setup(void)
{
}

static uint64_t interpret(const int16_t *c)
{
	int64_t stack[16], var[4] = { 0 }, *top = stack;
	uint64_t steps = 0;

	for (unsigned at = 0;;) {
		steps++;
		switch ((enum op)c[at++]) {
		case PUSH: *++top = c[at++]; break;
		case ADD: top--; *top += top[1]; break;
		case MUL: top--; *top *= top[1]; break;
		case MOD: top--; *top = (int64_t)((uint32_t)*top % (uint32_t)top[1]); break;
		case LESS: top--; *top = *top < top[1]; break;
		case JUMP: at = (unsigned)c[at]; break;
		case JUMP_ZERO: at = *top-- ? at + 1 : (unsigned)c[at]; break;
		case LOAD: *++top = var[c[at++]]; break;
		case STORE: var[c[at++]] = *top--; break;
		case DUP: top[1] = *top; top++; break;
		case POP: top--; break;
		case HALT: return steps * 1000003 + (uint64_t)var[2];
		}
	}
}

uint64_t vm_run(void)
{
	uint64_t sum = 0;

	for (unsigned n = 0; n < VM_ROUNDS; n++)
		sum = sum * 31 + interpret(program);
	return sum;
}

/* -- Calls -------------------------------------------------------------------------------------------------------- */

#define FIB 37

static int (*volatile fib_entry)(int);

/* One call each: the compiler must neither inline nor turn recursion into loops. */
static __attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) int fib(int n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

void fib_setup(void)
{
	fib_entry = fib;
}

uint64_t fib_run(void)
{
	return (uint64_t)fib_entry(FIB);
}

/* -- A tree of objects ---------------------------------------------------------------------------------------------- */

#define DEPTH       11
#define TREE_ROUNDS 600

struct node {
	uint64_t (*eval)(const struct node *, uint64_t);
	const struct node *left, *right;
	uint64_t value;
};

static uint64_t seed;

static uint64_t eval_leaf(const struct node *n, uint64_t x)
{
	return n->value ^ x;
}

static uint64_t eval_add(const struct node *n, uint64_t x)
{
	return n->left->eval(n->left, x) + n->right->eval(n->right, x + 1);
}

static uint64_t eval_mul(const struct node *n, uint64_t x)
{
	return n->left->eval(n->left, x) * (n->right->eval(n->right, ~x) | 1);
}

static uint64_t eval_choose(const struct node *n, uint64_t x)
{
	const struct node *next = (n->value + x) & 1 ? n->left : n->right;

	return next->eval(next, x >> 1) + n->value;
}

static const struct node *grow(unsigned depth)
{
	static uint64_t (*const inner[])(const struct node *, uint64_t) = { eval_add, eval_mul, eval_add, eval_choose };
	struct node *n = malloc(sizeof(*n));

	if (!n)
		fail("objects");
	n->value = next_random(&seed);
	n->eval = depth ? inner[(n->value >> 60) & 3] : eval_leaf;
	n->left = depth ? grow(depth - 1) : NULL;
	n->right = depth ? grow(depth - 1) : NULL;
	return n;
}

static void fell(const struct node *n)
{
	if (n->left)
		fell(n->left);
	if (n->right)
		fell(n->right);
	free((void *)(uintptr_t)n);
}

void objects_setup(void)
{
	seed = 11;
}

uint64_t objects_run(void)
{
	uint64_t sum = 0;

	for (unsigned n = 0; n < TREE_ROUNDS; n++) {
		const struct node *root = grow(DEPTH);

		for (unsigned i = 0; i < 8; i++)
			sum = sum * 31 + root->eval(root, sum + i);
		fell(root);
	}
	return sum;
}
