/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Both sides of the switch fill all that they have, go to the other, and store what they find:
 * leaks.h says where. The guest as in guest.S.
 */
#include "leaks.h"

/* All general registers to or from \side; \rip: as an address relative to RIP. */
.macro STORE_GPRS side, rip
	.set i, S_GPR
	.irp reg, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	mov %\reg, \side + i\rip
	.set i, i + 8
	.endr
.endm
.macro LOAD_GPRS side, rip
	.set i, S_GPR
	.irp reg, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	mov \side + i\rip, %\reg
	.set i, i + 8
	.endr
.endm

/* Others, by RAX. */
.macro STORE at, rip, regs:vararg
	.set i, 0
	.irp reg, \regs
	mov %\reg, %rax
	mov %rax, \at + i\rip
	.set i, i + 8
	.endr
.endm
.macro LOAD at, regs:vararg
	.set i, 0
	.irp reg, \regs
	mov \at + i, %rax
	mov %rax, %\reg
	.set i, i + 8
	.endr
.endm

	.section .rodata
	.balign 16
/*
 * Stores, tells it at port 0x10, loads, runs 16 bytes that leaks.c puts at `slot`, and again. No
 * stack, GDT or IDT can be relied on between loading and storing.
 */
	.globl guest_leaks, guest_leaks_end, guest_leaks_slot
guest_leaks:
	STORE_GPRS SEEN
	mov $0x20000, %esp
	pushfq
	popq SEEN + S_RFLAGS
	pushq $2
	popfq
	STORE SEEN + S_DS, , ds, es, fs, gs
	sgdt SEEN + S_GDTR
	sidt SEEN + S_IDTR
	xor %eax, %eax
	sldt %eax
	mov %rax, SEEN + S_LDTR
	str %eax
	mov %rax, SEEN + S_TR
	STORE SEEN + G_CR0, , cr0, cr2, cr3, cr4, cr8
	STORE SEEN + G_DR, , dr0, dr1, dr2, dr3, dr6, dr7
	xor %ebx, %ebx
1:	lea msrs(%rip), %rsi
	mov (%rsi, %rbx, 4), %ecx
	rdmsr
	mov %eax, SEEN + G_MSR(, %rbx, 8)
	mov %edx, SEEN + G_MSR + 4(, %rbx, 8)
	inc %ebx
	cmp $G_NR_MSRS, %ebx
	jb 1b
	fxsave64 SEEN + G_FX
	out %al, $0x10

	lgdt gdtr(%rip)
	LOAD WANT + S_DS, ds, es, fs, gs
	lgdt WANT + S_GDTR
	lidt WANT + S_IDTR
	LOAD WANT + G_CR0, cr0, cr2, cr3, cr4, cr8
	LOAD WANT + G_DR, dr0, dr1, dr2, dr3, dr6, dr7
	xor %ebx, %ebx
1:	lea msrs(%rip), %rsi
	mov (%rsi, %rbx, 4), %ecx
	mov WANT + G_MSR(, %rbx, 8), %eax
	mov WANT + G_MSR + 4(, %rbx, 8), %edx
	wrmsr
	inc %ebx
	cmp $G_NR_MSRS, %ebx
	jb 1b
	fxrstor64 WANT + G_FX
	pushq WANT + S_RFLAGS
	popfq
	LOAD_GPRS WANT
guest_leaks_slot:
	.fill 16, 1, 0x90
	jmp guest_leaks
	.balign 4
/* STAR LSTAR CSTAR SFMASK SYSENTER_CS SYSENTER_ESP SYSENTER_EIP FS_BASE GS_BASE KERNEL_GS_BASE EFER PAT */
msrs:	.long 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176
	.long 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000080, 0x277
gdtr:	.word 31
	.quad 0x5000			/* the tests' GDT */
guest_leaks_end:

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define SYS_arch_prctl 158

.macro ARCH_PRCTL code
	mov $SYS_arch_prctl, %eax
	mov $\code, %edi
	syscall
