// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_RUN: the loop of entries and exits in the caller's own thread. Owns the
 * order of things around an entry; nothing of the host's is left changed when
 * interrupts are on.
 *
 * kvm_run is the caller's page. In-fields are read once; the rest is written.
 */
#include <linux/entry-kvm.h>
#include <linux/hw_breakpoint.h>
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include <asm/debugreg.h>
#include <asm/nospec-branch.h>

#include "regs.h"
#include "run.h"

/* Can the guest take an external interrupt at its next instruction? AMD APM vol 2 §15.21. */
static bool interrupts_open(const struct vmbox_vcpu *vcpu)
{
	return (vcpu->state.rflags & X86_EFLAGS_IF) && !vcpu->state.irq_shadow &&
	       vcpu->exception.kind == EVENT_NONE;
}

static bool ready_for_interrupt(const struct vmbox_vcpu *vcpu)
{
	return interrupts_open(vcpu) && vcpu->interrupt.kind == EVENT_NONE;
}

/* Takes the event to inject at this entry: an exception, else an interrupt if it may come in. */
static struct vmbox_event take_event(struct vmbox_vcpu *vcpu)
{
	struct vmbox_event event = vcpu->exception;

	if (event.kind != EVENT_NONE) {
		vcpu->exception.kind = EVENT_NONE;
	} else if (interrupts_open(vcpu)) {
		event = vcpu->interrupt;
		vcpu->interrupt.kind = EVENT_NONE;
	}
	return event;
}

/* DR0 to DR3 are the guest's only while it has a breakpoint on. The back end switches DR7. */
static bool load_debug_registers(const struct vmbox_cpu_state *state)
{
	if (!(state->dr7 & DR7_BP_EN_MASK))
		return false;
	set_debugreg(0, 7); /* the host's must not fire at the guest's addresses */
	set_debugreg(state->dr[0], 0);
	set_debugreg(state->dr[1], 1);
	set_debugreg(state->dr[2], 2);
	set_debugreg(state->dr[3], 3);
	return true;
}

static void restore_debug_registers(bool loaded)
{
	if (loaded) {
		set_debugreg(0, 0);
		set_debugreg(0, 1);
		set_debugreg(0, 2);
		set_debugreg(0, 3);
	}
	set_debugreg(DR6_RESERVED, 6);
	if (hw_breakpoint_active())
		hw_breakpoint_restore(); /* a VM exit leaves DR7 switched off */
}

/* The MMU has what the guest's paging registers ask for. */
static enum vmbox_next load_root(struct vmbox_vcpu *vcpu)
{
	struct mmu_regs regs = vmbox_mmu_regs(vcpu);

	vcpu->error = vmbox_mmu_load(&vcpu->vm->mem.mmu, &regs);
	return vcpu->error ? NEXT_ERROR : NEXT_ENTER;
}

/* One stay in guest mode. NEXT_SIGNAL: the thread has something else to do first. */
static enum vmbox_next enter(struct vmbox_vcpu *vcpu, struct vmbox_exit *exit)
{
	struct vmbox_vm *vm = vcpu->vm;
	struct vmbox_mmu *mmu = &vm->mem.mmu;
	const struct mmu_sp *root;
	struct vmbox_event event;
	bool window, flush, debug;

	cond_resched();
	if (!READ_ONCE(mmu->root) && load_root(vcpu) != NEXT_ENTER)
		return NEXT_ERROR;
	preempt_disable(); /* from here on this CPU */
	if (vm->ops->detach)
		vm->ops->detach(vcpu->arch);
	local_irq_disable();
	preempt_enable();
	if (signal_pending(current) || test_thread_flag(TIF_NOTIFY_RESUME)) {
		local_irq_enable();
		return NEXT_SIGNAL;
	}
	vmbox_mem_guest_enter(&vm->mem);
	root = READ_ONCE(mmu->root);
	if (!root || need_resched()) { /* dropped since, or another's turn: another try */
		vmbox_mem_guest_exit(&vm->mem);
		local_irq_enable();
		exit->kind = EXIT_HOST;
		exit->interrupted.kind = EVENT_NONE;
		return NEXT_ENTER;
	}
	flush = xchg(&mmu->flush_owed, false);
	mmu->stats[MMU_STAT_tlb_flushes] += flush;
	event = take_event(vcpu);
	window = vcpu->want_window || vcpu->interrupt.kind != EVENT_NONE;
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();

