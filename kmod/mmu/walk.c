// SPDX-License-Identifier: GPL-2.0-only
/*
 * Walks the guest's page tables, in every paging mode. Owns nothing. Trusts
 * nothing that it reads: each guest entry is read once, and the guest's memory
 * may change under it.
 *
 * One loop serves every mode and level; what differs is in a table.
 */
#include "sp.h"

static const struct mode_format {
	u8 top;	 /* level of the first table in memory */
	u8 bits; /* of the address that select an entry, at every level */
	u8 size; /* bytes of an entry */
} modes[] = {
	[MMU_32] = { .top = 2, .bits = 10, .size = 4 },
	[MMU_PAE] = { .top = 2, .bits = 9, .size = 8 }, /* level 3 is in registers */
	[MMU_64] = { .top = 4, .bits = 9, .size = 8 },
};

/* The paging mode that @regs select. AMD APM vol 2 §5.1. */
enum mmu_mode vmbox_mmu_mode(const struct mmu_regs *regs)
{
	if (!(regs->cr0 & CR0_PG))
		return MMU_OFF;
	if (!(regs->cr4 & CR4_PAE))
		return MMU_32;
	return regs->efer & MMU_EFER_LMA ? MMU_64 : MMU_PAE;
}

/* Does PS in an entry of @level make it a large page? */
static bool may_be_large(enum mmu_mode mode, int level, const struct mmu_regs *regs)
{
	if (mode == MMU_32)
		return level == 2 && (regs->cr4 & CR4_PSE);
	return level == 2 || (mode == MMU_64 && level == 3);
}

/* Bits that must be 0 in a present entry. @large: PS is set and counts. */
static u64 reserved_bits(const struct vmbox_mmu *mmu, enum mmu_mode mode, int level, bool large,
			 const struct mmu_regs *regs)
{
	u64 rsvd = GPTE_RSVD_ADDR;

	if (mode == MMU_32)
		return large ? 1ULL << 21 : 0; /* PSE-36 with 40 bits of address */
	if (mode == MMU_PAE)
		rsvd |= 0x7ff0000000000000ULL;
	if (!(regs->efer & EFER_NXE))
		rsvd |= PTE_NX;
	if (large)
		rsvd |= (mmu_level_size(level) - 1) & ~0x1fffULL; /* bit 12 is PAT */
	if (level == 4) /* AMD APM vol 2 §5.3.3; Intel ignores G */
		rsvd |= PTE_PS | (mmu->amd_format ? PTE_G : 0);
	return rsvd;
}

/* Reserved in a present PDPTE of PAE paging. AMD APM vol 2 §5.2.3, Intel SDM vol 3 §4.4.1. */
bool vmbox_mmu_pdpte_is_reserved(u64 pdpte)
{
	return (pdpte & PTE_P) && (pdpte & (~GPA_MASK | 0x1e6));
}

/* The guest-physical address in an entry. @large: see reserved_bits(). */
static u64 entry_gpa(enum mmu_mode mode, int level, bool large, u64 gpte)
{
	if (large && mode == MMU_32)
		return (gpte & 0xffc00000) | (gpte & 0x1fe000) << 19;
	if (large)
		return gpte & PTE_ADDR & ~(mmu_level_size(level) - 1);
	return gpte & PTE_ADDR;
}

/* What an entry allows by itself. NX where NXE is off was reserved. */
static u8 entry_rights(u64 gpte)
{
	return (gpte & PTE_NX ? 0 : MMU_RIGHT_X) | (gpte & PTE_W ? MMU_RIGHT_W : 0) |
	       (gpte & PTE_U ? MMU_RIGHT_U : 0);
}

/* Does the translation allow @access? AMD APM vol 2 §5.6, Intel SDM vol 3 §4.6.1. */
static bool access_allowed(const struct mmu_regs *regs, u32 access, u8 rights)
{
	bool user = rights & MMU_RIGHT_U;

	if (access & PFEC_USER) {
		if (!user || ((access & PFEC_WRITE) && !(rights & MMU_RIGHT_W)))
			return false;
		return !(access & PFEC_FETCH) || (rights & MMU_RIGHT_X);
	}
	if (access & PFEC_FETCH) {
		if (!(rights & MMU_RIGHT_X) || (user && (regs->cr4 & CR4_SMEP)))
			return false;
	} else if (user && (regs->cr4 & CR4_SMAP) &&
		   (regs->cpl == 3 || !(regs->rflags & RFLAGS_AC))) { /* CPL 3: implicit */
		return false;
	}
	return !(access & PFEC_WRITE) || (rights & MMU_RIGHT_W) || !(regs->cr0 & CR0_WP);
}

