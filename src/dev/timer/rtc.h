/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MC146818 real-time clock with 128 bytes of battery-backed CMOS RAM. */
#ifndef DOPPEL_DEV_TIMER_RTC_H
#define DOPPEL_DEV_TIMER_RTC_H

#include "base/clock.h"
#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

/* The first byte that is plain memory, and the one that holds the century (FADT.CENTURY). */
#define RTC_CMOS_FIRST 0x0e
#define RTC_CENTURY    0x32
#define RTC_CMOS_SIZE  128

struct rtc;

/* The clock shows clock_wall_ns(), UTC, and offset_s seconds more, until the guest sets it. */
struct rtc *rtc_new(struct irq_line irq, struct clock *clock, int64_t offset_s);

/* What firmware has left in a byte of CMOS RAM; index from RTC_CMOS_FIRST on. */
void rtc_set_cmos(struct rtc *r, unsigned index, uint8_t val);

/* Index and data port at base. */
int rtc_attach(struct rtc *r, struct space *pio, uint16_t base);

#endif
