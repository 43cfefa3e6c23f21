/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locked accesses whose bytes do not stand together in host memory.
 *
 * An operand that straddles two scattered pages of RAM is made whole: both pages are mapped a second time,
 * side by side, and the stub runs there; the host's split lock is then as atomic as the guest's would be.
 *
 * Device memory has no lock to take: the operand is read, and written back after. Each transfer holds the
 * device's own lock, the pair does not; a lock held across both could not be dropped when the second one
 * faults, and real devices ignore LOCK# as well.
 */
#include <sys/mman.h>

#include "base/log.h"
#include "cpu/interp/hostexec_int.h"

static bool map_page(struct hostexec *hx, const struct ram *ram, unsigned n, uint64_t gpa)
{
	uint64_t page = ram_file_offset(ram, gpa & PAGE_MASK);
	void *at = hx->window + n * PAGE_SIZE;

	if (hx->window_off[n] == page)
		return true;
	hx->window_off[n] = ~0ull;
	if (mmap(at, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, ram->memfd,
		 (off_t)page) == MAP_FAILED)
		return false;
	hx->window_off[n] = page;
	return true;
}

static bool map_window(struct hostexec *hx, const struct ram *ram, uint64_t first, uint64_t second)
{
	if (!hx->window) {
		void *p = mmap(NULL, 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return false;
		hx->window = p;
	}
	return map_page(hx, ram, 0, first) && map_page(hx, ram, 1, second);
}

void hx_run_split_lock(struct vcpu *v, const struct insn *in, uint64_t la)
{
	struct hostexec *hx = hx_of(v);
	struct hx_stub *st = in->aux;
	unsigned len = st->d.mem_len, first = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK));
	enum mmu_mode mode = v->interp->mmu_mode;
	uint64_t next = la + first, gpa[2];

	if (!x86_long_mode(&v->s))
		next = (uint32_t)next;
	if (first >= len || !interp_host_ptr(v, la, first, ACCESS_WRITE, mode, &gpa[0]) ||
	    !interp_host_ptr(v, next, len - first, ACCESS_WRITE, mode, &gpa[1])) {
		hx_run_bounced(v, in, la);
		return;
	}
	if (!map_window(hx, v->ram, gpa[0], gpa[1])) {
		guest_log("vCPU %u: no memory for a locked access over two pages: not atomic", v->index);
		hx_run_bounced(v, in, la);
		return;
	}
	hx_run(v, hx, st, hx->window + (la & ~PAGE_MASK), hx_arg(v, &st->d));
	ram_note_write(v->ram, gpa[0], first);
	ram_note_write(v->ram, gpa[1], len - first);
}
