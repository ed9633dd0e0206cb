// SPDX-License-Identifier: GPL-2.0-only
/*
 * From rules and the host's files to exports and mounts: links on the way to what a
 * rule names, whoever made them, and when.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../runtime/links.h"
#include "../../runtime/view.h"
#include "check.h"

static char top[] = "/tmp/view-XXXXXX";
static struct policy_error error;
static struct view view;

static void shell(const char *command)
{
	CHECK(system(command) == 0);
}

/* Rules as options, NULL after the last: "ro", "w:/w", ...; NULL: refused, see error.text. */
static struct policy *load(const char *const *rules)
{
	struct policy *p = policy_new();
	int err = 0;

	memset(&error, 0, sizeof(error));
	for (; !err && *rules; rules += 2)
		err = policy_option(p, rules[0], rules[1], top, &error);
	if (!err && !links_resolve(p, &error) && !policy_validate(p, &error) &&
	    !links_check(p, &error))
		return p;
	policy_free(p);
	return NULL;
}
#define LOAD(...) load((const char *const[]){ __VA_ARGS__, NULL })

static void check_refused(struct policy *p, const char *text)
{
	char want[1024];

	snprintf(want, sizeof(want), text, top);
	CHECK(!p);
	if (!p && !strcmp(error.text, want))
		return;
	printf("not ok: '%s', not '%s'\n", error.text, want);
	check_failed = 1;
}

/* Makes the view, with /bin/sh as the program; "" or what was wrong. What it is made of stays. */
static const char *make(struct policy *p)
{
	static char problem[PATH_MAX + 128];
	struct program program = { .path = "/bin/sh", .fd = open("/bin/sh", O_PATH) };

	CHECK(p);
	*problem = '\0';
	memset(&view, 0, sizeof(view));
	if (p && view_make(&view, p, &program, problem, sizeof(problem)))
		CHECK(*problem);
	return problem;
}

static bool cuts(const char *path)
{
	for (size_t i = 0; i < view.nr_exports; i++)
		for (size_t j = 0; j < view.exports[i].nr_cuts; j++)
			if (!strcmp(view.exports[i].cuts[j].path, path))
				return true;
	return false;
}

static bool is_file(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A link of the guest's making: never followed, whatever the access. */
static void test_link_of_somebody(void)
{
	static const char *const accesses[] = { "ro", "overlay", "rw", "deny" };
	char text[256];

	shell("mkdir -p build/real private w/dir/sub && echo k >private/key && ln -s ../private "
	      "build/cache");
	for (size_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text),
			 "--%s build/cache/key: %%1$s/build/cache is a link to ../private, which "
			 "may be "
			 "anybody's and is not followed: name %%1$s/private/key",
			 accesses[i]);
		check_refused(LOAD(accesses[i], "build/cache/key"), text);
	}
	/* In what another rule shows, too, and with an 'at'. */
	check_refused(
		LOAD("ro", "build", "deny", "build/cache/key"),
		"--deny build/cache/key: %1$s/build/cache is a link to ../private, which may be "
		"anybody's and is not followed: name %1$s/private/key");
	check_refused(
		LOAD("ro", "build/cache/key:/k"),
		"--ro build/cache/key:/k: %1$s/build/cache is a link to ../private, which may be "
		"anybody's and is not followed: name %1$s/private/key");
	/* The last name may be a link: it is one in the guest. */
	CHECK(!*make(LOAD("rw", "build/cache:/c")));
	CHECK(view.nr_exports == 1 && view.mounts[0].mount.kind == PVIO_MOUNT_SYMLINK);
	CHECK(!strcmp(view.mounts[0].target, "../private"));
	shell("ln -s b build/a && ln -s a build/b");
	check_refused(LOAD("ro", "build/a/x"),
		      "--ro build/a/x: %1$s/build/a is a link to b, which leads nowhere");
}

