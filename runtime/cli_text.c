// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every verb and every option of vmbox: taken, shown by --help, completed by the shells
 * (completions/ read --help) and looked for in the manual pages (tests/docs) by these tables.
 */
#include <stddef.h>

#include "cli.h"

#define WITH_RUN (VERB_RUN | VERB_SHELL | VERB_LEARN) /* the verbs that run a program */
#define ALL	 (~0U)

const struct cli_option cli_options[] = {
	{ "policy", "POLICY", CLI_POLICY_FILE, VERB_RUN | VERB_SHELL | VERB_EXPLAIN | VERB_REPORT,
	  "a policy file, or a profile: default, strict, ci, build\n"
	  "(default); may be given again" },
	{ "policy", "POLICY", CLI_POLICY_FILE, VERB_LEARN },
	{ "output", "FILE", CLI_OUTPUT, VERB_LEARN,
	  "write the policy to FILE, which is replaced, and not to\n"
	  "stderr" },
	{ "print-policy", NULL, CLI_PRINT_POLICY, VERB_RUN | VERB_SHELL,
	  "do not run: write all of that as one policy file" },
	{ "print-policy", NULL, CLI_PRINT_POLICY, VERB_LEARN },
	{ "audit", "FILE", CLI_AUDIT, WITH_RUN,
	  "write what the guest changes and is refused to FILE, as\n"
	  "JSON lines" },
	{ "report", "FILE", CLI_REPORT, WITH_RUN,
	  "write how the run ended and what it took to FILE, as JSON;\n"
	  "- is descriptor 3 if it is open, else stderr" },
	{ "stats", NULL, CLI_STATS, WITH_RUN, "the same in short, on stderr" },
	{ "cwd", "DIR", CLI_CWD, WITH_RUN,
	  "working directory in the guest (the same path as here)" },
	{ "require-confinement", NULL, CLI_REQUIRE_CONFINEMENT, WITH_RUN,
	  "do not run where the host has no user namespaces for\n"
	  "vmbox" },
	{ "json", NULL, CLI_JSON, VERB_DOCTOR, "the same, for programs" },
	{ "thorough", NULL, CLI_THOROUGH, VERB_SELFTEST,
	  "every access right in every paging mode; takes longer" },
	{ "seed", "N", CLI_SEED, VERB_SELFTEST, "of what is random, as a report names it" },
	{ "tests", "DIR", CLI_TESTS, VERB_SELFTEST,
	  "where the tests are (those of the build, or\n" VMBOX_SELFTEST_DIR ")" },
	{ "verbose", NULL, CLI_VERBOSE, WITH_RUN, "guest kernel messages and timing on stderr" },
	{ "verbose", NULL, CLI_VERBOSE, VERB_SELFTEST, "all that the tests write" },
	{ "device", "PATH", CLI_DEVICE, WITH_RUN | VERB_SELFTEST | VERB_VERSION,
	  "/dev/vmbox, or another device of the KVM API\n"
	  "(/dev/vmbox)" },
	{ "guest-dir", "DIR", CLI_GUEST_DIR, WITH_RUN | VERB_VERSION | VERB_DOCTOR,
	  "where vmlinux and initrd are ($VMBOX_GUEST_DIR, or\n" VMBOX_GUEST_DIR ")" },
	{ "help", NULL, CLI_HELP, ALL, "this text" },
	{ 0 }
};

#define STATUS_OF_RUN                                                             \
	"  the program's own; 128+N if signal N ended it, or vmbox\n"             \
	"  121 limit of exits   122 killed because the guest was out of memory\n" \
	"  123 output limit   124 time limit   125 vmbox itself failed\n"         \
	"  126 PROGRAM cannot be executed   127 PROGRAM was not found\n"

