/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the translator's passes know of one guest instruction, and the translation under way. */
#ifndef DOPPEL_CPU_BT_INSN_H
#define DOPPEL_CPU_BT_INSN_H

#include "cpu/bt/asm.h"
#include "cpu/bt/cache.h"
#include "cpu/bt/decode.h"
#include "cpu/bt/loop.h"
#include "cpu/bt/plan.h"

/* How an instruction is translated; classify.c decides. */
enum bt_class {
	BT_COPY,       /* no memory operand: the bytes as they are, stolen registers loaded and stored around */
	BT_MEMORY,     /* a memory operand that is checked and re-based */
	BT_LEA,        /* RIP-relative LEA: a constant */
	BT_NOP,
	BT_PUSH, BT_POP, BT_LEAVE,
	BT_JCC,        /* Jcc, JRCXZ, LOOPcc */
	BT_JMP, BT_CALL,           /* direct */
	BT_JMP_IND, BT_CALL_IND, BT_RET,
	BT_SYSTEM,     /* C code does it between two pieces of code: system.h */
	BT_SYSTEM_END, /* the same, and ends the block */
	BT_INLINE,     /* a system instruction done by a piece of code: inline.c */
	BT_INLINE_END, /* the same, and ends the block */
	BT_LEGACY,     /* outside of 64-bit mode what differs there: legacy.h */
	BT_LEGACY_JCC, /* the same: Jcc, JCXZ, LOOPcc */
	BT_LEGACY_END, /* the same, and ends the block */
	BT_INTERP, BT_INTERP_FPU,  /* the reference engine's: ends the block */
	BT_CLASSES
};

struct bt_insn {
	uint64_t rip;                   /* linear address */
	uint8_t bytes[16];              /* outside of 64-bit mode rewritten to mean the same there: legacy.h */
	uint8_t n_bytes;
	uint8_t cls;
	bool fpu;         /* touches x87, MMX, vector or mask state */
	bool writes_mem;
	bool masked;      /* of its memory operand it writes only what a mask says */
	bool x87;         /* an x87 instruction, control instructions included */
	uint8_t uses[2], defs[2];       /* r10, r11 as data operands: read (or partly written), written */
	bool flags_live;  /* arithmetic flags before it matter: read by it, or by what follows before being set */
	uint64_t target;  /* outside of 64-bit mode, of a direct branch; 0: unknown */
	const struct bt_operand *mem; /* the explicit memory operand, or NULL */
	struct bt_decoded i;
	struct bt_operand op[ZYDIS_MAX_OPERAND_COUNT];
};

static_assert(sizeof(struct bt_insn) == 6 * 64, "an instruction with two operands is known by four cache lines");

enum bt_rcx { RCX_IN_PLACE, RCX_IN_SLOT, RCX_IN_T1 };

/* An out-of-line exit: emitted behind the block. */
struct bt_stub {
	uint8_t *disp;    /* the rel32 of the jump to it */
	uint8_t rcx;      /* enum bt_rcx, when jumped to */
	bool parked;      /* so are the flags, then */
	uint32_t start;   /* of its code, once that is emitted */
	uint32_t behind;  /* SITE_TLB: not 0: where a large read or store goes on that crosses a page, */
	uint8_t mmu;      /* whose tables it is for, */
	const struct bt_insn *store; /* and the instruction, if it stores */
	struct bt_site site;
};

#define BT_MAX_STUBS (BT_MAX_INSNS * 6 + 8)

/* What was found of the flags at an address: loops and joins are asked about again and again. */
#define BT_PEEK_MEMOS 1024 /* 32 KB: what was asked long ago is out of the host's caches, too */

struct bt_peek_memo {
	uint64_t gpa;
	const ZydisDecoder *decoder; /* NULL: nothing */
	uint32_t version; /* of the page */
	uint32_t live;
	uint64_t granules; /* of the page, that were looked at */
};

