// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-V. Owns the VMCB, the permission maps and each CPU's EFER.SVME.
 * Theory of operation: AMD APM vol 2 chapter 15.
 *
 * Everything that can exit does, but: RDTSC (offset by the VMCB), PUSHF, POPF,
 * IRET, INTn, INT1, RSM, PAUSE, stores and loads of descriptor-table registers,
 * CR8 (virtual: V_INTR_MASKING), reads of CR0 while it is what the guest wrote,
 * exceptions other than #DB, #PF, #AC and #MC, and the MSRs in open_msrs[].
 *
 * No host state is left for later: what an entry changes is restored before
 * interrupts are on again. SECURITY.md has the table.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cc_platform.h>
#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/svm.h>

#include "backend.h"
#include "svm.h"

#define IOPM_ORDER  2 /* 12 KiB are used: one bit a port, and 3 more. APM vol 2 §15.10.1 */
#define MSRPM_ORDER 1 /* 8 KiB: two bits an MSR. APM vol 2 §15.11 */
#define GUEST_ASID  1 /* all VMs: the TLB is flushed when a CPU's vCPU is another */

struct vmbox_arch_vcpu {
	struct vmcb *vmcb;
	u64 vmcb_pa;
	int cpu; /* where it ran last */
};

struct svm_cpu {
	struct page *hsave;	      /* VM_HSAVE_PA: the CPU's own, opaque */
	struct page *host;	      /* VMSAVE and VMLOAD of the host's state */
	struct vmbox_arch_vcpu *last; /* the vCPU that ran here last; who destroys it clears it */
	bool enabled;
};

static DEFINE_PER_CPU(struct svm_cpu, svm_cpus);
static struct page *iopm, *msrpm; /* read-only once init is done; all VMs */

/* Switched by VMLOAD, VMSAVE and VMRUN themselves, so the guest may have them. */
static const u32 open_msrs[] = {
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SYSCALL_MASK,
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
	MSR_FS_BASE,
	MSR_GS_BASE,
	MSR_KERNEL_GS_BASE,
};

static const u32 intercepts[] = {
	INTERCEPT_CR3_READ,
	INTERCEPT_CR4_READ,
	INTERCEPT_CR0_WRITE,
	INTERCEPT_CR3_WRITE,
	INTERCEPT_CR4_WRITE,
	INTERCEPT_DR0_READ,
	INTERCEPT_DR1_READ,
	INTERCEPT_DR2_READ,
	INTERCEPT_DR3_READ,
	INTERCEPT_DR4_READ,
	INTERCEPT_DR5_READ,
	INTERCEPT_DR6_READ,
	INTERCEPT_DR7_READ,
	INTERCEPT_DR0_WRITE,
	INTERCEPT_DR1_WRITE,
	INTERCEPT_DR2_WRITE,
	INTERCEPT_DR3_WRITE,
	INTERCEPT_DR4_WRITE,
	INTERCEPT_DR5_WRITE,
	INTERCEPT_DR6_WRITE,
	INTERCEPT_DR7_WRITE,
	INTERCEPT_INTR,
	INTERCEPT_NMI,
	INTERCEPT_SMI,
	INTERCEPT_INIT,
	INTERCEPT_RDPMC,
	INTERCEPT_CPUID,
	INTERCEPT_INVD,
	INTERCEPT_HLT,
	INTERCEPT_INVLPG,
	INTERCEPT_INVLPGA,
	INTERCEPT_IOIO_PROT,
	INTERCEPT_MSR_PROT,
	INTERCEPT_TASK_SWITCH,
	INTERCEPT_FERR_FREEZE,
	INTERCEPT_SHUTDOWN,
	INTERCEPT_VMRUN,
	INTERCEPT_VMMCALL,
	INTERCEPT_VMLOAD,
	INTERCEPT_VMSAVE,
	INTERCEPT_STGI,
	INTERCEPT_CLGI,
	INTERCEPT_SKINIT,
	INTERCEPT_RDTSCP,
	INTERCEPT_WBINVD,
	INTERCEPT_MONITOR,
	INTERCEPT_MWAIT,
	INTERCEPT_MWAIT_COND,
	INTERCEPT_XSETBV,
	INTERCEPT_RDPRU,
	INTERCEPT_INVLPGB,
	INTERCEPT_INVLPGB_ILLEGAL,
	INTERCEPT_INVPCID,
	INTERCEPT_MCOMMIT,
	INTERCEPT_TLBSYNC,
	INTERCEPT_EXCEPTION_OFFSET + DB_VECTOR,
	INTERCEPT_EXCEPTION_OFFSET + PF_VECTOR,
	INTERCEPT_EXCEPTION_OFFSET + AC_VECTOR,
	INTERCEPT_EXCEPTION_OFFSET + MC_VECTOR,
};

