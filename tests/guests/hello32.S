/* SPDX-License-Identifier: GPL-2.0-only */
/* A 32-bit static program: says hello by int $0x80 and exits with 32. */
	.globl _start
	.text
_start:
	movl $4, %eax
	movl $1, %ebx
	movl $hello, %ecx
	movl $hello_end - hello, %edx
	int $0x80
	movl $1, %eax
	movl $32, %ebx
	int $0x80
	.section .rodata
hello:	.ascii "hello from 32 bits\n"
hello_end:
	.section .note.GNU-stack, "", @progbits
