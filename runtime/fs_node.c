// SPDX-License-Identifier: GPL-2.0-only
/*
 * Owns the tree of names and its O_PATH descriptors. Names come from the guest;
 * other host processes may rename and replace anything below an export at any
 * time.
 *
 * A node is found one component at a time, with RESOLVE_BENEATH and no symbolic
 * or magic links: the guest resolves symbolic links itself. NO_XDEV: an export
 * is what the host's one mount shows; what is mounted somewhere below it (a
 * /proc, another user's file system) was not named and gives EACCES. Layers of
 * an overlay are one mount, whatever st_dev they show.
 *
 * The guest's cache holds a fid, so a node, for every file it ever looked at:
 * more than there are descriptors. The least recently used one is closed, and
 * opened again by its names when needed; if that leads to another file than
 * before, the node is stale (ESTALE).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_node.h"

static int open_beneath(int dir, const char *name)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_XDEV,
	};
	int fd, tries = 0;

	do { /* EAGAIN: a rename or mount came between; harmless to try again */
		fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN && ++tries < 16);
	if (fd < 0)
		return errno == EXDEV ? -EACCES : -errno;
	return fd;
}

static struct fs_node *node_new(struct fs_node *parent, const char *name, size_t len)
{
	struct fs_node *node = calloc(1, sizeof(*node) + len + 1);

	if (!node)
		return NULL;
	memcpy(node->name, name, len);
	node->fd = -1;
	node->refs = 1;
	if (parent) {
		node->parent = fs_node_get(parent);
		node->depth = parent->depth + 1;
	}
	return node;
}

struct fs_node *fs_node_get(struct fs_node *node)
{
	node->refs++;
	return node;
}

static void node_close(struct fs_tree *t, struct fs_node *node)
{
	if (node->fd < 0 || node->is_export)
		return;
	TAILQ_REMOVE(&t->lru, node, lru);
	t->open_fds--;
	close(node->fd);
	node->fd = -1;
}

void fs_node_put(struct fs_tree *t, struct fs_node *node)
{
	while (node && --node->refs == 0) {
		struct fs_node *parent = node->parent;

		node_close(t, node);
		free(node);
		node = parent;
	}
}

/* Gives node its descriptor, and another node's back if there are too many. */
static void node_keep_fd(struct fs_tree *t, struct fs_node *node, int fd)
{
	if (t->open_fds >= FS_NODE_FDS_MAX)
		node_close(t, TAILQ_FIRST(&t->lru));
	node->fd = fd;
	t->open_fds++;
	TAILQ_INSERT_TAIL(&t->lru, node, lru);
}

int fs_tree_init(struct fs_tree *t, const struct fs_export *exports, size_t n)
{
	memset(t, 0, sizeof(*t));
	TAILQ_INIT(&t->lru);
	t->proc_fds = -1;
	t->exports = exports;
	t->n = n;
	t->root = node_new(NULL, "", 0);
	if (!t->root)
		return -ENOMEM;
	t->root->is_root = true;
	t->proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return t->proc_fds < 0 ? -errno : 0;
}

void fs_tree_fini(struct fs_tree *t)
{
	fs_node_put(t, t->root);
	t->root = NULL;
	if (t->proc_fds >= 0)
		close(t->proc_fds);
	t->proc_fds = -1;
}

/* From the nearest ancestor that is open, down the names; nothing between is kept. */
static int node_find_fd(struct fs_node *node)
{
	const char *names[FS_DEPTH_MAX];
	struct fs_node *up;
	size_t n = 0;
	int fd, next;

	for (up = node; up->fd < 0; up = up->parent) {
		if (n == FS_DEPTH_MAX)
			return -ENAMETOOLONG;
		names[n++] = up->name;
	}
	fd = up->fd;
	while (n) {
		next = open_beneath(fd, names[--n]);
		if (fd != up->fd)
			close(fd);
		if (next < 0)
			return next;
		fd = next;
	}
	return fd;
}

int fs_node_fd(struct fs_tree *t, struct fs_node *node)
{
	struct stat st;
	int fd;

	if (node->is_root)
		return -EINVAL;
	if (node->is_export)
		return node->fd;
	if (node->fd >= 0) {
		TAILQ_REMOVE(&t->lru, node, lru);
		TAILQ_INSERT_TAIL(&t->lru, node, lru);
		return node->fd;
	}
	fd = node_find_fd(node);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || st.st_dev != node->dev || st.st_ino != node->ino) {
		close(fd);
		return -ESTALE;
	}
	node_keep_fd(t, node, fd);
	return fd;
}