/* A page of code that a pass may look into. */
struct bt_peek {
	const ZydisDecoder *decoder;
	struct bt_patterns *patterns; /* NULL: there are none for this decoder */
	const uint8_t *page;
	uint64_t la, gpa;  /* of its first byte */
	uint32_t version;
	struct bt_peek_memo *memo; /* BT_PEEK_MEMOS */
	struct ram *ram;
	uint64_t *granules; /* of the page: what was read of it; see ram_mark_code() */
};

struct translation {
	struct bt *bt;
	struct assembler a;
	struct bt_block *b;
	struct bt_mode mode;
	struct bt_insn insn[BT_MAX_INSNS];
	unsigned n;
	struct bt_stub stub[BT_MAX_STUBS];
	unsigned n_stubs;
	struct bt_plan plan;
	struct bt_loop loop;
	bool holds[2];    /* T0 and T1 have the values of r10 and r11, which are in their homes as well */
	bool parked;      /* at this point of the code the flags are in their slot */
	bool keep_flags;  /* they matter and are in place */
	struct bt_peek_memo memo[BT_PEEK_MEMOS];
	struct bt_patterns patterns; /* of 64-bit code */
	uint64_t granules; /* of its page, that the translation depends on */
	uint8_t code[PAGE_SIZE + BT_DECODE_BYTES]; /* a copy of the page: what of it was decoded */
	uint32_t code_end; /* of the host code of its instructions; behind it are the flags entry and the stubs */
	uint32_t loop_end; /* of the loop's second form, which follows the flags entry */
	struct asm_move move[ASM_MAX_MOVES];
};

/* classify.c: fill in everything of in but flags_live; in->i and in->op are decoded. */
void bt_classify(const struct bt *bt, struct bt_insn *in, struct bt_mode mode);
bool bt_ends_block(const struct bt_insn *in);
unsigned bt_gpr_number(ZydisRegister r); /* 0 to 15 as encoded, whatever the size; AH to BH: those of AL to BL */

/* Asked of each operand by each pass, more than once: not worth a library's table. */
static_assert(ZYDIS_REGISTER_AX == ZYDIS_REGISTER_R15B + 1 && ZYDIS_REGISTER_R15 == ZYDIS_REGISTER_RAX + 15 &&
		      ZYDIS_REGISTER_RAX == ZYDIS_REGISTER_EAX + 16 && ZYDIS_REGISTER_EAX == ZYDIS_REGISTER_AX + 16,
	      "general registers are numbered by size");
static inline bool bt_is_gpr(ZydisRegister r)
{
	return r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_R15;
}

static inline bool bt_is_gpr64(ZydisRegister r)
{
	return r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15;
}

/*
 * liveness.c: fill in flags_live of n classified instructions. p: the page that they stand in, for a look at what runs
 * behind them; NULL: all flags are live where the block is left. flags_live_at: those live at la, as ZYDIS_CPUFLAG bits.
 */
void bt_flag_liveness(struct bt_insn *in, unsigned n, const struct bt_peek *p);
uint32_t bt_flags_live_at(const struct bt_peek *p, uint64_t la);

/* Behind in, where `before` holds before it; first: in is a block's first instruction, whatever `before` says. */
struct bt_flag_marks bt_flag_marks(struct bt_flag_marks before, const struct bt_insn *in, bool first);

/* x87.c: of a classified instruction. */
bool bt_is_x87(const struct bt_insn *in);
bool bt_x87_is_native(const struct bt_insn *in); /* it needs nothing that only the reference has */
void bt_x87_map(const struct bt_insn *in, struct bt_map *m);
void bt_emit_x87_note(struct translation *t, unsigned n); /* behind instruction n */

