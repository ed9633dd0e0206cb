// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file server where files may be changed: what Linux's client does, what the
 * policy cuts out, the quota, the audit, and a host process that moves things
 * meanwhile. VMBOX_TEST_FILES and VMBOX_TEST_MIB: how many, how much.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/fs_node.h"
#include "check_or_exit.h"
#include "p9_client.h"

enum {
	MODE = 1,
	UID = 2,
	GID = 4,
	SIZE = 8,
	ATIME = 16,
	MTIME = 32,
	TIMES_TO = 128 | 256
};

static char top[] = "/tmp/vmbox-fs-XXXXXX";
static struct client c;
static struct fs_export exports[] = { { .host = "tree", .at = "/w", .rule = "p:1", .rw = true },
				      { .host = "other", .rule = "p:2", .rw = true },
				      { .host = "ro", .rule = "p:3" } };

static void serve(const struct fs_config *config)
{
	umask(0);
	_exit(fs_session_run(config) ? 1 : 0);
}

/* Fid 0: the 9P root; 1 to 3: the exports. */
static void start(int audit)
{
	client_start(&c, serve, exports, 3, audit);
	CHECK(client_version(&c, 65560) == 0 && client_attach(&c, 0) == 0);
	CHECK(client_walk(&c, 0, 1, "0") == 0 && client_walk(&c, 0, 2, "1") == 0);
	CHECK(client_walk(&c, 0, 3, "2") == 0);
}

static void stop(void)
{
	int status = client_stop(&c);

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(system("rm -rf tree/* tree/.[a-z]* other/*") == 0);
}

static bool has(const char *path, const char *text)
{
	char buf[256];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, n);
}

static struct stat stat_of(const char *path)
{
	struct stat st = { 0 };

	CHECK(lstat(path, &st) == 0);
	return st;
}

static uint64_t getattr_size(uint32_t fid)
{
	client_begin(&c, P9_TGETATTR);
	fs_put32(&c.w, fid);
	fs_put64(&c.w, 0x7ff);
	CHECK(client_call(&c) == 0);
	CHECK(c.r.left > 8 + 13 + 12 + 16 + 8);
	c.r.at += 8 + 13 + 12 + 16;
	c.r.left -= 8 + 13 + 12 + 16;
	return fs_get64(&c.r);
}

static int set(uint32_t fid, uint32_t valid, uint32_t mode, uint32_t id, uint64_t size)
{
	const struct client_attr a = {
		.valid = valid, .mode = mode, .uid = id, .gid = id, .size = size
	};

	return client_setattr(&c, fid, &a);
}

static void test_create_and_write(void)
{
	char buf[16];

	start(-1);
	CHECK(client_walk(&c, 1, 10, "") == 0);
	CHECK(client_create(&c, 10, "f", O_CREAT | O_EXCL | O_RDWR, 06751) == 0);
	CHECK(client_create(&c, 10, "g", O_RDWR, 0644) == EBADF); /* it is the file by now */
	CHECK((stat_of("tree/f").st_mode & 07777) == 0751);
	CHECK(client_write(&c, 10, 0, "hello", 5) == 5 && client_write(&c, 10, 5, "!", 1) == 1);
	CHECK(client_read(&c, 10, 1, buf, 16) == 5 && !memcmp(buf, "ello!", 5));
	CHECK(has("tree/f", "hello!"));
	CHECK(client_write(&c, 10, INT64_MAX, "x", 1) == -EFBIG);
	CHECK(client_write(&c, 10, UINT64_MAX, "x", 1) == -EFBIG &&
	      client_write(&c, 10, 0, "", 0) == 0);
	/* It is there: O_EXCL says so, else it is opened; O_APPEND goes to the end. */
	CHECK(client_walk(&c, 1, 11, "") == 0);
	CHECK(client_create(&c, 11, "f", O_CREAT | O_EXCL | O_RDWR, 0644) == EEXIST);
	CHECK(client_create(&c, 11, "f", O_CREAT | O_WRONLY | O_APPEND, 0644) == 0);
	CHECK(client_write(&c, 11, 0, "?", 1) == 1 && has("tree/f", "hello!?"));
	CHECK(client_walk(&c, 1, 12, "f") == 0 && client_open(&c, 12, O_WRONLY | O_TRUNC) == 0);
	CHECK(getattr_size(10) == 0 && client_read(&c, 12, 0, buf, 1) == -EBADF);
	CHECK(client_walk(&c, 1, 13, "f") == 0 && client_open(&c, 13, O_RDONLY) == 0);
	CHECK(client_write(&c, 13, 0, "x", 1) == -EBADF &&
	      client_write(&c, 1, 0, "x", 1) == -EBADF);
	/* A file that only its maker may write to, as git makes them. */
	CHECK(client_walk(&c, 1, 14, "") == 0);
	CHECK(client_create(&c, 14, "r", O_CREAT | O_EXCL | O_RDWR, 0444) == 0);
	CHECK(client_write(&c, 14, 0, "x", 1) == 1);
	/* What is not a regular file is neither made nor opened. */
	CHECK(mkfifo("tree/fifo", 0666) == 0 && symlink("f", "tree/link") == 0);
	CHECK(client_walk(&c, 1, 15, "") == 0);
	CHECK(client_create(&c, 15, "fifo", O_CREAT | O_RDWR, 0644) == EACCES);
	CHECK(client_walk(&c, 1, 16, "") == 0);
	CHECK(client_create(&c, 16, "link", O_CREAT | O_RDWR, 0644) == ELOOP);
	CHECK(client_open(&c, 2, O_RDWR) == EISDIR);
	CHECK(client_mknod(&c, 1, "null") == EPERM);
	client_begin(&c, P9_TFSYNC);
	fs_put32(&c.w, 10);
	fs_put32(&c.w, 0);
	CHECK(client_call(&c) == 0);
	stop();
}

