/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host CPU may execute for a guest, and the description of such an instruction for its stub. */
#include <string.h>

#include "base/log.h"
#include "cpu/interp/hostexec_int.h"
#include "cpu/isa.h"

/* -- The allow-list -------------------------------------------------------------------------------------- */

#define SET(name) ZYDIS_ISA_SET_##name
#define SETS3(name) SET(name##_128), SET(name##_256), SET(name##_512)

/* Sets in which every instruction is harmless: they compute, and access their one memory operand. */
static const uint8_t vector_sets[] = {
	SET(X87), SET(FCMOV), SET(SSE3X87), SET(PENTIUMMMX), SET(SSE), SET(SSE2), SET(SSE2MMX), SET(SSE3),
	SET(SSSE3), SET(SSSE3MMX), SET(SSE4), SET(SSE42), SET(SSE4A), SET(SSEMXCSR), SET(SSE_PREFETCH),
	SET(PREFETCHWT1), SET(AES), SET(PCLMULQDQ), SET(SHA), SET(GFNI), SET(AVX), SET(AVX2), SET(AVX2GATHER),
	SET(AVXAES), SET(AVX_GFNI), SET(AVX_VNNI), SET(F16C), SET(FMA), SET(VAES), SET(VPCLMULQDQ), SET(BMI1),
	SET(BMI2), SET(LZCNT), SET(POPCNT), SET(MOVBE), SET(ADOX_ADCX), SET(RDRAND), SET(RDSEED), SET(CMPXCHG16B),
	SET(CLFSH), SET(CLFLUSHOPT), SET(CLWB), SET(CLDEMOTE), SET(CLZERO), SET(MOVDIR), SET(SERIALIZE), SET(PREFETCH_NOP),
	SETS3(AVX512BW), SET(AVX512BW_128N), SET(AVX512BW_KOP), SETS3(AVX512CD), SETS3(AVX512DQ),
	SET(AVX512DQ_128N), SET(AVX512DQ_KOP), SET(AVX512DQ_SCALAR), SETS3(AVX512F), SET(AVX512F_128N),
	SET(AVX512F_KOP), SET(AVX512F_SCALAR), SETS3(AVX512_BF16), SETS3(AVX512_BITALG), SETS3(AVX512_FP16),
	SET(AVX512_FP16_128N), SET(AVX512_FP16_SCALAR), SETS3(AVX512_GFNI), SETS3(AVX512_IFMA),
	SETS3(AVX512_VAES), SETS3(AVX512_VBMI2), SETS3(AVX512_VBMI), SETS3(AVX512_VNNI), SETS3(AVX512_VP2INTERSECT),
	SETS3(AVX512_VPCLMULQDQ), SETS3(AVX512_VPOPCNTDQ),
};

/* Sets that hold everything since the 8086, and the categories of them that only compute. */
static const uint8_t base_sets[] = {
	SET(I86), SET(I186), SET(I386), SET(I486), SET(I486REAL), SET(PENTIUMREAL), SET(PPRO), SET(CMOV),
	SET(LONGMODE), SET(LAHF), SET(FAT_NOP),
};
static const uint8_t base_categories[] = {
	ZYDIS_CATEGORY_BINARY, ZYDIS_CATEGORY_BITBYTE, ZYDIS_CATEGORY_CMOV, ZYDIS_CATEGORY_CONVERT,
	ZYDIS_CATEGORY_DATAXFER, ZYDIS_CATEGORY_LOGICAL, ZYDIS_CATEGORY_ROTATE, ZYDIS_CATEGORY_SEMAPHORE,
	ZYDIS_CATEGORY_SETCC, ZYDIS_CATEGORY_SHIFT, ZYDIS_CATEGORY_X87_ALU,
};

static bool listed(const uint8_t *list, size_t n, unsigned what)
{
	return memchr(list, (int)what, n);
}

_Static_assert(ZYDIS_ISA_SET_MAX_VALUE < 256 && ZYDIS_CATEGORY_MAX_VALUE < 256, "the lists are bytes");

/* Whether a stub could move this register; what it cannot is system state, or control flow. */
static bool register_allowed(ZydisRegister r)
{
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
	case ZYDIS_REGCLASS_X87:
	case ZYDIS_REGCLASS_MMX:
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
	case ZYDIS_REGCLASS_ZMM:
	case ZYDIS_REGCLASS_FLAGS:
	case ZYDIS_REGCLASS_MASK:
		return true;
	default:
		return r == ZYDIS_REGISTER_MXCSR || r == ZYDIS_REGISTER_X87CONTROL ||
		       r == ZYDIS_REGISTER_X87STATUS || r == ZYDIS_REGISTER_X87TAG;
	}
}

