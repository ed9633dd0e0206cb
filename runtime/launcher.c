// SPDX-License-Identifier: GPL-2.0-only
/*
 * The launcher. Opens what the run needs, forks the file server and the VMM,
 * waits for a result, a signal or the time limit, and says what happened.
 * It never touches the guest's memory or messages: all it gets is one
 * struct vmm_result of fixed size, whose text is printable.
 *
 * Nothing is left behind: both children are killed and waited for on every way
 * out, and die with the launcher if it is killed itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "launcher.h"
#include "program.h"
#include "report.h"
#include "request.h"
#include "view.h"
#include "vmm.h"

struct run {
	const struct run_options *options;
	struct vmm_config config;
	struct view view;
	char *env[POLICY_MAX_ENV + 5];
	sigset_t signals, old_signals;
	pid_t vmm, fs;
	int result, signal_fd;
	uint64_t start_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* ---- before the fork ---- */

static int open_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), version;

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO)) {
		say("%s: there is no such device: load the driver (sudo insmod "
		    "build/kmod/vmbox.ko), or use scripts/try, which has an emulated host",
		    path);
		return -1;
	}
	if (fd < 0 && errno == EACCES) {
		struct stat st = { 0 };

		stat(path, &st);
		say("%s: no permission (mode %o, owner uid %u, group gid %u): run as that user, or "
		    "have the mode changed",
		    path, st.st_mode & 07777, st.st_uid, st.st_gid);
		return -1;
	}
	if (fd < 0) {
		say("%s: cannot be opened: %s", path, strerror(errno));
		return -1;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		say("%s: is not a device of vmbox or KVM: give another one with --device", path);
		close(fd);
		return -1;
	}
	return fd;
}

static int map_file(const char *dir, const char *name, struct blob *blob)
{
	char path[PATH_MAX];
	struct stat st;
	void *p;
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path)) {
		say("--guest-dir: the path is too long");
		return -1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !st.st_size) {
		say("%s: the guest's %s cannot be read: %s; build it (ninja -C build) and name its "
		    "directory with --guest-dir",
		    path, name, fd < 0 ? strerror(errno) : "it is empty");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		say("%s: cannot be mapped: %s", path, strerror(errno));
		return -1;
	}
	*blob = (struct blob){ .data = p, .size = st.st_size };
	return 0;
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return n == strcspn(b, "=") && !strncmp(a, b, n);
}

/* "NAME=VALUE"; @value NULL: the caller's. NULL: the caller has no such variable. */
static char *env_entry(const char *name, const char *value)
{
	char *entry = NULL;

	if (!value)
		value = getenv(name);
	if (value && asprintf(&entry, "%s=%s", name, value) < 0)
		entry = NULL;
	return entry;
}

/* A later entry of the same name replaces an earlier one. */
static void add_env(struct run *r, unsigned int *n, char *entry)
{
	unsigned int i;

	if (!entry)
		return;
	for (i = 0; i < *n && !same_name(r->env[i], entry); i++)
		;
	if (i == *n)
		++*n;
	else
		free(r->env[i]);
	r->env[i] = entry;
}

static void make_env(struct run *r)
{
	const struct policy *policy = r->options->policy;
	unsigned int n = 0;
	size_t i;

	add_env(r, &n, strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
	add_env(r, &n, strdup("HOME=/home"));
	add_env(r, &n, strdup("LANG=C.UTF-8"));
	add_env(r, &n, env_entry("TERM", NULL));
	for (i = 0; i < policy->nr_env; i++)
		add_env(r, &n, env_entry(policy->env[i].name, policy->env[i].value));
}

static int make_request(struct run *r, struct program *program)
{
	struct request request = { .program = program->path,
				   .hostname = "vmbox",
				   .argv = r->options->argv,
				   .env = r->env,
				   .view = &r->view,
				   .uid = getuid(),
				   .gid = getgid() };
	char cwd[PATH_MAX], error[PATH_MAX + 128];

	if (!r->options->cwd && !getcwd(cwd, sizeof(cwd))) {
		say("the working directory cannot be found: %s; give one with --cwd",
		    strerror(errno));
		return -1;
	}
	request.cwd = r->options->cwd ? r->options->cwd : cwd;
	make_env(r);
	if (view_make(&r->view, r->options->policy, program, error, sizeof(error))) {
		say("%s", error);
		return -1;
	}
	r->config.request = request_build(&request, &r->config.request_size);
	if (!r->config.request)
		say("the arguments and environment are too long: at most %u bytes together",
		    PVIO_RUN_MAX);
	return r->config.request ? 0 : -1;
}

/* A closed descriptor 0, 1 or 2 must not be taken by something else. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
	for (fd = 0; fd <= 2; fd++)
		fcntl(fd, F_SETFD, fcntl(fd, F_GETFD) & ~FD_CLOEXEC);
}

/* ---- the children ---- */

/* In the child: dies with us; no signal of the terminal's, none of the launcher's mask. */
static pid_t fork_child(struct run *r)
{
	pid_t parent = getpid(), child = fork();

	if (child)
		return child;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(EXIT_VMBOX_FAILED);
	setsid();
	sigprocmask(SIG_SETMASK, &r->old_signals, NULL);
	return 0;
}

static int start_children(struct run *r)
{
	int sock[2], pipe_fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) ||
	    pipe2(pipe_fds, O_CLOEXEC)) {
		say("no descriptors: %s", strerror(errno));
		return -1;
	}
	r->fs = fork_child(r);
	if (!r->fs)
		fs_serve(sock[1], r->view.exports, r->view.nr_exports);
	close(sock[1]);
	r->config.fs_sock = sock[0];
	r->config.result = pipe_fds[1];
	r->vmm = r->fs < 0 ? -1 : fork_child(r);
	if (!r->vmm)
		vmm_main(&r->config);
	close(sock[0]);
	close(pipe_fds[1]);
	r->result = pipe_fds[0];
	if (r->vmm < 0)
		say("no process can be started: %s", strerror(errno));
	return r->vmm < 0 ? -1 : 0;
}

