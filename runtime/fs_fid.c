// SPDX-License-Identifier: GPL-2.0-only
/*
 * Owns the table of fids. The guest picks the numbers and how many there are;
 * FS_FIDS_MAX and the limit of descriptors bound what that costs. A session is
 * serial, so a fid cannot go away while a message uses it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs_fid.h"

static struct fs_fid **bucket(struct fs_fids *f, uint32_t id)
{
	return &f->buckets[(id * 2654435761U) >> 16 & (FS_FID_BUCKETS - 1)];
}

void fs_fids_init(struct fs_fids *f)
{
	struct rlimit files;
	rlim_t spare, other = FS_SESSIONS * FS_NODE_FDS_MAX + FS_OTHER_FDS;

	memset(f, 0, sizeof(*f));
	if (getrlimit(RLIMIT_NOFILE, &files))
		files.rlim_cur = 1024;
	/* What the nodes, the exports and the streams leave. */
	spare = files.rlim_cur > other ? (files.rlim_cur - other) / FS_SESSIONS : 0;
	f->open_max = spare < 64 ? 64 : spare < FS_OPEN_MAX ? spare : FS_OPEN_MAX;
}

struct fs_fid *fs_fid_find(struct fs_fids *f, uint32_t id)
{
	struct fs_fid *fid = *bucket(f, id);

	while (fid && fid->id != id)
		fid = fid->next;
	return fid;
}

int fs_fid_add(struct fs_fids *f, struct fs_tree *t, uint32_t id, struct fs_node *node)
{
	struct fs_fid *fid = NULL;
	int err = 0;

	if (id == P9_NOFID || fs_fid_find(f, id))
		err = -EBADF;
	else if (f->count >= FS_FIDS_MAX)
		err = -ENFILE;
	else if (!(fid = calloc(1, sizeof(*fid))))
		err = -ENOMEM;
	if (err) {
		fs_node_put(t, node);
		return err;
	}
	fid->id = id;
	fid->node = node;
	fid->io = -1;
	fid->next = *bucket(f, id);
	*bucket(f, id) = fid;
	f->count++;
	return 0;
}

int fs_fid_may_open(const struct fs_fids *f, const struct fs_fid *fid)
{
	if (fid->opened)
		return -EBADF;
	return f->opened < f->open_max ? 0 : -EMFILE;
}

void fs_fid_open(struct fs_fids *f, struct fs_fid *fid, int fd, int flags)
{
	fid->io = fd;
	fid->opened = true;
	fid->writes = (flags & O_ACCMODE) != O_RDONLY;
	fid->appends = flags & O_APPEND;
	f->opened++;
}

void fs_fid_remove(struct fs_fids *f, struct fs_tree *t, struct fs_fid *fid)
{
	struct fs_fid **at = bucket(f, fid->id);

	while (*at != fid)
		at = &(*at)->next;
	*at = fid->next;
	f->count--;
	if (fid->opened)
		f->opened--;
	if (fid->io >= 0)
		close(fid->io);
	fs_node_put(t, fid->node);
	free(fid);
}

void fs_fids_clear(struct fs_fids *f, struct fs_tree *t)
{
	for (size_t i = 0; i < FS_FID_BUCKETS; i++)
		while (f->buckets[i])
			/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is another one */
			fs_fid_remove(f, t, f->buckets[i]);
}
