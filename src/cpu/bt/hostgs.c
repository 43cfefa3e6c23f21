/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's GS base: by WRGSBASE where the kernel allows it (Linux 5.9 on, and the processor), else by a system call. */
#include <asm/prctl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/bt/hostgs.h"

#define HWCAP2_FSGSBASE 2ul /* arch/x86/include/uapi/asm/hwcap2.h */

void hostgs_set(const void *base)
{
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)
		__asm__ volatile("wrgsbase %0" : : "r"(base) : "memory");
	else
		syscall(SYS_arch_prctl, ARCH_SET_GS, base);
}
