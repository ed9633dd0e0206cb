// SPDX-License-Identifier: GPL-2.0-only
/* The file server's cage, looked at from outside and rattled from inside. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/fs_confine.h"
#include "check_or_exit.h"
#include "p9_client.h"

static const struct fs_export exports[] = { { .host = "/usr/bin" }, { .host = "/bin/true" } };
static char truncated[] = "/tmp/vmbox-landlock-XXXXXX";
static struct client c;

static void serve(const struct fs_config *config)
{
	fs_serve(config);
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
	client_start(&c, serve, exports, 2, -1);
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
		/* 0 to 2, 2 sockets, 2 exports, /proc/self/fd; one node, 3 open files */
		CHECK(status_field(c.pid, "CapBnd:", 16) == 0 && count_fds(c.pid) == 8 + 1 + 3);
	status = client_stop(&c);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(stray);
}

/* All that changes files passes the filter and Landlock where an export is rw. */
static void test_changes(void)
{
	char dir[] = "/tmp/vmbox-cage-XXXXXX", command[64];
	struct fs_export rw = { .host = dir, .rw = true };
	const struct client_attr all = { 0x1ff, 0640, 4242, 4243, 3 };
	int audit = open("/dev/null", O_WRONLY), status;

	CHECK(mkdtemp(dir) && audit >= 0);
	client_start(&c, serve, &rw, 1, audit);
	CHECK(client_version(&c, 65560) == 0 && client_attach(&c, 0) == 0);
	CHECK(client_walk(&c, 0, 1, "0") == 0 && client_walk(&c, 0, 2, "0") == 0);
	CHECK(client_create(&c, 2, "f", O_RDWR, 0644) == 0 &&
	      client_write(&c, 2, 0, "abcd", 4) == 4);
	CHECK(client_mkdir(&c, 1, "d", 0755) == 0 && client_symlink(&c, 1, "l", "f") == 0);
	CHECK(client_walk(&c, 1, 3, "f") == 0 && client_walk(&c, 1, 4, "d") == 0);
	CHECK(client_setattr(&c, 2, &all) == 0 && client_setattr(&c, 3, &all) == 0);
	CHECK(client_link(&c, 4, 3, "h") == 0 && client_rename(&c, 1, "l", 4, "l") == 0);
	CHECK(client_unlink(&c, 4, "h", 0) == 0 && client_unlink(&c, 4, "l", 0) == 0);
	CHECK(client_unlink(&c, 1, "d", AT_REMOVEDIR) == 0);
	for (int data_only = 0; data_only < 2; data_only++) {
		client_begin(&c, P9_TFSYNC);
		fs_put32(&c.w, 2);
		fs_put32(&c.w, data_only);
		CHECK(client_call(&c) == 0);
	}
	CHECK(client_simple(&c, P9_TSTATFS, 1) == 0 && client_open(&c, 3, O_RDWR | O_TRUNC) == 0);
	status = client_stop(&c);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	CHECK(system(command) == 0 && close(audit) == 0);
}

static void confine(const struct fs_config *config)
{
	int proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY);

	if (fs_confine_begin(config, &proc_fds) || fs_confine_finish(config))
		_exit(2);
}

static void try_socket(const struct fs_config *config)
{
	confine(config);
	socket(AF_INET, SOCK_STREAM, 0);
}

static void try_exec(const struct fs_config *config)
{
	confine(config);
	execl("/bin/true", "true", NULL);
}

static void try_code(const struct fs_config *config)
{
	confine(config);
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Nothing is rw, so nothing that changes files is let through. */
static void try_mkdir(const struct fs_config *config)
{
	confine(config);
	mkdirat(config->exports[0].fd, "x", 0755);
}

static void try_unlink(const struct fs_config *config)
{
	confine(config);
	unlinkat(config->exports[0].fd, "vmbox-none", 0);
}

static void try_kill(const struct fs_config *config)
{
	int parent = getppid();

	confine(config);
	kill(parent, 0);
}

/* Exits 0 if a file outside the exports cannot be read, 3 without Landlock. */
static void try_open(const struct fs_config *config)
{
	struct open_how how = { .flags = O_RDONLY };
	int landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	confine(config);
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

/*
 * Landlock alone, without the filter, in a child as the launcher's are: a file that
 * is only read is not emptied, no connection of TCP, no abstract name, no signal.
 */
static void try_landlock(const struct fs_config *config)
{
	struct open_how how = { .flags = O_RDONLY | O_TRUNC };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int abi = cage_landlock_abi(), unix_socket = socket(AF_UNIX, SOCK_STREAM, 0), status;
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 +
			 snprintf(un.sun_path + 1, 32, "vmbox-%d", getpid());
	int proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY);
	pid_t parent = getpid(), child;

	if (bind(unix_socket, (struct sockaddr *)&un, size) || listen(unix_socket, 1))
		_exit(10);
	child = cage_fork();
	if (child) {
		waitpid(child, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
	}
	if (fs_confine_begin(config, &proc_fds))
		_exit(12);
	if (abi >= 3 &&
	    (syscall(SYS_openat2, AT_FDCWD, truncated, &how, sizeof(how)) >= 0 || errno != EACCES))
		_exit(13);
	if (abi >= 4 &&
	    (!bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in)) ||
	     errno != EACCES))
		_exit(14);
	if (abi >= 4 &&
	    (!connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in)) ||
	     errno != EACCES))
		_exit(15);
	if (abi >= 6 && (!connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&un, size) ||
			 errno != EPERM))
		_exit(16);
	if (abi >= 6 && (!kill(parent, 0) || errno != EPERM))
		_exit(17);
	_exit(0);
}

static void test_landlock(void)
{
	struct fs_export only[] = { { .host = truncated } };
	int fd = mkstemp(truncated), status;
	struct stat st;

	CHECK(fd >= 0 && write(fd, "kept", 4) == 4);
	client_start(&c, try_landlock, only, 1, -1);
	status = client_stop(&c);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK((cage_landlock_abi() < 3 || (!fstat(fd, &st) && st.st_size == 4)) &&
	      unlink(truncated) == 0);
	close(fd);
}

static int run(serve_fn *attempt)
{
	client_start(&c, attempt, exports, 2, -1);
	return client_stop(&c);
}

int main(void)
{
	static serve_fn *const killed[] = { try_socket, try_exec,  try_code,
					    try_kill,	try_mkdir, try_unlink };
	int status;

	test_outside();
	test_changes();
	test_landlock();
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
