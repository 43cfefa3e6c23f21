/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walk of the guest's page tables, by SDM vol. 3, ch. 4.
 *
 * Order of events: each entry is read once, from the root; a clear P bit or a set reserved bit ends the
 * walk with its fault; the rights are those of all entries together and are judged at the end. Only if
 * the access is allowed are A and D set, root first, each by compare-exchange with the value that was
 * read: if another CPU has changed what the walk took from it, the whole walk starts again, so that a
 * translation is never made of an entry that lacks its A bit in memory (but for a guest that changes its
 * entries faster than we can walk, again and again: it gets what was there a moment ago). That a faulting
 * access sets no A bit at all is one of the behaviours that SDM 4.8 leaves open: it speaks of entries
 * *used* to translate.
 *
 * Assumed of the processor: PSE-36, PAT and 1 GiB pages. Missing: protection keys, shadow stacks (CR4.PKE
 * and CR4.CET cannot be set). AMD's reserved bit 8 of upper entries is ignored as Intel does.
 */
#include "mem/view.h"
#include "mmu/pscache.h"
#include "mmu/walk.h"

/* Bits of paging-structure entries, SDM tables 4-4 to 4-20 */
#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_G  BIT(8)
#define PTE_XD BIT(63)
#define PTE_FREE      bit_range(11, 9)  /* for software, in entries of all formats */
#define PTE_FREE_HIGH bit_range(58, 52) /* in 64-bit ones; reserved, hence clear, with PAE */

#define MAX_LEVELS     5
#define MAX_RESTARTS   100
#define PSE36_MAX_BITS 40 /* SDM table 4-4: M is the minimum of 40 and MAXPHYADDR */

/* Bits hi to lo, none if hi < lo. */
static uint64_t bit_range(unsigned hi, unsigned lo)
{
	return hi < lo ? 0 : bits_of(~0ull, hi - lo, 0) << lo;
}

/* How the tables of one paging mode look. */
struct paging {
	uint8_t entry_bytes;
	uint8_t index_bits;
	uint8_t levels;
	uint8_t shift[MAX_LEVELS]; /* of the linear address, from the root */
};

static const struct paging paging_32 = { 4, 10, 2, { 22, 12 } };
static const struct paging paging_pae = { 8, 9, 2, { 21, 12 } }; /* the PDPTEs are in registers */
static const struct paging paging_4level = { 8, 9, 4, { 39, 30, 21, 12 } };
static const struct paging paging_5level = { 8, 9, 5, { 48, 39, 30, 21, 12 } };

struct entry {
	uint64_t gpa, val;
	struct ram *ram; /* NULL: not in RAM that can be written; A and D stay as they are */
	uint8_t bytes;
};

struct walk {
	const struct x86_state *s;
	struct space *mem;
	uint64_t la;
	unsigned gpa_bits;
	struct entry e[MAX_LEVELS];
	unsigned n;            /* entries read */
	unsigned shift;        /* of the leaf */
	uint64_t gpa;
	bool user, write, xd;  /* rights: U and W in all entries, XD in any */
};

/* -- Entries in memory -------------------------------------------------------------------------- */

/* Host address of an entry; its natural alignment makes host accesses of its size atomic. */
static void *entry_host(const struct entry *e)
{
	return e->ram->base + e->gpa;
}

/* Read the entry at gpa. What is not wholly RAM reads as all ones. */
static uint64_t read_entry(struct space *mem, uint64_t gpa, unsigned bytes, struct entry *e)
{
	struct stretch st;

	*e = (struct entry){ .gpa = gpa, .bytes = (uint8_t)bytes, .val = size_mask(bytes) };
	if (!space_lookup(mem, gpa, &st) || !st.ram || st.end - gpa < bytes)
		return e->val;
	e->ram = st.ram;
	if (bytes == 4)
		e->val = __atomic_load_n((uint32_t *)entry_host(e), __ATOMIC_ACQUIRE);
	else
		e->val = __atomic_load_n((uint64_t *)entry_host(e), __ATOMIC_ACQUIRE);
	if (st.readonly)
		e->ram = NULL;
	return e->val;
}

