/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records that point at each other, strings of 30 characters, enumerations, arrays and many small procedures. */
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "span.h"

#define ROUNDS 4000000
#define TEXT   31
#define SIDE   50

enum kind { ALPHA, BETA, GAMMA, DELTA };

struct record {
	struct record *next;
	enum kind kind, other;
	int value;
	char text[TEXT];
};

static struct record *here, *there;
static int row[SIDE], grid[SIDE][SIDE], total;
static char letter;
/* Read at run time, so that nothing is folded into constants. */
static const char *volatile first_text = "A PROGRAM WITH A FIRST STRING ";
static const char *volatile second_text = "A PROGRAM WITH ANOTHER STRING ";

#define OWN_FRAME __attribute__((noinline))

void dhry_setup(void)
{
	here = malloc(sizeof(*here));
	there = malloc(sizeof(*there));
	if (!here || !there)
		fail("dhry");
	*here = (struct record){ .next = there, .kind = ALPHA, .other = GAMMA, .value = 40 };
	memcpy(here->text, first_text, TEXT);
	*there = *here;
}

static OWN_FRAME enum kind turn(enum kind k, int value)
{
	switch (k) {
	case ALPHA: return BETA;
	case BETA: return value > 100 ? ALPHA : DELTA;
	case GAMMA: return BETA;
	default: return GAMMA;
	}
}

static OWN_FRAME int is_same(char a, char b)
{
	char c = a;

	if (c != b)
		return 0;
	letter = c;
	return 1;
}

static OWN_FRAME int later_text(const char *a, const char *b)
{
	int at = 2, hits = 0;

	while (at <= 2) {
		if (is_same(a[at], b[at + 1]))
			hits++;
		at++;
	}
	return !hits && strcmp(a, b) > 0;
}

static OWN_FRAME void add_up(int a, int b, int *sum)
{
	*sum = a + b + 2;
}

static OWN_FRAME void fill(int *line, int (*square)[SIDE], int at, int value)
{
	int n = at + 5;

	line[n] = value;
	line[n + 1] = line[n];
	line[n + 30 < SIDE ? n + 30 : 0] = n;
	for (int i = n; i <= n + 1; i++)
		square[n][i] = n;
	square[n][n - 1]++;
	square[n + 20 < SIDE ? n + 20 : 0][n] = line[n];
	total += 5;
}

static OWN_FRAME void follow(struct record *r)
{
	struct record *n = r->next;

	*n = *r;
	n->value = 5;
	n->next = r->next;
	if (n->kind == ALPHA) {
		n->value = 6;
		n->other = turn(r->other, n->value);
		n->next = there;
		add_up(n->value, 10, &n->value);
	} else {
		*r = *n;
	}
}

uint64_t dhry_run(void)
{
	char a[TEXT], b[TEXT];
	int x = 0, y = 0, z = 0;
	uint64_t sum = 0;

	memcpy(a, first_text, TEXT);
	for (int n = 1; n <= ROUNDS; n++) {
		memcpy(b, second_text, TEXT);
		x = 2;
		y = 3;
		if (!later_text(a, b)) {
			add_up(x, y, &z);
			x++;
		}
		for (; x < y; x++)
			add_up(5 * x - y, 3, &z);
		fill(row, grid, x + (n & 7), z);
		follow(here);
		for (char c = 'A'; c <= letter && c < 'C'; c++)
			sum += (uint64_t)turn((enum kind)(c & 3), n);
		y = z * x % 9 + n / (1 + (n & 15));
		z = 7 * (y - z) - x;
		sum += (uint64_t)(z + there->value);
	}
	return fnv(sum, row, sizeof(row)) ^ fnv(FNV_START, grid, sizeof(grid)) ^ (uint64_t)total;
}
