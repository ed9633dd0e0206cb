/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From what a run has used to the fewest paths that read-only rules must name: a file or
 * link for itself, a directory only if it was listed or looked at, and what is in it then
 * not again.
 */
#ifndef VMBOX_LEARNT_H
#define VMBOX_LEARNT_H

#include <stdbool.h>
#include <stddef.h>

#include "fs_use.h"

enum learnt_flag {		/* beside those of enum fs_use_flag */
	LEARNT_OWN = 1 << 8,	/* the guest has its own: no rule can be for it */
	LEARNT_GIVEN = 1 << 9,	/* a directory that is there without a rule */
	LEARNT_MOUNT = 1 << 10, /* not shown by what is around it */
	LEARNT_PROGRAM =
		1 << 11,       /* the program's file: there without a rule, if none is in the way */
	LEARNT_LINK = 1 << 12, /* what leads to it then */
	LEARNT_WHOLE = 1 << 13, /* result: all that is in it, so as to have fewer rules */
	LEARNT_RULE = 1 << 14,	/* result: a rule is for it */
};

struct learnt;

struct learnt *learnt_new(void); /* NULL: no memory */
void learnt_free(struct learnt *l);

/* @path, absolute and normal, has these flags too; quickest in order of learnt_compare(). -1: no memory. */
int learnt_add(struct learnt *l, const char *path, unsigned int flags);

/* Order of two paths: a directory, then all that is in it. */
int learnt_compare(const char *a, const char *b);

/*
 * Chooses the rules, at most @max of them; @program: by what name the program is run. -1: it cannot be
 * done.
 */
int learnt_choose(struct learnt *l, size_t max, const char *program);

/* Calls @fn for each path that has one of @flags, in order. */
void learnt_each(const struct learnt *l, unsigned int flags,
		 void (*fn)(void *arg, const char *path, unsigned int flags), void *arg);

#endif
