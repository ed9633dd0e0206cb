// SPDX-License-Identifier: GPL-2.0-only
/*
 * `vmbox selftest`: runs the driver's tests and the guests without an operating system
 * (tests/driver, tests/guests) on the machine at hand, each in a process of its own with a time
 * limit, and prints a report for a bug's reader: the machine, a line for each test, a sum.
 *
 * It has the caller's rights and trusts the programs it runs; what it shows of their output and
 * of the machine is made printable. The list of the driver's tests is driver_test's, that of the
 * guests is here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "launcher.h"
#include "progress.h"
#include "report.h"
#include "selftest.h"
#include "text_file.h"
#include "version.h"

#define EXIT_SKIPPED   77   /* a test's that cannot be made here; its last line says why */
#define LIMIT	       120  /* seconds for a test, */
#define LIMIT_THOROUGH 1200 /* or for a thorough one */
#define SHOWN_LINES    12
#define PARAMETERS     "/sys/module/vmbox/parameters/"
#define AUDIT	       PARAMETERS "audit"
#define ALLOW_SMT      PARAMETERS "allow_smt"
#define MITIGATIONS    PARAMETERS "mitigations"
#define BUGS	       "/sys/devices/system/cpu/vulnerabilities"

enum {
	DRIVER_TEST,
	TESTVMM,
	PAGING,
	REALMODE,
	NR_FILES
};

/* Their names, and where they are in the build's tests/; installed they are in one directory. */
static const struct {
	const char *name, *dir;
} files[NR_FILES] = {
	[DRIVER_TEST] = { "driver_test", "driver" },
	[TESTVMM] = { "testvmm", "guests" },
	[PAGING] = { "paging.elf", "guests" },
	[REALMODE] = { "realmode", "guests" },
};

/* The driver ends a guest that goes to real mode: testvmm says so, with the KVM API's number. */
static const struct guest {
	const char *name;
	int image;
	int status;	    /* testvmm's, if all is well */
	const char *output; /* a part of it, or NULL */
} guests[] = {
	{ "tlb", PAGING },     { "livelock", PAGING },
	{ "selfmap", PAGING }, { "modes", PAGING },
	{ "dirty", PAGING },   { "host", PAGING },
	{ "access", PAGING },  { "realmode", REALMODE, 125, "exit 17 " },
};

struct selftest {
	const struct selftest_options *options;
	char *path[NR_FILES];
	sigset_t signals, old_signals;
	int stopped_by; /* a signal, or 0 */
	unsigned int passed, failed, skipped;
	char output[16385]; /* the last of a test's, made printable */
};

/* ---- the machine ---- */

