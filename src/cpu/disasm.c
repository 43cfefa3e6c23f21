/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions as text, for traces and reports: libzydis' Intel syntax. */
#include "cpu/disasm.h"

#include <inttypes.h>
#include <Zydis/Zydis.h>

#define TEXT_MAX 128

static unsigned line(ZydisMachineMode mode, ZydisStackWidth width, uint64_t at, const uint8_t *bytes, unsigned n,
		     struct strbuf *out)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	char text[TEXT_MAX] = "(bad)";
	ZydisDecodedInstruction in;
	ZydisFormatter formatter;
	ZydisDecoder decoder;
	unsigned len = 1;

	if (ZYAN_SUCCESS(ZydisDecoderInit(&decoder, mode, width)) &&
	    ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, n, &in, op)) &&
	    ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) &&
	    ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &in, op, in.operand_count_visible, text, sizeof(text), at, NULL)))
		len = in.length;
	strbuf_addf(out, "%016" PRIx64 "  ", at);
	for (unsigned i = 0; i < 10; i++)
		strbuf_addf(out, i < len && i < n ? "%02x" : "  ", i < n ? bytes[i] : 0);
	strbuf_addf(out, "%s %s\n", len > 10 ? ".." : "  ", n ? text : "(not mapped)");
	return len;
}

unsigned disasm_guest(const struct x86_state *s, uint64_t rip, const uint8_t *bytes, unsigned n, struct strbuf *out)
{
	bool big = s->seg[SEG_CS].attr & SEG_DB;

	if (x86_64bit(s))
		return line(ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, rip, bytes, n, out);
	if (x86_protected(s) && big)
		return line(ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, rip, bytes, n, out);
	return line(x86_protected(s) ? ZYDIS_MACHINE_MODE_LEGACY_16 : ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16, rip, bytes, n,
		    out);
}

unsigned disasm_host(uint64_t pc, const uint8_t *bytes, unsigned n, struct strbuf *out)
{
	return line(ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, pc, bytes, n, out);
}
