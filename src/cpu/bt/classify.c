/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * First pass: what kind of instruction is it, and which of the stolen registers does it use?
 *
 * Only what is on the lists below is ever executed natively. The rest, privileged, sensitive, implicit in
 * its memory operands or merely rare, is the reference engine's.
 */
#include "cpu/bt/insn.h"
#include "cpu/bt/system.h"
#include "cpu/isa.h"

/* Zydis counts the byte registers AL-BL, AH-BH, SPL-R15B: those after BH are 4 too high. */
unsigned bt_gpr_number(ZydisRegister r)
{
	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
		return (unsigned)(r - ZYDIS_REGISTER_AH);
	if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
		return (unsigned)(r - ZYDIS_REGISTER_SPL) + R_SP;
	if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15)
		return (unsigned)(r - ZYDIS_REGISTER_AX) & 15;
	return (unsigned)ZydisRegisterGetId(r);
}

static bool is_fpu_register(ZydisRegister r)
{
	if (bt_is_gpr(r))
		return false;
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_X87:
	case ZYDIS_REGCLASS_MMX:
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
	case ZYDIS_REGCLASS_ZMM:
	case ZYDIS_REGCLASS_MASK:
		return true;
	default:
		return r == ZYDIS_REGISTER_MXCSR || r == ZYDIS_REGISTER_X87CONTROL ||
		       r == ZYDIS_REGISTER_X87STATUS || r == ZYDIS_REGISTER_X87TAG;
	}
}

/* Integer categories whose instructions may run natively once their memory operand is checked. */
static bool is_plain_integer(ZydisInstructionCategory c)
{
	switch (c) {
	case ZYDIS_CATEGORY_BINARY:
	case ZYDIS_CATEGORY_LOGICAL:
	case ZYDIS_CATEGORY_SHIFT:
	case ZYDIS_CATEGORY_ROTATE:
	case ZYDIS_CATEGORY_DATAXFER:
	case ZYDIS_CATEGORY_CMOV:
	case ZYDIS_CATEGORY_SETCC:
	case ZYDIS_CATEGORY_BITBYTE:
	case ZYDIS_CATEGORY_CONVERT:
	case ZYDIS_CATEGORY_SEMAPHORE:
	case ZYDIS_CATEGORY_BMI1:
	case ZYDIS_CATEGORY_BMI2:
	case ZYDIS_CATEGORY_ADOX_ADCX:
	case ZYDIS_CATEGORY_LZCNT:
	case ZYDIS_CATEGORY_TBM:
	case ZYDIS_CATEGORY_MISC: /* LEA; the rest is refused below */
		return true;
	default:
		return false;
	}
}

/* SSE and later: everything but what has several memory elements. */
static bool is_plain_vector(const struct bt_insn *in)
{
	switch (in->i.meta.category) {
	case ZYDIS_CATEGORY_GATHER:
	case ZYDIS_CATEGORY_AVX2GATHER:
	case ZYDIS_CATEGORY_SCATTER:
	case ZYDIS_CATEGORY_EXPAND:
	case ZYDIS_CATEGORY_COMPRESS:
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
		return false;
	default:
		break;
	}
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR64:
		return false;
	default:
		return true;
	}
}

/*
 * Memory under a mask suppresses faults element by element. Where all of it may be accessed there are none, and the reference
 * does the others. But a store must not set D where it does not write: what its check misses is handled with care (run.c).
 */
static bool writes_under_mask(const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_VMASKMOVPS:
	case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVD:
	case ZYDIS_MNEMONIC_VPMASKMOVQ:
		return in->writes_mem;
	default:
		return in->writes_mem && in->i.mask != ZYDIS_REGISTER_K0 && in->i.mask != ZYDIS_REGISTER_NONE;
	}
}

/* Zydis names no register of theirs: VZEROUPPER, and conversions from memory to a general register, which use MXCSR. */
static bool is_hidden_vector(const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_VZEROUPPER:
	case ZYDIS_MNEMONIC_VZEROALL:
	case ZYDIS_MNEMONIC_EMMS:
		return true;
	default:
		return in->i.meta.category == ZYDIS_CATEGORY_CONVERT && in->i.meta.isa_ext != ZYDIS_ISA_EXT_BASE &&
		       in->i.meta.isa_ext != ZYDIS_ISA_EXT_LONGMODE;
	}
}

static enum bt_fpu_level level_needed(const struct bt_insn *in)
{
	switch (in->i.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		return FPU_AVX512;
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		return in->i.meta.isa_ext == ZYDIS_ISA_EXT_AVX512VEX || in->i.meta.category == ZYDIS_CATEGORY_KMASK
			       ? FPU_AVX512
			       : FPU_AVX;
	default:
		return FPU_SSE;
	}
}

