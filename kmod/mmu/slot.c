// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots, what is known of each guest page in them, the dirty log, and
 * what the host's memory management asks of the mappings. The arrays of a slot
 * are its owner's (mem.c); they change only through vmbox_mmu_set_slot().
 */
#include "sp.h"

struct mmu_slot *vmbox_slot_find(struct vmbox_mmu *mmu, u64 gfn)
{
	u32 i;

	for (i = 0; i < VMBOX_MAX_SLOTS; i++)
		if (gfn - mmu->slots[i].gfn < mmu->slots[i].npages)
			return &mmu->slots[i];
	return NULL;
}

struct mmu_gfn *vmbox_gfn_info(struct vmbox_mmu *mmu, u64 gfn)
{
	struct mmu_slot *slot = vmbox_slot_find(mmu, gfn);

	return slot ? &slot->gfns[gfn - slot->gfn] : NULL;
}

struct mmu_large *vmbox_large_info(struct vmbox_mmu *mmu, u64 gfn)
{
	struct mmu_slot *slot = vmbox_slot_find(mmu, gfn);

	return slot ? &slot->large[(gfn >> 9) - (slot->gfn >> 9)] : NULL;
}

/* Where @gpa is in the process's memory. False: in no slot. */
bool vmbox_mmu_gpa_to_hva(struct vmbox_mmu *mmu, u64 gpa, u64 *hva)
{
	const struct mmu_slot *slot = vmbox_slot_find(mmu, gpa >> 12);

	if (slot)
		*hva = slot->hva + (gpa - (slot->gfn << 12));
	return slot;
}

bool vmbox_mmu_is_readonly(struct vmbox_mmu *mmu, u64 gpa)
{
	const struct mmu_slot *slot = vmbox_slot_find(mmu, gpa >> 12);

	return slot && slot->is_readonly;
}

/* Guest page @gfn was or is about to be written. With or without the lock. */
void vmbox_mmu_mark_dirty(struct vmbox_mmu *mmu, u64 gfn)
{
	struct mmu_slot *slot = vmbox_slot_find(mmu, gfn);

	if (slot->dirty)
		set_bit(gfn - slot->gfn, slot->dirty);
}

/**
 * vmbox_mmu_set_slot - replace slot @id
 * @mmu: its lock held
 * @id: less than VMBOX_MAX_SLOTS
 * @slot: npages 0: none; its arrays are zeroed and as long as its memory
 *
 * vmbox_mmu_collect() is to follow, then the old arrays can be freed. Everything
 * is dropped: slots change rarely.
 */
void vmbox_mmu_set_slot(struct vmbox_mmu *mmu, u32 id, const struct mmu_slot *slot)
{
	vmbox_mmu_zap_all(mmu);
	mmu->slots[id] = *slot;
}

/**
 * vmbox_mmu_get_dirty - take the dirty log of slot @id
 * @mmu: its lock held
 * @id: of a slot that has one
 * @bitmap: as long as the slot's; each page written since the last time is set
 *
 * Before @bitmap is used, vmbox_mmu_collect(). A page is protected as its bit is
 * cleared, so a write after that is in the next log.
 */
void vmbox_mmu_get_dirty(struct vmbox_mmu *mmu, u32 id, unsigned long *bitmap)
{
	const struct mmu_slot *slot = &mmu->slots[id];
	u64 i;

	for (i = 0; i < BITS_TO_LONGS(slot->npages); i++) {
		unsigned long word = slot->dirty[i] ? xchg(&slot->dirty[i], 0) : 0;

		bitmap[i] = word;
		for (; word; word &= word - 1)
			vmbox_gfn_write_protect(mmu, slot->gfn + i * BITS_PER_LONG +
							     __builtin_ctzl(word));
	}
}

/* The part of @slot that is in [hva, end), as indices of its pages; empty: first == last. */
static void slot_range(const struct mmu_slot *slot, u64 hva, u64 end, u64 *first, u64 *last)
{
	u64 slot_end = slot->hva + (slot->npages << 12);

	*first = *last = 0;
	if (!slot->npages || hva >= slot_end || end <= slot->hva)
		return;
	*first = hva > slot->hva ? (hva - slot->hva) >> 12 : 0;
	*last = end < slot_end ? (end - slot->hva + 4095) >> 12 : slot->npages;
}

/* The host takes [hva, end) away. Lock held; vmbox_mmu_collect() is to follow. */
void vmbox_mmu_unmap(struct vmbox_mmu *mmu, u64 hva, u64 end)
{
	u64 first, last;
	u32 i;

	for (i = 0; i < VMBOX_MAX_SLOTS; i++) {
		const struct mmu_slot *slot = &mmu->slots[i];

		slot_range(slot, hva, end, &first, &last);
		if (last - first > VMBOX_MMU_ZAP_PAGES) {
			vmbox_mmu_zap_all(mmu);
			return;
		}
		for (; first < last; first++) {
			vmbox_drop_chain(mmu, &slot->gfns[first].rmap);
			vmbox_drop_chain(mmu, &vmbox_large_info(mmu, slot->gfn + first)->rmap);
		}
	}
}

/* Was an entry of this chain used since its A was cleared? */
static bool age_chain(struct vmbox_mmu *mmu, u32 link, bool clear)
{
	bool young = false;

	while (link) {
		u32 idx;
		struct mmu_sp *sp = vmbox_link_entry(mmu, link, &idx);

		if (sp->spt[idx] & PTE_A) {
			young = true;
			if (clear)
				vmbox_spte_narrow(mmu, sp, idx, PTE_A);
		}
		link = sp->links[idx].next;
	}
	return young;
}

/* Was any of [hva, end) used since the last time with @clear? Lock held. */
bool vmbox_mmu_age(struct vmbox_mmu *mmu, u64 hva, u64 end, bool clear)
{
	bool young = false;
	u64 first, last;
	u32 i;

	for (i = 0; i < VMBOX_MAX_SLOTS; i++) {
		const struct mmu_slot *slot = &mmu->slots[i];

		slot_range(slot, hva, end, &first, &last);
		for (; first < last; first++) {
			young |= age_chain(mmu, slot->gfns[first].rmap, clear);
			young |= age_chain(mmu, vmbox_large_info(mmu, slot->gfn + first)->rmap,
					   clear);
		}
	}
	return young;
}
