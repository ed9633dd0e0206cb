// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory. Owns the arrays of the slots, the MMU notifier, the shrinker
 * and the host side of the shadow MMU's env.h. Trusts neither the guest's
 * addresses nor the caller's: a slot is checked when it is set, an address when
 * it is used.
 *
 * Pages are never pinned: a shadow entry lives only as long as the host's own
 * mapping, whose changes come through the notifier. Everything runs in the
 * process that made the VM (the ioctls check), so its memory is reached by
 * ordinary user accesses.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>

#include "mem.h"

#define LARGE_PAGES 512 /* 4 KiB pages in 2 MiB */

static DEFINE_SPINLOCK(vms_lock);
static LIST_HEAD(vms); /* [vms_lock] */

static void nothing(void *unused)
{
}

/* Has the vCPU leave guest mode if it is there. The MMU lock was held for the change before. */
void mmu_env_kick(struct mmu_env *env)
{
	int cpu;

	smp_mb(); /* the shadow entries are gone before guest_cpu is read */
	cpu = READ_ONCE(env->guest_cpu);
	if (cpu >= 0)
		smp_call_function_single(cpu, nothing, NULL, 1);
}

/* ---- the host's memory management ---- */

static bool slots_overlap_hva(const struct mmu_env *env, unsigned long start, unsigned long end)
{
	int i;

	for (i = 0; i < VMBOX_MAX_SLOTS; i++) {
		const struct mmu_slot *s = &env->mmu.slots[i];

		if (s->npages && s->hva < end && start < s->hva + (s->npages << PAGE_SHIFT))
			return true;
	}
	return false;
}

static int notifier_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct mmu_env *env = container_of(mn, struct mmu_env, notifier);
	bool ours;

	spin_lock(&env->lock);
	env->revoking++;
	ours = slots_overlap_hva(env, range->start, range->end);
	if (ours)
		vmbox_mmu_unmap(&env->mmu, range->start, range->end);
	spin_unlock(&env->lock);
	if (ours)
		vmbox_mmu_collect(&env->mmu);
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

/* Was the range used? A TLB that still has an entry does not set the bit again: a hint is enough. */
static int age(struct mmu_notifier *mn, unsigned long start, unsigned long end, bool clear)
{
	struct mmu_env *env = container_of(mn, struct mmu_env, notifier);
	bool young;

	spin_lock(&env->lock);
	young = vmbox_mmu_age(&env->mmu, start, end, clear);
	spin_unlock(&env->lock);
	return young;
}

static int notifier_clear_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long start,
				unsigned long end)
{
	return age(mn, start, end, true);
}

static int notifier_clear_flush_young(struct mmu_notifier *mn, struct mm_struct *mm,
				      unsigned long start, unsigned long end)
{
	int young = age(mn, start, end, true);

	if (young)
		mmu_env_kick(container_of(mn, struct mmu_env, notifier));
	return young;
}

static int notifier_test_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long addr)
{
	return age(mn, addr, addr + PAGE_SIZE, false);
}

/* The process exits or execs: its memory goes without further notice. */
static void notifier_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mmu_env *env = container_of(mn, struct mmu_env, notifier);

	spin_lock(&env->lock);
	env->dead = true;
	vmbox_mmu_zap_all(&env->mmu);
	spin_unlock(&env->lock);
	vmbox_mmu_collect(&env->mmu);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = notifier_start,
	.invalidate_range_end = notifier_end,
	.clear_young = notifier_clear_young,
	.clear_flush_young = notifier_clear_flush_young,
	.test_young = notifier_test_young,
	.release = notifier_release,
};

static unsigned long shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long n = 0;
	struct mmu_env *env;

	spin_lock(&vms_lock);
	list_for_each_entry(env, &vms, vms)
		n += data_race(env->mmu.nr_pages);
	spin_unlock(&vms_lock);
	return n ?: SHRINK_EMPTY;
}

/*
 * One VM each time, and the next one the next time. A VM cannot go away while it is on the
 * list and vms_lock is held.
 */
static unsigned long shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long done = 0;
	struct mmu_env *env;

	spin_lock(&vms_lock);
	list_for_each_entry(env, &vms, vms) {
		if (!spin_trylock(&env->lock))
			continue;
		done = vmbox_mmu_reclaim(&env->mmu, sc->nr_to_scan);
		spin_unlock(&env->lock);
		vmbox_mmu_collect(&env->mmu);
		list_move_tail(&env->vms, &vms);
		break;
	}
	spin_unlock(&vms_lock);
	return done ?: SHRINK_STOP;
}