/* Compare-exchange of the entry; if it is not e->val any more, that becomes what it is. */
static bool exchange(struct entry *e, uint64_t want)
{
	uint32_t old = (uint32_t)e->val;
	bool ok;

	if (e->bytes == 8)
		return __atomic_compare_exchange_n((uint64_t *)entry_host(e), &e->val, want, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	ok = __atomic_compare_exchange_n((uint32_t *)entry_host(e), &old, (uint32_t)want, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	e->val = old;
	return ok;
}

/*
 * Set bits in the entry, unless it has changed since it was read in a way that matters to the walk: A, D
 * and what is free for software do not.
 */
static bool set_bits(struct entry *e, uint64_t bits)
{
	const uint64_t no_matter = PTE_A | PTE_D | PTE_FREE | (e->bytes == 8 ? PTE_FREE_HIGH : 0);
	const uint64_t read = e->val;

	if (!(bits & ~read) || !e->ram)
		return true;
	for (unsigned tries = 0; tries < MAX_RESTARTS && !((e->val ^ read) & ~no_matter); tries++) {
		uint64_t want = e->val | bits;

		if (exchange(e, want)) {
			e->val = want;
			ram_note_update(e->ram, e->gpa, e->bytes, RAM_BY_WALK);
			return true;
		}
	}
	return false;
}

/* -- The walk -------------------------------------------------------------------------------------- */

static const struct paging *paging_mode(const struct x86_state *s)
{
	if (!(s->cr4 & CR4_PAE))
		return &paging_32;
	if (!x86_long_mode(s))
		return &paging_pae;
	return s->cr4 & CR4_LA57 ? &paging_5level : &paging_4level;
}

/* Does this entry map a page (SDM 4.3, 4.4.2, 4.5.4)? */
static bool is_leaf(const struct walk *w, const struct paging *p, uint64_t entry, unsigned shift)
{
	if (shift == 12)
		return true;
	if (!(entry & PTE_PS) || shift > 30)
		return false;
	return p != &paging_32 || (w->s->cr4 & CR4_PSE);
}

static uint64_t reserved_bits(const struct walk *w, const struct paging *p, unsigned shift, bool leaf)
{
	uint64_t rsvd;

	if (p == &paging_32)
		return leaf && shift == 22 ? bit_range(21, MIN(w->gpa_bits, PSE36_MAX_BITS) - 19) : 0;
	rsvd = bit_range(p == &paging_pae ? 62 : 51, w->gpa_bits);
	if (!(w->s->efer & EFER_NXE))
		rsvd |= PTE_XD;
	if (shift > 30)
		rsvd |= PTE_PS;
	else if (leaf)
		rsvd |= bit_range(shift - 1, 13); /* bit 12 of a large page is its PAT */
	return rsvd;
}

/* The address in an entry: of the next table or of the page. */
static uint64_t entry_address(const struct paging *p, uint64_t entry, unsigned shift)
{
	if (p == &paging_32 && shift == 22)
		return (entry & bit_range(31, 22)) | bits_of(entry, 20, 13) << 32;
	return entry & bit_range(51, shift);
}

/* Physical address of the root table; false: PAE and its PDPTE is not present. */
static bool root_table(const struct walk *w, const struct paging *p, uint64_t *table)
{
	uint64_t pdpte;

	if (p == &paging_32) {
		*table = w->s->cr3 & bit_range(31, 12);
	} else if (p == &paging_pae) {
		pdpte = w->s->pdpte[bits_of(w->la, 31, 30)];
		*table = pdpte & bit_range(51, 12);
		return pdpte & PTE_P;
	} else {
		*table = w->s->cr3 & bit_range(51, 12);
	}
	return true;
}

/* Read entries down to the leaf. Returns 0 or the error bits PF_P, PF_RSVD | MMU_FAULT. */
static uint32_t descend(struct walk *w)
{
	const struct paging *p = paging_mode(w->s);
	uint64_t table;

	w->n = 0;
	w->user = w->write = true;
	w->xd = false;
	if (!root_table(w, p, &table))
		return MMU_FAULT;
	for (unsigned i = 0; i < p->levels; i++) {
		unsigned shift = p->shift[i];
		uint64_t index = bits_of(w->la, shift + p->index_bits - 1, shift);
		uint64_t at = table + index * p->entry_bytes;
		uint64_t entry = read_entry(w->mem, at, p->entry_bytes, &w->e[w->n++]);
		bool leaf = is_leaf(w, p, entry, shift);

		if (!(entry & PTE_P))
			return MMU_FAULT;
		if (entry & reserved_bits(w, p, shift, leaf))
			return PF_P | PF_RSVD | MMU_FAULT;
		w->user &= !!(entry & PTE_U);
		w->write &= !!(entry & PTE_W);
		w->xd |= !!(entry & PTE_XD);
		if (leaf) {
			w->shift = shift;
			w->gpa = entry_address(p, entry, shift) | (w->la & (BIT(shift) - 1));
			break;
		}
		table = entry_address(p, entry, 12);
	}
	return 0;
}

/* The rights of this mode to the page, SDM 4.6.1; the walk has found its leaf. */
static void judge(const struct walk *w, enum mmu_mode mode, struct mmu_translation *out)
{
	const struct x86_state *s = w->s;
	uint64_t leaf = w->e[w->n - 1].val;

	out->gpa = w->gpa;
	out->page_shift = (uint8_t)w->shift;
	out->global = (leaf & PTE_G) && (s->cr4 & CR4_PGE);
	out->dirty = leaf & PTE_D;
	if (mode == MMU_USER) {
		out->can_read = w->user;
		out->can_write = w->user && w->write;
		out->can_fetch = w->user && !w->xd;
	} else {
		out->can_read = !w->user || !(s->cr4 & CR4_SMAP) || mode == MMU_KERNEL_AC;
		out->can_write = out->can_read && (w->write || !(s->cr0 & CR0_WP));
		out->can_fetch = !w->xd && !(w->user && (s->cr4 & CR4_SMEP));
	}
}

static bool allowed(const struct mmu_translation *tr, enum mmu_access access)
{
	switch (access) {
	case ACCESS_READ:
		return tr->can_read;
	case ACCESS_WRITE:
		return tr->can_write;
	case ACCESS_FETCH:
		return tr->can_fetch;
	}
	return false;
}

/* Set A in all entries and D in the leaf of a write; false: an entry has changed. */
static bool set_accessed(struct walk *w, enum mmu_access access)
{
	for (unsigned i = 0; i + 1 < w->n; i++)
		if (!set_bits(&w->e[i], PTE_A))
			return false;
	return set_bits(&w->e[w->n - 1], access == ACCESS_WRITE ? PTE_A | PTE_D : PTE_A);
}

/* The bits of the error code that tell of the access, SDM 4.7. */
static uint32_t access_error(const struct x86_state *s, enum mmu_access access, enum mmu_mode mode)
{
	uint32_t err = 0;

	if (access == ACCESS_WRITE)
		err |= PF_W;
	if (mode == MMU_USER)
		err |= PF_U;
	if (access == ACCESS_FETCH &&
	    ((s->cr4 & CR4_SMEP) || ((s->cr4 & CR4_PAE) && (s->efer & EFER_NXE))))
		err |= PF_I;
	return err;
}

/* Not an initializer: that would clear all of the entries, on each TLB miss. */
static void begin(struct walk *w, const struct x86_state *s, struct space *mem, unsigned gpa_bits,
		  uint64_t la)
{
	w->s = s;
	w->mem = mem;
	w->la = x86_long_mode(s) ? la : (uint32_t)la; /* 32 bits outside of IA-32e mode */
	w->gpa_bits = gpa_bits;
}

static void identity(uint64_t la, struct mmu_translation *out)
{
	*out = (struct mmu_translation){ .gpa = la, .page_shift = 12, .dirty = true, .can_read = true,
					 .can_write = true, .can_fetch = true };
}

static uint32_t walk_tables(struct walk *w, enum mmu_access access, enum mmu_mode mode, struct mmu_translation *out)
{
	uint32_t fault;

	for (unsigned tries = 0; tries < MAX_RESTARTS; tries++) {
		fault = descend(w);
		if (fault)
			return fault | access_error(w->s, access, mode);
		judge(w, mode, out);
		if (!allowed(out, access))
			return MMU_FAULT | PF_P | access_error(w->s, access, mode);
		if (set_accessed(w, access))
			break;
	}
	out->dirty = w->e[w->n - 1].val & PTE_D;
	return 0;
}

uint32_t mmu_walk(const struct x86_state *s, struct space *mem, unsigned gpa_bits, uint64_t la,
		  enum mmu_access access, enum mmu_mode mode, struct mmu_translation *out)
{
	struct walk w;

	if (!(s->cr0 & CR0_PG)) {
		identity(la, out);
		return 0;
	}
	begin(&w, s, mem, gpa_bits, la);
	return walk_tables(&w, access, mode, out);
}

/* -- By way of the paging-structure cache ------------------------------------------------------------ */

/* A large page: the entry is the whole translation, unless D is yet to be set. */
static bool from_large(struct walk *w, const struct pscache_entry *c, enum mmu_access access)
{
	if (access == ACCESS_WRITE && !c->dirty)
		return false;
	w->e[0] = (struct entry){ .val = (c->global ? PTE_G : 0) | (c->dirty ? PTE_D : 0), .bytes = 8 };
	w->shift = c->page_shift;
	w->gpa = c->gpa | (w->la & (BIT(PSCACHE_SHIFT) - 1));
	return true;
}

/* The last level's entry, from the page table that the cache names. */
static bool from_table(struct walk *w, const struct pscache_entry *c)
{
	const struct paging *p = paging_mode(w->s);
	struct entry *e = &w->e[0];

	*e = (struct entry){ .ram = c->ram, .gpa = c->gpa + bits_of(w->la, 20, 12) * 8, .bytes = 8 };
	e->val = __atomic_load_n((uint64_t *)entry_host(e), __ATOMIC_ACQUIRE);
	if (!(e->val & PTE_P) || (e->val & reserved_bits(w, p, 12, true)))
		return false;
	w->user &= !!(e->val & PTE_U);
	w->write &= !!(e->val & PTE_W);
	w->xd |= !!(e->val & PTE_XD);
	w->shift = 12;
	w->gpa = entry_address(p, e->val, 12) | (w->la & 0xfff);
	return true;
}

/* The translation by what is cached; false: memory has to be asked. */
static bool walk_from(struct walk *w, const struct pscache_entry *c, enum mmu_access access, enum mmu_mode mode,
		      struct mmu_translation *out)
{
	w->n = 1;
	w->user = c->user;
	w->write = c->write;
	w->xd = c->xd;
	if (c->page_shift > 12 ? !from_large(w, c, access) : !from_table(w, c))
		return false;
	judge(w, mode, out);
	if (!allowed(out, access) || (c->page_shift == 12 && !set_accessed(w, access)))
		return false;
	out->dirty = w->e[0].val & PTE_D;
	return true;
}

/* What the walk has found above the last level. Tables outside of writable RAM are not worth the trouble. */
static void remember(struct pscache *ps, uint64_t pcid, const struct walk *w)
{
	const struct entry *leaf = &w->e[w->n - 1];
	struct pscache_entry c = { .page_shift = (uint8_t)w->shift, .user = true, .write = true };
	unsigned upper = w->n - (w->shift == 12);

	if (!leaf->ram)
		return;
	for (unsigned i = 0; i < upper; i++) {
		c.user &= !!(w->e[i].val & PTE_U);
		c.write &= !!(w->e[i].val & PTE_W);
		c.xd |= !!(w->e[i].val & PTE_XD);
	}
	if (w->shift == 12) {
		c.ram = leaf->ram;
		c.gpa = leaf->gpa & ~0xfffull;
	} else {
		c.gpa = w->gpa & ~(BIT(PSCACHE_SHIFT) - 1);
		c.global = (leaf->val & PTE_G) != 0;
		c.dirty = (leaf->val & PTE_D) != 0;
	}
	pscache_fill(ps, w->la, pcid, &c);
}

uint32_t mmu_walk_cached(struct pscache *ps, uint64_t pcid, const struct x86_state *s, struct space *mem, unsigned gpa_bits,
			 uint64_t la, enum mmu_access access, enum mmu_mode mode, struct mmu_translation *out)
{
	const struct pscache_entry *c;
	struct walk w;
	uint32_t fault;

	if (!(s->cr0 & CR0_PG)) {
		identity(la, out);
		return 0;
	}
	begin(&w, s, mem, gpa_bits, la);
	if (!(s->cr4 & CR4_PAE)) /* entries of 4 bytes, page tables for 4 MiB */
		return walk_tables(&w, access, mode, out);
	c = pscache_find(ps, w.la, pcid);
	if (c && walk_from(&w, c, access, mode, out))
		return 0;
	fault = walk_tables(&w, access, mode, out);
	if (!fault)
		remember(ps, pcid, &w);
	if (c && !fault)
		ps->stats.stale++;
	return fault;
}

bool mmu_translate_debug(const struct x86_state *s, struct space *mem, unsigned gpa_bits, uint64_t la,
			 uint64_t *gpa)
{
	struct walk w;

	begin(&w, s, mem, gpa_bits, la);
	if (!(s->cr0 & CR0_PG))
		w.gpa = la;
	else if (descend(&w))
		return false;
	*gpa = w.gpa;
	return true;
}

bool mmu_load_pdptes(struct space *mem, unsigned gpa_bits, uint64_t cr3, uint64_t pdpte[4])
{
	const uint64_t rsvd = bit_range(63, gpa_bits) | bit_range(8, 5) | bit_range(2, 1); /* SDM table 4-8 */
	uint64_t table = cr3 & bit_range(31, 5), val[4];
	struct entry e;

	for (unsigned i = 0; i < 4; i++) {
		val[i] = read_entry(mem, table + i * sizeof(val[0]), sizeof(val[0]), &e);
		if ((val[i] & PTE_P) && (val[i] & rsvd))
			return false;
	}
	for (unsigned i = 0; i < 4; i++)
		pdpte[i] = val[i];
	return true;
}
