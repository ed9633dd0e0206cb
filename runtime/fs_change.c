// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations that change files. Each asks fs_node_change() whether the policy
 * lets that name be changed, records what it is going to do, then makes one system
 * call on one name in the directory's descriptor, which follows no link and crosses
 * no mount; the host decides whether our user may. What the guest chooses of modes
 * is 0777 and, for a directory, the sticky bit; of owners, the program's user, who
 * is ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_ops.h"

#define AT_REMOVEDIR_WIRE 0x200U

enum { /* what a Tsetattr sets */
	SET_MODE = 1 << 0,
	SET_UID = 1 << 1,
	SET_GID = 1 << 2,
	SET_SIZE = 1 << 3,
	SET_ATIME = 1 << 4,
	SET_MTIME = 1 << 5,
	SET_CTIME = 1 << 6, /* which the host does by itself */
	SET_ATIME_TO = 1 << 7,
	SET_MTIME_TO = 1 << 8,
	SET_ALL = (1 << 9) - 1,
};

static int charge(struct fs_session *s, const struct fs_act *act, uint64_t blocks)
{
	struct fs_share *share = act->dir->share;

	if (blocks > (share->export->quota - share->used) / FS_BLOCK)
		return fs_log_refused(s->tree.log, act, FS_QUOTA, NULL);
	if (share->export->quota != UINT64_MAX)
		share->used += blocks * FS_BLOCK;
	return 0;
}

/*
 * A name that is to be made in the directory of @dir, of which it takes the quota: its
 * descriptor. It is recorded, with the file that gets it, if there is one.
 */
static int new_name(struct fs_session *s, const struct fs_fid *dir, struct fs_str wire, bool is_dir,
		    struct fs_act *act, char name[FS_NAME_MAX + 1], const struct fs_act *source)
{
	int err, fd;

	if (!dir)
		return -EBADF;
	err = fs_name_check(wire, name);
	if (err)
		return err;
	act->dir = dir->node;
	act->name = name;
	fd = fs_node_change(&s->tree, dir->node, name, is_dir, act->op);
	if (fd < 0)
		return fd;
	err = charge(s, act, 1);
	if (!err)
		err = source ? fs_log_intent(s->tree.log, source, act)
			     : fs_log_intent(s->tree.log, act, NULL);
	return err ? err : fd;
}

