// SPDX-License-Identifier: GPL-2.0-only
/* The file server and the VMM: how they start and end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cage.h"
#include "fs.h"
#include "record.h"
#include "report.h"
#include "run.h"

static void on_cpu_limit(int sig)
{
	(void)sig;
	_exit(EXIT_CPU_LIMIT);
}

/*
 * Processor time, of what works for the guest: SIGXCPU ends it (by a handler, because a PID
 * namespace's first process has no default actions), and SIGKILL, a second later, one
 * that would not have it. A shorter limit of the caller's stays.
 */
static void limit_cpu(uint64_t ns)
{
	rlim_t seconds = ns / 1000000000 + !!(ns % 1000000000);
	struct rlimit limit;

	if (ns == POLICY_UNSET || getrlimit(RLIMIT_CPU, &limit))
		return;
	if (seconds + 1 < limit.rlim_max)
		limit.rlim_max = seconds + 1;
	if (seconds < limit.rlim_cur)
		limit.rlim_cur = seconds;
	signal(SIGXCPU, on_cpu_limit);
	setrlimit(RLIMIT_CPU, &limit);
}

/* In the child: no signal of the terminal's, none of the launcher's mask; of the record, @piece. */
static pid_t fork_child(struct run *r, const void *piece)
{
	pid_t child = cage_fork();

	if (!child) {
		record_keep(piece);
		setsid();
		limit_cpu(r->options->policy->limit[POLICY_CPU]);
		sigprocmask(SIG_SETMASK, &r->old_signals, NULL);
	}
	return child;
}

static bool any_gated(const struct view *v)
{
	size_t i;

	for (i = 0; i < v->nr_exports; i++)
		if (v->exports[i].gated)
			return true;
	return false;
}

int children_start(struct run *r)
{
	struct fs_config fs = { .exports = r->view.exports,
				.n = r->view.nr_exports,
				.audit = r->audit,
				.on_terminal = r->terminal.streams & 1 << 2,
				.learn = r->options->uses,
				.gate = -1,
				.record = record_fs,
				.uid = r->uid,
				.gid = r->gid };
	int sock[FS_SESSIONS][2], result[2], gate[2] = { -1, -1 }, keys[2] = { -1, -1 };
	int i, err = 0;

	for (i = 0; i < FS_SESSIONS; i++) {
		err |= socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock[i]);
		r->config.fs_sock[i] = sock[i][0];
		fs.socks[i] = sock[i][1];
	}
	err |= socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, result);
	r->config.commits = any_gated(&r->view);
	if (r->config.commits)
		err |= pipe2(gate, O_CLOEXEC | O_NONBLOCK);
	r->config.asks = r->terminal.fd >= 0;
	if (r->config.asks)
		err |= socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, keys);
	if (err) {
		say("no descriptors: %s", strerror(errno));
		return -1;
	}
	fs.gate = gate[0];
	r->gate = gate[1];
	r->config.record = record_vmm;
	record_hide();
	r->fs = fork_child(r, record_fs);
	if (!r->fs)
		fs_serve(&fs);
	r->config.result = result[1];
	for (i = 0; i < FS_SESSIONS; i++)
		close(sock[i][1]);
	record->process[RECORD_FS].pid = r->fs;
	r->vmm = r->fs < 0 ? -1 : fork_child(r, record_vmm);
	if (!r->vmm) {
		if (keys[1] >= 0)
			dup2(keys[1], 0);
		vmm_main(&r->config);
	}
	for (i = 0; i < FS_SESSIONS; i++)
		close(sock[i][0]);
	close(result[1]);
	r->result = result[0];
	record->process[RECORD_VMM].pid = r->vmm;
	if (keys[1] >= 0)
		close(keys[1]);
	r->terminal.keys = keys[0];
	/* The VMM may be the guest's: nothing that is written to it may wait. */
	fcntl(r->result, F_SETFL, O_NONBLOCK);
	fcntl(keys[0], F_SETFL, O_NONBLOCK);
	if (r->vmm < 0)
		say("no process can be started: %s", strerror(errno));
	return r->vmm < 0 ? -1 : 0;
}

/* As waitpid(), and what the child has used is on record. */
static pid_t wait_for(pid_t child, int *status, int flags)
{
	struct rusage usage;
	pid_t ended = wait4(child, status, flags, &usage);

	if (ended == child)
		record_usage(child, &usage);
	return ended;
}

int children_reap(pid_t child)
{
	int status = -1;

	if (child <= 0)
		return -1;
	kill(child, SIGKILL);
	while (wait_for(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int children_collect(pid_t *child)
{
	pid_t pid = *child;
	int status, i;

	*child = 0;
	for (i = 0; i < 1000; i++) {
		if (wait_for(pid, &status, WNOHANG) == pid)
			return status;
		usleep(1000);
	}
	children_reap(pid);
	return -1;
}

bool children_order(const struct run *r, const struct vmm_order *order)
{
	return write(r->result, order, sizeof(*order)) == sizeof(*order);
}
