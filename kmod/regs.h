/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's control registers and MSRs: what may be in them, and what a write does. */
#ifndef VMBOX_REGS_H
#define VMBOX_REGS_H

#include <asm/processor-flags.h>
#include <asm/msr-index.h>

#include "vcpu.h"

/* Features that the guest does not have are held 0: XSAVE, PCID, PKE, LA57, VME, MCE, ... */
#define VCPU_CR4                                                                               \
	(X86_CR4_DE | X86_CR4_TSD | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | \
	 X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_UMIP)
#define VCPU_CR0                                                                       \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE | \
	 X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
#define DR7_AT_RESET 0x400ULL /* AMD APM vol 2 §13.1.1.3 */
#define VCPU_EFER    (EFER_SCE | EFER_LME | EFER_LMA | EFER_NX)
#define VCPU_RFLAGS                                                                         \
	(X86_EFLAGS_CF | X86_EFLAGS_FIXED | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | \
	 X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_IF | X86_EFLAGS_DF | X86_EFLAGS_OF |    \
	 X86_EFLAGS_IOPL | X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_ID)

static inline bool is_canonical(u64 addr)
{
	return (u64)((s64)(addr << 16) >> 16) == addr;
}

enum reg_result {
	REG_OK,
	REG_FAULT,	 /* the guest gets #GP */
	REG_UNSUPPORTED, /* real mode: the driver does not have it */
	REG_ERROR,	 /* the vCPU's error, of the host */
};

u64 vmbox_cpu_features_cr4(void);
__must_check enum reg_result vmbox_write_cr0(struct vmbox_vcpu *vcpu, u64 val);
__must_check enum reg_result vmbox_write_cr3(struct vmbox_vcpu *vcpu, u64 val);
__must_check enum reg_result vmbox_write_cr4(struct vmbox_vcpu *vcpu, u64 val);
__must_check enum reg_result vmbox_read_msr(struct vmbox_vcpu *vcpu, u32 msr, u64 *val);
__must_check enum reg_result vmbox_write_msr(struct vmbox_vcpu *vcpu, u32 msr, u64 val);

struct mmu_regs vmbox_mmu_regs(const struct vmbox_vcpu *vcpu);
int vmbox_set_sregs(struct vmbox_vcpu *vcpu, const struct kvm_sregs *sregs);
int vmbox_get_sregs(struct vmbox_vcpu *vcpu, struct kvm_sregs *sregs);

/* cpuid.c */
int vmbox_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max);
void vmbox_cpuid(const struct vmbox_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);

#endif
