// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks every invariant of the shadow state. Changes nothing. Lock held, the
 * vCPU out of guest mode.
 *
 *  1. A leaf maps the host page that its gfn has now, of a slot, and allows no
 *     more than the recorded guest entry, the higher levels and the host do.
 *     CR0.WP = 0 excepted: writable for the supervisor alone.
 *  2. The recorded guest entry of a present entry is present and accessed; that
 *     of a writable leaf is dirty.
 *  3. A leaf is on the rmap of its gfn, once, and nothing else is.
 *  4. An entry that is no leaf is on the parents of the shadow page it points
 *     to, once, and nothing else is; that page is of the next level, and its gfn
 *     and role are what the record makes them.
 *  5. There is one shadow page for a (gfn, role), in the right bucket, and all
 *     are on the LRU list.
 *  6. A protected gfn is mapped writable by nothing, and the records of its
 *     shadow pages are what the guest's table says. Likewise nothing is writable
 *     in a read-only slot, and in a logged one only what is in the log.
 *  7. A shadow page is on the unsync list if it stands for a guest table that is
 *     not protected; a 2 MiB region counts its protected gfns.
 *  8. No entry points to a shadow page that was dropped.
 *  9. An entry has no bits but those that it may have; one that is not present
 *     is 0. The bitmap of present entries is right.
 * 10. What the host has taken away is mapped by nothing.
 * 11. The number of shadow pages is the LRU list's length and within the bound;
 *     each has an id of its own, and the rest are free.
 * 12. The root is what the guest's registers ask for.
 *
 * A violation is a bug of the driver. It is reported by number; the VM is ended.
 */
#include "sp.h"

struct audit {
	struct vmbox_mmu *mmu;
	const struct mmu_regs *regs;
	u64 nr_leaves, nr_links;  /* found in tables */
	u64 nr_rmaps, nr_parents; /* found on chains */
	u64 detail;
};

#define FAIL_UNLESS(a, what, cond, text)      \
	do {                                  \
		if (!(cond)) {                \
			(a)->detail = (what); \
			return text;          \
		}                             \
	} while (0)

static u8 record_rights(u64 record)
{
	return (record & PTE_W ? MMU_RIGHT_W : 0) | (record & PTE_U ? MMU_RIGHT_U : 0) |
	       (record & PTE_NX ? 0 : MMU_RIGHT_X);
}

static bool is_pdpt(const struct mmu_sp *sp)
{
	return sp->role.level == 3 && sp->role.mode != MMU_64;
}

static const char *check_leaf(struct audit *a, const struct mmu_sp *sp, u32 idx)
{
	u64 spte = sp->spt[idx], record = sp->record[idx], gfn = spte_gfn(sp, idx), i;
	u64 hpa = spte & PTE_ADDR, npages = mmu_level_pages(sp->role.level);
	u64 allowed = PTE_ADDR | SPTE_LEAF | PTE_W | PTE_U | PTE_NX;
	const struct mmu_slot *slot = vmbox_slot_find(a->mmu, gfn);
	u8 rights = sp->role.rights & record_rights(record);
	bool writes = spte & PTE_W;

	FAIL_UNLESS(a, spte, !(spte & ~(allowed | (npages > 1 ? PTE_PS : 0))),
		    "9: a leaf has bits that it may not have");
	FAIL_UNLESS(a, gfn, slot && gfn + npages <= slot->gfn + slot->npages,
		    "1: a leaf's gfn is in no slot");
	FAIL_UNLESS(a, record, (record & PTE_P) && (record & PTE_A),
		    "2: the guest's entry of a leaf is not present and accessed");
	FAIL_UNLESS(a, record, !writes || (record & PTE_D),
		    "2: the guest's entry of a writable leaf is not dirty");
	FAIL_UNLESS(a, spte, !(spte & PTE_U) || (rights & MMU_RIGHT_U), "1: a leaf has U too many");
	FAIL_UNLESS(a, spte, (spte & PTE_NX) || (rights & MMU_RIGHT_X), "1: a leaf has X too many");
	FAIL_UNLESS(a, spte, !writes || (rights & MMU_RIGHT_W) || (!sp->role.wp && !(spte & PTE_U)),
		    "1: a leaf has W too many");
	FAIL_UNLESS(a, gfn, !writes || !slot->is_readonly, "6: W in a read-only slot");
	FAIL_UNLESS(a, gfn, npages == 1 || !slot->dirty, "6: 2 MiB at once in a logged slot");
	FAIL_UNLESS(a, gfn, npages == 1 || !vmbox_large_info(a->mmu, gfn)->nr_protected,
		    "6: 2 MiB at once that has a protected table");
	for (i = 0; i < npages; i++) {
		const struct mmu_gfn *info = vmbox_gfn_info(a->mmu, gfn + i);

		FAIL_UNLESS(a, gfn + i, !writes || !info->is_protected,
			    "6: a protected table is mapped writable");
		FAIL_UNLESS(a, gfn + i,
			    !writes || !slot->dirty || test_bit(gfn + i - slot->gfn, slot->dirty),
			    "6: a page is mapped writable and not in the dirty log");
		FAIL_UNLESS(a, gfn + i,
			    mmu_env_page_is_current(a->mmu->env,
						    slot->hva + ((gfn + i - slot->gfn) << 12),
						    hpa + (i << 12), writes),
			    "10: a leaf maps a page that the host has taken away");
	}
	a->nr_leaves++;
	return NULL;
}

