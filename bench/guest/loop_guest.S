/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Benchmark guest: a flat 32-bit Multiboot 1 kernel that runs the integer loop and ends by isa-debug-exit (port 0xf4). */
#define MEM %esi
	.section .text
	.globl _start
	.p2align 2
	.long	0x1badb002, 0, -0x1badb002 # Multiboot 1 header: magic, flags, checksum
_start:
	cli
	mov	$cell, %esi
#include "loop.inc"
	mov	$16, %al # exit status 2 * 16 + 1
	out	%al, $0xf4
3:	hlt
	jmp	3b
	.data
	.p2align 6
cell:	.long	0
