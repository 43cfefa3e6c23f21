/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's registers as gdb numbers them. */
#include <string.h>

#include "base/bits.h"
#include "cpu/vcpu.h"
#include "monitor/gdb_regs.h"

/* -- The table ---------------------------------------------------------------------------------------------- */

enum kind { GPR, RIP, FLAGS, SELECTOR, ST, X87, XMM, MXCSR, YMM_HIGH, BASE, KERNEL_GS, CR, EFER, DR, TABLE_BASE };

struct reg {
	const char *name, *type;
	uint8_t kind, index, bits;
};

struct feature {
	const char *name;
	const struct reg *reg;
	unsigned n;
};

/* In the order of gdb's own files, which it insists on for the first. */
static const struct reg core_regs[] = {
	{ "rax", "int64", GPR, R_AX, 64 }, { "rbx", "int64", GPR, R_BX, 64 }, { "rcx", "int64", GPR, R_CX, 64 },
	{ "rdx", "int64", GPR, R_DX, 64 }, { "rsi", "int64", GPR, R_SI, 64 }, { "rdi", "int64", GPR, R_DI, 64 },
	{ "rbp", "data_ptr", GPR, R_BP, 64 }, { "rsp", "data_ptr", GPR, R_SP, 64 },
	{ "r8", "int64", GPR, 8, 64 }, { "r9", "int64", GPR, 9, 64 }, { "r10", "int64", GPR, 10, 64 },
	{ "r11", "int64", GPR, 11, 64 }, { "r12", "int64", GPR, 12, 64 }, { "r13", "int64", GPR, 13, 64 },
	{ "r14", "int64", GPR, 14, 64 }, { "r15", "int64", GPR, 15, 64 },
	{ "rip", "code_ptr", RIP, 0, 64 }, { "eflags", "x86_eflags", FLAGS, 0, 32 },
	{ "cs", "int32", SELECTOR, SEG_CS, 32 }, { "ss", "int32", SELECTOR, SEG_SS, 32 }, { "ds", "int32", SELECTOR, SEG_DS, 32 },
	{ "es", "int32", SELECTOR, SEG_ES, 32 }, { "fs", "int32", SELECTOR, SEG_FS, 32 }, { "gs", "int32", SELECTOR, SEG_GS, 32 },
	{ "st0", "i387_ext", ST, 0, 80 }, { "st1", "i387_ext", ST, 1, 80 }, { "st2", "i387_ext", ST, 2, 80 },
	{ "st3", "i387_ext", ST, 3, 80 }, { "st4", "i387_ext", ST, 4, 80 }, { "st5", "i387_ext", ST, 5, 80 },
	{ "st6", "i387_ext", ST, 6, 80 }, { "st7", "i387_ext", ST, 7, 80 },
	{ "fctrl", "int", X87, 0, 32 }, { "fstat", "int", X87, 1, 32 }, { "ftag", "int", X87, 2, 32 }, { "fiseg", "int", X87, 3, 32 },
	{ "fioff", "int", X87, 4, 32 }, { "foseg", "int", X87, 5, 32 }, { "fooff", "int", X87, 6, 32 }, { "fop", "int", X87, 7, 32 },
};

#define VECTOR(kind, name, type)                                                                                       \
	{ name "0", type, kind, 0, 128 }, { name "1", type, kind, 1, 128 }, { name "2", type, kind, 2, 128 },           \
	{ name "3", type, kind, 3, 128 }, { name "4", type, kind, 4, 128 }, { name "5", type, kind, 5, 128 },           \
	{ name "6", type, kind, 6, 128 }, { name "7", type, kind, 7, 128 }, { name "8", type, kind, 8, 128 },           \
	{ name "9", type, kind, 9, 128 }, { name "10", type, kind, 10, 128 }, { name "11", type, kind, 11, 128 },       \
	{ name "12", type, kind, 12, 128 }, { name "13", type, kind, 13, 128 }, { name "14", type, kind, 14, 128 },     \
	{ name "15", type, kind, 15, 128 }

static const struct reg sse_regs[] = { VECTOR(XMM, "xmm", "vec128"), { "mxcsr", "int", MXCSR, 0, 32 } };

/* gdb wants ymm0h, not ymmh0. */
static const struct reg avx_regs[] = {
	{ "ymm0h", "uint128", YMM_HIGH, 0, 128 }, { "ymm1h", "uint128", YMM_HIGH, 1, 128 },
	{ "ymm2h", "uint128", YMM_HIGH, 2, 128 }, { "ymm3h", "uint128", YMM_HIGH, 3, 128 },
	{ "ymm4h", "uint128", YMM_HIGH, 4, 128 }, { "ymm5h", "uint128", YMM_HIGH, 5, 128 },
	{ "ymm6h", "uint128", YMM_HIGH, 6, 128 }, { "ymm7h", "uint128", YMM_HIGH, 7, 128 },
	{ "ymm8h", "uint128", YMM_HIGH, 8, 128 }, { "ymm9h", "uint128", YMM_HIGH, 9, 128 },
	{ "ymm10h", "uint128", YMM_HIGH, 10, 128 }, { "ymm11h", "uint128", YMM_HIGH, 11, 128 },
	{ "ymm12h", "uint128", YMM_HIGH, 12, 128 }, { "ymm13h", "uint128", YMM_HIGH, 13, 128 },
	{ "ymm14h", "uint128", YMM_HIGH, 14, 128 }, { "ymm15h", "uint128", YMM_HIGH, 15, 128 },
};