static bool refused_integer(const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_BT: /* a register offset into memory reaches beyond the operand */
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		return in->mem && in->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
	case ZYDIS_MNEMONIC_RDPID:
	case ZYDIS_MNEMONIC_XLAT:
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_PAUSE:
	case ZYDIS_MNEMONIC_ENTER:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return true;
	default:
		return in->i.meta.category == ZYDIS_CATEGORY_MISC && in->i.mnemonic != ZYDIS_MNEMONIC_LEA &&
		       in->i.mnemonic != ZYDIS_MNEMONIC_MFENCE && in->i.mnemonic != ZYDIS_MNEMONIC_LFENCE &&
		       in->i.mnemonic != ZYDIS_MNEMONIC_SFENCE;
	}
}

/* Registers that only the privileged and the reference may touch, and bytes registers that need no REX. */
static bool has_odd_operand(const struct bt_insn *in)
{
	for (unsigned n = 0; n < in->i.operand_count; n++) {
		const struct bt_operand *o = &in->op[n];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o != in->mem)
			return true;
		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (bt_is_gpr(o->reg.value) ? ZYDIS_REGCLASS_GPR64 : ZydisRegisterGetClass(o->reg.value)) {
		case ZYDIS_REGCLASS_SEGMENT:
		case ZYDIS_REGCLASS_CONTROL:
		case ZYDIS_REGCLASS_DEBUG:
		case ZYDIS_REGCLASS_TEST:
		case ZYDIS_REGCLASS_TABLE:
		case ZYDIS_REGCLASS_TMM:
		case ZYDIS_REGCLASS_BOUND:
			return true;
		default:
			break;
		}
		/* AH to BH cannot be encoded beside the REX prefix that [T0 + T1] needs; bt_emit_high_byte() is for old code. */
		if (in->mem && in->i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && o->reg.value >= ZYDIS_REGISTER_AH && o->reg.value <= ZYDIS_REGISTER_BH)
			return true;
	}
	return false;
}

static void find_operands(struct bt_insn *in)
{
	/* They leave the destination alone when the source is 0, on AMD's processors and, by now, on Intel's. */
	bool scans = in->i.mnemonic == ZYDIS_MNEMONIC_BSF || in->i.mnemonic == ZYDIS_MNEMONIC_BSR;

	in->mem = NULL;
	for (unsigned n = 0; n < in->i.operand_count; n++) {
		const struct bt_operand *o = &in->op[n];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
			in->mem = o;
			in->writes_mem = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
		}
		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		in->fpu |= is_fpu_register(o->reg.value);
		if (bt_is_gpr(o->reg.value) && (bt_gpr_number(o->reg.value) & ~1u) == R_10) {
			unsigned k = bt_gpr_number(o->reg.value) & 1;
			bool partial = o->size < 32 || (o->actions & ZYDIS_OPERAND_ACTION_CONDWRITE) || scans;

			if (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
				in->defs[k] = 1;
			if ((o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) || partial)
				in->uses[k] = 1;
		}
	}
	in->x87 = bt_is_x87(in);
	in->fpu |= in->x87 || is_hidden_vector(in);
	in->masked = writes_under_mask(in);
}

/* A direct branch to a non-canonical target faults itself, with nothing pushed. */
static bool leads_nowhere(const struct bt *bt, const struct bt_insn *in)
{
	return in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && in->i.meta.category != ZYDIS_CATEGORY_RET &&
	       !x86_canonical(&bt->v->s, bt_branch_target(in));
}

static enum bt_class classify_branch(const struct bt *bt, const struct bt_insn *in)
{
	/* With 66 an AMD processor truncates the target, an Intel one does not. */
	if (in->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || in->i.operand_width != 64 ||
	    (in->i.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) || leads_nowhere(bt, in))
		return BT_INTERP;
	switch (in->i.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
		return in->i.meta.isa_ext == ZYDIS_ISA_EXT_BASE ? BT_JCC : BT_INTERP;
	case ZYDIS_CATEGORY_UNCOND_BR:
		return in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? BT_JMP : BT_JMP_IND;
	case ZYDIS_CATEGORY_CALL:
		return in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? BT_CALL : BT_CALL_IND;
	default:
		return in->i.mnemonic == ZYDIS_MNEMONIC_RET ? BT_RET : BT_INTERP;
	}
}

static enum bt_class classify_stack(const struct bt_insn *in)
{
	bool gpr_or_imm = in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ||
			  (in->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && bt_is_gpr(in->op[0].reg.value));

	if (in->i.operand_width != 64)
		return BT_INTERP;
	if (in->i.mnemonic == ZYDIS_MNEMONIC_PUSH)
		return gpr_or_imm || in->mem ? BT_PUSH : BT_INTERP;
	if (in->i.mnemonic == ZYDIS_MNEMONIC_POP)
		return gpr_or_imm ? BT_POP : BT_INTERP;
	return in->i.mnemonic == ZYDIS_MNEMONIC_LEAVE ? BT_LEAVE : BT_INTERP;
}

/* The one that can be renamed beside a memory operand is ModRM.reg of the older encodings and of VEX. */
static bool stolen_elsewhere(const struct bt_insn *in)
{
	for (unsigned n = 0; n < in->i.operand_count; n++) {
		const struct bt_operand *o = &in->op[n];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && bt_is_gpr(o->reg.value) &&
		    (bt_gpr_number(o->reg.value) & ~1u) == R_10 &&
		    (o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_REG ||
		     in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX))
			return true;
	}
	return false;
}

