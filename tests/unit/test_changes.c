// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest-init's walk over an overlay's layers, on directories made by hand: the list,
 * the commit, and what stops either. The whole, with Linux's overlay: overlay.bats.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../../guest-init/changes.h"
#include "../../guest-init/control.h"
#include "check_or_exit.h"

#define FAILED 7 /* exit status of a walk that ended by control_fail() */

static struct { /* shared with the walk's process */
	int err;
	unsigned int asked;
	bool changed_early;
	char text[256];
} * seen;

static char top[] = "/tmp/vmbox-changes-XXXXXX";
static struct request_mount mount = { .path = "/w" };
static struct request req = { .head = { .nr_mounts = 1 }, .mounts = &mount };

_Noreturn void control_fail(__u32 kind, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(seen->text, sizeof(seen->text), fmt, ap);
	va_end(ap);
	seen->err = err;
	_exit(kind == PVIO_CHANGES_FAILED ? FAILED : 1);
}

void control_ask_commit(void)
{
	seen->asked++;
	seen->changed_early |= system("diff -r --no-dereference below before >differences") != 0;
}

static void run(const char *command)
{
	if (system(command)) {
		fprintf(stderr, "failed: %s\n", command);
		exit(1);
	}
}

static void make(const char *command)
{
	run("chmod -R u+rwx . && rm -rf upper below before && mkdir upper below");
	run(command);
	run("cp -a below before");
	memset(seen, 0, sizeof(*seen));
}

