/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's numbers for files, each bound to a node and perhaps open. */
#ifndef VMBOX_FS_FID_H
#define VMBOX_FS_FID_H

#include "fs_node.h"

struct fs_fid {
	struct fs_fid *next;
	uint32_t id;
	struct fs_node *node; /* held */
	int io;		      /* the open file, or -1 */
	bool opened;	      /* io is -1 for the 9P root */
	bool writes, appends; /* how it is open */
	uint64_t charged;     /* the block, from 1, that the quota has paid for last */
};

struct fs_fids {
	struct fs_fid *buckets[FS_FID_BUCKETS];
	unsigned int count, opened, open_max;
};

void fs_fids_init(struct fs_fids *f);
/* NULL if there is none. */
struct fs_fid *fs_fid_find(struct fs_fids *f, uint32_t id);
/* Consumes a reference to node, in every case. -EBADF: id is in use. */
int fs_fid_add(struct fs_fids *f, struct fs_tree *t, uint32_t id, struct fs_node *node);
/* 0 if one more may be open; asked before anything is opened. */
int fs_fid_may_open(const struct fs_fids *f, const struct fs_fid *fid);
/* Then: consumes fd (-1 for the 9P root), which was opened with flags. */
void fs_fid_open(struct fs_fids *f, struct fs_fid *fid, int fd, int flags);
void fs_fid_remove(struct fs_fids *f, struct fs_tree *t, struct fs_fid *fid);
void fs_fids_clear(struct fs_fids *f, struct fs_tree *t);

#endif