/* access.c */
/* T0 = linear address of the memory operand. */
void bt_emit_address(struct translation *t, const struct bt_insn *in);
/* T0 holds a linear address: leave by the stub that is returned unless size bytes there may be accessed; then [T0 + T1]. */
struct bt_stub *bt_emit_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry);
/* The same where the access of size bytes there is the only one: a store may pass beside code (bt_pass_store()). */
void bt_emit_one_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry);
/* The same where T1 becomes what to add to the address; T0 is gone. */
struct bt_stub *bt_emit_addend_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry);
/* The same for the span of a group; then T1 is what to add to an address in it. Without it: FORM_UNGROUPED. */
struct bt_stub *bt_emit_group_check(struct translation *t, const struct bt_insn *in, unsigned size, bool write, uint32_t retry);
/* The instruction with `base` for its base, T1 for its index, and its own displacement; and whether it can be so with its own base. */
#define BT_BASED_GROWTH 2 /* bytes: SIB; REX or a longer VEX */
bool bt_keeps_base(const struct translation *t, const struct bt_insn *in);
void bt_emit_memory_based(struct translation *t, const struct bt_insn *in, unsigned base);
/* The instruction with its memory operand at [T0 + T1], stolen registers as data operands included. */
void bt_emit_memory_insn(struct translation *t, const struct bt_insn *in);
void bt_emit_copy(struct translation *t, const struct bt_insn *in);
struct bt_stub *bt_add_stub(struct translation *t, uint8_t *disp, enum bt_site_kind kind, uint64_t rip);
/* If RCX is zero go on behind, else to the stub; RCX is restored from where it was put on both ways. */
void bt_emit_unless_rcx(struct translation *t, struct bt_stub *s, enum bt_rcx from);
void bt_emit_restore_rcx(struct bt *bt, struct assembler *a, enum bt_rcx from);

/* cross_emit.c: what comes before the exit of a stub with s->behind; and once for each code memory. */
void bt_emit_crossing(struct translation *t, const struct bt_stub *s);
void bt_emit_cross_common(struct bt *bt, struct assembler *a);
bool bt_stores_over_end(const struct bt_insn *in); /* whether an instruction that writes may have s->behind */

/* flags.c */
bool bt_has_access(const struct bt_insn *in); /* its code checks an access, unless a group has done so */
void bt_settle_flags(struct translation *t, unsigned n); /* before instruction n: park the flags, or fetch them */
void bt_emit_park(struct translation *t, unsigned scratch);
void bt_emit_fetch_in_stub(struct bt *bt, struct assembler *a);

/* flow.c: stack and control transfers. */
void bt_emit_push(struct translation *t, const struct bt_insn *in);
void bt_emit_push_slot(struct translation *t, const struct bt_insn *in, const void *slot, uint32_t retry); /* 8 bytes */
void bt_emit_pop(struct translation *t, const struct bt_insn *in);
void bt_emit_leave(struct translation *t, const struct bt_insn *in);
void bt_emit_jcc(struct translation *t, const struct bt_insn *in);
void bt_emit_call(struct translation *t, const struct bt_insn *in);
void bt_emit_indirect(struct translation *t, const struct bt_insn *in); /* jmp and call r/m */
void bt_emit_ret(struct translation *t, const struct bt_insn *in);
void bt_emit_dispatch(struct translation *t, uint32_t start); /* go on at T0; start: of the branch that does so */
void bt_emit_goto(struct translation *t, uint64_t target);              /* go on at a known address */
void bt_emit_jcc_to(struct translation *t, unsigned cc, uint64_t target);
/* T0 holds the target, all is done: go there. start: of the branch's code. */
void bt_emit_dispatch(struct translation *t, uint32_t start);

static inline uint64_t bt_next_rip(const struct bt_insn *in)
{
	return in->rip + in->i.length;
}

/* group.c: the stack window: a load at [RSP]; and go on behind instruction n only if RSP is in there. */
void bt_emit_probe(struct translation *t);
void bt_emit_verify_sp(struct translation *t, unsigned n);

/* Of a direct branch. */
static inline uint64_t bt_branch_target(const struct bt_insn *in)
{
	return bt_next_rip(in) + (uint64_t)in->op[0].imm.value.s;
}

/* What a branch through a register, memory or the stack adds to RSP. */
static inline int32_t bt_branch_rsp(const struct bt_insn *in)
{
	if (in->cls == BT_CALL_IND)
		return -8;
	if (in->cls != BT_RET)
		return 0;
	return in->i.operand_count_visible && in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE
		       ? 8 + (uint16_t)in->op[0].imm.value.u
		       : 8;
}

#endif
