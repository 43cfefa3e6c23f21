/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that is Linux to its user code: the world mapped by 4-level paging, the same selectors, control registers
 * and gates. Each exception ends in a HLT of its own in ring 0, with the interrupted state on the ring 0 stack.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "cpu/cpuid.h"
#include "cpu/engines.h"
#include "cpu/interp/interp.h"
#include "cpu/vcpu.h"
#include "subject.h"

/* Guest-physical addresses. */
#define RAM_SIZE    (4 * MiB)
#define GPA_TABLES  0x1000u
#define GPA_KERNEL  0x40000u
static const uint32_t frame_gpa[FRAMES] = { 0x100000, 0x101000, 0x180000, 0x140000, 0x181000, 0x1c0000, 0x160000 };

/* The kernel's pages, from KERNEL up, mapped to GPA_KERNEL. */
#define KERNEL     0xffff900000000000ull
#define KERNEL_GDT 0x0000u
#define KERNEL_IDT 0x1000u
#define KERNEL_TSS 0x2000u
#define KERNEL_LDT 0x2800u
#define KERNEL_STACK_TOP 0x4000u
#define KERNEL_STUBS 0x4000u /* 256 times HLT; NOP ... */
#define STUB_SIZE    16
#define KERNEL_PAGES 5

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_NX BIT(63)

#define SEL_TSS 0x40
#define SEL_LDT 0x50
#define TSS_SIZE 104

struct subject {
	struct vcpu *v;
	struct vcpu_group group;
	struct cpuid_policy cpuid;
	struct x86_state start; /* what all cases have in common */
	uint8_t *frame[FRAMES];
	uint8_t (*image)[PAGE_SIZE];
	uint32_t next_table;
};

/* -- The guest's tables ------------------------------------------------------------------------ */

static uint8_t *at(struct subject *s, uint64_t gpa)
{
	return s->group.ram->base + gpa;
}

static uint8_t *kernel(struct subject *s, uint32_t off)
{
	return at(s, GPA_KERNEL + off);
}

static void map_page(struct subject *s, uint64_t la, uint64_t gpa, uint64_t flags)
{
	uint64_t table = GPA_TABLES, pte = gpa | flags;

	for (unsigned shift = 39; shift > PAGE_SHIFT; shift -= 9) {
		uint64_t *e = (uint64_t *)(void *)at(s, table + (la >> shift & 511) * 8);

		if (!*e) {
			*e = s->next_table | PTE_P | PTE_W | PTE_U;
			s->next_table += PAGE_SIZE;
		}
		table = *e & 0xffffffffff000ull;
	}
	memcpy(at(s, table + (la >> PAGE_SHIFT & 511) * 8), &pte, sizeof(pte));
}

static void make_page_tables(struct subject *s)
{
	s->next_table = GPA_TABLES + PAGE_SIZE;
	for (unsigned i = 0; i < 2 * n_world_pages; i++) {
		const struct world_page *p = &world_pages[i / 2];

		map_page(s, (i & 1 ? WORLD_HIGH : WORLD_LOW) + p->offset, frame_gpa[p->frame],
			 PTE_P | PTE_U | (p->writable ? PTE_W : 0) | (p->executable ? 0 : PTE_NX));
	}
	for (unsigned i = 0; i < KERNEL_PAGES; i++)
		map_page(s, KERNEL + i * PAGE_SIZE, GPA_KERNEL + i * PAGE_SIZE,
			 PTE_P | PTE_W | (i * PAGE_SIZE == KERNEL_STUBS ? 0 : PTE_NX));
}

/* A 16-byte system descriptor (SDM vol. 3, figure 8-4). */
static void put_system_descriptor(struct subject *s, unsigned sel, uint64_t base, uint32_t limit, uint64_t type)
{
	uint64_t d[2] = { limit | (base & 0xffffff) << 16 | (type | BIT(7)) << 40 | (base >> 24 & 0xff) << 56,
			  base >> 32 };

	memcpy(kernel(s, KERNEL_GDT + sel), d, sizeof(d));
}

