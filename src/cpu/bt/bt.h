/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same-ISA binary translator: its engine table, and what its own files share. */
#ifndef DOPPEL_CPU_BT_BT_H
#define DOPPEL_CPU_BT_BT_H

#include <signal.h>
#include <stdatomic.h>
#include <Zydis/Zydis.h>
#include "cpu/vcpu.h"

/*
 * Translated code keeps the guest's general registers, arithmetic flags and vector registers in the
 * host's own. Two general registers are stolen as temporaries; the guest's values of those have homes
 * in struct bt. The guest's RSP is in the host's: nothing may push while translated code runs. The host's DF is
 * clear; the guest's, as all flags but the arithmetic ones, is in the state.
 */
#define T0 R_10
#define T1 R_11

/* -- Software TLB and jump caches that translated code reads ------------------------------------ */

#define BT_TLB_ENTRIES 65536 /* indexed by linear address bits 12-27 */
#define BT_JC_ENTRIES  65536 /* of both tables: jumps.h */
#define BT_MAX_INSNS   48    /* of a block */
#define BT_MAX_GROUPS  16    /* of accesses in a block that share a check */
#define BT_LOOP_RECORDS 256  /* of how often loops go round: loop_emit.c */
#define BT_STACK_GROUP BT_MAX_GROUPS /* the accesses by way of the stack window, which need none */

/* Bits 16-31 tell apart what is a multiple of 64 KiB away; the targets in one page are neighbours. */
static inline unsigned bt_jc_index(uint64_t target)
{
	return (target + (target >> 16)) & (BT_JC_ENTRIES - 1);
}

/*
 * tag[write][i] is the linear page whose accesses of that kind need no walk, host[i] the host address of
 * its first byte. bt_no_tag(i) matches no address that has index i: the page has another index, and is
 * not the one behind i's either, into which an access may cross.
 */
struct bt_tlb {
	uint64_t tag[2][BT_TLB_ENTRIES];
	uint64_t host[BT_TLB_ENTRIES];
	uint64_t addend[BT_TLB_ENTRIES]; /* host - the page's linear address */
	uint8_t state[BT_TLB_ENTRIES]; /* enum bt_slot_state; C only */
};

enum bt_slot_state {
	SLOT_LISTED = 1, /* is in the journal of global pages */
	SLOT_GLOBAL = 2, /* a global page's: survives CR3 loads */
	SLOT_LOCAL = 4,  /* is in the journal of the others */
};

static inline uint64_t bt_no_tag(unsigned i)
{
	return i == 0 || i == BT_TLB_ENTRIES - 1 ? BT_TLB_ENTRIES / 2 * PAGE_SIZE : 0;
}

/* Arithmetic flags as LAHF and SETO AL leave them in AX, and back. */
static inline uint64_t bt_parked(uint64_t rflags)
{
	return (rflags & 0xff) << 8 | ((rflags & FL_OF) != 0);
}

static inline uint64_t bt_unparked(uint64_t ax)
{
	return (ax >> 8 & FL_ARITH & 0xff) | (ax & 1 ? FL_OF : 0);
}

/* -- Sites: what an exit from translated code is about --------------------------------------------- */

enum bt_site_kind {
	SITE_LOOKUP,     /* go on at rip; a direct jump that can be chained if patch is set */
	SITE_INDIRECT,   /* go on at T0 */
	SITE_POLL,       /* block entry: something is pending, or the block is stale */
	SITE_TLB,        /* the access of the instruction at rip missed */
	SITE_GROUP,      /* the check of a group of accesses before the instruction at rip has failed */
	SITE_STACK,      /* the host has faulted in the stack window: of fault_site */
	SITE_OFF_STACK,  /* RSP has left the stack window; go on at rip without it */
	SITE_CROSSED,    /* the instruction before rip has written to the buffer of an access that crosses a page */
	SITE_SYSTEM,     /* a helper of system.c executes the instruction at rip */
	SITE_INTERP,     /* the reference engine executes the instruction at rip */
	SITE_INTERP_FPU, /* the same, and it touches x87, vector or mask state */
	SITE_KINDS
};

/* Why the reference engine executes an instruction. */
enum bt_why {
	WHY_BOUNDARY,    /* an event, single step, breakpoint or shadow at its beginning */
	WHY_FETCH,       /* its page faults or is no RAM; or the branch to it leads nowhere */
	WHY_INSTRUCTION, /* no translation */
	WHY_REFUSED,     /* not a plain case for system.c and its like */
	WHY_MEMORY,      /* a device, or a page fault */
	WHY_CROSSING,    /* over a page's end */
	WHY_SEGMENT,     /* beyond a limit, against a segment's rights, or expand-down */
	BT_WHYS
};

