/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the hostexec_*.c files: what a stub is generated from, the per-vCPU context, its parts. */
#ifndef DOPPEL_CPU_INTERP_HOSTEXEC_INT_H
#define DOPPEL_CPU_INTERP_HOSTEXEC_INT_H

#include "cpu/interp/context.h"
#include "cpu/interp/hostexec.h"

/* Which unit executes it, and so which control bits must allow it (SDM vol. 2, 2.4 to 2.8). */
enum hx_class {
	HX_INT,    /* general registers, legacy encoding */
	HX_VEXINT, /* general registers, VEX encoding (BMI) */
	HX_X87,
	HX_MMX,
	HX_SSE,    /* legacy encoding, XMM registers or MXCSR */
	HX_AVX,    /* VEX encoding, vector registers */
	HX_AVX512, /* EVEX encoding, or mask registers */
	HX_CLASSES,
};

enum {
	HXF_FLAGS = 1,   /* RFLAGS are loaded before and stored after */
	HXF_MXCSR = 2,
	HXF_FX = 4,      /* x87 or MMX state moves through hostexec.fx */
	HXF_BITOFF = 8,  /* the bit offset register is replaced by the stub's second argument */
	HXF_RECORD = 16, /* FOP, FIP and FDP note this instruction */
	HXF_LOCK = 32,
	HXF_WAIT = 64,   /* an x87 error that is pending is raised first */
};

enum hx_mem { HX_MEM_NONE, HX_MEM_READ, HX_MEM_WRITE, HX_MEM_RMW };

/* Where the bits stand that say which bytes of the memory operand are accessed. */
enum hx_mask { HX_MASK_NONE, HX_MASK_K, HX_MASK_K_PACKED, HX_MASK_VECTOR };

#define HX_NO_ALIAS R_SP

/*
 * Everything that the stub's code and its run depend on; zeroed before use and compared as bytes, so
 * that equal instructions at different addresses share a stub.
 */
struct hx_desc {
	uint8_t code[15]; /* rewritten for 64-bit mode, memory operand at [base] */
	uint8_t len;
	uint32_t vec_in, vec_out; /* vector registers by number */
	uint16_t gpr_in, gpr_out; /* general registers by their guest number */
	uint8_t k_in, k_out;
	uint8_t cls, flags;
	uint8_t alias;    /* host register that plays the guest's RSP, or HX_NO_ALIAS */
	uint8_t base;     /* host register of the memory operand's address */
	uint8_t state;    /* host register that points to struct x86_state */
	uint8_t bitreg;   /* HXF_BITOFF: guest number of the bit offset register */
	uint8_t mem;      /* enum hx_mem */
	uint8_t mem_len;  /* bytes, at most 64 */
	uint8_t align;    /* #GP(0) if misaligned; 0 or 1: any */
	uint8_t ac_align; /* #AC(0) if misaligned, where alignment is checked */
	uint8_t align_mm; /* MXCSR.MM lifts the alignment (AMD misaligned SSE mode) */
	uint8_t mask;     /* enum hx_mask */
	uint8_t mask_reg;
	uint8_t mask_n;   /* elements that have a mask bit */
	uint8_t mask_mod; /* elements in memory; fewer than mask_n when it is a broadcast */
	uint8_t mask_size; /* bytes of an element in memory */
	uint8_t osize;    /* HXF_BITOFF: operand size in bytes */
};

/* Returns HX_ABORTED, or the flags: AH as LAHF leaves it, AL the overflow flag. */
typedef uint32_t (*hx_code)(void *mem, uint64_t arg);
#define HX_ABORTED 0xffffffffu

struct hx_stub {
	struct hx_desc d;
	struct hx_stub *next; /* in its hash chain */
	hx_code code;
	uint16_t code_len;
	uint16_t abort_off;   /* where the signal handler resumes, from code */
};

/* The FXSAVE image, SDM vol. 1, table 10-2. */
struct hx_fx {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];
	uint8_t rest[352];
};
_Static_assert(sizeof(struct hx_fx) == 512, "FXSAVE image");

#define HX_HASH 1024

struct hostexec {
	_Alignas(64) uint8_t bounce[64 + 64]; /* an operand, at its offset in a cache line */
	_Alignas(64) struct hx_fx fx;
	struct vcpu *v;
	struct hx_stub *running;
	volatile uint32_t fault; /* vector, or HX_FAULT_HOST; set by the signal handler */
	uint32_t host_mxcsr;
	uint8_t vec_bytes;       /* widest vector register of the host */
	bool k64;                /* KMOVQ, not only KMOVW */
	uint8_t *rw, *rx;        /* the same memory, writable and executable */
	uint32_t used;           /* bytes of it */
	uint32_t n_stubs;
	struct hx_stub *stubs;   /* TUNE_HOSTEXEC_STUBS */
	struct hx_stub *hash[HX_HASH];
	uint8_t *window;         /* two pages side by side, for locked accesses that straddle */
	uint64_t window_off[2];
	ZydisDecoder decoder;    /* 64-bit mode: to check what was rewritten */
};

