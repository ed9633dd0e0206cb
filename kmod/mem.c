// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory. Owns the slots, the MMU notifier and the host side of the
 * shadow MMU's env.h. Trusts neither the guest's addresses nor the caller's:
 * a slot is checked when it is set, an address when it is used.
 *
 * Pages are never pinned: a shadow entry lives only as long as the host's own
 * mapping, whose changes come through the notifier. Everything runs in the
 * process that made the VM (the ioctls check), so its memory is reached by
 * ordinary user accesses.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

#include "mem.h"

static void nothing(void *unused)
{
}

/* Has the vCPU leave guest mode if it is there. The MMU lock was held for the change before. */
static void kick_guest(struct mmu_env *env)
{
	int cpu;

	smp_mb(); /* the shadow entries are gone before guest_cpu is read */
	cpu = READ_ONCE(env->guest_cpu);
	if (cpu >= 0)
		smp_call_function_single(cpu, nothing, NULL, 1);
}

/* Drops all translations, and returns when no CPU can use them any more. */
static void revoke_all(struct mmu_env *env, struct mmu_table *freed)
{
	kick_guest(env);
	vmbox_mmu_free_list(freed);
}

static bool slots_overlap_hva(const struct mmu_env *env, unsigned long start, unsigned long end)
{
	int i;

	for (i = 0; i < VMBOX_MAX_SLOTS; i++) {
		const struct vmbox_slot *s = &env->slot[i];

		if (s->size && s->hva < end && start < s->hva + s->size)
			return true;
	}
	return false;
}

static int notifier_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct mmu_env *env = container_of(mn, struct mmu_env, notifier);
	struct mmu_table *freed = NULL;
	bool ours;

	spin_lock(&env->lock);
	env->revoking++;
	ours = slots_overlap_hva(env, range->start, range->end);
	if (ours)
		vmbox_mmu_detach_all(&env->mmu, &freed);
	spin_unlock(&env->lock);
	if (ours)
		revoke_all(env, freed);
	return 0;
}

static void notifier_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct mmu_env *env = container_of(mn, struct mmu_env, notifier);

	spin_lock(&env->lock);
	env->seq++;
	env->revoking--;
	spin_unlock(&env->lock);
}

/* The process exits or execs: its memory goes without further notice. */
static void notifier_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mmu_env *env = container_of(mn, struct mmu_env, notifier);
	struct mmu_table *freed = NULL;

	spin_lock(&env->lock);
	env->dead = true;
	vmbox_mmu_detach_all(&env->mmu, &freed);
	spin_unlock(&env->lock);
	revoke_all(env, freed);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = notifier_start,
	.invalidate_range_end = notifier_end,
	.release = notifier_release,
};

/* Guest memory of the calling process, without slots. */
int vmbox_mem_init(struct mmu_env *env)
{
	int err;

	init_rwsem(&env->slots_sem);
	spin_lock_init(&env->lock);
	env->guest_cpu = -1;
	err = vmbox_mmu_init(&env->mmu, env);
	if (err)
		return err;
	env->notifier.ops = &notifier_ops;
	err = mmu_notifier_register(&env->notifier, current->mm);
	if (err) {
		vmbox_mmu_fini(&env->mmu);
		return err;
	}
	env->mm = current->mm;
	mmgrab(env->mm);
	return 0;
}

/* Accepts an env whose init failed or never ran. */
void vmbox_mem_fini(struct mmu_env *env)
{
	if (!env->mm)
		return;
	mmu_notifier_unregister(&env->notifier, env->mm);
	vmbox_mmu_fini(&env->mmu);
	mmdrop(env->mm);
	env->mm = NULL;
}

/**
 * vmbox_mem_set_slot - KVM_SET_USER_MEMORY_REGION
 * @env: the VM's memory
 * @region: the caller's copy; size 0 deletes the slot
 *
 * No flags are known yet. -EINVAL: malformed; -EEXIST: overlaps another slot.
 */
int vmbox_mem_set_slot(struct mmu_env *env, const struct kvm_userspace_memory_region *region)
{
	struct vmbox_slot new = { .gpa = region->guest_phys_addr,
				  .size = region->memory_size,
				  .hva = region->userspace_addr };
	struct mmu_table *freed = NULL;
	int i, err = 0;

	if (region->slot >= VMBOX_MAX_SLOTS || region->flags)
		return -EINVAL;
	if (!PAGE_ALIGNED(new.gpa) || !PAGE_ALIGNED(new.size) || !PAGE_ALIGNED(new.hva))
		return -EINVAL;
	if (new.gpa > VMBOX_GPA_LIMIT || new.size > VMBOX_GPA_LIMIT - new.gpa)
		return -EINVAL;
	if (new.size && (!new.hva || !access_ok((void __user *)new.hva, new.size)))
		return -EINVAL;

	down_write(&env->slots_sem);
	for (i = 0; i < VMBOX_MAX_SLOTS; i++) {
		const struct vmbox_slot *s = &env->slot[i];

		if (i != region->slot && new.size && s->size &&
		    s->gpa < new.gpa + new.size &&new.gpa < s->gpa + s->size) {
			err = -EEXIST;
			goto unlock;
		}
	}
	spin_lock(&env->lock);
	env->slot[region->slot] = new;
	env->seq++; /* a page got through the old slot must not be mapped */
	vmbox_mmu_detach_all(&env->mmu, &freed);
	spin_unlock(&env->lock);
	revoke_all(env, freed);
unlock:
	up_write(&env->slots_sem);
	return err;
}

