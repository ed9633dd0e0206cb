// SPDX-License-Identifier: GPL-2.0-only
/*
 * The audit of the shadow MMU finds what it is there to find: each invariant is
 * broken by hand in a state that was sound, and the audit names its number.
 * Each case runs in a child, as the state is past repair.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmu_world.h"

#define PML4  10
#define PDPT  12
#define PD    14
#define PT    17
#define DATA  40 /* gva 0 maps this gfn, the next page the next one */
#define LARGE 0x200000ULL
#define F     (PTE_P | PTE_W | PTE_A | PTE_D)

static struct mmu_regs regs = { .cr0 = 0x80010001, .cr3 = PML4 << 12, .cr4 = 0xa0, .efer = 0xd00 };

_Noreturn void world_die(const char *what, u64 a, u64 b)
{
	printf("not ok: %s (%#llx, %#llx)\n", what, (unsigned long long)a, (unsigned long long)b);
	abort();
}

static const char *audit(void)
{
	const char *bad;
	u64 detail;

	mmu_env_lock(&world);
	bad = vmbox_mmu_audit(&world.mmu, &regs, &detail);
	mmu_env_unlock(&world);
	return bad;
}

static void put(u64 gfn, u64 index, u64 e)
{
	memcpy(&world.mem[gfn][index * 8], &e, 8);
}

static void touch(u64 gva, u32 access)
{
	struct mmu_walk walk;

	if (!world.mmu.root && vmbox_mmu_load(&world.mmu, &regs))
		world_die("load", 0, 0);
	if (vmbox_mmu_fault(&world.mmu, &regs, (mmu_gva_t){ gva }, access, &walk) != MMU_OK)
		world_die("fault", gva, access);
}

/* A guest with small pages, a 2 MiB page that the host has in one piece, and one that it has not. */
static void populate(void)
{
	u64 i;

	world_init();
	put(PML4, 0, PDPT << 12 | F);
	put(PDPT, 0, PD << 12 | F);
	put(PD, 0, PT << 12 | F);
	put(PD, 1, 512 << 12 | F | PTE_PS);
	put(PD, 2, 1024 << 12 | F | PTE_PS);
	for (i = 0; i < 4; i++)
		put(PT, i, (DATA + i) << 12 | F);
	put(PT, 4, PT << 12 | F); /* the table itself */
	put(PT, 5, (DATA + 5) << 12 | PTE_P | PTE_A | PTE_NX);
	touch(0, PFEC_WRITE);
	touch(0x1000, PFEC_WRITE);
	touch(0x5000, 0);
	touch(LARGE, PFEC_WRITE);
	touch(2 * LARGE, PFEC_WRITE);
}

/* All tables become protected. */
static void settle(void)
{
	int i;

	for (i = 0; i <= VMBOX_MMU_QUIET; i++) {
		vmbox_mmu_flush(&world.mmu);
		if (vmbox_mmu_load(&world.mmu, &regs))
			world_die("load", 0, 0);
	}
}

static struct mmu_sp *sp_of(u64 gfn, u32 level)
{
	struct mmu_sp *sp;

	list_for_each_entry(sp, &world.mmu.lru, lru)
		if (sp->gfn == gfn && sp->role.level == level)
			return sp;
	world_die("no shadow page of gfn", gfn, level);
}

static struct mmu_sp *pt(void)
{
	return sp_of(PT, 1);
}

