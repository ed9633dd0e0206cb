// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program's limits. Owns a file system of cgroups that nothing else shows. The
 * program is in one of its own and, by a namespace, sees no other: with nsdelegate
 * even its root can neither leave it nor change it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control.h"
#include "limits.h"

static int cgroups = -1; /* their root; -1: processes are not limited */

static void set(const char *file, const char *value)
{
	int fd = openat(cgroups, file, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fail(errno, "cgroup: %s", file);
	close(fd);
}

void limits_prepare(const struct request *req)
{
	char value[16];
	int fs;

	if (!req->head.pids)
		return;
	fs = syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "nsdelegate", NULL, 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		fail(errno, "cgroup2");
	cgroups = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (cgroups < 0 || mkdirat(cgroups, "program", 0755))
		fail(errno, "cgroup of the program");
	close(fs);
	set("cgroup.subtree_control", "+pids");
	snprintf(value, sizeof(value), "%u", req->head.pids);
	set("program/pids.max", value);
}

void limits_enter(const struct request *req)
{
	const rlim_t n = req->head.files;
	const struct rlimit files = { n ? n : 1024, n ? n : 65536 };
	const struct rlimit size = { req->head.file_size, req->head.file_size };

	if (cgroups >= 0) {
		set("program/cgroup.procs", "0");
		if (unshare(CLONE_NEWCGROUP))
			fail(errno, "namespace of cgroups");
	}
	if (setrlimit(RLIMIT_NOFILE, &files))
		fail(errno, "limit of open files");
	if (setrlimit(RLIMIT_FSIZE, &size))
		fail(errno, "limit of file sizes");
}

bool limits_refused_fork(void)
{
	char events[64] = "";
	unsigned long n = 0;
	int fd;

	if (cgroups < 0)
		return false;
	fd = openat(cgroups, "program/pids.events", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, events, sizeof(events) - 1) < 0 ||
	    sscanf(events, "max %lu", &n) != 1)
		fail(errno, "cgroup: pids.events");
	close(fd);
	return n > 0;
}
