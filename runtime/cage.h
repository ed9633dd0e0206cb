/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cage of a process: what the launcher, the VMM and the file server share of
 * their confinement. There is one for each process, so its state is not passed
 * around. cage.c says in which order the parts are built.
 *
 * Functions that can fail give NULL, or the step that failed, with errno.
 */
#ifndef VMBOX_CAGE_H
#define VMBOX_CAGE_H

#include <linux/landlock.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* A system call that a process may make, whatever its arguments or only if these hold. */
struct cage_call {
	int nr;
	unsigned int nr_args;
	struct scmp_arg_cmp args[3];
};

#define CAGE_CALL(name)              \
	{                            \
		.nr = SCMP_SYS(name) \
	}
/* clang-format off */
#define CAGE_CALL_IF(name, ...)                                                              \
	{ .nr = SCMP_SYS(name),                                                              \
	  .nr_args = sizeof((struct scmp_arg_cmp[]){ __VA_ARGS__ }) / sizeof(struct scmp_arg_cmp), \
	  .args = { __VA_ARGS__ } }
/* clang-format on */

#define CAGE_CALLS_MAX 64

/* Rights that are newer than the oldest headers we build with. */
#define CAGE_FS_TRUNCATE  (1ULL << 14)
#define CAGE_FS_IOCTL_DEV (1ULL << 15)

enum cage_space {
	CAGE_FULL,    /* all namespaces */
	CAGE_NO_USER, /* started as root: all but a user namespace */
	CAGE_NONE,    /* no namespaces: the host lets us have none */
};

/* The launcher, before it opens what the guest is to see. */
const char *cage_isolate(enum cage_space *space);

/*
 * Makes of the O_PATH descriptor @*fd, opened since, one for a mount of its own:
 * nothing is above it. @attributes: MOUNT_ATTR_*, for it and what is mounted
 * beneath. Without namespaces @*fd stays as it is.
 */
const char *cage_detach(int *fd, uint64_t attributes);

/* Root's launcher and its children are this user from now on. */
const char *cage_become(uid_t uid, gid_t gid);

/* fork(), into namespaces of processes and mounts of its own. */
pid_t cage_fork(void);

/* What the running kernel's Landlock can do; below 1: it has none. */
int cage_landlock_abi(void);

/*
 * Keeps 0, 1, 2 and the @n descriptors @keep, no file but beneath @paths, no
 * privilege. The process dies with the launcher. Before there are threads.
 */
const char *cage_enter(const int *keep, size_t n, const struct landlock_path_beneath_attr *paths,
		       size_t nr_paths);

/* The end of preparations: at most @files descriptors, only these calls. All threads. */
const char *cage_lock(rlim_t files, const struct cage_call *calls, size_t n);

#endif