/* Exits that need no more than a kind. What is in no table here kills the VM. */
static const struct {
	u32 first, last;
	enum vmbox_exit_kind kind;
} exit_kinds[] = {
	{ SVM_EXIT_READ_CR0, SVM_EXIT_WRITE_DR7, EXIT_INSN },
	{ SVM_EXIT_CPUID, SVM_EXIT_CPUID, EXIT_INSN },
	{ SVM_EXIT_INVD, SVM_EXIT_INVD, EXIT_INSN },
	{ SVM_EXIT_WBINVD, SVM_EXIT_WBINVD, EXIT_INSN },
	{ SVM_EXIT_HLT, SVM_EXIT_INVLPG, EXIT_INSN },
	{ SVM_EXIT_MSR, SVM_EXIT_MSR, EXIT_INSN },
	{ SVM_EXIT_INTR, SVM_EXIT_SMI, EXIT_HOST },
	{ SVM_EXIT_VINTR, SVM_EXIT_VINTR, EXIT_IRQ_WINDOW },
	{ SVM_EXIT_SHUTDOWN, SVM_EXIT_SHUTDOWN, EXIT_SHUTDOWN },
	{ SVM_EXIT_INVLPGA, SVM_EXIT_INVLPGA, EXIT_UNDEFINED },
	{ SVM_EXIT_RDPMC, SVM_EXIT_RDPMC, EXIT_UNDEFINED },
	{ SVM_EXIT_VMRUN, SVM_EXIT_RDTSCP, EXIT_UNDEFINED },
	{ SVM_EXIT_MONITOR, SVM_EXIT_RDPRU, EXIT_UNDEFINED },
	{ 0xa0, 0xa4, EXIT_UNDEFINED }, /* INVLPGB, its illegal form, INVPCID, MCOMMIT, TLBSYNC */
};

static void set_intercept(struct vmcb *vmcb, u32 bit, bool on)
{
	u32 *word = &vmcb->control.intercepts[bit / 32];

	*word = on ? *word | BIT(bit % 32) : *word & ~BIT(bit % 32);
}

/* The bit of @msr in the permission map. APM vol 2 §15.11: three ranges of 8192 MSRs. */
static u32 msrpm_bit(u32 msr)
{
	u32 range = msr < 0x2000 ? 0 : msr < 0xc0002000 ? 1 : 2;

	return (range * 0x2000 + (msr & 0x1fff)) * 2;
}

/* ---- this CPU ---- */

static int svm_hardware_enable(void)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME)
		return -EBUSY;
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, page_to_phys(cpu->hsave));
	WRITE_ONCE(cpu->last, NULL);
	cpu->enabled = true;
	return 0;
}

static void svm_hardware_disable(void)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	u64 efer;

	if (!cpu->enabled)
		return;
	cpu->enabled = false;
	asm volatile("stgi"); /* a crash may come between CLGI and STGI */
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

/* ---- a vCPU ---- */

