// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attempts to get out of a cage. Each is made after the cage is shut, by raw
 * calls where glibc would add some of its own. What is there to be found on the
 * host is made by escape_prepare(): a file, a shared memory segment, an abstract
 * socket, a process.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "escape.h"

#define KEY	   0x766d6278
#define FD_MAX	   64
#define X32_BIT	   0x40000000
#define I386_OPEN  5
#define PIDS_TRIED 64

static const char secret[] = "/etc/passwd";
static const struct sockaddr_un host_socket = { .sun_family = AF_UNIX,
						.sun_path = "\0vmbox-escape" };
static int host_pid; /* as the host counts */

void escape_prepare(void)
{
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	host_pid = getpid();
	if (s < 0 || bind(s, (const struct sockaddr *)&host_socket, sizeof(host_socket)) ||
	    listen(s, 8) || shmctl(shmget(KEY, 4096, IPC_CREAT | 0666), IPC_RMID, NULL)) {
		perror("escape_prepare");
		exit(1);
	}
}

static int open2(int dir, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags };

	return syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static bool open_files(void)
{
	return open(secret, O_RDONLY) >= 0 || open("/", O_RDWR | O_TMPFILE, 0600) >= 0 ||
	       open("/new", O_RDWR | O_CREAT, 0600) >= 0 || mkdir("/new", 0700) == 0;
}

static bool open_files2(void)
{
	return open2(AT_FDCWD, secret, O_RDONLY) >= 0 ||
	       open2(AT_FDCWD, "/proc/self/mem", O_RDWR) >= 0;
}

static bool see_files(void)
{
	return open2(AT_FDCWD, secret, O_PATH) >= 0 || open2(AT_FDCWD, "/proc/self", O_PATH) >= 0;
}

static bool open_devices(void)
{
	return open("/dev/null", O_RDWR) >= 0 || open("/dev/vmbox", O_RDWR) >= 0 ||
	       open("/dev/kvm", O_RDWR) >= 0 || mknod("/kvm", S_IFCHR | 0600, 10 << 8 | 232) == 0;
}

static bool walk_proc(void)
{
	char path[64];

	for (int pid = 0; pid < PIDS_TRIED; pid++) {
		snprintf(path, sizeof(path), "/proc/%d/root/etc", pid ? pid : host_pid);
		if (open(path, O_PATH) >= 0)
			return true;
	}
	return open("/proc/self/fd", O_PATH) >= 0 || open("/proc", O_RDONLY) >= 0 ||
	       open("/sys/kernel", O_PATH) >= 0;
}

/* Up from each descriptor: where it leads must be where it started. */
static bool climb(void)
{
	static const char *const ways[] = {
		"..",	      "../..", "../../../../../../..", "../1/root", "../../etc/passwd",
		"/etc/passwd"
	};

	for (int fd = 0; fd < FD_MAX; fd++) {
		struct stat from, to;

		if (fstat(fd, &from))
			continue;
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			int up = open2(fd, ways[i], O_PATH);

			if (up >= 0 && (fstat(up, &to) || from.st_dev != to.st_dev ||
					from.st_ino != to.st_ino))
				return true;
			if (up >= 0)
				close(up);
		}
	}
	return false;
}

