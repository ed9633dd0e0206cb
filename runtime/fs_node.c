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
 * before, the node is stale (ESTALE). Before a file is opened or changed its names
 * are always followed again: so what the host moved out of the export is out of
 * reach, and the audit's paths are those of the files.
 *
 * The policy's cuts are names too. What is cut, or leads to a cut, is not renamed,
 * removed or replaced, so that a file cannot leave its rule by a new name.
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

/* What is mounted there is seen only where another rule's is put over it: @cuts are the name's. */
static int open_beneath(int dir, const char *name, const struct fs_cut_name *cuts)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
			   (fs_cut_is_mount_point(cuts) ? 0 : RESOLVE_NO_XDEV),
	};
	int fd, tries = 0;

	do { /* EAGAIN: a rename or mount came between; harmless to try again */
		fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN && ++tries < 16);
	return fd < 0 ? -errno : fd;
}

static struct fs_node **bucket(struct fs_tree *t, const struct fs_node *parent, const char *name)
{
	uint64_t hash = (uintptr_t)parent / 16;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 1099511628211ULL;
	return &t->buckets[(hash >> 24) % FS_NODE_BUCKETS];
}

static struct fs_node *node_find(struct fs_tree *t, const struct fs_node *parent, const char *name)
{
	struct fs_node *node = *bucket(t, parent, name);

	while (node && (node->parent != parent || strcmp(node->name, name)))
		node = node->next;
	return node;
}

static void node_hash(struct fs_tree *t, struct fs_node *node)
{
	struct fs_node **at = bucket(t, node->parent, node->name);

	node->next = *at;
	*at = node;
	node->hashed = true;
}

static void node_unhash(struct fs_tree *t, struct fs_node *node)
{
	struct fs_node **at = bucket(t, node->parent, node->name);

	if (!node->hashed)
		return;
	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	node->hashed = false;
}

static struct fs_node *node_new(struct fs_node *parent, const char *name)
{
	struct fs_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->fd = -1;
	node->refs = 1;
	node->name = strdup(name);
	if (!node->name) {
		free(node);
		return NULL;
	}
	if (parent) {
		node->parent = fs_node_get(parent);
		node->share = parent->share;
	}
	return node;
}

struct fs_node *fs_node_get(struct fs_node *node)
{
	node->refs++; /* NOLINT(clang-analyzer-core.NullDereference): to_dir of a rename is none */
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

