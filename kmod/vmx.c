// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-x. Owns the VMCS, the MSR bitmap and each CPU's VMX operation.
 * Theory of operation: Intel SDM vol 3 chapters 24 to 31.
 *
 * A VMCS is current on at most one CPU, and a CPU has at most one: it is cleared
 * when the CPU takes another, when its vCPU runs elsewhere, and when VMX is
 * turned off. Neither EPT nor unrestricted guest is used, even where they are.
 *
 * Everything that can exit does, but: RDTSC (offset by the VMCS), PAUSE, stores
 * and loads of descriptor-table registers, reads of CR0 and CR4 (shadowed), and
 * the MSRs in open_msrs[]. RDTSCP, INVPCID, XSAVES, TPAUSE and the like are #UD:
 * their controls stay 0.
 *
 * No host state is left for later: what an entry or an exit changes is restored
 * before interrupts are on again. SECURITY.md has the table.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/kvm_host.h>
#include <linux/perf_event.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/mmu_context.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/perf_event.h>
#include <asm/tlbflush.h>

#include "regs.h"
#include "vmx.h"

#define GUEST_VPID 1 /* all VMs: the TLB is flushed when a CPU's vCPU is another */

#define VPID_CAP_ALL (BIT_ULL(32) | BIT_ULL(42)) /* A.10: INVVPID, of all contexts */
#define INVVPID_ALL  2

/*
 * Switched by the lists of MSRs in the VMCS; the guest may have them, but EFER. The first is
 * the guest's while in guest mode only, the last is the host task's: read at each entry.
 */
static const u32 switched_msrs[] = { MSR_EFER,	MSR_STAR,	  MSR_LSTAR,
				     MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE };
#define NR_SWITCHED   ARRAY_SIZE(switched_msrs)
#define I_EFER	      0
#define I_KERNEL_GS   (NR_SWITCHED - 1)
#define MAX_PERF_MSRS 8

/* Guest-state fields of the VMCS hold the others. */
static const u32 open_msrs[] = {
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SYSCALL_MASK,
	MSR_KERNEL_GS_BASE,
	MSR_FS_BASE,
	MSR_GS_BASE,
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
};

struct msr_lists { /* one page */
	struct vmx_msr_entry guest[NR_SWITCHED + MAX_PERF_MSRS];
	struct vmx_msr_entry host[NR_SWITCHED + MAX_PERF_MSRS];
};
static_assert(sizeof(struct msr_lists) <= PAGE_SIZE);

struct vmbox_arch_vcpu {
	void *vmcs; /* one page, opaque but for its first word */
	struct msr_lists *msrs;
	int cpu; /* where the VMCS is current, or -1 */
	bool is_launched;
	bool is_filled;
};

struct vmx_cpu {
	struct page *vmxon; /* the CPU's own, opaque */
	struct vmbox_arch_vcpu *current_vcpu;
	bool enabled;
};

static DEFINE_PER_CPU(struct vmx_cpu, vmx_cpus);
static unsigned long *msr_bitmap; /* read-only once init is done; all VMs */

static struct vmx_controls {
	u32 revision;
	u32 pin, primary, secondary, exit, entry;
	u32 has_vpid;
} controls __ro_after_init;

/* Exits that need no more than a kind, or the instruction. What is not here kills the VM. */
static const struct {
	u16 reason;
	enum vmbox_exit_kind kind;
	enum insn_op op;
} exit_kinds[] = {
	{ EXIT_REASON_EXTERNAL_INTERRUPT, EXIT_HOST },
	{ EXIT_REASON_TRIPLE_FAULT, EXIT_SHUTDOWN },
	{ EXIT_REASON_INTERRUPT_WINDOW, EXIT_IRQ_WINDOW },
	{ EXIT_REASON_CPUID, EXIT_INSN, INSN_CPUID },
	{ EXIT_REASON_HLT, EXIT_INSN, INSN_HLT },
	{ EXIT_REASON_INVD, EXIT_INSN, INSN_WBINVD },
	{ EXIT_REASON_WBINVD, EXIT_INSN, INSN_WBINVD },
	{ EXIT_REASON_INVLPG, EXIT_INSN, INSN_INVLPG },
	{ EXIT_REASON_MSR_READ, EXIT_INSN, INSN_RDMSR },
	{ EXIT_REASON_MSR_WRITE, EXIT_INSN, INSN_WRMSR },
	{ EXIT_REASON_RDPMC, EXIT_UNDEFINED },
	{ EXIT_REASON_VMCALL, EXIT_UNDEFINED },
	{ EXIT_REASON_VMCLEAR, EXIT_UNDEFINED },
	{ EXIT_REASON_VMLAUNCH, EXIT_UNDEFINED },
	{ EXIT_REASON_VMPTRLD, EXIT_UNDEFINED },
	{ EXIT_REASON_VMPTRST, EXIT_UNDEFINED },
	{ EXIT_REASON_VMREAD, EXIT_UNDEFINED },
	{ EXIT_REASON_VMRESUME, EXIT_UNDEFINED },
	{ EXIT_REASON_VMWRITE, EXIT_UNDEFINED },
	{ EXIT_REASON_VMOFF, EXIT_UNDEFINED },
	{ EXIT_REASON_VMON, EXIT_UNDEFINED },
	{ EXIT_REASON_MWAIT_INSTRUCTION, EXIT_UNDEFINED },
	{ EXIT_REASON_MONITOR_INSTRUCTION, EXIT_UNDEFINED },
	{ EXIT_REASON_INVEPT, EXIT_UNDEFINED },
	{ EXIT_REASON_INVVPID, EXIT_UNDEFINED },
	{ EXIT_REASON_XSETBV, EXIT_UNDEFINED },
	{ EXIT_REASON_ENCLS, EXIT_UNDEFINED },
	{ 11 /* GETSEC */, EXIT_UNDEFINED },
};

