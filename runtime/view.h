/* SPDX-License-Identifier: GPL-2.0-only */
/* What of the host the guest sees: exports for the file server, mounts for guest-init. */
#ifndef VMBOX_VIEW_H
#define VMBOX_VIEW_H

#include <limits.h>
#include <stddef.h>

#include "../policy/policy.h"
#include "fs.h"
#include "program.h"
#include "vmbox/pvio.h"

struct view_mount {
	struct pvio_mount mount;
	char at[PATH_MAX];
	char target[PATH_MAX]; /* of a symbolic link; "" otherwise */
};

struct view {
	struct fs_export exports[PVIO_MAX_MOUNTS];  /* with what they point to: ours */
	struct fs_export *place[POLICY_MAX_PLACES]; /* which export shows a place; NULL: none */
	struct view_mount mounts[PVIO_MAX_MOUNTS];
	size_t nr_exports, nr_mounts;
};

/* What @policy shows, and the program. Consumes program->fd. -1: @error. */
int view_make(struct view *view, const struct policy *policy, struct program *program, char *error,
	      size_t error_size);

#endif
