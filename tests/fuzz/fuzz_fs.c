// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: the file server's session on a hostile stream. The input is
 * a list of (type, length, body); framed here, so that it gets past the size.
 * The first byte's top bit sends the input as it is instead.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../runtime/fs.h"
#include "../../runtime/fs_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t hello[] = "\25\0\0\0\144\377\377\30\0\1\0\10\0009P2000.L"
			       "\27\0\0\0\150\1\0\0\0\0\0\377\377\377\377\0\0\0\0\0\0\0\0";

static size_t frame(uint8_t *out, size_t cap, const uint8_t *data, size_t size)
{
	struct fs_writer w = { .buf = out, .cap = cap };

	while (size >= 2 && !w.full) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2, at = w.pos;

		fs_put32(&w, P9_HEADER + len);
		fs_put8(&w, data[0]);
		fs_put16(&w, 1);
		for (size_t i = 0; i < len; i++)
			fs_put8(&w, data[2 + i]);
		if (w.full)
			return at;
		data += 2 + len;
		size -= 2 + len;
	}
	return w.pos;
}

static char scratch[] = "/dev/shm/vmbox-fuzz-XXXXXX";

static void empty_scratch(void)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -rf %s/tree %s/*", scratch, scratch);
	if (system(command))
		abort();
}

static void remove_scratch(void)
{
	empty_scratch();
	rmdir(scratch);
}

/* 0 and 1 read-only; 2 a directory to change, with names that are cut out of it; 3 the same, not yet. */
static void open_exports(struct fs_export *exports)
{
	static struct fs_cut cuts[] = {
		{ "a", "a", true }, { "b/a", "b", true }, { "b", "c", false }, { "c/a", "d", false }
	};

	if (!mkdtemp(scratch))
		abort();
	atexit(remove_scratch);
	exports[0].fd = open("/usr/share", O_PATH | O_CLOEXEC);
	exports[1].fd = open("/bin/true", O_PATH | O_CLOEXEC);
	exports[2].fd = open(scratch, O_PATH | O_CLOEXEC);
	exports[3].fd = open(scratch, O_PATH | O_CLOEXEC);
	exports[3].rw = exports[3].gated = true;
	for (int i = 0; i < 4; i++) {
		exports[i].at = exports[i].host = exports[i].rule = "x";
		exports[i].quota = 1 << 20;
		exports[i].file_size = 1 << 18;
	}
	exports[2].rw = true;
	exports[2].cuts = cuts;
	exports[2].nr_cuts = sizeof(cuts) / sizeof(cuts[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fs_export exports[4];
	static struct fs_config config = {
		.socks = { -1, -1 }, .exports = exports, .n = 4, .gate = -1
	};
	static unsigned int runs;
	static uint8_t message[32 * 1024];
	size_t n = sizeof(hello) - 1;
	int socks[2], big = 4 << 20;

	if (!runs++) {
		open_exports(exports);
		config.audit = config.learn = open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	if (runs % 1000 == 0)
		empty_scratch();
	if (!size || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, socks))
		return 0;
	setsockopt(socks[1], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	memcpy(message, hello, n);
	if (data[0] & 0x80) {
		size_t raw = size - 1 < sizeof(message) - n ? size - 1 : sizeof(message) - n;

		memcpy(message + n, data + 1, raw);
		n += raw;
	} else {
		n += frame(message + n, sizeof(message) - n, data + 1, size - 1);
	}
	/* Replies stay in the socket: a full one, like the end, ends the session. */
	config.socks[runs % FS_SESSIONS] = socks[1];
	config.socks[(runs + 1) % FS_SESSIONS] = -1;
	if (write(socks[0], message, n) == (ssize_t)n && !shutdown(socks[0], SHUT_WR))
		fs_session_run(&config);
	else
		close(socks[1]);
	close(socks[0]);
	return 0;
}
