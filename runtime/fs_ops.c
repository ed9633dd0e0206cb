// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations of a read-only 9P2000.L server, in one table: a message that
 * it does not name gets EOPNOTSUPP, one that would change a file EROFS. Each
 * takes its whole message before it acts. The guest is hostile; so may be, as
 * far as names and file contents go, those who write to the exported trees.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs_ops.h"

#define GETATTR_BASIC 0x7ffULL /* mode to blocks; no birth time, generation or version */
#define V9FS_MAGIC    0x01021997U
#define L_OPEN_WRITES 01103U /* O_ACCMODE, O_CREAT, O_TRUNC as on the wire */
#define LOCK_SUCCESS  0
#define LOCK_UNLOCKED 2
#define DIRENT_HEAD   24 /* qid, offset, type, length of the name */

static int op_version(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	static const char ours[] = "9P2000.L";
	uint32_t msize = fs_get32(in);
	struct fs_str version = fs_get_str(in);

	if (!fs_get_done(in))
		return 0;
	if (msize < FS_MSIZE_MIN)
		return -EINVAL;
	fs_fids_clear(&s->fids, &s->tree);
	s->msize = msize < FS_MSIZE_MAX ? msize : FS_MSIZE_MAX;
	fs_put32(out, s->msize);
	if (version.len == strlen(ours) && !memcmp(version.s, ours, version.len))
		fs_put_str(out, ours, strlen(ours));
	else
		fs_put_str(out, "unknown", 7);
	return 0;
}

static int op_attach(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	uint32_t id = fs_get32(in), auth = fs_get32(in);
	struct fs_qid qid;
	struct stat st;
	int err;

	fs_get_str(in); /* uname */
	fs_get_str(in); /* aname: there is one tree */
	fs_get32(in);	/* n_uname */
	if (!fs_get_done(in))
		return 0;
	if (auth != P9_NOFID)
		return -EBADF;
	err = fs_fid_add(&s->fids, &s->tree, id, fs_node_get(s->tree.root));
	if (err)
		return err;
	fs_node_stat(&s->tree, s->tree.root, &st);
	qid = fs_tree_qid(&s->tree, s->tree.root, &st);
	fs_put_qid(out, &qid);
	return 0;
}

/* Walks as many of the names as there are. 0, or why the first one failed. */
static int walk_names(struct fs_session *s, struct fs_node **node, const struct fs_str *names,
		      uint16_t n, uint16_t *walked, struct fs_writer *out)
{
	struct fs_node *next;
	struct fs_qid qid;
	struct stat st;
	int err;

	for (*walked = 0; *walked < n; ++*walked) {
		err = fs_node_walk(&s->tree, *node, names[*walked], &next, &st);
		if (err)
			return *walked ? 0 : err;
		fs_node_put(&s->tree, *node);
		*node = next;
		qid = fs_tree_qid(&s->tree, next, &st);
		fs_put_qid(out, &qid);
	}
	return 0;
}

static int op_walk(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	uint32_t id = fs_get32(in), new_id = fs_get32(in);
	uint16_t n = fs_get16(in), walked;
	struct fs_str names[FS_WALK_MAX];
	struct fs_writer count = *out;
	struct fs_node *node;
	struct fs_fid *fid;
	int err;

	if (n > FS_WALK_MAX)
		in->bad = true;
	for (uint16_t i = 0; !in->bad && i < n; i++)
		names[i] = fs_get_str(in);
	if (!fs_get_done(in))
		return 0;
	fid = fs_fid_find(&s->fids, id);
	if (!fid || (new_id != id && fs_fid_find(&s->fids, new_id)))
		return -EBADF;
	node = fs_node_get(fid->node);
	fs_put16(out, 0); /* the count, when it is known */
	err = walk_names(s, &node, names, n, &walked, out);
	fs_put16(&count, walked);
	if (err || walked < n) {
		fs_node_put(&s->tree, node);
		return err;
	}
	if (new_id != id)
		return fs_fid_add(&s->fids, &s->tree, new_id, node);
	if (fid->opened) {
		fs_node_put(&s->tree, node);
		return -EBADF;
	}
	fs_node_put(&s->tree, fid->node);
	fid->node = node;
	return 0;
}

