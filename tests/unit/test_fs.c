// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file server, from a client that behaves and from one that does not. Runs
 * the session without confinement, under ASan; test_fs_confine.c has the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check_or_exit.h"
#include "p9_client.h"

static char top[] = "/tmp/vmbox-fs-XXXXXX";
static char tree[64], file[64];
static struct client c;

static void serve(const struct fs_config *config)
{
	_exit(fs_session_run(config) ? 1 : 0);
}

static void make_tree(void)
{
	CHECK(mkdtemp(top) && chdir(top) == 0);
	CHECK(mkdir("tree", 0755) == 0 && mkdir("tree/dir", 0755) == 0);
	write_file("secret", "secret");
	write_file("tree/hello", "hello, guest");
	write_file("tree/dir/inner", "inner");
	CHECK(symlink("hello", "tree/link") == 0);
	CHECK(symlink("../secret", "tree/out") == 0);
	CHECK(symlink("/proc/self/root", "tree/magic") == 0);
	CHECK(mkfifo("tree/fifo", 0644) == 0);
	snprintf(tree, sizeof(tree), "%s/tree", top);
	snprintf(file, sizeof(file), "%s/tree/hello", top);
}

/* Exports: 0 the tree, 1 one file of it, 2 /proc. Fid 0: the 9P root. */
static void start(void)
{
	const struct fs_export exports[] = { { .host = tree },
					     { .host = file },
					     { .host = "/proc" } };

	client_start(&c, serve, exports, 3, -1);
	CHECK(client_version(&c, 65560) == 0 && fs_get32(&c.r) == 65560);
	CHECK(client_attach(&c, 0) == 0);
}

static void stop(int status)
{
	int wstatus = client_stop(&c);

	CHECK(WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == status);
}

static void test_read(void)
{
	char buf[64];

	start();
	CHECK(client_walk(&c, 0, 1, "0/hello") == 0 && fs_get16(&c.r) == 2);
	CHECK(client_read(&c, 1, 0, buf, 64) == -EBADF); /* not open */
	CHECK(client_open(&c, 1, O_RDONLY) == 0);
	CHECK(client_open(&c, 1, O_RDONLY) == EBADF); /* twice */
	CHECK(client_read(&c, 1, 0, buf, 64) == 12 && !memcmp(buf, "hello, guest", 12));
	CHECK(client_read(&c, 1, 7, buf, 64) == 5 && !memcmp(buf, "guest", 5));
	CHECK(client_read(&c, 1, 12, buf, 64) == 0);
	CHECK(client_read(&c, 1, INT64_MAX, buf, 64) <= 0);
	CHECK(client_read(&c, 1, UINT64_MAX, buf, 64) == -EINVAL);
	CHECK(client_read(&c, 1, 0, c.out, UINT32_MAX) == 12); /* bounded by msize */
	CHECK(client_walk(&c, 0, 2, "1") == 0 && client_open(&c, 2, O_RDONLY) == 0);
	CHECK(client_read(&c, 2, 0, buf, 5) == 5);
	CHECK(client_clunk(&c, 1) == 0 && client_clunk(&c, 1) == EBADF);
	stop(0);
}

/* Lists fid with replies of at most count bytes; the number of entries. */
static int list(uint32_t fid, uint32_t count, const char *want, bool *found)
{
	uint64_t cookie = 0;
	int n = 0;

	for (;;) {
		client_begin(&c, P9_TREADDIR);
		fs_put32(&c.w, fid);
		fs_put64(&c.w, cookie);
		fs_put32(&c.w, count);
		CHECK(client_call(&c) == 0);
		CHECK(fs_get32(&c.r) == c.r.left);
		if (!c.r.left)
			return n;
		while (c.r.left) {
			struct fs_str name;

			fs_get8(&c.r);
			fs_get32(&c.r);
			fs_get64(&c.r);
			cookie = fs_get64(&c.r);
			fs_get8(&c.r);
			name = fs_get_str(&c.r);
			CHECK(!c.r.bad);
			if (name.len == strlen(want) && !memcmp(name.s, want, name.len))
				*found = true;
			n++;
		}
	}
}

