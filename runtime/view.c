// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's view of the host: the places of the policy and the program. Owns the
 * export descriptors.
 *
 * Each place is an export with one kind of access, and a mount in the guest. What
 * is inside of an export but another rule's is cut out of it: hidden where it is
 * denied, else seen and no more, so that something can be mounted there. So the
 * file server, which does not trust the guest's mounts, needs to know of one
 * access and a list of names for an export, and nothing of the policy. A place
 * that changes nothing for its files is no export of its own.
 *
 * A place that is a link, such as /bin -> usr/bin, is made again in the guest. No
 * other link is followed: the rules' paths are real ones (links.c), and who puts a
 * link into one meanwhile gets an error.
 *
 * After a failure there is nothing to be run: descriptors are left to the exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "view.h"

struct maker {
	struct view *v;
	const struct policy *policy;
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct maker *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->error, m->error_size, fmt, ap);
	va_end(ap);
	return -1;
}

static int fail_rule(struct maker *m, const struct policy_place *place, const char *what)
{
	char origin[POLICY_ORIGIN_MAX];

	policy_origin_text(&place->rule->origin, origin);
	return fail(m, "%s: %s: %s", origin, place->at, what);
}

static const char *origin_of(const struct policy_place *place)
{
	char text[POLICY_ORIGIN_MAX];

	policy_origin_text(&place->rule->origin, text);
	return strdup(text);
}

static struct view_mount *add_mount(struct maker *m, const char *at, unsigned int kind)
{
	struct view_mount *mount;

	if (m->v->nr_mounts == PVIO_MAX_MOUNTS) {
		fail(m, "the view of the host has too many paths: at most %d: use fewer rules",
		     PVIO_MAX_MOUNTS);
		return NULL;
	}
	mount = &m->v->mounts[m->v->nr_mounts++];
	memset(mount, 0, sizeof(*mount));
	mount->mount.kind = kind;
	snprintf(mount->at, sizeof(mount->at), "%s", at);
	return mount;
}

/* A read-only export without a quota, and its mount. Consumes @fd. */
static struct fs_export *add_export(struct maker *m, const char *at, int fd, unsigned int kind)
{
	struct view_mount *mount = add_mount(m, at, kind);
	struct fs_export *export;

	if (!mount) {
		close(fd);
		return NULL;
	}
	mount->mount.export = m->v->nr_exports;
	export = &m->v->exports[m->v->nr_exports++];
	*export = (struct fs_export){ .fd = fd,
				      .quota = UINT64_MAX,
				      .file_size = m->policy->limit[POLICY_FILE_SIZE],
				      .at = mount->at };
	return export;
}

static int open_how(int dir, const char *path, uint64_t resolve)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | O_NOFOLLOW, .resolve = resolve };

	return syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* Not by way of a link, but @path itself may be one. */
static int open_path(int dir, const char *path)
{
	return open_how(dir, path, RESOLVE_NO_SYMLINKS);
}

/* What @place is called in the export that shows what is around it. */
static const char *name_in(const struct fs_export *export, const struct policy_place *place)
{
	return place->at + strlen(export->at) + !!export->at[1]; /* "/" ends with one */
}

/* Is @path refused under @resolve, and by @err? */
static bool is_refused(int dir, const char *path, uint64_t resolve, int err)
{
	int fd = open_how(dir, path, resolve);

	if (fd < 0)
		return errno == err;
	close(fd);
	return false;
}

/* Cuts @place out of the export that shows what is around it. */
static int add_cut(struct maker *m, struct fs_export *export, const struct policy_place *place)
{
	const char *path = name_in(export, place);
	struct fs_cut *cuts = reallocarray(export->cuts, export->nr_cuts + 1, sizeof(*cuts));

	if (!cuts)
		return fail(m, "out of memory");
	export->cuts = cuts;
	if (is_refused(export->fd, path, RESOLVE_NO_SYMLINKS, ELOOP))
		return fail_rule(m, place,
				 "a symbolic link leads there, and the rule would not hold for "
				 "where it leads to: name the real path");
	cuts[export->nr_cuts++] = (struct fs_cut){ .path = path,
						   .rule = origin_of(place),
						   .deny = place->rule->access == POLICY_DENY };
	return 0;
}