static int op_lopen(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	uint32_t flags = fs_get32(in);
	struct fs_qid qid;
	struct stat st;
	int err, fd = -1;

	if (!fs_get_done(in))
		return 0;
	if (!fid || fid->opened)
		return -EBADF;
	if (flags & L_OPEN_WRITES)
		return -EROFS;
	err = fs_node_stat(&s->tree, fid->node, &st);
	if (err)
		return err;
	if (!fid->node->is_root) {
		fd = fs_node_open(&s->tree, fid->node);
		if (fd < 0)
			return fd;
	}
	err = fs_fid_open(&s->fids, fid, fd);
	if (err)
		return err;
	qid = fs_tree_qid(&s->tree, fid->node, &st);
	fs_put_qid(out, &qid);
	fs_put32(out, 0); /* iounit: as msize allows */
	return 0;
}

static int op_read(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	uint64_t offset = fs_get64(in);
	uint32_t count = fs_get32(in);
	struct fs_writer head = *out;
	size_t room;
	uint8_t *p;
	ssize_t n;

	if (!fs_get_done(in))
		return 0;
	if (!fid || !fid->opened)
		return -EBADF;
	if (fid->io < 0)
		return -EISDIR;
	if (offset > INT64_MAX)
		return -EINVAL;
	fs_put32(out, 0);
	p = fs_put_space(out, count, &room);
	n = pread(fid->io, p, room, offset);
	if (n < 0)
		return -errno;
	fs_put_used(out, n);
	fs_put32(&head, n);
	return 0;
}

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
			if (fstat(s->tree.exports[i - 2].fd, &st))
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

/* From cookie on: a cookie is the host's offset of the entry after. */
static int read_dir(struct fs_session *s, struct fs_fid *fid, uint64_t cookie,
		    struct fs_writer *out)
{
	char buf[64 * 1024] __attribute__((aligned(8)));
	size_t room, at = 0;
	ssize_t n;

	fs_put_space(out, sizeof(buf), &room);
	if (cookie > INT64_MAX || lseek(fid->io, cookie, SEEK_SET) < 0)
		return -EINVAL;
	n = getdents64(fid->io, buf, room);
	if (n < 0)
		return -errno;
	while (at < (size_t)n) {
		const struct dirent64 *d = (const struct dirent64 *)(buf + at);
		struct fs_qid qid = { .type = d->d_type == DT_DIR   ? 0x80
					      : d->d_type == DT_LNK ? 0x02
								    : 0 };
		/* What is above an export has no number for the guest. */
		bool up = !strcmp(d->d_name, "..") && fid->node->is_export;

		qid.path = fs_tree_inode(&s->tree, fid->node->dev, up ? fid->node->ino : d->d_ino);
		if (!put_dirent(out, &qid, d->d_off, d->d_type, d->d_name))
			return at ? 0 : -EINVAL; /* nothing would look like the end */
		at += d->d_reclen;
	}
	return 0;
}

static int op_readdir(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
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

static void put_time(struct fs_writer *out, const struct timespec *t)
{
	fs_put64(out, t->tv_sec);
	fs_put64(out, t->tv_nsec);
}

static int op_getattr(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_qid qid;
	struct stat st;
	int err;

	fs_get64(in); /* which attributes: all cost the same */
	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	err = fs_node_stat(&s->tree, fid->node, &st);
	if (err)
		return err;
	qid = fs_tree_qid(&s->tree, fid->node, &st);
	fs_put64(out, GETATTR_BASIC);
	fs_put_qid(out, &qid);
	fs_put32(out, st.st_mode);
	fs_put32(out, st.st_uid);
	fs_put32(out, st.st_gid);
	fs_put64(out, st.st_nlink);
	fs_put64(out, st.st_rdev);
	fs_put64(out, st.st_size);
	fs_put64(out, st.st_blksize);
	fs_put64(out, st.st_blocks);
	put_time(out, &st.st_atim);
	put_time(out, &st.st_mtim);
	put_time(out, &st.st_ctim);
	for (int i = 0; i < 4; i++)
		fs_put64(out, 0); /* birth time, generation, data version */
	return 0;
}

/* Nothing of the host's file system: a program has no use for its free space. */
static int op_statfs(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));

	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	fs_put32(out, V9FS_MAGIC);
	fs_put32(out, 4096);
	for (int i = 0; i < 6; i++)
		fs_put64(out, 0); /* blocks, bfree, bavail, files, ffree, fsid */
	fs_put32(out, FS_NAME_MAX);
	return 0;
}

