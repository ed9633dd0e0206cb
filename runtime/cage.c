// SPDX-License-Identifier: GPL-2.0-only
/*
 * Theory of operation. Each step takes away what the steps after it do not need:
 *
 *  1. cage_isolate(), the launcher: new user, mount, network, IPC and UTS
 *     namespaces, which its children inherit. User ids are the same inside:
 *     root's all, so that a file's owner is shown as it is; a user's own.
 *  2. cage_detach(): what the guest is to see becomes mounts of its own, outside
 *     of every tree. From such a descriptor "..", even of a process that the
 *     guest has taken over, leads nowhere, and read-only is the host kernel's word.
 *  3. cage_become(), where root started us: another user, when all is open.
 *  4. cage_fork(): new process and mount namespaces: no other process has a number.
 *  5. cage_enter(): closes other descriptors; an empty, read-only root; no
 *     capabilities, nor any way to get some; no core dump and no debugger;
 *     Landlock for what is still reachable by name.
 *  6. cage_lock(): no more descriptors or processes, and a seccomp filter that
 *     kills.
 *
 * A step that fails ends the run: nothing is skipped but namespaces where the
 * host allows none (cage_isolate() says so), Landlock and core scheduling where
 * its kernel has none.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cage.h"

#define KEEP_MAX 1024
#define SPACES	 (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

static bool isolated;
static int launcher = -1; /* in its children: pidfd */

/* ---- 1. namespaces ---- */

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text);
}

/* Gives @pid's user namespace ids as in ours: all that there are, or only @id. */
static bool map_ids(pid_t pid, const char *kind, bool all, unsigned int id)
{
	char path[64], map[4096];
	unsigned int first, count;
	size_t n = 0;
	FILE *ours;

	snprintf(map, sizeof(map), "%u %u 1\n", id, id);
	if (all) {
		snprintf(path, sizeof(path), "/proc/self/%s", kind);
		ours = fopen(path, "re");
		if (!ours)
			return false;
		while (n < sizeof(map) - 64 && fscanf(ours, "%u %*u %u", &first, &count) == 2)
			n += sprintf(map + n, "%u %u %u\n", first, first, count);
		fclose(ours);
	}
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, kind);
	return write_text(path, map);
}

/* In a process outside of the new namespace: only such a one may give it more than one id. */
static bool map_all_ids(pid_t pid)
{
	bool all = !geteuid();
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
	return (all || write_text(path, "deny")) && map_ids(pid, "uid_map", all, geteuid()) &&
	       map_ids(pid, "gid_map", all, getegid());
}

static bool unshare_user(const char **failed)
{
	pid_t self = getpid(), helper;
	int go[2], status = 0;
	char byte = 0;
	bool done;

	if (pipe2(go, O_CLOEXEC) || (helper = fork()) < 0) {
		*failed = "a process that maps user ids";
		return false;
	}
	if (!helper) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) == 1 && !map_all_ids(self) ? errno : 0);
	}
	close(go[0]);
	done = !unshare(CLONE_NEWUSER | SPACES) && write(go[1], &byte, 1) == 1;
	close(go[1]);
	if (waitpid(helper, &status, 0) != helper || status) {
		errno = WEXITSTATUS(status);
		*failed = "mapping user ids";
	}
	return done;
}

/* No more of root's, or of a user's in a new namespace, than what the next steps need. */
static bool keep_few_capabilities(void)
{
	static const cap_value_t few[] = { CAP_SYS_ADMIN, CAP_SETPCAP };
	cap_t had = cap_get_proc(), caps = cap_init();
	bool done = had && caps;

	for (size_t i = 0; done && i < sizeof(few) / sizeof(few[0]); i++) {
		cap_flag_value_t value; /* a container's root may lack it */

		done = !cap_get_flag(had, few[i], CAP_PERMITTED, &value) &&
		       !cap_set_flag(caps, CAP_PERMITTED, 1, &few[i], value) &&
		       !cap_set_flag(caps, CAP_EFFECTIVE, 1, &few[i], value);
	}
	done = done && !cap_set_proc(caps);
	cap_free(had);
	cap_free(caps);
	return done;
}

