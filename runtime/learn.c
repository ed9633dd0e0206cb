// SPDX-License-Identifier: GPL-2.0-only
/*
 * Theory of operation
 *  1. The view is a policy like any other: an overlay of "/", where the guest has what
 *     it has in any run (/tmp, /etc/passwd, ...) over what the host has; read-only all
 *     directories of the host's but those; each of its mounts. /proc, /sys and /dev are
 *     the guest's own.
 *  2. The file server writes down what is used and what is refused (fs_use.c), into memory
 *     of a fixed size that it shares with the scribe.
 *  3. The scribe is forked before anything is confined. It waits for one byte, the exit
 *     status, from the launcher, which by then has ended all that the guest could reach;
 *     then it reads, makes the policy (learnt.c) and writes it. What it reads may be a lie
 *     of a file server that was taken over: it is paths, and gets into the policy as such.
 *     If the launcher is killed there is no byte, and no policy.
 */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "learn.h"
#include "learnt.h"
#include "links.h"
#include "program.h"
#include "report.h"
#include "request.h"

#define NOTES_MAX   64	/* refusals that become comments */
#define MOUNTS_MAX  200 /* with what else is shown */
#define MEMORY_SIZE (FS_USES_MAX + 4096)

/* What the guest has of its own in each run, and writes to; beneath, the host's is shown. */
static const char *const own[] = {
	"/", "/etc", "/tmp", "/run", "/var", "/var/tmp", "/root", "/home"
};
/* What the host's never gets into. */
static const char *const denied[] = { "/proc", "/sys", "/dev" };

static struct learn {
	struct policy *view, *policy; /* what is shown; what is to be written */
	char program[PATH_MAX];	      /* as it was named */
	char real[PATH_MAX];	      /* its file */
	char cwd[PATH_MAX];
	int uses, dir; /* dir: where the output goes */
	const char *output;
	char file[NAME_MAX + 1]; /* in dir */
	pid_t scribe;
} learn;

static int failed(const char *what, const char *why)
{
	say("learn: %s: %s", what, why);
	return -1;
}

static bool is_one_of(const char *const *list, size_t n, const char *path)
{
	while (n && strcmp(*list, path)) {
		list++;
		n--;
	}
	return n;
}
#define IS_ONE_OF(list, path) is_one_of(list, sizeof(list) / sizeof(list[0]), path)

/* ---- the view ---- */

/* As an option has it: a ':' in a path is "\:". */
static int add_rule(struct policy *policy, const char *access, const char *path)
{
	static struct policy_error error;
	char text[2 * PATH_MAX], *to = text;

	for (; *path; *to++ = *path++)
		if (*path == ':' || *path == '\\')
			*to++ = '\\';
	*to = '\0';
	return policy_option(policy, access, text, NULL, &error) ? failed("a rule", error.text) : 0;
}

static bool has_rule(const struct policy *policy, const char *path)
{
	size_t i;

	for (i = 0; i < policy->nr_rules; i++)
		if (!strcmp(policy->rules[i].path, path))
			return true;
	return false;
}

/* Is there no mount between @path and what is around it in the view? */
static bool is_next_to_view(const char *path)
{
	char up[PATH_MAX], *slash;
	struct stat st;
	dev_t dev = 0;

	snprintf(up, sizeof(up), "%s", path);
	do {
		slash = strrchr(up, '/');
		slash[slash == up] = '\0';
		if (stat(up, &st) || (dev && st.st_dev != dev))
			return false;
		dev = st.st_dev;
	} while (!has_rule(learn.view, up));
	return true;
}

/* Shows @path, if the caller can read it and the options say nothing of it. */
static int show(const char *path)
{
	char real[PATH_MAX];

	if (policy_decide(learn.policy, path) || has_rule(learn.view, path) || access(path, R_OK) ||
	    !realpath(path, real) || strcmp(path, real) || !is_next_to_view(path))
		return 0;
	return add_rule(learn.view, IS_ONE_OF(own, path) ? "overlay" : "ro", path);
}

static int show_directories(const char *top)
{
	DIR *dir = opendir(top);
	char path[PATH_MAX];
	struct dirent *e;
	struct stat st;
	int err = 0;

	while (dir && !err && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", strcmp(top, "/") ? top : "", e->d_name);
		if (*e->d_name != '.' && !lstat(path, &st) && S_ISDIR(st.st_mode) &&
		    !IS_ONE_OF(own, path) && !IS_ONE_OF(denied, path))
			err = show(path);
	}
	if (dir)
		closedir(dir);
	return err;
}