/* The qid of what was made: what is there by now. */
static int put_made(struct fs_session *s, const struct fs_act *act, int dirfd,
		    struct fs_writer *out)
{
	struct fs_qid qid;
	struct stat st;

	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): new_name() gave it a name, or failed */
	if (fstatat(dirfd, act->name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	qid = fs_tree_qid(&s->tree, act->dir, &st);
	fs_put_qid(out, &qid);
	return 0;
}

/* fid, a directory, becomes the file name in it, which fd is open on if it was made here. */
static int become(struct fs_session *s, struct fs_fid *fid, struct fs_str name, int fd,
		  uint32_t flags, struct fs_writer *out)
{
	struct fs_node *node;
	struct fs_qid qid;
	struct stat st, made;
	int err = fs_node_walk(&s->tree, fid->node, name, &node, &st);

	if (!err && fd >= 0 &&
	    (fstat(fd, &made) || made.st_dev != st.st_dev || made.st_ino != st.st_ino)) {
		fs_node_put(&s->tree, node);
		err = -ESTALE; /* a host process has replaced it already */
	}
	if (err) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	fs_node_put(&s->tree, fid->node);
	fid->node = node;
	if (fd < 0)
		return fs_ops_open(s, fid, flags, out);
	fs_fid_open(&s->fids, fid, fd, flags);
	qid = fs_tree_qid(&s->tree, node, &st);
	fs_put_qid(out, &qid);
	fs_put32(out, 0);
	return 0;
}

int fs_change_create(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str wire = fs_get_str(in);
	uint32_t flags = fs_get32(in), mode = fs_get32(in);
	struct fs_act act = { .op = "create" };
	struct open_how how = { 0 };
	char name[FS_NAME_MAX + 1];
	int dirfd, fd, err;

	fs_get32(in); /* group: the host's choice */
	if (!fs_get_done(in))
		return 0;
	err = fid ? fs_fid_may_open(&s->fids, fid) : -EBADF;
	if (err)
		return err;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	dirfd = new_name(s, fid, wire, false, &act, name, NULL);
	if (dirfd < 0)
		return dirfd;
	/* Always a new file: opening one that is there may have effects. */
	how.flags = (flags & (O_ACCMODE | O_APPEND)) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	how.mode = mode & 0777;
	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
		      RESOLVE_NO_XDEV;
	fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	err = fd < 0 ? fs_log_failed(s->tree.log, &act) : 0;
	if (err && (err != -EEXIST || (flags & O_EXCL)))
		return err;
	return become(s, fid, wire, fd, flags, out);
}

int fs_change_mkdir(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *dir = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str wire = fs_get_str(in);
	uint32_t mode = fs_get32(in);
	struct fs_act act = { .op = "create" };
	char name[FS_NAME_MAX + 1];
	int dirfd;

	fs_get32(in); /* group */
	if (!fs_get_done(in))
		return 0;
	dirfd = new_name(s, dir, wire, true, &act, name, NULL);
	if (dirfd < 0)
		return dirfd;
	if (mkdirat(dirfd, name, mode & 01777))
		return fs_log_failed(s->tree.log, &act);
	return put_made(s, &act, dirfd, out);
}

int fs_change_symlink(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *dir = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str wire = fs_get_str(in), wire_target = fs_get_str(in);
	struct fs_act act = { .op = "create" };
	char name[FS_NAME_MAX + 1], target[PATH_MAX];
	int dirfd;

	fs_get32(in); /* group */
	if (!fs_get_done(in))
		return 0;
	if (wire_target.len >= sizeof(target))
		return -ENAMETOOLONG;
	memcpy(target, wire_target.s, wire_target.len);
	target[wire_target.len] = '\0';
	if (strlen(target) != wire_target.len)
		return -EINVAL;
	dirfd = new_name(s, dir, wire, false, &act, name, NULL);
	if (dirfd < 0)
		return dirfd;
	if (symlinkat(target, dirfd, name))
		return fs_log_failed(s->tree.log, &act);
	return put_made(s, &act, dirfd, out);
}

/* Devices, sockets and fifos that the guest makes, others would open on the host. */
int fs_change_mknod(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *dir = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str wire = fs_get_str(in);
	char name[FS_NAME_MAX + 1];
	struct fs_act act = { "create", NULL, name };
	int err;

	for (int i = 0; i < 4; i++)
		fs_get32(in); /* mode, major, minor, group */
	if (!fs_get_done(in))
		return 0;
	if (!dir || !dir->node->share)
		return -EBADF;
	err = fs_name_check(wire, name);
	if (err)
		return err;
	act.dir = dir->node;
	fs_log_refused(s->tree.log, &act, FS_SPECIAL, NULL);
	return -EPERM;
}

/* The number of a descriptor, as it is called in proc_fds. */
static const char *number_of(int fd, char text[16])
{
	snprintf(text, 16, "%d", fd);
	return text;
}

int fs_change_link(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *dir = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str wire = fs_get_str(in);
	struct fs_act act = { .op = "create" }, source = { .op = "link" };
	char name[FS_NAME_MAX + 1], number[16];
	int dirfd, fd;

	if (!fs_get_done(in))
		return 0;
	if (!fid || !dir)
		return -EBADF;
	fd = fs_node_fd_by_name(&s->tree, fid->node);
	if (fd < 0)
		return fd;
	source.dir = fid->node;
	/* From one rule to another, a file would take its contents along. */
	if (fid->node->share != dir->node->share || fs_node_is_cut(fid->node))
		return fs_log_refused(s->tree.log, &source, FS_OTHER, NULL);
	dirfd = new_name(s, dir, wire, false, &act, name, &source);
	if (dirfd < 0)
		return dirfd;
	/* By the descriptor, so it is the very file that was looked up. */
	if (linkat(*s->tree.proc_fds, number_of(fd, number), dirfd, name, AT_SYMLINK_FOLLOW))
		return fs_log_failed(s->tree.log, &source);
	return 0;
}

int fs_change_rename(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *from_dir = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str from = fs_get_str(in);
	struct fs_fid *to_dir = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str to = fs_get_str(in);
	char name[FS_NAME_MAX + 1], to_name[FS_NAME_MAX + 1];
	struct fs_act act = { "rename", NULL, name }, to_act = { "rename", NULL, to_name };
	int fd, to_fd, err;

	if (!fs_get_done(in))
		return 0;
	if (!from_dir || !to_dir)
		return -EBADF;
	act.dir = from_dir->node;
	to_act.dir = to_dir->node;
	err = fs_name_check(from, name);
	if (!err)
		err = fs_name_check(to, to_name);
	if (err)
		return err;
	if (act.dir->share != to_act.dir->share)
		return act.dir->share ? fs_log_refused(s->tree.log, &act, FS_OTHER, NULL) : -EXDEV;
	fd = fs_node_change(&s->tree, from_dir->node, name, false, "rename");
	if (fd < 0)
		return fd;
	to_fd = fs_node_change(&s->tree, to_dir->node, to_name, false, "rename");
	if (to_fd < 0)
		return to_fd;
	err = fs_log_intent(s->tree.log, &act, &to_act);
	if (err)
		return err;
	if (renameat(fd, name, to_fd, to_name))
		return fs_log_failed(s->tree.log, &act);
	fs_node_renamed(&s->tree, from_dir->node, name, to_dir->node, to_name);
	return 0;
}

int fs_change_unlink(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *dir = fs_fid_find(&s->fids, fs_get32(in));
	struct fs_str wire = fs_get_str(in);
	uint32_t flags = fs_get32(in);
	char name[FS_NAME_MAX + 1];
	struct fs_act act = { "unlink", NULL, name };
	int fd, err;

	if (!fs_get_done(in))
		return 0;
	if (!dir)
		return -EBADF;
	if (flags & ~AT_REMOVEDIR_WIRE)
		return -EINVAL;
	err = fs_name_check(wire, name);
	if (err)
		return err;
	act.dir = dir->node;
	fd = fs_node_change(&s->tree, dir->node, name, false, act.op);
	if (fd < 0)
		return fd;
	err = fs_log_intent(s->tree.log, &act, NULL);
	if (err)
		return err;
	if (unlinkat(fd, name, flags ? AT_REMOVEDIR : 0))
		return fs_log_failed(s->tree.log, &act);
	fs_node_forget(&s->tree, dir->node, name);
	return 0;
}

struct attr {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec times[2];
};

static struct attr get_attr(struct fs_reader *in)
{
	struct attr a;

	a.valid = fs_get32(in);
	a.mode = fs_get32(in);
	a.uid = fs_get32(in);
	a.gid = fs_get32(in);
	a.size = fs_get64(in);
	for (int i = 0; i < 2; i++) {
		a.times[i].tv_sec = fs_get64(in);
		a.times[i].tv_nsec = fs_get64(in);
		if (!(a.valid & (SET_ATIME_TO << i)))
			a.times[i].tv_nsec = UTIME_NOW;
		else if (a.times[i].tv_nsec < 0 || a.times[i].tv_nsec > 999999999)
			a.times[i].tv_nsec = 0;
		if (!(a.valid & (SET_ATIME << i)))
			a.times[i].tv_nsec = UTIME_OMIT;
	}
	return a;
}

static int set_owner(struct fs_session *s, int fd, const struct attr *a)
{
	const struct fs_users *u = &s->users;

	if (((a->valid & SET_UID) && a->uid != u->guest_uid) ||
	    ((a->valid & SET_GID) && a->gid != u->guest_gid))
		return -EPERM;
	return fchownat(fd, "", a->valid & SET_UID ? u->uid : (uid_t)-1,
			a->valid & SET_GID ? u->gid : (gid_t)-1, AT_EMPTY_PATH)
		       ? -errno
		       : 0;
}

/* Not every file system has holes: what a file grows by is paid for, whatever is written into it. */
static int charge_growth(struct fs_session *s, const struct fs_act *act, uint64_t from, uint64_t to)
{
	return to > from ? charge(s, act, (to - from + FS_BLOCK - 1) / FS_BLOCK) : 0;
}

/* What is open for writing has its record. */
static int set_size(struct fs_session *s, struct fs_fid *fid, const struct fs_act *act,
		    uint64_t size)
{
	struct stat st;
	int fd, err;

	if (size > INT64_MAX)
		return -EFBIG;
	if (size > act->dir->share->export->file_size)
		return fs_log_refused(s->tree.log, act, FS_FILE_SIZE, NULL);
	if (fid->writes)
		err = fstat(fid->io, &st) ? -errno : 0;
	else
		err = fs_node_stat(&s->tree, fid->node, &st);
	if (!err && S_ISREG(st.st_mode))
		err = charge_growth(s, act, st.st_size, size);
	if (err)
		return err;
	if (fid->writes)
		return ftruncate(fid->io, size) ? -errno : 0;
	fd = fs_node_open(&s->tree, fid->node, O_WRONLY, act);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, size))
		err = fs_log_failed(s->tree.log, act);
	close(fd);
	return err;
}

