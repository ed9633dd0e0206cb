/* SPDX-License-Identifier: GPL-2.0-only */
/* The file server: a process that serves host paths to one guest over 9P2000.L. */
#ifndef VMBOX_FS_H
#define VMBOX_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_fs;

/* One for what the guest may cache, one for what it may change; either reaches all exports. */
#define FS_SESSIONS 2

/* A path beneath an export that another rule is about. */
struct fs_cut {
	const char *path; /* from the export: "a/b" */
	const char *rule; /* who says so, as all these: "policy.yaml:5:5" */
	bool deny;	  /* else something is mounted there: the file is seen, and that is all */
};

struct fs_export {
	int fd;		    /* O_PATH, a directory or a regular file */
	bool rw;	    /* else every change is EROFS */
	bool gated;	    /* rw, but not before the gate is open */
	uint64_t quota;	    /* bytes that may be written, or UINT64_MAX */
	uint64_t file_size; /* of one file that is written, or UINT64_MAX */
	const char *at;	    /* in the guest; these three are for messages */
	const char *host;
	const char *rule;
	bool is_program; /* there without a rule */
	struct fs_cut *cuts;
	size_t nr_cuts;
};

/* All of it is borrowed. */
struct fs_config {
	int socks[FS_SESSIONS]; /* streams; -1: not there */
	const struct fs_export *exports;
	size_t n;
	int audit;	  /* takes JSON lines; -1: none */
	bool on_terminal; /* stderr is one that is raw */
	int learn;	  /* takes what the guest uses (fs_use.h); -1: none */
	int gate;	  /* a pipe, not blocking; a byte from it opens the gate; -1: never */
	struct record_fs *record; /* what is refused, for the report; NULL: none */
	uint32_t uid, gid;	  /* of the program in the guest: who owns what our user owns */
};

#define FS_AUDIT_FAILED 2 /* exit status: the audit could not be written */

/*
 * Serves the streams until the end of all of them; then exits 0, or 1 with a
 * message if the guest broke the protocol. For a forked child: closes every
 * descriptor but 2 and those of config, and confines the process first. The 9P
 * root lists the exports by their index: "0", "1", ...
 */
_Noreturn void fs_serve(const struct fs_config *config);

/* The same without confinement, for tests: 0 at the end, else -errno. */
int fs_session_run(const struct fs_config *config);

#endif
