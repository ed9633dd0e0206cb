// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab-client DIR [--] COMMAND [ARG…]: runs COMMAND in the lab whose port sockets
 * are DIR/port0…, as if it ran here: directory, environment, streams, terminal,
 * signals and exit status pass through. Status 90: the lab is gone; 91: it does
 * not answer. Owns one port, by flock, for its lifetime.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "wire.h"

enum {
	LAB_GONE = 90,
	LAB_SILENT = 91
};

extern char **environ;

static int exit_status = -1;
static struct termios saved_termios;
static bool raw;

static void terminal_restore(void)
{
	if (raw)
		tcsetattr(0, TCSADRAIN, &saved_termios);
}

static void terminal_raw(void)
{
	struct termios t;

	if (tcgetattr(0, &saved_termios) < 0)
		return;
	t = saved_termios;
	cfmakeraw(&t);
	raw = tcsetattr(0, TCSADRAIN, &t) == 0;
	atexit(terminal_restore);
}

/* Says hello; swallows what an earlier client left in the port. */
static bool handshake(int fd)
{
	struct lab_frame f = { .type = LAB_HELLO, .len = LAB_NONCE };
	char hello[sizeof(f) + LAB_NONCE], seen[sizeof(hello)] = { 0 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	memcpy(hello, &f, sizeof(f));
	if (getrandom(hello + sizeof(f), LAB_NONCE, 0) != LAB_NONCE)
		return false;
	if (write(fd, hello, sizeof(hello)) != sizeof(hello))
		return false;
	while (poll(&p, 1, 20000) > 0 && read(fd, &c, 1) == 1) {
		memmove(seen, seen + 1, sizeof(seen) - 1);
		seen[sizeof(seen) - 1] = c;
		if (!memcmp(seen, hello, sizeof(hello)))
			return true;
	}
	return false;
}

static int port_open(const char *dir)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char lock[sizeof(sa.sun_path) + 8];
	int fd, lockfd;

	for (int i = 0; i < LAB_PORTS; i++) {
		if ((size_t)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/port%d", dir, i) >=
		    sizeof(sa.sun_path))
			return -1;
		snprintf(lock, sizeof(lock), "%s.lock", sa.sun_path);
		lockfd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (lockfd < 0)
			return -1;
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (!flock(lockfd, LOCK_EX | LOCK_NB) &&
		    !connect(fd, (struct sockaddr *)&sa, sizeof(sa)) && handshake(fd))
			return fd; /* lockfd stays open */
		close(fd);
		close(lockfd);
	}
	return -1;
}

static char *append(char *at, const char *end, const char *s)
{
	size_t n = strlen(s) + 1;

	if (!at || n > (size_t)(end - at))
		return NULL;
	return (char *)memcpy(at, s, n) + n;
}

static struct lab_size window_size(void)
{
	struct winsize w = { .ws_row = 24, .ws_col = 80 };

	ioctl(0, TIOCGWINSZ, &w);
	return (struct lab_size){ w.ws_row, w.ws_col };
}

static bool send_run(struct lab_pump *p, uint32_t tty_mask, char **argv)
{
	static char buf[LAB_FRAME_MAX];
	struct lab_run *run = (struct lab_run *)buf;
	char *at = buf + sizeof(*run), *end = buf + sizeof(buf);
	char *cwd = getcwd(NULL, 0);

	run->tty_mask = tty_mask;
	run->size = window_size();
	at = append(at, end, cwd ? cwd : "/");
	free(cwd);
	for (; *argv; argv++, run->argc++)
		at = append(at, end, *argv);
	for (char **e = environ; *e; e++, run->envc++)
		at = append(at, end, *e);
	if (!at)
		return false;
	lab_pump_send(p, LAB_RUN, 0, buf, at - buf);
	return true;
}

static void on_frame(struct lab_pump *p, const struct lab_frame *f, const char *payload)
{
	int32_t status;

	if (f->type == LAB_EXIT && f->len == sizeof(status)) {
		memcpy(&status, payload, sizeof(status));
		exit_status = status;
	}
}

static bool sinks_busy(const struct lab_pump *p)
{
	for (int i = LAB_STDOUT; i < LAB_STREAMS; i++)
		if (p->stream[i].len)
			return true;
	return false;
}

static void pass_signal(struct lab_pump *p, int sigfd)
{
	struct signalfd_siginfo si;
	struct lab_size size;
	int32_t sig;

	if (read(sigfd, &si, sizeof(si)) != sizeof(si))
		return;
	sig = si.ssi_signo;
	if (sig == SIGWINCH) {
		size = window_size();
		lab_pump_send(p, LAB_WINCH, 0, &size, sizeof(size));
	} else {
		lab_pump_send(p, LAB_SIGNAL, 0, &sig, sizeof(sig));
	}
}

int main(int argc, char **argv)
{
	static struct lab_pump p;
	uint32_t tty_mask = 0;
	sigset_t set;
	int wire, sigfd;

	bool dashes = argc > 2 && !strcmp(argv[2], "--");
	char **command = argv + 2 + dashes;

	if (argc < 3 || !*command) {
		fprintf(stderr, "usage: lab-client DIR [--] COMMAND [ARG...]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	for (int i = 0; i < 6; i++)
		sigaddset(&set, (int[]){ SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGUSR1 }[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC);

	wire = port_open(argv[1]);
	if (wire < 0) {
		fprintf(stderr, "lab: no port of the lab answers\n");
		return LAB_SILENT;
	}
	lab_pump_init(&p, wire);
	p.other = on_frame;
	if (isatty(0))
		for (int i = 0; i < 3; i++)
			tty_mask |= isatty(i) ? 1U << i : 0;
	if (!send_run(&p, tty_mask, command)) {
		fprintf(stderr, "lab: the arguments and environment are too long\n");
		return LAB_SILENT;
	}
	lab_pump_source(&p, LAB_STDIN, 0);
	if (!(tty_mask & 2))
		lab_pump_sink(&p, LAB_STDOUT, 1);
	if (!(tty_mask & 4))
		lab_pump_sink(&p, LAB_STDERR, 2);
	if (tty_mask) {
		lab_pump_sink(&p, LAB_TTY, dup(0));
		terminal_raw();
	}
	while (exit_status < 0 || sinks_busy(&p)) {
		struct pollfd sig = { .fd = sigfd, .events = POLLIN };

		if (!lab_pump_round(&p, sigfd, -1) && exit_status < 0)
			return LAB_GONE;
		if (poll(&sig, 1, 0) > 0)
			pass_signal(&p, sigfd);
	}
	p.stream[LAB_STDIN].fd = -1;
	lab_pump_flush(&p);
	return exit_status;
}
