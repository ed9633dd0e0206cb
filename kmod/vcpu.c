// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU's descriptor and its ioctls. Every structure from the caller is
 * copied once and checked before anything changes.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/debugreg.h>
#include <asm/tsc.h>

#include "regs.h"
#include "run.h"

#define PAT_AT_RESET 0x0007040600070406ULL /* AMD APM vol 2 §7.8.1 */

static_assert(sizeof(struct kvm_run) <= VMBOX_RUN_IO_OFFSET);

static long ioctl_run(void *object, unsigned long arg)
{
	return arg ? -EINVAL : vmbox_vcpu_run(object);
}

/* Where the KVM API has each register of enum vmbox_reg. */
static const size_t reg_offsets[NR_REGS] = {
	offsetof(struct kvm_regs, rax), offsetof(struct kvm_regs, rcx),
	offsetof(struct kvm_regs, rdx), offsetof(struct kvm_regs, rbx),
	offsetof(struct kvm_regs, rsp), offsetof(struct kvm_regs, rbp),
	offsetof(struct kvm_regs, rsi), offsetof(struct kvm_regs, rdi),
	offsetof(struct kvm_regs, r8),	offsetof(struct kvm_regs, r9),
	offsetof(struct kvm_regs, r10), offsetof(struct kvm_regs, r11),
	offsetof(struct kvm_regs, r12), offsetof(struct kvm_regs, r13),
	offsetof(struct kvm_regs, r14), offsetof(struct kvm_regs, r15),
};

static u64 *api_reg(struct kvm_regs *regs, int i)
{
	return (void *)regs + reg_offsets[i];
}

static long ioctl_get_regs(void *object, unsigned long arg)
{
	struct vmbox_vcpu *vcpu = object;
	struct kvm_regs regs = { .rip = vcpu->state.rip, .rflags = vcpu->state.rflags };
	int i;

	for (i = 0; i < NR_REGS; i++)
		*api_reg(&regs, i) = vcpu->state.gpr[i];
	return copy_to_user((void __user *)arg, &regs, sizeof(regs)) ? -EFAULT : 0;
}

static long ioctl_set_regs(void *object, unsigned long arg)
{
	struct vmbox_vcpu *vcpu = object;
	struct kvm_regs regs;
	int i;

	if (copy_from_user(&regs, (void __user *)arg, sizeof(regs)))
		return -EFAULT;
	if (regs.rflags & ~(u64)VCPU_RFLAGS)
		return -EINVAL;
	for (i = 0; i < NR_REGS; i++)
		vcpu->state.gpr[i] = *api_reg(&regs, i);
	vcpu->state.rip = regs.rip;
	vcpu->state.rflags = regs.rflags | X86_EFLAGS_FIXED;
	vcpu->exception.kind = EVENT_NONE;
	return 0;
}

static long ioctl_get_sregs(void *object, unsigned long arg)
{
	struct kvm_sregs sregs;
	int err = vmbox_get_sregs(object, &sregs);

	if (err)
		return err;
	return copy_to_user((void __user *)arg, &sregs, sizeof(sregs)) ? -EFAULT : 0;
}

static long ioctl_set_sregs(void *object, unsigned long arg)
{
	struct kvm_sregs sregs;

	if (copy_from_user(&sregs, (void __user *)arg, sizeof(sregs)))
		return -EFAULT;
	return vmbox_set_sregs(object, &sregs);
}

static long ioctl_set_cpuid2(void *object, unsigned long arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct vmbox_vcpu *vcpu = object;
	struct kvm_cpuid_entry2 *entries;
	struct kvm_cpuid2 head;
	long err = -EINVAL;
	u32 i;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nent > VMBOX_MAX_CPUID)
		return -E2BIG;
	if (head.padding)
		return -EINVAL;
	entries = vmemdup_user(user->entries, array_size(head.nent, sizeof(*entries)));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	for (i = 0; i < head.nent; i++)
		if ((entries[i].flags & ~KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
		    memchr_inv(entries[i].padding, 0, sizeof(entries[i].padding)))
			goto out;
	memcpy(vcpu->cpuid, entries, head.nent * sizeof(*entries));
	vcpu->nr_cpuid = head.nent;
	err = 0;
out:
	kvfree(entries);
	return err;
}

