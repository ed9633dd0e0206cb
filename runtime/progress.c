// SPDX-License-Identifier: GPL-2.0-only
/*
 * One line on the terminal, by a timer's signal. The cursor stays at the line's start, so that
 * a message of another process of ours, which is longer, replaces it. What was on the terminal's
 * line before is not written over: blanks for a whole line come first, which from the middle
 * of a line lead to the next.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

static bool prepared, begun;
static timer_t timer;
static size_t columns;
static char line[1024], blank[1024];
static volatile sig_atomic_t shown;

static void show(int sig)
{
	int err = errno;

	(void)sig;
	shown = write(2, line, strlen(line)) > 0;
	errno = err;
}

void progress_prepare(void)
{
	struct sigaction action = { .sa_handler = show, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	struct winsize size;

	if (tcgetpgrp(2) != getpgrp() || ioctl(2, TIOCGWINSZ, &size))
		return;
	columns = size.ws_col < 256 ? size.ws_col : 0;
	prepared = !sigaction(SIGRTMIN, &action, NULL) &&
		   !timer_create(CLOCK_MONOTONIC, &event, &timer);
}

static void set_timer(time_t seconds)
{
	struct itimerspec at = { .it_value.tv_sec = seconds };

	timer_settime(timer, 0, &at, NULL);
}

void progress_begin(const char *what)
{
	char text[256];

	progress_end();
	if (!prepared)
		return;
	snprintf(text, columns ?: sizeof(text), "vmbox: %s", what);
	snprintf(line, sizeof(line), "%*s\r%s\r", (int)columns, "", text);
	snprintf(blank, sizeof(blank), "%*s\r", (int)strlen(text), "");
	begun = true;
	set_timer(1);
}

void progress_end(void)
{
	ssize_t n;

	if (!begun)
		return;
	begun = false;
	set_timer(0);
	if (!shown)
		return;
	shown = 0;
	n = write(2, blank, strlen(blank));
	(void)n; /* nobody to tell */
}
