// SPDX-License-Identifier: GPL-2.0-only
/*
 * Turns a page fault that left the guest into one of three outcomes: resume,
 * inject, exit. Owns no state.
 *
 * Why no guest can livelock it. A fault either gives the guest what a real CPU
 * would give it, or adds an entry, or a right, that allows the access. What
 * could take one away again before the instruction has completed:
 *
 *  - Protecting a table: happens at flushes by the guest only, which are
 *    instructions that complete. A write to a protected table makes it unsync
 *    and leaves it so. So a table that is also code, stack, IDT or TSS, of
 *    itself even, or maps itself at any level; a write that crosses into a
 *    table; XCHG and CMPXCHG on an entry: each needs one such fault for each
 *    table that it writes.
 *  - Comparing unsync tables, when a shadow page becomes reachable by a new path:
 *    drops what differs from the guest's tables. What the fault path adds does
 *    not differ, until the guest writes a table, which is its next instruction.
 *  - INVLPG of the page being used: is an instruction that completes.
 *  - Reclaim: takes the least recently used, and VMBOX_MMU_MIN_PAGES is more than
 *    the shadow pages that one instruction can use: at most 14 pages (code 2,
 *    two operands 4, stack 2, IDT 2, GDT 2, TSS 2), 4 levels each.
 *  - Too many entries of one gfn: all are dropped, then there is room for more than
 *    an instruction can use.
 *  - CR0.WP = 0: an entry cannot be both what the supervisor may write and what
 *    user mode may read (see leaf_spte()). An instruction of user mode that reads a
 *    read-only page in which the CPU must, for it, set the accessed bit of a
 *    descriptor, makes no progress: such a guest stands still, by itself. Each
 *    retry is an exit that takes signals.
 *  - The host, by revoking pages. It is the host's to decide.
 */
#include "sp.h"

/* What a shadow page made under @regs depends on, but for what is particular to it. */
static union mmu_role role_of(const struct mmu_regs *regs)
{
	union mmu_role role = { .word = 0 };

	role.mode = vmbox_mmu_mode(regs);
	if (role.mode == MMU_OFF)
		return role;
	role.pse = role.mode == MMU_32 && (regs->cr4 & CR4_PSE);
	role.nxe = !!(regs->efer & EFER_NXE);
	role.wp = !!(regs->cr0 & CR0_WP);
	role.smep = !!(regs->cr4 & CR4_SMEP);
	role.smap = !!(regs->cr4 & CR4_SMAP);
	return role;
}

/* The shadow page that @regs want for a root: its gfn and role. */
u64 vmbox_root_key(const struct mmu_regs *regs, union mmu_role *role)
{
	*role = role_of(regs);
	role->rights = MMU_RIGHT_ALL;
	role->level = role->mode == MMU_64 ? 4 : 3;
	role->is_table = role->mode == MMU_64;
	role->dirty = role->mode == MMU_OFF;
	return role->mode == MMU_OFF ? 0 : (regs->cr3 & GPA_MASK) >> 12;
}

/* PAE's level 3 is in registers, and may be another than when the root was used last. */
static void sync_pdptes(struct vmbox_mmu *mmu, struct mmu_sp *root, const struct mmu_regs *regs)
{
	u32 i;

	for_each_present(root, i)
		if (root->record[i] != regs->pdpte[i])
			vmbox_spte_drop(mmu, root, i);
}

/**
 * vmbox_mmu_load - have a root for @regs, where mmu->root is NULL
 * @mmu: the VM's
 * @regs: the guest's paging registers
 *
 * -ENOMEM when the host has no page to give.
 */
