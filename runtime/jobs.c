// SPDX-License-Identifier: GPL-2.0-only
/* What a shell and a terminal do with a program, done with one in a guest: signals, Ctrl-Z, keys. */
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "run.h"

static void send_signal(const struct run *r, unsigned int number, bool to_group)
{
	children_order(r,
		       &(struct vmm_order){ .kind = VMM_SIGNAL, .signal = { number, to_group } });
}

static void send_size(const struct run *r)
{
	struct vmm_order size = { .kind = VMM_WINSIZE };

	terminal_size(&r->terminal, &size.size);
	children_order(r, &size);
}

static void signal_children(const struct run *r, int sig)
{
	kill(r->vmm, sig);
	kill(r->fs, sig);
}

/*
 * Stops as @sig stops a program, and the guest with us: no limit can be enforced meanwhile. With
 * a terminal that is raw it is for us to stop our whole process group, which Ctrl-Z would have done.
 */
static void stop(struct run *r, int sig)
{
	bool was_raw = r->terminal.raw;
	sigset_t set;

	terminal_leave(&r->terminal);
	signal_children(r, SIGSTOP);
	sigemptyset(&set);
	sigaddset(&set, sig);
	kill(was_raw || sig == SIGTTIN ? 0 : getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* here we stop, and here we go on */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal_children(r, SIGCONT);
	send_signal(r, SIGCONT, true);
}

/* In the foreground again, perhaps; the window may have changed. */
static void resume_terminal(struct run *r)
{
	if (!r->terminal.started || !r->terminal.streams)
		return;
	terminal_enter(&r->terminal);
	send_size(r);
}

void jobs_follow_stop(struct run *r)
{
	if (!r->stop_asked && !r->terminal.stop_key)
		return;
	r->stop_asked = r->terminal.stop_key = false;
	stop(r, SIGTSTP);
	resume_terminal(r);
}

bool jobs_forward(struct run *r, const struct signalfd_siginfo *info)
{
	int sig = info->ssi_signo;
	bool from_kernel = info->ssi_code == SI_KERNEL; /* the terminal's: for all of a group */

	if (r->opened) /* there is no program any more, but changes are being made */
		return sig != SIGINT && sig != SIGTERM && sig != SIGHUP && sig != SIGQUIT;
	/* Once more, and not the same once more: timeout(1) and make(1) send it to the group, too. */
	if (sig == SIGINT && r->interrupted_ns && now_ns() - r->interrupted_ns > 250000000)
		return false;
	if (sig == SIGINT && !r->interrupted_ns)
		r->interrupted_ns = now_ns();
	if (sig == SIGWINCH && r->terminal.streams) {
		send_size(r); /* of which the guest's terminal makes a signal */
		if (from_kernel)
			return true;
	}
	if (sig == SIGCONT)
		resume_terminal(r);
	r->stop_asked |= sig == SIGTSTP;
	send_signal(r, sig, from_kernel);
	return true;
}

bool jobs_attend_terminal(struct run *r, bool wish, bool keys)
{
	struct terminal *t = &r->terminal;

	if (wish && terminal_take_wish(t))
		resume_terminal(r);
	if (keys && !terminal_pass_keys(t, now_ns()))
		return false;
	/* As a read() in the background does; where nobody can stop us, there is nothing to read. */
	if (t->wanted && !t->streams && t->keys >= 0 && !terminal_in_foreground(t)) {
		stop(r, SIGTTIN);
		if (!terminal_in_foreground(t))
			terminal_close_keys(t);
	}
	return true;
}

void jobs_block_signals(struct run *r)
{
	static const int forwarded[] = { SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT, SIGUSR1,
					 SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT };
	struct sigaction now;

	sigemptyset(&r->signals);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++) {
		/* What we were started to ignore is ignored: nohup(1). */
		if (!sigaction(forwarded[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(&r->signals, forwarded[i]);
	}
	sigprocmask(SIG_BLOCK, &r->signals, &r->old_signals);
	r->signal_fd = signalfd(-1, &r->signals, SFD_CLOEXEC);
	/* For the terminal: in the background it is an error to read, and none to set its modes. */
	sigaddset(&r->signals, SIGTTIN);
	sigaddset(&r->signals, SIGTTOU);
	sigprocmask(SIG_BLOCK, &r->signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* a message that nobody reads is no reason to die */
}
