/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest programs of the driver tests: 64-bit, position-independent, copied to
 * guest-physical 0x10000 and run there in ring 0 on identity page tables.
 * A result goes out on port 0x10; port 0x11 carries the faults: see fault_entry.
 */
	.section .rodata

.macro GUEST name
	.balign 16
	.globl guest_\name, guest_\name\()_end
guest_\name:
.endm
.macro END name
guest_\name\()_end:
.endm

GUEST add
	add %rbx, %rax
	out %eax, $0x10
	hlt
END add

GUEST in
	mov $0x1122334455667788, %rax
	in $0x20, %al
	out %eax, $0x10
	in $0x20, %eax
	out %eax, $0x10
	shr $32, %rax
	out %eax, $0x10
	hlt
END in

/*
 * Does what port 0x20 says: address, then 0: read a byte there; 1: add one to it; 2: load CR3
 * again and read. The byte goes out.
 */
GUEST memory
1:	in $0x20, %eax
	mov %eax, %ebx
	in $0x20, %eax
	cmp $1, %eax
	jb 3f
	je 2f
	mov %cr3, %rcx
	mov %rcx, %cr3
	jmp 3f
2:	incb (%rbx)
3:	movzbl (%rbx), %eax
	out %eax, $0x10
	jmp 1b
END memory

/* Goes between the address spaces rsi and rdi, 20 times a turn; tells what each has at rbx. */
GUEST switch
1:	mov $20, %ecx
2:	mov %rdi, %cr3
	mov (%rbx), %rdx
	mov %rsi, %cr3
	mov (%rbx), %rax
	loop 2b
	out %eax, $0x10
	mov %edx, %eax
	out %eax, $0x10
	jmp 1b
END switch

/*
 * Reads the MSRs rsi to rdi - 1, tells which can be read, and writes the value back. The others
 * it writes with ones, and tells if that works. #GP comes to CODE + 16.
 */
GUEST msrs
	jmp 1f
	.balign 16
	add $8, %rsp			/* the error code */
	addq $2, (%rsp)			/* past RDMSR or WRMSR */
	mov $1, %ebp
	iretq
1:	xor %ebp, %ebp
	mov %esi, %ecx
	rdmsr
	test %ebp, %ebp
	jnz 2f
	wrmsr
	mov %ecx, %eax
	out %eax, $0x10
	jmp 3f
2:	xor %ebp, %ebp
	mov $-1, %eax
	mov $-1, %edx
	wrmsr
	test %ebp, %ebp
	jnz 3f
	mov %ecx, %eax
	out %eax, $0x13
3:	inc %esi
	cmp %edi, %esi
	jne 1b
	hlt
END msrs

GUEST ports
	in %dx, %al
	in %dx, %ax
	in %dx, %eax
	hlt
END ports

/* 32-bit: ebx to CR0, CR3 or CR4, whichever RIP says. #GP comes to CODE + 32. */
	.code32
GUEST load_cr
	mov %ebx, %cr0
	jmp 1f
	.balign 8
	mov %ebx, %cr3
	jmp 1f
	.balign 8
	mov %ebx, %cr4
1:	xor %eax, %eax
	out %eax, $0x10
	hlt
	.balign 16
	mov $13, %eax
	out %eax, $0x11
	hlt
END load_cr
	.code64

GUEST cpuid
	cpuid
	mov %eax, %esi
	out %eax, $0x10
	mov %ebx, %eax
	out %eax, $0x10
	mov %ecx, %eax
	out %eax, $0x10
	mov %edx, %eax
	out %eax, $0x10
	hlt
END cpuid

GUEST rdmsr
	rdmsr
	out %eax, $0x10
	hlt
END rdmsr

GUEST wrmsr
	wrmsr
	rdmsr
	out %eax, $0x10
	hlt
END wrmsr

GUEST cr4
	mov %cr4, %rax
	or %rbx, %rax
	mov %rax, %cr4
	mov %cr4, %rax
	out %eax, $0x10
	hlt
END cr4

GUEST cr0
	mov %rbx, %cr0
	mov %cr0, %rax
	out %eax, $0x10
	hlt
END cr0

GUEST load
	mov (%rbx), %rax
	out %eax, $0x10
	hlt
END load

GUEST store
	mov %rax, (%rbx)
	out %eax, $0x10
	hlt
END store

/* Loads, has the caller do something at port 0x12, loads again. */
GUEST reload
	mov (%rbx), %rax
	out %eax, $0x10
	out %al, $0x12
	mov (%rbx), %rax
	out %eax, $0x10
	hlt
END reload

/* Changes the page-table entry at rdi to rsi, and reads rbx before and after the flush. */
GUEST invlpg
	mov (%rbx), %rax
	out %eax, $0x10
	mov %rsi, (%rdi)
	invlpg (%rbx)
	mov (%rbx), %rax
	out %eax, $0x10
	hlt
END invlpg

GUEST reload_cr3
	mov (%rbx), %rax
	out %eax, $0x10
	mov %rsi, (%rdi)
	mov %cr3, %rax
	mov %rax, %cr3
	mov (%rbx), %rax
	out %eax, $0x10
	hlt
END reload_cr3

GUEST spin
1:	jmp 1b
END spin

GUEST spin_sti
	sti
1:	jmp 1b
END spin_sti

/* Runs without interrupts, then opens the window. */
GUEST window
	xor %eax, %eax
	out %al, $0x12
	sti
	nop
	mov $0x77, %eax
	out %eax, $0x10
	hlt
