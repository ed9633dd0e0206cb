// SPDX-License-Identifier: GPL-2.0-only
/*
 * `vmbox doctor`: tries what a run needs (the device, a VM, namespaces), lets checks.c judge it, and
 * prints the findings for people or as JSON. Nothing of the machine is changed: the VM is gone at
 * once, and the namespaces are a child's.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checks.h"
#include "doctor.h"
#include "launcher.h"
#include "report.h"

#define DEVICE	   "/dev/vmbox"
#define MAX_GROUPS 65536 /* the kernel's own limit */

/* ECX of CPUID: what the processor has; the kernel's own list is for checks.c. */
static unsigned int cpuid_ecx(unsigned int leaf)
{
	unsigned int a = leaf, b, c = 0, d;

	asm("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c;
}

static void look_at_device(struct host *h)
{
	int device = open(DEVICE, O_RDWR | O_CLOEXEC), vm;

	h->device_error = device < 0 ? errno : 0;
	if (device < 0)
		return;
	vm = TEMP_FAILURE_RETRY(ioctl(device, KVM_CREATE_VM, 0));
	h->vm_error = vm < 0 ? errno : 0;
	if (vm >= 0)
		close(vm);
	close(device);
}

/* Who asks, and whether a new login of theirs would be in the device's group. */
static void look_at_user(struct host *h)
{
	static char user[64], group[64];
	static gid_t groups[MAX_GROUPS];
	const struct passwd *passwd = getpwuid(geteuid());
	const struct group *entry;
	int n = MAX_GROUPS, i;
	struct stat st;

	h->is_root = !geteuid();
	snprintf(user, sizeof(user), "%s", passwd ? passwd->pw_name : "this user");
	h->user = user;
	if (stat(DEVICE, &st))
		return;
	if (passwd && getgrouplist(passwd->pw_name, passwd->pw_gid, groups, &n) >= 0)
		for (i = 0; i < n; i++)
			h->in_group_database |= groups[i] == st.st_gid;
	entry = getgrgid(st.st_gid);
	if (!entry)
		return;
	snprintf(group, sizeof(group), "%s", entry->gr_name);
	h->group = group;
}

/* In a child: who has taken namespaces does not get out of them. */
static void look_at_namespaces(struct host *h)
{
	static struct {
		enum cage_space space;
		int error;
		char failed[64];
	} result;
	int status, go[2];
	ssize_t n = -1;
	pid_t child;

	if (!pipe2(go, O_CLOEXEC)) {
		child = fork();
		if (!child) {
			const char *failed = cage_isolate(&result.space);

			result.error = errno;
			if (failed)
				snprintf(result.failed, sizeof(result.failed), "%s", failed);
			_exit(write(go[1], &result, sizeof(result)) != sizeof(result));
		}
		close(go[1]);
		n = read(go[0], &result, sizeof(result));
		close(go[0]);
		if (child > 0)
			waitpid(child, &status, 0);
	}
	if (n != sizeof(result)) {
		h->space_failed = "a process that tries";
		h->space_error = errno;
		return;
	}
	h->space = result.space;
	h->space_failed = *result.failed ? result.failed : NULL;
	h->space_error = result.error;
}

static void look_at_guest(struct host *h, const char *dir)
{
	static const char *const names[] = { "vmlinux", "initrd" };
	char path[4096];
	size_t i;

	h->guest_dir = dir;
	for (i = 0; i < sizeof(names) / sizeof(names[0]) && !h->guest_error; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (access(path, R_OK))
			h->guest_error = errno;
	}
}

/* ---- what is said ---- */

static const char *const verdicts[] = {
	[CHECK_OK] = "ok",
	[CHECK_WARNING] = "warning",
	[CHECK_PROBLEM] = "problem",
};

/* As a JSON string; the text is printable ASCII. */
static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++)
		printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	putchar('"');
}

static void print_json(const struct finding findings[CHECKS], unsigned int problems)
{
	size_t i;

	printf("{\"vmbox\": \"" VMBOX_VERSION "\", \"can_run\": %s, \"checks\": [",
	       problems ? "false" : "true");
	for (i = 0; i < CHECKS; i++) {
		printf("%s\n  {\"check\": \"%s\", \"result\": \"%s\", \"saw\": ", i ? "," : "",
		       findings[i].name, verdicts[findings[i].verdict]);
		print_string(findings[i].saw);
		printf(", \"do\": ");
		print_string(findings[i].fix);
		putchar('}');
	}
	puts("\n]}");
}

static void print_text(const struct finding findings[CHECKS], unsigned int problems)
{
	size_t i;

	for (i = 0; i < CHECKS; i++) {
		printf("%-8s %s: %s\n", verdicts[findings[i].verdict], findings[i].name,
		       findings[i].saw);
		if (*findings[i].fix)
			printf("         to do: %s\n", findings[i].fix);
	}
	if (problems)
		printf("This machine cannot run vmbox as it is%s.\n",
		       problems > 1 ? ": begin with the first problem" : "");
	else
		puts("This machine can run vmbox.");
}

int doctor_run(const char *guest_dir, bool json)
{
	struct finding findings[CHECKS];
	unsigned int problems = 0, i;
	struct host h = { .cpu_vmx = cpuid_ecx(1) & 1 << 5,
			  .cpu_svm = cpuid_ecx(0x80000001) & 1 << 2,
			  .landlock = cage_landlock_abi() };
	struct utsname u;

	h.root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (h.root < 0 || uname(&u)) {
		say("doctor: this machine cannot be looked at: %s", strerror(errno));
		return EXIT_VMBOX_FAILED;
	}
	h.release = u.release;
	look_at_device(&h);
	look_at_user(&h);
	look_at_namespaces(&h);
	look_at_guest(&h, guest_dir);
	checks_make(&h, findings);
	close(h.root);
	for (i = 0; i < CHECKS; i++)
		problems += findings[i].verdict == CHECK_PROBLEM;
	if (json)
		print_json(findings, problems);
	else
		print_text(findings, problems);
	if (fflush(stdout)) {
		say("doctor: the output cannot be written: %s", strerror(errno));
		return EXIT_VMBOX_FAILED;
	}
	return problems ? 1 : 0;
}
