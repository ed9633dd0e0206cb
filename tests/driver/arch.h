/* SPDX-License-Identifier: GPL-2.0-only */
/* Random guests for tests/driver/arch.c: what is in their memory and registers, in each mode. */
#ifndef VMBOX_TEST_ARCH_H
#define VMBOX_TEST_ARCH_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

/* Beside what vm.h has. DATA's pages and a large page at BIG are mapped once, at DATA_VA. */
#define PT_LOW	   0x7000UL /* 4 KiB pages for 0 to 2 MiB */
#define PD_32	   0x9000UL
#define PT_32_LOW  0xa000UL
#define TSS	   0xb000UL
#define TOOL	   0xc000UL /* code that loads and stores what no ioctl reaches, and its tables */
#define TOOL_PML4  0xd000UL
#define TOOL_PDPT  0xe000UL
#define TOOL_IN	   0x12000UL /* struct arch_hidden */
#define TOOL_OUT   0x13000UL
#define PD_DATA	   0x14000UL
#define PT_32_DATA 0x15000UL
#define PDPT_OTHER 0x16000UL
#define STACK_PAGE 0x1f000UL
#define KSTACK	   0x22000UL
#define IST	   0x24000UL
#define LOW_END	   0x25000UL
#define NR_DATA	   4
#define BIG	   0x400000UL
#define DATA_VA	   0x40000000UL
#define HIGH	   0x800000UL /* what memory has from here on is at DATA_VA, too: without paging */
#define BIG_VA	   0x40200000UL /* in 32-bit paging: BIG_VA_32, of 4 MiB */
#define BIG_VA_32  0x40400000UL
#define ALIAS_VA   0x8000000000UL /* 64-bit: DATA_VA and the like are here as well */
#define SLOT	   32		  /* bytes for each step of a guest */
#define NR_STEPS   16
#define END_VECTOR 0x3f
#define NR_VECTORS 64
#define DR6_PORT   0x3e

/* Registers that the KVM API of both drivers does not have: the guest loads and stores them itself. */
#define NR_HIDDEN_MSRS 11

struct arch_hidden {
	struct {
		uint64_t number, val;
	} msr[NR_HIDDEN_MSRS];
	uint64_t end;	/* 0: no MSR */
	uint64_t dr[6]; /* 0 to 3, 6, 7 */
	uint64_t pad;
	uint8_t fx[512] __attribute__((aligned(16)));
};

enum arch_mode {
	LONG,
	COMPAT,
	PAE,
	LEGACY,
	NO_PAGING,
	NR_MODES
};

struct arch_guest {
	enum arch_mode mode;
	int ring;
	bool hardware_walks; /* what QEMU's nested paging gets wrong is left out */
	uint64_t random;
	uint64_t irqs; /* bit n: an interrupt is to come after exit n */
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct arch_hidden hidden;
};

uint64_t arch_random(uint64_t *state);

/* Does the CPU push an error code with @vector? */
bool arch_has_error(int vector);

/* The guest that @seed and @i stand for, into @mem, which is zeroed up to LOW_END, and @g. */
void arch_make(struct arch_guest *g, uint8_t *mem, uint64_t seed, uint64_t i);

/* What arch.S has: both start in 64-bit mode, on TOOL_PML4, with RSI the struct, and halt. */
extern const uint8_t arch_load[], arch_store[], arch_tool_end[];

#endif