/* What T0 holds where a check has failed, of the linear address. */
enum bt_site_t0 { T0_XOR_TAG, T0_MINUS_TAG, T0_LA };

/* Stands in code memory behind the stub that refers to it. */
struct bt_site {
	uint64_t rip;
	uint32_t retry;  /* host code of the instruction: where a filled TLB miss goes on; SITE_SYSTEM: behind it */
	uint32_t patch;  /* address of the 32-bit displacement that jumps to the stub; 0: not chainable */
	uint32_t stub;   /* where it jumps to while it is not chained */
	uint32_t next_in; /* the next of the sites that are chained to the same block; cache->lock */
	uint8_t chained;  /* cache->lock */
	uint8_t kind;
	uint16_t size;   /* of the access */
	uint8_t write;
	uint8_t t0;      /* SITE_TLB, SITE_GROUP: enum bt_site_t0 */
	uint8_t sub;     /* SITE_POLL: the flags are dead, and destroyed. SITE_INTERP: a limit. SITE_LOOKUP: into a loop */
	uint8_t parked;  /* SITE_LOOKUP: the flags are parked where it stands (flags.c) */
	uint8_t cross;   /* SITE_TLB of an instruction that writes: FORM_CROSSING can do it */
	uint32_t pass;   /* SITE_TLB: behind the check, where [T0 + T1] is the access; of one that only reads any of that size; or 0 */
	uint8_t op, len, reg; /* SITE_SYSTEM: enum bt_system_op, length, and what the operation says */
	uint8_t masked;  /* SITE_TLB: what is written is up to a mask, SITE_GROUP: to a branch; and may be nothing */
};

/* -- Blocks -------------------------------------------------------------------------------------------- */

/* What besides its address decides a translation. */
enum bt_fpu_level { FPU_NONE, FPU_SSE, FPU_AVX, FPU_AVX512 };
struct bt_legacy { /* outside of 64-bit mode: legacy.h */
	uint32_t cs_base, cs_limit;
	uint8_t on;         /* not 64-bit mode */
	uint8_t code32, stack32; /* else 16 bits */
	uint8_t real;       /* real or virtual-8086 mode */
	uint8_t flat;       /* bit n: segment n has base 0, limit 4 GiB - 1 and all rights that are asked for */
	uint8_t zero[3];
};

enum bt_form {
	FORM_NORMAL,
	FORM_UNGROUPED, /* each access has its own check */
	FORM_CROSSING, /* one instruction, with its memory operand in the buffer of cross.c */
};
struct bt_mode {
	uint8_t mmu;        /* enum mmu_mode: privilege, and SMAP's state; which TLB and jump cache */
	uint8_t fpu;        /* enum bt_fpu_level: what may run without a check */
	uint8_t tsc_native; /* RDTSC gives the guest's TSC */
	uint8_t ring0;      /* privileged instructions need no check */
	uint8_t la57;       /* which branch targets are canonical */
	uint8_t form;       /* enum bt_form */
	uint8_t fsgsbase;   /* RDFSBASE and its kin are there, and addresses have 48 bits */
	uint8_t x87;        /* x87 instructions need no check */
	uint8_t stack;      /* RSP is in the stack window: stack.c */
	uint8_t zero[3];
	struct bt_legacy legacy;
};

/* A segment as translated code outside of 64-bit mode checks it. */
struct bt_segment {
	uint64_t base;
	int64_t limit[2]; /* for a read, and for a write; -1: none is allowed, or the reference has to look */
};

/* The jump caches: those of 64-bit mode, those of the others, and that of blocks that rely on the stack window. */
#define BT_JC_STACK (2 * MMU_MODES)
#define BT_JC_SETS  (BT_JC_STACK + 1)

static inline unsigned bt_jc_set_of(const struct bt_mode *m)
{
	return m->stack ? BT_JC_STACK : m->mmu + (m->legacy.on ? MMU_MODES : 0u);
}

/* Whether a window has it for itself; else it is the kernel's. */
static inline bool bt_jc_of_user(unsigned jc)
{
	return jc == BT_JC_STACK || jc % MMU_MODES == MMU_USER;
}