static const struct reg segment_regs[] = { { "fs_base", "int", BASE, SEG_FS, 64 }, { "gs_base", "int", BASE, SEG_GS, 64 } };

static const struct reg system_regs[] = {
	{ "k_gs_base", "int64", KERNEL_GS, 0, 64 }, { "cr0", "int64", CR, 0, 64 }, { "cr2", "int64", CR, 2, 64 },
	{ "cr3", "int64", CR, 3, 64 }, { "cr4", "int64", CR, 4, 64 }, { "efer", "int64", EFER, 0, 64 },
	{ "dr0", "int64", DR, 0, 64 }, { "dr1", "int64", DR, 1, 64 }, { "dr2", "int64", DR, 2, 64 },
	{ "dr3", "int64", DR, 3, 64 }, { "dr6", "int64", DR, 6, 64 }, { "dr7", "int64", DR, 7, 64 },
	{ "gdt_base", "int64", TABLE_BASE, 0, 64 }, { "idt_base", "int64", TABLE_BASE, 1, 64 },
};

#define FEATURE(name, regs) { name, regs, ARRAY_SIZE(regs) }

static const struct feature features[] = {
	FEATURE("org.gnu.gdb.i386.core", core_regs), FEATURE("org.gnu.gdb.i386.sse", sse_regs),
	FEATURE("org.gnu.gdb.i386.avx", avx_regs), FEATURE("org.gnu.gdb.i386.segments", segment_regs),
	FEATURE("org.doppel.x86.system", system_regs),
};

static const struct reg *find_reg(unsigned n)
{
	for (size_t f = 0; f < ARRAY_SIZE(features); n -= features[f++].n)
		if (n < features[f].n)
			return &features[f].reg[n];
	return NULL;
}

unsigned gdb_n_regs(void)
{
	unsigned n = 0;

	for (size_t f = 0; f < ARRAY_SIZE(features); f++)
		n += features[f].n;
	return n;
}

/* -- The description ------------------------------------------------------------------------------------------- */

static const char core_types[] =
	"<flags id=\"x86_eflags\" size=\"4\">"
	"<field name=\"\" start=\"22\" end=\"31\"/>"
	"<field name=\"ID\" start=\"21\" end=\"21\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
	"<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
	"<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
	"<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
	"<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
	"<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
	"<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
	"<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"CF\" start=\"0\" end=\"0\"/></flags>";

static const char sse_types[] =
	"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
	"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
	"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
	"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
	"<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
	"<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
	"<field name=\"uint128\" type=\"uint128\"/></union>";

void gdb_describe_target(struct strbuf *out)
{
	strbuf_addf(out, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
			 "<architecture>i386:x86-64</architecture>");
	for (size_t f = 0; f < ARRAY_SIZE(features); f++) {
		strbuf_addf(out, "<feature name=\"%s\">%s", features[f].name,
			    features[f].reg == core_regs ? core_types : features[f].reg == sse_regs ? sse_types : "");
		for (unsigned n = 0; n < features[f].n; n++)
			strbuf_addf(out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>", features[f].reg[n].name,
				    features[f].reg[n].bits, features[f].reg[n].type);
		strbuf_addf(out, "</feature>");
	}
	strbuf_addf(out, "</target>");
}

/* -- Values ------------------------------------------------------------------------------------------------------ */

/* The x87 tag word in full, from which registers hold something, SDM vol. 1, 8.1.7. */
static uint16_t full_tags(const struct x86_fpu *f)
{
	unsigned top = (f->fsw >> 11) & 7;
	uint16_t tags = 0;

	for (unsigned r = 0; r < 8; r++) {
		const uint8_t *st = f->st[(r - top) & 7];
		unsigned exponent = (st[8] | st[9] << 8) & 0x7fff, tag = 0;
		uint64_t mantissa;

		memcpy(&mantissa, st, sizeof(mantissa));
		if (!(f->ftw & BIT(r)))
			tag = 3;
		else if (!exponent && !mantissa)
			tag = 1;
		else if (exponent == 0x7fff || !(mantissa >> 63))
			tag = 2;
		tags |= (uint16_t)(tag << (2 * r));
	}
	return tags;
}

static uint32_t get_x87(const struct x86_fpu *f, unsigned index)
{
	const uint32_t vals[] = { f->fcw, f->fsw, full_tags(f), f->fcs, (uint32_t)f->fip, f->fds, (uint32_t)f->fdp, f->fop };

	return vals[index];
}

