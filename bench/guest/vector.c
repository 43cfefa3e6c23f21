/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Double precision and vectors. The vector functions are compiled several times, for AVX-512, for AVX2 and for
 * neither, and the CPU that they run on says which is taken. Without contraction into fused multiply-adds,
 * so that all of them give the same bits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "span.h"

#define WIDE __attribute__((noinline, target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), \
			    optimize("O3", "fp-contract=off")))

/* -- Product of matrices ------------------------------------------------------------------------------------------ */

#define SIDE          192
#define MATMUL_ROUNDS 24

static double (*a)[SIDE], (*b)[SIDE], (*c)[SIDE];

static double (*matrix(void))[SIDE]
{
	double (*m)[SIDE] = aligned_alloc(64, sizeof(double[SIDE][SIDE]));
	uint64_t s = 17;

	if (!m)
		fail("matmul");
	for (unsigned i = 0; i < SIDE; i++)
		for (unsigned j = 0; j < SIDE; j++)
			m[i][j] = (double)(next_random(&s) >> 40) / (1 << 20);
	return m;
}

void matmul_setup(void)
{
	a = matrix();
	b = matrix();
	c = matrix();
}

static __attribute__((noinline)) void multiply(void)
{
	memset(c, 0, sizeof(double[SIDE][SIDE]));
	for (unsigned i = 0; i < SIDE; i++)
		for (unsigned l = 0; l < SIDE; l++)
			for (unsigned j = 0; j < SIDE; j++)
				c[i][j] += a[i][l] * b[l][j];
}

uint64_t matmul_run(void)
{
	for (unsigned n = 0; n < MATMUL_ROUNDS; n++) {
		multiply();
		a[n][n] += c[0][n] / 1e9;
	}
	return fnv(FNV_START, c, sizeof(double[SIDE][SIDE]));
}

/* -- Planets --------------------------------------------------------------------------------------------------------- */

#define BODIES      5
#define NBODY_STEPS 1200000
#define DT          0.001

static struct body {
	double x[3], v[3], mass;
} body[BODIES];

void nbody_setup(void)
{
	for (unsigned i = 0; i < BODIES; i++) {
		body[i] = (struct body){ .mass = 1.0 / (i + 1) };
		for (unsigned d = 0; d < 3; d++) {
			body[i].x[d] = (double)((i * 7 + d * 3) % 11) * 1.5 + i;
			body[i].v[d] = (double)((i * 5 + d) % 7) * 0.01 - 0.03;
		}
	}
}

static void attract(struct body *p, struct body *q)
{
	double d[3], r2 = 0.01, f;

	for (unsigned n = 0; n < 3; n++) {
		d[n] = p->x[n] - q->x[n];
		r2 += d[n] * d[n];
	}
	f = DT / (r2 * sqrt(r2));
	for (unsigned n = 0; n < 3; n++) {
		p->v[n] -= d[n] * q->mass * f;
		q->v[n] += d[n] * p->mass * f;
	}
}

uint64_t nbody_run(void)
{
	for (unsigned step = 0; step < NBODY_STEPS; step++) {
		for (unsigned i = 0; i < BODIES; i++)
			for (unsigned j = i + 1; j < BODIES; j++)
				attract(&body[i], &body[j]);
		for (unsigned i = 0; i < BODIES; i++)
			for (unsigned n = 0; n < 3; n++)
				body[i].x[n] += DT * body[i].v[n];
	}
	return fnv(FNV_START, body, sizeof(body));
}

/* -- Stencil of doubles, dot products of small integers, blending of bytes ------------------------------------------- */

#define GRID         512
#define PIXELS       (1u << 18)
#define SIMD_ROUNDS  400

static double *field[2];
static uint8_t *pixel[3];
static int16_t *weight;

void simd_setup(void)
{
	uint64_t s = 23;

	for (unsigned n = 0; n < 2; n++)
		field[n] = aligned_alloc(64, GRID * GRID * sizeof(double));
	for (unsigned n = 0; n < 3; n++)
		pixel[n] = aligned_alloc(64, PIXELS);
	weight = aligned_alloc(64, PIXELS * sizeof(*weight));
	if (!field[0] || !field[1] || !pixel[0] || !pixel[1] || !pixel[2] || !weight)
		fail("simd");
	for (unsigned n = 0; n < GRID * GRID; n++)
		field[0][n] = field[1][n] = (double)(next_random(&s) >> 44);
	for (unsigned n = 0; n < PIXELS; n++) {
		pixel[0][n] = (uint8_t)next_random(&s);
		pixel[1][n] = (uint8_t)next_random(&s);
		pixel[2][n] = 0;
		weight[n] = (int16_t)(next_random(&s) & 1023) - 512;
	}
}

static WIDE void relax(double *restrict to, const double *restrict from)
{
	for (unsigned y = 1; y < GRID - 1; y++)
		for (unsigned x = 1; x < GRID - 1; x++) {
			const double *p = from + y * GRID + x;

			to[y * GRID + x] = 0.5 * p[0] + 0.125 * (p[-1] + p[1] + p[-GRID] + p[GRID]);
		}
}

static WIDE uint32_t dot(const uint8_t *restrict x, const int16_t *restrict w, unsigned n)
{
	int32_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += x[i] * w[i];
	return (uint32_t)sum;
}

static WIDE void blend(uint8_t *restrict to, const uint8_t *restrict x, const uint8_t *restrict y, unsigned n, unsigned f)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = (uint8_t)((x[i] * f + y[i] * (256 - f)) >> 8);
}

uint64_t simd_run(void)
{
	uint64_t sum = 0;

	for (unsigned n = 0; n < SIMD_ROUNDS; n++) {
		relax(field[~n & 1], field[n & 1]);
		blend(pixel[2], pixel[0], pixel[1], PIXELS, n * 4);
		sum = sum * 31 + dot(pixel[2], weight, PIXELS);
	}
	return fnv(fnv(sum, field[0], GRID * GRID * sizeof(double)), pixel[2], PIXELS);
}
