// SPDX-License-Identifier: GPL-2.0-only
/* Takes the options of a verb, prints its help, and says what is wrong: all by cli_text.c's tables. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/policy.h"
#include "cli.h"
#include "launcher.h"

#define OPTIONS_MAX 64
#define NAME_COLUMN 28 /* of an option's text */

static const struct cli_verb *current;

const struct cli_verb *cli_find(const char *name)
{
	const struct cli_verb *v;

	for (v = cli_verbs; v->name && strcmp(v->name, name); v++)
		;
	return v->name ? v : NULL;
}

void cli_begin(const struct cli_verb *verb)
{
	current = verb;
}

/* ---- what is wrong ---- */

/* The nearer of @best, which may be NULL, and @candidate to @name. NULL: neither is like it. */
static const char *nearer(const char *name, const char *best, const char *candidate)
{
	unsigned int distance = policy_distance(name, candidate);

	if (distance * 2 > strlen(name) + 1 || (best && policy_distance(name, best) <= distance))
		return best;
	return candidate;
}

int cli_bad(const char *what, const char *value, const char *fix)
{
	fprintf(stderr, "vmbox: %s%s%s: %s (vmbox %s%s--help)\n", what, value ? " " : "",
		value ? value : "", fix, current ? current->name : "", current ? " " : "");
	return EXIT_VMBOX_FAILED;
}

int cli_bad_verb(const char *name)
{
	const char *nearest = NULL;
	const struct cli_verb *v;
	char fix[256];

	current = NULL;
	for (v = cli_verbs; v->name; v++)
		nearest = nearer(name, nearest, v->name);
	if (strchr(name, '/'))
		snprintf(fix, sizeof(fix), "to run a program: vmbox run PROGRAM");
	else if (nearest)
		snprintf(fix, sizeof(fix), "there is no such verb; the nearest is '%s'", nearest);
	else
		snprintf(fix, sizeof(fix), "there is no such verb");
	return cli_bad(name, NULL, fix);
}

static enum cli_key bad_option(const char *arg, const struct option *options)
{
	char name[64], fix[128] = "unknown option";
	const char *nearest = NULL;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(arg, "="), arg);
	for (; options->name; options++)
		nearest = nearer(name + strspn(name, "-"), nearest, options->name);
	if (nearest)
		snprintf(fix, sizeof(fix), "unknown option; the nearest is '--%s'", nearest);
	cli_bad(arg, NULL, fix);
	return CLI_BAD;
}

/* ---- taking options ---- */

static void add_option(struct option *to, const char *name, const char *value, enum cli_key key)
{
	*to = (struct option){ name, value ? required_argument : no_argument, NULL, key };
}

/* Up to one without a name. @letters: getopt's. */
static void fill_options(struct option options[OPTIONS_MAX], char *letters)
{
	const char *name, *value, *text;
	const struct cli_option *o;
	size_t n = 0, i;

	for (i = 0; current->has_policy && (name = policy_option_name(i, &value, &text)); i++)
		add_option(&options[n++], name, value, CLI_POLICY_KEY);
	letters = stpcpy(letters, "+:");
	for (o = cli_options; o->name; o++) {
		if (!(o->verbs & current->verb))
			continue;
		add_option(&options[n++], o->name, o->value, o->key);
		if (o->key < CLI_POLICY_KEY)
			letters += sprintf(letters, "%c%s", o->key, o->value ? ":" : "");
	}
}

enum cli_key cli_next(int argc, char **argv, const char **name)
{
	struct option options[OPTIONS_MAX] = { 0 };
	char letters[16], letter[] = "-?";
	int c, i;

	fill_options(options, letters);
	opterr = 0;
	c = getopt_long(argc, argv, letters, options, &i);
	switch (c) {
	case CLI_HELP:
		exit(cli_help(current));
	case ':':
		cli_bad(argv[optind - 1], NULL, "needs a value");
		return CLI_BAD;
	case '?':
		if (optopt >= CLI_POLICY_KEY || optopt == CLI_HELP) {
			cli_bad(argv[optind - 1], NULL, "takes no value");
			return CLI_BAD;
		}
		letter[1] = optopt; /* 0: a long one */
		return bad_option(optopt ? letter : argv[optind - 1], options);
	case CLI_POLICY_KEY:
		*name = options[i].name;
	}
	return c;
}

/* ---- help ---- */

static void print_option(char letter, const char *name, const char *value, const char *text)
{
	int n = letter ? printf("  -%c, --%s", letter, name) : printf("  --%s", name);

	if (value)
		n += printf(" %s", value);
	if (n > NAME_COLUMN - 2)
		n = !putchar('\n');
	for (;;) {
		size_t line = strcspn(text, "\n");

		printf("%*s%.*s\n", NAME_COLUMN - n, "", (int)line, text);
		if (!text[line])
			return;
		text += line + 1;
		n = 0;
	}
}

/* Those that choose the policy, or the others. */
static void print_own(const struct cli_verb *verb, bool of_policy)
{
	const struct cli_option *o;

	for (o = cli_options; o->name; o++)
		if ((o->verbs & verb->verb) && o->text && (o->key == CLI_POLICY_FILE) == of_policy)
			print_option(o->key < CLI_POLICY_KEY ? o->key : 0, o->name, o->value,
				     o->text);
}

static void print_verb(const struct cli_verb *verb)
{
	const char *name, *value, *text;
	size_t i;

	printf("usage: vmbox %s %s\n\n%s", verb->name, verb->arguments, verb->about);
	if (verb->has_policy)
		puts("\nWhat the guest may have; options go over what files say "
		     "(man vmbox-policy):");
	print_own(verb, true);
	for (i = 0; verb->has_policy && (name = policy_option_name(i, &value, &text)); i++)
		print_option(0, name, value, text);
	printf("\n%sptions:\n", verb->has_policy ? "Other o" : "O");
	print_own(verb, false);
	printf("\nExamples:\n%s\nExit status:\n%s", verb->examples, verb->status);
}

static void print_overview(void)
{
	const struct cli_verb *v;

	puts("usage: vmbox VERB [OPTION...] [ARG...]\n\n"
	     "Runs one Linux program inside a throw-away virtual machine, with your standard\n"
	     "streams, what a policy gives it, and nothing else of yours: vmbox run ./program\n\n"
	     "Verbs:");
	for (v = cli_verbs; v->name; v++)
		printf("  %-10s%s\n", v->name, v->summary);
	puts("\n'vmbox VERB --help' has the options of a verb, examples and the exit status;\n"
	     "more is in vmbox(1), vmbox-policy(5) and vmbox(4).");
}

int cli_help(const struct cli_verb *verb)
{
	if (verb)
		print_verb(verb);
	else
		print_overview();
	return fflush(stdout) || ferror(stdout) ? EXIT_VMBOX_FAILED : 0;
}
