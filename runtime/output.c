// SPDX-License-Identifier: GPL-2.0-only
/* Owns the descriptor of the directory, which is the same whatever happens to its name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load.h"
#include "output.h"

const char *output_open(struct output *out, const char *path)
{
	char dir[PATH_MAX];
	const char *name = path_directory(path, dir);
	struct stat st;

	if (!*name || strlen(name) > NAME_MAX || strlen(path) >= sizeof(dir))
		return "give the name of a file";
	strcpy(out->file, name);
	out->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (out->dir < 0 || faccessat(out->dir, ".", W_OK | X_OK, AT_EACCESS))
		return strerror(errno);
	if (!fstatat(out->dir, name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISREG(st.st_mode))
		return "it is there and no file: give another name";
	return NULL;
}

int output_write_all(int fd, const char *text, size_t size)
{
	while (size) {
		ssize_t n = write(fd, text, size);

		if (n < 0 && errno != EINTR)
			return -1;
		text += n > 0 ? n : 0;
		size -= n > 0 ? n : 0;
	}
	return 0;
}

const char *output_write(const struct output *out, const char *text, size_t size)
{
	const char *why;
	char name[64];
	int fd, err;

	snprintf(name, sizeof(name), ".vmbox-%d", (int)getpid());
	fd = openat(out->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	err = fd < 0 || output_write_all(fd, text, size);
	if (fd >= 0)
		err |= close(fd);
	if (!err)
		err = renameat(out->dir, name, out->dir, out->file);
	if (!err)
		return NULL;
	why = strerror(errno);
	if (fd >= 0)
		unlinkat(out->dir, name, 0);
	return why;
}
