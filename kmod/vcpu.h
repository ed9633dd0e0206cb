/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU: a descriptor, a thread of the caller's, guest state.
 *
 * Legend: (c) constant after create, [c] mutex
 */
#ifndef VMBOX_VCPU_H
#define VMBOX_VCPU_H

#include <linux/kvm.h>
#include <linux/mutex.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>

#include "backend.h"
#include "vm.h"

#define VMBOX_RUN_IO_OFFSET 3072 /* of port data in the kvm_run page */

struct vmbox_vcpu {
	struct vmbox_vm *vm; /* (c) a reference */
	struct mutex mutex;
	struct kvm_run *run; /* (c) one page, shared with the caller: write-only but for in-fields */
	struct vmbox_arch_vcpu *arch;			/* (c) */
	struct fpu_guest fpu;				/* [c] */
	struct vmbox_cpu_state state;			/* [c] */
	struct kvm_cpuid_entry2 cpuid[VMBOX_MAX_CPUID]; /* [c] */
	u32 nr_cpuid;					/* [c] */
	struct vmbox_event exception; /* [c] to be injected before anything else */
	struct vmbox_event interrupt; /* [c] to be injected when the guest can take it */
	u8 pending_in;		      /* [c] bytes of an IN that the caller answers; 0: none */
	u32 nr_exits;		      /* [c] for the audit */
	int error;		      /* [c] NEXT_ERROR: -errno */
	bool want_window;	      /* [c] this RUN's copy of request_interrupt_window */
	bool shutdown;		      /* [c] a fault while a double fault was delivered */
	bool mode_set;		      /* [c] SET_SREGS gave the vCPU a mode that can run */
};

int vmbox_vcpu_create_fd(struct vmbox_vm *vm);

#endif
