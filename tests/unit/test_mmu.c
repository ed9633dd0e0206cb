// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shadow MMU against a model. Random edits of guest page tables, accesses,
 * flushes, slot holes and host revocations; after each access the shadow tree
 * is compared with a reference walker written from the manual and with a model
 * TLB: what the last fault put in, and no flush has taken out.
 *
 * `test_mmu [STEPS [SEED]]`; the seed is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../kmod/mmu/mmu.h"
#include "../../kmod/mmu/format.h"

#define NR_GFNS	  64U /* guest-physical pages; some have no slot */
#define HOLE(gfn) ((gfn) >= 56)
#define TABLE_GFN 1U /* PML4 is page 1; tables are pages 1 to 8 */
#define NR_TABLES 8U

struct mmu_env {
	u64 mem[NR_GFNS][512];
	u64 host[NR_GFNS]; /* gfn -> host-physical page, changed by a revocation */
	unsigned long seq;
	u64 next_host;
	bool locked;
	long tables, pages; /* allocated and not freed */
	bool steal;	    /* revoke between get and map, once */
};

static struct mmu_env env;
static struct vmbox_mmu mmu;
static unsigned long step;
static unsigned int seed;

static void die(const char *what, u64 a, u64 b)
{
	printf("not ok: %s (%#llx, %#llx) at step %lu, seed %u\n", what, (unsigned long long)a,
	       (unsigned long long)b, step, seed);
	abort();
}

static u64 rnd(u64 n)
{
	return ((u64)random() << 31 ^ (u64)random()) % n;
}

/* ---- the environment ---- */

int mmu_env_gpte_read(struct mmu_env *e, mmu_gpa_t gpa, u64 *gpte)
{
	if (gpa.val / 4096 >= NR_GFNS || HOLE(gpa.val / 4096))
		return -ENOENT;
	*gpte = e->mem[gpa.val / 4096][gpa.val % 4096 / 8];
	return 0;
}

int mmu_env_gpte_cmpxchg(struct mmu_env *e, mmu_gpa_t gpa, u64 old, u64 new)
{
	u64 *p = &e->mem[gpa.val / 4096][gpa.val % 4096 / 8];

	if (*p != old)
		return -EAGAIN;
	*p = new;
	return 0;
}

int mmu_env_page_get(struct mmu_env *e, mmu_gpa_t gpa, struct mmu_page *page)
{
	if (gpa.val / 4096 >= NR_GFNS || HOLE(gpa.val / 4096))
		return -ENOENT;
	page->hpa = e->host[gpa.val / 4096];
	page->writable = true;
	page->seq = e->seq;
	e->pages++;
	if (e->steal) {
		e->steal = false;
		e->host[gpa.val / 4096] = e->next_host += 4096;
		e->seq++;
	}
	return 0;
}

void mmu_env_page_put(const struct mmu_page *page)
{
	(void)page;
	env.pages--;
}

bool mmu_env_page_stale(struct mmu_env *e, const struct mmu_page *page)
{
	if (!e->locked)
		die("stale check without the lock", 0, 0);
	return page->seq != e->seq;
}

void mmu_env_lock(struct mmu_env *e)
{
	if (e->locked)
		die("lock taken twice", 0, 0);
	e->locked = true;
}

void mmu_env_unlock(struct mmu_env *e)
{
	e->locked = false;
}

/* A table's "physical address" is its metadata's, so that freed ones are ASan's to catch. */
struct mmu_table *mmu_env_table_alloc(void)
{
	struct mmu_table *t = aligned_alloc(4096, 8192);

	memset(t, 0, 8192);
	t->entries = (u64 *)t + 512;
	t->hpa = (u64)t;
	env.tables++;
	return t;
}

void mmu_env_table_free(struct mmu_table *table)
{
	env.tables--;
	free(table);
}

struct mmu_table *mmu_env_table_from_hpa(u64 hpa)
{
	return (struct mmu_table *)hpa;
}

/* ---- the reference: AMD APM vol 2 §5.3 to §5.6, §8.4.2, read aloud ---- */

struct expected {
	enum mmu_status status;
	u32 pfec;
	u64 gpa;
	bool user, write, nx, global, dirty, large;
	u64 *path[4]; /* the guest entries used, root first */
	int depth;
};

