// SPDX-License-Identifier: GPL-2.0-only
/* The file server's cage, looked at from outside and rattled from inside. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/fs_confine.h"
#include "p9_client.h"

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

static const char *const exports[] = { "/usr/bin", "/bin/true" };
static struct client c;

static void serve(int sock, const struct fs_export *e, size_t n)
{
	fs_serve(sock, e, n);
}

/* The value of a line of /proc/PID/status, as a number. */
static unsigned long long status_field(int pid, const char *name, int base)
{
	char path[64], line[256];
	unsigned long long v = ~0ULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			v = strtoull(line + strlen(name), NULL, base);
	fclose(f);
	return v;
}

static int count_fds(int pid)
{
	char path[64];
	struct dirent *d;
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	CHECK(dir);
	while ((d = readdir(dir)))
		n += d->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void test_outside(void)
{
	char magic[4];
	int stray = dup2(1, 200), status;

	CHECK(stray == 200); /* stays open over fork: the server has to close it */
	client_start(&c, serve, exports, 2);
	CHECK(client_version(&c, 65560) == 0 && client_attach(&c, 0) == 0);
	CHECK(client_walk(&c, 0, 1, "1") == 0 && client_open(&c, 1, O_RDONLY) == 0);
	CHECK(client_read(&c, 1, 0, magic, 4) == 4 && !memcmp(magic, "\177ELF", 4));
	CHECK(client_walk(&c, 0, 2, "0/true") == 0 && client_open(&c, 2, O_RDONLY) == 0);
	CHECK(client_read(&c, 2, 0, magic, 4) == 4 && !memcmp(magic, "\177ELF", 4));
	CHECK(client_walk(&c, 0, 3, "0") == 0 && client_open(&c, 3, O_RDONLY) == 0);

	CHECK(status_field(c.pid, "Seccomp:", 10) == 2);
	CHECK(status_field(c.pid, "NoNewPrivs:", 10) == 1);
	CHECK(status_field(c.pid, "CapEff:", 16) == 0 && status_field(c.pid, "CapPrm:", 16) == 0);
	if (geteuid() == 0)
		/* 0 to 2, the socket, 2 exports, /proc/self/fd; one node, 3 open files */
		CHECK(status_field(c.pid, "CapBnd:", 16) == 0 && count_fds(c.pid) == 7 + 1 + 3);
	status = client_stop(&c);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(stray);
}

static void confine(int sock, const struct fs_export *e, size_t n)
{
	if (fs_confine_begin(sock, e, n) || fs_confine_finish(e, n))
		_exit(2);
}

static void try_socket(int sock, const struct fs_export *e, size_t n)
{
	confine(sock, e, n);
	socket(AF_INET, SOCK_STREAM, 0);
}

static void try_exec(int sock, const struct fs_export *e, size_t n)
{
	confine(sock, e, n);
	execl("/bin/true", "true", NULL);
}

static void try_code(int sock, const struct fs_export *e, size_t n)
{
	confine(sock, e, n);
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_kill(int sock, const struct fs_export *e, size_t n)
{
	int parent = getppid();

	confine(sock, e, n);
	kill(parent, 0);
}

/* Exits 0 if a file outside the exports cannot be read, 3 without Landlock. */
static void try_open(int sock, const struct fs_export *e, size_t n)
{
	struct open_how how = { .flags = O_RDONLY };
	int landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	confine(sock, e, n);
	if (landlock < 1)
		_exit(3);
	if (syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof(how)) >= 0 ||
	    errno != EACCES)
		_exit(1);
	how.flags = O_RDWR;
	if (syscall(SYS_openat2, AT_FDCWD, "/bin/true", &how, sizeof(how)) >= 0)
		_exit(1);
	how.flags = O_RDONLY;
	_exit(syscall(SYS_openat2, AT_FDCWD, "/usr/bin/true", &how, sizeof(how)) < 0);
}

static int run(serve_fn *attempt)
{
	client_start(&c, attempt, exports, 2);
	return client_stop(&c);
}

int main(void)
{
	static serve_fn *const killed[] = { try_socket, try_exec, try_code, try_kill };
	int status;

	test_outside();
	for (size_t i = 0; i < sizeof(killed) / sizeof(killed[0]); i++) {
		status = run(killed[i]);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
	status = run(try_open);
	CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3));
	if (WEXITSTATUS(status) == 3)
		puts("no Landlock here: not tested");
	return 0;
}
