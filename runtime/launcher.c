// SPDX-License-Identifier: GPL-2.0-only
/*
 * The launcher. Opens what the run needs, in namespaces of its own, gives up
 * what else it has, forks the file server and the VMM, goes into a cage itself,
 * waits for a result or the time limit, passes on signals and what is typed, and says
 * what happened.
 * It never touches the guest's memory or messages: all it gets is a
 * struct vmm_result of fixed size, whose text is printable, and some before: that the program
 * will write from now on: then the terminal is the program's; that it has succeeded, if there
 * is an overlay to be committed: then it opens the file server's gate; and that it has stopped.
 * Meanwhile it looks at the driver's counters.
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
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"
#include "fs.h"
#include "fs_confine.h"
#include "launcher.h"
#include "program.h"
#include "progress.h"
#include "record.h"
#include "report.h"
#include "request.h"
#include "terminal.h"
#include "view.h"
#include "vmm.h"

#define NR_POLL 4

#define NOBODY 65534 /* the kernel's own number for it */

#define WATCH_MS  500		/* how often the guest's exits are looked at */
#define WINDOW_NS 1000000000ULL /* of processor time: the least that a rate is taken over */

struct run {
	const struct run_options *options;
	struct vmm_config config;
	struct view view;
	char *env[POLICY_MAX_ENV + 5];
	sigset_t signals, old_signals;
	struct terminal terminal;
	bool stop_asked;	 /* by a signal, since the program stopped last */
	uint64_t interrupted_ns; /* by SIGINT, for the first time; 0: not yet */
	pid_t vmm, fs;
	int result, signal_fd, audit;
	int gate;     /* -1: there is nothing to commit */
	int counters; /* the driver's, of the VM; -1: not yet, or there are none */
	clockid_t vmm_clock;
	struct {
		uint64_t exits, cpu_ns, wall_ns;
	} window; /* when the last rate of exits was taken */
	bool running, opened;
	uid_t uid; /* of the program in the guest */
	gid_t gid;
	uint64_t start_ns;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* ---- before the fork ---- */

static int confinement_failed(const char *step)
{
	say("the confinement cannot be made: %s: %s", step, strerror(errno));
	return -1;
}

/* Namespaces, where the host has them for us; if not, says so. */
static int isolate(const struct run_options *options)
{
	enum cage_space space;
	const char *failed = cage_isolate(&space);

	if (failed)
		return confinement_failed(failed);
	if (space == CAGE_FULL)
		return 0;
	say("%s: this host gives no user namespace (sysctl user.max_user_namespaces, "
	    "kernel.unprivileged_userns_clone; a container's rules)%s: left are %sseccomp%s",
	    options->require_confinement ? "--require-confinement" : "less confinement",
	    cage_landlock_abi() > 0 ? "" : ", nor has it Landlock",
	    space == CAGE_NO_USER ? "the other namespaces and " : "",
	    cage_landlock_abi() > 0 ? " and Landlock"
	    : space == CAGE_NO_USER ? ""
				    : ": a guest that took the file server over could change what "
				      "you can");
	return options->require_confinement ? -1 : 0;
}

bool launcher_owner(uid_t *uid, gid_t *gid)
{
	const struct passwd *owner;
	struct stat st;

	*uid = NOBODY;
	*gid = NOBODY;
	if (stat(".", &st) || !st.st_uid)
		return false;
	owner = getpwuid(st.st_uid);
	*uid = st.st_uid;
	if (owner)
		*gid = owner->pw_gid;
	return true;
}

/*
 * Root's run goes on as the owner of the working directory; or, if that is root
 * too, as nobody, unless files of root's are to be made or changed: only root can.
 */
static int leave_root(const struct run *r)
{
	const char *failed;
	uid_t uid;
	gid_t gid;

	if (geteuid() ||
	    (!launcher_owner(&uid, &gid) && fs_any_rw(r->view.exports, r->view.nr_exports)))
		return 0;
	failed = cage_become(uid, gid);
	return failed ? confinement_failed(failed) : 0;
}

/* What is read-only is so for the host's kernel too. */
static int detach_exports(struct run *r)
{
	size_t i;

	for (i = 0; i < r->view.nr_exports; i++) {
		struct fs_export *export = &r->view.exports[i];
		const char *failed = cage_detach(
			&export->fd, (export->rw ? 0 : MOUNT_ATTR_RDONLY) | MOUNT_ATTR_NOSUID |
					     MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);

		if (failed)
			return confinement_failed(failed);
	}
	return 0;
}

int launcher_open_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), version;

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO)) {
		say("%s: there is no such device: load the driver (sudo modprobe vmbox); "
		    "`vmbox doctor` says what else may be missing",
		    path);
		return -1;
	}
	if (fd < 0 && errno == EACCES) {
		say("%s: no permission: who is in the group vmbox has it; `vmbox doctor` says what "
		    "to do",
		    path);
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

/* The real path of an open file; false: it has none. */
static bool real_path(int fd, char path[PATH_MAX])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	path[n < 0 ? 0 : n] = '\0';
	return path[0] == '/';
}

