/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Host files as the server names them: an export, and names below it, each of
 * one component. Reaches the host only by openat2() from the export's O_PATH
 * descriptor.
 */
#ifndef VMBOX_FS_NODE_H
#define VMBOX_FS_NODE_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "fs.h"
#include "fs_limits.h"
#include "fs_wire.h"

struct fs_node {
	struct fs_node *parent;	  /* held; NULL: the 9P root or an export */
	TAILQ_ENTRY(fs_node) lru; /* while fd is open and ours */
	dev_t dev;
	ino_t ino;
	int fd; /* O_PATH, -1: closed to save descriptors, or the 9P root */
	unsigned int refs;
	unsigned short depth;
	bool is_export, is_root;
	char name[]; /* in parent */
};

struct fs_tree {
	const struct fs_export *exports; /* borrowed */
	size_t n;
	struct fs_node *root;
	TAILQ_HEAD(fs_lru, fs_node) lru; /* the oldest first */
	unsigned int open_fds;
	int proc_fds; /* /proc/self/fd: the one way from O_PATH to an open file */
	dev_t devices[FS_DEVICES_MAX];
	unsigned int n_devices;
};

int fs_tree_init(struct fs_tree *t, const struct fs_export *exports, size_t n);
void fs_tree_fini(struct fs_tree *t);

struct fs_node *fs_node_get(struct fs_node *node);
void fs_node_put(struct fs_tree *t, struct fs_node *node);
/* A new reference to the file called name in dir, or -errno. */
int fs_node_walk(struct fs_tree *t, struct fs_node *dir, struct fs_str name, struct fs_node **out,
		 struct stat *st);
/* The node's O_PATH descriptor, borrowed until the next call; or -errno. */
int fs_node_fd(struct fs_tree *t, struct fs_node *node);
int fs_node_stat(struct fs_tree *t, struct fs_node *node, struct stat *st);
/* A new descriptor to read a regular file or a directory with, or -errno. */
int fs_node_open(struct fs_tree *t, struct fs_node *node);

/* A file's identity for the guest: the same number for the same file only. */
uint64_t fs_tree_inode(struct fs_tree *t, dev_t dev, ino_t ino);
struct fs_qid fs_tree_qid(struct fs_tree *t, const struct fs_node *node, const struct stat *st);

#endif
