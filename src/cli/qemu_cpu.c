/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processor models and features by QEMU's names, turned into those of our CPUID policy. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "cli/qemu.h"
#include "cpu/cpuid.h"
#include "cpu/cpuid_features.h"

/*
 * A model is a set of features here: the psABI level that it belongs to, and a few more. Family, model number and
 * name are the host's.
 */
static const struct {
	const char *name, *spec, *help;
} models[] = {
	{ "max", "host", "all that this host has and doppel runs right (the default)" },
	{ "host", "host", "the same" },
	{ "base", "x86-64", "the first x86-64 processors" },
	{ "qemu64", "x86-64,+pni,+cx16,+lahf_lm", "the first x86-64 processors, with SSE3 and CMPXCHG16B" },
	{ "kvm64", "x86-64,+pni,+cx16", "the same without LAHF" },
	{ "Conroe", "x86-64,+pni,+ssse3,+cx16,+lahf_lm", "Core 2" },
	{ "Penryn", "x86-64,+sse4_1,+cx16,+lahf_lm", "Core 2, 45 nm" },
	{ "Nehalem", "x86-64-v2", "x86-64-v2" },
	{ "Westmere", "x86-64-v2,+aes,+pclmulqdq", "x86-64-v2 with AES" },
	{ "Opteron_G3", "x86-64,+pni,+cx16,+popcnt,+abm,+lahf_lm", "K10" },
	{ "SandyBridge", "x86-64-v2,+aes,+pclmulqdq,+avx", "x86-64-v2 with AES and AVX" },
	{ "IvyBridge", "x86-64-v2,+aes,+pclmulqdq,+avx,+f16c,+fsgsbase,+erms", "SandyBridge with F16C" },
	{ "Haswell", "x86-64-v3,+aes,+pclmulqdq", "x86-64-v3 with AES" },
	{ "Broadwell", "x86-64-v3,+aes,+pclmulqdq,+adx,+rdseed", "Haswell with ADX" },
	{ "Skylake-Client", "x86-64-v3,+aes,+pclmulqdq,+adx,+rdseed,+clflushopt", "Broadwell with CLFLUSHOPT" },
	{ "EPYC", "x86-64-v3,+aes,+pclmulqdq,+adx,+rdseed,+clflushopt,+sha_ni", "x86-64-v3 with AES, ADX and SHA" },
	{ "Skylake-Server", "x86-64-v4,+aes,+pclmulqdq,+adx,+rdseed,+clflushopt", "x86-64-v4 with AES and ADX" },
	{ "Cascadelake-Server", "x86-64-v4,+aes,+pclmulqdq,+adx,+rdseed,+clflushopt,+avx512_vnni", "the same with VNNI" },
	{ "Icelake-Server", "x86-64-v4,+aes,+pclmulqdq,+adx,+rdseed,+clflushopt,+avx512_vnni,+avx512vbmi,+vaes,+gfni,+sha_ni",
	  "the same with VBMI, VAES, GFNI and SHA" },
	{ "x86-64", "x86-64", "the baseline" },
	{ "x86-64-v2", "x86-64-v2", "as the psABI has it" },
	{ "x86-64-v3", "x86-64-v3", "as the psABI has it" },
	{ "x86-64-v4", "x86-64-v4", "as the psABI has it" },
};

/* QEMU's name of a feature, where it is not Linux' one. Compared with '-' and '.' as '_'. */
static const struct {
	const char *qemu, *ours;
} aliases[] = {
	{ "sse3", "pni" }, { "pclmuldq", "pclmulqdq" }, { "ffxsr", "fxsr_opt" }, { "i64", "lm" }, { "xd", "nx" }, { "lzcnt", "abm" },
	{ "tsc_deadline", "tsc_deadline_timer" }, { "tsc_scale", "tsc" }, { "invtsc", "nonstop_tsc" }, { "clzero", "clzero" },
	{ "pse_36", "pse36" }, { "avx512vbmi2", "avx512_vbmi2" }, { "avx512_ifma", "avx512ifma" }, { "avx512_vbmi", "avx512vbmi" },
	{ "sha", "sha_ni" }, { "sse4a", "sse4a" }, { "prefetchw", "3dnowprefetch" }, { "vpclmulqdq", "vpclmulqdq" }, { "clflsh", "clflush" },
	{ "spec_ctrl", "spec_ctrl" }, { "no_nested_data_bp", "null_sel_clr_base" }, { "cmpxchg16b", "cx16" }, { "cmpxchg8b", "cx8" },
};