/* The error code for a fault on @access; @why adds PRESENT and RSVD. */
static u32 fault_code(const struct mmu_regs *regs, u32 access, u32 why)
{
	bool has_nx = (regs->efer & EFER_NXE) && (regs->cr4 & CR4_PAE);
	u32 code = why | (access & (PFEC_WRITE | PFEC_USER));

	if ((access & PFEC_FETCH) && (has_nx || (regs->cr4 & CR4_SMEP)))
		code |= PFEC_FETCH;
	return code;
}

static enum mmu_status inject(struct mmu_walk *w, u32 pfec)
{
	w->pfec = pfec;
	return MMU_INJECT;
}

/* Where a walk found its entries, so that A and D can be set afterwards. */
struct trail {
	u64 gpa[MMU_LEVELS + 1];
	u64 hva[MMU_LEVELS + 1];
	u8 top; /* entries of levels top to walk->level are in memory */
};

/* Sets A on the trail, and D on its leaf for a write. -EAGAIN: an entry changed, walk again. */
static int set_accessed_dirty(struct vmbox_mmu *mmu, const struct trail *trail, u32 size,
			      u32 access, struct mmu_walk *w)
{
	int level, err;

	for (level = trail->top; level >= w->level; level--) {
		u64 old = w->gpte[level], new = old | PTE_A;

		if (level == w->level && (access & PFEC_WRITE))
			new |= PTE_D;
		if (new == old)
			continue;
		if (vmbox_mmu_is_readonly(mmu, trail->gpa[level])) {
			w->gpa.val = trail->gpa[level];
			return -EROFS;
		}
		err = mmu_env_gpte_cmpxchg(mmu->env, trail->hva[level], size, old, new);
		if (err) {
			w->gpa.val = trail->gpa[level];
			return err;
		}
		vmbox_mmu_mark_dirty(mmu, trail->gpa[level] >> 12);
		w->gpte[level] = new;
	}
	w->dirty = w->gpte[w->level] & PTE_D;
	return 0;
}

/* What a walk starts from: the table's address, and PAE's level 3. False: not present. */
static bool walk_start(enum mmu_mode mode, const struct mmu_regs *regs, mmu_gva_t gva,
		       struct mmu_walk *w, u64 *table)
{
	w->rights[MMU_LEVELS] = MMU_RIGHT_ALL;
	w->rights[3] = MMU_RIGHT_ALL;
	switch (mode) {
	case MMU_64:
		*table = regs->cr3 & PTE_ADDR & GPA_MASK;
		return true;
	case MMU_PAE:
		w->gpte[3] = regs->pdpte[(gva.val >> 30) & 3];
		*table = w->gpte[3] & PTE_ADDR;
		return w->gpte[3] & PTE_P;
	default:
		w->gpte[3] = (regs->cr3 & 0xfffff000) | PTE_P; /* stands for CR3 */
		*table = regs->cr3 & 0xfffff000;
		return true;
	}
}

