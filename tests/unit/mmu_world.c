// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>

#include "mmu_world.h"

struct mmu_env world;
static u64 rnd_state;

void world_seed(u64 seed)
{
	rnd_state = seed * 0x9e3779b97f4a7c15ULL + 1;
}

/* xorshift64*, public domain by Vigna. */
u64 world_rnd(u64 n)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return (rnd_state * 0x2545f4914f6cdd1dULL >> 16) % n;
}

int world_page(u64 hva)
{
	if (hva >= HVA_SMALL && hva < HVA_SMALL + NR_SMALL * 4096)
		return (hva - HVA_SMALL) / 4096;
	if (hva >= HVA_LARGE && hva < HVA_LARGE + NR_LARGE * 4096)
		return NR_SMALL + (hva - HVA_LARGE) / 4096;
	return -1;
}

const struct world_slot *world_slot_of(u64 gfn)
{
	int i;

	for (i = 0; i < VMBOX_MAX_SLOTS; i++)
		if (gfn >= world.slot[i].gfn && gfn < world.slot[i].gfn + world.slot[i].npages)
			return &world.slot[i];
	return NULL;
}

int world_page_of_gfn(u64 gfn)
{
	const struct world_slot *s = world_slot_of(gfn);

	return s ? world_page(s->hva + (gfn - s->gfn) * 4096) : -1;
}

void world_note_write(u64 gfn)
{
	const struct world_slot *s = world_slot_of(gfn);

	if (s->logged)
		world.dirty[s - world.slot][gfn - s->gfn] = true;
}

/* ---- env.h ---- */

static u8 *memory(u64 hva)
{
	int page = world_page(hva);

	return page < 0 ? NULL : &world.mem[page][hva % 4096];
}

int mmu_env_gpte_read(struct mmu_env *env, u64 hva, u32 size, u64 *gpte)
{
	u8 *p = memory(hva);

	(void)env;
	if (!p)
		return -EFAULT;
	*gpte = 0;
	memcpy(gpte, p, size);
	return 0;
}

int mmu_env_gpte_peek(struct mmu_env *env, u64 hva, u32 size, u64 *gpte)
{
	if (!env->locked)
		world_die("peek without the lock", hva, 0);
	return mmu_env_gpte_read(env, hva, size, gpte);
}

int mmu_env_gpte_cmpxchg(struct mmu_env *env, u64 hva, u32 size, u64 old, u64 new)
{
	u64 now;
	int i;

	mmu_env_gpte_read(env, hva, size, &now);
	if (now != old)
		return -EAGAIN;
	memcpy(memory(hva), &new, size);
	env->changes++;
	for (i = 0; i < VMBOX_MAX_SLOTS; i++)
		if (env->slot[i].npages && hva >= env->slot[i].hva &&
		    hva < env->slot[i].hva + env->slot[i].npages * 4096)
			world_note_write(env->slot[i].gfn + (hva - env->slot[i].hva) / 4096);
	return 0;
}

static u64 new_hpa(void)
{
	return world.next_hpa += 4096;
}

static void drop_range(u64 hva, u64 end)
{
	mmu_env_lock(&world);
	vmbox_mmu_unmap(&world.mmu, hva, end);
	world.seq++;
	mmu_env_unlock(&world);
	vmbox_mmu_collect(&world.mmu);
}

static u64 hva_of(u32 page)
{
	return page < NR_SMALL ? HVA_SMALL + page * 4096ULL
			       : HVA_LARGE + (page - NR_SMALL) * 4096ULL;
}

void world_unmap(u64 hva, u64 npages)
{
	drop_range(hva, hva + npages * 4096);
}

void world_renew(u32 page)
{
	drop_range(hva_of(page), hva_of(page) + 4096);
	world.host[page] = (struct world_page){ .hpa = new_hpa(), .writable = world_rnd(2) };
}

void world_make_large(u32 region)
{
	u32 first = NR_SMALL + region * 512, i;
	u64 hpa;

	drop_range(hva_of(first), hva_of(first) + 512 * 4096);
	hpa = (world.next_hpa + 0x3fffff) & ~0x1fffffULL;
	world.next_hpa = hpa + 0x200000;
	for (i = 0; i < 512; i++)
		world.host[first + i] =
			(struct world_page){ .hpa = hpa + i * 4096, .writable = true };
}

static bool is_large(u32 page, bool writable)
{
	u32 first = (page - NR_SMALL) / 512 * 512 + NR_SMALL, i;
	u64 hpa = world.host[first].hpa;

	if (page < NR_SMALL || hpa % 0x200000)
		return false;
	for (i = 0; i < 512; i++)
		if (world.host[first + i].hpa != hpa + i * 4096 ||
		    (writable && !world.host[first + i].writable))
			return false;
	return true;
}

int mmu_env_page_get(struct mmu_env *env, u64 hva, enum mmu_page_want want, bool may_be_large,
		     struct mmu_page *page)
{
	int i = world_page(hva);

	if (env->locked)
		world_die("a page is got under the lock", hva, 0);
	if (i < 0)
		return -EFAULT;
	page->seq = env->seq;
	if (want == MMU_PAGE_WRITE && !env->host[i].writable) {
		world_renew(i);
		env->host[i].writable = true;
		page->seq = env->seq;
	}
	page->writable = want != MMU_PAGE_READ && env->host[i].writable;
	page->level = may_be_large && is_large(i, page->writable) ? 2 : 1;
	page->hpa = env->host[i].hpa & (page->level == 2 ? ~0x1fffffULL : ~0ULL);
	env->pages_held++;
	if (env->steal == 2) {
		mmu_env_lock(env);
		vmbox_mmu_zap_all(&env->mmu);
		mmu_env_unlock(env);
		vmbox_mmu_collect(&env->mmu);
	} else if (env->steal) {
		world_renew(i);
	}
	return 0;
}

