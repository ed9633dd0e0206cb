// SPDX-License-Identifier: GPL-2.0-only
/* PID 1 of a guest that does not keep to the protocols: BREAK says which, and how. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>
#include <vmbox/pvio.h>

static void send(const char *channel, const void *data, size_t n)
{
	int fd = open(channel, O_RDWR);

	if (fd < 0 || write(fd, data, n) != (ssize_t)n)
		exit(1); /* the kernel panics: not what the test waits for */
}

static void control(void)
{
	const struct pvio_msg msg = { .type = PVIO_MSG_RUN, .len = ~0U }; /* the host's own */

	send("/dev/vmbox/control", &msg, sizeof(msg));
}

static void p9(void)
{
	static const unsigned char half[] = { 3, 0, 0, 0, 100, 0, 0 }; /* shorter than its head */

	send("/dev/vmbox/9p", half, sizeof(half));
}

static void p9_rw(void)
{
	static const unsigned char huge[] = { 0xff, 0xff, 0xff, 0xff, 100, 0xff, 0xff };

	send("/dev/vmbox/9p-rw", huge, sizeof(huge));
}

int main(void)
{
	if (mount("dev", "/dev", "devtmpfs", 0, NULL))
		return 1;
	BREAK();
	for (;;)
		pause();
}
