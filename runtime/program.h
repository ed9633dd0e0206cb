/* SPDX-License-Identifier: GPL-2.0-only */
/* Finds the program that is to run, and says early what could not run anyway. */
#ifndef VMBOX_PROGRAM_H
#define VMBOX_PROGRAM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define EXIT_CANNOT_EXECUTE 126
#define EXIT_NOT_FOUND	    127

struct program {
	char path[PATH_MAX]; /* absolute, as the guest will see it */
	int fd;		     /* O_PATH of the file; ours to close */
	bool is_script;
};

/* 0, or an exit code with the message in @error. */
int program_find(const char *name, struct program *program, char *error, size_t error_size);

/* What a file's first bytes say: NULL if it can run, else why not. */
const char *program_check_head(const unsigned char *head, size_t n);

#endif