bool hx_allowed(struct vcpu *v, const struct decoded *d)
{
	const ZydisDecodedInstruction *i = &d->i;

	if (!cpuid_isa_allowed(v->cpuid, i->meta.isa_set))
		return false;
	if (!listed(vector_sets, sizeof(vector_sets), i->meta.isa_set) &&
	    !(listed(base_sets, sizeof(base_sets), i->meta.isa_set) &&
	      listed(base_categories, sizeof(base_categories), i->meta.category)))
		return false;
	if (i->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		return false;
	for (unsigned n = 0; n < i->operand_count; n++)
		if (d->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER && !register_allowed(d->op[n].reg.value))
			return false;
	return true;
}

/* -- Description ----------------------------------------------------------------------------------------- */

/* Which register files the operands are in. */
struct files {
	bool flags, mmx, xmm, mask, fp;
};

static void note_register(const ZydisDecodedOperand *o, struct files *f, struct hx_desc *out)
{
	ZydisRegister r = o->reg.value;
	uint8_t id = (uint8_t)ZydisRegisterGetId(r);
	bool written = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
	case ZYDIS_REGCLASS_ZMM:
		f->xmm = true;
		out->vec_in |= (uint32_t)BIT(id);
		out->vec_out |= written ? (uint32_t)BIT(id) : 0;
		break;
	case ZYDIS_REGCLASS_MASK:
		f->mask = true;
		out->k_in |= (uint8_t)BIT(id);
		out->k_out |= written ? (uint8_t)BIT(id) : 0;
		break;
	case ZYDIS_REGCLASS_MMX:
		f->mmx = true;
		break;
	case ZYDIS_REGCLASS_FLAGS:
		f->flags = true;
		break;
	default:
		if (hx_gpr_number(r) < 0)
			break;
		/* All are loaded: an operand may be written in part, or conditionally. */
		out->gpr_in |= (uint16_t)BIT(hx_gpr_number(r));
		out->gpr_out |= written ? (uint16_t)BIT(hx_gpr_number(r)) : 0;
		break;
	}
}

static void note_registers(const struct decoded *d, struct files *f, struct hx_desc *out)
{
	const ZydisAccessedFlags *fl = d->i.cpu_flags;

	for (unsigned n = 0; n < d->i.operand_count; n++) {
		if (d->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER)
			note_register(&d->op[n], f, out);
		f->fp |= d->op[n].element_type >= ZYDIS_ELEMENT_TYPE_FLOAT16 &&
			 d->op[n].element_type <= ZYDIS_ELEMENT_TYPE_FLOAT64;
	}
	if (fl && (fl->tested | fl->modified | fl->set_0 | fl->set_1 | fl->undefined))
		f->flags = true;
	/* Two mask registers, of which the decoder names the even one. */
	if (d->i.mnemonic == ZYDIS_MNEMONIC_VP2INTERSECTD || d->i.mnemonic == ZYDIS_MNEMONIC_VP2INTERSECTQ)
		out->k_out |= (uint8_t)((out->k_out & 0x55) << 1 | (out->k_out & 0xaa) >> 1);
}

static bool in_range(ZydisExceptionClass c, ZydisExceptionClass first, ZydisExceptionClass last)
{
	return c >= first && c <= last;
}

/* The registers alone do not tell: CVTSS2SI from memory names general registers only. */
static enum hx_class class_of(const struct decoded *d, const struct files *f)
{
	ZydisExceptionClass c = d->i.meta.exception_class;
	bool convert = d->i.meta.category == ZYDIS_CATEGORY_CONVERT;

	/* FCOMI is in the set of the Pentium Pro, FISTTP in SSE3. */
	if (d->i.meta.category == ZYDIS_CATEGORY_X87_ALU || d->i.meta.category == ZYDIS_CATEGORY_FCMOV)
		return HX_X87;
	if (d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || f->mask)
		return HX_AVX512;
	if (d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		return f->xmm || in_range(c, ZYDIS_EXCEPTION_CLASS_AVX1, ZYDIS_EXCEPTION_CLASS_AVX12)
			       ? HX_AVX
			       : HX_VEXINT;
	if (f->xmm || in_range(c, ZYDIS_EXCEPTION_CLASS_SSE1, ZYDIS_EXCEPTION_CLASS_SSE7) ||
	    (f->mmx && convert))
		return HX_SSE;
	return f->mmx || d->i.meta.category == ZYDIS_CATEGORY_MMX ? HX_MMX : HX_INT;
}

/* Classes whose instructions raise SIMD floating-point exceptions, SDM vol. 2, tables 2-16 and 2-44. */
static bool raises_simd_errors(ZydisExceptionClass c)
{
	switch (c) {
	case ZYDIS_EXCEPTION_CLASS_SSE2:
	case ZYDIS_EXCEPTION_CLASS_SSE3:
	case ZYDIS_EXCEPTION_CLASS_AVX2:
	case ZYDIS_EXCEPTION_CLASS_AVX3:
	case ZYDIS_EXCEPTION_CLASS_AVX11:
	case ZYDIS_EXCEPTION_CLASS_E2:
	case ZYDIS_EXCEPTION_CLASS_E2NF:
	case ZYDIS_EXCEPTION_CLASS_E3:
	case ZYDIS_EXCEPTION_CLASS_E3NF:
	case ZYDIS_EXCEPTION_CLASS_E11:
	case ZYDIS_EXCEPTION_CLASS_E11NF:
		return true;
	default:
		return false;
	}
}

/* Those, and what heeds rounding or denormal control silently; not what only moves floating-point data. */
static bool uses_mxcsr(const struct decoded *d, const struct files *f, enum hx_class cls)
{
	if (cls < HX_SSE)
		return false;
	return raises_simd_errors(d->i.meta.exception_class) ||
	       (f->fp && d->i.meta.category != ZYDIS_CATEGORY_DATAXFER &&
		d->i.meta.category != ZYDIS_CATEGORY_LOGICAL_FP &&
		d->i.meta.category != ZYDIS_CATEGORY_BROADCAST);
}

/* Control instructions leave the pointers to the last instruction alone, SDM vol. 1, 8.1.8. */
static bool x87_is_control(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_FNCLEX:
	case ZYDIS_MNEMONIC_FLDCW:
	case ZYDIS_MNEMONIC_FNSTCW:
	case ZYDIS_MNEMONIC_FNSTSW:
	case ZYDIS_MNEMONIC_FENI8087_NOP:
	case ZYDIS_MNEMONIC_FDISI8087_NOP:
	case ZYDIS_MNEMONIC_FSETPM287_NOP:
		return true;
	default:
		return false;
	}
}