/* The (gfn, role) that the record of a link makes. AMD APM vol 2 §5.2 to §5.4. */
static u64 expected_child(const struct mmu_sp *sp, u32 idx, union mmu_role *role)
{
	u64 record = sp->record[idx];
	bool large = sp->role.is_table && (record & PTE_PS) && sp->role.level < 4 &&
		     (sp->role.mode != MMU_32 || sp->role.pse);

	*role = sp->role;
	role->level = sp->role.level - 1;
	role->quadrant = 0;
	role->dirty = false;
	if (!is_pdpt(sp))
		role->rights &= record_rights(record);
	role->is_table = (sp->role.is_table && !large) || (is_pdpt(sp) && sp->role.mode != MMU_OFF);
	if (role->is_table) {
		if (sp->role.mode == MMU_32)
			role->quadrant = sp->role.level == 3 ? idx : idx & 1;
		return (record & PTE_ADDR) >> 12;
	}
	role->dirty = !!(record & PTE_D);
	if (large && sp->role.mode == MMU_32) /* PSE-36: 4 MiB, in two halves */
		return (record & 0xffc00000) >> 12 | (record & 0x1fe000) << 7 | (idx & 1) << 9;
	return spte_gfn(sp, idx);
}

static const char *check_link(struct audit *a, const struct mmu_sp *sp, u32 idx)
{
	u64 spte = sp->spt[idx], gfn;
	struct mmu_sp *child = spte_child(sp, idx);
	union mmu_role role;

	FAIL_UNLESS(a, spte,
		    ((spte | PTE_A) & ~PTE_ADDR) == (is_pdpt(sp) ? SPTE_PDPTE | PTE_A : SPTE_TABLE),
		    "9: a link has bits that it may not have");
	FAIL_UNLESS(a, spte,
		    child && child->id <= VMBOX_MMU_MAX_PAGES && a->mmu->by_id[child->id] == child,
		    "8: a link to a shadow page that was dropped");
	FAIL_UNLESS(a, sp->record[idx], sp->record[idx] & PTE_P,
		    "2: the guest's entry of a link is not present");
	FAIL_UNLESS(a, sp->record[idx], !sp->role.is_table || (sp->record[idx] & PTE_A),
		    "2: the guest's entry of a link is not accessed");
	gfn = expected_child(sp, idx, &role);
	FAIL_UNLESS(a, child->gfn, child->gfn == gfn, "4: a link to another gfn than recorded");
	FAIL_UNLESS(a, child->role.word, child->role.word == role.word,
		    "4: a link to another role than recorded");
	a->nr_links++;
	return NULL;
}