/* The place around @place that is not denied; NULL: none. */
static const struct policy_place *shown_above(struct maker *m, const struct policy_place *place)
{
	do
		place = policy_above(m->policy, place);
	while (place && place->rule->access == POLICY_DENY);
	return place;
}

static struct fs_export **export_of(struct maker *m, const struct policy_place *place)
{
	return &m->v->place[place - m->policy->places];
}

/* Is @path in @around, or what leads there, in a file system that @around does not show? */
static bool is_behind_mount(const struct fs_export *around, const char *path)
{
	return is_refused(around->fd, path, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV, EXDEV);
}

/* Is at @place what @above, by @around, has there anyway? */
static bool same_files(const struct policy_place *above, const struct fs_export *around,
		       const struct policy_place *place)
{
	char host[PATH_MAX];

	return !policy_host_path(above, place->at, host) && !strcmp(host, place->rule->path) &&
	       !is_behind_mount(around, name_in(around, place));
}

static bool same_access(const struct policy_rule *a, const struct policy_rule *b)
{
	return a->access == b->access && a->on_exit == b->on_exit && a->quota == POLICY_UNSET &&
	       b->quota == POLICY_UNSET;
}

/* Is there something that a file or directory can be mounted over? */
static bool has_mount_point(const struct fs_export *around, const struct policy_place *place,
			    bool is_dir)
{
	int fd = open_path(around->fd, name_in(around, place));
	struct stat st;
	bool has = fd >= 0 && !fstat(fd, &st) && !S_ISLNK(st.st_mode) &&
		   S_ISDIR(st.st_mode) == is_dir;

	if (fd >= 0)
		close(fd);
	return has;
}

/* The guest has to come to it, to put something over it. */
static bool leads_over_mount(const struct fs_export *around, const struct policy_place *place)
{
	char path[PATH_MAX], *slash;

	snprintf(path, sizeof(path), "%s", name_in(around, place));
	slash = strrchr(path, '/');
	if (!slash)
		return false;
	*slash = '\0';
	return is_behind_mount(around, path);
}

/* Consumes @fd. A link that others show is seen there. */
static int add_link(struct maker *m, const struct policy_place *place, bool is_shown, int fd)
{
	struct view_mount *mount;
	ssize_t n;

	if (policy_is_beneath(m->policy, place->at))
		return fail_rule(m, place,
				 "it is a link, and another rule is for a path beneath it: name "
				 "that one's real path");
	mount = is_shown ? NULL : add_mount(m, place->at, PVIO_MOUNT_SYMLINK);
	n = mount ? readlinkat(fd, "", mount->target, sizeof(mount->target) - 1) : 0;
	close(fd);
	if (n < 0)
		return fail_rule(m, place, strerror(errno));
	return mount || is_shown ? 0 : -1;
}

/* While the program runs, or at its end. */
static bool changes_host(const struct policy_rule *rule)
{
	return rule->access == POLICY_RW ||
	       (rule->access == POLICY_OVERLAY && rule->on_exit == POLICY_COMMIT);
}

/* Consumes @fd. */
static int add_files(struct maker *m, const struct policy_place *place, bool is_dir, int fd)
{
	static const unsigned int kinds[] = { PVIO_MOUNT_FILE, PVIO_MOUNT_DIR };
	static const unsigned int at_exit[] = {
		[POLICY_DISCARD] = 0, [POLICY_DIFF] = PVIO_MOUNT_DIFF, [POLICY_COMMIT] = PVIO_MOUNT_COMMIT
	};
	const struct policy_rule *rule = place->rule;
	struct fs_export *export = add_export(m, place->at, fd, kinds[is_dir]);
	struct pvio_mount *mount;

	if (!export)
		return -1;
	*export_of(m, place) = export;
	export->host = rule->path;
	export->rule = origin_of(place);
	mount = &m->v->mounts[m->v->nr_mounts - 1].mount;
	if (changes_host(rule)) {
		export->rw = true;
		export->gated = rule->access == POLICY_OVERLAY;
		export->quota = rule->quota; /* POLICY_UNSET is none */
	}
	if (rule->access == POLICY_RW) {
		mount->flags = PVIO_MOUNT_RW;
	} else if (rule->access == POLICY_OVERLAY) {
		mount->kind = PVIO_MOUNT_OVERLAY;
		mount->flags = at_exit[rule->on_exit];
		mount->size = rule->quota == POLICY_UNSET ? 0 : rule->quota;
	}
	return 0;
}

