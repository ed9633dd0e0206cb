/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside the MMU: shadow pages, their entries, and what is known of each gfn. Lock held. */
#ifndef VMBOX_MMU_SP_H
#define VMBOX_MMU_SP_H

#include "format.h"

/* Iterates over the present entries of @sp. The body may drop the current one. */
#define for_each_present(sp, idx) \
	for (idx = vmbox_sp_next(sp, 0); idx < MMU_ENTRIES; idx = vmbox_sp_next(sp, idx + 1))

#define bucket_of(mmu, gfn) (&(mmu)->hash[(gfn)*0x9e3779b97f4a7c15ULL >> 32 & (VMBOX_MMU_HASH - 1)])

static inline u32 vmbox_sp_next(const struct mmu_sp *sp, u32 idx)
{
	while (idx < MMU_ENTRIES) {
		u64 rest = sp->present[idx / 64] >> (idx % 64);

		if (rest)
			return idx + __builtin_ctzll(rest);
		idx = (idx / 64 + 1) * 64;
	}
	return idx;
}

static inline bool spte_is_leaf(const struct mmu_sp *sp, u32 idx)
{
	return sp->role.level == 1 || (sp->spt[idx] & PTE_PS);
}

/* What a non-leaf entry points to. */
static inline struct mmu_sp *spte_child(const struct mmu_sp *sp, u32 idx)
{
	return mmu_env_page_owner(sp->spt[idx] & PTE_ADDR);
}

/* The first gfn that a leaf maps: by our own record, never by the guest's memory. */
static inline u64 spte_gfn(const struct mmu_sp *sp, u32 idx)
{
	return (sp->record[idx] & PTE_ADDR) >> 12 & ~(mmu_level_pages(sp->role.level) - 1);
}

static inline bool sp_is_empty(const struct mmu_sp *sp)
{
	return vmbox_sp_next(sp, 0) == MMU_ENTRIES;
}

/* slot.c; NULL: no slot */
struct mmu_slot *vmbox_slot_find(struct vmbox_mmu *mmu, u64 gfn);
struct mmu_gfn *vmbox_gfn_info(struct vmbox_mmu *mmu, u64 gfn);
struct mmu_large *vmbox_large_info(struct vmbox_mmu *mmu, u64 gfn);

/* sp.c */
void vmbox_spte_set(struct vmbox_mmu *mmu, struct mmu_sp *sp, u32 idx, u64 spte, u64 record);
void vmbox_spte_drop(struct vmbox_mmu *mmu, struct mmu_sp *sp, u32 idx);
void vmbox_spte_narrow(struct vmbox_mmu *mmu, struct mmu_sp *sp, u32 idx, u64 bits);
struct mmu_sp *vmbox_link_entry(struct vmbox_mmu *mmu, u32 link, u32 *idx);
void vmbox_drop_chain(struct vmbox_mmu *mmu, u32 *head);

struct mmu_sp *vmbox_sp_find(struct vmbox_mmu *mmu, u64 gfn, union mmu_role role);
struct mmu_sp *vmbox_sp_make(struct vmbox_mmu *mmu, u64 gfn, union mmu_role role);
void vmbox_sp_zap(struct vmbox_mmu *mmu, struct mmu_sp *sp);
__must_check int vmbox_sp_prepare(struct vmbox_mmu *mmu, u32 nr, bool low);

/* walk.c */
bool vmbox_walk_beside(const struct vmbox_mmu *mmu, const struct mmu_regs *regs, u64 gpte,
		       struct mmu_walk *walk);

/* fault.c */
u64 vmbox_root_key(const struct mmu_regs *regs, union mmu_role *role);

/* sync.c */
void vmbox_sync_all(struct vmbox_mmu *mmu);
void vmbox_gfn_unsync(struct vmbox_mmu *mmu, u64 gfn);
void vmbox_gfn_write_protect(struct vmbox_mmu *mmu, u64 gfn);
bool vmbox_record_differs(const struct mmu_sp *sp, u32 idx, u64 gpte);
bool vmbox_sp_peek(struct vmbox_mmu *mmu, const struct mmu_sp *sp, u32 idx, u64 *gpte);

#endif
