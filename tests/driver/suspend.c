// SPDX-License-Identifier: GPL-2.0-only
/*
 * suspend: the machine goes to sleep and comes back under guests, up to where the power would go off
 * (/sys/power/pm_test: core): processes are frozen, the other CPUs go offline, and the driver's
 * callbacks run on the last one. The AMD lab's root and its ports cannot sleep (virtiofs,
 * virtio_console), so they are taken away first: nothing can be started in that lab any more, and what
 * there is to say is in the kernel's log (tests/host/debug).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

static volatile bool awake;

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		FAIL("%s: %s: %m", path, text);
	close(fd);
}

/* All devices of a driver of virtio's. */
static void take_away(const char *driver)
{
	char path[300];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/%s", driver);
	d = opendir(path);
	CHECK(d);
	strcat(path, "/unbind");
	while ((e = readdir(d)))
		if (!strncmp(e->d_name, "virtio", 6))
			put(path, e->d_name);
	closedir(d);
}

static void nothing(int sig)
{
}

static void *spin(void *arg)
{
	struct vm *vm = arg;

	while (!awake) /* vm_run() would go on at a signal */
		CHECK(ioctl(vm->vcpu, KVM_RUN, 0) == -1 && errno == EINTR);
	return NULL;
}

int main(void)
{
	struct vm vm, spinning;
	struct kvm_regs regs;
	pthread_t thread;

	if (fork()) /* the lab's agent ends with its port, and its command with it */
		return 0;
	setsid();
	CHECK_EQ(dup2(open("/dev/kmsg", O_WRONLY | O_CLOEXEC), STDERR_FILENO), STDERR_FILENO);
	signal(SIGUSR1, nothing);
	vm_create(&vm);
	LOAD(&vm, add);
	vm_create(&spinning);
	LOAD(&spinning, spin);
	vm_start(&spinning);
	vm_expect_sum(&vm, 1);
	CHECK_EQ(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
	CHECK_EQ(pthread_create(&thread, NULL, spin, &spinning), 0);
	take_away("virtiofs");
	take_away("virtio_console");
	put("/sys/power/pm_test", "core");
	put("/sys/power/image_size", "0"); /* less to make room for */
	put("/sys/power/state", "disk");
	vm_expect_sum(&vm, 2);
	awake = true;
	while (pthread_tryjoin_np(thread, NULL)) { /* it may have been about to run again */
		pthread_kill(thread, SIGUSR1);
		usleep(10000);
	}
	CHECK_EQ(ioctl(spinning.vcpu, KVM_GET_REGS, &regs), 0);
	CHECK_EQ(regs.rip, CODE);
	vm_destroy(&spinning);
	vm_destroy(&vm);
	put("/dev/kmsg", "suspend: awake");
	return 0;
}
