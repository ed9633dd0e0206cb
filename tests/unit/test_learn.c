// SPDX-License-Identifier: GPL-2.0-only
/*
 * `vmbox learn`: what the file server writes of what is used, and which rules follow from
 * it: the fewest that show all of it, and within a limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/learnt.h"
#include "check.h"
#include "p9_client.h"

#define DIR  FS_USE_DIR
#define SEEN FS_USE_SEEN
#define LIST (DIR | SEEN | FS_USE_OPENED | FS_USE_LISTED)

/* ---- rules ---- */

struct use {
	const char *path;
	unsigned int flags;
};

static char rules[1 << 20];

static void add_text(void *arg, const char *path, unsigned int flags)
{
	strcat(rules, flags & LEARNT_WHOLE ? " +" : " ");
	strcat(rules, path);
}

/* The rules for these uses, with /prog as the program: as "/a /b +/c", + for what is more than was used. */
static const char *chosen(const struct use *uses, size_t n, size_t max)
{
	static const struct use known[] = {
		{ "/", LEARNT_OWN | LIST },	   { "/etc", LEARNT_OWN },
		{ "/cwd", LEARNT_GIVEN },	   { "/cwd/dir", LEARNT_GIVEN },
		{ "/real/prog", LEARNT_PROGRAM },  { "/prog", LEARNT_LINK },
		{ "/mnt", LEARNT_MOUNT },	   { "/data/mnt", LEARNT_MOUNT },
		{ "/data/mnt/mnt", LEARNT_MOUNT },
	};
	struct learnt *l = learnt_new();

	*rules = '\0';
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		CHECK(!learnt_add(l, known[i].path, known[i].flags));
	for (size_t i = 0; i < n; i++)
		CHECK(!learnt_add(l, uses[i].path, uses[i].flags));
	if (learnt_choose(l, max, "/prog"))
		strcpy(rules, " none");
	else
		learnt_each(l, LEARNT_RULE, add_text, NULL);
	learnt_free(l);
	return rules;
}

#define CHOSEN(want, max, ...)                                                        \
	do {                                                                          \
		const struct use u_[] = { __VA_ARGS__ };                              \
		const char *got_ = chosen(u_, sizeof(u_) / sizeof(u_[0]), max);       \
		if (strcmp(got_, want)) {                                             \
			printf("not ok: %d: '%s', not '%s'\n", __LINE__, got_, want); \
			check_failed = 1;                                             \
		}                                                                     \
	} while (0)

static void test_files_and_directories(void)
{
	/* In order, each once, whatever order they come in; what leads there needs none. */
	CHOSEN(" /a/b /a/c /a-b /z", 9, { "/z", SEEN }, { "/a", DIR | SEEN }, { "/a-b", SEEN },
	       { "/a/c", SEEN }, { "/a/b", SEEN }, { "/a/b", SEEN });
	/* Listed: all that is in it, at any depth. */
	CHOSEN(" /a /b/c/f", 9, { "/a", LIST }, { "/a/b", DIR | SEEN }, { "/a/b/c", LIST },
	       { "/a/f", SEEN }, { "/b/c/f", SEEN });
	/* Looked at or opened, and nothing else: there is no other way to show it. */
	CHOSEN(" /a/d /b", 9, { "/a", DIR | SEEN }, { "/a/d", DIR | SEEN },
	       { "/b", DIR | SEEN | FS_USE_OPENED | FS_USE_MISSED });
	/* On the way to a name that is not there: that is so without it, too. */
	CHOSEN("", 9, { "/a", DIR | SEEN }, { "/a", DIR | FS_USE_MISSED });
	CHOSEN("", 9, { "/a", DIR | SEEN }, { "/a/b", DIR | SEEN | FS_USE_MISSED });
	CHOSEN(" /a/f", 9, { "/a", DIR | SEEN | FS_USE_MISSED }, { "/a/f", SEEN });
}

static void test_what_is_there_anyway(void)
{
	/* Whatever was done with what the guest has of its own, no rule is for it. */
	CHOSEN(" /etc/f", 9, { "/etc", LIST }, { "/etc/f", SEEN });
	/* The working directory is made by the guest; but not what is in it. */
	CHOSEN("", 9, { "/cwd", DIR | SEEN }, { "/cwd/dir", DIR | SEEN | FS_USE_OPENED });
	CHOSEN(" /cwd/dir", 9, { "/cwd/dir", LIST }, { "/cwd/dir/f", SEEN });
	/* The program's file needs a rule only where rules are in the way of its name. */
	CHOSEN(" /f", 9, { "/real/prog", SEEN }, { "/f", SEEN });
	CHOSEN(" /prog /real/prog", 9, { "/prog", SEEN });
}

