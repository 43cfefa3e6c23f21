/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executes by the host CPU what the reference engine has no handler for: x87 to AVX-512, AES, SHA, BMI,
 * CMPXCHG, every LOCK-prefixed form, and so on.
 *
 * At decode time (hostexec_bind.c) an instruction is described by a struct hx_desc: which unit, which
 * registers, what kind of memory operand. It is rewritten for 64-bit mode with its memory operand at a
 * scratch register (hostexec_rewrite.c) and wrapped into a stub that moves just the registers it uses
 * between struct x86_state and the CPU (hostexec_emit.c). Running it means: check the control bits, make
 * a host address of the operand with all of the guest's faults, call the stub.
 *
 * 1. A stub touches only the given operand, the vCPU's state and the stack: the rewritten bytes are
 *    decoded again and compared before they are ever run.
 * 2. What is executed is an allow-list (instruction sets and categories); nothing privileged, sensitive
 *    or transferring control is on it.
 * 3. A guest's fault leaves its state as it was; the stub stores nothing but MXCSR's flags then.
 * 4. Atomicity is the host's: the operand is accessed in place whenever it is RAM. Only device memory and
 *    operands in two scattered pages are bounced; locked ones of those see hostexec_lock.c.
 * 5. Stub memory is mapped twice, writable and executable, never both; it is bounded, and emptied as a
 *    whole when full, together with the decode cache that points into it.
 *
 * Known limits: x87 errors are always reported as #MF, also with CR0.NE clear (no FERR#/IRQ 13); XOP,
 * FMA4, TBM, 3DNow!, MPX, AMX, TSX and CET are not executed; a locked access to device memory is atomic
 * only against others of its kind.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/interp/hostexec_int.h"

/* -- Control bits ---------------------------------------------------------------------------------------- */

/* SDM vol. 2, tables 2-17 to 2-66 and 24-1 (vol. 3, 24.25): what each class needs, #UD before #NM. */
static const struct {
	uint32_t cr0_ud, cr0_nm, cr4, xcr0;
	bool protected_mode; /* VEX and EVEX do not exist in real and virtual-8086 mode */
} requirement[HX_CLASSES] = {
	[HX_INT] = { 0 },
	[HX_VEXINT] = { .protected_mode = true },
	[HX_X87] = { .cr0_nm = CR0_EM | CR0_TS },
	[HX_MMX] = { .cr0_ud = CR0_EM, .cr0_nm = CR0_TS },
	[HX_SSE] = { .cr0_ud = CR0_EM, .cr0_nm = CR0_TS, .cr4 = CR4_OSFXSR },
	[HX_AVX] = { .cr0_nm = CR0_TS,
		     .cr4 = CR4_OSXSAVE,
		     .xcr0 = XCR0_SSE | XCR0_AVX,
		     .protected_mode = true },
	[HX_AVX512] = { .cr0_nm = CR0_TS,
			.cr4 = CR4_OSXSAVE,
			.xcr0 = XCR0_SSE | XCR0_AVX | XCR0_AVX512,
			.protected_mode = true },
};

void hx_check(struct vcpu *v, enum hx_class cls)
{
	const struct x86_state *s = &v->s;

	if (cls == HX_INT)
		return;
	if ((s->cr0 & requirement[cls].cr0_ud) || (~s->cr4 & requirement[cls].cr4) ||
	    (~s->xcr0 & requirement[cls].xcr0) || (requirement[cls].protected_mode && x86_real_like(s)))
		interp_raise(v, X86_UD);
	if (s->cr0 & requirement[cls].cr0_nm)
		interp_raise(v, X86_NM);
}

/* -- Running --------------------------------------------------------------------------------------------- */

/* What LAHF and SETO left in AX. */
static inline void merge_flags(struct x86_state *s, uint32_t ax)
{
	uint64_t lahf = ax >> 8 & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF);

	s->rflags = (s->rflags & ~FL_ARITH) | lahf | ((ax & 1) ? FL_OF : 0);
}

