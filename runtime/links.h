/* SPDX-License-Identifier: GPL-2.0-only */
/* Symbolic links on the way to the policy's paths: which are followed, and what is refused. */
#ifndef VMBOX_LINKS_H
#define VMBOX_LINKS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "../policy/policy.h"

#define LINKS_MAX 40 /* as many as the kernel follows for one path */

struct link {
	char at[PATH_MAX], target[PATH_MAX];
	const char *rest; /* of the path, after it: "/…" */
};

/*
 * The first link on the way to @path, a normal path of the host, which is not @path
 * itself; the first @from bytes without their last name are known to have none.
 */
bool link_find(const char *path, size_t from, struct link *link);

/* The path that @link makes of it. False: there is none. */
bool link_follow(const struct link *link, char path[PATH_MAX]);

/* Before policy_validate(): makes the rules' paths real ones, which no link is on the way to. */
int links_resolve(struct policy *policy, struct policy_error *error);

/* After it: is a rule's path, or its place, by way of a link that the guest sees? */
int links_check(const struct policy *policy, struct policy_error *error);

#endif