const char *cage_isolate(enum cage_space *space)
{
	const char *failed = NULL;

	*space = CAGE_FULL;
	if (!unshare_user(&failed))
		*space = unshare(SPACES) ? CAGE_NONE : CAGE_NO_USER;
	if (failed)
		return failed;
	if (*space == CAGE_NONE)
		return NULL;
	if (geteuid() && !keep_few_capabilities())
		return "capabilities";
	/*
	 * Nothing that is mounted here or there is seen on the other side. A host may give
	 * namespaces and no rights in them: as good as none.
	 */
	isolated = !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (!isolated)
		*space = CAGE_NONE;
	return NULL;
}

/* ---- 2. exports ---- */

const char *cage_detach(int *fd, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes };
	int mount_fd;

	if (!isolated)
		return NULL;
	mount_fd = open_tree(*fd, "",
			     AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (mount_fd < 0)
		return "a mount of its own";
	close(*fd);
	*fd = mount_fd;
	if (attributes &&
	    mount_setattr(mount_fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)))
		return "a mount's attributes";
	return NULL;
}

/* ---- 3. and 4. user and processes ---- */

const char *cage_become(uid_t uid, gid_t gid)
{
	if (cap_setgroups(gid, 0, NULL) || cap_setuid(uid))
		return "another user";
	return keep_few_capabilities() ? NULL : "capabilities";
}

pid_t cage_fork(void)
{
	int self = pidfd_open(getpid(), 0);
	/* fork() cannot do it. Of glibc's own state only a cached thread id is wrong in the child. */
	pid_t child = self < 0 ? -1
			       : syscall(SYS_clone,
					 SIGCHLD | (isolated ? CLONE_NEWPID | CLONE_NEWNS : 0),
					 NULL, NULL, NULL, NULL);

	if (child)
		close(self);
	else
		launcher = self;
	return child;
}

/* ---- 5. privileges ---- */

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static const char *close_others(const int *keep, size_t n)
{
	unsigned int from = 3;
	int sorted[KEEP_MAX];

	if (n > KEEP_MAX) {
		errno = E2BIG;
		return "descriptors";
	}
	memcpy(sorted, keep, n * sizeof(*keep));
	qsort(sorted, n, sizeof(*sorted), compare);
	for (size_t i = 0; i < n; i++) {
		if (sorted[i] < (int)from) /* -1, standard, or named twice */
			continue;
		if (sorted[i] > (int)from && close_range(from, sorted[i] - 1, 0))
			return "close_range";
		from = sorted[i] + 1;
	}
	return close_range(from, ~0U, 0) ? "close_range" : NULL;
}

/* A tmpfs with nothing in it becomes the root; /proc is only where it is for a moment. */
static const char *empty_root(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount("vmbox", "/proc", "tmpfs", flags, "mode=555,nr_inodes=1") || chdir("/proc") ||
	    syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return "an empty root";
	return NULL;
}

static bool drop_capabilities(void)
{
	cap_t none = cap_init();
	bool done = none && !cap_reset_ambient() && !cap_set_proc(none);

	cap_free(none);
	return done;
}

static const char *drop_privileges(void)
{
	/* Needs CAP_SETPCAP: an ordinary user without namespaces has none, nor a use for it. */
	for (cap_value_t c = 0; c < cap_max_bits() && cap_get_bound(c) >= 0; c++)
		cap_drop_bound(c);
	if (!drop_capabilities())
		return "capabilities";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
		return "no_new_privs";
	return NULL;
}

static const char *die_with_launcher(void)
{
	struct pollfd end = { .fd = launcher, .events = POLLIN };

	if (launcher < 0)
		return NULL;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return "the parent's death signal";
	if (poll(&end, 1, 0)) {
		errno = ESRCH;
		return "the launcher";
	}
	close(launcher);
	return NULL;
}