static void test_names(void)
{
	char target[PATH_MAX];

	start(-1);
	CHECK(client_mkdir(&c, 1, "d", 07755) == 0 && (stat_of("tree/d").st_mode & 07777) == 01755);
	CHECK(client_mkdir(&c, 1, "d", 0755) == EEXIST);
	CHECK(client_symlink(&c, 1, "l", "/etc/passwd") == 0);
	CHECK(readlink("tree/l", target, sizeof(target)) == 11);
	write_file("tree/f", "f");
	CHECK(client_walk(&c, 1, 10, "f") == 0 && client_walk(&c, 1, 11, "d") == 0);
	CHECK(client_walk(&c, 1, 12, "l") == 0);
	CHECK(client_link(&c, 11, 10, "f2") == 0 && stat_of("tree/d/f2").st_nlink == 2);
	CHECK(client_link(&c, 11, 12, "l2") == 0 && S_ISLNK(stat_of("tree/d/l2").st_mode));
	CHECK(client_link(&c, 11, 11, "d2") == EPERM);
	CHECK(client_link(&c, 2, 10, "f") == EXDEV && client_rename(&c, 1, "f", 2, "f") == EXDEV);
	CHECK(client_unlink(&c, 1, "d", 0) == EISDIR);
	CHECK(client_unlink(&c, 1, "d", AT_REMOVEDIR) == ENOTEMPTY);
	CHECK(client_unlink(&c, 1, "f", AT_REMOVEDIR) == ENOTDIR);
	CHECK(client_unlink(&c, 1, "f", 0x1000) == EINVAL &&
	      client_unlink(&c, 1, "no", 0) == ENOENT);
	CHECK(client_unlink(&c, 11, "f2", 0) == 0 && client_unlink(&c, 11, "l2", 0) == 0);
	CHECK(client_unlink(&c, 1, "d", AT_REMOVEDIR) == 0);
	/* Names that are none, in every message that has one. */
	static const char *const bad[] = { "", ".", "..", "a/b", "/", "../other/x" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(client_walk(&c, 1, 20, "") == 0);
		CHECK(client_create(&c, 20, bad[i], O_CREAT | O_RDWR, 0644) == EINVAL);
		CHECK(client_mkdir(&c, 1, bad[i], 0755) == EINVAL);
		CHECK(client_symlink(&c, 1, bad[i], "x") == EINVAL);
		CHECK(client_link(&c, 1, 10, bad[i]) == EINVAL);
		CHECK(client_rename(&c, 1, bad[i], 1, "x") == EINVAL);
		CHECK(client_rename(&c, 1, "f", 1, bad[i]) == EINVAL);
		CHECK(client_unlink(&c, 1, bad[i], 0) == EINVAL);
		CHECK(client_unlink(&c, 1, bad[i], AT_REMOVEDIR) == EINVAL);
		CHECK(client_clunk(&c, 20) == 0);
	}
	stop();
}

/* Fids go with what they name, although their descriptors have been closed since. */
static void test_rename(void)
{
	char name[32], buf[8];
	uint32_t i, n = 2 * FS_NODE_FDS_MAX;

	start(-1);
	CHECK(client_mkdir(&c, 1, "a", 0755) == 0 && client_mkdir(&c, 1, "b", 0755) == 0);
	CHECK(client_walk(&c, 1, 10, "a") == 0 && client_walk(&c, 1, 11, "b") == 0);
	write_file("tree/a/f", "one");
	write_file("tree/a/g", "two");
	CHECK(client_walk(&c, 10, 12, "f") == 0 && client_walk(&c, 10, 13, "g") == 0);
	CHECK(client_rename(&c, 1, "a", 11, "c") == 0 && has("tree/b/c/f", "one"));
	CHECK(client_walk(&c, 11, 14, "c") == 0);
	CHECK(client_rename(&c, 14, "f", 14, "g") == 0); /* over the other */
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "tree/%u", i);
		write_file(name, "");
		CHECK(client_walk(&c, 1, 100 + i, name + 5) == 0);
	}
	CHECK(client_open(&c, 12, O_RDONLY) == 0 && client_read(&c, 12, 0, buf, 8) == 3);
	CHECK(!memcmp(buf, "one", 3));
	CHECK(client_open(&c, 13, O_RDONLY) == ESTALE);
	CHECK(client_walk(&c, 10, 15, "g") == 0 && client_walk(&c, 10, 16, "f") == ENOENT);
	CHECK(client_rename(&c, 11, "c", 14, "x") == EINVAL); /* into itself */
	CHECK(client_rename(&c, 14, "g", 14, "g") == 0 && client_walk(&c, 14, 17, "g") == 0);
	stop();
}

/* A file that has no name any more can still be used by those who have it open. */
static void test_unlinked(void)
{
	char buf[8];

	start(-1);
	CHECK(client_walk(&c, 1, 10, "") == 0);
	CHECK(client_create(&c, 10, "t", O_CREAT | O_EXCL | O_RDWR, 0600) == 0);
	CHECK(client_write(&c, 10, 0, "temp", 4) == 4 && client_unlink(&c, 1, "t", 0) == 0);
	CHECK(getattr_size(10) == 4 && set(10, SIZE, 0, 0, 2) == 0 && getattr_size(10) == 2);
	CHECK(set(10, MODE, 0640, 0, 0) == 0);
	CHECK(client_read(&c, 10, 0, buf, 8) == 2 && client_write(&c, 10, 0, "T", 1) == 1);
	write_file("tree/t", "another");
	CHECK(client_walk(&c, 1, 11, "t") == 0 && getattr_size(11) == 7 && getattr_size(10) == 2);
	stop();
}

static void test_attributes(void)
{
	start(-1);
	write_file("tree/f", "12345678");
	CHECK(mkdir("tree/d", 0755) == 0 && symlink("f", "tree/l") == 0);
	CHECK(mkfifo("tree/p", 0600) == 0);
	CHECK(client_walk(&c, 1, 10, "f") == 0 && client_walk(&c, 1, 11, "d") == 0);
	CHECK(client_walk(&c, 1, 12, "l") == 0 && client_walk(&c, 1, 13, "p") == 0);
	CHECK(set(10, MODE, 07711, 0, 0) == 0 && (stat_of("tree/f").st_mode & 07777) == 0711);
	CHECK(set(11, MODE, 07700, 0, 0) == 0 && (stat_of("tree/d").st_mode & 07777) == 01700);
	CHECK(chmod("tree/d", 02755) == 0 && set(11, MODE, 0750, 0, 0) == 0);
	CHECK((stat_of("tree/d").st_mode & 07777) == 02750); /* the host's, as it was */
	CHECK(set(12, MODE, 0777, 0, 0) == EPERM && set(13, MODE, 0777, 0, 0) == EPERM);
	CHECK((stat_of("tree/f").st_mode & 07777) == 0711); /* not by the link */
	CHECK(set(10, SIZE, 0, 0, 3) == 0 && has("tree/f", "123"));
	CHECK(set(10, SIZE, 0, 0, UINT64_MAX) == EFBIG && set(11, SIZE, 0, 0, 0) == EISDIR);
	CHECK(set(12, SIZE, 0, 0, 0) == ELOOP && set(13, SIZE, 0, 0, 0) == EACCES);
	CHECK(set(10, ATIME | MTIME | TIMES_TO, 0, 0, 0) == 0 && stat_of("tree/f").st_mtime == 0);
	CHECK(set(12, MTIME | TIMES_TO, 0, 0, 0) == 0 && stat_of("tree/l").st_mtime == 0);
	CHECK(set(10, MTIME, 0, 0, 0) == 0 && stat_of("tree/f").st_mtime > 1000000);
	/* Only to the program's user, who is ours. */
	CHECK(set(10, UID, 0, 4242, 0) == 0 && stat_of("tree/f").st_uid == geteuid());
	CHECK(set(10, GID, 0, 4243, 0) == 0 && stat_of("tree/f").st_gid == getegid());
	CHECK(set(10, UID, 0, 0, 0) == EPERM && set(10, UID, 0, 1, 0) == EPERM);
	CHECK(set(10, GID, 0, 4242, 0) == EPERM && set(10, 1 << 9, 0, 0, 0) == EINVAL);
	CHECK(set(0, MODE, 0777, 0, 0) == EROFS);
	stop();
}

