// SPDX-License-Identifier: GPL-2.0-only
/*
 * Turns a page fault that left the guest into one of three outcomes: resume,
 * inject, exit. Owns no state.
 *
 * Why it ends: each call either gives the guest what a real CPU would give it
 * (a #PF), or adds an entry that allows the access; nothing here takes one
 * away, but the flush when max_tables is reached, which leaves room for far
 * more pages than one instruction can touch. Only the host can revoke the
 * entry before the guest retries, and each retry is an exit that takes signals.
 */
#include "shadow.h"

#define CR4_SMEP (1ULL << 20)

static enum mmu_status map_page(struct vmbox_mmu *mmu, const struct mmu_regs *regs, mmu_gva_t gva,
				u32 access, struct mmu_walk *walk, const struct mmu_page *page)
{
	struct mmu_table *freed = NULL;
	bool user = walk->user;
	bool write = walk->write && walk->dirty;
	bool nx = walk->nx;

	/*
	 * A supervisor write to a read-only page with CR0.WP = 0. Hardware runs with WP = 1, so
	 * the entry must be writable, and then user mode must not reach it: its own accesses
	 * fault and replace the entry. SMEP would not see the page as a user page any more.
	 */
	if ((access & PFEC_WRITE) && !walk->write) {
		nx |= walk->user && (regs->cr4 & CR4_SMEP);
		write = true;
		user = false;
	}

	mmu_env_lock(mmu->env);
	if (mmu_env_page_stale(mmu->env, page)) {
		mmu_env_unlock(mmu->env);
		return MMU_OK; /* the guest faults again */
	}
	if (mmu->nr_tables + MMU_LEVELS - 1 > mmu->max_tables)
		vmbox_mmu_detach_all(mmu, &freed);
	vmbox_shadow_map(mmu, gva, page->hpa, walk, user, write && page->writable, nx);
	mmu_env_unlock(mmu->env);
	vmbox_mmu_free_list(freed);
	return MMU_OK;
}

/**
 * vmbox_mmu_fault - handle a page fault of the guest
 * @mmu: the vCPU's MMU; its vCPU is out of guest mode
 * @regs: the guest's paging registers at the fault
 * @gva: the address that faulted
 * @access: the hardware's error code; only WRITE, USER and FETCH are believed
 * @walk: filled in as the returned status says
 */
enum mmu_status vmbox_mmu_fault(struct vmbox_mmu *mmu, const struct mmu_regs *regs, mmu_gva_t gva,
				u32 access, struct mmu_walk *walk)
{
	enum mmu_status status;
	struct mmu_page page;

	access &= PFEC_WRITE | PFEC_USER | PFEC_FETCH;
	status = vmbox_mmu_walk(mmu->env, regs, gva, access, walk);
	if (status != MMU_OK)
		return status;

	walk->error = vmbox_shadow_prepare(mmu);
	if (!walk->error)
		walk->error = mmu_env_page_get(mmu->env, walk->gpa, &page);
	if (walk->error)
		return walk->error == -ENOENT ? MMU_EXIT : MMU_ERROR;

	status = map_page(mmu, regs, gva, access, walk, &page);
	mmu_env_page_put(&page);
	return status;
}
