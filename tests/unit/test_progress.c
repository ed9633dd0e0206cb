// SPDX-License-Identifier: GPL-2.0-only
/* What a terminal sees of progress.c, byte for byte; and that nothing else sees anything. */
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../../runtime/progress.h"
#include "check.h"

/* Longer than a second, for what must not be shown. */
static void wait_long(void)
{
	struct timespec left = { 1, 300000000 };

	while (nanosleep(&left, &left))
		;
}

static void write_end(void)
{
	if (write(2, "end\n", 4) != 4)
		_exit(1);
}

/* A child in a terminal, raw, so that nothing comes back but what it writes. */
struct session {
	int terminal;
	pid_t pid;
	char seen[4096];
	size_t n;
};

static void start(struct session *s, unsigned short columns, void (*child)(void))
{
	struct winsize size = { .ws_row = 24, .ws_col = columns };
	struct termios raw = { 0 };

	cfmakeraw(&raw);
	cfsetspeed(&raw, B38400);
	memset(s, 0, sizeof(*s));
	s->pid = forkpty(&s->terminal, NULL, &raw, &size);
	CHECK(s->pid >= 0);
	if (s->pid)
		return;
	child();
	_exit(0);
}

/* Reads until @text has been seen, or to the end for NULL. */
static void see(struct session *s, const char *text)
{
	ssize_t n;

	while (!text || !strstr(s->seen, text)) {
		n = read(s->terminal, s->seen + s->n, sizeof(s->seen) - 1 - s->n);
		if (n <= 0)
			break;
		s->n += n;
	}
}

static void finish(struct session *s, const char *want)
{
	int status;

	see(s, NULL);
	close(s->terminal);
	CHECK(waitpid(s->pid, &status, 0) == s->pid);
	CHECK_EQ(status, 0);
	if (strcmp(s->seen, want))
		fprintf(stderr, "seen: '%s', not '%s'\n", s->seen, want);
	CHECK(!strcmp(s->seen, want));
}

static void await_byte(void)
{
	char byte;

	while (read(0, &byte, 1) != 1)
		;
}

static void shows(void)
{
	progress_prepare();
	progress_begin("never seen");
	progress_begin("at work");
	await_byte();
	progress_end();
	progress_end();
	write_end();
}

static void is_quick(void)
{
	progress_prepare();
	progress_begin("at work");
	progress_end();
	wait_long();
	write_end();
}

static void is_not_prepared(void)
{
	progress_begin("at work");
	wait_long();
	progress_end();
	write_end();
}

/* stderr is no terminal, though there is one. */
static void is_piped(void)
{
	int ends[2], terminal = dup(2);
	char byte;

	if (terminal < 0 || pipe(ends) || dup2(ends[1], 2) != 2)
		_exit(1);
	close(ends[1]);
	progress_prepare();
	progress_begin("at work");
	wait_long();
	progress_end();
	dup2(terminal, 2);
	if (read(ends[0], &byte, 1))
		_exit(1);
	write_end();
}

static void is_in_background(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		setpgid(0, 0);
		progress_prepare();
		progress_begin("at work");
		wait_long();
		progress_end();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		_exit(1);
	write_end();
}

int main(void)
{
	static void (*const silent[])(void) = { is_quick, is_not_prepared, is_piped,
						is_in_background };
	static struct session s[4], wide, narrow;
	size_t i;

	start(&wide, 20, shows);
	start(&narrow, 10, shows);
	for (i = 0; i < 4; i++)
		start(&s[i], 80, silent[i]);
	see(&wide, "work\r");
	CHECK(write(wide.terminal, "\n", 1) == 1);
	see(&narrow, "at\r");
	CHECK(write(narrow.terminal, "\n", 1) == 1);
	/* A line of blanks, ours, blanks over it. */
	finish(&wide, "                    \rvmbox: at work\r              \rend\n");
	finish(&narrow, "          \rvmbox: at\r         \rend\n");
	for (i = 0; i < 4; i++)
		finish(&s[i], "end\n");
	return check_failed;
}
