// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's view of the host, until policies say otherwise: /usr, /bin,
 * /sbin, every /lib*, /etc/ld.so.cache and the program, read-only. Links such as
 * /bin -> usr/bin are made again in the guest. Owns the export descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "view.h"

static struct view_mount *add_mount(struct view *v, const char *at, unsigned int kind)
{
	struct view_mount *m;

	if (v->nr_mounts == PVIO_MAX_MOUNTS)
		return NULL;
	m = &v->mounts[v->nr_mounts++];
	memset(m, 0, sizeof(*m));
	m->mount.kind = kind;
	snprintf(m->at, sizeof(m->at), "%s", at);
	return m;
}

static int add_export(struct view *v, const char *at, int fd, unsigned int kind)
{
	struct view_mount *m = add_mount(v, at, kind);

	if (!m) {
		close(fd);
		return -1;
	}
	m->mount.export = v->nr_exports;
	v->exports[v->nr_exports++].fd = fd;
	return 0;
}

/* A path that need not exist. */
static int add_path(struct view *v, const char *path)
{
	struct view_mount *m;
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return 0;
	if (S_ISLNK(st.st_mode)) {
		m = add_mount(v, path, PVIO_MOUNT_SYMLINK);
		return m && readlink(path, m->target, sizeof(m->target) - 1) > 0 ? 0 : -1;
	}
	fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	return add_export(v, path, fd, S_ISDIR(st.st_mode) ? PVIO_MOUNT_DIR : PVIO_MOUNT_FILE);
}

/* Is @path in the view already, below one of its directories or links? */
static int is_visible(const struct view *v, const char *path)
{
	size_t i;

	for (i = 0; i < v->nr_mounts; i++) {
		size_t n = strlen(v->mounts[i].at);

		if (!strncmp(path, v->mounts[i].at, n) && (!path[n] || path[n] == '/'))
			return 1;
	}
	return 0;
}

int view_make(struct view *v, struct program *program, char *error, size_t size)
{
	static const char *const fixed[] = { "/usr", "/bin", "/sbin", "/etc/ld.so.cache" };
	glob_t libs = { 0 };
	int err = 0;
	size_t i;

	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		err |= add_path(v, fixed[i]);
	if (!glob("/lib*", 0, NULL, &libs))
		for (i = 0; i < libs.gl_pathc; i++)
			err |= add_path(v, libs.gl_pathv[i]);
	globfree(&libs);
	if (is_visible(v, program->path))
		close(program->fd);
	else
		err |= add_export(v, program->path, program->fd, PVIO_MOUNT_FILE);
	program->fd = -1;
	if (err)
		snprintf(error, size, "the view of the host cannot be made: %s",
			 strerror(errno ? errno : ENOSPC));
	return err ? -1 : 0;
}
