// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations of a 9P2000.L server, in one table, and those of them that only
 * read; fs_change.c has the others. A message that the table does not name gets
 * EOPNOTSUPP: there are no extended attributes, and what Linux only asks for
 * when a newer message is not there (Trename, Tremove) is not there either. Each
 * takes its whole message before it acts. The guest is hostile; so may be, as
 * far as names and file contents go, those who write to the exported trees.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs_ops.h"

#define GETATTR_BASIC 0x7ffULL /* mode to blocks; no birth time, generation or version */
#define V9FS_MAGIC    0x01021997U
/* The flags of an open that mean something here: on the wire they are as on x86. */
#define OPEN_FLAGS    (O_ACCMODE | O_TRUNC | O_APPEND)
#define LOCK_SUCCESS  0
#define LOCK_UNLOCKED 2

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
		/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): all were read, or there are none */
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

int fs_ops_open(struct fs_session *s, struct fs_fid *fid, uint32_t wire_flags,
		struct fs_writer *out)
{
	const struct fs_act act = { "open for writing", fid->node, NULL };
	int flags = wire_flags & OPEN_FLAGS, access = flags & O_ACCMODE, err, fd = -1;
	bool writes = access != O_RDONLY || (flags & O_TRUNC);
	struct fs_qid qid;
	struct stat st;

	if (access == O_ACCMODE)
		return -EINVAL;
	if (!fid->node->share && writes)
		return -EROFS;
	err = writes ? fs_node_writable(&s->tree, &act) : 0;
	if (err)
		return err;
	if (writes && fs_node_is_cut(fid->node))
		return fs_log_cut(s->tree.log, &act, fid->node->cuts->cut);
	err = fs_fid_may_open(&s->fids, fid);
	if (!err)
		err = fs_node_stat(&s->tree, fid->node, &st);
	if (!err && fid->node->share)
		err = fd = fs_node_open(&s->tree, fid->node, flags, writes ? &act : NULL);
	if (err < 0)
		return err;
	fs_fid_open(&s->fids, fid, fd, flags);
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): fs_node_stat() is never > 0 */
	if (fid->node->share && S_ISDIR(st.st_mode))
		fs_use_add(&s->tree.log->uses, fid->node, st.st_mode, FS_USE_OPENED);
	qid = fs_tree_qid(&s->tree, fid->node, &st);
	fs_put_qid(out, &qid);
	fs_put32(out, 0); /* iounit: as msize allows */
	return 0;
}

static int op_lopen(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	uint32_t flags = fs_get32(in);

	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	return fs_ops_open(s, fid, flags & ~(uint32_t)O_CREAT, out);
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
	if (fid->io >= 0) /* which has perhaps no name any more */
		err = fstat(fid->io, &st) ? -errno : 0;
	else
		err = fs_node_stat(&s->tree, fid->node, &st);
	if (err)
		return err;
	qid = fs_tree_qid(&s->tree, fid->node, &st);
	fs_put64(out, GETATTR_BASIC);
	fs_put_qid(out, &qid);
	fs_put32(out, st.st_mode);
	fs_put32(out, fs_id_for_guest(st.st_uid, s->users.uid, s->users.guest_uid));
	fs_put32(out, fs_id_for_guest(st.st_gid, s->users.gid, s->users.guest_gid));
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

/*
 * Of what is read-only, nothing of the host's file system: a program has no use
 * for its free space. Of the other, what is left of it, and of the quota.
 */
static int op_statfs(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	struct statfs fs = { .f_bsize = 4096 };
	uint64_t left;
	int fd;

	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	if (fid->node->share && fid->node->share->export->rw) {
		fd = fs_node_fd(&s->tree, fid->node);
		if (fd < 0 || fstatfs(fd, &fs))
			return fd < 0 ? fd : -errno;
		if (!fs.f_bsize) /* a FUSE file system may say so */
			fs.f_bsize = 4096;
		left = (fid->node->share->export->quota - fid->node->share->used) / fs.f_bsize;
		if (left < fs.f_bavail)
			fs.f_bavail = left;
	}
	fs_put32(out, V9FS_MAGIC);
	fs_put32(out, fs.f_bsize);
	fs_put64(out, fs.f_blocks);
	fs_put64(out, fs.f_bfree);
	fs_put64(out, fs.f_bavail);
	fs_put64(out, fs.f_files);
	fs_put64(out, fs.f_ffree);
	fs_put64(out, 0); /* fsid */
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

/* Messages are answered in order: what a flush names has been. */
static int op_flush(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	fs_get16(in);
	fs_get_done(in);
	return 0;
}

/*
 * Locks are the guest's own: its kernel keeps them. On the host a lock would let
 * a guest hold up others for as long as it likes.
 */
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

static fs_op *const ops[256] = {
	[P9_TVERSION] = op_version,
	[P9_TATTACH] = op_attach,
	[P9_TWALK] = op_walk,
	[P9_TLOPEN] = op_lopen,
	[P9_TREAD] = op_read,
	[P9_TREADDIR] = fs_dir_read,
	[P9_TGETATTR] = op_getattr,
	[P9_TSTATFS] = op_statfs,
	[P9_TREADLINK] = op_readlink,
	[P9_TCLUNK] = op_clunk,
	[P9_TFLUSH] = op_flush,
	[P9_TLOCK] = op_lock,
	[P9_TGETLOCK] = op_getlock,
	[P9_TFSYNC] = fs_change_sync,
	[P9_TLCREATE] = fs_change_create,
	[P9_TSYMLINK] = fs_change_symlink,
	[P9_TMKNOD] = fs_change_mknod,
	[P9_TSETATTR] = fs_change_attr,
	[P9_TLINK] = fs_change_link,
	[P9_TMKDIR] = fs_change_mkdir,
	[P9_TRENAMEAT] = fs_change_rename,
	[P9_TUNLINKAT] = fs_change_unlink,
	[P9_TWRITE] = fs_change_write,
};

int fs_ops_handle(struct fs_session *s, uint8_t type, struct fs_reader *in, struct fs_writer *out)
{
	if (!s->msize && type != P9_TVERSION) {
		in->bad = true;
		return 0;
	}
	return ops[type] ? ops[type](s, in, out) : -EOPNOTSUPP;
}
