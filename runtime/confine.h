/* SPDX-License-Identifier: GPL-2.0-only */
/* The cages of the VMM process and of what remains of the launcher: confine.c says what is in them. */
#ifndef VMBOX_CONFINE_H
#define VMBOX_CONFINE_H

#include "cage.h"

/* What the VMM may do once the guest runs; these are tables for tests, too. */
size_t confine_vmm_calls(struct cage_call calls[CAGE_CALLS_MAX], int vcpu, int timer);
size_t confine_launcher_calls(struct cage_call calls[CAGE_CALLS_MAX], pid_t vmm, pid_t fs,
			      int terminal);

/* NULL, or what failed, with errno. The VMM: first, and when all its threads run. */
const char *confine_vmm_begin(int device, const int fs_sock[2], int result);
const char *confine_vmm_finish(int vcpu, int timer);

/* The launcher, once both processes run, with @n descriptors beside 0 to 2. What is -1 is not there. */
const char *confine_launcher(pid_t vmm, pid_t fs, int terminal, const int *keep, size_t n);

#endif