static int set_mode(struct fs_session *s, int fd, uint32_t mode)
{
	char number[16];
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -EPERM;
	if (S_ISDIR(st.st_mode)) /* whose setgid bit is the host's, and stays */
		mode = (mode & 01777) | (st.st_mode & S_ISGID);
	else
		mode &= 0777;
	return fchmodat(*s->tree.proc_fds, number_of(fd, number), mode, 0) ? -errno : 0;
}

int fs_change_attr(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	struct attr a = get_attr(in);
	struct fs_act act = { .op = a.valid & SET_SIZE ? "truncate" : "change of attributes" };
	int fd, err;

	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	if (a.valid & ~SET_ALL)
		return -EINVAL;
	if (!fid->node->share)
		return -EROFS;
	act.dir = fid->node;
	err = fs_node_writable(&s->tree, &act);
	if (err)
		return err;
	if (fs_node_is_cut(fid->node))
		return fs_log_cut(s->tree.log, &act, fid->node->cuts->cut);
	fd = fid->io >= 0 ? fid->io : fs_node_fd_by_name(&s->tree, fid->node);
	if (fd < 0)
		return fd;
	if (a.valid & (SET_UID | SET_GID))
		err = set_owner(s, fd, &a);
	if (!err && (a.valid & SET_MODE))
		err = set_mode(s, fd, a.mode);
	if (!err && (a.valid & SET_SIZE))
		err = set_size(s, fid, &act, a.size);
	if (!err && (a.valid & (SET_ATIME | SET_MTIME)) &&
	    utimensat(fd, "", a.times, AT_EMPTY_PATH))
		err = -errno;
	return err;
}

