// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an exit means: emulates the few instructions that the design lists,
 * asks the MMU about faults, and hands the rest to the caller. Trusts the back
 * end's struct vmbox_exit, nothing else: registers and memory are the guest's.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/ratelimit.h>
#include <linux/sched/signal.h>
#include <asm/cpu.h>
#include <asm/debugreg.h>
#include <asm/trapnr.h>

#include "decode.h"
#include "regs.h"
#include "run.h"

static bool is_contributory(u8 vector)
{
	return vector == X86_TRAP_DE || (vector >= X86_TRAP_TS && vector <= X86_TRAP_GP);
}

/**
 * vmbox_inject_exception - queue an exception for the next entry
 * @vcpu: locked
 * @vector: its number, 0 to 31
 * @has_error: the CPU pushes @error with it
 * @error: the error code
 *
 * If one is being delivered already the two combine to a double fault or, in
 * the end, to a shutdown. AMD APM vol 2 §8.2.9. RF: §3.1.6.
 */
void vmbox_inject_exception(struct vmbox_vcpu *vcpu, u8 vector, bool has_error, u32 error)
{
	struct vmbox_event *e = &vcpu->exception;
	u8 first = e->vector;

	if (e->kind == EVENT_EXCEPTION) {
		if (first == X86_TRAP_DF) {
			vcpu->shutdown = true;
			return;
		}
		if ((is_contributory(first) && is_contributory(vector)) ||
		    (first == X86_TRAP_PF && (is_contributory(vector) || vector == X86_TRAP_PF))) {
			vector = X86_TRAP_DF;
			has_error = true;
			error = 0;
		}
	}
	*e = (struct vmbox_event){
		.kind = EVENT_EXCEPTION, .vector = vector, .has_error = has_error, .error = error
	};
	/* A fault's frame has RF, so that what returns there is not stopped by a breakpoint twice. */
	if (vector != X86_TRAP_DB && vector != X86_TRAP_DF)
		vcpu->state.rflags |= X86_EFLAGS_RF;
}

static enum vmbox_next inject_gp(struct vmbox_vcpu *vcpu)
{
	vmbox_inject_exception(vcpu, X86_TRAP_GP, true, 0);
	return NEXT_ENTER;
}

static enum vmbox_next inject_ud(struct vmbox_vcpu *vcpu)
{
	vmbox_inject_exception(vcpu, X86_TRAP_UD, false, 0);
	return NEXT_ENTER;
}

/**
 * vmbox_internal_error - the VM cannot go on
 * @vcpu: locked
 * @suberror: KVM_INTERNAL_ERROR_EMULATION: what the guest did is not there.
 *	      KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: what no guest may be able to do: a
 *	      mistake of ours
 * @what: for the log
 * @detail: for the log and the caller
 *
 * Marks it dead, says once in the log what happened and makes the exit.
 */
enum vmbox_next vmbox_internal_error(struct vmbox_vcpu *vcpu, u32 suberror, const char *what,
				     u64 detail)
{
	struct kvm_run *run = vcpu->run;

	pr_warn_ratelimited("VM of pid %d ends: %s (%#llx) at rip %#llx\n", current->tgid, what,
			    detail, vcpu->state.rip);
	WRITE_ONCE(vcpu->vm->dead, true);
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = suberror;
	run->internal.ndata = 1;
	run->internal.data[0] = detail;
	return NEXT_USER;
}

static enum vmbox_next inject_pf(struct vmbox_vcpu *vcpu, u64 gva, u32 pfec)
{
	vcpu->state.cr2 = gva;
	vmbox_inject_exception(vcpu, X86_TRAP_PF, true, pfec);
	return NEXT_ENTER;
}

static enum vmbox_next exit_mmio(struct vmbox_vcpu *vcpu, u64 gpa, bool is_write)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = gpa;
	run->mmio.len = 0; /* the driver does not decode the access */
	run->mmio.is_write = is_write;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	return NEXT_USER;
}