static int add_denial(struct maker *m, const struct policy_place *place)
{
	const struct policy_place *above = policy_above(m->policy, place);
	struct fs_export *around = above ? *export_of(m, above) : NULL;

	return around ? add_cut(m, around, place) : 0; /* else nothing is there to be hidden */
}

/*
 * A path that need not exist: what the host does not have, the guest does not have
 * either. But one that is to take what the program writes must be there.
 */
static int add_place(struct maker *m, const struct policy_place *place)
{
	const struct policy_rule *rule = place->rule;
	const struct policy_place *up = policy_above(m->policy, place);
	const struct policy_place *above = shown_above(m, place);
	struct fs_export *around = above ? *export_of(m, above) : NULL;
	bool is_same = around && same_files(above, around, place), is_dir;
	struct stat st;
	int fd;

	if (is_same && up == above && same_access(above->rule, rule)) {
		*export_of(m, place) = around;
		return 0;
	}
	fd = open_path(AT_FDCWD, rule->path);
	if (fd < 0 && errno == ELOOP)
		return fail_rule(m, place,
				 "a link has just come into its path: see who changes the host's "
				 "files, and try again");
	if (fd < 0 && changes_host(rule))
		return fail_rule(m, place,
				 "the host's file or directory is not there: make it, or take the "
				 "rule away");
	if (around && add_cut(m, around, place))
		return -1;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st))
		return fail_rule(m, place, strerror(errno));
	if (S_ISLNK(st.st_mode))
		return add_link(m, place, around, fd);
	is_dir = S_ISDIR(st.st_mode);
	if (!is_dir && rule->access == POLICY_OVERLAY)
		return fail_rule(m, place,
				 "only a directory can be an overlay: name the one it is in");
	if (around && leads_over_mount(around, place))
		return fail_rule(m, place,
				 "the host has something mounted on the way there, which no rule "
				 "shows: give that a rule of its own, too");
	if (around && !has_mount_point(around, place, is_dir))
		return fail_rule(
			m, place,
			"it is inside of what another rule shows, and the host has nothing "
			"of its kind there to put it over: give it another 'at'");
	return add_files(m, place, is_dir, fd);
}

/* The program's own file, which is there at its own path, whatever the rules are. */
static int add_program(struct maker *m, struct program *program)
{
	char path[PATH_MAX], host[PATH_MAX], origin[POLICY_ORIGIN_MAX];
	const struct policy_place *place;
	const char *problem = policy_normalize(program->path, NULL, path);
	struct fs_export *export;
	int fd = program->fd;

	program->fd = -1;
	place = problem ? NULL : policy_decide(m->policy, path);
	if (!problem && !place) {
		export = add_export(m, program->path, fd, PVIO_MOUNT_FILE);
		if (!export)
			return -1;
		export->host = export->at;
		export->rule = "the program";
		export->is_program = true;
		return 0;
	}
	close(fd);
	if (problem)
		return fail(m, "%s: the path %s", program->path, problem);
	policy_origin_text(&place->rule->origin, origin);
	if (place->rule->access == POLICY_DENY)
		return fail(m, "%s: the policy denies it (%s): run another, or change that",
			    program->path, origin);
	if (policy_host_path(place, path, host) || strcmp(host, path))
		return fail(m,
			    "%s: the guest has the host's %s at that path (%s): give that rule "
			    "another 'at'",
			    program->path, host, origin);
	return 0;
}

int view_make(struct view *v, const struct policy *policy, struct program *program, char *error,
	      size_t size)
{
	struct maker m = { v, policy, error, size };
	const struct policy_place *place;
	int err = 0;

	/* By their paths: what is around a place comes before it. */
	for (place = policy->places; !err && place < policy->places + policy->nr_places; place++)
		err = place->rule->access == POLICY_DENY ? add_denial(&m, place)
							 : add_place(&m, place);
	return err ? err : add_program(&m, program);
}