/* The hva of @len bytes at @gpa, or 0. slots_sem is held. */
static unsigned long gpa_to_hva(struct mmu_env *env, mmu_gpa_t gpa, size_t len)
{
	int i;

	lockdep_assert_held(&env->slots_sem);
	for (i = 0; i < VMBOX_MAX_SLOTS; i++) {
		const struct vmbox_slot *s = &env->slot[i];

		if (gpa.val >= s->gpa && gpa.val - s->gpa < s->size &&
		    len <= s->size - (gpa.val - s->gpa))
			return s->hva + (gpa.val - s->gpa);
	}
	return 0;
}

/* Copies guest-physical memory. 0, -ENOENT or -EFAULT as in env.h. slots_sem is held. */
int vmbox_mem_read(struct mmu_env *env, mmu_gpa_t gpa, void *to, size_t len)
{
	unsigned long hva = gpa_to_hva(env, gpa, len);

	if (!hva)
		return -ENOENT;
	return copy_from_user(to, (void __user *)hva, len) ? -EFAULT : 0;
}

int mmu_env_gpte_read(struct mmu_env *env, mmu_gpa_t gpa, u64 *gpte)
{
	unsigned long hva = gpa_to_hva(env, gpa, sizeof(*gpte));

	if (!hva)
		return -ENOENT;
	return get_user(*gpte, (u64 __user *)hva);
}

int mmu_env_gpte_cmpxchg(struct mmu_env *env, mmu_gpa_t gpa, u64 old, u64 new)
{
	unsigned long hva = gpa_to_hva(env, gpa, sizeof(old));
	u64 __user *gpte = (u64 __user *)hva;
	int ret;

	if (!hva)
		return -ENOENT;
	ret = __try_cmpxchg_user(gpte, &old, new, fault);
	return ret > 0 ? -EAGAIN : ret;
}

int mmu_env_page_get(struct mmu_env *env, mmu_gpa_t gpa, struct mmu_page *page)
{
	unsigned long hva = gpa_to_hva(env, (mmu_gpa_t){ gpa.val & PAGE_MASK }, PAGE_SIZE);
	struct page *p;
	int n;

	if (!hva)
		return -ENOENT;
	spin_lock(&env->lock);
	page->seq = env->seq;
	spin_unlock(&env->lock);

	n = get_user_pages_fast(hva, 1, FOLL_WRITE, &p);
	if (n != 1)
		return n < 0 ? n : -EFAULT;
	/* The guest may write it: from here on it must not be dropped as clean. */
	set_page_dirty_lock(p);
	page->hpa = page_to_phys(p);
	page->writable = true;
	return 0;
}

void mmu_env_page_put(const struct mmu_page *page)
{
	put_page(pfn_to_page(PHYS_PFN(page->hpa)));
}

bool mmu_env_page_stale(struct mmu_env *env, const struct mmu_page *page)
{
	lockdep_assert_held(&env->lock);
	return env->dead || env->revoking || page->seq != env->seq;
}

void mmu_env_lock(struct mmu_env *env)
{
	spin_lock(&env->lock);
}

void mmu_env_unlock(struct mmu_env *env)
{
	spin_unlock(&env->lock);
}

struct mmu_table *mmu_env_table_alloc(void)
{
	struct mmu_table *table = kzalloc(sizeof(*table), GFP_KERNEL_ACCOUNT);
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);

	if (!table || !page) {
		kfree(table);
		if (page)
			__free_page(page);
		return NULL;
	}
	set_page_private(page, (unsigned long)table);
	table->entries = page_address(page);
	table->hpa = page_to_phys(page);
	return table;
}

void mmu_env_table_free(struct mmu_table *table)
{
	struct page *page = virt_to_page(table->entries);

	set_page_private(page, 0);
	__free_page(page);
	kfree(table);
}

struct mmu_table *mmu_env_table_from_hpa(u64 hpa)
{
	return (struct mmu_table *)page_private(pfn_to_page(PHYS_PFN(hpa)));
}
