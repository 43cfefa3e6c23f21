/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of register policy: one vCPU in power-on state with a little RAM, and nothing around it. */
#ifndef DOPPEL_TESTS_UNIT_ONE_CPU_H
#define DOPPEL_TESTS_UNIT_ONE_CPU_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/cpuid_features.h"
#include "cpu/vcpu.h"

#define ONE_CPU_RAM (2 * MiB)
#define ONE_CPU_MAX 2

struct one_cpu {
	struct ram *ram;
	struct space *mem, *pio;
	struct clock *clock;
	struct cpuid_policy cpuid;
	struct vcpu_group group;
	struct vcpu *vcpus[ONE_CPU_MAX];
	struct vcpu *v; /* vcpus[0] */
};

/* host: NULL for the real one. */
static inline struct one_cpu *one_cpu_new(const struct cpuid_host *host, const char *spec, unsigned n)
{
	struct one_cpu *c = calloc(1, sizeof(*c));
	struct err e = { "" };
	int rc;

	assert_non_null(c);
	assert_int_equal(ram_new(&c->ram, ONE_CPU_RAM, &e), 0);
	c->mem = space_new("memory", 52);
	c->pio = space_new("ports", 16);
	assert_int_equal(space_add_ram(c->mem, NULL, "ram", 0, ONE_CPU_RAM, c->ram, false), 0);
	assert_int_equal(clock_new(&c->clock, &e), 0);
	if (host)
		rc = cpuid_policy_init_from(&c->cpuid, host, spec, n, clock_tsc_hz(c->clock), &e);
	else
		rc = cpuid_policy_init(&c->cpuid, spec, n, clock_tsc_hz(c->clock), &e);
	if (rc)
		fail_msg("%s", e.msg);
	c->group = (struct vcpu_group){ .v = c->vcpus, .n = n, .mem = c->mem, .pio = c->pio, .ram = c->ram,
					.clock = c->clock, .cpuid = &c->cpuid };
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(vcpu_new(&c->vcpus[i], &c->group, i, &interp_engine, &e), 0);
	c->v = c->vcpus[0];
	return c;
}

static inline void one_cpu_free(struct one_cpu *c)
{
	for (unsigned i = 0; i < c->group.n; i++)
		vcpu_free(c->vcpus[i]);
	clock_free(c->clock);
	space_free(c->mem);
	space_free(c->pio);
	ram_free(c->ram);
	free(c);
}

#endif