static const char *check_entries(struct audit *a, const struct mmu_sp *sp)
{
	u64 nr_present = 0, gpte;
	const char *bad;
	u32 idx;

	for (idx = 0; idx < MMU_ENTRIES; idx++)
		nr_present += sp->spt[idx] != 0;
	for_each_present(sp, idx) {
		FAIL_UNLESS(a, sp->spt[idx], (sp->spt[idx] & PTE_P) && nr_present--,
			    "9: an entry that is not present is counted");
		bad = spte_is_leaf(sp, idx) ? check_leaf(a, sp, idx) : check_link(a, sp, idx);
		if (bad)
			return bad;
		if (!sp->role.is_table || sp->is_unsync || !vmbox_sp_peek(a->mmu, sp, idx, &gpte))
			continue; /* a table that is swapped out cannot be looked at here */
		FAIL_UNLESS(a, sp->gfn,
			    !vmbox_record_differs(sp, idx, gpte) &&
				    !((sp->spt[idx] & PTE_W) && spte_is_leaf(sp, idx) &&
				      (sp->record[idx] & ~gpte & (PTE_W | PTE_D))),
			    "6: a protected table is not what was recorded");
	}
	FAIL_UNLESS(a, nr_present, !nr_present, "9: an entry that is not counted is not 0");
	return NULL;
}

/* Walks a chain. Its members are leaves that map @gfn, or links to @child. */
static const char *check_chain(struct audit *a, u32 link, u8 level, u64 gfn,
			       const struct mmu_sp *child, u64 *count)
{
	u32 prev = 0;

	for (*count = 0; link; (*count)++) {
		u32 idx = link % MMU_ENTRIES, id = link / MMU_ENTRIES;
		const struct mmu_sp *sp = id <= VMBOX_MMU_MAX_PAGES ? a->mmu->by_id[id] : NULL;
		const char *text = child ? "4: the parents of a shadow page are wrong"
					 : "3: the rmap of a gfn is wrong";

		FAIL_UNLESS(a, link, sp && sp->spt[idx] && sp->links[idx].prev == prev, text);
		FAIL_UNLESS(a, link, spte_is_leaf(sp, idx) == !child, text);
		if (child)
			FAIL_UNLESS(a, link, spte_child(sp, idx) == child, text);
		else
			FAIL_UNLESS(a, link, sp->role.level == level && spte_gfn(sp, idx) == gfn,
				    text);
		prev = link;
		link = sp->links[idx].next;
	}
	return NULL;
}

static bool has_table(struct audit *a, u64 gfn)
{
	struct mmu_sp *sp;

	list_for_each_entry(sp, bucket_of(a->mmu, gfn), hash)
		if (sp->gfn == gfn && sp->role.is_table)
			return true;
	return false;
}

static const char *check_slot(struct audit *a, const struct mmu_slot *slot)
{
	u64 gfn = slot->gfn, end = slot->gfn + slot->npages, count, nr_protected = 0;
	const char *bad;

	for (; gfn < end; gfn++) {
		const struct mmu_gfn *info = &slot->gfns[gfn - slot->gfn];
		const struct mmu_large *large = &slot->large[(gfn >> 9) - (slot->gfn >> 9)];

		count = 0;
		bad = info->rmap ? check_chain(a, info->rmap, 1, gfn, NULL, &count) : NULL;
		if (bad)
			return bad;
		FAIL_UNLESS(a, gfn, count == info->nr_mapped,
			    "3: a gfn's count of entries is wrong");
		a->nr_rmaps += count;
		FAIL_UNLESS(a, gfn, !info->is_protected || has_table(a, gfn),
			    "6: a protected gfn has no shadowed table");
		nr_protected += info->is_protected;
		if ((gfn & 511) != 511 && gfn + 1 < end)
			continue;
		FAIL_UNLESS(a, gfn, nr_protected == large->nr_protected,
			    "7: a region's count of protected tables is wrong");
		nr_protected = 0;
		bad = check_chain(a, large->rmap, 2, gfn & ~511ULL, NULL, &count);
		if (bad)
			return bad;
		a->nr_rmaps += count;
	}
	return NULL;
}