/* Features that QEMU knows and no guest has here: to take them away changes nothing. */
static const char *const absent[] = {
	"vmx", "svm", "npt", "monitor", "pku", "ospke", "pks", "hle", "rtm", "mpx", "ibs", "xop", "fma4", "tbm", "lwp", "3dnow", "3dnowext",
	"perfctr_core", "perfctr_nb", "pdcm", "dca", "smx", "est", "tm", "tm2", "ds", "ds_cpl", "acpi", "ss", "ht", "ia64", "pbe", "xtpr",
	"cmp_legacy", "extapic", "cr8legacy", "osvw", "skinit", "wdt", "nodeid_msr", "clzero", "wbnoinvd", "rdpru", "waitpkg", "movdiri",
	"movdir64b", "enqcmd", "amx_tile", "amx_bf16", "amx_int8", "sgx", "sgxlc", "intel_pt", "bus_lock_detect", "split_lock_detect",
	"kvmclock", "kvm_nopiodelay", "kvm_mmu", "kvm_asyncpf", "kvm_steal_time", "kvm_pv_eoi", "kvm_pv_unhalt", "kvm_pv_tlb_flush",
	"kvm_pv_ipi", "kvm_poll_control", "kvm_pv_sched_yield", "kvm", "pmu", "md_clear", "stibp", "ssbd", "ibpb", "ibrs", "virt_ssbd",
	"amd_ssbd", "amd_stibp", "core_capability", "hybrid", "xfd", "taa_no", "tsx_ctrl", "pcommit", "fsrs", "fzrm", "fsrc", "vme_ext",
	"cid", "tce", "pschange_mc_no", "phe", "pmm", "ace2", "xcrypt", "xstore",
};

/* Properties that are no features. */
static const char *const indifferent[] = {
	"check", "enforce", "migratable", "host_cache_info", "l3_cache", "fill_mtrr_mask", "x_migrate_smi_count", "tcg_cpuid",
	"host_phys_bits", "legacy_cache", "full_cpuid_auto_level",
};

bool qemu_answer_cpu(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("Available CPUs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		printf("x86 %-20s %s\n", models[i].name, models[i].help);
	printf("\nRecognized CPUID flags:\n");
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		printf("  %s\n", cpuid_features[i].name);
	return true;
}

/* "Haswell-v2", "Haswell-noTSX-IBRS": the versions of a model have the same features here. */
static const char *find_model(const char *name, size_t len)
{
	const char *found = NULL;
	size_t best = 0;

	for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
		size_t n = strlen(models[i].name);

		if (n > len || n < best || strncasecmp(models[i].name, name, n))
			continue;
		if (n == len || (isupper((unsigned char)*models[i].name) && (!strncmp(name + n, "-v", 2) || !strncmp(name + n, "-noTSX", 6) ||
									    !strncmp(name + n, "-IBRS", 5) || !strncmp(name + n, "-IBPB", 5))) ||
		    (!isupper((unsigned char)*models[i].name) && len == n + 3 && !strncmp(name + n, "-v1", 3))) {
			found = models[i].spec;
			best = n;
		}
	}
	return found;
}

static bool listed(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

/* Ours for a name of QEMU's; NULL: nothing of ours. */
static const char *find_feature(const char *name)
{
	for (unsigned i = 0; i < FEAT_COUNT; i++)
		if (!strcmp(cpuid_features[i].name, name))
			return cpuid_features[i].name;
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (!strcmp(aliases[i].qemu, name))
			return aliases[i].ours;
	return NULL;
}

/* "+name", "-name", "name", "name=on", "name=off". */
static int add_change(struct strbuf *out, const char *word, size_t len, struct err *e)
{
	char text[64], *name = text, *is;
	const char *ours;
	bool on = true;

	if (len >= sizeof(text) || !len)
		return err_set(e, EINVAL, "-cpu: '%.40s': no such feature; '-cpu help' lists them", word);
	snprintf(text, sizeof(text), "%.*s", (int)len, word);
	is = strchr(text, '=');
	if (*name == '+' || *name == '-') {
		on = *name++ == '+';
	} else if (is) {
		*is++ = 0;
		if (!keyval_bool(is, &on))
			return err_set(e, ENOTSUP, "-cpu: '%.*s' is not built; features are on or off", (int)len, word);
	}
	for (char *c = name; *c; c++)
		*c = *c == '-' || *c == '.' ? '_' : *c;
	ours = find_feature(name);
	if (ours) {
		strbuf_addf(out, ",%c%s", on ? '+' : '-', ours);
		return 0;
	}
	if ((listed(absent, ARRAY_SIZE(absent), name) && !on) || listed(indifferent, ARRAY_SIZE(indifferent), name))
		return 0;
	return err_set(e, ENOTSUP, "-cpu: '%.*s' is not built: guests cannot have it; '-cpu help' lists what they can", (int)len, word);
}

int qemu_cpu_spec(struct strbuf *out, const char *arg, struct err *e)
{
	size_t len = strcspn(arg, ",");
	const char *spec = find_model(arg, len);
	int rc = 0;

	if (!spec)
		return err_set(e, ENOTSUP, "-cpu: model '%.*s' is not built; '-cpu help' lists those that are", (int)MIN(len, 64), arg);
	strbuf_addf(out, "%s", spec);
	for (arg += len; *arg && !rc; arg += len) {
		arg++;
		len = strcspn(arg, ",");
		rc = add_change(out, arg, len, e);
	}
	return rc;
}
