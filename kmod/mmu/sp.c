// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow pages and their entries. Owns every shadow page from allocation to
 * release, the hash, the LRU list, and the chains: a leaf is on the rmap of its
 * gfn, an entry that points to a shadow page is on that page's parents. The key
 * of a chain is taken from our own record of the guest's entry, so whatever the
 * guest writes, an entry leaves the chain that it was put on.
 *
 * A link names an entry: id of the shadow page << 9 | index; ids start at 1.
 */
#include "sp.h"

#define SPARE_PAGES 32 /* kept, of those that were dropped */

/* ---- chains ---- */

/* The entry that a link names. */
struct mmu_sp *vmbox_link_entry(struct vmbox_mmu *mmu, u32 link, u32 *idx)
{
	*idx = link % MMU_ENTRIES;
	return mmu->by_id[link / MMU_ENTRIES];
}

static struct mmu_link *link_of(struct vmbox_mmu *mmu, u32 link)
{
	return &mmu->by_id[link / MMU_ENTRIES]->links[link % MMU_ENTRIES];
}

/* The chain that a present entry belongs on. */
static u32 *chain_of(struct vmbox_mmu *mmu, const struct mmu_sp *sp, u32 idx)
{
	if (!spte_is_leaf(sp, idx))
		return &spte_child(sp, idx)->parents;
	if (sp->role.level == 1)
		return &vmbox_gfn_info(mmu, spte_gfn(sp, idx))->rmap;
	return &vmbox_large_info(mmu, spte_gfn(sp, idx))->rmap;
}

static void count_mapped(struct vmbox_mmu *mmu, const struct mmu_sp *sp, u32 idx, int n)
{
	if (sp->role.level == 1)
		vmbox_gfn_info(mmu, spte_gfn(sp, idx))->nr_mapped += n;
}

/* Drops every entry of a chain. */
void vmbox_drop_chain(struct vmbox_mmu *mmu, u32 *head)
{
	while (*head) {
		u32 idx;
		struct mmu_sp *sp = vmbox_link_entry(mmu, *head, &idx);

		vmbox_spte_drop(mmu, sp, idx);
	}
}

/* ---- entries: these three are all that writes one ---- */

/* Makes an entry; what was there is dropped first. */
void vmbox_spte_set(struct vmbox_mmu *mmu, struct mmu_sp *sp, u32 idx, u64 spte, u64 record)
{
	u32 link = sp->id * MMU_ENTRIES + idx;
	u32 *head;

	if (sp->spt[idx])
		vmbox_spte_drop(mmu, sp, idx);
	sp->record[idx] = record;
	sp->present[idx / 64] |= 1ULL << (idx % 64);
	WRITE_ONCE(sp->spt[idx], spte);

	head = chain_of(mmu, sp, idx);
	sp->links[idx] = (struct mmu_link){ .next = *head };
	if (*head)
		link_of(mmu, *head)->prev = link;
	*head = link;
	count_mapped(mmu, sp, idx, 1);
}

void vmbox_spte_drop(struct vmbox_mmu *mmu, struct mmu_sp *sp, u32 idx)
{
	struct mmu_link link = sp->links[idx];
	u32 *head = chain_of(mmu, sp, idx);

	if (link.next)
		link_of(mmu, link.next)->prev = link.prev;
	if (link.prev)
		link_of(mmu, link.prev)->next = link.next;
	else
		*head = link.next;
	count_mapped(mmu, sp, idx, -1);
	sp->present[idx / 64] &= ~(1ULL << (idx % 64));
	WRITE_ONCE(sp->spt[idx], 0);
	WRITE_ONCE(mmu->flush_owed, true);
	mmu->stats[MMU_STAT_entries_dropped]++;
}

/* Takes @bits of rights away from a leaf. */
void vmbox_spte_narrow(struct vmbox_mmu *mmu, struct mmu_sp *sp, u32 idx, u64 bits)
{
	WRITE_ONCE(sp->spt[idx], sp->spt[idx] & ~bits);
	WRITE_ONCE(mmu->flush_owed, true);
}

