// SPDX-License-Identifier: GPL-2.0-only
/* holdvm DEVICE: has one VM of DEVICE until its stdin ends. Says "held" once it has it. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int dev = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	int vm = ioctl(dev, KVM_CREATE_VM, 0);
	char c;

	if (vm < 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0) {
		perror("holdvm");
		return 1;
	}
	puts("held");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