static void test_readdir(void)
{
	bool found = false;
	char path[96];
	int i;

	for (i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "tree/dir/a-rather-long-file-name-%d", i);
		write_file(path, "");
	}
	start();
	CHECK(client_walk(&c, 0, 1, "0/dir") == 0 && client_open(&c, 1, O_RDONLY) == 0);
	CHECK(list(1, 65536, "inner", &found) == 303 && found);
	CHECK(list(1, 512, "inner", &found) == 303);
	client_begin(&c, P9_TREADDIR); /* too small for any entry: not to be taken for the end */
	fs_put32(&c.w, 1);
	fs_put64(&c.w, 0);
	fs_put32(&c.w, 10);
	CHECK(client_call(&c) == EINVAL);
	found = false;
	CHECK(client_walk(&c, 0, 2, "") == 0 && client_open(&c, 2, O_RDONLY) == 0);
	CHECK(list(2, 4096, "2", &found) == 5 && found);
	CHECK(list(2, 64, "2", &found) == 5);
	stop(0);
	for (i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "tree/dir/a-rather-long-file-name-%d", i);
		unlink(path);
	}
}

static uint64_t qid_path(uint32_t fid)
{
	client_begin(&c, P9_TGETATTR);
	fs_put32(&c.w, fid);
	fs_put64(&c.w, 0x7ff);
	CHECK(client_call(&c) == 0);
	fs_get64(&c.r);
	fs_get8(&c.r);
	fs_get32(&c.r);
	return fs_get64(&c.r);
}

static void test_getattr(void)
{
	struct stat st;

	start();
	CHECK(stat(file, &st) == 0);
	CHECK(client_walk(&c, 0, 1, "0/hello") == 0 && client_walk(&c, 0, 2, "1") == 0);
	CHECK(client_walk(&c, 0, 3, "0/dir") == 0 && client_walk(&c, 0, 4, "2/version") == 0);
	CHECK(qid_path(1) == qid_path(2)); /* one file by two exports */
	CHECK(qid_path(1) != qid_path(3) && qid_path(0) != qid_path(1));
	CHECK(qid_path(4) != qid_path(1));
	qid_path(1);
	CHECK(fs_get32(&c.r) == st.st_mode);
	CHECK(fs_get32(&c.r) == 4242 && fs_get32(&c.r) == 4243); /* ours is the program's */
	CHECK(fs_get64(&c.r) == st.st_nlink);
	fs_get64(&c.r);
	CHECK(fs_get64(&c.r) == 12);
	CHECK(client_simple(&c, P9_TSTATFS, 1) == 0);
	stop(0);
}

static void test_escapes(void)
{
	char buf[64];

	start();
	CHECK(client_walk(&c, 0, 1, "0") == 0);
	/* "/" separates components in client_walk(), so names with it are sent by hand. */
	CHECK(client_walk(&c, 1, 2, "..") == EINVAL);
	CHECK(client_walk(&c, 1, 2, ".") == EINVAL);
	CHECK(client_walk(&c, 0, 2, "..") == EINVAL);
	CHECK(client_walk(&c, 0, 2, "3") == ENOENT && client_walk(&c, 0, 2, "-1") == ENOENT);
	CHECK(client_walk(&c, 0, 2, "00") == ENOENT && client_walk(&c, 0, 2, " 0") == ENOENT);
	CHECK(client_walk(&c, 0, 2, "4294967296") == ENOENT);
	static const struct {
		const char *name;
		uint16_t len;
	} names[] = {
		{ "/etc", 4 }, { "dir/inner", 9 }, { "hello\0x", 7 }, { "", 0 }, { "../secret", 9 }
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		client_begin(&c, P9_TWALK);
		fs_put32(&c.w, 1);
		fs_put32(&c.w, 2);
		fs_put16(&c.w, 1);
		fs_put_str(&c.w, names[i].name, names[i].len);
		CHECK(client_call(&c) == EINVAL);
	}
	/* A walk of one name more than there is stops, and makes no fid. */
	CHECK(client_walk(&c, 1, 2, "dir/none") == 0 && fs_get16(&c.r) == 1);
	CHECK(client_simple(&c, P9_TSTATFS, 2) == EBADF);
	CHECK(client_walk(&c, 1, 2, "dir/..") == 0 && fs_get16(&c.r) == 1);
	/* Links are seen, not followed. */
	CHECK(client_walk(&c, 1, 3, "out") == 0 && client_open(&c, 3, O_RDONLY) == ELOOP);
	CHECK(client_simple(&c, P9_TREADLINK, 3) == 0 && fs_get_str(&c.r).len == 9);
	CHECK(client_walk(&c, 3, 4, "x") == ENOTDIR);
	CHECK(client_walk(&c, 1, 4, "magic/etc") == 0 && fs_get16(&c.r) == 1);
	CHECK(client_walk(&c, 1, 5, "link") == 0 && client_open(&c, 5, O_RDONLY) == ELOOP);
	CHECK(client_walk(&c, 1, 6, "hello") == 0);
	CHECK(client_simple(&c, P9_TREADLINK, 6) == EINVAL);
	CHECK(client_simple(&c, P9_TREADLINK, 0) == EINVAL);
	/* No fifo, no magic link, no way to another mount. */
	CHECK(client_walk(&c, 1, 7, "fifo") == 0 && client_open(&c, 7, O_RDONLY) == EACCES);
	CHECK(client_walk(&c, 0, 8, "2/self") == 0 && client_walk(&c, 8, 9, "root") == ENOTDIR);
	snprintf(buf, sizeof(buf), "2/%d/root", getpid());
	CHECK(client_walk(&c, 0, 10, buf) == 0);
	CHECK(client_open(&c, 10, O_RDONLY) == ELOOP && client_walk(&c, 10, 11, "etc") == ENOTDIR);
	stop(0);
}

