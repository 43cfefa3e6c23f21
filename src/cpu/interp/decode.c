/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instruction fetch and the decoder front: bytes to struct insn, by Zydis, into the cache. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/interp/context.h"
#include "cpu/isa.h"

#define INSN_MAX 15 /* bytes, SDM vol. 2, 2.3.11 */

/* The bytes at CS:RIP as far as they were fetched, and where they came from. */
struct fetch {
	uint8_t bytes[16];
	unsigned len;      /* valid bytes */
	unsigned limit;    /* bytes that CS allows from here, at most INSN_MAX */
	uint64_t la;
	uint64_t gpa;      /* of the first byte */
	bool ram;          /* the first page is RAM */
	uint32_t version;  /* of the first page */
};

/* -- Fetch --------------------------------------------------------------------------------------- */

static void translate_fetch(struct vcpu *v, uint64_t la, uint64_t *gpa, const uint8_t **host)
{
	struct interp *c = v->interp;
	struct mmu_translation tr;
	struct tlb_entry *e = tlb_slot(v->tlb, c->fetch_mode, la);
	bool readonly;
	uint32_t fault;
	uint8_t *page;

	if (e->tag[ACCESS_FETCH] == ((la & PAGE_MASK) | v->tlb->pcid)) {
		*gpa = e->gpa | (la & 0xfff);
		*host = (const uint8_t *)(e->addend + la);
		return;
	}
	if (x86_long_mode(&v->s) && !x86_canonical(&v->s, la))
		GP0(v);
	v->stats.tlb_misses++;
	fault = mmu_walk(&v->s, v->mem, v->cpuid->gpa_bits, la, ACCESS_FETCH, c->fetch_mode, &tr);
	if (fault)
		interp_raise_pf(v, la, fault & ~(uint32_t)MMU_FAULT);
	page = space_page(v->mem, tr.gpa & PAGE_MASK, &readonly);
	tlb_fill(v->tlb, c->fetch_mode, la, &tr, page, readonly);
	*gpa = tr.gpa;
	*host = page ? page + (tr.gpa & 0xfff) : NULL;
}

static void read_bytes(struct vcpu *v, uint64_t gpa, const uint8_t *host, uint8_t *out, unsigned len)
{
	if (host) {
		ram_read_code(host, out, len);
		return;
	}
	for (unsigned i = 0; i < len; i++)
		out[i] = (uint8_t)vcpu_mmio_read(v, gpa + i, 1);
}

/* The bytes of the first page. */
static void fetch_first(struct vcpu *v, struct fetch *f)
{
	struct interp *c = v->interp;
	const struct x86_seg *cs = &v->s.seg[SEG_CS];
	const uint8_t *host;
	unsigned left;

	f->limit = INSN_MAX;
	f->la = v->s.rip;
	if (!c->long64) {
		f->la = (uint32_t)(cs->base + v->s.rip);
		if (v->s.rip > cs->limit)
			GP0(v);
		f->limit = (unsigned)MIN((uint64_t)INSN_MAX, (uint64_t)cs->limit - v->s.rip + 1);
	}
	left = (unsigned)(PAGE_SIZE - (f->la & 0xfff));
	translate_fetch(v, f->la, &f->gpa, &host);
	f->ram = host;
	f->len = MIN(left, f->limit);
	if (host)
		f->version = ram_mark_code(v->ram, f->gpa, f->len);
	read_bytes(v, f->gpa, host, f->bytes, f->len);
}

/* The rest, from the next page. False: there is no next byte. */
static bool fetch_second(struct vcpu *v, struct fetch *f)
{
	const uint8_t *host;
	uint64_t gpa, la = f->la + f->len;

	if (f->len >= f->limit)
		return false;
	if (!x86_long_mode(&v->s))
		la = (uint32_t)la;
	translate_fetch(v, la, &gpa, &host);
	read_bytes(v, gpa, host, f->bytes + f->len, f->limit - f->len);
	f->len = f->limit;
	return true;
}

