// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the guest. Flat: each step is checked, and one that fails is told to
 * the host as PVIO_SETUP_FAILED with what it was.
 *
 * Theory of operation
 *  1. devtmpfs, descriptors 0 to 2, the control channel: READY goes out.
 *  2. RUN comes in: clock, host name, loopback, the root (root.c).
 *  3. A process that leads the program's session: it tells the host of each stop of the
 *     program's, and ends with it, so that PID 1 inherits the program and reaps it.
 *  4. The program's process: its streams are the channel devices themselves, or a
 *     terminal (terminal.c); it gives up what it must not have, and executes the program.
 *  5. Reap, and pass on the host's signals, until the program ends; end what it left, so
 *     that what that has mapped is written; list or commit the overlays' changes
 *     (changes.c); send STATUS, power off.
 *
 * The program gets neither the control channel nor the file server's: both open
 * once per boot, are close-on-exec, and have no node in its view. The capabilities
 * by which root could reach into PID 1, go over limits or end the machine leave its bounding set.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "changes.h"
#include "control.h"
#include "limits.h"
#include "request.h"
#include "root.h"
#include "terminal.h"

/* The directory of the channels' devices, which the new root does not show. */
static int channels = -1;

static void open_channels(void)
{
	int fd;

	if (mount("dev", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL))
		_exit(1);
	/* The kernel starts us with no descriptors: 0 to 2 must not become others. */
	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			_exit(1);
	} while (fd < 2);
	control_open("/dev/vmbox/control");
	channels = open("/dev/vmbox", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (channels < 0)
		fail(errno, "/dev/vmbox");
}

static void set_oom_score(const char *score)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, score, strlen(score)) < 0)
		fail(errno, "/proc/self/oom_score_adj");
	close(fd);
}

static void set_up_machine(const struct request *req)
{
	struct timespec now = { req->head.time_sec, req->head.time_nsec };
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	if (clock_settime(CLOCK_REALTIME, &now))
		fail(errno, "clock");
	if (sethostname(req->hostname, strlen(req->hostname)))
		fail(errno, "host name '%s'", req->hostname);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		fail(errno, "loopback interface");
	close(fd);
}

static int open_channel(const char *name, int flags)
{
	int fd = openat(channels, name, flags | O_CLOEXEC);

	if (fd < 0)
		fail(errno, "%s", name);
	return fd;
}

/* Descriptor @fd, if it is not the terminal. */
static void open_stream(int fd, const char *name, int flags, const struct request *req)
{
	int stream;

	if (req->head.terminal.streams & 1 << fd)
		return;
	stream = open_channel(name, flags);
	if (fchown(stream, req->head.uid, req->head.gid) || dup2(stream, fd) < 0)
		fail(errno, "%s", name);
	close(stream);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void give_up_privileges(const struct request *req)
{
	static const int dropped[] = { CAP_SYS_PTRACE, CAP_SYS_BOOT, CAP_SYS_RAWIO, CAP_SYS_MODULE,
				       CAP_SYS_RESOURCE };

	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0))
			fail(errno, "capability %d", dropped[i]);
	if (setgroups(0, NULL) || setresgid(req->head.gid, req->head.gid, req->head.gid))
		fail(errno, "group %u", req->head.gid);
	if (setresuid(req->head.uid, req->head.uid, req->head.uid))
		fail(errno, "user %u", req->head.uid);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail(errno, "no_new_privs");
}

_Noreturn static void become_program(const struct request *req)
{
	if (setpgid(0, 0))
		fail(errno, "process group");
	terminal_enter(req);
	reset_signals();
	open_stream(0, "stdin", O_RDONLY, req);
	open_stream(1, "stdout", O_WRONLY, req);
	open_stream(2, "stderr", O_WRONLY, req);
	set_oom_score("0");
	limits_enter(req);
	give_up_privileges(req);
	if (chdir(req->cwd))
		fail(errno, "working directory %s", req->cwd);
	execve(req->program, req->argv, req->env);
	control_fail(PVIO_EXEC_FAILED, errno, "%s", req->program);
}

/* How often the OOM killer struck, of which the kernel keeps count. */
static bool oom_killed(void)
{
	FILE *f = fopen("/proc/vmstat", "re");
	unsigned long n = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "oom_kill %lu", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n > 0;
}

static __u64 microseconds(const struct timeval *t)
{
	return t->tv_sec * 1000000ULL + t->tv_usec;
}

