/* SPDX-License-Identifier: GPL-2.0-only */
/* Loads and stores a struct arch_hidden (arch.h), at RSI, in 64-bit mode. Clobbers RAX, RCX, RDX. */
	.section .rodata
	.globl arch_load, arch_store, arch_tool_end

arch_load:
1:	mov (%rsi), %ecx
	jecxz 2f
	mov 8(%rsi), %eax
	mov 12(%rsi), %edx
	wrmsr
	add $16, %rsi
	jmp 1b
2:	.irp n, 0, 1, 2, 3
	mov 8 + \n * 8(%rsi), %rax
	mov %rax, %dr\n
	.endr
	mov 40(%rsi), %rax
	mov %rax, %dr6
	mov 48(%rsi), %rax
	mov %rax, %dr7
	fxrstor 64(%rsi)
	hlt

arch_store:
1:	mov (%rsi), %ecx
	jecxz 2f
	rdmsr
	mov %eax, 8(%rsi)
	mov %edx, 12(%rsi)
	add $16, %rsi
	jmp 1b
2:	.irp n, 0, 1, 2, 3
	mov %dr\n, %rax
	mov %rax, 8 + \n * 8(%rsi)
	.endr
	mov %dr6, %rax
	mov %rax, 40(%rsi)
	mov %dr7, %rax
	mov %rax, 48(%rsi)
	fxsave 64(%rsi)
	hlt
arch_tool_end:

	.section .note.GNU-stack, "", @progbits