		node_unhash(t, node);
		node_close(t, node);
		free(node->name);
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

int fs_tree_init(struct fs_tree *t, struct fs_share *shares, size_t n, struct fs_log *log,
		 const int *proc_fds)
{
	memset(t, 0, sizeof(*t));
	TAILQ_INIT(&t->lru);
	t->proc_fds = proc_fds;
	t->shares = shares;
	t->n = n;
	t->log = log;
	t->root = node_new(NULL, "");
	return t->root ? 0 : -ENOMEM;
}

void fs_tree_fini(struct fs_tree *t)
{
	fs_node_put(t, t->root);
	t->root = NULL;
}

/* Down the names, from the export or from the nearest ancestor that is open; nothing between is kept. */
static int node_find_fd(struct fs_node *node, bool from_export)
{
	const struct fs_node *nodes[FS_DEPTH_MAX];
	struct fs_node *up;
	size_t n = 0;
	int fd, next;

	for (up = node; up->fd < 0 || (from_export && !up->is_export); up = up->parent) {
		if (!up->hashed)
			return -ESTALE;
		if (n == FS_DEPTH_MAX)
			return -ENAMETOOLONG;
		nodes[n++] = up;
	}
	fd = up->fd;
	while (n--) {
		next = open_beneath(fd, nodes[n]->name, nodes[n]->cuts);
		if (fd != up->fd)
			close(fd);
		if (next < 0)
			return next == -EXDEV ? -EACCES : next;
		fd = next;
	}
	return fd;
}

static int node_fd(struct fs_tree *t, struct fs_node *node, bool by_name)
{
	struct stat st;
	int fd;

	if (!node->share)
		return -EINVAL;
	if (node->is_export)
		return node->fd;
	if (node->fd < 0 || by_name) {
		fd = node_find_fd(node, by_name);
		if (fd >= 0 &&
		    (fstat(fd, &st) || st.st_dev != node->dev || st.st_ino != node->ino)) {
			close(fd);
			fd = -ESTALE;
		}
		if (node->fd < 0) {
			if (fd >= 0)
				node_keep_fd(t, node, fd);
			return fd;
		}
		if (fd >= 0)
			close(fd);
		else if (fstat(node->fd, &st) || st.st_nlink) /* has no name at all: ours still */
			return fd;
	}
	TAILQ_REMOVE(&t->lru, node, lru);
	TAILQ_INSERT_TAIL(&t->lru, node, lru);
	return node->fd;
}

int fs_node_fd(struct fs_tree *t, struct fs_node *node)
{
	return node_fd(t, node, false);
}

int fs_node_fd_by_name(struct fs_tree *t, struct fs_node *node)
{
	return node_fd(t, node, true);
}

/* ---- walking ---- */

int fs_name_check(struct fs_str wire, char name[FS_NAME_MAX + 1])
{
	if (wire.len > FS_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, wire.s, wire.len);
	name[wire.len] = '\0';
	if (!name[0] || strlen(name) != wire.len || strchr(name, '/') || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return -EINVAL;
	return 0;
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
	if (fstat(t->shares[i].export->fd, st))
		return -errno;
	node = node_find(t, t->root, name);
	if (node) {
		*out = fs_node_get(node);
		return 0;
	}
	node = node_new(t->root, name);
	if (!node)
		return -ENOMEM;
	node->is_export = true;
	node->share = &t->shares[i];
	node->cuts = node->share->cuts;
	node->fd = node->share->export->fd;
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	node_hash(t, node);
	*out = node;
	return 0;
}

/*
 * The cut that @name in @dir is, or leads to. Where the host's file system takes
 * other names for the same (upper and lower case), they are the same cut.
 */
static const struct fs_cut_name *find_cut(const struct fs_node *dir, int dirfd, const char *name)
{
	const struct fs_cut_name *n;
	struct stat st, cut;

	if (!dir->cuts || !dir->cuts->below)
		return NULL;
	n = fs_cut_find(dir->cuts, name, strlen(name));
	if (n || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return n;
	for (n = dir->cuts->below; n; n = n->next)
		if (!fstatat(dirfd, n->name, &cut, AT_SYMLINK_NOFOLLOW) &&
		    cut.st_dev == st.st_dev && cut.st_ino == st.st_ino)
			break;
	return n;
}

bool fs_node_is_cut(const struct fs_node *node)
{
	return node->cuts && node->cuts->cut;
}

/* Is it to be as if it were not there? */
static bool is_hidden(const struct fs_node *dir, const struct fs_cut_name *n)
{
	return n ? n->cut && n->cut->deny && !n->below : fs_node_is_cut(dir);
}

static const struct fs_cut *hiding_cut(const struct fs_node *dir, const struct fs_cut_name *n)
{
	return n ? n->cut : dir->cuts->cut;
}

/* The node of what fd, which is consumed, is: name in dir. */
static struct fs_node *node_of(struct fs_tree *t, struct fs_node *dir, const char *name, int fd,
			       const struct stat *st)
{
	struct fs_node *node = node_find(t, dir, name);

	if (node && (node->dev != st->st_dev || node->ino != st->st_ino)) {
		node_unhash(t, node);
		node = NULL;
	}
	if (node && node->fd >= 0) {
		close(fd);
		return fs_node_get(node);
	}
	if (node)
		fs_node_get(node);
	else if ((node = node_new(dir, name)))
		node_hash(t, node);
	if (!node) {
		close(fd);
		return NULL;
	}
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	node_keep_fd(t, node, fd);
	return node;
}

int fs_node_walk(struct fs_tree *t, struct fs_node *dir, struct fs_str wire_name,
		 struct fs_node **out, struct stat *st)
{
	char name[FS_NAME_MAX + 1];
	const struct fs_act act = { "lookup", dir, name };
	const struct fs_cut_name *cut;
	int dirfd, fd, err = fs_name_check(wire_name, name);

	if (err)
		return err;
	if (!dir->share)
		return walk_root(t, name, out, st);
	dirfd = fs_node_fd(t, dir);
	if (dirfd < 0)
		return dirfd;
	cut = find_cut(dir, dirfd, name);
	if (is_hidden(dir, cut)) {
		fs_log_refused(t->log, &act, FS_DENIED, hiding_cut(dir, cut));
		return -ENOENT;
	}
	fd = open_beneath(dirfd, name, cut);
	if (fd == -EXDEV)
		return fs_log_refused(t->log, &act, FS_MOUNT, NULL);
	if (fd == -ENOENT)
		fs_use_add(&t->log->uses, dir, S_IFDIR, FS_USE_MISSED);
	if (fd < 0)
		return fd;
	if (fstat(fd, st)) {
		close(fd);
		return -EIO;
	}
	*out = node_of(t, dir, name, fd, st);
	if (!*out)
		return -ENOMEM;
	(*out)->cuts = cut;
	if (!cut) /* else it is a mount point, or leads to one: guest-init has to look at those */
		fs_use_add(&t->log->uses, *out, st->st_mode, FS_USE_SEEN);
	return 0;
}

int fs_node_stat(struct fs_tree *t, struct fs_node *node, struct stat *st)
{
	int fd;

	if (!node->share) {
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

int fs_node_open(struct fs_tree *t, struct fs_node *node, int flags, const struct fs_act *act)
{
	struct open_how how = { .flags = flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };
	const struct fs_act open = { "open", node, NULL };
	struct stat st;
	char number[16];
	int err, fd;

	err = fs_node_stat(t, node, &st);
	if (err)
		return err;
	/* Opening a device, socket or fifo has effects: never. */
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP
					   : fs_log_refused(t->log, &open, FS_SPECIAL, NULL);
	if (fs_node_is_cut(node) && !S_ISDIR(st.st_mode))
		return -EACCES;
	fd = fs_node_fd_by_name(t, node);
	if (fd < 0)
		return fd;
	err = act ? fs_log_intent(t->log, act, NULL) : 0;
	if (err)
		return err;
	snprintf(number, sizeof(number), "%d", fd);
	fd = syscall(SYS_openat2, *t->proc_fds, number, &how, sizeof(how));
	if (fd >= 0)
		return fd;
	return act ? fs_log_failed(t->log, act) : -errno;
}

/* ---- changes ---- */

static bool is_gate_open(struct fs_gate *gate)
{
	char byte;

	if (!gate->open)
		gate->open = read(gate->fd, &byte, 1) == 1;
	return gate->open;
}

int fs_node_writable(struct fs_tree *t, const struct fs_act *act)
{
	const struct fs_share *share = act->dir->share;

	if (!share->export->rw)
		return fs_log_refused(t->log, act, FS_READ_ONLY, NULL);
	if (share->gate && !is_gate_open(share->gate))
		return fs_log_refused(t->log, act, FS_NOT_YET, NULL);
	return 0;
}

int fs_node_change(struct fs_tree *t, struct fs_node *dir, const char *name, bool makes_dir,
		   const char *op)
{
	const struct fs_act act = { op, dir, name };
	const struct fs_cut_name *n;
	int fd, err;

	if (!dir->share)
		return -EROFS;
	err = fs_node_writable(t, &act);
	if (err)
		return err;
	fd = fs_node_fd_by_name(t, dir);
	if (fd < 0)
		return fd;
	n = find_cut(dir, fd, name);
	if (fs_node_is_cut(dir))
		return fs_log_cut(t->log, &act, dir->cuts->cut);
	if (n && n->cut)
		return fs_log_cut(t->log, &act, n->cut);
	if (!n || makes_dir)
		return fd;
	while (!n->cut) /* what it leads to */
		n = n->below;
	return fs_log_refused(t->log, &act, FS_IN_USE, n->cut);
}

void fs_node_forget(struct fs_tree *t, struct fs_node *dir, const char *name)
{
	struct fs_node *node = node_find(t, dir, name);

	if (node)
		node_unhash(t, node);
}

void fs_node_renamed(struct fs_tree *t, struct fs_node *dir, const char *name,
		     struct fs_node *to_dir, const char *to_name)
{
	struct fs_node *node = node_find(t, dir, name), *up;
	char *copy;

	if (dir == to_dir && !strcmp(name, to_name))
		return;
	fs_node_forget(t, to_dir, to_name);
	if (!node)
		return;
	node_unhash(t, node);
	/* It may be above its new place only if a host process moved things as well. */
	for (up = to_dir; up && up != node; up = up->parent)
		;
	copy = up ? NULL : strdup(to_name);
	if (!copy)
		return; /* stale, once its descriptor is closed */
	free(node->name);
	node->name = copy;
	node->parent = fs_node_get(to_dir);
	node_hash(t, node);
	fs_node_put(t, dir);
}