END window

GUEST outsb
	mov $0x10, %edx
	outsb
	hlt
END outsb

GUEST triple
	lidt zero(%rip)
	ud2
zero:	.quad 0
	.quad 0
END triple

/* Fills every register with patterns, exits, and checks that they are still there. */
GUEST patterns
	mov $0x1111111111111111, %rbx
	mov $0x2222222222222222, %rcx
	mov $0x3333333333333333, %rdx
	mov $0x4444444444444444, %rsi
	mov $0x5555555555555555, %rdi
	mov $0x6666666666666666, %rbp
	mov $0x7777777777777777, %r8
	mov $0x8888888888888888, %r15
	movq %rbx, %xmm0
	movq %r15, %xmm15
	mov %rdx, %dr0
	mov $0xffff0ff1, %eax
	mov %rax, %dr6
	xor %eax, %eax
	out %al, $0x12
	movq %xmm0, %rax
	xor %rbx, %rax
	movq %xmm15, %r9
	xor %r15, %r9
	or %r9, %rax
	mov %dr0, %r9
	xor %rdx, %r9
	or %r9, %rax
	mov $0x3333333333333333, %r9
	xor %rdx, %r9
	or %r9, %rax
	mov $0x1111111111111111, %r9
	xor %rbx, %r9
	or %r9, %rax
	mov $0x6666666666666666, %r9
	xor %rbp, %r9
	or %r9, %rax
	setnz %al
	movzbl %al, %eax
	out %eax, $0x10
	hlt
END patterns

/* What of the host can be seen at the start: xmm, debug registers. */
GUEST look
	movq %xmm0, %rax
	movq %xmm7, %rcx
	or %rcx, %rax
	mov %dr0, %rcx
	or %rcx, %rax
	mov %dr3, %rcx
	or %rcx, %rax
	mov %rax, %rcx
	shr $32, %rcx
	or %rcx, %rax
	out %eax, $0x10
	hlt
END look

/* Single-steps over CPUID. */
GUEST step
	pushf
	orl $0x100, (%rsp)
	xor %eax, %eax
	popf
	cpuid
	nop
	hlt
END step

GUEST step_sti
	pushf
	orl $0x100, (%rsp)
	popf
	sti
	nop
	hlt
END step_sti

/* The TSC three ways, each 64 bits as two halves: RDTSC, RDMSR, RDTSC; then sets it to rbx. */
GUEST tsc
	mov $0x10, %ecx
1:	rdtsc
	mov %eax, %esi
	mov %edx, %edi
	rdmsr
	mov %eax, %r8d
	mov %edx, %r9d
	rdtsc
	mov %eax, %r10d
	mov %edx, %r11d
	.irp half, esi, edi, r8d, r9d, r10d, r11d
	mov %\half, %eax
	out %eax, $0x10
	.endr
	mov %ebx, %eax
	mov %rbx, %rdx
	shr $32, %rdx
	wrmsr
	jmp 1b
END tsc

GUEST cr8
	mov %cr8, %rax
	out %eax, $0x10
	mov %rbx, %cr8
	mov %cr8, %rax
	out %eax, $0x10
	hlt
END cr8

/* Breakpoints: on an instruction (CODE + 32), then on the byte at rbx when it is written. */
GUEST breakpoints
	lea 1f(%rip), %rax
	mov %rax, %dr1
	mov %rbx, %dr3
	mov $0x10000084, %eax		/* L1: execution; G3: writes, of one byte */
	mov %rax, %dr7
	jmp 1f
	.balign 32
1:	nop
	incb 1(%rbx)
	incb (%rbx)
	nop
	hlt
END breakpoints

/*
 * Interrupts stay blocked for the load after MOV SS: its page is not mapped yet, so it exits
 * while they are.
 */
GUEST mov_ss
	mov %ss, %ecx
	out %al, $0x12
	sti
	mov %ecx, %ss
	mov (%rbx), %eax
1:	jmp 1b
END mov_ss

/* A breakpoint on what MOV SS reads, which is pending when CPUID exits. */
GUEST mov_ss_cpuid
	mov %rbx, %dr0
	mov $0x000f0002, %eax		/* G0: reads and writes, of 4 bytes */
	mov %rax, %dr7
	xor %eax, %eax
	mov (%rbx), %ss
	cpuid
	nop
	out %eax, $0x10
	hlt
END mov_ss_cpuid

/*
 * Every gate of the tests' IDT points into a table of 4-byte stubs: push imm8, jmp.
 * fault_entry sends vector, error code (or RIP) and CR2 out on port 0x11, and halts; then DR6.
 */
	.globl guest_stubs, guest_stubs_end
	.balign 16
guest_stubs:
	vector = 0
	.rept 256
	.byte 0x68			/* push imm32 */
	.long vector
	.byte 0xe9			/* jmp rel32 */
	.long fault_entry - . - 4
	.balign 16
	vector = vector + 1
	.endr
fault_entry:
	pop %rdx			/* vector */
	mov %edx, %eax
	out %eax, $0x11
	mov (%rsp), %rax		/* the error code, where there is one; else RIP */
	out %eax, $0x11
	mov %cr2, %rax
	out %eax, $0x11
	hlt
	mov %dr6, %rax
	out %eax, $0x11
	iretq				/* of what has no error code */
guest_stubs_end:

	.section .note.GNU-stack, "", @progbits