static void svm_vcpu_destroy(struct vmbox_arch_vcpu *vcpu)
{
	int cpu;

	/* A new vCPU at the same address must not pass for this one. */
	for_each_possible_cpu(cpu)
		cmpxchg(&per_cpu(svm_cpus, cpu).last, vcpu, NULL);
	free_page((unsigned long)vcpu->vmcb);
	kfree(vcpu);
}

static struct vmbox_arch_vcpu *svm_vcpu_create(struct vmbox_cpu_state *state)
{
	struct vmbox_arch_vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	struct vmcb_control_area *c;
	int i;

	if (!vcpu)
		return ERR_PTR(-ENOMEM);
	vcpu->vmcb = (struct vmcb *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->vmcb) {
		kfree(vcpu);
		return ERR_PTR(-ENOMEM);
	}
	vcpu->vmcb_pa = __pa(vcpu->vmcb);
	vcpu->cpu = -1;

	c = &vcpu->vmcb->control;
	for (i = 0; i < ARRAY_SIZE(intercepts); i++)
		set_intercept(vcpu->vmcb, intercepts[i], true);
	c->iopm_base_pa = page_to_phys(iopm);
	c->msrpm_base_pa = page_to_phys(msrpm);
	c->asid = GUEST_ASID;
	c->int_ctl = V_INTR_MASKING_MASK;
	state->tsc_offset = -rdtsc();
	return vcpu;
}

static u16 segment_attributes(const struct kvm_segment *s)
{
	if (s->unusable)
		return 0;
	return (s->type & 15) | (s->s & 1) << 4 | (s->dpl & 3) << 5 | (s->present & 1) << 7 |
	       (s->avl & 1) << 8 | (s->l & 1) << 9 | (s->db & 1) << 10 | (s->g & 1) << 11;
}

static void set_segment(struct vmcb_seg *to, const struct kvm_segment *from)
{
	*to = (struct vmcb_seg){ .selector = from->selector,
				 .attrib = segment_attributes(from),
				 .limit = from->limit,
				 .base = from->base };
}

static void get_segment(struct kvm_segment *to, const struct vmcb_seg *from)
{
	u16 a = from->attrib;

	*to = (struct kvm_segment){ .base = from->base,
				    .limit = from->limit,
				    .selector = from->selector,
				    .type = a & 15,
				    .present = a >> 7 & 1,
				    .dpl = a >> 5 & 3,
				    .db = a >> 10 & 1,
				    .s = a >> 4 & 1,
				    .l = a >> 9 & 1,
				    .g = a >> 11 & 1,
				    .avl = a >> 8 & 1,
				    .unusable = !(a >> 7 & 1) };
}

static bool svm_get_segments(struct vmbox_arch_vcpu *vcpu, struct kvm_sregs *sregs)
{
	const struct vmcb_save_area *s = &vcpu->vmcb->save;

	get_segment(&sregs->es, &s->es);
	get_segment(&sregs->cs, &s->cs);
	get_segment(&sregs->ss, &s->ss);
	get_segment(&sregs->ds, &s->ds);
	get_segment(&sregs->fs, &s->fs);
	get_segment(&sregs->gs, &s->gs);
	get_segment(&sregs->ldt, &s->ldtr);
	get_segment(&sregs->tr, &s->tr);
	sregs->gdt.base = s->gdtr.base;
	sregs->gdt.limit = s->gdtr.limit;
	sregs->idt.base = s->idtr.base;
	sregs->idt.limit = s->idtr.limit;
	return true;
}

static bool svm_set_segments(struct vmbox_arch_vcpu *vcpu, const struct kvm_sregs *sregs)
{
	struct vmcb_save_area *s = &vcpu->vmcb->save;

	set_segment(&s->es, &sregs->es);
	set_segment(&s->cs, &sregs->cs);
	set_segment(&s->ss, &sregs->ss);
	set_segment(&s->ds, &sregs->ds);
	set_segment(&s->fs, &sregs->fs);
	set_segment(&s->gs, &sregs->gs);
	set_segment(&s->ldtr, &sregs->ldt);
	set_segment(&s->tr, &sregs->tr);
	s->gdtr.base = sregs->gdt.base;
	s->gdtr.limit = sregs->gdt.limit;
	s->idtr.base = sregs->idt.base;
	s->idtr.limit = sregs->idt.limit;
	s->cpl = sregs->ss.dpl & 3;
	return true;
}

