/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug registers: breakpoint matching and MOV DR (SDM vol. 3, 17.2). RTM and bus-lock bits read as fixed. */
#include "cpu/interp/debug.h"

/* DR7.R/W field of one breakpoint, SDM vol. 3, 17.2.4 */
enum { DR7_RW_EXEC = 0, DR7_RW_WRITE = 1, DR7_RW_IO = 2, DR7_RW_ACCESS = 3 };

#define DR6_WRITABLE (0xfull | DR6_BD | DR6_BS | DR6_BT)
/* L0-G3, LE, GE, GD and the four R/W and LEN fields. */
#define DR7_WRITABLE (0x3ffull | DR7_GD | 0xffff0000ull)

static bool enabled(const struct vcpu *v, unsigned n)
{
	return (v->s.dr[7] >> (n * 2)) & 3;
}

static unsigned rw_field(const struct vcpu *v, unsigned n)
{
	return (v->s.dr[7] >> (16 + n * 4)) & 3;
}

/* LEN: 00 one byte, 01 two, 10 eight, 11 four. */
static unsigned length(const struct vcpu *v, unsigned n)
{
	static const uint8_t bytes[4] = { 1, 2, 8, 4 };

	return bytes[(v->s.dr[7] >> (18 + n * 4)) & 3];
}

void debug_set_dr6(struct vcpu *v, uint64_t bits)
{
	v->s.dr[6] = (v->s.dr[6] | (bits & DR6_WRITABLE)) | DR6_FIXED;
}

uint64_t debug_code_breakpoint(const struct vcpu *v, uint64_t la)
{
	uint64_t bits = 0;

	if (!x86_long_mode(&v->s))
		la = (uint32_t)la;
	for (unsigned n = 0; n < 4; n++)
		if (enabled(v, n) && rw_field(v, n) == DR7_RW_EXEC && v->s.dr[n] == la)
			bits |= BIT(n);
	return bits;
}

/* Whether [addr, addr + len) touches breakpoint n, whose address is taken as aligned to its length. */
static bool overlaps(const struct vcpu *v, unsigned n, uint64_t addr, unsigned len)
{
	uint64_t bytes = length(v, n), start = v->s.dr[n] & ~(bytes - 1);

	return addr - start < bytes || start - addr < len;
}

uint64_t debug_data_match(const struct vcpu *v, uint64_t la, unsigned len, bool write)
{
	uint64_t bits = 0;

	for (unsigned n = 0; n < 4; n++) {
		unsigned rw = rw_field(v, n);

		if (!enabled(v, n) || !(rw == DR7_RW_ACCESS || (rw == DR7_RW_WRITE && write)))
			continue;
		if (overlaps(v, n, la, len))
			bits |= BIT(n);
	}
	return bits;
}

uint64_t debug_io_match(const struct vcpu *v, uint16_t port, unsigned size)
{
	uint64_t bits = 0;

	if (!(v->s.cr4 & CR4_DE))
		return 0;
	for (unsigned n = 0; n < 4; n++)
		if (enabled(v, n) && rw_field(v, n) == DR7_RW_IO && overlaps(v, n, port, size))
			bits |= BIT(n);
	return bits;
}

/*
 * DR4 and DR5 are DR6 and DR7 (17.2.2). With DR7.GD every access faults (17.2.4), and RF is set in the pushed
 * flags: it is no instruction breakpoint (17.3.1.1).
 */
static unsigned checked_number(struct vcpu *v, unsigned n)
{
	if (v->s.dr[7] & DR7_GD) {
		debug_set_dr6(v, DR6_BD);
		v->s.rflags |= FL_RF;
		interp_raise(v, X86_DB);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

uint64_t debug_read_dr(struct vcpu *v, unsigned n)
{
	return v->s.dr[checked_number(v, n)];
}

void debug_write_dr(struct vcpu *v, unsigned n, uint64_t val)
{
	n = checked_number(v, n);
	if (n >= 6 && val >> 32)
		GP0(v);
	if (n == 6)
		val = (val & DR6_WRITABLE) | DR6_FIXED;
	else if (n == 7)
		val = (val & DR7_WRITABLE) | DR7_FIXED;
	v->s.dr[n] = val;
}
