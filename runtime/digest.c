// SPDX-License-Identifier: GPL-2.0-only
/* SHA-256 by nettle. */
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "digest.h"

static void finish(struct sha256_ctx *hash, char text[DIGEST_TEXT])
{
	uint8_t bytes[SHA256_DIGEST_SIZE];
	size_t i;

	sha256_digest(hash, sizeof(bytes), bytes);
	for (i = 0; i < sizeof(bytes); i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
}

void digest_bytes(const void *bytes, size_t n, char text[DIGEST_TEXT])
{
	struct sha256_ctx hash;

	sha256_init(&hash);
	sha256_update(&hash, n, bytes);
	finish(&hash, text);
}

int digest_file(int path_fd, char text[DIGEST_TEXT])
{
	uint8_t buf[64 * 1024];
	struct sha256_ctx hash;
	char name[32];
	ssize_t n;
	int fd;

	*text = '\0';
	snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	sha256_init(&hash);
	do {
		n = read(fd, buf, sizeof(buf));
		if (n > 0)
			sha256_update(&hash, n, buf);
	} while (n > 0 || (n < 0 && errno == EINTR));
	close(fd);
	if (n < 0)
		return -1;
	finish(&hash, text);
	return 0;
}
