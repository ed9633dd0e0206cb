/* SPDX-License-Identifier: GPL-2.0-only */
/* Bits of page-table entries: AMD APM vol 2 §5.2 to §5.4, Intel SDM vol 3 §4.3 to §4.5. */
#ifndef VMBOX_MMU_FORMAT_H
#define VMBOX_MMU_FORMAT_H

#include "mmu.h"

#define PTE_P	 (1ULL << 0)
#define PTE_W	 (1ULL << 1)
#define PTE_U	 (1ULL << 2)
#define PTE_A	 (1ULL << 5)
#define PTE_D	 (1ULL << 6)
#define PTE_PS	 (1ULL << 7) /* level 2 and up: a large page */
#define PTE_G	 (1ULL << 8)
#define PTE_NX	 (1ULL << 63)
#define PTE_ADDR 0x000ffffffffff000ULL

#define CR0_PE	     (1ULL << 0)
#define CR0_WP	     (1ULL << 16)
#define CR0_PG	     (1ULL << 31)
#define CR4_PSE	     (1ULL << 4)
#define CR4_PAE	     (1ULL << 5)
#define CR4_SMEP     (1ULL << 20)
#define CR4_SMAP     (1ULL << 21)
#define EFER_NXE     (1ULL << 11)
#define MMU_EFER_LMA (1ULL << 10)
#define RFLAGS_AC    (1ULL << 18)

#define GPA_MASK       ((1ULL << VMBOX_GPA_BITS) - 1)
#define GPTE_RSVD_ADDR (PTE_ADDR & ~GPA_MASK) /* address bits over MAXPHYADDR */

/* Shadow entries. One that is not present is exactly 0. */
#define SPTE_TABLE (PTE_P | PTE_W | PTE_U | PTE_A) /* rights are in the leaves */
#define SPTE_PDPTE PTE_P			   /* level 3 of a 3-level tree has no rights */
#define SPTE_LEAF  (PTE_P | PTE_A | PTE_D)	   /* and W, U, NX, PS, address */

static inline u32 mmu_index(mmu_gva_t gva, int level)
{
	return (gva.val >> (12 + 9 * (level - 1))) & (MMU_ENTRIES - 1);
}

/* Bytes, and 4 KiB pages, that one shadow entry of @level maps. */
static inline u64 mmu_level_size(int level)
{
	return 1ULL << (12 + 9 * (level - 1));
}

static inline u64 mmu_level_pages(int level)
{
	return 1ULL << (9 * (level - 1));
}

#endif
