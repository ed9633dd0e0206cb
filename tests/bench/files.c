// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work with files, for scripts/bench fs. In the working directory is ro/, which may be
 * shown read-only and cached, and rw/, which is to be changed. Of what is read in ro/ each
 * round has its own, that nobody in the guest has seen: what a cache saves is not in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define COLD	  2 /* one to warm up, and one round */
#define DIRS	  20
#define DIR_FILES 50
#define SMALL	  1024
#define BIG	  (16UL << 20)
#define CHUNK	  (128UL << 10) /* as cp and cat do */
#define NEW_FILES 200

static char chunk[CHUNK];

static void write_size(const char *path, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	size_t n;

	if (fd < 0)
		die("%s", path);
	for (; size; size -= n) {
		n = size < CHUNK ? size : CHUNK;
		if (write(fd, chunk, n) != (ssize_t)n)
			die("write to %s", path);
	}
	if (close(fd))
		die("%s", path);
}

static void read_all(const char *path)
{
	int fd = open(path, O_RDONLY);
	size_t size = 0;
	ssize_t n;

	if (fd < 0)
		die("%s", path);
	while ((n = read(fd, chunk, CHUNK)) > 0)
		size += n;
	if (n || size != BIG)
		die("%s: %zu bytes", path, size);
	close(fd);
}

static void make_dir(const char *path)
{
	if (mkdir(path, 0755))
		die("%s", path);
}

static void make_tree(const char *top)
{
	char path[64];
	int i, j;

	make_dir(top);
	for (i = 0; i < DIRS; i++) {
		snprintf(path, sizeof(path), "%s/%d", top, i);
		make_dir(path);
		for (j = 0; j < DIR_FILES; j++) {
			snprintf(path, sizeof(path), "%s/%d/file%d", top, i, j);
			write_size(path, SMALL);
		}
	}
}

void files_make(void)
{
	char path[64];
	int i;

	memset(chunk, 'x', sizeof(chunk));
	make_dir("ro");
	for (i = 0; i < COLD; i++) {
		snprintf(path, sizeof(path), "ro/tree%d", i);
		make_tree(path);
		snprintf(path, sizeof(path), "ro/big%d", i);
		write_size(path, BIG);
	}
	make_dir("rw");
	make_tree("rw/tree");
	write_size("rw/big", BIG);
}

static const char *cold(const char *name)
{
	static char path[64];
	static int turn;

	snprintf(path, sizeof(path), "ro/%s%d", name, turn++);
	return path;
}

/* ---- walk: names and attributes of 1000 files in 20 directories ---- */

static int seen;

static int see(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)path, (void)at;
	seen += type == FTW_F && st->st_size == SMALL;
	return 0;
}

static void walk(const char *top)
{
	seen = 0;
	if (nftw(top, see, 8, FTW_PHYS) || seen != DIRS * DIR_FILES)
		die("%s: %d files", top, seen);
}

void walk_ro_round(void)
{
	walk(cold("tree"));
}

void walk_round(void)
{
	walk("rw/tree");
}

/* ---- create: 200 files made, written, closed; then all removed ---- */

void create_round(void)
{
	char path[64];
	int i;

	make_dir("rw/new");
	for (i = 0; i < NEW_FILES; i++) {
		snprintf(path, sizeof(path), "rw/new/%d", i);
		write_size(path, SMALL);
	}
	for (i = 0; i < NEW_FILES; i++) {
		snprintf(path, sizeof(path), "rw/new/%d", i);
		if (unlink(path))
			die("%s", path);
	}
	if (rmdir("rw/new"))
		die("rw/new");
}

/* ---- read, write: 16 MiB, 128 KiB at a time ---- */

void read_ro_round(void)
{
	read_all(cold("big"));
}

void read_round(void)
{
	read_all("rw/big");
}

void write_round(void)
{
	write_size("rw/out", BIG);
	if (unlink("rw/out"))
		die("rw/out");
}

/* ---- tar: of 200 of the files, into a file beside them ---- */

void tar_round(void)
{
	char *argv[] = { "tar", "-C", "rw/tree", "-cf", "rw/out.tar", "0", "1", "2", "3", NULL };

	spawn(argv);
	if (unlink("rw/out.tar"))
		die("rw/out.tar");
}

/* ---- git: the status of a clean work tree, of the same 1000 files ---- */

void git_round(void)
{
	char *argv[] = { "git", "-C", "rw/tree", "status", "--porcelain", NULL };

	spawn(argv);
}
