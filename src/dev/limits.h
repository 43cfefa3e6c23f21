/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits that the chips set to what a guest may make the host do. */
#ifndef DOPPEL_DEV_LIMITS_H
#define DOPPEL_DEV_LIMITS_H

/*
 * Shortest period, in ns, in which a guest's periodic timer keeps the host's timer thread busy:
 * shorter ones tick late and coalesced. 50 us is half of the shortest period that systems of the
 * field program (RTC at 8192 Hz, 10 kHz timers) and costs at most a few percent of a core.
 */
#define DEV_TIMER_MIN_PERIOD_NS 50000

#endif