/* One of the second places for a target: emitted code compares la, and goes on at host. */
struct bt_jc_second {
	uint64_t la;
	uint32_t host;
	uint8_t state; /* enum bt_slot_state; C only */
	uint8_t zero[3];
};

static inline bool bt_same_mode(struct bt_mode a, struct bt_mode b)
{
	return !__builtin_memcmp(&a, &b, sizeof(a));
}

/*
 * The last x87 instructions that ran, as host code: of those with a memory operand, and of those without, 0 if none did so since
 * the last of the others. What a later look at FIP, FDP and FOP finds is made of it (x87.c).
 */
struct bt_x87 {
	uint32_t mem, reg;
	uint64_t offset; /* of the memory operand in its segment */
};

struct bt_block;
struct bt_cache;

/* The places of tables that are not empty, table << 16 | index: a flush costs what it empties. */
struct bt_journal {
	uint32_t item[2 * (BT_JC_SETS - BT_JC_SETS / 2) * 65536]; /* two for each of the kernel's jump caches, which are more than a window's */
	unsigned n;
};

/*
 * Address spaces. What a PCID has for itself - TLBs of user mode and of the kernel's accesses under AC, jump caches of user mode -
 * stands in a window: a view of struct bt, mapped at an address of its own, in which these tables are other memory and all the rest
 * is the same. GS says which window is open, so that translated code needs to know nothing of it, and a PCID that comes
 * back finds its tables as it left them. One set more holds the tables that all share, the kernel's.
 */
#define BT_WINDOWS    8 /* Linux keeps 6 PCIDs in use */
#define BT_KERNEL_SET BT_WINDOWS
#define BT_SETS       (BT_WINDOWS + 1)

#define BT_MAX_CROSSING 64 /* bytes: no access is larger */

/* The stack window of an address space, for user code of 64-bit mode: stack.c. */
#define BT_STACK_PAGES 256
#define BT_STACK_SIZE  (BT_STACK_PAGES * PAGE_SIZE)
#define BT_STACK_GUARD (1ull << 20) /* nothing is mapped that far beyond both ends */
#define BT_STACK_DRIFT (1 << 17)    /* how far RSP may be outside at a block's beginning, */
#define BT_STACK_REACH (1 << 19)    /* and an access from RSP there, or where RSP was verified last */
_Static_assert(BT_STACK_DRIFT + BT_STACK_REACH + BT_MAX_CROSSING <= BT_STACK_GUARD, "accesses end in the guards");

struct bt_stack {
	uint8_t *base;     /* of the lower guard; NULL: nothing is reserved */
	uint64_t la;       /* of the first page */
	bool open;
	bool stale;        /* the guest has flushed: look at its tables before it is used again */
	uint16_t ticks;    /* interrupts of code outside of it, in a row */
	uint16_t refused;  /* faults in it that no mapping could cure */
	uint16_t patience; /* how many ticks it takes until it is opened */
	uint64_t mapped[BT_STACK_PAGES / 64];
	uint64_t page[BT_STACK_PAGES]; /* of the mapped ones: guest-physical address, bit 0 if they may be written */
};

struct bt_set {
	struct bt *view;   /* its tables are reached through this */
	bool ready;        /* the tables have been made empty; a window has a PCID from then on */
	bool jc_global;    /* a window's jump caches may lead to global pages */
	bool jc_stack;     /* its table for BT_JC_STACK has been made empty */
	uint16_t pcid;
	uint64_t used;     /* bt->set_clock when it was opened last */
	bool nonglobal;    /* the TLB or the jump caches may have entries that are not global */
	struct bt_stack stack;
	struct bt_journal tlb[2], jc[2]; /* of global pages, of others */
	uint8_t jc_state[BT_JC_SETS][BT_JC_ENTRIES]; /* enum bt_slot_state */
};

/* An access that crosses a page, under way: cross.c */
struct bt_crossing {
	_Alignas(BT_MAX_CROSSING) uint8_t buffer[2 * BT_MAX_CROSSING];
	uint8_t *at, *part[2]; /* the operand in the buffer, and the two pieces of guest memory */
	unsigned size[2];
};

/* Pages whose code was written, for bt_drop_stale(): slots hold index << 32 | page number. */
#define BT_WRITTEN_RING 64

/* -- The context ------------------------------------------------------------------------------------------ */

