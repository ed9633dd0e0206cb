/* SPDX-License-Identifier: GPL-2.0-only */
/* What the server does for each 9P message. */
#ifndef VMBOX_FS_OPS_H
#define VMBOX_FS_OPS_H

#include "fs_fid.h"

struct fs_session {
	struct fs_tree tree;
	struct fs_fids fids;
	uint32_t msize; /* 0: no Tversion yet */
};

/*
 * Handles one message of type, whose body is in, and leaves the reply's body in
 * out. 0: out is the reply; -errno: to be answered with Rlerror. If in->bad
 * afterwards, the message was malformed.
 */
int fs_ops_handle(struct fs_session *s, uint8_t type, struct fs_reader *in, struct fs_writer *out);

#endif
