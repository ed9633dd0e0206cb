/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: the slots that map guest-physical addresses to the memory of
 * the process that made the VM.
 *
 * Legend: (c) constant after create, [s] slots_sem, [m] lock
 * Order: vCPU mutex, slots_sem, mmap_lock, lock.
 */
#ifndef VMBOX_MEM_H
#define VMBOX_MEM_H

#include <linux/kvm.h>
#include <linux/mmu_notifier.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "limits.h"
#include "mmu/mmu.h"

struct vmbox_slot {
	u64 gpa;  /* bytes, page-aligned */
	u64 size; /* bytes; 0: the slot is free */
	unsigned long hva;
};

struct mmu_env {
	struct mm_struct *mm; /* (c) whose memory it is; every vCPU runs in it */
	struct rw_semaphore slots_sem;
	spinlock_t lock;			 /* the MMU lock */
	struct vmbox_slot slot[VMBOX_MAX_SLOTS]; /* write: [s] and [m]; read: either */
	struct vmbox_mmu mmu;			 /* the tree is [m] */
	struct mmu_notifier notifier;
	unsigned long seq;     /* [m] grows when the host has revoked pages */
	unsigned int revoking; /* [m] invalidations under way */
	int guest_cpu;	       /* where the vCPU is in guest mode, or -1 */
	bool dead;	       /* the process has left its memory: no more translations */
};

int vmbox_mem_init(struct mmu_env *env);
void vmbox_mem_fini(struct mmu_env *env);
int vmbox_mem_set_slot(struct mmu_env *env, const struct kvm_userspace_memory_region *region);
int vmbox_mem_read(struct mmu_env *env, mmu_gpa_t gpa, void *to, size_t len);

/*
 * The vCPU, interrupts off, on the way in and out of guest mode. Between the
 * two a revoked page is waited for by an interrupt to this CPU. The entry
 * flushes the TLB after the store, so it cannot miss an earlier revocation.
 */
static inline void vmbox_mem_guest_enter(struct mmu_env *env)
{
	WRITE_ONCE(env->guest_cpu, smp_processor_id());
	smp_mb(); /* pairs with kick_guest() */
}

static inline void vmbox_mem_guest_exit(struct mmu_env *env)
{
	smp_store_release(&env->guest_cpu, -1);
}

#endif
