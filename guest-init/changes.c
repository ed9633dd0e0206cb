// SPDX-License-Identifier: GPL-2.0-only
/*
 * An overlay's changes at the end of the run. Trusts nothing of the names and files
 * in the layers but what the kernel says of them; all of it is bounded.
 *
 * Theory of operation. The upper layer has, for each changed name, the file as it
 * is now, a whiteout (a character device 0:0) for one that was removed, or a directory;
 * one that is opaque hides what the host has there. It is compared with the host's
 * directory below, by names in order, because it also has what was only copied up.
 * Nothing that is mounted inside of the overlay is in its layers.
 *
 *  - list: one line for each change.
 *  - commit, in two walks: the first finds what cannot be committed, before
 *    anything is; then the host is asked to open its gate; the second makes each
 *    change. A file is written under a name of its own and then renamed, so that
 *    nobody on the host sees half of it. The host's file server allows it or does not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "changes.h"
#include "control.h"

#define LIST_MAX  (1024 * 1024) /* bytes of a list */
#define BLOCK	  4096		/* what the file server counts a quota in */
#define FILES_MAX 8192		/* two for each directory of a path */

/* One name in both layers. */
struct change {
	int upper, below; /* the directories that it is in; below may be -1: not there */
	const char *name;
	struct stat now, was; /* st_mode 0: not there */
};

struct walk {
	const struct request_mount *mount;
	const char *what; /* for messages */
	void (*change)(struct walk *w, const struct change *c);
	bool commits;
	char path[PATH_MAX]; /* of the name, in the guest */
	size_t len;
	unsigned long changes;
	/* list */
	FILE *out;
	size_t listed;
	unsigned long more;
	/* commit */
	uint64_t blocks;
	unsigned int temporary;
};

_Noreturn static void stop(const struct walk *w, int err, const char *why)
{
	control_fail(PVIO_CHANGES_FAILED, err, "%s: %s%s", w->what, why, w->path);
}

/* ---- names ---- */

static void push(struct walk *w, const char *name)
{
	size_t n = strlen(name);

	if (n + 2 > sizeof(w->path) - w->len)
		stop(w, ENAMETOOLONG, "");
	if (w->len > 1)
		w->path[w->len++] = '/';
	memcpy(w->path + w->len, name, n + 1);
	w->len += n;
}

static void pop(struct walk *w, size_t len)
{
	w->len = len;
	w->path[len] = '\0';
}

struct names {
	char **list;
	size_t n, room;
};

static void add_name(const struct walk *w, struct names *names, const char *name)
{
	char **list = names->list;

	if (names->n == names->room) {
		names->room = names->room * 2 + 16;
		list = reallocarray(list, names->room, sizeof(*list));
		if (!list)
			stop(w, errno, "");
		names->list = list;
	}
	list[names->n] = strdup(name);
	if (!list[names->n++])
		stop(w, errno, "");
}

static void add_names(const struct walk *w, struct names *names, int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d)
		stop(w, errno, "");
	for (errno = 0; (e = readdir(d)); errno = 0)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			add_name(w, names, e->d_name);
	if (errno)
		stop(w, errno, "");
	closedir(d);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each once, in order. */
static void sort_names(struct names *names)
{
	size_t n = 0;

	if (names->n)
		qsort(names->list, names->n, sizeof(*names->list), compare_names);
	for (size_t i = 0; i < names->n; i++)
		if (n && !strcmp(names->list[n - 1], names->list[i]))
			free(names->list[i]);
		else
			names->list[n++] = names->list[i];
	names->n = n;
}

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->list[i]);
	free(names->list);
}

static int open_dir(const struct walk *w, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		stop(w, errno, "");
	return fd;
}

/* ---- the comparison ---- */

