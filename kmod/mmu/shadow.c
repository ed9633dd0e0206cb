// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shadow tree: makes, finds and drops shadow entries. Owns every shadow
 * page table from allocation to release. All of it runs under the MMU lock of
 * env.h, but for allocation and release.
 *
 * Invariants:
 *  1. A present leaf names a page that the host has not revoked since.
 *  2. A leaf's rights are no wider than those of a guest walk made after the
 *     guest last flushed its address.
 *  3. A writable leaf's guest entry had its dirty bit set by then; every
 *     leaf's guest entries had their accessed bits set.
 *  4. has_local / has_global / has_large of a table are set if an entry under
 *     it is of that kind (they may stay set when none is any more).
 *  5. nr_tables is the number of tables in the tree and at most max_tables.
 *  6. A table that was in the tree is freed only after the vCPU left guest
 *     mode; each entry to it flushes the TLB.
 */
#include "shadow.h"

static u64 leaf_spte(u64 hpa, const struct mmu_walk *w, bool user, bool write, bool nx)
{
	return (hpa & PTE_ADDR) | PTE_P | PTE_A | PTE_D | (write ? PTE_W : 0) | (user ? PTE_U : 0) |
	       (nx ? PTE_NX : 0) | (w->global ? SPTE_GLOBAL : 0);
}

static void push(struct mmu_table **list, struct mmu_table *table)
{
	table->next = *list;
	*list = table;
}

/* Unlinks everything under @table, which itself stays; tables go to @freed. */
static void detach_children(struct vmbox_mmu *mmu, struct mmu_table *table,
			    struct mmu_table **freed)
{
	u32 i;

	if (table->level > 1) {
		for (i = 0; i < MMU_ENTRIES; i++) {
			struct mmu_table *child;

			if (!table->entries[i])
				continue;
			child = mmu_env_table_from_hpa(table->entries[i] & PTE_ADDR);
			detach_children(mmu, child, freed);
			push(freed, child);
			mmu->nr_tables--;
		}
	}
	memset(table->entries, 0, MMU_ENTRIES * sizeof(u64));
	table->has_local = table->has_global = table->has_large = false;
}

/* Drops every leaf under @table that is not guest-global. Returns whether any entry is left. */
static bool detach_local(struct vmbox_mmu *mmu, struct mmu_table *table, struct mmu_table **freed)
{
	bool left = false;
	u32 i;

	if (!table->has_local)
		return true;
	if (!table->has_global) {
		detach_children(mmu, table, freed);
		return false;
	}
	for (i = 0; i < MMU_ENTRIES; i++) {
		u64 spte = table->entries[i];
		struct mmu_table *child;

		if (!spte)
			continue;
		if (table->level == 1) {
			if (!(spte & SPTE_GLOBAL))
				WRITE_ONCE(table->entries[i], 0);
		} else {
			child = mmu_env_table_from_hpa(spte & PTE_ADDR);
			if (!detach_local(mmu, child, freed)) {
				WRITE_ONCE(table->entries[i], 0);
				push(freed, child);
				mmu->nr_tables--;
			}
		}
		left |= table->entries[i] != 0;
	}
	table->has_local = false;
	return left;
}

/**
 * vmbox_shadow_map - install the translation of one 4 KiB page
 * @mmu: locked; has MMU_LEVELS - 1 spare tables
 * @gva: any address in the page
 * @hpa: the host page, held by the caller until the lock is dropped
 * @walk: the walk that allowed the access
 * @user, @write, @nx: the rights of the entry
 */
void vmbox_shadow_map(struct vmbox_mmu *mmu, mmu_gva_t gva, u64 hpa, const struct mmu_walk *walk,
		      bool user, bool write, bool nx)
{
	struct mmu_table *table = mmu->root;

	for (;;) {
		u64 *slot = &table->entries[mmu_index(gva, table->level)];
		struct mmu_table *child;

		if (walk->global)
			table->has_global = true;
		else
			table->has_local = true;
		if (table->level == 1) {
			if (walk->level > 1)
				table->has_large = true;
			WRITE_ONCE(*slot, leaf_spte(hpa, walk, user, write, nx));
			return;
		}
		if (*slot) {
			table = mmu_env_table_from_hpa(*slot & PTE_ADDR);
			continue;
		}
		child = mmu->spare;
		mmu->spare = child->next;
		mmu->nr_spare--;
		mmu->nr_tables++;
		child->level = table->level - 1;
		child->next = NULL;
		WRITE_ONCE(*slot, child->hpa | SPTE_TABLE);
		table = child;
	}
}

