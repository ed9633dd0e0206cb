/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest has used of the host's files: the witness of `vmbox learn`. It writes
 * strings, each with its NUL, for the process that makes the policy (learn.c):
 *   "#…"     a refusal, in words
 *   "@…/…"   a path; the first byte less '@' is enum fs_use_flag; as the guest sees it
 *   "." "!"  the end: all of it, or there was more than can be kept
 */
#ifndef VMBOX_FS_USE_H
#define VMBOX_FS_USE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "fs_limits.h"

enum fs_use_flag {
	FS_USE_DIR = 1,	   /* it is a directory; else a file or a link */
	FS_USE_SEEN = 2,   /* walked to: on the way to something, or for itself */
	FS_USE_OPENED = 4, /* these three: of a directory */
	FS_USE_LISTED = 8,
	FS_USE_MISSED = 16, /* a name that it does not have was looked up */
};

#define FS_USE_NOTE '#'
#define FS_USE_PATH '@'
#define FS_USE_END  "."
#define FS_USE_FULL "!"

struct fs_node;
struct fs_use;

struct fs_uses {
	int fd;	   /* -1: nobody wants to know; the rest is then unused */
	bool full; /* something is missing */
	unsigned long bytes;
	struct fs_use *buckets[FS_USE_BUCKETS];
};

/* What @flags say was done with @node, which is what @mode says. */
void fs_use_add(struct fs_uses *uses, const struct fs_node *node, mode_t mode, unsigned int flags);
void fs_use_note(struct fs_uses *uses, const char *text);
void fs_use_end(struct fs_uses *uses);

#endif