static void look(const struct walk *w, int dir, const char *name, struct stat *st)
{
	if (dir >= 0 && fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	if (dir >= 0 && errno != ENOENT)
		stop(w, errno, "");
	st->st_mode = 0;
}

static bool is_opaque(int dir)
{
	char value;

	return fgetxattr(dir, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

static bool same_target(const struct change *c)
{
	char now[PATH_MAX], was[PATH_MAX];
	ssize_t n = readlinkat(c->upper, c->name, now, sizeof(now));

	return n >= 0 && readlinkat(c->below, c->name, was, sizeof(was)) == n &&
	       !memcmp(now, was, n);
}

static bool same_bytes(int a, int b)
{
	static char from_a[16 * 4096], from_b[16 * 4096];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(a, from_a, sizeof(from_a), at)) > 0) {
		if (pread(b, from_b, n, at) != n || memcmp(from_a, from_b, n))
			return false;
		at += n;
	}
	return n == 0;
}

/* Of files that look the same: one that was opened for writing is copied up by that alone. */
static bool same_contents(const struct change *c)
{
	int a = openat(c->upper, c->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int b = openat(c->below, c->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool same = a >= 0 && b >= 0 && same_bytes(a, b);

	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	return same;
}

static bool differs(const struct change *c)
{
	const struct stat *now = &c->now, *was = &c->was;

	if (!now->st_mode || !was->st_mode)
		return now->st_mode != was->st_mode;
	if ((now->st_mode ^ was->st_mode) & (S_IFMT | 07777))
		return true;
	if (S_ISLNK(now->st_mode))
		return !same_target(c);
	if (!S_ISREG(now->st_mode))
		return false;
	return now->st_size != was->st_size || now->st_mtim.tv_sec != was->st_mtim.tv_sec ||
	       now->st_mtim.tv_nsec != was->st_mtim.tv_nsec || !same_contents(c);
}

/* A directory of ours that cannot be changed can be made so; of others it cannot, and need not. */
static void make_writable(int dir)
{
	struct stat st;

	if (fstat(dir, &st) == 0 && (st.st_mode & 0300) != 0300)
		fchmod(dir, (st.st_mode & 01777) | 0700);
}

/* The mode that the directory has now, and if something in it changed, the time. */
static void finish_dir(const struct walk *w, const struct stat *now, int below, bool changed)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, now->st_mtim };
	struct stat st;

	if (fstat(below, &st))
		stop(w, errno, "");
	if (((st.st_mode ^ now->st_mode) & 01777) && fchmod(below, now->st_mode & 01777))
		stop(w, errno, "");
	if (changed)
		futimens(below, times); /* which only its owner can */
}

static void walk_dir(struct walk *w, const struct stat *now, int upper, int below,
		     unsigned long before);

static void walk_name(struct walk *w, int upper, int below, const char *name)
{
	struct change c = { .upper = upper, .below = below, .name = name };
	unsigned long before = w->changes;
	int in_upper, in_below = -1;
	size_t len = w->len;

	push(w, name);
	look(w, upper, name, &c.now);
	look(w, below, name, &c.was);
	if (S_ISCHR(c.now.st_mode) && c.now.st_rdev == makedev(0, 0))
		c.now.st_mode = 0;
	if (differs(&c)) {
		w->changes++;
		w->change(w, &c);
	}
	if (S_ISDIR(c.now.st_mode)) {
		in_upper = open_dir(w, upper, name);
		if (S_ISDIR(c.was.st_mode) || w->commits)
			in_below = open_dir(w, below, name);
		walk_dir(w, &c.now, in_upper, in_below, before);
		close(in_upper);
		if (in_below >= 0)
			close(in_below);
	}
	pop(w, len);
}

/* before: w->changes, before the directory itself. */
static void walk_dir(struct walk *w, const struct stat *now, int upper, int below,
		     unsigned long before)
{
	struct names names = { 0 };

	if (w->commits)
		make_writable(below);
	add_names(w, &names, upper);
	if (below >= 0 && is_opaque(upper))
		add_names(w, &names, below);
	sort_names(&names);
	for (size_t i = 0; i < names.n; i++)
		walk_name(w, upper, below, names.list[i]);
	free_names(&names);
	if (w->commits)
		finish_dir(w, now, below, w->changes != before);
}

static void walk_overlay(struct walk *w, const struct request_mount *m)
{
	struct change c = { .upper = -1, .below = -1 };
	unsigned long before = w->changes;

	w->mount = m;
	w->blocks = 0;
	w->len = 0;
	push(w, m->path);
	if (fstat(m->upper, &c.now) || fstat(m->below, &c.was))
		stop(w, errno, "");
	if (differs(&c)) {
		w->changes++;
		w->change(w, &c);
	}
	walk_dir(w, &c.now, m->upper, m->below, before);
}

static void walk_overlays(struct walk *w, const struct request *req, __u32 flag)
{
	const struct rlimit files = { FILES_MAX, FILES_MAX };
	const struct request_mount *m;

	if (setrlimit(RLIMIT_NOFILE, &files))
		stop(w, errno, "");
	for (m = req->mounts; m < req->mounts + req->head.nr_mounts; m++)
		if (m->how.flags & flag)
			walk_overlay(w, m);
}

bool changes_wanted(const struct request *req, __u32 flag)
{
	const struct request_mount *m;

	for (m = req->mounts; m < req->mounts + req->head.nr_mounts; m++)
		if (m->how.flags & flag)
			return true;
	return false;
}

/* ---- list ---- */

/* As git quotes names: what is not printable ASCII, a quote or a backslash is \ooo. */
static void quote(const char *s, char quoted[4 * PATH_MAX])
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~' || *s == '"' || *s == '\\')
			quoted += sprintf(quoted, "\\%03o", (unsigned char)*s);
		else
			*quoted++ = *s;
	*quoted = '\0';
}

static void list_change(struct walk *w, const struct change *c)
{
	static char quoted[4 * PATH_MAX];

	quote(w->path, quoted);
	w->listed += strlen(quoted) + 20;
	if (w->listed > LIST_MAX) {
		w->more++;
		return;
	}
	fprintf(w->out, "vmbox: diff: %c \"%s\"\n",
		!c->was.st_mode	  ? 'A'
		: !c->now.st_mode ? 'D'
				  : 'M',
		quoted);
}

