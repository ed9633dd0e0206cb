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
#include "fs_cut.h"
#include "fs_limits.h"
#include "fs_log.h"
#include "fs_wire.h"

/* Of the exports that are gated: the host's word, which no message of the guest's can be. */
struct fs_gate {
	int fd;
	bool open;
};

/* An export while it is served, by whichever session. */
struct fs_share {
	const struct fs_export *export;
	struct fs_gate *gate; /* borrowed; NULL: it has none */
	struct fs_cut_name *cuts;
	uint64_t used; /* of the quota */
};

/* There is one for each name that the guest holds, so that a rename finds it. */
struct fs_node {
	struct fs_node *parent;	  /* held; the 9P root has none */
	struct fs_node *next;	  /* in its bucket, while it is hashed */
	TAILQ_ENTRY(fs_node) lru; /* while fd is open and ours */
	struct fs_share *share;	  /* NULL: the 9P root */
	/* What the policy has cut out here or beneath; NULL: nothing. With a cut: it is here. */
	const struct fs_cut_name *cuts;
	dev_t dev;
	ino_t ino;
	int fd; /* O_PATH, -1: closed to save descriptors, or the 9P root */
	unsigned int refs;
	bool is_export;
	bool hashed; /* false: the name is another file's by now, or nobody's */
	char *name;  /* in parent */
};

struct fs_tree {
	struct fs_share *shares; /* borrowed */
	size_t n;
	struct fs_log *log; /* borrowed */
	struct fs_node *root, *buckets[FS_NODE_BUCKETS];
	TAILQ_HEAD(fs_lru, fs_node) lru; /* the oldest first */
	unsigned int open_fds;
	const int *proc_fds; /* borrowed: /proc/self/fd, the one way from O_PATH to an open file */
	dev_t devices[FS_DEVICES_MAX];
	unsigned int n_devices;
};

int fs_tree_init(struct fs_tree *t, struct fs_share *shares, size_t n, struct fs_log *log,
		 const int *proc_fds);
void fs_tree_fini(struct fs_tree *t);

struct fs_node *fs_node_get(struct fs_node *node);
void fs_node_put(struct fs_tree *t, struct fs_node *node);
/* A new reference to the file called name in dir, or -errno. */
int fs_node_walk(struct fs_tree *t, struct fs_node *dir, struct fs_str name, struct fs_node **out,
		 struct stat *st);
/* The node's O_PATH descriptor, borrowed until the next call; or -errno. */
int fs_node_fd(struct fs_tree *t, struct fs_node *node);
/* The same, if its names still lead there from the export: before it is opened or changed. */
int fs_node_fd_by_name(struct fs_tree *t, struct fs_node *node);
int fs_node_stat(struct fs_tree *t, struct fs_node *node, struct stat *st);
/* A new descriptor for a regular file or a directory, or -errno. @act: to be recorded, or NULL. */
int fs_node_open(struct fs_tree *t, struct fs_node *node, int flags, const struct fs_act *act);
/* 0 if act->dir's export may be changed now; else -errno, which is logged as a refusal. */
int fs_node_writable(struct fs_tree *t, const struct fs_act *act);
/* Is it hidden, closed or in use, as the policy has it? */
bool fs_node_is_cut(const struct fs_node *node);

/* @wire as a name that can be in a directory, or -errno. */
int fs_name_check(struct fs_str wire, char name[FS_NAME_MAX + 1]);
/*
 * May the guest make, replace or take away @name in @dir? The descriptor of @dir,
 * or -errno, which is logged as a refusal of @op. makes_dir: a directory that
 * leads to a cut may be made, but nothing else be done to it.
 */
int fs_node_change(struct fs_tree *t, struct fs_node *dir, const char *name, bool makes_dir,
		   const char *op);
/* What was name in dir is not any more. */
void fs_node_forget(struct fs_tree *t, struct fs_node *dir, const char *name);
void fs_node_renamed(struct fs_tree *t, struct fs_node *dir, const char *name,
		     struct fs_node *to_dir, const char *to_name);

/* A file's identity for the guest: the same number for the same file only. */
uint64_t fs_tree_inode(struct fs_tree *t, dev_t dev, ino_t ino);
struct fs_qid fs_tree_qid(struct fs_tree *t, const struct fs_node *node, const struct stat *st);
/* A user or group: ours is the program's. */
uint32_t fs_id_for_guest(uint32_t id, uint32_t ours, uint32_t guests);

#endif