/* ---- shadow pages ---- */

struct mmu_sp *vmbox_sp_find(struct vmbox_mmu *mmu, u64 gfn, union mmu_role role)
{
	struct mmu_sp *sp;

	list_for_each_entry(sp, bucket_of(mmu, gfn), hash)
		if (sp->gfn == gfn && sp->role.word == role.word)
			return sp;
	return NULL;
}

/* An empty shadow page from the spare ones, of which there is one: vmbox_sp_prepare(). */
struct mmu_sp *vmbox_sp_make(struct vmbox_mmu *mmu, u64 gfn, union mmu_role role)
{
	struct mmu_sp *sp = list_first_entry(&mmu->spare, struct mmu_sp, hash);
	const struct mmu_gfn *info = vmbox_gfn_info(mmu, gfn);

	list_del(&sp->hash);
	mmu->nr_spare--;
	sp->gfn = gfn;
	sp->role = role;
	sp->parents = 0;
	sp->quiet = 0;
	sp->id = mmu->free_ids[--mmu->nr_free_ids];
	mmu->by_id[sp->id] = sp;
	list_add(&sp->hash, bucket_of(mmu, gfn));
	list_add(&sp->lru, &mmu->lru);
	mmu->nr_pages++;
	sp->is_unsync = role.is_table && !(info && info->is_protected);
	if (sp->is_unsync)
		list_add(&sp->unsync, &mmu->unsync);
	mmu->stats[MMU_STAT_pages_made]++;
	return sp;
}

/* Is any guest table at @gfn shadowed? */
static bool gfn_has_table(struct vmbox_mmu *mmu, u64 gfn)
{
	struct mmu_sp *sp;

	list_for_each_entry(sp, bucket_of(mmu, gfn), hash)
		if (sp->gfn == gfn && sp->role.is_table)
			return true;
	return false;
}

/* Takes @sp out of everything. It becomes garbage: the hardware may know it until the flush. */
void vmbox_sp_zap(struct vmbox_mmu *mmu, struct mmu_sp *sp)
{
	u32 idx;

	vmbox_drop_chain(mmu, &sp->parents);
	for_each_present(sp, idx)
		vmbox_spte_drop(mmu, sp, idx);
	if (mmu->root == sp)
		WRITE_ONCE(mmu->root, NULL);
	list_del(&sp->hash);
	list_del(&sp->lru);
	mmu->by_id[sp->id] = NULL;
	mmu->free_ids[mmu->nr_free_ids++] = sp->id;
	mmu->nr_pages--;
	if (sp->is_unsync) {
		list_del(&sp->unsync);
		sp->is_unsync = false;
	} else if (sp->role.is_table && !gfn_has_table(mmu, sp->gfn)) {
		vmbox_gfn_info(mmu, sp->gfn)->is_protected = false;
		vmbox_large_info(mmu, sp->gfn)->nr_protected--;
	}
	list_add(&sp->hash, &mmu->garbage);
	WRITE_ONCE(mmu->flush_owed, true);
	mmu->stats[MMU_STAT_pages_zapped]++;
}

/* Forgets everything, the root too. Lock held; vmbox_mmu_collect() is to follow. */
void vmbox_mmu_zap_all(struct vmbox_mmu *mmu)
{
	struct mmu_sp *sp, *next;

	list_for_each_entry_safe(sp, next, &mmu->lru, lru)
		vmbox_sp_zap(mmu, sp);
}

/* Drops up to @nr of the shadow pages that were not used for longest; likewise. How many. */
u32 vmbox_mmu_reclaim(struct vmbox_mmu *mmu, u32 nr)
{
	struct mmu_sp *sp, *next;
	u32 done = 0;

	list_for_each_entry_safe_reverse(sp, next, &mmu->lru, lru) {
		if (done == nr)
			break;
		vmbox_sp_zap(mmu, sp);
		done++;
	}
	mmu->stats[MMU_STAT_pages_recycled] += done;
	return done;
}

/* ---- memory ---- */