static enum bt_class with_memory(const struct bt_insn *in)
{
	bool narrow = in->i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && in->i.address_width == 32;

	if (!in->mem)
		return BT_COPY;
	/* (67 with SIB: Zydis 4.0 sees bases that are not there.) */
	if (stolen_elsewhere(in) || (narrow && in->i.raw.sib.offset) || in->mem->size < 8 || in->mem->size > 512 ||
	    in->mem->mem.type == ZYDIS_MEMOP_TYPE_VSIB || in->mem->mem.type == ZYDIS_MEMOP_TYPE_MIB)
		return in->fpu ? BT_INTERP_FPU : BT_INTERP;
	return BT_MEMORY;
}

/* 3DNow! and XOP have layouts of their own, which access.c does not know. */
static bool known_encoding(const struct bt_insn *in)
{
	return in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY || in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ||
	       in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
}

static enum bt_class classify(const struct bt *bt, const struct bt_insn *in, struct bt_mode mode)
{
	enum bt_class refuse = in->fpu ? BT_INTERP_FPU : BT_INTERP;

	if (!cpuid_isa_allowed(bt->v->cpuid, in->i.meta.isa_set) || !known_encoding(in))
		return refuse;
	switch (in->i.meta.category) {
	case ZYDIS_CATEGORY_NOP:
	case ZYDIS_CATEGORY_WIDENOP:
	case ZYDIS_CATEGORY_PREFETCH:
		return in->i.opcode == 0x0d && !in->mem ? BT_INTERP : BT_NOP; /* 0F 0D of a register is undefined */
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
		return classify_branch(bt, in);
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_POP:
		return classify_stack(in);
	case ZYDIS_CATEGORY_FLAGOP:
		if (in->i.mnemonic == ZYDIS_MNEMONIC_CLD || in->i.mnemonic == ZYDIS_MNEMONIC_STD)
			return BT_INLINE;
		return in->i.mnemonic == ZYDIS_MNEMONIC_CLC || in->i.mnemonic == ZYDIS_MNEMONIC_STC ||
				       in->i.mnemonic == ZYDIS_MNEMONIC_CMC || in->i.mnemonic == ZYDIS_MNEMONIC_LAHF ||
				       in->i.mnemonic == ZYDIS_MNEMONIC_SAHF
			       ? BT_COPY
			       : BT_INTERP;
	default:
		break;
	}
	if (in->i.mnemonic == ZYDIS_MNEMONIC_PAUSE)
		return BT_COPY;
	if (in->i.mnemonic == ZYDIS_MNEMONIC_LEAVE)
		return classify_stack(in);
	if (in->i.mnemonic == ZYDIS_MNEMONIC_RDTSC)
		return mode.tsc_native ? BT_COPY : BT_INTERP;
	if (in->i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		return refuse;
	if (in->i.mnemonic == ZYDIS_MNEMONIC_LEA) {
		if (in->mem->mem.base == ZYDIS_REGISTER_RIP || in->mem->mem.base == ZYDIS_REGISTER_EIP)
			return in->op[0].size == 64 ? BT_LEA : BT_INTERP;
		return BT_COPY;
	}
	if (has_odd_operand(in))
		return refuse;
	if (in->x87)
		return mode.x87 && bt_x87_is_native(in) ? with_memory(in) : BT_INTERP_FPU;
	if (in->fpu)
		return is_plain_vector(in) && mode.fpu >= level_needed(in) ? with_memory(in) : BT_INTERP_FPU;
	if (in->i.mnemonic == ZYDIS_MNEMONIC_POPCNT || in->i.mnemonic == ZYDIS_MNEMONIC_CRC32)
		return with_memory(in);
	return is_plain_integer(in->i.meta.category) && !refused_integer(in) ? with_memory(in) : BT_INTERP;
}

void bt_classify(const struct bt *bt, struct bt_insn *in, struct bt_mode mode)
{
	find_operands(in);
	in->cls = (uint8_t)classify(bt, in, mode);
	/* What the lists do not know may touch vector state without naming a register (VZEROUPPER, EMMS). */
	if (in->cls == BT_INTERP && !in->fpu && cpuid_isa_allowed(bt->v->cpuid, in->i.meta.isa_set) &&
	    bt_system_op(in) != BT_OP_NONE)
		in->cls = (uint8_t)bt_inline_class(bt_system_op(in), mode);
	if (in->cls == BT_INTERP && in->i.meta.isa_ext != ZYDIS_ISA_EXT_BASE)
		in->cls = BT_INTERP_FPU;
}

bool bt_ends_block(const struct bt_insn *in)
{
	switch (in->cls) {
	case BT_JMP:
	case BT_CALL:
	case BT_JMP_IND:
	case BT_CALL_IND:
	case BT_RET:
	case BT_SYSTEM_END:
	case BT_INLINE_END:
	case BT_LEGACY_END:
	case BT_INTERP:
	case BT_INTERP_FPU:
		return true;
	default:
		return false;
	}
}