int vmbox_mmu_load(struct vmbox_mmu *mmu, const struct mmu_regs *regs)
{
	union mmu_role role;
	u64 gfn = vmbox_root_key(regs, &role);
	struct mmu_sp *root;
	int err;

	mmu_env_lock(mmu->env);
	root = vmbox_sp_find(mmu, gfn, role);
	if (!root) {
		mmu_env_unlock(mmu->env);
		err = vmbox_sp_prepare(mmu, 1, role.level == 3);
		if (err)
			return err;
		mmu_env_lock(mmu->env);
		if (mmu->nr_pages == mmu->max_pages)
			vmbox_mmu_reclaim(mmu, 1);
		root = vmbox_sp_make(mmu, gfn, role);
	}
	if (role.mode == MMU_PAE)
		sync_pdptes(mmu, root, regs);
	list_move(&root->lru, &mmu->lru);
	WRITE_ONCE(mmu->root, root);
	WRITE_ONCE(mmu->flush_owed, true);
	mmu_env_unlock(mmu->env);
	return 0;
}

/* A guest entry that would say what a range is mapped with. */
static u64 range_record(const struct mmu_walk *walk, u64 gfn)
{
	u8 rights = walk->rights[walk->level];

	return gfn << 12 | PTE_P | PTE_A | (walk->dirty ? PTE_D : 0) |
	       (rights & MMU_RIGHT_W ? PTE_W : 0) | (rights & MMU_RIGHT_U ? PTE_U : 0) |
	       (rights & MMU_RIGHT_X ? 0 : PTE_NX);
}

/* The shadow page below entry @idx of @sp on the way to @gva; found or made, and linked. */
static struct mmu_sp *descend(struct vmbox_mmu *mmu, const struct mmu_regs *regs, struct mmu_sp *sp,
			      u32 idx, mmu_gva_t gva, const struct mmu_walk *walk)
{
	u8 level = sp->role.level;
	union mmu_role role = role_of(regs);
	struct mmu_sp *child;
	u64 gfn, record;

	role.level = level - 1;
	if (level > walk->level) {
		role.is_table = true;
		role.rights = walk->rights[level];
		if (role.mode == MMU_32)
			role.quadrant = gva.val >> (level == 3 ? 30 : 21) & (level == 3 ? 3 : 1);
		gfn = (walk->gpte[level] & PTE_ADDR) >> 12;
	} else {
		role.rights = walk->rights[walk->level];
		role.dirty = walk->dirty;
		gfn = walk->gpa.val >> 12 & ~(mmu_level_pages(level) - 1);
	}
	record = level >= walk->level ? walk->gpte[level] : range_record(walk, gfn);

	if (sp->spt[idx]) {
		child = spte_is_leaf(sp, idx) ? NULL : spte_child(sp, idx);
		if (child && child->gfn == gfn && child->role.word == role.word) {
			sp->record[idx] = record;
			return child;
		}
		vmbox_spte_drop(mmu, sp, idx);
	}
	child = vmbox_sp_find(mmu, gfn, role);
	if (child) /* it gets reachable by a new path, which the guest need not flush */
		vmbox_sync_all(mmu);
	else
		child = vmbox_sp_make(mmu, gfn, role);
	vmbox_spte_set(mmu, sp, idx,
		       child->hpa | (level == 3 && role.mode != MMU_64 ? SPTE_PDPTE : SPTE_TABLE),
		       record);
	return child;
}

/*
 * The rights of a leaf. A supervisor's write to a read-only page with CR0.WP = 0: hardware
 * runs with WP = 1, so the entry must be writable, and then user mode must not reach it: its
 * own accesses fault and replace the entry. SMEP would not see a user page any more.
 */
static u64 leaf_rights(const struct mmu_regs *regs, const struct mmu_walk *walk, bool is_write)
{
	u8 r = walk->rights[walk->level];
	bool user = r & MMU_RIGHT_U, exec = r & MMU_RIGHT_X;

	if (is_write && !(r & MMU_RIGHT_W))
		return PTE_W | (!exec || (user && (regs->cr4 & CR4_SMEP)) ? PTE_NX : 0);
	return ((r & MMU_RIGHT_W) && walk->dirty ? PTE_W : 0) | (user ? PTE_U : 0) |
	       (exec ? 0 : PTE_NX);
}

