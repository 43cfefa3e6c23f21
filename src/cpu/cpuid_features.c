/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a --cpu argument to a set of features: models, +feature and -feature, and what needs what. */
#include <errno.h>
#include <string.h>
#include "cpu/cpuid_features.h"
#include "x86/bits.h"

enum { EAX, EBX, ECX, EDX };

#define X(id, name, leaf, sub, reg, bit, policy, level, vendor, needs)           \
	{ name, leaf, sub, reg, bit, FEATURE_##policy, needs, LEVEL_##level, VENDOR_##vendor },
const struct cpuid_feature cpuid_features[FEAT_COUNT] = { CPUID_FEATURES(X) };
#undef X

_Static_assert(FEAT_COUNT <= 8 * sizeof(((struct cpuid_policy *)0)->features), "features[] is too small");

static const struct {
	const char *name;
	enum cpuid_level level;
	const char *help;
} models[] = {
	{ "host", LEVEL_HOST, "all that this host has and doppel runs right (the default)" },
	{ "x86-64", LEVEL_BASE, "SSE2: any 64-bit CPU" },
	{ "x86-64-v2", LEVEL_V2, "SSE4.2, POPCNT, CMPXCHG16B: any CPU since 2009" },
	{ "x86-64-v3", LEVEL_V3, "AVX2, BMI, FMA: since 2015" },
	{ "x86-64-v4", LEVEL_V4, "AVX-512 F, BW, CD, DQ, VL" },
};

/* Components of XCR0 that must be enabled on the host for a feature's instructions to run. */
static const struct {
	const char *feature;
	uint64_t xcr0;
} xcr0_needs[] = {
	{ "xsave", XCR0_X87 | XCR0_SSE },
	{ "avx", XCR0_SSE | XCR0_AVX },
	{ "avx512f", XCR0_SSE | XCR0_AVX | XCR0_AVX512 },
};

int cpuid_feature_find(const char *name)
{
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		if (!strcmp(cpuid_features[i].name, name))
			return (int)i;
	return -1;
}

/* The feature that feature id needs, or -1. */
static int needed_by(unsigned id)
{
	return cpuid_features[id].needs ? cpuid_feature_find(cpuid_features[id].needs) : -1;
}

static bool host_bit(const struct cpuid_host *host, const struct cpuid_feature *f)
{
	uint32_t r[4];

	host->query(f->leaf & 0x80000000, 0, r);
	if (r[EAX] < f->leaf)
		return false;
	if (f->subleaf) { /* leaf 7 says in EAX how many it has, leaf 0xd has two */
		host->query(f->leaf, 0, r);
		if (f->leaf == 7 && r[EAX] < f->subleaf)
			return false;
	}
	host->query(f->leaf, f->subleaf, r);
	return r[f->reg] >> f->bit & 1;
}

/* Can this guest have the feature on this host, what it needs included? */
static bool available(const struct cpuid_policy *p, const struct cpuid_host *host, unsigned id)
{
	const struct cpuid_feature *f = &cpuid_features[id];

	if (f->vendor != VENDOR_ANY && f->vendor != p->vendor)
		return false;
	if (f->policy == FEATURE_HOST && !host_bit(host, f))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(xcr0_needs); i++)
		if (!strcmp(xcr0_needs[i].feature, f->name) && (xcr0_needs[i].xcr0 & ~host->xcr0))
			return false;
	return !f->needs || available(p, host, (unsigned)needed_by(id));
}

static void enable(struct cpuid_policy *p, unsigned id)
{
	int need = needed_by(id);

	if (need >= 0)
		enable(p, (unsigned)need);
	cpuid_feature_set(p, id, true);
}

/* Disable it and all that needs it. */
static void disable(struct cpuid_policy *p, unsigned id)
{
	cpuid_feature_set(p, id, false);
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		if (cpuid_feature_on(p, i) && needed_by(i) == (int)id)
			disable(p, i);
}

static int select_model(struct cpuid_policy *p, const struct cpuid_host *host, unsigned model, struct err *e)
{
	enum cpuid_level level = models[model].level;

	memset(p->features, 0, sizeof(p->features));
	for (unsigned i = 0; i < FEAT_COUNT; i++) {
		const struct cpuid_feature *f = &cpuid_features[i];

		if (f->level > level || f->policy == FEATURE_SOFT_OFF)
			continue;
		if (available(p, host, i))
			cpuid_feature_set(p, i, true);
		else if (level != LEVEL_HOST && f->level != LEVEL_BASE)
			return err_set(e, EINVAL,
				       "--cpu %s: this host's CPU has no %s, which the model includes: use host",
				       models[model].name, f->name);
	}
	return 0;
}

/* One "+feature" or "-feature" of len bytes. */
static int apply_change(struct cpuid_policy *p, const struct cpuid_host *host, const char *word, size_t len,
			struct err *e)
{
	char name[64];
	int id;

	if (len < 2 || (word[0] != '+' && word[0] != '-'))
		return err_set(e, EINVAL, "--cpu: '%.*s': expected +feature or -feature after the model",
			       (int)MIN(len, 64), word);
	if (len - 1 >= sizeof(name))
		return err_set(e, EINVAL, "--cpu: '%.40s...': no such feature: see --cpu help", word + 1);
	memcpy(name, word + 1, len - 1);
	name[len - 1] = '\0';
	id = cpuid_feature_find(name);
	if (id < 0)
		return err_set(e, EINVAL, "--cpu: '%s': no such feature: see --cpu help", name);
	if (word[0] == '-')
		disable(p, (unsigned)id);
	else if (available(p, host, (unsigned)id))
		enable(p, (unsigned)id);
	else
		return err_set(e, EINVAL, "--cpu: '+%s': this host's CPU does not have it: leave it out", name);
	return 0;
}

int cpuid_select_features(struct cpuid_policy *p, const struct cpuid_host *host, const char *spec, const char **model,
			  struct err *e)
{
	size_t len = strcspn(spec, ",");
	unsigned m;
	int rc;

	for (m = 0; m < ARRAY_SIZE(models); m++)
		if (strlen(models[m].name) == len && !memcmp(models[m].name, spec, len))
			break;
	if (m == ARRAY_SIZE(models))
		return err_set(e, EINVAL, "--cpu: '%.*s': no such model: use host, x86-64, x86-64-v2, x86-64-v3 or x86-64-v4",
			       (int)MIN(len, 64), spec);
	*model = models[m].name;
	rc = select_model(p, host, m, e);
	while (!rc && spec[len]) {
		spec += len + 1;
		len = strcspn(spec, ",");
		rc = apply_change(p, host, spec, len, e);
	}
	return rc;
}

void cpuid_print_models(struct strbuf *out)
{
	static const char *const how[] = {
		[FEATURE_HOST] = "if the host has it",
		[FEATURE_SOFT] = "on any host",
		[FEATURE_SOFT_OFF] = "on any host, only by +name",
	};

	strbuf_addf(out, "models:\n");
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
		strbuf_addf(out, "  %-12s %s\n", models[i].name, models[i].help);
	strbuf_addf(out, "features (+name adds with what it needs, -name takes away with what needs it):\n");
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		strbuf_addf(out, "  %-20s %s\n", cpuid_features[i].name, how[cpuid_features[i].policy]);
}
