/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operands of which a mask selects elements: what is not selected must not fault (SDM vol. 2, 2.8.4).
 *
 * The bytes that the mask selects are computed first, 64 at most. Only the range from the first to the
 * last of them is translated, and where all of the operand lies in pages of that range, the stub runs in
 * place: the host suppresses what needs suppressing. Else the selected runs of bytes move through the
 * bounce buffer. A range that spans two pages has a selected byte in each, so no unselected page faults.
 * When nothing is selected nothing is checked, alignment included. Alignment is checked by element, and not
 * at all for VMASKMOV; MASKMOVDQU is checked as a store of all its bytes. All of this as AMD's processors do it
 * where the manuals leave it open.
 */
#include <string.h>

#include "cpu/interp/hostexec_int.h"

/* -- Description ----------------------------------------------------------------------------------------- */

/* The exception classes whose masked-out elements may fault all the same ("NF", SDM vol. 2, 2.8.5). */
static bool suppresses_faults(const ZydisDecodedInstruction *i)
{
	switch (i->mnemonic) {
	/* The decoder has these in E4; they are E4NF: a mask bit is not tied to the bytes of one element. */
	case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB:
	case ZYDIS_MNEMONIC_VDBPSADBW:
	case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
		return false;
	default:
		break;
	}
	switch (i->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E1NF:
	case ZYDIS_EXCEPTION_CLASS_E2NF:
	case ZYDIS_EXCEPTION_CLASS_E3NF:
	case ZYDIS_EXCEPTION_CLASS_E4NF:
	case ZYDIS_EXCEPTION_CLASS_E5NF:
	case ZYDIS_EXCEPTION_CLASS_E6NF:
	case ZYDIS_EXCEPTION_CLASS_E9NF:
	case ZYDIS_EXCEPTION_CLASS_E10NF:
	case ZYDIS_EXCEPTION_CLASS_E11NF:
		return false;
	default:
		return true;
	}
}

static bool is_vector(const ZydisDecodedOperand *o)
{
	ZydisRegisterClass c = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(o->reg.value) :
									ZYDIS_REGCLASS_INVALID;

	return c == ZYDIS_REGCLASS_XMM || c == ZYDIS_REGCLASS_YMM || c == ZYDIS_REGCLASS_ZMM;
}

/* Elements under the mask: no operand that takes part has fewer, and a broadcast's memory does not count. */
static unsigned mask_elements(const struct decoded *d, const ZydisDecodedOperand *m)
{
	bool broadcast = d->i.avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID;
	unsigned n = broadcast ? d->i.avx.vector_length / m->element_size : m->element_count;

	for (unsigned k = 0; k < d->i.operand_count; k++)
		if (is_vector(&d->op[k]) && d->op[k].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
			n = MIN(n, d->op[k].element_count);
	return n;
}

static void describe_evex(const struct decoded *d, const ZydisDecodedOperand *m, struct hx_desc *out)
{
	ZydisInstructionCategory c = d->i.meta.category;

	bool packed = c == ZYDIS_CATEGORY_COMPRESS || c == ZYDIS_CATEGORY_EXPAND;

	if (c == ZYDIS_CATEGORY_COMPRESS)
		out->ac_align = (uint8_t)(m->element_size / 8);
	if (d->i.avx.mask.reg == ZYDIS_REGISTER_NONE || d->i.avx.mask.reg == ZYDIS_REGISTER_K0)
		return;
	if (!suppresses_faults(&d->i) || !m->element_size || !m->element_count) {
		/* All of it is accessed, but what is masked out of a store stays as it is. */
		if (out->mem == HX_MEM_WRITE)
			out->mem = HX_MEM_RMW;
		return;
	}
	out->mask = HX_MASK_K;
	out->mask_reg = (uint8_t)ZydisRegisterGetId(d->i.avx.mask.reg);
	out->mask_n = (uint8_t)mask_elements(d, m);
	out->mask_mod = (uint8_t)MIN(out->mask_n, m->element_count);
	out->mask_size = out->mem_len / out->mask_mod;
	out->ac_align = out->mask_size;
	if (packed)
		out->mask = HX_MASK_K_PACKED;
}

void hx_mask_describe(const struct decoded *d, const ZydisDecodedOperand *m, struct hx_desc *out)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_VMASKMOVPS:
	case ZYDIS_MNEMONIC_VPMASKMOVD:
		out->mask_size = 4;
		break;
	case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVQ:
		out->mask_size = 8;
		break;
	default:
		describe_evex(d, m, out);
		return;
	}
	out->mask = HX_MASK_VECTOR;
	out->ac_align = 1;
	out->mask_n = out->mask_mod = out->mem_len / out->mask_size;
	for (unsigned k = 0; k < d->i.operand_count; k++)
		if (d->op[k].encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
			out->mask_reg = (uint8_t)ZydisRegisterGetId(d->op[k].reg.value);
}

/* -- Running --------------------------------------------------------------------------------------------- */

static uint64_t low_bits(unsigned n)
{
	return n >= 64 ? ~0ull : (1ull << n) - 1;
}