/* May the leaf be writable, now, for this access? Does what that takes. */
static bool may_write(struct vmbox_mmu *mmu, const struct mmu_slot *slot, u64 gfn, u8 level,
		      bool is_write)
{
	if (slot->is_readonly || (slot->dirty && !is_write))
		return false;
	if (level == 1 && vmbox_gfn_info(mmu, gfn)->is_protected) {
		if (!is_write)
			return false;
		vmbox_gfn_unsync(mmu, gfn);
	}
	vmbox_mmu_mark_dirty(mmu, gfn);
	return true;
}

/* Entry @idx of @sp, the last on the way: empty, or what is to be replaced. */
static void set_leaf(struct vmbox_mmu *mmu, const struct mmu_regs *regs, struct mmu_sp *sp, u32 idx,
		     u32 access, const struct mmu_walk *walk, const struct mmu_page *page)
{
	u8 level = sp->role.level;
	u64 gfn = walk->gpa.val >> 12 & ~(mmu_level_pages(level) - 1);
	u64 record = level == walk->level ? walk->gpte[level] : range_record(walk, gfn);
	u64 rights = leaf_rights(regs, walk, access & PFEC_WRITE);
	const struct mmu_slot *slot = vmbox_slot_find(mmu, gfn);
	u64 spte;

	if ((rights & PTE_W) &&
	    !(page->writable && may_write(mmu, slot, gfn, level, access & PFEC_WRITE)))
		rights &= ~PTE_W;
	spte = (page->hpa + (page->level == level ? 0 : walk->gpa.val & 0x1ff000)) | SPTE_LEAF |
	       rights;
	if (level == 2) {
		spte |= PTE_PS | (mmu->large_may_exec ? 0 : PTE_NX);
		mmu->stats[MMU_STAT_large_entries]++;
	}
	vmbox_spte_set(mmu, sp, idx, spte, record);
}

/* Is a write to what @walk found possible, by the guest's tables and by the slot? */
static bool wants_write(const struct mmu_slot *slot, const struct mmu_walk *walk)
{
	return walk->dirty && (walk->rights[walk->level] & MMU_RIGHT_W) && !slot->is_readonly &&
	       !slot->dirty;
}

/*
 * The empty entries around @idx of @sp, where the guest has used its own before and the
 * host has the page at hand: what a TLB may do too. @walk led to @idx.
 */
static void prefetch(struct vmbox_mmu *mmu, const struct mmu_regs *regs, struct mmu_sp *sp, u32 idx,
		     const struct mmu_walk *walk)
{
	struct mmu_walk beside = *walk;
	u32 i, first = idx & ~(VMBOX_MMU_PREFETCH - 1U);

	for (i = first; i < first + VMBOX_MMU_PREFETCH; i++) {
		const struct mmu_slot *slot;
		struct mmu_page page;
		u64 gpte, gfn;

		if (sp->spt[i])
			continue;
		if (!sp->role.is_table)
			beside.gpa.val = (sp->gfn + i) << 12;
		else if (!vmbox_sp_peek(mmu, sp, i, &gpte) ||
			 !vmbox_walk_beside(mmu, regs, gpte, &beside))
			continue;
		gfn = beside.gpa.val >> 12;
		slot = vmbox_slot_find(mmu, gfn);
		if (slot && vmbox_gfn_info(mmu, gfn)->nr_mapped < VMBOX_MMU_MAX_MAPPED &&
		    mmu_env_page_peek(mmu->env, slot->hva + ((gfn - slot->gfn) << 12),
				      wants_write(slot, &beside), &page))
			set_leaf(mmu, regs, sp, i, 0, &beside, &page);
	}
}

