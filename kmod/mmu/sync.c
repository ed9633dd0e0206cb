// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps shadow pages in step with guest tables: which tables the guest may
 * write, and what its flushes mean. Owns is_unsync and is_protected.
 *
 * A flush by the guest compares every unsync table, in all address spaces:
 * flushing more than was asked for is always legal, and a table that is left
 * alone gets quiet and costs nothing any more. Comparing only drops and
 * narrows. Only a flush of everything protects.
 */
#include "sp.h"

/* The guest's entry behind entry @idx of a guest table. False: not to be had without sleeping. */
bool vmbox_sp_peek(struct vmbox_mmu *mmu, const struct mmu_sp *sp, u32 idx, u64 *gpte)
{
	u32 size = sp->role.mode == MMU_32 ? 4 : 8;
	u64 hva;

	if (sp->role.mode == MMU_32) /* a level-2 entry of the guest's is two of ours */
		idx = sp->role.level == 1 ? sp->role.quadrant * 512 + idx
					  : sp->role.quadrant * 256 + idx / 2;
	return vmbox_mmu_gpa_to_hva(mmu, (sp->gfn << 12) + idx * size, &hva) &&
	       !mmu_env_gpte_peek(mmu->env, hva, size, gpte);
}

/*
 * Is @gpte another entry than the one recorded, beyond what can be narrowed? A
 * that was cleared is: the next access must set it again. Bits that no
 * translation depends on are not looked at, nor is A or D that was set since.
 */
bool vmbox_record_differs(const struct mmu_sp *sp, u32 idx, u64 gpte)
{
	u64 record = sp->record[idx], diff = record ^ gpte;
	u64 counts = PTE_ADDR | PTE_P | PTE_U | (sp->role.mode == MMU_32 ? 0 : PTE_NX);

	if (sp->role.level > 1)
		counts |= PTE_PS;
	if (sp->role.level > 2)
		counts |= PTE_G; /* may be reserved */
	if (!spte_is_leaf(sp, idx)) {
		counts |= PTE_W;
		if (record & PTE_PS) /* a range: its entries are W only with D */
			counts |= record & PTE_D;
	}
	if (sp->role.mode == MMU_PAE)
		counts |= 0x7ff0000000000000ULL; /* reserved */
	return (diff & counts) || !(gpte & PTE_A);
}

/* Makes entry @idx no more than what the guest's table says now. Returns whether it changed. */
static bool sync_entry(struct vmbox_mmu *mmu, struct mmu_sp *sp, u32 idx)
{
	u64 lost, gpte;

	if (!vmbox_sp_peek(mmu, sp, idx, &gpte) || vmbox_record_differs(sp, idx, gpte)) {
		vmbox_spte_drop(mmu, sp, idx);
		return true;
	}
	if (!spte_is_leaf(sp, idx))
		return false;
	lost = sp->record[idx] & ~gpte & (PTE_W | PTE_D);
	sp->record[idx] = gpte;
	if (!lost || !(sp->spt[idx] & PTE_W))
		return false;
	vmbox_spte_narrow(mmu, sp, idx, PTE_W);
	return true;
}

static bool sync_sp(struct vmbox_mmu *mmu, struct mmu_sp *sp)
{
	bool changed = false;
	u32 idx;

	for_each_present(sp, idx)
		changed |= sync_entry(mmu, sp, idx);
	mmu->stats[MMU_STAT_syncs]++;
	return changed;
}

/* Compares all unsync tables. Protects none, so it may stand between a fault and its entry. */
void vmbox_sync_all(struct vmbox_mmu *mmu)
{
	struct mmu_sp *sp;

	list_for_each_entry(sp, &mmu->unsync, unsync)
		sync_sp(mmu, sp);
}

/* No entry maps @gfn writable from here on. */
void vmbox_gfn_write_protect(struct vmbox_mmu *mmu, u64 gfn)
{
	u32 link = vmbox_gfn_info(mmu, gfn)->rmap;

	vmbox_drop_chain(mmu, &vmbox_large_info(mmu, gfn)->rmap);
	while (link) {
		u32 idx;
		struct mmu_sp *sp = vmbox_link_entry(mmu, link, &idx);

		if (sp->spt[idx] & PTE_W)
			vmbox_spte_narrow(mmu, sp, idx, PTE_W);
		link = sp->links[idx].next;
	}
}

