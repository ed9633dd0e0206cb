/* SPDX-License-Identifier: GPL-2.0-only */
/* What the server does for each 9P message. */
#ifndef VMBOX_FS_OPS_H
#define VMBOX_FS_OPS_H

#include "fs_fid.h"

/* The guest's program and our own user are one: who is who on either side. */
struct fs_users {
	uint32_t guest_uid, guest_gid, uid, gid;
};

struct fs_session {
	struct fs_tree tree;
	struct fs_fids fids;
	struct fs_users users;
	uint32_t msize; /* 0: no Tversion yet */
};

typedef int fs_op(struct fs_session *s, struct fs_reader *in, struct fs_writer *out);

/*
 * Handles one message of type, whose body is in, and leaves the reply's body in
 * out. 0: out is the reply; -errno: to be answered with Rlerror. If in->bad
 * afterwards, the message was malformed.
 */
int fs_ops_handle(struct fs_session *s, uint8_t type, struct fs_reader *in, struct fs_writer *out);

/* Opens fid's file as Tlopen and Tlcreate have it in flags; puts the reply. */
int fs_ops_open(struct fs_session *s, struct fs_fid *fid, uint32_t flags, struct fs_writer *out);

fs_op fs_dir_read; /* fs_dir.c */
/* fs_change.c: what changes files. */
fs_op fs_change_create, fs_change_mkdir, fs_change_symlink, fs_change_mknod, fs_change_link,
	fs_change_rename, fs_change_unlink, fs_change_attr, fs_change_write, fs_change_sync;

#endif