static struct expected reference_walk(const struct mmu_regs *r, u64 gva, u32 access)
{
	struct expected e = { .user = true, .write = true };
	bool nxe = r->efer & (1 << 11), smep = r->cr4 & (1 << 20), smap = r->cr4 & (1 << 21);
	bool is_write = access & 2, is_user = access & 4, is_fetch = access & 16;
	u32 code = (access & 6) | (is_fetch && (nxe || smep) ? 16 : 0);
	u64 table = r->cr3 & 0xfffffff000, entry = 0;
	int level;

	for (level = 4; level >= 1; level--) {
		u64 index = gva >> (12 + 9 * (level - 1)) & 511;
		u64 addr = table + index * 8;
		bool large;

		if (addr >> 12 >= NR_GFNS || HOLE(addr >> 12)) {
			e.status = MMU_EXIT;
			e.gpa = addr;
			return e;
		}
		entry = env.mem[addr >> 12][addr % 4096 / 8];
		if (!(entry & 1)) {
			e.status = MMU_INJECT;
			e.pfec = code;
			return e;
		}
		large = level == 2 && (entry & 0x80);
		if ((entry & 0x000fff0000000000) || (!nxe && entry >> 63) ||
		    (level >= 3 && (entry & 0x80)) || (large && (entry & 0x1fe000))) {
			e.status = MMU_INJECT;
			e.pfec = code | 9;
			return e;
		}
		e.path[e.depth++] = &env.mem[addr >> 12][addr % 4096 / 8];
		e.user = e.user && (entry & 4);
		e.write = e.write && (entry & 2);
		e.nx = e.nx || entry >> 63;
		table = entry & 0xfffffff000;
		if (large) {
			e.large = true;
			e.gpa = (entry & 0xffffe00000) + (gva & 0x1fffff);
			break;
		}
		e.gpa = table + (gva & 0xfff);
	}
	if ((is_user && !e.user) || (is_fetch && e.nx) || (is_write && is_user && !e.write) ||
	    (is_write && !is_user && !e.write && (r->cr0 & (1 << 16))) ||
	    (!is_user && e.user && is_fetch && smep) ||
	    (!is_user && e.user && !is_fetch && smap &&
	     (r->cpl == 3 || !(r->rflags & (1 << 18))))) {
		e.status = MMU_INJECT;
		e.pfec = code | 1;
		return e;
	}
	e.global = (entry & 0x100) && (r->cr4 & 0x80);
	e.dirty = (entry & 0x40) || is_write;
	e.status = MMU_OK;
	return e;
}

/* ---- the model TLB, by page of a small set of addresses ---- */

static const u64 bases[] = { 0,
			     0x1f0000,
			     0x200000,
			     0x40000000,
			     0x7fffffe00000,
			     0xffff800000000000,
			     0xffffffff80000000,
			     0xfffffffffffe0000 };
#define NR_BASES (sizeof(bases) / sizeof(bases[0]))
#define PAGES	 16U

static struct model_entry {
	bool valid, user, write, nx, global, large;
	u64 gfn, hpa;
} model[NR_BASES][PAGES];

static u64 page_gva(u64 b, u64 p)
{
	return bases[b] + p * 4096;
}

static void model_flush(bool global_too)
{
	struct model_entry *m = &model[0][0];
	size_t i;

	for (i = 0; i < NR_BASES * PAGES; i++)
		if (global_too || !m[i].global)
			m[i].valid = false;
}

/* The shadow leaf of @gva, or 0. */
static u64 shadow_leaf(u64 gva)
{
	struct mmu_table *t = mmu.root;
	u64 spte;

	for (;;) {
		spte = t->entries[gva >> (12 + 9 * (t->level - 1)) & 511];
		if (!spte || t->level == 1)
			return spte;
		t = mmu_env_table_from_hpa(spte & PTE_ADDR);
	}
}

/* Every shadow leaf of the model's pages is what the model says; extra leaves are an error. */
static void compare_all(void)
{
	u64 b, p;

	for (b = 0; b < NR_BASES; b++) {
		for (p = 0; p < PAGES; p++) {
			const struct model_entry *m = &model[b][p];
			u64 spte = shadow_leaf(page_gva(b, p));

			if (!spte)
				continue; /* a TLB may forget */
			if (!m->valid)
				die("shadow entry after a flush", page_gva(b, p), spte);
			if ((spte & PTE_ADDR) != m->hpa)
				die("wrong page", page_gva(b, p), spte);
			if (((spte & PTE_W) && !m->write) || ((spte & PTE_U) && !m->user) ||
			    (!(spte & PTE_NX) && m->nx))
				die("too many rights", page_gva(b, p), spte);
			if (spte & ~(PTE_ADDR | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_NX |
				     SPTE_GLOBAL))
				die("unexpected bits", page_gva(b, p), spte);
		}
	}
}

