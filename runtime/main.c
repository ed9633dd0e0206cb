// SPDX-License-Identifier: GPL-2.0-only
/* vmbox: the command line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "launcher.h"
#include "learn.h"
#include "load.h"
#include "report.h"
#include "selftest.h"

#define MEMORY_STEP (2ULL << 20)

static const char usage_text[] =
	"usage: vmbox run [OPTION...] [--] PROGRAM [ARG...]\n"
	"       vmbox learn [OPTION...] [--] PROGRAM [ARG...]\n"
	"       vmbox check POLICY                     is it valid?\n"
	"       vmbox explain [OPTION...] POLICY PATH  what could the guest do with PATH?\n"
	"       vmbox selftest [OPTION...]             does the driver work on this machine?\n"
	"       vmbox version\n"
	"Runs one program inside a throw-away virtual machine, with your standard streams.\n"
	"\n"
	"What the guest may have (docs/policy.md); options go over what files say:\n"
	"  --policy POLICY   a policy file, or a profile: default, strict, ci, build (default)\n"
	"  --ro PATH[:AT]    the guest can read PATH of the host, at AT\n"
	"  --overlay PATH[:AT]  and change its own copy; then --quota SIZE, --on-exit\n"
	"                    discard|diff|commit: throw its changes away, list them on stderr,\n"
	"                    or make them to the host's files if it ends with status 0\n"
	"  --rw PATH[:AT]    and change the host's; then --quota SIZE\n"
	"  --deny PATH       it cannot, whatever else is said of what PATH is in\n"
	"  --env NAME[=VAL]  set a variable, or pass it on; may be given again\n"
	"  --wall TIME       end the program after TIME: 500ms, 10s, 5m, 1h (--timeout too)\n"
	"  --cpu TIME        end it after TIME of a processor\n"
	"  --memory SIZE     the guest's memory: 64M to 256G (512M)\n"
	"  --stdout SIZE     end it after SIZE of stdout, or of stderr\n"
	"  --pids N  --files N  --file-size SIZE   processes and threads at a time, open\n"
	"                    files of a process, size of a file\n"
	"  --net none  --clock real\n"
	"  --print-policy    do not run: write all that as a policy file\n"
	"\n"
	"  --audit FILE      write what the guest changes and is refused to FILE, as JSON lines\n"
	"  --cwd DIR         working directory in the guest (the same path as here)\n"
	"  --require-confinement  do not run where the host has no user namespaces for vmbox\n"
	"  --verbose         guest kernel messages and timing on stderr\n"
	"  --device PATH     /dev/vmbox, or another device of the KVM API (/dev/vmbox)\n"
	"  --guest-dir DIR   where vmlinux and initrd are ($VMBOX_GUEST_DIR, or " VMBOX_GUEST_DIR
	")\n"
	"\n"
	"learn is run with all that you can read, read-only, and writes the smallest policy that\n"
	"the program needed, to stderr after the program's own output. It takes all of these but\n"
	"--policy and --print-policy:\n"
	"  -o, --output FILE  write the policy to FILE, which is replaced\n"
	"\n"
	"selftest runs the driver's tests, a minute or so, and prints a report, for bug reports "
	"too:\n"
	"  --thorough        every access right in every paging mode; takes longer\n"
	"  --seed N          of what is random, as a report names it\n"
	"  --tests DIR       where the tests are (those of the build, or " VMBOX_SELFTEST_DIR ")\n"
	"  --device, --verbose  as above; verbose: all that the tests write\n"
	"\n"
	"The guest always sees the program's own file, read-only. What else it has is its own\n"
	"and gone when it ends. There is no network.\n"
	"\n"
	"Exit status: the program's; 128+N if signal N ended it, or you sent N to vmbox;\n"
	"  122 killed because the guest was out of memory   123 output limit   124 time limit\n"
	"  125 vmbox itself failed   126 PROGRAM cannot be executed   127 not found\n"
	"  of check and explain: 1 the policy is not valid\n"
	"  of selftest: 0 nothing failed, but tests may have been skipped   1 a test failed\n";

static int bad_usage(const char *what, const char *value, const char *fix)
{
	fprintf(stderr, "vmbox: %s%s%s: %s (vmbox --help)\n", what, value ? " " : "",
		value ? value : "", fix);
	return EXIT_VMBOX_FAILED;
}

/* NOLINTBEGIN(clang-analyzer-core.NullDereference): all_options() has those whose pointer is given */
static int set_cwd(struct run_options *o, const char *value)
{
	if (*value != '/')
		return bad_usage("--cwd", value, "give an absolute path");
	o->cwd = value;
	return 0;
}

