/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest that leaves protected mode, which the driver refuses. */
	.section .multiboot, "ax"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002
	.text
	.global _start
_start:
	mov %cr0, %eax
	and $~1, %eax
	mov %eax, %cr0
	mov $0xf4, %dx
	out %al, %dx
	hlt
	.section .note.GNU-stack, "", @progbits