/* Acts on a translation of @gva that did not succeed. */
static enum vmbox_next translation_failed(struct vmbox_vcpu *vcpu, enum mmu_status status,
					  const struct mmu_walk *walk, u64 gva, u32 access)
{
	switch (status) {
	case MMU_INJECT:
		return inject_pf(vcpu, gva, walk->pfec);
	case MMU_EXIT:
		return exit_mmio(vcpu, walk->gpa.val, access & PFEC_WRITE);
	default:
		/* A signal can cut a fault of the host's own short: the caller comes back. */
		if (signal_pending(current))
			return NEXT_SIGNAL;
		vcpu->error = walk->error;
		return NEXT_ERROR;
	}
}

static enum vmbox_next handle_page_fault(struct vmbox_vcpu *vcpu, const struct vmbox_exit *exit)
{
	struct mmu_regs regs = vmbox_mmu_regs(vcpu);
	mmu_gva_t gva = { exit->gva };
	struct mmu_walk walk;
	enum mmu_status status;

	if (exit->error & PFEC_RSVD) /* no shadow entry has a reserved bit set */
		return vmbox_internal_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,
					    "reserved bit in a shadow entry", exit->gva);
	status = vmbox_mmu_fault(&vcpu->vm->mem.mmu, &regs, gva, exit->error, &walk);
	if (status == MMU_OK)
		return NEXT_ENTER;
	return translation_failed(vcpu, status, &walk, exit->gva, exit->error);
}

/*
 * Copies the instruction at RIP, as many bytes of it as are mapped. Returns
 * their number, or 0 with @next set. It is set for a part, too, after which the
 * host had an error: bytes may be missing.
 */
static size_t fetch(struct vmbox_vcpu *vcpu, u8 bytes[VMBOX_INSN_MAX], enum vmbox_next *next)
{
	struct vmbox_cpu_state *s = &vcpu->state;
	u64 rip = s->cs_long ? s->rip : (u32)(s->seg_base[1] + s->rip);
	struct mmu_regs regs = vmbox_mmu_regs(vcpu);
	u32 access = PFEC_FETCH | (s->cpl == 3 ? PFEC_USER : 0);
	size_t n = 0;

	while (n < VMBOX_INSN_MAX) {
		mmu_gva_t gva = { rip + n };
		size_t part =
			min_t(size_t, VMBOX_INSN_MAX - n, PAGE_SIZE - offset_in_page(gva.val));
		struct mmu_walk walk;
		enum mmu_status status;

		status = vmbox_mmu_walk(&vcpu->vm->mem.mmu, &regs, gva, access, &walk);
		if (status == MMU_OK) {
			walk.error = vmbox_mem_read(&vcpu->vm->mem, walk.gpa, bytes + n, part);
			if (walk.error)
				status = walk.error == -ENOENT ? MMU_EXIT : MMU_ERROR;
		}
		if (status != MMU_OK) {
			if (!n || status == MMU_ERROR)
				*next = translation_failed(vcpu, status, &walk, gva.val, access);
			break;
		}
		n += part;
	}
	return n;
}

/* Past an emulated instruction: what its completion does to RFLAGS and the shadow. */
static void skip(struct vmbox_vcpu *vcpu, u64 next_rip)
{
	struct vmbox_cpu_state *s = &vcpu->state;

	s->rip = s->cs_long ? next_rip : (u32)next_rip;
	s->irq_shadow = false;
	s->rflags &= ~(u64)X86_EFLAGS_RF;
	if (s->rflags & X86_EFLAGS_TF) {
		s->dr6 |= DR_STEP;
		vmbox_inject_exception(vcpu, X86_TRAP_DB, false, 0);
	}
}

static u64 *gpr(struct vmbox_vcpu *vcpu, u8 reg)
{
	return &vcpu->state.gpr[array_index_nospec(reg & 15, NR_REGS)];
}

/* EDX:EAX as RDMSR, WRMSR and friends use it. */
static void set_edx_eax(struct vmbox_vcpu *vcpu, u64 val)
{
	*gpr(vcpu, REG_RAX) = (u32)val;
	*gpr(vcpu, REG_RDX) = val >> 32;
}

static void emulate_cpuid(struct vmbox_vcpu *vcpu)
{
	u32 eax = *gpr(vcpu, REG_RAX), ecx = *gpr(vcpu, REG_RCX), ebx, edx;

	vmbox_cpuid(vcpu, &eax, &ebx, &ecx, &edx);
	*gpr(vcpu, REG_RAX) = eax;
	*gpr(vcpu, REG_RBX) = ebx;
	*gpr(vcpu, REG_RCX) = ecx;
	*gpr(vcpu, REG_RDX) = edx;
}

