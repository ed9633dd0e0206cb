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

#include "mmu/mmu.h"

struct mmu_env {
	struct mm_struct *mm; /* (c) whose memory it is; every vCPU runs in it */
	struct rw_semaphore slots_sem;
	spinlock_t lock;      /* the MMU lock */
	struct vmbox_mmu mmu; /* [m]; slots: write [s] and [m], read either */
	struct mmu_notifier notifier;
	struct page **pages;   /* of mmu_env_page_get(), the vCPU's thread only */
	struct list_head vms;  /* of all VMs, for the shrinker */
	unsigned long seq;     /* [m] grows when the host has revoked pages */
	unsigned int revoking; /* [m] invalidations under way */
	int guest_cpu;	       /* where the vCPU is in guest mode, or -1 */
	bool dead;	       /* the process has left its memory: no more translations */
};

int vmbox_mem_init(struct mmu_env *env);
void vmbox_mem_fini(struct mmu_env *env);
int vmbox_mem_set_slot(struct mmu_env *env, const struct kvm_userspace_memory_region *region);
int vmbox_mem_get_dirty_log(struct mmu_env *env, const struct kvm_dirty_log *log);
int vmbox_mem_read(struct mmu_env *env, mmu_gpa_t gpa, void *to, size_t len);

int vmbox_mem_register_shrinker(void);
void vmbox_mem_unregister_shrinker(void);

/*
 * The vCPU, interrupts off, on the way in and out of guest mode. Between the
 * two a revoked page is waited for by an interrupt to this CPU. What was
 * dropped before is seen after the store: the root that is NULL, the TLB flush
 * that is owed.
 */
static inline void vmbox_mem_guest_enter(struct mmu_env *env)
{
	WRITE_ONCE(env->guest_cpu, smp_processor_id());
	smp_mb(); /* pairs with mmu_env_kick() */
}

static inline void vmbox_mem_guest_exit(struct mmu_env *env)
{
	smp_store_release(&env->guest_cpu, -1);
}

#endif
