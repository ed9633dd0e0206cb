// SPDX-License-Identifier: GPL-2.0-only
/* `vmbox version`: what somebody who reads a bug report must know of all that takes part in a run. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "launcher.h"
#include "request.h"
#include "text_file.h"
#include "version.h"

#define DRIVER "/sys/module/vmbox/"

void version_driver(char text[DRIVER_TEXT_MAX])
{
	char version[64], srcversion[64];

	text_read(DRIVER "version", version, sizeof(version));
	text_read(DRIVER "srcversion", srcversion, sizeof(srcversion));
	if (*version)
		snprintf(text, DRIVER_TEXT_MAX, "vmbox.ko %s, srcversion %s", version, srcversion);
	else
		snprintf(text, DRIVER_TEXT_MAX, "vmbox.ko is not loaded: there is no " DRIVER);
}

static void print_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), version;

	printf("device        %s: ", path);
	if (fd < 0) {
		puts(strerror(errno));
		return;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		puts("no device of the KVM API");
	else
		printf("version %d of the KVM API\n", version);
	close(fd);
}

/* Every Linux has this text in it, once before its version is asked for. */
static void print_banner(const char *kernel, size_t size)
{
	static const char begin[] = "Linux version ";
	const char *p = memmem(kernel, size, begin, sizeof(begin) - 1);
	char line[256] = "it names no version";

	if (p) {
		size_t n = strnlen(p, kernel + size - p);

		snprintf(line, sizeof(line), "%.*s", (int)(n < sizeof(line) ? n : sizeof(line)), p);
		line[strcspn(line, "\n")] = 0;
		make_printable(line, strlen(line));
	}
	puts(line);
}

static void print_guest(const char *dir)
{
	char path[PATH_MAX];
	struct stat st;
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/vmlinux", dir);
	printf("guest kernel  %s: ", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	p = fd < 0 || fstat(fd, &st) ? MAP_FAILED
				     : mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED) {
		puts(strerror(errno));
	} else {
		print_banner(p, st.st_size);
		munmap(p, st.st_size);
	}
	if (fd >= 0)
		close(fd);
}

int version_print(const char *device, const char *guest_dir)
{
	char driver[DRIVER_TEXT_MAX];
	struct utsname u;

	puts("vmbox " VMBOX_VERSION);
	version_driver(driver);
	printf("driver        %s\n", driver);
	print_device(device);
	print_guest(guest_dir);
	uname(&u);
	printf("host kernel   %s %s %s, %s\n", u.sysname, u.release, u.machine, u.version);
	return fflush(stdout) || ferror(stdout) ? EXIT_VMBOX_FAILED : 0;
}