static void test_mounts(void)
{
	CHOSEN(" /mnt/f", 9, { "/mnt/f", SEEN });
	/* Within a directory that has a rule: not shown by that, nor can a part of it be. */
	CHOSEN(" /data", 9, { "/data", LIST }, { "/data/f", SEEN });
	CHOSEN(" /data /data/mnt", 9, { "/data", LIST }, { "/data/mnt/d/f", SEEN });
	CHOSEN(" /data /data/mnt /data/mnt/mnt", 9, { "/data", LIST }, { "/data/mnt/mnt/f", SEEN });
	CHOSEN(" /data/mnt/f /data/mnt/mnt/f", 9, { "/data/mnt/f", SEEN },
	       { "/data/mnt/mnt/f", SEEN });
}

static void test_too_many(void)
{
	static const struct use uses[] = { { "/a/1", SEEN },   { "/a/2", SEEN },
					   { "/a/b/1", SEEN }, { "/a/b/2", SEEN },
					   { "/a/b/3", SEEN }, { "/c/d/1", SEEN },
					   { "/etc/1", SEEN }, { "/etc/2", SEEN },
					   { "/etc/3", SEEN }, { "/etc/4", SEEN } };
	static const char *const want[] = {
		" none",
		" none",
		" none",
		" none",
		" none", /* nothing of /etc can be left out, nor can /etc be named */
		" none",
		" +/a +/c/d /etc/1 /etc/2 /etc/3 /etc/4",
		" /a/1 /a/2 +/a/b /c/d/1 /etc/1 /etc/2 /etc/3 /etc/4",
	};

	CHECK(!strcmp(chosen(uses, 10, 10),
		      " /a/1 /a/2 /a/b/1 /a/b/2 /a/b/3 /c/d/1 /etc/1 /etc/2 /etc/3 /etc/4"));
	CHECK(!strcmp(chosen(uses, 10, 8), want[7]));
	CHECK(!strcmp(chosen(uses, 10, 6), " +/a /c/d/1 /etc/1 /etc/2 /etc/3 /etc/4"));
	for (size_t max = 0; max < 6; max++)
		CHECK(!strcmp(chosen(uses, 10, max), want[max]));
	/* The program's, once they are in the way. */
	CHOSEN(" /prog +/real", 2, { "/prog", SEEN }, { "/real/f", SEEN });
}

/* A tree of any shape: never more rules than allowed, and all that was used is shown by one. */
static void test_random(void)
{
	static char paths[3000][64];
	struct use uses[3000];

	srand(1);
	for (int round = 0; round < 30; round++) {
		size_t n = 1 + rand() % 3000, max = 1 + rand() % 40, count = 0;

		for (size_t i = 0; i < n; i++) {
			int depth = 2 + rand() % 6, at = 0;

			for (int d = 0; d < depth; d++)
				at += sprintf(paths[i] + at, "/%c%d", "xy"[d == depth - 1],
					      rand() % 4);
			uses[i] = (struct use){ paths[i], SEEN };
		}
		chosen(uses, n, max);
		for (const char *p = rules; (p = strchr(p, ' ')); p++)
			count++;
		CHECK(strcmp(rules, " none") ? count <= max : max < 4);
		for (size_t i = 0; i < n && strcmp(rules, " none"); i++) {
			static char text[sizeof(rules)];
			char *rule, *rest = text;
			bool shown = false;

			strcpy(text, rules);
			while ((rule = strtok_r(rest, " +", &rest)))
				shown |= !strncmp(paths[i], rule, strlen(rule)) &&
					 strchr("/", paths[i][strlen(rule)]);
			CHECK(shown);
		}
	}
}

static void test_order(void)
{
	static const char *const sorted[] = { "/",   "/a",   "/a/b", "/a/b/c",
					      "/a!", "/a-b", "/ab",  "/a\xff" };

	for (size_t i = 0; i < 8; i++)
		for (size_t j = 0; j < 8; j++)
			CHECK((learnt_compare(sorted[i], sorted[j]) < 0) == (i < j) &&
			      (learnt_compare(sorted[i], sorted[j]) > 0) == (i > j));
}

/* ---- the witness ---- */

static struct client c;

static void serve(const struct fs_config *config)
{
	_exit(fs_session_run(config) ? 1 : 0);
}

static void start(const struct fs_export *export)
{
	client_learn = memfd_create("uses", 0);
	client_start(&c, serve, export, 1, -1);
	CHECK(client_version(&c, 65560) == 0 && client_attach(&c, 0) == 0);
	CHECK(client_walk(&c, 0, 1, "0") == 0);
}

