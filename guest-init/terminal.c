// SPDX-License-Identifier: GPL-2.0-only
/*
 * Owns the master of the program's pty, and two threads that move bytes between
 * it and the channels; threads, because a program that is root could end a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "control.h"
#include "root.h"
#include "terminal.h"

#define RELAY_STACK (64 * 1024)

struct relay {
	int from, to;
	pthread_t thread;
};

static int master = -1, slave = -1;
static struct relay input, output;

static void set_modes(const struct pvio_terminal *t)
{
	struct termios modes;

	if (tcgetattr(slave, &modes))
		fail(errno, "terminal");
	modes.c_iflag = t->iflag;
	modes.c_oflag = t->oflag;
	modes.c_cflag = t->cflag;
	modes.c_lflag = t->lflag;
	memcpy(modes.c_cc, t->cc, sizeof(t->cc));
	if (tcsetattr(slave, TCSANOW, &modes))
		fail(errno, "modes of the terminal");
}

void terminal_open(const struct request *req)
{
	const struct pvio_terminal *t = &req->head.terminal;
	int unlock = 0;

	if (!t->streams)
		return;
	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock))
		fail(errno, "/dev/ptmx");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || fchown(slave, req->head.uid, TTY_GROUP))
		fail(errno, "terminal");
	set_modes(t);
	terminal_resize(&t->size);
}

void terminal_lead(void)
{
	if (slave >= 0 && ioctl(slave, TIOCSCTTY, 0))
		fail(errno, "terminal of the session");
}

void terminal_enter(const struct request *req)
{
	int fd;

	if (slave < 0)
		return;
	signal(SIGTTOU, SIG_IGN); /* not yet in the foreground */
	if (tcsetpgrp(slave, getpid()))
		fail(errno, "the terminal's foreground");
	for (fd = 0; fd <= 2; fd++)
		if ((req->head.terminal.streams & 1 << fd) && dup2(slave, fd) < 0)
			fail(errno, "terminal");
}

/* Until nothing comes any more. What nobody takes is thrown away: the program's terminal goes on. */
static void *relay(void *arg)
{
	struct relay *r = arg;
	bool takes = true;
	char buffer[4096];

	for (;;) {
		ssize_t n = read(r->from, buffer, sizeof(buffer)), done = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		while (takes && done < n) {
			ssize_t m = write(r->to, buffer + done, n - done);

			if (m < 0 && errno != EINTR)
				takes = false;
			else if (m > 0)
				done += m;
		}
	}
}

static void start(struct relay *r, int from, int to)
{
	pthread_attr_t small;
	int err;

	r->from = from;
	r->to = to;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, RELAY_STACK);
	err = pthread_create(&r->thread, &small, relay, r);
	if (err)
		fail(err, "thread for the terminal");
}

void terminal_start(int in, int out)
{
	start(&input, in, master);
	start(&output, master, out);
}

void terminal_resize(const struct pvio_winsize *size)
{
	struct winsize ws = { size->rows, size->columns, size->x_pixels, size->y_pixels };

	if (master >= 0 && ioctl(master, TIOCSWINSZ, &ws))
		fail(errno, "size of the terminal");
}

void terminal_finish(void)
{
	if (master < 0)
		return;
	close(slave);
	pthread_join(output.thread, NULL);
}
