/* SPDX-License-Identifier: GPL-2.0-only */
/* The VMM process's cage. */
#ifndef VMBOX_CONFINE_H
#define VMBOX_CONFINE_H

#include <stddef.h>

/* Keeps 0, 1, 2 and @keep, closes the rest. -errno on failure. */
int confine_begin(const int *keep, size_t n);
/* No new descriptor, no privilege, only the system calls of the run. All threads. -errno. */
int confine_finish(int vcpu);

#endif
