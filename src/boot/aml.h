/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes AML, the byte code of ACPI tables (ACPI 6.4, ch. 20), and resource descriptors (6.4). */
#ifndef DOPPEL_BOOT_AML_H
#define DOPPEL_BOOT_AML_H

#include <stdbool.h>
#include <stdint.h>
#include "base/strbuf.h"

#define AML_MAX_DEPTH 8

struct aml {
	struct strbuf *out;
	size_t open[AML_MAX_DEPTH]; /* where the package lengths of open terms belong */
	unsigned depth;
};

void aml_init(struct aml *a, struct strbuf *out);

/* Terms with contents; aml_close() ends the innermost. path: "\\_SB_" or a name of four characters. */
void aml_open_scope(struct aml *a, const char *path);
void aml_open_device(struct aml *a, const char *name);
void aml_open_package(struct aml *a, uint8_t elements);
void aml_close(struct aml *a);

/* Name (name, ...): to be followed by one data term. */
void aml_name(struct aml *a, const char *name);

/* Data terms. An EISA id is seven characters, like "PNP0A03". */
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *text);
void aml_eisaid(struct aml *a, const char *id);
void aml_buffer(struct aml *a, const void *data, size_t len);

/* Resource descriptors, appended to a buffer of their own; res_end() finishes it. Windows: base and size. */
void res_io(struct strbuf *r, uint16_t port, uint8_t len);
void res_irq(struct strbuf *r, unsigned irq);
void res_dma(struct strbuf *r, unsigned channel); /* 8 bits wide */
void res_gsi_shared(struct strbuf *r, uint32_t gsi); /* level, active high */
void res_fixed_memory(struct strbuf *r, uint32_t base, uint32_t size);
void res_bus_numbers(struct strbuf *r, uint8_t first, uint8_t last);
void res_io_window(struct strbuf *r, uint16_t base, uint32_t size);
void res_memory_window32(struct strbuf *r, uint32_t base, uint32_t size);
void res_memory_window64(struct strbuf *r, uint64_t base, uint64_t size);
void res_end(struct strbuf *r);

#endif