/* -- Operands --------------------------------------------------------------------------------------- */

static uint8_t segment_number(ZydisRegister r)
{
	return (uint8_t)(r >= ZYDIS_REGISTER_ES && r <= ZYDIS_REGISTER_GS ? r - ZYDIS_REGISTER_ES : SEG_DS);
}

/* Where a register operand stands: see insn.h. */
static uint8_t register_offset(ZydisRegister r)
{
	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
		return (uint8_t)((r - ZYDIS_REGISTER_AH) * 8 + 1);
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		/* AL..BL, AH..BH, SPL..R15B: the ones after BH are 4 too high. */
		return (uint8_t)((r >= ZYDIS_REGISTER_SPL ? r - ZYDIS_REGISTER_SPL + 4 : r - ZYDIS_REGISTER_AL) * 8);
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return (uint8_t)(ZydisRegisterGetId(r) * 8);
	case ZYDIS_REGCLASS_SEGMENT:
		return segment_number(r);
	default:
		return (uint8_t)ZydisRegisterGetId(r);
	}
}

/* SIB without a base: Zydis 4.0 takes REX.B for one beside a 67 prefix (base 101b with mod 00). */
static bool sib_has_no_base(const ZydisDecodedInstruction *i)
{
	return i->raw.sib.offset && i->raw.modrm.mod == 0 && i->raw.sib.base == 5;
}

static void set_memory(struct insn *in, const struct decoded *d, const ZydisDecodedOperandMem *m)
{
	in->flags |= INSN_RM_IS_MEM;
	in->seg = segment_number(m->segment);
	/* Where disp is 8 bytes wide (moffs) the address goes to imm. */
	if (d->i.raw.disp.size == 64)
		in->imm = m->disp.value;
	else
		in->disp = (int32_t)m->disp.value;
	if (sib_has_no_base(&d->i))
		in->disp = (int32_t)d->i.raw.disp.value;
	else if (m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP) {
		in->base = INSN_RIP;
		in->disp += in->len;
	} else if (m->base != ZYDIS_REGISTER_NONE) {
		in->base = (uint8_t)ZydisRegisterGetId(m->base);
	}
	if (m->index != ZYDIS_REGISTER_NONE && ZydisRegisterGetClass(m->index) <= ZYDIS_REGCLASS_GPR64) {
		in->index = (uint8_t)ZydisRegisterGetId(m->index);
		in->scale = m->scale;
	}
}

static void set_operands(struct insn *in, const struct decoded *d)
{
	bool first_imm = true;

	for (unsigned n = 0; n < d->i.operand_count; n++) {
		const ZydisDecodedOperand *o = &d->op[n];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
			set_memory(in, d, &o->mem);
			in->rmsize = (uint8_t)MIN(o->size / 8, 64);
		} else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
			   (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
			    o->encoding == ZYDIS_OPERAND_ENCODING_OPCODE)) {
			in->rm = register_offset(o->reg.value);
			in->rmsize = (uint8_t)(o->size / 8);
		} else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) {
			in->reg = register_offset(o->reg.value);
		} else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && first_imm) {
			in->imm = o->imm.value.s;
			first_imm = false;
		} else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			in->imm2 = (uint16_t)o->imm.value.u;
		} else if (o->type == ZYDIS_OPERAND_TYPE_POINTER) {
			in->imm = o->ptr.offset;
			in->imm2 = o->ptr.segment;
		}
	}
}

