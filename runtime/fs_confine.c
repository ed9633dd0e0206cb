// SPDX-License-Identifier: GPL-2.0-only
/*
 * Confines the file server before it reads the first byte from the guest: its
 * cage has no descriptor but stderr, the sockets, the audit, learn's, the gate, the exports and
 * the way to open them (/proc/self/fd), and Landlock that lets it read below the
 * exports only, and write where one is rw. The seccomp filter cannot see
 * openat2's flags and paths: the exports' own mounts, read-only if the export is,
 * the empty root and Landlock bound those. The calls that change files are there
 * only if an export is rw.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs_confine.h"
#include "fs_limits.h"

#define FILES (FS_SESSIONS * (FS_NODE_FDS_MAX + FS_OPEN_MAX) + FS_OTHER_FDS)

static int complain(const char *what, int err)
{
	fprintf(stderr, "vmbox: file server: cannot confine itself: %s: %s\n", what, strerror(err));
	return -err;
}

size_t fs_confine_calls(struct cage_call calls[CAGE_CALLS_MAX], bool rw)
{
	const struct cage_call list[] = {
		CAGE_CALL(read), CAGE_CALL(write), CAGE_CALL(close), CAGE_CALL(openat2),
		CAGE_CALL(fstat), CAGE_CALL(newfstatat), CAGE_CALL(pread64), CAGE_CALL(getdents64),
		CAGE_CALL(lseek), CAGE_CALL(readlinkat), CAGE_CALL(rt_sigreturn),
		CAGE_CALL(restart_syscall), CAGE_CALL(exit_group), CAGE_CALL(poll),
		CAGE_CALL(clock_gettime), /* a record's time, where the vDSO does not give it */
		/* malloc: memory that is never executable */
		CAGE_CALL_IF(mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)), CAGE_CALL(brk),
		CAGE_CALL(munmap), CAGE_CALL(mremap), CAGE_CALL(madvise),
		CAGE_CALL(getrandom), /* its first use */
	};
	const struct cage_call changes[] = {
		CAGE_CALL(pwrite64),  CAGE_CALL(ftruncate), CAGE_CALL(fsync),
		CAGE_CALL(fdatasync), CAGE_CALL(mkdirat),   CAGE_CALL(symlinkat),
		CAGE_CALL(linkat),    CAGE_CALL(unlinkat),  CAGE_CALL(renameat),
		CAGE_CALL(fchownat),  CAGE_CALL(fchmodat),  CAGE_CALL(utimensat),
		CAGE_CALL(fstatfs),
	};
	size_t n = sizeof(list) / sizeof(list[0]);

	memcpy(calls, list, sizeof(list));
	if (!rw)
		return n;
	memcpy(calls + n, changes, sizeof(changes));
	return n + sizeof(changes) / sizeof(changes[0]);
}

/* 0 and 1 become /dev/null. */
static int close_standard(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return complain("/dev/null", errno);
	return 0;
}

static int limit_memory(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_DATA, &limit))
		return complain("getrlimit", errno);
	if (limit.rlim_max > FS_MEMORY_MAX)
		limit.rlim_max = FS_MEMORY_MAX;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_DATA, &limit) ? complain("setrlimit", errno) : 0;
}

/* The descriptor limit that we can have. */
static rlim_t files_limit(void)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_max < FILES ? limit.rlim_max : FILES;
}

/* What the server does with a file, or in a directory, that may be changed. */
#define CHANGES_DIR                                                                                \
	(LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                          \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM | \
	 LANDLOCK_ACCESS_FS_REFER)

static uint64_t export_rights(const struct fs_export *export)
{
	uint64_t rights = LANDLOCK_ACCESS_FS_READ_FILE;
	struct stat st;
	bool is_dir = !fstat(export->fd, &st) && S_ISDIR(st.st_mode);

	if (is_dir)
		rights |= LANDLOCK_ACCESS_FS_READ_DIR;
	if (export->rw)
		rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | CAGE_FS_TRUNCATE;
	if (export->rw && is_dir)
		rights |= CHANGES_DIR;
	return rights;
}

/* First: what the server makes counts on them. */
int fs_confine_files(void)
{
	const struct rlimit files = { files_limit(), files_limit() };

	return setrlimit(RLIMIT_NOFILE, &files) ? complain("setrlimit", errno) : 0;
}

static int enter(const struct fs_config *config, int proc_fds)
{
	struct landlock_path_beneath_attr *paths = calloc(config->n + 1, sizeof(*paths));
	int *keep = calloc(config->n + FS_SESSIONS + 4, sizeof(*keep)), err = 0;
	const char *failed = "memory";
	size_t n = 0;

	for (size_t i = 0; keep && paths && i < config->n; i++) {
		keep[n++] = config->exports[i].fd;
		paths[i].parent_fd = config->exports[i].fd;
		paths[i].allowed_access = export_rights(&config->exports[i]);
	}
	if (keep && paths) {
		for (int i = 0; i < FS_SESSIONS; i++)
			keep[n++] = config->socks[i];
		keep[n++] = config->audit;
		keep[n++] = config->learn;
		keep[n++] = config->gate;
		keep[n++] = proc_fds;
		failed = cage_enter(keep, n, paths, config->n);
	}
	if (failed)
		err = complain(failed, errno);
	free(keep);
	free(paths);
	return err;
}

int fs_confine_begin(const struct fs_config *config, int *proc_fds)
{
	const char *failed = cage_detach(proc_fds, 0);
	int err = failed ? complain(failed, errno) : close_standard();

	return err ? err : enter(config, *proc_fds);
}

bool fs_any_rw(const struct fs_export *exports, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (exports[i].rw)
			return true;
	return false;
}

int fs_confine_finish(const struct fs_config *config)
{
	struct cage_call calls[CAGE_CALLS_MAX];
	const char *failed;
	int err = limit_memory();

	if (err)
		return err;
	failed = cage_lock(files_limit(), calls,
			   fs_confine_calls(calls, fs_any_rw(config->exports, config->n)));
	return failed ? complain(failed, errno) : 0;
}
