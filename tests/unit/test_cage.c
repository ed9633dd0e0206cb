// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cages of the VMM, the file server and the launcher, from the inside: in
 * each, every attempt of tests/escape and every number of a system call, each in
 * a process of its own. None may get out: it is killed (SIGSYS) or refused.
 *
 * test_cage root|user|none: as root, as an ordinary user, as one whom the host
 * gives no namespaces. Exits 77 where the host cannot do it.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/confine.h"
#include "../../runtime/fs_confine.h"
#include "../escape/escape.h"
#include "check.h"

#define USER	    1000
#define NOBODY	    65534
#define CALLS	    512 /* numbers tried: Linux 6.1 has 451 */
#define VMM_MAX	    25	/* distinct calls, by the design */
#define SERVER_MAX  30
#define CHANGES_MAX 15 /* and more, if it may change files */
#define REFUSED	    40
#define OUT	    41
#define NOT_IN_CAGE 42

/* What a role is given; made once, in the launcher's place. */
static bool isolated;
static int vcpu, timer, sock, device;
static struct fs_export exports[3], changed[3];
static struct fs_config server = { .exports = exports, .n = 3, .audit = -1, .learn = -1 };
static struct fs_config changer = { .exports = changed, .n = 3, .audit = -1, .learn = -1 };

static void cannot(const char *what)
{
	perror(what);
	_exit(NOT_IN_CAGE);
}

static void vmm_enter(void)
{
	const char *failed = confine_vmm_begin(device, (int[2]){ sock, -1 }, 2);

	vcpu = eventfd(0, EFD_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (failed || vcpu < 0 || timer < 0)
		cannot(failed ? failed : "descriptors");
}

static void vmm_lock(void)
{
	const char *failed = confine_vmm_finish(vcpu, timer);

	if (failed)
		cannot(failed);
}

static size_t vmm_calls(struct cage_call *calls)
{
	return confine_vmm_calls(calls, vcpu, timer);
}

static void serve_begin(const struct fs_config *config)
{
	int proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (proc_fds < 0 || fs_confine_begin(config, &proc_fds))
		cannot("server");
}

static void server_enter(void)
{
	serve_begin(&server);
}

static void changer_enter(void)
{
	serve_begin(&changer);
}

static void server_lock(void)
{
	if (fs_confine_finish(&server))
		cannot("server");
}

static void changer_lock(void)
{
	if (fs_confine_finish(&changer))
		cannot("server");
}

static size_t server_calls(struct cage_call *calls)
{
	return fs_confine_calls(calls, false);
}

static size_t changer_calls(struct cage_call *calls)
{
	return fs_confine_calls(calls, true);
}

static void launcher_enter(void)
{
}

static void launcher_lock(void)
{
	const char *failed = confine_launcher(4000001, 4000002, -1, (int[]){ sock, device }, 2);

	if (failed)
		cannot(failed);
}

static size_t launcher_calls(struct cage_call *calls)
{
	return confine_launcher_calls(calls, 4000001, 4000002, -1);
}

static const struct role {
	const char *name;
	void (*enter)(void), (*lock)(void);
	size_t (*calls)(struct cage_call *calls);
	size_t max;
	bool writes; /* beneath an export: that is what it is for */
} roles[] = {
	{ "VMM", vmm_enter, vmm_lock, vmm_calls, VMM_MAX },
	{ "file server", server_enter, server_lock, server_calls, SERVER_MAX },
	{ "file server, rw", changer_enter, changer_lock, changer_calls, SERVER_MAX + CHANGES_MAX,
	  true },
	{ "launcher", launcher_enter, launcher_lock, launcher_calls, VMM_MAX },
};

static bool is_its_task(const struct role *role, const struct escape *escape)
{
	return role->writes && !strcmp(escape->name, "write_below");
}

static int wait_for(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("a child");
		exit(1);
	}
	return status;
}

static bool was_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool was_refused(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == REFUSED;
}

