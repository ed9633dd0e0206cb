/* SPDX-License-Identifier: GPL-2.0-only */
/* SHA-256, in hexadecimal digits. */
#ifndef VMBOX_DIGEST_H
#define VMBOX_DIGEST_H

#include <stddef.h>

#define DIGEST_TEXT 65 /* with the zero at its end */

void digest_bytes(const void *bytes, size_t n, char text[DIGEST_TEXT]);

/* Of what can be read from the file behind @fd, which may be O_PATH. -1: see errno; @text is "". */
int digest_file(int fd, char text[DIGEST_TEXT]);

#endif
