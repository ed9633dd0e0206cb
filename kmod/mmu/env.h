/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the shadow MMU needs from its host. mem.c supplies it in the kernel,
 * the unit tests have their own; <vmbox_types.h> is found by include path.
 */
#ifndef VMBOX_MMU_ENV_H
#define VMBOX_MMU_ENV_H

#include <vmbox_types.h>

typedef struct {
	u64 val;
} mmu_gpa_t;

struct mmu_env;

/* One shadow page table. */
struct mmu_table {
	u64 *entries;		/* one zeroed page */
	u64 hpa;		/* its host-physical address */
	struct mmu_table *next; /* on a list of spare or freed tables */
	u8 level;
	bool has_local, has_global, has_large; /* kinds of leaves below */
};

/* A guest page's host page, between get and put. */
struct mmu_page {
	u64 hpa;
	bool writable;
	unsigned long seq; /* for mmu_env_page_stale() */
};

/* 0; -ENOENT: no slot there; -EFAULT: the host mapping refused. */
int mmu_env_gpte_read(struct mmu_env *env, mmu_gpa_t gpa, u64 *gpte);
/* Likewise, and -EAGAIN: the entry is not @old any more. */
int mmu_env_gpte_cmpxchg(struct mmu_env *env, mmu_gpa_t gpa, u64 old, u64 new);

/* 0; -ENOENT: no slot there; other -errno: the host has no page to give. */
int mmu_env_page_get(struct mmu_env *env, mmu_gpa_t gpa, struct mmu_page *page);
void mmu_env_page_put(const struct mmu_page *page);
/* Under the lock: has the host revoked the page since the get? */
bool mmu_env_page_stale(struct mmu_env *env, const struct mmu_page *page);

void mmu_env_lock(struct mmu_env *env);
void mmu_env_unlock(struct mmu_env *env);

struct mmu_table *mmu_env_table_alloc(void); /* NULL: no memory */
void mmu_env_table_free(struct mmu_table *table);
struct mmu_table *mmu_env_table_from_hpa(u64 hpa);

#endif