/* ---- a stay in guest mode ---- */

static void load_vmcb(struct vmcb *vmcb, const struct vmbox_cpu_state *state, u64 root_hpa,
		      bool flush, const struct vmbox_event *event, bool want_window)
{
	struct vmcb_control_area *c = &vmcb->control;
	struct vmcb_save_area *s = &vmcb->save;
	struct vmbox_paging paging = vmbox_hardware_paging(state);

	s->rax = state->gpr[REG_RAX];
	s->rsp = state->gpr[REG_RSP];
	s->rip = state->rip;
	s->rflags = state->rflags;
	s->cr0 = paging.cr0;
	s->cr4 = paging.cr4;
	s->efer = paging.efer | EFER_SVME;
	s->cr2 = state->cr2;
	s->cr3 = root_hpa;
	s->dr6 = state->dr6;
	s->dr7 = state->dr7;
	set_intercept(vmcb, INTERCEPT_CR0_READ, s->cr0 != state->cr0);

	c->tsc_offset = state->tsc_offset;
	c->tlb_ctl = flush ? TLB_CONTROL_FLUSH_ALL_ASID : TLB_CONTROL_DO_NOTHING;
	c->clean = 0;
	c->int_state = state->irq_shadow ? SVM_INTERRUPT_SHADOW_MASK : 0;
	c->int_ctl = V_INTR_MASKING_MASK | (state->cr8 & V_TPR_MASK);
	if (want_window) /* a virtual interrupt that exits before it is delivered */
		c->int_ctl |= V_IRQ_MASK | V_INTR_PRIO_MASK | V_IGN_TPR_MASK;
	set_intercept(vmcb, INTERCEPT_VINTR, want_window);

	c->event_inj = 0;
	c->event_inj_err = 0;
	if (event->kind != EVENT_NONE) {
		c->event_inj = event->vector | SVM_EVTINJ_VALID;
		c->event_inj |= event->kind == EVENT_INTERRUPT ? SVM_EVTINJ_TYPE_INTR
							       : SVM_EVTINJ_TYPE_EXEPT;
		if (event->has_error) {
			c->event_inj |= SVM_EVTINJ_VALID_ERR;
			c->event_inj_err = event->error;
		}
	}
}

static void save_vmcb(const struct vmcb *vmcb, struct vmbox_cpu_state *state)
{
	const struct vmcb_save_area *s = &vmcb->save;

	state->gpr[REG_RAX] = s->rax;
	state->gpr[REG_RSP] = s->rsp;
	state->rip = s->rip;
	state->rflags = s->rflags;
	state->cr2 = s->cr2;
	state->dr6 = s->dr6;
	state->dr7 = s->dr7;
	state->cr8 = vmcb->control.int_ctl & V_TPR_MASK;
	state->irq_shadow = vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK;
	state->cpl = s->cpl;
	state->cs_long = (s->cs.attrib & BIT(9)) && (state->efer & EFER_LMA);
	state->cs_32 = s->cs.attrib & BIT(10);
	state->seg_base[0] = s->es.base;
	state->seg_base[1] = s->cs.base;
	state->seg_base[2] = s->ss.base;
	state->seg_base[3] = s->ds.base;
	state->seg_base[4] = s->fs.base;
	state->seg_base[5] = s->gs.base;
}

/*
 * What was being delivered when the exit hit, to be delivered again. Software
 * interrupts, INT3 and INTO are not: RIP is still at the instruction, which
 * runs again. APM vol 2 §15.7.2.
 */
