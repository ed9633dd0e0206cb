// SPDX-License-Identifier: GPL-2.0-only
/*
 * Owns the set of paths that the guest has used. Each is one that the server has
 * found on the host, in an export: the guest adds to them only by using more. What
 * they take is bounded; beyond that nothing is added, and the end says so.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs_log.h"
#include "fs_use.h"

struct fs_use {
	struct fs_use *next;
	unsigned int flags;
	char path[];
};

static struct fs_use **bucket(struct fs_uses *uses, const char *path)
{
	uint64_t hash = 0;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 1099511628211ULL;
	return &uses->buckets[(hash >> 24) % FS_USE_BUCKETS];
}

/* That there is room for @n bytes more, which are taken. */
static bool take(struct fs_uses *uses, size_t n)
{
	if (n > FS_USES_MAX - uses->bytes)
		uses->full = true;
	else
		uses->bytes += n;
	return !uses->full;
}

void fs_use_add(struct fs_uses *uses, const struct fs_node *node, mode_t mode, unsigned int flags)
{
	const struct fs_act act = { .dir = node };
	char buf[PATH_MAX];
	struct fs_use **at, *use;
	const char *path;

	if (uses->fd < 0 || !(S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)))
		return;
	path = fs_log_path(&act, false, buf);
	at = bucket(uses, path);
	for (use = *at; use && strcmp(use->path, path); use = use->next)
		;
	if (!use) {
		size_t n = strlen(path) + 1;

		use = take(uses, n + 1) ? calloc(1, sizeof(*use) + n) : NULL;
		if (!use) {
			uses->full = true;
			return;
		}
		memcpy(use->path, path, n);
		use->next = *at;
		*at = use;
	}
	use->flags |= flags | (S_ISDIR(mode) ? FS_USE_DIR : 0);
}

static void put(struct fs_uses *uses, const char *string, size_t n)
{
	if (write(uses->fd, string, n) != (ssize_t)n)
		uses->full = true;
}

void fs_use_note(struct fs_uses *uses, const char *text)
{
	char note[FS_NOTE_MAX];
	size_t n;

	snprintf(note, sizeof(note), "%c%s", FS_USE_NOTE, text);
	n = strlen(note) + 1;
	if (take(uses, n))
		put(uses, note, n);
}

void fs_use_end(struct fs_uses *uses)
{
	char buf[16 * (PATH_MAX + 1)]; /* the launcher does not wait for long */
	struct fs_use *use;
	size_t fill = 0;

	if (uses->fd < 0)
		return;
	for (size_t i = 0; i < FS_USE_BUCKETS; i++) {
		while ((use = uses->buckets[i])) {
			if (sizeof(buf) - fill < PATH_MAX + 1) {
				put(uses, buf, fill);
				fill = 0;
			}
			fill += sprintf(buf + fill, "%c%s", FS_USE_PATH + use->flags, use->path) +
				1;
			uses->buckets[i] = use->next;
			free(use);
		}
	}
	put(uses, buf, fill);
	put(uses, uses->full ? FS_USE_FULL : FS_USE_END, 2);
}
