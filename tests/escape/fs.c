// SPDX-License-Identifier: GPL-2.0-only
/*
 * In place of runtime/fs_ops.c, for vmbox-escape-fs: the file server, in its whole
 * cage, does what $VMBOX_ESCAPE names at the guest's first message; "hang": never
 * answers.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../runtime/fs_ops.h"
#include "escape.h"

int fs_ops_handle(struct fs_session *s, uint8_t type, struct fs_reader *in, struct fs_writer *out)
{
	const char *name = getenv("VMBOX_ESCAPE");

	while (!strcmp(name, "hang"))
		poll(NULL, 0, -1);
	fprintf(stderr, "file server: %s\n", escape_verdict(name));
	_exit(3);
}

/* Never called: that is only for what fs_ops_handle() dispatches. */
int fs_ops_open(struct fs_session *s, struct fs_fid *fid, uint32_t flags, struct fs_writer *out)
{
	return -EIO;
}