/* ---- this CPU ---- */

static bool vmclear(struct vmbox_arch_vcpu *vcpu)
{
	u64 pa = __pa(vcpu->vmcs);
	bool failed = true;

	asm volatile("1: vmclear %[pa]\n"
		     "setna %[failed]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : [failed] "+qm"(failed)
		     : [pa] "m"(pa)
		     : "cc", "memory");
	return !failed;
}

static bool vmptrld(struct vmbox_arch_vcpu *vcpu)
{
	u64 pa = __pa(vcpu->vmcs);
	bool failed = true;

	asm volatile("1: vmptrld %[pa]\n"
		     "setna %[failed]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : [failed] "+qm"(failed)
		     : [pa] "m"(pa)
		     : "cc", "memory");
	return !failed;
}

static bool vmxon(u64 pa)
{
	bool failed = true;

	asm volatile("1: vmxon %[pa]\n"
		     "setna %[failed]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : [failed] "+qm"(failed)
		     : [pa] "m"(pa)
		     : "cc", "memory");
	return !failed;
}

static void vmxoff(void)
{
	asm volatile("1: vmxoff\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     :
		     :
		     : "cc", "memory");
}

/* Of all VPIDs. SDM vol 3 §29.4.3.1. */
static void invvpid_all(void)
{
	const struct {
		u64 vpid, gva;
	} all = {};

	asm volatile("1: invvpid %[all], %[type]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     :
		     : [all] "m"(all), [type] "r"((u64)INVVPID_ALL)
		     : "cc", "memory");
}

/* The CPU has no VMCS any more. Interrupts off. */
static void put_current(void)
{
	struct vmx_cpu *cpu = this_cpu_ptr(&vmx_cpus);
	struct vmbox_arch_vcpu *vcpu = cpu->current_vcpu;

	if (!vcpu)
		return;
	vmclear(vcpu);
	cpu->current_vcpu = NULL;
	smp_store_release(&vcpu->cpu, -1);
}

static int read_controls(struct vmx_controls *c);

static void vmx_hardware_disable(void)
{
	struct vmx_cpu *cpu = this_cpu_ptr(&vmx_cpus);

	if (!cpu->enabled)
		return;
	put_current();
	vmxoff();
	intel_pt_handle_vmx(0);
	cr4_clear_bits(X86_CR4_VMXE);
	cpu->enabled = false;
}

static int vmx_hardware_enable(void)
{
	struct vmx_cpu *cpu = this_cpu_ptr(&vmx_cpus);
	struct vmx_controls here = {};

	if (__read_cr4() & X86_CR4_VMXE)
		return -EBUSY;
	if (read_controls(&here) || memcmp(&here, &controls, sizeof(here)))
		return -ENODEV; /* not the CPU that this was loaded for */
	*(u32 *)page_address(cpu->vmxon) = controls.revision;
	cpu->enabled = true; /* from before VMXON to after VMXOFF: a crash may come between */
	cr4_set_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(1);
	if (!vmxon(page_to_phys(cpu->vmxon))) {
		vmx_hardware_disable();
		return -EIO;
	}
	if (controls.has_vpid)
		invvpid_all();
	return 0;
}

/* ---- a VMCS ---- */