/* -EEXIST: one is queued already. It goes in when the guest can take it. */
static long ioctl_interrupt(void *object, unsigned long arg)
{
	struct vmbox_vcpu *vcpu = object;
	struct kvm_interrupt irq;

	if (copy_from_user(&irq, (void __user *)arg, sizeof(irq)))
		return -EFAULT;
	if (irq.irq < 16 || irq.irq > 255) /* AMD APM vol 2 §8.1: 0 to 15 are not for devices */
		return -EINVAL;
	if (vcpu->interrupt.kind != EVENT_NONE)
		return -EEXIST;
	vcpu->interrupt = (struct vmbox_event){ .kind = EVENT_INTERRUPT, .vector = irq.irq };
	return 0;
}

static long ioctl_get_tsc_khz(void *object, unsigned long arg)
{
	return tsc_khz;
}

static const struct vmbox_ioctl vcpu_ioctls[] = {
	{ KVM_RUN, ioctl_run },
	{ KVM_GET_REGS, ioctl_get_regs },
	{ KVM_SET_REGS, ioctl_set_regs },
	{ KVM_GET_SREGS, ioctl_get_sregs },
	{ KVM_SET_SREGS, ioctl_set_sregs },
	{ KVM_SET_CPUID2, ioctl_set_cpuid2 },
	{ KVM_INTERRUPT, ioctl_interrupt },
	{ KVM_GET_TSC_KHZ, ioctl_get_tsc_khz },
};

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vmbox_vcpu *vcpu = file->private_data;
	long ret;

	if (current->mm != vcpu->vm->mem.mm)
		return -EIO; /* as KVM: a VM belongs to the process that made it */
	if (mutex_lock_killable(&vcpu->mutex))
		return -EINTR;
	ret = vmbox_ioctl_dispatch(vcpu_ioctls, ARRAY_SIZE(vcpu_ioctls), vcpu, cmd, arg);
	mutex_unlock(&vcpu->mutex);
	return ret;
}

static vm_fault_t vcpu_mmap_fault(struct vm_fault *vmf)
{
	struct vmbox_vcpu *vcpu = vmf->vma->vm_file->private_data;

	if (vmf->pgoff)
		return VM_FAULT_SIGBUS;
	vmf->page = virt_to_page(vcpu->run);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = { .fault = vcpu_mmap_fault };

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

/* Accepts a half-built vCPU. */
static void vcpu_destroy(struct vmbox_vcpu *vcpu)
{
	if (!IS_ERR_OR_NULL(vcpu->arch))
		vcpu->vm->ops->vcpu_destroy(vcpu->arch);
	if (vcpu->fpu.fpstate)
		fpu_free_guest_fpstate(&vcpu->fpu);
	free_page((unsigned long)vcpu->run);
	kfree(vcpu);
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct vmbox_vcpu *vcpu = file->private_data;
	struct vmbox_vm *vm = vcpu->vm;

	vcpu_destroy(vcpu);
	vmbox_vm_put(vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.release = vcpu_release,
	.llseek = noop_llseek,
};

static struct vmbox_vcpu *vcpu_create(struct vmbox_vm *vm)
{
	struct vmbox_vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!vcpu)
		return ERR_PTR(-ENOMEM);
	vcpu->vm = vm;
	mutex_init(&vcpu->mutex);
	vcpu->state.rflags = X86_EFLAGS_FIXED;
	vcpu->state.dr6 = DR6_RESERVED;
	vcpu->state.dr7 = DR7_AT_RESET;
	vcpu->state.pat = PAT_AT_RESET;
	vcpu->run = (struct kvm_run *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->run || !fpu_alloc_guest_fpstate(&vcpu->fpu))
		goto fail;
	vcpu->arch = vm->ops->vcpu_create(&vcpu->state);
	if (!IS_ERR(vcpu->arch))
		return vcpu;
	err = PTR_ERR(vcpu->arch);
fail:
	vcpu_destroy(vcpu);
	return ERR_PTR(err);
}

/* KVM_CREATE_VCPU: the new descriptor, or -errno. The descriptor holds a reference to @vm. */
int vmbox_vcpu_create_fd(struct vmbox_vm *vm)
{
	struct vmbox_vcpu *vcpu;
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	vcpu = vcpu_create(vm);
	if (IS_ERR(vcpu)) {
		put_unused_fd(fd);
		return PTR_ERR(vcpu);
	}
	file = anon_inode_getfile("vmbox-vcpu", &vcpu_fops, vcpu, O_RDWR);
	if (IS_ERR(file)) {
		vcpu_destroy(vcpu);
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	kref_get(&vm->refs);
	fd_install(fd, file);
	return fd;
}