static void make_descriptor_tables(struct subject *s)
{
	uint64_t rsp0 = KERNEL + KERNEL_STACK_TOP;
	const uint16_t no_io_bitmap = TSS_SIZE;

	memcpy(kernel(s, KERNEL_GDT), world_gdt, sizeof(world_gdt));
	put_system_descriptor(s, SEL_TSS, KERNEL + KERNEL_TSS, TSS_SIZE - 1, 0xb);
	put_system_descriptor(s, SEL_LDT, KERNEL + KERNEL_LDT, WORLD_LDT_ENTRIES * 8 - 1, 2);
	for (unsigned i = 0; i < WORLD_LDT_ENTRIES; i++) {
		uint64_t d = world_ldt_descriptor(&world_ldt[i]);

		memcpy(kernel(s, KERNEL_LDT + i * 8), &d, 8);
	}
	memcpy(kernel(s, KERNEL_TSS + 4), &rsp0, 8);
	memcpy(kernel(s, KERNEL_TSS + 102), &no_io_bitmap, 2);
	/* Interrupt gates (SDM vol. 3, figure 6-8); Linux lets user code raise 3, 4 and 80h. */
	for (unsigned i = 0; i < 256; i++) {
		uint64_t to = KERNEL + KERNEL_STUBS + i * STUB_SIZE, dpl = i == 3 || i == 4 || i == 0x80 ? 3 : 0;
		uint64_t gate[2] = { (to & 0xffff) | 0x10 << 16 | (0x8e | dpl << 5) << 40 | (to >> 16 & 0xffff) << 48,
				     to >> 32 };

		memcpy(kernel(s, KERNEL_IDT + i * 16), gate, 16);
	}
	memset(kernel(s, KERNEL_STUBS), CODE_FILL, PAGE_SIZE);
}

/* The hidden part that loading sel would give (SDM vol. 3, 3.4.5). */
static struct x86_seg segment(uint16_t sel)
{
	uint64_t d = world_descriptor(sel);
	struct x86_seg seg = { .sel = sel };

	if (!(sel & ~3))
		return seg;
	seg.attr = bits_of(d, 55, 40) & 0xf0ff;
	seg.base = world_seg_base(sel);
	seg.limit = (uint32_t)(bits_of(d, 15, 0) | bits_of(d, 51, 48) << 16);
	if (seg.attr & SEG_G)
		seg.limit = seg.limit << 12 | 0xfff;
	return seg;
}

static void make_start_state(struct subject *s)
{
	struct x86_state *st = &s->start;

	*st = s->v->s;
	st->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	st->cr3 = GPA_TABLES;
	st->cr4 = (CR4_DE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE |
		   CR4_SMEP | CR4_SMAP) & s->cpuid.cr4_allowed;
	st->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	st->xcr0 = s->cpuid.xcr0_allowed;
	st->gdtr = (struct x86_dtable){ KERNEL + KERNEL_GDT, sizeof(world_gdt) - 1 };
	st->idtr = (struct x86_dtable){ KERNEL + KERNEL_IDT, 256 * 16 - 1 };
	st->tr = (struct x86_seg){ SEL_TSS, SEG_P | 0xb, TSS_SIZE - 1, KERNEL + KERNEL_TSS };
	st->ldtr = (struct x86_seg){ SEL_LDT, SEG_P | 2, WORLD_LDT_ENTRIES * 8 - 1, KERNEL + KERNEL_LDT };
	st->cpl = 3;
	st->activity = ACT_RUNNING;
}

/* -- Lifecycle --------------------------------------------------------------------------------- */

int subject_new(struct subject **out, const char *engine, const char *cpu, struct err *e)
{
	struct subject *s = aligned_alloc(64, ALIGN_UP(sizeof(*s), 64));
	const struct engine_ops *ops;
	int rc;

	if (!s)
		return err_set(e, ENOMEM, "subject: out of memory");
	memset(s, 0, sizeof(*s));
	s->group.cpuid = &s->cpuid;
	s->group.mem = space_new("memory", 52);
	s->group.pio = space_new("ports", 16);
	rc = engine_parse(&ops, &s->group.stack_window, engine, e);
	if (!rc)
		rc = ram_new(&s->group.ram, RAM_SIZE, e);
	if (!rc)
		rc = space_add_ram(s->group.mem, NULL, "ram", 0, RAM_SIZE, s->group.ram, false);
	if (!rc)
		rc = clock_new(&s->group.clock, e);
	if (!rc)
		rc = cpuid_policy_init(&s->cpuid, cpu, 1, clock_tsc_hz(s->group.clock), e);
	if (!rc)
		rc = vcpu_new(&s->v, &s->group, 0, ops, e);
	s->group.v = &s->v;
	s->group.n = rc ? 0 : 1;
	if (rc) {
		subject_free(s);
		return rc;
	}
	ram_set_listener(s->group.ram, vcpu_group_code_changed, &s->group);
	make_page_tables(s);
	make_descriptor_tables(s);
	make_start_state(s);
	for (unsigned i = 0; i < FRAMES; i++)
		s->frame[i] = at(s, frame_gpa[i]);
	for (unsigned i = 0; i < CODE_PAGES; i++)
		memset(s->frame[FRAME_CODE0 + i], CODE_FILL, PAGE_SIZE);
	*out = s;
	return 0;
}