/* All that was written, with newlines for zeros, in no order. */
static const char *stop(void)
{
	static char text[FS_USES_MAX + 4096];
	ssize_t n;

	CHECK(client_stop(&c) == 0);
	n = pread(client_learn, text, sizeof(text) - 1, 0);
	close(client_learn);
	for (ssize_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : '\n';
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static bool says(const char *text, unsigned int flags, const char *path)
{
	char line[PATH_MAX];

	snprintf(line, sizeof(line), "%c%s\n", FS_USE_PATH + flags, path);
	return strstr(text, line);
}

static void list(uint32_t fid)
{
	CHECK(client_open(&c, fid, O_RDONLY) == 0);
	client_begin(&c, P9_TREADDIR);
	fs_put32(&c.w, fid);
	fs_put64(&c.w, 0);
	fs_put32(&c.w, 4096);
	CHECK(client_call(&c) == 0);
}

static void test_witness(void)
{
	struct fs_cut cuts[] = { { "hidden", "p:1", true }, { "way/out", "p:2", false } };
	struct fs_export export = { .host = "tree", .at = "/w", .cuts = cuts, .nr_cuts = 2 };
	size_t lines = 0;
	const char *text;

	start(&export);
	CHECK(client_walk(&c, 1, 10, "d/f") == 0 && client_walk(&c, 1, 10, "d/f") == EBADF);
	CHECK(client_walk(&c, 1, 11, "link") == 0 && client_walk(&c, 1, 12, "fifo") == 0);
	CHECK(client_walk(&c, 1, 13, "d/none") == 0 && client_walk(&c, 1, 13, "hidden") == ENOENT);
	CHECK(client_walk(&c, 1, 14, "l") == 0 && client_walk(&c, 1, 15, "way/out") == 0);
	list(14);
	/* What is refused is told in words, once. */
	CHECK(client_walk(&c, 1, 16, "d") == 0);
	for (int i = 0; i < 3; i++)
		CHECK(client_mkdir(&c, 16, "new\n\"\x1b", 0755) == EROFS);
	CHECK(client_open(&c, 10, O_WRONLY) == EROFS && client_unlink(&c, 1, "link", 0) == EROFS);
	text = stop();
	CHECK(says(text, DIR | SEEN | FS_USE_MISSED, "/w/d") && says(text, SEEN, "/w/d/f"));
	CHECK(says(text, SEEN, "/w/link") && says(text, LIST, "/w/l"));
	/* Mount points and what leads there are guest-init's to look at, devices and fifos nobody's. */
	CHECK(!strstr(text, "way") && !strstr(text, "hidden") && !strstr(text, "fifo"));
	CHECK(strstr(text,
		     "#refused: create of \"/w/d/new\\u000a\\\"\\u001b\": it is read-only there; "
		     "to allow it, add the rule {path: \"tree/d\", at: \"/w/d\", access: rw}\n"));
	CHECK(strstr(text, "#refused: open for writing of \"/w/d/f\": ") &&
	      strstr(text, "#refused: unlink of \"/w/link\": "));
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	CHECK_EQ(lines, 8);
	CHECK(!strcmp(text + strlen(text) - 3, "\n.\n"));
}

/* More than can be kept: it is said, and the guest goes on. */
static void test_witness_is_full(void)
{
	const struct fs_export export = { .host = "tree", .at = "/w" };
	char name[FS_NAME_MAX + 1], path[8 * 256] = "", command[5000];
	const char *text;

	memset(name, 'n', FS_NAME_MAX);
	name[FS_NAME_MAX] = '\0';
	for (int i = 0; i < 7; i++)
		sprintf(path + strlen(path), "%s%s", i ? "/" : "", name);
	snprintf(command, sizeof(command),
		 "mkdir -p tree/%s && cd tree/%s && seq 10000 | xargs touch", path, path);
	CHECK(!system(command));
	start(&export);
	CHECK(client_walk(&c, 1, 2, path) == 0);
	for (int i = 1; i <= 10000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		if (client_walk(&c, 2, 3, name) || client_clunk(&c, 3)) {
			CHECK(!"walk");
			break;
		}
	}
	text = stop();
	CHECK(!strcmp(text + strlen(text) - 3, "\n!\n"));
}

int main(void)
{
	char top[] = "/tmp/learn-XXXXXX", command[64];

	test_order();
	test_files_and_directories();
	test_what_is_there_anyway();
	test_mounts();
	test_too_many();
	test_random();
	CHECK(mkdtemp(top) && !chdir(top));
	CHECK(!system(
		"mkdir -p tree/d tree/l tree/way/out tree/hidden && touch tree/d/f tree/l/f && "
		"ln -s d tree/link && mkfifo tree/fifo"));
	test_witness();
	test_witness_is_full();
	CHECK(!chdir("/"));
	snprintf(command, sizeof(command), "rm -rf %s", top);
	CHECK(!system(command));
	return check_failed;
}
