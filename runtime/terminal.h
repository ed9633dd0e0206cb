/* SPDX-License-Identifier: GPL-2.0-only */
/* The caller's terminal. For the launcher only: the guest has one of its own. */
#ifndef VMBOX_TERMINAL_H
#define VMBOX_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

#include "vmbox/pvio.h"

struct terminal {
	int fd;	  /* a descriptor of our own of what stdin is; -1: stdin is no terminal */
	int keys; /* to the VMM's stdin, which asks by a byte for what is typed; -1: it has ended */
	uint8_t streams; /* bit N: descriptor N is the terminal that the guest gets one for */
	bool wanted;	 /* the VMM has asked */
	bool started;	 /* it has ever asked: the guest has its terminal */
	bool raw;
	bool stop_key; /* Ctrl-Z was typed since the program stopped last */
	unsigned int escapes;
	uint64_t escape_ns; /* when the first of them was typed */
	struct termios saved;
	pid_t group; /* our process group */
};

/* Looks at descriptors 0 to 2. The guest gets a terminal if 0 and 1 are ours, in the foreground. */
void terminal_open(struct terminal *t);
/* As it is now, for the guest. */
void terminal_describe(const struct terminal *t, struct pvio_terminal *to);
void terminal_size(const struct terminal *t, struct pvio_winsize *size);

bool terminal_in_foreground(const struct terminal *t);
/* The guest's terminal is the caller's from now on: bytes go through unchanged. Not in the background. */
void terminal_enter(struct terminal *t);
/* As it was. */
void terminal_leave(struct terminal *t);
/* So it is where the program had no time to: the screen, too. The VMM is to have ended. */
void terminal_recover(struct terminal *t);

/* The descriptor to poll for keys; -1: none now. */
int terminal_poll_fd(const struct terminal *t);
/* What the VMM asks for; true: for the first time. */
bool terminal_take_wish(struct terminal *t);
/* Passes on what was typed; false: Ctrl-] was, three times in a second: end it. */
bool terminal_pass_keys(struct terminal *t, uint64_t now_ns);
void terminal_close_keys(struct terminal *t);

#endif