static struct shrinker shrinker = {
	.count_objects = shrink_count,
	.scan_objects = shrink_scan,
	.seeks = DEFAULT_SEEKS,
};

int vmbox_mem_register_shrinker(void)
{
	return register_shrinker(&shrinker, "vmbox");
}

void vmbox_mem_unregister_shrinker(void)
{
	unregister_shrinker(&shrinker);
}

/* ---- slots ---- */

static void slot_free(struct mmu_slot *slot)
{
	kvfree(slot->gfns);
	kvfree(slot->large);
	kvfree(slot->dirty);
}

/* The arrays of a slot whose place and flags are set. */
static int slot_alloc(struct mmu_slot *slot, bool log)
{
	u64 regions = ((slot->gfn + slot->npages - 1) >> 9) - (slot->gfn >> 9) + 1;

	if (!slot->npages)
		return 0;
	slot->gfns = kvcalloc(slot->npages, sizeof(*slot->gfns), GFP_KERNEL_ACCOUNT);
	slot->large = kvcalloc(regions, sizeof(*slot->large), GFP_KERNEL_ACCOUNT);
	if (log)
		slot->dirty =
			kvcalloc(BITS_TO_LONGS(slot->npages), sizeof(long), GFP_KERNEL_ACCOUNT);
	if (slot->gfns && slot->large && (!log || slot->dirty))
		return 0;
	slot_free(slot);
	return -ENOMEM;
}

/**
 * vmbox_mem_set_slot - KVM_SET_USER_MEMORY_REGION
 * @env: the VM's memory
 * @region: the caller's copy; size 0 deletes the slot
 *
 * Flags: KVM_MEM_LOG_DIRTY_PAGES (the log starts empty), KVM_MEM_READONLY.
 * -EINVAL: malformed; -EEXIST: overlaps another slot; -ENOMEM.
 */
int vmbox_mem_set_slot(struct mmu_env *env, const struct kvm_userspace_memory_region *region)
{
	u64 gpa = region->guest_phys_addr, size = region->memory_size;
	unsigned long hva = region->userspace_addr;
	struct mmu_slot new = { .gfn = gpa >> PAGE_SHIFT,
				.npages = size >> PAGE_SHIFT,
				.hva = hva,
				.is_readonly = region->flags & KVM_MEM_READONLY };
	struct mmu_slot old;
	int i, err;

	if (region->slot >= VMBOX_MAX_SLOTS ||
	    (region->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)))
		return -EINVAL;
	if (!PAGE_ALIGNED(gpa) || !PAGE_ALIGNED(size) || !PAGE_ALIGNED(hva))
		return -EINVAL;
	if (gpa > VMBOX_GPA_LIMIT || size > VMBOX_GPA_LIMIT - gpa ||
	    new.npages > VMBOX_MAX_SLOT_PAGES)
		return -EINVAL;
	if (size && (!hva || !access_ok((void __user *)hva, size)))
		return -EINVAL;
	err = slot_alloc(&new, region->flags & KVM_MEM_LOG_DIRTY_PAGES);
	if (err)
		return err;

	down_write(&env->slots_sem);
	for (i = 0; i < VMBOX_MAX_SLOTS; i++) {
		const struct mmu_slot *s = &env->mmu.slots[i];

		if (i != region->slot && new.npages && s->npages && s->gfn < new.gfn + new.npages &&
		    s->gfn + s->npages > new.gfn) {
			up_write(&env->slots_sem);
			slot_free(&new);
			return -EEXIST;
		}
	}
	spin_lock(&env->lock);
	old = env->mmu.slots[region->slot];
	vmbox_mmu_set_slot(&env->mmu, region->slot, &new);
	env->seq++; /* a page got through the old slot must not be mapped */
	spin_unlock(&env->lock);
	vmbox_mmu_collect(&env->mmu);
	up_write(&env->slots_sem);
	slot_free(&old);
	return 0;
}

/**
 * vmbox_mem_get_dirty_log - KVM_GET_DIRTY_LOG
 * @env: the VM's memory
 * @log: the caller's copy; names the slot and where its bitmap goes
 *
 * -ENOENT: the slot has no log; -EFAULT: it was taken, but could not be given.
 */
int vmbox_mem_get_dirty_log(struct mmu_env *env, const struct kvm_dirty_log *log)
{
	unsigned long *bitmap;
	size_t size;
	int err = -ENOENT;

	if (log->slot >= VMBOX_MAX_SLOTS || log->padding1)
		return -EINVAL;
	down_read(&env->slots_sem);
	if (!env->mmu.slots[log->slot].dirty)
		goto unlock;
	size = BITS_TO_LONGS(env->mmu.slots[log->slot].npages) * sizeof(long);
	err = -ENOMEM;
	bitmap = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!bitmap)
		goto unlock;
	spin_lock(&env->lock);
	vmbox_mmu_get_dirty(&env->mmu, log->slot, bitmap);
	spin_unlock(&env->lock);
	vmbox_mmu_collect(&env->mmu);
	err = copy_to_user(log->dirty_bitmap, bitmap, size) ? -EFAULT : 0;
	kvfree(bitmap);