/* The audit must be out of the guest's reach. */
static bool is_safe_audit(const struct run *r, const char *name)
{
	char path[PATH_MAX], top[PATH_MAX];
	struct stat audit, stream;
	size_t i, n;
	int fd;

	for (fd = 0; fd <= 2; fd++) {
		if (fstat(r->audit, &audit) || fstat(fd, &stream) ||
		    audit.st_dev != stream.st_dev || audit.st_ino != stream.st_ino)
			continue;
		say("--audit %s: it is the program's %s, too: give a file of its own", name,
		    fd == 0   ? "stdin"
		    : fd == 1 ? "stdout"
			      : "stderr");
		return false;
	}
	for (i = 0; i < r->view.nr_exports; i++) {
		const struct fs_export *e = &r->view.exports[i];

		if (!e->rw || !real_path(r->audit, path) || !real_path(e->fd, top))
			continue;
		n = strcmp(top, "/") ? strlen(top) : 0;
		if (strncmp(path, top, n) || (path[n] && path[n] != '/'))
			continue;
		say("--audit %s: the guest could change it (%s): give a file outside of what is "
		    "'rw'",
		    name, e->rule);
		return false;
	}
	return true;
}

static int open_audit(struct run *r)
{
	const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY;
	const char *name = r->options->audit;
	bool made;

	r->audit = -1;
	if (!name)
		return 0;
	r->audit = open(name, flags | O_CREAT | O_EXCL, 0600);
	made = r->audit >= 0;
	if (!made && errno == EEXIST)
		r->audit = open(name, flags);
	if (r->audit < 0) {
		say("--audit %s: cannot be opened: %s", name, strerror(errno));
		return -1;
	}
	if (!is_safe_audit(r, name)) {
		if (made)
			unlink(name);
		return -1;
	}
	if (ftruncate(r->audit, 0) && errno != EINVAL) { /* a pipe is as good as a file */
		say("--audit %s: cannot be written: %s", name, strerror(errno));
		return -1;
	}
	return 0;
}

static int map_file(const char *dir, const char *name, struct blob *blob, struct record_file *file)
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
	record_guest(file, path, p, st.st_size);
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

/* A policy's number for the guest. */
static uint32_t count(uint64_t limit)
{
	return limit == POLICY_UNSET ? 0 : limit;
}