/* No other program on our core's other threads, where the kernel can see to that. */
static const char *core_alone(void)
{
	if (!prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0) ||
	    errno == EINVAL || errno == ENODEV)
		return NULL;
	return "core scheduling";
}

/* As struct landlock_ruleset_attr is by ABI 6; older kernels take its beginning. */
struct ruleset {
	uint64_t files, net, scopes;
};

#define NET_ALL	       (1ULL << 0 | 1ULL << 1) /* bind and connect of TCP */
#define SCOPE_ABSTRACT (1ULL << 0)	       /* UNIX sockets' abstract names */
#define SCOPE_SIGNAL   (1ULL << 1)

int cage_landlock_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* Everything that Landlock of the running kernel can forbid, and we know of. */
static struct ruleset landlock_ruleset(int abi)
{
	struct ruleset all = { .files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };

	if (abi >= 2)
		all.files |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		all.files |= CAGE_FS_TRUNCATE;
	if (abi >= 4)
		all.net = NET_ALL;
	if (abi >= 5)
		all.files |= CAGE_FS_IOCTL_DEV;
	if (abi >= 6) /* the launcher ends its children, which are in no scope of its own */
		all.scopes = SCOPE_ABSTRACT | (launcher < 0 ? 0 : SCOPE_SIGNAL);
	return all;
}

static const char *restrict_paths(const struct landlock_path_beneath_attr *paths, size_t n)
{
	int abi = cage_landlock_abi(), rules, err = 0;
	struct ruleset all = landlock_ruleset(abi);
	size_t size = abi >= 6	 ? sizeof(all)
		      : abi >= 4 ? offsetof(struct ruleset, scopes)
				 : offsetof(struct ruleset, net);

	if (abi < 1) /* not built in or not enabled: the other measures stand alone */
		return NULL;
	rules = syscall(SYS_landlock_create_ruleset, &all, size, 0);
	if (rules < 0)
		return "Landlock";
	for (size_t i = 0; i < n && !err; i++) {
		struct landlock_path_beneath_attr path = paths[i];

		path.allowed_access &= all.files;
		err = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &path, 0);
	}
	if (!err)
		err = syscall(SYS_landlock_restrict_self, rules, 0);
	close(rules);
	return err ? "Landlock" : NULL;
}

const char *cage_enter(const int *keep, size_t n, const struct landlock_path_beneath_attr *paths,
		       size_t nr_paths)
{
	const char *failed;
	int all[KEEP_MAX];

	if (n >= KEEP_MAX) {
		errno = E2BIG;
		return "descriptors";
	}
	memcpy(all, keep, n * sizeof(*keep));
	all[n] = launcher;
	failed = close_others(all, n + 1);
	if (!failed && isolated)
		failed = empty_root();
	if (!failed)
		failed = drop_privileges();
	if (!failed)
		failed = die_with_launcher();
	if (!failed)
		failed = core_alone();
	if (!failed)
		failed = restrict_paths(paths, nr_paths);
	return failed;
}

/* ---- 6. system calls ---- */

static bool limit(int what, rlim_t value)
{
	const struct rlimit both = { value, value };

	return !setrlimit(what, &both);
}

const char *cage_lock(rlim_t files, const struct cage_call *calls, size_t n)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err = filter ? 0 : -ENOMEM;

	if (!limit(RLIMIT_NOFILE, files) || !limit(RLIMIT_NPROC, 0) || !limit(RLIMIT_CORE, 0))
		return "limits";
	if (!err) /* of other architectures */
		err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; !err && i < n; i++)
		err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, calls[i].nr, calls[i].nr_args,
					     calls[i].args);
	if (!err)
		err = seccomp_load(filter);
	/* Not released: free() may make a call that is not in the list. */
	errno = -err;
	return err ? "seccomp" : NULL;
}
