// SPDX-License-Identifier: GPL-2.0-only
/*
 * Confines the file server before it reads the first byte from the guest.
 *
 * Theory of operation. First what needs privileges or other descriptors: no
 * descriptor but stderr, the socket and the exports; no capability. Then, when
 * the server has all it opens by name: Landlock (read below the exports only;
 * where the kernel has it), and a seccomp filter that kills. The filter cannot
 * see openat2's flags and paths: Landlock and the empty set of writable
 * descriptors bound those.
 *
 * Started as root it stays uid 0, because what the caller may read is read as
 * the caller; but without capabilities: root's own files and public ones, not
 * other users' private ones, nor anything else that root may do.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_confine.h"
#include "fs_limits.h"

static int complain(const char *what, int err)
{
	fprintf(stderr, "vmbox: file server[%d]: cannot confine itself: %s: %s\n", getpid(), what,
		strerror(err));
	return -err;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all but stderr, sock and the exports; 0 and 1 become /dev/null. */
static int close_others(int sock, const struct fs_export *exports, size_t n)
{
	int *keep = malloc((n + 1) * sizeof(*keep)), null;
	unsigned int from = 3;

	if (!keep)
		return complain("memory", ENOMEM);
	for (size_t i = 0; i < n; i++)
		keep[i] = exports[i].fd;
	keep[n] = sock;
	qsort(keep, n + 1, sizeof(*keep), compare_fds);
	for (size_t i = 0; i <= n; i++) {
		if ((unsigned int)keep[i] > from)
			close_range(from, keep[i] - 1, 0);
		from = keep[i] + 1;
	}
	free(keep);
	if (close_range(from, ~0U, 0))
		return complain("close_range", errno);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || close(null))
		return complain("/dev/null", errno);
	return 0;
}

static int drop_capabilities(void)
{
	cap_t none = cap_init();
	int err = 0;

	for (cap_value_t c = 0; c < cap_max_bits() && cap_get_bound(c) >= 0; c++)
		cap_drop_bound(c); /* needs CAP_SETPCAP: an ordinary user has no bounds to drop */
	if (!none || cap_reset_ambient() || cap_set_proc(none))
		err = complain("capabilities", errno);
	cap_free(none);
	return err;
}

static int set_limit(int what, rlim_t value)
{
	struct rlimit limit;

	if (getrlimit(what, &limit))
		return complain("getrlimit", errno);
	if (value > limit.rlim_max)
		value = limit.rlim_max;
	limit = (struct rlimit){ value, value };
	return setrlimit(what, &limit) ? complain("setrlimit", errno) : 0;
}

int fs_confine_begin(int sock, const struct fs_export *exports, size_t n)
{
	int err;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return complain("parent's death signal", errno);
	err = close_others(sock, exports, n);
	if (!err)
		err = set_limit(RLIMIT_NOFILE, FS_NODE_FDS_MAX + FS_OPEN_MAX + 256);
	if (!err)
		err = set_limit(RLIMIT_CORE, 0);
	if (!err)
		err = set_limit(RLIMIT_DATA, FS_MEMORY_MAX);
	if (!err)
		err = drop_capabilities();
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = complain("no_new_privs", errno);
	if (!err && prctl(PR_SET_DUMPABLE, 0))
		err = complain("dumpable", errno);
	return err;
}

/* Everything that Landlock of the running kernel can forbid. */
static __u64 landlock_rights(int abi)
{
	__u64 v1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	return abi >= 2 ? v1 | LANDLOCK_ACCESS_FS_REFER : v1;
}

static int landlock_exports(const struct fs_export *exports, size_t n)
{
	int abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { .handled_access_fs = landlock_rights(abi) };
	int rules, err = 0;

	if (abi < 1) /* not built in or not enabled: the other measures stand alone */
		return 0;
	rules = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		return complain("Landlock", errno);
	for (size_t i = 0; i < n && !err; i++) {
		struct landlock_path_beneath_attr rule = { .parent_fd = exports[i].fd };
		struct stat st;

		if (fstat(rule.parent_fd, &st))
			err = errno;
		rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
		if (S_ISDIR(st.st_mode))
			rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
		if (!err &&
		    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
			err = errno;
	}
	if (!err && syscall(SYS_landlock_restrict_self, rules, 0))
		err = errno;
	close(rules);
	return err ? complain("Landlock", err) : 0;
}

static const int allowed[] = {
	SCMP_SYS(read),		SCMP_SYS(write),	   SCMP_SYS(close),   SCMP_SYS(openat2),
	SCMP_SYS(fstat),	SCMP_SYS(newfstatat),	   SCMP_SYS(pread64), SCMP_SYS(getdents64),
	SCMP_SYS(lseek),	SCMP_SYS(readlinkat),	   SCMP_SYS(brk),     SCMP_SYS(munmap),
	SCMP_SYS(mremap),	SCMP_SYS(madvise),	   SCMP_SYS(getpid),  SCMP_SYS(exit_group),
	SCMP_SYS(getrandom), /* malloc's first use */
	SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
};

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err = filter ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	/* Memory for malloc: never executable. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err ? complain("seccomp", -err) : 0;
}

int fs_confine_finish(const struct fs_export *exports, size_t n)
{
	int err = landlock_exports(exports, n);

	return err ? err : filter_calls();
}
