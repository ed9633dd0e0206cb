/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the shadow MMU needs from its host. mem.c supplies it in the kernel,
 * the tests have their own; <vmbox_types.h> is found by include path.
 *
 * Addresses: gpa is guest-physical, hva is in the memory of the process that
 * has the VM, hpa is host-physical.
 */
#ifndef VMBOX_MMU_ENV_H
#define VMBOX_MMU_ENV_H

#include <vmbox_types.h>

struct mmu_env;

/* An entry of a guest page table, of 4 or 8 bytes. 0 or -EFAULT: the host has no such memory. */
int mmu_env_gpte_read(struct mmu_env *env, u64 hva, u32 size, u64 *gpte);
/* Likewise, and -EAGAIN: the entry is not @old any more. */
int mmu_env_gpte_cmpxchg(struct mmu_env *env, u64 hva, u32 size, u64 old, u64 new);
/* Like read, under the lock: -EFAULT also when it would have to sleep. */
int mmu_env_gpte_peek(struct mmu_env *env, u64 hva, u32 size, u64 *gpte);

enum mmu_page_want {
	MMU_PAGE_READ,
	MMU_PAGE_MAYBE_WRITE, /* writable if that costs nothing: no copy-on-write, no fault */
	MMU_PAGE_WRITE,
};

/* A host page, or 512 that make an aligned 2 MiB, between get and put. */
struct mmu_page {
	u64 hpa;
	u8 level; /* 1: 4 KiB, 2: 2 MiB; hpa is that of the first byte */
	bool writable;
	unsigned long seq; /* for mmu_env_page_stale() */
};

/*
 * The host page at @hva; where @may_be_large, the 2 MiB around it if they are contiguous.
 * A writable one is marked dirty. -errno: the host has none to give.
 */
int mmu_env_page_get(struct mmu_env *env, u64 hva, enum mmu_page_want want, bool may_be_large,
		     struct mmu_page *page);
void mmu_env_page_put(struct mmu_env *env, const struct mmu_page *page);
/*
 * Under the lock, for no longer than it is held, where nothing is being revoked: the 4 KiB page
 * at @hva, if it is there without sleeping, writable if wanted and likewise.
 */
bool mmu_env_page_peek(struct mmu_env *env, u64 hva, bool want_write, struct mmu_page *page);
/* Under the lock: has the host revoked anything since the get? */
bool mmu_env_page_stale(struct mmu_env *env, const struct mmu_page *page);
/* For the audit, under the lock: may @hpa be mapped for @hva, with or without write access? */
bool mmu_env_page_is_current(struct mmu_env *env, u64 hva, u64 hpa, bool writable);

void mmu_env_lock(struct mmu_env *env) __acquires(env);
void mmu_env_unlock(struct mmu_env *env) __releases(env);

/* Returns when no CPU uses what was dropped before. Without the lock. */
void mmu_env_kick(struct mmu_env *env);

/* Zeroed memory; NULL: there is none. */
void *mmu_env_alloc(size_t size);
void mmu_env_free(void *p);
/* One zeroed page, aligned to its size; @low: below 4 GiB. NULL: no memory. */
void *mmu_env_page_alloc(bool low);
void mmu_env_page_free(void *page);
u64 mmu_env_page_hpa(const void *page);
/* A word that stays with the page until it is freed; found again by the page's hpa. */
void mmu_env_page_set_owner(void *page, void *owner);
void *mmu_env_page_owner(u64 hpa);

#endif
