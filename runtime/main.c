// SPDX-License-Identifier: GPL-2.0-only
/* vmbox: the command line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "doctor.h"
#include "launcher.h"
#include "learn.h"
#include "load.h"
#include "report.h"
#include "run_report.h"
#include "selftest.h"
#include "version.h"

#define MEMORY_STEP (2ULL << 20)

/* What options give. Which of them a verb takes is in its table (cli_text.c). */
struct options {
	struct run_options run;
	struct policy_args policy;
	bool print;
};

static int set_cwd(struct run_options *o, const char *value)
{
	if (*value != '/')
		return cli_bad("--cwd", value, "give an absolute path");
	o->cwd = value;
	return 0;
}

static int add_policy_file(struct policy_args *args, const char *name)
{
	if (args->nr_files == MAX_POLICIES)
		return cli_bad("--policy", name, "too many policies");
	args->files[args->nr_files++] = name;
	return 0;
}

static int add_policy_option(struct policy_args *args, const char *name, const char *value)
{
	if (args->nr_options == MAX_POLICY_OPTIONS)
		return cli_bad(name, value, "too many options: use a policy file");
	args->options[args->nr_options].name = name;
	args->options[args->nr_options++].value = value;
	return 0;
}

/* Up to the first argument that is no option. 0, or an exit status. */
static int take_options(struct options *options, int argc, char **argv)
{
	struct policy_args *args = &options->policy;
	struct run_options *o = &options->run;
	enum cli_key key;
	const char *name;
	int err = 0;

	while (!err && (key = cli_next(argc, argv, &name)) != CLI_END) {
		switch (key) {
		case CLI_POLICY_KEY:
			err = add_policy_option(args, name, optarg);
			break;
		case CLI_POLICY_FILE:
			err = add_policy_file(args, optarg);
			break;
		case CLI_PRINT_POLICY:
			options->print = true;
			break;
		case CLI_AUDIT:
			o->audit = optarg;
			break;
		case CLI_CWD:
			err = set_cwd(o, optarg);
			break;
		case CLI_REQUIRE_CONFINEMENT:
			o->require_confinement = true;
			break;
		case CLI_VERBOSE:
			o->verbose = true;
			break;
		case CLI_DEVICE:
			o->device = optarg;
			break;
		case CLI_GUEST_DIR:
			o->guest_dir = optarg;
			break;
		case CLI_REPORT:
			o->report = optarg;
			break;
		case CLI_STATS:
			o->stats = true;
			break;
		case CLI_OUTPUT:
			o->output = optarg;
			break;
		default:
			err = EXIT_VMBOX_FAILED;
		}
	}
	return err;
}

static int run_policy(struct run_options *o, const struct policy *policy)
{
	o->policy = policy;
	o->memory = (policy->limit[POLICY_MEMORY] + MEMORY_STEP - 1) & ~(MEMORY_STEP - 1);
	if (policy->limit[POLICY_WALL] != POLICY_UNSET)
		o->timeout_ns = policy->limit[POLICY_WALL];
	return launcher_run(o);
}

static int print_policy(const struct policy *policy)
{
	if (!policy_print(policy, stdout))
		return 0;
	say("--print-policy: %s",
	    errno == EFBIG
		    ? "it would be longer than a policy file may be (64 KiB): use fewer rules"
		    : "the output cannot be written");
	return EXIT_VMBOX_FAILED;
}