static void fact(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fact(const char *name, const char *fmt, ...)
{
	va_list args;

	printf("%-11s ", name);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

/* The value of @name among the lines of /proc/cpuinfo, each of which ends with a NUL. */
static const char *cpu_value(const char *lines, const char *end, const char *name)
{
	size_t n = strlen(name);

	for (; lines < end; lines += strlen(lines) + 1) {
		if (!strncmp(lines, name, n) && lines[n] == '\t') {
			lines += n + strspn(lines + n, "\t: ");
			return lines;
		}
	}
	return "?";
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);
	const char *p;

	for (p = words; (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

static void print_flags(const char *flags)
{
	static const char *const names[] = {
		"vmx",		 "svm",	       "npt",	   "nrip_save",	   "flushbyasid",
		"decodeassists", "vmcb_clean", "vgif",	   "avic",	   "smep",
		"smap",		 "pcid",       "invpcid",  "la57",	   "nx",
		"pdpe1gb",	 "xsaves",     "fsgsbase", "tsc_reliable", "ibrs",
		"ibpb",		 "stibp",      "ssbd",	   "md_clear",	   "nonstop_tsc",
	};
	size_t i;

	printf("%-11s", "flags");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (has_word(flags, names[i]))
			printf(" %s", names[i]);
	putchar('\n');
}

static void print_cpu(void)
{
	static char info[16384];
	const char *flags, *vmx;
	char *end, *p;

	text_read("/proc/cpuinfo", info, sizeof(info));
	end = strstr(info, "\n\n"); /* the first CPU's part */
	end = end ? end : info + strlen(info);
	*end = 0;
	for (p = info; (p = strchr(p, '\n'));)
		*p++ = 0;
	flags = cpu_value(info, end, "flags");
	vmx = cpu_value(info, end, "vmx flags");
	fact("CPU", "%s, %s", cpu_value(info, end, "vendor_id"),
	     cpu_value(info, end, "model name"));
	fact("", "family %s, model %s, stepping %s, microcode %s; %ld CPUs",
	     cpu_value(info, end, "cpu family"), cpu_value(info, end, "model"),
	     cpu_value(info, end, "stepping"), cpu_value(info, end, "microcode"),
	     sysconf(_SC_NPROCESSORS_ONLN));
	fact("back end", "%s",
	     has_word(flags, "vmx")   ? "VT-x"
	     : has_word(flags, "svm") ? "AMD-V"
				      : "unknown: the CPU shows neither VT-x nor AMD-V");
	print_flags(flags);
	if (*vmx != '?')
		fact("vmx flags", "%s", vmx);
	fact("hypervisor", "%s",
	     has_word(flags, "hypervisor")
		     ? "yes: this machine is virtual; what is tested is its emulation"
		     : "none seen");
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void print_bugs(void)
{
	struct dirent **entries;
	int n = scandir(BUGS, &entries, is_visible, alphasort), i;
	char path[PATH_MAX], text[512];

	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), BUGS "/%s", entries[i]->d_name);
		text_read(path, text, sizeof(text));
		fact(i ? "" : "CPU bugs", "%s: %s", entries[i]->d_name, text);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static void print_machine(const struct selftest *t)
{
	char driver[DRIVER_TEXT_MAX], smt[8], allow_smt[8], taint[16], mitigations[512];
	struct utsname u;

	version_driver(driver);
	text_read("/sys/devices/system/cpu/smt/active", smt, sizeof(smt));
	text_read(ALLOW_SMT, allow_smt, sizeof(allow_smt));
	text_read(MITIGATIONS, mitigations, sizeof(mitigations));
	text_read("/proc/sys/kernel/tainted", taint, sizeof(taint));
	uname(&u);
	print_cpu();
	fact("kernel", "%s, %s, tainted %s", u.release, u.version, taint);
	fact("driver", "%s", driver);
	fact("SMT", "%s; vmbox's allow_smt is %s",
	     !strcmp(smt, "1")	 ? "on"
	     : !strcmp(smt, "0") ? "off"
				 : "unknown",
	     *allow_smt ? allow_smt : "unknown");
	print_bugs();
	fact("mitigations", "%s", *mitigations ? mitigations : "unknown: there is no " MITIGATIONS);
	fact("audit", "%s", access(AUDIT, W_OK) ? "skipped: needs root" : "on");
	fact("seed", "%u%s", t->options->seed, t->options->thorough ? ", --thorough" : "");
}

/* ---- what is needed ---- */

/* Where a program of a build tree is, its tests are beside it: in ../tests. To be freed, or NULL. */
static char *build_tests(void)
{
	static const char tail[] = "/runtime/vmbox";
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe)) - (ssize_t)(sizeof(tail) - 1);
	char *dir;

	if (n < 0 || n >= PATH_MAX - (ssize_t)sizeof(tail) ||
	    memcmp(exe + n, tail, sizeof(tail) - 1) ||
	    asprintf(&dir, "%.*s/tests", (int)n, exe) < 0)
		return NULL;
	if (!access(dir, F_OK))
		return dir;
	free(dir);
	return NULL;
}

static bool find_files(struct selftest *t)
{
	const char *dir = t->options->tests ?: VMBOX_SELFTEST_DIR;
	char *build = t->options->tests ? NULL : build_tests();
	bool found = true;
	int i;

	for (i = 0; i < NR_FILES && found; i++) {
		bool program = i == DRIVER_TEST || i == TESTVMM;

		if (asprintf(&t->path[i], "%s/%s%s%s", build ?: dir, build ? files[i].dir : "",
			     build ? "/" : "", files[i].name) < 0) {
			t->path[i] = NULL;
			say("out of memory");
			found = false;
		} else if (access(t->path[i], program ? X_OK : R_OK)) {
			say("selftest: %s: %s: build it (scripts/setup), install it (meson install "
			    "-C build), or say where it is (--tests DIR)",
			    t->path[i], strerror(errno));
			found = false;
		}
	}
	free(build);
	return found;
}

static bool device_works(const char *path)
{
	int device = launcher_open_device(path), vm, err;

	if (device < 0)
		return false;
	vm = TEMP_FAILURE_RETRY(ioctl(device, KVM_CREATE_VM, 0));
	err = errno;
	close(device);
	if (vm >= 0) {
		close(vm);
		return true;
	}
	if (err == EBUSY)
		report_busy(path);
	else
		say("%s: no virtual machine can be made: %s (see: sudo dmesg)", path,
		    strerror(err));
	return false;
}

/* ---- one test ---- */

static uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

static pid_t start(const struct selftest *t, char *const argv[], int output)
{
	pid_t self = getpid(), pid = fork();
	int null;

	if (pid > 0)
		setpgid(pid, pid); /* as the child does: whoever is first */
	if (pid)
		return pid;
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != self)
		_exit(EXIT_VMBOX_FAILED);
	sigprocmask(SIG_SETMASK, &t->old_signals, NULL);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (dup2(null, 0) == 0 && dup2(output, 1) == 1 && dup2(output, 2) == 2)
		execv(argv[0], argv);
	dprintf(output, "%s: %m\n", argv[0]);
	_exit(EXIT_VMBOX_FAILED);
}

/* True: it ended, with @status. False: it had its time, or a signal says that we are to end. */
static bool await(struct selftest *t, pid_t pid, unsigned int seconds, int *status)
{
	uint64_t end = now_ms() + seconds * 1000ULL, now;
	int sig = 0;

	while (waitpid(pid, status, WNOHANG) != pid) {
		now = now_ms();
		if (sig > 0 && sig != SIGCHLD)
			t->stopped_by = sig;
		if (now >= end || t->stopped_by)
			return false;
		sig = sigtimedwait(&t->signals, NULL,
				   &(struct timespec){ .tv_sec = (end - now) / 1000,
						       .tv_nsec = (end - now) % 1000 * 1000000 });
	}
	return true;
}

/* NULL: it ended, with @status; else why not. */
static const char *run(struct selftest *t, char *const argv[], unsigned int limit, int *status)
{
	int output = memfd_create("output", MFD_CLOEXEC);
	pid_t pid = output < 0 ? -1 : start(t, argv, output);
	off_t size, room = sizeof(t->output) - 1;
	const char *why = NULL;

	t->output[0] = 0;
	if (pid < 0) {
		why = strerror(errno);
	} else if (!await(t, pid, limit, status)) {
		why = "it did not end in time";
		kill(-pid, SIGKILL);
		if (!await(t, pid, 10, status))
			why = "it did not end in time, and cannot be killed: the driver holds it";
	}
	if (output < 0)
		return why;
	size = lseek(output, 0, SEEK_END);
	lseek(output, size > room ? size - room : 0, SEEK_SET);
	text_read_fd(output, t->output, sizeof(t->output));
	close(output);
	return why;
}

static const char *last_lines(const char *text, int n)
{
	const char *p = text + strlen(text);

	while (p > text && (p[-1] != '\n' || --n))
		p--;
	return p;
}

static void print_lines(const char *text)
{
	size_t n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		printf("         | %.*s\n", (int)n, text);
	}
}