static void leaf_user(void)
{
	pt()->spt[0] |= PTE_U;
}
static void leaf_exec(void)
{
	pt()->spt[5] &= ~PTE_NX;
}
static void leaf_write(void)
{
	pt()->record[5] |= PTE_D;
	pt()->spt[5] |= PTE_W;
}
static void leaf_no_slot(void)
{
	world.mmu.slots[0].npages = 30;
}
static void record_not_accessed(void)
{
	pt()->record[0] &= ~PTE_A;
}
static void record_not_dirty(void)
{
	pt()->record[0] &= ~PTE_D;
}
static void link_not_accessed(void)
{
	sp_of(PD, 2)->record[0] &= ~PTE_A;
}
static void rmap_lost(void)
{
	world.mmu.slots[0].gfns[DATA].rmap = 0;
}
static void rmap_count(void)
{
	world.mmu.slots[0].gfns[DATA].nr_mapped++;
}
static void rmap_moved(void)
{
	struct mmu_gfn *gfns = world.mmu.slots[0].gfns;
	u32 link = gfns[DATA].rmap;

	gfns[DATA].rmap = gfns[DATA + 1].rmap;
	gfns[DATA + 1].rmap = link;
}
static void rmap_back(void)
{
	pt()->links[0].prev = 513;
}
static void large_rmap_lost(void)
{
	world.mmu.slots[1].large[0].rmap = 0;
}
static void parents_lost(void)
{
	pt()->parents = 0;
}
static void link_gfn(void)
{
	sp_of(PD, 2)->record[0] ^= 1 << 12;
}
static void link_role(void)
{
	sp_of(PD, 2)->record[0] &= ~PTE_W;
}
static void hash_lost(void)
{
	list_del(&pt()->hash);
}
static void hash_wrong(void)
{
	struct mmu_sp *sp = pt();

	list_del(&sp->hash);
	list_add(&sp->hash, bucket_of(&world.mmu, PT + 1));
}
static void protected_written(void)
{
	settle();
	touch(0x4000, 0); /* read-only, as the table is protected */
	pt()->spt[4] |= PTE_W;
}
static void protected_differs(void)
{
	settle();
	put(PT, 0, (DATA + 9) << 12 | F);
}
static void protected_no_table(void)
{
	world.mmu.slots[0].gfns[DATA].is_protected = true;
}
static void readonly_written(void)
{
	world.mmu.slots[1].is_readonly = true;
}
static void log_missed(void)
{
	static unsigned long bitmap[NR_SMALL / 64];

	world.mmu.slots[0].dirty = bitmap;
}
static void large_logged(void)
{
	static unsigned long bitmap[NR_LARGE / 64];

	memset(bitmap, 0xff, sizeof(bitmap));
	world.mmu.slots[1].dirty = bitmap;
}
static void large_protected(void)
{
	world.mmu.slots[1].large[0].nr_protected = 1;
}
static void wrong_state(void)
{
	pt()->is_unsync = false;
}
static void unsync_unlisted(void)
{
	list_del(&pt()->unsync);
}
static void protected_count(void)
{
	world.mmu.slots[0].large[0].nr_protected++;
}
static void link_dangling(void)
{
	struct mmu_sp *sp = sp_of(PD, 2);

	sp->spt[0] = SPTE_TABLE | 0x3fff000;
}
static void link_to_dropped(void)
{
	world.mmu.by_id[pt()->id] = NULL;
}
static void leaf_bits(void)
{
	pt()->spt[0] |= 1 << 9;
}
static void link_bits(void)
{
	sp_of(PD, 2)->spt[0] |= PTE_NX;
}
static void not_present_bits(void)
{
	pt()->spt[100] = 1 << 12;
}
static void bitmap_wrong(void)
{
	pt()->present[3] = 1;
}
static void page_revoked(void)
{
	world.host[DATA].hpa += 4096;
}
static void page_not_writable(void)
{
	world.host[DATA].writable = false;
}
static void large_page_revoked(void)
{
	world.host[NR_SMALL + 300].hpa += 4096;
}
static void count_wrong(void)
{
	world.mmu.nr_pages++;
}
static void quota_exceeded(void)
{
	world.mmu.max_pages = 2;
}
static void ids_lost(void)
{
	world.mmu.nr_free_ids--;
}
static void id_shared(void)
{
	list_first_entry(&world.mmu.lru, struct mmu_sp, lru)->id = pt()->id;
}
static void root_cr3(void)
{
	regs.cr3 += 4096;
}
static void root_role(void)
{
	regs.cr0 ^= 1 << 16;
}

static void root_pdpte(void)
{
	regs.efer &= ~0x400ULL;
	regs.pdpte[0] = PD << 12 | PTE_P;
	vmbox_mmu_flush(&world.mmu);
	touch(0, 0);
	if (audit())
		world_die("PAE", 0, 0);
	regs.pdpte[0] += 4096;
}

static const struct fault {
	const char *number;
	const char *name;
	void (*inject)(void);
} faults[] = {
#define FAULT(number, name)             \
	{                               \
		number ":", #name, name \
	}
	FAULT("1", leaf_user),		 FAULT("1", leaf_exec),
	FAULT("1", leaf_write),		 FAULT("1", leaf_no_slot),
	FAULT("2", record_not_accessed), FAULT("2", record_not_dirty),
	FAULT("2", link_not_accessed),	 FAULT("3", rmap_lost),
	FAULT("3", rmap_count),		 FAULT("3", rmap_moved),
	FAULT("3", rmap_back),		 FAULT("3", large_rmap_lost),
	FAULT("4", parents_lost),	 FAULT("4", link_gfn),
	FAULT("4", link_role),		 FAULT("5", hash_lost),
	FAULT("5", hash_wrong),		 FAULT("6", protected_written),
	FAULT("6", protected_differs),	 FAULT("6", protected_no_table),
	FAULT("6", readonly_written),	 FAULT("6", log_missed),
	FAULT("6", large_logged),	 FAULT("6", large_protected),
	FAULT("7", wrong_state),	 FAULT("7", unsync_unlisted),
	FAULT("7", protected_count),	 FAULT("8", link_dangling),
	FAULT("8", link_to_dropped),	 FAULT("9", leaf_bits),
	FAULT("9", link_bits),		 FAULT("9", not_present_bits),
	FAULT("9", bitmap_wrong),	 FAULT("10", page_revoked),
	FAULT("10", page_not_writable),	 FAULT("10", large_page_revoked),
	FAULT("11", count_wrong),	 FAULT("11", quota_exceeded),
	FAULT("11", ids_lost),		 FAULT("11", id_shared),
	FAULT("12", root_cr3),		 FAULT("12", root_role),
	FAULT("12", root_pdpte),
};

static bool finds(const struct fault *f)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		const char *bad;

		populate();
		bad = audit();
		if (bad)
			printf("not ok %s: before: %s\n", f->name, bad);
		f->inject();
		bad = audit();
		if (!bad || strncmp(bad, f->number, strlen(f->number)))
			printf("not ok %s: %s not found, but: %s\n", f->name, f->number,
			       bad ? bad : "nothing");
		else
			printf("ok %s: %s\n", f->name, bad);
		fflush(stdout);
		_exit(!bad || strncmp(bad, f->number, strlen(f->number)));
	}
	waitpid(child, &status, 0);
	if (!WIFEXITED(status))
		printf("not ok %s: it died by signal %d\n", f->name, WTERMSIG(status));
	return status == 0;
}

int main(void)
{
	size_t i, failed = 0;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		failed += !finds(&faults[i]);
	printf("%zu of %zu injected faults found\n", i - failed, i);
	return failed != 0;
}
