// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's view of the host: the places of the policy and the program, all
 * read-only so far. Links such as /bin -> usr/bin are made again in the guest.
 * Owns the export descriptors.
 */
#include <errno.h>
#include <fcntl.h>
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

/* A path that need not exist: what the host does not have, the guest does not have either. */
static int add_path(struct view *v, const char *path, const char *at)
{
	struct view_mount *m;
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return 0;
	if (S_ISLNK(st.st_mode)) {
		m = add_mount(v, at, PVIO_MOUNT_SYMLINK);
		return m && readlink(path, m->target, sizeof(m->target) - 1) > 0 ? 0 : -1;
	}
	fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	return add_export(v, at, fd, S_ISDIR(st.st_mode) ? PVIO_MOUNT_DIR : PVIO_MOUNT_FILE);
}

/* The program's own file, which is read-only at its own path, whatever the rules are. */
static int add_program(struct view *v, const struct policy *policy, struct program *program,
		       char *error, size_t size)
{
	char path[PATH_MAX], host[PATH_MAX], origin[POLICY_ORIGIN_MAX];
	const struct policy_place *place;
	const char *problem = policy_normalize(program->path, NULL, path);

	if (problem) {
		snprintf(error, size, "%s: the path %s", program->path, problem);
		close(program->fd);
		return -1;
	}
	place = policy_decide(policy, path);
	if (!place) {
		if (!add_export(v, program->path, program->fd, PVIO_MOUNT_FILE))
			return 0;
		snprintf(error, size, "the view of the host has too many paths: use fewer rules");
		return -1;
	}
	close(program->fd);
	policy_origin_text(&place->rule->origin, origin);
	if (place->rule->access == POLICY_DENY)
		snprintf(error, size, "%s: the policy denies it (%s): run another, or change that",
			 program->path, origin);
	else if (policy_host_path(place, path, host) || strcmp(host, path))
		snprintf(
			error, size,
			"%s: the guest has the host's %s at that path (%s): give that rule another "
			"'at'",
			program->path, host, origin);
	else
		return 0;
	return -1;
}

int view_make(struct view *v, const struct policy *policy, struct program *program, char *error,
	      size_t size)
{
	const struct policy_place *place = policy->places, *end = place + policy->nr_places;
	const char *shown = NULL; /* the last export that is not beneath another */
	int err;

	for (; place < end; place++) {
		size_t n = shown ? strlen(shown) : 0;

		if (place->rule->access == POLICY_DENY)
			continue;
		/* The same files once more, as policy_refuse() made sure of. */
		if (shown && !strncmp(place->at, shown, n) && place->at[n] == '/')
			continue;
		if (add_path(v, place->rule->path, place->at)) {
			snprintf(error, size, "the view of the host cannot be made: %s",
				 strerror(errno ? errno : ENOSPC));
			close(program->fd);
			program->fd = -1;
			return -1;
		}
		shown = place->at;
	}
	err = add_program(v, policy, program, error, size);
	program->fd = -1;
	return err;
}