static void test_changes_refused(void)
{
	const struct client_attr mode = { .valid = 1, .mode = 0777 };

	start();
	CHECK(client_walk(&c, 0, 1, "0") == 0 && client_walk(&c, 0, 2, "0/hello") == 0);
	CHECK(client_open(&c, 2, O_WRONLY) == EROFS && client_open(&c, 2, O_RDWR) == EROFS);
	CHECK(client_open(&c, 2, O_TRUNC) == EROFS);
	CHECK(client_create(&c, 1, "new", O_WRONLY, 0644) == EROFS);
	CHECK(client_mkdir(&c, 1, "new", 0755) == EROFS && client_mkdir(&c, 0, "9", 0755) == EROFS);
	CHECK(client_symlink(&c, 1, "new", "x") == EROFS && client_link(&c, 1, 2, "new") == EROFS);
	CHECK(client_rename(&c, 1, "hello", 1, "new") == EROFS);
	CHECK(client_unlink(&c, 1, "hello", 0) == EROFS);
	CHECK(client_unlink(&c, 1, "dir", AT_REMOVEDIR) == EROFS);
	CHECK(client_setattr(&c, 2, &mode) == EROFS && client_setattr(&c, 0, &mode) == EROFS);
	CHECK(client_open(&c, 2, O_RDONLY) == 0 && client_write(&c, 2, 0, "x", 1) == -EBADF);
	/* Not there: Trename, Txattrwalk, Txattrcreate, Tremove; Tmknod is for nobody. */
	CHECK(client_simple(&c, 20, 2) == EOPNOTSUPP && client_simple(&c, 30, 2) == EOPNOTSUPP);
	CHECK(client_simple(&c, 32, 2) == EOPNOTSUPP && client_simple(&c, 122, 2) == EOPNOTSUPP);
	CHECK(client_simple(&c, 250, 2) == EOPNOTSUPP && client_mknod(&c, 1, "null") == EPERM);
	CHECK(access(file, F_OK) == 0 && access("tree/new", F_OK) != 0);
	stop(0);
}

static void test_fids(void)
{
	start();
	CHECK(client_attach(&c, 0) == EBADF && client_attach(&c, P9_NOFID) == EBADF);
	CHECK(client_walk(&c, 77, 1, "") == EBADF);
	CHECK(client_walk(&c, 0, 1, "0") == 0 && client_walk(&c, 0, 1, "1") == EBADF);
	CHECK(client_walk(&c, 1, 1, "dir") == 0 && client_walk(&c, 1, 1, "inner") == 0);
	CHECK(client_open(&c, 1, O_RDONLY) == 0 && client_walk(&c, 1, 1, "") == EBADF);
	CHECK(client_walk(&c, 1, 2, "") == 0 && client_clunk(&c, 1) == 0);
	CHECK(client_open(&c, 2, O_RDONLY) == 0);
	/* Tversion ends all fids. */
	CHECK(client_version(&c, 8192) == 0 && client_clunk(&c, 2) == EBADF);
	CHECK(client_version(&c, 100) == EINVAL);
	stop(0);
}

