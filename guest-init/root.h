/* SPDX-License-Identifier: GPL-2.0-only */
/* The file system that the program sees. */
#ifndef GUEST_ROOT_H
#define GUEST_ROOT_H

#include "request.h"

#define TTY_GROUP 5

/*
 * Builds the root and enters it. Needs the channels' devices at /dev/vmbox and
 * empty directories /host, /host-rw, /upper and /new.
 */
void root_enter(const struct request *req);

#endif
