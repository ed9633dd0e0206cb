// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control registers and MSRs. Owns the rules for their contents; the same
 * rules serve the guest's writes and the caller's. Allow-lists: a bit or an
 * MSR that is not here faults.
 */
#include <linux/kernel.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#include "regs.h"

/* CR4 bits whose feature this CPU lacks are refused, as the guest's CPUID says. */
u64 vmbox_cpu_features_cr4(void)
{
	u64 cr4 = GUEST_CR4;

	if (!boot_cpu_has(X86_FEATURE_FSGSBASE))
		cr4 &= ~(u64)X86_CR4_FSGSBASE;
	if (!boot_cpu_has(X86_FEATURE_SMEP))
		cr4 &= ~(u64)X86_CR4_SMEP;
	if (!boot_cpu_has(X86_FEATURE_SMAP))
		cr4 &= ~(u64)X86_CR4_SMAP;
	if (!boot_cpu_has(X86_FEATURE_UMIP))
		cr4 &= ~(u64)X86_CR4_UMIP;
	return cr4;
}

static bool cr0_is_valid(u64 val)
{
	return !(val >> 32) && !((val & X86_CR0_NW) && !(val & X86_CR0_CD)) &&
	       !((val & X86_CR0_PG) && !(val & X86_CR0_PE));
}

/* MOV CR0. AMD APM vol 2 §3.1.1. Reserved low bits are ignored, as the CPU does. */
enum reg_result vmbox_write_cr0(struct vmbox_vcpu *vcpu, u64 val)
{
	u64 old = vcpu->state.cr0;

	if (!cr0_is_valid(val))
		return REG_FAULT;
	if (!(val & X86_CR0_PG))
		return vcpu->state.cs_long ? REG_FAULT : REG_UNSUPPORTED;
	vcpu->state.cr0 = (val & GUEST_CR0) | X86_CR0_ET;
	if ((old ^ val) & X86_CR0_WP)
		vmbox_mmu_flush_all(&vcpu->vm->mem.mmu);
	return REG_OK;
}

/* MOV CR3. AMD APM vol 2 §5.3.2. */
enum reg_result vmbox_write_cr3(struct vmbox_vcpu *vcpu, u64 val)
{
	if (val >= VMBOX_GPA_LIMIT)
		return REG_FAULT;
	vcpu->state.cr3 = val;
	vmbox_mmu_flush_local(&vcpu->vm->mem.mmu);
	return REG_OK;
}

/* MOV CR4. AMD APM vol 2 §3.1.3. */
enum reg_result vmbox_write_cr4(struct vmbox_vcpu *vcpu, u64 val)
{
	const u64 paging = X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP | X86_CR4_SMAP;
	u64 old = vcpu->state.cr4;

	if ((val & ~vmbox_cpu_features_cr4()) || !(val & X86_CR4_PAE))
		return REG_FAULT;
	vcpu->state.cr4 = val;
	if ((old ^ val) & paging)
		vmbox_mmu_flush_all(&vcpu->vm->mem.mmu);
	return REG_OK;
}

/* EFER, with paging on: LME cannot change, LMA is the CPU's. AMD APM vol 2 §3.1.7. */
static enum reg_result write_efer(struct vmbox_vcpu *vcpu, u64 val)
{
	u64 old = vcpu->state.efer;

	if ((val & ~GUEST_EFER) || ((old ^ val) & EFER_LME))
		return REG_FAULT;
	vcpu->state.efer = (val & ~EFER_LMA) | (old & EFER_LMA);
	if ((old ^ val) & EFER_NX)
		vmbox_mmu_flush_all(&vcpu->vm->mem.mmu);
	return REG_OK;
}

static bool pat_is_valid(u64 val)
{
	int i;

	for (i = 0; i < 8; i++, val >>= 8)
		if ((val & 0xff) > 7 || (val & 0xff) == 2 || (val & 0xff) == 3)
			return false;
	return true;
}

/* RDMSR of an MSR that exits. What the guest reaches without an exit is in the back end. */
enum reg_result vmbox_read_msr(struct vmbox_vcpu *vcpu, u32 msr, u64 *val)
{
	switch (msr) {
	case MSR_EFER:
		*val = vcpu->state.efer;
		return REG_OK;
	case MSR_IA32_CR_PAT:
		*val = vcpu->state.pat;
		return REG_OK;
	case MSR_IA32_TSC:
		*val = rdtsc() + vcpu->state.tsc_offset;
		return REG_OK;
	}
	return REG_FAULT;
}

/* WRMSR, likewise. PAT is virtual: shadow entries are always write-back. */
enum reg_result vmbox_write_msr(struct vmbox_vcpu *vcpu, u32 msr, u64 val)
{
	switch (msr) {
	case MSR_EFER:
		return write_efer(vcpu, val);
	case MSR_IA32_CR_PAT:
		if (!pat_is_valid(val))
			return REG_FAULT;
		vcpu->state.pat = val;
		return REG_OK;
	case MSR_IA32_TSC:
		vcpu->state.tsc_offset = val - rdtsc();
		return REG_OK;
	}
	return REG_FAULT;
}

static bool is_long_mode(const struct kvm_sregs *s)
{
	return (s->cr0 & X86_CR0_PG) && (s->cr4 & X86_CR4_PAE) && (s->efer & EFER_LME) &&
	       (s->efer & EFER_LMA);
}

static bool bases_are_canonical(const struct kvm_sregs *s)
{
	return is_canonical(s->fs.base) && is_canonical(s->gs.base) && is_canonical(s->ldt.base) &&
	       is_canonical(s->tr.base) && is_canonical(s->gdt.base) && is_canonical(s->idt.base);
}

/**
 * vmbox_set_sregs - KVM_SET_SREGS
 *
 * Long mode with paging only; no local APIC (apic_base 0), no pending
 * interrupt_bitmap. -EINVAL changes nothing.
 */
int vmbox_set_sregs(struct vmbox_vcpu *vcpu, const struct kvm_sregs *s)
{
	if (!is_long_mode(s) || !cr0_is_valid(s->cr0) || (s->cr0 & ~(u64)GUEST_CR0) ||
	    (s->cr4 & ~vmbox_cpu_features_cr4()) || (s->efer & ~(u64)GUEST_EFER) ||
	    s->cr3 >= VMBOX_GPA_LIMIT || s->cr8 > 15 || s->apic_base ||
	    memchr_inv(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap)) ||
	    !bases_are_canonical(s))
		return -EINVAL;

	vcpu->state.cr0 = s->cr0 | X86_CR0_ET;
	vcpu->state.cr2 = s->cr2;
	vcpu->state.cr3 = s->cr3;
	vcpu->state.cr4 = s->cr4;
	vcpu->state.cr8 = s->cr8;
	vcpu->state.efer = s->efer;
	vcpu->vm->ops->set_segments(vcpu->arch, s);
	vmbox_mmu_flush_all(&vcpu->vm->mem.mmu);
	vcpu->paging_set = true;
	return 0;
}

void vmbox_get_sregs(struct vmbox_vcpu *vcpu, struct kvm_sregs *s)
{
	memset(s, 0, sizeof(*s));
	vcpu->vm->ops->get_segments(vcpu->arch, s);
	s->cr0 = vcpu->state.cr0;
	s->cr2 = vcpu->state.cr2;
	s->cr3 = vcpu->state.cr3;
	s->cr4 = vcpu->state.cr4;
	s->cr8 = vcpu->state.cr8;
	s->efer = vcpu->state.efer;
}