unlock:
	up_read(&env->slots_sem);
	return err;
}

/* Copies guest-physical memory within a page. 0; -ENOENT: no slot; -EFAULT. slots_sem is held. */
int vmbox_mem_read(struct mmu_env *env, mmu_gpa_t gpa, void *to, size_t len)
{
	u64 hva;

	lockdep_assert_held(&env->slots_sem);
	if (!vmbox_mmu_gpa_to_hva(&env->mmu, gpa.val, &hva))
		return -ENOENT;
	return copy_from_user(to, (void __user *)hva, len) ? -EFAULT : 0;
}

/* ---- the VM's memory as a whole ---- */

/* Guest memory of the calling process, without slots. @env is zeroed. */
int vmbox_mem_init(struct mmu_env *env)
{
	int err;

	init_rwsem(&env->slots_sem);
	spin_lock_init(&env->lock);
	env->guest_cpu = -1;
	vmbox_mmu_init(&env->mmu, env);
	env->mmu.amd_format = boot_cpu_data.x86_vendor == X86_VENDOR_AMD ||
			      boot_cpu_data.x86_vendor == X86_VENDOR_HYGON;
	env->mmu.large_may_exec = !boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT);
	env->pages = (struct page **)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!env->pages)
		return -ENOMEM;
	env->notifier.ops = &notifier_ops;
	err = mmu_notifier_register(&env->notifier, current->mm);
	if (err) {
		free_page((unsigned long)env->pages);
		return err;
	}
	env->mm = current->mm;
	mmgrab(env->mm);
	spin_lock(&vms_lock);
	list_add(&env->vms, &vms);
	spin_unlock(&vms_lock);
	return 0;
}

/* Accepts an env whose init failed or never ran. */
void vmbox_mem_fini(struct mmu_env *env)
{
	int i;

	if (!env->mm)
		return;
	spin_lock(&vms_lock);
	list_del(&env->vms);
	spin_unlock(&vms_lock);
	mmu_notifier_unregister(&env->notifier, env->mm);
	vmbox_mmu_fini(&env->mmu);
	for (i = 0; i < VMBOX_MAX_SLOTS; i++)
		slot_free(&env->mmu.slots[i]);
	free_page((unsigned long)env->pages);
	mmdrop(env->mm);
	env->mm = NULL;
}

/* ---- env.h ---- */

int mmu_env_gpte_read(struct mmu_env *env, u64 hva, u32 size, u64 *gpte)
{
	u32 low;

	if (size == sizeof(*gpte))
		return get_user(*gpte, (u64 __user *)hva);
	if (get_user(low, (u32 __user *)hva))
		return -EFAULT;
	*gpte = low;
	return 0;
}

int mmu_env_gpte_peek(struct mmu_env *env, u64 hva, u32 size, u64 *gpte)
{
	int err;

	pagefault_disable();
	err = mmu_env_gpte_read(env, hva, size, gpte);
	pagefault_enable();
	return err;
}

int mmu_env_gpte_cmpxchg(struct mmu_env *env, u64 hva, u32 size, u64 old, u64 new)
{
	u32 old32 = old, new32 = new;
	int ret;

	if (size == sizeof(old)) {
		u64 __user *gpte = (u64 __user *)hva;

		ret = __try_cmpxchg_user(gpte, &old, new, fault64);
	} else {
		u32 __user *gpte = (u32 __user *)hva;

		ret = __try_cmpxchg_user(gpte, &old32, new32, fault32);
	}
	return ret > 0 ? -EAGAIN : ret;
}

static void put_pages(struct page **pages, int n)
{
	while (n > 0)
		put_page(pages[--n]);
}

/* The 512 pages around @hva, if they are one piece; then @page is that. */
static bool get_large(struct mmu_env *env, unsigned long hva, struct mmu_page *page)
{
	struct page **p = env->pages;
	int n, i;

	n = get_user_pages_fast(hva & PMD_MASK, LARGE_PAGES, page->writable ? FOLL_WRITE : 0, p);
	if (n == LARGE_PAGES && IS_ALIGNED(page_to_pfn(p[0]), LARGE_PAGES)) {
		for (i = 1; i < n && page_to_pfn(p[i]) == page_to_pfn(p[0]) + i; i++)
			;
		if (i == n) {
			page->level = 2;
			return true;
		}
	}
	put_pages(p, n);
	return false;
}