/* @shell: the program, with the arguments; NULL: it is the first of them. */
static int run(struct options *options, int argc, char **argv, char *shell)
{
	struct run_options *o = &options->run;
	struct policy *policy;
	int err = 0;

	if (shell) /* which policies and options can change, as everything */
		err = add_policy_option(&options->policy, "env", "PS1=vmbox:$PWD$ ");
	if (!err)
		err = take_options(options, argc, argv);
	if (err)
		return err;
	if (optind == argc && !options->print && !shell)
		return cli_bad("run", NULL, "name the program to run");
	if (shell)
		argv[--optind] = shell; /* over the last option, or the verb */
	o->argv = argv + optind;
	o->program = o->argv[0];
	if (!options->print)
		err = run_report_begin(o);
	if (err)
		return err;
	if (policy_load(&options->policy, &policy))
		return run_report_end(o, record_end(RUN_POLICY, 0));
	if (options->print)
		err = print_policy(policy);
	else
		err = policy_refuse(policy) ? record_end(RUN_POLICY, 0) : run_policy(o, policy);
	policy_free(policy);
	return options->print ? err : run_report_end(o, err);
}

static int learn(struct options *options, int argc, char **argv)
{
	struct run_options *o = &options->run;
	int err;

	options->policy.without_default = true;
	err = take_options(options, argc, argv);
	if (err)
		return err;
	if (options->print || options->policy.nr_files)
		return cli_bad(options->print ? "--print-policy" : "--policy", NULL,
			       "is not for learn, which makes a policy from what the program "
			       "uses: give what it shall have besides as options");
	if (optind == argc)
		return cli_bad("learn", NULL, "name the program to run");
	o->argv = argv + optind;
	err = run_report_begin(o);
	if (err)
		return err;
	err = learn_begin(o, &options->policy);
	return run_report_end(o, err ? err : learn_end(o, run_policy(o, o->policy)));
}

static int check(struct options *options, int argc, char **argv)
{
	struct policy *policy;
	int err = take_options(options, argc, argv);

	if (err)
		return err;
	if (argc - optind != 1)
		return cli_bad("check", NULL, "the command is: vmbox check POLICY");
	add_policy_file(&options->policy, argv[optind]);
	err = policy_load(&options->policy, &policy);
	if (err)
		return err;
	printf("%s: valid\n", argv[optind]);
	policy_free(policy);
	return 0;
}

static int explain(struct options *options, int argc, char **argv)
{
	struct policy *policy;
	int err = take_options(options, argc, argv);

	if (err)
		return err;
	if (argc - optind != 2)
		return cli_bad("explain", NULL,
			       "the command is: vmbox explain [OPTION...] POLICY PATH");
	err = add_policy_file(&options->policy, argv[optind]);
	if (!err)
		err = policy_load(&options->policy, &policy);
	if (err)
		return err;
	err = policy_explain(policy, argv[optind + 1]);
	policy_free(policy);
	return err;
}

static int verify(struct options *options, int argc, char **argv)
{
	struct policy_args *args = &options->policy;
	struct policy *policy = NULL;
	int err = take_options(options, argc, argv);

	if (err)
		return err;
	if (argc - optind != 1)
		return cli_bad("report verify", NULL,
			       "the command is: vmbox report verify [OPTION...] FILE");
	if ((args->nr_files || args->nr_options) && policy_load(args, &policy))
		return EXIT_VMBOX_FAILED;
	err = run_report_verify(argv[optind], policy);
	policy_free(policy);
	return err;
}

static int report(struct options *options, int argc, char **argv)
{
	int err;

	if (argc > 1 && !strcmp(argv[1], "verify"))
		return verify(options, argc - 1, argv + 1);
	err = take_options(options, argc, argv);
	if (err)
		return err;
	return cli_bad("report", argv[1], "the command is: vmbox report verify FILE");
}

/* After a verb's options; true: it has been said that it takes no more. */
static bool has_arguments(const char *verb, int argc, char **argv)
{
	return optind != argc && cli_bad(verb, argv[optind], "takes options only");
}

