/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether this host has what the translator needs: asked before it is chosen, and again when it starts. */
#include <cpuid.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/bt/bt.h"

/* Code is run from a mapping of a memory file below 2 GiB; policies of hardened hosts may forbid that. */
static bool may_run_code(void)
{
	int fd = memfd_create("doppel-probe", MFD_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)PAGE_SIZE) == 0)
		p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_32BIT, fd, 0);
	if (p != MAP_FAILED)
		munmap(p, PAGE_SIZE);
	if (fd >= 0)
		close(fd);
	return p != MAP_FAILED;
}

const char *bt_unusable(void)
{
	unsigned a, b, c, d;

	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		return "this host has no XSAVE";
	__cpuid_count(7, 0, a, b, c, d);
	if (!(b & bit_BMI2))
		return "this host's CPU has no BMI2";
	__cpuid_count(0xd, 0, a, b, c, d);
	if (b > sizeof(((struct bt *)NULL)->fpu))
		return "this host's XSAVE area is too large";
	if (!may_run_code())
		return "this host lets no program make code below 2 GiB";
	return NULL;
}
