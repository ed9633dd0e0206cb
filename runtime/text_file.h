/* SPDX-License-Identifier: GPL-2.0-only */
/* Small files of text, for people: the machine's facts. */
#ifndef VMBOX_TEXT_FILE_H
#define VMBOX_TEXT_FILE_H

#include <stddef.h>

/* Up to @size, printable but for its lines' ends and tabs, without the last end. */
void text_read_fd(int fd, char *text, size_t size);

/* The same of a file; "" if it cannot be read. */
void text_read(const char *path, char *text, size_t size);

#endif