.endm

/* DS to GS, and the bases of FS and GS, which a selector of a descriptor brings with it. */
.macro LOAD_SEGMENTS side
	mov \side + S_DS(%rip), %ds
	mov \side + S_DS + 8(%rip), %es
	mov \side + S_DS + 16(%rip), %eax
	mov %eax, %fs
	test $~3, %eax
	jnz 1f
	mov \side + H_FS_BASE(%rip), %rsi
	ARCH_PRCTL ARCH_SET_FS
1:	mov \side + S_DS + 24(%rip), %eax
	mov %eax, %gs
	test $~3, %eax
	jnz 1f
	mov \side + H_GS_BASE(%rip), %rsi
	ARCH_PRCTL ARCH_SET_GS
1:
.endm

.macro STORE_SEGMENTS side
	STORE \side + S_DS, (%rip), ds, es, fs, gs
	lea \side + H_FS_BASE(%rip), %rsi
	ARCH_PRCTL ARCH_GET_FS
	lea \side + H_GS_BASE(%rip), %rsi
	ARCH_PRCTL ARCH_GET_GS
.endm

	.text
	.globl with_state, host_resumed
with_state:
	push %rbp
	push %r15
	push %r14
	push %r13
	push %r12
	push %rbx
	mov %rsp, stack(%rip)
	STORE_SEGMENTS own
	testl $CAP_XSAVE, host_caps(%rip)
	jz 3f
	mov host_mask(%rip), %eax
	xor %edx, %edx
	xsave64 own + H_XSAVE(%rip)
	xrstor64 host_want + H_XSAVE(%rip)
	jmp 4f
3:	fxsave64 own + H_XSAVE(%rip)
	fxrstor64 host_want + H_XSAVE(%rip)
4:	LOAD_SEGMENTS host_want
	pushq host_want + S_RFLAGS(%rip)
	popfq
	LOAD_GPRS host_want (%rip)
	syscall
host_resumed:
	STORE_GPRS host_seen (%rip)
	mov stack(%rip), %rsp
	pushfq
	popq host_seen + S_RFLAGS(%rip)
	cld
	testl $CAP_XSAVE, host_caps(%rip)
	jz 3f
	mov host_mask(%rip), %eax
	xor %edx, %edx
	xsave64 host_seen + H_XSAVE(%rip)
	xrstor64 own + H_XSAVE(%rip)
	xor %ecx, %ecx
	xgetbv
	mov %eax, host_seen + H_XCR0(%rip)
	mov %edx, host_seen + H_XCR0 + 4(%rip)
	jmp 4f
3:	fxsave64 host_seen + H_XSAVE(%rip)
	fxrstor64 own + H_XSAVE(%rip)
4:	STORE_SEGMENTS host_seen
	testl $CAP_RDTSCP, host_caps(%rip)
	jz 5f
	rdtscp
	mov %ecx, host_seen + H_TSC_AUX(%rip)
5:	testl $CAP_TABLES, host_caps(%rip)
	jz 6f
	sgdt host_seen + S_GDTR(%rip)
	sidt host_seen + S_IDTR(%rip)
	xor %eax, %eax
	sldt %eax
	mov %rax, host_seen + S_LDTR(%rip)
	str %eax
	mov %rax, host_seen + S_TR(%rip)
	smsw %rax
	mov %rax, host_seen + H_MSW(%rip)
6:	LOAD_SEGMENTS host_seen		/* the descriptors are still there */
	LOAD_SEGMENTS own
	pop %rbx
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	pop %rbp
	ret

	.bss
	.balign 64
	.globl host_want, host_seen, host_caps, host_mask
host_want: .skip 8192
host_seen: .skip 8192
own:	.skip 8192
stack:	.skip 8
host_mask: .skip 4			/* the components of XSAVE's that are looked at */
host_caps: .skip 4

	.section .note.GNU-stack, "", @progbits
