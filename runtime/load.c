// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds, reads and merges the policy of a command: files and profiles in the
 * order given, then the options. A name without '/' and '.' is a shipped profile:
 * beside the launcher in the build tree, else where it was installed; its relative
 * paths are relative to the working directory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"
#include "links.h"
#include "load.h"
#include "report.h"

/* ---- files and profiles ---- */

/* build/policy/profiles, if this is build/runtime/vmbox; else where they are installed. */
static int open_profiles(void)
{
	char dir[PATH_MAX] = "";
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 32);
	char *slash = n > 0 ? strrchr(dir, '/') : NULL;
	int fd = -1;

	if (slash) {
		strcpy(slash, "/../policy/profiles");
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd >= 0 ? fd : open(VMBOX_PROFILE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void say_profiles(const char *name, int dir_fd)
{
	DIR *dir = fdopendir(dir_fd);
	char names[1024] = "";
	struct dirent *e;
	size_t n = 0;

	while (dir && (e = readdir(dir))) {
		const char *end = strstr(e->d_name, ".yaml");

		if (end && !end[5] && n < sizeof(names))
			n += snprintf(names + n, sizeof(names) - n, " %.*s", (int)(end - e->d_name),
				      e->d_name);
	}
	say("--policy %s: there is no such profile; there are:%s (a file's name has a '/' or a "
	    "'.': ./%s)",
	    name, names, name);
	if (dir)
		closedir(dir);
}

static int open_profile(const char *name, int dir)
{
	char file[NAME_MAX + 1];
	int fd;

	snprintf(file, sizeof(file), "%s.yaml", name);
	fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		say_profiles(name, dup(dir));
	return fd;
}

/* A launcher that was copied without its profiles still has this one. */
static const char default_profile[] =
#include "default_profile.h"
	;

static int read_profile(struct policy *policy, const char *name, const char *cwd)
{
	static struct policy_error error;
	int dir = open_profiles(), fd, err;

	if (dir < 0 && strcmp(name, "default")) {
		say("%s: the profiles are not there: install vmbox again, or give a file with "
		    "--policy",
		    VMBOX_PROFILE_DIR);
		return EXIT_VMBOX_FAILED;
	}
	if (dir < 0) {
		err = policy_parse(policy, default_profile, sizeof(default_profile) - 1, name, cwd,
				   &error);
	} else {
		fd = open_profile(name, dir);
		close(dir);
		if (fd < 0)
			return EXIT_VMBOX_FAILED;
		err = policy_read(policy, fd, name, cwd, &error);
		close(fd);
	}
	if (err)
		say("%s", error.text);
	return err ? EXIT_BAD_POLICY : 0;
}

const char *path_directory(const char *file, char dir[PATH_MAX])
{
	const char *slash = strrchr(file, '/');

	snprintf(dir, PATH_MAX, "%.*s", slash ? (int)(slash - file + 1) : 1, slash ? file : ".");
	return slash ? slash + 1 : file;
}

/*
 * What relative paths in it are relative to: where it is, whatever links led there,
 * as the working directory is.
 */
static bool find_directory(const char *file, char base[PATH_MAX])
{
	char dir[PATH_MAX];

	path_directory(file, dir);
	return realpath(dir, base);
}

static int read_file(struct policy *policy, const char *file)
{
	static struct policy_error error;
	char base[PATH_MAX];
	int fd = open(file, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0 || !find_directory(file, base)) {
		say("%s: the policy cannot be opened: %s", file, strerror(errno));
		return EXIT_VMBOX_FAILED;
	}
	err = policy_read(policy, fd, file, base, &error);
	close(fd);
	if (err)
		say("%s", error.text);
	return err ? EXIT_BAD_POLICY : 0;
}

static int read_one(struct policy *policy, const char *name, const char *cwd)
{
	bool is_profile = *name && !strpbrk(name, "/.");

	return is_profile ? read_profile(policy, name, cwd) : read_file(policy, name);
}

int policy_load(const struct policy_args *args, struct policy **policy)
{
	static struct policy_error error;
	struct policy *p = policy_new();
	char cwd[PATH_MAX];
	int code = 0;
	size_t i;

	if (!p || !getcwd(cwd, sizeof(cwd))) {
		say("the working directory cannot be found: %s: change to another one",
		    strerror(errno));
		policy_free(p);
		return EXIT_VMBOX_FAILED;
	}
	if (!args->nr_files && !args->without_default)
		code = read_one(p, "default", cwd);
	for (i = 0; !code && i < args->nr_files; i++)
		code = read_one(p, args->files[i], cwd);
	for (i = 0; !code && i < args->nr_options; i++)
		if (policy_option(p, args->options[i].name, args->options[i].value, cwd, &error))
			code = EXIT_BAD_POLICY;
	if (!code &&
	    (links_resolve(p, &error) || policy_validate(p, &error) || links_check(p, &error)))
		code = EXIT_BAD_POLICY;
	if (code == EXIT_BAD_POLICY && *error.text)
		say("%s", error.text);
	if (code)
		policy_free(p);
	else
		*policy = p;
	return code;
}

/* ---- what cannot be enforced yet ---- */

const char *policy_taken(size_t i)
{
	static const char *const taken[] = {
		"/",	       "/etc",	     "/etc/hostname", "/etc/hosts",
		"/etc/passwd", "/etc/group", "/etc/mtab",     "/etc/nsswitch.conf"
	};

	return i < sizeof(taken) / sizeof(taken[0]) ? taken[i] : NULL;
}

bool policy_is_taken(const char *path)
{
	const char *taken;
	size_t i;

	for (i = 0; (taken = policy_taken(i)) && strcmp(path, taken); i++)
		;
	return taken;
}

bool policy_refuse(const struct policy *policy)
{
	char origin[POLICY_ORIGIN_MAX];
	size_t i;

	for (i = 0; i < policy->nr_places; i++) {
		const struct policy_place *place = &policy->places[i];

		if (place->rule->access == POLICY_DENY || !policy_is_taken(place->at))
			continue;
		policy_origin_text(&place->rule->origin, origin);
		say("%s: a place that the guest makes itself is not enforced yet (%s): this vmbox "
		    "runs only with what it can enforce; change the rule",
		    origin, place->at);
		return true;
	}
	return false;
}