/*
 * The quota pays for whole blocks, those of a hole before what is written, too; of a
 * file that grows bit by bit, for each block once.
 */
static int charge_write(struct fs_session *s, struct fs_fid *fid, uint64_t offset, uint32_t count)
{
	const struct fs_export *export = fid->node->share->export;
	const struct fs_act act = { "write", fid->node, NULL };
	uint64_t first, last;
	struct stat st;
	int err;

	if (export->quota == UINT64_MAX && export->file_size == UINT64_MAX)
		return 0;
	if (fstat(fid->io, &st))
		return -errno;
	if (fid->appends)
		offset = st.st_size;
	if (offset + count > export->file_size)
		return fs_log_refused(s->tree.log, &act, FS_FILE_SIZE, NULL);
	if (export->quota == UINT64_MAX)
		return 0;
	first = (offset < (uint64_t)st.st_size ? offset : (uint64_t)st.st_size) / FS_BLOCK + 1;
	last = (offset + count - 1) / FS_BLOCK + 1;
	err = charge(s, &act, last - first + (first != fid->charged));
	if (!err)
		fid->charged = last;
	return err;
}

int fs_change_write(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	uint64_t offset = fs_get64(in);
	uint32_t count = fs_get32(in);
	const uint8_t *data = fs_get_bytes(in, count);
	ssize_t n = 0;
	int err;

	if (!fs_get_done(in))
		return 0;
	if (!fid || !fid->writes)
		return -EBADF;
	if (offset > (uint64_t)INT64_MAX - count)
		return -EFBIG;
	if (count) {
		err = charge_write(s, fid, offset, count);
		if (err)
			return err;
		n = pwrite(fid->io, data, count, offset);
	}
	if (n < 0)
		return -errno;
	fs_put32(out, n);
	return 0;
}

int fs_change_sync(struct fs_session *s, struct fs_reader *in, struct fs_writer *out)
{
	struct fs_fid *fid = fs_fid_find(&s->fids, fs_get32(in));
	uint32_t data_only = fs_get32(in);

	if (!fs_get_done(in))
		return 0;
	if (!fid)
		return -EBADF;
	if (fid->io < 0 || !fid->node->share->export->rw)
		return 0;
	return (data_only ? fdatasync(fid->io) : fsync(fid->io)) ? -errno : 0;
}