static void expect(bool good, const char *role, const char *cage, const char *what, int status)
{
	if (good)
		return;
	printf("not ok: %s, %s: %s: wait status %#x\n", role, cage, what, status);
	check_failed = 1;
}

/* Without the filter: what the rest of the cage must stop by itself. */
static void test_without_filter(const struct role *role)
{
	for (size_t i = 0; i < nr_escapes; i++) {
		pid_t pid;
		int status;

		if (escapes[i].layer == ESCAPE_FILTER || is_its_task(role, &escapes[i]))
			continue;
		pid = cage_fork();
		if (!pid) {
			role->enter();
			_exit(escapes[i].attempt() ? OUT : REFUSED);
		}
		status = wait_for(pid);
		expect(was_refused(status), role->name, "no filter", escapes[i].name, status);
	}
}

static void test_escapes(const struct role *role)
{
	size_t killed = 0;

	for (size_t i = 0; i < nr_escapes; i++) {
		pid_t pid;
		int status;

		if ((escapes[i].layer == ESCAPE_SPACE && !isolated) ||
		    is_its_task(role, &escapes[i]))
			continue;
		pid = cage_fork();
		if (!pid) {
			role->enter();
			role->lock();
			_exit(escapes[i].attempt() ? OUT : REFUSED);
		}
		status = wait_for(pid);
		killed += was_killed(status);
		expect(was_killed(status) || was_refused(status), role->name, "whole cage",
		       escapes[i].name, status);
	}
	printf("%s: %zu attempts were killed\n", role->name, killed);
	CHECK(killed >= nr_escapes - 5); /* openat2 is the server's, and what is its task */
}

enum listed {
	NOT_LISTED,
	WITH_ARGUMENTS,
	LISTED
};

/*
 * Linux takes uretprobe (335) and uprobe (336) past all filters where it has them:
 * they are its own, and refused or fatal but for the code that it has put there.
 */
static bool is_probe(long nr)
{
	return nr == 335 || nr == 336;
}

static enum listed is_listed(const struct cage_call *calls, size_t n, int nr)
{
	enum listed found = NOT_LISTED;

	for (size_t i = 0; i < n; i++)
		if (calls[i].nr == nr)
			found = calls[i].nr_args ? WITH_ARGUMENTS : LISTED;
	return found;
}

static int try_call(const struct role *role, long nr)
{
	pid_t pid = cage_fork();

	if (!pid) {
		role->enter();
		role->lock();
		syscall(nr, 0, 0, 0, 0, 0, 0);
		_exit(REFUSED);
	}
	return wait_for(pid);
}

/* All there are: what the table does not list is death, what it lists without conditions is not. */
static void test_every_call(const struct role *role)
{
	struct cage_call calls[CAGE_CALLS_MAX];
	size_t n = role->calls(calls), distinct = 0;
	char what[32], names[1024] = "";

	for (long nr = 0; nr < CALLS; nr++) {
		enum listed listed = is_listed(calls, n, nr);
		int status = try_call(role, nr);

		snprintf(what, sizeof(what), "call %ld", nr);
		if (listed == NOT_LISTED && !is_probe(nr))
			expect(was_killed(status), role->name, "every call", what, status);
		if (listed == LISTED)
			expect(!was_killed(status), role->name, "every call", what, status);
		if (listed != NOT_LISTED) {
			char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

			strcat(strcat(names, " "), name);
			free(name);
			distinct++;
		}
	}
	printf("%s may make %zu calls, of %zu at most:%s\n", role->name, distinct, role->max,
	       names);
	CHECK(distinct && distinct <= role->max);
}

struct with_arguments {
	int nr;
	long a, b, c;
	bool allowed;
};

static bool survives(const struct role *role, const struct with_arguments *call)
{
	pid_t pid = cage_fork();

	if (!pid) {
		long a = call->a;

		role->enter();
		role->lock();
		if (a == -1)
			a = call->nr == SYS_tgkill ? getpid() : vcpu;
		syscall(call->nr, a, call->b, call->c, 0, 0, 0);
		_exit(REFUSED);
	}
	return was_refused(wait_for(pid));
}

