/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic, logic, moves and shifts: the instructions that most code is made of, one function a form. */
#include "cpu/interp/alu.h"
#include "cpu/interp/context.h"

/* A register operand by its byte offset (see insn.h), read and written at one size. */
ALWAYS_INLINE uint64_t reg_get(const struct vcpu *v, unsigned off, unsigned size)
{
	return host_load((const uint8_t *)v->s.gpr + off, size);
}

ALWAYS_INLINE void reg_set(struct vcpu *v, unsigned off, unsigned size, uint64_t val)
{
	if (size == 4)
		host_store((uint8_t *)v->s.gpr + off, 8, (uint32_t)val);
	else
		host_store((uint8_t *)v->s.gpr + off, size, val);
}

ALWAYS_INLINE uint64_t mem_get(struct vcpu *v, const struct insn *in, unsigned size)
{
	return load_fast(v, la_of(v, in, size, ACCESS_READ), size);
}

/*
 * Read-modify-write of the memory operand: NEW is an expression of `a`, the old value, and may change
 * `fl`, a copy of the flags, which counts once the store has happened. The whole access is a write to
 * the paging hardware, from its first byte (SDM vol. 3, 4.7).
 */
#define MEM_UPDATE(size, NEW)                                                                                \
	do {                                                                                                 \
		uint64_t la = la_of(v, in, size, ACCESS_WRITE), a, fl = v->s.rflags;                         \
		struct tlb_entry *e = tlb_slot(v->tlb, v->interp->mmu_mode, la);                             \
                                                                                                             \
		if (likely(e->tag[ACCESS_WRITE] == ((la & PAGE_MASK) | v->tlb->pcid) &&                      \
			   (la & 0xfff) <= PAGE_SIZE - (size) && access_is_plain(v))) {                      \
			void *p = (void *)(e->addend + la);                                                  \
                                                                                                             \
			a = host_load(p, size);                                                              \
			host_store(p, size, NEW);                                                            \
			if (unlikely(atomic_load_explicit(&v->ram->flags[e->gpa >> PAGE_SHIFT],              \
							  memory_order_relaxed)))                            \
				ram_written(v->ram, e->gpa | (la & 0xfff), size);                            \
		} else {                                                                                     \
			interp_probe(v, la, size, ACCESS_WRITE, v->interp->mmu_mode);                        \
			a = interp_load(v, la, size, v->interp->mmu_mode);                                   \
			interp_store(v, la, size, NEW, v->interp->mmu_mode);                                 \
		}                                                                                            \
		v->s.rflags = fl;                                                                            \
	} while (0)

#define EACH_SIZE(X, op) X(op, 1) X(op, 2) X(op, 4) X(op, 8)

static unsigned size_index(const struct insn *in)
{
	return (unsigned)__builtin_ctz(in->size) & 3;
}

/* -- Two operands ---------------------------------------------------------------------------------- */

enum { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORMS };

