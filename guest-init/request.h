/* SPDX-License-Identifier: GPL-2.0-only */
/* The RUN message, taken apart. All pointers point into its payload. */
#ifndef GUEST_REQUEST_H
#define GUEST_REQUEST_H

#include <stddef.h>
#include <vmbox/pvio.h>

struct request_mount {
	struct pvio_mount how;
	const char *path;   /* absolute, in the guest */
	const char *target; /* of a symbolic link */
	int upper, below;   /* directories of an overlay with PVIO_MOUNT_DIFF or _COMMIT */
};

struct request {
	struct pvio_run head;
	const char *program, *cwd, *hostname;
	char **argv, **env; /* NULL at the end */
	struct request_mount *mounts;
};

/* Ends the run if the payload is not well formed. */
void request_parse(struct request *req, char *payload, size_t len);

#endif
