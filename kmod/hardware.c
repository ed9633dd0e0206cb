// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPUs' virtualization. Owns the choice of the back end, and when each CPU
 * has it on: from the first VM to the last, but not while the CPU is offline,
 * the machine sleeps, restarts or crashes. Keeps other hypervisors apart: one
 * that is active is found on each CPU, one that is loaded later is refused.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/sched/smt.h>
#include <linux/syscore_ops.h>
#include <asm/reboot.h>

#include "hardware.h"
#include "limits.h"

const struct vmbox_arch_ops *vmbox_ops __ro_after_init;

static DEFINE_MUTEX(count_lock);
static unsigned int nr_vms; /* [count_lock] */
static int cpuhp_state;	    /* [count_lock] */
static bool ending;	    /* the machine restarts: no VM is made any more */

/* ---- what CPUs do in speculation ---- */

static bool allow_smt;
module_param(allow_smt, bool, 0644);
MODULE_PARM_DESC(allow_smt, "make VMs also where a guest can read what the core's other thread "
			    "has in its buffers");

static int get_mitigations(char *text, const struct kernel_param *kp)
{
	const struct vmbox_arch_ops *ops = READ_ONCE(vmbox_ops);
	const struct vmbox_measure *m;
	int n = 0;

	if (!ops) /* the file is there before the module's init has run */
		return -ENODEV;
	for (m = ops->measures; m->name; m++)
		if (boot_cpu_has(m->feature))
			n += sysfs_emit_at(text, n, "%s%s", n ? ", " : "", m->name);
	return n + sysfs_emit_at(text, n, n ? "\n" : "none\n");
}

static const struct kernel_param_ops mitigations_ops = { .get = get_mitigations };
module_param_cb(mitigations, &mitigations_ops, NULL, 0444);
MODULE_PARM_DESC(mitigations,
		 "what is done at entries and exits on this CPU, as the host's kernel chose");

/*
 * MDS and TAA: a guest sees what the core's other thread has in the buffers, and nothing that is
 * done at an entry helps. Core scheduling does: nobody else's process runs there meanwhile.
 */
static bool sibling_leaks(void)
{
	if (READ_ONCE(allow_smt) || !sched_smt_active() || cpu_mitigations_off())
		return false;
#ifdef CONFIG_SCHED_CORE
	if (current->core_cookie)
		return false;
#endif
	return (boot_cpu_has_bug(X86_BUG_MDS) && !boot_cpu_has_bug(X86_BUG_MSBDS_ONLY)) ||
	       (boot_cpu_has_bug(X86_BUG_TAA) && boot_cpu_has(X86_FEATURE_RTM));
}

/* ---- one CPU ---- */

static int bring_up(unsigned int cpu)
{
	unsigned long flags;
	int err;

	local_irq_save(flags);
	err = vmbox_ops->hardware_enable();
	local_irq_restore(flags);
	if (err == -EBUSY)
		pr_err("CPU %u: %s is in use by another hypervisor: end its VMs, or unload it "
		       "(rmmod kvm_intel kvm_amd)\n",
		       cpu, vmbox_ops->name);
	else if (err)
		pr_err("CPU %u: cannot turn %s on (%d)\n", cpu, vmbox_ops->name, err);
	return err;
}

static int take_down(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	vmbox_ops->hardware_disable();
	local_irq_restore(flags);
	return 0;
}

static void take_down_here(void *unused)
{
	vmbox_ops->hardware_disable();
}

/**
 * vmbox_hardware_get - one more VM
 *
 * -ENOSPC: there are too many. -EBUSY: another hypervisor has a CPU. -ESHUTDOWN: the
 * machine restarts. -EPERM: the CPU leaks between the threads of a core.
 */
int vmbox_hardware_get(void)
{
	int err = 0;

	if (sibling_leaks()) {
		pr_warn_ratelimited("SMT is on, and this CPU leaks between the threads of a core: "
				    "turn it off (echo off >/sys/devices/system/cpu/smt/control), "
				    "use core scheduling, or load vmbox with allow_smt=1\n");
		return -EPERM;
	}
	mutex_lock(&count_lock);
	if (ending) {
		err = -ESHUTDOWN;
	} else if (nr_vms >= VMBOX_MAX_VMS) {
		err = -ENOSPC;
	} else if (!nr_vms) {
		err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "vmbox:online", bring_up, take_down);
		if (err > 0) {
			cpuhp_state = err;
			err = 0;
		}
	}
	if (!err)
		nr_vms++;
	mutex_unlock(&count_lock);
	return err;
}

