// SPDX-License-Identifier: GPL-2.0-only
/*
 * The scribe: waits for one byte, the exit status, from the launcher, which by then has ended
 * all that the guest could reach; then it reads what the file server wrote, makes the policy
 * (learnt.c) and writes it. What it reads may be a lie of a file server that was taken over: it
 * is paths, and gets into the policy as such. If the launcher is killed there is no byte, and
 * no policy.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "learn.h"
#include "learnt.h"
#include "links.h"
#include "open_view.h"
#include "program.h"
#include "progress.h"
#include "request.h"
#include "scribe.h"

#define NOTES_MAX 64 /* refusals that become comments */

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
static int add_program(const struct scribe *s, struct learnt *l)
{
	char path[PATH_MAX + 1];
	struct link link;
	int err = learnt_add(l, s->real, LEARNT_PROGRAM), i;

	snprintf(path, sizeof(path), "%s/", s->program);
	for (i = 0; !err && i < LINKS_MAX && link_find(path, 0, &link); i++) {
		err = learnt_add(l, link.at, LEARNT_LINK);
		if (!link_follow(&link, path))
			break;
		strcat(path, "/");
	}
	return err ? err : give(l, s->program) || give(l, s->real);
}

static int add_mount(void *arg, const char *path)
{
	return strcmp(path, "/") ? learnt_add(arg, path, LEARNT_MOUNT) : 0;
}

static int add_known(const struct scribe *s, struct learnt *l)
{
	int err = add_program(s, l);
	const char *own;
	size_t i;

	for (i = 0; !err && (own = open_view_own(i)); i++)
		err = learnt_add(l, own, LEARNT_OWN);
	return err || give(l, s->cwd) || open_view_mounts(add_mount, l);
}

/* One that the file server has seen used; if an option shows it there is nothing to be learnt. */
static int add_use(const struct scribe *s, struct learnt *l, const char *use)
{
	char path[PATH_MAX], shown[256];
	const char *problem = policy_normalize(use + 1, NULL, path);

	if (problem || strcmp(path, use + 1)) {
		snprintf(shown, sizeof(shown), "%s", use + 1);
		make_printable(shown, strlen(shown));
		return learn_failed(shown, problem ? problem : "the path is too long for a rule");
	}
	if (policy_decide(s->policy, path))
		return 0;
	return learnt_add(l, path, (unsigned char)*use - FS_USE_PATH)
		       ? learn_failed(path, "no memory")
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
		      "with access rw\n"
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
	struct scribe *s = arg;

	s->failed |= learn_add_rule(s->policy, "ro", path) != 0;
}

/* Chooses the rules, and prints what becomes the file. */
static int print_learnt(struct scribe *s, struct learnt *l, const struct uses *u, FILE *out)
{
	static struct policy_error error;
	size_t i;

	if (add_known(s, l))
		return learn_failed("the paths", "no memory");
	for (i = 0; i < u->nr_paths; i++)
		if (add_use(s, l, u->paths[i]))
			return -1;
	if (learnt_choose(l, POLICY_MAX_RULES - s->policy->nr_rules, s->program))
		return learn_failed("the program used files in too many directories for a policy",
				    "learn a smaller part of it");
	fputs("# By vmbox learn: what one run of the program needed.\n", out);
	learnt_each(l, LEARNT_OWN | LEARNT_WHOLE, print_path, out);
	print_notes(u, out);
	learnt_each(l, LEARNT_RULE, add_learnt, s);
	if (s->failed)
		return -1;
	if (policy_validate(s->policy, &error))
		return learn_failed("the policy", error.text);
	return policy_print(s->policy, out) ? learn_failed("the policy", strerror(errno)) : 0;
}

static int write_policy(struct scribe *s, const struct uses *u)
{
	struct learnt *l = learnt_new();
	const char *problem;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int err = l && out ? print_learnt(s, l, u, out) : learn_failed("the policy", "no memory");

	if (out && fclose(out) && !err)
		err = learn_failed("the policy", "no memory");
	if (!err && size > POLICY_FILE_MAX)
		err = learn_failed("the policy",
				   "it would be longer than a policy file may be (64 KiB)");
	progress_end();
	if (!err && !s->output)
		err = output_write_all(2, text, size);
	else if (!err && (problem = output_write(&s->to, text, size)))
		err = learn_failed(s->output, problem);
	free(text);
	learnt_free(l);
	return err;
}

/* @status: of the run. */
static int finish(struct scribe *s, int status)
{
	char *text = calloc(1, SCRIBE_MEMORY + 1);
	struct uses u = { 0 };

	if (!text || pread(s->uses, text, SCRIBE_MEMORY, 0) < 0 || take_uses(text, &u))
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the process ends, and its memory */
		return learn_failed("what the file server wrote", strerror(errno));
	if (!u.end && (status == EXIT_VMBOX_FAILED || status == EXIT_CANNOT_EXECUTE ||
		       status == EXIT_NOT_FOUND))
		return 0; /* nothing was run */
	if (status == EXIT_VMBOX_FAILED)
		return learn_failed("no policy",
				    "the run's exit status is that of vmbox's own failure");
	if (!u.end)
		return learn_failed("no policy",
				    "the file server was lost before it had told what was used");
	if (strcmp(u.end, FS_USE_END))
		return learn_failed(
			"no policy",
			"the program used more paths than can be kept (16 MiB of names): learn "
			"a smaller part of it");
	progress_prepare();
	progress_begin("making the policy");
	return write_policy(s, &u);
}

_Noreturn void scribe_run(struct scribe *s, int from)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	unsigned char status;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN); /* they are the launcher's */
	close(0);
	close(1);
	_exit(read(from, &status, 1) == 1 && finish(s, status) ? 1 : 0);
}