struct bt {
	/* Read and written by translated code, at GS: the host's GS base is this struct's address. */
	_Atomic uint32_t poll;
	uint64_t self;           /* its own address */
	uint64_t r10, r11;       /* homes of the stolen registers */
	uint64_t rcx;            /* RCX while a check borrows it */
	uint64_t parked_flags;   /* flags.c */
	uint64_t group[BT_MAX_GROUPS + 1]; /* addends of the running block's groups: plan.h; the last is the stack window's */
	uint64_t stack_minus_la; /* of the stack window's first byte; where it begins does not matter but in it */
	uint64_t stack_out_bits; /* those of an offset in it that are zero */
	uint64_t tmp;            /* a value kept across two accesses of one instruction */
	uint64_t loop_most;      /* iterations of a loop's second form behind the first, at most: loop.h */
	uint64_t loop_count, loop_left; /* iterations of the chunk under way */
	uint64_t loop_before;    /* iterations of the chunk before, if the same loop goes on */
	uint64_t loop_chunks;    /* for the statistics */
	int64_t loop_worth[BT_LOOP_RECORDS]; /* below 0: such loops are too short (loop_emit.c) */
	uint64_t rax, rsi, rdi, saved_flags; /* while a string instruction borrows them; LAHF's and SETO's AX */
	uint64_t string_limit;   /* how many elements it may do at once: 4096, or 0 while DF is set */
	uint64_t entry_t0;       /* what T0 holds at entry: RIP, for a way in through a jump cache */
	uint64_t dispatches;     /* jumps through a jump cache, while they are counted, */
	uint64_t seconds;        /* and those that have looked at their second place */
	uint32_t branch;         /* host code of the indirect branch on its way, */
	uint64_t overwritten;    /* and what the last indirect call has found where its return address went */
	uint64_t cross_la;       /* of the page at whose end a read began; */
	uint64_t cross_to[2], cross_size; /* of a store the host addresses of both parts, and their size; */
	uint64_t cross_go, cross_miss; /* and host code: where it goes on, and where else */
	struct bt_x87 x87;
	uint64_t seg_base[2];    /* FS, GS */
	struct bt_segment segment[SEG_COUNT]; /* outside of 64-bit mode */
	uint64_t page_bits;      /* ~0xfff, for PEXT */
	uint64_t arith_bits, other_bits; /* of RFLAGS, for PEXT and PDEP: FL_ARITH, and the rest */
	uint64_t if_bit, no_if_bit;      /* FL_IF, ~FL_IF */
	uint64_t no_df_bit, no_ac_bit;
	uint64_t bit_31, bit_63; /* of bit offsets: 31 and 63 */
	uint64_t sign_bits;      /* 0x1fffe: bits 48 to 63 of an address rotated by 47, and the carry out of bit 47 */
	uint64_t exit_site;      /* address of the struct bt_site, or of fault_site */
	uint64_t exit_t0, exit_t1; /* T0 and T1 at exit; and where the resume stub goes on */
	uint64_t resume_at;        /* where that is */
	uint64_t stack_fault;      /* host address of a fault in the stack window */
	uint64_t host_rsp;
	uint64_t exit_fn;        /* bt_exit */
	struct x86_state *state;
	uint64_t xsave_mask;
	uint32_t host_mxcsr;
	uint16_t host_fcw;
	uint8_t use_xsaveopt;
	_Alignas(64) uint8_t fpu[4096]; /* XSAVE image, standard format */
	_Alignas(PAGE_SIZE) uint64_t jc[BT_JC_SETS][BT_JC_ENTRIES];
	_Alignas(PAGE_SIZE) struct bt_jc_second second[BT_JC_SETS][BT_JC_ENTRIES];
	_Alignas(PAGE_SIZE) struct bt_tlb tlb[MMU_MODES];

	_Alignas(PAGE_SIZE) struct bt_site fault_site; /* of a fault of the host in translated code */
	struct bt_crossing crossing;
	uint64_t flags;            /* RFLAGS at entry and at exit */

