/* SPDX-License-Identifier: GPL-2.0-only */
/* The process that writes the policy of `vmbox learn`. */
#ifndef VMBOX_SCRIBE_H
#define VMBOX_SCRIBE_H

#include <limits.h>
#include <stdbool.h>

#include "../policy/policy.h"
#include "fs_limits.h"
#include "output.h"

struct scribe {
	struct policy *policy;	/* what the options say; the learnt rules come to it */
	char program[PATH_MAX]; /* as it was named */
	char real[PATH_MAX];	/* its file */
	char cwd[PATH_MAX];
	int uses;	    /* memory: what the file server writes, then zeros */
	const char *output; /* NULL: stderr */
	struct output to;   /* else where it goes */
	bool failed;
};

#define SCRIBE_MEMORY (FS_USES_MAX + 4096)

/* @from: gives the run's exit status. Exits with 0, or has said why not. */
_Noreturn void scribe_run(struct scribe *s, int from);

#endif