static void print_failure(const struct selftest *t, const char *name, const char *why, int end)
{
	printf("FAILED   %s: ", name);
	if (why)
		puts(why);
	else if (WIFSIGNALED(end))
		printf("killed by signal %d (%s)\n", WTERMSIG(end), strsignal(WTERMSIG(end)));
	else
		printf("exit status %d\n", WEXITSTATUS(end));
	print_lines(t->options->verbose ? t->output : last_lines(t->output, SHOWN_LINES));
}

/* @status and @output: as the struct guest's. */
static void test(struct selftest *t, char *const argv[], const char *name, int status,
		 const char *output)
{
	uint64_t began = now_ms();
	const char *why;
	int end = 0;

	progress_begin(name);
	why = run(t, argv, t->options->thorough ? LIMIT_THOROUGH : LIMIT, &end);
	progress_end();

	if (t->stopped_by)
		return;
	if (!why && WIFEXITED(end) && WEXITSTATUS(end) == EXIT_SKIPPED) {
		printf("skipped  %s: %s\n", name, last_lines(t->output, 1));
		t->skipped++;
	} else if (why || !WIFEXITED(end) || WEXITSTATUS(end) != status ||
		   (output && !strstr(t->output, output))) {
		print_failure(t, name, why, end);
		t->failed++;
	} else {
		printf("ok       %s (%.1f s)\n", name, (now_ms() - began) / 1e3);
		if (t->options->verbose)
			print_lines(t->output);
		t->passed++;
	}
}