static void set_fields(struct insn *in, const struct decoded *d)
{
	const ZydisDecodedInstruction *i = &d->i;

	in->mnemonic = (uint16_t)i->mnemonic;
	in->len = i->length;
	in->size = i->operand_count_visible ? (uint8_t)MIN(d->op[0].size / 8, 64) : i->operand_width / 8;
	in->osize = i->operand_width / 8;
	in->asize = i->address_width / 8;
	in->base = in->index = INSN_NO_REG;
	in->cond = i->opcode & 0xf;
	if (i->attributes & ZYDIS_ATTRIB_HAS_LOCK)
		in->flags |= INSN_LOCK;
	if (i->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
		in->flags |= INSN_REP;
	if (i->attributes & ZYDIS_ATTRIB_HAS_REPNE)
		in->flags |= INSN_REPNE;
	if (i->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE)
		in->flags |= INSN_OPSIZE;
	set_operands(in, d);
}

/* -- Decoding ------------------------------------------------------------------------------------------- */

static void insn_ud(struct vcpu *v, const struct insn *in)
{
	interp_raise(v, X86_UD);
}

/* VEX, EVEX and XOP are #UD in real and virtual-8086 mode (SDM vol. 2, 2.3.2). */
static bool is_vector_encoding(const ZydisDecodedInstruction *i)
{
	return i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && i->encoding != ZYDIS_INSTRUCTION_ENCODING_3DNOW;
}

/* Hypercalls are answered on any CPU. */
static bool is_allowed(const struct vcpu *v, const ZydisDecodedInstruction *i)
{
	return i->mnemonic == ZYDIS_MNEMONIC_VMCALL || i->mnemonic == ZYDIS_MNEMONIC_VMMCALL ||
	       cpuid_isa_allowed(v->cpuid, i->meta.isa_set);
}

static void bind(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	const struct insn_def *def = v->interp->def[in->mnemonic];
	bool locked = (in->flags & INSN_LOCK) && (in->flags & INSN_RM_IS_MEM);

	in->fn = NULL;
	if (v->interp->decode_mode == ZYDIS_MACHINE_MODE_REAL_16 && is_vector_encoding(&d->i))
		in->fn = insn_ud;
	else if (!def || locked)
		hostexec_bind(v, in, d);
	else if (is_allowed(v, &d->i) && def->bind)
		def->bind(v, in, d);
	else if (is_allowed(v, &d->i))
		in->fn = def->fn;
	if (!in->fn)
		in->fn = insn_ud;
}

static ZyanStatus zydis(const struct interp *c, struct decoded *d, const struct fetch *f)
{
	return ZydisDecoderDecodeFull(&c->decoder[c->decode_mode], f->bytes, f->len, &d->i, d->op);
}

/* Decode f into *in; fetches the second page when the first does not suffice. */
static void decode(struct vcpu *v, struct fetch *f, struct insn *in)
{
	struct decoded d;
	ZyanStatus st = zydis(v->interp, &d, f);

	if (st == ZYDIS_STATUS_NO_MORE_DATA && fetch_second(v, f))
		st = zydis(v->interp, &d, f);
	/* Bytes beyond 15, or beyond the limit of CS. */
	if (st == ZYDIS_STATUS_NO_MORE_DATA || st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		GP0(v);
	memset(in, 0, sizeof(*in));
	v->stats.decodes++;
	if (!ZYAN_SUCCESS(st)) {
		in->len = 1;
		in->base = in->index = INSN_NO_REG;
		in->fn = insn_ud;
		return;
	}
	memcpy(d.bytes, f->bytes, sizeof(d.bytes));
	set_fields(in, &d);
	bind(v, in, &d);
}

/*
 * An instruction that straddles pages: its bytes may change, and its second page may be remapped, unseen;
 * so the bytes are fetched each time, and compared.
 */
static struct crossing *crossing_slot(struct interp *c, uint64_t la)
{
	return &c->crossing[la % CROSSING_CACHE_SIZE];
}

static const struct insn *crossing_find(struct vcpu *v, struct fetch *f)
{
	struct crossing *x = crossing_slot(v->interp, f->la);

	if (x->la != f->la || x->mode != v->interp->decode_mode)
		return NULL;
	if (f->len < x->in.len)
		fetch_second(v, f);
	return f->len >= x->in.len && !memcmp(x->bytes, f->bytes, x->in.len) ? &x->in : NULL;
}

static const struct insn *crossing_add(struct vcpu *v, const struct fetch *f, const struct insn *in)
{
	struct crossing *x = crossing_slot(v->interp, f->la);

	x->in = *in;
	memcpy(x->bytes, f->bytes, in->len);
	x->la = f->la;
	x->mode = v->interp->decode_mode;
	return &x->in;
}

const struct insn *decode_fetch(struct vcpu *v)
{
	struct interp *c = v->interp;
	struct fetch f = { .len = 0 };
	const struct insn *crossing;
	struct insn in, *slot;
	unsigned in_page;

	c->cur = NULL;
	fetch_first(v, &f);
	in_page = (unsigned)MIN(PAGE_SIZE - (f.la & 0xfff), (uint64_t)INSN_MAX);
	if (in_page < INSN_MAX) {
		crossing = crossing_find(v, &f);
		if (crossing)
			return crossing;
	}
	decode(v, &f, &in);
	if (in.len > in_page)
		return crossing_add(v, &f, &in);
	in.version = f.version;
	in.key = insn_key(c, f.gpa);
	slot = f.ram ? insn_slot(c, in.key) : &c->scratch;
	*slot = in;
	return slot;
}

/* -- Set-up -------------------------------------------------------------------------------------------------- */

static void add_defs(struct interp *c, const struct insn_def *d)
{
	for (; d->mnemonic != ZYDIS_MNEMONIC_INVALID; d++)
		c->def[d->mnemonic] = d;
}

static ZydisStackWidth stack_width(ZydisMachineMode m)
{
	switch (m) {
	case ZYDIS_MACHINE_MODE_LONG_64:
		return ZYDIS_STACK_WIDTH_64;
	case ZYDIS_MACHINE_MODE_LONG_COMPAT_32:
	case ZYDIS_MACHINE_MODE_LEGACY_32:
		return ZYDIS_STACK_WIDTH_32;
	default:
		return ZYDIS_STACK_WIDTH_16;
	}
}

static bool decoder_init(ZydisDecoder *d, ZydisMachineMode m, const struct cpuid_policy *p)
{
	if (!ZYAN_SUCCESS(ZydisDecoderInit(d, m, stack_width(m))))
		return false;
	isa_configure_decoder(p, d);
	return true;
}

int decode_init(struct interp *c, const struct cpuid_policy *p, struct err *e)
{
	static const struct insn_def *const tables[] = {
		insns_integer, insns_muldiv, insns_stack, insns_string, insns_control, insns_far, insns_segment, insns_system,
		insns_io, insns_xsave,
	};

	for (unsigned m = 0; m <= ZYDIS_MACHINE_MODE_MAX_VALUE; m++)
		/* Zydis' real mode lacks SYSENTER, which virtual-8086 mode has and real mode answers with #GP. */
		if (!decoder_init(&c->decoder[m], m == ZYDIS_MACHINE_MODE_REAL_16 ? ZYDIS_MACHINE_MODE_LEGACY_16
										  : (ZydisMachineMode)m, p))
			return err_set(e, EINVAL, "libzydis refuses machine mode %u: install libzydis 4.0", m);
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		add_defs(c, tables[i]);
	c->cache = mmap(NULL, INSN_CACHE_SIZE * sizeof(*c->cache), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->cache == MAP_FAILED)
		return err_set(e, ENOMEM, "no memory for the cache of decoded instructions");
	decode_flush(c);
	return 0;
}

void decode_flush(struct interp *c)
{
	madvise(c->cache, INSN_CACHE_SIZE * sizeof(*c->cache), MADV_DONTNEED);
	for (unsigned i = 0; i < CROSSING_CACHE_SIZE; i++)
		c->crossing[i].la = 1;
}

void decode_release(struct interp *c)
{
	if (c->cache && c->cache != MAP_FAILED)
		munmap(c->cache, INSN_CACHE_SIZE * sizeof(*c->cache));
}