void vmbox_hardware_put(void)
{
	mutex_lock(&count_lock);
	if (!--nr_vms)
		cpuhp_remove_state(cpuhp_state);
	mutex_unlock(&count_lock);
}

/* ---- sleep, restart, crash ---- */

/* The last CPU, interrupts off; the others went offline. */
static int suspend(void)
{
	take_down(smp_processor_id());
	return 0;
}

/* If it fails, entries fail on this CPU, and with them their VMs. */
static void resume(void)
{
	if (nr_vms)
		bring_up(smp_processor_id());
}

static struct syscore_ops sleep_ops = { .suspend = suspend, .resume = resume };

static int restart(struct notifier_block *nb, unsigned long event, void *unused)
{
	mutex_lock(&count_lock);
	ending = true;
	mutex_unlock(&count_lock);
	on_each_cpu(take_down_here, NULL, 1);
	return NOTIFY_OK;
}

static struct notifier_block restart_notifier = { .notifier_call = restart };

/* A crash: on each CPU, in an NMI. Without it INIT is blocked and the crash kernel does not start. */
static void crash(void)
{
	vmbox_ops->hardware_disable();
}

/* ---- other hypervisors ---- */

static int module_event(struct notifier_block *nb, unsigned long event, void *module)
{
	const char *name = ((struct module *)module)->name;

	if (event != MODULE_STATE_COMING || (strcmp(name, "kvm_intel") && strcmp(name, "kvm_amd")))
		return NOTIFY_DONE;
	pr_err("%s is refused: vmbox is loaded. To use it: rmmod vmbox\n", name);
	return notifier_from_errno(-EBUSY);
}

static struct notifier_block module_notifier = { .notifier_call = module_event };

/* KVM on Intel has the one place for what is done in a crash as soon as it is loaded. */
static bool kvm_is_in_the_way(void)
{
	if (!vmbox_ops->kvm_has_crash_slot || !symbol_get(kvm_init))
		return false;
	symbol_put(kvm_init);
	return true;
}

/* ---- the module ---- */

static int choose_backend(void)
{
	int err;

	if (boot_cpu_has(X86_FEATURE_XENPV)) {
		pr_err("a Xen PV domain cannot run VMs: use HVM, or the machine itself\n");
		return -ENODEV;
	}
	err = vmbox_vmx_init(&vmbox_ops);
	if (err == -ENODEV)
		err = vmbox_svm_init(&vmbox_ops);
	if (err == -ENODEV)
		pr_err("this CPU has no VT-x or AMD-V that can be used: see vmbox doctor\n");
	return err;
}

/* Finds the back end, and takes the places from which it is turned off in time. */
int __init vmbox_hardware_init(void)
{
	int err = choose_backend();

	if (err)
		return err;
	err = register_module_notifier(&module_notifier);
	if (err)
		goto no_module_notifier;
	if (kvm_is_in_the_way()) { /* not before: it could be loaded meanwhile */
		pr_err("the module kvm is loaded: rmmod kvm_intel kvm\n");
		err = -EBUSY;
		goto no_reboot_notifier;
	}
	err = register_reboot_notifier(&restart_notifier);
	if (err)
		goto no_reboot_notifier;
	register_syscore_ops(&sleep_ops);
	cpu_emergency_register_virt_callback(crash);
	return 0;

no_reboot_notifier:
	unregister_module_notifier(&module_notifier);
no_module_notifier:
	vmbox_ops->fini();
	return err;
}

void vmbox_hardware_fini(void)
{
	cpu_emergency_unregister_virt_callback(crash);
	unregister_syscore_ops(&sleep_ops);
	unregister_reboot_notifier(&restart_notifier);
	unregister_module_notifier(&module_notifier);
	vmbox_ops->fini();
}
