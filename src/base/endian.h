/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads and stores of unaligned bytes: little-endian as guest structures are, big-endian as networks and SCSI are. */
#ifndef DOPPEL_BASE_ENDIAN_H
#define DOPPEL_BASE_ENDIAN_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "doppel runs on x86-64 hosts only");

#define ENDIAN_LE(bits)                                                          \
	static inline uint##bits##_t get_le##bits(const void *p)                 \
	{                                                                        \
		uint##bits##_t v;                                                \
		memcpy(&v, p, sizeof(v));                                        \
		return v;                                                        \
	}                                                                        \
	static inline void put_le##bits(void *p, uint##bits##_t v)               \
	{                                                                        \
		memcpy(p, &v, sizeof(v));                                        \
	}
ENDIAN_LE(16)
ENDIAN_LE(32)
ENDIAN_LE(64)
#undef ENDIAN_LE

#define ENDIAN_BE(bits)                                                          \
	static inline uint##bits##_t get_be##bits(const void *p)                 \
	{                                                                        \
		return __builtin_bswap##bits(get_le##bits(p));                   \
	}                                                                        \
	static inline void put_be##bits(void *p, uint##bits##_t v)               \
	{                                                                        \
		put_le##bits(p, __builtin_bswap##bits(v));                       \
	}
ENDIAN_BE(16)
ENDIAN_BE(32)
#undef ENDIAN_BE

#endif