/* A place by way of a link that the guest has. */
static void test_place_by_link(void)
{
	check_refused(LOAD("ro", "build/cache:/c", "ro", "w:/c/w"),
		      "--ro w:/c/w: /c/w: /c is a link to ../private in the guest: give the rule a "
		      "place, by 'at', that no link leads to");
	check_refused(
		LOAD("ro", "build:/b", "ro", "w:/b/cache/w"),
		"--ro w:/b/cache/w: /b/cache/w: /b/cache is a link to ../private in the guest: "
		"give the rule a place, by 'at', that no link leads to");
	check_refused(
		LOAD("rw", "build:/b", "ro", "build/cache", "deny", "w:/b/cache/key"),
		"--deny w:/b/cache/key: /b/cache/key: /b/cache is a link to ../private in the "
		"guest: give the rule a place, by 'at', that no link leads to");
}

/* The system's own, on hosts where /bin is one: exact, or refused. */
static void test_link_of_root(void)
{
	struct stat st;

	if (lstat("/bin", &st) || !S_ISLNK(st.st_mode) || st.st_uid)
		return;
	check_refused(
		LOAD("ro", "/usr", "ro", "/bin", "deny", "/bin/su"),
		"--deny /bin/su: /bin is a link to usr/bin in the guest, too: name /usr/bin/su");
	check_refused(
		LOAD("ro", "/usr", "ro", "/bin", "rw", "/bin/su"),
		"--rw /bin/su: /bin is a link to usr/bin in the guest, too: name /usr/bin/su");
	CHECK(!*make(LOAD("ro", "/usr", "deny", "/bin/su")));
	CHECK(cuts("bin/su"));
	/* A place of its own is as it was named. */
	CHECK(!*make(LOAD("ro", "/bin/env")));
	CHECK(!strcmp(view.exports[0].at, "/bin/env") &&
	      is_file(view.exports[0].fd, "/usr/bin/env"));
}

/* Below the working directory by whatever name it was entered. */
static void test_pwd(void)
{
	char path[256], key[512];

	shell("ln -s w here");
	snprintf(path, sizeof(path), "%s/here/dir", top);
	snprintf(key, sizeof(key), "%s/sub", path);
	CHECK(!LOAD("ro", path));
	snprintf(path, sizeof(path), "%s/here", top);
	CHECK(!chdir(path) && !setenv("PWD", path, 1));
	snprintf(path, sizeof(path), "%s/here/dir", top);
	CHECK(!*make(LOAD("ro", path, "deny", key)));
	CHECK(!strcmp(view.exports[0].at, path) && is_file(view.exports[0].fd, "dir") &&
	      cuts("sub"));
	snprintf(key, sizeof(key), "%s/here", top);
	CHECK(!*make(LOAD("ro", key)));
	CHECK(!strcmp(view.exports[0].at, key) && is_file(view.exports[0].fd, "."));
	/* Not if it is another's by now. */
	CHECK(!chdir(top) && !LOAD("ro", path));
}

/* Between the look at the rules and the opening. */
static void test_swapped(void)
{
	struct policy *p;
	const char *text;

	p = LOAD("rw", "w/dir/sub");
	shell("mv w/dir w/moved && ln -s ../private w/dir && mkdir private/sub");
	text = make(p);
	CHECK(strstr(text, "w/dir/sub: a link has just come into its path"));
	shell("rm w/dir && mv w/moved w/dir");
	/* What was a directory with something denied in it. */
	p = LOAD("rw", "w", "ro", "w/dir", "deny", "w/dir/sub");
	shell("mv w/dir w/moved && ln -s moved w/dir");
	text = make(p);
	CHECK(strstr(text, "w/dir: it is a link, and another rule is for a path beneath it"));
	shell("rm w/dir && mv w/moved w/dir");
	p = LOAD("rw", "w", "deny", "w/dir/sub");
	shell("mv w/dir w/moved && ln -s moved w/dir");
	text = make(p);
	CHECK(strstr(text, "w/dir/sub: a symbolic link leads there"));
	shell("rm w/dir && mv w/moved w/dir");
	p = LOAD("rw", "w", "deny", "w/dir/sub");
	CHECK(!*make(p) && cuts("dir/sub"));
}

int main(void)
{
	umask(022);
	CHECK(mkdtemp(top) && !chdir(top));
	test_link_of_somebody();
	test_place_by_link();
	test_link_of_root();
	test_pwd();
	test_swapped();
	CHECK(!chdir("/"));
	snprintf(error.text, sizeof(error.text), "rm -rf %s", top);
	shell(error.text);
	return check_failed;
}
