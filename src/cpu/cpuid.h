/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID by policy: which features a guest is told of, derived from the host and what we run right. */
#ifndef DOPPEL_CPU_CPUID_H
#define DOPPEL_CPU_CPUID_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"

/* One feature bit; the table of them is in cpuid_features.c, names as in Linux's /proc/cpuinfo. */
struct cpuid_feature {
	const char *name;
	uint32_t leaf, subleaf;
	uint8_t reg; /* 0 eax, 1 ebx, 2 ecx, 3 edx */
	uint8_t bit;
	uint8_t policy;  /* enum cpuid_feature_policy */
	const char *needs; /* another feature's name or NULL */
	uint8_t level;   /* enum cpuid_level: which models have it */
	uint8_t vendor;  /* enum cpuid_vendor: ANY, or the only one that has it */
};

enum cpuid_vendor { VENDOR_ANY, VENDOR_INTEL, VENDOR_AMD /* and Hygon */ };

/* The models that include a feature: all; from the psABI level on; `host` alone. */
enum cpuid_level { LEVEL_BASE = 1, LEVEL_V2, LEVEL_V3, LEVEL_V4, LEVEL_HOST };

/* HOST: given if the host has it. SOFT: ours alone, on by default. SOFT_OFF: ours, only on request. */
enum cpuid_feature_policy { FEATURE_HOST, FEATURE_SOFT, FEATURE_SOFT_OFF };

#define CPUID_MAX_ENTRIES 96

/* The local APIC timer's clock, before its divider, as leaves 0x15 and 0x40000010 announce it (KVM's too). */
#define CPUID_APIC_BUS_HZ 1000000000ull

struct cpuid_entry {
	uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

/* An XSAVE state component that the guest may enable: CPUID leaf 0xd, subleaf 2 and up. */
#define XSAVE_COMPONENTS 8 /* 0 to 7: x87 to Hi16_ZMM; what is above is not given to guests */
struct xsave_component {
	uint32_t offset, size; /* in the standard format; size 0: not there */
	bool align64;          /* in the compacted format */
};

struct cpuid_policy {
	struct cpuid_entry entry[CPUID_MAX_ENTRIES];
	unsigned n;
	unsigned gpa_bits;      /* MAXPHYADDR */
	uint64_t xcr0_allowed;  /* bits XSETBV may set */
	uint64_t xss_allowed;
	uint64_t cr4_allowed;
	uint64_t efer_allowed;
	uint32_t mxcsr_mask;
	uint64_t tsc_hz;
	unsigned n_cpus;
	uint8_t vendor;         /* VENDOR_INTEL or VENDOR_AMD */
	uint64_t features[3];   /* a bit for each enum cpuid_feature_id; see cpuid_feature_on() */
	uint8_t isa_allowed[32]; /* a bit for each ZydisISASet; see isa.h */
	struct xsave_component xsave[XSAVE_COMPONENTS];
};

/* Where the policy learns about the host; the tests have hosts of their own. */
struct cpuid_host {
	void (*query)(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
	uint64_t xcr0;       /* what the host's kernel has enabled */
	uint32_t mxcsr_mask; /* as FXSAVE stores it */
};

/*
 * Build the policy for "MODEL[,+feature|,-feature]...", MODEL one of host, x86-64, x86-64-v2,
 * x86-64-v3, x86-64-v4. Errors (-EINVAL) name the unknown model or feature, or what the host lacks.
 */
int cpuid_policy_init(struct cpuid_policy *p, const char *spec, unsigned n_cpus, uint64_t tsc_hz, struct err *e);

/* The same on any host. */
int cpuid_policy_init_from(struct cpuid_policy *p, const struct cpuid_host *host, const char *spec, unsigned n_cpus,
			   uint64_t tsc_hz, struct err *e);

/* Names of models and features, a line each, for --cpu help. */
void cpuid_print_models(struct strbuf *out);

bool cpuid_has(const struct cpuid_policy *p, const char *feature);

/* Size of an XSAVE area for these components, header included (SDM vol. 1, 13.4.3). */
uint32_t cpuid_xsave_size(const struct cpuid_policy *p, uint64_t components, bool compacted);

/* CPUID.1:EAX, family, model and stepping: also in EDX after reset. */
uint32_t cpuid_signature(const struct cpuid_policy *p);

/* AuthenticAMD or HygonGenuine in leaf 0: what SYSCALL in compatibility mode, 66-prefixed branches ... do. */
bool cpuid_vendor_is_amd(const struct cpuid_policy *p);

struct vcpu;
/* What the CPUID instruction returns on v: the policy's leaf with the parts that depend on the vCPU
 * and on its state (APIC id, OSXSAVE, XSAVE size, APIC enabled). SDM vol. 2, CPUID. */
void cpuid_query(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

#endif
