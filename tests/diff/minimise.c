/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Make a failing case simpler, one piece of input after the other, as long as it still fails. */
#include <string.h>
#include "minimise.h"

static void zero_gpr(struct diff_case *c, unsigned n)
{
	c->gpr[n] = 0;
}

static void zero_zmm(struct diff_case *c, unsigned n)
{
	memset(c->fpu.zmm[n], 0, sizeof(c->fpu.zmm[n]));
}

static void zero_st(struct diff_case *c, unsigned n)
{
	memset(c->fpu.st[n], 0, sizeof(c->fpu.st[n]));
}

static void zero_k(struct diff_case *c, unsigned n)
{
	c->fpu.k[n] = 0;
}

static void clear_flag(struct diff_case *c, unsigned n)
{
	c->rflags &= ~BIT(n) | FL_1 | FL_IF;
}

static void drop_patch(struct diff_case *c, unsigned n)
{
	if (n >= c->n_patches)
		return;
	c->n_patches--;
	memmove(c->patch + n, c->patch + n + 1, (c->n_patches - n) * sizeof(c->patch[0]));
}

static void drop_insn(struct diff_case *c, unsigned n)
{
	unsigned end = n + 1 < c->n_insns ? c->insn_at[n + 1] : c->code_len;

	if (n < c->n_insns)
		memset(c->code + c->insn_at[n], 0x90, end - c->insn_at[n]);
}

static void plain_fpu(struct diff_case *c, unsigned n)
{
	if (n == 0)
		c->fpu.mxcsr = 0x1f80;
	else if (n == 1 && !(c->fpu.fsw & 0x80)) /* a pending exception stays one */
		c->fpu.fcw = 0x37f;
	else if (n == 2)
		c->fpu.fsw = 0;
	else if (n == 3)
		c->fpu.ftw = 0;
	else if (n == 4)
		c->fpu.fop = 0, c->fpu.fip = 0, c->fpu.fdp = 0;
}

static void plain_place(struct diff_case *c, unsigned n)
{
	if (c->mode != MODE_64)
		return;
	if (n == 0)
		c->fs_base = 0;
	else if (n == 1)
		c->gs_base = 0;
	else
		c->start = c->rip = WORLD_LOW + WORLD_CODE + 0x100;
}

void case_minimise(struct diff_case *c, bool (*fails)(void *opaque, const struct diff_case *c), void *opaque)
{
	static const struct {
		void (*simpler)(struct diff_case *c, unsigned n);
		unsigned n;
	} steps[] = { { drop_insn, BLOCK_INSNS }, { plain_place, 3 }, { zero_zmm, 32 }, { zero_k, 8 },   { zero_st, 8 },
		      { plain_fpu, 5 },   { zero_gpr, 16 }, { clear_flag, 22 }, { drop_patch, CASE_PATCHES } };

	for (unsigned s = 0; s < ARRAY_SIZE(steps); s++)
		for (unsigned n = steps[s].n; n-- > 0;) {
			struct diff_case simpler = *c;

			steps[s].simpler(&simpler, n);
			if (memcmp(&simpler, c, sizeof(*c)) && fails(opaque, &simpler))
				*c = simpler;
		}
}
