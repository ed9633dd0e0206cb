/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VT-x switch. Intel SDM vol 3 §25.4, §27, §28.
 *
 * Order on the way out: return stack, SPEC_CTRL, branch history, and only then a
 * RET; every general register of the guest is gone by then. SPEC_CTRL is not the
 * guest's: it runs with the host's value.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>

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

#define VMCS_HOST_RSP 0x6c14

SYM_FUNC_START(vmbox_vmx_enter)
	push %rbp
	push %r15
	push %r14
	push %r13
	push %r12
	push %rbx
	push %rdi			/* gpr */

	mov $VMCS_HOST_RSP, %eax
	vmwrite %rsp, %rax
	bt $0, %esi			/* resume: in CF until it is asked for */

	mov (%rdi), %rax
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

	CLEAR_CPU_BUFFERS		/* as KVM: the VM_ form is AMD's. Changes ZF only */
	UNWIND_HINT_SAVE
	jnc .Llaunch
1:	vmresume
	jmp .Lfailed
.Llaunch:
2:	vmlaunch
	jmp .Lfailed

SYM_INNER_LABEL(vmbox_vmx_exit, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	push %rax
	mov 8(%rsp), %rax		/* gpr */
	pop (%rax)
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
	xor %ebx, %ebx			/* what is returned */

.Lclean:
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
	/* IBRS protects from what was predicted before its last write, even of the same value. */
	ALTERNATIVE "jmp .Lno_ibrs", "", X86_FEATURE_KERNEL_IBRS
	mov $MSR_IA32_SPEC_CTRL, %ecx
	rdmsr
	wrmsr
.Lno_ibrs:
	CLEAR_BRANCH_HISTORY_VMEXIT

	mov %ebx, %eax
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

	add $8, %rsp
	pop %rbx
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	pop %rbp
	RET

.Lfailed:
	mov $1, %ebx
	jmp .Lclean

	_ASM_EXTABLE(1b, .Lfailed)
	_ASM_EXTABLE(2b, .Lfailed)
SYM_FUNC_END(vmbox_vmx_enter)
