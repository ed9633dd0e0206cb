/* SPDX-License-Identifier: GPL-2.0-only */
/* The command line: which verbs and options there are, their help, and taking them. */
#ifndef VMBOX_CLI_H
#define VMBOX_CLI_H

#include <stdbool.h>

/* Bits, for an option is of several. */
enum verb {
	VERB_RUN = 1 << 0,
	VERB_LEARN = 1 << 1,
	VERB_CHECK = 1 << 2,
	VERB_EXPLAIN = 1 << 3,
	VERB_SELFTEST = 1 << 4,
	VERB_VERSION = 1 << 5,
	VERB_HELP = 1 << 6,
	VERB_REPORT = 1 << 7,
	VERB_DOCTOR = 1 << 8,
	VERB_SHELL = 1 << 9,
};

/* What cli_next() returns. A letter is the option's short name, too. */
enum cli_key {
	CLI_END = -1, /* what follows, from optind on, is no option */
	CLI_BAD = 0,  /* it has been said what is wrong */
	CLI_HELP = 'h',
	CLI_OUTPUT = 'o',
	CLI_POLICY_KEY = 256, /* an option of the policy library's */
	CLI_POLICY_FILE,
	CLI_PRINT_POLICY,
	CLI_AUDIT,
	CLI_CWD,
	CLI_REQUIRE_CONFINEMENT,
	CLI_VERBOSE,
	CLI_DEVICE,
	CLI_GUEST_DIR,
	CLI_REPORT,
	CLI_STATS,
	CLI_JSON,
	CLI_THOROUGH,
	CLI_SEED,
	CLI_TESTS,
};

struct cli_option {
	const char *name;  /* without dashes */
	const char *value; /* what its value is called; NULL: it has none */
	enum cli_key key;
	unsigned int verbs; /* that have it */
	const char *text; /* lines; NULL: not shown, as it is taken only to say why it is refused */
};

struct cli_verb {
	enum verb verb;
	const char *name;
	const char *summary;		       /* in `vmbox --help` */
	const char *arguments;		       /* in its usage */
	const char *about, *examples, *status; /* in its own help: lines, each with its end */
	bool has_policy;		       /* the policy library's options are its own, too */
};

/* cli_text.c: all of them; the last has no name. */
extern const struct cli_option cli_options[];
extern const struct cli_verb cli_verbs[];

/* NULL: there is none of that name. */
const struct cli_verb *cli_find(const char *name);

/* The verb whose arguments are taken and complained of from now on; NULL: none. */
void cli_begin(const struct cli_verb *verb);

/*
 * The next option of the verb, as getopt_long() takes them, up to the first argument that is
 * none: its key; optarg is its value; *name, for CLI_POLICY_KEY, the policy library's
 * name for it. --help is answered here and does not return.
 */
enum cli_key cli_next(int argc, char **argv, const char **name);

/* "vmbox: WHAT VALUE: FIX (vmbox VERB --help)"; @value may be NULL. EXIT_VMBOX_FAILED, always. */
int cli_bad(const char *what, const char *value, const char *fix);

/* The same for a verb that there is not. */
int cli_bad_verb(const char *name);

/* Prints the help of a verb, or of NULL: of vmbox. The exit status. */
int cli_help(const struct cli_verb *verb);

#endif
