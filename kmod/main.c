// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmbox.ko: the module and /dev/vmbox.
 *
 * The interface is a subset of <linux/kvm.h>; the tables here, in vm.c and in
 * vcpu.c are all of it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hardware.h"
#include "regs.h"
#include "vm.h"

static long ioctl_api_version(void *unused, unsigned long arg)
{
	return arg ? -EINVAL : KVM_API_VERSION;
}

static long ioctl_create_vm(void *unused, unsigned long type)
{
	return type ? -EINVAL : vmbox_vm_create_fd();
}

static long ioctl_mmap_size(void *unused, unsigned long arg)
{
	return arg ? -EINVAL : PAGE_SIZE;
}

static long ioctl_supported_cpuid(void *unused, unsigned long arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct kvm_cpuid_entry2 *entries;
	struct kvm_cpuid2 head;
	long ret;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.padding)
		return -EINVAL;
	entries = kcalloc(VMBOX_MAX_CPUID, sizeof(*entries), GFP_KERNEL_ACCOUNT);
	if (!entries)
		return -ENOMEM;
	ret = vmbox_supported_cpuid(entries, min_t(u32, head.nent, VMBOX_MAX_CPUID));
	if (ret >= 0) {
		head.nent = ret;
		ret = copy_to_user(user, &head, sizeof(head)) ||
				      copy_to_user(user->entries, entries,
						   head.nent * sizeof(*entries))
			      ? -EFAULT
			      : 0;
	}
	kfree(entries);
	return ret;
}

static const struct vmbox_ioctl system_ioctls[] = {
	{ KVM_GET_API_VERSION, ioctl_api_version },
	{ KVM_CHECK_EXTENSION, vmbox_check_extension },
	{ KVM_CREATE_VM, ioctl_create_vm },
	{ KVM_GET_VCPU_MMAP_SIZE, ioctl_mmap_size },
	{ KVM_GET_SUPPORTED_CPUID, ioctl_supported_cpuid },
};

static long system_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return vmbox_ioctl_dispatch(system_ioctls, ARRAY_SIZE(system_ioctls), NULL, cmd, arg);
}

static const struct file_operations system_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = system_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vmbox",
	.fops = &system_fops,
	.mode = 0600,
};

static int __init vmbox_init(void)
{
	int err;

	err = vmbox_hardware_init();
	if (err)
		return err;
	err = vmbox_mem_register_shrinker();
	if (err)
		goto no_shrinker;
	vmbox_stats_init();
	err = misc_register(&device);
	if (err)
		goto no_device;
	pr_info("ready, with %s\n", vmbox_ops->name);
	return 0;

no_device:
	vmbox_stats_fini();
	vmbox_mem_unregister_shrinker();
no_shrinker:
	vmbox_hardware_fini();
	return err;
}

static void __exit vmbox_exit(void)
{
	misc_deregister(&device);
	vmbox_stats_fini();
	vmbox_mem_unregister_shrinker();
	vmbox_hardware_fini();
}

module_init(vmbox_init);
module_exit(vmbox_exit);

MODULE_LICENSE("GPL v2");
MODULE_DESCRIPTION("vmbox: a small hypervisor for throw-away virtual machines");
MODULE_VERSION("0.1.0");