/* One bit for each byte of the operand that is accessed. */
static uint64_t active_bytes(const struct vcpu *v, const struct hx_desc *d)
{
	uint64_t k = 0, bytes = 0;

	if (d->mask == HX_MASK_VECTOR) {
		const uint8_t *sign = v->s.fpu.zmm[d->mask_reg] + d->mask_size - 1;

		for (unsigned i = 0; i < d->mask_n; i++)
			k |= (uint64_t)(sign[i * d->mask_size] >> 7) << i;
	} else {
		k = v->s.fpu.k[d->mask_reg] & low_bits(d->mask_n);
	}
	if (d->mask == HX_MASK_K_PACKED)
		return low_bits((unsigned)__builtin_popcountll(k) * d->mask_size);
	for (unsigned i = 0; i < d->mask_n; i++)
		if (k & BIT(i))
			bytes |= low_bits(d->mask_size) << (i % d->mask_mod) * d->mask_size;
	return bytes;
}

/* interp_*() check the alignment of these lengths as of scalars, which the elements of a vector are not. */
static bool looks_scalar(const struct vcpu *v, unsigned len)
{
	return v->interp->align_check && (len == 2 || len == 4 || len == 8);
}

static uint64_t wrap(const struct vcpu *v, uint64_t la)
{
	return x86_long_mode(&v->s) ? la : (uint32_t)la;
}

static void move_bytes(struct vcpu *v, uint64_t la, uint8_t *buf, unsigned len, bool store)
{
	enum mmu_mode mode = v->interp->mmu_mode;

	if (store)
		interp_store_buf(v, wrap(v, la), buf, len, mode);
	else
		interp_load_buf(v, wrap(v, la), buf, len, mode);
}

/* Move each run of selected bytes between guest memory and buf; bit 0 and buf[0] stand at la. */
static void move_runs(struct vcpu *v, uint64_t la, uint8_t *buf, uint64_t bytes, bool store)
{
	while (bytes) {
		unsigned start = (unsigned)__builtin_ctzll(bytes);
		uint64_t above = ~(bytes >> start);
		unsigned len = above ? (unsigned)__builtin_ctzll(above) : 64 - start;

		if (looks_scalar(v, len))
			len--;
		move_bytes(v, la + start, buf + start, len, store);
		bytes &= ~(low_bits(len) << start);
	}
}

/* The faults of the selected bytes: the first of them in each page is what CR2 names. */
static void probe_bytes(struct vcpu *v, uint64_t la, uint64_t bytes, enum mmu_access access)
{
	unsigned first = (unsigned)__builtin_ctzll(bytes),
		 in_page = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK));
	uint64_t second = in_page < 64 ? bytes >> in_page << in_page : 0;

	interp_probe(v, wrap(v, la + first), 1, access, v->interp->mmu_mode);
	if (second)
		interp_probe(v, wrap(v, la + (unsigned)__builtin_ctzll(second)), 1, access,
			     v->interp->mmu_mode);
}

/* Whether the whole operand lies in the pages of its selected range. */
static bool same_pages(uint64_t la, unsigned lo, unsigned hi, unsigned len)
{
	return !((la ^ (la + lo)) & PAGE_MASK) && !(((la + hi - 1) ^ (la + len - 1)) & PAGE_MASK);
}

static void run_selected(struct vcpu *v, const struct insn *in, uint64_t bytes)
{
	struct hostexec *hx = hx_of(v);
	struct hx_stub *st = in->aux;
	const struct hx_desc *d = &st->d;
	enum mmu_access access = d->mem == HX_MEM_READ ? ACCESS_READ : ACCESS_WRITE;
	unsigned lo = (unsigned)__builtin_ctzll(bytes), hi = 64 - (unsigned)__builtin_clzll(bytes);
	uint64_t gpa, off = insn_ea(v, in) + lo; /* which does not wrap at the address size */
	uint64_t la = interp_linear(v, (enum x86_segreg)in->seg, off, hi - lo, access) - lo;
	uint8_t *p = NULL;

	hx_check_alignment(v, la, d->ac_align);
	probe_bytes(v, la, bytes, access);
	if (same_pages(la, lo, hi, d->mem_len) && !looks_scalar(v, hi - lo))
		p = interp_host_ptr(v, la + lo, hi - lo, access, v->interp->mmu_mode, &gpa);
	if (p) {
		hx_run(v, hx, st, p - lo, 0);
		if (access == ACCESS_WRITE)
			ram_note_write(v->ram, gpa, hi - lo);
		return;
	}
	if (access == ACCESS_READ)
		move_runs(v, la, hx->bounce, bytes, false);
	hx_run(v, hx, st, hx->bounce, 0);
	if (access == ACCESS_WRITE)
		move_runs(v, la, hx->bounce, bytes, true);
}

void hx_run_masked(struct vcpu *v, const struct insn *in)
{
	struct hostexec *hx = hx_of(v);
	struct hx_stub *st = in->aux;
	uint64_t bytes;

	hx_check(v, (enum hx_class)st->d.cls);
	bytes = active_bytes(v, &st->d);
	if (!bytes) {
		hx_run(v, hx, st, hx->bounce, 0);
		return;
	}
	hx_misaligned(v, in, &st->d);
	run_selected(v, in, bytes);
}

void hx_store_bytes(struct vcpu *v, const struct insn *in, const uint8_t *data, const uint8_t *mask,
		    unsigned len)
{
	uint8_t buf[16];
	uint64_t bytes = 0, la;

	for (unsigned i = 0; i < len; i++)
		bytes |= (uint64_t)(mask[i] >> 7) << i;
	memcpy(buf, data, len);
	la = interp_linear(v, (enum x86_segreg)in->seg, insn_ea(v, in), len, ACCESS_WRITE);
	hx_check_alignment(v, la, 8);
	interp_probe(v, la, len, ACCESS_WRITE, v->interp->mmu_mode);
	move_runs(v, la, buf, bytes, true);
}
