// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the lab. Theory of operation:
 *  1. load the modules of /modules, in the order of their names;
 *  2. make the machine's root (virtiofs, or $LAB_FS with $LAB_FS_OPTIONS,
 *     read-only) with a scratch overlay of tmpfs the root; the source tree
 *     ($LAB_TREE) stays without the overlay, so that a new build is seen at once;
 *  3. mount what a host has (/proc, /sys, ...), and the lab kernel's modules
 *     ($LAB_MODULES, a directory of the machine) at /lib/modules/VERSION;
 *  4. start an agent for each port, and reap for ever.
 * It trusts the machine; a failure powers off, with the reason on the console.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lab.h"
#include "wire.h"

static _Noreturn void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	dprintf(2, "lab init: ");
	vdprintf(2, fmt, ap);
	dprintf(2, ": %s\n", strerror(err));
	va_end(ap);
	tcdrain(2); /* a serial console is slower than what follows */
	reboot(RB_AUTOBOOT);
	_exit(1);
}

static void must_mount(const char *src, const char *dir, const char *type, unsigned long flags,
		       const char *data)
{
	mkdir(dir, 0755);
	if (mount(src, dir, type, flags, data) < 0)
		die("mount %s on %s", src, dir);
}

static void modules_load(void)
{
	struct dirent **names;
	int n = scandir("/modules", &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char path[300];
		int fd;

		if (names[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/modules/%s", names[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
			die("load %s", path);
		close(fd);
	}
}

static void root_make(void)
{
	const char *fs = getenv("LAB_FS");

	must_mount("tmpfs", "/scratch", "tmpfs", 0, "mode=755,size=75%");
	mkdir("/scratch/up", 0755);
	mkdir("/scratch/work", 0755);
	mkdir("/scratch/root", 0755);
	must_mount("machine", "/machine", fs ? fs : "virtiofs", MS_RDONLY,
		   getenv("LAB_FS_OPTIONS"));
	must_mount("overlay", "/scratch/root", "overlay", 0,
		   "lowerdir=/machine,upperdir=/scratch/up,workdir=/scratch/work");
}

static void tree_bind(void)
{
	const char *tree = getenv("LAB_TREE");
	char from[4096], to[4096];

	if (!tree)
		return;
	snprintf(from, sizeof(from), "/machine%s", tree);
	snprintf(to, sizeof(to), "/scratch/root%s", tree);
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		die("bind %s", tree);
}

static void root_enter(void)
{
	/* The initial root can't be moved away: cover it, like switch_root. */
	if (chdir("/scratch/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") ||
	    chdir("/"))
		die("enter the root");
}

static void host_mounts(void)
{
	const char *modules = getenv("LAB_MODULES");
	struct utsname u;
	char dir[300];

	must_mount("proc", "/proc", "proc", 0, NULL);
	must_mount("sysfs", "/sys", "sysfs", 0, NULL);
	must_mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	must_mount("devpts", "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666");
	must_mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777");
	must_mount("tmpfs", "/run", "tmpfs", 0, "mode=755");
	must_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	if (symlink("/proc/self/fd", "/dev/fd") || symlink("fd/0", "/dev/stdin") ||
	    symlink("fd/1", "/dev/stdout") || symlink("fd/2", "/dev/stderr"))
		die("/dev/fd");
	uname(&u);
	snprintf(dir, sizeof(dir), "/lib/modules/%s", u.release);
	mkdir("/lib/modules", 0755);
	if (modules)
		must_mount(modules, dir, NULL, MS_BIND, NULL);
}

/* The ports appear a moment after their driver; the bus number is the kernel's choice. */
static int ports_wait(void)
{
	char last[40];

	for (int tries = 0; tries < 500; tries++) {
		for (int bus = 0; bus < 4; bus++) {
			snprintf(last, sizeof(last), "/dev/vport%dp%d", bus, LAB_PORTS);
			if (!access(last, F_OK))
				return bus;
		}
		usleep(10000);
	}
	die("no virtio-serial ports");
}

static void agents_start(void)
{
	int bus = ports_wait();

	for (int i = 0; i < LAB_PORTS; i++) {
		char port[40];
		pid_t pid;

		snprintf(port, sizeof(port), "/dev/vport%dp%d", bus, i + 1);
		pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0)
			agent_run(port);
	}
}

int main(void)
{
	struct rlimit nofile = { 1024, 1048576 };

	must_mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	modules_load();
	root_make();
	tree_bind();
	root_enter();
	host_mounts();
	setrlimit(RLIMIT_NOFILE, &nofile);
	sethostname("lab", 3);
	agents_start();
	for (;;)
		if (wait(NULL) < 0 && errno == ECHILD)
			die("every agent has ended");
}
