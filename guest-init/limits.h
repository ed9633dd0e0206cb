/* SPDX-License-Identifier: GPL-2.0-only */
/* Limits that the guest's kernel holds the program to. Those of the host's hold whatever it does. */
#ifndef GUEST_LIMITS_H
#define GUEST_LIMITS_H

#include <stdbool.h>

#include "request.h"

/* PID 1, before the program's process is made. */
void limits_prepare(const struct request *req);
/* The program's process, while it may still do anything: from here on they hold. */
void limits_enter(const struct request *req);
/* Was a fork refused because of them? */
bool limits_refused_fork(void);

#endif
