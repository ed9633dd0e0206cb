/* SPDX-License-Identifier: GPL-2.0-only */
/* The policy of a command: from profiles, files and options to one that is valid. */
#ifndef VMBOX_LOAD_H
#define VMBOX_LOAD_H

#include <limits.h>

#include "../policy/policy.h"

#define MAX_POLICIES	   8
#define MAX_POLICY_OPTIONS (POLICY_MAX_RULES + POLICY_MAX_ENV + 64)

#define EXIT_BAD_POLICY 1

/* As given; the strings are borrowed. */
struct policy_args {
	const char *files[MAX_POLICIES]; /* a path, or a profile's name */
	size_t nr_files;		 /* 0: the profile "default", or nothing */
	bool without_default;
	struct {
		const char *name, *value; /* for policy_option() */
	} options[MAX_POLICY_OPTIONS];
	size_t nr_options;
};

/* 0 and *policy; or EXIT_BAD_POLICY or EXIT_VMBOX_FAILED, and a message was said. */
int policy_load(const struct policy_args *args, struct policy **policy);

/* The directory that @file is in, cut off if it is too long; the name in it. */
const char *path_directory(const char *file, char dir[PATH_MAX]);

/* What the guest makes itself, whatever the policy says, one by one; NULL after the last. */
const char *policy_taken(size_t i);
bool policy_is_taken(const char *path);

/* Says what this vmbox cannot enforce yet, and is true then. */
bool policy_refuse(const struct policy *policy);

/* vmbox explain: what the guest could do with @path, on stdout. An exit status. */
int policy_explain(const struct policy *policy, const char *path);

#endif
