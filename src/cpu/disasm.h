/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions as text, for traces and reports. */
#ifndef DOPPEL_CPU_DISASM_H
#define DOPPEL_CPU_DISASM_H

#include "base/strbuf.h"
#include "x86/state.h"

#define DISASM_MAX 15 /* bytes of the longest instruction */

/* One line, with its end: address, bytes, text. Of the guest in its mode, and of the host. Returns the length, at least 1. */
unsigned disasm_guest(const struct x86_state *s, uint64_t rip, const uint8_t *bytes, unsigned n, struct strbuf *out);
unsigned disasm_host(uint64_t pc, const uint8_t *bytes, unsigned n, struct strbuf *out);

#endif