/* Is it of the kernel's, and no place for files? */
static bool is_pseudo(const struct mntent *m)
{
	static const char *const types[] = { "proc",	"sysfs",  "devtmpfs",	"devpts", "cgroup",
					     "cgroup2", "autofs", "rpc_pipefs", "nsfs",	  "mqueue" };
	size_t i, n;

	for (i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		n = strlen(denied[i]);
		if (!strncmp(m->mnt_dir, denied[i], n) && (!m->mnt_dir[n] || m->mnt_dir[n] == '/'))
			return true;
	}
	return IS_ONE_OF(types, m->mnt_type);
}

static bool is_taken(const char *path)
{
	const char *taken;
	size_t i;

	for (i = 0; (taken = policy_taken(i)) && strcmp(taken, path); i++)
		;
	return taken;
}

/* Calls @fn for each mount that the guest can be shown. */
static int each_mount(int (*fn)(const char *path))
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	int err = 0;

	while (f && !err && (m = getmntent(f)))
		if (!is_pseudo(m) && !is_taken(m->mnt_dir))
			err = fn(m->mnt_dir);
	if (f)
		endmntent(f);
	return err;
}

static int show_mount(const char *path)
{
	static bool said;

	if (learn.view->nr_rules < MOUNTS_MAX)
		return show(path);
	if (!said)
		failed(path, "there are too many mounts: this one, and those after it in "
			     "/proc/self/mounts, are not shown");
	said = true;
	return 0;
}

static int make_view(void)
{
	static struct policy_error error;
	const char *home = getenv("HOME"), *taken;
	int err = add_rule(learn.view, "overlay", "/");
	size_t i;

	for (i = 0; !err && i < sizeof(denied) / sizeof(denied[0]); i++)
		err = add_rule(learn.view, "deny", denied[i]);
	for (i = 0; !err && (taken = policy_taken(i)); i++)
		if (!IS_ONE_OF(own, taken))
			err = add_rule(learn.view, "deny", taken);
	if (!err)
		err = show_directories("/");
	if (!err)
		err = show_directories("/var");
	if (!err)
		err = each_mount(show_mount);
	if (!err && !IS_ONE_OF(own, learn.cwd))
		err = show(learn.cwd);
	if (!err && home && *home == '/' && !IS_ONE_OF(own, home))
		err = show(home);
	if (!err)
		err = show(learn.real);
	if (!err && policy_validate(learn.view, &error))
		err = failed("the view", error.text);
	return err;
}

/* ---- the scribe ---- */

static int by_path(const void *a, const void *b)
{
	return learnt_compare(*(const char *const *)a + 1, *(const char *const *)b + 1);
}

/* @path and all directories above it are there without a rule. */
static int give(struct learnt *l, const char *path)
{
	char part[PATH_MAX];
	int err = 0;

	snprintf(part, sizeof(part), "%s", path);
	while (!err && *part) {
		err = learnt_add(l, part, LEARNT_GIVEN);
		*strrchr(part, '/') = '\0';
	}
	return err;
}

/* What leads from the program's name to its file. */
static int add_program(struct learnt *l)
{
	char path[PATH_MAX + 1];
	struct link link;
	int err = learnt_add(l, learn.real, LEARNT_PROGRAM), i;

	snprintf(path, sizeof(path), "%s/", learn.program);
	for (i = 0; !err && i < LINKS_MAX && link_find(path, 0, &link); i++) {
		err = learnt_add(l, link.at, LEARNT_LINK);
		if (!link_follow(&link, path))
			break;
		strcat(path, "/");
	}
	return err ? err : give(l, learn.program) || give(l, learn.real);
}

static struct learnt *tree; /* for each_mount() */

static int add_mount(const char *path)
{
	return strcmp(path, "/") ? learnt_add(tree, path, LEARNT_MOUNT) : 0;
}

static int add_known(struct learnt *l)
{
	int err = add_program(l);
	size_t i;

	for (i = 0; !err && i < sizeof(own) / sizeof(own[0]); i++)
		err = learnt_add(l, own[i], LEARNT_OWN);
	tree = l;
	return err || give(l, learn.cwd) || each_mount(add_mount);
}

/* One that the file server has seen used; if an option shows it there is nothing to be learnt. */
static int add_use(struct learnt *l, const char *use)
{
	char path[PATH_MAX], shown[256];
	const char *problem = policy_normalize(use + 1, NULL, path);

	if (problem || strcmp(path, use + 1)) {
		snprintf(shown, sizeof(shown), "%s", use + 1);
		make_printable(shown, strlen(shown));
		return failed(shown, problem ? problem : "the path is too long for a rule");
	}
	if (policy_decide(learn.policy, path))
		return 0;
	return learnt_add(l, path, (unsigned char)*use - FS_USE_PATH) ? failed(path, "no memory")
								      : 0;
}

struct uses {
	const char **notes, **paths;
	size_t nr_notes, nr_paths;
	const char *end; /* NULL: it is not there */
};

