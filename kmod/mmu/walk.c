// SPDX-License-Identifier: GPL-2.0-only
/*
 * Walks the guest's page tables. Owns nothing. Trusts nothing that it reads:
 * each guest entry is read once, and the guest's memory may change under it.
 *
 * One loop serves every level; what differs per level is in a table. Paging
 * modes other than 4-level long mode are refused before a vCPU runs.
 */
#include "mmu.h"
#include "format.h"

#define CR0_WP	  (1ULL << 16)
#define CR4_PGE	  (1ULL << 7)
#define CR4_SMEP  (1ULL << 20)
#define CR4_SMAP  (1ULL << 21)
#define EFER_NXE  (1ULL << 11)
#define RFLAGS_AC (1ULL << 18)

struct level_format {
	u64 rsvd;	/* must be zero in a present entry */
	u64 rsvd_large; /* likewise with PS set */
	bool may_be_large;
};

/* 1 GiB pages are not offered (CPUID Fn8000_0001 EDX.Page1GB = 0): PS is reserved at level 3. */
static const struct level_format formats[MMU_LEVELS + 1] = {
	[4] = { .rsvd = GPTE_RSVD_ADDR | PTE_PS },
	[3] = { .rsvd = GPTE_RSVD_ADDR | PTE_PS },
	[2] = { .rsvd = GPTE_RSVD_ADDR,
		.rsvd_large = GPTE_RSVD_ADDR | 0x1fe000ULL,
		.may_be_large = true },
	[1] = { .rsvd = GPTE_RSVD_ADDR },
};

/* The entries that a walk used, root first, so that A and D can be set afterwards. */
struct trail {
	mmu_gpa_t gpa[MMU_LEVELS];
	u64 gpte[MMU_LEVELS];
	int depth;
};

static bool entry_is_reserved(u64 gpte, int level, const struct mmu_regs *regs)
{
	const struct level_format *f = &formats[level];
	u64 rsvd = f->may_be_large && (gpte & PTE_PS) ? f->rsvd_large : f->rsvd;

	if (!(regs->efer & EFER_NXE))
		rsvd |= PTE_NX;
	return gpte & rsvd;
}

/* Does the translation allow @access? AMD APM vol 2 §5.6, Intel SDM vol 3 §4.6.1. */
static bool access_allowed(const struct mmu_regs *regs, u32 access, const struct mmu_walk *w)
{
	if (access & PFEC_USER) {
		if (!w->user || ((access & PFEC_WRITE) && !w->write))
			return false;
		return !((access & PFEC_FETCH) && w->nx);
	}
	if (access & PFEC_FETCH)
		return !w->nx && !(w->user && (regs->cr4 & CR4_SMEP));
	if (w->user && (regs->cr4 & CR4_SMAP) &&
	    (regs->cpl == 3 || !(regs->rflags & RFLAGS_AC))) /* CPL 3: an implicit access */
		return false;
	return !(access & PFEC_WRITE) || w->write || !(regs->cr0 & CR0_WP);
}

/* The error code for a fault on @access; @why adds PRESENT and RSVD. */
static u32 fault_code(const struct mmu_regs *regs, u32 access, u32 why)
{
	u32 code = why | (access & (PFEC_WRITE | PFEC_USER));

	if ((access & PFEC_FETCH) && ((regs->efer & EFER_NXE) || (regs->cr4 & CR4_SMEP)))
		code |= PFEC_FETCH;
	return code;
}

static enum mmu_status inject(struct mmu_walk *w, u32 pfec)
{
	w->pfec = pfec;
	return MMU_INJECT;
}

/* Sets A on the trail, and D on its leaf for a write. -EAGAIN: an entry changed, walk again. */
static int set_accessed_dirty(struct mmu_env *env, const struct trail *trail, u32 access,
			      struct mmu_walk *w)
{
	int i, err;

	for (i = 0; i < trail->depth; i++) {
		bool leaf = i == trail->depth - 1;
		u64 want = trail->gpte[i] | PTE_A;

		if (leaf && (access & PFEC_WRITE))
			want |= PTE_D;
		if (want != trail->gpte[i]) {
			err = mmu_env_gpte_cmpxchg(env, trail->gpa[i], trail->gpte[i], want);
			if (err) {
				w->gpa = trail->gpa[i];
				return err;
			}
		}
		if (leaf)
			w->dirty = want & PTE_D;
	}
	return 0;
}

static enum mmu_status walk_once(struct mmu_env *env, const struct mmu_regs *regs, mmu_gva_t gva,
				 u32 access, struct mmu_walk *w, struct trail *trail)
{
	u64 gpte = regs->cr3;
	int level, err;

	memset(w, 0, sizeof(*w));
	w->user = true;
	w->write = true;
	trail->depth = 0;

	/* A non-canonical address is #GP or #SS in the CPU and never gets here from a fault. */
	if ((u64)((s64)(gva.val << 16) >> 16) != gva.val)
		return inject(w, fault_code(regs, access, 0));

	for (level = MMU_LEVELS;; level--) {
		mmu_gpa_t gpa = { (gpte & PTE_ADDR & GPA_MASK) + mmu_index(gva, level) * 8 };

		err = mmu_env_gpte_read(env, gpa, &gpte);
		if (err) {
			w->gpa = gpa;
			w->error = err;
			return err == -ENOENT ? MMU_EXIT : MMU_ERROR;
		}
		if (!(gpte & PTE_P))
			return inject(w, fault_code(regs, access, 0));
		if (entry_is_reserved(gpte, level, regs))
			return inject(w, fault_code(regs, access, PFEC_PRESENT | PFEC_RSVD));

		trail->gpa[trail->depth] = gpa;
		trail->gpte[trail->depth++] = gpte;
		w->user &= !!(gpte & PTE_U);
		w->write &= !!(gpte & PTE_W);
		w->nx |= !!(gpte & PTE_NX);
		if (level == 1 || (formats[level].may_be_large && (gpte & PTE_PS)))
			break;
	}

	if (!access_allowed(regs, access, w))
		return inject(w, fault_code(regs, access, PFEC_PRESENT));

	w->level = level;
	w->global = (gpte & PTE_G) && (regs->cr4 & CR4_PGE);
	w->gpa.val = (gpte & PTE_ADDR & GPA_MASK & ~(mmu_level_size(level) - 1)) |
		     (gva.val & (mmu_level_size(level) - 1));
	return MMU_OK;
}

/**
 * vmbox_mmu_walk - translate a guest-virtual address as the guest's CPU would
 * @env: the guest's memory
 * @regs: the guest's paging registers; long mode with paging is taken for granted
 * @gva: the address
 * @access: PFEC_WRITE, PFEC_USER, PFEC_FETCH: what kind of access
 * @walk: filled in as the returned status says
 *
 * Sets the accessed bits of the entries used, and the dirty bit for a write,
 * by compare-and-exchange. AMD APM vol 2 §5.3, §5.4, §8.4.2.
 */
enum mmu_status vmbox_mmu_walk(struct mmu_env *env, const struct mmu_regs *regs, mmu_gva_t gva,
			       u32 access, struct mmu_walk *walk)
{
	struct trail trail;
	enum mmu_status status;
	int i;

	for (i = 0; i < VMBOX_MMU_MAX_RESTARTS; i++) {
		status = walk_once(env, regs, gva, access, walk, &trail);
		if (status != MMU_OK)
			return status;
		walk->error = set_accessed_dirty(env, &trail, access, walk);
		if (walk->error != -EAGAIN)
			break;
	}
	return walk->error ? MMU_ERROR : MMU_OK;
}
