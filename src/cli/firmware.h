/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which firmware --firmware means: a ROM's file, or UEFI by name, with flash for its variables. */
#ifndef DOPPEL_CLI_FIRMWARE_H
#define DOPPEL_CLI_FIRMWARE_H

#include "cli/options.h"

/* "FILE", or "ovmf[,vars=FILE]": notes the ROM, and adds a flash chip for the variables. -EINVAL with a message. */
int firmware_option(struct run_options *o, const char *arg, struct err *e);

/* The file of variables, if one was named and is not there: made from Debian's empty one. */
int firmware_make_vars(const struct run_options *o, struct err *e);

#endif