static int selftest(int argc, char **argv)
{
	struct selftest_options o = { .device = "/dev/vmbox", .seed = time(NULL) | 1 };
	enum cli_key key;
	char *end;

	while ((key = cli_next(argc, argv, NULL)) != CLI_END) {
		switch (key) {
		case CLI_TESTS:
			o.tests = optarg;
			break;
		case CLI_SEED:
			o.seed = strtoul(optarg, &end, 10);
			if (*end || !o.seed)
				return cli_bad("--seed", optarg, "give a number from 1 up");
			break;
		case CLI_THOROUGH:
			o.thorough = true;
			break;
		case CLI_VERBOSE:
			o.verbose = true;
			break;
		case CLI_DEVICE:
			o.device = optarg;
			break;
		default:
			return EXIT_VMBOX_FAILED;
		}
	}
	if (has_arguments("selftest", argc, argv))
		return EXIT_VMBOX_FAILED;
	return selftest_run(&o);
}

static char *find_shell(void)
{
	static char bash[] = "/bin/bash", sh[] = "/bin/sh";

	return access(bash, X_OK) ? sh : bash;
}

static int doctor(struct options *options, int argc, char **argv)
{
	bool json = false;
	enum cli_key key;

	while ((key = cli_next(argc, argv, NULL)) != CLI_END) {
		switch (key) {
		case CLI_JSON:
			json = true;
			break;
		case CLI_GUEST_DIR:
			options->run.guest_dir = optarg;
			break;
		default:
			return EXIT_VMBOX_FAILED;
		}
	}
	if (has_arguments("doctor", argc, argv))
		return EXIT_VMBOX_FAILED;
	return doctor_run(options->run.guest_dir, json);
}

static int version(struct options *options, int argc, char **argv)
{
	int err = take_options(options, argc, argv);

	if (err)
		return err;
	if (has_arguments("version", argc, argv))
		return EXIT_VMBOX_FAILED;
	return version_print(options->run.device, options->run.guest_dir);
}

static int help(struct options *options, int argc, char **argv)
{
	const struct cli_verb *verb = NULL;
	int err = take_options(options, argc, argv);

	if (err)
		return err;
	if (argc - optind > 1)
		return cli_bad("help", argv[optind + 1], "give one verb");
	if (argc - optind == 1 && !(verb = cli_find(argv[optind])))
		return cli_bad_verb(argv[optind]);
	return cli_help(verb);
}

static int dispatch(const struct cli_verb *verb, int argc, char **argv)
{
	static struct options options = {
		.run = { .device = "/dev/vmbox", .uses = -1, .scribe = -1, .reporter = -1 }
	};

	options.run.guest_dir = getenv("VMBOX_GUEST_DIR");
	if (!options.run.guest_dir || !*options.run.guest_dir)
		options.run.guest_dir = VMBOX_GUEST_DIR;
	switch (verb->verb) {
	case VERB_RUN:
		return run(&options, argc, argv, NULL);
	case VERB_SHELL:
		return run(&options, argc, argv, find_shell());
	case VERB_LEARN:
		return learn(&options, argc, argv);
	case VERB_CHECK:
		return check(&options, argc, argv);
	case VERB_EXPLAIN:
		return explain(&options, argc, argv);
	case VERB_DOCTOR:
		return doctor(&options, argc, argv);
	case VERB_REPORT:
		return report(&options, argc, argv);
	case VERB_SELFTEST:
		return selftest(argc, argv);
	case VERB_VERSION:
		return version(&options, argc, argv);
	case VERB_HELP:
		return help(&options, argc, argv);
	}
	return EXIT_VMBOX_FAILED;
}

int main(int argc, char **argv)
{
	const struct cli_verb *verb;

	if (argc < 2)
		return cli_bad("vmbox", NULL, "give a verb: vmbox run PROGRAM");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return cli_help(NULL);
	if (!strcmp(argv[1], "--version")) {
		puts("vmbox " VMBOX_VERSION);
		return 0;
	}
	verb = cli_find(argv[1]);
	if (!verb)
		return cli_bad_verb(argv[1]);
	cli_begin(verb);
	return dispatch(verb, argc - 1, argv + 1);
}
