/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM: guest memory and at most one vCPU. Lives as long as its descriptor or
 * its vCPU's.
 *
 * Legend: (c) constant after create, [v] lock
 */
#ifndef VMBOX_VM_H
#define VMBOX_VM_H

#include <linux/kref.h>
#include <linux/mutex.h>

#include "backend.h"
#include "mem.h"

struct vmbox_vm {
	struct kref refs;
	const struct vmbox_arch_ops *ops; /* (c) */
	struct mmu_env mem;		  /* its own locks */
	struct mutex lock;
	bool has_vcpu;		  /* [v] */
	bool dead;		  /* broken: no vCPU runs any more; only ever set */
	u32 audit;		  /* of the shadow MMU: at every Nth exit; 0: never */
	u64 exits[NR_EXIT_KINDS]; /* the vCPU's thread counts */
	u64 insns[NR_INSN_OPS];	  /* EXIT_INSN, by what was emulated */
	struct dentry *debugfs;	  /* (c) */
};

int vmbox_vm_create_fd(void);
void vmbox_vm_put(struct vmbox_vm *vm);

/* stats.c */
void vmbox_stats_init(void);
void vmbox_stats_fini(void);
void vmbox_stats_add(struct vmbox_vm *vm);
void vmbox_stats_remove(struct vmbox_vm *vm);
long vmbox_stats_create_fd(struct vmbox_vm *vm);

/* One accepted ioctl; what is in no table is -ENOTTY. */
struct vmbox_ioctl {
	unsigned int cmd;
	long (*fn)(void *object, unsigned long arg);
};

long vmbox_ioctl_dispatch(const struct vmbox_ioctl *table, size_t n, void *object, unsigned int cmd,
			  unsigned long arg);
long vmbox_check_extension(void *unused, unsigned long extension);

#endif
