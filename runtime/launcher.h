/* SPDX-License-Identifier: GPL-2.0-only */
/* `vmbox run`: prepares everything, starts the processes, waits, reports. */
#ifndef VMBOX_LAUNCHER_H
#define VMBOX_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../policy/policy.h"

#define EXIT_VMBOX_FAILED 125 /* what else: record.h */

struct run_options {
	const char *device, *guest_dir;
	const char *cwd;     /* NULL: the caller's */
	const char *audit;   /* a file; NULL: none */
	const char *output;  /* learn: the policy's; NULL: stderr */
	const char *report;  /* a file, or "-"; NULL: none */
	bool stats;	     /* a report for people, on stderr */
	uint64_t memory;     /* bytes */
	uint64_t timeout_ns; /* 0: none */
	bool verbose, require_confinement;
	const struct policy *policy; /* valid, and one that run can enforce */
	const char *program;	     /* to be found */
	char **argv;		     /* its arguments, from its name on */
	int uses, scribe;	     /* learn.c's: for the file server, for the launcher; or -1 */
	int reporter;		     /* run_report.c's, for the launcher; or -1 */
};

/* A descriptor, or -1 when it has been said why not. */
int launcher_open_device(const char *path);

/* A closed descriptor 0, 1 or 2 must not be taken by something else. */
void launcher_fill_descriptors(void);

/* The owner of the working directory. False, and nobody: that is root. */
bool launcher_owner(uid_t *uid, gid_t *gid);

/* The exit status of vmbox. */
int launcher_run(const struct run_options *options);

#endif