static int op_readlink(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	char target[PATH_MAX];
	ssize_t n;
	int fd;

	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	fd = fs_node_fd(&s->tree, fid->node);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", target, sizeof(target));
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno;
	fs_put_str(out, target, n);
	return 0;
}

static int op_clunk(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));

	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	fs_fid_remove(&s->fids, &s->tree, fid);
	return 0;
}

/* Ends the fid, as the protocol has it even for a failure. */
static int op_remove(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	int err = op_clunk(s, in, out);

	return err ? err : -EROFS;
}

/* Messages are answered in order: what a flush names has been. */
static int op_flush(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	fs_get16(in);
	fs_get_done(in);
	return 0;
}

static int op_fsync(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));

	fs_get32(in); /* datasync */
	if (!fs_get_done(in))
		return 0;
	return fid ? 0 : -EBADF;
}

/* Locks are the guest's own: its kernel keeps them, nobody else shares them. */
static int op_lock(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));

	fs_get8(in);  /* type */
	fs_get32(in); /* flags */
	fs_get64(in); /* start */
	fs_get64(in); /* length */
	fs_get32(in); /* process */
	fs_get_str(in);
	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	fs_put8(out, LOCK_SUCCESS);
	return 0;
}

static int op_getlock(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	uint64_t start, length;
	struct fs_str client;
	uint32_t process;

	fs_get8(in);
	start = fs_get64(in);
	length = fs_get64(in);
	process = fs_get32(in);
	client = fs_get_str(in);
	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	fs_put8(out, LOCK_UNLOCKED);
	fs_put64(out, start);
	fs_put64(out, length);
	fs_put32(out, process);
	fs_put_str(out, client.s, client.len);
	return 0;
}

static int refuse_change(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	return -EROFS;
}

static int (*const ops[256])(struct fs_session *, struct fs_reader *, struct fs_writer *) = {
	[P9_TVERSION] = op_version,
	[P9_TATTACH] = op_attach,
	[P9_TWALK] = op_walk,
	[P9_TLOPEN] = op_lopen,
	[P9_TREAD] = op_read,
	[P9_TREADDIR] = op_readdir,
	[P9_TGETATTR] = op_getattr,
	[P9_TSTATFS] = op_statfs,
	[P9_TREADLINK] = op_readlink,
	[P9_TCLUNK] = op_clunk,
	[P9_TREMOVE] = op_remove,
	[P9_TFLUSH] = op_flush,
	[P9_TFSYNC] = op_fsync,
	[P9_TLOCK] = op_lock,
	[P9_TGETLOCK] = op_getlock,
	[P9_TLCREATE] = refuse_change,
	[P9_TSYMLINK] = refuse_change,
	[P9_TMKNOD] = refuse_change,
	[P9_TRENAME] = refuse_change,
	[P9_TSETATTR] = refuse_change,
	[P9_TXATTRCREATE] = refuse_change,
	[P9_TLINK] = refuse_change,
	[P9_TMKDIR] = refuse_change,
	[P9_TRENAMEAT] = refuse_change,
	[P9_TUNLINKAT] = refuse_change,
	[P9_TWRITE] = refuse_change,
};

int fs_ops_handle(struct fs_session *s, uint8_t type, struct fs_reader *in, struct fs_writer *out)
{
	if (!s->msize && type != P9_TVERSION) {
		in->bad = true;
		return 0;
	}
	return ops[type] ? ops[type](s, in, out) : -EOPNOTSUPP;
}
