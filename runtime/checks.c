// SPDX-License-Identifier: GPL-2.0-only
/*
 * The checks of `vmbox doctor`: each makes one finding from a struct host and from the files
 * below host->root, which is / but in tests. They change nothing, and believe what they read only
 * as far as to show it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checks.h"
#include "request.h"

#define DRIVER_LINUX "6.1." /* as kmod/dkms.conf has it */

#define MSR_FEAT_CTL	0x3a /* Intel SDM vol 4 §2.1 */
#define FEAT_CTL_LOCKED (1 << 0)
#define FEAT_CTL_VMX	(1 << 2)
#define MSR_VM_CR	0xc0010114 /* AMD APM vol 2 §15.30.1 */
#define VM_CR_SVMDIS	(1 << 4)

static void set(struct finding *f, enum verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void set(struct finding *f, enum verdict verdict, const char *fmt, ...)
{
	va_list args;

	f->verdict = verdict;
	va_start(args, fmt);
	vsnprintf(f->saw, sizeof(f->saw), fmt, args);
	va_end(args);
}

static void fix(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fix(struct finding *f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(f->fix, sizeof(f->fix), fmt, args);
	va_end(args);
}

/* ---- files ---- */

static FILE *open_file(const struct host *h, const char *path)
{
	int fd = openat(h->root, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

/* The first line of a file, without its end; "" if there is none. */
static const char *first_line(const struct host *h, const char *path, char *line, size_t size)
{
	FILE *file = open_file(h, path);

	if (!file || !fgets(line, size, file))
		*line = 0;
	if (file)
		fclose(file);
	line[strcspn(line, "\n")] = 0;
	return line;
}

/* The number that a file holds; -1 if it holds none. */
static long number(const struct host *h, const char *path)
{
	char line[32], *end;
	long n = strtol(first_line(h, path, line, sizeof(line)), &end, 10);

	return end == line ? -1 : n;
}

static bool exists(const struct host *h, const char *path)
{
	return !faccessat(h->root, path, F_OK, 0);
}

static bool module_is_loaded(const struct host *h, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "sys/module/%s", name);
	return exists(h, path);
}

/* Needs root and the module msr. False: unknown. */
static bool read_msr(const struct host *h, uint32_t msr, uint64_t *value)
{
	int fd = openat(h->root, "dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);
	bool done = fd >= 0 && pread(fd, value, sizeof(*value), msr) == sizeof(*value);

	if (fd >= 0)
		close(fd);
	return done;
}

/* ---- the processor ---- */

struct flags {
	bool svm, vmx, hypervisor;
};

/* Those that the kernel shows, of the first CPU. */
static struct flags cpu_flags(const struct host *h)
{
	FILE *file = open_file(h, "proc/cpuinfo");
	struct flags flags = { 0 };
	char *line = NULL, *word, *rest;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		if (strncmp(line, "flags\t", 6))
			continue;
		for (word = strtok_r(line, " \t\n", &rest); word;
		     word = strtok_r(NULL, " \t\n", &rest)) {
			flags.svm |= !strcmp(word, "svm");
			flags.vmx |= !strcmp(word, "vmx");
			flags.hypervisor |= !strcmp(word, "hypervisor");
		}
		break;
	}
	free(line);
	if (file)
		fclose(file);
	return flags;
}

static bool firmware_forbids(const struct host *h, struct flags flags)
{
	uint64_t msr;

	if (h->cpu_vmx)
		return !flags.vmx || (read_msr(h, MSR_FEAT_CTL, &msr) && (msr & FEAT_CTL_LOCKED) &&
				      !(msr & FEAT_CTL_VMX));
	return !flags.svm || (read_msr(h, MSR_VM_CR, &msr) && (msr & VM_CR_SVMDIS));
}

static void check_cpu(const struct host *h, struct finding *f)
{
	struct flags flags = cpu_flags(h);
	const char *name = h->cpu_vmx ? "VT-x" : "AMD-V";

	if (!h->cpu_vmx && !h->cpu_svm) {
		set(f, CHECK_PROBLEM, "this processor has neither VT-x nor AMD-V%s",
		    flags.hypervisor ? ": this machine is a virtual one, whose host keeps them"
				     : "");
		fix(f,
		    flags.hypervisor
			    ? "let its host pass them on (nested virtualization), or use another "
			      "machine"
			    : "use another machine: vmbox cannot do without");
	} else if (firmware_forbids(h, flags)) {
		set(f, CHECK_PROBLEM, "this processor has %s, but it is turned off%s", name,
		    flags.hypervisor ? "; this machine is a virtual one" : "");
		fix(f,
		    "turn it on in the firmware's setup (BIOS, UEFI: %s), then power the machine "
		    "off and on",
		    h->cpu_vmx ? "\"Intel Virtualization Technology\", \"VMX\""
			       : "\"SVM Mode\", \"AMD-V\"");
	} else {
		set(f, CHECK_OK, "%s%s", name,
		    flags.hypervisor ? "; this machine is a virtual one: what its host gives is an "
				       "emulation, and slower"
				     : "");
	}
}

/* ---- the driver ---- */

/* Does modprobe find the driver for kernel @release? */
static bool has_module(const struct host *h, const char *release)
{
	static const char name[] = "/vmbox.ko";
	char path[300], *line = NULL, *at;
	bool found = false;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "lib/modules/%s/modules.dep", release);
	file = open_file(h, path);
	while (file && !found && getline(&line, &size, file) > 0) {
		line[strcspn(line, ":")] = 0;
		at = strstr(line, name);
		found = at && strchr(".", at[strlen(name)]); /* it may be compressed */
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

/* The kernels that have the driver, as a list; "" if there is none. */
static void kernels_with_module(const struct host *h, char *list, size_t size)
{
	int fd = openat(h->root, "lib/modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	size_t n = 0;

	*list = 0;
	while (dir && (entry = readdir(dir)) && n < size)
		if (has_module(h, entry->d_name))
			n += snprintf(list + n, size - n, "%s%s", n ? ", " : "", entry->d_name);
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
}

static void check_driver(const struct host *h, struct finding *f)
{
	char version[64], kernels[200], build[300];

	if (module_is_loaded(h, "vmbox")) {
		first_line(h, "sys/module/vmbox/version", version, sizeof(version));
		set(f, CHECK_OK, "vmbox.ko %s is loaded", version);
		if (!strcmp(version, VMBOX_VERSION))
			return;
		f->verdict = CHECK_WARNING;
		fix(f, "this vmbox is version " VMBOX_VERSION ": load the driver that came with it "
		       "(when no sandbox runs: sudo modprobe -r vmbox, sudo modprobe vmbox)");
		return;
	}
	if (has_module(h, h->release)) {
		set(f, CHECK_PROBLEM, "vmbox.ko is installed for this kernel, but not loaded");
		fix(f, "sudo modprobe vmbox; if that is refused, the end of `sudo dmesg` says why");
		return;
	}
	kernels_with_module(h, kernels, sizeof(kernels));
	if (*kernels)
		set(f, CHECK_PROBLEM, "vmbox.ko is there for kernel %s, but %s runs", kernels,
		    h->release);
	else
		set(f, CHECK_PROBLEM, "vmbox.ko is not installed for kernel %s", h->release);
	snprintf(build, sizeof(build), "lib/modules/%s/build/Makefile", h->release);
	if (strncmp(h->release, DRIVER_LINUX, strlen(DRIVER_LINUX)))
		fix(f, "boot a Linux " DRIVER_LINUX "x, which is what vmbox.ko is for (Debian 12: "
		       "linux-image-amd64)");
	else if (!exists(h, "var/lib/dkms/vmbox") && !*kernels)
		fix(f,
		    "install it: the package vmbox-dkms with linux-headers-%s, or from the "
		    "source: meson install",
		    h->release);
	else if (exists(h, build))
		fix(f, "build it for this kernel: sudo dkms autoinstall");
	else
		fix(f,
		    "build it for this kernel: sudo apt install linux-headers-%s, sudo dkms "
		    "autoinstall",
		    h->release);
}

/* ---- other hypervisors ---- */

static void check_others(const struct host *h, struct finding *f)
{
	static const struct {
		const char *name;
		bool in_the_way; /* as soon as it is loaded */
	} others[] = {
		{ "kvm_intel", true },
		{ "kvm_amd", false },
		{ "vboxdrv", false },
		{ "vmmon", false },
	};
	char loaded[64] = "", path[64];
	bool blocks = false, used = false, busy = h->vm_error == EBUSY;
	size_t i, n = 0;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (!module_is_loaded(h, others[i].name))
			continue;
		n += snprintf(loaded + n, sizeof(loaded) - n, "%s%s", n ? " " : "", others[i].name);
		snprintf(path, sizeof(path), "sys/module/%s/refcnt", others[i].name);
		used |= number(h, path) > 0;
		blocks |= others[i].in_the_way && !module_is_loaded(h, "vmbox");
	}
	if (!n && busy) {
		set(f, CHECK_PROBLEM,
		    "something that is not known here has the processor's "
		    "virtualization: no VM can be made");
		fix(f, "end the other hypervisor");
	} else if (!n) {
		set(f, CHECK_OK, "no other is loaded");
	} else if (busy || blocks || used) {
		set(f, busy || blocks ? CHECK_PROBLEM : CHECK_WARNING, "loaded: %s, %s", loaded,
		    busy     ? "and no VM can be made beside it"
		    : blocks ? "and vmbox.ko cannot be loaded beside it"
			     : "and in use: while its virtual machines run, those of vmbox cannot");
		fix(f, "end its virtual machines, then sudo modprobe -r %s", loaded);
	} else {
		set(f, CHECK_OK, "loaded, but not in use: %s", loaded);
	}
}

/* ---- the device ---- */

static void no_permission(const struct host *h, struct finding *f)
{
	struct stat st;

	if (fstatat(h->root, "dev/vmbox", &st, 0)) {
		set(f, CHECK_PROBLEM, "/dev/vmbox: %s", strerror(errno));
		fix(f, "ask who administers this machine");
		return;
	}
	set(f, CHECK_PROBLEM, "%s may not open /dev/vmbox (mode %03o, owner uid %u, group %s)",
	    h->user, st.st_mode & 0777, st.st_uid, h->group ?: "without a name");
	if (h->device_error == EPERM || h->is_root)
		fix(f, "something else than its mode forbids it: a container's rules for devices, "
		       "AppArmor, SELinux");
	else if (!h->group || !st.st_gid || (st.st_mode & 060) != 060)
		fix(f, "the udev rule that gives it to the group vmbox has had no effect: sudo "
		       "systemd-sysusers, then sudo udevadm trigger /dev/vmbox");
	else if (h->in_group_database)
		fix(f,
		    "%s is in the group %s now, but was not at this login: log out and in again "
		    "(or: sg %s -c 'vmbox run ...')",
		    h->user, h->group, h->group);
	else
		fix(f, "sudo usermod -aG %s %s, then log in again", h->group, h->user);
}

static void check_device(const struct host *h, struct finding *f)
{
	switch (h->device_error) {
	case 0:
		set(f, CHECK_OK, "%s may open /dev/vmbox", h->user);
		if (!h->vm_error || h->vm_error == EBUSY) /* EBUSY: check_others() */
			return;
		set(f, CHECK_PROBLEM, "/dev/vmbox makes no VM: %s", strerror(h->vm_error));
		fix(f, "the end of `sudo dmesg` may say more");
		return;
	case ENOENT:
		set(f, CHECK_PROBLEM, "there is no /dev/vmbox");
		if (module_is_loaded(h, "vmbox"))
			fix(f, "the driver is loaded: a container has to be given the device");
		else
			fix(f, "load the driver, see above");
		return;
	case EACCES:
	case EPERM:
		no_permission(h, f);
		return;
	}
	set(f, CHECK_PROBLEM, "/dev/vmbox cannot be opened: %s", strerror(h->device_error));
	fix(f, "it is a device of a driver that is not there any more: load the driver again");
}

/* ---- the rest ---- */

static void check_guest(const struct host *h, struct finding *f)
{
	if (!h->guest_error) {
		set(f, CHECK_OK, "the guest's kernel and initrd are in %s", h->guest_dir);
		return;
	}
	set(f, CHECK_PROBLEM, "the guest's kernel and initrd cannot be read in %s: %s",
	    h->guest_dir, strerror(h->guest_error));
	fix(f, "install the package vmbox-guest, or name their directory (--guest-dir)");
}

static void check_namespaces(const struct host *h, struct finding *f)
{
	static const struct {
		const char *path, *fix;
		long off;
	} switches[] = {
		{ "proc/sys/user/max_user_namespaces", "sudo sysctl user.max_user_namespaces=10000",
		  0 },
		{ "proc/sys/kernel/unprivileged_userns_clone",
		  "sudo sysctl kernel.unprivileged_userns_clone=1", 0 },
		{ "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
		  "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0", 1 },
	};
	size_t i;

	if (h->space_failed) {
		set(f, CHECK_PROBLEM, "the processes of vmbox cannot be confined: %s: %s",
		    h->space_failed, strerror(h->space_error));
		fix(f, "outside of a container or chroot it may be possible");
		return;
	}
	if (h->space == CAGE_FULL) {
		set(f, CHECK_OK, "%s may have user namespaces", h->user);
		return;
	}
	set(f, CHECK_WARNING,
	    "%s gets no user namespace: vmbox runs with less confinement, "
	    "and not with --require-confinement",
	    h->user);
	for (i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (number(h, switches[i].path) != switches[i].off)
			continue;
		fix(f, "%s (and in /etc/sysctl.d, to keep it so)", switches[i].fix);
		return;
	}
	fix(f, "run it outside of the container or chroot that forbids it");
}

static void check_landlock(const struct host *h, struct finding *f)
{
	char lsm[200];

	if (h->landlock > 0) {
		set(f, CHECK_OK, "Landlock, version %d of its interface", h->landlock);
		return;
	}
	set(f, CHECK_WARNING, "this kernel has no Landlock: vmbox runs with less confinement");
	if (*first_line(h, "sys/kernel/security/lsm", lsm, sizeof(lsm)))
		fix(f, "boot with lsm=landlock,%s (or a kernel with CONFIG_SECURITY_LANDLOCK)",
		    lsm);
	else
		fix(f, "boot with landlock first in lsm= (or a kernel with "
		       "CONFIG_SECURITY_LANDLOCK)");
}

static const struct {
	const char *name;
	void (*make)(const struct host *h, struct finding *f);
} checks[CHECKS] = {
	{ "processor", check_cpu },	{ "hypervisors", check_others },
	{ "driver", check_driver },	{ "device", check_device },
	{ "guest", check_guest },	{ "namespaces", check_namespaces },
	{ "Landlock", check_landlock },
};

void checks_make(const struct host *host, struct finding findings[CHECKS])
{
	size_t i;

	for (i = 0; i < CHECKS; i++) {
		findings[i] = (struct finding){ .name = checks[i].name };
		checks[i].make(host, &findings[i]);
		make_printable(findings[i].saw, strlen(findings[i].saw));
		make_printable(findings[i].fix, strlen(findings[i].fix));
	}
}