	/* C only from here on. */
	struct vcpu *v;
	unsigned xs_offset[8];   /* of XSAVE components in the image, by number */
	bool fpu_live;           /* the guest's FPU state is in the host's registers, */
	bool fpu_in_image;       /* or in the image; else in v->s.fpu */
	struct bt_cache *cache;  /* the VM's */
	uint32_t generation;     /* of the cache that the jump caches lead into; own thread only */
	struct bt_set set[BT_SETS];
	struct bt_set *current;  /* the window that is open */
	uint64_t set_clock;      /* counts openings, for the least recently used */
	struct bt_mode jc_mode[MMU_MODES]; /* of the blocks that the jump caches lead to */
	struct bt_legacy jc_legacy[2]; /* the same, kernel and user; but for cs_base, which the blocks verify */
	unsigned jc_turn;        /* which of four used second places goes next */
	uint64_t jc_pages[BT_JC_ENTRIES / 64]; /* bit (page & 0xffff): the jump caches may know code there */
	uint64_t large[2][16];   /* filter of large pages in the TLB, as in mmu/tlb.c; the upper half's apart */
	uint64_t all_seen, nonglobal_seen, flushes_seen; /* of v->tlb->log when our tables were last right */
	_Atomic uint64_t written[BT_WRITTEN_RING];
	_Atomic uint32_t written_head;
	uint32_t written_tail;
	_Atomic bool written_many; /* more than the ring can tell */
	uint64_t shadow_rip;     /* the boundary behind an STI that had an effect, or BT_NO_SHADOW */
	uint32_t retried;        /* where a filled miss went on last, */
	uint64_t missed[2];      /* the address of it, and of the one before */
	uint32_t fetch_fault;    /* MMU_FAULT and the error code, if the last fetch ended so */
	_Atomic bool in_code;    /* runs code of the cache or holds on to something in it: see cache.h */
	_Atomic bool drop_writes; /* a page has become code: forget write tags */
	_Atomic uint32_t passing; /* odd: may be storing beside code (bt_pass_store()); counted on at the exit behind that */
	uint64_t code_gpa;       /* of the store that found a page of code, */
	uint8_t *code_page;      /* and that page's host address */
	_Atomic bool check_pages; /* code was written: drop blocks whose page's version moved */
	uint64_t translation_ticks;      /* of the TSC, spent in bt_translate(), without what other programs took */
	uint64_t turn_step_rip;  /* where the reference stepped in this turn; only if turn_stepped */
	uint64_t turn_chunks;    /* loop_chunks at its beginning, and how many instructions of its block are a loop */
	unsigned turn_loop;
	bool turn_stepped;
	uint64_t exits[SITE_KINDS];      /* from translated code, by kind of site */
	uint64_t system_ops[64];         /* SITE_SYSTEM by enum bt_system_op */
	uint64_t why[BT_WHYS];
	uint64_t fallbacks[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* what the reference did, by mnemonic; 0: events and faults */
	stack_t altstack;
};

#define BT_NO_SHADOW 0x8000000000000000ull /* not a canonical address */

/*
 * entry.c: run translated code at host address `code` until it exits. The guest's FPU state is in the host's
 * registers before and after; C code that may touch vector registers needs bt_fpu_park() first.
 */
void bt_enter(struct bt *bt, uint32_t code);
void bt_exit(void); /* where exits land: jumped to from translated code, never called */
void bt_fpu_park(struct bt *bt);   /* put the guest's FPU state away if it is in the registers */
void bt_fpu_resume(struct bt *bt); /* and back */
void bt_fpu_snapshot(struct bt *bt); /* the image is what the guest has, wherever that is */
void bt_fpu_reload(struct bt *bt);   /* the image has been changed since: that is what the guest has */

void bt_x87_settle(struct bt *bt); /* x87_state.c: bt->x87 moves into the state; inside, behind each exit */

/* flow.c: RIP is non-canonical after an indirect branch: state as before the branch, which faults itself. */
void bt_undo_branch(struct bt *bt);

/* window.c */
struct bt *bt_new(struct err *e);  /* zeroed, with no windows made yet; NULL: no memory */
void bt_delete(struct bt *bt);
void bt_window_open(struct bt *bt, uint16_t pcid); /* make its tables the ones in use; on the vCPU's thread */
struct bt_set *bt_window_find(struct bt *bt, uint16_t pcid); /* NULL: the PCID has none */
void bt_window_thread(struct bt *bt);                /* the thread's GS is the open window's */
void bt_set_ready(struct bt *bt, struct bt_set *set); /* empty tables */

/*
 * stack.c. usable: RSP of the state, which is of 64-bit user code, is in the window, and translated code may rely on it.
 * tick: an interrupt has come, and may have met such code; loops that were too short are tried again (loop.h). map: what a fault at stack_fault asks for; false: it has to be done without the window.
 */
bool bt_stack_usable(struct bt *bt);
void bt_tick(struct bt *bt);
bool bt_stack_map(struct bt *bt, bool write);
void bt_stack_close(struct bt *bt, struct bt_stack *s);
void bt_stack_drop_writes(struct bt *bt); /* close those that can write to what is code by now */
void bt_stack_free(struct bt_stack *s);

/* tlb.c */
void bt_set_flush(struct bt *bt, struct bt_set *set, bool global); /* global entries too */
void bt_tlb_flush(struct bt *bt); /* all translations and jump caches */
void bt_tlb_catch_up(struct bt *bt); /* with what the guest has flushed since the last time */
void bt_tlb_drop_writes(struct bt *bt);
enum mmu_mode bt_mmu_mode(const struct vcpu *v);

/* mode.c: jump caches verify addresses only, so both empty them when code at the same address is another block now. */
void bt_settle_modes(struct bt *bt);              /* after whatever may change a mode: an FPU instruction that was allowed may be so no more */
struct bt_mode bt_current_mode(struct bt *bt);    /* before a block is looked for */
/* Enter the page of an access if it is RAM and may be accessed so. *err: the error code of a page fault. */
enum bt_fill {
	BT_FILLED, BT_PAGE_FAULT,
	BT_NOT_PLAIN, /* the reference has to do the access */
	BT_CODE_PAGE, /* so it has, unless bt_pass_store() finds that it is beside the code */
};
enum bt_fill bt_tlb_fill(struct bt *bt, uint64_t la, unsigned size, bool write, enum mmu_mode mode, uint32_t *err);
/* The same for the access of a SITE_TLB. A store that may turn out to write nothing is not plain unless D is set. */
enum bt_fill bt_tlb_fill_site(struct bt *bt, const struct bt_site *site, uint64_t la, uint32_t *err);
/*
 * Behind BT_CODE_PAGE, inside: whether translated code may make this store, and no other, in a page that holds code elsewhere. Then T0
 * and T1 for it, address and addend, are in exit_t0 and exit_t1, and who marks code waits until we have left again (bt->passing).
 */
bool bt_pass_store(struct bt *bt, uint64_t la, unsigned size);
/* Two accesses of one instruction, which goes on at `retry`, that take each other's place in the TLB would miss for ever: A, B, A. */
bool bt_tlb_thrashes(struct bt *bt, uint32_t retry, uint64_t la);
/* Host address of [la, la + size) for an access by general-regs-only C code; NULL: the reference has to do it. */
void *bt_reach(struct bt *bt, uint64_t la, unsigned size, bool write, enum mmu_mode mode);
/* Listener for pages that become code (mem/ram.h); group is the struct vcpu_group. */
void bt_page_becomes_code(void *group, uint64_t gpa, bool page);

/* turn.c: what one turn of run() did, for v->turn. */
void bt_turn_begin(struct bt *bt, const struct bt_block *b);  /* NULL: no block */
uint32_t bt_turn_entry(const struct bt_block *b); /* where it begins with b */
void bt_turn_go_on(struct bt *bt, const struct bt_block *b); /* from RIP, in the middle of the first one, in another form of it */
void bt_turn_step(struct bt *bt); /* the reference is about to make a step, or a fault to be delivered as in one */
void bt_turn_end(struct bt *bt, const struct bt_site *last); /* the exit with which it ended */

/* fpu.c: between the XSAVE image and the canonical state. */
int bt_fpu_init(struct bt *bt, struct err *e);
void bt_fpu_to_state(struct bt *bt);
void bt_fpu_to_image(struct bt *bt);

/* fault.c: faults of the host in translated code. */
int bt_fault_init(struct bt *bt, struct err *e);
void bt_fault_thread(struct bt *bt); /* on the vCPU's thread, before it first enters code */
void bt_fault_release(struct bt *bt);
void bt_catch_signals(void);         /* (again, if somebody else has taken them: a test framework) */

/* stats.c: what struct bt counts, beside cpu/stats.h. */
void bt_print_stats(struct vcpu *v, struct strbuf *out);

/* dump.c: as engine_ops.dump_block() */
struct strbuf;
void bt_dump_block(struct vcpu *v, uint64_t rip, struct strbuf *out);
void bt_dump_code(struct bt *bt, const struct bt_block *b, struct strbuf *out); /* of one form; under the cache's lock */

/*
 * trace.c: give the group's block_tracer what the block just made looks like, if it is in the tracer's range; under the
 * cache's lock. A translation with the marks of all passes; a copy (clone.h) has none.
 */
void bt_trace(struct bt *bt, const struct bt_block *b, bool copy);

/* usable.c: NULL, or in a clause why this host cannot run the translator. */
const char *bt_unusable(void);

extern const struct engine_ops bt_engine;

#endif