/* ---- all tests ---- */

/* Only root may. VMs that are made from now on check themselves at every Nth exit. */
static void set_audit(const char *n)
{
	int fd = open(AUDIT, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, n, strlen(n)) < 0)
		say(AUDIT ": %s", strerror(errno));
	close(fd);
}

static bool test_driver(struct selftest *t)
{
	char *device = (char *)t->options->device, *names, *name, *rest;
	int end = 0;
	const char *why = run(t, (char *[]){ t->path[DRIVER_TEST], NULL }, LIMIT, &end);

	names = why || end || !*t->output ? NULL : strdup(t->output);
	if (!names) {
		say("selftest: %s: it does not list its tests: %s", t->path[DRIVER_TEST],
		    why ?: "build it again (scripts/setup)");
		return false;
	}
	set_audit("1");
	for (name = strtok_r(names, "\n", &rest); name && !t->stopped_by;
	     name = strtok_r(NULL, "\n", &rest))
		test(t, (char *[]){ t->path[DRIVER_TEST], (char *)"--device", device, name, NULL },
		     name, 0, NULL);
	free(names);
	return true;
}

static void test_guests(struct selftest *t)
{
	bool thorough = t->options->thorough;
	char seed[32];
	size_t i;

	snprintf(seed, sizeof(seed), "seed=%u", t->options->seed);
	set_audit("40");
	for (i = 0; i < sizeof(guests) / sizeof(guests[0]) && !t->stopped_by; i++) {
		const char *argv[] = { t->path[TESTVMM],
				       "--device",
				       t->options->device,
				       t->path[guests[i].image],
				       guests[i].name,
				       thorough ? "cases=3000" : "cases=300",
				       thorough ? "kinds=12" : "kinds=0",
				       seed,
				       NULL };

		test(t, (char *const *)argv, guests[i].name, guests[i].status, guests[i].output);
	}
}

static int print_sum(const struct selftest *t, uint64_t began)
{
	if (t->stopped_by)
		printf("Stopped by signal %d: the report is not complete.\n", t->stopped_by);
	printf("%u ok, %u failed, %u skipped, in %.0f s\n", t->passed, t->failed, t->skipped,
	       (now_ms() - began) / 1e3);
	if (t->failed)
		puts("What the driver says of it: sudo dmesg | grep vmbox");
	if (fflush(stdout) || ferror(stdout)) {
		say("selftest: the report cannot be written");
		return EXIT_VMBOX_FAILED;
	}
	return t->stopped_by ? 128 + t->stopped_by : !!t->failed;
}

static int run_all(struct selftest *t)
{
	uint64_t began = now_ms();
	char audit[16], seed[16];
	bool listed;

	snprintf(seed, sizeof(seed), "%u", t->options->seed);
	setenv("VMBOX_SEED", seed, 1); /* for driver_test */
	text_read(AUDIT, audit, sizeof(audit));
	print_machine(t);
	listed = test_driver(t);
	if (listed)
		test_guests(t);
	set_audit(audit);
	return listed ? print_sum(t, began) : EXIT_VMBOX_FAILED;
}

int selftest_run(const struct selftest_options *options)
{
	static struct selftest t;
	int code = EXIT_VMBOX_FAILED, i;

	t.options = options;
	setlinebuf(stdout);
	progress_prepare();
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&t.signals);
	sigaddset(&t.signals, SIGCHLD);
	sigaddset(&t.signals, SIGINT);
	sigaddset(&t.signals, SIGTERM);
	sigaddset(&t.signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &t.signals, &t.old_signals);
	if (find_files(&t) && device_works(options->device))
		code = run_all(&t);
	for (i = 0; i < NR_FILES; i++)
		free(t.path[i]);
	return code;
}
