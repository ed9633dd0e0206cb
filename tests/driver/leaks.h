/* SPDX-License-Identifier: GPL-2.0-only */
/* What a side of the switch has, as leaks.S loads and stores it; leaks.c looks at it. */
#ifndef VMBOX_TEST_LEAKS_H
#define VMBOX_TEST_LEAKS_H

/* Both sides. Registers in the order of their encoding. */
#define S_GPR	 0
#define S_RFLAGS 128
#define S_DS	 136 /* selectors: DS ES FS GS, of 8 bytes */
#define S_GDTR	 168 /* limit, base */
#define S_IDTR	 184
#define S_LDTR	 200
#define S_TR	 208

/* The guest. */
#define G_CR0	  216 /* CR0 CR2 CR3 CR4 CR8 */
#define G_DR	  256 /* DR0 to DR3, DR6, DR7 */
#define G_MSR	  304
#define G_FX	  400
#define G_NR_MSRS 12

/* The host's task. */
#define H_FS_BASE 216
#define H_GS_BASE 224
#define H_MSW	  232
#define H_TSC_AUX 240
#define H_XCR0	  248
#define H_XSAVE	  256

/* Where the guest has them: in pages of 4 KiB. TOUCH is one that it writes to. */
#define SEEN  0x210000
#define WANT  0x211000
#define TOUCH 0x220000

/* What this CPU has. */
#define CAP_XSAVE  1
#define CAP_RDTSCP 2
#define CAP_TABLES 4 /* SGDT and the like say the truth: there is no UMIP */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed, aligned(2)));

struct guest_side {
	uint64_t gpr[16], rflags, selector[4];
	struct table gdtr __attribute__((aligned(8))), idtr __attribute__((aligned(8)));
	uint64_t ldtr, tr;
	uint64_t cr0, cr2, cr3, cr4, cr8, dr[6];
	uint64_t msr[G_NR_MSRS];
	uint8_t fx[512] __attribute__((aligned(16)));
};

struct host_side {
	uint64_t gpr[16], rflags, selector[4];
	struct table gdtr __attribute__((aligned(8))), idtr __attribute__((aligned(8)));
	uint64_t ldtr, tr;
	uint64_t fs_base, gs_base, msw, tsc_aux, xcr0;
	uint8_t xsave[7680] __attribute__((aligned(64)));
};

#define AT(side, field, offset) \
	_Static_assert(offsetof(struct side##_side, field) == (offset), #side " " #field)
AT(guest, rflags, S_RFLAGS);
AT(guest, selector, S_DS);
AT(guest, gdtr, S_GDTR);
AT(guest, idtr, S_IDTR);
AT(guest, ldtr, S_LDTR);
AT(guest, cr0, G_CR0);
AT(guest, dr, G_DR);
AT(guest, msr, G_MSR);
AT(guest, fx, G_FX);
AT(host, ldtr, S_LDTR);
AT(host, fs_base, H_FS_BASE);
AT(host, xcr0, H_XCR0);
AT(host, xsave, H_XSAVE);
#undef AT

extern struct host_side host_want, host_seen;
extern uint32_t host_caps;
extern const uint8_t host_resumed[];

/*
 * A system call with all that the task has as in host_want; then what it has is in host_seen, and
 * what the caller had is back. RAX, RDI, RSI and RDX of host_want are the call and its arguments.
 */
void with_state(void);
#endif

#endif