#define HX_FAULT_HOST 0x100 /* SIGBUS: guest RAM's host memory is gone */

/* hostexec.c */

/* #UD or #NM if the control bits forbid this class now. */
void hx_check(struct vcpu *v, enum hx_class cls);
/* Run the stub on an operand in host memory; raises what the host CPU raised. */
void hx_run(struct vcpu *v, struct hostexec *hx, struct hx_stub *st, void *mem, uint64_t arg);
/* The context of v, which bind made. */
static inline struct hostexec *hx_of(struct vcpu *v)
{
	return v->interp->hostexec;
}
/* #AC(0) if a linear address is misaligned and alignment is checked: after limits, before translation. */
static inline void hx_check_alignment(struct vcpu *v, uint64_t la, unsigned align)
{
	if (unlikely(v->interp->align_check) && align > 1 && (la & (align - 1)))
		interp_raise_err(v, X86_AC, 0);
}
/*
 * #GP(0) for an operand that must be aligned and is not; true if MXCSR.MM lets it pass.
 * Before limits and translation.
 */
bool hx_misaligned(struct vcpu *v, const struct insn *in, const struct hx_desc *d);
/* The second argument of a stub: the bit offset within its word. */
static inline uint64_t hx_arg(const struct vcpu *v, const struct hx_desc *d)
{
	return d->flags & HXF_BITOFF ? v->s.gpr[d->bitreg] & (d->osize * 8u - 1) : 0;
}
/* Load the operand into the bounce buffer, run, store it: device memory and scattered pages. */
void hx_run_bounced(struct vcpu *v, const struct insn *in, uint64_t la);
/* A stub for d: an equal one, or a new one; may empty the memory first. */
struct hx_stub *hx_intern(struct hostexec *hx, const struct hx_desc *d);

/* hostexec_bind.c */

/* Whether the policy and our allow-list let the guest execute this at all. */
bool hx_allowed(struct vcpu *v, const struct decoded *d);
/* Fill all of out but what hx_rewrite fills. */
bool hx_describe(const struct decoded *d, struct hx_desc *out);

/* hostexec_rewrite.c: fill code, len, alias, base and state of d; false: cannot be expressed. */
bool hx_rewrite(struct hostexec *hx, const struct decoded *d, struct hx_desc *out);
/* General register number of r, or -1. AH is that of RAX. */
int hx_gpr_number(ZydisRegister r);

/* hostexec_emit.c: upper bound of one stub's code, and its generation at hx->used. */
#define HX_STUB_MAX 1024
void hx_emit(struct hostexec *hx, struct hx_stub *st);

/* hostexec_fault.c */
extern _Thread_local struct hostexec *hx_current; /* while this thread runs a stub; for the signal handler */
_Noreturn void hx_raise(struct vcpu *v, struct hostexec *hx);

/* hostexec_mask.c */
/* Fill the mask fields of out, whose memory operand is m. */
void hx_mask_describe(const struct decoded *d, const ZydisDecodedOperand *m, struct hx_desc *out);
void hx_run_masked(struct vcpu *v, const struct insn *in);
/* MASKMOVDQU and its like: store those bytes of data whose mask byte has bit 7 set. */
void hx_store_bytes(struct vcpu *v, const struct insn *in, const uint8_t *data, const uint8_t *mask,
		    unsigned len);

/* hostexec_lock.c: a locked access that has no contiguous host memory. */
void hx_run_split_lock(struct vcpu *v, const struct insn *in, uint64_t la);

/* hostexec_x87.c: state between the vCPU and hx->fx; TOP to 0, as MMX instructions do. */
void hx_fx_load(struct hostexec *hx, const struct x86_fpu *f);
void hx_fx_store(const struct hostexec *hx, struct x86_fpu *f);
void hx_record(struct vcpu *v, const struct insn *in, const struct hx_desc *d);
void hx_check_pending(struct vcpu *v); /* #MF if an error is pending */
void hx_mmx_begin(struct vcpu *v); /* checks; #MF if an error is pending */
const uint8_t *hx_mmx_reg(const struct x86_fpu *f, unsigned n);
void hx_mmx_end(struct x86_fpu *f);

/* Instructions done by hand: in->fn, or NULL. Each checks its class itself. */
insn_fn hx_bind_gather(struct insn *in, const struct decoded *d);
insn_fn hx_bind_x87_control(const struct decoded *d);
insn_fn hx_bind_special(struct insn *in, const struct decoded *d);

#endif
