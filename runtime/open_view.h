/* SPDX-License-Identifier: GPL-2.0-only */
/* What `vmbox learn` shows: all that the caller can read, as a policy. */
#ifndef VMBOX_OPEN_VIEW_H
#define VMBOX_OPEN_VIEW_H

#include <stddef.h>

#include "../policy/policy.h"

/*
 * Adds to @view, which has what the options say, as @policy has, all that they say nothing
 * of. @program: its file's real path. -1: it has been said why not.
 */
int open_view_make(struct policy *view, const struct policy *policy, const char *cwd,
		   const char *program);

/* What the guest has of its own in it, one by one; NULL after the last. */
const char *open_view_own(size_t i);

/* Calls @fn for each of the host's mounts that can be shown, until it returns another value than 0: that. */
int open_view_mounts(int (*fn)(void *arg, const char *path), void *arg);

#endif