static int walk_root(struct fs_tree *t, const char *name, struct fs_node **out, struct stat *st)
{
	struct fs_node *node;
	unsigned long i;
	char text[24], *end;

	errno = 0;
	i = strtoul(name, &end, 10);
	snprintf(text, sizeof(text), "%lu", i);
	if (*end || errno || strcmp(text, name) || i >= t->n)
		return -ENOENT;
	if (fstat(t->exports[i].fd, st))
		return -errno;
	node = node_new(NULL, name, strlen(name));
	if (!node)
		return -ENOMEM;
	node->is_export = true;
	node->fd = t->exports[i].fd;
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	*out = node;
	return 0;
}

int fs_node_walk(struct fs_tree *t, struct fs_node *dir, struct fs_str wire_name,
		 struct fs_node **out, struct stat *st)
{
	char name[FS_NAME_MAX + 1];
	struct fs_node *node;
	int dirfd, fd;

	if (wire_name.len > FS_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, wire_name.s, wire_name.len);
	name[wire_name.len] = '\0';
	if (!name[0] || strlen(name) != wire_name.len || strchr(name, '/') || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return -EINVAL;
	if (dir->is_root)
		return walk_root(t, name, out, st);
	if (dir->depth + 1 >= FS_DEPTH_MAX)
		return -ENAMETOOLONG;
	dirfd = fs_node_fd(t, dir);
	if (dirfd < 0)
		return dirfd;
	fd = open_beneath(dirfd, name);
	if (fd < 0)
		return fd;
	node = fstat(fd, st) ? NULL : node_new(dir, name, wire_name.len);
	if (!node) {
		close(fd);
		return -ENOMEM;
	}
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	node_keep_fd(t, node, fd);
	*out = node;
	return 0;
}

int fs_node_stat(struct fs_tree *t, struct fs_node *node, struct stat *st)
{
	int fd;

	if (node->is_root) {
		memset(st, 0, sizeof(*st));
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
		st->st_blksize = 4096;
		return 0;
	}
	fd = fs_node_fd(t, node);
	if (fd < 0)
		return fd;
	return fstat(fd, st) ? -errno : 0;
}

int fs_node_open(struct fs_tree *t, struct fs_node *node)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };
	struct stat st;
	char number[16];
	int err, fd;

	err = fs_node_stat(t, node, &st);
	if (err)
		return err;
	/* Opening a device, socket or fifo has effects: never. */
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP : -EACCES;
	fd = fs_node_fd(t, node);
	if (fd < 0)
		return fd;
	snprintf(number, sizeof(number), "%d", fd);
	fd = syscall(SYS_openat2, t->proc_fds, number, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/*
 * 32-bit programs cannot stat a file whose inode number needs more than 32 bits,
 * so small numbers of the first few file systems stay small: the device's index,
 * from 1, and 28 bits. All others are hashed to 63 bits with the top bit set.
 */
uint64_t fs_tree_inode(struct fs_tree *t, dev_t dev, ino_t ino)
{
	unsigned int i;

	for (i = 0; i < t->n_devices && t->devices[i] != dev; i++)
		;
	if (i == t->n_devices && i < FS_DEVICES_MAX)
		t->devices[t->n_devices++] = dev;
	if (i < FS_DEVICES_MAX && ino < (1UL << 28) - 2) /* the client adds 2 */
		return (uint64_t)(i + 1) << 28 | ino;
	return mix(ino ^ mix(dev)) | 1ULL << 63;
}

struct fs_qid fs_tree_qid(struct fs_tree *t, const struct fs_node *node, const struct stat *st)
{
	struct fs_qid q = { 0 };

	if (S_ISDIR(st->st_mode))
		q.type = 0x80;
	else if (S_ISLNK(st->st_mode))
		q.type = 0x02;
	q.version = (uint32_t)st->st_mtim.tv_sec ^ (uint32_t)st->st_mtim.tv_nsec ^
		    (uint32_t)st->st_size << 8;
	if (!node->is_root)
		q.path = fs_tree_inode(t, st->st_dev, st->st_ino);
	return q;
}