/* What stays as it is for the VMCS's life. */
static void fill_constants(struct vmbox_arch_vcpu *vcpu)
{
	int i;

	vmcs_write(PIN_BASED_VM_EXEC_CONTROL, controls.pin);
	if (controls.primary & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
		vmcs_write(SECONDARY_VM_EXEC_CONTROL, controls.secondary);
	if (controls.secondary & SECONDARY_EXEC_ENCLS_EXITING)
		vmcs_write(ENCLS_EXITING_BITMAP, ~0ULL);
	if (controls.has_vpid)
		vmcs_write(VIRTUAL_PROCESSOR_ID, GUEST_VPID);
	vmcs_write(VM_EXIT_CONTROLS, controls.exit);
	vmcs_write(EXCEPTION_BITMAP,
		   BIT(DB_VECTOR) | BIT(PF_VECTOR) | BIT(AC_VECTOR) | BIT(MC_VECTOR));
	vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, 0); /* all page faults exit */
	vmcs_write(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmcs_write(CR3_TARGET_COUNT, 0);
	vmcs_write(MSR_BITMAP, __pa(msr_bitmap));
	vmcs_write(CR0_GUEST_HOST_MASK, ~0UL);
	vmcs_write(CR4_GUEST_HOST_MASK, ~0UL);
	vmcs_write(VMCS_LINK_POINTER, ~0ULL);
	vmcs_write(VM_ENTRY_MSR_LOAD_ADDR, __pa(vcpu->msrs->guest));
	vmcs_write(VM_EXIT_MSR_STORE_ADDR, __pa(vcpu->msrs->guest));
	vmcs_write(VM_EXIT_MSR_STORE_COUNT, NR_SWITCHED);
	vmcs_write(VM_EXIT_MSR_LOAD_ADDR, __pa(vcpu->msrs->host));
	for (i = 0; i < NR_SWITCHED; i++)
		vcpu->msrs->guest[i].index = vcpu->msrs->host[i].index = switched_msrs[i];

	vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write(GUEST_INTERRUPTIBILITY_INFO, 0);
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmcs_write(GUEST_IA32_DEBUGCTL, 0);
	vmcs_write(GUEST_SYSENTER_CS, 0);
	vmcs_write(GUEST_SYSENTER_ESP, 0);
	vmcs_write(GUEST_SYSENTER_EIP, 0);
}

/* The host's state that is the CPU's own, or all CPUs'. SDM vol 3 §25.5. */
static void fill_host(struct vmbox_arch_vcpu *vcpu)
{
	int cpu = smp_processor_id(), i;
	struct desc_ptr idt;

	store_idt(&idt);
	vmcs_write(HOST_CR0, read_cr0());
	vmcs_write(HOST_CS_SELECTOR, __KERNEL_CS);
	vmcs_write(HOST_SS_SELECTOR, __KERNEL_DS);
	vmcs_write(HOST_DS_SELECTOR, 0); /* the user's may be here: see struct host_state */
	vmcs_write(HOST_ES_SELECTOR, 0);
	vmcs_write(HOST_FS_SELECTOR, 0);
	vmcs_write(HOST_GS_SELECTOR, 0);
	vmcs_write(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	vmcs_write(HOST_TR_BASE, (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	vmcs_write(HOST_GDTR_BASE, (unsigned long)get_current_gdt_ro());
	vmcs_write(HOST_IDTR_BASE, idt.address);
	vmcs_write(HOST_GS_BASE, cpu_kernelmode_gs_base(cpu));
	vmcs_write(HOST_IA32_SYSENTER_CS, native_read_msr(MSR_IA32_SYSENTER_CS));
	vmcs_write(HOST_IA32_SYSENTER_ESP, native_read_msr(MSR_IA32_SYSENTER_ESP));
	vmcs_write(HOST_IA32_SYSENTER_EIP, native_read_msr(MSR_IA32_SYSENTER_EIP));
	vmcs_write(HOST_RIP, (unsigned long)vmbox_vmx_exit);
	for (i = 0; i < NR_SWITCHED; i++)
		vcpu->msrs->host[i].value = native_read_msr(switched_msrs[i]);
}

/* Makes the VMCS current here. It is current nowhere else. Interrupts off. */
static bool make_current(struct vmbox_arch_vcpu *vcpu)
{
	struct vmx_cpu *cpu = this_cpu_ptr(&vmx_cpus);

	if (cpu->current_vcpu == vcpu)
		return true;
	if (!cpu->enabled)
		return false;
	put_current();
	if (!vmclear(vcpu) || !vmptrld(vcpu))
		return false;
	cpu->current_vcpu = vcpu;
	vcpu->cpu = smp_processor_id();
	vcpu->is_launched = false;
	fill_host(vcpu);
	if (!vcpu->is_filled)
		fill_constants(vcpu);
	vcpu->is_filled = true;
	if (controls.has_vpid)
		invvpid_all();
	indirect_branch_prediction_barrier();
	return true;
}

static void put_vcpu(void *vcpu)
{
	if (this_cpu_read(vmx_cpus.current_vcpu) == vcpu)
		put_current();
}

static void vmx_detach(struct vmbox_arch_vcpu *vcpu)
{
	int cpu = smp_load_acquire(&vcpu->cpu);

	if (cpu >= 0 && cpu != smp_processor_id())
		smp_call_function_single(cpu, put_vcpu, vcpu, 1);
}

/* Makes the VMCS current, for an ioctl; interrupts are off then. */
static bool get_vcpu(struct vmbox_arch_vcpu *vcpu)
{
	preempt_disable(); /* or another CPU might be the one to detach from */
	vmx_detach(vcpu);
	local_irq_disable();
	preempt_enable();
	return make_current(vcpu);
}

/* ---- a vCPU ---- */

static void vmx_vcpu_destroy(struct vmbox_arch_vcpu *vcpu)
{
	int cpu = smp_load_acquire(&vcpu->cpu);

	if (cpu >= 0) /* a CPU that went offline has cleared it */
		smp_call_function_single(cpu, put_vcpu, vcpu, 1);
	free_page((unsigned long)vcpu->vmcs);
	free_page((unsigned long)vcpu->msrs);
	kfree(vcpu);
}

static struct vmbox_arch_vcpu *vmx_vcpu_create(struct vmbox_cpu_state *state)
{
	struct vmbox_arch_vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);

	if (!vcpu)
		return ERR_PTR(-ENOMEM);
	vcpu->cpu = -1;
	vcpu->vmcs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	vcpu->msrs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->vmcs || !vcpu->msrs) {
		vmx_vcpu_destroy(vcpu);
		return ERR_PTR(-ENOMEM);
	}
	*(u32 *)vcpu->vmcs = controls.revision;
	state->tsc_offset = -rdtsc();
	return vcpu;
}

/* Access rights: SDM vol 3 §25.4.1. */
static u32 access_rights(const struct kvm_segment *s)
{
	if (s->unusable || !s->present)
		return VMX_AR_UNUSABLE_MASK;
	return (s->type & 15) | (s->s & 1) << 4 | (s->dpl & 3) << 5 | 1 << 7 | (s->avl & 1) << 12 |
	       (s->l & 1) << 13 | (s->db & 1) << 14 | (s->g & 1) << 15;
}

/* Segment @i: ES CS SS DS FS GS LDTR TR. */
static void set_segment(int i, const struct kvm_segment *s)
{
	vmcs_write(GUEST_ES_SELECTOR + 2 * i, s->selector);
	vmcs_write(GUEST_ES_BASE + 2 * i, s->base);
	vmcs_write(GUEST_ES_LIMIT + 2 * i, s->limit);
	vmcs_write(GUEST_ES_AR_BYTES + 2 * i, access_rights(s));
}

static void get_segment(int i, struct kvm_segment *s)
{
	u32 ar = vmcs_read(GUEST_ES_AR_BYTES + 2 * i);

	*s = (struct kvm_segment){ .selector = vmcs_read(GUEST_ES_SELECTOR + 2 * i),
				   .base = vmcs_read(GUEST_ES_BASE + 2 * i),
				   .limit = vmcs_read(GUEST_ES_LIMIT + 2 * i),
				   .unusable = !!(ar & VMX_AR_UNUSABLE_MASK) };
	if (s->unusable)
		return;
	s->type = ar & 15;
	s->s = ar >> 4 & 1;
	s->dpl = ar >> 5 & 3;
	s->present = ar >> 7 & 1;
	s->avl = ar >> 12 & 1;
	s->l = ar >> 13 & 1;
	s->db = ar >> 14 & 1;
	s->g = ar >> 15 & 1;
}

static bool vmx_get_segments(struct vmbox_arch_vcpu *vcpu, struct kvm_sregs *s)
{
	struct kvm_segment *segments[] = { &s->es, &s->cs, &s->ss,  &s->ds,
					   &s->fs, &s->gs, &s->ldt, &s->tr };
	bool here = get_vcpu(vcpu);
	int i;

	if (here) {
		for (i = 0; i < ARRAY_SIZE(segments); i++)
			get_segment(i, segments[i]);
		s->gdt.base = vmcs_read(GUEST_GDTR_BASE);
		s->gdt.limit = vmcs_read(GUEST_GDTR_LIMIT);
		s->idt.base = vmcs_read(GUEST_IDTR_BASE);
		s->idt.limit = vmcs_read(GUEST_IDTR_LIMIT);
	}
	local_irq_enable();
	return here;
}

static bool vmx_set_segments(struct vmbox_arch_vcpu *vcpu, const struct kvm_sregs *s)
{
	const struct kvm_segment *segments[] = { &s->es, &s->cs, &s->ss,  &s->ds,
						 &s->fs, &s->gs, &s->ldt, &s->tr };
	bool here = get_vcpu(vcpu);
	int i;

	if (here) {
		for (i = 0; i < ARRAY_SIZE(segments); i++)
			set_segment(i, segments[i]);
		vmcs_write(GUEST_GDTR_BASE, s->gdt.base);
		vmcs_write(GUEST_GDTR_LIMIT, s->gdt.limit);
		vmcs_write(GUEST_IDTR_BASE, s->idt.base);
		vmcs_write(GUEST_IDTR_LIMIT, s->idt.limit);
	}
	local_irq_enable();
	return here;
}

/* ---- a stay in guest mode ---- */

/* What VM exits lose of the host's state, beyond what the VMCS has. SDM vol 3 §28.5. */
struct host_state {
	u16 ds, es, fs, gs, ldt;
	struct desc_ptr idt; /* its limit */
	u64 debugctl;
	u64 fs_base;
};

static void save_host(struct vmbox_arch_vcpu *vcpu, struct host_state *h)
{
	savesegment(ds, h->ds);
	savesegment(es, h->es);
	savesegment(fs, h->fs);
	savesegment(gs, h->gs);
	store_ldt(h->ldt);
	store_idt(&h->idt);
	h->debugctl = get_debugctlmsr();
	h->fs_base = native_read_msr(MSR_FS_BASE);
	vcpu->msrs->host[I_KERNEL_GS].value = native_read_msr(MSR_KERNEL_GS_BASE);
	vmcs_write(HOST_FS_BASE, h->fs_base);
	vmcs_write(HOST_CR3, __get_current_cr3_fast());
	vmcs_write(HOST_CR4, cr4_read_shadow());
}

static void restore_host(struct vmbox_arch_vcpu *vcpu, const struct host_state *h)
{
	load_fixmap_gdt(smp_processor_id()); /* the GDT's limit is 64 KiB now, the TSS's has no */
	invalidate_tss_limit();		     /* place for an I/O bitmap */
	load_idt(&h->idt);
	if (unlikely(h->ldt))
		asm volatile("lldt %w0" : : "r"(h->ldt));
	if (unlikely(h->ds))
		loadsegment(ds, h->ds);
	if (unlikely(h->es))
		loadsegment(es, h->es);
	if (unlikely(h->fs)) {
		loadsegment(fs, h->fs);
		wrmsrl(MSR_FS_BASE, h->fs_base);
	}
	if (unlikely(h->gs)) {
		load_gs_index(h->gs);
		wrmsrl(MSR_KERNEL_GS_BASE, vcpu->msrs->host[I_KERNEL_GS].value);
	}
	if (unlikely(h->debugctl))
		update_debugctlmsr(h->debugctl);
}

/* Counters of perf's that must not count, or write records, in guest mode. */
static void switch_perf(struct vmbox_arch_vcpu *vcpu)
{
	const struct perf_guest_switch_msr *msrs;
	u32 n = NR_SWITCHED;
	int nr = 0, i;

	msrs = perf_guest_get_msrs(&nr, NULL);
	for (i = 0; msrs && i < nr && n < NR_SWITCHED + MAX_PERF_MSRS; i++) {
		if (msrs[i].host == msrs[i].guest)
			continue;
		vcpu->msrs->guest[n] =
			(struct vmx_msr_entry){ .index = msrs[i].msr, .value = msrs[i].guest };
		vcpu->msrs->host[n++] =
			(struct vmx_msr_entry){ .index = msrs[i].msr, .value = msrs[i].host };
	}
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, n);
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, n);
}