static enum reg_result read_cr(struct vmbox_vcpu *vcpu, const struct insn *insn, u64 *val)
{
	switch (insn->cr) {
	case 0:
		*val = vcpu->state.cr0;
		return REG_OK;
	case 3:
		*val = vcpu->state.cr3;
		return REG_OK;
	case 4:
		*val = vcpu->state.cr4;
		return REG_OK;
	case 8:
		*val = vcpu->state.cr8;
		return REG_OK;
	}
	return REG_UNSUPPORTED; /* no other number exits */
}

static enum reg_result write_cr(struct vmbox_vcpu *vcpu, const struct insn *insn, u64 val)
{
	switch (insn->cr) {
	case 0:
		return vmbox_write_cr0(vcpu, val);
	case 3:
		return vmbox_write_cr3(vcpu, val);
	case 4:
		return vmbox_write_cr4(vcpu, val);
	case 8:
		if (val > 15)
			return REG_FAULT;
		vcpu->state.cr8 = val;
		return REG_OK;
	}
	return REG_UNSUPPORTED;
}

/* The debug register that @insn means, or NULL. DR4 and DR5 are DR6 and DR7 while CR4.DE is 0. */
static u64 *debug_register(struct vmbox_vcpu *vcpu, const struct insn *insn)
{
	u8 n = insn->cr;

	if (n < 4)
		return &vcpu->state.dr[array_index_nospec(n, 4)];
	if (n > 7 || (n < 6 && (vcpu->state.cr4 & X86_CR4_DE)))
		return NULL;
	return n & 1 ? &vcpu->state.dr7 : &vcpu->state.dr6;
}

/* AMD APM vol 2 §13.1.1. General detect (DR7.GD) is not offered: its bit stays 0. */
static bool write_debug_register(struct vmbox_vcpu *vcpu, u64 *dr, u64 val)
{
	if (dr == &vcpu->state.dr6 || dr == &vcpu->state.dr7) {
		if (val >> 32)
			return false;
		val = dr == &vcpu->state.dr6 ? (val & 0xe00f) | DR6_RESERVED
					     : (val & 0xffff03ff) | DR7_AT_RESET;
	}
	*dr = val;
	return true;
}

/* INVLPG's operand. A wrong address cannot hurt: it flushes another page of the guest's. */
static u64 effective_address(struct vmbox_vcpu *vcpu, const struct insn *insn)
{
	const struct vmbox_cpu_state *s = &vcpu->state;
	u64 addr = (s64)insn->disp;

	if (insn->rip_relative)
		addr += s->rip + insn->len;
	if (insn->base != INSN_NO_REG)
		addr += *gpr(vcpu, insn->base);
	if (insn->index != INSN_NO_REG)
		addr += *gpr(vcpu, insn->index) << insn->scale;
	if (insn->addr32)
		addr = (u32)addr;
	if (!s->cs_long || insn->seg >= 4)
		addr += s->seg_base[array_index_nospec(insn->seg, 6)];
	return s->cs_long ? addr : (u32)addr;
}

/* LMSW: the low four bits of CR0, and PE cannot be cleared. AMD APM vol 3. */
static enum reg_result emulate_lmsw(struct vmbox_vcpu *vcpu, u64 val)
{
	u64 cr0 = vcpu->state.cr0;

	return vmbox_write_cr0(vcpu, (cr0 & ~0xeULL) | (val & 0xf));
}

static void emulate_smsw(struct vmbox_vcpu *vcpu, const struct insn *insn)
{
	u64 *reg = gpr(vcpu, insn->reg);

	if (insn->opsize == 2)
		*reg = (*reg & ~0xffffULL) | (vcpu->state.cr0 & 0xffff);
	else
		*reg = vcpu->state.cr0 & (insn->opsize == 4 ? 0xffffffffULL : ~0ULL);
}

static enum vmbox_next exit_hlt(struct vmbox_vcpu *vcpu)
{
	vcpu->run->exit_reason = KVM_EXIT_HLT;
	return NEXT_USER;
}

