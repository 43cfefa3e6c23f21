/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The code cache that the vCPUs of a VM share: code memory, the blocks in it, and the rules of living in it.
 *
 * 1. Whoever runs code of the cache, or holds a pointer to a block or a site, or a host code address, is *inside*: between
 *    bt_join() and bt_leave(). Inside, nothing that was found can go away. Nobody blocks inside: neither for the cache's
 *    lock nor for anything whose owner may wait for us (ram_mark_code(), hence the reference engine).
 * 2. Look-ups take no lock: hash chains are only ever changed by one word, and a block that was taken out keeps its link.
 * 3. Everything that changes the cache is done under its lock: translating, chaining, dropping, flushing.
 * 4. A block that is dropped stays where it is, and whoever is in it may finish it, as a processor may finish what it has
 *    fetched; its entry leads to an exit and the jumps chained to it lead to their stubs again. Both are changed by one write
 *    within an aligned quadword at an instruction's boundary, which a processor that executes it sees whole or not at all
 *    (AMD APM vol. 2, 7.6.1; in use on Intel's by every just-in-time compiler).
 *    It sleeps: when it is looked for again and its bytes are what they were, it is put back to work (bt_block_wake()).
 * 5. Memory is used again only after a flush: all vCPUs are asked outside and waited for, and the generation moves on, by
 *    which each of them knows on its way inside that its jump caches and addresses are void.
 */
#ifndef DOPPEL_CPU_BT_CACHE_H
#define DOPPEL_CPU_BT_CACHE_H

#include "base/lock.h"
#include "cpu/bt/bt.h"

struct bt_block {
	uint64_t la, gpa;
	uint64_t gpa2;      /* of the page that its one instruction reaches into, or BT_NO_PAGE: needs no second page */
	struct bt_block *whole; /* not a block of its own, but the entry of that block for its second page */
	struct bt_mode mode;
	_Atomic uint32_t version; /* of the page, from before its bytes were read */
	uint32_t version2;
	uint64_t granules;  /* of the page that the translation depends on (mem/ram.h); 0: do not wake it */
	uint64_t contents;  /* a hash of them; lock */
	uint64_t entry_code; /* what stands at the entry of a block that is awake; lock */
	uint32_t entry;     /* host code, normal (8-byte aligned) and indirect entry: addresses below 4 GiB; flags are parked */
	uint32_t ientry;
	uint32_t flags_entry; /* with flags in place */
	uint32_t body;      /* behind the entry's look at what is pending */
	uint32_t loop_entry, loop_body; /* the same two of the second form of a block that is a loop (loop.h), or 0; flags are dead */
	uint32_t loop_fault; /* where a fault of the host in that goes on */
	uint32_t stale_stub; /* where the entry is redirected when the block is dropped */
	uint32_t end;       /* one past its host code */
	uint32_t map;       /* index of its first entry in cache->map */
	uint32_t start, moves; /* of an original (clone.h): its host code begins, and its notes in cache->move; lock */
	uint16_t n_moves;
	uint32_t chained;   /* the first of the sites (struct bt_site) whose jumps lead here; lock */
	uint16_t insns;
	uint16_t loop_insns; /* of the second form; in cache->map they follow those of the first */
	_Atomic bool valid;
	struct bt_block *_Atomic hash_next;
	struct bt_block *page_next; /* lock */
	struct bt_block *original_next; /* lock */
};

/* What lockstep has to know of the arithmetic flags behind an instruction of a block: masks as bt_pack_flags() makes them. */
struct bt_flag_marks {
	uint8_t undefined; /* the manuals leave them undefined */
	uint8_t dead;      /* nothing reads them before they are set: a check may have destroyed them */
	uint8_t kept;      /* they are what they were before the block, if a check has not destroyed them */
};

/* CF, PF, AF, ZF, SF as they stand, OF in bit 1. */
static inline uint8_t bt_pack_flags(uint64_t rflags)
{
	return (uint8_t)((rflags & (FL_ARITH & 0xff)) | (rflags & FL_OF ? 2 : 0));
}
static inline uint16_t bt_unpack_flags(uint8_t packed)
{
	return (uint16_t)((packed & ~2) | (packed & 2 ? FL_OF : 0));
}

/* Host code start of each guest instruction, for faults of the host inside a block. */
struct bt_map {
	uint32_t host;
	uint16_t rip_off;   /* from the block's la */
	bool fpu;
	bool parked;        /* the flags are: flags.c */
	struct bt_flag_marks marks;
	uint8_t x87;        /* enum bt_x87_kind, and for one with a memory operand the segment above its bits */
	union {
		int32_t rsp; /* what an indirect branch has added to RSP before it leaves */
		uint16_t fop; /* of an x87 instruction */
	};
};

/* Instructions that the x87's pointers lead to (SDM vol. 1, 8.1.8). */
enum bt_x87_kind { X87_NOT, X87_REGISTER, X87_MEMORY, X87_KIND_BITS = 2 };

#define BT_NO_PAGE       UINT64_MAX
#define BT_UNMAPPED_PAGE (UINT64_MAX - 1) /* gpa2: it cannot be fetched; the reference raises the fault */
#define BT_MAX_INSN_LEN  15

/* Of blocks by address, of originals by theirs, of pages. */
#define BT_HASH_BITS 18
#define BT_HASH_SIZE (1u << BT_HASH_BITS)
#define BT_ORIGINALS (1u << 16)
#define BT_PAGES     (1u << 14)

struct translation;

enum bt_code_size { CODE_64, CODE_32, CODE_16, BT_CODE_SIZES };

static inline enum bt_code_size bt_code_size(const struct bt_mode *m)
{
	return !m->legacy.on ? CODE_64 : m->legacy.code32 ? CODE_32 : CODE_16;
}

struct bt_cache {
	struct lock lock;          /* RANK_CODE */
	unsigned users;            /* contexts; while no vCPU runs */
	_Atomic bool stop;         /* a flush waits for everybody to be outside */
	_Atomic uint32_t generation;
	uint8_t *code_rw, *code_rx;
	uint32_t code_size, max_blocks, max_map;
	uint32_t code_used, code_base_used; /* the first bytes are the common stubs; lock */
	uint32_t exit_stub, miss_stub, resume_stub;
	uint32_t second_stub[BT_JC_SETS]; /* jumps.h */
	uint32_t cross_read[MMU_MODES], cross_write[MMU_MODES], cross_flush; /* routines for accesses over a page's end: cross_emit.c */
	struct bt_block *block;    /* pool, in the order of addresses */
	_Atomic unsigned n_blocks;
	struct bt_map *map;
	unsigned n_map;            /* lock */
	struct bt_block *_Atomic hash[BT_HASH_SIZE];
	struct bt_block *page[BT_PAGES]; /* lock */
	struct asm_move *move;     /* pool of originals' notes; lock */
	uint32_t n_moves, max_moves;
	struct bt_block *original[BT_ORIGINALS]; /* by gpa; lock */
	ZydisDecoder decoder[BT_CODE_SIZES];
	struct translation *translation; /* the passes' working memory; lock */
};

/* tables.c: zeroed memory for a large table; NULL: out of memory. */
void *bt_table_new(size_t size);
void bt_table_free(void *p, size_t size); /* the same size; p may be NULL */

/* The group's cache, made for the first of its vCPUs; and back. While none of them runs. */
int bt_cache_get(struct bt *bt, struct err *e);
void bt_cache_put(struct bt *bt);

/* Go inside. False: outside still, with a request to deal with first (bt->drop_writes, bt->check_pages). */
bool bt_join(struct bt *bt);
static inline void bt_leave(struct bt *bt)
{
	atomic_store_explicit(&bt->in_code, false, memory_order_release);
}

/* From outside, under the lock. */
void bt_cache_flush(struct bt *bt);              /* everything */
bool bt_cache_has_room(const struct bt_cache *c); /* for one more block of the largest size */
struct bt_block *bt_block_new(struct bt_cache *c); /* zeroed; room was checked; nobody sees it before it is published */
void bt_block_publish(struct bt_cache *c, struct bt_block *b);

void bt_note_contents(struct bt *bt, struct bt_block *b, uint64_t granules); /* for bt_block_wake() */

/* Under the lock: a sleeping block of this key, as good as new; or NULL. */
struct bt_block *bt_block_wake(struct bt *bt, uint64_t la, uint64_t gpa, struct bt_mode mode);

unsigned bt_hash_of(uint64_t key); /* below BT_HASH_SIZE; any of its bits will do */
bool bt_block_current(const struct bt *bt, const struct bt_block *b); /* valid, and its page's version has not moved */

/*
 * Inside, or under the lock. gpa2: the page behind, or BT_UNMAPPED_PAGE; only looked at if the block's one instruction
 * crosses into it.
 */
struct bt_block *bt_block_find(struct bt *bt, uint64_t la, uint64_t gpa, uint64_t gpa2, struct bt_mode mode);
struct bt_block *bt_block_at(struct bt_cache *c, uint32_t host); /* the block whose code contains host */
const struct bt_map *bt_map_at(struct bt_cache *c, uint32_t host);   /* its instruction; NULL: not in a block */
bool bt_site_touches_fpu(struct bt_cache *c, const struct bt_site *site); /* the instruction that a miss belongs to */

/* Inside: the jump that led to `site` goes straight to b from now on; or not, if somebody else has the lock. */
void bt_chain(struct bt *bt, const struct bt_site *site, struct bt_block *b);

void bt_note_written(struct bt *bt, uint64_t gpa, uint64_t len); /* code there was written; any thread */
void bt_drop_stale(struct bt *bt);                /* blocks of noted pages whose version has moved; from outside */

static inline void *bt_rw(const struct bt_cache *c, uint32_t host)
{
	return c->code_rw + (host - (uint32_t)(uintptr_t)c->code_rx);
}

/* translate.c: under the lock. The block at la, whose page is gpa's and the page behind it gpa2; never NULL. */
struct bt_block *bt_translate(struct bt *bt, uint64_t la, uint64_t gpa, uint64_t gpa2, struct bt_mode mode);
void bt_emit_common(struct bt *bt); /* the common stubs, at the start of code memory */

#endif
