// SPDX-License-Identifier: GPL-2.0-only
/*
 * Builds the program's root at /new, on a tmpfs, or for `vmbox learn` on an overlay
 * of the host's: the host's exports, overlays of them, /proc, /sys, a /dev with
 * harmless nodes only, a small /etc. Then it becomes the root, and neither the
 * initramfs nor the 9P root can be named any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "control.h"
#include "root.h"

/* 16 pages of data and the head of Rread: one reply nearly fills the ring. */
#define P9_MSIZE (16 * 4096 + 24)

static void do_mount(const char *what, const char *at, const char *type, unsigned long flags,
		     const char *options)
{
	if (mount(what, at, type, flags, options))
		fail(errno, "mount of %s at %s", type ? type : what, at);
}

/* In an overlay of the host's root it may be there. */
static void make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) && errno != EEXIST)
		fail(errno, "directory %s", path);
}

static void make_link(const char *target, const char *path)
{
	if (symlink(target, path))
		fail(errno, "symbolic link %s", path);
}

/* A directory into which the file server's user may not look is hidden by one of ours. */
static void hide_closed(const char *dir)
{
	char name[4096 + 16];

	snprintf(name, sizeof(name), "%s/.vmbox", dir);
	if (access(name, F_OK) && errno == EACCES)
		do_mount("closed", dir, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
}

/* Makes what is missing of the directories that lead to path. */
static void make_parents(const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		fail(errno, "memory for a path");
	for (char *p = strchr(copy + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST && errno != EROFS)
			fail(errno, "directory %s", copy);
		hide_closed(copy);
		*p = '/';
	}
	free(copy);
}

__attribute__((format(printf, 2, 3))) static void write_file(const char *path, const char *fmt, ...)
{
	FILE *f = fopen(path, "we");
	va_list ap;

	if (!f)
		fail(errno, "file %s", path);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	if (fclose(f))
		fail(errno, "file %s", path);
}

/*
 * What cannot change is cached as long as there is memory. What can is not: a
 * write is on the host when write() returns, and its error is the program's; only
 * pages mapped shared are written later, when they are unmapped. Neither is mounted
 * read-only: what may not be written, the file server refuses and says so.
 */
static void mount_host(const char *channel, const char *at, const char *cache)
{
	char options[160];
	int fd = open(channel, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail(errno, "file server's channel %s", channel);
	snprintf(options, sizeof(options),
		 "trans=fd,rfdno=%d,wfdno=%d,version=9p2000.L,cache=%s,access=any,msize=%d", fd, fd,
		 cache, P9_MSIZE);
	do_mount("host", at, "9p", MS_NOSUID | MS_NODEV | MS_NOATIME, options);
	close(fd);
}

/* Something for a bind to go over, unless a mount made before has it. */
static void make_mount_point(const char *path, __u32 kind)
{
	int fd;

	if (access(path, F_OK) == 0)
		return;
	if (kind != PVIO_MOUNT_FILE) {
		make_dir(path, 0755);
		return;
	}
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		fail(errno, "file %s", path);
	close(fd);
}

/* path below /new, where it will be; the directories that lead there are made. */
static const char *place(const char *path)
{
	static char full[4096 + 8];

	if (snprintf(full, sizeof(full), "/new%s", path) >= (int)sizeof(full))
		fail(ENAMETOOLONG, "%s", path);
	make_parents(full);
	return full;
}

static void add_links(const struct request *req)
{
	const struct request_mount *m;

	for (m = req->mounts; m < req->mounts + req->head.nr_mounts; m++)
		if (m->how.kind == PVIO_MOUNT_SYMLINK)
			make_link(m->target, place(m->path));
}

static int open_layer(const struct request_mount *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		fail(errno, "layer of the overlay at %s", m->path);
	return fd;
}

/* For changes.c, which compares them when neither has a name any more. */
static void keep_layers(struct request_mount *m, const char *upper)
{
	char below[32];

	snprintf(below, sizeof(below), "/host%s/%u", m->how.flags & PVIO_MOUNT_COMMIT ? "-rw" : "",
		 m->how.export);
	m->upper = open_layer(m, upper);
	m->below = open_layer(m, below);
}

/*
 * An overlay's own directory has the upper layer's owner and mode: the host's.
 * The tmpfs is its own, so that what one overlay holds is limited by itself.
 */
static void mount_overlay(struct request_mount *m, const char *from, const char *at)
{
	char top[32], upper[40], work[40], options[200];
	struct stat st;

	snprintf(top, sizeof(top), "/upper/%u", m->how.export);
	snprintf(upper, sizeof(upper), "%s/upper", top);
	snprintf(work, sizeof(work), "%s/work", top);
	make_dir(top, 0700);
	snprintf(options, sizeof(options), "mode=700,size=%llu", (unsigned long long)m->how.size);
	do_mount("upper", top, "tmpfs", MS_NOSUID | MS_NODEV, options);
	make_dir(work, 0700);
	if (stat(from, &st))
		fail(errno, "the host's %s", m->path);
	make_dir(upper, st.st_mode & 01777);
	if (chown(upper, st.st_uid, st.st_gid))
		fail(errno, "overlay at %s", m->path);
	/* Whole files and directories of its own, which changes.c can read without the lower layer. */
	snprintf(options, sizeof(options),
		 "lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off,metacopy=off,index=off", from,
		 upper, work);
	do_mount("overlay", at, "overlay", MS_NOSUID | MS_NODEV, options);
	if (m->how.flags)
		keep_layers(m, upper);
}

/* Is it mounted, or changed at the end, by the channel for what may not be cached? */
static bool is_rw(const struct request_mount *m)
{
	return m->how.flags & (PVIO_MOUNT_RW | PVIO_MOUNT_COMMIT);
}

static bool is_cached(const struct request_mount *m)
{
	return m->how.kind != PVIO_MOUNT_SYMLINK && !(m->how.flags & PVIO_MOUNT_RW);
}

static void add_mount(struct request_mount *m)
{
	const char *at = place(m->path);
	char from[32];

	make_mount_point(at, m->how.kind);
	snprintf(from, sizeof(from), "/host%s/%u", is_cached(m) ? "" : "-rw", m->how.export);
	switch (m->how.kind) {
	case PVIO_MOUNT_OVERLAY:
		mount_overlay(m, from, at);
		break;
	case PVIO_MOUNT_DIR:
	case PVIO_MOUNT_FILE:
		if (mount(from, at, NULL, MS_BIND, NULL))
			fail(errno, "view of the host's %s", m->path);
		break;
	default:
		fail(EPROTO, "mount of kind %u at %s", m->how.kind, m->path);
	}
}

static bool is_root(const struct request_mount *m)
{
	return m->how.kind == PVIO_MOUNT_OVERLAY && !strcmp(m->path, "/");
}

/* Both 9P mounts, if they are needed, and the root. */
static void add_root(const struct request *req)
{
	struct request_mount *m, *end = req->mounts + req->head.nr_mounts, *root = NULL;
	bool cached = false, rw = false;

	for (m = req->mounts; m < end; m++) {
		rw |= is_rw(m);
		cached |= is_cached(m);
		root = is_root(m) ? m : root;
	}
	if (cached)
		mount_host("/dev/vmbox/9p", "/host", "loose");
	if (rw)
		mount_host("/dev/vmbox/9p-rw", "/host-rw", "mmap");
	if (root)
		add_mount(root);
	else
		do_mount("root", "/new", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
}

/* In the order given: what is around a mount comes before it. */
static void add_mounts(const struct request *req)
{
	struct request_mount *m;

	for (m = req->mounts; m < req->mounts + req->head.nr_mounts; m++)
		if (m->how.kind != PVIO_MOUNT_SYMLINK && !is_root(m))
			add_mount(m);
	if ((umount2("/host", MNT_DETACH) && errno != EINVAL) ||
	    (umount2("/host-rw", MNT_DETACH) && errno != EINVAL)) /* EINVAL: it is none */
		fail(errno, "/host");
}

static const struct {
	const char *path;
	unsigned int major, minor;
} nodes[] = {
	{ "/new/dev/null", 1, 3 },   { "/new/dev/zero", 1, 5 },	   { "/new/dev/full", 1, 7 },
	{ "/new/dev/random", 1, 8 }, { "/new/dev/urandom", 1, 9 }, { "/new/dev/tty", 5, 0 },
};

static void add_dev(void)
{
	char options[64];

	make_dir("/new/dev", 0755);
	do_mount("dev", "/new/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		if (mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)))
			fail(errno, "device %s", nodes[i].path);
	make_dir("/new/dev/pts", 0755);
	snprintf(options, sizeof(options), "newinstance,ptmxmode=666,mode=620,gid=%d", TTY_GROUP);
	do_mount("devpts", "/new/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, options);
	make_dir("/new/dev/shm", 01777);
	do_mount("shm", "/new/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	make_link("pts/ptmx", "/new/dev/ptmx");
	make_link("/proc/self/fd", "/new/dev/fd");
	make_link("/proc/self/fd/0", "/new/dev/stdin");
	make_link("/proc/self/fd/1", "/new/dev/stdout");
	make_link("/proc/self/fd/2", "/new/dev/stderr");
}

/* The user's name is root for uid 0, else user; /home is the home of both. */
static void add_etc(const struct request *req)
{
	const struct pvio_run *run = &req->head;

	if (mkdir("/new/etc", 0755) && errno != EEXIST)
		fail(errno, "directory /etc");
	write_file("/new/etc/hostname", "%s\n", req->hostname);
	write_file("/new/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 %s\n", req->hostname);
	write_file("/new/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
	if (run->uid)
		write_file("/new/etc/passwd",
			   "root:x:0:0:root:/root:/bin/sh\nuser:x:%u:%u:user:/home:/bin/sh\n",
			   run->uid, run->gid);
	else
		write_file("/new/etc/passwd", "root:x:0:%u:root:/home:/bin/sh\n", run->gid);
	if (run->gid)
		write_file("/new/etc/group", "root:x:0:\ntty:x:%d:\nuser:x:%u:\n", TTY_GROUP,
			   run->gid);
	else
		write_file("/new/etc/group", "root:x:0:\ntty:x:%d:\n", TTY_GROUP);
	make_link("/proc/self/mounts", "/new/etc/mtab");
}

static void add_dirs(void)
{
	make_dir("/new/tmp", 01777);
	make_dir("/new/run", 0755);
	make_dir("/new/var", 0755);
	make_dir("/new/var/tmp", 01777);
	make_dir("/new/root", 0700);
	make_dir("/new/home", 0755);
	make_dir("/new/proc", 0555);
	make_dir("/new/sys", 0555);
	do_mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	do_mount("sysfs", "/new/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/*
 * The user's own: /home and, if it has to be made, the working directory. Before
 * the binds, so that one in it leaves it the user's; one over it hides ours.
 */
static void add_user_dirs(const struct request *req)
{
	const struct pvio_run *run = &req->head;
	const char *cwd = place(req->cwd);

	if (chown("/new/home", run->uid, run->gid))
		fail(errno, "/home");
	if (mkdir(cwd, 0755) == 0) {
		if (chown(cwd, run->uid, run->gid))
			fail(errno, "working directory %s", req->cwd);
	} else if (errno != EEXIST) {
		fail(errno, "working directory %s", req->cwd);
	}
}

void root_enter(const struct request *req)
{
	umask(0);
	add_root(req);
	add_dirs();
	add_dev();
	add_links(req);
	add_user_dirs(req);
	add_mounts(req);
	add_etc(req);
	if (chdir("/new"))
		fail(errno, "/new");
	do_mount("/new", "/", NULL, MS_MOVE, NULL);
	if (chroot(".") || chdir("/"))
		fail(errno, "the new root");
	umask(022);
}
