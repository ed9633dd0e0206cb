/* SPDX-License-Identifier: GPL-2.0-only */
/* What the program has changed in its overlays: listed, or made to the host's files. */
#ifndef GUEST_CHANGES_H
#define GUEST_CHANGES_H

#include <stdbool.h>

#include "request.h"

/* Does an overlay have this flag, PVIO_MOUNT_DIFF or PVIO_MOUNT_COMMIT? */
bool changes_wanted(const struct request *req, __u32 flag);

/*
 * For when no process is left but PID 1. What fails ends the run.
 * list: one line for each change of the overlays to be listed, to @fd.
 * commit: asks the host, then makes the changes of the overlays to be committed.
 */
void changes_list(const struct request *req, int fd);
void changes_commit(const struct request *req);

#endif