/* The instruction at RIP, from memory. False: it is not one of ours, and @next says what to do. */
static bool fetch_insn(struct vmbox_vcpu *vcpu, struct insn *insn, enum vmbox_next *next)
{
	struct vmbox_cpu_state *s = &vcpu->state;
	u8 bytes[VMBOX_INSN_MAX];
	size_t n = fetch(vcpu, bytes, next);

	if (!n)
		return false;
	if (!vmbox_decode(bytes, n, s->cs_long, insn)) {
		*next = NEXT_ENTER;
		return true;
	}
	if (*next == NEXT_ENTER)
		*next = inject_ud(vcpu);
	return false;
}

static enum vmbox_next handle_insn(struct vmbox_vcpu *vcpu, const struct vmbox_exit *exit)
{
	struct vmbox_cpu_state *s = &vcpu->state;
	enum vmbox_next next = NEXT_ENTER;
	enum reg_result result = REG_OK;
	struct insn insn = exit->insn;
	bool by_hardware = insn.len;
	u64 val, *dr, mask = s->cs_long ? ~0ULL : 0xffffffff;

	if (!s->cs_long && !s->cs_32) /* the decoder has no 16-bit code: on no CPU */
		return inject_ud(vcpu);
	if (!by_hardware && !fetch_insn(vcpu, &insn, &next))
		return next;
	if (s->cpl && insn.op != INSN_CPUID && insn.op != INSN_SMSW)
		return inject_gp(vcpu); /* checked by the CPU before it exits; and here */

	vcpu->vm->insns[array_index_nospec(insn.op, NR_INSN_OPS)]++;
	switch (insn.op) {
	case INSN_CPUID:
		emulate_cpuid(vcpu);
		break;
	case INSN_HLT:
		next = exit_hlt(vcpu);
		break;
	case INSN_RDMSR:
		result = vmbox_read_msr(vcpu, *gpr(vcpu, REG_RCX), &val);
		if (result == REG_OK)
			set_edx_eax(vcpu, val);
		break;
	case INSN_WRMSR:
		val = (u32)*gpr(vcpu, REG_RAX) | *gpr(vcpu, REG_RDX) << 32;
		result = vmbox_write_msr(vcpu, *gpr(vcpu, REG_RCX), val);
		break;
	case INSN_CR_READ:
		result = read_cr(vcpu, &insn, gpr(vcpu, insn.reg));
		break;
	case INSN_CR_WRITE:
		result = write_cr(vcpu, &insn, *gpr(vcpu, insn.reg) & mask);
		break;
	case INSN_DR_READ:
	case INSN_DR_WRITE:
		dr = debug_register(vcpu, &insn);
		if (!dr)
			return inject_ud(vcpu);
		if (insn.op == INSN_DR_READ)
			*gpr(vcpu, insn.reg) = *dr & mask;
		else if (!write_debug_register(vcpu, dr, *gpr(vcpu, insn.reg) & mask))
			result = REG_FAULT;
		break;
	case INSN_CLTS:
		s->cr0 &= ~(u64)X86_CR0_TS;
		break;
	case INSN_SMSW:
		emulate_smsw(vcpu, &insn);
		break;
	case INSN_LMSW:
		result = emulate_lmsw(vcpu, by_hardware ? exit->operand : *gpr(vcpu, insn.reg));
		break;
	case INSN_INVLPG:
		vmbox_mmu_flush_page(&vcpu->vm->mem.mmu,
				     (mmu_gva_t){ by_hardware ? exit->operand
							      : effective_address(vcpu, &insn) });
		break;
	case INSN_WBINVD: /* guest memory is write-back and coherent: nothing to do */
	case NR_INSN_OPS:
		break;
	}
	if (result == REG_FAULT)
		return inject_gp(vcpu);
	if (result == REG_ERROR)
		return NEXT_ERROR;
	if (result == REG_UNSUPPORTED)
		return vmbox_internal_error(vcpu, KVM_INTERNAL_ERROR_EMULATION,
					    "the guest goes to real mode", s->cr0);
	skip(vcpu, s->rip + insn.len);
	return next;
}

static enum vmbox_next handle_io(struct vmbox_vcpu *vcpu, const struct vmbox_exit *exit)
{
	struct kvm_run *run = vcpu->run;
	u32 data = *gpr(vcpu, REG_RAX);