static const char *check_sp(struct audit *a, const struct mmu_sp *sp)
{
	const struct mmu_gfn *info = vmbox_gfn_info(a->mmu, sp->gfn);
	struct mmu_sp *other;
	u64 count, same = 0;
	const char *bad;

	FAIL_UNLESS(a, sp->id,
		    sp->id && sp->id <= VMBOX_MMU_MAX_PAGES && a->mmu->by_id[sp->id] == sp,
		    "11: a shadow page's id is not its own");
	list_for_each_entry(other, bucket_of(a->mmu, sp->gfn), hash)
		same += other == sp || (other->gfn == sp->gfn && other->role.word == sp->role.word);
	FAIL_UNLESS(a, sp->gfn, same == 1, "5: a (gfn, role) is not in its bucket once");
	FAIL_UNLESS(a, sp->gfn,
		    sp->is_unsync == (sp->role.is_table && !(info && info->is_protected)),
		    "7: a shadow page is in the wrong state");
	FAIL_UNLESS(a, sp->hpa, mmu_env_page_owner(sp->hpa) == sp, "8: a table is not its owner's");
	bad = check_chain(a, sp->parents, 0, 0, sp, &count);
	if (bad)
		return bad;
	a->nr_parents += count;
	return check_entries(a, sp);
}

static const char *check_lists(struct audit *a)
{
	struct vmbox_mmu *mmu = a->mmu;
	u64 nr_lru = 0, nr_unsync = 0, nr_listed = 0, nr_hashed = 0, i;
	struct mmu_sp *sp;

	list_for_each_entry(sp, &mmu->lru, lru) {
		nr_lru++;
		nr_unsync += sp->is_unsync;
	}
	list_for_each_entry(sp, &mmu->unsync, unsync) {
		FAIL_UNLESS(a, sp->gfn, sp->is_unsync, "7: the unsync list is wrong");
		nr_listed++;
	}
	for (i = 0; i < VMBOX_MMU_HASH; i++)
		list_for_each_entry(sp, &mmu->hash[i], hash)
			nr_hashed++;
	FAIL_UNLESS(a, nr_hashed, nr_hashed == nr_lru, "5: the hash is not the LRU list");
	FAIL_UNLESS(a, nr_listed, nr_listed == nr_unsync, "7: the unsync list is wrong");
	FAIL_UNLESS(a, nr_lru, nr_lru == mmu->nr_pages && nr_lru <= mmu->max_pages,
		    "11: the number of shadow pages is wrong");
	FAIL_UNLESS(a, mmu->nr_free_ids, mmu->nr_free_ids + nr_lru == VMBOX_MMU_MAX_PAGES,
		    "11: the number of ids is wrong");
	return NULL;
}

static const char *check_root(struct audit *a)
{
	const struct mmu_sp *root = a->mmu->root;
	union mmu_role role;
	u64 gfn;
	u32 i;

	if (!root)
		return NULL;
	gfn = vmbox_root_key(a->regs, &role);
	FAIL_UNLESS(a, root->gfn, root->gfn == gfn, "12: the root is of another CR3");
	FAIL_UNLESS(a, root->role.word, root->role.word == role.word,
		    "12: the root is of another role");
	FAIL_UNLESS(a, root->hpa, !is_pdpt(root) || root->hpa < 1ULL << 32,
		    "12: the root is out of CR3's reach");
	if (role.mode == MMU_PAE)
		for_each_present(root, i)
			FAIL_UNLESS(a, i, root->record[i] == a->regs->pdpte[i],
				    "12: the root is of other PDPTEs");
	return NULL;
}

/**
 * vmbox_mmu_audit - check all invariants
 * @mmu: its lock held
 * @regs: the guest's paging registers
 * @detail: set where one is violated: the gfn, entry or count that is wrong
 *
 * Returns NULL, or which invariant is violated and how.
 */
const char *vmbox_mmu_audit(struct vmbox_mmu *mmu, const struct mmu_regs *regs, u64 *detail)
{
	struct audit a = { .mmu = mmu, .regs = regs };
	struct mmu_sp *sp;
	const char *bad;
	u32 i;

	bad = check_lists(&a);
	list_for_each_entry(sp, &mmu->lru, lru)
		if (!bad)
			bad = check_sp(&a, sp);
	for (i = 0; i < VMBOX_MAX_SLOTS && !bad; i++)
		bad = check_slot(&a, &mmu->slots[i]);
	if (!bad && a.nr_leaves != a.nr_rmaps)
		bad = "3: a leaf is not on the rmap of its gfn";
	if (!bad && a.nr_links != a.nr_parents)
		bad = "4: a link is not on the parents of its shadow page";
	if (!bad)
		bad = check_root(&a);
	*detail = a.detail;
	return bad;
}