void changes_list(const struct request *req, int fd)
{
	static struct walk w = { .what = "diff", .change = list_change };

	w.out = fdopen(fd, "w");
	if (!w.out)
		stop(&w, errno, "");
	walk_overlays(&w, req, PVIO_MOUNT_DIFF);
	if (w.more)
		fprintf(w.out, "vmbox: diff: and %lu more\n", w.more);
	fclose(w.out); /* nobody may be reading */
}

/* ---- commit ---- */

/* What the file server will count, and what it will not make. */
static void check_change(struct walk *w, const struct change *c)
{
	if (c->now.st_mode && !S_ISREG(c->now.st_mode) && !S_ISDIR(c->now.st_mode) &&
	    !S_ISLNK(c->now.st_mode))
		stop(w, 0, "neither file, directory nor link: ");
	if (!c->now.st_mode || (S_ISDIR(c->now.st_mode) && S_ISDIR(c->was.st_mode)))
		return;
	w->blocks +=
		1 + (S_ISREG(c->now.st_mode) ? (c->now.st_blocks * 512 + BLOCK - 1) / BLOCK : 0);
	if (w->mount->how.size && w->blocks > w->mount->how.size / BLOCK)
		stop(w, 0, "more than the quota: ");
}

static void take_away(const struct walk *w, int dir, const char *name, mode_t mode)
{
	struct names names = { 0 };
	struct stat st;
	int fd;

	if (S_ISDIR(mode)) {
		fd = open_dir(w, dir, name);
		make_writable(fd);
		add_names(w, &names, fd);
		for (size_t i = 0; i < names.n; i++) {
			look(w, fd, names.list[i], &st);
			take_away(w, fd, names.list[i], st.st_mode);
		}
		free_names(&names);
		close(fd);
	}
	if (unlinkat(dir, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0) && errno != ENOENT)
		stop(w, errno, "");
}

/* Holes stay holes. */
static int copy_data(int from, int to, off_t size)
{
	static char data[16 * 4096];
	off_t at, end = 0;

	while ((at = lseek(from, end, SEEK_DATA)) >= 0) {
		ssize_t n = pread(from, data, sizeof(data), at), done = 0, written;

		while (done < n && (written = pwrite(to, data + done, n - done, at + done)) > 0)
			done += written;
		if (!done || done < n)
			return -1;
		end = at + n;
	}
	if (errno != ENXIO)
		return -1;
	return end == size ? 0 : ftruncate(to, size);
}

/* A new file of that name in the directory below, or errno; EEXIST: the name is taken. */
static int make_file(const struct change *c, const char *name)
{
	int from, to = openat(c->below, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int err = 0;

	if (to < 0)
		return errno;
	from = openat(c->upper, c->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || copy_data(from, to, c->now.st_size) || fchmod(to, c->now.st_mode & 0777))
		err = errno;
	if (close(to) && !err)
		err = errno;
	if (from >= 0)
		close(from);
	return err;
}

static int make_link(const struct change *c, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(c->upper, c->name, target, sizeof(target) - 1);

	if (n < 0)
		return errno;
	target[n] = '\0';
	return symlinkat(target, c->below, name) ? errno : 0;
}

/* Under a name of its own first. */
static void put(struct walk *w, const struct change *c)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, c->now.st_mtim };
	char name[32];
	int err;

	do {
		snprintf(name, sizeof(name), ".vmbox-commit-%u", w->temporary++);
		err = S_ISLNK(c->now.st_mode) ? make_link(c, name) : make_file(c, name);
	} while (err == EEXIST);
	if (!err && utimensat(c->below, name, times, AT_SYMLINK_NOFOLLOW))
		err = errno;
	if (!err && S_ISDIR(c->was.st_mode))
		take_away(w, c->below, c->name, c->was.st_mode);
	if (!err && renameat(c->below, name, c->below, c->name))
		err = errno;
	if (!err)
		return;
	unlinkat(c->below, name, 0);
	stop(w, err, "");
}

static void commit_change(struct walk *w, const struct change *c)
{
	if (S_ISDIR(c->now.st_mode) && S_ISDIR(c->was.st_mode))
		return; /* finish_dir() */
	if (S_ISREG(c->now.st_mode) || S_ISLNK(c->now.st_mode)) {
		put(w, c);
		return;
	}
	if (c->was.st_mode)
		take_away(w, c->below, c->name, c->was.st_mode);
	if (S_ISDIR(c->now.st_mode) && mkdirat(c->below, c->name, 0700))
		stop(w, errno, "");
}

void changes_commit(const struct request *req)
{
	static struct walk w = { .what = "commit", .change = check_change };

	walk_overlays(&w, req, PVIO_MOUNT_COMMIT);
	control_ask_commit();
	w.change = commit_change;
	w.commits = true;
	walk_overlays(&w, req, PVIO_MOUNT_COMMIT);
}