/* -- The memory operand ---------------------------------------------------------------------------------- */

static enum hx_mem mem_of(ZydisOperandActions a)
{
	if (!(a & ZYDIS_OPERAND_ACTION_MASK_WRITE))
		return HX_MEM_READ;
	return a & ZYDIS_OPERAND_ACTION_MASK_READ ? HX_MEM_RMW : HX_MEM_WRITE;
}

/* SHA is left to the host: AMD's lets its operands stand anywhere, Intel's does not. */
static bool unaligned_allowed(const ZydisDecodedInstruction *i)
{
	if (i->meta.isa_set == ZYDIS_ISA_SET_SHA)
		return true;
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return true;
	default:
		return false;
	}
}

/* SDM vol. 2, tables 2-18 to 2-21 and 2-46: who must have its operand aligned to its size. */
static void describe_alignment(const struct decoded *d, struct hx_desc *out)
{
	ZydisExceptionClass c = d->i.meta.exception_class;

	if (d->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B || c == ZYDIS_EXCEPTION_CLASS_SSE1 ||
	    c == ZYDIS_EXCEPTION_CLASS_AVX1 || c == ZYDIS_EXCEPTION_CLASS_E1 ||
	    c == ZYDIS_EXCEPTION_CLASS_E1NF)
		out->align = out->mem_len;
	else if (out->cls == HX_SSE && out->mem_len == 16 && !unaligned_allowed(&d->i))
		out->align = 16;
	out->align_mm = out->cls == HX_SSE && c != ZYDIS_EXCEPTION_CLASS_SSE1;
	/* What alignment checking asks for: natural alignment, of wide vectors 16 (as measured on AMD's). */
	out->ac_align = (uint8_t)MIN(out->mem_len, 16);
	if (out->cls == HX_X87 && out->mem_len == 10)
		out->ac_align = 8;
}

static bool bit_string(const struct decoded *d)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
		return d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
	default:
		return false;
	}
}

static bool describe_memory(const struct decoded *d, struct hx_desc *out)
{
	const ZydisDecodedOperand *m = NULL;

	for (unsigned n = 0; n < d->i.operand_count; n++) {
		if (d->op[n].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (m || d->op[n].visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
		    d->op[n].mem.type != ZYDIS_MEMOP_TYPE_MEM)
			return false;
		m = &d->op[n];
	}
	if (!m)
		return true;
	if (!(d->i.attributes & ZYDIS_ATTRIB_HAS_MODRM) || m->size % 8 || m->size < 8 || m->size > 64 * 8)
		return false;
	out->mem = (uint8_t)mem_of(m->actions);
	out->mem_len = (uint8_t)(m->size / 8);
	if (bit_string(d)) {
		out->flags |= HXF_BITOFF;
		out->bitreg = (uint8_t)hx_gpr_number(d->op[1].reg.value);
		out->osize = out->mem_len;
	}
	describe_alignment(d, out);
	hx_mask_describe(d, m, out);
	return true;
}

bool hx_describe(const struct decoded *d, struct hx_desc *out)
{
	struct files f = { 0 };

	note_registers(d, &f, out);
	out->cls = (uint8_t)class_of(d, &f);
	if (f.flags)
		out->flags |= HXF_FLAGS;
	if (uses_mxcsr(d, &f, (enum hx_class)out->cls))
		out->flags |= HXF_MXCSR;
	if (out->cls == HX_X87 || out->cls == HX_MMX || f.mmx)
		out->flags |= HXF_FX;
	if (out->cls == HX_X87 && !x87_is_control(d->i.mnemonic))
		out->flags |= HXF_RECORD;
	if ((out->flags & HXF_RECORD) || f.mmx || d->i.mnemonic == ZYDIS_MNEMONIC_FLDCW)
		out->flags |= HXF_WAIT;
	if (d->i.attributes & ZYDIS_ATTRIB_HAS_LOCK)
		out->flags |= HXF_LOCK;
	return describe_memory(d, out);
}