static bool lists(uint32_t dir, const char *want)
{
	bool found = false;

	CHECK(client_walk(&c, dir, 99, "") == 0 && client_open(&c, 99, O_RDONLY) == 0);
	client_begin(&c, P9_TREADDIR);
	fs_put32(&c.w, 99);
	fs_put64(&c.w, 0);
	fs_put32(&c.w, 60000);
	CHECK(client_call(&c) == 0);
	fs_get32(&c.r);
	while (c.r.left) {
		struct fs_str name;

		c.r.at += 13 + 8 + 1;
		c.r.left -= 13 + 8 + 1;
		name = fs_get_str(&c.r);
		found |= name.len == strlen(want) && !memcmp(name.s, want, name.len);
	}
	CHECK(!c.r.bad && client_clunk(&c, 99) == 0);
	return found;
}

/* git/hooks is denied; out is another export's; all of vault is denied but vault/open. */
static struct fs_cut cuts[] = { { "git/hooks", "p:4", true },
				{ "out", "p:5", false },
				{ "vault", "p:6", true },
				{ "vault/open", "p:7", false } };

static void try_to_take(const char *name, int err)
{
	CHECK(client_rename(&c, 1, name, 1, "x") == err);
	CHECK(client_rename(&c, 1, "evil", 1, name) == err);
	CHECK(client_unlink(&c, 1, name, 0) == err &&
	      client_unlink(&c, 1, name, AT_REMOVEDIR) == err);
	CHECK(client_symlink(&c, 1, name, "evil") == err);
	CHECK(client_walk(&c, 1, 60, "evil/f") == 0 && client_link(&c, 1, 60, name) == err);
	CHECK(client_clunk(&c, 60) == 0 && client_walk(&c, 1, 60, "") == 0);
	CHECK(client_create(&c, 60, name, O_CREAT | O_RDWR, 0644) == err);
	CHECK(client_clunk(&c, 60) == 0);
}

static void test_cuts(void)
{
	CHECK(system("mkdir -p tree/git/hooks tree/out tree/vault/open tree/vault/shut "
		     "tree/evil/hooks") == 0);
	write_file("tree/git/hooks/h", "secret");
	write_file("tree/git/config", "c");
	write_file("tree/vault/key", "secret");
	write_file("tree/evil/f", "");
	write_file("tree/out/o", "");
	exports[0].cuts = cuts;
	exports[0].nr_cuts = 4;
	start(-1);
	/* Hidden, for whatever is done with the name. */
	CHECK(client_walk(&c, 1, 10, "git") == 0 && client_walk(&c, 10, 11, "hooks") == ENOENT);
	CHECK(client_walk(&c, 1, 11, "git/hooks/h") == 0 && fs_get16(&c.r) == 1);
	CHECK(!lists(10, "hooks") && lists(10, "config"));
	CHECK(client_mkdir(&c, 10, "hooks", 0755) == EACCES);
	CHECK(client_rename(&c, 1, "evil", 10, "hooks") == EACCES);
	CHECK(client_rename(&c, 10, "hooks", 1, "x") == EACCES);
	CHECK(client_unlink(&c, 10, "hooks", AT_REMOVEDIR) == EACCES);
	CHECK(client_symlink(&c, 10, "hooks", "../evil") == EACCES);
	/* What leads there keeps its name; the rest of it is ordinary. */
	try_to_take("git", EBUSY);
	CHECK(client_mkdir(&c, 1, "git", 0755) == EEXIST);
	CHECK(client_rename(&c, 10, "config", 10, "config2") == 0);
	CHECK(client_mkdir(&c, 10, "hooks2", 0755) == 0);
	/* Another export's: it can be seen, as what is to be mounted over. */
	CHECK(client_walk(&c, 1, 12, "out") == 0 && client_walk(&c, 12, 13, "o") == ENOENT);
	CHECK(lists(1, "out") && !lists(12, "o"));
	try_to_take("out", EBUSY);
	CHECK(client_mkdir(&c, 12, "x", 0755) == EBUSY && set(12, MODE, 0777, 0, 0) == EBUSY);
	CHECK(client_unlink(&c, 12, "o", 0) == EBUSY);
	/* Denied, but for the way to another export. */
	CHECK(client_walk(&c, 1, 14, "vault") == 0 && client_walk(&c, 14, 15, "open") == 0);
	CHECK(client_walk(&c, 14, 16, "key") == ENOENT &&
	      client_walk(&c, 14, 16, "shut") == ENOENT);
	CHECK(lists(14, "open") && !lists(14, "key") && !lists(14, "shut"));
	CHECK(client_mkdir(&c, 14, "new", 0755) == EACCES && set(14, MODE, 0777, 0, 0) == EACCES);
	try_to_take("vault", EACCES);
	/* What is not there on the host cannot be made under the way's name either. */
	CHECK(rename("tree/git", "tree/was") == 0);
	CHECK(client_rename(&c, 1, "evil", 1, "git") == EBUSY);
	CHECK(client_symlink(&c, 1, "git", "evil") == EBUSY);
	CHECK(client_mkdir(&c, 1, "git", 0755) == 0 && client_walk(&c, 1, 17, "git") == 0);
	CHECK(client_mkdir(&c, 17, "hooks", 0755) == EACCES);
	/* Names that the host's file system takes for the same: here, a hard link. */
	CHECK(link("tree/was/config2", "tree/git/hooks") == 0);
	CHECK(link("tree/was/config2", "tree/git/HOOKS") == 0);
	CHECK(client_walk(&c, 17, 18, "HOOKS") == ENOENT);
	CHECK(client_rename(&c, 17, "HOOKS", 17, "x") == EACCES);
	stop();
	exports[0].nr_cuts = 0;
}

