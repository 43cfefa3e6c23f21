/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives whose medium can be changed while the machine runs: what a CD-ROM drive and a floppy drive have in common. */
#ifndef DOPPEL_DEV_STORAGE_MEDIA_H
#define DOPPEL_DEV_STORAGE_MEDIA_H

#include <stdbool.h>

struct blk;

struct media_state {
	struct blk *blk;  /* in the drive; NULL: none */
	bool tray_open;   /* never for a floppy */
	bool locked;      /* the guest does not let it out */
};

/* Drive n of a chip. Any thread, with no lock held. */
struct media_ops {
	/* Put a medium in and shut the tray; NULL: open the tray and take it out. Returns what was there: whoever closes that waits. */
	struct blk *(*change)(void *chip, unsigned n, struct blk *blk);
	/* Somebody presses the eject button: false when the guest has locked the medium in, and is told of the wish. */
	bool (*press_eject)(void *chip, unsigned n);
	void (*get)(void *chip, unsigned n, struct media_state *out);
};

struct media_drive {
	const struct media_ops *ops;
	void *chip;
	unsigned n;
};

#endif