/* The strings at @text, up to one that is empty. */
static int take_uses(const char *text, struct uses *u)
{
	const char *s;
	size_t n = 0;

	for (s = text; *s; s += strlen(s) + 1)
		n++;
	u->notes = calloc(n + 1, sizeof(*u->notes));
	u->paths = calloc(n + 1, sizeof(*u->paths));
	if (!u->notes || !u->paths)
		return -1;
	for (s = text; *s; s += strlen(s) + 1) {
		if (*s == FS_USE_NOTE)
			u->notes[u->nr_notes++] = s + 1;
		else if (*s >= FS_USE_PATH)
			u->paths[u->nr_paths++] = s;
		else
			u->end = s;
	}
	qsort(u->paths, u->nr_paths, sizeof(*u->paths), by_path);
	return 0;
}

static void print_notes(const struct uses *u, FILE *out)
{
	char line[FS_NOTE_MAX];
	size_t i;

	if (u->nr_notes)
		fputs("#\n# Not allowed while it learnt, as everything is read-only then. A rule "
		      "with "
		      "access rw\n"
		      "# changes the host's files; for a directory, overlay changes a copy:\n",
		      out);
	for (i = 0; i < u->nr_notes && i < NOTES_MAX; i++) {
		snprintf(line, sizeof(line), "%s", u->notes[i]);
		make_printable(line, strlen(line));
		fprintf(out, "#   %s\n", line);
	}
	if (i < u->nr_notes)
		fprintf(out, "#   and %zu more\n", u->nr_notes - i);
}

static void print_path(void *arg, const char *path, unsigned int flags)
{
	FILE *out = arg;

	if ((flags & LEARNT_OWN) && (flags & FS_USE_LISTED)) {
		fputs("# It listed ", out);
		policy_print_text(path, out);
		fputs(", of which the guest has its own: without the host's, it will list less.\n",
		      out);
	} else if ((flags & LEARNT_WHOLE) && (flags & LEARNT_RULE)) {
		fputs("# More than it needed, as there would be too many rules: all that is in ",
		      out);
		policy_print_text(path, out);
		fputc('\n', out);
	}
}

static void add_learnt(void *arg, const char *path, unsigned int flags)
{
	bool *failed = arg;

	*failed |= add_rule(learn.policy, "ro", path) != 0;
}

/* Chooses the rules, and prints what becomes the file. */
static int print_learnt(struct learnt *l, const struct uses *u, FILE *out)
{
	static struct policy_error error;
	bool failed_rule = false;
	size_t i;

	if (add_known(l))
		return failed("the paths", "no memory");
	for (i = 0; i < u->nr_paths; i++)
		if (add_use(l, u->paths[i]))
			return -1;
	if (learnt_choose(l, POLICY_MAX_RULES - learn.policy->nr_rules, learn.program))
		return failed("the program used files in too many directories for a policy",
			      "learn a smaller part of it");
	fputs("# By vmbox learn: what one run of the program needed.\n", out);
	learnt_each(l, LEARNT_OWN | LEARNT_WHOLE, print_path, out);
	print_notes(u, out);
	learnt_each(l, LEARNT_RULE, add_learnt, &failed_rule);
	if (failed_rule)
		return -1;
	if (policy_validate(learn.policy, &error))
		return failed("the policy", error.text);
	return policy_print(learn.policy, out) ? failed("the policy", strerror(errno)) : 0;
}

static int write_all(int fd, const char *text, size_t size)
{
	while (size) {
		ssize_t n = write(fd, text, size);

		if (n < 0 && errno != EINTR)
			return -1;
		text += n > 0 ? n : 0;
		size -= n > 0 ? n : 0;
	}
	return 0;
}

static int write_file(const char *text, size_t size)
{
	char name[64];
	int fd, err;

	snprintf(name, sizeof(name), ".vmbox-learn-%d", (int)getpid());
	fd = openat(learn.dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	err = fd < 0 || write_all(fd, text, size);
	if (fd >= 0)
		err |= close(fd);
	if (!err)
		err = renameat(learn.dir, name, learn.dir, learn.file);
	if (!err)
		return 0;
	failed(learn.output, strerror(errno));
	if (fd >= 0)
		unlinkat(learn.dir, name, 0);
	return -1;
}

static int write_policy(const struct uses *u)
{
	struct learnt *l = learnt_new();
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int err = l && out ? print_learnt(l, u, out) : failed("the policy", "no memory");

	if (out && fclose(out) && !err)
		err = failed("the policy", "no memory");
	if (!err && size > POLICY_FILE_MAX)
		err = failed("the policy", "it would be longer than a policy file may be (64 KiB)");
	if (!err && !learn.output)
		err = write_all(2, text, size);
	else if (!err)
		err = write_file(text, size);
	free(text);
	learnt_free(l);
	return err;
}

/* @status: of the run. */
static int finish(int status)
{
	char *text = calloc(1, MEMORY_SIZE + 1);
	struct uses u = { 0 };

	if (!text || pread(learn.uses, text, MEMORY_SIZE, 0) < 0 || take_uses(text, &u))
		return failed("what the file server wrote", strerror(errno));
	if (status == EXIT_VMBOX_FAILED || (!u.end && status == EXIT_NOT_FOUND) ||
	    (!u.end && status == EXIT_CANNOT_EXECUTE))
		return 0;
	if (!u.end)
		return failed("no policy",
			      "the file server was lost before it had told what was used");
	if (strcmp(u.end, FS_USE_END))
		return failed(
			"no policy",
			"the program used more paths than can be kept (16 MiB of names): learn "
			"a smaller part of it");
	return write_policy(&u);
}

_Noreturn static void scribe(int from)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	unsigned char status;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN); /* they are the launcher's */
	close(0);
	close(1);
	_exit(read(from, &status, 1) == 1 && finish(status) ? 1 : 0);
}

