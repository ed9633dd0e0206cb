// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters of a VM: KVM_GET_STATS_FD in KVM's binary format, and for people
 * /sys/kernel/debug/vmbox/PID-N/stats. Beside it `audit`: check all invariants
 * of the shadow MMU at every Nth exit; 0: never.
 *
 * Counters are plain words of the vCPU's thread, read without a lock.
 */
#include <linux/anon_inodes.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/seq_file.h>

#include "vm.h"

#define NAME_SIZE 32

static const char *const exit_names[] = { VMBOX_EXIT_KINDS(VMBOX_EXIT_NAME) };
#define INSN_NAME(op, name) #name,
static const char *const insn_names[] = { VMBOX_INSNS(INSN_NAME) };
#define STAT_NAME(name) #name,
static const char *const mmu_names[] = { VMBOX_MMU_STATS(STAT_NAME) };

#define NR_STATS (NR_EXIT_KINDS + NR_INSN_OPS + NR_MMU_STATS)

static struct dentry *debugfs;

/* Counter @i, and its name. The vCPU counts meanwhile, with no lock that we had. */
static u64 stat(const struct vmbox_vm *vm, int i, char name[NAME_SIZE])
{
	if (i < NR_EXIT_KINDS) {
		snprintf(name, NAME_SIZE, "exits_%s", exit_names[i]);
		return data_race(vm->exits[i]);
	}
	i -= NR_EXIT_KINDS;
	if (i < NR_INSN_OPS) {
		snprintf(name, NAME_SIZE, "insns_%s", insn_names[i]);
		return data_race(vm->insns[i]);
	}
	i -= NR_INSN_OPS;
	strscpy(name, mmu_names[i], NAME_SIZE);
	return i == MMU_STAT_pages_live ? data_race(vm->mem.mmu.nr_pages)
					: data_race(vm->mem.mmu.stats[i]);
}

/* ---- debugfs ---- */

static int stats_show(struct seq_file *m, void *unused)
{
	const struct vmbox_vm *vm = m->private;
	char name[NAME_SIZE];
	int i;

	for (i = 0; i < NR_STATS; i++) {
		u64 val = stat(vm, i, name);

		seq_printf(m, "%s %llu\n", name, val);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* The VM's directory. Debugfs may be off or full: then there is none. */
void vmbox_stats_add(struct vmbox_vm *vm)
{
	static atomic_t number;
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "%d-%d", current->tgid, atomic_inc_return(&number));
	vm->debugfs = debugfs_create_dir(name, debugfs);
	debugfs_create_file("stats", 0400, vm->debugfs, vm, &stats_fops);
	debugfs_create_u32("audit", 0600, vm->debugfs, &vm->audit);
}

/* Returns when nobody reads it any more. */
void vmbox_stats_remove(struct vmbox_vm *vm)
{
	debugfs_remove_recursive(vm->debugfs);
}

void vmbox_stats_init(void)
{
	debugfs = debugfs_create_dir("vmbox", NULL);
}

void vmbox_stats_fini(void)
{
	debugfs_remove_recursive(debugfs);
}

/* ---- KVM_GET_STATS_FD: Documentation/virt/kvm/api.rst 4.133 ---- */

struct stats_desc {
	struct kvm_stats_desc head;
	char name[NAME_SIZE];
};

struct stats_file {
	struct kvm_stats_header header;
	char id[NAME_SIZE];
	struct stats_desc desc[NR_STATS];
	u64 data[NR_STATS];
};

static ssize_t stats_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct vmbox_vm *vm = file->private_data;
	struct stats_file *f = kvzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	ssize_t ret;
	int i;

	if (!f)
		return -ENOMEM;
	f->header = (struct kvm_stats_header){ .name_size = NAME_SIZE,
					       .num_desc = NR_STATS,
					       .id_offset = offsetof(struct stats_file, id),
					       .desc_offset = offsetof(struct stats_file, desc),
					       .data_offset = offsetof(struct stats_file, data) };
	strscpy(f->id, "vmbox-vm", NAME_SIZE);
	for (i = 0; i < NR_STATS; i++) {
		f->desc[i].head = (struct kvm_stats_desc){
			.flags = (i == NR_EXIT_KINDS + NR_INSN_OPS + MMU_STAT_pages_live
					  ? KVM_STATS_TYPE_INSTANT
					  : KVM_STATS_TYPE_CUMULATIVE) |
				 KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10,
			.size = 1,
			.offset = i * sizeof(u64),
		};
		f->data[i] = stat(vm, i, f->desc[i].name);
	}
	ret = simple_read_from_buffer(to, size, pos, f, sizeof(*f));
	kvfree(f);
	return ret;
}

static int stats_release(struct inode *inode, struct file *file)
{
	vmbox_vm_put(file->private_data);
	return 0;
}

static const struct file_operations stats_fd_fops = {
	.owner = THIS_MODULE,
	.read = stats_read,
	.release = stats_release,
	.llseek = noop_llseek,
};

/* A descriptor to read @vm's counters by; it holds a reference. */
long vmbox_stats_create_fd(struct vmbox_vm *vm)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);
	struct file *file;

	if (fd < 0)
		return fd;
	file = anon_inode_getfile("vmbox-stats", &stats_fd_fops, vm, O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	file->f_mode |= FMODE_PREAD;
	kref_get(&vm->refs);
	fd_install(fd, file);
	return fd;
}