/* SDM vol 3 §25.8.3. */
static void load_event(const struct vmbox_event *event)
{
	u32 info = 0;

	if (event->kind != EVENT_NONE) {
		info = event->vector | INTR_INFO_VALID_MASK;
		info |= event->kind == EVENT_INTERRUPT ? INTR_TYPE_EXT_INTR
						       : INTR_TYPE_HARD_EXCEPTION;
	}
	if (event->kind == EVENT_EXCEPTION && event->has_error) {
		info |= INTR_INFO_DELIVER_CODE_MASK;
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, event->error);
	}
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, info);
}

static void load_vmcs(struct vmbox_arch_vcpu *vcpu, const struct vmbox_cpu_state *state,
		      u64 root_hpa, const struct vmbox_event *event, bool want_window)
{
	struct vmbox_paging paging = vmbox_hardware_paging(state);

	vmcs_write(GUEST_RSP, state->gpr[REG_RSP]);
	vmcs_write(GUEST_RIP, state->rip);
	vmcs_write(GUEST_RFLAGS, state->rflags);
	vmcs_write(GUEST_CR0, paging.cr0 | X86_CR0_NE);
	vmcs_write(CR0_READ_SHADOW, state->cr0);
	vmcs_write(GUEST_CR3, root_hpa);
	vmcs_write(GUEST_CR4, paging.cr4 | X86_CR4_VMXE);
	vmcs_write(CR4_READ_SHADOW, state->cr4);
	vmcs_write(GUEST_DR7, state->dr7);
	vmcs_write(TSC_OFFSET, state->tsc_offset);
	/* A shadow is as the last exit left it, and ends with an event: no single step is pending. */
	if (!state->irq_shadow || event->kind != EVENT_NONE) {
		vmcs_write(GUEST_INTERRUPTIBILITY_INFO, 0);
		vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	}
	vmcs_write(CPU_BASED_VM_EXEC_CONTROL,
		   controls.primary | (want_window ? CPU_BASED_INTR_WINDOW_EXITING : 0));
	vmcs_write(VM_ENTRY_CONTROLS,
		   controls.entry | (state->efer & EFER_LMA ? VM_ENTRY_IA32E_MODE : 0));
	vcpu->msrs->guest[I_EFER].value = paging.efer;
	load_event(event);
}

