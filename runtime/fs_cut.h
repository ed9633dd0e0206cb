/* SPDX-License-Identifier: GPL-2.0-only */
/* The cuts of an export as a tree of names, to be walked along with the files. */
#ifndef VMBOX_FS_CUT_H
#define VMBOX_FS_CUT_H

#include "fs.h"

struct fs_cut_name {
	struct fs_cut_name *next, *below;
	const struct fs_cut *cut; /* of it or of the directory around; NULL: only on the way to one */
	char name[];
};

/* The nameless top of the tree, whose cut is NULL; NULL: no memory. */
struct fs_cut_name *fs_cuts_create(const struct fs_export *export);
void fs_cuts_destroy(struct fs_cut_name *top);
/* Is another rule's export put over what has these cuts (NULL: none)? It is seen, and that is all. */
bool fs_cut_is_mount_point(const struct fs_cut_name *cuts);
struct fs_cut_name *fs_cut_find(const struct fs_cut_name *dir, const char *name, size_t len);

#endif
