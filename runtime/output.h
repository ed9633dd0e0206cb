/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file that is written at the end of a run, all of it or not at all: under another name
 * first, and then renamed. What is there under its name is replaced, never written to.
 */
#ifndef VMBOX_OUTPUT_H
#define VMBOX_OUTPUT_H

#include <limits.h>
#include <stddef.h>

struct output {
	int dir;
	char file[NAME_MAX + 1];
};

/* Before the run, so that it is not for nothing. NULL, or why it could not be written. */
const char *output_open(struct output *out, const char *path);

/* NULL, or why it is not written. */
const char *output_write(const struct output *out, const char *text, size_t size);

/* All of it to a descriptor. -1: see errno. */
int output_write_all(int fd, const char *text, size_t size);

#endif