enum {
	POLICY_KEY, /* an option of the policy library's */
	POLICY_FILE,
	PRINT_POLICY,
	AUDIT,
	CWD,
	REQUIRE_CONFINEMENT,
	VERBOSE,
	DEVICE,
	GUEST_DIR,
	OUTPUT,
	HELP
};

/* How many of our options a verb has. */
enum verb {
	EXPLAIN = 2,
	RUN = 9,
	LEARN = 10,
};

/* The options of the policy library, then ours. */
static const struct option *all_options(enum verb verb)
{
	static const struct option ours[] = {
		{ "help", no_argument, NULL, HELP },
		{ "policy", required_argument, NULL, POLICY_FILE },
		{ "print-policy", no_argument, NULL, PRINT_POLICY },
		{ "audit", required_argument, NULL, AUDIT },
		{ "cwd", required_argument, NULL, CWD },
		{ "require-confinement", no_argument, NULL, REQUIRE_CONFINEMENT },
		{ "verbose", no_argument, NULL, VERBOSE },
		{ "device", required_argument, NULL, DEVICE },
		{ "guest-dir", required_argument, NULL, GUEST_DIR },
		{ "output", required_argument, NULL, OUTPUT },
	};
	static struct option all[64];
	const char *name;
	size_t n;

	for (n = 0; (name = policy_option_name(n)); n++)
		all[n] = (struct option){ name, required_argument, NULL, POLICY_KEY };
	memcpy(all + n, ours, verb * sizeof(ours[0]));
	return all;
}

static int add_policy_file(struct policy_args *args, const char *name)
{
	if (args->nr_files == MAX_POLICIES)
		return bad_usage("--policy", name, "too many policies");
	args->files[args->nr_files++] = name;
	return 0;
}

static int add_policy_option(struct policy_args *args, const char *name, const char *value)
{
	if (args->nr_options == MAX_POLICY_OPTIONS)
		return bad_usage(name, value, "too many options: use a policy file");
	args->options[args->nr_options].name = name;
	args->options[args->nr_options++].value = value;
	return 0;
}

/* Up to the first argument that is no option. 0, or an exit status. */
static int take_options(int argc, char **argv, enum verb verb, struct policy_args *args,
			struct run_options *o, bool *print)
{
	const struct option *options = all_options(verb);
	int c, i, err = 0;

	opterr = 0;
	while (!err &&
	       (c = getopt_long(argc, argv, verb == LEARN ? "+:o:" : "+:", options, &i)) != -1) {
		switch (c) {
		case POLICY_KEY:
			err = add_policy_option(args, options[i].name, optarg);
			break;
		case POLICY_FILE:
			err = add_policy_file(args, optarg);
			break;
		case PRINT_POLICY:
			*print = true;
			break;
		case AUDIT:
			o->audit = optarg;
			break;
		case CWD:
			err = set_cwd(o, optarg);
			break;
		case REQUIRE_CONFINEMENT:
			o->require_confinement = true;
			break;
		case VERBOSE:
			o->verbose = true;
			break;
		case DEVICE:
			o->device = optarg;
			break;
		case GUEST_DIR:
			o->guest_dir = optarg;
			break;
		case 'o':
		case OUTPUT:
			o->output = optarg;
			break;
		case HELP:
			fputs(usage_text, stdout);
			exit(0);
		case ':':
			return bad_usage(argv[optind - 1], NULL, "needs a value");
		default:
			return bad_usage(argv[optind - 1], NULL, "unknown option");
		}
	}
	return err;
}
/* NOLINTEND(clang-analyzer-core.NullDereference) */

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

