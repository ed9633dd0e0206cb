/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry, exceptions, and the ways to run an instruction that may fault.
 *
 * All C code is 32-bit; in long mode it runs in compatibility mode, and only what is below
 * .code64 is 64-bit. DS and ES are the user's flat segment always. Every exception, and INT
 * 0x80, is noted in fault_* and ends at recover_eip with recover_esp; unless in try(), that
 * is panic().
 */
#define CODE32 0x08
#define DATA   0x10
#define UCODE32 0x1b
#define UDATA  0x23
#define CODE64 0x28
#define UCODE64 0x33

	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	movl $boot_stack_end, %esp
	lgdt gdt_pointer
	ljmp $CODE32, $1f
1:	movw $DATA, %ax
	movw %ax, %ss
	movw $UDATA, %ax
	movw %ax, %ds
	movw %ax, %es
	pushl $0
	popfl
	pushl %ebx
	call main
	ud2

/* void leave(u32 status) */
	.globl leave
leave:	movl 4(%esp), %eax
	outl %eax, $0xf4
	hlt
	jmp leave

/* The entry of each vector: error code or 0, and the vector, on the stack. */
	.macro stubs name, common
	.globl \name
	.balign 16
\name:
	.set vector, 0
	.rept 129
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
	push $0
	.endif
	.if vector < 128
	push $vector
	.else
	.byte 0x68
	.long vector
	.endif
	jmp \common
	.set vector, vector + 1
	.endr
	.endm

	stubs stubs32, common32
common32:
	popl fault_vector
	popl fault_error
	popl fault_eip
	movl %eax, fault_eax
	movl %cr2, %eax
	movl %eax, fault_cr2
	movl recover_esp, %esp
	jmp *recover_eip

	.code64
	stubs stubs64, common64
common64:
	popq fault_vector(%rip)
	popq fault_error(%rip)
	popq fault_eip(%rip)
	movl %eax, fault_eax(%rip)
	movq %cr2, %rax
	movq %rax, fault_cr2(%rip)
	movl $DATA, %eax /* SS is null after a change of privilege */
	movl %eax, %ss
	movl recover_esp(%rip), %esp
	movl recover_eip(%rip), %eax
	pushq $CODE32
	pushq %rax
	lretq
	.code32

recover_to_panic:
	movl $panic_stack_end, %esp
	call panic

	.macro try_begin
	pushl %ebp
	pushl %ebx
	pushl %esi
	pushl %edi
	movl %esp, %ebp
	xorl %eax, %eax
	movl %eax, fault_error + 4
	movl %eax, fault_cr2 + 4
	movl %esp, recover_esp
	movl $try_end, recover_eip
	.endm

/* void try(u32 eip, u32 addr, u32 value, bool user, u32 flags): ECX is the address */
	.globl try
try:	try_begin
	movl 20(%ebp), %edx
	movl 24(%ebp), %ecx
	movl 28(%ebp), %eax
	movl 36(%ebp), %ebx
	cmpl $0, 32(%ebp)
	je 1f
	pushl $UDATA
	pushl $0
	pushl %ebx
	pushl $UCODE32
	pushl %edx
	iretl
1:	pushl %ebx
	popfl
	jmp *%edx

try_end: /* by the exception, with ESP as it was */
	pushl $2
	popfl
	movl fault_eax, %eax
	movl $recover_to_panic, recover_eip
	movl $panic_stack_end, recover_esp
	popl %edi
	popl %esi
	popl %ebx
	popl %ebp
	ret

/* void try64(u32 eip, u32 addr, u32 value, bool user, u32 flags, u32 addr_high): RCX is it */
	.globl try64
try64:	try_begin
	movl 20(%ebp), %edx
	movl 24(%ebp), %ecx
	movl 28(%ebp), %eax
	movl 36(%ebp), %ebx
	movl 40(%ebp), %esi
	movl 32(%ebp), %edi
	ljmp $CODE64, $1f
	.code64
1:	movl %esp, %esp
	movl %ecx, %ecx
	movl %edx, %edx
	movl %ebx, %ebx
	shlq $32, %rsi
	orq %rsi, %rcx
	testl %edi, %edi
	je 1f
	pushq $UDATA
	pushq $0
	pushq %rbx
	pushq $UCODE64
	pushq %rdx
	iretq
1:	pushq %rbx
	popfq
	jmp *%rdx
	.code32

/* u32 run(eip, eax, ecx, edx, esi, edi, esp): supervisor code that ends by INT 0x80; its EAX.
 * ESP 0: the caller's. */
	.globl run
run:	try_begin
	movl 20(%ebp), %ebx
	movl 24(%ebp), %eax
	movl 28(%ebp), %ecx
	movl 32(%ebp), %edx
	movl 36(%ebp), %esi
	movl 40(%ebp), %edi
	cmpl $0, 44(%ebp)
	je 1f
	movl 44(%ebp), %esp
1:	jmp *%ebx