/* ---- the verb ---- */

/* So that a run is not for nothing. */
static int open_output(const char *output)
{
	const char *slash = output ? strrchr(output, '/') : NULL,
		   *name = slash ? slash + 1 : output;
	char dir[PATH_MAX];
	struct stat st;

	learn.output = output;
	if (!output)
		return 0;
	if (!*name || strlen(name) > NAME_MAX || strlen(output) >= sizeof(dir))
		return failed(output, "give the name of a file");
	strcpy(learn.file, name);
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - output + 1) : 1,
		 slash ? output : ".");
	learn.dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (learn.dir < 0 || faccessat(learn.dir, ".", W_OK | X_OK, AT_EACCESS))
		return failed(output, strerror(errno));
	if (!fstatat(learn.dir, name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISREG(st.st_mode))
		return failed(output, "it is there and no file: give another name");
	return 0;
}

static int find_program(struct run_options *o)
{
	char error[PATH_MAX + 256];
	const char *problem;
	struct program program;
	int code = program_find(o->argv[0], &program, error, sizeof(error));

	if (code) {
		say("%s", error);
		return code;
	}
	close(program.fd);
	problem = policy_normalize(program.path, NULL, learn.program);
	if (problem || !realpath(program.path, learn.real)) {
		failed(program.path, problem ? problem : strerror(errno));
		return EXIT_VMBOX_FAILED;
	}
	/* By its file, so that the links to it are not taken for a need; but a script knows its name. */
	o->program = program.is_script ? o->argv[0] : learn.real;
	return 0;
}

static int find_cwd(const struct run_options *o)
{
	char cwd[PATH_MAX];
	const char *problem;

	if (!getcwd(cwd, sizeof(cwd)))
		return failed("the working directory cannot be found", strerror(errno));
	problem = policy_normalize(o->cwd ? o->cwd : cwd, NULL, learn.cwd);
	return problem ? failed("the working directory's path", problem) : 0;
}

/* Of a fixed size, whoever writes to it. */
static int make_memory(void)
{
	int fd = memfd_create("vmbox-learn", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, MEMORY_SIZE) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return failed("memory for what is used", strerror(errno));
	learn.uses = fd;
	return 0;
}

static int start_scribe(struct run_options *o)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) || (learn.scribe = fork()) < 0)
		return failed("a process", strerror(errno));
	if (!learn.scribe) {
		close(ends[1]);
		scribe(ends[0]);
	}
	close(ends[0]);
	o->uses = learn.uses;
	o->scribe = ends[1];
	return 0;
}

int learn_begin(struct run_options *o, const struct policy_args *args)
{
	size_t i;
	int code;

	launcher_fill_descriptors();
	if (policy_load(args, &learn.policy) || policy_refuse(learn.policy) ||
	    policy_load(args, &learn.view))
		return EXIT_VMBOX_FAILED;
	for (i = 0; i < learn.policy->nr_rules; i++)
		if (learn.policy->rules[i].at) {
			failed(learn.policy->rules[i].origin.source,
			       "files keep their places while it learns: give PATH alone");
			return EXIT_VMBOX_FAILED;
		}
	if (open_output(o->output))
		return EXIT_VMBOX_FAILED;
	code = find_program(o);
	if (code)
		return code;
	if (find_cwd(o) || make_view() || make_memory() || start_scribe(o))
		return EXIT_VMBOX_FAILED;
	o->policy = learn.view;
	return 0;
}

int learn_end(const struct run_options *o, int status)
{
	unsigned char byte = status;
	int ended;

	if (write(o->scribe, &byte, 1) != 1 || waitpid(learn.scribe, &ended, 0) < 0)
		return EXIT_VMBOX_FAILED;
	return ended ? EXIT_VMBOX_FAILED : status;
}
