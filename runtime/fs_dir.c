// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lists directories, without what the policy hides. Cookies are the host's own
 * offsets: the host checks one that the guest made up.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs_ops.h"

#define DIRENT_HEAD 24 /* qid, offset, type, length of the name */

/* False if the entry does not fit any more. */
static bool put_dirent(struct fs_writer *out, const struct fs_qid *qid, uint64_t next,
		       unsigned char type, const char *name)
{
	size_t len = strlen(name), room;

	fs_put_space(out, SIZE_MAX, &room);
	if (room < DIRENT_HEAD + len)
		return false;
	fs_put_qid(out, qid);
	fs_put64(out, next);
	fs_put8(out, type);
	fs_put_str(out, name, len);
	return true;
}

static void read_root(struct fs_session *s, uint64_t from, struct fs_writer *out)
{
	struct fs_qid qid = { .type = 0x80 };
	char name[24];

	for (uint64_t i = from; i < s->tree.n + 2; i++) {
		struct stat st = { .st_mode = S_IFDIR };

		if (i >= 2) {
			if (fstat(s->tree.shares[i - 2].export->fd, &st))
				continue;
			qid.path = fs_tree_inode(&s->tree, st.st_dev, st.st_ino);
			qid.type = S_ISDIR(st.st_mode) ? 0x80 : 0;
			snprintf(name, sizeof(name), "%lu", (unsigned long)i - 2);
		} else {
			strcpy(name, i ? ".." : ".");
		}
		if (!put_dirent(out, &qid, i + 1, IFTODT(st.st_mode), name))
			return;
	}
}

/* Does the policy hide it? What is in a closed directory is, but for ways to other rules. */
static bool is_listed(const struct fs_node *dir, const char *name)
{
	const struct fs_cut_name *n = dir->cuts ? fs_cut_find(dir->cuts, name, strlen(name)) : NULL;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return true;
	return n ? !n->cut || !n->cut->deny || n->below : !fs_node_is_cut(dir);
}

/*
 * From cookie on: a cookie is the host's offset of the entry after. What is hidden
 * may be all that one call gives: nothing at all would look like the end.
 */
static int read_dir(struct fs_session *s, struct fs_fid *fid, uint64_t cookie,
		    struct fs_writer *out)
{
	char buf[64 * 1024] __attribute__((aligned(8)));
	size_t room, at;
	ssize_t n;

	fs_use_add(&s->tree.log->uses, fid->node, S_IFDIR, FS_USE_LISTED);
	fs_put_space(out, sizeof(buf), &room);
	if (cookie > INT64_MAX || lseek(fid->io, cookie, SEEK_SET) < 0)
		return -EINVAL;
	while (!out->pos && (n = getdents64(fid->io, buf, room)) != 0) {
		if (n < 0)
			return -errno;
		for (at = 0; at < (size_t)n;
		     at += ((const struct dirent64 *)(buf + at))->d_reclen) {
			const struct dirent64 *d = (const struct dirent64 *)(buf + at);
			struct fs_qid qid = { .type = d->d_type == DT_DIR   ? 0x80
						      : d->d_type == DT_LNK ? 0x02
									    : 0 };
			/* What is above an export has no number for the guest. */
			bool up = !strcmp(d->d_name, "..") && fid->node->is_export;

			if (!is_listed(fid->node, d->d_name))
				continue;
			qid.path = fs_tree_inode(&s->tree, fid->node->dev,
						 up ? fid->node->ino : d->d_ino);
			if (!put_dirent(out, &qid, d->d_off, d->d_type, d->d_name))
				return out->pos ? 0 : -EINVAL;
		}
	}
	return 0;
}

int fs_dir_read(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	uint64_t cookie = fs_get64(in);
	uint32_t count = fs_get32(in);
	struct fs_writer head = *out, body;
	size_t room;
	int err = 0;

	if (!fs_get_done(in))
		return 0;
	if (!fid || !fid->opened)
		return -EBADF;
	fs_put32(out, 0);
	body.buf = fs_put_space(out, count, &room);
	body = (struct fs_writer){ .buf = body.buf, .cap = room };
	if (fid->io < 0)
		read_root(s, cookie, &body);
	else
		err = read_dir(s, fid, cookie, &body);
	if (err)
		return err;
	fs_put_used(out, body.pos);
	fs_put32(&head, body.pos);
	return 0;
}