static u32 count_tables(const struct mmu_table *t)
{
	u32 n = 1, i;

	for (i = 0; t->level > 1 && i < 512; i++)
		if (t->entries[i])
			n += count_tables(mmu_env_table_from_hpa(t->entries[i] & PTE_ADDR));
	return n;
}

/* ---- steps ---- */

static bool shadow_allows(u64 spte, const struct mmu_regs *r, u32 access)
{
	bool user_page = spte & PTE_U;

	if (!spte || ((access & PFEC_WRITE) && !(spte & PTE_W)) ||
	    ((access & PFEC_FETCH) && (spte & PTE_NX)))
		return false;
	if (access & PFEC_USER)
		return user_page;
	if (!user_page)
		return true;
	if (access & PFEC_FETCH)
		return !(r->cr4 & (1 << 20));
	return !(r->cr4 & (1 << 21)) || (r->cpl != 3 && (r->rflags & (1 << 18)));
}

static void check_accessed_dirty(const struct expected *e, u32 access)
{
	int i;

	for (i = 0; i < e->depth; i++)
		if (!(*e->path[i] & 0x20))
			die("accessed bit not set", i, *e->path[i]);
	if ((access & PFEC_WRITE) && !(*e->path[e->depth - 1] & 0x40))
		die("dirty bit not set", access, *e->path[e->depth - 1]);
}

static void do_access(const struct mmu_regs *regs)
{
	static const u32 kinds[] = { 0, PFEC_WRITE, PFEC_FETCH };
	u64 b = rnd(NR_BASES), p = rnd(PAGES), gva = page_gva(b, p) + rnd(4096);
	struct model_entry *m = &model[b][p];
	struct mmu_regs r = *regs;
	struct expected want;
	enum mmu_status got;
	struct mmu_walk walk;
	u32 access = kinds[rnd(3)];

	r.cpl = rnd(2) ? 3 : 0;
	r.rflags = rnd(2) << 18;
	if (r.cpl == 3 && rnd(8))
		access |= PFEC_USER;
	if (shadow_allows(shadow_leaf(gva), &r, access))
		return; /* no fault; compare_all() judges the entry */

	want = reference_walk(&r, gva, access);
	env.steal = !rnd(16);
	got = vmbox_mmu_fault(&mmu, &r, (mmu_gva_t){ gva }, access, &walk);
	if (want.status == MMU_OK && (want.gpa >> 12 >= NR_GFNS || HOLE(want.gpa >> 12)))
		want.status = MMU_EXIT;
	if (got != want.status)
		die("status", got, want.status);
	if (got == MMU_INJECT && walk.pfec != want.pfec)
		die("error code", walk.pfec, want.pfec);
	if (got == MMU_EXIT && walk.gpa.val != want.gpa)
		die("address of the exit", walk.gpa.val, want.gpa);
	if (got != MMU_OK)
		return;
	check_accessed_dirty(&want, access);

	if (shadow_leaf(gva) && shadow_allows(shadow_leaf(gva), &r, access)) {
		bool wp_off = (access & PFEC_WRITE) && !want.write;

		*m = (struct model_entry){ .valid = true,
					   .user = want.user && !wp_off,
					   .write = (want.write && want.dirty) || wp_off,
					   .nx = want.nx,
					   .global = want.global,
					   .large = want.large,
					   .gfn = want.gpa >> 12,
					   .hpa = env.host[want.gpa >> 12] };
	} else if (env.steal) {
		die("the fault did not fix the access", gva, access);
	}
}

