// SPDX-License-Identifier: GPL-2.0-only
/*
 * The caller's terminal stays the launcher's: it alone reads from it, where the host's
 * job control can reach it, and gives the VMM what that asks for. It sets the modes, so
 * that it can set them back whatever becomes of the others. What the guest prints goes
 * from the VMM to the terminal directly.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "terminal.h"

#define ESCAPE	  0x1d /* Ctrl-] */
#define NR_ESCAPE 3

static bool is_same_terminal(int fd, dev_t terminal)
{
	struct stat st;

	return isatty(fd) && !fstat(fd, &st) && st.st_rdev == terminal;
}

void terminal_open(struct terminal *t)
{
	struct stat st;
	int fd;

	*t = (struct terminal){ .fd = -1, .keys = -1, .group = getpgrp() };
	if (tcgetattr(0, &t->saved) || fstat(0, &st))
		return;
	t->fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
	if (t->fd < 0 || !is_same_terminal(1, st.st_rdev) || !terminal_in_foreground(t))
		return;
	for (fd = 0; fd <= 2; fd++)
		if (is_same_terminal(fd, st.st_rdev))
			t->streams |= 1 << fd;
}

void terminal_size(const struct terminal *t, struct pvio_winsize *size)
{
	struct winsize ws = { 0 };

	ioctl(t->fd, TIOCGWINSZ, &ws);
	*size = (struct pvio_winsize){ ws.ws_row, ws.ws_col, ws.ws_xpixel, ws.ws_ypixel };
}

void terminal_describe(const struct terminal *t, struct pvio_terminal *to)
{
	*to = (struct pvio_terminal){ .streams = t->streams };
	if (!t->streams)
		return;
	terminal_size(t, &to->size);
	to->iflag = t->saved.c_iflag;
	to->oflag = t->saved.c_oflag;
	to->cflag = t->saved.c_cflag;
	to->lflag = t->saved.c_lflag;
	memcpy(to->cc, t->saved.c_cc, sizeof(to->cc));
}

/* True also where it is not our session's, or nobody's: there is no job control then. */
bool terminal_in_foreground(const struct terminal *t)
{
	pid_t group = tcgetpgrp(t->fd);

	return group < 0 || group == t->group;
}

void terminal_enter(struct terminal *t)
{
	struct termios raw;

	if (!t->streams || t->raw || !terminal_in_foreground(t) || tcgetattr(t->fd, &t->saved))
		return;
	raw = t->saved;
	cfmakeraw(&raw);
	t->raw = !tcsetattr(t->fd, TCSADRAIN, &raw);
}

/* What was typed for the program, or sent by the terminal in answer to it, is not the shell's. */
void terminal_leave(struct terminal *t)
{
	if (t->raw)
		tcsetattr(t->fd, TCSAFLUSH, &t->saved);
	t->raw = false;
}

void terminal_recover(struct terminal *t)
{
	/*
	 * What a full-screen program sets: xterm's other screen, no cursor, reports of the mouse and
	 * of pasting, the keypad, colours. Where it did not, this changes nothing.
	 */
	static const char usual[] = "\033[?1047l\033[?25h\033[?1000l\033[?1002l\033[?1003l"
				    "\033[?1006l\033[?2004l\033[?1l\033>\033[m";
	const char *kind = getenv("TERM");

	if (t->raw && kind && strcmp(kind, "dumb"))
		(void)!write(t->fd, usual, sizeof(usual) - 1);
	terminal_leave(t);
}

int terminal_poll_fd(const struct terminal *t)
{
	return t->wanted && t->keys >= 0 && terminal_in_foreground(t) ? t->fd : -1;
}

void terminal_close_keys(struct terminal *t)
{
	if (t->keys >= 0)
		close(t->keys);
	t->keys = -1;
}

bool terminal_take_wish(struct terminal *t)
{
	char bytes[64];
	bool first = !t->started;
	ssize_t n = read(t->keys, bytes, sizeof(bytes));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		terminal_close_keys(t);
		return false;
	}
	t->wanted = t->started = true;
	return first;
}

static bool is_escape(struct terminal *t, char key, uint64_t now_ns)
{
	if (key != ESCAPE || now_ns - t->escape_ns > 1000000000)
		t->escapes = 0;
	if (key == ESCAPE && !t->escapes++)
		t->escape_ns = now_ns;
	return t->escapes == NR_ESCAPE;
}

bool terminal_pass_keys(struct terminal *t, uint64_t now_ns)
{
	char bytes[4096];
	ssize_t n = read(t->fd, bytes, sizeof(bytes)), i;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	t->wanted = false;
	/* The socket is empty when the VMM asks. If it is not, that lied. */
	if (n <= 0 || write(t->keys, bytes, n) != n) {
		terminal_close_keys(t);
		return true;
	}
	for (i = 0; t->streams && i < n; i++) {
		t->stop_key |= (cc_t)bytes[i] == t->saved.c_cc[VSUSP];
		if (is_escape(t, bytes[i], now_ns))
			return false;
	}
	return true;
}