void subject_free(struct subject *s)
{
	vcpu_free(s->v);
	space_free(s->group.mem);
	space_free(s->group.pio);
	ram_free(s->group.ram);
	if (s->group.clock)
		clock_free(s->group.clock);
	free(s);
}

void subject_image(struct subject *s, uint8_t image[][PAGE_SIZE])
{
	s->image = image;
	for (unsigned i = 0; i < IMAGE_FRAMES; i++)
		memcpy(s->frame[i], image[i], PAGE_SIZE);
}

/* -- One case ---------------------------------------------------------------------------------- */

static void load_case(struct subject *s, const struct diff_case *c)
{
	struct x86_state *st = &s->v->s;

	frames_load(s->frame, s->image, c);
	for (unsigned i = 0; i < CODE_PAGES; i++)
		ram_note_write(s->group.ram, frame_gpa[FRAME_CODE0 + i], PAGE_SIZE);
	*st = s->start;
	memcpy(st->gpr, c->gpr, sizeof(st->gpr));
	st->rip = c->rip;
	st->rflags = c->rflags;
	st->fpu = c->fpu;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		st->seg[i] = segment(c->sel[i]);
	st->seg[SEG_FS].base = c->fs_base;
	st->seg[SEG_GS].base = c->gs_base;
	if (s->v->engine->sync_in)
		s->v->engine->sync_in(s->v, SYNC_ALL);
}

static bool has_error_code(unsigned vector)
{
	return vector == X86_DF || (vector >= X86_TS && vector <= X86_PF) || vector == X86_AC;
}

static void collect_outcome(struct subject *s, const struct diff_case *c, struct outcome *o)
{
	const struct x86_state *st = &s->v->s;
	uint64_t stub = st->rip - (KERNEL + KERNEL_STUBS), sp = st->gpr[R_SP] - KERNEL, frame[6];

	o->kind = OUTCOME_HANG;
	frames_collect(s->frame, (const uint8_t(*)[PAGE_SIZE])s->image, c, o);
	if (stub >= 256 * STUB_SIZE || sp > KERNEL_STACK_TOP - 40)
		return;
	o->kind = OUTCOME_TRAP;
	o->vector = (uint8_t)(stub / STUB_SIZE);
	memcpy(frame, kernel(s, (uint32_t)sp), sizeof(frame));
	o->err = 0;
	if (has_error_code(o->vector)) {
		o->err = (uint32_t)frame[0];
		memmove(frame, frame + 1, 5 * sizeof(frame[0]));
	}
	o->cr2 = o->vector == X86_PF ? st->cr2 : 0;
	memcpy(o->gpr, st->gpr, sizeof(o->gpr));
	o->rip = frame[0];
	o->sel[SEG_CS] = (uint16_t)frame[1];
	o->rflags = frame[2];
	o->gpr[R_SP] = frame[3];
	o->sel[SEG_SS] = (uint16_t)frame[4];
	o->sel[SEG_DS] = st->seg[SEG_DS].sel;
	o->sel[SEG_ES] = st->seg[SEG_ES].sel;
	o->sel[SEG_FS] = st->seg[SEG_FS].sel;
	o->sel[SEG_GS] = st->seg[SEG_GS].sel;
	o->fs_base = st->seg[SEG_FS].base;
	o->gs_base = st->seg[SEG_GS].base;
	o->fpu = st->fpu;
}

/*
 * The watchdog: when PATIENCE alarms in a row have found the same case the vCPU is asked to come back. A busy machine may stop the
 * process for seconds; the time is no CPU time, since a vCPU may sleep. One subject in a process.
 */
#define PATIENCE 5

static struct {
	struct vcpu *_Atomic v;
	_Atomic uint64_t runs;
	uint64_t seen;
	unsigned alarms;
} watch;

static void on_alarm(int sig)
{
	struct vcpu *v = watch.v;

	watch.alarms = watch.runs == watch.seen ? watch.alarms + 1 : 0;
	watch.seen = watch.runs;
	if (v && watch.alarms >= PATIENCE)
		vcpu_raise(v, WORK_EXIT);
}

static void watch_over(struct vcpu *v)
{
	/* On the engine's signal stack, if it has one: RSP may be the guest's. */
	const struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART };
	const struct itimerval every = { { 1, 0 }, { 1, 0 } };

	watch.v = v;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

void subject_run(struct subject *s, const struct diff_case *c, struct outcome *o)
{
	if (watch.v != s->v)
		watch_over(s->v);
	watch.runs++;
	load_case(s, c);
	s->v->engine->run(s->v);
	atomic_fetch_and(&s->v->work, ~(uint32_t)WORK_EXIT);
	if (s->v->engine->sync_out)
		s->v->engine->sync_out(s->v, SYNC_ALL);
	collect_outcome(s, c, o);
}