/* The VMM's calls that are allowed with some arguments only. */
static void test_arguments(void)
{
	enum {
		VCPU = -1
	};
	static const struct with_arguments list[] = {
		{ SYS_ioctl, VCPU, 0xae80 /* KVM_RUN */, 0, true },
		{ SYS_ioctl, VCPU, 0x4004ae86 /* KVM_INTERRUPT */, 0, true },
		{ SYS_ioctl, VCPU, 0x8090ae81 /* KVM_GET_REGS */, 0, true },
		{ SYS_ioctl, VCPU, 0x4090ae82 /* KVM_SET_REGS */, 0, false },
		{ SYS_ioctl, VCPU, 0xae01 /* KVM_CREATE_VM */, 0, false },
		{ SYS_ioctl, VCPU, 0x5421 /* FIONBIO */, 0, false },
		{ SYS_ioctl, 0, 0xae80, 0, false },
		{ SYS_close, 0, 0, 0, true },
		{ SYS_close, 1, 0, 0, true },
		{ SYS_close, 2, 0, 0, false },
		{ SYS_madvise, 0, 0, MADV_DONTNEED, true },
		{ SYS_madvise, 0, 0, MADV_MERGEABLE, false },
		{ SYS_timerfd_settime, 0, 0, 0, false },
		{ SYS_tgkill, 1, 1, SIGKILL, false },
		{ SYS_tgkill, 2, 2, SIGUSR1, false },
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		char what[64];

		snprintf(what, sizeof(what), "call %d(%ld, %#lx)", list[i].nr, list[i].a,
			 list[i].b);
		expect(survives(&roles[0], &list[i]) == list[i].allowed, "VMM", "arguments", what,
		       list[i].allowed);
	}
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static void be_user(void)
{
	if (geteuid())
		return;
	must(!setgroups(0, NULL) && !setresgid(USER, USER, USER) && !setresuid(USER, USER, USER),
	     "another user");
	must(!prctl(PR_SET_DUMPABLE, 1), "dumpable"); /* as a program that such a user starts */
}

static void open_things(void)
{
	static const char *const paths[] = { "/usr/bin", "/bin/true", "/tmp" };
	int socks[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), "socketpair");
	sock = socks[0];
	device = open("/dev/null", O_RDWR | O_CLOEXEC);
	must(dup2(device, 0) == 0, "stdin"); /* what reads must not wait */
	for (size_t i = 0; i < 3; i++) {
		exports[i].fd = open(paths[i], O_PATH | O_CLOEXEC);
		changed[i].fd = open(paths[i], O_PATH | O_CLOEXEC);
		changed[i].rw = i == 2;
		must(exports[i].fd >= 0 && changed[i].fd >= 0, paths[i]);
		must(!cage_detach(&exports[i].fd, MOUNT_ATTR_RDONLY) &&
			     !cage_detach(&changed[i].fd, i == 2 ? 0 : MOUNT_ATTR_RDONLY),
		     paths[i]);
	}
	server.socks[0] = changer.socks[0] = sock;
	server.socks[1] = changer.socks[1] = -1;
}

int main(int argc, char **argv)
{
	const char *as = argc > 1 ? argv[1] : "";
	enum cage_space space;
	const char *failed;

	isolated = strcmp(as, "none") != 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(as, "root") && geteuid()) {
		puts("not root");
		return 77;
	}
	if (strcmp(as, "root"))
		be_user();
	escape_prepare();
	if (isolated) {
		failed = cage_isolate(&space);
		must(!failed, failed);
		if (space != CAGE_FULL) {
			puts("this host gives no user namespaces");
			return 77;
		}
	}
	open_things();
	if (!strcmp(as, "root")) {
		failed = cage_become(NOBODY, NOBODY);
		must(!failed, failed);
	}
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (isolated && roles[i].enter != launcher_enter)
			test_without_filter(&roles[i]);
		test_escapes(&roles[i]);
		test_every_call(&roles[i]);
	}
	test_arguments();
	return check_failed;
}
