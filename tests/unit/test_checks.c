// SPDX-License-Identifier: GPL-2.0-only
/* What `vmbox doctor` makes of a machine: a directory that looks like one, and a struct host. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../runtime/checks.h"
#include "check.h"

enum {
	PROCESSOR,
	HYPERVISORS,
	DRIVER,
	DEVICE,
	GUEST,
	NAMESPACES,
	LANDLOCK
};

static char top[] = "/tmp/checks-XXXXXX";
static struct host host;
static struct finding findings[CHECKS];

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	CHECK(system(command) == 0);
}

/* Writes a line to a file of the machine. */
static void put(const char *path, const char *line)
{
	shell("cd %s && mkdir -p \"$(dirname %s)\" && printf '%%b\\n' '%s' >%s", top, path, line,
	      path);
}

/* A machine where all is well. */
static void good_machine(void)
{
	if (host.root > 0)
		close(host.root);
	shell("rm -rf %s && mkdir %s", top, top);
	put("proc/cpuinfo", "processor\\t: 0\\nflags\\t\\t: fpu svm npt\\n\\nprocessor\\t: 1");
	put("sys/module/vmbox/version", VMBOX_VERSION);
	put("proc/sys/user/max_user_namespaces", "1000");
	put("proc/sys/kernel/unprivileged_userns_clone", "1");
	put("dev/vmbox", "");
	shell("chown 0:7 %s/dev/vmbox 2>/dev/null || :; chmod 660 %s/dev/vmbox", top, top);
	host = (struct host){
		.root = open(top, O_PATH | O_DIRECTORY),
		.cpu_svm = true,
		.release = "6.1.0-test",
		.user = "ann",
		.group = "vmbox",
		.space = CAGE_FULL,
		.landlock = 3,
		.guest_dir = "/guest",
	};
}

/* Makes the checks: only @which may be other than ok, and says and advises these. */
static void expect(int line, int which, enum verdict verdict, const char *saw, const char *fix)
{
	int i;

	checks_make(&host, findings);
	for (i = 0; i < CHECKS; i++) {
		const struct finding *f = &findings[i];

		if (i == which && f->verdict == verdict && strstr(f->saw, saw) &&
		    strstr(f->fix, fix) && !*f->fix == (verdict == CHECK_OK))
			continue;
		if (i != which && f->verdict == CHECK_OK && *f->saw && !*f->fix)
			continue;
		printf("not ok: line %d: %s: %d, '%s', to do '%s'\n", line, f->name, f->verdict,
		       f->saw, f->fix);
		check_failed = 1;
	}
}
#define EXPECT(which, verdict, saw, fix) expect(__LINE__, which, CHECK_##verdict, saw, fix)

static void test_processor(void)
{
	good_machine();
	EXPECT(PROCESSOR, OK, "AMD-V", "");
	put("proc/cpuinfo", "flags\\t\\t: fpu svm hypervisor");
	EXPECT(PROCESSOR, OK, "virtual one", "");
	host.cpu_svm = false;
	put("proc/cpuinfo", "flags\\t\\t: fpu hypervisor svmx");
	EXPECT(PROCESSOR, PROBLEM, "neither VT-x nor AMD-V: this machine is a virtual", "nested");
	put("proc/cpuinfo", "flags\\t\\t: fpu");
	EXPECT(PROCESSOR, PROBLEM, "neither VT-x nor AMD-V", "another machine");
	shell("rm %s/proc/cpuinfo", top);
	EXPECT(PROCESSOR, PROBLEM, "neither", "another machine");
}

/* A sparse file in place of the CPU's registers. */
static void put_msr(unsigned int msr, const char *byte)
{
	shell("mkdir -p %s/dev/cpu/0 && printf '%s\\0\\0\\0\\0\\0\\0\\0' | dd of=%s/dev/cpu/0/msr "
	      "bs=1 seek=%u status=none",
	      top, byte, top, msr);
}

static void test_firmware(void)
{
	good_machine();
	put("proc/cpuinfo", "flags\\t\\t: fpu");
	EXPECT(PROCESSOR, PROBLEM, "AMD-V, but it is turned off", "SVM Mode");
	host.cpu_svm = false;
	host.cpu_vmx = true;
	EXPECT(PROCESSOR, PROBLEM, "VT-x, but it is turned off", "Intel Virtualization");
	put("proc/cpuinfo", "flags\\t\\t: fpu vmx");
	EXPECT(PROCESSOR, OK, "VT-x", "");
	put_msr(0x3a, "\\001"); /* locked, off */
	EXPECT(PROCESSOR, PROBLEM, "VT-x, but it is turned off", "Intel Virtualization");
	put_msr(0x3a, "\\005");
	EXPECT(PROCESSOR, OK, "VT-x", "");

	good_machine();
	put_msr(0xc0010114, "\\010"); /* the lock alone */
	EXPECT(PROCESSOR, OK, "AMD-V", "");
	put_msr(0xc0010114, "\\030");
	EXPECT(PROCESSOR, PROBLEM, "AMD-V, but it is turned off", "SVM Mode");
}