void hx_run(struct vcpu *v, struct hostexec *hx, struct hx_stub *st, void *mem, uint64_t arg)
{
	uint8_t flags = st->d.flags;
	uint32_t r;

	v->stats.host_executed++;
	if (flags & HXF_FX)
		hx_fx_load(hx, &v->s.fpu);
	hx->running = st;
	hx_current = hx;
	r = st->code(mem, arg);
	hx_current = NULL;
	if (unlikely(r == HX_ABORTED)) {
		/* CVTPS2PI and its like have switched to MMX state by the time they fail. */
		if ((flags & HXF_FX) && hx->fault == X86_XM)
			hx_fx_store(hx, &v->s.fpu);
		hx_raise(v, hx);
	}
	if (flags & HXF_FLAGS)
		merge_flags(&v->s, r);
	if (flags & HXF_FX)
		hx_fx_store(hx, &v->s.fpu);
}

static inline enum mmu_access access_of(const struct hx_desc *d)
{
	return d->mem == HX_MEM_READ ? ACCESS_READ : ACCESS_WRITE;
}

/*
 * An x87 store that finds an unmasked exception other than precision leaves its destination alone
 * (SDM vol. 1, 8.5). None was pending before, or it would have been #MF.
 */
static bool x87_store_cancelled(const struct vcpu *v, const struct hx_desc *d)
{
	const uint16_t before_store = 0x1f; /* IE, DE, ZE, OE, UE */

	return d->cls == HX_X87 && (v->s.fpu.fsw & ~v->s.fpu.fcw & before_store);
}

/* Misaligned SSE mode lets the operands of ordinary instructions stand anywhere (APM vol. 1, 4.3.1). */
static bool misaligned_ok(const struct vcpu *v, const struct hx_desc *d)
{
	const uint32_t mxcsr_mm = 1u << 17;

	return d->align_mm && (v->s.fpu.mxcsr & mxcsr_mm);
}

bool hx_misaligned(struct vcpu *v, const struct insn *in, const struct hx_desc *d)
{
	uint64_t base;

	if (likely(d->align <= 1))
		return false;
	base = v->interp->long64 && in->seg < SEG_FS ? 0 : v->s.seg[in->seg].base;
	if (likely(!((insn_ea(v, in) + base) & (d->align - 1u))))
		return false;
	if (!misaligned_ok(v, d))
		GP0(v);
	return true;
}

void hx_run_bounced(struct vcpu *v, const struct insn *in, uint64_t la)
{
	struct hostexec *hx = hx_of(v);
	struct hx_stub *st = in->aux;
	const struct hx_desc *d = &st->d;
	enum mmu_mode mode = v->interp->mmu_mode;
	/* As misaligned as in the guest, but for what the host's MXCSR.MM, always clear, would not allow. */
	uint8_t *buf = hx->bounce + (d->align > 1 ? 0 : la % 64);

	if (d->mem != HX_MEM_READ)
		interp_probe(v, la, d->mem_len, ACCESS_WRITE, mode);
	if (d->mem != HX_MEM_WRITE)
		interp_load_buf(v, la, buf, d->mem_len, mode);
	hx_run(v, hx, st, buf, hx_arg(v, d));
	if (d->mem != HX_MEM_READ && !x87_store_cancelled(v, d))
		interp_store_buf(v, la, buf, d->mem_len, mode);
}

static void run_at(struct vcpu *v, const struct insn *in, uint64_t la)
{
	struct hx_stub *st = in->aux;
	const struct hx_desc *d = &st->d;
	uint64_t gpa;
	void *p;

	hx_check_alignment(v, la, d->ac_align);
	p = interp_host_ptr(v, la, d->mem_len, access_of(d), v->interp->mmu_mode, &gpa);
	if (unlikely(!p)) {
		if (d->flags & HXF_LOCK)
			hx_run_split_lock(v, in, la);
		else
			hx_run_bounced(v, in, la);
		return;
	}
	hx_run(v, hx_of(v), st, p, hx_arg(v, d));
	if (d->mem != HX_MEM_READ)
		ram_note_write(v->ram, gpa, d->mem_len);
}

