/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guest changed and what it was refused: for people, and as JSON lines. */
#ifndef VMBOX_FS_LOG_H
#define VMBOX_FS_LOG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs_limits.h"
#include "fs_use.h"

struct fs_cut;
struct fs_node;
struct record_fs;

struct fs_log {
	int audit;	  /* -1: none */
	bool on_terminal; /* stderr is one that is raw */
	bool failed;	  /* it could not be written: nothing more may happen */
	unsigned int denials, said;
	unsigned long written; /* bytes of records */
	unsigned long more_changes, more_denials;
	char *seen[FS_DENIALS_MAX]; /* "op path" of each denial */
	char line[FS_LINE_MAX];	    /* the record that is being made */
	struct fs_uses uses;
	struct record_fs *record; /* what is refused, for the report; NULL: there is none */
};

/* Who did something to what: @name in @dir, or @dir itself (name NULL). */
struct fs_act {
	const char *op;
	const struct fs_node *dir;
	const char *name;
};

enum fs_reason {
	FS_READ_ONLY, /* the export's rule */
	FS_NOT_YET,   /* the same: the gate is not open */
	FS_QUOTA,     /* the same */
	FS_FILE_SIZE, /* the same */
	FS_MOUNT,     /* the same: it shows one file system of the host's */
	FS_SPECIAL,   /* the same: and of that files and directories */
	FS_OTHER,     /* the same: and nothing of it leaves it */
	FS_DENIED,    /* a cut's */
	FS_IN_USE,    /* the same: what is there, or beneath, is another rule's */
};

/* @learn: takes what fs_use.h says, in place of what is said on stderr; -1: none. */
void fs_log_init(struct fs_log *log, int audit, int learn);
/* Writes how many changes and refusals there were that have no record. */
void fs_log_end(struct fs_log *log);

/* Where it is, on the host or in the guest; one that is too long loses its beginning. */
const char *fs_log_path(const struct fs_act *act, bool of_host, char path[PATH_MAX]);

/*
 * It is about to be done; @to: where it goes, or NULL. 0, or -errno if it cannot be
 * recorded: then it must not be done.
 */
int fs_log_intent(struct fs_log *log, const struct fs_act *act, const struct fs_act *to);
/* What was recorded last was not done: errno says why, and is what to answer, as -errno. */
int fs_log_failed(struct fs_log *log, const struct fs_act *act);
/* It was refused; @cut: for the reasons that have one. What to answer: a -errno. */
int fs_log_refused(struct fs_log *log, const struct fs_act *act, enum fs_reason reason,
		   const struct fs_cut *cut);
/* The same where it is the cut's own name. */
int fs_log_cut(struct fs_log *log, const struct fs_act *act, const struct fs_cut *cut);

#endif
