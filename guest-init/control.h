/* SPDX-License-Identifier: GPL-2.0-only */
/* The control channel as PID 1 sees it, and how a failure is told to the host. */
#ifndef GUEST_CONTROL_H
#define GUEST_CONTROL_H

#include <stddef.h>
#include <sys/types.h>
#include <vmbox/pvio.h>

/* Opens the channel at path and says READY. */
void control_open(const char *path);
/* The payload of the RUN message, *len bytes with a NUL after them. */
char *control_receive_run(size_t *len);
/* To poll for orders. */
int control_fd(void);
/* Carries out one of the host's orders, SIGNAL or WINSIZE. */
void control_obey(pid_t program);
/* The program has stopped. */
void control_say_stopped(void);
/* The program has succeeded; returns when the host lets its files be changed. */
void control_ask_commit(void);
/* Sends STATUS and powers off. */
_Noreturn void control_finish(const struct pvio_status *status, const char *text);

/*
 * Ends the run: kind is one of PVIO_*_FAILED. In PID 1 this powers off; a child
 * leaves the report for PID 1 and exits.
 */
_Noreturn void control_fail(__u32 kind, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
#define fail(...) control_fail(PVIO_SETUP_FAILED, __VA_ARGS__)

/* PID 1: sends what a child left with control_fail(); returns if it left nothing. */
void control_forward_failure(void);

#endif
