/* SPDX-License-Identifier: GPL-2.0-only */
/* Bits of a 4-level page-table entry: AMD APM vol 2 §5.3, Intel SDM vol 3 §4.5. */
#ifndef VMBOX_MMU_FORMAT_H
#define VMBOX_MMU_FORMAT_H

#include "../limits.h"

#define PTE_P	 (1ULL << 0)
#define PTE_W	 (1ULL << 1)
#define PTE_U	 (1ULL << 2)
#define PTE_A	 (1ULL << 5)
#define PTE_D	 (1ULL << 6)
#define PTE_PS	 (1ULL << 7) /* level 2 and up: a large page */
#define PTE_G	 (1ULL << 8)
#define PTE_NX	 (1ULL << 63)
#define PTE_ADDR 0x000ffffffffff000ULL

#define MMU_LEVELS  4
#define MMU_ENTRIES 512U

#define GPA_MASK       ((1ULL << VMBOX_GPA_BITS) - 1)
#define GPTE_RSVD_ADDR (PTE_ADDR & ~GPA_MASK) /* address bits over MAXPHYADDR */

/* A shadow entry: hardware bits, and in bit 9 (ignored by the CPU) our own "guest-global". */
#define SPTE_GLOBAL (1ULL << 9)
#define SPTE_TABLE  (PTE_P | PTE_W | PTE_U | PTE_A)

static inline u32 mmu_index(mmu_gva_t gva, int level)
{
	return (gva.val >> (12 + 9 * (level - 1))) & (MMU_ENTRIES - 1);
}

/* Bytes that one entry of @level maps. */
static inline u64 mmu_level_size(int level)
{
	return 1ULL << (12 + 9 * (level - 1));
}

#endif