static void run_memory(struct vcpu *v, const struct insn *in)
{
	const struct hx_stub *st = in->aux;
	bool misaligned;

	hx_check(v, (enum hx_class)st->d.cls);
	if (st->d.flags & HXF_WAIT)
		hx_check_pending(v);
	misaligned = hx_misaligned(v, in, &st->d);
	if (unlikely(misaligned))
		hx_run_bounced(v, in, insn_la(v, in, st->d.mem_len, access_of(&st->d)));
	else
		run_at(v, in, insn_la(v, in, st->d.mem_len, access_of(&st->d)));
	if (st->d.flags & HXF_RECORD)
		hx_record(v, in, &st->d);
}

static void run_registers(struct vcpu *v, const struct insn *in)
{
	struct hx_stub *st = in->aux;

	hx_check(v, (enum hx_class)st->d.cls);
	hx_run(v, hx_of(v), st, NULL, 0);
	if (st->d.flags & HXF_RECORD)
		hx_record(v, in, &st->d);
}

/* BT and its like with a register offset: a bit string, whose word is chosen by the signed offset. */
static void run_bit_string(struct vcpu *v, const struct insn *in)
{
	const struct hx_desc *d = &((const struct hx_stub *)in->aux)->d;
	int64_t offset = sign_extend(v->s.gpr[d->bitreg], d->osize * 8u);
	int64_t words = offset >> (d->osize == 8 ? 6 : d->osize == 4 ? 5 : 4); /* rounds down */
	uint64_t ea = (insn_ea(v, in) + (uint64_t)words * d->osize) & size_mask(in->asize);

	run_at(v, in, interp_linear(v, (enum x86_segreg)in->seg, ea, d->osize, access_of(d)));
}

/* -- Binding --------------------------------------------------------------------------------------------- */

static insn_fn runner(const struct hx_desc *d)
{
	if (d->mem == HX_MEM_NONE)
		return run_registers;
	if (d->flags & HXF_BITOFF)
		return run_bit_string;
	return d->mask == HX_MASK_NONE ? run_memory : hx_run_masked;
}

static struct hostexec *context(struct vcpu *v)
{
	struct hostexec **slot = interp_hostexec_slot(v);

	if (!*slot)
		*slot = hostexec_new(v);
	return *slot;
}

static insn_fn bind_by_hand(struct insn *in, const struct decoded *d)
{
	insn_fn fn = hx_bind_special(in, d);

	if (!fn)
		fn = hx_bind_x87_control(d);
	if (!fn)
		fn = hx_bind_gather(in, d);
	return fn;
}

void hostexec_bind(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	struct hx_desc desc;
	struct hostexec *hx;

	in->fn = NULL;
	if (!hx_allowed(v, d))
		return;
	in->fn = bind_by_hand(in, d);
	if (in->fn)
		return;
	hx = context(v);
	memset(&desc, 0, sizeof(desc));
	if (!hx || !hx_describe(d, &desc) || !hx_rewrite(hx, d, &desc)) {
		guest_log("vCPU %u: %s is not executed: #UD", v->index, ZydisMnemonicGetString(d->i.mnemonic));
		return;
	}
	if (desc.cls == HX_X87) /* x87 has no second immediate: FOP, SDM vol. 1, 8.1.9 */
		in->imm2 = (uint16_t)((d->i.opcode & 7) << 8 | d->bytes[d->i.raw.modrm.offset]);
	in->aux = hx_intern(hx, &desc);
	in->fn = runner(&desc);
}

/* -- Context --------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const struct hx_desc *d)
{
	const uint8_t *p = (const uint8_t *)d;
	uint32_t h = 2166136261u; /* FNV-1a */

	for (unsigned i = 0; i < sizeof(*d); i++)
		h = (h ^ p[i]) * 16777619u;
	return (h ^ h >> 16) % HX_HASH;
}