/**
 * vmbox_shadow_prepare - have enough spare tables for one vmbox_shadow_map()
 *
 * Called without the lock. -ENOMEM when the host has no page to give.
 */
int vmbox_shadow_prepare(struct vmbox_mmu *mmu)
{
	while (mmu->nr_spare < MMU_LEVELS - 1) {
		struct mmu_table *table = mmu_env_table_alloc();

		if (!table)
			return -ENOMEM;
		push(&mmu->spare, table);
		mmu->nr_spare++;
	}
	return 0;
}

/* Empties the tree; the tables are on @freed, to be freed after the flush. MMU lock held. */
void vmbox_mmu_detach_all(struct vmbox_mmu *mmu, struct mmu_table **freed)
{
	detach_children(mmu, mmu->root, freed);
}

/* Releases what a detach returned. No vCPU of the VM may be in guest mode since then. */
void vmbox_mmu_free_list(struct mmu_table *freed)
{
	while (freed) {
		struct mmu_table *next = freed->next;

		mmu_env_table_free(freed);
		freed = next;
	}
}

/*
 * Guest flushes. They run in the vCPU's own thread, out of guest mode, and the
 * next entry flushes the TLB, so the tables can be freed at once.
 */

/* Everything, as a change of CR0, CR4 or EFER asks. AMD APM vol 2 §5.5.2. */
void vmbox_mmu_flush_all(struct vmbox_mmu *mmu)
{
	struct mmu_table *freed = NULL;

	mmu_env_lock(mmu->env);
	vmbox_mmu_detach_all(mmu, &freed);
	mmu_env_unlock(mmu->env);
	vmbox_mmu_free_list(freed);
}

/* Everything but global translations, as a load of CR3 asks. */
void vmbox_mmu_flush_local(struct vmbox_mmu *mmu)
{
	struct mmu_table *freed = NULL;

	mmu_env_lock(mmu->env);
	detach_local(mmu, mmu->root, &freed);
	mmu_env_unlock(mmu->env);
	vmbox_mmu_free_list(freed);
}

/*
 * One page, as INVLPG asks: of the size that the guest mapped it with. If any
 * entry of the 2 MiB came from a large page, they all go.
 */
void vmbox_mmu_flush_page(struct vmbox_mmu *mmu, mmu_gva_t gva)
{
	struct mmu_table *table = mmu->root;
	struct mmu_table *freed = NULL;

	mmu_env_lock(mmu->env);
	while (table->level > 1) {
		u64 spte = table->entries[mmu_index(gva, table->level)];

		if (!spte)
			goto out;
		table = mmu_env_table_from_hpa(spte & PTE_ADDR);
	}
	if (table->has_large)
		detach_children(mmu, table, &freed);
	else
		WRITE_ONCE(table->entries[mmu_index(gva, 1)], 0);
out:
	mmu_env_unlock(mmu->env);
}

/* Makes an empty tree over @env's guest memory, which must outlive it. */
int vmbox_mmu_init(struct vmbox_mmu *mmu, struct mmu_env *env)
{
	*mmu = (struct vmbox_mmu){ .env = env, .max_tables = VMBOX_MMU_MAX_TABLES };
	mmu->root = mmu_env_table_alloc();
	if (!mmu->root)
		return -ENOMEM;
	mmu->root->level = MMU_LEVELS;
	mmu->nr_tables = 1;
	return 0;
}

/* Frees everything. Accepts a zeroed mmu. No vCPU runs and no notifier comes any more. */
void vmbox_mmu_fini(struct vmbox_mmu *mmu)
{
	if (!mmu->root)
		return;
	vmbox_mmu_flush_all(mmu);
	vmbox_mmu_free_list(mmu->spare);
	mmu_env_table_free(mmu->root);
	*mmu = (struct vmbox_mmu){};
}