/* Ends @child and collects it. Its wait status, or -1: there was none. */
static int reap(pid_t child)
{
	int status = -1;

	if (child <= 0)
		return -1;
	kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* The wait status of @child, which is lost: it gets a second to end by itself; -1: it did not. */
static int collect(pid_t *child)
{
	pid_t pid = *child;
	int status, i;

	*child = 0;
	for (i = 0; i < 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(10000);
	}
	reap(pid);
	return -1;
}

/* ---- waiting ---- */

/* Milliseconds until the time limit, or -1: none. */
static int time_left(const struct run *r)
{
	uint64_t now = now_ns(), end = r->start_ns + r->options->timeout_ns;

	if (!r->options->timeout_ns)
		return -1;
	if (end <= now)
		return 0;
	return (end - now) / 1000000 < 1000000 ? (int)((end - now + 999999) / 1000000) : 1000000;
}

enum outcome {
	HAVE_RESULT,
	VMM_GONE,   /* without a result */
	ENDED_HERE, /* by a signal or the time limit: with an exit code */
};

/* Never waits for the VMM alone: signals and the time limit hold whatever it does. */
static enum outcome wait_for_end(struct run *r, struct vmm_result *res, int *code)
{
	struct pollfd fds[] = { { .fd = r->result, .events = POLLIN },
				{ .fd = r->signal_fd, .events = POLLIN } };
	struct signalfd_siginfo info;
	size_t fill = 0;
	ssize_t n;

	while (fill < sizeof(*res)) {
		int left = time_left(r);

		if (!left) {
			say("the time limit is over (--wall): the program was ended");
			*code = EXIT_TIMEOUT;
			return ENDED_HERE;
		}
		if (poll(fds, 2, left) < 0) {
			if (errno == EINTR)
				continue;
			say("poll: %s", strerror(errno));
			*code = EXIT_VMBOX_FAILED;
			return ENDED_HERE;
		}
		if ((fds[1].revents & POLLIN) &&
		    read(r->signal_fd, &info, sizeof(info)) == sizeof(info)) {
			*code = 128 + (int)info.ssi_signo;
			return ENDED_HERE;
		}
		if (!fds[0].revents)
			continue;
		n = read(r->result, (char *)res + fill, sizeof(*res) - fill);
		if (n <= 0)
			return VMM_GONE;
		fill += n;
	}
	return HAVE_RESULT;
}

static int supervise(struct run *r)
{
	uint64_t vmm_start = now_ns();
	struct vmm_result res;
	int code;

	/* Only the VMM holds the program's streams now: one that it closes is closed. */
	close(0);
	close(1);
	switch (wait_for_end(r, &res, &code)) {
	case HAVE_RESULT:
		report_sanitize(&res);
		if (r->options->verbose)
			report_times(&res, vmm_start - r->start_ns, now_ns() - r->start_ns);
		if (res.reason == VMM_LOST_FS)
			return report_lost("file server", collect(&r->fs));
		return report_result(r->options, &res);
	case VMM_GONE:
		return report_lost("VMM", collect(&r->vmm));
	case ENDED_HERE:
		break;
	}
	return code;
}

static void block_signals(struct run *r)
{
	sigemptyset(&r->signals);
	sigaddset(&r->signals, SIGINT);
	sigaddset(&r->signals, SIGTERM);
	sigaddset(&r->signals, SIGHUP);
	sigaddset(&r->signals, SIGQUIT);
	sigprocmask(SIG_BLOCK, &r->signals, &r->old_signals);
	r->signal_fd = signalfd(-1, &r->signals, SFD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN); /* a message that nobody reads is no reason to die */
}

int launcher_run(const struct run_options *options)
{
	static struct run r;
	char error[PATH_MAX + 256];
	struct program program;
	int code;

	fill_standard_descriptors();
	r.options = options;
	r.start_ns = now_ns();
	r.config.memory = options->memory;
	r.config.verbose = options->verbose;
	code = program_find(options->argv[0], &program, error, sizeof(error));
	if (code) {
		say("%s", error);
		return code;
	}
	r.config.device = open_device(options->device);
	if (r.config.device < 0 || map_file(options->guest_dir, "vmlinux", &r.config.kernel) ||
	    map_file(options->guest_dir, "initrd", &r.config.initrd) || make_request(&r, &program))
		return EXIT_VMBOX_FAILED;
	block_signals(&r);
	code = start_children(&r) ? EXIT_VMBOX_FAILED : supervise(&r);
	reap(r.vmm);
	reap(r.fs);
	return code;
}
