// SPDX-License-Identifier: GPL-2.0-only
/* The VM's descriptor, its ioctls and its lifetime. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/moduleparam.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hardware.h"
#include "vcpu.h"

static unsigned int audit;
module_param(audit, uint, 0644);
MODULE_PARM_DESC(audit, "check all invariants of the shadow MMU at every Nth exit (0: never)");

static void vm_destroy(struct kref *refs)
{
	struct vmbox_vm *vm = container_of(refs, struct vmbox_vm, refs);

	vmbox_stats_remove(vm);
	vmbox_mem_fini(&vm->mem);
	kvfree(vm);
	vmbox_hardware_put();
}

void vmbox_vm_put(struct vmbox_vm *vm)
{
	kref_put(&vm->refs, vm_destroy);
}

long vmbox_ioctl_dispatch(const struct vmbox_ioctl *table, size_t n, void *object, unsigned int cmd,
			  unsigned long arg)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (table[i].cmd == cmd)
			return table[array_index_nospec(i, n)].fn(object, arg);
	return -ENOTTY;
}

/* What KVM_CHECK_EXTENSION says; the same for the device and a VM. */
long vmbox_check_extension(void *unused, unsigned long extension)
{
	switch (extension) {
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KVM_CAP_GET_TSC_KHZ:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_SYNC_MMU:
	case KVM_CAP_BINARY_STATS_FD:
		return 1;
	case KVM_CAP_NR_MEMSLOTS:
		return VMBOX_MAX_SLOTS;
	case KVM_CAP_NR_VCPUS:
	case KVM_CAP_MAX_VCPUS:
	case KVM_CAP_MAX_VCPU_ID:
		return 1;
	}
	return 0;
}

static long ioctl_create_vcpu(void *object, unsigned long id)
{
	struct vmbox_vm *vm = object;
	long ret;

	if (id)
		return -EINVAL;
	mutex_lock(&vm->lock);
	ret = vm->has_vcpu ? -EEXIST : vmbox_vcpu_create_fd(vm);
	if (ret >= 0)
		vm->has_vcpu = true;
	mutex_unlock(&vm->lock);
	return ret;
}

static long ioctl_set_region(void *object, unsigned long arg)
{
	struct kvm_userspace_memory_region region;
	struct vmbox_vm *vm = object;

	if (copy_from_user(&region, (void __user *)arg, sizeof(region)))
		return -EFAULT;
	return vmbox_mem_set_slot(&vm->mem, &region);
}

static long ioctl_get_dirty_log(void *object, unsigned long arg)
{
	struct vmbox_vm *vm = object;
	struct kvm_dirty_log log;

	if (copy_from_user(&log, (void __user *)arg, sizeof(log)))
		return -EFAULT;
	return vmbox_mem_get_dirty_log(&vm->mem, &log);
}

static long ioctl_get_stats_fd(void *object, unsigned long arg)
{
	return arg ? -EINVAL : vmbox_stats_create_fd(object);
}

static const struct vmbox_ioctl vm_ioctls[] = {
	{ KVM_CHECK_EXTENSION, vmbox_check_extension },
	{ KVM_CREATE_VCPU, ioctl_create_vcpu },
	{ KVM_SET_USER_MEMORY_REGION, ioctl_set_region },
	{ KVM_GET_DIRTY_LOG, ioctl_get_dirty_log },
	{ KVM_GET_STATS_FD, ioctl_get_stats_fd },
};

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vmbox_vm *vm = file->private_data;

	if (current->mm != vm->mem.mm)
		return -EIO;
	return vmbox_ioctl_dispatch(vm_ioctls, ARRAY_SIZE(vm_ioctls), vm, cmd, arg);
}

static int vm_release(struct inode *inode, struct file *file)
{
	vmbox_vm_put(file->private_data);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vm_ioctl,
	.release = vm_release,
	.llseek = noop_llseek,
};

static struct vmbox_vm *vm_create(void)
{
	struct vmbox_vm *vm;
	int err;

	err = vmbox_hardware_get();
	if (err)
		return ERR_PTR(err);
	vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm) {
		vmbox_hardware_put();
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&vm->refs);
	mutex_init(&vm->lock);
	vm->ops = vmbox_ops;
	err = vmbox_mem_init(&vm->mem);
	if (err) {
		vmbox_vm_put(vm);
		return ERR_PTR(err);
	}
	vm->audit = READ_ONCE(audit); /* by sysfs at any time */
	vmbox_stats_add(vm);
	return vm;
}

/* KVM_CREATE_VM: the new descriptor, or -errno. -EBUSY: another hypervisor has the CPU. */
int vmbox_vm_create_fd(void)
{
	struct vmbox_vm *vm;
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	vm = vm_create();
	if (IS_ERR(vm)) {
		put_unused_fd(fd);
		return PTR_ERR(vm);
	}
	file = anon_inode_getfile("vmbox-vm", &vm_fops, vm, O_RDWR);
	if (IS_ERR(file)) {
		vmbox_vm_put(vm);
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}
