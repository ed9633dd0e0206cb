/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A host for the shadow MMU in a test program: guest memory, host pages that
 * move, an MMU. Slot 0 is 64 pages at gfn 0; slot 1 is 4 MiB at gfn 512, aligned
 * so that 2 MiB host pages can be.
 */
#ifndef VMBOX_MMU_WORLD_H
#define VMBOX_MMU_WORLD_H

#include "../../kmod/mmu/sp.h"

#define NR_SMALL  64U
#define NR_LARGE  1024U
#define NR_PAGES  (NR_SMALL + NR_LARGE)
#define LARGE_GFN 512U
#define HVA_SMALL 0x10000000ULL
#define HVA_LARGE 0x40000000ULL

struct world_slot {
	u64 gfn, npages, hva;
	bool readonly, logged;
};

/* One page of the process that has the VM. */
struct world_page {
	u64 hpa;
	bool writable; /* else: shared, a write takes a copy */
};

struct mmu_env {
	u8 mem[NR_PAGES][4096] __attribute__((aligned(4096)));
	struct world_page host[NR_PAGES];
	struct world_slot slot[VMBOX_MAX_SLOTS];
	bool dirty[VMBOX_MAX_SLOTS][NR_LARGE]; /* written since the log was taken */
	unsigned long seq;
	u64 next_hpa;
	bool locked;
	long pages_held, allocated;
	int steal;	/* 1: revoke the page that is being got; 2: and drop everything */
	bool no_memory; /* allocations fail */
	u64 changes;	/* of guest memory by the MMU itself */
	struct vmbox_mmu mmu;
};

extern struct mmu_env world;

_Noreturn void world_die(const char *what, u64 a, u64 b);
u64 world_rnd(u64 n);
void world_seed(u64 seed);

void world_init(void);
void world_fini(void);
int world_page(u64 hva); /* index, or -1 */
const struct world_slot *world_slot_of(u64 gfn);
int world_page_of_gfn(u64 gfn);
void world_note_write(u64 gfn); /* for the reference dirty log */
void world_set_slot(u32 id, const struct world_slot *slot);
void world_unmap(u64 hva, u64 npages); /* revokes; the pages are what they were */
void world_renew(u32 page);	       /* the page is another from here on */
void world_make_large(u32 region);     /* 512 pages in one piece; region 0 or 1 of slot 1 */

#endif
