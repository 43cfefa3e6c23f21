/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RDMSR and WRMSR: the model-specific registers that the CPUID policy implies. */
#ifndef DOPPEL_CPU_MSR_H
#define DOPPEL_CPU_MSR_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/*
 * False means #GP(0). Unknown MSRs fault as on hardware and are logged, rate-limited. Writes have
 * all architectural side effects (EFER, APIC base, PAT checks, TSC, pvclock). CPL is the caller's.
 */
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *val);
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t val);

#endif