/* Lock held; page is not stale; there are spare shadow pages. */
static void map(struct vmbox_mmu *mmu, const struct mmu_regs *regs, mmu_gva_t gva, u32 access,
		const struct mmu_walk *walk, const struct mmu_page *page)
{
	u64 gfn = walk->gpa.val >> 12;
	u8 level = page->level;
	struct mmu_sp *sp;
	u32 idx;

	/* What was contiguous may have become a table, or logged, before the lock was taken. */
	if (level == 2 &&
	    (vmbox_slot_find(mmu, gfn)->dirty || vmbox_large_info(mmu, gfn)->nr_protected))
		level = 1;
	if (mmu->nr_pages + MMU_LEVELS > mmu->max_pages)
		vmbox_mmu_reclaim(mmu, MMU_LEVELS);

	for (sp = mmu->root;; sp = descend(mmu, regs, sp, idx, gva, walk)) {
		list_move(&sp->lru, &mmu->lru);
		idx = mmu_index(gva, sp->role.level);
		if (level == 2 && sp->role.level == 2 && sp->spt[idx] && !spte_is_leaf(sp, idx))
			level = 1; /* once split, it stays so: no two accesses can take turns */
		if (sp->role.level == level)
			break;
	}
	if (level == 1 && vmbox_gfn_info(mmu, gfn)->nr_mapped >= VMBOX_MMU_MAX_MAPPED)
		vmbox_drop_chain(mmu, &vmbox_gfn_info(mmu, gfn)->rmap);
	set_leaf(mmu, regs, sp, idx, access, walk, page);
	mmu->stats[MMU_STAT_faults_fixed]++;
	if (level == 1)
		prefetch(mmu, regs, sp, idx, walk);
}

/* May the page around @walk's address be one 2 MiB entry? A guess, checked again in map(). */
static bool may_be_large(struct vmbox_mmu *mmu, enum mmu_mode mode, const struct mmu_slot *slot,
			 const struct mmu_walk *walk, u32 access)
{
	u64 first = walk->gpa.val >> 12 & ~511ULL;

	if (walk->level < 2 || slot->dirty || (slot->hva ^ slot->gfn << 12) & 0x1fffff)
		return false;
	if (mode == MMU_32 && walk->level == 2) /* 4 MiB: two entries, and an address of its own */
		return false;
	if ((access & PFEC_FETCH) && !mmu->large_may_exec)
		return false;
	return first >= slot->gfn && first + 512 <= slot->gfn + slot->npages &&
	       !vmbox_large_info(mmu, first)->nr_protected;
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
	enum mmu_page_want want = MMU_PAGE_READ;
	enum mmu_mode mode = vmbox_mmu_mode(regs);
	const struct mmu_slot *slot;
	enum mmu_status status;
	struct mmu_page page;

	if (mode != MMU_64)
		gva.val = (u32)gva.val;
	access &= PFEC_WRITE | PFEC_USER | PFEC_FETCH;
	status = vmbox_mmu_walk(mmu, regs, gva, access, walk);
	if (status == MMU_INJECT)
		mmu->stats[MMU_STAT_faults_injected]++;
	if (status != MMU_OK)
		return status;
	slot = vmbox_slot_find(mmu, walk->gpa.val >> 12);
	if (!slot || (slot->is_readonly && (access & PFEC_WRITE)))
		return MMU_EXIT;

	if (access & PFEC_WRITE)
		want = MMU_PAGE_WRITE;
	else if (wants_write(slot, walk))
		want = MMU_PAGE_MAYBE_WRITE;
	walk->error = vmbox_sp_prepare(mmu, MMU_LEVELS - 1, false);
	if (!walk->error)
		walk->error =
			mmu_env_page_get(mmu->env, slot->hva + (walk->gpa.val - (slot->gfn << 12)),
					 want, may_be_large(mmu, mode, slot, walk, access), &page);
	if (walk->error)
		return MMU_ERROR;

	mmu_env_lock(mmu->env);
	/* Otherwise the guest faults again: the host was quicker. */
	if (mmu->root && !mmu_env_page_stale(mmu->env, &page))
		map(mmu, regs, gva, access, walk, &page);
	mmu_env_unlock(mmu->env);
	mmu_env_page_put(mmu->env, &page);
	return MMU_OK;
}
