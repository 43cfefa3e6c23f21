/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The door between C and translated code: the general registers and flags change hands. */
#include "cpu/bt/bt.h"

#define OFF(m)  [m] "i"(offsetof(struct bt, m))
#define GPR(n)  [g##n] "i"(offsetof(struct x86_state, gpr) + (n) * 8)
#define GPRS    GPR(0), GPR(1), GPR(2), GPR(3), GPR(4), GPR(5), GPR(6), GPR(7), GPR(8), GPR(9), GPR(12), GPR(13), \
		GPR(14), GPR(15)

/* Flags by ADD and SAHF: POPF takes ten times as long. RDI, which leads to the context, comes last. */
__attribute__((naked)) void bt_enter(struct bt *bt, uint32_t code)
{
	__asm__("push %%rbp; push %%rbx; push %%r12; push %%r13; push %%r14; push %%r15\n\t"
		"mov %%rsp, %c[host_rsp](%%rdi)\n\t"
		"mov %%esi, %%r11d\n\t"
		"mov %c[state](%%rdi), %%r10\n\t"
		"mov %c[flags](%%rdi), %%eax\n\t"
		"mov %%eax, %%ecx; shr $11, %%ecx; and $1, %%ecx\n\t"
		"mov %%al, %%ah; mov %%cl, %%al; add $0x7f, %%al; sahf\n\t"
		"mov %c[g0](%%r10), %%rax; mov %c[g1](%%r10), %%rcx; mov %c[g2](%%r10), %%rdx\n\t"
		"mov %c[g3](%%r10), %%rbx; mov %c[g4](%%r10), %%rsp; mov %c[g5](%%r10), %%rbp\n\t"
		"mov %c[g6](%%r10), %%rsi; mov %c[g8](%%r10), %%r8\n\t"
		"mov %c[g9](%%r10), %%r9; mov %c[g12](%%r10), %%r12; mov %c[g13](%%r10), %%r13\n\t"
		"mov %c[g14](%%r10), %%r14; mov %c[g15](%%r10), %%r15\n\t"
		"mov %c[entry_t0](%%rdi), %%r10\n\t"
		"mov %c[rdi](%%rdi), %%rdi\n\t"
		"jmp *%%r11"
		:
		: OFF(host_rsp), OFF(state), OFF(flags), OFF(entry_t0), OFF(rdi), GPRS);
}

/* T1 is the context; T0 and T1 were put away by the exit stub. */
__attribute__((naked)) void bt_exit(void)
{
	__asm__("mov %c[state](%%r11), %%r10\n\t"
		"mov %%rax, %c[g0](%%r10); mov %%rcx, %c[g1](%%r10); mov %%rdx, %c[g2](%%r10)\n\t"
		"mov %%rbx, %c[g3](%%r10); mov %%rsp, %c[g4](%%r10); mov %%rbp, %c[g5](%%r10)\n\t"
		"mov %%rsi, %c[g6](%%r10); mov %%rdi, %c[g7](%%r10); mov %%r8, %c[g8](%%r10)\n\t"
		"mov %%r9, %c[g9](%%r10); mov %%r12, %c[g12](%%r10); mov %%r13, %c[g13](%%r10)\n\t"
		"mov %%r14, %c[g14](%%r10); mov %%r15, %c[g15](%%r10)\n\t"
		"mov %c[host_rsp](%%r11), %%rsp\n\t"
		"pushf\n\t"
		"pop %c[flags](%%r11)\n\t"
		"pop %%r15; pop %%r14; pop %%r13; pop %%r12; pop %%rbx; pop %%rbp\n\t"
		"ret"
		:
		: OFF(host_rsp), OFF(state), OFF(flags), GPRS);
}
