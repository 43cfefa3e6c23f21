/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events beside their delivery: which faults during delivery become double faults. */
#ifndef DOPPEL_CPU_INTERP_EVENT_H
#define DOPPEL_CPU_INTERP_EVENT_H

#include "cpu/interp/interp.h"

/* SDM vol. 3, table 6-4 */
enum event_class { EVENT_BENIGN, EVENT_CONTRIBUTORY, EVENT_PAGE_FAULT, EVENT_DOUBLE_FAULT };

enum event_class event_classify(uint8_t vector);

/* Whether exception `second`, met while `first` was being delivered, becomes #DF (table 6-5). A fault during
 * delivery of #DF itself is a shutdown: the caller's matter. */
bool event_makes_double_fault(uint8_t first, uint8_t second);

/* INT n with its virtual-8086 rules (IOPL, VME redirection): the instruction's whole effect. */
void event_int_n(struct vcpu *v, uint8_t vector);

#endif