/* The exit status of a list into "list", or a commit. */
static int walk(__u32 flag)
{
	int status, list = open("list", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	pid_t pid = fork();

	CHECK(pid >= 0 && list >= 0);
	if (!pid) {
		mount.how.flags = flag;
		mount.upper = open("upper", O_RDONLY | O_DIRECTORY);
		mount.below = open("below", O_RDONLY | O_DIRECTORY);
		if (flag == PVIO_MOUNT_DIFF)
			changes_list(&req, list);
		else
			changes_commit(&req);
		_exit(0);
	}
	close(list);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void white_out(const char *path)
{
	CHECK(mknod(path, S_IFCHR, makedev(0, 0)) == 0);
}

static const char layers[] = "cd below && mkdir same same/in dir gone gone/in && echo 1 | tee "
			     "dir/f gone/f gone/in/f f same/g g >../x && "
			     "ln -s a l && cp -a same dir f g ../upper/ && cd ../upper && echo 22 "
			     ">f && rm dir/f && mkdir new && "
			     "echo n >new/n && ln -s b l && chmod 700 g && mkdir -m 711 g.d && "
			     "touch \"$(printf 'q\"\\\\\\n\\351')\"";

static void test_list(void)
{
	make(layers);
	white_out("upper/gone");
	white_out("upper/dir/f");
	white_out("upper/never-was");
	CHECK(walk(PVIO_MOUNT_DIFF) == 0);
	run("printf '%s\\n' 'D \"/w/dir/f\"' 'M \"/w/f\"' 'M \"/w/g\"' 'A \"/w/g.d\"' 'D "
	    "\"/w/gone\"' "
	    "'M \"/w/l\"' 'A \"/w/new\"' 'A \"/w/new/n\"' 'A \"/w/q\\042\\134\\012\\351\"' | "
	    "sed 's/^/vmbox: diff: /' | diff - list >&2");
	run("diff -r --no-dereference below before");
	CHECK(!seen->asked);
}

static void test_commit(void)
{
	make(layers);
	white_out("upper/gone");
	white_out("upper/dir/f");
	white_out("upper/never-was");
	mount.how.size = 1 << 20;
	CHECK(walk(PVIO_MOUNT_COMMIT) == 0 && seen->asked == 1 && !seen->changed_early);
	run("rm upper/gone upper/dir/f upper/never-was; diff -r --no-dereference upper below >&2");
	/* Two directories have a new time since then: by that rm. */
	run("for d in upper below; do (cd $d && find . \\( -name . -o -name dir \\) -printf '%P %y "
	    "%m\\n' "
	    "-o -printf '%P %y %m %l %T@\\n' | sort) >$d.txt; done; diff upper.txt below.txt >&2");
	/* Once more there is nothing to be done. */
	run("cp -a below again");
	CHECK(walk(PVIO_MOUNT_COMMIT) == 0);
	run("find below -newer x -name '.vmbox*' | wc -l | grep -qx 0 && diff -r --no-dereference "
	    "below again && rm "
	    "-r again");
}

/* A directory that was made anew shows nothing of what the host has there. */
static void test_opaque(void)
{
	make("mkdir -p below/d/sub upper/d && echo 1 | tee below/d/a below/d/b below/d/sub/f "
	     "upper/d/b >x; "
	     "touch -r below/d/b upper/d/b; echo new >upper/d/n");
	if (setxattr("upper/d", "trusted.overlay.opaque", "y", 1, 0)) {
		fprintf(stderr, "no trusted attributes here: %s\n", strerror(errno));
		return;
	}
	CHECK(walk(PVIO_MOUNT_DIFF) == 0);
	run("printf '%s\\n' 'D \"/w/d/a\"' 'A \"/w/d/n\"' 'D \"/w/d/sub\"' | sed 's/^/vmbox: diff: "
	    "/' | "
	    "diff - list >&2");
	CHECK(walk(PVIO_MOUNT_COMMIT) == 0);
	run("diff -r --no-dereference upper below >&2");
}

/* A kind for another, each way. */
static void test_kinds(void)
{
	static const char *const kinds[] = { "mkdir -p %s/x/y && echo 1 >%s/x/y/z",
					     "echo 2 >%s/x; : %s", "ln -s y %s/x; : %s",
					     "mkdir -m 500 %s/x; : %s" };
	char command[256];

	for (size_t i = 0; i < 16; i++) {
		size_t n = sprintf(command, kinds[i / 4], "below", "below");

		n += sprintf(command + n, "; ");
		sprintf(command + n, kinds[i % 4], "upper", "upper");
		make(command);
		if ((i / 4) % 3 == 0 && (i % 4) % 3 == 0)
			continue; /* two directories are one */
		CHECK(walk(PVIO_MOUNT_COMMIT) == 0);
		run("diff -r --no-dereference upper below >&2");
	}
}

/* Found before the host is asked. */
static void test_refused(void)
{
	make("echo x >upper/a && mkfifo upper/p");
	CHECK(walk(PVIO_MOUNT_COMMIT) == FAILED && !seen->asked);
	CHECK(!strcmp(seen->text, "commit: neither file, directory nor link: /w/p"));
	mount.how.size = 3 * 4096;
	make("echo x >upper/a; mkdir upper/b; echo y >upper/b/c");
	CHECK(walk(PVIO_MOUNT_COMMIT) == FAILED && !seen->asked);
	CHECK(!strcmp(seen->text, "commit: more than the quota: /w/b/c"));
	mount.how.size = 5 * 4096;
	CHECK(walk(PVIO_MOUNT_COMMIT) == 0 && seen->asked == 1);
	mount.how.size = 0;
	run("diff -r --no-dereference upper below >&2");
}

/* Paths that have no end. */
static void test_depth(void)
{
	char name[201];
	int here = open(".", O_PATH | O_CLOEXEC);

	make(":");
	memset(name, 'x', 200);
	name[200] = '\0';
	CHECK(chdir("upper") == 0);
	for (int i = 0; i < 30; i++)
		CHECK(mkdir(name, 0755) == 0 && chdir(name) == 0);
	CHECK(fchdir(here) == 0);
	close(here);
	CHECK(walk(PVIO_MOUNT_DIFF) == FAILED && seen->err == ENAMETOOLONG);
	CHECK(walk(PVIO_MOUNT_COMMIT) == FAILED && seen->err == ENAMETOOLONG && !seen->asked);
	CHECK(!strncmp(seen->text, "commit: /w/xxx", 14));
}

int main(void)
{
	char command[64];

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(seen != MAP_FAILED && mkdtemp(top) && chdir(top) == 0);
	umask(022);
	test_list();
	test_commit();
	test_opaque();
	test_kinds();
	test_refused();
	test_depth();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	run(command);
	return 0;
}
