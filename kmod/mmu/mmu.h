/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The shadow MMU: a software TLB in the form of a page table.
 *
 * The shadow tree translates guest-virtual addresses straight to host pages.
 * An entry is only ever made by a fault, from a walk of the guest's own page
 * tables, and it lives until the guest flushes it or the host takes the page
 * away: exactly the licence that the architecture gives a TLB. So the guest's
 * tables need no write protection, no write to them is ever emulated, and a
 * fault has one of three outcomes: resume, inject, exit.
 *
 * These files know the machine only through env.h. The same sources are built
 * into vmbox.ko and into the tests, each with its own functions behind env.h.
 */
#ifndef VMBOX_MMU_H
#define VMBOX_MMU_H

#include "env.h"

typedef struct {
	u64 val;
} mmu_gva_t;

/* Page-fault error code: AMD APM vol 2 §8.4.2, Intel SDM vol 3 §4.7. */
#define PFEC_PRESENT 0x01U
#define PFEC_WRITE   0x02U
#define PFEC_USER    0x04U
#define PFEC_RSVD    0x08U
#define PFEC_FETCH   0x10U

/* The guest registers that a translation depends on. */
struct mmu_regs {
	u64 cr0;
	u64 cr3;
	u64 cr4;
	u64 efer;
	u64 rflags;
	u8 cpl;
};

enum mmu_status {
	MMU_OK,	    /* translated; as a fault's outcome: resume the guest */
	MMU_INJECT, /* the guest gets #PF with the given error code */
	MMU_EXIT,   /* no memory slot backs the given guest-physical address */
	MMU_ERROR,  /* host error: out of memory, host mapping gone */
};

/* What a walk of the guest's tables found, or why it stopped. */
struct mmu_walk {
	mmu_gpa_t gpa;			     /* MMU_OK: the byte; MMU_EXIT: what is not backed */
	u32 pfec;			     /* MMU_INJECT: the recomputed error code */
	int error;			     /* MMU_ERROR: -errno */
	u8 level;			     /* of the guest leaf: 1 is 4 KiB, 2 is 2 MiB */
	bool user, write, nx, global, dirty; /* rights, all levels combined */
};

struct vmbox_mmu {
	struct mmu_env *env;
	struct mmu_table *root;
	struct mmu_table *spare; /* allocated before the lock is taken */
	u32 nr_spare;
	u32 nr_tables; /* in the tree, with the root */
	u32 max_tables;
};

int vmbox_mmu_init(struct vmbox_mmu *mmu, struct mmu_env *env);
void vmbox_mmu_fini(struct vmbox_mmu *mmu);

__must_check enum mmu_status vmbox_mmu_walk(struct mmu_env *env, const struct mmu_regs *regs,
					    mmu_gva_t gva, u32 access, struct mmu_walk *walk);
__must_check enum mmu_status vmbox_mmu_fault(struct vmbox_mmu *mmu, const struct mmu_regs *regs,
					     mmu_gva_t gva, u32 access, struct mmu_walk *walk);

void vmbox_mmu_flush_all(struct vmbox_mmu *mmu);
void vmbox_mmu_flush_local(struct vmbox_mmu *mmu);
void vmbox_mmu_flush_page(struct vmbox_mmu *mmu, mmu_gva_t gva);
void vmbox_mmu_detach_all(struct vmbox_mmu *mmu, struct mmu_table **freed);
void vmbox_mmu_free_list(struct mmu_table *freed);

#endif
