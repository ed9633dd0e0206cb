/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry of the paging test guests, by multiboot (v1, address fields), and what C
 * cannot say: exceptions that are recovered from, user mode. Built twice: as a
 * 32-bit image, which starts with paging off, and as a 64-bit one, which goes to
 * long mode on an identity map of 16 MiB first.
 *
 * try_*(addr): 0, or 1 after an exception, which is then in `fault`.
 */
#define MAGIC 0x1badb002
#define FLAGS 0x10000

#ifdef __x86_64__
#define AX %rax
#define BX %rbx
#define CX %rcx
#define DX %rdx
#define SP %rsp
#define BP %rbp
#define WORD .quad
#define ARG0 %rdi
#define ARG1 %rsi
#define IRET iretq
#define KERNEL_CS 8
#else
#define AX %eax
#define BX %ebx
#define CX %ecx
#define DX %edx
#define SP %esp
#define BP %ebp
#define WORD .long
#define ARG0 %ecx
#define ARG1 %edx
#define IRET iret
#define KERNEL_CS 8
#endif
#define USER_CS 0x1b
#define USER_DS 0x23
#define TSS 0x28

	.section .head, "ax"
	.balign 4
header:
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)
	.long header, load_start, load_end, bss_end, start

	.code32
	.global start
start:
	mov $stack_end, %esp
	lgdt gdt_pointer
#ifdef __x86_64__
	/* PML4 -> PDPT -> PD of 2 MiB pages */
	movl $boot_pdpt + 3, boot_pml4
	movl $boot_pd + 3, boot_pdpt
	mov $0x83, %eax
	xor %ecx, %ecx
1:	mov %eax, boot_pd(, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $8, %ecx
	jne 1b
	mov $0x20, %eax
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
#endif
	ljmp $KERNEL_CS, $entered
#ifdef __x86_64__
	.code64
#endif
entered:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	call main
	mov $0xf4, %dx
	out %eax, %dx
1:	hlt
	jmp 1b

	.text
/* Where a recovered exception goes on: the caller's registers are on the stack. */
.macro save
	push BX
	push BP
#ifdef __x86_64__
	push %r12
	push %r13
	push %r14
	push %r15
#else
	push %esi
	push %edi
#endif
	mov SP, recover_sp
.endm
.macro restore
#ifdef __x86_64__
	pop %r15
	pop %r14
	pop %r13
	pop %r12
#else
	pop %edi
	pop %esi
#endif
	pop BP
	pop BX
	ret
.endm
.macro enter_try
	save
#ifndef __x86_64__
	mov 20(%esp), %ecx
	mov 24(%esp), %edx
#endif
.endm
.macro leave_try
	xor %eax, %eax
	restore
.endm

	.global try_read, try_write, try_call, try_user, try_insn
try_read:
	enter_try
	mov (ARG0), %al
	leave_try
try_write:
	enter_try
	movb $0x5a, (ARG0)
	leave_try
try_call:			/* to a RET */
	enter_try
	call *ARG0
	leave_try
/* try_user(stub, addr): stub runs in user mode with addr in CX, and ends by INT 0x80. */
try_user:
	enter_try
	mov $USER_DS, %ebx
	mov %ebx, %ds
	mov %ebx, %es
	mov ARG1, AX
#ifdef __x86_64__
	mov %rsp, tss + 4
	push $USER_DS
	push $user_stack_end
	pushf
	push $USER_CS
	push %rdi
	mov %rax, %rcx
#else
	mov %esp, tss + 4
	push $USER_DS
	push $user_stack_end
	pushf
	push $USER_CS
	push %ecx
	mov %eax, %ecx
#endif
	IRET
/* try_insn(fn, arg): any function that may fault. */
try_insn:
	enter_try
	mov ARG0, AX
#ifdef __x86_64__
	mov %rsi, %rdi
	call *%rax
#else
	push %edx
	call *%eax
	add $4, %esp
#endif
	leave_try

/* Exceptions: vector and error code, then back to the try_ that is under way. */
.macro vector n, has_error
vector_\n:
	.if \has_error
	pop AX
	.else
	xor %eax, %eax
	.endif
	mov AX, fault_error
	pop AX
	mov AX, fault_ip
	movl $\n, fault_vector
	mov %cr2, AX
	mov AX, fault_cr2
	jmp recover
.endm
	vector 0, 0
	vector 1, 0
	vector 3, 0
	vector 6, 0
	vector 8, 1
	vector 10, 1
	vector 11, 1
	vector 12, 1
	vector 13, 1
	vector 14, 1
	vector 17, 1
recover:
	cld
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov recover_sp, SP
	mov $1, %eax
	restore
vector_other:
	movl $255, fault_vector
	jmp recover
vector_128:			/* the end of a user stub */
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov recover_sp, SP
	xor %eax, %eax
	restore

	.global vectors
	.data
	.balign 8
vectors:
	WORD 0, vector_0, 1, vector_1, 3, vector_3, 6, vector_6, 8, vector_8, 10, vector_10
	WORD 11, vector_11, 12, vector_12, 13, vector_13, 14, vector_14, 17, vector_17
	WORD 128, vector_128, -1, vector_other

	.section .user, "awx"		/* a page that user mode may use */
	.balign 4096
	.global user_page, user_read, user_write, user_call
user_page:
user_read:
	mov (CX), %al
	int $0x80
user_write:
	movb $0x5a, (CX)
	int $0x80
user_call:			/* to an INT 0x80 */
	jmp *CX
	.balign 2048
	.fill 2048, 1, 0
user_stack_end:

	.data
	.balign 16
gdt:
	.quad 0
#ifdef __x86_64__
	.quad 0x00af9b000000ffff
#else
	.quad 0x00cf9b000000ffff
#endif
	.quad 0x00cf93000000ffff
#ifdef __x86_64__
	.quad 0x00affb000000ffff
#else
	.quad 0x00cffb000000ffff
#endif
	.quad 0x00cff3000000ffff
	.global gdt_tss
gdt_tss:
	.quad 0, 0
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	WORD gdt
	.long 0

	.global tss, fault_vector, fault_error, fault_ip, fault_cr2
	.balign 16
tss:
#ifdef __x86_64__
	.fill 104, 1, 0
#else
	.long 0, 0, 0x10
	.fill 92, 1, 0
#endif
	.bss
	.balign 8
recover_sp: .quad 0
fault_vector: .quad 0
fault_error: .quad 0
fault_ip: .quad 0
fault_cr2: .quad 0
	.balign 4096
boot_pml4: .fill 4096, 1, 0
boot_pdpt: .fill 4096, 1, 0
boot_pd: .fill 4096, 1, 0
	.fill 16384, 1, 0
stack_end:
	.section .note.GNU-stack, "", @progbits
