/* SPDX-License-Identifier: GPL-2.0-only */
/* `vmbox learn`: a run that sees all that the caller can read, and the policy that it needed. */
#ifndef VMBOX_LEARN_H
#define VMBOX_LEARN_H

#include "launcher.h"
#include "load.h"

/*
 * Before launcher_run(): the open view, in o->policy, which @args are added to; and the
 * process that will write the policy. 0, or an exit status, when it has been said why.
 */
int learn_begin(struct run_options *o, const struct policy_args *args);

/* After it, with its exit status: waits until the policy is written. The exit status of vmbox. */
int learn_end(const struct run_options *o, int status);

/* "learn: WHAT: WHY" on stderr; -1: for "return". */
int learn_failed(const char *what, const char *why);

/* Adds a rule as an option has it, where a ':' in a path is "\:". */
int learn_add_rule(struct policy *policy, const char *access, const char *path);

#endif
