/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mnemonics that the comparison with the host CPU leaves out, and why. */
#include <stddef.h>
#include "catalog.h"

static const struct {
	uint16_t mnemonic;
	const char *reason;
} excluded[] = {
	{ ZYDIS_MNEMONIC_RDTSC, "time" },
	{ ZYDIS_MNEMONIC_RDTSCP, "time" },
	{ ZYDIS_MNEMONIC_RDPRU, "time" },
	{ ZYDIS_MNEMONIC_RDRAND, "random" },
	{ ZYDIS_MNEMONIC_RDSEED, "random" },
	{ ZYDIS_MNEMONIC_RDPID, "CPU number" },
	{ ZYDIS_MNEMONIC_RDPMC, "performance counters" },
	{ ZYDIS_MNEMONIC_CPUID, "by policy" },
	{ ZYDIS_MNEMONIC_SGDT, "Linux emulates it under UMIP" },
	{ ZYDIS_MNEMONIC_SIDT, "Linux emulates it under UMIP" },
	{ ZYDIS_MNEMONIC_SLDT, "Linux emulates it under UMIP" },
	{ ZYDIS_MNEMONIC_SMSW, "Linux emulates it under UMIP" },
	{ ZYDIS_MNEMONIC_STR, "Linux emulates it under UMIP" },
	{ ZYDIS_MNEMONIC_SYSCALL, "enters Linux" },
	{ ZYDIS_MNEMONIC_SYSENTER, "enters Linux" },
	{ ZYDIS_MNEMONIC_VMCALL, "a host below ours may answer" },
	{ ZYDIS_MNEMONIC_VMMCALL, "a host below ours may answer" },
	{ ZYDIS_MNEMONIC_TDCALL, "a host below ours may answer" },
	{ ZYDIS_MNEMONIC_CLZERO, "hidden from guests" },
	{ ZYDIS_MNEMONIC_MONITORX, "hidden from guests" },
	{ ZYDIS_MNEMONIC_MWAITX, "hidden from guests" },
	{ ZYDIS_MNEMONIC_UMONITOR, "hidden from guests" },
	{ ZYDIS_MNEMONIC_UMWAIT, "hidden from guests" },
	{ ZYDIS_MNEMONIC_TPAUSE, "hidden from guests" },
	{ ZYDIS_MNEMONIC_VMRUN, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_VMLOAD, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_VMSAVE, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_STGI, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_CLGI, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_SKINIT, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_INVLPGA, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_PVALIDATE, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_PSMASH, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_RMPADJUST, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_RMPUPDATE, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_INT1, "a hypervisor below Linux shows through" },
	{ ZYDIS_MNEMONIC_XBEGIN, "transactions abort when they like" },
	{ ZYDIS_MNEMONIC_XGETBV, "shows what is in use, which is the implementation's" },
	{ ZYDIS_MNEMONIC_XSAVE, "shows what is in use, which is the implementation's" },
	{ ZYDIS_MNEMONIC_XSAVE64, "shows what is in use, which is the implementation's" },
	{ ZYDIS_MNEMONIC_XSAVEC, "shows what is in use, which is the implementation's" },
	{ ZYDIS_MNEMONIC_XSAVEC64, "shows what is in use, which is the implementation's" },
	{ ZYDIS_MNEMONIC_XSAVEOPT, "shows what is in use, which is the implementation's" },
	{ ZYDIS_MNEMONIC_XSAVEOPT64, "shows what is in use, which is the implementation's" },
};

const char *catalog_excluded(uint16_t mnemonic)
{
	for (size_t i = 0; i < sizeof(excluded) / sizeof(excluded[0]); i++)
		if (excluded[i].mnemonic == mnemonic)
			return excluded[i].reason;
	return NULL;
}