bool mmu_env_page_peek(struct mmu_env *env, u64 hva, bool want_write, struct mmu_page *page)
{
	int i = world_page(hva);

	if (!env->locked)
		world_die("a page is peeked at without the lock", hva, 0);
	if (i < 0)
		world_die("a page is peeked at outside of memory", hva, 0);
	*page = (struct mmu_page){ .hpa = env->host[i].hpa,
				   .level = 1,
				   .writable = want_write && env->host[i].writable };
	return world_rnd(8);
}

void mmu_env_page_put(struct mmu_env *env, const struct mmu_page *page)
{
	(void)page;
	env->pages_held--;
}

bool mmu_env_page_stale(struct mmu_env *env, const struct mmu_page *page)
{
	if (!env->locked)
		world_die("stale check without the lock", 0, 0);
	return page->seq != env->seq;
}

bool mmu_env_page_is_current(struct mmu_env *env, u64 hva, u64 hpa, bool writable)
{
	int i = world_page(hva);

	return i >= 0 && env->host[i].hpa == hpa && (!writable || env->host[i].writable);
}

void mmu_env_lock(struct mmu_env *env)
{
	if (env->locked)
		world_die("lock taken twice", 0, 0);
	env->locked = true;
}

void mmu_env_unlock(struct mmu_env *env)
{
	if (!env->locked)
		world_die("unlock without lock", 0, 0);
	env->locked = false;
}

void mmu_env_kick(struct mmu_env *env)
{
	if (env->locked)
		world_die("kick under the lock", 0, 0);
}

void *mmu_env_alloc(size_t size)
{
	if (world.no_memory)
		return NULL;
	world.allocated++;
	return calloc(1, size);
}

void mmu_env_free(void *p)
{
	world.allocated--;
	free(p);
}

/* Pages have invented physical addresses: a pointer that was freed is found out here or by ASan. */
#define NR_TABLES 16384U
#define HIGH	  (1ULL << 36)

static struct {
	void *page, *owner;
	bool high;
} tables[NR_TABLES];

static u32 table_number(const void *page)
{
	u32 i;

	memcpy(&i, (const u8 *)page + 4096, sizeof(i));
	return i;
}

void *mmu_env_page_alloc(bool low)
{
	static u32 last;
	u8 *p;

	if (world.no_memory)
		return NULL;
	do
		last = (last + 1) % NR_TABLES;
	while (!last || tables[last].page);
	p = aligned_alloc(4096, 8192);
	memset(p, 0, 8192);
	memcpy(p + 4096, &last, sizeof(last));
	tables[last].page = p;
	tables[last].high = !low;
	world.allocated++;
	return p;
}

void mmu_env_page_free(void *page)
{
	u32 i = table_number(page);

	tables[i].page = tables[i].owner = NULL;
	world.allocated--;
	free(page);
}

u64 mmu_env_page_hpa(const void *page)
{
	u32 i = table_number(page);

	return (u64)i << 12 | (tables[i].high ? HIGH : 0);
}

void mmu_env_page_set_owner(void *page, void *owner)
{
	tables[table_number(page)].owner = owner;
}

void *mmu_env_page_owner(u64 hpa)
{
	u64 i = (hpa & ~HIGH) >> 12;

	return i < NR_TABLES && tables[i].high == !!(hpa & HIGH) ? tables[i].owner : NULL;
}

/* ---- slots ---- */

void world_set_slot(u32 id, const struct world_slot *s)
{
	struct mmu_slot old = world.mmu.slots[id], new = {
		.gfn = s->gfn, .npages = s->npages, .hva = s->hva, .is_readonly = s->readonly
	};

	if (s->npages) {
		new.gfns = calloc(s->npages, sizeof(*new.gfns));
		new.large = calloc(s->npages / 512 + 2, sizeof(*new.large));
		if (s->logged)
			new.dirty = calloc(BITS_TO_LONGS(s->npages), 8);
	}
	mmu_env_lock(&world);
	vmbox_mmu_set_slot(&world.mmu, id, &new);
	world.seq++;
	mmu_env_unlock(&world);
	vmbox_mmu_collect(&world.mmu);
	free(old.gfns);
	free(old.large);
	free(old.dirty);
	world.slot[id] = *s;
	memset(world.dirty[id], 0, sizeof(world.dirty[id]));
}

void world_init(void)
{
	u32 i;

	world.next_hpa = 1ULL << 32;
	for (i = 0; i < NR_PAGES; i++)
		world.host[i] = (struct world_page){ .hpa = new_hpa(), .writable = true };
	if (vmbox_mmu_init(&world.mmu, &world))
		world_die("init", 0, 0);
	world.mmu.large_may_exec = true;
	world_set_slot(0, &(struct world_slot){ .npages = NR_SMALL, .hva = HVA_SMALL });
	world_set_slot(
		1, &(struct world_slot){ .gfn = LARGE_GFN, .npages = NR_LARGE, .hva = HVA_LARGE });
	world_make_large(0);
}

void world_fini(void)
{
	world_set_slot(0, &(struct world_slot){});
	world_set_slot(1, &(struct world_slot){});
	vmbox_mmu_fini(&world.mmu);
	if (world.allocated || world.pages_held || world.locked)
		world_die("left behind", world.allocated, world.pages_held);
}
