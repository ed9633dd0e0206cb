// SPDX-License-Identifier: GPL-2.0-only
/*
 * The open view is a policy like any other: an overlay of "/", where the guest has what
 * it has in any run (/tmp, /etc/passwd, ...) over what the host has; read-only all
 * directories of the host's but those; each of its mounts. /proc, /sys and /dev are
 * the guest's own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher.h"
#include "learn.h"
#include "open_view.h"

#define MOUNTS_MAX 200 /* with what else is shown */

struct maker {
	struct policy *view;
	const struct policy *policy; /* what the options say */
};

/* What the guest has of its own in each run, and writes to; beneath, the host's is shown. */
static const char *const own[] = {
	"/", "/etc", "/tmp", "/run", "/var", "/var/tmp", "/root", "/home"
};
/* What the host's never gets into. */
static const char *const denied[] = { "/proc", "/sys", "/dev" };

const char *open_view_own(size_t i)
{
	return i < sizeof(own) / sizeof(own[0]) ? own[i] : NULL;
}

static bool is_one_of(const char *const *list, size_t n, const char *path)
{
	while (n && strcmp(*list, path)) {
		list++;
		n--;
	}
	return n;
}
#define IS_ONE_OF(list, path) is_one_of(list, sizeof(list) / sizeof(list[0]), path)

static bool has_rule(const struct policy *policy, const char *path)
{
	size_t i;

	for (i = 0; i < policy->nr_rules; i++)
		if (!strcmp(policy->rules[i].path, path))
			return true;
	return false;
}

/* Is there no mount between @path and what is around it in the view? */
static bool is_next_to_view(const struct maker *m, const char *path)
{
	char up[PATH_MAX], *slash;
	struct statx st;
	uint64_t id = 0;

	snprintf(up, sizeof(up), "%s", path);
	do {
		slash = strrchr(up, '/');
		slash[slash == up] = '\0';
		if (statx(AT_FDCWD, up, 0, STATX_MNT_ID, &st) || (id && st.stx_mnt_id != id))
			return false;
		id = st.stx_mnt_id;
	} while (!has_rule(m->view, up));
	return true;
}

/* Can it be read, and looked into, by whom the run goes on as? What leads there does not count. */
static bool is_open(const char *path)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;
	bool open;

	if (fd < 0)
		return false;
	if (!uid)
		launcher_owner(&uid, &gid);
	setfsgid(gid);
	setfsuid(uid);
	open = !fstat(fd, &st) && !faccessat(fd, "", S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK,
					     AT_EMPTY_PATH | AT_EACCESS);
	setfsuid(geteuid());
	setfsgid(getegid());
	close(fd);
	return open;
}

/* Shows @path, if it is open and the options say nothing of it. */
static int show(const struct maker *m, const char *path)
{
	char real[PATH_MAX];

	if (policy_decide(m->policy, path) || has_rule(m->view, path) || !is_open(path) ||
	    !realpath(path, real) || strcmp(path, real) || !is_next_to_view(m, path))
		return 0;
	return learn_add_rule(m->view, IS_ONE_OF(own, path) ? "overlay" : "ro", path);
}

static int show_directories(const struct maker *m, const char *top)
{
	DIR *dir = opendir(top);
	char path[PATH_MAX];
	struct dirent *e;
	struct stat st;
	int err = 0;

	while (dir && !err && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", strcmp(top, "/") ? top : "", e->d_name);
		if (*e->d_name != '.' && !lstat(path, &st) && S_ISDIR(st.st_mode) &&
		    !IS_ONE_OF(own, path) && !IS_ONE_OF(denied, path))
			err = show(m, path);
	}
	if (dir)
		closedir(dir);
	return err;
}

/* Is it of the kernel's, and no place for files? */
static bool is_pseudo(const struct mntent *m)
{
	static const char *const types[] = { "proc",	"sysfs",  "devtmpfs",	"devpts", "cgroup",
					     "cgroup2", "autofs", "rpc_pipefs", "nsfs",	  "mqueue" };
	size_t i, n;

	for (i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		n = strlen(denied[i]);
		if (!strncmp(m->mnt_dir, denied[i], n) && (!m->mnt_dir[n] || m->mnt_dir[n] == '/'))
			return true;
	}
	return IS_ONE_OF(types, m->mnt_type);
}

int open_view_mounts(int (*fn)(void *arg, const char *path), void *arg)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	int err = 0;

	while (f && !err && (m = getmntent(f)))
		if (!is_pseudo(m) && !policy_is_taken(m->mnt_dir))
			err = fn(arg, m->mnt_dir);
	if (f)
		endmntent(f);
	return err;
}

static int show_mount(void *arg, const char *path)
{
	const struct maker *m = arg;
	static bool said;

	if (m->view->nr_rules < MOUNTS_MAX)
		return show(m, path);
	if (!said)
		learn_failed(path, "there are too many mounts: this one, and those after it in "
				   "/proc/self/mounts, are not shown");
	said = true;
	return 0;
}

int open_view_make(struct policy *view, const struct policy *policy, const char *cwd,
		   const char *program)
{
	struct maker maker = { view, policy }, *m = &maker;
	static struct policy_error error;
	const char *home = getenv("HOME"), *taken;
	int err = learn_add_rule(m->view, "overlay", "/");
	size_t i;

	for (i = 0; !err && i < sizeof(denied) / sizeof(denied[0]); i++)
		err = learn_add_rule(m->view, "deny", denied[i]);
	for (i = 0; !err && (taken = policy_taken(i)); i++)
		if (!IS_ONE_OF(own, taken))
			err = learn_add_rule(m->view, "deny", taken);
	if (!err)
		err = show_directories(m, "/");
	if (!err)
		err = show_directories(m, "/var");
	if (!err)
		err = open_view_mounts(show_mount, &maker);
	if (!err && !IS_ONE_OF(own, cwd))
		err = show(m, cwd);
	if (!err && home && *home == '/' && !IS_ONE_OF(own, home))
		err = show(m, home);
	if (!err)
		err = show(m, program);
	if (!err && policy_validate(m->view, &error))
		err = learn_failed("the view", error.text);
	return err;
}
