/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest that leaves protected mode, which the driver refuses. */
	.code32
	.section .head, "ax"
	.balign 4
header:
	.long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
	.long header, load_start, load_end, bss_end, start
	.global start
start:
	mov %cr0, %eax
	and $~1, %eax
	mov %eax, %cr0
	mov $0xf4, %dx
	out %al, %dx
	hlt
	.section .note.GNU-stack, "", @progbits
