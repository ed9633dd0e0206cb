// SPDX-License-Identifier: GPL-2.0-only
/*
 * Confines the VMM process before it runs the guest for the first time.
 *
 * Theory of operation. At the start: every descriptor but the listed is closed.
 * When memory is mapped, files are read and threads exist: no capability, no
 * new privilege, no new descriptor, no core dump, and a seccomp filter over all
 * threads that kills the process at the first call that the loops of vcpu.c,
 * pump.c and control.c do not make. ioctl is allowed on the vCPU's descriptor
 * and by request number; tgkill only to ourselves; close only of stdin and stdout.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confine.h"

static const int calls[] = {
	SCMP_SYS(read),	   SCMP_SYS(write),	      SCMP_SYS(futex),
	SCMP_SYS(exit),	   SCMP_SYS(exit_group),      SCMP_SYS(rt_sigreturn),
	SCMP_SYS(getpid),  SCMP_SYS(rt_sigprocmask),  SCMP_SYS(timerfd_settime),
	SCMP_SYS(madvise), SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime),
	SCMP_SYS(poll),
};

static const unsigned long vcpu_ioctls[] = { KVM_RUN, KVM_INTERRUPT, KVM_GET_REGS };

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int confine_begin(const int *keep, size_t n)
{
	int sorted[16];
	unsigned int from = 3;
	size_t i;

	if (n > sizeof(sorted) / sizeof(sorted[0]))
		return -EINVAL;
	for (i = 0; i < n; i++)
		sorted[i] = keep[i];
	qsort(sorted, n, sizeof(sorted[0]), compare);
	for (i = 0; i < n; i++) {
		if ((unsigned int)sorted[i] > from && close_range(from, sorted[i] - 1, 0))
			return -errno;
		from = sorted[i] + 1;
	}
	return close_range(from, ~0U, 0) ? -errno : 0;
}

static int drop_privileges(void)
{
	cap_t none = cap_init();
	int err = 0;

	if (!none || cap_set_proc(none) || cap_reset_ambient())
		err = -errno;
	cap_free(none);
	if (!err && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0)))
		err = -errno;
	return err;
}

static int add_rules(scmp_filter_ctx ctx, int vcpu)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < sizeof(calls) / sizeof(calls[0]); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	for (i = 0; !err && i < sizeof(vcpu_ioctls) / sizeof(vcpu_ioctls[0]); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 2,
				       SCMP_A0(SCMP_CMP_EQ, vcpu),
				       SCMP_A1(SCMP_CMP_EQ, vcpu_ioctls[i]));
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				       SCMP_A0(SCMP_CMP_EQ, getpid()));
	if (!err) /* a stream that ended */
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(close), 1,
				       SCMP_A0(SCMP_CMP_LE, 1));
	return err;
}

int confine_finish(int vcpu)
{
	const struct rlimit none = { 0, 0 };
	scmp_filter_ctx ctx;
	int err;

	if (setrlimit(RLIMIT_NOFILE, &none) || setrlimit(RLIMIT_CORE, &none))
		return -errno;
	err = drop_privileges();
	if (err)
		return err;
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!ctx)
		return -ENOMEM;
	err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!err)
		err = add_rules(ctx, vcpu);
	if (!err)
		err = seccomp_load(ctx);
	/* Not released: free() may call brk, which is not in the list. */
	return err;
}