static int make_request(struct run *r, struct program *program)
{
	const uint64_t *limit = r->options->policy->limit;
	struct request request = { .program = program->path,
				   .hostname = "vmbox",
				   .argv = r->options->argv,
				   .env = r->env,
				   .view = &r->view,
				   .uid = r->uid,
				   .gid = r->gid,
				   .file_size = limit[POLICY_FILE_SIZE],
				   .files = count(limit[POLICY_FILES]),
				   .pids = count(limit[POLICY_PIDS]) };
	char cwd[PATH_MAX], error[PATH_MAX + 128];

	if (!r->options->cwd && !getcwd(cwd, sizeof(cwd))) {
		say("the working directory cannot be found: %s; give one with --cwd",
		    strerror(errno));
		return -1;
	}
	request.cwd = r->options->cwd ? r->options->cwd : cwd;
	terminal_describe(&r->terminal, &request.terminal);
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

void launcher_fill_descriptors(void)
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

static void on_cpu_limit(int sig)
{
	(void)sig;
	_exit(EXIT_CPU_LIMIT);
}

/*
 * Processor time, of what works for the guest: SIGXCPU ends it (by a handler, because a PID
 * namespace's first process has no default actions), and SIGKILL, a second later, one
 * that would not have it. A shorter limit of the caller's stays.
 */
static void limit_cpu(uint64_t ns)
{
	rlim_t seconds = ns / 1000000000 + !!(ns % 1000000000);
	struct rlimit limit;

	if (ns == POLICY_UNSET || getrlimit(RLIMIT_CPU, &limit))
		return;
	if (seconds + 1 < limit.rlim_max)
		limit.rlim_max = seconds + 1;
	if (seconds < limit.rlim_cur)
		limit.rlim_cur = seconds;
	signal(SIGXCPU, on_cpu_limit);
	setrlimit(RLIMIT_CPU, &limit);
}

/* In the child: no signal of the terminal's, none of the launcher's mask; of the record, @piece. */
static pid_t fork_child(struct run *r, const void *piece)
{
	pid_t child = cage_fork();

	if (!child) {
		record_keep(piece);
		setsid();
		limit_cpu(r->options->policy->limit[POLICY_CPU]);
		sigprocmask(SIG_SETMASK, &r->old_signals, NULL);
	}
	return child;
}

static bool any_gated(const struct view *v)
{
	size_t i;

	for (i = 0; i < v->nr_exports; i++)
		if (v->exports[i].gated)
			return true;
	return false;
}

static int start_children(struct run *r)
{
	struct fs_config fs = { .exports = r->view.exports,
				.n = r->view.nr_exports,
				.audit = r->audit,
				.on_terminal = r->terminal.streams & 1 << 2,
				.learn = r->options->uses,
				.gate = -1,
				.record = record_fs,
				.uid = r->uid,
				.gid = r->gid };
	int sock[FS_SESSIONS][2], result[2], gate[2] = { -1, -1 }, keys[2] = { -1, -1 };
	int i, err = 0;

	for (i = 0; i < FS_SESSIONS; i++) {
		err |= socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock[i]);
		r->config.fs_sock[i] = sock[i][0];
		fs.socks[i] = sock[i][1];
	}
	err |= socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, result);
	r->config.commits = any_gated(&r->view);
	if (r->config.commits)
		err |= pipe2(gate, O_CLOEXEC | O_NONBLOCK);
	r->config.asks = r->terminal.fd >= 0;
	if (r->config.asks)
		err |= socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, keys);
	if (err) {
		say("no descriptors: %s", strerror(errno));
		return -1;
	}
	fs.gate = gate[0];
	r->gate = gate[1];
	r->config.record = record_vmm;
	record_hide();
	r->fs = fork_child(r, record_fs);
	if (!r->fs)
		fs_serve(&fs);
	r->config.result = result[1];
	for (i = 0; i < FS_SESSIONS; i++)
		close(sock[i][1]);
	record->process[RECORD_FS].pid = r->fs;
	r->vmm = r->fs < 0 ? -1 : fork_child(r, record_vmm);
	if (!r->vmm) {
		if (keys[1] >= 0)
			dup2(keys[1], 0);
		vmm_main(&r->config);
	}
	for (i = 0; i < FS_SESSIONS; i++)
		close(sock[i][0]);
	close(result[1]);
	r->result = result[0];
	record->process[RECORD_VMM].pid = r->vmm;
	if (keys[1] >= 0)
		close(keys[1]);
	r->terminal.keys = keys[0];
	/* The VMM may be the guest's: nothing that is written to it may wait. */
	fcntl(r->result, F_SETFL, O_NONBLOCK);
	fcntl(keys[0], F_SETFL, O_NONBLOCK);
	if (r->vmm < 0)
		say("no process can be started: %s", strerror(errno));
	return r->vmm < 0 ? -1 : 0;
}

