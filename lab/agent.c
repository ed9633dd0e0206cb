// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lab's agent: one process for each port, one command at a time on each.
 * A session begins with HELLO and RUN and ends with EXIT; when the client is
 * gone, its command's process group is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lab.h"
#include "wire.h"

static pid_t child; /* 0: none */
static int master = -1;

static void size_set(struct lab_size size)
{
	struct winsize w = { .ws_row = size.rows, .ws_col = size.cols };

	if (master >= 0)
		ioctl(master, TIOCSWINSZ, &w);
}

/* What changed on the machine since it was looked up here must be seen. */
static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		/* 4: do not log it; 3: everything that is clean */
		if (pwrite(fd, "4", 1, 0) < 0 || pwrite(fd, "3", 1, 0) < 0)
			perror("agent: drop_caches");
		close(fd);
	}
}

/* The CPU that is for nothing but the kernel (scripts/lab-amd). */
static void keep_off(const char *cpu)
{
	cpu_set_t set;

	if (!cpu || sched_getaffinity(0, sizeof(set), &set))
		return;
	CPU_CLR(atoi(cpu), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		perror("agent: sched_setaffinity");
}

static _Noreturn void child_exec(const struct lab_run *run, char *strings, int fds[3], int slave)
{
	char **argv = calloc(run->argc + 1, sizeof(*argv));
	char **env = calloc(run->envc + 1, sizeof(*env));
	const char *cwd = strings;
	sigset_t none;

	if (!argv || !env || !run->argc)
		_exit(126);
	for (uint32_t i = 0; i < run->argc; i++)
		argv[i] = strings += strlen(strings) + 1;
	for (uint32_t i = 0; i < run->envc; i++)
		env[i] = strings += strlen(strings) + 1;
	keep_off(getenv("LAB_KEEP_OFF"));
	setsid();
	if (slave >= 0)
		ioctl(slave, TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		dup2(run->tty_mask & (1U << i) ? slave : fds[i], i);
	close_range(3, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	environ = env;
	if (chdir(cwd) < 0 && chdir("/") < 0)
		_exit(126);
	execvp(argv[0], argv);
	dprintf(2, "lab: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void command_start(struct lab_pump *p, const char *payload, uint32_t len)
{
	struct lab_run run;
	char *strings;
	int in[2], out[2], err[2], slave = -1;

	memcpy(&run, payload, sizeof(run));
	strings = malloc(len);
	if (!strings)
		abort();
	memcpy(strings, payload + sizeof(run), len - sizeof(run));
	drop_caches();
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		abort();
	if (run.tty_mask) {
		master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (master < 0 || grantpt(master) || unlockpt(master))
			abort();
		slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
		size_set(run.size);
	}
	child = fork();
	if (child < 0)
		abort();
	if (!child)
		child_exec(&run, strings, (int[]){ in[0], out[1], err[1] }, slave);
	free(strings);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	lab_pump_source(p, LAB_STDOUT, out[0]);
	lab_pump_source(p, LAB_STDERR, err[0]);
	if (slave >= 0) {
		close(slave);
		close(in[1]);
		fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
		lab_pump_sink(p, LAB_STDIN, master);
		p->stream[LAB_STDIN].keep = true;
		lab_pump_source(p, LAB_TTY, master);
		p->stream[LAB_TTY].keep = true;
	} else {
		fcntl(in[1], F_SETFL, O_WRONLY | O_NONBLOCK);
		lab_pump_sink(p, LAB_STDIN, in[1]);
	}
}

/* Ends a command whose client is gone. */
static void command_kill(void)
{
	if (!child)
		return;
	kill(-child, SIGHUP);
	kill(-child, SIGCONT);
	for (int i = 0; i < 20 && waitpid(child, NULL, WNOHANG) == 0; i++)
		usleep(50000);
	kill(-child, SIGKILL);
	waitpid(child, NULL, 0);
	child = 0;
}

static void session_reset(struct lab_pump *p)
{
	command_kill();
	for (int i = 0; i < LAB_STREAMS; i++)
		if (p->stream[i].fd >= 0 && !p->stream[i].keep)
			close(p->stream[i].fd);
	if (master >= 0)
		close(master);
	master = -1;
	for (int i = 0; i < LAB_STREAMS; i++)
		p->stream[i].fd = -1;
}

static void on_frame(struct lab_pump *p, const struct lab_frame *f, const char *payload)
{
	struct lab_size size;
	int32_t sig;

	switch (f->type) {
	case LAB_HELLO:
		session_reset(p);
		lab_pump_send(p, LAB_HELLO, 0, payload, f->len);
		break;
	case LAB_RUN:
		session_reset(p);
		command_start(p, payload, f->len);
		break;
	case LAB_WINCH:
		memcpy(&size, payload, sizeof(size));
		size_set(size);
		break;
	case LAB_SIGNAL:
		memcpy(&sig, payload, sizeof(sig));
		if (child)
			kill(-child, sig);
		break;
	}
}

/* The command has ended: what is in its pipes was written before. */
static void command_reap(struct lab_pump *p)
{
	int status;
	int32_t code;

	if (!child || waitpid(child, &status, WNOHANG) != child)
		return;
	child = 0;
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	for (;;) {
		struct pollfd left[3];

		for (int i = 0; i < 3; i++) {
			lab_pump_drain(p, LAB_STDOUT + i);
			left[i] = (struct pollfd){ .fd = p->stream[LAB_STDOUT + i].fd,
						   .events = POLLIN };
		}
		if (poll(left, 3, 0) <= 0)
			break;
		if (!lab_pump_round(p, -1, -1)) {
			session_reset(p);
			return;
		}
	}
	lab_pump_send(p, LAB_EXIT, 0, &code, sizeof(code));
}

/* Waits until a client has the port: poll() says only POLLHUP until then. */
static void client_wait(int fd, int sigfd)
{
	struct pollfd port = { .fd = fd, .events = POLLIN };
	struct pollfd sig = { .fd = sigfd, .events = POLLIN };
	struct signalfd_siginfo si;

	while (poll(&port, 1, 0) > 0 && port.revents & POLLHUP) {
		poll(&sig, 1, 5000); /* SIGIO: the port's state changed */
		while (read(sigfd, &si, sizeof(si)) > 0)
			;
	}
}

_Noreturn void agent_run(const char *port)
{
	static struct lab_pump p;
	struct signalfd_siginfo si;
	sigset_t set;
	int sigfd, fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGIO);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	fd = open(port, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		dprintf(2, "lab agent: %s: %s\n", port, strerror(errno));
		_exit(1);
	}
	lab_pump_init(&p, fd);
	p.other = on_frame;
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
	for (;;) {
		client_wait(fd, sigfd);
		while (lab_pump_round(&p, sigfd, -1)) {
			while (read(sigfd, &si, sizeof(si)) > 0)
				;
			command_reap(&p);
		}
		session_reset(&p);
		p.in_len = p.out_len = p.out_off = 0;
	}
}