	if (exit->string || (exit->size != 1 && exit->size != 2 && exit->size != 4))
		return vmbox_internal_error(vcpu, KVM_INTERNAL_ERROR_EMULATION, "string port I/O",
					    exit->port);
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = exit->in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = exit->size;
	run->io.port = exit->port;
	run->io.count = 1;
	run->io.data_offset = VMBOX_RUN_IO_OFFSET;
	if (exit->in) {
		vcpu->pending_in = exit->size;
		data = 0;
	}
	memcpy((u8 *)run + VMBOX_RUN_IO_OFFSET, &data, exit->size);
	skip(vcpu, exit->next_rip);
	return NEXT_USER;
}

static enum vmbox_next exit_shutdown(struct vmbox_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->vm->dead, true);
	vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
	return NEXT_USER;
}

static enum vmbox_next exit_entry_failed(struct vmbox_vcpu *vcpu, u64 reason)
{
	struct kvm_run *run = vcpu->run;

	WRITE_ONCE(vcpu->vm->dead, true);
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = reason;
	run->fail_entry.cpu = raw_smp_processor_id();
	return NEXT_USER;
}

/*
 * #AC that the guest has not asked for: the host detects split locks. False: not so, or the host's
 * policy is to kill, by a signal that is pending now.
 */
static bool host_checks_locks(const struct vmbox_vcpu *vcpu)
{
	const struct vmbox_cpu_state *s = &vcpu->state;

	if (s->cpl == 3 && (s->cr0 & X86_CR0_AM) && (s->rflags & X86_EFLAGS_AC))
		return false;
	return boot_cpu_has(X86_FEATURE_SPLIT_LOCK_DETECT) && handle_guest_split_lock(s->rip);
}

static enum vmbox_next dispatch(struct vmbox_vcpu *vcpu, const struct vmbox_exit *exit)
{
	switch (exit->kind) {
	case EXIT_HOST:
		return NEXT_ENTER;
	case EXIT_PAGE_FAULT:
		return handle_page_fault(vcpu, exit);
	case EXIT_EXCEPTION:
		if (exit->event.vector == X86_TRAP_AC && host_checks_locks(vcpu))
			return NEXT_ENTER;
		vmbox_inject_exception(vcpu, exit->event.vector, exit->event.has_error,
				       exit->event.error);
		return NEXT_ENTER;
	case EXIT_INSN:
		return handle_insn(vcpu, exit);
	case EXIT_IO:
		return handle_io(vcpu, exit);
	case EXIT_UNDEFINED:
		return inject_ud(vcpu);
	case EXIT_IRQ_WINDOW:
		return NEXT_ENTER; /* the loop looks at interrupts before each entry */
	case EXIT_SHUTDOWN:
		return exit_shutdown(vcpu);
	case EXIT_ENTRY_FAILED:
		return exit_entry_failed(vcpu, exit->reason);
	case EXIT_UNKNOWN:
		break;
	}
	return vmbox_internal_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, "unknown exit",
				    exit->reason);
}

/**
 * vmbox_exit_handle - act on an exit
 * @vcpu: locked, out of guest mode, in its VM's process
 * @exit: from the back end
 */
enum vmbox_next vmbox_exit_handle(struct vmbox_vcpu *vcpu, const struct vmbox_exit *exit)
{
	enum vmbox_next next;

	/* What the entry was delivering goes first again. */
	if (exit->interrupted.kind == EVENT_EXCEPTION)
		vcpu->exception = exit->interrupted;
	else if (exit->interrupted.kind == EVENT_INTERRUPT)
		vcpu->interrupt = exit->interrupted;

	down_read(&vcpu->vm->mem.slots_sem);
	next = dispatch(vcpu, exit);
	up_read(&vcpu->vm->mem.slots_sem);

	/* A fault of the guest's own at its delivery comes in an interrupt's place. */
	if (exit->interrupted.kind == EVENT_INTERRUPT && vcpu->exception.kind == EVENT_EXCEPTION)
		vcpu->interrupt.kind = EVENT_NONE;
	if (vcpu->shutdown && next == NEXT_ENTER)
		return exit_shutdown(vcpu);
	return next;
}
