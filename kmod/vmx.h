/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside the VT-x back end: the entry stub and access to the current VMCS. */
#ifndef VMBOX_VMX_H
#define VMBOX_VMX_H

#include <linux/bug.h>
#include <linux/linkage.h>
#include <linux/types.h>
#include <asm/asm.h>
#include <asm/vmx.h>

#define BASIC_TRUE_CONTROLS BIT_ULL(55) /* of MSR_IA32_VMX_BASIC: SDM vol 3 appendix A.1 */

const char *vmbox_vmx_check(u32 reason);

/*
 * VMLAUNCH, or VMRESUME. @gpr is loaded from and saved to, but RSP, which is in
 * the VMCS. Interrupts off. 0: the guest ran, or the CPU left a reason for an
 * exit; 1: the instruction failed, VM_INSTRUCTION_ERROR may say why.
 */
asmlinkage int vmbox_vmx_enter(u64 *gpr, bool resume);
extern const u8 vmbox_vmx_exit[]; /* HOST_RIP */

/*
 * Intel SDM vol 3 §31. A fault, as after VMXOFF in a crash, counts as failure;
 * a field that cannot be read is 0.
 */
static inline u64 vmcs_read(unsigned long field)
{
	u64 val = 0;

	asm volatile("1: vmread %[field], %[val]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : [val] "+r"(val)
		     : [field] "r"(field)
		     : "cc");
	return val;
}

static inline void vmcs_write(unsigned long field, u64 val)
{
	bool failed = true;

	asm volatile("1: vmwrite %[val], %[field]\n"
		     "setna %[failed]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : [failed] "+qm"(failed)
		     : [field] "r"(field), [val] "rm"(val)
		     : "cc");
	WARN_ONCE(failed, "vmbox: cannot write VMCS field %#lx\n", field);
}

#endif
