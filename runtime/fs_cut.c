// SPDX-License-Identifier: GPL-2.0-only
/* Owns the trees of cuts. Made before the first message, from the policy: trusted. */
#include <stdlib.h>
#include <string.h>

#include "fs_cut.h"

static struct fs_cut_name *cut_new(const char *name, size_t len)
{
	struct fs_cut_name *n = calloc(1, sizeof(*n) + len + 1);

	if (n)
		memcpy(n->name, name, len);
	return n;
}

struct fs_cut_name *fs_cut_find(const struct fs_cut_name *dir, const char *name, size_t len)
{
	struct fs_cut_name *n = dir->below;

	while (n && (strlen(n->name) != len || memcmp(n->name, name, len)))
		n = n->next;
	return n;
}

bool fs_cut_is_mount_point(const struct fs_cut_name *cuts)
{
	return cuts && cuts->cut && !cuts->cut->deny;
}

/* The tree's place of cut->path, made with all that leads there. */
static struct fs_cut_name *cut_add(struct fs_cut_name *dir, const char *path)
{
	while (dir && *path) {
		size_t len = strcspn(path, "/");
		struct fs_cut_name *n = fs_cut_find(dir, path, len);

		if (!n && (n = cut_new(path, len))) {
			n->next = dir->below;
			dir->below = n;
		}
		dir = n;
		path += len + (path[len] == '/');
	}
	return dir;
}

/* What a denied directory has on the way to deeper rules is closed as it is itself. */
static void cut_inherit(struct fs_cut_name *dir)
{
	for (struct fs_cut_name *n = dir->below; n; n = n->next) {
		if (!n->cut)
			n->cut = dir->cut;
		cut_inherit(n);
	}
}

struct fs_cut_name *fs_cuts_create(const struct fs_export *export)
{
	struct fs_cut_name *top = cut_new("", 0), *n;

	for (size_t i = 0; top && i < export->nr_cuts; i++) {
		n = cut_add(top, export->cuts[i].path);
		if (!n) {
			fs_cuts_destroy(top);
			return NULL;
		}
		n->cut = &export->cuts[i];
	}
	if (top)
		cut_inherit(top);
	return top;
}

void fs_cuts_destroy(struct fs_cut_name *top)
{
	struct fs_cut_name *n;

	while (top && (n = top->below)) {
		top->below = n->next;
		fs_cuts_destroy(n);
	}
	free(top);
}