/*
 * Stubs at new addresses replace the old ones in the same physical memory; what was prefetched goes by a
 * serializing instruction (SDM vol. 3, 8.1.3).
 */
static void flush(struct hostexec *hx)
{
	unsigned a, b, c, d;

	memset(hx->hash, 0, sizeof(hx->hash));
	hx->n_stubs = 0;
	hx->used = 0;
	interp_flush_decoded(hx->v);
	__cpuid(0, a, b, c, d);
}

struct hx_stub *hx_intern(struct hostexec *hx, const struct hx_desc *d)
{
	uint32_t h = hash_of(d);
	struct hx_stub *st;

	for (st = hx->hash[h]; st; st = st->next)
		if (!memcmp(&st->d, d, sizeof(*d)))
			return st;
	if (hx->n_stubs == TUNE_HOSTEXEC_STUBS || hx->used + HX_STUB_MAX > TUNE_HOSTEXEC_CODE_SIZE)
		flush(hx);
	st = &hx->stubs[hx->n_stubs++];
	st->d = *d;
	hx_emit(hx, st);
	st->next = hx->hash[h];
	hx->hash[h] = st;
	return st;
}

static int map_code(struct hostexec *hx)
{
	int rc = 0, fd = memfd_create("doppel-stubs", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	hx->rw = hx->rx = MAP_FAILED;
	if (!ftruncate(fd, TUNE_HOSTEXEC_CODE_SIZE)) {
		hx->rw = mmap(NULL, TUNE_HOSTEXEC_CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		hx->rx = mmap(NULL, TUNE_HOSTEXEC_CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	if (hx->rw == MAP_FAILED || hx->rx == MAP_FAILED)
		rc = -errno;
	close(fd);
	return rc;
}

static void probe_host(struct hostexec *hx)
{
	hx->vec_bytes = 16;
	if (__builtin_cpu_supports("avx"))
		hx->vec_bytes = 32;
	if (__builtin_cpu_supports("avx512f"))
		hx->vec_bytes = 64;
	hx->k64 = __builtin_cpu_supports("avx512bw");
	hx->host_mxcsr = __builtin_ia32_stmxcsr();
}

struct hostexec *hostexec_new(struct vcpu *v)
{
	struct hostexec *hx = aligned_alloc(64, ALIGN_UP(sizeof(*hx), 64));
	int rc;

	if (!hx)
		return NULL;
	memset(hx, 0, sizeof(*hx));
	hx->v = v;
	hx->window_off[0] = hx->window_off[1] = ~0ull;
	hx->stubs = calloc(TUNE_HOSTEXEC_STUBS, sizeof(*hx->stubs));
	rc = hx->stubs ? map_code(hx) : -ENOMEM;
	if (!rc)
		rc = hostexec_catch_signals();
	if (!rc && !ZYAN_SUCCESS(ZydisDecoderInit(&hx->decoder, ZYDIS_MACHINE_MODE_LONG_64,
						   ZYDIS_STACK_WIDTH_64)))
		rc = -EINVAL;
	if (rc) {
		log_msg(LOG_ERROR, "vCPU %u: no stubs for the host CPU: %s", v->index, strerror(-rc));
		hostexec_free(hx);
		return NULL;
	}
	probe_host(hx);
	return hx;
}

static void unmap(void *p, size_t len)
{
	if (p && p != MAP_FAILED)
		munmap(p, len);
}

void hostexec_free(struct hostexec *hx)
{
	if (!hx)
		return;
	unmap(hx->rw, TUNE_HOSTEXEC_CODE_SIZE);
	unmap(hx->rx, TUNE_HOSTEXEC_CODE_SIZE);
	unmap(hx->window, 2 * PAGE_SIZE);
	free(hx->stubs);
	free(hx);
}