static void sp_free(struct mmu_sp *sp)
{
	if (sp->spt)
		mmu_env_page_free(sp->spt);
	if (sp->record)
		mmu_env_page_free(sp->record);
	if (sp->links)
		mmu_env_page_free(sp->links);
	mmu_env_free(sp);
}

static struct mmu_sp *sp_alloc(bool low)
{
	struct mmu_sp *sp = mmu_env_alloc(sizeof(*sp));

	if (!sp)
		return NULL;
	sp->spt = mmu_env_page_alloc(low);
	sp->record = mmu_env_page_alloc(false);
	sp->links = mmu_env_page_alloc(false);
	if (!sp->spt || !sp->record || !sp->links) {
		sp_free(sp);
		return NULL;
	}
	sp->hpa = mmu_env_page_hpa(sp->spt);
	mmu_env_page_set_owner(sp->spt, sp);
	return sp;
}

static void free_all(struct list_head *list)
{
	struct mmu_sp *sp, *next;

	list_for_each_entry_safe(sp, next, list, hash) {
		list_del(&sp->hash);
		sp_free(sp);
	}
}

/*
 * Ends every change that takes something away from a guest that may be running: returns when
 * no CPU can use it any more, and frees the shadow pages. Without the lock. The garbage is
 * taken before the kick, so what another thread has dropped since is not freed by us.
 */
void vmbox_mmu_collect(struct vmbox_mmu *mmu)
{
	LIST_HEAD(garbage);

	mmu_env_lock(mmu->env);
	list_splice_init(&mmu->garbage, &garbage);
	mmu_env_unlock(mmu->env);
	mmu_env_kick(mmu->env);
	free_all(&garbage);
}

/*
 * Has @nr spare shadow pages, the first of them below 4 GiB if @low. The vCPU's thread, out
 * of guest mode, without the lock. -ENOMEM when the host has no page to give.
 */
int vmbox_sp_prepare(struct vmbox_mmu *mmu, u32 nr, bool low)
{
	struct mmu_sp *sp, *next;

	mmu_env_lock(mmu->env);
	list_for_each_entry_safe(sp, next, &mmu->garbage, hash) {
		if (mmu->nr_spare == SPARE_PAGES)
			break;
		list_move(&sp->hash, &mmu->spare);
		mmu->nr_spare++;
	}
	mmu_env_unlock(mmu->env);
	vmbox_mmu_collect(mmu);

	while (mmu->nr_spare < nr || low) {
		sp = sp_alloc(low);
		if (!sp)
			return -ENOMEM;
		low = false;
		list_add(&sp->hash, &mmu->spare);
		mmu->nr_spare++;
	}
	return 0;
}

/* Makes an MMU without slots over @env, which must outlive it. @mmu is zeroed. */
int vmbox_mmu_init(struct vmbox_mmu *mmu, struct mmu_env *env)
{
	u32 i;

	mmu->env = env;
	mmu->max_pages = VMBOX_MMU_MAX_PAGES;
	for (i = 0; i < VMBOX_MMU_HASH; i++)
		INIT_LIST_HEAD(&mmu->hash[i]);
	INIT_LIST_HEAD(&mmu->lru);
	INIT_LIST_HEAD(&mmu->unsync);
	INIT_LIST_HEAD(&mmu->garbage);
	INIT_LIST_HEAD(&mmu->spare);
	for (i = 0; i < VMBOX_MMU_MAX_PAGES; i++)
		mmu->free_ids[i] = VMBOX_MMU_MAX_PAGES - i;
	mmu->nr_free_ids = VMBOX_MMU_MAX_PAGES;
	return 0;
}

/* Frees everything but the slots' arrays. No vCPU runs and no notifier comes any more. */
void vmbox_mmu_fini(struct vmbox_mmu *mmu)
{
	mmu_env_lock(mmu->env);
	vmbox_mmu_zap_all(mmu);
	mmu_env_unlock(mmu->env);
	vmbox_mmu_collect(mmu);
	free_all(&mmu->spare);
}