static struct run_options no_options(void)
{
	struct run_options o = { .device = "/dev/vmbox",
				 .guest_dir = getenv("VMBOX_GUEST_DIR"),
				 .uses = -1,
				 .scribe = -1 };

	if (!o.guest_dir || !*o.guest_dir)
		o.guest_dir = VMBOX_GUEST_DIR;
	return o;
}

static int run(int argc, char **argv)
{
	struct run_options o = no_options();
	static struct policy_args args;
	struct policy *policy;
	bool print = false;
	int err = take_options(argc, argv, RUN, &args, &o, &print);

	if (err)
		return err;
	if (optind == argc && !print)
		return bad_usage("run", NULL, "name the program to run");
	o.argv = argv + optind;
	o.program = o.argv[0];
	if (policy_load(&args, &policy))
		return EXIT_VMBOX_FAILED;
	if (print)
		err = print_policy(policy);
	else
		err = policy_refuse(policy) ? EXIT_VMBOX_FAILED : run_policy(&o, policy);
	policy_free(policy);
	return err;
}

static int learn(int argc, char **argv)
{
	static struct policy_args args = { .without_default = true };
	struct run_options o = no_options();
	bool print = false;
	int err = take_options(argc, argv, LEARN, &args, &o, &print);

	if (err)
		return err;
	if (print || args.nr_files)
		return bad_usage(print ? "--print-policy" : "--policy", NULL,
				 "is not for learn, which makes a policy from what the program "
				 "uses: give what it shall have besides as options");
	if (optind == argc)
		return bad_usage("learn", NULL, "name the program to run");
	o.argv = argv + optind;
	err = learn_begin(&o, &args);
	return err ? err : learn_end(&o, run_policy(&o, o.policy));
}

static int check(int argc, char **argv)
{
	static struct policy_args args;
	struct policy *policy;
	int err;

	if (argc != 2 || *argv[1] == '-')
		return bad_usage("check", NULL, "the command is: vmbox check POLICY");
	add_policy_file(&args, argv[1]);
	err = policy_load(&args, &policy);
	if (err)
		return err;
	printf("%s: valid\n", argv[1]);
	policy_free(policy);
	return 0;
}

static int explain(int argc, char **argv)
{
	static struct policy_args args;
	struct policy *policy;
	int err = take_options(argc, argv, EXPLAIN, &args, NULL, NULL);

	if (err)
		return err;
	if (argc - optind != 2)
		return bad_usage("explain", NULL,
				 "the command is: vmbox explain [OPTION...] POLICY PATH");
	err = add_policy_file(&args, argv[optind]);
	if (!err)
		err = policy_load(&args, &policy);
	if (err)
		return err;
	err = policy_explain(policy, argv[optind + 1]);
	policy_free(policy);
	return err;
}

static int selftest(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "tests", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "thorough", no_argument, NULL, 'T' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "device", required_argument, NULL, 'd' },
		{ 0 },
	};
	struct selftest_options o = { .device = "/dev/vmbox", .seed = time(NULL) | 1 };
	char *end;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
		switch (c) {
		case 't':
			o.tests = optarg;
			break;
		case 's':
			o.seed = strtoul(optarg, &end, 10);
			if (*end || !o.seed)
				return bad_usage("--seed", optarg, "give a number from 1 up");
			break;
		case 'T':
			o.thorough = true;
			break;
		case 'v':
			o.verbose = true;
			break;
		case 'd':
			o.device = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		case ':':
			return bad_usage(argv[optind - 1], NULL, "needs a value");
		default:
			return bad_usage(argv[optind - 1], NULL, "unknown option");
		}
	}
	if (optind != argc)
		return bad_usage("selftest", argv[optind], "takes options only");
	return selftest_run(&o);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "run"))
		return run(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "learn"))
		return learn(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "check"))
		return check(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "explain"))
		return explain(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "selftest"))
		return selftest(argc - 1, argv + 1);
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (argc > 1 && (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version"))) {
		puts("vmbox " VMBOX_VERSION);
		return 0;
	}
	return bad_usage(argc > 1 ? argv[1] : "vmbox", NULL,
			 "the command is: vmbox run PROGRAM, or learn, check, explain or selftest");
}
