/* SPDX-License-Identifier: GPL-2.0-only */
/* The file server's own cage. */
#ifndef VMBOX_FS_CONFINE_H
#define VMBOX_FS_CONFINE_H

#include "cage.h"
#include "fs.h"

/* What the server may do then, if an export may be changed or none; for tests, too. */
size_t fs_confine_calls(struct cage_call calls[CAGE_CALLS_MAX], bool rw);

/* May the host's files be changed by one of them, now or at the end? */
bool fs_any_rw(const struct fs_export *exports, size_t n);

/*
 * Three stages: as many descriptors as the server can use; keeps stderr, what
 * @config has and @*proc_fds, which is detached; then shuts the cage. They say on
 * stderr what failed and return -errno; the process must then end.
 */
int fs_confine_files(void);
int fs_confine_begin(const struct fs_config *config, int *proc_fds);
int fs_confine_finish(const struct fs_config *config);

#endif