/* Write access to, and new files beneath, what is open for reading. */
static bool write_below(void)
{
	char path[32];

	for (int fd = 3; fd < FD_MAX; fd++) {
		struct open_how new = { .flags = O_WRONLY | O_CREAT, .mode = 0600 };
		struct stat st;

		if (fstat(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
			continue;
		snprintf(path, sizeof(path), "%d", fd);
		for (int dir = 3; dir < FD_MAX; dir++)
			if (open2(dir, path, O_WRONLY) >= 0 || open2(dir, path, O_RDWR) >= 0)
				return true;
		if (syscall(SYS_openat2, fd, "vmbox-new", &new, sizeof(new)) >= 0)
			return true;
	}
	return false;
}

static bool execute(void)
{
	char *argv[] = { "true", NULL };

	execve("/bin/true", argv, NULL);
	return false; /* a success is seen by its exit status, 0 */
}

static bool execute_memory(void)
{
	return syscall(SYS_memfd_create, "x", 0) >= 0;
}

static bool connect_unix(void)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	return s >= 0 && !connect(s, (const struct sockaddr *)&host_socket, sizeof(host_socket));
}

static bool connect_inet(void)
{
	const struct sockaddr to = { .sa_family = AF_INET, .sa_data = { 0, 53, 127, 0, 0, 1 } };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	return s >= 0 && !connect(s, &to, sizeof(to));
}

static bool debug_host(void)
{
	char byte;
	struct iovec ours = { &byte, 1 }, theirs = { &host_pid, 1 };

	return ptrace(PTRACE_SEIZE, host_pid, NULL, NULL) == 0 ||
	       process_vm_readv(host_pid, &ours, 1, &theirs, 1, 0) >= 0;
}

static bool signal_others(void)
{
	return kill(host_pid, 0) == 0 || kill(-1, 0) == 0 ||
	       syscall(SYS_pidfd_open, host_pid, 0) >= 0;
}

static bool signal_thread(void)
{
	return syscall(SYS_tgkill, host_pid, host_pid, SIGUSR1) == 0 ||
	       syscall(SYS_tkill, host_pid, SIGUSR1) == 0;
}

static bool change_mounts(void)
{
	return mount("x", "/", "tmpfs", 0, NULL) == 0 || umount2("/", MNT_DETACH) == 0 ||
	       mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0 || chroot("/") == 0 ||
	       syscall(SYS_fsopen, "tmpfs", 0) >= 0 || syscall(SYS_pivot_root, "/", "/") == 0;
}

static bool become_root(void)
{
	return (getuid() && setuid(0) == 0) || setgroups(0, NULL) == 0 ||
	       unshare(CLONE_NEWNET) == 0 || prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 ||
	       prctl(PR_CAPBSET_READ, 0) == 1;
}

static bool new_namespace(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static bool share_memory(void)
{
	return shmget(KEY, 4096, 0) >= 0;
}

static bool make_process(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0;
}

static bool map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

static bool protect_code(void)
{
	static char page[8192] __attribute__((aligned(4096)));

	return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool protect_code_by_key(void)
{
	static char page[8192] __attribute__((aligned(4096)));

	return syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1) == 0;
}

/* Other requests on every descriptor, and those of the vCPU on others. */
static bool other_ioctls(void)
{
	static const unsigned long requests[] = {
		KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_SET_USER_MEMORY_REGION,
		KVM_SET_SREGS, FIONREAD,	TIOCSTI
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		for (int fd = 0; fd < FD_MAX; fd++)
			syscall(SYS_ioctl, fd, requests[i], 0);
	return true;
}

static bool vcpu_ioctl_elsewhere(void)
{
	syscall(SYS_ioctl, 2, KVM_RUN, 0);
	return true;
}

static bool wide_ioctl(void)
{
	for (int fd = 0; fd < FD_MAX; fd++)
		syscall(SYS_ioctl, fd, KVM_RUN | 1UL << 32, 0);
	return true;
}

static bool duplicate(void)
{
	return syscall(SYS_dup, 2) >= 0 || syscall(SYS_fcntl, 2, F_DUPFD, 10) >= 0;
}

static bool io_uring(void)
{
	char params[256] = { 0 };

	return syscall(SYS_io_uring_setup, 1, params) >= 0;
}

static bool kernel_features(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) >= 0 || syscall(SYS_userfaultfd, 0) >= 0 ||
	       syscall(SYS_keyctl, 0, 0, 0) >= 0;
}

static bool x32_call(void)
{
	syscall(X32_BIT | SYS_getpid);
	return true;
}

static bool i386_call(void)
{
	long ret = I386_OPEN;

	__asm__ volatile("int $0x80" : "+a"(ret) : "b"(0), "c"(0), "d"(0) : "memory");
	return true;
}

const struct escape escapes[] = {
	{ "open_files", ESCAPE_CAGE, open_files },
	{ "open_files2", ESCAPE_CAGE, open_files2 },
	{ "open_devices", ESCAPE_CAGE, open_devices },
	{ "walk_proc", ESCAPE_CAGE, walk_proc },
	{ "see_files", ESCAPE_SPACE, see_files },
	{ "climb", ESCAPE_SPACE, climb },
	{ "write_below", ESCAPE_CAGE, write_below },
	{ "execute", ESCAPE_CAGE, execute },
	{ "connect_unix", ESCAPE_CAGE, connect_unix },
	{ "connect_inet", ESCAPE_CAGE, connect_inet },
	{ "debug_host", ESCAPE_CAGE, debug_host },
	{ "signal_others", ESCAPE_CAGE, signal_others },
	{ "signal_thread", ESCAPE_CAGE, signal_thread },
	{ "change_mounts", ESCAPE_CAGE, change_mounts },
	{ "become_root", ESCAPE_CAGE, become_root },
	{ "share_memory", ESCAPE_CAGE, share_memory },
	{ "new_namespace", ESCAPE_FILTER, new_namespace },
	{ "make_process", ESCAPE_FILTER, make_process },
	{ "execute_memory", ESCAPE_FILTER, execute_memory },
	{ "map_code", ESCAPE_FILTER, map_code },
	{ "protect_code", ESCAPE_FILTER, protect_code },
	{ "protect_code_by_key", ESCAPE_FILTER, protect_code_by_key },
	{ "other_ioctls", ESCAPE_FILTER, other_ioctls },
	{ "vcpu_ioctl_elsewhere", ESCAPE_FILTER, vcpu_ioctl_elsewhere },
	{ "wide_ioctl", ESCAPE_FILTER, wide_ioctl },
	{ "duplicate", ESCAPE_FILTER, duplicate },
	{ "io_uring", ESCAPE_FILTER, io_uring },
	{ "kernel_features", ESCAPE_FILTER, kernel_features },
	{ "x32_call", ESCAPE_FILTER, x32_call },
	{ "i386_call", ESCAPE_FILTER, i386_call },
};
const size_t nr_escapes = sizeof(escapes) / sizeof(escapes[0]);

const char *escape_verdict(const char *name)
{
	for (size_t i = 0; i < nr_escapes; i++)
		if (!strcmp(escapes[i].name, name))
			return escapes[i].attempt() ? "GOT OUT" : "refused";
	return "no such attempt";
}