static void save_vmcs(struct vmbox_cpu_state *state)
{
	u32 cs = vmcs_read(GUEST_CS_AR_BYTES);
	int i;

	state->gpr[REG_RSP] = vmcs_read(GUEST_RSP);
	state->rip = vmcs_read(GUEST_RIP);
	state->rflags = vmcs_read(GUEST_RFLAGS);
	state->irq_shadow = vmcs_read(GUEST_INTERRUPTIBILITY_INFO) &
			    (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
	state->cpl = vmcs_read(GUEST_SS_AR_BYTES) >> 5 & 3;
	state->cs_long = (cs & BIT(13)) && (state->efer & EFER_LMA);
	state->cs_32 = cs & BIT(14);
	for (i = 0; i < ARRAY_SIZE(state->seg_base); i++)
		state->seg_base[i] = vmcs_read(GUEST_ES_BASE + 2 * i);
}

/*
 * What was being delivered when the exit hit, to be delivered again. Software
 * interrupts and exceptions are not: RIP is still at the instruction, which runs
 * again. SDM vol 3 §28.2.4.
 */
static struct vmbox_event interrupted_event(void)
{
	u32 info = vmcs_read(IDT_VECTORING_INFO_FIELD), type = info & VECTORING_INFO_TYPE_MASK;
	struct vmbox_event event = { .vector = info & VECTORING_INFO_VECTOR_MASK };

	if (!(info & VECTORING_INFO_VALID_MASK))
		return event;
	if (type == INTR_TYPE_EXT_INTR)
		event.kind = EVENT_INTERRUPT;
	if (type == INTR_TYPE_HARD_EXCEPTION) {
		event.kind = EVENT_EXCEPTION;
		event.has_error = info & VECTORING_INFO_DELIVER_CODE_MASK;
		event.error = event.has_error ? vmcs_read(IDT_VECTORING_ERROR_CODE) : 0;
	}
	return event;
}

static void translate_exception(struct vmbox_cpu_state *state, struct vmbox_exit *exit)
{
	u32 info = vmcs_read(VM_EXIT_INTR_INFO);
	u32 type = info & INTR_INFO_INTR_TYPE_MASK;
	u8 vector = info & INTR_INFO_VECTOR_MASK;

	if (type == INTR_TYPE_NMI_INTR) {
		asm volatile("int $2"); /* the host's NMI; its IRET lets the next one in */
		exit->kind = EXIT_HOST;
		return;
	}
	switch (vector) {
	case PF_VECTOR:
		exit->kind = EXIT_PAGE_FAULT;
		exit->error = vmcs_read(VM_EXIT_INTR_ERROR_CODE);
		exit->gva = vmcs_read(EXIT_QUALIFICATION);
		return;
	case DB_VECTOR: /* SDM vol 3 §28.2.1: DR6 is not changed, the qualification is its bits */
		state->dr6 = (state->dr6 & ~(u64)DR_TRAP_BITS) |
			     (vmcs_read(EXIT_QUALIFICATION) & (DR_TRAP_BITS | DR_STEP));
		if (type == INTR_TYPE_PRIV_SW_EXCEPTION) /* INT1: RIP is still at it */
			state->rip = exit->next_rip;
		fallthrough;
	case AC_VECTOR:
		exit->kind = EXIT_EXCEPTION;
		exit->event = (struct vmbox_event){ .kind = EVENT_EXCEPTION,
						    .vector = vector,
						    .has_error = vector == AC_VECTOR };
		return;
	case MC_VECTOR: /* the host's machine check; its handler reads the banks. Vector 18. */
		asm volatile("int $18");
		exit->kind = EXIT_HOST;
	}
}

/* SDM vol 3 §28.2.1, tables of exit qualifications. */
static void translate_cr_access(struct vmbox_exit *exit)
{
	static const enum insn_op ops[] = { INSN_CR_WRITE, INSN_CR_READ, INSN_CLTS, INSN_LMSW };
	u32 q = vmcs_read(EXIT_QUALIFICATION);

	exit->kind = EXIT_INSN;
	exit->insn.op = ops[q >> 4 & 3];
	exit->insn.cr = q & 15;
	exit->insn.reg = q >> 8 & 15;
	exit->operand = q >> 16;
}

static void translate_dr_access(struct vmbox_exit *exit)
{
	u32 q = vmcs_read(EXIT_QUALIFICATION);

	exit->kind = EXIT_INSN;
	exit->insn.op = q & BIT(4) ? INSN_DR_READ : INSN_DR_WRITE;
	exit->insn.cr = q & 7;
	exit->insn.reg = q >> 8 & 15;
}

static void translate_io(struct vmbox_exit *exit)
{
	u32 q = vmcs_read(EXIT_QUALIFICATION);

	exit->kind = EXIT_IO;
	exit->port = q >> 16;
	exit->size = (q & 7) + 1;
	exit->in = q & BIT(3);
	exit->string = q & BIT(4); /* a prefix alone does not repeat */
}

static void entry_failed(struct vmbox_exit *exit, u32 code, u32 reason)
{
	exit->kind = EXIT_ENTRY_FAILED;
	exit->reason = code;
	pr_warn_ratelimited("VM of pid %d: its entry failed (%#x): %s\n", current->tgid, code,
			    vmbox_vmx_check(reason));
}

static void translate_exit(struct vmbox_cpu_state *state, struct vmbox_exit *exit)
{
	u32 reason = vmcs_read(VM_EXIT_REASON);
	int i;

	exit->reason = reason;
	if (reason & VMX_EXIT_REASONS_FAILED_VMENTRY) {
		if ((u16)reason == EXIT_REASON_MCE_DURING_VMENTRY)
			asm volatile("int $18");
		entry_failed(exit, reason, reason);
		return;
	}
	exit->interrupted = interrupted_event();
	exit->insn.len = vmcs_read(VM_EXIT_INSTRUCTION_LEN);
	exit->next_rip = state->rip + exit->insn.len;
	switch (reason) {
	case EXIT_REASON_EXCEPTION_NMI:
		translate_exception(state, exit);
		return;
	case EXIT_REASON_CR_ACCESS:
		translate_cr_access(exit);
		return;
	case EXIT_REASON_DR_ACCESS:
		translate_dr_access(exit);
		return;
	case EXIT_REASON_IO_INSTRUCTION:
		translate_io(exit);
		return;
	case EXIT_REASON_INVLPG:
		exit->operand = vmcs_read(EXIT_QUALIFICATION);
		break;
	}
	for (i = 0; i < ARRAY_SIZE(exit_kinds); i++) {
		if (reason == exit_kinds[i].reason) {
			exit->kind = exit_kinds[i].kind;
			exit->insn.op = exit_kinds[i].op;
		}
	}
}

/* RCU does not watch between the two, and what it does not watch must not be traced. */
static noinstr int enter_guest(u64 *gpr, bool resume)
{
	int failed;

	guest_state_enter_irqoff();
	failed = vmbox_vmx_enter(gpr, resume);
	guest_state_exit_irqoff();
	return failed;
}

static void vmx_run(struct vmbox_arch_vcpu *vcpu, struct vmbox_cpu_state *state, u64 root_hpa,
		    bool flush, const struct vmbox_event *event, bool want_window,
		    struct vmbox_exit *exit)
{
	struct host_state host;
	int failed;

	*exit = (struct vmbox_exit){ .kind = EXIT_UNKNOWN };
	if (!make_current(vcpu)) {
		exit->kind = EXIT_ENTRY_FAILED;
		return;
	}
	load_vmcs(vcpu, state, root_hpa, event, want_window);
	switch_perf(vcpu);
	if (flush && controls.has_vpid)
		invvpid_all();
	save_host(vcpu, &host);
	write_cr2(state->cr2);

	failed = enter_guest(state->gpr, vcpu->is_launched);
	state->cr2 = read_cr2();
	write_cr2(0);
	restore_host(vcpu, &host);
	if (failed) {
		entry_failed(exit, vmcs_read(VM_INSTRUCTION_ERROR), 0);
		return;
	}
	vcpu->is_launched = true;
	save_vmcs(state);
	translate_exit(state, exit);
}

/* ---- the module ---- */

static void vmx_fini(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = &per_cpu(vmx_cpus, cpu);

		if (c->vmxon)
			__free_page(c->vmxon);
		c->vmxon = NULL;
	}
	free_page((unsigned long)msr_bitmap);
	msr_bitmap = NULL;
}