static struct vmbox_event interrupted_event(const struct vmcb_control_area *c)
{
	struct vmbox_event event = { .vector = c->exit_int_info & SVM_EVTINJ_VEC_MASK };

	if (!(c->exit_int_info & SVM_EXITINTINFO_VALID))
		return event;
	switch (c->exit_int_info & SVM_EXITINTINFO_TYPE_MASK) {
	case SVM_EXITINTINFO_TYPE_INTR:
		event.kind = EVENT_INTERRUPT;
		break;
	case SVM_EXITINTINFO_TYPE_EXEPT:
		if (event.vector == BP_VECTOR || event.vector == OF_VECTOR)
			break;
		event.kind = EVENT_EXCEPTION;
		event.has_error = c->exit_int_info & SVM_EXITINTINFO_VALID_ERR;
		event.error = c->exit_int_info_err;
		break;
	}
	return event;
}

static void translate_exit(const struct vmcb_control_area *c, struct vmbox_exit *exit)
{
	u32 code = c->exit_code, io = c->exit_info_1;
	int i;

	*exit = (struct vmbox_exit){ .kind = EXIT_UNKNOWN, .reason = code };
	if (code == (u32)SVM_EXIT_ERR || c->exit_code_hi) {
		exit->kind = EXIT_ENTRY_FAILED;
		return;
	}
	exit->interrupted = interrupted_event(c);
	switch (code) {
	case SVM_EXIT_EXCP_BASE + PF_VECTOR:
		exit->kind = EXIT_PAGE_FAULT;
		exit->error = c->exit_info_1;
		exit->gva = c->exit_info_2;
		return;
	case SVM_EXIT_EXCP_BASE + DB_VECTOR:
	case SVM_EXIT_EXCP_BASE + AC_VECTOR:
		exit->kind = EXIT_EXCEPTION;
		exit->event =
			(struct vmbox_event){ .kind = EVENT_EXCEPTION,
					      .vector = code - SVM_EXIT_EXCP_BASE,
					      .has_error = code == SVM_EXIT_EXCP_BASE + AC_VECTOR };
		return;
	case SVM_EXIT_EXCP_BASE + MC_VECTOR:
		/* The host's machine check; its handler reads the banks. Vector 18. */
		asm volatile("int $18");
		exit->kind = EXIT_HOST;
		return;
	case SVM_EXIT_IOIO:
		exit->kind = EXIT_IO;
		exit->port = io >> 16;
		exit->size = (io & SVM_IOIO_SIZE_MASK) >> SVM_IOIO_SIZE_SHIFT;
		exit->in = io & SVM_IOIO_TYPE_MASK;
		exit->string = io & SVM_IOIO_STR_MASK; /* a prefix alone does not repeat */
		exit->next_rip = c->exit_info_2;
		return;
	}
	for (i = 0; i < ARRAY_SIZE(exit_kinds); i++)
		if (code >= exit_kinds[i].first && code <= exit_kinds[i].last)
			exit->kind = exit_kinds[i].kind;
}

/* RCU does not watch between the two, and what it does not watch must not be traced. */
static noinstr void enter_guest(u64 *gpr, u64 vmcb_pa, u64 host_pa)
{
	guest_state_enter_irqoff();
	vmbox_svm_enter(gpr, vmcb_pa, host_pa);
	guest_state_exit_irqoff();
}

