// SPDX-License-Identifier: GPL-2.0-only
/* vmbox: the command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher.h"
#include "../policy/units.h"

#define DEFAULT_MEMORY (512ULL << 20)
#define MIN_MEMORY     (64ULL << 20)
#define MAX_MEMORY     (256ULL << 30)
#define MEMORY_STEP    (2ULL << 20)

static const char usage_text[] =
	"usage: vmbox run [OPTION...] [--] PROGRAM [ARG...]\n"
	"       vmbox version\n"
	"Runs one program inside a throw-away virtual machine, with your standard streams.\n"
	"\n"
	"  --memory SIZE     the guest's memory: 64M to 256G (512M)\n"
	"  --timeout TIME    end the program after TIME: 500ms, 10s, 5m, 1h\n"
	"  --env NAME[=VAL]  set a variable, or pass it on; may be given again\n"
	"  --cwd DIR         working directory in the guest (the same path as here)\n"
	"  --verbose         guest kernel messages and timing on stderr\n"
	"  --device PATH     /dev/vmbox, or another device of the KVM API (/dev/vmbox)\n"
	"  --guest-dir DIR   where vmlinux and initrd are ($VMBOX_GUEST_DIR, or " VMBOX_GUEST_DIR
	")\n"
	"\n"
	"The guest sees, read-only: the program, /usr, /bin, /sbin, /lib*, /etc/ld.so.cache.\n"
	"Everything else in it is its own and gone when it ends. There is no network.\n"
	"\n"
	"Exit status: the program's; 128+N if signal N ended it, or you sent N to vmbox;\n"
	"  122 killed because the guest was out of memory   124 time limit\n"
	"  125 vmbox itself failed   126 PROGRAM cannot be executed   127 not found\n";

static int bad_usage(const char *what, const char *value, const char *fix)
{
	fprintf(stderr, "vmbox: %s%s%s: %s (vmbox --help)\n", what, value ? " " : "",
		value ? value : "", fix);
	return EXIT_VMBOX_FAILED;
}

static int set_memory(struct run_options *o, const char *value)
{
	if (!parse_size(value, &o->memory) || o->memory < MIN_MEMORY || o->memory > MAX_MEMORY)
		return bad_usage("--memory", value, "give a size from 64M to 256G, such as 512M");
	o->memory = (o->memory + MEMORY_STEP - 1) & ~(MEMORY_STEP - 1);
	return 0;
}

static int set_timeout(struct run_options *o, const char *value)
{
	if (!parse_duration(value, &o->timeout_ns) || !o->timeout_ns)
		return bad_usage("--timeout", value, "give a time such as 500ms, 10s or 5m");
	return 0;
}

static int add_env(struct run_options *o, char *value)
{
	if (!*value || *value == '=')
		return bad_usage("--env", value, "give NAME or NAME=VALUE");
	if (o->nr_env == MAX_ENV)
		return bad_usage("--env", NULL, "too many variables");
	o->env[o->nr_env++] = value;
	return 0;
}

static int set_cwd(struct run_options *o, const char *value)
{
	if (*value != '/')
		return bad_usage("--cwd", value, "give an absolute path");
	o->cwd = value;
	return 0;
}

static int run(int argc, char **argv)
{
	enum {
		MEMORY,
		TIMEOUT,
		ENV,
		CWD,
		VERBOSE,
		DEVICE,
		GUEST_DIR,
		HELP
	};
	static const struct option long_options[] = {
		{ "memory", required_argument, NULL, MEMORY },
		{ "timeout", required_argument, NULL, TIMEOUT },
		{ "env", required_argument, NULL, ENV },
		{ "cwd", required_argument, NULL, CWD },
		{ "verbose", no_argument, NULL, VERBOSE },
		{ "device", required_argument, NULL, DEVICE },
		{ "guest-dir", required_argument, NULL, GUEST_DIR },
		{ "help", no_argument, NULL, HELP },
		{ 0 },
	};
	struct run_options o = { .device = "/dev/vmbox",
				 .guest_dir = getenv("VMBOX_GUEST_DIR"),
				 .memory = DEFAULT_MEMORY };
	int c, err = 0;

	if (!o.guest_dir || !*o.guest_dir)
		o.guest_dir = VMBOX_GUEST_DIR;
	opterr = 0;
	while (!err && (c = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		switch (c) {
		case MEMORY:
			err = set_memory(&o, optarg);
			break;
		case TIMEOUT:
			err = set_timeout(&o, optarg);
			break;
		case ENV:
			err = add_env(&o, optarg);
			break;
		case CWD:
			err = set_cwd(&o, optarg);
			break;
		case VERBOSE:
			o.verbose = true;
			break;
		case DEVICE:
			o.device = optarg;
			break;
		case GUEST_DIR:
			o.guest_dir = optarg;
			break;
		case HELP:
			fputs(usage_text, stdout);
			return 0;
		case ':':
			return bad_usage(argv[optind - 1], NULL, "needs a value");
		default:
			return bad_usage(argv[optind - 1], NULL, "unknown option");
		}
	}
	if (err)
		return err;
	if (optind == argc)
		return bad_usage("run", NULL, "name the program to run");
	o.argv = argv + optind;
	return launcher_run(&o);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "run"))
		return run(argc - 1, argv + 1);
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (argc > 1 && (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version"))) {
		puts("vmbox " VMBOX_VERSION);
		return 0;
	}
	return bad_usage(argc > 1 ? argv[1] : "vmbox", NULL, "the command is: vmbox run PROGRAM");
}