/* What vmx_run(), vmx_entry.S and mem.c do, where the kernel's macros find these features. */
static const struct vmbox_measure measures[] = {
	{ "IBPB between vCPUs", X86_FEATURE_USE_IBPB },
	{ "clear CPU buffers", X86_FEATURE_CLEAR_CPU_BUF },
	{ "fill return stack", X86_FEATURE_RSB_VMEXIT },
	{ "one call at exit", X86_FEATURE_RSB_VMEXIT_LITE },
	{ "IBRS at exit", X86_FEATURE_KERNEL_IBRS },
	{ "clear branch history", X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT },
	{ "IBPB before user mode", X86_FEATURE_IBPB_EXIT_TO_USER },
	{ "small executable pages", X86_BUG_ITLB_MULTIHIT },
	{}
};

static const struct vmbox_arch_ops vmx_ops = {
	.name = "VT-x",
	.measures = measures,
	.kvm_has_crash_slot = true,
	.fini = vmx_fini,
	.hardware_enable = vmx_hardware_enable,
	.hardware_disable = vmx_hardware_disable,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.detach = vmx_detach,
	.run = vmx_run,
	.get_segments = vmx_get_segments,
	.set_segments = vmx_set_segments,
};

/*
 * One word of controls: what we need and what the CPU insists on, and of @optional what it
 * has. SDM vol 3 appendix A.2. False: it lacks something.
 */