static enum mmu_status walk_once(struct vmbox_mmu *mmu, const struct mmu_regs *regs, mmu_gva_t gva,
				 u32 access, struct mmu_walk *w, struct trail *trail)
{
	enum mmu_mode mode = vmbox_mmu_mode(regs);
	const struct mode_format *f = &modes[mode];
	bool large = false;
	int level, err;
	u64 table;

	memset(w, 0, sizeof(*w));
	/* A non-canonical address is #GP or #SS in the CPU and never gets here from a fault. */
	if (mode == MMU_64 && (u64)((s64)(gva.val << 16) >> 16) != gva.val)
		return inject(w, fault_code(regs, access, 0));
	if (!walk_start(mode, regs, gva, w, &table))
		return inject(w, fault_code(regs, access, 0));
	trail->top = f->top;

	for (level = f->top;; level--) {
		u32 shift = 12 + f->bits * (level - 1);
		u64 gpa = table + ((gva.val >> shift) & ((1U << f->bits) - 1)) * f->size;
		u64 gpte;

		w->gpa.val = gpa;
		if (!vmbox_mmu_gpa_to_hva(mmu, gpa, &trail->hva[level]))
			return MMU_EXIT;
		err = mmu_env_gpte_read(mmu->env, trail->hva[level], f->size, &gpte);
		if (err) {
			w->error = err;
			return MMU_ERROR;
		}
		if (!(gpte & PTE_P))
			return inject(w, fault_code(regs, access, 0));
		large = (gpte & PTE_PS) && may_be_large(mode, level, regs);
		if (gpte & reserved_bits(mmu, mode, level, large, regs))
			return inject(w, fault_code(regs, access, PFEC_PRESENT | PFEC_RSVD));

		w->rights[level] = entry_rights(gpte);
		if (level < f->top)
			w->rights[level] &= w->rights[level + 1];
		trail->gpa[level] = gpa;
		w->gpte[level] = gpte;
		table = entry_gpa(mode, level, large, gpte);
		if (level == 1 || large) {
			w->level = level;
			w->gpa.val = table | (gva.val & ((1ULL << shift) - 1));
			break;
		}
	}
	if (!access_allowed(regs, access, w->rights[w->level]))
		return inject(w, fault_code(regs, access, PFEC_PRESENT));
	return MMU_OK;
}

/**
 * vmbox_walk_beside - translate by another entry of the last table
 * @mmu: the VM's
 * @regs: the guest's paging registers
 * @gpte: that entry
 * @walk: of a 4 KiB page; changed to be one of @gpte's first byte
 *
 * False: the guest would get a fault, or has not used the entry, and a CPU that holds a
 * translation has set A.
 */
bool vmbox_walk_beside(const struct vmbox_mmu *mmu, const struct mmu_regs *regs, u64 gpte,
		       struct mmu_walk *walk)
{
	enum mmu_mode mode = vmbox_mmu_mode(regs);

	if ((~gpte & (PTE_P | PTE_A)) || (gpte & reserved_bits(mmu, mode, 1, false, regs)))
		return false;
	walk->gpte[1] = gpte;
	walk->rights[1] = entry_rights(gpte) & walk->rights[2];
	walk->dirty = gpte & PTE_D;
	walk->gpa.val = entry_gpa(mode, 1, false, gpte);
	return true;
}

/**
 * vmbox_mmu_walk - translate a guest-virtual address as the guest's CPU would
 * @mmu: has the guest's memory
 * @regs: the guest's paging registers
 * @gva: the address; 32 bits of it count outside of long mode
 * @access: PFEC_WRITE, PFEC_USER, PFEC_FETCH: what kind of access
 * @walk: filled in as the returned status says
 *
 * Sets the accessed bits of the entries used, and the dirty bit for a write,
 * by compare-and-exchange, once the access is known to be allowed. AMD APM
 * vol 2 §5.2 to §5.4, §8.4.2.
 */
enum mmu_status vmbox_mmu_walk(struct vmbox_mmu *mmu, const struct mmu_regs *regs, mmu_gva_t gva,
			       u32 access, struct mmu_walk *walk)
{
	enum mmu_mode mode = vmbox_mmu_mode(regs);
	enum mmu_status status;
	struct trail trail;
	int i;

	if (mode != MMU_64)
		gva.val = (u32)gva.val;
	if (mode == MMU_OFF) { /* as if one page mapped it all */
		*walk = (struct mmu_walk){ .gpa = { gva.val }, .level = 4, .dirty = true };
		walk->rights[4] = MMU_RIGHT_ALL;
		return MMU_OK;
	}
	for (i = 0; i < VMBOX_MMU_MAX_RESTARTS; i++) {
		status = walk_once(mmu, regs, gva, access, walk, &trail);
		if (status != MMU_OK)
			return status;
		walk->error = set_accessed_dirty(mmu, &trail, modes[mode].size, access, walk);
		if (walk->error != -EAGAIN)
			break;
	}
	if (walk->error == -EROFS) /* like any write to read-only memory */
		return MMU_EXIT;
	return walk->error ? MMU_ERROR : MMU_OK;
}