const struct cli_verb cli_verbs[] = {
	{ VERB_RUN, "run", "run a program", "[OPTION...] [--] PROGRAM [ARG...]",
	  "Runs PROGRAM inside a throw-away virtual machine, with your standard streams. "
	  "The\n"
	  "guest always sees the program's own file, read-only. What else it has that no "
	  "rule\n"
	  "gives is its own and gone when it ends. There is no network.\n",
	  "  vmbox run ./untrusted --its-own-option\n"
	  "  vmbox run --wall 10s --memory 1G --ro data.csv ./analyse data.csv\n"
	  "  vmbox run --policy build make           changes the files here if make "
	  "succeeds\n"
	  "  vmbox run --overlay . --on-exit diff ./configure      lists what it would "
	  "change\n"
	  "  vmbox run --policy mine.yaml --env TOKEN --print-policy >all.yaml\n",
	  STATUS_OF_RUN, true },
	{ VERB_SHELL, "shell", "open a shell in a guest", "[OPTION...] [--] [ARG...]",
	  "Runs a shell, /bin/bash if it is there, else /bin/sh, as 'run' does, with ARG... as "
	  "its\n"
	  "arguments: to look around as a program would under a policy.\n",
	  "  vmbox shell\n"
	  "  vmbox shell --policy build\n"
	  "  vmbox shell --overlay . -- -c 'make && ls'\n",
	  "  as of 'vmbox run'; the shell's own is that of its last command\n", true },
	{ VERB_LEARN, "learn", "run a program, and write the policy that it needed",
	  "[OPTION...] [--] PROGRAM [ARG...]",
	  "Runs PROGRAM with all that you can read, read-only, and writes the smallest "
	  "policy\n"
	  "that it needed: to stderr, after the program's own output, or to a file. What "
	  "the\n"
	  "options allow or deny holds while it learns, and comes into the policy.\n",
	  "  vmbox learn -o policy.yaml ./count data.txt\n"
	  "  vmbox learn -o policy.yaml --overlay . --deny ~/.ssh make\n"
	  "  vmbox run --policy policy.yaml ./count data.txt\n",
	  STATUS_OF_RUN "  125 also if no policy could be made\n", true },
	{ VERB_CHECK, "check", "is a policy valid?", "POLICY",
	  "Says whether POLICY, a file or a profile, is valid; if not, where and why.\n",
	  "  vmbox check policy.yaml\n"
	  "  vmbox check strict\n",
	  "  0 valid   1 not valid   125 it cannot be opened, or wrong usage\n" },
	{ VERB_EXPLAIN, "explain", "what could the guest do with a path, and who says so?",
	  "[OPTION...] POLICY PATH",
	  "Says what a guest under POLICY, a file or a profile, and the options could do "
	  "with\n"
	  "PATH, which rule says so, and where the host's PATH is otherwise shown.\n",
	  "  vmbox explain policy.yaml /work/.git/hooks\n"
	  "  vmbox explain --deny /usr/local default /usr/local/bin\n",
	  "  0 answered, whatever the answer   1 the policy is not valid\n"
	  "  125 it cannot be opened, or wrong usage\n",
	  true },
	{ VERB_REPORT, "report", "is the report of a run still true?", "verify [OPTION...] FILE",
	  "Checks FILE, which --report wrote: its form, that it says one thing only, and "
	  "whether\n"
	  "what the run was made of is still the same: the program, the guest and, if "
	  "options\n"
	  "name one, the policy.\n",
	  "  vmbox run --report run.json --wall 10s ./untrusted\n"
	  "  vmbox report verify --wall 10s run.json\n",
	  "  0 nothing differs   1 something is wrong or differs   125 FILE is no report\n", true },
	{ VERB_DOCTOR, "doctor", "can this machine run vmbox, and if not, what is to be done?",
	  "[OPTION...]",
	  "Looks at the processor, the driver, your rights, the guest and the host's confinement,\n"
	  "and says what is wrong and what to do. It changes nothing.\n",
	  "  vmbox doctor\n"
	  "  vmbox doctor --json >machine.json\n",
	  "  0 this machine can run vmbox, there may be warnings   1 it cannot\n"
	  "  125 wrong usage, or the output cannot be written\n" },
	{ VERB_SELFTEST, "selftest", "does the driver work on this machine?", "[OPTION...]",
	  "Runs the driver's tests, a minute or so, and prints a report, for bug reports "
	  "too.\n"
	  "Root's is more thorough: the driver then checks itself all the time.\n",
	  "  sudo vmbox selftest\n"
	  "  sudo vmbox selftest --thorough --seed 42 >report.txt\n",
	  "  0 nothing failed, but tests may have been skipped   1 a test failed\n"
	  "  125 the tests cannot be run   128+N stopped by signal N\n" },
	{ VERB_VERSION, "version", "versions of vmbox, driver and guest, for a bug report",
	  "[OPTION...]",
	  "Prints the versions of vmbox, of the driver, of the guest's and the host's "
	  "kernel.\n"
	  "What is not there is said. 'vmbox --version' prints vmbox's alone.\n",
	  "  vmbox version\n"
	  "  vmbox version --guest-dir build/guest-init\n",
	  "  0   125 wrong usage, or the output cannot be written\n" },
	{ VERB_HELP, "help", "what a verb does, its options, examples", "[VERB]",
	  "Prints the help of VERB, as 'vmbox VERB --help' does, or names the verbs.\n",
	  "  vmbox help run\n", "  0   125 wrong usage, or the output cannot be written\n" },
	{ 0 }
};
