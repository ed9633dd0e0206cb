// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the guest that scripts/bench fs compares ours with: DIR, BENCH and NAME are
 * from the kernel's command line. The host's root is there read-only, DIR/rw writable, by
 * virtio's 9P with the options that guest-init/root.c gives its own; the message size is
 * the client's default, twice ours. BENCH runs as nobody in DIR, with the serial port.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define NOBODY 65534

static void check(int bad, const char *what)
{
	if (!bad)
		return;
	printf("peer: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	reboot(RB_AUTOBOOT);
	_exit(1); /* BENCH's process, which may not */
}

static void enter(const char *dir)
{
	char rw[256];

	snprintf(rw, sizeof(rw), "/new%s/rw", dir);
	check(mount("root", "/new", "9p", MS_RDONLY | MS_NOATIME,
		    "trans=virtio,version=9p2000.L,cache=loose,access=any"),
	      "root");
	check(mount("work", rw, "9p", MS_NOATIME,
		    "trans=virtio,version=9p2000.L,cache=mmap,access=user"),
	      rw);
	check(mount("dev", "/new/dev", "devtmpfs", 0, NULL), "/dev");
	check(mount("proc", "/new/proc", "proc", 0, NULL), "/proc");
	check(chroot("/new") || chdir(dir), dir);
}

int main(void)
{
	const char *dir = getenv("DIR"), *bench = getenv("BENCH"), *name = getenv("NAME");
	struct termios tty;
	pid_t pid;

	check(!dir || !bench || !name || tcgetattr(0, &tty), "arguments");
	cfmakeraw(&tty);
	check(tcsetattr(0, TCSANOW, &tty), "terminal");
	enter(dir);
	pid = fork();
	check(pid < 0, "fork");
	if (!pid) {
		check(setgid(NOBODY) || setuid(NOBODY), "user");
		setenv("PATH", "/usr/bin:/bin", 1);
		execl(bench, bench, name, NULL);
		check(1, bench);
	}
	check(waitpid(pid, NULL, 0) != pid, "wait");
	reboot(RB_AUTOBOOT);
}
