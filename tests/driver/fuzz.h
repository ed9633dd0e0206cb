/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctl fuzzer: programs (fuzz_program.c) of calls (fuzz_calls.c), and the guests under them
 * (fuzz_guest.c). ioctl_fuzz.c runs them.
 */
#ifndef VMBOX_TEST_FUZZ_H
#define VMBOX_TEST_FUZZ_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define NR_ARGS	   6
#define NR_THREADS 4 /* thread 0's calls come first; then the others run at once */
#define NR_SLOTS   12
#define MAX_CALLS  32

/* Where a program's memory is; guest-physical 0 is at ARENA if it maps a region so. */
#define ARENA	   0x40000000UL
#define ARENA_SIZE (32UL << 20)
#define GUEST_SIZE (16UL << 20)
#define NR_CODES   32 /* places for code, from CODE (vm.h) on */
#define CODE_SIZE  64
#define RUNS	   0x50000000UL /* a page for the kvm_run of each vCPU: slot % 4 */

/* Descriptors are in slots, which a program's threads share. */
enum slot {
	DEV,
	DEV2,
	VM,
	VM2,
	VCPU,
	VCPU2,
	STATS,
	ANY,
	ANY2,
	ANY3,
	FOREIGN_VM,
	FOREIGN_VCPU
};

/* What an argument is, for those who make one up; as a number it is nothing but itself. */
enum kind {
	NONE,
	DEV_SLOT,
	VM_SLOT,
	VCPU_SLOT,
	STATS_SLOT,
	ANY_SLOT,
	ZERO,	/* must be 0 */
	SMALL,	/* a number, a count, a set of flags */
	VALUE,	/* 64 bits */
	HVA,	/* an address of the process */
	OFFSET, /* into the arena */
	SIZE,
	GPA,
	ENTRY, /* of a page table */
	INSN,  /* of fuzz_insn() */
	CMD,   /* an ioctl's number */
	CPU_MODE,
	FIELD, /* which 8 bytes of a structure are replaced, or none */
};

enum cpu_mode {
	LONG,
	PAE,
	LEGACY,
	NO_PAGING,
	USER,
	COMPAT,
	NR_CPU_MODES
};

struct op {
	const char *name;
	long (*call)(const uint64_t *arg);
	uint8_t kinds[NR_ARGS];
	uint8_t weight; /* how often it is chosen */
	bool may_fail;	/* faults are injected in it */
};

struct call {
	uint8_t thread, op; /* index in fuzz_ops */
	uint64_t arg[NR_ARGS];
};

struct program {
	int n;
	struct call calls[MAX_CALLS];
};

/* fuzz_program.c: a program to @fd, each line after @prefix, in a write of its own. */
void fuzz_print(int fd, const char *prefix, const struct program *p);
/* Reads a line, which it spoils; ends the process if that is not a call of @path's. */
void fuzz_parse(struct call *c, char *line, const char *path);
void fuzz_generate(struct program *p, uint64_t *random);
void fuzz_mutate(struct program *p, const struct program *other, uint64_t *random);

extern const struct op fuzz_ops[];
extern const int fuzz_nr_ops;
extern int fuzz_fds[NR_SLOTS];
extern int fuzz_tids[NR_THREADS];
extern __thread unsigned int fuzz_fault; /* the next call's nth fault is injected; 0: none */

/* @new, or -1, is in the slot from now on, and what was there is closed. Returns @new. */
long fuzz_put(uint64_t slot, int new);

/* Ends the process: what the driver or the guest did is wrong. */
void fuzz_finding(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Writes @size bytes at @to, if they can be written. */
void fuzz_write(uint64_t to, const void *from, unsigned long size);

/* xorshift; @state is not 0. */
uint64_t fuzz_random(uint64_t *state);

/* Page tables of @mode, GDT, IDT and handlers, for guest-physical memory at @mem. */
void fuzz_make_tables(uint64_t mem, enum cpu_mode mode);
struct kvm_sregs fuzz_sregs(enum cpu_mode mode);

/* The bytes of one instruction that @choice stands for; how many. At most 16. */
int fuzz_insn(uint64_t choice, uint8_t *to);

/* MSRs, control register values and the like. */
uint64_t fuzz_interesting(uint64_t choice);

/*
 * A random stream of arithmetic, natively and in a VM that is stirred all the time: what is in
 * its memory and registers must be the same. For a process of its own: ends it if not.
 */
void fuzz_compare(uint64_t seed);

#endif