/* A denied directory is closed on the whole way to a deeper rule, not only at its top. */
static void test_deep_cuts(void)
{
	static struct fs_cut deep[] = { { "s", "p:4", true }, { "s/a/b/public", "p:5", false } };

	CHECK(system("mkdir -p tree/s/a/b/public tree/s/a/shut && cd tree/s/a &&"
		     "for f in key b/key; do echo secret >$f; done; echo >../../f") == 0);
	exports[0].cuts = deep;
	exports[0].nr_cuts = 2;
	start(-1);
	CHECK(client_walk(&c, 1, 9, "f") == 0);
	for (uint32_t depth = 0; depth < 2; depth++) {
		static const char *const way[] = { "s/a", "s/a/b" }, *const next[] = { "b",
										       "public" };
		uint32_t dir = 10 + depth;

		CHECK(client_walk(&c, 1, dir, way[depth]) == 0);
		CHECK(client_walk(&c, dir, 20, "key") == ENOENT && !lists(dir, "key"));
		CHECK(client_walk(&c, dir, 20, "shut") == ENOENT && !lists(dir, "shut"));
		CHECK(lists(dir, next[depth]));
		CHECK(client_mkdir(&c, dir, "new", 0755) == EACCES);
		CHECK(client_symlink(&c, dir, "new", "x") == EACCES);
		CHECK(client_link(&c, dir, 9, "new") == EACCES);
		CHECK(client_walk(&c, dir, 20, "") == 0);
		CHECK(client_create(&c, 20, "new", O_CREAT | O_RDWR, 0644) == EACCES);
		CHECK(client_clunk(&c, 20) == 0);
		CHECK(client_unlink(&c, dir, "key", 0) == EACCES);
		CHECK(client_rename(&c, dir, "key", 1, "x") == EACCES);
		CHECK(client_rename(&c, 1, "f", dir, "x") == EACCES);
		CHECK(client_rename(&c, dir, next[depth], 1, "x") == EACCES);
		CHECK(set(dir, MODE, 0777, 0, 0) == EACCES);
	}
	CHECK(client_walk(&c, 1, 20, "s/a/b/public") == 0 && client_link(&c, 1, 20, "x") == EXDEV);
	stop();
	exports[0].nr_cuts = 0;
}

/* A denied path that is longer than any can be said: whose it is is found all the same. */
static void test_long_cut(void)
{
	static char way[2048] = "s", place[2060], name[FS_NAME_MAX + 1], command[4096];
	static struct fs_cut shut[] = { { "s", "p:4", true }, { way, "p:5", false } };
	const char *at = exports[0].at;

	memset(name, 'k', FS_NAME_MAX);
	memset(place, 'x', sizeof(place) - 1);
	place[0] = '/';
	for (int i = 0; i < 7; i++)
		snprintf(way + strlen(way), sizeof(way) - strlen(way), "/%s", name);
	strcat(way, "/public");
	snprintf(command, sizeof(command), "mkdir -p tree/%s", way);
	CHECK(system(command) == 0);
	exports[0].at = place;
	exports[0].cuts = shut;
	exports[0].nr_cuts = 2;
	start(-1);
	*strrchr(way, '/') = '\0';
	CHECK(client_walk(&c, 1, 10, way) == 0);
	name[0] = 'x';
	CHECK(client_walk(&c, 10, 11, name) == ENOENT);
	stop();
	exports[0].at = at;
	exports[0].nr_cuts = 0;
}

/* All that changes files, on what is not the guest's to change yet. */
static void try_to_change(uint32_t dir, int err)
{
	CHECK(client_walk(&c, dir, 70, "") == 0 && client_walk(&c, dir, 71, "f") == 0);
	CHECK(client_create(&c, 70, "new", O_CREAT | O_RDWR, 0644) == err);
	CHECK(client_clunk(&c, 70) == 0 && client_walk(&c, dir, 70, "") == 0);
	CHECK(client_create(&c, 70, "f", O_CREAT | O_RDWR, 0644) == err);
	CHECK(client_mkdir(&c, dir, "new", 0755) == err);
	CHECK(client_symlink(&c, dir, "new", "f") == err);
	CHECK(client_link(&c, dir, 71, "new") == err);
	CHECK(client_rename(&c, dir, "f", dir, "new") == err);
	CHECK(client_unlink(&c, dir, "f", 0) == err);
	CHECK(client_unlink(&c, dir, "d", AT_REMOVEDIR) == err);
	CHECK(set(71, MODE, 0777, 0, 0) == err && set(71, SIZE, 0, 0, 0) == err);
	CHECK(set(71, UID, 0, 4242, 0) == err && set(dir, MODE, 0700, 0, 0) == err);
	CHECK(client_open(&c, 71, O_WRONLY) == err && client_open(&c, 71, O_RDWR) == err);
	CHECK(client_open(&c, 71, O_RDONLY | O_TRUNC) == err);
	CHECK(client_clunk(&c, 70) == 0 && client_clunk(&c, 71) == 0);
}

/* An overlay that is committed: the guest writes before the program has succeeded. */
static void test_gate(void)
{
	char buf[8];

	write_file("tree/f", "before");
	CHECK(mkdir("tree/d", 0755) == 0 && mkdir("other/d", 0755) == 0);
	exports[0].gated = true;
	start(-1);
	try_to_change(1, EROFS);
	/* It can be read, and a file that was opened for that is not for writing later. */
	CHECK(client_walk(&c, 1, 10, "f") == 0 && client_open(&c, 10, O_RDONLY) == 0);
	CHECK(client_read(&c, 10, 0, buf, 8) == 6 && !memcmp(buf, "before", 6));
	CHECK(client_write(&c, 10, 0, "x", 1) == -EBADF);
	/* What is rw by another rule is not held up. */
	CHECK(client_mkdir(&c, 2, "d/x", 0755) == EINVAL && client_mkdir(&c, 2, "x", 0755) == 0);
	try_to_change(1, EROFS);
	CHECK(system("test \"$(find tree | sort | tr '\\n' ' ')\" = 'tree tree/d tree/f '") == 0);
	CHECK(has("tree/f", "before") && (stat_of("tree/f").st_mode & 0777) == 0644);
	/* Nothing but the host's byte opens it. */
	CHECK(write(c.gate, "", 1) == 1);
	CHECK(client_mkdir(&c, 1, "new", 0755) == 0 &&
	      client_unlink(&c, 1, "d", AT_REMOVEDIR) == 0);
	CHECK(client_write(&c, 10, 0, "x", 1) == -EBADF);
	CHECK(client_walk(&c, 1, 11, "f") == 0 && client_open(&c, 11, O_WRONLY | O_TRUNC) == 0);
	CHECK(client_write(&c, 11, 0, "after", 5) == 5 && has("tree/f", "after"));
	CHECK(client_mkdir(&c, 3, "x", 0755) == EROFS); /* what is read-only stays so */
	stop();

	/* The launcher is gone, and the end of the pipe is no word of its. */
	write_file("tree/f", "before");
	CHECK(mkdir("tree/d", 0755) == 0);
	start(-1);
	close(c.gate);
	c.gate = -1;
	try_to_change(1, EROFS);
	stop();
	exports[0].gated = false;
}