/* u64 peek64(u32 low, u32 high), void poke64(low, high, u32 value_low, u32 value_high),
 * void invlpg64(low, high): in 64-bit code */
	.macro to64
	movl 4(%esp), %ecx
	movl 8(%esp), %edx
	pushl %esi
	movl 16(%esp), %eax
	movl 20(%esp), %esi
	ljmp $CODE64, $1f
	.code64
1:	movl %ecx, %ecx
	movl %eax, %eax
	movl %esp, %esp
	shlq $32, %rdx
	orq %rdx, %rcx
	.endm
	.macro to32
	pushq $CODE32
	.byte 0x68 /* pushq $1f; not one that the assembler has a relocation for */
	.long 1f
	lretq
	.code32
1:	popl %esi
	ret
	.endm
	.globl peek64, poke64, invlpg64
peek64:	to64
	movq (%rcx), %rax
	movq %rax, %rdx
	shrq $32, %rdx
	to32
poke64:	to64
	shlq $32, %rsi
	orq %rsi, %rax
	movq %rax, (%rcx)
	to32
invlpg64: to64
	invlpg (%rcx)
	to32

/* void load_cs_tr(u32 tss_selector): segments as the mode wants them */
	.globl load_cs_tr
load_cs_tr:
	ljmp $CODE32, $1f
1:	movl 4(%esp), %eax
	ltr %ax
	ret

/* Accesses, the same bytes in 32-bit and 64-bit code; once for each privilege. */
	.macro accesses prefix
	.globl \prefix\()_read, \prefix\()_write, \prefix\()_fetch
\prefix\()_read:
	.byte 0x8b, 0x01 /* mov (%ecx), %eax */
	int $0x80
\prefix\()_write:
	.byte 0x89, 0x01 /* mov %eax, (%ecx) */
	int $0x80
\prefix\()_fetch:
	.byte 0xff, 0xe1 /* jmp *%ecx */
	.endm
	accesses kernel
	.section .user, "ax"
	accesses user

/* Snippets for run(), copied to where they shall run. */
	.text
	.macro snippet name
	.globl \name, \name\()_end
\name:
	.endm
	.macro end_snippet name
	int $0x80
\name\()_end:
	.endm
	snippet s_edit_read /* stores an entry, reads what it maps */
	movl %eax, (%ecx)
	movl (%edx), %eax
	end_snippet s_edit_read
	snippet s_push_read /* the same by PUSH; an entry of 4 bytes */
	pushl %eax
	movl (%edx), %eax
	end_snippet s_push_read
	snippet s_push2_read /* of 8 */
	pushl %ecx
	pushl %eax
	movl (%edx), %eax
	end_snippet s_push2_read
	snippet s_invlpg_self /* of the page it runs on, then of the operand's */
	invlpg (%esi)
	movl %eax, (%ecx)
	invlpg (%esi)
	invlpg (%ecx)
	movl (%edx), %eax
	invlpg (%edx)
	movl (%edx), %eax
	end_snippet s_invlpg_self
	snippet s_xchg
	xchgl %eax, (%ecx)
	end_snippet s_xchg
	snippet s_cmpxchg /* EAX: expected; EDX: new */
	lock cmpxchgl %edx, (%ecx)
	end_snippet s_cmpxchg
	snippet s_incb
	lock incb 1(%ecx)
	movl (%ecx), %eax
	end_snippet s_incb
	snippet s_bts
	lock btsl $9, (%ecx)
	movl (%ecx), %eax
	end_snippet s_bts
	snippet s_movs
	cld
	rep movsl
	movl (%edx), %eax
	end_snippet s_movs

	snippet s_mov_cr0
	movl %eax, %cr0
	end_snippet s_mov_cr0

	snippet s_mov_cr3
	movl %eax, %cr3
	end_snippet s_mov_cr3

	snippet s_mov_cr4
	movl %eax, %cr4
	end_snippet s_mov_cr4

	.data
	.balign 8
	.globl gdt, idt32_pointer, tss32, tss64
gdt:	.quad 0
	.quad 0x00cf9b000000ffff /* 08: code */
	.quad 0x00cf93000000ffff /* 10: data */
	.quad 0x00cffb000000ffff /* 18: user code */
	.quad 0x00cff3000000ffff /* 20: user data */
	.quad 0x00af9b000000ffff /* 28: 64-bit code */
	.quad 0x00affb000000ffff /* 30: 64-bit user code */
	.quad 0			 /* 38: TSS */
	.quad 0, 0		 /* 40: TSS of 64 bits */
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.long gdt
	.balign 8
tss32:	.long 0, trap_stack_end, DATA
	.fill 22, 4, 0
	.long 0x680000
tss64:	.long 0, trap_stack_end, 0
	.fill 22, 4, 0
	.long 0x680000
	.globl fault_vector, fault_error, fault_eip, fault_cr2, fault_eax
fault_vector:	.quad 0
fault_error:	.quad 0
fault_eip:	.quad 0
fault_cr2:	.quad 0
fault_eax:	.long 0
recover_eip:	.long recover_to_panic
recover_esp:	.long panic_stack_end

	.bss
	.balign 16
	.skip 16384
boot_stack_end:
	.skip 4096
trap_stack_end:
	.skip 4096
panic_stack_end:
	.section .note.GNU-stack, "", @progbits
