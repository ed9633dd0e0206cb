/* SPDX-License-Identifier: GPL-2.0-only */
/* A run, and the launcher's pieces: launcher.c prepares it, and the others see it through. */
#ifndef VMBOX_RUN_H
#define VMBOX_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "launcher.h"
#include "terminal.h"
#include "view.h"
#include "vmm.h"

struct signalfd_siginfo;

struct run {
	const struct run_options *options;
	struct vmm_config config;
	struct view view;
	char *env[POLICY_MAX_ENV + 5];
	sigset_t signals, old_signals;
	struct terminal terminal;
	bool stop_asked;	 /* by a signal, since the program stopped last */
	uint64_t interrupted_ns; /* by SIGINT, for the first time; 0: not yet */
	pid_t vmm, fs;
	int result, signal_fd, audit;
	int gate;     /* -1: there is nothing to commit */
	int counters; /* the driver's, of the VM; -1: not yet, or there are none */
	clockid_t vmm_clock;
	struct {
		uint64_t exits, cpu_ns, wall_ns;
	} window; /* when the last rate of exits was taken */
	bool running, opened;
	uid_t uid; /* of the program in the guest */
	gid_t gid;
	uint64_t start_ns;
};

/* Says that @step failed, and why (errno). -1. */
int run_confinement_failed(const char *step);

/* Forks both, each with its descriptors. -1: no; what was started is to be reaped all the same. */
int children_start(struct run *r);
/* What does not fit into the VMM's socket is lost: false. */
bool children_order(const struct run *r, const struct vmm_order *order);
/* Ends @child and collects it. Its wait status, or -1: there was none. */
int children_reap(pid_t child);
/* The wait status of @child, which has a second to end by itself; -1: it did not. */
int children_collect(pid_t *child);

/* Signals that are the program's come through r->signal_fd from now on. */
void jobs_block_signals(struct run *r);
/* A signal of ours is the program's. False: it ends the run. */
bool jobs_forward(struct run *r, const struct signalfd_siginfo *info);
/* The program has stopped: we too, if somebody here wanted that. */
void jobs_follow_stop(struct run *r);
/* The terminal and the VMM's wishes for what is typed. False: the user ends the run. */
bool jobs_attend_terminal(struct run *r, bool wish, bool keys);

/* From the fork of both to the result: the exit status. */
int supervise(struct run *r);
/* The streams have ended: the file server says what is left to say. The exit status. */
int supervise_fs(struct run *r, int code);

#endif