/* Blocks that the guest is told are left, as its df has them. */
static uint64_t statfs_left(uint32_t fid)
{
	uint32_t size;

	CHECK(client_simple(&c, P9_TSTATFS, fid) == 0);
	fs_get32(&c.r); /* type */
	size = fs_get32(&c.r);
	fs_get64(&c.r); /* of all, and free ones */
	fs_get64(&c.r);
	return fs_get64(&c.r) * size / FS_BLOCK;
}

static void test_quota(void)
{
	static char data[3 * FS_BLOCK];
	int i;

	exports[0].quota = 10 * FS_BLOCK;
	start(-1);
	CHECK(client_walk(&c, 1, 10, "") == 0);
	CHECK(client_create(&c, 10, "f", O_CREAT | O_RDWR, 0644) == 0); /* 1 for the name */
	for (i = 0; i < 100; i++)					/* 1 in all */
		CHECK(client_write(&c, 10, 10 * i, data, 10) == 10);
	CHECK(client_write(&c, 10, FS_BLOCK, data, 3 * FS_BLOCK) == 3 * FS_BLOCK);
	CHECK(client_write(&c, 10, 4 * FS_BLOCK, data, 1) == 1); /* a whole one */
	/* Holes cost what they may take. */
	CHECK(client_write(&c, 10, 1UL << 40, data, 1) == -EDQUOT);
	CHECK(set(10, SIZE, 0, 0, 1UL << 40) == EDQUOT && getattr_size(10) == 4 * FS_BLOCK + 1);
	CHECK(client_walk(&c, 1, 11, "f") == 0 && set(11, SIZE, 0, 0, 1UL << 40) == EDQUOT);
	CHECK(statfs_left(1) == 4);
	CHECK(set(10, SIZE, 0, 0, 0) == 0); /* gives nothing back */
	CHECK(client_mkdir(&c, 1, "d", 0755) == 0 && client_symlink(&c, 1, "l", "x") == 0);
	CHECK(client_write(&c, 10, 0, data, 3 * FS_BLOCK) == -EDQUOT);
	CHECK(client_write(&c, 10, 0, data, 2 * FS_BLOCK) == 2 * FS_BLOCK);
	CHECK(client_write(&c, 10, 0, data, 1) == -EDQUOT &&
	      client_mkdir(&c, 1, "e", 0755) == EDQUOT);
	/* Another export has its own. */
	CHECK(client_mkdir(&c, 2, "e", 0755) == 0);
	CHECK(client_unlink(&c, 1, "f", 0) == 0 && client_rename(&c, 1, "d", 1, "e") == 0);
	stop();
	exports[0].quota = 0;
}

/* The guest's own limit, of one who does not keep it. */
static void test_file_size(void)
{
	static char data[20];

	exports[0].file_size = 100;
	start(-1);
	CHECK(client_walk(&c, 1, 10, "") == 0);
	CHECK(client_create(&c, 10, "f", O_CREAT | O_RDWR, 0644) == 0);
	CHECK(client_write(&c, 10, 80, data, 20) == 20);
	CHECK(client_write(&c, 10, 81, data, 20) == -EFBIG &&
	      client_write(&c, 10, 100, data, 1) == -EFBIG);
	CHECK(client_write(&c, 10, INT64_MAX - 20, data, 20) == -EFBIG);
	CHECK(set(10, SIZE, 0, 0, 101) == EFBIG && set(10, SIZE, 0, 0, INT64_MAX) == EFBIG);
	CHECK(client_walk(&c, 1, 11, "f") == 0 && set(11, SIZE, 0, 0, 101) == EFBIG);
	CHECK(getattr_size(10) == 100 && set(11, SIZE, 0, 0, 99) == 0);
	CHECK(client_walk(&c, 1, 12, "f") == 0 && client_open(&c, 12, O_WRONLY | O_APPEND) == 0);
	CHECK(client_write(&c, 12, 0, data, 1) == 1 && client_write(&c, 12, 0, data, 1) == -EFBIG);
	CHECK(client_walk(&c, 2, 13, "") == 0);
	CHECK(client_create(&c, 13, "large", O_CREAT | O_RDWR, 0644) == 0);
	CHECK(client_write(&c, 13, 1000, data, 20) == 20 && client_unlink(&c, 2, "large", 0) == 0);
	CHECK(client_unlink(&c, 1, "f", 0) == 0);
	stop();
	exports[0].file_size = 0;
}

/* Each line of the audit: printable ASCII, one object. Their number; found: those with text. */
static int audit_lines(const char *text, int *found)
{
	FILE *f = fopen("audit", "r");
	static char line[FS_LINE_MAX];
	int n = 0;

	CHECK(f);
	for (*found = 0; fgets(line, sizeof(line), f); n++) {
		size_t len = strlen(line);

		CHECK(len > 3 && line[0] == '{' && !strcmp(line + len - 2, "}\n"));
		for (size_t i = 0; i < len - 1; i++)
			CHECK(line[i] >= ' ' && line[i] <= '~');
		*found += strstr(line, text) != NULL;
	}
	fclose(f);
	return n;
}

