/* SPDX-License-Identifier: GPL-2.0-only */
/* The file server: a process that serves host paths to one guest over 9P2000.L. */
#ifndef VMBOX_FS_H
#define VMBOX_FS_H

#include <stddef.h>

struct fs_export {
	int fd; /* O_PATH, a directory or a regular file */
};

/*
 * Serves sock (a stream) until its end; then exits 0, or 1 with a message if the
 * guest broke the protocol. For a forked child: closes every other descriptor
 * but 2 and confines the process first. The 9P root lists the exports by their
 * index: "0", "1", ...
 */
_Noreturn void fs_serve(int sock, const struct fs_export *exports, size_t n);

/* The same without confinement, for tests: 0 at the end of sock, else -errno. */
int fs_session_run(int sock, const struct fs_export *exports, size_t n);

#endif