	debug = load_debug_registers(&vcpu->state);

	guest_timing_enter_irqoff();
	vm->ops->run(vcpu->arch, &vcpu->state, root->hpa, flush, &event, window, exit);
	vm->exits[exit->kind]++;
	restore_debug_registers(debug);
	vmbox_mem_guest_exit(&vm->mem);
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER)) /* VMSCAPE */
		this_cpu_write(x86_ibpb_exit_to_user, true);

	/* A host interrupt that ended guest mode is taken here, and billed to the guest. */
	local_irq_enable();
	nop();
	local_irq_disable();
	guest_timing_exit_irqoff();
	local_irq_enable();
	return NEXT_ENTER;
}

/* The caller's answer to an IN. */
static void complete_in(struct vmbox_vcpu *vcpu)
{
	u64 *rax = &vcpu->state.gpr[REG_RAX];
	u32 data = 0;

	if (!vcpu->pending_in)
		return;
	memcpy(&data, (u8 *)vcpu->run + VMBOX_RUN_IO_OFFSET, vcpu->pending_in);
	if (vcpu->pending_in == 4)
		*rax = data;
	else
		*rax = (*rax & ~((1ULL << vcpu->pending_in * 8) - 1)) | data;
	vcpu->pending_in = 0;
}

/* A violated invariant is a bug of ours: the VM ends, and the host does not notice. */
static enum vmbox_next audit(struct vmbox_vcpu *vcpu, enum vmbox_next next)
{
	struct mmu_regs regs = vmbox_mmu_regs(vcpu);
	struct mmu_env *mem = &vcpu->vm->mem;
	const char *bad;
	u64 detail;

	mmu_env_lock(mem);
	bad = vmbox_mmu_audit(&mem->mmu, &regs, &detail);
	mmu_env_unlock(mem);
	return bad ? vmbox_internal_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, bad,
					  detail)
		   : next;
}

static enum vmbox_next loop(struct vmbox_vcpu *vcpu)
{
	enum vmbox_next next;
	struct vmbox_exit exit;
	u32 every;

	do {
		if (vcpu->want_window && ready_for_interrupt(vcpu)) {
			vcpu->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			return NEXT_USER;
		}
		next = enter(vcpu, &exit);
		if (next != NEXT_ENTER)
			break;
		next = vmbox_exit_handle(vcpu, &exit);
		every = READ_ONCE(vcpu->vm->audit);
		if (every && !vcpu->vm->dead && ++vcpu->nr_exits % every == 0)
			next = audit(vcpu, next);
	} while (next == NEXT_ENTER);
	return next;
}

/**
 * vmbox_vcpu_run - KVM_RUN
 * @vcpu: locked, in its VM's process
 *
 * 0: kvm_run has the exit. -EINTR: a signal, or immediate_exit. -EIO: the VM
 * broke before. -EINVAL: no SET_SREGS yet, so no mode that can run. -ENOMEM: the
 * host has no memory to give; -EFAULT: the guest's is gone from the process;
 * -EAGAIN: its tables change all the time. Once that has ended the guest goes on.
 */
long vmbox_vcpu_run(struct vmbox_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	enum vmbox_next next = NEXT_SIGNAL;

	if (READ_ONCE(vcpu->vm->dead))
		return -EIO;
	if (!vcpu->mode_set)
		return -EINVAL;
	complete_in(vcpu);
	if (!READ_ONCE(run->immediate_exit)) {
		vcpu->want_window = READ_ONCE(run->request_interrupt_window);
		fpu_swap_kvm_fpstate(&vcpu->fpu, true);
		next = loop(vcpu);
		fpu_swap_kvm_fpstate(&vcpu->fpu, false);
	}
	if (next == NEXT_SIGNAL)
		run->exit_reason = KVM_EXIT_INTR;
	run->ready_for_interrupt_injection = ready_for_interrupt(vcpu);
	run->if_flag = !!(vcpu->state.rflags & X86_EFLAGS_IF);
	run->flags = 0;
	run->cr8 = vcpu->state.cr8;
	run->apic_base = 0;
	if (next == NEXT_ERROR)
		return vcpu->error;
	return next == NEXT_SIGNAL ? -EINTR : 0;
}
