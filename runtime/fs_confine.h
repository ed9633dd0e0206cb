/* SPDX-License-Identifier: GPL-2.0-only */
/* The file server's own cage. */
#ifndef VMBOX_FS_CONFINE_H
#define VMBOX_FS_CONFINE_H

#include "fs.h"

/*
 * Two stages, with the server's own opens between. Both say on stderr what
 * failed and return -errno; the process must then end.
 */
int fs_confine_begin(int sock, const struct fs_export *exports, size_t n);
int fs_confine_finish(const struct fs_export *exports, size_t n);

#endif