/* One page, writable if that is wanted and possible. 0 or -errno. */
static int get_small(struct mmu_env *env, unsigned long hva, enum mmu_page_want want,
		     struct mmu_page *page)
{
	int n;

	page->writable = true;
	if (want != MMU_PAGE_READ && get_user_pages_fast_only(hva, 1, FOLL_WRITE, env->pages) == 1)
		return 0;
	page->writable = false;
	if (want != MMU_PAGE_WRITE && get_user_pages_fast_only(hva, 1, 0, env->pages) == 1)
		return 0;
	page->writable = want != MMU_PAGE_READ;
	n = get_user_pages_fast(hva, 1, page->writable ? FOLL_WRITE : 0, env->pages);
	if (n != 1 && want == MMU_PAGE_MAYBE_WRITE) { /* the process may only read it */
		page->writable = false;
		n = get_user_pages_fast(hva, 1, 0, env->pages);
	}
	return n == 1 ? 0 : n < 0 ? n : -EFAULT;
}

int mmu_env_page_get(struct mmu_env *env, u64 hva, enum mmu_page_want want, bool may_be_large,
		     struct mmu_page *page)
{
	struct page *small;
	int err;

	spin_lock(&env->lock);
	page->seq = env->seq;
	spin_unlock(&env->lock);

	page->level = 1;
	err = get_small(env, hva & PAGE_MASK, want, page);
	if (err)
		return err;
	small = env->pages[0];
	if (page->writable) /* from here on it must not be dropped as clean */
		set_page_dirty_lock(small);
	if (may_be_large && compound_order(compound_head(small)) >= PMD_SHIFT - PAGE_SHIFT) {
		if (get_large(env, hva, page))
			put_page(small);
		else
			env->pages[0] = small;
	}
	page->hpa = page_to_phys(env->pages[0]);
	return 0;
}

void mmu_env_page_put(struct mmu_env *env, const struct mmu_page *page)
{
	put_pages(env->pages, page->level == 2 ? LARGE_PAGES : 1);
}

bool mmu_env_page_peek(struct mmu_env *env, u64 hva, bool want_write, struct mmu_page *page)
{
	struct page *p;

	lockdep_assert_held(&env->lock);
	page->level = 1;
	page->writable = want_write && get_user_pages_fast_only(hva, 1, FOLL_WRITE, &p) == 1;
	if (page->writable && !trylock_page(p)) {
		put_page(p);
		return false;
	}
	if (page->writable) {
		set_page_dirty(p);
		unlock_page(p);
	} else if (get_user_pages_fast_only(hva, 1, 0, &p) != 1) {
		return false;
	}
	page->hpa = page_to_phys(p);
	put_page(p);
	return true;
}

bool mmu_env_page_stale(struct mmu_env *env, const struct mmu_page *page)
{
	lockdep_assert_held(&env->lock);
	return env->dead || env->revoking || page->seq != env->seq;
}

bool mmu_env_page_is_current(struct mmu_env *env, u64 hva, u64 hpa, bool writable)
{
	struct page *page;
	bool same;

	if (get_user_pages_fast_only(hva, 1, writable ? FOLL_WRITE : 0, &page) != 1)
		return !writable && is_zero_pfn(PHYS_PFN(hpa)); /* never got the fast way */
	same = page_to_phys(page) == hpa;
	put_page(page);
	return same;
}

void mmu_env_lock(struct mmu_env *env) __acquires(env)
{
	spin_lock(&env->lock);
}

void mmu_env_unlock(struct mmu_env *env) __releases(env)
{
	spin_unlock(&env->lock);
}

void *mmu_env_alloc(size_t size)
{
	return kzalloc(size, GFP_KERNEL_ACCOUNT);
}

void mmu_env_free(void *p)
{
	kfree(p);
}

void *mmu_env_page_alloc(bool low)
{
	return (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT | (low ? __GFP_DMA32 : 0));
}

void mmu_env_page_free(void *page)
{
	set_page_private(virt_to_page(page), 0);
	free_page((unsigned long)page);
}

u64 mmu_env_page_hpa(const void *page)
{
	return __pa(page);
}

void mmu_env_page_set_owner(void *page, void *owner)
{
	set_page_private(virt_to_page(page), (unsigned long)owner);
}

void *mmu_env_page_owner(u64 hpa)
{
	return (void *)page_private(pfn_to_page(PHYS_PFN(hpa)));
}
