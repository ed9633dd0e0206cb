// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the program on PATH or by path, as a shell does, and looks at its first
 * bytes. The file is untrusted; only its head is read, into a fixed buffer.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

const char *program_check_head(const unsigned char *head, size_t n)
{
	unsigned int machine;

	if (n >= 2 && head[0] == '#' && head[1] == '!')
		return NULL;
	if (n < 20 || memcmp(head, ELFMAG, SELFMAG))
		return "is neither an ELF program nor a script that starts with #!";
	machine = head[18] | head[19] << 8;
	if (head[EI_DATA] != ELFDATA2LSB)
		return "is for a big-endian machine; vmbox runs x86-64 and i386 programs";
	switch (machine) {
	case EM_X86_64:
	case EM_386:
		return NULL;
	case EM_AARCH64:
		return "is for arm64; vmbox runs x86-64 and i386 programs";
	case EM_ARM:
		return "is for 32-bit ARM; vmbox runs x86-64 and i386 programs";
	case EM_RISCV:
		return "is for RISC-V; vmbox runs x86-64 and i386 programs";
	}
	return "is for another architecture; vmbox runs x86-64 and i386 programs";
}

/* Joins the working directory with @name; no symbolic link is resolved. */
static int make_absolute(const char *name, char *path)
{
	char cwd[PATH_MAX];

	if (name[0] == '/')
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX ? 0 : -1;
	if (!getcwd(cwd, sizeof(cwd)))
		return -1;
	while (name[0] == '.' && name[1] == '/')
		for (name += 2; *name == '/'; name++)
			;
	return snprintf(path, PATH_MAX, "%s/%s", strcmp(cwd, "/") ? cwd : "", name) < PATH_MAX ? 0
											       : -1;
}

static int is_executable_file(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

/* The first executable on PATH. */
static int search_path(const char *name, char *path)
{
	const char *dirs = getenv("PATH");
	char candidate[PATH_MAX];

	if (!dirs)
		dirs = "/usr/local/bin:/usr/bin:/bin";
	for (;;) {
		size_t n = strcspn(dirs, ":");

		if (snprintf(candidate, sizeof(candidate), "%.*s/%s", n ? (int)n : 1,
			     n ? dirs : ".", name) < PATH_MAX &&
		    is_executable_file(candidate))
			return make_absolute(candidate, path);
		if (!dirs[n])
			return -1;
		dirs += n + 1;
	}
}

/* A script's interpreter, where the path names a file that is not there. */
static int interpreter_is_missing(const unsigned char *head, size_t n, char *interpreter)
{
	size_t i = 2, j = 0;

	if (n < 2 || head[0] != '#' || head[1] != '!')
		return 0;
	while (i < n && (head[i] == ' ' || head[i] == '\t'))
		i++;
	while (i < n && j < 255 && head[i] > ' ')
		interpreter[j++] = head[i++];
	interpreter[j] = 0;
	return access(interpreter, F_OK) && errno == ENOENT;
}

static int look_into(struct program *p, char *error, size_t size)
{
	unsigned char head[512];
	char interpreter[256], same[32]; /* the file that was found, whatever has its name by now */
	const char *why;
	struct stat st;
	ssize_t n;
	int fd;

	if (fstat(p->fd, &st) || !S_ISREG(st.st_mode)) {
		snprintf(error, size, "%s: is not a file that can be run", p->path);
		return EXIT_CANNOT_EXECUTE;
	}
	snprintf(same, sizeof(same), "/proc/self/fd/%d", p->fd);
	if (access(same, X_OK)) {
		snprintf(error, size, "%s: is not executable: chmod +x it", p->path);
		return EXIT_CANNOT_EXECUTE;
	}
	fd = open(same, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		snprintf(error, size, "%s: cannot be read: %s; the guest needs to read it", p->path,
			 strerror(errno));
		return EXIT_CANNOT_EXECUTE;
	}
	n = read(fd, head, sizeof(head));
	close(fd);
	why = program_check_head(head, n < 0 ? 0 : n);
	if (why) {
		snprintf(error, size, "%s: %s", p->path, why);
		return EXIT_CANNOT_EXECUTE;
	}
	p->is_script = head[0] == '#';
	if (interpreter_is_missing(head, n, interpreter)) {
		snprintf(error, size, "%s: its interpreter '%s' does not exist", p->path,
			 interpreter);
		return EXIT_CANNOT_EXECUTE;
	}
	return 0;
}

/**
 * program_find - resolve @name as a shell would
 * @program: filled in; its fd is open on success only
 */
int program_find(const char *name, struct program *program, char *error, size_t size)
{
	int err = strchr(name, '/') ? make_absolute(name, program->path)
				    : search_path(name, program->path);

	program->fd = -1;
	if (err) {
		snprintf(error, size, "%s: not found on PATH; give a path such as ./%s", name,
			 name);
		return EXIT_NOT_FOUND;
	}
	program->fd = open(program->path, O_PATH | O_CLOEXEC);
	if (program->fd < 0) {
		snprintf(error, size, "%s: %s", program->path, strerror(errno));
		return errno == ENOENT || errno == ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
	}
	err = look_into(program, error, size);
	if (err) {
		close(program->fd);
		program->fd = -1;
	}
	return err;
}