_Noreturn static void report_end(int wstatus, const struct rusage *ru)
{
	struct pvio_status s = {
		.kind = WIFEXITED(wstatus) ? PVIO_EXITED : PVIO_SIGNALED,
		.value = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : WTERMSIG(wstatus),
		.user_us = microseconds(&ru->ru_utime),
		.system_us = microseconds(&ru->ru_stime),
		.max_rss_kib = ru->ru_maxrss,
	};

	if (oom_killed())
		s.flags |= PVIO_STATUS_OOM;
	if (WIFSIGNALED(wstatus) && WCOREDUMP(wstatus))
		s.flags |= PVIO_STATUS_CORE;
	if (limits_refused_fork())
		s.flags |= PVIO_STATUS_PIDS;
	control_finish(&s, "");
}

/*
 * The program's parent is not PID 1, for then its process group would be an orphaned one,
 * which Ctrl-Z does not stop; but it leaves it to PID 1 to reap: until then it can be signalled.
 */
_Noreturn static void lead_session(const struct request *req, int tell)
{
	siginfo_t info;
	pid_t program;

	if (setsid() < 0)
		fail(errno, "session");
	terminal_lead();
	program = fork();
	if (program < 0)
		fail(errno, "process for the program");
	if (program == 0)
		become_program(req);
	setpgid(program, program); /* it does so too: whoever is first */
	if (write(tell, &program, sizeof(program)) != sizeof(program))
		fail(errno, "process id of the program");
	do {
		if (waitid(P_PID, program, &info, WEXITED | WSTOPPED | WNOWAIT))
			_exit(1);
		if (info.si_code == CLD_STOPPED &&
		    !waitid(P_PID, program, &info, WSTOPPED | WNOHANG) && info.si_pid)
			control_say_stopped();
	} while (info.si_code == CLD_STOPPED);
	_exit(0);
}

static pid_t start_program(const struct request *req)
{
	pid_t leader, program;
	int tell[2];

	if (pipe2(tell, O_CLOEXEC))
		fail(errno, "pipe");
	leader = fork();
	if (leader < 0)
		fail(errno, "process for the session");
	if (leader == 0)
		lead_session(req, tell[1]);
	close(tell[1]);
	if (read(tell[0], &program, sizeof(program)) != sizeof(program)) {
		control_forward_failure();
		fail(ECHILD, "process of the session");
	}
	close(tell[0]);
	return program;
}

/* The wait status of the program. Until then the host's orders are carried out. */
static int wait_for_end(pid_t program, int child_signals, struct rusage *ru)
{
	struct pollfd fds[] = { { .fd = child_signals, .events = POLLIN },
				{ .fd = control_fd(), .events = POLLIN } };
	struct signalfd_siginfo info;
	int wstatus;
	pid_t pid;

	for (;;) {
		while ((pid = wait4(-1, &wstatus, WNOHANG, ru)) > 0)
			if (pid == program)
				return wstatus;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			fail(errno, "wait for the program");
		if (fds[0].revents && read(child_signals, &info, sizeof(info)) < 0)
			fail(errno, "signals of children");
		if (fds[1].revents)
			control_obey(program);
	}
}

int main(void)
{
	struct request req;
	struct rusage ru;
	sigset_t child;
	char *payload;
	size_t len;
	int wstatus, child_signals, list = -1;
	pid_t program;

	signal(SIGPIPE, SIG_IGN); /* a terminal that nobody has is no reason to end */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	open_channels();
	payload = control_receive_run(&len);
	request_parse(&req, payload, len);
	set_up_machine(&req);
	root_enter(&req);
	limits_prepare(&req);
	set_oom_score("-1000");
	if (changes_wanted(&req, PVIO_MOUNT_DIFF))
		list = open_channel("stderr", O_WRONLY); /* which the program may close for good */

	child_signals = signalfd(-1, &child, SFD_CLOEXEC);
	if (child_signals < 0)
		fail(errno, "signals of children");
	terminal_open(&req);
	program = start_program(&req);
	if (req.head.terminal.streams)
		terminal_start(open_channel("stdin", O_RDONLY), open_channel("stdout", O_WRONLY));
	wstatus = wait_for_end(program, child_signals, &ru);
	kill(-1, SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	terminal_finish();
	sync();
	control_forward_failure();
	if (list >= 0)
		changes_list(&req, list);
	if (wstatus == 0 && changes_wanted(&req, PVIO_MOUNT_COMMIT))
		changes_commit(&req);
	report_end(wstatus, &ru);
}
