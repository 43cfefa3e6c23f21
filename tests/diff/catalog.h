/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The catalogue of everything that decodes: each encoding form of each mnemonic in each mode, found by enumeration. */
#ifndef DOPPEL_DIFF_CATALOG_H
#define DOPPEL_DIFF_CATALOG_H

#include <stdbool.h>
#include <stdint.h>
#include <Zydis/Zydis.h>
#include "base/err.h"
#include "case.h"

enum form_kind { FORM_LEGACY, FORM_VEX, FORM_EVEX, FORM_XOP };

/* Shares of the cases are by class, then by mnemonic, then by form: so that rare ones get theirs. */
enum form_class {
	CLASS_INT, CLASS_STACK, CLASS_BRANCH, CLASS_STRING, CLASS_X87, CLASS_MMX, CLASS_SSE, CLASS_AVX, CLASS_AVX512,
	CLASS_SYSTEM, CLASS_XSAVE, CLASS_INVALID, FORM_CLASSES
};
extern const char *const class_names[FORM_CLASSES];

struct form {
	uint16_t mnemonic;
	uint8_t mode;  /* enum case_mode */
	uint8_t class; /* enum form_class */
	uint8_t kind;  /* enum form_kind */
	uint8_t map;   /* legacy: 0, 1 (0F), 2 (0F38), 3 (0F3A), 4 (3DNow!, 0F0F); else mmm */
	uint8_t opcode;
	uint8_t pp;    /* 0 none, 1 66, 2 F3, 3 F2 */
	uint8_t w, l;
	int8_t reg;    /* ModRM.reg that selects the mnemonic, or -1 */
	int8_t rm;     /* ModRM.rm that selects the mnemonic, or -1 */
	bool mem, has_modrm;
	uint8_t vvvv, aaa; /* values with which it decodes */
	bool foreign;      /* the host raises #UD */
};

struct mnemonic_forms {
	uint16_t mnemonic;
	uint32_t first, n; /* in catalog.form */
};

struct catalog {
	struct form *form; /* sorted by mode, class, mnemonic */
	uint32_t n;
	struct mnemonic_forms *mnemonic;
	struct {
		uint32_t first, n; /* in catalog.mnemonic */
	} group[CASE_MODES][FORM_CLASSES];
	ZydisDecoder decoder[CASE_MODES];
};

/* Enumerate; takes some tenths of a second. */
int catalog_init(struct catalog *c, struct err *e);
void catalog_release(struct catalog *c);

/* Why the diff test leaves a mnemonic out, or NULL if it does not. */
const char *catalog_excluded(uint16_t mnemonic);

/* What is put into an encoding besides what the form fixes. */
struct encoding {
	uint8_t prefix[12];
	uint8_t n_prefixes;    /* legacy prefixes, the form's own included */
	bool rex;              /* a REX prefix even where it is not needed */
	uint8_t r, x, b;       /* REX, VEX, EVEX extension bits, 0 or 1 */
	uint8_t r2, v2;        /* EVEX.R', V' */
	uint8_t vvvv, aaa, z, bc, l;
	uint8_t modrm;
};

/* Write the instruction up to and including ModRM; what follows (SIB, displacement, immediate) is the caller's. */
unsigned form_emit(const struct form *f, const struct encoding *enc, uint8_t *out);

/* The encoding with which the form was found. */
struct encoding form_default(const struct form *f);

#endif
