/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment descriptors and selectors (SDM vol. 3, 3.4.5 and 3.5). */
#ifndef DOPPEL_X86_DESC_H
#define DOPPEL_X86_DESC_H

#include "x86/state.h"

/* Types of system descriptors, SDM vol. 3, table 3-2. In IA-32e mode only LDT and the three 32/64 ones. */
enum {
	SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK_GATE = 5, SYS_INT16 = 6,
	SYS_TRAP16 = 7, SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32 = 12, SYS_INT32 = 14, SYS_TRAP32 = 15,
};

#define SEL_MASK 0xfffcu /* a selector without its RPL: an error code's form */
#define SEL_TI   4u
#define SEL_RPL(sel) ((sel) & 3u)

/* Fields of a raw descriptor. */
static inline uint16_t desc_attr(uint64_t d)
{
	return (uint16_t)(d >> 40) & 0xf0ff;
}

static inline unsigned desc_dpl(uint64_t d)
{
	return (d >> 45) & 3;
}

static inline unsigned desc_type(uint64_t d)
{
	return (d >> 40) & 0xf;
}

static inline bool desc_present(uint64_t d)
{
	return (d >> 47) & 1;
}

static inline bool desc_is_system(uint64_t d)
{
	return !((d >> 44) & 1);
}

static inline bool desc_is_code(uint64_t d)
{
	return !desc_is_system(d) && (desc_type(d) & SEG_CODE);
}

static inline bool desc_is_conforming(uint64_t d)
{
	return desc_is_code(d) && (desc_type(d) & SEG_CONF);
}

static inline bool desc_is_writable_data(uint64_t d)
{
	return !desc_is_system(d) && !(desc_type(d) & SEG_CODE) && (desc_type(d) & SEG_RW);
}

static inline bool desc_is_readable(uint64_t d)
{
	return !desc_is_system(d) && (!(desc_type(d) & SEG_CODE) || (desc_type(d) & SEG_RW));
}

static inline bool desc_is_64bit(uint64_t d) /* code with L set */
{
	return (d >> 53) & 1;
}

static inline bool desc_is_big(uint64_t d) /* D/B */
{
	return (d >> 54) & 1;
}

static inline uint32_t desc_base(uint64_t d)
{
	return (uint32_t)((d >> 16) & 0xffffff) | (uint32_t)(d >> 56) << 24;
}

static inline uint32_t desc_limit(uint64_t d) /* in bytes, granularity applied */
{
	uint32_t limit = (uint32_t)(d & 0xffff) | (uint32_t)((d >> 32) & 0xf0000);

	return (d >> 55) & 1 ? limit << 12 | 0xfff : limit;
}

static inline bool sel_is_null(uint16_t sel)
{
	return !(sel & SEL_MASK);
}

#endif