static void svm_run(struct vmbox_arch_vcpu *vcpu, struct vmbox_cpu_state *state, u64 root_hpa,
		    bool flush, const struct vmbox_event *event, bool want_window,
		    struct vmbox_exit *exit)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	struct vmcb *vmcb = vcpu->vmcb;

	if (!cpu->enabled) {
		*exit = (struct vmbox_exit){ .kind = EXIT_ENTRY_FAILED };
		return;
	}
	if (READ_ONCE(cpu->last) != vcpu) {
		indirect_branch_prediction_barrier();
		WRITE_ONCE(cpu->last, vcpu);
		flush = true; /* the ASID is the last one's too */
	}
	if (vcpu->cpu != smp_processor_id()) {
		vcpu->cpu = smp_processor_id();
		flush = true; /* it missed the flushes while it was away */
	}
	load_vmcb(vmcb, state, root_hpa, flush, event, want_window);
	amd_clear_divider(); /* Zen 1's keeps the last quotient */

	enter_guest(state->gpr, vcpu->vmcb_pa, page_to_phys(cpu->host));

	write_cr2(0);
	save_vmcb(vmcb, state);
	translate_exit(&vmcb->control, exit);
}

/* ---- the module ---- */

static void svm_fini(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = &per_cpu(svm_cpus, cpu);

		if (c->hsave)
			__free_page(c->hsave);
		if (c->host)
			__free_page(c->host);
		c->hsave = c->host = NULL;
	}
	if (iopm)
		__free_pages(iopm, IOPM_ORDER);
	if (msrpm)
		__free_pages(msrpm, MSRPM_ORDER);
	iopm = msrpm = NULL;
}

static int allocate_all(void)
{
	int cpu, i;

	iopm = alloc_pages(GFP_KERNEL, IOPM_ORDER);
	msrpm = alloc_pages(GFP_KERNEL, MSRPM_ORDER);
	if (!iopm || !msrpm)
		return -ENOMEM;
	memset(page_address(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);
	memset(page_address(msrpm), 0xff, PAGE_SIZE << MSRPM_ORDER);
	for (i = 0; i < ARRAY_SIZE(open_msrs); i++)
		bitmap_clear(page_address(msrpm), msrpm_bit(open_msrs[i]), 2);

	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = &per_cpu(svm_cpus, cpu);

		c->hsave = alloc_page(GFP_KERNEL | __GFP_ZERO);
		c->host = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!c->hsave || !c->host)
			return -ENOMEM;
	}
	return 0;
}

/* What svm_run() and svm_entry.S do, where the kernel's macros find these features. */
static const struct vmbox_measure measures[] = {
	{ "IBPB between vCPUs", X86_FEATURE_USE_IBPB },
	{ "clear CPU buffers", X86_FEATURE_CLEAR_CPU_BUF_VM },
	{ "clear divider", X86_BUG_DIV0 },
	{ "fill return stack", X86_FEATURE_RSB_VMEXIT },
	{ "untrain returns", X86_FEATURE_UNRET },
	{ "IBPB at exit", X86_FEATURE_IBPB_ON_VMEXIT },
	{ "IBPB before user mode", X86_FEATURE_IBPB_EXIT_TO_USER },
	{}
};

static const struct vmbox_arch_ops svm_ops = {
	.name = "AMD-V",
	.measures = measures,
	.fini = svm_fini,
	.hardware_enable = svm_hardware_enable,
	.hardware_disable = svm_hardware_disable,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.run = svm_run,
	.get_segments = svm_get_segments,
	.set_segments = svm_set_segments,
};

/* Checks that the CPU has AMD-V and allocates what all VMs share. */
int __init vmbox_svm_init(const struct vmbox_arch_ops **ops)
{
	u64 vm_cr;
	int err;

	if (!boot_cpu_has(X86_FEATURE_SVM))
		return -ENODEV;
	if (rdmsrl_safe(MSR_VM_CR, &vm_cr) || (vm_cr & SVM_VM_CR_SVM_DIS_MASK)) {
		pr_err("AMD-V is disabled by the firmware: enable SVM in its setup\n");
		return -ENODEV;
	}
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT)) {
		pr_err("memory encryption is on, which vmbox does not know: boot with "
		       "mem_encrypt=off\n");
		return -ENODEV;
	}
	err = allocate_all();
	if (err) {
		svm_fini();
		return err;
	}
	*ops = &svm_ops;
	return 0;
}
