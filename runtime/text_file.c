// SPDX-License-Identifier: GPL-2.0-only
/* Small files of text, made printable. */
#include <fcntl.h>
#include <unistd.h>

#include "request.h"
#include "text_file.h"

void text_read_fd(int fd, char *text, size_t size)
{
	size_t n = 0, i;
	ssize_t r;

	while (n < size - 1 && (r = read(fd, text + n, size - 1 - n)) > 0)
		n += r;
	while (n && text[n - 1] == '\n')
		n--;
	for (i = 0; i < n; i++)
		if (text[i] != '\n' && text[i] != '\t')
			make_printable(text + i, 1);
	text[n] = 0;
}

void text_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	*text = 0;
	if (fd < 0)
		return;
	text_read_fd(fd, text, size);
	close(fd);
}