/* More names than descriptors: each still finds its file, or says that it is gone. */
static void test_many_fids(void)
{
	uint32_t n = 2 * FS_NODE_FDS_MAX, i;
	char name[32], buf[16];

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "tree/dir/%u", i);
		write_file(name, "inner");
	}
	start();
	CHECK(client_walk(&c, 0, 1, "0/dir") == 0);
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%u", i);
		CHECK(client_walk(&c, 1, 100 + i, name) == 0);
	}
	CHECK(client_open(&c, 100, O_RDONLY) == 0 && client_read(&c, 100, 0, buf, 16) == 5);
	/* Found by its names only, wherever the directory's descriptor, or its own, is now. */
	CHECK(rename("tree/dir", "tree/gone") == 0 && client_open(&c, 101, O_RDONLY) == ENOENT);
	CHECK(client_open(&c, 100 + n - 1, O_RDONLY) == ENOENT);
	CHECK(rename("tree/gone", "tree/dir") == 0);
	CHECK(rename("tree/dir/2", "tree/dir/was") == 0);
	CHECK(client_open(&c, 102, O_RDONLY) == ENOENT);
	CHECK(symlink("was", "tree/dir/2") == 0); /* leads to the very same file */
	CHECK(client_open(&c, 102, O_RDONLY) == ESTALE);
	CHECK(unlink("tree/dir/2") == 0);
	write_file("tree/dir/2", "other");
	CHECK(client_open(&c, 102, O_RDONLY) == ESTALE);
	CHECK(client_open(&c, 100 + n - 1, O_RDONLY) == 0); /* its descriptor is still open */
	CHECK(rename("tree/dir/was", "tree/dir/2") == 0);
	CHECK(client_open(&c, 102, O_RDONLY) == 0);
	stop(0);
	CHECK(system("rm -f tree/dir/[0-9]*") == 0);
}

/* A host process swaps a directory and a symbolic link to the outside. */
static void test_races(void)
{
	char buf[16];
	pid_t racer;

	CHECK(mkdir("tree/a", 0755) == 0 && mkdir("outside", 0755) == 0);
	write_file("tree/a/f", "inside");
	write_file("outside/f", "secret");
	CHECK(symlink("../outside", "tree/b") == 0);
	racer = fork();
	CHECK(racer >= 0);
	while (racer == 0) {
		renameat2(AT_FDCWD, "tree/a", AT_FDCWD, "tree/b", RENAME_EXCHANGE);
		renameat2(AT_FDCWD, "tree/a", AT_FDCWD, "outside/x", RENAME_NOREPLACE);
		renameat2(AT_FDCWD, "outside/x", AT_FDCWD, "tree/a", RENAME_NOREPLACE);
	}
	start();
	for (int i = 0; i < 20000; i++) {
		if (client_walk(&c, 0, 1, "0/a/f") || fs_get16(&c.r) != 3)
			continue;
		if (client_open(&c, 1, O_RDONLY) == 0) {
			int n = client_read(&c, 1, 0, buf, sizeof(buf));

			CHECK(n == 6 && !memcmp(buf, "inside", 6));
		}
		CHECK(client_clunk(&c, 1) == 0);
	}
	stop(0);
	kill(racer, SIGKILL);
	CHECK(waitpid(racer, NULL, 0) == racer);
}

static void expect_end(void)
{
	client_send(&c);
	CHECK(client_ended(&c));
	stop(1);
}

static void send_raw(const void *bytes, size_t n)
{
	CHECK(write(c.sock, bytes, n) == (ssize_t)n);
}

static void test_malformed(void)
{
	const struct fs_export exports[] = { { .host = tree } };

	client_start(&c, serve, exports, 1, -1); /* a message before Tversion */
	client_begin(&c, P9_TCLUNK);
	fs_put32(&c.w, 0);
	expect_end();
	start(); /* sizes that cannot be */
	send_raw("\6\0\0\0\170\0\0", 7);
	CHECK(client_ended(&c));
	stop(1);
	start();
	send_raw("\377\377\377\377\170\0\0", 7);
	CHECK(client_ended(&c));
	stop(1);
	start(); /* too long, too short, half, a string over the end, too many names */
	client_begin(&c, P9_TCLUNK);
	fs_put32(&c.w, 0);
	fs_put8(&c.w, 0);
	expect_end();
	start();
	client_begin(&c, P9_TREAD);
	fs_put32(&c.w, 0);
	expect_end();
	start();
	send_raw("\13\0\0\0\170\0", 6);
	stop(1);
	start();
	client_begin(&c, P9_TWALK);
	fs_put32(&c.w, 0);
	fs_put32(&c.w, 1);
	fs_put16(&c.w, 1);
	fs_put16(&c.w, 1000);
	expect_end();
	start();
	client_begin(&c, P9_TWALK);
	fs_put32(&c.w, 0);
	fs_put32(&c.w, 1);
	fs_put16(&c.w, 17);
	for (int i = 0; i < 17; i++)
		fs_put_str(&c.w, "x", 1);
	expect_end();
}

int main(void)
{
	char command[96];

	make_tree();
	test_read();
	test_readdir();
	test_getattr();
	test_escapes();
	test_changes_refused();
	test_fids();
	test_many_fids();
	test_races();
	test_malformed();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command) ? 1 : 0;
}
