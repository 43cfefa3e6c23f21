/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small devices that can be plugged in by name: flash, the parallel port, and what tests of guests and of hypervisors use. */
#include <errno.h>
#include <string.h>

#include "machine/board.h"
#include "machine/firmware.h"

/* -- cfi.pflash01 ---------------------------------------------------------------------------------------- */

static int plug_pflash(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	return firmware_add_flash(pc, cfg->blk, e);
}

const struct device_driver misc_drivers[] = {
	{ "cfi.pflash01", "flash with firmware (the first one) or its variables", DEVICE_BUS_SYSTEM, DEVICE_NEEDS_BLK, NULL,
	  plug_pflash },
	{ 0 },
};
