/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside the AMD-V back end: the entry stub. */
#ifndef VMBOX_SVM_H
#define VMBOX_SVM_H

#include <linux/linkage.h>
#include <linux/types.h>

/*
 * VMRUN. @gpr is loaded from and saved to, but RAX and RSP, which are in the
 * VMCB. @vmcb_pa and @host_pa are physical. Interrupts off; NMIs are held off
 * while guest state is in the CPU's segment registers.
 */
asmlinkage void vmbox_svm_enter(u64 *gpr, u64 vmcb_pa, u64 host_pa);

#endif