static void test_audit(void)
{
	int audit = open("audit", O_CREAT | O_TRUNC | O_WRONLY, 0600), found, n, i;
	char name[32];

	CHECK(audit >= 0);
	start(audit);
	CHECK(client_mkdir(&c, 1, "a\"}\n{\"event\": \"forged\\", 0755) == 0);
	CHECK(client_mkdir(&c, 1, "\xff\xc3\xa9\xf0\x9f\x98\x80\xed\xa0\x80", 0755) == 0);
	CHECK(client_walk(&c, 1, 10, "") == 0 &&
	      client_create(&c, 10, "f", O_CREAT | O_RDWR, 0644) == 0);
	CHECK(client_walk(&c, 1, 11, "f") == 0 && client_open(&c, 11, O_WRONLY) == 0);
	CHECK(client_rename(&c, 1, "f", 1, "g") == 0 && client_unlink(&c, 1, "g", 0) == 0);
	CHECK(client_mkdir(&c, 3, "x", 0755) == EROFS && client_mkdir(&c, 3, "x", 0755) == EROFS);
	stop();
	n = audit_lines("\"path\": \"/w/a\\\"}\\u000a{\\\"event\\\": \\\"forged\\\\\"", &found);
	CHECK(n == 8 && found == 1);
	audit_lines("\"/w/\\udcff\\u00e9\\ud83d\\ude00\\udced\\udca0\\udc80\"", &found);
	CHECK(found == 1);
	audit_lines("\"event\": \"open for writing\", \"path\": \"/w/f\", ", &found);
	CHECK(found == 1);
	audit_lines("\"event\": \"rename\", \"path\": \"/w/f\", ", &found);
	CHECK(found == 1);
	audit_lines("\"event\": \"unlink\", \"path\": \"/w/g\", ", &found);
	CHECK(found == 1);
	audit_lines("\"event\": \"refused\", \"op\": \"create\", \"path\": \"ro/x\", "
		    "\"host\": \"ro/x\", \"rule\": \"p:3\"",
		    &found);
	CHECK(found == 1); /* once */
	audit_lines("\"suggestion\": \"change the rule \\\"p:3\\\" to rw\"", &found);
	CHECK(found == 1);

	CHECK(ftruncate(audit, 0) == 0 && lseek(audit, 0, SEEK_SET) == 0);
	start(audit);
	for (i = 0; i < FS_DENIALS_MAX + 5; i++) {
		snprintf(name, sizeof(name), "%d", i);
		CHECK(client_mkdir(&c, 3, name, 0755) == EROFS);
	}
	CHECK(client_mkdir(&c, 1, "x", 0755) == 0); /* changes are counted apart */
	stop();
	CHECK(audit_lines("\"more_refused\": 5}", &found) == FS_DENIALS_MAX + 2 && found == 1);
	close(audit);

	CHECK(system("rm audit") == 0);
}

static int change(int which)
{
	switch (which) {
	case 0:
		return client_mkdir(&c, 1, "x", 0755);
	case 1:
		return client_symlink(&c, 1, "x", "f");
	case 2:
		return client_create(&c, 1, "x", O_CREAT | O_RDWR, 0644);
	case 3:
		return client_link(&c, 1, 10, "x");
	case 4:
		return client_rename(&c, 1, "f", 1, "x");
	case 5:
		return client_unlink(&c, 1, "f", 0);
	case 6:
		return client_open(&c, 10, O_WRONLY | O_TRUNC);
	case 7:
		return client_create(&c, 1, "f", O_CREAT | O_RDWR | O_TRUNC, 0644);
	case 8:
		return set(10, SIZE, 0, 0, 0);
	}
	return -1;
}

