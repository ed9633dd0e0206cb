/* SPDX-License-Identifier: GPL-2.0-only */
/* What `vmbox doctor` looks at, and what it makes of that. */
#ifndef VMBOX_CHECKS_H
#define VMBOX_CHECKS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "cage.h"

/* The machine as the checks see it. The strings are borrowed. */
struct host {
	int root;	       /* a directory with proc, sys, dev and lib/modules in it */
	bool cpu_svm, cpu_vmx; /* of CPUID itself: the kernel hides what the firmware forbids */
	const char *release;   /* of the kernel that runs */
	const char *user;      /* a name, or a number */
	bool is_root;
	const char *group;	  /* the device's, or NULL: it has no name */
	bool in_group_database;	  /* a login of the user is in it, whatever this process is */
	int device_error;	  /* of opening /dev/vmbox: errno, or 0 */
	int vm_error;		  /* of making a VM with it, if it could be opened */
	const char *space_failed; /* a step of cage_isolate(), and its errno; or NULL */
	int space_error;
	enum cage_space space; /* else this */
	int landlock;	       /* cage_landlock_abi() */
	const char *guest_dir;
	int guest_error; /* of its vmlinux or its initrd: errno, or 0 */
};

enum verdict {
	CHECK_OK,
	CHECK_WARNING, /* vmbox runs, with less confinement or later trouble */
	CHECK_PROBLEM, /* vmbox cannot run */
};

/* Printable ASCII. */
struct finding {
	const char *name;
	enum verdict verdict;
	char saw[512];
	char fix[512]; /* "" if it is ok */
};

#define CHECKS 7

/* All checks, causes before what follows from them. */
void checks_make(const struct host *host, struct finding findings[CHECKS]);

#endif
