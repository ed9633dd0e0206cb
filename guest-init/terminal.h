/* SPDX-License-Identifier: GPL-2.0-only */
/* The program's terminal: a pty of the guest's between it and the stdin and stdout channels. */
#ifndef GUEST_TERMINAL_H
#define GUEST_TERMINAL_H

#include "request.h"

/* PID 1, in the new root: makes the terminal, if the request has one. */
void terminal_open(const struct request *req);
/* The session's leader: it is this session's. */
void terminal_lead(void);
/* The program's process, in a process group of its own: gets the terminal's foreground. */
void terminal_enter(const struct request *req);
/* PID 1, after the fork: bytes go both ways from now on. The channels become the terminal's. */
void terminal_start(int input, int output);
void terminal_resize(const struct pvio_winsize *size);
/* Nobody has the terminal open any more: returns when what was written to it is in the channel. */
void terminal_finish(void);

#endif
