/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gathers and scatters: every element has an address of its own, so they are done element by element.
 *
 * SDM vol. 2, VPGATHERDD and VPSCATTERDD: elements complete in any order for gathers, lowest first for
 * scatters; each one done clears its mask, so that after a fault the instruction is restarted with what
 * is left. At the end all of the mask and the upper part of the destination are zero; of AVX-512's what is
 * above the vector length goes with the first element, as AMD's processors do. Alignment is not checked.
 */
#include <string.h>

#include "base/endian.h"
#include "cpu/interp/hostexec_int.h"

/* Of struct insn, reg is the data register, cond the vector length in bytes, spare[] and imm2 as follows. */
enum { SPARE_INDEX, SPARE_MASK, SPARE_COUNT };
enum { DATA64 = 1, INDEX64 = 2, SCATTER = 4, EVEX = 8 };

static unsigned data_size(const struct insn *in)
{
	return in->imm2 & DATA64 ? 8 : 4;
}

/* Mask of element i: a bit of a mask register, or the sign of an element of a vector. */
static bool selected(const struct vcpu *v, const struct insn *in, unsigned i)
{
	unsigned size = data_size(in), reg = in->spare[SPARE_MASK];

	if (in->imm2 & EVEX)
		return v->s.fpu.k[reg] & BIT(i);
	return v->s.fpu.zmm[reg][(i + 1) * size - 1] & 0x80;
}

static void deselect(struct vcpu *v, const struct insn *in, unsigned i)
{
	unsigned size = data_size(in), reg = in->spare[SPARE_MASK];

	if (in->imm2 & EVEX)
		v->s.fpu.k[reg] &= ~BIT(i);
	else
		memset(v->s.fpu.zmm[reg] + i * size, 0, size);
}

static uint64_t element_la(struct vcpu *v, const struct insn *in, unsigned i)
{
	const uint8_t *index = v->s.fpu.zmm[in->spare[SPARE_INDEX]];
	int64_t n = in->imm2 & INDEX64 ? (int64_t)get_le64(index + 8 * i) : (int32_t)get_le32(index + 4 * i);
	uint64_t ea = (insn_ea(v, in) + (uint64_t)n * in->scale) & size_mask(in->asize);

	return interp_linear(v, (enum x86_segreg)in->seg, ea, data_size(in),
			     in->imm2 & SCATTER ? ACCESS_WRITE : ACCESS_READ);
}

/* A misaligned element where alignment is checked: in parts of lengths that are not. */
static void move_parts(struct vcpu *v, uint64_t la, uint8_t *data, unsigned size, bool store)
{
	enum mmu_mode mode = v->interp->mmu_mode;
	uint8_t buf[8];

	if (store) {
		interp_probe(v, la, 1, ACCESS_WRITE, mode);
		interp_probe(v, la + size - 1, 1, ACCESS_WRITE, mode);
		interp_store_buf(v, la, data, size - 1, mode);
		interp_store_buf(v, la + size - 1, data + size - 1, 1, mode);
	} else {
		interp_load_buf(v, la, buf, size - 1, mode);
		interp_load_buf(v, la + size - 1, buf + size - 1, 1, mode);
		memcpy(data, buf, size);
	}
}

static void move_element(struct vcpu *v, const struct insn *in, unsigned i)
{
	enum mmu_mode mode = v->interp->mmu_mode;
	unsigned size = data_size(in);
	uint8_t *data = v->s.fpu.zmm[in->reg] + i * size;
	uint64_t la = element_la(v, in, i), val = 0;

	if (unlikely(v->interp->align_check && (la & (size - 1)))) {
		move_parts(v, la, data, size, in->imm2 & SCATTER);
	} else if (in->imm2 & SCATTER) {
		memcpy(&val, data, size);
		interp_store(v, la, size, val, mode);
	} else {
		val = interp_load(v, la, size, mode);
		memcpy(data, &val, size);
	}
	if ((in->imm2 & (SCATTER | EVEX)) == EVEX)
		memset(v->s.fpu.zmm[in->reg] + in->cond, 0, 64u - in->cond);
}

static void insn_gather_scatter(struct vcpu *v, const struct insn *in)
{
	unsigned n = in->spare[SPARE_COUNT], bytes = n * data_size(in);

	hx_check(v, in->imm2 & EVEX ? HX_AVX512 : HX_AVX);
	for (unsigned i = 0; i < n; i++) {
		if (selected(v, in, i))
			move_element(v, in, i);
		deselect(v, in, i);
	}
	if (!(in->imm2 & SCATTER))
		memset(v->s.fpu.zmm[in->reg] + bytes, 0, 64 - bytes);
	if (in->imm2 & EVEX)
		v->s.fpu.k[in->spare[SPARE_MASK]] = 0;
	else
		memset(v->s.fpu.zmm[in->spare[SPARE_MASK]], 0, 64);
}