static void test_driver(void)
{
	good_machine();
	put("sys/module/vmbox/version", "0.0.1\\033[1m");
	EXPECT(DRIVER, WARNING, "vmbox.ko 0.0.1?[1m is loaded", "modprobe -r vmbox");
	shell("rm -r %s/sys/module/vmbox", top);
	EXPECT(DRIVER, PROBLEM, "not installed for kernel 6.1.0-test",
	       "vmbox-dkms with linux-headers-6.1.0-test");
	put("lib/modules/6.1.0-test/modules.dep",
	    "kernel/notvmbox.ko: \\nx/vmbox.kopy: \\nb.ko: x/vmbox.ko");
	EXPECT(DRIVER, PROBLEM, "not installed for kernel", "vmbox-dkms");
	put("lib/modules/6.1.0-other/modules.dep", "updates/dkms/vmbox.ko.xz: kernel/a.ko");
	EXPECT(DRIVER, PROBLEM, "there for kernel 6.1.0-other, but 6.1.0-test runs",
	       "apt install linux-headers-6.1.0-test");
	put("lib/modules/6.1.0-test/build/Makefile", "");
	EXPECT(DRIVER, PROBLEM, "there for kernel 6.1.0-other", "this kernel: sudo dkms");
	shell("rm -r %s/lib/modules/6.1.0-other", top);
	put("var/lib/dkms/vmbox/0.1.0/source", "");
	EXPECT(DRIVER, PROBLEM, "not installed for kernel", "this kernel: sudo dkms");
	put("lib/modules/6.1.0-test/modules.dep", "updates/dkms/vmbox.ko: ");
	EXPECT(DRIVER, PROBLEM, "installed for this kernel, but not loaded", "sudo modprobe vmbox");
	host.release = "6.12.1";
	EXPECT(DRIVER, PROBLEM, "6.1.0-test, but 6.12.1 runs", "boot a Linux 6.1.");
}

static void test_hypervisors(void)
{
	good_machine();
	put("sys/module/kvm_amd/refcnt", "0");
	EXPECT(HYPERVISORS, OK, "not in use: kvm_amd", "");
	put("sys/module/kvm_amd/refcnt", "2");
	EXPECT(HYPERVISORS, WARNING, "kvm_amd, and in use", "modprobe -r kvm_amd");
	host.vm_error = EBUSY;
	EXPECT(HYPERVISORS, PROBLEM, "kvm_amd, and no VM", "modprobe -r kvm_amd");
	put("sys/module/vboxdrv/refcnt", "0");
	EXPECT(HYPERVISORS, PROBLEM, "kvm_amd vboxdrv", "modprobe -r kvm_amd vboxdrv");
	shell("rm -r %s/sys/module/kvm_amd %s/sys/module/vboxdrv", top, top);
	EXPECT(HYPERVISORS, PROBLEM, "not known", "end the other");
	host.vm_error = 0;
	put("sys/module/kvm_intel/refcnt", "0");
	EXPECT(HYPERVISORS, OK, "not in use: kvm_intel", "");
	shell("rm -r %s/sys/module/vmbox", top);
	checks_make(&host, findings);
	CHECK(findings[HYPERVISORS].verdict == CHECK_PROBLEM);
	CHECK(strstr(findings[HYPERVISORS].saw, "cannot be loaded beside"));
}

static void test_device(void)
{
	good_machine();
	host.vm_error = ENOSPC;
	EXPECT(DEVICE, PROBLEM, "makes no VM: No space", "dmesg");
	host.vm_error = 0;
	host.device_error = ENOENT;
	EXPECT(DEVICE, PROBLEM, "there is no /dev/vmbox", "container");
	host.device_error = ENXIO;
	EXPECT(DEVICE, PROBLEM, "No such device", "load the driver again");
	host.device_error = EPERM;
	EXPECT(DEVICE, PROBLEM, "ann may not open", "something else");
	host.device_error = EACCES;
	if (geteuid()) {
		puts("the rest of the device's checks needs root, to give files to groups");
		return;
	}
	EXPECT(DEVICE, PROBLEM, "ann may not open /dev/vmbox (mode 660, owner uid 0, group vmbox)",
	       "usermod -aG vmbox ann");
	host.in_group_database = true;
	EXPECT(DEVICE, PROBLEM, "ann may not open", "log out and in again");
	shell("chmod 600 %s/dev/vmbox", top);
	EXPECT(DEVICE, PROBLEM, "mode 600", "udevadm trigger");
	shell("chmod 660 %s/dev/vmbox && chgrp 0 %s/dev/vmbox", top, top);
	host.group = "root";
	EXPECT(DEVICE, PROBLEM, "group root", "udevadm trigger");
	host.is_root = true;
	EXPECT(DEVICE, PROBLEM, "may not open", "something else");
}

static void test_the_rest(void)
{
	good_machine();
	host.guest_error = ENOENT;
	EXPECT(GUEST, PROBLEM, "in /guest: No such file", "vmbox-guest");
	host.guest_error = 0;
	host.space = CAGE_NONE;
	EXPECT(NAMESPACES, WARNING, "no user namespace", "container or chroot");
	put("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1");
	EXPECT(NAMESPACES, WARNING, "no user namespace", "restrict_unprivileged_userns=0");
	put("proc/sys/kernel/unprivileged_userns_clone", "0");
	EXPECT(NAMESPACES, WARNING, "no user namespace", "unprivileged_userns_clone=1");
	host.space = CAGE_NO_USER;
	put("proc/sys/user/max_user_namespaces", "0");
	EXPECT(NAMESPACES, WARNING, "no user namespace", "max_user_namespaces=");
	host.space_failed = "capabilities";
	host.space_error = EPERM;
	EXPECT(NAMESPACES, PROBLEM, "capabilities: Operation not permitted", "container");
	good_machine();
	host.landlock = -1;
	EXPECT(LANDLOCK, WARNING, "no Landlock", "lsm=");
	put("sys/kernel/security/lsm", "capability,yama");
	EXPECT(LANDLOCK, WARNING, "no Landlock", "lsm=landlock,capability,yama");
}

int main(void)
{
	CHECK(mkdtemp(top) != NULL);
	test_processor();
	test_firmware();
	test_driver();
	test_hypervisors();
	test_device();
	test_the_rest();
	close(host.root);
	shell("rm -rf %s", top);
	return check_failed;
}
