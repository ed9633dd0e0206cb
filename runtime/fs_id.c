// SPDX-License-Identifier: GPL-2.0-only
/* Who and what the guest takes files and their owners for. */
#include "fs_node.h"

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

/*
 * What is another export's is a file of its own here: a guest that took them for one would
 * show the one's contents at the other's place.
 */
static uint64_t mount_point_inode(const struct fs_tree *t, const struct fs_node *node,
				  uint64_t inode)
{
	return mix(inode ^ mix(node->share - t->shares)) | 1ULL << 63;
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
	if (node->share)
		q.path = fs_tree_inode(t, st->st_dev, st->st_ino);
	if (fs_cut_is_mount_point(node->cuts))
		q.path = mount_point_inode(t, node, q.path);
	return q;
}

uint32_t fs_id_for_guest(uint32_t id, uint32_t ours, uint32_t guests)
{
	return id == ours ? guests : id;
}