#define ALU_FUNCTIONS(OP, size)                                                                              \
	static void OP##_rr_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		uint64_t r = alu(ALU_##OP, size, reg_get(v, in->rm, size), reg_get(v, in->reg, size),        \
				 &v->s.rflags);                                                              \
                                                                                                             \
		if (ALU_##OP < ALU_CMP)                                                                      \
			reg_set(v, in->rm, size, r);                                                         \
	}                                                                                                    \
	static void OP##_ri_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		uint64_t r = alu(ALU_##OP, size, reg_get(v, in->rm, size), (uint64_t)in->imm, &v->s.rflags); \
                                                                                                             \
		if (ALU_##OP < ALU_CMP)                                                                      \
			reg_set(v, in->rm, size, r);                                                         \
	}                                                                                                    \
	static void OP##_rm_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		uint64_t b = mem_get(v, in, size);                                                           \
		uint64_t r = alu(ALU_##OP, size, reg_get(v, in->reg, size), b, &v->s.rflags);                \
                                                                                                             \
		if (ALU_##OP < ALU_CMP)                                                                      \
			reg_set(v, in->reg, size, r);                                                        \
	}                                                                                                    \
	static void OP##_mr_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		if (ALU_##OP < ALU_CMP)                                                                      \
			MEM_UPDATE(size, alu(ALU_##OP, size, a, reg_get(v, in->reg, size), &fl));            \
		else                                                                                         \
			alu(ALU_##OP, size, mem_get(v, in, size), reg_get(v, in->reg, size), &v->s.rflags);  \
	}                                                                                                    \
	static void OP##_mi_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		if (ALU_##OP < ALU_CMP)                                                                      \
			MEM_UPDATE(size, alu(ALU_##OP, size, a, (uint64_t)in->imm, &fl));                    \
		else                                                                                         \
			alu(ALU_##OP, size, mem_get(v, in, size), (uint64_t)in->imm, &v->s.rflags);          \
	}

#define EACH_ALU(X) X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) X(TEST)
#define X(OP) EACH_SIZE(ALU_FUNCTIONS, OP)
EACH_ALU(X)
#undef X

#define ALU_ROW(OP, size) { OP##_rr_##size, OP##_ri_##size, OP##_rm_##size, OP##_mr_##size, OP##_mi_##size },
static const insn_fn alu_fn[ALU_OPS][4][FORMS] = {
#define X(OP) [ALU_##OP] = { EACH_SIZE(ALU_ROW, OP) },
	EACH_ALU(X)
#undef X
};

/* Which form; register to register becomes rm = destination whatever the direction of the encoding. */
static unsigned form_of(struct insn *in, const struct decoded *d)
{
	bool dst_mem = d->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;

	if (d->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		if (d->op[0].encoding == ZYDIS_OPERAND_ENCODING_NONE)
			in->rm = R_AX * 8; /* the short forms with an implied accumulator */
		return dst_mem ? FORM_MI : FORM_RI;
	}
	if (dst_mem)
		return FORM_MR;
	if (d->op[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
		return FORM_RM;
	if (d->op[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) {
		uint8_t t = in->rm;

		in->rm = in->reg;
		in->reg = t;
	}
	return FORM_RR;
}

#define ALU_BIND(OP)                                                                                         \
	static void bind_##OP(struct vcpu *v, struct insn *in, const struct decoded *d)                      \
	{                                                                                                    \
		in->fn = alu_fn[ALU_##OP][size_index(in)][form_of(in, d)];                                   \
	}
EACH_ALU(ALU_BIND)

/* -- MOV --------------------------------------------------------------------------------------------- */

#define MOV_FUNCTIONS(OP, size)                                                                              \
	static void mov_rr_##size(struct vcpu *v, const struct insn *in)                                     \
	{                                                                                                    \
		reg_set(v, in->rm, size, reg_get(v, in->reg, size));                                         \
	}                                                                                                    \
	static void mov_ri_##size(struct vcpu *v, const struct insn *in)                                     \
	{                                                                                                    \
		reg_set(v, in->rm, size, (uint64_t)in->imm);                                                 \
	}                                                                                                    \
	static void mov_rm_##size(struct vcpu *v, const struct insn *in)                                     \
	{                                                                                                    \
		reg_set(v, in->reg, size, mem_get(v, in, size));                                             \
	}                                                                                                    \
	static void mov_mr_##size(struct vcpu *v, const struct insn *in)                                     \
	{                                                                                                    \
		store_fast(v, la_of(v, in, size, ACCESS_WRITE), size, reg_get(v, in->reg, size));            \
	}                                                                                                    \
	static void mov_mi_##size(struct vcpu *v, const struct insn *in)                                     \
	{                                                                                                    \
		store_fast(v, la_of(v, in, size, ACCESS_WRITE), size, (uint64_t)in->imm);                    \
	}
EACH_SIZE(MOV_FUNCTIONS, )

#define MOV_ROW(OP, size) { mov_rr_##size, mov_ri_##size, mov_rm_##size, mov_mr_##size, mov_mi_##size },
static const insn_fn mov_fn[4][FORMS] = { EACH_SIZE(MOV_ROW, ) };

/* MOV AL/AX/EAX/RAX with a 64-bit absolute address (moffs), which stands in imm. */
static uint64_t moffs_la(struct vcpu *v, const struct insn *in, enum mmu_access access)
{
	return interp_linear(v, (enum x86_segreg)in->seg, (uint64_t)in->imm, in->size, access);
}

static void mov_load_moffs(struct vcpu *v, const struct insn *in)
{
	reg_set(v, R_AX * 8, in->size, load_fast(v, moffs_la(v, in, ACCESS_READ), in->size));
}

static void mov_store_moffs(struct vcpu *v, const struct insn *in)
{
	store_fast(v, moffs_la(v, in, ACCESS_WRITE), in->size, v->s.gpr[R_AX]);
}

static void bind_mov(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	for (unsigned i = 0; i < 2; i++) {
		ZydisRegisterClass c = d->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER
					       ? ZydisRegisterGetClass(d->op[i].reg.value)
					       : ZYDIS_REGCLASS_INVALID;

		if (c == ZYDIS_REGCLASS_SEGMENT) {
			segment_bind_mov(v, in, d);
			return;
		}
		if (c == ZYDIS_REGCLASS_CONTROL || c == ZYDIS_REGCLASS_DEBUG || c == ZYDIS_REGCLASS_TEST) {
			system_bind_mov(v, in, d);
			return;
		}
	}
	if (d->i.raw.disp.size == 64) {
		in->fn = d->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? mov_store_moffs : mov_load_moffs;
		return;
	}
	if (d->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && d->op[0].encoding == ZYDIS_OPERAND_ENCODING_NONE)
		in->reg = R_AX * 8; /* moffs of 16 or 32 bits */
	if (d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER && d->op[1].encoding == ZYDIS_OPERAND_ENCODING_NONE)
		in->reg = R_AX * 8;
	in->fn = mov_fn[size_index(in)][form_of(in, d)];
}

/* -- MOVZX, MOVSX, LEA, XCHG, BSWAP ------------------------------------------------------------------ */

static uint64_t extend_source(struct vcpu *v, const struct insn *in)
{
	return in->flags & INSN_RM_IS_MEM ? mem_get(v, in, in->rmsize) : reg_get(v, in->rm, in->rmsize);
}

static void movzx(struct vcpu *v, const struct insn *in)
{
	reg_set(v, in->reg, in->size, extend_source(v, in));
}

static void movsx(struct vcpu *v, const struct insn *in)
{
	reg_set(v, in->reg, in->size, (uint64_t)sign_extend(extend_source(v, in), in->rmsize * 8u));
}

static void lea(struct vcpu *v, const struct insn *in)
{
	reg_set(v, in->reg, in->size, ea_of(v, in));
}

static void xchg_rr(struct vcpu *v, const struct insn *in)
{
	uint64_t a = reg_get(v, in->rm, in->size), b = reg_get(v, in->reg, in->size);

	reg_set(v, in->rm, in->size, b);
	reg_set(v, in->reg, in->size, a);
}

/* With memory XCHG locks by itself: the host executes it on the guest's bytes. */
static void bind_xchg(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (in->flags & INSN_RM_IS_MEM) {
		hostexec_bind(v, in, d);
		return;
	}
	if (d->op[0].encoding == ZYDIS_OPERAND_ENCODING_NONE || d->op[1].encoding == ZYDIS_OPERAND_ENCODING_NONE)
		in->reg = R_AX * 8;
	in->fn = xchg_rr;
}

/* -- One operand --------------------------------------------------------------------------------------- */

#define UNARY_FUNCTIONS(OP, size)                                                                            \
	static void OP##_r_##size(struct vcpu *v, const struct insn *in)                                     \
	{                                                                                                    \
		reg_set(v, in->rm, size, unary(UNARY_##OP, size, reg_get(v, in->rm, size), &v->s.rflags));   \
	}                                                                                                    \
	static void OP##_m_##size(struct vcpu *v, const struct insn *in)                                     \
	{                                                                                                    \
		MEM_UPDATE(size, unary(UNARY_##OP, size, a, &fl));                                           \
	}
#define EACH_UNARY(X) X(INC) X(DEC) X(NEG) X(NOT)
#define X(OP) EACH_SIZE(UNARY_FUNCTIONS, OP)
EACH_UNARY(X)
#undef X

#define UNARY_ROW(OP, size) { OP##_r_##size, OP##_m_##size },
static const insn_fn unary_fn[UNARY_OPS][4][2] = {
#define X(OP) [UNARY_##OP] = { EACH_SIZE(UNARY_ROW, OP) },
	EACH_UNARY(X)
#undef X
};

#define UNARY_BIND(OP)                                                                                       \
	static void bind_##OP(struct vcpu *v, struct insn *in, const struct decoded *d)                      \
	{                                                                                                    \
		in->fn = unary_fn[UNARY_##OP][size_index(in)][(in->flags & INSN_RM_IS_MEM) != 0];            \
	}
EACH_UNARY(UNARY_BIND)

/* -- Shifts and rotates ---------------------------------------------------------------------------------- */

#define SHIFT_FUNCTIONS(OP, size)                                                                            \
	static void OP##_ri_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		reg_set(v, in->rm, size,                                                                     \
			shift(SHIFT_##OP, size, reg_get(v, in->rm, size), (uint8_t)in->imm, &v->s.rflags));  \
	}                                                                                                    \
	static void OP##_rc_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		reg_set(v, in->rm, size, shift(SHIFT_##OP, size, reg_get(v, in->rm, size),                   \
					       (uint8_t)v->s.gpr[R_CX], &v->s.rflags));                      \
	}                                                                                                    \
	static void OP##_mi_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		MEM_UPDATE(size, shift(SHIFT_##OP, size, a, (uint8_t)in->imm, &fl));                         \
	}                                                                                                    \
	static void OP##_mc_##size(struct vcpu *v, const struct insn *in)                                    \
	{                                                                                                    \
		MEM_UPDATE(size, shift(SHIFT_##OP, size, a, (uint8_t)v->s.gpr[R_CX], &fl));                  \
	}
#define EACH_SHIFT(X) X(ROL) X(ROR) X(RCL) X(RCR) X(SHL) X(SHR) X(SAR)
#define X(OP) EACH_SIZE(SHIFT_FUNCTIONS, OP)
EACH_SHIFT(X)
#undef X

#define SHIFT_ROW(OP, size) { OP##_ri_##size, OP##_rc_##size, OP##_mi_##size, OP##_mc_##size },
static const insn_fn shift_fn[SHIFT_OPS][4][4] = {
#define X(OP) [SHIFT_##OP] = { EACH_SIZE(SHIFT_ROW, OP) },
	EACH_SHIFT(X)
#undef X
};

#define SHIFT_BIND(OP)                                                                                       \
	static void bind_##OP(struct vcpu *v, struct insn *in, const struct decoded *d)                      \
	{                                                                                                    \
		bool by_cl = d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;                                   \
                                                                                                             \
		in->fn = shift_fn[SHIFT_##OP][size_index(in)][by_cl + 2 * !!(in->flags & INSN_RM_IS_MEM)];   \
	}
EACH_SHIFT(SHIFT_BIND)

/* -- SETcc, CMOVcc, flags ------------------------------------------------------------------------------------ */

static void setcc(struct vcpu *v, const struct insn *in)
{
	insn_write_rm(v, in, 1, condition(in->cond, v->s.rflags));
}

/* The source is read, and faults, whether or not the condition holds. */
static void cmovcc(struct vcpu *v, const struct insn *in)
{
	uint64_t src = in->flags & INSN_RM_IS_MEM ? mem_get(v, in, in->size) : reg_get(v, in->rm, in->size);

	if (condition(in->cond, v->s.rflags))
		reg_set(v, in->reg, in->size, src);
	else if (in->size == 4)
		reg_set(v, in->reg, 4, reg_get(v, in->reg, 4));
}

static void lahf(struct vcpu *v, const struct insn *in)
{
	reg_set(v, R_AX * 8 + 1, 1, v->s.rflags & (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF | FL_1));
}

static void sahf(struct vcpu *v, const struct insn *in)
{
	interp_set_flags(v, v->s.gpr[R_AX] >> 8, FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF);
}

static void clc(struct vcpu *v, const struct insn *in)
{
	v->s.rflags &= ~FL_CF;
}

static void stc(struct vcpu *v, const struct insn *in)
{
	v->s.rflags |= FL_CF;
}

static void cmc(struct vcpu *v, const struct insn *in)
{
	v->s.rflags ^= FL_CF;
}

static void cld(struct vcpu *v, const struct insn *in)
{
	v->s.rflags &= ~FL_DF;
}

static void std(struct vcpu *v, const struct insn *in)
{
	v->s.rflags |= FL_DF;
}

static void nop(struct vcpu *v, const struct insn *in)
{
}

/* 0F 0D is a prefetch hint with memory operands only; AMD's processors refuse the others. */
static void bind_nop(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	bool hint = d->i.opcode_map == ZYDIS_OPCODE_MAP_0F && d->i.opcode == 0x0d;

	in->fn = hint && !(in->flags & INSN_RM_IS_MEM) && cpuid_vendor_is_amd(v->cpuid) ? NULL : nop;
}

/* F3 90 with REX.B is the XCHG of R8 and the accumulator, which Zydis 4.0 does not know. */
static void bind_pause(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->rm = R_8 * 8;
	in->reg = R_AX * 8;
	in->size = in->osize;
	in->fn = (d->bytes[d->i.length - 2] & 0xf1) == 0x41 ? xchg_rr : nop;
}

static void mfence(struct vcpu *v, const struct insn *in)
{
	atomic_thread_fence(memory_order_seq_cst);
}

#define CC_ROWS(NAME, fn)                                                                                    \
	{ ZYDIS_MNEMONIC_##NAME##O, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NO, fn, NULL },                     \
	{ ZYDIS_MNEMONIC_##NAME##B, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NB, fn, NULL },                     \
	{ ZYDIS_MNEMONIC_##NAME##Z, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NZ, fn, NULL },                     \
	{ ZYDIS_MNEMONIC_##NAME##BE, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NBE, fn, NULL },                   \
	{ ZYDIS_MNEMONIC_##NAME##S, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NS, fn, NULL },                     \
	{ ZYDIS_MNEMONIC_##NAME##P, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NP, fn, NULL },                     \
	{ ZYDIS_MNEMONIC_##NAME##L, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NL, fn, NULL },                     \
	{ ZYDIS_MNEMONIC_##NAME##LE, fn, NULL }, { ZYDIS_MNEMONIC_##NAME##NLE, fn, NULL }

const struct insn_def insns_integer[] = {
#define X(OP) { ZYDIS_MNEMONIC_##OP, NULL, bind_##OP },
	EACH_ALU(X)
	EACH_UNARY(X)
	EACH_SHIFT(X)
#undef X
	CC_ROWS(SET, setcc),
	CC_ROWS(CMOV, cmovcc),
	{ ZYDIS_MNEMONIC_MOV, NULL, bind_mov },
	{ ZYDIS_MNEMONIC_MOVZX, movzx, NULL },
	{ ZYDIS_MNEMONIC_MOVSX, movsx, NULL },
	{ ZYDIS_MNEMONIC_MOVSXD, movsx, NULL },
	{ ZYDIS_MNEMONIC_LEA, lea, NULL },
	{ ZYDIS_MNEMONIC_XCHG, NULL, bind_xchg },
	{ ZYDIS_MNEMONIC_LAHF, lahf, NULL },
	{ ZYDIS_MNEMONIC_SAHF, sahf, NULL },
	{ ZYDIS_MNEMONIC_CLC, clc, NULL },
	{ ZYDIS_MNEMONIC_STC, stc, NULL },
	{ ZYDIS_MNEMONIC_CMC, cmc, NULL },
	{ ZYDIS_MNEMONIC_CLD, cld, NULL },
	{ ZYDIS_MNEMONIC_STD, std, NULL },
	{ ZYDIS_MNEMONIC_NOP, NULL, bind_nop },
	{ ZYDIS_MNEMONIC_PAUSE, NULL, bind_pause },
	{ ZYDIS_MNEMONIC_LFENCE, nop, NULL },
	{ ZYDIS_MNEMONIC_SFENCE, mfence, NULL },
	{ ZYDIS_MNEMONIC_MFENCE, mfence, NULL },
	INSN_DEFS_END,
};