/* As waitpid(), and what the child has used is on record. */
static pid_t wait_for(pid_t child, int *status, int flags)
{
	struct rusage usage;
	pid_t ended = wait4(child, status, flags, &usage);

	if (ended == child)
		record_usage(child, &usage);
	return ended;
}

/* Ends @child and collects it. Its wait status, or -1: there was none. */
static int reap(pid_t child)
{
	int status = -1;

	if (child <= 0)
		return -1;
	kill(child, SIGKILL);
	while (wait_for(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* The wait status of @child, which has a second to end by itself; -1: it did not. */
static int collect(pid_t *child)
{
	pid_t pid = *child;
	int status, i;

	*child = 0;
	for (i = 0; i < 1000; i++) {
		if (wait_for(pid, &status, WNOHANG) == pid)
			return status;
		usleep(1000);
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

/* What limits the exits of a run. */
static uint64_t exits_limit(const struct run *r)
{
	uint64_t limit = r->options->policy->limit[POLICY_EXITS];

	return limit == POLICY_UNSET ? POLICY_EXITS_MAX : limit;
}

/* How many there were. False: the driver does not say. */
static bool count_exits(const struct run *r, uint64_t *exits)
{
	return r->counters >= 0 && counters_read(r->counters, &record->counters) &&
	       counters_exits(&record->counters, exits);
}

/*
 * Has the guest had more exits since the last look than it may have in the processor time that
 * it took? The driver counts them, so that also those are seen that no process of ours is told
 * of. More time than has passed does not count: that is of the VMM's other threads.
 */
static bool is_exit_storm(struct run *r)
{
	uint64_t cpu = clock_ns(r->vmm_clock), wall = now_ns(), exits, took;
	bool storm;

	if (!count_exits(r, &exits))
		return false;
	took = cpu - r->window.cpu_ns;
	if (took > wall - r->window.wall_ns)
		took = wall - r->window.wall_ns;
	if (took < WINDOW_NS)
		return false;
	storm = (double)(exits - r->window.exits) * 1e9 > (double)exits_limit(r) * (double)took;
	r->window.exits = exits;
	r->window.cpu_ns = cpu;
	r->window.wall_ns = wall;
	return storm;
}

/* Milliseconds until there is something to do that no descriptor tells of; -1: never. */
static int time_to_wait(const struct run *r)
{
	int left = time_left(r);

	return r->counters < 0 || (left >= 0 && left < WATCH_MS) ? left : WATCH_MS;
}

/* Takes bytes from the VMM, and the driver's counters, which come with the first. As read(). */
static ssize_t receive(struct run *r, void *to, size_t size)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec bytes = { to, size };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(r->result, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (head && head->cmsg_type == SCM_RIGHTS && r->counters < 0)
		memcpy(&r->counters, CMSG_DATA(head), sizeof(r->counters));
	return n;
}

enum outcome {
	HAVE_RESULT,
	VMM_GONE,   /* without a result */
	ENDED_HERE, /* by a signal or the time limit: with an exit code */
};

/* What does not fit into the socket is lost: the VMM does not take it. */
static bool order(const struct run *r, const struct vmm_order *order)
{
	return write(r->result, order, sizeof(*order)) == sizeof(*order);
}

static void send_signal(const struct run *r, unsigned int number, bool to_group)
{
	order(r, &(struct vmm_order){ .kind = VMM_SIGNAL, .signal = { number, to_group } });
}

static void send_size(const struct run *r)
{
	struct vmm_order size = { .kind = VMM_WINSIZE };

	terminal_size(&r->terminal, &size.size);
	order(r, &size);
}

static void signal_children(const struct run *r, int sig)
{
	kill(r->vmm, sig);
	kill(r->fs, sig);
}

/*
 * Stops as @sig stops a program, and the guest with us: no limit can be enforced meanwhile. With
 * a terminal that is raw it is for us to stop our whole process group, which Ctrl-Z would have done.
 */
static void stop(struct run *r, int sig)
{
	bool was_raw = r->terminal.raw;
	sigset_t set;

	terminal_leave(&r->terminal);
	signal_children(r, SIGSTOP);
	sigemptyset(&set);
	sigaddset(&set, sig);
	kill(was_raw || sig == SIGTTIN ? 0 : getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* here we stop, and here we go on */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal_children(r, SIGCONT);
	send_signal(r, SIGCONT, true);
}

/* In the foreground again, perhaps; the window may have changed. */
static void resume_terminal(struct run *r)
{
	if (!r->terminal.started || !r->terminal.streams)
		return;
	terminal_enter(&r->terminal);
	send_size(r);
}

/* The program has stopped: we too, if somebody here wanted that. */
static void follow_stop(struct run *r)
{
	if (!r->stop_asked && !r->terminal.stop_key)
		return;
	r->stop_asked = r->terminal.stop_key = false;
	stop(r, SIGTSTP);
	resume_terminal(r);
}

/* A signal of ours is the program's. False: it ends the run. */
static bool forward(struct run *r, const struct signalfd_siginfo *info)
{
	int sig = info->ssi_signo;
	bool from_kernel = info->ssi_code == SI_KERNEL; /* the terminal's: for all of a group */

	if (r->opened) /* there is no program any more, but changes are being made */
		return sig != SIGINT && sig != SIGTERM && sig != SIGHUP && sig != SIGQUIT;
	/* Once more, and not the same once more: timeout(1) and make(1) send it to the group, too. */
	if (sig == SIGINT && r->interrupted_ns && now_ns() - r->interrupted_ns > 250000000)
		return false;
	if (sig == SIGINT && !r->interrupted_ns)
		r->interrupted_ns = now_ns();
	if (sig == SIGWINCH && r->terminal.streams) {
		send_size(r); /* of which the guest's terminal makes a signal */
		if (from_kernel)
			return true;
	}
	if (sig == SIGCONT)
		resume_terminal(r);
	r->stop_asked |= sig == SIGTSTP;
	send_signal(r, sig, from_kernel);
	return true;
}

/* The terminal and the VMM's wishes for what is typed. False: the user ends the run. */
static bool attend_terminal(struct run *r, bool wish, bool keys)
{
	struct terminal *t = &r->terminal;

	if (wish && terminal_take_wish(t))
		resume_terminal(r);
	if (keys && !terminal_pass_keys(t, now_ns()))
		return false;
	/* As a read() in the background does; where nobody can stop us, there is nothing to read. */
	if (t->wanted && !t->streams && t->keys >= 0 && !terminal_in_foreground(t)) {
		stop(r, SIGTTIN);
		if (!terminal_in_foreground(t))
			terminal_close_keys(t);
	}
	return true;
}

/* Never waits for the VMM alone: signals and the time limit hold whatever it does. */
static enum outcome wait_for_result(struct run *r, struct vmm_result *res, int *code)
{
	struct pollfd fds[NR_POLL] = { { .fd = r->result, .events = POLLIN },
				       { .fd = r->signal_fd, .events = POLLIN },
				       { .events = POLLIN },
				       { .events = POLLIN } };
	struct signalfd_siginfo info;
	size_t fill = 0;
	ssize_t n;

	while (fill < sizeof(*res)) {
		if (!time_left(r)) {
			say("the time limit is over (--wall): the program was ended");
			*code = record_end(RUN_WALL, 0);
			return ENDED_HERE;
		}
		if (is_exit_storm(r)) {
			say("the guest leaves guest mode more often than it may (--exits): the "
			    "program was ended");
			*code = record_end(RUN_EXITS, 0);
			return ENDED_HERE;
		}
		fds[2].fd = r->terminal.keys;
		fds[3].fd = terminal_poll_fd(&r->terminal);
		if (poll(fds, NR_POLL, time_to_wait(r)) < 0) {
			if (errno == EINTR)
				continue;
			say("poll: %s", strerror(errno));
			*code = EXIT_VMBOX_FAILED;
			return ENDED_HERE;
		}
		if ((fds[1].revents & POLLIN) &&
		    read(r->signal_fd, &info, sizeof(info)) == sizeof(info) && !forward(r, &info)) {
			*code = record_end(RUN_INTERRUPTED, (int)info.ssi_signo);
			return ENDED_HERE;
		}
		if (!attend_terminal(r, fds[2].revents, fds[3].revents)) {
			terminal_leave(&r->terminal);
			say("Ctrl-] was typed three times: the program was ended");
			*code = record_end(RUN_INTERRUPTED, SIGINT);
			return ENDED_HERE;
		}
		if (!fds[0].revents)
			continue;
		n = receive(r, (char *)res + fill, sizeof(*res) - fill);
		if (n <= 0)
			return VMM_GONE;
		fill += n;
		if (fill == sizeof(*res) && res->reason == VMM_WANTS_RUN && !r->running) {
			r->running = true;
			progress_end();
			if (!order(r, &(struct vmm_order){ .kind = VMM_GO_ON }))
				return VMM_GONE;
			fill = 0;
		}
		if (fill == sizeof(*res) && res->reason == VMM_STOPPED) {
			follow_stop(r);
			fill = 0;
		}
	}
	return HAVE_RESULT;
}

/*
 * The guest says that the program has succeeded, and its output is out: it may make
 * the changes. Once: what comes next is the end. False if that cannot be told.
 */
static bool open_gate(struct run *r)
{
	r->opened = write(r->gate, "", 1) == 1;
	return r->opened && order(r, &(struct vmm_order){ .kind = VMM_GO_ON });
}

static bool may_commit(const struct run *r, const struct vmm_result *res)
{
	const int *lost = res->stream_error;

	return r->gate >= 0 && !lost[0] && !lost[1] && !lost[2];
}

static enum outcome wait_for_end(struct run *r, struct vmm_result *res, int *code)
{
	enum outcome outcome = wait_for_result(r, res, code);
	uint64_t exits;

	if (outcome == HAVE_RESULT && res->reason == VMM_STARTED) {
		if (r->options->policy->limit[POLICY_EXITS] != POLICY_UNSET &&
		    !count_exits(r, &exits)) {
			say("--exits: cannot be enforced, since %s counts no exits: take it away, "
			    "or use another device",
			    r->options->device);
			*code = EXIT_VMBOX_FAILED;
			return ENDED_HERE;
		}
		outcome = wait_for_result(r, res, code);
	}
	if (outcome != HAVE_RESULT || res->reason != VMM_WANTS_COMMIT)
		return outcome;
	if (may_commit(r, res)) {
		progress_begin("committing");
		return open_gate(r) ? wait_for_result(r, res, code) : VMM_GONE;
	}
	res->reason = VMM_PROGRAM_ENDED; /* but some of its output is lost */
	return HAVE_RESULT;
}

/* What became of the changes: if they may be there, success and nothing else is said of the run. */
static int finish_commit(const struct run *r, enum outcome outcome, const struct vmm_result *res,
			 int code)
{
	if (r->gate < 0 || (r->opened && outcome == HAVE_RESULT && report_is_success(res)))
		return code;
	report_not_committed(r->opened);
	return r->opened && outcome == HAVE_RESULT ? record_end(RUN_COMMIT, 0) : code;
}

static int report_outcome(struct run *r, enum outcome outcome, const struct vmm_result *res,
			  int code)
{
	int status;

	switch (outcome) {
	case HAVE_RESULT:
		/* One that goes on after its result, and then tries what it may not, lied. */
		status = collect(&r->vmm);
		if (status != -1 && WIFSIGNALED(status))
			return report_lost(RUN_VMM, status);
		if (res->reason == VMM_LOST_FS)
			return report_lost(RUN_FILE_SERVER, collect(&r->fs));
		return report_result(r->options, res);
	case VMM_GONE:
		return report_lost(RUN_VMM, collect(&r->vmm));
	case ENDED_HERE:
		break;
	}
	return code;
}

static int supervise(struct run *r)
{
	const int keep[] = { r->result,		 r->signal_fd,	       r->gate,
			     r->options->scribe, r->options->reporter, r->terminal.keys,
			     r->terminal.fd };
	uint64_t vmm_start = record->vmm_start_ns = now_ns();
	struct vmm_result res;
	enum outcome outcome;
	const char *failed;
	int code = 0;

	/* Only the VMM holds the program's streams now: one that it closes is closed. */
	close(0);
	close(1);
	progress_prepare();
	if (!r->options->verbose)
		progress_begin("starting the guest");
	clock_getcpuclockid(r->vmm, &r->vmm_clock);
	r->window.wall_ns = vmm_start;
	failed = confine_launcher(r->vmm, r->fs, r->terminal.fd, keep,
				  sizeof(keep) / sizeof(keep[0]));
	if (failed) {
		confinement_failed(failed);
		return EXIT_VMBOX_FAILED;
	}
	outcome = wait_for_end(r, &res, &code);
	progress_end();
	terminal_leave(&r->terminal);
	if (outcome == HAVE_RESULT) {
		report_sanitize(&res);
		if (r->options->verbose)
			report_times(&res, vmm_start - r->start_ns, now_ns() - r->start_ns);
	}
	code = report_outcome(r, outcome, &res, code);
	return finish_commit(r, outcome, &res, code);
}

/* The streams have ended: the file server says what is left to say. The exit status. */
static int finish_fs(struct run *r, int code)
{
	int status;

	if (r->fs <= 0)
		return code;
	status = collect(&r->fs);
	if (status == -1 && r->audit >= 0)
		say("--audit %s: its end is missing: the file server was at work on the guest's "
		    "last request for a second, and was ended",
		    r->options->audit);
	if (status == -1)
		return r->audit >= 0 ? record_end(RUN_AUDIT, 0) : code;
	if (WIFSIGNALED(status))
		return report_lost(RUN_FILE_SERVER, status);
	return WEXITSTATUS(status) == FS_AUDIT_FAILED ? record_end(RUN_AUDIT, 0) : code;
}

static void block_signals(struct run *r)
{
	static const int forwarded[] = { SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT, SIGUSR1,
					 SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT };
	struct sigaction now;

	sigemptyset(&r->signals);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++) {
		/* What we were started to ignore is ignored: nohup(1). */
		if (!sigaction(forwarded[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(&r->signals, forwarded[i]);
	}
	sigprocmask(SIG_BLOCK, &r->signals, &r->old_signals);
	r->signal_fd = signalfd(-1, &r->signals, SFD_CLOEXEC);
	/* For the terminal: in the background it is an error to read, and none to set its modes. */
	sigaddset(&r->signals, SIGTTIN);
	sigaddset(&r->signals, SIGTTOU);
	sigprocmask(SIG_BLOCK, &r->signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* a message that nobody reads is no reason to die */
}

int launcher_run(const struct run_options *options)
{
	static struct run r;
	char error[PATH_MAX + 256];
	struct program program;
	int code;

	launcher_fill_descriptors();
	terminal_open(&r.terminal);
	say_on_terminal(r.terminal.streams & 1 << 2);
	r.options = options;
	r.start_ns = now_ns();
	r.uid = getuid();
	r.gid = getgid();
	r.counters = -1;
	r.config.memory = record->memory = options->memory;
	record_policy(options->policy);
	r.config.output = options->policy->limit[POLICY_STDOUT];
	r.config.verbose = options->verbose;
	if (isolate(options))
		return EXIT_VMBOX_FAILED;
	code = program_find(options->program, &program, error, sizeof(error));
	if (code) {
		say("%s", error);
		return record_end(code == EXIT_NOT_FOUND ? RUN_NOT_FOUND : RUN_NOT_EXECUTABLE, 0);
	}
	record_program(program.path, program.fd);
	r.config.device = launcher_open_device(options->device);
	record_driver(r.config.device);
	if (r.config.device < 0 ||
	    map_file(options->guest_dir, "vmlinux", &r.config.kernel, &record->kernel) ||
	    map_file(options->guest_dir, "initrd", &r.config.initrd, &record->initrd) ||
	    make_request(&r, &program) || open_audit(&r) || detach_exports(&r) || leave_root(&r))
		return EXIT_VMBOX_FAILED;
	block_signals(&r);
	code = start_children(&r) ? EXIT_VMBOX_FAILED : supervise(&r);
	reap(r.vmm);
	if (r.counters >= 0)
		counters_read(r.counters, &record->counters);
	return finish_fs(&r, code);
}