static bool read_control(u32 *control, u32 msr, u32 need, u32 optional, const char *name)
{
	u32 must, may;

	rdmsr(msr, must, may);
	*control = need | must | (optional & may);
	if (!(need & ~may))
		return true;
	pr_err("this CPU's VT-x lacks %#x of the %s controls\n", need & ~may, name);
	return false;
}

/* SDM vol 3 appendix A.7, A.8: bits of CR0 and CR4 that VMX operation fixes. */
static bool fixed_bits_fit(void)
{
	u64 cr0_set, cr0_may, cr4_set, cr4_may;
	u64 cr4 = vmbox_cpu_features_cr4() | X86_CR4_PAE | X86_CR4_MCE | X86_CR4_VMXE;

	rdmsrl(MSR_IA32_VMX_CR0_FIXED0, cr0_set);
	rdmsrl(MSR_IA32_VMX_CR0_FIXED1, cr0_may);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED0, cr4_set);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED1, cr4_may);
	return !(cr0_set & ~(u64)(X86_CR0_PE | X86_CR0_NE | X86_CR0_PG)) &&
	       !(~cr0_may & 0xffffffff) && !(cr4_set & ~(u64)X86_CR4_VMXE) && !(cr4 & ~cr4_may);
}

static int read_controls(struct vmx_controls *c)
{
	u64 basic, vpid_cap = 0;
	u32 truly = 0;

	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	c->revision = vmx_basic_vmcs_revision_id(basic);
	if (basic & BASIC_TRUE_CONTROLS) /* bits that older CPUs insist on may be 0 */
		truly = MSR_IA32_VMX_TRUE_PINBASED_CTLS - MSR_IA32_VMX_PINBASED_CTLS;
	if (!read_control(&c->pin, MSR_IA32_VMX_PINBASED_CTLS + truly,
			  PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING | PIN_BASED_VIRTUAL_NMIS,
			  0, "pin-based") ||
	    !read_control(&c->primary, MSR_IA32_VMX_PROCBASED_CTLS + truly,
			  CPU_BASED_USE_TSC_OFFSETTING | CPU_BASED_HLT_EXITING |
				  CPU_BASED_INVLPG_EXITING | CPU_BASED_MWAIT_EXITING |
				  CPU_BASED_RDPMC_EXITING | CPU_BASED_CR3_LOAD_EXITING |
				  CPU_BASED_CR3_STORE_EXITING | CPU_BASED_CR8_LOAD_EXITING |
				  CPU_BASED_CR8_STORE_EXITING | CPU_BASED_MOV_DR_EXITING |
				  CPU_BASED_UNCOND_IO_EXITING | CPU_BASED_USE_MSR_BITMAPS |
				  CPU_BASED_MONITOR_EXITING,
			  CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, "primary processor-based") ||
	    !read_control(&c->exit, MSR_IA32_VMX_EXIT_CTLS + truly,
			  VM_EXIT_HOST_ADDR_SPACE_SIZE | VM_EXIT_SAVE_DEBUG_CONTROLS, 0, "exit") ||
	    !read_control(&c->entry, MSR_IA32_VMX_ENTRY_CTLS + truly, VM_ENTRY_LOAD_DEBUG_CONTROLS,
			  0, "entry"))
		return -ENODEV;
	if ((c->primary & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS) &&
	    !read_control(&c->secondary, MSR_IA32_VMX_PROCBASED_CTLS2, 0,
			  SECONDARY_EXEC_WBINVD_EXITING | SECONDARY_EXEC_ENCLS_EXITING |
				  SECONDARY_EXEC_ENABLE_VPID,
			  "secondary processor-based"))
		return -ENODEV;
	if (c->secondary & SECONDARY_EXEC_ENABLE_VPID)
		rdmsrl(MSR_IA32_VMX_EPT_VPID_CAP, vpid_cap);
	c->has_vpid = (vpid_cap & VPID_CAP_ALL) == VPID_CAP_ALL;
	if (!c->has_vpid)
		c->secondary &= ~SECONDARY_EXEC_ENABLE_VPID;
	return 0;
}

