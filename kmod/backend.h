/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one table between common code and a hardware back end. A back end turns
 * its exits into struct vmbox_exit; common code never sees a VMCB or a VMCS.
 */
#ifndef VMBOX_BACKEND_H
#define VMBOX_BACKEND_H

#include <linux/kvm.h>
#include <linux/types.h>

#include "decode.h"

enum vmbox_reg {
	REG_RAX,
	REG_RCX,
	REG_RDX,
	REG_RBX,
	REG_RSP,
	REG_RBP,
	REG_RSI,
	REG_RDI,
	REG_R8, /* to R15 = 15: the encoding of instructions */
	NR_REGS = 16,
};

/* MSRs that the back end switches and the guest reaches without an exit are not here. */
struct vmbox_cpu_state {
	u64 gpr[NR_REGS]; /* asm offsets: svm_entry.S */
	u64 rip, rflags;
	u64 cr0, cr2, cr3, cr4, cr8, efer; /* as the guest sees them */
	u64 pdpte[4];			   /* PAE paging: as loaded with CR3 */
	u64 dr[4], dr6, dr7;
	u64 pat;
	u64 tsc_offset;
	u8 cpl; /* read-only copies for common code, filled at each exit */
	bool cs_long, cs_32;
	u64 seg_base[6]; /* ES CS SS DS FS GS */
	bool irq_shadow; /* STI or MOV SS blocks interrupts for one instruction */
};

enum vmbox_event_kind {
	EVENT_NONE,
	EVENT_INTERRUPT,
	EVENT_EXCEPTION
};

struct vmbox_event {
	enum vmbox_event_kind kind;
	u8 vector;
	bool has_error;
	u32 error;
};

#define VMBOX_EXIT_KINDS(X)                                                               \
	X(HOST, host)		  /* an interrupt or NMI of the host's: nothing to do */  \
	X(PAGE_FAULT, page_fault) /* gva, error */                                        \
	X(EXCEPTION, exception)	  /* event: only to be looked at; give it back */         \
	X(INSN, insn)		  /* emulate: insn, operand */                            \
	X(IO, io)		  /* port, size, in, next_rip */                          \
	X(UNDEFINED, undefined)	  /* an instruction that the guest's CPU does not have */ \
	X(IRQ_WINDOW, irq_window) /* the guest can take an interrupt now */               \
	X(SHUTDOWN, shutdown)	  /* triple fault; guest state is undefined from here */  \
	X(ENTRY_FAILED, no_entry) /* reason: the hardware's */                            \
	X(UNKNOWN, unknown)	  /* reason: the hardware's; the VM dies */

#define VMBOX_EXIT_KIND(kind, name) EXIT_##kind,
#define VMBOX_EXIT_NAME(kind, name) #name,
enum vmbox_exit_kind {
	VMBOX_EXIT_KINDS(VMBOX_EXIT_KIND)
};
#define NR_EXIT_KINDS (EXIT_UNKNOWN + 1)

struct vmbox_exit {
	enum vmbox_exit_kind kind;
	u64 reason;
	u64 gva;
	u32 error;
	struct vmbox_event event;	/* EXIT_EXCEPTION */
	struct vmbox_event interrupted; /* what was being delivered when the exit hit */
	struct insn insn;		/* len 0: the CPU does not say; decode it */
	u64 operand;			/* with insn: INVLPG's address, LMSW's source */
	u64 next_rip;
	u16 port;
	u8 size;
	bool in, string;
};

struct vmbox_arch_vcpu; /* the back end's own */

/* Against what a CPU does in speculation: done where the host's kernel has set the feature. */
struct vmbox_measure {
	const char *name; /* NULL: the end of the table */
	unsigned int feature;
};

struct vmbox_arch_ops {
	const char *name;
	const struct vmbox_measure *measures;
	bool kvm_has_crash_slot; /* where stock KVM is loaded, only it hears of a crash */
	void (*fini)(void);

	/* This CPU, interrupts off. -EBUSY: another hypervisor has it. Disable: if it is enabled. */
	int (*hardware_enable)(void);
	void (*hardware_disable)(void);

	struct vmbox_arch_vcpu *(*vcpu_create)(struct vmbox_cpu_state *state); /* or ERR_PTR */
	void (*vcpu_destroy)(struct vmbox_arch_vcpu *vcpu);

	/* Before @run, on its CPU, interrupts on: the one where it ran last lets go. NULL: no need. */
	void (*detach)(struct vmbox_arch_vcpu *vcpu);
	/*
	 * One stay in guest mode, on the tree whose root is at @root_hpa. Interrupts off, host
	 * state as found on return, but for DR0 to DR3, DR6 and DR7. @event is injected;
	 * @want_window asks for EXIT_IRQ_WINDOW. @flush: the TLB has entries that the tree has not.
	 */
	void (*run)(struct vmbox_arch_vcpu *vcpu, struct vmbox_cpu_state *state, u64 root_hpa,
		    bool flush, const struct vmbox_event *event, bool want_window,
		    struct vmbox_exit *exit);

	/* Segments and descriptor tables, in the form of the KVM API. False: this CPU is off. */
	bool (*get_segments)(struct vmbox_arch_vcpu *vcpu, struct kvm_sregs *sregs);
	bool (*set_segments)(struct vmbox_arch_vcpu *vcpu, const struct kvm_sregs *sregs);
};

/* Sets @ops, which lives as long as the module, or says why not: -ENODEV, -ENOMEM. */
int vmbox_svm_init(const struct vmbox_arch_ops **ops);
int vmbox_vmx_init(const struct vmbox_arch_ops **ops);

/* What the hardware's paging registers are for a guest's: regs.c. */
struct vmbox_paging {
	u64 cr0, cr4, efer;
};

struct vmbox_paging vmbox_hardware_paging(const struct vmbox_cpu_state *state);

#endif