static void set_x87(struct x86_fpu *f, unsigned index, uint32_t val)
{
	switch (index) {
	case 0: f->fcw = (uint16_t)val; break;
	case 1: f->fsw = (uint16_t)val; break;
	case 2:
		f->ftw = 0;
		for (unsigned r = 0; r < 8; r++)
			if (((val >> (2 * r)) & 3) != 3)
				f->ftw |= (uint16_t)BIT(r);
		break;
	case 3: f->fcs = (uint16_t)val; break;
	case 4: f->fip = val; break;
	case 5: f->fds = (uint16_t)val; break;
	case 6: f->fdp = val; break;
	default: f->fop = (uint16_t)(val & 0x7ff); break;
	}
}

static uint64_t get_cr(const struct x86_state *s, unsigned n)
{
	return n == 0 ? s->cr0 : n == 2 ? s->cr2 : n == 3 ? s->cr3 : s->cr4;
}

static uint64_t get_number(const struct vcpu *v, const struct reg *r)
{
	const struct x86_state *s = &v->s;

	switch (r->kind) {
	case GPR: return s->gpr[r->index];
	case RIP: return debug_pc(v);
	case FLAGS: return s->rflags;
	case SELECTOR: return s->seg[r->index].sel;
	case X87: return get_x87(&s->fpu, r->index);
	case MXCSR: return s->fpu.mxcsr;
	case BASE: return s->seg[r->index].base;
	case KERNEL_GS: return s->msr.kernel_gs_base;
	case CR: return get_cr(s, r->index);
	case EFER: return s->efer;
	case DR: return s->dr[r->index];
	default: return r->index ? s->idtr.base : s->gdtr.base;
	}
}

unsigned gdb_get_reg(struct vcpu *v, unsigned n, uint8_t buf[GDB_REG_MAX])
{
	const struct reg *r = find_reg(n);
	uint64_t val;

	if (!r)
		return 0;
	if (v->engine->sync_out)
		v->engine->sync_out(v, SYNC_ALL);
	if (r->kind == ST) {
		memcpy(buf, v->s.fpu.st[r->index], 10);
	} else if (r->kind == XMM || r->kind == YMM_HIGH) {
		memcpy(buf, v->s.fpu.zmm[r->index] + (r->kind == XMM ? 0 : 16), 16);
	} else {
		val = get_number(v, r);
		memcpy(buf, &val, r->bits / 8);
	}
	return r->bits / 8;
}

/* A selector with what it means cannot be made up: the same again, or in real mode any. */
static bool set_selector(struct vcpu *v, unsigned n, uint64_t val)
{
	struct x86_seg *seg = &v->s.seg[n];

	if (val == seg->sel)
		return true;
	if (!x86_real_like(&v->s) || val > UINT16_MAX)
		return false;
	seg->sel = (uint16_t)val;
	seg->base = val << 4;
	return true;
}

static bool set_cr(struct vcpu *v, unsigned n, uint64_t val)
{
	switch (n) {
	case 0: return !vcpu_set_cr0(v, val);
	case 3: return !vcpu_set_cr3(v, val);
	case 4: return !vcpu_set_cr4(v, val);
	default: v->s.cr2 = val; return true;
	}
}

static bool set_number(struct vcpu *v, const struct reg *r, uint64_t val)
{
	struct x86_state *s = &v->s;

	if ((r->kind == BASE || r->kind == KERNEL_GS || (r->kind == RIP && x86_64bit(s))) && !x86_canonical(s, val))
		return false;
	switch (r->kind) {
	case GPR: s->gpr[r->index] = val; return true;
	case RIP:
		s->rip = x86_64bit(s) ? val : (uint32_t)(val - s->seg[SEG_CS].base);
		return true;
	case FLAGS:
		s->rflags = (val & FL_DEFINED & ~(uint64_t)FL_VM) | (s->rflags & FL_VM) | FL_1;
		return true;
	case SELECTOR: return set_selector(v, r->index, val);
	case X87: set_x87(&s->fpu, r->index, (uint32_t)val); return true;
	case MXCSR:
		s->fpu.mxcsr = (uint32_t)val & 0xffff;
		return true;
	case BASE: s->seg[r->index].base = val; return true;
	case KERNEL_GS: s->msr.kernel_gs_base = val; return true;
	case CR: return val == get_cr(s, r->index) || set_cr(v, r->index, val);
	case EFER: return val == s->efer || !vcpu_set_efer(v, val);
	case DR: return val == s->dr[r->index]; /* they are for the guest's own debugger */
	default: return val == (r->index ? s->idtr.base : s->gdtr.base);
	}
}

bool gdb_set_reg(struct vcpu *v, unsigned n, const uint8_t *buf, size_t len)
{
	const struct reg *r = find_reg(n);
	uint64_t val = 0;

	if (!r || len != r->bits / 8u)
		return false;
	if (v->engine->sync_out)
		v->engine->sync_out(v, SYNC_ALL);
	v->debug.written = SYNC_ALL;
	if (r->kind == ST) {
		memcpy(v->s.fpu.st[r->index], buf, 10);
		return true;
	}
	if (r->kind == XMM || r->kind == YMM_HIGH) {
		memcpy(v->s.fpu.zmm[r->index] + (r->kind == XMM ? 0 : 16), buf, 16);
		return true;
	}
	memcpy(&val, buf, len);
	return set_number(v, r, val);
}
