/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest programs of scripts/bench driver, run as those of the driver's tests are (guest.S). Each
 * begins again when it is done; port 0x10 says so where the host does not see each turn.
 */
	.section .rodata

.macro GUEST name
	.balign 16
	.globl turns_\name, turns_\name\()_end
turns_\name:
.endm
.macro END name
turns_\name\()_end:
.endm

/* What is between the two is done r10 times, then port 0x10 is written. Labels 7, 8 are taken. */
.macro TIMES
7:	mov %r10, %rbp
	mov %r8, %rbx
8:
.endm
.macro DONE
	dec %rbp
	jnz 8b
	out %al, $0x10
	jmp 7b
.endm

GUEST cpuid
	TIMES
	xor %eax, %eax
	cpuid
	DONE
END cpuid

/* The MSR rsi. */
GUEST rdmsr
	TIMES
	mov %esi, %ecx
	rdmsr
	DONE
END rdmsr

/* To what it is already. */
GUEST wrmsr
	mov %esi, %ecx
	rdmsr
	TIMES
	wrmsr
	DONE
END wrmsr

/* Goes between the address spaces rsi and rdi. */
GUEST cr3
	TIMES
	mov %rsi, %cr3
	xchg %rsi, %rdi
	DONE
END cr3

/* Writes to memory from r8, in steps of r9. */
GUEST touch
	TIMES
	mov %al, (%rbx)
	add %r9, %rbx
	DONE
END touch

/* Writes where the guest's tables have nothing, at r8. #PF comes to CODE + 16. */
GUEST reflect
	jmp 1f
	.balign 16
	add $8, %rsp			/* the error code */
	addq $2, (%rsp)			/* past MOV */
	iretq
1:	TIMES
	mov %al, (%rbx)
	DONE
END reflect

/* Rings port 0x11. */
GUEST ring
	TIMES
	out %al, $0x11
	DONE
END ring

GUEST out
1:	out %al, $0x10
	jmp 1b
END out

GUEST in
1:	in $0x10, %al
	jmp 1b
END in

/* Interrupts come to CODE + 16. */
GUEST halt
	jmp 1f
	.balign 16
	iretq
1:	hlt
	jmp 1b
END halt

/* Takes interrupts for one instruction. They come to CODE + 16. */
GUEST window
	jmp 1f
	.balign 16
	iretq
1:	out %al, $0x10
	sti
	nop
	nop
	cli
	jmp 1b
END window

	.section .note.GNU-stack, "", @progbits