static const struct {
	uint16_t mnemonic, flags;
} table[] = {
	{ ZYDIS_MNEMONIC_VPGATHERDD, 0 },
	{ ZYDIS_MNEMONIC_VPGATHERDQ, DATA64 },
	{ ZYDIS_MNEMONIC_VPGATHERQD, INDEX64 },
	{ ZYDIS_MNEMONIC_VPGATHERQQ, DATA64 | INDEX64 },
	{ ZYDIS_MNEMONIC_VGATHERDPS, 0 },
	{ ZYDIS_MNEMONIC_VGATHERDPD, DATA64 },
	{ ZYDIS_MNEMONIC_VGATHERQPS, INDEX64 },
	{ ZYDIS_MNEMONIC_VGATHERQPD, DATA64 | INDEX64 },
	{ ZYDIS_MNEMONIC_VPSCATTERDD, SCATTER },
	{ ZYDIS_MNEMONIC_VPSCATTERDQ, SCATTER | DATA64 },
	{ ZYDIS_MNEMONIC_VPSCATTERQD, SCATTER | INDEX64 },
	{ ZYDIS_MNEMONIC_VPSCATTERQQ, SCATTER | DATA64 | INDEX64 },
	{ ZYDIS_MNEMONIC_VSCATTERDPS, SCATTER },
	{ ZYDIS_MNEMONIC_VSCATTERDPD, SCATTER | DATA64 },
	{ ZYDIS_MNEMONIC_VSCATTERQPS, SCATTER | INDEX64 },
	{ ZYDIS_MNEMONIC_VSCATTERQPD, SCATTER | DATA64 | INDEX64 },
};

static const ZydisDecodedOperand *find(const struct decoded *d, bool memory, ZydisOperandEncoding encoding)
{
	for (unsigned n = 0; n < d->i.operand_count; n++)
		if ((d->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY) == memory && d->op[n].encoding == encoding)
			return &d->op[n];
	return NULL;
}

/* #UD when registers coincide: all three of AVX2, destination and index of an AVX-512 gather. */
static bool registers_overlap(const struct insn *in)
{
	uint8_t index = in->spare[SPARE_INDEX], mask = in->spare[SPARE_MASK];

	if (in->imm2 & EVEX)
		return !mask || (!(in->imm2 & SCATTER) && in->reg == index);
	return in->reg == index || in->reg == mask || index == mask;
}

static unsigned vector_bytes(ZydisRegister r)
{
	ZydisRegisterClass c = ZydisRegisterGetClass(r);

	return c == ZYDIS_REGCLASS_ZMM ? 64 : c == ZYDIS_REGCLASS_YMM ? 32 : 16;
}

static void describe(struct insn *in, const struct decoded *d, uint16_t flags)
{
	bool evex = d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
	const ZydisDecodedOperand *mem = find(d, true, ZYDIS_OPERAND_ENCODING_MODRM_RM);
	const ZydisDecodedOperand *data = find(d, false, ZYDIS_OPERAND_ENCODING_MODRM_REG);
	const ZydisDecodedOperand *mask = find(d, false, evex ? ZYDIS_OPERAND_ENCODING_MASK :
								ZYDIS_OPERAND_ENCODING_NDSNDD);

	BUG_ON(!mem || !data || !mask);
	in->imm2 = flags | (evex ? EVEX : 0);
	in->reg = (uint8_t)ZydisRegisterGetId(data->reg.value);
	in->cond = (uint8_t)MAX(vector_bytes(data->reg.value), vector_bytes(mem->mem.index));
	in->index = INSN_NO_REG;
	in->scale = mem->mem.scale;
	in->spare[SPARE_INDEX] = (uint8_t)ZydisRegisterGetId(mem->mem.index);
	in->spare[SPARE_MASK] = (uint8_t)ZydisRegisterGetId(mask->reg.value);
	in->spare[SPARE_COUNT] = (uint8_t)MIN(vector_bytes(data->reg.value) / data_size(in),
					      vector_bytes(mem->mem.index) / (in->imm2 & INDEX64 ? 8 : 4));
}

insn_fn hx_bind_gather(struct insn *in, const struct decoded *d)
{
	for (unsigned n = 0; n < ARRAY_SIZE(table); n++) {
		if (table[n].mnemonic != d->i.mnemonic)
			continue;
		describe(in, d, table[n].flags);
		return registers_overlap(in) ? NULL : insn_gather_scatter;
	}
	return NULL;
}
