/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory as an instruction sees it: translation, faults, device memory, page crossings. */
#include <string.h>

#include "cpu/interp/context.h"
#include "cpu/interp/debug.h"

/* One page's part of an access. */
struct piece {
	uint8_t *host; /* NULL: not RAM, or read-only for a write */
	uint64_t gpa;
	unsigned len;
};

static _Noreturn void raise_noncanonical(struct vcpu *v)
{
	const struct insn *in = v->interp->cur;

	if (in && (in->flags & INSN_RM_IS_MEM) && in->seg == SEG_SS)
		interp_raise_err(v, X86_SS, 0);
	GP0(v);
}

/* Translate within one page; raises the fault if there is one. */
static void translate(struct vcpu *v, uint64_t la, unsigned len, enum mmu_access access, enum mmu_mode mode,
		      struct piece *p)
{
	struct tlb_entry *e = tlb_slot(v->tlb, mode, la);
	struct mmu_translation tr;
	bool readonly = false;
	uint32_t fault;
	uint8_t *page;

	p->len = len;
	if (likely(e->tag[access] == ((la & PAGE_MASK) | v->tlb->pcid))) {
		p->host = (uint8_t *)(e->addend + la);
		p->gpa = e->gpa | (la & 0xfff);
		return;
	}
	if (!x86_canonical(&v->s, la) && x86_long_mode(&v->s))
		raise_noncanonical(v);
	v->stats.tlb_misses++;
	fault = mmu_walk(&v->s, v->mem, v->cpuid->gpa_bits, la, access, mode, &tr);
	if (fault)
		interp_raise_pf(v, la, fault & ~(uint32_t)MMU_FAULT);
	page = space_page(v->mem, tr.gpa & PAGE_MASK, &readonly);
	tlb_fill(v->tlb, mode, la, &tr, page, readonly);
	p->gpa = tr.gpa;
	p->host = page ? page + (tr.gpa & 0xfff) : NULL;
	if (readonly && access == ACCESS_WRITE)
		p->host = NULL; /* the space knows who hears it, if anybody */
}

/* Linear addresses wrap at 4 GiB outside of IA-32e mode (SDM vol. 1, 3.3.7). */
static uint64_t next_page(const struct vcpu *v, uint64_t la)
{
	uint64_t next = (la & PAGE_MASK) + PAGE_SIZE;

	return x86_long_mode(&v->s) ? next : (uint32_t)next;
}

/* Translate all of [la, la + len), len <= 4096; returns the number of pieces, 1 or 2. */
static unsigned translate_range(struct vcpu *v, uint64_t la, unsigned len, enum mmu_access access,
				enum mmu_mode mode, struct piece p[2])
{
	unsigned first = (unsigned)(PAGE_SIZE - (la & 0xfff));

	if (unlikely(v->interp->align_check && mode == MMU_USER && (len == 2 || len == 4 || len == 8) &&
		     (la & (len - 1)) && access != ACCESS_FETCH))
		interp_raise_err(v, X86_AC, 0);
	if (likely(len <= first)) {
		translate(v, la, len, access, mode, &p[0]);
		return 1;
	}
	translate(v, la, first, access, mode, &p[0]);
	translate(v, next_page(v, la), len - first, access, mode, &p[1]);
	return 2;
}

static void check_breakpoints(struct vcpu *v, uint64_t la, unsigned len, bool write)
{
	if (unlikely(v->s.dr[7] & 0xff)) {
		uint64_t bits = debug_data_match(v, la, len, write);

		if (bits)
			interp_debug_trap(v, bits);
	}
	if (unlikely(v->debug.watching))
		debug_note_access(v, la, len, write);
}

static void mmio_read(struct vcpu *v, uint64_t gpa, uint8_t *buf, unsigned len)
{
	while (len) {
		unsigned n = len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
		uint64_t val = vcpu_mmio_read(v, gpa, n);

		memcpy(buf, &val, n);
		gpa += n;
		buf += n;
		len -= n;
	}
}

static void mmio_write(struct vcpu *v, uint64_t gpa, const uint8_t *buf, unsigned len)
{
	while (len) {
		unsigned n = len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
		uint64_t val = 0;

		memcpy(&val, buf, n);
		vcpu_mmio_write(v, gpa, n, val);
		gpa += n;
		buf += n;
		len -= n;
	}
}