static void do_edit(void)
{
	static const u64 flags[] = { PTE_W, PTE_U, PTE_A, PTE_D, PTE_G, PTE_NX };
	u64 t = rnd(NR_TABLES), b = rnd(NR_BASES), level = 1 + rnd(4), gfn, entry, i;
	u64 index = page_gva(b, rnd(PAGES)) >> (12 + 9 * (level - 1)) & 511;

	/* tables 1: PML4, 2-3: PDPT, 4-5: PD, 6-8: PT; now and then any page */
	static const u64 next[] = { 2, 4, 4, 6, 6 };
	gfn = t < 5 ? next[t] + rnd(t < 3 ? 2 : 3) : rnd(NR_GFNS);
	if (!rnd(64))
		gfn = rnd(NR_GFNS + 4);
	entry = gfn << 12 | (rnd(16) ? PTE_P : 0);
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (rnd(4) < (flags[i] == PTE_NX ? 1 : 3))
			entry |= flags[i];
	if (!rnd(64))
		entry |= 1ULL << rnd(64);
	if ((t == 3 || t == 4) && !rnd(4))
		entry = (entry & ~0x1fe000ULL & ~(gfn << 12)) | PTE_PS;
	env.mem[TABLE_GFN + t][index] = entry;
}

static void do_flush(struct mmu_regs *r)
{
	u64 b = rnd(NR_BASES), p = rnd(PAGES);

	switch (rnd(8)) {
	case 0:
		r->cr4 ^= rnd(2) ? 1 << 7 : 1 << (20 + rnd(2));
		vmbox_mmu_flush_all(&mmu);
		model_flush(true);
		break;
	case 1:
		if (rnd(2))
			r->cr0 ^= 1 << 16;
		else
			r->efer ^= 1 << 11;
		vmbox_mmu_flush_all(&mmu);
		model_flush(true);
		break;
	case 2:
	case 3:
		vmbox_mmu_flush_local(&mmu);
		model_flush(false);
		break;
	default:
		vmbox_mmu_flush_page(&mmu, (mmu_gva_t){ page_gva(b, p) + rnd(4096) });
		if (model[b][p].valid && model[b][p].large) {
			u64 b2, p2;

			for (b2 = 0; b2 < NR_BASES; b2++)
				for (p2 = 0; p2 < PAGES; p2++)
					if (page_gva(b2, p2) >> 21 == page_gva(b, p) >> 21 &&
					    model[b2][p2].large)
						model[b2][p2].valid = false;
		}
		model[b][p].valid = false;
	}
}

/* The host takes a page away, as the notifier does. */
static void do_revoke(void)
{
	struct mmu_table *freed = NULL;
	u64 gfn = rnd(NR_GFNS);

	mmu_env_lock(&env);
	env.seq++;
	vmbox_mmu_detach_all(&mmu, &freed);
	mmu_env_unlock(&env);
	vmbox_mmu_free_list(freed);
	env.host[gfn] = env.next_host += 4096;
	model_flush(true);
}

int main(int argc, char **argv)
{
	unsigned long steps = argc > 1 ? strtoul(argv[1], NULL, 0) : 2000000;
	struct mmu_regs regs = {
		.cr0 = 0x80010001, .cr3 = TABLE_GFN << 12, .cr4 = 0xa0, .efer = 0xd00
	};
	u32 i;

	seed = argc > 2 ? strtoul(argv[2], NULL, 0) : (unsigned int)time(NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	printf("test_mmu: %lu steps, seed %u\n", steps, seed);
	srandom(seed);
	for (i = 0; i < NR_GFNS; i++)
		env.host[i] = env.next_host += 4096;
	if (vmbox_mmu_init(&mmu, &env))
		die("init", 0, 0);
	mmu.max_tables = 40; /* so that the quota is met often */
	for (i = 0; i < 400; i++)
		do_edit();

	for (step = 0; step < steps; step++) {
		switch (rnd(32)) {
		case 0:
		case 1:
		case 2:
			do_edit();
			break;
		case 3:
		case 4:
			do_flush(&regs);
			break;
		case 5:
			if (!rnd(8))
				do_revoke();
			break;
		default:
			do_access(&regs);
		}
		if (step % 16)
			continue;
		compare_all();
		if (count_tables(mmu.root) != mmu.nr_tables || mmu.nr_tables > mmu.max_tables)
			die("count of tables", count_tables(mmu.root), mmu.nr_tables);
		if (env.locked || env.pages)
			die("left behind: lock, pages", env.locked, env.pages);
	}
	vmbox_mmu_fini(&mmu);
	if (env.tables)
		die("tables leaked", env.tables, 0);
	puts("ok");
	return 0;
}
