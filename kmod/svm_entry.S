/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The AMD-V switch. AMD APM vol 2 §15.5, §15.17.
 *
 * Order on the way out: host segments, return stack, return predictors, and
 * only then a RET; every general register of the guest is gone by then.
 * SPEC_CTRL is not the guest's: it runs with the host's value.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>

	.section .noinstr.text, "ax"

/* The order of enum vmbox_reg. */
#define RCX 1 * 8
#define RDX 2 * 8
#define RBX 3 * 8
#define RBP 5 * 8
#define RSI 6 * 8
#define RDI 7 * 8
#define R8 8 * 8
#define R9 9 * 8
#define R10 10 * 8
#define R11 11 * 8
#define R12 12 * 8
#define R13 13 * 8
#define R14 14 * 8
#define R15 15 * 8

SYM_FUNC_START(vmbox_svm_enter)
	push %rbp
	push %r15
	push %r14
	push %r13
	push %r12
	push %rbx
	push %rdx			/* host_pa */
	push %rdi			/* gpr */

	clgi
	mov %rdx, %rax
	vmsave %rax
	mov %rsi, %rax			/* vmcb_pa: VMRUN takes it and leaves it in RAX */
	vmload %rax

	mov RCX(%rdi), %rcx
	mov RDX(%rdi), %rdx
	mov RBX(%rdi), %rbx
	mov RBP(%rdi), %rbp
	mov RSI(%rdi), %rsi
	mov R8(%rdi), %r8
	mov R9(%rdi), %r9
	mov R10(%rdi), %r10
	mov R11(%rdi), %r11
	mov R12(%rdi), %r12
	mov R13(%rdi), %r13
	mov R14(%rdi), %r14
	mov R15(%rdi), %r15
	mov RDI(%rdi), %rdi

	sti				/* GIF is 0: lets an interrupt end guest mode, not arrive here */
	VM_CLEAR_CPU_BUFFERS
	vmrun %rax
	cli

	vmsave %rax
	mov (%rsp), %rax		/* gpr */
	mov %rcx, RCX(%rax)
	mov %rdx, RDX(%rax)
	mov %rbx, RBX(%rax)
	mov %rbp, RBP(%rax)
	mov %rsi, RSI(%rax)
	mov %rdi, RDI(%rax)
	mov %r8, R8(%rax)
	mov %r9, R9(%rax)
	mov %r10, R10(%rax)
	mov %r11, R11(%rax)
	mov %r12, R12(%rax)
	mov %r13, R13(%rax)
	mov %r14, R14(%rax)
	mov %r15, R15(%rax)
	mov 8(%rsp), %rax		/* host_pa */
	vmload %rax

	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
	UNTRAIN_RET
	ALTERNATIVE "", "call entry_ibpb", X86_FEATURE_IBPB_ON_VMEXIT

	xor %eax, %eax
	xor %ecx, %ecx
	xor %edx, %edx
	xor %ebx, %ebx
	xor %ebp, %ebp
	xor %esi, %esi
	xor %edi, %edi
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d
	stgi

	add $16, %rsp
	pop %rbx
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	pop %rbp
	RET
SYM_FUNC_END(vmbox_svm_enter)