static void piece_read(struct vcpu *v, const struct piece *p, uint8_t *buf)
{
	if (p->host)
		host_copy(buf, p->host, p->len);
	else
		mmio_read(v, p->gpa, buf, p->len);
}

static void piece_write(struct vcpu *v, const struct piece *p, const uint8_t *buf)
{
	if (p->host) {
		host_copy(p->host, buf, p->len);
		ram_note_write(v->ram, p->gpa, p->len);
	} else {
		mmio_write(v, p->gpa, buf, p->len);
	}
}

uint64_t interp_load(struct vcpu *v, uint64_t la, unsigned size, enum mmu_mode mode)
{
	struct piece p[2];
	uint64_t val = 0;
	unsigned n = translate_range(v, la, size, ACCESS_READ, mode, p);

	check_breakpoints(v, la, size, false);
	if (n == 1)
		return p[0].host ? host_load(p[0].host, size) : vcpu_mmio_read(v, p[0].gpa, size);
	piece_read(v, &p[0], (uint8_t *)&val);
	piece_read(v, &p[1], (uint8_t *)&val + p[0].len);
	return val;
}

void interp_store(struct vcpu *v, uint64_t la, unsigned size, uint64_t val, enum mmu_mode mode)
{
	struct piece p[2];
	unsigned n = translate_range(v, la, size, ACCESS_WRITE, mode, p);

	check_breakpoints(v, la, size, true);
	if (n == 1 && p[0].host) {
		host_store(p[0].host, size, val);
		ram_note_write(v->ram, p[0].gpa, size);
	} else if (n == 1) {
		vcpu_mmio_write(v, p[0].gpa, size, val & size_mask(size));
	} else {
		piece_write(v, &p[0], (const uint8_t *)&val);
		piece_write(v, &p[1], (const uint8_t *)&val + p[0].len);
	}
}

void interp_load_buf(struct vcpu *v, uint64_t la, void *buf, unsigned len, enum mmu_mode mode)
{
	struct piece p[2];
	unsigned n = translate_range(v, la, len, ACCESS_READ, mode, p);

	check_breakpoints(v, la, len, false);
	piece_read(v, &p[0], buf);
	if (n == 2)
		piece_read(v, &p[1], (uint8_t *)buf + p[0].len);
}

void interp_store_buf(struct vcpu *v, uint64_t la, const void *buf, unsigned len, enum mmu_mode mode)
{
	struct piece p[2];
	unsigned n = translate_range(v, la, len, ACCESS_WRITE, mode, p);

	check_breakpoints(v, la, len, true);
	piece_write(v, &p[0], buf);
	if (n == 2)
		piece_write(v, &p[1], (const uint8_t *)buf + p[0].len);
}

void interp_probe(struct vcpu *v, uint64_t la, unsigned len, enum mmu_access access, enum mmu_mode mode)
{
	struct piece p[2];

	translate_range(v, la, len, access, mode, p);
}

void *interp_host_ptr(struct vcpu *v, uint64_t la, unsigned len, enum mmu_access access, enum mmu_mode mode,
		      uint64_t *gpa)
{
	struct piece p[2];
	unsigned n = translate_range(v, la, len, access, mode, p);

	if (!p[0].host || (n == 2 && p[1].host != p[0].host + p[0].len))
		return NULL;
	check_breakpoints(v, la, len, access == ACCESS_WRITE);
	if (gpa)
		*gpa = p[0].gpa;
	return p[0].host;
}

bool interp_cmpxchg(struct vcpu *v, uint64_t la, unsigned size, uint64_t *expected, uint64_t val,
		    enum mmu_mode mode)
{
	uint64_t gpa;
	void *p = interp_host_ptr(v, la, size, ACCESS_WRITE, mode, &gpa);
	bool done;

	if (!p || (la & (size - 1))) {
		/* Device memory, or a table that its guest has misaligned: no atomicity to be had. */
		interp_store(v, la, size, val, mode);
		return true;
	}
	if (size == 4) {
		uint32_t want = (uint32_t)*expected;

		done = __atomic_compare_exchange_n((uint32_t *)p, &want, (uint32_t)val, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
		*expected = want;
	} else if (size == 8) {
		done = __atomic_compare_exchange_n((uint64_t *)p, expected, val, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
	} else {
		uint8_t want = (uint8_t)*expected;

		done = __atomic_compare_exchange_n((uint8_t *)p, &want, (uint8_t)val, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
		*expected = want;
	}
	if (done)
		ram_note_write(v->ram, gpa, size);
	return done;
}