/* The guest may write @gfn again: a write to it has faulted. */
void vmbox_gfn_unsync(struct vmbox_mmu *mmu, u64 gfn)
{
	struct mmu_sp *sp;

	vmbox_gfn_info(mmu, gfn)->is_protected = false;
	vmbox_large_info(mmu, gfn)->nr_protected--;
	list_for_each_entry(sp, bucket_of(mmu, gfn), hash) {
		if (sp->gfn != gfn || !sp->role.is_table)
			continue;
		sp->is_unsync = true;
		sp->quiet = 0;
		list_add(&sp->unsync, &mmu->unsync);
	}
	mmu->stats[MMU_STAT_unsyncs]++;
}

/* First no entry maps it writable, then the records are compared: in the other order is a gap. */
static void protect(struct vmbox_mmu *mmu, u64 gfn)
{
	struct mmu_gfn *info = vmbox_gfn_info(mmu, gfn);
	struct mmu_sp *sp;

	if (!info) /* a root outside of all slots: always unsync, always empty */
		return;
	vmbox_gfn_write_protect(mmu, gfn);
	info->is_protected = true;
	vmbox_large_info(mmu, gfn)->nr_protected++;
	list_for_each_entry(sp, bucket_of(mmu, gfn), hash) {
		if (sp->gfn != gfn || !sp->role.is_table)
			continue;
		sync_sp(mmu, sp);
		sp->is_unsync = false;
		list_del(&sp->unsync);
	}
	mmu->stats[MMU_STAT_protects]++;
}

/**
 * vmbox_mmu_flush - the guest flushes everything, or its paging registers change
 * @mmu: the VM's
 *
 * MOV to CR3; changes of CR0, CR4 and EFER that matter to paging. AMD APM vol 2
 * §5.5. The root is chosen anew by the next vmbox_mmu_load(). A shadow page that
 * has no entry left is dropped: its guest table is none any more, or as good as.
 */
void vmbox_mmu_flush(struct vmbox_mmu *mmu)
{
	LIST_HEAD(todo);

	mmu_env_lock(mmu->env);
	WRITE_ONCE(mmu->root, NULL);
	list_splice_init(&mmu->unsync, &todo);
	while (!list_empty(&todo)) {
		struct mmu_sp *sp = list_first_entry(&todo, struct mmu_sp, unsync);

		list_move(&sp->unsync, &mmu->unsync);
		if (sync_sp(mmu, sp))
			sp->quiet = 0;
		else if (sp->quiet < VMBOX_MMU_QUIET)
			sp->quiet++;
		if (sp_is_empty(sp))
			vmbox_sp_zap(mmu, sp);
		else if (sp->quiet == VMBOX_MMU_QUIET)
			protect(mmu, sp->gfn);
	}
	mmu->stats[MMU_STAT_guest_flushes]++;
	mmu_env_unlock(mmu->env);
}

/**
 * vmbox_mmu_flush_page - the guest flushes one page: INVLPG
 * @mmu: the VM's
 * @gva: any address in it, whatever the size that the guest mapped it with
 *
 * And all cached upper-level entries, whatever their address: Intel SDM vol 3
 * §4.10.4.1. A large page of the guest's is one upper-level entry here.
 */
void vmbox_mmu_flush_page(struct vmbox_mmu *mmu, mmu_gva_t gva)
{
	struct mmu_sp *sp;
	u32 idx;

	mmu_env_lock(mmu->env);
	list_for_each_entry(sp, &mmu->unsync, unsync)
		if (sp->role.level > 1)
			sync_sp(mmu, sp);
	for (sp = mmu->root; sp; sp = spte_child(sp, idx)) {
		idx = mmu_index(gva, sp->role.level);
		if (!sp->spt[idx])
			break;
		if (sp->is_unsync && sp->role.level == 1)
			sync_entry(mmu, sp, idx);
		if (sp->role.level == 1 || spte_is_leaf(sp, idx))
			break;
	}
	mmu_env_unlock(mmu->env);
}
