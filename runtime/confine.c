// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cages of the VMM and of the launcher.
 *
 * The VMM has all it needs when it starts but descriptors that it makes itself:
 * it enters its cage at once and locks it when the VM is made, memory is mapped
 * and threads exist, before it runs the guest. From then on it makes no call
 * but those of the loops of vcpu.c, pump.c and control.c: ioctl on the vCPU
 * alone and by request number, tgkill only to wake its own vCPU thread, close
 * only of stdin and stdout. No call can map memory, so none can make code.
 *
 * The launcher waits, takes the driver's counters and reads them now and then, reads structs of
 * one kind, opens the gate between two of them, passes on signals and what is typed, stops with
 * its two children or kills them, and says what happened.
 */
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "confine.h"

/* poll() refuses more descriptors than the limit: no limit may be 0. */
#define VMM_FILES      1
#define LAUNCHER_FILES 4 /* 0 and 1 are closed: room for the counters */

size_t confine_vmm_calls(struct cage_call calls[CAGE_CALLS_MAX], int vcpu, int timer)
{
	const struct cage_call list[] = {
		CAGE_CALL(read),
		CAGE_CALL(write),
		CAGE_CALL(poll),
		CAGE_CALL(futex),
		CAGE_CALL(clock_gettime),
		CAGE_CALL(rt_sigreturn),
		CAGE_CALL(rt_sigprocmask), /* a thread that ends */
		CAGE_CALL(restart_syscall),
		CAGE_CALL(exit),
		CAGE_CALL(exit_group),
		CAGE_CALL_IF(close, SCMP_A0(SCMP_CMP_LE, 1)), /* a stream that ended */
		CAGE_CALL_IF(madvise, SCMP_A2(SCMP_CMP_EQ, MADV_DONTNEED)), /* its stack */
		CAGE_CALL_IF(timerfd_settime, SCMP_A0(SCMP_CMP_EQ, timer)),
		CAGE_CALL_IF(tgkill, SCMP_A0(SCMP_CMP_EQ, getpid()), SCMP_A2(SCMP_CMP_EQ, SIGUSR1)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, vcpu), SCMP_A1(SCMP_CMP_EQ, KVM_RUN)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, vcpu),
			     SCMP_A1(SCMP_CMP_EQ, KVM_INTERRUPT)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, vcpu), SCMP_A1(SCMP_CMP_EQ, KVM_GET_REGS)),
	};

	memcpy(calls, list, sizeof(list));
	return sizeof(list) / sizeof(list[0]);
}

size_t confine_launcher_calls(struct cage_call calls[CAGE_CALLS_MAX], pid_t vmm, pid_t fs,
			      int terminal)
{
	const struct cage_call list[] = {
		CAGE_CALL(read),
		CAGE_CALL(write),
		CAGE_CALL(close),
		CAGE_CALL(poll),
		CAGE_CALL(recvmsg), /* the counters' descriptor, before the guest runs */
		CAGE_CALL(pread64), /* the counters */
		CAGE_CALL(wait4),
		CAGE_CALL(clock_gettime),
		CAGE_CALL(clock_nanosleep),
		CAGE_CALL(timer_settime), /* progress.c */
		CAGE_CALL(restart_syscall),
		CAGE_CALL(rt_sigreturn),
		CAGE_CALL(exit_group),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, vmm), SCMP_A1(SCMP_CMP_EQ, SIGKILL)),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, vmm), SCMP_A1(SCMP_CMP_EQ, SIGSTOP)),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, vmm), SCMP_A1(SCMP_CMP_EQ, SIGCONT)),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, fs), SCMP_A1(SCMP_CMP_EQ, SIGKILL)),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, fs), SCMP_A1(SCMP_CMP_EQ, SIGSTOP)),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, fs), SCMP_A1(SCMP_CMP_EQ, SIGCONT)),
		/* to be stopped, alone or as a process group */
		CAGE_CALL(getpid),
		CAGE_CALL(rt_sigprocmask),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, getpid()), SCMP_A1(SCMP_CMP_EQ, SIGTSTP)),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A1(SCMP_CMP_EQ, SIGTSTP)),
		CAGE_CALL_IF(kill, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A1(SCMP_CMP_EQ, SIGTTIN)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, terminal), SCMP_A1(SCMP_CMP_EQ, TCGETS)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, terminal), SCMP_A1(SCMP_CMP_EQ, TCSETSW)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, terminal), SCMP_A1(SCMP_CMP_EQ, TCSETSF)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, terminal),
			     SCMP_A1(SCMP_CMP_EQ, TIOCGPGRP)),
		CAGE_CALL_IF(ioctl, SCMP_A0(SCMP_CMP_EQ, terminal),
			     SCMP_A1(SCMP_CMP_EQ, TIOCGWINSZ)),
		/* malloc and free */
		CAGE_CALL(brk),
		CAGE_CALL(munmap),
		CAGE_CALL(madvise),
		CAGE_CALL_IF(mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
	};

	memcpy(calls, list, sizeof(list));
	return sizeof(list) / sizeof(list[0]);
}

const char *confine_vmm_begin(int device, const int fs_sock[2], int result)
{
	const int keep[] = { device, fs_sock[0], fs_sock[1], result };

	return cage_enter(keep, sizeof(keep) / sizeof(keep[0]), NULL, 0);
}

const char *confine_vmm_finish(int vcpu, int timer)
{
	struct cage_call calls[CAGE_CALLS_MAX];

	return cage_lock(VMM_FILES, calls, confine_vmm_calls(calls, vcpu, timer));
}

const char *confine_launcher(pid_t vmm, pid_t fs, int terminal, const int *keep, size_t n)
{
	struct cage_call calls[CAGE_CALLS_MAX];
	const char *failed = cage_enter(keep, n, NULL, 0);

	return failed ? failed
		      : cage_lock(LAUNCHER_FILES, calls,
				  confine_launcher_calls(calls, vmm, fs, terminal));
}
