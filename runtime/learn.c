// SPDX-License-Identifier: GPL-2.0-only
/*
 * Theory of operation
 *  1. The guest is shown all that the caller can read (open_view.c).
 *  2. The file server writes down what is used and what is refused (fs_use.c), into memory
 *     of a fixed size that it shares with the scribe.
 *  3. The scribe (scribe.c) is forked before anything is confined, and makes the policy
 *     when all else has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "learn.h"
#include "open_view.h"
#include "program.h"
#include "report.h"
#include "scribe.h"

static struct scribe job;
static pid_t scribe;

int learn_failed(const char *what, const char *why)
{
	say("learn: %s: %s", what, why);
	return -1;
}

int learn_add_rule(struct policy *policy, const char *access, const char *path)
{
	static struct policy_error error;
	char text[2 * PATH_MAX], *to = text;

	for (; *path; *to++ = *path++)
		if (*path == ':' || *path == '\\')
			*to++ = '\\';
	*to = '\0';
	return policy_option(policy, access, text, NULL, &error)
		       ? learn_failed("a rule", error.text)
		       : 0;
}

static int open_output(const char *output)
{
	const char *problem;

	job.output = output;
	problem = output ? output_open(&job.to, output) : NULL;
	return problem ? learn_failed(output, problem) : 0;
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
	problem = policy_normalize(program.path, NULL, job.program);
	if (problem || !realpath(program.path, job.real)) {
		learn_failed(program.path, problem ? problem : strerror(errno));
		return EXIT_VMBOX_FAILED;
	}
	/* By its file, so that the links to it are not taken for a need; but a script knows its name. */
	o->program = program.is_script ? o->argv[0] : job.real;
	return 0;
}

static int find_cwd(const struct run_options *o)
{
	char cwd[PATH_MAX];
	const char *problem;

	if (!getcwd(cwd, sizeof(cwd)))
		return learn_failed("the working directory cannot be found", strerror(errno));
	problem = policy_normalize(o->cwd ? o->cwd : cwd, NULL, job.cwd);
	return problem ? learn_failed("the working directory's path", problem) : 0;
}

/* Of a fixed size, whoever writes to it. */
static int make_memory(void)
{
	int fd = memfd_create("vmbox-learn", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, SCRIBE_MEMORY) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return learn_failed("memory for what is used", strerror(errno));
	job.uses = fd;
	return 0;
}

static int start_scribe(struct run_options *o)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) || (scribe = fork()) < 0)
		return learn_failed("a process", strerror(errno));
	if (!scribe) {
		close(ends[1]);
		scribe_run(&job, ends[0]);
	}
	close(ends[0]);
	o->uses = job.uses;
	o->scribe = ends[1];
	return 0;
}

int learn_begin(struct run_options *o, const struct policy_args *args)
{
	struct policy *view;
	size_t i;
	int code;

	launcher_fill_descriptors();
	if (policy_load(args, &job.policy) || policy_refuse(job.policy) || policy_load(args, &view))
		return EXIT_VMBOX_FAILED;
	for (i = 0; i < job.policy->nr_rules; i++)
		if (job.policy->rules[i].at) {
			learn_failed(job.policy->rules[i].origin.source,
				     "files keep their places while it learns: give PATH alone");
			return EXIT_VMBOX_FAILED;
		}
	if (open_output(o->output))
		return EXIT_VMBOX_FAILED;
	code = find_program(o);
	if (code)
		return code;
	if (find_cwd(o) || open_view_make(view, job.policy, job.cwd, job.real) || make_memory() ||
	    start_scribe(o))
		return EXIT_VMBOX_FAILED;
	o->policy = view;
	return 0;
}

int learn_end(const struct run_options *o, int status)
{
	unsigned char byte = status;
	int ended;

	if (write(o->scribe, &byte, 1) != 1 || waitpid(scribe, &ended, 0) < 0)
		return EXIT_VMBOX_FAILED;
	return ended ? EXIT_VMBOX_FAILED : status;
}
