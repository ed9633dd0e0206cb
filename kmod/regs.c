// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control registers and MSRs. Owns the rules for their contents; the same
 * rules serve the guest's writes and the caller's. Allow-lists: a bit or an
 * MSR that is not here faults.
 */
#include <linux/kernel.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/tlbflush.h>
#include <asm/tsc.h>

#include "regs.h"

/* CR4 bits whose feature this CPU lacks are refused, as the guest's CPUID says. */
u64 vmbox_cpu_features_cr4(void)
{
	u64 cr4 = VCPU_CR4;

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

/* The paging registers as the shadow MMU takes them. */
struct mmu_regs vmbox_mmu_regs(const struct vmbox_vcpu *vcpu)
{
	const struct vmbox_cpu_state *s = &vcpu->state;
	struct mmu_regs regs = { .cr0 = s->cr0,
				 .cr3 = s->cr3,
				 .cr4 = s->cr4,
				 .efer = s->efer,
				 .rflags = s->rflags,
				 .cpl = s->cpl };

	memcpy(regs.pdpte, s->pdpte, sizeof(regs.pdpte));
	return regs;
}

/*
 * Hardware walks a tree of 4 levels for a guest in long mode, and of 3 (PAE) for all others,
 * paging or not; with WP and NX, whatever the guest has. Without paging there is no user mode
 * for SMEP and SMAP to look at. MCE is the host's: a machine check in guest mode is to exit, and
 * without it shuts the CPU down.
 */
struct vmbox_paging vmbox_hardware_paging(const struct vmbox_cpu_state *s)
{
	struct vmbox_paging p = {
		.cr0 = (s->cr0 | X86_CR0_PG | X86_CR0_WP) & ~(u64)(X86_CR0_CD | X86_CR0_NW),
		.cr4 = s->cr4 | X86_CR4_PAE | (cr4_read_shadow() & X86_CR4_MCE),
		.efer = s->efer | EFER_NX,
	};

	if (!(s->cr0 & X86_CR0_PG))
		p.cr4 &= ~(u64)(X86_CR4_SMEP | X86_CR4_SMAP);
	if (!(s->efer & EFER_LMA))
		p.efer &= ~(u64)EFER_LME;
	return p;
}

static bool cr0_is_valid(u64 val)
{
	return !(val >> 32) && !((val & X86_CR0_NW) && !(val & X86_CR0_CD)) &&
	       !((val & X86_CR0_PG) && !(val & X86_CR0_PE));
}

/*
 * PAE paging's level 3 is in registers, which MOV to CR3 loads, and a change of certain bits
 * of CR0 and CR4. AMD APM vol 2 §5.2.3, Intel SDM vol 3 §4.4.1. slots_sem is held.
 */
static enum reg_result load_pdptes(struct vmbox_vcpu *vcpu, u64 cr3)
{
	u64 pdpte[4];
	int i;

	vcpu->error = vmbox_mem_read(&vcpu->vm->mem, (mmu_gpa_t){ cr3 & 0xffffffe0 }, pdpte,
				     sizeof(pdpte));
	if (vcpu->error == -ENOENT)
		return REG_FAULT; /* nothing is there: as if all bits were set */
	if (vcpu->error)
		return REG_ERROR;
	for (i = 0; i < 4; i++)
		if (vmbox_mmu_pdpte_is_reserved(pdpte[i]))
			return REG_FAULT;
	memcpy(vcpu->state.pdpte, pdpte, sizeof(pdpte));
	return REG_OK;
}

/* Takes the new paging registers, @load: if PAE's PDPTEs can be loaded with them. Flushes. */
static enum reg_result set_paging(struct vmbox_vcpu *vcpu, u64 cr0, u64 cr3, u64 cr4, u64 efer,
				  bool load)
{
	const struct mmu_regs new = { .cr0 = cr0, .cr4 = cr4, .efer = efer };
	struct vmbox_cpu_state *s = &vcpu->state;

	enum reg_result result;

	if (load && vmbox_mmu_mode(&new) == MMU_PAE) {
		result = load_pdptes(vcpu, cr3);
		if (result != REG_OK)
			return result;
	}
	s->cr0 = cr0;
	s->cr3 = cr3;
	s->cr4 = cr4;
	s->efer = efer;
	vmbox_mmu_flush(&vcpu->vm->mem.mmu);
	return REG_OK;
}

/* MOV CR0. AMD APM vol 2 §3.1.1, §14.6. Reserved low bits are ignored, as the CPU does. */
enum reg_result vmbox_write_cr0(struct vmbox_vcpu *vcpu, u64 val)
{
	const u64 loads = X86_CR0_PG | X86_CR0_CD | X86_CR0_NW;
	struct vmbox_cpu_state *s = &vcpu->state;
	u64 efer = s->efer & ~(u64)EFER_LMA, diff;

	if (!cr0_is_valid(val))
		return REG_FAULT;
	if (!(val & X86_CR0_PE))
		return REG_UNSUPPORTED;
	if (!(val & X86_CR0_PG) && s->cs_long)
		return REG_FAULT;
	if ((val & X86_CR0_PG) && (efer & EFER_LME)) {
		if (!(s->cr4 & X86_CR4_PAE))
			return REG_FAULT;
		efer |= EFER_LMA;
	}
	val = (val & VCPU_CR0) | X86_CR0_ET;
	diff = s->cr0 ^ val;
	if (diff & (loads | X86_CR0_WP))
		return set_paging(vcpu, val, s->cr3, s->cr4, efer, diff & loads);
	s->cr0 = val;
	return REG_OK;
}

/* The bits of CR3 that must be 0. AMD APM vol 2 §3.1.2; others are ignored outside long mode. */
static bool cr3_is_valid(u64 val, u64 efer)
{
	return !(efer & EFER_LMA) || val < VMBOX_GPA_LIMIT;
}

/* MOV CR3. AMD APM vol 2 §5.3.2. */
enum reg_result vmbox_write_cr3(struct vmbox_vcpu *vcpu, u64 val)
{
	struct vmbox_cpu_state *s = &vcpu->state;

	if (!cr3_is_valid(val, s->efer))
		return REG_FAULT;
	return set_paging(vcpu, s->cr0, val, s->cr4, s->efer, true);
}

/* MOV CR4. AMD APM vol 2 §3.1.3. */
enum reg_result vmbox_write_cr4(struct vmbox_vcpu *vcpu, u64 val)
{
	const u64 loads = X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_SMEP;
	struct vmbox_cpu_state *s = &vcpu->state;
	u64 diff = s->cr4 ^ val;

	if ((val & ~vmbox_cpu_features_cr4()) || ((s->efer & EFER_LMA) && !(val & X86_CR4_PAE)))
		return REG_FAULT;
	if (diff & (loads | X86_CR4_SMAP))
		return set_paging(vcpu, s->cr0, s->cr3, val, s->efer, diff & loads);
	s->cr4 = val;
	return REG_OK;
}

/* EFER: LMA is the CPU's, LME cannot change while paging is on. AMD APM vol 2 §3.1.7. */
static enum reg_result write_efer(struct vmbox_vcpu *vcpu, u64 val)
{
	struct vmbox_cpu_state *s = &vcpu->state;
	u64 old = s->efer;

	if ((val & ~(u64)VCPU_EFER) || (((old ^ val) & EFER_LME) && (s->cr0 & X86_CR0_PG)))
		return REG_FAULT;
	s->efer = (val & ~(u64)EFER_LMA) | (old & EFER_LMA);
	if ((old ^ val) & EFER_NX)
		vmbox_mmu_flush(&vcpu->vm->mem.mmu);
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

/* What Linux takes for granted on an Intel CPU, before it can take a fault. SDM vol 4 table 2-2. */
static enum reg_result read_intel_msr(u32 msr, u64 *val)
{
	switch (msr) {
	case MSR_IA32_MISC_ENABLE: /* no XD disable, no tracing */
		*val = MSR_IA32_MISC_ENABLE_FAST_STRING | MSR_IA32_MISC_ENABLE_BTS_UNAVAIL |
		       MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL;
		return REG_OK;
	case MSR_IA32_UCODE_REV: /* not told */
		*val = 0;
		return REG_OK;
	}
	return REG_FAULT;
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
	return boot_cpu_data.x86_vendor == X86_VENDOR_INTEL ? read_intel_msr(msr, val) : REG_FAULT;
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
	case MSR_IA32_UCODE_REV: /* written 0 to be read */
		return boot_cpu_data.x86_vendor == X86_VENDOR_INTEL && !val ? REG_OK : REG_FAULT;
	}
	return REG_FAULT;
}

/* A mode that can run: protected, with LMA as the CPU would have set it. */
static bool mode_is_valid(const struct kvm_sregs *s)
{
	bool lma = (s->cr0 & X86_CR0_PG) && (s->efer & EFER_LME);

	return (s->cr0 & X86_CR0_PE) && lma == !!(s->efer & EFER_LMA) &&
	       (!lma || (s->cr4 & X86_CR4_PAE)) && (lma || !s->cs.l);
}

static bool bases_are_canonical(const struct kvm_sregs *s)
{
	return is_canonical(s->fs.base) && is_canonical(s->gs.base) && is_canonical(s->ldt.base) &&
	       is_canonical(s->tr.base) && is_canonical(s->gdt.base) && is_canonical(s->idt.base);
}

/**
 * vmbox_set_sregs - KVM_SET_SREGS
 * @vcpu: locked
 * @s: the caller's copy
 *
 * Protected mode, with or without paging; no local APIC (apic_base 0), no
 * pending interrupt_bitmap. With PAE paging the PDPTEs are loaded, from memory
 * that must be there. All translations are forgotten, as the caller may have
 * written page tables. -EINVAL and -EFAULT, for PDPTEs that the process has no memory
 * for, change nothing; -EIO: the CPU is going offline, or could not be turned on after
 * a sleep.
 */
int vmbox_set_sregs(struct vmbox_vcpu *vcpu, const struct kvm_sregs *s)
{
	struct mmu_env *mem = &vcpu->vm->mem;
	enum reg_result result;

	if (!mode_is_valid(s) || !cr0_is_valid(s->cr0) || (s->cr0 & ~(u64)VCPU_CR0) ||
	    (s->cr4 & ~vmbox_cpu_features_cr4()) || (s->efer & ~(u64)VCPU_EFER) ||
	    !cr3_is_valid(s->cr3, s->efer) || s->cr8 > 15 || s->apic_base ||
	    memchr_inv(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap)) ||
	    !bases_are_canonical(s))
		return -EINVAL;

	down_read(&mem->slots_sem);
	result = set_paging(vcpu, s->cr0 | X86_CR0_ET, s->cr3, s->cr4, s->efer, true);
	up_read(&mem->slots_sem);
	if (result != REG_OK)
		return result == REG_ERROR ? vcpu->error : -EINVAL;
	mmu_env_lock(mem);
	vmbox_mmu_zap_all(&mem->mmu);
	mmu_env_unlock(mem);
	vmbox_mmu_collect(&mem->mmu);
	vcpu->state.cr2 = s->cr2;
	vcpu->state.cr8 = s->cr8;
	if (!vcpu->vm->ops->set_segments(vcpu->arch, s))
		return -EIO;
	vcpu->mode_set = true;
	return 0;
}

/* KVM_GET_SREGS. -EIO as above. */
int vmbox_get_sregs(struct vmbox_vcpu *vcpu, struct kvm_sregs *s)
{
	memset(s, 0, sizeof(*s));
	if (!vcpu->vm->ops->get_segments(vcpu->arch, s))
		return -EIO;
	s->cr0 = vcpu->state.cr0;
	s->cr2 = vcpu->state.cr2;
	s->cr3 = vcpu->state.cr3;
	s->cr4 = vcpu->state.cr4;
	s->cr8 = vcpu->state.cr8;
	s->efer = vcpu->state.efer;
	return 0;
}