/* The bit of @msr in each quarter of the bitmap. SDM vol 3 §25.6.9. */
static void open_msr(u32 msr)
{
	u32 bit = (msr & 0x1fff) + (msr >= 0xc0000000 ? 0x2000 : 0);

	__clear_bit(bit, msr_bitmap);	       /* reads */
	__clear_bit(bit + 0x4000, msr_bitmap); /* writes */
}

static int allocate_all(void)
{
	int cpu, i;

	msr_bitmap = (unsigned long *)__get_free_page(GFP_KERNEL);
	if (!msr_bitmap)
		return -ENOMEM;
	memset(msr_bitmap, 0xff, PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(open_msrs); i++)
		open_msr(open_msrs[i]);
	for_each_possible_cpu(cpu) {
		per_cpu(vmx_cpus, cpu).vmxon = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!per_cpu(vmx_cpus, cpu).vmxon)
			return -ENOMEM;
	}
	return 0;
}

/* Checks that the CPU has VT-x and allocates what all VMs share. */
int __init vmbox_vmx_init(const struct vmbox_arch_ops **ops)
{
	const u64 enabled = FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX;
	u64 feat_ctl;
	int err;

	if (!(cpuid_ecx(1) & BIT(5)))
		return -ENODEV;
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &feat_ctl) || (feat_ctl & enabled) != enabled) {
		pr_err("VT-x is disabled by the firmware: enable it in its setup\n");
		return -ENODEV;
	}
	if (!fixed_bits_fit()) {
		pr_err("this CPU's VT-x fixes bits of CR0 or CR4 that vmbox does not know\n");
		return -ENODEV;
	}
	err = read_controls(&controls);
	if (!err)
		err = allocate_all();
	if (err) {
		vmx_fini();
		return err;
	}
	*ops = &vmx_ops;
	return 0;
}
