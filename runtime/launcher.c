// SPDX-License-Identifier: GPL-2.0-only
/*
 * The launcher. Opens what the run needs, in namespaces of its own, gives up what else it has,
 * forks the file server and the VMM (children.c), goes into a cage itself, waits for a result or a
 * limit and says what happened (supervise.c), and passes on signals and what is typed (jobs.c).
 * It never touches the guest's memory or messages.
 *
 * Nothing is left behind: both children are killed and waited for on every way
 * out, and die with the launcher if it is killed itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cage.h"
#include "clock.h"
#include "fs_confine.h"
#include "launcher.h"
#include "program.h"
#include "record.h"
#include "report.h"
#include "request.h"
#include "run.h"

#define NOBODY 65534 /* the kernel's own number for it */

int run_confinement_failed(const char *step)
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
		return run_confinement_failed(failed);
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
	return failed ? run_confinement_failed(failed) : 0;
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
			return run_confinement_failed(failed);
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
	jobs_block_signals(&r);
	code = children_start(&r) ? EXIT_VMBOX_FAILED : supervise(&r);
	children_reap(r.vmm);
	if (r.counters >= 0)
		counters_read(r.counters, &record->counters);
	return supervise_fs(&r, code);
}