/* What is not recorded is not done; what fails after it was recorded says so. */
static void test_audit_comes_first(void)
{
	static struct fs_log log;
	static struct fs_node node = { .is_export = true, .name = "" };
	const struct fs_act act = { "create", &node, "x" };
	struct fs_share share = { .export = &exports[0] };
	int audit, found, i;

	for (i = 0; i < 9; i++) {
		audit = open("/dev/full", O_WRONLY);
		write_file("tree/f", "f");
		start(audit);
		CHECK(client_walk(&c, 1, 10, "f") == 0 && change(i) == ECONNRESET);
		CHECK(WEXITSTATUS(client_stop(&c)) == 1);
		CHECK(has("tree/f", "f") && access("tree/x", F_OK));
		close(audit);
	}

	audit = open("audit", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	start(audit);
	CHECK(client_mkdir(&c, 1, "d", 0755) == 0 && client_mkdir(&c, 1, "d", 0755) == EEXIST);
	CHECK(client_unlink(&c, 1, "no", 0) == ENOENT);
	CHECK(client_rename(&c, 1, "no", 1, "x") == ENOENT);
	CHECK(client_walk(&c, 1, 10, "f") == 0 && client_link(&c, 1, 10, "hard") == 0);
	stop();
	CHECK(audit_lines("\"event\": \"failed\", \"op\": \"create\", \"path\": \"/w/d\", "
			  "\"why\": \"File exists\"",
			  &found) == 9 &&
	      found == 1);
	audit_lines("\"event\": \"failed\", \"op\": \"unlink\", \"path\": \"/w/no\"", &found);
	CHECK(found == 1);
	audit_lines("\"event\": \"link\", \"path\": \"/w/f\", \"host\": \"tree/f\", "
		    "\"to\": \"/w/hard\"",
		    &found);
	CHECK(found == 1);

	/* Full: refused, and counted. */
	CHECK(ftruncate(audit, 0) == 0 && lseek(audit, 0, SEEK_SET) == 0);
	node.share = &share;
	fs_log_init(&log, audit, -1);
	log.written = FS_AUDIT_MAX - 1;
	CHECK(fs_log_intent(&log, &act, NULL) == 0);
	CHECK(fs_log_intent(&log, &act, NULL) == -ENOSPC);
	CHECK(fs_log_intent(&log, &act, NULL) == -ENOSPC);
	fs_log_end(&log);
	CHECK(audit_lines("\"more\": 2,", &found) == 2 && found == 1);
	CHECK(close(audit) == 0 && system("rm audit") == 0);
}

/* As many descriptors as the server may have, and a file that one more would open. */
static void test_too_many_open(void)
{
	uint32_t i;
	int err = 0;

	start(-1);
	write_file("tree/f", "text");
	for (i = 10; !err && i < 100000; i++) {
		CHECK(client_walk(&c, 1, i, "f") == 0);
		err = client_open(&c, i, O_RDONLY);
	}
	CHECK(err == EMFILE && client_open(&c, i - 1, O_WRONLY | O_TRUNC) == EMFILE);
	CHECK(client_walk(&c, 1, i, "") == 0);
	CHECK(client_create(&c, i, "new", O_CREAT | O_RDWR, 0644) == EMFILE);
	CHECK(has("tree/f", "text") && access("tree/new", F_OK));
	CHECK(client_clunk(&c, 10) == 0 && client_open(&c, i - 1, O_RDONLY) == 0);
	stop();
}

/* What a guest can have us remember, and how far down. */
static void test_bounds(void)
{
	uint32_t i;
	int err = 0;

	start(-1);
	write_file("tree/f", "text");
	for (i = 10; !err; i++) {
		CHECK(i < 2 * FS_FIDS_MAX);
		err = client_walk(&c, 1, i, "f");
	}
	CHECK(err == ENFILE && i >= FS_FIDS_MAX);
	CHECK(client_clunk(&c, 10) == 0 && client_walk(&c, 1, 10, "f") == 0);
	stop();
	start(-1);
	CHECK(client_walk(&c, 1, 10, "") == 0);
	for (i = 10, err = 0; !err; i++) {
		CHECK(i < 2 * FS_DEPTH_MAX);
		err = client_mkdir(&c, i, "d", 0755);
		CHECK(err || client_walk(&c, i, i + 1, "d") == 0);
	}
	CHECK(err == ENAMETOOLONG && i > FS_DEPTH_MAX);
	CHECK(client_mkdir(&c, i - 2, "e", 0755) == 0);
	stop();
}

/* One session moves what the other has looked up: no record names another file than is opened. */
static void test_two_sessions(void)
{
	int audit = open("audit", O_CREAT | O_TRUNC | O_WRONLY, 0600), found;
	char buf[8];

	start(audit);
	write_file("tree/victim", "victim");
	write_file("tree/other", "other");
	CHECK(mkdir("tree/d", 0755) == 0);
	client_use(&c, 0);
	CHECK(client_version(&c, 65560) == 0 && client_attach(&c, 0) == 0);
	CHECK(client_walk(&c, 0, 1, "0") == 0 && client_walk(&c, 1, 10, "victim") == 0);
	CHECK(client_walk(&c, 1, 11, "d") == 0 && client_walk(&c, 1, 12, "victim") == 0);
	client_use(&c, 1);
	CHECK(client_walk(&c, 1, 10, "other") == 0); /* fids are each session's own */
	CHECK(client_rename(&c, 1, "victim", 1, "x") == 0);
	CHECK(client_rename(&c, 1, "other", 1, "victim") == 0);
	CHECK(client_rename(&c, 1, "d", 1, "e") == 0 && client_mkdir(&c, 1, "d", 0755) == 0);
	client_use(&c, 0);
	CHECK(client_open(&c, 10, O_WRONLY | O_TRUNC) == ESTALE &&
	      set(10, SIZE, 0, 0, 0) == ESTALE);
	CHECK(client_link(&c, 1, 10, "hard") == ESTALE &&
	      client_mkdir(&c, 11, "s", 0755) == ESTALE);
	CHECK(client_open(&c, 12, O_RDONLY) == ESTALE);
	CHECK(client_walk(&c, 1, 13, "victim") == 0 && client_open(&c, 13, O_RDWR) == 0);
	CHECK(client_read(&c, 13, 0, buf, 8) == 5 && has("tree/x", "victim"));
	/* A session that starts again leaves the other's alone. */
	CHECK(client_version(&c, 65560) == 0);
	client_use(&c, 1);
	CHECK(client_open(&c, 10, O_RDWR) == 0 && client_write(&c, 10, 0, "O", 1) == 1);
	CHECK(has("tree/victim", "Other"));
	stop();
	audit_lines("\"event\": \"open for writing\", \"path\": \"/w/victim\"", &found);
	CHECK(found == 2 && close(audit) == 0 && system("rm audit") == 0);
}

/* What a host process took out of the export is out of reach, whatever is still open on it. */
static void test_moved_out(void)
{
	start(-1);
	CHECK(mkdir("tree/d", 0755) == 0);
	write_file("tree/d/f", "text");
	CHECK(client_walk(&c, 1, 10, "d") == 0 && client_walk(&c, 10, 11, "f") == 0);
	CHECK(rename("tree/d", "moved") == 0);
	CHECK(client_open(&c, 11, O_RDWR) == ENOENT && set(11, MODE, 0777, 0, 0) == ENOENT);
	CHECK(client_open(&c, 10, O_RDONLY) == ENOENT);
	CHECK(client_mkdir(&c, 10, "x", 0755) == ENOENT && client_unlink(&c, 10, "f", 0) == ENOENT);
	CHECK(client_rename(&c, 10, "f", 1, "f") == ENOENT &&
	      client_link(&c, 1, 11, "f") == ENOENT);
	CHECK(has("moved/f", "text") && rename("moved", "tree/d") == 0);
	CHECK(client_open(&c, 11, O_RDWR) == 0);
	stop();
}

/* What is mounted beneath an export is the host's. */
static void test_mounts(void)
{
	int audit, found;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		puts("no mounts for us here: not tested");
		return;
	}
	CHECK(mkdir("tree/m", 0755) == 0 && mount("x", "tree/m", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("tree/m/d", 0755) == 0);
	write_file("tree/one", "over");
	write_file("tree/two", "under");
	CHECK(mount("tree/one", "tree/two", NULL, MS_BIND, NULL) ==
	      0); /* of the same file system */
	CHECK(mkdir("tree/out", 0755) == 0 && mount("x", "tree/out", "tmpfs", 0, NULL) == 0);
	write_file("tree/out/inside", "of another rule");
	exports[0].cuts = cuts;
	exports[0].nr_cuts = sizeof(cuts) / sizeof(cuts[0]);
	audit = open("audit", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	start(audit);
	CHECK(client_walk(&c, 1, 10, "m") == EACCES && client_walk(&c, 1, 10, "two") == EACCES);
	CHECK(client_walk(&c, 1, 10, "") == 0);
	CHECK(client_create(&c, 10, "two", O_CREAT | O_RDWR | O_TRUNC, 0644) == EXDEV);
	CHECK(client_unlink(&c, 1, "m", AT_REMOVEDIR) == EBUSY && has("tree/two", "over"));
	/* But what has a rule of its own is seen, and that is all. */
	CHECK(client_walk(&c, 1, 11, "out") == 0 && client_walk(&c, 11, 12, "inside") == ENOENT);
	CHECK(lists(1, "out") && !lists(11, "inside"));
	CHECK(client_mkdir(&c, 11, "x", 0755) == EBUSY);
	CHECK(umount2("tree/out", MNT_DETACH) == 0);
	exports[0].nr_cuts = 0;
	CHECK(umount2("tree/m", MNT_DETACH) == 0 && umount2("tree/two", MNT_DETACH) == 0);
	CHECK(has("tree/two", "under"));
	stop();
	audit_lines("\"event\": \"refused\", \"op\": \"lookup\", \"path\": \"/w/m\"", &found);
	CHECK(found == 1 && close(audit) == 0 && system("rm audit") == 0);
}

static int lock(uint8_t type, uint32_t fid, uint8_t how)
{
	client_begin(&c, type);
	fs_put32(&c.w, fid);
	fs_put8(&c.w, how);
	if (type == P9_TLOCK)
		fs_put32(&c.w, 0);
	fs_put64(&c.w, 10);
	fs_put64(&c.w, 20);
	fs_put32(&c.w, 77);
	fs_put_str(&c.w, "me", 2);
	return client_call(&c);
}

/* The guest's kernel keeps them: each is granted, and the host's file has none. */
static void test_locks(void)
{
	const struct flock all = { .l_type = F_WRLCK };
	int fd;

	start(-1);
	write_file("tree/f", "f");
	CHECK(client_walk(&c, 1, 10, "f") == 0 && client_open(&c, 10, O_RDWR) == 0);
	for (uint8_t how = F_RDLCK; how <= F_UNLCK; how++) {
		CHECK(lock(P9_TLOCK, 10, how) == 0 && fs_get8(&c.r) == 0 && !c.r.left);
		fd = open("tree/f", O_RDWR);
		CHECK(fcntl(fd, F_SETLK, &all) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
		close(fd);
	}
	CHECK(lock(P9_TGETLOCK, 10, F_WRLCK) == 0 && fs_get8(&c.r) == F_UNLCK);
	CHECK(fs_get64(&c.r) == 10 && fs_get64(&c.r) == 20 && fs_get32(&c.r) == 77);
	CHECK(fs_get_str(&c.r).len == 2 && !c.r.left);
	CHECK(lock(P9_TLOCK, 99, F_WRLCK) == EBADF && lock(P9_TGETLOCK, 99, F_WRLCK) == EBADF);
	stop();
}

/* A host process swaps a directory that is written to with a link to the outside. */
static void test_races(void)
{
	pid_t racer;
	int i, done = 0;

	CHECK(mkdir("tree/a", 0755) == 0 && mkdir("outside", 0755) == 0);
	write_file("outside/victim", "untouched");
	write_file("tree/a/victim", "");
	CHECK(symlink("../outside", "tree/b") == 0);
	racer = fork();
	CHECK(racer >= 0);
	while (racer == 0) {
		renameat2(AT_FDCWD, "tree/a", AT_FDCWD, "tree/b", RENAME_EXCHANGE);
		rename("tree/a", "moved");
		rename("moved", "tree/a");
		rename("tree/b", "moved");
		rename("moved", "tree/b");
	}
	start(-1);
	for (i = 0; i < 2000; i++) {
		static const char *const dirs[] = { "a", "b" };

		if (client_walk(&c, 1, 10, dirs[i % 2]))
			continue;
		done += !client_mkdir(&c, 10, "x", 0755);
		client_rename(&c, 10, "x", 10, "y");
		client_symlink(&c, 10, "victim2", "/etc/passwd");
		client_unlink(&c, 10, "y", AT_REMOVEDIR);
		client_unlink(&c, 10, "victim2", 0);
		if (!client_walk(&c, 10, 11, "victim")) {
			set(11, MODE, 0777, 0, 0);
			set(11, SIZE, 0, 0, 100);
			client_link(&c, 10, 11, "victim3");
			if (!client_open(&c, 11, O_WRONLY | O_TRUNC))
				client_write(&c, 11, 0, "overwritten", 11);
			client_clunk(&c, 11);
		}
		client_unlink(&c, 10, "victim3", 0);
		if (!client_create(&c, 10, "new", O_CREAT | O_WRONLY | O_TRUNC, 0644))
			client_write(&c, 10, 0, "new", 3);
		client_clunk(&c, 10);
		client_rename(&c, 1, "a", 1, "c"); /* the guest moves them, too */
		client_rename(&c, 1, "c", 1, "a");
	}
	kill(racer, SIGKILL);
	CHECK(waitpid(racer, NULL, 0) == racer && done > 20);
	CHECK(has("outside/victim", "untouched") && stat_of("outside/victim").st_nlink == 1);
	CHECK((stat_of("outside/victim").st_mode & 0777) == 0644);
	CHECK(system("test $(ls -A outside | wc -l) = 1 && rm -rf outside moved") == 0);
	stop();
}

static unsigned long parameter(const char *name, unsigned long value)
{
	return getenv(name) ? strtoul(getenv(name), NULL, 0) : value;
}

static void test_many_files(void)
{
	unsigned long n = parameter("VMBOX_TEST_FILES", 10000), i;
	char name[32];

	start(-1);
	CHECK(client_mkdir(&c, 1, "many", 0755) == 0 && client_walk(&c, 1, 10, "many") == 0);
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%lu", i);
		CHECK(client_walk(&c, 10, 100 + i, "") == 0);
		CHECK(client_create(&c, 100 + i, name, O_CREAT | O_EXCL | O_WRONLY, 0644) == 0);
		CHECK(client_write(&c, 100 + i, 0, name, strlen(name)) > 0);
		CHECK(client_clunk(&c, 100 + i) == 0);
		CHECK(client_walk(&c, 10, 100 + i, name) == 0); /* the guest's cache */
	}
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%lu", i);
		CHECK(getattr_size(100 + i) == strlen(name));
		CHECK(client_unlink(&c, 10, name, 0) == 0 && client_clunk(&c, 100 + i) == 0);
	}
	CHECK(client_unlink(&c, 1, "many", AT_REMOVEDIR) == 0);
	stop();
}

static void test_large_file(void)
{
	static char data[60000], back[60000];
	uint64_t size = parameter("VMBOX_TEST_MIB", 64) << 20, at;

	start(-1);
	CHECK(client_walk(&c, 1, 10, "") == 0);
	CHECK(client_create(&c, 10, "large", O_CREAT | O_EXCL | O_RDWR, 0644) == 0);
	for (at = 0; at < size; at += sizeof(data)) {
		memcpy(data, &at, sizeof(at));
		CHECK(client_write(&c, 10, at, data, sizeof(data)) == sizeof(data));
	}
	for (at = 0; at < size; at += sizeof(data)) {
		CHECK(client_read(&c, 10, at, back, sizeof(back)) == sizeof(back));
		CHECK(!memcmp(&at, back, sizeof(at)));
	}
	/* And beyond 2 and 4 GiB, whatever the size above was. */
	CHECK(set(10, SIZE, 0, 0, 0) == 0);
	for (at = (1ULL << 31) - 3; at < 1ULL << 34; at *= 2) {
		CHECK(client_write(&c, 10, at, "123456", 6) == 6 && getattr_size(10) == at + 6);
		CHECK(client_read(&c, 10, at, back, 9) == 6 && !memcmp(back, "123456", 6));
	}
	stop();
}

int main(void)
{
	char command[96];

	CHECK(mkdtemp(top) && chdir(top) == 0);
	CHECK(mkdir("tree", 0755) == 0 && mkdir("other", 0755) == 0 && mkdir("ro", 0755) == 0);
	test_create_and_write();
	test_names();
	test_rename();
	test_unlinked();
	test_attributes();
	test_cuts();
	test_deep_cuts();
	test_long_cut();
	test_gate();
	test_quota();
	test_file_size();
	test_audit();
	test_audit_comes_first();
	test_too_many_open();
	test_bounds();
	test_two_sessions();
	test_moved_out();
	test_mounts();
	test_locks();
	test_races();
	test_many_files();
	test_large_file();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command) ? 1 : 0;
}
